//! The shipped dashboards, alerts and scrape configurations use existing metrics and labels. `./check` runs the tests
//! that require promtool. This module contains the parsers; `dashboards` and `rules` contain the tests of each kind.

#![cfg(test)]

mod dashboards;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use alikafka_exporter::exposition::catalog;
use granit_parser::{Event, Parser, StrInput};
use regex::Regex;
use serde_json::{Value, json};

/// Labels that Prometheus adds to scraped series, `account`, which exists if accounts are named, and `team`, which
/// recording rules add for instances with that tag.
const EVERYWHERE: [&str; 5] = ["job", "instance", "pod", "account", "team"];

/// Metric of the catalog.
#[derive(Debug, Clone)]
struct Metric {
    name: String,
    histogram: bool,
    labels: BTreeSet<String>,
}

/// Metrics of the catalog with the names of both settings of `metrics.naming`.
fn catalog_names() -> Vec<Metric> {
    let rows = |f: &catalog::MetricFamily| {
        let row = |name: &str, labels: &[&str]| Metric {
            name: name.to_owned(),
            histogram: f.kind == catalog::MetricType::Histogram,
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
        };
        // The example scrape configuration adds `kafka_cluster`.
        let theirs = |k: catalog::KafkaExporterName| row(k.name, &[k.labels, &["kafka_cluster"]].concat());
        std::iter::once(row(f.name, f.labels)).chain(f.kafka_exporter.map(theirs)).collect::<Vec<_>>()
    };
    let mut metrics: Vec<Metric> = catalog::FAMILIES.iter().flat_map(rows).collect();
    let tags = metrics.iter_mut().find(|m| m.name == "alikafka_instance_tags").unwrap();
    // The only tag that rules and dashboards use.
    tags.labels.insert("tag_team".to_owned());
    metrics
}

/// Metrics and labels of queries that the catalog does not contain.
pub(crate) fn missing_in_catalog(queries: impl Iterator<Item = Query>) -> Vec<String> {
    let metrics = catalog_names();
    let recorded = recorded_exprs();
    // Labels created by label_replace and label_join: the string after the series.
    let created = Regex::new(r#"[)}0-9], "(\w+)", ""#).unwrap();
    let mut wrong = Vec::new();
    for Query { place, expr, legend, .. } in queries {
        let used = References::of(&expr);
        let mut known: BTreeSet<String> = EVERYWHERE.iter().map(|&l| l.to_owned()).collect();
        known.extend(labels_in(&created, &expr));
        for selector in &used.selectors {
            let Some(labels) = labels_of(&selector.name, &metrics, &recorded) else {
                wrong.push(format!("{place}: there is no metric {}", selector.name));
                continue;
            };
            for label in selector.matchers.keys() {
                if !labels.contains(label) && !EVERYWHERE.contains(&label.as_str()) {
                    wrong.push(format!("{place}: {} has no label {label}", selector.name));
                }
            }
            known.extend(labels);
        }
        for label in used.grouping.iter().chain(&legend) {
            if !known.contains(label) {
                wrong.push(format!("{place}: no metric of the query has a label {label}"));
            }
        }
    }
    wrong
}

/// Writes queries to a rule file that `./check` passes to promtool.
pub(crate) fn write_for_promtool(group: &str, exprs: impl Iterator<Item = String>) {
    let rules: Vec<Value> =
        exprs.enumerate().map(|(i, e)| json!({ "record": format!("{group}:query{i}"), "expr": e })).collect();
    assert!(!rules.is_empty());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{group}-queries.rules.yml"));
    fs::write(file, json!({ "groups": [{ "name": group, "rules": rules }] }).to_string()).unwrap();
}

#[test]
fn the_example_scrape_keeps_exported_labels_and_loads_the_alerts() {
    let (_, config) = yaml_files("config").into_iter().find(|(f, _)| f.ends_with("prometheus.yml")).unwrap();
    let job = &config["scrape_configs"][0];
    assert_eq!(job["honor_labels"], "true");
    assert_eq!(job["static_configs"][0]["targets"][0], "localhost:19308");
    assert_eq!(config["rule_files"], json!(["rules/*.rules.yml"]));
    let name = format!("job=\"{}\"", text(&job["job_name"]));
    assert!(rules().iter().any(|(_, r)| text(&r["expr"]).contains(&name)), "no alert uses {name}");
}

/// Dashboards made for kafka_exporter find the AliKafka instance in the label of the exporter, and the shipped alerts
/// still find their series.
#[test]
fn the_example_scrape_for_kafka_exporter_relabels_only_its_metrics() {
    let (_, config) =
        yaml_files("config").into_iter().find(|(f, _)| f.ends_with("prometheus-kafka-exporter.yml")).unwrap();
    let (_, native) = yaml_files("config").into_iter().find(|(f, _)| f.ends_with("/prometheus.yml")).unwrap();
    let (job, own) = (&config["scrape_configs"][0], &native["scrape_configs"][0]);
    assert_eq!(config["rule_files"], native["rule_files"]);
    for same in ["job_name", "honor_labels"] {
        assert_eq!(job[same], own[same], "{same}");
    }
    let relabelled: Vec<_> =
        array(&job["metric_relabel_configs"]).iter().map(|r| &r["target_label"]).collect();
    assert_eq!(relabelled, ["instance", "kafka_cluster"]);
    for rule in array(&job["metric_relabel_configs"]) {
        assert_eq!(rule["source_labels"], json!(["__name__", "instance_id"]));
        assert_eq!(rule["regex"], "kafka_.+;(.+)", "no other metric and no series without an instance");
    }
}

#[test]
fn references_contain_metrics_matchers_and_groupings() {
    let used = References::of(
        "sum by (region) (rate(a_total{x=\"1\", y=~\"{b}\"}[5m] @ end())) / on (group) group_left (name) b:c:d > bool 1e3 and time() - d offset 5m # e",
    );
    let names: Vec<&str> = used.selectors.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["a_total", "b:c:d", "d"]);
    assert_eq!(used.selectors[0].matchers["y"], "{b}");
    assert_eq!(used.grouping, ["region", "group", "name"].map(str::to_owned).into());
}

