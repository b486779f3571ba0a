//! Priority of a target over successive responses, and the end offsets of a topic that groups report.

use super::{
    state::{RegionTest, observed},
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

/// Returns a response about a group with one partition of topic `t`.
fn consumed(committed: i64, end: i64) -> GroupProgress {
    let mut progress = progress(end);
    progress.topics[0].partitions[0].committed = Offset::new(committed);
    progress
}

impl RegionTest {
    fn progress_of(&mut self, name: &str, progress: GroupProgress) -> Effects {
        self.apply(&of_group(name), Ok(PollResponse::GroupProgress(observed(progress), origin())))
    }

    fn priority(&mut self, progress: GroupProgress) -> Option<PollPriority> {
        self.advance(60);
        self.progress_of("g", progress).priority
    }

    fn status(&mut self, status: TopicStatus) -> Effects {
        self.apply(&of_topic(), Ok(PollResponse::TopicStatus(observed(status), origin())))
    }

    /// Returns the end offsets in the view of topic `t`.
    fn ends(&mut self) -> Option<Vec<Option<i64>>> {
        let view = self.view();
        let status = view.instances[0].topics[0].status.clone()?;
        Some(status.partitions.iter().map(|p| p.end.map(Offset::get)).collect())
    }

    /// Returns the end offset in the view of topic `t`, which has one partition.
    fn end(&mut self) -> Option<i64> {
        self.ends()?.first().copied()?
    }
}

const LAGGING: Option<PollPriority> = Some(PollPriority::Lagging);
const ACTIVE: Option<PollPriority> = Some(PollPriority::Active);
const IDLE: Option<PollPriority> = Some(PollPriority::Idle);

#[test]
fn an_unchanged_group_is_idle_after_five_polls_and_active_after_a_change() {
    let mut case = RegionTest::with(&[], &["g"]);
    for _ in 0..5 {
        assert_eq!(case.priority(consumed(7, 7)), ACTIVE);
    }
    assert_eq!(case.priority(consumed(7, 7)), IDLE, "five unchanged responses");
    assert_eq!(case.priority(consumed(8, 8)), ACTIVE, "messages were produced and consumed");
    for _ in 0..4 {
        assert_eq!(case.priority(consumed(8, 8)), ACTIVE);
    }
    assert_eq!(case.priority(consumed(8, 8)), IDLE);
    assert_eq!(case.priority(consumed(8, 9)), LAGGING, "messages were produced, not consumed");
}

#[test]
fn moving_lag_is_most_important_and_stuck_lag_stays_active() {
    let mut case = RegionTest::with(&[], &["g"]);
    assert_eq!(case.priority(consumed(5, 9)), ACTIVE, "it is not yet known whether it moves");
    assert_eq!(case.priority(consumed(6, 9)), LAGGING);
    for _ in 0..4 {
        assert_eq!(case.priority(consumed(6, 9)), LAGGING);
    }
    for _ in 0..20 {
        assert_eq!(case.priority(consumed(6, 9)), ACTIVE, "operators wait for it");
    }
    assert_eq!(case.priority(consumed(6, 10)), LAGGING);
    assert_eq!(case.priority(consumed(10, 10)), ACTIVE);
}

#[test]
fn a_group_without_topics_becomes_idle_and_one_with_unknown_lag_does_not() {
    let mut case = RegionTest::with(&[], &["g"]);
    let nothing = || GroupProgress::default();
    let priorities: Vec<_> = (0..6).map(|_| case.priority(nothing())).collect();
    assert_eq!((priorities[4], priorities[5]), (ACTIVE, IDLE));
    let priorities: Vec<_> = (0..9).map(|_| case.priority(consumed(-1, 5))).collect();
    assert!(priorities.iter().all(|priority| *priority == ACTIVE));
}

#[test]
fn failures_keep_the_priority() {
    let mut case = RegionTest::with(&[], &["g"]);
    (0..6).for_each(|_| _ = case.priority(consumed(7, 7)));
    let failure = Err(error(Action::GetConsumerProgress, ErrorKind::Server));
    assert_eq!(case.apply(&of_group("g"), failure).priority, None, "it is kept");
    assert_eq!(case.priority(GroupProgress::default()), ACTIVE, "an empty response is checked soon");
    assert_eq!(case.priority(consumed(7, 7)), IDLE);
    case.advance(600);
    case.view();
    assert_eq!(case.priority(consumed(7, 7)), ACTIVE, "nothing is known about the time of the gap");
}

#[test]
fn a_topic_is_idle_if_unchanged_or_if_groups_report_all_ends() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    let two = |a: i64, b: i64| {
        let mut status = status(a);
        status.partitions.push(TopicPartition { partition: Partition(1), ..self::status(b).partitions[0] });
        status
    };
    for end in 0..10 {
        case.advance(60);
        assert_eq!(case.status(two(end, 3)).priority, ACTIVE, "it moves");
    }
    case.progress_of("g", consumed(0, 9));
    assert_eq!(case.status(two(10, 3)).priority, ACTIVE, "one of two end offsets is reported");
    let mut both = consumed(0, 10);
    let second = PartitionProgress { partition: Partition(1), ..both.topics[0].partitions[0] };
    both.topics[0].partitions.push(PartitionProgress { end: Offset::new(3), ..second });
    case.progress_of("g", both);
    assert_eq!(case.status(two(11, 3)).priority, IDLE, "both are reported");
    case.advance(91);
    assert_eq!(case.status(two(12, 3)).priority, ACTIVE, "the reports are outdated");
    let priorities: Vec<_> = (0..5).map(|_| case.status(two(12, 3)).priority).collect();
    assert_eq!((priorities[3], priorities[4]), (ACTIVE, IDLE));
    assert_eq!(case.status(TopicStatus::default()).priority, ACTIVE, "an empty response is checked soon");
}

