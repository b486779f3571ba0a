//! What is said of groups against the truth, one pass at a time.

use std::{collections::BTreeMap, fmt, sync::Arc};

use alikafka_exporter::{
    lag::{TopicLag, assess::TopicAssessment, bounds::TimeBounds},
    model::{GroupId, InstanceId, TimeSpan},
    snapshot::GroupView,
};
use alikafka_simulator::{ConsumerMode, GroupPartitionTruth, GroupTopicTruth};

use super::{
    rig::{Rig, Seen, Told},
    told,
};

/// Violations that are told in full; the others only count.
const TOLD_IN_FULL: usize = 12;

/// How a group reads, in one word.
pub(super) fn word(consumer: ConsumerMode) -> &'static str {
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

/// The widths of brackets, in milliseconds.
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

/// What checks have found.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Partitions with a known lag of which at least one bound was told.
    pub(super) partitions: u64,
    /// Those of them that had something to read, and both bounds.
    pub(super) bracketed: u64,
    /// Partitions with a known lag of which no bound was told.
    pub(super) silent: u64,
    /// Bounds of topics and groups.
    pub(super) sums: u64,
    pub(super) violations: u64,
    /// Brackets of messages that polls have seen coming.
    pub(super) widths: Widths,
    /// Those of them that were wider than the polls around their message were apart.
    pub(super) too_wide: u64,
    /// Those of these that were wider by more than half of the age.
    pub(super) far_too_wide: u64,
    /// Partition checks by kind of topic and kind of reader.
    by_kind: BTreeMap<(String, &'static str), u64>,
    too_wide_by_kind: BTreeMap<(String, &'static str), u64>,
    remarks: Vec<String>,
}

impl Tally {
    pub(super) fn join(&mut self, other: Self) {
        self.partitions += other.partitions;
        self.bracketed += other.bracketed;
        self.silent += other.silent;
        self.sums += other.sums;
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
        self.remarks.extend(other.remarks);
        self.remarks.truncate(TOLD_IN_FULL);
    }

    /// Brackets whose width was looked at.
    pub(super) fn measured(&self) -> u64 {
        self.widths.count
    }

    /// Partition checks on topics whose names begin so.
    pub(super) fn of_topics(&self, prefix: &str) -> u64 {
        self.by_kind.iter().filter(|((topic, _), _)| topic == prefix).map(|(_, n)| n).sum()
    }

    /// Partition checks of groups that read so.
    pub(super) fn of_readers(&self, reader: &str) -> u64 {
        self.by_kind.iter().filter(|((_, r), _)| *r == reader).map(|(_, n)| n).sum()
    }

    /// Says of each remark which world it is of.
    pub(super) fn remark_of(&mut self, world: &str) {
        self.remarks.truncate(3);
        self.remarks.iter_mut().for_each(|remark| *remark = format!("{world}: {remark}"));
    }

    fn remark(&mut self, text: impl FnOnce() -> String) {
        if self.remarks.len() < TOLD_IN_FULL {
            self.remarks.push(text());
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Widths { count, sum, min, max } = self.widths;
        writeln!(
            f,
            "{} violations in {} partition checks ({} lagging with both bounds, {} without a bound) and {} of sums",
            self.violations, self.partitions, self.bracketed, self.silent, self.sums
        )?;
        writeln!(
            f,
            "{} of {count} brackets too wide, {} of them far; width min {} mean {} max {max} ms",
            self.too_wide,
            self.far_too_wide,
            min.unwrap_or_default(),
            sum.checked_div(count).unwrap_or_default(),
        )?;
        for ((topic, reader), n) in &self.by_kind {
            let too_wide = self.too_wide_by_kind.get(&(topic.clone(), reader)).copied().unwrap_or_default();
            writeln!(f, "  {topic:>12} / {reader:<12} {n:>8} {too_wide:>8}")?;
        }
        self.remarks.iter().try_for_each(|remark| writeln!(f, "{remark}"))
    }
}

/// What is allowed in a check.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// Milliseconds by which a bound may be off.
    pub(super) slack_ms: u64,
    /// By nothing where polls have seen the partition written.
    pub(super) exact_once_written: bool,
    /// Whether it is looked at how wide brackets are.
    pub(super) narrow: bool,
}

/// A partition of the last pass with something to read.
pub(super) struct Lagging {
    pub(super) truth: GroupPartitionTruth,
    pub(super) bounds: TimeBounds,
    /// The time of its last read message was told.
    pub(super) is_timed: bool,
    /// A poll has seen it end at or before its oldest unread message.
    pub(super) is_seen_coming: bool,
}

impl Rig {
    /// The partitions of the last pass that have something to read.
    pub(super) fn lagging(&mut self) -> Vec<Lagging> {
        let view = self.view();
        let mut all = Vec::new();
        for (instance, group) in view.instances.iter().flat_map(|i| i.groups.iter().map(move |g| (i, g))) {
            let key = (instance.id.clone(), group.id.clone());
            let (Some(told), Some(lag), Some(said)) = (self.told.get(&key), &group.lag, &group.assessment)
            else {
                continue;
            };
            for (lag, said) in lag.topics.iter().zip(&said.topics) {
                let topic = &told.truth.topics[lag.topic.as_str()];
                for (p, said) in lag.partitions.iter().zip(&said.partitions) {
                    if p.messages.is_none_or(|messages| messages == 0) {
                        continue;
                    }
                    let truth = topic.partitions[p.partition.0 as usize].clone();
                    let seen = &self.seen[&(instance.id.clone(), lag.topic.clone(), p.partition)];
                    let oldest = truth.committed.max(Some(truth.start));
                    all.push(Lagging {
                        is_timed: p.last_consumed.is_some() && !topic.times_hidden,
                        is_seen_coming: seen.iter().any(|seen| Some(seen.end) <= oldest),
                        bounds: said.bounds,
                        truth,
                    });
                }
            }
        }
        all
    }

    /// What is shown of a group of an instance.
    pub(super) fn shown(&mut self, instance: &str, group: &str) -> Arc<GroupView> {
        let view = self.view();
        let instance = view.instances.iter().find(|i| i.id.as_str() == instance).unwrap();
        Arc::clone(instance.groups.iter().find(|g| g.id.as_str() == group).unwrap())
    }

    /// Checks all that was answered in the last pass.
    pub(super) fn check(&mut self, rules: Rules, tally: &mut Tally) {
        let view = self.view();
        for instance in &view.instances {
            for group in &instance.groups {
                let key = (instance.id.clone(), group.id.clone());
                if let Some(told) = self.told.get(&key) {
                    self.check_group(&instance.id, group, told, rules, tally);
                }
            }
        }
    }

    fn check_group(&self, id: &InstanceId, view: &GroupView, told: &Told, rules: Rules, tally: &mut Tally) {
        let (Some(lag), Some(said)) = (&view.lag, &view.assessment) else { return };
        assert_eq!(lag.topics.len(), said.topics.len(), "one assessment a topic");
        let mut oldest = None;
        for (lag, said) in lag.topics.iter().zip(&said.topics) {
            let truth = &told.truth.topics[lag.topic.as_str()];
            let of = Of { rig: self, id, group: &view.id, told, lag, truth };
            let true_age = of.check_topic(said, rules, tally);
            oldest = oldest.max(true_age);
            of.check_sum(said.bounds, true_age, rules, tally);
        }
        if let Some(lag) = lag.topics.first() {
            let of = Of {
                rig: self,
                id,
                group: &view.id,
                told,
                lag,
                truth: &told.truth.topics[lag.topic.as_str()],
            };
            of.check_sum(said.bounds, oldest, rules, tally);
        }
    }
}

/// A group on a topic, as an answer tells it and as it is.
struct Of<'a> {
    rig: &'a Rig,
    id: &'a InstanceId,
    group: &'a GroupId,
    told: &'a Told,
    lag: &'a TopicLag,
    truth: &'a GroupTopicTruth,
}

