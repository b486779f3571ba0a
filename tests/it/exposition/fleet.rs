//! Snapshots for the tests.

use std::sync::Arc;

use alikafka_exporter::lag::assess::{GroupAssessment, PartitionAssessment, TopicAssessment};
use alikafka_exporter::lag::bounds::TimeBounds;
use alikafka_exporter::lag::status::{Status, StatusRule};
use alikafka_exporter::lag::{GroupLag, PartitionLag, RetentionMargin, TopicLag};
use alikafka_exporter::model::{
    AccountName, Cleanup, GroupId, GroupState, Instance, InstanceId, InstanceState, Offset, Partition,
    RegionId, Storage, Topic, TopicName, TopicPartition, TopicStatus, UnixMillis,
};
use alikafka_exporter::snapshot::{
    GroupView, InstanceView, LastSuccess, ObjectCounts, Rebalances, RegionView, Snapshot, TopicView,
};

pub(crate) fn offset(value: i64) -> Option<Offset> {
    Offset::new(value)
}

pub(crate) fn at(millis: i64) -> Option<UnixMillis> {
    UnixMillis::new(millis)
}

pub(crate) fn instance_view(id: &str, discovery_order: u64) -> InstanceView {
    InstanceView {
        account: None,
        region: RegionId::new("cn-hangzhou").unwrap(),
        id: InstanceId::new(id).unwrap(),
        discovery_order,
        info: None,
        up: Some(true),
        last_success: LastSuccess::default(),
        topics: Vec::new(),
        groups: Vec::new(),
    }
}

pub(crate) fn region_view(account: Option<&str>, region: &str, instances: Vec<InstanceView>) -> RegionView {
    let account = account.map(|a| AccountName::new(a).unwrap());
    let region = RegionId::new(region).unwrap();
    let home = |i| InstanceView { account: account.clone(), region: region.clone(), ..i };
    RegionView {
        up: Some(true),
        first_pass_ended: true,
        last_success: LastSuccess::default(),
        objects: ObjectCounts {
            instances: instances.len(),
            topics: instances.iter().map(|i| i.topics.len()).sum(),
            groups: instances.iter().map(|i| i.groups.len()).sum(),
        },
        instances: instances.into_iter().map(home).map(Arc::new).collect(),
        account,
        region,
    }
}

pub(crate) fn bare_info(id: &str) -> Instance {
    Instance {
        id: InstanceId::new(id).unwrap(),
        name: None,
        state: None,
        series: None,
        spec_type: None,
        version: None,
        deploy_type: None,
        paid_type: None,
        disk_type: None,
        created_at: None,
        expires_at: None,
        topics: None,
        topic_limit: None,
        partitions: None,
        groups: None,
        disk_size_bytes: None,
        message_retention_seconds: None,
        tags: Vec::new(),
    }
}

pub(crate) fn topic_view(name: &str, discovery_order: u64, partitions: Vec<TopicPartition>) -> TopicView {
    let name = TopicName::new(name).unwrap();
    let info = Topic {
        name: name.clone(),
        partitions: u32::try_from(partitions.len()).ok(),
        storage: Some(Storage::Cloud),
        cleanup: Some(Cleanup::Delete),
        created_at: None,
    };
    let status = TopicStatus { messages: Some(7), partitions };
    TopicView {
        name,
        discovery_order,
        info: Some(Arc::new(info)),
        status: Some(Arc::new(status)),
        groups: Some(1),
    }
}

pub(crate) fn topic_partition(number: u32, start: i64, end: i64, last_write: i64) -> TopicPartition {
    TopicPartition {
        partition: Partition(number),
        start: offset(start),
        end: offset(end),
        last_write: at(last_write),
    }
}

pub(crate) fn group_view(
    id: &str,
    discovery_order: u64,
    messages: Option<u64>,
    topics: Vec<TopicLag>,
) -> GroupView {
    let lag = Some(Arc::new(GroupLag { messages, topics }));
    GroupView {
        id: GroupId::new(id).unwrap(),
        discovery_order,
        listed: true,
        lag,
        assessment: None,
        state: None,
        rebalances: None,
    }
}

pub(crate) fn topic_lag(name: &str, messages: Option<u64>, partitions: Vec<PartitionLag>) -> TopicLag {
    TopicLag { topic: TopicName::new(name).unwrap(), messages, partitions }
}

pub(crate) fn partition_lag(
    number: u32,
    committed: i64,
    messages: Option<u64>,
    last_consumed: i64,
) -> PartitionLag {
    PartitionLag {
        partition: Partition(number),
        end: None,
        committed: offset(committed),
        messages,
        last_consumed: at(last_consumed),
    }
}

