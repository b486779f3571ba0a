//! Configuration of the source of the access key. Out of scope: reading files, variables and services, which the
//! credentials provider does.

use std::{fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::model::credentials::{AccessKey, SourceSelection};

mod read;

pub(super) use read::read;

/// Source of the access key of an account.
#[derive(Debug, Clone, Default)]
pub struct CredentialsConfig {
    /// Source of the key.
    pub source: SourceSelection,
    /// Role to assume with that key. Its temporary key then signs the requests.
    pub assume_role: Option<AssumeRole>,
    /// Scheme, host and optional port of the security token service; `None` for the default.
    pub sts_endpoint: Option<String>,
    /// Scheme, host and optional port of the metadata service; `None` for the default.
    pub metadata_endpoint: Option<String>,
}

impl fmt::Display for CredentialsConfig {
    /// Writes the source in one word, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.source, if self.assume_role.is_some() { "+assume_role" } else { "" })
    }
}

impl CredentialsConfig {
    /// Whether both use the same source. Its key may differ, because keys are rotated.
    #[must_use]
    pub fn is_same_source_as(&self, other: &Self) -> bool {
        let role = |of: &Self| of.assume_role.as_ref().map(|role| role.role_arn.clone());
        role(self) == role(other) && self.source.is_same_source_as(&other.source)
    }

    /// Whether both are equal, so that the credentials of one are valid for the other.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let key = |of: &Self| match &of.source {
            SourceSelection::Inline(AccessKey { id, secret, security_token }) => {
                Some([Some(exposed(id)), Some(exposed(secret)), security_token.as_ref().map(exposed)])
            }
            _ => None,
        };
        let role = |of: &Self| {
            of.assume_role.clone().map(
                |AssumeRole { session_name, external_id, policy, duration, .. }| {
                    (session_name, external_id.as_ref().map(exposed), policy, duration)
                },
            )
        };
        self.is_same_source_as(other)
            && (key(self), role(self)) == (key(other), role(other))
            && (&self.sts_endpoint, &self.metadata_endpoint)
                == (&other.sts_endpoint, &other.metadata_endpoint)
    }
}

fn exposed(secret: &SecretString) -> Zeroizing<String> {
    Zeroizing::new(secret.expose_secret().to_owned())
}

/// Role to assume, usually one of another account.
#[derive(Debug, Clone)]
pub struct AssumeRole {
    /// ARN of the role.
    pub role_arn: String,
    /// Name of the session in the audit log.
    pub session_name: String,
    /// External id that the owner of the role requires.
    pub external_id: Option<SecretString>,
    /// Policy that restricts the permissions of the role.
    pub policy: Option<String>,
    /// Lifetime of each key.
    pub duration: Duration,
}
