//! Dashboards as files: their addresses, links, annotations and variables.
//!
//! Out of scope: panels.

use std::{collections::BTreeSet, fmt::Write as _};

use alikafka_exporter::exposition::catalog::MetricId;
use serde_json::{Value, json};

use super::{
    panel::{Row, datasource, layout},
    query::{Filters, Level},
    style::DataLink,
};

/// Identity of a dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DashboardId {
    Fleet,
    Group,
    Topic,
    Exporter,
}

impl DashboardId {
    const ALL: [Self; 4] = [Self::Fleet, Self::Group, Self::Topic, Self::Exporter];

    /// UID, title and tooltip.
    fn texts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Fleet => {
                ("alikafka-fleet", "AliKafka fleet", "All instances, and the groups in the worst condition")
            }
            Self::Group => {
                ("alikafka-group", "AliKafka consumer group", "Lag of selected groups by topic and partition")
            }
            Self::Topic => {
                ("alikafka-topic", "AliKafka topic", "Throughput and consumers of selected topics")
            }
            Self::Exporter => {
                ("alikafka-exporter", "AliKafka exporter", "API calls, failures, and age of the data")
            }
        }
    }

    fn path(self) -> String {
        format!("/d/{}", self.texts().0)
    }

    /// Link to the dashboard in the bar of another one.
    fn dashboard_link(self) -> Value {
        let (_, title, tooltip) = self.texts();
        json!({
            "type": "link",
            "title": title,
            "tooltip": tooltip,
            "url": self.path(),
            "icon": "dashboard",
            "tags": [],
            "asDropdown": false,
            "includeVars": true,
            "keepTime": true,
            "targetBlank": false
        })
    }
}

/// Source of the labels of a link.
#[derive(Debug, Clone, Copy)]
pub(super) enum LinkSource {
    TableRow,
    GraphLine,
}

/// Returns a link to a dashboard that selects the object of the row or line there and keeps the time range.
///
/// The account is the one selected on this dashboard: without named accounts rows have no account, and Grafana would
/// insert the name of the variable.
pub(super) fn link(source: LinkSource, title: &'static str, target: DashboardId, level: Level) -> DataLink {
    let mut url = format!("{}?${{__url_time_range}}&${{datasource:queryparam}}", target.path());
    for label in level.labels() {
        let field = match source {
            LinkSource::TableRow => "__data.fields",
            LinkSource::GraphLine => "__field.labels",
        };
        let variable = if *label == "instance_id" { "instance" } else { label };
        // Writing to a String cannot fail.
        _ = match *label {
            "account" => write!(url, "&${{account:queryparam}}"),
            _ => write!(url, "&var-{variable}=${{{field}.{label}:percentencode}}"),
        };
    }
    DataLink { title, url }
}

/// Links to the dashboard of a group and, for a topic of a group, to that of the topic.
pub(super) fn group_links(source: LinkSource, level: Level) -> Vec<DataLink> {
    let mut links = vec![link(source, "Open group", DashboardId::Group, level)];
    if level == Level::GroupTopic {
        links.push(link(source, "Open topic", DashboardId::Topic, Level::Topic));
    }
    links
}

/// Variables of a dashboard: the data source, one variable per filter, and the limit of lines and rows.
fn variables(filters: Filters) -> Vec<Value> {
    let mut variables = vec![json!({
        "name": "datasource",
        "label": "Data source",
        "description": "Prometheus that scrapes the exporter.",
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
    })];
    for (index, (label, name)) in filters.0.iter().enumerate() {
        variables.push(query_variable(filters, index, label, name));
    }
    let options: Vec<Value> = ["10", "20", "50", "100", "500"]
        .iter()
        .map(|n| json!({ "selected": *n == "20", "text": n, "value": n }))
        .collect();
    variables.push(json!({
        "name": "limit",
        "label": "Lines and rows",
        "description": "Maximum number of lines per graph and rows per table, worst first.",
        "type": "custom",
        "query": "10,20,50,100,500",
        "multi": false,
        "includeAll": false,
        "current": { "selected": true, "text": "20", "value": "20" },
        "options": options,
        "hide": 0,
        "skipUrlSync": false
    }));
    variables
}

