//! The loops of one account: a fixed set of regions, or those in which the account is found to have
//! instances.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

use tokio::{
    task::{self, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    AccountPlan, CollectContext,
    failure_log::{FailureKey, FailureLog},
    log::CollectLog,
    poller::{RegionPoller, TICK},
    state::EmptyCheck,
};
use crate::{
    api::{Action, CloudApi, ErrorKind},
    model::{AccountName, AnomalyKind, Listing, Observed, RegionId, RegionSelection},
    snapshot::{LastSuccess, ObjectCounts, RegionView, region_name},
};

/// Why the loops of an account ended before the shutdown.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A loop died: what it knew would be served as if it were new.
    #[error("the loop of {0} has died; refusing to serve data that nobody refreshes, please report this")]
    Dead(String),
    /// A client cannot be made.
    #[error("no client for {0}: {1}")]
    Client(String, String),
}

/// Stands for all regions while none has been found and the search fails: without it a page would say
/// nothing of a cloud that cannot be read.
fn down_view(account: Option<AccountName>, region: RegionId) -> RegionView {
    RegionView {
        account,
        region,
        up: Some(false),
        first_pass_ended: true,
        last_success: LastSuccess::default(),
        objects: ObjectCounts::default(),
        instances: Vec::new(),
    }
}

/// The loops of one account: made, run, stopped, and perhaps taken over by those of another configuration.
pub struct AccountSupervisor<C> {
    pub(super) account: AccountPlan<C>,
    pub(super) shared: CollectContext,
    /// Those that are not running.
    loops: BTreeMap<RegionId, RegionPoller<C>>,
    /// Looks for regions; `None` where they are given.
    search: Option<RegionDiscovery<C>>,
}

/// The search for regions that hold instances.
struct RegionDiscovery<C> {
    cloud: C,
    home: RegionId,
    name: String,
    failures: FailureLog<()>,
    empty: EmptyCheck,
    /// The view that stands for all regions is shown.
    is_down: bool,
}

impl<C: CloudApi> AccountSupervisor<C> {
    /// Makes all that is needed to begin. `known` are the regions in which a search that was done before has
    /// found instances.
    ///
    /// # Errors
    /// [`SupervisorError::Client`] if a client cannot be made. Nothing has been asked of the cloud then.
    pub fn new(
        account: AccountPlan<C>,
        shared: CollectContext,
        known: &[RegionId],
    ) -> Result<Self, SupervisorError> {
        let mut collector = Self { account, shared, loops: BTreeMap::new(), search: None };
        let regions = match collector.account.regions.clone() {
            RegionSelection::List(regions) => regions,
            RegionSelection::Auto => {
                let home = collector.account.home_region.clone();
                let name = format!("{} (regions: auto)", collector.name(&home));
                let (cloud, failures) = (collector.connect(&home)?, FailureLog::default());
                collector.search = Some(RegionDiscovery {
                    cloud,
                    home,
                    name,
                    failures,
                    empty: EmptyCheck::default(),
                    is_down: false,
                });
                known.to_vec()
            }
        };
        for region in regions.into_iter().filter(|r| collector.account.filters.allow_region(r)) {
            let looped = collector.looped(region.clone())?;
            collector.loops.insert(region, looped);
        }
        Ok(collector)
    }

    /// Takes in what the loops of another configuration of the same account knew when they were stopped.
    pub fn resume_from(&mut self, before: Self) {
        let mut known = before.loops;
        // A region that was only thought to be known is one to be found.
        self.loops.retain(|region, _| self.search.is_none() || known.contains_key(region));
        for (region, looped) in &mut self.loops {
            if let Some(before) = known.remove(region) {
                looped.resume_from(before);
            }
        }
        if let (Some(search), Some(before)) = (&mut self.search, before.search) {
            search.failures = before.failures;
            search.empty = before.empty;
            search.is_down = before.is_down && self.loops.is_empty();
        }
    }

    /// The account's name, where accounts are named.
    #[must_use]
    pub fn account(&self) -> Option<&AccountName> {
        self.account.name.as_ref()
    }

