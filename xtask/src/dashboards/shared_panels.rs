//! Panels that several dashboards show.

use alikafka_exporter::exposition::catalog::MetricId;
use serde_json::json;

use super::{
    dashboard::{DashboardId, LinkSource, group_links, link},
    panel::Panel,
    query::{Filters, Level, among, top_by},
    style::{
        BAD_FROM_ONE, DataLink, LAG_MESSAGES, LAG_SECONDS, LOSS_SECONDS, MAX_LOSS, label, seconds, value,
    },
    value_texts::{COMPLETENESS, NEEDS_PARTITIONS, STATUS_OR_UNKNOWN},
};

pub(super) fn total_lag(filters: Filters) -> Panel {
    Panel::stat("Total lag", "No lag known")
        .description(
            "Unread messages of the selected groups. A topic with several groups counts once for each.",
        )
        .thresholds(LAG_MESSAGES)
        .query(filters.total(Level::Group, MetricId::GroupLag), "lag")
}

pub(super) fn lag_lower_bound(filters: Filters, id: MetricId, no_value: &'static str) -> Panel {
    Panel::stat("Lag, lower bound", no_value)
        .description(
            "Lower bound of the age of the oldest unread message, maximum over the selected groups and \
             topics.",
        )
        .unit("s")
        .thresholds(LAG_SECONDS)
        .query(filters.maximum(id), "lower bound")
}

pub(super) fn time_to_data_loss(filters: Filters) -> Panel {
    Panel::stat("Time to data loss", "None expected or known")
        .description(
            "Forecast of the time until retention deletes a message before it is consumed, shortest of the \
             selected groups and topics. 0 after a loss. Requires metrics.granularity topic or partition.",
        )
        .unit("s")
        .thresholds(LOSS_SECONDS)
        .query(filters.minimum(MetricId::GroupTopicLossEta), "time")
}

pub(super) fn total_messages_lost(filters: Filters) -> Panel {
    Panel::stat("Messages lost", NEEDS_PARTITIONS)
        .description(
            "Messages that retention deleted before the selected groups consumed them. They count until the \
             group commits past the oldest retained message.",
        )
        .thresholds(BAD_FROM_ONE)
        .query(filters.total(Level::GroupPartition, MetricId::GroupPartitionLost), "lost")
}

/// Lag in seconds as a band between its lower and its upper bound.
pub(super) fn lag_band(panel: Panel, lower: String, upper: String) -> Panel {
    let fixed = |color: &str| ("color", json!({ "mode": "fixed", "fixedColor": color }));
    panel
        .axis("s", "age")
        .thresholds(LAG_SECONDS)
        .query(lower, "lower bound")
        .query(upper, "upper bound")
        .of_name(
            "upper bound",
            &[
                fixed("orange"),
                ("custom.fillBelowTo", json!("lower bound")),
                ("custom.fillOpacity", json!(25)),
            ],
        )
        .of_name("lower bound", &[fixed("red"), ("custom.lineWidth", json!(2))])
}

/// Upper and, dashed, lower bounds of the lag of several objects, those with the largest lower bounds.
pub(super) fn lag_bounds(
    panel: Panel,
    filters: Filters,
    level: Level,
    (lower, upper): (MetricId, MetricId),
    name: &str,
) -> Panel {
    let rank = filters.peak(level, lower);
    panel
        .axis("s", "age")
        .query(top_by(&filters.max(level, upper), &rank), &format!("{name}: upper bound"))
        .query(top_by(&filters.max(level, lower), &rank), &format!("{name}: lower bound"))
        .dashed('B')
        .legend(&["max", "lastNotNull"])
}

/// Instances whose last poll was incomplete, over time.
pub(super) fn instance_polling_health(filters: Filters) -> Panel {
    let worst = format!("bottomk($limit, {})", filters.mean(Level::Instance, MetricId::InstanceUp));
    Panel::timeline("Instance polling health", "No instance polled yet")
        .description(
            "Whether the last poll of an instance was complete, on any exporter: the $limit with the most \
             failures in the time range. A single failed topic or group makes a poll incomplete.",
        )
        .mapped(&COMPLETENESS)
        .query(
            filters.named(&among(&filters.max(Level::Instance, MetricId::InstanceUp), &worst)),
            "{{name}} ({{instance_id}})",
        )
}

