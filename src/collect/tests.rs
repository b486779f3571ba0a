//! Collection against a scripted API under paused time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{
    AccountPlan, AccountSupervisor, CollectContext, CollectObserver, DiscoverySequence, ExplainRouter,
    PollTarget,
};
use crate::{
    api::{Action, ApiError, CloudApi, ErrorKind},
    clock::WallClock,
    health::Health,
    model::{
        AccountName, AnomalyKind, Filters, GroupId, GroupProgress, Instance, InstanceId, InstanceState,
        LastTimestamps, Listing, MessageTimestamps, Observed, Offset, Partition, PartitionProgress,
        PollTiming, RegionId, RegionSelection, ResponseOrigin, TimeSpan, Topic, TopicName, TopicPartition,
        TopicProgress, TopicStatus, UnixMillis,
    },
    snapshot::{InstanceView, RegionView, SnapshotStore},
};

mod auth_breaker;
mod budget_shortage;
mod clock;
mod explain;
mod explain_router;
mod failure_log;
mod first_pass;
mod group;
mod model;
mod polling;
mod priority;
mod reload;
mod schedule;
mod state;

/// API of one region that responds from a script and records its calls.
#[derive(Clone, Default)]
struct ScriptedApi(Arc<Mutex<ScriptedWorld>>);

#[derive(Default)]
struct ScriptedWorld {
    /// Rate limit in calls per second, if not 20.
    rate: Option<f64>,
    regions: Vec<RegionId>,
    /// Duration of `GetAllInstanceIdList`.
    regions_take: Duration,
    regions_fail: bool,
    instances: Vec<Instance>,
    topics: BTreeMap<InstanceId, Vec<Topic>>,
    groups: BTreeMap<InstanceId, Vec<GroupId>>,
    /// Whether topic lists are incomplete.
    topics_incomplete: bool,
    /// End offset of the one partition of topic `t`. Groups have committed 0.
    offset: i64,
    failing: BTreeMap<PollTarget, ErrorKind>,
    /// Targets that fail once, after this time.
    failing_once: BTreeMap<PollTarget, (Duration, ErrorKind)>,
    /// Whether credentials are rejected, except in calls about `accepted_instance`.
    rejects_credentials: bool,
    accepted_instance: Option<InstanceId>,
    panicking: BTreeSet<PollTarget>,
    /// Duration of the calls about an instance, if not 20 ms.
    slow: BTreeMap<InstanceId, Duration>,
    calls: Vec<(Instant, PollTarget)>,
}

impl ScriptedApi {
    fn edit<T>(&self, edit: impl FnOnce(&mut ScriptedWorld) -> T) -> T {
        edit(&mut self.0.lock().unwrap())
    }

    /// Returns the number of calls for targets that satisfy a predicate.
    fn calls(&self, predicate: impl Fn(&PollTarget) -> bool) -> usize {
        self.edit(|w| w.calls.iter().filter(|(_, target)| predicate(target)).count())
    }

    async fn respond<T>(
        &self,
        target: PollTarget,
        value: impl FnOnce(&ScriptedWorld) -> T,
    ) -> Result<Observed<T>, ApiError> {
        let once = self.edit(|w| w.failing_once.remove(&target));
        let delay = self.edit(|w| {
            w.calls.push((Instant::now(), target.clone()));
            target.instance().and_then(|id| w.slow.get(id)).copied()
        });
        let delay = once.map(|(delay, _)| delay).or(delay);
        tokio::time::sleep(delay.unwrap_or(Duration::from_millis(20))).await;
        if let Some((_, kind)) = once {
            return Err(error(target.action(), kind));
        }
        let world = self.0.lock().unwrap();
        if world.rejects_credentials
            && (target.instance().is_none() || target.instance() != world.accepted_instance.as_ref())
        {
            return Err(error(target.action(), ErrorKind::Auth { key: true }));
        }
        let panicking = world.panicking.contains(&target);
        if let Some(kind) = world.failing.get(&target) {
            return Err(error(target.action(), *kind));
        }
        let value = value(&world);
        drop(world);
        assert!(!panicking, "scripted panic");
        Ok(Observed { value, anomalies: Vec::new() })
    }
}

/// Origin of a response at the start of the test.
fn origin() -> ResponseOrigin {
    ResponseOrigin { span: TimeSpan::at(UnixMillis::new(1_790_000_000_000).unwrap()), request_id: None }
}

fn error(action: Action, kind: ErrorKind) -> ApiError {
    ApiError { action, kind, code: None, request_id: None, detail: "scripted".to_owned() }
}

