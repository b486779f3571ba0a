//! One group explained: what was read of it, what became of that, and why. A plain value that is made to be written
//! as JSON. Pure.
//!
//! Owns: what is told, and how much of it at most. All of it is in `told`, and nothing of a request but its id is.
//! Fields of the API are spelled as it spells them, those of the page as their metrics end.

use tokio::time::Duration;

use super::{
    InstanceEntry, Now, PollStatus, RegionState,
    group::{GroupEntry, GroupPoll},
};
use crate::{
    api::Action,
    collect::desk::{Answer, Question},
    lag::{
        PartitionLag, TopicLag,
        assess::{PartitionAssessment, TopicAssessment},
        facts::TopicFacts,
    },
    model::{MessageTimestamps, ResponseOrigin},
};

mod bounds;
mod told;
mod verdict;

pub use told::{
    Bound, Explained, History, Known, Legend, Moment, Partition, Point, Polling, Progress, Rebalances,
    Rewind, Sample, Source, Step, Term, Topic, TopicStatus, Track, Trend, Window,
};

use bounds::Sight;
use verdict::Evidence;

/// Partitions that are told of one group, over all of its topics.
const MAX_PARTITIONS: usize = 2_000;
/// Points of history that are told of one partition.
const MAX_POINTS: usize = 64;
/// Points that are told in all, each partition its part.
const MAX_POINTS_IN_ALL: usize = 16_000;

impl RegionState {
    /// All about a group, or what is known instead.
    #[must_use]
    pub fn explain(&self, question: &Question, now: Now) -> Answer {
        let mut known = Known { instances: self.instances.len(), ..Known::default() };
        let Some(member) = self.instances.get(&question.instance) else { return Answer::Unknown(known) };
        known.groups_of_instance = Some(member.groups.len());
        let Some(group) = member.groups.get(&question.group) else { return Answer::Unknown(known) };
        let poll = group.current();
        let lag = poll.map(|poll| poll.lag.as_ref());
        if let (Some(lag), Some(topic)) = (lag, &question.topic)
            && lag.topic(topic).is_none()
        {
            known.topics_of_group = Some(lag.topics.len());
            return Answer::Unknown(known);
        }

        let assessment = poll.map(|poll| poll.assessment.as_ref());
        let mut room = Room::default();
        let topics = poll.map(|said| {
            let lag = &said.lag;
            let is_asked =
                |topic: &TopicLag| question.topic.as_ref().is_none_or(|asked| *asked == topic.topic);
            let asked: Vec<_> = said.assessment.with_lag(lag).filter(|(topic, _)| is_asked(topic)).collect();
            room = Room::for_partitions(asked.iter().map(|(topic, _)| topic.partitions.len()).sum());
            let told = |topic| self.topic((member, group, said), topic, &mut room, now);
            asked.into_iter().map_while(told).collect()
        });
        let age = assessment.map(|assessment| assessment.bounds).unwrap_or_default();
        let hold = self.timing.max_age(Action::GetConsumerProgress);
        Answer::Found(Box::new(Explained {
            account: self.account.as_ref().map(ToString::to_string),
            region: self.region.to_string(),
            instance_id: question.instance.to_string(),
            instance_name: member.info.get().and_then(|info| info.name.clone()),
            group: question.group.to_string(),
            listed: group.listed_at.is_some(),
            polling: polling(group.polls, poll.map(|poll| poll.at), hold, now),
            answer: group.last_poll.as_ref().map(|poll| source(&poll.origin)),
            asked_for_last_timestamp: group
                .last_poll
                .as_ref()
                .map(|poll| poll.timestamps == MessageTimestamps::Requested),
            state: poll.and_then(|poll| poll.state).map(|state| state.label()),
            rebalances: group
                .rebalances()
                .map(|known| Rebalances { seen: known.seen, last: known.last.into() }),
            lag_messages: lag.and_then(|lag| lag.messages),
            consumable_lag_messages: assessment.and_then(|assessment| assessment.consumable),
            lag_seconds: age.upper.map(seconds),
            lag_floor_seconds: age.lower.map(seconds),
            catch_up_seconds: assessment.and_then(|assessment| assessment.catch_up),
            status: assessment.and_then(|assessment| assessment.status).map(|status| status.name()),
            status_rule: verdict::of_group(lag, assessment),
            window_seconds: self.timing.status_window.as_secs_f64(),
            retention_seconds: member.info.get().and_then(|info| info.message_retention_seconds),
            truncated: room.was_too_small,
            topics,
            terms: bounds::LEGEND,
        }))
    }

