//! Topics of an instance: their state, how a topic list, a topic status or a group's progress changes it, and
//! their views.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::{Duration, Instant};

use super::{
    ApplyContext, Effects,
    cached::{Cached, Now, PollStatus},
    reported_ends::ReportedEnds,
    topic_identity::{self, TopicIdentity},
};
use crate::{
    collect::{PollPriority, PollTarget, schedule::ActivityTracker},
    lag::{GroupLag, TopicLag, end_history::EndHistory, facts::TopicFacts, start_history::StartHistory},
    model::{
        Anomaly, AnomalyKind, Cleanup, GroupId, InstanceId, Listing, Observed, Offset, Partition, PollTiming,
        ResponseOrigin, Topic, TopicName, TopicProgress, TopicStatus, UnixMillis,
    },
    snapshot::TopicView,
};

/// State of one topic.
#[derive(Debug)]
pub(super) struct TopicEntry {
    name: TopicName,
    discovery_order: u64,
    /// Item of the topic list.
    info: Cached<Topic>,
    pub(super) polls: PollStatus,
    pub(super) status: Cached<TopicStatus>,
    /// Origin of the last status. Kept when the status expires.
    pub(super) status_origin: Option<ResponseOrigin>,
    /// Whether the status belongs to a deleted topic of the same name. Group assessments do not use it.
    is_status_outdated: bool,
    reported_ends: ReportedEnds,
    start_history: StartHistory,
    activity: ActivityTracker,
    view: Option<Arc<TopicView>>,
}

impl TopicEntry {
    fn new(name: TopicName, discovery_order: u64) -> Self {
        Self {
            name,
            discovery_order,
            info: Cached::default(),
            polls: PollStatus::default(),
            status: Cached::default(),
            status_origin: None,
            is_status_outdated: false,
            reported_ends: ReportedEnds::default(),
            start_history: StartHistory::default(),
            activity: ActivityTracker::default(),
            view: None,
        }
    }

    /// Records a group's end offsets of this topic. Returns when the topic's own status is needed at the latest.
    ///
    /// - `Recreated`: now.
    /// - `Unclear`: one `topic_poll_interval` after the last status, because two sources may disagree for ever and must
    ///   not cost extra calls.
    /// - `Same`: `None`.
    fn record_reported_ends(
        &mut self,
        group: &GroupId,
        topic: &TopicProgress,
        timing: &PollTiming,
        now: Instant,
    ) -> Option<Instant> {
        let status = self.status.with_time();
        let current = status.map(|(status, _)| status.as_ref());
        let identity = self.reported_ends.record(group, topic, current, timing.idle_topic_poll, now);
        // Most responses report what the view already shows.
        let merged = status.map(|status| self.reported_ends.merge(status, timing.request_timeout));
        self.view.take_if(|view| view.status.as_deref() != merged.as_deref());
        match identity {
            TopicIdentity::Same => None,
            TopicIdentity::Unclear => Some(status?.1 + timing.topic_poll),
            TopicIdentity::Recreated => Some(now),
        }
    }

    fn view(&mut self, groups: Option<u64>, max_age: Duration) -> Arc<TopicView> {
        if let Some(view) = self.view.as_ref().filter(|view| view.groups == groups) {
            return Arc::clone(view);
        }
        let view = Arc::new(TopicView {
            name: self.name.clone(),
            discovery_order: self.discovery_order,
            info: self.info.get().cloned(),
            status: self.status.with_time().map(|status| self.reported_ends.merge(status, max_age)),
            groups,
        });
        self.view = Some(Arc::clone(&view));
        view
    }
}

/// Committed offsets of all groups, sorted.
pub(super) type NeededOffsets<'a> = BTreeMap<&'a TopicName, BTreeMap<Partition, Vec<Offset>>>;

/// All topics of one instance, and the history of their offsets.
#[derive(Debug)]
pub(super) struct TopicTable {
    instance: InstanceId,
    pub(super) entries: BTreeMap<TopicName, TopicEntry>,
    /// End offsets over time. Includes topics that groups consume but the topic list lacks.
    pub(super) end_histories: BTreeMap<TopicName, EndHistory>,
    /// Topics that changed since the assessments of their groups were last computed.
    pub(super) changed: BTreeSet<TopicName>,
}

