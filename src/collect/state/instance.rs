//! One instance with its topics and groups: its state, how lists change it, and its view.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::{Duration, Instant};

use super::{
    ApplyContext, Effects, RegionEvent,
    cached::{Cached, Now, PollStatus},
    group::GroupEntry,
    topic::{NeededOffsets, TopicTable},
};
use crate::{
    collect::PollTarget,
    lag::{
        end_history::{self, EndHistory},
        facts::TopicFacts,
    },
    model::{
        AccountName, Filters, GroupId, GroupProgress, Instance, InstanceId, InstanceState, Listing, Observed,
        PollTiming, RegionId, ResponseOrigin, Topic, TopicName, UnixMillis,
    },
    snapshot::{InstanceView, LastSuccess},
};

/// Memory limit of histories, in bytes per partition of each group. End histories get what group windows do not use.
/// Between two prunings, histories grow by a point or two per partition.
const BYTES_PER_PARTITION: usize = 180;
/// Minimum number of history points per partition. Fewer cannot bound the lag in time.
const MIN_POINTS: usize = 2;
/// Minimum pause between two reassessments of an instance, per partition of each group: 20 times the measured
/// cost, so that reassessing uses at most 5 % of a core.
const REASSESS_PAUSE_PER_PARTITION: Duration = Duration::from_micros(12);
/// Pauses shorter than this are ignored.
const MIN_REASSESS_PAUSE: Duration = Duration::from_millis(100);

/// State of one instance.
#[derive(Debug)]
pub(super) struct InstanceEntry {
    id: InstanceId,
    discovery_order: u64,
    /// Item of the instance list.
    pub(super) info: Cached<Instance>,
    /// Whether its topics and groups can be polled, by its state.
    pub(super) in_service: bool,
    first_pass_ended: bool,
    /// Last successes before the topics and groups were last dropped.
    earlier_success: LastSuccess,
    topic_list: PollStatus,
    group_list: PollStatus,
    pub(super) topics: TopicTable,
    pub(super) groups: BTreeMap<GroupId, GroupEntry>,
    /// Whether the last group list was complete and filters exclude none of it. Otherwise the number of groups
    /// that consume a topic is unknown.
    all_groups_listed: bool,
    /// Time at which assessments were last recomputed after a topic change.
    reassessed_at: Option<Instant>,
    view: Option<Arc<InstanceView>>,
}

/// Names and settings that a view needs.
#[derive(Clone, Copy)]
pub(super) struct ViewContext<'a> {
    pub(super) account: &'a Option<AccountName>,
    pub(super) region: &'a RegionId,
    pub(super) timing: &'a PollTiming,
    pub(super) now: Instant,
}

impl InstanceEntry {
    pub(super) fn new(id: InstanceId, discovery_order: u64) -> Self {
        Self {
            topics: TopicTable::new(id.clone()),
            id,
            discovery_order,
            info: Cached::default(),
            in_service: false,
            first_pass_ended: false,
            earlier_success: LastSuccess::default(),
            topic_list: PollStatus::default(),
            group_list: PollStatus::default(),
            groups: BTreeMap::new(),
            all_groups_listed: false,
            reassessed_at: None,
            view: None,
        }
    }

    /// Applies its item of the instance list.
    pub(super) fn apply_info(&mut self, info: Instance, now: Now, effects: &mut Effects) {
        if let Some(known) = self.info.get() {
            if known.name != info.name {
                effects.events.push(RegionEvent::InstanceRenamed(self.id.clone()));
            }
            if known.state != info.state {
                effects.events.push(RegionEvent::InstanceStateChanged(self.id.clone(), info.state));
            }
        }
        // An instance whose state is missing is polled. One in an unknown state is not.
        let in_service = info.state.is_none_or(InstanceState::in_service);
        if self.in_service && !in_service {
            effects.removed.extend(self.targets());
            self.drop_details();
        }
        if !self.in_service && in_service {
            effects.added.extend(self.lists());
        }
        self.in_service = in_service;
        self.info.set(info, now);
    }

