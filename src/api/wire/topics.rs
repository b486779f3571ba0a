//! `GetTopicList` and `GetTopicStatus`.

use super::{
    Anomalies, Bool, Discarded, Int, Page, Payload, Text,
    list::{Item, List, Record, Told, fields},
    told_count,
};
use crate::model::{
    AnomalyKind, Cleanup, InstanceId, Observed, Storage, Topic, TopicName, TopicPartition, TopicStatus,
};

/// `GetTopicList`, one page.
#[derive(Debug, Default)]
pub(crate) struct TopicListAnswer<'de> {
    topics: List<TopicVo<'de>>,
    total: Int,
    current_page: Int,
    page_size: Int,
}
fields!(TopicListAnswer<'de> {
    "TopicList" => topics,
    "Total" => total,
    "CurrentPage" => current_page,
    "PageSize" => page_size,
});

#[derive(Debug, Default)]
struct TopicVo<'de> {
    topic: Text<'de>,
    instance_id: Text<'de>,
    partition_num: Int,
    local_topic: Bool,
    compact_topic: Bool,
    create_time: Int,
}
fields!(TopicVo<'de> {
    "Topic" => topic,
    "InstanceId" => instance_id,
    "PartitionNum" => partition_num,
    "LocalTopic" => local_topic,
    "CompactTopic" => compact_topic,
    "CreateTime" => create_time,
});
impl<'de> Item<'de> for TopicVo<'de> {
    const WRAPPER: &'static str = "TopicVO";
}

impl<'de> Payload<'de> for TopicListAnswer<'de> {
    const KEY: &'static str = "TopicList";

    fn is_told(&self) -> bool {
        self.topics.told != Told::Missing
    }
}

impl TopicListAnswer<'_> {
    pub(crate) fn into_page(self, asked: &InstanceId, odd: &mut Anomalies) -> Page<Topic> {
        let is_whole = odd.list("TopicList", self.topics.told, self.topics.strangers, "the answer");
        let records = self.topics.items.len();
        let items: Vec<_> =
            self.topics.items.into_iter().filter_map(|vo| vo.into_topic(asked, odd)).collect();
        Page {
            is_whole: is_whole && items.len() == records,
            items,
            entries: records + self.topics.strangers,
            total: told_count(self.total),
            current_page: self.current_page.value(),
            page_size: told_count(self.page_size),
        }
    }
}

impl TopicVo<'_> {
    fn into_topic(self, asked: &InstanceId, odd: &mut Anomalies) -> Option<Topic> {
        let name = odd.name("Topic", &self.topic, "a topic", TopicName::new)?;
        let of = format!("topic {name:?}");
        if !odd.is_of(asked, &self.instance_id, &of) {
            return None;
        }
        let partitions = odd.count("PartitionNum", self.partition_num, 1, &of);
        let in_range = partitions.and_then(|n| u32::try_from(n).ok());
        if partitions.is_some() && in_range.is_none() {
            odd.note(AnomalyKind::Range, format_args!("PartitionNum of {of} is out of range"));
        }
        Some(Topic {
            partitions: in_range,
            storage: odd
                .value("LocalTopic", self.local_topic, &of)
                .map(|local| if local { Storage::Local } else { Storage::Cloud }),
            cleanup: odd
                .value("CompactTopic", self.compact_topic, &of)
                .map(|compact| if compact { Cleanup::Compact } else { Cleanup::Delete }),
            created_at: odd.time("CreateTime", self.create_time, &of),
            name,
        })
    }
}

/// `GetTopicStatus`.
#[derive(Debug, Default)]
pub(crate) struct TopicStatusAnswer<'de> {
    status: Record<TopicStatusVo<'de>>,
}
fields!(TopicStatusAnswer<'de> { "TopicStatus" => status });

#[derive(Debug, Default)]
struct TopicStatusVo<'de> {
    total_count: Int,
    offset_table: List<OffsetTable<'de>>,
}
fields!(TopicStatusVo<'de> { "TotalCount" => total_count, "OffsetTable" => offset_table });

#[derive(Debug, Default)]
struct OffsetTable<'de> {
    topic: Text<'de>,
    partition: Int,
    min_offset: Int,
    max_offset: Int,
    last_update_timestamp: Int,
}
fields!(OffsetTable<'de> {
    "Topic" => topic,
    "Partition" => partition,
    "MinOffset" => min_offset,
    "MaxOffset" => max_offset,
    // The reference's table spells it with a capital S; its sample, the SDK and the older docs do not.
    "LastUpdateTimestamp" | "LastUpdateTimeStamp" => last_update_timestamp,
});
impl<'de> Item<'de> for OffsetTable<'de> {
    const WRAPPER: &'static str = "OffsetTable";
}

impl<'de> Payload<'de> for TopicStatusAnswer<'de> {
    const KEY: &'static str = "TopicStatus";

    fn is_told(&self) -> bool {
        !matches!(self.status, Record::Missing)
    }
}

impl TopicStatusAnswer<'_> {
    /// The status of the topic that was asked for. `null` is the status of a topic that holds nothing yet.
    pub(crate) fn into_status(self, asked: &TopicName) -> Result<Observed<TopicStatus>, Discarded> {
        let mut odd = Anomalies::default();
        let status = match self.status {
            Record::Value(status) => status,
            Record::Null => return Ok(Observed { value: TopicStatus::default(), anomalies: Vec::new() }),
            Record::Missing | Record::WrongType => {
                return Err(Discarded::new(AnomalyKind::Type, "TopicStatus is no object"));
            }
        };
        let of = format!("topic {asked:?}");
        let List { told, strangers, .. } = status.offset_table;
        odd.substance("OffsetTable", told, strangers, status.total_count, &of)?;
        let records = status.offset_table.items.len();
        let mut foreign = 0;
        let mut partitions = Vec::with_capacity(records);
        for row in status.offset_table.items {
            if row.topic.as_value().is_some_and(|topic| topic != asked.as_str()) {
                foreign += 1;
                odd.note(AnomalyKind::Contradiction, format_args!("a row of {of} is of another topic"));
                continue;
            }
            partitions.extend(row.into_partition(&of, &mut odd));
        }
        if foreign > 0 && foreign == records {
            let what = format_args!("the answer for {of} is about another topic");
            return Err(Discarded::new(AnomalyKind::Contradiction, what));
        }
        if partitions.is_empty() && records + strangers > 0 {
            return Err(Discarded::new(AnomalyKind::Type, format_args!("no row of {of} can be read")));
        }
        odd.sorted(&mut partitions, |p| format!("partition {} of {of}", p.partition.0), |p| p.partition);
        let messages = odd.count("TotalCount", status.total_count, 1, &of);
        let value = TopicStatus {
            // A count over rows of which some belong elsewhere is not this topic's.
            messages: messages.filter(|_| foreign == 0),
            partitions,
        };
        Ok(Observed { value, anomalies: odd.into_vec() })
    }
}

impl OffsetTable<'_> {
    fn into_partition(self, of: &str, odd: &mut Anomalies) -> Option<TopicPartition> {
        let partition = odd.partition(self.partition, of)?;
        let of = format_args!("partition {} of {of}", partition.0);
        Some(TopicPartition {
            partition,
            start: odd.offset("MinOffset", self.min_offset, of),
            end: odd.offset("MaxOffset", self.max_offset, of),
            last_write: odd.time("LastUpdateTimestamp", self.last_update_timestamp, of),
        })
    }
}
