//! ConsumerMode groups: how their committed offsets move. Offsets move only on a grid of commits, so that the
//! world depends on its time and not on how often it was looked at.

use std::collections::BTreeMap;

use super::{
    Topic,
    partition_log::PartitionLog,
    truth::{GroupPartitionTruth, GroupTopicTruth, GroupTruth},
};

/// How a group reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerMode {
    /// Reads to the end at each commit.
    Healthy,
    /// Reads at a part of the mean rate of what is written: below 100 % it falls behind, above it catches up.
    Paced {
        /// Rate in percent of the mean write rate.
        percent: u32,
    },
    /// Has members, commits nothing.
    Stalled,
    /// Has no members, commits nothing.
    Stopped,
    /// Healthy, but stalled for the first part of each period.
    Flapping {
        /// Length of the period, in milliseconds.
        period_ms: i64,
        /// Length of the stall, in milliseconds.
        stalled_ms: i64,
    },
    /// Put back at the end of each period, and then twice as fast as what is written until it is at the end.
    Rewinding {
        /// Length of the period, in milliseconds.
        period_ms: i64,
        /// How far back in time, in milliseconds.
        back_ms: i64,
    },
}

/// When a group rebalances: members come and go, and nothing is committed meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct RebalancePlan {
    pub(crate) period_ms: Option<i64>,
    pub(crate) duration_ms: i64,
    /// RebalancePlan asked for by hand: (from, how long).
    pub(crate) forced: Vec<(i64, i64)>,
    /// When the group had no members: (from, until). Nobody rebalances then.
    pub(crate) nobody: Vec<(i64, i64)>,
}

impl RebalancePlan {
    pub(crate) fn new(period_ms: Option<i64>, duration_ms: i64) -> Self {
        Self { period_ms, duration_ms, forced: Vec::new(), nobody: Vec::new() }
    }

    /// Nobody is in the group from now on, or somebody is again.
    pub(crate) fn joined(&mut self, anybody: bool, now: i64) {
        let absent = self.nobody.last().is_some_and(|(_, until)| *until == i64::MAX);
        match self.nobody.last_mut() {
            Some((_, until)) if absent && anybody => *until = now,
            _ if !absent && !anybody => self.nobody.push((now, i64::MAX)),
            _ => {}
        }
    }

    /// The last three by the period up to `now`, oldest first, and how many there were in all.
    fn periodic(&self, created_ms: i64, now: i64) -> (Vec<(i64, i64)>, i64) {
        let Some(period) = self.period_ms else { return (Vec::new(), 0) };
        let until = |t: i64| if t < created_ms { 0 } else { (t - created_ms).div_euclid(period) + 1 };
        let all = until(now);
        let spans = self.nobody.iter().map(|(from, to)| (until(*from - 1), until((*to).min(now + 1) - 1)));
        let missed: Vec<(i64, i64)> = spans.filter(|(from, to)| from < to).collect();
        let held = |i: &i64| !missed.iter().any(|(from, to)| (*from..*to).contains(i));
        let last = (0..all).rev().filter(held).take(3).map(|i| (created_ms + i * period, self.duration_ms));
        let mut last: Vec<_> = last.collect();
        last.reverse();
        (last, all - missed.iter().map(|(from, to)| to - from).sum::<i64>())
    }
}

/// One consumer group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    pub(crate) remark: String,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) automatic: bool,
    pub(crate) consumer: ConsumerMode,
    pub(crate) members: i64,
    pub(crate) rebalances: RebalancePlan,
    pub(crate) reads: BTreeMap<String, Vec<GroupCursor>>,
    /// Grid of commits: every `commit_ms`, from `phase_ms` on.
    pub(crate) commit_ms: i64,
    pub(crate) phase_ms: i64,
}

/// How far a group has read one partition.
#[derive(Debug, Clone)]
pub(crate) struct GroupCursor {
    pub(crate) committed: Option<i64>,
    /// Whether the service lists the partition although nothing is committed.
    pub(crate) listed: bool,
    /// Whether anybody reads it at all.
    pub(crate) active: bool,
    /// Reading at a pace goes on from here.
    anchor: (i64, i64),
    committed_until_ms: i64,
}

impl GroupCursor {
    pub(crate) fn new(committed: Option<i64>, listed: bool, active: bool, now: i64) -> Self {
        Self { committed, listed, active, anchor: (now, committed.unwrap_or(0)), committed_until_ms: now }
    }

    /// Puts the position, and lets the consumer go on from there.
    pub(crate) fn put(&mut self, committed: Option<i64>, now: i64) {
        self.committed = committed;
        self.anchor_here(now);
    }

