//! A simulated world, a fleet that is told of it as the cloud would tell, and clocks that have nothing to do with
//! each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use alikafka_exporter::{
    collect::{
        DiscoverySequence, PollTarget,
        state::{Now, PollResponse, RegionState},
    },
    model::{
        AnomalyKind, Filters, GroupId, InstanceId, LastTimestamps, Listing, Observed, Partition, PollTiming,
        RegionId, ResponseOrigin, TimeSpan, TopicName, UnixMillis,
    },
    snapshot::RegionView,
};
use alikafka_simulator::{GroupTruth, Simulator, SimulatorOptions, TopicTruth, World, WorldOptions};
use test_support::rng::Rng;
use tokio::time::{Duration, Instant};

use super::told;

pub(super) const REGION: &str = "cn-hangzhou";
/// World time at the beginning of every run.
pub(super) const EPOCH_MS: i64 = 1_790_000_000_000;
/// By so much the host's clock is off from the cloud's, which must not matter.
const HOST_OFF_MS: i64 = 3 * 3_600_000;
/// The lists are asked for at every so-manieth pass.
const DISCOVERY: u32 = 5;

/// How the cloud is asked, and how well it answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    pub(super) poll: Duration,
    /// A poll is up to so many percent of the interval late.
    pub(super) late_percent: u64,
    /// Passes from one status of a topic to the next; 0 for never.
    pub(super) status_every: u32,
    /// All is asked at one moment, topics first. Else each unit has its own moment of the pass.
    pub(super) together: bool,
    /// The moment of an answer is known to within up to so many milliseconds, before and after it.
    pub(super) width_ms: u64,
    /// So many percent of the answers do not come.
    pub(super) fails_percent: u64,
    /// From so many percent of the answers some partitions are missing.
    pub(super) torn_percent: u64,
    /// Answers may be taken in another order than that in which they were true.
    pub(super) shuffled: bool,
    pub(super) last_timestamps: LastTimestamps,
}

impl Habits {
    /// A cloud that always answers, at moments that are known exactly, about all of it once a minute.
    pub(super) const GOOD: Self = Self {
        poll: Duration::from_secs(60),
        late_percent: 0,
        status_every: 1,
        together: false,
        width_ms: 0,
        fails_percent: 0,
        torn_percent: 0,
        shuffled: false,
        last_timestamps: LastTimestamps::Lagging,
    };

    pub(super) fn timing(&self) -> PollTiming {
        PollTiming {
            discovery: self.poll * DISCOVERY,
            poll: self.poll,
            topic_poll: self.poll,
            idle_poll: self.poll,
            idle_topic_poll: self.poll,
            stale_after: self.poll * 3,
            topic_stale_after: self.poll * 3 * self.status_every.max(1),
            discovery_stale_after: self.poll * DISCOVERY * 3,
            request_timeout: Duration::from_secs(15),
            status_window: Duration::from_secs(600),
            last_timestamps: self.last_timestamps,
        }
    }
}

/// One answer about a group: the truth that it was made from, and when it was true as far as it is known.
pub(super) struct Told {
    pub(super) truth: GroupTruth,
    pub(super) span: TimeSpan,
    /// The partitions that the answer had.
    pub(super) has: BTreeSet<(String, i64)>,
}

/// An end that was told, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) span: TimeSpan,
    pub(super) end: i64,
}

/// What has been answered and not been taken yet.
struct Answered {
    unit: PollTarget,
    answer: PollResponse,
    told: Option<Told>,
}

pub(super) type Place = (InstanceId, TopicName, Partition);

pub(super) struct Rig {
    sim: Simulator,
    fleet: RegionState,
    pub(super) habits: Habits,
    pub(super) rng: Rng,
    began: Instant,
    pub(super) pass: u32,
    /// The last answer about each group of this pass.
    pub(super) told: BTreeMap<(InstanceId, GroupId), Told>,
    /// Every end that was told since the product could know that the topic is this one, by true time.
    pub(super) seen: BTreeMap<Place, Vec<Seen>>,
    pub(super) anomalies: BTreeMap<AnomalyKind, u64>,
    /// `CreateTime` of each topic as the list told it.
    listed: BTreeMap<(InstanceId, TopicName), i64>,
}

