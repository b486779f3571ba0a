//! The wire's structs, spelled as the API spells them, and their conversion into the model.
//!
//! Owns: which field becomes which value, sentinels (-1, 0) becoming `None`, units becoming base units, and
//! an anomaly for everything malformed. Refuses: failing an answer for one item of it. An answer that is wholly
//! about something else than was asked, or that lacks its payload, is discarded ([`DiscardedResponse`]): an empty
//! payload must have been told.

use std::{collections::BTreeSet, fmt};

use crate::model::{Anomaly, AnomalyKind, InstanceId, Offset, Partition, UnixMillis};

mod instances;
mod list;
mod progress;
mod scalar;
mod topics;

pub(crate) use instances::{InstanceIdsResponse, InstanceListResponse};
pub(crate) use list::{Object, ObjectFields};
pub(crate) use progress::{GroupListResponse, ProgressResponse};
pub(crate) use scalar::{BoolField, IntField, ScalarField, TextField};
pub(crate) use topics::{TopicListResponse, TopicStatusResponse};

use list::Presence;

/// Most anomalies that are kept of one answer. A body can hold millions of odd items; a thousand are
/// enough to be seen.
const MAX_ANOMALIES: usize = 1_000;

/// Longest free text (names that are no identities, tags, versions), in characters.
const MAX_TEXT_CHARS: usize = 256;

/// The last millisecond of the year 9999: a later time is no time.
const LATEST: i64 = 253_402_300_799_999;

/// The payload of an answer.
pub(crate) trait ResponsePayload<'de>: ObjectFields<'de> {
    /// The payload's own key in the answer.
    const KEY: &'static str;

    /// Whether that key was in the answer.
    fn is_present(&self) -> bool;
}

/// The whole answer is lost: it speaks of something else than was asked, or lacks what it should tell, so
/// that nothing follows from it, least of all that there is nothing.
#[derive(Debug)]
pub(crate) struct DiscardedResponse(pub(crate) Anomaly);

impl DiscardedResponse {
    pub(crate) fn new(kind: AnomalyKind, detail: impl fmt::Display) -> Self {
        Self(Anomaly { kind, detail: detail.to_string() })
    }
}

/// One page of a list, or the whole of one that has no pages.
#[derive(Debug)]
pub(crate) struct ListPage<T> {
    /// What could be read, in the order of the answer; names may repeat.
    pub(crate) items: Vec<T>,
    /// How many entries the page had, readable or not.
    pub(crate) entries: usize,
    /// Whether each entry of the page is among the items.
    pub(crate) is_complete: bool,
    /// `Total`.
    pub(crate) total: Option<usize>,
    /// `CurrentPage`.
    pub(crate) current_page: Option<i64>,
    /// `PageSize`.
    pub(crate) page_size: Option<usize>,
}

/// What was odd about one answer.
#[derive(Debug, Default)]
pub(crate) struct Anomalies(Vec<Anomaly>);

impl Anomalies {
    pub(crate) fn into_vec(self) -> Vec<Anomaly> {
        self.0
    }

    pub(crate) fn append(&mut self, other: Self) {
        let room = MAX_ANOMALIES.saturating_sub(self.0.len());
        self.0.extend(other.0.into_iter().take(room));
    }

    pub(crate) fn note(&mut self, kind: AnomalyKind, detail: impl fmt::Display) {
        if self.0.len() < MAX_ANOMALIES {
            self.0.push(Anomaly { kind, detail: detail.to_string() });
        }
    }

    /// The value of a field; its absence is normal.
    fn value<T>(&mut self, field: &str, scalar: ScalarField<T>, of: impl fmt::Display) -> Option<T> {
        match scalar {
            ScalarField::Value(value) => return Some(value),
            ScalarField::Missing | ScalarField::Null => {}
            ScalarField::WrongType => {
                self.note(AnomalyKind::Type, format_args!("{field} of {of} has another type"))
            }
            ScalarField::OutOfRange => {
                self.note(AnomalyKind::Range, format_args!("{field} of {of} is out of range"))
            }
        }
        None
    }

    /// The value of a field that each answer of this kind must have.
    fn required<T>(&mut self, field: &str, scalar: ScalarField<T>, of: impl fmt::Display) -> Option<T> {
        if matches!(scalar, ScalarField::Missing) {
            self.note(AnomalyKind::Type, format_args!("{field} of {of} is missing"));
        }
        self.value(field, scalar, of)
    }

    /// A position; -1 is none.
    fn offset(&mut self, field: &str, scalar: IntField, of: impl fmt::Display) -> Option<Offset> {
        let value = self.required(field, scalar, &of)?;
        if value < -1 {
            self.note(AnomalyKind::Negative, format_args!("{field} of {of} is below -1"));
        }
        Offset::new(value)
    }

    /// A time in milliseconds; 0 and -1 are none.
    fn time(&mut self, field: &str, scalar: IntField, of: impl fmt::Display) -> Option<UnixMillis> {
        let value = self.value(field, scalar, &of)?;
        if !(-1..=LATEST).contains(&value) {
            self.note(AnomalyKind::Range, format_args!("{field} of {of} is no time"));
            return None;
        }
        UnixMillis::new(value)
    }

