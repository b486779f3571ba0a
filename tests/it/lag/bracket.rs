//! The bounds of the age of the oldest unread message hold, and are as close to each other as polls are.

use std::thread;

use tokio::time::Duration;

use super::{
    check::{Lagging, Rules, Tally},
    rig::{Habits, Rig},
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
                        let of_world = run(&traits, rig, passes, Rules::default());
                        assert!(of_world.violations == 0, "world {}: {of_world}", traits.name);
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
    assert!(tally.partitions >= partitions, "{tally}");
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
    let tally = run_all(1..7, 300).await;
    assert_covers(&tally, 1_000_000);
}

#[tokio::test]
#[ignore = "ten minutes: twenty million checks, `cargo test --test it twenty_million -- --ignored`"]
async fn the_bounds_hold_for_twenty_million_checks() {
    let tally = run_all(1_000..1_040, 900).await;
    assert_covers(&tally, 20_000_000);
    println!("{tally}");
}

#[tokio::test]
async fn a_bracket_is_as_narrow_as_the_polls_around_its_message() {
    let late = Habits { late_percent: 30, width_ms: 800, ..Habits::GOOD };
    for (serverless, habits) in [(false, Habits::GOOD), (true, Habits::GOOD), (true, late)] {
        let traits = Traits { serverless, habits, topic_events: 2, group_events: 3, ..Traits::PLAIN };
        let rules = Rules { narrow: true, ..Rules::default() };
        let tally = run(&traits, traits.start(11).await, 240, rules);
        assert!(tally.violations == 0 && tally.too_wide == 0 && tally.bracketed > 3_000, "{tally}");
    }
}

#[tokio::test]
async fn a_ceiling_is_there_from_the_first_pass_where_times_are_told_and_from_the_second_else() {
    for serverless in [false, true] {
        let traits = Traits { serverless, commit: Duration::from_secs(45), ..Traits::PLAIN };
        let mut rig = traits.start(3).await;
        let (mut told, mut seen_coming) = (0, 0);
        for pass in 0..3 {
            rig.pass();
            for Lagging { truth, age, is_timed, is_seen_coming } in rig.lagging() {
                if is_timed || is_seen_coming {
                    assert!(age.ceiling.is_some(), "pass {pass}: {age:?} of {truth:?}");
                }
                told += u32::from(is_timed);
                seen_coming += u32::from(is_seen_coming && !is_timed);
            }
            if pass == 0 {
                assert_eq!(told > 20, !serverless, "{told} ceilings from times in the first pass");
            }
        }
        assert!(seen_coming > if serverless { 20 } else { 5 }, "{seen_coming} from polls alone");
    }
}
