//! What series an object has. Pure: views in, samples out into whatever wants them, be it text or a count.
//!
//! Owns: which value of a view becomes which series, and when it is absent. Refuses: spelling and order of
//! the page.

use std::sync::Arc;

use super::{
    catalog::{FAMILIES, Id},
    text::{push_integer, push_seconds},
};
use crate::{
    lag::{self, TopicLag},
    model::{
        AccountName, Cleanup, GroupId, InstanceId, InstanceState, Offset, Partition, RegionId, Storage,
        TopicName, TopicStatus, UnixMillis,
    },
    snapshot::{GroupView, InstanceView, LastSuccess, RegionView, TopicView},
};

/// Free text of a label is cut here, in characters. Names that identify are never cut.
const MAX_TEXT_CHARS: usize = 256;

/// A set of families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Families(u64);

const _: () = assert!(FAMILIES.len() <= 64, "a set of families is 64 bits");

impl Families {
    pub(super) fn of(ids: impl IntoIterator<Item = Id>) -> Self {
        ids.into_iter().fold(Self(0), |set, id| Self(set.0 | 1 << id as u8))
    }

    pub(super) fn has(self, id: Id) -> bool {
        self.0 & (1 << id as u8) != 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// A sample's value.
pub(super) trait Value {
    fn write(self, out: &mut Vec<u8>);
}

impl Value for u64 {
    fn write(self, out: &mut Vec<u8>) {
        push_integer(out, self);
    }
}

impl Value for bool {
    fn write(self, out: &mut Vec<u8>) {
        out.push(if self { b'1' } else { b'0' });
    }
}

impl Value for Offset {
    fn write(self, out: &mut Vec<u8>) {
        push_integer(out, self.get());
    }
}

impl Value for UnixMillis {
    fn write(self, out: &mut Vec<u8>) {
        push_seconds(out, self.get());
    }
}

/// Takes series. The labels are those of the object that was entered last.
pub(super) trait Sink {
    /// Whether series of this family are taken; others are dropped.
    fn wants(&self, id: Id) -> bool;
    fn enter_region(&mut self, _account: Option<&AccountName>, _region: &RegionId) {}
    fn enter_instance(&mut self, _instance: &InstanceId) {}
    fn enter_topic(&mut self, _topic: &TopicName) {}
    fn enter_group(&mut self, _group: &GroupId) {}
    /// A topic of the group that was entered last.
    fn enter_group_topic(&mut self, _topic: &TopicName) {}
    fn value(&mut self, id: Id, value: impl Value);
    fn labelled(&mut self, id: Id, labels: &[(&str, &str)], value: impl Value);
    fn partitions<V: Value>(&mut self, id: Id, rows: impl Iterator<Item = (u32, V)>);
}

/// Counts series.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) wanted: Families,
    pub(super) series: u64,
}

impl Sink for Count {
    fn wants(&self, id: Id) -> bool {
        self.wanted.has(id)
    }

    fn value(&mut self, id: Id, _: impl Value) {
        self.series += u64::from(self.wanted.has(id));
    }

    fn labelled(&mut self, id: Id, _: &[(&str, &str)], value: impl Value) {
        self.value(id, value);
    }