#[test]
fn a_larger_reported_end_replaces_that_of_the_status() {
    let mut case = RegionTest::with(&["t"], &["g", "h"]);
    case.progress_of("g", consumed(5, 50));
    assert_eq!(case.end(), None, "reports do not replace an unknown status");
    case.status(status(40));
    assert_eq!(case.end(), Some(50), "calls overtake each other, and the end offset does not step back");
    case.advance(30);
    assert_eq!(case.progress_of("h", consumed(60, 60)).expedited, []);
    assert_eq!((case.end(), case.lag("h"), case.lag("g")), (Some(60), Some(0), Some(45)));
    case.advance(30);
    case.status(status(70));
    assert_eq!(case.end(), Some(70));
    let view = case.view();
    case.advance(1);
    case.progress_of("h", consumed(65, 70));
    let again = case.view();
    let topic = |view: &RegionView| Arc::clone(&view.instances[0].topics[0]);
    assert!(Arc::ptr_eq(&topic(&view), &topic(&again)), "an unchanged end offset keeps the view");
}

#[test]
fn reported_ends_do_not_restore_an_expired_status() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    case.status(status(40));
    for minute in 1..=3 {
        case.advance(60);
        case.progress_of("g", consumed(0, 40 + minute));
        assert_eq!(case.end(), Some(40 + minute));
    }
    case.advance(1);
    assert_eq!(case.ends(), None);
    case.progress_of("g", consumed(0, 50));
    assert_eq!(case.ends(), None);
    assert_eq!(case.lag("g"), Some(50));
}

#[test]
fn a_recreated_topic_is_polled_at_once_and_reports_wait_for_its_status() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    case.status(status(40));
    case.advance(60);
    case.progress_of("g", consumed(0, 90));
    assert_eq!(case.end(), Some(90));
    case.advance(60);
    let effects = case.progress_of("g", consumed(0, 60));
    assert_eq!(effects.expedited, [(of_topic(), case.now())]);
    assert_eq!(case.end(), Some(40), "start and end of one response until the next");
    assert_eq!(case.lag("g"), Some(60), "the lag of one response");
    case.progress_of("g", consumed(0, 61));
    assert_eq!(case.end(), Some(40));
    assert_eq!(kinds(&case.status(status(3))), [AnomalyKind::Rewind]);
    assert_eq!(case.end(), Some(3), "reports about the deleted topic are forgotten");
    case.advance(60);
    case.progress_of("g", consumed(0, 80));
    assert_eq!(case.end(), Some(80));
}

#[test]
fn a_status_that_fell_discards_reported_ends() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    case.status(status(40));
    case.advance(60);
    case.progress_of("g", consumed(0, 90));
    case.advance(10);
    case.status(status(2));
    assert_eq!(case.end(), Some(2));
}

#[test]
fn a_lower_reported_end_never_polls_the_topic_early() {
    let mut case = RegionTest::with(&["t"], &["g", "h"]);
    case.status(status(40));
    let regular = case.now() + timing().topic_poll;
    case.advance(30);
    assert_eq!(case.progress_of("g", consumed(0, 39)).expedited, [(of_topic(), regular)]);
    assert_eq!(case.end(), Some(40));
    case.progress_of("h", consumed(0, 45));
    assert_eq!(case.progress_of("g", consumed(0, 44)).expedited, [], "another group reported it later");
    assert_eq!(case.end(), Some(45));
}

#[test]
fn an_old_reported_end_yields_to_the_status() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    case.status(status(40));
    case.progress_of("g", consumed(0, 90));
    case.advance(16);
    case.status(status(50));
    assert_eq!(case.end(), Some(50));
}

fn kinds(effects: &Effects) -> Vec<AnomalyKind> {
    effects.anomalies.iter().map(|a| a.kind).collect()
}

proptest::proptest! {
    /// The view of a topic that only grows never steps back and never exceeds the truth, although responses arrive
    /// later than their data was read.
    #[test]
    fn the_end_of_a_growing_topic_never_steps_back(
        calls in proptest::collection::vec((0usize..3, 1u64..7, 0i64..30, proptest::bool::ANY), 1..200)
    ) {
        let mut case = RegionTest::with(&["t"], &["g", "h"]);
        case.status(status(0));
        let (mut truth, mut shown, mut earlier, mut last) = (0, 0, [0; 2], [0; 3]);
        for (source, pause, written, late) in calls {
            case.advance(pause);
            // A late response was read two calls ago, but after the previous one of the same source.
            let read = if late { earlier[0].max(last[source]) } else { truth + written };
            last[source] = read;
            earlier = [earlier[1], truth + written];
            truth += written;
            match source {
                0 => drop(case.status(status(read))),
                1 => drop(case.progress_of("g", consumed(0, read))),
                _ => drop(case.progress_of("h", consumed(0, read))),
            }
            let Some(end) = case.end() else { continue };
            proptest::prop_assert!(end <= truth && end >= shown, "{} after {}, true end {}", end, shown, truth);
            shown = end;
        }
    }
}
