//! The six API actions: computes the payload of a call from the world.

use serde_json::{Map, Value, json};

use crate::{
    options::{HideLastTimestamp, ListShape, ServiceBehaviour},
    request::ApiCall,
    served::ResponseTruth,
    wire::{ErrorResponse, inner_list, list, tags},
    world::{
        World,
        instance::Instance,
        truth::{GroupTruth, TopicTruth},
    },
};

/// Supported actions: name, RAM action, required parameters.
const ACTIONS: [(&str, &str, &[&str]); 6] = [
    ("GetAllInstanceIdList", "alikafka:ListInstance", &["RegionId"]),
    ("GetInstanceList", "alikafka:ListInstance", &["RegionId"]),
    ("GetTopicList", "alikafka:ListTopic", &["InstanceId"]),
    ("GetTopicStatus", "alikafka:ListTopic", &["InstanceId", "Topic"]),
    ("GetConsumerList", "alikafka:ListGroup", &["InstanceId", "RegionId"]),
    ("GetConsumerProgress", "alikafka:ListGroup", &["InstanceId", "ConsumerId", "RegionId"]),
];

/// Returns the RAM action of an API action.
///
/// # Errors
/// Returns `InvalidAction.NotFound` for unsupported actions, e.g. all that write.
pub(crate) fn ram_action(action: &str) -> Result<&'static str, ErrorResponse> {
    let supported = ACTIONS.iter().find(|(name, ..)| *name == action);
    supported.map(|(_, ram, _)| *ram).ok_or_else(ErrorResponse::unknown_action)
}

/// Effects of faults on the pages of a list.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PagingFault {
    /// Returns the first page whatever the page number.
    pub(crate) always_first_page: bool,
    /// Starts each page with the last row of the previous page.
    pub(crate) overlap: bool,
}

/// Returns the payload of a call, and the ground truth that it states about a topic or group.
///
/// # Errors
/// Returns the error response of the service.
pub(crate) fn payload(
    call: &ApiCall,
    world: &mut World,
    behaviour: &ServiceBehaviour,
    paging: PagingFault,
) -> Result<(Map<String, Value>, Option<ResponseTruth>), ErrorResponse> {
    let required = ACTIONS.iter().find(|(name, ..)| *name == call.action()).map(|(.., required)| *required);
    if let Some(missing) = required.unwrap_or_default().iter().find(|p| call.param(p).is_none()) {
        return Err(ErrorResponse::missing_parameter(missing));
    }
    let (now, shape) = (world.now_ms(), behaviour.list_shape);
    let list = match call.action() {
        "GetAllInstanceIdList" => all_instance_ids(world),
        "GetInstanceList" => instances(call, world, shape)?,
        "GetTopicList" => topics(call, instance(call, world)?, behaviour, paging)?,
        "GetConsumerList" => groups(call, instance(call, world)?, behaviour, paging)?,
        "GetTopicStatus" => {
            let name = call.param("Topic").unwrap_or_default();
            let truth = instance(call, world)?.topics.get(name).map(|t| t.truth(now));
            let truth = truth.ok_or_else(|| {
                ErrorResponse::bad_request("BIZ_TOPIC_NOT_FOUND", "The topic does not exist.")
            })?;
            return Ok((topic_status(name, &truth, shape), Some(ResponseTruth::Topic(truth))));
        }
        "GetConsumerProgress" => {
            let name = call.param("ConsumerId").unwrap_or_default();
            let hide = hides_timestamps(call, behaviour.hide_last_timestamp)?;
            let truth = instance(call, world)?.group_truth(name, now).ok_or_else(|| {
                let message = "The consumer group does not exist.";
                ErrorResponse::bad_request("BIZ_SUBSCRIPTION_NOT_FOUND", message)
            })?;
            return Ok((progress(name, &truth, hide, shape), Some(ResponseTruth::Group(truth))));
        }
        _ => return Err(ErrorResponse::unknown_action()),
    };
    Ok((list, None))
}

/// Whether the response must omit `LastTimestamp`.
fn hides_timestamps(call: &ApiCall, handling: HideLastTimestamp) -> Result<bool, ErrorResponse> {
    match (call.param("HideLastTimestamp"), handling) {
        (Some(_), HideLastTimestamp::Refused) => Err(ErrorResponse::bad_request(
            "InvalidParameter.HideLastTimestamp",
            "The specified parameter HideLastTimestamp is not valid.",
        )),
        (Some(value), HideLastTimestamp::Honoured) => Ok(value.eq_ignore_ascii_case("true")),
        (None, _) | (_, HideLastTimestamp::Ignored) => Ok(false),
    }
}

