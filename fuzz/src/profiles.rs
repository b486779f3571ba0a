//! Credential files of the vendor's tools. The bytes are the text of a file, then the rest of a file that starts with a
//! key of this module. Neither the parsed profile nor an error message may contain a part of the key.

use alikafka_exporter::api::decode::{cli_profile, ini_profile};

/// Part of each part of the key.
const CANARY: &str = "cAnArY";

pub fn profiles(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for read in [cli_profile, ini_profile] {
        // Any result is valid; only a panic is an error.
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
        check_without_secret(cli_profile(&format!("{key}{text}{end}")));
    }
    let key = format!("[default]\naccess_key_id = {CANARY}-id\naccess_key_secret = {CANARY}+s\n");
    check_without_secret(ini_profile(&format!("{key}{text}")));
    check_without_secret(ini_profile(&format!("{text}\n{key}")));
}

fn check_without_secret(result: Result<String, String>) {
    let text = result.unwrap_or_else(|error| error);
    assert!(!text.to_lowercase().contains(&CANARY.to_lowercase()), "secret in {text}");
}
