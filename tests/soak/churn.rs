//! A day of churn in minutes: objects are created, deleted and renamed, calls fail in every way. The exporter must expose
//! no wrong value, and must not use more resources at the end than at the start.

use std::{collections::VecDeque, time::Duration};

use alikafka_simulator::{
    ClockMode, ConsumerMode, Effect, Fault, GroupSpec, InstanceSpec, Occurrence, OffsetSpec, ProduceRate,
    ServiceBehaviour, Simulator, SimulatorOptions, TopicSpec, World, WorldOptions, WorldTruth, WrongType,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use test_support::{expected, rng::Rng, series::SeriesSet};

use super::measured_exporter::{self, MeasuredExporter, PassCounter, Sample};

const REGION: &str = "cn-hangzhou";
/// Simulated time per pass: 1,440 passes are a day.
const MINUTE: Duration = Duration::from_secs(60);
/// Percentage of objects that change in each pass.
const CHURN_PERCENT: usize = 1;
/// Fraction of calls that fail.
const FAULTS: f64 = 0.05;
/// Number of past states that a scrape may expose values of. Values are kept for 80 passes; a busy machine is slower.
const MOMENTS: usize = 250;
/// Passes between two checked scrapes.
const CHECK_EVERY: usize = 10;
/// First pass after the warm-up. Resource usage must not grow from this pass.
const WARM: usize = 200;

/// Length and size of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) passes: usize,
    /// Wall time of a pass.
    pub(crate) pass: Duration,
    pub(crate) instances: u32,
    pub(crate) topics: u32,
    pub(crate) groups: u32,
    /// Passes between two samples.
    pub(crate) sample: usize,
}

pub(crate) async fn run(seed: u64, scale: Scale) {
    println!("churn: seed {seed}, {scale:?}");
    let sim = cloud(seed, scale).await;
    let exporter = MeasuredExporter::start(&sim.url(), &settings(scale)).await;
    let anchors = truth_groups(&sim.truth());
    let mut passes = PassCounter::new(anchors, scale.pass);
    let mut churn = Churn { rng: Rng::new(seed), created: Vec::new(), last_number: 0, due: 0, edits: 0 };
    let mut moments = VecDeque::from([expected::all_series(&sim.truth())]);
    wait_until_correct(&sim, &exporter, "before the faults").await;
    // Resets the descriptor count after the start.
    exporter.sample(0).await;
    add_faults(&sim, seed);

    let (mut samples, began) = (Vec::<Sample>::new(), Instant::now());
    let (mut compared, mut lacking) = (0, Vec::new());
    let mut tick = interval(scale.pass);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut pass, mut checked) = (0, 0);
    while pass < scale.passes {
        tick.tick().await;
        let before = std::mem::replace(&mut pass, passes.count(&sim));
        sim.advance(MINUTE);
        // The lock blocks responses, so each response belongs to a recorded state.
        sim.with_world(|w| {
            moments.push_back(expected::all_series(&w.truth()));
            // On a busy machine, several passes may have ended since the last tick.
            let edited = (before..pass).filter(|_| churn.apply_due(w)).count() > 0;
            if edited {
                moments.push_back(expected::all_series(&w.truth()));
            }
        });
        while moments.len() > MOMENTS {
            moments.pop_front();
        }
        if pass >= checked + CHECK_EVERY {
            checked = pass;
            let moments = moments.make_contiguous();
            let scrape = SeriesSet::parse(exporter.metrics().await);
            let wrong = scrape.never_true(moments, &COMBINED_FAMILIES);
            assert!(wrong.is_empty(), "never true: {:#?}", &wrong[..wrong.len().min(20)]);
            let missing = scrape.missing_from(moments, &LIST_FAMILIES);
            lacking
                .extend(missing.first().map(|first| format!("pass {pass}: {}, e.g. {first}", missing.len())));
            compared += scrape.len();
        }
        if pass >= (samples.len() + 1) * scale.sample {
            samples.push(exporter.sample(pass).await);
            println!("{}", samples[samples.len() - 1]);
        }
        let patience = scale.pass * (scale.passes as u32 + 100) * 10;
        assert!(began.elapsed() < patience, "only {pass} passes");
    }
    let took = began.elapsed();
    let fired: u64 = sim.faults(|f| f.fired().iter().sum());
    let calls = sim.with_call_log(alikafka_simulator::CallLog::len);
    sim.faults(alikafka_simulator::Faults::clear);
    let healed = passes.count(&sim);
    wait_until_correct(&sim, &exporter, "after the faults").await;
    let settled = passes.count(&sim);
    // Deleted objects are no longer polled.
    let errors = error_responses(&sim);
    while passes.count(&sim) < settled + 4 {
        sleep(scale.pass).await;
    }
    assert_eq!(error_responses(&sim), errors, "calls fail without faults");
    println!(
        "churn: {}\n{} passes in {took:?}; {} edits; {fired} faults in {calls} calls; {compared} series compared; settled {} passes after the faults were off",
        measured_exporter::memory_slope(&samples, WARM.min(scale.passes / 4)),
        passes.count(&sim),
        churn.edits,
        settled - healed,
    );
    assert!(churn.edits > scale.passes / 4, "only {} edits", churn.edits);
    assert!(fired > calls / 40, "only {fired} faults in {calls} calls");
    assert!(lacking.len() <= MAX_INCOMPLETE, "series of existing objects are missing: {lacking:#?}");
    let violations = measured_exporter::violations(&samples, WARM.min(scale.passes / 4), 0);
    assert!(violations.is_empty(), "{violations:#?}");
    exporter.stop().await;
}

