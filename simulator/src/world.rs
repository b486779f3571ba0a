//! The world behind the service: regions, instances, topics, groups, and how they move with time.
//!
//! Owns: everything that is true. Everything but time is changed by the methods of [`World`]; what is
//! between two looks follows from the seed and the clock alone, however often it was looked at.
//! Refuses: the wire; it knows no JSON and no HTTP.

use std::collections::{BTreeMap, HashMap};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub(crate) mod edit;
pub(crate) mod group;
mod names;
pub(crate) mod partition_log;
mod seed;
pub(crate) mod spec;

pub(crate) mod truth;

use group::Group;
use partition_log::PartitionLog;
use truth::{GroupTruth, InstanceTruth, PartitionTruth, RegionTruth, TopicTruth, WorldTruth};

use crate::options::WorldOptions;

/// One topic.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) local: bool,
    pub(crate) compact: bool,
    /// Milliseconds by which the producers' clock is off.
    pub(crate) stamp_skew_ms: i64,
    pub(crate) automatic: bool,
    pub(crate) created_ms: i64,
    pub(crate) remark: String,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) logs: Vec<PartitionLog>,
}

impl Topic {
    pub(crate) fn truth(&self, now: i64) -> TopicTruth {
        let partitions: Vec<_> = (0..)
            .zip(&self.logs)
            .map(|(partition, log)| PartitionTruth {
                partition,
                start: log.start(now),
                end: log.end(now),
                last_write_ms: log.last_write(now),
                last_write_stamp_ms: log.last_write(now).map(|at| at.saturating_add(self.stamp_skew_ms)),
            })
            .collect();
        TopicTruth {
            now_ms: now,
            created_ms: self.created_ms,
            local: self.local,
            compact: self.compact,
            messages: partitions.iter().map(|p| p.end - p.start).sum(),
            partitions,
        }
    }
}

/// One instance.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) service_status: i64,
    pub(crate) view_status: Option<i64>,
    pub(crate) serverless: bool,
    pub(crate) spec_type: String,
    pub(crate) paid_type: i64,
    pub(crate) deploy_type: i64,
    pub(crate) version: String,
    pub(crate) disk_gb: i64,
    pub(crate) retention_hours: i64,
    pub(crate) topic_limit: i64,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) groups: BTreeMap<String, Group>,
}

impl Instance {
    /// Whether detail calls are answered.
    pub(crate) fn in_service(&self) -> bool {
        match self.view_status {
            Some(code) => matches!(code, 2 | 4 | 7 | 8 | 30),
            None => matches!(self.service_status, 5..=9 | 11 | 30),
        }
    }

    pub(crate) fn retention_ms(&self) -> i64 {
        self.retention_hours.saturating_mul(3_600_000)
    }

    pub(crate) fn partitions(&self) -> i64 {
        self.topics.values().map(|t| i64::try_from(t.logs.len()).unwrap_or(0)).sum()
    }

    /// Moves one group's committed offsets to `now`.
    pub(crate) fn commit_group(&mut self, name: &str, now: i64) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let read: Vec<String> = group.reads.keys().cloned().collect();
        for topic in read {
            if let Some(t) = self.topics.get(&topic) {
                group.commit_topic(&topic, &t.logs, now);
            }
        }
    }

    /// Moves the committed offsets of all that read a topic to `now`.
    fn commit_readers(&mut self, topic: &str, now: i64) {
        let Some(t) = self.topics.get(topic) else { return };
        for group in self.groups.values_mut() {
            group.commit_topic(topic, &t.logs, now);
        }
    }

    /// The truth about one group, at `now`.
    pub(crate) fn group_truth(&mut self, name: &str, now: i64) -> Option<GroupTruth> {
        self.commit_group(name, now);
        let (topics, serverless) = (&self.topics, self.serverless);
        let group = self.groups.get(name)?;
        Some(group.truth(now, |t| topics.get(t).map(|t| (t, serverless || t.local))))
    }

    fn truth(&mut self, now: i64) -> InstanceTruth {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        let groups = names.into_iter().filter_map(|n| self.group_truth(&n, now).map(|t| (n, t))).collect();
        InstanceTruth {
            id: self.id.clone(),
            name: self.name.clone(),
            region: self.region.clone(),
            service_status: self.service_status,
            view_status: self.view_status,
            in_service: self.in_service(),
            serverless: self.serverless,
            retention_ms: self.retention_ms(),
            created_ms: self.created_ms,
            expires_ms: self.expires_ms,
            tags: self.tags.clone(),
            partitions: self.partitions(),
            topics: self.topics.iter().map(|(n, t)| (n.clone(), t.truth(now))).collect(),
            groups,
        }
    }
}

