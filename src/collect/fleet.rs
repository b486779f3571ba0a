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

use super::{Pace, Sequence, Timing, Unit};
use crate::{
    api::{Error, Kind},
    lag::history::EndHistory,
    model::{
        AccountName, Anomaly, AnomalyKind, Filters, GroupId, GroupProgress, Instance, InstanceId,
        InstanceState, Listing, Observed, Origin, RegionId, Topic, TopicName, TopicStatus,
    },
    snapshot::{InstanceView, LastSuccess},
};

mod assess;
mod ends;
pub mod explain;
mod group;
mod held;
mod movement;
mod renewed;
mod rewind;
mod topic;
mod view;

pub use held::Now;

use group::GroupMember;
use held::{Held, Record};
use topic::TopicMember;

/// What the cloud says to a unit.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To [`Unit::Instances`].
    Instances(Observed<Listing<Instance>>),
    /// To [`Unit::Topics`].
    Topics(Observed<Listing<Topic>>),
    /// To [`Unit::Groups`].
    Groups(Observed<Listing<GroupId>>),
    /// To [`Unit::TopicStatus`].
    TopicStatus(Observed<TopicStatus>, Origin),
    /// To [`Unit::GroupProgress`].
    GroupProgress(Observed<GroupProgress>, Origin),
}

/// An answer, or why there is none.
pub type Outcome = Result<Answer, Error>;

/// What applying an outcome asks of the loop.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Units to be asked for from now on.
    pub added: Vec<Unit>,
    /// Units not to be asked for any more.
    pub removed: Vec<Unit>,
    /// The pace that the unit deserves from now on; `None` if its answer says nothing of that.
    pub pace: Option<Pace>,
    /// Units to be asked for by a moment, if they would be later.
    pub expedited: Vec<(Unit, Instant)>,
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
    ObjectGone(Unit),
}

/// The state of one region of one account.
#[derive(Debug)]
pub struct Fleet {
    account: Option<AccountName>,
    region: RegionId,
    filters: Filters,
    timing: Timing,
    sequence: Arc<Sequence>,
    list: Record,
    instances: BTreeMap<InstanceId, Member>,
    first_pass_ended: bool,
    /// When histories were last pruned.
    pruned: Option<Instant>,
}

/// An instance and all below it.
#[derive(Debug)]
struct Member {
    since: u64,
    info: Held<Instance>,
    /// Whether detail calls are worth their price, by its state.
    in_service: bool,
    first_pass_ended: bool,
    /// Successes of before its details were dropped; those since then count first.
    before: LastSuccess,
    topic_list: Record,
    group_list: Record,
    topics: BTreeMap<TopicName, TopicMember>,
    groups: BTreeMap<GroupId, GroupMember>,
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

impl Fleet {
    /// A region of which nothing is known yet.
    #[must_use]
    pub fn new(
        account: Option<AccountName>,
        region: RegionId,
        filters: Filters,
        timing: Timing,
        sequence: Arc<Sequence>,
    ) -> Self {
        Self {
            account,
            region,
            filters,
            timing,
            sequence,
            list: Record::default(),
            instances: BTreeMap::new(),
            first_pass_ended: false,
            pruned: None,
        }
    }

    /// Takes what came of asking for a unit.
    pub fn apply(&mut self, unit: &Unit, outcome: Outcome, now: Now) -> Effects {
        let mut effects = Effects::default();
        match (unit, outcome) {
            (Unit::Instances, Ok(Answer::Instances(seen))) => self.take_instances(seen, now, &mut effects),
            (Unit::Topics(id), Ok(Answer::Topics(seen))) => self.take_topics(id, seen, now, &mut effects),
            (Unit::Groups(id), Ok(Answer::Groups(seen))) => self.take_groups(id, seen, now, &mut effects),
            (Unit::TopicStatus(id, topic), Ok(Answer::TopicStatus(seen, origin))) => {
                self.take_status(id, topic, (seen, origin), now, &mut effects);
            }
            (Unit::GroupProgress(id, group), Ok(Answer::GroupProgress(seen, origin))) => {
                self.take_progress(id, group, (seen, origin), now, &mut effects);
            }
            (unit, Err(error)) => self.take_error(unit, &error, &mut effects),
            // The loop pairs units and answers by construction; a mismatch is nobody's news.
            (unit, Ok(_)) => self.fail(unit),
        }
        effects
    }

    /// Notes that an attempt at a unit ended without an answer; its value is kept.
    pub fn fail(&mut self, unit: &Unit) {
        if let Some(record) = self.record(unit) {
            record.failed();
        }
    }

    /// Notes that nothing of the region is answered: as if every unit had been attempted and had failed.
    pub fn fail_all(&mut self) {
        self.list.failed();
        for member in self.instances.values_mut().filter(|m| m.in_service).map(Member::touch) {
            member.topic_list.failed();
            member.group_list.failed();
            member.topics.values_mut().for_each(|topic| topic.status.record.failed());
            member.groups.values_mut().for_each(|group| group.lag.record.failed());
        }
    }

    /// Whether the last attempt at a unit failed.
    pub fn is_failing(&mut self, unit: &Unit) -> bool {
        self.record(unit).is_some_and(|record| record.failing)
    }

