//! API calls stay within the budget: at the start, between polls, with retries, for long lists, after an outage.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use alikafka_simulator::{CallLogEntry, Faults, Occurrence};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::*;

/// Measures how long this machine stalls the tests. Calls sent a second apart may arrive closer together by that time.
pub(super) struct StallMonitor {
    task: JoinHandle<()>,
    longest: Arc<Mutex<Duration>>,
}

impl StallMonitor {
    pub(super) fn watch() -> Self {
        let longest = Arc::<Mutex<Duration>>::default();
        let maximum = Arc::clone(&longest);
        let task = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                sleep(millis(2)).await;
                let stall = began.elapsed().saturating_sub(millis(4));
                let mut longest = maximum.lock().unwrap();
                *longest = stall.max(*longest);
            }
        });
        Self { task, longest }
    }

    /// Returns the most calls of each region and action within one second.
    pub(super) fn max_calls_per_second(&self, sim: &Simulator) -> BTreeMap<(String, String), usize> {
        let stall = (*self.longest.lock().unwrap()).min(millis(300));
        sim.with_call_log(|l| l.max_in_window(Duration::from_secs(1).saturating_sub(stall)))
    }
}

impl Drop for StallMonitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a cloud with many topics and groups in one instance, so that a pass takes long.
async fn cloud_with_objects(groups: usize) -> Simulator {
    let sim = empty_cloud(&[REGION]).await;
    sim.behaviour(|b| b.page_size_max = 10);
    sim.with_world(|w| add_objects(w, groups));
    sim
}

fn add_objects(world: &mut World, groups: usize) {
    add_instance(world, REGION, A);
    for n in 0..groups {
        world.add_topic(A, TopicSpec::new(&format!("t{n:03}"), 1)).unwrap();
        add_group(world, A, &format!("g{n:03}"), "orders");
    }
}

