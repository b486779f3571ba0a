//! What is said of groups when it is a topic that changed, and how much is remembered of the past.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Duration;

use super::{Fleet, Held, Member, Now, topic::TopicMember};
use crate::{
    lag::{self, age::TopicFacts, history::EndHistory},
    model::{Instance, Offset, Partition, TopicName},
};

/// Points of history that an instance may have, for each partition of each of its groups. One takes 16 bytes.
const POINTS_PER_PARTITION: usize = 6;

/// What is known of the topics of an instance, for whoever judges a group.
pub(super) fn facts<'a>(
    topics: &'a BTreeMap<TopicName, TopicMember>,
    histories: &'a BTreeMap<TopicName, EndHistory>,
    info: Option<&'a Instance>,
) -> impl Fn(&TopicName) -> TopicFacts<'a> + Copy {
    let retention = info.and_then(|info| info.message_retention_seconds).map(Duration::from_secs);
    move |name| {
        let known = topics.get(name);
        TopicFacts {
            history: histories.get(name),
            status: known.and_then(|known| known.status.get()).map(Arc::as_ref),
            starts: known.map(|known| &known.starts),
            cleanup: known.and_then(|known| known.info.get()).and_then(|info| info.cleanup),
            retention,
        }
    }
}

impl Member {
    /// Puts together anew what is said of the groups that read a topic of which something changed.
    pub(super) fn reassess(&mut self, window: Duration) {
        let changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return;
        }
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

    /// Forgets of the history what no group will ask for.
    fn prune(&mut self) {
        let mut needed: BTreeMap<&TopicName, BTreeMap<Partition, Offset>> = BTreeMap::new();
        let mut partitions = 0;
        for lag in self.groups.values().filter_map(|group| group.lag.get()) {
            for topic in &lag.topics {
                let needed = needed.entry(&topic.topic).or_default();
                partitions += topic.partitions.len();
                for p in &topic.partitions {
                    let Some(committed) = p.committed else { continue };
                    needed
                        .entry(p.partition)
                        .and_modify(|least| *least = committed.min(*least))
                        .or_insert(committed);
                }
            }
        }
        let known: BTreeSet<&TopicName> = self.topics.keys().chain(needed.keys().copied()).collect();
        self.histories.retain(|topic, _| known.contains(topic));
        let held: usize = self.histories.values().map(EndHistory::len).sum();
        let room = (partitions * POINTS_PER_PARTITION).max(held.min(POINTS_PER_PARTITION));
        for (topic, history) in &mut self.histories {
            let needed = needed.get(topic);
            // Where there is too much of it in all, each gives its part.
            let share = if held <= room { usize::MAX } else { history.len() * room / held.max(1) };
            history.prune(|partition| needed?.get(&partition).copied(), share);
        }
    }
}

impl Fleet {
    /// Forgets of the past what is not needed any more; once a poll.
    pub(super) fn prune(&mut self, now: Now) {
        let is_due = self.pruned.is_none_or(|at| now.mono.duration_since(at) >= self.timing.poll);
        if is_due {
            self.pruned = Some(now.mono);
            self.instances.values_mut().for_each(Member::prune);
        }
    }

    /// Memory that the past takes, in bytes, and the partitions of groups that it is for.
    #[must_use]
    pub fn history_bytes(&self) -> (usize, usize) {
        let mut all = (0, 0);
        for member in self.instances.values() {
            all.0 += member.histories.values().map(EndHistory::bytes).sum::<usize>();
            all.0 += member.topics.values().map(|topic| topic.starts.bytes()).sum::<usize>();
            for group in member.groups.values() {
                all.0 += group.track.bytes();
                let lag: &Held<_> = &group.lag;
                all.1 += lag.get().map_or(0, |lag| lag.topics.iter().map(|t| t.partitions.len()).sum());
            }
        }
        all
    }
}
