//! One consumer group of an instance: its state, how a poll result changes it, and its view.

use std::{collections::BTreeSet, sync::Arc};

use tokio::time::{Duration, Instant};

use super::{
    ApplyContext,
    cached::{Now, PollStatus},
    topic::TopicTable,
    topic_identity,
};
use crate::{
    collect::{PollPriority, schedule::ActivityTracker},
    lag::{
        self, GroupLag,
        assess::{self, GroupAssessment},
        facts::TopicFacts,
        window::GroupWindow,
    },
    model::{
        Anomaly, AnomalyKind, GroupId, GroupProgress, GroupState, LastTimestamps, MessageTimestamps,
        Observed, PollTiming, Rebalance, ResponseOrigin, TopicName, UnixMillis,
    },
    snapshot::{GroupView, Rebalances},
};

/// Consecutive responses without the requested timestamps after which the service is assumed to have none.
const RESPONSES_UNTIL_UNAVAILABLE: u8 = 2;
/// Polls after which timestamps that are assumed to be unavailable are requested again.
const POLLS_UNTIL_RETRY: u8 = 20;

/// State of one consumer group.
#[derive(Debug)]
pub(super) struct GroupEntry {
    id: GroupId,
    discovery_order: u64,
    /// Time of the last group list that contained it, unless that has expired.
    pub(super) listed_at: Option<Instant>,
    pub(super) polls: PollStatus,
    /// Result of the last successful poll. Kept after it has expired, because pruning of the histories needs its
    /// offsets, and explanations need its origin.
    pub(super) last_poll: Option<GroupPoll>,
    /// Whether the result of the last poll is older than `stale_after` and no longer shown.
    is_expired: bool,
    /// Offsets of earlier polls.
    pub(super) window: GroupWindow,
    activity: ActivityTracker,
    timestamps: TimestampAvailability,
    rebalances: Option<RebalanceCounter>,
    view: Option<Arc<GroupView>>,
}

/// Result of a successful poll of a group.
#[derive(Debug, Clone)]
pub struct GroupPoll {
    /// Time of the response.
    pub(super) at: Instant,
    /// Origin of the response.
    pub origin: ResponseOrigin,
    /// Whether it requested message timestamps.
    pub timestamps: MessageTimestamps,
    /// State of the group, if the response contains it.
    pub state: Option<GroupState>,
    /// Lag in messages.
    pub lag: Arc<GroupLag>,
    /// Computed from this result and earlier ones. Recomputed when a topic changes.
    pub assessment: Arc<GroupAssessment>,
}

impl GroupEntry {
    pub(super) fn new(id: GroupId, discovery_order: u64) -> Self {
        Self {
            id,
            discovery_order,
            listed_at: None,
            polls: PollStatus::default(),
            last_poll: None,
            is_expired: false,
            window: GroupWindow::default(),
            activity: ActivityTracker::default(),
            timestamps: TimestampAvailability::default(),
            rebalances: None,
            view: None,
        }
    }

    /// Returns the result of the last successful poll, unless it has expired.
    pub(super) fn current(&self) -> Option<&GroupPoll> {
        self.last_poll.as_ref().filter(|_| !self.is_expired)
    }

    pub(super) fn rebalances(&self) -> Option<Rebalances> {
        self.rebalances.map(|counter| counter.total)
    }

    /// Records that a group list contains the group.
    pub(super) fn record_listed(&mut self, now: Now) {
        self.listed_at = Some(now.mono);
        self.view = None;
    }

