//! Dashboard of topics: throughput, retained messages, partition skew and consumers.

use alikafka_exporter::exposition::catalog::MetricId;

use super::{
    dashboard::{Annotation, Dashboard, DashboardId, LinkSource, link},
    panel::{Panel, Row},
    query::{Level, TOPIC, among, top_by},
    shared_panels::{group_topics, lag_lower_bound, topics_without_consumers},
    style::{BAD_FROM_ONE, SKEW, label, seconds, value},
    value_texts::{NEEDS_PARTITIONS, NEEDS_TOPICS},
};

const TOPIC_LEGEND: &str = "{{topic}} @ {{instance_id}}";
const PARTITION_LEGEND: &str = "{{topic}}[{{partition}}] @ {{instance_id}}";
const NEVER_WRITTEN: &str = "No messages, or metrics.granularity is not partition";

pub(super) fn dashboard() -> Dashboard {
    let resets = TOPIC.max_of(Level::TopicPartition, MetricId::TopicPartitionEnd, |s| {
        format!("resets({s}[$__rate_interval])")
    });
    Dashboard {
        id: DashboardId::Topic,
        description: "Topics of Alibaba Cloud Message Queue for Apache Kafka, monitored by \
                      alikafka-exporter: production rate, retained messages, partition skew, and consumer \
                      groups.",
        filters: TOPIC,
        annotations: vec![Annotation {
            name: "Topic recreated",
            color: "purple",
            expr: format!("max by ({}) ({resets}) > 0", Level::Topic.list()),
            title: "{{topic}}: end offset decreased",
            text: "The topic was deleted and recreated on {{instance_id}}.",
            tags: "topic",
        }],
        rows: vec![
            Row::new("Overview", overview()).panel_size(3, 4),
            Row::new("Throughput and retained messages", throughput()),
            Row::new("Consumers", consumers()),
            Row::new("Topics", vec![topics()]),
            Row::new("Partition skew", skew()),
            Row::new("Partitions", partitions()).collapsed(),
        ],
    }
}

fn overview() -> Vec<Panel> {
    vec![
        Panel::count("Topics", "No topics")
            .description("Selected topics that the API lists.")
            .query(TOPIC.count(Level::Topic, MetricId::TopicInfo), "topics"),
        Panel::count("Partitions", NEEDS_TOPICS)
            .description("Partitions of the selected topics.")
            .query(TOPIC.total(Level::Topic, MetricId::TopicPartitions), "partitions"),
        Panel::stat("Production rate", NEEDS_PARTITIONS)
            .description(
                "Messages written per second to the selected topics, from the slope of their end offsets.",
            )
            .interval("5m")
            .unit("mps")
            .query(
                format!("sum({})", TOPIC.slope(Level::TopicPartition, MetricId::TopicPartitionEnd)),
                "written",
            ),
        Panel::stat("Messages", NEEDS_TOPICS)
            .description("Retained messages of the selected topics.")
            .query(TOPIC.total(Level::Topic, MetricId::TopicMessages), "messages"),
        Panel::stat("Last write", NEVER_WRITTEN)
            .description("Time since the last message was written to a selected topic.")
            .unit("s")
            .query(format!("time() - {}", TOPIC.maximum(MetricId::TopicPartitionLastWrite)), "ago"),
        Panel::count("Consumer groups", "Unknown until all groups are polled")
            .description("Pairs of a selected topic and a group that has committed an offset on it.")
            .query(TOPIC.total(Level::Topic, MetricId::TopicGroups), "groups"),
        Panel::count("No consumers", "Unknown until all groups are polled")
            .description("Selected topics on which no group of the instance has committed an offset.")
            .query(format!("sum({} == bool 0)", TOPIC.max(Level::Topic, MetricId::TopicGroups)), "topics"),
        lag_lower_bound(TOPIC, MetricId::GroupTopicLagFloor, NEEDS_TOPICS),
    ]
}

fn last_write(title: &'static str, description: &'static str, level: Level, legend: &str) -> Panel {
    Panel::graph(title, NEVER_WRITTEN)
        .description(description)
        .axis("s", "ago")
        .query(TOPIC.longest_ago(level, MetricId::TopicPartitionLastWrite), legend)
}

