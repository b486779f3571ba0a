//! The 17 rules of Grafana's dashboard-linter, in its order, because the linter is not available here.
//!
//! Two rules have exceptions: the dashboards of the fleet, groups and topics are about the cloud, which several
//! exporters may monitor at once, so the exporter is not selected there. They have no variable `job`, and their variable
//! `instance` is the Kafka instance, matched with the label `instance_id`. The dashboard of the exporter has `job`, and its
//! scrape target is the variable `exporter`. The two rules for LogQL are trivial, because no dashboard uses Loki.

use regex::Regex;
use serde_json::Value;

use super::{Query, References, array, dashboards, panels, queries_of, text};

/// Dashboard whose queries select scrape targets.
const EXPORTER: &str = "dashboards/exporter.json";

/// Units that the linter accepts and the dashboards use, and `mps`, which Grafana supports since 10.1 and the linter does not
/// list. Grafana 10.0 appends it to the number.
const UNITS: [&str; 12] = [
    "none",
    "string",
    "short",
    "percentunit",
    "bytes",
    "dateTimeAsIso",
    "s",
    "cps",
    "ops",
    "reqps",
    "bool",
    "mps",
];

fn variable<'a>(dashboard: &'a Value, name: &str) -> Option<&'a Value> {
    array(&dashboard["templating"]["list"]).iter().find(|v| v["name"] == name)
}

#[test]
fn template_datasource_rule() {
    for (file, dashboard) in dashboards() {
        let list = array(&dashboard["templating"]["list"]);
        let sources: Vec<&Value> = list.iter().filter(|v| v["type"] == "datasource").collect();
        assert_eq!(sources.len(), 1, "{file}: one variable selects the data source");
        assert_eq!(sources[0]["name"], "datasource", "{file}");
        assert_eq!(sources[0]["label"], "Data source", "{file}");
        assert_eq!(sources[0]["query"], "prometheus", "{file}");
    }
}

fn template_of(file: &str, dashboard: &Value, name: &str, label: &str) {
    let found = variable(dashboard, name).unwrap_or_else(|| panic!("{file}: no variable {name}"));
    assert_eq!(found["datasource"]["uid"], "${datasource}", "{file}: {name}");
    assert_eq!(found["type"], "query", "{file}: {name}");
    assert_eq!(found["label"], label, "{file}: {name}");
    assert_eq!(found["multi"], true, "{file}: {name}");
    assert_eq!(found["allValue"], ".+", "{file}: {name}");
}

/// Exception: see the module documentation.
#[test]
fn template_job_rule() {
    for (file, dashboard) in dashboards() {
        match file == EXPORTER {
            true => template_of(&file, &dashboard, "job", "Job"),
            false => {
                assert!(variable(&dashboard, "job").is_none(), "{file} has a variable job without effect")
            }
        }
    }
}

#[test]
fn template_instance_rule() {
    for (file, dashboard) in dashboards() {
        template_of(&file, &dashboard, "instance", "Instance");
        if file == EXPORTER {
            template_of(&file, &dashboard, "exporter", "Exporter");
        }
    }
}

/// promtool checks the query in the parentheses: see `dashboard_queries_are_written_out_for_promtool`.
#[test]
fn template_label_promql_rule() {
    let form = Regex::new(r"(?s)^(label_values|query_result)\(.+\)$").unwrap();
    for (file, dashboard) in dashboards() {
        for found in array(&dashboard["templating"]["list"]).iter().filter(|v| v["type"] == "query") {
            assert!(form.is_match(text(&found["query"]["query"])), "{file}: variable {}", found["name"]);
            assert_eq!(found["datasource"]["uid"], "${datasource}", "{file}: variable {}", found["name"]);
        }
    }
}

#[test]
fn template_on_time_change_reload_rule() {
    for (file, dashboard) in dashboards() {
        for found in array(&dashboard["templating"]["list"]).iter().filter(|v| v["type"] == "query") {
            assert_eq!(found["refresh"], 2, "{file}: variable {} follows the time range", found["name"]);
        }
    }
}

#[test]
fn panel_datasource_rule() {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{file}: panel {}", panel["title"]);
            for target in array(&panel["targets"]) {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{file}: panel {}", panel["title"]);
            }
        }
        for annotation in array(&dashboard["annotations"]["list"]) {
            assert_eq!(annotation["datasource"]["uid"], "${datasource}", "{file}: {}", annotation["name"]);
        }
    }
}

