//! Forecasts against a topic whose retention deletes segment by segment, as brokers do.

use test_support::rng::Rng;

use super::*;
use crate::{
    lag::{
        assess::TopicAssessment,
        bounds::{GroupBounds, TimeBounds, TopicBounds},
        reference_model::{GroupHarness, lag_of, no_bounds, upper_bounds},
        status::Status,
    },
    model::Cleanup,
};

const HOUR: f64 = 3600.0;
const POLL: f64 = 60.0;
const RETENTION: f64 = 6.0 * HOUR;
/// Messages per second.
const PRODUCED: f64 = 2.0;

/// Partition with steady production for longer than the retention.
#[derive(Clone, Copy)]
struct Log {
    /// Length of a segment in seconds.
    segment: f64,
}

impl Log {
    /// Returns the end offset at a time.
    fn end(&self, at: f64) -> i64 {
        // Production began long before second 0.
        ((at + 100.0 * HOUR) * PRODUCED) as i64
    }

    fn written_at(&self, offset: i64) -> f64 {
        offset as f64 / PRODUCED - 100.0 * HOUR
    }

    /// Returns the start offset: a segment is deleted once its newest message exceeds the retention.
    fn start(&self, at: f64) -> i64 {
        let messages = (self.segment * PRODUCED) as i64;
        self.end(at - RETENTION) / messages * messages
    }

    /// Returns the time at which the message at an offset is deleted.
    fn deleted_at(&self, offset: i64) -> f64 {
        let messages = (self.segment * PRODUCED) as i64;
        self.written_at((offset / messages + 1) * messages) + RETENTION
    }
}

/// Inputs of a forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Bounds,
    Starts,
    Both,
}

/// Polls a group for some hours. Returns the time, the committed offset and the assessment of each poll.
fn forecasts(
    log: Log,
    known: Known,
    hours: f64,
    committed: impl Fn(f64) -> i64,
    rng: &mut Rng,
) -> Vec<(f64, i64, TopicAssessment)> {
    let mut harness = GroupHarness::default();
    if known != Known::Starts {
        harness.retention = Some(Duration::from_secs_f64(RETENTION));
    }
    let mut forecasts = Vec::new();
    let mut now = rng.between(0.0, POLL);
    while now < hours * HOUR {
        let offset = committed(now);
        if known != Known::Bounds {
            harness.record_starts(now - rng.between(0.0, 30.0), &[log.start(now)]);
        }
        let lag = lag_of(&[(log.end(now), offset)]);
        // The upper bound is too high by at most a poll interval.
        let age = (now - log.written_at(offset)).max(0.0) + rng.between(0.0, POLL);
        let bounds = if known == Known::Starts { no_bounds(&lag) } else { upper_bounds(&[age]) };
        let topic = harness.poll_with_bounds(now, &lag, &bounds).topics.remove(0);
        forecasts.push((now, offset, topic));
        now += POLL + rng.between(-1.0, 1.0);
    }
    forecasts
}

#[test]
fn the_forecast_for_a_stuck_group_is_right_to_a_segment_and_a_poll() {
    for (seed, minutes) in (0..).zip([5.0, 20.0, 30.0, 60.0]) {
        for known in [Known::Bounds, Known::Starts, Known::Both] {
            let rng = &mut Rng::new(seed);
            let log = Log { segment: minutes * 60.0 };
            let stop = 5.0 * HOUR + rng.between(0.0, HOUR);
            let loss = log.deleted_at(log.end(stop));
            let forecasts = forecasts(log, known, 13.0, |now| log.end(now.min(stop)), rng);
            let noise = log.segment + POLL;
            let last: Vec<_> =
                forecasts.iter().filter(|(at, ..)| *at > stop + 1200.0 && *at < loss).collect();
            assert!(last.len() > 200);
            for (at, _, topic) in &last {
                let eta = topic.data_loss_eta.unwrap();
                let early = loss - (at + eta);
                // A forecast may be early, and late by at most two polls.
                assert!(
                    (-2.0 * POLL..=noise + POLL).contains(&early),
                    "{known:?} {minutes} {at}: {early} {eta}"
                );
            }
            for pair in last.windows(2) {
                let [before, after] = [pair[0], pair[1]].map(|(_, _, topic)| topic.data_loss_eta.unwrap());
                assert!(after <= before + noise, "{known:?} {minutes}: {before} {after}");
            }
            if known != Known::Bounds {
                let lost = forecasts.iter().filter(|(at, ..)| *at > loss + POLL);
                assert!(lost.clone().count() > 30);
                lost.for_each(|(_, _, topic)| {
                    assert_eq!((topic.data_loss_eta, topic.status), (Some(0.0), Some(Status::DataLoss)));
                });
            }
        }
    }
}

