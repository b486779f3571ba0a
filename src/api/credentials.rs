//! Where the key that signs comes from.
//!
//! Owns: [`Credentials`], which cannot be printed, the seam [`ProvideCredentials`], and the sources behind
//! it: fixed keys, variables, files, profiles, and services that hand out keys for a while. Refuses:
//! guessing: without a whole key nothing is signed and nothing is sent.
//!
//! A `CredentialSource` knows one way to come by a key, and asks anew each time. `RefreshingProvider` stands before it, so
//! that callers are answered from memory.

use std::{fmt, pin::Pin, sync::Arc};

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Duration;

use super::sign::SigningKey;
use crate::model::UnixMillis;

mod chain;
mod cli_profile;
mod context;
mod ecs;
mod environment;
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
pub use files::KeyFilePaths;
pub use oidc::OidcSettings;
pub use profile::ProfileSettings;
pub use provider::{SourceSelection, provider};
pub use sts::AssumedRole;

/// What the default profile in the text of a file of the vendor's tools says, without its secrets, or why it
/// cannot be used.
pub(super) fn profile_in(text: &str, is_ini: bool) -> Result<String, String> {
    let format = if is_ini { profile::ProfileFormat::Ini } else { profile::ProfileFormat::Cli };
    format.parse(text, None).map(|profile| format!("{profile:?}"))
}

/// A future that can be sent between threads, as trait objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A key of an account.
#[derive(Clone)]
pub struct Credentials {
    /// `AccessKeyId`.
    pub access_key_id: String,
    /// The secret that signs.
    pub access_key_secret: SecretString,
    /// `SecurityToken`, for temporary credentials.
    pub security_token: Option<SecretString>,
    /// When they end; `None` for lasting ones and where it is not told.
    pub expires_at: Option<UnixMillis>,
}

impl Credentials {
    /// Lasting credentials.
    ///
    /// # Errors
    /// [`CredentialsError::Unusable`] if the id or the secret is empty or has characters that no key has.
    pub fn new(
        access_key_id: &str,
        access_key_secret: &str,
        security_token: Option<&str>,
    ) -> Result<Self, CredentialsError> {
        Ok(Self {
            access_key_id: checked("access key id", access_key_id)?.to_owned(),
            access_key_secret: checked("access key secret", access_key_secret)?.into(),
            security_token: security_token
                .map(|token| checked("security token", token).map(SecretString::from))
                .transpose()?,
            expires_at: None,
        })
    }

    /// The key as the signer takes it.
    #[must_use]
    pub fn key(&self) -> SigningKey<'_> {
        SigningKey {
            id: &self.access_key_id,
            secret: self.access_key_secret.expose_secret(),
            token: self.security_token.as_ref().map(ExposeSecret::expose_secret),
        }
    }

    /// The last four characters of the id, which is all of it that may be shown.
    #[must_use]
    pub fn id_tail(&self) -> &str {
        // Ids are ASCII (see `checked`); an id this short would be shown whole.
        match self.access_key_id.len().checked_sub(4) {
            Some(start) if start >= 4 => self.access_key_id.get(start..).unwrap_or_default(),
            _ => "",
        }
    }

    /// Whether both are the same key.
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

/// Keys are visible ASCII without spaces; what is not was cut, pasted wrong, or is not a key.
fn checked<'a>(what: &str, text: &'a str) -> Result<&'a str, CredentialsError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(CredentialsError::Unusable(format!("the {what} is empty")));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CredentialsError::Unusable(format!("the {what} holds a space or a character of no key")));
    }
    Ok(text)
}

/// Why there are no credentials. Texts name variables, keys and files, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// None are configured.
    #[error("no credentials: set {0}")]
    Missing(String),
    /// They are configured but cannot be used.
    #[error("unusable credentials: {0}")]
    Unusable(String),
}

/// A source of credentials. It is asked before every call, so it answers from memory where it can.
pub trait ProvideCredentials: Send + Sync {
    /// The credentials to sign with now. With `force_refresh` the cloud has refused the last ones as
    /// expired: what can be read or fetched anew must be.
    fn credentials(&self, force_refresh: bool) -> BoxFuture<'_, Result<Arc<Credentials>, CredentialsError>>;
}

/// Told of what becomes of an account's credentials. Called on the path of a renewal, so it must not block.
pub trait CredentialsObserver: Send + Sync {
    /// Other credentials are in use, which expire then; `None` for those that do not.
    fn expires(&self, at: Option<UnixMillis>);

    /// An attempt to read or renew them has failed.
    fn failed(&self);
}

/// One way to come by credentials. It holds nothing: each fetch reads or asks anew.
trait CredentialSource: Send + Sync {
    /// Credentials as they are now.
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>>;
}

/// Credentials as a source gave them.
#[derive(Debug)]
struct FetchedCredentials {
    credentials: Credentials,
    /// How long they last from now on, by the clock of whoever gave them where that is told; `None` for
    /// lasting ones and where it is not told.
    remaining: Option<Duration>,
    /// Which source it was, for logs.
    source: String,
}

impl FetchedCredentials {
    /// Credentials that last.
    fn lasting(credentials: Credentials, source: &str) -> Self {
        Self { credentials, remaining: None, source: source.to_owned() }
    }
}

/// Credentials given in the configuration.
#[derive(Debug, Clone)]
pub struct InlineCredentials(Arc<Credentials>);

impl InlineCredentials {
    /// Always these.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        Self(Arc::new(credentials))
    }
}

impl ProvideCredentials for InlineCredentials {
    fn credentials(&self, _: bool) -> BoxFuture<'_, Result<Arc<Credentials>, CredentialsError>> {
        Box::pin(std::future::ready(Ok(Arc::clone(&self.0))))
    }
}

impl CredentialSource for InlineCredentials {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>> {
        Box::pin(std::future::ready(Ok(FetchedCredentials::lasting((*self.0).clone(), "inline"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_more_than_four_characters_of_the_id() {
        let credentials =
            Credentials::new("LTAI5tCanaryId1234", "CanarySecret", Some("CanaryToken")).unwrap();
        let shown = format!("{credentials:?} {:?}", InlineCredentials::new(credentials.clone()));
        assert!(shown.contains("...1234"), "{shown}");
        assert!(!shown.contains("Canary"), "{shown}");
        let short = Credentials::new("abcd", "s", None).unwrap();
        assert!(!format!("{short:?}").contains("abcd"));
    }

    #[test]
    fn a_key_with_spaces_or_nothing_in_it_is_refused_without_being_shown() {
        for (id, secret) in
            [("", "s"), ("id", " \n"), ("id", "Canary two"), ("Canary\u{7f}", "s"), ("钥匙", "s")]
        {
            let error = Credentials::new(id, secret, None).unwrap_err();
            assert!(!error.to_string().contains("Canary"), "{error}");
        }
        assert_eq!(Credentials::new(" id\n", "s\n", None).unwrap().access_key_id, "id");
    }
}
