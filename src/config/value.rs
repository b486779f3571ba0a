//! Configuration values with the place where they were written.
//!
//! The tree is a `config::Value` whose scalars are the text as typed. Its origin string holds the source of the key
//! and of the value; [`source`] and [`key_source`] read it.

use config::{Map, Value, ValueKind};
use zeroize::Zeroize as _;

use super::problem::ValueSource;

/// Tree whose texts are erased from memory when it is dropped, because some are secrets.
pub(super) struct ErasedOnDrop(pub(super) Value);

impl Drop for ErasedOnDrop {
    fn drop(&mut self) {
        erase(&mut self.0);
    }
}

fn erase(value: &mut Value) {
    match &mut value.kind {
        ValueKind::String(text) => text.zeroize(),
        ValueKind::Array(items) => items.iter_mut().for_each(erase),
        ValueKind::Table(table) => table.values_mut().for_each(erase),
        _ => {}
    }
}

/// Creates a value from line and column, counted from 1, of its key and of itself in the file.
pub(super) fn from_file(kind: ValueKind, key: (usize, usize), value: (usize, usize)) -> Value {
    Value::new(Some(&format!("{} {} {} {}", key.0, key.1, value.0, value.1)), kind)
}

/// Creates a value that comes from an environment variable.
pub(super) fn from_variable(kind: impl Into<ValueKind>, name: &str) -> Value {
    Value::new(Some(&format!("{VARIABLE_MARK}{name}")), kind)
}

const VARIABLE_MARK: char = '$';

/// Returns where a value was written.
pub(super) fn source(value: &Value) -> ValueSource {
    sources(value).1
}

/// Returns where the key of a value was written.
pub(super) fn key_source(value: &Value) -> ValueSource {
    sources(value).0
}

fn sources(value: &Value) -> (ValueSource, ValueSource) {
    let Some(origin) = value.origin() else {
        // A section that only variables have written.
        let first = entries(value).first().map_or(ValueSource::Nowhere, |(_, entry)| source(entry));
        return (first.clone(), first);
    };
    if let Some(name) = origin.strip_prefix(VARIABLE_MARK) {
        let variable = ValueSource::Variable(name.to_owned());
        return (variable.clone(), variable);
    }
    let mut numbers = origin.split(' ').map(|number| number.parse().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    let key = ValueSource::File { line: next(), column: next() };
    (key, ValueSource::File { line: next(), column: next() })
}

/// Returns the entries of a map in the order in which they were written; nothing for other values.
pub(super) fn entries(value: &Value) -> Vec<(&str, &Value)> {
    let mut entries: Vec<(&str, &Value)> = table(value)
        .map(|table| table.iter().map(|(key, value)| (key.as_str(), value)).collect())
        .unwrap_or_default();
    entries.sort_by_cached_key(|(key, value)| (key_source(value), *key));
    entries
}

/// Returns the entries of a map, unordered.
pub(super) fn table(value: &Value) -> Option<&Map<String, Value>> {
    match &value.kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}

/// Returns the items of a list.
pub(super) fn items(value: &Value) -> Option<&[Value]> {
    match &value.kind {
        ValueKind::Array(items) => Some(items),
        _ => None,
    }
}

/// Returns a scalar as typed.
pub(super) fn text(value: &Value) -> Option<&str> {
    match &value.kind {
        ValueKind::String(text) => Some(text),
        _ => None,
    }
}

/// Returns the name of the kind of a value, for messages.
pub(super) fn kind_name(value: &Value) -> &'static str {
    match value.kind {
        ValueKind::Nil => "empty",
        ValueKind::Array(_) => "a list",
        ValueKind::Table(_) => "a map",
        _ => "a single value",
    }
}
