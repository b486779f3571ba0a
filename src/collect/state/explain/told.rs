//! What is told of one group: plain values, written as JSON field by field as they stand here.

use serde::Serialize;

use crate::model::UnixMillis;

/// All that is told of one group.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// The account's name, where accounts are named.
    pub account: Option<String>,
    /// The region.
    pub region: String,
    /// The instance.
    pub instance_id: String,
    /// The name that its owner gave it.
    pub instance_name: Option<String>,
    /// The group.
    pub group: String,
    /// Whether the list that names it is fresh enough.
    pub listed: bool,
    /// How the attempts at `GetConsumerProgress` went.
    pub polling: Polling,
    /// Where the answer comes from that all below follows from; `None` before there was one.
    pub answer: Option<Source>,
    /// Whether that answer was asked for `LastTimestamp`.
    pub asked_for_last_timestamp: Option<bool>,
    /// Its state, where the cloud tells it.
    pub state: Option<&'static str>,
    /// Its rebalances, where the cloud tells them.
    pub rebalances: Option<Rebalances>,
    /// Messages left to read.
    pub lag_messages: Option<u64>,
    /// Messages left to read that are still held.
    pub consumable_lag_messages: Option<u64>,
    /// Upper bound of the age of the oldest unread message: the largest of all partitions.
    pub lag_seconds: Option<f64>,
    /// Lower bound of the same.
    pub lag_floor_seconds: Option<f64>,
    /// Seconds until all is read at the present pace.
    pub catch_up_seconds: Option<f64>,
    /// What is the matter.
    pub status: Option<&'static str>,
    /// The rule that says so, or why none does.
    pub status_rule: String,
    /// How far back is looked for status, rates and forecasts, in seconds.
    pub window_seconds: f64,
    /// How long the instance keeps messages, in seconds (`MsgRetain`).
    pub retention_seconds: Option<u64>,
    /// Not all partitions, or not all points of their history, are told.
    pub truncated: bool,
    /// The topics of the answer; `None` where it is too old to be shown.
    pub topics: Option<Vec<Topic>>,
    /// What the names of terms mean.
    pub terms: [Legend; 4],
}

/// How the attempts at a target went.
#[derive(Debug, Clone, Serialize)]
pub struct Polling {
    /// `ok`, `failing`, or `none` before the first has ended.
    pub last_attempt: &'static str,
    /// When an attempt last succeeded, by the clock of this host.
    pub last_success: Option<Moment>,
    /// How long ago the answer that is shown came, in seconds.
    pub answer_age_seconds: Option<f64>,
    /// The answer that is shown is kept although a later attempt failed.
    pub is_held: bool,
    /// An answer that cannot be refreshed is dropped at this age, in seconds.
    pub kept_for_seconds: f64,
}

/// Where an answer comes from.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    /// `RequestId`: what the vendor's support asks for.
    pub request_id: Option<String>,
    /// Its numbers were read at this moment, or later.
    pub earliest: Moment,
    /// The same, or earlier.
    pub latest: Moment,
}

/// A moment, for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// RFC 3339; empty for one beyond the calendar.
    pub utc: String,
    /// Milliseconds since 1970-01-01 UTC.
    pub unix_ms: i64,
}

impl From<UnixMillis> for Moment {
    fn from(at: UnixMillis) -> Self {
        let utc = jiff::Timestamp::from_millisecond(at.get()).map(|at| format!("{at:.3}"));
        Self { utc: utc.unwrap_or_default(), unix_ms: at.get() }
    }
}

/// The rebalances of a group.
#[derive(Debug, Clone, Serialize)]
pub struct Rebalances {
    /// How many have been since the exporter first saw the group.
    pub seen: u64,
    /// When the newest one was.
    pub last: Moment,
}

/// One topic that the group reads.
#[derive(Debug, Clone, Serialize)]
pub struct Topic {
    /// The topic.
    pub topic: String,
    /// `delete` or `compact`, where the list of topics tells it.
    pub cleanup: Option<&'static str>,
    /// How the attempts at `GetTopicStatus` went; `None` where the topic is not listed.
    pub polling: Option<Polling>,
    /// Where its status comes from.
    pub answer: Option<Source>,
    /// Messages left to read.
    pub lag_messages: Option<u64>,
    /// Messages left to read that are still held.
    pub consumable_lag_messages: Option<u64>,
    /// Upper bound of the age of the oldest unread message: the largest of its partitions.
    pub lag_seconds: Option<f64>,
    /// Lower bound of the same.
    pub lag_floor_seconds: Option<f64>,
    /// Messages a second that the group has read over the window.
    pub consumed_messages_per_second: Option<f64>,
    /// Messages a second that were written over the window.
    pub produced_messages_per_second: Option<f64>,
    /// Seconds until all is read at the present pace.
    pub catch_up_seconds: Option<f64>,
    /// Seconds until messages are deleted before they are read.
    pub data_loss_eta_seconds: Option<f64>,
    /// What is the matter.
    pub status: Option<&'static str>,
    /// The rule that says so, or why none does.
    pub status_rule: String,
    /// What answers have told within the window; `None` where none has told the topic's lag.
    pub window: Option<Window>,
    /// Partitions that the answer has.
    pub partition_count: usize,
    /// As many as there is room for.
    pub partitions: Vec<Partition>,
}

