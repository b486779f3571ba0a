//! The fleet as views: what is fresh enough to be shown, shared with the generation before where nothing
//! changed.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::{Duration, Instant};

use super::{InstanceEntry, Now, PollStatus, RegionState};
use crate::{
    api::Action,
    model::{AccountName, InstanceId, RegionId, TopicName, UnixMillis},
    snapshot::{InstanceView, LastSuccess, ObjectCounts, RegionView},
};

impl RegionState {
    /// Drops what is older than its bound. Returns whether anything was dropped.
    pub fn expire(&mut self, now: Now) -> bool {
        self.prune(now);
        let list = self.timing.hold(Action::GetInstanceList);
        let progress = self.timing.hold(Action::GetConsumerProgress);
        let status = self.timing.hold(Action::GetTopicStatus);
        let mut any = false;
        for member in self.instances.values_mut() {
            let mut dropped = member.info.expire(now, list) | member.is_to_be_reassessed(now.mono);
            for (name, topic) in &mut member.topics {
                // Not `||`: each of the two is to expire.
                if topic.info.expire(now, list) | topic.status.expire(now, status) {
                    topic.view = None;
                    member.changed.insert(name.clone());
                    dropped = true;
                }
            }
            for group in member.groups.values_mut() {
                if group.listed.expire(now, list) | group.lag.expire(now, progress) {
                    group.view = None;
                    dropped = true;
                }
            }
            if dropped {
                member.view = None;
            }
            any |= dropped;
        }
        any
    }

    /// What is to be shown now.
    pub fn view(&mut self, now: Now) -> RegionView {
        self.expire(now);
        self.first_pass_ended();
        let scope = ViewContext {
            account: &self.account,
            region: &self.region,
            window: self.timing.request_timeout,
            status_window: self.timing.status_window,
            now: now.mono,
        };
        let instances: Vec<Arc<InstanceView>> =
            self.instances.iter_mut().map(|(id, member)| member.view(id, scope)).collect();
        let serving = || {
            let serving = self.instances.values().filter(|m| m.in_service);
            serving.filter_map(|m| m.view.as_ref())
        };
        let all_down = serving().count() > 0 && serving().all(|i| i.up == Some(false));
        RegionView {
            account: self.account.clone(),
            region: self.region.clone(),
            up: self.list.attempted.then_some(!self.list.failing && !all_down),
            first_pass_ended: self.first_pass_ended,
            last_success: LastSuccess {
                discovery: self.list.last_success,
                topics: oldest(serving().map(|i| i.last_success.topics)),
                groups: oldest(serving().map(|i| i.last_success.groups)),
            },
            objects: ObjectCounts {
                instances: self.instances.len(),
                topics: self.instances.values().map(|m| m.topics.len()).sum(),
                groups: self.instances.values().map(|m| m.groups.len()).sum(),
            },
            instances,
        }
    }
}

#[derive(Clone, Copy)]
struct ViewContext<'a> {
    account: &'a Option<AccountName>,
    region: &'a RegionId,
    /// See [`super::ends`].
    window: Duration,
    /// See [`crate::collect::PollTiming::status_window`].
    status_window: Duration,
    now: Instant,
}

impl InstanceEntry {
    fn view(&mut self, id: &InstanceId, scope: ViewContext<'_>) -> Arc<InstanceView> {
        if let Some(view) = &self.view {
            return Arc::clone(view);
        }
        self.reassess(scope.status_window, scope.now);
        let up = (self.in_service && self.first_pass_ended).then(|| !self.failing());
        let readers = self.readers();
        let topics = self.topics.iter_mut().map(|(name, topic)| {
            topic.view(name, readers.as_ref().map(|r| r.get(name).copied().unwrap_or(0)), scope.window)
        });
        let topics = topics.collect();
        let groups = self.groups.iter_mut().map(|(id, group)| group.view(id)).collect();
        let view = Arc::new(InstanceView {
            account: scope.account.clone(),
            region: scope.region.clone(),
            id: id.clone(),
            discovery_order: self.discovery_order,
            info: self.info.get().cloned(),
            up,
            last_success: self.last_success(),
            topics,
            groups,
        });
        self.view = Some(Arc::clone(&view));
        view
    }

    /// How many groups have committed on each topic; `None` unless every group's progress is known.
    fn readers(&self) -> Option<BTreeMap<TopicName, u64>> {
        if !self.all_groups_listed {
            return None;
        }
        let mut readers = BTreeMap::new();
        for group in self.groups.values() {
            for topic in group.lag.get()?.topics.iter().filter(|t| t.is_consumed()) {
                *readers.entry(topic.topic.clone()).or_default() += 1;
            }
        }
        Some(readers)
    }

    fn failing(&self) -> bool {
        self.topic_list.failing
            || self.group_list.failing
            || self.topics.values().any(|t| t.status.record.failing)
            || self.groups.values().any(|g| g.lag.record.failing)
    }

    pub(super) fn last_success(&self) -> LastSuccess {
        let lists = [&self.group_list, &self.topic_list];
        let lists: Vec<Option<UnixMillis>> = lists.into_iter().map(|l| l.last_success).collect();
        let scope = |list: &PollStatus, targets: Vec<Option<UnixMillis>>| {
            if targets.is_empty() { list.last_success } else { oldest(targets.into_iter()) }
        };
        LastSuccess {
            discovery: lists
                .iter()
                .all(Option::is_some)
                .then(|| oldest(lists.into_iter()))
                .flatten()
                .or(self.before.discovery),
            topics: scope(
                &self.topic_list,
                self.topics.values().map(|t| t.status.record.last_success).collect(),
            )
            .or(self.before.topics),
            groups: scope(
                &self.group_list,
                self.groups.values().map(|g| g.lag.record.last_success).collect(),
            )
            .or(self.before.groups),
        }
    }
}

/// The oldest of the times that are known. What never succeeded has no time; `*_up` speaks of it.
fn oldest(times: impl Iterator<Item = Option<UnixMillis>>) -> Option<UnixMillis> {
    times.flatten().min()
}
