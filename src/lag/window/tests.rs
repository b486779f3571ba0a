//! Tracks against a model that keeps every answer.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::lag::reference_model::{WINDOW, answer, at, ceilings, group, name, no_ages};

/// What happens to a partition between two answers.
#[derive(Debug, Clone, Copy)]
enum Move {
    Nothing,
    Write(i64),
    Read(i64),
    ReadAll,
    Fall(i64),
    /// The answer does not tell the committed offset.
    Hide,
    /// The answer does not tell of the partition.
    Leave,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => Just(Move::Nothing),
        6 => (0..50_i64).prop_map(Move::Write),
        4 => (0..50_i64).prop_map(Move::Read),
        3 => Just(Move::ReadAll),
        1 => (1..50_i64).prop_map(Move::Fall),
        1 => Just(Move::Hide),
        1 => Just(Move::Leave),
    ]
}

/// Seconds since the answer before, and what happened to each of three partitions; or the topic is created anew.
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

/// An answer, in milliseconds, with (end, committed) of each partition that it tells.
#[derive(Debug, Clone)]
struct Told {
    at: i64,
    partitions: Vec<(u32, Option<(i64, i64)>)>,
}

/// Every answer, as the steps make it.
fn told(steps: &[Step]) -> Vec<Told> {
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
                Move::Nothing | Move::Hide | Move::Leave => {}
                Move::Write(n) => *end += n,
                Move::Read(n) => *committed = (*committed + n).min(*end),
                Move::ReadAll => *committed = *end,
                Move::Fall(n) => *committed = (*committed - n).max(0),
            }
            match moved {
                Move::Leave => {}
                Move::Hide => partitions.push((number, None)),
                _ => partitions.push((number, Some((*end, *committed)))),
            }
        }
        Told { at: at(now).latest().get(), partitions }
    };
    steps.iter().map(step).collect()
}

fn of(told: &Told, partition: u32) -> Option<(i64, i64)> {
    told.partitions.iter().find(|(p, _)| *p == partition).and_then(|(_, offsets)| *offsets)
}

fn lag_of(told: &Told) -> GroupLag {
    let row = |(p, offsets): &(u32, Option<(i64, i64)>)| {
        offsets.map_or((*p, 2000, -1), |(end, committed)| (*p, end, committed))
    };
    group(&[("t", told.partitions.iter().map(row).collect())])
}

/// What a track should say of a partition, from all answers since the topic was created.
fn expected(all: &[Told], partition: u32, window: i64) -> PartitionWindow {
    let known: Vec<(i64, (i64, i64))> = all
        .iter()
        .rev()
        .map_while(|t| of(t, partition).map(|o| (t.at, o)))
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
        rewind = rewind.filter(|(high, fell)| now < *high && at - fell <= window);
    }
    let tenth = |at: i64| {
        let first = all.first().unwrap().at;
        UnixMillis::new(first + (at - first + 99) / 100 * 100).unwrap()
    };
    PartitionWindow {
        polls: known.len().min(7) as u8,
        unchanged_since: run.last().map(|(at, _)| tenth(*at)),
        is_stuck: run.last().is_some_and(|(at, _)| all.last().unwrap().at - tenth(*at).get() >= window),
        was_moving: !known.is_empty() && run.len() < known.len()
            || known.last().is_some_and(|(_, o)| !lags(*o)),
        rewind: rewind.map(|(before, at)| OffsetRewind {
            before: Offset::new(before).unwrap(),
            at: UnixMillis::new(at).unwrap(),
        }),
    }
}

/// (consumed, produced) from one answer to the next.
fn moved(before: &Told, after: &Told) -> (i64, i64) {
    let each = (0..3).filter_map(|p| Some((of(before, p)?, of(after, p)?)));
    each.fold((0, 0), |sum, (b, a)| (sum.0 + (a.1 - b.1).max(0), sum.1 + (a.0 - b.0).max(0)))
}

fn lag_sum(told: &Told) -> Option<i64> {
    (0..3).filter_map(|p| of(told, p)).fold(None, |sum, (e, c)| Some(sum.unwrap_or(0) + (e - c).max(0)))
}

fn fell(before: &Told, after: &Told) -> bool {
    let end = |t: &Told, p| of(t, p).map(|o| o.0);
    (0..3).any(|p| end(before, p).zip(end(after, p)).is_some_and(|(b, a)| a < b))
}

