//! The wire's structs, spelled as the API spells them, and their conversion into the model.
//!
//! Owns: which field becomes which value, sentinels (-1, 0) becoming `None`, units becoming base units, and
//! an anomaly for everything odd. Refuses: failing an answer for one item of it. An answer that is wholly
//! about something else than was asked, or that lacks its payload, is discarded ([`Discarded`]): an empty
//! payload must have been told.

use std::{collections::BTreeSet, fmt};

use crate::model::{Anomaly, AnomalyKind, InstanceId, Offset, Partition, UnixMillis};

mod instances;
mod list;
mod progress;
mod scalar;
mod topics;

pub(crate) use instances::{InstanceIdsAnswer, InstanceListAnswer};
pub(crate) use list::{Fields, Object};
pub(crate) use progress::{GroupListAnswer, ProgressAnswer};
pub(crate) use scalar::{Bool, Int, Scalar, Text};
pub(crate) use topics::{TopicListAnswer, TopicStatusAnswer};

use list::Told;

/// Most anomalies that are kept of one answer. A body can hold millions of odd items; a thousand are
/// enough to be seen.
const MAX_ANOMALIES: usize = 1_000;

/// Longest free text (names that are no identities, tags, versions), in characters.
const MAX_TEXT_CHARS: usize = 256;

/// The last millisecond of the year 9999: a later time is no time.
const LATEST: i64 = 253_402_300_799_999;

/// The payload of an answer.
pub(crate) trait Payload<'de>: Fields<'de> {
    /// The payload's own key in the answer.
    const KEY: &'static str;

    /// Whether that key was in the answer.
    fn is_told(&self) -> bool;
}

/// The whole answer is lost: it speaks of something else than was asked, or lacks what it should tell, so
/// that nothing follows from it, least of all that there is nothing.
#[derive(Debug)]
pub(crate) struct Discarded(pub(crate) Anomaly);

impl Discarded {
    pub(crate) fn new(kind: AnomalyKind, detail: impl fmt::Display) -> Self {
        Self(Anomaly { kind, detail: detail.to_string() })
    }
}

/// One page of a list, or the whole of one that has no pages.
#[derive(Debug)]
pub(crate) struct Page<T> {
    /// What could be read, in the order of the answer; names may repeat.
    pub(crate) items: Vec<T>,
    /// How many entries the page had, readable or not.
    pub(crate) entries: usize,
    /// Whether each entry of the page is among the items.
    pub(crate) is_whole: bool,
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
    fn value<T>(&mut self, field: &str, scalar: Scalar<T>, of: impl fmt::Display) -> Option<T> {
        match scalar {
            Scalar::Value(value) => return Some(value),
            Scalar::Missing | Scalar::Null => {}
            Scalar::WrongType => {
                self.note(AnomalyKind::Type, format_args!("{field} of {of} has another type"))
            }
            Scalar::OutOfRange => {
                self.note(AnomalyKind::Range, format_args!("{field} of {of} is out of range"))
            }
        }
        None
    }

    /// The value of a field that each answer of this kind must have.
    fn required<T>(&mut self, field: &str, scalar: Scalar<T>, of: impl fmt::Display) -> Option<T> {
        if matches!(scalar, Scalar::Missing) {
            self.note(AnomalyKind::Type, format_args!("{field} of {of} is missing"));
        }
        self.value(field, scalar, of)
    }

    /// A position; -1 is none.
    fn offset(&mut self, field: &str, scalar: Int, of: impl fmt::Display) -> Option<Offset> {
        let value = self.required(field, scalar, &of)?;
        if value < -1 {
            self.note(AnomalyKind::Negative, format_args!("{field} of {of} is below -1"));
        }
        Offset::new(value)
    }

    /// A time in milliseconds; 0 and -1 are none.
    fn time(&mut self, field: &str, scalar: Int, of: impl fmt::Display) -> Option<UnixMillis> {
        let value = self.value(field, scalar, &of)?;
        if !(-1..=LATEST).contains(&value) {
            self.note(AnomalyKind::Range, format_args!("{field} of {of} is no time"));
            return None;
        }
        UnixMillis::new(value)
    }

    /// A count, times `unit`; -1 is none.
    fn count(&mut self, field: &str, scalar: Int, unit: u64, of: impl fmt::Display) -> Option<u64> {
        let value = self.value(field, scalar, &of)?;
        let count = u64::try_from(value).ok().and_then(|value| value.checked_mul(unit));
        if count.is_none() && value != -1 {
            self.note(AnomalyKind::Range, format_args!("{field} of {of} is out of range"));
        }
        count
    }

    /// The number of a partition, without which its record is of no use.
    fn partition(&mut self, scalar: Int, of: impl fmt::Display) -> Option<Partition> {
        match scalar {
            // Kafka counts partitions in 31 bits.
            Scalar::Value(number) => match u32::try_from(number).ok().filter(|n| i32::try_from(*n).is_ok()) {
                Some(number) => return Some(Partition(number)),
                None => self.note(AnomalyKind::Range, format_args!("a Partition of {of} is out of range")),
            },
            Scalar::OutOfRange => {
                self.note(AnomalyKind::Range, format_args!("a Partition of {of} is out of range"));
            }
            Scalar::Missing | Scalar::Null | Scalar::WrongType => {
                self.note(AnomalyKind::Type, format_args!("a Partition of {of} is no number"));
            }
        }
        None
    }

    /// Free text, cut to a bearable length.
    fn text(&mut self, field: &str, scalar: Text<'_>, of: impl fmt::Display) -> Option<String> {
        self.value(field, scalar, of).map(|text| text.chars().take(MAX_TEXT_CHARS).collect())
    }

    /// The name of an object, without which its record is of no use.
    fn name<T>(
        &mut self,
        field: &str,
        scalar: &Text<'_>,
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
    fn list(&mut self, field: &str, told: Told, strangers: usize, of: impl fmt::Display) -> bool {
        match told {
            Told::Missing => self.note(AnomalyKind::Type, format_args!("{field} of {of} is missing")),
            Told::WrongType => self.note(AnomalyKind::Type, format_args!("{field} of {of} is no list")),
            Told::Null | Told::List => {}
        }
        for _ in 0..strangers.min(MAX_ANOMALIES) {
            self.note(AnomalyKind::Type, format_args!("an entry of {field} of {of} is no record"));
        }
        strangers == 0 && matches!(told, Told::Null | Told::List)
    }

    /// The same for the list that is the substance of an answer; without it nothing was told, unless
    /// `total` says that there is nothing to list.
    fn substance(
        &mut self,
        field: &str,
        told: Told,
        strangers: usize,
        total: Int,
        of: impl fmt::Display,
    ) -> Result<(), Discarded> {
        let is_told = matches!(told, Told::Null | Told::List) || matches!(total, Scalar::Value(0));
        if !is_told {
            let what = format_args!("the answer for {of} has no {field}");
            return Err(Discarded::new(AnomalyKind::Type, what));
        }
        self.list(field, told, strangers, of);
        Ok(())
    }

    /// Whether a record's `InstanceId` is the one that was asked for, or untold.
    fn is_of(&mut self, instance: &InstanceId, told: &Text<'_>, of: impl fmt::Display) -> bool {
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
fn told_count(scalar: Int) -> Option<usize> {
    scalar.value().and_then(|count| usize::try_from(count).ok())
}

#[cfg(test)]
mod tests;
