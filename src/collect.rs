//! Collection: discovers and polls every region of every account, and publishes their views.
//!
//! Owns when to poll what, and what a response or its absence means for the known state. One
//! [`AccountSupervisor`] per account starts one poller per region. Everything else is pure: [`state`] is changed
//! by poll outcomes, [`schedule`] holds the due times, [`failure_log`] and [`budget_shortage`] decide which log
//! lines are worth writing.
//!
//! Out of scope: the wire (the caller passes a [`CloudApi`](crate::api::CloudApi)), rendering, and waiting for scrapes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Duration;

use crate::{
    api::Action,
    clock::WallClock,
    health::Health,
    model::{
        AccountName, AnomalyKind, Filters, GroupId, InstanceId, PollTiming, RegionId, RegionSelection,
        TopicName,
    },
    snapshot::SnapshotStore,
};

pub mod account;
mod auth_breaker;
pub mod budget_shortage;
pub mod explain_router;
pub mod failure_log;
mod log;
pub mod poller;
pub mod schedule;
pub mod state;

pub use account::AccountSupervisor;
pub use explain_router::ExplainRouter;
pub use schedule::PollPriority;

/// Configuration of the collection for one account.
pub struct AccountPlan<C> {
    /// Account name, where accounts are named.
    pub name: Option<AccountName>,
    /// Regions to poll.
    pub regions: RegionSelection,
    /// Region whose endpoint serves `GetAllInstanceIdList` for `RegionSelection::Auto`; any region would do.
    pub home_region: RegionId,
    /// Objects to poll.
    pub filters: Filters,
    /// Poll intervals and maximum ages.
    pub timing: PollTiming,
    /// Configured rate limit of each action.
    pub configured_rate: ConfiguredRate,
    /// Creates the client of a region.
    pub connect: ClientFactory<C>,
}

/// Creates the client of a region, or returns why that is impossible.
pub type ClientFactory<C> = Arc<dyn Fn(&RegionId) -> Result<C, String> + Send + Sync>;

/// Returns the configured rate limit of an action, in calls per second.
pub type ConfiguredRate = Arc<dyn Fn(Action) -> f64 + Send + Sync>;

/// Services that all supervisors and pollers share.
#[derive(Clone)]
pub struct CollectContext {
    /// Receives the views.
    pub store: Arc<SnapshotStore>,
    /// Receives heartbeats and the ends of first passes.
    pub health: Health,
    /// Receives counts and measurements.
    pub observer: Arc<dyn CollectObserver>,
    /// The wall clock.
    pub clock: WallClock,
    /// Source of discovery sequence numbers.
    pub sequence: Arc<DiscoverySequence>,
    /// Router of explain requests.
    pub explain_router: ExplainRouter,
}

/// Source of discovery sequence numbers, increasing over the lifetime of the process.
#[derive(Debug, Default)]
pub struct DiscoverySequence(AtomicU64);

impl DiscoverySequence {
    /// Returns the next number.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Observer of the collection, e.g. for self-metrics.
pub trait CollectObserver: Send + Sync {
    /// A response contained an anomaly.
    fn anomaly(&self, kind: AnomalyKind);
    /// A poll ended this long after its target was due.
    fn lateness(&self, account: Option<&AccountName>, region: &RegionId, lateness: Duration);
    /// The demand of an action, and its current rate limit, both in calls per second.
    fn demand(
        &self,
        account: Option<&AccountName>,
        region: &RegionId,
        action: Action,
        demand: f64,
        allowed: f64,
    );
    /// A region is no longer polled, so its self-metrics can be dropped.
    fn region_ended(&self, account: Option<&AccountName>, region: &RegionId);
}

/// A single thing that can be polled in a region: the unit of scheduling and of failure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PollTarget {
    /// Instance list of the region.
    Instances,
    /// Topic list of an instance.
    Topics(InstanceId),
    /// Group list of an instance.
    Groups(InstanceId),
    /// Status of a topic.
    TopicStatus(InstanceId, TopicName),
    /// Consumption progress of a group.
    GroupProgress(InstanceId, GroupId),
}

impl PollTarget {
    /// Returns the API action that polls it.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Instances => Action::GetInstanceList,
            Self::Topics(_) => Action::GetTopicList,
            Self::Groups(_) => Action::GetConsumerList,
            Self::TopicStatus(..) => Action::GetTopicStatus,
            Self::GroupProgress(..) => Action::GetConsumerProgress,
        }
    }

    /// Returns its instance.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Instances => None,
            Self::Topics(id) | Self::Groups(id) | Self::TopicStatus(id, _) | Self::GroupProgress(id, _) => {
                Some(id)
            }
        }
    }

    /// Returns the name of its topic or group.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        match self {
            Self::TopicStatus(_, topic) => Some(topic.as_str()),
            Self::GroupProgress(_, group) => Some(group.as_str()),
            Self::Instances | Self::Topics(_) | Self::Groups(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
