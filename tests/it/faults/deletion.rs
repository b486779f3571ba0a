//! Deleted objects disappear immediately; objects that are only missing from a response are kept for a while.

use alikafka_simulator::Faults;

use super::*;

/// Labels of the series of an instance.
fn instance_labels(instance: &str) -> [(&str, &str); 1] {
    [("instance_id", instance)]
}

#[tokio::test]
async fn objects_follow_a_complete_list() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until_known().await;
    sim.with_world(|w| {
        w.delete_topic(A, "audit").unwrap();
        w.delete_group(A, "shipping").unwrap();
        w.add_topic(A, TopicSpec::new("new", 1)).unwrap();
        add_group(w, A, "new", "new");
    });
    let scrape = daemon
        .until("the objects follow the lists", |p| {
            !p.has_topic(A, "audit") && !p.has_group(A, "shipping") && p.lag(A, "new") == Some(0.0)
        })
        .await;
    assert_eq!(scrape.cloud_series(&[("instance_id", A), ("topic", "audit")]).len(), 0);
    assert_eq!(scrape.cloud_series(&[("instance_id", A), ("group", "shipping")]).len(), 0);
    assert_eq!(scrape.instance_up(A), Some(1.0), "a deletion is not a failure");
    assert_eq!(daemon.failures().len(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn an_object_deleted_between_list_and_detail_call_is_removed_at_once() {
    let sim = cloud().await;
    // Without a second discovery, only detail calls can reveal the deletion.
    let settings = [("DISCOVERY_INTERVAL", "1h"), ("STALE_AFTER", "30s")];
    let daemon = Daemon::start(&sim, &settings).await;
    daemon.until_known().await;
    sim.with_world(|w| {
        w.delete_group(A, "billing").unwrap();
        w.delete_topic(A, "audit").unwrap();
    });
    let scrape =
        daemon.until("both are removed", |p| !p.has_group(A, "billing") && !p.has_topic(A, "audit")).await;
    assert_eq!(scrape.cloud_series(&[("instance_id", A), ("group", "billing")]).len(), 0);
    assert_eq!(scrape.instance_up(A), Some(1.0));
    let detail_calls = |sim: &Simulator| {
        let is_deleted = |e: &alikafka_simulator::CallLogEntry| {
            e.instance.as_deref() == Some(A) && matches!(e.object.as_deref(), Some("billing" | "audit"))
        };
        sim.with_call_log(|l| l.entries().filter(|e| is_deleted(e)).count())
    };
    let before = detail_calls(&sim);
    sim.with_world(write_more);
    let scrape =
        daemon.until("the other instance is polled", |p| p.lag(B, "billing") == Some(LAG_AFTER)).await;
    assert_eq!(detail_calls(&sim), before, "deleted objects are no longer polled");
    assert_eq!(scrape.api_calls("GetConsumerProgress", "gone"), 1.0);
    assert_eq!(scrape.api_calls("GetTopicStatus", "gone"), 1.0);
    assert_eq!(daemon.failures().len(), 0, "a deletion is not a failure");
    daemon.stop().await;
}

#[tokio::test]
async fn a_deleted_instance_is_removed_with_its_topics_and_groups() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[("DISCOVERY_INTERVAL", "400ms")]).await;
    daemon.until_known().await;
    sim.with_world(|w| {
        w.delete_instance(A).unwrap();
        write_more(w);
    });
    let scrape = daemon
        .until("it is removed, and the other one is polled", |p| {
            p.cloud_series(&instance_labels(A)).is_empty() && p.lag(B, "billing") == Some(LAG_AFTER)
        })
        .await;
    assert_eq!((scrape.region_up(REGION), scrape.instance_up(B)), (Some(1.0), Some(1.0)));
    let gone = |l: &serde_json::Value| l["msg"] == "instance gone" && l["instance_id"] == A;
    daemon.until_logged("the removal", |lines| lines.iter().any(gone)).await;
    assert_eq!(daemon.log_lines().iter().filter(|l| gone(l)).count(), 1);
    assert_eq!(daemon.failures().len(), 0, "a deletion is not a failure");
    daemon.stop().await;
}

