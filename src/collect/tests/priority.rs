//! What successive answers make of a target's pace, and of a topic's end offsets.

use super::{
    state::{Case, clean},
    *,
};
use crate::collect::{
    PollPriority,
    state::{Effects, PollResponse},
};

fn of_group(name: &str) -> PollTarget {
    PollTarget::GroupProgress(id("i"), group(name))
}

fn of_topic() -> PollTarget {
    PollTarget::TopicStatus(id("i"), topic("t").name)
}

/// An answer about a group that has committed this much of topic `t`, which ends there.
fn at(committed: i64, end: i64) -> GroupProgress {
    let mut progress = progress(end);
    progress.topics[0].partitions[0].committed = Offset::new(committed);
    progress
}

impl Case {
    fn tell(&mut self, name: &str, progress: GroupProgress) -> Effects {
        self.apply(&of_group(name), Ok(PollResponse::GroupProgress(clean(progress), origin())))
    }

    fn pace(&mut self, progress: GroupProgress) -> Option<PollPriority> {
        self.after(60);
        self.tell("g", progress).priority
    }

    fn status(&mut self, status: TopicStatus) -> Effects {
        self.apply(&of_topic(), Ok(PollResponse::TopicStatus(clean(status), origin())))
    }

    /// The end offsets of topic `t` that are shown.
    fn ends(&mut self) -> Option<Vec<Option<i64>>> {
        let view = self.view();
        let status = view.instances[0].topics[0].status.clone()?;
        Some(status.partitions.iter().map(|p| p.end.map(Offset::get)).collect())
    }

    /// The end offset of the only partition of topic `t` that is shown.
    fn end(&mut self) -> Option<i64> {
        self.ends()?.first().copied()?
    }
}

const LAGGING: Option<PollPriority> = Some(PollPriority::Lagging);
const ACTIVE: Option<PollPriority> = Some(PollPriority::Active);
const IDLE: Option<PollPriority> = Some(PollPriority::Idle);

#[test]
fn a_group_of_which_nothing_moves_is_idle_after_five_polls_and_active_at_once_when_it_does() {
    let mut case = Case::with(&[], &["g"]);
    for _ in 0..5 {
        assert_eq!(case.pace(at(7, 7)), ACTIVE);
    }
    assert_eq!(case.pace(at(7, 7)), IDLE, "five answers like the one before");
    assert_eq!(case.pace(at(8, 8)), ACTIVE, "it was written to, and read on");
    for _ in 0..4 {
        assert_eq!(case.pace(at(8, 8)), ACTIVE);
    }
    assert_eq!(case.pace(at(8, 8)), IDLE);
    assert_eq!(case.pace(at(8, 9)), LAGGING, "it was written to, and not read");
}

#[test]
fn lag_that_moves_is_urgent_and_lag_that_is_stuck_does_not_decay() {
    let mut case = Case::with(&[], &["g"]);
    assert_eq!(case.pace(at(5, 9)), ACTIVE, "nobody knows yet whether it moves");
    assert_eq!(case.pace(at(6, 9)), LAGGING);
    for _ in 0..4 {
        assert_eq!(case.pace(at(6, 9)), LAGGING);
    }
    for _ in 0..20 {
        assert_eq!(case.pace(at(6, 9)), ACTIVE, "people wait for it");
    }
    assert_eq!(case.pace(at(6, 10)), LAGGING);
    assert_eq!(case.pace(at(10, 10)), ACTIVE);
}

#[test]
fn a_group_without_topics_is_idle_and_one_of_unknown_lag_is_not() {
    let mut case = Case::with(&[], &["g"]);
    let nothing = || GroupProgress::default();
    let paces: Vec<_> = (0..6).map(|_| case.pace(nothing())).collect();
    assert_eq!((paces[4], paces[5]), (ACTIVE, IDLE));
    let paces: Vec<_> = (0..9).map(|_| case.pace(at(-1, 5))).collect();
    assert!(paces.iter().all(|pace| *pace == ACTIVE));
}

#[test]
fn failures_and_doubts_say_nothing_of_the_pace() {
    let mut case = Case::with(&[], &["g"]);
    (0..6).for_each(|_| _ = case.pace(at(7, 7)));
    let failure = Err(error(Action::GetConsumerProgress, ErrorKind::Server));
    assert_eq!(case.apply(&of_group("g"), failure).priority, None, "it stays as it was");
    assert_eq!(case.pace(GroupProgress::default()), ACTIVE, "an empty answer is asked again soon");
    assert_eq!(case.pace(at(7, 7)), IDLE);
    case.after(600);
    case.view();
    assert_eq!(case.pace(at(7, 7)), ACTIVE, "nobody knows what went on while the value was missing");
}

#[test]
fn a_topic_is_idle_if_its_ends_rest_or_groups_tell_all_of_them() {
    let mut case = Case::with(&["t"], &["g"]);
    let two = |a: i64, b: i64| {
        let mut status = status(a);
        status.partitions.push(TopicPartition { partition: Partition(1), ..self::status(b).partitions[0] });
        status
    };
    for end in 0..10 {
        case.after(60);
        assert_eq!(case.status(two(end, 3)).priority, ACTIVE, "it moves");
    }
    case.tell("g", at(0, 9));
    assert_eq!(case.status(two(10, 3)).priority, ACTIVE, "one of two ends is told");
    let mut both = at(0, 10);
    let second = PartitionProgress { partition: Partition(1), ..both.topics[0].partitions[0] };
    both.topics[0].partitions.push(PartitionProgress { end: Offset::new(3), ..second });
    case.tell("g", both);
    assert_eq!(case.status(two(11, 3)).priority, IDLE, "both are");
    case.after(91);
    assert_eq!(case.status(two(12, 3)).priority, ACTIVE, "the group has not told them for longer than that");
    let paces: Vec<_> = (0..5).map(|_| case.status(two(12, 3)).priority).collect();
    assert_eq!((paces[3], paces[4]), (ACTIVE, IDLE));
    assert_eq!(case.status(TopicStatus::default()).priority, ACTIVE, "an empty answer is asked again soon");
}

