//! The six actions: from a call and the world to a payload, with the truth that it was made from.

use serde_json::{Map, Value, json};

use crate::{
    options::{HideLastTimestamp, ListShape, ServiceBehaviour},
    request::ApiCall,
    wire::{ErrorResponse, inner_list, list, tags},
    world::{
        Instance, World,
        truth::{GroupTruth, TopicTruth},
    },
};

/// The actions that are served: name, RAM action, parameters that must be there.
const ACTIONS: [(&str, &str, &[&str]); 6] = [
    ("GetAllInstanceIdList", "alikafka:ListInstance", &["RegionId"]),
    ("GetInstanceList", "alikafka:ListInstance", &["RegionId"]),
    ("GetTopicList", "alikafka:ListTopic", &["InstanceId"]),
    ("GetTopicStatus", "alikafka:ListTopic", &["InstanceId", "Topic"]),
    ("GetConsumerList", "alikafka:ListGroup", &["InstanceId", "RegionId"]),
    ("GetConsumerProgress", "alikafka:ListGroup", &["InstanceId", "ConsumerId", "RegionId"]),
];

/// The RAM action of an API action.
///
/// # Errors
/// `InvalidAction.NotFound` for one that is not served; all that write are not.
pub(crate) fn ram_action(action: &str) -> Result<&'static str, ErrorResponse> {
    let found = ACTIONS.iter().find(|(name, ..)| *name == action);
    found.map(|(_, ram, _)| *ram).ok_or_else(|| {
        ErrorResponse::new(
            404,
            "InvalidAction.NotFound",
            "Specified api is not found, please check your url and method.",
        )
    })
}

/// What an answer was made from, to be remembered once it is served whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ResponseTruth {
    /// Nothing that is remembered.
    Lists,
    /// One topic's offsets.
    Topic(TopicTruth),
    /// One group's progress.
    Group(GroupTruth),
}

/// How a fault bends the pages of a list.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PagingFault {
    /// Serves page 1 whatever was asked.
    pub(crate) ignore_page: bool,
    /// Begins each page with the row before it.
    pub(crate) overlap: bool,
}

/// Answers a call from the world.
///
/// # Errors
/// What the service answers instead.
pub(crate) fn answer(
    call: &ApiCall,
    world: &mut World,
    how: &ServiceBehaviour,
    paging: PagingFault,
) -> Result<(Map<String, Value>, ResponseTruth), ErrorResponse> {
    let action = call.action();
    let needed = ACTIONS.iter().find(|(name, ..)| *name == action).map_or(&[][..], |(.., needed)| needed);
    if let Some(absent) = needed.iter().find(|p| call.param(p).is_none()) {
        return Err(ErrorResponse::missing(absent));
    }
    match action {
        "GetAllInstanceIdList" => Ok((all_instance_ids(world), ResponseTruth::Lists)),
        "GetInstanceList" => Ok((instances(call, world, how.list_shape)?, ResponseTruth::Lists)),
        "GetTopicList" => Ok((topics(call, instance(call, world)?, how, paging)?, ResponseTruth::Lists)),
        "GetConsumerList" => Ok((groups(call, instance(call, world)?, how, paging)?, ResponseTruth::Lists)),
        "GetTopicStatus" => {
            let now = world.now_ms();
            let name = call.param("Topic").unwrap_or_default();
            let topic = instance(call, world)?.topics.get(name).map(|t| t.truth(now));
            let truth = topic
                .ok_or_else(|| ErrorResponse::new(400, "BIZ_TOPIC_NOT_FOUND", "The topic does not exist."))?;
            Ok((topic_status(name, &truth, how.list_shape), ResponseTruth::Topic(truth)))
        }
        "GetConsumerProgress" => {
            let now = world.now_ms();
            let name = call.param("ConsumerId").unwrap_or_default();
            let hide = hides_times(call, how.hide_last_timestamp)?;
            let group = instance(call, world)?.group_truth(name, now);
            let truth = group.ok_or_else(|| {
                ErrorResponse::new(400, "BIZ_SUBSCRIPTION_NOT_FOUND", "The consumer group does not exist.")
            })?;
            Ok((progress(name, &truth, hide, how.list_shape), ResponseTruth::Group(truth)))
        }
        _ => Err(ram_action(action)
            .err()
            .unwrap_or_else(|| ErrorResponse::new(500, "InternalError", "Not served."))),
    }
}

