//! The age of the oldest unread message, as a bracket: a floor that it is certainly not below, and a ceiling
//! that it is certainly not above. Partition, then topic, then group. Pure.
//!
//! Owns: which terms apply and how they are joined. Refuses: extrapolation; a term whose input is unknown
//! drops out.
//!
//! An answer is true for a moment somewhere in its span, so a ceiling reaches from the earliest that a message can
//! have been written to the latest that now can be, and a floor from the latest to the earliest. Topic status and
//! history are from other moments than the answer, and a topic may have been created anew, or messages deleted, in
//! between: each term holds whichever came first.

use std::time::Duration;

use super::{
    GroupLag, PartitionLag, TopicLag,
    forecast::StartHistory,
    history::{EndHistory, GRAIN_MS},
};
use crate::model::{Anomaly, AnomalyKind, Cleanup, Offset, TimeSpan, TopicName, TopicStatus, UnixMillis};

#[cfg(test)]
mod tests;

/// Bounds of the age of the oldest unread message, in milliseconds; both 0 where all is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Age {
    /// Not younger than this.
    pub floor: Option<u64>,
    /// Not older than this.
    pub ceiling: Option<u64>,
}

/// What is known of a topic beside what the group's answer says.
#[derive(Debug, Clone, Copy, Default)]
pub struct TopicFacts<'a> {
    /// Where its ends were.
    pub history: Option<&'a EndHistory>,
    /// What it holds (`GetTopicStatus`), as it was told.
    pub status: Option<&'a TopicStatus>,
    /// Where its oldest messages were.
    pub starts: Option<&'a StartHistory>,
    /// How old messages go (`CompactTopic`).
    pub cleanup: Option<Cleanup>,
    /// How long messages are kept (`MsgRetain` of the instance).
    pub retention: Option<Duration>,
}

/// The ages of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupAges {
    /// The largest of its topics.
    pub group: Age,
    /// In the order of the group's topics.
    pub topics: Vec<TopicAges>,
}

/// The ages of a group on one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicAges {
    /// The largest of its partitions.
    pub topic: Age,
    /// In the order of the topic's partitions.
    pub partitions: Vec<Age>,
}

/// What each term of a bracket says, in milliseconds, for whoever wants to see it. All are unknown where all is
/// read. With lag, the answer itself is a poll at which the partition ended past the committed offset, so the
/// floor is never below 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// Ceiling: since the last message that was read was stored (`LastTimestamp`).
    pub last_consumed: Option<u64>,
    /// Ceiling: since the newest poll at which the partition ended at or before the committed offset.
    pub not_written_at: Option<u64>,
    /// Floor: since the newest message was written (`LastUpdateTimestamp`).
    pub last_write: Option<u64>,
    /// Floor: since the oldest poll at which the partition ended past the committed offset; where old messages are
    /// deleted, past it with a message that is surely held.
    pub written_at: Option<u64>,
}

/// The ages at the moment of an answer. The anomalies are brackets that contradict themselves: those are
/// withheld.
#[must_use]
pub fn ages<'a>(
    lag: &GroupLag,
    now: TimeSpan,
    facts: impl Fn(&TopicName) -> TopicFacts<'a>,
) -> (GroupAges, Vec<Anomaly>) {
    let mut anomalies = Vec::new();
    let mut group = Largest::default();
    let topics = lag.topics.iter().map(|t| {
        let (ages, of_topic) = topic(t, now, &facts(&t.topic), &mut anomalies);
        group.join(of_topic);
        ages
    });
    let topics: Vec<TopicAges> = topics.collect();
    let nothing_to_read = lag.topics.is_empty();
    let group = if nothing_to_read { Age::READ } else { group.age() };
    (GroupAges { group, topics }, anomalies)
}

/// The terms of a partition's bracket at the moment of an answer.
#[must_use]
pub fn terms(p: &PartitionLag, now: TimeSpan, facts: &TopicFacts<'_>) -> Terms {
    match unread(p, now, facts) {
        Left::Messages(terms) => terms,
        Left::Unknown | Left::Nothing => Terms::default(),
    }
}

impl Age {
    /// Of a partition where nothing is left to read.
    const READ: Self = Self { floor: Some(0), ceiling: Some(0) };
}

fn topic(
    topic: &TopicLag,
    now: TimeSpan,
    facts: &TopicFacts<'_>,
    anomalies: &mut Vec<Anomaly>,
) -> (TopicAges, Largest) {
    let mut largest = Largest::default();
    let partitions = topic.partitions.iter().map(|p| {
        let age = match unread(p, now, facts) {
            Left::Unknown => return Age::default(),
            Left::Nothing => Age::READ,
            Left::Messages(terms) => bracket(terms).unwrap_or_else(|| {
                anomalies.push(Anomaly {
                    kind: AnomalyKind::Contradiction,
                    detail: format!(
                        "topic {} partition {}: the floor of the age of the oldest unread message is past its ceiling",
                        topic.topic, p.partition.0
                    ),
                });
                Age::default()
            }),
        };
        largest.add(age);
        age
    });
    let partitions = partitions.collect();
    (TopicAges { topic: largest.age(), partitions }, largest)
}

