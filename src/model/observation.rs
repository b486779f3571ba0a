//! What one answer of the management API says, in the domain's types and base units.

use super::{InstanceId, Offset, Partition, TopicName, UnixMillis};

/// A list as the cloud told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// The items, each identity once, in the order of the answer.
    pub items: Vec<T>,
    /// Whether the list is known to be whole. Only a whole list may delete what it lacks.
    pub complete: bool,
}

/// One instance (`GetInstanceList`, `InstanceVO`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `InstanceId`.
    pub id: InstanceId,
    /// `Name`: chosen by its owner, not unique.
    pub name: Option<String>,
    /// `ViewInstanceStatusCode`, else the older `ServiceStatus`. `None` if neither was told.
    pub state: Option<InstanceState>,
    /// `Series`: v2, v3 or confluent.
    pub series: Option<String>,
    /// `SpecType`.
    pub spec_type: Option<String>,
    /// `UpgradeServiceDetailInfo.Current2OpenSourceVersion`: the Kafka version.
    pub version: Option<String>,
    /// `DeployType`: 4 public and VPC, 5 VPC; as the words `public` and `vpc`, another number as itself.
    pub deploy_type: Option<String>,
    /// `PaidType`: 0 `prepaid`, 1 `postpaid`, 3 `serverless`, 4 `confluent`, another number as itself.
    pub paid_type: Option<String>,
    /// `DiskType`: 0 `efficiency`, 1 `ssd`, another number as itself.
    pub disk_type: Option<String>,
    /// `CreateTime`.
    pub created_at: Option<UnixMillis>,
    /// `ExpiredTime`.
    pub expires_at: Option<UnixMillis>,
    /// `UsedTopicCount`.
    pub topics: Option<u64>,
    /// `TopicNumLimit`.
    pub topic_limit: Option<u64>,
    /// `UsedPartitionCount`.
    pub partitions: Option<u64>,
    /// `UsedGroupCount`.
    pub groups: Option<u64>,
    /// `DiskSize` (GB, taken as GiB), in bytes.
    pub disk_size_bytes: Option<u64>,
    /// `MsgRetain` (hours), in seconds.
    pub message_retention_seconds: Option<u64>,
    /// `Tags.TagVO[]`, in the order of the answer.
    pub tags: Vec<(String, String)>,
}

/// The state of an instance, from `ViewInstanceStatusCode` or `ServiceStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstanceState {
    /// Ordered, not deployed.
    Pending,
    /// Being deployed (`ServiceStatus` 1, 2, 3).
    Deploying,
    /// In service.
    Running,
    /// Stopped.
    Stopped,
    /// In service, near its end.
    Expiring,
    /// Past its end.
    Expired,
    /// Released.
    Released,
    /// In service, its version being raised (`ServiceStatus` 7, 8).
    Upgrading,
    /// In service, being moved.
    Migrating,
    /// Being stopped.
    Stopping,
    /// Being started.
    Starting,
    /// Being released.
    Releasing,
    /// In service, its size being changed (`ServiceStatus` 9, 11, 30).
    Scaling,
    /// Deployment, upgrade or migration failed (101, 102, 103).
    Failed,
    /// A code that this version does not know.
    Unknown,
}

impl InstanceState {
    /// Every state, in the order of the page.
    pub const ALL: [Self; 15] = [
        Self::Pending,
        Self::Deploying,
        Self::Running,
        Self::Stopped,
        Self::Expiring,
        Self::Expired,
        Self::Released,
        Self::Upgrading,
        Self::Migrating,
        Self::Stopping,
        Self::Starting,
        Self::Releasing,
        Self::Scaling,
        Self::Failed,
        Self::Unknown,
    ];

    /// From `ViewInstanceStatusCode`.
    #[must_use]
    pub fn from_view_code(code: i64) -> Self {
        match code {
            0 => Self::Pending,
            1 => Self::Deploying,
            2 => Self::Running,
            3 => Self::Stopped,
            4 => Self::Expiring,
            5 => Self::Expired,
            6 => Self::Released,
            7 => Self::Upgrading,
            8 => Self::Migrating,
            21 => Self::Stopping,
            22 => Self::Starting,
            23 => Self::Releasing,
            30 => Self::Scaling,
            101..=103 => Self::Failed,
            _ => Self::Unknown,
        }
    }

    /// From `ServiceStatus`, which the vendor calls deprecated.
    #[must_use]
    pub fn from_service_status(code: i64) -> Self {
        match code {
            0 => Self::Pending,
            1..=3 => Self::Deploying,
            5 => Self::Running,
            6 => Self::Migrating,
            7 | 8 => Self::Upgrading,
            9 | 11 | 30 => Self::Scaling,
            10 => Self::Released,
            15 => Self::Expired,
            _ => Self::Unknown,
        }
    }

