//! Producers whose clock is off. One stamp cannot be told from a true one before polls have seen a message being
//! written: until then a bound is off by no more than the clock is, and afterwards by nothing.

use super::{
    check::{Rules, Tally},
    rig::Habits,
    worlds::{INSTANCE, Traits},
};

/// Runs a world whose producers are all off by so much.
async fn run(skew_ms: i64, seed: u64, exact_once_written: bool) -> Tally {
    let habits = Habits { together: true, ..Habits::GOOD };
    let traits = Traits { habits, topic_events: 3, ..Traits::PLAIN };
    let mut rig = traits.start(seed).await;
    rig.world(|w| {
        for topic in w.topics(INSTANCE) {
            w.set_producer_clock_skew(INSTANCE, &topic, skew_ms).unwrap();
        }
    });
    let rules = Rules { slack_ms: skew_ms.unsigned_abs(), exact_once_written, ..Rules::default() };
    let mut tally = Tally::default();
    for _ in 0..120 {
        traits.stir(&mut rig);
        rig.pass();
        rig.check(rules, &mut tally);
    }
    tally
}

#[tokio::test]
async fn a_bound_is_never_off_by_more_than_the_producers_clock() {
    for (seed, skew_ms) in (30..).zip([-100_000, -30_000, -2_000, 700, 30_000, 100_000]) {
        let tally = run(skew_ms, seed, false).await;
        assert!(tally.violations == 0 && tally.bracketed > 1_000, "skew {skew_ms}: {tally}");
    }
}

#[tokio::test]
async fn a_clock_that_is_off_by_more_than_two_polls_is_found_out_by_the_first_write_that_is_seen() {
    for (seed, skew_ms) in (40..).zip([-7_200_000, -150_000, 150_000, 7_200_000]) {
        let tally = run(skew_ms, seed, true).await;
        assert!(tally.violations == 0 && tally.bracketed > 1_000, "skew {skew_ms}: {tally}");
    }
}

#[tokio::test]
async fn true_stamps_are_believed() {
    // Without times the ceilings of topics that were read before the first poll would be missing.
    let habits = Habits { late_percent: 50, width_ms: 1_000, ..Habits::GOOD };
    let traits = Traits { habits, topic_events: 0, ..Traits::PLAIN };
    let mut rig = traits.start(50).await;
    for _ in 0..120 {
        rig.pass();
        for lagging in rig.lagging().into_iter().filter(|l| l.is_timed) {
            assert!(lagging.bounds.upper.is_some(), "{:?} of {:?}", lagging.bounds, lagging.truth);
        }
    }
    let contradictions = rig.anomalies.get(&alikafka_exporter::model::AnomalyKind::Contradiction);
    assert_eq!(contradictions, None, "nothing here contradicts anything");
}
