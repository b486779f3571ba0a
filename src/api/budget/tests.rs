use proptest::prelude::*;
use tokio::time::{advance, sleep};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn rate(per_second: f64) -> RequestRate {
    RequestRate::new(per_second).unwrap()
}

/// Runs under a clock that moves when all wait.
pub(in crate::api) fn paused<T>(run: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(run)
}

#[test]
fn the_index_of_every_action_is_its_place_in_the_list() {
    for (place, action) in Action::ALL.into_iter().enumerate() {
        assert_eq!(action as usize, place);
    }
}

/// What befalls a pacer.
#[derive(Debug, Clone)]
enum Event {
    /// Someone asks; perhaps it gives up while it waits.
    Ask { gives_up: bool },
    /// Time passes.
    Pause(u64),
    /// Time jumps, as in a process that was stalled.
    Stall(u64),
    /// The cloud answers a call.
    Answer,
    /// The cloud refuses a call that was sent so long ago.
    Throttle(u64),
    /// The cloud wishes not to be asked.
    Hold(u64),
    /// The configuration is loaded anew.
    RequestRate(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => prop::bool::weighted(0.1).prop_map(|gives_up| Event::Ask { gives_up }),
        5 => (0u64..400).prop_map(Event::Pause),
        1 => (0u64..90_000).prop_map(Event::Pause),
        2 => (0u64..3_000).prop_map(Event::Stall),
        4 => Just(Event::Answer),
        1 => (0u64..2_000).prop_map(Event::Throttle),
        1 => (0u64..3_000).prop_map(Event::Hold),
        1 => (1u32..60).prop_map(Event::RequestRate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_second_ever_shows_more_calls_than_the_rate_whatever_happens_to_it(
        first in 1u32..60,
        events in prop::collection::vec(event(), 1..250),
    ) {
        let (sends, rates, holds) = paused(async {
            let pacer = Arc::new(ActionPacer::new(rate(f64::from(first))));
            let (mut rates, mut holds) = (vec![(Instant::now(), first)], Vec::new());
            let mut calls = Vec::new();
            for event in events {
                let now = Instant::now();
                match event {
                    Event::Ask { gives_up } => {
                        let pacer = Arc::clone(&pacer);
                        let call = tokio::spawn(async move { pacer.take().await; Instant::now() });
                        tokio::task::yield_now().await;
                        if gives_up { call.abort(); } else { calls.push(call); }
                    }
                    Event::Pause(millis) => sleep(Duration::from_millis(millis)).await,
                    Event::Stall(millis) => advance(Duration::from_millis(millis)).await,
                    Event::Answer => pacer.lane().answered(now),
                    Event::Throttle(ago) => pacer.lane().throttled(now - Duration::from_millis(ago), now),
                    Event::Hold(millis) => {
                        let wish = Duration::from_millis(millis);
                        pacer.lane().hold(wish, now);
                        holds.push((now, now + wish));
                    }
                    Event::RequestRate(new) => {
                        pacer.set_rate(rate(f64::from(new)));
                        rates.push((now, new));
                    }
                }
            }
            let mut sends = Vec::new();
            for call in calls { sends.push(call.await.unwrap()); }
            (sends, rates, holds)
        });
        prop_assert!(sends.is_sorted(), "calls overtook each other");
        for &from in &sends {
            let calls = sends.iter().filter(|&&at| at >= from && at < from + SECOND).count();
            // The rate at the beginning of this second, and those that came within it.
            let before = rates.iter().rev().find(|(at, _)| *at <= from);
            let within = rates.iter().filter(|(at, _)| *at > from && *at < from + SECOND);
            let allowed = before.into_iter().chain(within).map(|(_, rate)| *rate).max().unwrap();
            prop_assert!(calls <= allowed as usize, "{calls} calls in one second at a rate of {allowed}");
        }
        for (from, to) in holds {
            prop_assert!(!sends.iter().any(|at| *at > from && *at < to), "a call while all are held");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_caller_gets_nearly_the_whole_rate() {
    let pacer = ActionPacer::new(rate(20.0));
    let start = Instant::now();
    for _ in 0..=200 {
        pacer.take().await;
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
    assert!((slow.of(Action::GetTopicStatus).per_second() - 0.1).abs() < 1e-9);
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
fn a_rate_that_would_stop_or_flood_is_refused() {
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        assert_eq!(RequestRate::new(bad), None, "{bad}");
    }
}

const ACTION: Action = Action::GetConsumerProgress;

fn of_twenty() -> RequestBudget {
    RequestBudget::new(&ActionRates::all(rate(20.0)))
}

fn assert_rate(budget: &RequestBudget, expected: f64) {
    let rate = budget.rate(ACTION);
    assert!((rate - expected).abs() < 1e-9, "{rate} in place of {expected}");
}

fn refuse(budget: &RequestBudget, sent: Instant) {
    budget.learn(ACTION, sent, Err(ErrorKind::Throttled), None);
}

fn answer(budget: &RequestBudget) {
    budget.learn(ACTION, Instant::now(), Ok(()), None);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_calls_that_were_under_way_together_count_as_one() {
    let (budget, sent) = (of_twenty(), Instant::now());
    sleep(SECOND * 3).await;
    for _ in 0..50 {
        refuse(&budget, sent);
    }
    assert_rate(&budget, 14.0);
    assert!(budget.is_slowed(ACTION) && !budget.is_slowed(Action::GetTopicStatus));
    assert!((budget.rate(Action::GetTopicStatus) - 20.0).abs() < 1e-9, "another action is another's quota");
    // Sent at the lower rate, but within a second in which calls at the higher one count.
    let soon = Instant::now() + SECOND / 2;
    sleep(SECOND * 5).await;
    refuse(&budget, soon);
    assert_rate(&budget, 14.0);
    refuse(&budget, Instant::now());
    assert_rate(&budget, 9.8);
}

#[tokio::test(start_paused = true)]
async fn refusals_without_end_leave_a_call_every_other_second_or_what_is_configured() {
    for (configured, floor) in [(20.0, 0.5), (0.6, 0.5), (0.2, 0.2)] {
        let budget = RequestBudget::new(&ActionRates::all(rate(configured)));
        for _ in 0..100 {
            sleep(SECOND).await;
            refuse(&budget, Instant::now());
        }
        assert_rate(&budget, floor);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_bring_the_rate_back_gently_and_whole_within_a_minute() {
    let budget = of_twenty();
    refuse(&budget, Instant::now());
    sleep(SECOND).await;
    refuse(&budget, Instant::now());
    assert_rate(&budget, 9.8);
    let mut last = budget.rate(ACTION);
    for second in 1..=60 {
        sleep(SECOND).await;
        answer(&budget);
        let now = budget.rate(ACTION);
        assert!(now >= last && now - last < 0.8, "from {last} to {now} in second {second}");
        assert!(second > 30 || now <= 14.0 + 1e-9, "{now} in second {second}: 14 was refused");
        last = now;
    }
    assert_rate(&budget, 20.0);
    assert!(!budget.is_slowed(ACTION));
}

#[tokio::test(start_paused = true)]
async fn only_answers_bring_the_rate_back() {
    let budget = of_twenty();
    refuse(&budget, Instant::now());
    for _ in 0..300 {
        sleep(SECOND).await;
        for kind in [ErrorKind::Connect, ErrorKind::Server, ErrorKind::Timeout, ErrorKind::Decode] {
            budget.learn(ACTION, Instant::now(), Err(kind), None);
        }
    }
    assert_rate(&budget, 14.0);
    budget.learn(ACTION, Instant::now(), Err(ErrorKind::Auth { key: false }), None);
    assert_rate(&budget, 20.0);
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_wait_holds_every_call_of_the_action_and_no_longer_than_twenty_seconds() {
    for (wish, held) in [(Duration::from_millis(2_500), 2_500), (Duration::MAX, 20_000)] {
        let budget = Arc::new(of_twenty());
        budget.take(ACTION).await;
        budget.learn(ACTION, Instant::now(), Err(ErrorKind::Throttled), Some(wish));
        assert!(budget.is_slowed(ACTION));
        let start = Instant::now();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let budget = Arc::clone(&budget);
                tokio::spawn(async move { budget.take(ACTION).await })
            })
            .collect();
        budget.take(Action::GetTopicStatus).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "another action is not held");
        for (call, waiting) in (0u32..).zip(waiting) {
            waiting.await.unwrap();
            let expected = Duration::from_millis(held) + Duration::from_secs_f64(1.05 / 14.0) * call;
            assert!(start.elapsed().abs_diff(expected) < Duration::from_millis(10), "{:?}", start.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_wish_of_an_answer_that_is_final_holds_nothing() {
    let budget = of_twenty();
    budget.learn(ACTION, Instant::now(), Err(ErrorKind::Gone { instance: false }), Some(SECOND));
    let start = Instant::now();
    budget.take(ACTION).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_region_of_an_account_has_one_budget_for_good_and_new_rates_are_heeded_at_once() {
    let budgets = RequestBudgets::default();
    let (one, two) = (AccountName::new("one").unwrap(), AccountName::new("two").unwrap());
    let (east, west) = (RegionId::new("east-1").unwrap(), RegionId::new("west-1").unwrap());
    let (slow, fast) = (ActionRates::all(rate(0.01)), ActionRates::all(rate(10.0)));
    let old = budgets.of(Some(&one), &east, &slow);
    for (account, region) in [(None, &east), (Some(&two), &east), (Some(&one), &west)] {
        assert!(!Arc::ptr_eq(&old, &budgets.of(account, region, &slow)), "{account:?} {region}");
    }
    old.take(ACTION).await;
    let waiting = tokio::spawn({
        let old = Arc::clone(&old);
        async move { old.take(ACTION).await }
    });
    sleep(SECOND).await;
    let new = budgets.of(Some(&one), &east, &fast);
    assert!(Arc::ptr_eq(&old, &new));
    let start = Instant::now();
    budgets.set_rates(Some(&two), &fast);
    sleep(SECOND).await;
    assert!(!waiting.is_finished(), "what may come is not in force yet, nor is what another account may");
    let start = start + SECOND;
    budgets.set_rates(Some(&one), &fast);
    waiting.await.unwrap();
    assert!(start.elapsed() < SECOND / 10, "it does not wait out the old rate");
    new.take(ACTION).await;
    assert!(start.elapsed() >= SECOND / 10, "the slots of the one are not the other's too");
}

#[tokio::test(start_paused = true)]
async fn a_rate_that_the_cloud_has_lowered_survives_a_change_of_the_configured_one() {
    let budget = of_twenty();
    refuse(&budget, Instant::now());
    budget.set_rates(&ActionRates::all(rate(100.0)));
    assert_rate(&budget, 14.0);
    budget.set_rates(&ActionRates::all(rate(5.0)));
    assert_rate(&budget, 5.0);
    sleep(SECOND * 130).await;
    answer(&budget);
    budget.set_rates(&ActionRates::all(rate(100.0)));
    assert_rate(&budget, 100.0);
}
