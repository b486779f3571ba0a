//! From a snapshot to the text that Prometheus reads.
//!
//! Owns: the [`catalog`] of every metric, the [`Renderer`] that turns a [`Snapshot`] into a [`Page`], the
//! compressed form of a page, and the exporter's metrics about itself ([`Own`]). Refuses: I/O, clocks,
//! the cloud's wire, and HTTP: a page is bytes, whoever sends them.
//!
//! [`Snapshot`]: crate::snapshot::Snapshot

pub mod catalog;
mod draw;
mod limit;
pub mod own;
pub mod page;
pub mod publisher;
pub mod render;
mod text;

pub use catalog::Naming;
pub use own::Own;
pub use page::Page;
pub use render::{Granularity, Options, Renderer};
