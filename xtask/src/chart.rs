//! What the Helm chart holds of other files: a chart carries all that it needs, and cannot reach outside of its folder.
//!
//! Owns: the copies of rules and dashboards; the table of values in the chart's README, from the comments of
//! values.yaml; and the part of values.schema.json that is about the exporter's configuration, from the table of keys.
//! Refuses: a value without a comment, and keys that hold a secret: what is a value ends up in a ConfigMap.

use std::{fs, io, path::Path};

use alikafka_exporter::config::keys::{ConfigKey, KEYS, Shape};
use serde_json::{Map, Value, json};

use crate::Generated;

mod values;

/// Where the chart lies.
const CHART: &str = "deploy/helm/alikafka-exporter";

/// What holds a secret, or would: the chart writes the configuration into a ConfigMap.
const SECRETS: [&str; 3] =
    ["credentials.access_key_id", "credentials.access_key_secret", "credentials.security_token"];

/// Everything of the chart that is made of other files: those of `root`, and the dashboards among `others`.
pub(crate) fn files(root: &Path, others: &[Generated]) -> io::Result<Vec<Generated>> {
    let mut files = copies(root, others)?;
    files.push(readme(root)?);
    files.push(schema(root)?);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The rules and the dashboards, whether those are generated or written by hand.
fn copies(root: &Path, others: &[Generated]) -> io::Result<Vec<Generated>> {
    let mut copies: Vec<Generated> = others
        .iter()
        .filter(|file| file.path.starts_with("dashboards/"))
        .map(|file| Generated { path: format!("{CHART}/files/{}", file.path), text: file.text.clone() })
        .collect();
    for (home, kind, ending) in
        [("config/rules", "rules", ".rules.yml"), ("dashboards", "dashboards", ".json")]
    {
        for entry in fs::read_dir(root.join(home))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let path = format!("{CHART}/files/{kind}/{name}");
            // What is generated counts as it will be, not as it lies there.
            if name.ends_with(ending) && !copies.iter().any(|copy| copy.path == path) {
                copies.push(Generated { text: fs::read_to_string(root.join(home).join(&name))?, path });
            }
        }
    }
    Ok(copies)
}

/// The README, with the table of values between its two marks made anew.
fn readme(root: &Path) -> io::Result<Generated> {
    const BEGIN: &str = "<!-- values:begin -->\n";
    const END: &str = "<!-- values:end -->\n";
    let path = format!("{CHART}/README.md");
    let text = fs::read_to_string(root.join(&path))?;
    let lost = || io::Error::other(format!("{path}: its marks {} and {} are gone", BEGIN.trim(), END.trim()));
    let (before, rest) = text.split_once(BEGIN).ok_or_else(lost)?;
    let (_, after) = rest.split_once(END).ok_or_else(lost)?;
    let values = fs::read_to_string(root.join(CHART).join("values.yaml"))?;
    let table = values::table(&values).map_err(|error| io::Error::other(format!("values.yaml: {error}")))?;
    Ok(Generated { text: format!("{before}{BEGIN}{table}{END}{after}"), path })
}

/// The schema of the values, with what it says of `config` made anew.
fn schema(root: &Path) -> io::Result<Generated> {
    let path = format!("{CHART}/values.schema.json");
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(root.join(&path))?)?;
    let Some(config) = schema.pointer_mut("/properties/config") else {
        return Err(io::Error::other(format!("{path}: it says nothing of config")));
    };
    let keys: Vec<&ConfigKey> = KEYS.iter().filter(|key| !SECRETS.contains(&key.path)).collect();
    *config = section(&keys, "");
    let mut text = serde_json::to_string_pretty(&sorted(schema))?;
    text.push('\n');
    Ok(Generated { path, text })
}

/// The schema of the keys of a section, whose path `prefix` ends with a dot unless it is the whole.
fn section(keys: &[&ConfigKey], prefix: &str) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let Some(rest) = key.path.strip_prefix(prefix) else { continue };
        match rest.split_once('.') {
            None => {
                properties.insert(rest.to_owned(), one(key, keys));
            }
            Some((child, _)) if !properties.contains_key(child) => {
                properties.insert(child.to_owned(), section(keys, &format!("{prefix}{child}.")));
            }
            Some(_) => {}
        }
    }
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

/// The schema of a key. Whether its value is a good one the exporter says.
fn one(key: &ConfigKey, keys: &[&ConfigKey]) -> Value {
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    let list = json!({ "type": "array", "items": { "type": "string" } });
    let mut schema = match key.shape {
        // A user and a password stand before an @.
        Shape::Text if key.path == "proxy" => json!({ "type": "string", "pattern": "^[^@]*$" }),
        Shape::Text => scalar,
        Shape::List => list,
        Shape::AutoOrList => json!({ "oneOf": [{ "const": "auto" }, list] }),
        Shape::Map => json!({ "type": "object", "additionalProperties": scalar }),
        Shape::Accounts => {
            let own: Vec<&ConfigKey> = keys.iter().copied().filter(|key| key.per_account).collect();
            let mut account = section(&own, "");
            account["properties"]["name"] = json!({ "type": "string", "minLength": 1 });
            account["required"] = json!(["name"]);
            json!({ "type": "array", "minItems": 1, "items": account })
        }
    };
    schema["description"] = key.doc.replace('\n', " ").into();
    schema
}

/// The same, with the keys of all objects in the order of the alphabet, whatever order the library keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_that_is_left_out_is_a_key_and_no_other_key_is_named_like_one() {
        for secret in SECRETS {
            assert!(KEYS.iter().any(|key| key.path == secret), "{secret} is no key");
        }
        let odd: Vec<&str> = KEYS
            .iter()
            .map(|key| key.path)
            .filter(|path| !SECRETS.contains(path) && !path.ends_with("_file"))
            .filter(|path| ["secret", "password", "access_key"].iter().any(|word| path.contains(word)))
            .collect();
        assert!(odd.is_empty(), "{odd:?}");
    }

    #[test]
    fn an_account_may_have_its_own_keys_and_no_others() {
        let keys: Vec<&ConfigKey> = KEYS.iter().collect();
        let schema = section(&keys, "");
        let account = &schema["properties"]["accounts"]["items"]["properties"];
        assert!(account["regions"].is_object() && account["name"].is_object());
        assert!(account["poll_interval"].is_null() && account["accounts"].is_null());
        assert!(schema["properties"]["poll_interval"].is_object());
    }
}
