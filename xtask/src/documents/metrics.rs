//! `docs/metrics.md`: every family of the catalog, by what it tells of.

use std::fmt::Write as _;

use alikafka_exporter::exposition::catalog::{FAMILIES, MetricFamily, MetricSource, MetricUnit, Stability};

use super::{code, head, prose, row};

const INTRODUCTION: &str = "\
# Metrics

Every family of the page, with its type, its unit, its labels, and the field of the API that it is made of. A series
exists while its value is known: what is unknown is absent, never 0 or -1.

- Series about the cloud carry `region` and `instance_id`. Where accounts are named, `account` is the first label of
  every series that belongs to one. The tables list the labels besides these three.
- An instance's name, spec and version are on `alikafka_instance_info` only; join it with
  `* on (region, instance_id) group_left (name) alikafka_instance_info`.
- `metrics.labels` puts constant labels on every series.
- Names marked as evolving may change with a minor version; all others only with a major one. Before 1.0.0 both may
  change with a minor version, and the change log says so.
- What lag in seconds, status and forecasts mean, and the queries for them, is in [lag.md](lag.md); how many series a
  fleet has, in [sizing.md](sizing.md).
";

const GRANULARITY: &str = "
## What a coarser granularity leaves out

`metrics.granularity` is the finest level that has series. What stays is the same number at every level.

";

const NAMES: &str = "
## Names of kafka_exporter

Under `metrics.naming: kafka_exporter` these families have the name and the labels of kafka_exporter, with `region` and
`instance_id` besides. All others keep their own name, and nothing is there twice. How to scrape it, and what works then,
is in [migrating.md](migrating.md#from-kafka_exporter).

";

/// Whether a granularity leaves a family out.
type Hides = fn(&MetricFamily) -> bool;

/// A part of the page.
struct Part {
    title: &'static str,
    holds: fn(&MetricFamily) -> bool,
}

const PARTS: [Part; 6] = [
    Part { title: "Instance", holds: |f| is_of_cloud(f) && f.name.starts_with("alikafka_instance_") },
    Part { title: "Topic", holds: |f| is_of_cloud(f) && f.name.starts_with("alikafka_topic_") },
    Part { title: "Consumer group", holds: |f| is_of_cloud(f) && f.name.starts_with("alikafka_group_") },
    Part {
        title: "How far the cloud could be read",
        holds: |f| f.source == MetricSource::Exporter && !f.name.starts_with("alikafka_exporter_"),
    },
    Part {
        title: "Exporter",
        holds: |f| f.source == MetricSource::Exporter && f.name.starts_with("alikafka_exporter_"),
    },
    Part { title: "Process", holds: |f| f.source == MetricSource::Process },
];

/// The page.
pub(super) fn page() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str("\n## Where values come from\n\n");
    out.push_str(&head(&["call", "how often", "age of what is shown"]));
    for source in [MetricSource::Instances, MetricSource::Lists, MetricSource::Topics, MetricSource::Groups] {
        out.push_str(&row(&[call(source).to_owned(), often(source).to_owned(), age(source)]));
    }
    for part in &PARTS {
        // Writing to a String cannot fail.
        _ = write!(out, "\n## {}\n\n", part.title);
        let families = || FAMILIES.iter().filter(|f| (part.holds)(f));
        let polled = families().any(is_of_cloud);
        let mut titles = vec!["metric", "type", "unit", "labels"];
        titles.extend(polled.then_some("from"));
        titles.push("value");
        out.push_str(&head(&titles));
        for family in families() {
            let mut cells = vec![
                named(family),
                family.kind.word().to_owned(),
                unit(family.unit, family.name).to_owned(),
                labels(family.labels),
            ];
            cells.extend(polled.then(|| from(family).to_owned()));
            cells.push(prose(family.help));
            out.push_str(&row(&cells));
        }
    }
    out.push_str(GRANULARITY);
    out.push_str(&head(&["granularity", "families about topics and groups", "leaves out"]));
    let scoped = |f: &&MetricFamily| f.is_per_topic() || f.labels.contains(&"group");
    let total = FAMILIES.iter().filter(scoped).count();
    let list = |left_out: Hides| {
        let names: Vec<String> = FAMILIES.iter().filter(|f| left_out(f)).map(|f| code(f.name)).collect();
        (total - names.len(), names.join(", "))
    };
    let levels: [(&str, Hides); 3] = [
        ("partition", |_| false),
        ("topic", MetricFamily::is_per_partition),
        ("group", MetricFamily::is_per_topic),
    ];
    for (name, left_out) in levels {
        let (stay, gone) = list(left_out);
        let gone = if gone.is_empty() { "nothing".to_owned() } else { gone };
        out.push_str(&row(&[code(name), stay.to_string(), gone]));
    }
    out.push_str(NAMES);
    out.push_str(&head(&["metric", "under kafka_exporter", "its labels"]));
    for family in FAMILIES {
        if let Some(theirs) = family.kafka_exporter {
            out.push_str(&row(&[code(family.name), code(theirs.name), labels(theirs.labels)]));
        }
    }
    out
}

