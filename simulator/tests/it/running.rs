//! A running simulator: its clock, quota, call log, admin paths, speed, and shutdown.

use std::time::Duration;

use alikafka_simulator::{ClockMode, Latency, Quota, Simulator, SimulatorOptions, WorldOptions};
use tokio::{net::TcpStream, time::Instant};

use crate::client::{Client, KEY, SECRET, Style, admin, plain};

const LIST: (&str, &[(&str, &str)]) = ("GetInstanceList", &[("RegionId", "cn-hangzhou")]);

#[tokio::test]
async fn quota_applies_to_each_region_and_action() {
    let sim = Simulator::start(SimulatorOptions::default()).await.expect("a free port");
    sim.behaviour(|b| b.quota = Quota { per_second: Some(3), status: 429, ..Quota::default() });
    let client = Client::new(&sim);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(client.call(LIST.0, LIST.1).await);
    }
    let last = seen.pop().expect("four");
    assert!(seen.iter().all(|a| a.status == 200));
    assert_eq!((last.status, last.code().as_str()), (429, "Throttling.User"));
    assert_eq!(last.headers["x-acs-retry-after"], "1000");
    assert_eq!(client.call("GetAllInstanceIdList", LIST.1).await.status, 200);
    let most = sim.call_log().max_in_window(Duration::from_secs(60));
    assert_eq!(most[&("cn-hangzhou".to_owned(), "GetInstanceList".to_owned())], 4);
    sim.shutdown().await;
}

#[tokio::test]
async fn call_log_contains_targets_but_no_secrets() {
    let sim = Simulator::start(SimulatorOptions::default()).await.expect("a free port");
    for style in [Style::V1Query, Style::V1Form, Style::Acs3Query] {
        Client::new(&sim).style(style).call(LIST.0, LIST.1).await;
    }
    let log = sim.call_log();
    let leaks: Vec<_> =
        log.entries().map(|e| e.target.contains(KEY) || e.target.contains("Signature")).collect();
    assert_eq!(leaks, [true, false, false]);
    let e = log.entries().last().expect("three calls");
    assert_eq!(
        (e.region.as_str(), e.action.as_str(), e.code.as_str(), e.status),
        ("cn-hangzhou", LIST.0, "200", 200)
    );
    assert_eq!((e.key_id.as_deref(), e.method.as_str()), (Some(KEY), "POST"));
    assert!(!log.entries().any(|e| format!("{e:?}").contains(SECRET)));
    sim.shutdown().await;
}

#[tokio::test]
async fn clock_modes_advance_and_freeze() {
    let sim = Simulator::start(SimulatorOptions::default()).await.expect("a free port");
    let before = sim.now_ms();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(sim.now_ms(), before, "a manual clock does not advance");
    let response = admin(&sim, "POST", "/_sim/advance?seconds=1.5").await;
    assert_eq!((response.status, response.json()["now_ms"].as_i64()), (200, Some(before + 1_500)));
    assert_eq!(admin(&sim, "POST", "/_sim/advance?seconds=-1").await.status, 400);
    assert_eq!(admin(&sim, "GET", "/_sim/advance").await.status, 405);
    assert_eq!(admin(&sim, "GET", "/_sim/nothing").await.status, 404);
    let (id, topic) = sim.with_world(|w| {
        let id = w.instances_in_service()[0].1.clone();
        let topic = w.topics(&id)[0].clone();
        (id, topic)
    });
    assert!(sim.with_world(|w| w.topic_truth(&id, &topic)).expect("there").partitions[0].end > 0);
    assert_eq!(admin(&sim, "POST", &format!("/_sim/recreate?instance={id}&topic={topic}")).await.status, 200);
    assert_eq!(sim.with_world(|w| w.topic_truth(&id, &topic)).expect("there").partitions[0].end, 0);
    assert_eq!(admin(&sim, "POST", "/_sim/recreate?instance=none&topic=t").await.status, 404);
    sim.shutdown().await;
    let fast =
        SimulatorOptions { clock: ClockMode::RealTime { speed: 1000.0 }, ..SimulatorOptions::default() };
    let sim = Simulator::start(fast).await.expect("a free port");
    let before = sim.now_ms();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(sim.now_ms() >= before + 20_000, "speed 1000");
    admin(&sim, "POST", "/_sim/freeze").await;
    let (frozen, truth) = (sim.now_ms(), sim.truth());
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!((sim.now_ms(), sim.truth()), (frozen, truth));
    assert_eq!(Client::new(&sim).call(LIST.0, LIST.1).await.status, 200, "wall time is accepted too");
    admin(&sim, "POST", "/_sim/unfreeze").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(sim.now_ms() > frozen);
    sim.shutdown().await;
}

