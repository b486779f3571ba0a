//! A wall clock that jumps moves no due time and ages no value.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

const HOUR: i64 = 3_600_000;

/// What the wall clock shows more than the time that has passed.
static STEPS: AtomicI64 = AtomicI64::new(0);
static BEGAN: Mutex<Option<Instant>> = Mutex::new(None);

/// Goes on with paused time, and jumps as the test says.
fn stepping() -> UnixMillis {
    let passed = BEGAN.lock().unwrap().get_or_insert_with(Instant::now).elapsed().as_millis();
    wall(1_700_000_000_000 + i64::try_from(passed).unwrap() + STEPS.load(Ordering::SeqCst))
}

/// What was asked, and when, since the test began; the clock steps twice if it is told to.
async fn calls(steps: [i64; 2]) -> Vec<(Duration, PollTarget)> {
    STEPS.store(0, Ordering::SeqCst);
    *BEGAN.lock().unwrap() = None;
    let script = one_instance(20);
    let from = Instant::now();
    let hangzhou = RegionSelection::List(vec![RegionId::new("cn-hangzhou").unwrap()]);
    let running = Running::by(stepping, &script, hangzhou, Filters::default());
    seconds(130).await;
    for step in steps {
        let silent = PollTarget::GroupProgress(id("i"), group("g3"));
        script.edit(|w| w.failing.insert(silent.clone(), ErrorKind::Server));
        STEPS.fetch_add(step, Ordering::SeqCst);
        seconds(100).await;
        assert_eq!(running.lag("i", "g3"), Some(7), "younger than stale_after, whatever the wall says");
        assert_eq!(running.lag("i", "g4"), Some(7));
        script.edit(|w| w.failing.clear());
        seconds(100).await;
        let told = running.instance("i").unwrap().last_success.groups.unwrap();
        let age = stepping().get() - told.get();
        assert!((0..=61_000).contains(&age), "the age of what is fresh is that of a pass: {age}");
    }
    assert_eq!(running.health.stopped(), [""; 0]);
    running.stop().await;
    let calls = script.edit(|w| std::mem::take(&mut w.calls));
    calls.into_iter().map(|(at, target)| (at.duration_since(from), target)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_wall_clock_changes_no_schedule_and_no_age() {
    let steady = calls([0, 0]).await;
    assert!(steady.len() > 20 * 6);
    assert_eq!(calls([HOUR, -HOUR]).await, steady);
    assert_eq!(calls([-HOUR, 2 * HOUR]).await, steady);
}
