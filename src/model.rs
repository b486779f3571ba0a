//! Domain types: names, offsets, times, the contents of API responses, and options that several modules share.
//!
//! Owns: identifiers that are valid by construction, [`Offset`] and [`UnixMillis`], which cannot hold a sentinel, the
//! contents of responses ([`Instance`], [`Topic`], [`TopicStatus`], [`GroupProgress`]), and the closed set of
//! [`AnomalyKind`]s. An unknown value is `None`, never zero.
//! Out of scope: I/O, clocks, and the wire format.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeStruct};

pub mod credentials;
pub mod filter;
pub mod observation;
pub mod options;
pub mod origin;

pub use filter::{Filter, Filters};
pub use observation::{
    Cleanup, GroupProgress, GroupState, Instance, InstanceState, Listing, PartitionProgress, Rebalance,
    Storage, Topic, TopicPartition, TopicProgress, TopicStatus,
};
pub use options::{
    Granularity, LastTimestamps, Naming, PollTiming, ProxySetting, RegionSelection, RenderOptions,
    SignatureVersion,
};
pub use origin::{MessageTimestamps, ResponseOrigin, TimeSpan};

/// Maximum length of an identifier, in characters. Kafka's limit is 249 bytes. Longer names are rejected rather than
/// truncated, because names are identities.
pub const MAX_NAME_CHARS: usize = 512;

/// Name that is not a valid identifier: empty, too long, or with invalid characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid {1}: {2}")]
pub struct InvalidName(pub String, pub &'static str, pub &'static str);

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Creates an identifier.
            ///
            /// # Errors
            /// [`InvalidName`] if the name is empty, too long or has invalid characters.
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                let invalid = |why| Err(InvalidName(name.chars().take(64).collect(), $what, why));
                if name.is_empty() {
                    return invalid("it is empty");
                }
                if name.chars().count() > MAX_NAME_CHARS {
                    return invalid("it is longer than 512 characters");
                }
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(name) {
                    Ok(()) => Ok(Self(name.into())),
                    Err(why) => invalid(why),
                }
            }

            /// Returns the name as the API spells it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

/// Accepts any characters, because the API does not restrict them. The exposition escapes them.
fn any_name(_: &str) -> Result<(), &'static str> {
    Ok(())
}

/// Accepts only host labels, because region ids become part of host names.
fn host_label(name: &str) -> Result<(), &'static str> {
    let is_valid_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if name.len() > 63 {
        return Err("it is longer than 63 characters");
    }
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Err("it may hold only lower-case letters, digits and '-'");
    }
    if is_valid_edge(name.chars().next()) && is_valid_edge(name.chars().next_back()) {
        Ok(())
    } else {
        Err("it must begin and end with a letter or a digit")
    }
}

identifier!(
    /// Name of an account in the configuration; the label `account`.
    AccountName, "account name", any_name
);
identifier!(
    /// Region, such as `cn-hangzhou` (API field `RegionId`); the label `region`.
    RegionId, "region id", host_label
);
identifier!(
    /// AliKafka instance (API field `InstanceId`); the label `instance_id`.
    InstanceId, "instance id", any_name
);
identifier!(
    /// Kafka topic of an instance (API field `Topic`); the label `topic`.
    TopicName, "topic name", any_name
);
identifier!(
    /// Consumer group of an instance (API field `ConsumerId`); the label `group`.
    GroupId, "group id", any_name
);

/// Partition number, starting at 0 (API field `Partition`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u32);

impl Partition {
    /// Searches `items`, sorted by partition, for this partition. Returns its position, or the one to insert it at.
    ///
    /// # Errors
    /// Returns the position at which to insert the partition, if it is missing.
    pub fn position_in<T>(self, items: &[T], partition_of: impl Fn(&T) -> Self) -> Result<usize, usize> {
        // Partitions are nearly always numbered 0, 1, 2, ..., so look there before searching.
        let guess = self.0 as usize;
        if items.get(guess).is_some_and(|item| partition_of(item) == self) {
            return Ok(guess);
        }
        items.binary_search_by_key(&self, partition_of)
    }

