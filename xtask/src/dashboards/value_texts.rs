//! Texts for numbers, and texts of panels without data, that several dashboards use.

/// Rust: between orange (stalled) and red (data loss).
const STOPPED: &str = "#A64B13";

/// Status of a group, with the numbers of docs/lag.md.
pub(super) const STATUS: [(i64, &str, &str); 6] = [
    (0, "ok", "green"),
    (1, "lagging", "yellow"),
    (2, "stalled", "orange"),
    (3, "stopped", STOPPED),
    (4, "rewound", "purple"),
    (5, "data loss", "red"),
];

/// Status of a group in a table, with a number for an unknown status.
pub(super) const STATUS_OR_UNKNOWN: [(i64, &str, &str); 7] =
    [(-1, "unknown", "#6E6E6E"), STATUS[0], STATUS[1], STATUS[2], STATUS[3], STATUS[4], STATUS[5]];

/// Whether the last poll of a region or an instance was complete.
pub(super) const COMPLETENESS: [(i64, &str, &str); 2] = [(0, "incomplete", "red"), (1, "complete", "green")];

/// Whether the last scrape of an exporter succeeded.
pub(super) const SCRAPE: [(i64, &str, &str); 2] = [(0, "down", "red"), (1, "up", "green")];

/// Whether the last reload of the configuration succeeded.
pub(super) const RELOAD: [(i64, &str, &str); 2] = [(0, "failed", "red"), (1, "loaded", "green")];

/// States of a group: number in the timeline, value of the label `state`, text and color.
pub(super) const GROUP_STATES: [(i64, &str, &str, &str); 5] = [
    (0, "stable", "stable", "green"),
    (1, "preparing_rebalance", "preparing rebalance", "yellow"),
    (2, "completing_rebalance", "completing rebalance", "yellow"),
    (3, "empty", "empty", "blue"),
    (4, "dead", "dead", "red"),
];

/// Text of an empty panel about partitions.
pub(super) const NEEDS_PARTITIONS: &str = "Requires metrics.granularity partition";
/// Text of an empty panel about the topics of a group.
pub(super) const NEEDS_TOPICS: &str = "Requires metrics.granularity topic or partition";
