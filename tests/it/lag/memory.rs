//! Memory of histories and windows after hours of polls.

use alikafka_simulator::WorldOptions;

use super::{
    check::{CheckRules, Tally},
    harness::{LagHarness, PollingBehavior},
};

/// Maximum bytes per partition of each group, on average.
const MAX_BYTES: usize = 200;

/// Polls a world once per minute for six hours. Returns the maximum bytes per partition of each group.
async fn after_hours(variety: bool, seed: u64) -> usize {
    let world = WorldOptions { variety, groups_per_instance: 18, ..WorldOptions::default() };
    let behavior =
        PollingBehavior { together: true, late_percent: 20, width_ms: 300, ..PollingBehavior::GOOD };
    let mut harness = LagHarness::start(world, behavior, seed).await;
    let mut tally = Tally::default();
    let mut most = 0;
    for _ in 0..360 {
        harness.pass();
        harness.check(CheckRules::default(), &mut tally);
        let (bytes, partitions) = harness.history_bytes();
        most = most.max(bytes / partitions.max(1));
    }
    assert!(tally.violations == 0 && tally.partitions > 20_000, "{tally}");
    println!("variety {variety}: at most {most} bytes per partition, finally {:?}", harness.history_bytes());
    assert!(most > 0, "there is a history");
    most
}

#[tokio::test]
async fn the_history_of_a_mixed_world_takes_few_bytes_per_partition() {
    let bytes = after_hours(true, 5).await;
    assert!(bytes <= MAX_BYTES, "{bytes} bytes per partition");
}

#[tokio::test]
async fn the_history_of_a_healthy_world_takes_few_bytes_per_partition() {
    let bytes = after_hours(false, 6).await;
    assert!(bytes <= MAX_BYTES, "{bytes} bytes per partition");
}
