//! The paced budget of one (account, region): a rate per action, spaced evenly, and lowered while the cloud
//! throttles.
//!
//! Owns: when the next call of an action may be sent, and how many may be sent again. Refuses: bursts, also
//! after idleness or a stall, so that no window of one second ever shows the server more calls than the rate.
//!
//! A budget outlives its clients: one that takes the place of another, as after a reload of the
//! configuration, is handed the same budget by [`RequestBudgets`], so that both together keep to the rate.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Duration, Instant, sleep_until},
};

use super::{Action, ErrorKind, retry::RetryBudget};
use crate::model::{AccountName, RegionId};

use super::rate_limiter::RateLimiter;

/// Requests per second: above 0, at most 10,000.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct RequestRate(f64);

impl RequestRate {
    /// Takes a rate; `None` for 0, negative, infinite or absurd ones.
    #[must_use]
    pub fn new(per_second: f64) -> Option<Self> {
        (0.001..=10_000.0).contains(&per_second).then_some(Self(per_second))
    }

    /// Requests per second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.0
    }
}

/// The configured rates: `requests_per_second` and `request_rates`.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionRates {
    /// For actions that are not named below.
    pub default: RequestRate,
    /// For single actions.
    pub overrides: BTreeMap<Action, RequestRate>,
}

impl ActionRates {
    /// The same rate for every action.
    #[must_use]
    pub fn all(default: RequestRate) -> Self {
        Self { default, overrides: BTreeMap::new() }
    }

    /// What an action is allowed.
    #[must_use]
    pub fn of(&self, action: Action) -> RequestRate {
        self.overrides.get(&action).copied().unwrap_or(self.default)
    }
}

/// The budgets of every region of every account, for the life of the process.
#[derive(Debug, Default)]
pub struct RequestBudgets(Mutex<BTreeMap<BudgetKey, Arc<RequestBudget>>>);

/// Whose budget it is: the account, if accounts are named, and the region.
type BudgetKey = (Option<AccountName>, RegionId);

impl RequestBudgets {
    /// The budget of a region of an account, the same one each time, with these rates the first time.
    #[must_use]
    pub fn of(
        &self,
        account: Option<&AccountName>,
        region: &RegionId,
        rates: &ActionRates,
    ) -> Arc<RequestBudget> {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = budgets
            .entry((account.cloned(), region.clone()))
            .or_insert_with(|| Arc::new(RequestBudget::new(rates)));
        Arc::clone(budget)
    }

    /// Changes the configured rates of every region of an account.
    pub fn set_rates(&self, account: Option<&AccountName>, rates: &ActionRates) {
        let budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_account = budgets.iter().filter(|((owner, _), _)| owner.as_ref() == account);
        of_account.for_each(|(_, budget)| budget.set_rates(rates));
    }
}

/// What one (account, region) may spend: the slots of every action, and retries.
#[derive(Debug)]
pub struct RequestBudget {
    pacers: [ActionPacer; Action::ALL.len()],
    retries: RetryBudget,
}

impl RequestBudget {
    /// A budget of which nothing is spent.
    #[must_use]
    pub fn new(rates: &ActionRates) -> Self {
        Self {
            pacers: Action::ALL.map(|action| ActionPacer::new(rates.of(action))),
            retries: RetryBudget::default(),
        }
    }

    /// Changes the configured rates. What the cloud has made slower goes on from where it is.
    pub fn set_rates(&self, rates: &ActionRates) {
        for (pacer, action) in self.pacers.iter().zip(Action::ALL) {
            pacer.set_rate(rates.of(action));
        }
    }

    /// Calls a second that an action is allowed now: as configured, or less while the cloud throttles.
    #[must_use]
    pub fn rate(&self, action: Action) -> f64 {
        self.pacer(action).lane().rate()
    }

    /// Waits for the next slot of an action; in the order of asking. Dropping the future takes no slot.
    pub(super) async fn take(&self, action: Action) {
        self.pacer(action).take().await;
    }

    /// Whether the cloud has made an action slower than it is configured to be.
    pub(super) fn is_slowed(&self, action: Action) -> bool {
        self.pacer(action).lane().is_slowed(Instant::now())
    }

    /// Learns from how a call has ended. `wish` is how long the cloud does not want to be asked.
    pub(super) fn learn(
        &self,
        action: Action,
        sent: Instant,
        result: Result<(), ErrorKind>,
        wish: Option<Duration>,
    ) {
        let (mut lane, now) = (self.pacer(action).lane(), Instant::now());
        match result {
            // A cloud that refuses for another reason has taken the call.
            Ok(()) | Err(ErrorKind::Gone { .. } | ErrorKind::Business | ErrorKind::Auth { .. }) => {
                lane.answered(now)
            }
            Err(ErrorKind::Throttled) => lane.throttled(sent, now),
            Err(_) => {}
        }
        if let Some(wish) = wish.filter(|_| result.is_err_and(ErrorKind::is_retryable)) {
            lane.hold(wish, now);
        }
    }

    /// The retries that are left.
    pub(super) fn retries(&self) -> &RetryBudget {
        &self.retries
    }

    fn pacer(&self, action: Action) -> &ActionPacer {
        // `Action::ALL` names every action in the order of the enumeration, so the index is in range.
        let [first, ..] = &self.pacers;
        self.pacers.get(action as usize).unwrap_or(first)
    }
}

/// Lets the callers of one action through, one after the other.
#[derive(Debug)]
struct ActionPacer {
    /// Whose turn it is. The lock is fair, and held while its owner waits for the slot.
    turn: tokio::sync::Mutex<()>,
    lane: Mutex<RateLimiter>,
    /// The slot that is waited for may be sooner now.
    changed: Notify,
}

impl ActionPacer {
    fn new(rate: RequestRate) -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            lane: Mutex::new(RateLimiter::new(rate)),
            changed: Notify::new(),
        }
    }

    async fn take(&self) {
        let _turn = self.turn.lock().await;
        loop {
            // The guard of the lane must not live across a wait.
            let taken = self.lane().take(Instant::now());
            let Err(at) = taken else { return };
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn set_rate(&self, rate: RequestRate) {
        self.lane().set_rate(rate);
        self.changed.notify_one();
    }

    fn lane(&self) -> MutexGuard<'_, RateLimiter> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests;
