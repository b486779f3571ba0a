//! What successive answers about one group tell together: since when an offset stands still, where it fell
//! back, how much was read and written over a window in time. Pure.
//!
//! Owns: the window, bounded in memory, and the offsets of the answer before, so that a track outlives an outage in
//! which the answer itself was dropped. Refuses: verdicts, which are `status`' and `forecast`'s.

use std::time::Duration;

use super::{
    GroupLag, PartitionLag, TopicLag,
    age::{Age, GroupAges},
};
use crate::model::{Offset, Partition, TimeSpan, TopicName, UnixMillis};

mod ring;

pub use ring::{Aged, Point, Rates, Trend};

use ring::{Poll, Ring};

/// What is remembered of one group.
#[derive(Debug, Default)]
pub struct Track {
    /// Sorted by name: those of the newest answer.
    topics: Box<[TopicTrack]>,
}

impl Track {
    /// Takes an answer. `window` is how far back is looked, days at most.
    ///
    /// A topic or partition that the answer lacks is forgotten. A topic of which an end fell was created anew, and
    /// begins anew here.
    pub fn record(&mut self, lag: &GroupLag, ages: &GroupAges, now: TimeSpan, window: Duration) {
        // Both are sorted by name.
        let mut known = std::mem::take(&mut self.topics).into_iter().peekable();
        let topics = lag.topics.iter().enumerate().map(|(i, topic)| {
            let age = ages.topics.get(i).map(|a| a.topic).unwrap_or_default();
            let answer = Answer { topic, age, moment: now.latest(), window: millis(window) };
            while known.next_if(|k| k.name < topic.topic).is_some() {}
            match known.next_if(|k| k.name == topic.topic && k.is_followed_by(&answer)) {
                Some(mut track) => {
                    track.advance(&answer);
                    track
                }
                None => TopicTrack::new(&answer),
            }
        });
        self.topics = topics.collect();
    }

    /// What is remembered of a topic.
    #[must_use]
    pub fn topic(&self, topic: &TopicName) -> Option<&TopicTrack> {
        let at = self.topics.binary_search_by(|t| t.name.cmp(topic)).ok()?;
        self.topics.get(at)
    }

    /// Bytes of memory held, without the allocator's own. Names are the answer's.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val::<[TopicTrack]>(&self.topics)
            + self.topics.iter().map(TopicTrack::heap).sum::<usize>()
    }
}

/// What one answer says of one topic.
struct Answer<'a> {
    topic: &'a TopicLag,
    age: Age,
    moment: UnixMillis,
    window: u32,
}

/// What is remembered of a group on one topic.
#[derive(Debug)]
pub struct TopicTrack {
    name: TopicName,
    /// Moments are counted from here, in milliseconds: they are small then.
    base: i64,
    ring: Ring,
    /// In the order of the newest answer.
    partitions: Box<[Seen]>,
    /// Nearly always none.
    rewinds: Box<[Fall]>,
}

/// What is remembered of a group on one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionTrack {
    /// Answers in a row that told its lag, up to 7.
    pub polls: u8,
    /// Since when there has been lag and the same committed offset at every answer: the moment of the first of
    /// these. `None` where there is no lag.
    pub still_since: Option<UnixMillis>,
    /// Whether anything else was seen before that: another offset, or no lag.
    pub was_moving: bool,
    /// A fall of the committed offset that has not been made up for, within the window.
    pub rewind: Option<Rewind>,
}

/// A committed offset that fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewind {
    /// Where it was before.
    pub before: Offset,
    /// The moment of the answer that told it.
    pub at: UnixMillis,
}

impl TopicTrack {
    fn new(answer: &Answer<'_>) -> Self {
        let mut track = Self {
            name: answer.topic.topic.clone(),
            // No moment is 0, which stands for none.
            base: answer.moment.get() - i64::from(UNIT),
            ring: Ring::default(),
            partitions: answer.topic.partitions.iter().map(|p| Seen::first(p, UNIT)).collect(),
            rewinds: Box::default(),
        };
        track.note(answer, UNIT, Some((0, 0)));
        track
    }

    /// Whether an answer may be about the same topic, and later.
    fn is_followed_by(&self, answer: &Answer<'_>) -> bool {
        let fell = |p: &PartitionLag| {
            let before = self.seen(p.partition);
            before.zip(p.end).is_some_and(|(before, end)| end.get() < before.end)
        };
        // A clock that was put back by more than the window tells nothing of what was.
        let newest = self.moment(self.ring.newest());
        let put_back = newest.get().saturating_sub(answer.moment.get()) > i64::from(answer.window);
        !put_back && !answer.topic.partitions.iter().any(fell)
    }

