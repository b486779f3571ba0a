//! Responses of services that issue keys.
//!
//! Owns: the fields of a key, its remaining lifetime by the clock of the issuer, and error responses, redacted.
//! Rejects: incomplete keys. Errors never contain the body.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use tokio::time::Duration;

use super::{
    Credentials, CredentialsError, FetchResult, FetchedCredentials, context::SourceContext,
    http::ServiceResponse,
};
use crate::{api::redact::Redactor, model::UnixMillis};

/// Text that is wiped from memory after use.
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

/// Response of the token service.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StsResponse {
    credentials: KeyFields,
}

/// Status of a response of any service.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceStatus {
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
}

/// Reads a key from a response of the token service.
pub(super) fn read_sts_response(
    context: &SourceContext,
    response: &ServiceResponse,
    source: &str,
    redactor: &Redactor,
) -> FetchResult {
    let service = "the token service";
    check_status(response, service, redactor)?;
    let body: StsResponse = parse(response, service)?;
    read_key(context, response, &body.credentials, source)
}

/// Reads a key from a response of the metadata service or of a URL that issues keys.
pub(super) fn read_key_response(
    context: &SourceContext,
    response: &ServiceResponse,
    service: &str,
    source: &str,
    redactor: &Redactor,
) -> FetchResult {
    check_status(response, service, redactor)?;
    let status: ServiceStatus = parse(response, service)?;
    if let Some(code) = status.code.filter(|code| code != "Success") {
        let code = redactor.redact(&code);
        return Err(CredentialsError::unusable(format!("{service} has no key: {code}")));
    }
    read_key(context, response, &parse(response, service)?, source)
}

fn check_status(
    response: &ServiceResponse,
    service: &str,
    redactor: &Redactor,
) -> Result<(), CredentialsError> {
    if response.status == 200 {
        return Ok(());
    }
    let status: ServiceStatus = serde_json::from_slice(&response.body).unwrap_or_default();
    let mut reason = format!("{service} rejects the request (HTTP {})", response.status);
    for part in [status.code, status.message].into_iter().flatten() {
        reason.push_str(": ");
        reason.push_str(&redactor.redact(&part));
    }
    if let Some(id) = status.request_id {
        reason.push_str(&format!(" (request id {})", redactor.redact(&id)));
    }
    Err(CredentialsError::Unusable(reason))
}

fn parse<'a, T: Deserialize<'a>>(
    response: &'a ServiceResponse,
    service: &str,
) -> Result<T, CredentialsError> {
    serde_json::from_slice(&response.body).map_err(|error| {
        // The text of the error may contain a value.
        let problem = match error.classify() {
            serde_json::error::Category::Data => "lacks a part of the key, or has it in another form",
            _ => "is not JSON",
        };
        CredentialsError::unusable(format!("the response of {service} {problem}"))
    })
}

