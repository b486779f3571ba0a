//! When and what to ask: discovery and polling of every region of every account.
//!
//! Owns: the loops (one a region, one an account whose regions are found by asking), what is due when,
//! and what an answer or its absence means for the fleet. Refuses: the wire (a [`CloudApi`] is handed in),
//! rendering, and waiting for a scrape.
//!
//! The parts are pure but for the loops: [`state`] is a state that answers are applied to, [`schedule`] is
//! a queue of due times, [`failure_log`] and [`budget_shortage`] decide which log line a failure or a short budget is
//! worth.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Duration;

use crate::{
    api::{Action, CloudApi},
    clock::WallClock,
    health::Health,
    model::{
        AccountName, AnomalyKind, Filters, GroupId, InstanceId, MessageTimestamps, PollTiming, RegionId,
        RegionSelection, TopicName,
    },
    snapshot::SnapshotStore,
};

pub mod account;
mod auth_breaker;
pub mod budget_shortage;
pub mod desk;
pub mod failure_log;
mod log;
pub mod poller;
pub mod schedule;
pub mod state;

pub use account::AccountSupervisor;
pub use desk::Desk;
pub use schedule::PollPriority;

impl PollTiming {
    /// Between two calls for the same target of this action, unless nothing of it moves.
    #[must_use]
    pub fn interval(&self, action: Action) -> Duration {
        match action {
            Action::GetConsumerProgress => self.poll,
            Action::GetTopicStatus => self.topic_poll,
            Action::GetAllInstanceIdList
            | Action::GetInstanceList
            | Action::GetTopicList
            | Action::GetConsumerList => self.discovery,
        }
    }

    /// Between two calls for the same target of this action that deserves this pace.
    #[must_use]
    pub fn interval_at(&self, action: Action, pace: PollPriority) -> Duration {
        match (action, pace) {
            (Action::GetConsumerProgress, PollPriority::Idle) => self.idle_poll,
            (Action::GetTopicStatus, PollPriority::Idle) => self.idle_topic_poll,
            _ => self.interval(action),
        }
    }

    /// How long an answer to this action is kept when it cannot be refreshed.
    #[must_use]
    pub fn hold(&self, action: Action) -> Duration {
        match action {
            Action::GetConsumerProgress => self.stale_after,
            Action::GetTopicStatus => self.topic_stale_after,
            Action::GetAllInstanceIdList
            | Action::GetInstanceList
            | Action::GetTopicList
            | Action::GetConsumerList => self.discovery_stale_after,
        }
    }
}

/// What the loops of one account need to know.
pub struct AccountPlan<C> {
    /// The name, where accounts are named.
    pub name: Option<AccountName>,
    /// Which regions to look at.
    pub regions: RegionSelection,
    /// Region whose endpoint serves `GetAllInstanceIdList` for `RegionSelection::Auto`; any region would do.
    pub home_region: RegionId,
    /// Which objects to look at.
    pub filters: Filters,
    /// Clocks and bounds.
    pub timing: PollTiming,
    /// Calls a second that an action is configured to be allowed, for sizing and for the plan's log line.
    pub rate: ConfiguredRate,
    /// Makes the client of a region; a text says why that cannot be.
    pub connect: CloudFactory<C>,
}

/// Makes the client of a region.
pub type CloudFactory<C> = Arc<dyn Fn(&RegionId) -> Result<C, String> + Send + Sync>;

/// Calls a second that an action is allowed.
pub type ConfiguredRate = Arc<dyn Fn(Action) -> f64 + Send + Sync>;

/// What all loops share.
#[derive(Clone)]
pub struct CollectContext {
    /// Where views are published.
    pub store: Arc<SnapshotStore>,
    /// Heartbeats and first passes.
    pub health: Health,
    /// Who counts what the loops see.
    pub observer: Arc<dyn CollectObserver>,
    /// The wall clock.
    pub clock: WallClock,
    /// Order of first sight.
    pub sequence: Arc<DiscoverySequence>,
    /// Where questions are put to the loops.
    pub desk: Desk,
}

/// Hands out the order in which objects were first seen, over the whole process.
#[derive(Debug, Default)]
pub struct DiscoverySequence(AtomicU64);

impl DiscoverySequence {
    /// The next place in the order.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Counts what the loops see. The wiring turns this into metrics.
pub trait CollectObserver: Send + Sync {
    /// An answer was odd.
    fn anomaly(&self, kind: AnomalyKind);
    /// A target's call has ended this long after the target was due.
    fn lateness(&self, account: Option<&AccountName>, region: &RegionId, lateness: Duration);
    /// What the fleet needs of an action, in calls a second, and what the budget allows now.
    fn demand(
        &self,
        account: Option<&AccountName>,
        region: &RegionId,
        action: Action,
        needs: f64,
        allowed: f64,
    );
    /// A region is looked at no more; its own series may go.
    fn region_ended(&self, account: Option<&AccountName>, region: &RegionId);
}

/// One thing that can be asked of a region: the target of scheduling and of failure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PollTarget {
    /// The region's instances.
    Instances,
    /// An instance's topics.
    Topics(InstanceId),
    /// An instance's groups.
    Groups(InstanceId),
    /// What a topic holds.
    TopicStatus(InstanceId, TopicName),
    /// How far a group has read.
    GroupProgress(InstanceId, GroupId),
}

impl PollTarget {
    /// The action that answers it.
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

    /// The instance that it belongs to.
    #[must_use]
    pub fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Instances => None,
            Self::Topics(id) | Self::Groups(id) => Some(id),
            Self::TopicStatus(id, _) | Self::GroupProgress(id, _) => Some(id),
        }
    }

    /// The topic or group that it is about.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        match self {
            Self::TopicStatus(_, topic) => Some(topic.as_str()),
            Self::GroupProgress(_, group) => Some(group.as_str()),
            Self::Instances | Self::Topics(_) | Self::Groups(_) => None,
        }
    }
}

/// Asks the cloud for a target. `times` is for the progress of a group.
async fn ask<C: CloudApi>(
    cloud: &C,
    target: &PollTarget,
    times: MessageTimestamps,
    deadline: tokio::time::Instant,
) -> state::PollOutcome {
    use state::PollResponse;
    match target {
        PollTarget::Instances => cloud.instances(deadline).await.map(PollResponse::Instances),
        PollTarget::Topics(i) => cloud.topics(i, deadline).await.map(PollResponse::Topics),
        PollTarget::Groups(i) => cloud.groups(i, deadline).await.map(PollResponse::Groups),
        PollTarget::TopicStatus(i, topic) => {
            let answer = cloud.topic_status(i, topic, deadline).await;
            answer.map(|(seen, origin)| PollResponse::TopicStatus(seen, origin))
        }
        PollTarget::GroupProgress(i, g) => {
            let answer = cloud.group_progress(i, g, times, deadline).await;
            answer.map(|(seen, origin)| PollResponse::GroupProgress(seen, origin))
        }
    }
}

#[cfg(test)]
mod tests;