    /// Returns the item of this partition from `items`, sorted by partition.
    #[must_use]
    pub fn find_in<T>(self, items: &[T], partition_of: impl Fn(&T) -> Self) -> Option<&T> {
        items.get(self.position_in(items, partition_of).ok()?)
    }
}

/// Offset in a partition: 0 or more. The sentinel -1 ("nothing committed") is not an `Offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Offset(i64);

impl Offset {
    /// Creates an offset; `None` for negative numbers.
    #[must_use]
    pub fn new(value: i64) -> Option<Self> {
        (value >= 0).then_some(Self(value))
    }

    /// Returns the offset, in messages from the beginning of the partition.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }

    /// Returns the offset of the previous message; `None` at the beginning.
    #[must_use]
    pub fn before(self) -> Option<Self> {
        Self::new(self.0 - 1)
    }

    /// Returns the number of messages between `earlier` and `self`; negative if `self` is smaller. Cannot overflow because
    /// both are 0 or more.
    #[must_use]
    pub fn minus(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

/// Time in milliseconds since 1970-01-01 UTC; more than 0. The sentinels 0 and -1 are not a `UnixMillis`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(i64);

impl Serialize for UnixMillis {
    /// Serializes as RFC 3339 for people (empty beyond the calendar) and as milliseconds for programs.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let utc = jiff::Timestamp::from_millisecond(self.0).map(|time| format!("{time:.3}"));
        let mut time = serializer.serialize_struct("UnixMillis", 2)?;
        time.serialize_field("utc", &utc.unwrap_or_default())?;
        time.serialize_field("unix_ms", &self.0)?;
        time.end()
    }
}

impl UnixMillis {
    /// Creates a time; `None` for 0 and less.
    #[must_use]
    pub fn new(millis: i64) -> Option<Self> {
        (millis > 0).then_some(Self(millis))
    }

    /// Returns the milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

/// Inconsistency in a response that is otherwise usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// Kind; the label `kind` of `alikafka_exporter_anomalies_total`.
    pub kind: AnomalyKind,
    /// Details for a debug log: names of fields and objects, never an entire value from the response.
    pub detail: String,
}

/// Kind of an anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnomalyKind {
    /// The committed offset is past the end offset, so the lag is set to 0.
    Clamped,
    /// Offset below -1.
    Negative,
    /// The same partition, topic, group or instance twice in one response.
    Duplicate,
    /// Field of the wrong type, or missing required field.
    Type,
    /// Number outside of the valid range of its field.
    Range,
    /// Offset that moved backwards between two responses.
    Rewind,
    /// Total that differs from the sum of its parts.
    TotalMismatch,
    /// Empty list although objects existed before.
    EmptyList,
    /// List pages that repeat, contradict their total, or do not end.
    Paging,
    /// Response that contradicts itself or its request.
    Contradiction,
}

impl AnomalyKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Clamped,
        Self::Negative,
        Self::Duplicate,
        Self::Type,
        Self::Range,
        Self::Rewind,
        Self::TotalMismatch,
        Self::EmptyList,
        Self::Paging,
        Self::Contradiction,
    ];

    /// Returns the value of the label `kind`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Clamped => "clamped",
            Self::Negative => "negative",
            Self::Duplicate => "duplicate",
            Self::Type => "type",
            Self::Range => "range",
            Self::Rewind => "rewind",
            Self::TotalMismatch => "total_mismatch",
            Self::EmptyList => "empty_list",
            Self::Paging => "paging",
            Self::Contradiction => "contradiction",
        }
    }
}

/// Value with the anomalies of the response that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed<T> {
    /// Contents of the response, without malformed items.
    pub value: T,
    /// Anomalies of the response.
    pub anomalies: Vec<Anomaly>,
}