/// Number of calls with an error response.
fn error_responses(sim: &Simulator) -> u64 {
    sim.with_call_log(|l| l.codes().iter().filter(|((_, code), _)| code != "200").map(|(_, n)| n).sum())
}

/// Families that stay as long as their object exists, even if its calls fail.
const LIST_FAMILIES: [&str; 3] = ["alikafka_group_info", "alikafka_topic_info", "alikafka_topic_partitions"];
/// Checked scrapes that may lack some of them: a list that is empty twice in a row is accepted, which is rare.
const MAX_INCOMPLETE: usize = 1;

/// Families that combine a topic and a group response, which belong to two states.
const COMBINED_FAMILIES: [&str; 3] = [
    "alikafka_group_partition_lost_messages",
    "alikafka_group_partition_retention_margin_messages",
    "alikafka_topic_groups",
];

fn settings(scale: Scale) -> Vec<(&'static str, &'static str)> {
    let pass: &'static str = match scale.pass.as_millis() {
        250 => "250ms",
        other => panic!("add {other} ms here"),
    };
    vec![
        ("REGIONS", REGION),
        ("POLL_INTERVAL", pass),
        // Each poll is a pass.
        ("IDLE_POLL_INTERVAL", pass),
        ("DISCOVERY_INTERVAL", "1s"),
        ("STALE_AFTER", "20s"),
        ("REQUEST_TIMEOUT", "1s"),
        ("REQUESTS_PER_SECOND", "1000"),
    ]
}

async fn cloud(seed: u64, scale: Scale) -> Simulator {
    let world = WorldOptions {
        seed,
        regions: vec![REGION.to_owned()],
        instances_per_region: scale.instances,
        idle_instances_per_region: 1,
        topics_per_instance: scale.topics,
        groups_per_instance: scale.groups,
        unusual_names: true,
        big_offsets: true,
        serverless_every: 5,
        local_every: 4,
        ..WorldOptions::default()
    };
    // The cloud closes idle connections.
    let behaviour = ServiceBehaviour {
        keys: vec![measured_exporter::key()],
        close_idle_after: Some(Duration::from_millis(50)),
        ..ServiceBehaviour::default()
    };
    let options = SimulatorOptions {
        clock: ClockMode::Manual,
        world,
        behaviour,
        call_log_limit: 10_000_000,
        ..SimulatorOptions::default()
    };
    Simulator::start(options).await.unwrap()
}

fn truth_groups(world: &WorldTruth) -> Vec<(String, String)> {
    let instances = world.regions.values().flat_map(|r| r.instances.values()).filter(|i| i.in_service);
    instances.flat_map(|i| i.groups.keys().map(|g| (i.id.clone(), g.clone()))).collect()
}

/// Waits until a scrape equals the truth.
async fn wait_until_correct(sim: &Simulator, exporter: &MeasuredExporter, when: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let difference = expected::difference(&sim.truth(), &SeriesSet::parse(exporter.metrics().await));
        if difference.is_empty() {
            return;
        }
        let shown = &difference[..difference.len().min(20)];
        let log = exporter.log_lines();
        let log = &log[log.len().saturating_sub(20)..];
        assert!(
            Instant::now() < deadline,
            "{when}, {} series differ: {shown:#?}\n{}",
            difference.len(),
            log.join("\n")
        );
        sleep(Duration::from_millis(50)).await;
    }
}

