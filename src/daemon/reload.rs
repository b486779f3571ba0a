//! Brings another configuration into force while the process runs.
//!
//! Owns: the order of it. The file is read and checked, and all that can fail is made, before anything is
//! stopped. Then the loops stop and hand over what they know, the page turns once, and the new loops begin.
//! One at a time: who asks meanwhile waits. Refuses: what only a start decides (flags, listeners, logs).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::{Duration, Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{Beside, Counting, RunError, collected, keys, look, rates};
use crate::{
    api::{self, ApiClient, ProvideCredentials, RequestBudgets},
    clock,
    collect::{AccountSupervisor, CollectContext, account::SupervisorError},
    config::{self, Config, Problems},
    exposition::{Renderer, SelfMetrics, publisher::Reconfiguration},
    model::{AccountName, RegionId},
    web,
};

/// Whoever writes the file in place goes on within this time.
const SETTLED_AFTER: Duration = Duration::from_millis(100);
/// How long the reading of a file may take, the wait for whoever writes it included.
const READING: Duration = Duration::from_secs(5);

/// Where the configuration comes from, and who says that it is to be loaded anew.
#[derive(Clone, Default)]
pub struct Source {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// The variables that are laid over it: those of the start.
    pub environment: BTreeMap<String, String>,
    /// Is notified to ask for it.
    pub asked: Arc<Notify>,
}

impl fmt::Debug for Source {
    /// Without the environment, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("file", &self.file).finish_non_exhaustive()
    }
}

/// What came of it, for whoever asked: the problems, a line each.
type Answer = Result<(), String>;

/// Asks for a reload on behalf of a client.
pub(super) struct Door(pub(super) mpsc::Sender<oneshot::Sender<Answer>>);

impl web::ReloadHandler for Door {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>> {
        Box::pin(async {
            let (answer, answered) = oneshot::channel();
            // Where nobody takes or answers it, the process is ending.
            _ = self.0.send(answer).await;
            answered.await.unwrap_or_else(|_| Err("the process is ending".to_owned()))
        })
    }
}

type Keys = BTreeMap<Option<AccountName>, Arc<dyn ProvideCredentials>>;

/// Runs the loops of the configuration that is in force.
pub(super) struct Keeper {
    config: Config,
    shared: CollectContext,
    counting: Counting,
    /// One for the life of the process, so that two configurations never exceed a rate together.
    budgets: Arc<RequestBudgets>,
    /// Where each account's key comes from. One that does not change goes on with the key that it has.
    keys: Keys,
    turns: mpsc::Sender<Reconfiguration<Beside>>,
    source: Source,
    reader: Reader,
    accounts: JoinSet<Result<AccountSupervisor<ApiClient>, SupervisorError>>,
    /// Stops the loops.
    stop: CancellationToken,
    shutdown: CancellationToken,
}

impl Keeper {
    /// Begins with a configuration.
    ///
    /// # Errors
    /// [`RunError::Setup`] for what cannot be made of it.
    pub(super) fn start(
        config: Config,
        source: Source,
        shared: CollectContext,
        counting: Counting,
        turns: mpsc::Sender<Reconfiguration<Beside>>,
        shutdown: CancellationToken,
    ) -> Result<Self, RunError> {
        let (stop, accounts, reader) = (shutdown.child_token(), JoinSet::new(), Reader::default());
        let (budgets, keys) = (Arc::new(RequestBudgets::default()), Keys::new());
        let mut keeper =
            Self { config, shared, counting, budgets, keys, turns, source, reader, accounts, stop, shutdown };
        keeper.keys = keeper.keys(&keeper.config)?;
        let collectors = keeper.collectors(&keeper.config, &keeper.keys)?;
        show_accounts(&keeper.counting.0, &keeper.config);
        keeper.run_all(collectors);
        Ok(keeper)
    }

