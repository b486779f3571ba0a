//! The token service (STS, version 2015-04-01): the key of a role for those who may assume it.
//!
//! Owns: its two actions, each a POST with everything in the body, so that no URL holds a key id or a token.

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Duration;

use super::{
    BoxFuture, CredentialSource, Credentials, CredentialsError, FetchedCredentials, context::SourceContext,
    http::ServiceRequest, service_response,
};
use crate::api::{
    redact::Redactor,
    sign::{self, SigningContext, SigningKey},
};
use std::sync::Arc;

const VERSION: &str = "2015-04-01";
const ASSUME: &str = "AssumeRole";
const ASSUME_WITH_OIDC: &str = "AssumeRoleWithOIDC";

/// What a session is called where nobody says.
pub(super) const SESSION_NAME: &str = "alikafka-exporter";

/// How long keys live where nobody says.
pub(super) const DURATION: Duration = Duration::from_secs(3600);

/// A role that is assumed.
#[derive(Debug, Clone)]
pub struct AssumedRole {
    /// Its ARN.
    pub arn: String,
    /// What the session is called in the cloud's audit log.
    pub session_name: String,
    /// What its owner agreed on with whoever assumes it.
    pub external_id: Option<SecretString>,
    /// A policy that narrows what it may do.
    pub policy: Option<String>,
    /// How long each key lives.
    pub duration: Duration,
}

impl AssumedRole {
    /// A role of which only the ARN is known.
    pub(super) fn new(arn: String, session_name: Option<String>) -> Self {
        Self {
            arn,
            session_name: session_name.unwrap_or_else(|| SESSION_NAME.to_owned()),
            external_id: None,
            policy: None,
            duration: DURATION,
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("RoleArn", self.arn.clone()),
            ("RoleSessionName", self.session_name.clone()),
            ("DurationSeconds", self.duration.as_secs().to_string()),
        ];
        all.extend(self.external_id.as_ref().map(|id| ("ExternalId", id.expose_secret().to_owned())));
        all.extend(self.policy.clone().map(|policy| ("Policy", policy)));
        all
    }
}

/// Which token service is asked, where the configuration does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StsLocation {
    pub(super) region: Option<String>,
    pub(super) in_vpc: bool,
}

/// The key of a role, for the key of another source.
pub(super) struct AssumeRoleSource {
    pub(super) services: Arc<SourceContext>,
    pub(super) base: Box<dyn CredentialSource>,
    pub(super) role: AssumedRole,
}

impl CredentialSource for AssumeRoleSource {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>> {
        Box::pin(async {
            // Asked anew: a key that was held would sooner or later be refused.
            let base = self.base.fetch().await?;
            let source = format!("{}+assume_role", base.source);
            assume(&self.services, &base.credentials, &self.role, &StsLocation::default(), &source).await
        })
    }
}

/// Assumes a role with a key.
pub(super) async fn assume(
    services: &SourceContext,
    key: &Credentials,
    role: &AssumedRole,
    place: &StsLocation,
    source: &str,
) -> Result<FetchedCredentials, CredentialsError> {
    let (timestamp, nonce) = moment(services)?;
    let moment = SigningContext { timestamp: &timestamp, nonce: &nonce };
    let form = sign::v1_form_of(VERSION, ASSUME, &role.parameters(), key.key(), moment);
    let external_id = role.external_id.as_ref().map_or("", ExposeSecret::expose_secret);
    let quote = Redactor::without(key.key(), &sign::signature_in(&form)).and(external_id);
    ask(services, form, place, source, &quote, role).await
}

/// Assumes a role with a token that tells who this is. Nothing is signed: the token is all there is.
pub(super) async fn assume_with_oidc(
    services: &SourceContext,
    provider_arn: &str,
    token: &SecretString,
    role: &AssumedRole,
    place: &StsLocation,
    source: &str,
) -> Result<FetchedCredentials, CredentialsError> {
    let (timestamp, nonce) = moment(services)?;
    let token = token.expose_secret().trim();
    let parameters = role.parameters();
    let common = [
        ("Action", ASSUME_WITH_OIDC),
        ("Format", "JSON"),
        ("OIDCProviderArn", provider_arn),
        ("OIDCToken", token),
        ("SignatureNonce", &nonce),
        ("Timestamp", &timestamp),
        ("Version", VERSION),
    ];
    let of_role = parameters.iter().map(|(name, value)| (*name, value.as_str()));
    let form = sign::canonical_query(common.into_iter().chain(of_role));
    let quote = Redactor::without(SigningKey { id: "", secret: token, token: None }, "");
    ask(services, form, place, source, &quote, role).await
}

fn moment(services: &SourceContext) -> Result<(String, String), CredentialsError> {
    let unusable = |what: &str| CredentialsError::Unusable(what.to_owned());
    let bits = (services.entropy)().ok_or_else(|| unusable("the system has no random bits for a nonce"))?;
    let time = jiff::Timestamp::from_second(services.signing_millis() / 1000)
        .map_err(|_| unusable("the clock is beyond the calendar"))?;
    Ok((time.to_string(), format!("{bits:032x}")))
}

async fn ask(
    services: &SourceContext,
    form: String,
    place: &StsLocation,
    source: &str,
    quote: &Redactor,
    role: &AssumedRole,
) -> Result<FetchedCredentials, CredentialsError> {
    let url = services.sts(place.region.as_deref(), place.in_vpc)?;
    let question = ServiceRequest { method: Method::POST, url, headers: &[], form: Some(form) };
    let answer = services.web.ask(question).await?;
    services.note_clock(&answer);
    service_response::read_sts_response(services, &answer, source, quote).map_err(|error| match error {
        CredentialsError::Unusable(why) => {
            CredentialsError::Unusable(format!("{why}, for the role {}", role.arn))
        }
        other => other,
    })
}
