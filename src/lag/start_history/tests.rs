use super::*;
use crate::lag::reference_model::{at, topic_status};

#[test]
fn a_pace_needs_two_steps_and_an_overdue_step_lowers_it() {
    let mut starts_of = StartHistory::default();
    let mut record = |seconds: f64, start| starts_of.record(&topic_status(&[start]), at(seconds));
    let time = |seconds: f64| at(seconds).latest();
    record(0.0, 100);
    record(60.0, 100);
    record(600.0, 400);
    record(660.0, 400);
    let first = starts_of.partition(Partition(0)).unwrap();
    assert_eq!(first.pace(time(660.0)), None, "the duration of the first step is unknown");
    starts_of.record(&topic_status(&[700]), at(1200.0));
    let pace = |seconds| starts_of.partition(Partition(0)).unwrap().pace(time(seconds)).unwrap();
    assert_eq!(pace(1200.0), StartPace { ahead: 0.0, speed: 0.5 });
    assert_eq!(pace(1500.0), StartPace { ahead: 150.0, speed: 0.5 });
    assert_eq!(pace(1800.0), StartPace { ahead: 300.0, speed: 0.5 });
    assert_eq!(pace(3000.0), StartPace { ahead: 300.0, speed: 0.25 });
    // Frequent steps are kept over more than an hour, but not much longer.
    let mut starts_of = StartHistory::default();
    let mut start = 0;
    let mut speed_after = |minutes: std::ops::Range<i64>, step| {
        for minute in minutes.clone().step_by(10) {
            start += step;
            starts_of.record(&topic_status(&[start]), at(minute as f64 * 60.0));
        }
        let pace = starts_of.partition(Partition(0)).unwrap().pace(time(minutes.end as f64 * 60.0)).unwrap();
        assert!((pace.ahead - step as f64).abs() < step as f64 / 2.0, "{pace:?}");
        pace.speed * 600.0
    };
    assert!((speed_after(0..300, 100) - 100.0).abs() < 1e-6);
    let speed = speed_after(300..330, 200);
    assert!((110.0..150.0).contains(&speed), "{speed}");
    assert!((speed_after(330..500, 200) - 200.0).abs() < 1e-6);
}

#[test]
fn a_start_that_moves_back_or_is_missing_clears_its_history() {
    let mut history = StartHistory::default();
    for (seconds, starts) in [(0.0, [0, 0]), (60.0, [10, 10]), (120.0, [20, 20])] {
        history.record(&topic_status(&starts), at(seconds));
    }
    let has_pace = |history: &StartHistory, partition| {
        let start = history.partition(Partition(partition));
        start.is_some_and(|s| s.pace(UnixMillis::new(1_700_000_200_000).unwrap()).is_some())
    };
    assert!(has_pace(&history, 0) && has_pace(&history, 1));
    history.record(&topic_status(&[30, -1]), at(180.0));
    assert!(has_pace(&history, 0) && history.partition(Partition(1)).is_none());
    history.record(&topic_status(&[0, 40]), at(240.0));
    assert!(!has_pace(&history, 0) && history.partition(Partition(1)).is_some());
    history.clear();
    assert!(history.partition(Partition(0)).is_none());
}

#[test]
fn steps_take_memory_only_where_there_are_any() {
    let mut history = StartHistory::default();
    let empty = history.bytes();
    let mut starts_at = vec![0; 100];
    for i in 0..200 {
        history.record(&topic_status(&starts_at), at(f64::from(i) * 60.0));
    }
    assert_eq!(history.bytes() - empty, 100 * 24);
    starts_at[..50].fill(10);
    history.record(&topic_status(&starts_at), at(200.0 * 60.0));
    assert_eq!(history.bytes() - empty, 100 * 24 + 50 * 32);
    // A step beyond the counter, and a clock that does not advance.
    for start in [i64::MAX - 1, i64::MAX] {
        history.record(&topic_status(&[start]), at(201.0 * 60.0));
        assert!(history.partition(Partition(0)).unwrap().pace(at(9e9).latest()).is_none());
    }
}
