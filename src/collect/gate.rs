//! Whether anything but the list of instances is worth asking for: not while the key itself is refused.
//! Pure.
//!
//! A refusal of the key that another unit hears is a suspicion at first, as it may be about that one object.
//! The list of instances is asked, and decides.

use super::{Unit, fleet::Outcome};
use crate::api::{Error, Kind};

/// Opened by any answer to the list of instances but a refusal of the key.
#[derive(Debug, Default)]
pub(super) enum Gate {
    /// Everything is asked for.
    #[default]
    Open,
    /// This unit was told that the key is refused; the list is asked.
    Suspected(Box<(Unit, Error)>),
    /// The list was refused too.
    Closed,
}

/// What an outcome means for the gate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing: it is like any other.
    Nothing,
    /// The key may be refused: the list is to be asked at once.
    Suspicion,
    /// One more refusal of which is known.
    Known,
    /// The list is answered: the refusal was about this unit alone.
    Unfounded(Box<(Unit, Error)>),
}

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Takes what came of an attempt; `None` if it panicked.
    pub(super) fn hear(&mut self, unit: &Unit, outcome: Option<&Outcome>) -> Heard {
        let refusal = match outcome {
            Some(Err(error)) if error.kind == (Kind::Auth { key: true }) => Some(error),
            _ => None,
        };
        match (unit, refusal) {
            (Unit::Instances, Some(_)) => {
                *self = Self::Closed;
                Heard::Nothing
            }
            (Unit::Instances, None) => match std::mem::take(self) {
                Self::Suspected(of) => Heard::Unfounded(of),
                Self::Open | Self::Closed => Heard::Nothing,
            },
            (unit, Some(error)) if self.is_open() => {
                *self = Self::Suspected(Box::new((unit.clone(), error.clone())));
                Heard::Suspicion
            }
            (_, Some(_)) => Heard::Known,
            (_, None) => Heard::Nothing,
        }
    }
}
