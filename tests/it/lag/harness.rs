//! Simulated world whose truth is turned into API responses for a region state, with independent clocks.

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

use super::responses;

pub(super) const REGION: &str = "cn-hangzhou";
/// World time at the beginning of every run.
pub(super) const EPOCH_MS: i64 = 1_790_000_000_000;
/// Offset of the host's clock from the service's, which must not matter.
const HOST_OFF_MS: i64 = 3 * 3_600_000;
/// Passes between two discoveries.
const DISCOVERY: u32 = 5;

/// Schedule of polls, and faults of their responses.
#[derive(Debug, Clone, Copy)]
pub(super) struct PollingBehavior {
    pub(super) poll: Duration,
    /// Maximum delay of a poll, in percent of the interval.
    pub(super) late_percent: u64,
    /// Passes between two statuses of a topic; 0 for never.
    pub(super) status_every: u32,
    /// Whether all polls are simultaneous, topics first. Otherwise each target has its own time in the pass.
    pub(super) together: bool,
    /// Maximum distance in milliseconds from the time of a response to each end of its time span.
    pub(super) width_ms: u64,
    /// Share of polls that fail, in percent.
    pub(super) fails_percent: u64,
    /// Share of responses that lack some partitions, in percent.
    pub(super) incomplete_percent: u64,
    /// Whether responses may arrive out of order.
    pub(super) shuffled: bool,
    pub(super) last_timestamps: LastTimestamps,
}

impl PollingBehavior {
    /// Complete responses at known times, once per minute.
    pub(super) const GOOD: Self = Self {
        poll: Duration::from_secs(60),
        late_percent: 0,
        status_every: 1,
        together: false,
        width_ms: 0,
        fails_percent: 0,
        incomplete_percent: 0,
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

/// Response about a group: the truth it was made from, and its time span.
pub(super) struct GroupResponse {
    pub(super) truth: GroupTruth,
    pub(super) span: TimeSpan,
    /// Partitions that the response contains.
    pub(super) partitions: BTreeSet<(String, i64)>,
}

/// End offset in a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReportedEnd {
    pub(super) span: TimeSpan,
    pub(super) end: i64,
}

/// Response that has not been applied yet.
struct PendingResponse {
    target: PollTarget,
    response: PollResponse,
    group: Option<GroupResponse>,
}

pub(super) type PartitionKey = (InstanceId, TopicName, Partition);

pub(super) struct LagHarness {
    sim: Simulator,
    state: RegionState,
    pub(super) behavior: PollingBehavior,
    pub(super) rng: Rng,
    started_at: Instant,
    pub(super) pass: u32,
    /// Last response about each group in this pass.
    pub(super) responses: BTreeMap<(InstanceId, GroupId), GroupResponse>,
    /// End offsets reported since the exporter could know of the current topic, by true time.
    pub(super) reported_ends: BTreeMap<PartitionKey, Vec<ReportedEnd>>,
    pub(super) anomalies: BTreeMap<AnomalyKind, u64>,
    /// `CreateTime` of each topic in the last list.
    listed: BTreeMap<(InstanceId, TopicName), i64>,
}

impl LagHarness {
    pub(super) async fn start(world: WorldOptions, behavior: PollingBehavior, seed: u64) -> Self {
        let world = WorldOptions { epoch_ms: Some(EPOCH_MS), seed, ..world };
        let sim = Simulator::start(SimulatorOptions { world, ..SimulatorOptions::default() }).await.unwrap();
        let region = RegionId::new(REGION).unwrap();
        let state = RegionState::new(
            None,
            region,
            Filters::default(),
            behavior.timing(),
            Arc::new(DiscoverySequence::default()),
        );
        Self {
            sim,
            state,
            behavior,
            rng: Rng::new(seed),
            started_at: Instant::now(),
            pass: 0,
            responses: BTreeMap::new(),
            reported_ends: BTreeMap::new(),
            anomalies: BTreeMap::new(),
            listed: BTreeMap::new(),
        }
    }

    pub(super) fn with_world<T>(&self, edit: impl FnOnce(&mut World) -> T) -> T {
        self.sim.with_world(edit)
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.sim.now_ms()
    }

