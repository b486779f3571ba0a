//! Dashboard of consumer groups: lag, throughput, retention and state, by topic and partition.

use alikafka_exporter::exposition::catalog::MetricId;

use super::{
    dashboard::{Annotation, Dashboard, DashboardId, LinkSource, group_links, link},
    group_rows,
    panel::{Panel, Row},
    query::{GROUP, Level, PARTITION, matching, top_by},
    shared_panels::{
        group_topics, lag_band, lag_bounds, lag_lower_bound, loss_forecast, messages_lost, time_to_data_loss,
        total_lag, total_messages_lost,
    },
    style::{LAG_MESSAGES, LAG_SECONDS, MAX_CATCH_UP, label, value},
    value_texts::{GROUP_STATES, NEEDS_PARTITIONS, NEEDS_TOPICS, STATUS},
};

const TOPIC_LEGEND: &str = "{{topic}} / {{group}}";

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        id: DashboardId::Group,
        description: "Consumer groups of Alibaba Cloud Message Queue for Apache Kafka, monitored by \
                      alikafka-exporter: lag in messages and seconds, throughput, retention and state, by \
                      topic and partition. Lag in seconds is a range between a lower and an upper bound.",
        filters: PARTITION,
        annotations: vec![status_changes(), rebalances()],
        rows: vec![
            Row::new("Overview", overview()).panel_size(3, 4),
            Row::new("Lag", lag()),
            Row::new("Topics", vec![topics()]),
            Row::new("State", state()),
            Row::new("Throughput", throughput()),
            Row::new("Retention", retention()).panel_size(8, 9),
            Row::new("Topic $topic", group_rows::topic()).collapsed().repeated("topic"),
            Row::new("Partitions", group_rows::partitions()).collapsed(),
        ],
    }
}

fn status_changes() -> Annotation {
    let on = Level::Group.list();
    let changed = GROUP.changes(Level::Group, MetricId::GroupStatus);
    let each: Vec<String> = STATUS
        .iter()
        .map(|(number, text, _)| {
            let now = GROUP.max(Level::Group, MetricId::GroupStatus);
            format!(
                "label_replace({changed} > 0 and on ({on}) {now} == {number}, \"status\", \"{text}\", \"\", \"\")"
            )
        })
        .collect();
    Annotation {
        name: "Status changes",
        color: "orange",
        expr: each.join("\nor\n"),
        title: "{{group}}: {{status}}",
        text: "The status of the group on {{instance_id}} has changed.",
        tags: "status",
    }
}

fn rebalances() -> Annotation {
    Annotation {
        name: "Rebalances",
        color: "blue",
        expr: format!("{} > 0", GROUP.changes(Level::Group, MetricId::GroupLastRebalance)),
        title: "{{group}}: rebalance",
        text: "Detected at the next poll of the group on {{instance_id}}.",
        tags: "group",
    }
}

fn overview() -> Vec<Panel> {
    vec![
        Panel::stat("Status", "Unknown: too few polls")
            .description(
                "Worst status of the selected groups: ok, lagging (consumes, but lag grows), stalled (has \
                 members but does not consume), stopped (neither has members nor consumes), rewound (offset \
                 moved backwards or is past the end), data loss.",
            )
            .unit("none")
            .mapped(&STATUS)
            .on_background()
            .query(GROUP.maximum(MetricId::GroupStatus), "status"),
        total_lag(GROUP),
        lag_lower_bound(GROUP, MetricId::GroupLagFloor, "No lag known"),
        Panel::stat("Lag, upper bound", "Unknown for a group")
            .description(
                "Upper bound of the age of the oldest unread message, maximum over the selected groups. \
                 Absent if one of them has no upper bound.",
            )
            .unit("s")
            .thresholds(LAG_SECONDS)
            .query(
                GROUP.upper_bound(Level::Group, MetricId::GroupLag, MetricId::GroupLagSeconds),
                "upper bound",
            ),
        Panel::stat("Time to catch up", "Never, or unknown")
            .description(
                "Forecast of the time until all messages are consumed at the current rate, longest of the \
                 selected groups that catch up. Absent if no lag shrinks.",
            )
            .unit("s")
            .query(GROUP.maximum(MetricId::GroupCatchUp), "time"),
        time_to_data_loss(GROUP),
        total_messages_lost(GROUP),
        Panel::stat("Rebalances", "Not reported")
            .description(
                "Rebalances of the selected groups in the time range, as far as the API reports them.",
            )
            .decimals(0)
            .without_graph()
            .instant(
                format!("sum({})", GROUP.increase(Level::Group, MetricId::GroupRebalances)),
                "rebalances",
            ),
    ]
}

