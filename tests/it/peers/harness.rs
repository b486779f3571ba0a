//! Region state with one instance, the responses applied to it, and its metrics. Time is a parameter.

use std::sync::Arc;

use alikafka_exporter::{
    collect::{
        DiscoverySequence, PollTarget,
        state::{Now, PollResponse, RegionState},
    },
    exposition::Renderer,
    model::{
        Filters, Granularity, GroupId, GroupProgress, GroupState, Instance, InstanceId, InstanceState,
        LastTimestamps, Listing, Observed, Offset, Partition, PartitionProgress, PollTiming, RegionId,
        RenderOptions, ResponseOrigin, TimeSpan, Topic, TopicName, TopicPartition, TopicProgress,
        TopicStatus, UnixMillis,
    },
    snapshot::Snapshot,
};
use test_support::scrape::Scrape;
use tokio::time::{Duration, Instant};

/// Start time, in milliseconds.
pub(super) const START: i64 = 1_790_000_000_000;
/// Seconds between polls.
pub(super) const POLL: u64 = 60;
/// Status window in seconds.
pub(super) const WINDOW: u64 = 600;

/// Offsets of a partition in a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartitionOffsets {
    pub(super) committed: i64,
    pub(super) end: i64,
    /// Store time of the last consumed message, in seconds since [`START`].
    pub(super) consumed_at: Option<i64>,
}

/// Returns committed and end offset of a partition; -1 if missing.
pub(super) fn offsets(committed: i64, end: i64) -> PartitionOffsets {
    PartitionOffsets { committed, end, consumed_at: None }
}

impl PartitionOffsets {
    /// Adds the store time of the last consumed message, in seconds since [`START`].
    pub(super) fn consumed_at(self, seconds: i64) -> Self {
        Self { consumed_at: Some(seconds), ..self }
    }
}

/// One instance with the topic `t` and the group `g`, or more.
pub(super) struct RegionHarness {
    state_of_region: RegionState,
    now: Now,
    state: Option<GroupState>,
}

impl RegionHarness {
    pub(super) fn new() -> Self {
        Self::with(timing(), &["t"], &["g"])
    }

    pub(super) fn with(timing: PollTiming, topics: &[&str], groups: &[&str]) -> Self {
        let region = RegionId::new("cn-hangzhou").unwrap();
        let state_of_region = RegionState::new(
            None,
            region,
            Filters::default(),
            timing,
            Arc::new(DiscoverySequence::default()),
        );
        let wall = UnixMillis::new(START).unwrap();
        let mut harness = Self { state_of_region, now: Now { mono: Instant::now(), wall }, state: None };
        harness.apply(&PollTarget::Instances, PollResponse::Instances(clean(complete(vec![instance()]))));
        harness.list(topics, groups);
        harness
    }

    /// Applies the lists of topics and groups.
    pub(super) fn list(&mut self, topics: &[&str], groups: &[&str]) {
        let topic = |name: &&str| Topic {
            name: TopicName::new(name).unwrap(),
            partitions: None,
            storage: None,
            cleanup: None,
            created_at: None,
        };
        let topics = complete(topics.iter().map(topic).collect());
        self.apply(&PollTarget::Topics(id()), PollResponse::Topics(clean(topics)));
        let groups = complete(groups.iter().map(|g| GroupId::new(g).unwrap()).collect());
        self.apply(&PollTarget::Groups(id()), PollResponse::Groups(clean(groups)));
    }

    /// Sets the state of the group from now on.
    pub(super) fn state(&mut self, state: GroupState) -> &mut Self {
        self.state = Some(state);
        self
    }

