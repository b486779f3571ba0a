//! The status of a group, topic and partition with the rule that made it, and the window that it was made from.

use tokio::time::Duration;

use super::{Moment, Rewind, Sample, Track, Trend, Window, seconds};
use crate::lag::{
    GroupLag, TopicLag,
    assess::{GroupAssessment, TopicAssessment},
    status::Status,
    window::{self, SampledBound, TopicWindow, WindowSample},
};

/// What a status is made from.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    /// What is remembered of the topic.
    pub(super) track: Option<&'a TopicWindow>,
    /// How far back is looked.
    pub(super) window: Duration,
}

impl Evidence<'_> {
    /// What is remembered of the partition at a place in the answer.
    pub(super) fn track(&self, place: usize) -> Option<Track> {
        let topic = self.track?;
        let known = topic.partition(place)?;
        Some(Track {
            answers: known.polls,
            still_since: known.unchanged_since.map(Moment::from),
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
            samples: track.samples().map(sample).collect(),
        })
    }
}

/// The rule that made the status of a topic.
pub(super) fn of_topic(lag: &TopicLag, assessed: &TopicAssessment) -> String {
    let Some(status) = assessed.status else {
        return "Of no partition, and not of the topic as a whole, has enough been seen.".to_owned();
    };
    if status == Status::Lagging {
        return "The group reads, was never done within the window, and lag grows by more than noise."
            .to_owned();
    }
    let worst = assessed.with_lag(lag).find(|(_, p)| p.rule.status() == Some(status));
    worst.map_or_else(String::new, |(p, assessed)| {
        format!("Partition {}: {}", p.partition.0, assessed.rule.description())
    })
}

/// Rule that decided the status of a group.
pub(super) fn of_group(lag: Option<&GroupLag>, assessed: Option<&GroupAssessment>) -> String {
    let (Some(lag), Some(assessed)) = (lag, assessed) else {
        return "There is no answer that is fresh enough.".to_owned();
    };
    let Some(status) = assessed.status else { return "Of no topic has enough been seen.".to_owned() };
    let worst = assessed.with_lag(lag).find(|(_, topic)| topic.status == Some(status));
    worst.map_or_else(String::new, |(lag, topic)| format!("Topic {}: {}", lag.topic, of_topic(lag, topic)))
}

fn told(trend: window::TrendLine, target: f64) -> Trend {
    Trend { growth: trend.growth * target, error: trend.error * target, seconds: trend.seconds }
}

fn sample(point: WindowSample) -> Sample {
    let (lag_seconds, lag_floor_seconds) = match point.bound {
        None => (None, None),
        Some(SampledBound::Upper(millis)) => (Some(seconds(millis)), None),
        Some(SampledBound::Lower(millis)) => (None, Some(seconds(millis))),
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
