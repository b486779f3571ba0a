//! Bounds of the age of the oldest unread message: they are true, and as close to each other as polls.

use std::thread;

use alikafka_simulator::{ConsumerMode, GroupSpec, InstanceSpec, OffsetSpec, TopicSpec, WorldOptions};
use tokio::time::Duration;

use super::{
    check::{CheckRules, LaggingPartition, Tally},
    harness::{LagHarness, PollingBehavior, REGION},
    worlds::WorldTraits,
};

/// Runs a world for some passes.
fn run(traits: &WorldTraits, mut harness: LagHarness, passes: u32, rules: CheckRules) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..passes {
        traits.change(&mut harness);
        harness.pass();
        harness.check(rules, &mut tally);
    }
    tally
}

/// Runs each kind of world with each seed, two at a time.
async fn run_all(seeds: std::ops::Range<u64>, passes: u32) -> Tally {
    let mut queues: [Vec<(WorldTraits, LagHarness)>; 2] = Default::default();
    for (i, (seed, traits)) in
        seeds.flat_map(|seed| WorldTraits::all().into_iter().map(move |t| (seed, t))).enumerate()
    {
        let harness = traits.start(seed).await;
        queues[i % 2].push((traits, harness));
    }
    let mut total = Tally::default();
    thread::scope(|scope| {
        let queues: Vec<_> = queues
            .into_iter()
            .map(|queue| {
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    for (traits, harness) in queue {
                        let mut world_tally = run(&traits, harness, passes, CheckRules::default());
                        world_tally.label_details(traits.name);
                        tally.join(world_tally);
                    }
                    tally
                })
            })
            .collect();
        for queue in queues {
            match queue.join() {
                Ok(tally) => total.join(tally),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    total
}

/// Asserts that there are no violations and that every kind of topic and consumer was checked.
fn assert_covers(tally: &Tally, partitions: u64) {
    assert!(tally.violations == 0 && tally.partitions >= partitions, "{tally}");
    assert!(tally.bounded >= partitions / 3, "{tally}");
    for kind in ["steady", "bursty", "trickle", "idle", "compacted", "local", "big"] {
        assert!(tally.of_topics(kind) >= partitions / 30, "{kind}: {tally}");
    }
    for consumer in ["healthy", "slow", "catching up", "stalled", "stopped", "flapping"] {
        assert!(tally.of_consumers(consumer) >= partitions / 50, "{consumer}: {tally}");
    }
}

#[tokio::test]
async fn the_bounds_are_true_in_a_million_checks() {
    let tally = run_all(1..5, 300).await;
    assert_covers(&tally, 1_000_000);
}

#[tokio::test]
#[ignore = "ten minutes: twenty million checks, `cargo test --test it twenty_million -- --ignored`"]
async fn the_bounds_are_true_in_twenty_million_checks() {
    let tally = run_all(1_000..1_040, 900).await;
    assert_covers(&tally, 20_000_000);
    println!("{tally}");
}

/// Runs worlds without rewinds, so that no needed point has been pruned.
async fn run_narrow(seeds: std::ops::Range<u64>, passes: u32) -> Tally {
    let late = PollingBehavior { late_percent: 30, width_ms: 800, ..PollingBehavior::GOOD };
    let bad = PollingBehavior { fails_percent: 10, incomplete_percent: 10, ..late };
    let plain = WorldTraits {
        topic_events: 2,
        group_events: 5,
        rewinds: false,
        partitions: (10, 14),
        ..WorldTraits::PLAIN
    };
    let rules = CheckRules { narrow: true, ..CheckRules::default() };
    let mut total = Tally::default();
    for seed in seeds {
        for (serverless, behavior) in
            [(false, PollingBehavior::GOOD), (true, PollingBehavior::GOOD), (true, late), (true, bad)]
        {
            let traits = WorldTraits { serverless, behavior, ..plain };
            total.join(run(&traits, traits.start(seed).await, passes, rules));
        }
    }
    total
}

#[tokio::test]
async fn bounds_are_as_close_as_the_polls_around_the_message() {
    let tally = run_narrow(11..15, 10).await;
    assert!(tally.violations == 0 && tally.too_wide == 0 && tally.measured() > 5_000, "{tally}");
}

/// The history has a maximum size, so fewer points remain of older polls.
#[tokio::test]
async fn bounds_of_old_messages_are_rarely_wider_by_more_than_half_of_the_age() {
    let tally = run_narrow(21..22, 120).await;
    assert!(tally.violations == 0 && tally.measured() > 20_000, "{tally}");
    assert!(tally.too_wide * 3 < tally.measured() && tally.far_too_wide * 10 < tally.measured(), "{tally}");
}

#[tokio::test]
async fn an_upper_bound_exists_from_the_first_pass_with_timestamps_and_from_the_second_without() {
    for serverless in [false, true] {
        let traits = WorldTraits { serverless, commit: Duration::from_secs(45), ..WorldTraits::PLAIN };
        let (mut in_first_pass, mut with_timestamp, mut by_polls) = (0, 0, 0);
        for seed in 60..68 {
            let mut harness = traits.start(seed).await;
            for pass in 0..3 {
                harness.pass();
                for LaggingPartition { truth, bounds, has_timestamp, was_polled_before } in harness.lagging()
                {
                    if has_timestamp || was_polled_before {
                        assert!(bounds.upper.is_some(), "pass {pass}: {bounds:?} of {truth:?}");
                    }
                    with_timestamp += u32::from(has_timestamp);
                    in_first_pass += u32::from(has_timestamp && pass == 0);
                    by_polls += u32::from(was_polled_before && !has_timestamp);
                }
            }
        }
        assert_eq!(
            (in_first_pass > 100, with_timestamp > 300),
            (!serverless, !serverless),
            "{in_first_pass} {with_timestamp}"
        );
        assert!(by_polls > 30, "{by_polls} from polls alone");
    }
}

/// An end that moves back shows that a topic was recreated, before the list does. If the new topic has outgrown the old
/// one, only the list shows it.
#[tokio::test]
async fn the_history_of_a_deleted_topic_does_not_affect_its_successor() {
    for (messages, is_listed) in [(400, true), (30, false)] {
        let mut harness = LagHarness::start(WorldOptions::empty([REGION]), PollingBehavior::GOOD, 7).await;
        harness.with_world(|w| {
            w.add_instance(REGION, InstanceSpec::new("i"));
            w.add_topic("i", TopicSpec::new("t", 2)).unwrap();
            let from = OffsetSpec::At(20);
            let group = GroupSpec { consumer: ConsumerMode::Stopped, from, ..GroupSpec::new("g", &["t"]) };
            w.add_group("i", group).unwrap();
        });
        let write = |harness: &LagHarness, n| {
            (0..2).for_each(|partition| harness.with_world(|w| w.append("i", "t", partition, n)).unwrap());
        };
        let mut tally = Tally::default();
        for pass in 0..30 {
            match pass {
                3 => write(&harness, 100),
                // Just after a discovery.
                21 => {
                    harness.recreate("i", "t", true);
                    write(&harness, messages);
                    if is_listed {
                        harness.discover();
                    }
                }
                _ => {}
            }
            harness.pass();
            harness.check(CheckRules::default(), &mut tally);
        }
        // Two partitions have lag from the fourth pass, always with both bounds.
        assert!(tally.violations == 0 && tally.bounded == 54, "{messages} messages: {tally}");
    }
}
