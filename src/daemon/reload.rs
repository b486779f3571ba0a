//! Reload of the configuration while the daemon runs.
//!
//! [`ReloadSupervisor::run`] reads and checks the file. [`ReloadSupervisor::reload`] builds all components, and only
//! then stops the old pollers. It hands their state to the new pollers and starts these after the switch, which
//! `published_exposition.rs::publish` performs for the exposition and the self-metrics together. Reloads run one at a
//! time.
//!
//! Out of scope: flags, listeners and logging, which only a restart changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::{JoinError, JoinHandle, JoinSet, spawn_blocking},
    time::{Duration, Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    MetricsRecorder, RunError,
    account::{account_plan, action_rates, credentials_provider, self_metrics_options},
    published_exposition::ConfigSwitch,
};
use crate::{
    api::{ActionRates, ApiClient, ProvideCredentials, RequestBudgets},
    clock,
    collect::{AccountSupervisor, CollectContext, account::SupervisorError},
    config::{self, Config, Problems},
    exposition::{Renderer, SelfMetrics, publisher::Reconfiguration},
    model::{AccountName, RegionId},
    web,
};

/// A file that did not change for this long is assumed to be complete.
const SETTLE_TIME: Duration = Duration::from_millis(100);
/// Maximum time for reading the file, including the wait until it settles.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Source from which a reload reads the configuration.
#[derive(Clone, Default)]
pub struct ConfigSource {
    /// Configuration file, if any.
    pub file: Option<PathBuf>,
    /// Environment variables of the process, which override the file.
    pub environment: BTreeMap<String, String>,
    /// Notification that requests a reload.
    pub reload_signal: Arc<Notify>,
}

impl fmt::Debug for ConfigSource {
    /// Omits the environment because it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigSource").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Result of a reload for the client that requested it: the problems, one per line.
type ReloadResult = Result<(), String>;

/// Requests reloads on behalf of HTTP clients.
pub(super) struct ReloadHandle(pub(super) mpsc::Sender<oneshot::Sender<ReloadResult>>);

impl web::ReloadHandler for ReloadHandle {
    fn reload(&self) -> Pin<Box<dyn Future<Output = ReloadResult> + Send + '_>> {
        Box::pin(async {
            let (sender, result) = oneshot::channel();
            // If nobody receives the request, the channel closes and the error below is returned.
            _ = self.0.send(sender).await;
            result.await.unwrap_or_else(|_| Err("the exporter is shutting down".to_owned()))
        })
    }
}

type Supervisor = AccountSupervisor<ApiClient>;
type SupervisorResult = Result<Result<Supervisor, SupervisorError>, JoinError>;
type Providers = BTreeMap<Option<AccountName>, Arc<dyn ProvideCredentials>>;

/// Runs the pollers of the current configuration, and replaces them on a reload.
pub(super) struct ReloadSupervisor {
    config: Config,
    context: CollectContext,
    recorder: MetricsRecorder,
    /// Request budgets, kept for the life of the process so that a reload never exceeds a rate.
    budgets: Arc<RequestBudgets>,
    /// Credentials provider of each account. A reload keeps those whose settings did not change.
    providers: Providers,
    switches: mpsc::Sender<Reconfiguration<ConfigSwitch>>,
    source: ConfigSource,
    reader: ConfigReader,
    running: JoinSet<Result<Supervisor, SupervisorError>>,
    stop_pollers: CancellationToken,
    shutdown: CancellationToken,
}

