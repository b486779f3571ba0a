//! Unusual values and changes: the exporter exposes no wrong value, only absent ones.

use alikafka_simulator::{Faults, ListShape, WrongType};

use super::*;

/// Committed offset of a partition.
fn committed(scrape: &Scrape, group: &str, partition: &str) -> Option<f64> {
    let labels = [("instance_id", A), ("group", group), ("partition", partition)];
    scrape.value("alikafka_group_partition_offset", &labels)
}

/// A wrong type in the first partition of each response, and its effect.
struct WrongTypeCase {
    how: WrongType,
    /// Whether the partition is still read.
    is_read: bool,
    anomaly: Option<&'static str>,
}

fn wrong_type_cases() -> [WrongTypeCase; 7] {
    let row = |how, is_read, anomaly| WrongTypeCase { how, is_read, anomaly };
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

impl WrongTypeCase {
    async fn run(self) {
        let sim = cloud().await;
        let daemon = Daemon::start(&sim, &[]).await;
        daemon.until_known().await;
        sim.faults(|f| {
            f.add(on_group("billing", Effect::WrongType(self.how)));
            let of_orders = Fault::new(Effect::WrongType(self.how)).action("GetTopicStatus");
            f.add(of_orders.instance(A).object("orders"));
        });
        sim.with_world(write_more);
        let first = |old: f64| self.is_read.then_some(old);
        let scrape = daemon
            .until("the rest is fresh", |p| {
                p.partition_lag(A, "billing", "1") == Some(13.0)
                    // The status is polled less often, because groups report end offsets too.
                    && p.end_offset(A, "orders", "0") == first(14.0)
                    && p.end_offset(A, "orders", "1") == Some(13.0)
                    && p.lag(A, "shipping") == Some(LAG_AFTER)
                    && p.lag(B, "billing") == Some(LAG_AFTER)
            })
            .await;
        assert_eq!(scrape.partition_lag(A, "billing", "0"), first(14.0), "{:?}", self.how);
        assert_eq!(committed(&scrape, "billing", "0"), first(0.0), "{:?}", self.how);
        assert_eq!(
            scrape.lag(A, "billing"),
            Some(if self.is_read { LAG_AFTER } else { 13.0 }),
            "{:?}",
            self.how
        );
        for kind in ["type", "range", "negative", "duplicate", "contradiction"] {
            assert_eq!(scrape.anomalies(kind) > 0.0, self.anomaly == Some(kind), "{:?}: {kind}", self.how);
        }
        assert_eq!(scrape.instance_up(A), Some(1.0), "a bad item does not fail the response");
        assert_eq!(daemon.failures().len(), 0);
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn convertible_types_are_read_and_others_cost_only_their_item() {
    let mut running = tokio::task::JoinSet::new();
    for row in wrong_type_cases() {
        running.spawn(row.run());
    }
    running.join_all().await;
}

/// Whether a series depends on a single poll only.
fn is_of_one_poll(series: &str) -> bool {
    let from_many = ["_per_second{", "_catch_up_seconds{", "_eta_seconds{", "_status{", "_lag_seconds{"];
    !from_many.iter().any(|name| series.contains(name))
}

#[tokio::test]
async fn list_shapes_and_unknown_fields_make_no_difference() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    let same = |p: &Scrape| all_lag_by(p, LAG_BEFORE) && p.end_offset(A, "orders", "0") == Some(10.0);
    let before = daemon.until("everything is known", |p| same(p) && p.instance_up(A) == Some(1.0)).await;
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
        let before = ok(&daemon.scrape().await);
        let scrape = daemon.until("two more discoveries", |p| ok(p) >= before + 2.0).await;
        assert_eq!(of_one_poll(&scrape), series, "{shape:?}");
        assert!(same(&scrape), "{shape:?}");
    }
    let scrape = daemon.scrape().await;
    assert_eq!(scrape.sum("alikafka_exporter_anomalies_total", &[]), 0.0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_committed_offset_past_the_end_is_zero_lag() {
    let sim = cloud().await;
    sim.with_world(|w| w.set_committed(A, "billing", "orders", 0, OffsetSpec::At(1_000_000)).unwrap());
    let daemon = Daemon::start(&sim, &[]).await;
    let scrape = daemon.until("everything is known", |p| p.lag(A, "billing").is_some()).await;
    assert_eq!(scrape.partition_lag(A, "billing", "0"), Some(0.0));
    assert_eq!(committed(&scrape, "billing", "0"), Some(1_000_000.0));
    assert_eq!(scrape.lag(A, "billing"), Some(7.0));
    assert!(scrape.anomalies("clamped") >= 1.0);
    daemon.stop().await;
}

#[tokio::test]
async fn partitions_without_committed_offset_have_no_lag() {
    let sim = cloud().await;
    sim.with_world(|w| {
        w.set_committed(A, "billing", "orders", 0, OffsetSpec::Uncommitted).unwrap();
        w.set_committed(A, "shipping", "audit", 0, OffsetSpec::Uncommitted).unwrap();
        w.set_committed(A, "shipping", "audit", 1, OffsetSpec::Uncommitted).unwrap();
    });
    let daemon = Daemon::start(&sim, &[]).await;
    let scrape = daemon.until("everything is known", |p| p.instance_up(A) == Some(1.0)).await;
    assert_eq!(scrape.partition_lag(A, "billing", "0"), None);
    assert_eq!(committed(&scrape, "billing", "0"), None);
    assert_eq!(scrape.lag(A, "billing"), Some(7.0));
    assert_eq!(scrape.lag(A, "shipping"), None, "unknown, not 0");
    assert!(scrape.has_group(A, "shipping"));
    assert!(!scrape.text.lines().any(|l| l.starts_with("alikafka_group") && l.ends_with(" -1")));
    daemon.stop().await;
}

#[tokio::test]
async fn added_partitions_and_a_recreated_topic_are_followed() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until_known().await;
    sim.with_world(|w| {
        w.add_partitions(A, "orders", 3).unwrap();
        w.append(A, "orders", 4, 9).unwrap();
        w.set_committed(A, "billing", "orders", 4, OffsetSpec::Start).unwrap();
    });
    daemon
        .until("the new partitions", |p| {
            p.end_offset(A, "orders", "4") == Some(9.0) && p.lag(A, "billing") == Some(LAG_BEFORE + 9.0)
        })
        .await;
    // Recreated with the committed offsets kept: these are past the end, and the end offsets went backwards.
    sim.with_world(|w| {
        w.set_committed(A, "billing", "orders", 0, OffsetSpec::At(8)).unwrap();
    });
    daemon.until("the group has consumed", |p| committed(p, "billing", "0") == Some(8.0)).await;
    sim.with_world(|w| {
        w.recreate_topic(A, "orders", true).unwrap();
        w.append(A, "orders", 0, 3).unwrap();
    });
    let scrape = daemon
        .until("the new offsets at once", |p| {
            p.end_offset(A, "orders", "0") == Some(3.0) && p.partition_lag(A, "billing", "0") == Some(0.0)
        })
        .await;
    assert!(scrape.anomalies("rewind") >= 1.0);
    let is_rewind = |l: &serde_json::Value| l["kind"] == "rewind" && l["level"] == "warn";
    daemon.until_logged("the rewind", |lines| lines.iter().any(is_rewind)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_renamed_instance_changes_only_its_info() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    let before = daemon
        .until("everything is known", |p| {
            let topics =
                p.count("alikafka_topic_messages", &[]) == 4 && p.count("alikafka_topic_groups", &[]) == 4;
            all_lag_by(p, LAG_BEFORE) && topics && [A, B].iter().all(|i| p.instance_up(i) == Some(1.0))
        })
        .await;
    let others = |p: &Scrape| {
        let mut series = p.cloud_series(&[]);
        series.retain(|s| !s.starts_with("alikafka_instance_info{") && is_of_one_poll(s));
        series
    };
    let series = others(&before);
    sim.with_world(|w| w.rename_instance(A, "新 \"name\"\\\n").unwrap());
    let renamed = [("instance_id", A), ("name", "新 \"name\"\\\n")];
    daemon
        .until("the new name", |p| {
            assert_eq!(others(p), series, "other series do not change");
            p.count("alikafka_instance_info", &renamed) == 1
        })
        .await;
    let is_renamed = |l: &serde_json::Value| l["msg"] == "instance renamed" && l["instance_id"] == A;
    daemon.until_logged("the new name", |lines| lines.iter().any(is_renamed)).await;
    let scrape = daemon
        .until("one info series", |p| p.count("alikafka_instance_info", &[("instance_id", A)]) == 1)
        .await;
    assert_eq!(others(&scrape), series);
    daemon.stop().await;
}

#[tokio::test]
async fn an_unreadable_instance_state_does_not_stop_polling() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until_known().await;
    sim.faults(|f| f.add(Fault::new(Effect::WrongTypes(WrongType::Null)).action("GetInstanceList")));
    sim.with_world(write_more);
    let state = |p: &Scrape| p.count("alikafka_instance_state", &[("instance_id", A)]);
    let scrape = daemon.until("the state is absent", |p| state(p) == 0 && all_lag_by(p, LAG_AFTER)).await;
    assert_eq!(scrape.count("alikafka_instance_groups", &[("instance_id", A)]), 0, "unknown is absent");
    sim.faults(Faults::clear);
    daemon.until("the state is back", |p| state(p) > 0).await;
    daemon.stop().await;
}
