//! State of one region of one account: what is known, how a poll result changes it, and the views of it. Pure.
//!
//! [`RegionState::apply`] is the entry point. An instance list is applied here, the lists of an instance in
//! `instance`, a topic's status in `topic`, a group's progress in `group`.
//!
//! The rules of absence:
//! - A complete list without the object, or a not-found error for it, removes the object immediately.
//! - A failed call or an incomplete list keeps the last known value until it expires.
//! - An empty response where objects are known is accepted the second time in a row.
//!
//! Out of scope: clocks (time is a parameter), logging, and scheduling ([`Effects`] say what to poll).

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::{
    DiscoverySequence, PollPriority, PollTarget,
    explain_router::{ExplainReply, ExplainRequest},
};
use crate::{
    api::{ApiError, ErrorKind},
    model::{
        AccountName, Anomaly, Filters, GroupId, GroupProgress, Instance, InstanceId, InstanceState, Listing,
        MessageTimestamps, Observed, PollTiming, RegionId, ResponseOrigin, Topic, TopicStatus,
    },
    snapshot::{LastSuccess, ObjectCounts, RegionView},
};

mod cached;
pub mod details;
mod group;
mod instance;
mod reported_ends;
mod topic;
mod topic_identity;

pub(super) use cached::EmptyCheck;
pub use cached::Now;

use cached::PollStatus;
use details::{GroupDetails, KnownObjects, PollingDetails, TopicDetails};
use instance::{InstanceEntry, ViewContext};

/// Response of the API to the poll of a target.
#[derive(Debug, Clone)]
pub enum PollResponse {
    /// Response for [`PollTarget::Instances`].
    Instances(Observed<Listing<Instance>>),
    /// Response for [`PollTarget::Topics`].
    Topics(Observed<Listing<Topic>>),
    /// Response for [`PollTarget::Groups`].
    Groups(Observed<Listing<GroupId>>),
    /// Response for [`PollTarget::TopicStatus`].
    TopicStatus(Observed<TopicStatus>, ResponseOrigin),
    /// Response for [`PollTarget::GroupProgress`].
    GroupProgress(Observed<GroupProgress>, ResponseOrigin),
}

/// Outcome of one poll.
pub type PollOutcome = Result<PollResponse, ApiError>;

/// Consequences of a poll outcome for the poller.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Targets to poll from now on.
    pub added: Vec<PollTarget>,
    /// Targets not to poll any longer.
    pub removed: Vec<PollTarget>,
    /// New priority of the polled target; `None` keeps the current one.
    pub priority: Option<PollPriority>,
    /// Targets to poll by a moment, if they are due later.
    pub expedited: Vec<(PollTarget, Instant)>,
    /// Whether to poll the instance list soon, because it is outdated.
    pub rediscover: bool,
    /// Whether to poll this list again after a poll interval instead of a discovery interval, because it was
    /// incomplete.
    pub retry_soon: bool,
    /// Anomalies of the response.
    pub anomalies: Vec<Anomaly>,
    /// Changes to log.
    pub events: Vec<RegionEvent>,
}

/// A change of a region that is worth a log line.
#[derive(Debug, PartialEq, Eq)]
pub enum RegionEvent {
    /// An instance was found.
    InstanceFound(InstanceId, Option<InstanceState>),
    /// An instance is gone.
    InstanceGone(InstanceId),
    /// An instance has another name.
    InstanceRenamed(InstanceId),
    /// An instance has another state.
    InstanceStateChanged(InstanceId, Option<InstanceState>),
    /// A topic or group is gone: its poll returned a not-found error.
    ObjectGone(PollTarget),
}

/// State of one region of one account.
#[derive(Debug)]
pub struct RegionState {
    account: Option<AccountName>,
    region: RegionId,
    filters: Filters,
    timing: PollTiming,
    sequence: Arc<DiscoverySequence>,
    instance_list: PollStatus,
    instances: BTreeMap<InstanceId, InstanceEntry>,
    first_pass_ended: bool,
    /// Time of the last pruning of histories.
    pruned_at: Option<Instant>,
}

