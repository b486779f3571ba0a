//! Schedule of one region: when each target is due, and which of the due ones is next. Pure.
//!
//! A new target is due immediately, so only the request budget limits a first pass. After that, each target is due at
//! its own phase of the interval, so that the calls of a fleet that was discovered in one list spread over it.
//!
//! Out of scope: the rate limit of calls (see `api`), clocks (time is a parameter), and the choice of priorities.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use tokio::time::{Duration, Instant};

use super::PollTarget;
use crate::{api::Action, model::PollTiming};

mod action_queue;
mod priority;

pub use priority::PollPriority;

pub(super) use action_queue::ActionTiming;
pub(super) use priority::ActivityTracker;

use action_queue::{ActionQueue, QueuedTarget};

/// Due times of the targets of one region.
#[derive(Debug)]
pub struct Schedule {
    epoch: Instant,
    timing: PollTiming,
    targets: HashMap<PollTarget, ScheduledTarget>,
    queues: BTreeMap<Action, ActionQueue>,
}

#[derive(Debug, Clone, Copy)]
struct ScheduledTarget {
    priority: PollPriority,
    /// Due time; `None` while a call for it is running.
    due: Option<Instant>,
    /// Start of the last attempt. For a new target, one interval before it was added.
    started: Instant,
}

impl ScheduledTarget {
    fn queued(&self, target: PollTarget, due: Instant) -> QueuedTarget {
        let phase = phase(&target);
        QueuedTarget { started: self.started, phase, target, due, priority: self.priority }
    }
}

/// A target to poll now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollJob {
    /// The target.
    pub target: PollTarget,
    /// Its due time.
    pub due: Instant,
    /// Time from which its response is useless.
    pub deadline: Instant,
}

impl Schedule {
    /// Returns an empty schedule. `rate` returns the rate limit of an action, in calls per second.
    pub fn new(epoch: Instant, timing: PollTiming, rate: impl Fn(Action) -> f64) -> Self {
        let queue = |action| (action, ActionQueue::new(action, &timing, rate(action)));
        let queues = Action::ALL.into_iter().map(queue).collect();
        Self { epoch, timing, targets: HashMap::new(), queues }
    }

    /// Sets the rate limit of an action, in calls per second.
    pub fn set_rate(&mut self, action: Action, rate: f64) {
        self.queue(action).set_rate(rate);
    }

    /// Adds a target that is due immediately. A known target keeps its due time.
    pub fn add(&mut self, target: PollTarget, now: Instant) {
        if !self.contains(&target) {
            let priority = PollPriority::Active;
            let started = now.checked_sub(self.interval(&target, priority)).unwrap_or(now);
            let entry = ScheduledTarget { priority, due: Some(now), started };
            self.insert_new(target, entry);
        }
    }

    /// Adds the targets of the schedule of a stopped poller. They keep their due times, unless the intervals of this
    /// schedule are shorter. Targets with a running call are due immediately.
    pub fn resume_from(&mut self, previous: &Self, now: Instant) {
        self.epoch = previous.epoch;
        for (target, entry) in &previous.targets {
            if !self.contains(target) {
                let latest = now + self.interval(target, entry.priority);
                let due = entry.due.map_or(now, |due| due.min(latest));
                self.insert_new(target.clone(), ScheduledTarget { due: Some(due), ..*entry });
            }
        }
    }

    /// Returns when a target is due; `None` while a call for it is running.
    #[must_use]
    pub fn due(&self, target: &PollTarget) -> Option<Instant> {
        self.targets.get(target)?.due
    }

    /// Removes a target. A running call for it ends without effect on the schedule.
    pub fn remove(&mut self, target: &PollTarget) {
        if let Some(entry) = self.targets.remove(target) {
            let queue = self.queue(target.action());
            queue.remove_member(entry.priority);
            if let Some(due) = entry.due {
                queue.remove(&entry.queued(target.clone(), due));
            }
        }
    }

    /// Makes a target due by `at` if that is sooner than its due time.
    pub fn expedite(&mut self, target: &PollTarget, at: Instant) {
        let Some(entry) = self.targets.get(target).copied() else { return };
        if let Some(due) = entry.due.filter(|due| at < *due) {
            self.queue(target.action()).remove(&entry.queued(target.clone(), due));
            self.insert(target.clone(), ScheduledTarget { due: Some(at), ..entry });
        }
    }

