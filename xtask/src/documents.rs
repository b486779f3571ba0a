//! Reference documents under `docs/`, generated from the tables of the exporter.
//!
//! Owns: the list of documents, and Markdown tables. Out of scope: texts about a key or a metric, which belong to the
//! tables of the exporter.

mod configuration;
mod metrics;

use crate::Generated;

/// First line of every document. Manual changes would be lost.
const NOTICE: &str =
    "<!-- Generated from the tables of the product by: cargo run -p xtask -- generate. Do not edit. -->\n\n";

/// Document files.
pub(crate) fn files() -> Vec<Generated> {
    vec![
        Generated {
            path: "docs/configuration.md".to_owned(),
            text: format!("{NOTICE}{}", configuration::document()),
        },
        Generated { path: "docs/metrics.md".to_owned(), text: format!("{NOTICE}{}", metrics::document()) },
    ]
}

/// Row of a table. Escapes bars, which would start the next cell.
fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Header of a table.
fn head(titles: &[&str]) -> String {
    format!("| {} |\n|{}\n", titles.join(" | "), "---|".repeat(titles.len()))
}

/// Text in code format.
fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Converts a text of the exporter to Markdown: escapes markup, and formats addresses as code instead of links.
fn prose(text: &str) -> String {
    let word = |word: &str| match word.split_once("://") {
        // Punctuation of the sentence is not part of the address.
        Some(_) => {
            let address = word.trim_end_matches([',', '.', ';']);
            format!("`{address}`{}", &word[address.len()..])
        }
        None => word.replace('<', "&lt;").replace('*', "\\*"),
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}
