//! What each fuzz target does with its bytes, and what must hold whatever they are. The integration tests
//! run the same functions over the seeds, so that every change compiles and runs them without a fuzzer.
//!
//! Beyond "does not panic": answers are judged by a second, plain reader of JSON, numbers and dates, and a
//! page by a second reader of the text format.

#![allow(unreachable_pub, missing_docs, reason = "a module of the integration tests as well as a crate")]

pub mod answers;
pub mod config;
pub mod page;
pub mod profiles;
pub mod scalars;

/// Name and body of a target. Its seeds are in the folder of that name under `seeds`.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 11] = [
    ("regions", answers::regions),
    ("instances", answers::instances),
    ("topics", answers::topics),
    ("topic_status", answers::topic_status),
    ("groups", answers::groups),
    ("group_progress", answers::group_progress),
    ("envelope", answers::envelope),
    ("config", config::config),
    ("page", page::page),
    ("profiles", profiles::profiles),
    ("scalars", scalars::scalars),
];
