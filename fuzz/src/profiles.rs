//! The files of the vendor's tools that hold keys: the bytes are the text of one, and then the rest of one
//! that holds a key of this module's own. Neither what is read nor what is wrong tells a part of the key.

use alikafka_exporter::api::decode::{cli_profile, ini_profile};

/// Stands in each part of the key, and nowhere else.
const CANARY: &str = "cAnArY";

pub fn profiles(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for read in [cli_profile, ini_profile] {
        // Either is words; only a panic would be wrong.
        let _ = read(text);
    }
    if text.to_lowercase().contains(&CANARY.to_lowercase()) {
        return;
    }
    let key = format!(
        r#"{{"profiles": [{{"name": "default", "access_key_id": "{CANARY}-id", "access_key_secret": "{CANARY}+s",
        "sts_token": "{CANARY}/t=", "external_id": "{CANARY}-x", "#
    );
    for end in ["", "}]}"] {
        secret(cli_profile(&format!("{key}{text}{end}")));
    }
    let key = format!("[default]\naccess_key_id = {CANARY}-id\naccess_key_secret = {CANARY}+s\n");
    secret(ini_profile(&format!("{key}{text}")));
    secret(ini_profile(&format!("{text}\n{key}")));
}

fn secret(read: Result<String, String>) {
    let said = read.unwrap_or_else(|why| why);
    assert!(!said.to_lowercase().contains(&CANARY.to_lowercase()), "a secret is told: {said}");
}
