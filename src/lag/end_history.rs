//! History of the end offsets of one topic's partitions: bounds the time at which the message at an offset was
//! written. Pure.
//!
//! Owns: the points of this history, how they are merged, thinned out and removed, and whether the message timestamps
//! of a partition are trusted. Out of scope: interpolation.
//!
//! The end offset in a response was read at one unknown moment of the response's time span. At the end of the span the
//! partition had reached this offset, and at its beginning it was not beyond it. End offsets only grow, so the first
//! holds for all later times and the second for all earlier ones.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Duration,
};

use series::EndSeries;

use crate::model::{Offset, Partition, TimeSpan, UnixMillis};

mod series;
#[cfg(test)]
pub(super) mod tests;

/// Tolerance between two clocks of the cloud, in milliseconds. HTTP dates, and some message timestamps, are in seconds.
pub(super) const CLOCK_TOLERANCE_MS: i64 = 2_000;

/// Time for which the message timestamps of a partition are not trusted after a contradiction, in milliseconds.
const DISTRUST_MS: i64 = 3_600_000;

/// Memory of a point in bytes, except for the oldest of each partition and those too far from it.
pub const POINT_BYTES: usize = series::PACKED_POINT_BYTES;

/// Bounds of the time at which a message was written, from polls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteInterval {
    /// Latest poll at which the end offset was at or before the message.
    pub not_before: Option<UnixMillis>,
    /// Earliest poll at which the end offset was beyond the message.
    pub not_after: Option<UnixMillis>,
}

/// End offset of a partition and when polls observed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndPoint {
    /// End offset.
    pub end: Offset,
    /// Latest possible time of the first observation.
    pub first: UnixMillis,
    /// Earliest possible time of the last observation.
    pub last: UnixMillis,
}

/// End offsets of the partitions of one topic over time, from every response that reports them.
#[derive(Debug, Clone, Default)]
pub struct EndHistory {
    /// Sorted by partition.
    series: Vec<EndSeries>,
    /// Partitions whose message timestamps are not trusted, and until when. Sorted by partition, nearly always empty.
    distrusted: Vec<(Partition, i64)>,
}

impl EndHistory {
    /// Records end offsets. Ignores an end before a newer one, because responses may overtake each other.
    /// `poll_interval` limits merging: neighboring points stay closer than it.
    ///
    /// An end that contradicts the points of its partition replaces them: a larger end at an earlier time (a clock was
    /// set back), or a smaller end that no poll contradicts for two intervals (the topic was recreated).
    pub fn record(
        &mut self,
        ends: impl Iterator<Item = (Partition, Offset)>,
        span: TimeSpan,
        poll_interval: Duration,
    ) {
        let poll_interval = i64::try_from(poll_interval.as_millis()).unwrap_or(i64::MAX);
        for (partition, end) in ends {
            let point = EndPoint { end, first: span.latest(), last: span.earliest() };
            match self.position(partition) {
                Ok(i) => record_point(&mut self.series[i], point, poll_interval),
                Err(i) => self.series.insert(i, EndSeries::new(partition, point)),
            }
        }
    }

    /// Checks a message timestamp against the polls around its offset. After a contradiction, timestamps of the
    /// partition are not trusted for an hour, because the clock that set them is wrong. Returns whether this is a new
    /// contradiction.
    pub fn check_timestamp(
        &mut self,
        partition: Partition,
        offset: Offset,
        timestamp: UnixMillis,
        now: TimeSpan,
    ) -> bool {
        let exceeds = |a: UnixMillis, b: UnixMillis| a.get().saturating_sub(b.get()) > CLOCK_TOLERANCE_MS;
        let WriteInterval { not_before, not_after } = self.write_interval(partition, offset);
        let is_early = not_before.is_some_and(|bound| exceeds(bound, timestamp));
        let is_late = not_after.is_some_and(|bound| exceeds(timestamp, bound));
        if !is_early && !is_late && !exceeds(timestamp, now.latest()) {
            return false;
        }
        let was_trusted = self.trusts_timestamps(partition, now);
        self.distrusted.retain(|(_, until)| *until > now.earliest().get());
        let until = now.latest().get().saturating_add(DISTRUST_MS);
        match partition.position_in(&self.distrusted, |(p, _)| *p) {
            Ok(i) => self.distrusted[i].1 = self.distrusted[i].1.max(until),
            Err(i) => self.distrusted.insert(i, (partition, until)),
        }
        was_trusted
    }

