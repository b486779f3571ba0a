//! Names, units and labels that mislead.

use std::collections::BTreeSet;

use alikafka_exporter::{
    exposition::catalog::{FAMILIES, MetricType},
    model::{GroupState, Naming},
};

use super::stand::*;

/// klag-exporter: gauges whose names end as those of counters, so that `rate()` of them is nonsense.
#[test]
fn no_gauge_ends_as_a_counter_does() {
    for f in FAMILIES {
        assert_eq!(f.kind == MetricType::Counter, f.name.ends_with("_total"), "{}", f.name);
        if let Some(theirs) = &f.kafka_exporter {
            assert!(f.kind == MetricType::Counter || !theirs.name.ends_with("_total"), "{}", theirs.name);
        }
    }
    let page = std::fs::read_to_string(format!("{}/tests/golden/fleet.prom", env!("CARGO_MANIFEST_DIR")));
    let page = page.unwrap();
    let gauges = page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.strip_suffix(" gauge"));
    assert!(gauges.clone().count() > 20);
    assert!(gauges.clone().all(|name| !name.ends_with("_total")), "{:?}", gauges.collect::<Vec<_>>());
}

/// kafka-lag-exporter, klag-exporter, k3a-lag-exporter: names in milliseconds; klag, klag-exporter: percent.
#[test]
fn no_name_is_of_another_unit_than_the_base_one() {
    for f in FAMILIES {
        let words: BTreeSet<&str> = f.name.split('_').collect();
        for word in ["ms", "millis", "milliseconds", "minutes", "hours", "percent", "pct", "kb", "mb", "gb"] {
            assert!(!words.contains(word), "{} is in {word}", f.name);
        }
    }
    assert_eq!(Naming::default(), Naming::Native);
}

/// klag: velocities and shares are multiplied by 100 to be whole numbers.
#[test]
fn no_value_is_scaled() {
    let mut stand = Stand::new();
    // A message a second is written, half of that read.
    for poll in 0..12_i64 {
        stand.group(&[row(poll * 30, 1 + poll * 60).read(poll * 30)]).wait(POLL);
    }
    let page = stand.page();
    let of = |name: &str| page.value(name, &[("group", "g"), ("topic", "t")]);
    assert_eq!(of("alikafka_group_topic_lag_messages"), Some(331.0));
    assert_eq!(of("alikafka_group_topic_consumed_messages_per_second"), Some(0.5));
    assert_eq!(of("alikafka_group_topic_produced_messages_per_second"), Some(1.0));
    // The message that was read last is that of second 330, and the last answer of second 660.
    assert_eq!(of("alikafka_group_topic_lag_seconds").map(f64::round), Some(330.0));
}

/// klag-exporter: labels such as `data_loss_detected="true"` on the lag itself. When they turn, the series ends,
/// another begins, and alerts and rates start anew.
#[test]
fn a_series_of_lag_is_the_same_whatever_becomes_of_the_group() {
    let name = "alikafka_group_partition_lag_messages";
    let lag_series = |stand: &mut Stand| -> Vec<String> {
        let all = stand.page().cloud_series(&[("group", "g")]);
        all.into_iter().filter(|s| s.starts_with(&format!("{name}{{"))).collect()
    };
    let mut stand = Stand::new();
    stand.topic(&[(0, 100, Some(0))]).group(&[row(90, 100)]);
    let at_first = lag_series(&mut stand);
    assert_eq!(at_first.len(), 1);
    let troubles: [fn(&mut Stand) -> &mut Stand; 5] = [
        |stand| stand.state(GroupState::Empty).group(&[row(90, 200)]),
        |stand| stand.topic(&[(150, 300, Some(0))]).group(&[row(90, 300)]),
        |stand| stand.state(GroupState::Stable).group(&[row(40, 300)]),
        |stand| stand.group(&[row(900, 300)]),
        |stand| stand.topic(&[(0, 5, Some(0))]).group(&[row(900, 5)]),
    ];
    for (i, trouble) in troubles.iter().enumerate() {
        trouble(stand.wait(POLL));
        assert_eq!(lag_series(&mut stand), at_first, "after trouble {i}");
        let text = stand.page();
        assert!(!text.text.contains("=\"true\"") && !text.text.contains("=\"false\""));
    }
}
