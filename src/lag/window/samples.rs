//! Status window of one topic in at most 12 samples, and the rates and trends computed from them.

use serde::Serialize;

use super::super::bounds::TimeBounds;
use crate::model::UnixMillis;

/// Maximum number of samples. All but the last two are at least an 11th of the window apart, so that they span it.
const MAX_SAMPLES: usize = 12;

/// Poll result for one topic. `at` is in milliseconds since the base of the window.
#[derive(Debug, Clone, Copy)]
pub(super) struct PollSample {
    pub(super) at: u32,
    pub(super) consumed: u32,
    pub(super) produced: u32,
    pub(super) lag: u64,
    pub(super) bounds: TimeBounds,
}

/// Sample of the status window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WindowSample {
    /// Time of the poll.
    pub at: UnixMillis,
    /// Messages consumed since the previous sample.
    #[serde(rename = "consumed_messages")]
    pub consumed: u32,
    /// Messages produced since the previous sample.
    #[serde(rename = "produced_messages")]
    pub produced: u32,
    /// Lag in messages: exact up to 16 million, 7 digits beyond.
    #[serde(rename = "lag_messages")]
    pub lag: f32,
    /// Lag in seconds, rounded down to a tenth of a second: the upper bound, or the lower one if that is unknown.
    #[serde(flatten)]
    pub bounds: TimeBounds,
}

/// Average rates over the window, in messages per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MessageRates {
    /// Messages consumed by the group.
    pub consumed: f64,
    /// Messages produced to the partitions that the group reads.
    pub produced: f64,
}

/// Straight line fitted to the samples by least squares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TrendLine {
    /// Increase of the line from the first to the last sample.
    pub growth: f64,
    /// Standard error of `growth`.
    pub error: f64,
    /// Growth and its standard error for the first and for the second half of the samples.
    #[serde(skip)]
    pub halves: [(f64, f64); 2],
    /// Seconds from the first to the last sample.
    pub seconds: f64,
    /// Mean seconds between samples.
    #[serde(skip)]
    pub spacing: f64,
}

/// Minimum number of samples to distinguish a trend from noise.
const MIN_SAMPLES: usize = 5;

impl TrendLine {
    /// Whether the line is growth, and neither noise nor a single step. A step appears if commits are as frequent as
    /// polls, and polls begin to come before instead of after them.
    #[must_use]
    pub fn is_rising(&self) -> bool {
        self.growth > 0.0
            && self.growth > 3.0 * self.error
            && self.halves.iter().all(|(growth, error)| *growth >= 0.2 * self.growth && growth > error)
    }

    fn fit(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < MIN_SAMPLES {
            return None;
        }
        let middle = points.len() / 2;
        let (growth, error) = least_squares(points)?;
        let halves = [least_squares(points.get(..=middle)?)?, least_squares(points.get(middle..)?)?];
        let seconds = points.last()?.0 - points.first()?.0;
        Some(Self { growth, error, halves, seconds, spacing: seconds / (points.len() - 1) as f64 })
    }
}

/// Returns the increase of the line through at least three points and its standard error.
fn least_squares(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let ((first, _), (last, _)) = (*points.first()?, *points.last()?);
    if points.len() < 3 || last <= first {
        return None;
    }
    let n = points.len() as f64;
    let x_mean = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let y_mean = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let deviations = || points.iter().map(|(x, y)| (x - x_mean, y - y_mean));
    let squares: f64 = deviations().map(|(x, _)| x * x).sum();
    let slope = deviations().map(|(x, y)| x * y).sum::<f64>() / squares;
    let residue: f64 = deviations().map(|(x, y)| (y - slope * x).powi(2)).sum();
    let seconds = last - first;
    Some((slope * seconds, (residue / (n - 2.0) / squares).sqrt() * seconds))
}

/// Samples of the window.
#[derive(Debug, Clone, Default)]
pub(super) struct SampleRing {
    /// Oldest first.
    samples: Vec<StoredSample>,
    /// Last poll without lag; 0 if none.
    caught_up: u32,
    polls: u8,
}

/// Twelve per topic of every group: 20 bytes.
#[derive(Debug, Clone, Copy)]
struct StoredSample {
    at: u32,
    consumed: u32,
    produced: u32,
    lag: f32,
    bound: PackedBound,
}

const _: () = assert!(size_of::<StoredSample>() == 20);

