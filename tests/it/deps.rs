//! Structure of the source: module dependencies, file lengths, separation of the simulator and the product, and the
//! read-only API actions.

#![cfg(test)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

/// Top-level modules and the modules that each may use. A new module must be added here.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("clock", &["model"]),
    ("health", &[]),
    ("lag", &["model"]),
    ("snapshot", &["model", "lag"]),
    ("api", &["model", "clock"]),
    ("collect", &["api", "model", "lag", "snapshot", "health", "clock"]),
    ("exposition", &["model", "lag", "snapshot"]),
    ("explain", &["collect", "model", "lag", "snapshot", "web"]),
    ("web", &["snapshot", "exposition", "health"]),
    ("config", &["model"]),
    ("logging", &["clock"]),
];

/// Modules that may use all others, because they wire them together.
const WIRING: [&str; 4] = ["lib", "main", "cli", "daemon"];

/// Longest file, without its tests.
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
fn type_names_are_unique() {
    // A `type` in an `impl` or a `trait` is indented.
    let definition =
        Regex::new(r"(?m)^(?: *(?:pub(?:\([^)]*\))? )?(?:struct|enum|union|trait)|(?:pub(?:\([^)]*\))? )?type) ([A-Z]\w*)")
            .unwrap();
    for dir in ["src", "simulator/src", "xtask/src"] {
        let mut places = BTreeMap::<String, Vec<String>>::new();
        for Source { path, code } in sources(dir) {
            for found in definition.captures_iter(&code) {
                places.entry(found[1].to_owned()).or_default().push(path.clone());
            }
        }
        assert!(places.len() > 10, "{dir} has only {} types", places.len());
        places.retain(|_, paths| paths.len() > 1);
        assert!(places.is_empty(), "{dir} has types of the same name: {places:#?}");
    }
}

#[test]
fn the_simulator_and_the_product_do_not_link_each_other() {
    let product = manifest_section("Cargo.toml", "dependencies");
    assert!(product.contains("tokio"), "the section was not found");
    assert!(!product.contains("alikafka-simulator"), "only dev-dependencies may name the simulator");
    let simulator = fs::read_to_string(root().join("simulator/Cargo.toml")).unwrap();
    assert!(
        !simulator.contains("alikafka-exporter"),
        "the simulator shares no code with the product that it tests"
    );
    for Source { path, code } in sources("simulator/src") {
        assert!(!code.contains("alikafka_exporter"), "{path} uses the product");
    }
    for Source { path, code } in sources("src") {
        assert!(!code.contains("alikafka_simulator"), "{path} uses the simulator");
    }
}

/// The exporter cannot call an action whose name it does not contain: writes, and reads of passwords or messages.
#[test]
fn the_product_names_only_read_only_api_actions() {
    let action = Regex::new(
        r#""((?:Change|Close|Convert|Create|Delete|Enable|Modify|Query|Reassign|Release|Reopen|Set|Start|Stop|Tag|Untag|Update|Upgrade)[A-Z][a-z][A-Za-z]*|DescribeSaslUsers|DescribeAcls)""#,
    )
    .unwrap();
    // Response fields that start like these actions.
    let is_field = |name: &str| name.ends_with("Time") || name == "UpgradeServiceDetailInfo";
    for Source { path, code } in sources("src") {
        let found = action.captures_iter(&code).map(|c| c[1].to_owned()).find(|name| !is_field(name));
        assert!(found.is_none(), "{path} holds the action {found:?}");
    }
}

#[test]
fn every_function_that_the_architecture_names_exists() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named = Regex::new(r"`(src/[a-z_/]+\.rs)::([a-z_]+)`").unwrap();
    let functions: Vec<_> = named.captures_iter(&text).map(|c| (c[1].to_owned(), c[2].to_owned())).collect();
    assert!(functions.len() > 20, "{functions:?}");
    let is_missing = |(file, function): &&(String, String)| {
        let code = fs::read_to_string(root().join(file)).unwrap_or_default();
        !code.contains(&format!("fn {function}(")) && !code.contains(&format!("fn {function}<"))
    };
    let missing: Vec<_> = functions.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
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

/// A source file without its tests and comments.
struct Source {
    path: String,
    code: String,
}

fn may_use(module: &str) -> Option<&'static [&'static str]> {
    BTreeMap::from(MAY_USE).get(module).copied()
}

/// Returns the top-level module of a file, e.g. `api` for `src/api.rs` and all of `src/api/`.
fn module_of(path: &str) -> String {
    let inside = path.trim_start_matches("src/");
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs").to_owned()
}

/// Returns the top-level modules that code names by `crate::`, including brace lists.
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

/// Returns the items of a brace list whose opening brace has been read. Nested lists stay in one item.
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

/// Returns the code without comments and without items under `#[cfg(test)]`. Relies on the layout of rustfmt: an item ends
/// at a line with the indentation of its first line that closes it.
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

/// Returns every file below a directory, except `tests.rs` and folders named `tests`.
fn sources(dir: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect_files(&root().join(dir), &mut paths);
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

fn collect_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|s| s == "tests") {
            continue;
        }
        if path.is_dir() {
            collect_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Returns the lines of one section of a manifest.
fn manifest_section(file: &str, section: &str) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let (_, rest) = text.split_once(&format!("\n[{section}]\n")).unwrap_or_default();
    rest.split("\n[").next().unwrap_or_default().to_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
