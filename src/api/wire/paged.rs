//! List pages of `GetTopicList` and `GetConsumerList`.

use std::borrow::Cow;

use serde::de::MapAccess;

use super::{
    Anomalies, BoolField, IntField, ResponsePayload, TextField,
    object::{JsonObject, ListField, ListItem, json_object},
};
use crate::model::{Cleanup, GroupId, InstanceId, Observed, Storage, Topic, TopicName};

/// Response of `GetTopicList`: one list page.
pub(crate) type TopicListResponse<'de> = PagedResponse<TopicVo<'de>>;
/// Response of `GetConsumerList`: one list page, or the complete list from clouds that do not paginate it.
pub(crate) type GroupListResponse<'de> = PagedResponse<ConsumerVo<'de>>;

/// One page of a list, or a complete list that is not paginated.
#[derive(Debug, PartialEq, Eq)]
pub struct ListPage<T> {
    /// Readable items, in the order of the response. Names may repeat.
    pub items: Vec<T>,
    /// Number of items on the list page, readable or not.
    pub entries: usize,
    /// Whether every item was readable.
    pub is_complete: bool,
    /// `Total`.
    pub total: Option<usize>,
    /// `CurrentPage`.
    pub current_page: Option<i64>,
    /// `PageSize`.
    pub page_size: Option<usize>,
}

/// Response with one list page.
#[derive(Default)]
pub(crate) struct PagedResponse<T> {
    list: ListField<T>,
    total: IntField,
    current_page: IntField,
    page_size: IntField,
}

/// Item of a paginated list.
pub(crate) trait PagedItem<'de>: ListItem<'de> {
    /// Key of the list in the response.
    const LIST_KEY: &'static str;
    /// The item in the model.
    type Model;

    /// Converts the item; `None` if it has no valid name or belongs to another instance.
    fn into_model(self, requested: &InstanceId, anomalies: &mut Anomalies) -> Option<Self::Model>;
}

impl<'de, T: PagedItem<'de>> JsonObject<'de> for PagedResponse<T> {
    fn read_field<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        object: &mut A,
    ) -> Result<bool, A::Error> {
        match &*key {
            "Total" => self.total = object.next_value()?,
            "CurrentPage" => self.current_page = object.next_value()?,
            "PageSize" => self.page_size = object.next_value()?,
            key if key == T::LIST_KEY => self.list = object.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de, T: PagedItem<'de>> ResponsePayload<'de> for PagedResponse<T> {
    const KEY: &'static str = T::LIST_KEY;
}

impl<'de, T: PagedItem<'de>> PagedResponse<T> {
    pub(crate) fn into_page(self, requested: &InstanceId) -> Observed<ListPage<T::Model>> {
        let mut anomalies = Anomalies::default();
        let is_complete = anomalies.check_list(T::LIST_KEY, &self.list, "the response");
        let list = self.list.value().unwrap_or_default();
        let objects = list.items.len();
        let items: Vec<_> =
            list.items.into_iter().filter_map(|item| item.into_model(requested, &mut anomalies)).collect();
        let count = |field: IntField| field.value().and_then(|count| usize::try_from(count).ok());
        let value = ListPage {
            is_complete: is_complete && items.len() == objects,
            items,
            entries: objects + list.malformed,
            total: count(self.total),
            current_page: self.current_page.value(),
            page_size: count(self.page_size),
        };
        Observed { value, anomalies: anomalies.into_vec() }
    }
}

json_object! {
    pub(crate) struct TopicVo<'de> {
        topic: TextField<'de> = "Topic",
        instance_id: TextField<'de> = "InstanceId",
        partition_num: IntField = "PartitionNum",
        local_topic: BoolField = "LocalTopic",
        compact_topic: BoolField = "CompactTopic",
        create_time: IntField = "CreateTime",
    }
}
impl<'de> ListItem<'de> for TopicVo<'de> {
    const WRAPPER: &'static str = "TopicVO";
}

impl<'de> PagedItem<'de> for TopicVo<'de> {
    const LIST_KEY: &'static str = "TopicList";
    type Model = Topic;

    fn into_model(self, requested: &InstanceId, anomalies: &mut Anomalies) -> Option<Topic> {
        let name = anomalies.name("Topic", &self.topic, "a topic", TopicName::new)?;
        let owner = format!("topic {name:?}");
        if !anomalies.is_of_instance(requested, &self.instance_id, &owner) {
            return None;
        }
        let partitions = anomalies.count("PartitionNum", self.partition_num, 1, &owner);
        let partitions_in_range = partitions.and_then(|n| u32::try_from(n).ok());
        if partitions.is_some() && partitions_in_range.is_none() {
            anomalies.record_range("PartitionNum", &owner);
        }
        let is_local = anomalies.value("LocalTopic", self.local_topic, &owner);
        let is_compacted = anomalies.value("CompactTopic", self.compact_topic, &owner);
        Some(Topic {
            partitions: partitions_in_range,
            storage: is_local.map(|is_local| if is_local { Storage::Local } else { Storage::Cloud }),
            cleanup: is_compacted.map(|yes| if yes { Cleanup::Compact } else { Cleanup::Delete }),
            created_at: anomalies.time("CreateTime", self.create_time, &owner),
            name,
        })
    }
}

json_object! {
    pub(crate) struct ConsumerVo<'de> {
        consumer_id: TextField<'de> = "ConsumerId",
        instance_id: TextField<'de> = "InstanceId",
    }
}
impl<'de> ListItem<'de> for ConsumerVo<'de> {
    const WRAPPER: &'static str = "ConsumerVO";
}

impl<'de> PagedItem<'de> for ConsumerVo<'de> {
    const LIST_KEY: &'static str = "ConsumerList";
    type Model = GroupId;

    fn into_model(self, requested: &InstanceId, anomalies: &mut Anomalies) -> Option<GroupId> {
        let id = anomalies.name("ConsumerId", &self.consumer_id, "a group", GroupId::new)?;
        anomalies.is_of_instance(requested, &self.instance_id, format_args!("group {id:?}")).then_some(id)
    }
}
