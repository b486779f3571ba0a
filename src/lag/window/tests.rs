//! Windows compared with a model that keeps every response.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::lag::reference_model::{WINDOW, at, group_lag, lag_of, name, no_bounds, upper_bounds};

/// Change of a partition between two responses.
#[derive(Debug, Clone, Copy)]
enum Move {
    Nothing,
    Write(i64),
    Read(i64),
    ReadAll,
    Rewind(i64),
    /// The response lacks the committed offset.
    HideOffset,
    /// The response lacks the partition.
    Remove,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => Just(Move::Nothing),
        6 => (0..50_i64).prop_map(Move::Write),
        4 => (0..50_i64).prop_map(Move::Read),
        3 => Just(Move::ReadAll),
        1 => (1..50_i64).prop_map(Move::Rewind),
        1 => Just(Move::HideOffset),
        1 => Just(Move::Remove),
    ]
}

/// Seconds since the previous response, and the change of each of three partitions; or the topic is recreated.
type Step = (f64, Option<[Move; 3]>);

fn any_step() -> impl Strategy<Value = Step> {
    let pause = prop_oneof![
        8 => Just(60.0),
        3 => 10.0..100.0,
        1 => Just(15.0),
        1 => 600.0..2000.0,
    ];
    let moves = prop_oneof![40 => [any_move(), any_move(), any_move()].prop_map(Some), 1 => Just(None)];
    (pause, moves)
}

/// Response at a time in milliseconds, with the end and committed offset of each partition.
#[derive(Debug, Clone)]
struct Response {
    at: i64,
    partitions: Vec<(u32, Option<(i64, i64)>)>,
}

/// Returns the responses after each step.
fn responses(steps: &[Step]) -> Vec<Response> {
    let mut now = 0.0;
    let mut offsets = [(1000, 1000); 3];
    let step = |(pause, moves): &Step| {
        now += (pause * 1e3_f64).round() / 1e3;
        let moves = moves.unwrap_or_else(|| {
            offsets = [(0, 0); 3];
            [Move::Nothing; 3]
        });
        let mut partitions = Vec::new();
        for (number, ((end, committed), moved)) in (0..).zip(offsets.iter_mut().zip(moves)) {
            match moved {
                Move::Nothing | Move::HideOffset | Move::Remove => {}
                Move::Write(n) => *end += n,
                Move::Read(n) => *committed = (*committed + n).min(*end),
                Move::ReadAll => *committed = *end,
                Move::Rewind(n) => *committed = (*committed - n).max(0),
            }
            match moved {
                Move::Remove => {}
                Move::HideOffset => partitions.push((number, None)),
                _ => partitions.push((number, Some((*end, *committed)))),
            }
        }
        Response { at: at(now).latest().get(), partitions }
    };
    steps.iter().map(step).collect()
}

fn offsets_of(response: &Response, partition: u32) -> Option<(i64, i64)> {
    response.partitions.iter().find(|(p, _)| *p == partition).and_then(|(_, offsets)| *offsets)
}

fn group_lag_of(response: &Response) -> GroupLag {
    let row = |(p, offsets): &(u32, Option<(i64, i64)>)| {
        offsets.map_or((*p, 2000, -1), |(end, committed)| (*p, end, committed))
    };
    group_lag(&[("t", response.partitions.iter().map(row).collect())])
}

