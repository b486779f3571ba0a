//! Options that the configuration sets and other modules act on: each is defined once, here.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Duration;
use url::Url;

use super::RegionId;

/// Metric and label names of the exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// This exporter's own names.
    #[default]
    Native,
    /// Names and labels of kafka_exporter for the metrics that it has too, own names for the rest.
    KafkaExporter,
}

/// Finest level of detail that gets series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Granularity {
    /// Groups, topics and partitions.
    #[default]
    Partition,
    /// Groups and topics.
    Topic,
    /// Groups only.
    Group,
}

/// Options of the rendered exposition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RenderOptions {
    /// Finest level of detail that gets series.
    pub granularity: Granularity,
    /// Metric and label names.
    pub naming: Naming,
    /// Maximum number of series about the cloud; `None` for no limit. Series of regions and instances always stay.
    /// Among topics and groups, the ones discovered first stay, each with all its series; dropped ones return once 5
    /// % of the limit is free.
    pub max_series: Option<u64>,
    /// Labels of every series, in this order. The renderer drops invalid, reserved and repeated names.
    pub constant_labels: Vec<(String, String)>,
    /// Tag keys to export on `alikafka_instance_tags`, as the API spells them. Of two keys that map to the same
    /// label the first one wins.
    pub instance_tags: Vec<String>,
}

/// Signature method of API requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureVersion {
    /// RPC signature version 1.0: HMAC-SHA1, everything in the form body.
    V1,
    /// ACS3-HMAC-SHA256: parameters in the query, the signature in a header.
    #[default]
    Acs3,
}

impl fmt::Display for SignatureVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acs3 => "acs3",
            Self::V1 => "v1",
        })
    }
}

/// HTTP proxy for API requests.
#[derive(Clone, Default)]
pub enum ProxySetting {
    /// No proxy, whatever the environment sets.
    #[default]
    None,
    /// The proxy of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    Environment,
    /// The proxy at this URL, which may hold a user and a password.
    Url(SecretString),
}

impl PartialEq for ProxySetting {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) | (Self::Environment, Self::Environment) => true,
            (Self::Url(a), Self::Url(b)) => a.expose_secret() == b.expose_secret(),
            _ => false,
        }
    }
}

impl fmt::Debug for ProxySetting {
    /// Writes the URL without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = match self {
            Self::None => return f.write_str("none"),
            Self::Environment => return f.write_str("environment"),
            Self::Url(url) => url.expose_secret(),
        };
        let Ok(url) = Url::parse(url) else { return f.write_str("invalid URL") };
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        url.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Regions of an account to monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegionSelection {
    /// The regions in which `GetAllInstanceIdList` finds instances.
    Auto,
    /// These regions.
    List(Vec<RegionId>),
}

impl fmt::Display for RegionSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::List(regions) => {
                f.write_str(&regions.iter().map(RegionId::as_str).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Consumer groups for which to request `LastTimestamp`, which is expensive for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastTimestamps {
    /// Groups with lag, and groups that have not been polled yet.
    #[default]
    Lagging,
    /// Every group.
    Always,
    /// No group: lag in seconds then relies on the poll history alone.
    Never,
}

/// Poll intervals, and the ages at which cached values expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollTiming {
    /// Interval of discovery: instances, topics and groups.
    pub discovery: Duration,
    /// Interval between two polls of a group's progress.
    pub poll: Duration,
    /// Interval between two polls of a topic's status; at least `poll`.
    pub topic_poll: Duration,
    /// Interval between two polls of an idle group; at least `poll`, and short enough that one more `poll`
    /// fits into `stale_after`.
    pub idle_poll: Duration,
    /// Interval between two polls of an idle topic, or of one whose end offsets its groups report.
    pub idle_topic_poll: Duration,
    /// Maximum age of a group's progress; at least twice `poll`.
    pub stale_after: Duration,
    /// Maximum age of a topic's status; at least twice `topic_poll`.
    pub topic_stale_after: Duration,
    /// Maximum age of discovered instances, topics and groups.
    pub discovery_stale_after: Duration,
    /// Timeout of one API call, including its response. No poll target gets a shorter deadline.
    pub request_timeout: Duration,
    /// Period over which the status, rates and forecasts of a group are computed; at least four times `poll`,
    /// so that it contains five polls.
    pub status_window: Duration,
    /// Groups for which to request `LastTimestamp`.
    pub last_timestamps: LastTimestamps,
}