    /// Whether every unit of the first discovery has been attempted, good or bad. Never un-ends.
    pub fn first_pass_ended(&mut self) -> bool {
        // Counted to the end, as each instance notes its own first pass, those that are found later too.
        let pending = |m: &&mut Member| m.in_service && !m.first_pass_ended;
        let first_passes = self.instances.values_mut().filter(pending).map(|m| m.first_pass_ended());
        let under_way = first_passes.filter(|ended| !ended).count();
        self.first_pass_ended |= self.list.attempted && under_way == 0;
        self.first_pass_ended
    }

    /// Whether the instances have been listed and every unit below them attempted: only then can be told
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

    fn record(&mut self, unit: &Unit) -> Option<&mut Record> {
        match unit {
            Unit::Instances => Some(&mut self.list),
            Unit::Topics(id) => self.instances.get_mut(id).map(|m| &mut m.touch().topic_list),
            Unit::Groups(id) => self.instances.get_mut(id).map(|m| &mut m.touch().group_list),
            Unit::TopicStatus(id, topic) => {
                self.instances.get_mut(id)?.touch().topics.get_mut(topic).map(|t| &mut t.status.record)
            }
            Unit::GroupProgress(id, group) => {
                self.instances.get_mut(id)?.touch().groups.get_mut(group).map(|g| &mut g.lag.record)
            }
        }
    }

    fn take_instances(&mut self, seen: Observed<Listing<Instance>>, now: Now, effects: &mut Effects) {
        effects.anomalies = seen.anomalies;
        let Listing { items, complete } = seen.value;
        let heard = Heard { is_empty: items.is_empty(), is_whole: complete, of: "instances" };
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
                effects.removed.extend(member.units(&id));
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
            Member::new(self.sequence.next())
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
            effects.removed.extend(member.units(id));
            member.drop_details();
        }
        if !member.in_service && in_service {
            effects.added.extend([Unit::Topics(id.clone()), Unit::Groups(id.clone())]);
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
        let heard = Heard { is_empty: items.is_empty(), is_whole: complete, of: "topics" };
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
                effects.removed.push(Unit::TopicStatus(id.clone(), name));
            }
        }
        for (name, topic) in listed {
            let known = member.topics.entry(name.clone()).or_insert_with(|| {
                effects.added.push(Unit::TopicStatus(id.clone(), name.clone()));
                TopicMember::new(self.sequence.next())
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
        let heard = Heard { is_empty: items.is_empty(), is_whole: complete, of: "groups" };
        if !heard.is_believed(&mut member.group_list, !member.groups.is_empty(), now, effects) {
            return;
        }
        member.all_groups_listed = complete && items.iter().all(|g| self.filters.groups.allows(g.as_str()));
        let listed: BTreeSet<GroupId> =
            items.into_iter().filter(|g| self.filters.groups.allows(g.as_str())).collect();
        if complete {
            for (group, _) in member.groups.extract_if(.., |group, _| !listed.contains(group)) {
                effects.removed.push(Unit::GroupProgress(id.clone(), group));
            }
        }
        for group in listed {
            let known = member.groups.entry(group.clone()).or_insert_with(|| {
                effects.added.push(Unit::GroupProgress(id.clone(), group));
                GroupMember::new(self.sequence.next())
            });
            known.view = None;
            known.listed.set((), now);
        }
    }

    fn take_error(&mut self, unit: &Unit, error: &Error, effects: &mut Effects) {
        let Kind::Gone { instance } = error.kind else { return self.fail(unit) };
        let Some(member) = unit.instance().and_then(|id| self.instances.get_mut(id)) else {
            return self.fail(unit);
        };
        match unit {
            Unit::TopicStatus(_, topic) if !instance => {
                member.touch().topics.remove(topic);
            }
            Unit::GroupProgress(_, group) if !instance => {
                member.touch().groups.remove(group);
            }
            // A word about the whole instance may be about the right to read one group of it. The list of
            // instances decides, and is asked for soon; until then nothing is told of the others.
            _ => {
                effects.rediscover = true;
                return self.fail(unit);
            }
        }
        effects.removed.push(unit.clone());
        effects.events.push(Event::ObjectGone(unit.clone()));
    }
}

impl Member {
    fn new(since: u64) -> Self {
        Self {
            since,
            info: Held::default(),
            in_service: false,
            first_pass_ended: false,
            before: LastSuccess::default(),
            topic_list: Record::default(),
            group_list: Record::default(),
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
        let fresh = Self { before, ..Self::new(self.since) };
        let old = std::mem::replace(self, fresh);
        self.info = old.info;
        self.first_pass_ended = old.first_pass_ended;
    }

    /// Every unit below the instance.
    fn units(&self, id: &InstanceId) -> Vec<Unit> {
        let mut units = vec![Unit::Groups(id.clone()), Unit::Topics(id.clone())];
        units.extend(self.topics.keys().map(|t| Unit::TopicStatus(id.clone(), t.clone())));
        units.extend(self.groups.keys().map(|g| Unit::GroupProgress(id.clone(), g.clone())));
        units
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
struct Heard {
    is_empty: bool,
    is_whole: bool,
    /// What it lists.
    of: &'static str,
}

impl Heard {
    /// Notes the list in its record. An empty one where there are objects is not believed the first time.
    fn is_believed(&self, record: &mut Record, knows_some: bool, now: Now, effects: &mut Effects) -> bool {
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
