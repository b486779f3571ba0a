//! Queue of one action: targets that are not due yet, due targets in their order, and limits of running calls.
//!
//! If the budget is sufficient, every due target is polled immediately and the order does not matter. Otherwise the
//! most *late* target is next: the one with the largest time past its interval, divided by the weight of its
//! priority. The delays of the three priorities are then in the ratio 1 : 2 : 4. No target starves, because its
//! lateness grows while it waits and restarts with each attempt.
//!
//! A value that is about to expire counts as one poll interval later than it is, because a gap is worse than a
//! late value and costs the others little. The bonus is bounded, so the order remains fair where no order could
//! save every value.

use std::collections::{BTreeSet, HashMap};

use tokio::time::{Duration, Instant};

use super::{PollPriority, PollTarget};
use crate::{
    api::Action,
    model::{InstanceId, PollTiming},
};

/// Maximum number of running calls per action in a region.
const MAX_IN_FLIGHT: usize = 64;
/// Minimum number of running calls per instance, within [`MAX_IN_FLIGHT`], so that the calls of small instances are
/// not serial.
const MIN_PER_INSTANCE: usize = 8;
/// Seconds of the budget that may wait for the rate limiter. With more, calls would time out while they wait.
const MAX_QUEUE_SECONDS: f64 = 4.0;

/// Poll intervals of one action.
#[derive(Debug, Clone, Copy)]
pub(in crate::collect) struct ActionTiming {
    interval: Duration,
    idle_interval: Duration,
    /// Age at which a value expires.
    max_age: Duration,
}

impl ActionTiming {
    pub(in crate::collect) fn new(action: Action, timing: &PollTiming) -> Self {
        let (interval, idle_interval, max_age) = match action {
            Action::GetConsumerProgress => (timing.poll, timing.idle_poll, timing.stale_after),
            Action::GetTopicStatus => (timing.topic_poll, timing.idle_topic_poll, timing.topic_stale_after),
            Action::GetAllInstanceIdList
            | Action::GetInstanceList
            | Action::GetTopicList
            | Action::GetConsumerList => (timing.discovery, timing.discovery, timing.discovery_stale_after),
        };
        Self { interval, idle_interval, max_age }
    }

    pub(in crate::collect) fn interval(self, priority: PollPriority) -> Duration {
        if priority == PollPriority::Idle { self.idle_interval } else { self.interval }
    }
}

/// A target in the queue. Among due targets of one priority, the one that was started the longest ago is first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueuedTarget {
    pub(super) started: Instant,
    /// Mixes the instances of targets that were started at the same time.
    pub(super) phase: u64,
    pub(super) target: PollTarget,
    pub(super) due: Instant,
    pub(super) priority: PollPriority,
}

/// The targets of one action.
#[derive(Debug)]
pub(super) struct ActionQueue {
    by_priority: [PriorityQueue; PollPriority::ALL.len()],
    /// Targets that are not due yet, by due time.
    waiting: BTreeSet<(Instant, QueuedTarget)>,
    /// Seconds since the last attempt after which a value is about to expire.
    nearly_expired: f64,
    /// Seconds of extra lateness then.
    expiry_bonus: f64,
    max_in_flight: usize,
    in_flight: usize,
    in_flight_by_instance: HashMap<InstanceId, usize>,
}

/// The due targets of one priority.
#[derive(Debug)]
struct PriorityQueue {
    /// In seconds.
    interval: f64,
    weight: f64,
    /// Number of targets with this priority, in any state.
    members: usize,
    /// Due targets by instance, so that an instance at its limit is skipped in one step.
    due: HashMap<Option<InstanceId>, BTreeSet<QueuedTarget>>,
    /// First due target of each instance.
    heads: BTreeSet<QueuedTarget>,
}

impl ActionQueue {
    /// Returns an empty queue. `rate` is the rate limit in calls per second.
    pub(super) fn new(action: Action, timing: &PollTiming, rate: f64) -> Self {
        let timing = ActionTiming::new(action, timing);
        Self {
            by_priority: PollPriority::ALL
                .map(|priority| PriorityQueue::new(priority, timing.interval(priority))),
            waiting: BTreeSet::new(),
            nearly_expired: (timing.max_age - timing.max_age / 8).as_secs_f64(),
            expiry_bonus: timing.interval.as_secs_f64(),
            max_in_flight: max_in_flight(rate),
            in_flight: 0,
            in_flight_by_instance: HashMap::new(),
        }
    }

    pub(super) fn set_rate(&mut self, rate: f64) {
        self.max_in_flight = max_in_flight(rate);
    }

    pub(super) fn insert(&mut self, target: QueuedTarget) {
        self.waiting.insert((target.due, target));
    }

    pub(super) fn remove(&mut self, target: &QueuedTarget) {
        if !self.waiting.remove(&(target.due, target.clone())) {
            self.priority_queue(target.priority).remove(target);
        }
    }

    /// Takes the next due target, and counts its call as running.
    pub(super) fn take(&mut self, now: Instant, serving: usize) -> Option<QueuedTarget> {
        self.move_due(now);
        let next = self.next(now, serving)?.clone();
        self.take_only(&next);
        Some(next)
    }

    /// Takes this target, and counts its call as running.
    pub(super) fn take_only(&mut self, target: &QueuedTarget) {
        self.remove(target);
        self.in_flight += 1;
        if let Some(id) = target.target.instance() {
            *self.in_flight_by_instance.entry(id.clone()).or_default() += 1;
        }
    }

