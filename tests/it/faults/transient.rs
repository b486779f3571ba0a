//! Transient failures that a retry fixes, anomalies in otherwise good responses, and unusual objects that are no failure.

use std::collections::BTreeSet;

use alikafka_simulator::{Faults, Quota, WrongType};

use super::*;

/// A failure that one retry fixes.
struct TransientCase {
    name: &'static str,
    effect: Effect,
    result: &'static str,
}

impl TransientCase {
    async fn run(self) {
        let sim = cloud().await;
        let daemon = Daemon::start(&sim, &[("STALE_AFTER", "30s")]).await;
        daemon.until_known().await;
        sim.faults(|f| f.add(on_group("billing", self.effect).times(1)));
        sim.with_world(write_more);
        let scrape = daemon
            .until("retried successfully", |p| {
                assert_eq!(p.instance_up(A), Some(1.0), "{}", self.name);
                p.api_calls("GetConsumerProgress", self.result) == 1.0 && all_lag_by(p, LAG_AFTER)
            })
            .await;
        assert_eq!(scrape.sum("alikafka_exporter_api_retries_total", &[]), 1.0, "{}", self.name);
        assert_eq!(daemon.failures().len(), 0, "{}: {:#?}", self.name, daemon.failures());
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_fixed_by_a_retry_is_counted_but_not_logged() {
    let case = |name, effect, result| TransientCase { name, effect, result };
    let throttle = Effect::Throttle { status: 429, code: "Throttling.Api".to_owned(), retry_after_ms: None };
    let cases = [
        case("500", error(500, "InternalError", "oops"), "server"),
        case("503", error(503, "ServiceUnavailable", "no"), "server"),
        case("a reset", Effect::Reset, "connect"),
        case("a reset in the body", Effect::ResetBody(40), "connect"),
        case("flow control", throttle, "throttled"),
        case("a nonce that is known", error(400, "SignatureNonceUsed", "again"), "clock"),
    ];
    let mut running = tokio::task::JoinSet::new();
    for case in cases {
        running.spawn(case.run());
    }
    running.join_all().await;
}

#[test]
fn nonces_are_unique() {
    let nonces: BTreeSet<u128> =
        (0..100_000).map(|_| alikafka_exporter::api::os_entropy().unwrap()).collect();
    assert_eq!(nonces.len(), 100_000);
}

#[tokio::test]
async fn closed_idle_connections_are_not_failures() {
    let sim = cloud().await;
    sim.behaviour(|b| b.close_idle_after = Some(millis(100)));
    let settings = [("POLL_INTERVAL", "200ms"), ("TOPIC_POLL_INTERVAL", "200ms")];
    let daemon = Daemon::start(&sim, &settings).await;
    let ok = |p: &Scrape| p.sum("alikafka_exporter_api_requests_total", &[("result", "ok")]);
    daemon.until_known().await;
    // A scrape may fall between a failure and its retry.
    let were_retried = |p: &Scrape| {
        let failed = p.sum("alikafka_exporter_api_requests_total", &[]) - ok(p);
        failed <= p.sum("alikafka_exporter_api_retries_total", &[])
    };
    daemon
        .until("two hundred calls, and every failure was retried", |p| {
            assert_eq!((p.region_up(REGION), p.instance_up(A)), (Some(1.0), Some(1.0)));
            ok(p) >= 200.0 && were_retried(p)
        })
        .await;
    assert_eq!(daemon.failures().len(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn full_throttling_is_logged_once_and_adds_few_retries() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until_known().await;
    // A quota of the cloud that allows no call.
    sim.behaviour(|b| b.quota = Quota { per_second: Some(0), ..Quota::default() });
    sim.with_world(write_more);
    let throttled = |p: &Scrape| p.sum("alikafka_exporter_api_requests_total", &[("result", "throttled")]);
    let scrape = daemon
        .until("all values have expired, and polling continues", |p| {
            throttled(p) >= 100.0
                && p.count("alikafka_group_lag_messages", &[]) == 0
                && p.region_up(REGION) == Some(0.0)
        })
        .await;
    let retries = scrape.sum("alikafka_exporter_api_retries_total", &[]);
    let first = scrape.sum("alikafka_exporter_api_requests_total", &[]) - retries;
    // At most ten retries were in reserve.
    assert!(retries <= 10.0 + first / 10.0, "{retries} retries of {first} calls");
    let lines = daemon.failures();
    assert_eq!(lines.len(), 1, "one line for the region: {lines:#?}");
    assert_eq!(lines[0]["result"], "throttled");
    sim.behaviour(|b| b.quota = Quota::default());
    daemon
        .until("everything is fresh", |p| all_lag_by(p, LAG_AFTER) && p.region_up(REGION) == Some(1.0))
        .await;
    daemon.until_logged("the recovery", |_| daemon.recoveries().len() == 1).await;
    daemon.stop().await;
}

/// An anomaly in an otherwise good response.
struct AnomalyCase {
    effect: Effect,
    kind: &'static str,
    /// Whether it is logged. Anomalies that every busy cluster shows are not.
    is_logged: bool,
}

impl AnomalyCase {
    async fn run(self) {
        let sim = cloud().await;
        let daemon = Daemon::start(&sim, &[]).await;
        daemon.until_known().await;
        sim.faults(|f| f.add(on_group("billing", self.effect)));
        sim.with_world(write_more);
        daemon
            .until("counted repeatedly, and others are fresh", |p| {
                p.anomalies(self.kind) >= 4.0 && p.lag(A, "shipping") == Some(LAG_AFTER)
            })
            .await;
        let warnings =
            daemon.log_lines().into_iter().filter(|l| l["kind"] == self.kind && l["level"] == "warn");
        assert_eq!(warnings.count(), usize::from(self.is_logged), "{}", self.kind);
        assert_eq!(daemon.failures().len(), 0, "an anomaly is not a failure");
        let scrape = daemon.scrape().await;
        assert_eq!(scrape.instance_up(A), Some(1.0));
        assert_eq!(scrape.partition_lag(A, "billing", "1").is_some(), self.kind != "empty_list");
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anomalies_are_counted_each_time_and_logged_at_most_once() {
    let anomaly = |effect, kind, is_logged| AnomalyCase { effect, kind, is_logged };
    let cases = [
        anomaly(Effect::WrongType(WrongType::Null), "type", true),
        anomaly(Effect::WrongType(WrongType::TooBig), "range", true),
        anomaly(Effect::DuplicateItem, "duplicate", true),
        anomaly(Effect::ConsumerAhead(5), "clamped", false),
    ];
    let mut running = tokio::task::JoinSet::new();
    for case in cases {
        running.spawn(case.run());
    }
    running.join_all().await;
}

#[tokio::test]
async fn a_compressed_response_is_never_decompressed() {
    use std::io::Write as _;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![b' '; 1 << 20]).unwrap();
    // One stream whose members decompress to 100 MiB.
    let bomb = packer.finish().unwrap().repeat(100);
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until_known().await;
    let before = daemon.proc_status("VmHWM");
    sim.faults(|f| f.add(on_group("billing", raw(200, "application/json", bomb))));
    daemon
        .until("rejected repeatedly", |p| {
            p.api_calls("GetConsumerProgress", "decode") >= 4.0 && p.lag(A, "billing").is_none()
        })
        .await;
    assert!(daemon.proc_status("VmHWM") - before <= 32 * 1024, "not even temporarily");
    assert_eq!(daemon.failures().len(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn new_empty_and_equally_named_objects_are_not_failures() {
    let sim = cloud().await;
    sim.with_world(|w| {
        w.rename_instance(A, "the same").unwrap();
        w.rename_instance(B, "the same").unwrap();
        // Differs only in case.
        w.add_topic(A, TopicSpec::new("Orders", 1)).unwrap();
        w.append(A, "Orders", 0, 3).unwrap();
        add_group(w, A, "Billing", "Orders");
        // A group without offsets, and a topic without messages and groups.
        w.add_group(A, GroupSpec { topics: Vec::new(), ..GroupSpec::new("idle", &[]) }).unwrap();
        w.add_topic(A, TopicSpec::new("new", 1)).unwrap();
    });
    let daemon = Daemon::start(&sim, &[]).await;
    let scrape = daemon
        .until("everything is known", |p| {
            all_lag_by(p, LAG_BEFORE) && p.lag(A, "Billing") == Some(3.0) && p.instance_up(A) == Some(1.0)
        })
        .await;
    assert_eq!(scrape.count("alikafka_instance_info", &[("name", "the same")]), 2);
    assert_eq!(
        (scrape.end_offset(A, "Orders", "0"), scrape.end_offset(A, "orders", "0")),
        (Some(3.0), Some(10.0))
    );
    assert!(scrape.has_group(A, "idle") && scrape.lag(A, "idle") == Some(0.0));
    assert_eq!(scrape.count("alikafka_group_partition_lag_messages", &[("group", "idle")]), 0);
    assert!(scrape.has_topic(A, "new"));
    assert_eq!(scrape.sum("alikafka_exporter_anomalies_total", &[]), 0.0);
    // Recreated with fewer partitions.
    sim.with_world(|w| {
        w.delete_topic(A, "orders").unwrap();
        w.delete_group(A, "billing").unwrap();
        w.add_topic(A, TopicSpec::new("orders", 1)).unwrap();
        add_group(w, A, "billing", "orders");
    });
    daemon
        .until("the second partition is gone", |p| {
            p.end_offset(A, "orders", "0") == Some(0.0)
                && p.end_offset(A, "orders", "1").is_none()
                && p.partition_lag(A, "billing", "0") == Some(0.0)
                && p.partition_lag(A, "billing", "1").is_none()
        })
        .await;
    assert_eq!(daemon.failures().len(), 0);
    sim.faults(Faults::clear);
    daemon.stop().await;
}
