//! Recent polls of one group: unchanged and rewound committed offsets, and the messages consumed and produced during
//! the status window. Pure.
//!
//! Owns: the samples of the window, bounded in memory, and the offsets of the last poll, so that both survive an outage.
//! Out of scope: interpretation, see [`super::status`] and `super::forecast`.

use std::time::Duration;

use serde::Serialize;

use super::{
    GroupLag, PartitionLag, TopicLag,
    bounds::{GroupBounds, TimeBounds},
};
use crate::model::{Offset, Partition, TimeSpan, TopicName, UnixMillis};

mod samples;
#[cfg(test)]
mod tests;

pub use samples::{MessageRates, TrendLine, WindowSample};

use samples::{PollSample, SampleRing};

/// Recent polls of one group.
#[derive(Debug, Clone, Default)]
pub struct GroupWindow {
    /// Topics of the last poll, sorted by name.
    topics: Box<[TopicWindow]>,
}

impl GroupWindow {
    /// Records a poll. `status_window` is the length of the window, at most days.
    ///
    /// Removes topics and partitions that the response lacks. Starts over for a topic with an end offset that moved
    /// back, because it was recreated.
    pub fn record(&mut self, lag: &GroupLag, bounds: &GroupBounds, now: TimeSpan, status_window: Duration) {
        // Both are sorted by name.
        let mut known = std::mem::take(&mut self.topics).into_iter().peekable();
        let mut topics = Vec::with_capacity(lag.topics.len());
        for (i, topic) in lag.topics.iter().enumerate() {
            let bounds = bounds.topics.get(i).map(|b| b.topic).unwrap_or_default();
            let poll = TopicPoll { topic, bounds, time: now.latest(), window: millis(status_window) };
            while known.next_if(|k| k.name < topic.topic).is_some() {}
            topics.push(match known.next_if(|k| k.name == topic.topic && k.is_continued_by(&poll)) {
                Some(mut window) => {
                    window.advance(&poll);
                    window
                }
                None => TopicWindow::new(&poll),
            });
        }
        self.topics = topics.into();
    }

    /// Returns the window of a topic.
    #[must_use]
    pub fn topic(&self, topic: &TopicName) -> Option<&TopicWindow> {
        let i = self.topics.binary_search_by(|t| t.name.cmp(topic)).ok()?;
        self.topics.get(i)
    }

    /// Returns the memory used in bytes, without the overhead of the allocator. Names are shared with the response.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val::<[TopicWindow]>(&self.topics)
            + self.topics.iter().map(TopicWindow::heap_bytes).sum::<usize>()
    }
}

/// Poll result for one topic.
struct TopicPoll<'a> {
    topic: &'a TopicLag,
    bounds: TimeBounds,
    time: UnixMillis,
    /// Length of the window in milliseconds.
    window: u32,
}

/// Recent polls of a group on one topic.
#[derive(Debug, Clone)]
pub struct TopicWindow {
    name: TopicName,
    /// Times are stored in milliseconds since this one, so that they fit 32 bits.
    base: i64,
    samples: SampleRing,
    /// In the order of the last response.
    partitions: Box<[LastOffsets]>,
    /// Nearly always empty.
    rewinds: Box<[OpenRewind]>,
}

/// Recent polls of a group on one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartitionWindow {
    /// Consecutive polls with a known lag, up to 7.
    #[serde(rename = "answers")]
    pub polls: u8,
    /// Time of the first poll of those since which every poll had lag and the same committed offset; `None` without
    /// lag.
    #[serde(rename = "still_since")]
    pub unchanged_since: Option<UnixMillis>,
    /// Whether `unchanged_since` is at least the status window ago.
    #[serde(rename = "is_stuck")]
    pub is_unchanged_with_lag: bool,
    /// Whether an earlier poll had another offset or no lag.
    pub was_moving: bool,
    /// Last backward move of the committed offset within the window, until the group is back where it was.
    pub rewind: Option<OffsetRewind>,
}

/// Backward move of a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OffsetRewind {
    /// Committed offset before it.
    #[serde(rename = "from_offset")]
    pub before: Offset,
    /// Time of the poll that reported it.
    pub at: UnixMillis,
}

impl TopicWindow {
    fn new(poll: &TopicPoll<'_>) -> Self {
        let mut window = Self {
            name: poll.topic.topic.clone(),
            // Times start at one unit, because 0 means none.
            base: poll.time.get() - i64::from(UNIT_MS),
            samples: SampleRing::default(),
            partitions: poll.topic.partitions.iter().map(|p| LastOffsets::new(p, UNIT_MS)).collect(),
            rewinds: Box::default(),
        };
        window.add_sample(poll, UNIT_MS, Some((0, 0)));
        window
    }

    /// Whether a poll may be a later one of the same topic.
    fn is_continued_by(&self, poll: &TopicPoll<'_>) -> bool {
        let moved_back = |p: &PartitionLag| {
            let before = self.last_offsets(p.partition);
            before.zip(p.end).is_some_and(|(before, end)| end.get() < before.end)
        };
        // After a clock was set back by more than the window, earlier polls are useless.
        let set_back = self.newest().get().saturating_sub(poll.time.get()) > i64::from(poll.window);
        !set_back && !poll.topic.partitions.iter().any(moved_back)
    }

