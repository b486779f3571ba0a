//! The board of all instances: what is there, and which groups are worst.

use alikafka_exporter::exposition::catalog::MetricId;

use super::{
    dashboard::{self, Annotation, Dashboard, From, Name, link},
    panel::{Panel, Row},
    query::{Filters, Level, among, first, only},
    shared::{COMPLETE, NEEDS_PARTITIONS, STATUS, STATUS_OR_UNKNOWN, to_group, written},
    style::{
        AGE_SECONDS, BAD_FROM_ONE, CATCH_UP, ETA_SECONDS, LAG_SECONDS, LOSS, MESSAGES, PLAIN, SHARE, label,
        value,
    },
};

const F: Filters = Filters(&[("account", "account"), ("region", "region"), ("instance_id", "instance")]);

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        name: Name::Fleet,
        description: "Alibaba Cloud Message Queue for Apache Kafka, read by alikafka-exporter: all instances, and the \
                      groups that are worst. Values are polled from the management API; Oldest data says how old they are.",
        variables: vec![
            dashboard::source(),
            dashboard::account(),
            dashboard::region(Filters(&F.0[..1])),
            dashboard::instance(Filters(&F.0[..2])),
            dashboard::limit(),
        ],
        annotations: vec![Annotation {
            name: "Region not read",
            color: "red",
            expr: format!("1 - {} > 0", F.max(Level::Region, MetricId::RegionUp)),
            title: "Region {{region}} was not read completely",
            text: "Values of the region may be missing or old.",
            tags: "region",
        }],
        rows: vec![
            Row::open("Now", numbers()),
            Row::open("Groups", vec![groups()]),
            Row::open("Worst groups over time", worst()),
            Row::open("Loss", loss()),
            Row::open("What instances use", instances()),
            Row::open("Written for nobody", vec![unread()]),
            Row::open("Complete passes", passes()),
            Row::closed("What was bought, and tags", vec![bought(), tags()]),
        ],
    }
}

