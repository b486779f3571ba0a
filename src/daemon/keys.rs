//! Makes the source of an account's credentials from what the configuration says of it, and joins it to the
//! metrics that tell of it.

use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::{
    api::{self, ProvideCredentials, credentials},
    clock,
    config::{self, CredentialsSource},
    exposition::SelfMetrics,
    model::{AccountName, UnixMillis},
};

/// The source that the configuration names.
///
/// # Errors
/// For a key that cannot be one.
pub(super) fn provider(
    account: &config::Account,
    own: &Arc<SelfMetrics>,
) -> Result<Arc<dyn ProvideCredentials>, credentials::CredentialsError> {
    let configured = &account.credentials;
    let watch = Watched { own: Arc::clone(own), account: account.name.clone() };
    let setup = credentials::SourceSettings {
        account: account.name.clone(),
        sts_endpoint: configured.sts_endpoint.clone(),
        metadata_endpoint: configured.metadata_endpoint.clone(),
        proxy: account.proxy.clone(),
        variables: Arc::new(|name: &str| std::env::var(name).ok()),
        clock: clock::unix_now,
        entropy: api::os_entropy,
    };
    let role = configured.assume_role.as_ref().map(|role| credentials::AssumedRole {
        arn: role.role_arn.clone(),
        session_name: role.session_name.clone(),
        external_id: role.external_id.clone(),
        policy: role.policy.clone(),
        duration: role.duration,
    });
    credentials::provider(choice(&configured.source)?, role, setup, Arc::new(watch))
}

fn choice(source: &CredentialsSource) -> Result<credentials::SourceSelection, credentials::CredentialsError> {
    let profile = |profile: &config::Profile| credentials::ProfileSettings {
        name: profile.name.clone(),
        file: profile.file.clone(),
    };
    Ok(match source {
        CredentialsSource::Chain => credentials::SourceSelection::Chain,
        CredentialsSource::Environment => credentials::SourceSelection::Environment,
        CredentialsSource::Oidc(oidc) => credentials::SourceSelection::Oidc(credentials::OidcSettings {
            role_arn: oidc.role_arn.clone(),
            provider_arn: oidc.provider_arn.clone(),
            token_file: oidc.token_file.clone(),
            session_name: oidc.session_name.clone(),
        }),
        CredentialsSource::CliProfile(of) => credentials::SourceSelection::CliProfile(profile(of)),
        CredentialsSource::IniProfile(of) => credentials::SourceSelection::IniProfile(profile(of)),
        CredentialsSource::EcsRamRole { role_name } => {
            credentials::SourceSelection::EcsRamRole(role_name.clone())
        }
        CredentialsSource::Uri { uri } => credentials::SourceSelection::Uri(uri.clone()),
        CredentialsSource::Inline(key) => {
            let token = key.security_token.as_ref().map(ExposeSecret::expose_secret);
            let (id, secret) = (key.id.expose_secret(), key.secret.expose_secret());
            credentials::SourceSelection::Inline(credentials::Credentials::new(id, secret, token)?)
        }
        CredentialsSource::Files(files) => credentials::SourceSelection::Files(credentials::KeyFilePaths {
            access_key_id: files.id.clone(),
            access_key_secret: files.secret.clone(),
            security_token: files.security_token.clone(),
        }),
    })
}

/// Tells the metrics of an account what becomes of its credentials.
struct Watched {
    own: Arc<SelfMetrics>,
    account: Option<AccountName>,
}

impl credentials::CredentialsObserver for Watched {
    fn expires(&self, at: Option<UnixMillis>) {
        self.own.set_credentials_expiry(self.account.as_ref(), at);
    }

    fn failed(&self) {
        self.own.add_credentials_failures(self.account.as_ref(), 1);
    }
}
