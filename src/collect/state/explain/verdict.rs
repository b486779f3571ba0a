//! The status of a group, topic and partition with the rule that made it, and the window that it was made from.

use tokio::time::Duration;

use super::{Moment, Rewind, Sample, Track, Trend, Window, seconds};
use crate::{
    lag::{
        GroupLag, PartitionLag, TopicLag,
        age::TopicFacts,
        assess::{GroupAssessment, TopicAssessment},
        status::{self, Rule, Status},
        track::{self, Aged, Point, TopicTrack},
    },
    model::GroupState,
};

/// What a status is made from.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    /// What is remembered of the topic.
    pub(super) track: Option<&'a TopicTrack>,
    /// The group's state.
    pub(super) state: Option<GroupState>,
    /// How far back is looked.
    pub(super) window: Duration,
}

impl Evidence<'_> {
    /// The rule that made the status of the partition at a place in the answer.
    pub(super) fn of_partition(
        &self,
        place: usize,
        lag: &PartitionLag,
        facts: &TopicFacts<'_>,
    ) -> &'static str {
        let start = facts.status.and_then(|status| status.start(lag.partition));
        let known = self.track.and_then(|track| track.partition(place));
        let is_stuck = self.track.is_some_and(|track| track.is_stuck(place, self.window));
        let skew = status::skew(self.track);
        Rule::of_partition(lag, start, known, is_stuck, self.state, skew).sentence()
    }

    /// What is remembered of the partition at a place in the answer.
    pub(super) fn track(&self, place: usize) -> Option<Track> {
        let topic = self.track?;
        let known = topic.partition(place)?;
        Some(Track {
            answers: known.polls,
            still_since: known.still_since.map(Moment::from),
            is_stuck: topic.is_stuck(place, self.window),
            was_moving: known.was_moving,
            rewind: known
                .rewind
                .map(|rewind| Rewind { from_offset: rewind.before.get(), at: rewind.at.into() }),
        })
    }

    /// What answers have told of the topic.
    pub(super) fn window(&self) -> Option<Window> {
        let track = self.track.filter(|track| track.polls() > 0)?;
        let (consumed_messages, produced_messages) = track.totals();
        Some(Window {
            answers: track.polls(),
            consumed_messages,
            produced_messages,
            was_caught_up: track.was_caught_up(self.window),
            lag_trend: track.lag_trend().map(|trend| told(trend, 1.0)),
            age_trend: track.age_trend().map(|trend| told(trend, 1e-3)),
            samples: track.points().map(sample).collect(),
        })
    }
}

/// The rule that made the status of a topic.
pub(super) fn of_topic(
    lag: &TopicLag,
    assessed: &TopicAssessment,
    evidence: Evidence<'_>,
    facts: &TopicFacts<'_>,
) -> String {
    let Some(status) = assessed.status else {
        return "Of no partition, and not of the topic as a whole, has enough been seen.".to_owned();
    };
    if status == Status::Lagging {
        return "The group reads, was never done within the window, and lag grows by more than noise."
            .to_owned();
    }
    let mut partitions = lag.partitions.iter().zip(&assessed.partitions).enumerate();
    let worst = partitions.find(|(_, (_, p))| p.status == Some(status));
    worst.map_or_else(String::new, |(place, (p, _))| {
        format!("Partition {}: {}", p.partition.0, evidence.of_partition(place, p, facts))
    })
}

/// The rule that made the status of a group; `of_topic` tells that of a topic at a place in the answer.
pub(super) fn of_group(
    lag: Option<&GroupLag>,
    assessed: Option<&GroupAssessment>,
    of_topic: impl Fn(&TopicLag, &TopicAssessment) -> String,
) -> String {
    let (Some(lag), Some(assessed)) = (lag, assessed) else {
        return "There is no answer that is fresh enough.".to_owned();
    };
    let Some(status) = assessed.status else { return "Of no topic has enough been seen.".to_owned() };
    let worst = lag.topics.iter().zip(&assessed.topics).find(|(_, topic)| topic.status == Some(status));
    worst.map_or_else(String::new, |(lag, topic)| format!("Topic {}: {}", lag.topic, of_topic(lag, topic)))
}

fn told(trend: track::Trend, target: f64) -> Trend {
    Trend { growth: trend.growth * target, error: trend.error * target, seconds: trend.seconds }
}

fn sample(point: Point) -> Sample {
    let (lag_seconds, lag_floor_seconds) = match point.age {
        None => (None, None),
        Some(Aged::Ceiling(millis)) => (Some(seconds(millis)), None),
        Some(Aged::Floor(millis)) => (None, Some(seconds(millis))),
    };
    Sample {
        at: point.at.into(),
        consumed_messages: point.consumed,
        produced_messages: point.produced,
        lag_messages: point.lag,
        lag_seconds,
        lag_floor_seconds,
    }
}
