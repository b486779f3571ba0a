use proptest::prelude::*;

use super::*;
use crate::{
    lag::end_history::EndHistory,
    model::{Cleanup, Partition, TopicPartition, TopicStatus},
};

const P: Partition = Partition(0);
const MINUTE: Duration = Duration::from_secs(60);
const RETENTION: Duration = Duration::from_secs(7_200);
/// Time span of the poll in most tests.
const NOW: (i64, i64) = (1_000_000, 1_001_500);

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn at(millis: i64) -> UnixMillis {
    UnixMillis::new(millis).unwrap()
}

fn span((earliest, latest): (i64, i64)) -> TimeSpan {
    TimeSpan::new(at(earliest), at(latest))
}

fn name(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn part(number: u32, end: i64, committed: i64, last_consumed: i64) -> PartitionLag {
    let (end, committed) = (Offset::new(end), Offset::new(committed));
    let messages = end.zip(committed).map(|(end, committed)| end.minus(committed).max(0).unsigned_abs());
    let last_consumed = UnixMillis::new(last_consumed);
    PartitionLag { partition: Partition(number), end, committed, messages, last_consumed }
}

fn group(topics: Vec<(&str, Vec<PartitionLag>)>) -> GroupLag {
    let topics = topics.into_iter().map(|(topic, partitions)| TopicLag {
        topic: name(topic),
        messages: None,
        partitions,
    });
    GroupLag { messages: None, topics: topics.collect() }
}

/// History of partition 0 from `(end, time)`.
fn history(polls: &[(i64, i64)]) -> EndHistory {
    let mut history = EndHistory::default();
    for (end, t) in polls {
        history.record([(P, offset(*end))].into_iter(), TimeSpan::at(at(*t)), MINUTE);
    }
    history
}

/// A status of partition 0.
fn status(start: i64, end: i64, last_write: i64) -> TopicStatus {
    TopicStatus {
        messages: None,
        partitions: vec![TopicPartition {
            partition: P,
            start: Offset::new(start),
            end: Offset::new(end),
            last_write: UnixMillis::new(last_write),
        }],
    }
}

fn between(lower: impl Into<Option<u64>>, upper: impl Into<Option<u64>>) -> TimeBounds {
    TimeBounds { lower: lower.into(), upper: upper.into() }
}

/// Returns the bounds of partition 0 alone, and whether they contradict each other.
fn alone(p: PartitionLag, facts: TopicFacts<'_>) -> (TimeBounds, bool) {
    let (bounds, anomalies) = compute_bounds(&group(vec![("t", vec![p])]), span(NOW), |_| facts);
    assert_eq!(bounds.topics[0].topic, bounds.group);
    (bounds.topics[0].partitions[0], !anomalies.is_empty())
}

#[test]
fn each_term_uses_the_safe_end_of_the_time_span() {
    let history = history(&[(10, 700_000), (20, 800_000)]);
    let status = status(0, 20, 900_000);
    let facts = TopicFacts { ends: Some(&history), status: Some(&status), ..TopicFacts::default() };
    let p = part(0, 20, 15, 650_000);
    let all = BoundCandidates {
        last_consumed: Some(351_500),
        not_written_at: Some(301_500),
        last_write: Some(100_000),
        written_at: Some(200_000),
    };
    assert_eq!(bound_candidates(&p, span(NOW), &facts), all);
    assert_eq!(alone(p, facts), (between(200_000, 301_500), false));
    // (facts, committed offset, LastTimestamp, age): unknown terms drop out.
    let none = TopicFacts::default();
    let by_history = TopicFacts { ends: Some(&history), ..none };
    let by_status = TopicFacts { status: Some(&status), ..none };
    for (facts, committed, last_consumed, expected) in [
        (facts, 15, -1, between(200_000, 301_500)),
        (facts, 5, -1, between(300_000, None)),
        (facts, 5, 650_000, between(300_000, 351_500)),
        (by_history, 15, 0, between(200_000, 301_500)),
        (by_status, 15, 650_000, between(100_000, 351_500)),
        (none, 15, 650_000, between(0, 351_500)),
        (none, 15, -1, between(0, None)),
        (facts, 20, 650_000, between(0, 0)),
        (facts, 99, 650_000, between(0, 0)),
        (facts, -1, 650_000, between(None, None)),
    ] {
        let got = alone(part(0, 20, committed, last_consumed), facts);
        assert_eq!(got, (expected, false), "{committed} {last_consumed} {facts:?}");
    }
    assert_eq!(alone(part(0, -1, 15, 650_000), facts).0, TimeBounds::default());
    assert_eq!(bound_candidates(&part(0, 20, 20, 650_000), span(NOW), &facts), BoundCandidates::default());
    assert_eq!(bound_candidates(&part(0, 20, -1, 650_000), span(NOW), &facts), BoundCandidates::default());
}

#[test]
fn timestamps_in_the_future_drop_out_beyond_the_clock_tolerance() {
    let latest = NOW.1;
    for (stamp, expected) in
        [(latest, Some(0)), (latest + 1, Some(0)), (latest + 2_000, Some(0)), (latest + 2_001, None)]
    {
        assert_eq!(
            alone(part(0, 20, 15, stamp), TopicFacts::default()),
            (between(0, expected), false),
            "{stamp}"
        );
    }
    for (stamp, expected) in
        [(NOW.0 - 7, Some(7)), (NOW.0 + 1, Some(0)), (latest, Some(0)), (latest + 1, None)]
    {
        let status = status(0, 20, stamp);
        let facts = TopicFacts { status: Some(&status), ..TopicFacts::default() };
        assert_eq!(bound_candidates(&part(0, 20, 15, -1), span(NOW), &facts).last_write, expected, "{stamp}");
    }
}

#[test]
fn the_newest_message_bounds_only_a_group_that_has_not_consumed_it() {
    // (start and end of the status, term)
    for (start, end, expected) in [
        (0, 20, Some(100_000)),
        (0, 16, Some(100_000)),
        (0, 15, None),
        (0, 3, None),
        (-1, 20, Some(100_000)),
        (0, -1, None),
        // The end is not beyond the start.
        (18, 18, None),
        // Newer than the response, or of a recreated topic.
        (0, 21, None),
    ] {
        let status = status(start, end, 900_000);
        let facts = TopicFacts { status: Some(&status), ..TopicFacts::default() };
        assert_eq!(
            bound_candidates(&part(0, 20, 15, -1), span(NOW), &facts).last_write,
            expected,
            "{start} {end}"
        );
    }
}

#[test]
fn deleted_messages_are_not_unread() {
    let history = history(&[(10, 600_000), (20, 700_000), (30, 800_000)]);
    // (start and end of the status, bounds at offset 5)
    for (start, end, expected) in [
        (-1, 30, between(400_000, None)),
        (0, 30, between(400_000, None)),
        (10, 30, between(300_000, 401_500)),
        (25, 30, between(200_000, 301_500)),
        (30, 30, between(0, 0)),
        // A newer status, or one of a recreated topic: its start counts only for the lower bound.
        (25, 31, between(200_000, None)),
        (31, 31, between(0, None)),
        (30, 31, between(0, None)),
    ] {
        let status = status(start, end, -1);
        let facts = TopicFacts { ends: Some(&history), status: Some(&status), ..TopicFacts::default() };
        assert_eq!(alone(part(0, 30, 5, -1), facts), (expected, false), "{start} {end}");
    }
    // Without a history, too.
    let all_gone = status(30, 30, 900_000);
    let facts = TopicFacts { status: Some(&all_gone), ..TopicFacts::default() };
    assert_eq!(alone(part(0, 30, 5, 1_000), facts).0, between(0, 0));
}

#[test]
fn a_message_that_may_be_deleted_is_no_lower_bound() {
    let history = history(&[(10, 100_000), (20, 400_000), (30, 700_000), (40, 900_000)]);
    let of = |seconds, cleanup| TopicFacts {
        ends: Some(&history),
        retention: Some(Duration::from_secs(seconds)),
        cleanup,
        ..TopicFacts::default()
    };
    // (retention in seconds, lower bound at offset 5): the message must be newer than the retention.
    for (retention, expected) in [
        (u64::MAX, Some(900_000)),
        (1_001, Some(600_000)),
        (902, Some(600_000)),
        (601, Some(100_000)),
        (300, None),
    ] {
        let t = bound_candidates(&part(0, 40, 5, -1), span(NOW), &of(retention, Some(Cleanup::Delete)));
        assert_eq!(t.written_at, expected, "{retention} s");
    }
    let last_write = |retention, cleanup| {
        let status = status(0, 40, 900_000);
        let facts = TopicFacts { status: Some(&status), ..of(retention, cleanup) };
        bound_candidates(&part(0, 40, 5, -1), span(NOW), &facts).last_write
    };
    assert_eq!(last_write(102, None), Some(100_000));
    assert_eq!(last_write(101, None), None);
    // The newest message of a compacted topic stays.
    assert_eq!(last_write(101, Some(Cleanup::Compact)), Some(100_000));
}

#[test]
fn a_message_of_a_compacted_topic_may_be_deleted() {
    let history = history(&[(10, 700_000), (20, 800_000)]);
    let status = status(0, 20, 900_000);
    let cleanup = Some(Cleanup::Compact);
    let facts = TopicFacts { ends: Some(&history), status: Some(&status), cleanup, ..TopicFacts::default() };
    assert_eq!(alone(part(0, 20, 15, -1), facts), (between(100_000, 301_500), false));
    let facts = TopicFacts { status: None, ..facts };
    assert_eq!(alone(part(0, 20, 15, -1), facts), (between(0, 301_500), false));
    // The newest message of the status is no longer the newest.
    let facts = TopicFacts { status: Some(&status), ..facts };
    assert_eq!(alone(part(0, 21, 15, -1), facts), (between(0, 301_500), false));
}

#[test]
fn a_history_from_before_the_topic_was_recreated_is_no_lower_bound() {
    // (end in the response, newest end in the history and its time, bounds)
    for (end, newest, seen, expected) in [
        (20, 20, 900_000, between(200_000, 301_500)),
        (19, 20, 900_000, between(0, 301_500)),
        // The newest point may come from a response that overtook this one.
        (19, 20, 1_000_000, between(200_000, 301_500)),
    ] {
        let history = history(&[(10, 700_000), (18, 800_000), (newest, seen)]);
        let facts = TopicFacts { ends: Some(&history), ..TopicFacts::default() };
        assert_eq!(alone(part(0, end, 15, -1), facts), (expected, false), "{end} {newest} {seen}");
    }
    // A point after the response is no bound.
    let history = history(&[(10, 2_000_000), (20, 2_060_000)]);
    let facts = TopicFacts { ends: Some(&history), ..TopicFacts::default() };
    assert_eq!(alone(part(0, 19, 15, -1), facts), (between(0, None), false));
}

#[test]
fn distrusted_timestamps_drop_out() {
    let mut history = history(&[(10, 700_000), (20, 800_000)]);
    assert!(history.check_timestamp(P, offset(15), at(1), span(NOW)));
    let status = status(0, 20, 100_000);
    let facts = TopicFacts { ends: Some(&history), status: Some(&status), ..TopicFacts::default() };
    let t = bound_candidates(&part(0, 20, 15, 999_000), span(NOW), &facts);
    assert_eq!((t.last_consumed, t.last_write), (None, None));
    assert_eq!(alone(part(0, 20, 15, 999_000), facts), (between(200_000, 301_500), false));
}

#[test]
fn contradicting_bounds_are_swapped_or_discarded() {
    // The newest message is 100 s old. (LastTimestamp, bounds, contradiction)
    let status = status(0, 20, 900_000);
    let facts = TopicFacts { status: Some(&status), ..TopicFacts::default() };
    for (stamp, expected, contradicts) in [
        (901_500, between(100_000, 100_000), false),
        (901_501, between(99_999, 100_000), false),
        (903_500, between(98_000, 100_000), false),
        (903_501, between(None, None), true),
    ] {
        assert_eq!(alone(part(0, 20, 15, stamp), facts), (expected, contradicts), "{stamp}");
    }
    let lag = group(vec![("a", vec![part(0, 20, 15, 999_000), part(1, 9, 1, 500_000), part(2, 5, 5, 1)])]);
    let (bounds, anomalies) = compute_bounds(&lag, span(NOW), |_| facts);
    assert_eq!(bounds.topics[0].partitions, [between(None, None), between(0, 501_500), between(0, 0)]);
    assert_eq!((bounds.group, bounds.topics[0].topic), (between(0, None), between(0, None)));
    assert_eq!(anomalies.len(), 1);
    assert_eq!(anomalies[0].kind, AnomalyKind::Contradiction);
    let detail = &anomalies[0].detail;
    assert!(detail.contains("topic a partition 0") && !detail.contains("99"), "{detail}");
}

#[test]
fn topics_and_groups_have_the_maximum_and_no_upper_bound_if_a_part_has_none() {
    let stored_ago = |seconds: i64| NOW.1 - seconds * 1_000;
    let unknown = || part(9, 5, -1, 1);
    // (topics, of each topic, of the group)
    let cases = [
        (vec![], vec![], between(0, 0)),
        (vec![("a", vec![])], vec![between(None, None)], between(None, None)),
        (vec![("a", vec![unknown()])], vec![between(None, None)], between(None, None)),
        (
            vec![("a", vec![part(0, 5, 5, 1)]), ("b", vec![unknown()])],
            vec![between(0, 0), between(None, None)],
            between(0, 0),
        ),
        (
            vec![
                (
                    "a",
                    vec![
                        part(0, 5, 4, stored_ago(3)),
                        part(1, 5, 4, stored_ago(7)),
                        unknown(),
                        part(3, 5, 5, -1),
                    ],
                ),
                ("b", vec![part(0, 5, 4, stored_ago(9)), part(1, 5, 5, -1)]),
                ("c", vec![part(1, 7, 7, -1)]),
            ],
            vec![between(0, 7_000), between(0, 9_000), between(0, 0)],
            between(0, 9_000),
        ),
        (
            vec![
                ("a", vec![part(0, 5, 4, stored_ago(3)), part(1, 5, 4, -1)]),
                ("b", vec![part(0, 5, 4, stored_ago(9))]),
            ],
            vec![between(0, None), between(0, 9_000)],
            between(0, None),
        ),
    ];
    for (topics, of_topics, of_group) in cases {
        let (bounds, anomalies) =
            compute_bounds(&group(topics.clone()), span(NOW), |_| TopicFacts::default());
        let got: Vec<TimeBounds> = bounds.topics.iter().map(|t| t.topic).collect();
        assert_eq!((got, bounds.group), (of_topics, of_group), "{topics:?}");
        assert_eq!(anomalies, []);
    }
    // Lower bounds have the maximum too. Each topic has its own facts.
    let (old, young) = (status(0, 20, 400_000), status(0, 20, 900_000));
    let lag = group(vec![("old", vec![part(0, 20, 1, 1_000)]), ("young", vec![part(0, 20, 1, -1)])]);
    let (bounds, _) = compute_bounds(&lag, span(NOW), |topic| TopicFacts {
        status: Some(if *topic == name("old") { &old } else { &young }),
        ..TopicFacts::default()
    });
    assert_eq!(bounds.group, between(600_000, None));
}

#[test]
fn extreme_numbers_do_not_overflow() {
    let (first, last) = ((1, 1), (i64::MAX, i64::MAX));
    let history = history(&[((1 << 53) - 1, 1), ((1 << 53) + 1, 2), (i64::MAX, i64::MAX)]);
    let status = status(0, i64::MAX, i64::MAX);
    let retention = Some(Duration::MAX);
    let facts =
        TopicFacts { ends: Some(&history), status: Some(&status), retention, ..TopicFacts::default() };
    let all = i64::MAX.unsigned_abs() - 1;
    let p = part(0, i64::MAX, 1 << 53, 1);
    let t = bound_candidates(&p, span(last), &facts);
    assert_eq!((t.last_consumed, t.not_written_at), (Some(all), Some(all)));
    assert_eq!((t.last_write, t.written_at), (Some(0), Some(all - 1)));
    assert_eq!(bound_candidates(&p, span(first), &facts).last_write, None);
    assert_eq!(bound_candidates(&part(0, i64::MAX, 0, i64::MAX), span(first), &facts).last_consumed, None);
}

/// Simulated partition.
#[derive(Debug, Clone)]
struct SimulatedLog {
    /// Time of each message, from offset 0.
    log: Vec<i64>,
    /// For each message the next one of its key, by which compaction replaces it.
    replaced_by: Option<Vec<Option<usize>>>,
    /// Messages per segment. Retention deletes segment by segment.
    segment: Option<usize>,
    /// Whether responses contain `LastTimestamp`.
    times: bool,
    /// Milliseconds by which the producer's clock is ahead.
    skew: i64,
    /// Share of the unread messages that the group consumes before each poll.
    reads: Vec<f64>,
    /// Number of polls per topic status.
    status_every: usize,
    /// Width of each time span, and the position of the true time in it.
    widths: Vec<(i64, f64)>,
    max_points: usize,
}

const BEGINNING: i64 = 1_000_000_000;
const POLL: i64 = 60_000;

impl SimulatedLog {
    fn end(&self, t: i64) -> usize {
        self.log.partition_point(|w| *w <= t)
    }

    fn start(&self, t: i64) -> usize {
        let kept = i64::try_from(RETENTION.as_millis()).unwrap();
        self.segment.map_or(0, |segment| self.end(t - kept) / segment * segment)
    }

    fn is_held(&self, message: usize, t: i64) -> bool {
        let replaced =
            self.replaced_by.as_ref().and_then(|by| by[message]).is_some_and(|by| self.log[by] <= t);
        message >= self.start(t) && !replaced
    }

    /// Returns the age of the oldest unread message that is still retained; 0 without any.
    fn true_age(&self, committed: usize, t: i64) -> i64 {
        let oldest = (committed..self.end(t)).find(|m| self.is_held(*m, t));
        oldest.map_or(0, |m| t - self.log[m])
    }

    fn status(&self, t: i64) -> TopicStatus {
        let end = self.end(t);
        let last_write = end.checked_sub(1).map_or(-1, |m| self.log[m] + self.skew);
        status(self.start(t).try_into().unwrap(), end.try_into().unwrap(), last_write)
    }

    /// Polls the partition, and checks that the bounds are true whenever timestamps are not trusted.
    fn run(&self) -> Result<Outcome, TestCaseError> {
        let mut outcome = Outcome::default();
        let mut history = EndHistory::default();
        let (mut committed, mut last_status) = (0_usize, None);
        for (i, (read, (width, share))) in self.reads.iter().zip(&self.widths).enumerate() {
            let t = BEGINNING + i64::try_from(i).unwrap() * POLL;
            let at_earliest = t - (*width as f64 * share) as i64;
            let now = span((at_earliest, at_earliest + width));
            if i % self.status_every == 0 {
                // Shortly before the group, in a separate call.
                let (t, now) = (t - 700, span((t - 700 - width, t - 700)));
                let status = self.status(t);
                history.record([(P, offset(self.end(t).try_into().unwrap()))].into_iter(), now, MINUTE);
                if let Some((end, stamp)) = status.partitions[0].end.zip(status.partitions[0].last_write) {
                    history.check_timestamp(P, offset(end.get() - 1), stamp, now);
                }
                last_status = Some(status);
            }
            let end = self.end(t);
            committed = committed.max(self.start(t) * usize::from(*read > 0.0));
            committed += ((end - committed.min(end)) as f64 * read) as usize;
            let last = (0..committed).rev().find(|m| self.is_held(*m, t)).filter(|m| *m + 1 == committed);
            let stamp = last.filter(|_| self.times).map(|m| self.log[m] + self.skew);
            let p = part(0, end.try_into().unwrap(), committed.try_into().unwrap(), stamp.unwrap_or(-1));
            history.record([(P, offset(end.try_into().unwrap()))].into_iter(), now, MINUTE);
            if let Some((stamp, last)) = stamp.zip(last) {
                history.check_timestamp(P, offset(last.try_into().unwrap()), at(stamp), now);
            }
            history.prune(|_| crate::lag::end_history::tests::one(p.committed), self.max_points);

            let facts = TopicFacts {
                ends: Some(&history),
                status: last_status.as_ref(),
                starts: None,
                cleanup: Some(if self.replaced_by.is_some() { Cleanup::Compact } else { Cleanup::Delete }),
                retention: Some(RETENTION),
            };
            let (bounds, anomalies) = compute_bounds(&group(vec![("t", vec![p])]), now, |_| facts);
            prop_assert!(self.skew != 0 || anomalies.is_empty(), "{anomalies:?}");
            let truth = self.true_age(committed, t);
            let over = bounds.group.lower.map_or(0, |lower| i64::try_from(lower).unwrap() - truth);
            let under = bounds.group.upper.map_or(0, |upper| truth - i64::try_from(upper).unwrap());
            let missed = over.max(under).max(0);
            outcome.missed = outcome.missed.max(missed);
            outcome.polls += 1;
            if history.trusts_timestamps(P, now) {
                outcome.believed += 1;
            } else {
                prop_assert_eq!(missed, 0, "poll {}: {:?} and {}", i, bounds.group, truth);
            }
            let width = bounds.group.upper.zip(bounds.group.lower).map(|(upper, lower)| upper - lower);
            outcome.widest = outcome.widest.max(width.unwrap_or(0));
            outcome.open += usize::from(width.is_none());
        }
        Ok(outcome)
    }
}

#[derive(Debug, Default)]
struct Outcome {
    /// Maximum error of a bound.
    missed: i64,
    polls: usize,
    /// Polls at which timestamps were trusted.
    believed: usize,
    /// Maximum distance between the bounds.
    widest: u64,
    /// Polls without an upper bound.
    open: usize,
}

prop_compose! {
    fn simulated_log()(
        gaps in prop_oneof![
            // Steady, bursty, idle.
            prop::collection::vec(5_000..20_000_i64, 10..400),
            prop::collection::vec(prop_oneof![9 => 0..50_i64, 1 => 100_000..900_000_i64], 10..400),
            prop::collection::vec(1_000_000..9_000_000_i64, 1..6),
        ],
        // The first message is long before the first poll, or later.
        lead in -10_000_000..1_000_000_i64,
        keys in prop::option::of(prop::collection::vec(0..5_u8, 400)),
        segment in prop::option::of(1..40_usize),
        times in any::<bool>(),
        reads in prop_oneof![
            prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64], 150),
            // Stalled, or stopped after a while.
            (0..40_usize).prop_map(|n| [vec![0.7; n], vec![0.0; 150 - n]].concat()),
        ],
        status_every in 1..8_usize,
        widths in prop::collection::vec((0..3_000_i64, 0.0..=1.0_f64), 150),
        max_points in prop_oneof![Just(usize::MAX), 3..20_usize],
    ) -> SimulatedLog {
        let log: Vec<i64> = gaps.iter().scan(BEGINNING + lead, |t, gap| Some({ *t += gap; *t })).collect();
        let replaced_by = keys.map(|keys| {
            (0..log.len()).map(|m| (m + 1..log.len()).find(|n| keys[*n] == keys[m])).collect()
        });
        // Compaction and retention do not go together.
        let segment = segment.filter(|_| replaced_by.is_none());
        SimulatedLog {
            log, replaced_by, segment, times, skew: 0, reads, status_every, widths, max_points,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_true_age_is_within_the_bounds_at_every_poll(simulated_log in simulated_log()) {
        prop_assert_eq!(simulated_log.run()?.missed, 0);
    }

    #[test]
    fn a_wrong_producer_clock_causes_at_most_its_own_error_until_it_is_detected(
        simulated_log in simulated_log(),
        skew in prop_oneof![-9_000_000..9_000_000_i64, -5_000..5_000_i64],
    ) {
        let simulated_log = SimulatedLog { skew, times: true, ..simulated_log };
        let missed = simulated_log.run()?.missed;
        // With retention, a wrong timestamp may also make a deleted message look retained.
        prop_assert!(missed <= skew.abs() || simulated_log.segment.is_some(), "{missed} ms");
    }
}

/// A partition with one message per second, polled for two hours by a group that is 10 minutes behind.
fn steady() -> SimulatedLog {
    let log: Vec<i64> = (0..12_000).map(|s| BEGINNING - 1_000_000 + s * 1_000).collect();
    let reads = vec![0.05; 120];
    SimulatedLog {
        log,
        replaced_by: None,
        segment: None,
        times: false,
        skew: 0,
        reads,
        status_every: 1,
        widths: vec![(1_200, 0.5); 120],
        max_points: usize::MAX,
    }
}

#[test]
fn with_a_history_the_bounds_are_one_poll_interval_apart() {
    let outcome = steady().run().unwrap();
    assert_eq!(outcome.missed, 0);
    assert!(outcome.open < 30, "{outcome:?}");
    assert!(outcome.widest <= 60_000 + 4 * 1_200, "{outcome:?}");
    // With few points they are wider apart, and still true.
    let thin = SimulatedLog { max_points: 6, ..steady() }.run().unwrap();
    assert_eq!((thin.missed, thin.open), (0, outcome.open));
    assert!(thin.widest > outcome.widest);
}

#[test]
fn a_clock_that_is_an_hour_off_is_detected_at_once() {
    for skew in [-3_600_000, 3_600_000] {
        let outcome = SimulatedLog { skew, times: true, ..steady() }.run().unwrap();
        assert!(outcome.believed <= 2, "{skew}: {outcome:?}");
    }
    let right = SimulatedLog { times: true, ..steady() }.run().unwrap();
    assert_eq!(right.believed, right.polls);
    assert_eq!(right.open, 0, "timestamps give an upper bound from the first poll");
}
