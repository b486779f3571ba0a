//! Simulated groups with known behavior: a confusion matrix over many seeds, and known errors of Burrow.

use std::collections::BTreeMap;

use test_support::rng::Rng;

use super::*;
use crate::lag::{
    bounds::GroupBounds,
    reference_model::{
        GroupHarness, PollPattern, SimulatedPartition, TimedAssessment, WINDOW, group_lag, simulate,
    },
};

const SEEDS: u64 = 40;
const EVERY: f64 = 60.0;

/// Poll pattern that differs from seed to seed.
fn polls(rng: &mut Rng) -> PollPattern {
    let interval = rng.pick(&[15.0, 30.0, EVERY, EVERY]);
    PollPattern { interval, jitter: rng.between(0.0, interval / 20.0), failures: rng.pick(&[0.0, 0.0, 0.1]) }
}

fn state(rng: &mut Rng) -> Option<GroupState> {
    rng.pick(&[None, Some(GroupState::Stable), Some(GroupState::Stable)])
}

/// Partitions with steady production, and a group that consumes `speed` times as fast.
fn steady(speed: f64, commit_intervals: &[i64], rng: &mut Rng) -> Vec<SimulatedPartition> {
    let commit_interval = rng.pick(commit_intervals);
    let produced = rng.pick(&[0.3, 3.0, 40.0, 900.0]);
    let count = rng.pick(&[1, 2, 4, 6]);
    (0..count)
        .map(|_| {
            let produced = produced * rng.between(0.5, 1.5);
            SimulatedPartition::new(produced, produced * speed, commit_interval, rng)
        })
        .collect()
}

/// Simulates a healthy group of some kind.
fn healthy(kind: &str, rng: &mut Rng) -> Vec<TimedAssessment> {
    let polls = polls(rng);
    let state = state(rng);
    let commit_intervals = [1, 5, 10, 30, 60, 61, 120, 300];
    let hour = 3600;
    match kind {
        "steady" => {
            simulate(&mut steady(20.0, &commit_intervals, rng), hour, polls, state, rng, |_, _, _| {})
        }
        "uneven" => {
            // The rate changes by up to a half every second.
            let mut partitions = steady(20.0, &commit_intervals, rng);
            let mean: Vec<f64> = partitions.iter().map(|l| l.produced).collect();
            simulate(&mut partitions, hour, polls, state, rng, |_, partitions, rng| {
                partitions
                    .iter_mut()
                    .zip(&mean)
                    .for_each(|(l, mean)| l.produced = mean * rng.between(0.5, 1.5));
            })
        }
        "bursty" => {
            let mut partitions = vec![SimulatedPartition::new(0.0, 200.0, rng.pick(&[5, 30]), rng)];
            let (period, length) = (rng.pick(&[420, 540]), rng.pick(&[30, 60, 90]));
            simulate(&mut partitions, hour, polls, state, rng, |s, partitions, _| {
                partitions[0].produced = if s % period < length { 400.0 } else { 0.0 };
            })
        }
        "idle" => {
            simulate(&mut steady(0.0, &commit_intervals, rng), hour, polls, state, rng, |_, partitions, _| {
                partitions.iter_mut().for_each(|l| l.produced = 0.0);
            })
        }
        "slow topic" => {
            // Rare messages, consumed immediately.
            let mut partitions =
                vec![SimulatedPartition::new(0.0, 100.0, rng.pick(&[1, 5, 60]), rng); rng.pick(&[1, 3])];
            let pause = rng.pick(&[60.0, 600.0, 1800.0]);
            simulate(&mut partitions, 3 * hour, polls, state, rng, |_, partitions, rng| {
                for partition in partitions.iter_mut() {
                    partition.produced = if rng.fraction() < 1.0 / pause { 1.0 } else { 0.0 };
                }
            })
        }
        "rebalance" => {
            let mut partitions = steady(20.0, &[5, 10, 30], rng);
            let begin = rng.between(900.0, 1800.0) as i64;
            let speeds: Vec<f64> = partitions.iter().map(|l| l.consumed).collect();
            simulate(&mut partitions, hour, polls, state, rng, |s, partitions, _| {
                let is_rebalancing = (begin..begin + 60).contains(&s);
                for (partition, speed) in partitions.iter_mut().zip(&speeds) {
                    partition.commits = !is_rebalancing;
                    partition.consumed = if is_rebalancing { 0.0 } else { *speed };
                }
            })
        }
        "catching up" => {
            let mut partitions = steady(1.5, &[5, 30], rng);
            partitions.iter_mut().for_each(|l| l.seek((l.committed - (l.produced * 3000.0) as i64).max(0)));
            simulate(&mut partitions, 2 * hour, polls, state, rng, |_, _, _| {})
        }
        "new partition" => {
            let mut partitions = steady(20.0, &[5, 10], rng);
            let new = partitions[0].clone();
            let begin = rng.between(900.0, 1800.0) as i64;
            simulate(&mut partitions, hour, polls, state, rng, |s, partitions, _| {
                if s == begin {
                    partitions.push(new.clone());
                }
            })
        }
        "re-created" => {
            let mut partitions = steady(20.0, &[5, 10], rng);
            let begin = rng.between(900.0, 1800.0) as i64;
            simulate(&mut partitions, hour, polls, state, rng, |s, partitions, _| {
                if s == begin {
                    for partition in partitions.iter_mut() {
                        partition.end = 0.0;
                        partition.seek(0);
                    }
                }
            })
        }
        other => panic!("no such kind: {other}"),
    }
}

