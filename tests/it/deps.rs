//! The shape of the source: which module may know which, how long a file may be, that the simulator and the
//! product stay apart, and that the product can only read.

#![cfg(test)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

/// Which modules of this crate a module may use. One that is not listed may not be used by anyone, and is not
/// allowed to be there: a new module is a decision to write down here.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("model", &[]),
    ("clock", &["model"]),
    ("health", &[]),
    ("lag", &["model"]),
    ("snapshot", &["model", "lag"]),
    ("api", &["model", "clock"]),
    ("collect", &["api", "model", "lag", "snapshot", "health", "clock"]),
    ("exposition", &["model", "lag", "snapshot"]),
    ("web", &["snapshot", "exposition", "health"]),
    ("config", &["model"]),
    ("logging", &["clock"]),
];

/// What may use everything, as it wires everything together.
const WIRING: [&str; 4] = ["lib", "main", "cli", "daemon"];

/// Lines of a file, tests apart.
const MAX_LINES: usize = 600;

#[test]
fn modules_use_only_the_modules_below_them() {
    let mut wrong = Vec::new();
    for Source { path, code } in sources("src") {
        let module = module_of(&path);
        if WIRING.contains(&module.as_str()) {
            continue;
        }
        let Some(allowed) = may_use(&module) else {
            wrong.push(format!("{path}: module {module} is not in the table of tests/it/deps.rs"));
            continue;
        };
        for used in crate_paths(&code) {
            if used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{path}: {module} must not use {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_is_longer_than_600_lines_without_its_tests() {
    let long: Vec<String> = ["src", "simulator/src", "xtask/src"]
        .into_iter()
        .flat_map(sources)
        .map(|s| (s.path, s.code.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{path} has {lines} lines"))
        .collect();
    assert!(long.is_empty(), "a missing module? {long:#?}");
}

#[test]
fn the_simulator_and_the_product_do_not_link_each_other() {
    let product = manifest_section("Cargo.toml", "dependencies");
    assert!(product.contains("tokio"), "the section was not found");
    assert!(!product.contains("alikafka-simulator"), "only dev-dependencies may name the simulator");
    let simulator = fs::read_to_string(root().join("simulator/Cargo.toml")).unwrap();
    assert!(!simulator.contains("alikafka-exporter"), "the simulator shares no code with what it judges");
    for Source { path, code } in sources("simulator/src") {
        assert!(!code.contains("alikafka_exporter"), "{path} uses the product");
    }
    for Source { path, code } in sources("src") {
        assert!(!code.contains("alikafka_simulator"), "{path} uses the simulator");
    }
}

/// The names of actions that write, or return passwords or message bodies, are not in the program: what is not
/// there cannot be sent.
#[test]
fn the_product_names_only_read_only_api_actions() {
    let action = Regex::new(
        r#""((?:Change|Close|Convert|Create|Delete|Enable|Modify|Query|Reassign|Release|Reopen|Set|Start|Stop|Tag|Untag|Update|Upgrade)[A-Z][a-z][A-Za-z]*|DescribeSaslUsers|DescribeAcls)""#,
    )
    .unwrap();
    // Fields of answers that begin like those actions.
    let is_field = |name: &str| name.ends_with("Time") || name == "UpgradeServiceDetailInfo";
    for Source { path, code } in sources("src") {
        let found = action.captures_iter(&code).map(|c| c[1].to_owned()).find(|name| !is_field(name));
        assert!(found.is_none(), "{path} holds the action {found:?}");
    }
}

#[test]
fn product_code_excludes_tests_and_comments() {
    let code = product_code(
        "//! crate::a\nuse crate::{b::B, c};\n/// crate::d\nfn f() { crate::e::g() } // crate::h\n#[cfg(test)]\nmod tests {\n    use crate::i;\n}\nuse super::super::j;\n",
    );
    assert_eq!(crate_paths(&code), ["b", "c", "e"]);
    assert!(code.contains("super::super::j") && !code.contains("crate::i"), "{code}");
    let code = product_code("#[cfg(test)]\nmod tests;\nuse crate::k;\n#[cfg(test)]\nuse crate::l;\n");
    assert_eq!(crate_paths(&code), ["k"]);
    assert_eq!(crate_paths("use crate::{\n    m::{N, o},\n    p,\n};"), ["m", "p"]);
}

/// A file of source, without its tests and comments.
struct Source {
    path: String,
    code: String,
}

fn may_use(module: &str) -> Option<&'static [&'static str]> {
    BTreeMap::from(MAY_USE).get(module).copied()
}

/// The module at the top that a file belongs to: `api` for `src/api.rs` and all of `src/api/`.
fn module_of(path: &str) -> String {
    let inside = path.trim_start_matches("src/");
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs").to_owned()
}

/// Modules at the top that code names by `crate::`, braces and all.
fn crate_paths(code: &str) -> Vec<String> {
    let start = Regex::new(r"\bcrate::(\{)?").unwrap();
    let name = Regex::new(r"^\s*([a-z_]+)").unwrap();
    let mut used = Vec::new();
    for found in start.captures_iter(code) {
        let rest = &code[found.get(0).unwrap().end()..];
        let heads = if found.get(1).is_some() { brace_items(rest) } else { vec![rest] };
        used.extend(heads.iter().filter_map(|h| name.captures(h)).map(|c| c[1].to_owned()));
    }
    used
}

/// The items of a brace list that has just been opened, nested lists kept whole.
fn brace_items(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut items) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&text[from..at]);
                return items;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items
}

/// The code without comments, and without items under `#[cfg(test)]`. Relies on rustfmt's layout: an item ends
/// at a line that is indented as its first one and closes it.
fn product_code(text: &str) -> String {
    let comment = Regex::new(r"(?:^|\s)//.*$").unwrap();
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let indent = line.len() - line.trim_start().len();
            let ends = |l: &str| {
                let own = l.len() - l.trim_start().len() == indent;
                own && (l.trim_end().ends_with(';') || l.trim_start().starts_with('}'))
            };
            lines.by_ref().find(|l| ends(l));
            continue;
        }
        kept.push_str(&comment.replace(line, ""));
        kept.push('\n');
    }
    kept
}

/// Every file of product code below a directory. Files that only tests have are named `tests.rs` or lie in a
/// folder `tests`.
fn sources(dir: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(&root().join(dir), &mut paths);
    paths.sort();
    let sources: Vec<Source> = paths
        .iter()
        .map(|p| Source {
            path: p.strip_prefix(root()).unwrap().to_string_lossy().into_owned(),
            code: product_code(&fs::read_to_string(p).unwrap()),
        })
        .collect();
    assert!(!sources.is_empty(), "no source in {dir}");
    sources
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|s| s == "tests") {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The lines of one section of a manifest.
fn manifest_section(file: &str, section: &str) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let (_, rest) = text.split_once(&format!("\n[{section}]\n")).unwrap_or_default();
    rest.split("\n[").next().unwrap_or_default().to_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