fn instance<'w>(call: &ApiCall, world: &'w mut World) -> Result<&'w mut Instance, ErrorResponse> {
    if let Some(region) = call.region() {
        check_region(world, region)?;
    }
    let found = world
        .instance_mut(call.param("InstanceId").unwrap_or_default())
        .filter(|i| call.region().is_none_or(|r| r == i.region))
        .ok_or_else(|| {
            let message = "The instance does not exist or does not belong to you.";
            ErrorResponse::bad_request("AUTH_RESOURCE_OWNER_ERROR", message)
        })?;
    if !found.in_service() {
        let message = "The status of the instance does not allow this operation.";
        return Err(ErrorResponse::bad_request("BIZ_INSTANCE_STATUS_ERROR", message));
    }
    Ok(found)
}

fn check_region(world: &World, region: &str) -> Result<(), ErrorResponse> {
    world
        .region(region)
        .map(|_| ())
        .ok_or_else(|| ErrorResponse::bad_request("BIZ_REGION_NOT_FOUND", "The region does not exist."))
}

fn all_instance_ids(world: &World) -> Map<String, Value> {
    let regions = world.all_regions().iter().filter(|(_, instances)| !instances.is_empty());
    let ids = regions.map(|(region, instances)| (region.clone(), instances.keys().cloned().collect()));
    Map::from_iter([("InstanceIds".to_owned(), Value::Object(ids.collect()))])
}

fn instances(call: &ApiCall, world: &World, shape: ListShape) -> Result<Map<String, Value>, ErrorResponse> {
    let region = call.region().unwrap_or_default();
    check_region(world, region)?;
    let (ids, tags) = (call.numbered("InstanceId"), call.tags());
    let has_tag = |i: &Instance, (key, value): &(Option<&str>, Option<&str>)| {
        i.spec.tags.iter().any(|(k, v)| key.is_none_or(|w| w == k) && value.is_none_or(|w| w == v))
    };
    let rows = world
        .region(region)
        .into_iter()
        .flat_map(|instances| instances.values())
        .filter(|i| ids.is_empty() || ids.contains(&i.spec.id.as_str()))
        .filter(|i| tags.iter().all(|t| has_tag(i, t)))
        .map(|i| instance_row(i, shape))
        .collect();
    Ok(Map::from_iter([("InstanceList".to_owned(), list(shape, "InstanceVO", rows))]))
}

fn instance_row(i: &Instance, shape: ListShape) -> Value {
    let brokers = |port: u16| (1..=3).map(|n| format!("192.0.2.{n}:{port}")).collect::<Vec<_>>().join(",");
    let config = json!({
        "enable.vpc_sasl_ssl": "false",
        "kafka.log.retention.hours": i.spec.retention_hours.to_string(),
        "enable.acl": "false",
        "kafka.message.max.bytes": "6291456",
    });
    let mut row = json!({
        "InstanceId": i.spec.id,
        "Name": i.spec.name,
        "RegionId": i.region,
        "ServiceStatus": i.spec.service_status,
        "CreateTime": i.created_ms,
        "ExpiredTime": i.expires_ms,
        "SpecType": i.spec_type,
        "Series": if i.spec.serverless { "v3" } else { "v2" },
        "PaidType": i.paid_type(),
        "DeployType": i.deploy_type,
        "DiskSize": i.disk_gb,
        "DiskType": 1,
        "MsgRetain": i.spec.retention_hours,
        "IoMax": 20,
        "IoMaxSpec": "alikafka.hw.2xlarge",
        "EipMax": if i.deploy_type == 4 { 20 } else { 0 },
        "TopicNumLimit": i.spec.topic_limit,
        "UsedTopicCount": i.topics.len(),
        "UsedPartitionCount": i.partitions(),
        "UsedGroupCount": i.groups.len(),
        "UpgradeServiceDetailInfo": { "Current2OpenSourceVersion": i.version, "UpgradeServiceStatus": 0 },
        "AllConfig": config.to_string(),
        "Tags": tags(shape, &i.spec.tags),
        "EndPoint": brokers(9092),
        "SslEndPoint": brokers(9093),
        "DomainEndpoint": format!("{}-1-vpc.alikafka.aliyuncs.com:9092", i.spec.id.replace('_', "-")),
        "VpcId": "vpc-bp1simulated",
        "VSwitchId": "vsw-bp1simulated",
        "ZoneId": "zonei",
        "SecurityGroup": "",
        "ResourceGroupId": "rg-simulated",
        "AutoCreateTopicEnable": false,
        "BackupZoneId": null,
    });
    if let (Some(code), Some(map)) = (i.spec.view_status, row.as_object_mut()) {
        map.insert("ViewInstanceStatusCode".to_owned(), json!(code));
    }
    row
}

