use proptest::prelude::*;

use super::*;

const P: Partition = Partition(0);
const MINUTE: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 86_400_000;

fn offset(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

fn at(millis: i64) -> UnixMillis {
    UnixMillis::new(millis).unwrap()
}

fn span(earliest: i64, latest: i64) -> TimeSpan {
    TimeSpan::new(at(earliest), at(latest))
}

fn note_one(history: &mut EndHistory, end: i64, earliest: i64, latest: i64) {
    history.record([(P, offset(end))].into_iter(), span(earliest, latest), MINUTE);
}

/// History of partition 0 from `(end, earliest, latest)`.
fn history_of(polls: &[(i64, i64, i64)]) -> EndHistory {
    let mut history = EndHistory::default();
    polls.iter().for_each(|(end, earliest, latest)| note_one(&mut history, *end, *earliest, *latest));
    history
}

/// Points of a partition as `(end, first, last)`.
fn points(history: &EndHistory, partition: Partition) -> Vec<(i64, i64, i64)> {
    history.points(partition).map(|p| (p.end.get(), p.first.get(), p.last.get())).collect()
}

fn written(history: &EndHistory, value: i64) -> (Option<i64>, Option<i64>) {
    let WriteInterval { not_before, not_after } = history.write_interval(P, offset(value));
    (not_before.map(UnixMillis::get), not_after.map(UnixMillis::get))
}

/// Committed offsets of a single group, or of none.
pub(in crate::lag) fn one(committed: Option<Offset>) -> &'static [Offset] {
    committed.map_or(&[], |committed| vec![committed].leak())
}

#[test]
fn a_message_was_written_between_the_polls_around_it() {
    let history = history_of(&[(10, 100_000, 100_500), (20, 200_000, 200_500), (20, 260_000, 260_500)]);
    for (message, expected) in [
        (0, (None, Some(100_500))),
        (9, (None, Some(100_500))),
        (10, (Some(100_000), Some(200_500))),
        (19, (Some(100_000), Some(200_500))),
        (20, (Some(260_000), None)),
        (i64::MAX, (Some(260_000), None)),
    ] {
        assert_eq!(written(&history, message), expected, "message {message}");
    }
    assert_eq!(history.write_interval(Partition(1), offset(0)), WriteInterval::default());
    assert_eq!(history.newest(P).map(|p| p.end.get()), Some(20));
    assert_eq!(history.newest(Partition(1)), None);
}

#[test]
fn responses_that_overtake_each_other_are_recorded() {
    // (polls, points)
    type Case = (&'static [(i64, i64, i64)], &'static [(i64, i64, i64)]);
    let cases: &[Case] = &[
        // An older response with the same end moves the first observation back.
        (&[(7, 900, 1_000), (7, 400, 500)], &[(7, 500, 900)]),
        // A smaller end in an overtaken response is ignored.
        (&[(7, 900, 1_000), (6, 400, 500)], &[(7, 1_000, 900)]),
        (&[(7, 900, 1_000), (6, 800, 1_100)], &[(7, 1_000, 900)]),
        // Slow responses around a quick one: a larger end limits all smaller ones.
        (&[(5, 100, 90_000), (7, 200, 300)], &[(5, 300, 100), (7, 300, 200)]),
        (&[(5, 100_000, 100_100), (7, 50_000, 100_200)], &[(5, 100_100, 100_000), (7, 100_200, 100_000)]),
    ];
    for (polls, expected) in cases {
        assert_eq!(points(&history_of(polls), P), *expected, "{polls:?}");
    }
}

#[test]
fn the_responses_of_many_groups_make_one_point_per_poll_interval() {
    let mut history = EndHistory::default();
    // Ten groups, each polled once per minute for an hour.
    for poll in 0..600 {
        let t = 1_000_000 + poll * 6_000;
        note_one(&mut history, poll, t, t + 500);
    }
    let kept = points(&history, P);
    assert!(kept.len() < 70, "{kept:?}");
    let widest = kept.windows(2).map(|w| w[1].1 - w[0].2).max().unwrap();
    assert!(widest <= 55_000, "{widest} ms");
    assert_eq!(kept.first().map(|p| p.0), Some(0));
    assert_eq!(kept.last().map(|p| p.0), Some(599));
}

