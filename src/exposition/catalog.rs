//! Catalog of all metrics. A metric is declared here, as one row of the table at the end of this file.
//!
//! Owns: name, type, unit, labels, API source, stability, HELP text and documentation of every metric, and the
//! names that kafka_exporter uses for the same values. The HELP and TYPE lines and `docs/metrics.md` are generated
//! from it; tests check dashboards and rules against it. Out of scope: values, see `series` for the
//! monitored fleet and `self_metrics` for the exporter.
//!
//! The order of the rows is that of the exposition, and it has meaning: rows up to [`MetricId::Objects`] are rendered
//! from a snapshot, and every row after it is a self-metric.

use MetricSource::{Exporter, Groups, Instances, Lists, Process, Topics};
use MetricType::{Counter, Gauge, Histogram};
use Stability::{Evolving, Stable};

use crate::model::Naming;

/// Type of a metric, as in the TYPE line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Value that goes up and down.
    Gauge,
    /// Value that only grows during the life of the process.
    Counter,
    /// Observations counted in buckets.
    Histogram,
}

impl MetricType {
    /// Returns the keyword of the TYPE line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Gauge => "gauge",
            Counter => "counter",
            Histogram => "histogram",
        }
    }
}

/// Unit of the values of a metric. Except for `None`, the name ends with it, before `_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricUnit {
    /// A constant, a state, or a count of the objects in the name.
    None,
    /// Offset in a partition.
    Offset,
    /// Messages.
    Messages,
    /// Messages per second.
    MessagesPerSecond,
    /// Seconds, or seconds since 1970-01-01 UTC.
    Seconds,
    /// Bytes.
    Bytes,
    /// Requests per second.
    RequestsPerSecond,
}

/// Stability guarantee for name, labels and meaning of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stability {
    /// Changes only with a major version.
    Stable,
    /// May change with a minor version; the change log says so.
    Evolving,
}

/// Origin of the values of a metric, which also determines how often they are polled.
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

/// Name and labels of a metric in kafka_exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KafkaExporterName {
    /// Metric name.
    pub name: &'static str,
    /// Labels: `region` and `instance_id`, then those of kafka_exporter.
    pub labels: &'static [&'static str],
}

/// Declaration of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricFamily {
    /// Identifier in the code.
    pub id: MetricId,
    /// Native name.
    pub name: &'static str,
    /// Type.
    pub kind: MetricType,
    /// Unit of the values.
    pub unit: MetricUnit,
    /// Native labels. Constant labels are not listed, nor is `account`, which is the first label of series that
    /// belong to a named account.
    pub labels: &'static [&'static str],
    /// Origin of the values.
    pub source: MetricSource,
    /// Stability guarantee.
    pub stability: Stability,
    /// Name in kafka_exporter, if it has the same metric.
    pub kafka_exporter: Option<KafkaExporterName>,
    /// HELP text: one sentence of at most 20 words, with the fields of the API in parentheses.
    pub help: &'static str,
    /// Further definitions for `docs/metrics.md`; empty if `help` says everything.
    pub details: &'static str,
}

impl MetricFamily {
    /// Returns the name under a naming scheme.
    #[must_use]
    pub fn name_in(&self, naming: Naming) -> &'static str {
        match (naming, self.kafka_exporter) {
            (Naming::KafkaExporter, Some(renamed)) => renamed.name,
            _ => self.name,
        }
    }

    /// Whether each partition has its own series.
    #[must_use]
    pub fn is_per_partition(&self) -> bool {
        self.labels.contains(&"partition")
    }

    /// Whether each topic has its own series.
    #[must_use]
    pub fn is_per_topic(&self) -> bool {
        self.labels.contains(&"topic")
    }

    /// Whether each consumer group has its own series.
    #[must_use]
    pub fn is_per_group(&self) -> bool {
        self.labels.contains(&"group")
    }
}

/// Returns the declaration of a metric.
#[must_use]
pub fn family(id: MetricId) -> &'static MetricFamily {
    &FAMILIES[id as usize]
}

