//! The six API actions return the ground truth in the wire format of the service.

use std::{collections::BTreeSet, time::Duration};

use alikafka_simulator::{
    Compaction, ConsumerMode, GroupSpec, HideLastTimestamp, InstanceSpec, ListShape, OffsetSpec, ProduceRate,
    Simulator, SimulatorOptions, TopicSpec, WorldOptions,
};
use serde_json::{Value, json};

use crate::client::Client;

const REGION: &str = "cn-hangzhou";

async fn started(world: WorldOptions) -> Simulator {
    Simulator::start(SimulatorOptions { world, ..SimulatorOptions::default() }).await.expect("a free port")
}

/// Starts a simulator with one instance `i` with the topic `t` of two partitions.
async fn small() -> Simulator {
    let sim = started(WorldOptions::empty([REGION])).await;
    sim.with_world(|w| {
        w.add_instance(REGION, InstanceSpec::new("i"));
        w.add_topic("i", TopicSpec { rate: ProduceRate::per_second(10), ..TopicSpec::new("t", 2) })
    })
    .expect("the instance is there");
    sim
}

fn names(list: &Value, field: &str) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|v| v[field].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn instance_actions_return_all_instances_with_their_states() {
    let world = WorldOptions {
        regions: vec![REGION.to_owned(), "eu-central-1".to_owned()],
        idle_instances_per_region: 3,
        ..WorldOptions::default()
    };
    let sim = started(world).await;
    let client = Client::new(&sim);
    let all = client.good("GetAllInstanceIdList", &[("RegionId", REGION)]).await;
    let truth = sim.truth();
    for (region, r) in &truth.regions {
        let ids: Vec<_> = r.instances.keys().collect();
        assert_eq!(all["InstanceIds"][region], json!(ids));
        let list = client.good("GetInstanceList", &[("RegionId", region)]).await;
        for row in list["InstanceList"]["InstanceVO"].as_array().expect("a list") {
            let i = &r.instances[row["InstanceId"].as_str().expect("an id")];
            assert_eq!(row["ServiceStatus"], i.service_status);
            assert_eq!(row.get("ViewInstanceStatusCode").and_then(Value::as_i64), i.view_status);
            assert_eq!((&row["Name"], &row["ExpiredTime"]), (&json!(i.name), &json!(i.expires_ms)));
            assert_eq!(row["UsedPartitionCount"], i.partitions);
        }
    }
    let states: BTreeSet<_> =
        truth.regions.values().flat_map(|r| r.instances.values()).map(|i| i.service_status).collect();
    assert!(states.contains(&0) && states.contains(&5) && states.contains(&15));
    sim.shutdown().await;
}

#[tokio::test]
async fn get_instance_list_filters_by_id_and_tag() {
    let sim = started(WorldOptions::empty([REGION])).await;
    sim.with_world(|w| {
        for (id, tag) in [("a", "x"), ("b", "y"), ("c", "x")] {
            w.add_instance(
                REGION,
                InstanceSpec { tags: vec![("环境".to_owned(), tag.to_owned())], ..InstanceSpec::new(id) },
            );
        }
    });
    let client = Client::new(&sim);
    let found = async |params: &[(&str, &str)]| {
        let list = client.good("GetInstanceList", &[&[("RegionId", REGION)], params].concat()).await;
        names(&list["InstanceList"]["InstanceVO"], "InstanceId")
    };
    assert_eq!(found(&[]).await, ["a", "b", "c"]);
    assert_eq!(found(&[("InstanceId.1", "b"), ("InstanceId.2", "c")]).await, ["b", "c"]);
    assert_eq!(found(&[("Tag.1.Key", "环境"), ("Tag.1.Value", "x")]).await, ["a", "c"]);
    assert_eq!(found(&[("Tag.1.Key", "环境")]).await, ["a", "b", "c"]);
    assert_eq!(found(&[("Tag.1.Key", "none")]).await, [""; 0]);
    sim.shutdown().await;
}

