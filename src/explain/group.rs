//! Explanation of a group with its topics and partitions, within size limits.

use serde::Serialize;

use super::bounds::{BoundExplanation, BoundInputs, LEGEND, TermLegend};
use crate::{
    collect::state::details::{GroupDetails, PollingDetails, TopicDetails},
    lag::{
        GroupLag, PartitionLag, TopicLag,
        assess::{GroupAssessment, PartitionAssessment, TopicAssessment},
        facts::TopicFacts,
        status::Status,
        window::{PartitionWindow, TopicWindow, TrendLine, WindowSample},
    },
    model::{
        AccountName, GroupId, InstanceId, MessageTimestamps, Offset, RegionId, ResponseOrigin, TimeSpan,
        TopicName, TopicPartition, UnixMillis,
    },
    snapshot::Rebalances,
};

/// Maximum number of partitions over all topics of a group.
const MAX_PARTITIONS: usize = 2_000;
/// Maximum number of history points per partition.
const MAX_POINTS: usize = 64;
/// Maximum number of history points over all partitions, in equal shares.
const MAX_TOTAL_POINTS: usize = 16_000;

/// Explanation of a group.
#[derive(Debug, Serialize)]
pub(super) struct GroupExplanation<'a> {
    account: Option<&'a AccountName>,
    region: &'a RegionId,
    instance_id: &'a InstanceId,
    instance_name: Option<&'a str>,
    group: &'a GroupId,
    listed: bool,
    polling: &'a PollingDetails,
    /// Origin of the response that everything below follows from.
    #[serde(rename = "answer")]
    origin: Option<&'a ResponseOrigin>,
    asked_for_last_timestamp: Option<bool>,
    state: Option<&'static str>,
    rebalances: Option<Rebalances>,
    lag_messages: Option<u64>,
    #[serde(flatten)]
    assessment: GroupAssessment,
    status_rule: String,
    window_seconds: f64,
    retention_seconds: Option<u64>,
    /// Whether partitions or history points are omitted.
    truncated: bool,
    /// `None` if the response has expired.
    topics: Option<Vec<TopicExplanation<'a>>>,
    terms: [TermLegend; 4],
}

/// Explanation of a topic.
#[derive(Debug, Serialize)]
struct TopicExplanation<'a> {
    topic: &'a TopicName,
    cleanup: Option<&'static str>,
    polling: Option<&'a PollingDetails>,
    /// Origin of the topic's status.
    #[serde(rename = "answer")]
    origin: Option<&'a ResponseOrigin>,
    lag_messages: Option<u64>,
    #[serde(flatten)]
    assessment: &'a TopicAssessment,
    status_rule: String,
    window: Option<WindowExplanation>,
    /// Including omitted ones.
    partition_count: usize,
    partitions: Vec<PartitionExplanation>,
}

/// Recent polls of a topic.
#[derive(Debug, Serialize)]
struct WindowExplanation {
    #[serde(rename = "answers")]
    polls: u8,
    consumed_messages: u64,
    produced_messages: u64,
    was_caught_up: bool,
    lag_trend: Option<TrendLine>,
    age_trend: Option<TrendLine>,
    samples: Vec<WindowSample>,
}

/// Explanation of a partition.
#[derive(Debug, Serialize)]
struct PartitionExplanation {
    partition: u32,
    progress: ProgressFields,
    topic_status: Option<StatusFields>,
    lag_messages: Option<u64>,
    retention_margin_messages: Option<u64>,
    lost_messages: Option<u64>,
    lag_seconds: BoundExplanation,
    lag_floor_seconds: BoundExplanation,
    status: Option<Status>,
    status_rule: &'static str,
    track: Option<PartitionWindow>,
    history: HistoryExplanation,
    start_steps: Vec<StartStepExplanation>,
}

/// Fields of `GetConsumerProgress`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProgressFields {
    broker_offset: Option<Offset>,
    consumer_offset: Option<Offset>,
    /// Also from an earlier response if the committed offset is unchanged since.
    last_timestamp: Option<UnixMillis>,
}

/// Fields of `GetTopicStatus`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct StatusFields {
    min_offset: Option<Offset>,
    max_offset: Option<Offset>,
    last_update_timestamp: Option<UnixMillis>,
}

impl From<&TopicPartition> for StatusFields {
    fn from(p: &TopicPartition) -> Self {
        Self { min_offset: p.start, max_offset: p.end, last_update_timestamp: p.last_write }
    }
}

/// End offsets of a partition over time.
#[derive(Debug, Serialize)]
struct HistoryExplanation {
    believes_message_times: bool,
    /// Number of known points.
    held: usize,
    /// The newest of them, oldest first.
    points: Vec<PointExplanation>,
}