/// Returns the expected window of a partition, from all responses since the topic was created.
fn expected(all: &[Response], partition: u32, window: i64) -> PartitionWindow {
    let known: Vec<(i64, (i64, i64))> = all
        .iter()
        .rev()
        .map_while(|t| offsets_of(t, partition).map(|o| (t.at, o)))
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    let lags = |(end, committed): (i64, i64)| end > committed;
    let run: Vec<_> =
        known.iter().rev().take_while(|(_, o)| lags(*o) && o.1 == known.last().unwrap().1.1).collect();
    let mut rewind: Option<(i64, i64)> = None;
    for pair in known.windows(2) {
        let ((_, (_, before)), (at, (_, now))) = (pair[0], pair[1]);
        if now < before {
            rewind = Some((rewind.map_or(before, |(high, _)| high.max(before)), at));
        }
        rewind = rewind.filter(|(high, moved_back)| now < *high && at - moved_back <= window);
    }
    let tenth = |at: i64| {
        let first = all.first().unwrap().at;
        UnixMillis::new(first + (at - first + 99) / 100 * 100).unwrap()
    };
    PartitionWindow {
        polls: known.len().min(7) as u8,
        unchanged_since: run.last().map(|(at, _)| tenth(*at)),
        is_unchanged_with_lag: run
            .last()
            .is_some_and(|(at, _)| all.last().unwrap().at - tenth(*at).get() >= window),
        was_moving: !known.is_empty() && run.len() < known.len()
            || known.last().is_some_and(|(_, o)| !lags(*o)),
        rewind: rewind.map(|(before, at)| OffsetRewind {
            before: Offset::new(before).unwrap(),
            at: UnixMillis::new(at).unwrap(),
        }),
    }
}

/// Returns the messages consumed and produced between two responses.
fn moved(before: &Response, after: &Response) -> (i64, i64) {
    let each = (0..3).filter_map(|p| Some((offsets_of(before, p)?, offsets_of(after, p)?)));
    each.fold((0, 0), |sum, (b, a)| (sum.0 + (a.1 - b.1).max(0), sum.1 + (a.0 - b.0).max(0)))
}

fn lag_sum(response: &Response) -> Option<i64> {
    (0..3)
        .filter_map(|p| offsets_of(response, p))
        .fold(None, |sum, (e, c)| Some(sum.unwrap_or(0) + (e - c).max(0)))
}

fn moved_back(before: &Response, after: &Response) -> bool {
    let end = |t: &Response, p| offsets_of(t, p).map(|o| o.0);
    (0..3).any(|p| end(before, p).zip(end(after, p)).is_some_and(|(b, a)| a < b))
}

proptest! {
    #[test]
    fn a_window_matches_all_responses(steps in vec(any_step(), 1..80)) {
        let window_ms = WINDOW.as_millis() as i64;
        let all = responses(&steps);
        let mut window = GroupWindow::default();
        // First response about the present topic, and first since its lag is known.
        let (mut created, mut lagged) = (0, 0);
        for (poll, now) in all.iter().enumerate() {
            let lag = group_lag_of(now);
            window.record(&lag, &no_bounds(&lag), TimeSpan::at(UnixMillis::new(now.at).unwrap()), WINDOW);
            if poll > 0 && moved_back(&all[poll - 1], now) {
                (created, lagged) = (poll, poll);
            }
            let topic = window.topic(&name()).unwrap();
            for (i, (partition, _)) in now.partitions.iter().enumerate() {
                let partition_window = topic.partition(i, WINDOW).unwrap();
                let model = expected(&all[created..=poll], *partition, window_ms);
                prop_assert_eq!(partition_window, model, "partition {} at {}", partition, poll);
            }
            if lag_sum(now).is_none() {
                lagged = poll + 1;
                prop_assert_eq!((topic.polls(), topic.samples().count()), (0, 0));
                continue;
            }
            let since = &all[lagged..=poll];
            let samples: Vec<WindowSample> = topic.samples().collect();
            prop_assert_eq!(usize::from(topic.polls()), since.len());
            // A few samples, each of a poll, span the window.
            prop_assert!(samples.len() <= 12);
            prop_assert_eq!(samples.last().unwrap().at.get(), now.at);
            let first = samples[0].at.get();
            prop_assert!(first == since[0].at || now.at - first >= window_ms * 10 / 11);
            prop_assert!(samples.get(1).is_none_or(|p| p.at.get() > now.at - window_ms));
            for pair in samples.windows(2).rev().skip(1) {
                prop_assert!(pair[1].at.get() - pair[0].at.get() >= window_ms / 11);
            }
            let between = |from: i64, to: i64| {
                let pairs = since.windows(2).filter(|w| w[1].at > from && w[1].at <= to);
                pairs.map(|w| moved(&w[0], &w[1])).fold((0, 0), |s, m| (s.0 + m.0, s.1 + m.1))
            };
            for pair in samples.windows(2) {
                let sums = (i64::from(pair[1].consumed), i64::from(pair[1].produced));
                prop_assert_eq!(sums, between(pair[0].at.get(), pair[1].at.get()));
            }
            for sample in &samples {
                let response = since.iter().find(|t| t.at == sample.at.get()).unwrap();
                prop_assert_eq!(sample.lag as i64, lag_sum(response).unwrap());
            }
            let (consumed, produced) = between(first, now.at);
            prop_assert_eq!(topic.totals(), (consumed as u64, produced as u64));
            let seconds = (now.at - first) as f64 / 1e3;
            let rates = (samples.len() > 1 && since.len() >= 3)
                .then(|| MessageRates { consumed: consumed as f64 / seconds, produced: produced as f64 / seconds });
            prop_assert_eq!(topic.rates(), rates);
            let done = since.iter().any(|t| t.at >= now.at - window_ms && lag_sum(t) == Some(0));
            prop_assert_eq!(topic.was_caught_up(WINDOW), done);
        }
    }

    #[test]
    fn any_response_is_accepted(
        responses in vec((any::<i64>(), vec((0..9_u32, any::<i64>(), any::<i64>()), 0..4)), 0..20),
    ) {
        let mut window = GroupWindow::default();
        for (time, mut rows) in responses {
            rows.sort_unstable();
            rows.dedup_by_key(|r| r.0);
            let lag = group_lag(&[("t", rows)]);
            let Some(time) = UnixMillis::new(time) else { continue };
            window.record(&lag, &no_bounds(&lag), TimeSpan::at(time), WINDOW);
            let topic = window.topic(&name()).unwrap();
            prop_assert!(topic.samples().count() <= 12);
            prop_assert!(topic.rates().is_none_or(|r| r.consumed.is_finite() && r.produced.is_finite()));
            prop_assert!(topic.lag_trend().is_none_or(|t| t.growth.is_finite()));
        }
    }
}

