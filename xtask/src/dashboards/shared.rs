//! The words that several boards use for the same thing.

use super::{
    dashboard::{From, Name, link},
    query::{Filters, Level},
    style::Link,
};
use alikafka_exporter::exposition::catalog::MetricId;

/// Rust: warmer than orange, which is stalled, and not the red of what is lost.
const STOPPED: &str = "#A64B13";

/// What is the matter with a group, as docs/lag.md numbers it.
pub(super) const STATUS: [(i64, &str, &str); 6] = [
    (0, "ok", "green"),
    (1, "lagging", "yellow"),
    (2, "stalled", "orange"),
    (3, "stopped", STOPPED),
    (4, "rewound", "purple"),
    (5, "data loss", "red"),
];

/// The same, with a number for what is not known, where a table must say so.
pub(super) const STATUS_OR_UNKNOWN: [(i64, &str, &str); 7] =
    [(-1, "unknown", "#6E6E6E"), STATUS[0], STATUS[1], STATUS[2], STATUS[3], STATUS[4], STATUS[5]];

/// Whether all could be read.
pub(super) const COMPLETE: [(i64, &str, &str); 2] = [(0, "incomplete", "red"), (1, "complete", "green")];

/// Whether Prometheus gets pages.
pub(super) const UP: [(i64, &str, &str); 2] = [(0, "down", "red"), (1, "up", "green")];

/// Whether the configuration is the newest.
pub(super) const LOADED: [(i64, &str, &str); 2] = [(0, "failed", "red"), (1, "loaded", "green")];

/// What an empty panel of partitions means.
pub(super) const NEEDS_PARTITIONS: &str = "None known: metrics.granularity must be partition";
/// What an empty panel of topics of a group means.
pub(super) const NEEDS_TOPICS: &str = "None known: metrics.granularity must be topic or partition";

/// The states of a group as the cloud tells them, numbered for a timeline.
pub(super) const GROUP_STATES: [(i64, &str, &str, &str); 5] = [
    (0, "stable", "stable", "green"),
    (1, "preparing_rebalance", "preparing a rebalance", "yellow"),
    (2, "completing_rebalance", "completing a rebalance", "yellow"),
    (3, "empty", "empty", "blue"),
    (4, "dead", "dead", "red"),
];

/// The columns that say which instance a row is about.
pub(super) fn to_group(from: From, level: Level) -> Vec<Link> {
    let mut links = vec![link(from, "Open the group", Name::Group, level)];
    if level == Level::GroupTopic {
        links.push(link(from, "Open the topic", Name::Topic, Level::Topic));
    }
    links
}

/// Messages written a second, by topic: also where nobody reads.
pub(super) fn written(filters: Filters, level: Level) -> String {
    format!("sum by ({}) ({})", level.list(), filters.slope(Level::TopicPartition, MetricId::TopicEnd))
}

/// The same over the whole time range.
pub(super) fn written_in_range(filters: Filters, level: Level) -> String {
    format!(
        "sum by ({}) ({})",
        level.list(),
        filters.slope_of_range(Level::TopicPartition, MetricId::TopicEnd)
    )
}
