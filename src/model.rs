//! The words of the domain as types: names, offsets, times, and what one answer of the cloud says.
//!
//! Owns: identifiers that are valid by construction, [`Offset`] and [`UnixMillis`] that cannot hold a
//! sentinel, the observations ([`Instance`], [`Topic`], [`TopicStatus`], [`GroupProgress`]) and the closed
//! set of [`AnomalyKind`]s. Refuses: I/O, clocks, wire spelling, and zero standing for "unknown": what
//! the cloud did not tell is `None`.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeStruct};

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

/// Longest name that is taken as an identifier, in characters. Kafka's own limit is 249 bytes; names are
/// identities, so a longer one is refused rather than cut.
pub const MAX_NAME_CHARS: usize = 512;

/// A name that cannot be an identifier: empty, too long, or of the wrong alphabet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid {1}: {2}")]
pub struct InvalidName(pub String, pub &'static str, pub &'static str);

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`InvalidName`] if the name is empty, too long or has characters that the type refuses.
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                let refuse = |why| Err(InvalidName(name.chars().take(64).collect(), $what, why));
                if name.is_empty() {
                    return refuse("it is empty");
                }
                if name.chars().count() > MAX_NAME_CHARS {
                    return refuse("it is longer than 512 characters");
                }
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(name) {
                    Ok(()) => Ok(Self(name.into())),
                    Err(why) => refuse(why),
                }
            }

            /// The name as the cloud spells it.
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

/// Names that the cloud gives to its objects may hold any character; the page escapes them.
fn any_name(_: &str) -> Result<(), &'static str> {
    Ok(())
}

/// Region ids become host names, so only what a host name may hold is let in.
fn host_label(name: &str) -> Result<(), &'static str> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if name.len() > 63 {
        return Err("it is longer than 63 characters");
    }
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Err("it may hold only lower-case letters, digits and '-'");
    }
    if edge(name.chars().next()) && edge(name.chars().next_back()) {
        Ok(())
    } else {
        Err("it must begin and end with a letter or a digit")
    }
}

identifier!(
    /// The `name` of an account in the configuration; the label `account`.
    AccountName, "account name", any_name
);
identifier!(
    /// A region of the cloud, such as `cn-hangzhou` (API field `RegionId`); the label `region`.
    RegionId, "region id", host_label
);
identifier!(
    /// An AliKafka instance (API field `InstanceId`); the label `instance_id`.
    InstanceId, "instance id", any_name
);
identifier!(
    /// A Kafka topic of one instance (API field `Topic`); the label `topic`.
    TopicName, "topic name", any_name
);
identifier!(
    /// A consumer group of one instance (API field `ConsumerId`); the label `group`.
    GroupId, "group id", any_name
);

/// A partition number, from 0 on (API field `Partition`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u32);

impl Partition {
    /// Searches `items`, sorted by partition, for this partition. Returns its position, or the one to insert it at.
    ///
    /// # Errors
    /// The position at which to insert the partition, if `items` lack it.
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

/// A position in a partition: 0 or more. The sentinel -1 ("nothing committed") cannot be an `Offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Offset(i64);

impl Offset {
    /// Takes a position; `None` for negative numbers.
    #[must_use]
    pub fn new(value: i64) -> Option<Self> {
        (value >= 0).then_some(Self(value))
    }

    /// The position, in messages from the beginning of the partition.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }

    /// The offset of the message before this one; `None` at the beginning.
    #[must_use]
    pub fn before(self) -> Option<Self> {
        Self::new(self.0 - 1)
    }

    /// How many messages `self` is past `earlier`; negative if it is before it. Cannot overflow, as both
    /// are 0 or more.
    #[must_use]
    pub fn minus(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

/// A time as milliseconds since 1970-01-01 UTC, later than that moment. The sentinels 0 and -1 cannot be
/// a `UnixMillis`.
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
    /// Takes a time; `None` for 0 and less.
    #[must_use]
    pub fn new(millis: i64) -> Option<Self> {
        (millis > 0).then_some(Self(millis))
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

/// Something odd in an answer that did not cost the whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// The closed kind, the label of `alikafka_exporter_anomalies_total`.
    pub kind: AnomalyKind,
    /// What was odd, for a debug log: names of fields and objects, never a whole value of the server.
    pub detail: String,
}

/// The closed set of anomaly kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnomalyKind {
    /// The committed offset was past the end offset; lag was taken as 0.
    Clamped,
    /// An offset below -1.
    Negative,
    /// The same partition, topic, group or instance twice in one answer.
    Duplicate,
    /// A field of the wrong type, or one that must be there and is not.
    Type,
    /// A number outside of what its field can mean.
    Range,
    /// An offset that went backwards between two answers.
    Rewind,
    /// The server's own sum disagrees with the sum of its parts.
    TotalMismatch,
    /// An empty list where there were objects before.
    EmptyList,
    /// Pages that repeat, contradict their total, or do not end.
    Paging,
    /// An answer that contradicts itself or the question.
    Contradiction,
}

impl AnomalyKind {
    /// Every kind, in the order of the contract.
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

    /// The value of the label `kind`.
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

/// A value with what was odd about the answer that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed<T> {
    /// What the answer says, without the items that could not be read.
    pub value: T,
    /// What was odd; empty for a clean answer.
    pub anomalies: Vec<Anomaly>,
}
