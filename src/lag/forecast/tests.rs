//! Forecasts against a topic whose retention deletes whole segments, as brokers do.

use test_support::rng::Rng;

use super::*;
use crate::{
    lag::{
        assess::TopicAssessment,
        bounds::{GroupBounds, TimeBounds, TopicBounds},
        reference_model::{GroupHarness, answer, ceilings, no_ages},
        status::Status,
    },
    model::Cleanup,
};

const HOUR: f64 = 3600.0;
const POLL: f64 = 60.0;
const RETENTION: f64 = 6.0 * HOUR;
/// Messages a second.
const WRITTEN: f64 = 2.0;

/// A partition that has been written steadily for longer than messages are kept.
#[derive(Clone, Copy)]
struct Log {
    /// Seconds that a segment takes.
    segment: f64,
}

impl Log {
    /// The offset that is written at a moment.
    fn end(&self, at: f64) -> i64 {
        // WriteInterval since long before the beginning.
        ((at + 100.0 * HOUR) * WRITTEN) as i64
    }

    fn written_at(&self, offset: i64) -> f64 {
        offset as f64 / WRITTEN - 100.0 * HOUR
    }

    /// The oldest offset held: a segment goes when its newest message is too old.
    fn start(&self, at: f64) -> i64 {
        let messages = (self.segment * WRITTEN) as i64;
        self.end(at - RETENTION) / messages * messages
    }

    /// When the message at an offset is deleted.
    fn deleted_at(&self, offset: i64) -> f64 {
        let messages = (self.segment * WRITTEN) as i64;
        self.written_at((offset / messages + 1) * messages) + RETENTION
    }
}

/// What a forecast may know.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Ages,
    Starts,
    Both,
}

/// Lets a group read until `stop` at most, at `speed` of what is written, and says at each poll what is foreseen:
/// (moment, committed, what is said of the topic).
fn foreseen(
    log: Log,
    known: Known,
    hours: f64,
    committed: impl Fn(f64) -> i64,
    dice: &mut Rng,
) -> Vec<(f64, i64, TopicAssessment)> {
    let mut desk = GroupHarness::default();
    if known != Known::Starts {
        desk.retention = Some(Duration::from_secs_f64(RETENTION));
    }
    let mut said = Vec::new();
    let mut now = dice.between(0.0, POLL);
    while now < hours * HOUR {
        let offset = committed(now);
        if known != Known::Ages {
            desk.take_status(now - dice.between(0.0, 30.0), &[log.start(now)]);
        }
        let lag = answer(&[(log.end(now), offset)]);
        // A ceiling is late by a poll at most.
        let age = (now - log.written_at(offset)).max(0.0) + dice.between(0.0, POLL);
        let ages = if known == Known::Starts { no_ages(&lag) } else { ceilings(&[age]) };
        let topic = desk.hear_aged(now, &lag, &ages).topics.remove(0);
        said.push((now, offset, topic));
        now += POLL + dice.between(-1.0, 1.0);
    }
    said
}

#[test]
fn a_group_that_stands_is_told_when_it_will_lose_messages_to_a_segment_and_a_poll() {
    for (seed, minutes) in (0..).zip([5.0, 20.0, 30.0, 60.0]) {
        for known in [Known::Ages, Known::Starts, Known::Both] {
            let dice = &mut Rng::new(seed);
            let log = Log { segment: minutes * 60.0 };
            let stop = 5.0 * HOUR + dice.between(0.0, HOUR);
            let loss = log.deleted_at(log.end(stop));
            let said = foreseen(log, known, 13.0, |now| log.end(now.min(stop)), dice);
            let noise = log.segment + POLL;
            let last: Vec<_> = said.iter().filter(|(at, ..)| *at > stop + 1200.0 && *at < loss).collect();
            assert!(last.len() > 200);
            for (at, _, topic) in &last {
                let eta = topic.data_loss_eta.unwrap();
                let early = loss - (at + eta);
                // Rather too early than too late; two polls stand between a moment and what is told of it.
                assert!(
                    (-2.0 * POLL..=noise + POLL).contains(&early),
                    "{known:?} {minutes} {at}: {early} {eta}"
                );
            }
            for pair in last.windows(2) {
                let [before, after] = [pair[0], pair[1]].map(|(_, _, topic)| topic.data_loss_eta.unwrap());
                assert!(after <= before + noise, "{known:?} {minutes}: {before} {after}");
            }
            if known != Known::Ages {
                let lost = said.iter().filter(|(at, ..)| *at > loss + POLL);
                assert!(lost.clone().count() > 30);
                lost.for_each(|(_, _, topic)| {
                    assert_eq!((topic.data_loss_eta, topic.status), (Some(0.0), Some(Status::DataLoss)));
                });
            }
        }
    }
}

