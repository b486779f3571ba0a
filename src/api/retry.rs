//! Retries: maximum number of attempts, pauses between them, and the budget that limits retries to a tenth of the
//! first attempts.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Duration;

/// Maximum number of attempts per call.
pub(super) const MAX_ATTEMPTS: u32 = 3;

/// Maximum pause before the second attempt.
const BASE_PAUSE: Duration = Duration::from_secs(1);

/// Maximum of any pause, including one that the cloud requests.
const MAX_PAUSE: Duration = Duration::from_secs(20);

/// Number of first attempts that earn one retry.
const RETRY_COST: u32 = 10;

/// Initial balance: five retries.
const INITIAL_BALANCE: u32 = 5 * RETRY_COST;

/// Maximum balance: ten retries, so that hours without failures do not allow a burst of retries.
const MAX_BALANCE: u32 = 10 * RETRY_COST;

/// Balance of retries, in tenths.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicU32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(INITIAL_BALANCE))
    }
}

impl RetryBudget {
    /// Adds the tenth of a retry that a first attempt earns.
    pub(super) fn earn(&self) {
        let earn = |balance: u32| Some((balance + 1).min(MAX_BALANCE));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earn);
    }

    /// Takes a retry from the budget. Returns false if there is none.
    pub(super) fn spend(&self) -> bool {
        let spend = |balance: u32| balance.checked_sub(RETRY_COST);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

/// Returns the pause before the next attempt: exponential with full jitter, and not shorter than `retry_after`
/// (`x-acs-retry-after`). `None` if it would not end before the deadline.
///
/// `failed` is the number of attempts so far, `jitter` is uniform in 0..1, `remaining` is the time to the deadline.
pub(super) fn pause(
    failed: u32,
    jitter: f64,
    retry_after: Option<Duration>,
    remaining: Duration,
) -> Option<Duration> {
    let longest =
        (BASE_PAUSE.min(remaining / 8) * 2u32.saturating_pow(failed.saturating_sub(1))).min(MAX_PAUSE);
    let jittered = longest.mul_f64(jitter.clamp(0.0, 1.0));
    let pause = jittered.max(retry_after.unwrap_or_default().min(MAX_PAUSE));
    (pause < remaining).then_some(pause)
}

/// Converts random bits to a number uniform in 0..1; 0.5 if the system has none.
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
    fn the_pause_grows_and_has_full_jitter() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(1, 1.0, None, MINUTE), Some(second));
        assert_eq!(pause(2, 1.0, None, MINUTE), Some(second * 2));
        assert_eq!(pause(2, 0.5, None, MINUTE), Some(second));
        assert_eq!(pause(2, 0.0, None, MINUTE), Some(Duration::ZERO));
        assert_eq!(pause(9, 1.0, None, MINUTE), Some(second * 20));
    }

    #[test]
    fn little_remaining_time_gives_a_short_pause() {
        assert_eq!(pause(1, 1.0, None, Duration::from_millis(800)), Some(Duration::from_millis(100)));
        assert_eq!(pause(1, 1.0, None, Duration::ZERO), None);
    }

    #[test]
    fn retry_after_is_honoured_up_to_a_maximum_and_within_the_deadline() {
        let retry_after = |millis| Some(Duration::from_millis(millis));
        assert_eq!(pause(1, 0.0, retry_after(2_500), MINUTE), retry_after(2_500));
        assert_eq!(pause(1, 0.0, retry_after(u64::MAX), MINUTE), retry_after(20_000));
        assert_eq!(pause(1, 0.0, retry_after(2_500), Duration::from_secs(2)), None);
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
                prop_assert!(retries * 10 <= first + INITIAL_BALANCE);
            }
        }
    }
}
