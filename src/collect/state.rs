//! What is known of one region, and what an answer or its absence does to it. Pure.
//!
//! Owns the rules of absence. *Told gone* (a whole list that lacks an object, or a not-found code) removes
//! at once. *Not told* (a failed call, a list that is not whole) keeps the last value until it is older
//! than its bound. An empty answer where there were objects is believed the second time. Refuses: clocks
//! (the moment is a parameter), logging, scheduling (what to ask is returned).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Instant;

use super::{DiscoverySequence, PollPriority, PollTarget, PollTiming};
use crate::{
    api::{ApiError, ErrorKind},
    lag::history::EndHistory,
    model::{
        AccountName, Anomaly, AnomalyKind, Filters, GroupId, GroupProgress, Instance, InstanceId,
        InstanceState, Listing, Observed, RegionId, ResponseOrigin, Topic, TopicName, TopicStatus,
    },
    snapshot::{InstanceView, LastSuccess},
};

mod activity;
mod assess;
mod cached;
pub mod explain;
mod group;
mod renewed;
mod reported_ends;
mod topic;
mod topic_identity;
mod view;

pub use cached::Now;

use cached::{Cached, PollStatus};
use group::GroupEntry;
use topic::TopicEntry;

/// What the cloud says to a target.
#[derive(Debug, Clone)]
pub enum PollResponse {
    /// To [`PollTarget::Instances`].
    Instances(Observed<Listing<Instance>>),
    /// To [`PollTarget::Topics`].
    Topics(Observed<Listing<Topic>>),
    /// To [`PollTarget::Groups`].
    Groups(Observed<Listing<GroupId>>),
    /// To [`PollTarget::TopicStatus`].
    TopicStatus(Observed<TopicStatus>, ResponseOrigin),
    /// To [`PollTarget::GroupProgress`].
    GroupProgress(Observed<GroupProgress>, ResponseOrigin),
}

/// An answer, or why there is none.
pub type PollOutcome = Result<PollResponse, ApiError>;

/// What applying an outcome asks of the loop.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Units to be asked for from now on.
    pub added: Vec<PollTarget>,
    /// Units not to be asked for any more.
    pub removed: Vec<PollTarget>,
    /// The pace that the target deserves from now on; `None` if its answer says nothing of that.
    pub pace: Option<PollPriority>,
    /// Units to be asked for by a moment, if they would be later.
    pub expedited: Vec<(PollTarget, Instant)>,
    /// The list of instances is wrong: ask for it soon.
    pub rediscover: bool,
    /// The list was not whole: ask for it again on the clock of the polls, not on that of discovery.
    pub again: bool,
    /// What was odd.
    pub anomalies: Vec<Anomaly>,
    /// What an operator may want to read.
    pub events: Vec<Event>,
}

/// A change of the fleet that is worth a line at info.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// An instance was found.
    InstanceFound(InstanceId, Option<InstanceState>),
    /// An instance is gone.
    InstanceGone(InstanceId),
    /// An instance has another name.
    InstanceRenamed(InstanceId),
    /// An instance has another state.
    InstanceState(InstanceId, Option<InstanceState>),
    /// A topic or group is gone: the cloud said so when it was asked about it.
    ObjectGone(PollTarget),
}

/// The state of one region of one account.
#[derive(Debug)]
pub struct RegionState {
    account: Option<AccountName>,
    region: RegionId,
    filters: Filters,
    timing: PollTiming,
    sequence: Arc<DiscoverySequence>,
    list: PollStatus,
    instances: BTreeMap<InstanceId, InstanceEntry>,
    first_pass_ended: bool,
    /// When histories were last pruned.
    pruned: Option<Instant>,
}

/// An instance and all below it.
#[derive(Debug)]
struct InstanceEntry {
    discovery_order: u64,
    info: Cached<Instance>,
    /// Whether detail calls are worth their price, by its state.
    in_service: bool,
    first_pass_ended: bool,
    /// Successes of before its details were dropped; those since then count first.
    before: LastSuccess,
    topic_list: PollStatus,
    group_list: PollStatus,
    topics: BTreeMap<TopicName, TopicEntry>,
    groups: BTreeMap<GroupId, GroupEntry>,
    /// Where the ends of topics were, also of those that are read and not listed.
    histories: BTreeMap<TopicName, EndHistory>,
    /// Topics of which something changed since what is said of their readers was put together.
    changed: BTreeSet<TopicName>,
    /// When that was last done.
    reassessed: Option<Instant>,
    /// The list of groups was whole and no filter hides one: else nobody can say how many read a topic.
    all_groups_listed: bool,
    view: Option<Arc<InstanceView>>,
}

