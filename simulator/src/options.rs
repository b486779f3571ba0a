//! What a simulator is told at its start: the size of its world, and how the service behaves.
//!
//! Owns: [`SimulatorOptions`] and its parts. Refuses: checking; a nonsensical size makes a small world, not an error.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use crate::access_keys::KeyRegistry;

/// Everything that a simulator is told at its start. The default is a small seeded world on a free port.
#[derive(Debug, Clone)]
pub struct SimulatorOptions {
    /// Where to listen. Default `127.0.0.1:0`: a free port.
    pub listen: SocketAddr,
    /// How the world's time passes.
    pub clock: ClockMode,
    /// What there is in the world.
    pub world: WorldOptions,
    /// How the service answers. Can be changed while it runs, with `Simulator::behaviour`.
    pub behaviour: ServiceBehaviour,
    /// Calls that the ledger keeps in full; older ones only count. Default 200,000.
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

/// How the world's time passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClockMode {
    /// Only by `Simulator::advance`. The clock starts at the wall time, or at `WorldOptions::epoch_ms`.
    Manual,
    /// By itself.
    RealTime {
        /// World seconds per real second; 1.0 is real time.
        speed: f64,
    },
}

/// What there is in the world. Equal options make equal worlds.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// The seed of every random choice.
    pub seed: u64,
    /// The world's first moment, in milliseconds since 1970; the wall time if `None`.
    pub epoch_ms: Option<i64>,
    /// The regions that exist.
    pub regions: Vec<String>,
    /// Instances in service in each region.
    pub instances_per_region: u32,
    /// Further instances in each region that are not in service: pending, expired, stopped, in turn.
    pub idle_instances_per_region: u32,
    /// Topics of each instance in service.
    pub topics_per_instance: u32,
    /// ConsumerMode groups of each instance in service.
    pub groups_per_instance: u32,
    /// Partitions of each topic.
    pub partitions_per_topic: u32,
    /// Topics that each group reads.
    pub topics_per_group: u32,
    /// How fast topics and groups come and go.
    pub churn: Churn,
    /// How long messages are kept, in hours (`MsgRetain`).
    pub retention_hours: u32,
    /// Every how-manieth instance is serverless, and tells no `LastTimestamp`; 0 for none.
    pub serverless_every: u32,
    /// Every how-manieth topic has Local storage, and tells no `LastTimestamp`; 0 for none.
    pub local_every: u32,
    /// Whether some names hold Chinese, quotes, backslashes, spaces and reserved characters.
    pub unusual_names: bool,
    /// Whether offsets start beyond 2^53, where an f64 can no longer tell neighbours apart.
    pub big_offsets: bool,
    /// Whether consumers differ (slow, stalled, stopped, ...). If not, all are healthy and all topics steady.
    pub variety: bool,
    /// Time between two commits of a consumer.
    pub commit_interval: Duration,
    /// Whether the instances of `World::add_scenarios` are there too.
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
    /// A world of regions without instances, for tests that put in each object by hand.
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

/// How fast topics and groups come and go, over the whole world. At each event one is made and an older
/// one of those made so is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Churn {
    /// Topics made per world hour; 0 for none.
    pub topics_per_hour: u32,
    /// Groups made per world hour; 0 for none.
    pub groups_per_hour: u32,
}

/// How the service answers. All of it can be changed while it runs.
#[derive(Debug, Clone)]
pub struct ServiceBehaviour {
    /// Who may call.
    pub keys: Vec<AccessKey>,
    /// Who may call too: keys that other services hand out, or that a test puts in and retires.
    pub shared_keys: KeyRegistry,
    /// Time that each call takes.
    pub latency: Latency,
    /// Calls per second that are let through; beyond it `Throttling.User`.
    pub quota: Quota,
    /// How lists are wrapped.
    pub list_shape: ListShape,
    /// Whether `GetTopicStatus` tells every value as a string, as the vendor's reference prints it.
    pub status_strings: bool,
    /// Largest page served; a larger `PageSize` is cut to it, and the cut size is told.
    pub page_size_max: u32,
    /// What comes of `HideLastTimestamp` in a call.
    pub hide_last_timestamp: HideLastTimestamp,
    /// Milliseconds by which the service's clock is off (its `Date` and its check of timestamps). The
    /// world's data does not move with it.
    pub clock_skew_ms: i64,
    /// Closes a kept-alive connection after this idle time. Read when a connection is accepted.
    pub close_idle_after: Option<Duration>,
    /// Whether timestamps are checked against the wall clock too. On by default, so that a client that
    /// lives in wall time can use a world whose time was moved.
    pub accept_wall_clock: bool,
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
            accept_wall_clock: true,
        }
    }
}

/// A key that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// `AccessKeyId`.
    pub id: String,
    /// The secret that signs.
    pub secret: String,
    /// The token that must come with it: a temporary (STS) key.
    pub security_token: Option<String>,
    /// Wall time, in milliseconds since 1970, after which the token is refused.
    pub token_expires_ms: Option<i64>,
    /// Whether the key is in use; if not, `InvalidAccessKeyId.Inactive`.
    pub active: bool,
    /// Actions that RAM denies to it, as API names (`GetTopicStatus`) or RAM names (`alikafka:ListTopic`).
    pub denied: BTreeSet<String>,
}

impl AccessKey {
    /// A lasting key that may do everything.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            security_token: None,
            token_expires_ms: None,
            active: true,
            denied: BTreeSet::new(),
        }
    }

    /// The same, as a temporary key with a token.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.security_token = Some(token.into());
        self
    }

    /// The same, with one more action denied.
    #[must_use]
    pub fn denying(mut self, action: impl Into<String>) -> Self {
        self.denied.insert(action.into());
        self
    }
}

/// Time that each call takes: `fixed`, and up to `jitter` more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// The least.
    pub fixed: Duration,
    /// The most on top, evenly spread, seeded.
    pub jitter: Duration,
}

/// Calls let through per (region, action) in any window of one second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// For actions without a number of their own; `None` is without limit.
    pub per_second: Option<u32>,
    /// For single actions.
    pub by_action: BTreeMap<String, u32>,
    /// HTTP status of the refusal: 400 or 429.
    pub status: u16,
    /// Value of the header `x-acs-retry-after`, in milliseconds; `None` leaves it out.
    pub retry_after_ms: Option<u64>,
}

impl Default for Quota {
    fn default() -> Self {
        Self { per_second: None, by_action: BTreeMap::new(), status: 400, retry_after_ms: Some(1000) }
    }
}

/// What comes of the parameter `HideLastTimestamp`, which is younger than the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HideLastTimestamp {
    /// `true` hides `LastTimestamp`.
    Honoured,
    /// Times are told all the same.
    Ignored,
    /// A call that has it, whatever its value, is refused: `InvalidParameter.HideLastTimestamp`.
    Refused,
}

/// How lists are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListShape {
    /// `{"TopicList":{"TopicVO":[...]}}`, as the service does.
    Wrapped,
    /// `{"TopicList":[...]}` for instances, topics, groups and tags, as the vendor's reference prints it.
    Flat,
    /// The same for the lists of offsets, topics and rebalances inside of the detail answers too.
    FlatEverywhere,
}