/// Query with its place, whether it lists the values of a variable, and the labels in its legend or annotations.
pub(crate) struct Query {
    pub(crate) place: String,
    pub(crate) expr: String,
    pub(crate) variable: bool,
    pub(crate) legend: BTreeSet<String>,
}

fn labels_in(pattern: &Regex, text: &str) -> BTreeSet<String> {
    pattern.captures_iter(text).map(|c| c[1].to_owned()).collect()
}

/// Expressions of recording rules by name.
fn recorded_exprs() -> BTreeMap<String, String> {
    let pair =
        |(_, r): (String, Value)| Some((r["record"].as_str()?.to_owned(), text(&r["expr"]).to_owned()));
    rules().into_iter().filter_map(pair).collect()
}

/// Labels of a metric of the catalog, of a recording rule, or of Prometheus. `None` if it does not exist.
fn labels_of(
    name: &str,
    metrics: &[Metric],
    recorded: &BTreeMap<String, String>,
) -> Option<BTreeSet<String>> {
    match name {
        "up" => return Some(BTreeSet::new()),
        "ALERTS" => return Some(["alertname", "alertstate"].map(str::to_owned).into()),
        // Optional rules of the user.
        "alikafka:group_lag_threshold_seconds" | "alikafka:group_lag_threshold_messages" => {
            return Some(["instance_id", "group"].map(str::to_owned).into());
        }
        _ => {}
    }
    if let Some(expr) = recorded.get(name) {
        let parts = References::of(expr).selectors;
        return Some(parts.iter().filter_map(|s| labels_of(&s.name, metrics, recorded)).flatten().collect());
    }
    if let Some(metric) = metrics.iter().find(|m| m.name == name && !m.histogram) {
        return Some(metric.labels.clone());
    }
    let (base, bucket) = match name.strip_suffix("_bucket") {
        Some(base) => (base, true),
        None => (name.strip_suffix("_sum").or_else(|| name.strip_suffix("_count"))?, false),
    };
    let mut labels = metrics.iter().find(|m| m.name == base && m.histogram)?.labels.clone();
    if bucket {
        labels.insert("le".to_owned());
    }
    Some(labels)
}

/// Metric in a query with its matchers by label.
struct Selector {
    name: String,
    matchers: BTreeMap<String, String>,
}

/// Tokens of a query. Compiled once because the tests parse thousands of queries.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x) "(?:\\.|[^"\\])*" | \#[^\n]* | \[[^\]]*\] | [0-9][0-9A-Za-z_.]* | [A-Za-z_:][0-9A-Za-z_:]* | [^\s]"#,
    )
    .unwrap()
});

/// Metrics and labels in a PromQL query. Not a full parser: promtool checks the syntax.
struct References {
    selectors: Vec<Selector>,
    grouping: BTreeSet<String>,
}

