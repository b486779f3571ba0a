//! Dashboards: variables, texts, links, and queries for existing series.
//!
//! `linter` contains the rules of Grafana's dashboard-linter, with the exceptions and their reasons.

mod linter;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use alikafka_exporter::exposition::catalog::{self, MetricId, MetricType, MetricUnit, family};
use regex::Regex;
use serde_json::Value;

use super::{
    Query, References, Selector, array, catalog_names, constant, files, labels_in, missing_in_catalog, text,
    write_for_promtool,
};

/// Labels that dashboards filter by, each with the variable that matches it on dashboards that have the variable.
const FILTERS: [(&str, &str); 5] = [
    ("account", "account"),
    ("region", "region"),
    ("instance_id", "instance"),
    ("group", "group"),
    ("topic", "topic"),
];

/// Files with their UIDs, which are part of the addresses of dashboards.
const UIDS: [(&str, &str); 4] = [
    ("dashboards/exporter.json", "alikafka-exporter"),
    ("dashboards/fleet.json", "alikafka-fleet"),
    ("dashboards/group.json", "alikafka-group"),
    ("dashboards/topic.json", "alikafka-topic"),
];

#[test]
fn uids_do_not_change() {
    let found: Vec<(String, String)> = dashboards()
        .into_iter()
        .map(|(file, dashboard)| (file, text(&dashboard["uid"]).to_owned()))
        .collect();
    assert_eq!(found, UIDS.map(|(file, uid)| (file.to_owned(), uid.to_owned())));
}

