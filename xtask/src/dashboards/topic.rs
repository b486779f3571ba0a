//! The board of topics: what is written to them, what they hold, how even their partitions are, and who reads them.

use alikafka_exporter::exposition::catalog::MetricId;

use super::{
    dashboard::{self, Annotation, Dashboard, From, Name, link},
    panel::{Panel, Row},
    query::{Filters, Level, among, first},
    shared::{NEEDS_PARTITIONS, NEEDS_TOPICS, STATUS_OR_UNKNOWN, written, written_in_range},
    style::{BAD_FROM_ONE, ETA_SECONDS, LAG_SECONDS, MESSAGES, SKEW, label, value},
};

const F: Filters =
    Filters(&[("account", "account"), ("region", "region"), ("instance_id", "instance"), ("topic", "topic")]);

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        name: Name::Topic,
        description: "Topics of Alibaba Cloud Message Queue for Apache Kafka, read by alikafka-exporter: what is written to them, \
                      what they hold, how even their partitions are, and which groups read them.",
        variables: vec![
            dashboard::source(),
            dashboard::account(),
            dashboard::region(Filters(&F.0[..1])),
            dashboard::instance(Filters(&F.0[..2])),
            dashboard::topic(Filters(&F.0[..3])),
            dashboard::limit(),
        ],
        annotations: vec![Annotation {
            name: "Topic created anew",
            color: "purple",
            expr: format!(
                "max by ({}) ({}) > 0",
                Level::Topic.list(),
                F.max_of(Level::TopicPartition, MetricId::TopicEnd, |s| format!(
                    "resets({s}[$__rate_interval])"
                ))
            ),
            title: "{{topic}}: end offset fell",
            text: "The topic was deleted and created anew on {{instance_id}}.",
            tags: "topic",
        }],
        rows: vec![
            Row::open("Now", numbers()),
            Row::open("Written and held", held()),
            Row::open("Who reads", readers()),
            Row::open("Topics", vec![topics()]),
            Row::open("Skew of partitions", skew()),
            Row::closed("Partitions", partitions()),
        ],
    }
}

fn numbers() -> Vec<Panel> {
    vec![
        Panel::stat("Topics", "Selected topics that the cloud lists.", "No topic is known")
            .size(3, 4)
            .unit("none")
            .without_graph()
            .query(F.count(Level::Topic, MetricId::TopicInfo), "topics"),
        Panel::stat("Partitions", "Partitions of the selected topics.", NEEDS_TOPICS)
            .size(3, 4)
            .unit("none")
            .without_graph()
            .query(F.total(Level::Topic, MetricId::TopicPartitions), "partitions"),
        Panel::stat(
            "Written",
            "Messages a second that are written to the selected topics, by the slope of their end offsets.",
            NEEDS_PARTITIONS,
        )
        .size(3, 4)
        .interval("5m")
        .unit("mps")
        .query(format!("sum({})", F.slope(Level::TopicPartition, MetricId::TopicEnd)), "written"),
        Panel::stat("Messages held", "Messages that the selected topics hold.", NEEDS_TOPICS)
            .size(3, 4)
            .query(F.total(Level::Topic, MetricId::TopicMessages), "held"),
        Panel::stat(
            "Last write",
            "Time since the newest message of the selected topics was written.",
            "Nothing was written, or metrics.granularity is not partition",
        )
        .size(3, 4)
        .unit("s")
        .query(format!("time() - {}", F.most(MetricId::TopicLastWrite)), "ago"),
        Panel::stat(
            "Readers",
            "Pairs of a selected topic and a group that has committed an offset on it.",
            "Not known until every group of the instance was read",
        )
        .size(3, 4)
        .unit("none")
        .without_graph()
        .query(F.total(Level::Topic, MetricId::TopicGroups), "readers"),
        Panel::stat(
            "Read by nobody",
            "Selected topics on which no group of the instance has committed an offset.",
            "Not known until every group of the instance was read",
        )
        .size(3, 4)
        .unit("none")
        .without_graph()
        .query(format!("sum({} == bool 0)", F.max(Level::Topic, MetricId::TopicGroups)), "topics"),
        Panel::stat(
            "Worst reader",
            "Floor of the age of the oldest unread message, of the group that is furthest behind on a selected topic.",
            NEEDS_TOPICS,
        )
        .size(3, 4)
        .unit("s")
        .judged(LAG_SECONDS)
        .query(F.most(MetricId::GroupTopicLagFloor), "floor"),
    ]
}