impl ReloadSupervisor {
    /// Starts the pollers of the first configuration.
    ///
    /// # Errors
    /// [`RunError::Setup`] if a component cannot be built.
    pub(super) fn start(
        config: Config,
        source: ConfigSource,
        context: CollectContext,
        recorder: MetricsRecorder,
        switches: mpsc::Sender<Reconfiguration<ConfigSwitch>>,
        shutdown: CancellationToken,
    ) -> Result<Self, RunError> {
        let mut supervisor = Self {
            config,
            context,
            recorder,
            budgets: Arc::default(),
            providers: Providers::new(),
            switches,
            source,
            reader: ConfigReader::default(),
            running: JoinSet::new(),
            stop_pollers: shutdown.child_token(),
            shutdown,
        };
        supervisor.providers = supervisor.build_providers(&supervisor.config)?;
        let supervisors = supervisor.build_supervisors(&supervisor.config, &supervisor.providers)?;
        initialize_failure_counters(&supervisor.recorder.0, &supervisor.config);
        supervisor.start_pollers(supervisors);
        Ok(supervisor)
    }

    /// Runs until the shutdown, and reloads on request.
    ///
    /// # Errors
    /// [`RunError::Died`] as soon as a poller ends before the shutdown.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<oneshot::Sender<ReloadResult>>,
    ) -> Result<(), RunError> {
        let (shutdown, signal) = (self.shutdown.clone(), Arc::clone(&self.source.reload_signal));
        loop {
            let client = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = self.running.join_next() => return Err(poller_death(ended)),
                Some(client) = requests.recv() => Some(client),
                () = signal.notified() => None,
            };
            let config = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = self.running.join_next() => return Err(poller_death(ended)),
                config = self.reader.read(&self.source) => config,
            };
            let result = match config {
                Ok(config) => self.reload(config).await?,
                Err(problems) => Err(problems),
            };
            if shutdown.is_cancelled() {
                break;
            }
            self.log_result(&result);
            if let Some(client) = client {
                // The client may have disconnected.
                _ = client.send(result.map_err(|problems| problems.join("\n")));
            }
        }
        while self.running.join_next().await.is_some() {}
        Ok(())
    }

    fn log_result(&self, result: &Result<(), Vec<String>>) {
        let file = self.source.file.as_ref().map(|file| tracing::field::display(file.display()));
        match result {
            Ok(()) => {
                tracing::info!(file, accounts = self.config.accounts.len(), "configuration reloaded");
            }
            Err(problems) => {
                self.recorder.0.record_config_load(None);
                tracing::error!(
                    file,
                    problems = problems.len(),
                    error = problems.join(" | "),
                    "configuration reload failed, keeping the previous configuration"
                );
            }
        }
    }

    /// Switches to a new configuration. The inner error lists the problems that prevent it.
    async fn reload(&mut self, config: Config) -> Result<Result<(), Vec<String>>, RunError> {
        let PreparedReload { mut supervisors, providers, rates } = match self.prepare(&config) {
            Ok(prepared) => prepared,
            Err(RunError::Setup(problem) | RunError::Died(problem)) => {
                // `prepare` may have created budgets with the new rates.
                for account in &self.config.accounts {
                    self.budgets.set_rates(account.name.as_ref(), &action_rates(&account.rates)?);
                }
                return Ok(Err(vec![problem]));
            }
        };
        let stopped = self.stop_pollers().await?;
        let before = mem::replace(&mut self.config, config);
        let changed_providers: Vec<Option<AccountName>> = providers
            .iter()
            .filter(|(name, now)| !self.providers.get(name).is_some_and(|before| Arc::ptr_eq(before, now)))
            .map(|(name, _)| name.clone())
            .collect();
        self.providers = providers;
        let removed = RemovedTargets::between(&stopped, &supervisors);
        for stopped in stopped {
            let name = stopped.account().cloned();
            if is_same_account(name.as_ref(), &before, &self.config)
                && let Some(supervisor) = supervisors.iter_mut().find(|s| s.account() == name.as_ref())
            {
                supervisor.resume_from(stopped);
            }
        }

        let regions = supervisors.iter_mut().flat_map(AccountSupervisor::views).collect();
        let metrics = &self.config.metrics;
        let renderer = (before.metrics != *metrics).then(|| Renderer::new(metrics.clone()));
        let (context, self_metrics) = (self.context.clone(), Arc::clone(&self.recorder.0));
        let (budgets, config) = (Arc::clone(&self.budgets), self.config.clone());
        let (sender, switched) = oneshot::channel();
        let apply = move || {
            removed.forget(&context, &self_metrics);
            // The expiry of a new provider's credentials is unknown until it reports one.
            for account in &changed_providers {
                self_metrics.set_credentials_expiry(account.as_ref(), None);
            }
            initialize_failure_counters(&self_metrics, &config);
            for (account, rates) in &rates {
                budgets.set_rates(account.as_ref(), rates);
            }
            supervisors.iter().for_each(AccountSupervisor::announce);
            self_metrics.record_config_load(Some(clock::unix_now()));
            // The receiver is gone if the process is shutting down.
            _ = sender.send(supervisors);
        };
        let attachment =
            ConfigSwitch { self_metrics_options: self_metrics_options(&self.config), apply: Box::new(apply) };
        if self.switches.send(Reconfiguration { regions, renderer, attachment }).await.is_ok()
            && let Ok(supervisors) = switched.await
        {
            self.start_pollers(supervisors);
        }
        Ok(Ok(()))
    }

    /// Builds everything that a configuration needs, without touching what runs.
    fn prepare(&self, config: &Config) -> Result<PreparedReload, RunError> {
        let providers = self.build_providers(config)?;
        let rates = config.accounts.iter().map(|a| Ok((a.name.clone(), action_rates(&a.rates)?)));
        let rates = rates.collect::<Result<_, RunError>>()?;
        Ok(PreparedReload { supervisors: self.build_supervisors(config, &providers)?, providers, rates })
    }

    /// Returns the credentials provider of each account: the current one if its settings did not change.
    fn build_providers(&self, config: &Config) -> Result<Providers, RunError> {
        let mut providers = Providers::new();
        for now in &config.accounts {
            let unchanged = find_account(&self.config, now.name.as_ref()).is_some_and(|before| {
                before.credentials.is_same_as(&now.credentials) && before.proxy == now.proxy
            });
            let provider = match self.providers.get(&now.name).filter(|_| unchanged) {
                Some(provider) => Arc::clone(provider),
                None => credentials_provider(now, &self.recorder.0)?,
            };
            providers.insert(now.name.clone(), provider);
        }
        Ok(providers)
    }

    /// Builds the account supervisors that the configuration needs, ready to run.
    fn build_supervisors(&self, config: &Config, providers: &Providers) -> Result<Vec<Supervisor>, RunError> {
        let current = self.context.store.current();
        let mut supervisors = Vec::new();
        for account in &config.accounts {
            let name = account.name.as_ref();
            let Some(provider) = providers.get(&account.name) else { continue };
            let mut known_regions: Vec<RegionId> = Vec::new();
            if is_same_account(name, &self.config, config) {
                let of_account = current.regions.iter().filter(|region| region.account.as_ref() == name);
                known_regions.extend(of_account.map(|region| region.region.clone()));
            }
            let plan = account_plan(account, config, &self.recorder, &self.budgets, Arc::clone(provider))?;
            let supervisor = AccountSupervisor::new(plan, self.context.clone(), &known_regions);
            supervisors.push(supervisor.map_err(RunError::setup)?);
        }
        Ok(supervisors)
    }

    fn start_pollers(&mut self, supervisors: Vec<Supervisor>) {
        self.stop_pollers = self.shutdown.child_token();
        for supervisor in supervisors {
            self.running.spawn(supervisor.run(self.stop_pollers.clone()));
        }
    }

    /// Stops all pollers and returns their state.
    async fn stop_pollers(&mut self) -> Result<Vec<Supervisor>, RunError> {
        self.stop_pollers.cancel();
        let mut stopped = Vec::new();
        while let Some(ended) = self.running.join_next().await {
            match ended {
                Ok(Ok(supervisor)) => stopped.push(supervisor),
                ended => return Err(poller_death(ended)),
            }
        }
        Ok(stopped)
    }
}

