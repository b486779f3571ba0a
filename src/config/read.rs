//! Readers of single values: they return a checked value, or report a problem and return nothing.
//!
//! Values of the wrong kind read as absent because [`super::shape`] has reported them.

use std::time::Duration;

use config::Value;
use regex::{Regex, RegexBuilder};

use super::{
    keys,
    problem::{Problem, key_path, quoted},
    value::{entries, items, source, table, text},
};

/// Reader of the keys of one level: the top level, or an account.
pub(super) struct LevelReader<'a> {
    level: &'a Value,
    /// Path of the level; empty for the top level.
    prefix: String,
}

/// Value with its path for messages.
pub(super) struct ConfigField<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
}

impl<'a> LevelReader<'a> {
    pub(super) fn new(level: &'a Value, prefix: &str) -> Self {
        Self { level, prefix: prefix.to_owned() }
    }

    /// Returns the path of a key for messages.
    pub(super) fn path(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    /// Returns the value of a key or a section.
    pub(super) fn field(&self, key: &str) -> Option<ConfigField<'a>> {
        let value = key.split('.').try_fold(self.level, |value, part| table(value)?.get(part))?;
        Some(ConfigField { value, path: self.path(key) })
    }

    /// Returns the text of a key.
    pub(super) fn text(&self, key: &str) -> Option<(ConfigField<'a>, &'a str)> {
        let field = self.field(key)?;
        let text = text(field.value)?;
        Some((field, text))
    }

    /// Reads one of several words.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let (field, text) = self.text(key)?;
        let choice = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if choice.is_none() {
            problems.push(field.problem(format!("{} is not a choice", quoted(text)), &expects(key)));
        }
        choice
    }

    /// Reads a duration within limits.
    pub(super) fn duration(
        &self,
        key: &str,
        (min, max): (Duration, Duration),
        problems: &mut Vec<Problem>,
    ) -> Option<Duration> {
        let (field, text) = self.text(key)?;
        let quoted = quoted(text);
        let what = match humantime::parse_duration(text) {
            Ok(duration) if duration < min => format!("{quoted} is shorter than {}", format_duration(min)),
            Ok(duration) if duration > max => format!("{quoted} is longer than {}", format_duration(max)),
            Ok(duration) => return Some(duration),
            Err(_) if text.parse::<f64>().is_ok() => format!("{quoted} has no unit"),
            Err(_) => format!("{quoted} is not a duration"),
        };
        problems.push(field.problem(what, &expects(key)));
        None
    }

    /// Reads a list of regular expressions.
    pub(super) fn patterns(&self, key: &str, problems: &mut Vec<Problem>) -> Option<Vec<Regex>> {
        let field = self.field(key)?;
        Some(field.items().filter_map(|(item, text)| item.pattern(text, problems)).collect())
    }

    /// Reads a text by `parse`, whose errors never quote the text because it may hold a secret.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, (&'static str, &'static str)>,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let (field, text) = self.text(key)?;
        parse(text).map_err(|(what, instead)| problems.push(field.problem(what, instead))).ok()
    }
}

impl<'a> ConfigField<'a> {
    /// Returns the texts of a list.
    pub(super) fn items(&self) -> impl Iterator<Item = (Self, &'a str)> + use<'a> {
        let path = self.path.clone();
        let items = items(self.value).unwrap_or_default();
        items.iter().enumerate().filter_map(move |(index, value)| {
            Some((Self { value, path: format!("{path}[{index}]") }, text(value)?))
        })
    }

    /// Returns the keys and texts of a map.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Self, &'a str, &'a str)> + use<'a> {
        let path = self.path.clone();
        entries(self.value).into_iter().filter_map(move |(key, value)| {
            Some((Self { value, path: key_path(&path, key) }, key, text(value)?))
        })
    }

    /// Creates a problem at this value.
    pub(super) fn problem(&self, what: impl Into<String>, instead: &str) -> Problem {
        Problem::new(&source(self.value), &self.path, what, instead)
    }

    /// Compiles a regular expression that must match an entire name.
    pub(super) fn pattern(&self, text: &str, problems: &mut Vec<Problem>) -> Option<Regex> {
        const SIZE_LIMIT: usize = 1024 * 1024;
        const INSTEAD: &str = "write a regular expression for the entire name, such as \"orders-.*\"";
        if text.is_empty() {
            problems.push(self.problem("is empty", INSTEAD));
            return None;
        }
        let compile = |pattern: &str| RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).build();
        // Compile it as typed first: "a)|(b" is invalid but would be valid between the anchors.
        match compile(text).and_then(|_| compile(&format!("^(?:{text})$"))) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or("it cannot be read");
                let why = last.trim_start_matches("error: ").trim_end_matches('.').to_lowercase();
                problems.push(self.problem(format!("is not a regular expression: {why}"), INSTEAD));
                None
            }
        }
    }

    /// Reads a rate in calls per second.
    pub(super) fn rate(&self, text: &str, problems: &mut Vec<Problem>) -> Option<f64> {
        const MIN: f64 = 0.001;
        const MAX: f64 = 1000.0;
        let quoted = quoted(text);
        let what = match text.parse::<f64>() {
            Ok(rate) if (MIN..=MAX).contains(&rate) => return Some(rate),
            Ok(rate) if rate > MAX => format!("{quoted} is more than 1000"),
            Ok(rate) if rate <= 0.0 => format!("{quoted} is not above 0"),
            Ok(rate) if rate < MIN => format!("{quoted} is less than 0.001"),
            Ok(_) | Err(_) => format!("{quoted} is not a number"),
        };
        problems.push(self.problem(what, "write calls per second, a number above 0, such as 20"));
        None
    }
}

/// Returns what the table of keys says to write for a key.
pub(super) fn expects(key: &str) -> String {
    format!("write {}", keys::find(key).map_or("another value", |k| k.expects))
}

/// Formats a duration as it is written in the configuration.
pub(super) fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "").replace("day", "d").replace("ds", "d")
}
