//! Lag in messages, and what retention did to it: partition, then topic, then group. Pure.
//!
//! Owns: the arithmetic between a committed offset, an end offset and a start offset. Refuses: clocks,
//! I/O, and guessing: a sum is over the partitions whose lag is known, and absent if none is.
//!
//! Below it: [`age`] makes lag a matter of seconds, from message times and the poll [`history`]; [`track`] remembers
//! a window of answers, from which [`status`] says what is the matter and [`forecast`] what is to come; [`assess`]
//! puts all of it together.

pub mod age;
pub mod assess;
pub mod forecast;
pub mod history;
pub mod status;
pub mod track;

use crate::model::{
    Anomaly, AnomalyKind, GroupProgress, Offset, Partition, PartitionProgress, TopicName, TopicProgress,
    UnixMillis,
};

/// What a group has left to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLag {
    /// Messages over all topics whose lag is known; 0 for a group that has no topics.
    pub messages: Option<u64>,
    /// Each topic once, sorted by name.
    pub topics: Vec<TopicLag>,
}

/// What a group has left to read of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicLag {
    /// The topic.
    pub topic: TopicName,
    /// Messages over all partitions whose lag is known.
    pub messages: Option<u64>,
    /// Each partition once, sorted by number.
    pub partitions: Vec<PartitionLag>,
}

impl GroupLag {
    /// What it says of a topic.
    #[must_use]
    pub fn topic(&self, topic: &TopicName) -> Option<&TopicLag> {
        let at = self.topics.binary_search_by(|t| t.topic.cmp(topic)).ok()?;
        self.topics.get(at)
    }
}

impl TopicLag {
    /// What it says of a partition.
    #[must_use]
    pub fn partition(&self, partition: Partition) -> Option<&PartitionLag> {
        let at = self.partitions.binary_search_by_key(&partition, |p| p.partition).ok()?;
        self.partitions.get(at)
    }

    /// Whether the group has committed an offset on this topic.
    #[must_use]
    pub fn is_consumed(&self) -> bool {
        self.partitions.iter().any(|p| p.committed.is_some())
    }
}

/// What a group has left to read of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLag {
    /// The partition.
    pub partition: Partition,
    /// Where the partition ended (`BrokerOffset`).
    pub end: Option<Offset>,
    /// The committed offset (`ConsumerOffset`).
    pub committed: Option<Offset>,
    /// End offset less committed offset of the same answer, at least 0.
    pub messages: Option<u64>,
    /// Store time of the last consumed message (`LastTimestamp`).
    pub last_consumed: Option<UnixMillis>,
}

/// What retention means for a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Messages between the oldest one held and the committed offset; `None` once messages are lost.
    pub margin: Option<u64>,
    /// Messages that were deleted before the group read them.
    pub lost: u64,
}

/// Computes the lag of a group from one answer.
///
/// Partitions and topics come out in the order that they have in `progress`. The anomalies are offsets
/// past the end ([`AnomalyKind::Clamped`]) and a server total that differs from the sum of all of its
/// parts ([`AnomalyKind::TotalMismatch`]).
#[must_use]
pub fn group(progress: &GroupProgress) -> (GroupLag, Vec<Anomaly>) {
    let mut anomalies = Vec::new();
    let topics: Vec<TopicLag> = progress.topics.iter().map(|t| topic(t, &mut anomalies)).collect();
    let messages = if topics.is_empty() { Some(0) } else { sum(topics.iter().map(|t| t.messages)) };
    let whole = topics.iter().all(|t| t.partitions.iter().all(|p| p.messages.is_some()));
    check_total(progress.total_diff, messages.filter(|_| whole), "the group", &mut anomalies);
    (GroupLag { messages, topics }, anomalies)
}

/// Compares a committed offset with the oldest offset held (`MinOffset`). The two come from different
/// answers; the start offset only grows, so an older one errs towards a larger margin.
#[must_use]
pub fn retention(committed: Offset, start: Offset) -> Retention {
    let margin = committed.minus(start);
    Retention { margin: u64::try_from(margin).ok(), lost: margin.min(0).unsigned_abs() }
}

fn topic(progress: &TopicProgress, anomalies: &mut Vec<Anomaly>) -> TopicLag {
    let partitions: Vec<PartitionLag> = progress
        .partitions
        .iter()
        .map(|p| PartitionLag {
            partition: p.partition,
            end: p.end,
            committed: p.committed,
            messages: partition(&progress.topic, p, anomalies),
            last_consumed: p.last_consumed,
        })
        .collect();
    let messages = sum(partitions.iter().map(|p| p.messages));
    let whole = partitions.iter().all(|p| p.messages.is_some());
    check_total(progress.total_diff, messages.filter(|_| whole), progress.topic.as_str(), anomalies);
    TopicLag { topic: progress.topic.clone(), messages, partitions }
}

fn partition(topic: &TopicName, p: &PartitionProgress, anomalies: &mut Vec<Anomaly>) -> Option<u64> {
    let lag = p.end?.minus(p.committed?);
    if lag < 0 {
        anomalies.push(Anomaly {
            kind: AnomalyKind::Clamped,
            detail: format!("topic {topic} partition {}: committed offset past the end", p.partition.0),
        });
    }
    Some(lag.max(0).unsigned_abs())
}

/// The sum of what is known; `None` if nothing is. Saturates, as 2^64 messages cannot be.
fn sum(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    values.flatten().fold(None, |sum, v| Some(sum.unwrap_or(0u64).saturating_add(v)))
}