/// Point of a history, with times in milliseconds since 1970-01-01 UTC.
#[derive(Debug, Serialize)]
struct PointExplanation {
    end: Offset,
    first_unix_ms: i64,
    last_unix_ms: i64,
}

/// Step of a start offset.
#[derive(Debug, Serialize)]
struct StartStepExplanation {
    start: i64,
    unix_seconds: u32,
}

impl<'a> GroupExplanation<'a> {
    pub(super) fn new(details: &'a GroupDetails) -> Self {
        let last_poll = details.last_poll.as_ref();
        let poll = last_poll.filter(|_| !details.is_expired);
        let mut limits = SizeLimits::default();
        let topics = poll.map(|poll| {
            let topics: Vec<_> = poll
                .assessment
                .with_lag(&poll.lag)
                .filter_map(|(lag, assessment)| Some((lag, assessment, details.topics.get(&lag.topic)?)))
                .collect();
            limits = SizeLimits::new(topics.iter().map(|(lag, ..)| lag.partitions.len()).sum());
            let context = PollContext {
                status_window: details.status_window,
                now: poll.origin.span,
                timestamps: poll.timestamps,
            };
            let explain = |(lag, assessment, details)| {
                TopicExplanation::new(lag, assessment, details, context, &mut limits)
            };
            topics.into_iter().map_while(explain).collect()
        });
        Self {
            account: details.account.as_ref(),
            region: &details.region,
            instance_id: &details.instance,
            instance_name: details.instance_info.as_ref().and_then(|info| info.name.as_deref()),
            group: &details.group,
            listed: details.is_listed,
            polling: &details.polling,
            origin: last_poll.map(|poll| &poll.origin),
            asked_for_last_timestamp: last_poll.map(|poll| poll.timestamps == MessageTimestamps::Requested),
            state: poll.and_then(|poll| poll.state).map(|state| state.label()),
            rebalances: details.rebalances,
            lag_messages: poll.and_then(|poll| poll.lag.messages),
            assessment: poll.map(|poll| GroupAssessment::clone(&poll.assessment)).unwrap_or_default(),
            status_rule: poll.map_or_else(
                || "No response is recent enough.".to_owned(),
                |poll| group_rule(&poll.lag, &poll.assessment),
            ),
            window_seconds: details.status_window.as_secs_f64(),
            retention_seconds: details.instance_info.as_ref().and_then(|info| info.message_retention_seconds),
            truncated: limits.exceeded,
            topics,
            terms: LEGEND,
        }
    }
}

/// Returns the rule that decided the status of a group, or why the status is unknown.
fn group_rule(lag: &GroupLag, assessment: &GroupAssessment) -> String {
    let status = assessment.status;
    // If the status is unknown, a topic with lag comes first, because only these withhold the status ok.
    let deciding = assessment
        .with_lag(lag)
        .filter(|(_, topic)| topic.status == status)
        .min_by_key(|(lag, _)| status.is_none() && lag.messages.unwrap_or(0) == 0);
    match deciding {
        Some((lag, topic)) => format!("Topic {}: {}", lag.topic, topic_rule(lag, topic)),
        None => "The group has no topics.".to_owned(),
    }
}

/// Returns the rule that decided the status of a topic, or why the status is unknown.
fn topic_rule(lag: &TopicLag, assessment: &TopicAssessment) -> String {
    let status = assessment.status;
    if status == Some(Status::Lagging) {
        return "The group consumes, has not caught up within the window, and lag grows by more than noise."
            .to_owned();
    }
    // If the status is unknown, a partition with lag comes first, because only these withhold the status ok.
    let deciding = assessment
        .with_lag(lag)
        .filter(|(_, p)| p.rule.status() == status)
        .min_by_key(|(lag, _)| status.is_none() && !lag.has_lag());
    match deciding {
        Some((lag, p)) => format!("Partition {}: {}", lag.partition.0, p.rule.description()),
        None => "The response has no partitions of the topic.".to_owned(),
    }
}

/// Poll that the explanation refers to.
#[derive(Clone, Copy)]
struct PollContext {
    status_window: tokio::time::Duration,
    now: TimeSpan,
    timestamps: MessageTimestamps,
}

