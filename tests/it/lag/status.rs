//! What is the matter with a group, over scenarios whose name says it.

use std::{collections::BTreeMap, fmt::Write as _};

use alikafka_exporter::lag::status::Status;
use alikafka_simulator::{
    Burst, ConsumerMode, GroupSpec, InstanceSpec, OffsetSpec, ProduceRate, TopicSpec, World, WorldOptions,
};
use tokio::time::Duration;

use super::rig::{Habits, REGION, Rig};

/// Passes of a window of ten minutes and two more: by then what is stuck must be seen.
const SEEN_AFTER: u32 = 12;
/// In this pass things happen to those to whom something happens.
const EVENT: u32 = 20;
const PASSES: u32 = 45;
/// Before so many polls nothing is said.
const POLLS: u32 = 5;

/// What is done to a world, and to whom.
type Deed = fn(&mut World, &str);

/// A group with a topic of its own, both named by what is the matter with it.
struct Scenario {
    name: &'static str,
    rate: ProduceRate,
    consumer: ConsumerMode,
    from: OffsetSpec,
    event: Option<Deed>,
    /// What may be said before the event, or ever, once there has been time to see it.
    before: &'static [Option<Status>],
    /// What may be said from the first poll after the event on.
    at_once: &'static [Option<Status>],
    /// What may be said once there has been time to see it.
    after: &'static [Option<Status>],
}

const OK: &[Option<Status>] = &[Some(Status::Ok)];
const BUSY: &[Option<Status>] = &[Some(Status::Ok), Some(Status::Lagging)];
const LAGGING: &[Option<Status>] = &[Some(Status::Lagging)];
const STALLED: &[Option<Status>] = &[Some(Status::Stalled)];
const STOPPED: &[Option<Status>] = &[Some(Status::Stopped)];
const REWOUND: &[Option<Status>] = &[Some(Status::Rewound)];
const DATA_LOSS: &[Option<Status>] = &[Some(Status::DataLoss)];
const UNKNOWN: &[Option<Status>] = &[None];
const ANY_BUT_NOTHING: &[Option<Status>] = &[
    Some(Status::Ok),
    Some(Status::Lagging),
    Some(Status::Stalled),
    Some(Status::Stopped),
    Some(Status::Rewound),
    Some(Status::DataLoss),
];

fn always(
    name: &'static str,
    rate: ProduceRate,
    consumer: ConsumerMode,
    from: OffsetSpec,
    said: &'static [Option<Status>],
) -> Scenario {
    Scenario { name, rate, consumer, from, event: None, before: said, at_once: said, after: said }
}

