//! `GetConsumerList` and `GetConsumerProgress`.

use super::{
    Anomalies, Discarded, Int, Page, Payload, Text,
    list::{Item, List, Record, Told, fields},
    told_count,
};
use crate::model::{
    AnomalyKind, GroupId, GroupProgress, GroupState, InstanceId, Observed, PartitionProgress, Rebalance,
    TopicName, TopicProgress,
};

/// `GetConsumerList`, one page or all.
#[derive(Debug, Default)]
pub(crate) struct GroupListAnswer<'de> {
    groups: List<ConsumerVo<'de>>,
    total: Int,
    current_page: Int,
    page_size: Int,
}
fields!(GroupListAnswer<'de> {
    "ConsumerList" => groups,
    "Total" => total,
    "CurrentPage" => current_page,
    "PageSize" => page_size,
});

#[derive(Debug, Default)]
struct ConsumerVo<'de> {
    consumer_id: Text<'de>,
    instance_id: Text<'de>,
}
fields!(ConsumerVo<'de> { "ConsumerId" => consumer_id, "InstanceId" => instance_id });
impl<'de> Item<'de> for ConsumerVo<'de> {
    const WRAPPER: &'static str = "ConsumerVO";
}

impl<'de> Payload<'de> for GroupListAnswer<'de> {
    const KEY: &'static str = "ConsumerList";

    fn is_told(&self) -> bool {
        self.groups.told != Told::Missing
    }
}

impl GroupListAnswer<'_> {
    pub(crate) fn into_page(self, asked: &InstanceId, odd: &mut Anomalies) -> Page<GroupId> {
        let is_whole = odd.list("ConsumerList", self.groups.told, self.groups.strangers, "the answer");
        let records = self.groups.items.len();
        let mut items = Vec::with_capacity(records);
        for vo in self.groups.items {
            if let Some(id) = odd.name("ConsumerId", &vo.consumer_id, "a group", GroupId::new)
                && odd.is_of(asked, &vo.instance_id, format_args!("group {id:?}"))
            {
                items.push(id);
            }
        }
        Page {
            is_whole: is_whole && items.len() == records,
            items,
            entries: records + self.groups.strangers,
            total: told_count(self.total),
            current_page: self.current_page.value(),
            page_size: told_count(self.page_size),
        }
    }
}

/// `GetConsumerProgress`.
#[derive(Debug, Default)]
pub(crate) struct ProgressAnswer<'de> {
    progress: Record<ConsumerProgress<'de>>,
}
fields!(ProgressAnswer<'de> { "ConsumerProgress" => progress });

#[derive(Debug, Default)]
struct ConsumerProgress<'de> {
    total_diff: Int,
    state: Text<'de>,
    rebalances: List<RebalanceInfo<'de>>,
    topics: List<TopicVo<'de>>,
}
fields!(ConsumerProgress<'de> {
    "TotalDiff" => total_diff,
    "state" | "State" => state,
    "RebalanceInfoList" => rebalances,
    "TopicList" => topics,
});

#[derive(Debug, Default)]
struct RebalanceInfo<'de> {
    group_id: Text<'de>,
    generation: Int,
    last_rebalance_timestamp: Int,
}
fields!(RebalanceInfo<'de> {
    "GroupId" => group_id,
    "Generation" => generation,
    "LastRebalanceTimestamp" => last_rebalance_timestamp,
});
impl<'de> Item<'de> for RebalanceInfo<'de> {
    const WRAPPER: &'static str = "RebalanceInfoList";
}

#[derive(Debug, Default)]
struct TopicVo<'de> {
    topic: Text<'de>,
    total_diff: Int,
    offsets: List<OffsetVo>,
}
fields!(TopicVo<'de> { "Topic" => topic, "TotalDiff" => total_diff, "OffsetList" => offsets });
impl<'de> Item<'de> for TopicVo<'de> {
    const WRAPPER: &'static str = "TopicList";
}

#[derive(Debug, Default)]
struct OffsetVo {
    partition: Int,
    broker_offset: Int,
    consumer_offset: Int,
    last_timestamp: Int,
}
fields!(OffsetVo {
    "Partition" => partition,
    "BrokerOffset" => broker_offset,
    "ConsumerOffset" => consumer_offset,
    "LastTimestamp" => last_timestamp,
});
impl Item<'_> for OffsetVo {
    const WRAPPER: &'static str = "OffsetList";
}

impl<'de> Payload<'de> for ProgressAnswer<'de> {
    const KEY: &'static str = "ConsumerProgress";

    fn is_told(&self) -> bool {
        !matches!(self.progress, Record::Missing)
    }
}

