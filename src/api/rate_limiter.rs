//! When the next call of one action may be sent. Pure: the moment is a parameter.
//!
//! Owns: the spacing of calls, and the rate that is lowered while the cloud refuses calls and rises again
//! while it answers them. Refuses: more than the configured rate in any second, whatever happens to the rate.

use tokio::time::{Duration, Instant};

use super::budget::RequestRate;

/// Spacing is this much wider than the rate asks for, so that calls which the network pushes together
/// (by up to about 45 ms) still do not exceed the rate in any second.
const MARGIN: f64 = 1.05;

/// How late a wake-up may be before the following slots move with it. It is taken out of the margin.
const TOLERANCE: Duration = Duration::from_millis(5);

/// What a refusal leaves of the rate.
const BETA: f64 = 0.7;

/// No refusal lowers the rate below this, or below the configured rate where that is less.
const FLOOR: f64 = 0.5;

/// The cloud counts calls by the second, so what it says of calls that were sent within one second of a cut
/// is about the rate before it.
const COUNTED_TOGETHER: Duration = Duration::from_secs(1);

/// How long it takes to come back to the rate that was refused; as long again, to the configured one.
const RECOVERY: Duration = Duration::from_secs(30);

/// Longest time that an answer may hold all calls of an action.
const LONGEST_HOLD: Duration = Duration::from_secs(20);

/// The calls of one action.
#[derive(Debug)]
pub(super) struct RateLimiter {
    configured: f64,
    allowed: f64,
    cut: Option<RateCut>,
    /// The slot that was taken last.
    last: Option<Instant>,
    held_until: Option<Instant>,
}

/// The rate was lowered.
#[derive(Debug, Clone, Copy)]
struct RateCut {
    at: Instant,
    /// The rate that was refused.
    refused: f64,
    /// What it was lowered to.
    to: f64,
}

impl RateLimiter {
    pub(super) fn new(rate: RequestRate) -> Self {
        let rate = rate.per_second();
        Self { configured: rate, allowed: rate, cut: None, last: None, held_until: None }
    }

    /// Takes the next slot, or says when there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let spaced = self.last.map(|last| last + Duration::from_secs_f64(MARGIN / self.allowed));
        match spaced.max(self.held_until) {
            Some(at) if at > now => Err(at),
            slot => {
                let late = now.checked_sub(TOLERANCE).unwrap_or(now);
                self.last = Some(slot.map_or(now, |slot| slot.max(late)));
                Ok(())
            }
        }
    }

    /// Calls a second that are allowed now.
    pub(super) fn rate(&self) -> f64 {
        self.allowed
    }

    /// Whether the cloud has made it slower than it is configured to be.
    pub(super) fn is_slowed(&self, now: Instant) -> bool {
        self.cut.is_some() || self.held_until.is_some_and(|until| until > now)
    }

    pub(super) fn set_rate(&mut self, rate: RequestRate) {
        self.configured = rate.per_second();
        if let Some(cut) = &mut self.cut {
            cut.refused = cut.refused.min(self.configured);
            cut.to = cut.to.min(self.configured);
            self.allowed = self.allowed.min(self.configured);
        } else {
            self.allowed = self.configured;
        }
    }

    /// The cloud refused a call because too many are made. Those that were under way when the rate was
    /// lowered lower it no further.
    pub(super) fn throttled(&mut self, sent: Instant, now: Instant) {
        if self.cut.is_none_or(|cut| sent >= cut.at + COUNTED_TOGETHER) {
            let to = (self.allowed * BETA).max(FLOOR.min(self.configured)).min(self.allowed);
            self.cut = Some(RateCut { at: now, refused: self.allowed, to });
            self.allowed = to;
        }
    }

    /// The cloud answered a call: the rate rises with the time since it was lowered. It comes near what was
    /// refused ever more slowly, and leaves it slowly: a cubic, flat where the refusal was.
    pub(super) fn answered(&mut self, now: Instant) {
        let Some(RateCut { at, refused, to }) = self.cut else { return };
        let since = now.saturating_duration_since(at).as_secs_f64() / RECOVERY.as_secs_f64() - 1.0;
        if since >= 1.0 {
            self.cut = None;
            self.allowed = self.configured;
            return;
        }
        let width = if since < 0.0 { refused - to } else { self.configured - refused };
        self.allowed = (refused + width * since.powi(3)).max(self.allowed).min(self.configured);
    }

    /// The cloud wishes not to be asked for a while.
    pub(super) fn hold(&mut self, wish: Duration, now: Instant) {
        self.held_until = self.held_until.max(Some(now + wish.min(LONGEST_HOLD)));
    }
}
