//! When each target is due, and which of those that are due comes first. Pure: the moment is a parameter.
//!
//! Owns: due times spread over the interval by a phase of the target's own, one lane an action with the order
//! of those that wait for their turn, and the bounds on what is under way at once. Refuses: pacing of single
//! calls (the client's budget does that), clocks, running anything, and judging what a target deserves: its
//! [`PollPriority`] is told.
//!
//! A new target is due at once; the budget alone holds back a large first pass. From then on it is due at
//! its own phase of each interval, so a fleet that was found in one moment does not tick as one.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use tokio::time::{Duration, Instant};

use super::{PollTarget, PollTiming};
use crate::api::Action;

mod action_queue;
mod priority;

pub use priority::PollPriority;

pub(super) use priority::ActivityTracker;

use action_queue::{ActionQueue, QueuedTarget};

/// The targets of one region and their due times.
#[derive(Debug)]
pub struct Schedule {
    epoch: Instant,
    timing: PollTiming,
    targets: HashMap<PollTarget, ScheduledTarget>,
    lanes: BTreeMap<Action, ActionQueue>,
    /// Units of which no attempt has ended yet.
    unasked: usize,
}

#[derive(Debug, Clone, Copy)]
struct ScheduledTarget {
    is_new: bool,
    pace: PollPriority,
    place: TargetPhase,
    /// When the last attempt began; for a target that was never asked for, as if that were an interval ago.
    asked: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetPhase {
    /// In its lane, until then or for its turn.
    Due(Instant),
    UnderWay,
}

/// A target that is to be asked for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollJob {
    /// What to ask.
    pub target: PollTarget,
    /// When it was due.
    pub due: Instant,
    /// When its answer is worth nothing any more.
    pub deadline: Instant,
}

impl Schedule {
    /// An empty schedule. `rate` is what the budget of an action allows, in calls a second.
    pub fn new(epoch: Instant, timing: PollTiming, rate: impl Fn(Action) -> f64) -> Self {
        let lane = |action| ActionQueue::new(action, &timing, rate(action));
        let lanes = Action::ALL.into_iter().map(|action| (action, lane(action))).collect();
        Self { epoch, timing, targets: HashMap::new(), lanes, unasked: 0 }
    }

    /// The budget of an action allows so many calls a second from now on.
    pub fn set_rate(&mut self, action: Action, rate: f64) {
        if let Some(lane) = self.lanes.get_mut(&action) {
            lane.set_rate(rate);
        }
    }

    /// Takes a target in, due at once. One that is known already keeps its due time.
    pub fn add(&mut self, target: PollTarget, now: Instant) {
        if !self.targets.contains_key(&target) {
            let asked = now.checked_sub(self.timing.interval(target.action())).unwrap_or(now);
            self.lane(&target).members(PollPriority::Active, 1);
            self.unasked += 1;
            self.enqueue(
                target,
                ScheduledTarget {
                    is_new: true,
                    pace: PollPriority::Active,
                    place: TargetPhase::Due(now),
                    asked,
                },
            );
        }
    }

    /// Takes in what another schedule knew. What waits there keeps its due time, unless it would come sooner by
    /// the intervals of this one; what was under way there is due at once.
    pub fn resume_from(&mut self, before: &Self, now: Instant) {
        self.epoch = before.epoch;
        let fresh = before.targets.iter().filter(|(target, _)| !self.targets.contains_key(target));
        for (target, entry) in fresh.collect::<Vec<_>>() {
            let latest = now + self.timing.interval_at(target.action(), entry.pace);
            let due = before.due(target).map_or(now, |due| due.min(latest));
            self.lane(target).members(entry.pace, 1);
            self.unasked += usize::from(entry.is_new);
            self.enqueue(target.clone(), ScheduledTarget { place: TargetPhase::Due(due), ..*entry });
        }
    }

    /// When a target is due; `None` while it is under way.
    #[must_use]
    pub fn due(&self, target: &PollTarget) -> Option<Instant> {
        match self.targets.get(target)?.place {
            TargetPhase::Due(due) => Some(due),
            TargetPhase::UnderWay => None,
        }
    }

    /// Forgets a target. An attempt that is under way ends without effect on the schedule.
    pub fn remove(&mut self, target: &PollTarget) {
        if let Some(entry) = self.targets.remove(target) {
            self.unasked -= usize::from(entry.is_new);
            let lane = self.lane(target);
            lane.members(entry.pace, -1);
            if let TargetPhase::Due(due) = entry.place {
                lane.remove(&waiter(target.clone(), entry, due));
            }
        }
    }

    /// Makes a target due by `at` if that is sooner than its due time.
    pub fn expedite(&mut self, target: &PollTarget, at: Instant) {
        let Some(entry) = self.targets.get(target).copied() else { return };
        if let TargetPhase::Due(due) = entry.place
            && at < due
        {
            self.lane(target).remove(&waiter(target.clone(), entry, due));
            self.enqueue(target.clone(), ScheduledTarget { place: TargetPhase::Due(at), ..entry });
        }
    }

