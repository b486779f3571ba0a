//! Time and identity of an API response.

use std::sync::Arc;

use serde::Serialize;

use super::UnixMillis;

/// Time span by the clock of the service. The numbers of a response were read at some unknown moment within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimeSpan {
    earliest: UnixMillis,
    latest: UnixMillis,
}

impl TimeSpan {
    /// Creates the span between two moments, in either order.
    #[must_use]
    pub fn new(a: UnixMillis, b: UnixMillis) -> Self {
        Self { earliest: a.min(b), latest: a.max(b) }
    }

    /// Creates the span of a moment that is known exactly.
    #[must_use]
    pub fn at(moment: UnixMillis) -> Self {
        Self { earliest: moment, latest: moment }
    }

    /// Earliest possible moment.
    #[must_use]
    pub fn earliest(self) -> UnixMillis {
        self.earliest
    }

    /// Latest possible moment.
    #[must_use]
    pub fn latest(self) -> UnixMillis {
        self.latest
    }
}

/// Origin of an API response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResponseOrigin {
    /// Time at which the numbers were read, by the clock of the service: from the response's `Date` and what
    /// other responses revealed about that clock. By the clock of this host if no response had a `Date` yet.
    #[serde(flatten)]
    pub span: TimeSpan,
    /// `RequestId`, for the vendor's support. At most 64 letters, digits, `-` and `_`.
    pub request_id: Option<Arc<str>>,
}

/// Whether a `GetConsumerProgress` requests `LastTimestamp`, which is expensive for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageTimestamps {
    /// `HideLastTimestamp=false`.
    Requested,
    /// `HideLastTimestamp=true`.
    NotRequested,
}