    /// What is to be shown before the loops run.
    pub fn views(&mut self) -> Vec<RegionView> {
        let down = self.search.as_ref().filter(|search| search.is_down).map(|search| search.home.clone());
        let down = down.map(|home| down_view(self.account.name.clone(), home));
        self.loops.values_mut().filter_map(RegionPoller::view).chain(down).collect()
    }

    /// The regions that calls are made to.
    pub fn regions(&self) -> BTreeSet<RegionId> {
        self.loops.keys().cloned().chain(self.search.iter().map(|search| search.home.clone())).collect()
    }

    /// The names of its loops in [`crate::health`].
    pub fn names(&self) -> BTreeSet<String> {
        let loops = self.loops.values().map(|looped| looped.name().to_owned());
        loops.chain(self.search.iter().map(|search| search.name.clone())).collect()
    }

    /// Makes its loops known before they run: to the health, so that the process is not ready in between, and
    /// what they need and are allowed to whoever counts.
    pub fn announce(&self) {
        self.names().iter().for_each(|name| self.shared.health.beat(name));
        self.loops.values().for_each(RegionPoller::tell_demand);
    }

    /// Runs until it is stopped, and returns with what it knows then.
    ///
    /// # Errors
    /// [`SupervisorError`] as soon as a loop ends before that or cannot begin.
    pub async fn run(mut self, stop: CancellationToken) -> Result<Self, SupervisorError> {
        self.announce();
        let mut running = RunningPollers { tasks: JoinSet::new(), stops: BTreeMap::new(), stop };
        for looped in std::mem::take(&mut self.loops) {
            running.start(looped);
        }
        match self.search.take() {
            Some(search) => self.search = Some(self.find(search, &mut running).await?),
            None => self.watch(&mut running, None).await?,
        }
        // All have heard it; those that had ended for another reason before are not kept.
        while let Some(ended) = running.tasks.join_next().await {
            let (region, looped) = ended.map_err(|error| SupervisorError::Dead(running.name(error.id())))?;
            if running.stops.contains_key(&region) {
                self.loops.insert(region, looped);
            } else {
                self.forget(&region);
            }
        }
        Ok(self)
    }

    fn name(&self, region: &RegionId) -> String {
        region_name(self.account.name.as_ref(), region)
    }

    fn looped(&self, region: RegionId) -> Result<RegionPoller<C>, SupervisorError> {
        let cloud = self.connect(&region)?;
        Ok(RegionPoller::new(&self.account, region, cloud, self.shared.clone()))
    }

    fn connect(&self, region: &RegionId) -> Result<C, SupervisorError> {
        (self.account.connect)(region).map_err(|why| SupervisorError::Client(region.to_string(), why))
    }

