//! The rows of the exporter board about its HTTP server and its process.
//!
//! Owns: those rows. Refuses: what the exporter does in the cloud.

use alikafka_exporter::exposition::catalog::MetricId;
use serde_json::json;

use super::{
    exporter::F,
    panel::Panel,
    query::Level,
    shared::UP,
    style::{PLAIN, label, value},
};

pub(super) fn http() -> Vec<Panel> {
    vec![
        Panel::graph(
            "Requests",
            "HTTP requests a second that were answered, by path and status code.",
            "No request was answered yet",
        )
        .size(6, 9)
        .unit("reqps")
        .legend(&["mean", "max"])
        .axis("requests/s")
        .query(F.rate("path, code", MetricId::HttpRequests), "{{path}} {{code}}"),
        Panel::graph(
            "Duration, p99",
            "The time until the answer was ready that one request in a hundred exceeded, by path. A scrape never waits for the cloud.",
            "No request was answered yet",
        )
        .size(6, 9)
        .unit("s")
        .axis("duration")
        .query(F.quantile("0.99", "path", MetricId::HttpDuration), "{{path}}"),
        Panel::graph(
            "Turned away",
            "HTTP connections and requests a second that were turned away, by reason.",
            "None was turned away",
        )
        .size(6, 9)
        .unit("reqps")
        .legend(&["mean", "max"])
        .axis("requests/s")
        .query(F.rate("reason", MetricId::HttpRejected), "{{reason}}"),
        Panel::graph("Connections", "HTTP connections that are open, by exporter.", "No exporter is scraped")
            .size(6, 9)
            .decimals(0)
            .axis("connections")
            .query(F.max(Level::Exporter, MetricId::HttpConnections), "{{instance}}"),
    ]
}

pub(super) fn process() -> Vec<Panel> {
    vec![
        Panel::table(
            "Builds",
            "What each exporter was built from, since when it runs, and when its configuration was last loaded.",
            "No exporter is scraped",
        )
        .size(24, 6)
        .judged(PLAIN)
        .rows(F.max_with(Level::Exporter, "version, revision, rustversion", MetricId::BuildInfo))
        .rows(F.up())
        .rows(format!("time() - {}", F.max(Level::Exporter, MetricId::ProcessStart)))
        .rows(format!("{} * 1000", F.max(Level::Exporter, MetricId::ReloadTime)))
        .columns(
            &[
                label("instance", "Exporter"),
                label("job", "Job"),
                value('B', "Page", "none").words(&UP).width(90),
                label("version", "Version"),
                label("revision", "Revision"),
                label("rustversion", "Compiler"),
                value('C', "Runs since", "s").decimals(1),
                value('D', "Configuration loaded", "dateTimeAsIso"),
            ],
            "Exporter",
        )
        .hiding(&["Value #A"]),
        Panel::graph("CPU", "Cores that the process uses.", "No exporter is scraped")
            .size(6, 9)
            .unit("none")
            .decimals(3)
            .axis("cores")
            .legend(&["mean", "max"])
            .query(F.rate("job, instance", MetricId::ProcessCpu), "{{instance}}"),
        Panel::graph("Memory", "Resident memory, and dashed virtual memory.", "No exporter is scraped")
            .size(6, 9)
            .unit("bytes")
            .axis("memory")
            .query(F.max(Level::Exporter, MetricId::ProcessResident), "{{instance}}: resident")
            .query(F.max(Level::Exporter, MetricId::ProcessVirtual), "{{instance}}: virtual")
            .of_query('B', &[("custom.lineStyle", json!({ "fill": "dash", "dash": [6, 6] }))]),
        Panel::graph(
            "File descriptors",
            "Open file descriptors, and dashed, on the right, their share of how many may be open.",
            "No exporter is scraped",
        )
        .size(6, 9)
        .decimals(0)
        .axis("descriptors")
        .query(F.max(Level::Exporter, MetricId::ProcessOpenFds), "{{instance}}: open")
        .query(
            format!(
                "{} / {}",
                F.max(Level::Exporter, MetricId::ProcessOpenFds),
                F.max(Level::Exporter, MetricId::ProcessMaxFds)
            ),
            "{{instance}}: share",
        )
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
        Panel::graph("Threads", "Threads of the process.", "No exporter is scraped")
            .size(6, 9)
            .decimals(0)
            .axis("threads")
            .query(F.max(Level::Exporter, MetricId::ProcessThreads), "{{instance}}"),
    ]
}