impl TopicTable {
    pub(super) fn new(instance: InstanceId) -> Self {
        Self { instance, entries: BTreeMap::new(), end_histories: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// Applies a response to `GetTopicList`.
    pub(super) fn apply_list(&mut self, list: Listing<Topic>, context: &mut ApplyContext<'_>) {
        let Listing { items, complete } = list;
        let listed: BTreeMap<TopicName, Topic> = items
            .into_iter()
            .filter(|topic| context.filters.topics.allows(topic.name.as_str()))
            .map(|topic| (topic.name.clone(), topic))
            .collect();
        if complete {
            self.remove_unless(context.effects, |name| listed.contains_key(name));
        }
        for (name, topic) in listed {
            let entry = self.entries.entry(name.clone()).or_insert_with(|| {
                context.effects.added.push(PollTarget::TopicStatus(self.instance.clone(), name.clone()));
                TopicEntry::new(name.clone(), context.sequence.next())
            });
            let recreated_at = entry.info.get().and_then(|known| topic_identity::recreated_at(known, &topic));
            entry.view = None;
            entry.info.set(topic, context.now);
            if let Some(created) = recreated_at {
                self.forget_before(&name, created);
            }
        }
    }

    /// Removes the topics that do not satisfy `keep`.
    pub(super) fn remove_unless(&mut self, effects: &mut Effects, keep: impl Fn(&TopicName) -> bool) {
        let removed = self.entries.extract_if(.., |name, _| !keep(name));
        effects.removed.extend(removed.map(|(name, _)| PollTarget::TopicStatus(self.instance.clone(), name)));
    }

    /// Applies a response to `GetTopicStatus`.
    pub(super) fn apply_status(
        &mut self,
        name: &TopicName,
        response: Observed<TopicStatus>,
        origin: ResponseOrigin,
        context: &mut ApplyContext<'_>,
    ) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let ApplyContext { timing, now, ref mut effects, .. } = *context;
        let Observed { value: status, anomalies } = response;
        effects.anomalies = anomalies;
        effects.priority = Some(PollPriority::Active);
        entry.view = None;
        let previous = entry.status.get();
        let vanished = status.partitions.is_empty() && previous.is_some_and(|p| !p.partitions.is_empty());
        if !entry.polls.record_unless_empty(vanished, "partitions of a topic", effects) {
            return;
        }

        let identity = previous.map_or(TopicIdentity::Same, |p| TopicIdentity::of_status(p, &status));
        entry.reported_ends.record_status(identity);
        let ends_of =
            |status: &TopicStatus| status.partitions.iter().map(|p| (p.partition, p.end)).collect::<Vec<_>>();
        entry.activity.record(previous.map(|previous| ends_of(previous) != ends_of(&status)));
        let ends_reported = entry.reported_ends.cover(&status, timing.idle_topic_poll, now.mono);
        effects.priority = Some(entry.activity.topic_priority(ends_reported));

        let history = self.end_histories.entry(name.clone()).or_default();
        if identity == TopicIdentity::Recreated {
            let detail = format!("end offsets of topic {name} went backwards");
            effects.anomalies.push(Anomaly { kind: AnomalyKind::Rewind, detail });
            *history = EndHistory::default();
            entry.start_history.clear();
        }
        let ends = status.partitions.iter().filter_map(|p| Some((p.partition, p.end?)));
        history.record(ends, origin.span, timing.poll);
        entry.start_history.record(&status, origin.span);
        let mut is_contradicted = false;
        for p in &status.partitions {
            let newest = p.end.and_then(|end| end.before());
            if let Some((newest, written_at)) = newest.zip(p.last_write) {
                is_contradicted |= history.check_timestamp(p.partition, newest, written_at, origin.span);
            }
        }
        effects.anomalies.extend(is_contradicted.then(|| contradiction(name)));

        entry.status.set(status, now);
        entry.polls.succeeded(now);
        entry.status_origin = Some(origin);
        entry.is_status_outdated = false;
        self.changed.insert(name.clone());
    }

    /// Records what a response about a group reports of its topics: end offsets and message timestamps.
    /// `previous` is the response before it. Returns the anomalies.
    pub(super) fn record_progress(
        &mut self,
        previous: Option<&GroupLag>,
        lag: &GroupLag,
        origin: &ResponseOrigin,
        timing: &PollTiming,
    ) -> Vec<Anomaly> {
        let mut anomalies = Vec::new();
        for topic in &lag.topics {
            let name = &topic.topic;
            let previous = previous.and_then(|previous| previous.topic(name));
            let history = self.end_histories.entry(name.clone()).or_default();
            let is_recreated = previous.is_some_and(|previous| {
                TopicIdentity::of_progress(previous, topic, history) == TopicIdentity::Recreated
            });
            if is_recreated {
                *history = EndHistory::default();
                self.changed.insert(name.clone());
            }
            let entry = self.entries.get_mut(name);
            let cleanup = entry.as_ref().and_then(|entry| entry.info.get()).and_then(|info| info.cleanup);
            if let Some(entry) = entry.filter(|_| is_recreated) {
                entry.start_history.clear();
                entry.is_status_outdated = true;
            }
            let ends = topic.partitions.iter().filter_map(|p| Some((p.partition, p.end?)));
            history.record(ends, origin.span, timing.poll);
            // In a compacted topic the last consumed message may be gone. `LastTimestamp` is then that of an
            // earlier one.
            if cleanup != Some(Cleanup::Compact) && contradicts_polls(history, previous, topic, origin) {
                anomalies.push(contradiction(name));
            }
        }
        anomalies
    }

    /// Records the end offsets that a group reports. Returns the topic statuses to poll earlier.
    pub(super) fn record_reported_ends(
        &mut self,
        group: &GroupId,
        topics: &[TopicProgress],
        timing: &PollTiming,
        now: Instant,
    ) -> Vec<(PollTarget, Instant)> {
        let needed = topics.iter().filter_map(|topic| {
            let entry = self.entries.get_mut(&topic.topic)?;
            let at = entry.record_reported_ends(group, topic, timing, now)?;
            Some((PollTarget::TopicStatus(self.instance.clone(), topic.topic.clone()), at))
        });
        needed.collect()
    }

    /// Drops the history of a topic from before its creation.
    fn forget_before(&mut self, name: &TopicName, created: UnixMillis) {
        if let Some(history) = self.end_histories.get_mut(name) {
            history.remove_before(created);
        }
        if let Some(entry) = self.entries.get_mut(name) {
            entry.start_history.clear();
            let polled_before =
                entry.status_origin.as_ref().is_some_and(|origin| origin.span.latest() < created);
            entry.is_status_outdated |= polled_before;
        }
        self.changed.insert(name.clone());
    }

    /// Drops expired values. Returns whether there were any.
    pub(super) fn expire(&mut self, timing: &PollTiming, now: Now) -> bool {
        let mut any = false;
        for (name, entry) in &mut self.entries {
            let info_expired = entry.info.expire(now, timing.discovery_stale_after);
            if entry.status.expire(now, timing.topic_stale_after) || info_expired {
                entry.view = None;
                self.changed.insert(name.clone());
                any = true;
            }
        }
        any
    }

    /// Returns a lookup of the facts about a topic, for the assessment of a group.
    pub(super) fn facts<'a>(
        &'a self,
        retention: Option<Duration>,
    ) -> impl Fn(&TopicName) -> TopicFacts<'a> + Copy {
        move |name| {
            let entry = self.entries.get(name);
            let status = entry.filter(|entry| !entry.is_status_outdated).and_then(|entry| entry.status.get());
            TopicFacts {
                ends: self.end_histories.get(name),
                status: status.map(Arc::as_ref),
                starts: entry.map(|entry| &entry.start_history),
                cleanup: entry.and_then(|entry| entry.info.get()).and_then(|info| info.cleanup),
                retention,
            }
        }
    }

    /// Returns the views, sorted by name. `consumers` is the number of groups per topic, if known.
    pub(super) fn views(
        &mut self,
        consumers: Option<&BTreeMap<TopicName, u64>>,
        timing: &PollTiming,
    ) -> Vec<Arc<TopicView>> {
        let views = self.entries.iter_mut().map(|(name, entry)| {
            let groups = consumers.map(|consumers| consumers.get(name).copied().unwrap_or(0));
            entry.view(groups, timing.request_timeout)
        });
        views.collect()
    }

    /// Drops the end histories of topics that are neither listed nor consumed.
    pub(super) fn retain_histories(&mut self, is_consumed: impl Fn(&TopicName) -> bool) {
        self.end_histories.retain(|topic, _| self.entries.contains_key(topic) || is_consumed(topic));
    }

    /// Drops points of the end histories that no group needs, and more where a history has more points than
    /// `max_points` returns for their number.
    pub(super) fn prune_histories(
        &mut self,
        needed: &NeededOffsets<'_>,
        max_points: impl Fn(usize) -> usize,
    ) {
        for (topic, history) in &mut self.end_histories {
            let offsets = needed.get(topic);
            let offsets_of = |partition| offsets.and_then(|offsets| offsets.get(&partition));
            let max_points = max_points(history.len());
            history.prune(|partition| offsets_of(partition).map_or(&[], Vec::as_slice), max_points);
        }
    }

    /// Returns the memory used by histories, in bytes.
    pub(super) fn history_bytes(&self) -> usize {
        self.end_histories.values().map(EndHistory::bytes).sum::<usize>()
            + self.entries.values().map(|entry| entry.start_history.bytes()).sum::<usize>()
    }
}

/// Whether message timestamps of a group's response contradict the end offsets that polls have seen. Timestamps
/// that the previous response had too were checked then.
fn contradicts_polls(
    history: &mut EndHistory,
    previous: Option<&TopicLag>,
    topic: &TopicLag,
    origin: &ResponseOrigin,
) -> bool {
    let mut is_contradicted = false;
    for p in &topic.partitions {
        let known = previous.and_then(|previous| previous.partition(p.partition)?.last_consumed);
        let reported = p.last_consumed.filter(|stored_at| known != Some(*stored_at));
        let consumed = p.committed.and_then(|committed| committed.before());
        if let Some((consumed, stored_at)) = consumed.zip(reported) {
            is_contradicted |= history.check_timestamp(p.partition, consumed, stored_at, origin.span);
        }
    }
    is_contradicted
}

fn contradiction(topic: &TopicName) -> Anomaly {
    Anomaly {
        kind: AnomalyKind::Contradiction,
        detail: format!("message timestamps of topic {topic} contradict the clock of the API"),
    }
}
