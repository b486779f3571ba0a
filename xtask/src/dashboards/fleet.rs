//! Dashboard of all instances: inventory, and the groups in the worst condition.

use alikafka_exporter::exposition::catalog::MetricId;

use super::{
    dashboard::{Annotation, Dashboard, DashboardId, LinkSource, group_links, link},
    panel::{Panel, Row},
    query::{FLEET, Level, among, matching, top_by},
    shared_panels::{
        instance_polling_health, lag_lower_bound, loss_forecast, messages_lost, time_to_data_loss,
        topics_without_consumers, total_lag, total_messages_lost,
    },
    style::{
        AGE_SECONDS, BAD_FROM_ONE, LAG_MESSAGES, LAG_SECONDS, LOSS_SECONDS, MAX_CATCH_UP, SHARE, label,
        seconds, value,
    },
    value_texts::{COMPLETENESS, STATUS, STATUS_OR_UNKNOWN},
};

const GROUP_LEGEND: &str = "{{group}} @ {{instance_id}}";
const GROUP_TOPIC_LEGEND: &str = "{{group}} / {{topic}} @ {{instance_id}}";

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        id: DashboardId::Fleet,
        description: "All instances of Alibaba Cloud Message Queue for Apache Kafka that alikafka-exporter \
                      monitors, and the consumer groups in the worst condition. The exporter polls the \
                      management API; Oldest data shows the age of the values.",
        filters: FLEET,
        annotations: vec![Annotation {
            name: "Region incomplete",
            color: "red",
            expr: format!("1 - {} > 0", FLEET.max(Level::Region, MetricId::RegionUp)),
            title: "Region {{region}} incomplete",
            text: "The last poll of the region was incomplete. Its values may be missing or stale.",
            tags: "region",
        }],
        rows: vec![
            Row::new("Overview", overview()),
            Row::new("Consumer groups", vec![groups()]),
            Row::new("Worst consumer groups over time", worst_groups()),
            Row::new(
                "Data loss",
                vec![messages_lost(FLEET, GROUP_TOPIC_LEGEND), loss_forecast(FLEET, GROUP_TOPIC_LEGEND)],
            ),
            Row::new("Instances", instances()),
            Row::new("Topics without consumers", vec![unconsumed_topics()]),
            Row::new("Polling health", polling_health()),
            Row::new("Instance specifications and tags", vec![specifications(), tags()]).collapsed(),
        ],
    }
}

