//! Names, units and labels: misleading ones.

use std::collections::BTreeSet;

use alikafka_exporter::{
    exposition::catalog::{FAMILIES, MetricType},
    model::{GroupState, Naming},
};

use super::harness::*;

/// klag-exporter: gauges with names of counters, so `rate()` of them is meaningless.
#[test]
fn no_gauge_has_the_suffix_of_a_counter() {
    for f in FAMILIES {
        assert_eq!(f.kind == MetricType::Counter, f.name.ends_with("_total"), "{}", f.name);
        if let Some(theirs) = &f.kafka_exporter {
            assert!(f.kind == MetricType::Counter || !theirs.name.ends_with("_total"), "{}", theirs.name);
        }
    }
    let scrape = std::fs::read_to_string(format!("{}/tests/golden/fleet.prom", env!("CARGO_MANIFEST_DIR")));
    let scrape = scrape.unwrap();
    let gauges = scrape.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.strip_suffix(" gauge"));
    assert!(gauges.clone().count() > 20);
    assert!(gauges.clone().all(|name| !name.ends_with("_total")), "{:?}", gauges.collect::<Vec<_>>());
}

/// kafka-lag-exporter, klag-exporter, k3a-lag-exporter: names in milliseconds; klag, klag-exporter: percent.
#[test]
fn names_have_base_units() {
    for f in FAMILIES {
        let words: BTreeSet<&str> = f.name.split('_').collect();
        for word in ["ms", "millis", "milliseconds", "minutes", "hours", "percent", "pct", "kb", "mb", "gb"] {
            assert!(!words.contains(word), "{} is in {word}", f.name);
        }
    }
    assert_eq!(Naming::default(), Naming::Native);
}

/// klag: rates and ratios are multiplied by 100 to be integers.
#[test]
fn no_value_is_scaled() {
    let mut harness = RegionHarness::new();
    // One message per second is produced, half of them are consumed.
    for poll in 0..12_i64 {
        harness.group(&[offsets(poll * 30, 1 + poll * 60).consumed_at(poll * 30)]).wait(POLL);
    }
    let scrape = harness.scrape();
    let of = |name: &str| scrape.value(name, &[("group", "g"), ("topic", "t")]);
    assert_eq!(of("alikafka_group_topic_lag_messages"), Some(331.0));
    assert_eq!(of("alikafka_group_topic_consumed_messages_per_second"), Some(0.5));
    assert_eq!(of("alikafka_group_topic_produced_messages_per_second"), Some(1.0));
    // The last consumed message is from second 330, the last response from second 660.
    assert_eq!(of("alikafka_group_topic_lag_seconds").map(f64::round), Some(330.0));
}

/// klag-exporter: labels such as `data_loss_detected="true"` on the lag itself. If they change, the series
/// ends and another begins, which resets alerts and rates.
#[test]
fn lag_series_keep_their_labels() {
    let name = "alikafka_group_partition_lag_messages";
    let lag_series = |harness: &mut RegionHarness| -> Vec<String> {
        let all = harness.scrape().cloud_series(&[("group", "g")]);
        all.into_iter().filter(|s| s.starts_with(&format!("{name}{{"))).collect()
    };
    let mut harness = RegionHarness::new();
    harness.topic(&[(0, 100, Some(0))]).group(&[offsets(90, 100)]);
    let initial = lag_series(&mut harness);
    assert_eq!(initial.len(), 1);
    let changes: [fn(&mut RegionHarness) -> &mut RegionHarness; 5] = [
        |harness| harness.state(GroupState::Empty).group(&[offsets(90, 200)]),
        |harness| harness.topic(&[(150, 300, Some(0))]).group(&[offsets(90, 300)]),
        |harness| harness.state(GroupState::Stable).group(&[offsets(40, 300)]),
        |harness| harness.group(&[offsets(900, 300)]),
        |harness| harness.topic(&[(0, 5, Some(0))]).group(&[offsets(900, 5)]),
    ];
    for (i, change) in changes.iter().enumerate() {
        change(harness.wait(POLL));
        assert_eq!(lag_series(&mut harness), initial, "after change {i}");
        let text = harness.scrape();
        assert!(!text.text.contains("=\"true\"") && !text.text.contains("=\"false\""));
    }
}
