//! Status of groups in named scenarios.

use std::{collections::BTreeMap, fmt::Write as _};

use alikafka_exporter::lag::status::Status;
use alikafka_simulator::{
    Burst, ConsumerMode, GroupSpec, InstanceSpec, OffsetSpec, ProduceRate, TopicSpec, World, WorldOptions,
};
use tokio::time::Duration;

use super::harness::{LagHarness, PollingBehavior, REGION};

/// Passes until a stuck group must be detected: a window of ten minutes and two more.
const DETECTED_AFTER: u32 = 12;
/// Pass of the events.
const EVENT: u32 = 20;
const PASSES: u32 = 45;
/// Minimum polls for a status.
const MIN_POLLS: u32 = 5;

/// Change of the world for one group.
type ScenarioEvent = fn(&mut World, &str);

/// Group with its own topic of the same name.
struct Scenario {
    name: &'static str,
    rate: ProduceRate,
    consumer: ConsumerMode,
    from: OffsetSpec,
    event: Option<ScenarioEvent>,
    /// Allowed before the event, or at any time without one, once the time for detection has passed.
    before: &'static [Option<Status>],
    /// Allowed from the first poll after the event.
    immediately: &'static [Option<Status>],
    /// Allowed after the time for detection.
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
const ANY_KNOWN: &[Option<Status>] = &[
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
    status: &'static [Option<Status>],
) -> Scenario {
    Scenario { name, rate, consumer, from, event: None, before: status, immediately: status, after: status }
}

fn scenarios() -> Vec<Scenario> {
    use ConsumerMode::{Flapping, Healthy, Paced, Stalled, Stopped};
    let steady = ProduceRate::per_second(10);
    let bursty = ProduceRate { per_hour: 36_000, burst: Some(Burst { period_ms: 420_000, on_ms: 60_000 }) };
    let flapping = Flapping { period_ms: 1_200_000, stalled_ms: 420_000 };
    let event = |name, consumer, event: ScenarioEvent, before, immediately, after| Scenario {
        event: Some(event),
        before,
        immediately,
        after,
        ..always(name, steady, consumer, OffsetSpec::End, before)
    };
    vec![
        always("healthy", steady, Healthy, OffsetSpec::End, OK),
        always("healthy, bursts", bursty, Healthy, OffsetSpec::End, OK),
        always("healthy, a message in twenty minutes", ProduceRate::steady(3), Healthy, OffsetSpec::End, OK),
        always("healthy, no lag", ProduceRate::IDLE, Healthy, OffsetSpec::End, OK),
        always("stalled, no lag", ProduceRate::IDLE, Stalled, OffsetSpec::End, OK),
        always("stopped, no lag", ProduceRate::IDLE, Stopped, OffsetSpec::End, OK),
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
            ANY_KNOWN,
            STALLED,
        ),
        event(
            "stalls, then nothing is produced",
            Healthy,
            |w, name| {
                w.set_consumer_mode("i", name, Stalled).unwrap();
                w.append("i", name, 0, 500).unwrap();
                w.set_produce_rate("i", name, ProduceRate::IDLE).unwrap();
            },
            OK,
            ANY_KNOWN,
            STALLED,
        ),
        event(
            "stalls in an endless rebalance",
            Healthy,
            |w, name| w.rebalance("i", name, 36_000_000).unwrap(),
            OK,
            ANY_KNOWN,
            STALLED,
        ),
        event(
            "stops",
            Healthy,
            |w, name| w.set_consumer_mode("i", name, Stopped).unwrap(),
            OK,
            ANY_KNOWN,
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
            "rewound, then consumes slowly",
            Healthy,
            |w, name| {
                w.set_consumer_mode("i", name, Paced { percent: 101 }).unwrap();
                w.reset_offsets("i", name, OffsetSpec::Back(9_000)).unwrap();
            },
            OK,
            &[Some(Status::Rewound), Some(Status::Ok)],
            ANY_KNOWN,
        ),
        event(
            "rewound and stopped",
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
            "beyond the end of a recreated topic",
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
            "messages deleted before they are read",
            Stopped,
            |w, name| {
                let end = w.topic_truth("i", name).unwrap().partitions[0].end;
                w.delete_records("i", name, 0, end - 10).unwrap();
            },
            STOPPED,
            ANY_KNOWN,
            DATA_LOSS,
        ),
    ]
}

