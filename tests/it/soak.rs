//! An hour of the runs of `tests/soak`, so that every change sees them: nothing untrue, no panic, nothing
//! that grows with each pass. The bounds on memory and time need the long runs.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's own helpers fail by panicking, as its assertions do, and a run tells what it measured"
)]

use std::time::Duration;

#[path = "../soak/failing.rs"]
mod failing;
#[path = "../soak/fleet.rs"]
mod fleet;
#[path = "../soak/rig.rs"]
mod rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_of_churn_and_faults_leaves_the_truth_and_nothing_else() {
    let pass = Duration::from_millis(250);
    let scale = fleet::Scale { passes: 60, pass, instances: 6, topics: 2, groups: 2, sample: 10 };
    fleet::run(7, scale).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_of_one_failure_costs_few_lines_and_nothing_else() {
    let silence = failing::run(failing::Failure::Timeout, 24, 8);
    tokio::join!(
        failing::run(failing::Failure::Auth, 60, 20),
        failing::run(failing::Failure::Tls, 60, 20),
        silence
    );
}