fn numbers() -> Vec<Panel> {
    let ages = format!(
        "time() - {} and on ({}) {}",
        F.max_with(
            Level::Instance,
            "scope",
            only(MetricId::InstanceLastSuccess, "scope", "=~", "topics|groups")
        ),
        Level::Instance.list(),
        F.plain(MetricId::InstanceUp)
    );
    vec![
        Panel::stat(
            "Regions",
            "Regions that the exporter reads, and how many of them were not read completely at the last attempt.",
            "No region was tried yet",
        )
        .unit("none")
        .without_graph()
        .query(F.count(Level::Region, MetricId::RegionUp), "all")
        .query(format!("sum(1 - {})", F.max(Level::Region, MetricId::RegionUp)), "incomplete")
        .of_name("incomplete", &[("thresholds", super::style::thresholds_of_known(BAD_FROM_ONE))]),
        Panel::stat(
            "Instances",
            "Instances that the cloud lists, and how many of those in service were not read completely at the last \
             attempt. An instance that is stopped or released is not tried.",
            "No instance is known",
        )
        .unit("none")
        .without_graph()
        .query(F.count(Level::Instance, MetricId::InstanceInfo), "all")
        .query(format!("sum(1 - {})", F.max(Level::Instance, MetricId::InstanceUp)), "incomplete")
        .of_name("incomplete", &[("thresholds", super::style::thresholds_of_known(BAD_FROM_ONE))]),
        Panel::stat(
            "Groups",
            "Consumer groups of the selected instances, and how many of them are stalled, stopped, rewound or lose \
             messages (status 2 and above).",
            "No group is known",
        )
        .unit("none")
        .without_graph()
        .query(F.count(Level::Group, MetricId::GroupInfo), "all")
        .query(format!("sum({} >= bool 2)", F.max(Level::Group, MetricId::GroupStatus)), "in trouble")
        .of_name("in trouble", &[("thresholds", super::style::thresholds_of_known(BAD_FROM_ONE))]),
        Panel::stat(
            "Unread messages",
            "Messages that all groups of the selected instances have left to read. A topic that several groups read \
             counts once for each.",
            "No group's lag is known",
        )
        .judged(MESSAGES)
        .query(F.total(Level::Group, MetricId::GroupTotalLag), "unread"),
        Panel::stat(
            "Worst lag, certainly",
            "Floor of the age of the oldest unread message, of the group that is furthest behind: it is at least this \
             late.",
            "No group's lag is known",
        )
        .unit("s")
        .judged(LAG_SECONDS)
        .query(F.most(MetricId::GroupTotalLagFloor), "floor"),
        Panel::stat(
            "Worst lag, possibly",
            "Ceiling of the age of the oldest unread message, the largest of all groups: none is later than this, but \
             for groups whose ceiling is not known.",
            "No group's ceiling is known",
        )
        .unit("s")
        .judged(LAG_SECONDS)
        .query(F.most(MetricId::GroupTotalLagSeconds), "ceiling"),
        Panel::stat(
            "Messages lost",
            "Messages that retention deleted before a group had read them. They count until the group commits past the \
             oldest message held.",
            NEEDS_PARTITIONS,
        )
        .judged(BAD_FROM_ONE)
        .query(F.total(Level::GroupPartition, MetricId::GroupLost), "lost"),
        Panel::stat(
            "Soonest loss",
            "Forecast of the time until the first group loses messages to retention. 0 once one has lost some. \
             Needs metrics.granularity topic or partition.",
            "None foreseen, or known",
        )
        .unit("s")
        .judged(ETA_SECONDS)
        .query(F.least(MetricId::GroupTopicLossEta), "soonest"),
        Panel::stat(
            "Topics nobody reads",
            "Topics on which no group of the instance has committed an offset, so nobody reads them; or they are read \
             without a group.",
            "Not known: a group of each instance was not read yet",
        )
        .unit("none")
        .query(format!("sum({} == bool 0)", F.max(Level::Topic, MetricId::TopicGroups)), "unread"),
        Panel::stat(
            "Expiring",
            "Instances that have expired, or will within 30 days unless they are renewed. Those paid by use do not expire.",
            "No instance expires",
        )
        .decimals(0)
        .judged(BAD_FROM_ONE)
        .without_graph()
        .query(
            format!("sum({} - time() < bool 30 * 86400)", F.max(Level::Instance, MetricId::InstanceExpiry)),
            "expiring",
        ),
        Panel::stat(
            "Fullest topic quota",
            "Topics of the instance that uses the largest share of the topics that it may have.",
            "No quota is known",
        )
        .unit("percentunit")
        .decimals(0)
        .judged(SHARE)
        .query(
            format!(
                "max({} / {})",
                F.max(Level::Instance, MetricId::InstanceTopics),
                F.max(Level::Instance, MetricId::InstanceTopicLimit)
            ),
            "fullest",
        ),
        Panel::stat(
            "Oldest data",
            "Time since the oldest answer about a topic or a group of any instance in service. Values that could not be \
             refreshed within stale_after, 3 minutes unless set, leave the page.",
            "No instance was read yet",
        )
        .unit("s")
        .judged(AGE_SECONDS)
        .query(format!("max({ages})"), "oldest"),
    ]
}

/// The groups that the table has, worst status first, then most messages. Those of unknown status come after all with
/// a known one, those of unknown lag last.
fn choice() -> String {
    let status = F.max(Level::Group, MetricId::GroupStatus);
    let lag = F.max(Level::Group, MetricId::GroupTotalLag);
    let all = F.max(Level::Group, MetricId::GroupInfo);
    format!("topk($limit, {status} * 1e16 + {lag} + 1 or {status} * 1e16 or {lag} or {all} * 0)")
}

fn groups() -> Panel {
    let choice = choice();
    let status = format!(
        "({} or {} * 0 - 1)",
        F.max(Level::Group, MetricId::GroupStatus),
        F.max(Level::Group, MetricId::GroupInfo)
    );
    let row = |id| among(&F.max(Level::Group, id), &choice);
    let links = to_group(From::Row, Level::Group);
    Panel::table(
        "Groups, the worst first",
        "The selected groups, worst status first, then by messages. Certainly and possibly late are the floor and the \
         ceiling of the age of the oldest unread message. Click a group to see its topics and partitions. An empty cell is \
         not known; an empty forecast: it does not catch up, or does not lose messages.",
        "No group is known",
    )
    .size(24, 12)
    .rows(F.named(&among(&status, &choice)))
    .rows(row(MetricId::GroupTotalLag))
    .rows(row(MetricId::GroupTotalLagFloor))
    .rows(row(MetricId::GroupTotalLagSeconds))
    .rows(row(MetricId::GroupCatchUp))
    .rows(among(&F.min(Level::Group, MetricId::GroupTopicLossEta), &choice))
    .rows(among(&F.sum(Level::Group, Level::GroupPartition, MetricId::GroupLost), &choice))
    .columns(
        &[
            value('A', "Status", "none").words(&STATUS_OR_UNKNOWN).width(110),
            label("group", "Group").links(&links),
            value('B', "Unread", "short").judged(MESSAGES),
            value('C', "Late, certainly", "s").decimals(1).judged(LAG_SECONDS),
            value('D', "Late, possibly", "s").decimals(1).judged(LAG_SECONDS),
            value('E', "Catches up in", "s").decimals(1),
            value('F', "Loses in", "s").decimals(1).judged(ETA_SECONDS),
            value('G', "Lost", "short").judged(BAD_FROM_ONE),
            label("name", "Instance"),
            label("instance_id", "Instance id"),
            label("region", "Region"),
            label("account", "Account"),
        ],
        "Status",
    )
}

