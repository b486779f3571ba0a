//! A small reader of the text format, strict about what Prometheus is strict about.

use std::collections::{BTreeMap, BTreeSet};

/// What a page says.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Name, type and help of each family, in the order of the page.
    pub(crate) families: Vec<(String, String, String)>,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: String,
}

impl Parsed {
    /// Reads a page.
    ///
    /// # Panics
    /// If a family comes twice, a sample stands outside of its family, or a series comes twice.
    pub(crate) fn of(page: &str) -> Self {
        let mut parsed = Self::default();
        let mut names = BTreeSet::new();
        let mut series = BTreeSet::new();
        assert!(page.is_empty() || page.ends_with('\n'), "the last line ends");
        for line in page.split_terminator('\n') {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(names.insert(name.to_owned()), "{name} comes once");
                parsed.families.push((name.to_owned(), String::new(), help.to_owned()));
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let family = parsed.families.last_mut().unwrap();
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, family.0, "TYPE follows HELP");
                kind.clone_into(&mut family.1);
            } else {
                let sample = sample(line);
                let (family, kind, _) = parsed.families.last().expect("a family before its samples");
                let own = sample.name.strip_prefix(family.as_str()).expect("samples follow their family");
                let parts = if kind == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
                assert!(parts.contains(&own), "{} is no sample of {family}", sample.name);
                assert!(series.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
                parsed.samples.push(sample);
            }
        }
        parsed
    }

    /// The values of the series of a name that have these labels, in the order of the page.
    pub(crate) fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&str> {
        let has = |s: &&Sample| labels.iter().all(|(n, v)| s.labels.get(*n).is_some_and(|l| l == v));
        self.samples.iter().filter(|s| s.name == name).filter(has).map(|s| s.value.as_str()).collect()
    }
}

/// The name of the family that a line of a page without histograms belongs to.
pub(crate) fn name_of(line: &str) -> &str {
    let line = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
    line.split(['{', ' ']).next().unwrap()
}

fn sample(line: &str) -> Sample {
    let name: String = line.chars().take_while(|c| !matches!(c, '{' | ' ')).collect();
    let mut rest = &line[name.len()..];
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "label {label} once: {line}");
            rest = after;
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = rest.strip_prefix(',').unwrap();
        }
    }
    let value = rest.strip_prefix(' ').unwrap();
    value.parse::<f64>().unwrap();
    Sample { name, labels, value: value.to_owned() }
}

fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                c => panic!("no such escape: {c:?}"),
            }),
            c => value.push(c),
        }
    }
    panic!("a label value that does not end: {text:?}")
}