#[test]
fn a_later_end_that_a_group_tells_stands_in_for_that_of_the_status() {
    let mut case = Case::with(&["t"], &["g", "h"]);
    case.tell("g", at(5, 50));
    assert_eq!(case.end(), None, "nothing stands in for a status that is not known");
    case.status(status(40));
    assert_eq!(case.end(), Some(50), "calls overtake each other: the end does not step back");
    case.after(30);
    assert_eq!(case.tell("h", at(60, 60)).expedited, []);
    assert_eq!((case.end(), case.lag("h"), case.lag("g")), (Some(60), Some(0), Some(45)));
    case.after(30);
    case.status(status(70));
    assert_eq!(case.end(), Some(70));
    let view = case.view();
    case.after(1);
    case.tell("h", at(65, 70));
    let again = case.view();
    let topic = |view: &RegionView| Arc::clone(&view.instances[0].topics[0]);
    assert!(Arc::ptr_eq(&topic(&view), &topic(&again)), "what is told already makes no new part of the page");
}

#[test]
fn what_groups_tell_does_not_bring_back_a_status_that_grew_too_old() {
    let mut case = Case::with(&["t"], &["g"]);
    case.status(status(40));
    for minute in 1..=3 {
        case.after(60);
        case.tell("g", at(0, 40 + minute));
        assert_eq!(case.end(), Some(40 + minute));
    }
    case.after(1);
    assert_eq!(case.ends(), None);
    case.tell("g", at(0, 50));
    assert_eq!(case.ends(), None);
    assert_eq!(case.lag("g"), Some(50));
}

#[test]
fn a_topic_that_was_created_anew_ends_where_its_status_says_and_is_asked_at_once() {
    let mut case = Case::with(&["t"], &["g"]);
    case.status(status(40));
    case.after(60);
    case.tell("g", at(0, 90));
    assert_eq!(case.end(), Some(90));
    case.after(60);
    let effects = case.tell("g", at(0, 60));
    assert_eq!(effects.expedited, [(of_topic(), case.now())]);
    assert_eq!(case.end(), Some(40), "start and end of one answer, until there is another");
    assert_eq!(case.lag("g"), Some(60), "the lag is what one answer says");
    case.tell("g", at(0, 61));
    assert_eq!(case.end(), Some(40));
    assert_eq!(kinds(&case.status(status(3))), [AnomalyKind::Rewind]);
    assert_eq!(case.end(), Some(3), "what groups told of the topic before is forgotten");
    case.after(60);
    case.tell("g", at(0, 80));
    assert_eq!(case.end(), Some(80));
}

#[test]
fn a_status_that_fell_takes_what_groups_told_with_it() {
    let mut case = Case::with(&["t"], &["g"]);
    case.status(status(40));
    case.after(60);
    case.tell("g", at(0, 90));
    case.after(10);
    case.status(status(2));
    assert_eq!(case.end(), Some(2));
}

#[test]
fn a_group_that_tells_less_than_the_status_brings_its_next_poll_no_nearer_than_the_usual() {
    let mut case = Case::with(&["t"], &["g", "h"]);
    case.status(status(40));
    let usual = case.now() + timing().topic_poll;
    case.after(30);
    assert_eq!(case.tell("g", at(0, 39)).expedited, [(of_topic(), usual)]);
    assert_eq!(case.end(), Some(40));
    case.tell("h", at(0, 45));
    assert_eq!(case.tell("g", at(0, 44)).expedited, [], "another group has read it later");
    assert_eq!(case.end(), Some(45));
}

#[test]
fn an_end_that_nobody_tells_any_more_yields_to_the_status() {
    let mut case = Case::with(&["t"], &["g"]);
    case.status(status(40));
    case.tell("g", at(0, 90));
    case.after(16);
    case.status(status(50));
    assert_eq!(case.end(), Some(50));
}

fn kinds(effects: &Effects) -> Vec<AnomalyKind> {
    effects.anomalies.iter().map(|a| a.kind).collect()
}

proptest::proptest! {
    /// Of a topic that only grows, and whose status and groups are heard later than they were read (by no more
    /// than a call may take), what is shown never steps back and is never more than the truth.
    #[test]
    fn the_end_of_a_topic_that_grows_never_steps_back(
        calls in proptest::collection::vec((0usize..3, 1u64..7, 0i64..30, proptest::bool::ANY), 1..200)
    ) {
        let mut case = Case::with(&["t"], &["g", "h"]);
        case.status(status(0));
        let (mut truth, mut shown, mut earlier, mut last) = (0, 0, [0; 2], [0; 3]);
        for (source, pause, written, late) in calls {
            case.after(pause);
            // A late answer was read two calls ago, though not before the same source was read the last time.
            let read = if late { earlier[0].max(last[source]) } else { truth + written };
            last[source] = read;
            earlier = [earlier[1], truth + written];
            truth += written;
            match source {
                0 => drop(case.status(status(read))),
                1 => drop(case.tell("g", at(0, read))),
                _ => drop(case.tell("h", at(0, read))),
            }
            let Some(end) = case.end() else { continue };
            proptest::prop_assert!(end <= truth && end >= shown, "{} after {}, in truth {}", end, shown, truth);
            shown = end;
        }
    }
}
