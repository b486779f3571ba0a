//! What the service has told: for each topic and group the truth that its last whole answer was made from.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::{
    actions::ResponseTruth,
    management_api::ServedResponse,
    world::truth::{GroupTruth, TopicTruth},
};

/// Where an object is: (region, instance id, topic or group).
pub type ObjectKey = (String, String, String);

/// The last whole answer about one object.
#[derive(Debug, Clone)]
pub struct LastServed<T> {
    /// The truth that it was made from, with its world time.
    pub truth: T,
    /// When its last byte was handed over, on the monotonic clock.
    pub at: Instant,
    /// Whole answers about this object so far.
    pub times: u64,
}

/// What the service has told. An answer that a fault made untrue, or that did not get to its end, is not
/// in here; one that is only spelled otherwise is.
#[derive(Debug, Clone, Default)]
pub struct ServedTruth {
    /// By topic.
    pub topics: BTreeMap<ObjectKey, LastServed<TopicTruth>>,
    /// By group.
    pub groups: BTreeMap<ObjectKey, LastServed<GroupTruth>>,
}

impl ServedTruth {
    pub(crate) fn remember(&mut self, what: ServedResponse, at: Instant) {
        let key = (what.region, what.instance, what.object);
        match what.told {
            ResponseTruth::Topic(truth) => put(&mut self.topics, key, truth, at),
            ResponseTruth::Group(truth) => put(&mut self.groups, key, truth, at),
            ResponseTruth::Lists => {}
        }
    }
}

fn put<T>(all: &mut BTreeMap<ObjectKey, LastServed<T>>, key: ObjectKey, truth: T, at: Instant) {
    let times = all.get(&key).map_or(0, |last| last.times) + 1;
    all.insert(key, LastServed { truth, at, times });
}
