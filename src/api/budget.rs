//! Request budget of one (account, region): one rate limiter per action, and the retries.
//!
//! A budget outlives its clients. After a reload of the configuration, [`RequestBudgets`] hands the same budget to
//! the new client, so that both clients together stay within the rate.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::{Duration, Instant};

use super::{Action, ErrorKind, rate_limiter::RateLimiter, retry::RetryBudget};
use crate::model::{AccountName, RegionId};

/// Requests per second: at least 0.001, at most 10,000.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct RequestRate(f64);

impl RequestRate {
    /// Returns a rate; `None` if it is out of range.
    #[must_use]
    pub fn new(per_second: f64) -> Option<Self> {
        (0.001..=10_000.0).contains(&per_second).then_some(Self(per_second))
    }

    /// Returns the requests per second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.0
    }
}

/// Configured rates: `requests_per_second` and `request_rates`.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionRates {
    /// Rate of actions without an override.
    pub default: RequestRate,
    /// Rates of single actions.
    pub overrides: BTreeMap<Action, RequestRate>,
}

impl ActionRates {
    /// Returns the same rate for every action.
    #[must_use]
    pub fn all(default: RequestRate) -> Self {
        Self { default, overrides: BTreeMap::new() }
    }

    /// Returns the rate of an action.
    #[must_use]
    pub fn rate(&self, action: Action) -> RequestRate {
        self.overrides.get(&action).copied().unwrap_or(self.default)
    }
}

/// Budgets of all regions of all accounts, for the life of the process.
#[derive(Debug, Default)]
pub struct RequestBudgets(Mutex<BTreeMap<BudgetKey, Arc<RequestBudget>>>);

/// Account, if accounts are named, and region.
type BudgetKey = (Option<AccountName>, RegionId);

impl RequestBudgets {
    /// Returns the budget of a region of an account. The first call creates it with these rates.
    #[must_use]
    pub fn get_or_create(
        &self,
        account: Option<&AccountName>,
        region: &RegionId,
        rates: &ActionRates,
    ) -> Arc<RequestBudget> {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = budgets.entry((account.cloned(), region.clone()));
        Arc::clone(budget.or_insert_with(|| Arc::new(RequestBudget::new(rates))))
    }

    /// Changes the configured rates of every region of an account.
    pub fn set_rates(&self, account: Option<&AccountName>, rates: &ActionRates) {
        let budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((owner, _), budget) in budgets.iter() {
            if owner.as_ref() == account {
                budget.set_rates(rates);
            }
        }
    }
}

/// Budget of one (account, region).
#[derive(Debug)]
pub struct RequestBudget {
    limiters: [RateLimiter; Action::ALL.len()],
    retries: RetryBudget,
}

impl RequestBudget {
    /// Returns an unused budget.
    #[must_use]
    pub fn new(rates: &ActionRates) -> Self {
        let limiters = Action::ALL.map(|action| RateLimiter::new(rates.rate(action)));
        Self { limiters, retries: RetryBudget::default() }
    }

    /// Changes the configured rates. An action that the cloud throttles keeps its lower rate.
    pub fn set_rates(&self, rates: &ActionRates) {
        for (limiter, action) in self.limiters.iter().zip(Action::ALL) {
            limiter.set_rate(rates.rate(action));
        }
    }

    /// Returns the current rate limit of an action in requests per second: as configured, or less while the cloud
    /// throttles.
    #[must_use]
    pub fn rate(&self, action: Action) -> f64 {
        self.limiter(action).schedule().rate()
    }

    /// Waits for the next slot of an action, first come, first served. Dropping the future takes no slot.
    pub(super) async fn take(&self, action: Action) {
        self.limiter(action).take().await;
    }

    /// Whether the rate limit of an action is below the configured rate.
    pub(super) fn is_slowed(&self, action: Action) -> bool {
        self.limiter(action).schedule().is_slowed(Instant::now())
    }

