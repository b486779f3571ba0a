//! Profiles in the files of the vendor's tools: which file and which profile, and the key that it leads to.
//!
//! Owns: where the files are, and following a profile to its key. The files' own languages are read by
//! `cli_profile` and `ini_profile`.

use std::{path::PathBuf, sync::Arc};

use secrecy::ExposeSecret as _;

use super::{
    BoxFuture, Credentials, CredentialsError, Fetched, Source, cli_profile, ecs, ini_profile, oidc,
    services::Services,
    sts::{self, Place, Role},
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
pub(super) enum Profile {
    /// A key.
    Key(Credentials),
    /// A role that the key of another profile assumes.
    Role { base: Box<Self>, role: Role, place: Place },
    /// The role of the machine.
    Machine { role: Option<String> },
    /// A role that a token stands for.
    Oidc { provider_arn: String, token_file: PathBuf, role: Role, place: Place },
}

/// Whose file a profile is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// `~/.aliyun/config.json`.
    Cli,
    /// `~/.alibabacloud/credentials`.
    Ini,
}

impl Language {
    /// The name of the source.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli_profile",
            Self::Ini => "ini_profile",
        }
    }

    pub(super) fn parse(self, text: &str, name: Option<&str>) -> Result<Profile, String> {
        match self {
            Self::Cli => cli_profile::parse(text, name),
            Self::Ini => ini_profile::parse(text, name),
        }
    }
}

/// The key of a profile.
pub(super) struct InProfile {
    pub(super) services: Arc<Services>,
    pub(super) language: Language,
    pub(super) settings: ProfileSettings,
}

impl InProfile {
    async fn key(&self) -> Result<Fetched, CredentialsError> {
        let name = self.settings.name.clone().or_else(|| self.services.plain_variable(NAME));
        let mut absent = CredentialsError::Missing("the variable HOME, or the file of profiles".to_owned());
        for path in self.paths() {
            let (language, name) = (self.language, name.clone());
            let profile = self.services.disk.read(move |disk| {
                let text = disk.secret(&path)?;
                language
                    .parse(text.expose_secret(), name.as_deref())
                    .map_err(|why| CredentialsError::Unusable(format!("{}: {why}", path.display())))
            });
            match profile.await {
                Ok(profile) => return follow(&self.services, &profile, self.language.name()).await,
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
        if self.language == Language::Ini
            && let Some(path) = self.services.plain_variable(INI_FILE)
        {
            return vec![path.into()];
        }
        let below_home: &[&str] = match self.language {
            Language::Cli => &[".aliyun/config.json"],
            // The vendor's tools spell it in two ways.
            Language::Ini => &[".alibabacloud/credentials", ".alibabacloud/credentials.ini"],
        };
        let home = self.services.plain_variable("HOME").map(PathBuf::from);
        home.map(|home| below_home.iter().map(|path| home.join(path)).collect()).unwrap_or_default()
    }
}

impl Source for InProfile {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, CredentialsError>> {
        Box::pin(self.key())
    }
}

/// The key that a profile leads to.
fn follow<'a>(
    services: &'a Services,
    profile: &'a Profile,
    source: &'a str,
) -> BoxFuture<'a, Result<Fetched, CredentialsError>> {
    Box::pin(async move {
        let fetched = match profile {
            Profile::Key(credentials) => Fetched::lasting(credentials.clone(), source),
            Profile::Role { base, role, place } => {
                let base = follow(services, base, source).await?;
                sts::assume(services, &base.credentials, role, place, source).await?
            }
            Profile::Machine { .. } if services.flag(ecs::DISABLED) => {
                return Err(CredentialsError::Unusable(format!(
                    "{} rules out the machine's role",
                    ecs::DISABLED
                )));
            }
            Profile::Machine { role } => ecs::fetch(services, role.as_deref()).await?,
            Profile::Oidc { provider_arn, token_file, role, place } => {
                oidc::exchange(services, provider_arn, token_file.clone(), role, place, source).await?
            }
        };
        Ok(Fetched { source: source.to_owned(), ..fetched })
    })
}
