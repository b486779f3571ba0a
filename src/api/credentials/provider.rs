//! Construction of the credentials provider of an account from its configuration.

use std::sync::Arc;

use tokio::time::Duration;

use super::{
    BoxFuture, CredentialSource, Credentials, CredentialsError, CredentialsObserver, FetchResult,
    FetchedCredentials, ProvideCredentials,
    chain::{ChainedSource, SourceChain},
    context::{self, SourceContext, SourceSettings},
    ecs, files, oidc,
    profile::{self, ProfileFormat},
    refreshing::RefreshingProvider,
    sts::{self, AssumedRole},
    uri,
};
use crate::{
    api::retry,
    model::credentials::{OidcSettings, ProfileSettings, SourceSelection},
};

const CLI_DISABLED: &str = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";

/// Interval of reading files, short so that replaced files are used promptly.
const FILE_INTERVAL: Duration = Duration::from_secs(3);

/// Interval of reading all other sources.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// Returns the provider of an account's credentials: those of the source or, if there is a role, those of the role that
/// is assumed with them.
///
/// # Errors
/// [`CredentialsError::Unusable`] for an invalid endpoint.
pub fn provider(
    selection: SourceSelection,
    role: Option<AssumedRole>,
    settings: SourceSettings,
    observer: Arc<dyn CredentialsObserver>,
) -> Result<Arc<dyn ProvideCredentials>, CredentialsError> {
    let context = SourceContext::new(&settings)?;
    // The key of a role comes from the token service, even if its base key comes from files.
    let is_files = matches!(selection, SourceSelection::Files(_)) && role.is_none();
    let interval = if is_files { FILE_INTERVAL } else { DEFAULT_INTERVAL };
    let source: Box<dyn CredentialSource> = match (selection, role) {
        (SourceSelection::Inline(key), None) => {
            return Ok(Arc::new(Arc::new(Credentials::from_access_key(&key)?)));
        }
        (selection, None) => source(selection, &context),
        (selection, Some(role)) => {
            Box::new(AssumeRoleSource { base: source(selection, &context), context, role })
        }
    };
    let jitter = Box::new(move || retry::uniform((settings.entropy)()));
    Ok(Arc::new(RefreshingProvider::new(source, interval, jitter, settings.account, observer)))
}

fn source(selection: SourceSelection, context: &Arc<SourceContext>) -> Box<dyn CredentialSource> {
    match selection {
        SourceSelection::Chain => Box::new(default_chain(context)),
        selection => Box::new(SingleSource { context: Arc::clone(context), selection }),
    }
}

/// Returns the sources of Alibaba Cloud's own tools, in their order.
fn default_chain(context: &Arc<SourceContext>) -> SourceChain {
    let link = |name, selection, is_speculative| ChainedSource {
        name,
        source: source(selection, context),
        is_speculative,
    };
    let mut sources = vec![
        link("environment", SourceSelection::Environment, false),
        link(oidc::NAME, SourceSelection::Oidc(OidcSettings::default()), false),
    ];
    if !context.flag(CLI_DISABLED) {
        let selection = SourceSelection::CliProfile(ProfileSettings::default());
        sources.push(link(ProfileFormat::Cli.source_name(), selection, false));
    }
    let selection = SourceSelection::IniProfile(ProfileSettings::default());
    sources.push(link(ProfileFormat::Ini.source_name(), selection, false));
    if !context.flag(ecs::DISABLED) {
        sources.push(link(ecs::NAME, SourceSelection::EcsRamRole(None), true));
    }
    sources.push(link(uri::NAME, SourceSelection::Uri(None), false));
    SourceChain::new(sources)
}

/// Any source other than the chain.
struct SingleSource {
    context: Arc<SourceContext>,
    selection: SourceSelection,
}

impl CredentialSource for SingleSource {
    fn fetch(&self) -> BoxFuture<'_, FetchResult> {
        let context = &*self.context;
        Box::pin(async move {
            match &self.selection {
                SourceSelection::Chain => default_chain(&self.context).fetch().await,
                SourceSelection::Environment => context::environment_credentials(&context.settings.variables)
                    .map(|credentials| FetchedCredentials::permanent(credentials, "environment")),
                SourceSelection::Oidc(settings) => oidc::fetch(context, settings).await,
                SourceSelection::CliProfile(settings) => {
                    profile::fetch(context, ProfileFormat::Cli, settings).await
                }
                SourceSelection::IniProfile(settings) => {
                    profile::fetch(context, ProfileFormat::Ini, settings).await
                }
                SourceSelection::EcsRamRole(role) => ecs::fetch(context, role.as_deref()).await,
                SourceSelection::Uri(uri) => uri::fetch(context, uri.as_ref()).await,
                SourceSelection::Inline(key) => Credentials::from_access_key(key)
                    .map(|credentials| FetchedCredentials::permanent(credentials, "inline")),
                SourceSelection::Files(paths) => files::fetch(context, paths).await,
            }
        })
    }
}

/// Role that is assumed with the key of another source.
struct AssumeRoleSource {
    context: Arc<SourceContext>,
    base: Box<dyn CredentialSource>,
    role: AssumedRole,
}

impl CredentialSource for AssumeRoleSource {
    fn fetch(&self) -> BoxFuture<'_, FetchResult> {
        Box::pin(async {
            // Not cached: a cached key would expire and be rejected at some time.
            let base = self.base.fetch().await?;
            let source = format!("{}+assume_role", base.source);
            sts::assume_role(&self.context, &base.credentials, &self.role, &source).await
        })
    }
}
