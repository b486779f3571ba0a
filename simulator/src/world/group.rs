//! Consumer groups, and the progress of their committed offsets.
//!
//! Offsets change only at the times of a commit interval, so that the world depends on its time and not on how
//! often it is read.

use std::collections::BTreeMap;

use super::{
    partition_log::PartitionLog,
    spec::{ConsumerMode, OffsetSpec},
    topic::Topic,
    truth::{GroupPartitionTruth, GroupTopicTruth, GroupTruth},
};

/// Times of rebalances: members join and leave, and nothing is committed meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct RebalancePlan {
    pub(crate) period_ms: Option<i64>,
    pub(crate) duration_ms: i64,
    /// Rebalances triggered by a test: (start, duration).
    pub(crate) forced: Vec<(i64, i64)>,
    /// Spans without members, in which no rebalance happens: (start, end).
    empty: Vec<(i64, i64)>,
}

impl RebalancePlan {
    pub(crate) fn new(period_ms: Option<i64>, duration_ms: i64) -> Self {
        Self { period_ms, duration_ms, forced: Vec::new(), empty: Vec::new() }
    }

    /// Records whether the group has members from now on.
    pub(crate) fn set_has_members(&mut self, has_members: bool, now: i64) {
        let was_empty = self.empty.last().is_some_and(|(_, end)| *end == i64::MAX);
        match self.empty.last_mut() {
            Some((_, end)) if was_empty && has_members => *end = now,
            _ if !was_empty && !has_members => self.empty.push((now, i64::MAX)),
            _ => {}
        }
    }

    /// Returns the last three periodic rebalances up to `now`, oldest first, and the total number of rebalances.
    fn periodic(&self, created_ms: i64, now: i64) -> (Vec<(i64, i64)>, i64) {
        let Some(period) = self.period_ms else { return (Vec::new(), 0) };
        let count_until = |t: i64| if t < created_ms { 0 } else { (t - created_ms).div_euclid(period) + 1 };
        let count = count_until(now);
        let skipped: Vec<(i64, i64)> = self
            .empty
            .iter()
            .map(|(start, end)| (count_until(*start - 1), count_until((*end).min(now + 1) - 1)))
            .filter(|(from, to)| from < to)
            .collect();
        let happened = |i: &i64| !skipped.iter().any(|(from, to)| (*from..*to).contains(i));
        let mut last: Vec<_> = (0..count)
            .rev()
            .filter(happened)
            .take(3)
            .map(|i| (created_ms + i * period, self.duration_ms))
            .collect();
        last.reverse();
        (last, count - skipped.iter().map(|(from, to)| to - from).sum::<i64>())
    }
}

/// A consumer group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    pub(crate) consumer: ConsumerMode,
    pub(crate) members: i64,
    pub(crate) rebalances: RebalancePlan,
    /// By topic, then in the order of partitions.
    pub(crate) cursors: BTreeMap<String, Vec<GroupCursor>>,
    /// Commit interval, starting at `phase_ms`.
    pub(crate) commit_ms: i64,
    pub(crate) phase_ms: i64,
}

/// Progress of a group on one partition.
#[derive(Debug, Clone)]
pub(crate) struct GroupCursor {
    pub(crate) committed: Option<i64>,
    /// Whether the API lists the partition even without a committed offset.
    pub(crate) listed: bool,
    /// Whether any member consumes the partition.
    pub(crate) active: bool,
    /// Time and offset from which a paced consumer proceeds.
    anchor: (i64, i64),
    committed_until_ms: i64,
}

impl GroupCursor {
    pub(crate) fn new(committed: Option<i64>, listed: bool, active: bool, now: i64) -> Self {
        Self { committed, listed, active, anchor: (now, committed.unwrap_or(0)), committed_until_ms: now }
    }

    /// Returns a cursor at a position. `previous` is the committed offset so far.
    pub(crate) fn at(position: OffsetSpec, log: &PartitionLog, previous: Option<i64>, now: i64) -> Self {
        let committed = match position {
            OffsetSpec::Start => Some(log.start(now)),
            OffsetSpec::End => Some(log.end(now)),
            OffsetSpec::At(offset) => Some(offset),
            OffsetSpec::Ago(ms) => Some(log.end(now.saturating_sub(ms))),
            OffsetSpec::Back(n) => previous.map(|c| c.saturating_sub(n).max(0)),
            OffsetSpec::Uncommitted | OffsetSpec::Unlisted => None,
        };
        let active = !matches!(position, OffsetSpec::Uncommitted | OffsetSpec::Unlisted);
        Self::new(committed, position != OffsetSpec::Unlisted, active, now)
    }

    /// Sets the committed offset. The consumer proceeds from there.
    pub(crate) fn set_committed(&mut self, committed: Option<i64>, now: i64) {
        self.committed = committed;
        self.anchor = (now, committed.unwrap_or(0));
        self.committed_until_ms = now;
    }

