//! `GetInstanceList` and `GetAllInstanceIdList`.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    Anomalies, IntField, ResponsePayload, TextField,
    list::{Key, ListField, ListItem, ObjectField, Presence, fields, wrong_type},
};
use crate::model::{AnomalyKind, Instance, InstanceId, InstanceState, Listing, Observed, RegionId};

const HOUR: u64 = 3_600;
const GIBIBYTE: u64 = 1 << 30;

/// `GetInstanceList`.
#[derive(Debug, Default)]
pub(crate) struct InstanceListResponse<'de> {
    instances: ListField<InstanceVo<'de>>,
}
fields!(InstanceListResponse<'de> { "InstanceList" => instances });

#[derive(Debug, Default)]
struct InstanceVo<'de> {
    instance_id: TextField<'de>,
    name: TextField<'de>,
    region_id: TextField<'de>,
    view_instance_status_code: IntField,
    service_status: IntField,
    series: TextField<'de>,
    spec_type: TextField<'de>,
    upgrade: ObjectField<UpgradeServiceDetailInfo<'de>>,
    deploy_type: TextField<'de>,
    paid_type: TextField<'de>,
    disk_type: TextField<'de>,
    create_time: IntField,
    expired_time: IntField,
    used_topic_count: IntField,
    topic_num_limit: IntField,
    used_partition_count: IntField,
    used_group_count: IntField,
    disk_size: IntField,
    msg_retain: IntField,
    tags: ListField<TagVo<'de>>,
}
fields!(InstanceVo<'de> {
    "InstanceId" => instance_id,
    "Name" => name,
    "RegionId" => region_id,
    "ViewInstanceStatusCode" => view_instance_status_code,
    "ServiceStatus" => service_status,
    "Series" => series,
    "SpecType" => spec_type,
    "UpgradeServiceDetailInfo" => upgrade,
    "DeployType" => deploy_type,
    "PaidType" => paid_type,
    "DiskType" => disk_type,
    "CreateTime" => create_time,
    "ExpiredTime" => expired_time,
    "UsedTopicCount" => used_topic_count,
    "TopicNumLimit" => topic_num_limit,
    "UsedPartitionCount" => used_partition_count,
    "UsedGroupCount" => used_group_count,
    "DiskSize" => disk_size,
    "MsgRetain" => msg_retain,
    "Tags" => tags,
});
impl<'de> ListItem<'de> for InstanceVo<'de> {
    const WRAPPER: &'static str = "InstanceVO";
}

#[derive(Debug, Default)]
struct UpgradeServiceDetailInfo<'de> {
    version: TextField<'de>,
}
fields!(UpgradeServiceDetailInfo<'de> { "Current2OpenSourceVersion" => version });

#[derive(Debug, Default)]
struct TagVo<'de> {
    key: TextField<'de>,
    value: TextField<'de>,
}
fields!(TagVo<'de> { "Key" => key, "Value" => value });
impl<'de> ListItem<'de> for TagVo<'de> {
    const WRAPPER: &'static str = "TagVO";
}

impl<'de> ResponsePayload<'de> for InstanceListResponse<'de> {
    const KEY: &'static str = "InstanceList";

    fn is_present(&self) -> bool {
        self.instances.told != Presence::Missing
    }
}

impl InstanceListResponse<'_> {
    pub(crate) fn into_instances(self, asked: &RegionId) -> Observed<Listing<Instance>> {
        let mut anomalies = Anomalies::default();
        let mut complete =
            anomalies.list("InstanceList", self.instances.told, self.instances.malformed, "the answer");
        let entries = self.instances.items.len();
        let mut items: Vec<_> = self
            .instances
            .items
            .into_iter()
            .filter_map(|vo| vo.into_instance(asked, &mut anomalies))
            .collect();
        complete &= items.len() == entries;
        anomalies.unique(&mut items, "an instance", |instance| instance.id.clone());
        Observed { value: Listing { items, complete }, anomalies: anomalies.into_vec() }
    }
}