#[tokio::test]
async fn admin_paths_return_exact_integers() {
    let world = WorldOptions { big_offsets: true, ..WorldOptions::default() };
    let sim = Simulator::start(SimulatorOptions { world, ..SimulatorOptions::default() })
        .await
        .expect("a free port");
    let (id, topic) = sim.with_world(|w| {
        let id = w.instances_in_service()[0].1.clone();
        let topic = w.topics(&id)[0].clone();
        (id, topic)
    });
    Client::new(&sim).good("GetTopicStatus", &[("InstanceId", &id), ("Topic", &topic)]).await;
    let end = sim.with_world(|w| w.topic_truth(&id, &topic)).expect("there").partitions[0].end;
    assert!(end > 1 << 53);
    let truth = admin(&sim, "GET", "/_sim/truth").await.json();
    let shown = &truth["regions"]["cn-hangzhou"]["instances"][&id]["topics"][&topic]["partitions"][0];
    assert_eq!(shown["end"].as_i64(), Some(end));
    let served = admin(&sim, "GET", "/_sim/served").await.json();
    assert_eq!(served["topics"][0]["truth"]["partitions"][0]["end"].as_i64(), Some(end));
    let log = admin(&sim, "GET", "/_sim/calls").await.json();
    assert_eq!((log["total"].as_i64(), log["calls"][0]["max_per_second"].as_i64()), (Some(1), Some(1)));
    sim.shutdown().await;
}

#[tokio::test]
async fn admin_path_adds_counts_and_clears_faults() {
    let sim = Simulator::start(SimulatorOptions::default()).await.expect("a free port");
    let post = async |body: &str| plain(sim.addr(), "POST", "/_sim/faults", &[], body).await;
    let fault =
        r#"{"effect": "error", "status": 500, "action": "GetInstanceList", "probability": 0.5, "seed": 3}"#;
    assert_eq!(post(fault).await.status, 200);
    assert_eq!(post(r#"{"effect": "sneeze"}"#).await.json()["error"], "unknown effect sneeze");
    let client = Client::new(&sim);
    let mut failed = 0;
    for _ in 0..40 {
        failed += i64::from(client.call(LIST.0, LIST.1).await.status == 500);
    }
    assert!((8..=32).contains(&failed), "{failed}");
    assert_eq!(admin(&sim, "GET", "/_sim/faults").await.json()["fired"][0].as_i64(), Some(failed));
    assert_eq!(admin(&sim, "DELETE", "/_sim/faults").await.status, 200);
    client.good(LIST.0, LIST.1).await;
    assert_eq!(sim.faults(|f| f.fired().len()), 0);
    sim.shutdown().await;
}

#[tokio::test]
async fn shutdown_drops_hanging_calls_and_closes_the_port() {
    let slow = Latency { fixed: Duration::from_secs(3600), jitter: Duration::ZERO };
    let sim = Simulator::start(SimulatorOptions::default()).await.expect("a free port");
    sim.behaviour(|b| b.latency = slow);
    let addr = sim.addr();
    let client = Client::new(&sim);
    let hanging = tokio::spawn(async move { client.try_call(LIST.0, LIST.1).await.is_none() });
    while sim.call_log().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    sim.shutdown().await;
    assert!(hanging.await.expect("joined"));
    assert!(TcpStream::connect(addr).await.is_err());
}

/// The limit is generous: this is a debug build, and the client opens a connection per call.
#[tokio::test(flavor = "multi_thread")]
async fn large_world_responds_to_many_calls_quickly() {
    let world = WorldOptions {
        instances_per_region: 1,
        topics_per_instance: 1_000,
        groups_per_instance: 1_000,
        partitions_per_topic: 6,
        ..WorldOptions::default()
    };
    let sim = Simulator::start(SimulatorOptions { world, ..SimulatorOptions::default() })
        .await
        .expect("a free port");
    let (id, groups) = sim.with_world(|w| {
        let id = w.instances_in_service()[0].1.clone();
        let groups = w.groups(&id);
        (id, groups)
    });
    let start = Instant::now();
    let client = Client::new(&sim);
    let mut tasks = tokio::task::JoinSet::new();
    for part in groups.chunks(125) {
        let (client, id, part) = (client.clone(), id.clone(), part.to_vec());
        tasks.spawn(async move {
            for g in part {
                client
                    .good(
                        "GetConsumerProgress",
                        &[("InstanceId", &id), ("ConsumerId", &g), ("RegionId", "cn-hangzhou")],
                    )
                    .await;
            }
        });
    }
    tasks.join_all().await;
    let took = start.elapsed();
    eprintln!("1,000 calls in {took:?}");
    assert_eq!(sim.served().groups.len(), 1_000);
    assert!(took < Duration::from_secs(30));
    sim.shutdown().await;
}