    fn advance(&mut self, poll: &TopicPoll<'_>) {
        let at = self.advance_clock(poll.time);
        // The names are equal, but the previous one keeps the memory of an older response alive.
        self.name = poll.topic.topic.clone();
        if !self.partitions.iter().map(|o| o.partition).eq(poll.topic.partitions.iter().map(|p| p.partition))
        {
            self.partitions = (poll.topic.partitions.iter())
                .map(|p| self.last_offsets(p.partition).copied().unwrap_or(LastOffsets::unknown(p.partition)))
                .collect();
        }
        let (mut consumed, mut produced) = (0_u64, 0_u64);
        let mut rewinds = Vec::new();
        for (offsets, now) in self.partitions.iter_mut().zip(&poll.topic.partitions) {
            let before = offsets.committed;
            let Some(delta) = offsets.advance(now, at) else { continue };
            consumed = consumed.saturating_add(delta.consumed.max(0).unsigned_abs());
            produced = produced.saturating_add(delta.produced.max(0).unsigned_abs());
            let known = self.rewinds.iter().find(|r| r.partition == offsets.partition).copied();
            let rewind = if delta.consumed < 0 {
                // After a second rewind the group still has to get back to where the first one started.
                let before = known.map_or(before, |known| known.before.max(before));
                Some(OpenRewind { partition: offsets.partition, at, before })
            } else {
                known
            };
            rewinds.extend(rewind.filter(|r| offsets.committed < r.before && at - r.at <= poll.window));
        }
        self.rewinds = rewinds.into();
        let counts = u32::try_from(consumed).ok().zip(u32::try_from(produced).ok());
        self.add_sample(poll, at, counts);
    }

    /// Adds a sample. `counts` is `None` if they exceed 32 bits: somebody has set an offset, so the window starts over.
    fn add_sample(&mut self, poll: &TopicPoll<'_>, at: u32, counts: Option<(u32, u32)>) {
        if poll.topic.messages.is_none() || counts.is_none() {
            self.samples = SampleRing::default();
        }
        let Some(lag) = poll.topic.messages else { return };
        let (consumed, produced) = counts.unwrap_or_default();
        self.samples.add(PollSample { at, consumed, produced, lag, bounds: poll.bounds }, poll.window);
    }

    fn last_offsets(&self, partition: Partition) -> Option<&LastOffsets> {
        partition.find_in(&self.partitions, |o| o.partition)
    }

    /// Converts the time of a poll to milliseconds since the base, which never decrease. Moves the base if they would
    /// get too large.
    fn advance_clock(&mut self, time: UnixMillis) -> u32 {
        const MAX_MS: i64 = 40 * 86_400_000;
        let since_base = time.get().saturating_sub(self.base);
        if since_base > MAX_MS {
            // Offsets unchanged since before the new base have been so for longer than any window.
            let by = (since_base - MAX_MS / 2) / i64::from(UNIT_MS) * i64::from(UNIT_MS);
            self.base += by;
            let by = u32::try_from(by).unwrap_or(u32::MAX);
            self.samples.shift(by);
            self.partitions.iter_mut().for_each(|o| o.unchanged = o.unchanged.shifted(by));
            self.rewinds.iter_mut().for_each(|r| r.at = r.at.saturating_sub(by));
        }
        let since_base = time.get().saturating_sub(self.base);
        u32::try_from(since_base).unwrap_or(0).max(UNIT_MS).max(self.samples.newest())
    }

    fn time(&self, at: u32) -> UnixMillis {
        // The base is at least one unit before a valid time.
        UnixMillis::new(self.base + i64::from(at.max(UNIT_MS)))
            .unwrap_or_else(|| unreachable!("a time not before a valid time is valid"))
    }

    /// Returns the time of the last poll.
    #[must_use]
    pub fn newest(&self) -> UnixMillis {
        self.time(self.samples.newest())
    }

    /// Returns the number of consecutive polls with a known lag of the topic, up to 255.
    #[must_use]
    pub fn polls(&self) -> u8 {
        self.samples.polls()
    }

