//! The lane of one action: who waits until it is due, who is due and waits for its turn, how many are under
//! way.
//!
//! While the budget suffices, whoever is due is asked at once and the order does not matter. When it does
//! not, the order decides who waits for how long. The turn is that of the target with the most *urgency*: the
//! time by which it is past its interval, divided by the weight of its pace. So extra waiting is shared out
//! as 1 : 2 : 4, and whole intervals come to that proportion the more calls are missing. Waiting is finite
//! for all: whoever waits gains urgency, and whoever was asked starts again from nothing.
//!
//! A value that is about to grow too old counts as one poll interval later than it is. It costs the others
//! little to save it, and a gap is worse than a late value. As that bonus is bounded, it does not make all
//! equal where no order could save every value.

use std::collections::{BTreeSet, HashMap};

use tokio::time::{Duration, Instant};

use super::{PollPriority, PollTarget, PollTiming};
use crate::{api::Action, model::InstanceId};

/// Calls of one region under way at once, for each action.
const MOST_IN_FLIGHT: usize = 64;
/// No instance gets less of that than this, so that a fleet's small instances are not serial.
const LEAST_PER_INSTANCE: usize = 8;
/// Seconds of the budget that may wait for their turn: with more, a call would spend its time queueing.
const QUEUE_SECONDS: f64 = 4.0;

/// A target that is in the lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueuedTarget {
    /// When it is due. First, as this is what those are ordered by that are not due yet.
    pub(super) due: Instant,
    /// Mixes the instances of a crowd that is due in one moment.
    pub(super) phase: u64,
    pub(super) asked: Instant,
    pub(super) pace: PollPriority,
    pub(super) target: PollTarget,
}

/// A target that is due. Who was asked the longest ago comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DueTarget {
    asked: Instant,
    phase: u64,
    target: PollTarget,
    due: Instant,
}

/// The targets of one action.
#[derive(Debug)]
pub(super) struct ActionQueue {
    paces: [PriorityQueue; PollPriority::ALL.len()],
    /// Those that are not due yet, by due time.
    waiting: BTreeSet<QueuedTarget>,
    /// For the bonus: after this much time a value is about to grow too old.
    nearly_stale: f64,
    bonus: f64,
    limit: usize,
    in_flight: usize,
    by_instance: HashMap<InstanceId, usize>,
}

/// The targets of one pace.
#[derive(Debug)]
struct PriorityQueue {
    interval: f64,
    weight: f64,
    /// Units of this pace, whatever they do now.
    members: usize,
    /// Those that are due, by instance: an instance that may not be asked is passed over in one step.
    due: HashMap<Option<InstanceId>, BTreeSet<DueTarget>>,
    /// The first turn of each instance.
    heads: BTreeSet<DueTarget>,
}

impl ActionQueue {
    /// An empty lane. `rate` is what the budget allows, in calls a second.
    pub(super) fn new(action: Action, timing: &PollTiming, rate: f64) -> Self {
        let hold = timing.max_age(action);
        Self {
            paces: PollPriority::ALL.map(|pace| PriorityQueue::new(pace, timing.interval_at(action, pace))),
            waiting: BTreeSet::new(),
            nearly_stale: (hold - hold / 8).as_secs_f64(),
            bonus: timing.interval(action).as_secs_f64(),
            limit: most_in_flight(rate),
            in_flight: 0,
            by_instance: HashMap::new(),
        }
    }

    /// The budget allows so many calls a second from now on.
    pub(super) fn set_rate(&mut self, rate: f64) {
        self.limit = most_in_flight(rate);
    }

    pub(super) fn insert(&mut self, waiter: QueuedTarget) {
        self.waiting.insert(waiter);
    }

    pub(super) fn remove(&mut self, waiter: &QueuedTarget) {
        if !self.waiting.remove(waiter) {
            self.queue(waiter.pace).remove(&DueTarget::of(waiter.clone()));
        }
    }

    /// Takes the target whose turn it is out of the lane, and counts it as under way.
    pub(super) fn take(&mut self, now: Instant, serving: usize) -> Option<QueuedTarget> {
        self.ripen(now);
        let (pace, turn) = self.next(now, serving)?;
        let turn = turn.clone();
        self.queue(pace).remove(&turn);
        self.began(&turn.target);
        let DueTarget { asked, phase, target, due } = turn;
        Some(QueuedTarget { due, phase, asked, pace, target })
    }

    /// Takes this target out of the lane whosever turn it is, and counts it as under way.
    pub(super) fn take_only(&mut self, waiter: &QueuedTarget) {
        self.remove(waiter);
        self.began(&waiter.target);
    }

    fn began(&mut self, target: &PollTarget) {
        self.in_flight += 1;
        if let Some(id) = target.instance() {
            *self.by_instance.entry(id.clone()).or_default() += 1;
        }
    }

