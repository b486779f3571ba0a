//! The service's own limit: calls per (region, action) in any window of one second.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::{options::Quota, wire::ErrorResponse};

const WINDOW: Duration = Duration::from_secs(1);

/// When calls were let through.
#[derive(Debug, Default)]
pub(crate) struct QuotaWindows {
    passed: HashMap<(String, String), VecDeque<Instant>>,
}

impl QuotaWindows {
    /// Lets a call through, or not.
    ///
    /// # Errors
    /// `Throttling.User` if the window is full.
    pub(crate) fn pass(
        &mut self,
        quota: &Quota,
        region: &str,
        action: &str,
        now: Instant,
    ) -> Result<(), ErrorResponse> {
        let Some(limit) = quota.by_action.get(action).copied().or(quota.per_second) else { return Ok(()) };
        let passed = self.passed.entry((region.to_owned(), action.to_owned())).or_default();
        while passed.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            passed.pop_front();
        }
        if passed.len() >= limit as usize {
            let refusal = ErrorResponse::new(
                quota.status,
                "Throttling.User",
                "Request was denied due to user flow control.",
            );
            return Err(ErrorResponse { retry_after_ms: quota.retry_after_ms, ..refusal });
        }
        passed.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_and_action_has_a_window_of_its_own() {
        let quota = Quota { per_second: Some(2), ..Quota::default() };
        let (mut gate, t) = (QuotaWindows::default(), Instant::now());
        let ms = Duration::from_millis;
        assert!(gate.pass(&quota, "a", "X", t).is_ok());
        assert!(gate.pass(&quota, "a", "X", t + ms(500)).is_ok());
        let refused = gate.pass(&quota, "a", "X", t + ms(999)).unwrap_err();
        assert_eq!(
            (refused.status, refused.code.as_str(), refused.retry_after_ms),
            (400, "Throttling.User", Some(1000))
        );
        assert!(gate.pass(&quota, "b", "X", t + ms(999)).is_ok());
        assert!(gate.pass(&quota, "a", "Y", t + ms(999)).is_ok());
        assert!(gate.pass(&quota, "a", "X", t + ms(1000)).is_ok());
        assert!(gate.pass(&quota, "a", "X", t + ms(1001)).is_err());
    }
}
