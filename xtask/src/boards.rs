//! The Grafana dashboards under `dashboards/`.

use crate::Generated;

/// The dashboards.
pub(crate) fn files() -> Vec<Generated> {
    Vec::new()
}
