//! Who is asked when the budget is short: lanes over simulated time, and the lines that tell of it.

use proptest::prelude::*;

use super::*;
use crate::collect::{
    PollPriority,
    budget_shortage::{BudgetShortage, ShortageChange},
    schedule::Schedule,
};

/// A lane whose targets keep their paces, and a budget that is all that holds calls back.
struct ActionQueue {
    schedule: Schedule,
    paces: BTreeMap<PollTarget, PollPriority>,
    now: Instant,
    between: Duration,
    /// How long a call takes.
    takes: Duration,
    under_way: Vec<(Instant, PollTarget)>,
    asked: BTreeMap<PollTarget, Vec<Instant>>,
}

/// Instances of a lane.
const INSTANCES: usize = 7;

impl ActionQueue {
    /// So many targets of each pace; calls are allowed for a share of the need.
    fn new(timing: PollTiming, members: [usize; 3], overload: f64, takes: Duration) -> Self {
        let now = Instant::now();
        let rate = needs(&timing, members, 0.0) / overload;
        let paces =
            PollPriority::ALL.into_iter().zip(members).flat_map(|(pace, n)| vec![pace; n]).enumerate();
        let target =
            |n: usize| PollTarget::GroupProgress(id(&format!("i{}", n % INSTANCES)), group(&n.to_string()));
        let paces: BTreeMap<PollTarget, PollPriority> = paces.map(|(n, pace)| (target(n), pace)).collect();
        let mut schedule = Schedule::new(now, timing, |_| rate);
        paces.keys().for_each(|target| schedule.add(target.clone(), now));
        let between = Duration::from_secs_f64(1.0 / rate);
        Self { schedule, paces, now, between, takes, under_way: Vec::new(), asked: BTreeMap::new() }
    }

    /// Spends the budget of a while.
    fn run(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while self.now < until {
            for (at, target) in self.under_way.extract_if(.., |(at, _)| *at <= self.now) {
                self.schedule.done(&target, false, Some(self.paces[&target]), at);
            }
            if let Some(job) = self.schedule.take(self.now, INSTANCES) {
                self.asked.entry(job.target.clone()).or_default().push(self.now);
                self.under_way.push((self.now + self.takes, job.target));
            }
            self.now += self.between;
        }
    }

    /// The mean and the longest time between two attempts at targets of a pace, the time since the last
    /// attempt among them.
    fn periods(&self, pace: PollPriority) -> (f64, f64) {
        let targets = self.paces.iter().filter(|(_, p)| **p == pace).map(|(target, _)| &self.asked[target]);
        let (mut all, mut longest) = (Vec::new(), 0.0f64);
        for asked in targets {
            let gap = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64();
            all.extend(asked.windows(2).map(|w| gap(w[0], w[1])));
            longest = asked.last().map_or(longest, |last| longest.max(gap(*last, self.now)));
        }
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        (mean, all.iter().copied().fold(longest, f64::max))
    }
}

/// Seconds that a target of a pace has between two polls if a target of weight 1 waits this much longer than its
/// interval.
fn period(timing: &PollTiming, pace: PollPriority, wait: f64) -> f64 {
    let weight = match pace {
        PollPriority::Lagging => 1.0,
        PollPriority::Active => 2.0,
        PollPriority::Idle => 4.0,
    };
    timing.interval_at(Action::GetConsumerProgress, pace).as_secs_f64() + weight * wait
}

/// Calls a second of a lane whose targets of weight 1 wait this much longer than their interval.
fn needs(timing: &PollTiming, members: [usize; 3], wait: f64) -> f64 {
    PollPriority::ALL.into_iter().zip(members).map(|(pace, n)| n as f64 / period(timing, pace, wait)).sum()
}

/// By how much longer than its interval a target of weight 1 waits, so that the calls suffice.
fn fair_wait(timing: &PollTiming, members: [usize; 3], overload: f64) -> f64 {
    let rate = needs(timing, members, 0.0) / overload;
    let (mut low, mut high) = (0.0, 1e6);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if needs(timing, members, middle) > rate { low = middle } else { high = middle }
    }
    high
}

/// The intervals of every day, with values that never grow too old.
fn patient() -> PollTiming {
    let hold = Duration::from_secs(86_400);
    PollTiming { stale_after: hold, topic_stale_after: hold, ..timing() }
}

#[test]
fn without_scarcity_every_pace_keeps_its_interval() {
    let timing = timing();
    let mut lane = ActionQueue::new(timing, [100, 300, 300], 0.7, Duration::from_millis(200));
    lane.run(120.0);
    lane.asked.clear();
    lane.run(1800.0);
    for pace in PollPriority::ALL {
        let (mean, longest) = lane.periods(pace);
        let interval = period(&timing, pace, 0.0);
        assert!((mean - interval).abs() < interval * 0.01, "{pace:?}: {mean} instead of {interval}");
        assert!(longest < interval * 1.1, "{pace:?}: {longest}");
    }
}

