//! Guards the vocabulary of everything that people read: the glossary's banned words, doc comments that open with a
//! relative clause, long HELP texts.

#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::{Regex, RegexBuilder};

/// Files and folders whose text is checked.
const CHECKED: [&str; 23] = [
    ".ci",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "Dockerfile",
    "README.md",
    "SECURITY.md",
    "benches",
    "build.rs",
    "check",
    "clippy.toml",
    "config",
    "dashboards",
    "deny.toml",
    "deploy",
    "docs",
    "examples",
    "fuzz",
    "justfile",
    "simulator",
    "src",
    "tests",
];
/// The generator of dashboards and reference documents.
const GENERATOR: &str = "xtask";

/// Folders that hold data, downloads or build output rather than prose.
const SKIPPED_FOLDERS: [&str; 7] =
    ["target", "node_modules", "fixtures", "seeds", "golden", "screenshots", "artifacts"];
/// This file lists the banned words.
const THIS_FILE: &str = "tests/it/language.rs";

/// Standard term, and the pattern of the private words that it replaces.
const GLOSSARY: [(&str, &str); 28] = [
    ("report(s), return(s), known, present", "tell|tells|told|telling"),
    ("report(s)", "said|says of"),
    ("a noun phrase", "of which|of whom|of what|so many|so-manieth"),
    ("no longer", "no more|any more"),
    ("again, recreated, rebuilt", "anew"),
    ("response; respond", "answer|answers|answered|answering"),
    ("request; API call", "question|questions|asking"),
    ("poll result, outcome", "heard"),
    ("stale, expired", "grow old|grows old|grown old|too old"),
    ("per second", "(?:calls|requests|messages|bytes|polls|samples|attempts|times|MiB|tokens) a second"),
    ("fix", "mend|mends|mended|mending"),
    ("in parallel, concurrently", "beside each other"),
    ("dashboard", "board|boards"),
    ("exposition, critical alert, runbook, list page", "page|pages"),
    ("lag lower bound, lag upper bound", "floor|floors|ceiling|ceilings|certainly late|possibly late"),
    ("paginate, paginator", "walk|walks|walked|walking"),
    ("malformed, invalid", "odd|odder|oddly|oddity|oddities|strange|stranger|strangers"),
    ("complete", "whole|wholly"),
    ("the client, the caller, the operator", "whoever|those who|who asks|who ask"),
    ("stalled, stuck, remains", "stands still|stand still|stood still|standing still|stands"),
    ("discovered, discovery order", "first seen|first sight"),
    ("rate limiter, action queue", "lane|lanes"),
    ("budget shortage", "scarcity"),
    (
        "reconfigure, hand over, refresh",
        "renew|renews|renewed|renewing|renewal|take over|takes over|taken over|took over",
    ),
    ("fault injection, fail point", "sabotage|bend|bends|bent"),
    ("failure scenarios", "troubles"),
    ("credential services", "stand-in|stand-ins"),
    (
        "a standard term instead of a metaphor",
        "desk|seat|mailbox|reception|doorman|keeper|knock|acquitted|rig",
    ),
];
/// The same for source code only, because documents may ask a reader to ask somebody.
const CODE_GLOSSARY: (&str, &str) = ("request", "ask|asks|asked");

/// Contexts in which a banned word is the standard term, with the reason.
const ALLOWED: [(&str, &str); 8] = [
    (r"no more than", "a comparison"),
    (r"whole numbers?", "an integer"),
    (
        r"(?:status|list|HTML|man|first|last|next|each|every|per|one|previous|full|second|empty|web|current|later|further)[- ]pages?",
        "a page of a paginated list, or an HTML page",
    ),
    (r"pages? (?:of (?:a|the|its|one) list|numbers?|sizes?|\d)", "a page of a paginated list"),
    (r"(?:to page|pages?) (?:you|someone|on|on-call|the on-call)\b", "to notify the engineer on call"),
    (r"\.floor\(", "the function"),
    (
        r"(?:/|`|'|\x22|\[)answers?(?:/|`|'|\x22|\])",
        "a JSON key of /debug/state, which is a public interface",
    ),
    (r"Expenses, Renewal", "a menu of the cloud's console"),
];

/// Files in which a banned word is unavoidable, with the reason.
const ALLOWED_IN: [(&str, &str, &str); 2] = [
    ("src/collect/tests/explain.rs", "\"answer", "lists JSON keys of /debug/state without quotes"),
    ("tests/it/exposition/fleet.rs", "\"odd", "a topic name in golden files"),
];

