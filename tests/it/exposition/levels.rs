//! Values of a group, its topics and their partitions are consistent: totals, maxima and worst statuses, at every
//! granularity.

use std::sync::Arc;
use std::time::Duration;

use alikafka_exporter::exposition::Renderer;
use alikafka_exporter::lag::assess::assess;
use alikafka_exporter::lag::bounds::compute_bounds;
use alikafka_exporter::lag::facts::TopicFacts;
use alikafka_exporter::lag::window::GroupWindow;
use alikafka_exporter::model::{
    Anomaly, Granularity, GroupProgress, GroupState, Partition, PartitionProgress, RenderOptions, TimeSpan,
    TopicName, TopicProgress, TopicStatus,
};
use alikafka_exporter::snapshot::{GroupView, Snapshot};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::{fleet, text};
use test_support::scrape::{Sample, Scrape};

const NOW: i64 = 1_700_000_000_000;
const WINDOW: Duration = Duration::from_secs(600);

/// One partition: end offset, lag, age of the last consumed and of the last written message, start offset.
type Row = (Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

fn row() -> impl Strategy<Value = Row> {
    let before = || option::of(prop_oneof![Just(0), 1..90_000_000_i64]);
    (option::of(0..5_000_i64), option::of(0..50_i64), before(), before(), option::of(0..5_000_i64))
}

/// Returns the API responses for a group and its topics.
fn responses(topics: &[(String, Vec<Row>)]) -> (GroupProgress, Vec<(TopicName, TopicStatus)>) {
    let mut progress = GroupProgress { state: Some(GroupState::Empty), ..GroupProgress::default() };
    let mut statuses = Vec::new();
    for (name, rows) in topics {
        let topic = TopicName::new(name).unwrap();
        let numbered = || (0..).zip(rows);
        let partitions = numbered().map(|(n, (end, _, _, written, start))| {
            let at = written.map_or(-1, |ago| NOW - ago);
            fleet::topic_partition(n, start.unwrap_or(-1), end.unwrap_or(-1), at)
        });
        statuses.push((topic.clone(), TopicStatus { messages: None, partitions: partitions.collect() }));
        let partitions = numbered().map(|(n, (end, left, read, _, _))| PartitionProgress {
            partition: Partition(n),
            end: end.and_then(fleet::offset),
            committed: end.zip(*left).and_then(|(end, left)| fleet::offset(end - left)),
            last_consumed: read.and_then(|ago| fleet::at(NOW - ago)),
        });
        progress.topics.push(TopicProgress { topic, total_diff: None, partitions: partitions.collect() });
    }
    (progress, statuses)
}

/// Returns the view of the group.
fn group(topics: &[(String, Vec<Row>)]) -> GroupView {
    let (progress, statuses) = responses(topics);
    let (lag, _) = alikafka_exporter::lag::compute_lag(&progress);
    let facts = |topic: &TopicName| TopicFacts {
        status: statuses.iter().find(|(name, _)| name == topic).map(|(_, status)| status),
        ..TopicFacts::default()
    };
    let now = TimeSpan::at(fleet::at(NOW).unwrap());
    let (ages, anomalies): (_, Vec<Anomaly>) = compute_bounds(&lag, now, facts);
    drop(anomalies);
    let mut track = GroupWindow::default();
    track.record(&lag, &ages, now, WINDOW);
    let assessment = assess(&lag, &ages, &track, progress.state, WINDOW, facts);
    let mut view = fleet::group_view("g", 2, None, Vec::new());
    view.lag = Some(Arc::new(lag));
    view.assessment = Some(Arc::new(assessment));
    view.state = progress.state;
    view
}

/// Returns the values of a metric, optionally those of one topic.
fn values(scrape: &Scrape, name: &str, topic: Option<&str>) -> Vec<f64> {
    let labels: Vec<_> = topic.map(|t| ("topic", t)).into_iter().collect();
    scrape.values(name, &labels).into_iter().map(|v| v.parse().unwrap()).collect()
}

/// Checks that `join` turns the fine values into the coarse one.
fn check_joined(fine: &[f64], coarse: &[f64], join: fn(f64, f64) -> f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(coarse.len(), usize::from(!fine.is_empty()));
    prop_assert_eq!(fine.iter().copied().reduce(join), coarse.first().copied());
    Ok(())
}

proptest! {
    #[test]
    fn values_of_a_group_follow_from_those_of_its_partitions(
        topics in btree_map("[a-c]", vec(row(), 0..5), 1..4),
    ) {
        let topics: Vec<_> = topics.into_iter().collect();
        let mut instance = fleet::instance_view("i", 1);
        instance.groups = vec![Arc::new(group(&topics))];
        let snapshot = Snapshot { regions: vec![Arc::new(fleet::region_view(None, "r", vec![instance]))] };
        let scrape = |granularity| {
            let options = RenderOptions { granularity, ..RenderOptions::default() };
            Scrape::parse(text(&Renderer::new(options).render(&snapshot)))
        };
        let scrapes = [Granularity::Partition, Granularity::Topic, Granularity::Group].map(scrape);
        let [finest, by_topic, by_group] = &scrapes;
        let sum = |a: f64, b: f64| a + b;
        for (name, join) in [
            ("lag_messages", sum as fn(f64, f64) -> f64),
            ("lag_floor_seconds", f64::max),
        ] {
            for (topic, _) in &topics {
                let fine = values(finest, &format!("alikafka_group_partition_{name}"), Some(topic));
                check_joined(&fine, &values(by_topic, &format!("alikafka_group_topic_{name}"), Some(topic)), join)?;
            }
            let fine = values(by_topic, &format!("alikafka_group_topic_{name}"), None);
            check_joined(&fine, &values(by_group, &format!("alikafka_group_{name}"), None), join)?;
        }
        for (name, join) in [("consumable_lag_messages", sum as fn(f64, f64) -> f64), ("status", f64::max)] {
            let fine = values(by_topic, &format!("alikafka_group_topic_{name}"), None);
            check_joined(&fine, &values(by_group, &format!("alikafka_group_{name}"), None), join)?;
        }
        // The maximum is known only if every partition with lag has a bound.
        for (topic, _) in &topics {
            let bounded = values(finest, "alikafka_group_partition_lag_seconds", Some(topic));
            let of_topic = values(by_topic, "alikafka_group_topic_lag_seconds", Some(topic));
            let known = values(finest, "alikafka_group_partition_lag_messages", Some(topic)).len();
            prop_assert_eq!(of_topic.is_empty(), bounded.len() < known || known == 0);
            if !of_topic.is_empty() {
                check_joined(&bounded, &of_topic, f64::max)?;
            }
        }
        let of_topics = values(by_topic, "alikafka_group_topic_lag_seconds", None);
        let of_group = values(by_group, "alikafka_group_lag_seconds", None);
        let known = values(by_topic, "alikafka_group_topic_lag_messages", None).len();
        prop_assert_eq!(of_group.is_empty(), of_topics.len() < known || known == 0);
        if !of_group.is_empty() {
            check_joined(&of_topics, &of_group, f64::max)?;
        }
        // The values of the group itself are the same at every granularity.
        let group_samples = |scrape: &Scrape| -> Vec<_> {
            let of_group = |s: &&Sample| s.name.starts_with("alikafka_group_");
            scrape.samples.iter().filter(of_group).filter(|s| !s.labels.contains_key("topic")).cloned().collect()
        };
        prop_assert_eq!(group_samples(finest), group_samples(by_group));
        prop_assert_eq!(group_samples(by_topic), group_samples(by_group));
    }
}
