//! World time. Also the only reader of the wall clock in this crate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep};

/// Mode of the world clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClockMode {
    /// Only with `Simulator::advance`. Starts at the wall time or at `WorldOptions::epoch_ms`.
    Manual,
    /// By itself.
    RealTime {
        /// World seconds per real second; 1.0 is real time.
        speed: f64,
    },
}

/// Returns the wall time in Unix milliseconds.
pub(crate) fn wall_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the wall clock")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(since_epoch)
}

/// Returns a duration in milliseconds, rounded down.
pub(crate) fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

/// Sleeps. Unlike [`sleep`], does not wait for the next timer tick if the duration is zero.
pub(crate) async fn sleep_unless_zero(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

/// Clock of the world: frozen, advanced by hand, or running at a speed.
#[derive(Debug)]
pub(crate) struct WorldClock {
    /// World time at `base_instant`.
    base_ms: i64,
    base_instant: Instant,
    /// World seconds per real second; 0 if frozen or manual.
    speed: f64,
    running_speed: f64,
}

impl WorldClock {
    pub(crate) fn new(mode: ClockMode, epoch_ms: i64) -> Self {
        let speed = match mode {
            ClockMode::Manual => 0.0,
            ClockMode::RealTime { speed } => speed.max(0.0),
        };
        Self { base_ms: epoch_ms, base_instant: Instant::now(), speed, running_speed: speed }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        if self.speed == 0.0 {
            return self.base_ms;
        }
        self.base_ms + millis(self.base_instant.elapsed().mul_f64(self.speed))
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.base_ms = self.base_ms.saturating_add(millis(by));
    }

    pub(crate) fn freeze(&mut self) {
        self.set_speed(0.0);
    }

    pub(crate) fn unfreeze(&mut self) {
        self.set_speed(self.running_speed);
    }

    fn set_speed(&mut self, speed: f64) {
        self.base_ms = self.now_ms();
        self.base_instant = Instant::now();
        self.speed = speed;
    }
}