    /// Runs until the shutdown, and reloads when asked to.
    ///
    /// # Errors
    /// [`RunError::Died`] as soon as a loop ends before.
    pub(super) async fn run(
        mut self,
        mut asked: mpsc::Receiver<oneshot::Sender<Answer>>,
    ) -> Result<(), RunError> {
        let (shutdown, signalled) = (self.shutdown.clone(), Arc::clone(&self.source.asked));
        loop {
            let client = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = self.accounts.join_next() => return Err(died(ended)),
                Some(client) = asked.recv() => Some(client),
                () = signalled.notified() => None,
            };
            let read = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = self.accounts.join_next() => return Err(died(ended)),
                read = self.reader.read(&self.source) => read,
            };
            let answer = match read {
                Ok(config) => self.turn(config).await?,
                Err(problems) => Err(problems),
            };
            if shutdown.is_cancelled() {
                break;
            }
            self.tell(&answer);
            if let Some(client) = client {
                // It may have gone away.
                _ = client.send(answer.map_err(|problems| problems.join("\n")));
            }
        }
        while self.accounts.join_next().await.is_some() {}
        Ok(())
    }

    fn tell(&self, answer: &Result<(), Vec<String>>) {
        let file = self.source.file.as_ref().map(|file| tracing::field::display(file.display()));
        match answer {
            Ok(()) => {
                tracing::info!(file, accounts = self.config.accounts.len(), "configuration reloaded");
            }
            Err(problems) => {
                self.counting.0.record_config_load(None);
                tracing::error!(
                    file,
                    problems = problems.len(),
                    "configuration not reloaded, the one before stays in force: {}",
                    problems.join(" | ")
                );
            }
        }
    }

    /// Brings a configuration into force, or says why it cannot be and leaves all as it was.
    async fn turn(&mut self, config: Config) -> Result<Result<(), Vec<String>>, RunError> {
        let Prepared { mut collectors, keys, rates } = match self.prepared(&config) {
            Ok(prepared) => prepared,
            Err(RunError::Setup(problem) | RunError::Died(problem)) => {
                // A budget that was made on the way is one of the configuration that stays.
                for account in &self.config.accounts {
                    self.budgets.set_rates(account.name.as_ref(), &rates(&account.rates)?);
                }
                return Ok(Err(vec![problem]));
            }
        };
        self.stop.cancel();
        let mut stopped = Vec::new();
        while let Some(ended) = self.accounts.join_next().await {
            match ended {
                Ok(Ok(collector)) => stopped.push(collector),
                ended => return Err(died(ended)),
            }
        }
        let before = mem::replace(&mut self.config, config);
        let is_kept = |name, now: &Arc<_>| self.keys.get(name).is_some_and(|before| Arc::ptr_eq(before, now));
        let other_keys: Vec<Option<AccountName>> =
            keys.iter().filter(|(name, now)| !is_kept(*name, *now)).map(|(name, _)| name.clone()).collect();
        self.keys = keys;
        let gone = Gone::between(&stopped, &collectors);
        for stopped in stopped {
            let name = stopped.account().cloned();
            if is_same_account(name.as_ref(), &before, &self.config)
                && let Some(collector) = collectors.iter_mut().find(|c| c.account() == name.as_ref())
            {
                collector.resume_from(stopped);
            }
        }

        let regions = collectors.iter_mut().flat_map(AccountSupervisor::views).collect();
        let (before, now) = (before.metrics, self.config.metrics.clone());
        let renderer = (before != now).then(|| Renderer::new(now));
        let (shared, own) = (self.shared.clone(), Arc::clone(&self.counting.0));
        let (budgets, config) = (Arc::clone(&self.budgets), self.config.clone());
        let (done, turned) = oneshot::channel();
        let adjust = move || {
            gone.forget(&shared, &own);
            // Of another source nothing is known until it tells.
            other_keys.iter().for_each(|account| own.set_credentials_expiry(account.as_ref(), None));
            show_accounts(&own, &config);
            rates.iter().for_each(|(account, rates)| budgets.set_rates(account.as_ref(), rates));
            collectors.iter().for_each(AccountSupervisor::announce);
            own.record_config_load(Some(clock::unix_now()));
            // Nobody waits for them if the process is ending.
            _ = done.send(collectors);
        };
        let attachment = Beside { look: look(&self.config), adjust: Box::new(adjust) };
        if self.turns.send(Reconfiguration { regions, renderer, attachment }).await.is_ok()
            && let Ok(collectors) = turned.await
        {
            self.run_all(collectors);
        }
        Ok(Ok(()))
    }

    fn prepared(&self, config: &Config) -> Result<Prepared, RunError> {
        let keys = self.keys(config)?;
        let rates = config.accounts.iter().map(|a| Ok((a.name.clone(), rates(&a.rates)?)));
        let rates = rates.collect::<Result<_, RunError>>()?;
        Ok(Prepared { collectors: self.collectors(config, &keys)?, keys, rates })
    }

    /// The source of each account's key.
    fn keys(&self, config: &Config) -> Result<Keys, RunError> {
        let before = |now: &config::Account| {
            let before = account(&self.config, now.name.as_ref())?;
            let is_same = before.credentials.is_same_as(&now.credentials) && before.proxy == now.proxy;
            self.keys.get(&now.name).filter(|_| is_same).cloned()
        };
        let source = |account: &config::Account| {
            let source = match before(account) {
                Some(source) => source,
                None => keys::provider(account, &self.counting.0)
                    .map_err(|error| RunError::Setup(error.to_string()))?,
            };
            Ok((account.name.clone(), source))
        };
        config.accounts.iter().map(source).collect()
    }

    /// All loops that the configuration needs, ready to run.
    fn collectors(
        &self,
        config: &Config,
        keys: &Keys,
    ) -> Result<Vec<AccountSupervisor<ApiClient>>, RunError> {
        let regions = self.shared.store.current().regions;
        let known = |name: Option<&AccountName>| -> Vec<RegionId> {
            let of = regions.iter().filter(|region| region.account.as_ref() == name);
            of.map(|region| region.region.clone()).collect()
        };
        let accounts = config.accounts.iter().filter_map(|a| Some((a, Arc::clone(keys.get(&a.name)?))));
        let collector = |(account, keys): (&config::Account, _)| {
            let name = account.name.as_ref();
            let known = if is_same_account(name, &self.config, config) { known(name) } else { Vec::new() };
            let account = collected(account, config, &self.counting, &self.budgets, keys)?;
            AccountSupervisor::new(account, self.shared.clone(), &known)
                .map_err(|error| RunError::Setup(error.to_string()))
        };
        accounts.map(collector).collect()
    }

    fn run_all(&mut self, collectors: Vec<AccountSupervisor<ApiClient>>) {
        self.stop = self.shutdown.child_token();
        for collector in collectors {
            self.accounts.spawn(collector.run(self.stop.clone()));
        }
    }
}