fn complete<T>(items: Vec<T>) -> Listing<T> {
    Listing { items, complete: true }
}

impl CloudApi for ScriptedApi {
    fn rate(&self, _: Action) -> f64 {
        self.edit(|w| w.rate.unwrap_or(20.0))
    }

    async fn regions(&self, _: Instant) -> Result<Observed<Listing<RegionId>>, ApiError> {
        tokio::time::sleep(self.edit(|w| w.regions_take)).await;
        self.edit(|w| match w.regions_fail {
            true => Err(error(Action::GetAllInstanceIdList, ErrorKind::Auth { key: true })),
            false => Ok(Observed { value: complete(w.regions.clone()), anomalies: Vec::new() }),
        })
    }

    async fn instances(&self, _: Instant) -> Result<Observed<Listing<Instance>>, ApiError> {
        self.respond(PollTarget::Instances, |w| complete(w.instances.clone())).await
    }

    async fn topics(&self, id: &InstanceId, _: Instant) -> Result<Observed<Listing<Topic>>, ApiError> {
        let target = PollTarget::Topics(id.clone());
        self.respond(target, |w| Listing {
            items: w.topics.get(id).cloned().unwrap_or_default(),
            complete: !w.topics_incomplete,
        })
        .await
    }

    async fn topic_status(
        &self,
        id: &InstanceId,
        t: &TopicName,
        _: Instant,
    ) -> Result<(Observed<TopicStatus>, ResponseOrigin), ApiError> {
        let seen = self.respond(PollTarget::TopicStatus(id.clone(), t.clone()), |w| status(w.offset)).await?;
        Ok((seen, origin()))
    }

    async fn groups(&self, id: &InstanceId, _: Instant) -> Result<Observed<Listing<GroupId>>, ApiError> {
        self.respond(PollTarget::Groups(id.clone()), |w| {
            complete(w.groups.get(id).cloned().unwrap_or_default())
        })
        .await
    }

    async fn group_progress(
        &self,
        id: &InstanceId,
        g: &GroupId,
        _: MessageTimestamps,
        _: Instant,
    ) -> Result<(Observed<GroupProgress>, ResponseOrigin), ApiError> {
        let seen =
            self.respond(PollTarget::GroupProgress(id.clone(), g.clone()), |w| progress(w.offset)).await?;
        Ok((seen, origin()))
    }
}

fn instance(id: &str, state: InstanceState) -> Instance {
    Instance {
        id: InstanceId::new(id).unwrap(),
        name: Some(format!("name of {id}")),
        state: Some(state),
        series: None,
        spec_type: None,
        version: None,
        deploy_type: None,
        paid_type: None,
        disk_type: None,
        created_at: None,
        expires_at: None,
        topics: None,
        topic_limit: None,
        partitions: None,
        groups: None,
        disk_size_bytes: None,
        message_retention_seconds: None,
        tags: Vec::new(),
    }
}

