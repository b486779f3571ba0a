//! The reference pages under `docs/` that are made of the product's own tables.
//!
//! Owns: which pages there are, and how a table of Markdown is written. Refuses: words about a key or a metric; those
//! stand in the tables of the product.

mod configuration;
mod metrics;

use crate::Generated;

/// The first line of every page: who edits it by hand loses what was written.
const MARK: &str =
    "<!-- Generated from the tables of the product by: cargo run -p xtask -- generate. Do not edit. -->\n\n";

/// The pages.
pub(crate) fn files() -> Vec<Generated> {
    vec![
        Generated {
            path: "docs/configuration.md".to_owned(),
            text: format!("{MARK}{}", configuration::document()),
        },
        Generated { path: "docs/metrics.md".to_owned(), text: format!("{MARK}{}", metrics::document()) },
    ]
}

/// A row of a table. A bar in a cell would begin the next one.
fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a table.
fn head(titles: &[&str]) -> String {
    format!("| {} |\n|{}\n", titles.join(" | "), "---|".repeat(titles.len()))
}

/// A text as it is to be typed.
fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A text of the product as prose: nothing in it is markup, and no address a link.
fn prose(text: &str) -> String {
    let word = |word: &str| match word.split_once("://") {
        // A mark of the sentence is not part of the address.
        Some(_) => {
            let address = word.trim_end_matches([',', '.', ';']);
            format!("`{address}`{}", &word[address.len()..])
        }
        None => word.replace('<', "&lt;").replace('*', "\\*"),
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}