    /// Records the end of the running call for a target.
    pub(super) fn ended(&mut self, target: &PollTarget) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(id) = target.instance() else { return };
        if let Some(count) = self.in_flight_by_instance.get_mut(id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.in_flight_by_instance.remove(id);
            }
        }
    }

    /// Returns when there is a target to take; `None` if there is none, or not before a running call ends.
    pub(super) fn next_due(&mut self, now: Instant, serving: usize) -> Option<Instant> {
        self.move_due(now);
        if self.in_flight >= self.max_in_flight {
            return None;
        }
        let is_due = self.next(now, serving).is_some();
        if is_due { Some(now) } else { self.waiting.first().map(|(due, _)| *due) }
    }

    pub(super) fn add_member(&mut self, priority: PollPriority) {
        self.priority_queue(priority).members += 1;
    }

    pub(super) fn remove_member(&mut self, priority: PollPriority) {
        let members = &mut self.priority_queue(priority).members;
        *members = members.saturating_sub(1);
    }

    /// Returns the calls per second that all targets need.
    pub(super) fn demand(&self) -> f64 {
        self.by_priority.iter().map(|queue| queue.members as f64 / queue.interval).sum()
    }

    /// Moves the targets that are due by now into the queues of their priorities.
    fn move_due(&mut self, now: Instant) {
        while self.waiting.first().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, target)) = self.waiting.pop_first() {
                self.priority_queue(target.priority).insert(target);
            }
        }
    }

    /// Returns the next due target whose instance is below its limit of running calls.
    fn next(&self, now: Instant, serving: usize) -> Option<&QueuedTarget> {
        if self.in_flight >= self.max_in_flight {
            return None;
        }
        let max_per_instance = self.max_per_instance(serving);
        let may_start = |target: &PollTarget| {
            let in_flight = target.instance().and_then(|id| self.in_flight_by_instance.get(id));
            in_flight.is_none_or(|in_flight| *in_flight < max_per_instance)
        };
        let elapsed = |target: &QueuedTarget| now.duration_since(target.started).as_secs_f64();
        let mut next: Option<(f64, bool, &QueuedTarget)> = None;
        for queue in &self.by_priority {
            // Few heads are skipped, because few instances can be at their limit at the same time.
            let Some(head) = queue.heads.iter().find(|head| may_start(&head.target)) else { continue };
            let elapsed = elapsed(head);
            let bonus = if elapsed > self.nearly_expired { self.expiry_bonus } else { 0.0 };
            let lateness = queue.lateness(elapsed) + bonus;
            if next.is_none_or(|(most, ..)| lateness > most) {
                next = Some((lateness, elapsed < queue.interval / 2.0, head));
            }
        }
        let (_, is_early, target) = next?;
        // A target that was polled a moment ago must not delay a late one that waits for its instance.
        let is_any_late = self
            .by_priority
            .iter()
            .any(|queue| queue.heads.first().is_some_and(|head| queue.lateness(elapsed(head)) >= 0.0));
        (!is_early || !is_any_late).then_some(target)
    }

    /// Returns the maximum number of running calls for one instance: at most half of all, so that one slow
    /// instance cannot block the others.
    fn max_per_instance(&self, serving: usize) -> usize {
        let most = if serving > 1 { self.max_in_flight / 2 } else { self.max_in_flight };
        MIN_PER_INSTANCE.max(MAX_IN_FLIGHT / serving.max(1)).min(most.max(1))
    }

    fn priority_queue(&mut self, priority: PollPriority) -> &mut PriorityQueue {
        let [lagging, active, idle] = &mut self.by_priority;
        match priority {
            PollPriority::Lagging => lagging,
            PollPriority::Active => active,
            PollPriority::Idle => idle,
        }
    }
}

impl PriorityQueue {
    fn new(priority: PollPriority, interval: Duration) -> Self {
        let weight = match priority {
            PollPriority::Lagging => 1.0,
            PollPriority::Active => 2.0,
            PollPriority::Idle => 4.0,
        };
        let interval = interval.as_secs_f64();
        Self { interval, weight, members: 0, due: HashMap::new(), heads: BTreeSet::new() }
    }

    /// Returns the lateness of a target that was started `elapsed` seconds ago. It grows with time, so among the
    /// targets of one priority the first one is the latest.
    fn lateness(&self, elapsed: f64) -> f64 {
        (elapsed - self.interval) / self.weight
    }

    fn insert(&mut self, target: QueuedTarget) {
        let instance = target.target.instance().cloned();
        let due = self.due.entry(instance).or_default();
        if due.first().is_none_or(|head| target < *head) {
            if let Some(head) = due.first() {
                self.heads.remove(head);
            }
            self.heads.insert(target.clone());
        }
        due.insert(target);
    }

    fn remove(&mut self, target: &QueuedTarget) {
        let instance = target.target.instance().cloned();
        let Some(due) = self.due.get_mut(&instance) else { return };
        due.remove(target);
        if self.heads.remove(target) {
            self.heads.extend(due.first().cloned());
        }
        if due.is_empty() {
            self.due.remove(&instance);
        }
    }
}

/// Returns the maximum number of running calls at a rate limit, including those that wait for the rate limiter.
fn max_in_flight(rate: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before the cast")]
    let calls = (rate * MAX_QUEUE_SECONDS).clamp(2.0, MAX_IN_FLIGHT as f64) as usize;
    calls
}
