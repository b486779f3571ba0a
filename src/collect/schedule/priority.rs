//! Priority of a poll target, derived from what its successive responses show.

use crate::lag::GroupLag;

/// Consecutive responses without a change after which a group or topic counts as idle.
const UNCHANGED_UNTIL_IDLE: u8 = 5;

/// Importance of fresh data about a target, most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PollPriority {
    /// A group with lag whose offsets move: it catches up or falls behind.
    Lagging,
    /// A target that changed recently, is not known well enough, or has lag and an unchanged offset.
    Active,
    /// A target without recent changes, or a topic whose end offsets its groups report.
    Idle,
}

impl PollPriority {
    /// All priorities, most important first.
    pub const ALL: [Self; 3] = [Self::Lagging, Self::Active, Self::Idle];
}

/// Tracks whether the successive responses about one group or topic differ.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::collect) struct ActivityTracker {
    /// Consecutive responses without a change.
    unchanged: u8,
    /// Whether any response has differed from the one before it.
    has_changed: bool,
}

impl ActivityTracker {
    /// Records a response. `changed` is `None` if there is no earlier one to compare it with.
    pub(in crate::collect) fn record(&mut self, changed: Option<bool>) {
        match changed {
            Some(true) => *self = Self { unchanged: 0, has_changed: true },
            Some(false) => self.unchanged = self.unchanged.saturating_add(1),
            None => self.unchanged = 0,
        }
    }

    /// Returns the priority of a group with this lag. A group with lag and unchanged offsets does not become
    /// idle, because operators wait for it to move. Neither does a group whose lag is unknown.
    pub(in crate::collect) fn group_priority(self, lag: &GroupLag) -> PollPriority {
        match lag.messages {
            Some(0) if self.is_idle() => PollPriority::Idle,
            Some(1..) if !self.is_idle() && self.has_changed => PollPriority::Lagging,
            _ => PollPriority::Active,
        }
    }

    /// Returns the priority of a topic. `ends_reported` is whether groups report all of its end offsets.
    pub(in crate::collect) fn topic_priority(self, ends_reported: bool) -> PollPriority {
        if ends_reported || self.is_idle() { PollPriority::Idle } else { PollPriority::Active }
    }

    fn is_idle(self) -> bool {
        self.unchanged >= UNCHANGED_UNTIL_IDLE
    }
}