#[test]
fn polls_an_interval_apart_are_all_kept() {
    let history =
        history_of(&(0..50).map(|i| (i, 1_000 + i * 60_000, 1_500 + i * 60_000)).collect::<Vec<_>>());
    assert_eq!(history.len(), 50);
}

#[test]
fn contradicted_points_are_replaced() {
    // The clock was set back by an hour, so the older points are wrong.
    let history = history_of(&[(5, 7_200_000, 7_200_100), (7, 3_600_000, 3_600_100)]);
    assert_eq!(points(&history, P), [(7, 3_600_100, 3_600_000)]);
    let history =
        history_of(&[(5, 7_000_000, 7_000_100), (7, 7_200_000, 7_200_100), (7, 3_600_000, 3_600_100)]);
    assert_eq!(points(&history, P), [(7, 3_600_100, 3_600_000)]);
    // Not a different clock within the tolerance.
    assert_eq!(history_of(&[(5, 10_000, 10_100), (7, 8_000, 8_100)]).len(), 2);
    // A smaller end may come from a source that lags behind. If no poll reports the larger one for two intervals,
    // the topic was recreated.
    let mut history = history_of(&[(100, 1_000, 1_100), (50, 61_000, 61_100), (60, 121_000, 121_100)]);
    assert_eq!(points(&history, P), [(100, 1_100, 1_000)]);
    note_one(&mut history, 70, 121_001, 121_100);
    assert_eq!(points(&history, P), [(70, 121_100, 121_001)]);
    // Not while another source confirms the larger end.
    let polls: Vec<_> = (1..9)
        .flat_map(|i| [(100, i * 60_000, i * 60_000 + 9), (50, i * 60_000 + 500, i * 60_000 + 900)])
        .collect();
    assert_eq!(points(&history_of(&polls), P), [(100, 60_009, 480_000)]);
}

#[test]
fn a_timestamp_contradicted_by_polls_is_not_trusted_for_an_hour() {
    let history = || history_of(&[(10, 100_000, 100_500), (20, 200_000, 200_500)]);
    let now = span(200_000, 200_500);
    // (message, stamp, contradicted)
    for (message, stamp, contradicted) in [
        (15, 150_000, false),
        (15, 98_000, false),
        (15, 97_999, true),
        (15, 202_500, false),
        (15, 202_501, true),
        // Written before the first poll: only the future contradicts.
        (5, 1, false),
        (25, 200_000, false),
        (25, 197_999, true),
        (25, 202_500, false),
        (25, 202_501, true),
    ] {
        let mut history = history();
        let detected = history.check_timestamp(P, offset(message), at(stamp), now);
        assert_eq!(
            (detected, !history.trusts_timestamps(P, now)),
            (contradicted, contradicted),
            "{message} at {stamp}"
        );
    }
    let mut history = history();
    assert!(history.check_timestamp(P, offset(15), at(1), now));
    assert!(!history.check_timestamp(P, offset(15), at(1), now), "already distrusted");
    assert!(history.trusts_timestamps(Partition(1), now));
    assert!(!history.trusts_timestamps(P, span(3_800_499, 3_900_000)));
    assert!(history.trusts_timestamps(P, span(3_800_500, 3_900_000)));
    // A correct timestamp does not restore trust, another wrong one extends the hour.
    let later = span(1_000_000, 1_000_500);
    assert!(!history.check_timestamp(P, offset(15), at(150_000), later));
    assert!(!history.trusts_timestamps(P, later));
    assert!(!history.check_timestamp(P, offset(15), at(1), later));
    assert!(!history.trusts_timestamps(P, span(4_600_499, 4_600_499)));
    assert!(history.trusts_timestamps(P, span(4_600_500, 4_600_500)));
    assert!(history.check_timestamp(P, offset(15), at(1), span(4_600_500, 4_600_500)), "trusted until now");
    // A timestamp in the future needs no history.
    assert!(EndHistory::default().check_timestamp(P, offset(0), at(2_002), span(1, 1)));
}

