//! When a group will have read all, and when messages will be deleted before it reads them. Pure.
//!
//! Owns: where starts were, their pace, and what follows from it. Refuses: a forecast of what comes no nearer.

use std::time::Duration;

use super::{
    Retention, TopicLag,
    age::{Age, TopicAges, TopicFacts},
    status::Status,
    track::{Rates, TopicTrack},
};
use crate::model::{Cleanup, Offset, Partition, TimeSpan, TopicStatus, UnixMillis};

/// Jumps of a start that are remembered. A pace takes two.
const JUMPS: usize = 4;

/// Seconds between two that are remembered, but for the newest: when a jump came is known to a poll, and a pace from
/// some minutes would be made of that.
const APART: u32 = 1800;

/// Lag that is less than this part of what is left until the start is too short a way to foretell the rest from.
const SHORT: f64 = 0.1;

/// Where the oldest messages of a topic's partitions were, and when: retention moves in steps of segments, and
/// a trend is one over several steps.
#[derive(Debug, Default)]
pub struct StartHistory {
    /// Sorted by partition: those of the newest status that tell a start.
    partitions: Vec<Start>,
}

#[derive(Debug)]
struct Start {
    offset: Offset,
    /// Oldest first; nothing before the first jump.
    jumps: Option<Box<Jumps>>,
    partition: Partition,
    /// Of each jump: jumps since the one before that is remembered, itself counted.
    steps: [u8; JUMPS],
}

const _: () = assert!(size_of::<Start>() == 24);

/// Jumps of a start, oldest first, unused places last.
type Jumps = [Jump; JUMPS];

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Jump {
    /// The status that told it, in seconds since 1970; 0 for none.
    at: u32,
    /// Messages from where the start was after it to where it is now.
    behind: u32,
}

/// Where a start is on its way to the next jump.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pace {
    /// Messages past the start that was told. No more than one jump: an overdue one may come at any moment.
    ahead: f64,
    /// Messages a second.
    speed: f64,
}

impl StartHistory {
    /// Notes the start offsets of a status. If one fell, the topic was created anew, and all is forgotten.
    pub fn record(&mut self, status: &TopicStatus, now: TimeSpan) {
        let at = u32::try_from(now.latest().get() / 1000).unwrap_or(u32::MAX).max(1);
        let fell = self.partitions.iter().any(|p| status.start(p.partition).is_some_and(|s| s < p.offset));
        if fell {
            self.forget();
        }
        let mut known = std::mem::take(&mut self.partitions).into_iter().peekable();
        let told = status.partitions.iter().filter_map(|p| Some((p.partition, p.start?)));
        let starts = told.map(|(partition, offset)| {
            while known.next_if(|k| k.partition < partition).is_some() {}
            match known.next_if(|k| k.partition == partition) {
                Some(mut start) => {
                    start.advance(offset, at);
                    start
                }
                None => Start { offset, jumps: None, partition, steps: [0; JUMPS] },
            }
        });
        self.partitions = starts.collect();
        self.partitions.shrink_to_fit();
    }

    /// Forgets all: the topic was created anew.
    pub fn forget(&mut self) {
        self.partitions = Vec::new();
    }

    /// Bytes of memory held, without the allocator's own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let jumps = self.partitions.iter().filter(|p| p.jumps.is_some()).count();
        size_of::<Self>() + self.partitions.capacity() * size_of::<Start>() + jumps * size_of::<Jumps>()
    }

    /// Where a partition began after each step of its start that is remembered, in seconds since 1970, oldest first.
    pub fn steps(&self, partition: Partition) -> impl Iterator<Item = (u32, i64)> + '_ {
        let start = self.get(partition);
        let jumps = start.and_then(|start| Some((start.offset, start.jumps.as_ref()?)));
        jumps.into_iter().flat_map(|(offset, jumps)| {
            let used = jumps.iter().take_while(|jump| jump.at > 0);
            used.map(move |jump| (jump.at, offset.get() - i64::from(jump.behind)))
        })
    }

    fn get(&self, partition: Partition) -> Option<&Start> {
        let guess = self.partitions.get(partition.0 as usize).filter(|p| p.partition == partition);
        guess.or_else(|| {
            let at = self.partitions.binary_search_by_key(&partition, |p| p.partition).ok()?;
            self.partitions.get(at)
        })
    }
}

impl Start {
    fn advance(&mut self, offset: Offset, at: u32) {
        let step = offset.minus(self.offset);
        if step <= 0 {
            return;
        }
        self.offset = offset;
        let jumps = self.jumps.get_or_insert_default();
        let farther = |(jump, steps): (&Jump, &u8)| {
            let behind = u32::try_from(step).ok()?.checked_add(jump.behind)?;
            // A clock that was put back makes no pace.
            (jump.at > 0 && jump.at < at).then_some((Jump { behind, ..*jump }, *steps))
        };
        let mut kept: Vec<(Jump, u8)> = jumps.iter().zip(&self.steps).filter_map(farther).collect();
        let mut steps = 1;
        if let [.., (before, _), (newest, passed)] = kept.as_slice()
            && newest.at - before.at < APART
        {
            steps = passed.saturating_add(1);
            kept.pop();
        }
        kept.push((Jump { at, behind: 0 }, steps));
        let from = kept.len().saturating_sub(JUMPS);
        **jumps = Jumps::default();
        let places = jumps.iter_mut().zip(&mut self.steps);
        places.zip(kept.into_iter().skip(from)).for_each(|((jump, steps), kept)| (*jump, *steps) = kept);
    }