#[test]
fn topics_missing_from_a_response_are_removed() {
    let rows = |n| (0..n).map(|p| (p, 10, 5)).collect::<Vec<_>>();
    let mut window = GroupWindow::default();
    let mut poll = |seconds, lag: &GroupLag| {
        window.record(lag, &no_bounds(lag), at(seconds), WINDOW);
        let since = |t: &str| {
            let topic = TopicName::new(t).unwrap();
            Some(
                window.topic(&topic)?.partition(0, WINDOW)?.unchanged_since.unwrap().get()
                    - at(0.0).latest().get(),
            )
        };
        ["a", "b", "c"].map(since)
    };
    assert_eq!(poll(0.0, &group_lag(&[("a", rows(1)), ("c", rows(2))])), [Some(0), None, Some(0)]);
    assert_eq!(poll(60.0, &group_lag(&[("b", rows(3)), ("c", rows(2))])), [None, Some(60_000), Some(0)]);
    assert_eq!(
        poll(120.0, &group_lag(&[("a", rows(1)), ("b", rows(3))])),
        [Some(120_000), Some(60_000), None]
    );
    assert_eq!(poll(180.0, &group_lag(&[])), [None; 3]);
}

#[test]
fn an_unchanged_offset_is_remembered_over_an_outage_and_for_months() {
    let mut window = GroupWindow::default();
    let lag = lag_of(&[(10, 5)]);
    let days = 86_400.0;
    // An outage of an hour, then polls once per day for a hundred days.
    for seconds in [0.0, 60.0, 3660.0].into_iter().chain((1..100).map(|d| f64::from(d) * days)) {
        window.record(&lag, &no_bounds(&lag), at(seconds), WINDOW);
        let topic = window.topic(&name()).unwrap();
        assert_eq!(topic.is_unchanged_with_lag(0, WINDOW), seconds > 60.0);
        assert_eq!(topic.newest(), at(seconds).latest());
        let since = topic.partition(0, WINDOW).unwrap().unchanged_since.unwrap();
        if seconds < 40.0 * days {
            assert_eq!(since, at(0.0).latest());
        } else {
            // The exact time is lost, but it is longer than any window.
            assert!(topic.newest().get() - since.get() > 19 * 86_400_000);
        }
    }
}