    fn advance(&mut self, answer: &Answer<'_>) {
        let at = self.clock(answer.moment);
        // The same name, but the newest answer's memory: that of an older one can go.
        self.name = answer.topic.topic.clone();
        let numbers = |p: &PartitionLag| p.partition;
        if !self.partitions.iter().map(|s| s.partition).eq(answer.topic.partitions.iter().map(numbers)) {
            self.renumber(&answer.topic.partitions);
        }
        let (mut consumed, mut produced) = (0_u64, 0_u64);
        let mut falls = Vec::new();
        for (seen, now) in self.partitions.iter_mut().zip(&answer.topic.partitions) {
            let Some(moved) = seen.advance(now, at) else { continue };
            consumed = consumed.saturating_add(moved.consumed.max(0).unsigned_abs());
            produced = produced.saturating_add(moved.produced.max(0).unsigned_abs());
            let known = self.rewinds.iter().find(|f| f.partition == seen.partition);
            let fell = moved.consumed < 0;
            // Where it falls again before it has made up for the first fall, that is still to be made up for.
            let before = known.map(|f| f.before).max(fell.then_some(moved.from));
            let fell_at = if fell { Some(at) } else { known.map(|f| f.at) };
            if let Some((before, fell_at)) = before.zip(fell_at)
                && seen.committed < before
                && at - fell_at <= answer.window
            {
                falls.push(Fall { partition: seen.partition, at: fell_at, before });
            }
        }
        self.rewinds = falls.into();
        let counts = u32::try_from(consumed).ok().zip(u32::try_from(produced).ok());
        self.note(answer, at, counts);
    }

    /// Adds the answer to the ring. Counts that are `None` are too large to be anybody's pace: an offset was set
    /// by hand, and the window begins anew.
    fn note(&mut self, answer: &Answer<'_>, at: u32, counts: Option<(u32, u32)>) {
        if answer.topic.messages.is_none() || counts.is_none() {
            self.ring = Ring::default();
        }
        let Some(lag) = answer.topic.messages else { return };
        let (consumed, produced) = counts.unwrap_or_default();
        self.ring.take(Poll { at, consumed, produced, lag, age: answer.age }, answer.window);
    }

    /// The partitions as the answer has them. New ones are unknown so far, and the others keep what they were.
    fn renumber(&mut self, partitions: &[PartitionLag]) {
        let of = |p: &PartitionLag| self.seen(p.partition).copied().unwrap_or(Seen::unknown(p.partition));
        self.partitions = partitions.iter().map(of).collect();
    }

    fn seen(&self, partition: Partition) -> Option<&Seen> {
        // Partitions are nearly always 0, 1, 2, and so on: look there before searching.
        let guess = self.partitions.get(partition.0 as usize).filter(|s| s.partition == partition);
        guess.or_else(|| {
            let at = self.partitions.binary_search_by_key(&partition, |s| s.partition).ok()?;
            self.partitions.get(at)
        })
    }

    /// The moment of an answer by the track's own count, which never goes back.
    fn clock(&mut self, moment: UnixMillis) -> u32 {
        const MOST: i64 = 40 * 86_400_000;
        let since = moment.get().saturating_sub(self.base);
        if since > MOST {
            // Whatever stood still before the new base is long past any window.
            let by = (since - MOST / 2) / i64::from(UNIT) * i64::from(UNIT);
            self.base += by;
            let by = u32::try_from(by).unwrap_or(u32::MAX);
            self.ring.shift(by);
            self.partitions.iter_mut().for_each(|p| p.run = p.run.shifted(by));
            self.rewinds.iter_mut().for_each(|f| f.at = f.at.saturating_sub(by));
        }
        let since = moment.get().saturating_sub(self.base);
        u32::try_from(since).unwrap_or(0).max(UNIT).max(self.ring.newest())
    }

    fn moment(&self, at: u32) -> UnixMillis {
        // The base is one unit before a moment, or later.
        UnixMillis::new(self.base + i64::from(at.max(UNIT)))
            .unwrap_or_else(|| unreachable!("what is not before a moment is a moment"))
    }

    /// The moment of the newest answer.
    #[must_use]
    pub fn newest(&self) -> UnixMillis {
        self.moment(self.ring.newest())
    }

    /// Answers in a row that told the topic's lag, up to 255.
    #[must_use]
    pub fn polls(&self) -> u8 {
        self.ring.polls()
    }