impl Of<'_> {
    /// Returns the true age of the oldest unread message on the partitions whose lag is known.
    fn check_topic(&self, said: &TopicAssessment, rules: Rules, tally: &mut Tally) -> Option<u64> {
        assert_eq!(self.lag.partitions.len(), said.partitions.len(), "one assessment a partition");
        let mut oldest = None;
        for (lag, said) in self.lag.partitions.iter().zip(&said.partitions) {
            let Some(messages) = lag.messages else { continue };
            let place = (self.lag.topic.to_string(), i64::from(lag.partition.0));
            assert!(self.told.has.contains(&place), "{place:?} is told by nobody");
            let truth = &self.truth.partitions[lag.partition.0 as usize];
            assert_eq!(Some(messages), truth.lag.map(i64::unsigned_abs), "lag in messages");
            let true_age = truth.oldest_unread_age_ms.unwrap().unsigned_abs();
            oldest = oldest.max(Some(true_age));
            if said.bounds == TimeBounds::default() {
                tally.silent += 1;
                continue;
            }
            tally.partitions += 1;
            *tally.by_kind.entry(self.kind()).or_default() += 1;
            let exact = rules.exact_once_written && self.is_written(truth);
            if !holds(said.bounds, true_age, if exact { 0 } else { rules.slack_ms }) {
                tally.violations += 1;
                tally.remark(|| self.describe("bounds", said.bounds, truth));
            }
            if let (true, Some(floor), Some(ceiling)) = (messages > 0, said.bounds.lower, said.bounds.upper) {
                tally.bracketed += 1;
                // What compaction took of what is unread, and when, nobody can tell.
                if rules.narrow && !self.lag.topic.as_str().starts_with("compacted") {
                    self.check_width(ceiling.saturating_sub(floor), said.bounds, truth, tally);
                }
            }
        }
        oldest
    }

    fn kind(&self) -> (String, &'static str) {
        let topic = self.lag.topic.as_str().split('-').next().unwrap();
        (topic.to_owned(), word(self.told.truth.consumer))
    }

    fn seen(&self, partition: i64) -> &[Seen] {
        let place = (self.id.clone(), self.lag.topic.clone(), told::number(partition));
        self.rig.seen.get(&place).map_or(&[], Vec::as_slice)
    }

    /// Polls have seen a write of the partition.
    fn is_written(&self, truth: &GroupPartitionTruth) -> bool {
        let seen = self.seen(truth.partition);
        seen.first().map(|seen| seen.end) != seen.last().map(|seen| seen.end)
    }

    fn check_sum(&self, bounds: TimeBounds, true_age: Option<u64>, rules: Rules, tally: &mut Tally) {
        let (true, Some(true_age)) = (bounds != TimeBounds::default(), true_age) else { return };
        tally.sums += 1;
        if !holds(bounds, true_age, rules.slack_ms) {
            tally.violations += 1;
            let (group, topic, pass) = (self.group, &self.lag.topic, self.rig.pass);
            tally.remark(|| {
                format!("sum: pass {pass} group {group} topic {topic}: {bounds:?} and truly {true_age}")
            });
        }
    }

    /// Polls have seen the message coming: the one before it and the one after it bound its age.
    fn check_width(&self, width: u64, bounds: TimeBounds, truth: &GroupPartitionTruth, tally: &mut Tally) {
        let seen = self.seen(truth.partition);
        let Some(oldest) = truth.committed.max(Some(truth.start)) else { return };
        let after = seen.partition_point(|seen| seen.end <= oldest);
        let Some(before) = after.checked_sub(1).and_then(|i| seen.get(i)) else { return };
        let Some(after) = seen.get(after) else { return };
        let apart = length(TimeSpan::new(before.span.earliest(), after.span.latest()));
        // Polls of several readers lie closer to each other than is remembered of them.
        let poll = u64::try_from(self.rig.habits.poll.as_millis()).unwrap();
        let allowed = apart.max(poll + 2 * self.rig.habits.width_ms) + length(self.told.span);
        tally.widths.add(width);
        if width > allowed {
            tally.too_wide += 1;
            *tally.too_wide_by_kind.entry(self.kind()).or_default() += 1;
            if width > allowed + truth.oldest_unread_age_ms.unwrap_or_default().unsigned_abs() / 2 {
                tally.far_too_wide += 1;
            }
            tally.remark(|| format!("{} and {allowed} allowed", self.describe("width", bounds, truth)));
        }
    }

    fn describe(&self, what: &str, bounds: TimeBounds, truth: &GroupPartitionTruth) -> String {
        format!(
            "{what}: pass {} at {} group {} ({}) topic {}: {bounds:?}, span {:?}, truly {truth:?}",
            self.rig.pass,
            self.told.truth.now_ms,
            self.group,
            word(self.told.truth.consumer),
            self.lag.topic,
            self.told.span,
        )
    }
}

fn holds(bounds: TimeBounds, true_age: u64, slack: u64) -> bool {
    bounds.lower.is_none_or(|floor| floor <= true_age + slack)
        && bounds.upper.is_none_or(|ceiling| true_age <= ceiling + slack)
}

fn length(span: TimeSpan) -> u64 {
    (span.latest().get() - span.earliest().get()).unsigned_abs()
}
