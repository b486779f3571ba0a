//! `docs/configuration.md`: every key from the table that the product reads files by, and every flag.
//!
//! The flags are those of the binary, which no other crate can reach. So they stand here once more, and a test of the
//! product compares the page with what `--help` says.

use std::fmt::Write as _;

use alikafka_exporter::config::keys::{KEYS, Key, Shape, Written};

use super::{code, head, prose, row};

/// What goes before the keys.
const INTRODUCTION: &str = "\
# Configuration

A YAML file, named by `--config.file`, overlaid by the environment. No file is needed: only `regions` is required, and
every key but `accounts` is also a variable. Unknown keys are errors, and all problems are told at once:

```sh run
alikafka-exporter check-config --config.file=config/minimal.yml
```

It exits with 0, or with 2 where something is wrong. [config/alikafka-exporter.yml](../config/alikafka-exporter.yml) is
a file with every key, and [config/minimal.yml](../config/minimal.yml) the least one.

- The variable of a key is `ALIKAFKA_EXPORTER_`, then its path in upper case with `__` for each dot. The environment wins
  over the file.
- Lists have commas between their values, and maps are `key=value` with commas between them, in the environment. An
  empty variable counts as not set.
- Durations are written as `30s`, `5m` or `1m30s`.
- Regular expressions are for the whole name.
- A key that an account may have is taken from the top level where the account leaves it out; its credentials replace
  those of the top level as a whole.
";

/// The parts of the page: a title, and the first parts of the paths that belong to it.
const PARTS: [(&str, &[&str]); 7] = [
    ("What is read", &["regions", "accounts"]),
    ("Credentials", &["credentials"]),
    ("The way to the cloud", &["network", "endpoint", "signature", "proxy", "request_timeout"]),
    ("Budget of calls", &["requests_per_second", "request_rates"]),
    ("Filters", &["filters"]),
    (
        "Times",
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
    ("The page of metrics", &["metrics"]),
];

/// A flag: its name, what it takes, its default, and the sentence of `--help`.
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
    Flag("--web.telemetry-path", "PATH", "/metrics", "Path of the metrics page"),
    Flag(
        "--web.enable-lifecycle",
        "",
        "",
        "Let clients load the configuration anew, by POST to /-/reload. A SIGHUP does so without this flag",
    ),
    Flag(
        "--web.enable-debug",
        "",
        "",
        "Let clients ask why a number of a group is what it is, at /debug/state",
    ),
    Flag("--log.level", "LEVEL", "info", "Least level of log lines"),
    Flag("--log.format", "FORMAT", "logfmt", "Format of log lines"),
    Flag("--version", "", "", "Print version, revision and compiler"),
    Flag("--help", "", "", "Print help"),
];

/// The page.
pub(super) fn page() -> String {
    let mut out = INTRODUCTION.to_owned();
    for (title, sections) in PARTS {
        // Writing to a String cannot fail.
        _ = write!(out, "\n## {title}\n");
        for key in KEYS.iter().filter(|key| sections.contains(&section(key))) {
            describe(&mut out, key);
        }
    }
    out.push_str("\n## Flags\n\n");
    out.push_str(&head(&["flag", "takes", "default", "meaning"]));
    for Flag(name, takes, default, meaning) in &FLAGS {
        let shown = |text: &str| if text.is_empty() { String::new() } else { code(text) };
        out.push_str(&row(&[code(name), shown(takes), shown(default), format!("{meaning}.")]));
    }
    out.push_str(
        "\n`alikafka-exporter check-config` takes `--config.file`, and checks the configuration without running it. \
         Flags that would do\nnothing are refused, and no flag takes a secret.\n",
    );
    out
}

fn section(key: &Key) -> &'static str {
    key.path.split('.').next().unwrap_or(key.path)
}

fn describe(out: &mut String, key: &Key) {
    _ = write!(out, "\n### `{}`\n\n{}\n\n", key.path, prose(key.doc));
    _ = writeln!(out, "- takes {}", prose(key.expects));
    _ = match key.default {
        "required" => writeln!(out, "- required"),
        default => writeln!(out, "- default: {}", prose(default)),
    };
    if let Some(variable) = key.variable() {
        _ = writeln!(out, "- variable: `{variable}`");
    }
    if key.shape != Shape::Accounts {
        let scope = if key.per_account { "an account may have its own" } else { "for all accounts" };
        _ = writeln!(out, "- {scope}");
    }
    if let Some(example) = example(key) {
        _ = writeln!(out, "- example: `{example}`");
    }
}

/// The key as it stands in a file, on one line; none where the value shown is empty, as what it takes says more.
fn example(key: &Key) -> Option<String> {
    let value = match key.written {
        Written::Value("[]" | "{}") => return None,
        Written::Value(value) | Written::Example(value) => value,
    };
    let parts: Vec<&str> = key.path.split('.').collect();
    let depth = parts.len() - 1;
    // A colon within braces needs quotes around the value.
    let value = match value {
        value if depth > 0 && value.contains(':') && !value.starts_with('\'') => format!("'{value}'"),
        value => value.to_owned(),
    };
    let beside = source(key).map(|of| format!("{{type: {of}, ")).unwrap_or_else(|| "{".to_owned());
    Some(format!("{}: {value}{}", parts.join(&format!(": {beside}")), "}".repeat(depth)))
}

/// The source of credentials that a key is for, where it is for one: it is not read without that type.
fn source(key: &Key) -> Option<&'static str> {
    let (sources, _) = key.doc.split_once(':')?;
    let first = sources.split(" and ").next()?;
    ["oidc", "cli_profile", "ecs_ram_role", "uri"].into_iter().find(|of| *of == first)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alikafka_exporter::config;

    use super::*;

    #[test]
    fn every_key_is_in_one_part() {
        for key in KEYS {
            let parts = PARTS.iter().filter(|(_, sections)| sections.contains(&section(key))).count();
            assert_eq!(parts, 1, "{}", key.path);
        }
    }

    /// Some need another key beside them, and name it; nothing else may be wrong with them.
    #[test]
    fn every_example_is_read() {
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
