//! Simulation of a topic and its group in steps of a second, polled as the exporter does, for the tests of windows,
//! statuses and forecasts.

use std::time::Duration;

use test_support::rng::Rng;

use crate::{
    lag::{
        self, GroupLag,
        assess::{GroupAssessment, assess},
        bounds::{GroupBounds, TimeBounds, TopicBounds},
        facts::TopicFacts,
        start_history::StartHistory,
        window::GroupWindow,
    },
    model::{
        Cleanup, GroupProgress, GroupState, Offset, Partition, PartitionProgress, TimeSpan, TopicName,
        TopicPartition, TopicProgress, TopicStatus, UnixMillis,
    },
};

pub(in crate::lag) const WINDOW: Duration = Duration::from_secs(600);

/// Time of second 0, in milliseconds.
const EPOCH: i64 = 1_700_000_000_000;

pub(in crate::lag) fn name() -> TopicName {
    TopicName::new("t").unwrap()
}

pub(in crate::lag) fn at(seconds: f64) -> TimeSpan {
    TimeSpan::at(UnixMillis::new(EPOCH + (seconds * 1e3) as i64).unwrap())
}

/// Lag on one topic, from the end and committed offset of each partition.
pub(in crate::lag) fn lag_of(partitions: &[(i64, i64)]) -> GroupLag {
    let numbered = (0..).zip(partitions);
    group_lag(&[("t", numbered.map(|(p, (end, committed))| (p, *end, *committed)).collect())])
}

/// Partition, end offset, committed offset; -1 if unknown.
type PartitionOffsets = (u32, i64, i64);

/// Lag on several topics.
pub(in crate::lag) fn group_lag(topics: &[(&str, Vec<PartitionOffsets>)]) -> GroupLag {
    let partition = |(number, end, committed): &PartitionOffsets| PartitionProgress {
        partition: Partition(*number),
        end: Offset::new(*end),
        committed: Offset::new(*committed),
        last_consumed: None,
    };
    let topics = topics.iter().map(|(name, partitions)| TopicProgress {
        topic: TopicName::new(name).unwrap(),
        total_diff: None,
        partitions: partitions.iter().map(partition).collect(),
    });
    lag::compute_lag(&GroupProgress { topics: topics.collect(), ..GroupProgress::default() }).0
}

/// Status of a topic with these start offsets.
pub(in crate::lag) fn topic_status(starts: &[i64]) -> TopicStatus {
    let partition = |(number, start): (u32, &i64)| TopicPartition {
        partition: Partition(number),
        start: Offset::new(*start),
        end: None,
        last_write: None,
    };
    TopicStatus { messages: None, partitions: (0..).zip(starts).map(partition).collect() }
}

/// Unknown bounds.
pub(in crate::lag) fn no_bounds(lag: &GroupLag) -> GroupBounds {
    let topic = |t: &lag::TopicLag| TopicBounds {
        topic: TimeBounds::default(),
        partitions: vec![TimeBounds::default(); t.partitions.len()],
    };
    GroupBounds { group: TimeBounds::default(), topics: lag.topics.iter().map(topic).collect() }
}

/// Upper bounds of the partitions of one topic, in seconds.
pub(in crate::lag) fn upper_bounds(seconds: &[f64]) -> GroupBounds {
    let bounds = |s: f64| TimeBounds { lower: None, upper: Some((s * 1e3) as u64) };
    let topic = bounds(seconds.iter().copied().fold(0.0, f64::max));
    let partitions = seconds.iter().map(|s| bounds(*s)).collect();
    GroupBounds { group: topic, topics: vec![TopicBounds { topic, partitions }] }
}

/// Partition with its producer and its consumer.
#[derive(Debug, Clone)]
pub(in crate::lag) struct SimulatedPartition {
    /// Messages produced per second.
    pub(in crate::lag) produced: f64,
    /// Messages consumed per second at most.
    pub(in crate::lag) consumed: f64,
    /// Seconds between commits.
    pub(in crate::lag) commit_interval: i64,
    /// Whether the group commits.
    pub(in crate::lag) commits: bool,
    pub(in crate::lag) end: f64,
    pub(in crate::lag) position: f64,
    pub(in crate::lag) committed: i64,
    pub(in crate::lag) start: i64,
    pub(in crate::lag) phase: i64,
}

impl SimulatedPartition {
    pub(in crate::lag) fn new(produced: f64, consumed: f64, commit_interval: i64, rng: &mut Rng) -> Self {
        let base = rng.between(1e3, 1e6).floor();
        Self {
            produced,
            consumed,
            commit_interval,
            commits: true,
            end: base,
            position: base,
            committed: base as i64,
            start: 0,
            phase: rng.between(0.0, 1e4) as i64,
        }
    }