#[test]
fn every_metric_and_label_of_dashboards_is_in_the_catalog() {
    let wrong = missing_in_catalog(dashboard_queries().into_iter());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_metric_of_the_catalog_is_on_a_dashboard() {
    /// Families without a panel, with the reason.
    const ABSENT: [(MetricId, &str); 0] = [];
    let shown: BTreeSet<String> = dashboard_queries()
        .iter()
        .filter(|q| !q.variable)
        .flat_map(|q| References::of(&q.expr).selectors)
        .map(|s| s.name)
        .collect();
    for f in &catalog::FAMILIES {
        let exempt = ABSENT.iter().any(|(id, _)| *id == f.id);
        let names = match f.kind {
            MetricType::Histogram => vec![format!("{}_bucket", f.name)],
            _ => vec![f.name.to_owned()],
        };
        let on_a_dashboard = names.iter().any(|n| shown.contains(n));
        assert_ne!(
            on_a_dashboard, exempt,
            "{} is on a dashboard: {on_a_dashboard}, exempt: {exempt}",
            f.name
        );
    }
}

/// Dashboards are imported without rules, so they must not require recorded series.
#[test]
fn no_dashboard_requires_a_recording_rule() {
    for Query { place, expr, .. } in dashboard_queries() {
        for selector in References::of(&expr).selectors {
            assert!(!selector.name.contains(':'), "{place}: {} is a recorded series", selector.name);
        }
    }
}

/// A panel shows the same with either setting of `metrics.naming`: queries contain both names of a metric.
#[test]
fn every_query_works_under_both_namings() {
    let mut seen = 0;
    for Query { place, expr, .. } in dashboard_queries() {
        let selectors = References::of(&expr).selectors;
        let count = |name: &str, group: &str| {
            let renamed = |s: &Selector| {
                let pairs = s.matchers.iter();
                pairs.map(|(l, v)| (if l == group { "group" } else { l }.to_owned(), v.clone())).collect()
            };
            let mut found: Vec<BTreeMap<String, String>> =
                selectors.iter().filter(|s| s.name == name).map(renamed).collect();
            found.sort();
            found
        };
        for f in &catalog::FAMILIES {
            let Some(theirs) = f.kafka_exporter else { continue };
            let (ours, other) = (count(f.name, "group"), count(theirs.name, "consumergroup"));
            assert_eq!(ours, other, "{place}: selectors of {} and {} differ", f.name, theirs.name);
            seen += ours.len();
        }
    }
    assert!(seen > 20, "only {seen} selectors have two names");
    let lines = Regex::new(r#""consumergroup", "([^"]+)"\)"#).unwrap();
    for Query { place, expr, .. } in dashboard_queries() {
        for found in lines.captures_iter(&expr) {
            assert_eq!(&found[1], "(?s:(.+))", "{place}: a group name may contain a line break");
        }
    }
}

/// Two replicas export the same series, so queries aggregate over replicas before they add or show values.
#[test]
fn no_query_counts_replicas_twice() {
    for Query { place, expr, .. } in dashboard_queries().iter().filter(|q| !q.variable) {
        for (name, around) in surroundings(expr) {
            let base = name.trim_end_matches("_bucket").trim_end_matches("_count");
            let row = catalog::FAMILIES
                .iter()
                .find(|f| f.name == base || f.kafka_exporter.is_some_and(|k| k.name == base));
            // Counters and histograms of the exporter count the work of each replica.
            let per_replica = row.is_some_and(|f| {
                f.source == catalog::MetricSource::Exporter || f.source == catalog::MetricSource::Process
            }) && around.iter().any(|w| w == "rate" || w == "increase");
            // Demand and budget also belong to each replica.
            let per_replica =
                per_replica || row.is_some_and(|f| matches!(f.id, MetricId::ApiDemand | MetricId::ApiBudget));
            let aggregations = ["max", "min", "sum", "count", "avg", "topk", "bottomk"];
            let innermost = around.iter().rev().find(|w| aggregations.contains(&w.as_str()));
            let aggregated = innermost.is_some_and(|w| w == "max" || w == "min");
            let is_filter = around.last().is_some_and(|w| w == "and on" || w == "unless on");
            assert!(aggregated || per_replica || is_filter, "{place}: {name} within {around:?}");
        }
    }
}

/// The maximum of the known upper bounds bounds nothing while another one is unknown. The panel of the fleet is the exception
/// and says so.
#[test]
fn an_upper_bound_of_several_objects_requires_one_of_each() {
    let upper_bound = Regex::new(r"^max\(alikafka_\w+lag_seconds\b").unwrap();
    let queries: Vec<_> = dashboard_queries().into_iter().filter(|q| upper_bound.is_match(&q.expr)).collect();
    let (guarded, unguarded): (Vec<_>, Vec<_>) =
        queries.iter().partition(|q| q.expr.contains("\nunless on ()\n"));
    assert_eq!(guarded.len(), 4);
    for Query { place, expr, .. } in unguarded {
        assert!(place.contains("fleet.json: panel \"Lag, upper bound\""), "{place}: {expr}");
    }
}

/// Each exporter has its own budget and demand.
#[test]
fn demand_is_divided_by_the_budget_of_the_same_exporter() {
    let [demand, budget] = [MetricId::ApiDemand, MetricId::ApiBudget].map(|id| family(id).name);
    let paired = Regex::new(&format!(r"\({demand}(\{{[^}}]*\}}) / {budget}(\{{[^}}]*\}})\)")).unwrap();
    let queries = dashboard_queries();
    let both: Vec<_> =
        queries.iter().filter(|q| q.expr.contains(demand) && q.expr.contains(budget)).collect();
    assert_eq!(both.len(), 2);
    for Query { place, expr, .. } in both {
        assert!(paired.captures(expr).is_some_and(|found| found[1] == found[2]), "{place}: {expr}");
    }
}

#[test]
fn functions_around_a_metric_are_found() {
    let around = |expr: &str| surroundings(expr).into_iter().map(|(_, a)| a.join(" ")).collect::<Vec<_>>();
    assert_eq!(around("sum(max by (a) (x{b=\"c\"}) > 0)"), ["sum max"]);
    assert_eq!(around("x and on (a) y"), ["", "and on"]);
    assert_eq!(around("topk(3, rate(x[5m]) * on (a) max without (b) (y))"), ["topk rate", "topk max"]);
}

/// Metrics of a query, each with the functions and aggregations around it from the outermost, and with the operator
/// directly before it if it only filters.
fn surroundings(expr: &str) -> Vec<(String, Vec<String>)> {
    static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r#"(?x) "(?:\\.|[^"\\])*" | \{[^}]*\} | \[[^\]]*\] | [0-9][0-9a-z.]* | [A-Za-z_:][0-9A-Za-z_:]* | [^\s]"#,
        )
        .unwrap()
    });
    let constant = constant(expr);
    let tokens: Vec<&str> = TOKEN.find_iter(&constant).map(|t| t.as_str()).collect();
    let (mut found, mut open, mut word, mut i) = (Vec::new(), Vec::<String>::new(), String::new(), 0);
    while i < tokens.len() {
        let (now, next) = (tokens[i], tokens.get(i + 1).copied().unwrap_or_default());
        i += 1;
        match now {
            "by" | "without" | "on" | "ignoring" | "group_left" | "group_right" => {
                let operator = tokens.get(i.wrapping_sub(2)).copied().unwrap_or_default();
                i += tokens[i..].iter().take_while(|t| **t != ")").count() + 1;
                let after = tokens.get(i).copied().unwrap_or_default();
                let is_metric = after.starts_with(|c: char| c.is_ascii_lowercase())
                    && tokens.get(i + 1).is_none_or(|t| !["(", "by", "without"].contains(t));
                if now == "on" && ["and", "unless"].contains(&operator) && is_metric {
                    let within = open.iter().filter(|w| !w.is_empty()).cloned();
                    found.push((after.to_owned(), within.chain([format!("{operator} on")]).collect()));
                    i += 1;
                }
            }
            "(" => open.push(std::mem::take(&mut word)),
            ")" => {
                open.pop();
            }
            "and" | "or" | "unless" | "bool" | "offset" => {}
            name if name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                if ["(", "by", "without"].contains(&next) {
                    name.clone_into(&mut word);
                } else {
                    let around = open.iter().filter(|w| !w.is_empty()).cloned().collect();
                    found.push((name.to_owned(), around));
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn every_panel_has_a_description_and_a_text_without_data() {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let title = text(&panel["title"]);
            assert!(text(&panel["description"]).len() > 20, "{file}: panel {title} has no description");
            assert!(
                text(&panel["description"]).ends_with('.'),
                "{file}: the description of {title} has no full stop"
            );
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(!text(&defaults["noValue"]).is_empty(), "{file}: panel {title} has no text without data");
            let refs: BTreeSet<&str> = array(&panel["targets"]).iter().map(|t| text(&t["refId"])).collect();
            assert_eq!(refs.len(), array(&panel["targets"]).len(), "{file}: panel {title} repeats a refId");
        }
    }
}

/// Panels that require a granularity say so without data.
#[test]
fn an_empty_panel_of_partitions_names_the_granularity_that_it_requires() {
    let metrics = catalog_names();
    let per = |label: &str, expr: &str| {
        References::of(expr)
            .selectors
            .iter()
            .any(|s| metrics.iter().any(|m| m.name == s.name && m.labels.contains(label)))
    };
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let all_need = array(&panel["targets"]).iter().all(|t| per("partition", text(&t["expr"])));
            let no_value = text(&panel["fieldConfig"]["defaults"]["noValue"]);
            assert!(!all_need || no_value.contains("granularity"), "{file}: {}: {no_value}", panel["title"]);
        }
    }
}

