//! Where the ends of one topic's partitions were, and when: what poll history says of when an offset was
//! written. Pure.
//!
//! Owns: the points, how they are merged, thinned and forgotten, and whether message times of a partition are
//! to be believed. Refuses: extrapolation, and points that no answer has told.

use std::time::Duration;

use crate::model::{Offset, Partition, Span, UnixMillis};

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
pub struct EndHistory {}

impl EndHistory {
    /// Notes where partitions ended. An end below a newer one is not noted: calls overtake each other.
    /// `spacing` is the interval of polls: points are merged as long as none is farther than that from the next.
    pub fn record(&mut self, _: impl Iterator<Item = (Partition, Offset)>, _: Span, _spacing: Duration) {}

    /// Checks a message time against what polls tell of its offset. If they contradict each other, whoever
    /// stamped it has another clock: times of this partition are not believed for a while. Returns whether that
    /// is news.
    pub fn check(&mut self, _: Partition, _: Offset, _stamp: UnixMillis, _now: Span) -> bool {
        false
    }

    /// Whether message times of a partition are to be believed.
    #[must_use]
    pub fn believes(&self, _: Partition, _now: Span) -> bool {
        true
    }

    /// When the message at an offset was written.
    #[must_use]
    pub fn written(&self, _: Partition, _: Offset) -> Written {
        Written::default()
    }

    /// The newest end that is known.
    #[must_use]
    pub fn newest(&self, _: Partition) -> Option<Point> {
        None
    }

    /// The points of a partition, oldest first.
    pub fn points(&self, _: Partition) -> impl Iterator<Item = Point> + '_ {
        std::iter::empty()
    }

    /// Forgets what nobody will ask for: points below the smallest offset that a reader of the partition has
    /// committed, but for the newest of them; all but the newest point where nobody reads. Then thins out until
    /// no more than `room` points are left in all, the least missed first.
    pub fn prune(&mut self, _needed: impl Fn(Partition) -> Option<Offset>, _room: usize) {}

    /// Forgets all: the topic was created anew.
    pub fn forget(&mut self) {}

    /// Points held.
    #[must_use]
    pub fn len(&self) -> usize {
        0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held, without the allocator's own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        0
    }
}
