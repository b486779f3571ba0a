use std::sync::Arc;

use proptest::prelude::*;
use tokio::time::{advance, sleep};

use super::*;

/// Most sends in any window of one second.
fn busiest_second(sends: &[Instant]) -> usize {
    let second = Duration::from_secs(1);
    sends
        .iter()
        .map(|&from| sends.iter().filter(|&&at| at >= from && at < from + second).count())
        .max()
        .unwrap_or(0)
}

fn paused<T>(run: impl Future<Output = T>) -> T {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_second_ever_shows_more_calls_than_the_rate(
        rate in 1u32..60,
        // Pauses between asking, in milliseconds, and whether the asker gives up while it waits.
        asks in prop::collection::vec((0u64..400, prop::bool::weighted(0.1)), 1..120),
        // Time jumps that stand for a stalled process.
        stalls in prop::collection::vec(0u64..3_000, 0..4),
    ) {
        let sends = paused(async {
            let pacer = Arc::new(Pacer::new(Rate::new(f64::from(rate)).unwrap()));
            let mut calls = Vec::new();
            for (index, (pause, gives_up)) in asks.into_iter().enumerate() {
                if index % 7 == 0 { sleep(Duration::from_millis(pause)).await; }
                let pacer = Arc::clone(&pacer);
                let call = tokio::spawn(async move { pacer.take().await; Instant::now() });
                tokio::task::yield_now().await;
                if gives_up { call.abort(); } else { calls.push(call); }
                if let Some(stall) = stalls.get(index) { advance(Duration::from_millis(*stall)).await; }
            }
            let mut sends = Vec::new();
            for call in calls { sends.push(call.await.unwrap()); }
            sends
        });
        prop_assert!(sends.is_sorted(), "calls overtook each other");
        let busiest = busiest_second(&sends);
        prop_assert!(busiest <= rate as usize, "{busiest} calls in one second at a rate of {rate}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_caller_gets_nearly_the_whole_rate() {
    let pacer = Pacer::new(Rate::new(20.0).unwrap());
    let start = Instant::now();
    for _ in 0..=200 {
        pacer.take().await;
    }
    let rate = 200.0 / start.elapsed().as_secs_f64();
    assert!((18.5..=20.0).contains(&rate), "{rate}");
}

#[tokio::test(start_paused = true)]
async fn one_action_does_not_wait_for_another() {
    let slow = Rates {
        default: Rate::new(1000.0).unwrap(),
        overrides: BTreeMap::from([(Action::GetTopicStatus, Rate::new(0.1).unwrap())]),
    };
    assert!((slow.of(Action::GetTopicStatus).per_second() - 0.1).abs() < 1e-9);
    let budget = Budget::new(&slow);
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
        assert_eq!(Rate::new(bad), None, "{bad}");
    }
}
