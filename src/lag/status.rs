//! What is the matter with a group on a topic, in one word. Pure.
//!
//! Owns: the rules, and how they are joined. Refuses: words for what it has seen too little of.

use std::time::Duration;

use super::{
    PartitionLag,
    track::{PartitionTrack, TopicTrack},
};
use crate::model::{GroupState, Offset};

/// Answers that it takes to say that nothing is the matter, or that lag grows.
pub const LEAST_POLLS: u8 = 5;

/// Lag that grows by less than this share of what was written is how commits and polls meet.
const NOISE: f64 = 0.01;

/// The status of a group, or of a group on one topic; a later one is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// All is read at some point of the window, or lag does not grow.
    Ok,
    /// The offset advances, and lag grows.
    Lagging,
    /// There is lag throughout the window, the offset stands still, and the group has members.
    Stalled,
    /// The same, and the group has none.
    Stopped,
    /// The offset fell back, or is past the end.
    Rewound,
    /// Messages were deleted before they were read.
    DataLoss,
}

impl Status {
    /// The value on the page.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// A word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Lagging => "lagging",
            Self::Stalled => "stalled",
            Self::Stopped => "stopped",
            Self::Rewound => "rewound",
            Self::DataLoss => "data loss",
        }
    }

    /// The status of one partition, and whether it stands still is `stuck`. `start` is its oldest offset.
    ///
    /// That lag grows is not told of one partition: a group reads them in turns.
    pub(super) fn of_partition(
        lag: &PartitionLag,
        start: Option<Offset>,
        track: Option<PartitionTrack>,
        stuck: bool,
        state: Option<GroupState>,
    ) -> Option<Self> {
        let committed = lag.committed?;
        let is_lost = start.is_some_and(|start| committed < start);
        let is_past_the_end = lag.end.is_some_and(|end| committed > end);
        // What two answers tell is not known of a partition whose lag this one does not tell.
        let track = track.filter(|t| t.polls > 0);
        let is_rewound = track.is_some_and(|t| t.rewind.is_some());
        // A run shorter than the window, before which something moved: something moved within the window.
        let moves = track.is_some_and(|t| t.polls >= LEAST_POLLS && t.was_moving);
        if is_lost {
            Some(Self::DataLoss)
        } else if is_past_the_end || is_rewound {
            Some(Self::Rewound)
        } else if stuck {
            let is_empty = state.is_some_and(|state| !state.has_members());
            Some(if is_empty { Self::Stopped } else { Self::Stalled })
        } else {
            moves.then_some(Self::Ok)
        }
    }

    /// Whether a group lags on a topic as a whole: it reads, is never done, and has more to read all the time.
    pub(super) fn is_lagging(track: &TopicTrack, window: Duration) -> bool {
        let (consumed, produced) = track.totals();
        let grows = |trend: super::track::Trend| {
            trend.rises() && trend.growth >= 1.0 && trend.growth >= produced as f64 * NOISE
        };
        track.polls() >= LEAST_POLLS
            && consumed > 0
            && !track.was_caught_up(window)
            && track.lag_trend().is_some_and(grows)
    }
}

#[cfg(test)]
mod tests;