#[test]
fn no_text_contains_a_banned_word() {
    let prose = Vocabulary::new(&GLOSSARY);
    let code = Vocabulary::new(&[GLOSSARY.as_slice(), &[CODE_GLOSSARY]].concat());
    let mut findings = Vec::new();
    for (path, text) in texts() {
        let vocabulary = if is_code(&path) { &code } else { &prose };
        for (number, line) in text.lines().enumerate() {
            for finding in vocabulary.findings(line) {
                let is_allowed =
                    |(file, word, _): &(&str, &str, &str)| path == *file && finding.starts_with(word);
                if !ALLOWED_IN.iter().any(is_allowed) {
                    findings.push(format!("{path}:{}: {finding}", number + 1));
                }
            }
        }
    }
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn a_banned_word_is_found_unless_its_context_is_allowed() {
    let vocabulary = Vocabulary::new(&GLOSSARY);
    assert_eq!(vocabulary.findings("the page is no more").len(), 2);
    assert!(vocabulary.findings("a list page of no more than 100, page_size").is_empty());
    assert_eq!(
        vocabulary.findings("a list page and a page"),
        ["\"page\", use: exposition, critical alert, runbook, list page"]
    );
}

/// A doc comment starts with a verb or a noun. `Whether` is the exception, for booleans.
#[test]
fn no_doc_comment_opens_with_a_relative_clause() {
    let opening =
        Regex::new(r"^\s*//[/!] (?:What|How|Between|Who|Whom|Whose|When|Where|Which|So many)\b").unwrap();
    let comment = Regex::new(r"^\s*//[/!]").unwrap();
    let mut findings = Vec::new();
    for (path, text) in texts().into_iter().filter(|(path, _)| path.ends_with(".rs")) {
        let mut continues = false;
        for (number, line) in text.lines().enumerate() {
            if !continues && opening.is_match(line) {
                findings.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
            continues = comment.is_match(line);
        }
    }
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn every_help_text_is_one_short_sentence_and_its_source() {
    const MAX_WORDS: usize = 20;
    let mut seen = 0;
    let mut findings = Vec::new();
    for entry in fs::read_dir(root().join("tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for help in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
            seen += 1;
            let (name, help) = help.split_once(' ').unwrap_or((help, ""));
            let sentence = help.rsplit_once(" (").map_or(help, |(sentence, _)| sentence);
            let words = sentence.split_whitespace().count();
            if words == 0 || words > MAX_WORDS {
                findings.push(format!("{name}: {words} words: {help}"));
            }
        }
    }
    assert!(seen > 80, "only {seen} HELP lines were found");
    findings.sort();
    findings.dedup();
    assert!(findings.is_empty(), "{findings:#?}");
}

/// Banned words with their replacements, and the contexts in which they are allowed.
struct Vocabulary {
    /// All banned words, to skip most lines with one search.
    any: Regex,
    terms: Vec<(&'static str, Regex)>,
    allowed: Vec<Regex>,
}

impl Vocabulary {
    fn new(glossary: &[(&'static str, &str)]) -> Self {
        let words = |words: &str| pattern(&format!(r"\b(?:{words})\b"));
        Self {
            any: words(&glossary.iter().map(|(_, words)| *words).collect::<Vec<_>>().join("|")),
            terms: glossary.iter().map(|(term, banned)| (*term, words(banned))).collect(),
            allowed: ALLOWED.iter().map(|(context, _)| pattern(context)).collect(),
        }
    }

    /// Returns the banned words of a line that no allowed context covers.
    fn findings(&self, line: &str) -> Vec<String> {
        let mut findings = Vec::new();
        if !self.any.is_match(line) {
            return findings;
        }
        let contexts: Vec<_> =
            self.allowed.iter().flat_map(|a| a.find_iter(line)).map(|m| m.range()).collect();
        for (term, words) in &self.terms {
            for word in words.find_iter(line) {
                if !contexts.iter().any(|c| c.start <= word.start() && word.end() <= c.end) {
                    findings.push(format!("{:?}, use: {term}", word.as_str()));
                }
            }
        }
        findings
    }
}

fn is_code(path: &str) -> bool {
    ["src/", "simulator/", "xtask/", "tests/", "fuzz/", "benches/", "examples/", ".ci/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}

/// Compiles an expression that ignores case. ASCII word boundaries suffice and are fast.
fn pattern(text: &str) -> Regex {
    RegexBuilder::new(text).case_insensitive(true).unicode(false).build().unwrap()
}

/// Returns path and content of every checked text file.
fn texts() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for path in CHECKED.iter().chain([&GENERATOR]) {
        collect_files(&root().join(path), &mut files);
    }
    files.sort();
    let relative = |file: PathBuf| {
        let path = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let is_data = [".lock", "package-lock.json", ".zh.md"].iter().any(|end| path.ends_with(end));
        // A file that is not UTF-8 is not text.
        fs::read_to_string(&file).ok().filter(|_| !is_data && path != THIS_FILE).map(|text| (path, text))
    };
    let texts: Vec<_> = files.into_iter().filter_map(relative).collect();
    assert!(texts.len() > 300, "only {} files were found", texts.len());
    texts
}

fn collect_files(path: &Path, files: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        files.push(path.to_owned());
        return;
    }
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !SKIPPED_FOLDERS.contains(&name.as_str()) {
            collect_files(&entry, files);
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
