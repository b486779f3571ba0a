//! Lag in messages of partitions, topics and groups, and the retention margin of committed offsets. Pure.
//!
//! Owns: the arithmetic between a committed offset, an end offset and a start offset. A total covers the parts whose
//! lag is known and is absent if none is. Out of scope: I/O, clocks, estimates.
//!
//! Each submodule uses only those before it. [`end_history`] and [`start_history`] record where partitions ended and
//! started; [`facts`] combines them with the status of a topic. [`bounds`] computes lag in seconds from them.
//! [`window`] remembers recent polls, [`status`] and `forecast` interpret them, and [`assess`] joins all results.

pub mod assess;
pub mod bounds;
pub mod end_history;
pub mod facts;
mod forecast;
#[cfg(test)]
mod reference_model;
pub mod start_history;
pub mod status;
pub mod window;

use crate::model::{
    Anomaly, AnomalyKind, GroupProgress, Offset, Partition, PartitionProgress, TopicName, TopicProgress,
    UnixMillis,
};

/// Lag of a group in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLag {
    /// Total over the topics whose lag is known; 0 for a group without topics.
    pub messages: Option<u64>,
    /// Each topic once, sorted by name.
    pub topics: Vec<TopicLag>,
}

/// Lag of a group on one topic, in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicLag {
    /// The topic.
    pub topic: TopicName,
    /// Total over the partitions whose lag is known.
    pub messages: Option<u64>,
    /// Each partition once, sorted by number.
    pub partitions: Vec<PartitionLag>,
}

impl GroupLag {
    /// Returns the lag on a topic.
    #[must_use]
    pub fn topic(&self, topic: &TopicName) -> Option<&TopicLag> {
        let i = self.topics.binary_search_by(|t| t.topic.cmp(topic)).ok()?;
        self.topics.get(i)
    }
}

impl TopicLag {
    /// Returns the lag on a partition.
    #[must_use]
    pub fn partition(&self, partition: Partition) -> Option<&PartitionLag> {
        partition.find_in(&self.partitions, |p| p.partition)
    }

    /// Whether the group has committed an offset on this topic.
    #[must_use]
    pub fn is_consumed(&self) -> bool {
        self.partitions.iter().any(|p| p.committed.is_some())
    }
}

/// Lag of a group on one partition, in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLag {
    /// The partition.
    pub partition: Partition,
    /// End offset (`BrokerOffset`).
    pub end: Option<Offset>,
    /// Committed offset (`ConsumerOffset`).
    pub committed: Option<Offset>,
    /// End offset minus committed offset of the same response, at least 0.
    pub messages: Option<u64>,
    /// Store time of the last consumed message (`LastTimestamp`).
    pub last_consumed: Option<UnixMillis>,
}

impl PartitionLag {
    /// Whether the group has unread messages on the partition.
    #[must_use]
    pub fn has_lag(&self) -> bool {
        self.messages > Some(0)
    }
}

/// Distance of a committed offset from the oldest retained message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionMargin {
    /// Messages from the oldest retained one to the committed offset; `None` once messages are lost.
    pub margin: Option<u64>,
    /// Messages deleted before the group read them.
    pub lost: u64,
}

impl RetentionMargin {
    /// Compares a committed offset with the start offset of its partition (`MinOffset`).
    ///
    /// The two come from different responses. Start offsets only grow, so an older one makes the margin too large.
    #[must_use]
    pub fn new(committed: Offset, start: Offset) -> Self {
        let margin = committed.minus(start);
        Self { margin: u64::try_from(margin).ok(), lost: margin.min(0).unsigned_abs() }
    }
}

/// Computes the lag of a group from one `GetConsumerProgress` response.
///
/// Topics and partitions keep the order of `progress`. The anomalies are committed offsets beyond the end
/// ([`AnomalyKind::Clamped`]) and totals of the server that differ from the sum of all parts
/// ([`AnomalyKind::TotalMismatch`]).
#[must_use]
pub fn compute_lag(progress: &GroupProgress) -> (GroupLag, Vec<Anomaly>) {
    let mut anomalies = Vec::new();
    let topics: Vec<TopicLag> = progress.topics.iter().map(|t| topic_lag(t, &mut anomalies)).collect();
    let messages = if topics.is_empty() { Some(0) } else { known_total(topics.iter().map(|t| t.messages)) };
    let is_complete = topics.iter().flat_map(|t| &t.partitions).all(|p| p.messages.is_some());
    check_total(progress.total_diff, messages.filter(|_| is_complete), "the group", &mut anomalies);
    (GroupLag { messages, topics }, anomalies)
}

