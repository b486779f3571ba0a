//! Explanations of groups: values and their origin, missing values and the reason, and size limits.

use serde_json::{Value, json};

use super::{
    state::{RegionTest, observed},
    *,
};
use crate::{
    collect::{
        explain_router::{ExplainReplies, ExplainReply, ExplainRequest},
        state::PollResponse,
    },
    explain::respond,
    model::GroupState,
};

const NOW: i64 = 1_790_000_000_000;

fn request(topic: Option<&str>) -> ExplainRequest {
    ExplainRequest {
        instance: id("i"),
        group: group("g"),
        topic: topic.map(|topic| TopicName::new(topic).unwrap()),
        region: None,
        account: None,
    }
}

fn target() -> PollTarget {
    PollTarget::GroupProgress(id("i"), group("g"))
}

fn origin(earliest: i64, latest: i64, request_id: &str) -> ResponseOrigin {
    ResponseOrigin { span: TimeSpan::new(wall(earliest), wall(latest)), request_id: Some(request_id.into()) }
}

impl RegionTest {
    /// Returns the explanation of group `g`.
    fn json(&self) -> Value {
        serde_json::from_slice::<Value>(&self.json_of(&request(None))).unwrap()["found"][0].take()
    }

    fn json_of(&self, request: &ExplainRequest) -> Vec<u8> {
        let ExplainReply::Found(details) = self.explain(request) else {
            panic!("unknown group: {request:?}")
        };
        respond(Some(ExplainReplies { found: vec![*details], ..ExplainReplies::default() })).json
    }

    fn progress_at(&mut self, progress: GroupProgress, origin: ResponseOrigin) {
        self.apply_response(&target(), PollResponse::GroupProgress(observed(progress), origin));
    }

    fn status_at(&mut self, status: TopicStatus, origin: ResponseOrigin) {
        let target = PollTarget::TopicStatus(id("i"), topic("t").name);
        self.apply_response(&target, PollResponse::TopicStatus(observed(status), origin));
    }
}

fn partition(number: u32, end: i64, committed: i64, last_consumed: i64) -> PartitionProgress {
    PartitionProgress {
        partition: Partition(number),
        end: Offset::new(end),
        committed: Offset::new(committed),
        last_consumed: UnixMillis::new(last_consumed),
    }
}

fn progress(partitions: Vec<PartitionProgress>) -> GroupProgress {
    let topics = vec![TopicProgress { topic: topic("t").name, total_diff: None, partitions }];
    GroupProgress { topics, ..GroupProgress::default() }
}

/// Status of a topic with one partition.
fn topic_status(start: i64, end: i64, last_write: i64) -> TopicStatus {
    let mut status = status(end);
    status.partitions[0].start = Offset::new(start);
    status.partitions[0].last_write = UnixMillis::new(last_write);
    status
}

/// Returns a group that was polled once per minute, with these end and committed offsets.
fn polled(offsets: &[(i64, i64)]) -> RegionTest {
    let mut case = RegionTest::with(&["t"], &["g"]);
    for (poll, (end, committed)) in (0..).zip(offsets) {
        let time = NOW + 60_000 * poll;
        case.progress_at(progress(vec![partition(0, *end, *committed, 0)]), origin(time, time, "A"));
        case.advance(60);
    }
    case
}

/// First partition of the first topic of an explanation.
fn first_partition(json: &Value) -> &Value {
    &json["topics"][0]["partitions"][0]
}

fn contains(value: &Value, text: &str) -> bool {
    value.as_str().unwrap().contains(text)
}

#[test]
fn values_are_null_before_the_first_response() {
    let case = RegionTest::with(&["t"], &["g"]);
    let json = case.json();
    assert_eq!((&json["group"], &json["listed"]), (&json!("g"), &json!(true)));
    assert_eq!(json["polling"]["last_attempt"], "none");
    for key in ["answer", "topics", "lag_messages", "lag_seconds", "status", "state", "account"] {
        assert_eq!(json.get(key), Some(&Value::Null), "{key}");
    }
}

