//! Which log line a failure is worth: one when it begins, a summary now and then, one when it is over.
//! Pure.
//!
//! A failure has a key: its kind and where it is. What breaks a whole region (no route, no permission) is
//! one failure of the region, not one of each instance. A key is over when every unit that failed under
//! it has succeeded or is asked for no more.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::{Duration, Instant};

use super::Unit;
use crate::{
    api::{Action, Error, Kind},
    model::InstanceId,
};

/// Between two summaries of the same failure.
const SUMMARY_EVERY: Duration = Duration::from_secs(600);

/// What a failure is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The kind's label.
    pub result: &'static str,
    /// The action, for kinds that differ between actions.
    pub action: Option<Action>,
    /// The instance, for kinds that differ between instances.
    pub instance: Option<InstanceId>,
}

impl Key {
    /// The key of a kind of failure of a unit.
    #[must_use]
    pub fn of(unit: &Unit, kind: Kind) -> Self {
        let (by_action, by_instance) = match kind {
            Kind::Connect | Kind::Dns | Kind::Tls | Kind::Clock | Kind::Redirect | Kind::Throttled => {
                (false, false)
            }
            Kind::Auth => (true, false),
            Kind::Timeout | Kind::Server | Kind::Gone { .. } => (true, true),
            Kind::Business | Kind::Decode | Kind::TooLarge => (true, true),
        };
        Self {
            result: kind.label(),
            action: by_action.then(|| unit.action()),
            instance: unit.instance().filter(|_| by_instance).cloned(),
        }
    }
}

/// A line that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The first failure under a key.
    Began(Key, Box<Error>),
    /// It goes on: how many calls have failed, how many units fail now, since when.
    GoesOn(Key, u64, usize, Duration),
    /// It is over, as its last unit succeeded: how many calls had failed, for how long.
    Over(Key, u64, Duration),
    /// It is over without a success: its last unit fails in another way now, or is asked for no more.
    Ceased(Key, u64, Duration),
}

/// The failures of one loop's units that are not over.
#[derive(Debug)]
pub struct FailureLog<U> {
    open: BTreeMap<Key, Open<U>>,
    by_unit: BTreeMap<U, Key>,
}

#[derive(Debug)]
struct Open<U> {
    since: Instant,
    summarised: Instant,
    calls: u64,
    units: BTreeSet<U>,
}

impl<U> Default for FailureLog<U> {
    fn default() -> Self {
        Self { open: BTreeMap::new(), by_unit: BTreeMap::new() }
    }
}

impl<U: Ord + Clone> FailureLog<U> {
    /// A unit's attempt failed.
    pub fn failed(&mut self, unit: &U, key: Key, error: Error, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.by_unit.get(unit).is_some_and(|before| *before != key) {
            lines.extend(self.ceased(unit, now));
        }
        self.by_unit.insert(unit.clone(), key.clone());
        let open = self.open.entry(key.clone()).or_insert_with(|| {
            lines.push(Line::Began(key, Box::new(error)));
            Open { since: now, summarised: now, calls: 0, units: BTreeSet::new() }
        });
        open.calls += 1;
        open.units.insert(unit.clone());
        lines
    }

    /// A unit's attempt succeeded.
    pub fn ended(&mut self, unit: &U, now: Instant) -> Option<Line> {
        let (key, open) = self.close(unit)?;
        Some(Line::Over(key, open.calls, now.duration_since(open.since)))
    }

    /// A unit fails under this key no more, though it did not succeed.
    pub fn ceased(&mut self, unit: &U, now: Instant) -> Option<Line> {
        let (key, open) = self.close(unit)?;
        Some(Line::Ceased(key, open.calls, now.duration_since(open.since)))
    }

    /// Takes a unit out of its key; what is left of the key if that was the last one.
    fn close(&mut self, unit: &U) -> Option<(Key, Open<U>)> {
        let key = self.by_unit.remove(unit)?;
        let open = self.open.get_mut(&key)?;
        open.units.remove(unit);
        if !open.units.is_empty() {
            return None;
        }
        let open = self.open.remove(&key)?;
        Some((key, open))
    }

    /// The summaries that are due.
    pub fn summaries(&mut self, now: Instant) -> Vec<Line> {
        let due =
            self.open.iter_mut().filter(|(_, open)| now.duration_since(open.summarised) >= SUMMARY_EVERY);
        due.map(|(key, open)| {
            open.summarised = now;
            Line::GoesOn(key.clone(), open.calls, open.units.len(), now.duration_since(open.since))
        })
        .collect()
    }
}