fn worst() -> Vec<Panel> {
    let links = to_group(From::Line, Level::Group);
    let by_status = STATUS.iter().fold(
        Panel::graph(
            "Groups by status",
            "How many of the selected groups have each status. What is not known is not counted.",
            "No group's status is known",
        )
        .stacked()
        .legend(&["lastNotNull", "max"])
        .decimals(0)
        .axis("groups"),
        |panel, (number, word, color)| {
            let count = format!("sum({} == bool {number})", F.max(Level::Group, MetricId::GroupStatus));
            panel.query(count, word).colored(word, color)
        },
    );
    let by_instance = F.named(&F.sum(Level::Instance, Level::Group, MetricId::GroupTotalLag));
    vec![
        Panel::graph(
            "Late, certainly: floor",
            "Lower bound of the age of the oldest unread message: the $limit groups with the largest within the time range. \
             Page on this.",
            "No group's lag is known",
        )
        .unit("s")
        .judged(LAG_SECONDS)
        .axis("age")
        .query(F.top(Level::Group, MetricId::GroupTotalLagFloor), "{{group}} @ {{instance_id}}")
        .links(&links),
        Panel::graph(
            "Late, possibly: ceiling",
            "Upper bound of the age of the oldest unread message: the $limit groups with the largest within the time range. \
             Absent while a partition has unread messages and no upper bound.",
            "No group's ceiling is known",
        )
        .unit("s")
        .judged(LAG_SECONDS)
        .axis("age")
        .query(F.top(Level::Group, MetricId::GroupTotalLagSeconds), "{{group}} @ {{instance_id}}")
        .links(&links),
        Panel::graph(
            "Unread messages by group",
            "Messages left to read: the $limit groups with the most within the time range.",
            "No group's lag is known",
        )
        .judged(MESSAGES)
        .axis("messages")
        .query(F.top(Level::Group, MetricId::GroupTotalLag), "{{group}} @ {{instance_id}}")
        .links(&links),
        Panel::graph(
            "Unread messages by instance",
            "Messages that the groups of each instance have left to read, over all of its groups.",
            "No group's lag is known",
        )
        .axis("messages")
        .query(by_instance, "{{name}} ({{instance_id}})"),
        by_status,
        Panel::graph(
            "Time to catch up",
            "Forecast of the time until a group has read all, at its present pace: the $limit with the longest within the \
             time range. Absent while lag does not shrink; a forecast of a day or longer is left out here, the table has it.",
            "No group catches up within a day",
        )
        .unit("s")
        .axis("forecast")
        .query(F.top_below(Level::Group, MetricId::GroupCatchUp, CATCH_UP), "{{group}} @ {{instance_id}}")
        .links(&links),
    ]
}

fn loss() -> Vec<Panel> {
    let links = to_group(From::Line, Level::GroupTopic);
    let lost = F.sum(Level::GroupTopic, Level::GroupPartition, MetricId::GroupLost);
    let peak = format!(
        "sum by ({}) ({})",
        Level::GroupTopic.list(),
        F.peak(Level::GroupPartition, MetricId::GroupLost)
    );
    vec![
        Panel::graph(
            "Messages lost to retention",
            "Messages that were deleted before the group read them, over the partitions of a topic: the $limit pairs of group \
             and topic with the most. The value stands until the group commits past the oldest message held.",
            "Nothing is known to be lost; needs metrics.granularity partition",
        )
        .judged(BAD_FROM_ONE)
        .axis("messages")
        .query(first(&format!("{lost} > 0"), &peak), "{{group}} / {{topic}} @ {{instance_id}}")
        .links(&links),
        Panel::graph(
            "Forecast of loss",
            "Time until messages of the topic are deleted before the group has read them: the $limit pairs of group and topic \
             with the least within the time range. 0 once some are lost. A forecast of 7 days or longer is left out here, the table has \
             it.",
            "No loss is foreseen within 7 days, or metrics.granularity is group",
        )
        .unit("s")
        .judged(ETA_SECONDS)
        .legend(&["min", "lastNotNull"])
        .axis("forecast")
        .query(F.bottom_below(Level::GroupTopic, MetricId::GroupTopicLossEta, LOSS), "{{group}} / {{topic}} @ {{instance_id}}")
        .links(&links),
    ]
}

