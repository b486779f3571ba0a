//! Timestamps, rebalances, history and assessment of a group, over successive responses.

use super::{
    state::{RegionTest, observed},
    *,
};
use crate::{
    collect::state::{PollResponse, RegionState},
    lag::{RetentionMargin, status::Status},
    model::{GroupState, Rebalance},
    snapshot::{GroupView, Rebalances},
};

fn target() -> PollTarget {
    PollTarget::GroupProgress(id("i"), group("g"))
}

/// Returns a response about a group with one partition of topic `t`, and the timestamp of the last consumed message.
fn consumed(committed: i64, end: i64, time: i64) -> GroupProgress {
    let mut progress = progress(end);
    progress.topics[0].partitions[0].committed = Offset::new(committed);
    progress.topics[0].partitions[0].last_consumed = UnixMillis::new(time);
    progress
}

impl RegionTest {
    fn polled(&mut self, progress: GroupProgress) {
        self.advance(60);
        self.apply_response(&target(), PollResponse::GroupProgress(observed(progress), origin()));
    }

    fn group(&mut self) -> Arc<GroupView> {
        Arc::clone(&self.view().instances[0].groups[0])
    }

    fn timestamp(&mut self) -> Option<i64> {
        Some(self.group().lag.as_ref()?.topics[0].partitions[0].last_consumed?.get())
    }
}

fn case_with(last_timestamps: LastTimestamps) -> RegionTest {
    let region = RegionId::new("cn-hangzhou").unwrap();
    let timing = PollTiming { last_timestamps, ..timing() };
    RegionTest::in_state(
        RegionState::new(None, region, Filters::default(), timing, Arc::default()),
        &["t"],
        &["g"],
    )
}

#[test]
fn timestamps_are_requested_first_and_while_a_group_lags() {
    let mut case = case_with(LastTimestamps::Lagging);
    assert_eq!(
        case.times(&target()),
        MessageTimestamps::Requested,
        "lag in seconds is known from the first pass on"
    );
    case.polled(consumed(9, 10, 5_000));
    assert_eq!(case.times(&target()), MessageTimestamps::Requested);
    case.polled(consumed(10, 10, 6_000));
    assert_eq!(case.times(&target()), MessageTimestamps::NotRequested);
    case.polled(consumed(10, 12, 0));
    assert_eq!(case.times(&target()), MessageTimestamps::Requested);
    let mut unknown = progress(10);
    unknown.topics[0].partitions[0].committed = None;
    case.polled(unknown);
    assert_eq!(case.times(&target()), MessageTimestamps::Requested, "its lag is unknown");
    for (setting, expected) in [
        (LastTimestamps::Always, MessageTimestamps::Requested),
        (LastTimestamps::Never, MessageTimestamps::NotRequested),
    ] {
        let mut case = case_with(setting);
        assert_eq!(case.times(&target()), expected);
        case.polled(consumed(10, 10, 0));
        assert_eq!(case.times(&target()), expected);
        case.polled(consumed(10, 12, 0));
        assert_eq!(case.times(&target()), expected);
    }
}

#[test]
fn missing_timestamps_are_requested_again_now_and_then() {
    let mut case = case_with(LastTimestamps::Lagging);
    let mut requested = Vec::new();
    for poll in 0..46 {
        if case.times(&target()) == MessageTimestamps::Requested {
            requested.push(poll);
        }
        case.polled(consumed(1, 100, 0));
    }
    assert_eq!(requested, [0, 1, 22, 43], "serverless instances never report any");
    // As soon as there are some, each poll requests them.
    case.polled(consumed(1, 100, 5_000));
    case.polled(consumed(2, 100, 0));
    assert_eq!(case.times(&target()), MessageTimestamps::Requested);
}

#[test]
fn a_missing_timestamp_is_carried_over_while_nothing_is_consumed() {
    let mut case = case_with(LastTimestamps::Lagging);
    case.polled(consumed(10, 10, 5_000));
    case.polled(consumed(10, 10, 0));
    case.polled(consumed(10, 12, 0));
    assert_eq!(case.timestamp(), Some(5_000), "the last consumed message is still the same");
    case.polled(consumed(11, 12, 0));
    assert_eq!(case.timestamp(), None);
    case.polled(consumed(11, 13, 6_000));
    case.polled(consumed(11, 11, 0));
    assert_eq!(case.timestamp(), None, "the topic was recreated");
}

#[test]
fn rebalances_count_from_the_first_response_on() {
    let mut case = case_with(LastTimestamps::Lagging);
    let mut count = |list: &[(i64, Option<u64>)]| {
        let rebalances = list
            .iter()
            .map(|(at, generation)| Rebalance { at: UnixMillis::new(*at).unwrap(), generation: *generation })
            .collect();
        case.polled(GroupProgress { rebalances, ..consumed(10, 10, 0) });
        case.group().rebalances.map(|Rebalances { seen, last }| (seen, last.get()))
    };
    assert_eq!(count(&[]), None);
    assert_eq!(count(&[(100, Some(6)), (200, Some(7))]), Some((0, 200)), "earlier rebalances do not count");
    assert_eq!(count(&[(200, Some(7))]), Some((0, 200)));
    assert_eq!(count(&[(200, Some(7)), (300, Some(8))]), Some((1, 300)));
    assert_eq!(count(&[(700, Some(12))]), Some((5, 700)), "some have dropped out of the list");
    assert_eq!(count(&[]), Some((5, 700)));
    assert_eq!(
        count(&[(800, Some(1)), (900, Some(2))]),
        Some((7, 900)),
        "generations restart in a group without members"
    );
    assert_eq!(count(&[(950, None)]), Some((8, 950)));
    assert_eq!(count(&[(940, Some(9))]), Some((8, 950)), "an older response does not count");
}

