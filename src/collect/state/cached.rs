//! A value that answers refresh and failures do not: its age, its last outcome, and doubt about emptiness.

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use crate::model::UnixMillis;

/// A moment on both clocks: ages are measured on the monotonic one, the wall clock is only shown.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For ages.
    pub mono: Instant,
    /// For `*_timestamp_seconds`.
    pub wall: UnixMillis,
}

/// How the attempts at one target went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PollStatus {
    /// An attempt has ended, good or bad.
    pub(super) attempted: bool,
    /// The last attempt was not complete.
    pub(super) failing: bool,
    /// The last answer was empty where there had been objects; the next empty one is believed.
    pub(super) doubted: bool,
    /// When an attempt last succeeded. Stays when the value is dropped.
    pub(super) last_success: Option<UnixMillis>,
}

impl PollStatus {
    pub(super) fn succeeded(&mut self, now: Now) {
        *self = Self { attempted: true, failing: false, doubted: false, last_success: Some(now.wall) };
    }

    /// An answer that is not whole: what it tells is taken, what it lacks is not believed to be gone.
    pub(super) fn incomplete(&mut self, now: Now) {
        *self = Self { attempted: true, failing: true, doubted: false, last_success: Some(now.wall) };
    }

    pub(super) fn failed(&mut self) {
        self.attempted = true;
        self.failing = true;
    }

    /// An empty answer where there were objects. Returns whether to believe it: the second time in a row.
    pub(super) fn emptied(&mut self) -> bool {
        let believe = self.doubted;
        self.attempted = true;
        self.failing = false;
        self.doubted = !believe;
        believe
    }
}

/// The last value of a target, kept for a bounded time when it cannot be refreshed.
#[derive(Debug, Clone)]
pub(super) struct Cached<T> {
    value: Option<(Arc<T>, Instant)>,
    pub(super) record: PollStatus,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self { value: None, record: PollStatus::default() }
    }
}

impl<T> Cached<T> {
    pub(super) fn set(&mut self, value: T, now: Now) {
        self.value = Some((Arc::new(value), now.mono));
        self.record.succeeded(now);
    }

    pub(super) fn get(&self) -> Option<&Arc<T>> {
        self.value.as_ref().map(|(value, _)| value)
    }

    /// The value and when it was told.
    pub(super) fn with_time(&self) -> Option<(&Arc<T>, Instant)> {
        self.value.as_ref().map(|(value, at)| (value, *at))
    }

    /// Drops the value if it is older than `hold`. Returns whether it did.
    pub(super) fn expire(&mut self, now: Now, hold: Duration) -> bool {
        self.value.take_if(|(_, at)| now.mono.duration_since(*at) > hold).is_some()
    }
}
