//! Absence has two causes: told gone goes at once, not told is kept for a while, and emptiness is told twice.

use alikafka_simulator::Faults;

use super::*;

/// What names an instance's series.
fn of(instance: &str) -> [(&str, &str); 1] {
    [("instance_id", instance)]
}

#[tokio::test]
async fn objects_follow_a_complete_list() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon
        .until("all known", |p| all_lag_by(p, LAG_BEFORE) && p.end_offset(A, "audit", "1") == Some(7.0))
        .await;
    sim.world(|w| {
        w.delete_topic(A, "audit").unwrap();
        w.delete_group(A, "shipping").unwrap();
        w.add_topic(A, TopicSpec::new("new", 1)).unwrap();
        add_group(w, A, "new", "new");
    });
    let scrape = daemon
        .until("the lists are followed", |p| {
            !p.has_topic(A, "audit") && !p.has_group(A, "shipping") && p.lag(A, "new") == Some(0.0)
        })
        .await;
    assert_eq!(scrape.cloud_series(&[("instance_id", A), ("topic", "audit")]).len(), 0);
    assert_eq!(scrape.cloud_series(&[("instance_id", A), ("group", "shipping")]).len(), 0);
    assert_eq!(scrape.instance_up(A), Some(1.0), "what was deleted has not failed");
    assert_eq!(daemon.failures().len(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn an_object_deleted_between_list_and_detail_call_is_removed_at_once() {
    let sim = cloud().await;
    // No second discovery: only the detail calls can tell.
    let settings = [("DISCOVERY_INTERVAL", "1h"), ("STALE_AFTER", "30s")];
    let daemon = Daemon::start(&sim, &settings).await;
    daemon
        .until("all known", |p| all_lag_by(p, LAG_BEFORE) && p.end_offset(A, "audit", "1") == Some(7.0))
        .await;
    sim.world(|w| {
        w.delete_group(A, "billing").unwrap();
        w.delete_topic(A, "audit").unwrap();
    });
    let scrape =
        daemon.until("both are gone", |p| !p.has_group(A, "billing") && !p.has_topic(A, "audit")).await;
    assert_eq!(scrape.cloud_series(&[("instance_id", A), ("group", "billing")]).len(), 0);
    assert_eq!(scrape.instance_up(A), Some(1.0));
    let asked = |sim: &Simulator| {
        let of = |e: &alikafka_simulator::CallLogEntry| {
            e.instance.as_deref() == Some(A) && matches!(e.object.as_deref(), Some("billing" | "audit"))
        };
        sim.with_call_log(|l| l.entries().filter(|e| of(e)).count())
    };
    let before = asked(&sim);
    sim.world(write_more);
    let scrape = daemon.until("others go on", |p| p.lag(B, "billing") == Some(LAG_AFTER)).await;
    assert_eq!(asked(&sim), before, "what is gone is asked for no more");
    assert_eq!(scrape.api_calls("GetConsumerProgress", "gone"), 1.0);
    assert_eq!(scrape.api_calls("GetTopicStatus", "gone"), 1.0);
    assert_eq!(daemon.failures().len(), 0, "what was deleted has not failed");
    daemon.stop().await;
}

#[tokio::test]
async fn a_deleted_instance_is_removed_with_its_topics_and_groups() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[("DISCOVERY_INTERVAL", "400ms")]).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE) && p.instance_up(A) == Some(1.0)).await;
    sim.world(|w| {
        w.delete_instance(A).unwrap();
        write_more(w);
    });
    let scrape = daemon
        .until("it is gone, and the other goes on", |p| {
            p.cloud_series(&of(A)).is_empty() && p.lag(B, "billing") == Some(LAG_AFTER)
        })
        .await;
    assert_eq!((scrape.region_up(REGION), scrape.instance_up(B)), (Some(1.0), Some(1.0)));
    let gone = |l: &serde_json::Value| l["msg"] == "instance gone" && l["instance_id"] == A;
    daemon.until_logged("the instance is gone", |lines| lines.iter().any(gone)).await;
    assert_eq!(daemon.log_lines().iter().filter(|l| gone(l)).count(), 1);
    assert_eq!(daemon.failures().len(), 0, "what was deleted has not failed");
    daemon.stop().await;
}

