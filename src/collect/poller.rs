//! The loop of one region of one account: takes what is due, asks, applies what comes back, publishes.
//!
//! Owns: the tasks under way and the pace of publishing. Every wait hears the shutdown. A task that
//! panics costs one attempt at one target. While the key is refused, one call an interval asks whether it
//! still is.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    task::{Id, JoinSet},
    time::{Duration, Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    AccountPlan, CollectContext, ConfiguredRate, PollTarget, ask,
    auth_breaker::{AuthBreaker, AuthSignal},
    budget_shortage::BudgetShortage,
    failure_log::{FailureKey, FailureLog, RecentSet},
    log::CollectLog,
    schedule::{PollJob, Schedule},
    state::{Now, PollOutcome, RegionEvent, RegionState},
};
use crate::{
    api::{Action, ApiError, CloudApi, ErrorKind},
    model::{AccountName, InstanceId, RegionId},
    snapshot::{RegionView, region_name},
};

/// Between two publications. A fleet whose answers trickle in is not worth a generation an answer.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at what grows old; also the longest that a heart does not beat.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// The loop of one region.
pub(super) struct RegionPoller<C> {
    name: String,
    account: Option<AccountName>,
    region: RegionId,
    poll: Duration,
    tick: Duration,
    rate: ConfiguredRate,
    cloud: Arc<C>,
    shared: CollectContext,
    fleet: RegionState,
    schedule: Schedule,
    budget_shortage: BudgetShortage,
    failures: FailureLog<PollTarget>,
    tasks: JoinSet<PollOutcome>,
    under_way: HashMap<Id, PollJob>,
    auth_breaker: AuthBreaker,
    /// Units whose key was refused although that of the list was not.
    recently_cleared: RecentSet<PollTarget>,
    /// Oddities of answers, and panics, by instance.
    odd: RecentSet<(&'static str, Option<InstanceId>)>,
    discovered: Option<Instant>,
    /// What a pass takes has been told to the log.
    is_planned: bool,
    /// When the next publication may be, if there is something new.
    publish_at: Instant,
    dirty: bool,
    /// Something was published.
    is_shown: bool,
}

impl<C: CloudApi> RegionPoller<C> {
    pub(super) fn new(account: &AccountPlan<C>, region: RegionId, cloud: C, shared: CollectContext) -> Self {
        let now = Instant::now();
        let timing = account.timing;
        let rate = Arc::clone(&account.rate);
        let mut schedule = Schedule::new(now, timing, |action| rate(action));
        schedule.add(PollTarget::Instances, now);
        Self {
            name: region_name(account.name.as_ref(), &region),
            account: account.name.clone(),
            poll: timing.poll,
            // Short bounds, as in tests, are looked at more often.
            tick: TICK.min(timing.stale_after / 10).max(Duration::from_millis(10)),
            cloud: Arc::new(cloud),
            fleet: RegionState::new(
                account.name.clone(),
                region.clone(),
                account.filters.clone(),
                timing,
                Arc::clone(&shared.sequence),
            ),
            schedule,
            budget_shortage: BudgetShortage::new(timing.poll),
            failures: FailureLog::default(),
            tasks: JoinSet::new(),
            under_way: HashMap::new(),
            auth_breaker: AuthBreaker::default(),
            recently_cleared: RecentSet::default(),
            odd: RecentSet::default(),
            discovered: None,
            is_planned: false,
            publish_at: now,
            dirty: false,
            is_shown: false,
            rate,
            region,
            shared,
        }
    }