fn throughput() -> Vec<Panel> {
    let level = Level::Topic;
    let written_in_range = format!(
        "sum by ({}) ({})",
        level.list(),
        TOPIC.slope_in_range(Level::TopicPartition, MetricId::TopicPartitionEnd)
    );
    vec![
        Panel::graph("Production rate by topic", NEEDS_PARTITIONS)
            .description(
                "Messages written per second, from the slope of the end offsets: the $limit topics with the \
                 most in the time range. A recreated topic counts as 0 while its offsets decrease.",
            )
            .interval("5m")
            .axis("mps", "written")
            .query(top_by(&TOPIC.written(level), &written_in_range), TOPIC_LEGEND),
        Panel::graph("Messages by topic", NEEDS_TOPICS)
            .description("Retained messages: the $limit topics with the most in the time range.")
            .axis("short", "messages")
            .query(TOPIC.top(level, MetricId::TopicMessages), TOPIC_LEGEND),
        last_write(
            "Last write by topic",
            "Time since the last message was written to the topic: the $limit topics with the oldest last \
             write.",
            level,
            TOPIC_LEGEND,
        ),
        Panel::graph("Lag by topic", NEEDS_TOPICS)
            .description(
                "Unread messages of the group with the largest lag on the topic: the $limit topics with the \
                 most in the time range.",
            )
            .axis("short", "messages")
            .query(TOPIC.top(level, MetricId::GroupTopicLag), TOPIC_LEGEND),
    ]
}

fn consumers() -> Vec<Panel> {
    let links = [link(LinkSource::TableRow, "Open group", DashboardId::Group, Level::GroupTopic)];
    let groups = Panel::table(
        "Consumer groups of the selected topics, worst first",
        "No consumer group, or metrics.granularity is group",
    )
    .description(
        "Groups that have committed an offset on a selected topic. Click a group for its dashboard. Empty \
         cells are unknown.",
    )
    .size(24, 9);
    let topics = Panel::table(
        "Topics without consumers",
        "Every selected topic has consumers, or not all groups are polled",
    )
    .description(
        "Selected topics on which no group of the instance has committed an offset: the $limit with the \
         most messages.",
    )
    .size(24, 6);
    vec![
        group_topics(groups, TOPIC, &links, None, false),
        topics_without_consumers(topics, TOPIC, "Select this topic", false),
    ]
}

fn topics() -> Panel {
    let level = Level::Topic;
    let messages = TOPIC.max(level, MetricId::TopicMessages);
    let largest = format!("topk($limit, {messages} or {} * 0)", TOPIC.max(level, MetricId::TopicInfo));
    let row = |id| among(&TOPIC.max(level, id), &largest);
    let links = [
        link(LinkSource::TableRow, "Select this topic", DashboardId::Topic, level),
        link(LinkSource::TableRow, "Open its groups", DashboardId::Group, level),
    ];
    let info = TOPIC.max_with(level, "storage, cleanup", MetricId::TopicInfo);
    Panel::table("Topics by number of messages", "No topics")
        .description(
            "The $limit selected topics with the most retained messages: partitions, production rate, last \
             write, consumer groups, storage engine, and cleanup policy.",
        )
        .interval("5m")
        .labels_of(TOPIC.named(&format!("{info}\nand on ({})\n{largest}", level.list())))
        .column(label("topic", "Topic").links(&links))
        .value(row(MetricId::TopicPartitions), value("Partitions", "none").decimals(0))
        .value(row(MetricId::TopicMessages), value("Messages", "short").width(115))
        .value(among(&TOPIC.written(level), &largest), value("Written/s", "short"))
        .value(format!("time() - {}", row(MetricId::TopicPartitionLastWrite)), seconds("Last write"))
        .value(
            row(MetricId::TopicGroups),
            value("Groups", "none").decimals(0).thresholds(&[(None, "yellow"), (Some(1.0), "green")]),
        )
        .column(label("storage", "Storage"))
        .column(label("cleanup", "Cleanup"))
        .column(label("name", "Instance"))
        .instance_columns()
        .sorted_by("Messages")
}

/// Ratio of the maximum to the mean of the partitions of a topic. Absent if the mean is 0.
fn skew_of(level: Level, each: &str) -> String {
    format!("max by ({on}) ({each}) / (avg by ({on}) ({each}) > 0)", on = level.list())
}

