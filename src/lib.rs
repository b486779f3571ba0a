//! Prometheus exporter for Alibaba Cloud Message Queue for Apache Kafka, read through its management API.
//!
//! Data flows one way, as plain values:
//! `config -> collect (discovery, polling) -> api (wire) -> model -> lag -> snapshot -> exposition -> web`.
//! A scrape never calls the cloud; the cloud never sees a scrape.

pub mod api;
pub mod clock;
pub mod collect;
pub mod config;
pub mod exposition;
pub mod health;
pub mod lag;
pub mod logging;
pub mod model;
pub mod snapshot;
pub mod web;

/// What the pages are served as.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// The path of the metrics page.
    pub telemetry_path: String,
}

/// Why the daemon ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RunError(pub String);

/// STUB, replaced by the wiring of collector and web server: waits for the shutdown.
///
/// # Errors
/// [`RunError`] if a loop died.
pub async fn run(
    config: config::Config,
    web: WebOptions,
    listeners: Vec<tokio::net::TcpListener>,
    shutdown: tokio_util::sync::CancellationToken,
) -> Result<(), RunError> {
    shutdown.cancelled().await;
    drop((config, web, listeners));
    Ok(())
}