#[tokio::test]
async fn an_instance_out_of_service_is_not_polled_until_it_returns() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until_known().await;
    sim.with_world(|w| w.set_instance_status(A, 15, Some(6)).unwrap());
    let scrape = daemon
        .until("only instance series remain", |p| {
            p.cloud_series(&instance_labels(A)).iter().all(|s| s.starts_with("alikafka_instance_"))
        })
        .await;
    assert_eq!(scrape.instance_up(A), None, "it is not polled, so it is neither up nor down");
    assert_eq!(scrape.count("alikafka_instance_info", &instance_labels(A)), 1);
    let calls = |sim: &Simulator| {
        sim.with_call_log(|l| l.entries().filter(|e| e.instance.as_deref() == Some(A)).count())
    };
    // Responses to calls in flight may still arrive.
    daemon.until("its topics and groups are removed", |p| !p.has_group(A, "billing")).await;
    let before = calls(&sim);
    sim.with_world(write_more);
    daemon.until("the other instance is polled", |p| p.lag(B, "billing") == Some(LAG_AFTER)).await;
    assert_eq!(calls(&sim), before, "the cloud would reject detail calls");
    sim.with_world(|w| w.set_instance_status(A, 5, Some(2)).unwrap());
    daemon
        .until("the value is back", |p| {
            p.lag(A, "billing") == Some(LAG_BEFORE) && p.instance_up(A) == Some(1.0)
        })
        .await;
    assert_eq!(daemon.failures().len(), 0);
    daemon.stop().await;
}

/// A list that turns empty, and where its object is exposed.
struct EmptyListCase {
    action: &'static str,
    /// Topic or group of a detail call.
    object: Option<&'static str>,
    is_exposed: fn(&Scrape) -> bool,
}

fn empty_list_cases() -> Vec<EmptyListCase> {
    let row = |action, object, is_exposed| EmptyListCase { action, object, is_exposed };
    vec![
        row("GetInstanceList", None, |p| p.count("alikafka_instance_info", &instance_labels(A)) == 1),
        row("GetTopicList", None, |p| p.has_topic(A, "orders") && p.has_topic(A, "audit")),
        row("GetConsumerList", None, |p| p.has_group(A, "billing") && p.has_group(A, "shipping")),
        row("GetTopicStatus", Some("orders"), |p| p.end_offset(A, "orders", "0") == Some(10.0)),
        row("GetConsumerProgress", Some("billing"), |p| p.partition_lag(A, "billing", "0") == Some(10.0)),
    ]
}

impl EmptyListCase {
    fn fault(&self, times: Option<u64>) -> Fault {
        let mut fault = Fault::new(Effect::EmptyList).action(self.action);
        if self.action != "GetInstanceList" {
            fault = fault.instance(A);
        }
        Fault { object: self.object.map(str::to_owned), times, ..fault }
    }

    async fn run(self) {
        let sim = cloud().await;
        let daemon = Daemon::start(&sim, &[("STALE_AFTER", "30s")]).await;
        daemon.until("everything is known", |p| all_lag_by(p, LAG_BEFORE) && (self.is_exposed)(p)).await;
        let (action, fired) = (self.action, |sim: &Simulator| sim.faults(|f| f.fired()[0]));

        // One empty response is ignored.
        sim.faults(|f| f.add(self.fault(Some(1))));
        let good = |p: &Scrape| p.api_calls(action, "ok");
        let mut calls_before = None;
        let scrape = daemon
            .until("an empty response, and good ones after it", |p| {
                assert!((self.is_exposed)(p), "{action}: one empty response is ignored");
                if fired(&sim) == 1 && p.anomalies("empty_list") == 1.0 {
                    calls_before.get_or_insert(good(p));
                }
                calls_before.is_some_and(|then| good(p) >= then + 5.0)
            })
            .await;
        assert_eq!(scrape.anomalies("empty_list"), 1.0);
        sim.faults(Faults::clear);

        // Two in a row are accepted.
        sim.faults(|f| f.add(self.fault(None)));
        daemon.until("the empty list is accepted", |p| !(self.is_exposed)(p)).await;
        assert!(fired(&sim) >= 2, "{action}: {} empty responses", fired(&sim));
        sim.faults(Faults::clear);
        let scrape = daemon
            .until("everything is back", |p| {
                all_lag_by(p, LAG_BEFORE) && (self.is_exposed)(p) && p.instance_up(A).is_some()
            })
            .await;
        assert_eq!(daemon.failures().len(), 0, "{}", daemon.evidence(&scrape));
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_list_is_accepted_only_when_repeated() {
    let mut running = tokio::task::JoinSet::new();
    for row in empty_list_cases() {
        running.spawn(row.run());
    }
    running.join_all().await;
}
