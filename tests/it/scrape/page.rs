//! A page as a set of series, read by a parser of the tests' own.

use std::collections::{BTreeMap, BTreeSet};

/// Name and labels.
pub(crate) type Series = (String, BTreeMap<String, String>);

/// Series with their values as text, so that no digit is lost.
#[derive(Debug, Default)]
pub(crate) struct Page(BTreeMap<Series, String>);

impl Page {
    pub(crate) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let (series, value) = parse_line(line);
            assert!(page.0.insert(series, value).is_none(), "twice on the page: {line}");
        }
        page
    }

    pub(crate) fn put(&mut self, name: &str, labels: &[(&str, &str)], value: String) {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.0.insert((name.to_owned(), labels), value);
    }

    /// The value of a series; `None` if it is not there.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.0.get(&(name.to_owned(), labels)).map(|value| value.parse().unwrap())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Committed offsets and lag of each group, by region, instance and group: what one answer tells.
    pub(crate) fn of_groups(&self) -> BTreeMap<(String, String, String), Self> {
        let told = [
            "alikafka_group_partition_offset",
            "alikafka_group_partition_lag_messages",
            "alikafka_group_topic_lag_messages",
            "alikafka_group_lag_messages",
        ];
        let mut groups = BTreeMap::<_, Self>::new();
        for (series, value) in self.0.iter().filter(|((name, _), _)| told.contains(&name.as_str())) {
            let label = |key: &str| series.1[key].clone();
            let key = (label("region"), label("instance_id"), label("group"));
            groups.entry(key).or_default().0.insert(series.clone(), value.clone());
        }
        groups
    }

    /// The series that are of a family of some moment and have the value of none of them, but for some
    /// families; a line each.
    pub(crate) fn untrue(&self, moments: &[Self], but_for: &[&str]) -> Vec<String> {
        let families: BTreeSet<&str> =
            moments.iter().flat_map(|m| m.0.keys()).map(|(name, _)| name.as_str()).collect();
        let held = |(name, _): &Series| families.contains(name.as_str()) && !but_for.contains(&name.as_str());
        let is_untrue = |(series, value): &(&Series, &String)| {
            // Most of a page is of a late moment.
            held(series) && !moments.iter().rev().any(|m| m.0.get(*series) == Some(*value))
        };
        self.0.iter().filter(is_untrue).map(|(series, value)| format!("{series:?} {value}")).collect()
    }

    /// The series of some families that every moment has and this page lacks.
    pub(crate) fn lacks(&self, moments: &[Self], families: &[&str]) -> Vec<String> {
        let Some((first, others)) = moments.split_first() else { return Vec::new() };
        let steady = first.0.keys().filter(|series| {
            families.contains(&series.0.as_str()) && others.iter().all(|m| m.0.contains_key(*series))
        });
        steady.filter(|series| !self.0.contains_key(*series)).map(|series| format!("{series:?}")).collect()
    }

    /// What differs between what is expected and the families of the same names on a page; a line each.
    pub(crate) fn difference(&self, page: &Self) -> Vec<String> {
        self.difference_but_for(page, &BTreeSet::new())
    }

    /// The same, where the page may also lack some series.
    pub(crate) fn difference_but_for(&self, page: &Self, may_lack: &BTreeSet<Series>) -> Vec<String> {
        let families: BTreeSet<&str> = self.0.keys().map(|(name, _)| name.as_str()).collect();
        let mut lines = Vec::new();
        for (series, expected) in &self.0 {
            match page.0.get(series) {
                None if may_lack.contains(series) => {}
                None => lines.push(format!("missing {series:?} {expected}")),
                Some(shown) if shown != expected => {
                    lines.push(format!("{series:?} is {shown}, not {expected}"));
                }
                Some(_) => {}
            }
        }
        let of = |(name, _): &&Series| families.contains(name.as_str());
        let more = page.0.keys().filter(of).filter(|series| !self.0.contains_key(*series));
        lines.extend(more.map(|series| format!("too much {series:?}")));
        lines
    }
}

fn parse_line(line: &str) -> (Series, String) {
    let Some((name, rest)) = line.split_once('{') else {
        let (name, value) = line.split_once(' ').unwrap();
        return ((name.to_owned(), BTreeMap::new()), value.to_owned());
    };
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    while !rest.starts_with('}') {
        let (key, value) = rest.split_once("=\"").unwrap();
        let mut chars = value.char_indices();
        let mut text = String::new();
        let end = loop {
            match chars.next().unwrap() {
                (at, '"') => break at,
                (_, '\\') => text.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => text.push(other),
            }
        };
        assert!(labels.insert(key.to_owned(), text).is_none(), "label twice: {line}");
        rest = &value[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    ((name.to_owned(), labels), rest[1..].trim().to_owned())
}