    /// Applies a response to `GetTopicList`.
    pub(super) fn apply_topics(
        &mut self,
        response: Observed<Listing<Topic>>,
        context: &mut ApplyContext<'_>,
    ) {
        let Observed { value: list, anomalies } = response;
        context.effects.anomalies = anomalies;
        let knows_topics = !self.topics.entries.is_empty();
        if self.topic_list.record_list(&list, knows_topics, "topics", context.now, context.effects) {
            self.topics.apply_list(list, context);
        }
    }

    /// Applies a response to `GetConsumerList`.
    pub(super) fn apply_groups(
        &mut self,
        response: Observed<Listing<GroupId>>,
        context: &mut ApplyContext<'_>,
    ) {
        let Observed { value: list, anomalies } = response;
        context.effects.anomalies = anomalies;
        let knows_groups = !self.groups.is_empty();
        if !self.group_list.record_list(&list, knows_groups, "groups", context.now, context.effects) {
            return;
        }
        let Listing { items, complete } = list;
        let is_allowed = |group: &GroupId| context.filters.groups.allows(group.as_str());
        self.all_groups_listed = complete && items.iter().all(is_allowed);
        let listed: BTreeSet<GroupId> = items.into_iter().filter(is_allowed).collect();
        if complete {
            self.remove_groups_unless(context.effects, |group| listed.contains(group));
        }
        for group in listed {
            let entry = self.groups.entry(group.clone()).or_insert_with(|| {
                context.effects.added.push(PollTarget::GroupProgress(self.id.clone(), group.clone()));
                GroupEntry::new(group, context.sequence.next())
            });
            entry.record_listed(context.now);
        }
    }

    /// Applies a response to `GetConsumerProgress`.
    pub(super) fn apply_progress(
        &mut self,
        group: &GroupId,
        response: Observed<GroupProgress>,
        origin: ResponseOrigin,
        context: &mut ApplyContext<'_>,
    ) {
        let retention = self.retention();
        if let Some(entry) = self.groups.get_mut(group) {
            entry.apply_progress(response, origin, &mut self.topics, retention, context);
        }
    }

    /// Removes what `filters` exclude.
    pub(super) fn apply_filters(&mut self, filters: &Filters, effects: &mut Effects) {
        self.view = None;
        self.topics.remove_unless(effects, |topic| filters.topics.allows(topic.as_str()));
        let known_groups = self.groups.len();
        self.remove_groups_unless(effects, |group| filters.groups.allows(group.as_str()));
        self.all_groups_listed &= self.groups.len() == known_groups;
    }

    fn remove_groups_unless(&mut self, effects: &mut Effects, keep: impl Fn(&GroupId) -> bool) {
        let removed = self.groups.extract_if(.., |group, _| !keep(group));
        effects.removed.extend(removed.map(|(group, _)| PollTarget::GroupProgress(self.id.clone(), group)));
    }

    /// Removes a topic or group that no longer exists.
    pub(super) fn remove(&mut self, target: &PollTarget) {
        match target {
            PollTarget::TopicStatus(_, topic) => _ = self.topics.entries.remove(topic),
            PollTarget::GroupProgress(_, group) => _ = self.groups.remove(group),
            PollTarget::Instances | PollTarget::Topics(_) | PollTarget::Groups(_) => {}
        }
    }

    /// Drops topics and groups, because the instance is no longer in service.
    fn drop_details(&mut self) {
        let earlier_success = self.last_success();
        let fresh = Self { earlier_success, ..Self::new(self.id.clone(), self.discovery_order) };
        let old = std::mem::replace(self, fresh);
        self.info = old.info;
        self.first_pass_ended = old.first_pass_ended;
    }

    /// Forgets the cached view, so that the next one is rebuilt.
    pub(super) fn invalidate_view(&mut self) -> &mut Self {
        self.view = None;
        self
    }

    /// Returns the targets of its lists.
    pub(super) fn lists(&self) -> [PollTarget; 2] {
        [PollTarget::Topics(self.id.clone()), PollTarget::Groups(self.id.clone())]
    }

