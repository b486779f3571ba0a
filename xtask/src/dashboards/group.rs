//! The board of consumer groups: lag in messages and seconds, pace, retention, and state, by topic and partition.

use alikafka_exporter::exposition::catalog::MetricId;
use serde_json::json;

use super::{
    dashboard::{self, Annotation, Dashboard, From, Name, link},
    lag_bounds,
    panel::{Panel, Row},
    query::{Filters, Level, among, first, only},
    shared::{GROUP_STATES, NEEDS_PARTITIONS, NEEDS_TOPICS, STATUS, STATUS_OR_UNKNOWN, to_group},
    style::{BAD_FROM_ONE, CATCH_UP, ETA_SECONDS, LAG_SECONDS, LOSS, MESSAGES, label, value},
};

/// Partitions are chosen for the row Partitions alone.
pub(super) const P: Filters = Filters(&[
    ("account", "account"),
    ("region", "region"),
    ("instance_id", "instance"),
    ("group", "group"),
    ("topic", "topic"),
    ("partition", "partition"),
]);
pub(super) const F: Filters = Filters(P.0.split_at(5).0);

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        name: Name::Group,
        description: "Consumer groups of Alibaba Cloud Message Queue for Apache Kafka, read by alikafka-exporter: lag in \
                      messages and seconds, pace, retention and state, by topic and partition. Lag in seconds is a bracket: \
                      certainly as late as the floor, possibly as late as the ceiling.",
        variables: vec![
            dashboard::source(),
            dashboard::account(),
            dashboard::region(Filters(&F.0[..1])),
            dashboard::instance(Filters(&F.0[..2])),
            dashboard::group(Filters(&F.0[..3])),
            dashboard::topic_of_groups(Filters(&F.0[..4])),
            dashboard::partition_of_groups(F),
            dashboard::limit(),
        ],
        annotations: vec![status_changes(), rebalances()],
        rows: vec![
            Row::open("Now", numbers()),
            Row::open("Lag", lag()),
            Row::open("Topics", vec![topics()]),
            Row::open("State", state()),
            Row::open("Pace", pace()),
            Row::open("Retention", retention()),
            Row::closed("Topic $topic", lag_bounds::one_topic()).repeated("topic"),
            Row::closed("Partitions", lag_bounds::partitions()),
        ],
    }
}

fn status_changes() -> Annotation {
    let on = Level::Group.list();
    let changed =
        F.max_of(Level::Group, MetricId::GroupStatus, |s| format!("changes({s}[$__rate_interval])"));
    let each: Vec<String> = STATUS
        .iter()
        .map(|(number, word, _)| {
            let now = F.max(Level::Group, MetricId::GroupStatus);
            format!(
                "label_replace({changed} > 0 and on ({on}) {now} == {number}, \"status\", \"{word}\", \"\", \"\")"
            )
        })
        .collect();
    Annotation {
        name: "Status changes",
        color: "orange",
        expr: each.join("\nor\n"),
        title: "{{group}}: {{status}}",
        text: "Status of the group on {{instance_id}} has changed.",
        tags: "status",
    }
}

fn rebalances() -> Annotation {
    let changed =
        F.max_of(Level::Group, MetricId::GroupLastRebalance, |s| format!("changes({s}[$__rate_interval])"));
    Annotation {
        name: "Rebalances",
        color: "blue",
        expr: format!("{changed} > 0"),
        title: "{{group}}: rebalanced",
        text: "Seen at the next poll of the group on {{instance_id}}.",
        tags: "group",
    }
}