    /// The next target that is due and may be asked for, marked as under way. `serving` is how many
    /// instances share the region's limits.
    pub fn take(&mut self, now: Instant, serving: usize) -> Option<PollJob> {
        let QueuedTarget { target, due, .. } =
            self.lanes.values_mut().find_map(|lane| lane.take(now, serving))?;
        Some(self.start(target, due, now))
    }

    /// This target alone, if it is due, marked as under way.
    pub fn take_only(&mut self, target: &PollTarget, now: Instant) -> Option<PollJob> {
        let entry = self.targets.get(target).copied()?;
        let due = self.due(target).filter(|due| *due <= now)?;
        self.lane(target).take_only(&waiter(target.clone(), entry, due));
        Some(self.start(target.clone(), due, now))
    }

    fn start(&mut self, target: PollTarget, due: Instant, now: Instant) -> PollJob {
        if let Some(entry) = self.targets.get_mut(&target) {
            entry.place = TargetPhase::UnderWay;
            entry.asked = now;
        }
        let interval = self.timing.interval(target.action());
        PollJob { target, due, deadline: now + interval.max(self.timing.request_timeout) }
    }

    /// Whether a target is asked for at all.
    #[must_use]
    pub fn contains(&self, target: &PollTarget) -> bool {
        self.targets.contains_key(target)
    }

    /// An attempt has ended. The target is due again at its phase of the interval that its pace gives; a pace
    /// that is not told stays as it was. After a failure it is due on the clock of the polls, and not later
    /// than one interval of it after the attempt began, so that a slow failure does not cost two.
    pub fn done(&mut self, target: &PollTarget, failed: bool, pace: Option<PollPriority>, now: Instant) {
        self.lane(target).ended(target);
        let Some(entry) = self.targets.get(target).copied().filter(|e| e.place == TargetPhase::UnderWay)
        else {
            return;
        };
        let ScheduledTarget { is_new, pace: before, asked, .. } = entry;
        self.unasked -= usize::from(is_new);
        let pace = pace.unwrap_or(before);
        let lane = self.lane(target);
        lane.members(before, -1);
        lane.members(pace, 1);
        let interval = self.timing.interval_at(target.action(), pace);
        let due = if failed {
            let retry = interval.min(self.timing.poll);
            let slot = self.next_slot(target, asked, retry, now);
            slot.min(asked + retry).max(now + retry / 20)
        } else {
            self.next_slot(target, asked, interval, now)
        };
        self.enqueue(
            target.clone(),
            ScheduledTarget { is_new: false, pace, place: TargetPhase::Due(due), asked },
        );
    }

    /// When the next target that may be asked for is due; `None` if nothing waits.
    pub fn next_due(&mut self, now: Instant, serving: usize) -> Option<Instant> {
        self.lanes.values_mut().filter_map(|lane| lane.next_due(now, serving)).min()
    }

    /// Whether an attempt at every target has ended, good or bad.
    #[must_use]
    pub fn has_attempted_all(&self) -> bool {
        self.unasked == 0
    }

    /// What the targets of an action need, in calls a second.
    #[must_use]
    pub fn demand(&self, action: Action) -> f64 {
        self.lanes.get(&action).map_or(0.0, ActionQueue::demand)
    }

    /// The first moment of the target's phase that is not too soon after the attempt began.
    fn next_slot(&self, target: &PollTarget, started: Instant, interval: Duration, now: Instant) -> Instant {
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let phase = phase(target) % nanos;
        let earliest = now.max(started + interval / 20);
        let since_epoch = u64::try_from(earliest.duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        let into = (since_epoch % nanos + nanos - phase) % nanos;
        earliest + Duration::from_nanos(nanos - into)
    }

    fn enqueue(&mut self, target: PollTarget, entry: ScheduledTarget) {
        if let TargetPhase::Due(due) = entry.place {
            self.lane(&target).insert(waiter(target.clone(), entry, due));
        }
        self.targets.insert(target, entry);
    }

    fn lane(&mut self, target: &PollTarget) -> &mut ActionQueue {
        let action = target.action();
        let timing = &self.timing;
        // Every action has its lane from the beginning.
        self.lanes.entry(action).or_insert_with(|| ActionQueue::new(action, timing, 0.0))
    }
}

fn waiter(target: PollTarget, entry: ScheduledTarget, due: Instant) -> QueuedTarget {
    QueuedTarget { due, asked: entry.asked, pace: entry.pace, phase: phase(&target), target }
}

/// A number of the target's own, the same in each run.
fn phase(target: &PollTarget) -> u64 {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    hasher.finish()
}
