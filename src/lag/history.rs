//! Where the ends of one topic's partitions were, and when: what poll history says of when an offset was
//! written. Pure.
//!
//! Owns: the points, how they are merged, thinned and forgotten, and whether message times of a partition are
//! to be believed. Refuses: extrapolation, and points that no answer has told.
//!
//! An answer was read at a moment somewhere in its span, so it tells two things: at the end of the span the
//! partition had reached this end, and at its beginning it was not past it. Ends only grow, so both hold on:
//! the first for all later moments, the second for all earlier ones. All else follows from these two.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Duration,
};

use series::Series;

use crate::model::{Offset, Partition, TimeSpan, UnixMillis};

mod series;
#[cfg(test)]
pub(super) mod tests;

/// How far apart two clocks of the cloud may be, in milliseconds, without one of them being wrong: HTTP dates
/// have whole seconds, and so have some message times.
pub(super) const GRAIN_MS: i64 = 2_000;

/// For how long message times of a partition are not believed after they were found wrong.
const DISTRUST_MS: i64 = 3_600_000;

/// Memory of a point, but for the oldest one of each partition and those that are too far from it.
pub const POINT_BYTES: usize = series::NEAR_BYTES;

/// When the message at an offset was written, as far as polls tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Not before this: the newest poll at which the partition ended at or before the offset.
    pub not_before: Option<UnixMillis>,
    /// Not after this: the oldest poll at which it ended past the offset.
    pub not_after: Option<UnixMillis>,
}

/// One point of the history of a partition, for whoever wants to see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Where the partition ended.
    pub end: Offset,
    /// At the latest, when it was first seen to end there.
    pub first: UnixMillis,
    /// At the earliest, when it was last seen to end there.
    pub last: UnixMillis,
}

/// The ends of one topic's partitions over time, from all answers that tell them.
#[derive(Debug, Default)]
pub struct EndHistory {
    /// Sorted by partition.
    series: Vec<Series>,
    /// Partitions whose message times are not believed, and until when. Sorted by partition, nearly always empty.
    distrusted: Vec<(Partition, i64)>,
}

impl EndHistory {
    /// Notes where partitions ended. An end below a newer one is not noted: calls overtake each other.
    /// `spacing` is the interval of polls: points are merged as long as none is farther than that from the next.
    ///
    /// What cannot be of the same log as the points of a partition replaces them: a larger end at an earlier
    /// moment (a clock that was set back), or a smaller end that nobody has contradicted for two intervals (a
    /// topic that was created anew).
    pub fn record(
        &mut self,
        ends: impl Iterator<Item = (Partition, Offset)>,
        span: TimeSpan,
        spacing: Duration,
    ) {
        let spacing = i64::try_from(spacing.as_millis()).unwrap_or(i64::MAX);
        for (partition, end) in ends {
            let point = Point { end, first: span.latest(), last: span.earliest() };
            match self.find(partition) {
                Ok(at) => note(&mut self.series[at], point, spacing),
                Err(at) => self.series.insert(at, Series::new(partition, point)),
            }
        }
    }

    /// Checks a message time against what polls tell of its offset. If they contradict each other, whoever
    /// stamped it has another clock: times of this partition are not believed for a while. Returns whether that
    /// is news.
    pub fn check(&mut self, partition: Partition, offset: Offset, stamp: UnixMillis, now: TimeSpan) -> bool {
        let Written { not_before, not_after } = self.written(partition, offset);
        let after = |bound: UnixMillis| stamp.get().saturating_sub(bound.get()) > GRAIN_MS;
        let early = not_before.is_some_and(|t| t.get().saturating_sub(stamp.get()) > GRAIN_MS);
        if !early && !not_after.is_some_and(after) && !after(now.latest()) {
            return false;
        }
        let believed = self.believes(partition, now);
        self.distrusted.retain(|(_, until)| *until > now.earliest().get());
        let until = now.latest().get().saturating_add(DISTRUST_MS);
        match self.distrusted.binary_search_by_key(&partition, |(p, _)| *p) {
            Ok(at) => self.distrusted[at].1 = self.distrusted[at].1.max(until),
            Err(at) => self.distrusted.insert(at, (partition, until)),
        }
        believed
    }

