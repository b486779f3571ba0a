//! The bracket of lag in seconds, and the rows of the group board that are closed at first: of one topic, and of
//! partitions.
//!
//! Owns: how a floor and a ceiling are drawn. Refuses: what stands open on the board.

use alikafka_exporter::exposition::catalog::MetricId;
use serde_json::json;

use super::{
    dashboard::{From, Name, link},
    group::{F, P},
    panel::Panel,
    query::{Level, Series, among, first},
    shared::{NEEDS_PARTITIONS, NEEDS_TOPICS},
    style::{BAD_FROM_ONE, LAG_SECONDS, MESSAGES, label, value},
};

/// The bracket of lag in seconds: one band, whose lower edge is certain and whose upper edge is possible.
pub(super) fn bracket(
    title: &str,
    description: &str,
    no_value: &str,
    floor: String,
    ceiling: String,
) -> Panel {
    Panel::graph(title, description, no_value)
        .unit("s")
        .judged(LAG_SECONDS)
        .axis("age")
        .query(floor, "certainly (floor)")
        .query(ceiling, "possibly (ceiling)")
        .of_name(
            "possibly (ceiling)",
            &[
                ("color", json!({ "mode": "fixed", "fixedColor": "orange" })),
                ("custom.fillBelowTo", json!("certainly (floor)")),
                ("custom.fillOpacity", json!(25)),
            ],
        )
        .of_name(
            "certainly (floor)",
            &[("color", json!({ "mode": "fixed", "fixedColor": "red" })), ("custom.lineWidth", json!(2))],
        )
}

/// Both bounds of several groups, topics or partitions: ceilings as lines, floors dashed.
pub(super) fn bounds(
    title: &str,
    description: &str,
    no_value: &str,
    level: Level,
    floor: MetricId,
    ceiling: MetricId,
    by: &str,
) -> Panel {
    Panel::graph(title, description, no_value)
        .unit("s")
        .axis("age")
        .query(first(&F.max(level, ceiling), &F.peak(level, floor)), &format!("{by}: ceiling"))
        .query(first(&F.max(level, floor), &F.peak(level, floor)), &format!("{by}: floor"))
        .of_query('B', &[("custom.lineStyle", json!({ "fill": "dash", "dash": [6, 6] }))])
        .legend(&["max", "lastNotNull"])
}

/// One topic: Grafana makes such a row of each that is selected, and asks only when it is opened.
pub(super) fn one_topic() -> Vec<Panel> {
    let level = Level::GroupPartition;
    vec![
        bracket(
            "$topic: bracket",
            "Age of the oldest unread message of the topic, of the selected group that is furthest behind. The truth is within the \
             band. There is no band while the ceiling of one of them is not known.",
            NEEDS_TOPICS,
            F.most(MetricId::GroupTopicLagFloor),
            F.ceiling(Level::GroupTopic, MetricId::GroupTopicLag, MetricId::GroupTopicLagSeconds),
        ),
        Panel::graph(
            "$topic: unread messages by partition",
            "Messages of each partition that the group has left to read: the $limit with the most within the time range. One far \
             above the others: a hot key, or one stuck consumer.",
            NEEDS_PARTITIONS,
        )
        .axis("messages")
        .query(F.top(level, MetricId::GroupLag), "{{partition}} / {{group}}"),
        bounds(
            "$topic: lag in seconds by partition",
            "Floor, dashed, and ceiling of the age of the oldest unread message: the $limit partitions whose floor is largest \
             within the time range.",
            NEEDS_PARTITIONS,
            level,
            MetricId::GroupLagFloor,
            MetricId::GroupLagSeconds,
            "{{partition}} / {{group}}",
        ),
        Panel::graph(
            "$topic: read by partition",
            "Messages a second by the slope of the committed offset, 0 while it falls: the $limit partitions with the most within \
             the time range.",
            NEEDS_PARTITIONS,
        )
        .interval("5m")
        .unit("mps")
        .axis("read")
        .query(
            first(&F.slope(level, MetricId::GroupOffset), &F.slope_of_range(level, MetricId::GroupOffset)),
            "{{partition}} / {{group}}",
        ),
        Panel::graph(
            "$topic: retention margin by partition",
            "Messages between the oldest one held and the committed offset: the $limit partitions with the least within the time \
             range.",
            NEEDS_PARTITIONS,
        )
        .axis("messages")
        .legend(&["min", "lastNotNull"])
        .query(F.bottom(level, MetricId::GroupMargin), "{{partition}} / {{group}}"),
        Panel::graph(
            "$topic: messages lost by partition",
            "Messages that were deleted before the group read them: the $limit partitions with the most.",
            NEEDS_PARTITIONS,
        )
        .judged(BAD_FROM_ONE)
        .mostly_zero()
        .axis("messages")
        .query(F.top(level, MetricId::GroupLost), "{{partition}} / {{group}}"),
    ]
}