#[test]
fn the_forecast_for_a_slow_group_is_right() {
    let log = Log { segment: 1200.0 };
    for (seed, known) in (0..).zip([Known::Bounds, Known::Starts, Known::Both]) {
        let begin = 3.0 * HOUR;
        // From then on it consumes three of five messages, and lags by 6 hours after 15.
        let committed = |now: f64| log.end(begin.min(now) + (now - begin).max(0.0) * 0.6);
        let forecasts = forecasts(log, known, 20.0, committed, &mut Rng::new(seed));
        let loss = forecasts.iter().find(|(at, offset, _)| log.start(*at) > *offset).unwrap().0;
        assert!((begin + 14.9 * HOUR..begin + 16.0 * HOUR).contains(&loss));
        // Without time bounds, the lag must be a notable part of the retained messages.
        let from = if known == Known::Starts { begin + 2.0 * HOUR } else { begin + HOUR };
        for (at, _, topic) in forecasts.iter().filter(|(at, ..)| *at > from && *at < loss - HOUR) {
            let (eta, left) = (topic.data_loss_eta.unwrap(), loss - at);
            assert!((eta - left).abs() < 0.35 * left + 2.0 * log.segment, "{known:?} {at}: {eta} of {left}");
        }
    }
}

#[test]
fn a_group_that_keeps_up_has_no_forecast_of_loss() {
    let log = Log { segment: 1200.0 };
    for seed in 0..6 {
        for known in [Known::Bounds, Known::Starts, Known::Both] {
            // Seconds or hours behind, with commits at fixed intervals.
            let (behind, grid) = ([1.0, 30.0, 3.0 * HOUR][seed as usize % 3], [5.0, 30.0][seed as usize % 2]);
            let committed = |now: f64| log.end((now / grid).floor() * grid - behind);
            let forecasts = forecasts(log, known, 12.0, committed, &mut Rng::new(seed));
            let count = forecasts.iter().filter(|(_, _, t)| t.data_loss_eta.is_some()).count();
            assert_eq!(count, 0, "{known:?} {behind} {grid}");
        }
    }
}

#[test]
fn a_stuck_partition_has_a_forecast_even_if_others_lag_more() {
    let mut harness =
        GroupHarness { retention: Some(Duration::from_secs_f64(RETENTION)), ..GroupHarness::default() };
    let mut eta = None;
    for minute in 0..20_i64 {
        let now = minute as f64 * 60.0;
        // The first partition stays three hours behind, the offset of the second has been unchanged for an hour.
        let lag = lag_of(&[(100_000 + 60 * minute, 80_000 + 60 * minute), (100_000 + 60 * minute, 90_000)]);
        let bounds = upper_bounds(&[3.0 * HOUR, HOUR + now]);
        eta = harness.poll_with_bounds(now, &lag, &bounds).topics[0].data_loss_eta;
        assert_eq!(eta.is_some(), minute >= 10);
    }
    assert_eq!(eta, Some(RETENTION - HOUR - 19.0 * 60.0));
}

/// Polls a group on two partitions for 20 minutes. `consumed` is the share of the produced messages that it consumes of
/// each partition, `bounds` the lag in seconds at a time.
fn topic_after(consumed: [f64; 2], lag: i64, bounds: impl Fn(f64) -> TimeBounds) -> TopicAssessment {
    let retention = Some(Duration::from_secs(RETENTION as u64));
    let mut harness = GroupHarness { retention, ..GroupHarness::default() };
    let mut assessment = None;
    for poll in 0..20 {
        let seconds = f64::from(poll) * POLL;
        let offsets = |consumed: f64| {
            let produced = seconds * PRODUCED;
            (1_000_000 + produced as i64, 1_000_000 - lag + (produced * consumed) as i64)
        };
        let lag = lag_of(&consumed.map(offsets));
        let topic = bounds(seconds);
        let bounds =
            GroupBounds { group: topic, topics: vec![TopicBounds { topic, partitions: vec![topic; 2] }] };
        assessment = Some(harness.poll_with_bounds(seconds, &lag, &bounds));
    }
    assessment.unwrap().topics.remove(0)
}

