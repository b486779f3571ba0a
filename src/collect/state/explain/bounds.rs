//! The two bounds of an age, term by term: what each says, or why it says nothing, and which one is shown.

use super::{Bound, Legend, Term, seconds};
use crate::{
    lag::{
        PartitionLag,
        bounds::{BoundTerms, TimeBounds, bound_terms},
        facts::TopicFacts,
    },
    model::{Cleanup, MessageTimestamps, TimeSpan},
};

const LAST_CONSUMED: &str = "last_consumed";
const NOT_WRITTEN_AT: &str = "not_written_at";
const LAST_WRITE: &str = "last_write";
const WRITTEN_AT: &str = "written_at";

const CEILING: &str = "lag_seconds";
const FLOOR: &str = "lag_floor_seconds";

/// What the terms mean.
pub(super) const LEGEND: [Legend; 4] = [
    Legend {
        term: LAST_CONSUMED,
        of: CEILING,
        since: "the last message that was read was stored (LastTimestamp)",
    },
    Legend {
        term: NOT_WRITTEN_AT,
        of: CEILING,
        since: "the newest poll at which the partition ended at or before the first unread message",
    },
    Legend { term: LAST_WRITE, of: FLOOR, since: "the newest message was written (LastUpdateTimestamp)" },
    Legend {
        term: WRITTEN_AT,
        of: FLOOR,
        since: "the oldest poll at which the partition ended past the first unread message",
    },
];

/// What a partition is judged by.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    /// When the answer was true.
    pub(super) now: TimeSpan,
    /// Whether it was asked for `LastTimestamp`.
    pub(super) asked: MessageTimestamps,
    /// What is known of the topic.
    pub(super) facts: &'a TopicFacts<'a>,
}

/// Ceiling and floor. `shown` is what the page has.
pub(super) fn of(lag: &PartitionLag, shown: TimeBounds, sight: Sight<'_>) -> (Bound, Bound) {
    let terms = bound_terms(lag, sight.now, sight.facts);
    let nothing = match lag.messages {
        None => Some("an offset is not known"),
        Some(0) => Some("all is read"),
        // The answer tells of messages, the status of none that is still held.
        Some(_) if shown == TimeBounds::ZERO && terms == BoundTerms::default() => {
            Some("all that was unread is deleted")
        }
        Some(_) => None,
    };
    let why = Why { lag, sight };
    let term = |name, millis: Option<u64>, absent: &'static str| Term {
        term: name,
        seconds: millis.map(seconds),
        absent: millis.is_none().then(|| nothing.unwrap_or(absent)),
    };
    let ceiling = [
        term(LAST_CONSUMED, terms.last_consumed, why.no_last_consumed()),
        term(NOT_WRITTEN_AT, terms.not_written_at, why.no_poll_before()),
    ];
    let floor = [
        term(LAST_WRITE, terms.last_write, why.no_last_write()),
        term(WRITTEN_AT, terms.written_at, why.no_poll_after()),
    ];
    let all = [
        (LAST_CONSUMED, terms.last_consumed),
        (NOT_WRITTEN_AT, terms.not_written_at),
        (LAST_WRITE, terms.last_write),
        (WRITTEN_AT, terms.written_at),
    ];
    let is_withheld =
        nothing.is_none() && shown == TimeBounds::default() && all.iter().any(|(_, t)| t.is_some());
    // Bounds that are apart by no more than the grain of clocks are told in the order of their size, so either may
    // come from a term of the other. Its own come first.
    let from = |shown: Option<u64>, own: [usize; 2]| {
        let is_it = |i: &usize| all.get(*i).is_some_and(|(_, term)| term.is_some() && *term == shown);
        let found = own.into_iter().chain(0..all.len()).find(is_it).and_then(|i| all.get(i));
        match (nothing, shown) {
            (Some(nothing), Some(_)) => Some(nothing),
            (_, None) if is_withheld => Some("the floor is past the ceiling: both are withheld"),
            (_, None) => None,
            (None, Some(0)) if found.is_none() => Some("the answer itself: it tells of unread messages"),
            (None, Some(_)) => Some(found.map_or("what was remembered then", |(name, _)| *name)),
        }
    };
    (
        Bound { seconds: shown.upper.map(seconds), from: from(shown.upper, [0, 1]), terms: ceiling },
        Bound { seconds: shown.lower.map(seconds), from: from(shown.lower, [2, 3]), terms: floor },
    )
}

/// Why a term says nothing.
struct Why<'a> {
    lag: &'a PartitionLag,
    sight: Sight<'a>,
}

const DISBELIEVED: &str = "not believed: message times contradict what polls have seen";
const NO_HISTORY: &str = "no history: no poll of the partition is remembered";

impl Why<'_> {
    fn is_believed(&self) -> bool {
        let history = self.sight.facts.ends;
        history.is_none_or(|history| history.trusts_timestamps(self.lag.partition, self.sight.now))
    }

    fn has_history(&self) -> bool {
        self.sight.facts.ends.is_some_and(|history| history.newest(self.lag.partition).is_some())
    }

    fn no_last_consumed(&self) -> &'static str {
        match (self.lag.last_consumed, self.sight.asked) {
            (None, MessageTimestamps::NotRequested) => "hidden: the answer was asked for without times",
            (None, MessageTimestamps::Requested) => "not told",
            (Some(_), _) if !self.is_believed() => DISBELIEVED,
            (Some(_), _) => "later than the answer itself",
        }
    }

    fn no_poll_before(&self) -> &'static str {
        if self.has_history() {
            "every poll that is remembered has seen the partition end past the first unread message, or is of \
             another life of the topic"
        } else {
            NO_HISTORY
        }
    }

    fn no_last_write(&self) -> &'static str {
        let status = self.sight.facts.status.and_then(|status| status.partition(self.lag.partition));
        match status {
            None => "the topic's status is not known",
            Some(status) if status.last_write.is_none() => "not told",
            Some(_) if !self.is_believed() => DISBELIEVED,
            Some(status) if status.end > self.lag.end => "the status is younger than the answer",
            Some(_) => "its newest message has been read, or may be deleted by now",
        }
    }

    fn no_poll_after(&self) -> &'static str {
        if !self.has_history() {
            NO_HISTORY
        } else if self.sight.facts.cleanup == Some(Cleanup::Compact) {
            "the topic is compacted: what was written then may be gone"
        } else {
            "no poll that is remembered has seen the partition end past an unread message that is surely held"
        }
    }
}
