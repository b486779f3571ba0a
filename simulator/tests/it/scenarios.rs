//! The failure scenarios exist in the ground truth, and nothing else is wrong.

use std::{collections::BTreeSet, time::Duration};

use alikafka_simulator::{
    GroupTruth, SCENARIOS, Scenario, Simulator, SimulatorOptions, WorldOptions, WorldTruth,
};
use serde_json::{Value, json};

use crate::client::{Client, admin};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

async fn started() -> Simulator {
    let world = WorldOptions { scenarios: true, ..WorldOptions::empty(["cn-hangzhou"]) };
    Simulator::start(SimulatorOptions { world, ..SimulatorOptions::default() }).await.expect("a free port")
}

/// Returns the kinds of failure of a group, from its state at two times some minutes apart.
fn failures(
    before: &GroupTruth,
    after: &GroupTruth,
    retention_ms: i64,
    newest_ms: i64,
) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let pairs =
        before.topics.iter().flat_map(|(name, t)| t.partitions.iter().zip(&after.topics[name].partitions));
    let pairs: Vec<_> = pairs.filter(|(_, a)| a.committed.is_some()).collect();
    let lag = |p: &alikafka_simulator::GroupPartitionTruth| p.lag.unwrap_or(0);
    let stuck = pairs.iter().filter(|(b, a)| lag(a) > 0 && b.committed == a.committed).count();
    let (old, new) = (before.oldest_unread_age_ms.unwrap_or(0), after.oldest_unread_age_ms.unwrap_or(0));
    if after.topics.is_empty() {
        found.insert("dead");
    } else if after.lag == 1 {
        found.insert("quiet");
    } else if pairs.iter().any(|(_, a)| a.committed.expect("filtered") > a.end) {
        found.insert("past_end");
    } else if pairs.iter().any(|(_, a)| a.committed.expect("filtered") < a.start) {
        found.insert("lost");
    } else if pairs.iter().any(|(b, a)| a.committed < b.committed) {
        found.insert("rewound");
    } else if stuck > 0 {
        let all = stuck == pairs.len();
        found.insert(if !all {
            "stuck_partition"
        } else if after.state == "EMPTY" {
            "stopped"
        } else {
            "stalled"
        });
    } else if new > old + MINUTE_MS {
        found.insert(match retention_ms - new {
            ..HOUR_MS => "loss_near",
            left if left < 4 * HOUR_MS => "loss_ahead",
            _ => "slow",
        });
    } else if new < old - MINUTE_MS {
        found.insert("catching_up");
    } else if new > 5 * MINUTE_MS {
        let most = pairs.iter().map(|(_, a)| lag(a)).max().unwrap_or(0);
        found.insert(if most * 2 > after.lag { "skewed" } else { "late" });
    }
    if after.rebalances.last().is_some_and(|(_, at, _)| newest_ms - at < MINUTE_MS) {
        found.insert("rebalancing");
    }
    found
}

#[tokio::test]
async fn every_scenario_is_true_and_nothing_else_is_wrong() {
    let sim = started().await;
    let before = sim.truth();
    sim.advance(Duration::from_secs(42));
    let reset = sim.truth();
    sim.advance(Duration::from_secs(178));
    let after = sim.truth();
    let mut found = BTreeSet::new();
    let mut add = |region: &str, instance: &str, object: &str, kind: &'static str| {
        found.insert((region.to_owned(), instance.to_owned(), object.to_owned(), kind));
    };
    for (region, r) in &after.regions {
        for (id, i) in &r.instances {
            let was = &before.instance(id).expect("there").groups;
            for (name, g) in &i.groups {
                for what in failures(&was[name], g, i.retention_ms, after.now_ms) {
                    add(region, id, name, what);
                }
                if reset.instance(id).expect("there").groups[name].lag > 10 * was[name].lag.max(100) {
                    add(region, id, name, "rewound");
                }
            }
            for (name, t) in &i.topics {
                let read = i.groups.values().any(|g| g.topics.contains_key(name));
                let size = |p: &alikafka_simulator::PartitionTruth| p.end - p.start;
                let most = t.partitions.iter().map(size).max().unwrap_or(0);
                let newest = t.partitions.iter().filter_map(|p| p.last_write_ms).max().unwrap_or(0);
                if !read {
                    add(region, id, name, if t.messages > 0 { "unread" } else { "abandoned" });
                } else if t.partitions.len() > 1 && most * 2 > t.messages {
                    add(region, id, name, "hot_partition");
                } else if after.now_ms - newest > 10 * MINUTE_MS {
                    add(region, id, name, "unwritten");
                }
            }
            if i.expires_ms < after.now_ms {
                add(region, id, "", "expired");
            } else if !i.in_service {
                add(region, id, "", "not_in_service");
            } else if i.expires_ms < after.now_ms + 24 * HOUR_MS {
                add(region, id, "", "expiry_near");
            } else if i.expires_ms < after.now_ms + 7 * 24 * HOUR_MS {
                add(region, id, "", "expiring");
            }
            if !i.tags.iter().any(|(key, _)| key == "team") {
                add(region, id, "", "no_team");
            }
        }
    }
    let list = Client::new(&sim).good("GetInstanceList", &[("RegionId", "cn-hangzhou")]).await;
    for row in list["InstanceList"]["InstanceVO"].as_array().expect("a list") {
        let number = |field: &str| row[field].as_i64().expect("a number");
        if number("UsedTopicCount") * 10 > number("TopicNumLimit") * 9 {
            add("cn-hangzhou", row["InstanceId"].as_str().expect("an id"), "", "quota");
        }
    }
    let want =
        SCENARIOS.iter().map(|t| (t.region.to_owned(), t.instance.to_owned(), t.object.to_owned(), t.kind));
    assert_eq!(found, want.collect());
    sim.shutdown().await;
}

#[tokio::test]
async fn scenarios_last_for_a_day() {
    let sim = started().await;
    let ages = |t: &WorldTruth, kind: &str| -> Vec<Option<i64>> {
        let of = |t0: &&Scenario| t0.kind == kind;
        let age = |x: &Scenario| t.instance(x.instance).expect("there").groups[x.object].oldest_unread_age_ms;
        SCENARIOS.iter().filter(of).map(age).collect()
    };
    sim.advance(Duration::from_secs(20 * 3600));
    let late = sim.truth();
    for what in ["slow", "stalled", "stopped", "stuck_partition", "skewed", "catching_up"] {
        let all = ages(&late, what);
        assert!(!all.is_empty() && all.iter().all(|a| *a > Some(5 * MINUTE_MS)), "{what}: {all:?}");
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn scenarios_are_listed_only_if_they_exist() {
    let sim = started().await;
    let list = admin(&sim, "GET", "/_sim/scenarios").await.json();
    assert_eq!(list.as_array().map(Vec::len), Some(SCENARIOS.len()));
    let first = SCENARIOS[0];
    let row = json!({ "region": first.region, "instance": first.instance, "object": first.object, "kind": first.kind });
    assert_eq!(list[0], row);
    sim.shutdown().await;
    let sim = Simulator::start(SimulatorOptions::default()).await.expect("a free port");
    assert_eq!(admin(&sim, "GET", "/_sim/scenarios").await.json(), Value::Array(Vec::new()));
    sim.shutdown().await;
}