/// Returns an assessment with the bounds of the lag in milliseconds, and a margin that is a loss if negative.
pub(crate) fn partition_assessment(
    lower: Option<u64>,
    upper: Option<u64>,
    margin: Option<i64>,
) -> PartitionAssessment {
    let retention = margin.map(|margin| RetentionMargin {
        margin: u64::try_from(margin).ok(),
        lost: margin.min(0).unsigned_abs(),
    });
    PartitionAssessment { bounds: TimeBounds { lower, upper }, rule: StatusRule::TooFewPolls, retention }
}

/// Returns the assessment of the group `billing` on its topics `deleted`, `orders` and `unread`.
fn billing_assessment() -> GroupAssessment {
    let deleted = TopicAssessment {
        bounds: TimeBounds { lower: Some(0), upper: Some(0) },
        status: Some(Status::Ok),
        consumable: None,
        consumed: Some(0.0),
        produced: Some(f64::NAN),
        catch_up: Some(0.0),
        data_loss_eta: Some(f64::INFINITY),
        partitions: vec![partition_assessment(Some(0), Some(0), None)],
    };
    let orders = TopicAssessment {
        bounds: TimeBounds { lower: Some(90_000), upper: Some(3_600_001) },
        status: Some(Status::DataLoss),
        consumable: Some(9_214_364_837_600_034_875),
        consumed: Some(12.5),
        produced: Some(0.1 + 0.2),
        catch_up: None,
        data_loss_eta: Some(5.4e6),
        partitions: vec![
            partition_assessment(Some(90_000), Some(3_600_001), Some(-40)),
            partition_assessment(None, Some(1_500), Some(9_007_199_254_740_893)),
            partition_assessment(None, None, None),
            partition_assessment(Some(10), None, Some(0)),
        ],
    };
    let unread = TopicAssessment {
        partitions: vec![partition_assessment(None, None, None)],
        ..TopicAssessment::default()
    };
    GroupAssessment {
        bounds: orders.bounds,
        status: orders.status,
        consumable: orders.consumable,
        catch_up: None,
        topics: vec![deleted, orders, unread],
    }
}