#[test]
fn what_is_missing_is_shared_out_by_weight() {
    for overload in [2.0, 5.0] {
        let (timing, members) = (patient(), [40, 80, 80]);
        let mut lane = ActionQueue::new(timing, members, overload, Duration::from_millis(50));
        let needed = lane.schedule.demand(Action::GetConsumerProgress);
        assert!((needed - 200.0 / 60.0).abs() < 1e-9, "all count as active until they are known: {needed}");
        let wait = fair_wait(&timing, members, overload);
        lane.run(5.0 * period(&timing, PollPriority::Idle, wait));
        let needed = lane.schedule.demand(Action::GetConsumerProgress);
        assert!((needed - needs(&timing, members, 0.0)).abs() < 1e-9, "each at its own interval: {needed}");
        lane.asked.clear();
        lane.run(20.0 * period(&timing, PollPriority::Idle, wait));
        for pace in PollPriority::ALL {
            let ((mean, longest), fair) = (lane.periods(pace), period(&timing, pace, wait));
            assert!((mean - fair).abs() < fair * 0.05, "{overload} {pace:?}: {mean} instead of {fair}");
            assert!(longest < fair * 1.15, "{overload} {pace:?}: {longest} instead of {fair}");
        }
    }
}

#[test]
fn no_value_grows_too_old_while_an_order_can_save_it() {
    let timing = timing();
    for overload in [1.2, 1.6, 2.0] {
        let mut lane = ActionQueue::new(timing, [60, 360, 240], overload, Duration::from_millis(50));
        lane.run(600.0);
        lane.asked.clear();
        lane.run(3600.0);
        let periods = PollPriority::ALL.map(|pace| lane.periods(pace));
        let [(lagging, _), (active, _), (idle, _)] = periods;
        assert!(periods.iter().all(|(_, longest)| *longest < 180.0), "{overload}: {periods:?}");
        assert!(lagging < active && active < idle, "{overload}: {periods:?}");
    }
}

#[test]
fn lists_are_asked_for_whatever_is_missing_for_the_others() {
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

    /// Whatever the mix, the shortage and the time that calls take, whoever waits has his turn: after his
    /// fair wait, if no value can grow too old, and after that and one bonus if values can.
    #[test]
    fn nobody_starves(
        members in prop::array::uniform3(0usize..40),
        overload in 0.5f64..6.0,
        takes in 0u64..2_000,
        grows_old in any::<bool>(),
    ) {
        prop_assume!(members.iter().sum::<usize>() > 20);
        let timing = if grows_old { timing() } else { patient() };
        let mut lane = ActionQueue::new(timing, members, overload, Duration::from_millis(takes));
        let wait = fair_wait(&timing, members, overload.max(1.0));
        lane.run(5.0 * period(&timing, PollPriority::Idle, wait));
        lane.asked.clear();
        lane.run(8.0 * period(&timing, PollPriority::Idle, wait));
        let bonus = if grows_old { timing.poll.as_secs_f64() } else { 0.0 };
        let slack = 3.0 * lane.between.as_secs_f64() + lane.takes.as_secs_f64();
        for (pace, _) in PollPriority::ALL.into_iter().zip(members).filter(|(_, n)| *n > 0) {
            let (_, longest) = lane.periods(pace);
            let bound = 1.2 * period(&timing, pace, wait + bonus) + slack;
            prop_assert!(longest < bound, "{:?}: {} instead of {}", pace, longest, bound);
        }
    }
}

#[test]
fn a_short_budget_is_told_once_and_so_is_its_end() {
    let (start, action) = (Instant::now(), Action::GetConsumerProgress);
    let mut scarcity = BudgetShortage::new(Duration::from_secs(60));
    let mut told = Vec::new();
    let mut look = |needs: f64, from: u64, to: u64| {
        for second in from..to {
            let line = scarcity.check(action, needs, 20.0, start + Duration::from_secs(second));
            told.extend(line.map(|line| (second, line)));
        }
    };
    look(30.0, 0, 50);
    look(10.0, 50, 100);
    look(19.5, 100, 1000);
    look(18.5, 1000, 2000);
    look(17.0, 2000, 2050);
    look(18.5, 2050, 2100);
    look(17.0, 2100, 3000);
    look(18.5, 3000, 4000);
    assert_eq!(told, [(160, ShortageChange::Began), (2160, ShortageChange::Ended)]);
}