    /// Returns the samples of the window, oldest first, at most 12.
    pub fn samples(&self) -> impl Iterator<Item = WindowSample> + '_ {
        self.samples.samples(|at| self.time(at))
    }

    /// Returns the average rates over the window; `None` with fewer than two samples or three polls.
    #[must_use]
    pub fn rates(&self) -> Option<MessageRates> {
        self.samples.rates()
    }

    /// Returns the messages consumed and produced during the window.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        self.samples.totals()
    }

    /// Returns the trend of the lag in messages, from produced minus consumed messages. Added or removed partitions do
    /// not count as growth.
    #[must_use]
    pub fn lag_trend(&self) -> Option<TrendLine> {
        self.samples.lag_trend()
    }

    /// Returns the trend of the age of the oldest unread message in seconds, from bounds of the same kind.
    #[must_use]
    pub fn age_trend(&self) -> Option<TrendLine> {
        self.samples.age_trend()
    }

    /// Whether a poll within `status_window` before the last one had no lag.
    #[must_use]
    pub fn was_caught_up(&self, status_window: Duration) -> bool {
        self.samples.was_caught_up(millis(status_window))
    }

    /// Returns the window of the partition at position `i` of the last response.
    #[must_use]
    pub fn partition(&self, i: usize, status_window: Duration) -> Option<PartitionWindow> {
        let offsets = self.partitions.get(i)?;
        let rewind = self.rewinds.iter().find(|r| r.partition == offsets.partition);
        Some(PartitionWindow {
            polls: offsets.unchanged.polls(),
            unchanged_since: offsets.unchanged.since().map(|at| self.time(at)),
            is_unchanged_with_lag: self.is_unchanged_with_lag(i, status_window),
            was_moving: offsets.unchanged.was_moving(),
            rewind: rewind
                .and_then(|r| Some(OffsetRewind { before: Offset::new(r.before)?, at: self.time(r.at) })),
        })
    }

    /// Whether the partition at position `i` has had lag and an unchanged committed offset for at least the window.
    #[must_use]
    pub(super) fn is_unchanged_with_lag(&self, i: usize, status_window: Duration) -> bool {
        let since = self.partitions.get(i).and_then(|offsets| offsets.unchanged.since());
        since.is_some_and(|since| self.samples.newest().saturating_sub(since) >= millis(status_window))
    }

    fn heap_bytes(&self) -> usize {
        self.samples.heap_bytes()
            + size_of_val::<[LastOffsets]>(&self.partitions)
            + size_of_val::<[OpenRewind]>(&self.rewinds)
    }
}

/// Resolution of [`UnchangedRun::since`] in milliseconds.
const UNIT_MS: u32 = 100;

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Backward move of a committed offset to which the group has not returned yet.
#[derive(Debug, Clone, Copy)]
struct OpenRewind {
    partition: Partition,
    at: u32,
    before: i64,
}

/// Offsets of a partition in the last response. One per partition of every group: 24 bytes.
#[derive(Debug, Clone, Copy)]
struct LastOffsets {
    /// -1 while the lag is unknown.
    committed: i64,
    /// -1 while the lag is unknown.
    end: i64,
    partition: Partition,
    unchanged: UnchangedRun,
}

const _: () = assert!(size_of::<LastOffsets>() == 24);

/// Movement of offsets between two polls, in messages.
struct OffsetDelta {
    consumed: i64,
    produced: i64,
}

impl LastOffsets {
    fn unknown(partition: Partition) -> Self {
        Self { committed: -1, end: -1, partition, unchanged: UnchangedRun::default() }
    }

    fn new(now: &PartitionLag, at: u32) -> Self {
        match (now.committed, now.end, now.messages) {
            (Some(committed), Some(end), Some(messages)) => {
                let unchanged = UnchangedRun::new(1, messages == 0, messages > 0, at);
                Self { committed: committed.get(), end: end.get(), partition: now.partition, unchanged }
            }
            _ => Self::unknown(now.partition),
        }
    }

    /// Records the next poll. Returns the movement if both polls know the lag.
    fn advance(&mut self, now: &PartitionLag, at: u32) -> Option<OffsetDelta> {
        let before = *self;
        *self = Self::new(now, at);
        if before.unchanged.polls() == 0 || self.unchanged.polls() == 0 {
            return None;
        }
        let polls = before.unchanged.polls() + 1;
        let has_lag = self.unchanged.since().is_some();
        self.unchanged =
            if has_lag && before.unchanged.since().is_some() && before.committed == self.committed {
                before.unchanged.with_polls(polls)
            } else {
                UnchangedRun::new(polls, true, has_lag, at)
            };
        Some(OffsetDelta { consumed: self.committed - before.committed, produced: self.end - before.end })
    }
}

/// Consecutive polls with lag and the same committed offset, packed. From the lowest bit: polls with a known lag, up to
/// 7 (3 bits); whether an earlier poll differed (1); start of the run in units of [`UNIT_MS`], 0 without lag (28).
#[derive(Debug, Clone, Copy, Default)]
struct UnchangedRun(u32);

impl UnchangedRun {
    fn new(polls: u8, was_moving: bool, has_lag: bool, at: u32) -> Self {
        // Rounded up so that the run never appears longer than it is.
        let since = if has_lag { at.div_ceil(UNIT_MS) } else { 0 };
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
        (since > 0).then_some(since * UNIT_MS)
    }

    fn with_polls(self, polls: u8) -> Self {
        Self(self.0 & !7 | u32::from(polls.min(7)))
    }

    fn shifted(self, by: u32) -> Self {
        let since = self.since().map(|since| since.saturating_sub(by).max(UNIT_MS));
        Self::new(self.polls(), self.was_moving(), since.is_some(), since.unwrap_or_default())
    }
}
