//! `GetTopicStatus`: the partitions of one topic.

use super::{
    Anomalies, DiscardedResponse, Field, IntField, ResponsePayload, TextField,
    object::{ListField, ListItem, json_object},
};
use crate::model::{AnomalyKind, Observed, TopicName, TopicPartition, TopicStatus};

json_object! {
    /// Response of `GetTopicStatus`.
    pub(crate) struct TopicStatusResponse<'de> {
        status: Field<TopicStatusVo<'de>> = "TopicStatus",
    }
}
impl<'de> ResponsePayload<'de> for TopicStatusResponse<'de> {
    const KEY: &'static str = "TopicStatus";
}

json_object! {
    struct TopicStatusVo<'de> {
        total_count: IntField = "TotalCount",
        offset_table: ListField<OffsetTable<'de>> = "OffsetTable",
    }
}

json_object! {
    struct OffsetTable<'de> {
        topic: TextField<'de> = "Topic",
        partition: IntField = "Partition",
        min_offset: IntField = "MinOffset",
        max_offset: IntField = "MaxOffset",
        // The table of the API reference has a capital S; its sample, the SDK and the older reference do not.
        last_update_timestamp: IntField = "LastUpdateTimestamp" | "LastUpdateTimeStamp",
    }
}
impl<'de> ListItem<'de> for OffsetTable<'de> {
    const WRAPPER: &'static str = "OffsetTable";
}

impl TopicStatusResponse<'_> {
    /// Returns the status of the requested topic. `null` is the status of a topic without messages.
    pub(crate) fn into_status(
        self,
        requested: &TopicName,
    ) -> Result<Observed<TopicStatus>, DiscardedResponse> {
        let mut anomalies = Anomalies::default();
        let status = match self.status {
            Field::Value(status) => status,
            Field::Null => {
                return Ok(Observed { value: TopicStatus::default(), anomalies: Vec::new() });
            }
            Field::Missing | Field::WrongType | Field::OutOfRange => {
                return Err(DiscardedResponse::new(AnomalyKind::Type, "TopicStatus is not an object"));
            }
        };
        let owner = format!("topic {requested:?}");
        anomalies.require_list("OffsetTable", &status.offset_table, status.total_count, &owner)?;
        let offset_table = status.offset_table.value().unwrap_or_default();
        let rows = offset_table.items.len();
        let mut rows_of_others = 0;
        let mut partitions = Vec::with_capacity(rows);
        for row in offset_table.items {
            if row.topic.as_value().is_some_and(|topic| topic != requested.as_str()) {
                rows_of_others += 1;
                anomalies
                    .record(AnomalyKind::Contradiction, format_args!("a row of {owner} is of another topic"));
                continue;
            }
            partitions.extend(row.into_partition(&owner, &mut anomalies));
        }
        if rows_of_others > 0 && rows_of_others == rows {
            let detail = format_args!("the response for {owner} is about another topic");
            return Err(DiscardedResponse::new(AnomalyKind::Contradiction, detail));
        }
        if partitions.is_empty() && rows + offset_table.malformed > 0 {
            let detail = format_args!("no row of {owner} is readable");
            return Err(DiscardedResponse::new(AnomalyKind::Type, detail));
        }
        anomalies.sort_and_deduplicate(&mut partitions, &owner, |row| row.partition);
        let messages = anomalies.count("TotalCount", status.total_count, 1, &owner);
        let value = TopicStatus {
            // A total that includes rows of other topics is not the total of this one.
            messages: messages.filter(|_| rows_of_others == 0),
            partitions,
        };
        Ok(Observed { value, anomalies: anomalies.into_vec() })
    }
}

impl OffsetTable<'_> {
    fn into_partition(self, owner: &str, anomalies: &mut Anomalies) -> Option<TopicPartition> {
        let partition = anomalies.partition(self.partition, owner)?;
        let owner = format_args!("partition {} of {owner}", partition.0);
        Some(TopicPartition {
            partition,
            start: anomalies.offset("MinOffset", self.min_offset, owner),
            end: anomalies.offset("MaxOffset", self.max_offset, owner),
            last_write: anomalies.time("LastUpdateTimestamp", self.last_update_timestamp, owner),
        })
    }
}
