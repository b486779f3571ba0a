//! Panels and rows as JSON.
//!
//! Owns: the options shared by all panels of a type, and the layout. Out of scope: queries and texts, which belong
//! to the dashboards.

use serde_json::{Map, Value, json};

use super::style::{
    BAD_FROM_ONE, Column, DataLink, NEUTRAL, ThresholdSteps, ValueTexts, label, label_properties, links_json,
    thresholds, thresholds_if_present, transparent, value_mappings,
};

/// Reference to the data source that the variable selects.
pub(super) fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QueryType {
    /// One value per step of the time range.
    Range,
    /// One value, at the end of the time range.
    Instant,
    /// One row per series, at the end of the time range.
    Table,
}

/// Query of a panel.
#[derive(Debug, Clone)]
struct PanelQuery {
    expr: String,
    legend: String,
    query_type: QueryType,
}

impl PanelQuery {
    fn json(&self, letter: char) -> Value {
        let mut json = json!({
            "datasource": datasource(),
            "editorMode": "code",
            "expr": self.expr,
            "instant": self.query_type != QueryType::Range,
            "range": self.query_type == QueryType::Range,
            "legendFormat": self.legend,
            "refId": letter.to_string()
        });
        if self.query_type == QueryType::Table {
            json["format"] = json!("table");
        }
        json
    }
}

/// Plugin that draws a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PanelType {
    Stat,
    TimeSeries,
    Table,
    StateTimeline,
}

