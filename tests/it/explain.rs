//! Why a number is what it is: `/debug/state` says of a group what the page says, with the answer that it comes from,
//! whatever happens to the cloud and the configuration meanwhile, and tells no secret.

#![expect(clippy::unwrap_used, reason = "a test's own helpers fail by panicking, as its assertions do")]

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

/// What a form would send as `%E8%AE%A2%E5%8D%95+%26+50%25%2B`, in a world that has more such names.
const STRANGE: &str = "订单 & 50%+\"<b>";

/// A configuration of one account, in a file of its own.
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

/// The status and the JSON that a question gets. All that is said is searched for secrets in the end.
async fn ask(daemon: &Daemon, query: &str) -> (u16, Value) {
    let (status, body) = daemon.get(&format!("/debug/state?{query}")).await;
    daemon.record_output(&body);
    (status, serde_json::from_str(&body).unwrap())
}

/// What is said of the one group that a question finds.
async fn explained(daemon: &Daemon, instance: &str, group: &str) -> Value {
    let (status, json) =
        ask(daemon, &format!("instance={}&group={}", encoded(instance), encoded(group))).await;
    assert_eq!((status, json["found"].as_array().map(Vec::len)), (200, Some(1)), "{json:#}");
    json["found"][0].clone()
}

/// Asks until a condition holds.
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

/// What the page says of a group, one topic of it, and one partition of that, by the keys that explain it.
fn on_page(page: &Scrape, group: &str, topic: &str) -> Value {
    let of = |name: &str, more: &[(&str, &str)]| {
        let labels = [&[("instance_id", A), ("group", group)], more].concat();
        page.value(&format!("alikafka_group_{name}"), &labels)
    };
    let partition = |number: usize| {
        let number = number.to_string();
        let labels = [("topic", topic), ("partition", number.as_str())];
        json!({
            "offset": of("partition_offset", &labels),
            "lag": of("partition_lag_messages", &labels),
            "ceiling": of("partition_lag_seconds", &labels),
            "floor": of("partition_lag_floor_seconds", &labels),
            "margin": of("partition_retention_margin_messages", &labels),
            "lost": of("partition_lost_messages", &labels),
        })
    };
    let of_topic = [("topic", topic)];
    json!({
        "lag": of("lag_messages", &[]),
        "ceiling": of("lag_seconds", &[]),
        "floor": of("lag_floor_seconds", &[]),
        "topic": of("topic_lag_messages", &of_topic),
        "topic_ceiling": of("topic_lag_seconds", &of_topic),
        "topic_floor": of("topic_lag_floor_seconds", &of_topic),
        "partitions": [partition(0), partition(1)],
    })
}

/// The same as it is explained.
fn as_explained(json: &Value) -> Value {
    let topic = &json["topics"][0];
    let partition = |p: &Value| {
        json!({
            "offset": p["progress"]["ConsumerOffset"].as_f64(),
            "lag": p["lag_messages"].as_f64(),
            "ceiling": p["lag_seconds"]["seconds"].as_f64(),
            "floor": p["lag_floor_seconds"]["seconds"].as_f64(),
            "margin": p["retention_margin_messages"].as_f64(),
            "lost": p["lost_messages"].as_f64(),
        })
    };
    json!({
        "lag": json["lag_messages"].as_f64(),
        "ceiling": json["lag_seconds"].as_f64(),
        "floor": json["lag_floor_seconds"].as_f64(),
        "topic": topic["lag_messages"].as_f64(),
        "topic_ceiling": topic["lag_seconds"].as_f64(),
        "topic_floor": topic["lag_floor_seconds"].as_f64(),
        "partitions": topic["partitions"].as_array().unwrap().iter().map(partition).collect::<Vec<_>>(),
    })
}

