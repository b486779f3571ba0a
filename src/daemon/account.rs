//! Builds the parts of one account from its configuration: the plan for its pollers, the request rates and the
//! credentials provider.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Duration;

use super::{MetricsRecorder, RunError};
use crate::{
    api::{
        self, Action, ActionRates, ApiClient, ProvideCredentials, RequestBudgets, RequestRate, credentials,
    },
    clock,
    collect::AccountPlan,
    config::{self, Config},
    exposition::{SelfMetrics, self_metrics::SelfMetricsOptions},
    model::{AccountName, RegionId, UnixMillis},
};

/// Region whose endpoint serves region discovery; any region would do.
const HOME_REGION: &str = "cn-hangzhou";
/// Maximum time for connecting, including TLS, within the request timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Builds the plan for the pollers of an account.
///
/// # Errors
/// [`RunError::Setup`] if no API client can be built from the configuration.
pub(super) fn account_plan(
    account: &config::Account,
    config: &Config,
    recorder: &MetricsRecorder,
    budgets: &Arc<RequestBudgets>,
    provider: Arc<dyn ProvideCredentials>,
) -> Result<AccountPlan<ApiClient>, RunError> {
    let home_region = RegionId::new(HOME_REGION).map_err(RunError::setup)?;
    let source = account.clone();
    let rates = action_rates(&account.rates)?;
    let observer: Arc<dyn api::ApiObserver> = Arc::new(recorder.clone());
    let request_timeout = config.timing.request_timeout;
    let (client_rates, budgets) = (rates.clone(), Arc::clone(budgets));
    let connect = move |region: &RegionId| {
        let settings = api::ClientSettings {
            account: source.name.clone(),
            region: region.clone(),
            endpoint: source.endpoint.url(region),
            signature: source.signature,
            request_timeout,
            connect_timeout: CONNECT_TIMEOUT.min(request_timeout),
            budget: budgets.get_or_create(source.name.as_ref(), region, &client_rates),
            proxy: source.proxy.clone(),
        };
        let (provider, observer) = (Arc::clone(&provider), Arc::clone(&observer));
        ApiClient::new(settings, provider, observer, clock::unix_now, api::os_entropy)
            .map_err(|error| error.to_string())
    };
    // Build one client up front so that a bad endpoint or proxy fails at startup, not at the first discovery.
    connect(&home_region).map_err(RunError::Setup)?;
    Ok(AccountPlan {
        name: account.name.clone(),
        regions: account.regions.clone(),
        home_region,
        filters: account.filters.clone(),
        timing: config.timing,
        configured_rate: Arc::new(move |action| rates.rate(action).per_second()),
        connect: Arc::new(connect),
    })
}

/// Converts the configured rates.
///
/// # Errors
/// [`RunError::Setup`] for a rate that the rate limiter does not support.
pub(super) fn action_rates(rates: &config::RequestRates) -> Result<ActionRates, RunError> {
    let supported_rate = |action: Action| {
        let per_second = rates.of(action.name());
        RequestRate::new(per_second).ok_or_else(|| {
            RunError::Setup(format!("{per_second} calls per second of {} are not supported", action.name()))
        })
    };
    let overrides: BTreeMap<Action, RequestRate> = Action::ALL
        .into_iter()
        .map(|action| Ok((action, supported_rate(action)?)))
        .collect::<Result<_, RunError>>()?;
    Ok(ActionRates { default: supported_rate(Action::GetInstanceList)?, overrides })
}

/// Returns how self-metrics are rendered under a configuration.
pub(super) fn self_metrics_options(config: &Config) -> SelfMetricsOptions {
    SelfMetricsOptions {
        naming: config.metrics.naming,
        constant_labels: config.metrics.constant_labels.clone(),
        accounts_are_named: config.accounts.iter().any(|account| account.name.is_some()),
    }
}

/// Builds the credentials provider of an account. Its self-metrics are recorded in `self_metrics`.
///
/// # Errors
/// [`RunError::Setup`] for an access key that is not valid, or an endpoint that must not be called.
pub(super) fn credentials_provider(
    account: &config::Account,
    self_metrics: &Arc<SelfMetrics>,
) -> Result<Arc<dyn ProvideCredentials>, RunError> {
    let configured = &account.credentials;
    let recorder =
        CredentialsRecorder { self_metrics: Arc::clone(self_metrics), account: account.name.clone() };
    let settings = credentials::SourceSettings {
        account: account.name.clone(),
        sts_endpoint: configured.sts_endpoint.clone(),
        metadata_endpoint: configured.metadata_endpoint.clone(),
        proxy: account.proxy.clone(),
        variables: Arc::new(|name: &str| std::env::var(name).ok()),
        clock: clock::unix_now,
        entropy: api::os_entropy,
    };
    let role = configured.assume_role.as_ref().map(|role| credentials::AssumedRole {
        external_id: role.external_id.clone(),
        policy: role.policy.clone(),
        duration: role.duration,
        ..credentials::AssumedRole::new(role.role_arn.clone(), Some(role.session_name.clone()))
    });
    credentials::provider(configured.source.clone(), role, settings, Arc::new(recorder))
        .map_err(RunError::setup)
}

/// Records the credential metrics of one account.
struct CredentialsRecorder {
    self_metrics: Arc<SelfMetrics>,
    account: Option<AccountName>,
}

impl credentials::CredentialsObserver for CredentialsRecorder {
    fn expires(&self, at: Option<UnixMillis>) {
        self.self_metrics.set_credentials_expiry(self.account.as_ref(), at);
    }

    fn failed(&self) {
        self.self_metrics.add_credentials_failures(self.account.as_ref(), 1);
    }
}
