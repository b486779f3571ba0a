//! End offsets of a topic as the answers about groups tell them (`BrokerOffset`), which may stand in for the
//! `MaxOffset` of its own status.
//!
//! Between two sources the larger end counts, while the answer of the one is not much older than that of
//! the other: calls overtake each other, and an end offset that steps back by a few messages reads as a
//! counter that began anew. A source is compared with its own earlier word only: an end that fell there
//! means a topic that was created anew. Then nothing stands in until the next status.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::{Duration, Instant};

use crate::model::{GroupId, Offset, Partition, TopicProgress, TopicStatus};

/// What groups' answers have told of one topic.
#[derive(Debug, Default)]
pub(super) struct ReportedEnds {
    told: BTreeMap<Partition, ReportedEnd>,
    /// The topic was created anew since the last status.
    fell: bool,
}

#[derive(Debug)]
struct ReportedEnd {
    end: Offset,
    at: Instant,
    by: GroupId,
}

/// What an answer about a group means for a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndComparison {
    /// All is in order.
    Good,
    /// The topic ends before where its status says that it does. The status may be of a topic that was
    /// created anew since, or the two sources do not agree.
    Behind,
    /// An end fell against the same group's earlier word: the topic was created anew.
    Fell,
}

impl ReportedEnds {
    /// Takes what an answer about a group tells. `window` is how much older the answer of one source may be
    /// than that of another.
    pub(super) fn hear(
        &mut self,
        group: &GroupId,
        topic: &TopicProgress,
        status: Option<&TopicStatus>,
        window: Duration,
        now: Instant,
    ) -> EndComparison {
        let ends = || topic.partitions.iter().filter_map(|p| Some((p.partition, p.end?)));
        let fell = |(p, end): (Partition, Offset)| {
            self.told.get(&p).is_some_and(|told| told.by == *group && end < told.end)
        };
        if ends().any(fell) {
            self.told.clear();
            self.fell = true;
            return EndComparison::Fell;
        }
        for (partition, end) in ends() {
            let before = self.told.get(&partition);
            if before.is_none_or(|told| end >= told.end || now.duration_since(told.at) > window) {
                self.told.insert(partition, ReportedEnd { end, at: now, by: group.clone() });
            }
        }
        let behind =
            |(p, end): (Partition, Offset)| status.and_then(|s| own_end(s, p)).is_some_and(|own| end < own);
        if ends().any(behind) { EndComparison::Behind } else { EndComparison::Good }
    }

    /// A status has come. `fell` is whether its ends fell against those of the one before.
    pub(super) fn heard_status(&mut self, fell: bool) {
        if fell {
            self.told.clear();
        }
        self.fell = false;
    }

    /// Whether every partition of a status has been told of within the window.
    pub(super) fn tell_all_of(&self, status: &TopicStatus, window: Duration, now: Instant) -> bool {
        let told = |p: Partition| self.told.get(&p).is_some_and(|t| now.duration_since(t.at) <= window);
        !status.partitions.is_empty() && status.partitions.iter().all(|p| told(p.partition))
    }

    /// A status with the ends that are to be shown. One that needs no other ends is the same allocation.
    pub(super) fn shown(
        &self,
        (status, at): (&Arc<TopicStatus>, Instant),
        window: Duration,
    ) -> Arc<TopicStatus> {
        let better = |partition: Partition, own: Offset| {
            let told = self.told.get(&partition).filter(|t| !self.fell && at <= t.at + window)?;
            (told.end > own).then_some(told.end)
        };
        let any =
            status.partitions.iter().any(|p| p.end.is_some_and(|own| better(p.partition, own).is_some()));
        if !any {
            return Arc::clone(status);
        }
        let mut shown = TopicStatus::clone(status);
        for p in &mut shown.partitions {
            p.end = p.end.map(|own| better(p.partition, own).unwrap_or(own));
        }
        Arc::new(shown)
    }
}

fn own_end(status: &TopicStatus, partition: Partition) -> Option<Offset> {
    let index = status.partitions.binary_search_by_key(&partition, |p| p.partition).ok()?;
    status.partitions.get(index)?.end
}
