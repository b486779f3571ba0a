//! The simulated world: regions, instances, topics, groups, and their change over time.
//!
//! Owns: the ground truth. Only time and the methods of [`World`] change it: apart from edits, its state follows
//! from the seed and the clock, however often it is read. Out of scope: JSON and HTTP.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

mod churn;
pub(crate) mod group;
pub(crate) mod instance;
mod names;
pub(crate) mod partition_log;
mod seed;
pub(crate) mod spec;
pub(crate) mod topic;
pub(crate) mod truth;

use churn::{ChurnKind, ChurnState, ChurnedObject};
use group::{Group, GroupCursor, RebalancePlan};
use instance::Instance;
use partition_log::{PartitionLog, ProduceRate};
use spec::{ConsumerMode, GroupSpec, InstanceSpec, OffsetSpec, TopicSpec};
use topic::Topic;
use truth::{GroupTruth, RegionTruth, TopicTruth, WorldTruth};

use crate::{clock::millis, options::WorldOptions};

/// Error of an edit: the object does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownObject {
    /// Kind of object: instance, topic, group or partition.
    pub kind: &'static str,
    /// Name of the object.
    pub name: String,
}

impl UnknownObject {
    fn new(kind: &'static str, name: impl fmt::Display) -> Self {
        Self { kind, name: name.to_string() }
    }
}

impl fmt::Display for UnknownObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {} {:?} in the simulated world", self.kind, self.name)
    }
}

impl std::error::Error for UnknownObject {}

type EditResult = Result<(), UnknownObject>;

/// The simulated world. `Simulator::world` gives access to it.
#[derive(Debug)]
pub struct World {
    options: WorldOptions,
    rng: ChaCha8Rng,
    now_ms: i64,
    /// By region, then by instance id.
    regions: BTreeMap<String, BTreeMap<String, Instance>>,
    /// Region by instance id.
    region_by_instance: HashMap<String, String>,
    churn: ChurnState,
}

/// Queries.
impl World {
    pub(crate) fn new(options: WorldOptions, epoch_ms: i64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let regions = seed::generate(&mut rng, &options, epoch_ms);
        let instances = regions.values().flat_map(BTreeMap::values);
        Self {
            rng,
            now_ms: epoch_ms,
            region_by_instance: instances.map(|i| (i.spec.id.clone(), i.region.clone())).collect(),
            regions,
            churn: ChurnState::new(options.churn, epoch_ms),
            options,
        }
    }

    /// Returns world time, in Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Returns the instances in service, as (region, instance id).
    #[must_use]
    pub fn instances_in_service(&self) -> Vec<(String, String)> {
        let all = self.regions.values().flat_map(BTreeMap::values);
        all.filter(|i| i.in_service()).map(|i| (i.region.clone(), i.spec.id.clone())).collect()
    }

    /// Returns the topic names of an instance; empty for an unknown instance.
    #[must_use]
    pub fn topics(&self, instance_id: &str) -> Vec<String> {
        self.instance(instance_id).map(|i| i.topics.keys().cloned().collect()).unwrap_or_default()
    }

    /// Returns the group ids of an instance; empty for an unknown instance.
    #[must_use]
    pub fn groups(&self, instance_id: &str) -> Vec<String> {
        self.instance(instance_id).map(|i| i.groups.keys().cloned().collect()).unwrap_or_default()
    }

    /// Returns the current ground truth of the world.
    pub fn truth(&mut self) -> WorldTruth {
        let now = self.now_ms;
        let regions = self.regions.iter_mut().map(|(region, instances)| {
            let instances = instances.iter_mut().map(|(id, i)| (id.clone(), i.truth(now))).collect();
            (region.clone(), RegionTruth { instances })
        });
        WorldTruth { now_ms: now, regions: regions.collect() }
    }

    /// Returns the current ground truth of a topic; `None` if it does not exist.
    #[must_use]
    pub fn topic_truth(&self, instance_id: &str, topic: &str) -> Option<TopicTruth> {
        self.instance(instance_id)?.topics.get(topic).map(|t| t.truth(self.now_ms))
    }

    /// Returns the current ground truth of a group; `None` if it does not exist.
    pub fn group_truth(&mut self, instance_id: &str, group: &str) -> Option<GroupTruth> {
        let now = self.now_ms;
        self.instance_mut(instance_id)?.group_truth(group, now)
    }

    pub(crate) fn region(&self, region: &str) -> Option<&BTreeMap<String, Instance>> {
        self.regions.get(region)
    }

    pub(crate) fn all_regions(&self) -> &BTreeMap<String, BTreeMap<String, Instance>> {
        &self.regions
    }

