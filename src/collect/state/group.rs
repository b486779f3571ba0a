//! One consumer group of an instance: its last answer, what is remembered of those before, and what is said of it.

use std::sync::Arc;

use super::{
    Cached, Effects, InstanceEntry, Now, RegionState, activity::ActivityTracker, empty_list, topic,
    topic_identity,
};
use crate::{
    collect::{PollPriority, PollTarget, PollTiming},
    lag::{self, GroupLag, PartitionLag, age::GroupAges, assess::GroupAssessment, track::Track},
    model::{
        Anomaly, Cleanup, GroupId, GroupProgress, GroupState, InstanceId, LastTimestamps, MessageTimestamps,
        Observed, Rebalance, ResponseOrigin, UnixMillis,
    },
    snapshot::{GroupView, Rebalances},
};

/// So many answers in a row that were asked for times and told none, of what has been read: the service has
/// none to tell.
const SILENT: u8 = 2;
/// A group whose times are not told is asked for them again at every so-manieth poll.
const ASK_AGAIN: u8 = 20;

#[derive(Debug)]
pub(super) struct GroupEntry {
    pub(super) discovery_order: u64,
    pub(super) listed: Cached<()>,
    pub(super) lag: Cached<GroupLag>,
    /// What came with the lag; outlives it, as it says when and by which answer it was told.
    pub(super) said: Option<LastPoll>,
    pub(super) track: Track,
    pub(super) movement: ActivityTracker,
    rebalances: Option<(Rebalances, Option<u64>)>,
    /// Whether the last answer was asked for the times of messages.
    pub(super) asked: MessageTimestamps,
    silence: TimestampSilence,
    pub(super) view: Option<Arc<GroupView>>,
}

/// What is said of a group from its last answer.
#[derive(Debug)]
pub(super) struct LastPoll {
    /// Where the answer comes from.
    pub(super) origin: ResponseOrigin,
    /// The state that it told.
    pub(super) state: Option<GroupState>,
    /// What it told; stays when the lag is too old to be shown, as history is kept for the offsets in it.
    pub(super) lag: Option<Arc<GroupLag>>,
    /// The ages at its moment.
    pub(super) ages: GroupAges,
    /// What follows from it and from those before.
    pub(super) assessment: Arc<GroupAssessment>,
}

/// Whether the service tells times of this group's messages at all.
#[derive(Debug, Clone, Copy, Default)]
struct TimestampSilence {
    /// Answers in a row that should have told times and did not.
    answers: u8,
    /// Polls since times were last asked for.
    since: u8,
}

impl GroupEntry {
    pub(super) fn new(discovery_order: u64) -> Self {
        Self {
            discovery_order,
            listed: Cached::default(),
            lag: Cached::default(),
            said: None,
            track: Track::default(),
            movement: ActivityTracker::default(),
            rebalances: None,
            asked: MessageTimestamps::NotRequested,
            silence: TimestampSilence::default(),
            view: None,
        }
    }

    /// Whether the next answer is to tell the times of messages. The first is asked for them, so that there is a
    /// lag in seconds from the first pass on.
    fn wanted_times(&self, ask: LastTimestamps) -> MessageTimestamps {
        let lags = self.lag.get().and_then(|lag| lag.messages) != Some(0);
        let in_vain = self.silence.answers >= SILENT && self.silence.since < ASK_AGAIN;
        match ask {
            LastTimestamps::Always => MessageTimestamps::Requested,
            LastTimestamps::Lagging if lags && !in_vain => MessageTimestamps::Requested,
            LastTimestamps::Lagging | LastTimestamps::Never => MessageTimestamps::NotRequested,
        }
    }