fn poller_death(ended: SupervisorResult) -> RunError {
    RunError::Died(match ended {
        Ok(Ok(_)) => "the pollers of an account ended unexpectedly (please report this bug)".to_owned(),
        Ok(Err(error)) => error.to_string(),
        // Do not log the panic payload because it may hold secrets.
        Err(_) => "the pollers of an account panicked (please report this bug)".to_owned(),
    })
}

/// Everything that a new configuration needs.
struct PreparedReload {
    supervisors: Vec<Supervisor>,
    providers: Providers,
    rates: Vec<(Option<AccountName>, ActionRates)>,
}

/// Exports the failure counter of every account from the start, so that the first increase is visible.
fn initialize_failure_counters(self_metrics: &SelfMetrics, config: &Config) {
    for account in &config.accounts {
        self_metrics.add_credentials_failures(account.name.as_ref(), 0);
    }
}

fn find_account<'a>(config: &'a Config, name: Option<&AccountName>) -> Option<&'a config::Account> {
    config.accounts.iter().find(|account| account.name.as_ref() == name)
}

/// Whether both configurations mean the same cloud account by this name, as far as can be known.
fn is_same_account(name: Option<&AccountName>, before: &Config, now: &Config) -> bool {
    find_account(before, name).zip(find_account(now, name)).is_some_and(|(before, now)| {
        before.endpoint == now.endpoint && before.credentials.is_same_source_as(&now.credentials)
    })
}

