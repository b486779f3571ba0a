use proptest::prelude::*;
use serde_json::Value;

use super::{
    super::{
        ErrorKind, decode,
        envelope::{CallFailure, RawResponse},
    },
    *,
};
use crate::model::{
    AnomalyKind::{Contradiction, Duplicate, Negative, Range, Type},
    Cleanup, GroupId, GroupProgress, GroupState, Instance, InstanceState, Listing, Observed, RegionId,
    Storage, Topic, TopicName, TopicStatus, UnixMillis,
};

macro_rules! fixture {
    ($action:literal, $case:literal) => {
        include_str!(concat!("../../../tests/fixtures/api/", $action, "/", $case, ".json"))
    };
}

fn response(body: &str) -> RawResponse<'_> {
    RawResponse::ok(body.as_bytes())
}

fn instances(body: &str) -> Result<Observed<Listing<Instance>>, CallFailure> {
    decode::instances(&response(body), &RegionId::new("cn-hangzhou").unwrap()).map(|ok| ok.payload)
}

fn regions(body: &str) -> Result<Observed<Listing<RegionId>>, CallFailure> {
    decode::regions(&response(body)).map(|ok| ok.payload)
}

fn topics(body: &str, instance: &str) -> Result<(ListPage<Topic>, Vec<Anomaly>), CallFailure> {
    let list_page = decode::topics(&response(body), &InstanceId::new(instance).unwrap())?.payload;
    Ok((list_page.value, list_page.anomalies))
}

fn status(body: &str, topic: &str) -> Result<Observed<TopicStatus>, CallFailure> {
    decode::topic_status(&response(body), &TopicName::new(topic).unwrap()).map(|ok| ok.payload)
}

fn groups(body: &str, instance: &str) -> Result<(ListPage<GroupId>, Vec<Anomaly>), CallFailure> {
    let list_page = decode::groups(&response(body), &InstanceId::new(instance).unwrap())?.payload;
    Ok((list_page.value, list_page.anomalies))
}

fn progress(body: &str) -> Result<Observed<GroupProgress>, CallFailure> {
    decode::group_progress(&response(body), &GroupId::new("billing").unwrap()).map(|ok| ok.payload)
}

/// Returns the kind of the anomaly that caused a response to be discarded.
fn discarded<T>(read: Result<T, CallFailure>) -> Option<AnomalyKind> {
    let failure = read.err()?;
    assert_eq!(failure.kind, ErrorKind::Decode, "{failure:?}");
    Some(failure.discarded.expect("an anomaly").kind)
}

fn kinds(anomalies: &[Anomaly]) -> Vec<AnomalyKind> {
    let mut kinds: Vec<_> = anomalies.iter().map(|a| a.kind).collect();
    kinds.sort();
    kinds
}

/// A partition and three of its numbers.
type PartitionRow = (u32, Option<i64>, Option<i64>, Option<i64>);

/// Returns `(partition, start, end, last write)` of each partition.
fn rows(status: &TopicStatus) -> Vec<PartitionRow> {
    let row = |p: &crate::model::TopicPartition| {
        (p.partition.0, p.start.map(Offset::get), p.end.map(Offset::get), p.last_write.map(UnixMillis::get))
    };
    status.partitions.iter().map(row).collect()
}

/// Returns `(partition, end, committed, last consumed)` of each partition.
fn offsets(topic: &crate::model::TopicProgress) -> Vec<PartitionRow> {
    let row = |p: &crate::model::PartitionProgress| {
        (
            p.partition.0,
            p.end.map(Offset::get),
            p.committed.map(Offset::get),
            p.last_consumed.map(UnixMillis::get),
        )
    };
    topic.partitions.iter().map(row).collect()
}

/// Returns `(time, generation)` of each rebalance.
fn rebalances(progress: &GroupProgress) -> Vec<(i64, Option<u64>)> {
    progress.rebalances.iter().map(|r| (r.at.get(), r.generation)).collect()
}