fn numbers() -> Vec<Panel> {
    vec![
        Panel::stat(
            "Status",
            "What is the matter with the selected groups, the worst of them: ok, lagging (reads, and lag grows), stalled (reads \
             nothing and has members), stopped (reads nothing and has none), rewound (its offset fell back or is past the end), \
             data loss.",
            "Not known: too few polls",
        )
        .unit("none")
        .size(3, 4)
        .words(&STATUS)
        .on_background()
        .query(F.most(MetricId::GroupStatus), "status"),
        Panel::stat(
            "Unread messages",
            "Messages that the selected groups have left to read, over all of their topics.",
            "No lag is known",
        )
        .size(3, 4)
        .judged(MESSAGES)
        .query(F.total(Level::Group, MetricId::GroupTotalLag), "unread"),
        Panel::stat(
            "Late, certainly",
            "Floor of the age of the oldest unread message, the largest of the selected groups.",
            "No lag is known",
        )
        .unit("s")
        .size(3, 4)
        .judged(LAG_SECONDS)
        .query(F.most(MetricId::GroupTotalLagFloor), "floor"),
        Panel::stat(
            "Late, possibly",
            "Ceiling of the age of the oldest unread message, the largest of the selected groups. Absent while that of one of \
             them is not known.",
            "Not known of each group",
        )
        .unit("s")
        .size(3, 4)
        .judged(LAG_SECONDS)
        .query(F.ceiling(Level::Group, MetricId::GroupTotalLag, MetricId::GroupTotalLagSeconds), "ceiling"),
        Panel::stat(
            "Catches up in",
            "Forecast of the time until all is read at the present pace, the longest of the selected groups that catch up. \
             Absent while the lag of none shrinks.",
            "None does, or not known",
        )
        .unit("s")
        .size(3, 4)
        .query(F.most(MetricId::GroupCatchUp), "catch-up"),
        Panel::stat(
            "Loses in",
            "Forecast of the time until a message is deleted before it is read, the soonest of the selected groups and topics. 0 \
             once some are lost. Needs metrics.granularity topic or partition.",
            "None foreseen, or known",
        )
        .unit("s")
        .size(3, 4)
        .judged(ETA_SECONDS)
        .query(F.least(MetricId::GroupTopicLossEta), "soonest"),
        Panel::stat(
            "Messages lost",
            "Messages that retention deleted before the selected groups read them. They count until the group commits past the \
             oldest message held.",
            NEEDS_PARTITIONS,
        )
        .size(3, 4)
        .judged(BAD_FROM_ONE)
        .query(F.total(Level::GroupPartition, MetricId::GroupLost), "lost"),
        Panel::stat(
            "Rebalances",
            "Rebalances of the selected groups within the time range, as far as the cloud tells them.",
            "The cloud does not tell",
        )
        .size(3, 4)
        .decimals(0)
        .without_graph()
        .instant(
            format!(
                "sum({})",
                F.max_of(Level::Group, MetricId::GroupRebalances, |s| format!("increase({s}[$__range])"))
            ),
            "rebalances",
        ),
    ]
}

fn lag() -> Vec<Panel> {
    let topic = to_group(From::Line, Level::GroupTopic);
    let consumable = F.top(Level::Group, MetricId::GroupConsumable);
    vec![
        lag_bounds::bracket(
            "Lag in seconds: bracket",
            "Age of the oldest unread message of the selected groups, of the one that is furthest behind. The truth is within the \
             band: at least the floor, at most the ceiling. There is no band while the ceiling of one of them is not known. \
             Choose one group for its own bracket.",
            "No lag is known",
            F.most(MetricId::GroupTotalLagFloor),
            F.ceiling(Level::Group, MetricId::GroupTotalLag, MetricId::GroupTotalLagSeconds),
        ),
        Panel::graph(
            "Unread messages by group",
            "Messages left to read, and dashed what of them is still held: the two part where messages were lost. The $limit \
             groups with the most within the time range.",
            "No lag is known",
        )
        .judged(MESSAGES)
        .axis("messages")
        .query(F.top(Level::Group, MetricId::GroupTotalLag), "{{group}}: unread")
        .query(consumable, "{{group}}: unread and held")
        .of_query('B', &[("custom.lineStyle", json!({ "fill": "dash", "dash": [6, 6] }))]),
        lag_bounds::bounds(
            "Lag in seconds by topic",
            "Floor, dashed, and ceiling of the age of the oldest unread message: the $limit pairs of group and topic whose floor \
             is largest within the time range.",
            NEEDS_TOPICS,
            Level::GroupTopic,
            MetricId::GroupTopicLagFloor,
            MetricId::GroupTopicLagSeconds,
            "{{topic}} / {{group}}",
        )
        .links(&topic),
        Panel::graph(
            "Unread messages by topic",
            "Messages of the topic that the group has left to read: the $limit pairs of group and topic with the most within the \
             time range.",
            NEEDS_TOPICS,
        )
        .axis("messages")
        .query(F.top(Level::GroupTopic, MetricId::GroupTopicLag), "{{topic}} / {{group}}")
        .links(&topic),
    ]
}

