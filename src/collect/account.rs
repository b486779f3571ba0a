//! Supervisor of one account: discovers the regions that have instances, and starts and stops their pollers.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

use tokio::{
    task::{self, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    AccountPlan, CollectContext,
    failure_log::{FailureKey, FailureLog},
    log::CollectLog,
    poller::{HEARTBEAT_INTERVAL, RegionPoller},
    state::EmptyCheck,
};
use crate::{
    api::{Action, ApiError, CloudApi},
    model::{AccountName, AnomalyKind, Listing, Observed, RegionId, RegionSelection},
    snapshot::{LastSuccess, ObjectCounts, RegionView, region_name},
};

/// Error that ends the supervisor of an account.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A poller died. Its data would be served although nothing refreshes it.
    #[error("the poller of {0} died, exiting instead of serving stale data (please report this bug)")]
    PollerDied(String),
    /// A client cannot be created.
    #[error("cannot create a client for {0}: {1}")]
    Client(String, String),
}

/// Supervises the pollers of one account. Can be stopped, and resumed under another configuration.
pub struct AccountSupervisor<C> {
    pub(super) plan: AccountPlan<C>,
    pub(super) context: CollectContext,
    /// Pollers that are not running.
    pollers: BTreeMap<RegionId, RegionPoller<C>>,
    /// Discovery of regions; `None` if they are configured.
    discovery: Option<RegionDiscovery<C>>,
}

/// Discovery of the regions in which the account has instances.
struct RegionDiscovery<C> {
    cloud: C,
    home: RegionId,
    name: String,
    failures: FailureLog<()>,
    empty: EmptyCheck,
    /// Whether a placeholder view of the home region is published.
    is_down: bool,
}

impl<C: CloudApi> AccountSupervisor<C> {
    /// Creates the clients and pollers. `known` are the regions that an earlier discovery has found.
    ///
    /// # Errors
    /// [`SupervisorError::Client`] if a client cannot be created. No call has been made then.
    pub fn new(
        plan: AccountPlan<C>,
        context: CollectContext,
        known: &[RegionId],
    ) -> Result<Self, SupervisorError> {
        let mut supervisor = Self { plan, context, pollers: BTreeMap::new(), discovery: None };
        let regions = match supervisor.plan.regions.clone() {
            RegionSelection::List(regions) => regions,
            RegionSelection::Auto => {
                let home = supervisor.plan.home_region.clone();
                supervisor.discovery = Some(RegionDiscovery {
                    cloud: supervisor.connect(&home)?,
                    name: format!("{} (regions: auto)", region_name(supervisor.account(), &home)),
                    home,
                    failures: FailureLog::default(),
                    empty: EmptyCheck::default(),
                    is_down: false,
                });
                known.to_vec()
            }
        };
        for region in regions.into_iter().filter(|r| supervisor.plan.filters.allow_region(r)) {
            let poller = supervisor.poller(region.clone())?;
            supervisor.pollers.insert(region, poller);
        }
        Ok(supervisor)
    }

    /// Resumes from a stopped supervisor of the same account, under this supervisor's configuration.
    pub fn resume_from(&mut self, previous: Self) {
        let mut known = previous.pollers;
        // Discovery starts the pollers of regions that the previous supervisor did not poll.
        self.pollers.retain(|region, _| self.discovery.is_none() || known.contains_key(region));
        for (region, poller) in &mut self.pollers {
            if let Some(previous) = known.remove(region) {
                poller.resume_from(previous);
            }
        }
        if let (Some(discovery), Some(previous)) = (&mut self.discovery, previous.discovery) {
            discovery.failures = previous.failures;
            discovery.empty = previous.empty;
            discovery.is_down = previous.is_down && self.pollers.is_empty();
        }
    }

    /// Returns the account's name, where accounts are named.
    #[must_use]
    pub fn account(&self) -> Option<&AccountName> {
        self.plan.name.as_ref()
    }

    /// Returns the views to show before the pollers run.
    pub fn views(&mut self) -> Vec<RegionView> {
        let placeholder =
            self.discovery.as_ref().filter(|discovery| discovery.is_down).map(|d| self.down_view(&d.home));
        self.pollers.values_mut().filter_map(RegionPoller::view).chain(placeholder).collect()
    }

