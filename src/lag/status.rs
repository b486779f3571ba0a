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

/// Seconds between the cloud's reading of an end and of a committed offset in one answer, at the most.
const APART: f64 = 5.0;

/// Messages by which a group that keeps up may seem to be past the end, as the end is read first.
#[must_use]
pub fn skew(track: Option<&TopicTrack>) -> i64 {
    let produced = track.and_then(TopicTrack::rates).map_or(0.0, |rates| rates.produced);
    (produced * APART) as i64
}

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

/// Why a partition has the status that it has, or has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// None: there is no offset to judge.
    NothingCommitted,
    /// Data loss.
    BeforeTheStart,
    /// Rewound.
    PastTheEnd,
    /// Rewound.
    FellBack,
    /// Stalled.
    StandsStill,
    /// Stopped.
    StandsStillWithoutMembers,
    /// Ok.
    Moves,
    /// None.
    TooFewAnswers,
    /// None.
    StandsStillTooShortly,
}

impl Rule {
    /// The first rule that fires on one partition. `start` is its oldest offset; whether it stands still for the
    /// window is `stuck`.
    ///
    /// That lag grows is not told of one partition: a group reads them in turns. By up to `skew` messages a committed
    /// offset may be past the end of the same answer; see [`skew`].
    #[must_use]
    pub fn of_partition(
        lag: &PartitionLag,
        start: Option<Offset>,
        track: Option<PartitionTrack>,
        stuck: bool,
        state: Option<GroupState>,
        skew: i64,
    ) -> Self {
        let Some(committed) = lag.committed else { return Self::NothingCommitted };
        let is_lost = start.is_some_and(|start| committed < start);
        // The two are read one after the other: what was committed between is no word of a topic that was created anew.
        let is_past_the_end = lag.end.is_some_and(|end| committed.minus(end) > skew);
        // What two answers tell is not known of a partition whose lag this one does not tell.
        let track = track.filter(|t| t.polls > 0);
        let knows_enough = track.is_some_and(|t| t.polls >= LEAST_POLLS);
        if is_lost {
            Self::BeforeTheStart
        } else if is_past_the_end {
            Self::PastTheEnd
        } else if track.is_some_and(|t| t.rewind.is_some()) {
            Self::FellBack
        } else if stuck {
            let is_empty = state.is_some_and(|state| !state.has_members());
            if is_empty { Self::StandsStillWithoutMembers } else { Self::StandsStill }
        } else if !knows_enough {
            Self::TooFewAnswers
        } else if track.is_some_and(|t| t.was_moving) {
            // A run shorter than the window, before which something moved: something moved within the window.
            Self::Moves
        } else {
            Self::StandsStillTooShortly
        }
    }

    /// The status that it makes.
    #[must_use]
    pub fn status(self) -> Option<Status> {
        match self {
            Self::BeforeTheStart => Some(Status::DataLoss),
            Self::PastTheEnd | Self::FellBack => Some(Status::Rewound),
            Self::StandsStillWithoutMembers => Some(Status::Stopped),
            Self::StandsStill => Some(Status::Stalled),
            Self::Moves => Some(Status::Ok),
            Self::NothingCommitted | Self::TooFewAnswers | Self::StandsStillTooShortly => None,
        }
    }

    /// The rule in a sentence for people.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NothingCommitted => "The group has no committed offset here.",
            Self::BeforeTheStart => "The committed offset is before the oldest message that is held.",
            Self::PastTheEnd => "The committed offset is past the end of the partition.",
            Self::FellBack => "The committed offset fell back within the window, and has not made up for it.",
            Self::StandsStill => {
                "There has been lag, and the same committed offset, for at least the window, and the group has \
                 members, or does not tell."
            }
            Self::StandsStillWithoutMembers => {
                "There has been lag, and the same committed offset, for at least the window, and the group has no \
                 members."
            }
            Self::Moves => "The committed offset moved, or there was no lag, within the window.",
            Self::TooFewAnswers => "Fewer than 5 answers in a row have told the lag.",
            Self::StandsStillTooShortly => {
                "There has been lag, and the same committed offset, ever since it was first seen, which is shorter \
                 than the window."
            }
        }
    }
}

#[cfg(test)]
mod tests;