fn state() -> Vec<Panel> {
    let level = Level::Group;
    let told: Vec<String> = GROUP_STATES
        .iter()
        .map(|(number, state, _, _)| {
            format!("({} == 1) * 0 + {number}", F.max(level, only(MetricId::GroupState, "state", "=", state)))
        })
        .collect();
    let words: Vec<(i64, &str, &str)> =
        GROUP_STATES.iter().map(|(number, _, word, color)| (*number, *word, *color)).collect();
    vec![
        Panel::timeline(
            "Status",
            "What is the matter with each group, and with each of its topics: the $limit with the worst status within the time \
             range. A gap is not known: too few polls.",
            "No status is known yet: it takes 5 polls",
        )
        .size(12, 10)
        .words(&STATUS)
        .query(F.top(level, MetricId::GroupStatus), "{{group}}")
        .query(F.top(Level::GroupTopic, MetricId::GroupTopicStatus), "{{group}} / {{topic}}"),
        Panel::timeline(
            "Members, by the cloud",
            "The state of each group in the words of the cloud: stable, preparing or completing a rebalance, empty (no members), \
             dead. The first $limit groups by number of rebalances.",
            "The cloud does not tell the state of these groups",
        )
        .size(12, 10)
        .words(&words)
        .query(
            format!(
                "({})\nand\ntopk($limit, {} or {} * 0)",
                told.join(" or "),
                F.max_of(level, MetricId::GroupRebalances, |s| format!("increase({s}[$__range] @ end())")),
                F.max_of(level, MetricId::GroupState, |s| format!("max_over_time({s}[$__range] @ end())"))
            ),
            "{{group}}",
        ),
        Panel::graph(
            "Rebalances",
            "Rebalances of each group, counted at its polls: the $limit groups with the most within the time range. During one \
             nothing is read.",
            "The cloud does not tell rebalances of these groups",
        )
        .size(12, 9)
        .interval("2m")
        .bars()
        .decimals(0)
        .axis("rebalances")
        .legend(&["max"])
        .query(
            first(
                &F.max_of(level, MetricId::GroupRebalances, |s| format!("increase({s}[$__rate_interval])")),
                &F.max_of(level, MetricId::GroupRebalances, |s| format!("increase({s}[$__range] @ end())")),
            ),
            "{{group}}",
        ),
        Panel::table(
            "Last rebalances",
            "When each selected group was last rebalanced, and how often within the time range.",
            "The cloud does not tell rebalances of these groups",
        )
        .size(12, 9)
        .rows(format!(
            "topk($limit, {} * 1000)",
            F.max(level, MetricId::GroupLastRebalance)
        ))
        .rows(F.max_of(level, MetricId::GroupRebalances, |s| format!("increase({s}[$__range])")))
        .columns(
            &[
                label("group", "Group"),
                value('A', "Last rebalance", "dateTimeAsIso"),
                value('B', "In range", "short").decimals(0),
                label("instance_id", "Instance id"),
                label("region", "Region"),
                label("account", "Account"),
            ],
            "Last rebalance",
        ),
    ]
}

fn pace() -> Vec<Panel> {
    let links = to_group(From::Line, Level::GroupTopic);
    let level = Level::GroupTopic;
    let behind = format!(
        "{} - {}",
        F.max(level, MetricId::GroupTopicProduced),
        F.max(level, MetricId::GroupTopicConsumed)
    );
    let rank = format!(
        "max by ({on}) (abs({} - {}))",
        F.max_of(level, MetricId::GroupTopicProduced, |s| format!("avg_over_time({s}[$__range] @ end())")),
        F.max_of(level, MetricId::GroupTopicConsumed, |s| format!("avg_over_time({s}[$__range] @ end())")),
        on = level.list()
    );
    vec![
        Panel::graph(
            "Read by group and topic",
            "Messages a second that the group has read, over the polls of status_window: the $limit pairs with the most within \
             the time range. An offset that is set forward by hand counts as read.",
            NEEDS_TOPICS,
        )
        .unit("mps")
        .axis("read")
        .query(F.top(level, MetricId::GroupTopicConsumed), "{{topic}} / {{group}}")
        .links(&links),
        Panel::graph(
            "Written to what the group reads",
            "Messages a second that were written to the partitions that the group reads, over the polls of status_window: the \
             $limit pairs with the most within the time range.",
            NEEDS_TOPICS,
        )
        .unit("mps")
        .axis("written")
        .query(F.top(level, MetricId::GroupTopicProduced), "{{topic}} / {{group}}")
        .links(&links),
        Panel::graph(
            "Falls behind by",
            "Messages a second written less those read: above 0 lag grows, below it shrinks. The $limit pairs that differ most \
             over the time range.",
            NEEDS_TOPICS,
        )
        .signed()
        .unit("mps")
        .axis("written less read")
        .query(first(&behind, &rank), "{{topic}} / {{group}}")
        .links(&links),
        Panel::graph(
            "Time to catch up",
            "Forecast of the time until the group has read all of a topic, at the pace of status_window: the $limit pairs with \
             the longest within the time range. Absent while lag does not shrink, or a partition stands still. A forecast of a day or longer is \
             left out here, the table has it.",
            "Nothing catches up within a day, or metrics.granularity is group",
        )
        .unit("s")
        .axis("forecast")
        .query(F.top_below(level, MetricId::GroupTopicCatchUp, CATCH_UP), "{{topic}} / {{group}}")
        .links(&links),
    ]
}

