//! Panels and rows as Grafana stores them.
//!
//! Owns: the looks that all boards share, and where panels stand. Refuses: queries and words, which are the boards'.

use serde_json::{Map, Value, json};

use super::style::{
    Column, Link, NOT_KNOWN, PLAIN, Steps, behind_words, thresholds, thresholds_of_known, words,
};

/// The data source that the variable chooses.
pub(super) fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// A query of a panel.
#[derive(Debug, Clone)]
struct Target {
    expr: String,
    legend: String,
    instant: bool,
    table: bool,
}

/// What a panel is drawn as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stat,
    TimeSeries,
    Table,
    StateTimeline,
}

impl Kind {
    fn plugin(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::TimeSeries => "timeseries",
            Self::Table => "table",
            Self::StateTimeline => "state-timeline",
        }
    }
}

/// A panel.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    kind: Kind,
    title: String,
    description: String,
    unit: String,
    no_value: String,
    size: (u64, u64),
    targets: Vec<Target>,
    defaults: Map<String, Value>,
    custom: Map<String, Value>,
    overrides: Vec<Value>,
    options: Map<String, Value>,
    transformations: Vec<Value>,
    interval: Option<&'static str>,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

impl Panel {
    fn new(kind: Kind, title: &str, description: &str, no_value: &str) -> Self {
        Self {
            kind,
            title: title.to_owned(),
            description: description.to_owned(),
            unit: "short".to_owned(),
            no_value: no_value.to_owned(),
            size: (12, 9),
            targets: Vec::new(),
            defaults: Map::new(),
            custom: Map::new(),
            overrides: Vec::new(),
            options: Map::new(),
            transformations: Vec::new(),
            interval: None,
        }
        .judged(PLAIN)
    }

    /// One number, or a few.
    pub(super) fn stat(title: &str, description: &str, no_value: &str) -> Self {
        let mut panel = Self::new(Kind::Stat, title, description, no_value).size(4, 4);
        panel.set("color", json!({ "mode": "thresholds" }));
        panel.options = object(json!({
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "auto",
            "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false }
        }));
        panel
    }

    /// Lines over time.
    pub(super) fn graph(title: &str, description: &str, no_value: &str) -> Self {
        let mut panel = Self::new(Kind::TimeSeries, title, description, no_value);
        panel.set("color", json!({ "mode": "palette-classic" }));
        panel.set("min", json!(0));
        panel.custom = object(json!({
            "drawStyle": "line",
            "lineInterpolation": "linear",
            "lineWidth": 1,
            "fillOpacity": 0,
            "showPoints": "never",
            "spanNulls": false,
            "axisPlacement": "auto",
            "scaleDistribution": { "type": "linear" },
            "stacking": { "mode": "none", "group": "A" },
            "thresholdsStyle": { "mode": "off" }
        }));
        panel.legend(&["lastNotNull", "max"]).tooltip("multi")
    }

    /// Rows of labels and numbers, of this moment.
    pub(super) fn table(title: &str, description: &str, no_value: &str) -> Self {
        let mut panel = Self::new(Kind::Table, title, description, no_value).size(24, 10);
        panel.set("color", json!({ "mode": "thresholds" }));
        panel.custom = object(json!({
            "align": "auto",
            "cellOptions": { "type": "auto" },
            "filterable": false,
            "inspect": false
        }));
        panel.options = object(json!({
            "cellHeight": "sm",
            "showHeader": true,
            "footer": {
                "show": false, "reducer": ["sum"], "countRows": false, "enablePagination": true
            }
        }));
        panel
    }

    /// States over time.
    pub(super) fn timeline(title: &str, description: &str, no_value: &str) -> Self {
        let mut panel = Self::new(Kind::StateTimeline, title, description, no_value);
        panel.set("color", json!({ "mode": "thresholds" }));
        panel.custom = object(json!({ "fillOpacity": 80, "lineWidth": 0 }));
        panel.options = object(json!({
            "mergeValues": true,
            "showValue": "auto",
            "alignValue": "left",
            "rowHeight": 0.85,
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
            "tooltip": { "mode": "single", "sort": "none" }
        }));
        panel
    }

    fn set(&mut self, key: &str, value: Value) {
        self.defaults.insert(key.to_owned(), value);
    }

    pub(super) fn size(mut self, width: u64, height: u64) -> Self {
        self.size = (width, height);
        self
    }

    pub(super) fn unit(mut self, unit: &str) -> Self {
        unit.clone_into(&mut self.unit);
        self
    }

    pub(super) fn decimals(mut self, decimals: u8) -> Self {
        self.set("decimals", json!(decimals));
        self
    }

    /// What the axis is of.
    pub(super) fn axis(mut self, text: &str) -> Self {
        self.custom.insert("axisLabel".to_owned(), json!(text));
        self
    }

    pub(super) fn max(mut self, max: f64) -> Self {
        self.set("max", json!(max));
        self
    }

    /// Values may be below 0.
    pub(super) fn signed(mut self) -> Self {
        self.defaults.remove("min");
        self
    }