    /// Adjusts the rate limit of an action to the outcome of a request. `retry_after` is the pause that the cloud
    /// requested.
    pub(super) fn record_outcome(
        &self,
        action: Action,
        sent: Instant,
        outcome: Result<(), ErrorKind>,
        retry_after: Option<Duration>,
    ) {
        let (mut schedule, now) = (self.limiter(action).schedule(), Instant::now());
        match outcome {
            // A rejection for another reason shows that the cloud accepted the rate.
            Ok(()) | Err(ErrorKind::Gone { .. } | ErrorKind::Business | ErrorKind::Auth { .. }) => {
                schedule.on_accepted(now);
            }
            Err(ErrorKind::Throttled) => schedule.on_throttled(sent, now),
            Err(_) => {}
        }
        if let Some(pause) = retry_after.filter(|_| outcome.is_err_and(ErrorKind::is_retryable)) {
            schedule.pause(pause, now);
        }
    }

    /// Returns the retry budget.
    pub(super) fn retries(&self) -> &RetryBudget {
        &self.retries
    }

    fn limiter(&self, action: Action) -> &RateLimiter {
        // `Action::ALL` has the order of the enum, so the index is in range.
        let [first, ..] = &self.limiters;
        self.limiters.get(action as usize).unwrap_or(first)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(per_second: f64) -> RequestRate {
        RequestRate::new(per_second).unwrap()
    }

    /// Runs a future under paused time, which advances when all tasks wait.
    pub(in crate::api) fn paused<T>(run: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(run)
    }

    #[test]
    fn every_action_has_its_index_in_the_list() {
        for (index, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(action as usize, index);
        }
    }

    /// Event in the life of a rate limiter.
    #[derive(Debug, Clone)]
    enum Event {
        /// A caller waits for a slot, and may give up.
        Take { gives_up: bool },
        /// Time passes.
        Pause(u64),
        /// Time jumps, as after a stall of the process.
        Stall(u64),
        /// The cloud accepts a request.
        Accept,
        /// The cloud throttles a request that was sent this many milliseconds ago.
        Throttle(u64),
        /// The cloud requests a pause.
        RetryAfter(u64),
        /// A reload changes the configured rate.
        SetRate(u32),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            30 => prop::bool::weighted(0.1).prop_map(|gives_up| Event::Take { gives_up }),
            5 => (0u64..400).prop_map(Event::Pause),
            1 => (0u64..90_000).prop_map(Event::Pause),
            2 => (0u64..3_000).prop_map(Event::Stall),
            4 => Just(Event::Accept),
            1 => (0u64..2_000).prop_map(Event::Throttle),
            1 => (0u64..3_000).prop_map(Event::RetryAfter),
            1 => (1u32..60).prop_map(Event::SetRate),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_second_ever_has_more_requests_than_the_rate(
            first in 1u32..60,
            events in prop::collection::vec(event(), 1..250),
        ) {
            let (sends, rates, pauses) = paused(async {
                let limiter = Arc::new(RateLimiter::new(rate(f64::from(first))));
                let (mut rates, mut pauses) = (vec![(Instant::now(), first)], Vec::new());
                let mut calls = Vec::new();
                for event in events {
                    let now = Instant::now();
                    match event {
                        Event::Take { gives_up } => {
                            let limiter = Arc::clone(&limiter);
                            let call = tokio::spawn(async move { limiter.take().await; Instant::now() });
                            tokio::task::yield_now().await;
                            if gives_up { call.abort(); } else { calls.push(call); }
                        }
                        Event::Pause(millis) => sleep(Duration::from_millis(millis)).await,
                        Event::Stall(millis) => advance(Duration::from_millis(millis)).await,
                        Event::Accept => limiter.schedule().on_accepted(now),
                        Event::Throttle(ago) => limiter.schedule().on_throttled(now - Duration::from_millis(ago), now),
                        Event::RetryAfter(millis) => {
                            let pause = Duration::from_millis(millis);
                            limiter.schedule().pause(pause, now);
                            pauses.push((now, now + pause));
                        }
                        Event::SetRate(new) => {
                            limiter.set_rate(rate(f64::from(new)));
                            rates.push((now, new));
                        }
                    }
                }
                let mut sends = Vec::new();
                for call in calls { sends.push(call.await.unwrap()); }
                (sends, rates, pauses)
            });
            prop_assert!(sends.is_sorted(), "calls overtook each other");
            for &from in &sends {
                let calls = sends.iter().filter(|&&at| at >= from && at < from + SECOND).count();
                // The rate at the start of this second, and the rates set within it.
                let before = rates.iter().rev().find(|(at, _)| *at <= from);
                let within = rates.iter().filter(|(at, _)| *at > from && *at < from + SECOND);
                let allowed = before.into_iter().chain(within).map(|(_, rate)| *rate).max().unwrap();
                prop_assert!(calls <= allowed as usize, "{calls} calls in one second at a rate of {allowed}");
            }
            for (from, to) in pauses {
                prop_assert!(!sends.iter().any(|at| *at > from && *at < to), "a call during a pause");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_caller_gets_nearly_the_full_rate() {
        let limiter = RateLimiter::new(rate(20.0));
        let start = Instant::now();
        for _ in 0..=200 {
            limiter.take().await;
        }
        let rate = 200.0 / start.elapsed().as_secs_f64();
        assert!((18.5..=20.0).contains(&rate), "{rate}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_action_does_not_wait_for_another() {
        let slow = ActionRates {
            default: rate(1000.0),
            overrides: BTreeMap::from([(Action::GetTopicStatus, rate(0.1))]),
        };
        assert!((slow.rate(Action::GetTopicStatus).per_second() - 0.1).abs() < 1e-9);
        let budget = RequestBudget::new(&slow);
        let start = Instant::now();
        budget.take(Action::GetTopicStatus).await;
        budget.take(Action::GetConsumerProgress).await;
        budget.take(Action::GetConsumerProgress).await;
        assert!(start.elapsed() < Duration::from_millis(10));
        budget.take(Action::GetTopicStatus).await;
        assert!(start.elapsed() > Duration::from_secs(10));
    }

    #[test]
    fn a_rate_that_is_out_of_range_is_rejected() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert_eq!(RequestRate::new(bad), None, "{bad}");
        }
    }

    const ACTION: Action = Action::GetConsumerProgress;

    fn budget_of_twenty() -> RequestBudget {
        RequestBudget::new(&ActionRates::all(rate(20.0)))
    }

    fn assert_rate(budget: &RequestBudget, expected: f64) {
        let rate = budget.rate(ACTION);
        assert!((rate - expected).abs() < 1e-9, "{rate} instead of {expected}");
    }

    fn throttle(budget: &RequestBudget, sent: Instant) {
        budget.record_outcome(ACTION, sent, Err(ErrorKind::Throttled), None);
    }

    fn accept(budget: &RequestBudget) {
        budget.record_outcome(ACTION, Instant::now(), Ok(()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_of_concurrent_requests_counts_once() {
        let (budget, sent) = (budget_of_twenty(), Instant::now());
        sleep(SECOND * 3).await;
        for _ in 0..50 {
            throttle(&budget, sent);
        }
        assert_rate(&budget, 14.0);
        assert!(budget.is_slowed(ACTION) && !budget.is_slowed(Action::GetTopicStatus));
        assert!(
            (budget.rate(Action::GetTopicStatus) - 20.0).abs() < 1e-9,
            "other actions have their own quota"
        );
        // Sent at the reduced rate, but within a second in which requests at the higher rate count.
        let soon = Instant::now() + SECOND / 2;
        sleep(SECOND * 5).await;
        throttle(&budget, soon);
        assert_rate(&budget, 14.0);
        throttle(&budget, Instant::now());
        assert_rate(&budget, 9.8);
    }

    #[tokio::test(start_paused = true)]
    async fn endless_throttling_leaves_a_minimum_rate() {
        for (configured, minimum) in [(20.0, 0.5), (0.6, 0.5), (0.2, 0.2)] {
            let budget = RequestBudget::new(&ActionRates::all(rate(configured)));
            for _ in 0..100 {
                sleep(SECOND).await;
                throttle(&budget, Instant::now());
            }
            assert_rate(&budget, minimum);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn accepted_requests_restore_the_rate_smoothly_within_a_minute() {
        let budget = budget_of_twenty();
        throttle(&budget, Instant::now());
        sleep(SECOND).await;
        throttle(&budget, Instant::now());
        assert_rate(&budget, 9.8);
        let mut last = budget.rate(ACTION);
        for second in 1..=60 {
            sleep(SECOND).await;
            accept(&budget);
            let now = budget.rate(ACTION);
            assert!(now >= last && now - last < 0.8, "from {last} to {now} in second {second}");
            assert!(second > 30 || now <= 14.0 + 1e-9, "{now} in second {second}: 14 was throttled");
            last = now;
        }
        assert_rate(&budget, 20.0);
        assert!(!budget.is_slowed(ACTION));
    }

    #[tokio::test(start_paused = true)]
    async fn only_accepted_requests_restore_the_rate() {
        let budget = budget_of_twenty();
        throttle(&budget, Instant::now());
        for _ in 0..300 {
            sleep(SECOND).await;
            for kind in [ErrorKind::Connect, ErrorKind::Server, ErrorKind::Timeout, ErrorKind::Decode] {
                budget.record_outcome(ACTION, Instant::now(), Err(kind), None);
            }
        }
        assert_rate(&budget, 14.0);
        budget.record_outcome(ACTION, Instant::now(), Err(ErrorKind::Auth { key: false }), None);
        assert_rate(&budget, 20.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_requested_pause_pauses_the_action_for_at_most_twenty_seconds() {
        for (retry_after, paused) in [(Duration::from_millis(2_500), 2_500), (Duration::MAX, 20_000)] {
            let budget = Arc::new(budget_of_twenty());
            budget.take(ACTION).await;
            budget.record_outcome(ACTION, Instant::now(), Err(ErrorKind::Throttled), Some(retry_after));
            assert!(budget.is_slowed(ACTION));
            let start = Instant::now();
            let waiting: Vec<_> = (0..3)
                .map(|_| {
                    let budget = Arc::clone(&budget);
                    tokio::spawn(async move { budget.take(ACTION).await })
                })
                .collect();
            budget.take(Action::GetTopicStatus).await;
            assert_eq!(start.elapsed(), Duration::ZERO, "another action is not paused");
            for (call, waiting) in (0u32..).zip(waiting) {
                waiting.await.unwrap();
                let expected = Duration::from_millis(paused) + Duration::from_secs_f64(1.05 / 14.0) * call;
                assert!(
                    start.elapsed().abs_diff(expected) < Duration::from_millis(10),
                    "{:?}",
                    start.elapsed()
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_final_failure_causes_no_pause() {
        let budget = budget_of_twenty();
        budget.record_outcome(ACTION, Instant::now(), Err(ErrorKind::Gone { instance: false }), Some(SECOND));
        let start = Instant::now();
        budget.take(ACTION).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_region_keeps_its_budget_and_new_rates_apply_at_once() {
        let budgets = RequestBudgets::default();
        let (one, two) = (AccountName::new("one").unwrap(), AccountName::new("two").unwrap());
        let (east, west) = (RegionId::new("east-1").unwrap(), RegionId::new("west-1").unwrap());
        let (slow, fast) = (ActionRates::all(rate(0.01)), ActionRates::all(rate(10.0)));
        let old = budgets.get_or_create(Some(&one), &east, &slow);
        for (account, region) in [(None, &east), (Some(&two), &east), (Some(&one), &west)] {
            assert!(
                !Arc::ptr_eq(&old, &budgets.get_or_create(account, region, &slow)),
                "{account:?} {region}"
            );
        }
        old.take(ACTION).await;
        let waiting = tokio::spawn({
            let old = Arc::clone(&old);
            async move { old.take(ACTION).await }
        });
        sleep(SECOND).await;
        let new = budgets.get_or_create(Some(&one), &east, &fast);
        assert!(Arc::ptr_eq(&old, &new));
        let start = Instant::now();
        budgets.set_rates(Some(&two), &fast);
        sleep(SECOND).await;
        assert!(
            !waiting.is_finished(),
            "neither rates of an existing budget nor those of another account apply"
        );
        let start = start + SECOND;
        budgets.set_rates(Some(&one), &fast);
        waiting.await.unwrap();
        assert!(start.elapsed() < SECOND / 10, "the new rate shortens the wait");
        new.take(ACTION).await;
        assert!(start.elapsed() >= SECOND / 10, "both clients share the slots");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reduced_rate_survives_a_change_of_the_configured_one() {
        let budget = budget_of_twenty();
        throttle(&budget, Instant::now());
        budget.set_rates(&ActionRates::all(rate(100.0)));
        assert_rate(&budget, 14.0);
        budget.set_rates(&ActionRates::all(rate(5.0)));
        assert_rate(&budget, 5.0);
        sleep(SECOND * 130).await;
        accept(&budget);
        budget.set_rates(&ActionRates::all(rate(100.0)));
        assert_rate(&budget, 100.0);
    }
}
