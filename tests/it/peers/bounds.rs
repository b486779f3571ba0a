//! Lag in seconds: missing, 0, capped or wrong on quiet or recreated topics.

use super::harness::*;

/// KE#16, #194, #195, #229, #464, KM#182, #251, streamshub/console#2743, elastic/beats#31393: no lag in seconds.
/// KLE#111, #37: none, or NaN, before there are two points to interpolate.
#[test]
fn lag_in_seconds_exists_from_the_first_response() {
    let mut harness = RegionHarness::new();
    harness.topic(&[(0, 50, Some(-30))]).group(&[offsets(20, 50).consumed_at(-300)]);
    let (lower, upper) = seconds(&harness.scrape());
    assert_eq!(upper, Some(300.0), "since the last consumed message");
    assert_eq!(lower, Some(30.0), "since the newest message");
}

/// KLE#45, #496, #510: NaN, 0, or weeks on topics with rare messages, because of interpolation from the message before.
#[test]
fn lag_in_seconds_of_a_quiet_topic_is_the_age_of_its_only_unread_message() {
    let mut harness = RegionHarness::new();
    // The last consumed message is three days old.
    let three_days_ago = -3 * 86_400;
    for _ in 0..10 {
        harness.wait(POLL).group(&[offsets(10, 10).consumed_at(three_days_ago)]);
        assert_eq!(seconds(&harness.scrape()), (Some(0.0), Some(0.0)), "no lag");
    }
    harness.wait(POLL);
    let written = harness.now() - 20;
    for poll in 0..10_i64 {
        harness.group(&[offsets(10, 11).consumed_at(three_days_ago)]);
        let (lower, upper) = seconds(&harness.scrape());
        let truth = (harness.now() - written) as f64;
        assert!(lower.unwrap() <= truth && truth <= upper.unwrap(), "{lower:?} {truth} {upper:?}");
        assert!(upper.unwrap() - lower.unwrap() <= POLL as f64, "poll {poll}: {lower:?} to {upper:?}");
        harness.wait(POLL);
    }
}

/// KLAG#30: capped at half an hour. KLE#111, #496: 0, or constant, while the producer is idle.
#[test]
fn lag_in_seconds_grows_without_a_cap_while_producers_are_idle() {
    let mut harness = RegionHarness::new();
    harness.topic(&[(0, 100, Some(0))]).group(&[offsets(60, 100).consumed_at(-100)]);
    for _ in 0..3 * 60 {
        harness.wait(POLL).topic(&[(0, 100, Some(0))]).group(&[offsets(60, 100).consumed_at(-100)]);
    }
    let (lower, upper) = seconds(&harness.scrape());
    let three_hours = 3.0 * 3600.0;
    assert!(lower.unwrap() >= three_hours, "{lower:?}");
    assert_eq!(upper, Some(three_hours + 100.0));
}

/// The API also reports the newest timestamp of a group, which hides a stuck partition.
#[test]
fn a_healthy_partition_does_not_hide_a_stuck_one() {
    let mut harness = RegionHarness::new();
    for poll in 0..60_i64 {
        let now = harness.now();
        harness
            .group(&[
                offsets(poll * 10, poll * 10 + 1).consumed_at(now - 5),
                offsets(7, 8 + poll).consumed_at(-5),
            ])
            .wait(POLL);
    }
    let scrape = harness.scrape();
    let (lower, upper) = seconds(&scrape);
    assert!(lower.unwrap() >= 58.0 * 60.0 && upper.unwrap() >= 59.0 * 60.0, "{lower:?} {upper:?}");
    let healthy = partition_value(&scrape, "alikafka_group_partition_lag_seconds", "0").unwrap();
    assert!(healthy <= 60.0, "{healthy}");
}

/// KLE#197, #127: the history of a deleted topic gives wrong ages after it is recreated.
#[test]
fn a_recreated_topic_has_no_age_from_before() {
    let mut harness = RegionHarness::new();
    for poll in 0..60_i64 {
        harness
            .topic(&[(0, 1000 + poll, Some(harness.now()))])
            .group(&[offsets(900, 1000 + poll)])
            .wait(POLL);
    }
    let (lower, _) = seconds(&harness.scrape());
    assert!(lower.unwrap() > 1200.0, "{lower:?}");
    let created = harness.now();
    for poll in 0..10_i64 {
        harness.topic(&[(0, 5 + poll, Some(harness.now()))]).group(&[offsets(0, 5 + poll)]);
        let (lower, upper) = seconds(&harness.scrape());
        let age = (harness.now() - created) as f64;
        assert!(lower.is_none_or(|lower| lower <= age), "poll {poll}: {lower:?}");
        assert!(upper.is_none_or(|upper| upper >= age), "poll {poll}: {upper:?}");
        harness.wait(POLL);
    }
}
