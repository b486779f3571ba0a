//! Profiles in the files of the vendor's tools: which file and which profile, and the key that it leads to.
//!
//! Owns: where the files are, and following a profile to its key. The files' own languages are read by
//! `cli_profile` and `ini_profile`.

use std::{path::PathBuf, sync::Arc};

use secrecy::ExposeSecret as _;

use super::{
    BoxFuture, CredentialSource, Credentials, CredentialsError, FetchedCredentials, cli_profile,
    context::SourceContext,
    ecs, ini_profile, oidc,
    sts::{self, AssumedRole, StsLocation},
};

const NAME: &str = "ALIBABA_CLOUD_PROFILE";
const INI_FILE: &str = "ALIBABA_CLOUD_CREDENTIALS_FILE";

/// Which profile of which file. What is `None` is as the vendor's tools have it.
#[derive(Debug, Clone, Default)]
pub struct ProfileSettings {
    /// The profile.
    pub name: Option<String>,
    /// The file.
    pub file: Option<PathBuf>,
}

/// What a profile says.
#[derive(Debug)]
pub(super) enum CredentialProfile {
    /// A key.
    Key(Credentials),
    /// A role that the key of another profile assumes.
    Role { base: Box<Self>, role: AssumedRole, place: StsLocation },
    /// The role of the machine.
    Machine { role: Option<String> },
    /// A role that a token stands for.
    Oidc { provider_arn: String, token_file: PathBuf, role: AssumedRole, place: StsLocation },
}

/// Whose file a profile is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProfileFormat {
    /// `~/.aliyun/config.json`.
    Cli,
    /// `~/.alibabacloud/credentials`.
    Ini,
}

impl ProfileFormat {
    /// The name of the source.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli_profile",
            Self::Ini => "ini_profile",
        }
    }

    pub(super) fn parse(self, text: &str, name: Option<&str>) -> Result<CredentialProfile, String> {
        match self {
            Self::Cli => cli_profile::parse(text, name),
            Self::Ini => ini_profile::parse(text, name),
        }
    }
}

/// The key of a profile.
pub(super) struct ProfileSource {
    pub(super) services: Arc<SourceContext>,
    pub(super) format: ProfileFormat,
    pub(super) settings: ProfileSettings,
}

impl ProfileSource {
    async fn key(&self) -> Result<FetchedCredentials, CredentialsError> {
        let name = self.settings.name.clone().or_else(|| self.services.plain_variable(NAME));
        let mut absent = CredentialsError::Missing("the variable HOME, or the file of profiles".to_owned());
        for path in self.paths() {
            let (format, name) = (self.format, name.clone());
            let profile = self.services.disk.read(move |disk| {
                let text = disk.secret(&path)?;
                format
                    .parse(text.expose_secret(), name.as_deref())
                    .map_err(|why| CredentialsError::Unusable(format!("{}: {why}", path.display())))
            });
            match profile.await {
                Ok(profile) => return follow(&self.services, &profile, self.format.name()).await,
                Err(error @ CredentialsError::Missing(_)) => absent = error,
                Err(error) => return Err(error),
            }
        }
        Err(absent)
    }

    /// Where the file may be; the first that is there counts.
    fn paths(&self) -> Vec<PathBuf> {
        if let Some(path) = &self.settings.file {
            return vec![path.clone()];
        }
        if self.format == ProfileFormat::Ini
            && let Some(path) = self.services.plain_variable(INI_FILE)
        {
            return vec![path.into()];
        }
        let below_home: &[&str] = match self.format {
            ProfileFormat::Cli => &[".aliyun/config.json"],
            // The vendor's tools spell it in two ways.
            ProfileFormat::Ini => &[".alibabacloud/credentials", ".alibabacloud/credentials.ini"],
        };
        let home = self.services.plain_variable("HOME").map(PathBuf::from);
        home.map(|home| below_home.iter().map(|path| home.join(path)).collect()).unwrap_or_default()
    }
}

impl CredentialSource for ProfileSource {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>> {
        Box::pin(self.key())
    }
}

/// The key that a profile leads to.
fn follow<'a>(
    services: &'a SourceContext,
    profile: &'a CredentialProfile,
    source: &'a str,
) -> BoxFuture<'a, Result<FetchedCredentials, CredentialsError>> {
    Box::pin(async move {
        let fetched = match profile {
            CredentialProfile::Key(credentials) => FetchedCredentials::lasting(credentials.clone(), source),
            CredentialProfile::Role { base, role, place } => {
                let base = follow(services, base, source).await?;
                sts::assume(services, &base.credentials, role, place, source).await?
            }
            CredentialProfile::Machine { .. } if services.flag(ecs::DISABLED) => {
                return Err(CredentialsError::Unusable(format!(
                    "{} rules out the machine's role",
                    ecs::DISABLED
                )));
            }
            CredentialProfile::Machine { role } => ecs::fetch(services, role.as_deref()).await?,
            CredentialProfile::Oidc { provider_arn, token_file, role, place } => {
                oidc::exchange(services, provider_arn, token_file.clone(), role, place, source).await?
            }
        };
        Ok(FetchedCredentials { source: source.to_owned(), ..fetched })
    })
}