#[test]
fn a_slow_group_is_told_too() {
    let log = Log { segment: 1200.0 };
    for (seed, known) in (0..).zip([Known::Ages, Known::Starts, Known::Both]) {
        let begin = 3.0 * HOUR;
        // From then on it reads three of five messages, and is 6 hours late after 15.
        let committed = |now: f64| log.end(begin.min(now) + (now - begin).max(0.0) * 0.6);
        let said = foreseen(log, known, 20.0, committed, &mut Rng::new(seed));
        let loss = said.iter().find(|(at, offset, _)| log.start(*at) > *offset).unwrap().0;
        assert!((begin + 14.9 * HOUR..begin + 16.0 * HOUR).contains(&loss));
        // The lag has to be something next to what is held, where its age is not known.
        let from = if known == Known::Starts { begin + 2.0 * HOUR } else { begin + HOUR };
        for (at, _, topic) in said.iter().filter(|(at, ..)| *at > from && *at < loss - HOUR) {
            let (eta, left) = (topic.data_loss_eta.unwrap(), loss - at);
            assert!((eta - left).abs() < 0.35 * left + 2.0 * log.segment, "{known:?} {at}: {eta} of {left}");
        }
    }
}

#[test]
fn a_group_that_keeps_up_loses_nothing() {
    let log = Log { segment: 1200.0 };
    for seed in 0..6 {
        for known in [Known::Ages, Known::Starts, Known::Both] {
            // Some seconds behind, or some hours, with commits on a grid.
            let (behind, grid) = ([1.0, 30.0, 3.0 * HOUR][seed as usize % 3], [5.0, 30.0][seed as usize % 2]);
            let committed = |now: f64| log.end((now / grid).floor() * grid - behind);
            let said = foreseen(log, known, 12.0, committed, &mut Rng::new(seed));
            let told = said.iter().filter(|(_, _, t)| t.data_loss_eta.is_some()).count();
            assert_eq!(told, 0, "{known:?} {behind} {grid}");
        }
    }
}

#[test]
fn one_partition_that_stands_is_told_while_the_others_hide_it() {
    let mut desk =
        GroupHarness { retention: Some(Duration::from_secs_f64(RETENTION)), ..GroupHarness::default() };
    let mut eta = None;
    for minute in 0..20_i64 {
        let now = minute as f64 * 60.0;
        // The first is three hours late, and stays so; the second has stood for an hour.
        let lag = answer(&[(100_000 + 60 * minute, 80_000 + 60 * minute), (100_000 + 60 * minute, 90_000)]);
        let ages = ceilings(&[3.0 * HOUR, HOUR + now]);
        eta = desk.hear_aged(now, &lag, &ages).topics[0].data_loss_eta;
        assert_eq!(eta.is_some(), minute >= 10);
    }
    assert_eq!(eta, Some(RETENTION - HOUR - 19.0 * 60.0));
}

/// A group that reads so many messages of what is written, for 20 minutes, on two partitions of which the second is
/// read only by `second`; with the ages that are told of it.
fn topic_after(read: [f64; 2], lag: i64, age: impl Fn(f64) -> TimeBounds) -> TopicAssessment {
    let retention = Some(Duration::from_secs(RETENTION as u64));
    let mut desk = GroupHarness { retention, ..GroupHarness::default() };
    let mut said = None;
    for poll in 0..20 {
        let seconds = f64::from(poll) * POLL;
        let row = |read: f64| {
            let written = 1_000_000 + (seconds * WRITTEN) as i64;
            (written, 1_000_000 - lag + (seconds * WRITTEN * read) as i64)
        };
        let lag = answer(&read.map(row));
        let ages = GroupBounds {
            group: age(seconds),
            topics: vec![TopicBounds { topic: age(seconds), partitions: vec![age(seconds); 2] }],
        };
        said = Some(desk.hear_aged(seconds, &lag, &ages));
    }
    said.unwrap().topics.remove(0)
}

