//! `/debug/state`: explanations match the metrics and the simulator, survive failures and reloads, and contain no secret.

#![expect(clippy::unwrap_used, reason = "test helpers panic on failure, like assertions")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use alikafka_simulator::{
    AccessKey, ClockMode, ConsumerMode, GroupSpec, OffsetSpec, ServiceBehaviour, Simulator, SimulatorOptions,
    WorldOptions,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Signal;
use serde_json::{Value, json};
use test_support::scrape::Scrape;
use tokio::time::{Instant, sleep};

use crate::faults::{
    A, B, LAG_AFTER, LAG_BEFORE, REGION, add_instance, all_lag_by, cloud,
    daemon::{Daemon, SECRETS},
    error, millis, on_group, raw, write_more,
};

/// Group name that an HTML form sends as `%E8%AE%A2%E5%8D%95+%26+50%25%2B`.
const SPECIAL: &str = "订单 & 50%+\"<b>";

/// Writes a configuration file.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("explain-{name}.yml"));
    fs::write(&path, text).unwrap();
    path
}

fn config(sim: &Simulator) -> String {
    format!("endpoint: {}\nregions: [{REGION}]\n", sim.url())
}

async fn start(name: &str, sim: &Simulator, settings: &[(&str, &str)]) -> Daemon {
    let daemon = Daemon::explaining(&file(name, &config(sim)), settings).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE) && p.instance_up(A) == Some(1.0)).await;
    daemon
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Returns the status code and the JSON for a query. The harness searches all output for secrets at the end.
async fn explain(daemon: &Daemon, query: &str) -> (u16, Value) {
    let (status, body) = daemon.get(&format!("/debug/state?{query}")).await;
    daemon.record_output(&body);
    (status, serde_json::from_str(&body).unwrap())
}

/// Returns the explanation of the only group found.
async fn explained(daemon: &Daemon, instance: &str, group: &str) -> Value {
    let (status, json) =
        explain(daemon, &format!("instance={}&group={}", encoded(instance), encoded(group))).await;
    assert_eq!((status, json["found"].as_array().map(Vec::len)), (200, Some(1)), "{json:#}");
    json["found"][0].clone()
}

/// Repeats the request until a condition holds.
async fn until(daemon: &Daemon, group: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + millis(60_000);
    loop {
        let json = explained(daemon, A, group).await;
        if holds(&json) {
            return json;
        }
        assert!(Instant::now() < until, "never came true: {what}\n{json:#}");
        sleep(millis(50)).await;
    }
}

/// Returns the metrics of a group, a topic and its partitions.
fn from_metrics(scrape: &Scrape, group: &str, topic: &str) -> Value {
    let of = |name: &str, more: &[(&str, &str)]| {
        let labels = [&[("instance_id", A), ("group", group)], more].concat();
        scrape.value(&format!("alikafka_group_{name}"), &labels)
    };
    let partition = |number: usize| {
        let number = number.to_string();
        let labels = [("topic", topic), ("partition", number.as_str())];
        json!({
            "offset": of("partition_offset", &labels),
            "lag": of("partition_lag_messages", &labels),
            "upper": of("partition_lag_seconds", &labels),
            "lower": of("partition_lag_floor_seconds", &labels),
            "margin": of("partition_retention_margin_messages", &labels),
            "lost": of("partition_lost_messages", &labels),
        })
    };
    let of_topic = [("topic", topic)];
    json!({
        "lag": of("lag_messages", &[]),
        "upper": of("lag_seconds", &[]),
        "lower": of("lag_floor_seconds", &[]),
        "topic": of("topic_lag_messages", &of_topic),
        "topic_upper": of("topic_lag_seconds", &of_topic),
        "topic_lower": of("topic_lag_floor_seconds", &of_topic),
        "partitions": [partition(0), partition(1)],
    })
}