impl RegionState {
    /// A region of which nothing is known yet.
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
            list: PollStatus::default(),
            instances: BTreeMap::new(),
            first_pass_ended: false,
            pruned: None,
        }
    }

    /// Takes what came of asking for a target.
    pub fn apply(&mut self, target: &PollTarget, outcome: PollOutcome, now: Now) -> Effects {
        let mut effects = Effects::default();
        match (target, outcome) {
            (PollTarget::Instances, Ok(PollResponse::Instances(seen))) => {
                self.take_instances(seen, now, &mut effects)
            }
            (PollTarget::Topics(id), Ok(PollResponse::Topics(seen))) => {
                self.take_topics(id, seen, now, &mut effects)
            }
            (PollTarget::Groups(id), Ok(PollResponse::Groups(seen))) => {
                self.take_groups(id, seen, now, &mut effects)
            }
            (PollTarget::TopicStatus(id, topic), Ok(PollResponse::TopicStatus(seen, origin))) => {
                self.take_status(id, topic, (seen, origin), now, &mut effects);
            }
            (PollTarget::GroupProgress(id, group), Ok(PollResponse::GroupProgress(seen, origin))) => {
                self.take_progress(id, group, (seen, origin), now, &mut effects);
            }
            (target, Err(error)) => self.take_error(target, &error, &mut effects),
            // The loop pairs targets and answers by construction; a mismatch is nobody's news.
            (target, Ok(_)) => self.fail(target),
        }
        effects
    }

    /// Notes that an attempt at a target ended without an answer; its value is kept.
    pub fn fail(&mut self, target: &PollTarget) {
        if let Some(record) = self.record(target) {
            record.failed();
        }
    }

    /// Notes that nothing of the region is answered: as if every target had been attempted and had failed.
    pub fn fail_all(&mut self) {
        self.list.failed();
        for member in self.instances.values_mut().filter(|m| m.in_service).map(InstanceEntry::touch) {
            member.topic_list.failed();
            member.group_list.failed();
            member.topics.values_mut().for_each(|topic| topic.status.record.failed());
            member.groups.values_mut().for_each(|group| group.lag.record.failed());
        }
    }

    /// Whether the last attempt at a target failed.
    pub fn is_failing(&mut self, target: &PollTarget) -> bool {
        self.record(target).is_some_and(|record| record.failing)
    }

    /// Whether every target of the first discovery has been attempted, good or bad. Never un-ends.
    pub fn first_pass_ended(&mut self) -> bool {
        // Counted to the end, as each instance notes its own first pass, those that are found later too.
        let pending = |m: &&mut InstanceEntry| m.in_service && !m.first_pass_ended;
        let first_passes = self.instances.values_mut().filter(pending).map(|m| m.first_pass_ended());
        let under_way = first_passes.filter(|ended| !ended).count();
        self.first_pass_ended |= self.list.attempted && under_way == 0;
        self.first_pass_ended
    }

    /// Whether the instances have been listed and every target below them attempted: only then can be told
    /// what a pass takes.
    pub fn is_explored(&mut self) -> bool {
        self.list.last_success.is_some()
            && self.instances.values_mut().all(|m| !m.in_service || m.first_pass_ended())
    }

    /// How many calls one pass over everything known takes: (topic statuses, group progresses).
    #[must_use]
    pub fn planned_calls(&self) -> (usize, usize) {
        let serving = || self.instances.values().filter(|m| m.in_service);
        (serving().map(|m| m.topics.len()).sum(), serving().map(|m| m.groups.len()).sum())
    }

    /// How many instances answer detail calls.
    #[must_use]
    pub fn serving(&self) -> usize {
        self.instances.values().filter(|m| m.in_service).count()
    }

    fn record(&mut self, target: &PollTarget) -> Option<&mut PollStatus> {
        match target {
            PollTarget::Instances => Some(&mut self.list),
            PollTarget::Topics(id) => self.instances.get_mut(id).map(|m| &mut m.touch().topic_list),
            PollTarget::Groups(id) => self.instances.get_mut(id).map(|m| &mut m.touch().group_list),
            PollTarget::TopicStatus(id, topic) => {
                self.instances.get_mut(id)?.touch().topics.get_mut(topic).map(|t| &mut t.status.record)
            }
            PollTarget::GroupProgress(id, group) => {
                self.instances.get_mut(id)?.touch().groups.get_mut(group).map(|g| &mut g.lag.record)
            }
        }
    }

    fn take_instances(&mut self, seen: Observed<Listing<Instance>>, now: Now, effects: &mut Effects) {
        effects.anomalies = seen.anomalies;
        let Listing { items, complete } = seen.value;
        let heard = ReceivedList { is_empty: items.is_empty(), is_whole: complete, of: "instances" };
        if !heard.is_believed(&mut self.list, !self.instances.is_empty(), now, effects) {
            return;
        }
        let mut listed = BTreeMap::new();
        for instance in items {
            if self.filters.allow_instance(&instance) {
                listed.insert(instance.id.clone(), instance);
            }
        }
        if complete {
            for (id, member) in self.instances.extract_if(.., |id, _| !listed.contains_key(id)) {
                effects.removed.extend(member.targets(&id));
                effects.events.push(Event::InstanceGone(id));
            }
        }
        for (id, instance) in listed {
            self.take_instance(&id, instance, now, effects);
        }
    }

    fn take_instance(&mut self, id: &InstanceId, instance: Instance, now: Now, effects: &mut Effects) {
        let state = instance.state;
        // A state that was not told is no reason to go blind; one that is told and unknown is.
        let in_service = state.is_none_or(InstanceState::in_service);
        let member = self.instances.entry(id.clone()).or_insert_with(|| {
            effects.events.push(Event::InstanceFound(id.clone(), state));
            InstanceEntry::new(self.sequence.next())
        });
        if let Some(before) = member.info.get() {
            if before.name != instance.name {
                effects.events.push(Event::InstanceRenamed(id.clone()));
            }
            if before.state != state {
                effects.events.push(Event::InstanceState(id.clone(), state));
            }
        }
        if member.in_service && !in_service {
            effects.removed.extend(member.targets(id));
            member.drop_details();
        }
        if !member.in_service && in_service {
            effects.added.extend([PollTarget::Topics(id.clone()), PollTarget::Groups(id.clone())]);
        }
        member.in_service = in_service;
        member.touch().info.set(instance, now);
    }

    fn take_topics(
        &mut self,
        id: &InstanceId,
        seen: Observed<Listing<Topic>>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(member) = self.instances.get_mut(id).filter(|m| m.in_service) else { return };
        effects.anomalies = seen.anomalies;
        let Listing { items, complete } = seen.value;
        let member = member.touch();
        let heard = ReceivedList { is_empty: items.is_empty(), is_whole: complete, of: "topics" };
        if !heard.is_believed(&mut member.topic_list, !member.topics.is_empty(), now, effects) {
            return;
        }
        let listed: BTreeMap<TopicName, Topic> = items
            .into_iter()
            .filter(|t| self.filters.topics.allows(t.name.as_str()))
            .map(|t| (t.name.clone(), t))
            .collect();
        if complete {
            for (name, _) in member.topics.extract_if(.., |name, _| !listed.contains_key(name)) {
                effects.removed.push(PollTarget::TopicStatus(id.clone(), name));
            }
        }
        for (name, topic) in listed {
            let known = member.topics.entry(name.clone()).or_insert_with(|| {
                effects.added.push(PollTarget::TopicStatus(id.clone(), name.clone()));
                TopicEntry::new(self.sequence.next())
            });
            let created_anew = known.created_anew(&topic);
            known.view = None;
            known.info.set(topic, now);
            if let Some(created) = created_anew {
                member.forget_before(&name, created);
            }
        }
    }

    fn take_groups(
        &mut self,
        id: &InstanceId,
        seen: Observed<Listing<GroupId>>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(member) = self.instances.get_mut(id).filter(|m| m.in_service) else { return };
        effects.anomalies = seen.anomalies;
        let Listing { items, complete } = seen.value;
        let member = member.touch();
        let heard = ReceivedList { is_empty: items.is_empty(), is_whole: complete, of: "groups" };
        if !heard.is_believed(&mut member.group_list, !member.groups.is_empty(), now, effects) {
            return;
        }
        member.all_groups_listed = complete && items.iter().all(|g| self.filters.groups.allows(g.as_str()));
        let listed: BTreeSet<GroupId> =
            items.into_iter().filter(|g| self.filters.groups.allows(g.as_str())).collect();
        if complete {
            for (group, _) in member.groups.extract_if(.., |group, _| !listed.contains(group)) {
                effects.removed.push(PollTarget::GroupProgress(id.clone(), group));
            }
        }
        for group in listed {
            let known = member.groups.entry(group.clone()).or_insert_with(|| {
                effects.added.push(PollTarget::GroupProgress(id.clone(), group));
                GroupEntry::new(self.sequence.next())
            });
            known.view = None;
            known.listed.set((), now);
        }
    }

    fn take_error(&mut self, target: &PollTarget, error: &ApiError, effects: &mut Effects) {
        let ErrorKind::Gone { instance } = error.kind else { return self.fail(target) };
        let Some(member) = target.instance().and_then(|id| self.instances.get_mut(id)) else {
            return self.fail(target);
        };
        match target {
            PollTarget::TopicStatus(_, topic) if !instance => {
                member.touch().topics.remove(topic);
            }
            PollTarget::GroupProgress(_, group) if !instance => {
                member.touch().groups.remove(group);
            }
            // A word about the whole instance may be about the right to read one group of it. The list of
            // instances decides, and is asked for soon; until then nothing is told of the others.
            _ => {
                effects.rediscover = true;
                return self.fail(target);
            }
        }
        effects.removed.push(target.clone());
        effects.events.push(Event::ObjectGone(target.clone()));
    }
}

