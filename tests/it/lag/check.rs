//! Comparison of assessments with the truth after each pass.

use std::{collections::BTreeMap, fmt, sync::Arc};

use alikafka_exporter::{
    lag::{TopicLag, assess::TopicAssessment, bounds::TimeBounds},
    model::{GroupId, InstanceId, TimeSpan},
    snapshot::GroupView,
};
use alikafka_simulator::{ConsumerMode, GroupPartitionTruth, GroupTopicTruth};

use super::{
    harness::{GroupResponse, LagHarness, ReportedEnd},
    responses,
};

/// Maximum number of violations with details. Further ones only count.
const MAX_DETAILS: usize = 12;

/// Returns the name of a consumer mode.
pub(super) fn consumer_name(consumer: ConsumerMode) -> &'static str {
    match consumer {
        ConsumerMode::Healthy => "healthy",
        ConsumerMode::Paced { percent } if percent < 100 => "slow",
        ConsumerMode::Paced { .. } => "catching up",
        ConsumerMode::Stalled => "stalled",
        ConsumerMode::Stopped => "stopped",
        ConsumerMode::Flapping { .. } => "flapping",
        ConsumerMode::Rewinding { .. } => "rewinding",
    }
}

/// Distances between two bounds, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Widths {
    count: u64,
    sum: u64,
    min: Option<u64>,
    max: u64,
}

impl Widths {
    fn add(&mut self, width: u64) {
        self.count += 1;
        self.sum += width;
        self.min = Some(self.min.map_or(width, |min| min.min(width)));
        self.max = self.max.max(width);
    }

    fn join(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.into_iter().chain(other.min).min();
        self.max = self.max.max(other.max);
    }
}

