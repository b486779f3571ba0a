//! `GetConsumerList` and `GetConsumerProgress`.

use super::{
    Anomalies, DiscardedResponse, IntField, ListPage, ResponsePayload, TextField,
    list::{ListField, ListItem, ObjectField, Presence, fields},
    told_count,
};
use crate::model::{
    AnomalyKind, GroupId, GroupProgress, GroupState, InstanceId, Observed, PartitionProgress, Rebalance,
    TopicName, TopicProgress,
};

/// `GetConsumerList`, one page or all.
#[derive(Debug, Default)]
pub(crate) struct GroupListResponse<'de> {
    groups: ListField<ConsumerVo<'de>>,
    total: IntField,
    current_page: IntField,
    page_size: IntField,
}
fields!(GroupListResponse<'de> {
    "ConsumerList" => groups,
    "Total" => total,
    "CurrentPage" => current_page,
    "PageSize" => page_size,
});

#[derive(Debug, Default)]
struct ConsumerVo<'de> {
    consumer_id: TextField<'de>,
    instance_id: TextField<'de>,
}
fields!(ConsumerVo<'de> { "ConsumerId" => consumer_id, "InstanceId" => instance_id });
impl<'de> ListItem<'de> for ConsumerVo<'de> {
    const WRAPPER: &'static str = "ConsumerVO";
}

impl<'de> ResponsePayload<'de> for GroupListResponse<'de> {
    const KEY: &'static str = "ConsumerList";

    fn is_present(&self) -> bool {
        self.groups.told != Presence::Missing
    }
}

impl GroupListResponse<'_> {
    pub(crate) fn into_page(self, asked: &InstanceId, anomalies: &mut Anomalies) -> ListPage<GroupId> {
        let is_complete =
            anomalies.list("ConsumerList", self.groups.told, self.groups.malformed, "the answer");
        let records = self.groups.items.len();
        let mut items = Vec::with_capacity(records);
        for vo in self.groups.items {
            if let Some(id) = anomalies.name("ConsumerId", &vo.consumer_id, "a group", GroupId::new)
                && anomalies.is_of(asked, &vo.instance_id, format_args!("group {id:?}"))
            {
                items.push(id);
            }
        }
        ListPage {
            is_complete: is_complete && items.len() == records,
            items,
            entries: records + self.groups.malformed,
            total: told_count(self.total),
            current_page: self.current_page.value(),
            page_size: told_count(self.page_size),
        }
    }
}

/// `GetConsumerProgress`.
#[derive(Debug, Default)]
pub(crate) struct ProgressResponse<'de> {
    progress: ObjectField<ConsumerProgress<'de>>,
}
fields!(ProgressResponse<'de> { "ConsumerProgress" => progress });

#[derive(Debug, Default)]
struct ConsumerProgress<'de> {
    total_diff: IntField,
    state: TextField<'de>,
    rebalances: ListField<RebalanceInfo<'de>>,
    topics: ListField<TopicVo<'de>>,
}
fields!(ConsumerProgress<'de> {
    "TotalDiff" => total_diff,
    "state" | "State" => state,
    "RebalanceInfoList" => rebalances,
    "TopicList" => topics,
});

#[derive(Debug, Default)]
struct RebalanceInfo<'de> {
    group_id: TextField<'de>,
    generation: IntField,
    last_rebalance_timestamp: IntField,
}
fields!(RebalanceInfo<'de> {
    "GroupId" => group_id,
    "Generation" => generation,
    "LastRebalanceTimestamp" => last_rebalance_timestamp,
});
impl<'de> ListItem<'de> for RebalanceInfo<'de> {
    const WRAPPER: &'static str = "RebalanceInfoList";
}

#[derive(Debug, Default)]
struct TopicVo<'de> {
    topic: TextField<'de>,
    total_diff: IntField,
    offsets: ListField<OffsetVo>,
}
fields!(TopicVo<'de> { "Topic" => topic, "TotalDiff" => total_diff, "OffsetList" => offsets });
impl<'de> ListItem<'de> for TopicVo<'de> {
    const WRAPPER: &'static str = "TopicList";
}

#[derive(Debug, Default)]
struct OffsetVo {
    partition: IntField,
    broker_offset: IntField,
    consumer_offset: IntField,
    last_timestamp: IntField,
}
fields!(OffsetVo {
    "Partition" => partition,
    "BrokerOffset" => broker_offset,
    "ConsumerOffset" => consumer_offset,
    "LastTimestamp" => last_timestamp,
});
impl ListItem<'_> for OffsetVo {
    const WRAPPER: &'static str = "OffsetList";
}

impl<'de> ResponsePayload<'de> for ProgressResponse<'de> {
    const KEY: &'static str = "ConsumerProgress";

    fn is_present(&self) -> bool {
        !matches!(self.progress, ObjectField::Missing)
    }
}

