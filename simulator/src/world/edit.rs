//! What can be done to the world by hand, and what churn does to it by itself.

use std::{error::Error, fmt};

use rand::RngExt;

use super::{
    Instance, Topic, World,
    group::{ConsumerMode, Group, RebalancePlan},
    names,
    partition_log::{PartitionLog, ProduceRate},
    spec::{GroupSpec, InstanceSpec, OffsetSpec, TopicSpec},
};
use crate::{clock::millis, options::Churn};

/// The object to change does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownObject {
    /// What it is: region, instance, topic, group or partition.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl fmt::Display for UnknownObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {} {:?} in the simulated world", self.kind, self.name)
    }
}

impl Error for UnknownObject {}

fn unknown(kind: &'static str, name: impl fmt::Display) -> UnknownObject {
    UnknownObject { kind, name: name.to_string() }
}

impl World {
    fn editable(&mut self, instance_id: &str) -> Result<&mut Instance, UnknownObject> {
        self.instance_mut(instance_id).ok_or_else(|| unknown("instance", instance_id))
    }

    /// Moves the world to a moment; the past stays as it was.
    pub(crate) fn advance_to(&mut self, t: i64) {
        while let Some((at, what)) = self.churn.next(t) {
            self.now_ms = self.now_ms.max(at);
            self.churn_once(what);
        }
        self.now_ms = self.now_ms.max(t);
    }

    /// Makes a region exist.
    pub fn add_region(&mut self, region: &str) {
        self.regions.entry(region.to_owned()).or_default();
    }

    /// Makes an instance without topics and groups, replacing one of the same id.
    pub fn add_instance(&mut self, region: &str, spec: InstanceSpec) {
        let now = self.now_ms;
        let instance = Instance {
            id: spec.id.clone(),
            name: spec.name,
            region: region.to_owned(),
            service_status: spec.service_status,
            view_status: spec.view_status,
            serverless: spec.serverless,
            spec_type: if spec.serverless { "serverless" } else { "professional" }.to_owned(),
            paid_type: if spec.serverless { 3 } else { i64::from(!spec.prepaid) },
            deploy_type: 5,
            version: "2.6.2".to_owned(),
            disk_gb: 900,
            retention_hours: i64::from(spec.retention_hours),
            topic_limit: i64::from(spec.topic_limit),
            created_ms: now - spec.age_ms,
            expires_ms: now + spec.expires_in_ms,
            tags: spec.tags,
            topics: Default::default(),
            groups: Default::default(),
        };
        self.homes.insert(spec.id.clone(), region.to_owned());
        self.regions.entry(region.to_owned()).or_default().insert(spec.id, instance);
    }

    /// Deletes an instance with all it holds.
    ///
    /// # Errors
    /// If there is none of this id.
    pub fn delete_instance(&mut self, instance_id: &str) -> Result<(), UnknownObject> {
        let region = self.homes.remove(instance_id).ok_or_else(|| unknown("instance", instance_id))?;
        self.regions.entry(region).or_default().remove(instance_id);
        Ok(())
    }

    /// Gives an instance another name.
    ///
    /// # Errors
    /// If there is none of this id.
    pub fn rename_instance(&mut self, instance_id: &str, name: &str) -> Result<(), UnknownObject> {
        name.clone_into(&mut self.editable(instance_id)?.name);
        Ok(())
    }

    /// Sets `ServiceStatus` and `ViewInstanceStatusCode`.
    ///
    /// # Errors
    /// If there is none of this id.
    pub fn set_instance_status(
        &mut self,
        instance_id: &str,
        service: i64,
        view: Option<i64>,
    ) -> Result<(), UnknownObject> {
        let instance = self.editable(instance_id)?;
        (instance.service_status, instance.view_status) = (service, view);
        Ok(())
    }