    fn anchor_here(&mut self, now: i64) {
        self.anchor = (now, self.committed.unwrap_or(0));
        self.committed_until_ms = now;
    }
}

impl Group {
    fn grid_at_or_before(&self, t: i64) -> i64 {
        t - (t - self.phase_ms).rem_euclid(self.commit_ms)
    }

    fn rebalance_at(&self, t: i64) -> Option<(i64, i64)> {
        let forced =
            self.rebalances.forced.iter().rev().find(|(from, long)| (*from..from + long).contains(&t));
        forced.copied().or_else(|| {
            let period = self.rebalances.period_ms?;
            let from = t - (t - self.created_ms).rem_euclid(period);
            (t - from < self.rebalances.duration_ms).then_some((from, self.rebalances.duration_ms))
        })
    }

    fn paused(&self, t: i64) -> bool {
        let stalled = match self.consumer {
            ConsumerMode::Flapping { period_ms, stalled_ms } => {
                (t - self.created_ms).rem_euclid(period_ms.max(1)) < stalled_ms
            }
            _ => false,
        };
        stalled || self.rebalance_at(t).is_some()
    }

    /// Moves the committed offsets of one topic to `now`.
    pub(crate) fn commit_topic(&mut self, topic: &str, logs: &[PartitionLog], now: i64) {
        let Some(mut cursors) = self.reads.remove(topic) else { return };
        // Partitions that were added since: they are read like the others.
        while cursors.len() < logs.len() {
            cursors.push(GroupCursor::new(None, true, true, now));
        }
        cursors.truncate(logs.len());
        for (cursor, log) in cursors.iter_mut().zip(logs) {
            self.commit_partition(cursor, log, now);
        }
        self.reads.insert(topic.to_owned(), cursors);
    }

    fn commit_partition(&self, cursor: &mut GroupCursor, log: &PartitionLog, now: i64) {
        let first = self.grid_at_or_before(cursor.committed_until_ms) + self.commit_ms;
        let last = self.grid_at_or_before(now);
        if !cursor.active || first > last {
            return;
        }
        cursor.committed_until_ms = now;
        match self.consumer {
            ConsumerMode::Stalled | ConsumerMode::Stopped => {}
            ConsumerMode::Healthy | ConsumerMode::Flapping { .. } => {
                let mut t = last;
                while t >= first && self.paused(t) {
                    t -= self.commit_ms;
                }
                if t >= first {
                    cursor.committed = Some(log.end(t));
                    cursor.anchor = (t, log.end(t));
                }
            }
            ConsumerMode::Rewinding { period_ms, back_ms } => {
                let mut t = last;
                while t >= first && self.paused(t) {
                    t -= self.commit_ms;
                }
                if t >= first {
                    let since = (t - self.created_ms).rem_euclid(period_ms.max(1));
                    let read = log.end(t - (back_ms - since).max(0)).max(log.start(t));
                    cursor.committed = Some(read);
                    cursor.anchor = (t, read);
                }
            }
            ConsumerMode::Paced { percent } => {
                let mut t = first;
                while t <= last {
                    let here = cursor.committed.unwrap_or_else(|| log.start(t));
                    if self.paused(t) {
                        cursor.anchor = (t, here);
                    } else {
                        let per_hour = i128::from(log.rate(t).mean_per_hour()) * i128::from(percent) / 100;
                        let read = per_hour * i128::from(t - cursor.anchor.0) / 3_600_000;
                        let from = if cursor.committed.is_some() { cursor.anchor.1 } else { here };
                        let at = from.saturating_add(i64::try_from(read).unwrap_or(i64::MAX));
                        // What retention removed is skipped, what is not written yet is waited for.
                        let to = at.max(log.start(t)).min(log.end(t));
                        if to != at {
                            cursor.anchor = (t, to);
                        }
                        cursor.committed = Some(to);
                    }
                    t += self.commit_ms;
                }
            }
        }
    }

    /// Changes how the group reads, from `now` on. The caller has settled it.
    pub(crate) fn set_consumer_mode(&mut self, consumer: ConsumerMode, now: i64) {
        self.consumer = consumer;
        self.rebalances.joined(consumer != ConsumerMode::Stopped, now);
        for cursor in self.reads.values_mut().flatten() {
            cursor.anchor_here(now);
        }
        if self.members == 0 && consumer != ConsumerMode::Stopped {
            self.members = 1;
        }
    }