/// A page of a list.
struct ListPage<T> {
    number: usize,
    size: usize,
    rows: Vec<T>,
}

impl<T> ListPage<T> {
    /// Returns the list page that a call requests.
    fn requested(
        call: &ApiCall,
        behaviour: &ServiceBehaviour,
        paging: PagingFault,
        all: impl Iterator<Item = T> + Clone,
    ) -> Result<Self, ErrorResponse> {
        let positive = |name: &str, default: usize| match call.param(name) {
            None => Ok(default),
            Some(text) => text.parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(|| {
                let message = format!("Parameter {name} is not valid.");
                ErrorResponse::bad_request("BIZ_FIELD_CHECK_INVALID", message)
            }),
        };
        let number = positive("CurrentPage", 1)?;
        let size = positive("PageSize", 10)?.min(behaviour.page_size_max.max(1) as usize);
        let served = if paging.always_first_page { 1 } else { number };
        let skip = (served - 1).saturating_mul(size);
        let mut rows: Vec<T> = all.clone().skip(skip).take(size).collect();
        if paging.overlap && !rows.is_empty() {
            rows.splice(0..0, all.skip(skip.saturating_sub(1)).take(1));
        }
        Ok(Self { number, size, rows })
    }
}

fn topics(
    call: &ApiCall,
    i: &Instance,
    behaviour: &ServiceBehaviour,
    paging: PagingFault,
) -> Result<Map<String, Value>, ErrorResponse> {
    let name = call.param("Topic");
    let all = i.topics.values().filter(|t| name.is_none_or(|n| n == t.name));
    let total = all.clone().count();
    let list_page = ListPage::requested(call, behaviour, paging, all)?;
    let rows = list_page.rows.iter().map(|t| {
        json!({
            "Topic": t.name,
            "InstanceId": i.spec.id,
            "RegionId": i.region,
            "PartitionNum": t.logs.len(),
            "Status": 0,
            "StatusName": "服务中",
            "LocalTopic": t.local,
            "CompactTopic": t.compact,
            "AutoCreate": false,
            "CreateTime": t.created_ms,
            "Remark": "",
            "TopicConfig": json!({ "retention.ms": i.retention_ms().to_string() }).to_string(),
            "Tags": tags(behaviour.list_shape, &[]),
        })
    });
    let list = list(behaviour.list_shape, "TopicVO", rows.collect());
    Ok(paged("TopicList", list, list_page.number, list_page.size, total))
}

fn groups(
    call: &ApiCall,
    i: &Instance,
    behaviour: &ServiceBehaviour,
    paging: PagingFault,
) -> Result<Map<String, Value>, ErrorResponse> {
    let name = call.param("ConsumerId");
    let all = i.groups.values().filter(|g| name.is_none_or(|n| n == g.name));
    let total = all.clone().count();
    // Without paging parameters the API returns the complete list, in an older format without the fields of a list page.
    let is_unpaged = call.param("CurrentPage").is_none() && call.param("PageSize").is_none();
    let list_page = if is_unpaged {
        ListPage { number: 1, size: total, rows: all.collect() }
    } else {
        ListPage::requested(call, behaviour, paging, all)?
    };
    let rows = list_page.rows.iter().map(|g| {
        json!({
            "ConsumerId": g.name,
            "InstanceId": i.spec.id,
            "RegionId": i.region,
            "Remark": "",
            "CreateTime": g.created_ms,
            "AutomaticallyCreatedGroup": false,
            "Tags": tags(behaviour.list_shape, &[]),
        })
    });
    let list = list(behaviour.list_shape, "ConsumerVO", rows.collect());
    if is_unpaged {
        return Ok(Map::from_iter([("ConsumerList".to_owned(), list)]));
    }
    Ok(paged("ConsumerList", list, list_page.number, list_page.size, total))
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