    pub(crate) fn region_of(&self, instance_id: &str) -> Option<&str> {
        self.region_by_instance.get(instance_id).map(String::as_str)
    }

    fn instance(&self, instance_id: &str) -> Option<&Instance> {
        self.regions.get(self.region_by_instance.get(instance_id)?)?.get(instance_id)
    }

    pub(crate) fn instance_mut(&mut self, instance_id: &str) -> Option<&mut Instance> {
        self.regions.get_mut(self.region_by_instance.get(instance_id)?)?.get_mut(instance_id)
    }
}

/// Edits. They return [`UnknownObject`] if the instance, topic, group or partition does not exist.
impl World {
    /// Adds an instance without topics and groups. Replaces an instance with the same id.
    pub fn add_instance(&mut self, region: &str, spec: InstanceSpec) {
        let instance = Instance {
            region: region.to_owned(),
            spec_type: if spec.serverless { "serverless" } else { "professional" },
            deploy_type: 5,
            version: "2.6.2",
            disk_gb: 900,
            created_ms: self.now_ms - spec.age_ms,
            expires_ms: self.now_ms + spec.expires_in_ms,
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            spec,
        };
        let id = instance.spec.id.clone();
        self.region_by_instance.insert(id.clone(), region.to_owned());
        self.regions.entry(region.to_owned()).or_default().insert(id, instance);
    }

    /// Deletes an instance with its topics and groups.
    pub fn delete_instance(&mut self, instance_id: &str) -> EditResult {
        let region = self.region_by_instance.remove(instance_id);
        let region = region.ok_or_else(|| UnknownObject::new("instance", instance_id))?;
        self.regions.entry(region).or_default().remove(instance_id);
        Ok(())
    }

    /// Renames an instance.
    pub fn rename_instance(&mut self, instance_id: &str, name: &str) -> EditResult {
        name.clone_into(&mut self.edit_instance(instance_id)?.spec.name);
        Ok(())
    }

    /// Sets `ServiceStatus` and `ViewInstanceStatusCode`.
    pub fn set_instance_status(&mut self, instance_id: &str, service: i64, view: Option<i64>) -> EditResult {
        let spec = &mut self.edit_instance(instance_id)?.spec;
        (spec.service_status, spec.view_status) = (service, view);
        Ok(())
    }

    /// Adds a topic. Replaces a topic with the same name.
    pub fn add_topic(&mut self, instance_id: &str, spec: TopicSpec) -> EditResult {
        let now = self.now_ms;
        let instance = self.edit_instance(instance_id)?;
        let retention_ms = (!spec.compact).then(|| instance.retention_ms());
        let created_ms = now - spec.age_ms;
        let logs = (0..spec.partitions).map(|partition| {
            let factor = spec.hot.filter(|(hot, _)| *hot == partition).map_or(1, |(_, factor)| factor);
            let rate = ProduceRate { per_hour: spec.rate.per_hour.saturating_mul(factor), ..spec.rate };
            let mut log = PartitionLog::new(spec.base_offset, created_ms, rate, spec.segment, retention_ms)
                .compacted(spec.compaction.filter(|_| spec.compact));
            if spec.idle_ms > 0 {
                log.set_produce_rate(now - spec.idle_ms.min(spec.age_ms), ProduceRate::IDLE);
            }
            log
        });
        let topic = Topic {
            name: spec.name.clone(),
            local: spec.local,
            compact: spec.compact,
            producer_clock_skew_ms: 0,
            created_ms,
            logs: logs.collect(),
        };
        instance.topics.insert(spec.name, topic);
        Ok(())
    }

    /// Deletes a topic with its committed offsets.
    pub fn delete_topic(&mut self, instance_id: &str, topic: &str) -> EditResult {
        let instance = self.edit_instance(instance_id)?;
        instance.topics.remove(topic).ok_or_else(|| UnknownObject::new("topic", topic))?;
        for group in instance.groups.values_mut() {
            group.cursors.remove(topic);
        }
        Ok(())
    }

    /// Deletes and recreates a topic: empty, with offsets from 0. `keep_committed` keeps the committed offsets,
    /// which are then beyond the end; otherwise nothing is committed until the groups consume again.
    pub fn recreate_topic(&mut self, instance_id: &str, topic: &str, keep_committed: bool) -> EditResult {
        self.edit_topic(instance_id, topic, |t, now| {
            for log in &mut t.logs {
                *log = log.recreated(now);
            }
            t.created_ms = now;
        })?;
        let now = self.now_ms;
        for group in self.edit_instance(instance_id)?.groups.values_mut() {
            for cursor in group.cursors.get_mut(topic).into_iter().flatten() {
                cursor.set_committed(cursor.committed.filter(|_| keep_committed), now);
            }
        }
        Ok(())
    }

