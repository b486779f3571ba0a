//! Profiles in the files of Alibaba Cloud's tools: the file, the profile, and the key that it leads to.
//! [`cli_profile`] and [`ini_profile`] parse the two file formats.

use std::path::PathBuf;

use secrecy::ExposeSecret as _;

use super::{
    BoxFuture, Credentials, CredentialsError, FetchResult, FetchedCredentials, cli_profile,
    context::SourceContext,
    ecs, ini_profile, oidc,
    sts::{self, AssumedRole},
};
use crate::model::credentials::ProfileSettings;

const PROFILE_NAME: &str = "ALIBABA_CLOUD_PROFILE";
const INI_FILE: &str = "ALIBABA_CLOUD_CREDENTIALS_FILE";

/// Content of a profile.
#[derive(Debug)]
pub(super) enum CredentialProfile {
    /// Access key.
    Key(Credentials),
    /// Role that is assumed with the key of another profile.
    Role { base: Box<Self>, role: AssumedRole },
    /// Role of the ECS instance.
    EcsRole { name: Option<String> },
    /// Role that is assumed with an OIDC token.
    Oidc { provider_arn: String, token_file: PathBuf, role: AssumedRole },
}

/// Format of a file with profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum ProfileFormat {
    /// `~/.aliyun/config.json`.
    Cli,
    /// `~/.alibabacloud/credentials`.
    Ini,
}

impl ProfileFormat {
    /// Returns the name of the source.
    pub(super) fn source_name(self) -> &'static str {
        match self {
            Self::Cli => "cli_profile",
            Self::Ini => "ini_profile",
        }
    }

    fn parse(self, text: &str, name: Option<&str>) -> Result<CredentialProfile, String> {
        match self {
            Self::Cli => cli_profile::parse(text, name),
            Self::Ini => ini_profile::parse(text, name),
        }
    }
}

/// Parses a file and describes its default profile without secrets, or why it cannot be used.
pub(in crate::api) fn describe_profile(text: &str, format: ProfileFormat) -> Result<String, String> {
    format.parse(text, None).map(|profile| format!("{profile:?}"))
}

/// Fetches the key of a profile.
pub(super) async fn fetch(
    context: &SourceContext,
    format: ProfileFormat,
    settings: &ProfileSettings,
) -> FetchResult {
    let name = settings.name.clone().or_else(|| context.plain_variable(PROFILE_NAME));
    let mut missing = CredentialsError::Missing("the variable HOME, or the file of profiles".to_owned());
    for path in candidate_paths(context, format, settings) {
        let name = name.clone();
        let profile = context.files.run(move |reader| {
            let text = reader.read(&path)?;
            let profile = format.parse(text.expose_secret(), name.as_deref());
            profile.map_err(|error| CredentialsError::unusable(format!("{}: {error}", path.display())))
        });
        match profile.await {
            Ok(profile) => return fetch_profile(context, &profile, format.source_name()).await,
            Err(error @ CredentialsError::Missing(_)) => missing = error,
            Err(error) => return Err(error),
        }
    }
    Err(missing)
}

/// Returns the possible paths of the file. The first one that exists is used.
fn candidate_paths(
    context: &SourceContext,
    format: ProfileFormat,
    settings: &ProfileSettings,
) -> Vec<PathBuf> {
    if let Some(path) = &settings.file {
        return vec![path.clone()];
    }
    if format == ProfileFormat::Ini
        && let Some(path) = context.plain_variable(INI_FILE)
    {
        return vec![path.into()];
    }
    let paths_in_home: &[&str] = match format {
        ProfileFormat::Cli => &[".aliyun/config.json"],
        // Alibaba Cloud's tools use both names.
        ProfileFormat::Ini => &[".alibabacloud/credentials", ".alibabacloud/credentials.ini"],
    };
    let home = context.plain_variable("HOME").map(PathBuf::from);
    home.map(|home| paths_in_home.iter().map(|path| home.join(path)).collect()).unwrap_or_default()
}

/// Fetches the key that a parsed profile leads to.
fn fetch_profile<'a>(
    context: &'a SourceContext,
    profile: &'a CredentialProfile,
    source: &'a str,
) -> BoxFuture<'a, FetchResult> {
    Box::pin(async move {
        let fetched = match profile {
            CredentialProfile::Key(credentials) => FetchedCredentials::permanent(credentials.clone(), source),
            CredentialProfile::Role { base, role } => {
                let base = fetch_profile(context, base, source).await?;
                sts::assume_role(context, &base.credentials, role, source).await?
            }
            CredentialProfile::EcsRole { .. } if context.flag(ecs::DISABLED) => {
                return Err(CredentialsError::unusable(format!(
                    "{} disables the role of the instance",
                    ecs::DISABLED
                )));
            }
            CredentialProfile::EcsRole { name } => ecs::fetch(context, name.as_deref()).await?,
            CredentialProfile::Oidc { provider_arn, token_file, role } => {
                oidc::exchange(context, provider_arn, token_file.clone(), role, source).await?
            }
        };
        Ok(FetchedCredentials { source: source.to_owned(), ..fetched })
    })
}
