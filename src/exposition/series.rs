//! What series an object has. Pure: views in, samples out into whatever wants them, be it text or a count.
//!
//! Owns: which value of a view becomes which series, and when it is absent. Refuses: spelling and order of
//! the page.

use super::{
    catalog::{FAMILIES, MetricId},
    text::{push_float, push_integer, push_millis, push_seconds},
};
use crate::{
    lag::{
        TopicLag,
        assess::{GroupAssessment, PartitionAssessment, TopicAssessment},
        bounds::TimeBounds,
        status::Status,
    },
    model::{
        AccountName, Cleanup, GroupId, GroupState, InstanceId, InstanceState, Offset, RegionId, Storage,
        TopicName, UnixMillis,
    },
    snapshot::{GroupView, InstanceView, LastSuccess, RegionView, TopicView},
};

/// Free text of a label is cut here, in characters. Names that identify are never cut.
const MAX_TEXT_CHARS: usize = 256;

/// A set of families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FamilySet(u128);

const _: () = assert!(FAMILIES.len() <= 128, "a set of families is 128 bits");

impl FamilySet {
    pub(super) fn of(ids: impl IntoIterator<Item = MetricId>) -> Self {
        ids.into_iter().fold(Self(0), |set, id| Self(set.0 | 1 << id as u8))
    }

