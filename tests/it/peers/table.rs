//! Consistency of `tests/PEERS.md`: every known error of other exporters has a row with existing tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use regex::Regex;

use crate::faults::faults_md::all_tests;

/// Rows of the table with the issues about each error. Rows `c*` are from source code, rows `b*` about the rules of
/// Burrow.
const ROWS: [(&str, &str); 36] = [
    ("c1", ""),
    ("c2", ""),
    ("c3", ""),
    ("c4", ""),
    ("c5", ""),
    ("c6", ""),
    ("c7", ""),
    ("c8", "KM#215"),
    ("c9", ""),
    ("c10", ""),
    ("c11", ""),
    ("c12", ""),
    ("c13", ""),
    ("c14", "KLE#101"),
    ("b1", "BU#738"),
    ("b2", "BU#38, #123"),
    ("b3", "BU#303"),
    ("b4", "BU#32, #35, #221, #637"),
    ("1", "KE#16, #229, #464, #194, #195, KM#182, #251, streamshub/console#2743, elastic/beats#31393"),
    (
        "2",
        "KE#28, #76, #79, #169, #191, #262, #287, #437, #78, KLE#138, \
         braedon/prometheus-kafka-consumer-group-exporter#21",
    ),
    ("3", "KE#35, #81, #108, #210, #283, #336, #377, #417, #497, grafana/agent#1671, KM#99, #215"),
    ("4", "KLE#36, #63, #66, KE#226, #220, #463, kafkesc/kommitted#131"),
    ("5", "KM#5, KLAG#92, #94, BU#504, #797, KLE#244"),
    ("6", "KLE#25, #110, #154, #127, #197, BU#758, #722, jirwin/burrow_exporter#17"),
    ("7", "KLE#172, #361, #386, #393, #164, KX#94, KE#279"),
    ("8", "KLE#111, #37, #45, #496, #510, KLAG#30"),
    ("9", "redpanda-data/redpanda#30624, #30822, KLE#37, yahoo/CMAK#361, KX#94, #98, #101"),
    ("10", "KE#304, #385, #125, #379, KLE#4, #43, #69, #25, vectordotdev/vector#15106"),
    ("11", "KE#126, #334, #207, KLE#49, #144, #230, Dabz/ccloudexporter#36, strimzi#2842"),
    ("12", "KX#60, #76, #77, #78"),
    ("13", "KE#62, #421, #56, KM#162, Dabz/ccloudexporter#24, KLE#167"),
    (
        "14",
        "Dabz/ccloudexporter#68, #24, yet-another-cloudwatch-exporter#50, tencentyun/tencentcloud-exporter#48",
    ),
    ("15", "KLAG#53, #55, KLE#25, #244"),
    ("16", "KE#504, omarsmak/kafka-consumer-lag-monitoring#17"),
    ("17", "KLE#66"),
    ("18", "BU#38, #58, #123, #303, #738"),
];

/// Reason why a row has no test: there is nothing of the kind in this project.
const NOT_HERE: &str = "**Not here**";

#[test]
fn every_known_error_of_peers_has_a_row_and_tests_that_exist() {
    let (tests, table) = (all_tests(), table());
    let mut wrong = Vec::new();
    for (row, issues) in ROWS {
        let Some(cells) = table.get(row) else {
            wrong.push(format!("row {row} is missing"));
            continue;
        };
        let (wanted, listed) = (issues_in(issues), issues_in(&cells.issues));
        let lacks: Vec<_> = wanted.difference(&listed).collect();
        let adds: Vec<_> = listed.difference(&wanted).collect();
        if !lacks.is_empty() || !adds.is_empty() {
            wrong.push(format!("row {row} lacks {lacks:?}, and has {adds:?} that are not of it"));
        }
        if cells.tests.is_empty() && !cells.wrong.contains(NOT_HERE) {
            wrong.push(format!("row {row} names no test and does not say that there is nothing to test"));
        }
        let unknown = cells.tests.iter().filter(|name| !tests.contains_key(*name));
        wrong.extend(unknown.map(|name| format!("row {row}: there is no test {name}")));
    }
    let known: BTreeSet<&str> = ROWS.map(|(row, _)| row).into();
    wrong
        .extend(table.keys().filter(|r| !known.contains(r.as_str())).map(|r| format!("there is no row {r}")));
    assert!(wrong.is_empty(), "tests/PEERS.md: {wrong:#?}");
}

/// An issue in the comment of a test is in the table, in a row with this test.
#[test]
fn tests_that_name_issues_are_in_their_rows() {
    let comment = Regex::new(r"(?m)((?:^/// .*\n)+)#\[test\]\nfn (\w+)").unwrap();
    let table = table();
    let mut seen = 0;
    for file in ["bounds", "names", "status", "values"] {
        let text = read(&format!("tests/it/peers/{file}.rs"));
        for found in comment.captures_iter(&text) {
            let name = format!("peers::{file}::{}", &found[2]);
            let rows: Vec<&Cells> = table.values().filter(|c| c.tests.contains(&name)).collect();
            assert!(!rows.is_empty(), "{name} is in no row of tests/PEERS.md");
            let listed: BTreeSet<String> = rows.iter().flat_map(|c| issues_in(&c.issues)).collect();
            let lacks: Vec<String> = issues_in(&found[1]).difference(&listed).cloned().collect();
            assert!(lacks.is_empty(), "{name} names {lacks:?}, which its rows lack");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} tests were found");
}

#[test]
fn a_number_without_a_name_has_the_previous_name() {
    let issues = issues_in("KE#16, #7, (PR #8); a-b/c.d#9 and KM#1");
    assert_eq!(issues, ["KE#16", "KE#7", "KE#8", "a-b/c.d#9", "KM#1"].map(str::to_owned).into());
}

struct Cells {
    issues: String,
    wrong: String,
    tests: BTreeSet<String>,
}

fn table() -> BTreeMap<String, Cells> {
    let row = Regex::new(r"(?m)^\| *([bc]?\d+) *\|([^|]*)\|([^|]*)\|([^|]*)\|$").unwrap();
    let name = Regex::new(r"`([a-z0-9_:]+)`").unwrap();
    let mut table = BTreeMap::new();
    for found in row.captures_iter(&read("tests/PEERS.md")) {
        let cells = Cells {
            issues: found[2].to_owned(),
            wrong: found[3].to_owned(),
            tests: name.captures_iter(&found[4]).map(|c| c[1].to_owned()).collect(),
        };
        assert!(table.insert(found[1].to_owned(), cells).is_none(), "duplicate row {}", &found[1]);
    }
    table
}

/// Issues as `name#number`. A number without a name has the previous name.
fn issues_in(text: &str) -> BTreeSet<String> {
    let issue = Regex::new(r"([A-Za-z][\w./-]*)?#(\d+)").unwrap();
    let mut of = String::new();
    let mut issues = BTreeSet::new();
    for found in issue.captures_iter(text) {
        if let Some(name) = found.get(1) {
            name.as_str().clone_into(&mut of);
        }
        issues.insert(format!("{of}#{}", &found[2]));
    }
    issues
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}
