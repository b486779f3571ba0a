//! Failure scenarios: instances with every kind of failure that the exporter reports, for the demo, the Compose
//! stack, and the tests of dashboards and rules.
//!
//! Owns: seven named instances, and the list of their failures ([`SCENARIOS`]). All objects have a history, so that
//! failures show within minutes at speed 1. Failures last for most of a day, except for the groups that approach data
//! loss. Out of scope: random choices; the scenarios are the same with every seed.

use serde::Serialize;

use crate::world::{
    UnknownObject, World,
    partition_log::{Compaction, ProduceRate},
    spec::{
        ConsumerMode::{self, Stalled, Stopped},
        GroupSpec, InstanceSpec, OffsetSpec, TopicSpec,
    },
};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

const CN: &str = "cn-hangzhou";
const EU: &str = "eu-central-1";
const ORDERS: &str = "alikafka_pre-cn-orders01";
const LOGS: &str = "alikafka_post-cn-logs02";
const DEVICES: &str = "alikafka_serverless-cn-devices03";
const LEGACY: &str = "alikafka_pre-cn-legacy04";
const DEPOT: &str = "alikafka_pre-eu-depot05";
const EXPIRED: &str = "alikafka_pre-eu-expired06";
const STOPPED: &str = "alikafka_post-eu-stopped07";

/// One failure of [`SCENARIOS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Scenario {
    /// `RegionId`.
    pub region: &'static str,
    /// `InstanceId`.
    pub instance: &'static str,
    /// Group or topic; empty for the instance itself.
    pub object: &'static str,
    /// Kind of failure.
    pub kind: &'static str,
}

const fn scenario(
    region: &'static str,
    instance: &'static str,
    object: &'static str,
    kind: &'static str,
) -> Scenario {
    Scenario { region, instance, object, kind }
}

/// Failures of the instances that the option `scenarios` adds. All other objects of these instances are healthy.
pub const SCENARIOS: [Scenario; 27] = [
    scenario(CN, ORDERS, "order-search", "slow"),
    scenario(CN, ORDERS, "order-mail", "stalled"),
    scenario(CN, ORDERS, "order-report", "stopped"),
    scenario(CN, ORDERS, "order-replay", "rewound"),
    scenario(CN, ORDERS, "invoice-print", "stalled"),
    scenario(CN, ORDERS, "invoices", "unwritten"),
    scenario(CN, LOGS, "click-indexer", "stuck_partition"),
    scenario(CN, LOGS, "click-stats", "skewed"),
    scenario(CN, LOGS, "click-log", "hot_partition"),
    scenario(CN, LOGS, "audit-archive", "lost"),
    scenario(CN, LOGS, "audit-warehouse", "loss_ahead"),
    scenario(CN, LOGS, "audit-export", "loss_near"),
    scenario(CN, LOGS, "metrics-reload", "catching_up"),
    scenario(CN, LOGS, "debug-log", "unread"),
    scenario(CN, LOGS, "import-2024", "abandoned"),
    scenario(CN, DEVICES, "设备影子", "slow"),
    scenario(CN, LEGACY, "", "quota"),
    scenario(CN, LEGACY, "", "expiring"),
    scenario(CN, LEGACY, "", "no_team"),
    scenario(CN, LEGACY, "session-cleaner", "stalled"),
    scenario(CN, LEGACY, "left-over", "dead"),
    scenario(EU, DEPOT, "", "expiry_near"),
    scenario(EU, DEPOT, "parcel-tracker", "rebalancing"),
    scenario(EU, DEPOT, "customs-office", "quiet"),
    scenario(EU, DEPOT, "route-planner", "past_end"),
    scenario(EU, EXPIRED, "", "expired"),
    scenario(EU, STOPPED, "", "not_in_service"),
];

/// `TopicNumLimit` of the legacy instance.
const LEGACY_LIMIT: u32 = 20;
/// Table topics of the legacy instance. With its other two topics it is one below the limit.
const LEGACY_TABLES: u32 = LEGACY_LIMIT - 3;

