//! Holds a tree against the table of keys: unknown and repeated keys, and values of the wrong kind.

use std::collections::BTreeSet;

use super::{
    keys::{self, Shape},
    problem::Problem,
    yaml::{Entry, Node, Value},
};

/// Reports every key that may not stand where it does.
pub(super) fn check(root: &Node, problems: &mut Vec<Problem>) {
    section(root, "", "", false, problems);
}

/// `path` is the path within the table, `shown` the one for people.
fn section(node: &Node, path: &str, shown: &str, account: bool, problems: &mut Vec<Problem>) {
    let Value::Map(entries) = &node.value else {
        let names = keys::children(path, account).join(", ");
        let (what, instead) = match node.value {
            Value::Null => (node.kind(), format!("write keys below it ({names}), or remove it")),
            _ => (node.kind(), format!("write a map of keys: {names}")),
        };
        problems.push(Problem::new(&node.origin, shown, format!("is {what}"), instead));
        return;
    };
    let mut seen = BTreeSet::new();
    for entry in entries {
        let below = join(path, &entry.key);
        let below_shown = join(shown, &entry.key);
        if !seen.insert(&entry.key) {
            problems.push(repeated(entry, &below_shown));
            continue;
        }
        if account && path.is_empty() && entry.key == "name" {
            text(&entry.node, &below_shown, "a name such as production", problems);
            continue;
        }
        match keys::find(&below) {
            Some(key) if account && !key.per_account => problems.push(misplaced(entry, &below_shown)),
            Some(key) => value(&entry.node, key.shape, key.expects, &below_shown, problems),
            None if keys::is_section(&below) && (!account || !keys::children(&below, true).is_empty()) => {
                section(&entry.node, &below, &below_shown, account, problems);
            }
            None if keys::is_section(&below) => problems.push(misplaced(entry, &below_shown)),
            None => problems.push(unknown(entry, path, &below_shown, account)),
        }
    }
}

fn value(node: &Node, shape: Shape, expects: &str, shown: &str, problems: &mut Vec<Problem>) {
    match (shape, &node.value) {
        (Shape::Text, _) => text(node, shown, expects, problems),
        (Shape::AutoOrList, Value::Text(word)) if **word == "auto" => {}
        (Shape::List | Shape::AutoOrList, Value::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                text(item, &format!("{shown}[{index}]"), "one value", problems);
            }
        }
        (Shape::Map, Value::Map(entries)) => {
            let mut seen = BTreeSet::new();
            for entry in entries {
                let shown = join(shown, &entry.key);
                if seen.insert(&entry.key) {
                    text(&entry.node, &shown, "one value", problems);
                } else {
                    problems.push(repeated(entry, &shown));
                }
            }
        }
        (Shape::Accounts, Value::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                section(item, "", &format!("{shown}[{index}]"), true, problems);
            }
        }
        _ => problems.push(wrong_kind(node, shown, expects)),
    }
}

fn text(node: &Node, shown: &str, expects: &str, problems: &mut Vec<Problem>) {
    if !matches!(node.value, Value::Text(_)) {
        problems.push(wrong_kind(node, shown, expects));
    }
}

fn wrong_kind(node: &Node, shown: &str, expects: &str) -> Problem {
    let or_remove = if matches!(node.value, Value::Null) { ", or remove the key" } else { "" };
    let what = format!("is {}", node.kind());
    Problem::new(&node.origin, shown, what, format!("write {expects}{or_remove}"))
}

fn repeated(entry: &Entry, shown: &str) -> Problem {
    Problem::new(&entry.origin, shown, "is written more than once", "keep one of them")
}

fn misplaced(entry: &Entry, shown: &str) -> Problem {
    let instead = format!("write {} at the top level", entry.key);
    Problem::new(&entry.origin, shown, "counts for all accounts", instead)
}

fn unknown(entry: &Entry, path: &str, shown: &str, account: bool) -> Problem {
    let instead = match keys::suggestion(path, &entry.key, account) {
        Some(meant) => format!("did you mean {meant}"),
        // It may be an access key in the wrong place, which is not for logs.
        None if path.starts_with("credentials") => {
            let shown = shown.rsplit_once('.').map_or(shown, |(section, _)| section);
            let instead = format!("write one of {}", keys::children(path, account).join(", "));
            return Problem::new(&entry.origin, shown, "has a key that is not known", instead);
        }
        None => format!("remove it, or write one of {}", keys::children(path, account).join(", ")),
    };
    Problem::new(&entry.origin, shown, "no key has this name", instead)
}

fn join(section: &str, key: &str) -> String {
    // A key is what somebody typed: it must not break the line.
    let key: String = key.chars().take(80).flat_map(char::escape_debug).collect();
    if section.is_empty() { key } else { format!("{section}.{key}") }
}