fn overview() -> Vec<Panel> {
    let ages = format!(
        "time() - {} and on ({}) {}",
        FLEET.max_with(
            Level::Instance,
            "scope",
            matching(MetricId::InstanceLastSuccess, "scope", "=~", "topics|groups")
        ),
        Level::Instance.list(),
        FLEET.plain(MetricId::InstanceUp)
    );
    vec![
        Panel::count("Regions", "No region polled yet")
            .description("Monitored regions, and how many of them were incomplete at the last poll.")
            .query(FLEET.count(Level::Region, MetricId::RegionUp), "all")
            .bad_query(format!("sum(1 - {})", FLEET.max(Level::Region, MetricId::RegionUp)), "incomplete"),
        Panel::count("Instances", "No instances")
            .description(
                "Instances that the API lists, and how many of those in service were incomplete at the last \
                 poll. Stopped and released instances are not polled.",
            )
            .query(FLEET.count(Level::Instance, MetricId::InstanceInfo), "all")
            .bad_query(
                format!("sum(1 - {})", FLEET.max(Level::Instance, MetricId::InstanceUp)),
                "incomplete",
            ),
        Panel::count("Groups", "No groups")
            .description(
                "Consumer groups of the selected instances, and how many of them are stalled, stopped, \
                 rewound, or losing messages (status 2 and above).",
            )
            .query(FLEET.count(Level::Group, MetricId::GroupInfo), "all")
            .bad_query(
                format!("sum({} >= bool 2)", FLEET.max(Level::Group, MetricId::GroupStatus)),
                "unhealthy",
            ),
        total_lag(FLEET),
        lag_lower_bound(FLEET, MetricId::GroupLagFloor, "No lag known"),
        Panel::stat("Lag, upper bound", "No upper bound known")
            .description(
                "Upper bound of the age of the oldest unread message, maximum over all groups with a known \
                 upper bound. Groups without one may have a larger lag.",
            )
            .unit("s")
            .thresholds(LAG_SECONDS)
            .query(FLEET.maximum(MetricId::GroupLagSeconds), "upper bound"),
        total_messages_lost(FLEET),
        time_to_data_loss(FLEET),
        Panel::stat("Topics without consumers", "Unknown until all groups are polled")
            .description(
                "Topics on which no group of the instance has committed an offset. Consumers without a \
                 group do not count.",
            )
            .unit("none")
            .query(format!("sum({} == bool 0)", FLEET.max(Level::Topic, MetricId::TopicGroups)), "topics"),
        Panel::stat("Expiring instances", "No instance expires")
            .description(
                "Subscription instances that have expired or expire within 30 days. Pay-as-you-go instances \
                 do not expire.",
            )
            .decimals(0)
            .thresholds(BAD_FROM_ONE)
            .without_graph()
            .query(
                format!(
                    "sum({} - time() < bool 30 * 86400)",
                    FLEET.max(Level::Instance, MetricId::InstanceExpiry)
                ),
                "expiring",
            ),
        Panel::stat("Max topic quota usage", "No topic limit known")
            .description("Number of topics as a share of the topic limit, maximum over all instances.")
            .unit("percentunit")
            .decimals(0)
            .thresholds(SHARE)
            .query(
                format!(
                    "max({} / {})",
                    FLEET.max(Level::Instance, MetricId::InstanceTopics),
                    FLEET.max(Level::Instance, MetricId::InstanceTopicLimit)
                ),
                "used",
            ),
        Panel::stat("Oldest data", "No instance polled yet")
            .description(
                "Time since the oldest successful poll of a topic or a group, over all instances in \
                 service. Values older than stale_after (default 3 minutes) are no longer exported.",
            )
            .unit("s")
            .thresholds(AGE_SECONDS)
            .query(format!("max({ages})"), "oldest"),
    ]
}

/// Groups of the table: worst status first, then largest lag, then unknown status, then unknown lag.
fn worst_group_rank() -> String {
    let status = FLEET.max(Level::Group, MetricId::GroupStatus);
    let lag = FLEET.max(Level::Group, MetricId::GroupLag);
    let all = FLEET.max(Level::Group, MetricId::GroupInfo);
    format!("topk($limit, {status} * 1e16 + {lag} + 1 or {status} * 1e16 or {lag} or {all} * 0)")
}

fn groups() -> Panel {
    let level = Level::Group;
    let worst = worst_group_rank();
    let status = format!(
        "({} or {} * 0 - 1)",
        FLEET.max(level, MetricId::GroupStatus),
        FLEET.max(level, MetricId::GroupInfo)
    );
    let row = |id| among(&FLEET.max(level, id), &worst);
    Panel::table("Consumer groups, worst first", "No groups")
        .description(
            "The $limit selected groups with the worst status, then the largest lag. Lag is in messages; \
             its bounds are those of the age of the oldest unread message. Click a group for its topics and \
             partitions. Empty cells are unknown. Empty forecasts: the group does not catch up, or does not \
             lose messages.",
        )
        .size(24, 12)
        .value(
            FLEET.named(&among(&status, &worst)),
            value("Status", "none").mapped(&STATUS_OR_UNKNOWN).width(110),
        )
        .column(label("group", "Group").links(&group_links(LinkSource::TableRow, level)))
        .value(row(MetricId::GroupLag), value("Lag", "short").thresholds(LAG_MESSAGES))
        .value(row(MetricId::GroupLagFloor), seconds("Lag, lower bound").thresholds(LAG_SECONDS))
        .value(row(MetricId::GroupLagSeconds), seconds("Lag, upper bound").thresholds(LAG_SECONDS))
        .value(row(MetricId::GroupCatchUp), seconds("Caught up in"))
        .value(
            among(&FLEET.min(level, MetricId::GroupTopicLossEta), &worst),
            seconds("Data loss in").thresholds(LOSS_SECONDS),
        )
        .value(
            among(&FLEET.sum(level, Level::GroupPartition, MetricId::GroupPartitionLost), &worst),
            value("Lost", "short").thresholds(BAD_FROM_ONE),
        )
        .column(label("name", "Instance"))
        .instance_columns()
        .sorted_by("Status")
}

