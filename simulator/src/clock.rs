//! The world's clock, and the only reader of the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::options::ClockMode;

/// The wall time, in milliseconds since 1970.
pub(crate) fn wall_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the wall clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(since)
}

/// A duration in whole milliseconds.
pub(crate) fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

/// World time: stands still, is moved by hand, or runs at a speed.
#[derive(Debug)]
pub(crate) struct WorldClock {
    /// World time at `since`.
    base_ms: i64,
    since: Instant,
    /// World seconds per real second; 0 while frozen or manual.
    speed: f64,
    running_speed: f64,
}

impl WorldClock {
    pub(crate) fn new(mode: ClockMode, epoch_ms: i64) -> Self {
        let speed = match mode {
            ClockMode::Manual => 0.0,
            ClockMode::RealTime { speed } => speed.max(0.0),
        };
        Self { base_ms: epoch_ms, since: Instant::now(), speed, running_speed: speed }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        if self.speed == 0.0 {
            return self.base_ms;
        }
        self.base_ms + millis(self.since.elapsed().mul_f64(self.speed))
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.base_ms = self.base_ms.saturating_add(millis(by));
    }

    pub(crate) fn freeze(&mut self) {
        self.rebase(0.0);
    }

    pub(crate) fn unfreeze(&mut self) {
        self.rebase(self.running_speed);
    }

    fn rebase(&mut self, speed: f64) {
        self.base_ms = self.now_ms();
        self.since = Instant::now();
        self.speed = speed;
    }
}
