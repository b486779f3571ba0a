//! Last known values with their age, and the status of the polls that refresh them.

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use super::Effects;
use crate::model::{Anomaly, AnomalyKind, Listing, UnixMillis};

/// The current time on both clocks. Ages are measured on the monotonic clock only.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic time, for ages.
    pub mono: Instant,
    /// Wall time, for `*_timestamp_seconds`.
    pub wall: UnixMillis,
}

/// A value that expires unless it is refreshed.
#[derive(Debug, Clone)]
pub(super) struct Cached<T>(Option<(Arc<T>, Instant)>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Cached<T> {
    pub(super) fn set(&mut self, value: T, now: Now) {
        self.0 = Some((Arc::new(value), now.mono));
    }

    pub(super) fn get(&self) -> Option<&Arc<T>> {
        self.0.as_ref().map(|(value, _)| value)
    }

    /// Returns the value and when it was set.
    pub(super) fn with_time(&self) -> Option<(&Arc<T>, Instant)> {
        self.0.as_ref().map(|(value, at)| (value, *at))
    }

    /// Drops the value if it is older than `max_age`. Returns whether it did.
    pub(super) fn expire(&mut self, now: Now, max_age: Duration) -> bool {
        self.0.take_if(|(_, at)| now.mono.duration_since(*at) > max_age).is_some()
    }
}

/// Status of the polls of one target.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PollStatus {
    /// Whether an attempt has ended, successful or not.
    pub(super) attempted: bool,
    /// Whether the last attempt failed or returned an incomplete list.
    pub(super) failing: bool,
    /// Time of the last success. Kept when the value expires.
    pub(super) last_success: Option<UnixMillis>,
    empty: EmptyCheck,
}

impl PollStatus {
    pub(super) fn succeeded(&mut self, now: Now) {
        self.attempted = true;
        self.failing = false;
        self.last_success = Some(now.wall);
    }

    pub(super) fn failed(&mut self) {
        self.attempted = true;
        self.failing = true;
    }

    /// Records the response to a list action. Returns whether to apply the list.
    pub(super) fn record_list<T>(
        &mut self,
        list: &Listing<T>,
        knows_items: bool,
        content: &str,
        now: Now,
        effects: &mut Effects,
    ) -> bool {
        let is_empty = list.items.is_empty() && list.complete;
        if !self.record_unless_empty(is_empty && knows_items, content, effects) {
            return false;
        }
        self.succeeded(now);
        self.failing = !list.complete;
        effects.retry_soon = !list.complete;
        true
    }

    /// Records a response, where `vanished` means that it is empty although items are known. Returns whether to
    /// apply it. A response that is not applied counts as an attempt and as an anomaly.
    pub(super) fn record_unless_empty(
        &mut self,
        vanished: bool,
        content: &str,
        effects: &mut Effects,
    ) -> bool {
        let accepted = self.empty.record(vanished);
        if !accepted {
            self.attempted = true;
            self.failing = false;
            effects.anomalies.push(Anomaly {
                kind: AnomalyKind::EmptyList,
                detail: format!(
                    "the list of {content} is empty, retrying before its known items are dropped"
                ),
            });
        }
        accepted
    }
}

/// Rule for lists that are suddenly empty: the API may return an empty list by mistake, so only the second in
/// a row is accepted.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::collect) struct EmptyCheck {
    is_doubted: bool,
}

impl EmptyCheck {
    /// Records a list, where `vanished` means that it is empty although items are known. Returns whether to accept it.
    pub(in crate::collect) fn record(&mut self, vanished: bool) -> bool {
        self.is_doubted = vanished && !self.is_doubted;
        !self.is_doubted
    }
}
