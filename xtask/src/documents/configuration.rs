//! Generates `docs/configuration.md`: every key, from the table by which the product reads files, and every flag.
//!
//! The flags are repeated here because another crate cannot access those of the binary. A test of the product compares
//! this document with the output of `--help`.

use std::fmt::Write as _;

use alikafka_exporter::config::keys::{ConfigKey, KEYS, ReferenceValue, Shape};

use super::{code, head, prose, row};

/// Text before the keys.
const INTRODUCTION: &str = "\
# Configuration

The configuration is a YAML file, set by `--config.file`, and environment variables that override it. The file is
optional: only `regions` is required, and every key except `accounts` has a variable. Unknown keys are errors, and
`check-config` reports all problems at once:

```sh run
alikafka-exporter check-config --config.file=config/minimal.yml
```

It exits with 0, or with 2 if there is a problem. [config/alikafka-exporter.yml](../config/alikafka-exporter.yml)
contains every key, and [config/minimal.yml](../config/minimal.yml) only the required ones.

- The variable of a key is `ALIKAFKA_EXPORTER_` followed by its path in upper case, with `__` for each dot.
- In variables, lists are comma-separated, and maps are comma-separated `key=value` pairs. An empty variable counts as
  unset.
- Durations are written as `30s`, `5m` or `1m30s`.
- Regular expressions must match the entire name.
- An account inherits the keys that it omits from the top level. Its own credentials replace all of those of the top
  level.
";

/// Sections of the document: title, and the top-level keys that belong to it.
const SECTIONS: [(&str, &[&str]); 7] = [
    ("Regions and accounts", &["regions", "accounts"]),
    ("Credentials", &["credentials"]),
    ("API access", &["network", "endpoint", "signature", "proxy", "request_timeout"]),
    ("Request rates", &["requests_per_second", "request_rates"]),
    ("Filters", &["filters"]),
    (
        "Intervals",
        &[
            "discovery_interval",
            "poll_interval",
            "topic_poll_interval",
            "idle_poll_interval",
            "stale_after",
            "status_window",
            "last_timestamps",
        ],
    ),
    ("Metrics", &["metrics"]),
];

/// Flag: name, value, default, and description of `--help`.
struct Flag(&'static str, &'static str, &'static str, &'static str);

const FLAGS: [Flag; 9] = [
    Flag(
        "--config.file",
        "FILE",
        "",
        "Configuration file (YAML). Without one, the environment must set ALIKAFKA_EXPORTER_REGIONS",
    ),
    Flag(
        "--web.listen-address",
        "ADDRESS",
        ":19308",
        "Address to listen on, such as :19308, 127.0.0.1:19308 or [::1]:19308. May be repeated",
    ),
    Flag("--web.telemetry-path", "PATH", "/metrics", "Path of the metrics endpoint"),
    Flag(
        "--web.enable-lifecycle",
        "",
        "",
        "Let clients reload the configuration with POST /-/reload. SIGHUP reloads it without this flag",
    ),
    Flag(
        "--web.enable-debug",
        "",
        "",
        "Let clients query how the metrics of a group are computed, at /debug/state",
    ),
    Flag("--log.level", "LEVEL", "info", "Minimum level of log lines"),
    Flag("--log.format", "FORMAT", "logfmt", "Format of log lines"),
    Flag("--version", "", "", "Print version, revision and compiler"),
    Flag("--help", "", "", "Print help"),
];

/// Returns the document.
pub(super) fn document() -> String {
    let mut out = INTRODUCTION.to_owned();
    for (title, sections) in SECTIONS {
        // Writing to a String cannot fail.
        _ = write!(out, "\n## {title}\n");
        for key in KEYS.iter().filter(|key| sections.contains(&section(key))) {
            describe(&mut out, key);
        }
    }
    out.push_str("\n## Flags\n\n");
    out.push_str(&head(&["flag", "value", "default", "description"]));
    for Flag(name, takes, default, meaning) in &FLAGS {
        let code_or_empty = |text: &str| if text.is_empty() { String::new() } else { code(text) };
        out.push_str(&row(&[
            code(name),
            code_or_empty(takes),
            code_or_empty(default),
            format!("{meaning}."),
        ]));
    }
    out.push_str(
        "\n`alikafka-exporter check-config` accepts `--config.file` and checks the configuration without running it. \
         No flag accepts a\nsecret.\n",
    );
    out
}

fn section(key: &ConfigKey) -> &'static str {
    key.path.split('.').next().unwrap_or(key.path)
}

fn describe(out: &mut String, key: &ConfigKey) {
    _ = write!(out, "\n### `{}`\n\n{}\n\n", key.path, prose(key.doc));
    _ = writeln!(out, "- value: {}", prose(key.expects));
    _ = match key.default {
        "required" => writeln!(out, "- required"),
        default => writeln!(out, "- default: {}", prose(default)),
    };
    if let Some(variable) = key.variable() {
        _ = writeln!(out, "- variable: `{variable}`");
    }
    if key.shape != Shape::Accounts {
        let scope = if key.per_account { "may be set per account" } else { "applies to all accounts" };
        _ = writeln!(out, "- {scope}");
    }
    if let Some(example) = example(key) {
        _ = writeln!(out, "- example: `{example}`");
    }
}

/// Returns the key with an example value as one line of a file; nothing if the example would be empty.
fn example(key: &ConfigKey) -> Option<String> {
    let value = match key.reference {
        ReferenceValue::Value("[]" | "{}") => return None,
        ReferenceValue::Value(value) | ReferenceValue::Example(value) => value,
    };
    let parts: Vec<&str> = key.path.split('.').collect();
    let depth = parts.len() - 1;
    // A colon within braces needs quotes around the value.
    let value = match value {
        value if depth > 0 && value.contains(':') && !value.starts_with('\'') => format!("'{value}'"),
        value => value.to_owned(),
    };
    let siblings =
        required_type(key).map(|name| format!("{{type: {name}, ")).unwrap_or_else(|| "{".to_owned());
    Some(format!("{}: {value}{}", parts.join(&format!(": {siblings}")), "}".repeat(depth)))
}

/// Returns the credentials type that a key requires, if any.
fn required_type(key: &ConfigKey) -> Option<&'static str> {
    let (types, _) = key.doc.split_once(':')?;
    let first = types.split(" and ").next()?;
    ["oidc", "cli_profile", "ecs_ram_role", "uri"].into_iter().find(|name| *name == first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alikafka_exporter::config;

    use super::*;

    #[test]
    fn every_key_is_in_one_section() {
        for key in KEYS {
            let count = SECTIONS.iter().filter(|(_, sections)| sections.contains(&section(key))).count();
            assert_eq!(count, 1, "{}", key.path);
        }
    }

    /// Some examples need another key, and their only problem names it.
    #[test]
    fn every_example_is_valid() {
        for (key, example) in KEYS.iter().filter_map(|key| Some((key, example(key)?))) {
            let regions = if key.path == "regions" { "" } else { "regions: [cn-hangzhou]\n" };
            let text = format!("{regions}{example}\n");
            if let Err(problems) = config::parse(Some(("example.yml", &text)), &BTreeMap::new()) {
                let problems = problems.to_string();
                assert!(problems.lines().all(|line| line.contains(": is missing")), "{example}: {problems}");
            }
        }
    }
}
