//! Throttling: limits calls per (region, action) in any window of one second.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::{options::Quota, wire::ErrorResponse};

const WINDOW: Duration = Duration::from_secs(1);

/// Times of the accepted calls of the last second, by (region, action).
#[derive(Debug, Default)]
pub(crate) struct QuotaWindows {
    accepted: HashMap<(String, String), VecDeque<Instant>>,
}

impl QuotaWindows {
    /// Accepts a call.
    ///
    /// # Errors
    /// Returns `Throttling.User` if the quota is used up.
    pub(crate) fn accept(
        &mut self,
        quota: &Quota,
        region: &str,
        action: &str,
        now: Instant,
    ) -> Result<(), ErrorResponse> {
        let Some(limit) = quota.by_action.get(action).copied().or(quota.per_second) else { return Ok(()) };
        let accepted = self.accepted.entry((region.to_owned(), action.to_owned())).or_default();
        while accepted.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            accepted.pop_front();
        }
        if accepted.len() >= limit as usize {
            return Err(ErrorResponse::throttled(quota.status, "Throttling.User", quota.retry_after_ms));
        }
        accepted.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_applies_to_each_region_and_action() {
        let quota = Quota { per_second: Some(2), ..Quota::default() };
        let (mut windows, t) = (QuotaWindows::default(), Instant::now());
        let ms = Duration::from_millis;
        assert!(windows.accept(&quota, "a", "X", t).is_ok());
        assert!(windows.accept(&quota, "a", "X", t + ms(500)).is_ok());
        let error = windows.accept(&quota, "a", "X", t + ms(999)).unwrap_err();
        assert_eq!(
            (error.status, error.code.as_str(), error.retry_after_ms),
            (400, "Throttling.User", Some(1000))
        );
        assert!(windows.accept(&quota, "b", "X", t + ms(999)).is_ok());
        assert!(windows.accept(&quota, "a", "Y", t + ms(999)).is_ok());
        assert!(windows.accept(&quota, "a", "X", t + ms(1000)).is_ok());
        assert!(windows.accept(&quota, "a", "X", t + ms(1001)).is_err());
    }
}
