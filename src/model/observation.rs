//! Contents of API responses in domain types and base units.

use super::{InstanceId, Offset, Partition, TopicName, UnixMillis};

/// List as returned by the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// Items, without duplicates, in the order of the response.
    pub items: Vec<T>,
    /// Whether the list is known to be complete. Only a complete list deletes objects that it does not contain.
    pub complete: bool,
}

/// Instance (`GetInstanceList`, `InstanceVO`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `InstanceId`.
    pub id: InstanceId,
    /// `Name`: set by the user, not unique.
    pub name: Option<String>,
    /// `ViewInstanceStatusCode`, else the older `ServiceStatus`. `None` if neither is present.
    pub state: Option<InstanceState>,
    /// `Series`: v2, v3 or confluent.
    pub series: Option<String>,
    /// `SpecType`.
    pub spec_type: Option<String>,
    /// `UpgradeServiceDetailInfo.Current2OpenSourceVersion`: the Kafka version.
    pub version: Option<String>,
    /// `DeployType`: 4 public and VPC, 5 VPC; as `public` and `vpc`; other numbers unchanged.
    pub deploy_type: Option<String>,
    /// `PaidType`: 0 `prepaid`, 1 `postpaid`, 3 `serverless`, 4 `confluent`; other numbers unchanged.
    pub paid_type: Option<String>,
    /// `DiskType`: 0 `efficiency`, 1 `ssd`; other numbers unchanged.
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
    /// `DiskSize` (GB, interpreted as GiB), in bytes.
    pub disk_size_bytes: Option<u64>,
    /// `MsgRetain` (hours), in seconds.
    pub message_retention_seconds: Option<u64>,
    /// `Tags.TagVO[]`, in the order of the response.
    pub tags: Vec<(String, String)>,
}

/// State of an instance, from `ViewInstanceStatusCode` or `ServiceStatus`.
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
    /// In service, close to its expiry.
    Expiring,
    /// Expired.
    Expired,
    /// Released.
    Released,
    /// In service, being upgraded (`ServiceStatus` 7, 8).
    Upgrading,
    /// In service, being migrated.
    Migrating,
    /// Being stopped.
    Stopping,
    /// Being started.
    Starting,
    /// Being released.
    Releasing,
    /// In service, being resized (`ServiceStatus` 9, 11, 30).
    Scaling,
    /// Deployment, upgrade or migration failed (101, 102, 103).
    Failed,
    /// Code that this version does not know.
    Unknown,
}

impl InstanceState {
    /// All states, in the order of the exposition.
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

    /// Converts `ViewInstanceStatusCode`.
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

    /// Converts `ServiceStatus`, which is deprecated.
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

    /// Whether the instance serves calls for its topics and groups. For others these calls fail.
    #[must_use]
    pub fn in_service(self) -> bool {
        matches!(self, Self::Running | Self::Expiring | Self::Upgrading | Self::Migrating | Self::Scaling)
    }

    /// Returns the value of the label `state`.
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

/// Topic of an instance (`GetTopicList`, `TopicVO`).
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
    /// `CreateTime`: it changes when the topic is recreated under the same name.
    pub created_at: Option<UnixMillis>,
}

/// Storage engine of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Cloud storage.
    Cloud,
    /// Local storage.
    Local,
}

impl Storage {
    /// Returns the value of the label `storage`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Local => "local",
        }
    }
}

/// Cleanup policy of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Delete old messages.
    Delete,
    /// Compact by key.
    Compact,
}

impl Cleanup {
    /// Returns the value of the label `cleanup`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
        }
    }
}

/// Offsets of a topic (`GetTopicStatus`, `TopicStatus`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicStatus {
    /// `TotalCount`: messages in the topic.
    pub messages: Option<u64>,
    /// `OffsetTable`, each partition once, sorted by partition.
    pub partitions: Vec<TopicPartition>,
}

impl TopicStatus {
    /// Returns a partition.
    #[must_use]
    pub fn partition(&self, partition: Partition) -> Option<&TopicPartition> {
        partition.find_in(&self.partitions, |p| p.partition)
    }

    /// Returns the start offset of a partition.
    #[must_use]
    pub fn start(&self, partition: Partition) -> Option<Offset> {
        self.partition(partition)?.start
    }
}

/// Partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicPartition {
    /// `Partition`.
    pub partition: Partition,
    /// `MinOffset`: the start offset.
    pub start: Option<Offset>,
    /// `MaxOffset`: the end offset.
    pub end: Option<Offset>,
    /// `LastUpdateTimestamp`: write time of the newest message.
    pub last_write: Option<UnixMillis>,
}

/// Progress of a consumer group (`GetConsumerProgress`, `ConsumerProgress`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupProgress {
    /// `TotalDiff` of the group: the total lag as computed by the service.
    pub total_diff: Option<i64>,
    /// `state`.
    pub state: Option<GroupState>,
    /// `RebalanceInfoList`, oldest first; only the latest ones.
    pub rebalances: Vec<Rebalance>,
    /// `TopicList`, each topic once, sorted by name.
    pub topics: Vec<TopicProgress>,
}

/// Progress of a consumer group on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicProgress {
    /// `Topic`.
    pub topic: TopicName,
    /// `TotalDiff` of the topic.
    pub total_diff: Option<i64>,
    /// `OffsetList`, each partition once, sorted by partition.
    pub partitions: Vec<PartitionProgress>,
}

/// Progress of a consumer group on a partition. Both offsets are from the same response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionProgress {
    /// `Partition`.
    pub partition: Partition,
    /// `BrokerOffset`: the end offset.
    pub end: Option<Offset>,
    /// `ConsumerOffset`: the committed offset; -1 is `None`.
    pub committed: Option<Offset>,
    /// `LastTimestamp`: store time of the last consumed message; -1 and 0 are `None`.
    pub last_consumed: Option<UnixMillis>,
}

/// Rebalance of a group (`RebalanceInfoList`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebalance {
    /// `LastRebalanceTimestamp`.
    pub at: UnixMillis,
    /// `Generation`: counts the rebalances of a group while it has members.
    pub generation: Option<u64>,
}

/// State of a consumer group (`state`).
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
    /// All states, in the order of the exposition.
    pub const ALL: [Self; 5] =
        [Self::Stable, Self::PreparingRebalance, Self::CompletingRebalance, Self::Empty, Self::Dead];

    /// Returns the value of the label `state`.
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
