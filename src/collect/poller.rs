//! The event loop of one region: polls what is due, applies the outcomes to the region's state, publishes views.
//!
//! Owns the running calls and the rate of publishing. A call that panics costs one attempt at one target. While
//! the credentials are rejected, only the instance list is polled, once per poll interval.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    task::{Id, JoinSet},
    time::{Duration, Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    AccountPlan, CollectContext, ConfiguredRate, PollTarget,
    auth_breaker::{AuthBreaker, AuthSignal},
    budget_shortage::BudgetShortage,
    failure_log::{FailureKey, FailureLog, RecentSet},
    log::CollectLog,
    schedule::{PollJob, Schedule},
    state::{Effects, Now, PollOutcome, PollResponse, RegionEvent, RegionState},
};
use crate::{
    api::{Action, ApiError, CloudApi, ErrorKind},
    model::{AccountName, InstanceId, MessageTimestamps, RegionId},
    snapshot::{RegionView, region_name},
};

/// Minimum time between two published views of a region, so that not every response creates a generation.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(100);
/// Interval of the expiry check, and the longest gap between heartbeats.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Polls one region of one account.
pub(super) struct RegionPoller<C> {
    name: String,
    account: Option<AccountName>,
    region: RegionId,
    poll_interval: Duration,
    expiry_interval: Duration,
    configured_rate: ConfiguredRate,
    cloud: Arc<C>,
    context: CollectContext,
    state: RegionState,
    schedule: Schedule,
    budget_shortage: BudgetShortage,
    failures: FailureLog<PollTarget>,
    tasks: JoinSet<PollOutcome>,
    /// The jobs of the running tasks.
    jobs: HashMap<Id, PollJob>,
    auth_breaker: AuthBreaker,
    /// Targets that got an authentication error while the instance list got none. Further ones do not trip the
    /// breaker for a while.
    recently_cleared: RecentSet<PollTarget>,
    /// Kinds of anomalies, and panics, that were logged recently, per instance.
    recent_anomalies: RecentSet<(&'static str, Option<InstanceId>)>,
    /// End of the last poll of the instance list.
    discovered_at: Option<Instant>,
    /// Whether the cost of a pass has been logged.
    is_plan_logged: bool,
    /// Earliest time of the next publication.
    publish_at: Instant,
    /// Whether anything has changed since the last publication.
    is_dirty: bool,
    /// Whether a view has ever been published.
    is_published: bool,
}

impl<C: CloudApi> RegionPoller<C> {
    pub(super) fn new(plan: &AccountPlan<C>, region: RegionId, cloud: C, context: CollectContext) -> Self {
        let now = Instant::now();
        let timing = plan.timing;
        let configured_rate = Arc::clone(&plan.configured_rate);
        let mut schedule = Schedule::new(now, timing, |action| configured_rate(action));
        schedule.add(PollTarget::Instances, now);
        Self {
            name: region_name(plan.name.as_ref(), &region),
            account: plan.name.clone(),
            poll_interval: timing.poll,
            // Tests use short ages.
            expiry_interval: HEARTBEAT_INTERVAL.min(timing.stale_after / 10).max(Duration::from_millis(10)),
            cloud: Arc::new(cloud),
            state: RegionState::new(
                plan.name.clone(),
                region.clone(),
                plan.filters.clone(),
                timing,
                Arc::clone(&context.sequence),
            ),
            schedule,
            budget_shortage: BudgetShortage::new(timing.poll),
            failures: FailureLog::default(),
            tasks: JoinSet::new(),
            jobs: HashMap::new(),
            auth_breaker: AuthBreaker::default(),
            recently_cleared: RecentSet::default(),
            recent_anomalies: RecentSet::default(),
            discovered_at: None,
            is_plan_logged: false,
            publish_at: now,
            is_dirty: false,
            is_published: false,
            configured_rate,
            region,
            context,
        }
    }

