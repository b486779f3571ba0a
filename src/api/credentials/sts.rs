//! Token service (STS, version 2015-04-01): issues the key of a role.
//!
//! Both of its actions are a POST with all parameters in the body, so that no URL contains a key id or a token.

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Duration;

use super::{
    Credentials, CredentialsError, FetchResult, context::SourceContext, http::ServiceRequest,
    service_response,
};
use crate::api::{
    redact::Redactor,
    sign::{self, SigningContext, SigningKey},
};

const VERSION: &str = "2015-04-01";

/// Default session name.
const DEFAULT_SESSION_NAME: &str = "alikafka-exporter";

/// Default lifetime of keys.
const DEFAULT_DURATION: Duration = Duration::from_secs(3600);

/// Role to assume.
#[derive(Debug, Clone)]
pub struct AssumedRole {
    /// ARN of the role.
    pub arn: String,
    /// Session name in the cloud's audit log.
    pub session_name: String,
    /// External id that the owner of the role requires.
    pub external_id: Option<SecretString>,
    /// Policy that restricts the permissions of the role.
    pub policy: Option<String>,
    /// Lifetime of each key.
    pub duration: Duration,
    /// Region of the token service; `None` for the one in the environment variable or, without it, the central
    /// service.
    pub sts_region: Option<String>,
    /// Whether to use the endpoint of the token service within the VPC.
    pub sts_in_vpc: bool,
}

impl AssumedRole {
    /// Returns a role with defaults.
    #[must_use]
    pub fn new(arn: String, session_name: Option<String>) -> Self {
        Self {
            arn,
            session_name: session_name.unwrap_or_else(|| DEFAULT_SESSION_NAME.to_owned()),
            external_id: None,
            policy: None,
            duration: DEFAULT_DURATION,
            sts_region: None,
            sts_in_vpc: false,
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = vec![
            ("RoleArn", self.arn.clone()),
            ("RoleSessionName", self.session_name.clone()),
            ("DurationSeconds", self.duration.as_secs().to_string()),
        ];
        parameters.extend(self.external_id.as_ref().map(|id| ("ExternalId", id.expose_secret().to_owned())));
        parameters.extend(self.policy.clone().map(|policy| ("Policy", policy)));
        parameters
    }
}

/// Assumes a role with a key.
pub(super) async fn assume_role(
    context: &SourceContext,
    key: &Credentials,
    role: &AssumedRole,
    source: &str,
) -> FetchResult {
    let (timestamp, nonce) = timestamp_and_nonce(context)?;
    let signing = SigningContext { timestamp: &timestamp, nonce: &nonce };
    let form = sign::v1_form(VERSION, "AssumeRole", &role.parameters(), key.key(), signing);
    let external_id = role.external_id.as_ref().map_or("", ExposeSecret::expose_secret);
    let redactor = Redactor::for_key(key.key(), &sign::signature_in(&form)).with_secret(external_id);
    send(context, form, source, &redactor, role).await
}

/// Assumes a role with an OIDC token. The request is not signed.
pub(super) async fn assume_role_with_oidc(
    context: &SourceContext,
    provider_arn: &str,
    token: &SecretString,
    role: &AssumedRole,
    source: &str,
) -> FetchResult {
    let (timestamp, nonce) = timestamp_and_nonce(context)?;
    let token = token.expose_secret().trim();
    let role_parameters = role.parameters();
    let parameters = [
        ("Action", "AssumeRoleWithOIDC"),
        ("Format", "JSON"),
        ("OIDCProviderArn", provider_arn),
        ("OIDCToken", token),
        ("SignatureNonce", &nonce),
        ("Timestamp", &timestamp),
        ("Version", VERSION),
    ];
    let role_parameters = role_parameters.iter().map(|(name, value)| (*name, value.as_str()));
    let form = sign::canonical_query(parameters.into_iter().chain(role_parameters));
    let redactor = Redactor::for_key(SigningKey { id: "", secret: token, token: None }, "");
    send(context, form, source, &redactor, role).await
}

fn timestamp_and_nonce(context: &SourceContext) -> Result<(String, String), CredentialsError> {
    let bits = (context.settings.entropy)()
        .ok_or_else(|| CredentialsError::unusable("the system has no random bits for a nonce"))?;
    let time = jiff::Timestamp::from_second(context.signing_millis() / 1000)
        .map_err(|_| CredentialsError::unusable("the local time is out of range"))?;
    Ok((time.to_string(), format!("{bits:032x}")))
}

async fn send(
    context: &SourceContext,
    form: String,
    source: &str,
    redactor: &Redactor,
    role: &AssumedRole,
) -> FetchResult {
    let url = context.sts_url(role.sts_region.as_deref(), role.sts_in_vpc)?;
    let request = ServiceRequest { method: Method::POST, form: Some(form), ..ServiceRequest::get(url) };
    let response = context.services.send(request).await?;
    context.update_clock_correction(&response);
    let result = service_response::read_sts_response(context, &response, source, redactor);
    result.map_err(|error| match error {
        CredentialsError::Unusable(reason) => {
            CredentialsError::Unusable(format!("{reason}, for the role {}", role.arn))
        }
        other => other,
    })
}
