//! Series of regions, instances, topics and groups. Pure.
//!
//! Owns: which value of the snapshot becomes which series, and when a series is absent. Out of scope: text form and
//! order of the exposition.

use std::time::Duration;

use super::{
    catalog::{MetricId, MetricSet},
    value::SampleValue,
};
use crate::{
    lag::{
        TopicLag,
        assess::{GroupAssessment, TopicAssessment},
        bounds::TimeBounds,
    },
    model::{
        AccountName, Cleanup, GroupId, GroupState, InstanceId, InstanceState, Partition, RegionId, Storage,
        TopicName,
    },
    snapshot::{GroupView, InstanceView, LastSuccess, RegionView, TopicView},
};

/// Maximum length of descriptive label values, in characters. Names that identify an object are never truncated.
const MAX_LABEL_CHARS: usize = 256;

/// Receiver of samples. Each sample gets the labels of the object entered last.
pub(super) trait SeriesSink {
    fn enter_region(&mut self, _account: Option<&AccountName>, _region: &RegionId) {}
    fn enter_instance(&mut self, _instance: &InstanceId) {}
    fn enter_topic(&mut self, _topic: &TopicName) {}
    fn enter_group(&mut self, _group: &GroupId) {}
    /// Enters a topic of the group entered last.
    fn enter_group_topic(&mut self, _topic: &TopicName) {}

    /// Takes a sample with further labels.
    fn labelled_sample(&mut self, id: MetricId, labels: &[(&str, &str)], value: impl SampleValue);

    /// Takes one sample for each partition with a known value.
    fn partition_samples<V: SampleValue>(
        &mut self,
        id: MetricId,
        values: impl Iterator<Item = (Partition, Option<V>)>,
    );

    fn sample(&mut self, id: MetricId, value: impl SampleValue) {
        self.labelled_sample(id, &[], value);
    }

    fn sample_if_known(&mut self, id: MetricId, value: Option<impl SampleValue>) {
        if let Some(value) = value {
            self.sample(id, value);
        }
    }

    /// Takes a number, unless it is infinite or NaN.
    fn float_if_known(&mut self, id: MetricId, value: Option<f64>) {
        self.sample_if_known(id, value.filter(|v| v.is_finite()));
    }
}

/// Counter of series.
#[derive(Debug)]
pub(super) struct SeriesCounter {
    /// Metrics to count.
    pub(super) enabled: MetricSet,
    pub(super) series: u64,
}

impl SeriesSink for SeriesCounter {
    fn labelled_sample(&mut self, id: MetricId, _: &[(&str, &str)], _: impl SampleValue) {
        self.series += u64::from(self.enabled.contains(id));
    }

    fn partition_samples<V: SampleValue>(
        &mut self,
        id: MetricId,
        values: impl Iterator<Item = (Partition, Option<V>)>,
    ) {
        if self.enabled.contains(id) {
            self.series += values.filter(|(_, value)| value.is_some()).count() as u64;
        }
    }
}

/// Emits the series of a region, without those of its instances.
pub(super) fn emit_region(view: &RegionView, sink: &mut impl SeriesSink) {
    sink.enter_region(view.account.as_ref(), &view.region);
    sink.sample_if_known(MetricId::RegionUp, view.up);
    emit_last_success(MetricId::RegionLastSuccess, view.last_success, sink);
    let objects = &view.objects;
    for (kind, count) in
        [("instances", objects.instances), ("topics", objects.topics), ("groups", objects.groups)]
    {
        sink.labelled_sample(MetricId::Objects, &[("kind", kind)], count as u64);
    }
}

