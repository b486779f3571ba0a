//! `GetTopicList` and `GetTopicStatus`.

use super::{
    Anomalies, BoolField, DiscardedResponse, IntField, ListPage, ResponsePayload, TextField,
    list::{ListField, ListItem, ObjectField, Presence, fields},
    told_count,
};
use crate::model::{
    AnomalyKind, Cleanup, InstanceId, Observed, Storage, Topic, TopicName, TopicPartition, TopicStatus,
};

/// `GetTopicList`, one page.
#[derive(Debug, Default)]
pub(crate) struct TopicListResponse<'de> {
    topics: ListField<TopicVo<'de>>,
    total: IntField,
    current_page: IntField,
    page_size: IntField,
}
fields!(TopicListResponse<'de> {
    "TopicList" => topics,
    "Total" => total,
    "CurrentPage" => current_page,
    "PageSize" => page_size,
});

#[derive(Debug, Default)]
struct TopicVo<'de> {
    topic: TextField<'de>,
    instance_id: TextField<'de>,
    partition_num: IntField,
    local_topic: BoolField,
    compact_topic: BoolField,
    create_time: IntField,
}
fields!(TopicVo<'de> {
    "Topic" => topic,
    "InstanceId" => instance_id,
    "PartitionNum" => partition_num,
    "LocalTopic" => local_topic,
    "CompactTopic" => compact_topic,
    "CreateTime" => create_time,
});
impl<'de> ListItem<'de> for TopicVo<'de> {
    const WRAPPER: &'static str = "TopicVO";
}

impl<'de> ResponsePayload<'de> for TopicListResponse<'de> {
    const KEY: &'static str = "TopicList";

    fn is_present(&self) -> bool {
        self.topics.told != Presence::Missing
    }
}

impl TopicListResponse<'_> {
    pub(crate) fn into_page(self, asked: &InstanceId, anomalies: &mut Anomalies) -> ListPage<Topic> {
        let is_complete = anomalies.list("TopicList", self.topics.told, self.topics.malformed, "the answer");
        let records = self.topics.items.len();
        let items: Vec<_> =
            self.topics.items.into_iter().filter_map(|vo| vo.into_topic(asked, anomalies)).collect();
        ListPage {
            is_complete: is_complete && items.len() == records,
            items,
            entries: records + self.topics.malformed,
            total: told_count(self.total),
            current_page: self.current_page.value(),
            page_size: told_count(self.page_size),
        }
    }
}

impl TopicVo<'_> {
    fn into_topic(self, asked: &InstanceId, anomalies: &mut Anomalies) -> Option<Topic> {
        let name = anomalies.name("Topic", &self.topic, "a topic", TopicName::new)?;
        let of = format!("topic {name:?}");
        if !anomalies.is_of(asked, &self.instance_id, &of) {
            return None;
        }
        let partitions = anomalies.count("PartitionNum", self.partition_num, 1, &of);
        let in_range = partitions.and_then(|n| u32::try_from(n).ok());
        if partitions.is_some() && in_range.is_none() {
            anomalies.note(AnomalyKind::Range, format_args!("PartitionNum of {of} is out of range"));
        }
        Some(Topic {
            partitions: in_range,
            storage: anomalies
                .value("LocalTopic", self.local_topic, &of)
                .map(|local| if local { Storage::Local } else { Storage::Cloud }),
            cleanup: anomalies
                .value("CompactTopic", self.compact_topic, &of)
                .map(|compact| if compact { Cleanup::Compact } else { Cleanup::Delete }),
            created_at: anomalies.time("CreateTime", self.create_time, &of),
            name,
        })
    }
}