#[test]
fn unneeded_points_are_removed() {
    let full = || history_of(&(1..=5).map(|i| (i * 10, i * 100_000, i * 100_000 + 100)).collect::<Vec<_>>());
    let ends = |history: &EndHistory| points(history, P).iter().map(|p| p.0).collect::<Vec<_>>();
    // (smallest committed offset, ends left)
    for (needed, left) in [
        (Some(0), vec![10, 20, 30, 40, 50]),
        (Some(9), vec![10, 20, 30, 40, 50]),
        (Some(10), vec![10, 20, 30, 40, 50]),
        (Some(29), vec![20, 30, 40, 50]),
        (Some(30), vec![30, 40, 50]),
        (Some(50), vec![50]),
        (Some(99), vec![50]),
        (None, vec![50]),
    ] {
        let mut history = full();
        history.prune(|_| one(needed.map(offset)), usize::MAX);
        assert_eq!(ends(&history), left, "{needed:?}");
        if let Some(needed) = needed {
            assert_eq!(
                history.write_interval(P, offset(needed)),
                full().write_interval(P, offset(needed)),
                "{needed}"
            );
        }
    }
}

#[test]
fn points_from_before_the_creation_of_a_topic_are_removed() {
    let mut history = history_of(&[(10, 60_000, 60_100), (20, 120_000, 120_100), (30, 180_000, 180_100)]);
    history.remove_before(UnixMillis::new(60_050).unwrap());
    assert_eq!(history.len(), 3, "the first may be just after the creation");
    history.remove_before(UnixMillis::new(120_050).unwrap());
    assert_eq!(points(&history, P).iter().map(|p| p.0).collect::<Vec<_>>(), [20, 30]);
    history.remove_before(UnixMillis::new(200_000).unwrap());
    assert!(history.is_empty());
}

#[test]
fn thinning_keeps_the_newest_point_and_those_around_each_offset() {
    let full = || history_of(&(1..=60).map(|i| (i * 10, i * 60_000, i * 60_000 + 100)).collect::<Vec<_>>());
    let ends = |history: &EndHistory| points(history, P).iter().map(|p| p.0).collect::<Vec<_>>();
    let mut history = full();
    history.prune(|_| one(Some(offset(105))), 0);
    assert_eq!(ends(&history), [100, 110, 120, 600]);
    let mut history = full();
    history.prune(|_| vec![offset(105), offset(305), offset(310)].leak(), 0);
    assert_eq!(ends(&history), [100, 110, 120, 300, 310, 320, 330, 600]);
    let mut history = full();
    history.prune(|_| one(Some(offset(5))), 1);
    assert_eq!(ends(&history), [10, 20, 600]);
    let mut history = full();
    history.prune(|_| one(Some(offset(105))), 12);
    let left = ends(&history);
    assert_eq!((left.len(), &left[..2]), (12, &[100, 110][..]));
    // Recent points are closer together.
    let gaps: Vec<i64> = left[2..].windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps.first() > gaps.last(), "{gaps:?}");
    assert_eq!(gaps.last(), Some(&10), "{gaps:?}");
    // No gap is much wider than the others, relative to its age in percent.
    let parts = left[2..].windows(2).map(|w| (w[1] - w[0]) * 100 / (610 - w[0]));
    assert!(parts.max() <= Some(50), "{left:?}");
}