/// Whether the caller wants no times, and gets none.
fn hides_times(call: &ApiCall, how: HideLastTimestamp) -> Result<bool, ErrorResponse> {
    match (call.param("HideLastTimestamp"), how) {
        (Some(_), HideLastTimestamp::Refused) => Err(ErrorResponse::new(
            400,
            "InvalidParameter.HideLastTimestamp",
            "The specified parameter HideLastTimestamp is not valid.",
        )),
        (Some(asked), HideLastTimestamp::Honoured) => Ok(asked.eq_ignore_ascii_case("true")),
        (None, _) | (_, HideLastTimestamp::Ignored) => Ok(false),
    }
}

fn instance<'w>(call: &ApiCall, world: &'w mut World) -> Result<&'w mut Instance, ErrorResponse> {
    let id = call.param("InstanceId").unwrap_or_default();
    let not_owned = || {
        ErrorResponse::new(
            400,
            "AUTH_RESOURCE_OWNER_ERROR",
            "The instance does not exist or does not belong to you.",
        )
    };
    if let Some(region) = call.region() {
        known_region(world, region)?;
    }
    let found = world.instance_mut(id).ok_or_else(not_owned)?;
    if call.region().is_some_and(|r| r != found.region) {
        return Err(not_owned());
    }
    if !found.in_service() {
        return Err(ErrorResponse::new(
            400,
            "BIZ_INSTANCE_STATUS_ERROR",
            "The status of the instance does not allow this operation.",
        ));
    }
    Ok(found)
}

fn known_region(world: &World, region: &str) -> Result<(), ErrorResponse> {
    world
        .region(region)
        .map(|_| ())
        .ok_or_else(|| ErrorResponse::new(400, "BIZ_REGION_NOT_FOUND", "The region does not exist."))
}

fn all_instance_ids(world: &World) -> Map<String, Value> {
    let with = world.all_regions().iter().filter(|(_, all)| !all.is_empty());
    let ids: Map<String, Value> =
        with.map(|(region, all)| (region.clone(), json!(all.keys().collect::<Vec<_>>()))).collect();
    Map::from_iter([("InstanceIds".to_owned(), Value::Object(ids))])
}

fn instances(call: &ApiCall, world: &World, shape: ListShape) -> Result<Map<String, Value>, ErrorResponse> {
    let region = call.region().unwrap_or_default();
    known_region(world, region)?;
    let (ids, wanted) = (call.numbered("InstanceId"), call.tags());
    let has = |i: &Instance, (key, value): &(Option<&str>, Option<&str>)| {
        i.tags.iter().any(|(k, v)| key.is_none_or(|w| w == k) && value.is_none_or(|w| w == v))
    };
    let kept = world
        .region(region)
        .into_iter()
        .flatten()
        .map(|(_, i)| i)
        .filter(|i| (ids.is_empty() || ids.contains(&i.id.as_str())) && wanted.iter().all(|t| has(i, t)));
    let rows = kept.map(|i| instance_row(i, shape)).collect();
    Ok(Map::from_iter([("InstanceList".to_owned(), list(shape, "InstanceVO", rows))]))
}