impl PanelType {
    fn plugin(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::TimeSeries => "timeseries",
            Self::Table => "table",
            Self::StateTimeline => "state-timeline",
        }
    }

    /// Width and height, for panels without a size in rows without one.
    fn default_size(self) -> (u64, u64) {
        match self {
            Self::Stat => (4, 4),
            Self::Table => (24, 10),
            Self::TimeSeries | Self::StateTimeline => (12, 9),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Panel {
    panel_type: PanelType,
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    /// Text of a panel without data.
    no_value: &'static str,
    size: Option<(u64, u64)>,
    queries: Vec<PanelQuery>,
    columns: Vec<Column>,
    hidden_fields: Vec<String>,
    defaults: Map<String, Value>,
    custom: Map<String, Value>,
    overrides: Vec<Value>,
    options: Map<String, Value>,
    interval: Option<&'static str>,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn override_json(matcher: &str, options: &str, properties: &[(&str, Value)]) -> Value {
    let properties: Vec<Value> =
        properties.iter().map(|(id, value)| json!({ "id": id, "value": value })).collect();
    json!({ "matcher": { "id": matcher, "options": options }, "properties": properties })
}

impl Panel {
    fn new(panel_type: PanelType, title: &'static str, no_value: &'static str) -> Self {
        let color = if panel_type == PanelType::TimeSeries { "palette-classic" } else { "thresholds" };
        Self {
            panel_type,
            title,
            description: "",
            unit: "short",
            no_value,
            size: None,
            queries: Vec::new(),
            columns: Vec::new(),
            hidden_fields: Vec::new(),
            defaults: object(json!({ "color": { "mode": color }, "mappings": [] })),
            custom: Map::new(),
            overrides: Vec::new(),
            options: Map::new(),
            interval: None,
        }
        .thresholds(NEUTRAL)
    }

    /// One number, or a few.
    pub(super) fn stat(title: &'static str, no_value: &'static str) -> Self {
        let mut panel = Self::new(PanelType::Stat, title, no_value);
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

    /// Number of objects.
    pub(super) fn count(title: &'static str, no_value: &'static str) -> Self {
        Self::stat(title, no_value).unit("none").without_graph()
    }

    /// Lines over time.
    pub(super) fn graph(title: &'static str, no_value: &'static str) -> Self {
        let mut panel = Self::new(PanelType::TimeSeries, title, no_value);
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
        panel.options = object(json!({ "tooltip": { "mode": "multi", "sort": "desc" } }));
        panel.legend(&["lastNotNull", "max"])
    }

    /// Rates over time, with the mean and the maximum in the legend.
    pub(super) fn rates(title: &'static str, no_value: &'static str) -> Self {
        Self::graph(title, no_value).legend(&["mean", "max"])
    }

    /// Rows of labels and current values.
    pub(super) fn table(title: &'static str, no_value: &'static str) -> Self {
        let mut panel = Self::new(PanelType::Table, title, no_value);
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
    pub(super) fn timeline(title: &'static str, no_value: &'static str) -> Self {
        let mut panel = Self::new(PanelType::StateTimeline, title, no_value);
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

    fn with_custom(mut self, key: &str, value: Value) -> Self {
        self.custom.insert(key.to_owned(), value);
        self
    }

    fn with_option(mut self, key: &str, value: Value) -> Self {
        self.options.insert(key.to_owned(), value);
        self
    }

    pub(super) fn description(mut self, text: &'static str) -> Self {
        self.description = text;
        self
    }

    pub(super) fn size(mut self, width: u64, height: u64) -> Self {
        self.size = Some((width, height));
        self
    }

    pub(super) fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Sets the unit and the label of the axis.
    pub(super) fn axis(self, unit: &'static str, label: &str) -> Self {
        self.unit(unit).with_custom("axisLabel", json!(label))
    }

    pub(super) fn decimals(mut self, decimals: u8) -> Self {
        self.set("decimals", json!(decimals));
        self
    }

    pub(super) fn max(mut self, max: f64) -> Self {
        self.set("max", json!(max));
        self
    }

    /// Allows values below 0.
    pub(super) fn signed(mut self) -> Self {
        self.defaults.remove("min");
        self
    }

    /// Colors by value. A graph also draws the thresholds, unless there is only one.
    pub(super) fn thresholds(mut self, steps: ThresholdSteps) -> Self {
        // A graph would draw a line for missing values too.
        let missing_is_neutral = self.panel_type == PanelType::Stat && steps.len() > 1;
        self.set(
            "thresholds",
            if missing_is_neutral { thresholds_if_present(steps) } else { thresholds(steps) },
        );
        if self.panel_type == PanelType::TimeSeries && steps.len() > 1 {
            return self.with_custom("thresholdsStyle", json!({ "mode": "dashed" }));
        }
        self
    }

    /// Shows texts instead of numbers.
    pub(super) fn mapped(mut self, list: ValueTexts) -> Self {
        self.set("mappings", value_mappings(list));
        if self.panel_type == PanelType::Stat {
            self.set("thresholds", transparent());
        }
        self
    }

    /// Fills the panel with the color.
    pub(super) fn on_background(self) -> Self {
        self.with_option("colorMode", json!("background")).without_graph()
    }

    /// Removes the graph below the number.
    pub(super) fn without_graph(self) -> Self {
        self.with_option("graphMode", json!("none"))
    }

    /// Shows the legend as a table of these calculations, sorted by the first one.
    pub(super) fn legend(self, calcs: &[&str]) -> Self {
        let sort_by = match calcs.first() {
            Some(&"lastNotNull") => "Last *",
            Some(&"min") => "Min",
            Some(&"max") => "Max",
            _ => "Mean",
        };
        let legend = json!({
            "calcs": calcs,
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": true,
            "sortBy": sort_by,
            "sortDesc": sort_by != "Min"
        });
        self.with_option("legend", legend)
    }

    pub(super) fn stacked(self) -> Self {
        self.with_custom("stacking", json!({ "mode": "normal", "group": "A" }))
            .with_custom("fillOpacity", json!(30))
    }

    pub(super) fn bars(self) -> Self {
        self.with_custom("drawStyle", json!("bars")).with_custom("fillOpacity", json!(80))
    }

    /// Ends the axis at 1 or above, where Grafana would choose 100 for values that are mostly 0.
    pub(super) fn mostly_zero(self) -> Self {
        self.with_custom("axisSoftMax", json!(1))
    }

    pub(super) fn interval(mut self, interval: &'static str) -> Self {
        self.interval = Some(interval);
        self
    }

    fn with_query(mut self, expr: String, legend: &str, query_type: QueryType) -> Self {
        self.queries.push(PanelQuery { expr, legend: legend.to_owned(), query_type });
        self
    }

    /// Adds a query over the time range.
    pub(super) fn query(self, expr: impl Into<String>, legend: &str) -> Self {
        self.with_query(expr.into(), legend, QueryType::Range)
    }

    /// Adds a query at the end of the time range.
    pub(super) fn instant(self, expr: String, legend: &str) -> Self {
        self.with_query(expr, legend, QueryType::Instant)
    }

    /// Sets the links of every value.
    pub(super) fn links(mut self, links: &[DataLink]) -> Self {
        self.set("links", links_json(links));
        self
    }

    /// Sets properties of the lines of a query.
    pub(super) fn of_query(mut self, letter: char, properties: &[(&str, Value)]) -> Self {
        self.overrides.push(override_json("byFrameRefID", &letter.to_string(), properties));
        self
    }

    /// Dashes the lines of a query.
    pub(super) fn dashed(self, letter: char) -> Self {
        self.of_query(letter, &[("custom.lineStyle", json!({ "fill": "dash", "dash": [6, 6] }))])
    }

    /// Shows the lines of a query in the tooltip but not in the legend.
    pub(super) fn without_legend(self, letter: char) -> Self {
        let hidden = json!({ "legend": true, "tooltip": false, "viz": false });
        self.of_query(letter, &[("custom.hideFrom", hidden)])
    }

    /// Sets properties of the line or number with a name.
    pub(super) fn of_name(mut self, name: &str, properties: &[(&str, Value)]) -> Self {
        self.overrides.push(override_json("byName", name, properties));
        self
    }

    /// Sets the color of the line with a name.
    pub(super) fn colored(self, name: &str, color: &str) -> Self {
        self.of_name(name, &[("color", json!({ "mode": "fixed", "fixedColor": color }))])
    }

    /// Adds a query to a stat, in red unless it is 0.
    pub(super) fn bad_query(self, expr: String, legend: &str) -> Self {
        self.query(expr, legend).of_name(legend, &[("thresholds", thresholds_if_present(BAD_FROM_ONE))])
    }

    /// Adds a column of labels to a table.
    pub(super) fn column(mut self, column: Column) -> Self {
        self.columns.push(column);
        self
    }

    /// Adds the columns that identify the instance to a table.
    pub(super) fn instance_columns(self) -> Self {
        self.column(label("instance_id", "Instance ID"))
            .column(label("region", "Region"))
            .column(label("account", "Account"))
    }

    /// Adds a query to a table whose values are a column.
    pub(super) fn value(self, expr: impl Into<String>, mut column: Column) -> Self {
        let mut panel = self.with_query(expr.into(), "", QueryType::Table);
        column.field = panel.last_field();
        panel.columns.push(column);
        panel
    }

    /// Adds a query to a table for its labels only.
    pub(super) fn labels_of(self, expr: impl Into<String>) -> Self {
        let mut panel = self.with_query(expr.into(), "", QueryType::Table);
        panel.hidden_fields.push(panel.last_field());
        panel
    }

    /// Field with the values of the last query, as Grafana names it if there are several.
    fn last_field(&self) -> String {
        format!("Value #{}", ('A'..='Z').nth(self.queries.len().saturating_sub(1)).unwrap_or('A'))
    }

    /// Hides a label of a table.
    pub(super) fn hiding(mut self, field: &str) -> Self {
        self.hidden_fields.push(field.to_owned());
        self
    }

    /// Shows further labels whose names match a pattern, for names that depend on the configuration of the exporter.
    pub(super) fn more_labels(mut self, pattern: &str) -> Self {
        self.overrides.push(override_json("byRegexp", pattern, &label_properties()));
        self
    }

    pub(super) fn sorted_by(self, title: &str) -> Self {
        self.with_option("sortBy", json!([{ "displayName": title, "desc": true }]))
    }

    pub(super) fn sorted_ascending_by(self, title: &str) -> Self {
        self.with_option("sortBy", json!([{ "displayName": title, "desc": false }]))
    }

    /// Transformations that merge the queries of a table, and name and order its columns.
    fn transformations(&self) -> Vec<Value> {
        let single = self.queries.len() == 1;
        // Grafana calls the values of a single query "Value".
        let field = |name: &String| match single && name.starts_with("Value #") {
            true => "Value".to_owned(),
            false => name.clone(),
        };
        let mut excluded = Map::from_iter([("Time".to_owned(), json!(true))]);
        excluded.extend(self.hidden_fields.iter().map(|name| (field(name), json!(true))));
        let (mut order, mut titles) = (Map::new(), Map::new());
        for (index, column) in self.columns.iter().enumerate() {
            order.insert(field(&column.field), json!(index));
            titles.insert(field(&column.field), json!(column.title));
        }
        let organize = json!({
            "id": "organize",
            "options": { "excludeByName": excluded, "indexByName": order, "renameByName": titles }
        });
        match single {
            true => vec![organize],
            false => vec![json!({ "id": "merge", "options": {} }), organize],
        }
    }

    fn json(mut self, id: u64, (x, y): (u64, u64), (width, height): (u64, u64)) -> Value {
        let queries: Vec<Value> =
            self.queries.iter().zip('A'..='Z').map(|(query, letter)| query.json(letter)).collect();
        let columns = self.columns.iter().map(|c| override_json("byName", c.title, &c.properties));
        let overrides: Vec<Value> = columns.chain(self.overrides.clone()).collect();
        self.set("unit", json!(self.unit));
        self.set("noValue", json!(self.no_value));
        if !self.custom.is_empty() {
            self.set("custom", json!(self.custom));
        }
        let mut panel = json!({
            "id": id,
            "type": self.panel_type.plugin(),
            "title": self.title,
            "description": self.description,
            "datasource": datasource(),
            "gridPos": { "x": x, "y": y, "w": width, "h": height },
            "fieldConfig": { "defaults": self.defaults, "overrides": overrides },
            "options": self.options,
            "targets": queries
        });
        if self.panel_type == PanelType::Table {
            panel["transformations"] = json!(self.transformations());
        }
        if let Some(interval) = self.interval {
            panel["interval"] = json!(interval);
        }
        panel
    }
}

/// Row of panels, laid out from left to right and then downwards.
#[derive(Debug, Clone)]
pub(super) struct Row {
    title: &'static str,
    /// Whether the row is closed at first. Grafana does not run the queries of a closed row.
    collapsed: bool,
    /// Variable for each of whose values Grafana repeats the row.
    repeat: Option<&'static str>,
    /// Size of panels without a size of their own.
    panel_size: Option<(u64, u64)>,
    panels: Vec<Panel>,
}

impl Row {
    pub(super) fn new(title: &'static str, panels: Vec<Panel>) -> Self {
        Self { title, collapsed: false, repeat: None, panel_size: None, panels }
    }

    pub(super) fn collapsed(mut self) -> Self {
        self.collapsed = true;
        self
    }

    pub(super) fn repeated(mut self, variable: &'static str) -> Self {
        self.repeat = Some(variable);
        self
    }

    pub(super) fn panel_size(mut self, width: u64, height: u64) -> Self {
        self.panel_size = Some((width, height));
        self
    }
}

/// Places all rows below each other.
pub(super) fn layout(rows: Vec<Row>) -> Value {
    let mut all: Vec<Value> = Vec::new();
    let (mut id, mut y) = (0, 0);
    for row in rows {
        id += 1;
        let mut head = json!({
            "id": id,
            "type": "row",
            "title": row.title,
            "collapsed": row.collapsed,
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
            let size = panel.size.or(row.panel_size).unwrap_or(panel.panel_type.default_size());
            if x + size.0 > 24 {
                (x, line) = (0, lowest);
            }
            id += 1;
            panels.push(panel.json(id, (x, line), size));
            x += size.0;
            lowest = lowest.max(line + size.1);
        }
        if row.collapsed {
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