/// Forecasts of data loss by group and topic.
pub(super) fn loss_forecast(filters: Filters, legend: &str) -> Panel {
    let level = Level::GroupTopic;
    Panel::graph("Data loss forecast", "No loss expected within 7 days, or metrics.granularity is group")
        .description(
            "Forecast of the time until retention deletes messages of a topic that the group has not \
             consumed: the $limit pairs of group and topic with the shortest in the time range. 0 after a \
             loss. Absent if the retention limit comes no closer, and for compacted topics. Forecasts of 7 \
             days or longer are only in the table.",
        )
        .axis("s", "forecast")
        .thresholds(LOSS_SECONDS)
        .legend(&["min", "lastNotNull"])
        .query(filters.bottom_below(level, MetricId::GroupTopicLossEta, MAX_LOSS), legend)
        .links(&group_links(LinkSource::GraphLine, level))
}

/// Messages deleted before they were consumed, by group and topic.
pub(super) fn messages_lost(filters: Filters, legend: &str) -> Panel {
    let level = Level::GroupTopic;
    let lost = filters.sum(level, Level::GroupPartition, MetricId::GroupPartitionLost);
    let peak = filters.peak(Level::GroupPartition, MetricId::GroupPartitionLost);
    Panel::graph("Messages lost to retention", "No known loss; requires metrics.granularity partition")
        .description(
            "Messages of a topic that retention deleted before the group consumed them: the $limit pairs of \
             group and topic with the most. The value remains until the group commits past the oldest \
             retained message.",
        )
        .axis("short", "messages")
        .thresholds(BAD_FROM_ONE)
        .query(top_by(&format!("{lost} > 0"), &format!("sum by ({}) ({peak})", level.list())), legend)
        .links(&group_links(LinkSource::GraphLine, level))
}

/// Topics consumed by groups, worst status first. `retained` adds the column of unread messages that still exist.
pub(super) fn group_topics(
    panel: Panel,
    filters: Filters,
    group_links: &[DataLink],
    topic_links: Option<&[DataLink]>,
    retained: bool,
) -> Panel {
    let level = Level::GroupTopic;
    let status = filters.max(level, MetricId::GroupTopicStatus);
    let lag = filters.max(level, MetricId::GroupTopicLag);
    let worst = format!("topk($limit, {status} * 1e16 + on ({on}) ({lag}) + 1 or {lag})", on = level.list());
    let row = |id| among(&filters.max(level, id), &worst);
    let topic = label("topic", "Topic");
    let mut panel = panel
        .value(
            among(&format!("({status} or {lag} * 0 - 1)"), &worst),
            value("Status", "none").mapped(&STATUS_OR_UNKNOWN).width(110),
        )
        .column(label("group", "Group").links(group_links))
        .column(match topic_links {
            Some(links) => topic.links(links),
            None => topic,
        })
        .value(row(MetricId::GroupTopicLag), value("Lag", "short").thresholds(LAG_MESSAGES));
    if retained {
        panel = panel.value(row(MetricId::GroupTopicConsumable), value("Retained", "short"));
    }
    panel
        .value(row(MetricId::GroupTopicLagFloor), seconds("Lag, lower bound").thresholds(LAG_SECONDS))
        .value(row(MetricId::GroupTopicLagSeconds), seconds("Lag, upper bound").thresholds(LAG_SECONDS))
        .value(row(MetricId::GroupTopicConsumed), value("Consumed/s", "short"))
        .value(row(MetricId::GroupTopicCatchUp), seconds("Caught up in"))
        .value(
            among(&filters.min(level, MetricId::GroupTopicLossEta), &worst),
            seconds("Data loss in").thresholds(LOSS_SECONDS),
        )
        .instance_columns()
        .sorted_by("Status")
}

/// Topics on which no group has committed an offset, those with the most messages. `named` adds the time of the last
/// write and the name of the instance.
pub(super) fn topics_without_consumers(
    panel: Panel,
    filters: Filters,
    link_title: &'static str,
    named: bool,
) -> Panel {
    let level = Level::Topic;
    let none = format!("{} == 0", filters.max(level, MetricId::TopicGroups));
    let messages = filters.max(level, MetricId::TopicMessages);
    let largest = format!("topk($limit, {messages} and ({none}) or {none})");
    let topics = among(&none, &largest);
    let panel = panel
        .interval("5m")
        .labels_of(if named { filters.named(&topics) } else { topics })
        .column(label("topic", "Topic").links(&[link(
            LinkSource::TableRow,
            link_title,
            DashboardId::Topic,
            level,
        )]))
        .value(among(&messages, &largest), value("Messages", "short").width(115))
        .value(among(&filters.written(level), &largest), value("Written/s", "short"))
        .sorted_by("Messages");
    match named {
        true => panel
            .value(
                format!(
                    "time() - {}",
                    among(&filters.max(level, MetricId::TopicPartitionLastWrite), &largest)
                ),
                seconds("Last write"),
            )
            .column(label("name", "Instance"))
            .instance_columns(),
        false => panel.instance_columns(),
    }
}
