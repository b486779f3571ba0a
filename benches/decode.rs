//! Cost of lenient decoding, compared with a plain serde derive for the same bytes.
#![expect(clippy::expect_used, reason = "a bench that cannot read its own bytes has nothing to measure")]

use std::{fmt::Write as _, hint::black_box};

use alikafka_exporter::{api::decode, model::GroupId};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PlainResponse {
    code: i64,
    success: bool,
    message: String,
    request_id: String,
    consumer_progress: Progress,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Progress {
    last_timestamp: i64,
    total_diff: i64,
    topic_list: TopicList,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TopicList {
    topic_list: Vec<Topic>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Topic {
    topic: String,
    total_diff: i64,
    last_timestamp: i64,
    offset_list: OffsetList,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OffsetList {
    offset_list: Vec<Offset>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Offset {
    partition: i64,
    broker_offset: i64,
    consumer_offset: i64,
    last_timestamp: i64,
}

/// Returns a response with one topic. `extra` adds the fields of newer responses.
fn body(partitions: u32, extra: bool) -> String {
    let mut body = String::from(
        r#"{"Code":200,"Success":true,"Message":"operation success.","RequestId":"R","ConsumerProgress":{
        "LastTimestamp":1766874931671,"TotalDiff":0,"TopicList":{"TopicList":[{"Topic":"orders","TotalDiff":0,
        "LastTimestamp":1766874931671,"OffsetList":{"OffsetList":["#,
    );
    for partition in 0..partitions {
        let comma = if partition == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"Partition":{partition},"BrokerOffset":{},"ConsumerOffset":{},"LastTimestamp":1766874931671"#,
            9_000_000 + partition,
            8_999_990 + partition
        )
        .expect("a string takes it");
        if extra {
            body.push_str(
                r#","Accumulate":10,"ClientId":"worker-1","ClientIp":"192.0.2.7","MemberId":"worker-1-f00""#,
            );
        }
        body.push('}');
    }
    body.push_str("]}}]}}}");
    body
}

fn plain(body: &[u8]) -> i64 {
    let response: PlainResponse = serde_json::from_slice(body).expect("the bytes are good");
    black_box((
        response.success,
        response.message,
        response.request_id,
        response.consumer_progress.last_timestamp,
    ));
    let mut sum = response.code + response.consumer_progress.total_diff;
    for topic in response.consumer_progress.topic_list.topic_list {
        black_box((topic.topic, topic.total_diff, topic.last_timestamp));
        for offset in &topic.offset_list.offset_list {
            sum += offset.partition + offset.broker_offset - offset.consumer_offset + offset.last_timestamp;
        }
    }
    sum
}

fn decoding(c: &mut Criterion) {
    let group = GroupId::new("billing").expect("a name");
    for (name, extra) in [("four fields", false), ("eight fields", true)] {
        let body = body(1_000, extra);
        let mut bench = c.benchmark_group(format!("1000 partitions, {name}"));
        bench.throughput(Throughput::Bytes(body.len() as u64));
        bench.bench_function("plain serde derive", |b| b.iter(|| plain(black_box(body.as_bytes()))));
        bench.bench_function("lenient decoder with conversion", |b| {
            b.iter(|| {
                decode::group_progress(&decode::RawResponse::ok(black_box(body.as_bytes())), &group)
                    .expect("the bytes are good")
            });
        });
        bench.finish();
    }
}

criterion_group!(benches, decoding);
criterion_main!(benches);