impl ProgressResponse<'_> {
    /// How far the group has read. `null` is a group that has committed nothing.
    pub(crate) fn into_progress(self, asked: &GroupId) -> Result<Observed<GroupProgress>, DiscardedResponse> {
        let mut anomalies = Anomalies::default();
        let of = format!("group {asked:?}");
        let progress = match self.progress {
            ObjectField::Value(progress) => progress,
            ObjectField::Null => {
                return Ok(Observed { value: GroupProgress::default(), anomalies: Vec::new() });
            }
            ObjectField::Missing | ObjectField::WrongType => {
                return Err(DiscardedResponse::new(AnomalyKind::Type, "ConsumerProgress is no object"));
            }
        };
        let ListField { told, malformed, .. } = progress.topics;
        anomalies.substance("TopicList", told, malformed, progress.total_diff, &of)?;
        let entries = progress.topics.items.len() + malformed;
        let mut topics: Vec<_> =
            progress.topics.items.into_iter().filter_map(|vo| vo.into_topic(&of, &mut anomalies)).collect();
        anomalies.sorted(&mut topics, |t| format!("topic {:?} of {of}", t.topic), |t| t.topic.clone());
        // A group without topics has nothing left to read, which is not what this says.
        if topics.is_empty() && entries > 0 {
            let what = format_args!("no topic of {of} can be read");
            return Err(DiscardedResponse::new(AnomalyKind::Type, what));
        }
        let value = GroupProgress {
            total_diff: total_diff(progress.total_diff, &of, &mut anomalies),
            state: state(progress.state, &of, &mut anomalies),
            rebalances: rebalances(progress.rebalances, asked, &of, &mut anomalies),
            topics,
        };
        Ok(Observed { value, anomalies: anomalies.into_vec() })
    }
}

impl TopicVo<'_> {
    fn into_topic(self, of: &str, anomalies: &mut Anomalies) -> Option<TopicProgress> {
        let topic = anomalies.name("Topic", &self.topic, of, TopicName::new)?;
        let of = format!("topic {topic:?} of {of}");
        anomalies.list("OffsetList", self.offsets.told, self.offsets.malformed, &of);
        let mut partitions: Vec<_> =
            self.offsets.items.into_iter().filter_map(|vo| vo.into_partition(&of, anomalies)).collect();
        anomalies.sorted(
            &mut partitions,
            |p| format!("partition {} of {of}", p.partition.0),
            |p| p.partition,
        );
        Some(TopicProgress { topic, total_diff: total_diff(self.total_diff, &of, anomalies), partitions })
    }
}

impl OffsetVo {
    fn into_partition(self, of: &str, anomalies: &mut Anomalies) -> Option<PartitionProgress> {
        let partition = anomalies.partition(self.partition, of)?;
        let of = format_args!("partition {} of {of}", partition.0);
        Some(PartitionProgress {
            partition,
            end: anomalies.offset("BrokerOffset", self.broker_offset, of),
            committed: anomalies.offset("ConsumerOffset", self.consumer_offset, of),
            last_consumed: anomalies.time("LastTimestamp", self.last_timestamp, of),
        })
    }
}

/// The rebalances whose time is told. Older services tell of none.
fn rebalances(
    list: ListField<RebalanceInfo<'_>>,
    asked: &GroupId,
    of: &str,
    anomalies: &mut Anomalies,
) -> Vec<Rebalance> {
    if list.told == Presence::Missing {
        return Vec::new();
    }
    anomalies.list("RebalanceInfoList", list.told, list.malformed, of);
    let of = format_args!("a rebalance of {of}");
    let mut rebalances = Vec::with_capacity(list.items.len());
    for info in list.items {
        if info.group_id.as_value().is_some_and(|id| id != asked.as_str()) {
            anomalies.note(AnomalyKind::Contradiction, format_args!("{of} is of another group"));
            continue;
        }
        let generation = anomalies.count("Generation", info.generation, 1, of);
        let at = anomalies.time("LastRebalanceTimestamp", info.last_rebalance_timestamp, of);
        rebalances.extend(at.map(|at| Rebalance { at, generation }));
    }
    anomalies.sorted(&mut rebalances, |_| of.to_string(), |rebalance| (rebalance.at, rebalance.generation));
    rebalances
}

fn total_diff(scalar: IntField, of: &str, anomalies: &mut Anomalies) -> Option<i64> {
    anomalies.count("TotalDiff", scalar, 1, of).and_then(|diff| i64::try_from(diff).ok())
}

fn state(scalar: TextField<'_>, of: &str, anomalies: &mut Anomalies) -> Option<GroupState> {
    let word = anomalies.value("state", scalar, of)?;
    Some(match word.to_ascii_uppercase().as_str() {
        "PREPARING_REBALANCE" => GroupState::PreparingRebalance,
        "COMPLETING_REBALANCE" => GroupState::CompletingRebalance,
        "STABLE" => GroupState::Stable,
        "EMPTY" => GroupState::Empty,
        "DEAD" => GroupState::Dead,
        "UNKNOWN" => return None,
        _ => {
            anomalies.note(AnomalyKind::Type, format_args!("state of {of} is a word that is not known"));
            return None;
        }
    })
}