impl InstanceVo<'_> {
    fn into_instance(self, asked: &RegionId, anomalies: &mut Anomalies) -> Option<Instance> {
        let id = anomalies.name("InstanceId", &self.instance_id, "an instance", InstanceId::new)?;
        let of = format!("instance {id:?}");
        if self.region_id.as_value().is_some_and(|region| region != asked.as_str()) {
            anomalies
                .note(AnomalyKind::Contradiction, format_args!("{of} belongs to another region than asked"));
            return None;
        }
        let view = anomalies.value("ViewInstanceStatusCode", self.view_instance_status_code, &of);
        let service = anomalies.value("ServiceStatus", self.service_status, &of);
        let version = match self.upgrade {
            ObjectField::Value(detail) => anomalies.text("Current2OpenSourceVersion", detail.version, &of),
            ObjectField::Missing | ObjectField::Null => None,
            ObjectField::WrongType => {
                anomalies
                    .note(AnomalyKind::Type, format_args!("UpgradeServiceDetailInfo of {of} is no object"));
                None
            }
        };
        // Instances without tags come without the key, so its absence is no oddity.
        if self.tags.told != Presence::Missing {
            anomalies.list("Tags", self.tags.told, self.tags.malformed, &of);
        }
        let tags = self.tags.items.into_iter().filter_map(|tag| {
            let key = anomalies.text("Key", tag.key, &of)?;
            Some((key, anomalies.text("Value", tag.value, &of).unwrap_or_default()))
        });
        let tags = tags.collect();
        Some(Instance {
            name: anomalies.text("Name", self.name, &of),
            state: view
                .map(InstanceState::from_view_code)
                .or_else(|| service.map(InstanceState::from_service_status)),
            series: anomalies.text("Series", self.series, &of),
            spec_type: anomalies.text("SpecType", self.spec_type, &of),
            version,
            deploy_type: anomalies
                .text("DeployType", self.deploy_type, &of)
                .map(|code| word(code, &[("4", "public"), ("5", "vpc")])),
            paid_type: anomalies.text("PaidType", self.paid_type, &of).map(|code| {
                word(code, &[("0", "prepaid"), ("1", "postpaid"), ("3", "serverless"), ("4", "confluent")])
            }),
            disk_type: anomalies
                .text("DiskType", self.disk_type, &of)
                .map(|code| word(code, &[("0", "efficiency"), ("1", "ssd")])),
            created_at: anomalies.time("CreateTime", self.create_time, &of),
            expires_at: anomalies.time("ExpiredTime", self.expired_time, &of),
            topics: anomalies.count("UsedTopicCount", self.used_topic_count, 1, &of),
            topic_limit: anomalies.count("TopicNumLimit", self.topic_num_limit, 1, &of),
            partitions: anomalies.count("UsedPartitionCount", self.used_partition_count, 1, &of),
            groups: anomalies.count("UsedGroupCount", self.used_group_count, 1, &of),
            disk_size_bytes: anomalies.count("DiskSize", self.disk_size, GIBIBYTE, &of),
            message_retention_seconds: anomalies.count("MsgRetain", self.msg_retain, HOUR, &of),
            tags,
            id,
        })
    }
}

/// The word for a code; a code without a word stands for itself.
fn word(code: String, words: &[(&str, &str)]) -> String {
    words.iter().find(|(c, _)| *c == code.trim()).map_or(code, |(_, word)| (*word).to_owned())
}

/// `GetAllInstanceIdList`: `InstanceIds` is a map, or a list of maps, from region id to instance ids.
#[derive(Debug, Default)]
pub(crate) struct InstanceIdsResponse<'de> {
    ids: InstanceIds<'de>,
}
fields!(InstanceIdsResponse<'de> { "InstanceIds" => ids });

#[derive(Debug, Default)]
struct InstanceIds<'de> {
    told: Presence,
    malformed: usize,
    /// How many ids a region has; `None` where that is no list.
    regions: BTreeMap<std::borrow::Cow<'de, str>, Option<usize>>,
}

impl<'de> ResponsePayload<'de> for InstanceIdsResponse<'de> {
    const KEY: &'static str = "InstanceIds";

    fn is_present(&self) -> bool {
        self.ids.told != Presence::Missing
    }
}

impl InstanceIdsResponse<'_> {
    pub(crate) fn into_regions(self) -> Observed<Listing<RegionId>> {
        let mut anomalies = Anomalies::default();
        let mut complete = anomalies.list("InstanceIds", self.ids.told, self.ids.malformed, "the answer");
        let mut items = Vec::new();
        for (name, instances) in self.ids.regions {
            match (RegionId::new(&name), instances) {
                (Ok(region), Some(1..)) => items.push(region),
                (Ok(_), Some(0)) => {}
                (Ok(region), None) => {
                    complete = false;
                    anomalies
                        .note(AnomalyKind::Type, format_args!("InstanceIds of region {region} is no list"));
                }
                (Err(error), _) => {
                    complete = false;
                    anomalies.note(AnomalyKind::Type, format_args!("a key of InstanceIds: {error}"));
                }
            }
        }
        Observed { value: Listing { items, complete }, anomalies: anomalies.into_vec() }
    }
}

impl<'de> Deserialize<'de> for InstanceIds<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Maps;
        impl<'de> Visitor<'de> for Maps {
            type Value = InstanceIds<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of regions, or a list of such maps")
            }

            wrong_type!(
                InstanceIds { told: Presence::Null, ..InstanceIds::default() },
                InstanceIds { told: Presence::WrongType, ..InstanceIds::default() }
            );

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = InstanceIds { told: Presence::List, ..InstanceIds::default() };
                while let Some((Key(region), Count(count))) = map.next_entry()? {
                    all.add(region, count);
                }
                Ok(all)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = InstanceIds { told: Presence::List, ..InstanceIds::default() };
                while let Some(part) = seq.next_element::<InstanceIds<'de>>()? {
                    all.malformed += part.malformed + usize::from(part.told != Presence::List);
                    for (region, count) in part.regions {
                        all.add(region, count);
                    }
                }
                Ok(all)
            }
        }
        deserializer.deserialize_any(Maps)
    }
}

impl<'de> InstanceIds<'de> {
    fn add(&mut self, region: std::borrow::Cow<'de, str>, count: Option<usize>) {
        let known = self.regions.entry(region).or_insert(Some(0));
        *known = known.zip(count).map(|(a, b)| a.saturating_add(b));
    }
}

/// How many ids a value holds: a list, one id, or nothing.
struct Count(Option<usize>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ids;
        impl<'de> Visitor<'de> for Ids {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of instance ids")
            }

            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(Some(0)))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
                Ok(Count(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Count, E> {
                Ok(Count(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Count, E> {
                Ok(Count(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Count, E> {
                Ok(Count(None))
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<Count, E> {
                Ok(Count(Some(usize::from(!id.is_empty()))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(Some(count)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Count(None))
            }
        }
        deserializer.deserialize_any(Ids)
    }
}
