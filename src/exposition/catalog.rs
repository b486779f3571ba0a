//! Every metric of the page, one row each: the contract from which HELP and TYPE lines, the reference page
//! `docs/metrics.md`, and the checks of dashboards and alerts derive.
//!
//! Owns: names, types, units, help, labels, stability, and the names that kafka_exporter has for the same
//! thing. Refuses: values.

use MetricSource::{Exporter, Groups, Instances, Lists, Process, Topics};
use MetricType::{Counter, Gauge, Histogram};
use Stability::{Evolving, Stable};

use crate::model::Naming;

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// A value that goes up and down.
    Gauge,
    /// A value that only grows while the process lives.
    Counter,
    /// Observations counted in buckets.
    Histogram,
}

impl MetricType {
    /// The word of the TYPE line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Gauge => "gauge",
            Counter => "counter",
            Histogram => "histogram",
        }
    }
}

/// The unit of a family's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricUnit {
    /// A constant, a state, or a number of the things that the name ends with.
    None,
    /// A position in a partition.
    Offset,
    /// Messages.
    Messages,
    /// Messages a second.
    MessagesPerSecond,
    /// Seconds, or the seconds since 1970-01-01 UTC.
    Seconds,
    /// Bytes.
    Bytes,
    /// Requests a second.
    RequestsPerSecond,
}

impl MetricUnit {
    /// What the name of a family of this unit ends with, before `_total`.
    #[must_use]
    pub fn suffix(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Offset => Some("_offset"),
            Self::Messages => Some("_messages"),
            Self::MessagesPerSecond => Some("_messages_per_second"),
            Self::Seconds => Some("_seconds"),
            Self::Bytes => Some("_bytes"),
            Self::RequestsPerSecond => Some("_requests_per_second"),
        }
    }
}

/// How far users may rely on a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// Name, labels and meaning change only with a major version.
    Stable,
    /// May change with a minor version, with a word in the change log.
    Evolving,
}

impl Stability {
    /// The word of the documentation.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Stable => "stable",
            Evolving => "evolving",
        }
    }
}

/// Where values come from, and so how often they are asked for and where their age is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricSource {
    /// `GetInstanceList` of the region.
    Instances,
    /// `GetTopicList` and `GetConsumerList` of the instance.
    Lists,
    /// `GetTopicStatus` of each topic.
    Topics,
    /// `GetConsumerProgress` of each group.
    Groups,
    /// The exporter itself.
    Exporter,
    /// The operating system.
    Process,
}

impl MetricSource {
    /// The sentence that ends the help of a family, with a blank before it; empty where nothing is polled.
    #[must_use]
    pub fn note(self) -> &'static str {
        match self {
            Instances => {
                " Polled every discovery_interval; age: \
                 alikafka_region_last_success_timestamp_seconds, scope discovery."
            }
            Lists => {
                " Polled every discovery_interval; age: \
                 alikafka_instance_last_success_timestamp_seconds, scope discovery."
            }
            Topics => {
                " Polled every topic_poll_interval, or idle_poll_interval while nothing moves; age: \
                 alikafka_instance_last_success_timestamp_seconds, scope topics."
            }
            Groups => {
                " Polled every poll_interval, or idle_poll_interval while nothing moves; age: \
                 alikafka_instance_last_success_timestamp_seconds, scope groups."
            }
            Exporter | Process => "",
        }
    }
}

/// The name and the labels that kafka_exporter has for a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KafkaExporterName {
    /// The name.
    pub name: &'static str,
    /// The labels, with `region` and `instance_id` before kafka_exporter's own.
    pub labels: &'static [&'static str],
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricFamily {
    /// Which row this is.
    pub id: MetricId,
    /// The name on the page.
    pub name: &'static str,
    /// The type.
    pub kind: MetricType,
    /// The unit of the values.
    pub unit: MetricUnit,
    /// The labels, without constant ones and without `account`, which comes first where accounts are
    /// named and a series belongs to one.
    pub labels: &'static [&'static str],
    /// Where the values come from.
    pub source: MetricSource,
    /// How far users may rely on it.
    pub stability: Stability,
    /// kafka_exporter's name, if it has the same thing.
    pub kafka_exporter: Option<KafkaExporterName>,
    /// What the value is, naming the field of the API.
    pub help: &'static str,
}

