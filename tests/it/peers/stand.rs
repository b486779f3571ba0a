//! A fleet of one instance that is told answers, and its page. Time is told, too: nothing waits.

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

/// The moment at which every stand begins, in milliseconds.
pub(super) const START: i64 = 1_790_000_000_000;
/// Seconds between two polls.
pub(super) const POLL: u64 = 60;
/// Seconds that a status looks back.
pub(super) const WINDOW: u64 = 600;

/// What an answer says of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) committed: i64,
    pub(super) end: i64,
    /// When the message that was read last was stored, in seconds since [`START`].
    pub(super) read: Option<i64>,
}

/// Committed and end offset of a partition; below 0 for what is not told.
pub(super) fn row(committed: i64, end: i64) -> Row {
    Row { committed, end, read: None }
}

impl Row {
    /// The same with the time of the message that was read last, in seconds since [`START`].
    pub(super) fn read(self, seconds: i64) -> Self {
        Self { read: Some(seconds), ..self }
    }
}

/// One instance with the topic `t` and the group `g`, or more.
pub(super) struct Stand {
    fleet: RegionState,
    now: Now,
    state: Option<GroupState>,
}

impl Stand {
    pub(super) fn new() -> Self {
        Self::with(timing(), &["t"], &["g"])
    }

    pub(super) fn with(timing: PollTiming, topics: &[&str], groups: &[&str]) -> Self {
        let region = RegionId::new("cn-hangzhou").unwrap();
        let fleet = RegionState::new(
            None,
            region,
            Filters::default(),
            timing,
            Arc::new(DiscoverySequence::default()),
        );
        let wall = UnixMillis::new(START).unwrap();
        let mut stand = Self { fleet, now: Now { mono: Instant::now(), wall }, state: None };
        stand.answer(&PollTarget::Instances, PollResponse::Instances(clean(whole(vec![instance()]))));
        stand.list(topics, groups);
        stand
    }

    /// Tells which topics and groups there are.
    pub(super) fn list(&mut self, topics: &[&str], groups: &[&str]) {
        let topic = |name: &&str| Topic {
            name: TopicName::new(name).unwrap(),
            partitions: None,
            storage: None,
            cleanup: None,
            created_at: None,
        };
        let topics = whole(topics.iter().map(topic).collect());
        self.answer(&PollTarget::Topics(id()), PollResponse::Topics(clean(topics)));
        let groups = whole(groups.iter().map(|g| GroupId::new(g).unwrap()).collect());
        self.answer(&PollTarget::Groups(id()), PollResponse::Groups(clean(groups)));
    }

    /// The state of the group from now on.
    pub(super) fn state(&mut self, state: GroupState) -> &mut Self {
        self.state = Some(state);
        self
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now.mono += Duration::from_secs(seconds);
        let millis = self.now.wall.get() + i64::try_from(seconds).unwrap() * 1000;
        self.now.wall = UnixMillis::new(millis).unwrap();
        self
    }

    /// Seconds since the begin.
    pub(super) fn now(&self) -> i64 {
        (self.now.wall.get() - START) / 1000
    }

    /// An answer about the group `g` and the topic `t`.
    pub(super) fn group(&mut self, rows: &[Row]) -> &mut Self {
        self.group_on(&[("t", rows)])
    }

    /// An answer about the group `g`.
    pub(super) fn group_on(&mut self, topics: &[(&str, &[Row])]) -> &mut Self {
        let topic = |(name, rows): &(&str, &[Row])| {
            let partition = |(number, row): (u32, &Row)| PartitionProgress {
                partition: Partition(number),
                end: Offset::new(row.end),
                committed: Offset::new(row.committed),
                last_consumed: row.read.and_then(|seconds| UnixMillis::new(START + seconds * 1000)),
            };
            TopicProgress {
                topic: TopicName::new(name).unwrap(),
                total_diff: None,
                partitions: (0..).zip(rows.iter()).map(partition).collect(),
            }
        };
        let topics = topics.iter().map(topic).collect();
        let progress = GroupProgress { state: self.state, topics, ..GroupProgress::default() };
        let unit = PollTarget::GroupProgress(id(), GroupId::new("g").unwrap());
        let origin = self.origin();
        self.answer(&unit, PollResponse::GroupProgress(clean(progress), origin));
        self
    }

    /// An answer about the topic `t`: start, end and, in seconds since [`START`], last write of each partition.
    pub(super) fn topic(&mut self, rows: &[(i64, i64, Option<i64>)]) -> &mut Self {
        let partition = |(number, (start, end, written)): (u32, &(i64, i64, Option<i64>))| TopicPartition {
            partition: Partition(number),
            start: Offset::new(*start),
            end: Offset::new(*end),
            last_write: written.and_then(|seconds| UnixMillis::new(START + seconds * 1000)),
        };
        let partitions = (0..).zip(rows).map(partition).collect();
        let unit = PollTarget::TopicStatus(id(), TopicName::new("t").unwrap());
        let origin = self.origin();
        self.answer(
            &unit,
            PollResponse::TopicStatus(clean(TopicStatus { messages: None, partitions }), origin),
        );
        self
    }

    /// The page now, with all that it can show.
    pub(super) fn page(&mut self) -> Scrape {
        let options = RenderOptions { granularity: Granularity::Partition, ..RenderOptions::default() };
        let snapshot = Snapshot { regions: vec![Arc::new(self.fleet.view(self.now))] };
        let page = Renderer::new(options).render(&snapshot);
        Scrape::parse(String::from_utf8(page.plain_chunks().flatten().collect()).unwrap())
    }

    fn answer(&mut self, unit: &PollTarget, answer: PollResponse) {
        self.fleet.apply(unit, Ok(answer), self.now);
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

/// The value of a series of the group `g`, of which there is one at most.
pub(super) fn of_group(page: &Scrape, name: &str) -> Option<f64> {
    page.value(name, &[("group", "g")])
}

/// The value of a series of the group `g` on a partition of the topic `t`.
pub(super) fn of_partition(page: &Scrape, name: &str, partition: &str) -> Option<f64> {
    page.value(name, &[("group", "g"), ("topic", "t"), ("partition", partition)])
}

/// Floor and ceiling of the group `g`, in seconds.
pub(super) fn seconds(page: &Scrape) -> (Option<f64>, Option<f64>) {
    (of_group(page, "alikafka_group_lag_floor_seconds"), of_group(page, "alikafka_group_lag_seconds"))
}

/// In service, with messages kept for three days.
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

fn whole<T>(items: Vec<T>) -> Listing<T> {
    Listing { items, complete: true }
}

fn clean<T>(value: T) -> Observed<T> {
    Observed { value, anomalies: Vec::new() }
}