    fn hear_times(&mut self, lag: &GroupLag, asked: MessageTimestamps) {
        self.asked = asked;
        let partitions = || lag.topics.iter().flat_map(|t| &t.partitions);
        if partitions().any(|p| p.last_consumed.is_some()) {
            self.silence = TimestampSilence::default();
        } else if asked == MessageTimestamps::NotRequested {
            self.silence.since = self.silence.since.saturating_add(1);
        } else if partitions().any(|p| p.committed.is_some_and(|c| c.get() > 0)) {
            self.silence = TimestampSilence { answers: self.silence.answers.saturating_add(1), since: 0 };
        }
    }

    pub(super) fn rebalances(&self) -> Option<Rebalances> {
        self.rebalances.map(|(rebalances, _)| rebalances)
    }

    /// Counts the rebalances that an answer tells and the one before did not.
    fn hear_rebalances(&mut self, told: &[Rebalance]) {
        let Some(newest) = told.last() else { return };
        let (seen, before) = match &self.rebalances {
            None => (0, None),
            Some((known, generation)) => {
                let listed = told.iter().filter(|r| r.at > known.last).count() as u64;
                // The list is short: generations tell of those that have left it.
                let skipped =
                    newest.generation.zip(*generation).and_then(|(now, then)| now.checked_sub(then));
                let new = if listed == 0 { 0 } else { skipped.unwrap_or(0).max(listed) };
                (known.seen.saturating_add(new), Some(known.last))
            }
        };
        let last = before.map_or(newest.at, |before: UnixMillis| before.max(newest.at));
        self.rebalances = Some((Rebalances { seen, last }, newest.generation));
    }

    pub(super) fn view(&mut self, id: &GroupId) -> Arc<GroupView> {
        if let Some(view) = &self.view {
            return Arc::clone(view);
        }
        let lag = self.lag.get().cloned();
        let said = self.said.as_ref().filter(|_| lag.is_some());
        let view = Arc::new(GroupView {
            id: id.clone(),
            discovery_order: self.discovery_order,
            listed: self.listed.get().is_some(),
            assessment: said.map(|said| Arc::clone(&said.assessment)),
            state: said.and_then(|said| said.state),
            rebalances: self.rebalances(),
            lag,
        });
        self.view = Some(Arc::clone(&view));
        view
    }
}

impl RegionState {
    /// Whether an answer to this target is to tell the times of messages.
    #[must_use]
    pub fn times(&self, target: &PollTarget) -> MessageTimestamps {
        let PollTarget::GroupProgress(id, group) = target else { return MessageTimestamps::NotRequested };
        let known = self.instances.get(id).and_then(|member| member.groups.get(group));
        known.map_or(MessageTimestamps::Requested, |known| known.wanted_times(self.timing.last_timestamps))
    }

    pub(super) fn take_progress(
        &mut self,
        id: &InstanceId,
        group: &GroupId,
        (seen, origin): (Observed<GroupProgress>, ResponseOrigin),
        now: Now,
        effects: &mut Effects,
    ) {
        let timing = self.timing;
        let Some(member) = self.instances.get_mut(id) else { return };
        let Some(known) = member.touch().groups.get_mut(group) else { return };
        effects.anomalies = seen.anomalies;
        effects.pace = Some(PollPriority::Active);
        known.view = None;
        let (mut lag, odd) = lag::group(&seen.value);
        effects.anomalies.extend(odd);
        let before = known.lag.get().cloned();
        if let Some(before) = &before {
            if lag.topics.is_empty() && !before.topics.is_empty() && !known.lag.record.emptied() {
                effects.anomalies.push(empty_list("topics of a group"));
                return;
            }
            effects.anomalies.extend(topic_identity::of_group(group, before, &lag));
        }
        let asked = known.wanted_times(timing.last_timestamps);
        known.hear_times(&lag, asked);
        if let Some(before) = &before {
            keep_times(&mut lag, before);
        }
        // Lag and committed offset are equal only if the end offset is too.
        known.movement.heard(before.as_ref().map(|before| **before != lag));
        effects.pace = Some(known.movement.of_group(&lag));
        known.hear_rebalances(&seen.value.rebalances);
        effects.anomalies.extend(member.remember(
            group,
            before.as_deref(),
            &lag,
            seen.value.state,
            origin,
            &timing,
        ));
        if let Some(known) = member.groups.get_mut(group) {
            known.lag.set(lag, now);
            let lag = known.lag.get().cloned();
            known.said.iter_mut().for_each(|said| said.lag.clone_from(&lag));
        }
        for topic in &seen.value.topics {
            effects.expedited.extend(member.hear_ends(id, group, topic, &timing, now));
        }
    }
}