impl MetricFamily {
    /// The name under a naming.
    #[must_use]
    pub fn name_in(&self, naming: Naming) -> &'static str {
        match (naming, self.kafka_exporter) {
            (Naming::KafkaExporter, Some(theirs)) => theirs.name,
            _ => self.name,
        }
    }

    /// The labels under a naming.
    #[must_use]
    pub fn labels_in(&self, naming: Naming) -> &'static [&'static str] {
        match (naming, self.kafka_exporter) {
            (Naming::KafkaExporter, Some(theirs)) => theirs.labels,
            _ => self.labels,
        }
    }

    /// The text of the HELP line: what the value is, how often it is asked for, and where its age is.
    #[must_use]
    pub fn help_text(&self) -> String {
        format!("{}{}", self.help, self.source.note())
    }

    /// Whether each partition has its own series.
    #[must_use]
    pub fn is_per_partition(&self) -> bool {
        self.labels.contains(&"partition")
    }

    /// Whether each topic has its own series, or several.
    #[must_use]
    pub fn is_per_topic(&self) -> bool {
        self.labels.contains(&"topic")
    }
}

/// The row of a family.
#[must_use]
pub fn family(id: MetricId) -> &'static MetricFamily {
    &FAMILIES[id as usize]
}

/// Whether a label of this name can be put on every series: it is a label name, and no family and no
/// exposition format has a meaning for it.
#[must_use]
pub fn is_free_label(name: &str) -> bool {
    let mut chars = name.chars();
    let valid = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with("__")
        && !name.starts_with("tag_");
    let taken = ["account", "le", "quantile"].contains(&name)
        || FAMILIES
            .iter()
            .any(|f| f.labels.contains(&name) || f.kafka_exporter.is_some_and(|k| k.labels.contains(&name)));
    valid && !taken
}

const NONE: &[&str] = &[];
const REGION: &[&str] = &["region"];
const INSTANCE: &[&str] = &["region", "instance_id"];
const TOPIC: &[&str] = &["region", "instance_id", "topic"];
const TOPIC_PARTITION: &[&str] = &["region", "instance_id", "topic", "partition"];
const GROUP: &[&str] = &["region", "instance_id", "group"];
const GROUP_TOPIC: &[&str] = &["region", "instance_id", "group", "topic"];
const GROUP_PARTITION: &[&str] = &["region", "instance_id", "group", "topic", "partition"];
const THEIR_GROUP_TOPIC: &[&str] = &["region", "instance_id", "consumergroup", "topic"];
const THEIR_GROUP_PARTITION: &[&str] = &["region", "instance_id", "consumergroup", "topic", "partition"];
const CALL: &[&str] = &["region", "action"];
const BUILD: &[&str] = &["version", "revision", "rustversion"];

macro_rules! catalog {
    ($($id:ident, $name:literal, $kind:ident, $unit:ident, $labels:expr, $source:ident, $stability:ident,
       $(= $theirs:literal $their_labels:expr,)? $help:literal;)*) => {
        /// The rows of the catalog, by what they are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MetricId {
            $(#[doc = concat!("`", $name, "`")] $id,)*
        }

        /// Every metric, in the order of the page.
        pub const FAMILIES: [MetricFamily; [$(MetricId::$id),*].len()] = [$(MetricFamily {
            id: MetricId::$id,
            name: $name,
            kind: $kind,
            unit: MetricUnit::$unit,
            labels: $labels,
            source: $source,
            stability: $stability,
            kafka_exporter: catalog!(@theirs $($theirs $their_labels)?),
            help: $help,
        },)*];
    };
    (@theirs) => { None };
    (@theirs $name:literal $labels:expr) => { Some(KafkaExporterName { name: $name, labels: $labels }) };
}