fn topic_lag(progress: &TopicProgress, anomalies: &mut Vec<Anomaly>) -> TopicLag {
    let partitions: Vec<PartitionLag> = progress
        .partitions
        .iter()
        .map(|p| PartitionLag {
            partition: p.partition,
            end: p.end,
            committed: p.committed,
            messages: partition_lag(&progress.topic, p, anomalies),
            last_consumed: p.last_consumed,
        })
        .collect();
    let messages = known_total(partitions.iter().map(|p| p.messages));
    let is_complete = partitions.iter().all(|p| p.messages.is_some());
    check_total(progress.total_diff, messages.filter(|_| is_complete), progress.topic.as_str(), anomalies);
    TopicLag { topic: progress.topic.clone(), messages, partitions }
}

fn partition_lag(topic: &TopicName, p: &PartitionProgress, anomalies: &mut Vec<Anomaly>) -> Option<u64> {
    let lag = p.end?.minus(p.committed?);
    if lag < 0 {
        anomalies.push(Anomaly {
            kind: AnomalyKind::Clamped,
            detail: format!("topic {topic} partition {}: committed offset beyond the end", p.partition.0),
        });
    }
    Some(lag.max(0).unsigned_abs())
}

/// Returns the total of the known values, `None` if none is known. Saturates.
fn known_total(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    values.flatten().reduce(u64::saturating_add)
}

