//! Support for the tests, the soak tests and the demo. Does not depend on the exporter: its unit tests use this
//! crate, and would otherwise link a second copy of the exporter's types.
//!
//! Out of scope: builders of the exporter's own types.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code fails by panicking")]

pub mod expected;
pub mod harness;
pub mod http;
pub mod log_capture;
pub mod rng;
pub mod scrape;
pub mod series;

use std::time::Duration;

/// Longest wait for anything that must happen. Generous because test machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
