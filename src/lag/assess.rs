//! Assessment of a group: time bounds, status, rates and forecasts from its last poll and those before. Pure.
//!
//! Owns: how partitions combine into topics, and topics into the group.

use std::time::Duration;

use serde::Serialize;

use super::{
    GroupLag, PartitionLag, RetentionMargin, TopicLag,
    bounds::{GroupBounds, TimeBounds, TopicBounds},
    facts::TopicFacts,
    forecast::{self, DataLossForecast},
    known_total,
    status::{self, Status, StatusRule},
    window::{GroupWindow, TopicWindow},
};
use crate::model::{GroupState, Offset, TopicName};

#[cfg(test)]
mod tests;

/// Assessment of a group. Belongs to the [`GroupLag`] that it was computed from: topics and partitions of both are in
/// the same order, so [`GroupAssessment::with_lag`] can pair them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct GroupAssessment {
    /// Lag in seconds: maximum over the topics.
    #[serde(flatten)]
    pub bounds: TimeBounds,
    /// Worst status of the topics.
    pub status: Option<Status>,
    /// Unread messages that are still retained; `None` if no partition has a known number.
    #[serde(rename = "consumable_lag_messages")]
    pub consumable: Option<u64>,
    /// Seconds until the group has caught up at its current rates; `None` if it does not on a topic with lag.
    #[serde(rename = "catch_up_seconds")]
    pub catch_up: Option<f64>,
    /// In the order of the group's topics.
    #[serde(skip)]
    pub topics: Vec<TopicAssessment>,
}

/// Assessment of a group on one topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TopicAssessment {
    /// Lag in seconds: maximum over the partitions.
    #[serde(flatten)]
    pub bounds: TimeBounds,
    /// Worst status of the partitions, or [`Status::Lagging`] for the topic.
    pub status: Option<Status>,
    /// Unread messages that are still retained.
    #[serde(rename = "consumable_lag_messages")]
    pub consumable: Option<u64>,
    /// Messages consumed per second, averaged over the status window.
    #[serde(rename = "consumed_messages_per_second")]
    pub consumed: Option<f64>,
    /// Messages produced per second to the partitions that the group reads, averaged over the status window.
    #[serde(rename = "produced_messages_per_second")]
    pub produced: Option<f64>,
    /// Seconds until the group has caught up; 0 without lag, `None` if the lag does not shrink.
    #[serde(rename = "catch_up_seconds")]
    pub catch_up: Option<f64>,
    /// Seconds until messages are deleted before the group reads them; `None` if that does not get closer.
    #[serde(rename = "data_loss_eta_seconds")]
    pub data_loss_eta: Option<f64>,
    /// In the order of the topic's partitions.
    #[serde(skip)]
    pub partitions: Vec<PartitionAssessment>,
}

/// Assessment of a group on one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PartitionAssessment {
    /// Lag in seconds.
    pub bounds: TimeBounds,
    /// Rule that decided the status of this partition.
    pub rule: StatusRule,
    /// Margin and loss; `None` if either offset is unknown.
    pub retention: Option<RetentionMargin>,
}

impl GroupAssessment {
    /// Returns each topic of the lag that this assessment was computed from, with its assessment.
    pub fn with_lag<'a>(
        &'a self,
        lag: &'a GroupLag,
    ) -> impl Iterator<Item = (&'a TopicLag, &'a TopicAssessment)> {
        lag.topics.iter().zip(&self.topics)
    }
}

impl TopicAssessment {
    /// Returns each partition of the lag that this assessment was computed from, with its assessment.
    pub fn with_lag<'a>(
        &'a self,
        lag: &'a TopicLag,
    ) -> impl Iterator<Item = (&'a PartitionLag, &'a PartitionAssessment)> {
        lag.partitions.iter().zip(&self.partitions)
    }
}

/// Assesses a group at the time of a poll. `window` includes this poll, `state` is from its response.
#[must_use]
pub fn assess<'a>(
    lag: &GroupLag,
    bounds: &GroupBounds,
    window: &GroupWindow,
    state: Option<GroupState>,
    status_window: Duration,
    facts: impl Fn(&TopicName) -> TopicFacts<'a>,
) -> GroupAssessment {
    let topics: Vec<TopicAssessment> = lag
        .topics
        .iter()
        .zip(&bounds.topics)
        .map(|(lag, bounds)| {
            assess_topic(lag, bounds, window.topic(&lag.topic), state, status_window, &facts(&lag.topic))
        })
        .collect();
    let lags = lag.topics.iter().map(|topic| topic.messages);
    let statuses = topics.iter().map(|topic| topic.status);
    // A group without topics has nothing to consume.
    let consumable =
        if topics.is_empty() { Some(0) } else { known_total(topics.iter().map(|t| t.consumable)) };
    GroupAssessment {
        bounds: bounds.group,
        status: worst_status(lags.zip(statuses)),
        consumable,
        catch_up: slowest_catch_up(lag, &topics),
        topics,
    }
}