    /// Applies a response to `GetConsumerProgress`.
    pub(super) fn apply_progress(
        &mut self,
        response: Observed<GroupProgress>,
        origin: ResponseOrigin,
        topics: &mut TopicTable,
        retention: Option<Duration>,
        context: &mut ApplyContext<'_>,
    ) {
        let ApplyContext { timing, now, ref mut effects, .. } = *context;
        let Observed { value: progress, anomalies } = response;
        effects.anomalies = anomalies;
        effects.priority = Some(PollPriority::Active);
        self.view = None;
        let (mut lag, anomalies) = lag::compute_lag(&progress);
        effects.anomalies.extend(anomalies);
        let previous = self.current().map(|poll| Arc::clone(&poll.lag));
        let previous = previous.as_deref();
        let vanished = lag.topics.is_empty() && previous.is_some_and(|previous| !previous.topics.is_empty());
        if !self.polls.record_unless_empty(vanished, "topics of a group", effects) {
            return;
        }

        if previous.is_some_and(|previous| topic_identity::committed_fell(previous, &lag)) {
            let detail = format!("committed offsets of group {} went backwards", self.id);
            effects.anomalies.push(Anomaly { kind: AnomalyKind::Rewind, detail });
        }
        let timestamps = self.wanted_timestamps(timing.last_timestamps);
        self.timestamps.record(&lag, timestamps);
        if let Some(previous) = previous {
            carry_over_timestamps(&mut lag, previous);
        }
        // Equal lag at equal committed offsets means equal end offsets.
        self.activity.record(previous.map(|previous| *previous != lag));
        effects.priority = Some(self.activity.group_priority(&lag));
        RebalanceCounter::record(&mut self.rebalances, &progress.rebalances);

        effects.anomalies.extend(topics.record_progress(previous, &lag, &origin, timing));
        let facts = topics.facts(retention);
        let (bounds, contradictions) = lag::bounds::compute_bounds(&lag, origin.span, facts);
        effects.anomalies.extend(contradictions);
        self.window.record(&lag, &bounds, origin.span, timing.status_window);
        let assessment =
            assess::assess(&lag, &bounds, &self.window, progress.state, timing.status_window, facts);
        self.last_poll = Some(GroupPoll {
            at: now.mono,
            origin,
            timestamps,
            state: progress.state,
            lag: Arc::new(lag),
            assessment: Arc::new(assessment),
        });
        self.is_expired = false;
        self.polls.succeeded(now);
        let needed = topics.record_reported_ends(&self.id, &progress.topics, timing, now.mono);
        effects.expedited.extend(needed);
    }

    /// Recomputes the assessment if the group consumes a topic that changed.
    pub(super) fn reassess<'a>(
        &mut self,
        changed: &BTreeSet<TopicName>,
        facts: impl Fn(&TopicName) -> TopicFacts<'a> + Copy,
        window: Duration,
    ) {
        let Some(poll) = self.last_poll.as_mut().filter(|_| !self.is_expired) else { return };
        if !poll.lag.topics.iter().any(|topic| changed.contains(&topic.topic)) {
            return;
        }
        // Contradictions were counted when the response arrived.
        let (bounds, _) = lag::bounds::compute_bounds(&poll.lag, poll.origin.span, facts);
        let assessment = assess::assess(&poll.lag, &bounds, &self.window, poll.state, window, facts);
        if *poll.assessment != assessment {
            poll.assessment = Arc::new(assessment);
            self.view = None;
        }
    }

    /// Drops expired values. Returns whether there were any.
    pub(super) fn expire(&mut self, timing: &PollTiming, now: Now) -> bool {
        let is_older = |at: Instant, max_age| now.mono.duration_since(at) > max_age;
        let list_expired = self.listed_at.take_if(|at| is_older(*at, timing.discovery_stale_after)).is_some();
        let poll_expired = self.current().is_some_and(|poll| is_older(poll.at, timing.stale_after));
        self.is_expired |= poll_expired;
        if list_expired || poll_expired {
            self.view = None;
        }
        list_expired || poll_expired
    }

    pub(super) fn view(&mut self) -> Arc<GroupView> {
        if let Some(view) = &self.view {
            return Arc::clone(view);
        }
        let poll = self.current();
        let view = Arc::new(GroupView {
            id: self.id.clone(),
            discovery_order: self.discovery_order,
            listed: self.listed_at.is_some(),
            lag: poll.map(|poll| Arc::clone(&poll.lag)),
            assessment: poll.map(|poll| Arc::clone(&poll.assessment)),
            state: poll.and_then(|poll| poll.state),
            rebalances: self.rebalances(),
        });
        self.view = Some(Arc::clone(&view));
        view
    }

    /// Whether the next poll requests message timestamps (`HideLastTimestamp`). The first poll does, so that lag
    /// in seconds is known from the first pass on.
    pub(super) fn wanted_timestamps(&self, setting: LastTimestamps) -> MessageTimestamps {
        let has_lag = self.current().and_then(|poll| poll.lag.messages) != Some(0);
        match setting {
            LastTimestamps::Always => MessageTimestamps::Requested,
            LastTimestamps::Lagging if has_lag && self.timestamps.is_worth_requesting() => {
                MessageTimestamps::Requested
            }
            LastTimestamps::Lagging | LastTimestamps::Never => MessageTimestamps::NotRequested,
        }
    }
}

