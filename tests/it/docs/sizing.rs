//! The series per object in docs/sizing.md match the catalog and a measured fleet.

use std::collections::BTreeMap;

use alikafka_exporter::{
    exposition::catalog::{FAMILIES, MetricFamily, MetricSource},
    model::{GroupState, InstanceState},
};
use alikafka_simulator::{AccessKey, ClockMode, ServiceBehaviour, SimulatorOptions, WorldOptions};
use tokio::time::{Duration, Instant, sleep};

use super::document;
use crate::scrape::InProcessExporter;

const INSTANCES: u32 = 3;
const TOPICS: u32 = 6;
const GROUPS: u32 = 8;
const PARTITIONS: u32 = 5;
const TOPICS_PER_GROUP: u32 = 2;

#[test]
fn series_per_object_match_the_catalog() {
    let families = |last: &str, group: bool| {
        let is = |f: &&MetricFamily| f.labels.last() == Some(&last) && f.labels.contains(&"group") == group;
        FAMILIES.iter().filter(is).count()
    };
    let named = |name: &str| FAMILIES.iter().filter(|f| f.name == name).count();
    let of_instances = FAMILIES.iter().filter(|f| f.source == MetricSource::Instances).count();
    let scopes = 3;
    let costs = costs();
    let expected: BTreeMap<String, usize> = [
        ("region", named("alikafka_region_up") + scopes),
        // All except the tags, which are exported only if configured. A state set has a series per state.
        ("instance", of_instances - 2 + InstanceState::ALL.len() + named("alikafka_instance_up") + scopes),
        // The info metric has labels after the topic.
        ("topic", families("topic", false) + families("cleanup", false)),
        ("partition of a topic", families("partition", false)),
        ("group", families("group", true) + GroupState::ALL.len()),
        ("topic that a group reads", families("topic", true)),
        ("partition that a group reads", families("partition", true)),
    ]
    .map(|(object, cost)| (object.to_owned(), cost))
    .into();
    assert_eq!(costs, expected);
}

#[test]
fn the_formula_is_the_sum_of_the_table() {
    let text = document("docs/sizing.md").prose.split_whitespace().collect::<Vec<_>>().join(" ");
    let costs = costs();
    let formula = format!(
        "The total is {} × regions + {} × instances + {} × topics + {} × their partitions + {} × groups + {} × topics that \
         they read, counted for each group + {} × partitions of those.",
        costs["region"],
        costs["instance"],
        costs["topic"],
        costs["partition of a topic"],
        costs["group"],
        costs["topic that a group reads"],
        costs["partition that a group reads"],
    );
    assert!(text.contains(&formula), "docs/sizing.md does not contain: {formula}");
}

/// The calls of the table are those of the formula, with the defaults.
#[test]
fn the_calls_of_the_table_are_those_of_the_formula() {
    let tables = document("docs/sizing.md").tables();
    let table = tables.iter().find(|t| t[0][0].starts_with("fleet")).unwrap();
    for row in &table[1..] {
        let numbers: Vec<u32> = row[0].split(' ').filter_map(|word| word.parse().ok()).collect();
        let [instances, topics, groups] = numbers[..] else { panic!("{row:?}") };
        let list_pages = |objects: u32| (objects / instances).div_ceil(100);
        let lists = 1 + instances * (list_pages(topics) + list_pages(groups));
        let calls = f64::from(groups + topics) + f64::from(lists) / 5.0;
        assert_eq!(row[1], format!("{}", calls.round()), "{row:?}");
        let share = f64::from(groups.max(topics)) / 60.0 / 20.0 * 100.0;
        assert!(row[2].starts_with(&format!("{share:.0} %")), "{row:?}: {share} %");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_measured_fleet_has_at_most_the_series_of_the_formula_and_most_of_them() {
    let key = AccessKey::new("LTAI5tSizingTestKey", "sizing-test-secret");
    let options = SimulatorOptions {
        clock: ClockMode::RealTime { speed: 1.0 },
        world: WorldOptions {
            seed: 3,
            regions: vec!["cn-hangzhou".to_owned()],
            instances_per_region: INSTANCES,
            idle_instances_per_region: 0,
            topics_per_instance: TOPICS,
            groups_per_instance: GROUPS,
            partitions_per_topic: PARTITIONS,
            topics_per_group: TOPICS_PER_GROUP,
            ..WorldOptions::default()
        },
        behaviour: ServiceBehaviour { keys: vec![key], ..ServiceBehaviour::default() },
        ..SimulatorOptions::default()
    };
    let settings = "regions: [cn-hangzhou]\npoll_interval: 500ms\nstatus_window: 3s\ndiscovery_interval: 1s\n\
                    stale_after: 10s\nrequests_per_second: 400\n";
    let exporter = InProcessExporter::start(options, settings).await;
    let costs = costs();
    let (topics, groups) = (INSTANCES * TOPICS, INSTANCES * GROUPS);
    let read = groups * TOPICS_PER_GROUP;
    let most: usize = [
        ("region", 1),
        ("instance", INSTANCES),
        ("topic", topics),
        ("partition of a topic", topics * PARTITIONS),
        ("group", groups),
        ("topic that a group reads", read),
        ("partition that a group reads", read * PARTITIONS),
    ]
    .map(|(object, number)| costs[object] * usize::try_from(number).unwrap())
    .iter()
    .sum();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let series = exporter.scrape().await.value("alikafka_exporter_series", &[]).unwrap_or_default();
        assert!(series <= most as f64, "{series} series are more than the {most} of the formula");
        if series >= most as f64 * 0.8 {
            break;
        }
        assert!(Instant::now() < deadline, "{series} series are far from the {most} of the formula");
        sleep(Duration::from_millis(100)).await;
    }
    exporter.stop().await;
}

/// Series per object in the table.
fn costs() -> BTreeMap<String, usize> {
    let tables = document("docs/sizing.md").tables();
    let table = tables.iter().find(|t| t[0][0] == "for each").unwrap();
    table[1..].iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
}
