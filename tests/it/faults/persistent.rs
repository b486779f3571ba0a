//! Faults that affect one object for longer than `stale_after`.
//!
//! In every case the value of the object is kept, then absent, and never wrong; everything else stays fresh; `*_up` and
//! the timestamp of the last success show the failure; the calls are counted under one `result`; one line is logged at
//! the start and one at the end; and the first good response restores the value.

use alikafka_simulator::{Effect, Fault, Faults};
use tokio::task::JoinSet;

use super::*;

/// Poll target of instance A that a fault affects, and the series that depends on it.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    /// `GetConsumerProgress` of the group `billing`.
    Progress,
    /// `GetTopicStatus` of the topic `orders`.
    Status,
    /// `GetTopicList`.
    Topics,
    /// `GetConsumerList`.
    Groups,
    /// `GetInstanceList`, of the region.
    Instances,
}

impl Target {
    fn action(self) -> &'static str {
        match self {
            Self::Progress => "GetConsumerProgress",
            Self::Status => "GetTopicStatus",
            Self::Topics => "GetTopicList",
            Self::Groups => "GetConsumerList",
            Self::Instances => "GetInstanceList",
        }
    }

    fn fault(self, effect: Effect) -> Fault {
        let fault = Fault::new(effect).action(self.action());
        match self {
            Self::Progress => fault.instance(A).object("billing"),
            Self::Status => fault.instance(A).object("orders"),
            Self::Topics | Self::Groups => fault.instance(A),
            Self::Instances => fault,
        }
    }

    /// The value that the fault prevents from being refreshed.
    fn value(self, scrape: &Scrape) -> Option<f64> {
        let of_a = [("instance_id", A)];
        match self {
            Self::Progress => scrape.lag(A, "billing"),
            // Not an end offset, because groups report those too.
            Self::Status => {
                scrape.value("alikafka_topic_messages", &[("instance_id", A), ("topic", "orders")])
            }
            Self::Topics => {
                scrape.value("alikafka_topic_partitions", &[("instance_id", A), ("topic", "orders")])
            }
            Self::Groups => scrape.value("alikafka_group_info", &[("instance_id", A), ("group", "billing")]),
            Self::Instances => scrape.value("alikafka_instance_groups", &of_a),
        }
    }

    /// Values before and after the fault.
    fn values(self) -> (f64, f64) {
        match self {
            Self::Progress => (LAG_BEFORE, LAG_AFTER),
            Self::Status => (17.0, 27.0),
            Self::Topics => (2.0, 3.0),
            Self::Groups => (1.0, 1.0),
            Self::Instances => (2.0, 3.0),
        }
    }

    /// Whether everything that the fault does not affect has been refreshed.
    fn others_are_fresh(self, scrape: &Scrape) -> bool {
        let lags = [(A, "billing"), (A, "shipping"), (B, "billing"), (B, "shipping")];
        let ends = [(A, "orders"), (A, "audit"), (B, "orders"), (B, "audit")];
        let lag =
            |(i, g)| (self == Self::Progress && (i, g) == lags[0]) || scrape.lag(i, g) == Some(LAG_AFTER);
        let end = |(i, t)| {
            (self == Self::Status && (i, t) == ends[0]) || scrape.end_offset(i, t, "0") == Some(14.0)
        };
        let topics = self == Self::Topics || scrape.has_topic(A, "new");
        let groups = self == Self::Groups || scrape.has_group(A, "new");
        lags.into_iter().all(lag)
            && ends.into_iter().all(end)
            && topics
            && groups
            && scrape.has_topic(B, "new")
            && scrape.has_group(B, "new")
            && scrape.instance_up(B) == Some(1.0)
    }

    /// Seconds since the last success of the scope that the target belongs to.
    fn age(self, scrape: &Scrape) -> f64 {
        let of_instance = |scope| {
            let labels = [("instance_id", A), ("scope", scope)];
            scrape.value("alikafka_instance_last_success_timestamp_seconds", &labels)
        };
        let last_success = match self {
            Self::Progress => of_instance("groups"),
            Self::Status => of_instance("topics"),
            Self::Topics | Self::Groups => of_instance("discovery"),
            Self::Instances => scrape.value(
                "alikafka_region_last_success_timestamp_seconds",
                &[("region", REGION), ("scope", "discovery")],
            ),
        };
        let now = alikafka_exporter::clock::unix_now().get() as f64 / 1000.0;
        now - last_success.unwrap()
    }

    /// Whether `*_up` shows this failure and no other.
    fn is_down(self, scrape: &Scrape) -> bool {
        let (region, instance) =
            if self == Self::Instances { (Some(0.0), Some(1.0)) } else { (Some(1.0), Some(0.0)) };
        scrape.region_up(REGION) == region && scrape.instance_up(A) == instance
    }
}

/// A fault and its symptoms.
struct FaultCase {
    fault: &'static str,
    target: Target,
    effect: Effect,
    /// The label `result` of the failed calls.
    result: &'static str,
    /// Part of the log line.
    log_text: &'static str,
}

