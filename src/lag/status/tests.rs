//! Labelled sequences, and what is said of them: a table of confusion over many seeds, and the errors that others
//! are known for.

use std::collections::BTreeMap;

use test_support::rng::Rng;

use super::*;
use crate::lag::{
    bounds::GroupBounds,
    reference_model::{GroupHarness, Lane, Polls, Said, WINDOW, group, watch},
};

const SEEDS: u64 = 40;
const EVERY: f64 = 60.0;

/// How polls come: phases, intervals, jitter and gaps differ from seed to seed.
fn polls(dice: &mut Rng) -> Polls {
    let interval = dice.pick(&[15.0, 30.0, EVERY, EVERY]);
    Polls { interval, jitter: dice.between(0.0, interval / 20.0), gaps: dice.pick(&[0.0, 0.0, 0.1]) }
}

fn state(dice: &mut Rng) -> Option<GroupState> {
    dice.pick(&[None, Some(GroupState::Stable), Some(GroupState::Stable)])
}

/// Partitions of a topic that is written steadily, and a group that reads `speed` times as fast.
fn steady(speed: f64, grids: &[i64], dice: &mut Rng) -> Vec<Lane> {
    let grid = dice.pick(grids);
    let written = dice.pick(&[0.3, 3.0, 40.0, 900.0]);
    let count = dice.pick(&[1, 2, 4, 6]);
    (0..count)
        .map(|_| {
            let written = written * dice.between(0.5, 1.5);
            Lane::new(written, written * speed, grid, dice)
        })
        .collect()
}