/// Returns two accounts and three regions with special characters in names, extreme numbers, and unknown values.
pub(crate) fn fleet() -> Snapshot {
    let full_success = LastSuccess {
        discovery: at(1_700_000_000_123),
        topics: at(1_700_000_000_500),
        groups: at(1_700_000_001_000),
    };
    let mut rich = instance_view("alikafka_post-cn-1", 1);
    rich.last_success = full_success;
    rich.info = Some(Arc::new(Instance {
        name: Some("订单 \"main\"\\\nline two".to_owned()),
        state: Some(InstanceState::Running),
        series: Some("v3".to_owned()),
        spec_type: Some("professional".to_owned()),
        version: Some("2.6.2".to_owned()),
        deploy_type: Some("vpc".to_owned()),
        paid_type: Some("postpaid".to_owned()),
        disk_type: Some("ssd".to_owned()),
        created_at: at(1_577_961_819_000),
        expires_at: at(4_893_321_600_001),
        topics: Some(4),
        topic_limit: Some(50),
        partitions: Some(6),
        groups: Some(3),
        disk_size_bytes: Some(536_870_912_000),
        message_retention_seconds: Some(259_200),
        tags: [
            ("成本", "研发\n中心"),
            ("env", "prod"),
            ("env", "twice"),
            ("secret", "not allowed"),
            ("中心", "hidden"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .to_vec(),
        ..bare_info("alikafka_post-cn-1")
    }));
    let mut dark = topic_view("dark", 5, Vec::new());
    dark.groups = None;
    dark.info = Some(Arc::new(Topic {
        name: dark.name.clone(),
        partitions: None,
        storage: None,
        cleanup: None,
        created_at: None,
    }));
    dark.status = None;
    let mut unread = topic_view("unread", 6, vec![topic_partition(0, 0, 0, 0)]);
    unread.groups = Some(0);
    unread.info = Some(Arc::new(Topic {
        name: unread.name.clone(),
        partitions: Some(1),
        storage: Some(Storage::Local),
        cleanup: Some(Cleanup::Compact),
        created_at: None,
    }));
    let orders = topic_view(
        "orders",
        4,
        vec![
            topic_partition(0, 100, 160, 1_699_999_999_001),
            topic_partition(1, 100, i64::MAX, -1),
            topic_partition(2, -1, 12, 1_699_999_999_990),
            topic_partition(10, 5, 6, 1_699_999_999_999),
        ],
    );
    let special = topic_view("it's \"odd\" \\ back\nslash 订单", 7, vec![topic_partition(0, 1, 2, 3)]);
    rich.topics = [dark, special, orders, unread].map(Arc::new).to_vec();
    let orders_lag = topic_lag(
        "orders",
        Some(9_214_364_837_600_034_915),
        vec![
            partition_lag(0, 60, Some(100), 1_699_999_998_000),
            partition_lag(1, 9_007_199_254_740_993, Some(9_214_364_837_600_034_814), 1_699_999_998_010),
            partition_lag(2, -1, None, 0),
            partition_lag(10, 5, Some(1), -1),
        ],
    );
    let gone_lag = topic_lag("deleted", Some(0), vec![partition_lag(0, 3, Some(0), 1_600_000_000_000)]);
    let nothing_lag = topic_lag("unread", None, vec![partition_lag(0, -1, None, 0)]);
    let mut unlisted = group_view("unlisted", 9, Some(0), Vec::new());
    unlisted.listed = false;
    let mut never = group_view("never polled", 10, None, Vec::new());
    never.lag = None;
    let mut billing = group_view(
        "billing \"α\"\\",
        8,
        Some(9_214_364_837_600_034_915),
        vec![gone_lag, orders_lag, nothing_lag],
    );
    billing.assessment = Some(Arc::new(billing_assessment()));
    billing.state = Some(GroupState::Stable);
    billing.rebalances = at(1_699_999_000_500).map(|last| Rebalances { seen: 3, last });
    unlisted.state = Some(GroupState::Dead);
    unlisted.rebalances = at(1_699_999_000_000).map(|last| Rebalances { seen: 0, last });
    rich.groups = [billing, never, unlisted].map(Arc::new).to_vec();

    let mut new = instance_view("alikafka-new", 2);
    new.up = None;
    let mut down = instance_view("alikafka_post-cn-1", 3);
    down.up = Some(false);
    down.info =
        Some(Arc::new(Instance { state: Some(InstanceState::Unknown), ..bare_info("alikafka_post-cn-1") }));
    down.last_success = LastSuccess { discovery: at(1_699_000_000_000), ..LastSuccess::default() };
    let mut same_topic = topic_view("orders", 11, vec![topic_partition(0, 1, 5, 1_699_999_999_999)]);
    same_topic.groups = Some(1);
    down.topics = vec![Arc::new(same_topic)];
    let rows = vec![partition_lag(0, 3, Some(2), 1_699_999_999_000)];
    let mut same_group = group_view("billing", 12, Some(2), vec![topic_lag("orders", Some(2), rows)]);
    let partitions = vec![partition_assessment(Some(1_000), Some(60_000), Some(2))];
    let age = TimeBounds { lower: Some(1_000), upper: Some(60_000) };
    let topic =
        TopicAssessment { bounds: age, partitions, catch_up: Some(4.0), ..TopicAssessment::default() };
    same_group.assessment = Some(Arc::new(GroupAssessment {
        bounds: age,
        status: Some(Status::Stopped),
        consumable: Some(2),
        catch_up: Some(4.0),
        topics: vec![TopicAssessment { status: Some(Status::Stopped), consumable: Some(2), ..topic }],
    }));
    down.groups = vec![Arc::new(same_group)];

    let mut first = region_view(Some("prod"), "cn-hangzhou", vec![new, rich]);
    first.last_success = full_success;
    let mut unreached = region_view(Some("prod"), "us-east-1", Vec::new());
    unreached.up = None;
    let mut failing = region_view(Some("测试 \"2\""), "cn-beijing", vec![down]);
    failing.up = Some(false);
    failing.last_success = LastSuccess { discovery: at(1_699_000_000_000), ..LastSuccess::default() };
    Snapshot { regions: [first, unreached, failing].map(Arc::new).to_vec() }
}

/// Returns an instance and a topic with names of the maximum length and above.
pub(crate) fn long_names() -> Snapshot {
    let mut instance = instance_view("i", 1);
    instance.info = Some(Arc::new(Instance { name: Some("名".repeat(10_000)), ..bare_info("i") }));
    instance.topics = vec![Arc::new(topic_view(&"题".repeat(512), 2, Vec::new()))];
    Snapshot { regions: vec![Arc::new(region_view(None, "cn-hangzhou", vec![instance]))] }
}
