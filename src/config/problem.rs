//! Configuration problems: the place, what is wrong, and what to write instead.

use std::fmt;

/// Place where a key or a value was written. Ordered as people read: the file from top to bottom, then the
/// environment, then missing keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueSource {
    /// Place in the file, counted from 1.
    File {
        /// Line.
        line: usize,
        /// Column, in characters.
        column: usize,
    },
    /// Environment variable of this name.
    Variable(String),
    /// Nowhere, because the key is missing.
    Nowhere,
}

/// Problem with one key or value. Never contains a secret: values of secret keys are not quoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Place where it was written.
    pub origin: ValueSource,
    /// Key path, such as `accounts[1].filters.topics.include[0]`.
    pub path: String,
    /// Description of the problem.
    pub what: String,
    /// Advice on what to write instead.
    pub instead: String,
    /// Line of the file with a marker below it, for text that is not YAML.
    pub excerpt: Option<String>,
}

impl Problem {
    pub(super) fn new(
        origin: &ValueSource,
        path: impl Into<String>,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        let origin = origin.clone();
        Self { origin, path: path.into(), what: what.into(), instead: instead.into(), excerpt: None }
    }

    pub(super) fn repeated_key(origin: &ValueSource, path: impl Into<String>) -> Self {
        Self::new(origin, path, "is written more than once", "keep one of them")
    }
}

/// All problems of a configuration, at least one. Displays one per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// Name of the file as given.
    file: Option<String>,
    list: Vec<Problem>,
}

impl Problems {
    /// Sorts problems by place and drops duplicates.
    pub(super) fn new(file: Option<&str>, mut list: Vec<Problem>) -> Self {
        list.sort();
        list.dedup();
        Self { file: file.map(str::to_owned), list }
    }

    /// Returns the problems, ordered by place.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// Returns the problems as text, ordered by place, each on one line and without an excerpt of the file.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|problem| {
            let line = format!("{}: {}; {}", problem.path, problem.what, problem.instead);
            match (&problem.origin, &self.file) {
                (ValueSource::File { line: at, column }, Some(file)) => {
                    format!("{line} ({file}:{at}:{column})")
                }
                (ValueSource::File { line: at, column }, None) => {
                    format!("{line} (line {at}, column {column})")
                }
                (ValueSource::Variable(name), _) => format!("{line} (from {})", name.escape_debug()),
                (ValueSource::Nowhere, _) => line,
            }
        })
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (problem, line)) in self.list.iter().zip(self.lines()).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
            if let Some(excerpt) = &problem.excerpt {
                write!(f, "\n{excerpt}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Returns the path of a key in a section, on one line and of limited length, for any input.
pub(super) fn key_path(section: &str, key: &str) -> String {
    let key: String = key.chars().take(80).flat_map(char::escape_debug).collect();
    if section.is_empty() { key } else { format!("{section}.{key}") }
}

/// Returns the candidate that `typed` was most likely meant to be, if any is similar.
pub(super) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&typed, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= 1.max(c.chars().count().min(typed.chars().count()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// Quotes a value for a message: control characters are escaped, long values are cut.
pub(super) fn quoted(value: &str) -> String {
    const MAX_CHARS: usize = 80;
    let cut: String = value.chars().take(MAX_CHARS).collect();
    let rest = if value.chars().count() > MAX_CHARS { "…" } else { "" };
    format!("{cut:?}{rest}")
}
