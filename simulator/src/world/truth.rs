//! Ground truth of the world at one time, as plain values.
//!
//! All times are Unix milliseconds of world time. Offsets and lag are exact integers. A value that does not exist
//! is `None`. Where the API returns a timestamp of the producer's clock, `..._stamp_ms` has it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::spec::ConsumerMode;

/// The world at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorldTruth {
    /// World time.
    pub now_ms: i64,
    /// By region id.
    pub regions: BTreeMap<String, RegionTruth>,
}

impl WorldTruth {
    /// Returns an instance of any region.
    #[must_use]
    pub fn instance(&self, instance_id: &str) -> Option<&InstanceTruth> {
        self.regions.values().find_map(|r| r.instances.get(instance_id))
    }
}

/// One region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RegionTruth {
    /// By instance id.
    pub instances: BTreeMap<String, InstanceTruth>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceTruth {
    /// `InstanceId`.
    pub id: String,
    /// `Name`.
    pub name: String,
    /// `RegionId`.
    pub region: String,
    /// `ServiceStatus`.
    pub service_status: i64,
    /// `ViewInstanceStatusCode`; `None` if the API does not return it.
    pub view_status: Option<i64>,
    /// Whether calls for its topics and groups succeed.
    pub in_service: bool,
    /// Whether it is serverless, i.e. without `LastTimestamp`.
    pub serverless: bool,
    /// Message retention (`MsgRetain`), in milliseconds.
    pub retention_ms: i64,
    /// `CreateTime`.
    pub created_ms: i64,
    /// `ExpiredTime`.
    pub expires_ms: i64,
    /// `Tags`.
    pub tags: Vec<(String, String)>,
    /// Number of partitions of all topics.
    pub partitions: i64,
    /// By topic name.
    pub topics: BTreeMap<String, TopicTruth>,
    /// By group id.
    pub groups: BTreeMap<String, GroupTruth>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicTruth {
    /// World time.
    pub now_ms: i64,
    /// `CreateTime`.
    pub created_ms: i64,
    /// Whether it uses Local storage.
    pub local: bool,
    /// Whether it is compacted.
    pub compact: bool,
    /// Number of retained messages in all partitions.
    pub messages: i64,
    /// In ascending order.
    pub partitions: Vec<PartitionTruth>,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionTruth {
    /// Partition number, from 0.
    pub partition: i64,
    /// Oldest retained offset.
    pub start: i64,
    /// Offset of the next message.
    pub end: i64,
    /// Time of the newest message.
    pub last_write_ms: Option<i64>,
    /// The same by the producers' clock, as the API returns it.
    pub last_write_stamp_ms: Option<i64>,
}

/// One consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupTruth {
    /// World time.
    pub now_ms: i64,
    /// `state`.
    pub state: &'static str,
    /// Mode of the consumer.
    pub consumer: ConsumerMode,
    /// Lag in messages, over all partitions with a committed offset.
    pub lag: i64,
    /// Maximum age of the oldest unread message over all partitions, in milliseconds; 0 if there is none, `None`
    /// if nothing is committed.
    pub oldest_unread_age_ms: Option<i64>,
    /// Number of members.
    pub members: i64,
    /// Rebalances so far, newest last: (generation, time, duration in milliseconds).
    pub rebalances: Vec<(i64, i64, i64)>,
    /// By topic name.
    pub topics: BTreeMap<String, GroupTopicTruth>,
}

/// Progress of a group on a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupTopicTruth {
    /// Lag in messages, over all partitions with a committed offset.
    pub lag: i64,
    /// Whether the API omits `LastTimestamp`: serverless instances and Local topics.
    pub times_hidden: bool,
    /// In ascending order, with those that the API does not list.
    pub partitions: Vec<GroupPartitionTruth>,
}

/// Progress of a group on a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupPartitionTruth {
    /// Partition number, from 0.
    pub partition: i64,
    /// Whether the API lists it. Always true with a committed offset.
    pub listed: bool,
    /// Committed offset.
    pub committed: Option<i64>,
    /// Oldest retained offset.
    pub start: i64,
    /// Offset of the next message.
    pub end: i64,
    /// Lag in messages: `max(0, end - committed)`.
    pub lag: Option<i64>,
    /// Age of the oldest unread message that still exists, in milliseconds; 0 if there is none.
    pub oldest_unread_age_ms: Option<i64>,
    /// Write time of the last consumed message that still exists; `None` if there is none, or if the committed
    /// offset is beyond the end.
    pub last_consumed_ms: Option<i64>,
    /// The same by the producers' clock, as the API returns it.
    pub last_consumed_stamp_ms: Option<i64>,
}