    /// Adds empty partitions to a topic, with the produce rate of partition 0.
    pub fn add_partitions(&mut self, instance_id: &str, topic: &str, count: u32) -> EditResult {
        self.edit_topic(instance_id, topic, |t, now| {
            if let Some(first) = t.logs.first() {
                let log = first.recreated(now);
                t.logs.resize(t.logs.len() + count as usize, log);
            }
        })
    }

    /// Sets the produce rate of each partition of a topic, from now on.
    pub fn set_produce_rate(&mut self, instance_id: &str, topic: &str, rate: ProduceRate) -> EditResult {
        self.edit_topic(instance_id, topic, |t, now| {
            t.logs.iter_mut().for_each(|l| l.set_produce_rate(now, rate));
        })
    }

    /// Sets the offset of the producers' clock in milliseconds. The API returns timestamps of that clock.
    pub fn set_producer_clock_skew(&mut self, instance_id: &str, topic: &str, skew_ms: i64) -> EditResult {
        self.edit_topic(instance_id, topic, |t, _| t.producer_clock_skew_ms = skew_ms)
    }

    /// Writes messages to a partition immediately.
    pub fn append(&mut self, instance_id: &str, topic: &str, partition: u32, messages: i64) -> EditResult {
        self.edit_log(instance_id, topic, partition, |l, now| l.append(now, messages))
    }

    /// Removes the messages of a partition before an offset, as retention does.
    pub fn delete_records(
        &mut self,
        instance_id: &str,
        topic: &str,
        partition: u32,
        before: i64,
    ) -> EditResult {
        self.edit_log(instance_id, topic, partition, |l, now| l.delete_before(now, before))
    }

    /// Adds a group. Replaces a group with the same id.
    pub fn add_group(&mut self, instance_id: &str, spec: GroupSpec) -> EditResult {
        let (now, commit_ms) = (self.now_ms, millis(self.options.commit_interval).max(1));
        let instance = self.edit_instance(instance_id)?;
        let cursors = spec.topics.iter().filter_map(|name| {
            let logs = &instance.topics.get(name)?.logs;
            Some((name.clone(), logs.iter().map(|l| GroupCursor::at(spec.from, l, None, now)).collect()))
        });
        let group = Group {
            name: spec.name.clone(),
            created_ms: now - spec.age_ms,
            consumer: spec.consumer,
            members: if spec.consumer == ConsumerMode::Stopped { 0 } else { i64::from(spec.members) },
            rebalances: RebalancePlan::new(
                spec.rebalances.map(|(period, _)| period),
                spec.rebalances.map_or(0, |(_, duration)| duration),
            ),
            cursors: cursors.collect(),
            commit_ms,
            phase_ms: now,
        };
        instance.groups.insert(spec.name, group);
        Ok(())
    }

    /// Deletes a group.
    pub fn delete_group(&mut self, instance_id: &str, group: &str) -> EditResult {
        let deleted = self.edit_instance(instance_id)?.groups.remove(group);
        deleted.map(|_| ()).ok_or_else(|| UnknownObject::new("group", group))
    }

    /// Sets the consumer mode of a group, from now on.
    pub fn set_consumer_mode(&mut self, instance_id: &str, group: &str, mode: ConsumerMode) -> EditResult {
        let (g, now) = self.edit_group(instance_id, group)?;
        g.set_consumer_mode(mode, now);
        Ok(())
    }

    /// Starts a rebalance of a group.
    pub fn rebalance(&mut self, instance_id: &str, group: &str, duration_ms: i64) -> EditResult {
        let (g, now) = self.edit_group(instance_id, group)?;
        g.rebalances.forced.push((now, duration_ms));
        Ok(())
    }

    /// Stops or resumes the commits of a group on one partition.
    pub fn set_stuck(
        &mut self,
        instance_id: &str,
        group: &str,
        topic: &str,
        partition: u32,
        stuck: bool,
    ) -> EditResult {
        let (g, now) = self.edit_group(instance_id, group)?;
        let cursor = g.cursors.get_mut(topic).and_then(|all| all.get_mut(partition as usize));
        let cursor = cursor.ok_or_else(|| UnknownObject::new("partition", partition))?;
        cursor.active = !stuck;
        cursor.set_committed(cursor.committed, now);
        Ok(())
    }