/// Returns the worst status of the parts, each with its lag. `ok` requires a known status of all parts with lag.
fn worst_status(parts: impl Iterator<Item = (Option<u64>, Option<Status>)> + Clone) -> Option<Status> {
    let is_undecided = parts.clone().any(|(lag, status)| lag > Some(0) && status.is_none());
    let worst = parts.filter_map(|(_, status)| status).max();
    worst.filter(|status| *status > Status::Ok || !is_undecided)
}

/// Returns the seconds until the group has caught up on its last topic; `None` if it never does on one. Topics with
/// unknown lag do not count.
fn slowest_catch_up(lag: &GroupLag, topics: &[TopicAssessment]) -> Option<f64> {
    lag.messages?;
    let known = lag.topics.iter().zip(topics).filter(|(lag, _)| lag.messages.is_some());
    known.map(|(_, topic)| topic.catch_up).try_fold(0.0, |slowest: f64, seconds| Some(slowest.max(seconds?)))
}

fn assess_topic(
    lag: &TopicLag,
    bounds: &TopicBounds,
    window: Option<&TopicWindow>,
    state: Option<GroupState>,
    status_window: Duration,
    facts: &TopicFacts<'_>,
) -> TopicAssessment {
    let max_skew = status::max_offset_skew(window);
    let mut partitions = Vec::with_capacity(lag.partitions.len());
    let mut has_unchanged_lag = false;
    for (i, (p, bounds)) in lag.partitions.iter().zip(&bounds.partitions).enumerate() {
        let start = start_within(p, facts);
        let window = window.and_then(|w| w.partition(i, status_window));
        has_unchanged_lag |= window.is_some_and(|w| w.is_unchanged_with_lag) && p.has_lag();
        partitions.push(PartitionAssessment {
            bounds: *bounds,
            rule: StatusRule::evaluate(p, start, window, state, max_skew),
            retention: p
                .committed
                .zip(start)
                .map(|(committed, start)| RetentionMargin::new(committed, start)),
        });
    }
    let lagging = window.is_some_and(|w| status::is_lagging(w, status_window)).then_some(Status::Lagging);
    let statuses = partitions.iter().map(|p| p.rule.status());
    let parts = lag.partitions.iter().map(|p| p.messages).zip(statuses);
    let rates = window.and_then(TopicWindow::rates);
    // A group never catches up on a partition with lag and an unchanged offset.
    let catch_up =
        lag.messages.filter(|_| !has_unchanged_lag).and_then(|messages| forecast::catch_up(messages, rates));
    let retention: Vec<_> = partitions.iter().map(|p| p.retention).collect();
    let forecast = window.map(|window| DataLossForecast {
        lag,
        bounds,
        window,
        facts,
        retention: &retention,
        catch_up,
        status_window,
    });
    TopicAssessment {
        bounds: bounds.topic,
        status: worst_status(parts.chain([(None, lagging)])),
        consumable: known_total(lag.partitions.iter().map(|p| consumable(p, facts.start(p.partition)))),
        consumed: rates.map(|r| r.consumed),
        produced: rates.map(|r| r.produced),
        catch_up,
        data_loss_eta: forecast.and_then(|forecast| forecast.seconds()),
        partitions,
    }
}

/// Returns the start offset of a partition. One beyond the end is newer, or belongs to a recreated topic.
fn start_within(p: &PartitionLag, facts: &TopicFacts<'_>) -> Option<Offset> {
    facts.start(p.partition).filter(|start| p.end.is_none_or(|end| *start <= end))
}

/// Returns the unread messages that are still retained. The start offset comes from another response than the end offset
/// and may be beyond it.
fn consumable(p: &PartitionLag, start: Option<Offset>) -> Option<u64> {
    let first = p.committed?.max(start.unwrap_or(p.committed?));
    Some(p.end?.minus(first).max(0).unsigned_abs())
}
