//! A configuration: the bytes are a file and, after a line `%%`, variables of the environment, one a line.
//!
//! Whatever is wrong is told without a secret. To know what is one, keys of this module's own are put
//! where secrets stand: into the file before the text and behind it, and into the environment.

use std::collections::BTreeMap;

use alikafka_exporter::config::{self, Config, Problems};

/// Stands in each secret, and nowhere else.
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
    secret(&config::parse(Some(("f.yml", &format!("{secrets}{file}"))), &environment));
    if file.lines().all(is_closed) {
        secret(&config::parse(Some(("f.yml", &format!("{file}\n{secrets}"))), &environment));
    }

    let mut environment = environment;
    for key in ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"] {
        environment.insert(format!("{PREFIX}CREDENTIALS__{key}"), format!("{CANARY}-{key}"));
    }
    environment.insert(format!("{PREFIX}PROXY"), format!("http://user:{CANARY}@127.0.0.1:3128"));
    secret(&config::parse(Some(("f.yml", file)), &environment));
}

/// Whether a line of block style surely ends with its end: what follows cannot become a part of it, as it
/// would of a quotation, a flow collection or a block of text.
fn is_closed(line: &str) -> bool {
    !line.contains(['"', '\'', '[', ']', '{', '}', '|', '>', '&', '*', '!', '?', '#', '%', '@', '`', '\r'])
}

fn check(result: &Result<Config, Problems>) {
    match result {
        Ok(config) => {
            assert!(!config.accounts.is_empty(), "nothing to read");
            let _ = format!("{config:?}");
        }
        Err(problems) => {
            assert!(!problems.list().is_empty(), "refused without a reason");
            for problem in problems.list() {
                assert!(!problem.what.is_empty() && !problem.instead.is_empty(), "{problem:?}");
            }
            let said = problems.to_string();
            let is_odd = |c: char| c.is_control() && c != '\n';
            assert!(!said.contains(is_odd), "a control character is told: {said:?}");
        }
    }
}

fn secret(result: &Result<Config, Problems>) {
    let said = match result {
        Ok(config) => format!("{config:?}"),
        Err(problems) => format!("{problems}\n{problems:?}"),
    };
    assert!(!said.contains(CANARY), "a secret is told: {said}");
    // Some texts are shown in lower case or escaped.
    assert!(!said.to_lowercase().contains(&CANARY.to_lowercase()), "a secret is told: {said}");
    check(result);
}
