//! The age of the oldest unread message, as a bracket: a floor that it is certainly not below, and a ceiling
//! that it is certainly not above. Partition, then topic, then group. Pure.
//!
//! Owns: which terms apply and how they are joined. Refuses: extrapolation; a term whose input is unknown
//! drops out.

use std::time::Duration;

use super::{GroupLag, forecast::StartHistory, history::EndHistory};
use crate::model::{Anomaly, Cleanup, Span, TopicName, TopicStatus};

/// Bounds of the age of the oldest unread message, in milliseconds; both 0 where all is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Age {
    /// Not younger than this.
    pub floor: Option<u64>,
    /// Not older than this.
    pub ceiling: Option<u64>,
}

/// What is known of a topic beside what the group's answer says.
#[derive(Debug, Clone, Copy, Default)]
pub struct TopicFacts<'a> {
    /// Where its ends were.
    pub history: Option<&'a EndHistory>,
    /// What it holds (`GetTopicStatus`), as it was told.
    pub status: Option<&'a TopicStatus>,
    /// Where its oldest messages were.
    pub starts: Option<&'a StartHistory>,
    /// How old messages go (`CompactTopic`).
    pub cleanup: Option<Cleanup>,
    /// How long messages are kept (`MsgRetain` of the instance).
    pub retention: Option<Duration>,
}

/// The ages of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupAges {
    /// The largest of its topics.
    pub group: Age,
    /// In the order of the group's topics.
    pub topics: Vec<TopicAges>,
}

/// The ages of a group on one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicAges {
    /// The largest of its partitions.
    pub topic: Age,
    /// In the order of the topic's partitions.
    pub partitions: Vec<Age>,
}

/// What each term of a bracket says, in milliseconds, for whoever wants to see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// Ceiling: since the last message that was read was stored (`LastTimestamp`).
    pub last_consumed: Option<u64>,
    /// Ceiling: since the newest poll at which the partition ended at or before the committed offset.
    pub not_written_at: Option<u64>,
    /// Floor: since the newest message was written (`LastUpdateTimestamp`).
    pub last_write: Option<u64>,
    /// Floor: since the oldest poll at which the partition ended past the committed offset.
    pub written_at: Option<u64>,
}

/// The ages at the moment of an answer. The anomalies are brackets that contradict themselves: those are
/// withheld.
#[must_use]
pub fn ages<'a>(
    lag: &GroupLag,
    _now: Span,
    _facts: impl Fn(&TopicName) -> TopicFacts<'a>,
) -> (GroupAges, Vec<Anomaly>) {
    let topics = lag
        .topics
        .iter()
        .map(|t| TopicAges { topic: Age::default(), partitions: vec![Age::default(); t.partitions.len()] });
    (GroupAges { group: Age::default(), topics: topics.collect() }, Vec::new())
}

/// The terms of a partition's bracket at the moment of an answer.
#[must_use]
pub fn terms(_: &super::PartitionLag, _now: Span, _facts: &TopicFacts<'_>) -> Terms {
    Terms::default()
}