/// Joins the terms; `None` if they contradict each other by more than the grain of clocks.
fn bracket(terms: Terms) -> Option<Age> {
    let floor = terms.last_write.max(terms.written_at).unwrap_or(0);
    let ceiling = [terms.last_consumed, terms.not_written_at].into_iter().flatten().min();
    match ceiling {
        Some(ceiling) if floor > ceiling => {
            let apart = floor - ceiling;
            // The truth is near both. The wider bracket is the one that holds it.
            (apart <= GRAIN_MS.unsigned_abs()).then_some(Age { floor: Some(ceiling), ceiling: Some(floor) })
        }
        _ => Some(Age { floor: Some(floor), ceiling }),
    }
}

/// The largest of ages whose lag is known.
#[derive(Debug, Clone, Copy, Default)]
struct Largest {
    any: bool,
    floor: Option<u64>,
    ceiling: u64,
    /// One of them has no ceiling: the largest of the others is not one of all.
    open: bool,
}

impl Largest {
    fn add(&mut self, age: Age) {
        let ceiling = age.ceiling.unwrap_or(0);
        self.join(Self { any: true, floor: age.floor, ceiling, open: age.ceiling.is_none() });
    }

    fn join(&mut self, other: Self) {
        self.any |= other.any;
        self.floor = self.floor.max(other.floor);
        self.ceiling = self.ceiling.max(other.ceiling);
        self.open |= other.open;
    }

    fn age(self) -> Age {
        Age { floor: self.floor, ceiling: Some(self.ceiling).filter(|_| self.any && !self.open) }
    }
}

/// What a partition has left to read.
enum Left {
    /// It is not known whether anything.
    Unknown,
    Nothing,
    Messages(Terms),
}

fn unread(p: &PartitionLag, now: TimeSpan, facts: &TopicFacts<'_>) -> Left {
    let (Some(messages), Some(committed), Some(end)) = (p.messages, p.committed, p.end) else {
        return Left::Unknown;
    };
    if messages == 0 {
        return Left::Nothing;
    }
    let status = facts.status.and_then(|s| s.partition(p.partition));
    let start = status.and_then(|s| s.start);
    // A status that ends past the answer is younger than it, or of a topic that has been created anew since.
    let is_older = status.and_then(|s| s.end).is_none_or(|m| m <= end) && start.is_none_or(|s| s <= end);
    if is_older && start == Some(end) {
        return Left::Nothing;
    }
    // Messages below the start are gone. A later first message makes for a lower floor, an earlier one for a
    // higher ceiling, so a doubtful start counts only for floors.
    let first_held = start.map_or(committed, |s| s.max(committed));
    let first_unread = if is_older { first_held } else { committed };

    let history = facts.history.filter(|h| {
        let is_another_life =
            |newest: super::history::Point| newest.end > end && now.earliest() > newest.first;
        !h.newest(p.partition).is_some_and(is_another_life)
    });
    let believed = facts.history.is_none_or(|h| h.believes(p.partition, now));
    let is_compacted = facts.cleanup == Some(Cleanup::Compact);
    // Compaction may have removed any message but the newest, age any that is old.
    let retention = facts.retention.filter(|_| !is_compacted);
    let held_since = retention.and_then(|kept| before(now.latest(), kept));
    let is_held = |written: UnixMillis| held_since.is_none_or(|since| written > since);

    let last_consumed = p.last_consumed.filter(|_| believed).and_then(|t| {
        (t.get().saturating_sub(now.latest().get()) <= GRAIN_MS).then(|| between(t, now.latest()))
    });
    // Polls of before a topic was created anew were before its messages, too.
    let not_written_at = facts
        .history
        .and_then(|h| h.written(p.partition, first_unread).not_before)
        .filter(|t| *t <= now.latest())
        .map(|t| between(t, now.latest()));
    // Compaction spares the newest message of the partition, not one that was the newest once.
    let newest_is_unread = |m: Offset| m > first_held && is_older && (!is_compacted || m == end);
    let last_write = status
        .filter(|s| believed && s.end.is_some_and(newest_is_unread))
        .and_then(|s| s.last_write)
        .filter(|t| *t <= now.latest() && is_held(*t))
        .map(|t| between(t, now.earliest()));
    let written_at = history
        .filter(|_| !is_compacted)
        .and_then(|h| match held_since {
            Some(since) => h.written_since(p.partition, first_held, since),
            None => h.written(p.partition, first_held).not_after,
        })
        .map(|t| between(t, now.earliest()));
    Left::Messages(Terms { last_consumed, not_written_at, last_write, written_at })
}

/// Milliseconds from one moment to another; 0 if the other is not later.
fn between(earlier: UnixMillis, later: UnixMillis) -> u64 {
    u64::try_from(later.get().saturating_sub(earlier.get())).unwrap_or(0)
}

fn before(moment: UnixMillis, by: Duration) -> Option<UnixMillis> {
    UnixMillis::new(moment.get().checked_sub(i64::try_from(by.as_millis()).ok()?)?)
}
