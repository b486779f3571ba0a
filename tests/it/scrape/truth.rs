//! What a page must say of a world, by the metric contract and the simulator's truth alone.

use std::collections::{BTreeMap, BTreeSet};

use alikafka_simulator::{GroupTruth, InstanceTruth, TopicTruth, WorldTruth};

use super::page::{Page, Series};

const LAST_CONSUMED: &str = "alikafka_group_partition_last_consumed_timestamp_seconds";

/// The label `state` of `alikafka_instance_state`.
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

/// By the codes of the vendor's reference: those of `ViewInstanceStatusCode`, else of `ServiceStatus`.
fn state(instance: &InstanceTruth) -> &'static str {
    match (instance.view_status, instance.service_status) {
        (Some(0), _) | (None, 0) => "pending",
        (Some(2), _) | (None, 5) => "running",
        (Some(3), _) => "stopped",
        (Some(5), _) | (None, 15) => "expired",
        other => panic!("the world was not to have state {other:?}"),
    }
}

/// The series of every topic and group of a world.
pub(crate) fn expected(world: &WorldTruth) -> Page {
    let mut page = Page::default();
    for (region, truth) in &world.regions {
        for (id, instance) in &truth.instances {
            for state in STATES {
                let labels = [("region", region.as_str()), ("instance_id", id), ("state", state)];
                let present = STATES.iter().any(|s| *s == self::state(instance) && *s == state);
                page.put("alikafka_instance_state", &labels, u8::from(present).to_string());
            }
            if !instance.in_service {
                continue;
            }
            for (name, topic) in &instance.topics {
                self::topic(&mut page, region, id, name, topic, instance);
            }
            for (name, group) in &instance.groups {
                self::group(&mut page, region, id, name, group);
                page.put(
                    "alikafka_group_info",
                    &[("region", region), ("instance_id", id), ("group", name)],
                    one(),
                );
                retention(&mut page, region, id, name, group, &instance.topics);
            }
        }
    }
    page
}

/// What differs between the world and a page of a daemon that asks for times where there is lag: of a group that
/// has read all, it shows them only if it knows them from before.
pub(crate) fn difference(world: &WorldTruth, page: &Page) -> Vec<String> {
    expected(world).difference_but_for(page, &unasked(world))
}

/// The times of what groups without lag have read last.
fn unasked(world: &WorldTruth) -> BTreeSet<Series> {
    let instances =
        world.regions.iter().flat_map(|(r, of)| of.instances.iter().map(move |(id, i)| (r, id, i)));
    let mut series = BTreeSet::new();
    for (region, id, instance) in instances {
        for (name, group) in instance.groups.iter().filter(|(_, group)| group.lag == 0) {
            let partitions =
                group.topics.iter().flat_map(|(t, of)| of.partitions.iter().map(move |p| (t, p.partition)));
            series.extend(partitions.map(|(topic, partition)| {
                let number = partition.to_string();
                let labels = [
                    ("region", region.as_str()),
                    ("instance_id", id),
                    ("group", name),
                    ("topic", topic),
                    ("partition", &number),
                ];
                let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
                (LAST_CONSUMED.to_owned(), BTreeMap::from(labels))
            }));
        }
    }
    series
}

fn one() -> String {
    "1".to_owned()
}

fn topic(page: &mut Page, region: &str, id: &str, name: &str, topic: &TopicTruth, instance: &InstanceTruth) {
    let labels = [("region", region), ("instance_id", id), ("topic", name)];
    page.put("alikafka_topic_partitions", &labels, topic.partitions.len().to_string());
    page.put("alikafka_topic_messages", &labels, topic.messages.to_string());
    let storage = if topic.local { "local" } else { "cloud" };
    let cleanup = if topic.compact { "compact" } else { "delete" };
    let info = [labels[0], labels[1], labels[2], ("storage", storage), ("cleanup", cleanup)];
    page.put("alikafka_topic_info", &info, one());
    let reads = |group: &&GroupTruth| {
        group.topics.get(name).is_some_and(|t| t.partitions.iter().any(|p| p.committed.is_some()))
    };
    let readers = instance.groups.values().filter(reads).count();
    page.put("alikafka_topic_groups", &labels, readers.to_string());
    for p in &topic.partitions {
        let number = p.partition.to_string();
        let labels = [labels[0], labels[1], labels[2], ("partition", &number)];
        page.put("alikafka_topic_partition_start_offset", &labels, p.start.to_string());
        page.put("alikafka_topic_partition_end_offset", &labels, p.end.to_string());
        if let Some(at) = p.last_write_ms {
            page.put("alikafka_topic_partition_last_write_timestamp_seconds", &labels, seconds(at));
        }
    }
}

/// What one answer tells of a group, but for the times of its messages.
pub(crate) fn group(page: &mut Page, region: &str, id: &str, name: &str, group: &GroupTruth) {
    let labels = [("region", region), ("instance_id", id), ("group", name)];
    let told = |t: &alikafka_simulator::GroupTopicTruth| t.partitions.iter().any(|p| p.listed);
    let known = |t: &alikafka_simulator::GroupTopicTruth| t.partitions.iter().any(|p| p.lag.is_some());
    for (topic, progress) in &group.topics {
        let labels = [labels[0], labels[1], labels[2], ("topic", topic.as_str())];
        if known(progress) {
            page.put("alikafka_group_topic_lag_messages", &labels, progress.lag.to_string());
        }
        for p in &progress.partitions {
            let number = p.partition.to_string();
            let labels = [labels[0], labels[1], labels[2], labels[3], ("partition", &number)];
            if let (Some(committed), Some(lag)) = (p.committed, p.lag) {
                page.put("alikafka_group_partition_offset", &labels, committed.to_string());
                page.put("alikafka_group_partition_lag_messages", &labels, lag.to_string());
            }
        }
    }
    if group.topics.values().any(known) || !group.topics.values().any(told) {
        page.put("alikafka_group_lag_messages", &labels, group.lag.to_string());
    }
}

fn retention(
    page: &mut Page,
    region: &str,
    id: &str,
    name: &str,
    group: &GroupTruth,
    topics: &BTreeMap<String, TopicTruth>,
) {
    for (topic, progress) in &group.topics {
        for p in &progress.partitions {
            let number = p.partition.to_string();
            let labels = [
                ("region", region),
                ("instance_id", id),
                ("group", name),
                ("topic", topic),
                ("partition", &number),
            ];
            if let Some(at) = p.last_consumed_ms.filter(|_| p.listed && !progress.times_hidden) {
                page.put(LAST_CONSUMED, &labels, seconds(at));
            }
            let start =
                topics.get(topic).and_then(|t| t.partitions.iter().find(|t| t.partition == p.partition));
            let (Some(committed), Some(start)) = (p.committed, start.map(|p| p.start)) else { continue };
            page.put(
                "alikafka_group_partition_lost_messages",
                &labels,
                (start - committed).max(0).to_string(),
            );
            if committed >= start {
                let margin = (committed - start).to_string();
                page.put("alikafka_group_partition_retention_margin_messages", &labels, margin);
            }
        }
    }
}

/// Milliseconds as seconds, exactly.
fn seconds(millis: i64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
