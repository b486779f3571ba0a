//! When a group will have read all, and when messages will be deleted before it reads them. Pure.

use crate::model::{Span, TopicStatus};

/// Where the oldest messages of a topic's partitions were, and when: retention moves in steps of segments, and
/// a trend is one over several steps.
#[derive(Debug, Default)]
pub struct StartHistory {}

impl StartHistory {
    /// Notes the start offsets of a status.
    pub fn record(&mut self, _: &TopicStatus, _: Span) {}

    /// Forgets all: the topic was created anew.
    pub fn forget(&mut self) {}

    /// Bytes of memory held, without the allocator's own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        0
    }
}
