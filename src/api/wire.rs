//! Objects of the wire, spelled as in the API, and their conversion into the model.
//!
//! Owns: which field becomes which value, sentinels (-1, 0) that become `None`, base units, and one anomaly for
//! everything malformed. A malformed item or field costs only itself. A response without its payload, or about
//! another object than requested, is discarded ([`DiscardedResponse`]): an empty result must be explicit.

use std::{collections::BTreeSet, fmt};

use crate::model::{Anomaly, AnomalyKind, InstanceId, InvalidName, Offset, Partition, UnixMillis};

mod instances;
mod lenient;
mod object;
mod paged;
mod progress;
mod scalar;
mod topics;

pub(crate) use instances::{InstanceIdsResponse, InstanceListResponse};
pub(crate) use lenient::Field;
pub(crate) use object::JsonObject;
pub use paged::ListPage;
pub(crate) use paged::{GroupListResponse, TopicListResponse};
pub(crate) use progress::ProgressResponse;
pub(crate) use scalar::{BoolField, IntField, TextField};
pub(crate) use topics::TopicStatusResponse;

use object::ListField;

/// Maximum number of anomalies recorded per response, because a body can have millions of malformed items.
const MAX_ANOMALIES: usize = 1_000;

/// Maximum length of free text (display names, tags, versions), in characters.
const MAX_TEXT_CHARS: usize = 256;

/// Last millisecond of the year 9999. Later times are malformed.
const LATEST_MILLIS: i64 = 253_402_300_799_999;

/// Payload of a response.
pub(crate) trait ResponsePayload<'de>: JsonObject<'de> {
    /// Key without which the response is discarded.
    const KEY: &'static str;
}

/// A response that is discarded, and the reason.
#[derive(Debug)]
pub(crate) struct DiscardedResponse(pub(crate) Anomaly);

impl DiscardedResponse {
    pub(crate) fn new(kind: AnomalyKind, detail: impl fmt::Display) -> Self {
        Self(Anomaly { kind, detail: detail.to_string() })
    }
}

/// Anomalies of one response. Most methods read one field; `owner` names the object that has the field.
#[derive(Debug, Default)]
pub(crate) struct Anomalies(Vec<Anomaly>);

impl Anomalies {
    pub(crate) fn into_vec(self) -> Vec<Anomaly> {
        self.0
    }

    pub(crate) fn append(&mut self, other: Vec<Anomaly>) {
        let room = MAX_ANOMALIES.saturating_sub(self.0.len());
        self.0.extend(other.into_iter().take(room));
    }

    pub(crate) fn record(&mut self, kind: AnomalyKind, detail: impl fmt::Display) {
        if self.0.len() < MAX_ANOMALIES {
            self.0.push(Anomaly { kind, detail: detail.to_string() });
        }
    }

    /// Returns the value of an optional field.
    fn value<T>(&mut self, key: &str, field: Field<T>, owner: impl fmt::Display) -> Option<T> {
        match field {
            Field::Value(value) => return Some(value),
            Field::Missing | Field::Null => {}
            Field::WrongType => {
                self.record(AnomalyKind::Type, format_args!("{key} of {owner} has another type"));
            }
            Field::OutOfRange => self.record_range(key, owner),
        }
        None
    }

    fn record_range(&mut self, key: &str, owner: impl fmt::Display) {
        self.record(AnomalyKind::Range, format_args!("{key} of {owner} is out of range"));
    }

    /// Returns an offset that every row must have. -1 means none.
    fn offset(&mut self, key: &str, field: IntField, owner: impl fmt::Display) -> Option<Offset> {
        if matches!(field, Field::Missing) {
            self.record(AnomalyKind::Type, format_args!("{key} of {owner} is missing"));
        }
        let value = self.value(key, field, &owner)?;
        if value < -1 {
            self.record(AnomalyKind::Negative, format_args!("{key} of {owner} is below -1"));
        }
        Offset::new(value)
    }

    /// Returns a time in Unix milliseconds. 0 and -1 mean none.
    fn time(&mut self, key: &str, field: IntField, owner: impl fmt::Display) -> Option<UnixMillis> {
        let value = self.value(key, field, &owner)?;
        if !(-1..=LATEST_MILLIS).contains(&value) {
            self.record(AnomalyKind::Range, format_args!("{key} of {owner} is not a time"));
            return None;
        }
        UnixMillis::new(value)
    }

    /// Returns a count times `unit`. -1 means none.
    fn count(&mut self, key: &str, field: IntField, unit: u64, owner: impl fmt::Display) -> Option<u64> {
        let value = self.value(key, field, &owner)?;
        let count = u64::try_from(value).ok().and_then(|value| value.checked_mul(unit));
        if count.is_none() && value != -1 {
            self.record_range(key, owner);
        }
        count
    }

