//! Status of a group on a topic or partition, and the rule that decided it. Pure.
//!
//! Owns: the rules and their order. With too few polls there is no status. Out of scope: combining the parts, see
//! [`super::assess`].

use std::time::Duration;

use serde::Serialize;

use super::{
    PartitionLag,
    window::{PartitionWindow, TopicWindow},
};
use crate::model::{GroupState, Offset};

#[cfg(test)]
mod tests;

/// Minimum number of polls for the statuses `ok` and `lagging`. The other statuses need fewer: `stalled` and `stopped`
/// need lag and an unchanged offset for the length of the window, however few polls it contains.
pub const MIN_POLLS: u8 = 5;

/// Lag growth below this share of the produced messages is noise, because commits and polls interfere.
const NOISE: f64 = 0.01;

/// Maximum seconds between the reads of an end offset and of a committed offset for one response.
const MAX_SKEW_SECONDS: f64 = 5.0;

/// Status of a group, topic or partition. A later one is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The lag reached 0 within the window, or does not grow.
    Ok,
    /// The offset advances, and the lag grows.
    Lagging,
    /// Lag throughout the window, the offset is unchanged, and the group has members.
    Stalled,
    /// Lag throughout the window, the offset is unchanged, and the group has no members.
    Stopped,
    /// The offset moved back, or is beyond the end.
    Rewound,
    /// Messages were deleted before the group read them.
    #[serde(rename = "data loss")]
    DataLoss,
}

impl Status {
    /// Returns the value of the status metrics.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// Whether a group is lagging on a topic: it consumes, never catches up, and its lag grows by more than noise.
///
/// This is decided for the topic, because a group may read its partitions in turn.
pub(super) fn is_lagging(window: &TopicWindow, status_window: Duration) -> bool {
    let (consumed, produced) = window.totals();
    window.polls() >= MIN_POLLS
        && consumed > 0
        && !window.was_caught_up(status_window)
        && window.lag_trend().is_some_and(|trend| {
            trend.is_rising() && trend.growth >= 1.0 && trend.growth >= produced as f64 * NOISE
        })
}

/// Returns the number of messages by which the committed offset may exceed the end offset of the same response,
/// because the service reads the end offset first.
pub(super) fn max_offset_skew(window: Option<&TopicWindow>) -> i64 {
    let produced = window.and_then(TopicWindow::rates).map_or(0.0, |rates| rates.produced);
    (produced * MAX_SKEW_SECONDS) as i64
}

/// Rule that decided the status of a partition, or why the status is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StatusRule {
    /// The group has not committed an offset on the partition.
    NoCommittedOffset,
    /// The committed offset is before the start offset.
    BeforeStart,
    /// The committed offset exceeds the end offset by more than `max_skew`.
    BeyondEnd,
    /// The committed offset moved back within the window and has not reached its earlier value again.
    MovedBack,
    /// Lag and an unchanged offset for at least the window. The group has members, or its state is unknown.
    UnchangedWithMembers,
    /// Lag and an unchanged offset for at least the window. The group has no members.
    UnchangedWithoutMembers,
    /// The committed offset moved, or there was no lag, within the window.
    Moving,
    /// Fewer than [`MIN_POLLS`] consecutive polls with a known lag.
    #[default]
    TooFewPolls,
    /// Lag and an unchanged offset since the first poll, for less than the window.
    UnchangedTooShortly,
}

impl StatusRule {
    /// Returns the first rule that applies to a partition. `start` is its start offset, `max_skew` the result
    /// of [`max_offset_skew`].
    pub(super) fn evaluate(
        lag: &PartitionLag,
        start: Option<Offset>,
        window: Option<PartitionWindow>,
        state: Option<GroupState>,
        max_skew: i64,
    ) -> Self {
        let Some(committed) = lag.committed else { return Self::NoCommittedOffset };
        // Earlier polls do not count if the last one reports no lag for the partition.
        let window = window.filter(|w| w.polls > 0);
        if start.is_some_and(|start| committed < start) {
            Self::BeforeStart
        } else if lag.end.is_some_and(|end| committed.minus(end) > max_skew) {
            Self::BeyondEnd
        } else if window.is_some_and(|w| w.rewind.is_some()) {
            Self::MovedBack
        } else if window.is_some_and(|w| w.is_unchanged_with_lag) {
            let has_members = state.is_none_or(GroupState::has_members);
            if has_members { Self::UnchangedWithMembers } else { Self::UnchangedWithoutMembers }
        } else if window.is_none_or(|w| w.polls < MIN_POLLS) {
            Self::TooFewPolls
        } else if window.is_some_and(|w| w.was_moving) {
            // The offset has been unchanged for less than the window and moved before, so it moved within the window.
            Self::Moving
        } else {
            Self::UnchangedTooShortly
        }
    }

    /// Returns the resulting status.
    #[must_use]
    pub fn status(self) -> Option<Status> {
        match self {
            Self::BeforeStart => Some(Status::DataLoss),
            Self::BeyondEnd | Self::MovedBack => Some(Status::Rewound),
            Self::UnchangedWithoutMembers => Some(Status::Stopped),
            Self::UnchangedWithMembers => Some(Status::Stalled),
            Self::Moving => Some(Status::Ok),
            Self::NoCommittedOffset | Self::TooFewPolls | Self::UnchangedTooShortly => None,
        }
    }

    /// Returns a sentence that describes the rule.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::NoCommittedOffset => "The group has no committed offset on this partition.",
            Self::BeforeStart => "The committed offset is before the oldest message that is retained.",
            Self::BeyondEnd => "The committed offset is beyond the end of the partition.",
            Self::MovedBack => {
                "The committed offset moved back within the window and has not reached its earlier value again."
            }
            Self::UnchangedWithMembers => {
                "The partition has had lag and an unchanged committed offset for at least the window, and the group \
                 has members or does not report them."
            }
            Self::UnchangedWithoutMembers => {
                "The partition has had lag and an unchanged committed offset for at least the window, and the group \
                 has no members."
            }
            Self::Moving => "The committed offset moved, or there was no lag, within the window.",
            Self::TooFewPolls => "Fewer than 5 consecutive polls have reported the lag.",
            Self::UnchangedTooShortly => {
                "The partition has had lag and an unchanged committed offset since its first poll, which is shorter \
                 than the window."
            }
        }
    }
}
