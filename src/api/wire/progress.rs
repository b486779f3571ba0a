//! `GetConsumerProgress`: the offsets of one consumer group.

use super::{
    Anomalies, DiscardedResponse, Field, IntField, ResponsePayload, TextField,
    object::{ListField, ListItem, json_object},
};
use crate::model::{
    AnomalyKind, GroupId, GroupProgress, GroupState, Observed, PartitionProgress, Rebalance, TopicName,
    TopicProgress,
};

json_object! {
    /// Response of `GetConsumerProgress`.
    pub(crate) struct ProgressResponse<'de> {
        progress: Field<ConsumerProgress<'de>> = "ConsumerProgress",
    }
}
impl<'de> ResponsePayload<'de> for ProgressResponse<'de> {
    const KEY: &'static str = "ConsumerProgress";
}

json_object! {
    struct ConsumerProgress<'de> {
        total_diff: IntField = "TotalDiff",
        state: TextField<'de> = "state" | "State",
        rebalances: ListField<RebalanceInfo<'de>> = "RebalanceInfoList",
        topics: ListField<TopicProgressVo<'de>> = "TopicList",
    }
}

json_object! {
    struct RebalanceInfo<'de> {
        group_id: TextField<'de> = "GroupId",
        generation: IntField = "Generation",
        last_rebalance_timestamp: IntField = "LastRebalanceTimestamp",
    }
}
impl<'de> ListItem<'de> for RebalanceInfo<'de> {
    const WRAPPER: &'static str = "RebalanceInfoList";
}

json_object! {
    struct TopicProgressVo<'de> {
        topic: TextField<'de> = "Topic",
        total_diff: IntField = "TotalDiff",
        offsets: ListField<OffsetVo> = "OffsetList",
    }
}
impl<'de> ListItem<'de> for TopicProgressVo<'de> {
    const WRAPPER: &'static str = "TopicList";
}

json_object! {
    struct OffsetVo {
        partition: IntField = "Partition",
        broker_offset: IntField = "BrokerOffset",
        consumer_offset: IntField = "ConsumerOffset",
        last_timestamp: IntField = "LastTimestamp",
    }
}
impl ListItem<'_> for OffsetVo {
    const WRAPPER: &'static str = "OffsetList";
}

impl ProgressResponse<'_> {
    /// Returns the progress of the requested group. `null` is the progress of a group without committed offsets.
    pub(crate) fn into_progress(
        self,
        requested: &GroupId,
    ) -> Result<Observed<GroupProgress>, DiscardedResponse> {
        let mut anomalies = Anomalies::default();
        let progress = match self.progress {
            Field::Value(progress) => progress,
            Field::Null => {
                return Ok(Observed { value: GroupProgress::default(), anomalies: Vec::new() });
            }
            Field::Missing | Field::WrongType | Field::OutOfRange => {
                return Err(DiscardedResponse::new(AnomalyKind::Type, "ConsumerProgress is not an object"));
            }
        };
        let owner = format!("group {requested:?}");
        anomalies.require_list("TopicList", &progress.topics, progress.total_diff, &owner)?;
        let list = progress.topics.value().unwrap_or_default();
        let entries = list.items.len() + list.malformed;
        let mut topics: Vec<_> =
            list.items.into_iter().filter_map(|vo| vo.into_topic(&owner, &mut anomalies)).collect();
        anomalies.sort_and_deduplicate(&mut topics, &owner, |topic| topic.topic.clone());
        // An empty list would mean a group without lag.
        if topics.is_empty() && entries > 0 {
            let detail = format_args!("no topic of {owner} is readable");
            return Err(DiscardedResponse::new(AnomalyKind::Type, detail));
        }
        let value = GroupProgress {
            total_diff: total_diff(progress.total_diff, &owner, &mut anomalies),
            state: group_state(progress.state, &owner, &mut anomalies),
            rebalances: rebalances(progress.rebalances, requested, &owner, &mut anomalies),
            topics,
        };
        Ok(Observed { value, anomalies: anomalies.into_vec() })
    }
}

impl TopicProgressVo<'_> {
    fn into_topic(self, owner: &str, anomalies: &mut Anomalies) -> Option<TopicProgress> {
        let topic = anomalies.name("Topic", &self.topic, owner, TopicName::new)?;
        let owner = format!("topic {topic:?} of {owner}");
        anomalies.check_list("OffsetList", &self.offsets, &owner);
        let offsets = self.offsets.value().unwrap_or_default().items;
        let mut partitions: Vec<_> =
            offsets.into_iter().filter_map(|vo| vo.into_partition(&owner, anomalies)).collect();
        anomalies.sort_and_deduplicate(&mut partitions, &owner, |row| row.partition);
        Some(TopicProgress { topic, total_diff: total_diff(self.total_diff, &owner, anomalies), partitions })
    }
}

impl OffsetVo {
    fn into_partition(self, owner: &str, anomalies: &mut Anomalies) -> Option<PartitionProgress> {
        let partition = anomalies.partition(self.partition, owner)?;
        let owner = format_args!("partition {} of {owner}", partition.0);
        Some(PartitionProgress {
            partition,
            end: anomalies.offset("BrokerOffset", self.broker_offset, owner),
            committed: anomalies.offset("ConsumerOffset", self.consumer_offset, owner),
            last_consumed: anomalies.time("LastTimestamp", self.last_timestamp, owner),
        })
    }
}

/// Returns the rebalances with a time, oldest first. Older services report no rebalances.
fn rebalances(
    list: ListField<RebalanceInfo<'_>>,
    requested: &GroupId,
    owner: &str,
    anomalies: &mut Anomalies,
) -> Vec<Rebalance> {
    if !matches!(list, Field::Missing) {
        anomalies.check_list("RebalanceInfoList", &list, owner);
    }
    let owner = format_args!("a rebalance of {owner}");
    let mut rebalances = Vec::new();
    for info in list.value().unwrap_or_default().items {
        if info.group_id.as_value().is_some_and(|id| id != requested.as_str()) {
            anomalies.record(AnomalyKind::Contradiction, format_args!("{owner} is of another group"));
            continue;
        }
        let generation = anomalies.count("Generation", info.generation, 1, owner);
        let at = anomalies.time("LastRebalanceTimestamp", info.last_rebalance_timestamp, owner);
        rebalances.extend(at.map(|at| Rebalance { at, generation }));
    }
    anomalies.sort_and_deduplicate(&mut rebalances, owner, |r| (r.at, r.generation));
    rebalances
}

fn total_diff(field: IntField, owner: &str, anomalies: &mut Anomalies) -> Option<i64> {
    anomalies.count("TotalDiff", field, 1, owner).and_then(|diff| i64::try_from(diff).ok())
}

fn group_state(field: TextField<'_>, owner: &str, anomalies: &mut Anomalies) -> Option<GroupState> {
    let state = anomalies.value("state", field, owner)?;
    Some(match state.to_ascii_uppercase().as_str() {
        "PREPARING_REBALANCE" => GroupState::PreparingRebalance,
        "COMPLETING_REBALANCE" => GroupState::CompletingRebalance,
        "STABLE" => GroupState::Stable,
        "EMPTY" => GroupState::Empty,
        "DEAD" => GroupState::Dead,
        "UNKNOWN" => return None,
        _ => {
            anomalies.record(AnomalyKind::Type, format_args!("state of {owner} is not a known state"));
            return None;
        }
    })
}
