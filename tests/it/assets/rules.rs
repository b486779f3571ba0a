//! Alerts name the thing, are tested to fire and to stay silent, and work under both namings.

use std::collections::BTreeSet;

use alikafka_exporter::exposition::catalog;
use regex::Regex;
use serde_json::Value;

use super::{Query, References, array, labels_in, not_in_the_contract, rules, text, yaml_files};

#[test]
fn every_metric_and_label_of_rules_is_in_the_contract() {
    let wrong = not_in_the_contract(rule_queries().into_iter());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_alert_has_a_severity_a_summary_and_a_description_that_names_the_thing() {
    let name = Regex::new("^AliKafka([A-Z][a-z]+)+$").unwrap();
    let mut seen = BTreeSet::new();
    for (file, rule) in rules().into_iter().filter(|(_, r)| r["alert"].is_string()) {
        let alert = text(&rule["alert"]);
        assert!(name.is_match(alert), "{file}: {alert} is not a name of the form AliKafkaThingIsSo");
        assert!(seen.insert(alert.to_owned()), "{file}: {alert} twice");
        let severity = text(&rule["labels"]["severity"]);
        assert!(["warning", "critical"].contains(&severity), "{file}: {alert} has severity {severity:?}");
        for key in ["summary", "description"] {
            let annotation = text(&rule["annotations"][key]);
            assert!(annotation.contains("$labels."), "{file}: {alert} does not name the thing in its {key}");
        }
    }
    assert!(!seen.is_empty());
}

#[test]
fn every_alert_is_shown_to_fire_and_to_stay_silent() {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for (_, suite) in yaml_files("config/rules/tests") {
        for case in array(&suite["tests"]).iter().flat_map(|t| array(&t["alert_rule_test"])) {
            let kind = if array(&case["exp_alerts"]).is_empty() { &mut silent } else { &mut fires };
            kind.insert(text(&case["alertname"]).to_owned());
        }
    }
    let alerts: BTreeSet<String> =
        rules().iter().filter_map(|(_, r)| r["alert"].as_str()).map(str::to_owned).collect();
    assert_eq!(fires, alerts, "alerts that tests show to fire, and alerts");
    assert_eq!(silent, alerts, "alerts that tests show to stay silent, and alerts");
}

#[test]
fn the_shipped_alerts_work_under_both_namings() {
    let renamed: Vec<_> =
        catalog::FAMILIES.iter().filter(|f| f.kafka_exporter.is_some()).map(|f| f.name).collect();
    for Query { place, expr, .. } in rule_queries() {
        for selector in References::of(&expr).selectors {
            assert!(
                !renamed.contains(&selector.name.as_str()),
                "{place}: {} has another name",
                selector.name
            );
        }
    }
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
