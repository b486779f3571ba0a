//! What is around the panels of a board: variables, links, annotations, and the file itself.
//!
//! Owns: the boards' addresses and the variables that they hand to each other. Refuses: panels.

use std::collections::BTreeSet;

use alikafka_exporter::exposition::catalog::MetricId;
use serde_json::{Value, json};

use super::{
    panel::{Row, datasource, layout},
    query::{Filters, Level},
    style::Link,
};

/// A board that can be linked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Fleet,
    Group,
    Topic,
    Exporter,
}

impl Name {
    const ALL: [Self; 4] = [Self::Fleet, Self::Group, Self::Topic, Self::Exporter];

    fn uid(self) -> &'static str {
        match self {
            Self::Fleet => "alikafka-fleet",
            Self::Group => "alikafka-group",
            Self::Topic => "alikafka-topic",
            Self::Exporter => "alikafka-exporter",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Fleet => "AliKafka fleet",
            Self::Group => "AliKafka consumer group",
            Self::Topic => "AliKafka topic",
            Self::Exporter => "AliKafka exporter",
        }
    }

    fn tooltip(self) -> &'static str {
        match self {
            Self::Fleet => "All instances, and which groups are worst",
            Self::Group => "Lag of chosen groups by topic and partition",
            Self::Topic => "What is written to chosen topics, and who reads them",
            Self::Exporter => "Calls, failures and the age of the data",
        }
    }

    fn path(self) -> String {
        format!("/d/{}", self.uid())
    }
}

/// Where the labels of a link come from: the row of a table, or the line of a graph.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    Row,
    Line,
}

/// The variable that stands for a label.
fn variable_of(label: &str) -> &str {
    match label {
        "instance_id" => "instance",
        other => other,
    }
}

/// A link to a board with what the row or line is about chosen there, the time kept. The account is the one chosen
/// here: where accounts have no names a row has none, and Grafana would write the name of the variable instead.
pub(super) fn link(from: From, title: &str, board: Name, level: Level) -> Link {
    let mut url = format!("{}?${{__url_time_range}}&${{datasource:queryparam}}", board.path());
    for label in level.labels() {
        let source = match from {
            From::Row => format!("__data.fields.{label}"),
            From::Line => format!("__field.labels.{label}"),
        };
        match *label {
            "account" => url.push_str("&${account:queryparam}"),
            _ => url.push_str(&format!("&var-{}=${{{source}:percentencode}}", variable_of(label))),
        }
    }
    Link { title: title.to_owned(), url }
}

/// A variable, or none of Grafana's.
#[derive(Debug, Clone)]
pub(super) struct Variable(Value);

/// Matches every value, also one with a line break, and that of a label that is not there.
const ANY: &str = "(?s:.*)";
/// Matches every value of a name that may have a line break.
const ANY_NAME: &str = "(?s:.+)";
/// Matches every value of an id.
const ANY_ID: &str = ".+";

/// A to Z, whatever the case.
const BY_NAME: u8 = 5;
/// 0, 1, 2, 10.
const BY_NUMBER: u8 = 3;

pub(super) fn source() -> Variable {
    Variable(json!({
        "name": "datasource",
        "label": "Data source",
        "description": "The Prometheus that scrapes the exporter.",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "refresh": 1,
        "multi": false,
        "includeAll": false,
        "current": {},
        "options": [],
        "hide": 0,
        "skipUrlSync": false
    }))
}

fn query(
    (name, label, description): (&str, &str, &str),
    query: &str,
    regex: &str,
    all: &str,
    sort: u8,
) -> Variable {
    Variable(json!({
        "name": name,
        "label": label,
        "description": description,
        "type": "query",
        "datasource": datasource(),
        "definition": query,
        "query": { "query": query, "refId": name },
        "regex": regex,
        "refresh": 2,
        "sort": sort,
        "multi": true,
        "includeAll": true,
        "allValue": all,
        "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
        "options": [],
        "hide": 0,
        "skipUrlSync": false
    }))
}

/// Values of a label of a family, of what the variables before this one leave.
fn values(filters: Filters, id: MetricId, label: &str) -> String {
    format!("label_values({}, {label})", filters.plain(id))
}

pub(super) fn account() -> Variable {
    let about = ("account", "Account", "Accounts by name. Where they have no names there is none to choose.");
    query(about, &values(Filters(&[]), MetricId::RegionUp, "account"), "", ANY, BY_NAME)
}

pub(super) fn region(filters: Filters) -> Variable {
    let about = ("region", "Region", "Region of the Kafka instance.");
    query(about, &values(filters, MetricId::RegionUp, "region"), "", ANY_ID, BY_NAME)
}

/// Instances are chosen by name and matched by id. The two are all that is left of the labels, so that nothing in a
/// name, be it a quote, a brace or a line break, can be taken for another label.
pub(super) fn instance(filters: Filters) -> Variable {
    let about = ("instance", "Instance", "Kafka instances by name and id.");
    let text = format!(
        "query_result(max by (instance_id, shown) (label_join({}, \"shown\", \" / \", \"name\", \"instance_id\")))",
        filters.plain(MetricId::InstanceInfo)
    );
    let regex = r#"/\binstance_id="(?<value>[^"]+)",\s*shown="(?: \/ )?(?<text>[\s\S]+)"\}/"#;
    query(about, &text, regex, ANY_ID, BY_NAME)
}