const HEALTHY: [&str; 9] = [
    "steady",
    "uneven",
    "bursty",
    "idle",
    "slow topic",
    "rebalance",
    "catching up",
    "new partition",
    "re-created",
];

fn statuses(results: &[TimedAssessment]) -> impl Iterator<Item = (f64, Option<Status>)> {
    results.iter().map(|s| (s.at, s.assessment.status))
}

fn shares(results: impl Iterator<Item = Option<Status>>) -> BTreeMap<Option<Status>, usize> {
    let mut table = BTreeMap::new();
    results.for_each(|status| *table.entry(status).or_default() += 1);
    table
}

#[test]
fn healthy_groups_are_ok() {
    for kind in HEALTHY {
        let results: Vec<TimedAssessment> =
            (0..SEEDS).flat_map(|seed| healthy(kind, &mut Rng::new(seed))).collect();
        let table = shares(results.iter().map(|s| s.assessment.status));
        let count = |status| table.get(&status).copied().unwrap_or_default();
        let bad = [Status::Stalled, Status::Stopped, Status::Rewound, Status::DataLoss];
        assert!(bad.iter().all(|b| count(Some(*b)) == 0), "{kind}: {table:?}");
        // Less than 1 %.
        assert!(count(Some(Status::Lagging)) * 100 < results.len(), "{kind}: {table:?}");
        // The status is unknown only during the first polls.
        assert!(count(None) <= (SEEDS * 8) as usize, "{kind}: {table:?}");
        assert!(count(Some(Status::Ok)) * 10 > results.len() * 8, "{kind}: {table:?}");
    }
}

/// Simulates a group that consumes until a time and then stops. Returns since when an offset is unchanged with lag.
fn stop_consuming(
    state: Option<GroupState>,
    stops_producing: bool,
    rng: &mut Rng,
) -> (f64, PollPattern, Vec<TimedAssessment>) {
    let polls = polls(rng);
    let mut partitions = steady(20.0, &[5, 30, 60], rng);
    // One partition is enough.
    let victims = rng.pick(&[1, partitions.len()]);
    let stop = rng.between(900.0, 1800.0) as i64;
    // Last time that each of them moved or had no lag.
    let mut moved = vec![(0, 0.0); victims];
    let results = simulate(&mut partitions, 4800, polls, state, rng, |s, partitions, _| {
        for ((committed, at), partition) in moved.iter_mut().zip(partitions.iter()) {
            if *committed != partition.committed || partition.offsets().0 == partition.committed {
                (*committed, *at) = (partition.committed, s as f64);
            }
        }
        if s >= stop {
            partitions[..victims].iter_mut().for_each(|l| (l.commits, l.consumed) = (false, 0.0));
        }
        // Existing lag is enough, without new messages.
        if stops_producing && s == stop + 60 {
            partitions.iter_mut().for_each(|l| l.produced = 0.0);
        }
    });
    let since = moved.into_iter().map(|(_, at)| at).fold(f64::MAX, f64::min);
    (since, polls, results)
}

