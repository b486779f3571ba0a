//! Order of polls during a budget shortage, over simulated time, and the detection of shortages.

use proptest::prelude::*;

use super::*;
use crate::collect::{
    PollPriority,
    budget_shortage::{BudgetShortage, ShortageChange},
    schedule::{ActionTiming, Schedule},
};

/// A schedule whose targets keep their priorities, limited by the budget alone.
struct SimulatedQueue {
    schedule: Schedule,
    priorities: BTreeMap<PollTarget, PollPriority>,
    now: Instant,
    /// Time spacing two calls, by the budget.
    spacing: Duration,
    call_duration: Duration,
    running: Vec<(Instant, PollTarget)>,
    attempts: BTreeMap<PollTarget, Vec<Instant>>,
}

/// Number of instances.
const INSTANCES: usize = 7;

impl SimulatedQueue {
    /// Adds `members` targets of each priority. The demand is `overload` times the budget.
    fn new(timing: PollTiming, members: [usize; 3], overload: f64, call_duration: Duration) -> Self {
        let now = Instant::now();
        let rate = demand(&timing, members, 0.0) / overload;
        let priorities = PollPriority::ALL
            .into_iter()
            .zip(members)
            .flat_map(|(priority, n)| vec![priority; n])
            .enumerate();
        let target =
            |n: usize| PollTarget::GroupProgress(id(&format!("i{}", n % INSTANCES)), group(&n.to_string()));
        let priorities: BTreeMap<PollTarget, PollPriority> =
            priorities.map(|(n, priority)| (target(n), priority)).collect();
        let mut schedule = Schedule::new(now, timing, |_| rate);
        priorities.keys().for_each(|target| schedule.add(target.clone(), now));
        let spacing = Duration::from_secs_f64(1.0 / rate);
        Self {
            schedule,
            priorities,
            now,
            spacing,
            call_duration,
            running: Vec::new(),
            attempts: BTreeMap::new(),
        }
    }

    /// Lets time pass.
    fn run(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while self.now < until {
            for (at, target) in self.running.extract_if(.., |(at, _)| *at <= self.now) {
                self.schedule.done(&target, false, Some(self.priorities[&target]), at);
            }
            if let Some(job) = self.schedule.take(self.now, INSTANCES) {
                self.attempts.entry(job.target.clone()).or_default().push(self.now);
                self.running.push((self.now + self.call_duration, job.target));
            }
            self.now += self.spacing;
        }
    }

    /// Returns the mean and the longest time spacing two attempts at targets of a priority, including the time since
    /// the last attempt.
    fn periods(&self, priority: PollPriority) -> (f64, f64) {
        let targets =
            self.priorities.iter().filter(|(_, p)| **p == priority).map(|(target, _)| &self.attempts[target]);
        let (mut all, mut longest) = (Vec::new(), 0.0f64);
        for attempts in targets {
            let gap = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64();
            all.extend(attempts.windows(2).map(|w| gap(w[0], w[1])));
            longest = attempts.last().map_or(longest, |last| longest.max(gap(*last, self.now)));
        }
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        (mean, all.iter().copied().fold(longest, f64::max))
    }
}

/// Returns the seconds spacing two polls of a target if targets of weight 1 wait `wait` seconds past their interval.
fn period(timing: &PollTiming, priority: PollPriority, wait: f64) -> f64 {
    let weight = match priority {
        PollPriority::Lagging => 1.0,
        PollPriority::Active => 2.0,
        PollPriority::Idle => 4.0,
    };
    ActionTiming::new(Action::GetConsumerProgress, timing).interval(priority).as_secs_f64() + weight * wait
}

/// Returns the calls per second if targets of weight 1 wait `wait` seconds past their interval.
fn demand(timing: &PollTiming, members: [usize; 3], wait: f64) -> f64 {
    PollPriority::ALL
        .into_iter()
        .zip(members)
        .map(|(priority, n)| n as f64 / period(timing, priority, wait))
        .sum()
}

/// Returns the wait of targets of weight 1 with which the budget is sufficient.
fn fair_wait(timing: &PollTiming, members: [usize; 3], overload: f64) -> f64 {
    let rate = demand(timing, members, 0.0) / overload;
    let (mut low, mut high) = (0.0, 1e6);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if demand(timing, members, middle) > rate { low = middle } else { high = middle }
    }
    high
}

/// Default intervals, with values that do not expire.
fn without_expiry() -> PollTiming {
    let hold = Duration::from_secs(86_400);
    PollTiming { stale_after: hold, topic_stale_after: hold, ..timing() }
}

#[test]
fn every_priority_keeps_its_interval_without_a_shortage() {
    let timing = timing();
    let mut queue = SimulatedQueue::new(timing, [100, 300, 300], 0.7, Duration::from_millis(200));
    queue.run(120.0);
    queue.attempts.clear();
    queue.run(1800.0);
    for priority in PollPriority::ALL {
        let (mean, longest) = queue.periods(priority);
        let interval = period(&timing, priority, 0.0);
        assert!((mean - interval).abs() < interval * 0.01, "{priority:?}: {mean} instead of {interval}");
        assert!(longest < interval * 1.1, "{priority:?}: {longest}");
    }
}