proptest! {
    #[test]
    fn a_track_is_what_all_answers_say(steps in vec(any_step(), 1..80)) {
        let window = WINDOW.as_millis() as i64;
        let all = told(&steps);
        let mut track = GroupWindow::default();
        // The first answer about the topic as it is; and the first since a lag is known.
        let (mut created, mut lagged) = (0, 0);
        for (i, now) in all.iter().enumerate() {
            let lag = lag_of(now);
            track.record(&lag, &no_ages(&lag), TimeSpan::at(UnixMillis::new(now.at).unwrap()), WINDOW);
            if i > 0 && fell(&all[i - 1], now) {
                (created, lagged) = (i, i);
            }
            let topic = track.topic(&name()).unwrap();
            for (place, (partition, _)) in now.partitions.iter().enumerate() {
                let said = topic.partition(place, WINDOW).unwrap();
                let model = expected(&all[created..=i], *partition, window);
                prop_assert_eq!(said, model, "partition {} at {}", partition, i);
            }
            if lag_sum(now).is_none() {
                lagged = i + 1;
                prop_assert_eq!((topic.polls(), topic.samples().count()), (0, 0));
                continue;
            }
            let since = &all[lagged..=i];
            let points: Vec<WindowSample> = topic.samples().collect();
            prop_assert_eq!(usize::from(topic.polls()), since.len());
            // The window is spanned, by few points, each of them an answer.
            prop_assert!(points.len() <= 12);
            prop_assert_eq!(points.last().unwrap().at.get(), now.at);
            let first = points[0].at.get();
            prop_assert!(first == since[0].at || now.at - first >= window * 10 / 11);
            prop_assert!(points.get(1).is_none_or(|p| p.at.get() > now.at - window));
            for pair in points.windows(2).rev().skip(1) {
                prop_assert!(pair[1].at.get() - pair[0].at.get() >= window / 11);
            }
            let between = |from: i64, to: i64| {
                let pairs = since.windows(2).filter(|w| w[1].at > from && w[1].at <= to);
                pairs.map(|w| moved(&w[0], &w[1])).fold((0, 0), |s, m| (s.0 + m.0, s.1 + m.1))
            };
            for pair in points.windows(2) {
                let sums = (i64::from(pair[1].consumed), i64::from(pair[1].produced));
                prop_assert_eq!(sums, between(pair[0].at.get(), pair[1].at.get()));
            }
            for point in &points {
                let told = since.iter().find(|t| t.at == point.at.get()).unwrap();
                prop_assert_eq!(point.lag as i64, lag_sum(told).unwrap());
            }
            let (consumed, produced) = between(first, now.at);
            prop_assert_eq!(topic.totals(), (consumed as u64, produced as u64));
            let seconds = (now.at - first) as f64 / 1e3;
            let rates = (points.len() > 1 && since.len() >= 3)
                .then(|| MessageRates { consumed: consumed as f64 / seconds, produced: produced as f64 / seconds });
            prop_assert_eq!(topic.rates(), rates);
            let done = since.iter().any(|t| t.at >= now.at - window && lag_sum(t) == Some(0));
            prop_assert_eq!(topic.was_caught_up(WINDOW), done);
        }
    }

    #[test]
    fn whatever_comes_is_taken(
        answers in vec((any::<i64>(), vec((0..9_u32, any::<i64>(), any::<i64>()), 0..4)), 0..20),
    ) {
        let mut track = GroupWindow::default();
        for (moment, mut rows) in answers {
            rows.sort_unstable();
            rows.dedup_by_key(|r| r.0);
            let lag = group(&[("t", rows)]);
            let Some(moment) = UnixMillis::new(moment) else { continue };
            track.record(&lag, &no_ages(&lag), TimeSpan::at(moment), WINDOW);
            let topic = track.topic(&name()).unwrap();
            prop_assert!(topic.samples().count() <= 12);
            prop_assert!(topic.rates().is_none_or(|r| r.consumed.is_finite() && r.produced.is_finite()));
            prop_assert!(topic.lag_trend().is_none_or(|t| t.growth.is_finite()));
        }
    }
}

#[test]
fn topics_that_an_answer_lacks_are_forgotten_and_the_others_are_not() {
    let rows = |n| (0..n).map(|p| (p, 10, 5)).collect::<Vec<_>>();
    let mut track = GroupWindow::default();
    let mut hear = |seconds, lag: &GroupLag| {
        track.record(lag, &no_ages(lag), at(seconds), WINDOW);
        let since = |t: &str| {
            let topic = TopicName::new(t).unwrap();
            Some(
                track.topic(&topic)?.partition(0, WINDOW)?.unchanged_since.unwrap().get()
                    - at(0.0).latest().get(),
            )
        };
        ["a", "b", "c"].map(since)
    };
    assert_eq!(hear(0.0, &group(&[("a", rows(1)), ("c", rows(2))])), [Some(0), None, Some(0)]);
    assert_eq!(hear(60.0, &group(&[("b", rows(3)), ("c", rows(2))])), [None, Some(60_000), Some(0)]);
    assert_eq!(hear(120.0, &group(&[("a", rows(1)), ("b", rows(3))])), [Some(120_000), Some(60_000), None]);
    assert_eq!(hear(180.0, &group(&[])), [None; 3]);
}

