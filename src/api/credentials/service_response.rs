//! The one reader of what services that hand out keys say.
//!
//! Owns: the fields of a key, how long it lasts by the clock of whoever gave it, and refusals in words fit for a
//! log. Refuses: half a key, and a body in an error.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use tokio::time::Duration;

use super::{
    Credentials, CredentialsError, FetchedCredentials, context::SourceContext, http::ServiceResponse,
};
use crate::{api::redact::Redactor, model::UnixMillis};

/// A text that is wiped when it has been used.
pub(super) struct SecretField(pub(super) SecretString);

impl<'de> Deserialize<'de> for SecretField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyFields {
    access_key_id: String,
    access_key_secret: SecretField,
    security_token: SecretField,
    expiration: String,
}

/// What the token service says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StsResponse {
    credentials: KeyFields,
}

/// What the metadata service and other addresses say; the key's fields stand beside it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResponseCode {
    code: Option<String>,
}

/// A refusal of the token service.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceError {
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
}

/// A key of the token service.
pub(super) fn read_sts_response(
    services: &SourceContext,
    answer: &ServiceResponse,
    source: &str,
    quote: &Redactor,
) -> Result<FetchedCredentials, CredentialsError> {
    if answer.status != 200 {
        return Err(refused(answer, "the token service", quote));
    }
    let read: StsResponse = read(answer, "the token service")?;
    fetched(services, answer, &read.credentials, source)
}

/// A key that an address gives to whoever asks there.
pub(super) fn read_key_response(
    services: &SourceContext,
    answer: &ServiceResponse,
    whose: &str,
    source: &str,
    quote: &Redactor,
) -> Result<FetchedCredentials, CredentialsError> {
    if answer.status != 200 {
        return Err(refused(answer, whose, quote));
    }
    let verdict: ResponseCode = read(answer, whose)?;
    if let Some(code) = verdict.code.filter(|code| code != "Success") {
        let code = quote.text(&code);
        return Err(CredentialsError::Unusable(format!("{whose} has no key: {code}")));
    }
    fetched(services, answer, &read(answer, whose)?, source)
}

fn read<'a, T: Deserialize<'a>>(answer: &'a ServiceResponse, whose: &str) -> Result<T, CredentialsError> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        // Its own words may quote a value, so only the place is told.
        let what = match error.classify() {
            serde_json::error::Category::Data => "lacks a part of a key, or has it in another form",
            _ => "is not JSON",
        };
        CredentialsError::Unusable(format!("the answer of {whose} {what}"))
    })
}

fn fetched(
    services: &SourceContext,
    answer: &ServiceResponse,
    key: &KeyFields,
    source: &str,
) -> Result<FetchedCredentials, CredentialsError> {
    let SecretField(secret) = &key.access_key_secret;
    let SecretField(token) = &key.security_token;
    let mut credentials =
        Credentials::new(&key.access_key_id, secret.expose_secret(), Some(token.expose_secret()))?;
    let ends = key.expiration.trim().parse::<jiff::Timestamp>().map_err(|_| {
        CredentialsError::Unusable("the end of a key is not a time such as 2024-01-02T03:04:05Z".to_owned())
    })?;
    let ends = ends.as_millisecond();
    credentials.expires_at = UnixMillis::new(ends);
    let remaining = ends.saturating_sub(services.millis_of(answer));
    let remaining = Duration::from_millis(u64::try_from(remaining).unwrap_or_default());
    Ok(FetchedCredentials { credentials, remaining: Some(remaining), source: source.to_owned() })
}