    pub(super) fn advance(&self, by: Duration) {
        self.sim.advance(by);
    }

    pub(super) fn history_bytes(&self) -> (usize, usize) {
        self.state.history_bytes()
    }

    /// Recreates a topic.
    pub(super) fn recreate(&mut self, instance: &str, topic: &str, keep_committed: bool) {
        self.with_world(|w| w.recreate_topic(instance, topic, keep_committed)).unwrap();
        self.forget_ends(&responses::id(instance), &responses::topic_name(topic));
    }

    fn forget_ends(&mut self, instance: &InstanceId, topic: &TopicName) {
        self.reported_ends.retain(|(i, t, _), _| i != instance || t != topic);
    }

    pub(super) fn view(&mut self) -> RegionView {
        let now = self.now();
        self.state.view(now)
    }

    fn now(&self) -> Now {
        let now_ms = self.now_ms();
        let since = Duration::from_millis(u64::try_from(now_ms - EPOCH_MS).unwrap());
        Now { mono: self.started_at + since, wall: UnixMillis::new(now_ms + HOST_OFF_MS).unwrap() }
    }

    /// Returns a time span that contains the current time of the service.
    fn span(&mut self) -> TimeSpan {
        let now = self.now_ms();
        let mut off = || i64::try_from(self.rng.below(self.behavior.width_ms + 1)).unwrap();
        let (before, after) = (off(), off());
        TimeSpan::new(UnixMillis::new(now - before).unwrap(), UnixMillis::new(now + after).unwrap())
    }

    /// Polls the lists.
    pub(super) fn discover(&mut self) {
        let truth = self.sim.truth();
        let region = &truth.regions[REGION];
        let serving = || region.instances.values().filter(|i| i.in_service);
        let instances = serving().map(responses::instance).collect();
        self.apply(&PollTarget::Instances, PollResponse::Instances(clean(complete(instances))));
        for i in serving() {
            for (name, topic) in &i.topics {
                let (id, name) = (responses::id(&i.id), responses::topic_name(name));
                let before = self.listed.insert((id.clone(), name.clone()), topic.created_ms);
                if before.is_some_and(|before| before != topic.created_ms) {
                    self.forget_ends(&id, &name);
                }
            }
            let topics = i.topics.iter().map(|(name, t)| responses::topic(name, t)).collect();
            self.apply(
                &PollTarget::Topics(responses::id(&i.id)),
                PollResponse::Topics(clean(complete(topics))),
            );
            let groups = i.groups.keys().map(|g| GroupId::new(g).unwrap()).collect();
            self.apply(
                &PollTarget::Groups(responses::id(&i.id)),
                PollResponse::Groups(clean(complete(groups))),
            );
        }
    }

    /// Polls everything once and advances the world by one interval.
    pub(super) fn pass(&mut self) {
        self.responses.clear();
        if self.pass.is_multiple_of(DISCOVERY) {
            self.discover();
        }
        let begin = self.now_ms();
        let interval = u64::try_from(self.behavior.poll.as_millis()).unwrap();
        let mut pending = Vec::new();
        for (at, target) in self.plan(interval) {
            let ahead = begin + i64::try_from(at).unwrap() - self.now_ms();
            if ahead > 0 {
                self.sim.advance(Duration::from_millis(u64::try_from(ahead).unwrap()));
            }
            if self.rng.percent(self.behavior.fails_percent) {
                self.state.fail(&target);
                continue;
            }
            let Some(found) = self.poll(&target) else { continue };
            if !self.behavior.shuffled || self.rng.percent(75) {
                self.deliver(found);
                pending.drain(..).for_each(|late| self.deliver(late));
            } else {
                pending.push(found);
            }
        }
        pending.into_iter().for_each(|late| self.deliver(late));
        let rest = begin + i64::try_from(interval).unwrap() - self.now_ms();
        self.sim.advance(Duration::from_millis(u64::try_from(rest.max(0)).unwrap()));
        self.pass += 1;
    }

