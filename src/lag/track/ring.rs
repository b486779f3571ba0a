//! A window of answers about one topic in at most 12 samples, and what can be told from them.

use super::super::age::Age;
use crate::model::UnixMillis;

/// Samples held at most. Two are at least an 11th of the window apart, so that they span it.
const MOST: usize = 12;

/// What one answer says of a topic. Moments are in milliseconds from the track's base.
#[derive(Debug, Clone, Copy)]
pub(super) struct Poll {
    pub(super) at: u32,
    pub(super) consumed: u32,
    pub(super) produced: u32,
    pub(super) lag: u64,
    pub(super) age: Age,
}

/// A point of the window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The moment of the answer.
    pub at: UnixMillis,
    /// Messages read since the point before.
    pub consumed: u32,
    /// Messages written since the point before.
    pub produced: u32,
    /// Messages left to read: exact to 16 million, and to 7 digits beyond.
    pub lag: f32,
    /// Age of the oldest unread message.
    pub age: Option<Aged>,
}

/// A bound of an age, in milliseconds, to a tenth of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aged {
    /// Not younger than this, where no ceiling is known.
    Floor(u64),
    /// Not older than this.
    Ceiling(u64),
}

/// Messages a second over the window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Read.
    pub consumed: f64,
    /// Written.
    pub produced: f64,
}

/// A straight line through the points of the window, by least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// How much the line rises from the first point to the last.
    pub growth: f64,
    /// The standard error of that, from how far the points are off the line.
    pub error: f64,
    /// The same of the first and the second half of the points: growth and error.
    pub halves: [(f64, f64); 2],
    /// Seconds from the first point to the last.
    pub seconds: f64,
    /// Mean seconds from one point to the next.
    pub spacing: f64,
}

/// Points that it takes to tell a trend from noise.
const LEAST: usize = 5;

impl Trend {
    /// Whether it is growth, and neither noise nor one step: that is what it looks like when commits come as often as
    /// polls, and polls begin to come before instead of after them.
    #[must_use]
    pub fn rises(&self) -> bool {
        self.growth > 0.0
            && self.growth > 3.0 * self.error
            && self.halves.iter().all(|(growth, error)| *growth >= 0.2 * self.growth && growth > error)
    }

    fn through(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < LEAST {
            return None;
        }
        let middle = points.len() / 2;
        let (growth, error) = line(points)?;
        let halves = [line(points.get(..=middle)?)?, line(points.get(middle..)?)?];
        let seconds = points.last()?.0 - points.first()?.0;
        Some(Self { growth, error, halves, seconds, spacing: seconds / (points.len() - 1) as f64 })
    }
}

/// How much a line through points rises, and the standard error of that. Needs three: a line goes through any two.
fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let ((first, _), (last, _)) = (*points.first()?, *points.last()?);
    if points.len() < 3 || last <= first {
        return None;
    }
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x_mean, y_mean) = (mean(|(x, _)| *x), mean(|(_, y)| *y));
    let off = || points.iter().map(|(x, y)| (x - x_mean, y - y_mean));
    let squares: f64 = off().map(|(x, _)| x * x).sum();
    let slope = off().map(|(x, y)| x * y).sum::<f64>() / squares;
    let residue: f64 = off().map(|(x, y)| (y - slope * x).powi(2)).sum();
    let seconds = last - first;
    Some((slope * seconds, (residue / (n - 2.0) / squares).sqrt() * seconds))
}

/// The window.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Oldest first.
    samples: Vec<Sample>,
    /// The newest answer without lag; 0 for none.
    caught_up: u32,
    polls: u8,
}

/// Held twelve times for every topic of every group: 20 bytes.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: u32,
    consumed: u32,
    produced: u32,
    lag: f32,
    mark: Mark,
}

const _: () = assert!(size_of::<Sample>() == 20);