fn worst_groups() -> Vec<Panel> {
    let links = group_links(LinkSource::GraphLine, Level::Group);
    let by_status = STATUS.iter().fold(
        Panel::graph("Groups by status", "No status known")
            .description(
                "Number of selected groups with each status. Groups with an unknown status are not counted.",
            )
            .axis("short", "groups")
            .decimals(0)
            .stacked(),
        |panel, (number, text, color)| {
            let count = format!("sum({} == bool {number})", FLEET.max(Level::Group, MetricId::GroupStatus));
            panel.query(count, text).colored(text, color)
        },
    );
    vec![
        Panel::graph("Lag, lower bound", "No lag known")
            .description(
                "Lower bound of the age of the oldest unread message: the $limit groups with the largest \
                 values in the time range. Base critical alerts on this bound.",
            )
            .axis("s", "age")
            .thresholds(LAG_SECONDS)
            .query(FLEET.top(Level::Group, MetricId::GroupLagFloor), GROUP_LEGEND)
            .links(&links),
        Panel::graph("Lag, upper bound", "No upper bound known")
            .description(
                "Upper bound of the age of the oldest unread message: the $limit groups with the largest \
                 values in the time range. Absent while a partition with lag has no upper bound.",
            )
            .axis("s", "age")
            .thresholds(LAG_SECONDS)
            .query(FLEET.top(Level::Group, MetricId::GroupLagSeconds), GROUP_LEGEND)
            .links(&links),
        Panel::graph("Lag by group", "No lag known")
            .description("Unread messages: the $limit groups with the most in the time range.")
            .axis("short", "messages")
            .thresholds(LAG_MESSAGES)
            .query(FLEET.top(Level::Group, MetricId::GroupLag), GROUP_LEGEND)
            .links(&links),
        Panel::graph("Lag by instance", "No lag known")
            .description("Unread messages of all groups of each instance.")
            .axis("short", "messages")
            .query(
                FLEET.named(&FLEET.sum(Level::Instance, Level::Group, MetricId::GroupLag)),
                "{{name}} ({{instance_id}})",
            ),
        by_status,
        Panel::graph("Time to catch up", "No group catches up within a day")
            .description(
                "Forecast of the time until a group has consumed all messages at its current rate: the \
                 $limit longest in the time range. Absent while lag does not shrink. Forecasts of a day or \
                 longer are only in the table.",
            )
            .axis("s", "forecast")
            .query(FLEET.top_below(Level::Group, MetricId::GroupCatchUp, MAX_CATCH_UP), GROUP_LEGEND)
            .links(&links),
    ]
}