#[test]
fn fields_come_with_the_origin_of_their_response() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    case.status_at(topic_status(30, 90, NOW - 5_000), origin(NOW - 900, NOW, "OF-TOPIC"));
    let response = progress(vec![partition(0, 100, 40, NOW - 60_000)]);
    case.progress_at(
        GroupProgress { state: Some(GroupState::Stable), ..response },
        origin(NOW, NOW + 999, "OF-GROUP"),
    );
    case.advance(7);
    let json = case.json();
    assert_eq!(json["answer"]["request_id"], "OF-GROUP");
    assert_eq!(json["answer"]["earliest"], json!({"utc": "2026-09-21T14:13:20.000Z", "unix_ms": NOW}));
    assert_eq!(json["answer"]["latest"]["unix_ms"], NOW + 999);
    assert_eq!((&json["state"], &json["lag_messages"]), (&json!("stable"), &json!(60)));
    assert_eq!(json["polling"]["answer_age_seconds"], 7.0);
    let topic = &json["topics"][0];
    assert_eq!((&topic["topic"], &topic["answer"]["request_id"]), (&json!("t"), &json!("OF-TOPIC")));
    let p = first_partition(&json);
    assert_eq!((&p["progress"]["BrokerOffset"], &p["progress"]["ConsumerOffset"]), (&json!(100), &json!(40)));
    assert_eq!(p["progress"]["LastTimestamp"]["unix_ms"], NOW - 60_000);
    let status = &p["topic_status"];
    assert_eq!((&status["MinOffset"], &status["MaxOffset"]), (&json!(30), &json!(90)));
    assert_eq!(status["LastUpdateTimestamp"]["unix_ms"], NOW - 5_000);
    assert_eq!((&p["lag_messages"], &p["retention_margin_messages"]), (&json!(60), &json!(10)));
    assert_eq!(p["lost_messages"], 0);
}

/// The keys are a public interface.
#[test]
fn keys_are_stable() {
    let keys = |value: &Value| {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    let mut case = polled(&[(100, 40); 3]);
    case.status_at(topic_status(30, 90, NOW), origin(NOW, NOW, "T"));
    let json = case.json();
    assert_eq!(
        keys(&json),
        "account answer asked_for_last_timestamp catch_up_seconds consumable_lag_messages group instance_id \
         instance_name lag_floor_seconds lag_messages lag_seconds listed polling rebalances region \
         retention_seconds state status status_rule terms topics truncated window_seconds"
    );
    assert_eq!(keys(&json["answer"]), "earliest latest request_id");
    assert_eq!(
        keys(&json["polling"]),
        "answer_age_seconds is_held kept_for_seconds last_attempt last_success"
    );
    assert_eq!(keys(&json["terms"][0]), "of since term");
    let topic = &json["topics"][0];
    assert_eq!(
        keys(topic),
        "answer catch_up_seconds cleanup consumable_lag_messages consumed_messages_per_second \
         data_loss_eta_seconds lag_floor_seconds lag_messages lag_seconds partition_count partitions polling \
         produced_messages_per_second status status_rule topic window"
    );
    assert_eq!(
        keys(&topic["window"]),
        "age_trend answers consumed_messages lag_trend produced_messages samples was_caught_up"
    );
    assert_eq!(
        keys(&topic["window"]["samples"][0]),
        "at consumed_messages lag_floor_seconds lag_messages lag_seconds produced_messages"
    );
    let p = first_partition(&json);
    assert_eq!(
        keys(p),
        "history lag_floor_seconds lag_messages lag_seconds lost_messages partition progress \
         retention_margin_messages start_steps status status_rule topic_status track"
    );
    assert_eq!(keys(&p["lag_seconds"]), "from seconds terms");
    assert_eq!(keys(&p["track"]), "answers is_stuck rewind still_since was_moving");
    assert_eq!(keys(&p["history"]), "believes_message_times held points");
    assert_eq!(keys(&p["history"]["points"][0]), "end first_unix_ms last_unix_ms");
}

#[test]
fn a_value_is_marked_as_kept_after_a_failure_and_null_once_it_has_expired() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    case.progress_at(progress(vec![partition(0, 100, 40, 0)]), origin(NOW, NOW, "A"));
    let ok = case.json()["polling"].take();
    assert_eq!((&ok["last_attempt"], &ok["is_held"]), (&json!("ok"), &json!(false)));
    assert_eq!(ok["kept_for_seconds"], 180.0);
    case.advance(60);
    case.apply(&target(), Err(error(Action::GetConsumerProgress, ErrorKind::Server)));
    let json = case.json();
    let polling = &json["polling"];
    assert_eq!((&polling["last_attempt"], &polling["is_held"]), (&json!("failing"), &json!(true)));
    assert_eq!((&json["lag_messages"], &polling["last_success"]), (&json!(60), &ok["last_success"]));
    case.advance(121);
    case.view();
    let json = case.json();
    assert_eq!((&json["lag_messages"], &json["polling"]["is_held"]), (&Value::Null, &json!(false)));
    assert_eq!((&json["topics"], &json["state"]), (&Value::Null, &Value::Null));
    assert_eq!(json["answer"]["request_id"], "A", "origin of the last response");
}

