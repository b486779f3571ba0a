//! Rate limiter of one action.
//!
//! Owns: the spacing of requests, and the rate, which drops while the cloud throttles and recovers while it accepts
//! requests. There are no bursts, not even after idle time or a stall: no window of one second ever has more requests
//! than the configured rate.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::Notify,
    time::{Duration, Instant, sleep_until},
};

use super::budget::RequestRate;

/// Spacing of requests as a multiple of the spacing at the configured rate, so that network delays of up to about 45
/// ms do not cause a second with more requests than the rate.
const SPACING_MARGIN: f64 = 1.05;

/// Delay of a wake-up that does not move the following slots. The margin absorbs it.
const WAKE_UP_TOLERANCE: Duration = Duration::from_millis(5);

/// Factor of the rate after throttling.
const THROTTLED_FACTOR: f64 = 0.7;

/// Lowest rate after throttling, in requests per second, unless the configured rate is lower.
const MIN_THROTTLED_RATE: f64 = 0.5;

/// The cloud counts requests by the second, so throttling of a request that was sent within this time of a rate cut
/// still refers to the rate before it.
const COUNTING_WINDOW: Duration = Duration::from_secs(1);

/// Time to recover to the rate that was throttled, and the same time again to reach the configured rate.
const RECOVERY: Duration = Duration::from_secs(30);

/// Longest pause of an action that the cloud can request.
const MAX_PAUSE: Duration = Duration::from_secs(20);

/// Rate limiter of one action. Callers pass one at a time.
#[derive(Debug)]
pub(super) struct RateLimiter {
    /// Fair queue of callers. The first caller holds the lock while it waits for its slot.
    queue: tokio::sync::Mutex<()>,
    schedule: Mutex<SlotSchedule>,
    /// Notified if the awaited slot may be earlier now.
    rate_changed: Notify,
}

impl RateLimiter {
    pub(super) fn new(rate: RequestRate) -> Self {
        Self {
            queue: tokio::sync::Mutex::default(),
            schedule: Mutex::new(SlotSchedule::new(rate)),
            rate_changed: Notify::new(),
        }
    }

    /// Waits for the next slot. Dropping the future takes no slot.
    pub(super) async fn take(&self) {
        let _turn = self.queue.lock().await;
        loop {
            // The guard of the schedule must not live across the wait.
            let slot = self.schedule().take(Instant::now());
            let Err(at) = slot else { return };
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.rate_changed.notified() => {}
            }
        }
    }

    pub(super) fn set_rate(&self, rate: RequestRate) {
        self.schedule().set_rate(rate);
        self.rate_changed.notify_one();
    }

    pub(super) fn schedule(&self) -> MutexGuard<'_, SlotSchedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Slots of one action. Pure: time is a parameter.
#[derive(Debug)]
pub(super) struct SlotSchedule {
    configured_rate: f64,
    rate: f64,
    rate_cut: Option<RateCut>,
    last_slot: Option<Instant>,
    paused_until: Option<Instant>,
}

/// Reduction of the rate after throttling.
#[derive(Debug, Clone, Copy)]
struct RateCut {
    /// Time of the throttled response.
    at: Instant,
    /// Rate that was throttled, in requests per second.
    rate_before_cut: f64,
    /// Rate after the cut, in requests per second.
    reduced_rate: f64,
}

impl SlotSchedule {
    fn new(rate: RequestRate) -> Self {
        let rate = rate.per_second();
        Self { configured_rate: rate, rate, rate_cut: None, last_slot: None, paused_until: None }
    }

    /// Takes the next slot, or returns its time as the error.
    fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let spacing = Duration::from_secs_f64(SPACING_MARGIN / self.rate);
        match self.last_slot.map(|last| last + spacing).max(self.paused_until) {
            Some(at) if at > now => Err(at),
            slot => {
                let earliest = now.checked_sub(WAKE_UP_TOLERANCE).unwrap_or(now);
                self.last_slot = Some(slot.map_or(now, |slot| slot.max(earliest)));
                Ok(())
            }
        }
    }

    /// Returns the current rate limit in requests per second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Whether the rate is reduced or requests are paused.
    pub(super) fn is_slowed(&self, now: Instant) -> bool {
        self.rate_cut.is_some() || self.paused_until.is_some_and(|until| until > now)
    }

    fn set_rate(&mut self, rate: RequestRate) {
        self.configured_rate = rate.per_second();
        if let Some(cut) = &mut self.rate_cut {
            cut.rate_before_cut = cut.rate_before_cut.min(self.configured_rate);
            cut.reduced_rate = cut.reduced_rate.min(self.configured_rate);
            self.rate = self.rate.min(self.configured_rate);
        } else {
            self.rate = self.configured_rate;
        }
    }

    /// Reduces the rate after the cloud throttled a request. Requests that were in flight at the last cut do not reduce
    /// it further.
    pub(super) fn on_throttled(&mut self, sent: Instant, now: Instant) {
        if self.rate_cut.is_none_or(|cut| sent >= cut.at + COUNTING_WINDOW) {
            let lowest = MIN_THROTTLED_RATE.min(self.configured_rate);
            let reduced_rate = (self.rate * THROTTLED_FACTOR).max(lowest).min(self.rate);
            self.rate_cut = Some(RateCut { at: now, rate_before_cut: self.rate, reduced_rate });
            self.rate = reduced_rate;
        }
    }

    /// Raises the rate after the cloud accepted a request. The rate follows a cubic function of the time since the cut
    /// that is flat at the rate before the cut: it approaches and leaves that rate slowly.
    pub(super) fn on_accepted(&mut self, now: Instant) {
        let Some(RateCut { at, rate_before_cut, reduced_rate }) = self.rate_cut else { return };
        // -1 at the cut, 0 at the rate before the cut, 1 at the configured rate.
        let progress = now.saturating_duration_since(at).as_secs_f64() / RECOVERY.as_secs_f64() - 1.0;
        if progress >= 1.0 {
            self.rate_cut = None;
            self.rate = self.configured_rate;
            return;
        }
        let height = if progress < 0.0 {
            rate_before_cut - reduced_rate
        } else {
            self.configured_rate - rate_before_cut
        };
        self.rate = (rate_before_cut + height * progress.powi(3)).max(self.rate).min(self.configured_rate);
    }

    /// Pauses all requests, as requested by the cloud.
    pub(super) fn pause(&mut self, pause: Duration, now: Instant) {
        self.paused_until = self.paused_until.max(Some(now + pause.min(MAX_PAUSE)));
    }
}