fn check_total(server: Option<i64>, computed: Option<u64>, name: &str, anomalies: &mut Vec<Anomaly>) {
    let (Some(server), Some(computed)) = (server, computed) else { return };
    if i128::from(server) != i128::from(computed) {
        anomalies.push(Anomaly {
            kind: AnomalyKind::TotalMismatch,
            detail: format!("TotalDiff of {name} is {server}, the sum of its partitions is {computed}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, option, prelude::*};

    use super::*;

    fn offset(value: i64) -> Option<Offset> {
        Offset::new(value)
    }

    fn row(number: u32, end: i64, committed: i64) -> PartitionProgress {
        PartitionProgress {
            partition: Partition(number),
            end: offset(end),
            committed: offset(committed),
            last_consumed: UnixMillis::new(i64::from(number)),
        }
    }

    fn progress(
        topics: Vec<(&str, Option<i64>, Vec<PartitionProgress>)>,
        total_diff: Option<i64>,
    ) -> GroupProgress {
        let topics = topics.into_iter().map(|(name, total_diff, partitions)| TopicProgress {
            topic: TopicName::new(name).unwrap(),
            total_diff,
            partitions,
        });
        GroupProgress { total_diff, topics: topics.collect(), ..GroupProgress::default() }
    }

    fn kinds(anomalies: &[Anomaly]) -> Vec<AnomalyKind> {
        anomalies.iter().map(|a| a.kind).collect()
    }

    #[test]
    fn lag_is_end_minus_committed_offset_summed_over_known_parts() {
        let (lag, anomalies) = compute_lag(&progress(
            vec![
                ("a", Some(7), vec![row(0, 10, 5), row(1, 10, 8), row(2, -1, 4), row(3, 4, -1)]),
                ("b", Some(1), vec![row(0, 1, 0)]),
                ("c", None, vec![row(0, 9, -1)]),
            ],
            Some(8),
        ));
        let messages = |t: usize| lag.topics[t].partitions.iter().map(|p| p.messages).collect::<Vec<_>>();
        assert_eq!(messages(0), [Some(5), Some(2), None, None]);
        let sums: Vec<_> = lag.topics.iter().map(|t| t.messages).collect();
        assert_eq!((sums, lag.messages), (vec![Some(7), Some(1), None], Some(8)));
        assert_eq!(anomalies, []);
        assert!(lag.topics[0].is_consumed() && !lag.topics[2].is_consumed());
        assert_eq!(lag.topics[0].partitions[1].last_consumed, UnixMillis::new(1));
    }

    #[test]
    fn lag_is_zero_without_topics_and_unknown_without_offsets() {
        assert_eq!(compute_lag(&progress(vec![], None)).0.messages, Some(0));
        assert_eq!(compute_lag(&progress(vec![("a", None, vec![])], None)).0.messages, None);
        assert_eq!(compute_lag(&progress(vec![("a", None, vec![row(0, 5, -1)])], None)).0.messages, None);
    }

    #[test]
    fn lag_is_exact_for_offsets_beyond_2_to_the_53() {
        let large = 1 << 53;
        let (lag, _) = compute_lag(&progress(
            vec![("a", None, vec![row(0, large + 1, large), row(1, i64::MAX, 0)])],
            None,
        ));
        let messages: Vec<_> = lag.topics[0].partitions.iter().map(|p| p.messages).collect();
        assert_eq!(messages, [Some(1), Some(i64::MAX.unsigned_abs())]);
    }

    #[test]
    fn a_committed_offset_beyond_the_end_is_zero_lag_and_an_anomaly() {
        let (lag, anomalies) =
            compute_lag(&progress(vec![("a", None, vec![row(0, 0, i64::MAX), row(1, 5, 3)])], None));
        assert_eq!(lag.topics[0].partitions[0].messages, Some(0));
        assert_eq!(lag.messages, Some(2));
        assert_eq!(kinds(&anomalies), [AnomalyKind::Clamped]);
    }

    #[test]
    fn a_server_total_is_compared_only_with_a_complete_sum() {
        let complete = vec![row(0, 10, 5)];
        let incomplete = vec![row(0, 10, 5), row(1, 10, -1)];
        let mismatches = |topic, group_total, rows: &[PartitionProgress]| {
            kinds(&compute_lag(&progress(vec![("a", topic, rows.to_vec())], group_total)).1).len()
        };
        assert_eq!(mismatches(Some(5), Some(5), &complete), 0);
        assert_eq!(mismatches(Some(6), Some(5), &complete), 1);
        assert_eq!(mismatches(Some(6), Some(-5), &complete), 2);
        assert_eq!(mismatches(Some(6), Some(6), &incomplete), 0);
    }

    #[test]
    fn retention_margin_is_known_until_messages_are_lost() {
        let margin = |committed, start| {
            RetentionMargin::new(Offset::new(committed).unwrap(), Offset::new(start).unwrap())
        };
        assert_eq!(margin(10, 4), RetentionMargin { margin: Some(6), lost: 0 });
        assert_eq!(margin(4, 4), RetentionMargin { margin: Some(0), lost: 0 });
        assert_eq!(margin(4, 10), RetentionMargin { margin: None, lost: 6 });
        assert_eq!(margin(0, i64::MAX), RetentionMargin { margin: None, lost: i64::MAX.unsigned_abs() });
        assert_eq!(margin(i64::MAX, 0), RetentionMargin { margin: Some(i64::MAX.unsigned_abs()), lost: 0 });
    }

    fn any_offset() -> impl Strategy<Value = i64> {
        prop_oneof![Just(-1), 0..50_i64, (1_i64 << 53) - 1..(1 << 53) + 2, Just(i64::MAX), 0..=i64::MAX]
    }

    proptest! {
        #[test]
        fn totals_match_wider_arithmetic(
            topics in btree_map("[a-z]{1,3}", btree_map(0..9_u32, (any_offset(), any_offset()), 0..5), 0..4),
            total in option::of(any::<i64>()),
        ) {
            let rows = |rows: std::collections::BTreeMap<u32, (i64, i64)>| {
                rows.into_iter().map(|(p, (end, committed))| row(p, end, committed)).collect()
            };
            let topics: Vec<_> = topics.into_iter().map(|(name, r)| (name, rows(r))).collect();
            let topics = topics.iter().map(|(name, r): &(String, Vec<_>)| (name.as_str(), total, r.clone()));
            let progress = progress(topics.collect(), total);
            let (lag, anomalies) = compute_lag(&progress);
            let known: Vec<Vec<i128>> = progress.topics.iter().map(|t| t.partitions.iter().filter_map(|p| {
                Some(i128::from(p.end?.get()) - i128::from(p.committed?.get()))
            }).collect()).collect();
            let saturated = |sum: i128| u64::try_from(sum).unwrap_or(u64::MAX);
            let total = |lags: &[i128]| lags.iter().map(|l| *l.max(&0)).sum::<i128>();
            for (topic, lags) in lag.topics.iter().zip(&known) {
                prop_assert_eq!(topic.messages, (!lags.is_empty()).then(|| saturated(total(lags))));
            }
            let all: Vec<i128> = known.concat();
            let expected = (!all.is_empty() || known.is_empty()).then(|| saturated(total(&all)));
            prop_assert_eq!(lag.messages, expected);
            let clamped = kinds(&anomalies).iter().filter(|k| **k == AnomalyKind::Clamped).count();
            prop_assert_eq!(clamped, all.iter().filter(|l| **l < 0).count());
        }

        #[test]
        fn messages_are_either_lost_or_margin(committed in 0..=i64::MAX, start in 0..=i64::MAX) {
            let kept = RetentionMargin::new(Offset::new(committed).unwrap(), Offset::new(start).unwrap());
            let signed = kept.margin.map_or(-i128::from(kept.lost), i128::from);
            prop_assert_eq!(signed, i128::from(committed) - i128::from(start));
            prop_assert!(kept.margin.is_none() || kept.lost == 0);
        }
    }
}