catalog! {
    InstanceInfo, "alikafka_instance_info", Gauge, None,
        &["region", "instance_id", "name", "series", "spec_type", "version", "deploy_type", "paid_type", "disk_type"],
        Instances, Stable,
        "1, with what the instance is (GetInstanceList: Name, Series, SpecType, Current2OpenSourceVersion, DeployType, PaidType, DiskType). An empty label was not told.";
    InstanceState, "alikafka_instance_state", Gauge, None, &["region", "instance_id", "state"], Instances, Stable,
        "1 for the state that the instance is in, 0 for the other known ones (GetInstanceList ViewInstanceStatusCode, else ServiceStatus).";
    InstanceTags, "alikafka_instance_tags", Gauge, None, INSTANCE, Instances, Stable,
        "1, with the allowed tags of the instance (metrics.instance_tags) as labels tag_KEY, where each character of KEY but ASCII letters and digits is _ (GetInstanceList Tags). An empty label is a tag that the instance lacks.";
    InstanceCreation, "alikafka_instance_creation_timestamp_seconds", Gauge, Seconds, INSTANCE, Instances, Stable,
        "When the instance was created, in unix time (GetInstanceList CreateTime).";
    InstanceExpiry, "alikafka_instance_expiry_timestamp_seconds", Gauge, Seconds, INSTANCE, Instances, Stable,
        "When the instance expires, in unix time (GetInstanceList ExpiredTime).";
    InstanceTopics, "alikafka_instance_topics", Gauge, None, INSTANCE, Instances, Stable,
        "Topics that the instance has, by its own count (GetInstanceList UsedTopicCount).";
    InstanceTopicLimit, "alikafka_instance_topic_limit", Gauge, None, INSTANCE, Instances, Stable,
        "Topics that the instance may have (GetInstanceList TopicNumLimit).";
    InstancePartitions, "alikafka_instance_partitions", Gauge, None, INSTANCE, Instances, Stable,
        "Partitions that the instance has, by its own count (GetInstanceList UsedPartitionCount).";
    InstanceGroups, "alikafka_instance_groups", Gauge, None, INSTANCE, Instances, Stable,
        "Consumer groups that the instance has, by its own count (GetInstanceList UsedGroupCount).";
    InstanceDiskSize, "alikafka_instance_disk_size_bytes", Gauge, Bytes, INSTANCE, Instances, Stable,
        "Disk size that was bought (GetInstanceList DiskSize).";
    InstanceRetention, "alikafka_instance_message_retention_seconds", Gauge, Seconds, INSTANCE, Instances, Stable,
        "How long messages are kept (GetInstanceList MsgRetain).";

    TopicInfo, "alikafka_topic_info", Gauge, None, &["region", "instance_id", "topic", "storage", "cleanup"], Lists, Stable,
        "1, with where the messages of the topic lie (cloud or local) and how old ones go (delete or compact) (GetTopicList LocalTopic, CompactTopic). An empty label was not told.";
    TopicPartitions, "alikafka_topic_partitions", Gauge, None, TOPIC, Lists, Stable,
        = "kafka_topic_partitions" TOPIC,
        "Partitions of the topic (GetTopicList PartitionNum).";
    TopicStart, "alikafka_topic_partition_start_offset", Gauge, Offset, TOPIC_PARTITION, Topics, Stable,
        = "kafka_topic_partition_oldest_offset" TOPIC_PARTITION,
        "Offset of the oldest message held (GetTopicStatus MinOffset).";
    TopicEnd, "alikafka_topic_partition_end_offset", Gauge, Offset, TOPIC_PARTITION, Topics, Stable,
        = "kafka_topic_partition_current_offset" TOPIC_PARTITION,
        "Offset that the next message will have (GetTopicStatus MaxOffset, or the BrokerOffset of a later GetConsumerProgress).";
    TopicLastWrite, "alikafka_topic_partition_last_write_timestamp_seconds", Gauge, Seconds, TOPIC_PARTITION, Topics, Stable,
        "When the newest message was written, in unix time (GetTopicStatus LastUpdateTimestamp). Absent where nothing was written.";
    TopicMessages, "alikafka_topic_messages", Gauge, Messages, TOPIC, Topics, Stable,
        "Messages that the topic holds (GetTopicStatus TotalCount).";
    TopicGroups, "alikafka_topic_groups", Gauge, None, TOPIC, Groups, Stable,
        "Consumer groups with a committed offset on the topic, 0 where nobody reads it (GetConsumerProgress ConsumerOffset). Absent until every group of the instance is known.";

    GroupInfo, "alikafka_group_info", Gauge, None, GROUP, Lists, Stable,
        "1 for every consumer group of the instance (GetConsumerList ConsumerId).";
    GroupState, "alikafka_group_state", Gauge, None, &["region", "instance_id", "group", "state"], Groups, Stable,
        "1 for the state that the group is in, 0 for the other ones: stable, preparing_rebalance, completing_rebalance, empty, dead (GetConsumerProgress state). Absent where the cloud does not tell it.";
    GroupRebalances, "alikafka_group_rebalances_total", Counter, None, GROUP, Groups, Evolving,
        "Rebalances of the group since the exporter first saw it (GetConsumerProgress RebalanceInfoList). Absent where the cloud does not tell them.";
    GroupLastRebalance, "alikafka_group_last_rebalance_timestamp_seconds", Gauge, Seconds, GROUP, Groups, Evolving,
        "When the group was last rebalanced, in unix time (GetConsumerProgress RebalanceInfoList LastRebalanceTimestamp). Absent where the cloud does not tell it.";
    GroupOffset, "alikafka_group_partition_offset", Gauge, Offset, GROUP_PARTITION, Groups, Stable,
        = "kafka_consumergroup_current_offset" THEIR_GROUP_PARTITION,
        "Offset that the group has committed (GetConsumerProgress ConsumerOffset). Absent where it has committed none.";
    GroupLag, "alikafka_group_partition_lag_messages", Gauge, Messages, GROUP_PARTITION, Groups, Stable,
        = "kafka_consumergroup_lag" THEIR_GROUP_PARTITION,
        "Messages of the partition that the group has left to read, 0 or more (GetConsumerProgress BrokerOffset - ConsumerOffset of one answer). Absent where nothing is committed.";
    GroupTopicLag, "alikafka_group_topic_lag_messages", Gauge, Messages, GROUP_TOPIC, Groups, Stable,
        = "kafka_consumergroup_lag_sum" THEIR_GROUP_TOPIC,
        "Messages of the topic that the group has left to read, over the partitions whose lag is known (GetConsumerProgress BrokerOffset - ConsumerOffset).";
    GroupTotalLag, "alikafka_group_lag_messages", Gauge, Messages, GROUP, Groups, Stable,
        "Messages that the group has left to read, over the partitions whose lag is known (GetConsumerProgress BrokerOffset - ConsumerOffset).";
    GroupLastConsumed, "alikafka_group_partition_last_consumed_timestamp_seconds", Gauge, Seconds, GROUP_PARTITION, Groups, Stable,
        "When the message that the group has read last was stored, in unix time (GetConsumerProgress LastTimestamp). Absent where the cloud does not tell it, and, unless last_timestamps is always, while a group reads on without lag.";
    GroupLagSeconds, "alikafka_group_partition_lag_seconds", Gauge, Seconds, GROUP_PARTITION, Groups, Stable,
        "Upper bound of the age of the oldest unread message, 0 where all is read: the time since the message that was read last was stored, or since the newest poll at which nothing after it was written, whichever is less (GetConsumerProgress LastTimestamp, BrokerOffset, ConsumerOffset). Absent where neither is known, or where the two bounds contradict each other.";
    GroupTopicLagSeconds, "alikafka_group_topic_lag_seconds", Gauge, Seconds, GROUP_TOPIC, Groups, Stable,
        "Upper bound of the age of the oldest unread message of the topic, 0 where all is read: the largest of its partitions (GetConsumerProgress LastTimestamp, BrokerOffset, ConsumerOffset). Absent where one of them has messages left to read and no upper bound.";
    GroupTotalLagSeconds, "alikafka_group_lag_seconds", Gauge, Seconds, GROUP, Groups, Stable,
        "Upper bound of the age of the oldest unread message of the group, 0 where all is read: the largest of its topics (GetConsumerProgress LastTimestamp, BrokerOffset, ConsumerOffset). Absent where one of them has messages left to read and no upper bound.";
    GroupLagFloor, "alikafka_group_partition_lag_floor_seconds", Gauge, Seconds, GROUP_PARTITION, Groups, Stable,
        "Lower bound of the age of the oldest unread message, 0 where all is read: the time since the newest message was written, or since the oldest poll at which there was a message to read that is unread now, whichever is more, and 0 where neither is known (GetTopicStatus LastUpdateTimestamp, GetConsumerProgress BrokerOffset, ConsumerOffset). Absent where the lag is not known, or where the two bounds contradict each other.";
    GroupTopicLagFloor, "alikafka_group_topic_lag_floor_seconds", Gauge, Seconds, GROUP_TOPIC, Groups, Stable,
        "Lower bound of the age of the oldest unread message of the topic, 0 where all is read: the largest of its partitions (GetTopicStatus LastUpdateTimestamp, GetConsumerProgress BrokerOffset, ConsumerOffset). Absent where none of them has one.";
    GroupTotalLagFloor, "alikafka_group_lag_floor_seconds", Gauge, Seconds, GROUP, Groups, Stable,
        "Lower bound of the age of the oldest unread message of the group, 0 where all is read: the largest of its topics (GetTopicStatus LastUpdateTimestamp, GetConsumerProgress BrokerOffset, ConsumerOffset). Absent where none of them has one.";
    GroupTopicStatus, "alikafka_group_topic_status", Gauge, None, GROUP_TOPIC, Groups, Stable,
        "What is the matter with the group on the topic: 0 ok, 1 lagging (it reads, and lag grows), 2 stalled (it reads nothing and has members), 3 stopped (it reads nothing and has none), 4 rewound (its offset fell back or is past the end), 5 data loss (messages were deleted before it read them); the worst of the partitions, over the polls of status_window (GetConsumerProgress ConsumerOffset, BrokerOffset, state, GetTopicStatus MinOffset). Absent while unknown.";
    GroupStatus, "alikafka_group_status", Gauge, None, GROUP, Groups, Stable,
        "What is the matter with the group, the worst of its topics: 0 ok, 1 lagging, 2 stalled, 3 stopped, 4 rewound, 5 data loss (GetConsumerProgress ConsumerOffset, BrokerOffset, state, GetTopicStatus MinOffset). Absent while unknown.";
    GroupTopicConsumable, "alikafka_group_topic_consumable_lag_messages", Gauge, Messages, GROUP_TOPIC, Groups, Evolving,
        "Messages of the topic that the group has left to read and that are still held: lag without what was deleted (GetConsumerProgress BrokerOffset less ConsumerOffset or GetTopicStatus MinOffset, whichever is larger, or ConsumerOffset alone where MinOffset is not known). Absent where the lag is not known.";
    GroupConsumable, "alikafka_group_consumable_lag_messages", Gauge, Messages, GROUP, Groups, Evolving,
        "Messages that the group has left to read and that are still held: lag without what was deleted (GetConsumerProgress BrokerOffset less ConsumerOffset or GetTopicStatus MinOffset, whichever is larger, or ConsumerOffset alone where MinOffset is not known). Absent where the lag is not known.";
    GroupTopicConsumed, "alikafka_group_topic_consumed_messages_per_second", Gauge, MessagesPerSecond, GROUP_TOPIC, Groups, Evolving,
        "Messages a second that the group has read of the topic, over the polls of status_window (GetConsumerProgress ConsumerOffset). Absent until there are enough of them.";
    GroupTopicProduced, "alikafka_group_topic_produced_messages_per_second", Gauge, MessagesPerSecond, GROUP_TOPIC, Groups, Evolving,
        "Messages a second that were written to the partitions of the topic that the group reads, over the polls of status_window (GetConsumerProgress BrokerOffset). Absent until there are enough of them.";
    GroupTopicCatchUp, "alikafka_group_topic_catch_up_seconds", Gauge, Seconds, GROUP_TOPIC, Groups, Evolving,
        "Forecast of the time until the group has read all of the topic, at the pace of status_window, 0 where all is read (GetConsumerProgress BrokerOffset, ConsumerOffset). Absent while lag does not shrink, or a partition stands still.";
    GroupCatchUp, "alikafka_group_catch_up_seconds", Gauge, Seconds, GROUP, Groups, Evolving,
        "Forecast of the time until the group has read all, at the pace of status_window, 0 where all is read: the largest of its topics (GetConsumerProgress BrokerOffset, ConsumerOffset). Absent while the lag of a topic does not shrink.";
    GroupTopicLossEta, "alikafka_group_topic_data_loss_eta_seconds", Gauge, Seconds, GROUP_TOPIC, Groups, Evolving,
        "Forecast of the time until messages of the topic are deleted before the group has read them, from how fast retention comes nearer and from how long messages are kept (GetTopicStatus MinOffset, GetConsumerProgress ConsumerOffset, GetInstanceList MsgRetain). 0 once messages are lost and some are left to read. Absent while it comes no nearer, for compacted topics, and where neither is known.";
    GroupMargin, "alikafka_group_partition_retention_margin_messages", Gauge, Messages, GROUP_PARTITION, Groups, Stable,
        "Messages between the oldest one held and the committed offset (GetConsumerProgress ConsumerOffset - GetTopicStatus MinOffset). Absent once messages are lost, or where either is unknown.";
    GroupLost, "alikafka_group_partition_lost_messages", Gauge, Messages, GROUP_PARTITION, Groups, Stable,
        "Messages that were deleted before the group has read them, 0 or more (GetTopicStatus MinOffset - GetConsumerProgress ConsumerOffset). Absent where either is unknown.";

    RegionUp, "alikafka_region_up", Gauge, None, REGION, Exporter, Stable,
        "Whether the region could be read: GetInstanceList, and at least one of its instances in service, if any, completely. Stays at 0 after the data is dropped.";
    InstanceUp, "alikafka_instance_up", Gauge, None, INSTANCE, Exporter, Stable,
        "Whether the last attempt to read the instance was complete (GetTopicList, GetTopicStatus, GetConsumerList, GetConsumerProgress). Stays at 0 after the data is dropped.";
    RegionLastSuccess, "alikafka_region_last_success_timestamp_seconds", Gauge, Seconds, &["region", "scope"], Exporter, Stable,
        "When the region was last read without a failure, in unix time, by scope: discovery (GetInstanceList and the lists), topics (GetTopicStatus), groups (GetConsumerProgress). The age of the data is time() less this.";
    InstanceLastSuccess, "alikafka_instance_last_success_timestamp_seconds", Gauge, Seconds, &["region", "instance_id", "scope"], Exporter, Stable,
        "When the instance was last read without a failure, in unix time, by scope: discovery (GetTopicList, GetConsumerList), topics (oldest GetTopicStatus), groups (oldest GetConsumerProgress). The age of the data is time() less this.";
    Objects, "alikafka_exporter_objects", Gauge, None, &["region", "kind"], Exporter, Stable,
        "Objects that the exporter knows after filters, by kind: instances, topics, groups.";

    ApiRequests, "alikafka_exporter_api_requests_total", Counter, None, &["region", "action", "result"], Exporter, Stable,
        "Attempts to call the management API, by action and result (ok, or the kind of failure).";
    ApiDuration, "alikafka_exporter_api_request_duration_seconds", Histogram, Seconds, &["action"], Exporter, Stable,
        "How long attempts to call the management API took, body included, by action.";
    ApiRetries, "alikafka_exporter_api_retries_total", Counter, None, CALL, Exporter, Stable,
        "Attempts that repeated a failed one, by action.";
    ApiBudget, "alikafka_exporter_api_budget_requests_per_second", Gauge, RequestsPerSecond, CALL, Exporter, Stable,
        "Calls that the exporter may make now, by action: as configured (requests_per_second, request_rates), or less while the cloud throttles.";
    ApiDemand, "alikafka_exporter_api_demand_requests_per_second", Gauge, RequestsPerSecond, CALL, Exporter, Stable,
        "Calls that the fleet needs for every value to be polled in its interval, by action; idle_poll_interval where nothing moves. Above the budget, polls are late.";
    PollLateness, "alikafka_exporter_poll_lateness_seconds", Histogram, Seconds, REGION, Exporter, Stable,
        "How long after its due time a topic, a group or a list was polled.";
    Series, "alikafka_exporter_series", Gauge, None, NONE, Exporter, Stable,
        "Series of the fleet on the page. Those that come from the exporter's process, such as this one, are not counted.";
    DroppedSeries, "alikafka_exporter_dropped_series_total", Counter, None, &["reason"], Exporter, Stable,
        "Series that were left out of a page, summed over all pages rendered, by reason (max_series: the limit metrics.max_series).";
    Anomalies, "alikafka_exporter_anomalies_total", Counter, None, &["kind"], Exporter, Stable,
        "Oddities in answers of the management API, by kind. What is odd is left out, the rest of the answer is kept.";
    CredentialsExpiry, "alikafka_exporter_credentials_expiry_timestamp_seconds", Gauge, Seconds, NONE, Exporter, Stable,
        "When the credentials in use expire, in unix time. Absent for credentials that do not.";
    CredentialsFailures, "alikafka_exporter_credentials_refresh_failures_total", Counter, None, NONE, Exporter, Stable,
        "Attempts to read or renew the credentials that failed.";
    ClockSkew, "alikafka_exporter_clock_skew_seconds", Gauge, Seconds, NONE, Exporter, Stable,
        "How far the clock of the cloud (HTTP Date) is ahead of the clock of this host.";
    ReloadSuccessful, "alikafka_exporter_config_last_reload_successful", Gauge, None, NONE, Exporter, Stable,
        "Whether the last attempt to load the configuration was successful.";
    ReloadTime, "alikafka_exporter_config_last_reload_success_timestamp_seconds", Gauge, Seconds, NONE, Exporter, Stable,
        "When the configuration was last loaded, in unix time.";
    Panics, "alikafka_exporter_panics_total", Counter, None, NONE, Exporter, Stable,
        "Panics of any thread. One in a call costs that call alone. Any is a fault of the exporter.";
    LogLinesLost, "alikafka_exporter_log_lines_lost_total", Counter, None, NONE, Exporter, Stable,
        "Lines of the log that could not be written. Any is a fault of where stderr goes: a full disk, a reader that has left.";
    BuildInfo, "alikafka_exporter_build_info", Gauge, None, BUILD, Exporter, Stable,
        = "kafka_exporter_build_info" BUILD,
        "1, with the version, the revision and the compiler that the exporter was built from.";
    HttpRequests, "alikafka_exporter_http_requests_total", Counter, None, &["path", "code"], Exporter, Evolving,
        "HTTP requests answered, by path and status code.";
    HttpDuration, "alikafka_exporter_http_request_duration_seconds", Histogram, Seconds, &["path"], Exporter, Evolving,
        "How long HTTP requests took until the answer was ready to be sent, by path.";
    HttpRejected, "alikafka_exporter_http_rejected_total", Counter, None, &["reason"], Exporter, Evolving,
        "HTTP connections and requests that were turned away, by reason.";
    HttpConnections, "alikafka_exporter_http_connections", Gauge, None, NONE, Exporter, Evolving,
        "HTTP connections that are open.";

    ProcessCpu, "process_cpu_seconds_total", Counter, Seconds, NONE, Process, Stable,
        "Total user and system CPU time spent in seconds.";
    ProcessMaxFds, "process_max_fds", Gauge, None, NONE, Process, Stable,
        "Maximum number of open file descriptors.";
    ProcessOpenFds, "process_open_fds", Gauge, None, NONE, Process, Stable,
        "Number of open file descriptors.";
    ProcessResident, "process_resident_memory_bytes", Gauge, Bytes, NONE, Process, Stable,
        "Resident memory size in bytes.";
    ProcessStart, "process_start_time_seconds", Gauge, Seconds, NONE, Process, Stable,
        "Start time of the process since unix epoch in seconds.";
    ProcessThreads, "process_threads", Gauge, None, NONE, Process, Stable,
        "Number of OS threads in the process.";
    ProcessVirtual, "process_virtual_memory_bytes", Gauge, Bytes, NONE, Process, Stable,
        "Virtual memory size in bytes.";
}
