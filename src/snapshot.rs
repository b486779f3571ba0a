//! Immutable snapshots of the monitored fleet, from which the metrics are rendered.
//!
//! Views are shared by `Arc`. A part that has not changed between two generations is the same allocation, so the
//! renderer keeps its text. Out of scope: rendering, and expiry, which the region state has already applied.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::Notify;

use crate::{
    lag::{GroupLag, assess::GroupAssessment},
    model::{
        AccountName, GroupId, GroupState, Instance, InstanceId, RegionId, Topic, TopicName, TopicStatus,
        UnixMillis,
    },
};

/// One generation of the fleet.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Sorted by account, then region.
    pub regions: Vec<Arc<RegionView>>,
}

/// One region of one account.
#[derive(Debug, Clone)]
pub struct RegionView {
    /// The account's name, where accounts are named.
    pub account: Option<AccountName>,
    /// The region.
    pub region: RegionId,
    /// Whether the last discovery was complete and any instance can be read; `None` before the first discovery.
    pub up: Option<bool>,
    /// Whether everything that the first discovery found has been polled, successfully or not.
    pub first_pass_ended: bool,
    /// Last success of each scope.
    pub last_success: LastSuccess,
    /// Known objects, with or without series.
    pub objects: ObjectCounts,
    /// Sorted by instance id.
    pub instances: Vec<Arc<InstanceView>>,
}

impl RegionView {
    /// Returns the display name: `account/region`, or the region alone if accounts have no names.
    #[must_use]
    pub fn name(&self) -> String {
        region_name(self.account.as_ref(), &self.region)
    }
}

/// Returns the display name of a region, see [`RegionView::name`].
#[must_use]
pub fn region_name(account: Option<&AccountName>, region: &RegionId) -> String {
    account.map_or_else(|| region.to_string(), |account| format!("{account}/{region}"))
}

/// Wall time of the last success of each scope. Kept when data expires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastSuccess {
    /// Scope `discovery`: the lists.
    pub discovery: Option<UnixMillis>,
    /// Scope `topics`: the oldest last success among the topic statuses.
    pub topics: Option<UnixMillis>,
    /// Scope `groups`: the oldest last success among the polls of groups.
    pub groups: Option<UnixMillis>,
}

/// Numbers of known objects of a region, after filters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObjectCounts {
    /// Instances.
    pub instances: usize,
    /// Topics of all instances.
    pub topics: usize,
    /// Groups of all instances.
    pub groups: usize,
}

/// One instance with its topics and groups.
#[derive(Debug, Clone)]
pub struct InstanceView {
    /// The account's name, where accounts are named.
    pub account: Option<AccountName>,
    /// The region.
    pub region: RegionId,
    /// The instance.
    pub id: InstanceId,
    /// Discovery sequence number, unique in the process; lower is older.
    pub discovery_order: u64,
    /// Item of the instance list, unless expired.
    pub info: Option<Arc<Instance>>,
    /// Whether all last polls succeeded; `None` before the first pass has ended, and for an instance that is not
    /// in service.
    pub up: Option<bool>,
    /// Last success of each scope.
    pub last_success: LastSuccess,
    /// Sorted by name.
    pub topics: Vec<Arc<TopicView>>,
    /// Sorted by id.
    pub groups: Vec<Arc<GroupView>>,
}

/// One topic.
#[derive(Debug, Clone)]
pub struct TopicView {
    /// The topic.
    pub name: TopicName,
    /// Discovery sequence number.
    pub discovery_order: u64,
    /// Item of the topic list, unless expired.
    pub info: Option<Arc<Topic>>,
    /// Offsets and messages of the topic, unless expired.
    pub status: Option<Arc<TopicStatus>>,
    /// Number of groups with committed offsets on it; `None` unless the progress of every group is known.
    pub groups: Option<u64>,
}

/// One consumer group.
#[derive(Debug, Clone)]
pub struct GroupView {
    /// The group.
    pub id: GroupId,
    /// Discovery sequence number.
    pub discovery_order: u64,
    /// Whether a recent group list contains it.
    pub listed: bool,
    /// Lag, unless expired.
    pub lag: Option<Arc<GroupLag>>,
    /// Assessment of the lag. Present if the lag is.
    pub assessment: Option<Arc<GroupAssessment>>,
    /// State, if the API reports it and the lag has not expired.
    pub state: Option<GroupState>,
    /// Rebalances, if the API reports them.
    pub rebalances: Option<Rebalances>,
}

/// Rebalances of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rebalances {
    /// Number of rebalances since the exporter discovered the group.
    pub seen: u64,
    /// Time of the last one.
    pub last: UnixMillis,
}

type RegionViews = BTreeMap<(Option<AccountName>, RegionId), Arc<RegionView>>;

/// Latest view of each region, from pollers to the publisher.
#[derive(Debug, Default)]
pub struct SnapshotStore {
    regions: Mutex<RegionViews>,
    changed: Notify,
}

impl SnapshotStore {
    /// Replaces the view of a region.
    pub fn publish(&self, view: RegionView) {
        let (key, view) = keyed(view);
        self.lock().insert(key, view);
        self.changed.notify_one();
    }

    /// Removes a region that is no longer polled.
    pub fn remove(&self, account: Option<&AccountName>, region: &RegionId) {
        self.lock().remove(&(account.cloned(), region.clone()));
        self.changed.notify_one();
    }

    /// Replaces all views.
    pub fn replace(&self, views: Vec<RegionView>) {
        *self.lock() = views.into_iter().map(keyed).collect();
        self.changed.notify_one();
    }

    /// Returns the current generation.
    #[must_use]
    pub fn current(&self) -> Snapshot {
        Snapshot { regions: self.lock().values().cloned().collect() }
    }

    /// Waits until a view has changed since the last wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, RegionViews> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keyed(view: RegionView) -> ((Option<AccountName>, RegionId), Arc<RegionView>) {
    ((view.account.clone(), view.region.clone()), Arc::new(view))
}