/// Unmodified values of a metric have the unit of the catalog.
#[test]
fn units_are_those_of_the_catalog() {
    let plain = Regex::new(
        r"^(?:\(?|time\(\) - )(?:max|min|sum)(?: by \([^)]*\))? ?\((?:max by \([^)]*\) \()?(\w+)\{[^}]*\}",
    )
    .unwrap();
    let mut seen = 0;
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard).filter(|p| p["type"] != "table") {
            for target in array(&panel["targets"]) {
                let Some(found) = plain.captures(text(&target["expr"])) else { continue };
                let Some(f) = catalog::FAMILIES.iter().find(|f| f.name == &found[1]) else { continue };
                let unit = match f.unit {
                    MetricUnit::Seconds => "s",
                    MetricUnit::Bytes => "bytes",
                    MetricUnit::RequestsPerSecond => "reqps",
                    MetricUnit::Messages => "short",
                    MetricUnit::MessagesPerSecond => "mps",
                    MetricUnit::Offset | MetricUnit::None => continue,
                };
                // Counts and ratios have no unit.
                let expr = text(&target["expr"]);
                if expr.contains(" bool ") || expr.contains(" / ") {
                    continue;
                }
                let place = format!("{file}: {} of {}", panel["title"], f.name);
                assert_eq!(panel["fieldConfig"]["defaults"]["unit"], unit, "{place}");
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "only {seen} queries were understood");
}

