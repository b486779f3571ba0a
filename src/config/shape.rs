//! Checks the layered configuration against the table of keys: unknown and misplaced keys, and values of the wrong
//! kind.

use config::{Value, ValueKind};

use super::{
    keys::{self, Shape},
    problem::{Problem, key_path},
    value::{entries, items, key_source, kind_name, source, text},
};

/// Reports every key that is not allowed where it is, and every value of the wrong kind.
pub(super) fn check(root: &Value, problems: &mut Vec<Problem>) {
    check_section(root, "", "", false, problems);
}

/// Checks a section. `path` is its path within the table of keys, `displayed` the one for messages.
fn check_section(value: &Value, path: &str, displayed: &str, is_account: bool, problems: &mut Vec<Problem>) {
    if !matches!(value.kind, ValueKind::Table(_)) {
        let names = keys::children(path, is_account).join(", ");
        let instead = match value.kind {
            ValueKind::Nil => format!("write keys below it ({names}), or remove it"),
            _ => format!("write a map of keys: {names}"),
        };
        let what = format!("is {}", kind_name(value));
        problems.push(Problem::new(&source(value), displayed, what, instead));
        return;
    }
    for (name, entry) in entries(value) {
        let below = key_path(path, name);
        let displayed = key_path(displayed, name);
        if is_account && path.is_empty() && name == "name" {
            check_text(entry, &displayed, "a name such as production", problems);
            continue;
        }
        match keys::find(&below) {
            Some(key) if is_account && !key.per_account => {
                problems.push(misplaced(name, entry, &displayed));
            }
            Some(key) => check_value(entry, key.shape, key.expects, &displayed, problems),
            None if keys::is_section(&below) && is_account && keys::children(&below, true).is_empty() => {
                problems.push(misplaced(name, entry, &displayed));
            }
            None if keys::is_section(&below) => {
                check_section(entry, &below, &displayed, is_account, problems);
            }
            None => problems.push(unknown(name, entry, path, &displayed, is_account)),
        }
    }
}

fn check_value(value: &Value, shape: Shape, expects: &str, displayed: &str, problems: &mut Vec<Problem>) {
    match (shape, &value.kind) {
        (Shape::Text, _) => check_text(value, displayed, expects, problems),
        (Shape::AutoOrList, ValueKind::String(word)) if word == "auto" => {}
        (Shape::List | Shape::AutoOrList, ValueKind::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                check_text(item, &format!("{displayed}[{index}]"), "one value", problems);
            }
        }
        (Shape::Map, ValueKind::Table(_)) => {
            for (name, entry) in entries(value) {
                check_text(entry, &key_path(displayed, name), "one value", problems);
            }
        }
        (Shape::Accounts, ValueKind::Array(_)) => {
            for (index, item) in items(value).unwrap_or_default().iter().enumerate() {
                check_section(item, "", &format!("{displayed}[{index}]"), true, problems);
            }
        }
        _ => problems.push(wrong_kind(value, displayed, expects)),
    }
}

fn check_text(value: &Value, displayed: &str, expects: &str, problems: &mut Vec<Problem>) {
    if text(value).is_none() {
        problems.push(wrong_kind(value, displayed, expects));
    }
}

fn wrong_kind(value: &Value, displayed: &str, expects: &str) -> Problem {
    let or_remove = if matches!(value.kind, ValueKind::Nil) { ", or remove the key" } else { "" };
    let what = format!("is {}", kind_name(value));
    Problem::new(&source(value), displayed, what, format!("write {expects}{or_remove}"))
}

fn misplaced(name: &str, entry: &Value, displayed: &str) -> Problem {
    let instead = format!("write {name} at the top level");
    Problem::new(&key_source(entry), displayed, "applies to all accounts", instead)
}

fn unknown(name: &str, entry: &Value, path: &str, displayed: &str, is_account: bool) -> Problem {
    let source = key_source(entry);
    let children = keys::children(path, is_account).join(", ");
    let instead = match keys::suggestion(path, name, is_account) {
        Some(known) => format!("did you mean {known}"),
        // The key may be an access key in the wrong place, so do not quote it.
        None if path.starts_with("credentials") => {
            let section = displayed.rsplit_once('.').map_or(displayed, |(section, _)| section);
            let instead = format!("write one of {children}");
            return Problem::new(&source, section, "has an unknown key", instead);
        }
        None => format!("remove it, or write one of {children}"),
    };
    Problem::new(&source, displayed, "unknown key", instead)
}
