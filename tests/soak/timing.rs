//! Call rates: the effect of one unresponsive region on the others, the cost of random failures, and the length of a first
//! pass. All of them are ratios within one run, taken from the call log of the simulated cloud.

use std::{collections::BTreeMap, time::Duration};

use alikafka_simulator::{
    CallLogEntry, Effect, Fault, GroupSpec, InstanceSpec, Occurrence, ServiceBehaviour, Simulator,
    SimulatorOptions, TopicSpec, WorldOptions,
};
use test_support::scrape::Scrape;
use tokio::time::Instant;

use super::measured_exporter::{self, MeasuredExporter, until};

/// Call times of each poll target.
type CallTimes = BTreeMap<Target, Vec<Instant>>;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    region: String,
    action: String,
    instance: Option<String>,
    object: Option<String>,
}

async fn cloud(regions: &[String], instances: usize, objects: usize) -> Simulator {
    let world = WorldOptions::empty(regions.iter().cloned());
    let behaviour = ServiceBehaviour { keys: vec![measured_exporter::key()], ..ServiceBehaviour::default() };
    let options =
        SimulatorOptions { world, behaviour, call_log_limit: 10_000_000, ..SimulatorOptions::default() };
    let sim = Simulator::start(options).await.unwrap();
    sim.with_world(|w| {
        for (region, instance) in regions.iter().flat_map(|r| (0..instances).map(move |i| (r, i))) {
            let id = format!("alikafka_{region}_{instance}");
            w.add_instance(region, InstanceSpec::new(&id));
            for n in 0..objects {
                let topic = format!("topic-{instance}-{n}");
                w.add_topic(&id, TopicSpec::new(&topic, 1)).unwrap();
                w.add_group(&id, GroupSpec::new(&format!("group-{instance}-{n}"), &[&topic])).unwrap();
            }
        }
    });
    sim
}

fn calls(sim: &Simulator, from: u64) -> CallTimes {
    let mut calls = CallTimes::new();
    sim.with_call_log(|l| {
        for entry in l.entries().filter(|e| e.number >= from) {
            let CallLogEntry { at, region, action, instance, object, .. } = entry.clone();
            calls.entry(Target { region, action, instance, object }).or_default().push(at);
        }
    });
    calls
}

/// Interval of condition checks. Reading the call log blocks the cloud.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// One region of 20 does not respond; passes of the others take at most a tenth longer.
pub(crate) async fn one_dead_region(passes: usize) {
    const POLL: Duration = Duration::from_millis(400);
    let regions: Vec<String> = (1..=20).map(|n| format!("cn-region-{n}")).collect();
    let sim = cloud(&regions, 1, 2).await;
    let list = regions.join(",");
    let settings = [
        ("REGIONS", list.as_str()),
        ("POLL_INTERVAL", "400ms"),
        ("IDLE_POLL_INTERVAL", "400ms"),
        ("DISCOVERY_INTERVAL", "800ms"),
        ("STALE_AFTER", "4s"),
        ("REQUEST_TIMEOUT", "2s"),
        ("REQUESTS_PER_SECOND", "100"),
    ];
    let exporter = MeasuredExporter::start(&sim.url(), &settings).await;
    let progress = |sim: &Simulator, from| {
        let mut calls = calls(sim, from);
        calls.retain(|target, _| target.action == "GetConsumerProgress");
        calls
    };
    let least = |calls: &CallTimes, dead: &str| {
        let others = calls.iter().filter(|(target, _)| target.region != dead);
        others.map(|(_, at)| at.len()).min().unwrap_or(0)
    };
    let patience = POLL * passes as u32 * 10;
    until("first passes", patience, CHECK_INTERVAL, || progress(&sim, 0).len() == 40).await;
    let dead = regions[6].as_str();
    let mut stretches = Vec::new();
    // Good passes before and after, so that a slower machine does not look like an effect of the dead region.
    for is_dead in [false, true, false] {
        if is_dead {
            sim.faults(|f| f.add(Fault::new(Effect::Hang).region(dead)));
        } else {
            sim.faults(alikafka_simulator::Faults::clear);
        }
        let from = sim.with_call_log(alikafka_simulator::CallLog::len);
        until("enough passes", patience, CHECK_INTERVAL, || least(&progress(&sim, from), dead) > passes)
            .await;
        stretches.push(progress(&sim, from));
    }

    // Mean time between two calls of the same target.
    let pass = |at: &[Instant]| (at[at.len() - 1] - at[0]).as_secs_f64() / (at.len() - 1) as f64;
    let mut worst = (0.0f64, String::new());
    println!("one dead region of 20, {passes} passes each\n  region           good   with it ratio");
    for region in regions.iter().filter(|r| *r != dead) {
        let mean = |calls: &CallTimes| {
            let own: Vec<f64> =
                calls.iter().filter(|(target, _)| target.region == *region).map(|(_, at)| pass(at)).collect();
            own.iter().sum::<f64>() / own.len() as f64
        };
        let (good, with_dead) = ((mean(&stretches[0]) + mean(&stretches[2])) / 2.0, mean(&stretches[1]));
        println!("  {region:14} {good:6.3} s {with_dead:6.3} s  {:.3}", with_dead / good);
        if with_dead / good > worst.0 {
            worst = (with_dead / good, region.clone());
        }
    }
    println!("  worst: {worst:?}");
    assert!(worst.0 <= 1.1, "passes of {} take {:.2} times as long", worst.1, worst.0);
    exporter.stop().await;
}