    /// `state`, as the service spells it.
    pub(crate) fn state(&self, now: i64) -> &'static str {
        if self.consumer == ConsumerMode::Stopped || self.members == 0 {
            return if self.reads.is_empty() { "DEAD" } else { "EMPTY" };
        }
        match self.rebalance_at(now) {
            Some((from, long)) if now - from < long / 2 => "PREPARING_REBALANCE",
            Some(_) => "COMPLETING_REBALANCE",
            None => "STABLE",
        }
    }

    /// The last three rebalances: (generation, when, how long).
    fn past_rebalances(&self, now: i64) -> Vec<(i64, i64, i64)> {
        let mut all: Vec<(i64, i64)> =
            self.rebalances.forced.iter().copied().filter(|(from, _)| *from <= now).collect();
        let (periodic, count) = self.rebalances.periodic(self.created_ms, now);
        let in_all = i64::try_from(all.len()).unwrap_or(0) + count;
        all.extend(periodic);
        all.sort_unstable();
        let shown = &all[all.len().saturating_sub(3)..];
        let first = in_all - i64::try_from(shown.len()).unwrap_or(0);
        (1..).zip(shown).map(|(i, (from, long))| (first + i, *from, *long)).collect()
    }

    /// The truth, given the topics that it reads and whether their times are hidden. The caller has settled it.
    pub(crate) fn truth<'a>(&self, now: i64, of: impl Fn(&str) -> Option<(&'a Topic, bool)>) -> GroupTruth {
        let mut topics = BTreeMap::new();
        for (name, cursors) in &self.reads {
            let Some((topic, times_hidden)) = of(name) else { continue };
            let parts = (0..).zip(cursors.iter().zip(&topic.logs));
            let partitions: Vec<_> =
                parts.map(|(i, (c, l))| partition(i, c, l, topic.stamp_skew_ms, now)).collect();
            let lag = partitions.iter().filter_map(|p| p.lag).sum();
            topics.insert(name.clone(), GroupTopicTruth { lag, times_hidden, partitions });
        }
        let parts = || topics.values().flat_map(|t| &t.partitions);
        GroupTruth {
            now_ms: now,
            state: self.state(now),
            consumer: self.consumer,
            lag: topics.values().map(|t| t.lag).sum(),
            oldest_unread_age_ms: parts().filter_map(|p| p.oldest_unread_age_ms).max(),
            members: if self.consumer == ConsumerMode::Stopped { 0 } else { self.members },
            rebalances: self.past_rebalances(now),
            topics,
        }
    }
}

