//! Lag in messages, and what retention did to it: partition, then topic, then group. Pure.
//!
//! Owns: the arithmetic between a committed offset, an end offset and a start offset. Refuses: clocks,
//! I/O, and guessing: a sum is over the partitions whose lag is known, and absent if none is.

use crate::model::{
    Anomaly, AnomalyKind, GroupProgress, Offset, Partition, PartitionProgress, TopicName, TopicProgress,
    UnixMillis,
};

/// What a group has left to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLag {
    /// Messages over all topics whose lag is known; 0 for a group that has no topics.
    pub messages: Option<u64>,
    /// Each topic once, sorted by name.
    pub topics: Vec<TopicLag>,
}

/// What a group has left to read of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicLag {
    /// The topic.
    pub topic: TopicName,
    /// Messages over all partitions whose lag is known.
    pub messages: Option<u64>,
    /// Each partition once, sorted by number.
    pub partitions: Vec<PartitionLag>,
}

impl TopicLag {
    /// Whether the group has committed an offset on this topic.
    #[must_use]
    pub fn is_consumed(&self) -> bool {
        self.partitions.iter().any(|p| p.committed.is_some())
    }
}

/// What a group has left to read of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLag {
    /// The partition.
    pub partition: Partition,
    /// The committed offset (`ConsumerOffset`).
    pub committed: Option<Offset>,
    /// End offset less committed offset of the same answer, at least 0.
    pub messages: Option<u64>,
    /// Store time of the last consumed message (`LastTimestamp`).
    pub last_consumed: Option<UnixMillis>,
}

/// What retention means for a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Messages between the oldest one held and the committed offset; `None` once messages are lost.
    pub margin: Option<u64>,
    /// Messages that were deleted before the group read them.
    pub lost: u64,
}

/// Computes the lag of a group from one answer.
///
/// Partitions and topics come out in the order that they have in `progress`. The anomalies are offsets
/// past the end ([`AnomalyKind::Clamped`]) and a server total that differs from the sum of all of its
/// parts ([`AnomalyKind::TotalMismatch`]).
#[must_use]
pub fn group(progress: &GroupProgress) -> (GroupLag, Vec<Anomaly>) {
    let mut anomalies = Vec::new();
    let topics: Vec<TopicLag> = progress.topics.iter().map(|t| topic(t, &mut anomalies)).collect();
    let messages = if topics.is_empty() { Some(0) } else { sum(topics.iter().map(|t| t.messages)) };
    let whole = topics.iter().all(|t| t.partitions.iter().all(|p| p.messages.is_some()));
    check_total(progress.total_diff, messages.filter(|_| whole), "the group", &mut anomalies);
    (GroupLag { messages, topics }, anomalies)
}

/// Compares a committed offset with the oldest offset held (`MinOffset`). The two come from different
/// answers; the start offset only grows, so an older one errs towards a larger margin.
#[must_use]
pub fn retention(committed: Offset, start: Offset) -> Retention {
    let margin = committed.minus(start);
    Retention { margin: u64::try_from(margin).ok(), lost: margin.min(0).unsigned_abs() }
}

fn topic(progress: &TopicProgress, anomalies: &mut Vec<Anomaly>) -> TopicLag {
    let partitions: Vec<PartitionLag> = progress
        .partitions
        .iter()
        .map(|p| PartitionLag {
            partition: p.partition,
            committed: p.committed,
            messages: partition(&progress.topic, p, anomalies),
            last_consumed: p.last_consumed,
        })
        .collect();
    let messages = sum(partitions.iter().map(|p| p.messages));
    let whole = partitions.iter().all(|p| p.messages.is_some());
    check_total(progress.total_diff, messages.filter(|_| whole), progress.topic.as_str(), anomalies);
    TopicLag { topic: progress.topic.clone(), messages, partitions }
}

fn partition(topic: &TopicName, p: &PartitionProgress, anomalies: &mut Vec<Anomaly>) -> Option<u64> {
    let lag = p.end?.minus(p.committed?);
    if lag < 0 {
        anomalies.push(Anomaly {
            kind: AnomalyKind::Clamped,
            detail: format!("topic {topic} partition {}: committed offset past the end", p.partition.0),
        });
    }
    Some(lag.max(0).unsigned_abs())
}

/// The sum of what is known; `None` if nothing is. Saturates, as 2^64 messages cannot be.
fn sum(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    values.flatten().fold(None, |sum, v| Some(sum.unwrap_or(0u64).saturating_add(v)))
}

fn check_total(server: Option<i64>, ours: Option<u64>, of: &str, anomalies: &mut Vec<Anomaly>) {
    let (Some(server), Some(ours)) = (server, ours) else { return };
    if i128::from(server) != i128::from(ours) {
        anomalies.push(Anomaly {
            kind: AnomalyKind::TotalMismatch,
            detail: format!("TotalDiff of {of} is {server}, the sum of its partitions is {ours}"),
        });
    }
}