fn held() -> Vec<Panel> {
    vec![
        Panel::graph(
            "Written by topic",
            "Messages a second, by the slope of the end offsets: the $limit topics with the most within the time range. A topic \
             that is created anew counts as 0 while its offsets fall.",
            NEEDS_PARTITIONS,
        )
        .interval("5m")
        .unit("mps")
        .axis("written")
        .query(
            first(&written(F, Level::Topic), &written_in_range(F, Level::Topic)),
            "{{topic}} @ {{instance_id}}",
        ),
        Panel::graph(
            "Messages held by topic",
            "Messages that the topic holds: the $limit topics with the most within the time range.",
            NEEDS_TOPICS,
        )
        .axis("messages")
        .query(F.top(Level::Topic, MetricId::TopicMessages), "{{topic}} @ {{instance_id}}"),
        Panel::graph(
            "Last write by topic",
            "Time since the newest message of the topic was written: the $limit topics that were last written longest ago. It grows \
             while nothing is written.",
            "Nothing was written, or metrics.granularity is not partition",
        )
        .unit("s")
        .axis("ago")
        .query(
            format!(
                "time() - {}\nand\nbottomk($limit, {})",
                F.max(Level::Topic, MetricId::TopicLastWrite),
                F.peak(Level::Topic, MetricId::TopicLastWrite)
            ),
            "{{topic}} @ {{instance_id}}",
        ),
        Panel::graph(
            "Unread messages by topic",
            "Messages of the topic that its slowest group has left to read: the $limit topics with the most within the time range.",
            NEEDS_TOPICS,
        )
        .axis("messages")
        .query(F.top(Level::Topic, MetricId::GroupTopicLag), "{{topic}} @ {{instance_id}}"),
    ]
}

fn readers() -> Vec<Panel> {
    let level = Level::GroupTopic;
    let status = F.max(level, MetricId::GroupTopicStatus);
    let lag = F.max(level, MetricId::GroupTopicLag);
    let choice = format!("topk($limit, {status} * 1e16 + on ({on}) ({lag}) + 1 or {lag})", on = level.list());
    let row = |id| among(&F.max(level, id), &choice);
    let unknown = format!("({status} or {lag} * 0 - 1)");
    let links = [link(From::Row, "Open the group", Name::Group, level)];
    let none = format!("{} == 0", F.max(Level::Topic, MetricId::TopicGroups));
    let unread =
        format!("topk($limit, {} and ({none}) or {none})", F.max(Level::Topic, MetricId::TopicMessages));
    vec![
        Panel::table(
            "Groups that read the selected topics, the worst first",
            "Each group that has committed an offset on a selected topic. Click a group to see it on this topic. An empty cell is \
             not known.",
            "No group reads them, or metrics.granularity is group",
        )
        .size(24, 9)
        .rows(among(&unknown, &choice))
        .rows(row(MetricId::GroupTopicLag))
        .rows(row(MetricId::GroupTopicLagFloor))
        .rows(row(MetricId::GroupTopicLagSeconds))
        .rows(row(MetricId::GroupTopicConsumed))
        .rows(row(MetricId::GroupTopicCatchUp))
        .rows(among(&F.min(level, MetricId::GroupTopicLossEta), &choice))
        .columns(
            &[
                value('A', "Status", "none").words(&STATUS_OR_UNKNOWN).width(110),
                label("group", "Group").links(&links),
                label("topic", "Topic"),
                value('B', "Unread", "short").judged(MESSAGES),
                value('C', "Late, certainly", "s").decimals(1).judged(LAG_SECONDS),
                value('D', "Late, possibly", "s").decimals(1).judged(LAG_SECONDS),
                value('E', "Read /s", "short"),
                value('F', "Catches up in", "s").decimals(1),
                value('G', "Loses in", "s").decimals(1).judged(ETA_SECONDS),
                label("instance_id", "Instance id"),
                label("region", "Region"),
                label("account", "Account"),
            ],
            "Status",
        ),
        Panel::table(
            "Read by nobody",
            "Selected topics on which no group of the instance has committed an offset: the $limit that hold the most messages.",
            "Every selected topic is read, or not all groups are known yet",
        )
        .size(24, 6)
        .interval("5m")
        .rows(among(&none, &unread))
        .rows(among(&F.max(Level::Topic, MetricId::TopicMessages), &unread))
        .rows(among(&written(F, Level::Topic), &unread))
        .columns(
            &[
                label("topic", "Topic").links(&[link(From::Row, "Only this topic", Name::Topic, Level::Topic)]),
                value('B', "Held", "short"),
                value('C', "Written /s", "short"),
                label("instance_id", "Instance id"),
                label("region", "Region"),
                label("account", "Account"),
            ],
            "Held",
        )
        .hiding(&["Value #A"]),
    ]
}