#[test]
fn a_lower_bound_alone_or_a_timely_catch_up_means_no_forecast() {
    let age = |seconds: f64| Some(((HOUR + seconds) * 1e3) as u64);
    let both = |seconds| TimeBounds { lower: age(seconds), upper: age(seconds) };
    // After a restart, polls only show that lag has existed since then.
    let lower = |seconds: f64| TimeBounds { lower: Some((seconds * 1e3) as u64), upper: None };
    let eta = topic_after([0.0; 2], 9_000, both).data_loss_eta;
    assert!(eta.is_some_and(|eta| (4.0 * HOUR..5.0 * HOUR).contains(&eta)), "{eta:?}");
    assert_eq!(topic_after([0.0; 2], 9_000, lower).data_loss_eta, None);
    // The messages it consumes get older, but it catches up in time.
    let reads = topic_after([1.5; 2], 9_000, both);
    assert!(reads.catch_up.is_some_and(|done| done < 4.0 * HOUR), "{reads:?}");
    assert_eq!(reads.data_loss_eta, None);
}

#[test]
fn a_group_does_not_catch_up_on_a_stuck_partition() {
    let no_age = |_| TimeBounds::default();
    assert!(topic_after([1.5, 1.5], 9_000, no_age).catch_up.is_some());
    assert_eq!(topic_after([9.0, 0.0], 9_000, no_age).catch_up, None);
}

#[test]
fn a_forecast_of_loss_needs_lag_retention_and_bounds_and_no_compaction() {
    let after = |cleanup, retention: Option<f64>, committed: i64, start: i64, known: bool| {
        let retention = retention.map(Duration::from_secs_f64);
        let mut harness = GroupHarness { cleanup, retention, ..GroupHarness::default() };
        let mut eta = None;
        for minute in 0..15 {
            harness.record_starts(f64::from(minute) * 60.0, &[start]);
            let lag = lag_of(&[(10_000, committed)]);
            let age = if committed == 10_000 { 0.0 } else { 600.0 + f64::from(minute) * 60.0 };
            let bounds = if known { upper_bounds(&[age]) } else { no_bounds(&lag) };
            eta = harness.poll_with_bounds(f64::from(minute) * 60.0, &lag, &bounds).topics[0].data_loss_eta;
        }
        eta
    };
    let delete = Some(Cleanup::Delete);
    assert_eq!(after(delete, Some(RETENTION), 9_000, 0, true), Some(RETENTION - 1440.0));
    assert_eq!(after(None, Some(RETENTION), 9_000, 0, true), Some(RETENTION - 1440.0));
    assert_eq!(after(delete, Some(60.0), 9_000, 0, true), Some(0.0), "loss is possible at any time");
    assert_eq!(after(delete, None, 9_000, 9_500, false), Some(0.0), "messages are lost");
    assert_eq!(after(Some(Cleanup::Compact), Some(RETENTION), 9_000, 9_500, true), None);
    assert_eq!(after(delete, Some(RETENTION), 10_000, 0, true), None, "no lag");
    assert_eq!(after(delete, None, 9_000, 0, true), None, "unknown retention");
    assert_eq!(after(delete, Some(RETENTION), 9_000, 0, false), None, "unknown age");
}

#[test]
fn catch_up_is_lag_divided_by_the_difference_of_rates() {
    let rates = |consumed, produced| Some(MessageRates { consumed, produced });
    assert_eq!(catch_up(100, rates(3.0, 1.0)), Some(50.0));
    assert_eq!(catch_up(100, rates(1.0, 1.0)), None);
    assert_eq!(catch_up(100, rates(0.0, 1.0)), None);
    assert_eq!(catch_up(100, None), None);
    assert_eq!((catch_up(0, None), catch_up(0, rates(0.0, 1.0))), (Some(0.0), Some(0.0)));
    let nothing = GroupHarness::default().poll_with_bounds(0.0, &lag_of(&[]), &GroupBounds::default());
    assert_eq!(nothing.catch_up, None);
}
