//! Every fault in `tests/FAULTS.md` names existing tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

/// The rows of tests/FAULTS.md.
const ROWS: std::ops::RangeInclusive<u32> = 1..=73;

#[test]
fn every_fault_has_existing_tests() {
    let (tests, table) = (all_tests(), table());
    let mut wrong = Vec::new();
    for row in ROWS {
        match table.get(&row) {
            None => wrong.push(format!("row {row} is missing")),
            Some(named) if named.is_empty() => {
                wrong.push(format!("row {row} names no test"));
            }
            Some(named) => {
                for name in named {
                    if !tests.contains_key(name) {
                        wrong.push(format!("row {row}: there is no test {name}"));
                    }
                }
            }
        }
    }
    let known: BTreeSet<u32> = ROWS.collect();
    wrong.extend(table.keys().filter(|row| !known.contains(row)).map(|row| format!("there is no row {row}")));
    assert!(wrong.is_empty(), "tests/FAULTS.md: {wrong:#?}");
}

#[test]
fn tests_are_found_by_attribute_and_path() {
    let tests = all_tests();
    for name in [
        "faults::faults_md::tests_are_found_by_attribute_and_path",
        "api::error::tests::what_the_caller_must_change_is_not_retried",
    ] {
        assert!(tests.contains_key(name), "{name}");
    }
    for name in [
        "faults::faults_md::tests",
        "faults::persistent::catalogue",
        "faults::dns::a_host_name_appears_and_disappears",
    ] {
        assert!(!tests.contains_key(name), "{name}");
    }
}

/// Returns the tests of each row.
fn table() -> BTreeMap<u32, Vec<String>> {
    let text = fs::read_to_string(root().join("tests/FAULTS.md")).unwrap();
    let row = Regex::new(r"(?m)^\| *(\d+) *\|[^|]*\|([^|]*)\|$").unwrap();
    let name = Regex::new(r"`([a-z0-9_:]+)`").unwrap();
    let mut table = BTreeMap::new();
    for cells in row.captures_iter(&text) {
        let named = name.captures_iter(&cells[2]).map(|c| c[1].to_owned()).collect();
        let before = table.insert(cells[1].parse().unwrap(), named);
        assert_eq!(before, None, "row {} is repeated", &cells[1]);
    }
    table
}

/// Returns every test that runs by default, by its path in the test runner.
pub(crate) fn all_tests() -> BTreeMap<String, PathBuf> {
    let item = Regex::new(r"(?m)^( *)(?:pub )?(?:async )?fn (\w+)\(|^( *)mod (\w+) \{").unwrap();
    let mut tests = BTreeMap::new();
    for top in ["tests/it", "src", "simulator/src", "simulator/tests/it"] {
        for path in files(&root().join(top)) {
            let text = fs::read_to_string(&path).unwrap();
            let module = module(path.strip_prefix(root().join(top)).unwrap());
            let mut inner = None;
            for found in item.captures_iter(&text) {
                if let Some(name) = found.get(4) {
                    inner = Some(name.as_str());
                    continue;
                }
                let before = &text[..found.get(0).unwrap().start()];
                if is_test(before) {
                    let within = inner.filter(|_| !found[1].is_empty());
                    let parts = module.iter().map(String::as_str).chain(within).chain([&found[2]]);
                    tests.insert(parts.collect::<Vec<_>>().join("::"), path.clone());
                }
            }
        }
    }
    tests
}

/// Whether the attributes before a function make it a test that runs by default.
fn is_test(before: &str) -> bool {
    let above =
        before.lines().rev().map(str::trim).take_while(|l| l.starts_with("#[") || l.starts_with("//"));
    let attributes: Vec<&str> = above.filter(|l| l.starts_with("#[")).collect();
    let has = |start: &str| attributes.iter().any(|a| a.starts_with(start));
    (has("#[test]") || has("#[tokio::test")) && !has("#[ignore")
}

fn module(path: &Path) -> Vec<String> {
    let parts = path.with_extension("");
    let parts = parts.iter().map(|p| p.to_str().unwrap().to_owned());
    parts.filter(|p| !["main", "lib"].contains(&p.as_str())).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
