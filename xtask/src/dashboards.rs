//! The Grafana dashboards under `dashboards/`, made of the metric catalog.
//!
//! Owns: four boards, what stands on them and in which words. Refuses: a metric that is not in the catalog, and a
//! query that works under one of the two namings alone.

mod dashboard;
mod exporter;
mod fleet;
mod group;
mod lag_bounds;
mod panel;
mod process;
mod query;
mod shared;
mod style;
mod topic;

use crate::Generated;

/// The dashboards.
pub(crate) fn files() -> Vec<Generated> {
    let file = |name: &str, board: dashboard::Dashboard| Generated {
        path: format!("dashboards/{name}.json"),
        text: board.text(),
    };
    vec![
        file("fleet", fleet::dashboard()),
        file("group", group::dashboard()),
        file("topic", topic::dashboard()),
        file("exporter", exporter::dashboard()),
    ]
}