/// Emits the series of an instance, without those of its topics and groups. `tags` are pairs of an allowed tag key
/// and its label name.
pub(super) fn emit_instance(view: &InstanceView, tags: &[(String, String)], sink: &mut impl SeriesSink) {
    sink.enter_instance(&view.id);
    sink.sample_if_known(MetricId::InstanceUp, view.up);
    emit_last_success(MetricId::InstanceLastSuccess, view.last_success, sink);
    let Some(info) = view.info.as_deref() else { return };
    let labels = [
        ("name", label_text(info.name.as_deref())),
        ("series", label_text(info.series.as_deref())),
        ("spec_type", label_text(info.spec_type.as_deref())),
        ("version", label_text(info.version.as_deref())),
        ("deploy_type", label_text(info.deploy_type.as_deref())),
        ("paid_type", label_text(info.paid_type.as_deref())),
        ("disk_type", label_text(info.disk_type.as_deref())),
    ];
    sink.labelled_sample(MetricId::InstanceInfo, &labels, true);
    if let Some(current) = info.state {
        for state in InstanceState::ALL {
            sink.labelled_sample(MetricId::InstanceState, &[("state", state.label())], state == current);
        }
    }
    if !tags.is_empty() {
        let value_of = |key| info.tags.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
        let labels: Vec<_> =
            tags.iter().map(|(key, label)| (label.as_str(), label_text(value_of(key)))).collect();
        sink.labelled_sample(MetricId::InstanceTags, &labels, true);
    }
    sink.sample_if_known(MetricId::InstanceCreation, info.created_at);
    sink.sample_if_known(MetricId::InstanceExpiry, info.expires_at);
    sink.sample_if_known(MetricId::InstanceTopics, info.topics);
    sink.sample_if_known(MetricId::InstanceTopicLimit, info.topic_limit);
    sink.sample_if_known(MetricId::InstancePartitions, info.partitions);
    sink.sample_if_known(MetricId::InstanceGroups, info.groups);
    sink.sample_if_known(MetricId::InstanceDiskSize, info.disk_size_bytes);
    sink.sample_if_known(MetricId::InstanceRetention, info.message_retention_seconds);
}

/// Emits the series of a topic of the instance entered last.
pub(super) fn emit_topic(view: &TopicView, sink: &mut impl SeriesSink) {
    sink.enter_topic(&view.name);
    if let Some(info) = view.info.as_deref() {
        let labels = [
            ("storage", info.storage.map_or("", Storage::label)),
            ("cleanup", info.cleanup.map_or("", Cleanup::label)),
        ];
        sink.labelled_sample(MetricId::TopicInfo, &labels, true);
        sink.sample_if_known(MetricId::TopicPartitions, info.partitions.map(u64::from));
    }
    if let Some(status) = view.status.as_deref() {
        let partitions = status.partitions.iter();
        sink.partition_samples(
            MetricId::TopicPartitionStart,
            partitions.clone().map(|p| (p.partition, p.start)),
        );
        sink.partition_samples(MetricId::TopicPartitionEnd, partitions.clone().map(|p| (p.partition, p.end)));
        sink.partition_samples(
            MetricId::TopicPartitionLastWrite,
            partitions.map(|p| (p.partition, p.last_write)),
        );
        sink.sample_if_known(MetricId::TopicMessages, status.messages);
    }
    sink.sample_if_known(MetricId::TopicGroups, view.groups);
}

/// Emits the series of a group of the instance entered last.
pub(super) fn emit_group(view: &GroupView, sink: &mut impl SeriesSink) {
    sink.enter_group(&view.id);
    if view.listed {
        sink.sample(MetricId::GroupInfo, true);
    }
    if let Some(current) = view.state {
        for state in GroupState::ALL {
            sink.labelled_sample(MetricId::GroupState, &[("state", state.label())], state == current);
        }
    }
    if let Some(rebalances) = view.rebalances {
        sink.sample(MetricId::GroupRebalances, rebalances.seen);
        sink.sample(MetricId::GroupLastRebalance, rebalances.last);
    }
    let Some(lag) = view.lag.as_deref() else { return };
    sink.sample_if_known(MetricId::GroupLag, lag.messages);
    let assessment = view.assessment.as_deref();
    if let Some(GroupAssessment { bounds, status, consumable, catch_up, topics: _ }) = assessment {
        emit_lag_bounds(*bounds, MetricId::GroupLagSeconds, MetricId::GroupLagFloor, sink);
        sink.sample_if_known(MetricId::GroupStatus, *status);
        sink.sample_if_known(MetricId::GroupConsumable, *consumable);
        sink.float_if_known(MetricId::GroupCatchUp, *catch_up);
    }
    for (index, topic) in lag.topics.iter().enumerate() {
        emit_group_topic(topic, assessment.and_then(|a| a.topics.get(index)), sink);
    }
}