/// Returns the same values from an explanation.
fn from_explanation(json: &Value) -> Value {
    let topic = &json["topics"][0];
    let partition = |p: &Value| {
        json!({
            "offset": p["progress"]["ConsumerOffset"].as_f64(),
            "lag": p["lag_messages"].as_f64(),
            "upper": p["lag_seconds"]["seconds"].as_f64(),
            "lower": p["lag_floor_seconds"]["seconds"].as_f64(),
            "margin": p["retention_margin_messages"].as_f64(),
            "lost": p["lost_messages"].as_f64(),
        })
    };
    json!({
        "lag": json["lag_messages"].as_f64(),
        "upper": json["lag_seconds"].as_f64(),
        "lower": json["lag_floor_seconds"].as_f64(),
        "topic": topic["lag_messages"].as_f64(),
        "topic_upper": topic["lag_seconds"].as_f64(),
        "topic_lower": topic["lag_floor_seconds"].as_f64(),
        "partitions": topic["partitions"].as_array().unwrap().iter().map(partition).collect::<Vec<_>>(),
    })
}

/// Starts [`cloud`] in real time, with the additional group [`SPECIAL`] of `orders` that has consumed 4 messages of one
/// partition and all of the other.
async fn real_time_cloud() -> Simulator {
    let [id, secret, token] = SECRETS;
    let keys = vec![AccessKey::new(id, secret).with_token(token)];
    let options = SimulatorOptions {
        clock: ClockMode::RealTime { speed: 1.0 },
        world: WorldOptions::empty([REGION]),
        behaviour: ServiceBehaviour { keys, ..ServiceBehaviour::default() },
        ..SimulatorOptions::default()
    };
    let sim = Simulator::start(options).await.unwrap();
    sim.with_world(|w| {
        [A, B].iter().for_each(|id| add_instance(w, REGION, id));
        let stopped = GroupSpec {
            consumer: ConsumerMode::Stopped,
            from: OffsetSpec::Start,
            ..GroupSpec::new(SPECIAL, &["orders"])
        };
        w.add_group(A, stopped).unwrap();
        w.set_committed(A, SPECIAL, "orders", 0, OffsetSpec::At(4)).unwrap();
        w.set_committed(A, SPECIAL, "orders", 1, OffsetSpec::At(7)).unwrap();
    });
    sim
}

#[tokio::test]
async fn without_the_flag_the_path_is_not_found() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    assert_eq!(daemon.get(&format!("/debug/state?instance={A}&group=billing")).await.0, 404);
    assert!(!daemon.body("/").await.contains("/debug/state"));
    daemon.stop().await;
}

