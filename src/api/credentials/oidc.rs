//! A token that tells who this is, exchanged for the key of a role: RRSA on ACK.

use std::{path::PathBuf, sync::Arc};

use secrecy::ExposeSecret as _;

use super::{
    BoxFuture, CredentialSource, CredentialsError, FetchedCredentials,
    context::SourceContext,
    sts::{self, AssumedRole, StsLocation},
};

const ROLE_ARN: &str = "ALIBABA_CLOUD_ROLE_ARN";
const PROVIDER_ARN: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
const TOKEN_FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";
const SESSION_NAME: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";

/// The name of this source.
pub(super) const NAME: &str = "oidc";

/// Whose token is exchanged for the key of which role. What is `None` is that of the vendor's variable.
#[derive(Debug, Clone, Default)]
pub struct OidcSettings {
    /// The role.
    pub role_arn: Option<String>,
    /// Who vouches for the token.
    pub provider_arn: Option<String>,
    /// Holds the token.
    pub token_file: Option<PathBuf>,
    /// What the session is called in the cloud's audit log.
    pub session_name: Option<String>,
}

/// A token exchanged for the key of a role.
pub(super) struct OidcSource {
    pub(super) services: Arc<SourceContext>,
    pub(super) settings: OidcSettings,
}

impl OidcSource {
    async fn key(&self) -> Result<FetchedCredentials, CredentialsError> {
        let of = |written: Option<String>, name: &str, key: &str| {
            written.or_else(|| self.services.plain_variable(name)).ok_or_else(|| {
                CredentialsError::Missing(format!("the variable {name} or the key credentials.{key}"))
            })
        };
        let settings = self.settings.clone();
        let arn = of(settings.role_arn, ROLE_ARN, "role_arn")?;
        let provider_arn = of(settings.provider_arn, PROVIDER_ARN, "oidc_provider_arn")?;
        let token_file = match settings.token_file {
            Some(path) => path,
            None => of(None, TOKEN_FILE, "oidc_token_file")?.into(),
        };
        let session_name = settings.session_name.or_else(|| self.services.plain_variable(SESSION_NAME));
        let role = AssumedRole::new(arn, session_name);
        exchange(&self.services, &provider_arn, token_file, &role, &StsLocation::default(), NAME).await
    }
}

impl CredentialSource for OidcSource {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>> {
        Box::pin(self.key())
    }
}

/// Exchanges the token that the file holds now: whoever issues it writes it anew before it ends.
pub(super) async fn exchange(
    services: &SourceContext,
    provider_arn: &str,
    token_file: PathBuf,
    role: &AssumedRole,
    place: &StsLocation,
    source: &str,
) -> Result<FetchedCredentials, CredentialsError> {
    let read = services.disk.read(move |disk| {
        let token = disk.issued(&token_file)?;
        if token.expose_secret().trim().bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(token);
        }
        Err(CredentialsError::Unusable(format!("what {} holds is not a token", token_file.display())))
    });
    let token = read.await.map_err(|error| match error {
        // All else was there, so this is not a source that nobody has set up.
        CredentialsError::Missing(what) => CredentialsError::Unusable(format!("set {what}")),
        other => other,
    })?;
    sts::assume_with_oidc(services, provider_arn, &token, role, place, source).await
}
