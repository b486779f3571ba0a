//! Ground truth of the served responses: for each topic and group, the state that its last complete response
//! was computed from.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::world::truth::{GroupTruth, TopicTruth};

/// Key of an object: (region, instance id, topic or group).
pub type ObjectKey = (String, String, String);

/// Last complete response about one object.
#[derive(Debug, Clone)]
pub struct LastServed<T> {
    /// State that the response was computed from, with its world time.
    pub truth: T,
    /// Time at which the last byte was handed to the connection, on the monotonic clock.
    pub at: Instant,
    /// Number of complete responses about this object so far.
    pub times: u64,
}

/// Last complete responses about all objects.
///
/// Responses that a fault has made untrue, or that were cut, are missing. Responses in another format are
/// included.
#[derive(Debug, Clone, Default)]
pub struct ServedTruth {
    /// By topic.
    pub topics: BTreeMap<ObjectKey, LastServed<TopicTruth>>,
    /// By group.
    pub groups: BTreeMap<ObjectKey, LastServed<GroupTruth>>,
}

/// State that a response about a topic or group was computed from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ResponseTruth {
    Topic(TopicTruth),
    Group(GroupTruth),
}

/// A response to record when its last byte is handed to the connection.
pub(crate) struct ServedResponse {
    pub(crate) key: ObjectKey,
    pub(crate) truth: ResponseTruth,
}

impl ServedTruth {
    pub(crate) fn record(&mut self, response: ServedResponse, at: Instant) {
        match response.truth {
            ResponseTruth::Topic(truth) => replace(&mut self.topics, response.key, truth, at),
            ResponseTruth::Group(truth) => replace(&mut self.groups, response.key, truth, at),
        }
    }
}

fn replace<T>(all: &mut BTreeMap<ObjectKey, LastServed<T>>, key: ObjectKey, truth: T, at: Instant) {
    let times = all.get(&key).map_or(0, |last| last.times) + 1;
    all.insert(key, LastServed { truth, at, times });
}
