//! Lag in seconds and what is the matter with a group, against the truth of a simulated world: the bounds hold
//! for every partition at every poll, stuck groups are found and healthy ones left alone.
//!
//! In process and without the wire, so that a million checks take seconds: the simulator gives the truth and is
//! moved in time, the truth is turned into answers, and a fleet takes them as it takes the cloud's. The two share
//! no code.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's own helpers fail by panicking, as its assertions do, and a run tells what it measured"
)]

mod bracket;
mod check;
mod forecast;
mod memory;
mod rig;
mod skew;
mod status;
mod told;
mod worlds;