/// Whether the service returns message timestamps for a group at all.
#[derive(Debug, Clone, Copy, Default)]
struct TimestampAvailability {
    /// Consecutive responses that lack the requested timestamps of consumed messages.
    missing: u8,
    /// Polls since timestamps were last requested.
    polls_since_request: u8,
}

impl TimestampAvailability {
    fn is_worth_requesting(self) -> bool {
        self.missing < RESPONSES_UNTIL_UNAVAILABLE || self.polls_since_request >= POLLS_UNTIL_RETRY
    }

    fn record(&mut self, lag: &GroupLag, requested: MessageTimestamps) {
        let partitions = || lag.topics.iter().flat_map(|topic| &topic.partitions);
        if partitions().any(|p| p.last_consumed.is_some()) {
            *self = Self::default();
        } else if requested == MessageTimestamps::NotRequested {
            self.polls_since_request = self.polls_since_request.saturating_add(1);
        } else if partitions().any(|p| p.committed.is_some_and(|committed| committed.get() > 0)) {
            *self = Self { missing: self.missing.saturating_add(1), polls_since_request: 0 };
        }
    }
}

/// Counts rebalances from lists that contain only the latest ones (`RebalanceInfoList`).
#[derive(Debug, Clone, Copy)]
struct RebalanceCounter {
    total: Rebalances,
    /// Generation of the newest listed rebalance.
    generation: Option<u64>,
}

impl RebalanceCounter {
    /// Counts the rebalances that are listed now and were not before. Those of the first list do not count.
    fn record(counter: &mut Option<Self>, listed: &[Rebalance]) {
        let Some(newest) = listed.last() else { return };
        let total = match counter {
            None => Rebalances { seen: 0, last: newest.at },
            Some(known) => {
                let last: UnixMillis = known.total.last;
                let new = listed.iter().filter(|rebalance| rebalance.at > last).count() as u64;
                // Generations also count the rebalances that have dropped out of the list.
                let generations =
                    newest.generation.zip(known.generation).and_then(|(new, old)| new.checked_sub(old));
                let new = if new == 0 { 0 } else { new.max(generations.unwrap_or(0)) };
                Rebalances { seen: known.total.seen.saturating_add(new), last: last.max(newest.at) }
            }
        };
        *counter = Some(Self { total, generation: newest.generation });
    }
}

/// Copies message timestamps from the previous response where nothing was consumed since, because the last
/// consumed message is still the same.
fn carry_over_timestamps(lag: &mut GroupLag, previous: &GroupLag) {
    for topic in &mut lag.topics {
        let Some(previous) = previous.topic(&topic.topic) else { continue };
        for p in topic.partitions.iter_mut().filter(|p| p.last_consumed.is_none()) {
            let known = previous.partition(p.partition).filter(|known| {
                known.committed == p.committed && topic_identity::is_same_partition(known, p)
            });
            p.last_consumed = known.and_then(|known| known.last_consumed);
        }
    }
}
