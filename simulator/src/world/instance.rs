//! Instances with their topics and groups.

use std::collections::BTreeMap;

use super::{
    group::Group,
    spec::InstanceSpec,
    topic::Topic,
    truth::{GroupTruth, InstanceTruth},
};

/// An instance.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) spec: InstanceSpec,
    pub(crate) region: String,
    pub(crate) spec_type: &'static str,
    pub(crate) deploy_type: i64,
    pub(crate) version: &'static str,
    pub(crate) disk_gb: i64,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) groups: BTreeMap<String, Group>,
}

impl Instance {
    /// Whether calls for its topics and groups succeed.
    pub(crate) fn in_service(&self) -> bool {
        match self.spec.view_status {
            Some(code) => matches!(code, 2 | 4 | 7 | 8 | 30),
            None => matches!(self.spec.service_status, 5..=9 | 11 | 30),
        }
    }

    pub(crate) fn retention_ms(&self) -> i64 {
        i64::from(self.spec.retention_hours) * 3_600_000
    }

    /// Returns `PaidType`.
    pub(crate) fn paid_type(&self) -> i64 {
        if self.spec.serverless { 3 } else { i64::from(!self.spec.prepaid) }
    }

    pub(crate) fn partitions(&self) -> i64 {
        self.topics.values().map(|t| i64::try_from(t.logs.len()).unwrap_or(0)).sum()
    }

    /// Moves the committed offsets of a group to `now`.
    pub(crate) fn commit_group(&mut self, name: &str, now: i64) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let topics: Vec<String> = group.cursors.keys().cloned().collect();
        for topic in topics {
            if let Some(t) = self.topics.get(&topic) {
                group.commit_topic(&topic, &t.logs, now);
            }
        }
    }

    /// Moves the committed offsets of all groups on a topic to `now`.
    pub(crate) fn commit_topic(&mut self, topic: &str, now: i64) {
        let Some(t) = self.topics.get(topic) else { return };
        for group in self.groups.values_mut() {
            group.commit_topic(topic, &t.logs, now);
        }
    }

    pub(crate) fn group_truth(&mut self, name: &str, now: i64) -> Option<GroupTruth> {
        self.commit_group(name, now);
        Some(self.groups.get(name)?.truth(now, &self.topics, self.spec.serverless))
    }

    pub(crate) fn truth(&mut self, now: i64) -> InstanceTruth {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        let groups = names.into_iter().filter_map(|n| self.group_truth(&n, now).map(|t| (n, t))).collect();
        InstanceTruth {
            id: self.spec.id.clone(),
            name: self.spec.name.clone(),
            region: self.region.clone(),
            service_status: self.spec.service_status,
            view_status: self.spec.view_status,
            in_service: self.in_service(),
            serverless: self.spec.serverless,
            retention_ms: self.retention_ms(),
            created_ms: self.created_ms,
            expires_ms: self.expires_ms,
            tags: self.spec.tags.clone(),
            partitions: self.partitions(),
            topics: self.topics.iter().map(|(n, t)| (n.clone(), t.truth(now))).collect(),
            groups,
        }
    }
}
