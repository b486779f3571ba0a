//! What is told of a group is what is shown of it, with where it comes from, and it has an end.

use serde_json::{Value, json};

use super::{
    state::{Case, clean},
    *,
};
use crate::{
    collect::{
        desk::{self, Question},
        state::{PollResponse, explain::Explained},
    },
    model::GroupState,
};

const NOW: i64 = 1_790_000_000_000;

fn question() -> Question {
    Question::new("i", "g", None, None, None).unwrap()
}

fn target() -> PollTarget {
    PollTarget::GroupProgress(id("i"), group("g"))
}

fn at(earliest: i64, latest: i64, request_id: &str) -> ResponseOrigin {
    ResponseOrigin { span: TimeSpan::new(wall(earliest), wall(latest)), request_id: Some(request_id.into()) }
}

impl Case {
    fn explained(&self) -> Explained {
        match Case::explain(self, &question()) {
            desk::Answer::Found(explained) => *explained,
            unknown => panic!("{unknown:?}"),
        }
    }

    fn json(&self) -> Value {
        serde_json::to_value(self.explained()).unwrap()
    }

    fn heard(&mut self, progress: GroupProgress, origin: ResponseOrigin) {
        self.answer(&target(), PollResponse::GroupProgress(clean(progress), origin));
    }

    fn holds(&mut self, status: TopicStatus, origin: ResponseOrigin) {
        let target = PollTarget::TopicStatus(id("i"), topic("t").name);
        self.answer(&target, PollResponse::TopicStatus(clean(status), origin));
    }
}

fn partition(number: u32, end: i64, committed: i64, last_consumed: i64) -> PartitionProgress {
    PartitionProgress {
        partition: Partition(number),
        end: Offset::new(end),
        committed: Offset::new(committed),
        last_consumed: UnixMillis::new(last_consumed),
    }
}

fn of_partitions(partitions: Vec<PartitionProgress>) -> GroupProgress {
    let topics = vec![TopicProgress { topic: topic("t").name, total_diff: None, partitions }];
    GroupProgress { topics, ..GroupProgress::default() }
}

/// An end offset, a start, and when the newest message was written.
fn holding(start: i64, end: i64, last_write: i64) -> TopicStatus {
    let mut status = status(end);
    status.partitions[0].start = Offset::new(start);
    status.partitions[0].last_write = UnixMillis::new(last_write);
    status
}

#[test]
fn before_the_first_answer_it_says_so() {
    let case = Case::with(&["t"], &["g"]);
    let json = case.json();
    assert_eq!((&json["group"], &json["listed"]), (&json!("g"), &json!(true)));
    assert_eq!(json["polling"]["last_attempt"], "none");
    for absent in ["answer", "topics", "lag_messages", "lag_seconds", "status", "state", "account"] {
        assert_eq!(json[absent], Value::Null, "{absent}");
    }
}

#[test]
fn fields_are_those_of_the_answers_with_where_they_come_from() {
    let mut case = Case::with(&["t"], &["g"]);
    case.holds(holding(30, 90, NOW - 5_000), at(NOW - 900, NOW, "OF-TOPIC"));
    let answer = of_partitions(vec![partition(0, 100, 40, NOW - 60_000)]);
    case.heard(GroupProgress { state: Some(GroupState::Stable), ..answer }, at(NOW, NOW + 999, "OF-GROUP"));
    case.after(7);
    let json = case.json();
    assert_eq!(json["answer"]["request_id"], "OF-GROUP");
    assert_eq!(json["answer"]["earliest"], json!({"utc": "2026-09-21T14:13:20.000Z", "unix_ms": NOW}));
    assert_eq!(json["answer"]["latest"]["unix_ms"], NOW + 999);
    assert_eq!((&json["state"], &json["lag_messages"]), (&json!("stable"), &json!(60)));
    assert_eq!(json["polling"]["answer_age_seconds"], 7.0);
    let topic = &json["topics"][0];
    assert_eq!((&topic["topic"], &topic["answer"]["request_id"]), (&json!("t"), &json!("OF-TOPIC")));
    let p = &topic["partitions"][0];
    assert_eq!((&p["progress"]["BrokerOffset"], &p["progress"]["ConsumerOffset"]), (&json!(100), &json!(40)));
    assert_eq!(p["progress"]["LastTimestamp"]["unix_ms"], NOW - 60_000);
    let status = &p["topic_status"];
    assert_eq!((&status["MinOffset"], &status["MaxOffset"]), (&json!(30), &json!(90)));
    assert_eq!(status["LastUpdateTimestamp"]["unix_ms"], NOW - 5_000);
    assert_eq!((&p["lag_messages"], &p["retention_margin_messages"]), (&json!(60), &json!(10)));
    assert_eq!(p["lost_messages"], 0);
}