fn all_known(scrape: &Scrape, groups: usize) -> bool {
    let of_a = [("instance_id", A)];
    scrape.count("alikafka_group_lag_messages", &of_a) == groups + 2
        && scrape.count("alikafka_topic_messages", &of_a) == groups + 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_never_exceed_the_rate_limit_in_any_second() {
    let (monitor, sim) = (StallMonitor::watch(), cloud_with_objects(40).await);
    // The budget is almost used up: 42 calls per pass at 20 per second, and 5 calls per list at 8 per second.
    let settings = [
        ("REQUESTS_PER_SECOND", "20"),
        ("REQUEST_RATES", "GetTopicList=8,GetConsumerList=8"),
        ("POLL_INTERVAL", "2200ms"),
        ("TOPIC_POLL_INTERVAL", "2200ms"),
        ("DISCOVERY_INTERVAL", "1s"),
        ("STALE_AFTER", "5s"),
    ];
    let daemon = Daemon::start(&sim, &settings).await;
    daemon.until("a first pass", |p| all_known(p, 40)).await;
    // Polls with failures that are retried.
    sim.faults(|f| {
        f.add(Fault::new(error(503, "ServiceUnavailable", "no")).occurrence(Occurrence::Probability(0.2, 7)))
    });
    let before = sim.call_log().len();
    daemon.until("some passes with failures", |_| sim.call_log().len() > before + 150).await;
    // An outage and its end.
    sim.faults(|f| {
        f.clear();
        f.add(Fault::new(Effect::Close));
    });
    daemon.until("all values have expired", |p| p.sum("alikafka_group_lag_messages", &[]) == 0.0).await;
    sim.faults(Faults::clear);
    sim.with_world(write_more);
    let healed = Instant::now();
    daemon
        .until("everything is fresh", |p| {
            let fresh = |n: usize| p.lag(A, &format!("g{n:03}")) == Some(LAG_AFTER);
            (0..40).all(fresh) && p.instance_up(A) == Some(1.0)
        })
        .await;
    assert!(healed.elapsed() < Duration::from_secs(12), "fresh within two intervals, on a busy machine");
    for ((region, action), most) in monitor.max_calls_per_second(&sim) {
        let allowed = if action.ends_with("List") && action != "GetInstanceList" { 8 } else { 20 };
        assert!(most <= allowed, "{most} calls of {action} in {region} in one second");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn each_region_has_its_own_budget() {
    let (monitor, regions) = (StallMonitor::watch(), ["cn-beijing", "cn-shanghai"]);
    let sim = empty_cloud(&regions).await;
    sim.with_world(|w| {
        for region in regions {
            add_instance(w, region, region);
            (0..16).for_each(|n| add_group(w, region, &format!("g{n}"), "orders"));
        }
    });
    let settings = [
        ("REGIONS", "cn-beijing,cn-shanghai"),
        ("REQUESTS_PER_SECOND", "10"),
        ("POLL_INTERVAL", "2s"),
        ("TOPIC_POLL_INTERVAL", "2s"),
        ("STALE_AFTER", "4s"),
    ];
    let daemon = Daemon::start(&sim, &settings).await;
    let all =
        |p: &Scrape, lag| regions.iter().all(|r| (0..16).all(|n| p.lag(r, &format!("g{n}")) == Some(lag)));
    daemon.until("first passes", |p| all(p, LAG_BEFORE)).await;
    sim.with_world(write_more);
    daemon.until("second passes", |p| all(p, LAG_AFTER)).await;
    let busiest = monitor.max_calls_per_second(&sim);
    assert!(busiest.values().all(|most| *most <= 10), "{busiest:?}");
    let both = regions.map(|r| busiest[&(r.to_owned(), "GetConsumerProgress".to_owned())]);
    assert!(both.iter().sum::<usize>() > 10, "regions do not share a budget: {both:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn retries_add_at_most_a_tenth_to_the_calls() {
    let sim = cloud_with_objects(30).await;
    let fault =
        Fault::new(error(503, "ServiceUnavailable", "no")).occurrence(Occurrence::Probability(0.2, 11));
    sim.faults(|f| f.add(fault));
    let settings = [("POLL_INTERVAL", "500ms"), ("TOPIC_POLL_INTERVAL", "500ms"), ("STALE_AFTER", "20s")];
    let daemon = Daemon::start(&sim, &settings).await;
    let scrape = daemon
        .until("a thousand calls, and all known", |p| {
            p.sum("alikafka_exporter_api_requests_total", &[]) > 1000.0 && all_known(p, 30)
        })
        .await;
    let retries = scrape.sum("alikafka_exporter_api_retries_total", &[]);
    let first = scrape.sum("alikafka_exporter_api_requests_total", &[]) - retries;
    assert!(retries > 5.0, "failures are retried: {retries}");
    assert!(retries <= 5.0 + first / 10.0, "{retries} retries of {first} calls");
    let failed = scrape.sum("alikafka_exporter_api_requests_total", &[("result", "server")]);
    assert!((0.1..0.3).contains(&(failed / (first + retries))), "a fifth of the calls fails: {failed}");
    daemon.stop().await;
}

/// A single pass: every repeated call is a retry.
const SINGLE_PASS: [(&str, &str); 4] = [
    ("POLL_INTERVAL", "10m"),
    ("TOPIC_POLL_INTERVAL", "10m"),
    ("STALE_AFTER", "30m"),
    ("DISCOVERY_INTERVAL", "1h"),
];

/// Counts calls by action, instance, topic or group, and page number.
fn calls_by_target(sim: &Simulator) -> BTreeMap<[Option<String>; 4], u64> {
    let mut calls = BTreeMap::new();
    sim.with_call_log(|l| {
        for e in l.entries() {
            let target =
                [Some(e.action.clone()), e.instance.clone(), e.object.clone(), e.page_number.clone()];
            *calls.entry(target).or_default() += 1;
        }
    });
    calls
}

/// Waits for the end of the first pass. Returns its retries and its first attempts.
async fn retries_of_first_pass(daemon: &Daemon, sim: &Simulator) -> (u64, u64) {
    let ended = |lines: &[serde_json::Value]| lines.iter().any(|l| l["msg"] == "first pass ended");
    daemon.until_logged("the end of the first pass", ended).await;
    let calls = calls_by_target(sim);
    assert!(calls.values().all(|n| *n <= 3), "three attempts at most: {calls:?}");
    let first = calls.len().try_into().unwrap();
    (calls.values().sum::<u64>() - first, first)
}

#[tokio::test]
async fn a_pass_with_many_failures_stays_within_the_retry_budget() {
    let sim = cloud_with_objects(300).await;
    for (action, seed) in [("GetConsumerProgress", 3), ("GetTopicStatus", 4)] {
        let fault = Fault::new(error(503, "ServiceUnavailable", "no")).action(action);
        sim.faults(|f| f.add(fault.occurrence(Occurrence::Probability(0.2, seed))));
    }
    let daemon = Daemon::start(&sim, &SINGLE_PASS).await;
    let (retries, first) = retries_of_first_pass(&daemon, &sim).await;
    assert!(first > 600, "{first}");
    assert!(10 * retries <= first + 50, "{retries} retries of {first} calls, and five in reserve");
    assert!(10 * retries > first, "failures are retried while the retry budget lasts: {retries} of {first}");
    let scrape = daemon.scrape().await;
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let retries = retries as f64;
    assert_eq!(scrape.sum("alikafka_exporter_api_retries_total", &[]), retries, "as in the call log");
    daemon.stop().await;
}

fn throttle(retry_after_ms: Option<u64>) -> Effect {
    Effect::Throttle { status: 400, code: "Throttling.User".to_owned(), retry_after_ms }
}

fn rate_limit(scrape: &Scrape, action: &str) -> Option<f64> {
    scrape.value("alikafka_exporter_api_budget_requests_per_second", &[("action", action)])
}

#[tokio::test]
async fn the_budget_adapts_to_a_lower_quota_of_the_cloud() {
    let sim = cloud_with_objects(100).await;
    sim.behaviour(|b| {
        b.quota.by_action.insert("GetConsumerProgress".to_owned(), 5);
        b.quota.retry_after_ms = None;
    });
    let settings = [
        ("REQUESTS_PER_SECOND", "20"),
        ("POLL_INTERVAL", "5s"),
        ("TOPIC_POLL_INTERVAL", "1m"),
        ("STALE_AFTER", "2m"),
    ];
    let daemon = Daemon::start(&sim, &settings).await;
    let codes = || -> Vec<String> {
        let is_response = |e: &&CallLogEntry| e.action == "GetConsumerProgress" && e.code != "pending";
        sim.with_call_log(|l| l.entries().filter(is_response).map(|e| e.code.clone()).collect())
    };
    daemon.until("a hundred and twenty calls", |_| codes().len() >= 120).await;
    let refused = codes().iter().rev().take(40).filter(|c| *c == "Throttling.User").count();
    assert!(refused <= 10, "{refused} of the last forty were refused: {:?}", codes());
    let scrape = daemon.scrape().await;
    let lowered = rate_limit(&scrape, "GetConsumerProgress").unwrap();
    assert!((1.0..8.0).contains(&lowered), "{lowered}");
    assert_eq!(rate_limit(&scrape, "GetTopicStatus"), Some(20.0), "other actions have their own quota");
    daemon.stop().await;
}

#[tokio::test]
async fn a_fully_throttled_pass_ends_with_few_retries_and_one_log_line() {
    let sim = cloud_with_objects(10).await;
    sim.faults(|f| f.add(Fault::new(throttle(None)).action("GetConsumerProgress")));
    let settings = [("REQUESTS_PER_SECOND", "20"), ("REQUEST_TIMEOUT", "4s"), ("STALE_AFTER", "2m")];
    let daemon = Daemon::start(&sim, &settings).await;
    let scrape = daemon
        .until("calls are slower, and the pass has ended", |p| {
            rate_limit(p, "GetConsumerProgress").is_some_and(|rate| rate < 5.0)
                && p.instance_up(A) == Some(0.0)
                && p.api_calls("GetConsumerProgress", "throttled") > 20.0
        })
        .await;
    let retries = scrape.sum("alikafka_exporter_api_retries_total", &[]);
    let first = scrape.sum("alikafka_exporter_api_requests_total", &[]) - retries;
    assert!(retries <= 5.0 + first / 10.0, "{retries} retries of {first} calls");
    assert_eq!(scrape.region_up(REGION), Some(0.0));
    assert_eq!(scrape.count("alikafka_topic_messages", &[]), 12, "other actions are unaffected");
    let lines = daemon.failures();
    assert_eq!(lines.len(), 1, "one line for rejected and for unsent calls: {lines:#?}");
    assert_eq!(lines[0]["result"], "throttled");
    sim.faults(Faults::clear);
    daemon.until("everything is known, even if slowly", |p| all_known(p, 10)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn retry_after_pauses_all_calls_of_the_action() {
    let sim = cloud_with_objects(30).await;
    let fault = Fault::new(throttle(Some(2_000))).action("GetConsumerProgress");
    sim.faults(|f| f.add(fault.times(1)));
    let daemon =
        Daemon::start(&sim, &[SINGLE_PASS[0], SINGLE_PASS[1], SINGLE_PASS[2], ("REQUESTS_PER_SECOND", "10")])
            .await;
    daemon.until("everything is known", |p| all_known(p, 30)).await;
    let times: Vec<Instant> = sim
        .with_call_log(|l| l.entries().filter(|e| e.action == "GetConsumerProgress").map(|e| e.at).collect());
    // Other calls may be sent before the throttled response arrives.
    let meanwhile = times.iter().filter(|at| at.duration_since(times[0]) < millis(1_900)).count();
    assert!(meanwhile <= 6, "{meanwhile} calls within the two seconds of Retry-After");
    daemon.stop().await;
}

#[tokio::test]
async fn recovery_from_a_long_outage_is_fast_and_without_a_burst() {
    let sim = cloud_with_objects(40).await;
    let settings = [
        ("REQUESTS_PER_SECOND", "20"),
        ("POLL_INTERVAL", "2500ms"),
        ("TOPIC_POLL_INTERVAL", "2500ms"),
        ("DISCOVERY_INTERVAL", "2500ms"),
        ("STALE_AFTER", "6s"),
    ];
    let daemon = Daemon::start(&sim, &settings).await;
    daemon.until("a first pass", |p| all_known(p, 40)).await;
    let (address, epoch) = (sim.addr(), sim.now_ms());
    sim.shutdown().await;
    let scrape = daemon
        .until("four passes have failed, and all values have expired", |p| {
            p.api_calls("GetConsumerProgress", "connect") > 4.0 * 42.0 && !all_known(p, 0)
        })
        .await;
    assert_eq!(scrape.region_up(REGION), Some(0.0));
    let failed = scrape.sum("alikafka_exporter_api_requests_total", &[("result", "connect")]);
    let retries = scrape.sum("alikafka_exporter_api_retries_total", &[]);
    // Up to ten retries may be in reserve by now.
    assert!(retries <= 10.0 + failed / 10.0, "{retries} retries, {failed} failed");
    let world = WorldOptions { epoch_ms: Some(epoch), ..WorldOptions::empty([REGION]) };
    let behaviour = ServiceBehaviour { keys: vec![key()], page_size_max: 10, ..ServiceBehaviour::default() };
    let options = SimulatorOptions { listen: address, world, behaviour, ..SimulatorOptions::default() };
    let monitor = StallMonitor::watch();
    let healed = Simulator::start(options).await.unwrap();
    healed.with_world(|w| {
        add_objects(w, 40);
        write_more(w);
    });
    daemon
        .until("everything is fresh", |p| {
            (0..40).all(|n| p.lag(A, &format!("g{n:03}")) == Some(LAG_AFTER)) && p.instance_up(A) == Some(1.0)
        })
        .await;
    let most = calls_by_target(&healed).into_values().max();
    assert!(most <= Some(3), "fresh within two intervals: {most:?} calls for one object");
    for ((_, action), most) in monitor.max_calls_per_second(&healed) {
        assert!(most <= 20, "{most} calls of {action} in one second");
    }
    daemon.stop().await;
}

/// Times of the GetConsumerProgress calls for a group of instance A.
fn progress_calls(sim: &Simulator, group: &str) -> Vec<Instant> {
    let target = ("GetConsumerProgress", Some(A), Some(group));
    let is_target =
        |e: &&CallLogEntry| (e.action.as_str(), e.instance.as_deref(), e.object.as_deref()) == target;
    sim.with_call_log(|l| l.entries().filter(is_target).map(|e| e.at).collect())
}

/// Polls so rarely that calls in between are retries.
const RARE_POLLS: [(&str, &str); 4] = [
    ("POLL_INTERVAL", "20s"),
    ("TOPIC_POLL_INTERVAL", "20s"),
    ("STALE_AFTER", "1m"),
    ("DISCOVERY_INTERVAL", "1m"),
];

#[tokio::test]
async fn a_call_is_attempted_at_most_three_times() {
    let sim = cloud().await;
    sim.faults(|f| f.add(on_group("billing", error(500, "InternalError", "oops"))));
    let daemon = Daemon::start(&sim, &RARE_POLLS).await;
    let scrape = daemon.until("all attempts have failed", |p| p.instance_up(A) == Some(0.0)).await;
    assert_eq!(progress_calls(&sim, "billing").len(), 3);
    assert_eq!(scrape.api_calls("GetConsumerProgress", "server"), 3.0);
    assert_eq!(scrape.sum("alikafka_exporter_api_retries_total", &[("action", "GetConsumerProgress")]), 2.0);
    assert_eq!((scrape.lag(A, "billing"), scrape.lag(A, "shipping")), (None, Some(LAG_BEFORE)));
    daemon.stop().await;
}

#[tokio::test]
async fn a_retry_waits_for_retry_after_and_its_success_is_not_logged() {
    let sim = cloud().await;
    sim.faults(|f| f.add(on_group("billing", throttle(Some(1_300))).times(1)));
    let daemon = Daemon::start(&sim, &RARE_POLLS).await;
    let scrape = daemon.until_known().await;
    match progress_calls(&sim, "billing").as_slice() {
        [first, second] => assert!(second.duration_since(*first) >= millis(1_300)),
        calls => panic!("{} calls", calls.len()),
    }
    assert_eq!(scrape.api_calls("GetConsumerProgress", "throttled"), 1.0);
    assert_eq!(daemon.failures().len(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_pass_longer_than_its_interval_does_not_overlap_the_next() {
    let sim = cloud().await;
    let latency = millis(700);
    sim.behaviour(|b| b.latency.fixed = latency);
    let settings = [("REQUEST_TIMEOUT", "5s"), ("STALE_AFTER", "10s")];
    let daemon = Daemon::start(&sim, &settings).await;
    daemon.until("several passes", |_| progress_calls(&sim, "billing").len() >= 5).await;
    daemon.until_known().await;
    let mut last = BTreeMap::<_, Instant>::new();
    sim.with_call_log(|l| {
        for e in l.entries() {
            let target = (e.action.clone(), e.instance.clone(), e.object.clone());
            if let Some(before) = last.insert(target, e.at) {
                // The next call follows the response, so it comes at least the latency later.
                let between = e.at.duration_since(before);
                assert!(between >= latency, "{} of {:?} after {between:?}", e.action, e.object);
            }
        }
    });
    daemon.stop().await;
}

#[tokio::test]
async fn a_slow_instance_does_not_delay_the_other() {
    let sim = cloud().await;
    sim.faults(|f| f.add(Fault::new(Effect::Hang).instance(A)));
    let daemon = Daemon::start(&sim, &[("REQUEST_TIMEOUT", "3s")]).await;
    daemon.until("the other one is known", |p| p.lag(B, "billing") == Some(LAG_BEFORE)).await;
    sim.with_world(write_more);
    let scrape = daemon
        .until("the other one is fresh", |p| {
            p.lag(B, "billing") == Some(LAG_AFTER) && p.end_offset(B, "audit", "0") == Some(14.0)
        })
        .await;
    assert_eq!(scrape.instance_up(A), None, "it has not failed yet");
    assert_eq!(scrape.instance_up(B), Some(1.0));
    daemon.until("the slow one has timed out", |p| p.api_calls("GetConsumerList", "timeout") > 0.0).await;
    daemon.stop().await;
}
