//! Forecasts: seconds until a group has caught up, and until messages are deleted before it reads them. Pure.
//!
//! Owns: what follows from the window, the time bounds and the start history. A forecast is `None` if the event does
//! not get closer.

use std::time::Duration;

use super::{
    RetentionMargin, TopicLag,
    bounds::{TimeBounds, TopicBounds},
    facts::TopicFacts,
    start_history::StartPace,
    status,
    window::{MessageRates, TopicWindow},
};

#[cfg(test)]
mod tests;

/// Minimum lag of a partition, as a share of its margin, to forecast from the margin.
const MIN_LAG_SHARE: f64 = 0.1;

/// Returns the seconds until the lag is 0 at the current rates: 0 without lag, `None` if the lag does not shrink.
pub(super) fn catch_up(lag: u64, rates: Option<MessageRates>) -> Option<f64> {
    if lag == 0 {
        return Some(0.0);
    }
    let speed = rates.map(|r| r.consumed - r.produced)?;
    (speed > 0.0).then(|| lag as f64 / speed)
}

/// Inputs of a forecast of data loss on one topic.
pub(super) struct DataLossForecast<'a> {
    pub(super) lag: &'a TopicLag,
    pub(super) bounds: &'a TopicBounds,
    pub(super) window: &'a TopicWindow,
    pub(super) facts: &'a TopicFacts<'a>,
    /// In the order of the topic's partitions.
    pub(super) retention: &'a [Option<RetentionMargin>],
    /// Seconds until the group has caught up.
    pub(super) catch_up: Option<f64>,
    pub(super) status_window: Duration,
}

/// Margin of a partition: messages from its start, at its expected position, to the committed offset.
struct PartitionMargin {
    lag: f64,
    messages: f64,
    pace: StartPace,
}

impl DataLossForecast<'_> {
    /// Returns the seconds until messages are deleted before the group reads them; 0 once they have been, as long as
    /// the group has lag.
    pub(super) fn seconds(&self) -> Option<f64> {
        if self.lag.messages.is_none_or(|lag| lag == 0) || self.facts.is_compacted() {
            return None;
        }
        let mut partitions = self.lag.partitions.iter().zip(self.retention);
        if partitions.any(|(p, margin)| p.has_lag() && margin.is_some_and(|margin| margin.lost > 0)) {
            return Some(0.0);
        }
        // A group that catches up earlier loses nothing.
        let moving = earliest([self.moving_by_age(), self.moving_by_margin()])
            .filter(|seconds| self.catch_up.is_none_or(|catch_up| catch_up >= *seconds));
        let unchanged = (0..self.lag.partitions.len())
            .filter(|i| self.window.is_unchanged_with_lag(*i, self.status_window))
            .map(|i| earliest([self.unchanged_by_age(i), self.unchanged_by_margin(i)]));
        earliest(unchanged.chain([moving])).map(|seconds| seconds.max(0.0))
    }

    /// Forecast for a partition with an unchanged offset, whose oldest unread message ages as fast as time passes.
    fn unchanged_by_age(&self, i: usize) -> Option<f64> {
        self.remaining_retention(*self.bounds.partitions.get(i)?)
    }

    /// Returns the seconds until retention deletes the oldest unread message. Uses the upper bound, because an early
    /// warning is better than a late one, and a lower bound alone may be late by any amount.
    fn remaining_retention(&self, bounds: TimeBounds) -> Option<f64> {
        Some(self.facts.retention?.as_secs_f64() - bounds.upper? as f64 / 1e3)
    }

    /// Forecast from the age of the topic's oldest unread message. Ignores growth below the time between two samples,
    /// which may be noise, and a group that caught up within the window, whose trend spans two backlogs.
    fn moving_by_age(&self) -> Option<f64> {
        if self.window.was_caught_up(self.status_window) {
            return None;
        }
        let trend = self.window.age_trend().filter(|t| t.is_rising() && t.growth > t.spacing)?;
        // No message ages faster than time passes.
        let rate = (trend.growth / trend.seconds).min(1.0);
        Some(self.remaining_retention(self.bounds.topic)? / rate)
    }

    fn unchanged_by_margin(&self, i: usize) -> Option<f64> {
        let margin = self.margin(i)?;
        (margin.pace.speed > 0.0).then(|| margin.messages / margin.pace.speed)
    }

    /// Forecast from the margins of a lagging group. Its rate on each partition is unknown, so all partitions are
    /// assumed to have the same ratio of that rate to the speed of the start offset. A group that keeps up is not
    /// overtaken.
    fn moving_by_margin(&self) -> Option<f64> {
        if !status::is_lagging(self.window, self.status_window) {
            return None;
        }
        let lagging = self.lag.partitions.iter().enumerate().filter(|(_, p)| p.has_lag());
        let margins: Vec<PartitionMargin> = lagging.map(|(i, _)| self.margin(i)).collect::<Option<_>>()?;
        let start_speed: f64 = margins.iter().map(|margin| margin.pace.speed).sum();
        let approach = 1.0 - self.window.rates()?.consumed / start_speed;
        if start_speed <= 0.0 || approach <= 0.0 {
            return None;
        }
        margins
            .iter()
            .filter(|margin| margin.lag >= MIN_LAG_SHARE * margin.messages && margin.pace.speed > 0.0)
            .map(|margin| margin.messages / margin.pace.speed / approach)
            .reduce(f64::min)
    }

    fn margin(&self, i: usize) -> Option<PartitionMargin> {
        let p = self.lag.partitions.get(i)?;
        let (start, pace) = self.facts.starts?.start_and_pace(p.partition, self.window.newest())?;
        Some(PartitionMargin {
            lag: p.messages? as f64,
            messages: p.committed?.minus(start) as f64 - pace.ahead,
            pace,
        })
    }
}

fn earliest(forecasts: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    forecasts.into_iter().flatten().reduce(f64::min)
}