/// Texts of a status are those of the catalog on every dashboard.
#[test]
fn status_texts_are_those_of_the_catalog() {
    let status = Regex::new(r"(\d) ([a-z]+(?: loss)?)").unwrap();
    let expected: BTreeMap<String, String> = status
        .captures_iter(family(MetricId::GroupStatus).help)
        .map(|c| (c[1].to_owned(), c[2].to_owned()))
        .collect();
    assert_eq!(expected.len(), 6, "{expected:?}");
    let mut seen = 0;
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let overrides = array(&panel["fieldConfig"]["overrides"]);
            let properties = overrides.iter().flat_map(|o| array(&o["properties"]));
            let of_columns = properties.filter(|p| p["id"] == "mappings").map(|p| &p["value"]);
            for mapping in of_columns.chain([&panel["fieldConfig"]["defaults"]["mappings"]]) {
                let options = &mapping[0]["options"];
                if options["5"].is_null() {
                    continue;
                }
                for (number, status) in &expected {
                    assert_eq!(
                        text(&options[number]["text"]),
                        status,
                        "{file}: {}: {number}",
                        panel["title"]
                    );
                }
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "only {seen} panels show a status");
}

/// The timeline has a number for every state of a group that the exporter exports.
#[test]
fn every_state_of_a_group_is_in_the_timeline() {
    let help = family(MetricId::GroupState).help;
    let list = help.split(": ").nth(1).and_then(|l| l.split(" (").next()).unwrap();
    let expected: BTreeSet<&str> = list.split(", ").collect();
    let panels_of_it: Vec<String> =
        dashboard_queries().into_iter().filter(|q| q.place.contains("Group state")).map(|q| q.expr).collect();
    let state = Regex::new("state=\"([a-z_]+)\"").unwrap();
    for expr in &panels_of_it {
        let found: BTreeSet<&str> = state.captures_iter(expr).map(|c| c.get(1).unwrap().as_str()).collect();
        assert_eq!(found, expected);
    }
    assert_eq!(panels_of_it.len(), 1);
}

#[test]
fn panels_have_unique_ids_and_do_not_overlap() {
    for (file, dashboard) in dashboards() {
        let mut ids = BTreeSet::new();
        // A collapsed row contains its panels. Opening it moves the panels below it down.
        let closed =
            array(&dashboard["panels"]).iter().map(|p| array(&p["panels"])).filter(|p| !p.is_empty());
        for panels in closed.chain([array(&dashboard["panels"])]) {
            let mut cells = BTreeMap::new();
            for panel in panels {
                assert!(ids.insert(panel["id"].as_u64().unwrap()), "{file}: panel id {} twice", panel["id"]);
                let [x, y, w, h] = ["x", "y", "w", "h"].map(|k| panel["gridPos"][k].as_u64().unwrap());
                assert!(
                    w > 0 && h > 0 && x + w <= 24,
                    "{file}: panel {} is outside the grid",
                    panel["title"]
                );
                for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                    let other = cells.insert(cell, panel["title"].clone());
                    assert!(other.is_none(), "{file}: {} overlaps {}", panel["title"], other.unwrap());
                }
            }
        }
    }
}

