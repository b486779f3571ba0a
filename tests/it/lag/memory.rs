//! What the past takes in memory, after hours.

use alikafka_simulator::WorldOptions;

use super::{
    check::{Rules, Tally},
    rig::{Habits, Rig},
};

/// Bytes that the history of a partition of a group may take, on average.
const BYTES: usize = 200;

/// Six hours of a seeded world, polled each minute. Returns the bytes for each partition of each group.
async fn after_hours(variety: bool, seed: u64) -> usize {
    let world = WorldOptions { variety, groups_per_instance: 18, ..WorldOptions::default() };
    let habits = Habits { together: true, late_percent: 20, width_ms: 300, ..Habits::GOOD };
    let mut rig = Rig::start(world, habits, seed).await;
    let mut tally = Tally::default();
    let mut most = 0;
    for _ in 0..360 {
        rig.pass();
        rig.check(Rules::default(), &mut tally);
        let (bytes, partitions) = rig.history_bytes();
        most = most.max(bytes / partitions.max(1));
    }
    assert!(tally.violations == 0 && tally.partitions > 20_000, "{tally}");
    println!("variety {variety}: at most {most} bytes a partition, in the end {:?}", rig.history_bytes());
    assert!(most > 0, "something is remembered");
    most
}

#[tokio::test]
async fn the_history_of_a_mixed_world_takes_few_bytes_a_partition() {
    let bytes = after_hours(true, 5).await;
    assert!(bytes <= BYTES, "{bytes} bytes a partition");
}

#[tokio::test]
async fn the_history_of_a_healthy_world_takes_few_bytes_a_partition() {
    let bytes = after_hours(false, 6).await;
    assert!(bytes <= BYTES, "{bytes} bytes a partition");
}