#[test]
fn a_standstill_outlives_an_outage_and_months() {
    let mut track = GroupWindow::default();
    let lag = answer(&[(10, 5)]);
    let days = 86_400.0;
    // An outage of an hour, and then polls once a day for a hundred days.
    for seconds in [0.0, 60.0, 3660.0].into_iter().chain((1..100).map(|d| f64::from(d) * days)) {
        track.record(&lag, &no_ages(&lag), at(seconds), WINDOW);
        let topic = track.topic(&name()).unwrap();
        assert_eq!(topic.is_stuck(0, WINDOW), seconds > 60.0);
        assert_eq!(topic.newest(), at(seconds).latest());
        let since = topic.partition(0, WINDOW).unwrap().unchanged_since.unwrap();
        if seconds < 40.0 * days {
            assert_eq!(since, at(0.0).latest());
        } else {
            // Longer ago than any window, if not exactly when.
            assert!(topic.newest().get() - since.get() > 19 * 86_400_000);
        }
    }
}

#[test]
fn a_window_is_of_twelve_points_however_polls_fall() {
    let mut track = GroupWindow::default();
    let lag = answer(&[(10, 5)]);
    // Just as far apart as points are, and then one that comes at once.
    for seconds in (0..30).map(|i| f64::from(i) * 55.0).chain([29.0 * 55.0 + 1.0]) {
        track.record(&lag, &no_ages(&lag), at(seconds), WINDOW);
        assert!(track.topic(&name()).unwrap().samples().count() <= 12);
    }
}

#[test]
fn a_clock_that_is_put_back_a_little_stands_and_by_more_than_the_window_begins_anew() {
    let mut track = GroupWindow::default();
    let mut hear = |seconds| {
        let lag = answer(&[(10, 5)]);
        track.record(&lag, &no_ages(&lag), at(seconds), WINDOW);
        let topic = track.topic(&name()).unwrap();
        (topic.newest(), topic.polls())
    };
    assert_eq!(hear(10_000.0), (at(10_000.0).latest(), 1));
    assert_eq!(hear(9_990.0), (at(10_000.0).latest(), 2));
    assert_eq!(hear(9_000.0), (at(9_000.0).latest(), 1));
}

#[test]
fn offsets_set_by_hand_over_thousands_of_millions_of_messages_are_no_pace() {
    let mut track = GroupWindow::default();
    let mut hear = |seconds, end, committed| {
        let lag = answer(&[(end, committed)]);
        track.record(&lag, &no_ages(&lag), at(seconds), WINDOW);
        track.topic(&name()).unwrap().rates()
    };
    for i in 0..10 {
        hear(f64::from(i) * 60.0, i64::MAX, 5);
    }
    assert_eq!(hear(600.0, i64::MAX, i64::MAX), None);
    hear(660.0, i64::MAX, i64::MAX);
    assert_eq!(hear(720.0, i64::MAX, i64::MAX), Some(MessageRates { consumed: 0.0, produced: 0.0 }));
}

#[test]
fn ages_of_another_kind_are_no_growth() {
    let mut track = GroupWindow::default();
    let lag = answer(&[(10, 5)]);
    let floor = TimeBounds { lower: Some(1_000), upper: None };
    for i in 0..12_u32 {
        // No ceiling is known at first: a floor of a second, and then a ceiling of ten minutes.
        let mut ages = ceilings(&[600.0]);
        if i < 6 {
            ages.topics[0].topic = floor;
        }
        track.record(&lag, &ages, at(f64::from(i) * 60.0), WINDOW);
    }
    let topic = track.topic(&name()).unwrap();
    assert_eq!(topic.age_trend().map(|t| t.growth), Some(0.0));
    assert_eq!(topic.samples().next().unwrap().bounds, floor);
    assert_eq!(topic.samples().last().unwrap().bounds, TimeBounds { lower: None, upper: Some(600_000) });
}

#[test]
fn a_track_takes_about_a_hundred_bytes_for_each_partition() {
    let bytes = |topics: usize, partitions: u32| {
        let names: Vec<String> = (0..topics).map(|t| format!("{t:03}")).collect();
        let mut track = GroupWindow::default();
        for i in 0..200_i64 {
            let rows: Vec<_> = (0..partitions).map(|p| (p, 1000 + 60 * i, 900 + 50 * i)).collect();
            let lag = group(&names.iter().map(|n| (n.as_str(), rows.clone())).collect::<Vec<_>>());
            track.record(&lag, &no_ages(&lag), at(i as f64 * 60.0), WINDOW);
        }
        track.bytes() as f64 / (topics as f64 * f64::from(partitions))
    };
    let measured = [(1, 1), (10, 4), (10, 12), (10, 100)].map(|(t, p)| bytes(t, p).round());
    assert_eq!(measured, [368.0, 106.0, 51.0, 27.0]);
}