#[test]
fn only_collapsed_rows_contain_their_panels() {
    for (file, dashboard) in dashboards() {
        let rows: Vec<&Value> = array(&dashboard["panels"]).iter().filter(|p| p["type"] == "row").collect();
        assert_eq!(dashboard["panels"][0]["type"], "row", "{file} starts with a row");
        for row in rows {
            let within = !array(&row["panels"]).is_empty();
            assert_eq!(row["collapsed"] == true, within, "{file}: row {}", row["title"]);
        }
    }
}

#[test]
fn every_panel_follows_the_variables_and_none_selects_a_fixed_instance() {
    let metrics = catalog_names();
    for (file, dashboard) in dashboards() {
        let names = variables(&dashboard);
        for Query { place, expr, variable, .. } in queries_of(&file, &dashboard) {
            for selector in References::of(&expr).selectors {
                let metric = metrics.iter().find(|m| m.name == selector.name);
                for (label, name) in FILTERS {
                    let theirs = label == "group" && selector.matchers.contains_key("consumergroup");
                    let value = selector.matchers.get(if theirs { "consumergroup" } else { label });
                    let has = metric.is_some_and(|m| match label {
                        "account" => m.labels.contains("region"),
                        "group" => m.labels.contains("group") || m.labels.contains("consumergroup"),
                        _ => m.labels.contains(label),
                    });
                    let here = names.contains(name);
                    let wanted = format!("${name}");
                    assert!(
                        value.is_none_or(|v| *v == wanted),
                        "{place}: {}: {label} is {value:?}",
                        selector.name
                    );
                    assert!(value.is_none() || here, "{place}: the dashboard has no variable {name}");
                    assert!(
                        value.is_some() || !has || !here || variable,
                        "{place}: {} is not filtered by {name}",
                        selector.name
                    );
                }
            }
        }
    }
}

/// "All" includes series without an account and names with a line break.
#[test]
fn all_omits_nothing() {
    for (file, dashboard) in dashboards() {
        for variable in array(&dashboard["templating"]["list"]).iter().filter(|v| v["type"] == "query") {
            let name = text(&variable["name"]);
            let all = match name {
                "account" => "(?s:.*)",
                "group" | "topic" => "(?s:.+)",
                _ => ".+",
            };
            assert_eq!(variable["allValue"], all, "{file}: variable {name}");
            assert_eq!(variable["includeAll"], true, "{file}: variable {name}");
            assert_eq!(variable["multi"], true, "{file}: variable {name}");
            assert_eq!(variable["definition"], variable["query"]["query"], "{file}: variable {name}");
        }
    }
}

/// The values of a variable depend on the selections before it, and on none after it.
#[test]
fn variables_follow_those_before_them() {
    let used = Regex::new(r"\$(\w+)").unwrap();
    for (file, dashboard) in dashboards() {
        let mut before = BTreeSet::new();
        for variable in array(&dashboard["templating"]["list"]) {
            let name = text(&variable["name"]).to_owned();
            for found in used.captures_iter(text(&variable["query"]["query"])) {
                assert!(before.contains(&found[1]), "{file}: variable {name} follows ${}", &found[1]);
            }
            before.insert(name);
        }
    }
    let (_, group) = dashboards().into_iter().find(|(f, _)| f.ends_with("group.json")).unwrap();
    let query = |name: &str| {
        let list = array(&group["templating"]["list"]);
        text(&list.iter().find(|v| v["name"] == name).unwrap()["query"]["query"]).to_owned()
    };
    for (name, follows) in [("instance", "$region"), ("group", "$instance"), ("topic", "$group")] {
        assert!(query(name).contains(follows), "{name} does not follow {follows}");
    }
}

