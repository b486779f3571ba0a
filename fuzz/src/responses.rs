//! Responses of the API. The bytes are a body; for [`envelope`] a line with the HTTP status and the content type
//! precedes it.

use std::{collections::BTreeSet, fmt::Debug};

use alikafka_exporter::{
    api::decode::{self, CallFailure, Decoded, RawResponse},
    lag,
    model::{GroupId, InstanceId, Observed, Rebalance, RegionId, TopicName},
};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Maximum number of reported anomalies per response.
const MAX_ANOMALIES: usize = 1_000;

/// Names of the objects in the seeds.
const REGION: &str = "cn-hangzhou";
const INSTANCE: &str = "alikafka_post-cn-v0h18sav****";
const TOPIC: &str = "orders";
const GROUP: &str = "billing";

pub fn regions(body: &[u8]) {
    if let Some(list) = read(&RawResponse::ok(body), decode::regions) {
        assert_unique(list.items.iter().map(RegionId::as_str), list.items.len());
    }
}

pub fn instances(body: &[u8]) {
    let region = RegionId::new(REGION).unwrap();
    if let Some(list) = read(&RawResponse::ok(body), |response| decode::instances(response, &region)) {
        assert_unique(list.items.iter().map(|i| i.id.as_str()), list.items.len());
    }
}

pub fn topics(body: &[u8]) {
    let instance = InstanceId::new(INSTANCE).unwrap();
    read(&RawResponse::ok(body), |response| decode::topics(response, &instance));
}

pub fn topic_status(body: &[u8]) {
    let topic = TopicName::new(TOPIC).unwrap();
    if let Some(status) = read(&RawResponse::ok(body), |response| decode::topic_status(response, &topic)) {
        assert!(status.partitions.is_sorted_by(|a, b| a.partition < b.partition), "sorted and unique");
    }
}

pub fn groups(body: &[u8]) {
    let instance = InstanceId::new(INSTANCE).unwrap();
    read(&RawResponse::ok(body), |response| decode::groups(response, &instance));
}

pub fn group_progress(body: &[u8]) {
    let group = GroupId::new(GROUP).unwrap();
    let Some(progress) = read(&RawResponse::ok(body), |response| decode::group_progress(response, &group))
    else {
        return;
    };
    assert!(progress.topics.is_sorted_by(|a, b| a.topic < b.topic), "sorted and unique");
    let key = |r: &Rebalance| (r.at, r.generation);
    assert!(progress.rebalances.is_sorted_by(|a, b| key(a) < key(b)), "oldest first and unique");
    for topic in &progress.topics {
        assert!(topic.partitions.is_sorted_by(|a, b| a.partition < b.partition), "sorted and unique");
    }
    let (lag, _) = lag::compute_lag(&progress);
    for (topic, topic_lag) in progress.topics.iter().zip(&lag.topics) {
        for (partition, lag) in topic.partitions.iter().zip(&topic_lag.partitions) {
            let expected =
                partition.end.zip(partition.committed).map(|(end, at)| (end.get() - at.get()).max(0));
            assert_eq!(lag.messages.map(i128::from), expected.map(i128::from), "{partition:?}");
        }
    }
}

/// Checks that every action classifies an error response in the same way.
pub fn envelope(data: &[u8]) {
    let (head, body) = data.iter().position(|b| *b == b'\n').map_or((&b""[..], data), |at| {
        let (head, rest) = data.split_at(at);
        (head, &rest[1..])
    });
    let head = String::from_utf8_lossy(head);
    let (status, content_type) = head.split_once(' ').unwrap_or((&head, ""));
    let status = status.parse().unwrap_or(200);
    let content_type = (!content_type.is_empty()).then(|| content_type.to_owned());
    let response = &RawResponse { status, content_type, ..RawResponse::ok(body) };
    let (region, instance) = (RegionId::new(REGION).unwrap(), InstanceId::new(INSTANCE).unwrap());
    let (topic, group) = (TopicName::new(TOPIC).unwrap(), GroupId::new(GROUP).unwrap());
    let errors = [
        error(response, decode::regions),
        error(response, |a| decode::instances(a, &region)),
        error(response, |a| decode::topics(a, &instance)),
        error(response, |a| decode::topic_status(a, &topic)),
        error(response, |a| decode::groups(a, &instance)),
        error(response, |a| decode::group_progress(a, &group)),
    ];
    if !(200..300).contains(&status) || is_error(body) {
        let kinds: Vec<_> = errors.iter().map(|e| e.as_ref().expect("an error").kind).collect();
        assert!(kinds.windows(2).all(|two| two[0] == two[1]), "{kinds:?}");
    }
    let successes = errors.iter().filter(|e| e.is_none()).count();
    assert!(successes <= 1 || is_json(body), "success without JSON");
}

fn error<T: PartialEq + Debug>(
    response: &RawResponse<'_>,
    decode: impl Fn(&RawResponse<'_>) -> Decoded<T>,
) -> Option<CallFailure> {
    decode(response).err()
}

/// Decodes a response twice, and compares the result with a simple JSON parser.
fn read<T: PartialEq + Debug>(
    response: &RawResponse<'_>,
    decode: impl Fn(&RawResponse<'_>) -> Decoded<T>,
) -> Option<T> {
    let decode = |response| decode(response).map(|response| response.payload);
    let first = decode(response);
    assert_eq!(first.as_ref().ok(), decode(response).as_ref().ok(), "decoding is deterministic");
    let Observed { value, anomalies } = first.ok()?;
    assert!(is_json(&response.body), "success without JSON");
    assert!(!is_error(&response.body), "success from an error response");
    assert!(anomalies.len() <= MAX_ANOMALIES, "{} anomalies", anomalies.len());
    Some(value)
}

fn without_byte_order_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(without_byte_order_mark(body)).is_ok()
}

/// Whether `Success` is unambiguously false.
fn is_error(body: &[u8]) -> bool {
    let Ok(Value::Object(body)) = serde_json::from_slice(without_byte_order_mark(body)) else { return false };
    body.get("Success") == Some(&Value::Bool(false)) && !body.contains_key("success")
}

fn assert_unique<'n>(names: impl Iterator<Item = &'n str>, count: usize) {
    assert_eq!(names.collect::<BTreeSet<_>>().len(), count, "unique names");
}
