//! Role of the ECS instance, from its metadata service.
//!
//! Owns: requests with a metadata token, and without one if those fail, unless that is disabled. Rejects: role names
//! that would change the path of the request.

use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};

use super::{
    CredentialsError, FetchResult, FetchedCredentials,
    context::SourceContext,
    http::{ServiceRequest, ServiceResponse},
    service_response,
};
use crate::api::{redact::Redactor, sign::SigningKey};

const ROLE_NAME: &str = "ALIBABA_CLOUD_ECS_METADATA";
/// Disables this source, unless the configuration selects it.
pub(super) const DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
const WITHOUT_TOKEN_DISABLED: &str = "ALIBABA_CLOUD_IMDSV1_DISABLED";

const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/ram/security-credentials/";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
const TOKEN_LIFETIME: (&str, &str) = ("x-aliyun-ecs-metadata-token-ttl-seconds", "21600");

/// Name of the service in errors.
const SERVICE: &str = "the metadata service";

/// Name of this source.
pub(super) const NAME: &str = "ecs_ram_role";

/// Fetches the key of a role; `None` for the role in the environment variable or, without it, the role of the
/// instance.
pub(super) async fn fetch(context: &SourceContext, role: Option<&str>) -> FetchResult {
    let allows_no_token = !context.flag(WITHOUT_TOKEN_DISABLED);
    let mut client = MetadataClient { context, token: None };
    match client.fetch_token().await {
        Ok(token) => client.token = Some(token),
        Err(error) if error.is_final || !allows_no_token => return Err(error.error),
        Err(error) => tracing::debug!(error = %error.error, "metadata service provides no token"),
    }
    let mut key = client.fetch_key(role).await;
    // Some machines issue tokens and then reject them.
    if key.as_ref().is_err_and(|error| !error.is_final) && allows_no_token && client.token.take().is_some() {
        key = client.fetch_key(role).await;
    }
    key.map_err(|error| error.error)
}

/// Reason why the metadata service provides no key.
struct MetadataError {
    /// Whether the mode without a token would fail too.
    is_final: bool,
    error: CredentialsError,
}

impl MetadataError {
    fn new(is_final: bool, reason: impl Into<String>) -> Self {
        Self { is_final, error: CredentialsError::unusable(reason) }
    }
}

struct MetadataClient<'a> {
    context: &'a SourceContext,
    token: Option<SecretString>,
}

impl MetadataClient<'_> {
    async fn fetch_token(&self) -> Result<SecretString, MetadataError> {
        let request = ServiceRequest {
            method: Method::PUT,
            headers: &[TOKEN_LIFETIME],
            ..ServiceRequest::get(self.url(TOKEN_PATH, "")?)
        };
        body_text(&self.send(request).await?)
    }

    async fn fetch_key(&self, role: Option<&str>) -> Result<FetchedCredentials, MetadataError> {
        let role = match role.map(str::to_owned).or_else(|| self.context.plain_variable(ROLE_NAME)) {
            Some(role) => role,
            None => {
                let roles = body_text(&self.get("").await?)?;
                roles.expose_secret().lines().next().unwrap_or_default().trim().to_owned()
            }
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if role.is_empty() || role.len() > 64 || !role.chars().all(is_name) || role.starts_with('.') {
            return Err(MetadataError::new(true, "the name of the instance's role is invalid"));
        }
        let response = self.get(&role).await?;
        let token = self.token.as_ref().map(ExposeSecret::expose_secret);
        let redactor = Redactor::for_key(SigningKey { id: "", secret: "", token }, "");
        service_response::read_key_response(self.context, &response, SERVICE, NAME, &redactor)
            .map_err(|error| MetadataError { is_final: false, error })
    }

    async fn get(&self, role: &str) -> Result<ServiceResponse, MetadataError> {
        let token = self.token.as_ref().map(|token| (TOKEN_HEADER, token.expose_secret()));
        let url = self.url(ROLE_PATH, role)?;
        self.send(ServiceRequest { headers: token.as_slice(), ..ServiceRequest::get(url) }).await
    }

    async fn send(&self, request: ServiceRequest<'_>) -> Result<ServiceResponse, MetadataError> {
        let response = self
            .context
            .metadata
            .send(request)
            .await
            .map_err(|error| MetadataError::new(error.is_unreachable, error.reason))?;
        match response.status {
            200 => Ok(response),
            404 => Err(MetadataError::new(false, "the instance has no such role, or no role (HTTP 404)")),
            status => {
                Err(MetadataError::new(false, format!("{SERVICE} rejects the request (HTTP {status})")))
            }
        }
    }

    fn url(&self, path: &str, role: &str) -> Result<Url, MetadataError> {
        let url = self.context.metadata_base.join(&format!("{path}{role}"));
        url.map_err(|_| MetadataError::new(true, "the URL of the metadata service is invalid"))
    }
}

/// Returns the body as trimmed text.
fn body_text(response: &ServiceResponse) -> Result<SecretString, MetadataError> {
    let text = std::str::from_utf8(&response.body).unwrap_or_default().trim();
    if text.is_empty() {
        return Err(MetadataError::new(false, format!("the response of {SERVICE} is empty")));
    }
    Ok(SecretString::from(text.to_owned()))
}
