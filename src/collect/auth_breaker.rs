//! Whether anything but the list of instances is worth asking for: not while the key itself is refused.
//! Pure.
//!
//! A refusal of the key that another target hears is a suspicion at first, as it may be about that one object.
//! The list of instances is asked, and decides.

use super::{PollTarget, state::PollOutcome};
use crate::api::{ApiError, ErrorKind};

/// Opened by any answer to the list of instances but a refusal of the key.
#[derive(Debug, Default)]
pub(super) enum AuthBreaker {
    /// Everything is asked for.
    #[default]
    Closed,
    /// This target was told that the key is refused; the list is asked.
    Suspected(Box<(PollTarget, ApiError)>),
    /// The list was refused too.
    Open,
}

/// What an outcome means for the gate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AuthSignal {
    /// Nothing: it is like any other.
    Unrelated,
    /// The key may be refused: the list is to be asked at once.
    Suspected,
    /// One more refusal of which is known.
    Rejected,
    /// The list is answered: the refusal was about this target alone.
    Cleared(Box<(PollTarget, ApiError)>),
}

impl AuthBreaker {
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Takes what came of an attempt; `None` if it panicked.
    pub(super) fn hear(&mut self, target: &PollTarget, outcome: Option<&PollOutcome>) -> AuthSignal {
        let refusal = match outcome {
            Some(Err(error)) if error.kind == (ErrorKind::Auth { key: true }) => Some(error),
            _ => None,
        };
        match (target, refusal) {
            (PollTarget::Instances, Some(_)) => {
                *self = Self::Open;
                AuthSignal::Unrelated
            }
            (PollTarget::Instances, None) => match std::mem::take(self) {
                Self::Suspected(of) => AuthSignal::Cleared(of),
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
