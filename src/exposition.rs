//! From a snapshot to the text that Prometheus reads.
//!
//! Owns: the [`catalog`] of every metric, the [`Renderer`] that turns a [`Snapshot`] into a [`Exposition`], the
//! compressed form of a page, and the exporter's metrics about itself ([`SelfMetrics`]). Refuses: I/O, clocks,
//! the cloud's wire, and HTTP: a page is bytes, whoever sends them.
//!
//! [`Snapshot`]: crate::snapshot::Snapshot

pub mod catalog;
pub mod chunk;
mod limit;
pub mod publisher;
pub mod render;
pub mod self_metrics;
mod series;
mod text;

pub use chunk::Exposition;
pub use render::Renderer;
pub use self_metrics::SelfMetrics;
