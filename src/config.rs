//! Configuration: a YAML file, overlaid by the environment, checked once into values that cannot be wrong.
//!
//! Owns: what may be written ([`keys`]), the checks, and the message for each thing that is wrong: all of
//! them at once, each with its path, its place and what to write instead. Refuses: unknown and repeated
//! keys, defaults for what cannot be guessed, and secrets in messages or in `Debug`.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::model::{AccountName, Filters, RegionId};

mod account;
mod credentials;
mod endpoint;
mod file;
pub mod keys;
mod layer;
mod problem;
mod read;
mod settings;
mod shape;
mod yaml;

pub use account::RequestRates;
pub use credentials::{AccessKey, AccessKeyFiles, AssumeRole, Credentials, CredentialsSource, Oidc, Profile};
pub use endpoint::{Endpoint, Network, Proxy};
pub use file::{load, load_settled};
pub use problem::{Origin, Problem, Problems};

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is read; at least one. Names differ.
    pub accounts: Vec<Account>,
    /// How often, and for how long.
    pub intervals: Intervals,
    /// When the cloud is asked for the times of what groups have read.
    pub last_timestamps: LastTimestamps,
    /// How long one call may take, its answer included.
    pub request_timeout: Duration,
    /// What the page holds.
    pub metrics: Metrics,
}

/// One account of the cloud.
#[derive(Debug, Clone)]
pub struct Account {
    /// The label `account`; `None` where `accounts` is not written.
    pub name: Option<AccountName>,
    /// Which regions are read.
    pub regions: Regions,
    /// Where the access key comes from.
    pub credentials: Credentials,
    /// Which host is called for a region.
    pub endpoint: Endpoint,
    /// How requests are signed.
    pub signature: Signature,
    /// Which objects are looked at.
    pub filters: Filters,
    /// How many calls may be made.
    pub rates: RequestRates,
    /// The HTTP proxy.
    pub proxy: Proxy,
}

/// Which regions of an account are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Regions {
    /// Those in which `GetAllInstanceIdList` finds instances.
    Auto,
    /// These; at least one, each once, all allowed by `filters.regions`.
    List(Vec<RegionId>),
}

impl fmt::Display for Regions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::List(regions) => {
                f.write_str(&regions.iter().map(RegionId::as_str).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// How requests are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// ACS3-HMAC-SHA256, in headers.
    Acs3,
    /// HMAC-SHA1, in the body.
    V1,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acs3 => "acs3",
            Self::V1 => "v1",
        })
    }
}

/// How often things are asked, and for how long answers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Between two listings of instances, topics and groups.
    pub discovery: Duration,
    /// Between two readings of a group's offsets.
    pub poll: Duration,
    /// Between two readings of a topic's offsets; at least `poll`.
    pub topic_poll: Duration,
    /// Between two readings of a group's offsets while none of them moves; at least `poll`, and `stale_after`
    /// has room for one more `poll` after it.
    pub idle_poll: Duration,
    /// The same for topics: `idle_poll`, within what `topic_poll` and `topic_stale_after` leave.
    pub idle_topic_poll: Duration,
    /// How long a value of a group that could not be refreshed is kept; at least twice `poll`.
    pub stale_after: Duration,
    /// The same for topics: `stale_after` where it is written, which is then at least twice `topic_poll`,
    /// else three times `topic_poll`.
    pub topic_stale_after: Duration,
    /// The same for what discovery tells: `stale_after`, but at least three times `discovery`.
    pub discovery_stale_after: Duration,
    /// How far back the status, the rates and the forecasts of a group look; at least four times `poll`, so that
    /// five polls are in it.
    pub status_window: Duration,
}

/// When `GetConsumerProgress` is asked for `LastTimestamp`, which is heavy for the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastTimestamps {
    /// Of groups that lag.
    Lagging,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What the page holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// The finest level that gets series.
    pub granularity: Granularity,
    /// Whose names families have.
    pub naming: Naming,
    /// Hard limit on series about the cloud, at least 1; `None` for no limit.
    pub max_series: Option<u64>,
    /// Constant labels, sorted by name; names are valid and none of the contract's.
    pub labels: Vec<(String, String)>,
    /// Tag keys that are exported, as the cloud spells them, each once.
    pub instance_tags: Vec<String>,
}

/// A level of detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Granularity {
    /// Groups only.
    Group,
    /// Groups and topics.
    Topic,
    /// Groups, topics and partitions.
    Partition,
}

/// Whose names families have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// This program's own.
    Native,
    /// Those of kafka_exporter, where it has the same family.
    KafkaExporter,
}

/// Checks a text with the name of its file, with the environment laid over it.
///
/// # Errors
/// As [`load`].
pub fn parse(file: Option<(&str, &str)>, environment: &BTreeMap<String, String>) -> Result<Config, Problems> {
    let name = file.map(|(name, _)| name);
    let text = file.map_or("", |(_, text)| text);
    let mut root = yaml::parse(text).map_err(|problem| Problems::new(name, vec![*problem]))?;
    let mut problems = Vec::new();
    layer::environment(&mut root, environment, &mut problems);
    shape::check(&root, &mut problems);
    let config = settings::read(&root, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Problems::new(name, problems)),
    }
}
