//! What is to be made or moved by hand, as plain values.

use super::{
    group::{ConsumerMode, GroupCursor},
    partition_log::{Compaction, PartitionLog, ProduceRate},
};

/// Messages that retention removes at once, for objects made by hand.
const SEGMENT: i64 = 1_000;
/// Topics that an instance may have, unless it is told otherwise.
pub(super) const TOPIC_LIMIT: u32 = 180;
const DAY_MS: i64 = 86_400_000;

/// An instance to be made.
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
    /// Whether it tells no `LastTimestamp`.
    pub serverless: bool,
    /// Whether it is paid for in advance; if not, and not serverless, afterwards.
    pub prepaid: bool,
    /// `Tags`.
    pub tags: Vec<(String, String)>,
    /// `MsgRetain`, in hours; also when messages go.
    pub retention_hours: u32,
    /// `TopicNumLimit`; more topics can be made all the same.
    pub topic_limit: u32,
    /// How long ago it was created, in milliseconds.
    pub age_ms: i64,
    /// In how many milliseconds it expires; less than 0 if it has.
    pub expires_in_ms: i64,
}

impl InstanceSpec {
    /// A running instance with this id, which is its name too.
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

/// A topic to be made.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    /// `Topic`.
    pub name: String,
    /// `PartitionNum`.
    pub partitions: u32,
    /// How each partition is written from now on.
    pub rate: ProduceRate,
    /// `LocalTopic`.
    pub local: bool,
    /// `CompactTopic`; retention removes nothing then.
    pub compact: bool,
    /// What compaction leaves of it, if it is compacted; `None` leaves all.
    pub compaction: Option<Compaction>,
    /// Messages that retention removes at once.
    pub segment: i64,
    /// First offset of each partition.
    pub base_offset: i64,
    /// For how long it has been written already, in milliseconds.
    pub age_ms: i64,
    /// For how long nobody has written it, in milliseconds; 0 if it is written on.
    pub idle_ms: i64,
    /// A partition that is written so many times as fast as the others.
    pub hot: Option<(u32, i64)>,
}

impl TopicSpec {
    /// An empty topic that nobody writes.
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

/// A group to be made.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// `ConsumerId`.
    pub name: String,
    /// How it reads.
    pub consumer: ConsumerMode,
    /// The topics it reads; those that do not exist are left out.
    pub topics: Vec<String>,
    /// Where it begins.
    pub from: OffsetSpec,
    /// How long ago it was created, in milliseconds: the periods of its rebalances and stalls begin there.
    pub age_ms: i64,
    /// Every how many milliseconds it rebalances, and for how long.
    pub rebalances: Option<(i64, i64)>,
    /// Its members, unless it is stopped.
    pub members: u32,
}

impl GroupSpec {
    /// A healthy group at the end of these topics.
    #[must_use]
    pub fn new(name: &str, topics: &[&str]) -> Self {
        let topics = topics.iter().map(|t| (*t).to_owned()).collect();
        Self {
            name: name.to_owned(),
            consumer: ConsumerMode::Healthy,
            topics,
            from: OffsetSpec::End,
            age_ms: 0,
            rebalances: None,
            members: 1,
        }
    }
}

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The oldest message that is held.
    Start,
    /// Where the next message goes.
    End,
    /// This offset, whether it exists or not.
    At(i64),
    /// So many messages before where the group is; not below 0.
    Back(i64),
    /// Where the next message went so many milliseconds ago.
    Ago(i64),
    /// Nothing committed, told as -1.
    Uncommitted,
    /// Nothing committed, and the partition is not told at all.
    Unlisted,
}

impl OffsetSpec {
    pub(super) fn cursor(self, log: &PartitionLog, was: Option<i64>, now: i64) -> GroupCursor {
        let committed = match self {
            Self::Start => Some(log.start(now)),
            Self::End => Some(log.end(now)),
            Self::At(offset) => Some(offset),
            Self::Ago(ms) => Some(log.end(now.saturating_sub(ms))),
            Self::Back(n) => was.map(|c| c.saturating_sub(n).max(0)),
            Self::Uncommitted | Self::Unlisted => None,
        };
        GroupCursor::new(
            committed,
            self != Self::Unlisted,
            !matches!(self, Self::Uncommitted | Self::Unlisted),
            now,
        )
    }
}
