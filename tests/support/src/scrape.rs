//! Parser of the Prometheus text format, as strict as Prometheus itself.

use std::collections::{BTreeMap, BTreeSet};

/// The result of one scrape.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Name, type and HELP text of each family, in order.
    pub families: Vec<(String, String, String)>,
    /// The samples, in order.
    pub samples: Vec<Sample>,
    /// The metrics response.
    pub text: String,
}

/// One sample.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    /// The metric name.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value as text, so that no digit is lost.
    pub value: String,
}

impl Scrape {
    /// Parses a metrics response.
    pub fn parse(text: impl Into<String>) -> Self {
        let mut scrape = Self { text: text.into(), ..Self::default() };
        let mut names = BTreeSet::new();
        let mut series = BTreeSet::new();
        assert!(scrape.text.is_empty() || scrape.text.ends_with('\n'), "the last line is incomplete");
        for line in scrape.text.split_terminator('\n') {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(names.insert(name.to_owned()), "family {name} is repeated");
                scrape.families.push((name.to_owned(), String::new(), help.to_owned()));
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let family = scrape.families.last_mut().unwrap();
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, family.0, "TYPE follows HELP");
                kind.clone_into(&mut family.1);
            } else {
                let sample = parse_sample(line);
                let (family, kind, _) = scrape.families.last().expect("a family before its samples");
                let suffix = sample.name.strip_prefix(family.as_str()).expect("samples follow their family");
                let suffixes = if kind == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
                assert!(suffixes.contains(&suffix), "{} is not a sample of {family}", sample.name);
                assert!(series.insert((sample.name.clone(), sample.labels.clone())), "repeated: {line}");
                scrape.samples.push(sample);
            }
        }
        scrape
    }

    /// Returns the values of the series of a name with these labels, in order.
    pub fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&str> {
        let matches = self.samples.iter().filter(|sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        });
        matches.map(|sample| sample.value.as_str()).collect()
    }

    /// Returns the value of the one series with these labels; `None` if there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.values(name, labels);
        assert!(values.len() < 2, "{name} {labels:?} is more than one series: {values:?}");
        values.first().map(|value| value.parse().unwrap())
    }

    /// Returns the number of series with these labels.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.values(name, labels).len()
    }

    /// Returns the sum over the series with these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.values(name, labels).iter().map(|value| value.parse::<f64>().unwrap()).sum()
    }

    /// Lag of a group in messages.
    pub fn lag(&self, instance: &str, group: &str) -> Option<f64> {
        self.value("alikafka_group_lag_messages", &[("instance_id", instance), ("group", group)])
    }

    /// Lag of a group on a partition of its only topic, in messages.
    pub fn partition_lag(&self, instance: &str, group: &str, partition: &str) -> Option<f64> {
        let labels = [("instance_id", instance), ("group", group), ("partition", partition)];
        self.value("alikafka_group_partition_lag_messages", &labels)
    }

    /// End offset of a partition.
    pub fn end_offset(&self, instance: &str, topic: &str, partition: &str) -> Option<f64> {
        let labels = [("instance_id", instance), ("topic", topic), ("partition", partition)];
        self.value("alikafka_topic_partition_end_offset", &labels)
    }

    /// Whether the topic is exposed.
    pub fn has_topic(&self, instance: &str, topic: &str) -> bool {
        self.count("alikafka_topic_info", &[("instance_id", instance), ("topic", topic)]) == 1
    }

    /// Whether the consumer group is exposed.
    pub fn has_group(&self, instance: &str, group: &str) -> bool {
        self.count("alikafka_group_info", &[("instance_id", instance), ("group", group)]) == 1
    }

    /// Value of `alikafka_instance_up`.
    pub fn instance_up(&self, instance: &str) -> Option<f64> {
        self.value("alikafka_instance_up", &[("instance_id", instance)])
    }

    /// Value of `alikafka_region_up`.
    pub fn region_up(&self, region: &str) -> Option<f64> {
        self.value("alikafka_region_up", &[("region", region)])
    }

    /// Number of anomalies of a kind.
    pub fn anomalies(&self, kind: &str) -> f64 {
        self.value("alikafka_exporter_anomalies_total", &[("kind", kind)]).unwrap()
    }

    /// Number of API calls of an action with this result.
    pub fn api_calls(&self, action: &str, result: &str) -> f64 {
        self.sum("alikafka_exporter_api_requests_total", &[("action", action), ("result", result)])
    }

    /// Returns the `result` labels of an action.
    pub fn api_results(&self, action: &str) -> BTreeSet<&str> {
        let calls = self.samples.iter().filter(|sample| {
            sample.name == "alikafka_exporter_api_requests_total" && sample.labels["action"] == action
        });
        calls.map(|sample| sample.labels["result"].as_str()).collect()
    }

    /// Returns name and labels of the series with these labels that describe the cloud, not the exporter.
    pub fn cloud_series(&self, labels: &[(&str, &str)]) -> BTreeSet<String> {
        let lines = self.text.lines().filter(|line| {
            line.starts_with("alikafka_")
                && !line.starts_with("alikafka_exporter_")
                && labels.iter().all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
        });
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
    }
}

/// Returns the family of a line. Does not know the suffixes of histograms.
pub fn family_name(line: &str) -> &str {
    let line = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
    line.split(['{', ' ']).next().unwrap()
}

fn parse_sample(line: &str) -> Sample {
    let name: String = line.chars().take_while(|c| !matches!(c, '{' | ' ')).collect();
    let mut rest = &line[name.len()..];
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            let (value, after) = parse_quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "label {label} is repeated: {line}");
            rest = after;
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = rest.strip_prefix(',').unwrap();
        }
    }
    let value = rest.strip_prefix(' ').unwrap();
    value.parse::<f64>().unwrap();
    Sample { name, labels, value: value.to_owned() }
}

/// Returns a label value whose opening quote has been read, and the text after its closing quote.
fn parse_quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                c => panic!("invalid escape: {c:?}"),
            }),
            c => value.push(c),
        }
    }
    panic!("unterminated label value: {text:?}")
}
