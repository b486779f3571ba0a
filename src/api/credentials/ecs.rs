//! The role of the machine, as its metadata service tells it.
//!
//! Owns: the mode with a token first, the one without if that fails and is not ruled out. Refuses: proxies,
//! and names of roles that would lead elsewhere.

use std::sync::Arc;

use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};

use super::{
    BoxFuture, CredentialSource, CredentialsError, FetchedCredentials,
    context::SourceContext,
    http::{ServiceRequest, ServiceResponse},
    service_response,
};
use crate::api::{redact::Redactor, sign::SigningKey};

const ROLE: &str = "ALIBABA_CLOUD_ECS_METADATA";
/// Rules out the metadata service, but where it is chosen by its type.
pub(super) const DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
const WITHOUT_TOKEN_DISABLED: &str = "ALIBABA_CLOUD_IMDSV1_DISABLED";

const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/ram/security-credentials/";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
const LIFETIME: (&str, &str) = ("x-aliyun-ecs-metadata-token-ttl-seconds", "21600");

/// How the service is called in errors.
const WHOSE: &str = "the metadata service";

/// The name of this source.
pub(super) const NAME: &str = "ecs_ram_role";

/// The role of the machine.
pub(super) struct EcsRoleSource {
    pub(super) services: Arc<SourceContext>,
    /// Its name; that of the variable, else asked for, where it is not told.
    pub(super) role: Option<String>,
}

impl CredentialSource for EcsRoleSource {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>> {
        Box::pin(fetch(&self.services, self.role.as_deref()))
    }
}

/// Its key. No role is a reason to look for one.
pub(super) async fn fetch(
    services: &SourceContext,
    role: Option<&str>,
) -> Result<FetchedCredentials, CredentialsError> {
    let may_go_without = !services.flag(WITHOUT_TOKEN_DISABLED);
    let mut machine = MetadataClient { services, token: None };
    match machine.take_token().await {
        Ok(()) => {}
        Err(refused) if refused.is_final || !may_go_without => return Err(refused.error),
        Err(refused) => tracing::debug!(error = %refused.error, "the metadata service gives no token"),
    }
    let first = machine.key(role).await;
    match first {
        // A machine may have the door to tokens, and yet not let them in.
        Err(refused) if !refused.is_final && may_go_without && machine.token.is_some() => {
            machine.token = None;
            machine.key(role).await.map_err(|refused| refused.error)
        }
        other => other.map_err(|refused| refused.error),
    }
}

/// Why the machine gave no key, and whether asking in another mode is in vain.
struct MetadataError {
    is_final: bool,
    error: CredentialsError,
}

impl MetadataError {
    fn last(what: &str) -> Self {
        Self { is_final: true, error: CredentialsError::Unusable(what.to_owned()) }
    }
}

struct MetadataClient<'a> {
    services: &'a SourceContext,
    token: Option<SecretString>,
}

impl MetadataClient<'_> {
    async fn take_token(&mut self) -> Result<(), MetadataError> {
        let url = self.url(TOKEN_PATH, "")?;
        let answer =
            self.ask(ServiceRequest { method: Method::PUT, url, headers: &[LIFETIME], form: None }).await?;
        let token = text_of(&answer)?;
        self.token = Some(token);
        Ok(())
    }

    async fn key(&self, role: Option<&str>) -> Result<FetchedCredentials, MetadataError> {
        let role = match role.map(str::to_owned).or_else(|| self.services.plain_variable(ROLE)) {
            Some(role) => role,
            None => {
                let listed = text_of(&self.get("").await?)?;
                listed.expose_secret().lines().next().unwrap_or_default().trim().to_owned()
            }
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if role.is_empty() || role.len() > 64 || !role.chars().all(is_name) || role.starts_with('.') {
            return Err(MetadataError::last("the name of the machine's role is not one"));
        }
        let answer = self.get(&role).await?;
        let token = self.token.as_ref().map(ExposeSecret::expose_secret);
        let quote = Redactor::without(SigningKey { id: "", secret: "", token }, "");
        service_response::read_key_response(self.services, &answer, WHOSE, NAME, &quote)
            .map_err(|error| MetadataError { is_final: false, error })
    }

    async fn get(&self, role: &str) -> Result<ServiceResponse, MetadataError> {
        let url = self.url(ROLE_PATH, role)?;
        let token = self.token.as_ref().map(|token| (TOKEN_HEADER, token.expose_secret()));
        self.ask(ServiceRequest { headers: token.as_slice(), ..ServiceRequest::get(url) }).await
    }

    async fn ask(&self, question: ServiceRequest<'_>) -> Result<ServiceResponse, MetadataError> {
        let answer = self.services.metadata.ask(question).await.map_err(|trouble| MetadataError {
            is_final: trouble.is_nobody_there,
            error: CredentialsError::Unusable(trouble.text),
        })?;
        match answer.status {
            200 => Ok(answer),
            404 => Err(MetadataError {
                is_final: false,
                error: CredentialsError::Unusable(
                    "the machine has no such role, or none at all (HTTP 404)".to_owned(),
                ),
            }),
            status => Err(MetadataError {
                is_final: false,
                error: CredentialsError::Unusable(format!("{WHOSE} refuses (HTTP {status})")),
            }),
        }
    }

    fn url(&self, path: &str, role: &str) -> Result<Url, MetadataError> {
        self.services
            .metadata_base
            .join(&format!("{path}{role}"))
            .map_err(|_| MetadataError::last("the metadata service has no such address"))
    }
}

/// An answer that is one word.
fn text_of(answer: &ServiceResponse) -> Result<SecretString, MetadataError> {
    let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
    if text.is_empty() {
        let error = CredentialsError::Unusable(format!("{WHOSE} answers with nothing"));
        return Err(MetadataError { is_final: false, error });
    }
    Ok(SecretString::from(text.to_owned()))
}