pub(super) fn group(filters: Filters) -> Variable {
    let about = ("group", "Group", "Consumer groups of the selected instances.");
    query(about, &values(filters, MetricId::GroupInfo, "group"), "", ANY_NAME, BY_NAME)
}

pub(super) fn topic(filters: Filters) -> Variable {
    let about = ("topic", "Topic", "Topics of the selected instances.");
    query(about, &values(filters, MetricId::TopicInfo, "topic"), "", ANY_NAME, BY_NAME)
}

pub(super) fn topic_of_groups(filters: Filters) -> Variable {
    let about = ("topic", "Topic", "Topics that the selected groups read.");
    query(about, &values(filters, MetricId::GroupTopicLagFloor, "topic"), "", ANY_NAME, BY_NAME)
}

pub(super) fn partition_of_groups(filters: Filters) -> Variable {
    let about = ("partition", "Partition", "Partitions, for the row Partitions alone.");
    query(about, &values(filters, MetricId::GroupLagFloor, "partition"), "", ANY_ID, BY_NUMBER)
}

pub(super) fn job(filters: Filters) -> Variable {
    let about = ("job", "Job", "Scrape jobs of exporters.");
    query(about, &values(filters, MetricId::Series, "job"), "", ANY_ID, BY_NAME)
}

pub(super) fn exporter(filters: Filters) -> Variable {
    let about =
        ("exporter", "Exporter", "Exporters by the address that Prometheus scrapes: the label instance.");
    query(about, &values(filters, MetricId::Series, "instance"), "", ANY_ID, BY_NAME)
}

/// How many lines a graph and rows a table has at most.
pub(super) fn limit() -> Variable {
    let options: Vec<Value> = ["10", "20", "50", "100", "500"]
        .iter()
        .map(|n| json!({ "selected": *n == "20", "text": n, "value": n }))
        .collect();
    Variable(json!({
        "name": "limit",
        "label": "Lines and rows",
        "description": "How many lines a graph and how many rows a table has at most: the worst ones.",
        "type": "custom",
        "query": "10,20,50,100,500",
        "multi": false,
        "includeAll": false,
        "current": { "selected": true, "text": "20", "value": "20" },
        "options": options,
        "hide": 0,
        "skipUrlSync": false
    }))
}

/// Marks on the graphs, where a query is above 0.
#[derive(Debug, Clone)]
pub(super) struct Annotation {
    pub(super) name: &'static str,
    pub(super) color: &'static str,
    pub(super) expr: String,
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    pub(super) tags: &'static str,
}

impl Annotation {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "datasource": datasource(),
            "enable": true,
            "hide": false,
            "iconColor": self.color,
            "expr": self.expr,
            "step": "1m",
            "titleFormat": self.title,
            "textFormat": self.text,
            "tagKeys": self.tags,
            "useValueForTime": false
        })
    }
}

/// A board without the file around it.
#[derive(Debug, Clone)]
pub(super) struct Dashboard {
    pub(super) name: Name,
    pub(super) description: &'static str,
    pub(super) variables: Vec<Variable>,
    pub(super) annotations: Vec<Annotation>,
    pub(super) rows: Vec<Row>,
}

/// The plugins that a board needs, by the names that Grafana shows.
const PLUGINS: [(&str, &str); 4] = [
    ("stat", "Stat"),
    ("state-timeline", "State timeline"),
    ("table", "Table"),
    ("timeseries", "Time series"),
];

impl Dashboard {
    /// The text of the file.
    pub(super) fn text(self) -> String {
        let panels = layout(self.rows);
        let used: BTreeSet<String> = types(&panels).into_iter().collect();
        let mut requires = vec![
            json!({ "type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.0.0" }),
            json!({ "type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0" }),
        ];
        for (id, name) in PLUGINS.iter().filter(|(id, _)| used.contains(*id)) {
            requires.push(json!({ "type": "panel", "id": id, "name": name, "version": "" }));
        }
        let links: Vec<Value> = Name::ALL
            .iter()
            .filter(|other| **other != self.name)
            .map(|other| {
                json!({
                    "type": "link",
                    "title": other.title(),
                    "tooltip": other.tooltip(),
                    "url": other.path(),
                    "icon": "dashboard",
                    "tags": [],
                    "asDropdown": false,
                    "includeVars": true,
                    "keepTime": true,
                    "targetBlank": false
                })
            })
            .collect();
        let variables: Vec<&Value> = self.variables.iter().map(|v| &v.0).collect();
        let annotations: Vec<Value> = self.annotations.iter().map(Annotation::json).collect();
        let board = json!({
            "__requires": requires,
            "annotations": { "list": annotations },
            "description": self.description,
            "editable": false,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": null,
            "links": links,
            "liveNow": false,
            "panels": panels,
            "refresh": "1m",
            "schemaVersion": 39,
            "tags": ["alikafka", "alikafka-exporter", "kafka"],
            "templating": { "list": variables },
            "time": { "from": "now-6h", "to": "now" },
            "timepicker": {},
            "timezone": "browser",
            "title": self.name.title(),
            "uid": self.name.uid(),
            "version": 1,
            "weekStart": ""
        });
        format!("{board:#}\n")
    }
}

fn types(panels: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for panel in panels.as_array().into_iter().flatten() {
        found.extend(panel["type"].as_str().map(str::to_owned));
        found.extend(types(&panel["panels"]));
    }
    found
}