    /// Its pace, from jump to jump.
    fn pace(&self, now: UnixMillis) -> Option<Pace> {
        let jumps = self.jumps.as_ref()?;
        let count = jumps.iter().take_while(|jump| jump.at > 0).count();
        let ([first, .., last], [_, steps @ ..]) = (jumps.get(..count)?, self.steps.get(..count)?) else {
            return None;
        };
        let steps: u32 = steps.iter().copied().map(u32::from).sum();
        let seconds = f64::from(last.at - first.at);
        let way = f64::from(first.behind);
        let since = |jump: &Jump| (now.get() as f64 / 1e3 - f64::from(jump.at)).max(0.0);
        let step = way / f64::from(steps);
        // A jump that is overdue is taken to come now: the start is as much slower.
        let speed = (way / seconds).min((way + step) / since(first).max(1.0));
        Some(Pace { ahead: (way / seconds * since(last)).min(step), speed })
    }
}

/// Seconds until all is read at the present pace; 0 without lag, `None` if lag does not shrink.
pub(super) fn catch_up(lag: u64, rates: Option<Rates>) -> Option<f64> {
    if lag == 0 {
        return Some(0.0);
    }
    let pace = rates.map(|r| r.consumed - r.produced)?;
    (pace > 0.0).then(|| lag as f64 / pace)
}

/// What a forecast of loss is made of.
pub(super) struct Prospect<'a> {
    pub(super) lag: &'a TopicLag,
    pub(super) ages: &'a TopicAges,
    pub(super) track: &'a TopicTrack,
    pub(super) facts: &'a TopicFacts<'a>,
    /// In the order of the topic's partitions.
    pub(super) retentions: &'a [Option<Retention>],
    /// Seconds until all is read, if that comes nearer.
    pub(super) catch_up: Option<f64>,
    pub(super) window: Duration,
}

impl Prospect<'_> {
    /// Seconds until messages are deleted before they are read; 0 once they have been, while there is something
    /// left to read. `None` if that comes no nearer, or if nobody knows.
    pub(super) fn data_loss(&self) -> Option<f64> {
        if self.lag.messages.is_none_or(|lag| lag == 0) || self.facts.cleanup == Some(Cleanup::Compact) {
            return None;
        }
        let mut lost = self.lag.partitions.iter().zip(self.retentions);
        if lost.any(|(p, r)| p.messages > Some(0) && r.is_some_and(|r| r.lost > 0)) {
            return Some(0.0);
        }
        let sooner = |a: Option<f64>, b: Option<f64>| a.map_or(b, |a| Some(b.map_or(a, |b| a.min(b))));
        let of_stuck =
            self.stuck().map(|place| sooner(self.stuck_by_age(place), self.stuck_by_margin(place)));
        // Who will have read all before that loses nothing.
        let in_time = |eta: &f64| self.catch_up.is_none_or(|done| done >= *eta);
        let of_moving = sooner(self.by_age(), self.by_margin()).filter(in_time);
        of_stuck.fold(of_moving, sooner).map(|eta| eta.max(0.0))
    }

    /// Places of the partitions that stand still.
    fn stuck(&self) -> impl Iterator<Item = usize> {
        (0..self.lag.partitions.len()).filter(|place| self.track.is_stuck(*place, self.window))
    }

    /// What is left of the retention of an age that grows as fast as time does.
    fn stuck_by_age(&self, place: usize) -> Option<f64> {
        self.left(*self.ages.partitions.get(place)?)
    }

    fn left(&self, age: Age) -> Option<f64> {
        // A loss is rather to be told too early. Of a floor alone nobody knows how much too late it would be told.
        let age = age.ceiling?;
        Some(self.facts.retention?.as_secs_f64() - age as f64 / 1e3)
    }

    /// The oldest message of the topic. An age that has grown by less than polls are apart may be as young as it
    /// was; and who was done within the window has begun anew since.
    fn by_age(&self) -> Option<f64> {
        if self.track.was_caught_up(self.window) {
            return None;
        }
        let trend = self.track.age_trend().filter(|t| t.rises() && t.growth > t.spacing * 1e3)?;
        // No message grows old faster than time passes.
        let rate = (trend.growth / 1e3 / trend.seconds).min(1.0);
        Some(self.left(self.ages.topic)? / rate)
    }

    fn stuck_by_margin(&self, place: usize) -> Option<f64> {
        let (margin, pace) = self.margin(place)?;
        (pace.speed > 0.0).then(|| margin / pace.speed)
    }

    /// The margins of a group that reads, but falls behind. How much it reads of each partition is not known: its
    /// pace is taken to be the same part of that of the start everywhere. One that does not fall behind is
    /// overtaken by no start.
    fn by_margin(&self) -> Option<f64> {
        if !Status::is_lagging(self.track, self.window) {
            return None;
        }
        let lagging = self.lag.partitions.iter().enumerate().filter(|(_, p)| p.messages > Some(0));
        let margins: Option<Vec<_>> =
            lagging.map(|(place, p)| Some((p.messages? as f64, self.margin(place)?))).collect();
        let margins = margins?;
        let speed: f64 = margins.iter().map(|(_, (_, pace))| pace.speed).sum();
        let closing = 1.0 - self.track.rates()?.consumed / speed;
        if speed <= 0.0 || closing <= 0.0 {
            return None;
        }
        let far = margins.iter().filter(|(lag, (margin, pace))| *lag >= SHORT * margin && pace.speed > 0.0);
        far.map(|(_, (margin, pace))| margin / pace.speed / closing).reduce(f64::min)
    }

    /// Messages between the start, on its way to the next jump, and the committed offset; and its pace.
    fn margin(&self, place: usize) -> Option<(f64, Pace)> {
        let partition = self.lag.partitions.get(place)?;
        let start = self.facts.starts?.get(partition.partition)?;
        let pace = start.pace(self.track.newest())?;
        Some((partition.committed?.minus(start.offset) as f64 - pace.ahead, pace))
    }
}

#[cfg(test)]
mod tests;