/// Any of the ways to be healthy.
fn healthy(kind: &str, dice: &mut Rng) -> Vec<Said> {
    let polls = polls(dice);
    let state = state(dice);
    let grids = [1, 5, 10, 30, 60, 61, 120, 300];
    let hour = 3600;
    match kind {
        "steady" => watch(&mut steady(20.0, &grids, dice), hour, polls, state, dice, |_, _, _| {}),
        "uneven" => {
            // Traffic that swings by half from second to second.
            let mut lanes = steady(20.0, &grids, dice);
            let mean: Vec<f64> = lanes.iter().map(|l| l.written).collect();
            watch(&mut lanes, hour, polls, state, dice, |_, lanes, dice| {
                lanes.iter_mut().zip(&mean).for_each(|(l, mean)| l.written = mean * dice.between(0.5, 1.5));
            })
        }
        "bursty" => {
            let mut lanes = vec![Lane::new(0.0, 200.0, dice.pick(&[5, 30]), dice)];
            let (period, length) = (dice.pick(&[420, 540]), dice.pick(&[30, 60, 90]));
            watch(&mut lanes, hour, polls, state, dice, |s, lanes, _| {
                lanes[0].written = if s % period < length { 400.0 } else { 0.0 };
            })
        }
        "idle" => watch(&mut steady(0.0, &grids, dice), hour, polls, state, dice, |_, lanes, _| {
            lanes.iter_mut().for_each(|l| l.written = 0.0);
        }),
        "slow topic" => {
            // A message now and then, read at once.
            let mut lanes = vec![Lane::new(0.0, 100.0, dice.pick(&[1, 5, 60]), dice); dice.pick(&[1, 3])];
            let pause = dice.pick(&[60.0, 600.0, 1800.0]);
            watch(&mut lanes, 3 * hour, polls, state, dice, |_, lanes, dice| {
                for lane in lanes.iter_mut() {
                    lane.written = if dice.fraction() < 1.0 / pause { 1.0 } else { 0.0 };
                }
            })
        }
        "rebalance" => {
            let mut lanes = steady(20.0, &[5, 10, 30], dice);
            let begin = dice.between(900.0, 1800.0) as i64;
            let speeds: Vec<f64> = lanes.iter().map(|l| l.read).collect();
            watch(&mut lanes, hour, polls, state, dice, |s, lanes, _| {
                let stands = (begin..begin + 60).contains(&s);
                for (lane, speed) in lanes.iter_mut().zip(&speeds) {
                    lane.commits = !stands;
                    lane.read = if stands { 0.0 } else { *speed };
                }
            })
        }
        "catching up" => {
            let mut lanes = steady(1.5, &[5, 30], dice);
            lanes.iter_mut().for_each(|l| l.seek((l.committed - (l.written * 3000.0) as i64).max(0)));
            watch(&mut lanes, 2 * hour, polls, state, dice, |_, _, _| {})
        }
        "new partition" => {
            let mut lanes = steady(20.0, &[5, 10], dice);
            let new = lanes[0].clone();
            let begin = dice.between(900.0, 1800.0) as i64;
            watch(&mut lanes, hour, polls, state, dice, |s, lanes, _| {
                if s == begin {
                    lanes.push(new.clone());
                }
            })
        }
        "re-created" => {
            let mut lanes = steady(20.0, &[5, 10], dice);
            let begin = dice.between(900.0, 1800.0) as i64;
            watch(&mut lanes, hour, polls, state, dice, |s, lanes, _| {
                if s == begin {
                    for lane in lanes.iter_mut() {
                        lane.end = 0.0;
                        lane.seek(0);
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

fn verdicts(said: &[Said]) -> impl Iterator<Item = (f64, Option<Status>)> {
    said.iter().map(|s| (s.at, s.said.status))
}

fn shares(said: impl Iterator<Item = Option<Status>>) -> BTreeMap<Option<Status>, usize> {
    let mut table = BTreeMap::new();
    said.for_each(|status| *table.entry(status).or_default() += 1);
    table
}

#[test]
fn nothing_is_the_matter_with_healthy_groups() {
    for kind in HEALTHY {
        let said: Vec<Said> = (0..SEEDS).flat_map(|seed| healthy(kind, &mut Rng::new(seed))).collect();
        let table = shares(said.iter().map(|s| s.said.status));
        let count = |status| table.get(&status).copied().unwrap_or_default();
        let bad = [Status::Stalled, Status::Stopped, Status::Rewound, Status::DataLoss];
        assert!(bad.iter().all(|b| count(Some(*b)) == 0), "{kind}: {table:?}");
        // Less than one in a hundred.
        assert!(count(Some(Status::Lagging)) * 100 < said.len(), "{kind}: {table:?}");
        // Nothing is known of the first polls, and all is known soon.
        assert!(count(None) <= (SEEDS * 8) as usize, "{kind}: {table:?}");
        assert!(count(Some(Status::Ok)) * 10 > said.len() * 8, "{kind}: {table:?}");
    }
}

/// A group that reads until a moment, and then does nothing. Returns when that was, or when there was lag, if later.
fn stuck(state: Option<GroupState>, silent: bool, dice: &mut Rng) -> (f64, Polls, Vec<Said>) {
    let polls = polls(dice);
    let mut lanes = steady(20.0, &[5, 30, 60], dice);
    // One partition is enough.
    let victims = dice.pick(&[1, lanes.len()]);
    let stop = dice.between(900.0, 1800.0) as i64;
    // When each of them was last seen to move, or to be done.
    let mut moved = vec![(0, 0.0); victims];
    let said = watch(&mut lanes, 4800, polls, state, dice, |s, lanes, _| {
        for ((committed, at), lane) in moved.iter_mut().zip(lanes.iter()) {
            if *committed != lane.committed || lane.offsets().0 == lane.committed {
                (*committed, *at) = (lane.committed, s as f64);
            }
        }
        if s >= stop {
            lanes[..victims].iter_mut().for_each(|l| (l.commits, l.read) = (false, 0.0));
        }
        // Lag is enough; nothing has to be written.
        if silent && s == stop + 60 {
            lanes.iter_mut().for_each(|l| l.written = 0.0);
        }
    });
    let since = moved.into_iter().map(|(_, at)| at).fold(f64::MAX, f64::min);
    (since, polls, said)
}

#[test]
fn whoever_is_stuck_is_seen_within_the_window_and_two_polls_and_never_before() {
    let window = WINDOW.as_secs_f64();
    for seed in 0..SEEDS {
        for (state, expected) in [
            (None, Status::Stalled),
            (Some(GroupState::Stable), Status::Stalled),
            (Some(GroupState::PreparingRebalance), Status::Stalled),
            (Some(GroupState::Empty), Status::Stopped),
            (Some(GroupState::Dead), Status::Stopped),
        ] {
            let (since, polls, said) = stuck(state, seed % 3 == 0, &mut Rng::new(seed));
            // A poll that fails is none.
            let gap = said.windows(2).map(|w| w[1].at - w[0].at).fold(polls.interval, f64::max);
            let first = verdicts(&said).find(|(_, status)| *status >= Some(Status::Stalled)).unwrap();
            assert_eq!(first.1, Some(expected), "seed {seed}");
            // Offsets move at the beginning of a second, and are told at any moment within it.
            let (early, late) = (since + window - 1.0, since + window + 2.0 * gap + 1.0);
            assert!((early..=late).contains(&first.0), "seed {seed}: {early} <= {} <= {late}", first.0);
            let after = verdicts(&said).skip_while(|(at, _)| *at < first.0);
            assert!(after.map(|(_, status)| status).all(|s| s == Some(expected)), "seed {seed}");
        }
    }
}

#[test]
fn a_group_that_reads_nine_of_ten_messages_is_seen_to_lag_within_the_window_and_two_polls() {
    for seed in 0..SEEDS {
        let dice = &mut Rng::new(seed);
        let polls = Polls { gaps: 0.0, ..polls(dice) };
        let mut lanes = steady(20.0, &[1, 5, 10], dice);
        let begin = dice.between(900.0, 1800.0).floor();
        let said = watch(&mut lanes, 4800, polls, state(dice), dice, |s, lanes, _| {
            if s == begin as i64 {
                lanes.iter_mut().for_each(|l| l.read = l.written * 0.9);
            }
        });
        let late = begin + WINDOW.as_secs_f64() + 2.0 * (polls.interval + 2.0 * polls.jitter) + 1.0;
        let after: Vec<_> = verdicts(&said).skip_while(|(at, _)| *at < late).collect();
        assert!(after.iter().all(|(_, s)| *s == Some(Status::Lagging)), "seed {seed}: {after:?}");
    }
}

#[test]
fn slower_groups_lag_too_and_are_never_said_to_stand() {
    let (mut lagging, mut all) = (0, 0);
    for seed in 0..SEEDS {
        let dice = &mut Rng::new(seed);
        let polls = polls(dice);
        let mut lanes = steady(dice.between(0.7, 0.97), &[1, 5, 10, 30], dice);
        let said = watch(&mut lanes, 3600, polls, state(dice), dice, |_, _, _| {});
        let table = shares(verdicts(&said).filter(|(at, _)| *at > 800.0).map(|(_, status)| status));
        assert!(table.keys().all(|s| [Some(Status::Ok), Some(Status::Lagging)].contains(s)), "{table:?}");
        lagging += table.get(&Some(Status::Lagging)).copied().unwrap_or_default();
        all += table.values().sum::<usize>();
    }
    assert!(lagging * 100 > all * 95, "{lagging} of {all}");
}

#[test]
fn pauses_shorter_than_the_window_are_no_standstill() {
    for seed in 0..SEEDS {
        let dice = &mut Rng::new(seed);
        let polls = Polls { gaps: 0.0, ..polls(dice) };
        let mut lanes = steady(20.0, &[5], dice);
        let speeds: Vec<f64> = lanes.iter().map(|l| l.read).collect();
        let (work, pause) = (dice.between(60.0, 180.0) as i64, dice.between(180.0, 460.0) as i64);
        let said = watch(&mut lanes, 7200, polls, state(dice), dice, |s, lanes, _| {
            let works = s % (work + pause) < work;
            for (lane, speed) in lanes.iter_mut().zip(&speeds) {
                (lane.commits, lane.read) = (works, if works { *speed } else { 0.0 });
            }
        });
        assert!(verdicts(&said).all(|(_, status)| status < Some(Status::Stalled)), "seed {seed}");
    }
}

#[test]
fn a_rewind_is_told_at_once_and_until_it_is_made_up_for_or_the_window_has_passed() {
    for seed in 0..SEEDS {
        for recovers in [true, false] {
            let dice = &mut Rng::new(seed);
            let polls = Polls { gaps: 0.0, ..polls(dice) };
            let mut lanes = steady(20.0, &[5], dice);
            // Read again within minutes, or not within the window.
            let back = if recovers { 1800.0 } else { 1e5 };
            lanes.iter_mut().for_each(|l| l.end += l.written * back);
            lanes.iter_mut().for_each(|l| l.seek(l.end as i64));
            let begin = dice.between(900.0, 1800.0) as i64;
            let mut recovered = None;
            let said = watch(&mut lanes, 4800, polls, state(dice), dice, |s, lanes, _| {
                if s == begin {
                    let back = (lanes[0].written * back) as i64;
                    let target = lanes[0].committed - back;
                    lanes[0].seek(target);
                    lanes[0].phase = -s - 1;
                }
                if s > begin && lanes[0].offsets().0 - lanes[0].committed < 10 + 6 * lanes[0].written as i64 {
                    recovered.get_or_insert(s as f64);
                }
            });
            let rewound: Vec<f64> =
                verdicts(&said).filter(|(_, s)| *s == Some(Status::Rewound)).map(|(at, _)| at).collect();
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
fn what_one_answer_shows_is_said_at_once() {
    let mut desk = GroupHarness::default();
    assert_eq!(desk.hear(0.0, &[(10, 11)]).status, Some(Status::Rewound), "past the end");
    desk.take_status(1.0, &[5]);
    assert_eq!(GroupHarness::default().hear(1.0, &[(10, 3)]).status, None);
    let said = desk.hear(60.0, &[(10, 3)]);
    assert_eq!(
        (said.status, said.topics[0].partitions[0].rule.status()),
        (Some(Status::DataLoss), Some(Status::DataLoss))
    );
    assert_eq!(desk.hear(120.0, &[(10, 5)]).status, Some(Status::Rewound), "the oldest message that is held");
    // The partition that is worst counts, and one of which nothing is known does not.
    let mut desk = GroupHarness::default();
    desk.take_status(0.0, &[0, 5, 0]);
    let said = desk.hear(0.0, &[(10, 11), (10, 3), (10, -1)]);
    let of: Vec<_> = said.topics[0].partitions.iter().map(|p| p.rule.status()).collect();
    assert_eq!(of, [Some(Status::Rewound), Some(Status::DataLoss), None]);
    assert_eq!(said.status, Some(Status::DataLoss));
}

#[test]
fn nothing_is_said_before_five_polls_nor_of_a_short_standstill_from_the_beginning() {
    let mut desk = GroupHarness::default();
    let said: Vec<_> = (0..6).map(|i| desk.hear(f64::from(i) * EVERY, &[(10, 10)]).status).collect();
    let ok = Some(Status::Ok);
    assert_eq!(said, [None, None, None, None, ok, ok], "caught up");
    let mut desk = GroupHarness::default();
    let said: Vec<_> = (0..12).map(|i| desk.hear(f64::from(i) * EVERY, &[(10, 9)]).status).collect();
    assert!(said[..10].iter().all(Option::is_none), "{said:?}");
    assert_eq!(said[10..], [Some(Status::Stalled); 2]);
    // The same, had it been caught up before.
    let mut desk = GroupHarness::default();
    let end = |i| if i == 0 { 9 } else { 10 };
    let said: Vec<_> = (0..12).map(|i| desk.hear(f64::from(i) * EVERY, &[(end(i), 9)]).status).collect();
    assert_eq!(said[..11], [&[None; 4][..], &[ok; 7][..]].concat());
    assert_eq!(said[11], Some(Status::Stalled));
    // A group without topics has no status.
    assert_eq!(GroupHarness::default().hear_aged(0.0, &group(&[]), &GroupBounds::default()).status, None);
}

#[test]
fn the_state_decides_between_stalled_and_stopped_at_the_moment_of_the_answer() {
    let mut desk = GroupHarness { state: Some(GroupState::Stable), ..GroupHarness::default() };
    for i in 0..12 {
        desk.hear(f64::from(i) * EVERY, &[(10, 9)]);
    }
    assert_eq!(desk.hear(720.0, &[(10, 9)]).status, Some(Status::Stalled));
    desk.state = Some(GroupState::Empty);
    assert_eq!(desk.hear(780.0, &[(10, 9)]).status, Some(Status::Stopped));
}

#[test]
fn a_group_that_was_done_within_the_window_does_not_lag() {
    let mut desk = GroupHarness::default();
    let said: Vec<_> =
        (0..13).map(|m: i64| desk.hear(m as f64 * EVERY, &[(1000 + 60 * m, 1000 + 50 * m)]).status).collect();
    assert_eq!(said[4..], [&[Some(Status::Ok); 7][..], &[Some(Status::Lagging); 2][..]].concat());
}

/// A group that never is done and reads 50 of `written` a minute; the offsets at some minute.
fn slow(minute: i64, written: i64) -> (i64, i64) {
    (1000 + minute * written, 900 + minute * 50)
}

#[test]
fn burrow_738_one_decrease_does_not_reset() {
    let mut desk = GroupHarness::default();
    let said: Vec<_> = (0..15)
        .map(|i| {
            // Every fourth minute it reads more than is written.
            let (end, committed) = slow(i, 60);
            desk.hear(i as f64 * EVERY, &[(end, committed + if i % 4 == 3 { 14 } else { 0 })]).status
        })
        .collect();
    assert_eq!(said[11..], [Some(Status::Lagging); 4]);
}

#[test]
fn burrow_38_and_123_a_slow_topic_is_no_error() {
    // Nothing is committed for hours, because nothing is written.
    let mut desk = GroupHarness { state: Some(GroupState::Stable), ..GroupHarness::default() };
    for minute in 0..600 {
        let said = desk.hear(f64::from(minute) * EVERY, &[(645_853, 645_853), (840_126, 840_126)]).status;
        assert_eq!(said, (minute >= 4).then_some(Status::Ok));
    }
    // Then one message: it is new, however long ago the last commit was.
    let said: Vec<_> = (600..605)
        .map(|m| desk.hear(f64::from(m) * EVERY, &[(645_854, 645_853), (840_126, 840_126)]).status)
        .collect();
    assert_eq!(said, [Some(Status::Ok); 5]);
}

#[test]
fn burrow_303_how_soon_a_stop_is_seen_does_not_depend_on_how_often_the_group_committed() {
    let seen_after = |grid: i64| {
        let mut desk = GroupHarness { state: Some(GroupState::Empty), ..GroupHarness::default() };
        let offsets = |m: i64| (1000 + 10 * m, 1000 + 10 * (m.min(60) / grid * grid));
        (0..200)
            .find(|m| desk.hear(*m as f64 * EVERY, &[offsets(*m)]).status == Some(Status::Stopped))
            .unwrap()
    };
    // It commits at minute 60 for the last time, and lags from minute 61 on.
    assert_eq!([1, 2, 5].map(seen_after), [71; 3]);
}

#[test]
fn burrow_32_and_637_a_slow_committer_has_a_status_after_five_polls() {
    let mut desk = GroupHarness::default();
    // A commit every five minutes, and the window is far from full of commits.
    let said: Vec<_> = (0..30)
        .map(|m: i64| desk.hear(m as f64 * EVERY, &[(1000 + 10 * m, 990 + 10 * (m / 5 * 5))]).status)
        .collect();
    assert_eq!(said[..5], [None; 5], "it has not been seen to move");
    assert!(said[5..].iter().all(|s| *s == Some(Status::Ok)), "{said:?}");
}

#[test]
fn burrow_58_lag_and_rates_go_on_while_a_group_stands() {
    let mut desk = GroupHarness { state: Some(GroupState::Empty), ..GroupHarness::default() };
    let said: Vec<_> = (0..30).map(|m| desk.hear(m as f64 * EVERY, &[(1000 + 60 * m, 1000)])).collect();
    let last = &said[29];
    assert_eq!(last.status, Some(Status::Stopped));
    assert_eq!(last.consumable, Some(60 * 29));
    assert_eq!((last.topics[0].consumed, last.topics[0].produced), (Some(0.0), Some(1.0)));
}