    fn partitions<V: Value>(&mut self, id: Id, rows: impl Iterator<Item = (u32, V)>) {
        if self.wanted.has(id) {
            self.series += rows.count() as u64;
        }
    }
}

/// The series of a region itself.
pub(super) fn region(view: &RegionView, out: &mut impl Sink) {
    out.enter_region(view.account.as_ref(), &view.region);
    if let Some(up) = view.up {
        out.value(Id::RegionUp, up);
    }
    last_success(Id::RegionLastSuccess, view.last_success, out);
    let objects = &view.objects;
    for (kind, number) in
        [("instances", objects.instances), ("topics", objects.topics), ("groups", objects.groups)]
    {
        out.labelled(Id::Objects, &[("kind", kind)], number as u64);
    }
}

/// The series of an instance itself. `tags` are the allowed keys with their label names.
pub(super) fn instance(view: &InstanceView, tags: &[(String, String)], out: &mut impl Sink) {
    out.enter_instance(&view.id);
    if let Some(up) = view.up {
        out.value(Id::InstanceUp, up);
    }
    last_success(Id::InstanceLastSuccess, view.last_success, out);
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
    out.labelled(Id::InstanceInfo, &labels, true);
    if let Some(current) = info.state {
        for state in InstanceState::ALL {
            out.labelled(Id::InstanceState, &[("state", state.label())], state == current);
        }
    }
    if !tags.is_empty() {
        let value = |key| info.tags.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let labels: Vec<_> = tags.iter().map(|(key, label)| (label.as_str(), text(value(key)))).collect();
        out.labelled(Id::InstanceTags, &labels, true);
    }
    for (id, at) in [(Id::InstanceCreation, info.created_at), (Id::InstanceExpiry, info.expires_at)] {
        if let Some(at) = at {
            out.value(id, at);
        }
    }
    for (id, number) in [
        (Id::InstanceTopics, info.topics),
        (Id::InstanceTopicLimit, info.topic_limit),
        (Id::InstancePartitions, info.partitions),
        (Id::InstanceGroups, info.groups),
        (Id::InstanceDiskSize, info.disk_size_bytes),
        (Id::InstanceRetention, info.message_retention_seconds),
    ] {
        if let Some(number) = number {
            out.value(id, number);
        }
    }
}

/// The series of a topic of the instance that was entered last.
pub(super) fn topic(view: &TopicView, out: &mut impl Sink) {
    out.enter_topic(&view.name);
    if let Some(info) = view.info.as_deref() {
        let labels = [
            ("storage", info.storage.map_or("", Storage::label)),
            ("cleanup", info.cleanup.map_or("", Cleanup::label)),
        ];
        out.labelled(Id::TopicInfo, &labels, true);
        if let Some(partitions) = info.partitions {
            out.value(Id::TopicPartitions, u64::from(partitions));
        }
    }
    if let Some(status) = view.status.as_deref() {
        let rows = &status.partitions;
        out.partitions(Id::TopicStart, rows.iter().filter_map(|p| Some((p.partition.0, p.start?))));
        out.partitions(Id::TopicEnd, rows.iter().filter_map(|p| Some((p.partition.0, p.end?))));
        out.partitions(Id::TopicLastWrite, rows.iter().filter_map(|p| Some((p.partition.0, p.last_write?))));
        if let Some(messages) = status.messages {
            out.value(Id::TopicMessages, messages);
        }
    }
    if let Some(groups) = view.groups {
        out.value(Id::TopicGroups, groups);
    }
}

/// The series of a group of the instance that was entered last. `topics` are all topics of the instance,
/// sorted by name, for the oldest offsets that they hold.
pub(super) fn group(view: &GroupView, topics: &[Arc<TopicView>], out: &mut impl Sink) {
    out.enter_group(&view.id);
    if view.listed {
        out.value(Id::GroupInfo, true);
    }
    let Some(lag) = view.lag.as_deref() else { return };
    if let Some(messages) = lag.messages {
        out.value(Id::GroupTotalLag, messages);
    }
    if !GROUP_TOPIC_FAMILIES.iter().any(|id| out.wants(*id)) {
        return;
    }
    for topic in &lag.topics {
        let status = if out.wants(Id::GroupMargin) || out.wants(Id::GroupLost) {
            topics
                .binary_search_by(|t| t.name.cmp(&topic.topic))
                .ok()
                .and_then(|i| topics[i].status.as_deref())
        } else {
            None
        };
        group_topic(topic, status, out);
    }
}

/// The families of a group that have a series for each topic or partition.
pub(super) const GROUP_TOPIC_FAMILIES: [Id; 6] =
    [Id::GroupTopicLag, Id::GroupOffset, Id::GroupLag, Id::GroupLastConsumed, Id::GroupMargin, Id::GroupLost];

fn group_topic(lag: &TopicLag, status: Option<&TopicStatus>, out: &mut impl Sink) {
    out.enter_group_topic(&lag.topic);
    if let Some(messages) = lag.messages {
        out.value(Id::GroupTopicLag, messages);
    }
    let rows = &lag.partitions;
    out.partitions(Id::GroupOffset, rows.iter().filter_map(|p| Some((p.partition.0, p.committed?))));
    out.partitions(Id::GroupLag, rows.iter().filter_map(|p| Some((p.partition.0, p.messages?))));
    out.partitions(
        Id::GroupLastConsumed,
        rows.iter().filter_map(|p| Some((p.partition.0, p.last_consumed?))),
    );
    let Some(status) = status else { return };
    let retained = || {
        rows.iter().filter_map(|p| {
            Some((p.partition.0, lag::retention(p.committed?, start_offset(status, p.partition)?)))
        })
    };
    out.partitions(Id::GroupMargin, retained().filter_map(|(p, r)| Some((p, r.margin?))));
    out.partitions(Id::GroupLost, retained().map(|(p, r)| (p, r.lost)));
}

fn start_offset(status: &TopicStatus, partition: Partition) -> Option<Offset> {
    let rows = &status.partitions;
    // Partitions are nearly always 0, 1, 2, and so on: look there before searching.
    let guess = rows.get(partition.0 as usize).filter(|p| p.partition == partition);
    let found = guess.or_else(|| {
        let at = rows.binary_search_by_key(&partition, |p| p.partition).ok()?;
        rows.get(at)
    });
    found?.start
}

fn last_success(id: Id, last: LastSuccess, out: &mut impl Sink) {
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
