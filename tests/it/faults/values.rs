//! Values that are odd or move as values should not: never a wrong number, only absent ones.

use alikafka_simulator::{Faults, ListShape, WrongType};

use super::*;

/// The value of a partition's committed offset.
fn committed(page: &Scrape, group: &str, partition: &str) -> Option<f64> {
    let labels = [("instance_id", A), ("group", group), ("partition", partition)];
    page.value("alikafka_group_partition_offset", &labels)
}

/// A kind of wrong type in the first row of each answer of offsets, and what it costs.
struct Bent {
    how: WrongType,
    /// The first partition is still read.
    is_read: bool,
    anomaly: Option<&'static str>,
}

fn bent() -> [Bent; 7] {
    let row = |how, is_read, anomaly| Bent { how, is_read, anomaly };
    [
        row(WrongType::NumbersAsStrings, true, None),
        row(WrongType::Floats, true, None),
        row(WrongType::BoolsAsStrings, true, None),
        row(WrongType::Null, false, Some("type")),
        row(WrongType::Empty, false, Some("type")),
        row(WrongType::TooBig, false, Some("range")),
        row(WrongType::Text, false, Some("type")),
    ]
}

impl Bent {
    async fn holds(self) {
        let sim = cloud().await;
        let daemon = Daemon::start(&sim, &[]).await;
        daemon
            .until("all known", |p| all_lag_by(p, BEFORE) && p.end_offset(A, "orders", "0") == Some(10.0))
            .await;
        sim.faults(|f| {
            f.add(on_group("billing", Effect::WrongType(self.how)));
            let of_orders = Fault::new(Effect::WrongType(self.how)).action("GetTopicStatus");
            f.add(of_orders.instance(A).object("orders"));
        });
        sim.world(write_more);
        let first = |old: f64| self.is_read.then_some(old);
        let page = daemon
            .until("the rest is fresh", |p| {
                p.partition_lag(A, "billing", "1") == Some(13.0)
                    // The status is asked for less often, as groups tell end offsets too.
                    && p.end_offset(A, "orders", "0") == first(14.0)
                    && p.end_offset(A, "orders", "1") == Some(13.0)
                    && p.lag(A, "shipping") == Some(AFTER)
                    && p.lag(B, "billing") == Some(AFTER)
            })
            .await;
        assert_eq!(page.partition_lag(A, "billing", "0"), first(14.0), "{:?}", self.how);
        assert_eq!(committed(&page, "billing", "0"), first(0.0), "{:?}", self.how);
        assert_eq!(page.lag(A, "billing"), Some(if self.is_read { AFTER } else { 13.0 }), "{:?}", self.how);
        for kind in ["type", "range", "negative", "duplicate", "contradiction"] {
            assert_eq!(page.anomalies(kind) > 0.0, self.anomaly == Some(kind), "{:?}: {kind}", self.how);
        }
        assert_eq!(page.instance_up(A), Some(1.0), "an answer with a bad item is an answer");
        assert_eq!(daemon.failures().len(), 0);
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_type_that_can_be_read_is_read_and_any_other_costs_its_item_alone() {
    let mut running = tokio::task::JoinSet::new();
    for row in bent() {
        running.spawn(row.holds());
    }
    running.join_all().await;
}

/// What is said from several polls comes with them.
fn is_of_one_poll(series: &str) -> bool {
    let from_many = ["_per_second{", "_catch_up_seconds{", "_eta_seconds{", "_status{", "_lag_seconds{"];
    !from_many.iter().any(|name| series.contains(name))
}

#[tokio::test]
async fn the_shapes_of_lists_and_unknown_fields_make_no_difference() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    let same = |p: &Scrape| all_lag_by(p, BEFORE) && p.end_offset(A, "orders", "0") == Some(10.0);
    let before = daemon.until("all known", |p| same(p) && p.instance_up(A) == Some(1.0)).await;
    let of_one_poll = |p: &Scrape| {
        let mut series = p.cloud_series(&[]);
        series.retain(|s| is_of_one_poll(s));
        series
    };
    let series = of_one_poll(&before);
    for shape in [ListShape::Flat, ListShape::FlatEverywhere, ListShape::Wrapped] {
        sim.behaviour(|b| (b.list_shape, b.status_strings) = (shape, shape == ListShape::Flat));
        if shape == ListShape::Wrapped {
            sim.faults(|f| f.add(Fault::new(Effect::UnknownFields)));
        }
        let ok = |p: &Scrape| p.api_calls("GetInstanceList", "ok");
        let then = ok(&daemon.scrape().await);
        let page = daemon.until("two more discoveries", |p| ok(p) >= then + 2.0).await;
        assert_eq!(of_one_poll(&page), series, "{shape:?}");
        assert!(same(&page), "{shape:?}");
    }
    let page = daemon.scrape().await;
    assert_eq!(page.sum("alikafka_exporter_anomalies_total", &[]), 0.0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_committed_offset_beyond_the_end_is_no_lag() {
    let sim = cloud().await;
    sim.world(|w| w.set_committed(A, "billing", "orders", 0, OffsetSpec::At(1_000_000)).unwrap());
    let daemon = Daemon::start(&sim, &[]).await;
    let page = daemon.until("all known", |p| p.lag(A, "billing").is_some()).await;
    assert_eq!(page.partition_lag(A, "billing", "0"), Some(0.0));
    assert_eq!(committed(&page, "billing", "0"), Some(1_000_000.0));
    assert_eq!(page.lag(A, "billing"), Some(7.0));
    assert!(page.anomalies("clamped") >= 1.0);
    daemon.stop().await;
}

#[tokio::test]
async fn where_nothing_is_committed_there_is_no_lag_series() {
    let sim = cloud().await;
    sim.world(|w| {
        w.set_committed(A, "billing", "orders", 0, OffsetSpec::Uncommitted).unwrap();
        w.set_committed(A, "shipping", "audit", 0, OffsetSpec::Uncommitted).unwrap();
        w.set_committed(A, "shipping", "audit", 1, OffsetSpec::Uncommitted).unwrap();
    });
    let daemon = Daemon::start(&sim, &[]).await;
    let page = daemon.until("all known", |p| p.instance_up(A) == Some(1.0)).await;
    assert_eq!(page.partition_lag(A, "billing", "0"), None);
    assert_eq!(committed(&page, "billing", "0"), None);
    assert_eq!(page.lag(A, "billing"), Some(7.0));
    assert_eq!(page.lag(A, "shipping"), None, "unknown, not 0");
    assert!(page.has_group(A, "shipping"));
    assert!(!page.text.lines().any(|l| l.starts_with("alikafka_group") && l.ends_with(" -1")));
    daemon.stop().await;
}

#[tokio::test]
async fn an_offset_beyond_two_to_the_53_has_an_exact_lag() {
    let sim = cloud().await;
    let large = (1 << 53) + 1;
    sim.world(|w| {
        w.add_topic(A, TopicSpec { base_offset: large - 1, ..TopicSpec::new("large", 1) }).unwrap();
        w.append(A, "large", 0, 2).unwrap();
        add_group(w, A, "far", "large");
        w.set_committed(A, "far", "large", 0, OffsetSpec::At(large)).unwrap();
    });
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until("the exact lag", |p| p.lag(A, "far") == Some(1.0)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn partitions_are_added_and_a_topic_is_made_anew() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon
        .until("all known", |p| all_lag_by(p, BEFORE) && p.end_offset(A, "orders", "0") == Some(10.0))
        .await;
    sim.world(|w| {
        w.add_partitions(A, "orders", 3).unwrap();
        w.append(A, "orders", 4, 9).unwrap();
        w.set_committed(A, "billing", "orders", 4, OffsetSpec::Start).unwrap();
    });
    daemon
        .until("the new partitions are there", |p| {
            p.end_offset(A, "orders", "4") == Some(9.0) && p.lag(A, "billing") == Some(BEFORE + 9.0)
        })
        .await;
    // Made anew with what was committed left in place: beyond the end, and the ends went backwards.
    sim.world(|w| {
        w.set_committed(A, "billing", "orders", 0, OffsetSpec::At(8)).unwrap();
    });
    daemon.until("the group has read", |p| committed(p, "billing", "0") == Some(8.0)).await;
    sim.world(|w| {
        w.recreate_topic(A, "orders", true).unwrap();
        w.append(A, "orders", 0, 3).unwrap();
    });
    let page = daemon
        .until("the new offsets at once", |p| {
            p.end_offset(A, "orders", "0") == Some(3.0) && p.partition_lag(A, "billing", "0") == Some(0.0)
        })
        .await;
    assert!(page.anomalies("rewind") >= 1.0);
    let odd = |l: &serde_json::Value| l["kind"] == "rewind" && l["level"] == "warn";
    daemon.until_logged("what went backwards", |lines| lines.iter().any(odd)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_renamed_instance_changes_its_info_alone() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    let before = daemon
        .until("all known", |p| {
            let topics =
                p.count("alikafka_topic_messages", &[]) == 4 && p.count("alikafka_topic_groups", &[]) == 4;
            all_lag_by(p, BEFORE) && topics && [A, B].iter().all(|i| p.instance_up(i) == Some(1.0))
        })
        .await;
    let others = |p: &Scrape| {
        let mut series = p.cloud_series(&[]);
        series.retain(|s| !s.starts_with("alikafka_instance_info{") && is_of_one_poll(s));
        series
    };
    let series = others(&before);
    sim.world(|w| w.rename_instance(A, "新 \"name\"\\\n").unwrap());
    let renamed = [("instance_id", A), ("name", "新 \"name\"\\\n")];
    daemon
        .until("the new name", |p| {
            assert_eq!(others(p), series, "no other series comes or goes");
            p.count("alikafka_instance_info", &renamed) == 1
        })
        .await;
    let said = |l: &serde_json::Value| l["msg"] == "instance renamed" && l["instance_id"] == A;
    daemon.until_logged("the new name", |lines| lines.iter().any(said)).await;
    let page =
        daemon.until("one info", |p| p.count("alikafka_instance_info", &[("instance_id", A)]) == 1).await;
    assert_eq!(others(&page), series);
    daemon.stop().await;
}

#[tokio::test]
async fn a_state_of_an_instance_that_cannot_be_read_is_no_reason_to_go_blind() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until("all known", |p| all_lag_by(p, BEFORE) && p.instance_up(A) == Some(1.0)).await;
    sim.faults(|f| f.add(Fault::new(Effect::WrongTypes(WrongType::Null)).action("GetInstanceList")));
    sim.world(write_more);
    let state = |p: &Scrape| p.count("alikafka_instance_state", &[("instance_id", A)]);
    let page = daemon.until("no state is told", |p| state(p) == 0 && all_lag_by(p, AFTER)).await;
    assert_eq!(page.count("alikafka_instance_groups", &[("instance_id", A)]), 0, "unknown is absent");
    sim.faults(Faults::clear);
    daemon.until("told again", |p| state(p) > 0).await;
    daemon.stop().await;
}