#[test]
fn a_window_has_at_most_twelve_samples() {
    let mut window = GroupWindow::default();
    let lag = lag_of(&[(10, 5)]);
    // Polls as far apart as samples, and then one right after the last.
    for seconds in (0..30).map(|i| f64::from(i) * 55.0).chain([29.0 * 55.0 + 1.0]) {
        window.record(&lag, &no_bounds(&lag), at(seconds), WINDOW);
        assert!(window.topic(&name()).unwrap().samples().count() <= 12);
    }
}

#[test]
fn time_stops_if_a_clock_is_set_back_and_the_window_starts_over_beyond_its_length() {
    let mut window = GroupWindow::default();
    let mut poll = |seconds| {
        let lag = lag_of(&[(10, 5)]);
        window.record(&lag, &no_bounds(&lag), at(seconds), WINDOW);
        let topic = window.topic(&name()).unwrap();
        (topic.newest(), topic.polls())
    };
    assert_eq!(poll(10_000.0), (at(10_000.0).latest(), 1));
    assert_eq!(poll(9_990.0), (at(10_000.0).latest(), 2));
    assert_eq!(poll(9_000.0), (at(9_000.0).latest(), 1));
}

#[test]
fn a_jump_of_billions_of_messages_is_not_a_rate() {
    let mut window = GroupWindow::default();
    let mut poll = |seconds, end, committed| {
        let lag = lag_of(&[(end, committed)]);
        window.record(&lag, &no_bounds(&lag), at(seconds), WINDOW);
        window.topic(&name()).unwrap().rates()
    };
    for i in 0..10 {
        poll(f64::from(i) * 60.0, i64::MAX, 5);
    }
    assert_eq!(poll(600.0, i64::MAX, i64::MAX), None);
    poll(660.0, i64::MAX, i64::MAX);
    assert_eq!(poll(720.0, i64::MAX, i64::MAX), Some(MessageRates { consumed: 0.0, produced: 0.0 }));
}

#[test]
fn bounds_of_another_kind_are_not_growth() {
    let mut window = GroupWindow::default();
    let lag = lag_of(&[(10, 5)]);
    let lower = TimeBounds { lower: Some(1_000), upper: None };
    for i in 0..12_u32 {
        // First only a lower bound of a second is known, then an upper bound of ten minutes.
        let mut bounds = upper_bounds(&[600.0]);
        if i < 6 {
            bounds.topics[0].topic = lower;
        }
        window.record(&lag, &bounds, at(f64::from(i) * 60.0), WINDOW);
    }
    let topic = window.topic(&name()).unwrap();
    assert_eq!(topic.age_trend().map(|t| t.growth), Some(0.0));
    assert_eq!(topic.samples().next().unwrap().bounds, lower);
    assert_eq!(topic.samples().last().unwrap().bounds, TimeBounds { lower: None, upper: Some(600_000) });
}

#[test]
fn a_window_takes_about_a_hundred_bytes_per_partition() {
    let bytes = |topics: usize, partitions: u32| {
        let names: Vec<String> = (0..topics).map(|t| format!("{t:03}")).collect();
        let mut window = GroupWindow::default();
        for i in 0..200_i64 {
            let rows: Vec<_> = (0..partitions).map(|p| (p, 1000 + 60 * i, 900 + 50 * i)).collect();
            let lag = group_lag(&names.iter().map(|n| (n.as_str(), rows.clone())).collect::<Vec<_>>());
            window.record(&lag, &no_bounds(&lag), at(i as f64 * 60.0), WINDOW);
        }
        window.bytes() as f64 / (topics as f64 * f64::from(partitions))
    };
    let measured = [(1, 1), (10, 4), (10, 12), (10, 100)].map(|(t, p)| bytes(t, p).round());
    assert_eq!(measured, [368.0, 106.0, 51.0, 27.0]);
}
