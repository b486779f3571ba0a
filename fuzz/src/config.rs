//! Configurations. The bytes are a file and, after a line `%%`, environment variables, one per line.
//!
//! Problems must not contain secrets. To detect them, this module inserts its own keys where secrets belong: before
//! and after the text of the file, and into the environment.

use std::collections::BTreeMap;

use alikafka_exporter::config::{self, Config, Problems};

/// Part of each inserted secret.
const CANARY: &str = "cAnArY";
const PREFIX: &str = "ALIKAFKA_EXPORTER_";

pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, lines) = text.split_once("\n%%\n").unwrap_or((text, ""));
    let environment: BTreeMap<String, String> = lines
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (format!("{PREFIX}{name}"), value.to_owned()))
        .collect();
    check(&config::parse(Some(("f.yml", file)), &environment));
    check(&config::parse(None, &environment));
    if text.to_lowercase().contains(&CANARY.to_lowercase()) {
        return;
    }

    let secrets = format!(
        "credentials:\n  access_key_id: {CANARY}-id\n  access_key_secret: {CANARY}/+secret=\n  \
         security_token: {CANARY}-token\n"
    );
    check_without_secret(&config::parse(Some(("f.yml", &format!("{secrets}{file}"))), &environment));
    if file.lines().all(is_closed) {
        check_without_secret(&config::parse(Some(("f.yml", &format!("{file}\n{secrets}"))), &environment));
    }

    let mut environment = environment;
    for key in ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"] {
        environment.insert(format!("{PREFIX}CREDENTIALS__{key}"), format!("{CANARY}-{key}"));
    }
    environment.insert(format!("{PREFIX}PROXY"), format!("http://user:{CANARY}@127.0.0.1:3128"));
    check_without_secret(&config::parse(Some(("f.yml", file)), &environment));
}

/// Whether the following lines cannot belong to the value of this line, as in a quoted string, a flow collection or a
/// block of text.
fn is_closed(line: &str) -> bool {
    !line.contains(['"', '\'', '[', ']', '{', '}', '|', '>', '&', '*', '!', '?', '#', '%', '@', '`', '\r'])
}

fn check(result: &Result<Config, Problems>) {
    match result {
        Ok(config) => {
            assert!(!config.accounts.is_empty(), "no accounts");
            let _ = format!("{config:?}");
        }
        Err(problems) => {
            assert!(!problems.list().is_empty(), "rejected without a reason");
            for problem in problems.list() {
                assert!(!problem.what.is_empty() && !problem.instead.is_empty(), "{problem:?}");
            }
            let text = problems.to_string();
            let is_unprintable = |c: char| c.is_control() && c != '\n';
            assert!(!text.contains(is_unprintable), "control character in {text:?}");
        }
    }
}

fn check_without_secret(result: &Result<Config, Problems>) {
    let text = match result {
        Ok(config) => format!("{config:?}"),
        Err(problems) => format!("{problems}\n{problems:?}"),
    };
    assert!(!text.contains(CANARY), "secret in {text}");
    // Some values are shown in lower case or escaped.
    assert!(!text.to_lowercase().contains(&CANARY.to_lowercase()), "secret in {text}");
    check(result);
}
