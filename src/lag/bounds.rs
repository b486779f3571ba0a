//! Lag in seconds: bounds of the age of the oldest unread message, for partitions, topics and groups. Pure.
//!
//! Owns: which candidates apply and how they combine. A candidate with unknown input drops out. Out of scope:
//! extrapolation.
//!
//! A response describes one unknown moment of its time span. An upper bound therefore reaches from the earliest time
//! of the message to the latest "now", a lower bound from the latest time to the earliest "now". The topic's status
//! and history come from other moments. The topic may have been recreated, or messages deleted, in between: each
//! candidate is valid in either order.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{
    GroupLag, PartitionLag, TopicLag,
    end_history::{CLOCK_TOLERANCE_MS, EndPoint},
    facts::TopicFacts,
};
use crate::model::{Anomaly, AnomalyKind, Offset, TimeSpan, TopicName, UnixMillis};

#[cfg(test)]
mod tests;

/// Bounds of the age of the oldest unread message, in milliseconds. Serializes as seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TimeBounds {
    /// The message is at least this old.
    #[serde(rename = "lag_floor_seconds", serialize_with = "serialize_seconds")]
    pub lower: Option<u64>,
    /// The message is at most this old.
    #[serde(rename = "lag_seconds", serialize_with = "serialize_seconds")]
    pub upper: Option<u64>,
}

fn serialize_seconds<S: Serializer>(millis: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    millis.map(|millis| millis as f64 / 1e3).serialize(serializer)
}

/// Bounds of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupBounds {
    /// Maximum over the topics.
    pub group: TimeBounds,
    /// In the order of the group's topics.
    pub topics: Vec<TopicBounds>,
}

/// Bounds of a group on one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicBounds {
    /// Maximum over the partitions.
    pub topic: TimeBounds,
    /// In the order of the topic's partitions.
    pub partitions: Vec<TimeBounds>,
}

/// Candidates for the bounds of one partition, in milliseconds: the smallest upper and the largest lower one count.
/// All are `None` without lag. `/debug/state` calls them terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BoundCandidates {
    /// Upper bound: time since the last consumed message was stored (`LastTimestamp`).
    pub last_consumed: Option<u64>,
    /// Upper bound: time since the latest poll at which the end offset was at or before the first unread message.
    pub not_written_at: Option<u64>,
    /// Lower bound: time since the newest message was written (`LastUpdateTimestamp`).
    pub last_write: Option<u64>,
    /// Lower bound: time since the earliest poll at which the end offset was beyond an unread message that is
    /// certainly retained.
    pub written_at: Option<u64>,
}

/// Computes the bounds at the time of a poll. The anomalies are lower bounds that exceed their upper bound; both
/// bounds of such a partition are `None`.
#[must_use]
pub fn compute_bounds<'a>(
    lag: &GroupLag,
    now: TimeSpan,
    facts: impl Fn(&TopicName) -> TopicFacts<'a>,
) -> (GroupBounds, Vec<Anomaly>) {
    let mut anomalies = Vec::new();
    let mut group = if lag.topics.is_empty() { Some(TimeBounds::ZERO) } else { None };
    let mut topics = Vec::with_capacity(lag.topics.len());
    for topic in &lag.topics {
        let facts = facts(&topic.topic);
        let partitions: Vec<Option<TimeBounds>> = topic
            .partitions
            .iter()
            .map(|p| partition_bounds(topic, p, now, &facts, &mut anomalies))
            .collect();
        let max = partitions.iter().copied().fold(None, max_bounds);
        group = max_bounds(group, max);
        topics.push(TopicBounds {
            topic: max.unwrap_or_default(),
            partitions: partitions.into_iter().map(Option::unwrap_or_default).collect(),
        });
    }
    (GroupBounds { group: group.unwrap_or_default(), topics }, anomalies)
}

/// Computes the candidates for a partition's bounds at the time of a poll.
#[must_use]
pub fn bound_candidates(p: &PartitionLag, now: TimeSpan, facts: &TopicFacts<'_>) -> BoundCandidates {
    match unread_messages(p, now, facts) {
        UnreadMessages::Some(candidates) => candidates,
        UnreadMessages::Unknown | UnreadMessages::None => BoundCandidates::default(),
    }
}

impl TimeBounds {
    /// Bounds without lag.
    pub const ZERO: Self = Self { lower: Some(0), upper: Some(0) };
}

impl BoundCandidates {
    /// Combines the candidates; `None` if they contradict each other by more than the tolerance between clocks.
    fn bounds(self) -> Option<TimeBounds> {
        // The response itself reports unread messages, so 0 is a lower bound.
        let lower = self.last_write.max(self.written_at).unwrap_or(0);
        let upper = [self.last_consumed, self.not_written_at].into_iter().flatten().min();
        match upper {
            Some(upper) if lower > upper => {
                let is_tolerable = lower - upper <= CLOCK_TOLERANCE_MS.unsigned_abs();
                // The true age is near both, so swapping them makes the bounds wide enough.
                is_tolerable.then_some(TimeBounds { lower: Some(upper), upper: Some(lower) })
            }
            _ => Some(TimeBounds { lower: Some(lower), upper }),
        }
    }
}