    /// The window, oldest first: at most 12 points.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        self.ring.points(|at| self.moment(at))
    }

    /// Messages read and written over the window; `None` with fewer than two points or three answers.
    #[must_use]
    pub fn rates(&self) -> Option<Rates> {
        self.ring.rates()
    }

    /// Messages read and written over the window.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        self.ring.totals()
    }

    /// How lag grows over the window, in messages. It is what was written less what was read: partitions that come
    /// and go are no growth.
    #[must_use]
    pub fn lag_trend(&self) -> Option<Trend> {
        self.ring.lag_trend()
    }

    /// How the age of the oldest unread message grows over the window, in milliseconds, by bounds of one kind.
    #[must_use]
    pub fn age_trend(&self) -> Option<Trend> {
        self.ring.age_trend()
    }

    /// Whether at an answer within the window before the newest there was no lag.
    #[must_use]
    pub fn was_caught_up(&self, window: Duration) -> bool {
        self.ring.was_caught_up(millis(window))
    }

    /// The partition at a place in the newest answer.
    #[must_use]
    pub fn partition(&self, place: usize) -> Option<PartitionTrack> {
        let seen = self.partitions.get(place)?;
        let fall = self.rewinds.iter().find(|f| f.partition == seen.partition);
        Some(PartitionTrack {
            polls: seen.run.polls(),
            still_since: seen.run.since().map(|at| self.moment(at)),
            was_moving: seen.run.was_moving(),
            rewind: fall.and_then(|f| Some(Rewind { before: Offset::new(f.before)?, at: self.moment(f.at) })),
        })
    }

    /// Whether the partition at a place has lag and has stood still for at least the window.
    #[must_use]
    pub fn is_stuck(&self, place: usize, window: Duration) -> bool {
        let since = self.partitions.get(place).and_then(|seen| seen.run.since());
        since.is_some_and(|since| self.ring.newest().saturating_sub(since) >= millis(window))
    }

    fn heap(&self) -> usize {
        self.ring.heap() + size_of_val::<[Seen]>(&self.partitions) + size_of_val::<[Fall]>(&self.rewinds)
    }
}

/// Since when an offset stands still is held in units of so many milliseconds.
const UNIT: u32 = 100;

fn millis(window: Duration) -> u32 {
    u32::try_from(window.as_millis()).unwrap_or(u32::MAX)
}

/// A fall of a committed offset.
#[derive(Debug, Clone, Copy)]
struct Fall {
    partition: Partition,
    at: u32,
    before: i64,
}

/// A partition as the newest answer tells it. Held for every partition of every group: 24 bytes.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// -1 with no answers in the run.
    committed: i64,
    /// The same.
    end: i64,
    partition: Partition,
    run: Run,
}

const _: () = assert!(size_of::<Seen>() == 24);

/// How offsets moved from one answer to the next.
struct Moved {
    from: i64,
    consumed: i64,
    produced: i64,
}

impl Seen {
    fn unknown(partition: Partition) -> Self {
        Self { committed: -1, end: -1, partition, run: Run::default() }
    }

    fn first(now: &PartitionLag, at: u32) -> Self {
        match (now.committed, now.end, now.messages) {
            (Some(committed), Some(end), Some(messages)) => {
                let run = Run::new(1, messages == 0, messages > 0, at);
                Self { committed: committed.get(), end: end.get(), partition: now.partition, run }
            }
            _ => Self::unknown(now.partition),
        }
    }

    /// Takes the next answer. How far offsets moved is known if both answers tell them.
    fn advance(&mut self, now: &PartitionLag, at: u32) -> Option<Moved> {
        let before = *self;
        *self = Self::first(now, at);
        if before.run.polls() == 0 || self.run.polls() == 0 {
            return None;
        }
        let polls = before.run.polls() + 1;
        let lags = self.run.since().is_some();
        let stands = lags && before.run.since().is_some() && before.committed == self.committed;
        self.run = if stands { before.run.polled(polls) } else { Run::new(polls, true, lags, at) };
        Some(Moved {
            from: before.committed,
            consumed: self.committed - before.committed,
            produced: self.end - before.end,
        })
    }
}

/// A run of answers with lag and one committed offset. From the lowest bit: answers in a row that told lag, up to 7
/// (3 bits); whether anything was seen before the run (1); when it began, in units of [`UNIT`], 0 without lag (28).
#[derive(Debug, Clone, Copy, Default)]
struct Run(u32);

impl Run {
    fn new(polls: u8, was_moving: bool, lags: bool, at: u32) -> Self {
        // Rounded up, so that nothing is told to have stood still for longer than it has.
        let since = if lags { at.div_ceil(UNIT) } else { 0 };
        Self(u32::from(polls.min(7)) | u32::from(was_moving) << 3 | since << 4)
    }

    fn polls(self) -> u8 {
        (self.0 & 7) as u8
    }

    fn was_moving(self) -> bool {
        self.0 & 8 != 0
    }

    fn since(self) -> Option<u32> {
        let since = self.0 >> 4;
        (since > 0).then_some(since * UNIT)
    }

    fn polled(self, polls: u8) -> Self {
        Self(self.0 & !7 | u32::from(polls.min(7)))
    }

    fn shifted(self, by: u32) -> Self {
        let since = self.since().map(|since| since.saturating_sub(by).max(UNIT));
        Self::new(self.polls(), self.was_moving(), since.is_some(), since.unwrap_or_default())
    }
}

#[cfg(test)]
pub(super) mod rig;
#[cfg(test)]
mod tests;
