//! One topic of an instance: what its list and its status say, and when it is another under the same name.

use std::sync::Arc;

use tokio::time::Duration;

use super::{
    Cached, Effects, InstanceEntry, Now, RegionState,
    activity::ActivityTracker,
    empty_list,
    reported_ends::{EndComparison, ReportedEnds},
    topic_identity,
};
use crate::{
    collect::{PollPriority, PollTarget, PollTiming},
    lag::forecast::StartHistory,
    model::{
        Anomaly, AnomalyKind, GroupId, InstanceId, Observed, ResponseOrigin, Topic, TopicName, TopicProgress,
        TopicStatus, UnixMillis,
    },
    snapshot::TopicView,
};

#[derive(Debug)]
pub(super) struct TopicEntry {
    pub(super) discovery_order: u64,
    pub(super) info: Cached<Topic>,
    pub(super) status: Cached<TopicStatus>,
    /// Where the status comes from.
    pub(super) origin: Option<ResponseOrigin>,
    /// The status is of another topic of the same name, which is gone: no group is judged by it.
    pub(super) is_past: bool,
    pub(super) movement: ActivityTracker,
    pub(super) ends: ReportedEnds,
    pub(super) starts: StartHistory,
    pub(super) view: Option<Arc<TopicView>>,
}

impl TopicEntry {
    pub(super) fn new(discovery_order: u64) -> Self {
        Self {
            discovery_order,
            info: Cached::default(),
            status: Cached::default(),
            origin: None,
            is_past: false,
            movement: ActivityTracker::default(),
            ends: ReportedEnds::default(),
            starts: StartHistory::default(),
            view: None,
        }
    }

    /// When the topic of a list was created, if that is another one than before under the same name.
    pub(super) fn created_anew(&self, listed: &Topic) -> Option<UnixMillis> {
        let before = self.info.get()?.created_at?;
        listed.created_at.filter(|created| *created != before)
    }

    pub(super) fn view(&mut self, name: &TopicName, groups: Option<u64>, window: Duration) -> Arc<TopicView> {
        if let Some(view) = self.view.as_ref().filter(|v| v.groups == groups) {
            return Arc::clone(view);
        }
        let view = Arc::new(TopicView {
            name: name.clone(),
            discovery_order: self.discovery_order,
            info: self.info.get().cloned(),
            status: self.status.with_time().map(|status| self.ends.shown(status, window)),
            groups,
        });
        self.view = Some(Arc::clone(&view));
        view
    }
}

impl RegionState {
    pub(super) fn take_status(
        &mut self,
        id: &InstanceId,
        topic: &TopicName,
        (seen, origin): (Observed<TopicStatus>, ResponseOrigin),
        now: Now,
        effects: &mut Effects,
    ) {
        let Some(member) = self.instances.get_mut(id) else { return };
        let Some(known) = member.touch().topics.get_mut(topic) else { return };
        effects.anomalies = seen.anomalies;
        effects.pace = Some(PollPriority::Active);
        known.view = None;
        let before = known.status.get().cloned();
        if let Some(before) = &before {
            let emptied = seen.value.partitions.is_empty() && !before.partitions.is_empty();
            if emptied && !known.status.record.emptied() {
                effects.anomalies.push(empty_list("partitions of a topic"));
                return;
            }
        }
        let rewound = before.as_ref().and_then(|before| topic_identity::of_topic(topic, before, &seen.value));
        let is_anew = rewound.is_some();
        known.ends.heard_status(is_anew);
        known
            .movement
            .heard(before.map(|before| topic_identity::ends(&before) != topic_identity::ends(&seen.value)));
        let told = known.ends.tell_all_of(&seen.value, self.timing.idle_topic_poll, now.mono);
        effects.pace = Some(known.movement.of_topic(told));
        effects.anomalies.extend(rewound);
        if is_anew {
            member.created_anew(topic);
        }
        effects.anomalies.extend(member.hear_status(topic, &seen.value, &origin, self.timing.poll));
        if let Some(known) = member.topics.get_mut(topic) {
            known.status.set(seen.value, now);
            known.origin = Some(origin);
            known.is_past = false;
        }
        member.changed.insert(topic.clone());
    }
}

impl InstanceEntry {
    /// Forgets where the ends and starts of a topic were: it was deleted, and created again.
    pub(super) fn created_anew(&mut self, topic: &TopicName) {
        self.histories.remove(topic);
        if let Some(known) = self.topics.get_mut(topic) {
            known.starts.forget();
            known.is_past = true;
        }
        self.changed.insert(topic.clone());
    }

    /// Forgets what was seen of a topic before it was created. What has been seen since then is of this one.
    pub(super) fn forget_before(&mut self, topic: &TopicName, created: UnixMillis) {
        if let Some(history) = self.histories.get_mut(topic) {
            history.forget_before(created);
        }
        if let Some(known) = self.topics.get_mut(topic) {
            known.starts.forget();
            known.is_past |= known.origin.as_ref().is_some_and(|origin| origin.span.latest() < created);
        }
        self.changed.insert(topic.clone());
    }

    /// Notes where the topic begins and ends, and whether its message times can be right.
    fn hear_status(
        &mut self,
        topic: &TopicName,
        status: &TopicStatus,
        origin: &ResponseOrigin,
        spacing: Duration,
    ) -> Option<Anomaly> {
        let history = self.histories.entry(topic.clone()).or_default();
        let ends = status.partitions.iter().filter_map(|p| Some((p.partition, p.end?)));
        history.record(ends, origin.span, spacing);
        let mut is_news = false;
        for p in &status.partitions {
            let newest = p.end.and_then(|end| end.before());
            if let Some((newest, stamp)) = newest.zip(p.last_write) {
                is_news |= history.check(p.partition, newest, stamp, origin.span);
            }
        }
        if let Some(known) = self.topics.get_mut(topic) {
            known.starts.record(status, origin.span);
        }
        is_news.then(|| other_clock(topic))
    }

    /// Takes the end offsets that an answer about a group tells of a topic. Returns whether the topic's own
    /// status is needed, and by when: at once if the topic was created anew, and if that is only likely, not
    /// sooner than it would be asked for if others told nothing. So two sources that never agree cost no
    /// more calls than one.
    pub(super) fn hear_ends(
        &mut self,
        id: &InstanceId,
        group: &GroupId,
        topic: &TopicProgress,
        timing: &PollTiming,
        now: Now,
    ) -> Option<(PollTarget, tokio::time::Instant)> {
        let known = self.topics.get_mut(&topic.topic)?;
        let (status, window) = (known.status.with_time(), timing.idle_topic_poll);
        let word = known.ends.hear(group, topic, status.map(|(s, _)| s.as_ref()), window, now.mono);
        // Most answers tell what is shown already: then the page's part of the topic need not be made anew.
        let shown = status.map(|status| known.ends.shown(status, timing.request_timeout));
        known.view.take_if(|view| view.status.as_deref() != shown.as_deref());
        let at = match word {
            EndComparison::Good => return None,
            EndComparison::Behind => status?.1 + timing.topic_poll,
            EndComparison::Fell => now.mono,
        };
        Some((PollTarget::TopicStatus(id.clone(), topic.topic.clone()), at))
    }
}

/// Times that contradict what polls have seen.
pub(super) fn other_clock(topic: &TopicName) -> Anomaly {
    Anomaly {
        kind: AnomalyKind::Contradiction,
        detail: format!("message times of topic {topic} are of another clock than the cloud's"),
    }
}