#[test]
fn each_term_has_a_value_or_a_reason_and_the_deciding_term_is_named() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    let terms = |case: &RegionTest| {
        let json = case.json();
        let bound = |name: &str| {
            let bound = &first_partition(&json)[name];
            let term = |i: usize| {
                let term = &bound["terms"][i];
                let seconds = term["seconds"].as_f64().map(|seconds| seconds.to_string());
                seconds.unwrap_or_else(|| term["absent"].as_str().unwrap().to_owned())
            };
            let from = bound["from"].as_str().unwrap_or("nothing").to_owned();
            (bound["seconds"].as_f64(), from, term(0), term(1))
        };
        (bound("lag_seconds"), bound("lag_floor_seconds"))
    };
    let s = str::to_owned;
    // No lag.
    case.progress_at(progress(vec![partition(0, 100, 100, NOW - 90_000)]), origin(NOW, NOW, "A"));
    let no_lag =
        || (Some(0.0), s("all messages are read"), s("all messages are read"), s("all messages are read"));
    assert_eq!(terms(&case), (no_lag(), no_lag()));
    // The previous poll reported an end at the committed offset.
    case.advance(60);
    case.progress_at(
        progress(vec![partition(0, 110, 100, NOW - 90_000)]),
        origin(NOW + 60_000, NOW + 60_000, "B"),
    );
    let (upper, lower) = terms(&case);
    assert_eq!(upper, (Some(60.0), s("not_written_at"), s("150"), s("60")));
    assert_eq!(
        (lower.0, lower.2.as_str(), lower.3.as_str()),
        (Some(0.0), "the topic's status is unknown", "0")
    );
    // A topic status reports the last write. The next poll reports the same committed offset.
    case.status_at(topic_status(0, 110, NOW + 20_000), origin(NOW + 70_000, NOW + 70_000, "C"));
    case.advance(60);
    case.progress_at(progress(vec![partition(0, 110, 100, 0)]), origin(NOW + 120_000, NOW + 120_000, "D"));
    let (upper, lower) = terms(&case);
    assert_eq!(upper, (Some(120.0), s("not_written_at"), s("210"), s("120")), "timestamp of response B");
    assert_eq!(lower, (Some(100.0), s("last_write"), s("100"), s("60")));
    // No committed offset.
    case.progress_at(progress(vec![partition(0, 110, -1, 0)]), origin(NOW + 130_000, NOW + 130_000, "E"));
    let unknown = || (None, s("nothing"), s("an offset is unknown"), s("an offset is unknown"));
    assert_eq!(terms(&case), (unknown(), unknown()));
}

#[test]
fn distrusted_and_not_requested_timestamps_are_explained() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    case.progress_at(progress(vec![partition(0, 100, 100, 0)]), origin(NOW, NOW, "A"));
    case.advance(60);
    // By the polls, the next message was written within the last minute; by its timestamp, an hour ago.
    let contradiction = partition(0, 110, 105, NOW - 3_600_000);
    case.progress_at(progress(vec![contradiction]), origin(NOW + 60_000, NOW + 60_000, "B"));
    let json = case.json();
    let p = first_partition(&json);
    assert_eq!(p["history"]["believes_message_times"], false);
    assert!(contains(&p["lag_seconds"]["terms"][0]["absent"], "not trusted"), "{p}");

    let mut case = RegionTest::with(&["t"], &["g"]);
    case.progress_at(progress(vec![partition(0, 100, 100, 0)]), origin(NOW, NOW, "A"));
    assert_eq!(case.json()["asked_for_last_timestamp"], true);
    case.advance(60);
    case.progress_at(progress(vec![partition(0, 110, 100, 0)]), origin(NOW + 60_000, NOW + 60_000, "B"));
    let json = case.json();
    assert_eq!(json["asked_for_last_timestamp"], false, "no lag when the request was sent");
    let term = &first_partition(&json)["lag_seconds"]["terms"][0];
    assert!(contains(&term["absent"], "hidden"), "{term}");
}

