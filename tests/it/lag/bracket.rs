//! The bounds of the age of the oldest unread message hold, and are as close to each other as polls are.

use std::thread;

use alikafka_simulator::{ConsumerMode, GroupSpec, InstanceSpec, OffsetSpec, TopicSpec, WorldOptions};
use tokio::time::Duration;

use super::{
    check::{Lagging, Rules, Tally},
    rig::{Habits, REGION, Rig},
    worlds::Traits,
};

/// Runs a world for so many passes.
fn run(traits: &Traits, mut rig: Rig, passes: u32, rules: Rules) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..passes {
        traits.stir(&mut rig);
        rig.pass();
        rig.check(rules, &mut tally);
    }
    tally
}

/// Runs each kind of world with so many seeds, two at a time.
async fn run_all(seeds: std::ops::Range<u64>, passes: u32) -> Tally {
    let mut lanes: [Vec<(Traits, Rig)>; 2] = Default::default();
    for (i, (seed, traits)) in
        seeds.flat_map(|seed| Traits::all().into_iter().map(move |t| (seed, t))).enumerate()
    {
        let rig = traits.start(seed).await;
        lanes[i % 2].push((traits, rig));
    }
    let mut total = Tally::default();
    thread::scope(|scope| {
        let lanes: Vec<_> = lanes
            .into_iter()
            .map(|lane| {
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    for (traits, rig) in lane {
                        let mut of_world = run(&traits, rig, passes, Rules::default());
                        of_world.remark_of(traits.name);
                        tally.join(of_world);
                    }
                    tally
                })
            })
            .collect();
        for lane in lanes {
            match lane.join() {
                Ok(tally) => total.join(tally),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    total
}

/// All that was to be looked at has been.
fn assert_covers(tally: &Tally, partitions: u64) {
    assert!(tally.violations == 0 && tally.partitions >= partitions, "{tally}");
    assert!(tally.bracketed >= partitions / 3, "{tally}");
    for kind in ["steady", "bursty", "trickle", "idle", "compacted", "local", "big"] {
        assert!(tally.of_topics(kind) >= partitions / 30, "{kind}: {tally}");
    }
    for reader in ["healthy", "slow", "catching up", "stalled", "stopped", "flapping"] {
        assert!(tally.of_readers(reader) >= partitions / 50, "{reader}: {tally}");
    }
}

#[tokio::test]
async fn the_bounds_hold_for_every_partition_at_every_poll_of_a_million_checks() {
    let tally = run_all(1..5, 300).await;
    assert_covers(&tally, 1_000_000);
}

#[tokio::test]
#[ignore = "ten minutes: twenty million checks, `cargo test --test it twenty_million -- --ignored`"]
async fn the_bounds_hold_for_twenty_million_checks() {
    let tally = run_all(1_000..1_040, 900).await;
    assert_covers(&tally, 20_000_000);
    println!("{tally}");
}

/// Worlds in which nobody is put back, so that what is asked for has not been forgotten.
async fn run_narrow(seeds: std::ops::Range<u64>, passes: u32) -> Tally {
    let late = Habits { late_percent: 30, width_ms: 800, ..Habits::GOOD };
    let bad = Habits { fails_percent: 10, torn_percent: 10, ..late };
    let plain =
        Traits { topic_events: 2, group_events: 5, rewinds: false, partitions: (10, 14), ..Traits::PLAIN };
    let rules = Rules { narrow: true, ..Rules::default() };
    let mut total = Tally::default();
    for seed in seeds {
        for (serverless, habits) in [(false, Habits::GOOD), (true, Habits::GOOD), (true, late), (true, bad)] {
            let traits = Traits { serverless, habits, ..plain };
            total.join(run(&traits, traits.start(seed).await, passes, rules));
        }
    }
    total
}

#[tokio::test]
async fn a_bracket_is_as_narrow_as_the_polls_around_its_message() {
    let tally = run_narrow(11..15, 10).await;
    assert!(tally.violations == 0 && tally.too_wide == 0 && tally.measured() > 5_000, "{tally}");
}

/// What is remembered of a partition is bounded: of what is long ago fewer polls are left.
#[tokio::test]
async fn a_bracket_of_what_is_long_ago_is_wider_but_seldom_by_more_than_half_of_its_age() {
    let tally = run_narrow(21..22, 120).await;
    assert!(tally.violations == 0 && tally.measured() > 20_000, "{tally}");
    assert!(tally.too_wide * 3 < tally.measured() && tally.far_too_wide * 10 < tally.measured(), "{tally}");
}

#[tokio::test]
async fn a_ceiling_is_there_from_the_first_pass_where_times_are_told_and_from_the_second_else() {
    for serverless in [false, true] {
        let traits = Traits { serverless, commit: Duration::from_secs(45), ..Traits::PLAIN };
        let (mut at_once, mut told, mut seen_coming) = (0, 0, 0);
        for seed in 60..68 {
            let mut rig = traits.start(seed).await;
            for pass in 0..3 {
                rig.pass();
                for Lagging { truth, bounds, is_timed, is_seen_coming } in rig.lagging() {
                    if is_timed || is_seen_coming {
                        assert!(bounds.upper.is_some(), "pass {pass}: {bounds:?} of {truth:?}");
                    }
                    told += u32::from(is_timed);
                    at_once += u32::from(is_timed && pass == 0);
                    seen_coming += u32::from(is_seen_coming && !is_timed);
                }
            }
        }
        assert_eq!((at_once > 100, told > 300), (!serverless, !serverless), "{at_once} {told}");
        assert!(seen_coming > 30, "{seen_coming} from polls alone");
    }
}

/// Ends that fall tell by themselves that a topic is another, passes before its list does; where it has outgrown the
/// one before, only the list tells.
#[tokio::test]
async fn nothing_of_a_topic_that_was_deleted_is_held_against_the_one_after_it() {
    for (messages, is_listed) in [(400, true), (30, false)] {
        let mut rig = Rig::start(WorldOptions::empty([REGION]), Habits::GOOD, 7).await;
        rig.world(|w| {
            w.add_instance(REGION, InstanceSpec::new("i"));
            w.add_topic("i", TopicSpec::new("t", 2)).unwrap();
            let from = OffsetSpec::At(20);
            let group = GroupSpec { consumer: ConsumerMode::Stopped, from, ..GroupSpec::new("g", &["t"]) };
            w.add_group("i", group).unwrap();
        });
        let write = |rig: &Rig, n| {
            (0..2).for_each(|partition| rig.world(|w| w.append("i", "t", partition, n)).unwrap());
        };
        let mut tally = Tally::default();
        for pass in 0..30 {
            match pass {
                3 => write(&rig, 100),
                // Just after the lists were asked for.
                21 => {
                    rig.recreate("i", "t", true);
                    write(&rig, messages);
                    if is_listed {
                        rig.discover();
                    }
                }
                _ => {}
            }
            rig.pass();
            rig.check(Rules::default(), &mut tally);
        }
        // Two partitions have something to read from the fourth pass on, and none is ever without a bound.
        assert!(tally.violations == 0 && tally.bracketed == 54, "{messages} messages: {tally}");
    }
}
