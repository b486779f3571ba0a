//! Circuit breaker for rejected credentials: while it is open, only the instance list is polled. Pure.
//!
//! An authentication error of another target is only a suspicion, because it may concern that one object. The
//! next poll of the instance list decides.

use super::{PollTarget, state::PollOutcome};
use crate::api::{ApiError, ErrorKind};

/// State of the breaker. Any response to the instance list other than an authentication error closes it.
#[derive(Debug, Default)]
pub(super) enum AuthBreaker {
    /// All targets are polled.
    #[default]
    Closed,
    /// This target got an authentication error. The instance list is being polled.
    Suspected(Box<(PollTarget, ApiError)>),
    /// The instance list got an authentication error too.
    Open,
}

/// Meaning of a poll outcome for the breaker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AuthSignal {
    /// Log the outcome as usual: it is not an authentication error, it is one of the instance list itself, or it
    /// concerns a target that was cleared recently.
    Unrelated,
    /// The credentials may be rejected. The instance list is to be polled now.
    Suspected,
    /// One more authentication error while the breaker is not closed.
    Rejected,
    /// The instance list got no authentication error, so the suspected error concerns this target alone.
    Cleared(Box<(PollTarget, ApiError)>),
}

impl AuthBreaker {
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Records the outcome of a poll; `None` if it panicked.
    pub(super) fn record(&mut self, target: &PollTarget, outcome: Option<&PollOutcome>) -> AuthSignal {
        let rejection = match outcome {
            Some(Err(error)) if error.kind == (ErrorKind::Auth { key: true }) => Some(error),
            _ => None,
        };
        match (target, rejection) {
            (PollTarget::Instances, Some(_)) => {
                *self = Self::Open;
                AuthSignal::Unrelated
            }
            (PollTarget::Instances, None) => match std::mem::take(self) {
                Self::Suspected(suspect) => AuthSignal::Cleared(suspect),
                Self::Closed | Self::Open => AuthSignal::Unrelated,
            },
            (target, Some(error)) if self.is_closed() => {
                *self = Self::Suspected(Box::new((target.clone(), error.clone())));
                AuthSignal::Suspected
            }
            (_, Some(_)) => AuthSignal::Rejected,
            (_, None) => AuthSignal::Unrelated,
        }
    }
}
