//! Thresholds, value mappings, links and table columns.

use serde_json::{Map, Value, json};

/// Colors by value: each applies to its value and above. The first one has no value.
pub(super) type ThresholdSteps = &'static [(Option<f64>, &'static str)];
/// Texts for numbers, each with its color.
pub(super) type ValueTexts<'a> = &'a [(i64, &'a str, &'a str)];

/// One color for all values.
pub(super) const NEUTRAL: ThresholdSteps = &[(None, "blue")];
/// Good only at 0.
pub(super) const BAD_FROM_ONE: ThresholdSteps = &[(None, "green"), (Some(1.0), "red")];
/// Lag in messages.
pub(super) const LAG_MESSAGES: ThresholdSteps =
    &[(None, "green"), (Some(10_000.0), "yellow"), (Some(100_000.0), "red")];
/// Lag in seconds.
pub(super) const LAG_SECONDS: ThresholdSteps =
    &[(None, "green"), (Some(300.0), "yellow"), (Some(600.0), "red")];
/// Seconds until data loss.
pub(super) const LOSS_SECONDS: ThresholdSteps =
    &[(None, "red"), (Some(21_600.0), "yellow"), (Some(86_400.0), "green")];
/// Seconds to catch up at or above which graphs omit the forecast, because a slope near 0 makes it jump.
pub(super) const MAX_CATCH_UP: &str = "86400";
/// Seconds until data loss at or above which graphs omit the forecast.
pub(super) const MAX_LOSS: &str = "604800";
/// Seconds since the last successful poll.
pub(super) const AGE_SECONDS: ThresholdSteps =
    &[(None, "green"), (Some(180.0), "yellow"), (Some(420.0), "red")];
/// Share of a limit.
pub(super) const SHARE: ThresholdSteps = &[(None, "green"), (Some(0.8), "yellow"), (Some(0.95), "red")];
/// Ratio of the maximum to the mean.
pub(super) const SKEW: ThresholdSteps = &[(None, "green"), (Some(2.0), "yellow"), (Some(5.0), "red")];

/// Text of a table cell without a value. The text of an empty panel would be misleading there.
const EMPTY_CELL: &str = "–";

fn steps<'a>(steps: impl Iterator<Item = (Option<f64>, &'a str)>) -> Value {
    let steps: Vec<Value> = steps.map(|(value, color)| json!({ "color": color, "value": value })).collect();
    json!({ "mode": "absolute", "steps": steps })
}

/// Thresholds of a graph.
pub(super) fn thresholds(list: ThresholdSteps) -> Value {
    steps(list.iter().copied())
}

/// Thresholds of a number or a cell, with a neutral color for missing values.
pub(super) fn thresholds_if_present(list: ThresholdSteps) -> Value {
    /// Less than any value.
    const LOWEST: f64 = -1e15;
    let known = list.iter().map(|(value, color)| (value.or(Some(LOWEST)), *color));
    steps([(None, "text")].into_iter().chain(known))
}

/// Background for mapped texts, whose mappings have their own colors.
pub(super) fn transparent() -> Value {
    thresholds(&[(None, "transparent")])
}

/// Mappings from numbers to colored texts.
pub(super) fn value_mappings(list: ValueTexts) -> Value {
    let options: Map<String, Value> = list
        .iter()
        .enumerate()
        .map(|(index, (number, text, color))| {
            (number.to_string(), json!({ "text": text, "color": color, "index": index }))
        })
        .collect();
    json!([{ "type": "value", "options": options }])
}

/// Link from a value to a dashboard.
#[derive(Debug, Clone)]
pub(super) struct DataLink {
    pub(super) title: &'static str,
    pub(super) url: String,
}

pub(super) fn links_json(links: &[DataLink]) -> Value {
    links
        .iter()
        .map(|link| json!({ "title": link.title, "url": link.url, "targetBlank": false }))
        .collect::<Vec<_>>()
        .into()
}

/// Column of a table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) field: String,
    pub(super) title: &'static str,
    pub(super) properties: Vec<(&'static str, Value)>,
}

/// Column with the values of a label, as plain texts that a reader may filter by.
pub(super) fn label(field: &str, title: &'static str) -> Column {
    let column = Column { field: field.to_owned(), title, properties: label_properties() };
    match field {
        "region" => column.width(125),
        "account" => column.width(120),
        "partition" => column.width(110),
        "state" | "storage" | "cleanup" => column.width(100),
        "instance_id" => column.width(240),
        _ => column,
    }
}

/// Properties of a column of label values.
pub(super) fn label_properties() -> Vec<(&'static str, Value)> {
    vec![("unit", json!("string")), ("noValue", json!(EMPTY_CELL)), ("custom.filterable", json!(true))]
}

/// Column with the values of a query, which `Panel::value` adds.
pub(super) fn value(title: &'static str, unit: &str) -> Column {
    let column = Column {
        field: String::new(),
        title,
        properties: vec![("unit", json!(unit)), ("noValue", json!(EMPTY_CELL))],
    };
    match unit {
        "dateTimeAsIso" => column.width(190),
        // Room for the title and the sort arrow.
        _ => column
            .width(u16::try_from(title.len()).unwrap_or(20).saturating_mul(7).saturating_add(30).max(86)),
    }
}

/// Column with seconds.
pub(super) fn seconds(title: &'static str) -> Column {
    value(title, "s").decimals(1)
}

impl Column {
    fn property(mut self, id: &'static str, value: Value) -> Self {
        self.properties.push((id, value));
        self
    }

    pub(super) fn decimals(self, decimals: u8) -> Self {
        self.property("decimals", json!(decimals))
    }

    /// Colors the text by thresholds.
    pub(super) fn thresholds(self, steps: ThresholdSteps) -> Self {
        self.property("thresholds", thresholds_if_present(steps))
            .property("custom.cellOptions", json!({ "type": "color-text" }))
    }

    /// Shows texts on colored cells instead of numbers.
    pub(super) fn mapped(self, list: ValueTexts) -> Self {
        self.property("mappings", value_mappings(list))
            .property("thresholds", transparent())
            .property("custom.cellOptions", json!({ "type": "color-background", "mode": "basic" }))
    }

    /// Shows a bar from 0 to 1.
    pub(super) fn bar(self, steps: ThresholdSteps) -> Self {
        let gauge = json!({ "type": "gauge", "mode": "basic", "valueDisplayMode": "text" });
        self.property("min", json!(0))
            .property("max", json!(1))
            .property("thresholds", thresholds_if_present(steps))
            .property("custom.cellOptions", gauge)
    }

    pub(super) fn width(mut self, width: u16) -> Self {
        self.properties.retain(|(id, _)| *id != "custom.width");
        self.property("custom.width", json!(width))
    }

    pub(super) fn links(self, links: &[DataLink]) -> Self {
        self.property("links", links_json(links))
    }
}