fn check_total(server: Option<i64>, ours: Option<u64>, of: &str, anomalies: &mut Vec<Anomaly>) {
    let (Some(server), Some(ours)) = (server, ours) else { return };
    if i128::from(server) != i128::from(ours) {
        anomalies.push(Anomaly {
            kind: AnomalyKind::TotalMismatch,
            detail: format!("TotalDiff of {of} is {server}, the sum of its partitions is {ours}"),
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

    fn of(
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
    fn lag_is_the_end_less_the_committed_offset_summed_over_what_is_known() {
        let (lag, anomalies) = group(&of(
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
    fn a_group_without_topics_lags_by_nothing_and_one_without_offsets_by_nobody_knows_what() {
        assert_eq!(group(&of(vec![], None)).0.messages, Some(0));
        assert_eq!(group(&of(vec![("a", None, vec![])], None)).0.messages, None);
        assert_eq!(group(&of(vec![("a", None, vec![row(0, 5, -1)])], None)).0.messages, None);
    }

    #[test]
    fn the_difference_of_offsets_past_two_to_the_53_is_exact() {
        let large = 1 << 53;
        let (lag, _) =
            group(&of(vec![("a", None, vec![row(0, large + 1, large), row(1, i64::MAX, 0)])], None));
        let messages: Vec<_> = lag.topics[0].partitions.iter().map(|p| p.messages).collect();
        assert_eq!(messages, [Some(1), Some(i64::MAX.unsigned_abs())]);
    }

    #[test]
    fn a_committed_offset_past_the_end_is_no_lag_and_an_anomaly() {
        let (lag, anomalies) = group(&of(vec![("a", None, vec![row(0, 0, i64::MAX), row(1, 5, 3)])], None));
        assert_eq!(lag.topics[0].partitions[0].messages, Some(0));
        assert_eq!(lag.messages, Some(2));
        assert_eq!(kinds(&anomalies), [AnomalyKind::Clamped]);
    }

    #[test]
    fn a_server_total_is_compared_only_with_a_whole_sum() {
        let whole = vec![row(0, 10, 5)];
        let part = vec![row(0, 10, 5), row(1, 10, -1)];
        let mismatches = |topic, group_total, rows: &[PartitionProgress]| {
            kinds(&group(&of(vec![("a", topic, rows.to_vec())], group_total)).1).len()
        };
        assert_eq!(mismatches(Some(5), Some(5), &whole), 0);
        assert_eq!(mismatches(Some(6), Some(5), &whole), 1);
        assert_eq!(mismatches(Some(6), Some(-5), &whole), 2);
        assert_eq!(mismatches(Some(6), Some(6), &part), 0);
    }

    #[test]
    fn retention_is_a_margin_until_messages_are_lost() {
        let of = |committed, start| retention(Offset::new(committed).unwrap(), Offset::new(start).unwrap());
        assert_eq!(of(10, 4), Retention { margin: Some(6), lost: 0 });
        assert_eq!(of(4, 4), Retention { margin: Some(0), lost: 0 });
        assert_eq!(of(4, 10), Retention { margin: None, lost: 6 });
        assert_eq!(of(0, i64::MAX), Retention { margin: None, lost: i64::MAX.unsigned_abs() });
        assert_eq!(of(i64::MAX, 0), Retention { margin: Some(i64::MAX.unsigned_abs()), lost: 0 });
    }

    fn any_offset() -> impl Strategy<Value = i64> {
        prop_oneof![Just(-1), 0..50_i64, (1_i64 << 53) - 1..(1 << 53) + 2, Just(i64::MAX), 0..=i64::MAX]
    }

    proptest! {
        #[test]
        fn sums_are_those_of_wider_arithmetic(
            topics in btree_map("[a-z]{1,3}", btree_map(0..9_u32, (any_offset(), any_offset()), 0..5), 0..4),
            total in option::of(any::<i64>()),
        ) {
            let rows = |rows: std::collections::BTreeMap<u32, (i64, i64)>| {
                rows.into_iter().map(|(p, (end, committed))| row(p, end, committed)).collect()
            };
            let topics: Vec<_> = topics.into_iter().map(|(name, r)| (name, rows(r))).collect();
            let topics = topics.iter().map(|(name, r): &(String, Vec<_>)| (name.as_str(), total, r.clone()));
            let progress = of(topics.collect(), total);
            let (lag, anomalies) = group(&progress);
            let known: Vec<Vec<i128>> = progress.topics.iter().map(|t| t.partitions.iter().filter_map(|p| {
                Some(i128::from(p.end?.get()) - i128::from(p.committed?.get()))
            }).collect()).collect();
            let saturated = |sum: i128| u64::try_from(sum).unwrap_or(u64::MAX);
            let of_topic = |lags: &[i128]| lags.iter().map(|l| *l.max(&0)).sum::<i128>();
            for (topic, lags) in lag.topics.iter().zip(&known) {
                prop_assert_eq!(topic.messages, (!lags.is_empty()).then(|| saturated(of_topic(lags))));
            }
            let all: Vec<i128> = known.concat();
            let expected = (!all.is_empty() || known.is_empty()).then(|| saturated(of_topic(&all)));
            prop_assert_eq!(lag.messages, expected);
            let clamped = kinds(&anomalies).iter().filter(|k| **k == AnomalyKind::Clamped).count();
            prop_assert_eq!(clamped, all.iter().filter(|l| **l < 0).count());
        }

        #[test]
        fn retention_is_lost_or_margin_and_never_both(committed in 0..=i64::MAX, start in 0..=i64::MAX) {
            let kept = retention(Offset::new(committed).unwrap(), Offset::new(start).unwrap());
            let signed = kept.margin.map_or(-i128::from(kept.lost), i128::from);
            prop_assert_eq!(signed, i128::from(committed) - i128::from(start));
            prop_assert!(kept.margin.is_none() || kept.lost == 0);
        }
    }
}
