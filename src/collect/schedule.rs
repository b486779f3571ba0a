//! When each unit is due. Pure: the moment is a parameter.
//!
//! Owns: one queue an action, due times spread over the interval by a phase of the unit's own, and the
//! bounds on what is under way at once. Refuses: pacing of single calls (the client's budget does that),
//! clocks, and running anything.
//!
//! A new unit is due at once; the budget alone holds back a large first pass. From then on it is due at
//! its own phase of each interval, so a fleet that was found in one moment does not tick as one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use tokio::time::{Duration, Instant};

use super::{Timing, Unit};
use crate::{api::Action, model::InstanceId};

/// Calls of one region under way at once, for each action.
const MOST_IN_FLIGHT: usize = 64;
/// No instance gets less of that than this, so that a fleet's small instances are not serial.
const LEAST_PER_INSTANCE: usize = 8;
/// Seconds of the budget that may wait for their turn: with more, a call would spend its time queueing.
const QUEUE_SECONDS: f64 = 4.0;

/// The units of one region and their due times.
#[derive(Debug)]
pub struct Schedule {
    epoch: Instant,
    timing: Timing,
    units: HashMap<Unit, Entry>,
    lanes: BTreeMap<Action, Lane>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    due: Instant,
    /// When the attempt that is under way began.
    started: Option<Instant>,
}

/// The queue of one action.
#[derive(Debug)]
struct Lane {
    /// By due time, then by phase: a crowd that is due at once is asked in an order that mixes instances.
    queue: BTreeSet<(Instant, u64, Unit)>,
    limit: usize,
    in_flight: usize,
    by_instance: HashMap<InstanceId, usize>,
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
        let lane = |action| {
            // Small numbers, checked by the configuration: a cast cannot lose anything that matters.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped before the cast"
            )]
            let limit = (rate(action) * QUEUE_SECONDS).clamp(2.0, MOST_IN_FLIGHT as f64) as usize;
            Lane { queue: BTreeSet::new(), limit, in_flight: 0, by_instance: HashMap::new() }
        };
        Self {
            epoch,
            timing,
            units: HashMap::new(),
            lanes: Action::ALL.into_iter().map(|action| (action, lane(action))).collect(),
        }
    }

    /// Takes a unit in, due at once. One that is known already keeps its due time.
    pub fn add(&mut self, unit: Unit, now: Instant) {
        if !self.units.contains_key(&unit) {
            self.enqueue(unit, now);
        }
    }

    /// Forgets a unit. An attempt that is under way ends without effect on the schedule.
    pub fn remove(&mut self, unit: &Unit) {
        if let Some(entry) = self.units.remove(unit) {
            self.dequeue(unit, entry);
        }
    }

    /// Makes a unit due by `at` if that is sooner than its due time.
    pub fn expedite(&mut self, unit: &Unit, at: Instant) {
        let Some(entry) = self.units.get(unit).copied() else { return };
        if entry.started.is_none() && at < entry.due {
            self.dequeue(unit, entry);
            self.enqueue(unit.clone(), at);
        }
    }

    /// The next unit that is due and may be asked for, marked as under way. `serving` is how many
    /// instances share the region's limits.
    pub fn take(&mut self, now: Instant, serving: usize) -> Option<Job> {
        let found = self.lanes.values().find_map(|lane| lane.next(now, serving).cloned())?;
        let (due, _, unit) = found;
        let interval = self.timing.interval(unit.action());
        self.dequeue(&unit, Entry { due, started: None });
        self.units.insert(unit.clone(), Entry { due, started: Some(now) });
        self.count(&unit, 1);
        Some(Job { unit, due, deadline: now + interval.max(self.timing.request_timeout) })
    }

    /// An attempt has ended. The unit is due again at its phase; after a failure of something asked on a
    /// slow clock, on the clock of the polls.
    pub fn done(&mut self, unit: &Unit, failed: bool, now: Instant) {
        self.count(unit, -1);
        let Some(Entry { started: Some(started), .. }) = self.units.get(unit).copied() else { return };
        let mut interval = self.timing.interval(unit.action());
        if failed {
            interval = interval.min(self.timing.poll);
        }
        self.enqueue(unit.clone(), self.next_slot(unit, started, interval, now));
    }

    /// When the next unit that may be asked for is due; `None` if nothing waits.
    pub fn next_due(&self, now: Instant, serving: usize) -> Option<Instant> {
        // A lane that is full, or whose head may not be asked for yet, is looked at when an attempt ends.
        let open = self.lanes.values().filter(|lane| lane.in_flight < lane.limit);
        let waiting = open.filter_map(|lane| {
            let (due, ..) = lane.queue.first()?;
            if *due > now {
                Some(*due)
            } else {
                lane.next(now, serving).map(|_| now).or_else(|| lane.after(now))
            }
        });
        waiting.min()
    }

    /// What the units of an action need, in calls a second.
    #[must_use]
    pub fn demand(&self, action: Action) -> f64 {
        let units = self.units.keys().filter(|unit| unit.action() == action).count();
        // Thousands of units at most: exact in f64.
        units as f64 / self.timing.interval(action).as_secs_f64()
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

    fn enqueue(&mut self, unit: Unit, due: Instant) {
        self.units.insert(unit.clone(), Entry { due, started: None });
        if let Some(lane) = self.lanes.get_mut(&unit.action()) {
            lane.queue.insert((due, phase(&unit), unit));
        }
    }

    fn dequeue(&mut self, unit: &Unit, entry: Entry) {
        if let Some(lane) = self.lanes.get_mut(&unit.action()) {
            lane.queue.remove(&(entry.due, phase(unit), unit.clone()));
        }
    }

    fn count(&mut self, unit: &Unit, by: isize) {
        let Some(lane) = self.lanes.get_mut(&unit.action()) else { return };
        lane.in_flight = lane.in_flight.saturating_add_signed(by);
        if let Some(id) = unit.instance() {
            let count = lane.by_instance.entry(id.clone()).or_default();
            *count = count.saturating_add_signed(by);
            if *count == 0 {
                lane.by_instance.remove(id);
            }
        }
    }
}

impl Lane {
    fn next(&self, now: Instant, serving: usize) -> Option<&(Instant, u64, Unit)> {
        if self.in_flight >= self.limit {
            return None;
        }
        // One slow instance may not hold every place, of which a small budget has few; a single one may.
        let most = if serving > 1 { self.limit / 2 } else { self.limit };
        let fair = LEAST_PER_INSTANCE.max(MOST_IN_FLIGHT / serving.max(1)).min(most.max(1));
        let mut due = self.queue.iter().take_while(|(due, ..)| *due <= now);
        due.find(|(_, _, unit)| {
            unit.instance().and_then(|id| self.by_instance.get(id)).is_none_or(|under_way| *under_way < fair)
        })
    }

    /// The first due time after now.
    fn after(&self, now: Instant) -> Option<Instant> {
        self.queue.iter().map(|(due, ..)| *due).find(|due| *due > now)
    }
}

/// A number of the unit's own, the same in each run.
fn phase(unit: &Unit) -> u64 {
    let mut hasher = DefaultHasher::new();
    unit.hash(&mut hasher);
    hasher.finish()
}