fn lag() -> Vec<Panel> {
    let links = group_links(LinkSource::GraphLine, Level::GroupTopic);
    vec![
        lag_band(
            Panel::graph("Lag in seconds", "No lag known").description(
                "Age of the oldest unread message, maximum over the selected groups. The actual value is \
                 between the lower and the upper bound. No band is shown if one of the groups has no upper \
                 bound. Select one group to see its own bounds.",
            ),
            GROUP.maximum(MetricId::GroupLagFloor),
            GROUP.upper_bound(Level::Group, MetricId::GroupLag, MetricId::GroupLagSeconds),
        ),
        Panel::graph("Lag by group", "No lag known")
            .description(
                "Unread messages and, dashed, those that are still retained. The lines differ if messages \
                 were lost. The $limit groups with the most in the time range.",
            )
            .axis("short", "messages")
            .thresholds(LAG_MESSAGES)
            .query(GROUP.top(Level::Group, MetricId::GroupLag), "{{group}}: unread")
            .query(GROUP.top(Level::Group, MetricId::GroupConsumable), "{{group}}: retained")
            .dashed('B'),
        lag_bounds(
            Panel::graph("Lag in seconds by topic", NEEDS_TOPICS).description(
                "Lower bound (dashed) and upper bound of the age of the oldest unread message: the $limit \
                 pairs of group and topic with the largest lower bounds in the time range.",
            ),
            GROUP,
            Level::GroupTopic,
            (MetricId::GroupTopicLagFloor, MetricId::GroupTopicLagSeconds),
            TOPIC_LEGEND,
        )
        .links(&links),
        Panel::graph("Lag by topic", NEEDS_TOPICS)
            .description(
                "Unread messages of the topic: the $limit pairs of group and topic with the most in the \
                 time range.",
            )
            .axis("short", "messages")
            .query(GROUP.top(Level::GroupTopic, MetricId::GroupTopicLag), TOPIC_LEGEND)
            .links(&links),
    ]
}

fn topics() -> Panel {
    let links = [
        link(LinkSource::TableRow, "Select this topic and group", DashboardId::Group, Level::GroupTopic),
        link(LinkSource::TableRow, "Open topic", DashboardId::Topic, Level::Topic),
    ];
    let panel = Panel::table("Topics of the selected groups, worst first", NEEDS_TOPICS)
        .description(
            "Topics that the selected groups consume: worst status first, then largest lag. Lag is in \
             messages, Retained is its part that is not deleted yet, and the bounds are those of the age of \
             the oldest unread message. Empty cells are unknown. Empty forecasts: the group does not catch \
             up, or does not lose messages.",
        )
        .size(24, 7);
    group_topics(panel, GROUP, &links, Some(&links), true)
}

fn state() -> Vec<Panel> {
    let level = Level::Group;
    let states: Vec<String> = GROUP_STATES
        .iter()
        .map(|(number, state, _, _)| {
            let in_state = matching(MetricId::GroupState, "state", "=", state);
            format!("({} == 1) * 0 + {number}", GROUP.max(level, in_state))
        })
        .collect();
    let texts: Vec<(i64, &str, &str)> =
        GROUP_STATES.iter().map(|(number, _, text, color)| (*number, *text, *color)).collect();
    let most_rebalances = GROUP.increase_at_end(level, MetricId::GroupRebalances);
    vec![
        Panel::timeline("Status", "No status known yet: it requires 5 polls")
            .description(
                "Status of each group and of each of its topics: the $limit worst in the time range. A gap \
                 means that the status is unknown because of too few polls.",
            )
            .size(12, 10)
            .mapped(&STATUS)
            .query(GROUP.top(level, MetricId::GroupStatus), "{{group}}")
            .query(GROUP.top(Level::GroupTopic, MetricId::GroupTopicStatus), "{{group}} / {{topic}}"),
        Panel::timeline("Group state", "The API does not report the state of these groups")
            .description(
                "State that the API reports for each group: stable, preparing or completing a rebalance, \
                 empty (no members), or dead. The $limit groups with the most rebalances.",
            )
            .size(12, 10)
            .mapped(&texts)
            .query(
                format!(
                    "({})\nand\ntopk($limit, {most_rebalances} or {} * 0)",
                    states.join(" or "),
                    GROUP.peak(level, MetricId::GroupState)
                ),
                "{{group}}",
            ),
        Panel::graph("Rebalances", "The API reports no rebalances of these groups")
            .description(
                "Rebalances of each group, as of its polls: the $limit groups with the most in the time \
                 range. A group does not consume during a rebalance.",
            )
            .axis("short", "rebalances")
            .interval("2m")
            .bars()
            .decimals(0)
            .legend(&["max"])
            .query(
                top_by(
                    &GROUP.max_of(level, MetricId::GroupRebalances, |s| {
                        format!("increase({s}[$__rate_interval])")
                    }),
                    &most_rebalances,
                ),
                "{{group}}",
            ),
        Panel::table("Last rebalances", "The API reports no rebalances of these groups")
            .description(
                "Time of the last rebalance of each selected group, and number of rebalances in the time \
                 range.",
            )
            .size(12, 9)
            .column(label("group", "Group"))
            .value(
                format!("topk($limit, {} * 1000)", GROUP.max(level, MetricId::GroupLastRebalance)),
                value("Last rebalance", "dateTimeAsIso"),
            )
            .value(GROUP.increase(level, MetricId::GroupRebalances), value("In range", "short").decimals(0))
            .instance_columns()
            .sorted_by("Last rebalance"),
    ]
}

