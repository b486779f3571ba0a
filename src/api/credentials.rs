//! Sources of the access key that signs requests.
//!
//! Owns: [`Credentials`], which are never printed, the trait [`ProvideCredentials`], and its sources: fixed keys,
//! environment variables, files, profiles, and services that issue temporary keys.
//!
//! A `CredentialSource` fetches a key each time. A `RefreshingProvider` caches the key and refreshes it
//! in the background.

use std::{fmt, pin::Pin, sync::Arc};

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Duration;

use super::sign::SigningKey;
use crate::model::{UnixMillis, credentials::AccessKey};

mod chain;
mod cli_profile;
mod context;
mod ecs;
mod files;
mod http;
mod ini_profile;
mod oidc;
mod profile;
mod provider;
mod refreshing;
mod secret_file;
mod service_response;
mod sts;
mod uri;

pub use context::{SourceSettings, VariableLookup};
pub use provider::provider;
pub use sts::AssumedRole;

pub(super) use profile::{ProfileFormat, describe_profile};

/// Boxed future, for methods of trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Access key of an account.
#[derive(Clone)]
pub struct Credentials {
    /// `AccessKeyId`.
    pub access_key_id: String,
    /// `AccessKeySecret`.
    pub access_key_secret: SecretString,
    /// `SecurityToken` of temporary credentials.
    pub security_token: Option<SecretString>,
    /// Expiry; `None` for credentials that do not expire.
    pub expires_at: Option<UnixMillis>,
}

impl Credentials {
    /// Returns credentials that do not expire.
    ///
    /// # Errors
    /// [`CredentialsError::Unusable`] if a part is empty or has characters that no access key has.
    pub fn new(
        access_key_id: &str,
        access_key_secret: &str,
        security_token: Option<&str>,
    ) -> Result<Self, CredentialsError> {
        Ok(Self {
            access_key_id: checked_part("access key id", access_key_id)?.to_owned(),
            access_key_secret: checked_part("access key secret", access_key_secret)?.into(),
            security_token: security_token
                .map(|token| checked_part("security token", token).map(SecretString::from))
                .transpose()?,
            expires_at: None,
        })
    }

    fn from_access_key(key: &AccessKey) -> Result<Self, CredentialsError> {
        let token = key.security_token.as_ref().map(ExposeSecret::expose_secret);
        Self::new(key.id.expose_secret(), key.secret.expose_secret(), token)
    }

    /// Returns the key for signing.
    #[must_use]
    pub fn key(&self) -> SigningKey<'_> {
        SigningKey {
            id: &self.access_key_id,
            secret: self.access_key_secret.expose_secret(),
            token: self.security_token.as_ref().map(ExposeSecret::expose_secret),
        }
    }

    /// Returns the last four characters of the id, the only part that may be shown. Empty for very short ids.
    #[must_use]
    pub fn id_tail(&self) -> &str {
        let start = self.access_key_id.len().saturating_sub(4);
        if start >= 4 { self.access_key_id.get(start..).unwrap_or_default() } else { "" }
    }

    /// Whether both have the same key.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let (a, b) = (self.key(), other.key());
        (a.id, a.secret, a.token) == (b.id, b.secret, b.token)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &format_args!("...{}", self.id_tail()))
            .field("security_token", &self.security_token.is_some())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Returns a trimmed part of an access key. Rejects other characters than visible ASCII.
fn checked_part<'a>(name: &str, text: &'a str) -> Result<&'a str, CredentialsError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(CredentialsError::unusable(format!("the {name} is empty")));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CredentialsError::unusable(format!("the {name} contains an invalid character")));
    }
    Ok(text)
}

/// Reason why there are no credentials. Texts contain names of variables, keys and files, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The source is not configured.
    #[error("no credentials: set {0}")]
    Missing(String),
    /// The source is configured but fails.
    #[error("unusable credentials: {0}")]
    Unusable(String),
}

impl CredentialsError {
    fn unusable(reason: impl Into<String>) -> Self {
        Self::Unusable(reason.into())
    }
}

/// Provider of credentials. Called before every request, so it returns cached credentials if possible.
pub trait ProvideCredentials: Send + Sync {
    /// Returns the current credentials. With `force_refresh`, because the cloud rejected the last ones as expired, it
    /// fetches new ones.
    fn credentials(&self, force_refresh: bool) -> BoxFuture<'_, Result<Arc<Credentials>, CredentialsError>>;
}

/// Observer of an account's credentials. Called during a refresh, so it must not block.
pub trait CredentialsObserver: Send + Sync {
    /// Observes that other credentials are in use, and their expiry.
    fn expires(&self, at: Option<UnixMillis>);

    /// Observes a failed attempt to fetch credentials.
    fn failed(&self);
}

/// Result of fetching credentials.
type FetchResult = Result<FetchedCredentials, CredentialsError>;

/// Source of credentials without a cache.
trait CredentialSource: Send + Sync {
    /// Fetches the current credentials.
    fn fetch(&self) -> BoxFuture<'_, FetchResult>;
}

/// Credentials from a source.
#[derive(Debug)]
struct FetchedCredentials {
    credentials: Credentials,
    /// Remaining lifetime by the clock of the issuer, if it sends its time; `None` for credentials that do not expire.
    remaining: Option<Duration>,
    /// Name of the source, for logs.
    source: String,
}

impl FetchedCredentials {
    /// Returns credentials that do not expire.
    fn permanent(credentials: Credentials, source: &str) -> Self {
        Self { credentials, remaining: None, source: source.to_owned() }
    }
}

impl ProvideCredentials for Arc<Credentials> {
    fn credentials(&self, _: bool) -> BoxFuture<'_, Result<Self, CredentialsError>> {
        Box::pin(std::future::ready(Ok(Self::clone(self))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_at_most_four_characters_of_the_id() {
        let credentials =
            Credentials::new("LTAI5tCanaryId1234", "CanarySecret", Some("CanaryToken")).unwrap();
        let text = format!("{credentials:?}");
        assert!(text.contains("...1234"), "{text}");
        assert!(!text.contains("Canary"), "{text}");
        let short = Credentials::new("abcd", "s", None).unwrap();
        assert!(!format!("{short:?}").contains("abcd"));
    }

    #[test]
    fn an_invalid_key_is_rejected_without_being_shown() {
        for (id, secret) in
            [("", "s"), ("id", " \n"), ("id", "Canary two"), ("Canary\u{7f}", "s"), ("钥匙", "s")]
        {
            let error = Credentials::new(id, secret, None).unwrap_err();
            assert!(!error.to_string().contains("Canary"), "{error}");
        }
        assert_eq!(Credentials::new(" id\n", "s\n", None).unwrap().access_key_id, "id");
    }
}