    /// A target that was taken is under way no more.
    pub(super) fn ended(&mut self, target: &PollTarget) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(id) = target.instance() else { return };
        if let Some(count) = self.by_instance.get_mut(id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_instance.remove(id);
            }
        }
    }

    /// When there is something to take: now, or when the first of those that wait is due. A lane that is
    /// full is looked at when an attempt ends.
    pub(super) fn next_due(&mut self, now: Instant, serving: usize) -> Option<Instant> {
        self.ripen(now);
        if self.in_flight >= self.limit {
            return None;
        }
        let is_due = self.next(now, serving).is_some();
        if is_due { Some(now) } else { self.waiting.first().map(|w| w.due) }
    }

    /// More or fewer targets have this pace.
    pub(super) fn members(&mut self, pace: PollPriority, by: isize) {
        let members = &mut self.queue(pace).members;
        *members = members.saturating_add_signed(by);
    }

    /// What all targets need, in calls a second.
    pub(super) fn demand(&self) -> f64 {
        // Thousands of targets at most: exact in f64.
        self.paces.iter().map(|q| q.members as f64 / q.interval).sum()
    }

    /// Moves those that are due by now to where they wait for their turn.
    fn ripen(&mut self, now: Instant) {
        while self.waiting.first().is_some_and(|w| w.due <= now) {
            if let Some(waiter) = self.waiting.pop_first() {
                self.queue(waiter.pace).insert(DueTarget::of(waiter));
            }
        }
    }

    /// Whose turn it is, among the instances that may be asked.
    fn next(&self, now: Instant, serving: usize) -> Option<(PollPriority, &DueTarget)> {
        if self.in_flight >= self.limit {
            return None;
        }
        // One slow instance may not hold every place, of which a small budget has few; a single one may.
        let most = if serving > 1 { self.limit / 2 } else { self.limit };
        let fair = LEAST_PER_INSTANCE.max(MOST_IN_FLIGHT / serving.max(1)).min(most.max(1));
        let open = |target: &PollTarget| {
            target
                .instance()
                .and_then(|id| self.by_instance.get(id))
                .is_none_or(|under_way| *under_way < fair)
        };
        let since = |turn: &DueTarget| now.duration_since(turn.asked).as_secs_f64();
        // At most a few instances can be full, as all share the limit, so few heads are passed over.
        let heads = PollPriority::ALL.into_iter().zip(&self.paces).filter_map(|(pace, queue)| {
            let turn = queue.heads.iter().find(|turn| open(&turn.target))?;
            let since = since(turn);
            let bonus = if since > self.nearly_stale { self.bonus } else { 0.0 };
            Some((queue.lateness(since) + bonus, since < queue.interval / 2.0, (pace, turn)))
        });
        let (_, is_early, next) = heads.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
        // What was asked a moment ago would only stand in the way of what is late and waits for its instance.
        let late = |queue: &PriorityQueue| {
            queue.heads.first().is_some_and(|turn| queue.lateness(since(turn)) >= 0.0)
        };
        (!is_early || !self.paces.iter().any(late)).then_some(next)
    }

    fn queue(&mut self, pace: PollPriority) -> &mut PriorityQueue {
        let [lagging, active, idle] = &mut self.paces;
        match pace {
            PollPriority::Lagging => lagging,
            PollPriority::Active => active,
            PollPriority::Idle => idle,
        }
    }
}

impl DueTarget {
    fn of(QueuedTarget { due, phase, asked, pace: _, target }: QueuedTarget) -> Self {
        Self { asked, phase, target, due }
    }
}

impl PriorityQueue {
    fn new(pace: PollPriority, interval: Duration) -> Self {
        let weight = match pace {
            PollPriority::Lagging => 1.0,
            PollPriority::Active => 2.0,
            PollPriority::Idle => 4.0,
        };
        let interval = interval.as_secs_f64();
        Self { interval, weight, members: 0, due: HashMap::new(), heads: BTreeSet::new() }
    }

    /// By how much a target that was asked so many seconds ago is past its interval, divided by the weight.
    /// Grows with the time, so that among targets of one pace the first turn is the most urgent.
    fn lateness(&self, since: f64) -> f64 {
        (since - self.interval) / self.weight
    }

    fn insert(&mut self, turn: DueTarget) {
        let instance = turn.target.instance().cloned();
        let turns = self.due.entry(instance).or_default();
        let before = turns.first().cloned();
        turns.insert(turn);
        let after = turns.first().cloned();
        self.lead(before, after);
    }

    fn remove(&mut self, turn: &DueTarget) {
        let instance = turn.target.instance().cloned();
        let Some(turns) = self.due.get_mut(&instance) else { return };
        let before = turns.first().cloned();
        turns.remove(turn);
        let after = turns.first().cloned();
        if after.is_none() {
            self.due.remove(&instance);
        }
        self.lead(before, after);
    }

    /// An instance's first turn is another.
    fn lead(&mut self, before: Option<DueTarget>, after: Option<DueTarget>) {
        if before != after {
            if let Some(before) = before {
                self.heads.remove(&before);
            }
            self.heads.extend(after);
        }
    }
}

/// How many calls may be under way at a rate, those that wait for their turn included.
fn most_in_flight(rate: f64) -> usize {
    // Small numbers, checked by the configuration: a cast cannot lose anything that matters.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before the cast")]
    let limit = (rate * QUEUE_SECONDS).clamp(2.0, MOST_IN_FLIGHT as f64) as usize;
    limit
}