    /// Returns its lists and all targets below it.
    pub(super) fn targets(&self) -> impl Iterator<Item = PollTarget> {
        let topics = self.topics.entries.keys();
        let topics = topics.map(|topic| PollTarget::TopicStatus(self.id.clone(), topic.clone()));
        let groups = self.groups.keys();
        let groups = groups.map(|group| PollTarget::GroupProgress(self.id.clone(), group.clone()));
        self.lists().into_iter().chain(topics).chain(groups)
    }

    pub(super) fn polls_mut(&mut self, target: &PollTarget) -> Option<&mut PollStatus> {
        match target {
            PollTarget::Instances => None,
            PollTarget::Topics(_) => Some(&mut self.topic_list),
            PollTarget::Groups(_) => Some(&mut self.group_list),
            PollTarget::TopicStatus(_, topic) => {
                self.topics.entries.get_mut(topic).map(|entry| &mut entry.polls)
            }
            PollTarget::GroupProgress(_, group) => self.groups.get_mut(group).map(|entry| &mut entry.polls),
        }
    }

    /// Records that an attempt at each of its targets failed.
    pub(super) fn fail_all(&mut self) {
        self.view = None;
        self.topic_list.failed();
        self.group_list.failed();
        self.topics.entries.values_mut().for_each(|topic| topic.polls.failed());
        self.groups.values_mut().for_each(|group| group.polls.failed());
    }

    fn polls(&self) -> impl Iterator<Item = &PollStatus> {
        let topics = self.topics.entries.values().map(|topic| &topic.polls);
        let groups = self.groups.values().map(|group| &group.polls);
        [&self.topic_list, &self.group_list].into_iter().chain(topics).chain(groups)
    }

    /// Updates whether every target has been attempted once since the instance was discovered, and returns it. Stays
    /// true.
    pub(super) fn update_first_pass(&mut self) -> bool {
        if !self.first_pass_ended && self.polls().all(|polls| polls.attempted) {
            self.first_pass_ended = true;
            self.view = None;
        }
        self.first_pass_ended
    }

    /// Drops expired values. Returns whether the view changes.
    pub(super) fn expire(&mut self, timing: &PollTiming, now: Now) -> bool {
        let mut changed = self.info.expire(now, timing.discovery_stale_after);
        changed |= self.is_reassessment_due(now.mono);
        changed |= self.topics.expire(timing, now);
        for group in self.groups.values_mut() {
            changed |= group.expire(timing, now);
        }
        if changed {
            self.view = None;
        }
        changed
    }