fn read_key(
    context: &SourceContext,
    response: &ServiceResponse,
    key: &KeyFields,
    source: &str,
) -> FetchResult {
    let token = key.security_token.0.expose_secret();
    let mut credentials =
        Credentials::new(&key.access_key_id, key.access_key_secret.0.expose_secret(), Some(token))?;
    let expiration = key.expiration.trim().parse::<jiff::Timestamp>().map_err(|_| {
        CredentialsError::unusable("the expiration of the key is not a time such as 2024-01-02T03:04:05Z")
    })?;
    let expiration = expiration.as_millisecond();
    credentials.expires_at = UnixMillis::new(expiration);
    let remaining = expiration.saturating_sub(context.millis_of(response));
    let remaining = Duration::from_millis(u64::try_from(remaining).unwrap_or_default());
    Ok(FetchedCredentials { credentials, remaining: Some(remaining), source: source.to_owned() })
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{
        super::context::tests::{NOW, settings},
        *,
    };
    use crate::api::sign::SigningKey;

    fn response(status: u16, date_millis: Option<i64>, body: &str) -> ServiceResponse {
        ServiceResponse { status, date_millis, body: Zeroizing::new(body.as_bytes().to_vec()) }
    }

    const KEY: &str = r#""AccessKeyId":"STS.CanaryId1234","AccessKeySecret":"Canary\/Secret","SecurityToken":"CanaryToken""#;

    fn read(response: &ServiceResponse) -> FetchResult {
        let context = SourceContext::new(&settings(&[])).unwrap();
        read_key_response(&context, response, "the service", "x", &Redactor::default())
    }

    #[test]
    fn the_lifetime_of_a_key_is_by_the_clock_of_its_issuer() {
        let body = format!(r#"{{"Code":"Success",{KEY},"Expiration":"2024-01-02T04:04:05Z"}}"#);
        let read_at = |date| read(&response(200, date, &body)).unwrap();
        let fetched = read_at(None);
        assert_eq!(fetched.remaining, Some(Duration::from_secs(3600)));
        assert_eq!(fetched.credentials.key().secret, "Canary/Secret");
        assert_eq!(fetched.credentials.key().token, Some("CanaryToken"));
        assert_eq!(fetched.credentials.expires_at, UnixMillis::new(NOW + 3_600_000));
        assert_eq!(read_at(Some(NOW + 600_000)).remaining, Some(Duration::from_secs(2999)));
        assert_eq!(read_at(Some(NOW + 3_600_001)).remaining, Some(Duration::ZERO));
    }

    #[test]
    fn the_token_service_wraps_its_key() {
        let body =
            format!(r#"{{"RequestId":"R","Credentials":{{{KEY},"Expiration":"2024-01-02T04:04:05Z"}}}}"#);
        let context = SourceContext::new(&settings(&[])).unwrap();
        let fetched = read_sts_response(&context, &response(200, None, &body), "x", &Redactor::default());
        assert_eq!(fetched.unwrap().credentials.access_key_id, "STS.CanaryId1234");
    }

    #[test]
    fn an_invalid_key_is_rejected_without_being_shown() {
        let expiration = r#""Expiration":"2024-01-02T04:04:05Z""#;
        for body in [
            "CanaryBody",
            "{}",
            "[]",
            &format!("{{{KEY}}}"),
            &format!(r#"{{{KEY},"Expiration":"Canary"}}"#),
            &format!(r#"{{"Code":"Failed",{KEY},{expiration}}}"#),
            &format!(r#"{{"AccessKeyId":"STS.Canary","AccessKeySecret":"Canary",{expiration}}}"#),
            &format!(
                r#"{{"AccessKeyId":"STS.Canary","AccessKeySecret":["Canary"],"SecurityToken":"Canary",{expiration}}}"#
            ),
            &format!(
                r#"{{"AccessKeyId":"STS.Canary","AccessKeySecret":"Canary two","SecurityToken":"C",{expiration}}}"#
            ),
        ] {
            let error = read(&response(200, None, body)).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("Canary"), "{body}: {error}");
        }
    }

    #[test]
    fn an_error_response_is_redacted() {
        let key = SigningKey { id: "LTAICanary", secret: "CanarySecret", token: None };
        let body = r#"{"Code":"NoPermission","Message":"LTAICanary may not\nassume it","RequestId":"R-1"}"#;
        let context = SourceContext::new(&settings(&[])).unwrap();
        let redactor = Redactor::for_key(key, "s");
        let error = read_sts_response(&context, &response(403, None, body), "x", &redactor).map(|_| ());
        assert_eq!(
            error.unwrap_err().to_string(),
            "unusable credentials: the token service rejects the request (HTTP 403): NoPermission: *** may \
             not\\nassume it (request id R-1)"
        );
        let error = read(&response(502, None, "<html>CanaryPage</html>")).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "unusable credentials: the service rejects the request (HTTP 502)");
    }
}
