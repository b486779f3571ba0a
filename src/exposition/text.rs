//! Text format 0.0.4.
//!
//! Owns: one text buffer per metric, and the labels of the current object, which are escaped once for all of its
//! series. Out of scope: the meaning of a series.

use std::mem;

use super::{
    catalog::{self, FAMILIES, MetricId, MetricSet},
    series::SeriesSink,
    value::{SampleValue, push_integer},
};
use crate::model::{AccountName, GroupId, InstanceId, Naming, Partition, RegionId, TopicName};

/// Text of one metric.
#[derive(Debug, Default)]
pub(super) struct MetricText {
    /// Complete lines.
    pub(super) text: Vec<u8>,
    /// Number of samples in the text.
    pub(super) series: u64,
}

/// Labels of the current object as text without the closing brace: `{a="x",b="y"`.
#[derive(Debug, Default)]
struct LabelPrefix {
    bytes: Vec<u8>,
    /// Lengths up to and including the labels of the region, the instance and the group.
    region_end: usize,
    instance_end: usize,
    group_end: usize,
}

/// Writer of series as text, with one buffer per metric.
#[derive(Debug)]
pub(super) struct TextWriter {
    buffers: [MetricText; FAMILIES.len()],
    enabled: MetricSet,
    naming: Naming,
    /// Whether buffers begin with the HELP and TYPE lines.
    with_header: bool,
    constant_labels: Vec<u8>,
    native_labels: LabelPrefix,
    /// The same labels under the names of kafka_exporter; empty unless that naming is used.
    kafka_exporter_labels: LabelPrefix,
    /// Metric name and labels of the sample that is being written.
    sample_head: Vec<u8>,
}

impl TextWriter {
    pub(super) fn new(naming: Naming, constant_labels: &[(String, String)], with_header: bool) -> Self {
        let mut constant = Vec::new();
        for (name, value) in constant_labels {
            push_label(&mut constant, name, value);
        }
        Self {
            buffers: std::array::from_fn(|_| MetricText::default()),
            enabled: MetricSet::default(),
            naming,
            with_header,
            constant_labels: constant,
            native_labels: LabelPrefix::default(),
            kafka_exporter_labels: LabelPrefix::default(),
            sample_head: Vec::new(),
        }
    }

    /// Sets the metrics to write; samples of others are ignored.
    pub(super) fn enable(&mut self, metrics: MetricSet) {
        self.enabled = metrics;
    }

    /// Reserves capacity in the buffer of a metric.
    pub(super) fn reserve(&mut self, id: MetricId, bytes: usize) {
        self.buffers[id as usize].text.reserve(bytes);
    }

    /// Takes the text of a metric and leaves an empty buffer.
    pub(super) fn take(&mut self, id: MetricId) -> MetricText {
        mem::take(&mut self.buffers[id as usize])
    }

    /// Returns the number of series in all buffers.
    pub(super) fn series(&self) -> u64 {
        self.buffers.iter().map(|b| b.series).sum()
    }

    /// Updates the labels in each naming; `update` also gets the label name of consumer groups.
    fn update_labels(&mut self, mut update: impl FnMut(&mut LabelPrefix, &'static str)) {
        update(&mut self.native_labels, "group");
        if self.naming == Naming::KafkaExporter {
            update(&mut self.kafka_exporter_labels, "consumergroup");
        }
    }

    /// Prepares `sample_head` for the current object.
    fn begin_sample(&mut self, id: MetricId) {
        let family = catalog::family(id);
        let is_renamed = self.naming == Naming::KafkaExporter && family.kafka_exporter.is_some();
        let labels = if is_renamed { &self.kafka_exporter_labels } else { &self.native_labels };
        self.sample_head.clear();
        self.sample_head.extend_from_slice(family.name_in(self.naming).as_bytes());
        self.sample_head.extend_from_slice(&labels.bytes);
        let buffer = &mut self.buffers[id as usize];
        if self.with_header && buffer.text.is_empty() {
            push_header(&mut buffer.text, id, self.naming);
        }
    }
}

impl SeriesSink for TextWriter {
    fn enter_region(&mut self, account: Option<&AccountName>, region: &RegionId) {
        let constant_labels = mem::take(&mut self.constant_labels);
        self.update_labels(|labels, _| {
            labels.bytes.clear();
            labels.bytes.extend_from_slice(&constant_labels);
            if let Some(account) = account {
                push_label(&mut labels.bytes, "account", account.as_str());
            }
            push_label(&mut labels.bytes, "region", region.as_str());
            if let Some(first) = labels.bytes.first_mut() {
                *first = b'{';
            }
            labels.region_end = labels.bytes.len();
        });
        self.constant_labels = constant_labels;
    }