    /// Returns what is known of its topics, for the assessment of a group.
    pub(super) fn topic_facts<'a>(&'a self) -> impl Fn(&TopicName) -> TopicFacts<'a> + Copy {
        self.topics.facts(self.retention())
    }

    /// Returns the time for which messages are retained (`MsgRetain`).
    fn retention(&self) -> Option<Duration> {
        self.info.get()?.message_retention_seconds.map(Duration::from_secs)
    }

    /// Recomputes the assessments of the groups that consume a topic that changed.
    fn reassess(&mut self, window: Duration, now: Instant) {
        if !self.is_reassessment_due(now) {
            return;
        }
        self.reassessed_at = Some(now);
        let changed = std::mem::take(&mut self.topics.changed);
        let facts = self.topics.facts(self.retention());
        self.groups.values_mut().for_each(|group| group.reassess(&changed, facts, window));
    }

    /// Whether topics have changed and the last reassessment was long enough ago for its cost.
    fn is_reassessment_due(&self, now: Instant) -> bool {
        if self.topics.changed.is_empty() {
            return false;
        }
        let Some(last) = self.reassessed_at else { return true };
        let partitions = u32::try_from(self.count_group_partitions()).unwrap_or(u32::MAX);
        let pause = REASSESS_PAUSE_PER_PARTITION.saturating_mul(partitions);
        pause < MIN_REASSESS_PAUSE || now.duration_since(last) >= pause
    }

    /// Returns the number of partitions that its groups consume, counted per group.
    fn count_group_partitions(&self) -> usize {
        let polls = self.groups.values().filter_map(GroupEntry::current);
        polls.flat_map(|poll| &poll.lag.topics).map(|topic| topic.partitions.len()).sum()
    }

    /// Returns the memory used by histories, in bytes, and the number of partitions that they are for.
    pub(super) fn history_bytes(&self) -> (usize, usize) {
        let windows: usize = self.groups.values().map(|group| group.window.bytes()).sum();
        (self.topics.history_bytes() + windows, self.count_group_partitions())
    }

    /// Drops the history points that no group needs, and the least useful ones beyond the memory limit.
    pub(super) fn prune(&mut self) {
        let mut needed = NeededOffsets::new();
        let mut partitions = 0;
        // Expired results count, because their groups may respond again.
        for poll in self.groups.values().filter_map(|group| group.last_poll.as_ref()) {
            for topic in &poll.lag.topics {
                let needed = needed.entry(&topic.topic).or_default();
                partitions += topic.partitions.len();
                for p in &topic.partitions {
                    needed.entry(p.partition).or_default().extend(p.committed);
                }
            }
        }
        needed.values_mut().flat_map(BTreeMap::values_mut).for_each(|offsets| offsets.sort_unstable());
        self.topics.retain_histories(|topic| needed.contains_key(topic));
        self.topics.prune_histories(&needed, |_| usize::MAX);
        let points: usize = self.topics.end_histories.values().map(EndHistory::len).sum();
        let (used, _) = self.history_bytes();
        let others = used.saturating_sub(points * end_history::POINT_BYTES);
        let max_points = (partitions * BYTES_PER_PARTITION).saturating_sub(others) / end_history::POINT_BYTES;
        let max_points = max_points.max(partitions * MIN_POINTS);
        if points > max_points {
            // Each history gives up its share.
            self.topics.prune_histories(&needed, |own| own * max_points / points);
        }
    }

    pub(super) fn view(&mut self, context: ViewContext<'_>) -> Arc<InstanceView> {
        if let Some(view) = &self.view {
            return Arc::clone(view);
        }
        self.reassess(context.timing.status_window, context.now);
        let is_up = !self.polls().any(|polls| polls.failing);
        let consumers = self.consumers_per_topic();
        let view = Arc::new(InstanceView {
            account: context.account.clone(),
            region: context.region.clone(),
            id: self.id.clone(),
            discovery_order: self.discovery_order,
            info: self.info.get().cloned(),
            up: (self.in_service && self.first_pass_ended).then_some(is_up),
            last_success: self.last_success(),
            topics: self.topics.views(consumers.as_ref(), context.timing),
            groups: self.groups.values_mut().map(GroupEntry::view).collect(),
        });
        self.view = Some(Arc::clone(&view));
        view
    }

    /// Returns the number of groups with committed offsets per topic; `None` unless the progress of every group
    /// is known.
    fn consumers_per_topic(&self) -> Option<BTreeMap<TopicName, u64>> {
        if !self.all_groups_listed {
            return None;
        }
        let mut consumers = BTreeMap::new();
        for group in self.groups.values() {
            for topic in group.current()?.lag.topics.iter().filter(|topic| topic.is_consumed()) {
                *consumers.entry(topic.topic.clone()).or_default() += 1;
            }
        }
        Some(consumers)
    }

    fn last_success(&self) -> LastSuccess {
        let lists = self.topic_list.last_success.zip(self.group_list.last_success);
        let topics = self.topics.entries.values().map(|topic| &topic.polls);
        let groups = self.groups.values().map(|group| &group.polls);
        LastSuccess {
            discovery: lists.map(|(topics, groups)| topics.min(groups)).or(self.earlier_success.discovery),
            topics: oldest_success(&self.topic_list, topics).or(self.earlier_success.topics),
            groups: oldest_success(&self.group_list, groups).or(self.earlier_success.groups),
        }
    }
}

/// Returns the oldest of the last successes of all targets of a list, or the last success of the list if it is empty.
fn oldest_success<'a>(
    list: &'a PollStatus,
    targets: impl Iterator<Item = &'a PollStatus>,
) -> Option<UnixMillis> {
    let mut targets = targets.peekable();
    if targets.peek().is_none() {
        return list.last_success;
    }
    targets.filter_map(|polls| polls.last_success).min()
}
