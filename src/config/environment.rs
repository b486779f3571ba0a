//! Environment variables as the upper layer of the configuration.

use std::{collections::BTreeMap, fmt};

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::{
    keys::{ConfigKey, KEYS, Shape, VARIABLE_PREFIX},
    problem::{Problem, ValueSource, key_path, nearest},
    value::{from_variable, table},
};

/// Value of one configuration key.
#[derive(Clone)]
pub(super) struct KeyOverride {
    /// Path of the key, with dots between its parts.
    path: &'static str,
    value: Value,
}

impl fmt::Debug for KeyOverride {
    /// Omits the value because it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyOverride").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Source for KeyOverride {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(Map::from_iter([(self.path.to_owned(), self.value.clone())]))
    }
}

/// Reads the variables of this exporter, in the order in which they apply. An empty variable counts as unset.
/// `file` is the layer below.
pub(super) fn overrides(
    variables: &BTreeMap<String, String>,
    file: &Value,
    problems: &mut Vec<Problem>,
) -> Vec<KeyOverride> {
    let (mut keys, mut members) = (Vec::new(), Vec::new());
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(VARIABLE_PREFIX).filter(|rest| !is_service_link(rest, text))
        else {
            continue;
        };
        let source = ValueSource::Variable(name.clone());
        let Some((key, member)) = target(rest) else {
            problems.push(unknown(name, rest));
            continue;
        };
        if key.shape == Shape::Accounts {
            let instead = "list the accounts in the file";
            problems.push(Problem::new(&source, key.path, "cannot be set from the environment", instead));
        } else if text.is_empty() || is_blocked(file, key.path) {
            // A value of the file that is not a map where one is needed is reported when the layers are checked.
        } else if let Some(member) = member {
            let member = Map::from_iter([(member, from_variable(text.as_str(), name))]);
            members.push(KeyOverride { path: key.path, value: member.into() });
        } else if key.shape == Shape::Map {
            // Maps merge, but this variable replaces the map of the file.
            let map = map(key, name, text, problems);
            let values = map.into_iter().flat_map(|map| [from_variable(ValueKind::Nil, name), map]);
            keys.extend(values.map(|value| KeyOverride { path: key.path, value }));
        } else {
            keys.push(KeyOverride { path: key.path, value: scalar_or_list(key, name, text) });
        }
    }
    keys.append(&mut members);
    keys
}

/// Whether the file has a value that is not a map where the path needs one.
fn is_blocked(file: &Value, path: &str) -> bool {
    let mut value = file;
    for part in path.split('.') {
        let Some(table) = table(value) else { return true };
        let Some(next) = table.get(part) else { return false };
        value = next;
    }
    false
}

/// Whether Kubernetes may have set the variable: it describes every service of the namespace to every pod, and
/// those of a service named `alikafka-exporter` look like configuration keys.
fn is_service_link(rest: &str, value: &str) -> bool {
    let rest = format!("_{rest}");
    let is_port = |text: &str| {
        let mut parts = text.split('_');
        parts.next().is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
            && parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
    };
    rest.ends_with("_SERVICE_HOST")
        || rest.ends_with("_SERVICE_PORT")
        || rest.contains("_SERVICE_PORT_")
        || (rest.ends_with("_PORT") && value.contains("://"))
        || rest.match_indices("_PORT_").any(|(at, word)| is_port(&rest[at + word.len()..]))
}

/// Returns the key that a variable sets and, for one member of a map, the member.
fn target(rest: &str) -> Option<(&'static ConfigKey, Option<String>)> {
    if let Some(key) = KEYS.iter().find(|key| key.variable_suffix() == rest) {
        return Some((key, None));
    }
    KEYS.iter().filter(|key| matches!(key.shape, Shape::Map | Shape::Accounts)).find_map(|key| {
        let member = rest.strip_prefix(&key.variable_suffix())?.strip_prefix("__")?;
        // Variables are upper case by convention, members usually are not.
        let is_upper = !member.chars().any(char::is_lowercase);
        Some((key, Some(if is_upper { member.to_lowercase() } else { member.to_owned() })))
    })
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn scalar_or_list(key: &ConfigKey, name: &str, text: &str) -> Value {
    match key.shape {
        Shape::AutoOrList if text.trim() == "auto" => from_variable("auto", name),
        Shape::List | Shape::AutoOrList => {
            let items: Vec<Value> = parts(text).map(|part| from_variable(part, name)).collect();
            from_variable(items, name)
        }
        Shape::Text | Shape::Map | Shape::Accounts => from_variable(text, name),
    }
}

fn map(key: &ConfigKey, name: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Value> {
    let source = ValueSource::Variable(name.to_owned());
    let mut map = Map::new();
    for part in parts(text) {
        let Some((member, value)) = part.split_once('=') else {
            let instead = "write key=value,key=value";
            problems.push(Problem::new(&source, key.path, "has a part without \"=\"", instead));
            return None;
        };
        let member = member.trim();
        if map.contains_key(member) {
            problems.push(Problem::repeated_key(&source, key_path(key.path, member)));
        } else {
            map.insert(member.to_owned(), from_variable(value.trim(), name));
        }
    }
    Some(from_variable(map, name))
}

fn unknown(name: &str, rest: &str) -> Problem {
    let known: Vec<String> = KEYS.iter().filter_map(ConfigKey::variable).collect();
    // A single underscore where two are needed is the usual mistake.
    let instead = match known.iter().find(|known| known.replace("__", "_") == name.replace("__", "_")) {
        Some(known) => format!("did you mean {known}"),
        None => match nearest(rest, known.iter().filter_map(|known| known.strip_prefix(VARIABLE_PREFIX))) {
            Some(known) => format!("did you mean {VARIABLE_PREFIX}{known}"),
            None => {
                format!("unset it, or write {VARIABLE_PREFIX} and the path of a key with __ for each dot")
            }
        },
    };
    Problem::new(&ValueSource::Nowhere, name.escape_debug().to_string(), "unknown key", instead)
}
