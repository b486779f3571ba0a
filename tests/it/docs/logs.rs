//! docs/troubleshooting.md contains every warning and error that the exporter logs, with the same text.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;

use super::{document, root};

#[test]
fn every_quoted_line_is_logged() {
    let logged: Vec<String> = messages(r"trace|debug|info|warn|error").into_iter().collect();
    let quoted = quoted();
    assert!(quoted.len() > 25, "{quoted:?}");
    for line in &quoted {
        assert!(logged.iter().any(|message| message.starts_with(line.as_str())), "nothing logs {line:?}");
    }
}

#[test]
fn every_warning_and_error_is_quoted() {
    let quoted = quoted();
    for message in messages("warn|error") {
        assert!(quoted.iter().any(|line| message.starts_with(line)), "{message:?} is not documented");
    }
}

/// Log lines in the table of log lines.
fn quoted() -> BTreeSet<String> {
    let tables = document("docs/troubleshooting.md").tables();
    let lines = tables.iter().filter(|t| t[0][0] == "line").flat_map(|t| &t[1..]);
    lines.map(|row| row[0].trim_matches('`').to_owned()).collect()
}

/// Constant beginnings of all messages that the exporter logs at the given levels.
fn messages(levels: &str) -> BTreeSet<String> {
    // A call on one line, or on several lines with the closing parenthesis on the last one.
    let call =
        Regex::new(&format!(r"tracing::(?:{levels})!\((?:([^\n]+)\)[;,]?\n|\n((?s:.*?))\n\s*\)[;,]?\n)"))
            .unwrap();
    let literal = Regex::new(r#"(?s)"((?:[^"\\]|\\.)*)""#).unwrap();
    let continued = Regex::new(r"\\\n\s*").unwrap();
    let mut found = BTreeSet::new();
    for text in sources(&root().join("src")) {
        let product = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for call in call.captures_iter(product) {
            let arguments = call.get(1).or(call.get(2)).unwrap().as_str();
            let message = literal
                .captures_iter(arguments)
                // The message is an argument of its own, not the value of a field or a part of it.
                .filter(|c| {
                    let before = arguments[..c.get(0).unwrap().start()].trim_end();
                    before.is_empty() || before.ends_with(',')
                })
                .last();
            let Some(message) = message else { continue };
            let message = continued.replace_all(&message[1], "").into_owned();
            found.insert(message.split('{').next().unwrap().trim_end_matches([' ', ':']).to_owned());
        }
    }
    // A single call logs both ways in which a failure ends.
    if levels.contains("info") {
        found.extend(["recovered", "failure ended without a success"].map(str::to_owned));
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
    texts
}
