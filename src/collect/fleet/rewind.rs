//! Offsets that went backwards between two answers: a reset group, a topic created anew.

use crate::{
    lag::GroupLag,
    model::{Anomaly, AnomalyKind, GroupId, Offset, Partition, TopicName, TopicStatus},
};

/// A topic whose end offset fell.
pub(super) fn of_topic(topic: &TopicName, before: &TopicStatus, after: &TopicStatus) -> Option<Anomaly> {
    fell(&ends(before), &ends(after)).then(|| anomaly(format!("end offsets of topic {topic} went backwards")))
}

/// The end offset of each partition.
pub(super) fn ends(status: &TopicStatus) -> Vec<(Partition, Option<Offset>)> {
    status.partitions.iter().map(|p| (p.partition, p.end)).collect()
}

/// A group whose committed offset fell on a topic.
pub(super) fn of_group(group: &GroupId, before: &GroupLag, after: &GroupLag) -> Option<Anomaly> {
    let any = after.topics.iter().any(|after| {
        let index = before.topics.binary_search_by(|before| before.topic.cmp(&after.topic));
        let Some(before) = index.ok().and_then(|i| before.topics.get(i)) else { return false };
        let committed = |t: &crate::lag::TopicLag| {
            t.partitions.iter().map(|p| (p.partition, p.committed)).collect::<Vec<_>>()
        };
        fell(&committed(before), &committed(after))
    });
    any.then(|| anomaly(format!("committed offsets of group {group} went backwards")))
}

/// Both lists are sorted by partition.
fn fell(before: &[(Partition, Option<Offset>)], after: &[(Partition, Option<Offset>)]) -> bool {
    after.iter().any(|(partition, now)| {
        let index = before.binary_search_by_key(partition, |(p, _)| *p);
        let then = index.ok().and_then(|i| before.get(i)).and_then(|(_, offset)| *offset);
        matches!((then, now), (Some(then), Some(now)) if *now < then)
    })
}

fn anomaly(detail: String) -> Anomaly {
    Anomaly { kind: AnomalyKind::Rewind, detail }
}
