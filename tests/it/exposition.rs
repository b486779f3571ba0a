//! The exposition contains exactly the values of the snapshot, independent of earlier expositions.

#![cfg(test)]

mod catalog;
mod fleet;
mod incremental;
mod levels;
mod limit;
mod properties;
mod self_metrics;

use std::{env, fs, io::Read as _, path::Path, sync::Arc};

use alikafka_exporter::exposition::catalog::FAMILIES;
use alikafka_exporter::exposition::{Exposition, Renderer};
use alikafka_exporter::model::{Granularity, Naming, RenderOptions};
use alikafka_exporter::snapshot::Snapshot;

use test_support::scrape::{Sample, Scrape, family_name};

fn render(options: RenderOptions, snapshot: &Snapshot) -> String {
    text(&Renderer::new(options).render(snapshot))
}

fn text(exposition: &Exposition) -> String {
    let plain = String::from_utf8(exposition.plain_chunks().flatten().collect()).unwrap();
    assert_eq!(plain.len(), exposition.plain_len());
    plain
}

/// Decodes one gzip member. Anything after it is an error.
fn gunzip(exposition: &Exposition) -> String {
    let compressed: Vec<u8> = exposition.gzip_chunks().flatten().collect();
    let mut decoder = flate2::bufread::GzDecoder::new(&compressed[..]);
    let mut plain = String::new();
    decoder.read_to_string(&mut plain).unwrap();
    assert_eq!(decoder.into_inner(), &[] as &[u8], "nothing follows the member");
    plain
}

/// Compares with a file under `tests/golden`; `UPDATE_GOLDEN=1` rewrites it instead.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "{name} differs; run with UPDATE_GOLDEN=1 and review the difference\n{text}");
}

fn everything() -> RenderOptions {
    RenderOptions {
        constant_labels: vec![("team".to_owned(), "plat\"form".to_owned())],
        instance_tags: ["env", "成本", "中心", "owner name"].map(str::to_owned).to_vec(),
        ..RenderOptions::default()
    }
}

#[test]
fn the_exposition_matches_the_golden_file() {
    golden("fleet.prom", &render(everything(), &fleet::fleet()));
}

#[test]
fn the_exposition_with_kafka_exporter_names_matches_the_golden_file() {
    let options = RenderOptions { naming: Naming::KafkaExporter, ..everything() };
    golden("fleet-kafka_exporter.prom", &render(options, &fleet::fleet()));
}

/// Metrics of kafka_exporter without a source in the API, and its sentinels for unknown values, never appear.
#[test]
fn kafka_exporter_names_have_no_duplicates_no_invented_values_and_no_sentinels() {
    for granularity in [Granularity::Partition, Granularity::Topic, Granularity::Group] {
        let options = RenderOptions { naming: Naming::KafkaExporter, granularity, ..everything() };
        let exposition = render(options, &fleet::fleet());
        let names: Vec<_> = exposition.lines().map(family_name).collect();
        for f in FAMILIES.iter().filter(|f| f.kafka_exporter.is_some()) {
            assert!(!names.contains(&f.name), "{} has another name", f.name);
        }
        for unavailable in ["replica", "leader", "isr", "broker", "kafka_consumergroup_members", "zookeeper"]
        {
            assert!(!names.iter().any(|n| n.contains(unavailable)), "the API does not report {unavailable}");
        }
        let parsed = Scrape::parse(exposition.as_str());
        let negative = parsed.samples.iter().find(|s| s.value.starts_with('-'));
        assert!(negative.is_none(), "{negative:?}");
        // A value under both names would count twice in a sum over all metrics.
        let is_renamed = |s: &Sample| s.labels.contains_key("consumergroup");
        assert!(parsed.samples.iter().all(|s| !(is_renamed(s) && s.labels.contains_key("group"))));
    }
}

#[test]
fn an_empty_fleet_has_an_empty_exposition() {
    let exposition = Renderer::new(RenderOptions::default()).render(&Snapshot::default());
    assert_eq!(
        (text(&exposition).as_str(), gunzip(&exposition).as_str(), exposition.series_count()),
        ("", "", 0)
    );
}

#[test]
fn a_coarser_granularity_only_omits_metrics() {
    let finest = render(everything(), &fleet::fleet());
    let without = |out: &dyn Fn(&str) -> bool| -> String {
        finest.lines().filter(|line| !out(family_name(line))).map(|l| format!("{l}\n")).collect()
    };
    let topic = render(RenderOptions { granularity: Granularity::Topic, ..everything() }, &fleet::fleet());
    assert_eq!(topic, without(&|name| name.contains("_partition_")));
    let group = render(RenderOptions { granularity: Granularity::Group, ..everything() }, &fleet::fleet());
    let finer = |name: &str| {
        name.contains("_partition_") || name.starts_with("alikafka_topic_") || name.contains("_group_topic_")
    };
    assert_eq!(group, without(&finer));
    assert!(group.contains("alikafka_group_lag_messages{") && topic.contains("alikafka_topic_messages{"));
}

#[test]
fn offsets_past_two_to_the_53_are_printed_to_the_last_digit() {
    let exposition = Scrape::parse(render(RenderOptions::default(), &fleet::fleet()));
    let value = |name: &str| {
        exposition.values(name, &[("topic", "orders"), ("partition", "1"), ("region", "cn-hangzhou")])
    };
    assert_eq!(value("alikafka_topic_partition_end_offset"), ["9223372036854775807"]);
    assert_eq!(value("alikafka_group_partition_offset"), ["9007199254740993"]);
    assert_eq!(value("alikafka_group_partition_lag_messages"), ["9214364837600034814"]);
}