#[test]
fn history_points_are_the_end_offsets_of_polls() {
    let json = polled(&[(100, 95), (110, 95), (120, 95), (130, 95)]).json();
    let history = &first_partition(&json)["history"];
    let point = |poll: i64| {
        let time = NOW + 60_000 * poll;
        json!({"end": 100 + 10 * poll, "first_unix_ms": time, "last_unix_ms": time})
    };
    assert_eq!(history["points"], json!([point(0), point(1), point(2), point(3)]));
    assert_eq!(history["held"], 4);
}

#[test]
fn partitions_and_topics_beyond_the_limits_are_omitted() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    let partitions = |n| (0..n).map(|p| partition(p, 100 + i64::from(p), 40, 0)).collect::<Vec<_>>();
    case.progress_at(progress(partitions(2_000)), origin(NOW, NOW, "A"));
    assert_eq!(case.json()["truncated"], false);
    case.progress_at(progress(partitions(2_001)), origin(NOW, NOW, "A"));
    let json = case.json();
    let topic = &json["topics"][0];
    assert_eq!((&topic["partition_count"], &json["truncated"]), (&json!(2_001), &json!(true)));
    assert_eq!(topic["partitions"].as_array().unwrap().len(), 2_000);

    let topics = (0..2_500).map(|n| TopicProgress {
        topic: TopicName::new(&format!("t{n:04}")).unwrap(),
        total_diff: None,
        partitions: Vec::new(),
    });
    case.progress_at(
        GroupProgress { topics: topics.collect(), ..GroupProgress::default() },
        origin(NOW, NOW, "A"),
    );
    let json = case.json();
    assert_eq!((json["topics"].as_array().unwrap().len(), &json["truncated"]), (2_000, &json!(true)));

    // A single topic can be selected.
    let json: Value = serde_json::from_slice(&case.json_of(&request(Some("t2499")))).unwrap();
    let found = &json["found"][0];
    assert_eq!((&found["topics"][0]["topic"], &found["truncated"]), (&json!("t2499"), &json!(false)));
}

#[test]
fn the_newest_history_points_remain_within_the_limit() {
    let offsets: Vec<_> = (0..100).map(|poll| (100 + poll, 95)).collect();
    let json = polled(&offsets).json();
    let history = &first_partition(&json)["history"];
    let points = history["points"].as_array().unwrap();
    assert!(history["held"].as_u64() > Some(64) && points.len() == 64, "{history}");
    assert_eq!((&points[63]["end"], &json["truncated"]), (&json!(199), &json!(true)));
}

#[test]
fn the_largest_explanation_is_a_few_megabytes() {
    let mut case = RegionTest::with(&["t"], &["g"]);
    for poll in 0..20 {
        let partitions = (0..2_000).map(|p| partition(p, 1_000_000 + poll, 40, NOW));
        let time = NOW + 60_000 * poll;
        case.progress_at(progress(partitions.collect()), origin(time, time, "A"));
    }
    let json = case.json_of(&request(None));
    assert!(json.len() < 8 << 20, "{} bytes", json.len());
    let json = case.json();
    let partitions = json["topics"][0]["partitions"].as_array().unwrap();
    let points: usize = partitions.iter().map(|p| p["history"]["points"].as_array().unwrap().len()).sum();
    assert!(points <= 16_000, "{points}");
}