#[test]
fn an_assessment_expires_with_the_lag_and_follows_topic_changes() {
    let mut case = case_with(LastTimestamps::Lagging);
    case.polled(GroupProgress { state: Some(GroupState::Stable), ..consumed(40, 100, 0) });
    let retention = |case: &mut RegionTest| {
        let group = case.group();
        let assessment = group.assessment.clone()?;
        assessment.topics[0].partitions[0].retention
    };
    assert_eq!(retention(&mut case), None, "the start of the topic is unknown");
    let retention_with_start = |case: &mut RegionTest, start| {
        let mut status = status(100);
        status.partitions[0].start = Offset::new(start);
        let target = PollTarget::TopicStatus(id("i"), topic("t").name);
        case.apply_response(&target, PollResponse::TopicStatus(observed(status), origin()));
        retention(case)
    };
    assert_eq!(retention_with_start(&mut case, 30), Some(RetentionMargin { margin: Some(10), lost: 0 }));
    let before = case.group();
    assert_eq!(retention_with_start(&mut case, 30), Some(RetentionMargin { margin: Some(10), lost: 0 }));
    assert!(Arc::ptr_eq(&before, &case.group()), "an unchanged view is shared");
    assert_eq!(retention_with_start(&mut case, 55), Some(RetentionMargin { margin: None, lost: 15 }));
    assert_eq!(case.group().state, Some(GroupState::Stable));
    case.advance(120);
    case.polled(consumed(40, 100, 0));
    case.advance(100);
    assert_eq!(retention(&mut case), None, "the status of the topic has expired");
    case.advance(120);
    let group = case.group();
    assert_eq!((group.lag.is_none(), group.assessment.is_none(), group.state), (true, true, None));
}

#[test]
fn an_outage_longer_than_stale_after_keeps_the_history() {
    let mut case = case_with(LastTimestamps::Lagging);
    let poll = |case: &mut RegionTest, seconds: u64, end: i64| {
        case.advance(seconds);
        let span = TimeSpan::at(wall(case.wall().get()));
        let origin = ResponseOrigin { span, request_id: None };
        case.apply_response(&target(), PollResponse::GroupProgress(observed(consumed(100, end, 0)), origin));
        case.group().assessment.clone().unwrap().bounds
    };
    for minute in 0..30 {
        poll(&mut case, 60, 90 + 10 * minute);
    }
    for _ in 0..6 {
        case.advance(60);
        case.view();
    }
    assert!(case.group().lag.is_none(), "it has expired");
    let age = poll(&mut case, 60, 1_000);
    assert!(age.lower > Some(30 * 60_000) && age.upper < Some(40 * 60_000), "{age:?}");
    assert!(age.upper.is_some(), "{age:?}");
}

#[test]
fn commits_during_a_poll_are_no_rewind() {
    let mut case = case_with(LastTimestamps::Lagging);
    let mut status = None;
    for minute in 0..8_i64 {
        case.advance(60);
        let origin = ResponseOrigin { span: TimeSpan::at(wall(case.wall().get())), request_id: None };
        let response = consumed(minute * 60_000 + 30, minute * 60_000, 0);
        case.apply_response(&target(), PollResponse::GroupProgress(observed(response), origin));
        status = case.group().assessment.clone().unwrap().status;
    }
    assert_eq!(status, Some(Status::Ok));
    case.advance(60);
    let origin = ResponseOrigin { span: TimeSpan::at(wall(case.wall().get())), request_id: None };
    case.apply_response(
        &target(),
        PollResponse::GroupProgress(observed(consumed(900_000, 480_000, 0)), origin),
    );
    assert_eq!(case.group().assessment.clone().unwrap().status, Some(Status::Rewound));
}

#[test]
fn a_group_is_not_assessed_by_the_status_of_a_deleted_topic() {
    let mut case = case_with(LastTimestamps::Lagging);
    let mut deleted = status(5_000);
    // Below the end of the new topic, so that nothing else reveals the recreation.
    deleted.partitions[0].start = Offset::new(8);
    let target = PollTarget::TopicStatus(id("i"), topic("t").name);
    case.apply_response(&target, PollResponse::TopicStatus(observed(deleted), origin()));
    case.polled(consumed(4_900, 5_000, 0));
    let assess = |case: &mut RegionTest| {
        let assessment = case.group().assessment.clone().unwrap();
        (assessment.status, assessment.topics[0].partitions[0].retention)
    };
    assert_eq!(assess(&mut case), (None, Some(RetentionMargin { margin: Some(4_892), lost: 0 })));
    case.polled(consumed(3, 10, 0));
    let (status, retention) = assess(&mut case);
    assert_eq!((status, retention), (None, None), "nothing of the new topic is lost");
    let mut deleted = self::status(10);
    deleted.partitions[0].start = Offset::new(1);
    case.apply_response(&target, PollResponse::TopicStatus(observed(deleted), origin()));
    assert_eq!(assess(&mut case).1, Some(RetentionMargin { margin: Some(2), lost: 0 }));
}