    /// Makes a topic, replacing one of the same name.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn add_topic(&mut self, instance_id: &str, spec: TopicSpec) -> Result<(), UnknownObject> {
        let now = self.now_ms;
        let instance = self.editable(instance_id)?;
        let keep = (!spec.compact).then(|| instance.retention_ms());
        let log = |partition: u32| {
            let times = spec.hot.filter(|(hot, _)| *hot == partition).map_or(1, |(_, times)| times);
            let rate = ProduceRate { per_hour: spec.rate.per_hour.saturating_mul(times), ..spec.rate };
            let mut log = PartitionLog::new(spec.base_offset, now - spec.age_ms, rate, spec.segment, keep)
                .compacted(spec.compaction.filter(|_| spec.compact));
            if spec.idle_ms > 0 {
                log.set_produce_rate(now - spec.idle_ms.min(spec.age_ms), ProduceRate::IDLE);
            }
            log
        };
        let topic = Topic {
            name: spec.name.clone(),
            local: spec.local,
            compact: spec.compact,
            stamp_skew_ms: 0,
            automatic: false,
            created_ms: now - spec.age_ms,
            remark: String::new(),
            tags: Vec::new(),
            logs: (0..spec.partitions).map(log).collect(),
        };
        instance.topics.insert(spec.name, topic);
        Ok(())
    }

    /// Deletes a topic, and what groups have committed on it.
    ///
    /// # Errors
    /// If there is no such instance or topic.
    pub fn delete_topic(&mut self, instance_id: &str, topic: &str) -> Result<(), UnknownObject> {
        let instance = self.editable(instance_id)?;
        instance.topics.remove(topic).ok_or_else(|| unknown("topic", topic))?;
        for group in instance.groups.values_mut() {
            group.reads.remove(topic);
        }
        Ok(())
    }

    /// Deletes a topic and makes it again, empty, its offsets from 0. With `keep_committed` the groups'
    /// committed offsets stay, now beyond the end; without, nothing is committed until they read on.
    ///
    /// # Errors
    /// If there is no such instance or topic.
    pub fn recreate_topic(
        &mut self,
        instance_id: &str,
        topic: &str,
        keep_committed: bool,
    ) -> Result<(), UnknownObject> {
        let now = self.now_ms;
        self.edit_topic(instance_id, topic, |t| {
            for log in &mut t.logs {
                *log = log.recreated(now);
            }
            t.created_ms = now;
        })?;
        for group in self.editable(instance_id)?.groups.values_mut() {
            for cursor in group.reads.get_mut(topic).into_iter().flatten() {
                cursor.put(cursor.committed.filter(|_| keep_committed), now);
            }
        }
        Ok(())
    }

    /// Adds empty partitions to a topic; each is written like partition 0.
    ///
    /// # Errors
    /// If there is no such instance or topic.
    pub fn add_partitions(&mut self, instance_id: &str, topic: &str, more: u32) -> Result<(), UnknownObject> {
        let now = self.now_ms;
        self.edit_topic(instance_id, topic, |t| {
            if let Some(first) = t.logs.first() {
                let log = first.recreated(now);
                t.logs.resize(t.logs.len() + more as usize, log);
            }
        })
    }

    /// Changes how each partition of a topic is written from now on.
    ///
    /// # Errors
    /// If there is no such instance or topic.
    pub fn set_produce_rate(
        &mut self,
        instance_id: &str,
        topic: &str,
        rate: ProduceRate,
    ) -> Result<(), UnknownObject> {
        let now = self.now_ms;
        self.edit_topic(instance_id, topic, |t| t.logs.iter_mut().for_each(|l| l.set_produce_rate(now, rate)))
    }

    /// Puts the clock of a topic's producers off by so many milliseconds: the service tells the times that
    /// they stamped messages with.
    ///
    /// # Errors
    /// If there is no such instance or topic.
    pub fn set_producer_clock_skew(
        &mut self,
        instance_id: &str,
        topic: &str,
        skew_ms: i64,
    ) -> Result<(), UnknownObject> {
        self.edit_topic(instance_id, topic, |t| t.stamp_skew_ms = skew_ms)
    }

    /// Writes messages into one partition at once.
    ///
    /// # Errors
    /// If there is no such instance, topic or partition.
    pub fn append(
        &mut self,
        instance_id: &str,
        topic: &str,
        partition: u32,
        messages: i64,
    ) -> Result<(), UnknownObject> {
        let now = self.now_ms;
        self.edit_log(instance_id, topic, partition, |l| l.append(now, messages))
    }

    /// Removes the messages of one partition before an offset, as retention would.
    ///
    /// # Errors
    /// If there is no such instance, topic or partition.
    pub fn delete_records(
        &mut self,
        instance_id: &str,
        topic: &str,
        partition: u32,
        before: i64,
    ) -> Result<(), UnknownObject> {
        let now = self.now_ms;
        self.edit_log(instance_id, topic, partition, |l| l.delete_before(now, before))
    }

    fn edit_log(
        &mut self,
        instance_id: &str,
        topic: &str,
        partition: u32,
        edit: impl FnOnce(&mut PartitionLog),
    ) -> Result<(), UnknownObject> {
        let mut found = false;
        self.edit_topic(instance_id, topic, |t| {
            if let Some(log) = t.logs.get_mut(partition as usize) {
                edit(log);
                found = true;
            }
        })?;
        if found { Ok(()) } else { Err(unknown("partition", partition)) }
    }

    fn edit_topic(
        &mut self,
        instance_id: &str,
        topic: &str,
        edit: impl FnOnce(&mut Topic),
    ) -> Result<(), UnknownObject> {
        let now = self.now_ms;
        let instance = self.editable(instance_id)?;
        // What was committed until now was committed on the topic as it was.
        instance.commit_readers(topic, now);
        edit(instance.topics.get_mut(topic).ok_or_else(|| unknown("topic", topic))?);
        Ok(())
    }

    /// Makes a group, replacing one of the same id.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn add_group(&mut self, instance_id: &str, spec: GroupSpec) -> Result<(), UnknownObject> {
        let (now, commit_ms) = (self.now_ms, millis(self.options.commit_interval).max(1));
        let instance = self.editable(instance_id)?;
        let topics = &instance.topics;
        let reads = spec.topics.iter().filter_map(|name| {
            let cursors = topics.get(name)?.logs.iter().map(|l| spec.from.cursor(l, None, now)).collect();
            Some((name.clone(), cursors))
        });
        let (period_ms, duration_ms) =
            spec.rebalances.map_or((None, 0), |(period, long)| (Some(period), long));
        let group = Group {
            name: spec.name.clone(),
            created_ms: now - spec.age_ms,
            remark: String::new(),
            tags: Vec::new(),
            automatic: false,
            consumer: spec.consumer,
            members: if spec.consumer == ConsumerMode::Stopped { 0 } else { i64::from(spec.members) },
            rebalances: RebalancePlan::new(period_ms, duration_ms),
            reads: reads.collect(),
            commit_ms,
            phase_ms: now,
        };
        instance.groups.insert(spec.name, group);
        Ok(())
    }

    /// Deletes a group.
    ///
    /// # Errors
    /// If there is no such instance or group.
    pub fn delete_group(&mut self, instance_id: &str, group: &str) -> Result<(), UnknownObject> {
        let gone = self.editable(instance_id)?.groups.remove(group);
        gone.map(|_| ()).ok_or_else(|| unknown("group", group))
    }

    fn edit_group(&mut self, instance_id: &str, group: &str) -> Result<(&mut Group, i64), UnknownObject> {
        let now = self.now_ms;
        let instance = self.editable(instance_id)?;
        instance.commit_group(group, now);
        instance.groups.get_mut(group).map(|g| (g, now)).ok_or_else(|| unknown("group", group))
    }

    /// Changes how a group reads from now on: stall it, stop it, let it resume.
    ///
    /// # Errors
    /// If there is no such instance or group.
    pub fn set_consumer_mode(
        &mut self,
        instance_id: &str,
        group: &str,
        consumer: ConsumerMode,
    ) -> Result<(), UnknownObject> {
        let (g, now) = self.edit_group(instance_id, group)?;
        g.set_consumer_mode(consumer, now);
        Ok(())
    }

    /// Lets a group rebalance from now on, for so many milliseconds.
    ///
    /// # Errors
    /// If there is no such instance or group.
    pub fn rebalance(
        &mut self,
        instance_id: &str,
        group: &str,
        duration_ms: i64,
    ) -> Result<(), UnknownObject> {
        let (g, now) = self.edit_group(instance_id, group)?;
        g.rebalances.forced.push((now, duration_ms));
        Ok(())
    }

    /// Lets a group stop committing one partition while it reads the others, or go on with it.
    ///
    /// # Errors
    /// If there is no such instance, group or topic, or the partition is not read.
    pub fn set_stuck(
        &mut self,
        instance_id: &str,
        group: &str,
        topic: &str,
        partition: u32,
        stuck: bool,
    ) -> Result<(), UnknownObject> {
        let (g, now) = self.edit_group(instance_id, group)?;
        let cursor = g.reads.get_mut(topic).and_then(|all| all.get_mut(partition as usize));
        let cursor = cursor.ok_or_else(|| unknown("partition", partition))?;
        cursor.active = !stuck;
        cursor.put(cursor.committed, now);
        Ok(())
    }

    /// Puts all committed offsets of a group elsewhere, as an operator's reset does.
    ///
    /// # Errors
    /// If there is no such instance or group.
    pub fn reset_offsets(
        &mut self,
        instance_id: &str,
        group: &str,
        to: OffsetSpec,
    ) -> Result<(), UnknownObject> {
        self.edit_group(instance_id, group)?;
        let now = self.now_ms;
        let Instance { topics, groups, .. } = self.editable(instance_id)?;
        for (topic, cursors) in groups.get_mut(group).into_iter().flat_map(|g| &mut g.reads) {
            let Some(t) = topics.get(topic) else { continue };
            for (cursor, log) in cursors.iter_mut().zip(&t.logs) {
                *cursor = to.cursor(log, cursor.committed, now);
            }
        }
        Ok(())
    }

    /// Puts one committed offset of a group.
    ///
    /// # Errors
    /// If there is no such instance, group or topic, or the partition is not read.
    pub fn set_committed(
        &mut self,
        instance_id: &str,
        group: &str,
        topic: &str,
        partition: u32,
        to: OffsetSpec,
    ) -> Result<(), UnknownObject> {
        self.edit_group(instance_id, group)?;
        let now = self.now_ms;
        let Instance { topics, groups, .. } = self.editable(instance_id)?;
        let log = topics.get(topic).ok_or_else(|| unknown("topic", topic))?.logs.get(partition as usize);
        let cursor = groups.get_mut(group).and_then(|g| g.reads.get_mut(topic)?.get_mut(partition as usize));
        let (Some(log), Some(cursor)) = (log, cursor) else { return Err(unknown("partition", partition)) };
        *cursor = to.cursor(log, cursor.committed, now);
        Ok(())
    }

    fn churn_once(&mut self, what: ChurnKind) {
        let ids: Vec<String> = self.instances_in_service().into_iter().map(|(_, id)| id).collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.rng.random_range(0..ids.len())].clone();
        self.churn.made += 1;
        let name = format!(
            "churn-{}-{}",
            self.churn.made,
            names::topic(self.churn.made, self.options.unusual_names)
        );
        let made = match what {
            ChurnKind::Topic => {
                let rate = ProduceRate::per_second(self.rng.random_range(1..20));
                let spec = TopicSpec { rate, ..TopicSpec::new(&name, self.options.partitions_per_topic) };
                self.add_topic(&id, spec)
            }
            ChurnKind::Group => {
                let topic = self.topics(&id).first().cloned().unwrap_or_default();
                self.add_group(&id, GroupSpec::new(&name, &[&topic]))
            }
        };
        if made.is_ok() {
            self.churn.living.push((what, id, name));
        }
        // Some of those made live on for a while, so that lists change at both ends.
        let of_kind = self.churn.living.iter().filter(|(k, ..)| *k == what).count();
        if of_kind > 3
            && let Some(oldest) = self.churn.living.iter().position(|(k, ..)| *k == what)
        {
            let (_, id, name) = self.churn.living.remove(oldest);
            // One that was deleted by hand, alone or with its instance, is gone already.
            let _ = match what {
                ChurnKind::Topic => self.delete_topic(&id, &name),
                ChurnKind::Group => self.delete_group(&id, &name),
            };
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChurnKind {
    Topic,
    Group,
}

/// When churn comes next, and what it has made.
#[derive(Debug)]
pub(crate) struct ChurnState {
    /// (kind, period in ms, next moment)
    due: Vec<(ChurnKind, i64, i64)>,
    made: usize,
    living: Vec<(ChurnKind, String, String)>,
}

impl ChurnState {
    pub(crate) fn new(churn: Churn, epoch_ms: i64) -> Self {
        let kinds = [(ChurnKind::Topic, churn.topics_per_hour), (ChurnKind::Group, churn.groups_per_hour)];
        let due = kinds.into_iter().filter(|(_, n)| *n > 0).map(|(kind, per_hour)| {
            let period = (3_600_000 / i64::from(per_hour)).max(1);
            (kind, period, epoch_ms + period)
        });
        Self { due: due.collect(), made: 0, living: Vec::new() }
    }

    fn next(&mut self, until: i64) -> Option<(i64, ChurnKind)> {
        let (kind, period, at) = self.due.iter_mut().min_by_key(|(.., at)| *at)?;
        if *at > until {
            return None;
        }
        let now = *at;
        *at += *period;
        Some((now, *kind))
    }
}