    /// Returns the targets of this pass with their times in milliseconds.
    fn plan(&mut self, poll: u64) -> Vec<(u64, PollTarget)> {
        let instances = self.sim.with_world(|w| w.instances_in_service());
        let (every, pass) = (u64::from(self.behavior.status_every), u64::from(self.pass));
        let (mut topics, mut groups) = (Vec::new(), Vec::new());
        for (_, id) in instances {
            let names = self.sim.with_world(|w| (w.topics(&id), w.groups(&id)));
            for (i, name) in (0u64..).zip(names.0) {
                // Not all in the same pass.
                if every > 0 && (pass + i * u64::from(!self.behavior.together)).is_multiple_of(every) {
                    topics.push(PollTarget::TopicStatus(responses::id(&id), responses::topic_name(&name)));
                }
            }
            groups.extend(
                names
                    .1
                    .iter()
                    .map(|g| PollTarget::GroupProgress(responses::id(&id), GroupId::new(g).unwrap())),
            );
        }
        let all = topics.into_iter().chain(groups);
        if self.behavior.together {
            let late = self.delay(poll);
            return all.map(|target| (late, target)).collect();
        }
        let mut planned: Vec<(u64, PollTarget)> = Vec::new();
        for (n, target) in (0u64..).zip(all) {
            // Each target has its own time in every pass.
            let own = n.wrapping_mul(7_919) * 1_000 % poll;
            planned.push(((own + self.delay(poll)).min(poll - 1), target));
        }
        planned.sort();
        planned
    }

    fn delay(&mut self, poll: u64) -> u64 {
        self.rng.below(poll * self.behavior.late_percent / 100 + 1).min(poll - 1)
    }

    fn poll(&mut self, target: &PollTarget) -> Option<PendingResponse> {
        let span = self.span();
        let origin = ResponseOrigin { span, request_id: None };
        let (response, group) = match target {
            PollTarget::TopicStatus(id, topic) => {
                let truth = self.sim.with_world(|w| w.topic_truth(id.as_str(), topic.as_str()))?;
                self.record_ends(id, topic, &truth, span);
                (PollResponse::TopicStatus(clean(responses::status(&truth)), origin), None)
            }
            PollTarget::GroupProgress(id, group) => {
                let truth = self.sim.with_world(|w| w.group_truth(id.as_str(), group.as_str()))?;
                let times = self.state.wanted_timestamps(target);
                let is_incomplete = self.rng.percent(self.behavior.incomplete_percent);
                let rng = &mut self.rng;
                let progress = responses::progress(&truth, times, |_, _| is_incomplete && rng.percent(40));
                let mut partitions = BTreeSet::new();
                for topic in &progress.topics {
                    for p in &topic.partitions {
                        partitions.insert((topic.topic.to_string(), i64::from(p.partition.0)));
                        let key = (id.clone(), topic.topic.clone(), p.partition);
                        self.reported_ends
                            .entry(key)
                            .or_default()
                            .extend(p.end.map(|end| ReportedEnd { span, end: end.get() }));
                    }
                }
                let group_response = GroupResponse { truth, span, partitions };
                (PollResponse::GroupProgress(clean(progress), origin), Some(group_response))
            }
            _ => return None,
        };
        Some(PendingResponse { target: target.clone(), response, group })
    }

    fn record_ends(&mut self, id: &InstanceId, topic: &TopicName, truth: &TopicTruth, span: TimeSpan) {
        for p in &truth.partitions {
            let key = (id.clone(), topic.clone(), responses::number(p.partition));
            self.reported_ends.entry(key).or_default().push(ReportedEnd { span, end: p.end });
        }
    }

    fn deliver(&mut self, PendingResponse { target, response, group: group_response }: PendingResponse) {
        self.apply(&target, response);
        if let (PollTarget::GroupProgress(id, group), Some(group_response)) = (target, group_response) {
            self.responses.insert((id, group), group_response);
        }
    }

    fn apply(&mut self, target: &PollTarget, response: PollResponse) {
        let now = self.now();
        let effects = self.state.apply(target, Ok(response), now);
        for anomaly in effects.anomalies {
            *self.anomalies.entry(anomaly.kind).or_default() += 1;
        }
    }
}

fn clean<T>(value: T) -> Observed<T> {
    Observed { value, anomalies: Vec::new() }
}

fn complete<T>(items: Vec<T>) -> Listing<T> {
    Listing { items, complete: true }
}
