//! Compact storage of the points of one partition.
//!
//! Owns: the memory layout. The oldest point is stored as it is, the others as distances from it in 12 bytes. If a
//! distance does not fit (49 days, or 2^32 messages), all are stored in full, so no precision is lost.

use super::EndPoint;
use crate::model::{Offset, Partition, UnixMillis};

/// Points of one partition, at least one. End offsets increase strictly, and both times with them.
#[derive(Debug, Clone)]
pub(super) struct EndSeries {
    partition: Partition,
    oldest: EndPoint,
    later: LaterPoints,
}

#[derive(Debug, Clone)]
enum LaterPoints {
    Packed(Vec<PackedPoint>),
    Full(Vec<EndPoint>),
}

/// Point as its distance from the oldest point, in messages and milliseconds.
#[derive(Debug, Clone, Copy)]
struct PackedPoint {
    end: u32,
    first: u32,
    last: u32,
}

/// Size of a packed point.
pub(super) const PACKED_POINT_BYTES: usize = size_of::<PackedPoint>();

impl PackedPoint {
    fn new(oldest: EndPoint, point: EndPoint) -> Option<Self> {
        let distance = |time: UnixMillis, base: UnixMillis| u32::try_from(time.get() - base.get()).ok();
        Some(Self {
            end: u32::try_from(point.end.minus(oldest.end)).ok()?,
            first: distance(point.first, oldest.first)?,
            last: distance(point.last, oldest.last)?,
        })
    }

    /// Unpacks the point. Never `None`, because the point was valid before it was packed.
    fn unpack(self, oldest: EndPoint) -> Option<EndPoint> {
        let time =
            |base: UnixMillis, distance: u32| UnixMillis::new(base.get().checked_add(distance.into())?);
        Some(EndPoint {
            end: Offset::new(oldest.end.get().checked_add(self.end.into())?)?,
            first: time(oldest.first, self.first)?,
            last: time(oldest.last, self.last)?,
        })
    }
}

impl EndSeries {
    pub(super) fn new(partition: Partition, point: EndPoint) -> Self {
        Self { partition, oldest: point, later: LaterPoints::Packed(Vec::new()) }
    }

    pub(super) fn partition(&self) -> Partition {
        self.partition
    }

    pub(super) fn len(&self) -> usize {
        1 + match &self.later {
            LaterPoints::Packed(points) => points.len(),
            LaterPoints::Full(points) => points.len(),
        }
    }

    pub(super) fn get(&self, i: usize) -> Option<EndPoint> {
        let Some(i) = i.checked_sub(1) else { return Some(self.oldest) };
        match &self.later {
            LaterPoints::Packed(points) => points.get(i)?.unpack(self.oldest),
            LaterPoints::Full(points) => points.get(i).copied(),
        }
    }

    pub(super) fn newest(&self) -> EndPoint {
        self.get(self.len() - 1).unwrap_or(self.oldest)
    }

    /// Returns the points, oldest first.
    pub(super) fn points(&self) -> impl Iterator<Item = EndPoint> + '_ {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    /// Returns the position of the first point that ends beyond `offset`, or the number of points.
    pub(super) fn first_beyond(&self, offset: Offset) -> usize {
        self.partition_point(|p| p.end <= offset)
    }

    /// Returns the position of the first point last observed after `time`, or the number of points.
    pub(super) fn first_seen_after(&self, time: UnixMillis) -> usize {
        self.partition_point(|p| p.last <= time)
    }

    fn partition_point(&self, is_before: impl Fn(EndPoint) -> bool) -> usize {
        match &self.later {
            _ if !is_before(self.oldest) => 0,
            LaterPoints::Packed(points) => {
                1 + points.partition_point(|p| p.unpack(self.oldest).is_some_and(&is_before))
            }
            LaterPoints::Full(points) => 1 + points.partition_point(|p| is_before(*p)),
        }
    }

    /// Appends a point that ends beyond all others.
    pub(super) fn push(&mut self, point: EndPoint) {
        match (&mut self.later, PackedPoint::new(self.oldest, point)) {
            (LaterPoints::Packed(points), Some(packed)) => push_compactly(points, packed),
            (LaterPoints::Full(points), _) => push_compactly(points, point),
            (LaterPoints::Packed(_), None) => {
                let mut points: Vec<EndPoint> = self.points().skip(1).collect();
                push_compactly(&mut points, point);
                self.later = LaterPoints::Full(points);
            }
        }
    }

    /// Replaces the newest point.
    pub(super) fn set_newest(&mut self, point: EndPoint) {
        let popped = match &mut self.later {
            LaterPoints::Packed(points) => points.pop().is_some(),
            LaterPoints::Full(points) => points.pop().is_some(),
        };
        if popped {
            self.push(point);
        } else {
            self.oldest = point;
        }
    }

    /// Limits the first observation of all points to `time`, at which a response reported an end as large.
    pub(super) fn limit_first(&mut self, time: UnixMillis) {
        if self.newest().first > time {
            let points: Vec<EndPoint> =
                self.points().map(|p| EndPoint { first: p.first.min(time), ..p }).collect();
            self.replace(&points);
        }
    }

    /// Replaces all points by at least one other.
    pub(super) fn replace(&mut self, points: &[EndPoint]) {
        let Some((oldest, later)) = points.split_first() else { return };
        self.oldest = *oldest;
        let packed: Option<Vec<PackedPoint>> = later.iter().map(|p| PackedPoint::new(*oldest, *p)).collect();
        self.later = packed.map_or_else(|| LaterPoints::Full(later.to_vec()), LaterPoints::Packed);
    }

    pub(super) fn shrink(&mut self) {
        match &mut self.later {
            LaterPoints::Packed(points) => points.shrink_to_fit(),
            LaterPoints::Full(points) => points.shrink_to_fit(),
        }
    }

    /// Returns the memory used in addition to the struct itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.later {
            LaterPoints::Packed(points) => points.capacity() * size_of::<PackedPoint>(),
            LaterPoints::Full(points) => points.capacity() * size_of::<EndPoint>(),
        }
    }
}

/// Appends an item without doubling the capacity, because there are many short lists.
fn push_compactly<T>(items: &mut Vec<T>, item: T) {
    if items.len() == items.capacity() {
        items.reserve_exact(1 + items.len() / 8);
    }
    items.push(item);
}
