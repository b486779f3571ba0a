//! The catalogue: a fault that meets one object for longer than `stale_after`, row by row.
//!
//! Of every row run: the object's value is kept, then absent, never another; everything else is fresh
//! meanwhile; `*_up` and the time of the last success tell of it; the attempts are counted under the row's `result` and no other; one line is logged when the
//! fault begins and one when it is over; and the first good answer after it brings the value back.

use alikafka_simulator::{Effect, Fault, Faults};
use tokio::task::JoinSet;

use super::*;

/// What a fault meets: one unit of work of the first instance, and where that shows.
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

    /// The value that the fault keeps from being renewed.
    fn value(self, scrape: &Scrape) -> Option<f64> {
        let of_a = [("instance_id", A)];
        match self {
            Self::Progress => scrape.lag(A, "billing"),
            // Not an end offset: groups tell those too.
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

    /// That value before the fault, and after it.
    fn values(self) -> (f64, f64) {
        match self {
            Self::Progress => (LAG_BEFORE, LAG_AFTER),
            Self::Status => (17.0, 27.0),
            Self::Topics => (2.0, 3.0),
            Self::Groups => (1.0, 1.0),
            Self::Instances => (2.0, 3.0),
        }
    }

    /// Whether all that the fault does not meet has been renewed since.
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

    /// Seconds since all that this is a part of was told.
    fn age(self, scrape: &Scrape) -> f64 {
        let of_instance = |scope| {
            let labels = [("instance_id", A), ("scope", scope)];
            scrape.value("alikafka_instance_last_success_timestamp_seconds", &labels)
        };
        let told = match self {
            Self::Progress => of_instance("groups"),
            Self::Status => of_instance("topics"),
            Self::Topics | Self::Groups => of_instance("discovery"),
            Self::Instances => scrape.value(
                "alikafka_region_last_success_timestamp_seconds",
                &[("region", REGION), ("scope", "discovery")],
            ),
        };
        let now = alikafka_exporter::clock::unix_now().get() as f64 / 1000.0;
        now - told.unwrap()
    }

    /// Whether the failure is told by `*_up`, and of nothing that did not fail.
    fn is_down(self, scrape: &Scrape) -> bool {
        let (region, instance) =
            if self == Self::Instances { (Some(0.0), Some(1.0)) } else { (Some(1.0), Some(0.0)) };
        scrape.region_up(REGION) == region && scrape.instance_up(A) == instance
    }
}

/// A row of the catalogue.
struct FaultCase {
    fault: &'static str,
    target: Target,
    effect: Effect,
    /// The label `result` under which the attempts are counted.
    result: &'static str,
    /// A part of the log line.
    log_text: &'static str,
}

fn row(
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
        row("500", Progress, error(500, "InternalError", "oops"), "server", "oops"),
        row("503 in HTML", Progress, Effect::Html { status: 503 }, "server", "HTTP 503"),
        row("closed before the answer", Progress, Effect::Close, "connect", "127.0.0.1"),
        row("reset before the answer", Progress, Effect::Reset, "connect", "127.0.0.1"),
        row("closed in the body", Progress, Effect::CutBody(40), "connect", "127.0.0.1"),
        row("reset in the body", Progress, Effect::ResetBody(40), "connect", "127.0.0.1"),
        row("hang before the head", Progress, Effect::Hang, "timeout", "no whole answer"),
        row("hang in the body", Progress, Effect::HangBody(40), "timeout", "no whole answer"),
        row("a byte now and then", Progress, Effect::Drip(millis(20)), "timeout", "no whole answer"),
        row("JSON that ends early", Progress, Effect::Truncate(60), "decode", "byte 60"),
        row("JSON that ends at once", Progress, Effect::Truncate(0), "decode", "empty"),
        row("HTML with 200", Progress, Effect::Html { status: 200 }, "decode", "text/html"),
        row("XML with 200", Progress, raw(200, "text/xml", "<ok/>"), "decode", "text/xml"),
        row("an error in XML", Progress, xml(400, "ServiceUnavailable"), "server", "An error in XML"),
        row("an error in XML with 200", Progress, xml(200, "InternalError"), "server", "An error in XML"),
        row(
            "500 MB, told before",
            Progress,
            Effect::Oversized { bytes: 500 << 20, declared: true },
            "too_large",
            "16 MiB",
        ),
        row(
            "20 MB, in chunks",
            Progress,
            Effect::Oversized { bytes: 20 << 20, declared: false },
            "too_large",
            "16 MiB",
        ),
        row("301", Progress, redirect(301), "redirect", "127.0.0.1"),
        row("307", Progress, redirect(307), "redirect", "127.0.0.1"),
        // Answers.
        row("throttled by 400", Progress, throttle(400, "Throttling.User"), "throttled", "flow control"),
        row("throttled by 429", Progress, throttle(429, "Throttling.Api"), "throttled", "flow control"),
        row("throttled by 503", Progress, throttle(503, "Throttling"), "throttled", "flow control"),
        row(
            "throttled by Kafka",
            Progress,
            error(400, "ONS_SYSTEM_FLOW_CONTROL", "slow down"),
            "throttled",
            "slow down",
        ),
        row("Success false", Progress, success_false("BIZ_FIELD_CHECK_INVALID"), "business", "not today"),
        row("Success false, a 500 of its own", Progress, success_false("500"), "server", "not today"),
        row("lower-case keys", Progress, lower, "server", "lower-case keys"),
        row("an unknown refusal", Progress, error(400, "BIZ_NEW", "who knows"), "business", "who knows"),
        row("nested 300 deep", Progress, json(&deep), "decode", "ConsumerProgress"),
        row(
            "bytes that are no text",
            Progress,
            raw(200, "application/json", b"{\"\xff\":1}"),
            "decode",
            "UTF-8",
        ),
        row("a list for an object", Progress, json("[]"), "decode", "cannot be read"),
        row("no payload", Progress, without_payload(), "decode", "ConsumerProgress"),
        row(
            "a payload of another type",
            Progress,
            json(r#"{"Success":true,"ConsumerProgress":"none"}"#),
            "decode",
            "ConsumerProgress",
        ),
        row(
            "a payload without its list",
            Progress,
            json(r#"{"Success":true,"ConsumerProgress":{"TotalDiff":5}}"#),
            "decode",
            "TopicList",
        ),
        row("denied", Progress, error(403, "NoPermission", "denied"), "auth", "alikafka:ListGroup"),
        // The same for the other actions.
        row("500", Status, error(500, "InternalError", "oops"), "server", "oops"),
        row("hang", Status, Effect::Hang, "timeout", "no whole answer"),
        row("no payload", Status, without_payload(), "decode", "TopicStatus"),
        row(
            "a payload without its list",
            Status,
            json(r#"{"Success":true,"TopicStatus":{"TotalCount":"5"}}"#),
            "decode",
            "OffsetTable",
        ),
        row("another topic", Status, Effect::ForeignItems, "decode", "another topic"),
        row("500", Topics, error(500, "InternalError", "oops"), "server", "oops"),
        row("hang", Topics, Effect::Hang, "timeout", "no whole answer"),
        row("no list", Topics, without_payload(), "decode", "TopicList"),
        row("500", Groups, error(500, "InternalError", "oops"), "server", "oops"),
        row("HTML with 200", Groups, Effect::Html { status: 200 }, "decode", "text/html"),
        row("no list", Groups, without_payload(), "decode", "ConsumerList"),
        row("500", Instances, error(500, "InternalError", "oops"), "server", "oops"),
        row("reset", Instances, Effect::Reset, "connect", "127.0.0.1"),
        row("no list", Instances, without_payload(), "decode", "InstanceList"),
    ]
}

impl FaultCase {
    async fn run(self) {
        let Self { target, result, .. } = self;
        let (old, new) = target.values();
        let sim = cloud().await;
        // What never ends must be given up while the last value is still good.
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
        sim.world(|w| {
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
            .until("the old value is dropped while the rest is fresh", |scrape| {
                let value = target.value(scrape);
                assert!(value.is_none_or(|v| v == old), "neither old nor absent: {value:?}");
                kept |= value == Some(old) && scrape.api_calls(target.action(), result) > 0.0;
                value.is_none() && target.others_are_fresh(scrape) && target.is_down(scrape)
            })
            .await;
        assert!(kept, "the old value outlived the first failure: {}", daemon.evidence(&gone));
        assert!(target.age(&gone) >= stale_after, "{} s", target.age(&gone));
        let results = gone.api_results(target.action());
        assert!(results.iter().all(|r| ["ok", result].contains(r)), "{results:?}");
        // The page may be here before the line: they come on two ways.
        daemon.until_logged("the failure", |lines| lines.iter().any(|l| l["result"] == result)).await;
        let line = match daemon.failures().as_slice() {
            [line] => line.clone(),
            lines => panic!("one line when it begins, not {lines:#?}"),
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
            .until("all is well", |p| p.instance_up(A) == Some(1.0) && p.region_up(REGION) == Some(1.0))
            .await;
        daemon.until_logged("the recovery", |_| !daemon.recoveries().is_empty()).await;
        assert_eq!(daemon.recoveries().len(), 1, "one line when it is over");
        assert_eq!(daemon.failures().len(), 1);
        daemon.stop().await;
    }
}

/// Rows beside each other, each with a daemon of its own: more of them, and on two cores a value is dropped before its
/// first failure is seen.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_object_goes_stale_then_absent_while_others_stay_fresh() {
    let elsewhere = cloud().await;
    let mut rows = fault_cases(&elsewhere.url()).into_iter();
    let (mut running, mut wrong) = (JoinSet::new(), Vec::new());
    loop {
        while running.len() < AT_ONCE
            && let Some(row) = rows.next()
        {
            let name = format!("{}: {}", row.target.action(), row.fault);
            running.spawn(async move { (name, tokio::spawn(row.run()).await) });
        }
        match running.join_next().await {
            Some(Ok((_, Ok(())))) => {}
            Some(Ok((name, Err(error)))) => wrong.push(format!("{name}: {error}")),
            Some(Err(error)) => panic!("{error}"),
            None => break,
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(elsewhere.call_log().len(), 0, "no redirect was followed");
}