/// Results of the checks.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Partitions with a known lag and at least one bound.
    pub(super) partitions: u64,
    /// Those of them with lag and both bounds.
    pub(super) bounded: u64,
    /// Partitions with a known lag and no bound.
    pub(super) unbounded: u64,
    /// Bounds of topics and groups.
    pub(super) maxima: u64,
    pub(super) violations: u64,
    /// Distances of bounds with polls both before and after the message was written.
    pub(super) widths: Widths,
    /// Those of them wider than the distance of these polls.
    pub(super) too_wide: u64,
    /// Those of them wider by more than half of the age.
    pub(super) far_too_wide: u64,
    /// Partition checks by kind of topic and of consumer.
    by_kind: BTreeMap<(String, &'static str), u64>,
    too_wide_by_kind: BTreeMap<(String, &'static str), u64>,
    details: Vec<String>,
}

impl Tally {
    pub(super) fn join(&mut self, other: Self) {
        self.partitions += other.partitions;
        self.bounded += other.bounded;
        self.unbounded += other.unbounded;
        self.maxima += other.maxima;
        self.violations += other.violations;
        self.widths.join(other.widths);
        self.too_wide += other.too_wide;
        self.far_too_wide += other.far_too_wide;
        for (kind, n) in other.by_kind {
            *self.by_kind.entry(kind).or_default() += n;
        }
        for (kind, n) in other.too_wide_by_kind {
            *self.too_wide_by_kind.entry(kind).or_default() += n;
        }
        self.details.extend(other.details);
        self.details.truncate(MAX_DETAILS);
    }

    /// Returns the number of measured widths.
    pub(super) fn measured(&self) -> u64 {
        self.widths.count
    }

    /// Returns the number of partition checks on topics with this name prefix.
    pub(super) fn of_topics(&self, prefix: &str) -> u64 {
        self.by_kind.iter().filter(|((topic, _), _)| topic == prefix).map(|(_, n)| n).sum()
    }

    /// Returns the number of partition checks of groups with this consumer mode.
    pub(super) fn of_consumers(&self, consumer: &str) -> u64 {
        self.by_kind.iter().filter(|((_, c), _)| *c == consumer).map(|(_, n)| n).sum()
    }

    /// Adds the name of the world to each detail.
    pub(super) fn label_details(&mut self, world: &str) {
        self.details.truncate(3);
        self.details.iter_mut().for_each(|detail| *detail = format!("{world}: {detail}"));
    }

    fn add_detail(&mut self, text: impl FnOnce() -> String) {
        if self.details.len() < MAX_DETAILS {
            self.details.push(text());
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Widths { count, sum, min, max } = self.widths;
        writeln!(
            f,
            "{} violations in {} partition checks ({} lagging with both bounds, {} without a bound) and {} of maxima",
            self.violations, self.partitions, self.bounded, self.unbounded, self.maxima
        )?;
        writeln!(
            f,
            "{} of {count} distances too wide, {} of them far; width min {} mean {} max {max} ms",
            self.too_wide,
            self.far_too_wide,
            min.unwrap_or_default(),
            sum.checked_div(count).unwrap_or_default(),
        )?;
        for ((topic, consumer), n) in &self.by_kind {
            let too_wide = self.too_wide_by_kind.get(&(topic.clone(), consumer)).copied().unwrap_or_default();
            writeln!(f, "  {topic:>12} / {consumer:<12} {n:>8} {too_wide:>8}")?;
        }
        self.details.iter().try_for_each(|detail| writeln!(f, "{detail}"))
    }
}

/// Tolerances of a check.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CheckRules {
    /// Milliseconds by which a bound may be off.
    pub(super) slack_ms: u64,
    /// Whether there is no tolerance once polls have seen a write to the partition.
    pub(super) exact_once_written: bool,
    /// Whether to check the distance between the bounds.
    pub(super) narrow: bool,
}

/// Partition with lag in the last pass.
pub(super) struct LaggingPartition {
    pub(super) truth: GroupPartitionTruth,
    pub(super) bounds: TimeBounds,
    /// Whether the timestamp of its last consumed message is known.
    pub(super) has_timestamp: bool,
    /// Whether a poll reported an end at or before its oldest unread message.
    pub(super) was_polled_before: bool,
}

impl LagHarness {
    /// Returns the partitions with lag in the last pass.
    pub(super) fn lagging(&mut self) -> Vec<LaggingPartition> {
        let view = self.view();
        let mut all = Vec::new();
        for (instance, group) in view.instances.iter().flat_map(|i| i.groups.iter().map(move |g| (i, g))) {
            let key = (instance.id.clone(), group.id.clone());
            let (Some(response), Some(lag), Some(assessment)) =
                (self.responses.get(&key), &group.lag, &group.assessment)
            else {
                continue;
            };
            for (lag, assessment) in lag.topics.iter().zip(&assessment.topics) {
                let topic = &response.truth.topics[lag.topic.as_str()];
                for (p, assessment) in lag.partitions.iter().zip(&assessment.partitions) {
                    if p.messages.is_none_or(|messages| messages == 0) {
                        continue;
                    }
                    let truth = topic.partitions[p.partition.0 as usize].clone();
                    let ends = &self.reported_ends[&(instance.id.clone(), lag.topic.clone(), p.partition)];
                    let oldest = truth.committed.max(Some(truth.start));
                    all.push(LaggingPartition {
                        has_timestamp: p.last_consumed.is_some() && !topic.times_hidden,
                        was_polled_before: ends.iter().any(|reported| Some(reported.end) <= oldest),
                        bounds: assessment.bounds,
                        truth,
                    });
                }
            }
        }
        all
    }

    /// Returns the view of a group.
    pub(super) fn group_view(&mut self, instance: &str, group: &str) -> Arc<GroupView> {
        let view = self.view();
        let instance = view.instances.iter().find(|i| i.id.as_str() == instance).unwrap();
        Arc::clone(instance.groups.iter().find(|g| g.id.as_str() == group).unwrap())
    }

    /// Checks every response of the last pass.
    pub(super) fn check(&mut self, rules: CheckRules, tally: &mut Tally) {
        let view = self.view();
        for instance in &view.instances {
            for group in &instance.groups {
                let key = (instance.id.clone(), group.id.clone());
                if let Some(response) = self.responses.get(&key) {
                    self.check_group(&instance.id, group, response, rules, tally);
                }
            }
        }
    }

    fn check_group(
        &self,
        id: &InstanceId,
        view: &GroupView,
        response: &GroupResponse,
        rules: CheckRules,
        tally: &mut Tally,
    ) {
        let (Some(lag), Some(assessment)) = (&view.lag, &view.assessment) else { return };
        assert_eq!(lag.topics.len(), assessment.topics.len(), "one assessment per topic");
        let mut oldest = None;
        for (lag, assessment) in lag.topics.iter().zip(&assessment.topics) {
            let truth = &response.truth.topics[lag.topic.as_str()];
            let check = TopicCheck { harness: self, id, group: &view.id, response, lag, truth };
            let true_age = check.check_topic(assessment, rules, tally);
            oldest = oldest.max(true_age);
            check.check_maximum(assessment.bounds, true_age, rules, tally);
        }
        if let Some(lag) = lag.topics.first() {
            let check = TopicCheck {
                harness: self,
                id,
                group: &view.id,
                response,
                lag,
                truth: &response.truth.topics[lag.topic.as_str()],
            };
            check.check_maximum(assessment.bounds, oldest, rules, tally);
        }
    }
}

/// Check of a group on a topic.
struct TopicCheck<'a> {
    harness: &'a LagHarness,
    id: &'a InstanceId,
    group: &'a GroupId,
    response: &'a GroupResponse,
    lag: &'a TopicLag,
    truth: &'a GroupTopicTruth,
}