#[tokio::test]
async fn lists_are_paginated_with_default_and_maximum_page_size() {
    let sim =
        started(WorldOptions { topics_per_instance: 25, groups_per_instance: 25, ..WorldOptions::default() })
            .await;
    sim.behaviour(|b| b.page_size_max = 20);
    let id = sim.with_world(|w| w.instances_in_service()[0].1.clone());
    let client = Client::new(&sim);
    let list = async |more: &[(&str, &str)]| {
        let a = client.good("GetTopicList", &[&[("InstanceId", id.as_str())], more].concat()).await;
        (
            names(&a["TopicList"]["TopicVO"], "Topic"),
            [&a["CurrentPage"], &a["PageSize"], &a["Total"]].map(|v| v.as_i64()),
        )
    };
    let (rows, paging) = list(&[]).await;
    assert_eq!((rows.len(), paging), (10, [Some(1), Some(10), Some(25)]));
    let (rows, paging) = list(&[("PageSize", "1000")]).await;
    assert_eq!(
        (rows.len(), paging),
        (20, [Some(1), Some(20), Some(25)]),
        "the response has the reduced size"
    );
    let mut all = Vec::new();
    for n in ["1", "2", "3", "4"] {
        all.extend(list(&[("CurrentPage", n)]).await.0);
    }
    assert_eq!(all, sim.with_world(|w| w.topics(&id)));
    assert_eq!(list(&[("Topic", &all[3])]).await.0, [all[3].clone()]);
    let groups = [("InstanceId", id.as_str()), ("RegionId", REGION)];
    let unpaged = client.good("GetConsumerList", &groups).await;
    assert_eq!(
        names(&unpaged["ConsumerList"]["ConsumerVO"], "ConsumerId"),
        sim.with_world(|w| w.groups(&id))
    );
    assert!(unpaged.get("Total").is_none(), "the older format has no paging fields");
    let paged = client
        .good("GetConsumerList", &[&groups[..], &[("CurrentPage", "2"), ("PageSize", "20")]].concat())
        .await;
    assert_eq!(
        (paged["Total"].as_i64(), names(&paged["ConsumerList"]["ConsumerVO"], "ConsumerId").len()),
        (Some(25), 5)
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn topic_status_returns_exact_offsets_and_is_recorded_as_served() {
    let sim = small().await;
    let big = (1_i64 << 53) + 1;
    sim.with_world(|w| w.add_topic("i", TopicSpec { base_offset: big, ..TopicSpec::new("big", 1) }))
        .expect("added");
    sim.with_world(|w| w.append("i", "big", 0, 2)).expect("there");
    let client = Client::new(&sim);
    let params = [("InstanceId", "i"), ("Topic", "big")];
    let strings = client.good("GetTopicStatus", &params).await;
    let row = &strings["TopicStatus"]["OffsetTable"]["OffsetTable"][0];
    assert_eq!(
        (&row["MinOffset"], &row["MaxOffset"]),
        (&json!("9007199254740993"), &json!("9007199254740995"))
    );
    assert_eq!((&strings["Code"], &strings["Success"]), (&json!("200"), &json!("true")));
    sim.behaviour(|b| b.status_strings = false);
    let numbers = client.good("GetTopicStatus", &params).await;
    let row = &numbers["TopicStatus"]["OffsetTable"]["OffsetTable"][0];
    assert_eq!(
        (row["MaxOffset"].as_i64(), row["LastUpdateTimestamp"].as_i64()),
        (Some(big + 2), Some(sim.now_ms()))
    );
    let served = sim.served();
    let last = &served.topics[&(REGION.to_owned(), "i".to_owned(), "big".to_owned())];
    assert_eq!((last.times, last.truth.partitions[0].end), (2, big + 2));
    sim.shutdown().await;
}

#[tokio::test]
async fn consumer_progress_returns_offsets_lag_and_timestamps() {
    let sim = small().await;
    sim.with_world(|w| {
        w.add_group("i", GroupSpec { consumer: ConsumerMode::Stalled, ..GroupSpec::new("g", &["t"]) })
    })
    .expect("added");
    sim.with_world(|w| w.set_committed("i", "g", "t", 1, OffsetSpec::Uncommitted)).expect("there");
    sim.advance(Duration::from_secs(100));
    let client = Client::new(&sim);
    let params = [("InstanceId", "i"), ("ConsumerId", "g"), ("RegionId", REGION)];
    let at = |response: &Value| response["ConsumerProgress"]["TopicList"]["TopicList"][0].clone();
    let stalled = at(&client.good("GetConsumerProgress", &params).await);
    let rows = stalled["OffsetList"]["OffsetList"].as_array().expect("rows");
    assert_eq!((&rows[0]["BrokerOffset"], &rows[0]["ConsumerOffset"]), (&json!(1000), &json!(0)));
    assert_eq!((&rows[1]["ConsumerOffset"], &stalled["TotalDiff"]), (&json!(-1), &json!(1000)));
    let truth = sim.with_world(|w| w.group_truth("i", "g")).expect("there");
    assert_eq!((truth.lag, truth.state, truth.oldest_unread_age_ms), (1000, "STABLE", Some(99_900)));
    sim.with_world(|w| w.set_consumer_mode("i", "g", ConsumerMode::Healthy)).expect("there");
    sim.advance(Duration::from_secs(7));
    let healthy = at(&client.good("GetConsumerProgress", &params).await);
    let part = &sim.served().groups.values().next().expect("served").truth.topics["t"].partitions[0].clone();
    assert_eq!(healthy["OffsetList"]["OffsetList"][0]["LastTimestamp"].as_i64(), part.last_consumed_ms);
    assert!(part.last_consumed_ms > Some(0));
    let hidden =
        client.good("GetConsumerProgress", &[&params[..], &[("HideLastTimestamp", "true")]].concat()).await;
    assert_eq!(at(&hidden)["OffsetList"]["OffsetList"][0]["LastTimestamp"], -1);
    sim.shutdown().await;
}

#[tokio::test]
async fn hide_last_timestamp_can_be_ignored_or_refused() {
    let sim = small().await;
    sim.with_world(|w| w.add_group("i", GroupSpec::new("g", &["t"]))).expect("added");
    sim.advance(Duration::from_secs(60));
    let client = Client::new(&sim);
    let params = [("InstanceId", "i"), ("ConsumerId", "g"), ("RegionId", REGION)];
    let progress =
        async |hide: &[(&str, &str)]| client.call("GetConsumerProgress", &[&params[..], hide].concat()).await;
    let time = |response: &Value| response["ConsumerProgress"]["LastTimestamp"].as_i64();
    sim.behaviour(|b| b.hide_last_timestamp = HideLastTimestamp::Ignored);
    assert!(time(&progress(&[("HideLastTimestamp", "true")]).await.json()) > Some(0));
    sim.behaviour(|b| b.hide_last_timestamp = HideLastTimestamp::Refused);
    for value in ["true", "false"] {
        let refused = progress(&[("HideLastTimestamp", value)]).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "InvalidParameter.HideLastTimestamp"));
    }
    assert!(time(&progress(&[]).await.json()) > Some(0), "without the parameter");
    sim.shutdown().await;
}

