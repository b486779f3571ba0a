//! Redaction of server texts for error messages: masks secrets, truncates, and escapes control characters.
//!
//! Clouds echo what they received: the key id, the signature, the string to sign. None of it may reach a log.

use std::sync::Arc;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};

use super::sign::{self, SigningKey};

/// Maximum length of a redacted text, in characters.
const MAX_CHARS: usize = 200;

/// Maximum length of a request id. Those of the cloud have 36 characters.
const MAX_REQUEST_ID: usize = 64;

/// Minimum length of a secret. Masking shorter ones would make every text unreadable.
const MIN_SECRET: usize = 4;

/// Starts of an echo of the signed text.
const ECHOES: [&str; 5] =
    ["stringtosign", "string to sign", "string_to_sign", "canonicalrequest", "canonical request"];

/// Redacts texts of the server: masks the secrets of one call.
#[derive(Default)]
pub(super) struct Redactor {
    /// In lower case, because servers change the case of host names and hex.
    secrets: Vec<String>,
}

impl Redactor {
    /// Returns a redactor for a key and the signature that it made.
    pub(super) fn for_key(key: SigningKey<'_>, signature: &str) -> Self {
        let secrets = [Some(key.id), Some(key.secret), key.token, Some(signature)];
        secrets.into_iter().flatten().fold(Self::default(), Self::with_secret)
    }

    /// Adds a secret.
    pub(super) fn with_secret(mut self, secret: &str) -> Self {
        if secret.len() < MIN_SECRET {
            return self;
        }
        let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
        let encoded = sign::encode(secret);
        let base64 = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
        self.secrets.extend(base64.map(|alphabet| alphabet.encode(secret).to_ascii_lowercase()));
        // Values in a string to sign are encoded twice.
        let forms = [sign::encode(&encoded), encoded, hex, secret.to_owned()];
        self.secrets.extend(forms.map(|form| form.to_ascii_lowercase()));
        // Longest first, so that a secret that contains another one is masked completely.
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.secrets.dedup();
        self
    }

    /// Returns a request id; `None` if it is too long, has other characters than letters, digits and dashes, or
    /// contains a secret.
    pub(super) fn request_id(&self, text: &str) -> Option<Arc<str>> {
        let id = self.redact(text);
        let is_valid = (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        is_valid.then(|| id.into())
    }

    /// Returns the text without echoes, masked, escaped and truncated.
    pub(super) fn redact(&self, text: &str) -> String {
        let lower = text.to_ascii_lowercase();
        let end = ECHOES.iter().filter_map(|echo| lower.find(echo)).min().unwrap_or(text.len());
        let mut text = text.get(..end).unwrap_or_default().to_owned();
        for secret in &self.secrets {
            text = mask(&text, secret);
        }
        let mut redacted = String::new();
        for (index, c) in text.trim().chars().enumerate() {
            if index == MAX_CHARS {
                redacted.push_str("...");
                break;
            }
            if c.is_control() || is_invisible(c) {
                redacted.extend(c.escape_default());
            } else {
                redacted.push(c);
            }
        }
        redacted
    }
}

/// Masks each occurrence of a lower-case secret, ignoring ASCII case.
fn mask(text: &str, secret: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut masked = String::new();
    let mut from = 0;
    for (at, found) in lower.match_indices(secret) {
        // ASCII lower case keeps all byte positions.
        masked.extend([text.get(from..at).unwrap_or_default(), "***"]);
        from = at + found.len();
    }
    masked.push_str(text.get(from..).unwrap_or_default());
    masked
}

/// Whether a character changes how a line is displayed: separators and marks of text direction.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SigningKey<'static> =
        SigningKey { id: "LTAICanaryId", secret: "CanarySecret", token: Some("Canary/Token+=") };

    #[test]
    fn secrets_are_masked_in_every_encoding() {
        let redactor = Redactor::for_key(KEY, "CanarySignature=");
        let text = redactor.redact(
            "id LTAICanaryId host ltaicanaryid secret CanarySecret token Canary/Token+= Canary%2FToken%2B%3D signature \
             CanarySignature= hex 43616e617279536563726574 base64 Q2FuYXJ5U2VjcmV0 end",
        );
        assert_eq!(text, "id *** host *** secret *** token *** *** signature *** hex *** base64 *** end");
    }

    #[test]
    fn secrets_are_masked_without_padding_and_encoded_twice() {
        let text = Redactor::for_key(KEY, "s")
            .redact("Q2FuYXJ5L1Rva2VuKz0 Q2FuYXJ5L1Rva2VuKz0= Canary%252FToken%252B%253D");
        assert_eq!(text, "*** *** ***");
        let key = SigningKey { id: "LTAICanaryId", secret: "Canary~~?>Secret", token: None };
        assert_eq!(Redactor::for_key(key, "s").redact("Q2FuYXJ5fn4_PlNlY3JldA"), "***");
    }

    #[test]
    fn the_echo_of_the_signed_text_is_omitted() {
        let message = "Specified signature is not matched. server string to sign is:POST&%2F&AccessKeyId%3DX";
        assert_eq!(Redactor::default().redact(message), "Specified signature is not matched. server");
        assert_eq!(Redactor::default().redact("no match, StringToSign: POST"), "no match,");
    }

    #[test]
    fn the_text_is_one_line_of_limited_length() {
        assert_eq!(Redactor::default().redact("a\nb\u{1b}[31m\u{202e}"), "a\\nb\\u{1b}[31m\\u{202e}");
        let long = Redactor::default().redact(&"é".repeat(500));
        assert_eq!(long.chars().count(), MAX_CHARS + 3);
    }

    #[test]
    fn a_request_id_is_short_and_has_letters_digits_and_dashes_only() {
        let redactor = Redactor::for_key(KEY, "CanarySignature=");
        let id = "252820E1-A2E6-45F2-B4C9-1056B8CE0001";
        assert_eq!(redactor.request_id(id).as_deref(), Some(id));
        assert_eq!(redactor.request_id(&format!(" {id}\n")).as_deref(), Some(id));
        for invalid in
            ["", " ", "a b", "<b>", "ä", "1056B8CE****", "xLTAICanaryIdx", "canarysecret", "a\u{202e}b"]
        {
            assert_eq!(redactor.request_id(invalid), None, "{invalid}");
        }
        assert_eq!(redactor.request_id(&"a".repeat(64)).map(|id| id.len()), Some(64));
        assert_eq!(redactor.request_id(&"a".repeat(65)), None);
    }

    #[test]
    fn a_secret_at_the_maximum_length_is_not_shown_in_part() {
        let text = format!("{}CanarySecret", "x".repeat(MAX_CHARS - 4));
        assert!(!Redactor::for_key(KEY, "s").redact(&text).contains("Can"));
    }
}
