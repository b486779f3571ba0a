//! The catalog keeps the naming rules of Prometheus. The pages that are made of it are in `docs`.

use std::collections::BTreeSet;

use alikafka_exporter::exposition::catalog::{self, FAMILIES, MetricSource, MetricType, MetricUnit};

#[test]
fn names_units_and_labels_keep_the_rules_of_prometheus() {
    let mut names = BTreeSet::new();
    for f in FAMILIES {
        let name = f.name;
        assert!(names.insert(name), "{name} is there once");
        assert_eq!(catalog::family(f.id), &f, "{name} is found by its id");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name} is snake case");
        let prefix = if f.source == MetricSource::Process { "process_" } else { "alikafka_" };
        assert!(name.starts_with(prefix), "{name} has the prefix");
        assert_eq!(name.ends_with("_total"), f.kind == MetricType::Counter, "{name}: _total is for counters");
        for reserved in ["_count", "_sum", "_bucket", "_created"] {
            assert!(!name.ends_with(reserved), "{name}: {reserved} is reserved");
        }
        let stem = name.strip_suffix("_total").unwrap_or(name);
        for unit in [
            MetricUnit::Offset,
            MetricUnit::Messages,
            MetricUnit::MessagesPerSecond,
            MetricUnit::Seconds,
            MetricUnit::Bytes,
            MetricUnit::RequestsPerSecond,
        ] {
            let suffix = unit.suffix().unwrap();
            assert_eq!(stem.ends_with(suffix), f.unit == unit, "{name}: {suffix} says the unit");
        }
        assert_eq!(name.contains("_timestamp_"), name.ends_with("_timestamp_seconds"), "{name}");
        assert!(f.help.ends_with('.') && !f.help.contains(['\n', '\t', '\\']), "{name}: help is sentences");
        assert_eq!(
            f.help_text().contains("age: alikafka_"),
            is_polled(f.source),
            "{name}: help tells the age"
        );
        let labels: BTreeSet<_> = f.labels.iter().collect();
        assert_eq!(labels.len(), f.labels.len(), "{name}: a label is there once");
        for label in f.labels {
            let plain = label.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert!(plain && !label.starts_with("__"), "{name}: label {label}");
            assert!(
                !["le", "quantile", "job", "instance", "account"].contains(label),
                "{name}: label {label}"
            );
            assert!(!catalog::is_free_label(label), "{label} is taken");
        }
        if f.source != MetricSource::Exporter && f.source != MetricSource::Process {
            assert_eq!(f.labels[..2], ["region", "instance_id"], "{name} is of an instance");
        }
        assert!(!f.labels.contains(&"partition") || f.labels.contains(&"topic"), "{name}");
        assert_eq!(
            f.is_per_partition(),
            name.contains("_partition_"),
            "{name} says that it is per partition"
        );
    }
}

fn is_polled(source: MetricSource) -> bool {
    !matches!(source, MetricSource::Exporter | MetricSource::Process)
}

#[test]
fn names_of_kafka_exporter_are_those_its_users_have() {
    let theirs: Vec<_> = FAMILIES
        .iter()
        .filter_map(|f| f.kafka_exporter.map(|k| (f.name, k.name, k.labels.get(2..).unwrap_or(k.labels))))
        .collect();
    let expected: [(&str, &str, &[&str]); 7] = [
        ("alikafka_topic_partitions", "kafka_topic_partitions", &["topic"]),
        (
            "alikafka_topic_partition_start_offset",
            "kafka_topic_partition_oldest_offset",
            &["topic", "partition"],
        ),
        (
            "alikafka_topic_partition_end_offset",
            "kafka_topic_partition_current_offset",
            &["topic", "partition"],
        ),
        (
            "alikafka_group_partition_offset",
            "kafka_consumergroup_current_offset",
            &["consumergroup", "topic", "partition"],
        ),
        (
            "alikafka_group_partition_lag_messages",
            "kafka_consumergroup_lag",
            &["consumergroup", "topic", "partition"],
        ),
        ("alikafka_group_topic_lag_messages", "kafka_consumergroup_lag_sum", &["consumergroup", "topic"]),
        ("alikafka_exporter_build_info", "kafka_exporter_build_info", &["rustversion"]),
    ];
    assert_eq!(theirs, expected);
}