impl SampleRing {
    pub(super) fn add(&mut self, poll: PollSample, window: u32) {
        self.polls = self.polls.saturating_add(1);
        if poll.lag == 0 {
            self.caught_up = poll.at;
        }
        let mut sample = StoredSample {
            at: poll.at,
            consumed: poll.consumed,
            produced: poll.produced,
            lag: poll.lag as f32,
            bound: PackedBound::new(poll.bounds),
        };
        if let [.., previous, newest] = self.samples.as_slice()
            && newest.at - previous.at < window.div_ceil(MAX_SAMPLES as u32 - 1)
        {
            let consumed = newest.consumed.checked_add(sample.consumed);
            let produced = newest.produced.checked_add(sample.produced);
            match consumed.zip(produced) {
                Some((consumed, produced)) => {
                    sample = StoredSample { consumed, produced, ..sample };
                    self.samples.pop();
                }
                // Too many messages to be a rate.
                None => *self = Self { samples: Vec::new(), polls: 1, ..*self },
            }
        }
        // The oldest is at or before the beginning of the window, so that the samples span it.
        let begin = sample.at.saturating_sub(window);
        let outdated = self.samples.iter().skip(1).take_while(|s| s.at <= begin).count();
        self.samples.drain(..outdated);
        if self.samples.len() == MAX_SAMPLES {
            self.samples.remove(0);
        }
        if self.samples.len() == self.samples.capacity() {
            // Doubling would allocate 16.
            self.samples.reserve_exact(MAX_SAMPLES / 3);
        }
        self.samples.push(sample);
    }

    pub(super) fn newest(&self) -> u32 {
        self.samples.last().map_or(0, |s| s.at)
    }

    pub(super) fn polls(&self) -> u8 {
        self.polls
    }

    pub(super) fn shift(&mut self, by: u32) {
        self.samples.iter_mut().for_each(|s| s.at = s.at.saturating_sub(by));
        self.caught_up = self.caught_up.saturating_sub(by);
    }

    pub(super) fn samples(&self, time: impl Fn(u32) -> UnixMillis) -> impl Iterator<Item = WindowSample> {
        self.samples.iter().map(move |s| WindowSample {
            at: time(s.at),
            consumed: s.consumed,
            produced: s.produced,
            lag: s.lag,
            bounds: s.bound.unpack(),
        })
    }

    pub(super) fn totals(&self) -> (u64, u64) {
        let after_first = || self.samples.iter().skip(1);
        (
            after_first().map(|s| u64::from(s.consumed)).sum(),
            after_first().map(|s| u64::from(s.produced)).sum(),
        )
    }

    pub(super) fn rates(&self) -> Option<MessageRates> {
        let first = self.samples.first().filter(|_| self.polls >= 3)?;
        let seconds = f64::from(self.newest().saturating_sub(first.at)) / 1e3;
        let (consumed, produced) = self.totals();
        (seconds > 0.0).then(|| MessageRates {
            consumed: consumed as f64 / seconds,
            produced: produced as f64 / seconds,
        })
    }

    pub(super) fn lag_trend(&self) -> Option<TrendLine> {
        let mut growth = 0.0;
        let mut points = Vec::with_capacity(MAX_SAMPLES);
        for sample in &self.samples {
            growth += f64::from(sample.produced) - f64::from(sample.consumed);
            points.push((sample.seconds(), growth));
        }
        TrendLine::fit(&points)
    }

    pub(super) fn age_trend(&self) -> Option<TrendLine> {
        let kind = self.samples.last()?.bound.kind();
        if kind == PackedBound::UNKNOWN {
            return None;
        }
        let comparable = self.samples.iter().filter(|s| s.bound.kind() == kind);
        let points: Vec<_> = comparable.map(|s| (s.seconds(), f64::from(s.bound.tenths()) / 10.0)).collect();
        TrendLine::fit(&points)
    }

    pub(super) fn was_caught_up(&self, window: u32) -> bool {
        self.caught_up > 0 && self.newest() - self.caught_up <= window
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.samples.capacity() * size_of::<StoredSample>()
    }
}

impl StoredSample {
    fn seconds(&self) -> f64 {
        f64::from(self.at) / 1e3
    }
}

/// One of two bounds, packed. From the lowest bit: which one (2 bits); its value in tenths of a second (30), up to 3.4
/// years.
#[derive(Debug, Clone, Copy)]
struct PackedBound(u32);

impl PackedBound {
    const UNKNOWN: u32 = 0;
    const LOWER: u32 = 1;
    const UPPER: u32 = 2;

    fn new(bounds: TimeBounds) -> Self {
        let (kind, millis) = match (bounds.upper, bounds.lower) {
            (Some(upper), _) => (Self::UPPER, upper),
            (None, Some(lower)) => (Self::LOWER, lower),
            (None, None) => (Self::UNKNOWN, 0),
        };
        let tenths = u32::try_from(millis / 100).unwrap_or(u32::MAX).min(u32::MAX >> 2);
        Self(kind | tenths << 2)
    }

    fn unpack(self) -> TimeBounds {
        let millis = |kind| (self.kind() == kind).then_some(u64::from(self.tenths()) * 100);
        TimeBounds { lower: millis(Self::LOWER), upper: millis(Self::UPPER) }
    }

    fn kind(self) -> u32 {
        self.0 & 3
    }

    fn tenths(self) -> u32 {
        self.0 >> 2
    }
}
