//! The door to all of it: from what is configured to what answers every call.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::time::Duration;

use super::{
    CredentialSource, Credentials, CredentialsError, CredentialsObserver, InlineCredentials,
    ProvideCredentials,
    chain::{ChainedSource, SourceChain},
    context::{SourceContext, SourceSettings},
    ecs::{self, EcsRoleSource},
    environment::EnvironmentSource,
    files::{FileSource, KeyFilePaths},
    oidc::{self, OidcSettings, OidcSource},
    profile::{ProfileFormat, ProfileSettings, ProfileSource},
    refreshing::{RefreshTiming, RefreshingProvider},
    sts::{AssumeRoleSource, AssumedRole},
    uri::{self, UriSource},
};

use crate::api::retry;

const CLI_DISABLED: &str = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";

/// Files are looked at so often, whether they are good or bad: what replaces them is there at once.
const FILES: RefreshTiming =
    RefreshTiming { look_again: Duration::from_secs(3), longest_pause: Duration::from_secs(3) };

/// Anything else.
const OTHERS: RefreshTiming =
    RefreshTiming { look_again: Duration::from_secs(60), longest_pause: Duration::from_secs(60) };

/// Where a key comes from.
#[derive(Debug, Clone)]
pub enum SourceSelection {
    /// Every source of the vendor's own tools, in their order.
    Chain,
    /// Environment variables.
    Environment,
    /// A token that is exchanged.
    Oidc(OidcSettings),
    /// A profile of the vendor's command line tool.
    CliProfile(ProfileSettings),
    /// A section of the vendor's credentials file.
    IniProfile(ProfileSettings),
    /// The role of the machine, of this name if it is told.
    EcsRamRole(Option<String>),
    /// An address that hands out keys; that of the variable if it is not told.
    Uri(Option<SecretString>),
    /// The configuration itself.
    Inline(Credentials),
    /// Files.
    Files(KeyFilePaths),
}

/// What answers all calls of an account: keys of a source or, if there is one, of a role that is assumed with
/// them.
///
/// # Errors
/// For endpoints that may not be called.
pub fn provider(
    choice: SourceSelection,
    role: Option<AssumedRole>,
    setup: SourceSettings,
    watch: Arc<dyn CredentialsObserver>,
) -> Result<Arc<dyn ProvideCredentials>, CredentialsError> {
    let services = SourceContext::new(&setup)?;
    // A role is asked for at the token service, whatever its key comes from.
    let pace = if role.is_none() && matches!(choice, SourceSelection::Files(_)) { FILES } else { OTHERS };
    let base = match (choice, &role) {
        (SourceSelection::Inline(credentials), None) => {
            return Ok(Arc::new(InlineCredentials::new(credentials)));
        }
        (choice, _) => source(choice, &services),
    };
    let source = match role {
        Some(role) => Box::new(AssumeRoleSource { services: Arc::clone(&services), base, role }),
        None => base,
    };
    let jitter = Box::new(move || retry::uniform((setup.entropy)()));
    Ok(Arc::new(RefreshingProvider::new(source, pace, jitter, setup.account, watch)))
}

fn source(choice: SourceSelection, services: &Arc<SourceContext>) -> Box<dyn CredentialSource> {
    let services = Arc::clone(services);
    match choice {
        SourceSelection::Chain => Box::new(chain(&services)),
        SourceSelection::Environment => Box::new(EnvironmentSource(Arc::clone(&services.variables))),
        SourceSelection::Oidc(settings) => Box::new(OidcSource { services, settings }),
        SourceSelection::CliProfile(settings) => {
            Box::new(ProfileSource { services, format: ProfileFormat::Cli, settings })
        }
        SourceSelection::IniProfile(settings) => {
            Box::new(ProfileSource { services, format: ProfileFormat::Ini, settings })
        }
        SourceSelection::EcsRamRole(role) => Box::new(EcsRoleSource { services, role }),
        SourceSelection::Uri(uri) => Box::new(UriSource { services, uri }),
        SourceSelection::Inline(credentials) => Box::new(InlineCredentials::new(credentials)),
        SourceSelection::Files(paths) => Box::new(FileSource { services, paths }),
    }
}

fn chain(services: &Arc<SourceContext>) -> SourceChain {
    let link = |name, choice, is_guess| ChainedSource { name, source: source(choice, services), is_guess };
    let mut links = vec![
        link("environment", SourceSelection::Environment, false),
        link(oidc::NAME, SourceSelection::Oidc(OidcSettings::default()), false),
    ];
    if !services.flag(CLI_DISABLED) {
        links.push(link(
            ProfileFormat::Cli.name(),
            SourceSelection::CliProfile(ProfileSettings::default()),
            false,
        ));
    }
    links.push(link(
        ProfileFormat::Ini.name(),
        SourceSelection::IniProfile(ProfileSettings::default()),
        false,
    ));
    if !services.flag(ecs::DISABLED) {
        links.push(link(ecs::NAME, SourceSelection::EcsRamRole(None), true));
    }
    links.push(link(uri::NAME, SourceSelection::Uri(None), false));
    SourceChain::new(links)
}
