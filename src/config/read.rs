//! Readers of single values: a place in the tree in, a checked value or a problem out.
//!
//! A value of the wrong kind reads as nothing here, as its problem has already been told.

use std::time::Duration;

use regex::{Regex, RegexBuilder};

use super::{
    keys,
    problem::{Problem, quoted},
    yaml::{Node, Value},
};

/// The keys of one level: the top level, or one account.
pub(super) struct Reader<'a> {
    node: &'a Node,
    /// The path of the level, empty for the top.
    prefix: String,
}

/// A value that was written, and its path for people.
pub(super) struct Place<'a> {
    pub(super) node: &'a Node,
    pub(super) path: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &'a Node, prefix: &str) -> Self {
        Self { node, prefix: prefix.to_owned() }
    }

    /// The path of a key for people.
    pub(super) fn path(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    /// What is written at a key or a section.
    pub(super) fn place(&self, key: &str) -> Option<Place<'a>> {
        let node = key.split('.').try_fold(self.node, |node, part| node.get(part))?;
        Some(Place { node, path: self.path(key) })
    }

    /// The text at a key.
    pub(super) fn text(&self, key: &str) -> Option<(Place<'a>, &'a str)> {
        let place = self.place(key)?;
        let text = place.as_text()?;
        Some((place, text))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let (place, text) = self.text(key)?;
        let chosen = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if chosen.is_none() {
            problems.push(place.wrong(format!("{} is not a choice", quoted(text)), &expects(key)));
        }
        chosen
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &self,
        key: &str,
        (least, most): (Duration, Duration),
        problems: &mut Vec<Problem>,
    ) -> Option<Duration> {
        let (place, text) = self.text(key)?;
        let shown = quoted(text);
        let what = match humantime::parse_duration(text) {
            Ok(duration) if duration < least => format!("{shown} is shorter than {}", spelled(least)),
            Ok(duration) if duration > most => format!("{shown} is longer than {}", spelled(most)),
            Ok(duration) => return Some(duration),
            Err(_) if text.parse::<f64>().is_ok() => format!("{shown} has no unit"),
            Err(_) => format!("{shown} is not a duration"),
        };
        problems.push(place.wrong(what, &expects(key)));
        None
    }

    /// A list of patterns.
    pub(super) fn patterns(&self, key: &str, problems: &mut Vec<Problem>) -> Option<Vec<Regex>> {
        let place = self.place(key)?;
        let patterns = place.items().filter_map(|(item, text)| item.pattern(text, problems));
        Some(patterns.collect())
    }
}

impl<'a> Place<'a> {
    pub(super) fn as_text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The texts of a list.
    pub(super) fn items(&self) -> impl Iterator<Item = (Self, &'a str)> + use<'a> {
        let path = self.path.clone();
        let items = match &self.node.value {
            Value::List(items) => items.as_slice(),
            _ => &[],
        };
        items.iter().enumerate().filter_map(move |(index, node)| {
            let item = Place { node, path: format!("{path}[{index}]") };
            let text = item.as_text()?;
            Some((item, text))
        })
    }

    /// The keys and texts of a map.
    pub(super) fn members(&self) -> impl Iterator<Item = (Self, &'a str, &'a str)> + use<'a> {
        let path = self.path.clone();
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().filter_map(move |entry| {
            let key: String = entry.key.chars().take(80).flat_map(char::escape_debug).collect();
            let member = Place { node: &entry.node, path: format!("{path}.{key}") };
            let text = member.as_text()?;
            Some((member, entry.key.as_str(), text))
        })
    }

    /// A problem with what is written here.
    pub(super) fn wrong(&self, what: impl Into<String>, instead: &str) -> Problem {
        Problem::new(&self.node.origin, &self.path, what, instead)
    }

    /// A regular expression that must match a whole name.
    pub(super) fn pattern(&self, text: &str, problems: &mut Vec<Problem>) -> Option<Regex> {
        const SIZE_LIMIT: usize = 1024 * 1024;
        const INSTEAD: &str = "write a regular expression for the whole name, such as \"orders-.*\"";
        if text.is_empty() {
            problems.push(self.wrong("is empty", INSTEAD));
            return None;
        }
        let compile = |pattern: &str| RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).build();
        // As typed first: "a)|(b" is no pattern, but would become one between the anchors.
        match compile(text).and_then(|_| compile(&format!("^(?:{text})$"))) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or("it cannot be read");
                let why = last.trim_start_matches("error: ").trim_end_matches('.').to_lowercase();
                problems.push(self.wrong(format!("is not a regular expression: {why}"), INSTEAD));
                None
            }
        }
    }

    /// A rate in calls per second.
    pub(super) fn rate(&self, text: &str, problems: &mut Vec<Problem>) -> Option<f64> {
        const LEAST: f64 = 0.001;
        const MOST: f64 = 1000.0;
        let shown = quoted(text);
        let what = match text.parse::<f64>() {
            Ok(rate) if (LEAST..=MOST).contains(&rate) => return Some(rate),
            Ok(rate) if rate > MOST => format!("{shown} is more than 1000"),
            Ok(rate) if rate <= 0.0 => format!("{shown} is not above 0"),
            Ok(rate) if rate < LEAST => format!("{shown} is less than 0.001"),
            Ok(_) | Err(_) => format!("{shown} is not a number"),
        };
        problems.push(self.wrong(what, "write calls per second, a number above 0, such as 20"));
        None
    }
}

/// What the table says to write for a key.
pub(super) fn expects(key: &str) -> String {
    format!("write {}", keys::find(key).map_or("another value", |k| k.expects))
}

/// A duration as it may be written.
pub(super) fn spelled(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "").replace("day", "d").replace("ds", "d")
}