    /// Returns a partition number, without which its row is skipped.
    fn partition(&mut self, field: IntField, owner: impl fmt::Display) -> Option<Partition> {
        let number = match field {
            // Kafka partition numbers have 31 bits.
            Field::Value(number) => i32::try_from(number).ok().and_then(|n| u32::try_from(n).ok()),
            Field::OutOfRange => None,
            Field::Missing | Field::Null | Field::WrongType => {
                self.record(AnomalyKind::Type, format_args!("a Partition of {owner} is not a number"));
                return None;
            }
        };
        if number.is_none() {
            self.record(AnomalyKind::Range, format_args!("a Partition of {owner} is out of range"));
        }
        number.map(Partition)
    }

    /// Returns free text, truncated.
    fn text(&mut self, key: &str, field: TextField<'_>, owner: impl fmt::Display) -> Option<String> {
        self.value(key, field, owner).map(|text| text.chars().take(MAX_TEXT_CHARS).collect())
    }

    /// Returns the name of an object, without which the object is skipped.
    fn name<T>(
        &mut self,
        key: &str,
        field: &TextField<'_>,
        owner: impl fmt::Display,
        parse: impl FnOnce(&str) -> Result<T, InvalidName>,
    ) -> Option<T> {
        let Some(name) = field.as_value() else {
            self.record(AnomalyKind::Type, format_args!("{key} of {owner} is missing or not text"));
            return None;
        };
        let name = parse(name);
        name.inspect_err(|error| self.record(AnomalyKind::Type, format_args!("{key} of {owner}: {error}")))
            .ok()
    }

    /// Records what is malformed about a list. Returns whether the list is complete.
    fn check_list<T>(&mut self, key: &str, list: &ListField<T>, owner: impl fmt::Display) -> bool {
        let malformed = match list {
            Field::Null => 0,
            Field::Value(list) => list.malformed,
            Field::Missing | Field::WrongType | Field::OutOfRange => {
                let problem = if matches!(list, Field::Missing) { "missing" } else { "not a list" };
                self.record(AnomalyKind::Type, format_args!("{key} of {owner} is {problem}"));
                return false;
            }
        };
        for _ in 0..malformed.min(MAX_ANOMALIES) {
            self.record(AnomalyKind::Type, format_args!("an item of {key} of {owner} is not an object"));
        }
        malformed == 0
    }

    /// Checks the list without which the response is discarded, unless `total` confirms that the list is empty.
    fn require_list<T>(
        &mut self,
        key: &str,
        list: &ListField<T>,
        total: IntField,
        owner: impl fmt::Display,
    ) -> Result<(), DiscardedResponse> {
        if !matches!(list, Field::Null | Field::Value(_)) && total != Field::Value(0) {
            let detail = format_args!("the response for {owner} has no {key}");
            return Err(DiscardedResponse::new(AnomalyKind::Type, detail));
        }
        self.check_list(key, list, owner);
        Ok(())
    }

    /// Returns whether the `InstanceId` of an item is the requested one or missing.
    fn is_of_instance(
        &mut self,
        requested: &InstanceId,
        field: &TextField<'_>,
        owner: impl fmt::Display,
    ) -> bool {
        let is_same = field.as_value().is_none_or(|id| id == requested.as_str());
        if !is_same {
            let detail = format_args!("{owner} belongs to another instance than requested");
            self.record(AnomalyKind::Contradiction, detail);
        }
        is_same
    }

    /// Keeps the first item of each key, in the order of the response.
    fn deduplicate<T, K: Ord>(&mut self, items: &mut Vec<T>, item_name: &str, key: impl Fn(&T) -> K) {
        let mut seen = BTreeSet::new();
        let before = items.len();
        items.retain(|item| seen.insert(key(item)));
        for _ in items.len()..before {
            self.record(AnomalyKind::Duplicate, format_args!("{item_name} twice in one response"));
        }
    }

    /// Sorts by key and keeps the first item of each key.
    fn sort_and_deduplicate<T, K: Ord + fmt::Debug>(
        &mut self,
        items: &mut Vec<T>,
        owner: impl fmt::Display,
        key: impl Fn(&T) -> K,
    ) {
        // The sort is stable, so the first of equal items is the first of the response.
        items.sort_by_key(&key);
        items.dedup_by(|later, first| {
            let (key, first_key) = (key(later), key(first));
            if key == first_key {
                self.record(AnomalyKind::Duplicate, format_args!("{key:?} of {owner} twice in one response"));
            }
            key == first_key
        });
    }
}

#[cfg(test)]
mod tests;