pub(super) fn partitions() -> Vec<Panel> {
    let level = Level::GroupPartition;
    let choice = format!(
        "topk($limit, {floor} * 1e12 + on ({on}) ({lag}) + 1 or {lag})",
        floor = P.max(level, MetricId::GroupLagFloor),
        lag = P.max(level, MetricId::GroupLag),
        on = level.list()
    );
    let row = |series: Series| among(&P.max(level, series), &choice);
    let links = [link(From::Row, "Only this partition", Name::Group, level)];
    let ages = |id: MetricId| format!("time() - {}", among(&P.max(level, id), &choice));
    vec![
        bracket(
            "Lag in seconds of the selected partitions: bracket",
            "Age of the oldest unread message of the selected partitions, of the one that is furthest behind. There is no band \
             while the ceiling of one of them is not known. Choose one partition for its own bracket.",
            NEEDS_PARTITIONS,
            P.most(MetricId::GroupLagFloor),
            P.ceiling(level, MetricId::GroupLag, MetricId::GroupLagSeconds),
        ),
        Panel::graph(
            "Unread messages of the selected partitions",
            "Messages left to read: the $limit partitions with the most within the time range.",
            NEEDS_PARTITIONS,
        )
        .axis("messages")
        .query(P.top(level, MetricId::GroupLag), "{{topic}}[{{partition}}] / {{group}}"),
        Panel::table(
            "Partitions, the latest first",
            "The $limit selected partitions that are furthest behind, by the floor of the age of the oldest unread message, then by \
             messages. Click a partition for its own bracket. Last read is when the message that was read last was stored, where \
             the cloud tells it.",
            NEEDS_PARTITIONS,
        )
        .size(24, 10)
        .rows(row(MetricId::GroupLag.into()))
        .rows(row(MetricId::GroupLagFloor.into()))
        .rows(row(MetricId::GroupLagSeconds.into()))
        .rows(row(MetricId::GroupOffset.into()))
        .rows(row(MetricId::GroupMargin.into()))
        .rows(row(MetricId::GroupLost.into()))
        .rows(ages(MetricId::GroupLastConsumed))
        .columns(
            &[
                label("group", "Group"),
                label("topic", "Topic"),
                label("partition", "Partition").links(&links),
                value('A', "Unread", "short").judged(MESSAGES),
                value('B', "Late, certainly", "s").decimals(1).judged(LAG_SECONDS),
                value('C', "Late, possibly", "s").decimals(1).judged(LAG_SECONDS),
                value('D', "Committed offset", "none").decimals(0),
                value('E', "Margin", "short"),
                value('F', "Lost", "short").judged(BAD_FROM_ONE),
                value('G', "Last read", "s").decimals(1),
                label("instance_id", "Instance id"),
                label("region", "Region"),
                label("account", "Account"),
            ],
            "Late, certainly",
        ),
    ]
}