fn scenarios() -> Vec<Scenario> {
    use ConsumerMode::{Flapping, Healthy, Paced, Stalled, Stopped};
    let steady = ProduceRate::per_second(10);
    let bursty = ProduceRate { per_hour: 36_000, burst: Some(Burst { period_ms: 420_000, on_ms: 60_000 }) };
    let flapping = Flapping { period_ms: 1_200_000, stalled_ms: 420_000 };
    let event = |name, consumer, event: Deed, before, at_once, after| Scenario {
        event: Some(event),
        before,
        at_once,
        after,
        ..always(name, steady, consumer, OffsetSpec::End, before)
    };
    vec![
        always("healthy", steady, Healthy, OffsetSpec::End, OK),
        always("healthy, bursts", bursty, Healthy, OffsetSpec::End, OK),
        always("healthy, a message in twenty minutes", ProduceRate::steady(3), Healthy, OffsetSpec::End, OK),
        always("healthy, nothing to read", ProduceRate::IDLE, Healthy, OffsetSpec::End, OK),
        always("stalled, nothing to read", ProduceRate::IDLE, Stalled, OffsetSpec::End, OK),
        always("stopped, nothing to read", ProduceRate::IDLE, Stopped, OffsetSpec::End, OK),
        always("slow", steady, Paced { percent: 75 }, OffsetSpec::End, LAGGING),
        always("slow, a little", steady, Paced { percent: 95 }, OffsetSpec::End, LAGGING),
        always("catching up", steady, Paced { percent: 200 }, OffsetSpec::Start, OK),
        always("flapping", steady, flapping, OffsetSpec::End, BUSY),
        always("stalled", steady, Stalled, OffsetSpec::End, STALLED),
        always("stopped", steady, Stopped, OffsetSpec::End, STOPPED),
        always("never committed", steady, Stalled, OffsetSpec::Uncommitted, UNKNOWN),
        event(
            "stalls",
            Healthy,
            |w, name| w.set_consumer_mode("i", name, Stalled).unwrap(),
            OK,
            ANY_BUT_NOTHING,
            STALLED,
        ),
        event(
            "stalls, then nothing is written",
            Healthy,
            |w, name| {
                w.set_consumer_mode("i", name, Stalled).unwrap();
                w.append("i", name, 0, 500).unwrap();
                w.set_produce_rate("i", name, ProduceRate::IDLE).unwrap();
            },
            OK,
            ANY_BUT_NOTHING,
            STALLED,
        ),
        event(
            "stalls in a rebalance without end",
            Healthy,
            |w, name| w.rebalance("i", name, 36_000_000).unwrap(),
            OK,
            ANY_BUT_NOTHING,
            STALLED,
        ),
        event(
            "stops",
            Healthy,
            |w, name| w.set_consumer_mode("i", name, Stopped).unwrap(),
            OK,
            ANY_BUT_NOTHING,
            STOPPED,
        ),
        event(
            "stalled, then stops",
            Stalled,
            |w, name| w.set_consumer_mode("i", name, Stopped).unwrap(),
            STALLED,
            STOPPED,
            STOPPED,
        ),
        event(
            "stalled, then healthy",
            Stalled,
            |w, name| w.set_consumer_mode("i", name, Healthy).unwrap(),
            STALLED,
            OK,
            OK,
        ),
        event(
            "put back, and reads on slowly",
            Healthy,
            |w, name| {
                w.set_consumer_mode("i", name, Paced { percent: 101 }).unwrap();
                w.reset_offsets("i", name, OffsetSpec::Back(9_000)).unwrap();
            },
            OK,
            &[Some(Status::Rewound), Some(Status::Ok)],
            ANY_BUT_NOTHING,
        ),
        event(
            "put back and stopped",
            Healthy,
            |w, name| {
                w.set_consumer_mode("i", name, Stopped).unwrap();
                w.reset_offsets("i", name, OffsetSpec::Back(9_000)).unwrap();
            },
            OK,
            &[Some(Status::Rewound), Some(Status::Stopped)],
            &[Some(Status::Rewound), Some(Status::Stopped)],
        ),
        event(
            "beyond the end of a topic created anew",
            Stopped,
            |w, name| {
                w.set_produce_rate("i", name, ProduceRate::IDLE).unwrap();
                w.recreate_topic("i", name, true).unwrap();
            },
            STOPPED,
            REWOUND,
            REWOUND,
        ),
        event(
            "messages deleted before they were read",
            Stopped,
            |w, name| {
                let end = w.topic_truth("i", name).unwrap().partitions[0].end;
                w.delete_records("i", name, 0, end - 10).unwrap();
            },
            STOPPED,
            ANY_BUT_NOTHING,
            DATA_LOSS,
        ),
    ]
}

/// What was said, by scenario: how often after how much time, and what should not have been said.
#[derive(Default)]
struct Confusion {
    rows: BTreeMap<&'static str, BTreeMap<Option<Status>, u32>>,
    wrong: Vec<String>,
}

