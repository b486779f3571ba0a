//! Faults of the exporter's own making, so that tests can see how it takes them. Not in a release build.
//!
//! `SABOTAGE_ALIKAFKA` holds words divided by blanks:
//! `task=ACTION:N` panics in the N-th attempt at an action, `loop=N` panics in a region's loop when it looks
//! for the N-th time at what grows old, `stuck=N` blocks it then for ever, `unhealthy=MILLIS` and
//! `end=MILLIS` shorten the limits of the watchdog.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Duration;

use super::watchdog::Limits;
use crate::api::Action;

static PLAN: LazyLock<Plan> =
    LazyLock::new(|| Plan::of(&std::env::var("SABOTAGE_ALIKAFKA").unwrap_or_default()));
static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
static LOOKS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Default)]
struct Plan {
    task: Option<(String, u64)>,
    panicking: Option<u64>,
    stuck: Option<u64>,
    unhealthy: Option<Duration>,
    end: Option<Duration>,
}

impl Plan {
    fn of(text: &str) -> Self {
        let mut plan = Self::default();
        for (what, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
            let (number, millis) = (value.parse().ok(), value.parse().ok().map(Duration::from_millis));
            match what {
                "task" => {
                    let parts = value.split_once(':');
                    plan.task = parts.and_then(|(action, n)| Some((action.to_owned(), n.parse().ok()?)));
                }
                "loop" => plan.panicking = number,
                "stuck" => plan.stuck = number,
                "unhealthy" => plan.unhealthy = millis,
                "end" => plan.end = millis,
                _ => {}
            }
        }
        plan
    }
}

/// Called in the task of a call, once an attempt.
#[expect(clippy::panic, reason = "that is what it is for")]
pub(super) fn attempt(action: Action) {
    let Some((name, number)) = &PLAN.task else { return };
    if action.name() == name && ATTEMPTS.fetch_add(1, Ordering::Relaxed) + 1 == *number {
        panic!("sabotage of a task");
    }
}

/// Called in the loop of a region, once a look at what grows old.
#[expect(clippy::panic, reason = "that is what it is for")]
pub(super) fn look() {
    let look = Some(LOOKS.fetch_add(1, Ordering::Relaxed) + 1);
    if PLAN.panicking == look {
        panic!("sabotage of a loop, {look:?}");
    }
    if PLAN.stuck == look {
        loop {
            std::thread::park();
        }
    }
}

/// The limits of the watchdog, shortened.
pub(super) fn limits(limits: Limits) -> Limits {
    Limits { unhealthy: PLAN.unhealthy.unwrap_or(limits.unhealthy), end: PLAN.end.unwrap_or(limits.end) }
}
