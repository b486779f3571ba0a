//! How numbers are judged, named and linked: thresholds, words, links, and the columns of tables.
//!
//! Owns: the colours, and from which value on they hold. Refuses: which number is meant.

use serde_json::{Map, Value, json};

/// A threshold: from this value on, this colour. The first has no value.
pub(super) type Steps = &'static [(Option<f64>, &'static str)];

/// Nothing to judge.
pub(super) const PLAIN: Steps = &[(None, "blue")];
/// Good until it is not 0.
pub(super) const BAD_FROM_ONE: Steps = &[(None, "green"), (Some(1.0), "red")];
/// Messages of lag.
pub(super) const MESSAGES: Steps = &[(None, "green"), (Some(10_000.0), "yellow"), (Some(100_000.0), "red")];
/// Seconds of lag.
pub(super) const LAG_SECONDS: Steps = &[(None, "green"), (Some(300.0), "yellow"), (Some(600.0), "red")];
/// Seconds until messages are lost.
pub(super) const ETA_SECONDS: Steps = &[(None, "red"), (Some(21_600.0), "yellow"), (Some(86_400.0), "green")];
/// Seconds until a group has read all, from which on a graph leaves the forecast out: a slope near 0 makes it leap.
pub(super) const CATCH_UP: &str = "86400";
/// The same for seconds until messages are lost.
pub(super) const LOSS: &str = "604800";
/// Seconds since a value was read.
pub(super) const AGE_SECONDS: Steps = &[(None, "green"), (Some(180.0), "yellow"), (Some(420.0), "red")];
/// A share that should stay below the whole.
pub(super) const SHARE: Steps = &[(None, "green"), (Some(0.8), "yellow"), (Some(0.95), "red")];
/// The largest against the mean.
pub(super) const SKEW: Steps = &[(None, "green"), (Some(2.0), "yellow"), (Some(5.0), "red")];

pub(super) fn thresholds(steps: Steps) -> Value {
    let steps: Vec<Value> =
        steps.iter().map(|(value, color)| json!({ "color": color, "value": value })).collect();
    json!({ "mode": "absolute", "steps": steps })
}

/// The same for numbers and cells, of which one may be missing: what is not known is neither good nor bad.
pub(super) fn thresholds_of_known(steps: Steps) -> Value {
    let known = steps.iter().map(|(value, color)| (value.or(Some(LEAST)), *color));
    let steps: Vec<(Option<f64>, &str)> = [(None, "text")].into_iter().chain(known).collect();
    let steps: Vec<Value> =
        steps.iter().map(|(value, color)| json!({ "color": color, "value": value })).collect();
    json!({ "mode": "absolute", "steps": steps })
}

/// Below every value.
const LEAST: f64 = -1e15;

/// The colour behind words, of which one may be missing.
pub(super) fn behind_words() -> Value {
    thresholds(&[(None, "transparent")])
}

/// What a cell without a value shows, where the text of an empty panel would mislead.
pub(super) const NOT_KNOWN: &str = "–";

/// Words for numbers, each with its colour.
pub(super) fn words(list: &[(i64, &str, &str)]) -> Value {
    let options: Map<String, Value> = list
        .iter()
        .enumerate()
        .map(|(index, (number, text, color))| {
            (number.to_string(), json!({ "text": text, "color": color, "index": index }))
        })
        .collect();
    json!([{ "type": "value", "options": options }])
}

/// A link from a value to a board.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) title: String,
    pub(super) url: String,
}

impl Link {
    pub(super) fn json(&self) -> Value {
        json!({ "title": self.title, "url": self.url, "targetBlank": false })
    }
}

/// A column of a table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) field: String,
    pub(super) title: String,
    pub(super) properties: Vec<(&'static str, Value)>,
}

/// A column of texts, which are shown as they are, also where they look like numbers. A reader may filter by them.
pub(super) fn label(field: &str, title: &str) -> Column {
    let column = Column {
        field: field.to_owned(),
        title: title.to_owned(),
        properties: vec![
            ("unit", json!("string")),
            ("noValue", json!(NOT_KNOWN)),
            ("custom.filterable", json!(true)),
        ],
    };
    match field {
        "region" => column.width(125),
        "account" => column.width(120),
        "partition" => column.width(110),
        "state" | "storage" | "cleanup" => column.width(100),
        "instance_id" => column.width(240),
        _ => column,
    }
}

/// A column of numbers: those of the query with this letter.
pub(super) fn value(letter: char, title: &str, unit: &str) -> Column {
    let column = Column {
        field: format!("Value #{letter}"),
        title: title.to_owned(),
        properties: vec![("unit", json!(unit)), ("noValue", json!(NOT_KNOWN))],
    };
    match unit {
        "dateTimeAsIso" => column.width(190),
        // Room for the title and the arrow of the sort.
        _ => column
            .width(u16::try_from(title.len()).unwrap_or(20).saturating_mul(7).saturating_add(30).max(86)),
    }
}

impl Column {
    pub(super) fn decimals(mut self, decimals: u8) -> Self {
        self.properties.push(("decimals", json!(decimals)));
        self
    }

    /// Text in the colour of its threshold.
    pub(super) fn judged(mut self, steps: Steps) -> Self {
        self.properties.push(("thresholds", thresholds_of_known(steps)));
        self.properties.push(("custom.cellOptions", json!({ "type": "color-text" })));
        self
    }

    /// Words in the place of numbers, on their colours.
    pub(super) fn words(mut self, list: &[(i64, &str, &str)]) -> Self {
        self.properties.push(("mappings", words(list)));
        self.properties.push(("thresholds", behind_words()));
        self.properties.push(("custom.cellOptions", json!({ "type": "color-background", "mode": "basic" })));
        self
    }

    /// A bar from nothing to all.
    pub(super) fn bar(mut self, steps: Steps) -> Self {
        self.properties.push(("min", json!(0)));
        self.properties.push(("max", json!(1)));
        self.properties.push(("thresholds", thresholds_of_known(steps)));
        self.properties.push((
            "custom.cellOptions",
            json!({ "type": "gauge", "mode": "basic", "valueDisplayMode": "text" }),
        ));
        self
    }

    pub(super) fn width(mut self, width: u16) -> Self {
        self.properties.retain(|(id, _)| *id != "custom.width");
        self.properties.push(("custom.width", json!(width)));
        self
    }

    pub(super) fn links(mut self, links: &[Link]) -> Self {
        let links: Vec<Value> = links.iter().map(Link::json).collect();
        self.properties.push(("links", json!(links)));
        self
    }
}
