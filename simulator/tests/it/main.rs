//! Tests of the public behaviour of the simulator, over real sockets with an independent client.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail tests")]

mod actions;
mod auth;
mod client;
mod credential_services;
mod faults;
mod running;
mod scenarios;