#[test]
fn a_value_that_is_kept_after_a_failure_is_told_to_be_and_one_that_was_dropped_is_not_shown() {
    let mut case = Case::with(&["t"], &["g"]);
    case.heard(of_partitions(vec![partition(0, 100, 40, 0)]), at(NOW, NOW, "A"));
    let ok = case.explained().polling;
    assert_eq!((ok.last_attempt, ok.is_held, ok.kept_for_seconds), ("ok", false, 180.0));
    case.after(60);
    case.apply(&target(), Err(error(Action::GetConsumerProgress, ErrorKind::Server)));
    let explained = case.explained();
    let Explained { polling, lag_messages, .. } = &explained;
    assert_eq!((polling.last_attempt, polling.is_held, *lag_messages), ("failing", true, Some(60)));
    assert_eq!(polling.last_success.clone().unwrap().unix_ms, ok.last_success.unwrap().unix_ms);
    case.after(121);
    case.view();
    let explained = case.explained();
    assert_eq!((explained.lag_messages, explained.polling.is_held), (None, false));
    assert!(explained.topics.is_none() && explained.state.is_none());
    assert_eq!(explained.answer.unwrap().request_id.unwrap(), "A", "the last that was heard of it");
}

#[test]
fn each_term_is_told_or_why_it_is_not_and_the_one_that_is_shown_is_named() {
    let mut case = Case::with(&["t"], &["g"]);
    let terms = |case: &Case| {
        let json = case.json();
        let p = &json["topics"][0]["partitions"][0];
        let bound = |name: &str| {
            let term = |i: usize| {
                let term = &p[name]["terms"][i];
                term["seconds"]
                    .as_f64()
                    .map_or_else(|| term["absent"].as_str().unwrap().to_owned(), |s| s.to_string())
            };
            let from = p[name]["from"].as_str().unwrap_or("nothing").to_owned();
            (p[name]["seconds"].as_f64(), from, term(0), term(1))
        };
        (bound("lag_seconds"), bound("lag_floor_seconds"))
    };
    let s = str::to_owned;
    // All is read.
    case.heard(of_partitions(vec![partition(0, 100, 100, NOW - 90_000)]), at(NOW, NOW, "A"));
    let (ceiling, floor) = terms(&case);
    let read = || (Some(0.0), s("all is read"), s("all is read"), s("all is read"));
    assert_eq!((ceiling, floor), (read(), read()));
    // The poll before has seen it end there.
    case.after(60);
    case.heard(
        of_partitions(vec![partition(0, 110, 100, NOW - 90_000)]),
        at(NOW + 60_000, NOW + 60_000, "B"),
    );
    let (ceiling, floor) = terms(&case);
    assert_eq!(ceiling, (Some(60.0), s("not_written_at"), s("150"), s("60")));
    assert_eq!(
        (floor.0, floor.2.as_str(), floor.3.as_str()),
        (Some(0.0), "the topic's status is not known", "0")
    );
    // A status tells when the newest was written, the next poll that nothing was read.
    case.holds(holding(0, 110, NOW + 20_000), at(NOW + 70_000, NOW + 70_000, "C"));
    case.after(60);
    case.heard(of_partitions(vec![partition(0, 110, 100, 0)]), at(NOW + 120_000, NOW + 120_000, "D"));
    let (ceiling, floor) = terms(&case);
    assert_eq!(ceiling, (Some(120.0), s("not_written_at"), s("210"), s("120")), "nothing was read since");
    assert_eq!(floor, (Some(100.0), s("last_write"), s("100"), s("60")));
    // Nobody has told what the consumer's offset is.
    case.heard(of_partitions(vec![partition(0, 110, -1, 0)]), at(NOW + 130_000, NOW + 130_000, "E"));
    let (ceiling, floor) = terms(&case);
    let unknown = || (None, s("nothing"), s("an offset is not known"), s("an offset is not known"));
    assert_eq!((ceiling, floor), (unknown(), unknown()));
}

#[test]
fn times_that_contradict_polls_are_told_not_to_be_believed_and_hidden_ones_to_be_hidden() {
    let mut case = Case::with(&["t"], &["g"]);
    case.heard(of_partitions(vec![partition(0, 100, 100, 0)]), at(NOW, NOW, "A"));
    case.after(60);
    // The message after was written within this minute, by polls, and an hour ago, by its time.
    let odd = partition(0, 110, 105, NOW - 3_600_000);
    case.heard(of_partitions(vec![odd]), at(NOW + 60_000, NOW + 60_000, "B"));
    let json = case.json();
    let p = &json["topics"][0]["partitions"][0];
    assert_eq!(p["history"]["believes_message_times"], false);
    let absent = p["lag_seconds"]["terms"][0]["absent"].as_str().unwrap();
    assert!(absent.starts_with("not believed"), "{absent}");

    let mut case = Case::with(&["t"], &["g"]);
    case.heard(of_partitions(vec![partition(0, 100, 100, 0)]), at(NOW, NOW, "A"));
    assert_eq!(case.explained().asked_for_last_timestamp, Some(true));
    case.after(60);
    case.heard(of_partitions(vec![partition(0, 110, 100, 0)]), at(NOW + 60_000, NOW + 60_000, "B"));
    let json = case.json();
    assert_eq!(json["asked_for_last_timestamp"], false, "all was read when it was asked");
    let term = &json["topics"][0]["partitions"][0]["lag_seconds"]["terms"][0];
    assert!(term["absent"].as_str().unwrap().starts_with("hidden"), "{term}");
}

