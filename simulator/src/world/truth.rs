//! The truth about the world, as plain values: what a perfect observer would say at one moment.
//!
//! All times are milliseconds since 1970 of world time, all offsets are in messages, and nothing here went
//! through an f64. What does not exist is `None`. A time is the true one; where the service tells the
//! producer's word for it, that is a stamp, and beside it.

use std::collections::BTreeMap;

use super::group::ConsumerMode;

/// The whole world at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldTruth {
    /// The moment.
    pub now_ms: i64,
    /// By region id.
    pub regions: BTreeMap<String, RegionTruth>,
}

impl WorldTruth {
    /// An instance of any region.
    #[must_use]
    pub fn instance(&self, instance_id: &str) -> Option<&InstanceTruth> {
        self.regions.values().find_map(|r| r.instances.get(instance_id))
    }
}

/// One region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegionTruth {
    /// By instance id.
    pub instances: BTreeMap<String, InstanceTruth>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceTruth {
    /// `InstanceId`.
    pub id: String,
    /// `Name`.
    pub name: String,
    /// `RegionId`.
    pub region: String,
    /// `ServiceStatus`.
    pub service_status: i64,
    /// `ViewInstanceStatusCode`; `None` where the service does not tell it.
    pub view_status: Option<i64>,
    /// Whether detail calls are answered.
    pub in_service: bool,
    /// Whether it is serverless: no `LastTimestamp` is told.
    pub serverless: bool,
    /// How long messages are kept (`MsgRetain`), in milliseconds.
    pub retention_ms: i64,
    /// `CreateTime`.
    pub created_ms: i64,
    /// `ExpiredTime`.
    pub expires_ms: i64,
    /// `Tags`.
    pub tags: Vec<(String, String)>,
    /// Partitions of all topics.
    pub partitions: i64,
    /// By topic name.
    pub topics: BTreeMap<String, TopicTruth>,
    /// By group id.
    pub groups: BTreeMap<String, GroupTruth>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTruth {
    /// The moment.
    pub now_ms: i64,
    /// `CreateTime`.
    pub created_ms: i64,
    /// Whether it has Local storage.
    pub local: bool,
    /// Whether it is compacted.
    pub compact: bool,
    /// Messages held, over all partitions.
    pub messages: i64,
    /// In the order of their number.
    pub partitions: Vec<PartitionTruth>,
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTruth {
    /// Its number, from 0.
    pub partition: i64,
    /// Oldest offset that is held.
    pub start: i64,
    /// Offset that the next message gets.
    pub end: i64,
    /// When the newest message was written.
    pub last_write_ms: Option<i64>,
    /// The same as it is told: by the producers' clock.
    pub last_write_stamp_ms: Option<i64>,
}

/// One consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTruth {
    /// The moment.
    pub now_ms: i64,
    /// `state`, as the service spells it.
    pub state: &'static str,
    /// How it reads.
    pub consumer: ConsumerMode,
    /// Messages not read, over all partitions with a committed offset.
    pub lag: i64,
    /// Age of the oldest unread message over all partitions, in milliseconds: 0 if all is read, `None` if
    /// nothing is committed.
    pub oldest_unread_age_ms: Option<i64>,
    /// Members of the group.
    pub members: i64,
    /// RebalancePlan so far, newest last: (generation, when, how long in ms).
    pub rebalances: Vec<(i64, i64, i64)>,
    /// By topic name.
    pub topics: BTreeMap<String, GroupTopicTruth>,
}

/// How far a group has read a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTopicTruth {
    /// Messages not read, over all partitions with a committed offset.
    pub lag: i64,
    /// Whether the service hides `LastTimestamp` here: a serverless instance or a Local topic.
    pub times_hidden: bool,
    /// In the order of their number; those that the service does not list are here too.
    pub partitions: Vec<GroupPartitionTruth>,
}

/// How far a group has read a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPartitionTruth {
    /// Its number, from 0.
    pub partition: i64,
    /// Whether the service lists it although nothing is committed. Always true with a committed offset.
    pub listed: bool,
    /// The committed offset.
    pub committed: Option<i64>,
    /// Oldest offset that is held.
    pub start: i64,
    /// Offset that the next message gets.
    pub end: i64,
    /// Messages not read: `max(0, end - committed)`.
    pub lag: Option<i64>,
    /// Age of the oldest unread message that is still held, in milliseconds; 0 if all is read.
    pub oldest_unread_age_ms: Option<i64>,
    /// When the last read message that is still held was written; `None` if there is none, or the group is
    /// beyond the end.
    pub last_consumed_ms: Option<i64>,
    /// The same as it is told: by the producers' clock.
    pub last_consumed_stamp_ms: Option<i64>,
}