fn instance_row(i: &Instance, shape: ListShape) -> Value {
    let brokers = |port: u16| (1..=3).map(|n| format!("192.0.2.{n}:{port}")).collect::<Vec<_>>().join(",");
    let config = json!({
        "enable.vpc_sasl_ssl": "false",
        "kafka.log.retention.hours": i.retention_hours.to_string(),
        "enable.acl": "false",
        "kafka.message.max.bytes": "6291456",
    });
    let mut row = json!({
        "InstanceId": i.id,
        "Name": i.name,
        "RegionId": i.region,
        "ServiceStatus": i.service_status,
        "CreateTime": i.created_ms,
        "ExpiredTime": i.expires_ms,
        "SpecType": i.spec_type,
        "Series": if i.serverless { "v3" } else { "v2" },
        "PaidType": i.paid_type,
        "DeployType": i.deploy_type,
        "DiskSize": i.disk_gb,
        "DiskType": 1,
        "MsgRetain": i.retention_hours,
        "IoMax": 20,
        "IoMaxSpec": "alikafka.hw.2xlarge",
        "EipMax": if i.deploy_type == 4 { 20 } else { 0 },
        "TopicNumLimit": i.topic_limit,
        "UsedTopicCount": i.topics.len(),
        "UsedPartitionCount": i.partitions(),
        "UsedGroupCount": i.groups.len(),
        "UpgradeServiceDetailInfo": { "Current2OpenSourceVersion": i.version, "UpgradeServiceStatus": 0 },
        "AllConfig": config.to_string(),
        "Tags": tags(shape, &i.tags),
        "EndPoint": brokers(9092),
        "SslEndPoint": brokers(9093),
        "DomainEndpoint": format!("{}-1-vpc.alikafka.aliyuncs.com:9092", i.id.replace('_', "-")),
        "VpcId": "vpc-bp1simulated",
        "VSwitchId": "vsw-bp1simulated",
        "ZoneId": "zonei",
        "SecurityGroup": "",
        "ResourceGroupId": "rg-simulated",
        "AutoCreateTopicEnable": false,
        "BackupZoneId": null,
    });
    if let (Some(code), Some(map)) = (i.view_status, row.as_object_mut()) {
        map.insert("ViewInstanceStatusCode".to_owned(), json!(code));
    }
    row
}

/// A page: its number, its size, and the rows of it.
fn page<T>(
    call: &ApiCall,
    how: &ServiceBehaviour,
    paging: PagingFault,
    all: impl Iterator<Item = T> + Clone,
) -> Result<(usize, usize, Vec<T>), ErrorResponse> {
    let number = |name: &str, default: usize| match call.param(name) {
        None => Ok(default),
        Some(text) => text.parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(|| {
            ErrorResponse::new(400, "BIZ_FIELD_CHECK_INVALID", format!("Parameter {name} is not valid."))
        }),
    };
    let current = number("CurrentPage", 1)?;
    let size = number("PageSize", 10)?.min(how.page_size_max.max(1) as usize);
    let served = if paging.ignore_page { 1 } else { current };
    let skip = (served - 1).saturating_mul(size);
    let mut rows: Vec<T> = all.clone().skip(skip).take(size).collect();
    if paging.overlap && !rows.is_empty() {
        rows.splice(0..0, all.skip(skip.saturating_sub(1)).take(1));
    }
    Ok((current, size, rows))
}

fn topics(
    call: &ApiCall,
    i: &Instance,
    how: &ServiceBehaviour,
    paging: PagingFault,
) -> Result<Map<String, Value>, ErrorResponse> {
    let exact = call.param("Topic");
    let all = i.topics.values().filter(|t| exact.is_none_or(|e| e == t.name));
    let total = if exact.is_some() { all.clone().count() } else { i.topics.len() };
    let (current, size, rows) = page(call, how, paging, all)?;
    let rows = rows.into_iter().map(|t| {
        json!({
            "Topic": t.name,
            "InstanceId": i.id,
            "RegionId": i.region,
            "PartitionNum": t.logs.len(),
            "Status": 0,
            "StatusName": "服务中",
            "LocalTopic": t.local,
            "CompactTopic": t.compact,
            "AutoCreate": t.automatic,
            "CreateTime": t.created_ms,
            "Remark": t.remark,
            "TopicConfig": json!({ "retention.ms": i.retention_ms().to_string() }).to_string(),
            "Tags": tags(how.list_shape, &t.tags),
        })
    });
    let list = list(how.list_shape, "TopicVO", rows.collect());
    Ok(paged("TopicList", list, current, size, total))
}