/// Variable of one filter. The selections in the variables before it restrict its values.
fn query_variable(filters: Filters, index: usize, label: &str, name: &str) -> Value {
    /// Matches every value, including one with a line break and that of a missing label.
    const ANY: &str = "(?s:.*)";
    /// Matches every name, including one with a line break.
    const ANY_NAME: &str = "(?s:.+)";
    const ANY_ID: &str = ".+";
    /// Alphabetical, case-insensitive order of Grafana.
    const ALPHABETICAL: u8 = 5;
    /// Numerical order of Grafana.
    const NUMERICAL: u8 = 3;

    let by_group = filters.0.iter().any(|(label, _)| *label == "group");
    let (title, description, family, all) = match name {
        "job" => ("Job", "Scrape jobs of exporters.", MetricId::Series, ANY_ID),
        "exporter" => ("Exporter", "Exporters by scrape address (label instance).", MetricId::Series, ANY_ID),
        "account" => {
            ("Account", "Accounts by name. Empty if accounts have no names.", MetricId::RegionUp, ANY)
        }
        "region" => ("Region", "Region of the Kafka instance.", MetricId::RegionUp, ANY_ID),
        "instance" => ("Instance", "Kafka instances by name and ID.", MetricId::InstanceInfo, ANY_ID),
        "group" => ("Group", "Consumer groups of the selected instances.", MetricId::GroupInfo, ANY_NAME),
        "topic" if by_group => {
            ("Topic", "Topics that the selected groups consume.", MetricId::GroupTopicLagFloor, ANY_NAME)
        }
        "topic" => ("Topic", "Topics of the selected instances.", MetricId::TopicInfo, ANY_NAME),
        _ => (
            "Partition",
            "Partitions, for the row Partitions only.",
            MetricId::GroupPartitionLagFloor,
            ANY_ID,
        ),
    };
    let before = Filters(if name == "account" { &[] } else { &filters.0[..index] });
    let series = before.plain(family);
    let (query, regex) = match name {
        // Instances are selected by name and matched by ID. The query removes all other labels, so that no quote,
        // brace or line break in a name can be mistaken for another label.
        "instance" => (
            format!(
                "query_result(max by (instance_id, shown) \
                 (label_join({series}, \"shown\", \" / \", \"name\", \"instance_id\")))"
            ),
            r#"/\binstance_id="(?<value>[^"]+)",\s*shown="(?: \/ )?(?<text>[\s\S]+)"\}/"#,
        ),
        _ => (format!("label_values({series}, {label})"), ""),
    };
    json!({
        "name": name,
        "label": title,
        "description": description,
        "type": "query",
        "datasource": datasource(),
        "definition": query,
        "query": { "query": query, "refId": name },
        "regex": regex,
        "refresh": 2,
        "sort": if name == "partition" { NUMERICAL } else { ALPHABETICAL },
        "multi": true,
        "includeAll": true,
        "allValue": all,
        "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
        "options": [],
        "hide": 0,
        "skipUrlSync": false
    })
}

/// Annotation of graphs wherever a query is above 0.
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

#[derive(Debug, Clone)]
pub(super) struct Dashboard {
    pub(super) id: DashboardId,
    pub(super) description: &'static str,
    pub(super) filters: Filters,
    pub(super) annotations: Vec<Annotation>,
    pub(super) rows: Vec<Row>,
}

/// Panel plugins, with the names that Grafana shows.
const PLUGINS: [(&str, &str); 4] = [
    ("stat", "Stat"),
    ("state-timeline", "State timeline"),
    ("table", "Table"),
    ("timeseries", "Time series"),
];

impl Dashboard {
    /// Text of the JSON file.
    pub(super) fn text(self) -> String {
        let (uid, title, _) = self.id.texts();
        let panels = layout(self.rows);
        let mut used = BTreeSet::new();
        collect_plugins(&panels, &mut used);
        let mut requires = vec![
            json!({ "type": "grafana", "id": "grafana", "name": "Grafana", "version": "10.0.0" }),
            json!({ "type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0" }),
        ];
        for (id, name) in PLUGINS.iter().filter(|(id, _)| used.contains(*id)) {
            requires.push(json!({ "type": "panel", "id": id, "name": name, "version": "" }));
        }
        let links: Vec<Value> = DashboardId::ALL
            .into_iter()
            .filter(|other| *other != self.id)
            .map(DashboardId::dashboard_link)
            .collect();
        let annotations: Vec<Value> = self.annotations.iter().map(Annotation::json).collect();
        let dashboard = json!({
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
            "templating": { "list": variables(self.filters) },
            "time": { "from": "now-6h", "to": "now" },
            "timepicker": {},
            "timezone": "browser",
            "title": title,
            "uid": uid,
            "version": 1,
            "weekStart": ""
        });
        format!("{dashboard:#}\n")
    }
}

/// Adds the plugins of all panels, including those in rows.
fn collect_plugins(panels: &Value, used: &mut BTreeSet<String>) {
    for panel in panels.as_array().into_iter().flatten() {
        used.extend(panel["type"].as_str().map(str::to_owned));
        collect_plugins(&panel["panels"], used);
    }
}