    /// Resumes from a stopped poller of the same region, under this poller's configuration. Polls every list at
    /// once, because other filters may match objects that were excluded before.
    pub(super) fn resume_from(&mut self, previous: Self) {
        let now = Instant::now();
        let mut effects = self.state.resume_from(previous.state);
        self.schedule.resume_from(&previous.schedule, now);
        self.budget_shortage = previous.budget_shortage;
        self.failures = previous.failures;
        // The next poll of the instance list checks new credentials.
        self.auth_breaker = previous.auth_breaker;
        self.recent_anomalies = previous.recent_anomalies;
        self.is_plan_logged = previous.is_plan_logged;
        self.is_published = previous.is_published;
        self.apply_schedule_changes(&mut effects, now);
        for list in self.state.lists() {
            self.schedule.expedite(&list, now);
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the view to show before the poller runs; `None` if none was ever published.
    pub(super) fn view(&mut self) -> Option<RegionView> {
        let now = self.now();
        self.is_published.then(|| self.state.view(now))
    }

    /// Runs until `stop` is cancelled, then cancels the running calls and returns itself.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Self {
        let mut expiry_checked_at = Instant::now();
        let mut explain = self.context.explain_router.register(self.account.as_ref(), &self.region);
        // Before the first call, so that the counters of retries start from a visible 0.
        self.check_budget();
        loop {
            self.context.health.beat(&self.name);
            self.start_due();
            let wake_at = self.wake_at(expiry_checked_at + self.expiry_interval);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(result) = self.tasks.join_next_with_id() => match result {
                    Ok((task, outcome)) => self.on_task_done(task, Some(outcome)),
                    Err(error) => self.on_task_done(error.id(), None),
                },
                Some(pending) = explain.recv() => pending.reply(|request| self.state.explain(request, self.now())),
                () = sleep_until(wake_at) => {}
            }
            let now = Instant::now();
            if now >= expiry_checked_at + self.expiry_interval {
                expiry_checked_at = now;
                self.expire_stale();
            }
            if self.is_dirty && now >= self.publish_at {
                self.publish(now);
            }
        }
        self.tasks.shutdown().await;
        self
    }

    fn wake_at(&mut self, expiry_check: Instant) -> Instant {
        let publication = self.is_dirty.then_some(self.publish_at);
        let due = self.next_due(Instant::now());
        publication.into_iter().chain(due).fold(expiry_check, Instant::min)
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while let Some(job) = self.take_due(now) {
            let timestamps = self.state.wanted_timestamps(&job.target);
            let (cloud, target, deadline) = (Arc::clone(&self.cloud), job.target.clone(), job.deadline);
            let task =
                self.tasks.spawn(async move { poll(cloud.as_ref(), &target, timestamps, deadline).await });
            self.jobs.insert(task.id(), job);
        }
    }

    fn take_due(&mut self, now: Instant) -> Option<PollJob> {
        if self.auth_breaker.is_closed() {
            self.schedule.take(now, self.state.serving())
        } else {
            self.probe_due().filter(|due| *due <= now)?;
            self.schedule.take_only(&PollTarget::Instances, now)
        }
    }

    fn next_due(&mut self, now: Instant) -> Option<Instant> {
        if self.auth_breaker.is_closed() {
            self.schedule.next_due(now, self.state.serving())
        } else {
            self.probe_due()
        }
    }

    /// Returns when to poll the instance list while nothing else is polled: as scheduled if the credentials are
    /// only suspected, at most once per poll interval if they are known to be rejected.
    fn probe_due(&self) -> Option<Instant> {
        let due = self.schedule.due(&PollTarget::Instances)?;
        Some(if self.auth_breaker.is_open() { self.earliest_rediscovery(due) } else { due })
    }

    /// Returns the earliest time at which the instance list may be polled again, or `now` if it never was.
    fn earliest_rediscovery(&self, now: Instant) -> Instant {
        self.discovered_at.map_or(now, |at| now.max(at + self.poll_interval))
    }

