//! Soak tests. `just soak` runs the long ones, which are ignored by default; `cargo test` runs the short ones.
//! README.md in this folder lists the limits, and the faults that break them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code fails by panicking, and a run prints its measurements"
)]

use std::{env, time::Duration};

mod churn;
mod lasting_failure;
mod measured_exporter;
mod timing;

/// An hour instead of a day. The limits on memory and time need the long runs.
mod hours {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_hour_of_churn_and_faults_leaves_correct_metrics() {
        let pass = Duration::from_millis(250);
        let scale = churn::Scale { passes: 60, pass, instances: 6, topics: 2, groups: 2, sample: 10 };
        churn::run(7, scale).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_hour_of_one_failure_logs_few_lines() {
        tokio::join!(
            lasting_failure::run(lasting_failure::Failure::Auth, 60, 20),
            lasting_failure::run(lasting_failure::Failure::Tls, 60, 20),
            lasting_failure::run(lasting_failure::Failure::Timeout, 24, 8),
        );
    }
}

/// Passes of a day at one per minute.
const DAY: usize = 1_440;
const SAMPLE: usize = 50;

/// Runs that can run in parallel because they measure no time.
mod days {
    use super::*;

    /// Number of passes. `SOAK_PASSES` sets a shorter or longer run, e.g. for debugging.
    fn passes() -> usize {
        env::var("SOAK_PASSES").map_or(DAY, |passes| passes.parse().unwrap())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes six minutes: just soak"]
    async fn a_day_of_churn_and_faults() {
        let pass = Duration::from_millis(250);
        let scale =
            churn::Scale { passes: passes(), pass, instances: 20, topics: 2, groups: 2, sample: SAMPLE };
        churn::run(20_190_916, scale).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes three minutes: just soak"]
    async fn a_day_of_rejected_credentials() {
        lasting_failure::run(lasting_failure::Failure::Auth, passes(), SAMPLE).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes five minutes: just soak"]
    async fn a_day_of_timeouts() {
        lasting_failure::run(lasting_failure::Failure::Timeout, passes(), SAMPLE).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes three minutes: just soak"]
    async fn a_day_of_an_endpoint_without_tls() {
        lasting_failure::run(lasting_failure::Failure::Tls, passes(), SAMPLE).await;
    }
}

/// Runs that measure time, one after the other on an otherwise idle machine.
mod times {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes half a minute: just soak"]
    async fn a_dead_region_does_not_slow_the_others_down() {
        timing::one_dead_region(30).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes two minutes: just soak"]
    async fn random_failures_add_at_most_a_tenth_to_the_calls() {
        timing::random_failures(11, 100).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "takes a quarter of a minute: just soak"]
    async fn the_first_pass_runs_at_the_allowed_rate() {
        timing::first_pass(1_000, 100).await;
    }
}
