//! All that is said of a group beside messages and offsets, from one answer and what came before it. Pure.

use std::time::Duration;

use super::{
    GroupLag, PartitionLag, Retention, TopicLag,
    age::{Age, GroupAges, TopicAges, TopicFacts},
    forecast::{self, Prospect},
    status::{self, Rule, Status},
    track::{TopicTrack, Track},
};
use crate::model::{GroupState, Offset, TopicName};

/// What is to be said of a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupAssessment {
    /// Age of the oldest unread message: the largest of all partitions.
    pub age: Age,
    /// The worst of its topics; `None` while none is known.
    pub status: Option<Status>,
    /// Messages left to read that are still held; `None` if that is not known of any partition.
    pub consumable: Option<u64>,
    /// Seconds until all is read at the present pace; `None` if a topic with lag does not catch up.
    pub catch_up: Option<f64>,
    /// In the order of the group's topics.
    pub topics: Vec<TopicAssessment>,
}

/// What is to be said of a group on one topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TopicAssessment {
    /// Age of the oldest unread message: the largest of its partitions.
    pub age: Age,
    /// The worst of its partitions, and of its trend.
    pub status: Option<Status>,
    /// Messages left to read that are still held.
    pub consumable: Option<u64>,
    /// Messages a second that the group has read over the window.
    pub consumed: Option<f64>,
    /// Messages a second that were written over the window, on the partitions that the group reads.
    pub produced: Option<f64>,
    /// Seconds until all is read at the present pace; 0 without lag, `None` if lag does not shrink.
    pub catch_up: Option<f64>,
    /// Seconds until messages are deleted before they are read; `None` if that comes no nearer.
    pub data_loss_eta: Option<f64>,
    /// In the order of the topic's partitions.
    pub partitions: Vec<PartitionAssessment>,
}

/// What is to be said of a group on one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PartitionAssessment {
    /// Age of the oldest unread message.
    pub age: Age,
    /// What is the matter with this partition alone.
    pub status: Option<Status>,
    /// Margin and loss; `None` where either offset is unknown.
    pub retention: Option<Retention>,
}

/// Puts together what is known at the moment of an answer. `window` is that of the track, which has taken the same
/// answer; `state` is what the answer says.
#[must_use]
pub fn assess<'a>(
    lag: &GroupLag,
    ages: &GroupAges,
    track: &Track,
    state: Option<GroupState>,
    window: Duration,
    facts: impl Fn(&TopicName) -> TopicFacts<'a>,
) -> GroupAssessment {
    let topics: Vec<TopicAssessment> = lag
        .topics
        .iter()
        .zip(&ages.topics)
        .map(|(lag, ages)| topic(lag, ages, track.topic(&lag.topic), state, window, &facts(&lag.topic)))
        .collect();
    // A group without topics has nothing to read.
    let consumable =
        if topics.is_empty() { Some(0) } else { super::sum(topics.iter().map(|t| t.consumable)) };
    GroupAssessment {
        age: ages.group,
        status: worst(lag, &topics),
        consumable,
        catch_up: slowest(lag, &topics),
        topics,
    }
}

/// The worst of the topics; that nothing is the matter only if it is known of all with something left to read.
fn worst(lag: &GroupLag, topics: &[TopicAssessment]) -> Option<Status> {
    let mut known = lag.topics.iter().zip(topics);
    let is_undecided = known.any(|(lag, topic)| lag.messages > Some(0) && topic.status.is_none());
    let worst = topics.iter().filter_map(|topic| topic.status).max();
    worst.filter(|status| *status > Status::Ok || !is_undecided)
}

/// When the last topic with lag will be read; `None` if one never will. Topics whose lag nobody knows do not count.
fn slowest(lag: &GroupLag, topics: &[TopicAssessment]) -> Option<f64> {
    lag.messages?;
    let known = lag.topics.iter().zip(topics).filter(|(lag, _)| lag.messages.is_some());
    known.map(|(_, topic)| topic.catch_up).try_fold(0.0, |slowest: f64, eta| Some(slowest.max(eta?)))
}

fn topic(
    lag: &TopicLag,
    ages: &TopicAges,
    track: Option<&TopicTrack>,
    state: Option<GroupState>,
    window: Duration,
    facts: &TopicFacts<'_>,
) -> TopicAssessment {
    let skew = status::skew(track);
    let partition = |(place, (p, age)): (usize, (&PartitionLag, &Age))| {
        let start = start(p, facts);
        let known = track.and_then(|t| t.partition(place));
        let stuck = track.is_some_and(|t| t.is_stuck(place, window));
        PartitionAssessment {
            age: *age,
            status: Rule::of_partition(p, start, known, stuck, state, skew).status(),
            retention: p.committed.zip(start).map(|(committed, start)| super::retention(committed, start)),
        }
    };
    let partitions: Vec<PartitionAssessment> =
        lag.partitions.iter().zip(&ages.partitions).enumerate().map(partition).collect();
    let lags = track.is_some_and(|t| Status::is_lagging(t, window)).then_some(Status::Lagging);
    // Nothing is the matter only if that is known of all that has something left to read.
    let is_undecided =
        lag.partitions.iter().zip(&partitions).any(|(p, said)| p.messages > Some(0) && said.status.is_none());
    let status = partitions.iter().filter_map(|p| p.status).chain(lags).max();
    let status = status.filter(|status| *status > Status::Ok || !is_undecided);
    let left = lag.partitions.iter().map(|p| consumable(p, facts.status.and_then(|s| s.start(p.partition))));
    let rates = track.and_then(TopicTrack::rates);
    let retentions: Vec<_> = partitions.iter().map(|p| p.retention).collect();
    // A partition that stands still is never caught up with.
    let waits = |(place, p): (usize, &PartitionLag)| {
        p.messages > Some(0) && track.is_some_and(|track| track.is_stuck(place, window))
    };
    let is_stuck = lag.partitions.iter().enumerate().any(waits);
    let catch_up =
        lag.messages.filter(|_| !is_stuck).and_then(|messages| forecast::catch_up(messages, rates));
    let prospect =
        track.map(|track| Prospect { lag, ages, track, facts, retentions: &retentions, catch_up, window });
    TopicAssessment {
        age: ages.topic,
        status,
        consumable: super::sum(left),
        consumed: rates.map(|r| r.consumed),
        produced: rates.map(|r| r.produced),
        catch_up,
        data_loss_eta: prospect.and_then(|p| p.data_loss()),
        partitions,
    }
}

/// The oldest offset that is held. One past the end is of another topic of the same name, or of a later moment.
fn start(lag: &PartitionLag, facts: &TopicFacts<'_>) -> Option<Offset> {
    let start = facts.status?.start(lag.partition)?;
    lag.end.is_none_or(|end| start <= end).then_some(start)
}

/// What is left to read of what is still held: messages that are deleted already are not. The start is from another
/// answer than the end, and may be past it.
fn consumable(lag: &PartitionLag, start: Option<Offset>) -> Option<u64> {
    let from = lag.committed?.max(start.unwrap_or(lag.committed?));
    Some(lag.end?.minus(from).max(0).unsigned_abs())
}

#[cfg(test)]
mod tests;
