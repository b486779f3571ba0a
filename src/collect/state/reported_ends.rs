//! End offsets of a topic as reported by its groups (`BrokerOffset`), which refine the `MaxOffset` of its status.
//!
//! Groups are polled more often than topics. Of two sources, the larger end offset wins as long as neither response
//! is much older than the other: calls overtake each other, and an end offset that steps back by a few messages looks
//! like a counter reset. After a topic was recreated, only its next status is used.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::{Duration, Instant};

use super::topic_identity::{TopicIdentity, status_end};
use crate::model::{GroupId, Offset, Partition, TopicProgress, TopicStatus};

/// End offsets that the responses about groups report for one topic.
#[derive(Debug, Default)]
pub(super) struct ReportedEnds {
    by_partition: BTreeMap<Partition, ReportedEnd>,
    /// Whether the topic was recreated since its last status.
    is_recreated: bool,
}

#[derive(Debug)]
struct ReportedEnd {
    end: Offset,
    at: Instant,
    by: GroupId,
}

impl ReportedEnds {
    /// Records the end offsets that a group's response reports. `max_age` is the age up to which the end offset
    /// of one group takes precedence over a lower one of another group.
    pub(super) fn record(
        &mut self,
        group: &GroupId,
        topic: &TopicProgress,
        status: Option<&TopicStatus>,
        max_age: Duration,
        now: Instant,
    ) -> TopicIdentity {
        let ends = || topic.partitions.iter().filter_map(|p| Some((p.partition, p.end?)));
        let fell = ends().any(|(partition, end)| {
            self.by_partition.get(&partition).is_some_and(|known| known.by == *group && end < known.end)
        });
        if fell {
            self.by_partition.clear();
            self.is_recreated = true;
            return TopicIdentity::Recreated;
        }
        for (partition, end) in ends() {
            let known = self.by_partition.get(&partition);
            if known.is_none_or(|known| end >= known.end || now.duration_since(known.at) > max_age) {
                self.by_partition.insert(partition, ReportedEnd { end, at: now, by: group.clone() });
            }
        }
        let is_behind = |(partition, end)| status.and_then(|s| status_end(s, partition)) > Some(end);
        if ends().any(is_behind) { TopicIdentity::Unclear } else { TopicIdentity::Same }
    }

    /// Records that the topic has a new status.
    pub(super) fn record_status(&mut self, identity: TopicIdentity) {
        if identity == TopicIdentity::Recreated {
            self.by_partition.clear();
        }
        self.is_recreated = false;
    }

    /// Whether groups have reported the end offset of every partition of `status` within `max_age`.
    pub(super) fn cover(&self, status: &TopicStatus, max_age: Duration, now: Instant) -> bool {
        let is_reported = |partition| {
            self.by_partition.get(&partition).is_some_and(|known| now.duration_since(known.at) <= max_age)
        };
        !status.partitions.is_empty() && status.partitions.iter().all(|p| is_reported(p.partition))
    }

    /// Returns the status with the larger of its own and the reported end offsets. Returns the same allocation
    /// if none is larger.
    pub(super) fn merge(
        &self,
        (status, polled_at): (&Arc<TopicStatus>, Instant),
        max_age: Duration,
    ) -> Arc<TopicStatus> {
        let larger_end = |partition: Partition, own: Option<Offset>| {
            let reported = self.by_partition.get(&partition)?;
            let counts = !self.is_recreated && polled_at <= reported.at + max_age;
            (counts && reported.end > own?).then_some(reported.end)
        };
        if !status.partitions.iter().any(|p| larger_end(p.partition, p.end).is_some()) {
            return Arc::clone(status);
        }
        let mut merged = TopicStatus::clone(status);
        for p in &mut merged.partitions {
            p.end = larger_end(p.partition, p.end).or(p.end);
        }
        Arc::new(merged)
    }
}
