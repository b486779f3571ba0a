//! Generated parts of the Helm chart, which cannot use files outside of its folder.
//!
//! Owns: copies of rules and dashboards; the table of values in the README of the chart, from the comments of
//! values.yaml; the schema of the value `config`, from the table of configuration keys.
//! Rejects: values without a comment. Omits keys that hold secrets, because values end up in a ConfigMap.

use std::{fs, io, path::Path};

use alikafka_exporter::config::keys::{ConfigKey, KEYS, Shape};
use serde_json::{Map, Value, json};

use crate::Generated;

mod values;

/// Folder of the chart.
const CHART: &str = "deploy/helm/alikafka-exporter";

/// Keys that hold a secret.
const SECRETS: [&str; 3] =
    ["credentials.access_key_id", "credentials.access_key_secret", "credentials.security_token"];

/// Generated files of the chart, from files below `root` and the dashboards among `others`.
pub(crate) fn files(root: &Path, others: &[Generated]) -> io::Result<Vec<Generated>> {
    let mut files = copies(root, others)?;
    files.push(readme(root)?);
    files.push(schema(root)?);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Copies of all rules and dashboards.
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
            // The text of a generated file on disk may be outdated.
            if name.ends_with(ending) && !copies.iter().any(|copy| copy.path == path) {
                copies.push(Generated { text: fs::read_to_string(root.join(home).join(&name))?, path });
            }
        }
    }
    Ok(copies)
}

/// README with a regenerated table of values between its two markers.
fn readme(root: &Path) -> io::Result<Generated> {
    const BEGIN: &str = "<!-- values:begin -->\n";
    const END: &str = "<!-- values:end -->\n";
    let path = format!("{CHART}/README.md");
    let text = fs::read_to_string(root.join(&path))?;
    let missing =
        || io::Error::other(format!("{path}: markers {} and {} are missing", BEGIN.trim(), END.trim()));
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    let values = fs::read_to_string(root.join(CHART).join("values.yaml"))?;
    let table = values::table(&values).map_err(|error| io::Error::other(format!("values.yaml: {error}")))?;
    Ok(Generated { text: format!("{before}{BEGIN}{table}{END}{after}"), path })
}

/// Schema of the values, with a regenerated property `config`.
fn schema(root: &Path) -> io::Result<Generated> {
    let path = format!("{CHART}/values.schema.json");
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(root.join(&path))?)?;
    let Some(config) = schema.pointer_mut("/properties/config") else {
        return Err(io::Error::other(format!("{path}: property config is missing")));
    };
    let keys: Vec<&ConfigKey> = KEYS.iter().filter(|key| !SECRETS.contains(&key.path)).collect();
    *config = section(&keys, "");
    let mut text = serde_json::to_string_pretty(&sorted(schema))?;
    text.push('\n');
    Ok(Generated { path, text })
}

/// Schema of the keys of a section. `prefix` is its path with a trailing dot, or empty for the top level.
fn section(keys: &[&ConfigKey], prefix: &str) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let Some(rest) = key.path.strip_prefix(prefix) else { continue };
        match rest.split_once('.') {
            None => {
                properties.insert(rest.to_owned(), key_schema(key, keys));
            }
            Some((child, _)) if !properties.contains_key(child) => {
                properties.insert(child.to_owned(), section(keys, &format!("{prefix}{child}.")));
            }
            Some(_) => {}
        }
    }
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

/// Schema of a key. The exporter validates its value.
fn key_schema(key: &ConfigKey, keys: &[&ConfigKey]) -> Value {
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    let list = json!({ "type": "array", "items": { "type": "string" } });
    let mut schema = match key.shape {
        // A user name and a password precede an @.
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

/// Sorts the keys of all objects, whatever order the library keeps.
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
    fn omitted_secrets_are_keys_and_no_other_key_has_a_name_like_one() {
        for secret in SECRETS {
            assert!(KEYS.iter().any(|key| key.path == secret), "{secret} is not a key");
        }
        let suspicious: Vec<&str> = KEYS
            .iter()
            .map(|key| key.path)
            .filter(|path| !SECRETS.contains(path) && !path.ends_with("_file"))
            .filter(|path| ["secret", "password", "access_key"].iter().any(|word| path.contains(word)))
            .collect();
        assert!(suspicious.is_empty(), "{suspicious:?}");
    }

    #[test]
    fn an_account_accepts_only_keys_that_are_per_account() {
        let keys: Vec<&ConfigKey> = KEYS.iter().collect();
        let schema = section(&keys, "");
        let account = &schema["properties"]["accounts"]["items"]["properties"];
        assert!(account["regions"].is_object() && account["name"].is_object());
        assert!(account["poll_interval"].is_null() && account["accounts"].is_null());
        assert!(schema["properties"]["poll_interval"].is_object());
    }
}
