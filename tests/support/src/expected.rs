//! The series that an exporter must expose for a simulated cloud, derived from the metric contract and the truth of
//! the simulator only.

use std::collections::{BTreeMap, BTreeSet};

use alikafka_simulator::{GroupTopicTruth, GroupTruth, InstanceTruth, TopicTruth, WorldTruth};

use crate::series::{SeriesId, SeriesSet, series_id};

const LAST_CONSUMED: &str = "alikafka_group_partition_last_consumed_timestamp_seconds";

/// Values of the label `state` of `alikafka_instance_state`.
const STATES: [&str; 15] = [
    "pending",
    "deploying",
    "running",
    "stopped",
    "expiring",
    "expired",
    "released",
    "upgrading",
    "migrating",
    "stopping",
    "starting",
    "releasing",
    "scaling",
    "failed",
    "unknown",
];

/// Returns the state by `ViewInstanceStatusCode` if there is one, else by `ServiceStatus`.
fn instance_state(instance: &InstanceTruth) -> &'static str {
    match (instance.view_status, instance.service_status) {
        (Some(0), _) | (None, 0) => "pending",
        (Some(2), _) | (None, 5) => "running",
        (Some(3), _) => "stopped",
        (Some(5), _) | (None, 15) => "expired",
        other => panic!("no test uses status codes {other:?}"),
    }
}

/// Returns the series of all instances, topics and groups.
pub fn all_series(world: &WorldTruth) -> SeriesSet {
    let mut series = SeriesSet::default();
    for (region, truth) in &world.regions {
        for (id, instance) in &truth.instances {
            for state in STATES {
                let labels = [("region", region.as_str()), ("instance_id", id), ("state", state)];
                let value = u8::from(state == instance_state(instance));
                series.insert("alikafka_instance_state", &labels, value.to_string());
            }
            if !instance.in_service {
                continue;
            }
            for (name, topic) in &instance.topics {
                add_topic(&mut series, region, id, name, topic, instance);
            }
            for (name, group) in &instance.groups {
                add_group(&mut series, region, id, name, group);
                let labels = [("region", region.as_str()), ("instance_id", id), ("group", name)];
                series.insert("alikafka_group_info", &labels, "1".to_owned());
                add_group_partitions(&mut series, labels, group, &instance.topics);
            }
        }
    }
    series
}

/// Describes the differences between the truth and a scrape of an exporter that requests message timestamps only of
/// groups with lag: it may or may not know those of other groups.
pub fn difference(world: &WorldTruth, actual: &SeriesSet) -> Vec<String> {
    all_series(world).difference(actual, &timestamps_of_groups_without_lag(world))
}

fn timestamps_of_groups_without_lag(world: &WorldTruth) -> BTreeSet<SeriesId> {
    let mut series = BTreeSet::new();
    let regions = world.regions.iter();
    for (region, id, instance) in
        regions.flat_map(|(region, truth)| truth.instances.iter().map(move |(id, i)| (region, id, i)))
    {
        for (name, group) in instance.groups.iter().filter(|(_, group)| group.lag == 0) {
            for (topic, progress) in &group.topics {
                for partition in &progress.partitions {
                    let number = partition.partition.to_string();
                    let labels = [
                        ("region", region.as_str()),
                        ("instance_id", id),
                        ("group", name),
                        ("topic", topic),
                        ("partition", &number),
                    ];
                    series.insert(series_id(LAST_CONSUMED, &labels));
                }
            }
        }
    }
    series
}

fn add_topic(
    series: &mut SeriesSet,
    region: &str,
    id: &str,
    name: &str,
    topic: &TopicTruth,
    instance: &InstanceTruth,
) {
    let labels = [("region", region), ("instance_id", id), ("topic", name)];
    series.insert("alikafka_topic_partitions", &labels, topic.partitions.len().to_string());
    series.insert("alikafka_topic_messages", &labels, topic.messages.to_string());
    let storage = if topic.local { "local" } else { "cloud" };
    let cleanup = if topic.compact { "compact" } else { "delete" };
    let info = [labels[0], labels[1], labels[2], ("storage", storage), ("cleanup", cleanup)];
    series.insert("alikafka_topic_info", &info, "1".to_owned());
    let consumes = |group: &&GroupTruth| {
        group.topics.get(name).is_some_and(|t| t.partitions.iter().any(|p| p.committed.is_some()))
    };
    let groups = instance.groups.values().filter(consumes).count();
    series.insert("alikafka_topic_groups", &labels, groups.to_string());
    for p in &topic.partitions {
        let number = p.partition.to_string();
        let labels = [labels[0], labels[1], labels[2], ("partition", &number)];
        series.insert("alikafka_topic_partition_start_offset", &labels, p.start.to_string());
        series.insert("alikafka_topic_partition_end_offset", &labels, p.end.to_string());
        if let Some(at) = p.last_write_ms {
            series.insert("alikafka_topic_partition_last_write_timestamp_seconds", &labels, seconds(at));
        }
    }
}

/// Adds the series that one GetConsumerProgress response determines, without message timestamps.
pub fn add_group(series: &mut SeriesSet, region: &str, id: &str, name: &str, group: &GroupTruth) {
    let labels = [("region", region), ("instance_id", id), ("group", name)];
    let is_listed = |t: &GroupTopicTruth| t.partitions.iter().any(|p| p.listed);
    let has_lag = |t: &GroupTopicTruth| t.partitions.iter().any(|p| p.lag.is_some());
    for (topic, progress) in &group.topics {
        let labels = [labels[0], labels[1], labels[2], ("topic", topic.as_str())];
        if has_lag(progress) {
            series.insert("alikafka_group_topic_lag_messages", &labels, progress.lag.to_string());
        }
        for p in &progress.partitions {
            let number = p.partition.to_string();
            let labels = [labels[0], labels[1], labels[2], labels[3], ("partition", &number)];
            if let (Some(committed), Some(lag)) = (p.committed, p.lag) {
                series.insert("alikafka_group_partition_offset", &labels, committed.to_string());
                series.insert("alikafka_group_partition_lag_messages", &labels, lag.to_string());
            }
        }
    }
    if group.topics.values().any(has_lag) || !group.topics.values().any(is_listed) {
        series.insert("alikafka_group_lag_messages", &labels, group.lag.to_string());
    }
}

/// Adds the message timestamps of a group, and the series that combine its offsets with those of the topics.
fn add_group_partitions(
    series: &mut SeriesSet,
    labels: [(&str, &str); 3],
    group: &GroupTruth,
    topics: &BTreeMap<String, TopicTruth>,
) {
    for (topic, progress) in &group.topics {
        for p in &progress.partitions {
            let number = p.partition.to_string();
            let labels = [labels[0], labels[1], labels[2], ("topic", topic), ("partition", &number)];
            if let Some(at) = p.last_consumed_ms.filter(|_| p.listed && !progress.times_hidden) {
                series.insert(LAST_CONSUMED, &labels, seconds(at));
            }
            let log =
                topics.get(topic).and_then(|t| t.partitions.iter().find(|t| t.partition == p.partition));
            let (Some(committed), Some(start)) = (p.committed, log.map(|log| log.start)) else { continue };
            let lost = (start - committed).max(0).to_string();
            series.insert("alikafka_group_partition_lost_messages", &labels, lost);
            if committed >= start {
                let margin = (committed - start).to_string();
                series.insert("alikafka_group_partition_retention_margin_messages", &labels, margin);
            }
        }
    }
}

/// Formats milliseconds as seconds without rounding.
fn seconds(millis: i64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
