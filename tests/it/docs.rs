//! What the documents tell people to type is right: every query in them is one that promtool reads and speaks of
//! metrics and labels that exist, every key and every link leads somewhere.

#![cfg(test)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

use crate::assets::{Query, not_in_the_contract, write_for_promtool};
use alikafka_exporter::exposition::catalog::FAMILIES;

#[test]
fn every_metric_and_label_of_a_query_in_a_document_is_in_the_contract() {
    let wrong = not_in_the_contract(queries().into_iter());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// promtool cannot read documents, so `./check` lets it read what this writes.
#[test]
fn queries_of_documents_are_written_out_for_promtool() {
    write_for_promtool("document", queries().into_iter().map(|q| q.expr));
}

#[test]
fn no_query_stands_outside_of_the_blocks_that_are_checked() {
    let call = Regex::new(
        r"\b(?:sum|max|min|count|topk|rate|deriv|delta|increase|changes)(?: by \(.*?\) ?)?\([^)\s]",
    )
    .unwrap();
    let block = Regex::new(r"(?ms)^```.*?^```$").unwrap();
    for (file, text) in documents() {
        let prose = block.replace_all(&text, "");
        let found: Vec<&str> = call.find_iter(&prose).map(|m| m.as_str()).collect();
        assert!(found.is_empty(), "{file}: {found:?} belongs into a block of promql");
    }
}

#[test]
fn every_metric_that_a_document_names_is_in_the_contract() {
    let name = Regex::new(r"`(alikafka_[a-z_]+)(?:\{[^`]*\})?`").unwrap();
    let known: BTreeSet<&str> = FAMILIES.iter().map(|f| f.name).collect();
    for (file, text) in documents() {
        let unknown: Vec<&str> = name
            .captures_iter(&text)
            .map(|c| c.get(1).unwrap().as_str())
            .filter(|n| !known.contains(n))
            .collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)#:]+)(?:#([^)]*))?\)").unwrap();
    for (file, text) in documents() {
        for found in link.captures_iter(&text) {
            let target = root().join(&file).parent().unwrap().join(&found[1]);
            assert!(target.exists(), "{file} links to {}", &found[1]);
            if let Some(anchor) = found.get(2) {
                let headings = anchors(&fs::read_to_string(&target).unwrap());
                assert!(headings.contains(anchor.as_str()), "{file} links to {}", &found[0]);
            }
        }
    }
}

#[test]
fn expressions_of_a_block_are_apart_by_blank_lines_and_may_have_comments() {
    let text = "a\n```promql\n# what\nb\n  > 1\n\nc\n```\n```sh\nd\n```\n";
    let exprs: Vec<String> = expressions(text).collect();
    assert_eq!(exprs, ["# what\nb\n  > 1", "c"]);
}

/// Every query of a document with where it stands.
fn queries() -> Vec<Query> {
    let of = |(file, text): (String, String)| {
        let query = |(i, expr)| Query {
            place: format!("{file}: query {}: {expr}", i + 1),
            expr,
            variable: false,
            legend: BTreeSet::new(),
        };
        expressions(&text).enumerate().map(query).collect::<Vec<_>>()
    };
    let queries: Vec<Query> = documents().into_iter().flat_map(of).collect();
    assert!(!queries.is_empty());
    queries
}

fn expressions(text: &str) -> impl Iterator<Item = String> {
    let block = Regex::new(r"(?ms)^```promql\n(.*?)^```$").unwrap();
    let blocks: Vec<String> = block.captures_iter(text).map(|c| c[1].to_owned()).collect();
    blocks.into_iter().flat_map(|b| b.split("\n\n").map(|e| e.trim().to_owned()).collect::<Vec<_>>())
}

/// The ends of links to headings, as they are shown on the web.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = Regex::new(r"(?m)^#+ +(.+)$").unwrap();
    let anchor = |title: &str| {
        let title = title.to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    heading.captures_iter(text).map(|c| anchor(&c[1])).collect()
}

/// The documents for people who run the exporter, each with its text.
fn documents() -> Vec<(String, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|e| e.unwrap().file_name());
    let mut files: Vec<String> = docs
        .map(|name| format!("docs/{}", name.to_string_lossy()))
        .filter(|name| name.ends_with(".md"))
        .chain(["README.md".to_owned()])
        .collect();
    files.sort();
    let text = |file: &String| fs::read_to_string(root().join(file)).unwrap();
    files.iter().map(|file| (file.clone(), text(file))).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
