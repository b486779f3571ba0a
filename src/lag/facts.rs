//! Facts about a topic that a group's own poll does not report, e.g. its status and offset histories.

use std::time::Duration;

use super::{end_history::EndHistory, start_history::StartHistory};
use crate::model::{Cleanup, Offset, Partition, TopicStatus};

/// Everything known about a topic except for the progress of its groups.
#[derive(Debug, Clone, Copy, Default)]
pub struct TopicFacts<'a> {
    /// End offsets over time.
    pub ends: Option<&'a EndHistory>,
    /// Start offsets over time.
    pub starts: Option<&'a StartHistory>,
    /// Last poll result of `GetTopicStatus`.
    pub status: Option<&'a TopicStatus>,
    /// Cleanup policy (`CompactTopic`).
    pub cleanup: Option<Cleanup>,
    /// Message retention (`MsgRetain` of the instance).
    pub retention: Option<Duration>,
}

impl TopicFacts<'_> {
    /// Whether compaction may delete messages of any age.
    pub(super) fn is_compacted(&self) -> bool {
        self.cleanup == Some(Cleanup::Compact)
    }

    /// Returns the start offset of a partition (`MinOffset`).
    pub(super) fn start(&self, partition: Partition) -> Option<Offset> {
        self.status?.start(partition)
    }
}
