//! Where the access key comes from. Holds no more than what was written; reading files, variables and
//! services is the provider's work.

use std::{fmt, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

mod read;

pub(super) use read::read;

/// How an account comes by its access key.
#[derive(Debug, Clone, Default)]
pub struct CredentialsConfig {
    /// The source of the key.
    pub source: CredentialsSource,
    /// The role that is assumed with that key; its temporary key is then the one that signs.
    pub assume_role: Option<AssumeRole>,
    /// Scheme, host and perhaps port of the token service; `None` for the cloud's own.
    pub sts_endpoint: Option<String>,
    /// The same of the metadata service; `None` for the cloud's own.
    pub metadata_endpoint: Option<String>,
}

/// The source of an access key. What is `None` in it is looked for in the vendor's variables.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum CredentialsSource {
    /// Every source but keys and files, in the order of the vendor's own tools.
    #[default]
    Chain,
    /// `ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET` and, for a temporary key,
    /// `ALIBABA_CLOUD_SECURITY_TOKEN`.
    Environment,
    /// A token that tells who this is, exchanged for the key of a role (RRSA).
    Oidc(OidcConfig),
    /// A profile of the vendor's command line tool.
    CliProfile(ProfileConfig),
    /// A section of the vendor's credentials file.
    IniProfile(ProfileConfig),
    /// The role of the machine; its name is asked for where it is not told.
    EcsRamRole {
        /// The name of the role.
        role_name: Option<String>,
    },
    /// An address that hands out keys.
    Uri {
        /// The whole address, which may hold a secret.
        uri: Option<SecretString>,
    },
    /// The key itself.
    Inline(AccessKey),
    /// Files that hold one value each.
    Files(AccessKeyFiles),
}

impl fmt::Display for CredentialsConfig {
    /// The source in one word, for logs.
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
    /// Whether both name the same source. The key that a source holds may change: it is replaced from time to
    /// time, and only the cloud knows whose it is.
    #[must_use]
    pub fn is_same_source_as(&self, other: &Self) -> bool {
        let role = |of: &Self| of.assume_role.as_ref().map(|role| role.role_arn.clone());
        role(self) == role(other) && self.source.is_same_as(&other.source)
    }

    /// Whether nothing differs, so that a key that was got by the one is one of the other.
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

/// An access key as written. The id is kept as secret as the rest.
#[derive(Clone)]
pub struct AccessKey {
    /// The access key id.
    pub id: SecretString,
    /// The access key secret.
    pub secret: SecretString,
    /// The security token of a temporary key.
    pub security_token: Option<SecretString>,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey(redacted)")
    }
}

/// Files that hold an access key, one value each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKeyFiles {
    /// Holds the access key id.
    pub id: PathBuf,
    /// Holds the access key secret.
    pub secret: PathBuf,
    /// Holds the security token of a temporary key.
    pub security_token: Option<PathBuf>,
}

/// Whose token is exchanged for the key of which role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OidcConfig {
    /// The role.
    pub role_arn: Option<String>,
    /// Who vouches for the token.
    pub provider_arn: Option<String>,
    /// Holds the token, and is written anew by whoever issues it.
    pub token_file: Option<PathBuf>,
    /// What the session is called in the cloud's audit log.
    pub session_name: Option<String>,
}

/// A profile in a file of the vendor's tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileConfig {
    /// Its name.
    pub name: Option<String>,
    /// The file.
    pub file: Option<PathBuf>,
}

/// A role that is assumed, most often one of another account.
#[derive(Debug, Clone)]
pub struct AssumeRole {
    /// The role.
    pub role_arn: String,
    /// What the session is called in the cloud's audit log.
    pub session_name: String,
    /// What the owner of the role agreed on with whoever assumes it.
    pub external_id: Option<SecretString>,
    /// A policy that narrows what the role may do.
    pub policy: Option<String>,
    /// How long each key lives.
    pub duration: Duration,
}