fn instances() -> Vec<Panel> {
    let level = Level::Instance;
    let days_left = format!("({} - time()) / 86400", FLEET.max(level, MetricId::InstanceExpiry));
    let [topics, limit] = [MetricId::InstanceTopics, MetricId::InstanceTopicLimit];
    let share = format!("{} / {}", FLEET.max(level, topics), FLEET.max(level, limit));
    let share_at_end = format!("{} / {}", FLEET.at_end(level, topics), FLEET.at_end(level, limit));
    let links = [
        link(LinkSource::TableRow, "Open its groups", DashboardId::Group, level),
        link(LinkSource::TableRow, "Open its topics", DashboardId::Topic, level),
        link(LinkSource::TableRow, "Open its polling health", DashboardId::Exporter, level),
    ];
    vec![
        Panel::table("Instances by quota usage", "No instances")
            .description(
                "Every selected instance: its state, whether the last poll was complete, the time until it \
                 expires, and the usage of its limits. Empty cells are not reported by the API. Click a \
                 name for its groups, topics or polling health.",
            )
            .column(label("name", "Instance").links(&links))
            .column(label("instance_id", "Instance ID").links(&links))
            .column(label("region", "Region"))
            .column(label("account", "Account"))
            .column(label("state", "State"))
            .labels_of(FLEET.max_with(level, "name", MetricId::InstanceInfo))
            .labels_of(format!("{} == 1", FLEET.max_with(level, "state", MetricId::InstanceState)))
            .value(
                FLEET.max(level, MetricId::InstanceUp),
                value("Last poll", "none").mapped(&COMPLETENESS).width(110),
            )
            .value(
                days_left.clone(),
                value("Days left", "none").decimals(0).thresholds(&[
                    (None, "red"),
                    (Some(7.0), "yellow"),
                    (Some(30.0), "green"),
                ]),
            )
            .value(FLEET.max(level, topics), value("Topics", "none"))
            .value(FLEET.max(level, limit), value("Topic limit", "none"))
            .value(share.clone(), value("Quota", "percentunit").decimals(0).bar(SHARE))
            .value(FLEET.max(level, MetricId::InstancePartitions), value("Partitions", "none"))
            .value(FLEET.max(level, MetricId::InstanceGroups), value("Groups", "none"))
            .sorted_by("Quota"),
        Panel::table("Expiring instances", "No instance expires within 30 days")
            .description(
                "The $limit instances that have expired or expire first, within 30 days unless their \
                 subscription is extended. The service stops expired instances and later deletes their \
                 data.",
            )
            .size(12, 9)
            .column(label("name", "Instance"))
            .instance_columns()
            .value(
                FLEET.named(&format!("bottomk($limit, {days_left} < 30)")),
                value("Days left", "none").decimals(0).thresholds(&[(None, "red"), (Some(7.0), "yellow")]),
            )
            .sorted_ascending_by("Days left"),
        Panel::graph("Topic quota usage", "No topic limit known")
            .description(
                "Number of topics as a share of the topic limit: the $limit instances with the largest now. \
                 At 100 % no topic can be created.",
            )
            .unit("percentunit")
            .max(1.0)
            .thresholds(SHARE)
            .query(FLEET.named(&top_by(&share, &share_at_end)), "{{name}} ({{instance_id}})"),
    ]
}

fn unconsumed_topics() -> Panel {
    let panel = Panel::table(
        "Topics without consumers",
        "Every topic has consumers, or not all groups are polled yet",
    )
    .description(
        "Topics on which no group of the instance has committed an offset: the $limit with the most \
         messages. Messages written to them only use disk, unless they are consumed without a group.",
    )
    .size(24, 7);
    topics_without_consumers(panel, FLEET, "Open topic", true)
}

fn polling_health() -> Vec<Panel> {
    vec![
        Panel::timeline("Region polling health", "No region polled yet")
            .description("Whether the last poll of a region was complete, on any exporter that monitors it.")
            .mapped(&COMPLETENESS)
            .query(FLEET.max(Level::Region, MetricId::RegionUp), "{{account}} {{region}}"),
        instance_polling_health(FLEET),
    ]
}

fn specifications() -> Panel {
    let level = Level::Instance;
    Panel::table("Instance specifications", "No instances")
        .description(
            "Every selected instance: its edition, specification, billing, disk, retention, and creation \
             time. Empty cells are not reported by the API.",
        )
        .column(label("name", "Instance"))
        .instance_columns()
        .column(label("series", "Series").width(110))
        .column(label("spec_type", "Spec").width(130))
        .column(label("version", "Version").width(95))
        .column(label("deploy_type", "Network").width(105))
        .column(label("paid_type", "Billing").width(105))
        .column(label("disk_type", "Disk type").width(120))
        .labels_of(FLEET.max_with(
            level,
            "name, series, spec_type, version, deploy_type, paid_type, disk_type",
            MetricId::InstanceInfo,
        ))
        .value(FLEET.max(level, MetricId::InstanceDiskSize), value("Disk", "bytes").width(95))
        .value(FLEET.max(level, MetricId::InstanceRetention), value("Retention", "s"))
        .value(
            format!("{} * 1000", FLEET.max(level, MetricId::InstanceCreation)),
            value("Created", "dateTimeAsIso"),
        )
        .sorted_by("Created")
}

fn tags() -> Panel {
    Panel::table("Instance tags", "No tags exported: list them in metrics.instance_tags")
        .description(
            "Tags of the instances that metrics.instance_tags exports, one column per tag. Empty cells: the \
             instance does not have the tag.",
        )
        .labels_of(format!("max without (job, instance, pod) ({})", FLEET.plain(MetricId::InstanceTags)))
        .hiding("__name__")
        .instance_columns()
        .sorted_by("Instance ID")
        .more_labels("/^tag_/")
}
