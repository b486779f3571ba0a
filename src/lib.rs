//! Prometheus exporter for Alibaba Cloud Message Queue for Apache Kafka, read through its management API.
//!
//! Data flows one way, as plain values:
//! `config -> collect (discovery, polling) -> api (wire) -> model -> lag -> snapshot -> exposition -> web`.
//! A scrape never calls the cloud; the cloud never sees a scrape.

pub mod api;
pub mod clock;
pub mod collect;
pub mod config;
pub mod daemon;
pub mod explain;
pub mod exposition;
pub mod health;
pub mod lag;
pub mod logging;
pub mod model;
pub mod snapshot;
pub mod web;

pub use daemon::{ConfigSource, RunError, WebOptions, run};