    /// Goes on where another loop of the same region has stopped, under its own configuration. Every list is
    /// asked for at once, as other filters may find what was not looked at.
    pub(super) fn resume_from(&mut self, before: Self) {
        let now = self.now().mono;
        let effects = self.fleet.resume_from(before.fleet);
        self.schedule.resume_from(&before.schedule, now);
        self.budget_shortage = before.budget_shortage;
        self.failures = before.failures;
        // A key that was refused may be another by now: the list of instances tells.
        self.auth_breaker = before.auth_breaker;
        self.odd = before.odd;
        self.is_planned = before.is_planned;
        self.is_shown = before.is_shown;
        self.settle(effects.removed, effects.added, now);
        for list in self.fleet.lists() {
            self.schedule.expedite(&list, now);
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What is to be shown before the loop runs; `None` if nothing ever was.
    pub(super) fn view(&mut self) -> Option<RegionView> {
        let now = self.now();
        self.is_shown.then(|| self.fleet.view(now))
    }

    /// Runs until it is stopped, and returns what it knows then. Its calls that are under way are dropped.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Self {
        let mut tick = Instant::now();
        let mut mailbox = self.shared.desk.seat(self.account.as_ref(), &self.region);
        // Before the first call, so that its retries are counted from a 0 that was seen.
        self.report_demand();
        loop {
            self.shared.health.beat(&self.name);
            self.start_due();
            let now = Instant::now();
            let mut wake = tick + self.tick;
            if self.dirty {
                wake = wake.min(self.publish_at);
            }
            if let Some(due) = self.next_due(now) {
                wake = wake.min(due);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.tasks.join_next_with_id() => match ended {
                    Ok((id, outcome)) => self.ended(id, Some(outcome)),
                    Err(error) => self.ended(error.id(), None),
                },
                Some(asked) = mailbox.next() => asked.answer(|question| self.fleet.explain(question, self.now())),
                () = sleep_until(wake) => {}
            }
            let now = Instant::now();
            if now >= tick + self.tick {
                tick = now;
                self.grow_old();
            }
            if self.dirty && now >= self.publish_at {
                self.publish(now);
            }
        }
        // Dropping the tasks cancels their calls.
        self.tasks.shutdown().await;
        self
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while let Some(job) = self.take(now) {
            let (cloud, target, deadline) = (Arc::clone(&self.cloud), job.target.clone(), job.deadline);
            let times = self.fleet.times(&target);
            let handle = self.tasks.spawn(async move { ask(cloud.as_ref(), &target, times, deadline).await });
            self.under_way.insert(handle.id(), job);
        }
    }

    fn take(&mut self, now: Instant) -> Option<PollJob> {
        if self.auth_breaker.is_closed() {
            self.schedule.take(now, self.fleet.serving())
        } else {
            self.probe_due().filter(|due| *due <= now)?;
            self.schedule.take_only(&PollTarget::Instances, now)
        }
    }

    fn next_due(&mut self, now: Instant) -> Option<Instant> {
        if self.auth_breaker.is_closed() {
            self.schedule.next_due(now, self.fleet.serving())
        } else {
            self.probe_due()
        }
    }

    /// When the list of instances is asked while nothing else is: at once if the key is only suspected, and
    /// not more often than polls if it is known to be refused.
    fn probe_due(&self) -> Option<Instant> {
        let due = self.schedule.due(&PollTarget::Instances)?;
        let asked = self.discovered.filter(|_| self.auth_breaker.is_open());
        Some(asked.map_or(due, |asked| due.max(asked + self.poll)))
    }

    /// Applies what came of a task; `None` if it panicked.
    fn ended(&mut self, id: Id, outcome: Option<PollOutcome>) {
        let Some(PollJob { target, due, .. }) = self.under_way.remove(&id) else { return };
        let now = self.now();
        self.dirty = true;
        // Whoever was suspected without reason a short while ago does not hold up the region again.
        let is_cleared = self.auth_breaker.is_closed() && self.recently_cleared.knows(&target, now.mono);
        let heard = if is_cleared {
            AuthSignal::Unrelated
        } else {
            self.auth_breaker.hear(&target, outcome.as_ref())
        };
        if let AuthSignal::Cleared(of) = &heard {
            self.recently_cleared.is_news(of.0.clone(), now.mono);
        }
        let Some(outcome) = outcome else {
            if self.odd.is_news(("panic", target.instance().cloned()), now.mono) {
                self.log().panicked(&target);
            }
            self.fleet.fail(&target);
            self.schedule.done(&target, true, None, now.mono);
            return;
        };
        let lateness = now.mono.duration_since(due);
        self.shared.observer.lateness(self.account.as_ref(), &self.region, lateness);
        if target == PollTarget::Instances {
            self.discovered = Some(now.mono);
        }
        let failed = outcome.is_err();
        self.tell(&target, &outcome, &heard, now.mono);
        let effects = self.fleet.apply(&target, outcome, now);
        self.schedule.done(&target, failed || effects.retry_soon, effects.priority, now.mono);
        if heard == AuthSignal::Suspected {
            self.schedule.expedite(&PollTarget::Instances, now.mono);
        }
        if self.auth_breaker.is_open() {
            self.fleet.fail_all();
        }
        self.settle(effects.removed, effects.added, now.mono);
        for (target, at) in effects.expedited {
            self.schedule.expedite(&target, at);
        }
        if effects.rediscover {
            // Not more often than polls: an instance that is listed but refuses must not cost a storm.
            let at = self.discovered.map_or(now.mono, |at| now.mono.max(at + self.poll));
            self.schedule.expedite(&PollTarget::Instances, at);
        }
        for anomaly in effects.anomalies {
            self.shared.observer.anomaly(anomaly.kind);
            let is_news = self.odd.is_news((anomaly.kind.label(), target.instance().cloned()), now.mono);
            self.log().anomaly(&target, &anomaly, is_news);
        }
        for event in &effects.events {
            self.log().event(event);
            if let RegionEvent::InstanceGone(gone) = event {
                self.odd.forget(now.mono, |(_, instance)| instance.as_ref() == Some(gone));
            }
        }
        // The end of the first pass is waited for.
        if !self.is_planned && self.schedule.has_asked_all() {
            self.publish_at = now.mono;
        }
    }

    /// Writes the lines that an outcome is worth.
    fn tell(&mut self, target: &PollTarget, outcome: &PollOutcome, heard: &AuthSignal, now: Instant) {
        match (heard, outcome) {
            // The list speaks for all that are refused.
            (AuthSignal::Suspected | AuthSignal::Rejected, _) => return,
            (AuthSignal::Cleared(of), _) => self.tell_failure(&of.0, &of.1, now),
            (AuthSignal::Unrelated, _) => {}
        }
        let line = match outcome {
            Ok(_) => self.failures.ended(target, now),
            Err(error) if self.is_news(target, error.kind) => self.failures.ceased(target, now),
            Err(error) => return self.tell_failure(target, error, now),
        };
        line.into_iter().for_each(|line| self.log().failure(line, target.object()));
    }

    fn tell_failure(&mut self, target: &PollTarget, error: &ApiError, now: Instant) {
        // What is asked for no more could never be over.
        if self.schedule.knows(target) {
            let lines = self.failures.failed(target, FailureKey::of(target, error.kind), error.clone(), now);
            lines.into_iter().for_each(|line| self.log().failure(line, target.object()));
        }
    }

    fn settle(&mut self, removed: Vec<PollTarget>, added: Vec<PollTarget>, now: Instant) {
        for target in removed {
            self.schedule.remove(&target);
            if let Some(line) = self.failures.ceased(&target, now) {
                self.log().failure(line, target.object());
            }
        }
        for target in added {
            self.schedule.add(target, now);
        }
    }

    /// Whether an error is news of the fleet rather than a failure: the object was deleted, or the instance
    /// is said to be gone, of which the list will tell. LastPoll again, it is a failure: the list still has it.
    fn is_news(&mut self, target: &PollTarget, kind: ErrorKind) -> bool {
        match kind {
            ErrorKind::Gone { instance: false } if target.object().is_some() => true,
            ErrorKind::Gone { .. } => target.instance().is_some() && !self.fleet.is_failing(target),
            _ => false,
        }
    }

    fn grow_old(&mut self) {
        let now = self.now();
        for line in self.failures.summaries(now.mono) {
            self.log().failure(line, None);
        }
        self.odd.forget(now.mono, |_| false);
        self.recently_cleared.forget(now.mono, |_| false);
        self.dirty |= self.fleet.expire(now);
        self.report_demand();
    }

    fn report_demand(&mut self) {
        let now = Instant::now();
        for action in Action::ALL {
            let (needs, allowed) = (self.schedule.demand(action), self.cloud.rate(action));
            // At a rate that the cloud has lowered, less may be under way: who waits here keeps its place.
            self.schedule.set_rate(action, allowed);
            // A rate that the cloud has lowered is told of as `throttled`: a higher one would not help.
            let configured = (self.rate)(action);
            if let Some(line) = self.budget_shortage.look(action, needs, configured, now) {
                self.log().budget_shortage(line, action, needs, configured);
            }
        }
        self.tell_demand();
    }

    /// Tells what the fleet needs of each action, and what the budget allows.
    pub(super) fn tell_demand(&self) {
        for action in Action::ALL {
            let (needs, allowed) = (self.schedule.demand(action), self.cloud.rate(action));
            self.shared.observer.demand(self.account.as_ref(), &self.region, action, needs, allowed);
        }
    }

    fn publish(&mut self, now: Instant) {
        let view = self.fleet.view(self.now());
        // A first pass that failed before it had listed anything says nothing of what one takes.
        if !self.is_planned && self.fleet.is_explored() {
            self.is_planned = true;
            let (topics, groups) = self.fleet.planned_calls();
            let seconds = |calls: usize, action| calls as f64 / (self.rate)(action);
            let seconds =
                seconds(topics, Action::GetTopicStatus).max(seconds(groups, Action::GetConsumerProgress));
            self.log().plan(&view.objects, topics + groups, seconds, self.poll);
        }
        self.shared.store.publish(view);
        self.is_shown = true;
        self.dirty = false;
        self.publish_at = now + PUBLISH_EVERY.min(self.poll / 10);
    }

    fn log(&self) -> CollectLog<'_> {
        CollectLog { account: self.account.as_ref(), region: &self.region }
    }

    fn now(&self) -> Now {
        Now { mono: Instant::now(), wall: (self.shared.clock)() }
    }
}