/// Settings and time for applying a response, and the effects to fill.
struct ApplyContext<'a> {
    filters: &'a Filters,
    timing: &'a PollTiming,
    sequence: &'a DiscoverySequence,
    now: Now,
    effects: &'a mut Effects,
}

impl RegionState {
    /// Returns the state of a region that has not been polled yet.
    #[must_use]
    pub fn new(
        account: Option<AccountName>,
        region: RegionId,
        filters: Filters,
        timing: PollTiming,
        sequence: Arc<DiscoverySequence>,
    ) -> Self {
        Self {
            account,
            region,
            filters,
            timing,
            sequence,
            instance_list: PollStatus::default(),
            instances: BTreeMap::new(),
            first_pass_ended: false,
            pruned_at: None,
        }
    }

    /// Applies the outcome of a poll.
    pub fn apply(&mut self, target: &PollTarget, outcome: PollOutcome, now: Now) -> Effects {
        let mut effects = Effects::default();
        let response = match outcome {
            Ok(PollResponse::Instances(response)) => {
                self.apply_instances(response, now, &mut effects);
                return effects;
            }
            Ok(response) => response,
            Err(error) => {
                self.apply_error(target, &error, &mut effects);
                return effects;
            }
        };
        let instance = target.instance().and_then(|id| self.instances.get_mut(id));
        // A response that arrives after its instance was removed, or went out of service, is ignored.
        let Some(instance) = instance.filter(|instance| instance.in_service) else { return effects };
        instance.invalidate_view();
        let mut context = ApplyContext {
            filters: &self.filters,
            timing: &self.timing,
            sequence: &self.sequence,
            now,
            effects: &mut effects,
        };
        match (target, response) {
            (PollTarget::Topics(_), PollResponse::Topics(list)) => instance.apply_topics(list, &mut context),
            (PollTarget::Groups(_), PollResponse::Groups(list)) => instance.apply_groups(list, &mut context),
            (PollTarget::TopicStatus(_, topic), PollResponse::TopicStatus(status, origin)) => {
                instance.topics.apply_status(topic, status, origin, &mut context);
            }
            (PollTarget::GroupProgress(_, group), PollResponse::GroupProgress(progress, origin)) => {
                instance.apply_progress(group, progress, origin, &mut context);
            }
            // The poller never pairs a target with the response for another kind of target.
            _ => {}
        }
        effects
    }

    /// Records a failed attempt at a target. Its value is kept.
    pub fn fail(&mut self, target: &PollTarget) {
        if let Some(polls) = self.polls_mut(target) {
            polls.failed();
        }
    }

    /// Records a failed attempt at every target, because no call of the region can succeed.
    pub fn fail_all(&mut self) {
        self.instance_list.failed();
        self.instances.values_mut().filter(|i| i.in_service).for_each(InstanceEntry::fail_all);
    }

    /// Whether the last attempt at a target failed.
    pub fn is_failing(&mut self, target: &PollTarget) -> bool {
        self.polls_mut(target).is_some_and(|polls| polls.failing)
    }

    /// Updates whether every target of the first discovery has been attempted, successfully or not, and returns it.
    /// Stays true.
    pub fn update_first_pass(&mut self) -> bool {
        let instances = self.instances.values_mut().filter(|i| i.in_service);
        // Not `all`, because each instance records the end of its own first pass.
        let pending = instances.map(InstanceEntry::update_first_pass).filter(|ended| !ended).count();
        self.first_pass_ended |= self.instance_list.attempted && pending == 0;
        self.first_pass_ended
    }

    /// Whether instances have been listed and every target below them attempted, so that the cost of a pass is
    /// known.
    pub fn is_explored(&mut self) -> bool {
        self.instance_list.last_success.is_some()
            && self.instances.values_mut().all(|i| !i.in_service || i.update_first_pass())
    }

    /// Returns the number of calls of one pass: (topic statuses, group progresses).
    #[must_use]
    pub fn planned_calls(&self) -> (usize, usize) {
        let topics = self.in_service().map(|instance| instance.topics.entries.len()).sum();
        (topics, self.in_service().map(|instance| instance.groups.len()).sum())
    }