#[test]
fn the_partitions_of_a_topic_share_the_limit() {
    let mut history = EndHistory::default();
    let lagging = Partition(3);
    for i in 1..=100 {
        let t = i * 60_000;
        let ends = [(Partition(7), i), (P, i * 2), (lagging, i * 3)].map(|(p, end)| (p, offset(end)));
        history.record(ends.into_iter(), span(t, t + 100), MINUTE);
    }
    let needed = |p| Some(offset(if p == lagging { 0 } else { 1_000 }));
    history.prune(|p| one(needed(p)), 40);
    assert_eq!(history.len(), 40);
    assert_eq!([P, lagging, Partition(7)].map(|p| history.points(p).count()), [1, 38, 1]);
    assert_eq!(history.points(Partition(9)).count(), 0);
}

#[test]
fn distant_offsets_and_times_are_exact() {
    let large = 1 << 53;
    let year = 365 * DAY_MS;
    let cases = [
        // Consecutive offsets beyond 2^53.
        vec![(large, 1_000, 1_100), (large + 1, 61_000, 61_100), (large + 2, 121_000, 121_100)],
        // Minimum and maximum offsets.
        vec![
            (0, 1_000, 1_100),
            (1, 61_000, 61_100),
            (i64::MAX - 1, 121_000, 121_100),
            (i64::MAX, 181_000, 181_100),
        ],
        // Decades, and the maximum time.
        vec![
            (1, 1, 1),
            (2, 30 * year, 30 * year + 7),
            (3, 60 * year, 60 * year),
            (4, i64::MAX - 9, i64::MAX),
        ],
        // 49 days and 17 hours are 2^32 ms.
        vec![(1, 1, 1), (2, 1 << 32, 1 << 32), (3, (1 << 32) + 70_000, (1 << 32) + 70_001)],
        vec![(u32::MAX.into(), 1_000, 1_100), (2 * i64::from(u32::MAX), 61_000, 61_100)],
    ];
    for polls in cases {
        let history = history_of(&polls);
        let expected: Vec<_> =
            polls.iter().map(|(end, earliest, latest)| (*end, *latest, *earliest)).collect();
        assert_eq!(points(&history, P), expected);
        let mut pruned = history_of(&polls);
        let last = polls.last().map(|a| offset(a.0));
        pruned.prune(|_| one(last), usize::MAX);
        assert_eq!(points(&pruned, P), expected[expected.len() - 1..]);
    }
}

#[test]
fn a_hundred_days_of_lag_are_exact_and_packed_again_once_consumed() {
    let mut history = EndHistory::default();
    let polls = 100 * 24;
    for hour in 0..polls {
        note_one(&mut history, hour * 1_000_000_007, 1_000 + hour * 3_600_000, 1_500 + hour * 3_600_000);
    }
    for hour in [0, 1, 1_191, 1_192, 1_193, polls - 2] {
        let (from, to) = (1_000 + hour * 3_600_000, 1_500 + (hour + 1) * 3_600_000);
        assert_eq!(written(&history, hour * 1_000_000_007), (Some(from), Some(to)), "hour {hour}");
    }
    let far = history.bytes();
    history.prune(|_| one(Some(offset((polls - 4) * 1_000_000_007))), usize::MAX);
    assert_eq!(history.len(), 4);
    assert!(far > 24 * history.len() && history.bytes() < 200, "{far}, then {}", history.bytes());
}

#[test]
fn a_message_that_may_be_deleted_does_not_count() {
    let history = history_of(&[(10, 100_000, 100_500), (20, 200_000, 200_500), (30, 300_000, 300_500)]);
    let since = |message, since| history.written_by(P, offset(message), Some(at(since))).map(UnixMillis::get);
    // The last message before end 20 was written after the poll at 100 s.
    assert_eq!(since(5, 99_999), Some(200_500));
    assert_eq!(since(5, 100_000), Some(300_500));
    assert_eq!(since(25, 99_999), Some(300_500));
    assert_eq!(since(5, 200_000), None);
    // The age of messages before the first poll is unknown.
    assert_eq!(since(5, 1), Some(200_500));
    assert_eq!(history.written_by(Partition(1), offset(0), Some(at(1))), None);
}

