//! When each unit is due, and which of those that are due comes first. Pure: the moment is a parameter.
//!
//! Owns: due times spread over the interval by a phase of the unit's own, one lane an action with the order
//! of those that wait for their turn, and the bounds on what is under way at once. Refuses: pacing of single
//! calls (the client's budget does that), clocks, running anything, and judging what a unit deserves: its
//! [`Pace`] is told.
//!
//! A new unit is due at once; the budget alone holds back a large first pass. From then on it is due at
//! its own phase of each interval, so a fleet that was found in one moment does not tick as one.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use tokio::time::{Duration, Instant};

use super::{Pace, Timing, Unit};
use crate::api::Action;

mod lane;

use lane::{Lane, Waiter};

/// The units of one region and their due times.
#[derive(Debug)]
pub struct Schedule {
    epoch: Instant,
    timing: Timing,
    units: HashMap<Unit, Entry>,
    lanes: BTreeMap<Action, Lane>,
    /// Units of which no attempt has ended yet.
    unasked: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    is_new: bool,
    pace: Pace,
    place: Place,
    /// When the last attempt began; for a unit that was never asked for, as if that were an interval ago.
    asked: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In its lane, until then or for its turn.
    Due(Instant),
    UnderWay,
}

/// A unit that is to be asked for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What to ask.
    pub unit: Unit,
    /// When it was due.
    pub due: Instant,
    /// When its answer is worth nothing any more.
    pub deadline: Instant,
}

impl Schedule {
    /// An empty schedule. `rate` is what the budget of an action allows, in calls a second.
    pub fn new(epoch: Instant, timing: Timing, rate: impl Fn(Action) -> f64) -> Self {
        let lane = |action| Lane::new(action, &timing, rate(action));
        let lanes = Action::ALL.into_iter().map(|action| (action, lane(action))).collect();
        Self { epoch, timing, units: HashMap::new(), lanes, unasked: 0 }
    }

    /// The budget of an action allows so many calls a second from now on.
    pub fn set_rate(&mut self, action: Action, rate: f64) {
        if let Some(lane) = self.lanes.get_mut(&action) {
            lane.set_rate(rate);
        }
    }

    /// Takes a unit in, due at once. One that is known already keeps its due time.
    pub fn add(&mut self, unit: Unit, now: Instant) {
        if !self.units.contains_key(&unit) {
            let asked = now.checked_sub(self.timing.interval(unit.action())).unwrap_or(now);
            self.lane(&unit).members(Pace::Active, 1);
            self.unasked += 1;
            self.enqueue(unit, Entry { is_new: true, pace: Pace::Active, place: Place::Due(now), asked });
        }
    }

    /// Takes in what another schedule knew. What waits there keeps its due time, unless it would come sooner by
    /// the intervals of this one; what was under way there is due at once.
    pub fn take_over(&mut self, before: &Self, now: Instant) {
        self.epoch = before.epoch;
        let fresh = before.units.iter().filter(|(unit, _)| !self.units.contains_key(unit));
        for (unit, entry) in fresh.collect::<Vec<_>>() {
            let latest = now + self.timing.interval_at(unit.action(), entry.pace);
            let due = before.due(unit).map_or(now, |due| due.min(latest));
            self.lane(unit).members(entry.pace, 1);
            self.unasked += usize::from(entry.is_new);
            self.enqueue(unit.clone(), Entry { place: Place::Due(due), ..*entry });
        }
    }

    /// When a unit is due; `None` while it is under way.
    #[must_use]
    pub fn due(&self, unit: &Unit) -> Option<Instant> {
        match self.units.get(unit)?.place {
            Place::Due(due) => Some(due),
            Place::UnderWay => None,
        }
    }

    /// Forgets a unit. An attempt that is under way ends without effect on the schedule.
    pub fn remove(&mut self, unit: &Unit) {
        if let Some(entry) = self.units.remove(unit) {
            self.unasked -= usize::from(entry.is_new);
            let lane = self.lane(unit);
            lane.members(entry.pace, -1);
            if let Place::Due(due) = entry.place {
                lane.remove(&waiter(unit.clone(), entry, due));
            }
        }
    }

    /// Makes a unit due by `at` if that is sooner than its due time.
    pub fn expedite(&mut self, unit: &Unit, at: Instant) {
        let Some(entry) = self.units.get(unit).copied() else { return };
        if let Place::Due(due) = entry.place
            && at < due
        {
            self.lane(unit).remove(&waiter(unit.clone(), entry, due));
            self.enqueue(unit.clone(), Entry { place: Place::Due(at), ..entry });
        }
    }

