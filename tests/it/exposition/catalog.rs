//! The catalog follows the naming rules of Prometheus. The documents generated from it are tested in `docs`.

use std::collections::BTreeSet;

use alikafka_exporter::exposition::catalog::{self, FAMILIES, MetricSource, MetricType, MetricUnit};
use regex::Regex;

#[test]
fn names_units_and_labels_follow_the_rules_of_prometheus() {
    let mut names = BTreeSet::new();
    for f in FAMILIES {
        let name = f.name;
        assert!(names.insert(name), "{name} is declared once");
        assert_eq!(catalog::family(f.id), &f, "{name} is found by its id");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name} is snake case");
        let prefix = if f.source == MetricSource::Process { "process_" } else { "alikafka_" };
        assert!(name.starts_with(prefix), "{name} has the prefix");
        assert_eq!(name.ends_with("_total"), f.kind == MetricType::Counter, "{name}: _total is for counters");
        for reserved in ["_count", "_sum", "_bucket", "_created"] {
            assert!(!name.ends_with(reserved), "{name}: {reserved} is reserved");
        }
        let stem = name.strip_suffix("_total").unwrap_or(name);
        for (unit, suffix) in [
            (MetricUnit::Offset, "_offset"),
            (MetricUnit::Messages, "_messages"),
            (MetricUnit::MessagesPerSecond, "_messages_per_second"),
            (MetricUnit::Seconds, "_seconds"),
            (MetricUnit::Bytes, "_bytes"),
            (MetricUnit::RequestsPerSecond, "_requests_per_second"),
        ] {
            assert_eq!(stem.ends_with(suffix), f.unit == unit, "{name}: {suffix} is the unit");
        }
        assert_eq!(name.contains("_timestamp_"), name.ends_with("_timestamp_seconds"), "{name}");
        let labels: BTreeSet<_> = f.labels.iter().collect();
        assert_eq!(labels.len(), f.labels.len(), "{name}: labels are unique");
        for label in f.labels {
            let plain = label.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert!(plain && !label.starts_with("__"), "{name}: label {label}");
            assert!(
                !["le", "quantile", "job", "instance", "account"].contains(label),
                "{name}: label {label}"
            );
            assert!(!catalog::is_allowed_constant_label(label), "{label} is reserved");
        }
        if f.source != MetricSource::Exporter && f.source != MetricSource::Process {
            assert_eq!(f.labels[..2], ["region", "instance_id"], "{name} belongs to an instance");
        }
        assert!(!f.labels.contains(&"partition") || f.labels.contains(&"topic"), "{name}");
        assert_eq!(f.is_per_partition(), name.contains("_partition_"), "{name}");
    }
}

/// HELP is one sentence of at most 20 words with the API fields in parentheses; the rest is documentation.
#[test]
fn help_is_one_short_sentence_that_names_the_source() {
    let parentheses = Regex::new(r" \([^)]*\)").unwrap();
    for f in FAMILIES {
        let (name, sentence) = (f.name, parentheses.replace_all(f.help, ""));
        assert!(sentence.ends_with('.') && !sentence.contains(". "), "{name}: one sentence");
        assert!(sentence.split_whitespace().count() <= 20, "{name}: at most 20 words");
        assert!(!f.help.contains(['\n', '\t', '\\']), "{name}: one line of plain text");
        assert!(f.details.is_empty() || f.details.ends_with('.'), "{name}: details are sentences");
        if !matches!(f.source, MetricSource::Exporter | MetricSource::Process) {
            assert!(f.help.ends_with(").") && f.help.contains(" (Get"), "{name}: the source is at the end");
        }
    }
}

#[test]
fn kafka_exporter_names_are_those_of_kafka_exporter() {
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