#[test]
fn the_points_of_its_history_are_those_that_polls_have_seen() {
    let mut case = Case::with(&["t"], &["g"]);
    for poll in 0..4 {
        let (end, moment) = (100 + 10 * poll, NOW + 60_000 * poll);
        case.heard(of_partitions(vec![partition(0, end, 95, 0)]), at(moment, moment, "A"));
        case.after(60);
    }
    let history = &case.explained().topics.unwrap()[0].partitions[0].history.clone();
    let points: Vec<_> = history.points.iter().map(|p| (p.end, p.first_unix_ms - NOW)).collect();
    assert_eq!(points, [(100, 0), (110, 60_000), (120, 120_000), (130, 180_000)]);
    assert_eq!(history.held, 4);
}

#[test]
fn an_answer_has_an_end_and_says_what_it_leaves_out() {
    let mut case = Case::with(&["t"], &["g"]);
    let many = |n| (0..n).map(|p| partition(p, 100 + i64::from(p), 40, 0)).collect::<Vec<_>>();
    case.heard(of_partitions(many(2_000)), at(NOW, NOW, "A"));
    assert!(!case.explained().truncated);
    case.heard(of_partitions(many(2_001)), at(NOW, NOW, "A"));
    let explained = case.explained();
    let topic = &explained.topics.as_ref().unwrap()[0];
    assert_eq!((topic.partition_count, topic.partitions.len(), explained.truncated), (2_001, 2_000, true));

    let topics = (0..2_500).map(|n| TopicProgress {
        topic: TopicName::new(&format!("t{n:04}")).unwrap(),
        total_diff: None,
        partitions: Vec::new(),
    });
    case.heard(GroupProgress { topics: topics.collect(), ..GroupProgress::default() }, at(NOW, NOW, "A"));
    let explained = case.explained();
    assert_eq!((explained.topics.unwrap().len(), explained.truncated), (2_000, true));

    // The last of many can be asked for.
    let last = Question::new("i", "g", Some("t2499"), None, None).unwrap();
    let desk::Answer::Found(explained) = case.explain(&last) else { panic!("it is there") };
    assert_eq!((explained.topics.unwrap()[0].topic.as_str(), explained.truncated), ("t2499", false));
}

#[test]
fn points_are_the_newest_where_there_are_too_many() {
    let mut case = Case::with(&["t"], &["g"]);
    for poll in 0..100 {
        let (end, moment) = (100 + poll, NOW + 60_000 * poll);
        case.heard(of_partitions(vec![partition(0, end, 95, 0)]), at(moment, moment, "A"));
    }
    let explained = case.explained();
    let history = &explained.topics.as_ref().unwrap()[0].partitions[0].history;
    assert!(history.held > 64 && history.points.len() == 64 && explained.truncated, "{}", history.held);
    assert_eq!(history.points.last().unwrap().end, 199);
}

/// Bounds the memory that an answer takes, and how long a loop is held up for one.
#[test]
fn the_largest_answer_is_a_few_megabytes() {
    let mut case = Case::with(&["t"], &["g"]);
    for poll in 0..20 {
        let partitions = (0..2_000).map(|p| partition(p, 1_000_000 + poll, 40, NOW));
        let moment = NOW + 60_000 * poll;
        case.heard(of_partitions(partitions.collect()), at(moment, moment, "A"));
    }
    let explained = case.explained();
    let json = serde_json::to_string_pretty(&explained).unwrap();
    let points: usize = explained.topics.unwrap()[0].partitions.iter().map(|p| p.history.points.len()).sum();
    assert!(points <= 16_000, "{points}");
    assert!(json.len() < 8 << 20, "{} bytes", json.len());
}

/// A group that was polled each minute and has answered with these (end, committed).
fn polled(answers: &[(i64, i64)]) -> Case {
    let mut case = Case::with(&["t"], &["g"]);
    for (poll, (end, committed)) in (0..).zip(answers) {
        let moment = NOW + 60_000 * poll;
        case.heard(of_partitions(vec![partition(0, *end, *committed, 0)]), at(moment, moment, "A"));
        case.after(60);
    }
    case
}