/// `GetTopicStatus`.
#[derive(Debug, Default)]
pub(crate) struct TopicStatusResponse<'de> {
    status: ObjectField<TopicStatusVo<'de>>,
}
fields!(TopicStatusResponse<'de> { "TopicStatus" => status });

#[derive(Debug, Default)]
struct TopicStatusVo<'de> {
    total_count: IntField,
    offset_table: ListField<OffsetTable<'de>>,
}
fields!(TopicStatusVo<'de> { "TotalCount" => total_count, "OffsetTable" => offset_table });

#[derive(Debug, Default)]
struct OffsetTable<'de> {
    topic: TextField<'de>,
    partition: IntField,
    min_offset: IntField,
    max_offset: IntField,
    last_update_timestamp: IntField,
}
fields!(OffsetTable<'de> {
    "Topic" => topic,
    "Partition" => partition,
    "MinOffset" => min_offset,
    "MaxOffset" => max_offset,
    // The reference's table spells it with a capital S; its sample, the SDK and the older docs do not.
    "LastUpdateTimestamp" | "LastUpdateTimeStamp" => last_update_timestamp,
});
impl<'de> ListItem<'de> for OffsetTable<'de> {
    const WRAPPER: &'static str = "OffsetTable";
}

impl<'de> ResponsePayload<'de> for TopicStatusResponse<'de> {
    const KEY: &'static str = "TopicStatus";

    fn is_present(&self) -> bool {
        !matches!(self.status, ObjectField::Missing)
    }
}

impl TopicStatusResponse<'_> {
    /// The status of the topic that was asked for. `null` is the status of a topic that holds nothing yet.
    pub(crate) fn into_status(self, asked: &TopicName) -> Result<Observed<TopicStatus>, DiscardedResponse> {
        let mut anomalies = Anomalies::default();
        let status = match self.status {
            ObjectField::Value(status) => status,
            ObjectField::Null => {
                return Ok(Observed { value: TopicStatus::default(), anomalies: Vec::new() });
            }
            ObjectField::Missing | ObjectField::WrongType => {
                return Err(DiscardedResponse::new(AnomalyKind::Type, "TopicStatus is no object"));
            }
        };
        let of = format!("topic {asked:?}");
        let ListField { told, malformed, .. } = status.offset_table;
        anomalies.substance("OffsetTable", told, malformed, status.total_count, &of)?;
        let records = status.offset_table.items.len();
        let mut foreign = 0;
        let mut partitions = Vec::with_capacity(records);
        for row in status.offset_table.items {
            if row.topic.as_value().is_some_and(|topic| topic != asked.as_str()) {
                foreign += 1;
                anomalies.note(AnomalyKind::Contradiction, format_args!("a row of {of} is of another topic"));
                continue;
            }
            partitions.extend(row.into_partition(&of, &mut anomalies));
        }
        if foreign > 0 && foreign == records {
            let what = format_args!("the answer for {of} is about another topic");
            return Err(DiscardedResponse::new(AnomalyKind::Contradiction, what));
        }
        if partitions.is_empty() && records + malformed > 0 {
            return Err(DiscardedResponse::new(
                AnomalyKind::Type,
                format_args!("no row of {of} can be read"),
            ));
        }
        anomalies.sorted(
            &mut partitions,
            |p| format!("partition {} of {of}", p.partition.0),
            |p| p.partition,
        );
        let messages = anomalies.count("TotalCount", status.total_count, 1, &of);
        let value = TopicStatus {
            // A count over rows of which some belong elsewhere is not this topic's.
            messages: messages.filter(|_| foreign == 0),
            partitions,
        };
        Ok(Observed { value, anomalies: anomalies.into_vec() })
    }
}

impl OffsetTable<'_> {
    fn into_partition(self, of: &str, anomalies: &mut Anomalies) -> Option<TopicPartition> {
        let partition = anomalies.partition(self.partition, of)?;
        let of = format_args!("partition {} of {of}", partition.0);
        Some(TopicPartition {
            partition,
            start: anomalies.offset("MinOffset", self.min_offset, of),
            end: anomalies.offset("MaxOffset", self.max_offset, of),
            last_write: anomalies.time("LastUpdateTimestamp", self.last_update_timestamp, of),
        })
    }
}
