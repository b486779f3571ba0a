//! The environment laid over the file: variables become nodes of the same tree.

use std::collections::BTreeMap;

use super::{
    keys::{KEYS, Key, Shape, VARIABLE_PREFIX},
    problem::{Problem, ValueSource, nearest},
    yaml::{Entry, Node, Value},
};

/// Lays every variable of ours over the tree. An empty variable counts as not set.
pub(super) fn environment(
    root: &mut Node,
    variables: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) {
    let mut found: Vec<(Vec<String>, Node)> = Vec::new();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        if is_service_link(rest, value) {
            continue;
        }
        match target(name) {
            Some((key, _)) if key.shape == Shape::Accounts => problems.push(Problem::new(
                &ValueSource::Variable(name.clone()),
                key.path,
                "cannot be set from the environment",
                "list the accounts in the file",
            )),
            Some(_) if value.is_empty() => {}
            Some((key, member)) => {
                let mut path: Vec<String> = key.path.split('.').map(str::to_owned).collect();
                path.extend(member);
                let whole = path.len() == key.path.split('.').count();
                let origin = ValueSource::Variable(name.clone());
                match node(key, whole, value, &origin) {
                    Ok(node) => found.push((path, node)),
                    Err(what) => {
                        problems.push(Problem::new(&origin, key.path, what, "write key=value,key=value"))
                    }
                }
            }
            None => problems.push(unknown(name)),
        }
    }
    // A whole map first, then single members of it.
    found.sort_by_key(|(path, _)| path.len());
    for (path, node) in found {
        place(root, &path, node);
    }
}

/// Kubernetes gives every pod variables about every service: one named `alikafka-exporter` would look
/// like keys of ours.
fn is_service_link(rest: &str, value: &str) -> bool {
    let rest = format!("_{rest}");
    let numbered = |s: &str| {
        let mut parts = s.split('_');
        parts.next().is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
            && parts.next().is_some_and(|p| matches!(p, "TCP" | "UDP" | "SCTP"))
    };
    rest.ends_with("_SERVICE_HOST")
        || rest.ends_with("_SERVICE_PORT")
        || rest.contains("_SERVICE_PORT_")
        || (rest.ends_with("_PORT") && value.contains("://"))
        || rest.match_indices("_PORT_").any(|(at, word)| numbered(&rest[at + word.len()..]))
}

/// The key that a variable sets and, for one member of a map, the member.
fn target(name: &str) -> Option<(&'static Key, Option<String>)> {
    let own = |key: &Key| format!("{VARIABLE_PREFIX}{}", key.path.replace('.', "__").to_uppercase());
    if let Some(key) = KEYS.iter().find(|k| own(k) == name) {
        return Some((key, None));
    }
    let member = |key: &Key| Some(name.strip_prefix(&own(key))?.strip_prefix("__")?.to_owned());
    KEYS.iter()
        .filter(|k| matches!(k.shape, Shape::Map | Shape::Accounts))
        .find_map(|key| Some((key, Some(lower_if_upper(member(key)?)))))
}

/// Names of variables are upper case by habit; a member that is so was most likely not meant to be.
fn lower_if_upper(member: String) -> String {
    if member.chars().any(char::is_lowercase) { member } else { member.to_lowercase() }
}

fn node(key: &Key, whole: bool, value: &str, origin: &ValueSource) -> Result<Node, String> {
    let parts = || value.split(',').map(str::trim).filter(|p| !p.is_empty());
    let list = || Value::List(parts().map(|p| Node::text(p, origin.clone())).collect());
    let value = match key.shape {
        Shape::Map if whole => {
            let mut entries = Vec::new();
            for part in parts() {
                let Some((name, value)) = part.split_once('=') else {
                    return Err("has a part without \"=\"".to_owned());
                };
                let node = Node::text(value.trim(), origin.clone());
                entries.push(Entry { key: name.trim().to_owned(), origin: origin.clone(), node });
            }
            Value::Map(entries)
        }
        Shape::AutoOrList if value.trim() == "auto" => return Ok(Node::text("auto", origin.clone())),
        Shape::List | Shape::AutoOrList => list(),
        Shape::Text | Shape::Map | Shape::Accounts => return Ok(Node::text(value, origin.clone())),
    };
    Ok(Node { value, origin: origin.clone() })
}

/// Puts a node at a path. Where the file has something that is not a map in the way, the file's own
/// problem will be told.
fn place(root: &mut Node, path: &[String], node: Node) {
    let Some((name, below)) = path.split_first() else {
        *root = node;
        return;
    };
    let Value::Map(entries) = &mut root.value else { return };
    let at = match entries.iter().position(|e| e.key == *name) {
        Some(at) => at,
        None => {
            let origin = node.origin.clone();
            let empty = Node { value: Value::Map(Vec::new()), origin: origin.clone() };
            entries.push(Entry { key: name.clone(), origin, node: empty });
            entries.len() - 1
        }
    };
    if let Some(entry) = entries.get_mut(at) {
        if below.is_empty() {
            entry.origin = node.origin.clone();
        }
        place(&mut entry.node, below, node);
    }
}

fn unknown(name: &str) -> Problem {
    let known: Vec<String> = KEYS.iter().filter_map(Key::variable).collect();
    let rest = name.strip_prefix(VARIABLE_PREFIX).unwrap_or(name);
    let names = known.iter().map(|k| k.strip_prefix(VARIABLE_PREFIX).unwrap_or(k));
    // A single underscore where two are meant is the usual slip.
    let single = known.iter().find(|k| k.replace("__", "_") == name.replace("__", "_"));
    let instead = match single
        .cloned()
        .or_else(|| nearest(rest, names).map(|n| format!("{VARIABLE_PREFIX}{n}")))
    {
        Some(known) => format!("did you mean {known}"),
        None => format!("unset it, or write {VARIABLE_PREFIX} and the path of a key with __ for each dot"),
    };
    Problem::new(&ValueSource::Nowhere, name.escape_debug().to_string(), "no key has this name", instead)
}