fn partition(
    number: i64,
    cursor: &GroupCursor,
    log: &PartitionLog,
    skew_ms: i64,
    now: i64,
) -> GroupPartitionTruth {
    let (start, end) = (log.start(now), log.end(now));
    let committed = cursor.committed;
    let age = |c: i64| log.first_held(c, now).map_or(0, |first| (now - log.time_of(first)).max(0));
    let last_consumed = committed.and_then(|c| log.last_held_before(c, now)).map(|last| log.time_of(last));
    GroupPartitionTruth {
        partition: number,
        listed: cursor.listed || committed.is_some(),
        committed,
        start,
        end,
        lag: committed.map(|c| (end - c).max(0)),
        oldest_unread_age_ms: committed.map(age),
        last_consumed_ms: last_consumed,
        last_consumed_stamp_ms: last_consumed.map(|at| at.saturating_add(skew_ms)),
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
            remark: String::new(),
            tags: Vec::new(),
            automatic: false,
            consumer,
            members: 2,
            rebalances: RebalancePlan::new(None, 0),
            reads: BTreeMap::from([("t".to_owned(), vec![GroupCursor::new(Some(committed), true, true, 0)])]),
            commit_ms: 5_000,
            phase_ms: 0,
        }
    }

    fn at(g: &mut Group, log: &PartitionLog, now: i64) -> GroupPartitionTruth {
        g.commit_topic("t", std::slice::from_ref(log), now);
        partition(0, &g.reads["t"][0], log, 250, now)
    }

    #[test]
    fn a_healthy_group_commits_to_the_end_on_the_grid_only() {
        let (mut g, log) =
            (group(ConsumerMode::Healthy, 0), PartitionLog::new(0, 0, ProduceRate::per_second(10), 1, None));
        assert_eq!(at(&mut g, &log, 4_999).committed, Some(0));
        let p = at(&mut g, &log, 14_000);
        assert_eq!((p.committed, p.end, p.lag), (Some(100), 140, Some(40)));
        assert_eq!((p.last_consumed_ms, p.last_consumed_stamp_ms), (Some(10_000), Some(10_250)));
        assert_eq!(p.oldest_unread_age_ms, Some(14_000 - 10_100));
    }

    #[test]
    fn a_paced_group_falls_behind_and_catches_up_whatever_the_steps() {
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
    fn a_stalled_group_keeps_its_offset_and_goes_on_when_it_resumes() {
        let (mut g, log) =
            (group(ConsumerMode::Stalled, 0), PartitionLog::new(0, 0, ProduceRate::per_second(1), 1, None));
        let p = at(&mut g, &log, 60_000);
        assert_eq!((p.committed, p.lag, p.oldest_unread_age_ms), (Some(0), Some(60), Some(59_000)));
        g.set_consumer_mode(ConsumerMode::Healthy, 60_000);
        assert_eq!(at(&mut g, &log, 65_000).lag, Some(0));
    }

    #[test]
    fn a_rewinding_group_falls_back_in_each_period_and_reads_up_again() {
        let log = PartitionLog::new(0, -100_000, ProduceRate::per_second(1), 1, None);
        let (mut fine, mut coarse) = (
            group(ConsumerMode::Rewinding { period_ms: 60_000, back_ms: 30_000 }, 0),
            group(ConsumerMode::Rewinding { period_ms: 60_000, back_ms: 30_000 }, 0),
        );
        let lag = |g: &mut Group, now| at(g, &log, now).lag;
        let seen: Vec<_> = (1..=14).map(|n| lag(&mut fine, n * 5_000).unwrap_or(-1)).collect();
        assert_eq!(seen, [25, 20, 15, 10, 5, 0, 0, 0, 0, 0, 0, 30, 25, 20]);
        assert_eq!(lag(&mut coarse, 70_000), Some(20), "however often it was looked at");
    }

    #[test]
    fn nothing_is_committed_during_a_rebalance_and_the_state_tells_it() {
        let (mut g, log) =
            (group(ConsumerMode::Healthy, 0), PartitionLog::new(0, 0, ProduceRate::per_second(1), 1, None));
        g.rebalances.forced.push((10_000, 20_000));
        assert_eq!(at(&mut g, &log, 29_000).committed, Some(5));
        assert_eq!(
            (g.state(12_000), g.state(25_000), g.state(31_000)),
            ("PREPARING_REBALANCE", "COMPLETING_REBALANCE", "STABLE")
        );
        assert_eq!(at(&mut g, &log, 31_000).committed, Some(30));
        assert_eq!(g.truth(31_000, |_| None).rebalances, vec![(1, 10_000, 20_000)]);
    }

    #[test]
    fn a_group_that_nobody_is_in_does_not_rebalance() {
        let mut g = group(ConsumerMode::Healthy, 0);
        g.rebalances.period_ms = Some(10_000);
        let told = |g: &Group, now| -> Vec<(i64, i64)> {
            g.past_rebalances(now).into_iter().map(|(generation, at, _)| (generation, at)).collect()
        };
        assert_eq!(told(&g, 35_000), [(2, 10_000), (3, 20_000), (4, 30_000)]);
        g.set_consumer_mode(ConsumerMode::Stopped, 35_000);
        assert_eq!(told(&g, 99_000), told(&g, 35_000));
        g.set_consumer_mode(ConsumerMode::Healthy, 99_000);
        assert_eq!(told(&g, 112_000), [(4, 30_000), (5, 100_000), (6, 110_000)]);
    }

    #[test]
    fn what_compaction_took_is_not_unread() {
        let compaction = Some(Compaction { older_than_ms: 30_000, keep_every: 50 });
        let log = PartitionLog::new(0, 0, ProduceRate::per_second(1), 1, None).compacted(compaction);
        let p = at(&mut group(ConsumerMode::Stalled, 60), &log, 200_000);
        assert_eq!((p.lag, p.oldest_unread_age_ms), (Some(140), Some(200_000 - 101_000)));
        assert_eq!(p.last_consumed_ms, Some(51_000), "of those that were read, the 50th is left");
    }

    #[test]
    fn data_loss_keeps_the_offset_before_the_start_and_ages_what_is_still_held() {
        let (mut g, log) = (
            group(ConsumerMode::Stopped, 0),
            PartitionLog::new(0, 0, ProduceRate::per_second(1), 10, Some(30_000)),
        );
        let p = at(&mut g, &log, 100_000);
        assert_eq!((p.committed, p.start, p.last_consumed_ms), (Some(0), 70, None));
        assert_eq!(p.oldest_unread_age_ms, Some(100_000 - 71_000));
    }
}