#[test]
fn delays_are_in_the_ratio_of_the_weights() {
    for overload in [2.0, 5.0] {
        let (timing, members) = (without_expiry(), [40, 80, 80]);
        let mut queue = SimulatedQueue::new(timing, members, overload, Duration::from_millis(50));
        let needed = queue.schedule.demand(Action::GetConsumerProgress);
        assert!((needed - 200.0 / 60.0).abs() < 1e-9, "all targets are active at first: {needed}");
        let wait = fair_wait(&timing, members, overload);
        queue.run(5.0 * period(&timing, PollPriority::Idle, wait));
        let needed = queue.schedule.demand(Action::GetConsumerProgress);
        assert!((needed - demand(&timing, members, 0.0)).abs() < 1e-9, "each at its own interval: {needed}");
        queue.attempts.clear();
        queue.run(20.0 * period(&timing, PollPriority::Idle, wait));
        for priority in PollPriority::ALL {
            let ((mean, longest), fair) = (queue.periods(priority), period(&timing, priority, wait));
            assert!((mean - fair).abs() < fair * 0.05, "{overload} {priority:?}: {mean} instead of {fair}");
            assert!(longest < fair * 1.15, "{overload} {priority:?}: {longest} instead of {fair}");
        }
    }
}

#[test]
fn no_value_expires_if_an_order_can_save_it() {
    let timing = timing();
    for overload in [1.2, 1.6, 2.0] {
        let mut queue = SimulatedQueue::new(timing, [60, 360, 240], overload, Duration::from_millis(50));
        queue.run(600.0);
        queue.attempts.clear();
        queue.run(3600.0);
        let periods = PollPriority::ALL.map(|priority| queue.periods(priority));
        let [(lagging, _), (active, _), (idle, _)] = periods;
        assert!(periods.iter().all(|(_, longest)| *longest < 180.0), "{overload}: {periods:?}");
        assert!(lagging < active && active < idle, "{overload}: {periods:?}");
    }
}

#[test]
fn lists_are_polled_in_any_shortage() {
    let (mut schedule, now) = (Schedule::new(Instant::now(), timing(), |_| 1.0), Instant::now());
    for n in 0..1000 {
        schedule.add(PollTarget::GroupProgress(id("i"), group(&n.to_string())), now);
    }
    while schedule.take(now, 1).is_some() {}
    schedule.add(PollTarget::Groups(id("i")), now);
    assert_eq!(schedule.take(now, 1).map(|job| job.target), Some(PollTarget::Groups(id("i"))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// In every mix, shortage and duration of calls, each target is polled after its fair wait, plus one bonus if
    /// values expire.
    #[test]
    fn no_target_starves(
        members in prop::array::uniform3(0usize..40),
        overload in 0.5f64..6.0,
        call_millis in 0u64..2_000,
        expires in any::<bool>(),
    ) {
        prop_assume!(members.iter().sum::<usize>() > 20);
        let timing = if expires { timing() } else { without_expiry() };
        let mut queue = SimulatedQueue::new(timing, members, overload, Duration::from_millis(call_millis));
        let wait = fair_wait(&timing, members, overload.max(1.0));
        queue.run(5.0 * period(&timing, PollPriority::Idle, wait));
        queue.attempts.clear();
        queue.run(8.0 * period(&timing, PollPriority::Idle, wait));
        let bonus = if expires { timing.poll.as_secs_f64() } else { 0.0 };
        let slack = 3.0 * queue.spacing.as_secs_f64() + queue.call_duration.as_secs_f64();
        for (priority, _) in PollPriority::ALL.into_iter().zip(members).filter(|(_, n)| *n > 0) {
            let (_, longest) = queue.periods(priority);
            let bound = 1.2 * period(&timing, priority, wait + bonus) + slack;
            prop_assert!(longest < bound, "{:?}: {} instead of {}", priority, longest, bound);
        }
    }
}

#[test]
fn a_shortage_and_its_end_are_reported_once() {
    let (start, action) = (Instant::now(), Action::GetConsumerProgress);
    let mut shortage = BudgetShortage::new(Duration::from_secs(60));
    let mut changes = Vec::new();
    let mut check = |needs: f64, from: u64, to: u64| {
        for second in from..to {
            let change = shortage.check(action, needs, 20.0, start + Duration::from_secs(second));
            changes.extend(change.map(|change| (second, change)));
        }
    };
    check(30.0, 0, 50);
    check(10.0, 50, 100);
    check(19.5, 100, 1000);
    check(18.5, 1000, 2000);
    check(17.0, 2000, 2050);
    check(18.5, 2050, 2100);
    check(17.0, 2100, 3000);
    check(18.5, 3000, 4000);
    assert_eq!(changes, [(160, ShortageChange::Began), (2160, ShortageChange::Ended)]);
}
