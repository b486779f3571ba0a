//! Specifications of objects and positions that tests pass to [`World`](super::World).

use serde::Serialize;

use super::partition_log::{Compaction, ProduceRate};

/// Default number of messages that retention removes at once.
const SEGMENT: i64 = 1_000;
/// Default maximum number of topics per instance.
const TOPIC_LIMIT: u32 = 180;
const DAY_MS: i64 = 86_400_000;

/// Specification of an instance.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// `InstanceId`.
    pub id: String,
    /// `Name`.
    pub name: String,
    /// `ServiceStatus`; default 5, running.
    pub service_status: i64,
    /// `ViewInstanceStatusCode`; default 2, running.
    pub view_status: Option<i64>,
    /// Whether it is serverless, i.e. without `LastTimestamp`.
    pub serverless: bool,
    /// Whether it is a subscription; if not, and not serverless, pay-as-you-go.
    pub prepaid: bool,
    /// `Tags`.
    pub tags: Vec<(String, String)>,
    /// Message retention (`MsgRetain`), in hours.
    pub retention_hours: u32,
    /// `TopicNumLimit`; not enforced.
    pub topic_limit: u32,
    /// Time since its creation, in milliseconds.
    pub age_ms: i64,
    /// Time until its expiry, in milliseconds; negative if it has expired.
    pub expires_in_ms: i64,
}

impl InstanceSpec {
    /// Returns a running instance with this id and name.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            service_status: 5,
            view_status: Some(2),
            serverless: false,
            prepaid: false,
            tags: Vec::new(),
            retention_hours: 72,
            topic_limit: TOPIC_LIMIT,
            age_ms: 0,
            expires_in_ms: 365 * DAY_MS,
        }
    }
}

/// Specification of a topic.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    /// `Topic`.
    pub name: String,
    /// `PartitionNum`.
    pub partitions: u32,
    /// Produce rate of each partition.
    pub rate: ProduceRate,
    /// `LocalTopic`.
    pub local: bool,
    /// `CompactTopic`; disables retention.
    pub compact: bool,
    /// Effect of compaction if `compact` is set; `None` keeps all messages.
    pub compaction: Option<Compaction>,
    /// Number of messages that retention removes at once.
    pub segment: i64,
    /// First offset of each partition.
    pub base_offset: i64,
    /// Time since the first write, in milliseconds.
    pub age_ms: i64,
    /// Time since the last write, in milliseconds; 0 if producers still write.
    pub idle_ms: i64,
    /// A partition, and the factor by which its rate is higher.
    pub hot: Option<(u32, i64)>,
}

impl TopicSpec {
    /// Returns an empty topic without producers.
    #[must_use]
    pub fn new(name: &str, partitions: u32) -> Self {
        Self {
            name: name.to_owned(),
            partitions,
            rate: ProduceRate::IDLE,
            local: false,
            compact: false,
            compaction: None,
            segment: SEGMENT,
            base_offset: 0,
            age_ms: 0,
            idle_ms: 0,
            hot: None,
        }
    }
}

/// Specification of a consumer group.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// `ConsumerId`.
    pub name: String,
    /// Mode of the consumer.
    pub consumer: ConsumerMode,
    /// Consumed topics; those that do not exist are ignored.
    pub topics: Vec<String>,
    /// Initial position.
    pub from: OffsetSpec,
    /// Time since its creation, in milliseconds. The periods of rebalances and of [`ConsumerMode`] start there.
    pub age_ms: i64,
    /// Period and duration of rebalances, in milliseconds.
    pub rebalances: Option<(i64, i64)>,
    /// Number of members, unless it is stopped.
    pub members: u32,
}

impl GroupSpec {
    /// Returns a healthy group at the end of these topics.
    #[must_use]
    pub fn new(name: &str, topics: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            consumer: ConsumerMode::Healthy,
            topics: topics.iter().map(|t| (*t).to_owned()).collect(),
            from: OffsetSpec::End,
            age_ms: 0,
            rebalances: None,
            members: 1,
        }
    }
}

/// Mode of the consumer of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsumerMode {
    /// Consumes everything up to the end at each commit.
    Healthy,
    /// Consumes at a fixed pace: falls behind below 100 %, catches up above.
    Paced {
        /// Pace in percent of the mean produce rate.
        percent: u32,
    },
    /// Has members but commits nothing.
    Stalled,
    /// Has no members and commits nothing.
    Stopped,
    /// Healthy, but stalled in the first part of each period.
    Flapping {
        /// Length of the period, in milliseconds.
        period_ms: i64,
        /// Length of the stall, in milliseconds.
        stalled_ms: i64,
    },
    /// Rewinds at the end of each period, then consumes at twice the produce rate until it is at the end.
    Rewinding {
        /// Length of the period, in milliseconds.
        period_ms: i64,
        /// Length of the rewind, in milliseconds.
        back_ms: i64,
    },
}

/// Position in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// Oldest retained message.
    Start,
    /// Offset of the next message.
    End,
    /// This offset, whether it exists or not.
    At(i64),
    /// This number of messages before the committed offset, but not below 0.
    Back(i64),
    /// End offset this many milliseconds ago.
    Ago(i64),
    /// Nothing committed; the API returns -1.
    Uncommitted,
    /// Nothing committed; the API does not list the partition.
    Unlisted,
}
