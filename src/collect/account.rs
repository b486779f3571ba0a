//! The loops of one account: a fixed set of regions, or those in which the account is found to have
//! instances.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Account, Shared,
    failures::{FailureLog, Key},
    log::Log,
    region::{Loop, TICK},
};
use crate::{
    api::{Action, Cloud, Kind},
    model::{AccountName, AnomalyKind, Listing, Observed, RegionId},
    snapshot::{LastSuccess, Objects, RegionView, region_name},
};

/// Which regions an account is looked at in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Regions {
    /// These.
    Fixed(Vec<RegionId>),
    /// Those in which `GetAllInstanceIdList` finds instances, asked at the endpoint of this region.
    Found {
        /// The region whose endpoint is asked.
        home: RegionId,
    },
}

/// Why the loops of an account ended before the shutdown.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// A loop died: what it knew would be served as if it were new.
    #[error("the loop of {0} has died; refusing to serve data that nobody refreshes, please report this")]
    Dead(String),
    /// A client cannot be made.
    #[error("no client for {0}: {1}")]
    Client(String, String),
}

/// Runs the loops of one account until the shutdown.
///
/// # Errors
/// [`Ended`] as soon as one of them ends before that or cannot begin.
pub async fn run<C: Cloud>(
    account: Account<C>,
    shared: Shared,
    shutdown: CancellationToken,
) -> Result<(), Ended> {
    let mut loops = Loops { account, shared, tasks: JoinSet::new(), running: BTreeMap::new(), shutdown };
    match loops.account.regions.clone() {
        Regions::Fixed(regions) => {
            let looked_at = regions.into_iter().filter(|r| loops.account.filters.allow_region(r));
            for region in looked_at.collect::<Vec<_>>() {
                loops.start(region)?;
            }
            loops.watch(None).await
        }
        Regions::Found { home } => loops.find(home).await,
    }
}

/// Stands for all regions while none has been found and the search fails: without it a page would say
/// nothing of a cloud that cannot be read.
fn down(account: Option<AccountName>, region: RegionId) -> RegionView {
    RegionView {
        account,
        region,
        up: Some(false),
        first_pass_ended: true,
        last_success: LastSuccess::default(),
        objects: Objects::default(),
        instances: Vec::new(),
    }
}

struct Loops<C> {
    account: Account<C>,
    shared: Shared,
    tasks: JoinSet<RegionId>,
    running: BTreeMap<RegionId, CancellationToken>,
    shutdown: CancellationToken,
}

impl<C: Cloud> Loops<C> {
    fn start(&mut self, region: RegionId) -> Result<(), Ended> {
        let token = self.shutdown.child_token();
        let cloud = self.connect(&region)?;
        let looped = Loop::new(&self.account, region.clone(), cloud, self.shared.clone());
        // Known before its first beat, so that the process is not ready in between.
        self.shared.health.beat(&region_name(self.account.name.as_ref(), &region));
        self.running.insert(region.clone(), token.clone());
        self.tasks.spawn(async move {
            looped.run(token).await;
            region
        });
        Ok(())
    }

    fn connect(&self, region: &RegionId) -> Result<C, Ended> {
        (self.account.connect)(region).map_err(|why| Ended::Client(region.to_string(), why))
    }

    /// Waits until a moment, or for ever; hears the shutdown, and loops that end.
    async fn watch(&mut self, until: Option<Instant>) -> Result<(), Ended> {
        let shutdown = self.shutdown.clone();
        loop {
            let moment = async {
                match until {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    while self.tasks.join_next().await.is_some() {}
                    return Ok(());
                }
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(region) if !self.running.contains_key(&region) => self.forget(&region),
                    Ok(region) => return Err(Ended::Dead(region.to_string())),
                    Err(_) => return Err(Ended::Dead("a region".to_owned())),
                },
                () = moment => return Ok(()),
            }
        }
    }

    fn forget(&self, region: &RegionId) {
        let account = self.account.name.as_ref();
        self.shared.store.remove(account, region);
        self.shared.health.forget(&region_name(account, region));
        self.shared.reporter.region_ended(account, region);
    }

    async fn find(&mut self, home: RegionId) -> Result<(), Ended> {
        let cloud = self.connect(&home)?;
        let timing = self.account.timing;
        let name = format!("{} (regions: auto)", region_name(self.account.name.as_ref(), &home));
        let key = |kind: Kind| Key {
            result: kind.label(),
            action: Some(Action::GetAllInstanceIdList),
            instance: None,
        };
        let account = self.account.name.clone();
        let log = Log { account: account.as_ref(), region: &home };
        let mut failures = FailureLog::default();
        let mut doubted = false;
        while !self.shutdown.is_cancelled() {
            let asked = Instant::now();
            let mut answer = pin!(cloud.regions(asked + timing.poll.max(timing.request_timeout)));
            // A cloud that does not answer stops no heart, and hides no loop that has died.
            let answer = loop {
                self.shared.health.beat(&name);
                tokio::select! {
                    biased;
                    answer = &mut answer => break answer,
                    watched = self.watch(Some(Instant::now() + TICK)) => watched?,
                }
                if self.shutdown.is_cancelled() {
                    return Ok(());
                }
            };
            let mut wait = timing.interval(Action::GetAllInstanceIdList);
            let lines = match answer {
                Ok(seen) => {
                    if !self.running.contains_key(&home) {
                        self.shared.store.remove(account.as_ref(), &home);
                    }
                    self.settle(seen, &mut doubted)?;
                    failures.ended(&(), Instant::now()).into_iter().collect()
                }
                Err(error) => {
                    wait = wait.min(timing.poll);
                    if self.running.is_empty() {
                        self.shared.store.publish(down(account.clone(), home.clone()));
                    }
                    failures.failed(&(), key(error.kind), error, Instant::now())
                }
            };
            lines
                .into_iter()
                .chain(failures.summaries(Instant::now()))
                .for_each(|line| log.failure(line, None));
            self.shared.health.first_pass_ended(&name);
            let next = asked + wait;
            while Instant::now() < next && !self.shutdown.is_cancelled() {
                self.shared.health.beat(&name);
                self.watch(Some(next.min(Instant::now() + TICK))).await?;
            }
        }
        self.watch(None).await
    }

    /// Starts the loops of regions that were found and stops those of regions that were told gone.
    fn settle(&mut self, seen: Observed<Listing<RegionId>>, doubted: &mut bool) -> Result<(), Ended> {
        for anomaly in &seen.anomalies {
            self.shared.reporter.anomaly(anomaly.kind);
        }
        let Listing { items, complete } = seen.value;
        let found: BTreeSet<RegionId> =
            items.into_iter().filter(|r| self.account.filters.allow_region(r)).collect();
        *doubted = found.is_empty() && !self.running.is_empty() && !*doubted;
        if *doubted {
            self.shared.reporter.anomaly(AnomalyKind::EmptyList);
            tracing::warn!("no region holds instances any more, says one answer; asking again");
            return Ok(());
        }
        for region in &found {
            if !self.running.contains_key(region) {
                tracing::info!(%region, "region holds instances");
                self.start(region.clone())?;
            }
        }
        let gone: Vec<RegionId> =
            self.running.keys().filter(|r| complete && !found.contains(r)).cloned().collect();
        for region in gone {
            tracing::info!(%region, "region holds instances no more");
            if let Some(token) = self.running.remove(&region) {
                token.cancel();
            }
        }
        Ok(())
    }
}