impl InstanceEntry {
    /// Adds an answer to what is remembered, and puts together what is said of the group from now on.
    fn remember(
        &mut self,
        group: &GroupId,
        before: Option<&GroupLag>,
        lag: &GroupLag,
        state: Option<GroupState>,
        origin: ResponseOrigin,
        timing: &PollTiming,
    ) -> Vec<Anomaly> {
        for topic in before.map(|before| topic_identity::created_anew(before, lag)).unwrap_or_default() {
            // Another group's answer may have told already: what has been seen since then is of the new topic.
            let history = self.histories.get(&topic.topic);
            let is_past = |p: &PartitionLag| Some(history?.newest(p.partition)?.end > p.end?);
            if topic.partitions.iter().any(|p| is_past(p) == Some(true)) {
                self.created_anew(&topic.topic);
            }
        }
        let mut odd = Vec::new();
        for topic in &lag.topics {
            let history = self.histories.entry(topic.topic.clone()).or_default();
            let ends = topic.partitions.iter().filter_map(|p| Some((p.partition, p.end?)));
            history.record(ends, origin.span, timing.poll);
            // Of a compacted topic, the message that was read last may be gone, and an earlier one tells its time.
            let info = self.topics.get(&topic.topic).and_then(|known| known.info.get());
            let is_compacted = info.is_some_and(|info| info.cleanup == Some(Cleanup::Compact));
            let before = before.and_then(|before| before.topic(&topic.topic));
            let mut is_news = false;
            for p in topic.partitions.iter().filter(|_| !is_compacted) {
                let then = before.and_then(|before| before.partition(p.partition));
                // What is known from before has been looked at then.
                let told = p.last_consumed.filter(|stamp| then.and_then(|p| p.last_consumed) != Some(*stamp));
                let read = p.committed.and_then(|committed| committed.before());
                if let Some((read, stamp)) = read.zip(told) {
                    is_news |= history.check(p.partition, read, stamp, origin.span);
                }
            }
            odd.extend(is_news.then(|| topic::other_clock(&topic.topic)));
        }
        let Self { groups, topics, histories, info, .. } = self;
        let facts = super::assess::facts(topics, histories, info.get().map(Arc::as_ref));
        let (ages, contradictions) = lag::age::ages(lag, origin.span, facts);
        odd.extend(contradictions);
        let Some(known) = groups.get_mut(group) else { return odd };
        known.track.record(lag, &ages, origin.span, timing.status_window);
        let assessment = lag::assess::assess(lag, &ages, &known.track, state, timing.status_window, facts);
        known.said = Some(LastPoll { origin, state, lag: None, ages, assessment: Arc::new(assessment) });
        odd
    }
}

/// Where a group has read nothing more, its last message is still the same, and so is that message's time, though
/// the answer does not tell it.
fn keep_times(lag: &mut GroupLag, before: &GroupLag) {
    for topic in &mut lag.topics {
        let Some(before) = before.topic(&topic.topic) else { continue };
        for p in topic.partitions.iter_mut().filter(|p| p.last_consumed.is_none()) {
            // An end that fell is that of another topic of the same name.
            let is_same = |then: &&PartitionLag| then.committed == p.committed && then.end <= p.end;
            p.last_consumed =
                before.partition(p.partition).filter(is_same).and_then(|then| then.last_consumed);
        }
    }
}
