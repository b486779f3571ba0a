//! The wiring of the daemon: makes each part from the configuration and joins their ends.
//!
//! Owns: which part is handed what, and that the process ends when one of its loops dies. Refuses:
//! arithmetic, parsing, and decisions: a choice that is made here belongs into one of the parts.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use tokio::{net::TcpListener, runtime::Handle, sync::mpsc, task::JoinSet, time::Duration};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Action, ApiClient, RequestBudgets},
    clock,
    collect::{self, CollectContext, Desk, DiscoverySequence},
    config::{self, Config},
    exposition::{Renderer, SelfMetrics, publisher, self_metrics},
    health::Health,
    model::RegionId,
    snapshot::SnapshotStore,
    web,
};

mod counting;
mod desk;
mod keys;
pub mod panics;
mod reload;
#[cfg(debug_assertions)]
mod sabotage;
mod shown;
mod watchdog;

use counting::Counting;
use desk::Reception;
use reload::{Door, Keeper};
use shown::{Beside, Shown};
use watchdog::Watchdog;

pub use reload::Source;

/// The region whose endpoint is asked which regions hold instances; the endpoint of any would do.
const HOME_REGION: &str = "cn-hangzhou";
/// Connecting, TLS included, is given this much of the time that a whole call may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What this binary was built from.
const BUILD: self_metrics::BuildInfo = self_metrics::BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    revision: match option_env!("ALIKAFKA_EXPORTER_REVISION") {
        Some(revision) => revision,
        None => "unknown",
    },
    rustversion: env!("ALIKAFKA_EXPORTER_RUSTC"),
};

/// How the pages are served.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// The path of the metrics page.
    pub telemetry_path: String,
    /// What one client may ask of the server.
    pub limits: web::HttpLimits,
    /// Whether a client may have the configuration loaded anew.
    pub lifecycle: bool,
    /// Whether a client may ask why a number is what it is.
    pub explain: bool,
}

/// Why the daemon ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A part cannot be made from the configuration.
    #[error("cannot start: {0}")]
    Setup(String),
    /// A loop that must not end has ended.
    #[error("{0}")]
    Died(String),
}

/// Runs the daemon until the shutdown: collects on its own clocks and serves what is known. `source` is where
/// another configuration is loaded from when that is asked for.
///
/// # Errors
/// [`RunError`] if a part cannot be made, or as soon as a loop dies, rather than serving data that nobody
/// refreshes.
pub async fn run(
    config: Config,
    source: Source,
    options: WebOptions,
    listeners: Vec<TcpListener>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    api::install_crypto_provider();
    let own = Arc::new(SelfMetrics::new(BUILD).map_err(|e| RunError::Setup(e.to_string()))?);
    own.record_config_load(Some(clock::unix_now()));
    let limits = watchdog::Limits::default();
    #[cfg(debug_assertions)]
    let limits = sabotage::limits(limits);
    let (store, health) = (Arc::new(SnapshotStore::default()), Health::new(limits.unhealthy));
    let runtime = Handle::current();
    let knock = move || drop(runtime.spawn(async {}));
    let watchdog = Watchdog::start(health.clone(), limits.end, knock, stuck);
    let _watchdog = watchdog.map_err(|error| RunError::Setup(error.to_string()))?;
    let shown = Arc::new(Shown::new(Arc::clone(&own), health.clone(), look(&config)));
    let counting = Counting(own);
    // Each who asks waits in turn.
    let (ask, asked) = mpsc::channel(1);
    let desk = Desk::default();
    let reception = Reception(desk.clone());
    let app = web::WebApp {
        content: Arc::clone(&shown) as Arc<dyn web::ContentSource>,
        observer: Arc::new(counting.clone()),
        lifecycle: options.lifecycle.then(|| Arc::new(Door(ask)) as Arc<dyn web::ReloadHandler>),
        explain: options.explain.then(|| Arc::new(reception) as Arc<dyn web::Explainer>),
        health: health.clone(),
        telemetry_path: options.telemetry_path,
        limits: options.limits,
    };
    let shared = CollectContext {
        store: Arc::clone(&store),
        health,
        observer: Arc::new(counting.clone()),
        clock: clock::unix_now,
        sequence: Arc::new(DiscoverySequence::default()),
        desk,
    };

    let mut parts: Vec<Part> = vec![Box::pin(died(web::serve(listeners, app, shutdown.clone())))];
    let renderer = Renderer::new(config.metrics.clone());
    let show = move |page, snapshot, turn| shown.show(page, snapshot, turn);
    let (turn, turns) = mpsc::channel(1);
    parts.push(Box::pin(died(publisher::run(store, renderer, turns, show, shutdown.clone()))));
    let keeper = Keeper::start(config, source, shared, counting, turn, shutdown.clone())?;
    parts.push(Box::pin(keeper.run(asked)));
    join(parts, &shutdown).await
}

