//! Answers of the cloud. The bytes are a body; for [`envelope`] a line with the HTTP status and the content
//! type is before it.

use std::{collections::BTreeSet, fmt::Debug};

use alikafka_exporter::{
    api::decode::{self, CallFailure, Decoded, RawResponse},
    lag,
    model::{GroupId, InstanceId, Observed, Rebalance, RegionId, TopicName},
};
use serde::de::IgnoredAny;
use serde_json::Value;

/// More oddities of one answer than this are not told.
const MAX_ANOMALIES: usize = 1_000;

/// What the seeds are about.
const REGION: &str = "cn-hangzhou";
const INSTANCE: &str = "alikafka_post-cn-v0h18sav****";
const TOPIC: &str = "orders";
const GROUP: &str = "billing";

pub fn regions(body: &[u8]) {
    if let Some(list) = read(&RawResponse::ok(body), decode::regions) {
        assert_each_once(list.items.iter().map(RegionId::as_str), list.items.len());
    }
}

pub fn instances(body: &[u8]) {
    let region = RegionId::new(REGION).unwrap();
    if let Some(list) = read(&RawResponse::ok(body), |answer| decode::instances(answer, &region)) {
        assert_each_once(list.items.iter().map(|i| i.id.as_str()), list.items.len());
    }
}

pub fn topics(body: &[u8]) {
    let instance = InstanceId::new(INSTANCE).unwrap();
    read(&RawResponse::ok(body), |answer| decode::topics(answer, &instance));
}

pub fn topic_status(body: &[u8]) {
    let topic = TopicName::new(TOPIC).unwrap();
    if let Some(status) = read(&RawResponse::ok(body), |answer| decode::topic_status(answer, &topic)) {
        assert!(status.partitions.is_sorted_by(|a, b| a.partition < b.partition), "sorted, each once");
    }
}

pub fn groups(body: &[u8]) {
    let instance = InstanceId::new(INSTANCE).unwrap();
    read(&RawResponse::ok(body), |answer| decode::groups(answer, &instance));
}

pub fn group_progress(body: &[u8]) {
    let group = GroupId::new(GROUP).unwrap();
    let Some(progress) = read(&RawResponse::ok(body), |answer| decode::group_progress(answer, &group)) else {
        return;
    };
    assert!(progress.topics.is_sorted_by(|a, b| a.topic < b.topic), "sorted, each once");
    let moved = |r: &Rebalance| (r.at, r.generation);
    assert!(progress.rebalances.is_sorted_by(|a, b| moved(a) < moved(b)), "oldest first, each once");
    for topic in &progress.topics {
        assert!(topic.partitions.is_sorted_by(|a, b| a.partition < b.partition), "sorted, each once");
    }
    let (lag, _) = lag::compute_lag(&progress);
    for (told, made) in progress.topics.iter().zip(&lag.topics) {
        for (told, made) in told.partitions.iter().zip(&made.partitions) {
            let expected = told.end.zip(told.committed).map(|(end, at)| (end.get() - at.get()).max(0));
            assert_eq!(made.messages.map(i128::from), expected.map(i128::from), "{told:?}");
        }
    }
}

/// The same for every action, whatever the status; a refusal does not depend on what was asked.
pub fn envelope(data: &[u8]) {
    let (head, body) = data.iter().position(|b| *b == b'\n').map_or((&b""[..], data), |at| {
        let (head, rest) = data.split_at(at);
        (head, &rest[1..])
    });
    let head = String::from_utf8_lossy(head);
    let (status, content_type) = head.split_once(' ').unwrap_or((&head, ""));
    let status = status.parse().unwrap_or(200);
    let content_type = (!content_type.is_empty()).then(|| content_type.to_owned());
    let answer = &RawResponse { status, content_type, ..RawResponse::ok(body) };
    let (region, instance) = (RegionId::new(REGION).unwrap(), InstanceId::new(INSTANCE).unwrap());
    let (topic, group) = (TopicName::new(TOPIC).unwrap(), GroupId::new(GROUP).unwrap());
    let errors = [
        error(answer, decode::regions),
        error(answer, |a| decode::instances(a, &region)),
        error(answer, |a| decode::topics(a, &instance)),
        error(answer, |a| decode::topic_status(a, &topic)),
        error(answer, |a| decode::groups(a, &instance)),
        error(answer, |a| decode::group_progress(a, &group)),
    ];
    if !(200..300).contains(&status) || is_refused(body) {
        let kinds: Vec<_> = errors.iter().map(|e| e.as_ref().expect("no success").kind).collect();
        assert!(kinds.windows(2).all(|two| two[0] == two[1]), "{kinds:?}");
    }
    let told = errors.iter().filter(|e| e.is_none()).count();
    assert!(told <= 1 || is_json(body), "a success out of no JSON");
}

fn error<T: PartialEq + Debug>(
    answer: &RawResponse<'_>,
    decode: impl Fn(&RawResponse<'_>) -> Decoded<T>,
) -> Option<CallFailure> {
    decode(answer).err()
}

/// Reads an answer twice, and holds it to what a plain reader of JSON says of the body.
fn read<T: PartialEq + Debug>(
    answer: &RawResponse<'_>,
    decode: impl Fn(&RawResponse<'_>) -> Decoded<T>,
) -> Option<T> {
    let decode = |answer| decode(answer).map(|response| response.payload);
    let first = decode(answer);
    assert_eq!(first.as_ref().ok(), decode(answer).as_ref().ok(), "the same answer, the same reading");
    let Observed { value, anomalies } = first.ok()?;
    assert!(is_json(&answer.body), "a success out of no JSON");
    assert!(!is_refused(&answer.body), "a success out of a refusal");
    assert!(anomalies.len() <= MAX_ANOMALIES, "{} anomalies", anomalies.len());
    Some(value)
}

fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(without_mark(body)).is_ok()
}

/// Whether a body says plainly that the call has failed.
fn is_refused(body: &[u8]) -> bool {
    let Ok(Value::Object(body)) = serde_json::from_slice(without_mark(body)) else { return false };
    body.get("Success") == Some(&Value::Bool(false)) && !body.contains_key("success")
}

fn assert_each_once<'n>(names: impl Iterator<Item = &'n str>, count: usize) {
    assert_eq!(names.collect::<BTreeSet<_>>().len(), count, "each name once");
}