impl InstanceEntry {
    fn new(discovery_order: u64) -> Self {
        Self {
            discovery_order,
            info: Cached::default(),
            in_service: false,
            first_pass_ended: false,
            before: LastSuccess::default(),
            topic_list: PollStatus::default(),
            group_list: PollStatus::default(),
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            histories: BTreeMap::new(),
            changed: BTreeSet::new(),
            reassessed: None,
            all_groups_listed: false,
            view: None,
        }
    }

    /// For whoever is about to change something: the view is built anew.
    fn touch(&mut self) -> &mut Self {
        self.view = None;
        self
    }

    fn drop_details(&mut self) {
        let before = self.last_success();
        let fresh = Self { before, ..Self::new(self.discovery_order) };
        let old = std::mem::replace(self, fresh);
        self.info = old.info;
        self.first_pass_ended = old.first_pass_ended;
    }

    /// Every target below the instance.
    fn targets(&self, id: &InstanceId) -> Vec<PollTarget> {
        let mut targets = vec![PollTarget::Groups(id.clone()), PollTarget::Topics(id.clone())];
        targets.extend(self.topics.keys().map(|t| PollTarget::TopicStatus(id.clone(), t.clone())));
        targets.extend(self.groups.keys().map(|g| PollTarget::GroupProgress(id.clone(), g.clone())));
        targets
    }