    fn step(&mut self, second: i64) {
        self.end += self.produced;
        // A fraction of a message is not written yet.
        self.position = (self.position + self.consumed).min(self.end.floor());
        if self.commits && (second + self.phase) % self.commit_interval == 0 {
            self.committed = self.position.floor() as i64;
        }
    }

    pub(in crate::lag) fn offsets(&self) -> (i64, i64) {
        (self.end.floor() as i64, self.committed)
    }

    /// Resets the group to an offset.
    pub(in crate::lag) fn seek(&mut self, offset: i64) {
        (self.committed, self.position) = (offset, offset as f64);
    }
}

/// Times of polls, in seconds.
#[derive(Debug, Clone, Copy)]
pub(in crate::lag) struct PollPattern {
    pub(in crate::lag) interval: f64,
    pub(in crate::lag) jitter: f64,
    /// Share of polls that fail.
    pub(in crate::lag) failures: f64,
}

/// Assessment after a poll.
#[derive(Debug, Clone)]
pub(in crate::lag) struct TimedAssessment {
    /// Seconds since the beginning.
    pub(in crate::lag) at: f64,
    pub(in crate::lag) assessment: GroupAssessment,
}

/// Simulates a topic for some seconds and returns the assessment after each poll. Calls `change` before each second.
pub(in crate::lag) fn simulate(
    partitions: &mut Vec<SimulatedPartition>,
    seconds: i64,
    polls: PollPattern,
    state: Option<GroupState>,
    rng: &mut Rng,
    mut change: impl FnMut(i64, &mut Vec<SimulatedPartition>, &mut Rng),
) -> Vec<TimedAssessment> {
    let mut window = GroupWindow::default();
    let mut assessments = Vec::new();
    let mut due = rng.between(0.0, polls.interval);
    for second in 0..seconds {
        change(second, partitions, rng);
        partitions.iter_mut().for_each(|partition| partition.step(second));
        if (second as f64) < due {
            continue;
        }
        due += polls.interval + rng.between(-polls.jitter, polls.jitter);
        if rng.fraction() < polls.failures {
            continue;
        }
        let lag = lag_of(&partitions.iter().map(SimulatedPartition::offsets).collect::<Vec<_>>());
        let bounds = no_bounds(&lag);
        let time = second as f64 + rng.between(0.0, 0.9);
        window.record(&lag, &bounds, at(time), WINDOW);
        let status = topic_status(&partitions.iter().map(|partition| partition.start).collect::<Vec<_>>());
        let facts = |_: &TopicName| TopicFacts { status: Some(&status), ..TopicFacts::default() };
        let assessment = assess(&lag, &bounds, &window, state, WINDOW, facts);
        assessments.push(TimedAssessment { at: time, assessment });
    }
    assessments
}

/// One group on one topic over several polls, with everything known about them.
#[derive(Default)]
pub(in crate::lag) struct GroupHarness {
    pub(in crate::lag) window: GroupWindow,
    pub(in crate::lag) starts: StartHistory,
    pub(in crate::lag) state: Option<GroupState>,
    pub(in crate::lag) cleanup: Option<Cleanup>,
    pub(in crate::lag) retention: Option<Duration>,
    pub(in crate::lag) status: Option<TopicStatus>,
}

impl GroupHarness {
    pub(in crate::lag) fn record_starts(&mut self, seconds: f64, starts: &[i64]) {
        let status = topic_status(starts);
        self.starts.record(&status, at(seconds));
        self.status = Some(status);
    }

    pub(in crate::lag) fn poll(&mut self, seconds: f64, partitions: &[(i64, i64)]) -> GroupAssessment {
        let lag = lag_of(partitions);
        self.poll_with_bounds(seconds, &lag, &no_bounds(&lag))
    }

    pub(in crate::lag) fn poll_with_bounds(
        &mut self,
        seconds: f64,
        lag: &GroupLag,
        bounds: &GroupBounds,
    ) -> GroupAssessment {
        self.window.record(lag, bounds, at(seconds), WINDOW);
        let facts = |_: &TopicName| TopicFacts {
            status: self.status.as_ref(),
            starts: Some(&self.starts),
            cleanup: self.cleanup,
            retention: self.retention,
            ..TopicFacts::default()
        };
        assess(lag, bounds, &self.window, self.state, WINDOW, facts)
    }
}
