//! Wiring of the running daemon: builds every component from the configuration and connects them.
//!
//! Owns: startup, reload, the watchdog, and ending the process as soon as one of its tasks dies.
//! Out of scope: flags and signals (`main`), and any logic that belongs to a single component.

use std::{fmt::Display, future::Future, pin::Pin, sync::Arc};

use tokio::{net::TcpListener, runtime::Handle, sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    api, clock,
    collect::{CollectContext, DiscoverySequence, ExplainRouter},
    config::Config,
    explain::GroupExplainer,
    exposition::{Renderer, SelfMetrics, publisher, self_metrics::BuildInfo},
    health::Health,
    snapshot::SnapshotStore,
    web,
};

mod account;
mod metrics_recorder;
pub mod panics;
mod published_exposition;
mod reload;
mod watchdog;

use metrics_recorder::MetricsRecorder;
use published_exposition::PublishedExposition;
use reload::{ReloadHandle, ReloadSupervisor};
use watchdog::{Watchdog, WatchdogLimits};

pub use reload::ConfigSource;

/// Build of this binary.
pub const BUILD: BuildInfo = BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("ALIKAFKA_EXPORTER_REVISION"),
    rustversion: env!("ALIKAFKA_EXPORTER_RUSTC"),
};

/// Options of the HTTP server.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// Path of the metrics endpoint.
    pub telemetry_path: String,
    /// Limits for each client.
    pub limits: web::HttpLimits,
    /// Whether clients may reload the configuration.
    pub lifecycle: bool,
    /// Whether clients may query `/debug/state`.
    pub explain: bool,
}

/// Reason for which the daemon ended before the shutdown.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A component cannot be built from the configuration.
    #[error("cannot start: {0}")]
    Setup(String),
    /// A task that must not end has ended.
    #[error("{0}")]
    Died(String),
}

impl RunError {
    fn setup(error: impl Display) -> Self {
        Self::Setup(error.to_string())
    }
}

/// Runs the daemon until `shutdown`. Reloads read the configuration from `source`.
///
/// # Errors
/// [`RunError`] if a component cannot be built, or as soon as a task dies, because the daemon must not serve
/// stale data.
pub async fn run(
    config: Config,
    source: ConfigSource,
    options: WebOptions,
    listeners: Vec<TcpListener>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    api::install_crypto_provider();
    let self_metrics = Arc::new(SelfMetrics::new(BUILD).map_err(RunError::setup)?);
    self_metrics.record_config_load(Some(clock::unix_now()));
    let limits = watchdog_limits();
    let (store, health) = (Arc::new(SnapshotStore::default()), Health::new(limits.unhealthy));
    let runtime = Handle::current();
    let wake_runtime = move || drop(runtime.spawn(async {}));
    let _watchdog =
        Watchdog::start(health.clone(), limits.exit, wake_runtime, exit_if_stuck).map_err(RunError::setup)?;
    let recorder = MetricsRecorder(Arc::clone(&self_metrics));
    let published = Arc::new(PublishedExposition::new(
        self_metrics,
        health.clone(),
        account::self_metrics_options(&config),
    ));
    // Concurrent reload requests wait for each other.
    let (reload_sender, reload_requests) = mpsc::channel(1);
    let explain_router = ExplainRouter::default();
    let explainer = GroupExplainer(explain_router.clone());
    let app = web::WebApp {
        content: Arc::clone(&published) as Arc<dyn web::ContentSource>,
        observer: Arc::new(recorder.clone()),
        reload_handler: options
            .lifecycle
            .then(|| Arc::new(ReloadHandle(reload_sender)) as Arc<dyn web::ReloadHandler>),
        explainer: options.explain.then(|| Arc::new(explainer) as Arc<dyn web::Explainer>),
        health: health.clone(),
        telemetry_path: options.telemetry_path,
        limits: options.limits,
    };
    let context = CollectContext {
        store: Arc::clone(&store),
        health,
        observer: Arc::new(recorder.clone()),
        clock: clock::unix_now,
        sequence: Arc::new(DiscoverySequence::default()),
        explain_router,
    };
    let renderer = Renderer::new(config.metrics.clone());
    let publish = move |exposition, snapshot, switch| published.publish(exposition, snapshot, switch);
    let (switch_sender, switches) = mpsc::channel(1);
    let supervisor =
        ReloadSupervisor::start(config, source, context, recorder, switch_sender, shutdown.clone())?;
    let tasks: [DaemonTask; 3] = [
        Box::pin(or_died(web::serve(listeners, app, shutdown.clone()))),
        Box::pin(or_died(publisher::run(store, renderer, switches, publish, shutdown.clone()))),
        Box::pin(supervisor.run(reload_requests)),
    ];
    run_all(tasks, &shutdown).await
}

fn watchdog_limits() -> WatchdogLimits {
    #[cfg(feature = "fail-points")]
    fail::fail_point!("watchdog-limits", |limits| WatchdogLimits::from_fail_point(limits.as_deref()));
    WatchdogLimits::default()
}

/// Ends the process if a poll loop is stuck. The runtime may be blocked, so an orderly shutdown is impossible.
fn exit_if_stuck(name: &str) {
    tracing::error!(
        poll_loop = name,
        "poll loop is stuck; exiting rather than serving stale data (please report this bug)"
    );
    std::process::exit(1);
}

/// Task of the daemon that runs until the shutdown.
type DaemonTask = Pin<Box<dyn Future<Output = Result<(), RunError>> + Send>>;

async fn or_died<E: Display>(task: impl Future<Output = Result<(), E>>) -> Result<(), RunError> {
    task.await.map_err(|error| RunError::Died(error.to_string()))
}

/// Runs all tasks. The first one that fails, panics or ends before the shutdown ends the others.
async fn run_all(tasks: [DaemonTask; 3], shutdown: &CancellationToken) -> Result<(), RunError> {
    let mut running = JoinSet::from_iter(tasks);
    while let Some(result) = running.join_next().await {
        // Do not log the panic payload because it may hold secrets.
        result.map_err(|_| {
            RunError::Died("a task of the daemon panicked (please report this bug)".to_owned())
        })??;
        if !shutdown.is_cancelled() {
            return Err(RunError::Died(
                "a task of the daemon ended unexpectedly (please report this bug)".to_owned(),
            ));
        }
    }
    Ok(())
}
