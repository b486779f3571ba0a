//! Generates `docs/metrics.md` from the metric catalog.

use std::fmt::Write as _;

use alikafka_exporter::exposition::catalog::{FAMILIES, MetricFamily, MetricSource, MetricUnit, Stability};

use super::{code, head, prose, row};

const INTRODUCTION: &str = "\
# Metrics

All metrics with type, unit, labels and the API field that each value comes from. A series exists only while its value
is known: an unknown value is absent, never 0 or -1.

- Series about the monitored fleet have the labels `region` and `instance_id`. If accounts are named, `account` is the
  first label of every series that belongs to one. The tables list the labels besides these three.
- Name, specification and version of an instance are labels of `alikafka_instance_info` only. Join it with
  `* on (region, instance_id) group_left (name) alikafka_instance_info`.
- `metrics.labels` adds constant labels to every series.
- A metric marked as evolving may change with a minor version, all others only with a major version. Before 1.0.0, both
  may change with a minor version; the change log says so.
- [lag.md](lag.md) explains lag in seconds, status and forecasts, with queries. [sizing.md](sizing.md) explains how many
  series a fleet has.
";

const GRANULARITY: &str = "
## Series omitted by a coarser granularity

`metrics.granularity` is the finest level of detail that has series. The remaining series have the same values at every
level.

";

const KAFKA_EXPORTER: &str = "
## Names of kafka_exporter

With `metrics.naming: kafka_exporter`, these metrics have the name and the labels of kafka_exporter, in addition to
`region` and `instance_id`. All other metrics keep their name, and no value is exported twice. See
[migrating.md](migrating.md#from-kafka_exporter) for the scrape configuration and for what works afterwards.

";

/// A section of the document.
struct Section {
    title: &'static str,
    contains: fn(&MetricFamily) -> bool,
}

const SECTIONS: [Section; 6] = [
    Section { title: "Instance", contains: |f| is_polled(f) && f.name.starts_with("alikafka_instance_") },
    Section { title: "Topic", contains: |f| is_polled(f) && f.name.starts_with("alikafka_topic_") },
    Section { title: "Consumer group", contains: |f| is_polled(f) && f.name.starts_with("alikafka_group_") },
    Section {
        title: "Completeness and age of the data",
        contains: |f| f.source == MetricSource::Exporter && !f.name.starts_with("alikafka_exporter_"),
    },
    Section {
        title: "Exporter",
        contains: |f| f.source == MetricSource::Exporter && f.name.starts_with("alikafka_exporter_"),
    },
    Section { title: "Process", contains: |f| f.source == MetricSource::Process },
];

/// API calls with their poll interval, and the metric and scope that give the age of their data.
const CALLS: [(&str, &str, &str); 4] = [
    (
        "GetInstanceList",
        "every `discovery_interval`, once per region",
        "`alikafka_region_last_success_timestamp_seconds{scope=\"discovery\"}`",
    ),
    (
        "GetTopicList, GetConsumerList",
        "every `discovery_interval`, once per 100 topics or groups of an instance",
        "`alikafka_instance_last_success_timestamp_seconds{scope=\"discovery\"}`",
    ),
    (
        "GetTopicStatus",
        "every `topic_poll_interval` for each topic; every `idle_poll_interval` for an idle topic, or if its groups \
         report its end offsets",
        "`alikafka_instance_last_success_timestamp_seconds{scope=\"topics\"}`",
    ),
    (
        "GetConsumerProgress",
        "every `poll_interval` for each group; every `idle_poll_interval` for an idle group",
        "`alikafka_instance_last_success_timestamp_seconds{scope=\"groups\"}`",
    ),
];

/// Returns the document.
pub(super) fn document() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str("\n## Origin and age of the values\n\n");
    out.push_str(&head(&["API call", "interval", "time of the last success"]));
    for (call, interval, last_success) in CALLS {
        out.push_str(&row(&[call.to_owned(), interval.to_owned(), last_success.to_owned()]));
    }
    for section in &SECTIONS {
        // Writing to a String cannot fail.
        _ = write!(out, "\n## {}\n\n", section.title);
        push_metrics(&mut out, section);
    }
    out.push_str(GRANULARITY);
    push_granularities(&mut out);
    out.push_str(KAFKA_EXPORTER);
    out.push_str(&head(&["metric", "name in kafka_exporter", "labels"]));
    for family in FAMILIES {
        if let Some(renamed) = family.kafka_exporter {
            out.push_str(&row(&[code(family.name), code(renamed.name), labels(renamed.labels)]));
        }
    }
    out
}

