//! When, by the cloud's own clock, an answer was true, and which answer it was.

use std::sync::Arc;

use super::UnixMillis;

/// A stretch of the cloud's clock. Numbers of an answer were read at a moment in it; which one, nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    earliest: UnixMillis,
    latest: UnixMillis,
}

impl Span {
    /// The stretch between two moments, in either order.
    #[must_use]
    pub fn new(a: UnixMillis, b: UnixMillis) -> Self {
        Self { earliest: a.min(b), latest: a.max(b) }
    }

    /// A moment that is known exactly.
    #[must_use]
    pub fn at(moment: UnixMillis) -> Self {
        Self { earliest: moment, latest: moment }
    }

    /// The first moment that it may have been.
    #[must_use]
    pub fn earliest(self) -> UnixMillis {
        self.earliest
    }

    /// The last moment that it may have been.
    #[must_use]
    pub fn latest(self) -> UnixMillis {
        self.latest
    }
}

/// Where an answer comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// When its numbers were read, by the cloud's clock: its `Date` and what other answers told of that clock.
    /// Of an answer without a `Date`, before any other had one, it is by the clock of this host.
    pub span: Span,
    /// `RequestId`: what the vendor's support asks for. At most 64 letters, digits, `-` and `_`.
    pub request_id: Option<Arc<str>>,
}

/// Whether an answer of `GetConsumerProgress` is to tell `LastTimestamp`, which costs the cloud more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// `HideLastTimestamp=false`.
    Told,
    /// `HideLastTimestamp=true`.
    Hidden,
}