impl References {
    fn of(expr: &str) -> Self {
        let constant = constant(expr);
        let tokens: Vec<&str> =
            TOKEN.find_iter(&constant).map(|t| t.as_str()).filter(|t| !t.starts_with(['#', '['])).collect();
        let at = |i: usize| tokens.get(i).copied().unwrap_or_default();
        let is_name = |t: &str| t.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let mut found = Self { selectors: Vec::new(), grouping: BTreeSet::new() };
        let mut i = 0;
        while i < tokens.len() {
            let (word, next) = (at(i), at(i + 1));
            i += 1;
            match word {
                "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" if next == "(" => {
                    let names = tokens[i..].iter().take_while(|t| **t != ")").filter(|t| is_name(t));
                    found.grouping.extend(names.map(|t| (*t).to_owned()));
                    i += tokens[i..].iter().take_while(|t| **t != ")").count();
                }
                "and" | "or" | "unless" | "bool" | "offset" | "group_left" | "group_right" => {}
                "{" => panic!("a selector without a metric in {expr}"),
                _ if !is_name(word) || next == "(" || next == "by" || next == "without" => {}
                name => {
                    let mut matchers = BTreeMap::new();
                    while next == "{" && !at(i).is_empty() && at(i) != "}" {
                        if is_name(at(i)) {
                            let value = tokens[i..].iter().find(|t| t.starts_with('"')).expect("a value");
                            matchers.insert(at(i).to_owned(), value.trim_matches('"').to_owned());
                        }
                        i += 1;
                    }
                    found.selectors.push(Selector { name: name.to_owned(), matchers });
                }
            }
        }
        found
    }
}

/// Replaces the variables of Grafana in a query, except those in strings.
fn constant(expr: &str) -> String {
    expr.replace("$__rate_interval", "5m").replace("$__range", "6h").replace("$limit", "20")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Texts of the files of a directory with an extension, by name. Panics without any.
fn files(dir: &str, ending: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(root().join(dir)).unwrap_or_else(|e| panic!("{dir}: {e}"));
    let mut found: Vec<(String, String)> = entries
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_file() && p.to_string_lossy().ends_with(ending))
        .map(|p| (format!("{dir}/{}", p.file_name().unwrap().to_string_lossy()), read(&p)))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no {ending} file in {dir}");
    found
}

fn yaml_files(dir: &str) -> Vec<(String, Value)> {
    files(dir, ".yml")
        .into_iter()
        .map(|(file, text)| {
            let value = Yaml { parser: Parser::new_from_str(&text), anchors: BTreeMap::new() }.document();
            (file, value)
        })
        .collect()
}

/// Reads YAML as a tree whose leaves are strings.
struct Yaml<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Value>,
}

impl<'a> Yaml<'a> {
    fn document(mut self) -> Value {
        let root = self.next();
        self.node(root)
    }

    /// Returns the next event that is part of a value, without comments and document markers.
    fn next(&mut self) -> Event<'a> {
        loop {
            let (event, _) = self.parser.next_event().expect("the file ends too early").expect("valid YAML");
            match event {
                Event::Scalar(..) | Event::Alias(..) => return event,
                Event::SequenceStart(..) | Event::SequenceEnd => return event,
                Event::MappingStart(..) | Event::MappingEnd => return event,
                _ => {}
            }
        }
    }

    fn node(&mut self, event: Event<'a>) -> Value {
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.anchors[&anchor].clone(),
            Event::Scalar(text, _, anchor, _) => (anchor, Value::String(text.into_owned())),
            Event::SequenceStart(_, anchor, _) => (anchor, self.items().into()),
            Event::MappingStart(_, anchor, _) => {
                let items = self.items();
                (anchor, items.chunks(2).map(|p| (text(&p[0]).to_owned(), p[1].clone())).collect())
            }
            other => panic!("{other:?} where a value is expected"),
        };
        self.anchors.insert(anchor, value.clone());
        value
    }

    /// Items up to the end of a list, or the alternating keys and values of a map.
    fn items(&mut self) -> Vec<Value> {
        let mut items = Vec::new();
        loop {
            match self.next() {
                Event::SequenceEnd | Event::MappingEnd => return items,
                event => items.push(self.node(event)),
            }
        }
    }
}

/// All rules, each with its file.
fn rules() -> Vec<(String, Value)> {
    let mut rules = Vec::new();
    for (file, content) in yaml_files("config/rules") {
        for group in array(&content["groups"]) {
            rules.extend(array(&group["rules"]).iter().map(|r| (file.clone(), r.clone())));
        }
    }
    rules
}

/// Items of a list, none if it is missing.
fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// String value, empty for other values.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
