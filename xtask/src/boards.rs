//! The Grafana dashboards under `dashboards/`, made of the metric catalog.
//!
//! Owns: four boards, what stands on them and in which words. Refuses: a metric that is not in the catalog, and a
//! query that works under one of the two namings alone.

mod bracket;
mod exporter;
mod fleet;
mod frame;
mod group;
mod looks;
mod parts;
mod process;
mod query;
mod topic;
mod words;

use crate::Generated;

/// The dashboards.
pub(crate) fn files() -> Vec<Generated> {
    let file = |name: &str, board: frame::Board| Generated {
        path: format!("dashboards/{name}.json"),
        text: board.text(),
    };
    vec![
        file("fleet", fleet::board()),
        file("group", group::board()),
        file("topic", topic::board()),
        file("exporter", exporter::board()),
    ]
}
