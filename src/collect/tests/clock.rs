//! Steps of the wall clock affect neither due times nor ages.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

const HOUR: i64 = 3_600_000;

/// Sum of the steps of the wall clock.
static STEPS: AtomicI64 = AtomicI64::new(0);
static STARTED: Mutex<Option<Instant>> = Mutex::new(None);

/// Wall clock that follows the paused time, plus the steps of the test.
fn stepping_clock() -> UnixMillis {
    let passed = STARTED.lock().unwrap().get_or_insert_with(Instant::now).elapsed().as_millis();
    wall(1_700_000_000_000 + i64::try_from(passed).unwrap() + STEPS.load(Ordering::SeqCst))
}

/// Runs an account while the clock takes two steps, and returns its calls with their times.
async fn calls(steps: [i64; 2]) -> Vec<(Duration, PollTarget)> {
    STEPS.store(0, Ordering::SeqCst);
    *STARTED.lock().unwrap() = None;
    let script = one_instance(20);
    let from = Instant::now();
    let hangzhou = RegionSelection::List(vec![RegionId::new("cn-hangzhou").unwrap()]);
    let running = RunningAccount::with_clock(stepping_clock, &script, hangzhou, Filters::default());
    seconds(130).await;
    for step in steps {
        let silent = PollTarget::GroupProgress(id("i"), group("g3"));
        script.edit(|w| w.failing.insert(silent.clone(), ErrorKind::Server));
        STEPS.fetch_add(step, Ordering::SeqCst);
        seconds(100).await;
        assert_eq!(running.lag("i", "g3"), Some(7), "younger than stale_after on the monotonic clock");
        assert_eq!(running.lag("i", "g4"), Some(7));
        script.edit(|w| w.failing.clear());
        seconds(100).await;
        let last_success = running.instance("i").unwrap().last_success.groups.unwrap();
        let age = stepping_clock().get() - last_success.get();
        assert!((0..=61_000).contains(&age), "a fresh value is as old as a pass: {age}");
    }
    assert_eq!(running.health.stopped(), [""; 0]);
    running.stop().await;
    let calls = script.edit(|w| std::mem::take(&mut w.calls));
    calls.into_iter().map(|(at, target)| (at.duration_since(from), target)).collect()
}

#[tokio::test(start_paused = true)]
async fn clock_steps_change_neither_due_times_nor_ages() {
    let steady = calls([0, 0]).await;
    assert!(steady.len() > 20 * 6);
    assert_eq!(calls([HOUR, -HOUR]).await, steady);
    assert_eq!(calls([-HOUR, 2 * HOUR]).await, steady);
}