fn case(
    fault: &'static str,
    target: Target,
    effect: Effect,
    result: &'static str,
    log_text: &'static str,
) -> FaultCase {
    FaultCase { fault, target, effect, result, log_text }
}

fn fault_cases(elsewhere: &str) -> Vec<FaultCase> {
    use Target::{Groups, Instances, Progress, Status, Topics};
    let json = |body: &str| raw(200, "application/json", body);
    let throttle =
        |status, code: &str| Effect::Throttle { status, code: code.to_owned(), retry_after_ms: None };
    let redirect = |status| Effect::Redirect { status, location: format!("{elsewhere}/?Signature=x") };
    let xml = |status, code: &str| Effect::XmlError { status, code: code.to_owned() };
    let success_false =
        |code: &str| Effect::SuccessFalse { code: code.to_owned(), message: "not today".to_owned() };
    let lower = Effect::LowerCaseError {
        status: 500,
        code: "InternalError".to_owned(),
        message: "lower-case keys".to_owned(),
    };
    let deep = format!(r#"{{"ConsumerProgress":{}{}}}"#, "[".repeat(300), "]".repeat(300));
    vec![
        // Transport.
        case("500", Progress, error(500, "InternalError", "oops"), "server", "oops"),
        case("503 in HTML", Progress, Effect::Html { status: 503 }, "server", "HTTP 503"),
        case("closed before the response", Progress, Effect::Close, "connect", "127.0.0.1"),
        case("reset before the response", Progress, Effect::Reset, "connect", "127.0.0.1"),
        case("closed in the body", Progress, Effect::CutBody(40), "connect", "127.0.0.1"),
        case("reset in the body", Progress, Effect::ResetBody(40), "connect", "127.0.0.1"),
        case("hang before the head", Progress, Effect::Hang, "timeout", "no complete response"),
        case("hang in the body", Progress, Effect::HangBody(40), "timeout", "no complete response"),
        case("a byte now and then", Progress, Effect::Drip(millis(20)), "timeout", "no complete response"),
        case("JSON that ends early", Progress, Effect::Truncate(60), "decode", "byte 60"),
        case("JSON that ends at once", Progress, Effect::Truncate(0), "decode", "empty"),
        case("HTML with 200", Progress, Effect::Html { status: 200 }, "decode", "text/html"),
        case("XML with 200", Progress, raw(200, "text/xml", "<ok/>"), "decode", "text/xml"),
        case("an error in XML", Progress, xml(400, "ServiceUnavailable"), "server", "An error in XML"),
        case("an error in XML with 200", Progress, xml(200, "InternalError"), "server", "An error in XML"),
        case(
            "500 MB, with Content-Length",
            Progress,
            Effect::Oversized { bytes: 500 << 20, declared: true },
            "too_large",
            "16 MiB",
        ),
        case(
            "20 MB, chunked",
            Progress,
            Effect::Oversized { bytes: 20 << 20, declared: false },
            "too_large",
            "16 MiB",
        ),
        case("301", Progress, redirect(301), "redirect", "127.0.0.1"),
        case("307", Progress, redirect(307), "redirect", "127.0.0.1"),
        // Responses.
        case("throttled by 400", Progress, throttle(400, "Throttling.User"), "throttled", "flow control"),
        case("throttled by 429", Progress, throttle(429, "Throttling.Api"), "throttled", "flow control"),
        case("throttled by 503", Progress, throttle(503, "Throttling"), "throttled", "flow control"),
        case(
            "throttled by Kafka",
            Progress,
            error(400, "ONS_SYSTEM_FLOW_CONTROL", "slow down"),
            "throttled",
            "slow down",
        ),
        case("Success false", Progress, success_false("BIZ_FIELD_CHECK_INVALID"), "business", "not today"),
        case("Success false, a 500 of its own", Progress, success_false("500"), "server", "not today"),
        case("lower-case keys", Progress, lower, "server", "lower-case keys"),
        case("an unknown error code", Progress, error(400, "BIZ_NEW", "who knows"), "business", "who knows"),
        case("nested 300 deep", Progress, json(&deep), "decode", "ConsumerProgress"),
        case(
            "bytes that are no text",
            Progress,
            raw(200, "application/json", b"{\"\xff\":1}"),
            "decode",
            "UTF-8",
        ),
        case("a list for an object", Progress, json("[]"), "decode", "not an object"),
        case("no payload", Progress, without_payload(), "decode", "ConsumerProgress"),
        case(
            "a payload of another type",
            Progress,
            json(r#"{"Success":true,"ConsumerProgress":"none"}"#),
            "decode",
            "ConsumerProgress",
        ),
        case(
            "a payload without its list",
            Progress,
            json(r#"{"Success":true,"ConsumerProgress":{"TotalDiff":5}}"#),
            "decode",
            "TopicList",
        ),
        case("denied", Progress, error(403, "NoPermission", "denied"), "auth", "alikafka:ListGroup"),
        // Other actions.
        case("500", Status, error(500, "InternalError", "oops"), "server", "oops"),
        case("hang", Status, Effect::Hang, "timeout", "no complete response"),
        case("no payload", Status, without_payload(), "decode", "TopicStatus"),
        case(
            "a payload without its list",
            Status,
            json(r#"{"Success":true,"TopicStatus":{"TotalCount":"5"}}"#),
            "decode",
            "OffsetTable",
        ),
        case("another topic", Status, Effect::ForeignItems, "decode", "another topic"),
        case("500", Topics, error(500, "InternalError", "oops"), "server", "oops"),
        case("hang", Topics, Effect::Hang, "timeout", "no complete response"),
        case("no list", Topics, without_payload(), "decode", "TopicList"),
        case("500", Groups, error(500, "InternalError", "oops"), "server", "oops"),
        case("HTML with 200", Groups, Effect::Html { status: 200 }, "decode", "text/html"),
        case("no list", Groups, without_payload(), "decode", "ConsumerList"),
        case("500", Instances, error(500, "InternalError", "oops"), "server", "oops"),
        case("reset", Instances, Effect::Reset, "connect", "127.0.0.1"),
        case("no list", Instances, without_payload(), "decode", "InstanceList"),
    ]
}

impl FaultCase {
    async fn run(self) {
        let Self { target, result, .. } = self;
        let (old, new) = target.values();
        let sim = cloud().await;
        // A hanging call must time out before the last value is stale.
        let (timeout, stale_after) = if result == "timeout" { ("3s", 8.0) } else { ("10s", 4.0) };
        let stale = format!("{stale_after}s");
        let daemon =
            Daemon::start(&sim, &[("REQUEST_TIMEOUT", timeout), ("STALE_AFTER", stale.as_str())]).await;
        daemon
            .until("everything is known", |p| {
                all_lag_by(p, LAG_BEFORE)
                    && target.value(p) == Some(old)
                    && p.end_offset(B, "audit", "0").is_some()
            })
            .await;

        sim.faults(|f| f.add(target.fault(self.effect.clone())));
        sim.with_world(|w| {
            write_more(w);
            for id in [A, B] {
                w.add_topic(id, TopicSpec::new("new", 1)).unwrap();
                add_group(w, id, "new", "new");
            }
            if target == Target::Topics {
                w.add_partitions(A, "orders", 1).unwrap();
            }
        });
        let mut kept = false;
        let gone = daemon
            .until("the old value has expired while the rest is fresh", |scrape| {
                let value = target.value(scrape);
                assert!(value.is_none_or(|v| v == old), "neither the old value nor absent: {value:?}");
                kept |= value == Some(old) && scrape.api_calls(target.action(), result) > 0.0;
                value.is_none() && target.others_are_fresh(scrape) && target.is_down(scrape)
            })
            .await;
        assert!(kept, "the old value is kept after the first failure: {}", daemon.evidence(&gone));
        assert!(target.age(&gone) >= stale_after, "{} s", target.age(&gone));
        let results = gone.api_results(target.action());
        assert!(results.iter().all(|r| ["ok", result].contains(r)), "{results:?}");
        // The log line may arrive after the scrape.
        daemon.until_logged("the failure", |lines| lines.iter().any(|l| l["result"] == result)).await;
        let line = match daemon.failures().as_slice() {
            [line] => line.clone(),
            lines => panic!("one line at the start, not {lines:#?}"),
        };
        let text = line.to_string();
        assert!(text.contains(self.log_text), "{text}");
        assert_eq!((&line["action"], &line["result"]), (&target.action().into(), &result.into()), "{text}");
        let advice = line["advice"].as_str().unwrap_or_default();
        assert!(!advice.is_empty(), "{text}");
        assert_eq!(daemon.recoveries(), [] as [serde_json::Value; 0]);

        sim.faults(Faults::clear);
        daemon
            .until("the new value is there", |p| target.value(p) == Some(new) && target.others_are_fresh(p))
            .await;
        daemon
            .until("everything is up", |p| p.instance_up(A) == Some(1.0) && p.region_up(REGION) == Some(1.0))
            .await;
        daemon.until_logged("the recovery", |_| !daemon.recoveries().is_empty()).await;
        assert_eq!(daemon.recoveries().len(), 1, "one line at the end");
        assert_eq!(daemon.failures().len(), 1);
        daemon.stop().await;
    }
}

/// Cases that run in parallel, each with its own exporter. With more, a value expires on two cores before the test sees
/// the first failure.
const PARALLEL: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_object_goes_stale_then_absent_while_others_stay_fresh() {
    let elsewhere = cloud().await;
    let mut cases = fault_cases(&elsewhere.url()).into_iter();
    let (mut running, mut wrong) = (JoinSet::new(), Vec::new());
    loop {
        while running.len() < PARALLEL
            && let Some(case) = cases.next()
        {
            let name = format!("{}: {}", case.target.action(), case.fault);
            running.spawn(async move { (name, tokio::spawn(case.run()).await) });
        }
        match running.join_next().await {
            Some(Ok((_, Ok(())))) => {}
            Some(Ok((name, Err(error)))) => wrong.push(format!("{name}: {error}")),
            Some(Err(error)) => panic!("{error}"),
            None => break,
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(elsewhere.call_log().len(), 0, "no redirect is followed");
}