#[tokio::test]
async fn timestamps_use_the_producers_clock() {
    let sim = small().await;
    sim.with_world(|w| w.add_group("i", GroupSpec::new("g", &["t"]))).expect("added");
    sim.with_world(|w| w.set_producer_clock_skew("i", "t", -7_000)).expect("there");
    sim.advance(Duration::from_secs(60));
    let client = Client::new(&sim);
    let (topic, group) = sim.with_world(|w| (w.topic_truth("i", "t"), w.group_truth("i", "g")));
    let written = topic.expect("there").partitions[0].clone();
    let read = group.expect("there").topics["t"].partitions[0].clone();
    assert_eq!(written.last_write_ms, Some(sim.now_ms()));
    assert_eq!(written.last_write_stamp_ms, Some(sim.now_ms() - 7_000));
    sim.behaviour(|b| b.status_strings = false);
    let status = client.good("GetTopicStatus", &[("InstanceId", "i"), ("Topic", "t")]).await;
    let row = &status["TopicStatus"]["OffsetTable"]["OffsetTable"][0];
    assert_eq!(row["LastUpdateTimestamp"].as_i64(), written.last_write_stamp_ms);
    assert_eq!(status["TopicStatus"]["LastTimeStamp"].as_i64(), written.last_write_stamp_ms);
    let params = [("InstanceId", "i"), ("ConsumerId", "g"), ("RegionId", REGION)];
    let progress = client.good("GetConsumerProgress", &params).await;
    let topic = &progress["ConsumerProgress"]["TopicList"]["TopicList"][0];
    let timestamp = topic["OffsetList"]["OffsetList"][0]["LastTimestamp"].as_i64();
    assert_eq!(timestamp, read.last_consumed_ms.map(|at| at - 7_000));
    assert_eq!((timestamp, topic["LastTimestamp"].as_i64()), (read.last_consumed_stamp_ms, timestamp));
    sim.shutdown().await;
}