/// Adds the instances of [`SCENARIOS`], in cn-hangzhou and eu-central-1.
pub(crate) fn add_scenarios(world: &mut World) {
    // Each function adds objects only to the instance that it has just added.
    let results = [orders(world), logs(world), devices(world), legacy(world), depot(world)];
    debug_assert!(results.iter().all(Result::is_ok), "{results:?}");
    for (id, name, service_status, view_status, expires_in_ms) in
        [(EXPIRED, "depot-2025", 15, 5, -2 * DAY_MS), (STOPPED, "depot-drill", 5, 3, 90 * DAY_MS)]
    {
        let spec = named(id, name, Some("logistics"));
        let view_status = Some(view_status);
        world.add_instance(EU, InstanceSpec { service_status, view_status, expires_in_ms, ..spec });
    }
}

fn named(id: &str, name: &str, team: Option<&str>) -> InstanceSpec {
    let mut tags = vec![("env".to_owned(), "prod".to_owned())];
    tags.extend(team.map(|team| ("team".to_owned(), team.to_owned())));
    InstanceSpec {
        name: name.to_owned(),
        tags,
        prepaid: id.starts_with("alikafka_pre-"),
        age_ms: 400 * DAY_MS,
        ..InstanceSpec::new(id)
    }
}

/// Returns a topic with a constant rate per partition, older than any retention.
fn topic(name: &str, partitions: u32, per_second: i64) -> TopicSpec {
    TopicSpec {
        rate: ProduceRate::per_second(per_second),
        age_ms: 90 * HOUR_MS,
        ..TopicSpec::new(name, partitions)
    }
}

fn group(name: &str, topics: &[&str]) -> GroupSpec {
    GroupSpec { age_ms: 30 * DAY_MS, members: 3, ..GroupSpec::new(name, topics) }
}

/// Returns a group that starts at the end offset of this long ago.
fn behind(name: &str, topics: &[&str], consumer: ConsumerMode, behind_ms: i64) -> GroupSpec {
    GroupSpec { consumer, from: OffsetSpec::Ago(behind_ms), ..group(name, topics) }
}

const fn paced(percent: u32) -> ConsumerMode {
    ConsumerMode::Paced { percent }
}

fn orders(w: &mut World) -> Result<(), UnknownObject> {
    let instance = named(ORDERS, "订单集群", Some("trade"));
    w.add_instance(CN, InstanceSpec { expires_in_ms: 200 * DAY_MS, ..instance });
    w.add_topic(ORDERS, topic("orders", 6, 20))?;
    w.add_topic(ORDERS, topic("order-events", 3, 10))?;
    w.add_topic(ORDERS, topic("支付结果", 3, 5))?;
    // A batch that ended 40 minutes ago.
    w.add_topic(ORDERS, TopicSpec { idle_ms: 40 * MINUTE_MS, ..topic("invoices", 3, 30) })?;
    w.add_group(ORDERS, group("order-billing", &["orders", "支付结果"]))?;
    w.add_group(ORDERS, group("支付 \"对账\"", &["支付结果"]))?;
    w.add_group(ORDERS, behind("order-search", &["order-events"], paced(70), 30 * MINUTE_MS))?;
    w.add_group(ORDERS, behind("order-mail", &["orders"], Stalled, 20 * MINUTE_MS))?;
    w.add_group(ORDERS, behind("order-report", &["orders"], Stopped, 6 * HOUR_MS))?;
    w.add_group(ORDERS, behind("invoice-print", &["invoices"], Stalled, 50 * MINUTE_MS))?;
    // Rewinds 40 seconds from now, then every five minutes.
    let consumer = ConsumerMode::Rewinding { period_ms: 5 * MINUTE_MS, back_ms: 3 * MINUTE_MS };
    let replay = group("order-replay", &["order-events"]);
    w.add_group(ORDERS, GroupSpec { consumer, age_ms: 5 * MINUTE_MS - 40 * SECOND_MS, ..replay })
}

