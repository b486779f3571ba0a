//! What is said of groups when it is a topic that changed, and how much is remembered of the past.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::{Duration, Instant};

use super::{InstanceEntry, Now, RegionState, topic::TopicEntry};
use crate::{
    lag::{
        self,
        age::TopicFacts,
        history::{self, EndHistory},
    },
    model::{Instance, Offset, Partition, TopicName},
};

/// Bytes that the past may take, for each partition of each group of an instance: what tracks leave of it is for
/// points of history. Between two prunings it grows by a point or two.
const BYTES_PER_PARTITION: usize = 180;
/// Between two times that an instance's groups are judged anew for what its topics hold, for each partition of each
/// group: twenty times what that takes.
const PAUSE_PER_PARTITION: Duration = Duration::from_micros(12);
/// See [`InstanceEntry::is_to_be_reassessed`].
const NO_TIME: Duration = Duration::from_millis(100);
/// What is left to the points at the least: with fewer there is no bracket.
const LEAST_POINTS: usize = 2;

/// What is known of the topics of an instance, for whoever judges a group.
pub(super) fn facts<'a>(
    topics: &'a BTreeMap<TopicName, TopicEntry>,
    histories: &'a BTreeMap<TopicName, EndHistory>,
    info: Option<&'a Instance>,
) -> impl Fn(&TopicName) -> TopicFacts<'a> + Copy {
    let retention = info.and_then(|info| info.message_retention_seconds).map(Duration::from_secs);
    move |name| {
        let known = topics.get(name);
        TopicFacts {
            history: histories.get(name),
            status: known
                .filter(|known| !known.is_past)
                .and_then(|known| known.status.get())
                .map(Arc::as_ref),
            starts: known.map(|known| &known.starts),
            cleanup: known.and_then(|known| known.info.get()).and_then(|info| info.cleanup),
            retention,
        }
    }
}

impl InstanceEntry {
    /// Puts together anew what is said of the groups that read a topic of which something changed.
    pub(super) fn reassess(&mut self, window: Duration, now: Instant) {
        if !self.is_to_be_reassessed(now) {
            return;
        }
        self.reassessed = Some(now);
        let changed = std::mem::take(&mut self.changed);
        let Self { groups, topics, histories, info, .. } = self;
        let facts = facts(topics, histories, info.get().map(Arc::as_ref));
        for group in groups.values_mut() {
            let Some(lag) = group.lag.get() else { continue };
            let Some(said) = &mut group.said else { continue };
            if !lag.topics.iter().any(|topic| changed.contains(&topic.topic)) {
                continue;
            }
            // What contradicts itself has been counted when the answer came.
            let (ages, _) = lag::age::ages(lag, said.origin.span, facts);
            let assessment = lag::assess::assess(lag, &ages, &group.track, said.state, window, facts);
            if *said.assessment != assessment {
                said.assessment = Arc::new(assessment);
                group.view = None;
            }
            said.ages = ages;
        }
    }

    /// Whether topics have changed since, and long enough ago for the work to be a small part of the time.
    pub(super) fn is_to_be_reassessed(&self, now: Instant) -> bool {
        if self.changed.is_empty() {
            return false;
        }
        let Some(last) = self.reassessed else { return true };
        let lags = self.groups.values().filter_map(|group| group.lag.get());
        let partitions: usize = lags.flat_map(|lag| &lag.topics).map(|topic| topic.partitions.len()).sum();
        let pause = PAUSE_PER_PARTITION.saturating_mul(u32::try_from(partitions).unwrap_or(u32::MAX));
        // What takes no time to speak of is done at once.
        pause < NO_TIME || now.duration_since(last) >= pause
    }

    /// See [`RegionState::history_bytes`].
    fn history_bytes(&self) -> (usize, usize) {
        let histories: usize = self.histories.values().map(EndHistory::bytes).sum();
        let starts: usize = self.topics.values().map(|topic| topic.starts.bytes()).sum();
        let tracks: usize = self.groups.values().map(|group| group.track.bytes()).sum();
        let lags = self.groups.values().filter_map(|group| group.lag.get());
        let partitions = lags.flat_map(|lag| &lag.topics).map(|topic| topic.partitions.len()).sum();
        (histories + starts + tracks, partitions)
    }

    /// Forgets of the history what no group will ask for.
    fn prune(&mut self) {
        let mut needed: BTreeMap<&TopicName, BTreeMap<Partition, Vec<Offset>>> = BTreeMap::new();
        let mut partitions = 0;
        // Also of those who have not answered for so long that their lag is not shown: they may come back.
        for lag in self.groups.values().filter_map(|group| group.said.as_ref()?.lag.as_ref()) {
            for topic in &lag.topics {
                let needed = needed.entry(&topic.topic).or_default();
                partitions += topic.partitions.len();
                for p in &topic.partitions {
                    needed.entry(p.partition).or_default().extend(p.committed);
                }
            }
        }
        needed.values_mut().flat_map(BTreeMap::values_mut).for_each(|offsets| offsets.sort_unstable());
        let known: BTreeSet<&TopicName> = self.topics.keys().chain(needed.keys().copied()).collect();
        self.histories.retain(|topic, _| known.contains(topic));
        let prune = |histories: &mut BTreeMap<TopicName, EndHistory>, share: &dyn Fn(usize) -> usize| {
            for (topic, history) in histories {
                let needed = needed.get(topic);
                let share = share(history.len());
                let of = |partition| needed.and_then(|needed| needed.get(&partition));
                history.prune(|partition| of(partition).map_or(&[], Vec::as_slice), share);
            }
        };
        prune(&mut self.histories, &|_| usize::MAX);
        let held: usize = self.histories.values().map(EndHistory::len).sum();
        let (taken, _) = self.history_bytes();
        let beside_points = taken.saturating_sub(held * history::POINT_BYTES);
        let room = (partitions * BYTES_PER_PARTITION).saturating_sub(beside_points) / history::POINT_BYTES;
        let room = room.max(partitions * LEAST_POINTS);
        if held > room {
            // Each gives its part.
            prune(&mut self.histories, &|points| points * room / held);
        }
    }
}

impl RegionState {
    /// Forgets of the past what is not needed any more; once a poll.
    pub(super) fn prune(&mut self, now: Now) {
        let is_due = self.pruned.is_none_or(|at| now.mono.duration_since(at) >= self.timing.poll);
        if is_due {
            self.pruned = Some(now.mono);
            self.instances.values_mut().for_each(InstanceEntry::prune);
        }
    }

    /// Memory that the past takes, in bytes, and the partitions of groups that it is for.
    #[must_use]
    pub fn history_bytes(&self) -> (usize, usize) {
        let each = self.instances.values().map(InstanceEntry::history_bytes);
        each.fold((0, 0), |(bytes, partitions), (b, p)| (bytes + b, partitions + p))
    }
}