/// A fifth of all calls fails at random; retries add at most a tenth, plus the five in reserve at the start.
pub(crate) async fn random_failures(seed: u64, passes: usize) {
    const POLL: Duration = Duration::from_secs(1);
    const RESERVE: f64 = 5.0;
    println!("random failures: seed {seed}, {passes} passes");
    let sim = cloud(&["cn-hangzhou".to_owned()], 5, 4).await;
    let no = Effect::Error { status: 503, code: "ServiceUnavailable".to_owned(), message: "no".to_owned() };
    sim.faults(|f| f.add(Fault::new(no).occurrence(Occurrence::Probability(0.2, seed))));
    let settings = [
        ("REGIONS", "cn-hangzhou"),
        ("POLL_INTERVAL", "1s"),
        ("IDLE_POLL_INTERVAL", "1s"),
        ("DISCOVERY_INTERVAL", "1s"),
        ("STALE_AFTER", "20s"),
        ("REQUEST_TIMEOUT", "10s"),
        ("REQUESTS_PER_SECOND", "1000"),
    ];
    let exporter = MeasuredExporter::start(&sim.url(), &settings).await;
    let targets = 1 + 5 * 2 + 5 * 4 * 2;
    let enough = (targets * passes) as u64;
    let patience = POLL * passes as u32 * 10;
    until("all passes", patience, CHECK_INTERVAL, || {
        sim.with_call_log(alikafka_simulator::CallLog::len) > enough
    })
    .await;
    let scrape = Scrape::parse(exporter.metrics().await);
    let retries = scrape.sum("alikafka_exporter_api_retries_total", &[]);
    let counted = scrape.sum("alikafka_exporter_api_requests_total", &[]);
    let failed = scrape.sum("alikafka_exporter_api_requests_total", &[("result", "server")]);
    exporter.stop().await;
    // Independent of self-metrics: a target is due once per interval, so more calls are retries.
    let calls = calls(&sim, 0);
    let came: usize = calls.values().map(Vec::len).sum();
    let due: f64 =
        calls.values().map(|at| (at[at.len() - 1] - at[0]).as_secs_f64() / POLL.as_secs_f64() + 1.0).sum();
    println!(
        "  {came} calls came, {due:.0} were due at most: {:.3} of them; by self-metrics {retries} retries of \
         {:.0} calls: {:.3} more; {:.3} failed",
        came as f64 / due,
        counted - retries,
        retries / (counted - retries),
        failed / counted
    );
    assert!((0.15..0.25).contains(&(failed / counted)), "a fifth of the calls fails");
    assert!(retries > came as f64 / 50.0, "failures are retried");
    assert!(retries <= (counted - retries) / 10.0 + RESERVE, "{retries} retries of {counted} calls");
    assert!(came as f64 <= due * 1.1 + RESERVE, "{came} calls where {due:.0} were due");
}

/// The first pass over many objects takes at most a tenth longer than its calls need at the allowed rate.
pub(crate) async fn first_pass(objects: usize, rate: usize) {
    let (instances, each) = (10, objects / 10);
    let sim = cloud(&["cn-hangzhou".to_owned()], instances, each).await;
    let per_second = rate.to_string();
    let settings = [("REGIONS", "cn-hangzhou"), ("REQUESTS_PER_SECOND", per_second.as_str())];
    let exporter = MeasuredExporter::start(&sim.url(), &settings).await;
    let all = objects * 2;
    let detail = |sim: &Simulator| {
        let mut calls = calls(sim, 0);
        calls.retain(|target, _| target.object.is_some());
        calls
    };
    until("the first pass", Duration::from_secs(120), CHECK_INTERVAL, || detail(&sim).len() == all).await;
    let calls = detail(&sim);
    let least = objects as f64 / rate as f64;
    println!(
        "first pass: {objects} topics and as many groups at {rate} calls per second, at least {least:.2} s"
    );
    for action in ["GetTopicStatus", "GetConsumerProgress"] {
        let first_calls = || calls.iter().filter(|(target, _)| target.action == action).map(|(_, at)| at[0]);
        assert_eq!(first_calls().count(), objects);
        let (from, to) = (first_calls().min().unwrap(), first_calls().max().unwrap());
        let took = (to - from).as_secs_f64();
        println!("  {action}: {took:.2} s, {:.3} of that", took / least);
        assert!(
            took <= least * 1.1,
            "{action}: the first pass took {took:.2} s, the minimum is {least:.2} s"
        );
    }
    exporter.stop().await;
}
