//! The door to all of it: from what is configured to what answers every call.

use std::sync::Arc;

use secrecy::SecretString;
use tokio::time::Duration;

use super::{
    Credentials, CredentialsError, Inline, ProvideCredentials, Source, Watch,
    chain::{Chain, Link},
    ecs::{self, EcsRamRole},
    environment::Environment,
    files::{Files, Paths},
    oidc::{self, Oidc, OidcSettings},
    profile::{InProfile, Language, ProfileSettings},
    renewing::{Pace, Renewing},
    services::{Services, Setup},
    sts::{AssumeRole, Role},
    uri::{self, Uri},
};

use crate::api::retry;

const CLI_DISABLED: &str = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";

/// Files are looked at so often, whether they are good or bad: what replaces them is there at once.
const FILES: Pace = Pace { look_again: Duration::from_secs(3), longest_pause: Duration::from_secs(3) };

/// Anything else.
const OTHERS: Pace = Pace { look_again: Duration::from_secs(60), longest_pause: Duration::from_secs(60) };

/// Where a key comes from.
#[derive(Debug, Clone)]
pub enum Choice {
    /// Every source of the vendor's own tools, in their order.
    Chain,
    /// Variables.
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
    Files(Paths),
}

/// What answers all calls of an account: keys of a source or, if there is one, of a role that is assumed with
/// them.
///
/// # Errors
/// For endpoints that may not be called.
pub fn provider(
    choice: Choice,
    role: Option<Role>,
    setup: Setup,
    watch: Arc<dyn Watch>,
) -> Result<Arc<dyn ProvideCredentials>, CredentialsError> {
    let services = Services::new(&setup)?;
    // A role is asked for at the token service, whatever its key comes from.
    let pace = if role.is_none() && matches!(choice, Choice::Files(_)) { FILES } else { OTHERS };
    let base = match (choice, &role) {
        (Choice::Inline(credentials), None) => return Ok(Arc::new(Inline::new(credentials))),
        (choice, _) => source(choice, &services),
    };
    let source = match role {
        Some(role) => Box::new(AssumeRole { services: Arc::clone(&services), base, role }),
        None => base,
    };
    let jitter = Box::new(move || retry::uniform((setup.entropy)()));
    Ok(Arc::new(Renewing::new(source, pace, jitter, setup.account, watch)))
}

fn source(choice: Choice, services: &Arc<Services>) -> Box<dyn Source> {
    let services = Arc::clone(services);
    match choice {
        Choice::Chain => Box::new(chain(&services)),
        Choice::Environment => Box::new(Environment(Arc::clone(&services.variables))),
        Choice::Oidc(settings) => Box::new(Oidc { services, settings }),
        Choice::CliProfile(settings) => Box::new(InProfile { services, language: Language::Cli, settings }),
        Choice::IniProfile(settings) => Box::new(InProfile { services, language: Language::Ini, settings }),
        Choice::EcsRamRole(role) => Box::new(EcsRamRole { services, role }),
        Choice::Uri(uri) => Box::new(Uri { services, uri }),
        Choice::Inline(credentials) => Box::new(Inline::new(credentials)),
        Choice::Files(paths) => Box::new(Files { services, paths }),
    }
}

fn chain(services: &Arc<Services>) -> Chain {
    let link = |name, choice, is_guess| Link { name, source: source(choice, services), is_guess };
    let mut links = vec![
        link("environment", Choice::Environment, false),
        link(oidc::NAME, Choice::Oidc(OidcSettings::default()), false),
    ];
    if !services.flag(CLI_DISABLED) {
        links.push(link(Language::Cli.name(), Choice::CliProfile(ProfileSettings::default()), false));
    }
    links.push(link(Language::Ini.name(), Choice::IniProfile(ProfileSettings::default()), false));
    if !services.flag(ecs::DISABLED) {
        links.push(link(ecs::NAME, Choice::EcsRamRole(None), true));
    }
    links.push(link(uri::NAME, Choice::Uri(None), false));
    Chain::new(links)
}