    /// Whether message times of a partition are to be believed.
    #[must_use]
    pub fn believes(&self, partition: Partition, now: TimeSpan) -> bool {
        let at = self.distrusted.binary_search_by_key(&partition, |(p, _)| *p);
        at.map_or(true, |at| self.distrusted[at].1 <= now.earliest().get())
    }

    /// When the message at an offset was written.
    #[must_use]
    pub fn written(&self, partition: Partition, offset: Offset) -> Written {
        let Some(series) = self.of(partition) else { return Written::default() };
        let past = series.past(offset);
        Written {
            not_before: past.checked_sub(1).and_then(|i| series.get(i)).map(|p| p.last),
            not_after: series.get(past).map(|p| p.first),
        }
    }

    /// The oldest poll at which a partition ended past an offset with a message that was surely written later
    /// than `since`: what [`Written::not_after`] is once all that is older may have been deleted.
    #[must_use]
    pub fn written_since(
        &self,
        partition: Partition,
        offset: Offset,
        since: UnixMillis,
    ) -> Option<UnixMillis> {
        let series = self.of(partition)?;
        // The last message before an end was written after the partition was last seen to end before it.
        let young = series.later_than(since) + 1;
        series.get(series.past(offset).max(young)).map(|p| p.first)
    }

    /// The newest end that is known.
    #[must_use]
    pub fn newest(&self, partition: Partition) -> Option<Point> {
        self.of(partition).map(Series::newest)
    }

    /// The points of a partition, oldest first.
    pub fn points(&self, partition: Partition) -> impl Iterator<Item = Point> + '_ {
        self.of(partition).into_iter().flat_map(Series::points)
    }

    /// Forgets what nobody will ask for: points below the smallest offset that a reader of the partition has
    /// committed, but for the newest of them; all but the newest point where nobody reads. `needed` tells the
    /// committed offsets of a partition's readers, the smallest first. Then thins out until no more than `room`
    /// points are left in all, the least missed first. The newest point of a partition is never thinned out, nor
    /// are those around any of the offsets: so who stands still is told as closely as ever, and a room that is too
    /// small for those is exceeded.
    pub fn prune<'a>(&mut self, needed: impl Fn(Partition) -> &'a [Offset], room: usize) {
        for series in &mut self.series {
            cut(series, needed(series.partition()).first().copied());
        }
        let excess = self.len().saturating_sub(room);
        if excess > 0 {
            self.thin(needed, excess);
        }
        self.series.iter_mut().for_each(Series::shrink);
        self.series.shrink_to_fit();
        self.distrusted.shrink_to_fit();
    }

    /// Forgets what was seen before the topic was created: it was of another one of the same name.
    pub fn forget_before(&mut self, created: UnixMillis) {
        self.series.retain_mut(|series| {
            let kept: Vec<Point> = series.points().filter(|p| p.first >= created).collect();
            if kept.len() < series.len() && !kept.is_empty() {
                series.replace(&kept);
            }
            !kept.is_empty()
        });
    }

    /// Forgets all: the topic was created anew.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Points held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.iter().map(Series::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Bytes of memory held, without the allocator's own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.series.capacity() * size_of::<Series>()
            + self.series.iter().map(Series::heap_bytes).sum::<usize>()
            + self.distrusted.capacity() * size_of::<(Partition, i64)>()
    }

    fn find(&self, partition: Partition) -> Result<usize, usize> {
        // Partitions are nearly always 0, 1, 2, and so on: look there before searching.
        let guess = partition.0 as usize;
        match self.series.get(guess) {
            Some(series) if series.partition() == partition => Ok(guess),
            _ => self.series.binary_search_by_key(&partition, Series::partition),
        }
    }

    fn of(&self, partition: Partition) -> Option<&Series> {
        self.find(partition).ok().and_then(|at| self.series.get(at))
    }

    /// Drops up to `excess` points, always the one whose loss widens a bracket least, relative to how long ago
    /// that was: a minute more or less matters for what is young.
    fn thin<'a>(&mut self, needed: impl Fn(Partition) -> &'a [Offset], excess: usize) {
        let now = self.series.iter().map(|s| s.newest().last.get()).max().unwrap_or_default();
        let mut chains: Vec<Chain> = self.series.iter().map(|s| Chain::new(s.points().collect())).collect();
        let mut heap = BinaryHeap::new();
        for (s, (chain, series)) in chains.iter().zip(&self.series).enumerate() {
            let fixed = around(series, needed(series.partition()));
            let inner = 1..chain.points.len().saturating_sub(1);
            for i in inner.filter(|i| fixed.binary_search(i).is_err()) {
                heap.push(Reverse((chain.cost(i, now), s, i)));
            }
        }
        let mut left = excess;
        while left > 0
            && let Some(Reverse((cost, s, i))) = heap.pop()
        {
            // A loss beside it may have made this one dearer since.
            let actual = chains[s].cost(i, now);
            if actual > cost {
                heap.push(Reverse((actual, s, i)));
            } else {
                chains[s].drop(i);
                left -= 1;
            }
        }
        for (series, chain) in self.series.iter_mut().zip(chains) {
            if chain.dropped > 0 {
                series.replace(&chain.left());
            }
        }
    }
}