    fn truth(&self, partition: i64, log: &PartitionLog, skew_ms: i64, now: i64) -> GroupPartitionTruth {
        let (start, end) = (log.start(now), log.end(now));
        let committed = self.committed;
        let age_of_next =
            |c: i64| log.first_existing(c, now).map_or(0, |first| (now - log.time_of(first)).max(0));
        let last_consumed_ms =
            committed.and_then(|c| log.last_existing_before(c, now)).map(|last| log.time_of(last));
        GroupPartitionTruth {
            partition,
            listed: self.listed || committed.is_some(),
            committed,
            start,
            end,
            lag: committed.map(|c| (end - c).max(0)),
            oldest_unread_age_ms: committed.map(age_of_next),
            last_consumed_ms,
            last_consumed_stamp_ms: last_consumed_ms.map(|at| at.saturating_add(skew_ms)),
        }
    }
}

impl Group {
    fn commit_time_before(&self, t: i64) -> i64 {
        t - (t - self.phase_ms).rem_euclid(self.commit_ms)
    }

    fn rebalance_at(&self, t: i64) -> Option<(i64, i64)> {
        let plan = &self.rebalances;
        let forced = plan.forced.iter().rev().find(|(start, length)| (*start..start + length).contains(&t));
        forced.copied().or_else(|| {
            let start = t - (t - self.created_ms).rem_euclid(plan.period_ms?);
            (t - start < plan.duration_ms).then_some((start, plan.duration_ms))
        })
    }

    fn is_paused(&self, t: i64) -> bool {
        let is_stalled = match self.consumer {
            ConsumerMode::Flapping { period_ms, stalled_ms } => {
                (t - self.created_ms).rem_euclid(period_ms.max(1)) < stalled_ms
            }
            _ => false,
        };
        is_stalled || self.rebalance_at(t).is_some()
    }

    /// Moves the committed offsets on one topic to `now`.
    pub(crate) fn commit_topic(&mut self, topic: &str, logs: &[PartitionLog], now: i64) {
        let Some(mut cursors) = self.cursors.remove(topic) else { return };
        // The group consumes new partitions too.
        cursors.resize_with(logs.len(), || GroupCursor::new(None, true, true, now));
        for (cursor, log) in cursors.iter_mut().zip(logs) {
            self.commit_partition(cursor, log, now);
        }
        self.cursors.insert(topic.to_owned(), cursors);
    }

    fn commit_partition(&self, cursor: &mut GroupCursor, log: &PartitionLog, now: i64) {
        let first = self.commit_time_before(cursor.committed_until_ms) + self.commit_ms;
        let last = self.commit_time_before(now);
        if !cursor.active || first > last {
            return;
        }
        cursor.committed_until_ms = now;
        match self.consumer {
            ConsumerMode::Stalled | ConsumerMode::Stopped => {}
            ConsumerMode::Healthy | ConsumerMode::Flapping { .. } | ConsumerMode::Rewinding { .. } => {
                let mut t = last;
                while t >= first && self.is_paused(t) {
                    t -= self.commit_ms;
                }
                if t >= first {
                    let offset = match self.consumer {
                        ConsumerMode::Rewinding { period_ms, back_ms } => {
                            let since_rewind = (t - self.created_ms).rem_euclid(period_ms.max(1));
                            log.end(t - (back_ms - since_rewind).max(0)).max(log.start(t))
                        }
                        _ => log.end(t),
                    };
                    cursor.committed = Some(offset);
                    cursor.anchor = (t, offset);
                }
            }
            ConsumerMode::Paced { percent } => {
                let mut t = first;
                while t <= last {
                    let current = cursor.committed.unwrap_or_else(|| log.start(t));
                    if self.is_paused(t) {
                        cursor.anchor = (t, current);
                    } else {
                        let per_hour = i128::from(log.rate(t).mean_per_hour()) * i128::from(percent) / 100;
                        let consumed = per_hour * i128::from(t - cursor.anchor.0) / 3_600_000;
                        let from = if cursor.committed.is_some() { cursor.anchor.1 } else { current };
                        let target = from.saturating_add(i64::try_from(consumed).unwrap_or(i64::MAX));
                        // Skips what retention has removed, and waits for what is not written yet.
                        let offset = target.max(log.start(t)).min(log.end(t));
                        if offset != target {
                            cursor.anchor = (t, offset);
                        }
                        cursor.committed = Some(offset);
                    }
                    t += self.commit_ms;
                }
            }
        }
    }

