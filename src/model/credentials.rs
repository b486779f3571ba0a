//! Selection of the source of an access key, as configured.

use std::{fmt, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// Source of credentials and its settings. Settings that are `None` have the defaults of Alibaba Cloud's own tools.
#[derive(Debug, Clone, Default)]
pub enum SourceSelection {
    /// Every source of Alibaba Cloud's own tools, in their order.
    #[default]
    Chain,
    /// `ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET` and, for a temporary key,
    /// `ALIBABA_CLOUD_SECURITY_TOKEN`.
    Environment,
    /// OIDC token that is exchanged for the key of a role (RRSA).
    Oidc(OidcSettings),
    /// Profile of Alibaba Cloud's command line tool.
    CliProfile(ProfileSettings),
    /// Section of Alibaba Cloud's credentials file.
    IniProfile(ProfileSettings),
    /// Role of the ECS instance; `None` for the one that its metadata service reports.
    EcsRamRole(Option<String>),
    /// URL that issues keys, which may contain a secret; `None` for the one in the environment variable.
    Uri(Option<SecretString>),
    /// Access key of the configuration itself.
    Inline(AccessKey),
    /// Files that contain one part of the key each.
    Files(KeyFilePaths),
}

impl SourceSelection {
    /// Whether both select the same source. An inline key may differ, because keys are rotated.
    #[must_use]
    pub fn is_same_source_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Chain, Self::Chain)
            | (Self::Environment, Self::Environment)
            | (Self::Inline(_), Self::Inline(_)) => true,
            (Self::Oidc(a), Self::Oidc(b)) => a == b,
            (Self::CliProfile(a), Self::CliProfile(b)) | (Self::IniProfile(a), Self::IniProfile(b)) => a == b,
            (Self::EcsRamRole(a), Self::EcsRamRole(b)) => a == b,
            (Self::Uri(a), Self::Uri(b)) => {
                a.as_ref().map(ExposeSecret::expose_secret) == b.as_ref().map(ExposeSecret::expose_secret)
            }
            (Self::Files(a), Self::Files(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for SourceSelection {
    /// Writes the source in one word, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "chain",
            Self::Environment => "environment",
            Self::Oidc(_) => "oidc",
            Self::CliProfile(_) => "cli_profile",
            Self::IniProfile(_) => "ini_profile",
            Self::EcsRamRole(_) => "ecs_ram_role",
            Self::Uri(_) => "uri",
            Self::Inline(_) => "inline",
            Self::Files(_) => "files",
        })
    }
}

/// OIDC token and the role for which it is exchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OidcSettings {
    /// ARN of the role.
    pub role_arn: Option<String>,
    /// ARN of the OIDC provider that issues the token.
    pub provider_arn: Option<String>,
    /// File with the token, which its issuer replaces before it expires.
    pub token_file: Option<PathBuf>,
    /// Session name in the cloud's audit log.
    pub session_name: Option<String>,
}

/// Profile and its file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileSettings {
    /// Name of the profile.
    pub name: Option<String>,
    /// Path of the file.
    pub file: Option<PathBuf>,
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

/// Files of the parts of an access key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFilePaths {
    /// `access_key_id_file`.
    pub access_key_id: PathBuf,
    /// `access_key_secret_file`.
    pub access_key_secret: PathBuf,
    /// `security_token_file`.
    pub security_token: Option<PathBuf>,
}
