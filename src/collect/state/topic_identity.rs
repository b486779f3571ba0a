//! Offsets that went backwards between two answers: a reset group, a topic created anew.

use crate::{
    lag::{GroupLag, TopicLag},
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

/// Topics whose ends fell between two answers about the same group: they were deleted, and created again.
pub(super) fn created_anew<'a>(before: &GroupLag, after: &'a GroupLag) -> Vec<&'a TopicLag> {
    let ends = |t: &TopicLag| t.partitions.iter().map(|p| (p.partition, p.end)).collect::<Vec<_>>();
    let fell = |t: &&TopicLag| before.topic(&t.topic).is_some_and(|before| fell(&ends(before), &ends(t)));
    after.topics.iter().filter(fell).collect()
}

/// A group whose committed offset fell on a topic.
pub(super) fn of_group(group: &GroupId, before: &GroupLag, after: &GroupLag) -> Option<Anomaly> {
    let committed =
        |t: &TopicLag| t.partitions.iter().map(|p| (p.partition, p.committed)).collect::<Vec<_>>();
    let fell =
        |t: &TopicLag| before.topic(&t.topic).is_some_and(|before| fell(&committed(before), &committed(t)));
    let any = after.topics.iter().any(fell);
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
