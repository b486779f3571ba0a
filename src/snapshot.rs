//! The fleet as it is published: immutable views with their ages and outcomes, one generation at a time.
//!
//! Owns: the view types that the page is rendered from. Views are shared by `Arc`: a part that did not
//! change between two generations is the same allocation, which is how the renderer knows that it may
//! keep its bytes. Refuses: rendering, staleness rules (the fleet has applied them), locks that a reader
//! could wait on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{
    lag::{GroupLag, assess::GroupAssessment},
    model::{
        AccountName, GroupId, GroupState, Instance, InstanceId, RegionId, Topic, TopicName, TopicStatus,
        UnixMillis,
    },
};

/// One generation of the whole fleet.
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
    /// Whether the last attempt was complete; `None` before the first has ended.
    pub up: Option<bool>,
    /// Whether everything that the first discovery found has been asked for, good or bad.
    pub first_pass_ended: bool,
    /// When each scope last succeeded.
    pub last_success: LastSuccess,
    /// Objects known, whether or not they have series.
    pub objects: ObjectCounts,
    /// Sorted by instance id.
    pub instances: Vec<Arc<InstanceView>>,
}

impl RegionView {
    /// What people know the region by: `account/region`, or the region alone where accounts have no names.
    #[must_use]
    pub fn name(&self) -> String {
        region_name(self.account.as_ref(), &self.region)
    }
}

/// See [`RegionView::name`].
#[must_use]
pub fn region_name(account: Option<&AccountName>, region: &RegionId) -> String {
    account.map_or_else(|| region.to_string(), |account| format!("{account}/{region}"))
}

/// When a scope last succeeded, by the wall clock. Stays when data is dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastSuccess {
    /// Scope `discovery`: the lists.
    pub discovery: Option<UnixMillis>,
    /// Scope `topics`: the oldest last success among the topics' statuses.
    pub topics: Option<UnixMillis>,
    /// Scope `groups`: the oldest last success among the groups' progresses.
    pub groups: Option<UnixMillis>,
}

/// How many objects a region is known to have, after filters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObjectCounts {
    /// Instances.
    pub instances: usize,
    /// Topics of all instances.
    pub topics: usize,
    /// Groups of all instances.
    pub groups: usize,
}

/// One instance with what is known of its topics and groups.
#[derive(Debug, Clone)]
pub struct InstanceView {
    /// The account's name, where accounts are named.
    pub account: Option<AccountName>,
    /// The region.
    pub region: RegionId,
    /// The instance.
    pub id: InstanceId,
    /// Order of first sight over the whole process; a lower one has been known for longer.
    pub discovery_order: u64,
    /// What the list said, while that is fresh enough.
    pub info: Option<Arc<Instance>>,
    /// Whether the last attempt was complete; `None` before the first has ended, and for an instance
    /// that is not in service.
    pub up: Option<bool>,
    /// When each scope last succeeded.
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
    /// Order of first sight over the whole process.
    pub discovery_order: u64,
    /// What the list said, while that is fresh enough.
    pub info: Option<Arc<Topic>>,
    /// What the topic holds, while that is fresh enough.
    pub status: Option<Arc<TopicStatus>>,
    /// Groups with a committed offset on it; `None` unless every group of the instance is known.
    pub groups: Option<u64>,
}

/// One consumer group.
#[derive(Debug, Clone)]
pub struct GroupView {
    /// The group.
    pub id: GroupId,
    /// Order of first sight over the whole process.
    pub discovery_order: u64,
    /// Whether the list that named it is fresh enough.
    pub listed: bool,
    /// Its lag, while that is fresh enough.
    pub lag: Option<Arc<GroupLag>>,
    /// What else is to be said of it; there whenever the lag is.
    pub assessment: Option<Arc<GroupAssessment>>,
    /// Its state, where the cloud tells it, while the lag is fresh enough.
    pub state: Option<GroupState>,
    /// Its rebalances, where the cloud tells them.
    pub rebalances: Option<Rebalances>,
}

/// The rebalances of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebalances {
    /// How many have been since the exporter first saw the group.
    pub seen: u64,
    /// When the newest one was.
    pub last: UnixMillis,
}

type Published = BTreeMap<(Option<AccountName>, RegionId), Arc<RegionView>>;

/// Where the regions publish their views, and the publisher takes them from.
#[derive(Debug, Default)]
pub struct SnapshotStore {
    regions: Mutex<Published>,
    changed: Notify,
}

impl SnapshotStore {
    /// Puts a region's view in the place of the one before.
    pub fn publish(&self, view: RegionView) {
        let key = (view.account.clone(), view.region.clone());
        self.lock().insert(key, Arc::new(view));
        self.changed.notify_one();
    }

    /// Forgets a region that is looked at no more.
    pub fn remove(&self, account: Option<&AccountName>, region: &RegionId) {
        self.lock().remove(&(account.cloned(), region.clone()));
        self.changed.notify_one();
    }

    /// Puts these regions in the place of all others.
    pub fn replace(&self, views: Vec<RegionView>) {
        let views =
            views.into_iter().map(|view| ((view.account.clone(), view.region.clone()), Arc::new(view)));
        *self.lock() = views.collect();
        self.changed.notify_one();
    }

    /// The present generation.
    #[must_use]
    pub fn current(&self) -> Snapshot {
        Snapshot { regions: self.lock().values().cloned().collect() }
    }

    /// Waits until something was published since the last wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
