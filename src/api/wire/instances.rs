//! `GetInstanceList` and `GetAllInstanceIdList`.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    Anomalies, Int, Payload, Text,
    list::{Item, Key, List, Record, Told, fields, wrong_type},
};
use crate::model::{AnomalyKind, Instance, InstanceId, InstanceState, Listing, Observed, RegionId};

const HOUR: u64 = 3_600;
const GIBIBYTE: u64 = 1 << 30;

/// `GetInstanceList`.
#[derive(Debug, Default)]
pub(crate) struct InstanceListAnswer<'de> {
    instances: List<InstanceVo<'de>>,
}
fields!(InstanceListAnswer<'de> { "InstanceList" => instances });

#[derive(Debug, Default)]
struct InstanceVo<'de> {
    instance_id: Text<'de>,
    name: Text<'de>,
    region_id: Text<'de>,
    view_instance_status_code: Int,
    service_status: Int,
    series: Text<'de>,
    spec_type: Text<'de>,
    upgrade: Record<UpgradeServiceDetailInfo<'de>>,
    deploy_type: Text<'de>,
    paid_type: Text<'de>,
    disk_type: Text<'de>,
    create_time: Int,
    expired_time: Int,
    used_topic_count: Int,
    topic_num_limit: Int,
    used_partition_count: Int,
    used_group_count: Int,
    disk_size: Int,
    msg_retain: Int,
    tags: List<TagVo<'de>>,
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
impl<'de> Item<'de> for InstanceVo<'de> {
    const WRAPPER: &'static str = "InstanceVO";
}

#[derive(Debug, Default)]
struct UpgradeServiceDetailInfo<'de> {
    version: Text<'de>,
}
fields!(UpgradeServiceDetailInfo<'de> { "Current2OpenSourceVersion" => version });

#[derive(Debug, Default)]
struct TagVo<'de> {
    key: Text<'de>,
    value: Text<'de>,
}
fields!(TagVo<'de> { "Key" => key, "Value" => value });
impl<'de> Item<'de> for TagVo<'de> {
    const WRAPPER: &'static str = "TagVO";
}

impl<'de> Payload<'de> for InstanceListAnswer<'de> {
    const KEY: &'static str = "InstanceList";

    fn is_told(&self) -> bool {
        self.instances.told != Told::Missing
    }
}

impl InstanceListAnswer<'_> {
    pub(crate) fn into_instances(self, asked: &RegionId) -> Observed<Listing<Instance>> {
        let mut odd = Anomalies::default();
        let mut complete =
            odd.list("InstanceList", self.instances.told, self.instances.strangers, "the answer");
        let entries = self.instances.items.len();
        let mut items: Vec<_> =
            self.instances.items.into_iter().filter_map(|vo| vo.into_instance(asked, &mut odd)).collect();
        complete &= items.len() == entries;
        odd.unique(&mut items, "an instance", |instance| instance.id.clone());
        Observed { value: Listing { items, complete }, anomalies: odd.into_vec() }
    }
}