impl Rig {
    pub(super) async fn start(world: WorldOptions, habits: Habits, seed: u64) -> Self {
        let world = WorldOptions { epoch_ms: Some(EPOCH_MS), seed, ..world };
        let sim = Simulator::start(SimulatorOptions { world, ..SimulatorOptions::default() }).await.unwrap();
        let region = RegionId::new(REGION).unwrap();
        let fleet = RegionState::new(
            None,
            region,
            Filters::default(),
            habits.timing(),
            Arc::new(DiscoverySequence::default()),
        );
        Self {
            sim,
            fleet,
            habits,
            rng: Rng::new(seed),
            began: Instant::now(),
            pass: 0,
            told: BTreeMap::new(),
            seen: BTreeMap::new(),
            anomalies: BTreeMap::new(),
            listed: BTreeMap::new(),
        }
    }

    pub(super) fn world<T>(&self, edit: impl FnOnce(&mut World) -> T) -> T {
        self.sim.world(edit)
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.sim.now_ms()
    }

    pub(super) fn advance(&self, by: Duration) {
        self.sim.advance(by);
    }

    pub(super) fn history_bytes(&self) -> (usize, usize) {
        self.fleet.history_bytes()
    }

    /// Creates a topic anew, as someone would who had never heard of the one before.
    pub(super) fn recreate(&mut self, instance: &str, topic: &str, keep_committed: bool) {
        self.world(|w| w.recreate_topic(instance, topic, keep_committed)).unwrap();
        self.forget(&told::id(instance), &told::topic_name(topic));
    }

    fn forget(&mut self, instance: &InstanceId, topic: &TopicName) {
        self.seen.retain(|(i, t, _), _| i != instance || t != topic);
    }

    pub(super) fn view(&mut self) -> RegionView {
        let now = self.now();
        self.fleet.view(now)
    }

    fn now(&self) -> Now {
        let now_ms = self.now_ms();
        let since = Duration::from_millis(u64::try_from(now_ms - EPOCH_MS).unwrap());
        Now { mono: self.began + since, wall: UnixMillis::new(now_ms + HOST_OFF_MS).unwrap() }
    }

    /// A stretch of the cloud's clock that has its present moment in it, anywhere.
    fn span(&mut self) -> TimeSpan {
        let now = self.now_ms();
        let mut off = || i64::try_from(self.rng.below(self.habits.width_ms + 1)).unwrap();
        let (before, after) = (off(), off());
        TimeSpan::new(UnixMillis::new(now - before).unwrap(), UnixMillis::new(now + after).unwrap())
    }

    /// Asks for the lists.
    pub(super) fn discover(&mut self) {
        let truth = self.sim.truth();
        let region = &truth.regions[REGION];
        let serving = || region.instances.values().filter(|i| i.in_service);
        let instances = serving().map(told::instance).collect();
        self.apply(&PollTarget::Instances, PollResponse::Instances(clean(whole(instances))));
        for i in serving() {
            for (name, topic) in &i.topics {
                let (id, name) = (told::id(&i.id), told::topic_name(name));
                let before = self.listed.insert((id.clone(), name.clone()), topic.created_ms);
                if before.is_some_and(|before| before != topic.created_ms) {
                    self.forget(&id, &name);
                }
            }
            let topics = i.topics.iter().map(|(name, t)| told::topic(name, t)).collect();
            self.apply(&PollTarget::Topics(told::id(&i.id)), PollResponse::Topics(clean(whole(topics))));
            let groups = i.groups.keys().map(|g| GroupId::new(g).unwrap()).collect();
            self.apply(&PollTarget::Groups(told::id(&i.id)), PollResponse::Groups(clean(whole(groups))));
        }
    }

    /// One pass over all that there is; the world moves on by one interval.
    pub(super) fn pass(&mut self) {
        self.told.clear();
        if self.pass.is_multiple_of(DISCOVERY) {
            self.discover();
        }
        let begin = self.now_ms();
        let poll = u64::try_from(self.habits.poll.as_millis()).unwrap();
        let mut answered = Vec::new();
        for (at, unit) in self.plan(poll) {
            let ahead = begin + i64::try_from(at).unwrap() - self.now_ms();
            if ahead > 0 {
                self.sim.advance(Duration::from_millis(u64::try_from(ahead).unwrap()));
            }
            if self.rng.percent(self.habits.fails_percent) {
                self.fleet.fail(&unit);
                continue;
            }
            let Some(found) = self.ask(&unit) else { continue };
            if !self.habits.shuffled || self.rng.percent(75) {
                self.take(found);
                answered.drain(..).for_each(|late| self.take(late));
            } else {
                answered.push(found);
            }
        }
        answered.into_iter().for_each(|late| self.take(late));
        let rest = begin + i64::try_from(poll).unwrap() - self.now_ms();
        self.sim.advance(Duration::from_millis(u64::try_from(rest.max(0)).unwrap()));
        self.pass += 1;
    }

