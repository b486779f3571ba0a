//! Whether anything of a group or topic moves, and so what pace it deserves.

use crate::{collect::PollPriority, lag::GroupLag};

/// So many answers in a row that tell nothing new make a target one of which nothing moves.
const STILL: u8 = 5;

/// What successive answers to one target have told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ActivityTracker {
    /// Answers in a row that told nothing new.
    still: u8,
    /// An answer has told something new since the first.
    seen: bool,
}

impl ActivityTracker {
    /// An answer has come; `moved` is whether it tells other offsets than the one before, `None` if there
    /// is none to compare with.
    pub(super) fn heard(&mut self, moved: Option<bool>) {
        match moved {
            Some(true) => *self = Self { still: 0, seen: true },
            Some(false) => self.still = self.still.saturating_add(1),
            None => self.still = 0,
        }
    }

    /// The pace of a group with this lag. One that is stuck with lag does not decay: it is what people wait
    /// for to move. Nor does one whose lag is not known.
    pub(super) fn of_group(self, lag: &GroupLag) -> PollPriority {
        let lags = lag.messages.is_some_and(|messages| messages > 0);
        match (lags, self.still >= STILL) {
            (true, false) if self.seen => PollPriority::Lagging,
            (false, true) if lag.messages == Some(0) => PollPriority::Idle,
            _ => PollPriority::Active,
        }
    }

    /// The pace of a topic; `told` is whether groups tell all of its end offsets.
    pub(super) fn of_topic(self, told: bool) -> PollPriority {
        if told || self.still >= STILL { PollPriority::Idle } else { PollPriority::Active }
    }
}