/// Why a service gave no key, in its own words where it has some.
fn refused(answer: &ServiceResponse, whose: &str, quote: &Redactor) -> CredentialsError {
    let said: ServiceError = serde_json::from_slice(&answer.body).unwrap_or_default();
    let mut text = format!("{whose} refuses (HTTP {})", answer.status);
    for part in [said.code, said.message].into_iter().flatten() {
        text.push_str(": ");
        text.push_str(&quote.text(&part));
    }
    if let Some(id) = said.request_id {
        text.push_str(&format!(" (request id {})", quote.text(&id)));
    }
    CredentialsError::Unusable(text)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{
        super::context::tests::{NOW, setup},
        *,
    };
    use crate::api::sign::SigningKey;

    fn answer(status: u16, date_millis: Option<i64>, body: &str) -> ServiceResponse {
        ServiceResponse { status, date_millis, body: Zeroizing::new(body.as_bytes().to_vec()) }
    }

    const KEY: &str = r#""AccessKeyId":"STS.CanaryId1234","AccessKeySecret":"Canary\/Secret","SecurityToken":"CanaryToken""#;

    fn address(answer: &ServiceResponse) -> Result<FetchedCredentials, CredentialsError> {
        read_key_response(
            &SourceContext::new(&setup(&[])).unwrap(),
            answer,
            "the service",
            "x",
            &Redactor::default(),
        )
    }

    #[test]
    fn a_key_lasts_by_the_clock_of_whoever_gave_it() {
        let body = format!(r#"{{"Code":"Success",{KEY},"Expiration":"2024-01-02T04:04:05Z"}}"#);
        let of = |date| address(&answer(200, date, &body)).unwrap();
        let fetched = of(None);
        assert_eq!(fetched.remaining, Some(Duration::from_secs(3600)));
        assert_eq!(fetched.credentials.key().secret, "Canary/Secret");
        assert_eq!(fetched.credentials.key().token, Some("CanaryToken"));
        assert_eq!(fetched.credentials.expires_at, UnixMillis::new(NOW + 3_600_000));
        assert_eq!(of(Some(NOW + 600_000)).remaining, Some(Duration::from_secs(2999)));
        assert_eq!(of(Some(NOW + 3_600_001)).remaining, Some(Duration::ZERO));
    }

    #[test]
    fn the_token_service_wraps_its_key() {
        let body =
            format!(r#"{{"RequestId":"R","Credentials":{{{KEY},"Expiration":"2024-01-02T04:04:05Z"}}}}"#);
        let services = SourceContext::new(&setup(&[])).unwrap();
        let fetched =
            read_sts_response(&services, &answer(200, None, &body), "x", &Redactor::default()).unwrap();
        assert_eq!(fetched.credentials.access_key_id, "STS.CanaryId1234");
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let end = r#""Expiration":"2024-01-02T04:04:05Z""#;
        for body in [
            "CanaryBody",
            "{}",
            "[]",
            &format!("{{{KEY}}}"),
            &format!(r#"{{{KEY},"Expiration":"Canary"}}"#),
            &format!(r#"{{"Code":"Failed",{KEY},{end}}}"#),
            &format!(r#"{{"AccessKeyId":"STS.Canary","AccessKeySecret":"Canary",{end}}}"#),
            &format!(
                r#"{{"AccessKeyId":"STS.Canary","AccessKeySecret":["Canary"],"SecurityToken":"Canary",{end}}}"#
            ),
            &format!(
                r#"{{"AccessKeyId":"STS.Canary","AccessKeySecret":"Canary two","SecurityToken":"C",{end}}}"#
            ),
        ] {
            let error = address(&answer(200, None, body)).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("Canary"), "{body}: {error}");
        }
    }

    #[test]
    fn a_refusal_is_told_without_what_it_echoes() {
        let key = SigningKey { id: "LTAICanary", secret: "CanarySecret", token: None };
        let body = r#"{"Code":"NoPermission","Message":"LTAICanary may not\nassume it","RequestId":"R-1"}"#;
        let services = SourceContext::new(&setup(&[])).unwrap();
        let error = read_sts_response(&services, &answer(403, None, body), "x", &Redactor::without(key, "s"))
            .map(|_| ());
        assert_eq!(
            error.unwrap_err().to_string(),
            "unusable credentials: the token service refuses (HTTP 403): NoPermission: *** may not\\nassume it \
             (request id R-1)"
        );
        let page = address(&answer(502, None, "<html>CanaryPage</html>")).map(|_| ()).unwrap_err();
        assert_eq!(page.to_string(), "unusable credentials: the service refuses (HTTP 502)");
    }
}