    pub(super) fn has(self, id: MetricId) -> bool {
        self.0 & (1 << id as u8) != 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A sample's value.
pub(super) trait SampleValue {
    fn write(self, out: &mut Vec<u8>);
}

impl SampleValue for u64 {
    fn write(self, out: &mut Vec<u8>) {
        push_integer(out, self);
    }
}

impl SampleValue for bool {
    fn write(self, out: &mut Vec<u8>) {
        out.push(if self { b'1' } else { b'0' });
    }
}

impl SampleValue for Offset {
    fn write(self, out: &mut Vec<u8>) {
        push_integer(out, self.get());
    }
}

impl SampleValue for UnixMillis {
    fn write(self, out: &mut Vec<u8>) {
        push_seconds(out, self.get());
    }
}

impl SampleValue for Status {
    fn write(self, out: &mut Vec<u8>) {
        push_integer(out, self.number());
    }
}

/// A time span in milliseconds, shown in seconds.
struct MillisAsSeconds(u64);

impl SampleValue for MillisAsSeconds {
    fn write(self, out: &mut Vec<u8>) {
        push_millis(out, self.0);
    }
}

/// A number that is one: neither infinite nor NaN.
struct FiniteFloat(f64);

impl FiniteFloat {
    fn of(value: Option<f64>) -> Option<Self> {
        value.filter(|v| v.is_finite()).map(Self)
    }
}

impl SampleValue for FiniteFloat {
    fn write(self, out: &mut Vec<u8>) {
        push_float(out, self.0);
    }
}

/// Takes series. The labels are those of the object that was entered last.
pub(super) trait SeriesSink {
    fn enter_region(&mut self, _account: Option<&AccountName>, _region: &RegionId) {}
    fn enter_instance(&mut self, _instance: &InstanceId) {}
    fn enter_topic(&mut self, _topic: &TopicName) {}
    fn enter_group(&mut self, _group: &GroupId) {}
    /// A topic of the group that was entered last.
    fn enter_group_topic(&mut self, _topic: &TopicName) {}
    fn value(&mut self, id: MetricId, value: impl SampleValue);
    /// What is not known has no series.
    fn known(&mut self, id: MetricId, value: Option<impl SampleValue>) {
        if let Some(value) = value {
            self.value(id, value);
        }
    }
    fn labelled(&mut self, id: MetricId, labels: &[(&str, &str)], value: impl SampleValue);
    fn partitions<V: SampleValue>(&mut self, id: MetricId, rows: impl Iterator<Item = (u32, V)>);
}

/// Counts series.
#[derive(Debug)]
pub(super) struct SeriesCounter {
    pub(super) wanted: FamilySet,
    pub(super) series: u64,
}

impl SeriesSink for SeriesCounter {
    fn value(&mut self, id: MetricId, _: impl SampleValue) {
        self.series += u64::from(self.wanted.has(id));
    }

    fn labelled(&mut self, id: MetricId, _: &[(&str, &str)], value: impl SampleValue) {
        self.value(id, value);
    }

    fn partitions<V: SampleValue>(&mut self, id: MetricId, rows: impl Iterator<Item = (u32, V)>) {
        if self.wanted.has(id) {
            self.series += rows.count() as u64;
        }
    }
}

/// The series of a region itself.
pub(super) fn region(view: &RegionView, out: &mut impl SeriesSink) {
    out.enter_region(view.account.as_ref(), &view.region);
    out.known(MetricId::RegionUp, view.up);
    last_success(MetricId::RegionLastSuccess, view.last_success, out);
    let objects = &view.objects;
    for (kind, number) in
        [("instances", objects.instances), ("topics", objects.topics), ("groups", objects.groups)]
    {
        out.labelled(MetricId::Objects, &[("kind", kind)], number as u64);
    }
}

/// The series of an instance itself. `tags` are the allowed keys with their label names.
pub(super) fn instance(view: &InstanceView, tags: &[(String, String)], out: &mut impl SeriesSink) {
    out.enter_instance(&view.id);
    out.known(MetricId::InstanceUp, view.up);
    last_success(MetricId::InstanceLastSuccess, view.last_success, out);
    let Some(info) = view.info.as_deref() else { return };
    let labels = [
        ("name", text(info.name.as_deref())),
        ("series", text(info.series.as_deref())),
        ("spec_type", text(info.spec_type.as_deref())),
        ("version", text(info.version.as_deref())),
        ("deploy_type", text(info.deploy_type.as_deref())),
        ("paid_type", text(info.paid_type.as_deref())),
        ("disk_type", text(info.disk_type.as_deref())),
    ];
    out.labelled(MetricId::InstanceInfo, &labels, true);
    if let Some(current) = info.state {
        for state in InstanceState::ALL {
            out.labelled(MetricId::InstanceState, &[("state", state.label())], state == current);
        }
    }
    if !tags.is_empty() {
        let value = |key| info.tags.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let labels: Vec<_> = tags.iter().map(|(key, label)| (label.as_str(), text(value(key)))).collect();
        out.labelled(MetricId::InstanceTags, &labels, true);
    }
    for (id, at) in
        [(MetricId::InstanceCreation, info.created_at), (MetricId::InstanceExpiry, info.expires_at)]
    {
        out.known(id, at);
    }
    for (id, number) in [
        (MetricId::InstanceTopics, info.topics),
        (MetricId::InstanceTopicLimit, info.topic_limit),
        (MetricId::InstancePartitions, info.partitions),
        (MetricId::InstanceGroups, info.groups),
        (MetricId::InstanceDiskSize, info.disk_size_bytes),
        (MetricId::InstanceRetention, info.message_retention_seconds),
    ] {
        out.known(id, number);
    }
}

/// The series of a topic of the instance that was entered last.
pub(super) fn topic(view: &TopicView, out: &mut impl SeriesSink) {
    out.enter_topic(&view.name);
    if let Some(info) = view.info.as_deref() {
        let labels = [
            ("storage", info.storage.map_or("", Storage::label)),
            ("cleanup", info.cleanup.map_or("", Cleanup::label)),
        ];
        out.labelled(MetricId::TopicInfo, &labels, true);
        out.known(MetricId::TopicPartitions, info.partitions.map(u64::from));
    }
    if let Some(status) = view.status.as_deref() {
        let rows = &status.partitions;
        out.partitions(MetricId::TopicStart, rows.iter().filter_map(|p| Some((p.partition.0, p.start?))));
        out.partitions(MetricId::TopicEnd, rows.iter().filter_map(|p| Some((p.partition.0, p.end?))));
        out.partitions(
            MetricId::TopicLastWrite,
            rows.iter().filter_map(|p| Some((p.partition.0, p.last_write?))),
        );
        out.known(MetricId::TopicMessages, status.messages);
    }
    out.known(MetricId::TopicGroups, view.groups);
}

/// The series of a group of the instance that was entered last.
pub(super) fn group(view: &GroupView, out: &mut impl SeriesSink) {
    out.enter_group(&view.id);
    if view.listed {
        out.value(MetricId::GroupInfo, true);
    }
    if let Some(current) = view.state {
        for state in GroupState::ALL {
            out.labelled(MetricId::GroupState, &[("state", state.label())], state == current);
        }
    }
    if let Some(rebalances) = view.rebalances {
        out.value(MetricId::GroupRebalances, rebalances.seen);
        out.value(MetricId::GroupLastRebalance, rebalances.last);
    }
    let Some(lag) = view.lag.as_deref() else { return };
    out.known(MetricId::GroupTotalLag, lag.messages);
    let said = view.assessment.as_deref();
    if let Some(GroupAssessment { bounds, status, consumable, catch_up, topics: _ }) = said {
        time_bounds(*bounds, MetricId::GroupTotalLagSeconds, MetricId::GroupTotalLagFloor, out);
        out.known(MetricId::GroupStatus, *status);
        out.known(MetricId::GroupConsumable, *consumable);
        out.known(MetricId::GroupCatchUp, FiniteFloat::of(*catch_up));
    }
    for (at, topic) in lag.topics.iter().enumerate() {
        group_topic(topic, said.and_then(|s| s.topics.get(at)), out);
    }
}

fn group_topic(lag: &TopicLag, said: Option<&TopicAssessment>, out: &mut impl SeriesSink) {
    out.enter_group_topic(&lag.topic);
    out.known(MetricId::GroupTopicLag, lag.messages);
    let rows = &lag.partitions;
    out.partitions(MetricId::GroupOffset, rows.iter().filter_map(|p| Some((p.partition.0, p.committed?))));
    out.partitions(MetricId::GroupLag, rows.iter().filter_map(|p| Some((p.partition.0, p.messages?))));
    out.partitions(
        MetricId::GroupLastConsumed,
        rows.iter().filter_map(|p| Some((p.partition.0, p.last_consumed?))),
    );
    let Some(said) = said else { return };
    time_bounds(said.bounds, MetricId::GroupTopicLagSeconds, MetricId::GroupTopicLagFloor, out);
    out.known(MetricId::GroupTopicStatus, said.status);
    out.known(MetricId::GroupTopicConsumable, said.consumable);
    out.known(MetricId::GroupTopicConsumed, FiniteFloat::of(said.consumed));
    out.known(MetricId::GroupTopicProduced, FiniteFloat::of(said.produced));
    out.known(MetricId::GroupTopicCatchUp, FiniteFloat::of(said.catch_up));
    out.known(MetricId::GroupTopicLossEta, FiniteFloat::of(said.data_loss_eta));
    let each = || said.with_lag(lag).map(|(p, assessed)| (p.partition.0, assessed));
    let ages = |bound: fn(&PartitionAssessment) -> Option<u64>| {
        each().filter_map(move |(number, p)| Some((number, MillisAsSeconds(bound(p)?))))
    };
    out.partitions(MetricId::GroupLagSeconds, ages(|p| p.bounds.upper));
    out.partitions(MetricId::GroupLagFloor, ages(|p| p.bounds.lower));
    out.partitions(
        MetricId::GroupMargin,
        each().filter_map(|(number, p)| Some((number, p.retention?.margin?))),
    );
    out.partitions(MetricId::GroupLost, each().filter_map(|(number, p)| Some((number, p.retention?.lost))));
}

fn time_bounds(bounds: TimeBounds, upper: MetricId, lower: MetricId, out: &mut impl SeriesSink) {
    out.known(upper, bounds.upper.map(MillisAsSeconds));
    out.known(lower, bounds.lower.map(MillisAsSeconds));
}

fn last_success(id: MetricId, last: LastSuccess, out: &mut impl SeriesSink) {
    for (scope, at) in [("discovery", last.discovery), ("topics", last.topics), ("groups", last.groups)] {
        if let Some(at) = at {
            out.labelled(id, &[("scope", scope)], at);
        }
    }
}

/// Free text as a label: empty if unknown, cut at a character.
fn text(value: Option<&str>) -> &str {
    let value = value.unwrap_or("");
    match value.char_indices().nth(MAX_TEXT_CHARS) {
        Some((end, _)) => &value[..end],
        None => value,
    }
}