/// [`cloud`] as time passes, with another group of `orders`, [`STRANGE`], that has read 4 messages of the one
/// partition and all of the other.
async fn cloud_by_the_clock() -> Simulator {
    let [id, secret, token] = SECRETS;
    let keys = vec![AccessKey::new(id, secret).with_token(token)];
    let options = SimulatorOptions {
        clock: ClockMode::RealTime { speed: 1.0 },
        world: WorldOptions::empty([REGION]),
        behaviour: ServiceBehaviour { keys, ..ServiceBehaviour::default() },
        ..SimulatorOptions::default()
    };
    let sim = Simulator::start(options).await.unwrap();
    sim.world(|w| {
        [A, B].iter().for_each(|id| add_instance(w, REGION, id));
        let stopped = GroupSpec {
            consumer: ConsumerMode::Stopped,
            from: OffsetSpec::Start,
            ..GroupSpec::new(STRANGE, &["orders"])
        };
        w.add_group(A, stopped).unwrap();
        w.set_committed(A, STRANGE, "orders", 0, OffsetSpec::At(4)).unwrap();
        w.set_committed(A, STRANGE, "orders", 1, OffsetSpec::At(7)).unwrap();
    });
    sim
}

#[tokio::test]
async fn without_the_flag_nothing_is_explained() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    assert_eq!(daemon.get(&format!("/debug/state?instance={A}&group=billing")).await.0, 404);
    assert!(!daemon.body("/").await.contains("/debug/state"));
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_explained_is_what_the_page_says_and_what_is_true() {
    let sim = cloud_by_the_clock().await;
    // Long enough that a page and an explanation are of the same answer.
    let slow = [("POLL_INTERVAL", "3s"), ("TOPIC_POLL_INTERVAL", "3s"), ("STALE_AFTER", "30s")];
    let daemon = start("numbers", &sim, &slow).await;
    assert!(daemon.body("/").await.contains("<form action=\"/debug/state\""));
    for lags in [[17, 6], [27, 16]] {
        for (group, lag) in ["billing", STRANGE].into_iter().zip(lags) {
            let begun = Instant::now();
            let (json, page) = loop {
                let json = until(&daemon, group, "the lag", |json| json["lag_messages"] == json!(lag)).await;
                let page = daemon.scrape().await;
                let after = explained(&daemon, A, group).await;
                let is_same =
                    json["answer"] == after["answer"] && as_explained(&json) == as_explained(&after);
                if is_same && on_page(&page, group, "orders") == as_explained(&json) {
                    break (json, page);
                }
                let differ = format!("{:#}\n{:#}", on_page(&page, group, "orders"), as_explained(&json));
                assert!(begun.elapsed() < millis(30_000), "they never agree on {group}:\n{differ}");
                sleep(millis(100)).await;
            };
            let shown = on_page(&page, group, "orders");
            for known in ["lag", "floor", "topic", "topic_floor"] {
                assert!(shown[known].is_number(), "{known} is not on the page: {shown:#}");
            }
            // Who has read nothing has no message that could tell by when the next one was written.
            for known in ["ceiling", "topic_ceiling"] {
                assert_eq!(shown[known].is_number(), group == STRANGE, "{known}: {shown:#}");
            }
            // As the world has it.
            let truth = sim.truth();
            let instance = truth.instance(A).unwrap();
            let of_group = &instance.groups[group].topics["orders"];
            let told = json["topics"][0]["partitions"].as_array().unwrap();
            assert_eq!(told.len(), of_group.partitions.len());
            for (told, (of_group, of_topic)) in
                told.iter().zip(of_group.partitions.iter().zip(&instance.topics["orders"].partitions))
            {
                assert_eq!(told["partition"], json!(of_group.partition));
                let progress = &told["progress"];
                assert_eq!(progress["BrokerOffset"], json!(of_group.end));
                assert_eq!(progress["ConsumerOffset"], json!(of_group.committed));
                assert_eq!(progress["LastTimestamp"]["unix_ms"], json!(of_group.last_consumed_ms));
                assert_eq!(told["topic_status"]["MinOffset"], json!(of_topic.start));
                assert_eq!(told["lag_messages"], json!(of_group.lag));
                assert_eq!(
                    told["history"]["points"].as_array().unwrap().last().unwrap()["end"],
                    json!(of_group.end)
                );
            }
            assert_eq!(json["state"], json!(instance.groups[group].state.to_lowercase()));
            // What the vendor would be asked with.
            let ids = [&json["answer"]["request_id"], &json["topics"][0]["answer"]["request_id"]];
            for id in ids.map(|id| id.as_str().unwrap()) {
                let lengths: Vec<usize> = id.split('-').map(str::len).collect();
                assert!(
                    lengths == [8, 4, 4, 4, 12] && id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()),
                    "{id}"
                );
            }
            assert_ne!(ids[0], ids[1], "one of GetConsumerProgress, one of GetTopicStatus");
            // By the clock of the cloud, which is the world's.
            let at = |bound: &str| json["answer"][bound]["unix_ms"].as_i64().unwrap();
            assert!(
                at("earliest") <= at("latest") && at("latest") <= truth.now_ms + 2_000,
                "{}",
                truth.now_ms
            );
            let (status, narrowed) =
                ask(&daemon, &format!("instance={A}&group={}&topic=orders&region={REGION}", encoded(group)))
                    .await;
            assert_eq!((status, narrowed["found"][0]["topics"].as_array().unwrap().len()), (200, 1));
        }
        sim.world(write_more);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_request_id_is_that_of_the_answer_that_is_shown_and_stays_while_it_is_held_over() {
    let sim = cloud().await;
    let daemon = start("request-id", &sim, &[]).await;
    let answer = |id: &str| {
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
    sim.faults(|f| f.add(on_group("billing", raw(200, "application/json", answer(id)))));
    until(&daemon, "billing", "its own answer", |json| json["answer"]["request_id"] == json!(id)).await;
    // From now on it fails: what is shown, and its id, are kept, and said to be.
    sim.faults(|f| {
        f.clear();
        f.add(on_group("billing", error(503, "ServiceUnavailable", "The request has failed.")))
    });
    let held = until(&daemon, "billing", "held over", |json| json["polling"]["is_held"] == json!(true)).await;
    assert_eq!(held["answer"]["request_id"], json!(id));
    assert_eq!((&held["polling"]["last_attempt"], &held["lag_messages"]), (&json!("failing"), &json!(5)));
    let dropped = until(&daemon, "billing", "dropped", |json| json["lag_messages"] == Value::Null).await;
    assert_eq!((&dropped["topics"], &dropped["polling"]["is_held"]), (&Value::Null, &json!(false)));
    assert_eq!(dropped["answer"]["request_id"], json!(id), "the last that was heard of it");
    sim.faults(|f| f.clear());
    let again = until(&daemon, "billing", "an answer", |json| json["lag_messages"] == json!(17)).await;
    assert_ne!(again["answer"]["request_id"], json!(id));
    daemon.stop().await;
}

#[tokio::test]
async fn a_status_comes_with_its_rule_and_the_window_that_it_is_made_from() {
    let sim = cloud_by_the_clock().await;
    let daemon = start("status", &sim, &[("STATUS_WINDOW", "3s"), ("STALE_AFTER", "30s")]).await;
    let early = explained(&daemon, A, "billing").await;
    let json = until(&daemon, "billing", "a status", |json| json["status"] != Value::Null).await;
    if early["status"] == Value::Null {
        let rule = early["status_rule"].as_str().unwrap();
        assert!(rule.contains("enough"), "{rule}");
    }
    let topic = &json["topics"][0];
    let p = &topic["partitions"][0];
    for told in [&json, topic, p] {
        assert_eq!(told["status"], "stopped", "nobody reads");
        assert!(told["status_rule"].as_str().unwrap().ends_with('.'), "{}", told["status_rule"]);
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
async fn what_is_not_known_is_told_with_what_is() {
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
        let (status, json) = ask(&daemon, &query).await;
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
        let (status, json) = ask(&daemon, &query).await;
        assert_eq!(status, 400, "{query}: {json}");
        assert!(json["error"].as_str().unwrap().contains(why), "{query}: {json}");
    }
    let page = daemon.scrape().await;
    let counted =
        |code| page.value("alikafka_exporter_http_requests_total", &[("path", "debug"), ("code", code)]);
    assert_eq!((counted("404"), counted("400")), (Some(5.0), Some(4.0)));
    daemon.stop().await;
}

#[tokio::test]
async fn the_same_names_in_two_accounts_are_both_explained_and_told_apart() {
    let (one, two) = (cloud().await, cloud().await);
    two.world(write_more);
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
    let lag = |page: &Scrape, account: &str| {
        page.value(
            "alikafka_group_lag_messages",
            &[("account", account), ("instance_id", B), ("group", "billing")],
        )
    };
    daemon
        .until("both", |p| lag(p, "one") == Some(LAG_BEFORE) && lag(p, "two & more") == Some(LAG_AFTER))
        .await;
    let (status, json) = ask(&daemon, &format!("instance={B}&group=billing")).await;
    let found: Vec<_> = json["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["account"].clone(), f["lag_messages"].clone()))
        .collect();
    assert_eq!((status, found), (200, vec![(json!("one"), json!(17)), (json!("two & more"), json!(27))]));
    let (status, json) =
        ask(&daemon, &format!("instance={B}&group=billing&account={}", encoded("two & more"))).await;
    assert_eq!((status, json["found"].as_array().unwrap().len()), (200, 1));
    assert_eq!(json["found"][0]["lag_messages"], json!(27));
    daemon.stop().await;
}

#[tokio::test]
async fn reloads_lose_no_loop_to_ask() {
    let sim = cloud().await;
    let text = config(&sim);
    let file = file("reload", &text);
    let daemon = Daemon::explaining(&file, &[("STALE_AFTER", "60s")]).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    let before =
        explained(&daemon, A, "billing").await["polling"]["last_success"]["unix_ms"].as_i64().unwrap();
    let mut answers = 0;
    for reload in 1..=8 {
        fs::write(&file, format!("{text}metrics: {{labels: {{generation: \"{reload}\"}}}}\n")).unwrap();
        daemon.signal(Signal::HUP);
        while daemon.logged("configuration reloaded") < reload {
            let (status, json) = ask(&daemon, &format!("instance={A}&group=billing")).await;
            // A loop that ends while it is asked does not answer; who asks again is answered by the next.
            assert!(status == 200 || status == 503, "{status}: {json:#}");
            if status == 200 {
                assert_eq!(
                    (json["found"].as_array().unwrap().len(), &json["found"][0]["lag_messages"]),
                    (1, &json!(17))
                );
                answers += 1;
            }
        }
        explained(&daemon, A, "billing").await;
    }
    assert!(answers > 8, "{answers}");
    let after = until(&daemon, "billing", "the new loop polls", |json| {
        json["polling"]["last_success"]["unix_ms"].as_i64().unwrap() > before
    })
    .await;
    assert!(after["topics"][0]["window"]["answers"].as_u64().unwrap() >= 2, "what was remembered stays");
    // An instance that is filtered out is known no more, and so is one that is gone.
    fs::write(&file, format!("{text}filters: {{instances: {{exclude: [{B}]}}}}\n")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.until_logged("a reload", |_| daemon.logged("configuration reloaded") == 9).await;
    let (status, json) = ask(&daemon, &format!("instance={B}&group=billing")).await;
    assert_eq!((status, &json["known"][0]["instances"]), (404, &json!(1)), "{json}");
    daemon.stop().await;
}

#[tokio::test]
async fn nothing_of_a_key_is_told_though_the_cloud_sends_it_back() {
    let sim = cloud().await;
    let daemon = start("secrets", &sim, &[]).await;
    let [id, secret, token] = SECRETS;
    let body = |told: &str| {
        json!({"Code": 200, "Success": true, "Message": told, "RequestId": told, "ConsumerProgress": {
            "TotalDiff": 0, "LastTimestamp": 0, "state": told, "TopicList": {"TopicList": []},
        }})
        .to_string()
    };
    for secret in [id, secret, token] {
        sim.faults(|f| {
            f.clear();
            f.add(on_group("billing", raw(200, "application/json", body(secret))));
        });
        let json = until(&daemon, "billing", "the echo", |json| json["lag_messages"] == json!(0)).await;
        let told = json["answer"]["request_id"].as_str().unwrap_or_default();
        assert!(!told.contains(secret), "{told}");
        sim.faults(|f| f.clear());
        until(&daemon, "billing", "the truth", |json| json["lag_messages"] == json!(17)).await;
    }
    // Searches all that was asked for, in every form.
    daemon.stop().await;
}