    /// Returns the number of instances in service.
    #[must_use]
    pub fn serving(&self) -> usize {
        self.in_service().count()
    }

    /// Returns the targets that are lists.
    pub fn lists(&self) -> Vec<PollTarget> {
        let below = self.in_service().flat_map(InstanceEntry::lists);
        std::iter::once(PollTarget::Instances).chain(below).collect()
    }

    /// Returns whether the next poll of a target requests message timestamps.
    #[must_use]
    pub fn wanted_timestamps(&self, target: &PollTarget) -> MessageTimestamps {
        let PollTarget::GroupProgress(instance, group) = target else {
            return MessageTimestamps::NotRequested;
        };
        let group = self.instances.get(instance).and_then(|instance| instance.groups.get(group));
        group.map_or(MessageTimestamps::Requested, |group| {
            group.wanted_timestamps(self.timing.last_timestamps)
        })
    }

    /// Resumes from the state of the same region under another configuration. Returns the targets that filters
    /// now exclude as removed.
    pub fn resume_from(&mut self, previous: Self) -> Effects {
        let mut effects = Effects::default();
        self.instance_list = previous.instance_list;
        self.first_pass_ended = previous.first_pass_ended;
        self.instances = previous.instances;
        // An instance whose name and tags have expired is kept until the next list.
        let is_excluded = |i: &InstanceEntry| i.info.get().is_some_and(|i| !self.filters.allow_instance(i));
        for (_, instance) in self.instances.extract_if(.., |_, instance| is_excluded(instance)) {
            effects.removed.extend(instance.targets());
        }
        for instance in self.instances.values_mut() {
            instance.apply_filters(&self.filters, &mut effects);
        }
        effects
    }

    /// Drops expired values. Returns whether the view changes.
    pub fn expire(&mut self, now: Now) -> bool {
        if self.pruned_at.is_none_or(|at| now.mono.duration_since(at) >= self.timing.poll) {
            self.pruned_at = Some(now.mono);
            self.instances.values_mut().for_each(InstanceEntry::prune);
        }
        let mut changed = false;
        for instance in self.instances.values_mut() {
            changed |= instance.expire(&self.timing, now);
        }
        changed
    }

    /// Returns the memory used by histories, in bytes, and the number of group partitions that they are for.
    #[must_use]
    pub fn history_bytes(&self) -> (usize, usize) {
        let each = self.instances.values().map(InstanceEntry::history_bytes);
        each.fold((0, 0), |(bytes, partitions), (b, p)| (bytes + b, partitions + p))
    }

    /// Returns the view of the region. Parts that have not changed are shared with the last one.
    pub fn view(&mut self, now: Now) -> RegionView {
        self.expire(now);
        let first_pass_ended = self.update_first_pass();
        let context =
            ViewContext { account: &self.account, region: &self.region, timing: &self.timing, now: now.mono };
        let instances: Vec<_> = self.instances.values_mut().map(|instance| instance.view(context)).collect();
        let serving = || {
            let instances = self.instances.values().zip(&instances);
            instances.filter(|(entry, _)| entry.in_service).map(|(_, view)| view)
        };
        let all_down = serving().count() > 0 && serving().all(|view| view.up == Some(false));
        RegionView {
            account: self.account.clone(),
            region: self.region.clone(),
            up: self.instance_list.attempted.then_some(!self.instance_list.failing && !all_down),
            first_pass_ended,
            last_success: LastSuccess {
                discovery: self.instance_list.last_success,
                topics: serving().filter_map(|view| view.last_success.topics).min(),
                groups: serving().filter_map(|view| view.last_success.groups).min(),
            },
            objects: ObjectCounts {
                instances: instances.len(),
                topics: instances.iter().map(|view| view.topics.len()).sum(),
                groups: instances.iter().map(|view| view.groups.len()).sum(),
            },
            instances,
        }
    }