    /// Whether all that is known of it has been attempted since its details were dropped.
    fn is_attempted(&self) -> bool {
        self.topic_list.attempted
            && self.group_list.attempted
            && self.topics.values().all(|t| t.status.record.attempted)
            && self.groups.values().all(|g| g.lag.record.attempted)
    }

    fn first_pass_ended(&mut self) -> bool {
        if !self.first_pass_ended {
            self.first_pass_ended = self.is_attempted();
            if self.first_pass_ended {
                self.view = None;
            }
        }
        self.first_pass_ended
    }
}

/// A list as it came back.
struct ReceivedList {
    is_empty: bool,
    is_whole: bool,
    /// What it lists.
    of: &'static str,
}

impl ReceivedList {
    /// Notes the list in its record. An empty one where there are objects is not believed the first time.
    fn is_believed(
        &self,
        record: &mut PollStatus,
        knows_some: bool,
        now: Now,
        effects: &mut Effects,
    ) -> bool {
        if self.is_empty && self.is_whole && knows_some && !record.emptied() {
            effects.anomalies.push(empty_list(self.of));
            return false;
        }
        if self.is_whole {
            record.succeeded(now);
        } else {
            record.incomplete(now);
            effects.again = true;
        }
        true
    }
}

fn empty_list(of: &str) -> Anomaly {
    Anomaly {
        kind: AnomalyKind::EmptyList,
        detail: format!("the list of {of} came back empty, asking again"),
    }
}
