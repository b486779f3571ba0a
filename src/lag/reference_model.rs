//! A topic and a group that move by the second, polled as the exporter polls: for the tests of tracks, statuses and
//! forecasts.

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

/// Where seconds are counted from.
const BEGIN: i64 = 1_700_000_000_000;

pub(in crate::lag) fn name() -> TopicName {
    TopicName::new("t").unwrap()
}

pub(in crate::lag) fn at(seconds: f64) -> TimeSpan {
    TimeSpan::at(UnixMillis::new(BEGIN + (seconds * 1e3) as i64).unwrap())
}

/// One answer about one topic: (end, committed) of each partition.
pub(in crate::lag) fn answer(partitions: &[(i64, i64)]) -> GroupLag {
    let numbered = (0..).zip(partitions);
    group(&[("t", numbered.map(|(p, (end, committed))| (p, *end, *committed)).collect())])
}

/// (partition, end, committed); -1 is not told.
type Row = (u32, i64, i64);

/// One answer about topics.
pub(in crate::lag) fn group(topics: &[(&str, Vec<Row>)]) -> GroupLag {
    let partition = |(number, end, committed): &Row| PartitionProgress {
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

/// A status of a topic whose partitions 0, 1, 2, and so on start at these offsets.
pub(in crate::lag) fn starts(starts: &[i64]) -> TopicStatus {
    let partition = |(number, start): (u32, &i64)| TopicPartition {
        partition: Partition(number),
        start: Offset::new(*start),
        end: None,
        last_write: None,
    };
    TopicStatus { messages: None, partitions: (0..).zip(starts).map(partition).collect() }
}

/// Ages of which nothing is known.
pub(in crate::lag) fn no_ages(lag: &GroupLag) -> GroupBounds {
    let topic = |t: &lag::TopicLag| TopicBounds {
        topic: TimeBounds::default(),
        partitions: vec![TimeBounds::default(); t.partitions.len()],
    };
    GroupBounds { group: TimeBounds::default(), topics: lag.topics.iter().map(topic).collect() }
}

/// Ages of one topic in seconds, as ceilings.
pub(in crate::lag) fn ceilings(seconds: &[f64]) -> GroupBounds {
    let age = |s: f64| TimeBounds { lower: None, upper: Some((s * 1e3) as u64) };
    let topic = age(seconds.iter().copied().fold(0.0, f64::max));
    let partitions = seconds.iter().map(|s| age(*s)).collect();
    GroupBounds { group: topic, topics: vec![TopicBounds { topic, partitions }] }
}

/// A partition with its producer and its consumer.
#[derive(Debug, Clone)]
pub(in crate::lag) struct Lane {
    /// Messages a second that are written.
    pub(in crate::lag) written: f64,
    /// Messages a second that are read at most.
    pub(in crate::lag) read: f64,
    /// Seconds between two commits.
    pub(in crate::lag) grid: i64,
    /// Whether commits happen.
    pub(in crate::lag) commits: bool,
    pub(in crate::lag) end: f64,
    pub(in crate::lag) position: f64,
    pub(in crate::lag) committed: i64,
    pub(in crate::lag) start: i64,
    pub(in crate::lag) phase: i64,
}

impl Lane {
    pub(in crate::lag) fn new(written: f64, read: f64, grid: i64, dice: &mut Rng) -> Self {
        let base = dice.between(1e3, 1e6).floor();
        Self {
            written,
            read,
            grid,
            commits: true,
            end: base,
            position: base,
            committed: base as i64,
            start: 0,
            phase: dice.between(0.0, 1e4) as i64,
        }
    }

    fn second(&mut self, second: i64) {
        self.end += self.written;
        // What is not whole is not written yet.
        self.position = (self.position + self.read).min(self.end.floor());
        if self.commits && (second + self.phase) % self.grid == 0 {
            self.committed = self.position.floor() as i64;
        }
    }

    pub(in crate::lag) fn offsets(&self) -> (i64, i64) {
        (self.end.floor() as i64, self.committed)
    }

    /// Sets the group to an offset by hand.
    pub(in crate::lag) fn seek(&mut self, offset: i64) {
        (self.committed, self.position) = (offset, offset as f64);
    }
}

/// How the exporter polls.
#[derive(Debug, Clone, Copy)]
pub(in crate::lag) struct Polls {
    pub(in crate::lag) interval: f64,
    pub(in crate::lag) jitter: f64,
    /// Which share of polls fails.
    pub(in crate::lag) gaps: f64,
}

/// What was said at a poll.
#[derive(Debug, Clone)]
pub(in crate::lag) struct Said {
    /// Seconds from the beginning.
    pub(in crate::lag) at: f64,
    pub(in crate::lag) said: GroupAssessment,
}

/// Lets a topic move for some seconds, and says what is said at each poll. `move_on` is called at every second
/// before it passes.
pub(in crate::lag) fn watch(
    lanes: &mut Vec<Lane>,
    seconds: i64,
    polls: Polls,
    state: Option<GroupState>,
    dice: &mut Rng,
    mut move_on: impl FnMut(i64, &mut Vec<Lane>, &mut Rng),
) -> Vec<Said> {
    let mut track = GroupWindow::default();
    let mut said = Vec::new();
    let mut due = dice.between(0.0, polls.interval);
    for second in 0..seconds {
        move_on(second, lanes, dice);
        lanes.iter_mut().for_each(|lane| lane.second(second));
        if (second as f64) < due {
            continue;
        }
        due += polls.interval + dice.between(-polls.jitter, polls.jitter);
        if dice.fraction() < polls.gaps {
            continue;
        }
        let lag = answer(&lanes.iter().map(Lane::offsets).collect::<Vec<_>>());
        let ages = no_ages(&lag);
        let moment = second as f64 + dice.between(0.0, 0.9);
        track.record(&lag, &ages, at(moment), WINDOW);
        let status = starts(&lanes.iter().map(|lane| lane.start).collect::<Vec<_>>());
        let facts = |_: &TopicName| TopicFacts { status: Some(&status), ..TopicFacts::default() };
        said.push(Said { at: moment, said: assess(&lag, &ages, &track, state, WINDOW, facts) });
    }
    said
}

/// One group on one topic, from answer to answer, with all that is known of it.
#[derive(Default)]
pub(in crate::lag) struct GroupHarness {
    pub(in crate::lag) track: GroupWindow,
    pub(in crate::lag) starts: StartHistory,
    pub(in crate::lag) state: Option<GroupState>,
    pub(in crate::lag) cleanup: Option<Cleanup>,
    pub(in crate::lag) retention: Option<Duration>,
    pub(in crate::lag) status: Option<TopicStatus>,
}

impl GroupHarness {
    pub(in crate::lag) fn take_status(&mut self, seconds: f64, offsets: &[i64]) {
        let status = starts(offsets);
        self.starts.record(&status, at(seconds));
        self.status = Some(status);
    }

    pub(in crate::lag) fn hear(&mut self, seconds: f64, partitions: &[(i64, i64)]) -> GroupAssessment {
        let lag = answer(partitions);
        self.hear_aged(seconds, &lag, &no_ages(&lag))
    }

    pub(in crate::lag) fn hear_aged(
        &mut self,
        seconds: f64,
        lag: &GroupLag,
        ages: &GroupBounds,
    ) -> GroupAssessment {
        self.track.record(lag, ages, at(seconds), WINDOW);
        let facts = |_: &TopicName| TopicFacts {
            status: self.status.as_ref(),
            starts: Some(&self.starts),
            cleanup: self.cleanup,
            retention: self.retention,
            ..TopicFacts::default()
        };
        assess(lag, ages, &self.track, self.state, WINDOW, facts)
    }
}
