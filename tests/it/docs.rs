//! Documents: queries are valid and use existing metrics and labels, keys, flags, alerts and links exist, and commands
//! declare what they require. `tests/docs/run` runs the commands without requirements.

#![cfg(test)]

mod commands;
mod links;
mod logs;
mod names;
mod pairs;
mod sizing;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

use crate::assets::{Query, missing_in_catalog, write_for_promtool};

#[test]
fn every_metric_and_label_of_a_query_in_a_document_is_in_the_catalog() {
    let wrong = missing_in_catalog(queries().into_iter());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// promtool cannot read documents, so this test writes their queries to a file that `./check` passes to it.
#[test]
fn queries_of_documents_are_written_out_for_promtool() {
    write_for_promtool("document", queries().into_iter().map(|q| q.expr));
}

#[test]
fn no_query_is_outside_of_the_checked_blocks() {
    let call = Regex::new(
        r"\b(?:sum|max|min|count|topk|rate|deriv|delta|increase|changes)(?: by \(.*?\) ?)?\([^)\s]",
    )
    .unwrap();
    for document in documents() {
        let found: Vec<&str> = call.find_iter(&document.prose).map(|m| m.as_str()).collect();
        assert!(found.is_empty(), "{}: {found:?} belongs in a promql block", document.path);
    }
}

#[test]
fn expressions_of_a_block_are_separated_by_blank_lines_and_may_have_comments() {
    let document =
        Document::parse("x.md", "a\n```promql\n# what\nb\n  > 1\n\nc\n```\n```sh run\nd\n```\ne\n");
    let exprs: Vec<String> = expressions(&document).collect();
    assert_eq!(exprs, ["# what\nb\n  > 1", "c"]);
    assert_eq!(document.prose, "a\n\ne\n");
    assert_eq!(document.blocks[1], Block { info: "sh run".to_owned(), body: "d\n".to_owned() });
}

#[test]
fn a_block_without_an_end_is_rejected() {
    let open = std::panic::catch_unwind(|| Document::parse("x.md", "```sh run\nd\n"));
    assert!(open.is_err());
}

/// Queries of all documents with their places.
fn queries() -> Vec<Query> {
    let document_queries = |document: Document| {
        let query = |(i, expr)| Query {
            place: format!("{}: query {}: {expr}", document.path, i + 1),
            expr,
            variable: false,
            legend: BTreeSet::new(),
        };
        expressions(&document).enumerate().map(query).collect::<Vec<_>>()
    };
    let queries: Vec<Query> = documents().into_iter().flat_map(document_queries).collect();
    assert!(!queries.is_empty());
    queries
}

fn expressions(document: &Document) -> impl Iterator<Item = String> {
    let blocks = document.blocks.iter().filter(|b| b.info == "promql");
    blocks.flat_map(|b| b.body.split("\n\n")).map(|e| e.trim().to_owned())
}

/// Document for users of the exporter.
#[derive(Debug)]
struct Document {
    /// Path from the root of the repository.
    path: String,
    /// Complete text.
    text: String,
    /// Text outside of blocks.
    prose: String,
    blocks: Vec<Block>,
}

/// Fenced block.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Text after the opening fence.
    info: String,
    /// Lines without the indentation of the block.
    body: String,
}

impl Document {
    fn parse(path: &str, text: &str) -> Self {
        let (mut prose, mut blocks) = (String::new(), Vec::new());
        let mut open: Option<(usize, Block)> = None;
        for line in text.lines() {
            let bare = line.trim_start();
            let indent = line.len() - bare.len();
            match (&mut open, bare.strip_prefix("```")) {
                (None, Some(info)) => {
                    open = Some((indent, Block { info: info.trim().to_owned(), body: String::new() }));
                    prose.push('\n');
                }
                (None, None) => {
                    prose.push_str(line);
                    prose.push('\n');
                }
                (Some((_, _)), Some("")) => blocks.extend(open.take().map(|(_, block)| block)),
                (Some((margin, block)), _) => {
                    block.body.push_str(&line[(*margin).min(indent)..]);
                    block.body.push('\n');
                }
            }
        }
        assert!(open.is_none(), "{path} has a block without an end: {open:?}");
        let prose = Regex::new(r"\n\n+").unwrap().replace_all(&prose, "\n\n").into_owned();
        Self { path: path.to_owned(), text: text.to_owned(), prose, blocks }
    }

    /// Texts between single backticks.
    fn code(&self) -> Vec<&str> {
        let code = Regex::new(r"`([^`\n]+)`").unwrap();
        code.captures_iter(&self.prose).map(|c| c.get(1).unwrap().as_str()).collect()
    }

    /// Tables as rows of cells, header first.
    fn tables(&self) -> Vec<Vec<Vec<String>>> {
        let mut tables = Vec::new();
        let mut rows = Vec::new();
        for line in self.prose.lines().chain([""]) {
            match line.trim().strip_prefix('|').and_then(|l| l.strip_suffix('|')) {
                Some(cells) if cells.chars().all(|c| "|-: ".contains(c)) => {}
                Some(cells) => {
                    let cells = cells.replace("\\|", "\u{1}");
                    let cell = |c: &str| c.trim().replace('\u{1}', "|");
                    rows.push(cells.split('|').map(cell).collect::<Vec<_>>());
                }
                None if rows.is_empty() => {}
                None => tables.push(std::mem::take(&mut rows)),
            }
        }
        tables
    }
}

/// Documents for users of the exporter: the READMEs, and all below `docs` and `deploy`.
fn documents() -> Vec<Document> {
    let mut files = vec![root().join("README.md"), root().join("README.zh.md")];
    for folder in ["docs", "deploy"] {
        collect_markdown(&root().join(folder), &mut files);
    }
    files.sort();
    let read = |file: &PathBuf| {
        let path = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        Document::parse(&path, &fs::read_to_string(file).unwrap_or_else(|e| panic!("{path}: {e}")))
    };
    files.iter().map(read).collect()
}

/// Adds the Markdown files of a folder and its subfolders.
fn collect_markdown(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_markdown(&path, files);
        } else if path.extension().is_some_and(|e| e == "md") {
            files.push(path);
        }
    }
}

fn document(path: &str) -> Document {
    documents().into_iter().find(|d| d.path == path).unwrap_or_else(|| panic!("there is no {path}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
