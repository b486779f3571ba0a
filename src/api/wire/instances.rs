//! `GetInstanceList` and `GetAllInstanceIdList`.

use std::{borrow::Cow, collections::BTreeMap};

use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use super::{
    Anomalies, Field, IntField, ResponsePayload, TextField,
    lenient::FieldValue,
    object::{JsonObject, ListField, ListItem, json_object},
};
use crate::model::{AnomalyKind, Instance, InstanceId, InstanceState, Listing, Observed, RegionId};

const HOUR: u64 = 3_600;
const GIBIBYTE: u64 = 1 << 30;

json_object! {
    /// Response of `GetInstanceList`.
    pub(crate) struct InstanceListResponse<'de> {
        instances: ListField<InstanceVo<'de>> = "InstanceList",
    }
}
impl<'de> ResponsePayload<'de> for InstanceListResponse<'de> {
    const KEY: &'static str = "InstanceList";
}

json_object! {
    struct InstanceVo<'de> {
        instance_id: TextField<'de> = "InstanceId",
        name: TextField<'de> = "Name",
        region_id: TextField<'de> = "RegionId",
        view_instance_status_code: IntField = "ViewInstanceStatusCode",
        service_status: IntField = "ServiceStatus",
        series: TextField<'de> = "Series",
        spec_type: TextField<'de> = "SpecType",
        upgrade: Field<UpgradeServiceDetailInfo<'de>> = "UpgradeServiceDetailInfo",
        deploy_type: TextField<'de> = "DeployType",
        paid_type: TextField<'de> = "PaidType",
        disk_type: TextField<'de> = "DiskType",
        create_time: IntField = "CreateTime",
        expired_time: IntField = "ExpiredTime",
        used_topic_count: IntField = "UsedTopicCount",
        topic_num_limit: IntField = "TopicNumLimit",
        used_partition_count: IntField = "UsedPartitionCount",
        used_group_count: IntField = "UsedGroupCount",
        disk_size: IntField = "DiskSize",
        msg_retain: IntField = "MsgRetain",
        tags: ListField<TagVo<'de>> = "Tags",
    }
}
impl<'de> ListItem<'de> for InstanceVo<'de> {
    const WRAPPER: &'static str = "InstanceVO";
}

json_object! {
    struct UpgradeServiceDetailInfo<'de> {
        version: TextField<'de> = "Current2OpenSourceVersion",
    }
}

json_object! {
    struct TagVo<'de> {
        key: TextField<'de> = "Key",
        value: TextField<'de> = "Value",
    }
}
impl<'de> ListItem<'de> for TagVo<'de> {
    const WRAPPER: &'static str = "TagVO";
}

impl InstanceListResponse<'_> {
    pub(crate) fn into_instances(self, requested: &RegionId) -> Observed<Listing<Instance>> {
        let mut anomalies = Anomalies::default();
        let is_complete = anomalies.check_list("InstanceList", &self.instances, "the response");
        let list = self.instances.value().unwrap_or_default().items;
        let objects = list.len();
        let mut items: Vec<_> =
            list.into_iter().filter_map(|vo| vo.into_instance(requested, &mut anomalies)).collect();
        let complete = is_complete && items.len() == objects;
        anomalies.deduplicate(&mut items, "an instance", |instance| instance.id.clone());
        Observed { value: Listing { items, complete }, anomalies: anomalies.into_vec() }
    }
}