fn throughput() -> Vec<Panel> {
    let links = group_links(LinkSource::GraphLine, Level::GroupTopic);
    let level = Level::GroupTopic;
    let [produced, consumed] = [MetricId::GroupTopicProduced, MetricId::GroupTopicConsumed];
    let difference = format!("{} - {}", GROUP.max(level, produced), GROUP.max(level, consumed));
    let rank = format!(
        "max by ({on}) (abs({} - {}))",
        GROUP.mean(level, produced),
        GROUP.mean(level, consumed),
        on = level.list()
    );
    vec![
        Panel::graph("Consumption rate", NEEDS_TOPICS)
            .description(
                "Messages consumed per second, averaged over status_window: the $limit pairs of group and \
                 topic with the most in the time range. An offset that is moved forward manually counts as \
                 consumption.",
            )
            .axis("mps", "consumed")
            .query(GROUP.top(level, consumed), TOPIC_LEGEND)
            .links(&links),
        Panel::graph("Production rate", NEEDS_TOPICS)
            .description(
                "Messages written per second to the partitions that the group consumes, averaged over \
                 status_window: the $limit pairs of group and topic with the most in the time range.",
            )
            .axis("mps", "written")
            .query(GROUP.top(level, produced), TOPIC_LEGEND)
            .links(&links),
        Panel::graph("Lag growth", NEEDS_TOPICS)
            .description(
                "Production rate minus consumption rate: above 0 lag grows, below 0 it shrinks. The $limit \
                 pairs of group and topic with the largest difference over the time range.",
            )
            .signed()
            .axis("mps", "written - consumed")
            .query(top_by(&difference, &rank), TOPIC_LEGEND)
            .links(&links),
        Panel::graph("Time to catch up", "Nothing catches up within a day, or metrics.granularity is group")
            .description(
                "Forecast of the time until the group has consumed all messages of a topic, at the rates of \
                 status_window: the $limit longest in the time range. Absent while lag does not shrink or a \
                 partition is stalled. Forecasts of a day or longer are only in the table.",
            )
            .axis("s", "forecast")
            .query(GROUP.top_below(level, MetricId::GroupTopicCatchUp, MAX_CATCH_UP), TOPIC_LEGEND)
            .links(&links),
    ]
}

fn retention() -> Vec<Panel> {
    vec![
        loss_forecast(GROUP, TOPIC_LEGEND),
        Panel::graph("Retention margin", NEEDS_PARTITIONS)
            .description(
                "Messages between the oldest retained one and the committed offset, minimum over the \
                 partitions: the $limit pairs of group and topic with the least in the time range. At 0 the \
                 next deletion loses messages.",
            )
            .axis("short", "messages")
            .thresholds(&[(None, "red"), (Some(1000.0), "green")])
            .legend(&["min", "lastNotNull"])
            .query(GROUP.bottom(Level::GroupTopic, MetricId::GroupPartitionMargin), TOPIC_LEGEND)
            .links(&group_links(LinkSource::GraphLine, Level::GroupTopic)),
        messages_lost(GROUP, TOPIC_LEGEND),
    ]
}