fn skew_graph(title: &'static str, description: &'static str) -> Panel {
    Panel::graph(title, NEEDS_PARTITIONS)
        .description(description)
        .axis("none", "max / mean")
        .decimals(1)
        .thresholds(SKEW)
}

fn skew() -> Vec<Panel> {
    let slope = TOPIC.slope(Level::TopicPartition, MetricId::TopicPartitionEnd);
    let slope_in_range = TOPIC.slope_in_range(Level::TopicPartition, MetricId::TopicPartitionEnd);
    let lag = TOPIC.max(Level::GroupPartition, MetricId::GroupPartitionLag);
    let mean_lag = TOPIC.mean(Level::GroupPartition, MetricId::GroupPartitionLag);
    vec![
        skew_graph(
            "Production skew",
            "Production rate of the busiest partition divided by the mean of all partitions of the topic: \
             the $limit topics with the largest skew over the time range. 1 is even; the number of \
             partitions means that one partition gets all messages. A large skew indicates a hot key.",
        )
        .interval("5m")
        .query(top_by(&skew_of(Level::Topic, &slope), &skew_of(Level::Topic, &slope_in_range)), TOPIC_LEGEND),
        skew_graph(
            "Lag skew",
            "Unread messages of the partition with the largest lag divided by the mean of all partitions \
             that the group consumes: the $limit largest over the time range. A large skew indicates a hot \
             key or a stuck consumer.",
        )
        .query(
            top_by(&skew_of(Level::GroupTopic, &lag), &skew_of(Level::GroupTopic, &mean_lag)),
            "{{topic}} / {{group}} @ {{instance_id}}",
        )
        .links(&[link(LinkSource::GraphLine, "Open group", DashboardId::Group, Level::GroupTopic)]),
    ]
}

fn partitions() -> Vec<Panel> {
    let level = Level::TopicPartition;
    let [start, end] = [MetricId::TopicPartitionStart, MetricId::TopicPartitionEnd];
    let retained = format!("{} - {}", TOPIC.max(level, end), TOPIC.max(level, start));
    let retained_at_end = format!("{} - {}", TOPIC.at_end(level, end), TOPIC.at_end(level, start));
    let largest = format!("topk($limit, {})", TOPIC.max(level, end));
    let row = |id| among(&TOPIC.max(level, id), &largest);
    vec![
        Panel::graph("Production rate by partition", NEEDS_PARTITIONS)
            .description(
                "Messages written per second, from the slope of the end offset: the $limit partitions with \
                 the most in the time range.",
            )
            .interval("5m")
            .axis("mps", "written")
            .query(TOPIC.top_slope(level, end), PARTITION_LEGEND),
        Panel::graph("Messages by partition", NEEDS_PARTITIONS)
            .description(
                "End offset minus start offset: the retained messages, or more if compaction removed some. \
                 The $limit partitions with the most at the end of the time range.",
            )
            .axis("short", "messages")
            .query(top_by(&retained, &retained_at_end), PARTITION_LEGEND),
        last_write(
            "Last write by partition",
            "Time since the last message was written to the partition: the $limit partitions with the \
             oldest last write.",
            level,
            PARTITION_LEGEND,
        ),
        Panel::graph("Messages lost by partition", NEEDS_PARTITIONS)
            .description(
                "Messages of the partition that retention deleted before a group consumed them, maximum \
                 over all groups: the $limit partitions with the most in the time range.",
            )
            .axis("short", "messages")
            .thresholds(BAD_FROM_ONE)
            .mostly_zero()
            .query(TOPIC.top(level, MetricId::GroupPartitionLost), PARTITION_LEGEND),
        Panel::table("Offsets", NEEDS_PARTITIONS)
            .description(
                "Start offset, end offset and last write of each partition: the $limit partitions with the \
                 largest end offset.",
            )
            .size(24, 9)
            .column(label("topic", "Topic"))
            .column(label("partition", "Partition"))
            .value(row(start), value("Start offset", "none").decimals(0))
            .value(largest.clone(), value("End offset", "none").decimals(0))
            .value(format!("time() - {}", row(MetricId::TopicPartitionLastWrite)), seconds("Last write"))
            .instance_columns()
            .sorted_by("End offset"),
    ]
}