    /// Colours by value. Graphs draw the thresholds too, unless there is but one.
    pub(super) fn judged(mut self, steps: Steps) -> Self {
        // A graph draws a line at each, so it has none for what is not known.
        let of_known = self.kind == Kind::Stat && steps.len() > 1;
        self.set("thresholds", if of_known { thresholds_of_known(steps) } else { thresholds(steps) });
        if self.kind == Kind::TimeSeries && steps.len() > 1 {
            self.custom.insert("thresholdsStyle".to_owned(), json!({ "mode": "dashed" }));
        }
        self
    }

    pub(super) fn words(mut self, list: &[(i64, &str, &str)]) -> Self {
        self.set("mappings", words(list));
        if self.kind == Kind::Stat {
            self.set("thresholds", behind_words());
        }
        self
    }

    /// The colour fills the panel.
    pub(super) fn on_background(mut self) -> Self {
        self.options.insert("colorMode".to_owned(), json!("background"));
        self.options.insert("graphMode".to_owned(), json!("none"));
        self
    }

    /// Without the line below the number.
    pub(super) fn without_graph(mut self) -> Self {
        self.options.insert("graphMode".to_owned(), json!("none"));
        self
    }

    /// The legend as a table with these numbers, sorted by the first.
    pub(super) fn legend(mut self, calcs: &[&str]) -> Self {
        let shown = match calcs.first() {
            Some(&"lastNotNull") => "Last *",
            Some(&"min") => "Min",
            Some(&"max") => "Max",
            _ => "Mean",
        };
        self.options.insert(
            "legend".to_owned(),
            json!({
                "calcs": calcs,
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": true,
                "sortBy": shown,
                "sortDesc": shown != "Min"
            }),
        );
        self
    }

    fn tooltip(mut self, mode: &str) -> Self {
        self.options.insert("tooltip".to_owned(), json!({ "mode": mode, "sort": "desc" }));
        self
    }

    pub(super) fn stacked(mut self) -> Self {
        self.custom.insert("stacking".to_owned(), json!({ "mode": "normal", "group": "A" }));
        self.custom.insert("fillOpacity".to_owned(), json!(30));
        self
    }

    pub(super) fn bars(mut self) -> Self {
        self.custom.insert("drawStyle".to_owned(), json!("bars"));
        self.custom.insert("fillOpacity".to_owned(), json!(80));
        self
    }

    /// Values that are mostly 0: an axis to 1 at least, where Grafana would take 100.
    pub(super) fn mostly_zero(mut self) -> Self {
        self.custom.insert("axisSoftMax".to_owned(), json!(1));
        self
    }

    /// Lines of a query that are in the tooltip and not in the legend.
    pub(super) fn without_legend(self, letter: char) -> Self {
        let hidden = json!({ "legend": true, "tooltip": false, "viz": false });
        self.of_query(letter, &[("custom.hideFrom", hidden)])
    }

    pub(super) fn interval(mut self, interval: &'static str) -> Self {
        self.interval = Some(interval);
        self
    }

    /// A query over time.
    pub(super) fn query(mut self, expr: impl Into<String>, legend: &str) -> Self {
        self.targets.push(Target {
            expr: expr.into(),
            legend: legend.to_owned(),
            instant: false,
            table: false,
        });
        self
    }

    /// A query of this moment.
    pub(super) fn instant(mut self, expr: impl Into<String>, legend: &str) -> Self {
        self.targets.push(Target {
            expr: expr.into(),
            legend: legend.to_owned(),
            instant: true,
            table: false,
        });
        self
    }

    /// A query whose values are a column.
    pub(super) fn rows(mut self, expr: impl Into<String>) -> Self {
        self.targets.push(Target { expr: expr.into(), legend: String::new(), instant: true, table: true });
        self
    }

    /// Links of every value.
    pub(super) fn links(mut self, links: &[Link]) -> Self {
        let links: Vec<Value> = links.iter().map(Link::json).collect();
        self.set("links", json!(links));
        self
    }

    /// A property of the lines of a query.
    pub(super) fn of_query(self, letter: char, properties: &[(&str, Value)]) -> Self {
        self.overridden("byFrameRefID", &letter.to_string(), properties)
    }

    /// A property of the line or column with this name.
    pub(super) fn of_name(self, name: &str, properties: &[(&str, Value)]) -> Self {
        self.overridden("byName", name, properties)
    }

    fn overridden(mut self, matcher: &str, options: &str, properties: &[(&str, Value)]) -> Self {
        let properties: Vec<Value> =
            properties.iter().map(|(id, value)| json!({ "id": id, "value": value })).collect();
        self.overrides.push(json!({
            "matcher": { "id": matcher, "options": options },
            "properties": properties
        }));
        self
    }

    /// A line of a name in a colour.
    pub(super) fn colored(self, name: &str, color: &str) -> Self {
        self.of_name(name, &[("color", json!({ "mode": "fixed", "fixedColor": color }))])
    }

