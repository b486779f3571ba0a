//! Detects that an action needs more calls than its rate limit allows. Pure.
//!
//! A change is reported only after it has lasted for a while, and a shortage ends at a lower demand than it
//! begins at, so that the log does not flap.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};

use crate::api::Action;

/// Share of the rate above which a shortage begins. The client spaces calls slightly wider than the rate.
const BEGINS_ABOVE: f64 = 0.95;
/// Share of the rate up to which a shortage continues.
const ENDS_BELOW: f64 = 0.9;

/// Detector of actions that need more calls than their rate limit allows.
#[derive(Debug)]
pub struct BudgetShortage {
    /// Time for which a change must last before it is reported.
    min_duration: Duration,
    by_action: BTreeMap<Action, ShortageState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct ShortageState {
    /// Whether a shortage was reported last.
    is_short: bool,
    /// Time from which the opposite is true.
    changed_at: Option<Instant>,
}

/// Change of an action that is worth a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShortageChange {
    /// The demand exceeds the rate limit.
    Began,
    /// The rate limit is sufficient again.
    Ended,
}

impl BudgetShortage {
    /// Returns a detector that reports changes once they have lasted for `min_duration`.
    #[must_use]
    pub fn new(min_duration: Duration) -> Self {
        Self { min_duration, by_action: BTreeMap::new() }
    }

    /// Compares the demand of an action with its rate limit, both in calls per second.
    pub fn check(
        &mut self,
        action: Action,
        demand: f64,
        allowed: f64,
        now: Instant,
    ) -> Option<ShortageChange> {
        let state = self.by_action.entry(action).or_default();
        let is_short = demand > allowed * if state.is_short { ENDS_BELOW } else { BEGINS_ABOVE };
        if is_short == state.is_short {
            state.changed_at = None;
            return None;
        }
        let changed_at = *state.changed_at.get_or_insert(now);
        if now.duration_since(changed_at) < self.min_duration {
            return None;
        }
        *state = ShortageState { is_short, changed_at: None };
        Some(if is_short { ShortageChange::Began } else { ShortageChange::Ended })
    }
}