#[tokio::test]
async fn compacted_topic_keeps_its_offsets() {
    let sim = small().await;
    let compaction = Some(Compaction { older_than_ms: 60_000, keep_every: 1_000_000 });
    let spec = TopicSpec {
        compact: true,
        compaction,
        rate: ProduceRate::per_second(1),
        base_offset: 7,
        ..TopicSpec::new("c", 1)
    };
    sim.with_world(|w| w.add_topic("i", spec)).expect("added");
    sim.advance(Duration::from_secs(100));
    let group = GroupSpec { consumer: ConsumerMode::Stalled, ..GroupSpec::new("g", &["c"]) };
    sim.with_world(|w| w.add_group("i", GroupSpec { from: OffsetSpec::At(8), ..group })).expect("added");
    let part = || {
        let truth = sim.with_world(|w| w.group_truth("i", "g")).expect("there");
        truth.topics["c"].partitions[0].clone()
    };
    assert_eq!((part().start, part().end, part().lag), (7, 107, Some(99)));
    assert_eq!(part().oldest_unread_age_ms, Some(59_000), "of the older messages only the first is left");
    sim.with_world(|w| w.set_produce_rate("i", "c", ProduceRate::IDLE)).expect("there");
    sim.advance(Duration::from_secs(3_600));
    assert_eq!(part().oldest_unread_age_ms, Some(3_600_000), "the newest message stays");
    sim.shutdown().await;
}

#[tokio::test]
async fn missing_objects_and_instances_out_of_service_have_error_codes() {
    let sim = small().await;
    sim.with_world(|w| w.add_instance("eu-central-1", InstanceSpec::new("elsewhere")));
    let client = Client::new(&sim);
    let code = async |action: &str, params: &[(&str, &str)]| client.call(action, params).await.code();
    assert_eq!(
        code("GetTopicStatus", &[("InstanceId", "i"), ("Topic", "gone")]).await,
        "BIZ_TOPIC_NOT_FOUND"
    );
    let group = [("InstanceId", "i"), ("ConsumerId", "gone"), ("RegionId", REGION)];
    assert_eq!(code("GetConsumerProgress", &group).await, "BIZ_SUBSCRIPTION_NOT_FOUND");
    assert_eq!(code("GetTopicList", &[("InstanceId", "other")]).await, "AUTH_RESOURCE_OWNER_ERROR");
    let elsewhere = [("InstanceId", "i"), ("RegionId", "eu-central-1")];
    assert_eq!(code("GetTopicList", &elsewhere).await, "AUTH_RESOURCE_OWNER_ERROR");
    assert_eq!(code("GetInstanceList", &[("RegionId", "xx")]).await, "BIZ_REGION_NOT_FOUND");
    sim.with_world(|w| w.set_instance_status("i", 15, Some(5))).expect("there");
    assert_eq!(code("GetTopicList", &[("InstanceId", "i")]).await, "BIZ_INSTANCE_STATUS_ERROR");
    sim.with_world(|w| w.delete_instance("i")).expect("there");
    assert_eq!(code("GetTopicList", &[("InstanceId", "i")]).await, "AUTH_RESOURCE_OWNER_ERROR");
    sim.shutdown().await;
}

