//! Soak tests. `just soak` runs the long ones, which are ignored by default; `cargo test` runs the short ones.
//! README.md in this folder lists the limits, and the faults that break them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's own helpers fail by panicking, as its assertions do, and a run tells what it measured"
)]

use std::{env, time::Duration};

mod failing;
mod fleet;
mod paces;
mod rig;

/// An hour instead of a day. The limits on memory and time need the long runs.
mod hours {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_hour_of_churn_and_faults_leaves_correct_metrics() {
        let pass = Duration::from_millis(250);
        let scale = fleet::Scale { passes: 60, pass, instances: 6, topics: 2, groups: 2, sample: 10 };
        fleet::run(7, scale).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_hour_of_one_failure_logs_few_lines() {
        tokio::join!(
            failing::run(failing::Failure::Auth, 60, 20),
            failing::run(failing::Failure::Tls, 60, 20),
            failing::run(failing::Failure::Timeout, 24, 8),
        );
    }
}

/// Passes of a day at one a minute.
const DAY: usize = 1_440;
const SAMPLE: usize = 50;

/// Runs that may stand beside each other: they measure no time.
mod days {
    use super::*;

    /// `SOAK_PASSES` is for the hunt after a fault: a shorter run, or a longer one.
    fn passes() -> usize {
        env::var("SOAK_PASSES").map_or(DAY, |passes| passes.parse().unwrap())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes six minutes: just soak"]
    async fn of_a_fleet_with_churn_and_faults() {
        let pass = Duration::from_millis(250);
        let scale =
            fleet::Scale { passes: passes(), pass, instances: 20, topics: 2, groups: 2, sample: SAMPLE };
        fleet::run(20_190_916, scale).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes three minutes: just soak"]
    async fn of_a_key_that_is_refused() {
        failing::run(failing::Failure::Auth, passes(), SAMPLE).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes five minutes: just soak"]
    async fn of_calls_that_get_no_answer() {
        failing::run(failing::Failure::Timeout, passes(), SAMPLE).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes three minutes: just soak"]
    async fn of_an_endpoint_that_speaks_no_tls() {
        failing::run(failing::Failure::Tls, passes(), SAMPLE).await;
    }
}

/// Runs that measure time: one after the other, with the machine to themselves.
mod times {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes half a minute: just soak"]
    async fn a_dead_region_does_not_slow_the_others_down() {
        paces::one_dead_region(30).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes two minutes: just soak"]
    async fn a_fifth_of_failures_costs_a_tenth_more_calls_at_most() {
        paces::random_failures(11, 100).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes a quarter of a minute: just soak"]
    async fn a_first_pass_takes_as_long_as_its_calls_at_the_allowed_rate() {
        paces::first_pass(1_000, 100).await;
    }
}