/// Adds a point to a partition's.
fn note(series: &mut Series, point: Point, spacing: i64) {
    let since = |later: UnixMillis, earlier: UnixMillis| later.get().saturating_sub(earlier.get());
    let newest = series.newest();
    let before = series.len().checked_sub(2).and_then(|i| series.get(i));
    let smaller = match point.end.cmp(&newest.end) {
        Ordering::Less => {
            let surely_later = point.last > newest.first;
            if surely_later && since(point.last, newest.last) > spacing.saturating_mul(2) {
                series.replace(&[point]);
            }
            return;
        }
        Ordering::Equal => before,
        Ordering::Greater => Some(newest),
    };
    if smaller.is_some_and(|smaller| since(smaller.last, point.first) > GRAIN_MS) {
        return series.replace(&[point]);
    }
    series.not_later_than(point.first);
    if point.end == newest.end {
        let first = newest.first.min(point.first);
        return series.set_newest(Point { first, last: newest.last.max(point.last), ..newest });
    }
    // The newest point is between two others now. What tells their distance is when they were surely the end.
    let distance = before.map(|before| since(point.last, before.first.max(before.last)));
    let point = Point { last: point.last.max(newest.last), ..point };
    if distance.is_some_and(|distance| distance <= spacing - spacing / 10) {
        series.set_newest(point);
    } else {
        series.push(point);
    }
}

/// The points around each of these offsets, sorted: the last that ends there or before, and the first two past it. Of
/// what is deleted by age, the first may tell nothing.
fn around(series: &Series, offsets: &[Offset]) -> Vec<usize> {
    let mut points: Vec<usize> = Vec::new();
    for offset in offsets {
        let past = series.past(*offset);
        let from = past.saturating_sub(1).max(points.last().map_or(0, |last| last + 1));
        points.extend(from..past + 2);
    }
    points
}

/// Drops the points that nobody will ask for.
fn cut(series: &mut Series, needed: Option<Offset>) {
    let below = needed.map_or(series.len(), |offset| series.past(offset));
    if below > 1 {
        let kept: Vec<Point> = series.points().skip(below - 1).collect();
        series.replace(&kept);
    }
}

/// The points of a partition while some of them are dropped.
struct Chain {
    points: Vec<Point>,
    /// The neighbours of each point that are left.
    links: Vec<(usize, usize)>,
    /// How many were dropped.
    dropped: usize,
}

impl Chain {
    fn new(points: Vec<Point>) -> Self {
        let links = (0..points.len()).map(|i| (i.saturating_sub(1), i + 1)).collect();
        Self { points, links, dropped: 0 }
    }

    /// The width of the bracket between the neighbours of an inner point, in parts of its age.
    fn cost(&self, i: usize, now: i64) -> u64 {
        let (before, after) = self.links[i];
        let width = self.points[after].first.get().saturating_sub(self.points[before].last.get()).max(0);
        let age = now.saturating_sub(self.points[i].first.get()).max(1);
        let parts = (u128::from(width.unsigned_abs()) << 32) / u128::from(age.unsigned_abs());
        u64::try_from(parts).unwrap_or(u64::MAX)
    }

    /// Drops an inner point.
    fn drop(&mut self, i: usize) {
        let (before, after) = self.links[i];
        self.links[before].1 = after;
        self.links[after].0 = before;
        self.dropped += 1;
    }

    fn left(&self) -> Vec<Point> {
        let next = |i: &usize| Some(self.links[*i].1).filter(|next| *next < self.points.len());
        let start = Some(0).filter(|_| !self.points.is_empty());
        std::iter::successors(start, next).map(|i| self.points[i]).collect()
    }
}
