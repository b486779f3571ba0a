//! Time bounds, statuses and forecasts of groups compared with the truth of a simulated world.
//!
//! The tests run in one process and without HTTP, so that a million checks take seconds. The simulator provides the truth
//! and its time is advanced. The truth is converted into decoded responses, which a region state applies as usual. Product
//! and simulator share no code.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test helpers panic on failure, like assertions, and a run prints its measurements"
)]

mod bounds;
mod check;
mod forecast;
mod harness;
mod memory;
mod responses;
mod skew;
mod status;
mod worlds;
