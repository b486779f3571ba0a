//! The points of one partition in little memory.
//!
//! Owns: how points are laid out. The oldest is held as it is, the others by their distance from it, in 12
//! bytes; where a distance does not fit (49 days, or four thousand million messages) they all are held as they
//! are. Refuses: to lose a digit. Both times of the points grow with their ends, so that points are searched.

use super::Point;
use crate::model::{Offset, Partition, UnixMillis};

/// The points of a partition, at least one. Ends grow strictly, both times grow.
#[derive(Debug)]
pub(super) struct Series {
    partition: Partition,
    oldest: Point,
    later: Later,
}

#[derive(Debug)]
enum Later {
    Near(Vec<Near>),
    Far(Vec<Point>),
}

/// How far a point is from the oldest one.
#[derive(Debug, Clone, Copy)]
struct Near {
    end: u32,
    first: u32,
    last: u32,
}

/// Memory of a point that is near to the oldest one.
pub(super) const NEAR_BYTES: usize = size_of::<Near>();

impl Near {
    fn new(base: Point, point: Point) -> Option<Self> {
        let millis = |t: UnixMillis, base: UnixMillis| u32::try_from(t.get() - base.get()).ok();
        Some(Self {
            end: u32::try_from(point.end.minus(base.end)).ok()?,
            first: millis(point.first, base.first)?,
            last: millis(point.last, base.last)?,
        })
    }

    /// `None` cannot be: the sum is that of a point that was there.
    fn point(self, base: Point) -> Option<Point> {
        let millis = |t: UnixMillis, more: u32| UnixMillis::new(t.get().checked_add(i64::from(more))?);
        Some(Point {
            end: Offset::new(base.end.get().checked_add(i64::from(self.end))?)?,
            first: millis(base.first, self.first)?,
            last: millis(base.last, self.last)?,
        })
    }
}

impl Series {
    pub(super) fn new(partition: Partition, point: Point) -> Self {
        Self { partition, oldest: point, later: Later::Near(Vec::new()) }
    }

    pub(super) fn partition(&self) -> Partition {
        self.partition
    }

    pub(super) fn len(&self) -> usize {
        1 + match &self.later {
            Later::Near(points) => points.len(),
            Later::Far(points) => points.len(),
        }
    }

    pub(super) fn get(&self, i: usize) -> Option<Point> {
        let Some(i) = i.checked_sub(1) else { return Some(self.oldest) };
        match &self.later {
            Later::Near(points) => points.get(i)?.point(self.oldest),
            Later::Far(points) => points.get(i).copied(),
        }
    }

    pub(super) fn newest(&self) -> Point {
        self.get(self.len() - 1).unwrap_or(self.oldest)
    }

    /// Oldest first.
    pub(super) fn points(&self) -> impl Iterator<Item = Point> + '_ {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    /// The first point that ends past an offset; the number of points if none does.
    pub(super) fn past(&self, offset: Offset) -> usize {
        self.search(|p| p.end > offset)
    }

    /// The first point that was last seen later than a moment; the number of points if none was.
    pub(super) fn later_than(&self, moment: UnixMillis) -> usize {
        self.search(|p| p.last > moment)
    }

    fn search(&self, is_past: impl Fn(Point) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle) {
                Some(point) if !is_past(point) => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// Adds a point past all others.
    pub(super) fn push(&mut self, point: Point) {
        match (&mut self.later, Near::new(self.oldest, point)) {
            (Later::Near(points), Some(near)) => push(points, near),
            (Later::Far(points), _) => push(points, point),
            (Later::Near(_), None) => {
                let mut points: Vec<Point> = self.points().skip(1).collect();
                push(&mut points, point);
                self.later = Later::Far(points);
            }
        }
    }

    /// Replaces the newest point.
    pub(super) fn set_newest(&mut self, point: Point) {
        let popped = match &mut self.later {
            Later::Near(points) => points.pop().is_some(),
            Later::Far(points) => points.pop().is_some(),
        };
        if popped {
            self.push(point);
        } else {
            self.oldest = point;
        }
    }

    /// All ends were reached by a moment: that of an answer with an end that is as large.
    pub(super) fn not_later_than(&mut self, moment: UnixMillis) {
        if self.newest().first > moment {
            let points: Vec<Point> =
                self.points().map(|p| Point { first: p.first.min(moment), ..p }).collect();
            self.replace(&points);
        }
    }

    /// Replaces all points by at least one.
    pub(super) fn replace(&mut self, points: &[Point]) {
        let Some((oldest, later)) = points.split_first() else { return };
        self.oldest = *oldest;
        let near: Option<Vec<Near>> = later.iter().map(|p| Near::new(*oldest, *p)).collect();
        self.later = near.map_or_else(|| Later::Far(later.to_vec()), Later::Near);
    }

    pub(super) fn shrink(&mut self) {
        match &mut self.later {
            Later::Near(points) => points.shrink_to_fit(),
            Later::Far(points) => points.shrink_to_fit(),
        }
    }

    /// Bytes beside the struct itself.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.later {
            Later::Near(points) => points.capacity() * size_of::<Near>(),
            Later::Far(points) => points.capacity() * size_of::<Point>(),
        }
    }
}

/// Adds an item without the doubling of capacity: there are many short lists.
fn push<T>(items: &mut Vec<T>, item: T) {
    if items.len() == items.capacity() {
        items.reserve_exact(1 + items.len() / 8);
    }
    items.push(item);
}