    /// Takes the next due target that may be polled now. `serving` is the number of instances that share the
    /// limits of the region.
    pub fn take(&mut self, now: Instant, serving: usize) -> Option<PollJob> {
        let next = self.queues.values_mut().find_map(|queue| queue.take(now, serving))?;
        Some(self.start(next.target, next.due, now))
    }

    /// Takes this target if it is due, regardless of others and of limits.
    pub fn take_only(&mut self, target: &PollTarget, now: Instant) -> Option<PollJob> {
        let entry = self.targets.get(target).copied()?;
        let due = entry.due.filter(|due| *due <= now)?;
        self.queue(target.action()).take_only(&entry.queued(target.clone(), due));
        Some(self.start(target.clone(), due, now))
    }

    fn start(&mut self, target: PollTarget, due: Instant, now: Instant) -> PollJob {
        if let Some(entry) = self.targets.get_mut(&target) {
            entry.due = None;
            entry.started = now;
        }
        let interval = self.interval(&target, PollPriority::Active);
        PollJob { target, due, deadline: now + interval.max(self.timing.request_timeout) }
    }

    /// Whether a target is scheduled.
    #[must_use]
    pub fn contains(&self, target: &PollTarget) -> bool {
        self.targets.contains_key(target)
    }

    /// Ends an attempt. The target is due again at its phase of the interval for its priority, where `None` keeps the
    /// current priority. After a failure, it is due at most one poll interval after the start of the attempt, so that
    /// a slow failure does not cost two intervals.
    pub fn done(&mut self, target: &PollTarget, failed: bool, priority: Option<PollPriority>, now: Instant) {
        let queue = self.queue(target.action());
        queue.ended(target);
        let Some(entry) = self.targets.get(target).copied().filter(|entry| entry.due.is_none()) else {
            return;
        };
        let started = entry.started;
        let priority = priority.unwrap_or(entry.priority);
        let queue = self.queue(target.action());
        queue.remove_member(entry.priority);
        queue.add_member(priority);
        let interval = self.interval(target, priority);
        let due = if failed {
            let retry = interval.min(self.timing.poll);
            let slot = self.next_slot(target, started, retry, now);
            slot.min(started + retry).max(now + retry / 20)
        } else {
            self.next_slot(target, started, interval, now)
        };
        self.insert(target.clone(), ScheduledTarget { priority, due: Some(due), started });
    }

    /// Returns when the next target that may be polled is due; `None` if there is none.
    pub fn next_due(&mut self, now: Instant, serving: usize) -> Option<Instant> {
        self.queues.values_mut().filter_map(|queue| queue.next_due(now, serving)).min()
    }

    /// Returns the calls per second that an action needs for all targets to keep their intervals.
    #[must_use]
    pub fn demand(&self, action: Action) -> f64 {
        self.queues.get(&action).map_or(0.0, ActionQueue::demand)
    }

    /// Returns the first moment of the target's phase that is not too soon after the attempt started.
    fn next_slot(&self, target: &PollTarget, started: Instant, interval: Duration, now: Instant) -> Instant {
        let interval_nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let phase = phase(target) % interval_nanos;
        let earliest = now.max(started + interval / 20);
        let since_epoch = u64::try_from(earliest.duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        let since_phase = (since_epoch % interval_nanos + interval_nanos - phase) % interval_nanos;
        earliest + Duration::from_nanos(interval_nanos - since_phase)
    }

    fn insert_new(&mut self, target: PollTarget, entry: ScheduledTarget) {
        self.queue(target.action()).add_member(entry.priority);
        self.insert(target, entry);
    }

    fn insert(&mut self, target: PollTarget, entry: ScheduledTarget) {
        if let Some(due) = entry.due {
            self.queue(target.action()).insert(entry.queued(target.clone(), due));
        }
        self.targets.insert(target, entry);
    }

    fn interval(&self, target: &PollTarget, priority: PollPriority) -> Duration {
        ActionTiming::new(target.action(), &self.timing).interval(priority)
    }

    fn queue(&mut self, action: Action) -> &mut ActionQueue {
        // `new` has created all queues.
        self.queues.entry(action).or_insert_with(|| ActionQueue::new(action, &self.timing, 0.0))
    }
}

/// Returns the phase of a target: a number that depends only on the target, so it is the same in each run.
fn phase(target: &PollTarget) -> u64 {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    hasher.finish()
}