    /// What is asked in this pass, and after how many milliseconds of it.
    fn plan(&mut self, poll: u64) -> Vec<(u64, PollTarget)> {
        let instances = self.sim.world(|w| w.instances_in_service());
        let (every, pass) = (u64::from(self.habits.status_every), u64::from(self.pass));
        let (mut topics, mut groups) = (Vec::new(), Vec::new());
        for (_, id) in instances {
            let names = self.sim.world(|w| (w.topics(&id), w.groups(&id)));
            for (i, name) in (0u64..).zip(names.0) {
                // Not all in the same pass.
                if every > 0 && (pass + i * u64::from(!self.habits.together)).is_multiple_of(every) {
                    topics.push(PollTarget::TopicStatus(told::id(&id), told::topic_name(&name)));
                }
            }
            groups.extend(
                names.1.iter().map(|g| PollTarget::GroupProgress(told::id(&id), GroupId::new(g).unwrap())),
            );
        }
        let all = topics.into_iter().chain(groups);
        if self.habits.together {
            let late = self.late(poll);
            return all.map(|unit| (late, unit)).collect();
        }
        let mut planned: Vec<(u64, PollTarget)> = Vec::new();
        for (n, unit) in (0u64..).zip(all) {
            // Each has its own moment, and comes back to it.
            let own = n.wrapping_mul(7_919) * 1_000 % poll;
            planned.push(((own + self.late(poll)).min(poll - 1), unit));
        }
        planned.sort();
        planned
    }

    fn late(&mut self, poll: u64) -> u64 {
        self.rng.below(poll * self.habits.late_percent / 100 + 1).min(poll - 1)
    }

    fn ask(&mut self, unit: &PollTarget) -> Option<Answered> {
        let span = self.span();
        let origin = ResponseOrigin { span, request_id: None };
        let (answer, told) = match unit {
            PollTarget::TopicStatus(id, topic) => {
                let truth = self.sim.world(|w| w.topic_truth(id.as_str(), topic.as_str()))?;
                self.note(id, topic, &truth, span);
                (PollResponse::TopicStatus(clean(told::status(&truth)), origin), None)
            }
            PollTarget::GroupProgress(id, group) => {
                let truth = self.sim.world(|w| w.group_truth(id.as_str(), group.as_str()))?;
                let times = self.fleet.message_timestamps(unit);
                let torn = self.rng.percent(self.habits.torn_percent);
                let rng = &mut self.rng;
                let progress = told::progress(&truth, times, |_, _| torn && rng.percent(40));
                let mut has = BTreeSet::new();
                for topic in &progress.topics {
                    for p in &topic.partitions {
                        has.insert((topic.topic.to_string(), i64::from(p.partition.0)));
                        let place = (id.clone(), topic.topic.clone(), p.partition);
                        self.seen
                            .entry(place)
                            .or_default()
                            .extend(p.end.map(|end| Seen { span, end: end.get() }));
                    }
                }
                let told = Told { truth, span, has };
                (PollResponse::GroupProgress(clean(progress), origin), Some(told))
            }
            _ => return None,
        };
        Some(Answered { unit: unit.clone(), answer, told })
    }

    fn note(&mut self, id: &InstanceId, topic: &TopicName, truth: &TopicTruth, span: TimeSpan) {
        for p in &truth.partitions {
            let place = (id.clone(), topic.clone(), told::number(p.partition));
            self.seen.entry(place).or_default().push(Seen { span, end: p.end });
        }
    }

    fn take(&mut self, Answered { unit, answer, told }: Answered) {
        self.apply(&unit, answer);
        if let (PollTarget::GroupProgress(id, group), Some(told)) = (unit, told) {
            self.told.insert((id, group), told);
        }
    }

    fn apply(&mut self, unit: &PollTarget, answer: PollResponse) {
        let now = self.now();
        let effects = self.fleet.apply(unit, Ok(answer), now);
        for anomaly in effects.anomalies {
            *self.anomalies.entry(anomaly.kind).or_default() += 1;
        }
    }
}

fn clean<T>(value: T) -> Observed<T> {
    Observed { value, anomalies: Vec::new() }
}

fn whole<T>(items: Vec<T>) -> Listing<T> {
    Listing { items, complete: true }
}