/// Whether a constant label may have this name: it is a valid label name that no metric and no exposition format
/// uses.
#[must_use]
pub fn is_allowed_constant_label(name: &str) -> bool {
    let mut chars = name.chars();
    let is_valid = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with("__")
        && !name.starts_with("tag_");
    let is_used = ["account", "le", "quantile"].contains(&name)
        || FAMILIES
            .iter()
            .any(|f| f.labels.contains(&name) || f.kafka_exporter.is_some_and(|k| k.labels.contains(&name)));
    is_valid && !is_used
}

/// Set of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct MetricSet(u128);

const _: () = assert!(FAMILIES.len() <= 128, "MetricSet has 128 bits");

impl MetricSet {
    pub(super) fn matching(predicate: impl Fn(&MetricFamily) -> bool) -> Self {
        let ids = FAMILIES.iter().filter(|f| predicate(f)).map(|f| f.id);
        Self(ids.fold(0, |bits, id| bits | 1 << id as u8))
    }

    pub(super) fn contains(self, id: MetricId) -> bool {
        self.0 & (1 << id as u8) != 0
    }

    pub(super) fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

const NONE: &[&str] = &[];
const REGION: &[&str] = &["region"];
const INSTANCE: &[&str] = &["region", "instance_id"];
const TOPIC: &[&str] = &["region", "instance_id", "topic"];
const TOPIC_PARTITION: &[&str] = &["region", "instance_id", "topic", "partition"];
const GROUP: &[&str] = &["region", "instance_id", "group"];
const GROUP_TOPIC: &[&str] = &["region", "instance_id", "group", "topic"];
const GROUP_PARTITION: &[&str] = &["region", "instance_id", "group", "topic", "partition"];
const KAFKA_EXPORTER_GROUP_TOPIC: &[&str] = &["region", "instance_id", "consumergroup", "topic"];
const KAFKA_EXPORTER_GROUP_PARTITION: &[&str] =
    &["region", "instance_id", "consumergroup", "topic", "partition"];
const CALL: &[&str] = &["region", "action"];
const BUILD: &[&str] = &["version", "revision", "rustversion"];

macro_rules! catalog {
    ($($id:ident, $name:literal, $kind:ident, $unit:ident, $labels:expr, $source:ident, $stability:ident,
       $(= $renamed:literal $renamed_labels:expr,)? $help:literal $(, $details:literal)?;)*) => {
        /// Identifiers of the metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MetricId {
            $(#[doc = concat!("`", $name, "`")] $id,)*
        }

        /// All metrics, in the order of the exposition.
        pub const FAMILIES: [MetricFamily; [$(MetricId::$id),*].len()] = [$(MetricFamily {
            id: MetricId::$id,
            name: $name,
            kind: $kind,
            unit: MetricUnit::$unit,
            labels: $labels,
            source: $source,
            stability: $stability,
            kafka_exporter: catalog!(@renamed $($renamed $renamed_labels)?),
            help: $help,
            details: concat!($($details)?),
        },)*];
    };
    (@renamed) => { None };
    (@renamed $name:literal $labels:expr) => { Some(KafkaExporterName { name: $name, labels: $labels }) };
}

// Identifier, name, type, unit, labels, source, stability, optionally = name and labels in kafka_exporter, HELP
// text, and optionally details for the documentation.
catalog! {
    // Instances
    InstanceInfo, "alikafka_instance_info", Gauge, None,
        &["region", "instance_id", "name", "series", "spec_type", "version", "deploy_type", "paid_type", "disk_type"],
        Instances, Stable,
        "Properties of the instance as labels, always 1 (GetInstanceList Name, Series, SpecType, Current2OpenSourceVersion, DeployType, PaidType, DiskType).",
        "A label is empty if the API does not report the field.";
    InstanceState, "alikafka_instance_state", Gauge, None, &["region", "instance_id", "state"], Instances, Stable,
        "1 for the current state of the instance, 0 for the other known states (GetInstanceList ViewInstanceStatusCode, ServiceStatus).",
        "ServiceStatus is used only if ViewInstanceStatusCode is missing.";
    InstanceTags, "alikafka_instance_tags", Gauge, None, INSTANCE, Instances, Stable,
        "Allowed tags of the instance as labels, always 1 (GetInstanceList Tags).",
        "Every KEY in metrics.instance_tags becomes the label tag_KEY; characters other than ASCII letters and digits become _. The label is empty if the instance does not have the tag.";
    InstanceCreation, "alikafka_instance_creation_timestamp_seconds", Gauge, Seconds, INSTANCE, Instances, Stable,
        "Creation time of the instance, in Unix time (GetInstanceList CreateTime).";
    InstanceExpiry, "alikafka_instance_expiry_timestamp_seconds", Gauge, Seconds, INSTANCE, Instances, Stable,
        "Expiry time of the instance, in Unix time (GetInstanceList ExpiredTime).";
    InstanceTopics, "alikafka_instance_topics", Gauge, None, INSTANCE, Instances, Stable,
        "Topics of the instance, as counted by the service (GetInstanceList UsedTopicCount).";
    InstanceTopicLimit, "alikafka_instance_topic_limit", Gauge, None, INSTANCE, Instances, Stable,
        "Maximum number of topics of the instance (GetInstanceList TopicNumLimit).";
    InstancePartitions, "alikafka_instance_partitions", Gauge, None, INSTANCE, Instances, Stable,
        "Partitions of the instance, as counted by the service (GetInstanceList UsedPartitionCount).";
    InstanceGroups, "alikafka_instance_groups", Gauge, None, INSTANCE, Instances, Stable,
        "Consumer groups of the instance, as counted by the service (GetInstanceList UsedGroupCount).";
    InstanceDiskSize, "alikafka_instance_disk_size_bytes", Gauge, Bytes, INSTANCE, Instances, Stable,
        "Purchased disk size of the instance (GetInstanceList DiskSize).";
    InstanceRetention, "alikafka_instance_message_retention_seconds", Gauge, Seconds, INSTANCE, Instances, Stable,
        "Message retention time of the instance (GetInstanceList MsgRetain).";

    // Topics
    TopicInfo, "alikafka_topic_info", Gauge, None, &["region", "instance_id", "topic", "storage", "cleanup"], Lists, Stable,
        "Storage engine and cleanup policy of the topic as labels, always 1 (GetTopicList LocalTopic, CompactTopic).",
        "storage is cloud or local, cleanup is delete or compact. A label is empty if the API does not report the field.";
    TopicPartitions, "alikafka_topic_partitions", Gauge, None, TOPIC, Lists, Stable,
        = "kafka_topic_partitions" TOPIC,
        "Partitions of the topic (GetTopicList PartitionNum).";
    TopicPartitionStart, "alikafka_topic_partition_start_offset", Gauge, Offset, TOPIC_PARTITION, Topics, Stable,
        = "kafka_topic_partition_oldest_offset" TOPIC_PARTITION,
        "Offset of the oldest message of the partition (GetTopicStatus MinOffset).";
    TopicPartitionEnd, "alikafka_topic_partition_end_offset", Gauge, Offset, TOPIC_PARTITION, Topics, Stable,
        = "kafka_topic_partition_current_offset" TOPIC_PARTITION,
        "End offset of the partition: the offset of the next message (GetTopicStatus MaxOffset, GetConsumerProgress BrokerOffset).",
        "The more recent of the two responses counts.";
    TopicPartitionLastWrite, "alikafka_topic_partition_last_write_timestamp_seconds", Gauge, Seconds, TOPIC_PARTITION, Topics, Stable,
        "Time of the last write to the partition, in Unix time (GetTopicStatus LastUpdateTimestamp).",
        "Absent if nothing was written to the partition.";
    TopicMessages, "alikafka_topic_messages", Gauge, Messages, TOPIC, Topics, Stable,
        "Messages in the topic (GetTopicStatus TotalCount).";
    TopicGroups, "alikafka_topic_groups", Gauge, None, TOPIC, Groups, Stable,
        "Consumer groups with a committed offset on the topic (GetConsumerProgress ConsumerOffset).",
        "0 if no group reads the topic. Absent until the offsets of every group of the instance are known.";

    // Consumer groups
    GroupInfo, "alikafka_group_info", Gauge, None, GROUP, Lists, Stable,
        "1 for every consumer group of the instance (GetConsumerList ConsumerId).";
    GroupState, "alikafka_group_state", Gauge, None, &["region", "instance_id", "group", "state"], Groups, Stable,
        "1 for the current state of the group: stable, preparing_rebalance, completing_rebalance, empty, dead (GetConsumerProgress state).",
        "0 for the other states. Absent if the API does not report the state.";
    GroupRebalances, "alikafka_group_rebalances_total", Counter, None, GROUP, Groups, Evolving,
        "Rebalances of the group since the exporter discovered it (GetConsumerProgress RebalanceInfoList).",
        "Absent if the API does not report rebalances.";
    GroupLastRebalance, "alikafka_group_last_rebalance_timestamp_seconds", Gauge, Seconds, GROUP, Groups, Evolving,
        "Time of the last rebalance of the group, in Unix time (GetConsumerProgress RebalanceInfoList LastRebalanceTimestamp).",
        "Absent if the API does not report rebalances.";
    GroupPartitionOffset, "alikafka_group_partition_offset", Gauge, Offset, GROUP_PARTITION, Groups, Stable,
        = "kafka_consumergroup_current_offset" KAFKA_EXPORTER_GROUP_PARTITION,
        "Committed offset of the group on the partition (GetConsumerProgress ConsumerOffset).",
        "Absent if the group has not committed an offset.";
    GroupPartitionLag, "alikafka_group_partition_lag_messages", Gauge, Messages, GROUP_PARTITION, Groups, Stable,
        = "kafka_consumergroup_lag" KAFKA_EXPORTER_GROUP_PARTITION,
        "Lag of the group on the partition, in messages (GetConsumerProgress BrokerOffset - ConsumerOffset).",
        "Both offsets come from one response. Never negative. Absent if the group has not committed an offset.";
    GroupTopicLag, "alikafka_group_topic_lag_messages", Gauge, Messages, GROUP_TOPIC, Groups, Stable,
        = "kafka_consumergroup_lag_sum" KAFKA_EXPORTER_GROUP_TOPIC,
        "Lag of the group on the topic, in messages (GetConsumerProgress BrokerOffset - ConsumerOffset).",
        "Total of the partitions whose lag is known.";
    GroupLag, "alikafka_group_lag_messages", Gauge, Messages, GROUP, Groups, Stable,
        "Lag of the group on all topics, in messages (GetConsumerProgress BrokerOffset - ConsumerOffset).",
        "Total of the partitions whose lag is known.";
    GroupPartitionLastConsumed, "alikafka_group_partition_last_consumed_timestamp_seconds", Gauge, Seconds, GROUP_PARTITION, Groups, Stable,
        "Time at which the last consumed message was stored, in Unix time (GetConsumerProgress LastTimestamp).",
        "Absent if the API does not report it and, unless last_timestamps is always, while a group consumes without lag.";
    GroupPartitionLagSeconds, "alikafka_group_partition_lag_seconds", Gauge, Seconds, GROUP_PARTITION, Groups, Stable,
        "Upper bound of the lag of the group on the partition, in seconds (GetConsumerProgress LastTimestamp, BrokerOffset, ConsumerOffset).",
        "Age of the oldest unread message, 0 if all messages are read. The upper bound is the smaller of two spans: the time since the last consumed message was stored, and the time since the newest poll at which no later message had been written. Absent if neither is known, or if the two bounds contradict each other.";
    GroupTopicLagSeconds, "alikafka_group_topic_lag_seconds", Gauge, Seconds, GROUP_TOPIC, Groups, Stable,
        "Upper bound of the lag of the group on the topic, in seconds (GetConsumerProgress LastTimestamp, BrokerOffset, ConsumerOffset).",
        "Age of the oldest unread message, 0 if all messages are read. Largest upper bound of the partitions. Absent if a partition has unread messages but no upper bound.";
    GroupLagSeconds, "alikafka_group_lag_seconds", Gauge, Seconds, GROUP, Groups, Stable,
        "Upper bound of the lag of the group, in seconds (GetConsumerProgress LastTimestamp, BrokerOffset, ConsumerOffset).",
        "Age of the oldest unread message, 0 if all messages are read. Largest upper bound of the topics. Absent if a topic has unread messages but no upper bound.";
    GroupPartitionLagFloor, "alikafka_group_partition_lag_floor_seconds", Gauge, Seconds, GROUP_PARTITION, Groups, Stable,
        "Lower bound of the lag of the group on the partition, in seconds (GetTopicStatus LastUpdateTimestamp, GetConsumerProgress BrokerOffset, ConsumerOffset).",
        "Age of the oldest unread message, 0 if all messages are read. The lower bound is the larger of two spans: the time since the newest message was written, and the time since the oldest poll that found a message which is still unread. 0 if neither is known. Absent if the lag in messages is unknown, or if the two bounds contradict each other.";
    GroupTopicLagFloor, "alikafka_group_topic_lag_floor_seconds", Gauge, Seconds, GROUP_TOPIC, Groups, Stable,
        "Lower bound of the lag of the group on the topic, in seconds (GetTopicStatus LastUpdateTimestamp, GetConsumerProgress BrokerOffset, ConsumerOffset).",
        "Age of the oldest unread message, 0 if all messages are read. Largest lower bound of the partitions. Absent if no partition has one.";
    GroupLagFloor, "alikafka_group_lag_floor_seconds", Gauge, Seconds, GROUP, Groups, Stable,
        "Lower bound of the lag of the group, in seconds (GetTopicStatus LastUpdateTimestamp, GetConsumerProgress BrokerOffset, ConsumerOffset).",
        "Age of the oldest unread message, 0 if all messages are read. Largest lower bound of the topics. Absent if no topic has one.";
    GroupTopicStatus, "alikafka_group_topic_status", Gauge, None, GROUP_TOPIC, Groups, Stable,
        "Health of the group on the topic: 0 ok, 1 lagging, 2 stalled, 3 stopped, 4 rewound, 5 data loss (GetConsumerProgress ConsumerOffset, BrokerOffset, state, GetTopicStatus MinOffset).",
        "Lagging: the group consumes, but its lag grows. Stalled: it consumes nothing although it has members. Stopped: it consumes nothing and has no members. Rewound: its offset moved back or is past the end. Data loss: messages were deleted before it read them. The worst of the partitions over the polls of status_window; absent while unknown.";
    GroupStatus, "alikafka_group_status", Gauge, None, GROUP, Groups, Stable,
        "Health of the group: 0 ok, 1 lagging, 2 stalled, 3 stopped, 4 rewound, 5 data loss (GetConsumerProgress ConsumerOffset, BrokerOffset, state, GetTopicStatus MinOffset).",
        "The worst status of its topics, see alikafka_group_topic_status. Absent while unknown.";
    GroupTopicConsumable, "alikafka_group_topic_consumable_lag_messages", Gauge, Messages, GROUP_TOPIC, Groups, Evolving,
        "Lag of the group on the topic without deleted messages (GetConsumerProgress BrokerOffset, ConsumerOffset, GetTopicStatus MinOffset).",
        "BrokerOffset minus the larger of ConsumerOffset and MinOffset, or minus ConsumerOffset if MinOffset is unknown. Absent if the lag is unknown.";
    GroupConsumable, "alikafka_group_consumable_lag_messages", Gauge, Messages, GROUP, Groups, Evolving,
        "Lag of the group without deleted messages (GetConsumerProgress BrokerOffset, ConsumerOffset, GetTopicStatus MinOffset).",
        "BrokerOffset minus the larger of ConsumerOffset and MinOffset, or minus ConsumerOffset if MinOffset is unknown. Absent if the lag is unknown.";
    GroupTopicConsumed, "alikafka_group_topic_consumed_messages_per_second", Gauge, MessagesPerSecond, GROUP_TOPIC, Groups, Evolving,
        "Consumption rate of the group on the topic, in messages per second (GetConsumerProgress ConsumerOffset).",
        "Averaged over the polls of status_window. Absent until the window has enough polls.";
    GroupTopicProduced, "alikafka_group_topic_produced_messages_per_second", Gauge, MessagesPerSecond, GROUP_TOPIC, Groups, Evolving,
        "Production rate of the partitions that the group reads, in messages per second (GetConsumerProgress BrokerOffset).",
        "Averaged over the polls of status_window. Absent until the window has enough polls.";
    GroupTopicCatchUp, "alikafka_group_topic_catch_up_seconds", Gauge, Seconds, GROUP_TOPIC, Groups, Evolving,
        "Forecast of the time until the group has read the entire topic (GetConsumerProgress BrokerOffset, ConsumerOffset).",
        "Based on the rates over status_window. 0 if all messages are read. Absent while lag does not shrink or a partition is stalled.";
    GroupCatchUp, "alikafka_group_catch_up_seconds", Gauge, Seconds, GROUP, Groups, Evolving,
        "Forecast of the time until the group has read all topics (GetConsumerProgress BrokerOffset, ConsumerOffset).",
        "The largest forecast of its topics. 0 if all messages are read. Absent while the lag of a topic does not shrink.";
    GroupTopicLossEta, "alikafka_group_topic_data_loss_eta_seconds", Gauge, Seconds, GROUP_TOPIC, Groups, Evolving,
        "Forecast of the time until unread messages of the topic are deleted (GetTopicStatus MinOffset, GetConsumerProgress ConsumerOffset, GetInstanceList MsgRetain).",
        "Based on how fast the start offset approaches the committed offset, and on the retention time. 0 once messages are lost while others are still unread. Absent while the start offset comes no closer, for compacted topics, and if neither value is known.";
    GroupPartitionMargin, "alikafka_group_partition_retention_margin_messages", Gauge, Messages, GROUP_PARTITION, Groups, Stable,
        "Messages between the oldest message and the committed offset (GetConsumerProgress ConsumerOffset - GetTopicStatus MinOffset).",
        "Absent once messages are lost, or if either offset is unknown.";
    GroupPartitionLost, "alikafka_group_partition_lost_messages", Gauge, Messages, GROUP_PARTITION, Groups, Stable,
        "Messages that were deleted before the group read them (GetTopicStatus MinOffset - GetConsumerProgress ConsumerOffset).",
        "Never negative. Absent if either offset is unknown.";

    // Completeness and age of the data
    RegionUp, "alikafka_region_up", Gauge, None, REGION, Exporter, Stable,
        "Whether GetInstanceList succeeded and at least one instance in service was polled completely.",
        "Also 1 if no instance of the region is in service. Stays 0 after the data has expired.";
    InstanceUp, "alikafka_instance_up", Gauge, None, INSTANCE, Exporter, Stable,
        "Whether the last attempt to poll the instance was complete (GetTopicList, GetTopicStatus, GetConsumerList, GetConsumerProgress).",
        "Stays 0 after the data has expired.";
    RegionLastSuccess, "alikafka_region_last_success_timestamp_seconds", Gauge, Seconds, &["region", "scope"], Exporter, Stable,
        "Time of the last successful poll of the region by scope, in Unix time.",
        "Scopes: discovery (GetInstanceList and the lists of its instances), topics (GetTopicStatus), groups (GetConsumerProgress). The age of the data is time() minus this value.";
    InstanceLastSuccess, "alikafka_instance_last_success_timestamp_seconds", Gauge, Seconds, &["region", "instance_id", "scope"], Exporter, Stable,
        "Time of the last successful poll of the instance by scope, in Unix time.",
        "Scopes: discovery (GetTopicList, GetConsumerList), topics (oldest GetTopicStatus), groups (oldest GetConsumerProgress). The age of the data is time() minus this value.";
    Objects, "alikafka_exporter_objects", Gauge, None, &["region", "kind"], Exporter, Stable,
        "Objects that pass the filters by kind: instances, topics, groups.";

    // Self-metrics
    ApiRequests, "alikafka_exporter_api_requests_total", Counter, None, &["region", "action", "result"], Exporter, Stable,
        "Attempted management API calls by action and result.",
        "The result is ok or the kind of failure.";
    ApiDuration, "alikafka_exporter_api_request_duration_seconds", Histogram, Seconds, &["action"], Exporter, Stable,
        "Duration of attempted management API calls by action.",
        "Includes the response body.";
    ApiRetries, "alikafka_exporter_api_retries_total", Counter, None, CALL, Exporter, Stable,
        "Retries of failed management API calls by action.";
    ApiBudget, "alikafka_exporter_api_budget_requests_per_second", Gauge, RequestsPerSecond, CALL, Exporter, Stable,
        "Management API calls per second that the exporter may make now, by action.",
        "As configured (requests_per_second, request_rates), or less while the service throttles.";
    ApiDemand, "alikafka_exporter_api_demand_requests_per_second", Gauge, RequestsPerSecond, CALL, Exporter, Stable,
        "Management API calls per second that keep every poll on time, by action.",
        "Idle groups and topics count with idle_poll_interval. Polls are delayed while the demand exceeds the budget.";
    PollLateness, "alikafka_exporter_poll_lateness_seconds", Histogram, Seconds, REGION, Exporter, Stable,
        "Delay of polls of topics, groups and lists after their due time.";
    Series, "alikafka_exporter_series", Gauge, None, NONE, Exporter, Stable,
        "Series of the monitored fleet in the exposition.",
        "Series about the exporter process, such as this one, are not counted.";
    DroppedSeries, "alikafka_exporter_dropped_series_total", Counter, None, &["reason"], Exporter, Stable,
        "Series left out of the exposition by reason.",
        "Total over all expositions rendered. Reasons: max_series (the limit metrics.max_series).";
    Anomalies, "alikafka_exporter_anomalies_total", Counter, None, &["kind"], Exporter, Stable,
        "Anomalies in management API responses by kind.",
        "The malformed item is dropped, the rest of the response is used.";
    CredentialsExpiry, "alikafka_exporter_credentials_expiry_timestamp_seconds", Gauge, Seconds, NONE, Exporter, Stable,
        "Expiry time of the credentials in use, in Unix time.",
        "Absent if the credentials do not expire.";
    CredentialsFailures, "alikafka_exporter_credentials_refresh_failures_total", Counter, None, NONE, Exporter, Stable,
        "Failed attempts to read or refresh the credentials.";
    ClockSkew, "alikafka_exporter_clock_skew_seconds", Gauge, Seconds, NONE, Exporter, Stable,
        "Clock of the service (HTTP Date) minus the clock of this host.";
    ReloadSuccessful, "alikafka_exporter_config_last_reload_successful", Gauge, None, NONE, Exporter, Stable,
        "Whether the last attempt to load the configuration succeeded.";
    ReloadTime, "alikafka_exporter_config_last_reload_success_timestamp_seconds", Gauge, Seconds, NONE, Exporter, Stable,
        "Time of the last successful load of the configuration, in Unix time.";
    Panics, "alikafka_exporter_panics_total", Counter, None, NONE, Exporter, Stable,
        "Panics in any thread of the exporter.",
        "A panic in an API call fails only that call. Every panic is a bug in the exporter.";
    LogLinesLost, "alikafka_exporter_log_lines_lost_total", Counter, None, NONE, Exporter, Stable,
        "Log lines that could not be written to stderr.",
        "Caused by the destination of stderr, e.g. a full disk or a closed pipe.";
    BuildInfo, "alikafka_exporter_build_info", Gauge, None, BUILD, Exporter, Stable,
        = "kafka_exporter_build_info" BUILD,
        "Version, revision and compiler of the exporter as labels, always 1.";
    HttpRequests, "alikafka_exporter_http_requests_total", Counter, None, &["path", "code"], Exporter, Evolving,
        "HTTP requests by path and status code.";
    HttpDuration, "alikafka_exporter_http_request_duration_seconds", Histogram, Seconds, &["path"], Exporter, Evolving,
        "Duration of HTTP requests until the response was sent, by path.";
    HttpRejected, "alikafka_exporter_http_rejected_total", Counter, None, &["reason"], Exporter, Evolving,
        "Rejected HTTP connections and requests by reason.";
    HttpConnections, "alikafka_exporter_http_connections", Gauge, None, NONE, Exporter, Evolving,
        "Open HTTP connections.";

    // Process
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
