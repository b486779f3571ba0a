//! The only reader of the wall clock. All other code gets the time as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::UnixMillis;

/// A source of wall time that tests can replace.
pub type WallClock = fn() -> UnixMillis;

/// Returns the wall time. A clock before 1970 counts as just after its beginning.
#[must_use]
pub fn unix_now() -> UnixMillis {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX).max(1);
    UnixMillis::new(millis).unwrap_or_else(|| unreachable!("a positive number is a time"))
}
