//! Alerts name the affected object, have a runbook and tests, and work with both settings of `metrics.naming`.
//!
//! The name of a test case in `config/rules/tests` starts with the behavior that it proves for its alerts:
//! - `fires:` silent, and firing one evaluation later, so that `for` is exact;
//! - `silent:` never firing, even close to the threshold;
//! - `outlives:` still firing after its series have disappeared;
//! - `ends:` resolved after its series have disappeared, while another alert fires instead;
//! - `also:` anything else.

use std::collections::{BTreeMap, BTreeSet};

use alikafka_exporter::exposition::catalog;
use regex::Regex;
use serde_json::Value;

use super::{
    Query, References, array, files, labels_in, missing_in_catalog, read, root, rules, text, yaml_files,
};

/// File of rules that users edit.
const THRESHOLDS: &str = "config/rules/alikafka-thresholds.rules.yml";

/// Evaluation interval of the cases that prove when an alert starts to fire.
const EVALUATION_SECONDS: u64 = 30;

#[test]
fn every_metric_and_label_of_rules_is_in_the_catalog() {
    let wrong = missing_in_catalog(rule_queries().into_iter());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_alert_has_a_severity_a_summary_and_a_description_that_name_the_object() {
    let name = Regex::new("^AliKafka([A-Z][a-z]+)+$").unwrap();
    let mut seen = BTreeSet::new();
    for (file, rule) in alerts() {
        let alert = text(&rule["alert"]);
        assert!(name.is_match(alert), "{file}: {alert} is not a name of the form AliKafkaThingIsSo");
        assert!(seen.insert(alert.to_owned()), "{file}: {alert} twice");
        let severity = text(&rule["labels"]["severity"]);
        assert!(["warning", "critical"].contains(&severity), "{file}: {alert} has severity {severity:?}");
        for key in ["summary", "description"] {
            let annotation = text(&rule["annotations"][key]);
            assert!(annotation.contains("$labels."), "{file}: the {key} of {alert} names no object");
        }
        let summary = text(&rule["annotations"]["summary"]);
        assert!(summary.len() < 240 && !summary.ends_with('.'), "{file}: the summary of {alert} is one line");
    }
    assert!(!seen.is_empty());
}

/// Alerts about an instance name it, its region and, if accounts are named, its account.
#[test]
fn every_alert_about_an_instance_names_it_its_region_and_its_account() {
    for (file, rule) in
        alerts().filter(|(_, r)| text(&r["annotations"]["description"]).contains("instance_id"))
    {
        let alert = text(&rule["alert"]);
        let description = text(&rule["annotations"]["description"]);
        if alert != "AliKafkaThresholdUnused" {
            for named in ["{{ $labels.instance_id }}", "{{ $labels.region }}", "{{ with $labels.account }}"] {
                assert!(description.contains(named), "{file}: {alert} does not say {named}");
            }
        }
        let labels: BTreeSet<&str> = ["group", "topic", "scope"].into();
        let summary = text(&rule["annotations"]["summary"]);
        for label in labels.iter().filter(|l| description.contains(&format!("$labels.{l}"))) {
            assert!(
                summary.contains(&format!("$labels.{label}")),
                "{file}: {alert}: no {label} in the summary"
            );
        }
    }
}

#[test]
fn every_alert_has_a_runbook_with_its_four_sections_and_every_runbook_an_alert() {
    let heading = Regex::new(r"(?m)^##? .*$").unwrap();
    let code = Regex::new(r"(?ms)^```.*?^```$").unwrap();
    let mut runbooks = BTreeSet::new();
    let index = read(&root().join("docs/runbooks/README.md"));
    for (file, rule) in alerts() {
        let alert = text(&rule["alert"]);
        let runbook = format!("docs/runbooks/{alert}.md");
        assert_eq!(text(&rule["annotations"]["runbook_url"]), runbook, "{file}: {alert}");
        let content = read(&root().join(&runbook));
        let prose = code.replace_all(&content, "");
        let headings: Vec<&str> = heading.find_iter(&prose).map(|m| m.as_str()).collect();
        let title = format!("# {alert}");
        let sections = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"];
        assert_eq!(headings, [&[title.as_str()][..], &sections].concat(), "{runbook}");
        for section in content.split("\n## ").skip(1) {
            assert!(section.len() > 80, "{runbook}: nothing in section {:?}", section.lines().next());
        }
        assert!(content.contains("```promql\n"), "{runbook} has no query");
        let severity = text(&rule["labels"]["severity"]);
        let row = format!("| [`{alert}`]({alert}.md) | {severity} |");
        assert!(index.contains(&row), "the index has no row {row}");
        runbooks.insert(runbook);
    }
    let found: BTreeSet<String> = files("docs/runbooks", ".md").into_iter().map(|(file, _)| file).collect();
    runbooks.insert("docs/runbooks/README.md".to_owned());
    assert_eq!(found, runbooks, "runbooks and alerts");
}

#[test]
fn every_alert_has_cases_that_fire_stay_silent_and_lose_their_data() {
    let mut proven_by_kind: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in cases() {
        let kind = case.name.split(':').next().unwrap();
        let Some(kind) = ["fires", "silent", "outlives", "ends", "also"].into_iter().find(|k| *k == kind)
        else {
            wrong.push(format!("{}: no kind of case", case.name));
            continue;
        };
        let credited: BTreeSet<String> =
            case.checks.keys().filter(|alert| case.proves(kind, alert)).cloned().collect();
        if credited.is_empty() && kind != "also" {
            wrong.push(format!("{} does not prove what its name says", case.name));
        }
        proven_by_kind.entry(kind).or_default().extend(credited);
    }
    let proven = |kind: &str| proven_by_kind.get(kind).cloned().unwrap_or_default();
    for alert in alerts().map(|(_, r)| text(&r["alert"]).to_owned()) {
        for kind in ["fires", "silent"] {
            if !proven(kind).contains(&alert) {
                wrong.push(format!("no case proves that {alert} {kind}"));
            }
        }
        if !proven("outlives").contains(&alert) && !proven("ends").contains(&alert) {
            wrong.push(format!("no case proves what {alert} does when its data disappears"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A critical alert must not resolve because its data disappears, unless another one has started to fire.
#[test]
fn alerts_about_groups_and_topics_and_critical_alerts_outlive_their_data() {
    let ends = ["AliKafkaNoRegion", "AliKafkaCredentialsExpiring", "AliKafkaInstanceUnwatched"];
    let outlive: BTreeSet<String> = cases()
        .filter(|c| c.name.starts_with("outlives:"))
        .flat_map(|c| c.checks.keys().filter(|a| c.proves("outlives", a)).cloned().collect::<Vec<_>>())
        .collect();
    for (file, rule) in alerts() {
        let alert = text(&rule["alert"]);
        let names = text(&rule["annotations"]["summary"]);
        let is_about = names.contains("$labels.group") || names.contains("$labels.topic");
        let is_critical = rule["labels"]["severity"] == "critical";
        if (is_about && alert != "AliKafkaThresholdUnused") || (is_critical && !ends.contains(&alert)) {
            assert!(outlive.contains(alert), "{file}: no case proves that {alert} outlives its data");
        }
    }
}

/// Inhibition rules and routes refer to existing alerts.
#[test]
fn the_alertmanager_example_uses_existing_alerts_and_prometheus_sends_to_it() {
    let known: BTreeSet<String> = alerts().map(|(_, r)| text(&r["alert"]).to_owned()).collect();
    let word = Regex::new(r"\bAliKafka\w+").unwrap();
    for file in ["config/alertmanager.yml", "tests/alertmanager/routes.table", "tests/alertmanager/prove.py"]
    {
        let content = read(&root().join(file));
        let named: BTreeSet<&str> = word.find_iter(&content).map(|m| m.as_str()).collect();
        assert!(named.len() > 3, "{file}");
        for alert in named {
            assert!(known.contains(alert), "{file} names {alert}");
        }
    }
    for (file, config) in yaml_files("config").into_iter().filter(|(f, _)| f.starts_with("config/prometheus"))
    {
        let target = &config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"][0];
        assert_eq!(target, "localhost:9093", "{file}");
    }
}

#[test]
fn the_shipped_rules_work_under_both_namings() {
    let renamed = || catalog::FAMILIES.iter().filter_map(|f| Some((f.name, f.kafka_exporter?.name)));
    for Query { place, expr, .. } in rule_queries() {
        let used: BTreeSet<String> = References::of(&expr).selectors.into_iter().map(|s| s.name).collect();
        for (ours, theirs) in renamed() {
            assert_eq!(
                used.contains(ours),
                used.contains(theirs),
                "{place}: {ours} is {theirs} under the other naming, so the query must contain both"
            );
        }
        assert!(
            used.iter().all(|n| !n.starts_with("kafka_") || renamed().any(|(_, theirs)| theirs == n)),
            "{place}"
        );
    }
}

#[test]
fn recorded_names_are_of_the_form_level_metric_operation() {
    let form = Regex::new("^(group|group_topic|topic|instance|region|team):(alikafka_[a-z_]+):([a-z0-9_]+)$")
        .unwrap();
    let families: BTreeSet<&str> =
        catalog::FAMILIES.iter().map(|f| f.name.trim_end_matches("_total")).collect();
    // Names that are not derived from a single metric.
    let derived = [
        "alikafka_team",
        "alikafka_group_late",
        "alikafka_group_lost_messages",
        "alikafka_group_lag_threshold_seconds",
        "alikafka_group_lag_threshold_messages",
    ];
    let mut seen = BTreeSet::new();
    for (file, rule) in rules().into_iter().filter(|(f, r)| r["record"].is_string() && f != THRESHOLDS) {
        let name = text(&rule["record"]);
        let parts =
            form.captures(name).unwrap_or_else(|| panic!("{file}: {name} is not level:metric:operation"));
        assert!(
            families.contains(&parts[2]) || derived.contains(&&parts[2]),
            "{file}: {name}: no such metric"
        );
        assert!(seen.insert(name.to_owned()), "{file}: {name} twice");
    }
    for (file, rule) in rules().into_iter().filter(|(f, r)| r["record"].is_string() && f == THRESHOLDS) {
        assert!(text(&rule["record"]).starts_with("alikafka:group_lag_threshold_"), "{file}");
    }
}

/// The default in the file that users edit equals the fallback without the file.
#[test]
fn thresholds_have_the_same_default_without_their_file() {
    for (unit, record) in
        ["seconds", "messages"].map(|u| (u, format!("alikafka:group_lag_threshold_{u}:default")))
    {
        let (file, rule) =
            rules().into_iter().find(|(_, r)| r["record"] == record.as_str()).expect("a default");
        assert_eq!(file, THRESHOLDS);
        let effective = format!("group:alikafka_group_lag_threshold_{unit}:effective");
        let (_, rule_of_all) = rules().into_iter().find(|(_, r)| r["record"] == effective.as_str()).unwrap();
        let fallback = format!("or vector({})", text(&rule["expr"]));
        assert!(text(&rule_of_all["expr"]).contains(&fallback), "{effective} has no {fallback}");
        let comments = read(&root().join(THRESHOLDS));
        let comments: Vec<&str> = comments.lines().filter(|l| l.starts_with('#')).collect();
        assert!(comments.join(" ").contains(text(&rule["expr"])), "no comment of {file} contains {fallback}");
    }
}

/// promtool ignores the examples because they are comments, so it tests a copy without the `#`.
#[test]
fn the_examples_of_thresholds_equal_the_tested_copy() {
    let mut rules = Vec::new();
    let mut on = false;
    for line in read(&root().join(THRESHOLDS)).lines() {
        on = line.starts_with("      # - record:") || (on && line.starts_with("      #   "));
        if on {
            rules.push(line.replacen("# ", "", 1));
        } else if !line.trim_start().starts_with('#') && !line.trim().is_empty() {
            rules.push(line.to_owned());
        }
    }
    let tested = read(&root().join("config/rules/tests/thresholds/examples.rules.yml"));
    let tested: Vec<&str> = tested.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).collect();
    assert_eq!(rules, tested);
    assert!(rules.len() > 15, "there are examples");
}

/// Test case of promtool.
struct Case {
    name: String,
    /// Whether a series disappears.
    vanishes: bool,
    /// Expectations by alert: second, and whether it fires.
    checks: BTreeMap<String, Vec<(u64, bool)>>,
}

impl Case {
    /// Returns whether the case proves the behavior of its kind for the alert.
    fn proves(&self, kind: &str, alert: &str) -> bool {
        let checks = &self.checks[alert];
        let fires = |at: &(u64, bool)| at.1;
        match kind {
            "fires" => checks.windows(2).any(|w| !w[0].1 && w[1].1 && w[1].0 - w[0].0 <= EVALUATION_SECONDS),
            "silent" => !checks.iter().any(fires),
            "outlives" => self.vanishes && checks.iter().filter(|c| fires(c)).count() >= 2,
            "ends" => {
                let begun = checks.iter().position(fires);
                let over = begun.and_then(|i| checks[i..].iter().find(|c| !fires(c)));
                let others = self.checks.iter().filter(|(other, _)| *other != alert);
                let after = |over: &(u64, bool)| {
                    others.flat_map(|(_, c)| c).any(|other| fires(other) && other.0 >= over.0)
                };
                over.is_some_and(after)
            }
            _ => true,
        }
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let suites = yaml_files("config/rules/tests");
    suites.into_iter().flat_map(|(_, suite)| array(&suite["tests"]).to_vec()).map(|test| {
        let mut checks: BTreeMap<String, Vec<(u64, bool)>> = BTreeMap::new();
        for check in array(&test["alert_rule_test"]) {
            let fires = !array(&check["exp_alerts"]).is_empty();
            let alert = text(&check["alertname"]).to_owned();
            checks.entry(alert).or_default().push((seconds(text(&check["eval_time"])), fires));
        }
        for checks in checks.values_mut() {
            checks.sort_unstable();
        }
        let vanishes = array(&test["input_series"]).iter().any(|s| text(&s["values"]).contains("stale"));
        Case { name: text(&test["name"]).to_owned(), vanishes, checks }
    })
}

/// Converts a duration such as `1h30m` to seconds.
fn seconds(duration: &str) -> u64 {
    let part = Regex::new(r"(\d+)([hms])").unwrap();
    let part_seconds = |c: regex::Captures<'_>| {
        c[1].parse::<u64>().unwrap() * BTreeMap::from([("h", 3600), ("m", 60), ("s", 1)])[&c[2]]
    };
    part.captures_iter(duration).map(part_seconds).sum()
}

fn alerts() -> impl Iterator<Item = (String, Value)> {
    rules().into_iter().filter(|(_, r)| r["alert"].is_string())
}

fn rule_queries() -> Vec<Query> {
    let shown = Regex::new(r"\$labels\.(\w+)").unwrap();
    let query = |(file, rule): (String, Value)| Query {
        place: format!("{file}: {}{}", text(&rule["alert"]), text(&rule["record"])),
        expr: text(&rule["expr"]).to_owned(),
        variable: false,
        legend: labels_in(&shown, &rule["annotations"].to_string()),
    };
    rules().into_iter().map(query).collect()
}