fn instances() -> Vec<Panel> {
    let days = format!("({} - time()) / 86400", F.max(Level::Instance, MetricId::InstanceExpiry));
    let share = format!(
        "{} / {}",
        F.max(Level::Instance, MetricId::InstanceTopics),
        F.max(Level::Instance, MetricId::InstanceTopicLimit)
    );
    let links = [
        link(From::Row, "Open its groups", Name::Group, Level::Instance),
        link(From::Row, "Open its topics", Name::Topic, Level::Instance),
        link(From::Row, "Open how it is read", Name::Exporter, Level::Instance),
    ];
    vec![
        Panel::table(
            "Instances, the fullest first",
            "Every selected instance: its state by the cloud, whether the last pass over it was complete, when it expires, and what \
             it uses of what it may have. An empty cell was not told. Click a name for its groups, its topics, or how it is read.",
            "No instance is known",
        )
        .size(24, 10)
        .rows(F.max_with(Level::Instance, "name", MetricId::InstanceInfo))
        .rows(format!("{} == 1", F.max_with(Level::Instance, "state", MetricId::InstanceState)))
        .rows(F.max(Level::Instance, MetricId::InstanceUp))
        .rows(days.clone())
        .rows(F.max(Level::Instance, MetricId::InstanceTopics))
        .rows(F.max(Level::Instance, MetricId::InstanceTopicLimit))
        .rows(share.clone())
        .rows(F.max(Level::Instance, MetricId::InstancePartitions))
        .rows(F.max(Level::Instance, MetricId::InstanceGroups))
        .columns(
            &[
                label("name", "Instance").links(&links),
                label("instance_id", "Instance id").links(&links),
                label("region", "Region"),
                label("account", "Account"),
                label("state", "State"),
                value('C', "Last pass", "none").words(&COMPLETE).width(110),
                value('D', "Days left", "none")
                    .decimals(0)
                    .judged(&[(None, "red"), (Some(7.0), "yellow"), (Some(30.0), "green")]),
                value('E', "Topics", "none"),
                value('F', "of", "none"),
                value('G', "Quota", "percentunit").decimals(0).bar(SHARE),
                value('H', "Partitions", "none"),
                value('I', "Groups", "none"),
            ],
            "Quota",
        )
        .hiding(&["Value #A", "Value #B"]),
        Panel::table(
            "Expiring instances",
            "The $limit instances that expire first, or have, among those that expire within 30 days unless they are renewed. After \
             that the cloud stops them, and later deletes what they hold.",
            "No instance expires within 30 days",
        )
        .size(12, 9)
        .rows(F.named(&format!("bottomk($limit, {days} < 30)")))
        .columns(
            &[
                label("name", "Instance"),
                label("instance_id", "Instance id"),
                label("region", "Region"),
                label("account", "Account"),
                value('A', "Days left", "none")
                    .decimals(0)
                    .judged(&[(None, "red"), (Some(7.0), "yellow")]),
            ],
            "Days left",
        )
        .ascending(),
        Panel::graph(
            "Topic quotas",
            "Topics that an instance has as a share of the topics that it may have: the $limit instances with the largest now. \
             At 100 % no topic can be created.",
            "No quota is known",
        )
        .size(12, 9)
        .unit("percentunit")
        .max(1.0)
        .judged(SHARE)
        .query(
            F.named(&first(&share, &share_at_end())),
            "{{name}} ({{instance_id}})",
        ),
    ]
}

/// The share of topics at the end of the time range, to choose by.
fn share_at_end() -> String {
    format!(
        "{} / {}",
        F.max_of(Level::Instance, MetricId::InstanceTopics, |s| format!("{s} @ end()")),
        F.max_of(Level::Instance, MetricId::InstanceTopicLimit, |s| format!("{s} @ end()"))
    )
}