impl InstanceVo<'_> {
    fn into_instance(self, requested: &RegionId, anomalies: &mut Anomalies) -> Option<Instance> {
        let id = anomalies.name("InstanceId", &self.instance_id, "an instance", InstanceId::new)?;
        let owner = format!("instance {id:?}");
        if self.region_id.as_value().is_some_and(|region| region != requested.as_str()) {
            let detail = format_args!("{owner} belongs to another region than requested");
            anomalies.record(AnomalyKind::Contradiction, detail);
            return None;
        }
        let view_code = anomalies.value("ViewInstanceStatusCode", self.view_instance_status_code, &owner);
        let service_status = anomalies.value("ServiceStatus", self.service_status, &owner);
        let version = match self.upgrade {
            Field::Value(detail) => anomalies.text("Current2OpenSourceVersion", detail.version, &owner),
            Field::Missing | Field::Null => None,
            Field::WrongType | Field::OutOfRange => {
                let detail = format_args!("UpgradeServiceDetailInfo of {owner} is not an object");
                anomalies.record(AnomalyKind::Type, detail);
                None
            }
        };
        // Instances without tags do not have the key.
        if !matches!(self.tags, Field::Missing) {
            anomalies.check_list("Tags", &self.tags, &owner);
        }
        let mut tags = Vec::new();
        for tag in self.tags.value().unwrap_or_default().items {
            if let Some(key) = anomalies.text("Key", tag.key, &owner) {
                tags.push((key, anomalies.text("Value", tag.value, &owner).unwrap_or_default()));
            }
        }
        let deploy_type = anomalies.text("DeployType", self.deploy_type, &owner);
        let paid_type = anomalies.text("PaidType", self.paid_type, &owner);
        let disk_type = anomalies.text("DiskType", self.disk_type, &owner);
        Some(Instance {
            name: anomalies.text("Name", self.name, &owner),
            state: view_code
                .map(InstanceState::from_view_code)
                .or_else(|| service_status.map(InstanceState::from_service_status)),
            series: anomalies.text("Series", self.series, &owner),
            spec_type: anomalies.text("SpecType", self.spec_type, &owner),
            version,
            deploy_type: deploy_type.map(|code| decode_code(code, &[("4", "public"), ("5", "vpc")])),
            paid_type: paid_type.map(|code| {
                let names = [("0", "prepaid"), ("1", "postpaid"), ("3", "serverless"), ("4", "confluent")];
                decode_code(code, &names)
            }),
            disk_type: disk_type.map(|code| decode_code(code, &[("0", "efficiency"), ("1", "ssd")])),
            created_at: anomalies.time("CreateTime", self.create_time, &owner),
            expires_at: anomalies.time("ExpiredTime", self.expired_time, &owner),
            topics: anomalies.count("UsedTopicCount", self.used_topic_count, 1, &owner),
            topic_limit: anomalies.count("TopicNumLimit", self.topic_num_limit, 1, &owner),
            partitions: anomalies.count("UsedPartitionCount", self.used_partition_count, 1, &owner),
            groups: anomalies.count("UsedGroupCount", self.used_group_count, 1, &owner),
            disk_size_bytes: anomalies.count("DiskSize", self.disk_size, GIBIBYTE, &owner),
            message_retention_seconds: anomalies.count("MsgRetain", self.msg_retain, HOUR, &owner),
            tags,
            id,
        })
    }
}

/// Returns the name of a code, or the code itself if it has no name here.
fn decode_code(code: String, names: &[(&str, &str)]) -> String {
    names.iter().find(|(c, _)| *c == code.trim()).map_or(code, |(_, name)| (*name).to_owned())
}

json_object! {
    /// Response of `GetAllInstanceIdList`.
    pub(crate) struct InstanceIdsResponse<'de> {
        ids: ListField<InstanceIdMap<'de>> = "InstanceIds",
    }
}
impl<'de> ResponsePayload<'de> for InstanceIdsResponse<'de> {
    const KEY: &'static str = "InstanceIds";
}

impl InstanceIdsResponse<'_> {
    /// Returns the regions that have instances.
    pub(crate) fn into_regions(self) -> Observed<Listing<RegionId>> {
        let mut anomalies = Anomalies::default();
        let mut complete = anomalies.check_list("InstanceIds", &self.ids, "the response");
        let mut counts = BTreeMap::new();
        for (region, count) in self.ids.value().unwrap_or_default().items.into_iter().flat_map(|map| map.0) {
            let known = counts.entry(region).or_insert(Some(0));
            *known = known.zip(count).map(|(a, b): (usize, usize)| a.saturating_add(b));
        }
        let mut items = Vec::new();
        for (name, instances) in counts {
            match (RegionId::new(&name), instances) {
                (Ok(region), Some(1..)) => items.push(region),
                (Ok(_), Some(0)) => {}
                (Ok(region), None) => {
                    complete = false;
                    let detail = format_args!("InstanceIds of region {region} is not a list");
                    anomalies.record(AnomalyKind::Type, detail);
                }
                (Err(error), _) => {
                    complete = false;
                    anomalies.record(AnomalyKind::Type, format_args!("a key of InstanceIds: {error}"));
                }
            }
        }
        Observed { value: Listing { items, complete }, anomalies: anomalies.into_vec() }
    }
}

/// Number of instance ids by region id; `None` if the value is not a list.
#[derive(Debug, Default)]
struct InstanceIdMap<'de>(Vec<(Cow<'de, str>, Option<usize>)>);

impl<'de> JsonObject<'de> for InstanceIdMap<'de> {
    fn read_field<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        object: &mut A,
    ) -> Result<bool, A::Error> {
        let count = match object.next_value::<Field<InstanceCount>>()? {
            Field::Null => Some(0),
            count => count.value().map(|InstanceCount(count)| count),
        };
        self.0.push((key, count));
        Ok(true)
    }
}

impl<'de> ListItem<'de> for InstanceIdMap<'de> {
    const WRAPPER: &'static str = "InstanceIds";
}

/// Number of instance ids in a list, or in one bare id.
struct InstanceCount(usize);

impl<'de> FieldValue<'de> for InstanceCount {
    fn from_text(_: Cow<'de, str>) -> Field<Self> {
        Field::Value(Self(1))
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Field<Self>, A::Error> {
        let mut count = 0;
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Field::Value(Self(count)))
    }
}