/// Ends the process. Nothing that the runtime would have to do can be relied on.
fn stuck(name: &str) {
    tracing::error!(
        stuck = name,
        "a loop stands still; refusing to serve data that nobody refreshes, please report this"
    );
    std::process::exit(1);
}

/// A part of the daemon: it runs until the shutdown.
type Part = Pin<Box<dyn Future<Output = Result<(), RunError>> + Send>>;

async fn died<E: std::fmt::Display>(part: impl Future<Output = Result<(), E>>) -> Result<(), RunError> {
    part.await.map_err(|error| RunError::Died(error.to_string()))
}

/// Runs all parts; the first that fails, panics, or ends before the shutdown ends them all.
async fn join(parts: Vec<Part>, shutdown: &CancellationToken) -> Result<(), RunError> {
    let mut tasks = JoinSet::new();
    for part in parts {
        tasks.spawn(part);
    }
    while let Some(ended) = tasks.join_next().await {
        // The payload of a panic may hold data, so it is not told.
        let result = ended.unwrap_or_else(|_| {
            Err(RunError::Died("a part of the daemon has ended by a panic, please report this".to_owned()))
        });
        if result.is_err() || !shutdown.is_cancelled() {
            result?;
            return Err(RunError::Died(
                "a part of the daemon has ended by itself, please report this".to_owned(),
            ));
        }
    }
    Ok(())
}

fn collected(
    account: &config::Account,
    config: &Config,
    counting: &Counting,
    budgets: &Arc<RequestBudgets>,
    keys: Arc<dyn api::ProvideCredentials>,
) -> Result<collect::AccountPlan<ApiClient>, RunError> {
    let home_region = RegionId::new(HOME_REGION).map_err(|error| RunError::Setup(error.to_string()))?;
    let source = account.clone();
    let rates = rates(&account.rates)?;
    let observer: Arc<dyn api::ApiObserver> = Arc::new(counting.clone());
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
            budget: budgets.of(source.name.as_ref(), region, &client_rates),
            proxy: source.proxy.clone(),
        };
        ApiClient::new(settings, Arc::clone(&keys), Arc::clone(&observer), clock::unix_now, api::os_entropy)
            .map_err(|error| error.to_string())
    };
    // Build one client up front so that a bad endpoint or proxy fails at startup, not at the first discovery.
    connect(&home_region).map_err(RunError::Setup)?;
    Ok(collect::AccountPlan {
        name: account.name.clone(),
        regions: account.regions.clone(),
        home_region,
        filters: account.filters.clone(),
        timing: config.timing,
        configured_rate: Arc::new(move |action| rates.of(action).per_second()),
        connect: Arc::new(connect),
    })
}

fn rates(rates: &config::RequestRates) -> Result<api::ActionRates, RunError> {
    let rate = |action: Action| {
        let per_second = rates.of(action.name());
        let refused = || {
            RunError::Setup(format!("{per_second} calls per second of {} are not supported", action.name()))
        };
        Ok((action, api::RequestRate::new(per_second).ok_or_else(refused)?))
    };
    let overrides: BTreeMap<Action, api::RequestRate> =
        Action::ALL.into_iter().map(rate).collect::<Result<_, _>>()?;
    let (_, default) = rate(Action::GetInstanceList)?;
    Ok(api::ActionRates { default, overrides })
}

fn look(config: &Config) -> self_metrics::SelfMetricsOptions {
    self_metrics::SelfMetricsOptions {
        naming: config.metrics.naming,
        constant_labels: config.metrics.constant_labels.clone(),
        accounts_are_named: config.accounts.iter().any(|a| a.name.is_some()),
    }
}