/// Computes the bounds of a partition; `None` while its lag is unknown.
fn partition_bounds(
    topic: &TopicLag,
    p: &PartitionLag,
    now: TimeSpan,
    facts: &TopicFacts<'_>,
    anomalies: &mut Vec<Anomaly>,
) -> Option<TimeBounds> {
    let candidates = match unread_messages(p, now, facts) {
        UnreadMessages::Unknown => return None,
        UnreadMessages::None => return Some(TimeBounds::ZERO),
        UnreadMessages::Some(candidates) => candidates,
    };
    let bounds = candidates.bounds();
    if bounds.is_none() {
        anomalies.push(Anomaly {
            kind: AnomalyKind::Contradiction,
            detail: format!(
                "topic {} partition {}: the lower bound of the lag in seconds exceeds the upper bound",
                topic.topic, p.partition.0
            ),
        });
    }
    Some(bounds.unwrap_or_default())
}

/// Returns the maximum of bounds, ignoring partitions whose lag is unknown (`None`). If one part
/// has no upper bound, neither has the maximum.
fn max_bounds(a: Option<TimeBounds>, b: Option<TimeBounds>) -> Option<TimeBounds> {
    let (Some(a), Some(b)) = (a, b) else { return a.or(b) };
    let upper = a.upper.zip(b.upper).map(|(a, b)| a.max(b));
    Some(TimeBounds { lower: a.lower.max(b.lower), upper })
}

/// Unread messages of a partition.
enum UnreadMessages {
    /// The lag is unknown.
    Unknown,
    /// No lag, or every unread message has been deleted.
    None,
    Some(BoundCandidates),
}

fn unread_messages(p: &PartitionLag, now: TimeSpan, facts: &TopicFacts<'_>) -> UnreadMessages {
    let (Some(messages), Some(committed), Some(end)) = (p.messages, p.committed, p.end) else {
        return UnreadMessages::Unknown;
    };
    if messages == 0 {
        return UnreadMessages::None;
    }
    let status = facts.status.and_then(|s| s.partition(p.partition));
    let start = status.and_then(|s| s.start);
    // A status that ends beyond this response is newer, or the topic has been recreated since.
    let status_is_older = status.and_then(|s| s.end).is_none_or(|status_end| status_end <= end)
        && start.is_none_or(|s| s <= end);
    if status_is_older && start == Some(end) {
        return UnreadMessages::None;
    }
    // Messages before the start are deleted. A later first message lowers the lower bound, an earlier one raises the
    // upper bound, so an uncertain start counts only for lower bounds.
    let first_retained = start.map_or(committed, |s| s.max(committed));
    let first_unread = if status_is_older { first_retained } else { committed };

    let is_trusted = facts.ends.is_none_or(|h| h.trusts_timestamps(p.partition, now));
    // Compaction may have deleted any message but the newest, retention any message older than this.
    let retention = facts.retention.filter(|_| !facts.is_compacted());
    let retained_since = retention.and_then(|retention| subtract(now.latest(), retention));
    let is_retained = |written: UnixMillis| retained_since.is_none_or(|since| written > since);

    let last_consumed = p
        .last_consumed
        .filter(|t| is_trusted && t.get().saturating_sub(now.latest().get()) <= CLOCK_TOLERANCE_MS)
        .map(|t| elapsed_ms(t, now.latest()));
    // Polls from before the topic was recreated precede all its messages, so they are valid here too.
    let not_written_at = facts
        .ends
        .and_then(|h| h.write_interval(p.partition, first_unread).not_before)
        .filter(|t| *t <= now.latest())
        .map(|t| elapsed_ms(t, now.latest()));
    // Compaction keeps the newest message of the partition, but not one that was the newest earlier.
    let newest_is_unread = |end_then: Offset| {
        end_then > first_retained && status_is_older && (!facts.is_compacted() || end_then == end)
    };
    let last_write = status
        .filter(|s| is_trusted && s.end.is_some_and(newest_is_unread))
        .and_then(|s| s.last_write)
        .filter(|t| *t <= now.latest() && is_retained(*t))
        .map(|t| elapsed_ms(t, now.earliest()));
    let is_recreated = |newest: EndPoint| newest.end > end && now.earliest() > newest.first;
    let written_at = facts
        .ends
        .filter(|h| !facts.is_compacted() && !h.newest(p.partition).is_some_and(is_recreated))
        .and_then(|h| h.written_by(p.partition, first_retained, retained_since))
        .map(|t| elapsed_ms(t, now.earliest()));
    UnreadMessages::Some(BoundCandidates { last_consumed, not_written_at, last_write, written_at })
}

/// Returns the milliseconds from `earlier` to `later`, at least 0.
fn elapsed_ms(earlier: UnixMillis, later: UnixMillis) -> u64 {
    u64::try_from(later.get().saturating_sub(earlier.get())).unwrap_or(0)
}

fn subtract(time: UnixMillis, duration: Duration) -> Option<UnixMillis> {
    UnixMillis::new(time.get().checked_sub(i64::try_from(duration.as_millis()).ok()?)?)
}