    /// `None` once there is no room left.
    fn topic(
        &self,
        (member, group, said): (&InstanceEntry, &GroupEntry, &GroupPoll),
        (topic, assessed): (&TopicLag, &TopicAssessment),
        room: &mut Room,
        now: Now,
    ) -> Option<Topic> {
        let taken = room.take(topic.partitions.len())?;
        let known = member.topics.entries.get(&topic.topic);
        let facts = member.topic_facts();
        let facts = facts(&topic.topic);
        let sight = Sight { now: said.origin.span, asked: said.timestamps, facts: &facts };
        let track = group.window.topic(&topic.topic);
        let evidence = Evidence { track, window: self.timing.status_window };
        let hold = self.timing.max_age(Action::GetTopicStatus);
        let partitions = assessed.with_lag(topic).enumerate().take(taken);
        let partitions = partitions.map(|(place, told)| partition(told, sight, (evidence, place), room));
        Some(Topic {
            topic: topic.topic.to_string(),
            cleanup: facts.cleanup.map(|cleanup| cleanup.label()),
            polling: known
                .map(|known| polling(known.polls, known.status.with_time().map(|(_, at)| at), hold, now)),
            answer: known.and_then(|known| known.status_origin.as_ref()).map(source),
            lag_messages: topic.messages,
            consumable_lag_messages: assessed.consumable,
            lag_seconds: assessed.bounds.upper.map(seconds),
            lag_floor_seconds: assessed.bounds.lower.map(seconds),
            consumed_messages_per_second: assessed.consumed,
            produced_messages_per_second: assessed.produced,
            catch_up_seconds: assessed.catch_up,
            data_loss_eta_seconds: assessed.data_loss_eta,
            status: assessed.status.map(|status| status.name()),
            status_rule: verdict::of_topic(topic, assessed),
            window: evidence.window(),
            partition_count: topic.partitions.len(),
            partitions: partitions.collect(),
        })
    }
}

fn partition(
    (lag, assessed): (&PartitionLag, &PartitionAssessment),
    sight: Sight<'_>,
    (evidence, place): (Evidence<'_>, usize),
    room: &mut Room,
) -> Partition {
    let status = sight.facts.status.and_then(|status| status.partition(lag.partition));
    let (lag_seconds, lag_floor_seconds) = bounds::of(lag, assessed.bounds, sight);
    let steps = sight.facts.starts.map(|starts| starts.steps(lag.partition));
    let steps = steps.map(|steps| steps.map(|(unix_seconds, start)| Step { start, unix_seconds }));
    Partition {
        partition: lag.partition.0,
        progress: Progress {
            broker_offset: lag.end.map(|offset| offset.get()),
            consumer_offset: lag.committed.map(|offset| offset.get()),
            last_timestamp: lag.last_consumed.map(Moment::from),
        },
        topic_status: status.map(|status| TopicStatus {
            min_offset: status.start.map(|offset| offset.get()),
            max_offset: status.end.map(|offset| offset.get()),
            last_update_timestamp: status.last_write.map(Moment::from),
        }),
        lag_messages: lag.messages,
        retention_margin_messages: assessed.retention.and_then(|retention| retention.margin),
        lost_messages: assessed.retention.map(|retention| retention.lost),
        lag_seconds,
        lag_floor_seconds,
        status: assessed.rule.status().map(|status| status.name()),
        status_rule: assessed.rule.description(),
        track: evidence.track(place),
        history: history(lag, sight, room),
        start_steps: steps.into_iter().flatten().collect(),
    }
}

fn history(lag: &PartitionLag, sight: Sight<'_>, room: &mut Room) -> History {
    let Sight { now, facts: TopicFacts { ends: history, .. }, .. } = sight;
    let points = || history.iter().flat_map(|history| history.points(lag.partition));
    let held = points().count();
    room.was_too_small |= held > room.points;
    let newest = points().skip(held.saturating_sub(room.points)).map(|point| Point {
        end: point.end.get(),
        first_unix_ms: point.first.get(),
        last_unix_ms: point.last.get(),
    });
    History {
        believes_message_times: history.is_none_or(|history| history.trusts_timestamps(lag.partition, now)),
        held,
        points: newest.collect(),
    }
}

fn polling(record: PollStatus, at: Option<tokio::time::Instant>, hold: Duration, now: Now) -> Polling {
    Polling {
        last_attempt: match (record.attempted, record.failing) {
            (false, _) => "none",
            (true, true) => "failing",
            (true, false) => "ok",
        },
        last_success: record.last_success.map(Moment::from),
        answer_age_seconds: at.map(|at| now.mono.duration_since(at).as_secs_f64()),
        is_held: record.failing && at.is_some(),
        kept_for_seconds: hold.as_secs_f64(),
    }
}

fn source(origin: &ResponseOrigin) -> Source {
    Source {
        request_id: origin.request_id.as_deref().map(str::to_owned),
        earliest: origin.span.earliest().into(),
        latest: origin.span.latest().into(),
    }
}

/// Milliseconds as the page has them.
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1e3
}

/// How much may be told.
#[derive(Debug, Default)]
struct Room {
    /// Partitions that may still be told.
    partitions: usize,
    /// Points of each partition.
    points: usize,
    /// Something was left out.
    was_too_small: bool,
}

impl Room {
    fn for_partitions(partitions: usize) -> Self {
        let points = MAX_POINTS_IN_ALL / partitions.clamp(1, MAX_PARTITIONS);
        Self { partitions: MAX_PARTITIONS, points: points.min(MAX_POINTS), was_too_small: false }
    }

    /// Takes room for a topic. How many of its partitions may be told; `None` if it may not even be named.
    fn take(&mut self, partitions: usize) -> Option<usize> {
        // A name takes room too.
        let taken = partitions.max(1).min(self.partitions);
        self.was_too_small |= taken < partitions || taken == 0;
        self.partitions -= taken;
        (taken > 0).then_some(taken)
    }
}