/// Grafana applies the pattern of a variable to unescaped labels. Names may contain anything.
#[test]
fn the_pattern_of_the_instance_variable_matches_every_name() {
    let shown = |name: &str| {
        format!("{{instance_id=\"alikafka_post-cn-1\",shown=\"{name} / alikafka_post-cn-1\"}} 1 1700000000")
    };
    for (file, dashboard) in dashboards() {
        let list = array(&dashboard["templating"]["list"]);
        let regex = text(&list.iter().find(|v| v["name"] == "instance").unwrap()["regex"]);
        let inner = regex.strip_prefix('/').and_then(|r| r.strip_suffix('/')).unwrap();
        let pattern = Regex::new(inner).unwrap();
        for name in ["shop", "订单 \"main\"\\\nline two", "\"} 1", "instance_id=\"x\",shown=\"y\"}", ""] {
            let line = shown(name);
            let found = pattern.captures(&line).unwrap_or_else(|| panic!("{file}: {line}"));
            assert_eq!(&found["value"], "alikafka_post-cn-1", "{file}: {line}");
            let text = if name.is_empty() {
                "alikafka_post-cn-1".to_owned()
            } else {
                format!("{name} / alikafka_post-cn-1")
            };
            assert_eq!(&found["text"], text, "{file}: {line}");
        }
    }
}

