use proptest::prelude::*;

use super::*;
use crate::{
    lag::end_history::EndHistory,
    model::{Cleanup, Partition, TopicPartition, TopicStatus},
};

const P: Partition = Partition(0);
const MINUTE: Duration = Duration::from_secs(60);
const RETENTION: Duration = Duration::from_secs(7_200);
/// The answer of most tables: read within a second and a half.
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

/// A history of partition 0 from `(end, when)`, each read at a moment that is known.
fn history(answers: &[(i64, i64)]) -> EndHistory {
    let mut history = EndHistory::default();
    for (end, t) in answers {
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

fn age(floor: impl Into<Option<u64>>, ceiling: impl Into<Option<u64>>) -> TimeBounds {
    TimeBounds { lower: floor.into(), upper: ceiling.into() }
}

/// The age of partition 0 alone, and whether it contradicted itself.
fn alone(p: PartitionLag, facts: TopicFacts<'_>) -> (TimeBounds, bool) {
    let (ages, anomalies) = compute_bounds(&group(vec![("t", vec![p])]), span(NOW), |_| facts);
    assert_eq!(ages.topics[0].topic, ages.group);
    (ages.topics[0].partitions[0], !anomalies.is_empty())
}

#[test]
fn each_term_counts_from_the_safe_end_of_the_span() {
    let history = history(&[(10, 700_000), (20, 800_000)]);
    let status = status(0, 20, 900_000);
    let facts = TopicFacts { ends: Some(&history), status: Some(&status), ..TopicFacts::default() };
    let p = part(0, 20, 15, 650_000);
    let all = BoundTerms {
        last_consumed: Some(351_500),
        not_written_at: Some(301_500),
        last_write: Some(100_000),
        written_at: Some(200_000),
    };
    assert_eq!(bound_terms(&p, span(NOW), &facts), all);
    assert_eq!(alone(p, facts), (age(200_000, 301_500), false));
    // (facts, committed offset, LastTimestamp, age): what is unknown drops out.
    let none = TopicFacts::default();
    let by_history = TopicFacts { ends: Some(&history), ..none };
    let by_status = TopicFacts { status: Some(&status), ..none };
    for (facts, committed, last_consumed, expected) in [
        (facts, 15, -1, age(200_000, 301_500)),
        (facts, 5, -1, age(300_000, None)),
        (facts, 5, 650_000, age(300_000, 351_500)),
        (by_history, 15, 0, age(200_000, 301_500)),
        (by_status, 15, 650_000, age(100_000, 351_500)),
        (none, 15, 650_000, age(0, 351_500)),
        (none, 15, -1, age(0, None)),
        (facts, 20, 650_000, age(0, 0)),
        (facts, 99, 650_000, age(0, 0)),
        (facts, -1, 650_000, age(None, None)),
    ] {
        let got = alone(part(0, 20, committed, last_consumed), facts);
        assert_eq!(got, (expected, false), "{committed} {last_consumed} {facts:?}");
    }
    assert_eq!(alone(part(0, -1, 15, 650_000), facts).0, TimeBounds::default());
    assert_eq!(bound_terms(&part(0, 20, 20, 650_000), span(NOW), &facts), BoundTerms::default());
    assert_eq!(bound_terms(&part(0, 20, -1, 650_000), span(NOW), &facts), BoundTerms::default());
}

#[test]
fn times_in_the_future_drop_out_but_for_the_grain_of_clocks() {
    let latest = NOW.1;
    for (stamp, expected) in
        [(latest, Some(0)), (latest + 1, Some(0)), (latest + 2_000, Some(0)), (latest + 2_001, None)]
    {
        assert_eq!(
            alone(part(0, 20, 15, stamp), TopicFacts::default()),
            (age(0, expected), false),
            "{stamp}"
        );
    }
    for (stamp, expected) in
        [(NOW.0 - 7, Some(7)), (NOW.0 + 1, Some(0)), (latest, Some(0)), (latest + 1, None)]
    {
        let status = status(0, 20, stamp);
        let facts = TopicFacts { status: Some(&status), ..TopicFacts::default() };
        assert_eq!(bound_terms(&part(0, 20, 15, -1), span(NOW), &facts).last_write, expected, "{stamp}");
    }
}

#[test]
fn the_newest_message_bounds_only_a_group_that_has_not_read_it() {
    // (start and end of the status, term)
    for (start, end, expected) in [
        (0, 20, Some(100_000)),
        (0, 16, Some(100_000)),
        (0, 15, None),
        (0, 3, None),
        (-1, 20, Some(100_000)),
        (0, -1, None),
        // The newest of the status is below the oldest that is held: it is not of one answer.
        (18, 18, None),
        // Younger than the answer, or of another topic of this name.
        (0, 21, None),
    ] {
        let status = status(start, end, 900_000);
        let facts = TopicFacts { status: Some(&status), ..TopicFacts::default() };
        assert_eq!(
            bound_terms(&part(0, 20, 15, -1), span(NOW), &facts).last_write,
            expected,
            "{start} {end}"
        );
    }
}

#[test]
fn messages_that_are_gone_are_not_to_be_read() {
    let history = history(&[(10, 600_000), (20, 700_000), (30, 800_000)]);
    // (start and end of the status, age of a group at 5)
    for (start, end, expected) in [
        (-1, 30, age(400_000, None)),
        (0, 30, age(400_000, None)),
        (10, 30, age(300_000, 401_500)),
        (25, 30, age(200_000, 301_500)),
        (30, 30, age(0, 0)),
        // A status that is younger than the answer, or of another topic: its start counts only against us.
        (25, 31, age(200_000, None)),
        (31, 31, age(0, None)),
        (30, 31, age(0, None)),
    ] {
        let status = status(start, end, -1);
        let facts = TopicFacts { ends: Some(&history), status: Some(&status), ..TopicFacts::default() };
        assert_eq!(alone(part(0, 30, 5, -1), facts), (expected, false), "{start} {end}");
    }
    // Without a history, too.
    let all_gone = status(30, 30, 900_000);
    let facts = TopicFacts { status: Some(&all_gone), ..TopicFacts::default() };
    assert_eq!(alone(part(0, 30, 5, 1_000), facts).0, age(0, 0));
}

#[test]
fn what_may_have_been_deleted_is_no_floor() {
    let history = history(&[(10, 100_000), (20, 400_000), (30, 700_000), (40, 900_000)]);
    let of = |seconds, cleanup| TopicFacts {
        ends: Some(&history),
        retention: Some(Duration::from_secs(seconds)),
        cleanup,
        ..TopicFacts::default()
    };
    // (retention in seconds, floor of a group at 5): the witness was written later than retention reaches.
    for (retention, expected) in [
        (u64::MAX, Some(900_000)),
        (1_001, Some(600_000)),
        (902, Some(600_000)),
        (601, Some(100_000)),
        (300, None),
    ] {
        let t = bound_terms(&part(0, 40, 5, -1), span(NOW), &of(retention, Some(Cleanup::Delete)));
        assert_eq!(t.written_at, expected, "{retention} s");
    }
    let last_write = |retention, cleanup| {
        let status = status(0, 40, 900_000);
        let facts = TopicFacts { status: Some(&status), ..of(retention, cleanup) };
        bound_terms(&part(0, 40, 5, -1), span(NOW), &facts).last_write
    };
    assert_eq!(last_write(102, None), Some(100_000));
    assert_eq!(last_write(101, None), None);
    // The newest message of a compacted topic stays.
    assert_eq!(last_write(101, Some(Cleanup::Compact)), Some(100_000));
}

#[test]
fn the_message_at_an_offset_of_a_compacted_topic_may_be_gone() {
    let history = history(&[(10, 700_000), (20, 800_000)]);
    let status = status(0, 20, 900_000);
    let cleanup = Some(Cleanup::Compact);
    let facts = TopicFacts { ends: Some(&history), status: Some(&status), cleanup, ..TopicFacts::default() };
    assert_eq!(alone(part(0, 20, 15, -1), facts), (age(100_000, 301_500), false));
    let facts = TopicFacts { status: None, ..facts };
    assert_eq!(alone(part(0, 20, 15, -1), facts), (age(0, 301_500), false));
    // What was the newest message when the status was read is not the newest now.
    let facts = TopicFacts { status: Some(&status), ..facts };
    assert_eq!(alone(part(0, 21, 15, -1), facts), (age(0, 301_500), false));
}

#[test]
fn a_history_of_another_life_of_the_topic_makes_no_floor() {
    // (end of the answer, newest end of the history and when it was seen, age)
    for (end, newest, seen, expected) in [
        (20, 20, 900_000, age(200_000, 301_500)),
        (19, 20, 900_000, age(0, 301_500)),
        // The history's newest is from an answer that this one may have been overtaken by.
        (19, 20, 1_000_000, age(200_000, 301_500)),
    ] {
        let history = history(&[(10, 700_000), (18, 800_000), (newest, seen)]);
        let facts = TopicFacts { ends: Some(&history), ..TopicFacts::default() };
        assert_eq!(alone(part(0, end, 15, -1), facts), (expected, false), "{end} {newest} {seen}");
    }
    // A bound from after the answer is none.
    let history = history(&[(10, 2_000_000), (20, 2_060_000)]);
    let facts = TopicFacts { ends: Some(&history), ..TopicFacts::default() };
    assert_eq!(alone(part(0, 19, 15, -1), facts), (age(0, None), false));
}

#[test]
fn message_times_of_a_clock_that_was_found_wrong_do_not_count() {
    let mut history = history(&[(10, 700_000), (20, 800_000)]);
    assert!(history.detect_clock_skew(P, offset(15), at(1), span(NOW)));
    let status = status(0, 20, 100_000);
    let facts = TopicFacts { ends: Some(&history), status: Some(&status), ..TopicFacts::default() };
    let t = bound_terms(&part(0, 20, 15, 999_000), span(NOW), &facts);
    assert_eq!((t.last_consumed, t.last_write), (None, None));
    assert_eq!(alone(part(0, 20, 15, 999_000), facts), (age(200_000, 301_500), false));
}

#[test]
fn a_bracket_that_contradicts_itself_is_turned_or_withheld() {
    // Floor by the newest message: 100 s. (LastTimestamp, age, contradiction)
    let status = status(0, 20, 900_000);
    let facts = TopicFacts { status: Some(&status), ..TopicFacts::default() };
    for (stamp, expected, contradicts) in [
        (901_500, age(100_000, 100_000), false),
        (901_501, age(99_999, 100_000), false),
        (903_500, age(98_000, 100_000), false),
        (903_501, age(None, None), true),
    ] {
        assert_eq!(alone(part(0, 20, 15, stamp), facts), (expected, contradicts), "{stamp}");
    }
    let lag = group(vec![("a", vec![part(0, 20, 15, 999_000), part(1, 9, 1, 500_000), part(2, 5, 5, 1)])]);
    let (ages, anomalies) = compute_bounds(&lag, span(NOW), |_| facts);
    assert_eq!(ages.topics[0].partitions, [age(None, None), age(0, 501_500), age(0, 0)]);
    assert_eq!((ages.group, ages.topics[0].topic), (age(0, None), age(0, None)));
    assert_eq!(anomalies.len(), 1);
    assert_eq!(anomalies[0].kind, AnomalyKind::Contradiction);
    let detail = &anomalies[0].detail;
    assert!(detail.contains("topic a partition 0") && !detail.contains("99"), "{detail}");
}

#[test]
fn topic_and_group_are_the_largest_of_what_is_known_and_no_ceiling_is_half_a_ceiling() {
    let ceiling = |seconds: i64| NOW.1 - seconds * 1_000;
    let unknown = || part(9, 5, -1, 1);
    // (topics, of each topic, of the group)
    let cases = [
        (vec![], vec![], age(0, 0)),
        (vec![("a", vec![])], vec![age(None, None)], age(None, None)),
        (vec![("a", vec![unknown()])], vec![age(None, None)], age(None, None)),
        (
            vec![("a", vec![part(0, 5, 5, 1)]), ("b", vec![unknown()])],
            vec![age(0, 0), age(None, None)],
            age(0, 0),
        ),
        (
            vec![
                (
                    "a",
                    vec![part(0, 5, 4, ceiling(3)), part(1, 5, 4, ceiling(7)), unknown(), part(3, 5, 5, -1)],
                ),
                ("b", vec![part(0, 5, 4, ceiling(9)), part(1, 5, 5, -1)]),
                ("c", vec![part(1, 7, 7, -1)]),
            ],
            vec![age(0, 7_000), age(0, 9_000), age(0, 0)],
            age(0, 9_000),
        ),
        (
            vec![
                ("a", vec![part(0, 5, 4, ceiling(3)), part(1, 5, 4, -1)]),
                ("b", vec![part(0, 5, 4, ceiling(9))]),
            ],
            vec![age(0, None), age(0, 9_000)],
            age(0, None),
        ),
    ];
    for (topics, of_topics, of_group) in cases {
        let (ages, anomalies) = compute_bounds(&group(topics.clone()), span(NOW), |_| TopicFacts::default());
        let got: Vec<TimeBounds> = ages.topics.iter().map(|t| t.topic).collect();
        assert_eq!((got, ages.group), (of_topics, of_group), "{topics:?}");
        assert_eq!(anomalies, []);
    }
    // Floors are the largest, too; each topic has its own facts.
    let (old, young) = (status(0, 20, 400_000), status(0, 20, 900_000));
    let lag = group(vec![("old", vec![part(0, 20, 1, 1_000)]), ("young", vec![part(0, 20, 1, -1)])]);
    let (ages, _) = compute_bounds(&lag, span(NOW), |topic| TopicFacts {
        status: Some(if *topic == name("old") { &old } else { &young }),
        ..TopicFacts::default()
    });
    assert_eq!(ages.group, age(600_000, None));
}

#[test]
fn the_ends_of_numbers_are_no_trap() {
    let (first, last) = ((1, 1), (i64::MAX, i64::MAX));
    let history = history(&[((1 << 53) - 1, 1), ((1 << 53) + 1, 2), (i64::MAX, i64::MAX)]);
    let status = status(0, i64::MAX, i64::MAX);
    let retention = Some(Duration::MAX);
    let facts =
        TopicFacts { ends: Some(&history), status: Some(&status), retention, ..TopicFacts::default() };
    let all = i64::MAX.unsigned_abs() - 1;
    let p = part(0, i64::MAX, 1 << 53, 1);
    let t = bound_terms(&p, span(last), &facts);
    assert_eq!((t.last_consumed, t.not_written_at), (Some(all), Some(all)));
    assert_eq!((t.last_write, t.written_at), (Some(0), Some(all - 1)));
    assert_eq!(bound_terms(&p, span(first), &facts).last_write, None);
    assert_eq!(bound_terms(&part(0, i64::MAX, 0, i64::MAX), span(first), &facts).last_consumed, None);
}

/// What a simulated partition is like.
#[derive(Debug, Clone)]
struct World {
    /// When each message is written, from offset 0 on.
    log: Vec<i64>,
    /// For each message the next one of its key; of a compacted topic, it is gone once that one is there.
    replaced_by: Option<Vec<Option<usize>>>,
    /// Retention removes whole segments of this many messages.
    segment: Option<usize>,
    /// Whether `LastTimestamp` is served.
    times: bool,
    /// How far the producer's clock is ahead.
    skew: i64,
    /// At each poll, the share of what is held and not read that the group reads.
    reads: Vec<f64>,
    /// A status is read at every poll that this divides.
    status_every: usize,
    /// How wide spans are, and where in them the truth is.
    widths: Vec<(i64, f64)>,
    room: usize,
}

const BEGINNING: i64 = 1_000_000_000;
const POLL: i64 = 60_000;

impl World {
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

    /// Age of the oldest unread message that is still held; 0 if there is none.
    fn true_age(&self, committed: usize, t: i64) -> i64 {
        let oldest = (committed..self.end(t)).find(|m| self.is_held(*m, t));
        oldest.map_or(0, |m| t - self.log[m])
    }

    fn status(&self, t: i64) -> TopicStatus {
        let end = self.end(t);
        let last_write = end.checked_sub(1).map_or(-1, |m| self.log[m] + self.skew);
        status(self.start(t).try_into().unwrap(), end.try_into().unwrap(), last_write)
    }

    /// Polls the partition, and checks that brackets hold the truth wherever message times are not believed.
    fn run(&self) -> Result<Outcome, TestCaseError> {
        let mut outcome = Outcome::default();
        let mut history = EndHistory::default();
        let (mut committed, mut told) = (0_usize, None);
        for (i, (read, (width, share))) in self.reads.iter().zip(&self.widths).enumerate() {
            let t = BEGINNING + i64::try_from(i).unwrap() * POLL;
            let at_earliest = t - (*width as f64 * share) as i64;
            let now = span((at_earliest, at_earliest + width));
            if i % self.status_every == 0 {
                // A moment before the group is read, in a call of its own.
                let (t, now) = (t - 700, span((t - 700 - width, t - 700)));
                let status = self.status(t);
                history.record([(P, offset(self.end(t).try_into().unwrap()))].into_iter(), now, MINUTE);
                if let Some((end, stamp)) = status.partitions[0].end.zip(status.partitions[0].last_write) {
                    history.detect_clock_skew(P, offset(end.get() - 1), stamp, now);
                }
                told = Some(status);
            }
            let end = self.end(t);
            committed = committed.max(self.start(t) * usize::from(*read > 0.0));
            committed += ((end - committed.min(end)) as f64 * read) as usize;
            let last = (0..committed).rev().find(|m| self.is_held(*m, t)).filter(|m| *m + 1 == committed);
            let stamp = last.filter(|_| self.times).map(|m| self.log[m] + self.skew);
            let p = part(0, end.try_into().unwrap(), committed.try_into().unwrap(), stamp.unwrap_or(-1));
            history.record([(P, offset(end.try_into().unwrap()))].into_iter(), now, MINUTE);
            if let Some((stamp, last)) = stamp.zip(last) {
                history.detect_clock_skew(P, offset(last.try_into().unwrap()), at(stamp), now);
            }
            history.prune(|_| crate::lag::end_history::tests::one(p.committed), self.room);

            let facts = TopicFacts {
                ends: Some(&history),
                status: told.as_ref(),
                starts: None,
                cleanup: Some(if self.replaced_by.is_some() { Cleanup::Compact } else { Cleanup::Delete }),
                retention: Some(RETENTION),
            };
            let (ages, anomalies) = compute_bounds(&group(vec![("t", vec![p])]), now, |_| facts);
            prop_assert!(self.skew != 0 || anomalies.is_empty(), "{anomalies:?}");
            let truth = self.true_age(committed, t);
            let over = ages.group.lower.map_or(0, |floor| i64::try_from(floor).unwrap() - truth);
            let under = ages.group.upper.map_or(0, |ceiling| truth - i64::try_from(ceiling).unwrap());
            let missed = over.max(under).max(0);
            outcome.missed = outcome.missed.max(missed);
            outcome.polls += 1;
            if history.trusts_timestamps(P, now) {
                outcome.believed += 1;
            } else {
                prop_assert_eq!(missed, 0, "poll {}: {:?} and {}", i, ages.group, truth);
            }
            let width = ages.group.upper.zip(ages.group.lower).map(|(ceiling, floor)| ceiling - floor);
            outcome.widest = outcome.widest.max(width.unwrap_or(0));
            outcome.open += usize::from(width.is_none());
        }
        Ok(outcome)
    }
}

#[derive(Debug, Default)]
struct Outcome {
    /// How far a bracket was off the truth at most.
    missed: i64,
    polls: usize,
    /// Polls at which message times were believed.
    believed: usize,
    /// The widest bracket.
    widest: u64,
    /// Polls without one.
    open: usize,
}

prop_compose! {
    fn world()(
        gaps in prop_oneof![
            // Steady, bursty, idle.
            prop::collection::vec(5_000..20_000_i64, 10..400),
            prop::collection::vec(prop_oneof![9 => 0..50_i64, 1 => 100_000..900_000_i64], 10..400),
            prop::collection::vec(1_000_000..9_000_000_i64, 1..6),
        ],
        // From long before the first poll on, or only later.
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
        room in prop_oneof![Just(usize::MAX), 3..20_usize],
    ) -> World {
        let log: Vec<i64> = gaps.iter().scan(BEGINNING + lead, |t, gap| Some({ *t += gap; *t })).collect();
        let replaced_by = keys.map(|keys| {
            (0..log.len()).map(|m| (m + 1..log.len()).find(|n| keys[*n] == keys[m])).collect()
        });
        // Compaction and retention do not go together.
        let segment = segment.filter(|_| replaced_by.is_none());
        World {
            log, replaced_by, segment, times, skew: 0, reads, status_every, widths, room,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_true_age_is_within_the_bracket_at_every_poll(world in world()) {
        prop_assert_eq!(world.run()?.missed, 0);
    }

    #[test]
    fn a_producer_s_clock_misleads_by_no_more_than_its_error_and_only_until_it_is_found_out(
        world in world(),
        skew in prop_oneof![-9_000_000..9_000_000_i64, -5_000..5_000_i64],
    ) {
        let world = World { skew, times: true, ..world };
        let missed = world.run()?.missed;
        // Where messages are deleted, a wrong time may also say that the newest one is still there.
        prop_assert!(missed <= skew.abs() || world.segment.is_some(), "{missed} ms");
    }
}

/// A partition with a message a second that is polled for two hours by a group that is 10 minutes behind.
fn steady() -> World {
    let log: Vec<i64> = (0..12_000).map(|s| BEGINNING - 1_000_000 + s * 1_000).collect();
    let reads = vec![0.05; 120];
    World {
        log,
        replaced_by: None,
        segment: None,
        times: false,
        skew: 0,
        reads,
        status_every: 1,
        widths: vec![(1_200, 0.5); 120],
        room: usize::MAX,
    }
}

#[test]
fn once_history_exists_a_bracket_is_one_poll_interval_wide() {
    let outcome = steady().run().unwrap();
    assert_eq!(outcome.missed, 0);
    assert!(outcome.open < 30, "{outcome:?}");
    assert!(outcome.widest <= 60_000 + 4 * 1_200, "{outcome:?}");
    // With little room it is wider, and still true.
    let thin = World { room: 6, ..steady() }.run().unwrap();
    assert_eq!((thin.missed, thin.open), (0, outcome.open));
    assert!(thin.widest > outcome.widest);
}

#[test]
fn a_clock_that_is_an_hour_off_is_found_out_at_once_and_stays_so() {
    for skew in [-3_600_000, 3_600_000] {
        let outcome = World { skew, times: true, ..steady() }.run().unwrap();
        assert!(outcome.believed <= 2, "{skew}: {outcome:?}");
    }
    let right = World { times: true, ..steady() }.run().unwrap();
    assert_eq!(right.believed, right.polls);
    assert_eq!(right.open, 0, "message times bound from the first poll on");
}
