//! When a budget that is too small is worth a line: once when it begins, once when it is over. Pure.
//!
//! Refuses: flapping. A state must hold for a while before it is told, and it ends at a lower demand than it
//! began at.

use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};

use crate::api::Action;

/// Calls are spaced a little wider than the rate, so this share of it is what can be had.
const BEGINS_AT: f64 = 0.95;
/// The share of the rate at which it is over.
const ENDS_AT: f64 = 0.9;

/// Which actions need more calls than they may make.
#[derive(Debug)]
pub struct BudgetShortage {
    /// So long a state must hold before it is told.
    patience: Duration,
    short: BTreeMap<Action, ShortageState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct ShortageState {
    told: bool,
    /// Since when the state is another than the one that was told.
    since: Option<Instant>,
}

/// What is to be told of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShortageChange {
    /// It needs more than it may.
    Short,
    /// It does no longer.
    Enough,
}

impl BudgetShortage {
    /// Nothing is short yet.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self { patience, short: BTreeMap::new() }
    }

    /// Takes what an action needs and what it may, in calls a second.
    pub fn look(&mut self, action: Action, needs: f64, allowed: f64, now: Instant) -> Option<ShortageChange> {
        let patience = self.patience;
        let state = self.short.entry(action).or_default();
        let is_short = needs > allowed * if state.told { ENDS_AT } else { BEGINS_AT };
        if is_short == state.told {
            state.since = None;
            return None;
        }
        let since = *state.since.get_or_insert(now);
        if now.duration_since(since) < patience {
            return None;
        }
        *state = ShortageState { told: is_short, since: None };
        Some(if is_short { ShortageChange::Short } else { ShortageChange::Enough })
    }
}