/// Everything that is true behind the service. Got from `Simulator::world`.
#[derive(Debug)]
pub struct World {
    options: WorldOptions,
    rng: ChaCha8Rng,
    now_ms: i64,
    /// By region, then by instance id.
    regions: BTreeMap<String, BTreeMap<String, Instance>>,
    /// Instance id to region.
    homes: HashMap<String, String>,
    churn: edit::ChurnState,
    pub(crate) has_scenarios: bool,
}

impl World {
    pub(crate) fn new(options: WorldOptions, epoch_ms: i64) -> Self {
        let mut world = Self {
            rng: ChaCha8Rng::seed_from_u64(options.seed),
            now_ms: epoch_ms,
            regions: BTreeMap::new(),
            homes: HashMap::new(),
            churn: edit::ChurnState::new(options.churn, epoch_ms),
            has_scenarios: false,
            options,
        };
        seed::fill(&mut world);
        if world.options.scenarios {
            world.add_scenarios();
        }
        world
    }

    /// World time, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The region ids that exist.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.regions.keys().map(String::as_str)
    }

    /// All instances, as (region, instance id).
    #[must_use]
    pub fn instances(&self) -> Vec<(String, String)> {
        self.regions.iter().flat_map(|(r, all)| all.keys().map(|i| (r.clone(), i.clone()))).collect()
    }

    /// The instances that answer detail calls, as (region, instance id).
    #[must_use]
    pub fn instances_in_service(&self) -> Vec<(String, String)> {
        let all = self.regions.iter().flat_map(|(r, all)| all.values().map(move |i| (r, i)));
        all.filter(|(_, i)| i.in_service()).map(|(r, i)| (r.clone(), i.id.clone())).collect()
    }

    /// The topic names of an instance; none for an unknown one.
    #[must_use]
    pub fn topics(&self, instance_id: &str) -> Vec<String> {
        self.instance(instance_id).map(|i| i.topics.keys().cloned().collect()).unwrap_or_default()
    }

    /// The group ids of an instance; none for an unknown one.
    #[must_use]
    pub fn groups(&self, instance_id: &str) -> Vec<String> {
        self.instance(instance_id).map(|i| i.groups.keys().cloned().collect()).unwrap_or_default()
    }

    /// The truth about everything, now.
    pub fn truth(&mut self) -> WorldTruth {
        let now = self.now_ms;
        let regions = self
            .regions
            .iter_mut()
            .map(|(region, all)| {
                let instances = all.iter_mut().map(|(id, i)| (id.clone(), i.truth(now))).collect();
                (region.clone(), RegionTruth { instances })
            })
            .collect();
        WorldTruth { now_ms: now, regions }
    }

    /// The truth about one topic, now; `None` if it does not exist.
    #[must_use]
    pub fn topic_truth(&self, instance_id: &str, topic: &str) -> Option<TopicTruth> {
        self.instance(instance_id)?.topics.get(topic).map(|t| t.truth(self.now_ms))
    }

    /// The truth about one group, now; `None` if it does not exist.
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

    pub(crate) fn home(&self, instance_id: &str) -> Option<&str> {
        self.homes.get(instance_id).map(String::as_str)
    }

    pub(crate) fn instance(&self, instance_id: &str) -> Option<&Instance> {
        self.regions.get(self.homes.get(instance_id)?)?.get(instance_id)
    }

    pub(crate) fn instance_mut(&mut self, instance_id: &str) -> Option<&mut Instance> {
        self.regions.get_mut(self.homes.get(instance_id)?)?.get_mut(instance_id)
    }
}
