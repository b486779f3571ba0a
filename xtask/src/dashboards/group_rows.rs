//! Collapsed rows of the group dashboard: one topic, and partitions.

use alikafka_exporter::exposition::catalog::MetricId;

use super::{
    dashboard::{DashboardId, LinkSource, link},
    panel::Panel,
    query::{GROUP, Level, PARTITION, among},
    shared_panels::{lag_band, lag_bounds},
    style::{BAD_FROM_ONE, LAG_MESSAGES, LAG_SECONDS, label, seconds, value},
    value_texts::{NEEDS_PARTITIONS, NEEDS_TOPICS},
};

const LEGEND: &str = "{{partition}} / {{group}}";

/// Panels of one topic. Grafana repeats the row for each selected topic.
pub(super) fn topic() -> Vec<Panel> {
    let level = Level::GroupPartition;
    vec![
        lag_band(
            Panel::graph("$topic: lag in seconds", NEEDS_TOPICS).description(
                "Age of the oldest unread message of the topic, maximum over the selected groups. The \
                 actual value is between the bounds. No band is shown if one of the groups has no upper \
                 bound.",
            ),
            GROUP.maximum(MetricId::GroupTopicLagFloor),
            GROUP.upper_bound(Level::GroupTopic, MetricId::GroupTopicLag, MetricId::GroupTopicLagSeconds),
        ),
        Panel::graph("$topic: lag by partition", NEEDS_PARTITIONS)
            .description(
                "Unread messages of each partition: the $limit with the most in the time range. A single \
                 large one indicates a hot key or a stuck consumer.",
            )
            .axis("short", "messages")
            .query(GROUP.top(level, MetricId::GroupPartitionLag), LEGEND),
        lag_bounds(
            Panel::graph("$topic: lag in seconds by partition", NEEDS_PARTITIONS).description(
                "Lower bound (dashed) and upper bound of the age of the oldest unread message: the $limit \
                 partitions with the largest lower bounds in the time range.",
            ),
            GROUP,
            level,
            (MetricId::GroupPartitionLagFloor, MetricId::GroupPartitionLagSeconds),
            LEGEND,
        ),
        Panel::graph("$topic: consumption rate by partition", NEEDS_PARTITIONS)
            .description(
                "Messages consumed per second, from the slope of the committed offset, 0 while it falls: \
                 the $limit partitions with the most in the time range.",
            )
            .interval("5m")
            .axis("mps", "consumed")
            .query(GROUP.top_slope(level, MetricId::GroupPartitionOffset), LEGEND),
        Panel::graph("$topic: retention margin by partition", NEEDS_PARTITIONS)
            .description(
                "Messages between the oldest retained one and the committed offset: the $limit partitions \
                 with the least in the time range.",
            )
            .axis("short", "messages")
            .legend(&["min", "lastNotNull"])
            .query(GROUP.bottom(level, MetricId::GroupPartitionMargin), LEGEND),
        Panel::graph("$topic: messages lost by partition", NEEDS_PARTITIONS)
            .description(
                "Messages that retention deleted before the group consumed them: the $limit partitions with \
                 the most.",
            )
            .axis("short", "messages")
            .thresholds(BAD_FROM_ONE)
            .mostly_zero()
            .query(GROUP.top(level, MetricId::GroupPartitionLost), LEGEND),
    ]
}

pub(super) fn partitions() -> Vec<Panel> {
    let level = Level::GroupPartition;
    let worst = format!(
        "topk($limit, {lower} * 1e12 + on ({on}) ({lag}) + 1 or {lag})",
        lower = PARTITION.max(level, MetricId::GroupPartitionLagFloor),
        lag = PARTITION.max(level, MetricId::GroupPartitionLag),
        on = level.list()
    );
    let row = |id: MetricId| among(&PARTITION.max(level, id), &worst);
    let links = [link(LinkSource::TableRow, "Select this partition", DashboardId::Group, level)];
    vec![
        lag_band(
            Panel::graph("Lag in seconds of the selected partitions", NEEDS_PARTITIONS).description(
                "Age of the oldest unread message, maximum over the selected partitions. No band is shown \
                 if one of them has no upper bound. Select one partition to see its own bounds.",
            ),
            PARTITION.maximum(MetricId::GroupPartitionLagFloor),
            PARTITION.upper_bound(level, MetricId::GroupPartitionLag, MetricId::GroupPartitionLagSeconds),
        ),
        Panel::graph("Lag of the selected partitions", NEEDS_PARTITIONS)
            .description("Unread messages: the $limit partitions with the most in the time range.")
            .axis("short", "messages")
            .query(PARTITION.top(level, MetricId::GroupPartitionLag), "{{topic}}[{{partition}}] / {{group}}"),
        Panel::table("Partitions by lag", NEEDS_PARTITIONS)
            .description(
                "The $limit selected partitions with the largest lower bound of the age of the oldest \
                 unread message, then the largest lag in messages. Click a partition to select it. Last \
                 consumed is the age of the last consumed message, if the API reports it.",
            )
            .column(label("group", "Group"))
            .column(label("topic", "Topic"))
            .column(label("partition", "Partition").links(&links))
            .value(row(MetricId::GroupPartitionLag), value("Lag", "short").thresholds(LAG_MESSAGES))
            .value(
                row(MetricId::GroupPartitionLagFloor),
                seconds("Lag, lower bound").thresholds(LAG_SECONDS).width(165),
            )
            .value(
                row(MetricId::GroupPartitionLagSeconds),
                seconds("Lag, upper bound").thresholds(LAG_SECONDS),
            )
            .value(row(MetricId::GroupPartitionOffset), value("Committed offset", "none").decimals(0))
            .value(row(MetricId::GroupPartitionMargin), value("Margin", "short"))
            .value(row(MetricId::GroupPartitionLost), value("Lost", "short").thresholds(BAD_FROM_ONE))
            .value(
                format!("time() - {}", row(MetricId::GroupPartitionLastConsumed)),
                seconds("Last consumed"),
            )
            .instance_columns()
            .sorted_by("Lag, lower bound"),
    ]
}