    /// Advances the time.
    pub(super) fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now.mono += Duration::from_secs(seconds);
        let millis = self.now.wall.get() + i64::try_from(seconds).unwrap() * 1000;
        self.now.wall = UnixMillis::new(millis).unwrap();
        self
    }

    /// Returns the seconds since the start.
    pub(super) fn now(&self) -> i64 {
        (self.now.wall.get() - START) / 1000
    }

    /// Applies a response about group `g` on topic `t`.
    pub(super) fn group(&mut self, partitions: &[PartitionOffsets]) -> &mut Self {
        self.group_on(&[("t", partitions)])
    }

    /// Applies a response about group `g`.
    pub(super) fn group_on(&mut self, topics: &[(&str, &[PartitionOffsets])]) -> &mut Self {
        let topic = |(name, partitions): &(&str, &[PartitionOffsets])| {
            let partition = |(number, row): (u32, &PartitionOffsets)| PartitionProgress {
                partition: Partition(number),
                end: Offset::new(row.end),
                committed: Offset::new(row.committed),
                last_consumed: row.consumed_at.and_then(|seconds| UnixMillis::new(START + seconds * 1000)),
            };
            TopicProgress {
                topic: TopicName::new(name).unwrap(),
                total_diff: None,
                partitions: (0..).zip(partitions.iter()).map(partition).collect(),
            }
        };
        let topics = topics.iter().map(topic).collect();
        let progress = GroupProgress { state: self.state, topics, ..GroupProgress::default() };
        let target = PollTarget::GroupProgress(id(), GroupId::new("g").unwrap());
        let origin = self.origin();
        self.apply(&target, PollResponse::GroupProgress(clean(progress), origin));
        self
    }

    /// Applies a status of topic `t`: start, end and last write (in seconds since [`START`]) of each partition.
    pub(super) fn topic(&mut self, partitions: &[(i64, i64, Option<i64>)]) -> &mut Self {
        let partition = |(number, (start, end, written)): (u32, &(i64, i64, Option<i64>))| TopicPartition {
            partition: Partition(number),
            start: Offset::new(*start),
            end: Offset::new(*end),
            last_write: written.and_then(|seconds| UnixMillis::new(START + seconds * 1000)),
        };
        let partitions = (0..).zip(partitions).map(partition).collect();
        let target = PollTarget::TopicStatus(id(), TopicName::new("t").unwrap());
        let origin = self.origin();
        self.apply(
            &target,
            PollResponse::TopicStatus(clean(TopicStatus { messages: None, partitions }), origin),
        );
        self
    }

    /// Renders the metrics at the granularity of partitions.
    pub(super) fn scrape(&mut self) -> Scrape {
        let options = RenderOptions { granularity: Granularity::Partition, ..RenderOptions::default() };
        let snapshot = Snapshot { regions: vec![Arc::new(self.state_of_region.view(self.now))] };
        let scrape = Renderer::new(options).render(&snapshot);
        Scrape::parse(String::from_utf8(scrape.plain_chunks().flatten().collect()).unwrap())
    }

    fn apply(&mut self, target: &PollTarget, response: PollResponse) {
        self.state_of_region.apply(target, Ok(response), self.now);
    }

    fn origin(&self) -> ResponseOrigin {
        ResponseOrigin { span: TimeSpan::at(self.now.wall), request_id: None }
    }
}

pub(super) fn timing() -> PollTiming {
    PollTiming {
        discovery: Duration::from_secs(300),
        poll: Duration::from_secs(POLL),
        topic_poll: Duration::from_secs(POLL),
        idle_poll: Duration::from_secs(90),
        idle_topic_poll: Duration::from_secs(90),
        stale_after: Duration::from_secs(180),
        topic_stale_after: Duration::from_secs(180),
        discovery_stale_after: Duration::from_secs(100 * 86_400),
        request_timeout: Duration::from_secs(15),
        status_window: Duration::from_secs(WINDOW),
        last_timestamps: LastTimestamps::Always,
    }
}

/// Returns the value of the only series of group `g`.
pub(super) fn group_value(scrape: &Scrape, name: &str) -> Option<f64> {
    scrape.value(name, &[("group", "g")])
}

/// Returns the value of a series of group `g` on a partition of topic `t`.
pub(super) fn partition_value(scrape: &Scrape, name: &str, partition: &str) -> Option<f64> {
    scrape.value(name, &[("group", "g"), ("topic", "t"), ("partition", partition)])
}

/// Returns the lower and upper bound of the lag of group `g`, in seconds.
pub(super) fn seconds(scrape: &Scrape) -> (Option<f64>, Option<f64>) {
    (
        group_value(scrape, "alikafka_group_lag_floor_seconds"),
        group_value(scrape, "alikafka_group_lag_seconds"),
    )
}

/// Returns a running instance with a retention of three days.
fn instance() -> Instance {
    Instance {
        id: id(),
        name: None,
        state: Some(InstanceState::Running),
        series: None,
        spec_type: None,
        version: None,
        deploy_type: None,
        paid_type: None,
        disk_type: None,
        created_at: None,
        expires_at: None,
        topics: None,
        topic_limit: None,
        partitions: None,
        groups: None,
        disk_size_bytes: None,
        message_retention_seconds: Some(72 * 3600),
        tags: Vec::new(),
    }
}

fn id() -> InstanceId {
    InstanceId::new("i").unwrap()
}

fn complete<T>(items: Vec<T>) -> Listing<T> {
    Listing { items, complete: true }
}

fn clean<T>(value: T) -> Observed<T> {
    Observed { value, anomalies: Vec::new() }
}