#[test]
fn a_stuck_group_is_detected_within_the_window_and_two_polls() {
    let window = WINDOW.as_secs_f64();
    for seed in 0..SEEDS {
        for (state, expected) in [
            (None, Status::Stalled),
            (Some(GroupState::Stable), Status::Stalled),
            (Some(GroupState::PreparingRebalance), Status::Stalled),
            (Some(GroupState::Empty), Status::Stopped),
            (Some(GroupState::Dead), Status::Stopped),
        ] {
            let (since, polls, results) = stop_consuming(state, seed % 3 == 0, &mut Rng::new(seed));
            // Failed polls widen the gap.
            let gap = results.windows(2).map(|w| w[1].at - w[0].at).fold(polls.interval, f64::max);
            let first = statuses(&results).find(|(_, status)| *status >= Some(Status::Stalled)).unwrap();
            assert_eq!(first.1, Some(expected), "seed {seed}");
            // Offsets move at the beginning of a second, polls read them at any time within it.
            let (early, late) = (since + window - 1.0, since + window + 2.0 * gap + 1.0);
            assert!((early..=late).contains(&first.0), "seed {seed}: {early} <= {} <= {late}", first.0);
            let after = statuses(&results).skip_while(|(at, _)| *at < first.0);
            assert!(after.map(|(_, status)| status).all(|s| s == Some(expected)), "seed {seed}");
        }
    }
}

#[test]
fn a_group_that_consumes_nine_of_ten_messages_is_lagging_within_the_window_and_two_polls() {
    for seed in 0..SEEDS {
        let rng = &mut Rng::new(seed);
        let polls = PollPattern { failures: 0.0, ..polls(rng) };
        let mut partitions = steady(20.0, &[1, 5, 10], rng);
        let begin = rng.between(900.0, 1800.0).floor();
        let results = simulate(&mut partitions, 4800, polls, state(rng), rng, |s, partitions, _| {
            if s == begin as i64 {
                partitions.iter_mut().for_each(|l| l.consumed = l.produced * 0.9);
            }
        });
        let late = begin + WINDOW.as_secs_f64() + 2.0 * (polls.interval + 2.0 * polls.jitter) + 1.0;
        let after: Vec<_> = statuses(&results).skip_while(|(at, _)| *at < late).collect();
        assert!(after.iter().all(|(_, s)| *s == Some(Status::Lagging)), "seed {seed}: {after:?}");
    }
}

#[test]
fn slow_groups_are_lagging_and_never_stalled() {
    let (mut lagging, mut all) = (0, 0);
    for seed in 0..SEEDS {
        let rng = &mut Rng::new(seed);
        let polls = polls(rng);
        let mut partitions = steady(rng.between(0.7, 0.97), &[1, 5, 10, 30], rng);
        let results = simulate(&mut partitions, 3600, polls, state(rng), rng, |_, _, _| {});
        let table = shares(statuses(&results).filter(|(at, _)| *at > 800.0).map(|(_, status)| status));
        assert!(table.keys().all(|s| [Some(Status::Ok), Some(Status::Lagging)].contains(s)), "{table:?}");
        lagging += table.get(&Some(Status::Lagging)).copied().unwrap_or_default();
        all += table.values().sum::<usize>();
    }
    assert!(lagging * 100 > all * 95, "{lagging} of {all}");
}

#[test]
fn pauses_shorter_than_the_window_are_not_stalls() {
    for seed in 0..SEEDS {
        let rng = &mut Rng::new(seed);
        let polls = PollPattern { failures: 0.0, ..polls(rng) };
        let mut partitions = steady(20.0, &[5], rng);
        let speeds: Vec<f64> = partitions.iter().map(|l| l.consumed).collect();
        let (work, pause) = (rng.between(60.0, 180.0) as i64, rng.between(180.0, 460.0) as i64);
        let results = simulate(&mut partitions, 7200, polls, state(rng), rng, |s, partitions, _| {
            let works = s % (work + pause) < work;
            for (partition, speed) in partitions.iter_mut().zip(&speeds) {
                (partition.commits, partition.consumed) = (works, if works { *speed } else { 0.0 });
            }
        });
        assert!(statuses(&results).all(|(_, status)| status < Some(Status::Stalled)), "seed {seed}");
    }
}