    /// Applies the outcome of a finished task; `None` if it panicked.
    fn on_task_done(&mut self, task: Id, outcome: Option<PollOutcome>) {
        let Some(PollJob { target, due, .. }) = self.jobs.remove(&task) else { return };
        let now = self.now();
        self.is_dirty = true;
        let signal = self.check_credentials(&target, outcome.as_ref(), now.mono);
        let Some(outcome) = outcome else {
            if self.recent_anomalies.insert(("panic", target.instance().cloned()), now.mono) {
                self.log().panicked(&target);
            }
            self.state.fail(&target);
            self.schedule.done(&target, true, None, now.mono);
            return;
        };
        let lateness = now.mono.duration_since(due);
        self.context.observer.lateness(self.account.as_ref(), &self.region, lateness);
        if target == PollTarget::Instances {
            self.discovered_at = Some(now.mono);
        }
        let failed = outcome.is_err();
        self.log_outcome(&target, &outcome, &signal, now.mono);
        let mut effects = self.state.apply(&target, outcome, now);
        self.schedule.done(&target, failed || effects.retry_soon, effects.priority, now.mono);
        if signal == AuthSignal::Suspected {
            self.schedule.expedite(&PollTarget::Instances, now.mono);
        }
        if self.auth_breaker.is_open() {
            self.state.fail_all();
        }
        self.apply_schedule_changes(&mut effects, now.mono);
        self.log_changes(&target, &effects, now.mono);
        // Publishes the end of the first pass without delay, because readiness waits for it.
        if !self.is_plan_logged && self.state.is_explored() {
            self.publish_at = now.mono;
        }
    }

    /// Passes an outcome to the breaker, unless its target was suspected without reason a short while ago.
    fn check_credentials(
        &mut self,
        target: &PollTarget,
        outcome: Option<&PollOutcome>,
        now: Instant,
    ) -> AuthSignal {
        if self.auth_breaker.is_closed() && self.recently_cleared.contains(target, now) {
            return AuthSignal::Unrelated;
        }
        let signal = self.auth_breaker.record(target, outcome);
        if let AuthSignal::Cleared(suspect) = &signal {
            self.recently_cleared.insert(suspect.0.clone(), now);
        }
        signal
    }

    /// Brings the schedule in line with the effects of an outcome.
    fn apply_schedule_changes(&mut self, effects: &mut Effects, now: Instant) {
        for target in effects.removed.drain(..) {
            self.schedule.remove(&target);
            if let Some(line) = self.failures.ended_without_success(&target, now) {
                self.log().failure(line, target.object());
            }
        }
        for target in effects.added.drain(..) {
            self.schedule.add(target, now);
        }
        for (target, at) in effects.expedited.drain(..) {
            self.schedule.expedite(&target, at);
        }
        if effects.rediscover {
            // An instance that is listed but returns errors must not cause a storm of list calls.
            self.schedule.expedite(&PollTarget::Instances, self.earliest_rediscovery(now));
        }
    }

    /// Logs and counts the anomalies of a response, and logs the changes that it brought.
    fn log_changes(&mut self, target: &PollTarget, effects: &Effects, now: Instant) {
        for anomaly in &effects.anomalies {
            self.context.observer.anomaly(anomaly.kind);
            let key = (anomaly.kind.label(), target.instance().cloned());
            let is_news = self.recent_anomalies.insert(key, now);
            self.log().anomaly(target, anomaly, is_news);
        }
        for event in &effects.events {
            self.log().event(event);
            if let RegionEvent::InstanceGone(gone) = event {
                self.recent_anomalies.remove_if(|(_, instance)| instance.as_ref() == Some(gone));
            }
        }
    }

    /// Logs the beginning or the end of a failure.
    fn log_outcome(&mut self, target: &PollTarget, outcome: &PollOutcome, signal: &AuthSignal, now: Instant) {
        match signal {
            // The failure of the instance list covers all rejected calls.
            AuthSignal::Suspected | AuthSignal::Rejected => return,
            AuthSignal::Cleared(suspect) => self.log_failure(&suspect.0, &suspect.1, now),
            AuthSignal::Unrelated => {}
        }
        let line = match outcome {
            Ok(_) => self.failures.succeeded(target, now),
            Err(error) if self.is_disappearance(target, error.kind) => {
                self.failures.ended_without_success(target, now)
            }
            Err(error) => return self.log_failure(target, error, now),
        };
        line.into_iter().for_each(|line| self.log().failure(line, target.object()));
    }