#[test]
fn unknown_values_are_absent() {
    let exposition = Scrape::parse(render(RenderOptions::default(), &fleet::fleet()));
    for (name, labels) in [
        ("alikafka_instance_up", [("instance_id", "alikafka-new")].as_slice()),
        ("alikafka_instance_info", &[("instance_id", "alikafka-new")]),
        ("alikafka_topic_groups", &[("topic", "dark")]),
        ("alikafka_topic_messages", &[("topic", "dark")]),
        ("alikafka_group_info", &[("group", "unlisted")]),
        ("alikafka_group_lag_messages", &[("group", "never polled")]),
        ("alikafka_group_partition_offset", &[("topic", "orders"), ("partition", "2")]),
        (
            "alikafka_group_partition_retention_margin_messages",
            &[("topic", "orders"), ("partition", "0"), ("region", "cn-hangzhou")],
        ),
        ("alikafka_group_partition_lost_messages", &[("topic", "orders"), ("partition", "2")]),
        ("alikafka_group_partition_lost_messages", &[("topic", "deleted")]),
    ] {
        assert_eq!(exposition.values(name, labels), [] as [&str; 0], "{name} {labels:?}");
    }
    assert_eq!(exposition.values("alikafka_topic_groups", &[("topic", "unread")]), ["0"]);
}

#[test]
fn lost_messages_and_margin_come_from_the_start_offset() {
    let exposition = Scrape::parse(render(RenderOptions::default(), &fleet::fleet()));
    let value = |name: &str, partition| {
        exposition.values(name, &[("topic", "orders"), ("partition", partition), ("region", "cn-hangzhou")])
    };
    assert_eq!(value("alikafka_group_partition_lost_messages", "0"), ["40"]);
    assert_eq!(value("alikafka_group_partition_lost_messages", "1"), ["0"]);
    assert_eq!(value("alikafka_group_partition_retention_margin_messages", "1"), ["9007199254740893"]);
}

#[test]
fn appended_text_is_part_of_the_plain_and_the_gzip_form() {
    let exposition = Renderer::new(RenderOptions::default()).render(&fleet::fleet());
    let with = exposition.with_appended_text("# TYPE self gauge\nself 1\n");
    assert_eq!(text(&with), format!("{}# TYPE self gauge\nself 1\n", text(&exposition)));
    assert_eq!(gunzip(&with), text(&with));
    assert_eq!(gunzip(&exposition), text(&exposition), "the original is unchanged");
    assert_eq!(with.series_count(), exposition.series_count());
}

/// Characters that a label name cannot have become `_`. Of two keys with the same label name, the first is shown.
#[test]
fn tag_keys_become_label_names_and_the_first_key_wins() {
    let keys = ["a.b", "a_b", "A.b", "环境", "成本", "1", "22x", "", "é", "acs:rm:rgId"];
    let mut instance = fleet::instance_view("i", 1);
    let mut info = fleet::bare_info("i");
    // In another order than the list, with a repeated key and a key that is not in the list.
    info.tags = keys.iter().rev().map(|key| ((*key).to_owned(), format!("value of {key}"))).collect();
    info.tags.push(("1".to_owned(), "repeated".to_owned()));
    info.tags.push(("secret".to_owned(), "not allowed".to_owned()));
    instance.info = Some(Arc::new(info));
    let snapshot = Snapshot { regions: vec![Arc::new(fleet::region_view(None, "r", vec![instance]))] };
    let options =
        RenderOptions { instance_tags: keys.map(str::to_owned).to_vec(), ..RenderOptions::default() };
    let exposition = Scrape::parse(render(options, &snapshot));
    let tags = exposition.samples.iter().find(|s| s.name == "alikafka_instance_tags").unwrap();
    let mut labels = tags.labels.clone();
    labels.retain(|label, _| label.starts_with("tag_"));
    let expected = [
        ("tag_a_b", "value of a.b"),
        ("tag_A_b", "value of A.b"),
        ("tag___", "value of 环境"),
        ("tag_1", "value of 1"),
        ("tag_22x", "value of 22x"),
        ("tag_", "value of "),
        ("tag__", "value of é"),
        ("tag_acs_rm_rgId", "value of acs:rm:rgId"),
    ];
    assert_eq!(labels, expected.map(|(l, v)| (l.to_owned(), v.to_owned())).into());
}

#[test]
fn constant_labels_with_reserved_or_invalid_names_are_ignored() {
    let labels = ["region", "account", "consumergroup", "le", "0day", "__name__", "tag_env", "team", "team"];
    let options = RenderOptions {
        constant_labels: labels.iter().map(|l| ((*l).to_owned(), "x".to_owned())).collect(),
        ..RenderOptions::default()
    };
    let exposition = Scrape::parse(render(options, &fleet::fleet()));
    for sample in &exposition.samples {
        assert_eq!(sample.labels.get("team").map(String::as_str), Some("x"));
        assert!(!sample.labels.contains_key("0day") && !sample.labels.contains_key("le"));
        assert_ne!(sample.labels.get("region").map(String::as_str), Some("x"));
    }
}

#[test]
fn descriptive_labels_are_truncated_and_names_are_not() {
    let exposition = Scrape::parse(render(RenderOptions::default(), &fleet::long_names()));
    let info = exposition.samples.iter().find(|s| s.name == "alikafka_instance_info").unwrap();
    assert_eq!(info.labels["name"], "名".repeat(256));
    let topic = exposition.samples.iter().find(|s| s.name == "alikafka_topic_info").unwrap();
    assert_eq!(topic.labels["topic"], "题".repeat(512));
}

#[test]
fn the_series_count_is_that_of_the_exposition() {
    let exposition = Renderer::new(everything()).render(&fleet::fleet());
    assert_eq!(exposition.series_count(), Scrape::parse(text(&exposition)).samples.len() as u64);
}