#[tokio::test]
async fn an_instance_out_of_service_is_not_polled_until_it_returns() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE) && p.instance_up(A) == Some(1.0)).await;
    sim.world(|w| w.set_instance_status(A, 15, Some(6)).unwrap());
    let scrape = daemon
        .until("only its own series stay", |p| {
            p.cloud_series(&of(A)).iter().all(|s| s.starts_with("alikafka_instance_"))
        })
        .await;
    assert_eq!(scrape.instance_up(A), None, "it was not asked, so it is neither up nor down");
    assert_eq!(scrape.count("alikafka_instance_info", &of(A)), 1);
    let calls = |sim: &Simulator| {
        sim.with_call_log(|l| l.entries().filter(|e| e.instance.as_deref() == Some(A)).count())
    };
    // What was under way when it left may still come in.
    daemon.until("its topics and groups are forgotten", |p| !p.has_group(A, "billing")).await;
    let before = calls(&sim);
    sim.world(write_more);
    daemon.until("others go on", |p| p.lag(B, "billing") == Some(LAG_AFTER)).await;
    assert_eq!(calls(&sim), before, "detail calls would be refused");
    sim.world(|w| w.set_instance_status(A, 5, Some(2)).unwrap());
    daemon
        .until("it is back", |p| p.lag(A, "billing") == Some(LAG_BEFORE) && p.instance_up(A) == Some(1.0))
        .await;
    assert_eq!(daemon.failures().len(), 0);
    daemon.stop().await;
}

/// An empty answer, where its object shows, and how the doubt is spelled.
struct EmptyListCase {
    action: &'static str,
    /// The object of detail calls.
    object: Option<&'static str>,
    is_exposed: fn(&Scrape) -> bool,
}

fn empty_list_cases() -> Vec<EmptyListCase> {
    let row = |action, object, is_exposed| EmptyListCase { action, object, is_exposed };
    vec![
        row("GetInstanceList", None, |p| p.count("alikafka_instance_info", &of(A)) == 1),
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
        daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE) && (self.is_exposed)(p)).await;
        let (action, fired) = (self.action, |sim: &Simulator| sim.faults(|f| f.fired()[0]));

        // Once: doubted, and taken back by the next good answer.
        sim.faults(|f| f.add(self.fault(Some(1))));
        let good = |p: &Scrape| p.api_calls(action, "ok");
        let mut of_the_doubt = None;
        let scrape = daemon
            .until("an empty answer, and good ones after it", |p| {
                assert!((self.is_exposed)(p), "{action}: one empty answer is not believed");
                if fired(&sim) == 1 && p.anomalies("empty_list") == 1.0 {
                    of_the_doubt.get_or_insert(good(p));
                }
                of_the_doubt.is_some_and(|then| good(p) >= then + 5.0)
            })
            .await;
        assert_eq!(scrape.anomalies("empty_list"), 1.0);
        sim.faults(Faults::clear);

        // Twice in a row: believed.
        sim.faults(|f| f.add(self.fault(None)));
        daemon.until("emptiness is believed", |p| !(self.is_exposed)(p)).await;
        assert!(fired(&sim) >= 2, "{action}: {} empty answers", fired(&sim));
        sim.faults(Faults::clear);
        let scrape = daemon
            .until("all is back", |p| {
                all_lag_by(p, LAG_BEFORE) && (self.is_exposed)(p) && p.instance_up(A).is_some()
            })
            .await;
        assert_eq!(daemon.failures().len(), 0, "{}", daemon.evidence(&scrape));
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_list_is_believed_only_when_repeated() {
    let mut running = tokio::task::JoinSet::new();
    for row in empty_list_cases() {
        running.spawn(row.run());
    }
    running.join_all().await;
}