impl InstanceVo<'_> {
    fn into_instance(self, asked: &RegionId, odd: &mut Anomalies) -> Option<Instance> {
        let id = odd.name("InstanceId", &self.instance_id, "an instance", InstanceId::new)?;
        let of = format!("instance {id:?}");
        if self.region_id.as_value().is_some_and(|region| region != asked.as_str()) {
            odd.note(AnomalyKind::Contradiction, format_args!("{of} belongs to another region than asked"));
            return None;
        }
        let view = odd.value("ViewInstanceStatusCode", self.view_instance_status_code, &of);
        let service = odd.value("ServiceStatus", self.service_status, &of);
        let version = match self.upgrade {
            Record::Value(detail) => odd.text("Current2OpenSourceVersion", detail.version, &of),
            Record::Missing | Record::Null => None,
            Record::WrongType => {
                odd.note(AnomalyKind::Type, format_args!("UpgradeServiceDetailInfo of {of} is no object"));
                None
            }
        };
        // Instances without tags come without the key, so its absence is no oddity.
        if self.tags.told != Told::Missing {
            odd.list("Tags", self.tags.told, self.tags.strangers, &of);
        }
        let tags = self.tags.items.into_iter().filter_map(|tag| {
            let key = odd.text("Key", tag.key, &of)?;
            Some((key, odd.text("Value", tag.value, &of).unwrap_or_default()))
        });
        let tags = tags.collect();
        Some(Instance {
            name: odd.text("Name", self.name, &of),
            state: view
                .map(InstanceState::from_view_code)
                .or_else(|| service.map(InstanceState::from_service_status)),
            series: odd.text("Series", self.series, &of),
            spec_type: odd.text("SpecType", self.spec_type, &of),
            version,
            deploy_type: odd
                .text("DeployType", self.deploy_type, &of)
                .map(|code| word(code, &[("4", "public"), ("5", "vpc")])),
            paid_type: odd.text("PaidType", self.paid_type, &of).map(|code| {
                word(code, &[("0", "prepaid"), ("1", "postpaid"), ("3", "serverless"), ("4", "confluent")])
            }),
            disk_type: odd
                .text("DiskType", self.disk_type, &of)
                .map(|code| word(code, &[("0", "efficiency"), ("1", "ssd")])),
            created_at: odd.time("CreateTime", self.create_time, &of),
            expires_at: odd.time("ExpiredTime", self.expired_time, &of),
            topics: odd.count("UsedTopicCount", self.used_topic_count, 1, &of),
            topic_limit: odd.count("TopicNumLimit", self.topic_num_limit, 1, &of),
            partitions: odd.count("UsedPartitionCount", self.used_partition_count, 1, &of),
            groups: odd.count("UsedGroupCount", self.used_group_count, 1, &of),
            disk_size_bytes: odd.count("DiskSize", self.disk_size, GIBIBYTE, &of),
            message_retention_seconds: odd.count("MsgRetain", self.msg_retain, HOUR, &of),
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
pub(crate) struct InstanceIdsAnswer<'de> {
    ids: InstanceIds<'de>,
}
fields!(InstanceIdsAnswer<'de> { "InstanceIds" => ids });

#[derive(Debug, Default)]
struct InstanceIds<'de> {
    told: Told,
    strangers: usize,
    /// How many ids a region has; `None` where that is no list.
    regions: BTreeMap<std::borrow::Cow<'de, str>, Option<usize>>,
}

impl<'de> Payload<'de> for InstanceIdsAnswer<'de> {
    const KEY: &'static str = "InstanceIds";

    fn is_told(&self) -> bool {
        self.ids.told != Told::Missing
    }
}

impl InstanceIdsAnswer<'_> {
    pub(crate) fn into_regions(self) -> Observed<Listing<RegionId>> {
        let mut odd = Anomalies::default();
        let mut complete = odd.list("InstanceIds", self.ids.told, self.ids.strangers, "the answer");
        let mut items = Vec::new();
        for (name, instances) in self.ids.regions {
            match (RegionId::new(&name), instances) {
                (Ok(region), Some(1..)) => items.push(region),
                (Ok(_), Some(0)) => {}
                (Ok(region), None) => {
                    complete = false;
                    odd.note(AnomalyKind::Type, format_args!("InstanceIds of region {region} is no list"));
                }
                (Err(error), _) => {
                    complete = false;
                    odd.note(AnomalyKind::Type, format_args!("a key of InstanceIds: {error}"));
                }
            }
        }
        Observed { value: Listing { items, complete }, anomalies: odd.into_vec() }
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
                InstanceIds { told: Told::Null, ..InstanceIds::default() },
                InstanceIds { told: Told::WrongType, ..InstanceIds::default() }
            );

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = InstanceIds { told: Told::List, ..InstanceIds::default() };
                while let Some((Key(region), Count(count))) = map.next_entry()? {
                    all.add(region, count);
                }
                Ok(all)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = InstanceIds { told: Told::List, ..InstanceIds::default() };
                while let Some(part) = seq.next_element::<InstanceIds<'de>>()? {
                    all.strangers += part.strangers + usize::from(part.told != Told::List);
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