fn topics() -> Panel {
    let level = Level::Topic;
    let choice = format!(
        "topk($limit, {} or {} * 0)",
        F.max(level, MetricId::TopicMessages),
        F.max(level, MetricId::TopicInfo)
    );
    let links = [
        link(From::Row, "Only this topic", Name::Topic, level),
        link(From::Row, "Open its groups", Name::Group, level),
    ];
    let info = F.max_with(level, "storage, cleanup", MetricId::TopicInfo);
    Panel::table(
        "Topics, the largest first",
        "The $limit selected topics that hold the most messages: where their messages lie and how old ones go, partitions, what is \
         written, and how many groups read.",
        "No topic is known",
    )
    .interval("5m")
    .rows(F.named(&format!("{info}\nand on ({})\n{choice}", level.list())))
    .rows(among(&F.max(level, MetricId::TopicPartitions), &choice))
    .rows(among(&F.max(level, MetricId::TopicMessages), &choice))
    .rows(among(&written(F, level), &choice))
    .rows(format!("time() - {}", among(&F.max(level, MetricId::TopicLastWrite), &choice)))
    .rows(among(&F.max(level, MetricId::TopicGroups), &choice))
    .columns(
        &[
            label("topic", "Topic").links(&links),
            value('B', "Partitions", "none").decimals(0),
            value('C', "Messages held", "short").width(145),
            value('D', "Written /s", "short"),
            value('E', "Last write", "s").decimals(1),
            value('F', "Groups", "none").decimals(0).judged(&[(None, "yellow"), (Some(1.0), "green")]),
            label("storage", "Storage"),
            label("cleanup", "Cleanup"),
            label("name", "Instance"),
            label("instance_id", "Instance id"),
            label("region", "Region"),
            label("account", "Account"),
        ],
        "Messages held",
    )
    .hiding(&["Value #A"])
}

/// The largest partition of a topic against the mean of all, where anything is there at all.
fn against_mean(level: Level, each: &str) -> String {
    format!("max by ({on}) ({each}) / (avg by ({on}) ({each}) > 0)", on = level.list())
}