#[test]
fn panel_title_description_rule() {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            assert!(!text(&panel["title"]).is_empty(), "{file}: panel {} has no title", panel["id"]);
            assert!(!text(&panel["description"]).is_empty(), "{file}: panel {}", panel["title"]);
        }
    }
}

#[test]
fn panel_units_rule() {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let overrides = array(&panel["fieldConfig"]["overrides"]);
            let properties = overrides.iter().flat_map(|o| array(&o["properties"]));
            let of_columns = properties.filter(|p| p["id"] == "unit").map(|p| &p["value"]);
            for unit in of_columns.chain([&panel["fieldConfig"]["defaults"]["unit"]]) {
                assert!(UNITS.contains(&text(unit)), "{file}: panel {}: unit {unit}", panel["title"]);
            }
        }
    }
}

#[test]
fn panel_no_targets_rule() {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            assert!(!array(&panel["targets"]).is_empty(), "{file}: panel {} has no query", panel["title"]);
        }
    }
}

/// target-logql-rule, target-logql-auto-rule: no query is for Loki.
#[test]
fn target_logql_rules() {
    for (file, dashboard) in dashboards() {
        for target in panels(&dashboard).flat_map(|p| array(&p["targets"])) {
            assert_eq!(target["datasource"]["type"], "prometheus", "{file}: {}", target["expr"]);
        }
    }
}

/// promtool covers target-promql-rule in `./check`. This test requires a metric in each query.
#[test]
fn target_promql_rule() {
    for (file, dashboard) in dashboards() {
        for Query { place, expr, .. } in queries_of(&file, &dashboard) {
            assert!(!References::of(&expr).selectors.is_empty(), "{place} selects no metric");
        }
    }
}

/// Ranges of rates, slopes and means follow the scrape interval or the time range of the dashboard. None is fixed.
#[test]
fn target_rate_interval_rule() {
    let range = Regex::new(r"(\w+)\(\w+(?:\{[^}]*\})?\[([^\]]*)\]").unwrap();
    let mut seen = 0;
    for (file, dashboard) in dashboards() {
        for Query { place, expr, .. } in queries_of(&file, &dashboard) {
            assert_eq!(range.captures_iter(&expr).count(), expr.matches("[$").count(), "{place}: {expr}");
            for found in range.captures_iter(&expr) {
                let allowed: &[&str] = match &found[1] {
                    "rate" | "irate" | "resets" | "changes" => &["$__rate_interval"],
                    "increase" | "deriv" | "avg_over_time" => &["$__rate_interval", "$__range"],
                    _ => &["$__range"],
                };
                assert!(allowed.contains(&&found[2]), "{place}: {}", &found[0]);
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "only {seen} ranges");
}

fn target_has(label: &str, wanted: &str) {
    for (file, dashboard) in dashboards() {
        for Query { place, expr, variable, .. } in queries_of(&file, &dashboard) {
            for selector in References::of(&expr).selectors {
                let value = selector.matchers.get(label).map(String::as_str);
                match file == EXPORTER {
                    true => {
                        assert!(value == Some(wanted) || variable, "{place}: {}: {value:?}", selector.name)
                    }
                    false => assert_eq!(value, None, "{place} selects a scrape target"),
                }
            }
        }
    }
}

/// Exception: see the module documentation.
#[test]
fn target_job_rule() {
    target_has("job", "$job");
}

/// Exception: see the module documentation.
#[test]
fn target_instance_rule() {
    target_has("instance", "$exporter");
}

#[test]
fn target_counter_agg_rule() {
    let used = Regex::new(r"(?:(\w+)\()?\b(\w+_total)(?:\{[^}]*\})?(\[)?").unwrap();
    let mut seen = 0;
    for (file, dashboard) in dashboards() {
        for Query { place, expr, .. } in queries_of(&file, &dashboard) {
            for found in used.captures_iter(&expr) {
                let function = found.get(1).map_or("", |f| f.as_str());
                let within = ["rate", "irate", "increase"].contains(&function) && found.get(3).is_some();
                assert!(within, "{place}: {} is within {function:?}", &found[2]);
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "only {seen} counters");
}

#[test]
fn uneditable_dashboard() {
    for (file, dashboard) in dashboards() {
        assert_eq!(dashboard["editable"], false, "{file}");
    }
}
