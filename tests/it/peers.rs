//! Known errors of other consumer lag exporters, see `tests/PEERS.md`.
//!
//! The name of each test states the correct behavior, its comment the issues about the error. These tests run in one
//! process: responses are applied to a region state, and its metrics are rendered.

#![cfg(test)]

mod bounds;
mod harness;
mod names;
mod status;
mod table;
mod values;
