//! What is wrong with a configuration: where, what, and what to write instead.

use std::fmt;

/// Where a key or a value was written. Ordered as people read: down the file, then the environment, then
/// what was written nowhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueSource {
    /// A place in the file, both counted from 1.
    File {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// An environment variable of this name.
    Variable(String),
    /// Nowhere: a key that must be there and is not.
    Nowhere,
}

/// One thing that is wrong. Never holds a secret: values of secret keys are not quoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it was written.
    pub origin: ValueSource,
    /// The key path, such as `accounts[1].filters.topics.include[0]`.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
    /// The line of the file with a mark below it, for what is not YAML.
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
}

/// Everything that is wrong with a configuration, at least one thing. Displays as one line a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file's name as it was given, for the places in it.
    file: Option<String>,
    list: Vec<Problem>,
}

impl Problems {
    /// Sorts problems by place, and drops repeated ones.
    pub(super) fn new(file: Option<&str>, mut list: Vec<Problem>) -> Self {
        list.sort();
        list.dedup();
        Self { file: file.map(str::to_owned), list }
    }

    /// The problems, by place.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// The problems, by place, each on one line and without an excerpt of the file.
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

/// The candidate that `typed` was most likely meant to be; `None` if none is near.
pub(super) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&typed, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= 1.max(c.chars().count().min(typed.chars().count()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// A value in quotes for a message: control characters escaped, long ones cut.
pub(super) fn quoted(value: &str) -> String {
    const SHOWN: usize = 80;
    let cut: String = value.chars().take(SHOWN).collect();
    let rest = if value.chars().count() > SHOWN { "…" } else { "" };
    format!("{cut:?}{rest}")
}