    /// Changes the mode of the consumer. The caller has moved the committed offsets to `now`.
    pub(crate) fn set_consumer_mode(&mut self, consumer: ConsumerMode, now: i64) {
        self.consumer = consumer;
        self.rebalances.set_has_members(consumer != ConsumerMode::Stopped, now);
        for cursor in self.cursors.values_mut().flatten() {
            cursor.set_committed(cursor.committed, now);
        }
        if self.members == 0 && consumer != ConsumerMode::Stopped {
            self.members = 1;
        }
    }

    /// Returns `state`.
    pub(crate) fn state(&self, now: i64) -> &'static str {
        if self.consumer == ConsumerMode::Stopped || self.members == 0 {
            return if self.cursors.is_empty() { "DEAD" } else { "EMPTY" };
        }
        match self.rebalance_at(now) {
            Some((start, length)) if now - start < length / 2 => "PREPARING_REBALANCE",
            Some(_) => "COMPLETING_REBALANCE",
            None => "STABLE",
        }
    }

    /// Returns the last three rebalances: (generation, start, duration).
    fn past_rebalances(&self, now: i64) -> Vec<(i64, i64, i64)> {
        let mut all: Vec<(i64, i64)> =
            self.rebalances.forced.iter().copied().filter(|(start, _)| *start <= now).collect();
        let (periodic, count) = self.rebalances.periodic(self.created_ms, now);
        let count = i64::try_from(all.len()).unwrap_or(0) + count;
        all.extend(periodic);
        all.sort_unstable();
        let last = &all[all.len().saturating_sub(3)..];
        let first = count - i64::try_from(last.len()).unwrap_or(0);
        (1..).zip(last).map(|(i, (start, length))| (first + i, *start, *length)).collect()
    }

    /// Returns the ground truth. The caller has moved the committed offsets to `now`.
    pub(crate) fn truth(
        &self,
        now: i64,
        instance_topics: &BTreeMap<String, Topic>,
        serverless: bool,
    ) -> GroupTruth {
        let mut topics = BTreeMap::new();
        for (name, cursors) in &self.cursors {
            let Some(topic) = instance_topics.get(name) else { continue };
            let partitions: Vec<_> = (0..)
                .zip(cursors.iter().zip(&topic.logs))
                .map(|(i, (cursor, log))| cursor.truth(i, log, topic.producer_clock_skew_ms, now))
                .collect();
            let lag = partitions.iter().filter_map(|p| p.lag).sum();
            let times_hidden = serverless || topic.local;
            topics.insert(name.clone(), GroupTopicTruth { lag, times_hidden, partitions });
        }
        let partitions = topics.values().flat_map(|t| &t.partitions);
        GroupTruth {
            now_ms: now,
            state: self.state(now),
            consumer: self.consumer,
            lag: topics.values().map(|t| t.lag).sum(),
            oldest_unread_age_ms: partitions.filter_map(|p| p.oldest_unread_age_ms).max(),
            members: if self.consumer == ConsumerMode::Stopped { 0 } else { self.members },
            rebalances: self.past_rebalances(now),
            topics,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::partition_log::{Compaction, ProduceRate};

    fn group(consumer: ConsumerMode, committed: i64) -> Group {
        Group {
            name: "g".to_owned(),
            created_ms: 0,
            consumer,
            members: 2,
            rebalances: RebalancePlan::new(None, 0),
            cursors: BTreeMap::from([(
                "t".to_owned(),
                vec![GroupCursor::new(Some(committed), true, true, 0)],
            )]),
            commit_ms: 5_000,
            phase_ms: 0,
        }
    }

    fn at(g: &mut Group, log: &PartitionLog, now: i64) -> GroupPartitionTruth {
        g.commit_topic("t", std::slice::from_ref(log), now);
        g.cursors["t"][0].truth(0, log, 250, now)
    }

    #[test]
    fn healthy_group_commits_to_the_end_at_commit_times() {
        let (mut g, log) =
            (group(ConsumerMode::Healthy, 0), PartitionLog::new(0, 0, ProduceRate::per_second(10), 1, None));
        assert_eq!(at(&mut g, &log, 4_999).committed, Some(0));
        let p = at(&mut g, &log, 14_000);
        assert_eq!((p.committed, p.end, p.lag), (Some(100), 140, Some(40)));
        assert_eq!((p.last_consumed_ms, p.last_consumed_stamp_ms), (Some(10_000), Some(10_250)));
        assert_eq!(p.oldest_unread_age_ms, Some(14_000 - 10_100));
    }

    #[test]
    fn paced_group_does_not_depend_on_how_often_it_is_read() {
        let log = PartitionLog::new(0, 0, ProduceRate::per_second(10), 1, None);
        let (mut fine, mut coarse) =
            (group(ConsumerMode::Paced { percent: 50 }, 0), group(ConsumerMode::Paced { percent: 50 }, 0));
        for t in (0..=600_000).step_by(700) {
            at(&mut fine, &log, t);
        }
        assert_eq!(at(&mut fine, &log, 600_000), at(&mut coarse, &log, 600_000));
        assert_eq!(at(&mut fine, &log, 600_000).lag, Some(3_000));
        fine.set_consumer_mode(ConsumerMode::Paced { percent: 300 }, 600_000);
        assert_eq!(at(&mut fine, &log, 700_000).lag, Some(1_000));
        assert_eq!(at(&mut fine, &log, 900_000).lag, Some(0));
    }

    #[test]
    fn stalled_group_keeps_its_offset_until_it_resumes() {
        let (mut g, log) =
            (group(ConsumerMode::Stalled, 0), PartitionLog::new(0, 0, ProduceRate::per_second(1), 1, None));
        let p = at(&mut g, &log, 60_000);
        assert_eq!((p.committed, p.lag, p.oldest_unread_age_ms), (Some(0), Some(60), Some(59_000)));
        g.set_consumer_mode(ConsumerMode::Healthy, 60_000);
        assert_eq!(at(&mut g, &log, 65_000).lag, Some(0));
    }

    #[test]
    fn rewinding_group_rewinds_in_each_period_and_catches_up() {
        let log = PartitionLog::new(0, -100_000, ProduceRate::per_second(1), 1, None);
        let (mut fine, mut coarse) = (
            group(ConsumerMode::Rewinding { period_ms: 60_000, back_ms: 30_000 }, 0),
            group(ConsumerMode::Rewinding { period_ms: 60_000, back_ms: 30_000 }, 0),
        );
        let lag = |g: &mut Group, now| at(g, &log, now).lag;
        let seen: Vec<_> = (1..=14).map(|n| lag(&mut fine, n * 5_000).unwrap_or(-1)).collect();
        assert_eq!(seen, [25, 20, 15, 10, 5, 0, 0, 0, 0, 0, 0, 30, 25, 20]);
        assert_eq!(lag(&mut coarse, 70_000), Some(20), "does not depend on how often it is read");
    }

    #[test]
    fn rebalance_stops_commits_and_shows_in_the_state() {
        let (mut g, log) =
            (group(ConsumerMode::Healthy, 0), PartitionLog::new(0, 0, ProduceRate::per_second(1), 1, None));
        g.rebalances.forced.push((10_000, 20_000));
        assert_eq!(at(&mut g, &log, 29_000).committed, Some(5));
        assert_eq!(
            (g.state(12_000), g.state(25_000), g.state(31_000)),
            ("PREPARING_REBALANCE", "COMPLETING_REBALANCE", "STABLE")
        );
        assert_eq!(at(&mut g, &log, 31_000).committed, Some(30));
        assert_eq!(g.truth(31_000, &BTreeMap::new(), false).rebalances, vec![(1, 10_000, 20_000)]);
    }

    #[test]
    fn group_without_members_does_not_rebalance() {
        let mut g = group(ConsumerMode::Healthy, 0);
        g.rebalances.period_ms = Some(10_000);
        let rebalances = |g: &Group, now| -> Vec<(i64, i64)> {
            g.past_rebalances(now).into_iter().map(|(generation, at, _)| (generation, at)).collect()
        };
        assert_eq!(rebalances(&g, 35_000), [(2, 10_000), (3, 20_000), (4, 30_000)]);
        g.set_consumer_mode(ConsumerMode::Stopped, 35_000);
        assert_eq!(rebalances(&g, 99_000), rebalances(&g, 35_000));
        g.set_consumer_mode(ConsumerMode::Healthy, 99_000);
        assert_eq!(rebalances(&g, 112_000), [(4, 30_000), (5, 100_000), (6, 110_000)]);
    }

    #[test]
    fn compacted_messages_are_not_unread() {
        let compaction = Some(Compaction { older_than_ms: 30_000, keep_every: 50 });
        let log = PartitionLog::new(0, 0, ProduceRate::per_second(1), 1, None).compacted(compaction);
        let p = at(&mut group(ConsumerMode::Stalled, 60), &log, 200_000);
        assert_eq!((p.lag, p.oldest_unread_age_ms), (Some(140), Some(200_000 - 101_000)));
        assert_eq!(p.last_consumed_ms, Some(51_000), "of the consumed messages, the 50th is left");
    }

    #[test]
    fn data_loss_keeps_the_committed_offset_and_uses_the_oldest_retained_message() {
        let (mut g, log) = (
            group(ConsumerMode::Stopped, 0),
            PartitionLog::new(0, 0, ProduceRate::per_second(1), 10, Some(30_000)),
        );
        let p = at(&mut g, &log, 100_000);
        assert_eq!((p.committed, p.start, p.last_consumed_ms), (Some(0), 70, None));
        assert_eq!(p.oldest_unread_age_ms, Some(100_000 - 71_000));
    }
}