#[test]
fn the_status_of_a_partition_comes_with_the_rule_that_made_it() {
    let still = |answers: usize| vec![(100, 40); answers];
    for (answers, status, rule) in [
        (vec![(100, -1)], None, "no committed offset"),
        (vec![(100, 40), (110, 50)], None, "Fewer than 5 consecutive polls"),
        (still(6), None, "shorter than the window"),
        (
            still(12),
            Some("stalled"),
            "at least the window, and the group has members or does not report them",
        ),
        (vec![(100, 40), (110, 50), (120, 60), (130, 70), (140, 80)], Some("ok"), "moved"),
        (vec![(100, 40), (110, 20), (120, 30)], Some("rewound"), "moved back"),
        (vec![(100, 40), (110, 120)], Some("rewound"), "beyond the end"),
    ] {
        let explained = polled(&answers).explained();
        let p = &explained.topics.as_ref().unwrap()[0].partitions[0];
        assert_eq!(p.status, status, "{answers:?}");
        assert!(p.status_rule.contains(rule), "{answers:?}: {}", p.status_rule);
    }
    let mut case = polled(&[(100, 40)]);
    case.holds(holding(50, 100, 0), at(NOW, NOW, "T"));
    case.view();
    let explained = case.explained();
    let p = &explained.topics.as_ref().unwrap()[0].partitions[0];
    assert_eq!((p.status, p.lost_messages), (Some("data loss"), Some(10)));
    assert!(p.status_rule.contains("before the oldest message"), "{}", p.status_rule);
    assert_eq!(explained.status_rule, format!("Topic t: Partition 0: {}", p.status_rule), "told at the top");

    let mut case = Case::with(&["t"], &["g"]);
    for poll in 0..12 {
        let moment = NOW + 60_000 * poll;
        let answer = of_partitions(vec![partition(0, 100, 40, 0)]);
        case.heard(GroupProgress { state: Some(GroupState::Empty), ..answer }, at(moment, moment, "A"));
    }
    let explained = case.explained();
    let p = &explained.topics.as_ref().unwrap()[0].partitions[0];
    assert_eq!((explained.status, p.status), (Some("stopped"), Some("stopped")));
    assert!(p.status_rule.contains("no members"), "{}", p.status_rule);
}

#[test]
fn what_successive_answers_tell_is_told_with_its_samples() {
    // 20 messages a minute are written, 10 are read, until it falls back.
    let mut answers: Vec<_> = (0..12).map(|n| (1_000 + 20 * n, 100 + 10 * n)).collect();
    let explained = polled(&answers).explained();
    let topic = &explained.topics.as_ref().unwrap()[0];
    assert_eq!((topic.status, explained.status), (Some("lagging"), Some("lagging")));
    assert!(topic.status_rule.contains("lag grows by more than noise"), "{}", topic.status_rule);
    let window = topic.window.as_ref().unwrap();
    assert_eq!((window.answers, window.was_caught_up), (12, false));
    let (samples, trend) = (&window.samples, window.lag_trend.unwrap());
    assert!((trend.growth / (trend.seconds / 60.0) - 10.0).abs() < 0.01 && trend.error < 0.01, "{trend:?}");
    let written: u32 = samples.iter().skip(1).map(|s| s.produced_messages).sum();
    assert_eq!(u64::from(written), window.produced_messages);
    let newest = samples.last().unwrap();
    assert_eq!((newest.at.unix_ms, newest.lag_messages), (NOW + 11 * 60_000, 1_010.0));
    let (read, wrote) = (topic.consumed_messages_per_second, topic.produced_messages_per_second);
    assert!((read.unwrap() * 60.0 - 10.0).abs() < 0.01 && (wrote.unwrap() * 60.0 - 20.0).abs() < 0.01);
    assert_eq!(topic.catch_up_seconds, None, "it never will");

    answers.push((1_240, 150));
    let explained = polled(&answers).explained();
    let p = &explained.topics.as_ref().unwrap()[0].partitions[0];
    let rewind = p.track.as_ref().unwrap().rewind.as_ref().unwrap();
    assert_eq!((rewind.from_offset, rewind.at.unix_ms), (210, NOW + 12 * 60_000));
}

#[test]
fn steps_of_a_start_are_told_with_their_moments() {
    let mut case = polled(&[(1_000, 900)]);
    for (minute, start) in [(0, 100), (1, 100), (2, 300), (3, 500)] {
        let moment = NOW + 60_000 * minute;
        case.holds(holding(start, 1_000, 0), at(moment, moment, "T"));
    }
    let explained = case.explained();
    let steps = &explained.topics.as_ref().unwrap()[0].partitions[0].start_steps;
    let steps: Vec<_> = steps.iter().map(|s| (s.start, i64::from(s.unix_seconds) - NOW / 1_000)).collect();
    assert_eq!(steps, [(300, 120), (500, 180)]);
}