    /// The next unit that is due and may be asked for, marked as under way. `serving` is how many
    /// instances share the region's limits.
    pub fn take(&mut self, now: Instant, serving: usize) -> Option<Job> {
        let Waiter { unit, due, .. } = self.lanes.values_mut().find_map(|lane| lane.take(now, serving))?;
        Some(self.start(unit, due, now))
    }

    /// This unit alone, if it is due, marked as under way.
    pub fn take_only(&mut self, unit: &Unit, now: Instant) -> Option<Job> {
        let entry = self.units.get(unit).copied()?;
        let due = self.due(unit).filter(|due| *due <= now)?;
        self.lane(unit).take_only(&waiter(unit.clone(), entry, due));
        Some(self.start(unit.clone(), due, now))
    }

    fn start(&mut self, unit: Unit, due: Instant, now: Instant) -> Job {
        if let Some(entry) = self.units.get_mut(&unit) {
            entry.place = Place::UnderWay;
            entry.asked = now;
        }
        let interval = self.timing.interval(unit.action());
        Job { unit, due, deadline: now + interval.max(self.timing.request_timeout) }
    }

    /// Whether a unit is asked for at all.
    #[must_use]
    pub fn knows(&self, unit: &Unit) -> bool {
        self.units.contains_key(unit)
    }

    /// An attempt has ended. The unit is due again at its phase of the interval that its pace gives; a pace
    /// that is not told stays as it was. After a failure it is due on the clock of the polls, and not later
    /// than one interval of it after the attempt began, so that a slow failure does not cost two.
    pub fn done(&mut self, unit: &Unit, failed: bool, pace: Option<Pace>, now: Instant) {
        self.lane(unit).ended(unit);
        let Some(entry) = self.units.get(unit).copied().filter(|e| e.place == Place::UnderWay) else {
            return;
        };
        let Entry { is_new, pace: before, asked, .. } = entry;
        self.unasked -= usize::from(is_new);
        let pace = pace.unwrap_or(before);
        let lane = self.lane(unit);
        lane.members(before, -1);
        lane.members(pace, 1);
        let interval = self.timing.interval_at(unit.action(), pace);
        let due = if failed {
            let retry = interval.min(self.timing.poll);
            let slot = self.next_slot(unit, asked, retry, now);
            slot.min(asked + retry).max(now + retry / 20)
        } else {
            self.next_slot(unit, asked, interval, now)
        };
        self.enqueue(unit.clone(), Entry { is_new: false, pace, place: Place::Due(due), asked });
    }

    /// When the next unit that may be asked for is due; `None` if nothing waits.
    pub fn next_due(&mut self, now: Instant, serving: usize) -> Option<Instant> {
        self.lanes.values_mut().filter_map(|lane| lane.next_due(now, serving)).min()
    }

    /// Whether an attempt at every unit has ended, good or bad.
    #[must_use]
    pub fn has_asked_all(&self) -> bool {
        self.unasked == 0
    }

    /// What the units of an action need, in calls a second.
    #[must_use]
    pub fn demand(&self, action: Action) -> f64 {
        self.lanes.get(&action).map_or(0.0, Lane::demand)
    }

    /// The first moment of the unit's phase that is not too soon after the attempt began.
    fn next_slot(&self, unit: &Unit, started: Instant, interval: Duration, now: Instant) -> Instant {
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let phase = phase(unit) % nanos;
        let earliest = now.max(started + interval / 20);
        let since_epoch = u64::try_from(earliest.duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        let into = (since_epoch % nanos + nanos - phase) % nanos;
        earliest + Duration::from_nanos(nanos - into)
    }

    fn enqueue(&mut self, unit: Unit, entry: Entry) {
        if let Place::Due(due) = entry.place {
            self.lane(&unit).insert(waiter(unit.clone(), entry, due));
        }
        self.units.insert(unit, entry);
    }

    fn lane(&mut self, unit: &Unit) -> &mut Lane {
        let action = unit.action();
        let timing = &self.timing;
        // Every action has its lane from the beginning.
        self.lanes.entry(action).or_insert_with(|| Lane::new(action, timing, 0.0))
    }
}

fn waiter(unit: Unit, entry: Entry, due: Instant) -> Waiter {
    Waiter { due, asked: entry.asked, pace: entry.pace, phase: phase(&unit), unit }
}

/// A number of the unit's own, the same in each run.
fn phase(unit: &Unit) -> u64 {
    let mut hasher = DefaultHasher::new();
    unit.hash(&mut hasher);
    hasher.finish()
}