    fn log_failure(&mut self, target: &PollTarget, error: &ApiError, now: Instant) {
        // The failure of a target that is no longer polled would never end.
        if self.schedule.contains(target) {
            let key = FailureKey::of(target, error.kind);
            let lines = self.failures.failed(target, key, error.clone(), now);
            lines.into_iter().for_each(|line| self.log().failure(line, target.object()));
        }
    }

    /// Whether an error means that the object was deleted, rather than a failure. An error that
    /// concerns the instance does so the first time only: if it repeats, the list still contains the instance.
    fn is_disappearance(&mut self, target: &PollTarget, kind: ErrorKind) -> bool {
        match kind {
            ErrorKind::Gone { instance: false } if target.object().is_some() => true,
            ErrorKind::Gone { .. } => target.instance().is_some() && !self.state.is_failing(target),
            _ => false,
        }
    }

    fn expire_stale(&mut self) {
        let now = self.now();
        for line in self.failures.summaries(now.mono) {
            self.log().failure(line, None);
        }
        self.recent_anomalies.expire(now.mono);
        self.recently_cleared.expire(now.mono);
        self.is_dirty |= self.state.expire(now);
        self.check_budget();
    }

    /// Adapts the schedule to the current rate limits, logs budget shortages, and reports the demand.
    fn check_budget(&mut self) {
        let now = Instant::now();
        for action in Action::ALL {
            // Fewer calls may run at a rate that throttling has lowered. Waiting ones keep their order.
            self.schedule.set_rate(action, self.cloud.rate(action));
            // Compared with the configured rate, because raising it would not help against throttling.
            let (demand, configured) = (self.schedule.demand(action), (self.configured_rate)(action));
            if let Some(change) = self.budget_shortage.check(action, demand, configured, now) {
                self.log().budget_shortage(change, action, demand, configured);
            }
        }
        self.report_demand();
    }

    /// Reports the demand and the current rate limit of each action to the observer.
    pub(super) fn report_demand(&self) {
        for action in Action::ALL {
            let (demand, allowed) = (self.schedule.demand(action), self.cloud.rate(action));
            self.context.observer.demand(self.account.as_ref(), &self.region, action, demand, allowed);
        }
    }

    fn publish(&mut self, now: Instant) {
        let view = self.state.view(self.now());
        // A first pass that failed before it listed anything does not show what a pass costs.
        if !self.is_plan_logged && self.state.is_explored() {
            self.is_plan_logged = true;
            let (topics, groups) = self.state.planned_calls();
            let topic_seconds = topics as f64 / (self.configured_rate)(Action::GetTopicStatus);
            let group_seconds = groups as f64 / (self.configured_rate)(Action::GetConsumerProgress);
            let seconds = topic_seconds.max(group_seconds);
            self.log().plan(&view.objects, topics + groups, seconds, self.poll_interval);
        }
        self.context.store.publish(view);
        self.is_published = true;
        self.is_dirty = false;
        self.publish_at = now + PUBLISH_INTERVAL.min(self.poll_interval / 10);
    }

    fn log(&self) -> CollectLog<'_> {
        CollectLog { account: self.account.as_ref(), region: &self.region }
    }

    fn now(&self) -> Now {
        Now { mono: Instant::now(), wall: (self.context.clock)() }
    }
}

/// Calls the API for one target. `timestamps` concerns the progress of groups only.
async fn poll<C: CloudApi>(
    cloud: &C,
    target: &PollTarget,
    timestamps: MessageTimestamps,
    deadline: Instant,
) -> PollOutcome {
    match target {
        PollTarget::Instances => cloud.instances(deadline).await.map(PollResponse::Instances),
        PollTarget::Topics(instance) => cloud.topics(instance, deadline).await.map(PollResponse::Topics),
        PollTarget::Groups(instance) => cloud.groups(instance, deadline).await.map(PollResponse::Groups),
        PollTarget::TopicStatus(instance, topic) => {
            let result = cloud.topic_status(instance, topic, deadline).await;
            result.map(|(status, origin)| PollResponse::TopicStatus(status, origin))
        }
        PollTarget::GroupProgress(instance, group) => {
            let result = cloud.group_progress(instance, group, timestamps, deadline).await;
            result.map(|(progress, origin)| PollResponse::GroupProgress(progress, origin))
        }
    }
}