    /// Returns the regions whose endpoints are called.
    pub fn regions(&self) -> BTreeSet<RegionId> {
        let home = self.discovery.iter().map(|discovery| discovery.home.clone());
        self.pollers.keys().cloned().chain(home).collect()
    }

    /// Returns the names of its loops in [`crate::health`].
    pub fn names(&self) -> BTreeSet<String> {
        let pollers = self.pollers.values().map(|poller| poller.name().to_owned());
        pollers.chain(self.discovery.iter().map(|discovery| discovery.name.clone())).collect()
    }

    /// Registers its loops before they run, so that the process is not ready in between, and reports the demand
    /// of its pollers.
    pub fn announce(&self) {
        self.names().iter().for_each(|name| self.context.health.beat(name));
        self.pollers.values().for_each(RegionPoller::report_demand);
    }

    /// Runs until `stop` is cancelled, then returns itself with the stopped pollers.
    ///
    /// # Errors
    /// [`SupervisorError`] as soon as a poller dies or cannot be created.
    pub async fn run(mut self, stop: CancellationToken) -> Result<Self, SupervisorError> {
        self.announce();
        let mut running = RunningPollers { tasks: JoinSet::new(), stops: BTreeMap::new(), stop };
        for (region, poller) in std::mem::take(&mut self.pollers) {
            running.start(region, poller);
        }
        match self.discovery.take() {
            Some(discovery) => self.discovery = Some(self.discover(discovery, &mut running).await?),
            None => self.watch(&mut running).await?,
        }
        while let Some(result) = running.tasks.join_next().await {
            let (region, poller) =
                result.map_err(|error| SupervisorError::PollerDied(running.name(error.id())))?;
            // Pollers that discovery had stopped before are not kept.
            if running.stops.contains_key(&region) {
                self.pollers.insert(region, poller);
            } else {
                self.forget(&region);
            }
        }
        Ok(self)
    }

    fn poller(&self, region: RegionId) -> Result<RegionPoller<C>, SupervisorError> {
        let cloud = self.connect(&region)?;
        Ok(RegionPoller::new(&self.plan, region, cloud, self.context.clone()))
    }

    fn connect(&self, region: &RegionId) -> Result<C, SupervisorError> {
        (self.plan.connect)(region).map_err(|error| SupervisorError::Client(region.to_string(), error))
    }

    /// Forgets a region whose poller was stopped because the region no longer has instances.
    fn forget(&self, region: &RegionId) {
        self.context.store.remove(self.account(), region);
        self.context.health.forget(&region_name(self.account(), region));
        self.context.observer.region_ended(self.account(), region);
    }

    /// Returns the placeholder for all regions while discovery fails and none is known. Without it, the metrics
    /// would not show that the API cannot be read.
    fn down_view(&self, home: &RegionId) -> RegionView {
        RegionView {
            account: self.plan.name.clone(),
            region: home.clone(),
            up: Some(false),
            first_pass_ended: true,
            last_success: LastSuccess::default(),
            objects: ObjectCounts::default(),
            instances: Vec::new(),
        }
    }

    /// Watches the running pollers until the stop.
    async fn watch(&self, running: &mut RunningPollers<C>) -> Result<(), SupervisorError> {
        loop {
            tokio::select! {
                biased;
                () = running.stop.cancelled() => return Ok(()),
                Some(result) = running.tasks.join_next() => match result {
                    Ok((region, _)) if !running.stops.contains_key(&region) => self.forget(&region),
                    Ok((region, _)) => return Err(SupervisorError::PollerDied(region.to_string())),
                    Err(error) => return Err(SupervisorError::PollerDied(running.name(error.id()))),
                },
            }
        }
    }

    /// Waits for a future while it watches the running pollers and keeps the heartbeat. Returns `None` at the
    /// stop.
    async fn watch_during<T>(
        &self,
        running: &mut RunningPollers<C>,
        name: &str,
        future: impl Future<Output = T>,
    ) -> Result<Option<T>, SupervisorError> {
        let mut future = pin!(future);
        loop {
            self.context.health.beat(name);
            tokio::select! {
                biased;
                watched = self.watch(running) => return watched.map(|()| None),
                value = &mut future => return Ok(Some(value)),
                () = sleep(HEARTBEAT_INTERVAL) => {}
            }
        }
    }

