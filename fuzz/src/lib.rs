//! Bodies of the fuzz targets: they run the exporter's parsers and renderer on arbitrary bytes and check invariants. The
//! integration tests run them on all seeds, so that every change compiles and runs them without a fuzzer.
//!
//! Beyond "does not panic", a second, simple parser checks JSON, numbers, dates and the text exposition format.

#![allow(unreachable_pub, missing_docs, reason = "a module of the integration tests as well as a crate")]

pub mod config;
pub mod exposition;
pub mod profiles;
pub mod responses;
pub mod scalars;

/// Name and body of a target. Its seeds are in the folder with that name under `seeds`; `tests/fixtures` has more.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 11] = [
    ("regions", responses::regions),
    ("instances", responses::instances),
    ("topics", responses::topics),
    ("topic_status", responses::topic_status),
    ("groups", responses::groups),
    ("group_progress", responses::group_progress),
    ("envelope", responses::envelope),
    ("config", config::config),
    ("exposition", exposition::exposition),
    ("profiles", profiles::profiles),
    ("scalars", scalars::scalars),
];