#[test]
fn a_floor_alone_foresees_nothing_and_who_reads_all_in_time_loses_nothing() {
    let old = |seconds: f64| Some(((HOUR + seconds) * 1e3) as u64);
    let bracket = |seconds| TimeBounds { lower: old(seconds), upper: old(seconds) };
    // After a restart all that polls tell of old lag is that it has been there since.
    let floor = |seconds: f64| TimeBounds { lower: Some((seconds * 1e3) as u64), upper: None };
    let told = topic_after([0.0; 2], 9_000, bracket).data_loss_eta;
    assert!(told.is_some_and(|eta| (4.0 * HOUR..5.0 * HOUR).contains(&eta)), "{told:?}");
    assert_eq!(topic_after([0.0; 2], 9_000, floor).data_loss_eta, None);
    // What it reads grows old, and yet it will have read all in time.
    let reads = topic_after([1.5; 2], 9_000, bracket);
    assert!(reads.catch_up.is_some_and(|done| done < 4.0 * HOUR), "{reads:?}");
    assert_eq!(reads.data_loss_eta, None);
}

#[test]
fn a_group_does_not_catch_up_while_one_partition_waits_for_it() {
    let no_age = |_| TimeBounds::default();
    assert!(topic_after([1.5, 1.5], 9_000, no_age).catch_up.is_some());
    assert_eq!(topic_after([9.0, 0.0], 9_000, no_age).catch_up, None);
}

#[test]
fn no_loss_is_foreseen_without_lag_nor_for_compacted_topics_nor_out_of_nothing() {
    let after = |cleanup, retention: Option<f64>, committed: i64, start: i64, known: bool| {
        let retention = retention.map(Duration::from_secs_f64);
        let mut desk = GroupHarness { cleanup, retention, ..GroupHarness::default() };
        let mut eta = None;
        for minute in 0..15 {
            desk.take_status(f64::from(minute) * 60.0, &[start]);
            let lag = answer(&[(10_000, committed)]);
            let age = if committed == 10_000 { 0.0 } else { 600.0 + f64::from(minute) * 60.0 };
            let ages = if known { ceilings(&[age]) } else { no_ages(&lag) };
            eta = desk.hear_aged(f64::from(minute) * 60.0, &lag, &ages).topics[0].data_loss_eta;
        }
        eta
    };
    let delete = Some(Cleanup::Delete);
    assert_eq!(after(delete, Some(RETENTION), 9_000, 0, true), Some(RETENTION - 1440.0));
    assert_eq!(after(None, Some(RETENTION), 9_000, 0, true), Some(RETENTION - 1440.0));
    assert_eq!(after(delete, Some(60.0), 9_000, 0, true), Some(0.0), "it may come at any moment");
    assert_eq!(after(delete, None, 9_000, 9_500, false), Some(0.0), "it has come");
    assert_eq!(after(Some(Cleanup::Compact), Some(RETENTION), 9_000, 9_500, true), None);
    assert_eq!(after(delete, Some(RETENTION), 10_000, 0, true), None, "nothing to read");
    assert_eq!(after(delete, None, 9_000, 0, true), None, "nobody knows how long messages are kept");
    assert_eq!(after(delete, Some(RETENTION), 9_000, 0, false), None, "nor how old they are");
}

#[test]
fn catching_up_is_lag_by_what_is_read_beyond_what_is_written() {
    let rates = |consumed, produced| Some(MessageRates { consumed, produced });
    assert_eq!(catch_up(100, rates(3.0, 1.0)), Some(50.0));
    assert_eq!(catch_up(100, rates(1.0, 1.0)), None);
    assert_eq!(catch_up(100, rates(0.0, 1.0)), None);
    assert_eq!(catch_up(100, None), None);
    assert_eq!((catch_up(0, None), catch_up(0, rates(0.0, 1.0))), (Some(0.0), Some(0.0)));
    let nothing = GroupHarness::default().hear_aged(0.0, &answer(&[]), &GroupBounds::default());
    assert_eq!(nothing.catch_up, None);
}
