//! All that is said of a group beside messages and offsets, from one answer and what came before it. Pure.

use std::time::Duration;

use super::{
    GroupLag, Retention,
    age::{Age, GroupAges, TopicFacts},
    status::Status,
    track::Track,
};
use crate::model::{GroupState, TopicName};

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

/// Puts together what is known at the moment of an answer. `window` is that of the track.
#[must_use]
pub fn assess<'a>(
    lag: &GroupLag,
    ages: &GroupAges,
    _track: &Track,
    _state: Option<GroupState>,
    _window: Duration,
    facts: impl Fn(&TopicName) -> TopicFacts<'a>,
) -> GroupAssessment {
    let topics = lag.topics.iter().zip(&ages.topics).map(|(topic, ages)| {
        let status = facts(&topic.topic).status;
        let partitions = topic.partitions.iter().zip(&ages.partitions).map(|(p, age)| PartitionAssessment {
            age: *age,
            status: None,
            retention: p
                .committed
                .zip(status.and_then(|s| s.start(p.partition)))
                .map(|(c, s)| super::retention(c, s)),
        });
        TopicAssessment { age: ages.topic, partitions: partitions.collect(), ..TopicAssessment::default() }
    });
    GroupAssessment { age: ages.group, topics: topics.collect(), ..GroupAssessment::default() }
}