/// Accounts, regions and poll loops that the new configuration no longer has.
struct RemovedTargets {
    accounts: BTreeSet<Option<AccountName>>,
    regions: BTreeSet<(Option<AccountName>, RegionId)>,
    poll_loops: BTreeSet<String>,
}

impl RemovedTargets {
    fn between(before: &[Supervisor], now: &[Supervisor]) -> Self {
        let before = Self::all(before);
        let now = Self::all(now);
        Self {
            accounts: &before.accounts - &now.accounts,
            regions: &before.regions - &now.regions,
            poll_loops: &before.poll_loops - &now.poll_loops,
        }
    }

    fn all(supervisors: &[Supervisor]) -> Self {
        let mut all =
            Self { accounts: BTreeSet::new(), regions: BTreeSet::new(), poll_loops: BTreeSet::new() };
        for supervisor in supervisors {
            let account = supervisor.account().cloned();
            all.regions.extend(supervisor.regions().into_iter().map(|region| (account.clone(), region)));
            all.poll_loops.extend(supervisor.names());
            all.accounts.insert(account);
        }
        all
    }

    /// Removes their heartbeats and self-metrics.
    fn forget(&self, context: &CollectContext, self_metrics: &SelfMetrics) {
        self.poll_loops.iter().for_each(|name| context.health.forget(name));
        for (account, region) in &self.regions {
            self_metrics.remove_region(account.as_ref(), region);
        }
        self.accounts.iter().for_each(|account| self_metrics.remove_account(account.as_ref()));
    }
}

/// Reads the configuration on a blocking thread, because a disk may hang.
#[derive(Default)]
struct ConfigReader(Option<JoinHandle<Result<Config, Problems>>>);

impl ConfigReader {
    async fn read(&mut self, source: &ConfigSource) -> Result<Config, Vec<String>> {
        let deadline = Instant::now() + READ_TIMEOUT;
        let timed_out = |_| vec![format!("--config.file: reading it took longer than {READ_TIMEOUT:?}")];
        // Wait for an earlier read that timed out, so that at most one thread hangs.
        if let Some(earlier) = &mut self.0 {
            _ = timeout_at(deadline, earlier).await.map_err(timed_out)?;
        }
        let source = source.clone();
        let reading = spawn_blocking(move || {
            config::load_settled(source.file.as_deref(), &source.environment, SETTLE_TIME)
        });
        let result = timeout_at(deadline, self.0.insert(reading)).await.map_err(timed_out)?;
        self.0 = None;
        match result {
            Ok(config) => config.map_err(|problems| problems.lines().collect()),
            Err(_) => Err(vec!["--config.file: reading it panicked (please report this bug)".to_owned()]),
        }
    }
}
