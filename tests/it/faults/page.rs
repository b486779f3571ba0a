//! What a scraped page says.

use std::collections::BTreeSet;

use crate::exposition::parse::{Parsed, Sample};

/// A page, checked to be one that Prometheus reads.
pub(crate) struct Page {
    parsed: Parsed,
    text: String,
}

impl Page {
    pub(crate) fn of(text: String) -> Self {
        Self { parsed: Parsed::of(&text), text }
    }

    /// The value of the one series that has these labels; `None` if there is none.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.parsed.values(name, labels);
        assert!(values.len() < 2, "{name} {labels:?} is more than one series: {values:?}");
        values.first().map(|v| v.parse().unwrap())
    }

    /// How many series have these labels.
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.parsed.values(name, labels).len()
    }

    /// The sum of the series that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.parsed.values(name, labels).iter().map(|v| v.parse::<f64>().unwrap()).sum()
    }

    pub(crate) fn lag(&self, instance: &str, group: &str) -> Option<f64> {
        self.value("alikafka_group_lag_messages", &[("instance_id", instance), ("group", group)])
    }

    pub(crate) fn partition_lag(&self, instance: &str, group: &str, partition: &str) -> Option<f64> {
        let labels = [("instance_id", instance), ("group", group), ("partition", partition)];
        self.value("alikafka_group_partition_lag_messages", &labels)
    }

    /// The end offset of a partition.
    pub(crate) fn end(&self, instance: &str, topic: &str, partition: &str) -> Option<f64> {
        let labels = [("instance_id", instance), ("topic", topic), ("partition", partition)];
        self.value("alikafka_topic_partition_end_offset", &labels)
    }

    pub(crate) fn has_topic(&self, instance: &str, topic: &str) -> bool {
        self.count("alikafka_topic_info", &[("instance_id", instance), ("topic", topic)]) == 1
    }

    pub(crate) fn has_group(&self, instance: &str, group: &str) -> bool {
        self.count("alikafka_group_info", &[("instance_id", instance), ("group", group)]) == 1
    }

    pub(crate) fn instance_up(&self, instance: &str) -> Option<f64> {
        self.value("alikafka_instance_up", &[("instance_id", instance)])
    }

    pub(crate) fn region_up(&self, region: &str) -> Option<f64> {
        self.value("alikafka_region_up", &[("region", region)])
    }

    pub(crate) fn anomalies(&self, kind: &str) -> f64 {
        self.value("alikafka_exporter_anomalies_total", &[("kind", kind)]).unwrap()
    }

    /// Attempts of an action that ended so.
    pub(crate) fn results(&self, action: &str, result: &str) -> f64 {
        self.sum("alikafka_exporter_api_requests_total", &[("action", action), ("result", result)])
    }

    /// Every `result` that an action has had.
    pub(crate) fn labels_of_results(&self, action: &str) -> BTreeSet<&str> {
        let name = "alikafka_exporter_api_requests_total";
        let of_action = self.parsed.samples.iter().filter(|s| s.name == name && s.labels["action"] == action);
        of_action.map(|s| s.labels["result"].as_str()).collect()
    }

    /// The series about the cloud that have these labels, as names and labels.
    pub(crate) fn series(&self, labels: &[(&str, &str)]) -> BTreeSet<String> {
        let has = |l: &&str| {
            l.starts_with("alikafka_")
                && !l.starts_with("alikafka_exporter_")
                && labels.iter().all(|(name, value)| l.contains(&format!("{name}=\"{value}\"")))
        };
        let lines = self.text.lines().filter(has);
        lines.filter_map(|l| l.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
    }

    pub(crate) fn samples(&self) -> &[Sample] {
        &self.parsed.samples
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}
