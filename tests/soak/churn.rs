//! A day of a fleet in minutes: objects come, go and change their names, calls fail in every way, and the
//! daemon holds no more of the machine at the end than at the beginning, and tells nothing untrue meanwhile.

use std::{collections::VecDeque, time::Duration};

use alikafka_simulator::{
    ClockMode, ConsumerMode, Effect, Fault, GroupSpec, InstanceSpec, Occurrence, OffsetSpec, ProduceRate,
    ServiceBehaviour, Simulator, SimulatorOptions, TopicSpec, World, WorldOptions, WorldTruth, WrongType,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use test_support::{expected, rng::Rng, series::SeriesSet};

use super::measured_exporter::{self, MeasuredExporter, PassCounter, Sample};

const REGION: &str = "cn-hangzhou";
/// World time between two passes: 1,440 of them are a day.
const MINUTE: Duration = Duration::from_secs(60);
/// Objects that come, go or change, of a hundred, in each pass.
const CHURN_PERCENT: usize = 1;
/// Calls that go wrong, of one.
const FAULTS: f64 = 0.05;
/// Moments of the world that a page may show something of. Values are kept for 80 passes at the most, and
/// a busy machine takes its time.
const MOMENTS: usize = 250;
/// PassCounter between two looks at the page.
const LOOK: usize = 10;
/// From this pass on the daemon is warm: what it holds must not grow.
const WARM: usize = 200;

/// How long and how large a run is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) passes: usize,
    /// Real time of a pass.
    pub(crate) pass: Duration,
    pub(crate) instances: u32,
    pub(crate) topics: u32,
    pub(crate) groups: u32,
    /// PassCounter between two samples.
    pub(crate) sample: usize,
}

pub(crate) async fn run(seed: u64, scale: Scale) {
    println!("fleet: seed {seed}, {scale:?}");
    let sim = cloud(seed, scale).await;
    let exporter = MeasuredExporter::start(&sim.url(), &settings(scale)).await;
    let anchors = truth_groups(&sim.truth());
    let mut passes = PassCounter::of(anchors, scale.pass);
    let mut churn = Churn { rng: Rng::new(seed), made: Vec::new(), numbered: 0, owed: 0, edits: 0 };
    let mut moments = VecDeque::from([expected::all_series(&sim.truth())]);
    settle(&sim, &exporter, "before anything goes wrong").await;
    // What was open while it started does not count.
    exporter.sample(0).await;
    add_faults(&sim, seed);

    let (mut samples, began) = (Vec::<Sample>::new(), Instant::now());
    let (mut compared, mut lacking) = (0, Vec::new());
    let mut tick = interval(scale.pass);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut pass, mut looked) = (0, 0);
    while pass < scale.passes {
        tick.tick().await;
        let before = std::mem::replace(&mut pass, passes.count(&sim));
        sim.advance(MINUTE);
        // No call is answered meanwhile, so each answer is of a moment that is noted here.
        sim.world(|w| {
            moments.push_back(expected::all_series(&w.truth()));
            // On a busy machine passes go by between two ticks.
            let edited = (before..pass).filter(|_| churn.turn(w)).count() > 0;
            if edited {
                moments.push_back(expected::all_series(&w.truth()));
            }
        });
        while moments.len() > MOMENTS {
            moments.pop_front();
        }
        if pass >= looked + LOOK {
            looked = pass;
            let moments = moments.make_contiguous();
            let page = SeriesSet::parse(exporter.metrics().await);
            let untrue = page.never_true(moments, &OF_TWO_ANSWERS);
            assert!(untrue.is_empty(), "never true: {:#?}", &untrue[..untrue.len().min(20)]);
            let lacks = page.missing_from(moments, &LISTED);
            lacking
                .extend(lacks.first().map(|first| format!("pass {pass}: {} such as {first}", lacks.len())));
            compared += page.len();
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
    settle(&sim, &exporter, "healed").await;
    let settled = passes.count(&sim);
    // Nobody asks for what is gone any more.
    let refused = refusals(&sim);
    while passes.count(&sim) < settled + 4 {
        sleep(scale.pass).await;
    }
    assert_eq!(refusals(&sim), refused, "calls fail although nothing is wrong");
    println!(
        "fleet: {}\n{} passes in {took:?}; {} edits; {fired} faults in {calls} calls; {compared} series compared; settled {} passes after the faults were off",
        measured_exporter::slope(&samples, WARM.min(scale.passes / 4)),
        passes.count(&sim),
        churn.edits,
        settled - healed,
    );
    assert!(churn.edits > scale.passes / 4, "only {} edits", churn.edits);
    assert!(fired > calls / 40, "only {fired} faults in {calls} calls");
    assert!(lacking.len() <= LACKING, "series lack of objects that are there: {lacking:#?}");
    let broken = measured_exporter::broken(&samples, WARM.min(scale.passes / 4), 0);
    assert!(broken.is_empty(), "{broken:#?}");
    exporter.stop().await;
}

/// Calls that were answered with an error.
fn refusals(sim: &Simulator) -> u64 {
    sim.with_call_log(|l| l.codes().iter().filter(|((_, code), _)| code != "200").map(|(_, n)| n).sum())
}

/// What stays on the page as long as the object is there, though calls for it fail.
const LISTED: [&str; 3] = ["alikafka_group_info", "alikafka_topic_info", "alikafka_topic_partitions"];
/// Looks that may lack some of it: a list that was empty twice in a row is believed until the next one, and
/// that is rare.
const LACKING: usize = 1;

/// What is made of the answers about a topic and a group, which came at two moments.
const OF_TWO_ANSWERS: [&str; 3] = [
    "alikafka_group_partition_lost_messages",
    "alikafka_group_partition_retention_margin_messages",
    "alikafka_topic_groups",
];

fn settings(scale: Scale) -> Vec<(&'static str, &'static str)> {
    let pass: &'static str = match scale.pass.as_millis() {
        250 => "250ms",
        other => panic!("write {other} ms down here"),
    };
    vec![
        ("REGIONS", REGION),
        ("POLL_INTERVAL", pass),
        // A pass is each of them.
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
    // Connections that the cloud has closed while they were idle are met too.
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

/// Waits until the page says what the world is, and no more.
async fn settle(sim: &Simulator, exporter: &MeasuredExporter, when: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let difference = expected::difference(&sim.truth(), &SeriesSet::parse(exporter.metrics().await));
        if difference.is_empty() {
            return;
        }
        let shown = &difference[..difference.len().min(20)];
        let log = exporter.lines();
        let log = &log[log.len().saturating_sub(20)..];
        assert!(
            Instant::now() < until,
            "{when}, {} series differ: {shown:#?}\n{}",
            difference.len(),
            log.join("\n")
        );
        sleep(Duration::from_millis(50)).await;
    }
}

/// All faults together meet [`FAULTS`] of the calls, each kind as many as another.
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
        // What the progress of a group tells in the words of another one, no reader can know.
        Effect::ForeignItems,
        Effect::EmptyList,
        Effect::NullList,
        Effect::WrongTotal(7),
        Effect::EndlessPages,
        Effect::RepeatedRows,
    ];
    // A daemon that is throttled asks less for a while, and then passes take longer.
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