    /// The columns from left to right; what is not among them is hidden. Sorted by the first column named.
    pub(super) fn columns(mut self, columns: &[Column], sorted_by: &str) -> Self {
        // With one query Grafana calls its values Value, with several Value #A and so on.
        let single = self.targets.len() == 1;
        let name = |column: &Column| match single && column.field.starts_with("Value #") {
            true => "Value".to_owned(),
            false => column.field.clone(),
        };
        let order: Map<String, Value> =
            columns.iter().enumerate().map(|(index, column)| (name(column), json!(index))).collect();
        let titles: Map<String, Value> =
            columns.iter().map(|column| (name(column), json!(column.title))).collect();
        if !single {
            self.transformations.push(json!({ "id": "merge", "options": {} }));
        }
        self.transformations.push(json!({
            "id": "organize",
            "options": {
                "excludeByName": { "Time": true },
                "indexByName": order,
                "renameByName": titles
            }
        }));
        for column in columns {
            self = self.of_name(&column.title, &column.properties);
        }
        self.options.insert("sortBy".to_owned(), json!([{ "displayName": sorted_by, "desc": true }]));
        self
    }

    /// Columns whose names only the exporter's configuration tells.
    pub(super) fn more_labels(self, pattern: &str) -> Self {
        let properties =
            [("unit", json!("string")), ("noValue", json!(NOT_KNOWN)), ("custom.filterable", json!(true))];
        self.overridden("byRegexp", pattern, &properties)
    }

    /// Hides a label that only some rows have, or that no reader needs.
    pub(super) fn hiding(mut self, names: &[&str]) -> Self {
        for transformation in &mut self.transformations {
            for name in names {
                if transformation["id"] == "organize" {
                    transformation["options"]["excludeByName"][*name] = json!(true);
                }
            }
        }
        self
    }

    /// Rows from the least to the most.
    pub(super) fn ascending(mut self) -> Self {
        if let Some(sort) = self.options.get_mut("sortBy").and_then(|s| s.get_mut(0)) {
            sort["desc"] = json!(false);
        }
        self
    }

    fn json(mut self, id: u64, x: u64, y: u64) -> Value {
        let targets: Vec<Value> = self
            .targets
            .iter()
            .zip('A'..='Z')
            .map(|(target, letter)| {
                let mut json = json!({
                    "datasource": datasource(),
                    "editorMode": "code",
                    "expr": target.expr,
                    "instant": target.instant,
                    "range": !target.instant,
                    "legendFormat": target.legend,
                    "refId": letter.to_string()
                });
                if target.table {
                    json["format"] = json!("table");
                }
                json
            })
            .collect();
        self.set("unit", json!(self.unit));
        self.set("noValue", json!(self.no_value));
        if !self.defaults.contains_key("mappings") {
            self.set("mappings", json!([]));
        }
        if !self.custom.is_empty() {
            self.set("custom", json!(self.custom));
        }
        let mut panel = json!({
            "id": id,
            "type": self.kind.plugin(),
            "title": self.title,
            "description": self.description,
            "datasource": datasource(),
            "gridPos": { "x": x, "y": y, "w": self.size.0, "h": self.size.1 },
            "fieldConfig": { "defaults": self.defaults, "overrides": self.overrides },
            "options": self.options,
            "targets": targets
        });
        if !self.transformations.is_empty() {
            panel["transformations"] = json!(self.transformations);
        }
        if let Some(interval) = self.interval {
            panel["interval"] = json!(interval);
        }
        panel
    }
}

/// A row with its panels, which stand from left to right and then below.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) title: String,
    /// Closed until a reader opens it: its queries are not asked before.
    pub(super) closed: bool,
    /// The variable of which each chosen value has a row of its own.
    pub(super) repeat: Option<&'static str>,
    pub(super) panels: Vec<Panel>,
}

impl Row {
    pub(super) fn open(title: &str, panels: Vec<Panel>) -> Self {
        Self { title: title.to_owned(), closed: false, repeat: None, panels }
    }

    pub(super) fn closed(title: &str, panels: Vec<Panel>) -> Self {
        Self { title: title.to_owned(), closed: true, repeat: None, panels }
    }

    pub(super) fn repeated(mut self, variable: &'static str) -> Self {
        self.repeat = Some(variable);
        self
    }
}

/// All rows below each other.
pub(super) fn layout(rows: Vec<Row>) -> Value {
    let mut all: Vec<Value> = Vec::new();
    let (mut id, mut y) = (0, 0);
    for row in rows {
        id += 1;
        let mut head = json!({
            "id": id,
            "type": "row",
            "title": row.title,
            "collapsed": row.closed,
            "gridPos": { "x": 0, "y": y, "w": 24, "h": 1 },
            "panels": []
        });
        if let Some(variable) = row.repeat {
            head["repeat"] = json!(variable);
        }
        y += 1;
        let (mut x, mut line, mut lowest) = (0, y, y);
        let mut panels = Vec::new();
        for panel in row.panels {
            let (width, height) = panel.size;
            if x + width > 24 {
                (x, line) = (0, lowest);
            }
            id += 1;
            panels.push(panel.json(id, x, line));
            x += width;
            lowest = lowest.max(line + height);
        }
        if row.closed {
            head["panels"] = json!(panels);
            all.push(head);
        } else {
            y = lowest;
            all.push(head);
            all.append(&mut panels);
        }
    }
    json!(all)
}
