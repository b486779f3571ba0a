//! What users of the simulator rely on, over real sockets with a client written by hand.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail tests")]

mod actions;
mod auth;
mod client;
mod credential_services;
mod faults;
mod running;
mod scenarios;
