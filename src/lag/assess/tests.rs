//! What is said of a group as a whole.

use super::*;
use crate::lag::reference_model::{GroupHarness, answer, group, no_ages, starts};

#[test]
fn consumable_is_what_is_left_of_what_is_held() {
    let of = |partitions: &[(i64, i64)], start: &[i64]| {
        let mut desk = GroupHarness::default();
        desk.take_status(0.0, start);
        let said = desk.hear(0.0, partitions);
        assert_eq!(said.consumable, said.topics[0].consumable);
        said.consumable
    };
    assert_eq!(of(&[(100, 40)], &[10]), Some(60), "nothing is lost");
    assert_eq!(of(&[(100, 40)], &[70]), Some(30), "30 of 60 are deleted");
    assert_eq!(of(&[(100, 40)], &[100]), Some(0), "all of them are");
    assert_eq!(of(&[(100, 40)], &[130]), Some(0), "the start is from a later answer");
    assert_eq!(of(&[(100, 40)], &[-1]), Some(60), "the start is not known");
    assert_eq!(of(&[(100, 130)], &[10]), Some(0), "past the end");
    assert_eq!(of(&[(100, 40), (-1, 5), (7, -1)], &[70, 0, 0]), Some(30), "the others are not known");
    assert_eq!(of(&[(100, -1)], &[70]), None, "nothing is");
    assert_eq!(
        GroupHarness::default().hear_aged(0.0, &group(&[]), &GroupBounds::default()).consumable,
        Some(0)
    );
}

#[test]
fn retention_is_that_of_the_topics_status() {
    let mut desk = GroupHarness::default();
    desk.take_status(0.0, &[10, 70, -1]);
    let said = desk.hear(0.0, &[(100, 40), (100, 40), (100, 40), (100, -1)]);
    let of: Vec<_> = said.topics[0].partitions.iter().map(|p| p.retention).collect();
    let held = |margin, lost| Some(RetentionMargin { margin, lost });
    assert_eq!(of, [held(Some(30), 0), held(None, 30), None, None]);
}

/// A group on topics a, b and c that reads and writes so many messages a minute, from so much lag.
fn after_a_while(topics: &[(&'static str, i64, i64, i64)]) -> GroupAssessment {
    let mut desk = GroupHarness::default();
    let mut said = GroupAssessment::default();
    for minute in 0..12 {
        let row = |(name, lag, read, written): &(&'static str, i64, i64, i64)| {
            (*name, vec![(0, 1_000_000 + written * minute, 1_000_000 - lag + read * minute)])
        };
        let lag = group(&topics.iter().map(row).collect::<Vec<_>>());
        said = desk.hear_aged(minute as f64 * 60.0, &lag, &no_ages(&lag));
    }
    said
}

#[test]
fn a_group_has_caught_up_when_its_last_topic_has() {
    // 600 messages left after eleven minutes, at a second each; 1200 at two a second; nothing to read.
    let said = after_a_while(&[("a", 1260, 120, 60), ("b", 2520, 180, 60), ("c", 0, 60, 60)]);
    let of: Vec<_> = said.topics.iter().map(|t| t.catch_up.map(f64::round)).collect();
    assert_eq!(of, [Some(600.0), Some(600.0), Some(0.0)]);
    assert_eq!(said.topics[1].consumed, Some(3.0));
    assert_eq!(said.topics[1].produced, Some(1.0));
    assert_eq!(after_a_while(&[("a", 1260, 120, 60), ("b", 1800, 120, 60)]).catch_up, Some(1140.0));
    assert_eq!(after_a_while(&[("a", 1260, 120, 60), ("b", 10, 60, 60)]).catch_up, None, "one never does");
    assert_eq!(after_a_while(&[("c", 0, 60, 60)]).catch_up, Some(0.0));
    assert_eq!(after_a_while(&[]).catch_up, Some(0.0));
    // Nobody knows the lag of one, and the other counts; and nobody knows any.
    let mut desk = GroupHarness::default();
    let lag = group(&[("a", vec![(0, 10, 10)]), ("b", vec![(0, 10, -1)])]);
    assert_eq!(desk.hear_aged(0.0, &lag, &no_ages(&lag)).catch_up, Some(0.0));
    assert_eq!(GroupHarness::default().hear(0.0, &[(10, -1)]).catch_up, None);
}

#[test]
fn rates_take_three_polls() {
    let mut desk = GroupHarness::default();
    let said: Vec<_> = (0..4).map(|i| desk.hear(f64::from(i) * 60.0, &[(60 * i64::from(i), 0)])).collect();
    let produced: Vec<_> = said.iter().map(|s| s.topics[0].produced).collect();
    assert_eq!(produced, [None, None, Some(1.0), Some(1.0)]);
    assert!(said.iter().all(|s| s.catch_up.is_none() == (s.topics[0].catch_up.is_none())));
}

#[test]
fn a_group_is_as_bad_as_its_worst_topic_and_as_old_as_was_told() {
    let mut desk = GroupHarness::default();
    let ages =
        |lag: &GroupLag| GroupBounds { group: TimeBounds { lower: Some(1), upper: Some(2) }, ..no_ages(lag) };
    let lag = group(&[("a", vec![(0, 10, 11)]), ("b", vec![(0, 10, 5)]), ("c", vec![(0, 10, -1)])]);
    let said = desk.hear_aged(0.0, &lag, &ages(&lag));
    let of: Vec<_> = said.topics.iter().map(|t| t.status).collect();
    assert_eq!(of, [Some(Status::Rewound), None, None]);
    assert_eq!(
        (said.status, said.bounds),
        (Some(Status::Rewound), TimeBounds { lower: Some(1), upper: Some(2) })
    );
}

#[test]
fn without_a_track_only_what_the_answer_shows_is_said() {
    let lag = answer(&[(10, 5), (10, 2)]);
    let status = starts(&[0, 3]);
    let facts = |_: &TopicName| TopicFacts { status: Some(&status), ..TopicFacts::default() };
    let said = assess(&lag, &no_ages(&lag), &GroupWindow::default(), None, Duration::from_secs(600), facts);
    assert_eq!((said.status, said.consumable, said.catch_up), (Some(Status::DataLoss), Some(12), None));
}

#[test]
fn nothing_is_the_matter_only_once_that_is_known_of_every_partition() {
    let mut desk = GroupHarness::default();
    let said: Vec<_> = (0..13_i64)
        .map(|minute| {
            let moving = (1_000 + 60 * minute, 1_000 + 60 * minute - 5);
            desk.hear(60.0 * minute as f64, &[moving, (500, 400)])
        })
        .map(|said| (said.status, said.topics[0].status))
        .collect();
    assert_eq!(said[6], (None, None), "one partition has not moved since the first answer");
    assert_eq!(said[12], (Some(Status::Stalled), Some(Status::Stalled)));
}
