//! A partition, its topic and its group say the same: sums are sums, the largest is the largest, the worst is the
//! worst, and no granularity changes a number.

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

/// One partition: its end, what of it is left to read, when the last message was read and written.
type Row = (Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

fn row() -> impl Strategy<Value = Row> {
    let before = || option::of(prop_oneof![Just(0), 1..90_000_000_i64]);
    (option::of(0..5_000_i64), option::of(0..50_i64), before(), before(), option::of(0..5_000_i64))
}

/// A group as it is told, and what its topics hold.
fn told(topics: &[(String, Vec<Row>)]) -> (GroupProgress, Vec<(TopicName, TopicStatus)>) {
    let mut progress = GroupProgress { state: Some(GroupState::Empty), ..GroupProgress::default() };
    let mut statuses = Vec::new();
    for (name, rows) in topics {
        let topic = TopicName::new(name).unwrap();
        let numbered = || (0..).zip(rows);
        let held = numbered().map(|(n, (end, _, _, written, start))| {
            let at = written.map_or(-1, |ago| NOW - ago);
            fleet::topic_partition(n, start.unwrap_or(-1), end.unwrap_or(-1), at)
        });
        statuses.push((topic.clone(), TopicStatus { messages: None, partitions: held.collect() }));
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

/// The same group as it is shown.
fn group(topics: &[(String, Vec<Row>)]) -> GroupView {
    let (progress, statuses) = told(topics);
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

/// The values of a family, of one topic if it is named.
fn values(page: &Scrape, name: &str, topic: Option<&str>) -> Vec<f64> {
    let labels: Vec<_> = topic.map(|t| ("topic", t)).into_iter().collect();
    page.values(name, &labels).into_iter().map(|v| v.parse().unwrap()).collect()
}

/// Checks that the coarse values are what `join` makes of the fine ones.
fn is_joined(fine: &[f64], coarse: &[f64], join: fn(f64, f64) -> f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(coarse.len(), usize::from(!fine.is_empty()));
    prop_assert_eq!(fine.iter().copied().reduce(join), coarse.first().copied());
    Ok(())
}

proptest! {
    #[test]
    fn what_is_said_of_a_group_is_what_is_said_of_its_partitions(
        topics in btree_map("[a-c]", vec(row(), 0..5), 1..4),
    ) {
        let topics: Vec<_> = topics.into_iter().collect();
        let mut instance = fleet::instance_view("i", 1);
        instance.groups = vec![Arc::new(group(&topics))];
        let snapshot = Snapshot { regions: vec![Arc::new(fleet::region_view(None, "r", vec![instance]))] };
        let page = |granularity| {
            let options = RenderOptions { granularity, ..RenderOptions::default() };
            Scrape::parse(text(&Renderer::new(options).render(&snapshot)))
        };
        let pages = [Granularity::Partition, Granularity::Topic, Granularity::Group].map(page);
        let [finest, by_topic, by_group] = &pages;
        let sum = |a: f64, b: f64| a + b;
        for (name, join) in [
            ("lag_messages", sum as fn(f64, f64) -> f64),
            ("lag_floor_seconds", f64::max),
        ] {
            for (topic, _) in &topics {
                let fine = values(finest, &format!("alikafka_group_partition_{name}"), Some(topic));
                is_joined(&fine, &values(by_topic, &format!("alikafka_group_topic_{name}"), Some(topic)), join)?;
            }
            let fine = values(by_topic, &format!("alikafka_group_topic_{name}"), None);
            is_joined(&fine, &values(by_group, &format!("alikafka_group_{name}"), None), join)?;
        }
        for (name, join) in [("consumable_lag_messages", sum as fn(f64, f64) -> f64), ("status", f64::max)] {
            let fine = values(by_topic, &format!("alikafka_group_topic_{name}"), None);
            is_joined(&fine, &values(by_group, &format!("alikafka_group_{name}"), None), join)?;
        }
        // The largest is told only if none is unbounded: with messages left, that is.
        for (topic, _) in &topics {
            let bounded = values(finest, "alikafka_group_partition_lag_seconds", Some(topic));
            let of_topic = values(by_topic, "alikafka_group_topic_lag_seconds", Some(topic));
            let known = values(finest, "alikafka_group_partition_lag_messages", Some(topic)).len();
            prop_assert_eq!(of_topic.is_empty(), bounded.len() < known || known == 0);
            if !of_topic.is_empty() {
                is_joined(&bounded, &of_topic, f64::max)?;
            }
        }
        let of_topics = values(by_topic, "alikafka_group_topic_lag_seconds", None);
        let of_group = values(by_group, "alikafka_group_lag_seconds", None);
        let known = values(by_topic, "alikafka_group_topic_lag_messages", None).len();
        prop_assert_eq!(of_group.is_empty(), of_topics.len() < known || known == 0);
        if !of_group.is_empty() {
            is_joined(&of_topics, &of_group, f64::max)?;
        }
        // And the group's own numbers are the same on every page.
        let own = |page: &Scrape| -> Vec<_> {
            let of_group = |s: &&Sample| s.name.starts_with("alikafka_group_");
            page.samples.iter().filter(of_group).filter(|s| !s.labels.contains_key("topic")).cloned().collect()
        };
        prop_assert_eq!(own(finest), own(by_group));
        prop_assert_eq!(own(by_topic), own(by_group));
    }
}
