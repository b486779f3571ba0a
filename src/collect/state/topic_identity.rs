//! Decides whether a response is about the known topic, or about a topic recreated under the same name.
//!
//! The API reports no topic id. A topic was recreated if the topic list shows another creation time, if an end
//! offset of the topic's status falls, or if an end offset that the same group reports falls. End offsets of
//! two different sources prove nothing, because calls overtake each other.
//!
//! A recreation that is detected here drops the histories of the topic. These places decide for their own state,
//! because their data comes from other responses or lives longer:
//! - `reported_ends.rs::record`: an end offset is below the largest one that the same group reported. Only the next
//!   status of the topic counts then.
//! - `lag/end_history.rs::record`: a smaller end, from any source, that no poll contradicts for two intervals.
//! - `lag/start_history.rs::record`: a start offset (`MinOffset`) falls.
//! - `lag/window.rs::is_continued_by`: an end offset falls in the responses of one group. Its window survives outages,
//!   after which there is no previous response to compare here.
//! - `lag/bounds.rs::unread_messages`: the history is ahead of a later response. It decides nothing, it only omits the
//!   bound that would then be wrong.

use crate::{
    lag::{GroupLag, PartitionLag, TopicLag, end_history::EndHistory},
    model::{Offset, Partition, Topic, TopicStatus, UnixMillis},
};

/// Relation of reported end offsets to the topic that is known by that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopicIdentity {
    /// The same topic.
    Same,
    /// An end offset is lower than that of the topic's own status: the response is older, or the topic was
    /// recreated. Only the next status decides.
    Unclear,
    /// The topic was deleted and created again.
    Recreated,
}

impl TopicIdentity {
    /// Compares a status (`GetTopicStatus`) with the one before it.
    pub(super) fn of_status(previous: &TopicStatus, status: &TopicStatus) -> Self {
        let ends = status.partitions.iter().map(|p| (p.partition, p.end));
        Self::recreated_if(any_fell(ends, |partition| status_end(previous, partition)))
    }

    /// Compares the end offsets of a topic in two successive responses about one group. If the history is not ahead
    /// of the new ends, another group has already reported the recreation, and the history must not be dropped again.
    pub(super) fn of_progress(previous: &TopicLag, topic: &TopicLag, history: &EndHistory) -> Self {
        let ends = topic.partitions.iter().map(|p| (p.partition, p.end));
        let fell = any_fell(ends, |partition| previous.partition(partition)?.end);
        let is_ahead = |p: &PartitionLag| history.newest(p.partition).map(|newest| newest.end) > p.end;
        Self::recreated_if(fell && topic.partitions.iter().any(|p| p.end.is_some() && is_ahead(p)))
    }

    pub(super) fn recreated_if(recreated: bool) -> Self {
        if recreated { Self::Recreated } else { Self::Same }
    }
}

/// Returns when a listed topic was created (`CreateTime`), if that differs from the known creation time.
pub(super) fn recreated_at(known: &Topic, listed: &Topic) -> Option<UnixMillis> {
    let known = known.created_at?;
    listed.created_at.filter(|created| *created != known)
}

/// Whether a partition still belongs to the same topic, by two successive responses about one group.
pub(super) fn is_same_partition(previous: &PartitionLag, partition: &PartitionLag) -> bool {
    previous.end <= partition.end
}

/// Whether a committed offset fell between two successive responses about one group.
pub(super) fn committed_fell(previous: &GroupLag, lag: &GroupLag) -> bool {
    lag.topics.iter().any(|topic| {
        let Some(previous) = previous.topic(&topic.topic) else { return false };
        let committed = topic.partitions.iter().map(|p| (p.partition, p.committed));
        any_fell(committed, |partition| previous.partition(partition)?.committed)
    })
}

/// Returns the end offset (`MaxOffset`) of a partition.
pub(super) fn status_end(status: &TopicStatus, partition: Partition) -> Option<Offset> {
    status.partition(partition)?.end
}

fn any_fell(
    mut offsets: impl Iterator<Item = (Partition, Option<Offset>)>,
    previous: impl Fn(Partition) -> Option<Offset>,
) -> bool {
    offsets.any(|(partition, offset)| offset.is_some_and(|offset| previous(partition) > Some(offset)))
}