    /// Waits until a moment, or for ever; hears the stop, and loops that end.
    async fn watch(
        &self,
        running: &mut RunningPollers<C>,
        until: Option<Instant>,
    ) -> Result<(), SupervisorError> {
        loop {
            let moment = async {
                match until {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = running.stop.cancelled() => return Ok(()),
                Some(ended) = running.tasks.join_next() => match ended {
                    Ok((region, _)) if !running.stops.contains_key(&region) => self.forget(&region),
                    Ok((region, _)) => return Err(SupervisorError::Dead(region.to_string())),
                    Err(error) => return Err(SupervisorError::Dead(running.name(error.id()))),
                },
                () = moment => return Ok(()),
            }
        }
    }

    fn forget(&self, region: &RegionId) {
        let account = self.account.name.as_ref();
        self.shared.store.remove(account, region);
        self.shared.health.forget(&region_name(account, region));
        self.shared.observer.region_ended(account, region);
    }

    async fn find(
        &self,
        mut search: RegionDiscovery<C>,
        running: &mut RunningPollers<C>,
    ) -> Result<RegionDiscovery<C>, SupervisorError> {
        let timing = self.account.timing;
        let key =
            |kind: ErrorKind| FailureKey { kind, action: Some(Action::GetAllInstanceIdList), instance: None };
        let RegionDiscovery { cloud, home, name, failures, empty, is_down } = &mut search;
        let account = self.account.name.clone();
        let log = CollectLog { account: account.as_ref(), region: home };
        while !running.stop.is_cancelled() {
            let asked = Instant::now();
            let mut answer = pin!(cloud.regions(asked + timing.poll.max(timing.request_timeout)));
            // A cloud that does not answer stops no heart, and hides no loop that has died.
            let answer = loop {
                self.shared.health.beat(name);
                tokio::select! {
                    biased;
                    answer = &mut answer => break Some(answer),
                    watched = self.watch(running, Some(Instant::now() + TICK)) => watched?,
                }
                if running.stop.is_cancelled() {
                    break None;
                }
            };
            let Some(answer) = answer else { break };
            let mut wait = timing.interval(Action::GetAllInstanceIdList);
            let lines = match answer {
                Ok(seen) => {
                    if !running.stops.contains_key(home) {
                        self.shared.store.remove(account.as_ref(), home);
                        *is_down = false;
                    }
                    self.settle(seen, empty, running)?;
                    failures.ended(&(), Instant::now()).into_iter().collect()
                }
                Err(error) => {
                    wait = wait.min(timing.poll);
                    if running.stops.is_empty() {
                        self.shared.store.publish(down_view(account.clone(), home.clone()));
                        *is_down = true;
                    }
                    failures.failed(&(), key(error.kind), error, Instant::now())
                }
            };
            lines
                .into_iter()
                .chain(failures.summaries(Instant::now()))
                .for_each(|line| log.failure(line, None));
            self.shared.health.first_pass_ended(name);
            let next = asked + wait;
            while Instant::now() < next && !running.stop.is_cancelled() {
                self.shared.health.beat(name);
                self.watch(running, Some(next.min(Instant::now() + TICK))).await?;
            }
        }
        Ok(search)
    }

    /// Starts the loops of regions that were found and stops those of regions that were told gone.
    fn settle(
        &self,
        seen: Observed<Listing<RegionId>>,
        empty: &mut EmptyCheck,
        running: &mut RunningPollers<C>,
    ) -> Result<(), SupervisorError> {
        for anomaly in &seen.anomalies {
            self.shared.observer.anomaly(anomaly.kind);
        }
        let Listing { items, complete } = seen.value;
        let found: BTreeSet<RegionId> =
            items.into_iter().filter(|r| self.account.filters.allow_region(r)).collect();
        if !empty.accepts(found.is_empty() && !running.stops.is_empty()) {
            self.shared.observer.anomaly(AnomalyKind::EmptyList);
            tracing::warn!("no region holds instances any more, says one answer; asking again");
            return Ok(());
        }
        for region in &found {
            if !running.stops.contains_key(region) {
                tracing::info!(%region, "region holds instances");
                let looped = self.looped(region.clone())?;
                // Known before its first beat, so that the process is not ready in between.
                self.shared.health.beat(looped.name());
                running.start((region.clone(), looped));
            }
        }
        let gone: Vec<RegionId> =
            running.stops.keys().filter(|r| complete && !found.contains(r)).cloned().collect();
        for region in gone {
            tracing::info!(%region, "region holds instances no more");
            if let Some((_, stop)) = running.stops.remove(&region) {
                stop.cancel();
            }
        }
        Ok(())
    }
}

/// The loops of an account that run.
struct RunningPollers<C> {
    tasks: JoinSet<(RegionId, RegionPoller<C>)>,
    /// What stops each of them; one that is not here any more has been stopped.
    stops: BTreeMap<RegionId, (task::Id, CancellationToken)>,
    /// What stops all of them.
    stop: CancellationToken,
}

impl<C: CloudApi> RunningPollers<C> {
    fn start(&mut self, (region, looped): (RegionId, RegionPoller<C>)) {
        let stop = self.stop.child_token();
        let (heard, of) = (stop.clone(), region.clone());
        let task = self.tasks.spawn(async move { (of, looped.run(heard).await) });
        self.stops.insert(region, (task.id(), stop));
    }

    /// The region whose loop a task is, or was until it died.
    fn name(&self, task: task::Id) -> String {
        let died = self.stops.iter().find(|(_, (id, _))| *id == task);
        died.map_or("a region".to_owned(), |(region, _)| region.to_string())
    }
}
