//! Dashboards follow their variables, say what they show, and ask for series that exist.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;

use super::{
    Query, References, array, catalog_names, constant, files, labels_in, not_in_the_contract, text,
    write_for_promtool,
};

/// What a dashboard filters by: the label, and the variable that it is matched with.
const FILTERS: [(&str, &str); 4] =
    [("region", "$region"), ("instance_id", "$instance"), ("group", "$group"), ("topic", "$topic")];

#[test]
fn every_metric_and_label_of_dashboards_is_in_the_contract() {
    let wrong = not_in_the_contract(dashboard_queries().into_iter());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_dashboard_reads_its_data_source_from_a_variable() {
    for (file, dashboard) in dashboards() {
        let variables = array(&dashboard["templating"]["list"]);
        let sources: Vec<&Value> = variables.iter().filter(|v| v["type"] == "datasource").collect();
        assert_eq!(sources.len(), 1, "{file}: one variable chooses the data source");
        assert_eq!(sources[0]["name"], "datasource", "{file}");
        for variable in variables.iter().filter(|v| v["type"] == "query") {
            let name = text(&variable["name"]);
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{file}: variable {name}");
            assert_eq!(variable["definition"], variable["query"]["query"], "{file}: variable {name}");
            assert_eq!(variable["refresh"], 2, "{file}: variable {name} follows the time range");
        }
        for panel in panels(&dashboard) {
            let title = text(&panel["title"]);
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{file}: panel {title}");
            for target in array(&panel["targets"]) {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{file}: panel {title}");
            }
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_what_an_empty_one_means() {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let title = text(&panel["title"]);
            assert!(!title.is_empty(), "{file}: panel {} has no title", panel["id"]);
            assert!(text(&panel["description"]).len() > 40, "{file}: panel {title} has no description");
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(!text(&defaults["unit"]).is_empty(), "{file}: panel {title} has no unit");
            assert!(!text(&defaults["noValue"]).is_empty(), "{file}: panel {title} has no text when empty");
            assert!(!array(&panel["targets"]).is_empty(), "{file}: panel {title} has no query");
            let refs: BTreeSet<&str> = array(&panel["targets"]).iter().map(|t| text(&t["refId"])).collect();
            assert_eq!(refs.len(), array(&panel["targets"]).len(), "{file}: panel {title} repeats a refId");
        }
    }
}

#[test]
fn panels_have_ids_of_their_own_and_do_not_overlap() {
    for (file, dashboard) in dashboards() {
        let mut ids = BTreeSet::new();
        let mut cells = BTreeMap::new();
        for panel in array(&dashboard["panels"]) {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{file}: panel id {} twice", panel["id"]);
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|k| panel["gridPos"][k].as_u64().unwrap());
            assert!(w > 0 && h > 0 && x + w <= 24, "{file}: panel {} is outside the grid", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                let other = cells.insert(cell, panel["title"].clone());
                assert!(other.is_none(), "{file}: {} overlaps {}", panel["title"], other.unwrap());
            }
        }
    }
}

#[test]
fn every_panel_follows_the_variables_and_none_names_an_instance_itself() {
    let metrics = catalog_names();
    for Query { place, expr, variable, .. } in dashboard_queries() {
        for selector in References::of(&expr).selectors {
            for (label, name) in FILTERS {
                let value = selector.matchers.get(label);
                let has = metrics.iter().any(|m| m.name == selector.name && m.labels.contains(label));
                assert!(value.is_none_or(|v| v == name), "{place}: {}: {label} is {value:?}", selector.name);
                assert!(
                    value.is_some() || !has || variable,
                    "{place}: {} is not filtered by {name}",
                    selector.name
                );
            }
            assert!(!selector.matchers.contains_key("instance"), "{place} names a scrape target");
        }
    }
}

#[test]
fn dashboards_take_rates_over_an_interval_that_fits_the_scrape_interval() {
    let fixed = Regex::new(r"\b(rate|irate|increase)\([^\[\]]*\[(\d[^\]]*)\]").unwrap();
    for Query { place, expr, .. } in dashboard_queries() {
        let found = fixed.captures(&expr).map(|c| c[0].to_owned());
        assert!(found.is_none(), "{place}: {found:?} should use $__rate_interval or $__range");
    }
}

/// promtool cannot read dashboards, so `./check` lets it read what this writes.
#[test]
fn dashboard_queries_are_written_out_for_promtool() {
    write_for_promtool("dashboard", dashboard_queries().iter().map(|q| constant(&q.expr)));
}

fn dashboard_queries() -> Vec<Query> {
    let shown = Regex::new(r"\{\{\s*(\w+)\s*\}\}").unwrap();
    let listed = Regex::new(r"^label_values\((.*), *(\w+)\)$").unwrap();
    let mut queries = Vec::new();
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in array(&panel["targets"]) {
                queries.push(Query {
                    place: format!("{file}: panel {}", panel["title"]),
                    expr: text(&target["expr"]).to_owned(),
                    variable: false,
                    legend: labels_in(&shown, text(&target["legendFormat"])),
                });
            }
        }
        for variable in array(&dashboard["templating"]["list"]).iter().filter(|v| v["type"] == "query") {
            let query = text(&variable["query"]["query"]);
            let place = format!("{file}: variable {}", variable["name"]);
            let inner = query.strip_prefix("query_result(").and_then(|q| q.strip_suffix(')'));
            let (expr, legend) = match (listed.captures(query), inner) {
                (Some(parts), _) => (parts[1].to_owned(), BTreeSet::from([parts[2].to_owned()])),
                (None, Some(inner)) => (inner.to_owned(), BTreeSet::new()),
                (None, None) => panic!("{place}: {query} is neither label_values nor query_result"),
            };
            queries.push(Query { place, expr, variable: true, legend });
        }
    }
    assert!(!queries.is_empty());
    queries
}

fn dashboards() -> Vec<(String, Value)> {
    files("dashboards", ".json")
        .into_iter()
        .map(|(file, text)| {
            let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
            (file, value)
        })
        .collect()
}

/// Panels that show something; rows only part them.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    array(&dashboard["panels"]).iter().filter(|p| p["type"] != "row")
}