/// What comes, goes and changes.
struct Churn {
    rng: Rng,
    /// What this has made and not deleted yet.
    made: Vec<Made>,
    numbered: usize,
    /// Edits that are due, in hundredths.
    owed: usize,
    edits: usize,
}

enum Made {
    Topic(String, String),
    Group(String, String),
    Instance(String),
}

/// So many of its own objects this keeps at most; then the oldest goes first.
const KEPT: usize = 12;

impl Churn {
    /// What is due in a pass; whether anything was.
    fn turn(&mut self, world: &mut World) -> bool {
        let instances = world.instances_in_service();
        let objects: usize = instances.iter().map(|(_, id)| 1 + world.topics(id).len() * 2).sum();
        self.owed += objects * CHURN_PERCENT;
        let before = self.edits;
        while self.owed >= 100 {
            self.owed -= 100;
            self.edits += 1;
            let id = instances[self.rng.index(instances.len())].1.clone();
            self.edit(world, &id);
        }
        self.edits > before
    }

    fn edit(&mut self, world: &mut World, id: &str) {
        self.numbered += 1;
        let name = format!("churned-{}", self.numbered);
        match self.rng.index(if self.made.len() < KEPT { 8 } else { 4 }) {
            0 | 1 => self.delete(world),
            2 => drop(world.rename_instance(id, &name)),
            3 => {
                let topics = world.topics(id);
                if let Some(topic) = topics.get(self.rng.index(topics.len())) {
                    // Fails only if the instance was deleted in the same turn.
                    drop(world.recreate_topic(id, topic, self.numbered.is_multiple_of(2)));
                }
            }
            4 => {
                world.add_instance(REGION, InstanceSpec::new(&name));
                self.made.push(Made::Instance(name.clone()));
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
            self.made.push(Made::Topic(id.to_owned(), name.to_owned()));
        }
    }

    fn add_group(&mut self, world: &mut World, id: &str, name: &str) {
        let topics = world.topics(id);
        let first = topics.first().map_or("", String::as_str);
        let consumer = if self.rng.index(2) == 0 { ConsumerMode::Healthy } else { ConsumerMode::Stopped };
        let spec = GroupSpec { consumer, from: OffsetSpec::Start, ..GroupSpec::new(name, &[first]) };
        if world.add_group(id, spec).is_ok() {
            self.made.push(Made::Group(id.to_owned(), name.to_owned()));
        }
    }

    /// Deletes the oldest that it has made. What an instance held may be gone with it already.
    fn delete(&mut self, world: &mut World) {
        if self.made.is_empty() {
            return;
        }
        let _ = match self.made.remove(0) {
            Made::Topic(id, name) => world.delete_topic(&id, &name),
            Made::Group(id, name) => world.delete_group(&id, &name),
            Made::Instance(id) => world.delete_instance(&id),
        };
    }
}
