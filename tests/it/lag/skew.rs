//! Wrong producer clocks. A bound is off by at most the clock error until polls have seen a write, and correct afterwards.

use super::{
    check::{CheckRules, Tally},
    harness::PollingBehavior,
    worlds::{INSTANCE, WorldTraits},
};

/// Runs a world in which every producer clock has this error.
async fn run(skew_ms: i64, seed: u64, exact_once_written: bool) -> Tally {
    let behavior = PollingBehavior { together: true, ..PollingBehavior::GOOD };
    let traits = WorldTraits { behavior, topic_events: 3, ..WorldTraits::PLAIN };
    let mut harness = traits.start(seed).await;
    harness.with_world(|w| {
        for topic in w.topics(INSTANCE) {
            w.set_producer_clock_skew(INSTANCE, &topic, skew_ms).unwrap();
        }
    });
    let rules = CheckRules { slack_ms: skew_ms.unsigned_abs(), exact_once_written, ..CheckRules::default() };
    let mut tally = Tally::default();
    for _ in 0..120 {
        traits.change(&mut harness);
        harness.pass();
        harness.check(rules, &mut tally);
    }
    tally
}

#[tokio::test]
async fn a_bound_is_never_off_by_more_than_the_producer_clock() {
    for (seed, skew_ms) in (30..).zip([-100_000, -30_000, -2_000, 700, 30_000, 100_000]) {
        let tally = run(skew_ms, seed, false).await;
        assert!(tally.violations == 0 && tally.bounded > 1_000, "skew {skew_ms}: {tally}");
    }
}

#[tokio::test]
async fn a_clock_error_beyond_two_polls_is_detected_at_the_first_write() {
    for (seed, skew_ms) in (40..).zip([-7_200_000, -150_000, 150_000, 7_200_000]) {
        let tally = run(skew_ms, seed, true).await;
        assert!(tally.violations == 0 && tally.bounded > 1_000, "skew {skew_ms}: {tally}");
    }
}

#[tokio::test]
async fn true_timestamps_are_trusted() {
    // Topics consumed before the first poll have no upper bound without timestamps.
    let behavior = PollingBehavior { late_percent: 50, width_ms: 1_000, ..PollingBehavior::GOOD };
    let traits = WorldTraits { behavior, topic_events: 0, ..WorldTraits::PLAIN };
    let mut harness = traits.start(50).await;
    for _ in 0..120 {
        harness.pass();
        for lagging in harness.lagging().into_iter().filter(|l| l.has_timestamp) {
            assert!(lagging.bounds.upper.is_some(), "{:?} of {:?}", lagging.bounds, lagging.truth);
        }
    }
    let contradictions = harness.anomalies.get(&alikafka_exporter::model::AnomalyKind::Contradiction);
    assert_eq!(contradictions, None, "no contradictions");
}
