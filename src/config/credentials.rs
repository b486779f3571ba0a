//! Configuration of the source of the access key. Out of scope: reading files, variables and services, which the
//! credentials provider does.

use std::{fmt, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

mod read;

pub(super) use read::read;

/// Source of the access key of an account.
#[derive(Debug, Clone, Default)]
pub struct CredentialsConfig {
    /// Source of the key.
    pub source: CredentialsSource,
    /// Role to assume with that key. Its temporary key then signs the requests.
    pub assume_role: Option<AssumeRole>,
    /// Scheme, host and optional port of the security token service; `None` for the default.
    pub sts_endpoint: Option<String>,
    /// Scheme, host and optional port of the metadata service; `None` for the default.
    pub metadata_endpoint: Option<String>,
}

/// Source of an access key. Fields that are `None` are read from the vendor's variables.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum CredentialsSource {
    /// Every source except keys and files, in the order of the vendor's own tools.
    #[default]
    Chain,
    /// `ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET` and, for a temporary key,
    /// `ALIBABA_CLOUD_SECURITY_TOKEN`.
    Environment,
    /// OIDC token, exchanged for the key of a role (RRSA).
    Oidc(OidcConfig),
    /// Profile of the vendor's command line tool.
    CliProfile(ProfileConfig),
    /// Section of the vendor's credentials file.
    IniProfile(ProfileConfig),
    /// RAM role of the ECS instance. Without a name, the metadata service reports it.
    EcsRamRole {
        /// Name of the role.
        role_name: Option<String>,
    },
    /// Service that returns keys.
    Uri {
        /// URL, which may contain a secret.
        uri: Option<SecretString>,
    },
    /// Inline key.
    Inline(AccessKey),
    /// Files that contain one value each.
    Files(AccessKeyFiles),
}

impl fmt::Display for CredentialsConfig {
    /// Writes the source in one word, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            CredentialsSource::Chain => "chain",
            CredentialsSource::Environment => "environment",
            CredentialsSource::Oidc(_) => "oidc",
            CredentialsSource::CliProfile(_) => "cli_profile",
            CredentialsSource::IniProfile(_) => "ini_profile",
            CredentialsSource::EcsRamRole { .. } => "ecs_ram_role",
            CredentialsSource::Uri { .. } => "uri",
            CredentialsSource::Inline(_) => "inline",
            CredentialsSource::Files(_) => "files",
        })?;
        if self.assume_role.is_some() { f.write_str("+assume_role") } else { Ok(()) }
    }
}

impl CredentialsConfig {
    /// Whether both use the same source. Its key may differ, because keys are rotated.
    #[must_use]
    pub fn is_same_source_as(&self, other: &Self) -> bool {
        let role = |of: &Self| of.assume_role.as_ref().map(|role| role.role_arn.clone());
        role(self) == role(other) && self.source.is_same_as(&other.source)
    }

    /// Whether nothing differs, so that credentials of the one are valid for the other.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let key = |of: &Self| match &of.source {
            CredentialsSource::Inline(AccessKey { id, secret, security_token }) => {
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

impl CredentialsSource {
    fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Chain, Self::Chain)
            | (Self::Environment, Self::Environment)
            | (Self::Inline(_), Self::Inline(_)) => true,
            (Self::Oidc(a), Self::Oidc(b)) => a == b,
            (Self::CliProfile(a), Self::CliProfile(b)) | (Self::IniProfile(a), Self::IniProfile(b)) => a == b,
            (Self::EcsRamRole { role_name: a }, Self::EcsRamRole { role_name: b }) => a == b,
            (Self::Uri { uri: a }, Self::Uri { uri: b }) => {
                a.as_ref().map(ExposeSecret::expose_secret) == b.as_ref().map(ExposeSecret::expose_secret)
            }
            (Self::Files(a), Self::Files(b)) => a == b,
            _ => false,
        }
    }
}

/// Inline access key. The id is treated as a secret, too.
#[derive(Clone)]
pub struct AccessKey {
    /// Access key id.
    pub id: SecretString,
    /// Access key secret.
    pub secret: SecretString,
    /// Security token of a temporary key.
    pub security_token: Option<SecretString>,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey(redacted)")
    }
}

/// Files of an access key, one value each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKeyFiles {
    /// File of the access key id.
    pub id: PathBuf,
    /// File of the access key secret.
    pub secret: PathBuf,
    /// File of the security token of a temporary key.
    pub security_token: Option<PathBuf>,
}

/// OIDC token and the role for which it is exchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OidcConfig {
    /// ARN of the role.
    pub role_arn: Option<String>,
    /// ARN of the identity provider.
    pub provider_arn: Option<String>,
    /// File of the token, which its issuer rewrites.
    pub token_file: Option<PathBuf>,
    /// Name of the session in the audit log.
    pub session_name: Option<String>,
}

/// Profile in a file of the vendor's tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileConfig {
    /// Name of the profile.
    pub name: Option<String>,
    /// File of the profile.
    pub file: Option<PathBuf>,
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