    /// Discovers regions until the stop.
    async fn discover(
        &self,
        mut discovery: RegionDiscovery<C>,
        running: &mut RunningPollers<C>,
    ) -> Result<RegionDiscovery<C>, SupervisorError> {
        let timing = self.plan.timing;
        loop {
            let started = Instant::now();
            let call = discovery.cloud.regions(started + timing.poll.max(timing.request_timeout));
            let Some(result) = self.watch_during(running, &discovery.name, call).await? else { break };
            let retry = timing.discovery.min(timing.poll);
            let interval = if result.is_ok() { timing.discovery } else { retry };
            self.on_discovery_done(&mut discovery, result, running)?;
            self.context.health.first_pass_ended(&discovery.name);
            let pause = sleep_until(started + interval);
            if self.watch_during(running, &discovery.name, pause).await?.is_none() {
                break;
            }
        }
        Ok(discovery)
    }

    fn on_discovery_done(
        &self,
        discovery: &mut RegionDiscovery<C>,
        result: Result<Observed<Listing<RegionId>>, ApiError>,
        running: &mut RunningPollers<C>,
    ) -> Result<(), SupervisorError> {
        let home = &discovery.home;
        let mut lines = match result {
            Ok(response) => {
                if !running.stops.contains_key(home) {
                    self.context.store.remove(self.account(), home);
                    discovery.is_down = false;
                }
                self.apply_regions(response, &mut discovery.empty, running)?;
                discovery.failures.succeeded(&(), Instant::now()).into_iter().collect()
            }
            Err(error) => {
                if running.stops.is_empty() {
                    self.context.store.publish(self.down_view(home));
                    discovery.is_down = true;
                }
                let action = Some(Action::GetAllInstanceIdList);
                let key = FailureKey { kind: error.kind, action, instance: None };
                discovery.failures.failed(&(), key, error, Instant::now())
            }
        };
        lines.extend(discovery.failures.summaries(Instant::now()));
        let log = CollectLog { account: self.account(), region: home };
        lines.into_iter().for_each(|line| log.failure(line, None));
        Ok(())
    }

    /// Starts the pollers of discovered regions, and stops those of regions that no longer have instances.
    fn apply_regions(
        &self,
        response: Observed<Listing<RegionId>>,
        empty: &mut EmptyCheck,
        running: &mut RunningPollers<C>,
    ) -> Result<(), SupervisorError> {
        for anomaly in &response.anomalies {
            self.context.observer.anomaly(anomaly.kind);
        }
        let Listing { items, complete } = response.value;
        let found: BTreeSet<RegionId> =
            items.into_iter().filter(|region| self.plan.filters.allow_region(region)).collect();
        if !empty.record(found.is_empty() && !running.stops.is_empty()) {
            self.context.observer.anomaly(AnomalyKind::EmptyList);
            tracing::warn!("region discovery returned no regions, retrying before dropping the known ones");
            return Ok(());
        }
        for region in &found {
            if !running.stops.contains_key(region) {
                tracing::info!(%region, "region has instances");
                let poller = self.poller(region.clone())?;
                // Registered before its task runs, so that the process is not ready in between.
                self.context.health.beat(poller.name());
                running.start(region.clone(), poller);
            }
        }
        if complete {
            for (region, (_, stop)) in running.stops.extract_if(.., |region, _| !found.contains(region)) {
                tracing::info!(%region, "region no longer has instances");
                stop.cancel();
            }
        }
        Ok(())
    }
}

/// Running pollers of an account.
struct RunningPollers<C> {
    tasks: JoinSet<(RegionId, RegionPoller<C>)>,
    /// Task and stop token of each poller that has not been stopped individually.
    stops: BTreeMap<RegionId, (task::Id, CancellationToken)>,
    /// Stops all pollers.
    stop: CancellationToken,
}

impl<C: CloudApi> RunningPollers<C> {
    fn start(&mut self, region: RegionId, poller: RegionPoller<C>) {
        let stop = self.stop.child_token();
        let (task_stop, task_region) = (stop.clone(), region.clone());
        let task = self.tasks.spawn(async move { (task_region, poller.run(task_stop).await) });
        self.stops.insert(region, (task.id(), stop));
    }

    /// Returns the region of a poller's task, for messages.
    fn name(&self, task: task::Id) -> String {
        let poller = self.stops.iter().find(|(_, (id, _))| *id == task);
        poller.map_or("a region".to_owned(), |(region, _)| region.to_string())
    }
}