fn push_metrics(out: &mut String, section: &Section) {
    let families: Vec<_> = FAMILIES.iter().filter(|f| (section.contains)(f)).collect();
    let has_calls = families.iter().any(|f| is_polled(f));
    let mut titles = vec!["metric", "type", "unit", "labels"];
    titles.extend(has_calls.then_some("API call"));
    titles.push("description");
    out.push_str(&head(&titles));
    for family in families {
        let mut cells = vec![
            named(family),
            family.kind.as_str().to_owned(),
            unit(family.unit, family.name).to_owned(),
            labels(family.labels),
        ];
        cells.extend(has_calls.then(|| api_call(family).to_owned()));
        cells.push(prose(format!("{} {}", family.help, family.details).trim_end()));
        out.push_str(&row(&cells));
    }
}

fn push_granularities(out: &mut String) {
    type IsOmitted = fn(&MetricFamily) -> bool;
    let levels: [(&str, IsOmitted); 3] = [
        ("partition", |_| false),
        ("topic", MetricFamily::is_per_partition),
        ("group", MetricFamily::is_per_topic),
    ];
    let total = FAMILIES.iter().filter(|f| f.is_per_topic() || f.is_per_group()).count();
    out.push_str(&head(&["granularity", "metrics of topics and groups", "omitted"]));
    for (level, is_omitted) in levels {
        let omitted: Vec<_> = FAMILIES.iter().filter(|f| is_omitted(f)).map(|f| code(f.name)).collect();
        let list = if omitted.is_empty() { "nothing".to_owned() } else { omitted.join(", ") };
        out.push_str(&row(&[code(level), (total - omitted.len()).to_string(), list]));
    }
}

fn is_polled(family: &MetricFamily) -> bool {
    !matches!(family.source, MetricSource::Exporter | MetricSource::Process)
}

fn named(family: &MetricFamily) -> String {
    match family.stability {
        Stability::Stable => code(family.name),
        Stability::Evolving => format!("{} (evolving)", code(family.name)),
    }
}

/// Returns the labels without those that all series of the fleet have.
fn labels(labels: &[&str]) -> String {
    let listed = match labels {
        ["region", "instance_id", rest @ ..] => rest,
        all => all,
    };
    listed.iter().map(|label| code(label)).collect::<Vec<_>>().join(", ")
}

fn unit(unit: MetricUnit, name: &str) -> &'static str {
    match unit {
        MetricUnit::None => "",
        MetricUnit::Offset => "offset",
        MetricUnit::Messages => "messages",
        MetricUnit::MessagesPerSecond => "messages per second",
        MetricUnit::Seconds if name.ends_with("_timestamp_seconds") => "Unix time",
        MetricUnit::Seconds => "seconds",
        MetricUnit::Bytes => "bytes",
        MetricUnit::RequestsPerSecond => "requests per second",
    }
}

/// Returns the API call whose interval determines the age of a metric.
fn api_call(family: &MetricFamily) -> &'static str {
    match family.source {
        MetricSource::Instances => "GetInstanceList",
        MetricSource::Lists if family.is_per_topic() => "GetTopicList",
        MetricSource::Lists => "GetConsumerList",
        MetricSource::Topics => "GetTopicStatus",
        MetricSource::Groups => "GetConsumerProgress",
        MetricSource::Exporter | MetricSource::Process => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_in_one_section() {
        for family in FAMILIES {
            let sections = SECTIONS.iter().filter(|section| (section.contains)(&family)).count();
            assert_eq!(sections, 1, "{}", family.name);
        }
    }

    #[test]
    fn help_names_the_api_call() {
        for family in FAMILIES.iter().filter(|f| is_polled(f)) {
            assert!(
                family.help.contains(api_call(family)),
                "{} is not from {}",
                family.name,
                api_call(family)
            );
        }
    }

    #[test]
    fn the_age_of_every_call_has_a_metric() {
        for (call, _, last_success) in CALLS {
            let (name, _) = last_success.trim_matches('`').split_once('{').unwrap();
            assert!(FAMILIES.iter().any(|f| f.name == name), "{call}: {name}");
        }
    }
}