    /// Whether the message timestamps of a partition are trusted.
    #[must_use]
    pub fn trusts_timestamps(&self, partition: Partition, now: TimeSpan) -> bool {
        let distrusted = partition.find_in(&self.distrusted, |(p, _)| *p);
        distrusted.is_none_or(|(_, until)| *until <= now.earliest().get())
    }

    /// Returns the bounds of the time at which the message at `offset` was written.
    #[must_use]
    pub fn write_interval(&self, partition: Partition, offset: Offset) -> WriteInterval {
        let Some(series) = self.series(partition) else { return WriteInterval::default() };
        let beyond = series.first_beyond(offset);
        WriteInterval {
            not_before: beyond.checked_sub(1).and_then(|i| series.get(i)).map(|p| p.last),
            not_after: series.get(beyond).map(|p| p.first),
        }
    }

    /// Returns the earliest poll at which a message at or after `offset` was certainly written. With `retained_since`,
    /// only messages written later count, because older ones may have been deleted.
    #[must_use]
    pub fn written_by(
        &self,
        partition: Partition,
        offset: Offset,
        retained_since: Option<UnixMillis>,
    ) -> Option<UnixMillis> {
        let series = self.series(partition)?;
        let mut i = series.first_beyond(offset);
        if let Some(since) = retained_since {
            // The last message before an end offset was written after the previous end offset was last observed.
            i = i.max(series.first_seen_after(since) + 1);
        }
        series.get(i).map(|p| p.first)
    }

    /// Returns the newest point of a partition.
    #[must_use]
    pub fn newest(&self, partition: Partition) -> Option<EndPoint> {
        self.series(partition).map(EndSeries::newest)
    }

    /// Returns the points of a partition, oldest first.
    pub fn points(&self, partition: Partition) -> impl Iterator<Item = EndPoint> + '_ {
        self.series(partition).into_iter().flat_map(EndSeries::points)
    }

    /// Removes points until at most `max_points` remain.
    ///
    /// `committed` returns the committed offsets of a partition's groups, smallest first. Points before the smallest
    /// are never needed again, except for the newest of them. Without any group only the newest point remains. Then
    /// points are thinned out, the least significant first. The newest point of a partition and those around the
    /// committed offsets always remain, so a stalled group keeps its bounds even if this exceeds `max_points`.
    pub fn prune<'a>(&mut self, committed: impl Fn(Partition) -> &'a [Offset], max_points: usize) {
        for series in &mut self.series {
            remove_unneeded(series, committed(series.partition()).first().copied());
        }
        let excess = self.len().saturating_sub(max_points);
        if excess > 0 {
            self.thin_out(committed, excess);
        }
        self.series.iter_mut().for_each(EndSeries::shrink);
        self.series.shrink_to_fit();
        self.distrusted.shrink_to_fit();
    }

    /// Removes points from before the creation of the topic, because they belong to an earlier topic of this name.
    pub fn remove_before(&mut self, created: UnixMillis) {
        self.series.retain_mut(|series| {
            let kept: Vec<EndPoint> = series.points().filter(|p| p.first >= created).collect();
            if kept.len() < series.len() && !kept.is_empty() {
                series.replace(&kept);
            }
            !kept.is_empty()
        });
    }

    /// Returns the number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.iter().map(EndSeries::len).sum()
    }

    /// Whether there are no points.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Returns the memory used in bytes, without the overhead of the allocator.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.series.capacity() * size_of::<EndSeries>()
            + self.series.iter().map(EndSeries::heap_bytes).sum::<usize>()
            + self.distrusted.capacity() * size_of::<(Partition, i64)>()
    }

    fn position(&self, partition: Partition) -> Result<usize, usize> {
        partition.position_in(&self.series, EndSeries::partition)
    }

    fn series(&self, partition: Partition) -> Option<&EndSeries> {
        self.position(partition).ok().and_then(|i| self.series.get(i))
    }

    /// Removes up to `excess` points. Always removes the point whose loss widens bounds least, relative to its age,
    /// because a minute matters more for recent points.
    fn thin_out<'a>(&mut self, committed: impl Fn(Partition) -> &'a [Offset], excess: usize) {
        let now = self.series.iter().map(|s| s.newest().last.get()).max().unwrap_or_default();
        let mut lists: Vec<ThinningList> = self.series.iter().map(ThinningList::new).collect();
        let mut by_cost = BinaryHeap::new();
        for (s, (list, series)) in lists.iter().zip(&self.series).enumerate() {
            let fixed = points_around(series, committed(series.partition()));
            let inner = 1..list.points.len().saturating_sub(1);
            for i in inner.filter(|i| fixed.binary_search(i).is_err()) {
                by_cost.push(Reverse((list.cost(i, now), s, i)));
            }
        }
        let mut left = excess;
        while left > 0
            && let Some(Reverse((cost, s, i))) = by_cost.pop()
        {
            // The removal of a neighbor may have raised the cost since.
            let current = lists[s].cost(i, now);
            if current > cost {
                by_cost.push(Reverse((current, s, i)));
            } else {
                lists[s].remove(i);
                left -= 1;
            }
        }
        for (series, list) in self.series.iter_mut().zip(lists) {
            if list.removed > 0 {
                series.replace(&list.remaining());
            }
        }
    }
}

