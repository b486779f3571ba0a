//! Inconsistent lists: wrong totals, lists without end, repeated rows, failed calls.

use alikafka_simulator::{CallLogEntry, Faults};

use super::*;

/// Starts [`cloud`] with this many more topics and groups in instance A, and ten rows per page.
async fn paged_cloud(more: usize) -> Simulator {
    let sim = cloud().await;
    sim.behaviour(|b| b.page_size_max = 10);
    sim.with_world(|w| {
        for n in 0..more {
            w.add_topic(A, TopicSpec::new(&format!("t{n:02}"), 1)).unwrap();
            add_group(w, A, &format!("g{n:02}"), "orders");
        }
    });
    sim
}

fn object_counts(scrape: &Scrape) -> (usize, usize) {
    let of_a = [("instance_id", A)];
    (scrape.count("alikafka_topic_info", &of_a), scrape.count("alikafka_group_info", &of_a))
}

/// Faults of the topic and group lists of instance A.
fn lists_of_a(effect: &Effect) -> [Fault; 2] {
    ["GetTopicList", "GetConsumerList"].map(|action| Fault::new(effect.clone()).action(action).instance(A))
}

/// Page numbers that were requested of a list of instance A.
fn requested_pages(sim: &Simulator, action: &str) -> Vec<usize> {
    let is_call = |e: &&CallLogEntry| e.action == action && e.instance.as_deref() == Some(A);
    sim.with_call_log(|l| {
        l.entries().filter(is_call).map(|e| e.page_number.as_ref().unwrap().parse().unwrap()).collect()
    })
}

#[tokio::test]
async fn a_list_of_many_pages_is_read_completely() {
    let sim = paged_cloud(23).await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon
        .until("everything is known", |p| object_counts(p) == (25, 25) && p.instance_up(A) == Some(1.0))
        .await;
    assert_eq!(requested_pages(&sim, "GetTopicList")[..3], [1, 2, 3]);
    sim.with_world(|w| {
        w.delete_topic(A, "t00").unwrap();
        w.delete_group(A, "g22").unwrap();
    });
    let scrape = daemon.until("the lists are followed", |p| object_counts(p) == (24, 24)).await;
    assert!(!scrape.has_topic(A, "t00") && !scrape.has_group(A, "g22"));
    daemon.stop().await;
}

/// A fault of a list of 25 rows.
struct InconsistentListCase {
    name: &'static str,
    effect: Effect,
    /// Whether the exporter can still recognize the list as complete.
    is_complete: bool,
    /// Most calls for one list.
    max_calls: usize,
}

fn inconsistent_list_cases() -> Vec<InconsistentListCase> {
    let case =
        |name, effect, is_complete, max_calls| InconsistentListCase { name, effect, is_complete, max_calls };
    vec![
        case("a total far too high", Effect::WrongTotal(1_000_000_000), false, 4),
        case("a total too low", Effect::WrongTotal(3), true, 3),
        case("a total below 0", Effect::WrongTotal(-5), true, 4),
        case("the first page repeated", Effect::EndlessPages, false, 2),
        case("rows of the previous page", Effect::RepeatedRows, false, 4),
    ]
}