/// Polls `partitions` with a lag in polls. Messages are written between any two polls.
fn polled(partitions: u32, polls: i64, lag: i64, max_points: usize) -> EndHistory {
    let mut history = EndHistory::default();
    for poll in 0..polls {
        let t = 1_790_000_000_000 + poll * 60_000;
        let ends = (0..partitions).map(|p| (Partition(p), offset(poll * 6_000 + i64::from(p))));
        history.record(ends, span(t, t + 1_200), MINUTE);
        history.prune(|p| one(Some(offset((poll - lag).max(0) * 6_000 + i64::from(p.0)))), max_points);
    }
    history
}

#[test]
fn a_partition_takes_less_than_two_hundred_bytes() {
    // (partitions, lag in polls, maximum points per partition, maximum bytes per partition including the topic)
    for (partitions, lag, max_points, most) in [
        // No lag, or a lag of the last polls.
        (100, 0, 10, 65),
        (100, 1, 10, 80),
        (100, 2, 10, 90),
        (1, 2, 8, 140),
        // Ten hours behind, at the maximum number of points.
        (100, 600, 10, 175),
        (1, 600, 8, 200),
    ] {
        let history = polled(partitions, 700, lag, max_points * partitions as usize);
        let each = history.bytes() / partitions as usize;
        assert!(each <= most, "{partitions} partitions, {lag} polls behind: {each} bytes");
    }
}

/// Response about a partition: the true time, and the distance to the ends of its time span.
#[derive(Debug, Clone, Copy)]
struct SimulatedPoll {
    at: i64,
    before: i64,
    after: i64,
}

impl SimulatedPoll {
    fn span(self) -> TimeSpan {
        span((self.at - self.before).max(1), self.at + self.after)
    }
}

const BEGINNING: i64 = 1_000_000;

/// Generates the time of each message of a log.
fn log() -> impl Strategy<Value = Vec<i64>> {
    let gap = prop_oneof![4 => Just(0_i64), 8 => 0..2_000_i64, 4 => 1_000..90_000_i64, 1 => 1_000_000..9_000_000_i64];
    prop::collection::vec(gap, 1..80).prop_map(|gaps| {
        gaps.iter()
            .scan(BEGINNING, |t, gap| {
                Some({
                    *t += gap;
                    *t
                })
            })
            .collect()
    })
}

fn base() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just((1 << 53) - 3), Just(i64::from(u32::MAX)), Just(i64::MAX - 100)]
}

fn end_at(log: &[i64], base: i64, t: i64) -> Offset {
    offset(base + i64::try_from(log.partition_point(|w| *w <= t)).unwrap())
}

/// Computes the interval from a list of all responses.
fn brute_force(seen: &[(TimeSpan, Offset)], message: Offset) -> WriteInterval {
    WriteInterval {
        not_before: seen.iter().filter(|(_, end)| *end <= message).map(|(span, _)| span.earliest()).max(),
        not_after: seen.iter().filter(|(_, end)| *end > message).map(|(span, _)| span.latest()).min(),
    }
}

