//! Conversion of the simulator's truth into decoded API responses.

use alikafka_exporter::model::{
    Cleanup, GroupProgress, GroupState, Instance, InstanceId, InstanceState, MessageTimestamps, Offset,
    Partition, PartitionProgress, Rebalance, Storage, Topic, TopicName, TopicPartition, TopicProgress,
    TopicStatus, UnixMillis,
};
use alikafka_simulator::{GroupTruth, InstanceTruth, TopicTruth};

pub(super) fn id(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

pub(super) fn number(partition: i64) -> Partition {
    Partition(u32::try_from(partition).unwrap())
}

pub(super) fn instance(truth: &InstanceTruth) -> Instance {
    Instance {
        id: id(&truth.id),
        name: Some(truth.name.clone()),
        state: Some(InstanceState::Running),
        series: None,
        spec_type: None,
        version: None,
        deploy_type: None,
        paid_type: None,
        disk_type: None,
        created_at: UnixMillis::new(truth.created_ms),
        expires_at: None,
        topics: None,
        topic_limit: None,
        partitions: None,
        groups: None,
        disk_size_bytes: None,
        message_retention_seconds: u64::try_from(truth.retention_ms / 1000).ok(),
        tags: Vec::new(),
    }
}

pub(super) fn topic(name: &str, truth: &TopicTruth) -> Topic {
    Topic {
        name: topic_name(name),
        partitions: u32::try_from(truth.partitions.len()).ok(),
        storage: Some(if truth.local { Storage::Local } else { Storage::Cloud }),
        cleanup: Some(if truth.compact { Cleanup::Compact } else { Cleanup::Delete }),
        created_at: UnixMillis::new(truth.created_ms),
    }
}

pub(super) fn status(truth: &TopicTruth) -> TopicStatus {
    let partitions = truth.partitions.iter().map(|p| TopicPartition {
        partition: number(p.partition),
        start: Offset::new(p.start),
        end: Offset::new(p.end),
        last_write: p.last_write_stamp_ms.and_then(UnixMillis::new),
    });
    TopicStatus { messages: u64::try_from(truth.messages).ok(), partitions: partitions.collect() }
}

/// Returns a response about a group, without the partitions for which `lacks` is true.
pub(super) fn progress(
    truth: &GroupTruth,
    timestamps: MessageTimestamps,
    mut lacks: impl FnMut(&str, i64) -> bool,
) -> GroupProgress {
    let mut is_group_complete = true;
    let topics = truth.topics.iter().map(|(name, topic)| {
        let listed = topic.partitions.iter().filter(|p| p.listed);
        let partitions: Vec<PartitionProgress> = listed
            .filter(|p| !lacks(name, p.partition))
            .map(|p| PartitionProgress {
                partition: number(p.partition),
                end: Offset::new(p.end),
                committed: p.committed.and_then(Offset::new),
                last_consumed: p
                    .last_consumed_stamp_ms
                    .filter(|_| timestamps == MessageTimestamps::Requested && !topic.times_hidden)
                    .and_then(UnixMillis::new),
            })
            .collect();
        let is_complete = partitions.len() == topic.partitions.iter().filter(|p| p.listed).count();
        is_group_complete &= is_complete;
        TopicProgress { topic: topic_name(name), total_diff: is_complete.then_some(topic.lag), partitions }
    });
    let topics = topics.collect();
    let rebalances = truth.rebalances.iter().filter_map(|(generation, at, _)| {
        Some(Rebalance { at: UnixMillis::new(*at)?, generation: u64::try_from(*generation).ok() })
    });
    GroupProgress {
        total_diff: is_group_complete.then_some(truth.lag),
        state: Some(state(truth.state)),
        rebalances: rebalances.collect(),
        topics,
    }
}

fn state(name: &str) -> GroupState {
    match name {
        "STABLE" => GroupState::Stable,
        "PREPARING_REBALANCE" => GroupState::PreparingRebalance,
        "COMPLETING_REBALANCE" => GroupState::CompletingRebalance,
        "EMPTY" => GroupState::Empty,
        "DEAD" => GroupState::Dead,
        other => panic!("unknown state {other}"),
    }
}