/// Every link targets an existing dashboard, sets variables that it has, and takes them from labels of the row or the
/// line.
#[test]
fn links_lead_to_dashboards_with_variables_that_they_have() {
    let dashboards = dashboards();
    let by_uid: BTreeMap<&str, BTreeSet<String>> =
        dashboards.iter().map(|(_, b)| (text(&b["uid"]), variables(b))).collect();
    let part = Regex::new(r"^(?:\$\{__url_time_range\}|\$\{(\w+):queryparam\}|var-(\w+)=\$\{__(?:data\.fields|field\.labels)\.(\w+):percentencode\})$").unwrap();
    let mut seen = 0;
    for (file, dashboard) in &dashboards {
        for panel in panels(dashboard) {
            let place = format!("{file}: {}", panel["title"]);
            let overrides = array(&panel["fieldConfig"]["overrides"]);
            let properties = overrides.iter().flat_map(|o| array(&o["properties"]));
            let of_columns = properties.filter(|p| p["id"] == "links").flat_map(|p| array(&p["value"]));
            let of_values = array(&panel["fieldConfig"]["defaults"]["links"]);
            for link in of_columns.chain(of_values) {
                let url = text(&link["url"]);
                let (path, query) = url.split_once('?').unwrap_or_else(|| panic!("{place}: {url}"));
                let there = path.strip_prefix("/d/").and_then(|uid| by_uid.get(uid));
                let there = there.unwrap_or_else(|| panic!("{place}: {url} has no target"));
                assert!(query.contains("${__url_time_range}"), "{place}: {url} does not keep the time range");
                assert!(
                    query.contains("${datasource:queryparam}"),
                    "{place}: {url} does not keep the source"
                );
                assert!(query.contains("${account:queryparam}"), "{place}: {url} does not keep the account");
                for given in query.split('&') {
                    let found = part.captures(given).unwrap_or_else(|| panic!("{place}: {given} of {url}"));
                    if let Some(own) = found.get(1) {
                        assert!(there.contains(own.as_str()), "{place}: {given}");
                        assert!(variables(dashboard).contains(own.as_str()), "{place}: {given}");
                    }
                    if let (Some(variable), Some(label)) = (found.get(2), found.get(3)) {
                        assert!(there.contains(variable.as_str()), "{place}: {given} of {url}");
                        let wanted = label.as_str().replace("instance_id", "instance");
                        assert_eq!(variable.as_str(), wanted, "{place}: {url}");
                        // The queries of a table are merged by their labels.
                        let has =
                            |t: &Value| References::of(text(&t["expr"])).grouping.contains(label.as_str());
                        let mut targets = array(&panel["targets"]).iter();
                        assert!(targets.all(has), "{place}: no label {} for {url}", label.as_str());
                    }
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "only {seen} links");
}

#[test]
fn every_dashboard_links_to_the_others_with_variables_and_time() {
    let dashboards = dashboards();
    for (file, dashboard) in &dashboards {
        let links = array(&dashboard["links"]);
        let mut paths: Vec<String> = links.iter().map(|l| text(&l["url"]).to_owned()).collect();
        paths.push(format!("/d/{}", text(&dashboard["uid"])));
        paths.sort();
        assert_eq!(paths, UIDS.map(|(_, uid)| format!("/d/{uid}")), "{file}");
        for link in links {
            assert!(link["includeVars"] == true && link["keepTime"] == true, "{file}: {}", link["title"]);
        }
    }
}

/// Graphs of groups, and the table of groups, have links.
#[test]
fn rows_and_lines_of_groups_link_to_their_dashboard() {
    let (_, fleet) = dashboards().into_iter().find(|(f, _)| f.ends_with("fleet.json")).unwrap();
    for panel in panels(&fleet).filter(|p| text(&p["targets"][0]["legendFormat"]).contains("{{group}}")) {
        let links = array(&panel["fieldConfig"]["defaults"]["links"]);
        assert!(!links.is_empty(), "{} has no links", panel["title"]);
    }
    let table = panels(&fleet).find(|p| p["type"] == "table").unwrap();
    assert!(table.to_string().contains("/d/alikafka-group"));
}

/// A column shows a query or one of its labels and has a unique title. Overrides refer to titles of columns.
#[test]
fn columns_of_tables_show_existing_queries_and_labels() {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard).filter(|p| p["type"] == "table") {
            let place = format!("{file}: {}", panel["title"]);
            let targets = array(&panel["targets"]);
            let mut fields: BTreeSet<String> =
                targets.iter().flat_map(|t| References::of(text(&t["expr"])).grouping).collect();
            match targets {
                [_] => assert!(fields.insert("Value".to_owned())),
                all => fields.extend(all.iter().map(|t| format!("Value #{}", text(&t["refId"])))),
            }
            // Labels for tags depend on metrics.instance_tags and are not in the catalog.
            if place.contains("Instance tags") {
                fields.extend(["instance_id", "region", "account"].map(str::to_owned));
            }
            let changes = array(&panel["transformations"]);
            let organize = changes.iter().find(|t| t["id"] == "organize").expect(&place);
            let names = organize["options"]["renameByName"].as_object().expect(&place);
            let mut titles = BTreeSet::new();
            for (field, title) in names {
                assert!(fields.contains(field), "{place}: no query has {field}");
                assert!(titles.insert(text(title).to_owned()), "{place}: two columns {title}");
            }
            let overrides = array(&panel["fieldConfig"]["overrides"]).iter();
            for other in overrides.filter(|o| o["matcher"]["id"] == "byName") {
                assert!(titles.contains(text(&other["matcher"]["options"])), "{place}: {}", other["matcher"]);
            }
            let sorted = text(&panel["options"]["sortBy"][0]["displayName"]);
            assert!(titles.contains(sorted), "{place}: sorted by {sorted}");
            let values = fields.iter().filter(|f| f.starts_with("Value"));
            for value in values {
                let hidden = organize["options"]["excludeByName"][value] == true;
                assert!(
                    hidden != names.contains_key(value),
                    "{place}: {value} has no title and is not hidden"
                );
            }
            for target in targets {
                assert!(
                    target["instant"] == true && target["format"] == "table",
                    "{place}: {}",
                    target["refId"]
                );
            }
        }
    }
}

/// Overrides refer to existing lines.
#[test]
fn overrides_of_graphs_refer_to_their_lines() {
    // Lines named after a label value: the results of API calls.
    let by_label = ["ok", "gone", "throttled", "timeout", "auth"];
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard).filter(|p| p["type"] != "table") {
            let place = format!("{file}: {}", panel["title"]);
            let targets = array(&panel["targets"]);
            let legends: Vec<&str> = targets.iter().map(|t| text(&t["legendFormat"])).collect();
            for other in array(&panel["fieldConfig"]["overrides"]) {
                let name = text(&other["matcher"]["options"]);
                let there = match text(&other["matcher"]["id"]) {
                    "byFrameRefID" => targets.iter().any(|t| t["refId"] == name),
                    _ => legends.contains(&name) || (legends == ["{{result}}"] && by_label.contains(&name)),
                };
                assert!(there, "{place}: no line {name}");
                for property in array(&other["properties"]).iter().filter(|p| p["id"] == "custom.fillBelowTo")
                {
                    assert!(legends.contains(&text(&property["value"])), "{place}: {}", property["value"]);
                }
            }
        }
    }
}