#[tokio::test]
async fn flat_lists_and_unusual_names() {
    let sim =
        started(WorldOptions { unusual_names: true, topics_per_instance: 20, ..WorldOptions::default() })
            .await;
    sim.behaviour(|b| b.list_shape = ListShape::Flat);
    let client = Client::new(&sim);
    let id = sim.with_world(|w| w.instances_in_service()[0].1.clone());
    let flat = client.good("GetTopicList", &[("InstanceId", &id), ("PageSize", "100")]).await;
    assert_eq!(names(&flat["TopicList"], "Topic"), sim.with_world(|w| w.topics(&id)));
    let unusual = "a b*c~d/e+f=g&h%i";
    for topic in sim.with_world(|w| w.topics(&id)) {
        assert_eq!(
            client.call("GetTopicStatus", &[("InstanceId", &id), ("Topic", &topic)]).await.status,
            200,
            "{topic}"
        );
    }
    assert!(sim.served().topics.keys().any(|(.., topic)| topic == unusual));
    sim.shutdown().await;
}

#[tokio::test]
async fn edits_affect_the_next_call() {
    let sim = small().await;
    sim.with_world(|w| w.add_group("i", GroupSpec::new("g", &["t"]))).expect("added");
    let part = |p: usize| {
        let t = sim.with_world(|w| w.group_truth("i", "g")).expect("there");
        t.topics["t"].partitions[p].clone()
    };
    sim.advance(Duration::from_secs(60));
    assert_eq!((part(0).end, part(0).lag), (600, Some(0)));
    sim.with_world(|w| w.reset_offsets("i", "g", OffsetSpec::Back(250))).expect("there");
    assert_eq!((part(0).committed, part(0).lag), (Some(350), Some(250)));
    sim.with_world(|w| w.delete_records("i", "t", 0, 400)).expect("there");
    assert_eq!((part(0).start, part(0).committed), (400, Some(350)));
    sim.advance(Duration::from_secs(5));
    assert_eq!(part(0).lag, Some(0));
    sim.with_world(|w| w.set_consumer_mode("i", "g", ConsumerMode::Stopped)).expect("there");
    sim.with_world(|w| w.recreate_topic("i", "t", true)).expect("there");
    assert_eq!((part(0).end, part(0).committed, part(0).lag), (0, Some(650), Some(0)));
    sim.with_world(|w| w.add_partitions("i", "t", 2)).expect("there");
    sim.with_world(|w| w.set_consumer_mode("i", "g", ConsumerMode::Healthy)).expect("there");
    sim.advance(Duration::from_secs(10));
    assert_eq!((part(3).end, part(0).committed), (100, Some(100)));
    assert_eq!(sim.with_world(|w| w.topic_truth("i", "t")).map(|t| t.partitions.len()), Some(4));
    sim.with_world(|w| w.delete_topic("i", "t")).expect("there");
    assert!(sim.with_world(|w| w.group_truth("i", "g")).expect("there").topics.is_empty());
    let again = sim.with_world(|w| w.delete_topic("i", "t")).expect_err("gone");
    assert_eq!(again.to_string(), "no topic \"t\" in the simulated world");
    sim.shutdown().await;
}