fn retention() -> Vec<Panel> {
    let links = to_group(From::Line, Level::GroupTopic);
    let level = Level::GroupTopic;
    let lost = F.sum(level, Level::GroupPartition, MetricId::GroupLost);
    let peak = format!("sum by ({}) ({})", level.list(), F.peak(Level::GroupPartition, MetricId::GroupLost));
    vec![
        Panel::graph(
            "Forecast of loss",
            "Time until messages of the topic are deleted before the group has read them: the $limit pairs with the least within \
             the time range. 0 once some are lost. Absent while retention comes no nearer, and for compacted topics. A forecast \
             of 7 days or longer is left out here, the table has it.",
            "No loss is foreseen within 7 days, or metrics.granularity is group",
        )
        .size(8, 9)
        .unit("s")
        .judged(ETA_SECONDS)
        .axis("forecast")
        .legend(&["min", "lastNotNull"])
        .query(F.bottom_below(level, MetricId::GroupTopicLossEta, LOSS), "{{topic}} / {{group}}")
        .links(&links),
        Panel::graph(
            "Retention margin",
            "Messages between the oldest one held and the committed offset, of the partition that has the fewest: the $limit pairs \
             with the least within the time range. At 0 the next deletion is a loss.",
            NEEDS_PARTITIONS,
        )
        .size(8, 9)
        .judged(&[(None, "red"), (Some(1000.0), "green")])
        .axis("messages")
        .legend(&["min", "lastNotNull"])
        .query(F.bottom(level, MetricId::GroupMargin), "{{topic}} / {{group}}")
        .links(&links),
        Panel::graph(
            "Messages lost",
            "Messages that were deleted before the group read them, over the partitions of a topic: the $limit pairs with the most. \
             The value stands until the group commits past the oldest message held.",
            "Nothing is known to be lost; needs metrics.granularity partition",
        )
        .size(8, 9)
        .judged(BAD_FROM_ONE)
        .axis("messages")
        .query(first(&format!("{lost} > 0"), &peak), "{{topic}} / {{group}}")
        .links(&links),
    ]
}

fn topics() -> Panel {
    let level = Level::GroupTopic;
    let status = F.max(level, MetricId::GroupTopicStatus);
    let lag = F.max(level, MetricId::GroupTopicLag);
    let choice = format!("topk($limit, {status} * 1e16 + on ({on}) ({lag}) + 1 or {lag})", on = level.list());
    let row = |id| among(&F.max(level, id), &choice);
    let unknown = format!("({status} or {lag} * 0 - 1)");
    let links = [
        link(From::Row, "Only this topic of this group", Name::Group, level),
        link(From::Row, "Open the topic", Name::Topic, Level::Topic),
    ];
    Panel::table(
        "Topics of the selected groups, the worst first",
        "Each topic that a selected group reads, worst status first, then by messages. Still held is what of the unread \
         messages was not deleted. Certainly and possibly late are the floor and the ceiling of the age of the oldest unread \
         message. An empty cell is not known; an empty forecast: it does not \
         catch up, or does not lose messages.",
        NEEDS_TOPICS,
    )
    .size(24, 7)
    .rows(among(&unknown, &choice))
    .rows(row(MetricId::GroupTopicLag))
    .rows(row(MetricId::GroupTopicConsumable))
    .rows(row(MetricId::GroupTopicLagFloor))
    .rows(row(MetricId::GroupTopicLagSeconds))
    .rows(row(MetricId::GroupTopicConsumed))
    .rows(row(MetricId::GroupTopicCatchUp))
    .rows(among(&F.min(level, MetricId::GroupTopicLossEta), &choice))
    .columns(
        &[
            value('A', "Status", "none").words(&STATUS_OR_UNKNOWN).width(110),
            label("group", "Group").links(&links),
            label("topic", "Topic").links(&links),
            value('B', "Unread", "short").judged(MESSAGES),
            value('C', "Still held", "short"),
            value('D', "Late, certainly", "s").decimals(1).judged(LAG_SECONDS),
            value('E', "Late, possibly", "s").decimals(1).judged(LAG_SECONDS),
            value('F', "Read /s", "short"),
            value('G', "Catches up in", "s").decimals(1),
            value('H', "Loses in", "s").decimals(1).judged(ETA_SECONDS),
            label("instance_id", "Instance id"),
            label("region", "Region"),
            label("account", "Account"),
        ],
        "Status",
    )
}