impl Ring {
    pub(super) fn take(&mut self, poll: Poll, window: u32) {
        self.polls = self.polls.saturating_add(1);
        if poll.lag == 0 {
            self.caught_up = poll.at;
        }
        let mut sample = Sample {
            at: poll.at,
            consumed: poll.consumed,
            produced: poll.produced,
            lag: poll.lag as f32,
            mark: Mark::new(poll.age),
        };
        if let [.., before, newest] = self.samples.as_slice()
            && newest.at - before.at < window.div_ceil(MOST as u32 - 1)
        {
            let consumed = newest.consumed.checked_add(sample.consumed);
            let produced = newest.produced.checked_add(sample.produced);
            match consumed.zip(produced) {
                Some((consumed, produced)) => {
                    sample = Sample { consumed, produced, ..sample };
                    self.samples.pop();
                }
                // Nobody's pace.
                None => *self = Self { samples: Vec::new(), polls: 1, ..*self },
            }
        }
        // The oldest is at the window's beginning or before it, so that the rest spans the window.
        let begin = sample.at.saturating_sub(window);
        let outdated = self.samples.iter().skip(1).take_while(|s| s.at <= begin).count();
        self.samples.drain(..outdated);
        if self.samples.len() == MOST {
            self.samples.remove(0);
        }
        if self.samples.len() == self.samples.capacity() {
            // Growth by doubling would hold 16.
            self.samples.reserve_exact(MOST / 3);
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

    pub(super) fn points(&self, moment: impl Fn(u32) -> UnixMillis) -> impl Iterator<Item = Point> {
        self.samples.iter().map(move |s| s.point(moment(s.at)))
    }

    pub(super) fn totals(&self) -> (u64, u64) {
        let after = || self.samples.iter().skip(1);
        (after().map(|s| u64::from(s.consumed)).sum(), after().map(|s| u64::from(s.produced)).sum())
    }

    pub(super) fn rates(&self) -> Option<Rates> {
        let first = self.samples.first().filter(|_| self.polls >= 3)?;
        let seconds = f64::from(self.newest().saturating_sub(first.at)) / 1e3;
        let (consumed, produced) = self.totals();
        (seconds > 0.0)
            .then(|| Rates { consumed: consumed as f64 / seconds, produced: produced as f64 / seconds })
    }

    pub(super) fn lag_trend(&self) -> Option<Trend> {
        let mut grown = 0.0;
        let grow = |s: &Sample| {
            grown += f64::from(s.produced) - f64::from(s.consumed);
            (s.seconds(), grown)
        };
        let points: Vec<(f64, f64)> = self.samples.iter().map(grow).collect();
        Trend::through(&points)
    }

    pub(super) fn age_trend(&self) -> Option<Trend> {
        let kind = self.samples.last()?.mark.kind()?;
        let alike = self.samples.iter().filter(|s| s.mark.kind() == Some(kind));
        let points: Vec<_> = alike.map(|s| (s.seconds(), f64::from(s.mark.tenths()) * 100.0)).collect();
        Trend::through(&points)
    }

    pub(super) fn was_caught_up(&self, window: u32) -> bool {
        self.caught_up > 0 && self.newest() - self.caught_up <= window
    }

    pub(super) fn heap(&self) -> usize {
        self.samples.capacity() * size_of::<Sample>()
    }
}

impl Sample {
    fn seconds(&self) -> f64 {
        f64::from(self.at) / 1e3
    }

    fn point(&self, at: UnixMillis) -> Point {
        let age = u64::from(self.mark.tenths()) * 100;
        Point {
            at,
            consumed: self.consumed,
            produced: self.produced,
            lag: self.lag,
            age: self.mark.kind().map(|kind| match kind {
                Kind::Floor => Aged::Floor(age),
                Kind::Ceiling => Aged::Ceiling(age),
            }),
        }
    }
}

/// From the lowest bit: which bound of the age is known (2 bits); that bound, in tenths of a second (30), which go up
/// to 3.4 years.
#[derive(Debug, Clone, Copy)]
struct Mark(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Floor,
    Ceiling,
}

impl Mark {
    fn new(age: Age) -> Self {
        let (kind, millis) = match (age.ceiling, age.floor) {
            (Some(ceiling), _) => (2, ceiling),
            (None, Some(floor)) => (1, floor),
            (None, None) => (0, 0),
        };
        let tenths = u32::try_from(millis / 100).unwrap_or(u32::MAX).min(u32::MAX >> 2);
        Self(kind | tenths << 2)
    }

    fn kind(self) -> Option<Kind> {
        match self.0 & 3 {
            0 => None,
            1 => Some(Kind::Floor),
            _ => Some(Kind::Ceiling),
        }
    }

    fn tenths(self) -> u32 {
        self.0 >> 2
    }
}
