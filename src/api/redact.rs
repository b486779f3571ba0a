//! Text of the server made fit for an error: secrets masked, cut, on one line.
//!
//! Clouds echo what they were sent: the key id, the signature, the whole string to sign. None of it may
//! reach a log, and no control character either.

use std::sync::Arc;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};

use super::sign::{self, SigningKey};

/// Longest quotation, in characters.
const MAX_CHARS: usize = 200;

/// Longest request id; those of the cloud have 36 characters.
const MAX_REQUEST_ID: usize = 64;

/// Secrets shorter than this are not looked for: they would tear every text apart.
const MIN_SECRET: usize = 4;

/// Where an echo of what was signed begins.
const ECHOES: [&str; 5] =
    ["stringtosign", "string to sign", "string_to_sign", "canonicalrequest", "canonical request"];

/// Quotes the server without what one call must keep secret.
#[derive(Default)]
pub(super) struct Redactor {
    /// In lower case: host names come back so, and so may hex.
    secrets: Vec<String>,
}

impl Redactor {
    /// Masks the key, and the signature that was sent with it.
    pub(super) fn without(key: SigningKey<'_>, signature: &str) -> Self {
        let secrets = [Some(key.id), Some(key.secret), key.token, Some(signature)];
        secrets.into_iter().flatten().fold(Self::default(), Self::and)
    }

    /// Masks one more.
    pub(super) fn and(mut self, secret: &str) -> Self {
        if secret.len() < MIN_SECRET {
            return self;
        }
        let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
        let encoded = sign::encode(secret);
        let base64 = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
        self.secrets.extend(base64.map(|alphabet| alphabet.encode(secret).to_ascii_lowercase()));
        // A string to sign holds values that were encoded twice.
        let forms = [sign::encode(&encoded), encoded, hex, secret.to_owned()];
        self.secrets.extend(forms.map(|form| form.to_ascii_lowercase()));
        // The longest first, so that one that contains another is masked whole.
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.secrets.dedup();
        self
    }

    /// A request id, if it is one: short, of letters, digits and dashes. One that holds a secret is none.
    pub(super) fn request_id(&self, told: &str) -> Option<Arc<str>> {
        let id = self.text(told);
        let is_one = (1..=MAX_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        is_one.then(|| id.into())
    }

    /// The text, masked, without echoes, escaped and cut.
    pub(super) fn text(&self, text: &str) -> String {
        let lower = text.to_ascii_lowercase();
        let end = ECHOES.iter().filter_map(|echo| lower.find(echo)).min().unwrap_or(text.len());
        let mut text = text.get(..end).unwrap_or_default().to_owned();
        for secret in &self.secrets {
            text = mask(&text, secret);
        }
        let mut quoted = String::new();
        for (index, c) in text.trim().chars().enumerate() {
            if index == MAX_CHARS {
                quoted.push_str("...");
                break;
            }
            if c.is_control() || is_invisible(c) { quoted.extend(c.escape_default()) } else { quoted.push(c) }
        }
        quoted
    }
}

/// The text with each occurrence of a lower-case secret masked, however it is capitalised.
fn mask(text: &str, secret: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut masked = String::new();
    let mut from = 0;
    for (at, found) in lower.match_indices(secret) {
        // Lowering ASCII keeps every byte in its place.
        masked.extend([text.get(from..at).unwrap_or_default(), "***"]);
        from = at + found.len();
    }
    masked.push_str(text.get(from..).unwrap_or_default());
    masked
}

/// Characters that make a line read otherwise than it is: separators and the marks of direction.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SigningKey<'static> =
        SigningKey { id: "LTAICanaryId", secret: "CanarySecret", token: Some("Canary/Token+=") };

    #[test]
    fn secrets_are_masked_in_every_form_in_which_they_may_come_back() {
        let quote = Redactor::without(KEY, "CanarySignature=");
        let text = quote.text(
            "id LTAICanaryId host ltaicanaryid secret CanarySecret token Canary/Token+= Canary%2FToken%2B%3D signature \
             CanarySignature= hex 43616e617279536563726574 base64 Q2FuYXJ5U2VjcmV0 end",
        );
        assert_eq!(text, "id *** host *** secret *** token *** *** signature *** hex *** base64 *** end");
    }

    #[test]
    fn secrets_are_masked_without_padding_and_encoded_as_a_string_to_sign_encodes_them() {
        let text = Redactor::without(KEY, "s")
            .text("Q2FuYXJ5L1Rva2VuKz0 Q2FuYXJ5L1Rva2VuKz0= Canary%252FToken%252B%253D");
        assert_eq!(text, "*** *** ***");
        let key = SigningKey { id: "LTAICanaryId", secret: "Canary~~?>Secret", token: None };
        assert_eq!(Redactor::without(key, "s").text("Q2FuYXJ5fn4_PlNlY3JldA"), "***");
    }

    #[test]
    fn what_the_server_says_it_signed_is_left_out() {
        let said = "Specified signature is not matched. server string to sign is:POST&%2F&AccessKeyId%3DX";
        assert_eq!(Redactor::default().text(said), "Specified signature is not matched. server");
        assert_eq!(Redactor::default().text("no match, StringToSign: POST"), "no match,");
    }

    #[test]
    fn the_quotation_is_one_line_of_bearable_length() {
        assert_eq!(Redactor::default().text("a\nb\u{1b}[31m\u{202e}"), "a\\nb\\u{1b}[31m\\u{202e}");
        let long = Redactor::default().text(&"é".repeat(500));
        assert_eq!(long.chars().count(), MAX_CHARS + 3);
    }

    #[test]
    fn a_request_id_is_short_and_of_letters_digits_and_dashes() {
        let quote = Redactor::without(KEY, "CanarySignature=");
        let id = "252820E1-A2E6-45F2-B4C9-1056B8CE0001";
        assert_eq!(quote.request_id(id).as_deref(), Some(id));
        assert_eq!(quote.request_id(&format!(" {id}\n")).as_deref(), Some(id));
        for none in
            ["", " ", "a b", "<b>", "ä", "1056B8CE****", "xLTAICanaryIdx", "canarysecret", "a\u{202e}b"]
        {
            assert_eq!(quote.request_id(none), None, "{none}");
        }
        assert_eq!(quote.request_id(&"a".repeat(64)).map(|id| id.len()), Some(64));
        assert_eq!(quote.request_id(&"a".repeat(65)), None);
    }

    #[test]
    fn a_secret_at_the_cut_is_not_shown_in_part() {
        let text = format!("{}CanarySecret", "x".repeat(MAX_CHARS - 4));
        assert!(!Redactor::without(KEY, "s").text(&text).contains("Can"));
    }
}