fn unread() -> Panel {
    let none = format!("{} == 0", F.max(Level::Topic, MetricId::TopicGroups));
    let choice =
        format!("topk($limit, {} and ({none}) or {none})", F.max(Level::Topic, MetricId::TopicMessages));
    Panel::table(
        "Topics that nobody reads",
        "Topics on which no group of the instance has committed an offset: the $limit that hold the most messages. What is \
         still written to them takes disk for nothing, unless it is read without a group.",
        "Every topic is read, or not all groups of the instance are known yet",
    )
    .size(24, 7)
    .interval("5m")
    .rows(F.named(&among(&none, &choice)))
    .rows(among(&F.max(Level::Topic, MetricId::TopicMessages), &choice))
    .rows(among(&written(F, Level::Topic), &choice))
    .rows(format!(
        "time() - {}",
        among(&F.max(Level::Topic, MetricId::TopicLastWrite), &choice)
    ))
    .columns(
        &[
            label("topic", "Topic").links(&[link(From::Row, "Open the topic", Name::Topic, Level::Topic)]),
            value('B', "Messages held", "short").width(145),
            value('C', "Written /s", "short"),
            value('D', "Last write", "s").decimals(1),
            label("name", "Instance"),
            label("instance_id", "Instance id"),
            label("region", "Region"),
            label("account", "Account"),
        ],
        "Messages held",
    )
    .hiding(&["Value #A"])
}

fn passes() -> Vec<Panel> {
    let worst = format!(
        "bottomk($limit, {})",
        F.max_of(Level::Instance, MetricId::InstanceUp, |s| format!("avg_over_time({s}[$__range] @ end())"))
    );
    vec![
        Panel::timeline(
            "Regions: complete passes",
            "Whether the last attempt to read a region was complete, on any exporter that watches it.",
            "No region was tried yet",
        )
        .words(&COMPLETE)
        .query(F.max(Level::Region, MetricId::RegionUp), "{{account}} {{region}}"),
        Panel::timeline(
            "Instances: complete passes",
            "Whether the last pass over an instance was complete, on any exporter that watches it: the $limit that failed most \
             within the time range. A pass with one failed topic or group is not complete.",
            "No instance was tried yet",
        )
        .words(&COMPLETE)
        .query(F.named(&among(&F.max(Level::Instance, MetricId::InstanceUp), &worst)), "{{name}} ({{instance_id}})"),
    ]
}

fn bought() -> Panel {
    Panel::table(
        "What was bought",
        "Every selected instance: what it is by the cloud, how it is paid, its disk, how long messages are kept, and when it was \
         made. An empty cell was not told.",
        "No instance is known",
    )
    .rows(F.max_with(
        Level::Instance,
        "name, series, spec_type, version, deploy_type, paid_type, disk_type",
        MetricId::InstanceInfo,
    ))
    .rows(F.max(Level::Instance, MetricId::InstanceDiskSize))
    .rows(F.max(Level::Instance, MetricId::InstanceRetention))
    .rows(format!("{} * 1000", F.max(Level::Instance, MetricId::InstanceCreation)))
    .columns(
        &[
            label("name", "Instance"),
            label("instance_id", "Instance id"),
            label("region", "Region"),
            label("account", "Account"),
            label("series", "Series").width(110),
            label("spec_type", "Spec").width(130),
            label("version", "Version").width(95),
            label("deploy_type", "Network").width(105),
            label("paid_type", "Paid").width(105),
            label("disk_type", "Disk type").width(120),
            value('B', "Disk", "bytes").width(95),
            value('C', "Retention", "s"),
            value('D', "Created", "dateTimeAsIso"),
        ],
        "Created",
    )
    .hiding(&["Value #A"])
}

fn tags() -> Panel {
    Panel::table(
        "Tags of instances",
        "The tags of instances that metrics.instance_tags allows, one column for each. An empty cell is a tag that the \
         instance lacks.",
        "No tag is exported: list them in metrics.instance_tags",
    )
    .judged(PLAIN)
    .rows(format!("max without (job, instance, pod) ({})", F.plain(MetricId::InstanceTags)))
    .columns(
        &[
            label("instance_id", "Instance id"),
            label("region", "Region"),
            label("account", "Account"),
        ],
        "Instance id",
    )
    .hiding(&["Value", "__name__"])
    .more_labels("/^tag_/")
}
