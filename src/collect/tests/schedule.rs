//! Due times, without a poller.

use super::*;
use crate::collect::{PollPriority, schedule::Schedule};

fn schedule(rate: f64) -> (Schedule, Instant) {
    let now = Instant::now();
    (Schedule::new(now, timing(), |_| rate), now)
}

fn target(instance: &str, name: &str) -> PollTarget {
    PollTarget::GroupProgress(id(instance), group(name))
}

#[test]
fn running_calls_are_limited_by_the_budget() {
    let (mut schedule, now) = schedule(1.0);
    for n in 0..100 {
        schedule.add(target("i", &n.to_string()), now);
    }
    let mut jobs = Vec::new();
    while let Some(job) = schedule.take(now, 1) {
        jobs.push(job);
    }
    assert_eq!(jobs.len(), 4, "four seconds of the budget");
    assert_eq!(schedule.next_due(now, 1), None, "nothing is due before a call ends");
    schedule.done(&jobs[0].target, false, None, now);
    assert_eq!(schedule.next_due(now, 1), Some(now));
    assert!((schedule.demand(Action::GetConsumerProgress) - 100.0 / 60.0).abs() < 1e-9);
}

#[test]
fn a_lowered_rate_limits_running_calls_and_keeps_the_order() {
    let (mut schedule, now) = schedule(20.0);
    for n in 0..100 {
        schedule.add(target("i", &n.to_string()), now);
    }
    let first: Vec<_> = (0..64).map(|_| schedule.take(now, 1).unwrap()).collect();
    schedule.set_rate(Action::GetConsumerProgress, 0.5);
    for job in &first[..62] {
        assert_eq!(schedule.take(now, 1), None);
        schedule.done(&job.target, true, None, now);
    }
    assert_eq!(schedule.take(now, 1), None, "two are running");
    schedule.done(&first[62].target, true, None, now);
    let next = schedule.take(now, 1).unwrap();
    assert!(first.iter().all(|job| job.target != next.target), "a target without an attempt");
    schedule.set_rate(Action::GetConsumerProgress, 20.0);
    assert!(schedule.take(now, 1).is_some());
}

#[test]
fn one_instance_gets_its_share_of_running_calls_only() {
    let (mut schedule, now) = schedule(100.0);
    for n in 0..100 {
        schedule.add(target("big", &n.to_string()), now);
    }
    schedule.add(target("small", "g"), now + Duration::from_secs(1));
    let later = now + Duration::from_secs(2);
    let taken: Vec<_> = std::iter::from_fn(|| schedule.take(later, 20)).collect();
    assert_eq!(taken.iter().filter(|job| job.target.instance() == Some(&id("big"))).count(), 8);
    assert!(taken.iter().any(|job| job.target.instance() == Some(&id("small"))), "although it was due last");
}

#[test]
fn a_small_budget_leaves_calls_to_other_instances() {
    for (rate, of_big) in [(0.1, 1), (1.0, 2), (2.0, 4)] {
        let (mut schedule, now) = schedule(rate);
        for n in 0..100 {
            schedule.add(target("big", &n.to_string()), now);
        }
        schedule.add(target("small", "g"), now + Duration::from_secs(1));
        let later = now + Duration::from_secs(2);
        let taken: Vec<_> = std::iter::from_fn(|| schedule.take(later, 2)).collect();
        assert_eq!(taken.len(), of_big + 1, "at {rate} per second");
        assert!(taken.iter().any(|job| job.target.instance() == Some(&id("small"))));
    }
}

#[test]
fn a_target_removed_during_its_call_does_not_come_back() {
    let (mut schedule, now) = schedule(20.0);
    schedule.add(target("i", "g"), now);
    let job = schedule.take(now, 1).unwrap();
    schedule.remove(&job.target);
    schedule.done(&job.target, false, None, now);
    assert_eq!(schedule.next_due(now, 1), None);
    assert!(schedule.take(now + Duration::from_secs(600), 1).is_none());
    assert!(schedule.demand(Action::GetConsumerProgress).abs() < f64::EPSILON);
}

#[test]
fn expediting_never_delays() {
    let (mut schedule, now) = schedule(20.0);
    schedule.add(PollTarget::Instances, now);
    let job = schedule.take(now, 0).unwrap();
    schedule.done(&job.target, false, None, now);
    let at = schedule.next_due(now, 0).unwrap();
    schedule.expedite(&PollTarget::Instances, at + Duration::from_secs(60));
    assert_eq!(schedule.next_due(now, 0), Some(at));
    schedule.expedite(&PollTarget::Instances, now);
    assert_eq!(schedule.next_due(now, 0), Some(now));
}

#[test]
fn a_failure_keeps_priority_and_demand() {
    let (mut schedule, now) = schedule(20.0);
    schedule.add(target("i", "g"), now);
    let demand = |s: &Schedule| s.demand(Action::GetConsumerProgress);
    assert!((demand(&schedule) - 1.0 / 60.0).abs() < 1e-9);
    schedule.take(now, 1).unwrap();
    schedule.done(&target("i", "g"), false, Some(PollPriority::Idle), now);
    assert!((demand(&schedule) - 1.0 / 90.0).abs() < 1e-9);
    let later = now + Duration::from_secs(100);
    schedule.take(later, 1).unwrap();
    schedule.done(&target("i", "g"), true, None, later);
    assert!((demand(&schedule) - 1.0 / 90.0).abs() < 1e-9);
}

proptest::proptest! {
    /// For every phase and duration of an attempt, the next one is due after its end and at most slightly more
    /// than one interval later.
    #[test]
    fn the_next_due_time_is_within_one_interval(name in "[a-z]{1,8}", took in 0u64..200_000, at in 0u64..10_000_000) {
        let (mut schedule, epoch) = schedule(20.0);
        let (start, end) = (epoch + Duration::from_millis(at), epoch + Duration::from_millis(at + took));
        let target = target("i", &name);
        schedule.add(target.clone(), start);
        schedule.take(start, 1).unwrap();
        schedule.done(&target, false, None, end);
        let next = schedule.next_due(end, 1).unwrap();
        proptest::prop_assert!(next > end);
        proptest::prop_assert!(next <= end + timing().poll + timing().poll / 20);
    }

    /// After a slow failure, a target is due one poll interval after the start of the attempt, or soon if the
    /// attempt took longer, so that the value of an idle target does not expire.
    #[test]
    fn a_slow_failure_does_not_cost_two_intervals(name in "[a-z]{1,8}", took in 0u64..80_000, at in 0u64..10_000_000) {
        let (mut schedule, epoch) = schedule(20.0);
        let target = target("i", &name);
        schedule.add(target.clone(), epoch);
        schedule.take(epoch, 1).unwrap();
        schedule.done(&target, false, Some(PollPriority::Idle), epoch);
        let start = epoch + Duration::from_millis(90_000 + at);
        let end = start + Duration::from_millis(took);
        schedule.take(start, 1).unwrap();
        schedule.done(&target, true, None, end);
        let next = schedule.next_due(end, 1).unwrap();
        proptest::prop_assert!(next > end);
        proptest::prop_assert!(next <= (start + timing().poll).max(end + timing().poll / 20));
    }
}