#[tokio::test]
async fn explanations_match_the_metrics_and_the_simulator() {
    let sim = real_time_cloud().await;
    // Long enough for metrics and explanation of the same response.
    let slow = [("POLL_INTERVAL", "3s"), ("TOPIC_POLL_INTERVAL", "3s"), ("STALE_AFTER", "30s")];
    let daemon = start("numbers", &sim, &slow).await;
    assert!(daemon.body("/").await.contains("<form action=\"/debug/state\""));
    for lags in [[17, 6], [27, 16]] {
        for (group, lag) in ["billing", SPECIAL].into_iter().zip(lags) {
            let begun = Instant::now();
            let (json, scrape) = loop {
                let json = until(&daemon, group, "the lag", |json| json["lag_messages"] == json!(lag)).await;
                let scrape = daemon.scrape().await;
                let after = explained(&daemon, A, group).await;
                let is_same =
                    json["answer"] == after["answer"] && from_explanation(&json) == from_explanation(&after);
                if is_same && from_metrics(&scrape, group, "orders") == from_explanation(&json) {
                    break (json, scrape);
                }
                let differ =
                    format!("{:#}\n{:#}", from_metrics(&scrape, group, "orders"), from_explanation(&json));
                assert!(
                    begun.elapsed() < millis(30_000),
                    "metrics and explanation differ for {group}:\n{differ}"
                );
                sleep(millis(100)).await;
            };
            let shown = from_metrics(&scrape, group, "orders");
            for known in ["lag", "lower", "topic", "topic_lower"] {
                assert!(shown[known].is_number(), "{known} is not in the metrics: {shown:#}");
            }
            // A group that has consumed nothing has no message with a timestamp, hence no upper bound.
            for known in ["upper", "topic_upper"] {
                assert_eq!(shown[known].is_number(), group == SPECIAL, "{known}: {shown:#}");
            }
            // Compare with the simulator.
            let truth = sim.truth();
            let instance = truth.instance(A).unwrap();
            let of_group = &instance.groups[group].topics["orders"];
            let partitions = json["topics"][0]["partitions"].as_array().unwrap();
            assert_eq!(partitions.len(), of_group.partitions.len());
            for (explained_partition, (of_group, of_topic)) in
                partitions.iter().zip(of_group.partitions.iter().zip(&instance.topics["orders"].partitions))
            {
                assert_eq!(explained_partition["partition"], json!(of_group.partition));
                let progress = &explained_partition["progress"];
                assert_eq!(progress["BrokerOffset"], json!(of_group.end));
                assert_eq!(progress["ConsumerOffset"], json!(of_group.committed));
                assert_eq!(progress["LastTimestamp"]["unix_ms"], json!(of_group.last_consumed_ms));
                assert_eq!(explained_partition["topic_status"]["MinOffset"], json!(of_topic.start));
                assert_eq!(explained_partition["lag_messages"], json!(of_group.lag));
                assert_eq!(
                    explained_partition["history"]["points"].as_array().unwrap().last().unwrap()["end"],
                    json!(of_group.end)
                );
            }
            assert_eq!(json["state"], json!(instance.groups[group].state.to_lowercase()));
            // Request ids for the vendor's support.
            let ids = [&json["answer"]["request_id"], &json["topics"][0]["answer"]["request_id"]];
            for id in ids.map(|id| id.as_str().unwrap()) {
                let lengths: Vec<usize> = id.split('-').map(str::len).collect();
                assert!(
                    lengths == [8, 4, 4, 4, 12] && id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()),
                    "{id}"
                );
            }
            assert_ne!(ids[0], ids[1], "one of GetConsumerProgress, one of GetTopicStatus");
            // Times are by the clock of the service.
            let at = |bound: &str| json["answer"][bound]["unix_ms"].as_i64().unwrap();
            assert!(
                at("earliest") <= at("latest") && at("latest") <= truth.now_ms + 2_000,
                "{}",
                truth.now_ms
            );
            let (status, narrowed) = explain(
                &daemon,
                &format!("instance={A}&group={}&topic=orders&region={REGION}", encoded(group)),
            )
            .await;
            assert_eq!((status, narrowed["found"][0]["topics"].as_array().unwrap().len()), (200, 1));
        }
        sim.with_world(write_more);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_request_id_stays_while_the_last_known_value_is_kept() {
    let sim = cloud().await;
    let daemon = start("request-id", &sim, &[]).await;
    let response = |id: &str| {
        json!({
            "Code": 200, "Success": true, "Message": "operation success.", "RequestId": id,
            "ConsumerProgress": {
                "TotalDiff": 5, "LastTimestamp": 0,
                "TopicList": {"TopicList": [{
                    "Topic": "orders", "TotalDiff": 5, "LastTimestamp": 0,
                    "OffsetList": {"OffsetList": [{"Partition": 0, "BrokerOffset": 10, "ConsumerOffset": 5, "LastTimestamp": 0}]},
                }]},
            },
        })
        .to_string()
    };
    let id = "0E1D5A2B-1111-4222-8333-44445555EEEE";
    sim.faults(|f| f.add(on_group("billing", raw(200, "application/json", response(id)))));
    until(&daemon, "billing", "this response", |json| json["answer"]["request_id"] == json!(id)).await;
    // From now on polls fail, and the value is kept with its request id.
    sim.faults(|f| {
        f.clear();
        f.add(on_group("billing", error(503, "ServiceUnavailable", "The request has failed.")))
    });
    let kept = until(&daemon, "billing", "kept", |json| json["polling"]["is_held"] == json!(true)).await;
    assert_eq!(kept["answer"]["request_id"], json!(id));
    assert_eq!((&kept["polling"]["last_attempt"], &kept["lag_messages"]), (&json!("failing"), &json!(5)));
    let dropped = until(&daemon, "billing", "dropped", |json| json["lag_messages"] == Value::Null).await;
    assert_eq!((&dropped["topics"], &dropped["polling"]["is_held"]), (&Value::Null, &json!(false)));
    assert_eq!(dropped["answer"]["request_id"], json!(id), "origin of the last response");
    sim.faults(|f| f.clear());
    let again = until(&daemon, "billing", "a new response", |json| json["lag_messages"] == json!(17)).await;
    assert_ne!(again["answer"]["request_id"], json!(id));
    daemon.stop().await;
}

#[tokio::test]
async fn a_status_comes_with_its_rule_and_window() {
    let sim = real_time_cloud().await;
    let daemon = start("status", &sim, &[("STATUS_WINDOW", "3s"), ("STALE_AFTER", "30s")]).await;
    let early = explained(&daemon, A, "billing").await;
    let json = until(&daemon, "billing", "a status", |json| json["status"] != Value::Null).await;
    if early["status"] == Value::Null {
        let rule = early["status_rule"].as_str().unwrap();
        assert!(rule.contains("Fewer than 5") || rule.contains("shorter than the window"), "{rule}");
    }
    let topic = &json["topics"][0];
    let p = &topic["partitions"][0];
    for object in [&json, topic, p] {
        assert_eq!(object["status"], "stopped", "no consumers");
        assert!(object["status_rule"].as_str().unwrap().ends_with('.'), "{}", object["status_rule"]);
    }
    assert!(p["status_rule"].as_str().unwrap().contains("no members"), "{}", p["status_rule"]);
    assert_eq!((&p["track"]["is_stuck"], &p["track"]["rewind"]), (&json!(true), &Value::Null));
    let still = p["track"]["still_since"]["unix_ms"].as_i64().unwrap();
    assert!(json["answer"]["latest"]["unix_ms"].as_i64().unwrap() - still >= 3_000);
    let window = &topic["window"];
    assert!(
        window["answers"].as_u64().unwrap() >= 5 && window["samples"].as_array().unwrap().len() >= 3,
        "{window}"
    );
    assert_eq!((&window["consumed_messages"], &window["was_caught_up"]), (&json!(0), &json!(false)));
    assert_eq!(window["samples"][0]["lag_messages"], json!(17.0));
    daemon.stop().await;
}

#[tokio::test]
async fn unknown_names_are_errors_with_the_known_objects() {
    let sim = cloud().await;
    let daemon = start("unknown", &sim, &[]).await;
    for (query, why, known) in [
        (
            format!("instance={A}&group=nobody"),
            "no such group",
            json!([{"region": REGION, "instances": 2, "groups_of_instance": 2, "topics_of_group": null}]),
        ),
        (
            format!("instance={A}&group=billing&topic=audit"),
            "no such topic",
            json!([{"region": REGION, "instances": 2, "groups_of_instance": 2, "topics_of_group": 1}]),
        ),
        (
            "instance=elsewhere&group=billing".to_owned(),
            "no such instance",
            json!([{"region": REGION, "instances": 2, "groups_of_instance": null, "topics_of_group": null}]),
        ),
        (format!("instance={A}&group=billing&region=cn-beijing"), "no such region", Value::Null),
        (format!("instance={A}&group=billing&account=prod"), "no such region or account", Value::Null),
    ] {
        let (status, json) = explain(&daemon, &query).await;
        assert_eq!(status, 404, "{query}: {json}");
        assert!(json["error"].as_str().unwrap().contains(why), "{query}: {json}");
        assert_eq!(json["known"], known, "{query}");
        assert_eq!(json["regions_polled"], json!([REGION]), "{query}");
    }
    for (query, why) in [
        (format!("instance={A}"), "are required"),
        (format!("instance={A}&group=billing&group=x"), "given twice"),
        (format!("instance={A}&group=billing&region=Not%20A%20Region"), "region id"),
        (format!("instance={A}&group={}", "x".repeat(600)), "group id"),
    ] {
        let (status, json) = explain(&daemon, &query).await;
        assert_eq!(status, 400, "{query}: {json}");
        assert!(json["error"].as_str().unwrap().contains(why), "{query}: {json}");
    }
    let scrape = daemon.scrape().await;
    let counted =
        |code| scrape.value("alikafka_exporter_http_requests_total", &[("path", "debug"), ("code", code)]);
    assert_eq!((counted("404"), counted("400")), (Some(5.0), Some(4.0)));
    daemon.stop().await;
}

#[tokio::test]
async fn equal_names_in_two_accounts_are_both_explained() {
    let (one, two) = (cloud().await, cloud().await);
    two.with_world(write_more);
    let [id, secret, token] = SECRETS;
    let account = |name: &str, sim: &Simulator| {
        format!(
            "- {{name: {name}, regions: [{REGION}], endpoint: {:?}, credentials: {{access_key_id: {id:?}, \
             access_key_secret: {secret:?}, security_token: {token:?}}}}}\n",
            sim.url()
        )
    };
    let text = format!("accounts:\n{}{}", account("one", &one), account("two & more", &two));
    let daemon = Daemon::explaining(&file("accounts", &text), &[]).await;
    let lag = |scrape: &Scrape, account: &str| {
        scrape.value(
            "alikafka_group_lag_messages",
            &[("account", account), ("instance_id", B), ("group", "billing")],
        )
    };
    daemon
        .until("both", |p| lag(p, "one") == Some(LAG_BEFORE) && lag(p, "two & more") == Some(LAG_AFTER))
        .await;
    let (status, json) = explain(&daemon, &format!("instance={B}&group=billing")).await;
    let found: Vec<_> = json["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["account"].clone(), f["lag_messages"].clone()))
        .collect();
    assert_eq!((status, found), (200, vec![(json!("one"), json!(17)), (json!("two & more"), json!(27))]));
    let (status, json) =
        explain(&daemon, &format!("instance={B}&group=billing&account={}", encoded("two & more"))).await;
    assert_eq!((status, json["found"].as_array().unwrap().len()), (200, 1));
    assert_eq!(json["found"][0]["lag_messages"], json!(27));
    daemon.stop().await;
}

#[tokio::test]
async fn explanations_continue_during_reloads() {
    let sim = cloud().await;
    let text = config(&sim);
    let file = file("reload", &text);
    let daemon = Daemon::explaining(&file, &[("STALE_AFTER", "60s")]).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    let before =
        explained(&daemon, A, "billing").await["polling"]["last_success"]["unix_ms"].as_i64().unwrap();
    let mut responses = 0;
    for reload in 1..=8 {
        fs::write(&file, format!("{text}metrics: {{labels: {{generation: \"{reload}\"}}}}\n")).unwrap();
        daemon.signal(Signal::HUP);
        while daemon.logged("configuration reloaded") < reload {
            let (status, json) = explain(&daemon, &format!("instance={A}&group=billing")).await;
            // A poller that stops during the request does not respond; the next request reaches its successor.
            assert!(status == 200 || status == 503, "{status}: {json:#}");
            if status == 200 {
                assert_eq!(
                    (json["found"].as_array().unwrap().len(), &json["found"][0]["lag_messages"]),
                    (1, &json!(17))
                );
                responses += 1;
            }
        }
        explained(&daemon, A, "billing").await;
    }
    assert!(responses > 8, "{responses}");
    let after = until(&daemon, "billing", "the new poller polls", |json| {
        json["polling"]["last_success"]["unix_ms"].as_i64().unwrap() > before
    })
    .await;
    assert!(after["topics"][0]["window"]["answers"].as_u64().unwrap() >= 2, "the window survives the reload");
    // An excluded instance is unknown, like a deleted one.
    fs::write(&file, format!("{text}filters: {{instances: {{exclude: [{B}]}}}}\n")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.until_logged("a reload", |_| daemon.logged("configuration reloaded") == 9).await;
    let (status, json) = explain(&daemon, &format!("instance={B}&group=billing")).await;
    assert_eq!((status, &json["known"][0]["instances"]), (404, &json!(1)), "{json}");
    daemon.stop().await;
}

#[tokio::test]
async fn secrets_echoed_by_the_service_are_not_shown() {
    let sim = cloud().await;
    let daemon = start("secrets", &sim, &[]).await;
    let [id, secret, token] = SECRETS;
    let body = |echo: &str| {
        json!({"Code": 200, "Success": true, "Message": echo, "RequestId": echo, "ConsumerProgress": {
            "TotalDiff": 0, "LastTimestamp": 0, "state": echo, "TopicList": {"TopicList": []},
        }})
        .to_string()
    };
    for secret in [id, secret, token] {
        sim.faults(|f| {
            f.clear();
            f.add(on_group("billing", raw(200, "application/json", body(secret))));
        });
        let json = until(&daemon, "billing", "the echo", |json| json["lag_messages"] == json!(0)).await;
        let request_id = json["answer"]["request_id"].as_str().unwrap_or_default();
        assert!(!request_id.contains(secret), "{request_id}");
        sim.faults(|f| f.clear());
        until(&daemon, "billing", "the truth", |json| json["lag_messages"] == json!(17)).await;
    }
    // Searches all output for secrets in every encoding.
    daemon.stop().await;
}