#[test]
fn a_status_comes_with_the_rule_that_decided_it() {
    let unchanged = |polls: usize| vec![(100, 40); polls];
    for (offsets, status, rule) in [
        (vec![(100, -1)], Value::Null, "no committed offset"),
        (vec![(100, 40), (110, 50)], Value::Null, "Fewer than 5 consecutive polls"),
        (unchanged(6), Value::Null, "shorter than the window"),
        (
            unchanged(12),
            json!("stalled"),
            "at least the window, and the group has members or does not report them",
        ),
        (vec![(100, 40), (110, 50), (120, 60), (130, 70), (140, 80)], json!("ok"), "moved"),
        (vec![(100, 40), (110, 20), (120, 30)], json!("rewound"), "moved back"),
        (vec![(100, 40), (110, 120)], json!("rewound"), "beyond the end"),
    ] {
        let json = polled(&offsets).json();
        let p = first_partition(&json);
        assert_eq!(p["status"], status, "{offsets:?}");
        assert!(contains(&p["status_rule"], rule), "{offsets:?}: {}", p["status_rule"]);
        let of_topic = format!("Partition 0: {}", p["status_rule"].as_str().unwrap());
        assert_eq!(json["topics"][0]["status_rule"], of_topic);
        assert_eq!(json["status_rule"], format!("Topic t: {of_topic}"));
    }
    let mut case = polled(&[(100, 40)]);
    case.status_at(topic_status(50, 100, 0), origin(NOW, NOW, "T"));
    case.view();
    let json = case.json();
    let p = first_partition(&json);
    assert_eq!((&p["status"], &p["lost_messages"]), (&json!("data loss"), &json!(10)));
    let rule = p["status_rule"].as_str().unwrap();
    assert!(rule.contains("before the oldest message"), "{rule}");
    assert_eq!(json["status_rule"], format!("Topic t: Partition 0: {rule}"));

    let mut case = RegionTest::with(&["t"], &["g"]);
    for poll in 0..12 {
        let time = NOW + 60_000 * poll;
        let empty =
            GroupProgress { state: Some(GroupState::Empty), ..progress(vec![partition(0, 100, 40, 0)]) };
        case.progress_at(empty, origin(time, time, "A"));
    }
    let json = case.json();
    let p = first_partition(&json);
    assert_eq!((&json["status"], &p["status"]), (&json!("stopped"), &json!("stopped")));
    assert!(contains(&p["status_rule"], "no members"), "{p}");

    // A partition with lag decides that the status is unknown, not one without a committed offset.
    let mut case = RegionTest::with(&["t"], &["g"]);
    case.progress_at(
        progress(vec![partition(0, 100, -1, 0), partition(1, 100, 40, 0)]),
        origin(NOW, NOW, "A"),
    );
    let json = case.json();
    assert_eq!(json["status"], Value::Null);
    let rule = "Topic t: Partition 1: Fewer than 5 consecutive polls have reported the lag.";
    assert_eq!(json["status_rule"], rule);
    let mut case = RegionTest::with(&["t"], &["g"]);
    case.progress_at(progress(vec![]), origin(NOW, NOW, "A"));
    assert!(contains(&case.json()["status_rule"], "Topic t: The response has no partitions"));
}

#[test]
fn the_window_contains_its_samples_and_trends() {
    // Per minute, 20 messages are produced and 10 are consumed. Then the group moves back.
    let mut offsets: Vec<_> = (0..12).map(|n| (1_000 + 20 * n, 100 + 10 * n)).collect();
    let json = polled(&offsets).json();
    let topic = &json["topics"][0];
    assert_eq!((&topic["status"], &json["status"]), (&json!("lagging"), &json!("lagging")));
    assert!(contains(&topic["status_rule"], "lag grows by more than noise"), "{topic}");
    let window = &topic["window"];
    assert_eq!((&window["answers"], &window["was_caught_up"]), (&json!(12), &json!(false)));
    let trend = |key: &str| window["lag_trend"][key].as_f64().unwrap();
    assert!((trend("growth") / (trend("seconds") / 60.0) - 10.0).abs() < 0.01 && trend("error") < 0.01);
    let samples = window["samples"].as_array().unwrap();
    let produced: u64 = samples.iter().skip(1).map(|s| s["produced_messages"].as_u64().unwrap()).sum();
    assert_eq!(window["produced_messages"], produced);
    let newest = samples.last().unwrap();
    assert_eq!(newest["at"]["unix_ms"], NOW + 11 * 60_000);
    assert_eq!(newest["lag_messages"], 1_010.0);
    let per_minute = |key: &str| topic[key].as_f64().unwrap() * 60.0;
    assert!((per_minute("consumed_messages_per_second") - 10.0).abs() < 0.01);
    assert!((per_minute("produced_messages_per_second") - 20.0).abs() < 0.01);
    assert_eq!(topic["catch_up_seconds"], Value::Null, "the lag grows");

    offsets.push((1_240, 150));
    let json = polled(&offsets).json();
    let rewind = &first_partition(&json)["track"]["rewind"];
    assert_eq!(rewind["from_offset"], 210);
    assert_eq!(rewind["at"]["unix_ms"], NOW + 12 * 60_000);
}

#[test]
fn steps_of_the_start_offset_come_with_their_times() {
    let mut case = polled(&[(1_000, 900)]);
    for (minute, start) in [(0, 100), (1, 100), (2, 300), (3, 500)] {
        let time = NOW + 60_000 * minute;
        case.status_at(topic_status(start, 1_000, 0), origin(time, time, "T"));
    }
    let at = |seconds| NOW / 1_000 + seconds;
    assert_eq!(
        first_partition(&case.json())["start_steps"],
        json!([{"start": 300, "unix_seconds": at(120)}, {"start": 500, "unix_seconds": at(180)}])
    );
}