    /// A count, times `unit`; -1 is none.
    fn count(&mut self, field: &str, scalar: IntField, unit: u64, of: impl fmt::Display) -> Option<u64> {
        let value = self.value(field, scalar, &of)?;
        let count = u64::try_from(value).ok().and_then(|value| value.checked_mul(unit));
        if count.is_none() && value != -1 {
            self.note(AnomalyKind::Range, format_args!("{field} of {of} is out of range"));
        }
        count
    }

    /// The number of a partition, without which its record is of no use.
    fn partition(&mut self, scalar: IntField, of: impl fmt::Display) -> Option<Partition> {
        match scalar {
            // Kafka counts partitions in 31 bits.
            ScalarField::Value(number) => match u32::try_from(number)
                .ok()
                .filter(|n| i32::try_from(*n).is_ok())
            {
                Some(number) => return Some(Partition(number)),
                None => self.note(AnomalyKind::Range, format_args!("a Partition of {of} is out of range")),
            },
            ScalarField::OutOfRange => {
                self.note(AnomalyKind::Range, format_args!("a Partition of {of} is out of range"));
            }
            ScalarField::Missing | ScalarField::Null | ScalarField::WrongType => {
                self.note(AnomalyKind::Type, format_args!("a Partition of {of} is no number"));
            }
        }
        None
    }

    /// Free text, cut to a bearable length.
    fn text(&mut self, field: &str, scalar: TextField<'_>, of: impl fmt::Display) -> Option<String> {
        self.value(field, scalar, of).map(|text| text.chars().take(MAX_TEXT_CHARS).collect())
    }

    /// The name of an object, without which its record is of no use.
    fn name<T>(
        &mut self,
        field: &str,
        scalar: &TextField<'_>,
        of: impl fmt::Display,
        parse: impl FnOnce(&str) -> Result<T, crate::model::InvalidName>,
    ) -> Option<T> {
        match scalar.as_value().map(|name| parse(name)) {
            Some(Ok(name)) => return Some(name),
            Some(Err(error)) => self.note(AnomalyKind::Type, format_args!("{field} of {of}: {error}")),
            None => self.note(AnomalyKind::Type, format_args!("{field} of {of} is missing or no text")),
        }
        None
    }

    /// Tells of a list that is not one, of entries that are no records, and whether the list is whole.
    fn list(&mut self, field: &str, told: Presence, malformed: usize, of: impl fmt::Display) -> bool {
        match told {
            Presence::Missing => self.note(AnomalyKind::Type, format_args!("{field} of {of} is missing")),
            Presence::WrongType => self.note(AnomalyKind::Type, format_args!("{field} of {of} is no list")),
            Presence::Null | Presence::List => {}
        }
        for _ in 0..malformed.min(MAX_ANOMALIES) {
            self.note(AnomalyKind::Type, format_args!("an entry of {field} of {of} is no record"));
        }
        malformed == 0 && matches!(told, Presence::Null | Presence::List)
    }

    /// The same for the list that is the substance of an answer; without it nothing was told, unless
    /// `total` says that there is nothing to list.
    fn substance(
        &mut self,
        field: &str,
        told: Presence,
        malformed: usize,
        total: IntField,
        of: impl fmt::Display,
    ) -> Result<(), DiscardedResponse> {
        let is_present =
            matches!(told, Presence::Null | Presence::List) || matches!(total, ScalarField::Value(0));
        if !is_present {
            let what = format_args!("the answer for {of} has no {field}");
            return Err(DiscardedResponse::new(AnomalyKind::Type, what));
        }
        self.list(field, told, malformed, of);
        Ok(())
    }

    /// Whether a record's `InstanceId` is the one that was asked for, or untold.
    fn is_of(&mut self, instance: &InstanceId, told: &TextField<'_>, of: impl fmt::Display) -> bool {
        let same = told.as_value().is_none_or(|id| id == instance.as_str());
        if !same {
            self.note(
                AnomalyKind::Contradiction,
                format_args!("{of} belongs to another instance than asked"),
            );
        }
        same
    }

    /// Keeps the first of each identity, in the order of the answer.
    fn unique<T, K: Ord>(&mut self, items: &mut Vec<T>, what: &str, identity: impl Fn(&T) -> K) {
        let mut seen = BTreeSet::new();
        let before = items.len();
        items.retain(|item| seen.insert(identity(item)));
        for _ in items.len()..before {
            self.note(AnomalyKind::Duplicate, format_args!("{what} twice in one answer"));
        }
    }

    /// Sorts by identity and keeps the first of each.
    fn sorted<T, K: Ord>(
        &mut self,
        items: &mut Vec<T>,
        what: impl Fn(&T) -> String,
        identity: impl Fn(&T) -> K,
    ) {
        // Stable, so that the first of equal ones is the first of the answer.
        items.sort_by_key(&identity);
        items.dedup_by(|later, first| {
            let same = identity(later) == identity(first);
            if same {
                self.note(AnomalyKind::Duplicate, format_args!("{} twice in one answer", what(later)));
            }
            same
        });
    }
}

/// A count that a page tells about its list.
fn told_count(scalar: IntField) -> Option<usize> {
    scalar.value().and_then(|count| usize::try_from(count).ok())
}

#[cfg(test)]
mod tests;
