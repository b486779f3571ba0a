//! Grafana dashboards in `dashboards/`, generated from the metric catalog.
//!
//! Owns: the panels of the four dashboards, their queries and texts. A query can only use metrics of the catalog, and
//! works with the metric names of both `metrics.naming` settings.

mod dashboard;
mod exporter;
mod exporter_rows;
mod fleet;
mod group;
mod group_rows;
mod panel;
mod query;
mod shared_panels;
mod style;
mod topic;
mod value_texts;

use crate::Generated;

/// Dashboard files.
pub(crate) fn files() -> Vec<Generated> {
    [
        ("fleet", fleet::dashboard()),
        ("group", group::dashboard()),
        ("topic", topic::dashboard()),
        ("exporter", exporter::dashboard()),
    ]
    .into_iter()
    .map(|(name, dashboard)| Generated { path: format!("dashboards/{name}.json"), text: dashboard.text() })
    .collect()
}
