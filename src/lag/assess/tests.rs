//! Assessments of groups: totals, rates, and how statuses combine.

use super::*;
use crate::lag::reference_model::{GroupHarness, group_lag, lag_of, no_bounds, topic_status};

#[test]
fn consumable_messages_are_unread_and_retained() {
    let consumable = |partitions: &[(i64, i64)], start: &[i64]| {
        let mut harness = GroupHarness::default();
        harness.record_starts(0.0, start);
        let assessment = harness.poll(0.0, partitions);
        assert_eq!(assessment.consumable, assessment.topics[0].consumable);
        assessment.consumable
    };
    assert_eq!(consumable(&[(100, 40)], &[10]), Some(60), "nothing is deleted");
    assert_eq!(consumable(&[(100, 40)], &[70]), Some(30), "30 of 60 are deleted");
    assert_eq!(consumable(&[(100, 40)], &[100]), Some(0), "all are deleted");
    assert_eq!(consumable(&[(100, 40)], &[130]), Some(0), "the start offset is newer");
    assert_eq!(consumable(&[(100, 40)], &[-1]), Some(60), "the start offset is unknown");
    assert_eq!(consumable(&[(100, 130)], &[10]), Some(0), "beyond the end");
    assert_eq!(consumable(&[(100, 40), (-1, 5), (7, -1)], &[70, 0, 0]), Some(30), "the others are unknown");
    assert_eq!(consumable(&[(100, -1)], &[70]), None, "all are unknown");
    assert_eq!(
        GroupHarness::default().poll_with_bounds(0.0, &group_lag(&[]), &GroupBounds::default()).consumable,
        Some(0)
    );
}

#[test]
fn retention_margins_use_the_topic_status() {
    let mut harness = GroupHarness::default();
    harness.record_starts(0.0, &[10, 70, -1]);
    let assessment = harness.poll(0.0, &[(100, 40), (100, 40), (100, 40), (100, -1)]);
    let margins: Vec<_> = assessment.topics[0].partitions.iter().map(|p| p.retention).collect();
    let margin = |margin, lost| Some(RetentionMargin { margin, lost });
    assert_eq!(margins, [margin(Some(30), 0), margin(None, 30), None, None]);
}

/// Polls a group for 12 minutes. Each topic has a name, its lag at first, and the messages consumed and produced per
/// minute.
fn after_a_while(topics: &[(&'static str, i64, i64, i64)]) -> GroupAssessment {
    let mut harness = GroupHarness::default();
    let mut assessment = GroupAssessment::default();
    for minute in 0..12 {
        let row = |(name, lag, consumed, produced): &(&'static str, i64, i64, i64)| {
            (*name, vec![(0, 1_000_000 + produced * minute, 1_000_000 - lag + consumed * minute)])
        };
        let lag = group_lag(&topics.iter().map(row).collect::<Vec<_>>());
        assessment = harness.poll_with_bounds(minute as f64 * 60.0, &lag, &no_bounds(&lag));
    }
    assessment
}

#[test]
fn a_group_has_caught_up_with_its_last_topic() {
    // After eleven minutes the lag is 600 at one message per second, 1200 at two, and 0.
    let assessment = after_a_while(&[("a", 1260, 120, 60), ("b", 2520, 180, 60), ("c", 0, 60, 60)]);
    let catch_up: Vec<_> = assessment.topics.iter().map(|t| t.catch_up.map(f64::round)).collect();
    assert_eq!(catch_up, [Some(600.0), Some(600.0), Some(0.0)]);
    assert_eq!(assessment.topics[1].consumed, Some(3.0));
    assert_eq!(assessment.topics[1].produced, Some(1.0));
    assert_eq!(after_a_while(&[("a", 1260, 120, 60), ("b", 1800, 120, 60)]).catch_up, Some(1140.0));
    assert_eq!(after_a_while(&[("a", 1260, 120, 60), ("b", 10, 60, 60)]).catch_up, None, "never on topic b");
    assert_eq!(after_a_while(&[("c", 0, 60, 60)]).catch_up, Some(0.0));
    assert_eq!(after_a_while(&[]).catch_up, Some(0.0));
    // Topics with unknown lag do not count.
    let mut harness = GroupHarness::default();
    let lag = group_lag(&[("a", vec![(0, 10, 10)]), ("b", vec![(0, 10, -1)])]);
    assert_eq!(harness.poll_with_bounds(0.0, &lag, &no_bounds(&lag)).catch_up, Some(0.0));
    assert_eq!(GroupHarness::default().poll(0.0, &[(10, -1)]).catch_up, None);
}

#[test]
fn rates_need_three_polls() {
    let mut harness = GroupHarness::default();
    let assessment: Vec<_> =
        (0..4).map(|i| harness.poll(f64::from(i) * 60.0, &[(60 * i64::from(i), 0)])).collect();
    let produced: Vec<_> = assessment.iter().map(|s| s.topics[0].produced).collect();
    assert_eq!(produced, [None, None, Some(1.0), Some(1.0)]);
    assert!(assessment.iter().all(|s| s.catch_up.is_none() == (s.topics[0].catch_up.is_none())));
}

#[test]
fn a_group_has_the_worst_status_of_its_topics_and_its_own_bounds() {
    let mut harness = GroupHarness::default();
    let bounds = |lag: &GroupLag| GroupBounds {
        group: TimeBounds { lower: Some(1), upper: Some(2) },
        ..no_bounds(lag)
    };
    let lag = group_lag(&[("a", vec![(0, 10, 11)]), ("b", vec![(0, 10, 5)]), ("c", vec![(0, 10, -1)])]);
    let assessment = harness.poll_with_bounds(0.0, &lag, &bounds(&lag));
    let statuses: Vec<_> = assessment.topics.iter().map(|t| t.status).collect();
    assert_eq!(statuses, [Some(Status::Rewound), None, None]);
    assert_eq!(
        (assessment.status, assessment.bounds),
        (Some(Status::Rewound), TimeBounds { lower: Some(1), upper: Some(2) })
    );
}

#[test]
fn without_a_window_only_the_last_poll_counts() {
    let lag = lag_of(&[(10, 5), (10, 2)]);
    let status = topic_status(&[0, 3]);
    let facts = |_: &TopicName| TopicFacts { status: Some(&status), ..TopicFacts::default() };
    let assessment =
        assess(&lag, &no_bounds(&lag), &GroupWindow::default(), None, Duration::from_secs(600), facts);
    assert_eq!(
        (assessment.status, assessment.consumable, assessment.catch_up),
        (Some(Status::DataLoss), Some(12), None)
    );
}

#[test]
fn ok_requires_the_status_of_every_partition() {
    let mut harness = GroupHarness::default();
    let assessment: Vec<_> = (0..13_i64)
        .map(|minute| {
            let moving = (1_000 + 60 * minute, 1_000 + 60 * minute - 5);
            harness.poll(60.0 * minute as f64, &[moving, (500, 400)])
        })
        .map(|assessment| (assessment.status, assessment.topics[0].status))
        .collect();
    assert_eq!(assessment[6], (None, None), "one offset is unchanged since the first poll");
    assert_eq!(assessment[12], (Some(Status::Stalled), Some(Status::Stalled)));
}