proptest! {
    #[test]
    fn the_write_interval_contains_the_true_time(
        log in log(),
        base in base(),
        simulated_polls in prop::collection::vec((0.0..1.1_f64, 0..40_000_i64, 0..40_000_i64), 1..120).prop_shuffle(),
        in_order in any::<bool>(),
        committed in 0..80_i64,
        max_points in prop_oneof![Just(usize::MAX), 0..30_usize],
        prune_every in 1..20_usize,
        poll_interval in prop_oneof![Just(0_u64), 1..100_000_u64],
    ) {
        let length = (log[log.len() - 1] - BEGINNING) as f64;
        let mut simulated_polls: Vec<SimulatedPoll> = simulated_polls.into_iter().map(|(share, before, after)| SimulatedPoll {
            at: BEGINNING - 10 + (share * length) as i64, before, after,
        }).collect();
        if in_order {
            simulated_polls.sort_by_key(|simulated_poll| simulated_poll.at + simulated_poll.after);
        }
        let mut history = EndHistory::default();
        let mut seen = Vec::new();
        for (i, simulated_poll) in simulated_polls.iter().enumerate() {
            let end = end_at(&log, base, simulated_poll.at);
            history.record([(P, end)].into_iter(), simulated_poll.span(), Duration::from_millis(poll_interval));
            seen.push((simulated_poll.span(), end));
            if i % prune_every == 0 {
                history.prune(|_| one(Some(offset(base + committed))), max_points);
                prop_assert!(max_points < 4 || history.len() <= max_points);
            }
            for (message, at) in log.iter().enumerate() {
                let message = offset(base + i64::try_from(message).unwrap());
                let WriteInterval { not_before, not_after } = history.write_interval(P, message);
                prop_assert!(not_before.is_none_or(|t| t.get() <= *at), "{not_before:?} > {at}");
                prop_assert!(not_after.is_none_or(|t| t.get() >= *at), "{not_after:?} < {at}");
                let all = brute_force(&seen, message);
                prop_assert!(not_before <= all.not_before);
                prop_assert!(not_after.is_none() || not_after >= all.not_after);
                // Only retained messages count.
                let since = history.written_by(P, message, UnixMillis::new(*at));
                prop_assert!(since.is_none_or(|t| t.get() > *at));
            }
            let held: Vec<EndPoint> = history.points(P).collect();
            prop_assert!(held.is_sorted_by(|a, b| a.end < b.end && a.first <= b.first && a.last <= b.last));
        }
    }

    #[test]
    fn in_order_and_unmerged_polls_are_all_kept(log in log(), base in base(), simulated_polls in prop::collection::vec((1..90_000_i64, 0..500_i64), 1..60)) {
        let mut history = EndHistory::default();
        let mut seen = Vec::new();
        let mut t = BEGINNING;
        for (gap, width) in simulated_polls {
            t += gap + 500;
            let simulated_poll = SimulatedPoll { at: t, before: 0, after: width };
            let end = end_at(&log, base, t);
            history.record([(P, end)].into_iter(), simulated_poll.span(), Duration::ZERO);
            seen.push((simulated_poll.span(), end));
        }
        for message in 0..log.len() {
            let message = offset(base + i64::try_from(message).unwrap());
            prop_assert_eq!(history.write_interval(P, message), brute_force(&seen, message));
        }
    }

    #[test]
    fn a_write_interval_is_at_most_a_poll_interval_and_two_spans(
        log in log(),
        groups in prop::collection::vec(0..60_000_i64, 1..12),
        width in 0..5_000_i64,
        poll_interval in 60_000..120_000_u64,
    ) {
        let mut simulated_polls: Vec<i64> =
            (0..40).flat_map(|poll| groups.iter().map(move |at| BEGINNING + poll * 60_000 + at)).collect();
        simulated_polls.sort_unstable();
        let mut history = EndHistory::default();
        for t in &simulated_polls {
            let simulated_poll = SimulatedPoll { at: *t, before: width / 3, after: width - width / 3 };
            let end = end_at(&log, 0, *t);
            history.record([(P, end)].into_iter(), simulated_poll.span(), Duration::from_millis(poll_interval));
        }
        let poll_interval = i64::try_from(poll_interval).unwrap();
        for (message, at) in log.iter().enumerate() {
            if simulated_polls[0] < *at && *at <= simulated_polls[simulated_polls.len() - 1] {
                let WriteInterval { not_before, not_after } = history.write_interval(P, offset(i64::try_from(message).unwrap()));
                let window = not_after.unwrap().get() - not_before.unwrap().get();
                prop_assert!(window <= poll_interval + 2 * width, "{window}");
            }
        }
    }
}