fn is_of_cloud(family: &MetricFamily) -> bool {
    !matches!(family.source, MetricSource::Exporter | MetricSource::Process)
}

fn named(family: &MetricFamily) -> String {
    match family.stability {
        Stability::Stable => code(family.name),
        Stability::Evolving => format!("{} ({})", code(family.name), family.stability.word()),
    }
}

/// The labels, without those that all series of the cloud have.
fn labels(labels: &[&str]) -> String {
    let own: Vec<String> = match labels {
        ["region", "instance_id", own @ ..] => own.iter().map(|l| code(l)).collect(),
        all => all.iter().map(|l| code(l)).collect(),
    };
    own.join(", ")
}

fn unit(unit: MetricUnit, name: &str) -> &'static str {
    match unit {
        MetricUnit::None => "",
        MetricUnit::Offset => "offset",
        MetricUnit::Messages => "messages",
        MetricUnit::MessagesPerSecond => "messages a second",
        MetricUnit::Seconds if name.ends_with("_timestamp_seconds") => "unix time",
        MetricUnit::Seconds => "seconds",
        MetricUnit::Bytes => "bytes",
        MetricUnit::RequestsPerSecond => "requests a second",
    }
}

fn call(source: MetricSource) -> &'static str {
    match source {
        MetricSource::Instances => "GetInstanceList",
        MetricSource::Lists => "GetTopicList, GetConsumerList",
        MetricSource::Topics => "GetTopicStatus",
        MetricSource::Groups => "GetConsumerProgress",
        MetricSource::Exporter => "the exporter",
        MetricSource::Process => "the operating system",
    }
}

/// The one call that a family comes from.
fn from(family: &MetricFamily) -> &'static str {
    match family.source {
        MetricSource::Lists if family.is_per_topic() => "GetTopicList",
        MetricSource::Lists => "GetConsumerList",
        source => call(source),
    }
}

fn often(source: MetricSource) -> &'static str {
    match source {
        MetricSource::Instances => "every `discovery_interval`, once for each region",
        MetricSource::Lists => {
            "every `discovery_interval`, once for each 100 topics or groups of an instance"
        }
        MetricSource::Topics => {
            "every `topic_poll_interval` for each topic; every `idle_poll_interval` while nothing of it moves, or groups \
             tell its end offsets"
        }
        MetricSource::Groups => {
            "every `poll_interval` for each group; every `idle_poll_interval` while nothing of it moves"
        }
        MetricSource::Exporter | MetricSource::Process => "at each scrape",
    }
}

fn age(source: MetricSource) -> String {
    let since = |of: &str, scope: &str| {
        code(&format!("alikafka_{of}_last_success_timestamp_seconds{{scope=\"{scope}\"}}"))
    };
    match source {
        MetricSource::Instances => since("region", "discovery"),
        MetricSource::Lists => since("instance", "discovery"),
        MetricSource::Topics => since("instance", "topics"),
        MetricSource::Groups => since("instance", "groups"),
        MetricSource::Exporter | MetricSource::Process => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_in_one_part() {
        for family in FAMILIES {
            let parts = PARTS.iter().filter(|part| (part.holds)(&family)).count();
            assert_eq!(parts, 1, "{}", family.name);
        }
    }

    #[test]
    fn the_call_is_one_that_the_meaning_names() {
        for family in FAMILIES.iter().filter(|f| is_of_cloud(f)) {
            assert!(family.help.contains(from(family)), "{} is not from {}", family.name, from(family));
        }
    }

    /// The note of HELP lines and the page say the same of each source.
    #[test]
    fn how_often_and_how_old_is_as_in_the_help_of_the_page() {
        for source in
            [MetricSource::Instances, MetricSource::Lists, MetricSource::Topics, MetricSource::Groups]
        {
            let note = source.note();
            let interval = often(source).split('`').nth(1).unwrap();
            assert!(note.contains(&format!("every {interval}")), "{note}");
            assert_eq!(
                note.contains("idle_poll_interval"),
                often(source).contains("idle_poll_interval"),
                "{note}"
            );
            let age = age(source);
            let (name, scope) = age.trim_matches('`').split_once('{').unwrap();
            let scope = scope.split('"').nth(1).unwrap();
            assert!(note.contains(&format!("{name}, scope {scope}.")), "{note}");
        }
    }
}
