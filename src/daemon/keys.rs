//! Makes the source of an account's credentials from what the configuration says of it.

use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::{
    api::{ProvideCredentials, credentials},
    config,
};

/// The source that the configuration names.
///
/// # Errors
/// For a key that cannot be one.
pub(super) fn provider(
    source: &config::Credentials,
) -> Result<Arc<dyn ProvideCredentials>, credentials::CredentialsError> {
    Ok(match &source.source {
        config::CredentialsSource::Chain | config::CredentialsSource::Environment => {
            Arc::new(credentials::Environment::new(|name: &str| std::env::var(name).ok()))
        }
        config::CredentialsSource::Inline(key) => {
            let token = key.security_token.as_ref().map(ExposeSecret::expose_secret);
            let key =
                credentials::Credentials::new(key.id.expose_secret(), key.secret.expose_secret(), token)?;
            Arc::new(credentials::Inline::new(key))
        }
        config::CredentialsSource::Files(files) => Arc::new(credentials::Files::new(credentials::Paths {
            access_key_id: files.id.clone(),
            access_key_secret: files.secret.clone(),
            security_token: files.security_token.clone(),
        })),
        other => {
            let what = format!("this source is not there yet: {other:?}");
            return Err(credentials::CredentialsError::Unusable(what));
        }
    })
}