impl TopicCheck<'_> {
    /// Returns the true age of the oldest unread message on the partitions whose lag is known.
    fn check_topic(&self, assessment: &TopicAssessment, rules: CheckRules, tally: &mut Tally) -> Option<u64> {
        assert_eq!(self.lag.partitions.len(), assessment.partitions.len(), "one assessment per partition");
        let mut oldest = None;
        for (lag, assessment) in self.lag.partitions.iter().zip(&assessment.partitions) {
            let Some(messages) = lag.messages else { continue };
            let place = (self.lag.topic.to_string(), i64::from(lag.partition.0));
            assert!(self.response.partitions.contains(&place), "{place:?} is not in the response");
            let truth = &self.truth.partitions[lag.partition.0 as usize];
            assert_eq!(Some(messages), truth.lag.map(i64::unsigned_abs), "lag in messages");
            let true_age = truth.oldest_unread_age_ms.unwrap().unsigned_abs();
            oldest = oldest.max(Some(true_age));
            if assessment.bounds == TimeBounds::default() {
                tally.unbounded += 1;
                continue;
            }
            tally.partitions += 1;
            *tally.by_kind.entry(self.kind()).or_default() += 1;
            let exact = rules.exact_once_written && self.is_written(truth);
            if !holds(assessment.bounds, true_age, if exact { 0 } else { rules.slack_ms }) {
                tally.violations += 1;
                tally.add_detail(|| self.describe("bounds", assessment.bounds, truth));
            }
            if let (true, Some(lower), Some(upper)) =
                (messages > 0, assessment.bounds.lower, assessment.bounds.upper)
            {
                tally.bounded += 1;
                // Whether and when compaction deleted unread messages is unknown.
                if rules.narrow && !self.lag.topic.as_str().starts_with("compacted") {
                    self.check_width(upper.saturating_sub(lower), assessment.bounds, truth, tally);
                }
            }
        }
        oldest
    }

    fn kind(&self) -> (String, &'static str) {
        let topic = self.lag.topic.as_str().split('-').next().unwrap();
        (topic.to_owned(), consumer_name(self.response.truth.consumer))
    }

    fn reported_ends(&self, partition: i64) -> &[ReportedEnd] {
        let place = (self.id.clone(), self.lag.topic.clone(), responses::number(partition));
        self.harness.reported_ends.get(&place).map_or(&[], Vec::as_slice)
    }

    /// Whether polls have seen a write to the partition.
    fn is_written(&self, truth: &GroupPartitionTruth) -> bool {
        let ends = self.reported_ends(truth.partition);
        ends.first().map(|reported| reported.end) != ends.last().map(|reported| reported.end)
    }

    fn check_maximum(&self, bounds: TimeBounds, true_age: Option<u64>, rules: CheckRules, tally: &mut Tally) {
        let (true, Some(true_age)) = (bounds != TimeBounds::default(), true_age) else { return };
        tally.maxima += 1;
        if !holds(bounds, true_age, rules.slack_ms) {
            tally.violations += 1;
            let (group, topic, pass) = (self.group, &self.lag.topic, self.harness.pass);
            tally.add_detail(|| {
                format!("maximum: pass {pass} group {group} topic {topic}: {bounds:?}, true age {true_age}")
            });
        }
    }

    /// Checks the distance between the bounds against the polls before and after the message was written.
    fn check_width(&self, width: u64, bounds: TimeBounds, truth: &GroupPartitionTruth, tally: &mut Tally) {
        let ends = self.reported_ends(truth.partition);
        let Some(oldest) = truth.committed.max(Some(truth.start)) else { return };
        let after = ends.partition_point(|reported| reported.end <= oldest);
        let Some(before) = after.checked_sub(1).and_then(|i| ends.get(i)) else { return };
        let Some(after) = ends.get(after) else { return };
        let apart = length(TimeSpan::new(before.span.earliest(), after.span.latest()));
        // Polls of several groups are closer to each other than the points of the history.
        let poll = u64::try_from(self.harness.behavior.poll.as_millis()).unwrap();
        let allowed = apart.max(poll + 2 * self.harness.behavior.width_ms) + length(self.response.span);
        tally.widths.add(width);
        if width > allowed {
            tally.too_wide += 1;
            *tally.too_wide_by_kind.entry(self.kind()).or_default() += 1;
            if width > allowed + truth.oldest_unread_age_ms.unwrap_or_default().unsigned_abs() / 2 {
                tally.far_too_wide += 1;
            }
            tally.add_detail(|| format!("{}, allowed {allowed}", self.describe("width", bounds, truth)));
        }
    }

    fn describe(&self, what: &str, bounds: TimeBounds, truth: &GroupPartitionTruth) -> String {
        format!(
            "{what}: pass {} at {} group {} ({}) topic {}: {bounds:?}, span {:?}, truth {truth:?}",
            self.harness.pass,
            self.response.truth.now_ms,
            self.group,
            consumer_name(self.response.truth.consumer),
            self.lag.topic,
            self.response.span,
        )
    }
}

fn holds(bounds: TimeBounds, true_age: u64, slack: u64) -> bool {
    bounds.lower.is_none_or(|lower| lower <= true_age + slack)
        && bounds.upper.is_none_or(|upper| true_age <= upper + slack)
}

fn length(span: TimeSpan) -> u64 {
    (span.latest().get() - span.earliest().get()).unsigned_abs()
}