fn skew() -> Vec<Panel> {
    let slope = F.slope(Level::TopicPartition, MetricId::TopicEnd);
    let slope_in_range = F.slope_of_range(Level::TopicPartition, MetricId::TopicEnd);
    let lag = F.max(Level::GroupPartition, MetricId::GroupLag);
    let lag_in_range = F.max_of(Level::GroupPartition, MetricId::GroupLag, |s| {
        format!("avg_over_time({s}[$__range] @ end())")
    });
    vec![
        Panel::graph(
            "Skew of what is written",
            "Messages a second of the partition that is written most, over the mean of all partitions of the topic: the $limit most \
             uneven over the time range. 1 is even; as many as there are partitions: all goes to one. Look for a hot key.",
            NEEDS_PARTITIONS,
        )
        .interval("5m")
        .unit("none")
        .decimals(1)
        .judged(SKEW)
        .axis("largest / mean")
        .query(
            first(&against_mean(Level::Topic, &slope), &against_mean(Level::Topic, &slope_in_range)),
            "{{topic}} @ {{instance_id}}",
        ),
        Panel::graph(
            "Skew of lag",
            "Unread messages of the partition that has the most, over the mean of all partitions that the group reads of the topic: \
             the $limit most uneven over the time range. Far above 1: a hot key, or one stuck consumer.",
            NEEDS_PARTITIONS,
        )
        .unit("none")
        .decimals(1)
        .judged(SKEW)
        .axis("largest / mean")
        .query(
            first(&against_mean(Level::GroupTopic, &lag), &against_mean(Level::GroupTopic, &lag_in_range)),
            "{{topic}} / {{group}} @ {{instance_id}}",
        )
        .links(&[link(From::Line, "Open the group", Name::Group, Level::GroupTopic)]),
    ]
}

fn partitions() -> Vec<Panel> {
    let level = Level::TopicPartition;
    let span = format!("{} - {}", F.max(level, MetricId::TopicEnd), F.max(level, MetricId::TopicStart));
    let span_in_range = format!(
        "{} - {}",
        F.max_of(level, MetricId::TopicEnd, |s| format!("{s} @ end()")),
        F.max_of(level, MetricId::TopicStart, |s| format!("{s} @ end()"))
    );
    let choice = format!("topk($limit, {})", F.max(level, MetricId::TopicEnd));
    vec![
        Panel::graph(
            "Written by partition",
            "Messages a second by the slope of the end offset: the $limit partitions with the most within the time range.",
            NEEDS_PARTITIONS,
        )
        .interval("5m")
        .unit("mps")
        .axis("written")
        .query(
            first(&F.slope(level, MetricId::TopicEnd), &F.slope_of_range(level, MetricId::TopicEnd)),
            "{{topic}}[{{partition}}] @ {{instance_id}}",
        ),
        Panel::graph(
            "Held by partition",
            "End offset less start offset: messages that the partition holds, or more where compaction removed some. The $limit \
             partitions with the most at the end of the time range.",
            NEEDS_PARTITIONS,
        )
        .axis("messages")
        .query(first(&span, &span_in_range), "{{topic}}[{{partition}}] @ {{instance_id}}"),
        Panel::graph(
            "Last write by partition",
            "Time since the newest message of the partition was written: the $limit partitions that were last written longest ago.",
            "Nothing was written, or metrics.granularity is not partition",
        )
        .unit("s")
        .axis("ago")
        .query(
            format!(
                "time() - {}\nand\nbottomk($limit, {})",
                F.max(level, MetricId::TopicLastWrite),
                F.peak(level, MetricId::TopicLastWrite)
            ),
            "{{topic}}[{{partition}}] @ {{instance_id}}",
        ),
        Panel::graph(
            "Lost by partition",
            "Messages of the partition that were deleted before a group read them, the most of any group: the $limit partitions \
             with the most within the time range.",
            NEEDS_PARTITIONS,
        )
        .judged(BAD_FROM_ONE)
        .mostly_zero()
        .axis("messages")
        .query(F.top(level, MetricId::GroupLost), "{{topic}}[{{partition}}] @ {{instance_id}}"),
        Panel::table(
            "Offsets",
            "Start and end offset of each partition, and when it was last written: the $limit partitions with the largest end \
             offset.",
            NEEDS_PARTITIONS,
        )
        .size(24, 9)
        .rows(among(&F.max(level, MetricId::TopicStart), &choice))
        .rows(choice.clone())
        .rows(format!("time() - {}", among(&F.max(level, MetricId::TopicLastWrite), &choice)))
        .columns(
            &[
                label("topic", "Topic"),
                label("partition", "Partition"),
                value('A', "Start offset", "none").decimals(0),
                value('B', "End offset", "none").decimals(0),
                value('C', "Last write", "s").decimals(1),
                label("instance_id", "Instance id"),
                label("region", "Region"),
                label("account", "Account"),
            ],
            "End offset",
        ),
    ]
}