fn logs(w: &mut World) -> Result<(), UnknownObject> {
    w.add_instance(CN, InstanceSpec { retention_hours: 24, ..named(LOGS, "日志集群", Some("platform")) });
    w.add_topic(LOGS, TopicSpec { hot: Some((7, 20)), ..topic("click-log", 12, 5) })?;
    // Segments of a minute, so that the start offset visibly moves.
    w.add_topic(LOGS, TopicSpec { segment: 600, ..topic("audit-log", 3, 10) })?;
    w.add_topic(LOGS, topic("metrics-log", 3, 5))?;
    w.add_topic(LOGS, topic("debug-log", 2, 5))?;
    // No producers and no consumers, and empty by now.
    w.add_topic(LOGS, TopicSpec { idle_ms: 3 * DAY_MS, ..topic("import-2024", 2, 5) })?;
    w.add_group(LOGS, group("click-indexer", &["click-log"]))?;
    w.set_committed(LOGS, "click-indexer", "click-log", 4, OffsetSpec::Ago(HOUR_MS))?;
    w.set_stuck(LOGS, "click-indexer", "click-log", 4, true)?;
    w.add_group(LOGS, behind("click-stats", &["click-log"], paced(100), 10 * MINUTE_MS))?;
    w.add_group(LOGS, behind("audit-archive", &["audit-log"], Stalled, 30 * HOUR_MS))?;
    w.add_group(LOGS, behind("audit-warehouse", &["audit-log"], paced(50), 22 * HOUR_MS))?;
    w.add_group(LOGS, behind("audit-export", &["audit-log"], paced(50), 23 * HOUR_MS + 15 * MINUTE_MS))?;
    w.add_group(LOGS, behind("metrics-reload", &["metrics-log"], paced(150), 12 * HOUR_MS))
}

fn devices(w: &mut World) -> Result<(), UnknownObject> {
    w.add_instance(CN, InstanceSpec { serverless: true, ..named(DEVICES, "设备上报", Some("iot")) });
    w.add_topic(DEVICES, topic("device-reports", 3, 10))?;
    w.add_group(DEVICES, group("device-rules", &["device-reports"]))?;
    w.add_group(DEVICES, behind("设备影子", &["device-reports"], paced(60), 10 * MINUTE_MS))
}

fn legacy(w: &mut World) -> Result<(), UnknownObject> {
    let instance = named(LEGACY, "legacy (旧系统)", None);
    w.add_instance(CN, InstanceSpec { topic_limit: LEGACY_LIMIT, expires_in_ms: 5 * DAY_MS, ..instance });
    let compaction = Some(Compaction { older_than_ms: HOUR_MS, keep_every: 10 });
    let profiles = topic("customer-profiles", 3, 2);
    w.add_topic(LEGACY, TopicSpec { compact: true, local: true, compaction, ..profiles })?;
    w.add_topic(LEGACY, TopicSpec { local: true, ..topic("sessions", 3, 5) })?;
    let tables: Vec<String> = (1..=LEGACY_TABLES).map(|n| format!("table-{n:02}")).collect();
    for name in &tables {
        w.add_topic(LEGACY, TopicSpec { rate: ProduceRate::steady(600), ..topic(name, 1, 0) })?;
    }
    w.add_group(LEGACY, group("profile-cache", &["customer-profiles"]))?;
    w.add_group(LEGACY, group("table-sync", &tables.iter().map(String::as_str).collect::<Vec<_>>()))?;
    w.add_group(LEGACY, behind("session-cleaner", &["sessions"], Stalled, 30 * MINUTE_MS))?;
    w.add_group(LEGACY, GroupSpec { consumer: Stopped, ..group("left-over", &[]) })
}

fn depot(w: &mut World) -> Result<(), UnknownObject> {
    let instance = named(DEPOT, "depot", Some("logistics"));
    w.add_instance(EU, InstanceSpec { expires_in_ms: 20 * HOUR_MS, ..instance });
    w.add_topic(DEPOT, topic("parcels", 3, 5))?;
    // One message per hour, the next one in half a minute.
    let (rate, age_ms) = (ProduceRate::steady(1), 49 * HOUR_MS - 30 * SECOND_MS);
    w.add_topic(DEPOT, TopicSpec { rate, age_ms, ..TopicSpec::new("customs-holds", 1) })?;
    w.add_topic(DEPOT, topic("routes", 3, 2))?;
    let rebalances = Some((6 * SECOND_MS, 2 * SECOND_MS));
    w.add_group(DEPOT, GroupSpec { rebalances, ..group("parcel-tracker", &["parcels"]) })?;
    w.add_group(DEPOT, group("parcel-mail", &["parcels"]))?;
    w.add_group(DEPOT, behind("customs-office", &["customs-holds"], Stalled, 0))?;
    // The topic was recreated, and the group waits for offsets that do not exist yet.
    let from = OffsetSpec::At(50_000_000);
    w.add_group(DEPOT, GroupSpec { consumer: Stalled, from, ..group("route-planner", &["routes"]) })
}
