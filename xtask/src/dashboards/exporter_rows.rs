//! Collapsed rows of the exporter dashboard: the HTTP server and the process.

use alikafka_exporter::exposition::catalog::MetricId;
use serde_json::json;

use super::{
    panel::Panel,
    query::{EXPORTER, Level},
    style::{label, seconds, value},
    value_texts::SCRAPE,
};

const NO_EXPORTER: &str = "No exporter";

pub(super) fn http() -> Vec<Panel> {
    vec![
        Panel::rates("Requests", "No request yet")
            .description("HTTP requests per second, by path and status code.")
            .axis("reqps", "requests/s")
            .query(EXPORTER.rate("path, code", MetricId::HttpRequests), "{{path}} {{code}}"),
        Panel::graph("Request duration, p99", "No request yet")
            .description(
                "99th percentile of the time until the response was ready, by path. A scrape never waits \
                 for the API.",
            )
            .axis("s", "duration")
            .query(EXPORTER.quantile("0.99", "path", MetricId::HttpDuration), "{{path}}"),
        Panel::rates("Rejected", "Nothing rejected")
            .description("Rejected HTTP connections and requests per second, by reason.")
            .axis("reqps", "requests/s")
            .query(EXPORTER.rate("reason", MetricId::HttpRejected), "{{reason}}"),
        Panel::graph("Connections", NO_EXPORTER)
            .description("Open HTTP connections, by exporter.")
            .axis("short", "connections")
            .decimals(0)
            .query(EXPORTER.max(Level::Exporter, MetricId::HttpConnections), "{{instance}}"),
    ]
}

pub(super) fn process() -> Vec<Panel> {
    let level = Level::Exporter;
    let open = EXPORTER.max(level, MetricId::ProcessOpenFds);
    let share = format!("{open} / {}", EXPORTER.max(level, MetricId::ProcessMaxFds));
    vec![
        Panel::table("Builds", NO_EXPORTER)
            .description(
                "Version of each exporter, its uptime, and the time of the last configuration reload.",
            )
            .size(24, 6)
            .column(label("instance", "Exporter"))
            .column(label("job", "Job"))
            .labels_of(EXPORTER.max_with(level, "version, revision, rustversion", MetricId::BuildInfo))
            .value(EXPORTER.up(), value("Scrape", "none").mapped(&SCRAPE).width(90))
            .column(label("version", "Version"))
            .column(label("revision", "Revision"))
            .column(label("rustversion", "Rust version"))
            .value(format!("time() - {}", EXPORTER.max(level, MetricId::ProcessStart)), seconds("Uptime"))
            .value(
                format!("{} * 1000", EXPORTER.max(level, MetricId::ReloadTime)),
                value("Configuration loaded", "dateTimeAsIso"),
            )
            .sorted_by("Exporter"),
        Panel::rates("CPU", NO_EXPORTER)
            .description("CPU cores used by the process.")
            .axis("none", "cores")
            .decimals(3)
            .query(EXPORTER.rate("job, instance", MetricId::ProcessCpu), "{{instance}}"),
        Panel::graph("Memory", NO_EXPORTER)
            .description("Resident memory and, dashed, virtual memory.")
            .axis("bytes", "memory")
            .query(EXPORTER.max(level, MetricId::ProcessResident), "{{instance}}: resident")
            .query(EXPORTER.max(level, MetricId::ProcessVirtual), "{{instance}}: virtual")
            .dashed('B'),
        Panel::graph("File descriptors", NO_EXPORTER)
            .description("Open file descriptors and, dashed on the right axis, their share of the limit.")
            .axis("short", "descriptors")
            .decimals(0)
            .query(open, "{{instance}}: open")
            .query(share, "{{instance}}: share")
            .of_query(
                'B',
                &[
                    ("unit", json!("percentunit")),
                    ("decimals", json!(1)),
                    ("max", json!(1)),
                    ("custom.axisPlacement", json!("right")),
                    ("custom.axisLabel", json!("share")),
                    ("custom.lineStyle", json!({ "fill": "dash", "dash": [6, 6] })),
                ],
            ),
        Panel::graph("Threads", NO_EXPORTER)
            .description("Threads of the process.")
            .axis("short", "threads")
            .decimals(0)
            .query(EXPORTER.max(level, MetricId::ProcessThreads), "{{instance}}"),
    ]
}