fn emit_group_topic(lag: &TopicLag, assessment: Option<&TopicAssessment>, sink: &mut impl SeriesSink) {
    sink.enter_group_topic(&lag.topic);
    sink.sample_if_known(MetricId::GroupTopicLag, lag.messages);
    let partitions = lag.partitions.iter();
    sink.partition_samples(
        MetricId::GroupPartitionOffset,
        partitions.clone().map(|p| (p.partition, p.committed)),
    );
    sink.partition_samples(
        MetricId::GroupPartitionLag,
        partitions.clone().map(|p| (p.partition, p.messages)),
    );
    sink.partition_samples(
        MetricId::GroupPartitionLastConsumed,
        partitions.map(|p| (p.partition, p.last_consumed)),
    );
    let Some(assessment) = assessment else { return };
    emit_lag_bounds(assessment.bounds, MetricId::GroupTopicLagSeconds, MetricId::GroupTopicLagFloor, sink);
    sink.sample_if_known(MetricId::GroupTopicStatus, assessment.status);
    sink.sample_if_known(MetricId::GroupTopicConsumable, assessment.consumable);
    sink.float_if_known(MetricId::GroupTopicConsumed, assessment.consumed);
    sink.float_if_known(MetricId::GroupTopicProduced, assessment.produced);
    sink.float_if_known(MetricId::GroupTopicCatchUp, assessment.catch_up);
    sink.float_if_known(MetricId::GroupTopicLossEta, assessment.data_loss_eta);
    let assessed = || assessment.with_lag(lag).map(|(lag, assessment)| (lag.partition, assessment));
    let upper = assessed().map(|(partition, a)| (partition, a.bounds.upper.map(Duration::from_millis)));
    sink.partition_samples(MetricId::GroupPartitionLagSeconds, upper);
    let lower = assessed().map(|(partition, a)| (partition, a.bounds.lower.map(Duration::from_millis)));
    sink.partition_samples(MetricId::GroupPartitionLagFloor, lower);
    let margin = assessed().map(|(partition, a)| (partition, a.retention.and_then(|r| r.margin)));
    sink.partition_samples(MetricId::GroupPartitionMargin, margin);
    let lost = assessed().map(|(partition, a)| (partition, a.retention.map(|r| r.lost)));
    sink.partition_samples(MetricId::GroupPartitionLost, lost);
}

fn emit_lag_bounds(bounds: TimeBounds, upper: MetricId, lower: MetricId, sink: &mut impl SeriesSink) {
    sink.sample_if_known(upper, bounds.upper.map(Duration::from_millis));
    sink.sample_if_known(lower, bounds.lower.map(Duration::from_millis));
}

fn emit_last_success(id: MetricId, last: LastSuccess, sink: &mut impl SeriesSink) {
    for (scope, at) in [("discovery", last.discovery), ("topics", last.topics), ("groups", last.groups)] {
        if let Some(at) = at {
            sink.labelled_sample(id, &[("scope", scope)], at);
        }
    }
}

/// Returns the value of a descriptive label: empty if unknown, truncated if too long.
fn label_text(value: Option<&str>) -> &str {
    let value = value.unwrap_or("");
    match value.char_indices().nth(MAX_LABEL_CHARS) {
        Some((end, _)) => &value[..end],
        None => value,
    }
}
