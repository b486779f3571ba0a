//! What is said of a group beside its lag, and of whom the times of messages are asked.

use super::{
    state::{Case, clean},
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

/// An answer about a group that has committed this much of topic `t`, which ends there, and the time of the
/// message that it has read last.
fn at(committed: i64, end: i64, time: i64) -> GroupProgress {
    let mut progress = progress(end);
    progress.topics[0].partitions[0].committed = Offset::new(committed);
    progress.topics[0].partitions[0].last_consumed = UnixMillis::new(time);
    progress
}

impl Case {
    fn told(&mut self, progress: GroupProgress) {
        self.after(60);
        self.answer(&target(), PollResponse::GroupProgress(clean(progress), origin()));
    }

    fn group(&mut self) -> Arc<GroupView> {
        Arc::clone(&self.view().instances[0].groups[0])
    }

    fn time(&mut self) -> Option<i64> {
        Some(self.group().lag.as_ref()?.topics[0].partitions[0].last_consumed?.get())
    }
}

fn asking(last_timestamps: LastTimestamps) -> Case {
    let region = RegionId::new("cn-hangzhou").unwrap();
    let timing = PollTiming { last_timestamps, ..timing() };
    Case::over(RegionState::new(None, region, Filters::default(), timing, Arc::default()), &["t"], &["g"])
}

#[test]
fn times_are_asked_of_a_group_at_first_and_while_it_lags() {
    let mut case = asking(LastTimestamps::Lagging);
    assert_eq!(
        case.times(&target()),
        MessageTimestamps::Requested,
        "the first pass is to have a lag in seconds"
    );
    case.told(at(9, 10, 5_000));
    assert_eq!(case.times(&target()), MessageTimestamps::Requested);
    case.told(at(10, 10, 6_000));
    assert_eq!(case.times(&target()), MessageTimestamps::NotRequested);
    case.told(at(10, 12, 0));
    assert_eq!(case.times(&target()), MessageTimestamps::Requested);
    let mut unknown = progress(10);
    unknown.topics[0].partitions[0].committed = None;
    case.told(unknown);
    assert_eq!(case.times(&target()), MessageTimestamps::Requested, "nobody knows whether it lags");
    for (ask, wanted) in [
        (LastTimestamps::Always, MessageTimestamps::Requested),
        (LastTimestamps::Never, MessageTimestamps::NotRequested),
    ] {
        let mut case = asking(ask);
        assert_eq!(case.times(&target()), wanted);
        case.told(at(10, 10, 0));
        assert_eq!(case.times(&target()), wanted);
        case.told(at(10, 12, 0));
        assert_eq!(case.times(&target()), wanted);
    }
}

#[test]
fn where_the_cloud_has_no_times_to_tell_they_are_asked_for_now_and_then() {
    let mut case = asking(LastTimestamps::Lagging);
    let mut asked = Vec::new();
    for poll in 0..46 {
        if case.times(&target()) == MessageTimestamps::Requested {
            asked.push(poll);
        }
        case.told(at(1, 100, 0));
    }
    assert_eq!(asked, [0, 1, 22, 43], "a serverless instance never has any");
    // As soon as there are some, each poll is asked for them.
    case.told(at(1, 100, 5_000));
    case.told(at(2, 100, 0));
    assert_eq!(case.times(&target()), MessageTimestamps::Requested);
}

#[test]
fn a_time_that_is_not_told_stays_while_nothing_more_is_read() {
    let mut case = asking(LastTimestamps::Lagging);
    case.told(at(10, 10, 5_000));
    case.told(at(10, 10, 0));
    case.told(at(10, 12, 0));
    assert_eq!(case.time(), Some(5_000), "it is still the last message that was read");
    case.told(at(11, 12, 0));
    assert_eq!(case.time(), None);
    case.told(at(11, 13, 6_000));
    case.told(at(11, 11, 0));
    assert_eq!(case.time(), None, "the topic was created anew");
}

#[test]
fn rebalances_are_counted_from_the_first_answer_on() {
    let mut case = asking(LastTimestamps::Lagging);
    let mut told = |list: &[(i64, Option<u64>)]| {
        let rebalances = list
            .iter()
            .map(|(at, generation)| Rebalance { at: UnixMillis::new(*at).unwrap(), generation: *generation })
            .collect();
        case.told(GroupProgress { rebalances, ..at(10, 10, 0) });
        case.group().rebalances.map(|Rebalances { seen, last }| (seen, last.get()))
    };
    assert_eq!(told(&[]), None);
    assert_eq!(told(&[(100, Some(6)), (200, Some(7))]), Some((0, 200)), "those of before nobody has seen");
    assert_eq!(told(&[(200, Some(7))]), Some((0, 200)));
    assert_eq!(told(&[(200, Some(7)), (300, Some(8))]), Some((1, 300)));
    assert_eq!(told(&[(700, Some(12))]), Some((5, 700)), "the list is shorter than what has been");
    assert_eq!(told(&[]), Some((5, 700)));
    assert_eq!(
        told(&[(800, Some(1)), (900, Some(2))]),
        Some((7, 900)),
        "a group without members begins anew"
    );
    assert_eq!(told(&[(950, None)]), Some((8, 950)));
    assert_eq!(told(&[(940, Some(9))]), Some((8, 950)), "an older word is no news");
}

#[test]
fn what_is_said_of_a_group_goes_with_its_lag_and_follows_its_topics() {
    let mut case = asking(LastTimestamps::Lagging);
    case.told(GroupProgress { state: Some(GroupState::Stable), ..at(40, 100, 0) });
    let retention = |case: &mut Case| {
        let group = case.group();
        let said = group.assessment.clone()?;
        said.topics[0].partitions[0].retention
    };
    assert_eq!(retention(&mut case), None, "where the topic begins is not known yet");
    let topic_holds = |case: &mut Case, start| {
        let mut status = status(100);
        status.partitions[0].start = Offset::new(start);
        let target = PollTarget::TopicStatus(id("i"), topic("t").name);
        case.answer(&target, PollResponse::TopicStatus(clean(status), origin()));
        retention(case)
    };
    assert_eq!(topic_holds(&mut case, 30), Some(RetentionMargin { margin: Some(10), lost: 0 }));
    let before = case.group();
    assert_eq!(topic_holds(&mut case, 30), Some(RetentionMargin { margin: Some(10), lost: 0 }));
    assert!(Arc::ptr_eq(&before, &case.group()), "the same is not said anew");
    assert_eq!(topic_holds(&mut case, 55), Some(RetentionMargin { margin: None, lost: 15 }));
    assert_eq!(case.group().state, Some(GroupState::Stable));
    case.after(120);
    case.told(at(40, 100, 0));
    case.after(100);
    assert_eq!(retention(&mut case), None, "what the topic held is too old");
    case.after(120);
    let group = case.group();
    assert_eq!((group.lag.is_none(), group.assessment.is_none(), group.state), (true, true, None));
}

/// Who has not answered for long is not shown, and may come back where it was.
#[test]
fn an_outage_that_outlives_a_value_costs_nothing_of_the_past() {
    let mut case = asking(LastTimestamps::Lagging);
    let poll = |case: &mut Case, seconds: u64, end: i64| {
        case.after(seconds);
        let span = TimeSpan::at(wall(case.wall().get()));
        let origin = ResponseOrigin { span, request_id: None };
        case.answer(&target(), PollResponse::GroupProgress(clean(at(100, end, 0)), origin));
        case.group().assessment.clone().unwrap().bounds
    };
    for minute in 0..30 {
        poll(&mut case, 60, 90 + 10 * minute);
    }
    for _ in 0..6 {
        case.after(60);
        case.view();
    }
    assert!(case.group().lag.is_none(), "it is too old to be shown");
    let age = poll(&mut case, 60, 1_000);
    assert!(age.lower > Some(30 * 60_000) && age.upper < Some(40 * 60_000), "{age:?}");
    assert!(age.upper.is_some(), "{age:?}");
}

#[test]
fn a_busy_group_is_not_past_the_end_by_what_it_commits_while_it_is_asked() {
    let mut case = asking(LastTimestamps::Lagging);
    let mut status = None;
    for minute in 0..8_i64 {
        case.after(60);
        let origin = ResponseOrigin { span: TimeSpan::at(wall(case.wall().get())), request_id: None };
        let read = at(minute * 60_000 + 30, minute * 60_000, 0);
        case.answer(&target(), PollResponse::GroupProgress(clean(read), origin));
        status = case.group().assessment.clone().unwrap().status;
    }
    assert_eq!(status, Some(Status::Ok));
    case.after(60);
    let origin = ResponseOrigin { span: TimeSpan::at(wall(case.wall().get())), request_id: None };
    case.answer(&target(), PollResponse::GroupProgress(clean(at(900_000, 480_000, 0)), origin));
    assert_eq!(case.group().assessment.clone().unwrap().status, Some(Status::Rewound));
}

#[test]
fn a_group_is_not_judged_by_what_a_topic_held_that_is_gone() {
    let mut case = asking(LastTimestamps::Lagging);
    let mut held = status(5_000);
    // Not past the new topic's end, so that nothing else gives it away.
    held.partitions[0].start = Offset::new(8);
    let target = PollTarget::TopicStatus(id("i"), topic("t").name);
    case.answer(&target, PollResponse::TopicStatus(clean(held), origin()));
    case.told(at(4_900, 5_000, 0));
    let said = |case: &mut Case| {
        let said = case.group().assessment.clone().unwrap();
        (said.status, said.topics[0].partitions[0].retention)
    };
    assert_eq!(said(&mut case), (None, Some(RetentionMargin { margin: Some(4_892), lost: 0 })));
    case.told(at(3, 10, 0));
    let (status, retention) = said(&mut case);
    assert_eq!((status, retention), (None, None), "nothing is lost of the new topic");
    let mut held = self::status(10);
    held.partitions[0].start = Offset::new(1);
    case.answer(&target, PollResponse::TopicStatus(clean(held), origin()));
    assert_eq!(said(&mut case).1, Some(RetentionMargin { margin: Some(2), lost: 0 }));
}