#[test]
fn a_rewind_lasts_until_the_group_is_back_or_the_window_has_passed() {
    for seed in 0..SEEDS {
        for recovers in [true, false] {
            let rng = &mut Rng::new(seed);
            let polls = PollPattern { failures: 0.0, ..polls(rng) };
            let mut partitions = steady(20.0, &[5], rng);
            // Back within minutes, or not within the window.
            let back = if recovers { 1800.0 } else { 1e5 };
            partitions.iter_mut().for_each(|l| l.end += l.produced * back);
            partitions.iter_mut().for_each(|l| l.seek(l.end as i64));
            let begin = rng.between(900.0, 1800.0) as i64;
            let mut recovered = None;
            let results = simulate(&mut partitions, 4800, polls, state(rng), rng, |s, partitions, _| {
                if s == begin {
                    let back = (partitions[0].produced * back) as i64;
                    let target = partitions[0].committed - back;
                    partitions[0].seek(target);
                    partitions[0].phase = -s - 1;
                }
                if s > begin
                    && partitions[0].offsets().0 - partitions[0].committed
                        < 10 + 6 * partitions[0].produced as i64
                {
                    recovered.get_or_insert(s as f64);
                }
            });
            let rewound: Vec<f64> =
                statuses(&results).filter(|(_, s)| *s == Some(Status::Rewound)).map(|(at, _)| at).collect();
            let (begin, gap) = (begin as f64, polls.interval + 2.0 * polls.jitter + 1.0);
            let over = if recovers { recovered.unwrap() } else { begin + WINDOW.as_secs_f64() };
            assert!(
                rewound.first().is_some_and(|at| (begin..begin + gap).contains(at)),
                "{seed}: {rewound:?}"
            );
            let last = rewound.last().unwrap();
            assert!(
                (over - 2.0 * gap..over + gap).contains(last),
                "{seed} {recovers}: {begin} {over} {last}"
            );
        }
    }
}

#[test]
fn one_poll_is_enough_for_data_loss_and_a_rewind() {
    let mut harness = GroupHarness::default();
    assert_eq!(harness.poll(0.0, &[(10, 11)]).status, Some(Status::Rewound), "beyond the end");
    harness.record_starts(1.0, &[5]);
    assert_eq!(GroupHarness::default().poll(1.0, &[(10, 3)]).status, None);
    let results = harness.poll(60.0, &[(10, 3)]);
    assert_eq!(
        (results.status, results.topics[0].partitions[0].rule.status()),
        (Some(Status::DataLoss), Some(Status::DataLoss))
    );
    assert_eq!(
        harness.poll(120.0, &[(10, 5)]).status,
        Some(Status::Rewound),
        "at the oldest retained message"
    );
    // The worst partition counts, an unknown one does not.
    let mut harness = GroupHarness::default();
    harness.record_starts(0.0, &[0, 5, 0]);
    let results = harness.poll(0.0, &[(10, 11), (10, 3), (10, -1)]);
    let statuses: Vec<_> = results.topics[0].partitions.iter().map(|p| p.rule.status()).collect();
    assert_eq!(statuses, [Some(Status::Rewound), Some(Status::DataLoss), None]);
    assert_eq!(results.status, Some(Status::DataLoss));
}

#[test]
fn a_status_needs_five_polls_and_more_for_an_offset_unchanged_from_the_first() {
    let mut harness = GroupHarness::default();
    let results: Vec<_> = (0..6).map(|i| harness.poll(f64::from(i) * EVERY, &[(10, 10)]).status).collect();
    let ok = Some(Status::Ok);
    assert_eq!(results, [None, None, None, None, ok, ok], "caught up");
    let mut harness = GroupHarness::default();
    let results: Vec<_> = (0..12).map(|i| harness.poll(f64::from(i) * EVERY, &[(10, 9)]).status).collect();
    assert!(results[..10].iter().all(Option::is_none), "{results:?}");
    assert_eq!(results[10..], [Some(Status::Stalled); 2]);
    // The same, but without lag at the first poll.
    let mut harness = GroupHarness::default();
    let end = |i| if i == 0 { 9 } else { 10 };
    let results: Vec<_> =
        (0..12).map(|i| harness.poll(f64::from(i) * EVERY, &[(end(i), 9)]).status).collect();
    assert_eq!(results[..11], [&[None; 4][..], &[ok; 7][..]].concat());
    assert_eq!(results[11], Some(Status::Stalled));
    // A group without topics has no status.
    assert_eq!(
        GroupHarness::default().poll_with_bounds(0.0, &group_lag(&[]), &GroupBounds::default()).status,
        None
    );
}