/// Adds a point to the series of its partition.
fn record_point(series: &mut EndSeries, point: EndPoint, poll_interval: i64) {
    let elapsed = |later: UnixMillis, earlier: UnixMillis| later.get().saturating_sub(earlier.get());
    let newest = series.newest();
    let previous = series.len().checked_sub(2).and_then(|i| series.get(i));
    let smaller = match point.end.cmp(&newest.end) {
        Ordering::Less => {
            let is_later = point.last > newest.first;
            if is_later && elapsed(point.last, newest.last) > poll_interval.saturating_mul(2) {
                series.replace(&[point]);
            }
            return;
        }
        Ordering::Equal => previous,
        Ordering::Greater => Some(newest),
    };
    if smaller.is_some_and(|smaller| elapsed(smaller.last, point.first) > CLOCK_TOLERANCE_MS) {
        return series.replace(&[point]);
    }
    series.limit_first(point.first);
    if point.end == newest.end {
        let first = newest.first.min(point.first);
        return series.set_newest(EndPoint { first, last: newest.last.max(point.last), ..newest });
    }
    // The newest point is now between two others. Measures the distance of those between times at which they were
    // certainly observed.
    let distance = previous.map(|previous| elapsed(point.last, previous.first.max(previous.last)));
    let point = EndPoint { last: point.last.max(newest.last), ..point };
    if distance.is_some_and(|distance| distance <= poll_interval - poll_interval / 10) {
        series.set_newest(point);
    } else {
        series.push(point);
    }
}

/// Returns the sorted positions of the points around each offset: the last that ends at or before it, and the first two
/// beyond it. If old messages are deleted, the first of these may be useless.
fn points_around(series: &EndSeries, offsets: &[Offset]) -> Vec<usize> {
    let mut points: Vec<usize> = Vec::new();
    for offset in offsets {
        let beyond = series.first_beyond(*offset);
        let from = beyond.saturating_sub(1).max(points.last().map_or(0, |last| last + 1));
        points.extend(from..beyond + 2);
    }
    points
}

/// Removes points before the smallest committed offset, except for the newest of them.
fn remove_unneeded(series: &mut EndSeries, committed: Option<Offset>) {
    let before = committed.map_or(series.len(), |offset| series.first_beyond(offset));
    if before > 1 {
        let kept: Vec<EndPoint> = series.points().skip(before - 1).collect();
        series.replace(&kept);
    }
}

/// Points of a partition as a linked list, from which thinning removes points.
struct ThinningList {
    points: Vec<EndPoint>,
    /// Previous and next remaining point of each point.
    links: Vec<(usize, usize)>,
    removed: usize,
}

impl ThinningList {
    fn new(series: &EndSeries) -> Self {
        let points: Vec<EndPoint> = series.points().collect();
        let links = (0..points.len()).map(|i| (i.saturating_sub(1), i + 1)).collect();
        Self { points, links, removed: 0 }
    }

    /// Returns the distance between the neighbors of an inner point, relative to its age.
    fn cost(&self, i: usize, now: i64) -> u64 {
        let (previous, next) = self.links[i];
        let width = self.points[next].first.get().saturating_sub(self.points[previous].last.get()).max(0);
        let age = now.saturating_sub(self.points[i].first.get()).max(1);
        let relative = (u128::from(width.unsigned_abs()) << 32) / u128::from(age.unsigned_abs());
        u64::try_from(relative).unwrap_or(u64::MAX)
    }

    /// Removes an inner point.
    fn remove(&mut self, i: usize) {
        let (previous, next) = self.links[i];
        self.links[previous].1 = next;
        self.links[next].0 = previous;
        self.removed += 1;
    }

    fn remaining(&self) -> Vec<EndPoint> {
        let next = |i: &usize| Some(self.links[*i].1).filter(|next| *next < self.points.len());
        let start = Some(0).filter(|_| !self.points.is_empty());
        std::iter::successors(start, next).map(|i| self.points[i]).collect()
    }
}
