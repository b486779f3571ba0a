//! stub
#![allow(missing_docs, dead_code, unreachable_pub, reason = "while building")]
mod clock;
pub mod options;
pub mod sign;
pub mod world;