#[test]
fn the_state_of_the_last_poll_decides_between_stalled_and_stopped() {
    let mut harness = GroupHarness { state: Some(GroupState::Stable), ..GroupHarness::default() };
    for i in 0..12 {
        harness.poll(f64::from(i) * EVERY, &[(10, 9)]);
    }
    assert_eq!(harness.poll(720.0, &[(10, 9)]).status, Some(Status::Stalled));
    harness.state = Some(GroupState::Empty);
    assert_eq!(harness.poll(780.0, &[(10, 9)]).status, Some(Status::Stopped));
}

#[test]
fn a_group_that_caught_up_within_the_window_is_not_lagging() {
    let mut harness = GroupHarness::default();
    let results: Vec<_> = (0..13)
        .map(|m: i64| harness.poll(m as f64 * EVERY, &[(1000 + 60 * m, 1000 + 50 * m)]).status)
        .collect();
    assert_eq!(results[4..], [&[Some(Status::Ok); 7][..], &[Some(Status::Lagging); 2][..]].concat());
}

/// Returns the offsets of a group that never catches up and consumes 50 of `produced` messages per minute.
fn slow(minute: i64, produced: i64) -> (i64, i64) {
    (1000 + minute * produced, 900 + minute * 50)
}

#[test]
fn burrow_738_one_decrease_does_not_reset() {
    let mut harness = GroupHarness::default();
    let results: Vec<_> = (0..15)
        .map(|i| {
            // Every fourth minute it consumes more than is produced.
            let (end, committed) = slow(i, 60);
            harness.poll(i as f64 * EVERY, &[(end, committed + if i % 4 == 3 { 14 } else { 0 })]).status
        })
        .collect();
    assert_eq!(results[11..], [Some(Status::Lagging); 4]);
}

#[test]
fn burrow_38_and_123_an_idle_topic_is_ok() {
    // No commits for hours, because no messages are produced.
    let mut harness = GroupHarness { state: Some(GroupState::Stable), ..GroupHarness::default() };
    for minute in 0..600 {
        let results =
            harness.poll(f64::from(minute) * EVERY, &[(645_853, 645_853), (840_126, 840_126)]).status;
        assert_eq!(results, (minute >= 4).then_some(Status::Ok));
    }
    // Then one message: it is new, even if the last commit is old.
    let results: Vec<_> = (600..605)
        .map(|m| harness.poll(f64::from(m) * EVERY, &[(645_854, 645_853), (840_126, 840_126)]).status)
        .collect();
    assert_eq!(results, [Some(Status::Ok); 5]);
}

#[test]
fn burrow_303_detecting_a_stop_does_not_depend_on_the_commit_interval() {
    let detected_after = |commit_interval: i64| {
        let mut harness = GroupHarness { state: Some(GroupState::Empty), ..GroupHarness::default() };
        let offsets = |m: i64| (1000 + 10 * m, 1000 + 10 * (m.min(60) / commit_interval * commit_interval));
        (0..200)
            .find(|m| harness.poll(*m as f64 * EVERY, &[offsets(*m)]).status == Some(Status::Stopped))
            .unwrap()
    };
    // The last commit is at minute 60, the lag begins at minute 61.
    assert_eq!([1, 2, 5].map(detected_after), [71; 3]);
}

#[test]
fn burrow_32_and_637_a_slow_committer_has_a_status_after_five_polls() {
    let mut harness = GroupHarness::default();
    // A commit every five minutes, so the window contains few commits.
    let results: Vec<_> = (0..30)
        .map(|m: i64| harness.poll(m as f64 * EVERY, &[(1000 + 10 * m, 990 + 10 * (m / 5 * 5))]).status)
        .collect();
    assert_eq!(results[..5], [None; 5], "no poll has seen the offset move");
    assert!(results[5..].iter().all(|s| *s == Some(Status::Ok)), "{results:?}");
}

#[test]
fn burrow_58_lag_and_rates_continue_while_a_group_is_stopped() {
    let mut harness = GroupHarness { state: Some(GroupState::Empty), ..GroupHarness::default() };
    let results: Vec<_> = (0..30).map(|m| harness.poll(m as f64 * EVERY, &[(1000 + 60 * m, 1000)])).collect();
    let last = &results[29];
    assert_eq!(last.status, Some(Status::Stopped));
    assert_eq!(last.consumable, Some(60 * 29));
    assert_eq!((last.topics[0].consumed, last.topics[0].produced), (Some(0.0), Some(1.0)));
}