impl InconsistentListCase {
    async fn run(self) {
        let sim = paged_cloud(23).await;
        // Objects that are missing from the lists are kept for longer than the test.
        let daemon = Daemon::start(&sim, &[("STALE_AFTER", "5m")]).await;
        daemon
            .until("everything is known", |p| object_counts(p) == (25, 25) && p.instance_up(A) == Some(1.0))
            .await;
        sim.faults(|f| lists_of_a(&self.effect).into_iter().for_each(|fault| f.add(fault)));
        sim.with_world(|w| {
            // Delete the last rows, so that no row moves to another page of the list.
            w.delete_topic(A, "t22").unwrap();
            w.delete_group(A, "g22").unwrap();
            write_more(w);
        });
        if self.is_complete {
            daemon
                .until("the deletions are visible anyway", |p| {
                    !p.has_topic(A, "t22") && !p.has_group(A, "g22") && p.instance_up(A) == Some(1.0)
                })
                .await;
        } else {
            // Detail calls reveal the deletions; the lists are not accepted.
            let scrape = daemon.until("the list is rejected", |p| p.instance_up(A) == Some(0.0)).await;
            assert!(scrape.anomalies("paging") > 0.0, "{}", self.name);
        }
        let scrape = daemon
            .until("no existing object is lost", |p| {
                p.lag(A, "billing") == Some(LAG_AFTER) && all_lag_by(p, LAG_AFTER)
            })
            .await;
        for n in 0..22 {
            assert!(scrape.has_topic(A, &format!("t{n:02}")), "{}: t{n:02}", self.name);
            assert!(scrape.has_group(A, &format!("g{n:02}")), "{}: g{n:02}", self.name);
        }
        let before = requested_pages(&sim, "GetTopicList").len();
        let later = |sim: &Simulator| {
            let requested = requested_pages(sim, "GetTopicList");
            requested[before..].iter().copied().skip_while(|number| *number != 1).collect::<Vec<_>>()
        };
        daemon
            .until("two more lists", |_| later(&sim).iter().filter(|number| **number == 1).count() > 2)
            .await;
        let most = later(&sim).into_iter().max().unwrap_or(0);
        assert!(most <= self.max_calls, "{}: {most} calls", self.name);
        assert_eq!(scrape.instance_up(B), Some(1.0));
        sim.faults(Faults::clear);
        daemon.until("recovered", |p| object_counts(p) == (24, 24) && p.instance_up(A) == Some(1.0)).await;
        assert_eq!(daemon.failures().len(), 0, "an inconsistent list is not a failed call");
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inconsistent_list_loses_nothing_and_costs_few_calls() {
    let mut running = tokio::task::JoinSet::new();
    for case in inconsistent_list_cases() {
        running.spawn(case.run());
    }
    running.join_all().await;
}

#[tokio::test]
async fn a_failed_page_discards_the_list_and_deletes_nothing() {
    let sim = paged_cloud(23).await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon
        .until("everything is known", |p| object_counts(p) == (25, 25) && p.instance_up(A) == Some(1.0))
        .await;
    // The first page succeeds and the second page fails: calls alternate because nothing is retried.
    let failing = |action: &str| {
        let even = alikafka_simulator::Occurrence::Every(2);
        Fault::new(error(400, "BIZ_NEW", "rejected")).action(action).instance(A).occurrence(even)
    };
    sim.faults(|f| {
        f.add(failing("GetTopicList"));
        f.add(failing("GetConsumerList"));
    });
    sim.with_world(|w| {
        add_group(w, A, "a-new", "orders");
        write_more(w);
    });
    let rejected =
        |p: &Scrape| p.api_calls("GetTopicList", "business") + p.api_calls("GetConsumerList", "business");
    let scrape = daemon
        .until("the lists have failed, and detail calls continue", |p| {
            rejected(p) >= 4.0 && all_lag_by(p, LAG_AFTER)
        })
        .await;
    assert_eq!(object_counts(&scrape), (25, 25), "no object is lost or added");
    assert_eq!(scrape.instance_up(A), Some(0.0));
    sim.faults(Faults::clear);
    daemon
        .until("the lists are followed", |p| object_counts(p) == (25, 26) && p.instance_up(A) == Some(1.0))
        .await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_repeated_item_is_one_series() {
    let sim = cloud().await;
    // The parser of the tests rejects repeated series.
    sim.faults(|f| f.add(Fault::new(Effect::DuplicateItem)));
    let daemon = Daemon::start(&sim, &[]).await;
    let scrape = daemon.until_known().await;
    assert!(scrape.anomalies("duplicate") > 0.0);
    assert_eq!(object_counts(&scrape), (2, 2));
    assert_eq!(daemon.failures().len(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn rows_of_another_instance_are_rejected() {
    let sim = cloud().await;
    for fault in lists_of_a(&Effect::ForeignItems) {
        sim.faults(|f| f.add(fault));
    }
    let daemon = Daemon::start(&sim, &[]).await;
    let scrape = daemon
        .until("the other one is known, and this one is down", |p| {
            p.lag(B, "shipping") == Some(LAG_BEFORE) && p.instance_up(A) == Some(0.0)
        })
        .await;
    assert_eq!(object_counts(&scrape), (0, 0));
    assert!(scrape.anomalies("contradiction") > 0.0);
    assert!(!scrape.text.contains("foreign"));
    daemon.stop().await;
}
