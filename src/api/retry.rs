//! Whether and when a failed attempt is made again.
//!
//! Owns: the number of attempts, the pause between them, and the budget that keeps retries to a tenth of
//! the first attempts. Refuses: sending anything, and pauses that outlast the deadline.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Duration;

/// Most attempts of one call.
pub(super) const MAX_ATTEMPTS: u32 = 3;

/// Longest pause before the second attempt.
const BASE: Duration = Duration::from_secs(1);

/// Longest pause of all; also what the cloud's own wish is clamped to.
const CAP: Duration = Duration::from_secs(20);

/// A retry costs as much as this many first attempts earn.
const COST: u32 = 10;

/// What the budget starts with: five retries.
const START: u32 = 5 * COST;

/// What the budget can hold: ten retries, so that hours without a fault do not save up for a storm.
const FULL: u32 = 10 * COST;

/// The retries that one client may still make, in tenths.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicU32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(START))
    }
}

impl RetryBudget {
    /// A call was made for the first time.
    pub(super) fn earn(&self) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |have| Some((have + 1).min(FULL)));
    }

    /// Takes a retry out of the budget; false if there is none.
    pub(super) fn spend(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |have| have.checked_sub(COST)).is_ok()
    }
}

/// The pause before the next attempt: full jitter over an exponential, not shorter than the cloud wishes
/// (`x-acs-retry-after`). `None` if it would not end before the deadline.
///
/// `failed` is the number of attempts made, `jitter` is uniform in 0..1, `remaining` the time to the deadline.
pub(super) fn pause(
    failed: u32,
    jitter: f64,
    wish: Option<Duration>,
    remaining: Duration,
) -> Option<Duration> {
    let longest = (BASE.min(remaining / 8) * 2u32.saturating_pow(failed.saturating_sub(1))).min(CAP);
    let jittered = longest.mul_f64(jitter.clamp(0.0, 1.0));
    let pause = jittered.max(wish.unwrap_or_default().min(CAP));
    (pause < remaining).then_some(pause)
}

/// Uniform in 0..1 from random bits; the middle where the system has none.
pub(super) fn uniform(bits: Option<u128>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float")]
    bits.map_or(0.5, |bits| (bits >> 75) as f64 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_pause_grows_and_is_spread_over_its_whole_length() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(1, 1.0, None, MINUTE), Some(second));
        assert_eq!(pause(2, 1.0, None, MINUTE), Some(second * 2));
        assert_eq!(pause(2, 0.5, None, MINUTE), Some(second));
        assert_eq!(pause(2, 0.0, None, MINUTE), Some(Duration::ZERO));
        assert_eq!(pause(9, 1.0, None, MINUTE), Some(second * 20));
    }

    #[test]
    fn little_time_left_makes_a_short_pause() {
        assert_eq!(pause(1, 1.0, None, Duration::from_millis(800)), Some(Duration::from_millis(100)));
        assert_eq!(pause(1, 1.0, None, Duration::ZERO), None);
    }

    #[test]
    fn the_wish_of_the_cloud_is_honoured_clamped_and_never_outlasts_the_deadline() {
        let wish = |millis| Some(Duration::from_millis(millis));
        assert_eq!(pause(1, 0.0, wish(2_500), MINUTE), wish(2_500));
        assert_eq!(pause(1, 0.0, wish(u64::MAX), MINUTE), wish(20_000));
        assert_eq!(pause(1, 0.0, wish(2_500), Duration::from_secs(2)), None);
    }

    proptest! {
        #[test]
        fn retries_never_exceed_a_tenth_of_first_attempts_and_the_reserve(
            calls in prop::collection::vec(0u32..3, 0..400)
        ) {
            let budget = RetryBudget::default();
            let (mut first, mut retries) = (0u32, 0u32);
            for failures in calls {
                first += 1;
                budget.earn();
                for _ in 0..failures { retries += u32::from(budget.spend()); }
                prop_assert!(retries * 10 <= first + START);
            }
        }
    }
}