impl Confusion {
    fn note(&mut self, scenario: &Scenario, pass: u32, said: Option<Status>) {
        *self.rows.entry(scenario.name).or_default().entry(said).or_default() += 1;
        let after = if scenario.event.is_some() { pass.checked_sub(EVENT) } else { None };
        let allowed = match after {
            None if pass < POLLS - 1 => UNKNOWN,
            None if pass < SEEN_AFTER && scenario.before != OK && scenario.before != UNKNOWN => return,
            None => scenario.before,
            Some(since) if since < SEEN_AFTER => scenario.at_once,
            Some(_) => scenario.after,
        };
        if !allowed.contains(&said) {
            self.wrong.push(format!("{}, pass {pass}: {said:?}", scenario.name));
        }
    }

    fn table(&self) -> String {
        let statuses: Vec<Option<Status>> =
            [None].into_iter().chain(ANY_BUT_NOTHING.iter().copied()).collect();
        let mut table = format!("{:<42}", "");
        for status in &statuses {
            let name = status.map_or("absent".to_owned(), |status| format!("{status:?}"));
            let _ = write!(table, "{name:>10}");
        }
        for (name, said) in &self.rows {
            let _ = write!(table, "\n{name:<42}");
            for status in &statuses {
                let _ = write!(table, "{:>10}", said.get(status).map_or(String::new(), u32::to_string));
            }
        }
        format!("{table}\n{}", self.wrong.join("\n"))
    }
}

async fn confusion(commit: Duration, habits: Habits) -> Confusion {
    let options = WorldOptions { commit_interval: commit, ..WorldOptions::empty([REGION]) };
    let mut rig = Rig::start(options, habits, 1).await;
    rig.world(|w| w.add_instance(REGION, InstanceSpec::new("i")));
    let scenarios = scenarios();
    for s in &scenarios {
        rig.world(|w| w.add_topic("i", TopicSpec { rate: s.rate, ..TopicSpec::new(s.name, 2) })).unwrap();
    }
    rig.advance(Duration::from_secs(3_600));
    for s in &scenarios {
        let group = GroupSpec { consumer: s.consumer, from: s.from, ..GroupSpec::new(s.name, &[s.name]) };
        rig.world(|w| w.add_group("i", group)).unwrap();
    }
    rig.advance(Duration::from_secs(30));
    let mut confusion = Confusion::default();
    for pass in 0..PASSES {
        if pass == EVENT {
            for s in &scenarios {
                rig.world(|w| s.event.iter().for_each(|deed| deed(w, s.name)));
            }
        }
        rig.pass();
        for s in &scenarios {
            let shown = rig.shown("i", s.name);
            let said = shown.assessment.as_ref();
            let topic = said.and_then(|said| said.topics.first()).and_then(|topic| topic.status);
            assert_eq!(said.and_then(|said| said.status), topic, "a group is as its only topic: {}", s.name);
            confusion.note(s, pass, topic);
        }
    }
    confusion
}

#[tokio::test]
async fn what_is_the_matter_is_said_in_time_and_of_nobody_else() {
    let confusion = confusion(Duration::from_secs(5), Habits::GOOD).await;
    assert!(confusion.wrong.is_empty(), "{}", confusion.table());
}

#[tokio::test]
async fn late_polls_and_rare_commits_make_nobody_look_stuck() {
    let habits = Habits { late_percent: 60, fails_percent: 5, width_ms: 1_000, ..Habits::GOOD };
    let confusion = confusion(Duration::from_secs(45), habits).await;
    for (name, said) in &confusion.rows {
        let is_well =
            ["healthy", "slow", "catching up", "flapping"].iter().any(|well| name.starts_with(well));
        assert!(
            !is_well || said.keys().all(|status| *status <= Some(Status::Lagging)),
            "{name}: {}",
            confusion.table()
        );
    }
    for (name, status) in [("stalled", Status::Stalled), ("stopped", Status::Stopped)] {
        assert!(confusion.rows[name].get(&Some(status)) > Some(&25), "{name}: {}", confusion.table());
    }
}