impl ProgressAnswer<'_> {
    /// How far the group has read. `null` is a group that has committed nothing.
    pub(crate) fn into_progress(self, asked: &GroupId) -> Result<Observed<GroupProgress>, Discarded> {
        let mut odd = Anomalies::default();
        let of = format!("group {asked:?}");
        let progress = match self.progress {
            Record::Value(progress) => progress,
            Record::Null => {
                return Ok(Observed { value: GroupProgress::default(), anomalies: Vec::new() });
            }
            Record::Missing | Record::WrongType => {
                return Err(Discarded::new(AnomalyKind::Type, "ConsumerProgress is no object"));
            }
        };
        let List { told, strangers, .. } = progress.topics;
        odd.substance("TopicList", told, strangers, progress.total_diff, &of)?;
        let entries = progress.topics.items.len() + strangers;
        let mut topics: Vec<_> =
            progress.topics.items.into_iter().filter_map(|vo| vo.into_topic(&of, &mut odd)).collect();
        odd.sorted(&mut topics, |t| format!("topic {:?} of {of}", t.topic), |t| t.topic.clone());
        // A group without topics has nothing left to read, which is not what this says.
        if topics.is_empty() && entries > 0 {
            let what = format_args!("no topic of {of} can be read");
            return Err(Discarded::new(AnomalyKind::Type, what));
        }
        let value = GroupProgress {
            total_diff: total_diff(progress.total_diff, &of, &mut odd),
            state: state(progress.state, &of, &mut odd),
            rebalances: rebalances(progress.rebalances, asked, &of, &mut odd),
            topics,
        };
        Ok(Observed { value, anomalies: odd.into_vec() })
    }
}

impl TopicVo<'_> {
    fn into_topic(self, of: &str, odd: &mut Anomalies) -> Option<TopicProgress> {
        let topic = odd.name("Topic", &self.topic, of, TopicName::new)?;
        let of = format!("topic {topic:?} of {of}");
        odd.list("OffsetList", self.offsets.told, self.offsets.strangers, &of);
        let mut partitions: Vec<_> =
            self.offsets.items.into_iter().filter_map(|vo| vo.into_partition(&of, odd)).collect();
        odd.sorted(&mut partitions, |p| format!("partition {} of {of}", p.partition.0), |p| p.partition);
        Some(TopicProgress { topic, total_diff: total_diff(self.total_diff, &of, odd), partitions })
    }
}

impl OffsetVo {
    fn into_partition(self, of: &str, odd: &mut Anomalies) -> Option<PartitionProgress> {
        let partition = odd.partition(self.partition, of)?;
        let of = format_args!("partition {} of {of}", partition.0);
        Some(PartitionProgress {
            partition,
            end: odd.offset("BrokerOffset", self.broker_offset, of),
            committed: odd.offset("ConsumerOffset", self.consumer_offset, of),
            last_consumed: odd.time("LastTimestamp", self.last_timestamp, of),
        })
    }
}

/// The rebalances whose time is told. Older services tell of none.
fn rebalances(
    list: List<RebalanceInfo<'_>>,
    asked: &GroupId,
    of: &str,
    odd: &mut Anomalies,
) -> Vec<Rebalance> {
    if list.told == Told::Missing {
        return Vec::new();
    }
    odd.list("RebalanceInfoList", list.told, list.strangers, of);
    let of = format_args!("a rebalance of {of}");
    let mut rebalances = Vec::with_capacity(list.items.len());
    for info in list.items {
        if info.group_id.as_value().is_some_and(|id| id != asked.as_str()) {
            odd.note(AnomalyKind::Contradiction, format_args!("{of} is of another group"));
            continue;
        }
        let generation = odd.count("Generation", info.generation, 1, of);
        let at = odd.time("LastRebalanceTimestamp", info.last_rebalance_timestamp, of);
        rebalances.extend(at.map(|at| Rebalance { at, generation }));
    }
    odd.sorted(&mut rebalances, |_| of.to_string(), |rebalance| (rebalance.at, rebalance.generation));
    rebalances
}

fn total_diff(scalar: Int, of: &str, odd: &mut Anomalies) -> Option<i64> {
    odd.count("TotalDiff", scalar, 1, of).and_then(|diff| i64::try_from(diff).ok())
}

fn state(scalar: Text<'_>, of: &str, odd: &mut Anomalies) -> Option<GroupState> {
    let word = odd.value("state", scalar, of)?;
    Some(match word.to_ascii_uppercase().as_str() {
        "PREPARING_REBALANCE" => GroupState::PreparingRebalance,
        "COMPLETING_REBALANCE" => GroupState::CompletingRebalance,
        "STABLE" => GroupState::Stable,
        "EMPTY" => GroupState::Empty,
        "DEAD" => GroupState::Dead,
        "UNKNOWN" => return None,
        _ => {
            odd.note(AnomalyKind::Type, format_args!("state of {of} is a word that is not known"));
            return None;
        }
    })
}
