//! Details of one group: everything that its metrics are computed from.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use tokio::time::{Duration, Instant};

use super::{
    cached::{Now, PollStatus},
    group::{GroupEntry, GroupPoll},
    instance::InstanceEntry,
};
use crate::{
    lag::{end_history::EndHistory, facts::TopicFacts, start_history::StartHistory, window::TopicWindow},
    model::{
        AccountName, Cleanup, GroupId, Instance, InstanceId, PollTiming, RegionId, ResponseOrigin, TopicName,
        TopicStatus, UnixMillis,
    },
    snapshot::Rebalances,
};

/// Everything known about one group, shared with or copied from the state of its region.
#[derive(Debug)]
pub struct GroupDetails {
    /// Account name, if accounts are named.
    pub account: Option<AccountName>,
    /// Region of the instance.
    pub region: RegionId,
    /// Instance of the group.
    pub instance: InstanceId,
    /// Item of the instance list.
    pub instance_info: Option<Arc<Instance>>,
    /// The group.
    pub group: GroupId,
    /// Whether the current group list contains the group.
    pub is_listed: bool,
    /// Polls of `GetConsumerProgress`.
    pub polling: PollingDetails,
    /// Last successful poll.
    pub last_poll: Option<GroupPoll>,
    /// Whether the last successful poll is older than `stale_after`.
    pub is_expired: bool,
    /// Rebalances, if the API reports them.
    pub rebalances: Option<Rebalances>,
    /// Length of the status window.
    pub status_window: Duration,
    /// Requested topics of the last successful poll; empty if it has expired.
    pub topics: BTreeMap<TopicName, TopicDetails>,
}

/// Everything known about a topic and the group's recent polls of it.
#[derive(Debug)]
pub struct TopicDetails {
    /// Polls of `GetTopicStatus`; `None` if the topic is not listed.
    pub polling: Option<PollingDetails>,
    /// Origin of the last status.
    pub status_origin: Option<ResponseOrigin>,
    /// Recent polls of the group.
    pub window: Option<TopicWindow>,
    status: Option<TopicStatus>,
    ends: Option<EndHistory>,
    starts: Option<StartHistory>,
    cleanup: Option<Cleanup>,
    retention: Option<Duration>,
}

impl TopicDetails {
    pub(super) fn new(
        topic: &TopicName,
        instance: &InstanceEntry,
        group: &GroupEntry,
        timing: &PollTiming,
        now: Now,
    ) -> Self {
        let entry = instance.topics.entries.get(topic);
        let facts = instance.topic_facts()(topic);
        Self {
            polling: entry.map(|entry| {
                let value_at = entry.status.with_time().map(|(_, at)| at);
                PollingDetails::new(entry.polls, value_at, timing.topic_stale_after, now)
            }),
            status_origin: entry.and_then(|entry| entry.status_origin.clone()),
            window: group.window.topic(topic).cloned(),
            status: facts.status.cloned(),
            ends: facts.ends.cloned(),
            starts: facts.starts.cloned(),
            cleanup: facts.cleanup,
            retention: facts.retention,
        }
    }

    /// Returns the facts for the assessment of the group.
    #[must_use]
    pub fn facts(&self) -> TopicFacts<'_> {
        TopicFacts {
            ends: self.ends.as_ref(),
            starts: self.starts.as_ref(),
            status: self.status.as_ref(),
            cleanup: self.cleanup,
            retention: self.retention,
        }
    }
}

/// Status of the polls of one target.
#[derive(Debug, Clone, Serialize)]
pub struct PollingDetails {
    /// `ok`, `failing`, or `none` before the first attempt has ended.
    pub last_attempt: &'static str,
    /// Time of the last success, by the clock of this host.
    pub last_success: Option<UnixMillis>,
    /// Age of the last known value, in seconds.
    #[serde(rename = "answer_age_seconds")]
    pub age_seconds: Option<f64>,
    /// Whether the last known value is kept although the last attempt failed.
    #[serde(rename = "is_held")]
    pub is_kept: bool,
    /// Age at which a value that cannot be refreshed expires, in seconds.
    pub kept_for_seconds: f64,
}

impl PollingDetails {
    pub(super) fn new(polls: PollStatus, value_at: Option<Instant>, max_age: Duration, now: Now) -> Self {
        Self {
            last_attempt: match (polls.attempted, polls.failing) {
                (false, _) => "none",
                (true, true) => "failing",
                (true, false) => "ok",
            },
            last_success: polls.last_success,
            age_seconds: value_at.map(|at| now.mono.duration_since(at).as_secs_f64()),
            is_kept: polls.failing && value_at.is_some(),
            kept_for_seconds: max_age.as_secs_f64(),
        }
    }
}

/// Numbers of known objects, for a request about an unknown one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KnownObjects {
    /// Instances of the region.
    pub instances: usize,
    /// Groups of the instance; `None` if the instance is unknown.
    pub groups_of_instance: Option<usize>,
    /// Topics of the group; `None` if the group is unknown or every topic was requested.
    pub topics_of_group: Option<usize>,
}
