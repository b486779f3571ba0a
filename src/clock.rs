//! The only reader of the wall clock. Everything else gets the time as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::UnixMillis;

/// A source of wall time that can be replaced in tests.
pub type WallClock = fn() -> UnixMillis;

/// The wall time now.
#[must_use]
pub fn unix_now() -> UnixMillis {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A host whose clock stands before 1970 is taken to stand just after it: there is no better answer.
    let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX).max(1);
    UnixMillis::new(millis).unwrap_or_else(|| unreachable!("a positive number is a time"))
}