    /// Returns the details of the requested group.
    #[must_use]
    pub fn explain(&self, request: &ExplainRequest, now: Now) -> ExplainReply {
        let mut known = KnownObjects { instances: self.instances.len(), ..KnownObjects::default() };
        let Some(instance) = self.instances.get(&request.instance) else {
            return ExplainReply::Unknown(known);
        };
        known.groups_of_instance = Some(instance.groups.len());
        let Some(group) = instance.groups.get(&request.group) else { return ExplainReply::Unknown(known) };
        let poll = group.current();
        let topics = poll.into_iter().flat_map(|poll| &poll.lag.topics).map(|lag| &lag.topic);
        let topics: BTreeMap<_, _> = topics
            .filter(|topic| request.topic.as_ref().is_none_or(|requested| requested == *topic))
            .map(|topic| (topic.clone(), TopicDetails::new(topic, instance, group, &self.timing, now)))
            .collect();
        if let Some(poll) = poll.filter(|_| request.topic.is_some() && topics.is_empty()) {
            known.topics_of_group = Some(poll.lag.topics.len());
            return ExplainReply::Unknown(known);
        }
        let polled_at = poll.map(|poll| poll.at);
        ExplainReply::Found(Box::new(GroupDetails {
            account: self.account.clone(),
            region: self.region.clone(),
            instance: request.instance.clone(),
            instance_info: instance.info.get().cloned(),
            group: request.group.clone(),
            is_listed: group.listed_at.is_some(),
            polling: PollingDetails::new(group.polls, polled_at, self.timing.stale_after, now),
            last_poll: group.last_poll.clone(),
            is_expired: poll.is_none(),
            rebalances: group.rebalances(),
            status_window: self.timing.status_window,
            topics,
        }))
    }

    fn in_service(&self) -> impl Iterator<Item = &InstanceEntry> {
        self.instances.values().filter(|instance| instance.in_service)
    }

    fn polls_mut(&mut self, target: &PollTarget) -> Option<&mut PollStatus> {
        match target.instance() {
            None => Some(&mut self.instance_list),
            Some(id) => self.instances.get_mut(id)?.invalidate_view().polls_mut(target),
        }
    }

    /// Applies a response to `GetInstanceList`.
    fn apply_instances(&mut self, response: Observed<Listing<Instance>>, now: Now, effects: &mut Effects) {
        let Observed { value: list, anomalies } = response;
        effects.anomalies = anomalies;
        let knows_instances = !self.instances.is_empty();
        if !self.instance_list.record_list(&list, knows_instances, "instances", now, effects) {
            return;
        }
        let Listing { items, complete } = list;
        let mut listed = BTreeMap::new();
        for info in items.into_iter().filter(|info| self.filters.allow_instance(info)) {
            listed.insert(info.id.clone(), info);
        }
        if complete {
            for (id, instance) in self.instances.extract_if(.., |id, _| !listed.contains_key(id)) {
                effects.removed.extend(instance.targets());
                effects.events.push(RegionEvent::InstanceGone(id));
            }
        }
        for (id, info) in listed {
            let instance = self.instances.entry(id.clone()).or_insert_with(|| {
                effects.events.push(RegionEvent::InstanceFound(id.clone(), info.state));
                InstanceEntry::new(id, self.sequence.next())
            });
            instance.invalidate_view().apply_info(info, now, effects);
        }
    }

    fn apply_error(&mut self, target: &PollTarget, error: &ApiError, effects: &mut Effects) {
        let instance = target.instance().and_then(|id| self.instances.get_mut(id));
        match (error.kind, instance) {
            (ErrorKind::Gone { instance: false }, Some(instance)) if target.object().is_some() => {
                instance.invalidate_view().remove(target);
                effects.removed.push(target.clone());
                effects.events.push(RegionEvent::ObjectGone(target.clone()));
            }
            (kind, instance) => {
                // An error about the instance may concern the permission to read one group. The instance list
                // decides.
                effects.rediscover = matches!(kind, ErrorKind::Gone { .. }) && instance.is_some();
                self.fail(target);
            }
        }
    }
}
