//! Lag in seconds: no number, 0 or nonsense where little is written, capped, or of another topic.

use super::stand::*;

/// KE#16, #194, #195, #229, #464, KM#182, #251, streamshub/console#2743, elastic/beats#31393: no lag in time at all.
/// KLE#111, #37: none, or NaN, before there are two points to draw a line through.
#[test]
fn lag_in_seconds_is_there_with_the_first_answer() {
    let mut stand = Stand::new();
    stand.topic(&[(0, 50, Some(-30))]).group(&[row(20, 50).read(-300)]);
    let (floor, ceiling) = seconds(&stand.page());
    assert_eq!(ceiling, Some(300.0), "since the last message that was read");
    assert_eq!(floor, Some(30.0), "since the newest message");
}

/// KLE#45, #496, #510: NaN, 0, or weeks, where a message comes now and then, as a line was drawn from the message
/// before it.
#[test]
fn on_a_quiet_topic_lag_in_seconds_is_the_age_of_its_one_message() {
    let mut stand = Stand::new();
    // The last message was read three days ago.
    let three_days_ago = -3 * 86_400;
    for _ in 0..10 {
        stand.wait(POLL).group(&[row(10, 10).read(three_days_ago)]);
        assert_eq!(seconds(&stand.page()), (Some(0.0), Some(0.0)), "all is read");
    }
    stand.wait(POLL);
    let written = stand.now() - 20;
    for poll in 0..10_i64 {
        stand.group(&[row(10, 11).read(three_days_ago)]);
        let (floor, ceiling) = seconds(&stand.page());
        let truth = (stand.now() - written) as f64;
        assert!(floor.unwrap() <= truth && truth <= ceiling.unwrap(), "{floor:?} {truth} {ceiling:?}");
        assert!(ceiling.unwrap() - floor.unwrap() <= POLL as f64, "poll {poll}: {floor:?} to {ceiling:?}");
        stand.wait(POLL);
    }
}

/// KLAG#30: capped at half an hour; KLE#111, #496: 0, or standing still, once the producer is idle.
#[test]
fn with_idle_producers_lag_in_seconds_grows_with_time_and_without_a_cap() {
    let mut stand = Stand::new();
    stand.topic(&[(0, 100, Some(0))]).group(&[row(60, 100).read(-100)]);
    for _ in 0..3 * 60 {
        stand.wait(POLL).topic(&[(0, 100, Some(0))]).group(&[row(60, 100).read(-100)]);
    }
    let (floor, ceiling) = seconds(&stand.page());
    let three_hours = 3.0 * 3600.0;
    assert!(floor.unwrap() >= three_hours, "{floor:?}");
    assert_eq!(ceiling, Some(three_hours + 100.0));
}

/// The largest time of a group's last messages, which the API tells besides, hides a partition that is stuck.
#[test]
fn a_healthy_partition_does_not_hide_one_that_is_stuck() {
    let mut stand = Stand::new();
    for poll in 0..60_i64 {
        let now = stand.now();
        stand.group(&[row(poll * 10, poll * 10 + 1).read(now - 5), row(7, 8 + poll).read(-5)]).wait(POLL);
    }
    let page = stand.page();
    let (floor, ceiling) = seconds(&page);
    assert!(floor.unwrap() >= 58.0 * 60.0 && ceiling.unwrap() >= 59.0 * 60.0, "{floor:?} {ceiling:?}");
    let healthy = of_partition(&page, "alikafka_group_partition_lag_seconds", "0").unwrap();
    assert!(healthy <= 60.0, "{healthy}");
}

/// KLE#197, #127: points of a topic that was deleted and created again give ages of its former life.
#[test]
fn a_topic_that_was_created_anew_has_no_age_of_its_former_life() {
    let mut stand = Stand::new();
    for poll in 0..60_i64 {
        stand.topic(&[(0, 1000 + poll, Some(stand.now()))]).group(&[row(900, 1000 + poll)]).wait(POLL);
    }
    let (floor, _) = seconds(&stand.page());
    assert!(floor.unwrap() > 1200.0, "{floor:?}");
    let born = stand.now();
    for poll in 0..10_i64 {
        stand.topic(&[(0, 5 + poll, Some(stand.now()))]).group(&[row(0, 5 + poll)]);
        let (floor, ceiling) = seconds(&stand.page());
        let life = (stand.now() - born) as f64;
        assert!(floor.is_none_or(|floor| floor <= life), "poll {poll}: {floor:?}");
        assert!(ceiling.is_none_or(|ceiling| ceiling >= life), "poll {poll}: {ceiling:?}");
        stand.wait(POLL);
    }
}