    fn enter_instance(&mut self, instance: &InstanceId) {
        self.update_labels(|labels, _| {
            labels.bytes.truncate(labels.region_end);
            push_label(&mut labels.bytes, "instance_id", instance.as_str());
            labels.instance_end = labels.bytes.len();
        });
    }

    fn enter_topic(&mut self, topic: &TopicName) {
        self.update_labels(|labels, _| {
            labels.bytes.truncate(labels.instance_end);
            push_label(&mut labels.bytes, "topic", topic.as_str());
        });
    }

    fn enter_group(&mut self, group: &GroupId) {
        self.update_labels(|labels, label_name| {
            labels.bytes.truncate(labels.instance_end);
            push_label(&mut labels.bytes, label_name, group.as_str());
            labels.group_end = labels.bytes.len();
        });
    }

    fn enter_group_topic(&mut self, topic: &TopicName) {
        self.update_labels(|labels, _| {
            labels.bytes.truncate(labels.group_end);
            push_label(&mut labels.bytes, "topic", topic.as_str());
        });
    }

    fn labelled_sample(&mut self, id: MetricId, labels: &[(&str, &str)], value: impl SampleValue) {
        if !self.enabled.contains(id) {
            return;
        }
        self.begin_sample(id);
        for (name, value) in labels {
            push_label(&mut self.sample_head, name, value);
        }
        let buffer = &mut self.buffers[id as usize];
        buffer.text.extend_from_slice(&self.sample_head);
        buffer.text.extend_from_slice(b"} ");
        value.write(&mut buffer.text);
        buffer.text.push(b'\n');
        buffer.series += 1;
    }

    fn partition_samples<V: SampleValue>(
        &mut self,
        id: MetricId,
        values: impl Iterator<Item = (Partition, Option<V>)>,
    ) {
        let mut known = values.filter_map(|(partition, value)| Some((partition.0, value?))).peekable();
        if !self.enabled.contains(id) || known.peek().is_none() {
            return;
        }
        self.begin_sample(id);
        self.sample_head.extend_from_slice(b",partition=\"");
        let buffer = &mut self.buffers[id as usize];
        for (partition, value) in known {
            buffer.text.extend_from_slice(&self.sample_head);
            push_integer(&mut buffer.text, partition);
            buffer.text.extend_from_slice(b"\"} ");
            value.write(&mut buffer.text);
            buffer.text.push(b'\n');
            buffer.series += 1;
        }
    }
}

/// Appends the HELP and TYPE lines of a metric.
pub(super) fn push_header(out: &mut Vec<u8>, id: MetricId, naming: Naming) {
    let family = catalog::family(id);
    let name = family.name_in(naming).as_bytes();
    out.extend_from_slice(b"# HELP ");
    out.extend_from_slice(name);
    out.push(b' ');
    push_escaped(out, family.help, false);
    out.extend_from_slice(b"\n# TYPE ");
    out.extend_from_slice(name);
    out.push(b' ');
    out.extend_from_slice(family.kind.as_str().as_bytes());
    out.push(b'\n');
}

fn push_label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b',');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    push_escaped(out, value, true);
    out.push(b'"');
}

/// Appends text with backslashes and line feeds escaped, and with quotes escaped if `escape_quotes`.
fn push_escaped(out: &mut Vec<u8>, value: &str, escape_quotes: bool) {
    let mut rest = value.as_bytes();
    let is_special = |b: &u8| matches!(b, b'\\' | b'\n') || (escape_quotes && *b == b'"');
    while let Some(at) = rest.iter().position(is_special) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            other => out.extend_from_slice(&[b'\\', other]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_characters_with_a_meaning_are_escaped() {
        let mut label = Vec::new();
        push_label(&mut label, "a", "订单 \"x\"\\\n\0\t");
        assert_eq!(String::from_utf8(label).unwrap(), ",a=\"订单 \\\"x\\\"\\\\\\n\0\t\"");
        let mut help = Vec::new();
        push_escaped(&mut help, "a \"b\" \\ \n", false);
        assert_eq!(String::from_utf8(help).unwrap(), "a \"b\" \\\\ \\n");
    }
}