/// Number of each status by scenario, and the wrong ones.
#[derive(Default)]
struct ConfusionMatrix {
    rows: BTreeMap<&'static str, BTreeMap<Option<Status>, u32>>,
    wrong: Vec<String>,
}

impl ConfusionMatrix {
    fn record(&mut self, scenario: &Scenario, pass: u32, status: Option<Status>) {
        *self.rows.entry(scenario.name).or_default().entry(status).or_default() += 1;
        let after = if scenario.event.is_some() { pass.checked_sub(EVENT) } else { None };
        let allowed = match after {
            None if pass < MIN_POLLS - 1 => UNKNOWN,
            None if pass < DETECTED_AFTER && scenario.before != OK && scenario.before != UNKNOWN => return,
            None => scenario.before,
            Some(since) if since < DETECTED_AFTER => scenario.immediately,
            Some(_) => scenario.after,
        };
        if !allowed.contains(&status) {
            self.wrong.push(format!("{}, pass {pass}: {status:?}", scenario.name));
        }
    }

    fn table(&self) -> String {
        let statuses: Vec<Option<Status>> = [None].into_iter().chain(ANY_KNOWN.iter().copied()).collect();
        let mut table = format!("{:<42}", "");
        for status in &statuses {
            let name = status.map_or("absent".to_owned(), |status| format!("{status:?}"));
            let _ = write!(table, "{name:>10}");
        }
        for (name, counts) in &self.rows {
            let _ = write!(table, "\n{name:<42}");
            for status in &statuses {
                let _ = write!(table, "{:>10}", counts.get(status).map_or(String::new(), u32::to_string));
            }
        }
        format!("{table}\n{}", self.wrong.join("\n"))
    }
}

async fn confusion(commit: Duration, behavior: PollingBehavior) -> ConfusionMatrix {
    let options = WorldOptions { commit_interval: commit, ..WorldOptions::empty([REGION]) };
    let mut harness = LagHarness::start(options, behavior, 1).await;
    harness.with_world(|w| w.add_instance(REGION, InstanceSpec::new("i")));
    let scenarios = scenarios();
    for s in &scenarios {
        harness
            .with_world(|w| w.add_topic("i", TopicSpec { rate: s.rate, ..TopicSpec::new(s.name, 2) }))
            .unwrap();
    }
    harness.advance(Duration::from_secs(3_600));
    for s in &scenarios {
        let group = GroupSpec { consumer: s.consumer, from: s.from, ..GroupSpec::new(s.name, &[s.name]) };
        harness.with_world(|w| w.add_group("i", group)).unwrap();
    }
    harness.advance(Duration::from_secs(30));
    let mut confusion = ConfusionMatrix::default();
    for pass in 0..PASSES {
        if pass == EVENT {
            for s in &scenarios {
                harness.with_world(|w| s.event.iter().for_each(|deed| deed(w, s.name)));
            }
        }
        harness.pass();
        for s in &scenarios {
            let shown = harness.group_view("i", s.name);
            let status = shown.assessment.as_ref();
            let topic = status.and_then(|status| status.topics.first()).and_then(|topic| topic.status);
            assert_eq!(
                status.and_then(|status| status.status),
                topic,
                "status of the only topic: {}",
                s.name
            );
            confusion.record(s, pass, topic);
        }
    }
    confusion
}

#[tokio::test]
async fn each_status_is_detected_in_time_and_only_then() {
    let confusion = confusion(Duration::from_secs(5), PollingBehavior::GOOD).await;
    assert!(confusion.wrong.is_empty(), "{}", confusion.table());
}

#[tokio::test]
async fn late_polls_and_rare_commits_do_not_look_stuck() {
    let behavior =
        PollingBehavior { late_percent: 60, fails_percent: 5, width_ms: 1_000, ..PollingBehavior::GOOD };
    let confusion = confusion(Duration::from_secs(45), behavior).await;
    for (name, counts) in &confusion.rows {
        let is_healthy =
            ["healthy", "slow", "catching up", "flapping"].iter().any(|healthy| name.starts_with(healthy));
        assert!(
            !is_healthy || counts.keys().all(|status| *status <= Some(Status::Lagging)),
            "{name}: {}",
            confusion.table()
        );
    }
    for (name, status) in [("stalled", Status::Stalled), ("stopped", Status::Stopped)] {
        assert!(confusion.rows[name].get(&Some(status)) > Some(&25), "{name}: {}", confusion.table());
    }
}