    /// Resets all committed offsets of a group.
    pub fn reset_offsets(&mut self, instance_id: &str, group: &str, to: OffsetSpec) -> EditResult {
        let (_, now) = self.edit_group(instance_id, group)?;
        let Instance { topics, groups, .. } = self.edit_instance(instance_id)?;
        for (topic, cursors) in groups.get_mut(group).into_iter().flat_map(|g| &mut g.cursors) {
            let Some(t) = topics.get(topic) else { continue };
            for (cursor, log) in cursors.iter_mut().zip(&t.logs) {
                *cursor = GroupCursor::at(to, log, cursor.committed, now);
            }
        }
        Ok(())
    }

    /// Sets one committed offset of a group.
    pub fn set_committed(
        &mut self,
        instance_id: &str,
        group: &str,
        topic: &str,
        partition: u32,
        to: OffsetSpec,
    ) -> EditResult {
        let (_, now) = self.edit_group(instance_id, group)?;
        let (Instance { topics, groups, .. }, i) = (self.edit_instance(instance_id)?, partition as usize);
        let log = topics.get(topic).ok_or_else(|| UnknownObject::new("topic", topic))?.logs.get(i);
        let cursor = groups.get_mut(group).and_then(|g| g.cursors.get_mut(topic)?.get_mut(i));
        let (Some(log), Some(cursor)) = (log, cursor) else {
            return Err(UnknownObject::new("partition", partition));
        };
        *cursor = GroupCursor::at(to, log, cursor.committed, now);
        Ok(())
    }

    fn edit_instance(&mut self, instance_id: &str) -> Result<&mut Instance, UnknownObject> {
        self.instance_mut(instance_id).ok_or_else(|| UnknownObject::new("instance", instance_id))
    }

    fn edit_topic(
        &mut self,
        instance_id: &str,
        topic: &str,
        edit: impl FnOnce(&mut Topic, i64),
    ) -> EditResult {
        let now = self.now_ms;
        let instance = self.edit_instance(instance_id)?;
        // Commits up to now depend on the topic before the edit.
        instance.commit_topic(topic, now);
        edit(instance.topics.get_mut(topic).ok_or_else(|| UnknownObject::new("topic", topic))?, now);
        Ok(())
    }

    fn edit_log(
        &mut self,
        instance_id: &str,
        topic: &str,
        partition: u32,
        edit: impl FnOnce(&mut PartitionLog, i64),
    ) -> EditResult {
        let mut result = Err(UnknownObject::new("partition", partition));
        self.edit_topic(instance_id, topic, |t, now| {
            if let Some(log) = t.logs.get_mut(partition as usize) {
                edit(log, now);
                result = Ok(());
            }
        })?;
        result
    }

    fn edit_group(&mut self, instance_id: &str, group: &str) -> Result<(&mut Group, i64), UnknownObject> {
        let now = self.now_ms;
        let instance = self.edit_instance(instance_id)?;
        instance.commit_group(group, now);
        let group_mut = instance.groups.get_mut(group).ok_or_else(|| UnknownObject::new("group", group))?;
        Ok((group_mut, now))
    }
}

/// Time.
impl World {
    /// Advances world time, with the churn due until then.
    pub(crate) fn advance_to(&mut self, t: i64) {
        while let Some((due_ms, kind)) = self.churn.next(t) {
            self.now_ms = self.now_ms.max(due_ms);
            self.churn_once(kind);
        }
        self.now_ms = self.now_ms.max(t);
    }

    fn churn_once(&mut self, kind: ChurnKind) {
        let instances = self.instances_in_service();
        if instances.is_empty() {
            return;
        }
        let instance_id = instances[self.rng.random_range(0..instances.len())].1.clone();
        let number = self.churn.next_number();
        let name = format!("churn-{number}-{}", names::topic(number, self.options.unusual_names));
        let created = match kind {
            ChurnKind::Topic => {
                let rate = ProduceRate::per_second(self.rng.random_range(1..20));
                let spec = TopicSpec { rate, ..TopicSpec::new(&name, self.options.partitions_per_topic) };
                self.add_topic(&instance_id, spec)
            }
            ChurnKind::Group => {
                let topic = self.topics(&instance_id).first().cloned().unwrap_or_default();
                self.add_group(&instance_id, GroupSpec::new(&name, &[&topic]))
            }
        };
        if created.is_ok() {
            self.churn.add(ChurnedObject { kind, instance_id, name });
        }
        if let Some(surplus) = self.churn.take_surplus(kind) {
            // Fails if a test has already deleted the object.
            let _ = match kind {
                ChurnKind::Topic => self.delete_topic(&surplus.instance_id, &surplus.name),
                ChurnKind::Group => self.delete_group(&surplus.instance_id, &surplus.name),
            };
        }
    }
}