/// Adds faults of every kind, equally often, which together affect the fraction [`FAULTS`] of the calls.
fn add_faults(sim: &Simulator, seed: u64) {
    let error =
        |status, code: &str| Effect::Error { status, code: code.to_owned(), message: "no".to_owned() };
    let anywhere = [
        error(503, "ServiceUnavailable"),
        error(400, "ONS_SYSTEM_ERROR"),
        error(403, "NoPermission"),
        Effect::SuccessFalse { code: "BIZ_FIELD_CHECK_INVALID".to_owned(), message: "no".to_owned() },
        Effect::Html { status: 502 },
        Effect::XmlError { status: 500, code: "InternalError".to_owned() },
        Effect::Raw {
            status: 200,
            content_type: "application/json".to_owned(),
            body: b"{\"Code\":".to_vec(),
        },
        Effect::Redirect { status: 302, location: "https://example.com/login".to_owned() },
        Effect::WrongTypes(WrongType::NumbersAsStrings),
        Effect::WrongTypes(WrongType::Text),
        Effect::DuplicateItem,
        Effect::Truncate(100),
        Effect::UnknownFields,
        Effect::FlatList,
        Effect::Latency(Duration::from_millis(300)),
        Effect::Date(None),
        Effect::Close,
        Effect::Reset,
        Effect::Hang,
        Effect::CutBody(50),
        Effect::ResetBody(50),
        Effect::HangBody(50),
        Effect::Oversized { bytes: 20 << 20, declared: true },
        Effect::Oversized { bytes: 20 << 20, declared: false },
    ];
    let lists = [
        // Lists only: the exporter cannot detect the progress of another group.
        Effect::ForeignItems,
        Effect::EmptyList,
        Effect::NullList,
        Effect::WrongTotal(7),
        Effect::EndlessPages,
        Effect::RepeatedRows,
    ];
    // Rare, because throttling slows the passes down.
    let rarely = [
        Effect::Throttle { status: 429, code: "Throttling.User".to_owned(), retry_after_ms: Some(300) },
        Effect::LowerCaseError { status: 400, code: "Throttling.Api".to_owned(), message: "no".to_owned() },
    ];
    let each = FAULTS / (anywhere.len() + lists.len()) as f64;
    sim.faults(|faults| {
        let mut seeds = (seed..).map(|s| Occurrence::Probability(each, s));
        for effect in anywhere {
            faults.add(Fault::new(effect).occurrence(seeds.next().unwrap()));
        }
        for (effect, seed) in rarely.into_iter().zip(seed + 1_000..) {
            faults.add(Fault::new(effect).occurrence(Occurrence::Probability(each / 30.0, seed)));
        }
        for effect in lists {
            for action in ["GetInstanceList", "GetTopicList", "GetConsumerList"] {
                faults.add(Fault::new(effect.clone()).action(action).occurrence(seeds.next().unwrap()));
            }
        }
    });
}

/// Random changes of objects.
struct Churn {
    rng: Rng,
    /// Objects that were created and not deleted yet, oldest first.
    created: Vec<Created>,
    last_number: usize,
    /// Due edits, in hundredths.
    due: usize,
    edits: usize,
}

enum Created {
    Topic(String, String),
    Group(String, String),
    Instance(String),
}

/// Most created objects to keep.
const MAX_CREATED: usize = 12;

impl Churn {
    /// Applies the due edits of a pass. Returns whether there were any.
    fn apply_due(&mut self, world: &mut World) -> bool {
        let instances = world.instances_in_service();
        let objects: usize = instances.iter().map(|(_, id)| 1 + world.topics(id).len() * 2).sum();
        self.due += objects * CHURN_PERCENT;
        let before = self.edits;
        while self.due >= 100 {
            self.due -= 100;
            self.edits += 1;
            let id = instances[self.rng.index(instances.len())].1.clone();
            self.edit(world, &id);
        }
        self.edits > before
    }

    fn edit(&mut self, world: &mut World, id: &str) {
        self.last_number += 1;
        let name = format!("churned-{}", self.last_number);
        match self.rng.index(if self.created.len() < MAX_CREATED { 8 } else { 4 }) {
            0 | 1 => self.delete(world),
            2 => drop(world.rename_instance(id, &name)),
            3 => {
                let topics = world.topics(id);
                if let Some(topic) = topics.get(self.rng.index(topics.len())) {
                    // Fails only if the instance was deleted in the same pass.
                    drop(world.recreate_topic(id, topic, self.last_number.is_multiple_of(2)));
                }
            }
            4 => {
                world.add_instance(REGION, InstanceSpec::new(&name));
                self.created.push(Created::Instance(name.clone()));
                self.add_topic(world, &name, "first");
                self.add_group(world, &name, "first");
            }
            5 => self.add_group(world, id, &name),
            _ => self.add_topic(world, id, &name),
        }
    }

    fn add_topic(&mut self, world: &mut World, id: &str, name: &str) {
        let rate = ProduceRate::per_second(1 + self.rng.index(20) as i64);
        if world.add_topic(id, TopicSpec { rate, ..TopicSpec::new(name, 3) }).is_ok() {
            self.created.push(Created::Topic(id.to_owned(), name.to_owned()));
        }
    }

    fn add_group(&mut self, world: &mut World, id: &str, name: &str) {
        let topics = world.topics(id);
        let first = topics.first().map_or("", String::as_str);
        let consumer = if self.rng.index(2) == 0 { ConsumerMode::Healthy } else { ConsumerMode::Stopped };
        let spec = GroupSpec { consumer, from: OffsetSpec::Start, ..GroupSpec::new(name, &[first]) };
        if world.add_group(id, spec).is_ok() {
            self.created.push(Created::Group(id.to_owned(), name.to_owned()));
        }
    }

    /// Deletes the oldest created object. It may have been deleted with its instance.
    fn delete(&mut self, world: &mut World) {
        if self.created.is_empty() {
            return;
        }
        let _ = match self.created.remove(0) {
            Created::Topic(id, name) => world.delete_topic(&id, &name),
            Created::Group(id, name) => world.delete_group(&id, &name),
            Created::Instance(id) => world.delete_instance(&id),
        };
    }
}
