//! Where the access key comes from. Holds no more than what was written; reading files and the
//! environment is the provider's work.

use std::{fmt, path::PathBuf};

use secrecy::SecretString;

/// The source of an account's access key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// `ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET` and, for a temporary key,
    /// `ALIBABA_CLOUD_SECURITY_TOKEN`.
    Environment,
    /// The key itself.
    Inline(AccessKey),
    /// Files that hold one value each.
    Files(AccessKeyFiles),
}

impl Credentials {
    /// The source in one word, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Inline(_) => "inline",
            Self::Files(_) => "files",
        }
    }

    /// Whether both name the same source. The key that a source holds may change: it is replaced from time to
    /// time, and only the cloud knows whose it is.
    #[must_use]
    pub fn is_same_source_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Environment, Self::Environment) | (Self::Inline(_), Self::Inline(_)) => true,
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