fn died(
    ended: Result<Result<AccountSupervisor<ApiClient>, SupervisorError>, tokio::task::JoinError>,
) -> RunError {
    RunError::Died(match ended {
        Ok(Ok(_)) => "the loops of an account have ended by themselves, please report this".to_owned(),
        Ok(Err(error)) => error.to_string(),
        // Its text may hold what the panic said, which may hold anything.
        Err(_) => "the loops of an account have died, please report this".to_owned(),
    })
}

/// All that a configuration needs, before anything of the one in force is stopped.
struct Prepared {
    collectors: Vec<AccountSupervisor<ApiClient>>,
    keys: Keys,
    rates: Vec<(Option<AccountName>, api::ActionRates)>,
}

/// What is 0 is there from the start, so that a first increase is seen as one.
fn show_accounts(own: &SelfMetrics, config: &Config) {
    config.accounts.iter().for_each(|account| own.add_credentials_failures(account.name.as_ref(), 0));
}

fn account<'a>(config: &'a Config, name: Option<&AccountName>) -> Option<&'a config::Account> {
    config.accounts.iter().find(|account| account.name.as_ref() == name)
}

/// Whether an account of this name is, as far as can be told, the same in both.
fn is_same_account(name: Option<&AccountName>, before: &Config, now: &Config) -> bool {
    account(before, name).zip(account(now, name)).is_some_and(|(before, now)| {
        before.endpoint == now.endpoint && before.credentials.is_same_source_as(&now.credentials)
    })
}

/// What another configuration does not look at any more.
struct Gone {
    accounts: BTreeSet<Option<AccountName>>,
    regions: BTreeSet<(Option<AccountName>, RegionId)>,
    names: BTreeSet<String>,
}

impl Gone {
    fn between(before: &[AccountSupervisor<ApiClient>], now: &[AccountSupervisor<ApiClient>]) -> Self {
        let accounts = |of: &[AccountSupervisor<ApiClient>]| -> BTreeSet<_> {
            of.iter().map(|c| c.account().cloned()).collect()
        };
        let regions = |of: &[AccountSupervisor<ApiClient>]| -> BTreeSet<_> {
            let of_one = |c: &AccountSupervisor<ApiClient>| {
                let account = c.account().cloned();
                c.regions().into_iter().map(move |region| (account.clone(), region))
            };
            of.iter().flat_map(of_one).collect()
        };
        let names = |of: &[AccountSupervisor<ApiClient>]| -> BTreeSet<_> {
            of.iter().flat_map(AccountSupervisor::names).collect()
        };
        Self {
            accounts: &accounts(before) - &accounts(now),
            regions: &regions(before) - &regions(now),
            names: &names(before) - &names(now),
        }
    }

    fn forget(&self, shared: &CollectContext, own: &SelfMetrics) {
        self.names.iter().for_each(|name| shared.health.forget(name));
        self.regions.iter().for_each(|(account, region)| own.remove_region(account.as_ref(), region));
        self.accounts.iter().for_each(|account| own.remove_account(account.as_ref()));
    }
}

/// Reads the configuration on a thread of its own, as a disk may not answer.
#[derive(Default)]
struct Reader(Option<JoinHandle<Result<Config, Problems>>>);

impl Reader {
    async fn read(&mut self, source: &Source) -> Result<Config, Vec<String>> {
        let until = Instant::now() + READING;
        let late = || vec![format!("--config.file: reading it has not ended within {READING:?}")];
        // One thread that waits is enough.
        if let Some(before) = &mut self.0 {
            _ = timeout_at(until, before).await.map_err(|_| late())?;
        }
        let source = source.clone();
        let reading = spawn_blocking(move || {
            config::load_settled(source.file.as_deref(), &source.environment, SETTLED_AFTER)
        });
        let read = timeout_at(until, self.0.insert(reading)).await.map_err(|_| late())?;
        self.0 = None;
        match read {
            Ok(read) => read.map_err(|problems| problems.lines().collect()),
            Err(_) => Err(vec!["--config.file: reading it has failed, please report this".to_owned()]),
        }
    }
}
