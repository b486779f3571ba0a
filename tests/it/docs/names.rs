//! Metrics, keys, variables, flags and alerts in documents exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use alikafka_exporter::{
    config::keys::{KEYS, VARIABLE_PREFIX},
    exposition::catalog::FAMILIES,
};
use regex::Regex;
use serde_json::Value;

use super::{document, documents, root};

/// RAM policies, whose names look like alerts.
const NO_ALERT: [&str; 2] = ["AliKafkaExporterReadOnly", "AliKafkaExporterAssume"];

#[test]
fn every_metric_in_a_document_is_in_the_catalog() {
    let name = Regex::new(r"^(alikafka_[a-z_]+)(?:\{[^`]*\})?$").unwrap();
    let known: BTreeSet<&str> = FAMILIES.iter().map(|f| f.name).collect();
    for document in documents() {
        let named = document.code().into_iter().filter_map(|c| Some(name.captures(c)?.get(1)?.as_str()));
        // Instance IDs of examples start like a metric.
        let unknown: Vec<&str> = named
            .filter(|n| {
                !known.contains(n) && !n.starts_with("alikafka_post") && !n.starts_with("alikafka_pre")
            })
            .collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}", document.path);
    }
}

#[test]
fn every_key_in_a_document_exists() {
    let dotted = Regex::new(r"^[a-z_]+(?:\.[a-z_]+)+$").unwrap();
    let sections: BTreeSet<&str> =
        KEYS.iter().filter_map(|k| k.path.split_once('.')).map(|(section, _)| section).collect();
    let is_key = |path: &str| {
        KEYS.iter().any(|k| k.path == path || k.path.strip_prefix(path).is_some_and(|r| r.starts_with('.')))
    };
    for document in documents() {
        // Values of the chart are not keys of the exporter.
        if document.path.starts_with("deploy/") {
            continue;
        }
        for code in document.code() {
            let section = code.split('.').next().unwrap();
            if dotted.is_match(code) && sections.contains(section) {
                assert!(is_key(code), "{} names the key {code}", document.path);
            }
        }
        for table in document.tables() {
            if !["key", "配置项"].contains(&table[0][0].as_str()) {
                continue;
            }
            for row in &table[1..] {
                let key = row[0].split('`').nth(1).unwrap_or_default();
                assert!(is_key(key), "{}: a table has the key {key:?}", document.path);
            }
        }
    }
}

#[test]
fn every_variable_in_a_document_belongs_to_a_key() {
    let name = Regex::new(r"ALIKAFKA_EXPORTER_[A-Z_]+").unwrap();
    let known: BTreeSet<String> = KEYS.iter().filter_map(|k| k.variable()).collect();
    for document in documents() {
        for found in name.find_iter(&document.text).map(|m| m.as_str()) {
            let known = known.contains(found) || found == VARIABLE_PREFIX;
            assert!(known, "{} names {found}", document.path);
        }
    }
}

/// The flags in docs/configuration.md are maintained manually, because other crates cannot access those of the binary.
#[test]
fn the_table_of_flags_matches_the_help() {
    let help = help();
    let flags = flags(&help);
    let configuration = document("docs/configuration.md");
    let table = configuration.tables().into_iter().find(|t| t[0][0] == "flag").unwrap();
    let named: BTreeSet<String> = table[1..].iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(named, flags);
    for row in &table[1..] {
        let bare = |cell: &str| cell.trim_matches('`').to_owned();
        let (flag, takes, default) = (bare(&row[0]), bare(&row[1]), bare(&row[2]));
        let takes = if takes.is_empty() { String::new() } else { format!(" <{takes}>") };
        let line = format!("{flag}{takes} {}", row[3].trim_end_matches('.'));
        assert!(help.contains(&line), "--help does not contain: {line}");
        if !default.is_empty() {
            assert!(help.contains(&format!("{line} [default: {default}]")), "{flag}: default {default}");
        }
    }
}

#[test]
fn every_flag_in_a_document_exists() {
    let flags = flags(&help());
    let flag = Regex::new(r"--(?:web|log|config)\.[a-z-]+(?:\.[a-z-]+)*").unwrap();
    // Flags of Prometheus and Alertmanager.
    let others = ["--web.listen-address", "--web.enable-lifecycle", "--config.file", "--web.external-url"];
    for document in documents() {
        for found in flag.find_iter(&document.text).map(|m| m.as_str()) {
            assert!(flags.contains(found) || others.contains(&found), "{} names {found}", document.path);
        }
    }
}

#[test]
fn every_alert_in_a_document_exists() {
    let known = alerts();
    assert!(known.len() > 10);
    let name = Regex::new(r"\bAliKafka[A-Z][a-z]\w+").unwrap();
    for document in documents() {
        for found in name.find_iter(&document.text).map(|m| m.as_str()) {
            assert!(
                known.contains_key(found) || NO_ALERT.contains(&found),
                "{} names {found}",
                document.path
            );
        }
    }
}

#[test]
fn the_tables_of_the_readmes_list_alerts_under_their_severity() {
    let known = alerts();
    for path in ["README.md", "README.zh.md"] {
        let tables = document(path).tables();
        let table = tables.iter().find(|t| t[0][0].contains("critical")).unwrap();
        for (column, severity) in ["critical", "warning"].into_iter().enumerate() {
            assert!(table[0][column].contains(severity), "{path}: {:?}", table[0]);
            let cells = table[1..].iter().flat_map(|row| row[column].split('`').skip(1).step_by(2));
            for alert in cells {
                assert_eq!(known[alert], severity, "{path}: {alert}");
            }
        }
    }
}

#[test]
fn the_document_on_dashboards_lists_each_of_them_and_each_variable() {
    let mut dashboards = BTreeMap::new();
    let mut variables = BTreeSet::new();
    for entry in fs::read_dir(root().join("dashboards")).unwrap() {
        let path = entry.unwrap().path();
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        dashboards.insert(file, dashboard["title"].as_str().unwrap().to_owned());
        let named = dashboard["templating"]["list"].as_array().unwrap().iter();
        variables.extend(named.map(|v| v["name"].as_str().unwrap().to_owned()));
    }
    let tables = document("docs/dashboards.md").tables();
    let table = |title: &str| tables.iter().find(|t| t[0][0] == title).unwrap()[1..].to_vec();
    let file = Regex::new(r"\[([^\]]+)\]").unwrap();
    let listed: BTreeMap<String, String> = table("dashboard")
        .iter()
        .map(|row| (file.captures(&row[1]).unwrap()[1].to_owned(), row[0].clone()))
        .collect();
    assert_eq!(listed, dashboards);
    let listed: BTreeSet<String> = table("variable")
        .iter()
        .flat_map(|row| row[0].split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(listed, variables);
}

/// Shipped alerts with their severity.
fn alerts() -> BTreeMap<String, String> {
    let alert = Regex::new(r"(?s)alert: (\w+)\n.*?severity: (\w+)").unwrap();
    let mut known = BTreeMap::new();
    for entry in fs::read_dir(root().join("config/rules")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = fs::read_to_string(path).unwrap();
            known.extend(alert.captures_iter(&text).map(|c| (c[1].to_owned(), c[2].to_owned())));
        }
    }
    known
}

/// Output of `--help` on one line.
fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_alikafka-exporter")).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn flags(help: &str) -> BTreeSet<String> {
    let flag = Regex::new(r"--[a-z][a-z.-]*[a-z]").unwrap();
    flag.find_iter(help).map(|m| m.as_str().to_owned()).collect()
}
