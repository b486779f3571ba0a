//! Configuration: accepted as it is or rejected with all of its problems, and never displayed with its secrets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's own steps may fail it")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use alikafka_exporter::config::{Config, Problems, parse};

mod daemon;
mod files;
mod layers;

/// Returns the command of the exporter with an empty environment. It has an access key because it would otherwise
/// call the metadata service of the machine, and tests must not call anything beyond loopback.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alikafka-exporter"));
    command.env_clear().env("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true");
    command
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn fixtures() -> PathBuf {
    root().join("tests/fixtures/config")
}

fn check_config(file: &str) -> Output {
    let flag = format!("--config.file={file}");
    program().current_dir(fixtures()).args(["check-config", &flag]).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Parses a YAML text with variables, whose names lack the prefix.
fn config(yaml: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let names: Vec<String> = variables.iter().map(|(name, _)| format!("ALIKAFKA_EXPORTER_{name}")).collect();
    let variables: Vec<(&str, &str)> =
        names.iter().map(String::as_str).zip(variables.iter().map(|(_, value)| *value)).collect();
    parse(Some(("f.yml", yaml)), &environment(&variables))
}