/// The lower and the upper bound are drawn as one band.
#[test]
fn lag_bounds_are_drawn_as_a_band() {
    let (_, group) = dashboards().into_iter().find(|(f, _)| f.ends_with("group.json")).unwrap();
    let bands = panels(&group).filter(|p| p.to_string().contains("custom.fillBelowTo")).count();
    assert_eq!(bands, 3, "of groups, of one topic, of partitions");
}

/// promtool cannot read dashboards, so this test writes their queries to a file that `./check` passes to it.
#[test]
fn dashboard_queries_are_written_out_for_promtool() {
    write_for_promtool("dashboard", dashboard_queries().iter().map(|q| constant(&q.expr)));
}

/// Queries of all panels, annotations and variables of all dashboards.
fn dashboard_queries() -> Vec<Query> {
    let queries: Vec<Query> =
        dashboards().iter().flat_map(|(file, dashboard)| queries_of(file, dashboard)).collect();
    assert!(!queries.is_empty());
    queries
}

fn queries_of(file: &str, dashboard: &Value) -> Vec<Query> {
    static SHOWN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{\s*(\w+)\s*\}\}").unwrap());
    static LISTED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?s)^label_values\((.*), *(\w+)\)$").unwrap());
    let mut queries = Vec::new();
    for panel in panels(dashboard) {
        for target in array(&panel["targets"]) {
            queries.push(Query {
                place: format!("{file}: panel {} {}", panel["title"], text(&target["refId"])),
                expr: text(&target["expr"]).to_owned(),
                variable: false,
                legend: labels_in(&SHOWN, text(&target["legendFormat"])),
            });
        }
    }
    for annotation in array(&dashboard["annotations"]["list"]) {
        let mut legend = labels_in(&SHOWN, text(&annotation["titleFormat"]));
        legend.extend(labels_in(&SHOWN, text(&annotation["textFormat"])));
        legend.extend(text(&annotation["tagKeys"]).split(',').map(|t| t.trim().to_owned()));
        queries.push(Query {
            place: format!("{file}: annotation {}", annotation["name"]),
            expr: text(&annotation["expr"]).to_owned(),
            variable: false,
            legend,
        });
    }
    for variable in array(&dashboard["templating"]["list"]).iter().filter(|v| v["type"] == "query") {
        let query = text(&variable["query"]["query"]);
        let place = format!("{file}: variable {}", variable["name"]);
        let inner = query.strip_prefix("query_result(").and_then(|q| q.strip_suffix(')'));
        let (expr, legend) = match (LISTED.captures(query), inner) {
            (Some(parts), _) => (parts[1].to_owned(), BTreeSet::from([parts[2].to_owned()])),
            (None, Some(inner)) => (inner.to_owned(), BTreeSet::new()),
            (None, None) => panic!("{place}: {query} is neither label_values nor query_result"),
        };
        queries.push(Query { place, expr, variable: true, legend });
    }
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

/// Names of the variables of a dashboard.
fn variables(dashboard: &Value) -> BTreeSet<String> {
    array(&dashboard["templating"]["list"]).iter().map(|v| text(&v["name"]).to_owned()).collect()
}

/// Panels without rows, including those in collapsed rows.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let all = array(&dashboard["panels"]).iter();
    all.flat_map(|p| [p].into_iter().chain(array(&p["panels"]))).filter(|p| p["type"] != "row")
}