    /// Whether the instance answers detail calls. Calls to others are spent in vain.
    #[must_use]
    pub fn in_service(self) -> bool {
        matches!(self, Self::Running | Self::Expiring | Self::Upgrading | Self::Migrating | Self::Scaling)
    }

    /// The value of the label `state`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Deploying => "deploying",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Upgrading => "upgrading",
            Self::Migrating => "migrating",
            Self::Stopping => "stopping",
            Self::Starting => "starting",
            Self::Releasing => "releasing",
            Self::Scaling => "scaling",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// One topic of an instance (`GetTopicList`, `TopicVO`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// `Topic`.
    pub name: TopicName,
    /// `PartitionNum`.
    pub partitions: Option<u32>,
    /// `LocalTopic`.
    pub storage: Option<Storage>,
    /// `CompactTopic`.
    pub cleanup: Option<Cleanup>,
    /// `CreateTime`: another one under the same name is another topic.
    pub created_at: Option<UnixMillis>,
}

/// Where a topic's messages lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Cloud storage.
    Cloud,
    /// Local storage.
    Local,
}

impl Storage {
    /// The value of the label `storage`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Local => "local",
        }
    }
}

/// What happens to a topic's old messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Deleted by age.
    Delete,
    /// Compacted by key.
    Compact,
}

impl Cleanup {
    /// The value of the label `cleanup`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
        }
    }
}

/// What one topic holds (`GetTopicStatus`, `TopicStatus`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicStatus {
    /// `TotalCount`: messages in the topic.
    pub messages: Option<u64>,
    /// `OffsetTable`, each partition once, sorted by partition.
    pub partitions: Vec<TopicPartition>,
}

impl TopicStatus {
    /// What it says of a partition.
    #[must_use]
    pub fn partition(&self, partition: Partition) -> Option<&TopicPartition> {
        partition.find_in(&self.partitions, |p| p.partition)
    }

    /// The oldest offset that a partition holds.
    #[must_use]
    pub fn start(&self, partition: Partition) -> Option<Offset> {
        self.partition(partition)?.start
    }
}

/// One partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicPartition {
    /// `Partition`.
    pub partition: Partition,
    /// `MinOffset`: the oldest message that is still held.
    pub start: Option<Offset>,
    /// `MaxOffset`: where the next message goes.
    pub end: Option<Offset>,
    /// `LastUpdateTimestamp`: when the newest message was written.
    pub last_write: Option<UnixMillis>,
}

/// How far one group has read (`GetConsumerProgress`, `ConsumerProgress`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupProgress {
    /// `TotalDiff` of the group: the server's own sum of lag.
    pub total_diff: Option<i64>,
    /// `state`.
    pub state: Option<GroupState>,
    /// `RebalanceInfoList`, oldest first: the last few, as far as the cloud tells them.
    pub rebalances: Vec<Rebalance>,
    /// `TopicList`, each topic once, sorted by name.
    pub topics: Vec<TopicProgress>,
}

/// How far one group has read one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicProgress {
    /// `Topic`.
    pub topic: TopicName,
    /// `TotalDiff` of the topic.
    pub total_diff: Option<i64>,
    /// `OffsetList`, each partition once, sorted by partition.
    pub partitions: Vec<PartitionProgress>,
}

/// How far one group has read one partition. Both offsets are from the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionProgress {
    /// `Partition`.
    pub partition: Partition,
    /// `BrokerOffset`: the partition's end offset.
    pub end: Option<Offset>,
    /// `ConsumerOffset`: the committed offset; -1 is `None`.
    pub committed: Option<Offset>,
    /// `LastTimestamp`: store time of the last consumed message; -1 and 0 are `None`.
    pub last_consumed: Option<UnixMillis>,
}

/// One rebalance of a group (`RebalanceInfoList`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebalance {
    /// `LastRebalanceTimestamp`.
    pub at: UnixMillis,
    /// `Generation`: counts the rebalances of a group while it has members.
    pub generation: Option<u64>,
}

/// The state of a consumer group (`state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// `PREPARING_REBALANCE`.
    PreparingRebalance,
    /// `COMPLETING_REBALANCE`.
    CompletingRebalance,
    /// `STABLE`: members hold their partitions.
    Stable,
    /// `EMPTY`: no members, offsets are kept.
    Empty,
    /// `DEAD`: no members, no offsets.
    Dead,
}

impl GroupState {
    /// Every state, in the order of the page.
    pub const ALL: [Self; 5] =
        [Self::Stable, Self::PreparingRebalance, Self::CompletingRebalance, Self::Empty, Self::Dead];

    /// The value of the label `state`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::PreparingRebalance => "preparing_rebalance",
            Self::CompletingRebalance => "completing_rebalance",
            Self::Empty => "empty",
            Self::Dead => "dead",
        }
    }

    /// Whether the group has members.
    #[must_use]
    pub fn has_members(self) -> bool {
        !matches!(self, Self::Empty | Self::Dead)
    }
}