#[test]
fn instances_of_the_reference_are_read() {
    let read = instances(fixture!("GetInstanceList", "printed")).unwrap();
    assert_eq!(read.anomalies, []);
    let instance = Instance {
        id: InstanceId::new("alikafka_pre-cn-mp919o4v***").unwrap(),
        name: Some("alikafka_post-cn-mp91gnw0p***".to_owned()),
        state: Some(InstanceState::Running),
        series: None,
        spec_type: Some("professional".to_owned()),
        version: Some("2.2.0".to_owned()),
        deploy_type: Some("vpc".to_owned()),
        paid_type: Some("postpaid".to_owned()),
        disk_type: Some("ssd".to_owned()),
        created_at: UnixMillis::new(1_577_961_819_000),
        expires_at: UnixMillis::new(1_893_581_018_000),
        topics: None,
        topic_limit: Some(180),
        partitions: None,
        groups: None,
        disk_size_bytes: Some(3600 << 30),
        message_retention_seconds: Some(72 * 3600),
        tags: vec![("test".to_owned(), "test".to_owned())],
    };
    assert_eq!(read.value, Listing { items: vec![instance], complete: true });
}

#[test]
fn instances_of_the_service_are_read() {
    let read = instances(fixture!("GetInstanceList", "served")).unwrap();
    assert_eq!(read.anomalies, []);
    assert!(read.value.complete);
    let [serverless, expired] = read.value.items.as_slice() else { panic!("two instances") };
    assert_eq!(serverless.name.as_deref(), Some("orders 订单"));
    assert_eq!(serverless.state, Some(InstanceState::Expiring), "the newer code counts");
    assert_eq!(serverless.series.as_deref(), Some("v3"));
    assert_eq!(serverless.deploy_type.as_deref(), Some("public"));
    assert_eq!(serverless.paid_type.as_deref(), Some("serverless"));
    assert_eq!(serverless.disk_type.as_deref(), Some("efficiency"));
    assert_eq!(serverless.expires_at, None);
    let counts = (serverless.topics, serverless.topic_limit, serverless.partitions, serverless.groups);
    assert_eq!(counts, (Some(7), Some(180), Some(84), Some(3)));
    let tags = [("team", "pay"), ("empty", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(serverless.tags, tags);
    assert_eq!(expired.state, Some(InstanceState::Expired));
    assert_eq!(expired.deploy_type.as_deref(), Some("9"));
    assert_eq!((expired.name.as_deref(), expired.topics, expired.topic_limit), (None, None, None));
}

#[test]
fn malformed_fields_cost_themselves_and_malformed_items_cost_completeness() {
    let read = instances(fixture!("GetInstanceList", "odd_fields_and_items")).unwrap();
    let [only] = read.value.items.as_slice() else { panic!("one instance") };
    assert!(!read.value.complete);
    assert_eq!((only.id.as_str(), only.name.as_deref()), ("a", None));
    assert_eq!(only.state, Some(InstanceState::Running));
    assert_eq!((only.deploy_type.as_deref(), only.message_retention_seconds), (Some("vpc"), Some(86_400)));
    assert_eq!((only.disk_size_bytes, only.created_at, only.expires_at), (None, None, None));
    assert_eq!((only.topics, only.groups, only.topic_limit), (None, None, None));
    assert_eq!(
        kinds(&read.anomalies),
        [Duplicate, Type, Type, Type, Type, Range, Range, Range, Contradiction],
        "{:?}",
        read.anomalies
    );
}

#[test]
fn regions_are_read_from_a_map_and_from_a_list_of_maps() {
    let names = |read: &Observed<Listing<RegionId>>| {
        read.value.items.iter().map(|r| r.as_str().to_owned()).collect::<Vec<_>>()
    };
    let read = regions(fixture!("GetAllInstanceIdList", "printed")).unwrap();
    assert_eq!(names(&read), ["cn-hangzhou", "cn-shenzhen", "us-west-1"]);
    assert_eq!((read.value.complete, read.anomalies), (true, vec![]));
    let read = regions(fixture!("GetAllInstanceIdList", "list_of_maps")).unwrap();
    assert_eq!(names(&read), ["cn-hangzhou", "cn-shanghai"], "regions without instances are left out");
    assert_eq!((read.value.complete, kinds(&read.anomalies)), (false, vec![Type, Type]));
    for empty in [r#"{"InstanceIds":{}}"#, r#"{"InstanceIds":[]}"#, r#"{"InstanceIds":null}"#] {
        let read = regions(empty).unwrap();
        assert_eq!((read.value.items.len(), read.value.complete), (0, true), "{empty}");
    }
}

#[test]
fn topics_of_the_reference_and_of_the_service_are_read() {
    let (list_page, anomalies) =
        topics(fixture!("GetTopicList", "printed"), "alikaafka_pre-cn-0pp1954n****").unwrap();
    let printed = Topic {
        name: TopicName::new("topic_name").unwrap(),
        partitions: Some(6),
        storage: Some(Storage::Cloud),
        cleanup: Some(Cleanup::Delete),
        created_at: UnixMillis::new(1_576_563_109_000),
    };
    assert_eq!((list_page.items, anomalies), (vec![printed], vec![]));
    assert_eq!(
        (list_page.total, list_page.current_page, list_page.page_size, list_page.is_complete),
        (Some(1), Some(1), Some(10), true)
    );

    let (list_page, anomalies) = topics(fixture!("GetTopicList", "served"), "alikafka_pre-cn-def").unwrap();
    let read: Vec<_> =
        list_page.items.iter().map(|t| (t.name.as_str(), t.partitions, t.storage, t.cleanup)).collect();
    assert_eq!(
        read,
        [
            ("orders", Some(12), Some(Storage::Cloud), Some(Cleanup::Delete)),
            ("audit", Some(6), Some(Storage::Local), Some(Cleanup::Compact)),
            ("fresh", None, None, None),
        ]
    );
    assert_eq!(kinds(&anomalies), [Type], "{anomalies:?}");
    let created: Vec<_> = list_page.items.iter().map(|t| t.created_at.map(UnixMillis::get)).collect();
    assert_eq!(created, [Some(1_766_000_000_000), None, None], "a missing time is no anomaly");
}

#[test]
fn the_creation_time_of_a_topic_may_be_missing_but_not_malformed() {
    let created = |field: &str| {
        let body = format!(r#"{{"TopicList":[{{"Topic":"t"{field}}}]}}"#);
        let (list_page, anomalies) = topics(&body, "i").unwrap();
        (list_page.items[0].created_at.map(UnixMillis::get), kinds(&anomalies))
    };
    for missing in
        ["", r#","CreateTime":null"#, r#","CreateTime":"""#, r#","CreateTime":0"#, r#","CreateTime":-1"#]
    {
        assert_eq!(created(missing), (None, vec![]), "{missing}");
    }
    assert_eq!(created(r#","CreateTime":"1576563109000""#), (Some(1_576_563_109_000), vec![]));
    assert_eq!(created(r#","CreateTime":"2019-12-17""#), (None, vec![Type]));
    assert_eq!(created(r#","CreateTime":-5"#), (None, vec![Range]));
}

#[test]
fn a_topic_of_another_instance_is_skipped_and_the_list_is_incomplete() {
    let (list_page, anomalies) =
        topics(fixture!("GetTopicList", "another_instance"), "alikafka_pre-cn-def").unwrap();
    assert_eq!(list_page.items.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["ours"]);
    assert_eq!((list_page.is_complete, kinds(&anomalies)), (false, vec![Contradiction]));
}

#[test]
fn topic_status_of_the_reference_and_of_the_service_is_read() {
    let read = status(fixture!("GetTopicStatus", "printed"), "testkafka").unwrap();
    assert_eq!(rows(&read.value), [(0, Some(0), Some(76), Some(1_566_470_063_547))]);
    assert_eq!((read.value.messages, read.anomalies), (Some(423), vec![]));
    let read = status(fixture!("GetTopicStatus", "served"), "orders").unwrap();
    assert_eq!(
        rows(&read.value),
        [(0, Some(0), Some(0), None), (1, Some(5), Some(76), Some(1_766_470_063_547))],
        "sorted, both spellings of the time, and 0 is not a time"
    );
    assert_eq!((read.value.messages, read.anomalies), (Some(423), vec![]));
}

#[test]
fn a_new_topic_has_a_status_without_partitions() {
    let read = status(fixture!("GetTopicStatus", "new_topic"), "orders").unwrap();
    assert_eq!(read, Observed { value: TopicStatus::default(), anomalies: vec![] });
    let read = status(fixture!("GetTopicStatus", "one_bare_row"), "orders").unwrap();
    assert_eq!((rows(&read.value), read.anomalies), (vec![(3, Some(1), Some(2), None)], vec![]));
}

#[test]
fn malformed_rows_of_a_topic_cost_themselves() {
    let read = status(fixture!("GetTopicStatus", "odd_rows"), "orders").unwrap();
    assert_eq!(
        rows(&read.value),
        [
            (0, None, None, None),
            (1, None, None, None),
            (2, None, None, None),
            (4, Some(9_007_199_254_740_993), Some(9_007_199_254_740_994), None),
        ]
    );
    assert_eq!(read.value.messages, None);
    assert_eq!(
        kinds(&read.anomalies),
        [Negative, Duplicate, Type, Type, Type, Type, Range, Range, Range],
        "{:?}",
        read.anomalies
    );
}

#[test]
fn rows_of_another_topic_are_skipped_and_a_response_without_others_is_discarded() {
    let read = status(fixture!("GetTopicStatus", "some_rows_of_another_topic"), "orders").unwrap();
    assert_eq!(rows(&read.value), [(0, Some(1), Some(2), None)]);
    assert_eq!((read.value.messages, kinds(&read.anomalies)), (None, vec![Contradiction]));
    let failure = status(fixture!("GetTopicStatus", "another_topic"), "orders").unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Decode);
    assert_eq!(failure.discarded.map(|a| a.kind), Some(Contradiction));
}

#[test]
fn groups_of_the_reference_and_of_the_service_are_read() {
    let (list_page, anomalies) =
        groups(fixture!("GetConsumerList", "printed"), "alikafka_post-cn-v0h18sav****").unwrap();
    assert_eq!((list_page.items, anomalies), (vec![GroupId::new("kafka-test").unwrap()], vec![]));
    assert_eq!((list_page.total, list_page.current_page, list_page.is_complete), (None, None, true));
    let (list_page, anomalies) =
        groups(fixture!("GetConsumerList", "served"), "alikafka_pre-cn-def").unwrap();
    assert_eq!(list_page.items.iter().map(GroupId::as_str).collect::<Vec<_>>(), ["billing", "审计"]);
    assert_eq!((list_page.total, anomalies), (Some(2), vec![]));
}

#[test]
fn group_progress_of_the_reference_and_of_the_service_is_read() {
    let read = progress(fixture!("GetConsumerProgress", "printed")).unwrap();
    assert_eq!(read.anomalies, []);
    assert_eq!((read.value.total_diff, read.value.state), (Some(0), None));
    assert_eq!(read.value.rebalances, [], "an older service reports none, which is no anomaly");
    let [topic] = read.value.topics.as_slice() else { panic!("one topic") };
    assert_eq!((topic.topic.as_str(), topic.total_diff), ("kafka_test", Some(0)));
    assert_eq!(offsets(topic), [(0, Some(9), Some(9), Some(1_566_874_931_671))]);

    let read = progress(fixture!("GetConsumerProgress", "served")).unwrap();
    assert_eq!(read.anomalies, []);
    assert_eq!((read.value.total_diff, read.value.state), (Some(12), Some(GroupState::Stable)));
    assert_eq!(
        rebalances(&read.value),
        [(1_766_874_840_000, Some(11)), (1_766_874_900_000, Some(12))],
        "oldest first"
    );
    let [audit, orders] = read.value.topics.as_slice() else { panic!("two topics, sorted") };
    assert_eq!((audit.topic.as_str(), offsets(audit)), ("audit", vec![]));
    assert_eq!(
        offsets(orders),
        [
            (0, Some(20), Some(9), Some(1_766_874_931_671)),
            (1, Some(9_007_199_254_740_993), Some(9_007_199_254_740_992), Some(1_766_874_931_600)),
            (2, Some(0), None, None),
        ]
    );
}

#[test]
fn a_group_without_committed_offsets_has_no_topics() {
    let read = progress(fixture!("GetConsumerProgress", "nothing_committed")).unwrap();
    assert_eq!(read.anomalies, []);
    assert_eq!((read.value.state, read.value.topics.len()), (Some(GroupState::Empty), 0));
}

#[test]
fn an_unreadable_response_does_not_mean_that_there_is_nothing() {
    for topic in [r#"{"Topic":null,"OffsetList":[]}"#, "5"] {
        let body = format!(r#"{{"ConsumerProgress":{{"TotalDiff":0,"TopicList":[{topic}]}}}}"#);
        assert_eq!(discarded(progress(&body)), Some(Type), "{body}");
    }
    for body in [
        r#"{"ConsumerProgress":{"TopicList":[]}}"#,
        r#"{"ConsumerProgress":{"TotalDiff":-1,"TopicList":null}}"#,
        r#"{"ConsumerProgress":{"TotalDiff":0,"TopicList":{}}}"#,
    ] {
        assert_eq!(progress(body).unwrap().value.topics, [], "{body}");
    }
    for row in ["5", r#"{"Partition":"x","MinOffset":0,"MaxOffset":1}"#] {
        let body = format!(r#"{{"TopicStatus":{{"OffsetTable":[{row}]}}}}"#);
        assert_eq!(discarded(status(&body, "orders")), Some(Type), "{body}");
    }
}

#[test]
fn malformed_partitions_of_a_group_cost_themselves() {
    let read = progress(fixture!("GetConsumerProgress", "odd_partitions")).unwrap();
    assert_eq!((read.value.total_diff, read.value.state), (Some(7), None));
    let [a, b] = read.value.topics.as_slice() else { panic!("two topics") };
    assert_eq!((a.topic.as_str(), a.total_diff), ("a", None));
    assert_eq!(
        offsets(b),
        [
            (0, Some(9), Some(2), Some(1_566_874_931_671)),
            (1, Some(9), None, None),
            (2, Some(9), None, None),
            (3, None, None, None),
        ]
    );
    assert_eq!(
        kinds(&read.anomalies),
        [Negative, Duplicate, Type, Type, Type, Type, Range, Range],
        "{:?}",
        read.anomalies
    );
}

#[test]
fn malformed_rebalances_of_a_group_cost_themselves() {
    let read = progress(fixture!("GetConsumerProgress", "odd_rebalances")).unwrap();
    assert_eq!(
        rebalances(&read.value),
        [(1_766_874_600_000, None), (1_766_874_700_000, None), (1_766_874_900_000, Some(7))]
    );
    assert_eq!(
        kinds(&read.anomalies),
        [Duplicate, Type, Type, Type, Range, Contradiction],
        "{:?}",
        read.anomalies
    );
    assert_eq!((read.value.total_diff, read.value.topics.len()), (Some(0), 0));
}

#[test]
fn a_malformed_list_of_rebalances_costs_itself() {
    let rebalances_of = |list: &str| {
        let body = format!(r#"{{"ConsumerProgress":{{"TopicList":[],"RebalanceInfoList":{list}}}}}"#);
        let read = progress(&body).unwrap();
        (rebalances(&read.value), kinds(&read.anomalies))
    };
    let one = vec![(5, None)];
    for list in [
        r#"[{"LastRebalanceTimestamp":5}]"#,
        r#"{"RebalanceInfoList":[{"LastRebalanceTimestamp":5}]}"#,
        r#"{"RebalanceInfoList":{"LastRebalanceTimestamp":5}}"#,
        r#"{"LastRebalanceTimestamp":5}"#,
    ] {
        assert_eq!(rebalances_of(list), (one.clone(), vec![]), "{list}");
    }
    for list in ["null", r#""""#, "[]", "{}", r#"{"RebalanceInfoList":[]}"#] {
        assert_eq!(rebalances_of(list), (vec![], vec![]), "{list}");
    }
    for list in ["5", "true", r#""none""#, r#"{"Other":[]}"#] {
        assert_eq!(rebalances_of(list), (vec![], vec![Type]), "{list}");
    }
}

#[test]
fn the_number_of_anomalies_is_limited() {
    let row = r#"{"Partition":0,"MinOffset":0,"MaxOffset":1}"#;
    let body = format!(r#"{{"TopicStatus":{{"OffsetTable":[{}{row}]}}}}"#, "0,".repeat(100_000));
    assert_eq!(status(&body, "orders").unwrap().anomalies.len(), MAX_ANOMALIES);
}

/// Decodes a response for its failure only.
type FailureDecoder = fn(&str) -> Result<(), CallFailure>;

/// Collects the path of every key of a document.
fn keys(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.push((at.to_owned(), key.clone()));
                keys(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                keys(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Returns the path of each key of a document, and the document without that key.
fn without_each_key(golden: &str) -> Vec<(String, String)> {
    let golden: Value = serde_json::from_str(golden).unwrap();
    let mut found = Vec::new();
    keys(&golden, "", &mut found);
    let without = |(at, key): (String, String)| {
        let mut reduced = golden.clone();
        reduced.pointer_mut(&at).unwrap().as_object_mut().unwrap().remove(&key);
        (format!("{at}/{key}"), reduced.to_string())
    };
    found.into_iter().map(without).collect()
}

#[test]
fn a_missing_key_of_a_progress_costs_no_more_than_what_it_belongs_to() {
    let all = progress(fixture!("GetConsumerProgress", "served")).unwrap().value;
    for (key, body) in without_each_key(fixture!("GetConsumerProgress", "served")) {
        if let Some(lost) = discarded(progress(&body)) {
            assert!(["/ConsumerProgress", "/ConsumerProgress/TopicList"].contains(&key.as_str()), "{key}");
            assert_eq!(lost, Type, "{key}");
            continue;
        }
        let reduced = progress(&body).unwrap();
        for topic in &all.topics {
            let of_topic = key
                .contains(&format!("/TopicList/TopicList/{}", usize::from(topic.topic.as_str() == "audit")));
            if of_topic || key.ends_with("TopicList") {
                continue;
            }
            assert!(reduced.value.topics.contains(topic), "{key} cost {:?}", topic.topic);
        }
        let last = key.rsplit('/').next().unwrap();
        // An object without its list is an empty list.
        let is_wrapper = key.ends_with("/TopicList/TopicList") || key.ends_with("/OffsetList/OffsetList");
        if ["Partition", "BrokerOffset", "ConsumerOffset", "OffsetList", "TopicList", "Topic"].contains(&last)
        {
            assert!(
                kinds(&reduced.anomalies).contains(&Type) || is_wrapper,
                "{key} was lost without an anomaly"
            );
        }
        let Some(orders) = reduced.value.topics.iter().find(|t| t.topic.as_str() == "orders") else {
            continue;
        };
        if key.contains("/OffsetList/OffsetList/") {
            assert!(orders.partitions.len() >= 2, "{key} cost more than its partition");
        }
    }
}

#[test]
fn a_missing_key_of_a_list_costs_no_more_than_its_item_and_never_goes_unnoticed() {
    let responses: [(&str, &str, FailureDecoder); 6] = [
        ("InstanceList", fixture!("GetInstanceList", "served"), |body| instances(body).map(|_| ())),
        ("InstanceIds", fixture!("GetAllInstanceIdList", "printed"), |body| regions(body).map(|_| ())),
        ("TopicList", fixture!("GetTopicList", "served"), |body| topics(body, "i").map(|_| ())),
        ("ConsumerList", fixture!("GetConsumerList", "served"), |body| groups(body, "i").map(|_| ())),
        ("TopicStatus", fixture!("GetTopicStatus", "served"), |body| status(body, "orders").map(|_| ())),
        ("ConsumerProgress", fixture!("GetConsumerProgress", "served"), |body| progress(body).map(|_| ())),
    ];
    for (payload, golden, read) in responses {
        for (key, body) in without_each_key(golden) {
            let is_required_list =
                ["/TopicStatus/OffsetTable", "/ConsumerProgress/TopicList"].contains(&key.as_str());
            let is_lost = is_required_list || key == format!("/{payload}");
            let lost = discarded(read(&body));
            assert_eq!(lost, is_lost.then_some(Type), "{key}: a missing payload is not an empty one");
        }
    }
    for (key, body) in without_each_key(fixture!("GetInstanceList", "served")) {
        if key == "/InstanceList" {
            continue;
        }
        let reduced = instances(&body).unwrap().value;
        let is_list = key.ends_with("/InstanceVO");
        assert!(is_list || reduced.items.len() >= 2 - usize::from(key.ends_with("/InstanceId")), "{key}");
        if key.ends_with("/InstanceId") {
            assert!(!reduced.complete, "{key}: an incomplete list must not delete anything");
        }
    }
    for (key, body) in without_each_key(fixture!("GetTopicList", "served")) {
        if key == "/TopicList" {
            continue;
        }
        let (list_page, _) = topics(&body, "alikafka_pre-cn-def").unwrap();
        let is_list = key.ends_with("/TopicVO");
        assert!(is_list || list_page.items.len() >= 3 - usize::from(key.ends_with("/Topic")), "{key}");
        assert!(list_page.is_complete != key.ends_with("/Topic"), "{key}");
    }
}

#[test]
fn a_missing_list_is_empty_only_if_its_total_is_zero() {
    let empty = progress(r#"{"ConsumerProgress":{"TotalDiff":0}}"#).unwrap();
    assert_eq!((empty.value.topics.len(), kinds(&empty.anomalies)), (0, vec![Type]));
    let empty = status(r#"{"TopicStatus":{"TotalCount":"0"}}"#, "orders").unwrap();
    assert_eq!((empty.value.partitions.len(), kinds(&empty.anomalies)), (0, vec![Type]));
    for body in [
        r#"{"ConsumerProgress":{}}"#,
        r#"{"ConsumerProgress":{"TotalDiff":7}}"#,
        r#"{"ConsumerProgress":{"TotalDiff":null,"TopicList":5}}"#,
        r#"{"ConsumerProgress":"none"}"#,
    ] {
        assert_eq!(discarded(progress(body)), Some(Type), "{body}");
    }
    for body in [r#"{"TopicStatus":{"TotalCount":5}}"#, r#"{"TopicStatus":[1]}"#] {
        assert_eq!(discarded(status(body, "orders")), Some(Type), "{body}");
    }
}

proptest! {
    #[test]
    fn a_truncated_response_is_never_decoded(
        golden in prop::sample::select(vec![
            fixture!("GetInstanceList", "served"),
            fixture!("GetAllInstanceIdList", "printed"),
            fixture!("GetTopicList", "served"),
            fixture!("GetTopicStatus", "served"),
            fixture!("GetConsumerList", "served"),
        ]),
        share in 0.0..1.0f64,
    ) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a position in a short text")]
        let at = (golden.trim_end().len() as f64 * share) as usize;
        let cut = RawResponse { body: golden.as_bytes()[..at].into(), ..response("") };
        let (region, instance) = (RegionId::new("r").unwrap(), InstanceId::new("i").unwrap());
        let kinds = [
            decode::instances(&cut, &region).map(|_| ()),
            decode::regions(&cut).map(|_| ()),
            decode::topics(&cut, &instance).map(|_| ()),
            decode::topic_status(&cut, &TopicName::new("t").unwrap()).map(|_| ()),
            decode::groups(&cut, &instance).map(|_| ()),
        ].map(|decoded| decoded.unwrap_err().kind);
        prop_assert_eq!(kinds, [ErrorKind::Decode; 5]);
    }
}