/// One partition of it.
#[derive(Debug, Clone, Serialize)]
pub struct Partition {
    /// The partition.
    pub partition: u32,
    /// What the last `GetConsumerProgress` says.
    pub progress: Progress,
    /// What the last `GetTopicStatus` says; `None` where it is not known.
    pub topic_status: Option<TopicStatus>,
    /// Messages left to read.
    pub lag_messages: Option<u64>,
    /// Messages between the oldest one held and the committed offset.
    pub retention_margin_messages: Option<u64>,
    /// Messages that were deleted before the group has read them.
    pub lost_messages: Option<u64>,
    /// Upper bound of the age of the oldest unread message.
    pub lag_seconds: Bound,
    /// Lower bound of the same.
    pub lag_floor_seconds: Bound,
    /// What is the matter.
    pub status: Option<&'static str>,
    /// The rule that says so, or why none does.
    pub status_rule: &'static str,
    /// What successive answers have told.
    pub track: Option<Track>,
    /// Where the partition ended, and when.
    pub history: History,
    /// Where it began after each step of its start that is remembered, and when.
    pub start_steps: Vec<Step>,
}

/// What answers have told of a topic within the window.
#[derive(Debug, Clone, Serialize)]
pub struct Window {
    /// Answers in a row that told the topic's lag, up to 255.
    pub answers: u8,
    /// Messages read over the window.
    pub consumed_messages: u64,
    /// Messages written over the window.
    pub produced_messages: u64,
    /// Whether there was no lag at some answer of it.
    pub was_caught_up: bool,
    /// How lag grows, in messages.
    pub lag_trend: Option<Trend>,
    /// How the age of the oldest unread message grows, in seconds.
    pub age_trend: Option<Trend>,
    /// Samples of it, oldest first.
    pub samples: Vec<Sample>,
}

/// A straight line through the samples.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Trend {
    /// How much it rises from the first to the last.
    pub growth: f64,
    /// The standard error of that. Growth of no more than three times as much is noise.
    pub error: f64,
    /// From the first to the last.
    pub seconds: f64,
}

/// One sample of a window.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// The moment of the answer.
    pub at: Moment,
    /// Messages read since the sample before.
    pub consumed_messages: u32,
    /// Messages written since the sample before.
    pub produced_messages: u32,
    /// Messages left to read: exact to 16 million, and to 7 digits beyond.
    pub lag_messages: f32,
    /// Upper bound of the age of the oldest unread message, where one was known.
    pub lag_seconds: Option<f64>,
    /// Lower bound of the same, where that was all.
    pub lag_floor_seconds: Option<f64>,
}

/// What successive answers have told of a partition.
#[derive(Debug, Clone, Serialize)]
pub struct Track {
    /// Answers in a row that told its lag, up to 7.
    pub answers: u8,
    /// Since when there has been lag, and the same committed offset.
    pub still_since: Option<Moment>,
    /// Whether that is for at least the window.
    pub is_stuck: bool,
    /// Whether anything else was seen before that.
    pub was_moving: bool,
    /// A fall of the committed offset that has not been made up for, within the window.
    pub rewind: Option<Rewind>,
}

/// A committed offset that fell.
#[derive(Debug, Clone, Serialize)]
pub struct Rewind {
    /// Where it was before.
    pub from_offset: i64,
    /// The moment of the answer that told it.
    pub at: Moment,
}

/// A step of a start.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Step {
    /// `MinOffset` after it.
    pub start: i64,
    /// When a status told it, in seconds since 1970-01-01 UTC.
    pub unix_seconds: u32,
}

/// Fields of `GetConsumerProgress`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Progress {
    /// The partition's end offset.
    pub broker_offset: Option<i64>,
    /// The committed offset.
    pub consumer_offset: Option<i64>,
    /// Store time of the last consumed message, also where an earlier answer told it and nothing was read since.
    pub last_timestamp: Option<Moment>,
}

/// Fields of `GetTopicStatus`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TopicStatus {
    /// The oldest offset that is held.
    pub min_offset: Option<i64>,
    /// Where the next message goes.
    pub max_offset: Option<i64>,
    /// When the newest message was written.
    pub last_update_timestamp: Option<Moment>,
}

/// One bound of an age.
#[derive(Debug, Clone, Serialize)]
pub struct Bound {
    /// What is shown, in seconds.
    pub seconds: Option<f64>,
    /// The term that it comes from, or why it comes from none.
    pub from: Option<&'static str>,
    /// Its terms.
    pub terms: [Term; 2],
}

/// One term of a bound.
#[derive(Debug, Clone, Serialize)]
pub struct Term {
    /// Its name.
    pub term: &'static str,
    /// What it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<&'static str>,
}

/// What a term means.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Legend {
    /// Its name.
    pub term: &'static str,
    /// `lag_seconds` or `lag_floor_seconds`.
    pub of: &'static str,
    /// How long ago what was.
    pub since: &'static str,
}

/// Where a partition ended, and when.
#[derive(Debug, Clone, Serialize)]
pub struct History {
    /// Whether message times of the partition are believed; not if they contradict what polls have seen.
    pub believes_message_times: bool,
    /// Points that are held.
    pub held: usize,
    /// The newest of them, oldest first.
    pub points: Vec<Point>,
}

/// One point of it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Point {
    /// Where the partition ended.
    pub end: i64,
    /// At the latest, when it was first seen to end there, in milliseconds since 1970-01-01 UTC.
    pub first_unix_ms: i64,
    /// At the earliest, when it was last seen to end there.
    pub last_unix_ms: i64,
}

/// What is known where a group, or its topic, is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Instances of the region.
    pub instances: usize,
    /// Groups of the instance; `None` where it is not known.
    pub groups_of_instance: Option<usize>,
    /// Topics of the group; `None` where it is not known.
    pub topics_of_group: Option<usize>,
}