fn groups(
    call: &ApiCall,
    i: &Instance,
    how: &ServiceBehaviour,
    paging: PagingFault,
) -> Result<Map<String, Value>, ErrorResponse> {
    let exact = call.param("ConsumerId");
    let all = i.groups.values().filter(|g| exact.is_none_or(|e| e == g.name));
    let total = if exact.is_some() { all.clone().count() } else { i.groups.len() };
    // Without paging parameters the whole list comes, in the older form without a word of pages.
    let whole = call.param("CurrentPage").is_none() && call.param("PageSize").is_none();
    let (current, size, rows) = if whole { (1, total, all.collect()) } else { page(call, how, paging, all)? };
    let rows = rows.into_iter().map(|g| {
        json!({
            "ConsumerId": g.name,
            "InstanceId": i.id,
            "RegionId": i.region,
            "Remark": g.remark,
            "CreateTime": g.created_ms,
            "AutomaticallyCreatedGroup": g.automatic,
            "Tags": tags(how.list_shape, &g.tags),
        })
    });
    let list = list(how.list_shape, "ConsumerVO", rows.collect());
    Ok(if whole {
        Map::from_iter([("ConsumerList".to_owned(), list)])
    } else {
        paged("ConsumerList", list, current, size, total)
    })
}

fn paged(name: &str, list: Value, current: usize, size: usize, total: usize) -> Map<String, Value> {
    Map::from_iter([
        (name.to_owned(), list),
        ("CurrentPage".to_owned(), json!(current)),
        ("PageSize".to_owned(), json!(size)),
        ("Total".to_owned(), json!(total)),
    ])
}

fn topic_status(name: &str, t: &TopicTruth, shape: ListShape) -> Map<String, Value> {
    let rows = t.partitions.iter().map(|p| {
        json!({
            "Topic": name,
            "Partition": p.partition,
            "MinOffset": p.start,
            "MaxOffset": p.end,
            "LastUpdateTimestamp": p.last_write_stamp_ms.unwrap_or(0),
        })
    });
    let newest = t.partitions.iter().filter_map(|p| p.last_write_stamp_ms).max().unwrap_or(0);
    let table = inner_list(shape, "OffsetTable", rows.collect());
    let status = json!({ "TotalCount": t.messages, "LastTimeStamp": newest, "OffsetTable": table });
    Map::from_iter([("TopicStatus".to_owned(), status)])
}

fn progress(name: &str, g: &GroupTruth, hide: bool, shape: ListShape) -> Map<String, Value> {
    let mut newest = -1;
    let topics: Vec<Value> = g
        .topics
        .iter()
        .map(|(topic, t)| {
            let mut topic_newest = -1;
            let rows: Vec<Value> = t
                .partitions
                .iter()
                .filter(|p| p.listed)
                .map(|p| {
                    let time = p.last_consumed_stamp_ms.filter(|_| !hide && !t.times_hidden).unwrap_or(-1);
                    topic_newest = topic_newest.max(time);
                    let member = (g.members > 0).then(|| p.partition % g.members);
                    json!({
                        "Partition": p.partition,
                        "BrokerOffset": p.end,
                        "ConsumerOffset": p.committed.unwrap_or(-1),
                        "LastTimestamp": time,
                        "Accumulate": p.lag.unwrap_or(0),
                        "ClientId": member.map(|m| format!("client-{m}")),
                        "ClientIp": member.map(|m| format!("192.0.2.{}", 10 + m)),
                        "MemberId": member.map(|m| format!("client-{m}-0000-{m}")),
                    })
                })
                .collect();
            newest = newest.max(topic_newest);
            json!({
                "Topic": topic,
                "TotalDiff": t.lag,
                "LastTimestamp": topic_newest,
                "OffsetList": inner_list(shape, "OffsetList", rows),
            })
        })
        .collect();
    let rebalances = g.rebalances.iter().map(|(generation, at, took)| {
        json!({
            "GroupId": name,
            "Generation": generation,
            "LastRebalanceTimestamp": at,
            "RebalanceTimeConsuming": took,
            "RebalanceSuccess": true,
            "Reason": "member joined",
        })
    });
    let body = json!({
        "TotalDiff": g.lag,
        "LastTimestamp": newest,
        "state": g.state,
        "RebalanceInfoList": inner_list(shape, "RebalanceInfoList", rebalances.collect()),
        "TopicList": inner_list(shape, "TopicList", topics),
    });
    Map::from_iter([("ConsumerProgress".to_owned(), body)])
}
