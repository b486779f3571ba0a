//! Explanation of the two bounds of a partition's lag in seconds: the value of each term, or why it is missing, and the
//! term that decides.

use serde::Serialize;

use super::group::seconds;
use crate::{
    lag::{
        PartitionLag,
        bounds::{BoundCandidates, TimeBounds, bound_candidates},
        facts::TopicFacts,
    },
    model::{Cleanup, MessageTimestamps, TimeSpan},
};

const LAST_CONSUMED: &str = "last_consumed";
const NOT_WRITTEN_AT: &str = "not_written_at";
const LAST_WRITE: &str = "last_write";
const WRITTEN_AT: &str = "written_at";

const UPPER: &str = "lag_seconds";
const LOWER: &str = "lag_floor_seconds";

/// Meaning of each term.
pub(super) const LEGEND: [TermLegend; 4] = [
    TermLegend {
        term: LAST_CONSUMED,
        of: UPPER,
        since: "the last consumed message was stored (LastTimestamp)",
    },
    TermLegend {
        term: NOT_WRITTEN_AT,
        of: UPPER,
        since: "the latest poll at which the end offset was at or before the first unread message",
    },
    TermLegend { term: LAST_WRITE, of: LOWER, since: "the newest message was written (LastUpdateTimestamp)" },
    TermLegend {
        term: WRITTEN_AT,
        of: LOWER,
        since: "the earliest poll at which the end offset was beyond the first unread message",
    },
];

/// Meaning of a term: the time since an event.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct TermLegend {
    term: &'static str,
    /// Bound that the term belongs to.
    of: &'static str,
    since: &'static str,
}

/// Explanation of a bound.
#[derive(Debug, Serialize)]
pub(super) struct BoundExplanation {
    seconds: Option<f64>,
    /// Deciding term, or why there is none.
    from: Option<&'static str>,
    terms: [TermExplanation; 2],
}

/// Value of a term, or why it is missing.
#[derive(Debug, Serialize)]
struct TermExplanation {
    term: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<&'static str>,
}

/// Inputs of the bounds of a partition.
#[derive(Clone, Copy)]
pub(super) struct BoundInputs<'a> {
    pub(super) lag: &'a PartitionLag,
    /// Time of the poll.
    pub(super) now: TimeSpan,
    /// Whether the poll requested `LastTimestamp`.
    pub(super) timestamps: MessageTimestamps,
    pub(super) facts: &'a TopicFacts<'a>,
}

const DISTRUSTED: &str = "not trusted: message timestamps contradict the polls";
const NO_HISTORY: &str = "no history: no earlier poll of the partition is known";

impl BoundInputs<'_> {
    /// Explains the upper and the lower bound, which have been computed from these inputs.
    pub(super) fn explain(self, bounds: TimeBounds) -> (BoundExplanation, BoundExplanation) {
        let BoundCandidates { last_consumed, not_written_at, last_write, written_at } =
            bound_candidates(self.lag, self.now, self.facts);
        let upper_terms = [(LAST_CONSUMED, last_consumed), (NOT_WRITTEN_AT, not_written_at)];
        let lower_terms = [(LAST_WRITE, last_write), (WRITTEN_AT, written_at)];
        let has_terms = upper_terms.iter().chain(&lower_terms).any(|(_, value)| value.is_some());
        let no_terms = match self.lag.messages {
            None => Some("an offset is unknown"),
            Some(0) => Some("all messages are read"),
            Some(_) if bounds == TimeBounds::ZERO && !has_terms => Some("all unread messages are deleted"),
            Some(_) => None,
        };
        let deciding = |bound: Option<u64>, own: &[(&'static str, Option<u64>)], other: &[_]| {
            let Some(bound) = bound else {
                let is_contradiction = no_terms.is_none() && bounds == TimeBounds::default() && has_terms;
                return is_contradiction
                    .then_some("the lower bound exceeds the upper bound: both are unknown");
            };
            // Bounds that differ by no more than the tolerance between clocks are swapped, so either may come from a
            // term of the other.
            let term =
                own.iter().chain(other).find(|(_, value)| *value == Some(bound)).map(|(name, _)| *name);
            let fallback = if bound == 0 {
                "the response itself: it has unread messages"
            } else {
                "a term at the time of the poll"
            };
            Some(no_terms.or(term).unwrap_or(fallback))
        };
        let term = |(term, value): (_, Option<u64>), absent: &'static str| TermExplanation {
            term,
            seconds: value.map(seconds),
            absent: value.is_none().then(|| no_terms.unwrap_or(absent)),
        };
        let upper = BoundExplanation {
            seconds: bounds.upper.map(seconds),
            from: deciding(bounds.upper, &upper_terms, &lower_terms),
            terms: [
                term(upper_terms[0], self.no_last_consumed()),
                term(upper_terms[1], self.no_not_written_at()),
            ],
        };
        let lower = BoundExplanation {
            seconds: bounds.lower.map(seconds),
            from: deciding(bounds.lower, &lower_terms, &upper_terms),
            terms: [term(lower_terms[0], self.no_last_write()), term(lower_terms[1], self.no_written_at())],
        };
        (upper, lower)
    }

    fn is_trusted(&self) -> bool {
        self.facts.ends.is_none_or(|ends| ends.trusts_timestamps(self.lag.partition, self.now))
    }

    fn has_history(&self) -> bool {
        self.facts.ends.is_some_and(|ends| ends.newest(self.lag.partition).is_some())
    }

    fn no_last_consumed(&self) -> &'static str {
        match (self.lag.last_consumed, self.timestamps) {
            (None, MessageTimestamps::NotRequested) => "hidden: the poll did not request timestamps",
            (None, MessageTimestamps::Requested) => "not reported",
            (Some(_), _) if !self.is_trusted() => DISTRUSTED,
            (Some(_), _) => "later than the response itself",
        }
    }

    fn no_not_written_at(&self) -> &'static str {
        if self.has_history() {
            "at every known poll the end offset was beyond the first unread message, or the topic was recreated since"
        } else {
            NO_HISTORY
        }
    }

    fn no_last_write(&self) -> &'static str {
        let status = self.facts.status.and_then(|status| status.partition(self.lag.partition));
        match status {
            None => "the topic's status is unknown",
            Some(status) if status.last_write.is_none() => "not reported",
            Some(_) if !self.is_trusted() => DISTRUSTED,
            Some(status) if status.end > self.lag.end => "the status is newer than the response",
            Some(_) => "its newest message has been read, or may have been deleted",
        }
    }

    fn no_written_at(&self) -> &'static str {
        if !self.has_history() {
            NO_HISTORY
        } else if self.facts.cleanup == Some(Cleanup::Compact) {
            "the topic is compacted: the message may have been deleted"
        } else {
            "at no known poll the end offset was beyond an unread message that is certainly retained"
        }
    }
}