fn id(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

fn topic(name: &str) -> Topic {
    let name = TopicName::new(name).unwrap();
    Topic { name, partitions: Some(1), storage: None, cleanup: None, created_at: None }
}

fn group(name: &str) -> GroupId {
    GroupId::new(name).unwrap()
}

fn status(end: i64) -> TopicStatus {
    let partition = TopicPartition {
        partition: Partition(0),
        start: Offset::new(0),
        end: Offset::new(end),
        last_write: None,
    };
    TopicStatus { messages: None, partitions: vec![partition] }
}

fn progress(end: i64) -> GroupProgress {
    let partition = PartitionProgress {
        partition: Partition(0),
        end: Offset::new(end),
        committed: Offset::new(0),
        last_consumed: None,
    };
    let topic =
        TopicProgress { topic: TopicName::new("t").unwrap(), total_diff: None, partitions: vec![partition] };
    GroupProgress { topics: vec![topic], ..GroupProgress::default() }
}

fn timing() -> PollTiming {
    PollTiming {
        discovery: Duration::from_secs(300),
        poll: Duration::from_secs(60),
        topic_poll: Duration::from_secs(60),
        idle_poll: Duration::from_secs(90),
        idle_topic_poll: Duration::from_secs(90),
        stale_after: Duration::from_secs(180),
        topic_stale_after: Duration::from_secs(180),
        discovery_stale_after: Duration::from_secs(900),
        request_timeout: Duration::from_secs(15),
        status_window: Duration::from_secs(600),
        last_timestamps: LastTimestamps::Lagging,
    }
}

#[derive(Default)]
struct AnomalyCounts {
    anomalies: Mutex<Vec<AnomalyKind>>,
}

impl CollectObserver for AnomalyCounts {
    fn anomaly(&self, kind: AnomalyKind) {
        self.anomalies.lock().unwrap().push(kind);
    }
    fn lateness(&self, _: Option<&AccountName>, _: &RegionId, _: Duration) {}
    fn demand(&self, _: Option<&AccountName>, _: &RegionId, _: Action, _: f64, _: f64) {}
    fn region_ended(&self, _: Option<&AccountName>, _: &RegionId) {}
}

/// A running supervisor.
struct RunningAccount<C: CloudApi = ScriptedApi> {
    store: Arc<SnapshotStore>,
    health: Health,
    counts: Arc<AnomalyCounts>,
    explain_router: ExplainRouter,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<AccountSupervisor<C>, super::account::SupervisorError>>,
}

impl RunningAccount {
    fn start(script: &ScriptedApi, regions: RegionSelection, filters: Filters) -> Self {
        Self::over(script, regions, filters, 20.0)
    }

    /// Starts with a wall clock of the test.
    fn with_clock(
        clock: WallClock,
        script: &ScriptedApi,
        regions: RegionSelection,
        filters: Filters,
    ) -> Self {
        Self::with(clock, account(script, regions, filters, 20.0))
    }

    fn fixed(script: &ScriptedApi) -> Self {
        Self::start(script, hangzhou(), Filters::default())
    }
}

fn account<C: CloudApi + Clone>(
    cloud: &C,
    regions: RegionSelection,
    filters: Filters,
    rate: f64,
) -> AccountPlan<C> {
    let clouds = cloud.clone();
    AccountPlan {
        name: None,
        regions,
        home_region: RegionId::new("cn-hangzhou").unwrap(),
        filters,
        timing: timing(),
        configured_rate: Arc::new(move |_| rate),
        connect: Arc::new(move |_| Ok(clouds.clone())),
    }
}

impl<C: CloudApi + Clone> RunningAccount<C> {
    /// Starts with any API and rate limit in calls per second.
    fn over(cloud: &C, regions: RegionSelection, filters: Filters, rate: f64) -> Self {
        Self::with(crate::clock::unix_now, account(cloud, regions, filters, rate))
    }

    fn with(clock: WallClock, account: AccountPlan<C>) -> Self {
        let (store, health, counts) =
            (Arc::new(SnapshotStore::default()), Health::default(), Arc::new(AnomalyCounts::default()));
        let shutdown = CancellationToken::new();
        let shared = CollectContext {
            store: Arc::clone(&store),
            health: health.clone(),
            observer: Arc::clone(&counts) as Arc<dyn CollectObserver>,
            clock,
            sequence: Arc::new(DiscoverySequence::default()),
            explain_router: ExplainRouter::default(),
        };
        let explain_router = shared.explain_router.clone();
        let supervisor = AccountSupervisor::new(account, shared, &[]).unwrap();
        let task = tokio::spawn(supervisor.run(shutdown.clone()));
        Self { store, health, counts, explain_router, shutdown, task }
    }

    /// Returns the pollers that are not ready, once all published views are served.
    fn awaited_first_passes(&self) -> Vec<String> {
        for region in self.store.current().regions.iter().filter(|r| r.first_pass_ended) {
            self.health.first_pass_ended(&region.name());
        }
        self.health.awaited_first_passes()
    }

    fn region(&self) -> Option<Arc<RegionView>> {
        self.store.current().regions.first().cloned()
    }

    fn instance(&self, name: &str) -> Option<Arc<InstanceView>> {
        self.region()?.instances.iter().find(|i| i.id.as_str() == name).cloned()
    }

    /// Returns the lag in the view of a group.
    fn lag(&self, instance: &str, group: &str) -> Option<u64> {
        let view = self.instance(instance)?;
        view.groups.iter().find(|g| g.id.as_str() == group)?.lag.as_ref()?.messages
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn hangzhou() -> RegionSelection {
    RegionSelection::List(vec![RegionId::new("cn-hangzhou").unwrap()])
}

async fn seconds(n: u64) {
    tokio::time::sleep(Duration::from_secs(n)).await;
}

fn one_instance(groups: usize) -> ScriptedApi {
    let script = ScriptedApi::default();
    script.edit(|w| {
        w.instances = vec![instance("i", InstanceState::Running)];
        w.topics.insert(id("i"), vec![topic("t")]);
        w.groups.insert(id("i"), (0..groups).map(|n| group(&format!("g{n}"))).collect());
        w.offset = 7;
    });
    script
}

fn wall(millis: i64) -> UnixMillis {
    UnixMillis::new(millis).unwrap()
}
