//! Options of a simulator: the size of its world, and the behaviour of its API.
//!
//! Out of scope: validation. Nonsensical sizes make a small world instead of an error.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use crate::{
    access_keys::{AccessKey, KeyRegistry},
    clock::ClockMode,
};

/// Options at the start of a simulator. The default is a small seeded world on a free port.
#[derive(Debug, Clone)]
pub struct SimulatorOptions {
    /// Address to listen on. Default `127.0.0.1:0`: a free port.
    pub listen: SocketAddr,
    /// Mode of the world clock.
    pub clock: ClockMode,
    /// Objects of the world.
    pub world: WorldOptions,
    /// Behaviour of the API. Can be changed while it runs, with `Simulator::behaviour`.
    pub behaviour: ServiceBehaviour,
    /// Number of calls that the call log keeps; older ones are only counted. Default 200,000.
    pub call_log_limit: usize,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            clock: ClockMode::Manual,
            world: WorldOptions::default(),
            behaviour: ServiceBehaviour::default(),
            call_log_limit: 200_000,
        }
    }
}

/// Objects of the world. Equal options make equal worlds.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Seed of every random choice.
    pub seed: u64,
    /// Start of world time, in Unix milliseconds; the wall time if `None`.
    pub epoch_ms: Option<i64>,
    /// Regions that exist.
    pub regions: Vec<String>,
    /// Instances in service, per region.
    pub instances_per_region: u32,
    /// Further instances that are not in service (pending, expired, stopped, in turn), per region.
    pub idle_instances_per_region: u32,
    /// Topics per instance in service.
    pub topics_per_instance: u32,
    /// Consumer groups per instance in service.
    pub groups_per_instance: u32,
    /// Partitions per topic.
    pub partitions_per_topic: u32,
    /// Topics that each group consumes.
    pub topics_per_group: u32,
    /// Creation and deletion of topics and groups.
    pub churn: Churn,
    /// Message retention (`MsgRetain`), in hours.
    pub retention_hours: u32,
    /// Makes every nth instance serverless, i.e. without `LastTimestamp`; 0 for none.
    pub serverless_every: u32,
    /// Makes every nth topic use Local storage, i.e. without `LastTimestamp`; 0 for none.
    pub local_every: u32,
    /// Whether some names contain Chinese, quotes, backslashes, spaces and reserved characters.
    pub unusual_names: bool,
    /// Whether offsets start beyond 2^53, where an f64 cannot represent every integer.
    pub big_offsets: bool,
    /// Whether consumers differ (slow, stalled, stopped, ...). If not, all groups are healthy and all topics
    /// have a steady produce rate.
    pub variety: bool,
    /// Time between two commits of a consumer.
    pub commit_interval: Duration,
    /// Whether the instances of [`SCENARIOS`](crate::SCENARIOS) exist too.
    pub scenarios: bool,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            epoch_ms: None,
            regions: vec!["cn-hangzhou".to_owned()],
            instances_per_region: 2,
            idle_instances_per_region: 1,
            topics_per_instance: 6,
            groups_per_instance: 10,
            partitions_per_topic: 3,
            topics_per_group: 2,
            churn: Churn::default(),
            retention_hours: 72,
            serverless_every: 0,
            local_every: 0,
            unusual_names: false,
            big_offsets: false,
            variety: true,
            commit_interval: Duration::from_secs(5),
            scenarios: false,
        }
    }
}

impl WorldOptions {
    /// Returns a world of regions without instances, for tests that add each object themselves.
    #[must_use]
    pub fn empty<R: Into<String>>(regions: impl IntoIterator<Item = R>) -> Self {
        Self {
            regions: regions.into_iter().map(Into::into).collect(),
            instances_per_region: 0,
            idle_instances_per_region: 0,
            ..Self::default()
        }
    }
}

/// Creation rates of topics and groups in the world. Each creation also deletes an older object of churn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Churn {
    /// Topics created per world hour; 0 for none.
    pub topics_per_hour: u32,
    /// Groups created per world hour; 0 for none.
    pub groups_per_hour: u32,
}

/// Behaviour of the API. All of it can be changed while it runs.
#[derive(Debug, Clone)]
pub struct ServiceBehaviour {
    /// Accepted keys.
    pub keys: Vec<AccessKey>,
    /// Further accepted keys: those issued by credential services, or added and retired by a test.
    pub shared_keys: KeyRegistry,
    /// Duration of each call.
    pub latency: Latency,
    /// Request limit. Calls beyond it fail with `Throttling.User`.
    pub quota: Quota,
    /// Shape of lists.
    pub list_shape: ListShape,
    /// Whether `GetTopicStatus` returns every value as a string, as in the vendor's API reference.
    pub status_strings: bool,
    /// Maximum page size. A larger `PageSize` is reduced to it, and the response contains the reduced size.
    pub page_size_max: u32,
    /// Handling of `HideLastTimestamp`.
    pub hide_last_timestamp: HideLastTimestamp,
    /// Offset of the service's clock (its `Date` and its check of timestamps) in milliseconds. Does not affect
    /// the data of the world.
    pub clock_skew_ms: i64,
    /// Idle time after which a kept-alive connection is closed. Read when a connection is accepted.
    pub close_idle_after: Option<Duration>,
}

impl Default for ServiceBehaviour {
    fn default() -> Self {
        Self {
            keys: vec![AccessKey::new("LTAI5tSimulatorTestKey", "simulator-test-secret")],
            shared_keys: KeyRegistry::default(),
            latency: Latency::default(),
            quota: Quota::default(),
            list_shape: ListShape::Wrapped,
            status_strings: true,
            page_size_max: 100,
            hide_last_timestamp: HideLastTimestamp::Honoured,
            clock_skew_ms: 0,
            close_idle_after: None,
        }
    }
}

/// Duration of each call: `fixed` plus up to `jitter`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// Minimum.
    pub fixed: Duration,
    /// Maximum of the random part. Uniformly distributed and seeded.
    pub jitter: Duration,
}

/// Maximum number of calls per (region, action) in any window of one second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// For actions that are not in `by_action`; `None` for no limit.
    pub per_second: Option<u32>,
    /// For single actions.
    pub by_action: BTreeMap<String, u32>,
    /// HTTP status of throttled calls: 400 or 429.
    pub status: u16,
    /// Value of the header `x-acs-retry-after`, in milliseconds; `None` omits it.
    pub retry_after_ms: Option<u64>,
}

impl Default for Quota {
    fn default() -> Self {
        Self { per_second: None, by_action: BTreeMap::new(), status: 400, retry_after_ms: Some(1000) }
    }
}

/// Handling of the parameter `HideLastTimestamp`, which old versions of the service do not support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HideLastTimestamp {
    /// `true` hides `LastTimestamp`.
    Honoured,
    /// `LastTimestamp` is always returned.
    Ignored,
    /// Calls with the parameter fail with `InvalidParameter.HideLastTimestamp`, whatever its value.
    Refused,
}

/// Shape of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListShape {
    /// `{"TopicList":{"TopicVO":[...]}}`, as the real service returns.
    Wrapped,
    /// `{"TopicList":[...]}` for instances, topics, groups and tags, as in the vendor's API reference.
    Flat,
    /// The same, and for the lists inside of `TopicStatus` and `ConsumerProgress`.
    FlatEverywhere,
}