impl<'a> TopicExplanation<'a> {
    /// Explains a topic; `None` if the limits leave no space.
    fn new(
        lag: &'a TopicLag,
        assessment: &'a TopicAssessment,
        details: &'a TopicDetails,
        context: PollContext,
        limits: &mut SizeLimits,
    ) -> Option<Self> {
        let max_partitions = limits.take_partitions(lag.partitions.len())?;
        let facts = details.facts();
        let window = details.window.as_ref();
        let mut partitions = Vec::with_capacity(max_partitions);
        for (i, (lag, assessment)) in assessment.with_lag(lag).enumerate().take(max_partitions) {
            let window = window.and_then(|window| window.partition(i, context.status_window));
            partitions.push(PartitionExplanation::new(lag, assessment, window, &facts, context, limits));
        }
        Some(Self {
            topic: &lag.topic,
            cleanup: facts.cleanup.map(|cleanup| cleanup.label()),
            polling: details.polling.as_ref(),
            origin: details.status_origin.as_ref(),
            lag_messages: lag.messages,
            assessment,
            status_rule: topic_rule(lag, assessment),
            window: window
                .filter(|window| window.polls() > 0)
                .map(|window| WindowExplanation::new(window, context)),
            partition_count: lag.partitions.len(),
            partitions,
        })
    }
}

impl WindowExplanation {
    fn new(window: &TopicWindow, context: PollContext) -> Self {
        let (consumed_messages, produced_messages) = window.totals();
        Self {
            polls: window.polls(),
            consumed_messages,
            produced_messages,
            was_caught_up: window.was_caught_up(context.status_window),
            lag_trend: window.lag_trend(),
            age_trend: window.age_trend(),
            samples: window.samples().collect(),
        }
    }
}

impl PartitionExplanation {
    fn new(
        lag: &PartitionLag,
        assessment: &PartitionAssessment,
        window: Option<PartitionWindow>,
        facts: &TopicFacts<'_>,
        context: PollContext,
        limits: &mut SizeLimits,
    ) -> Self {
        let PollContext { now, timestamps, .. } = context;
        let (lag_seconds, lag_floor_seconds) =
            BoundInputs { lag, now, timestamps, facts }.explain(assessment.bounds);
        let steps = facts.starts.into_iter().flat_map(|starts| starts.steps(lag.partition));
        Self {
            partition: lag.partition.0,
            progress: ProgressFields {
                broker_offset: lag.end,
                consumer_offset: lag.committed,
                last_timestamp: lag.last_consumed,
            },
            topic_status: facts.status.and_then(|status| status.partition(lag.partition)).map(Into::into),
            lag_messages: lag.messages,
            retention_margin_messages: assessment.retention.and_then(|retention| retention.margin),
            lost_messages: assessment.retention.map(|retention| retention.lost),
            lag_seconds,
            lag_floor_seconds,
            status: assessment.rule.status(),
            status_rule: assessment.rule.description(),
            track: window,
            history: HistoryExplanation::new(lag, facts, now, limits),
            start_steps: steps
                .map(|(unix_seconds, start)| StartStepExplanation { start, unix_seconds })
                .collect(),
        }
    }
}

impl HistoryExplanation {
    fn new(lag: &PartitionLag, facts: &TopicFacts<'_>, now: TimeSpan, limits: &mut SizeLimits) -> Self {
        let points = || facts.ends.into_iter().flat_map(|ends| ends.points(lag.partition));
        let held = points().count();
        limits.exceeded |= held > limits.points;
        let newest = points().skip(held.saturating_sub(limits.points)).map(|point| PointExplanation {
            end: point.end,
            first_unix_ms: point.first.get(),
            last_unix_ms: point.last.get(),
        });
        Self {
            believes_message_times: facts.ends.is_none_or(|ends| ends.trusts_timestamps(lag.partition, now)),
            held,
            points: newest.collect(),
        }
    }
}

/// Returns milliseconds as seconds.
pub(super) fn seconds(millis: u64) -> f64 {
    millis as f64 / 1e3
}

/// Remaining size of an explanation.
#[derive(Debug, Default)]
struct SizeLimits {
    /// Partitions that may be added.
    partitions: usize,
    /// History points per partition.
    points: usize,
    /// Whether anything was omitted.
    exceeded: bool,
}

impl SizeLimits {
    fn new(partitions: usize) -> Self {
        let points = MAX_TOTAL_POINTS / partitions.clamp(1, MAX_PARTITIONS);
        Self { partitions: MAX_PARTITIONS, points: points.min(MAX_POINTS), exceeded: false }
    }

    /// Returns how many of a topic's partitions may be added; `None` if the topic must be omitted.
    fn take_partitions(&mut self, partitions: usize) -> Option<usize> {
        // A topic without partitions takes space too.
        let taken = partitions.max(1).min(self.partitions);
        self.exceeded |= taken < partitions || taken == 0;
        self.partitions -= taken;
        (taken > 0).then_some(taken)
    }
}
