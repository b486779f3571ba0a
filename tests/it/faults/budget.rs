//! No call beyond what is allowed: at the start, at ticks, with retries and pages, after an outage.

use std::collections::BTreeMap;

use alikafka_simulator::{CallLogEntry, Faults, Occurrence};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::*;

/// Notices for how long this machine has kept us from running. Calls that were sent a second apart come
/// closer together by no more than that.
pub(super) struct Stalls(JoinHandle<()>, std::sync::Arc<std::sync::Mutex<Duration>>);

impl Stalls {
    pub(super) fn watch() -> Self {
        let longest = std::sync::Arc::<std::sync::Mutex<Duration>>::default();
        let seen = std::sync::Arc::clone(&longest);
        let watching = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                sleep(millis(2)).await;
                let stall = began.elapsed().saturating_sub(millis(4));
                let mut longest = seen.lock().unwrap();
                *longest = stall.max(*longest);
            }
        });
        Self(watching, longest)
    }

    /// The most calls of each action that came in any second.
    pub(super) fn busiest(&self, sim: &Simulator) -> BTreeMap<(String, String), usize> {
        let stall = (*self.1.lock().unwrap()).min(millis(300));
        sim.with_call_log(|l| l.max_in_window(Duration::from_secs(1).saturating_sub(stall)))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One instance with many topics and groups, so that a pass takes its time.
async fn crowded(groups: usize) -> Simulator {
    let sim = empty_cloud(&[REGION]).await;
    sim.behaviour(|b| b.page_size_max = 10);
    sim.world(|w| crowd(w, groups));
    sim
}

fn crowd(world: &mut World, groups: usize) {
    add_instance(world, REGION, A);
    for n in 0..groups {
        world.add_topic(A, TopicSpec::new(&format!("t{n:03}"), 1)).unwrap();
        add_group(world, A, &format!("g{n:03}"), "orders");
    }
}

fn knows_all(page: &Scrape, groups: usize) -> bool {
    let of_a = [("instance_id", A)];
    page.count("alikafka_group_lag_messages", &of_a) == groups + 2
        && page.count("alikafka_topic_messages", &of_a) == groups + 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_second_ever_holds_more_calls_than_allowed() {
    let (stalls, sim) = (Stalls::watch(), crowded(40).await);
    // As many calls as the budget can bear: 42 a pass at 20 a second, and 5 pages a list at 8.
    let settings = [
        ("REQUESTS_PER_SECOND", "20"),
        ("REQUEST_RATES", "GetTopicList=8,GetConsumerList=8"),
        ("POLL_INTERVAL", "2200ms"),
        ("TOPIC_POLL_INTERVAL", "2200ms"),
        ("DISCOVERY_INTERVAL", "1s"),
        ("STALE_AFTER", "5s"),
    ];
    let daemon = Daemon::start(&sim, &settings).await;
    daemon.until("a first pass", |p| knows_all(p, 40)).await;
    // At ticks, with failures that are asked again.
    sim.faults(|f| {
        f.add(Fault::new(error(503, "ServiceUnavailable", "no")).occurrence(Occurrence::Probability(0.2, 7)))
    });
    let then = sim.call_log().len();
    daemon.until("some passes with failures", |_| sim.call_log().len() > then + 150).await;
    // An outage, and its end.
    sim.faults(|f| {
        f.clear();
        f.add(Fault::new(Effect::Close));
    });
    daemon.until("all is dropped", |p| p.sum("alikafka_group_lag_messages", &[]) == 0.0).await;
    sim.faults(Faults::clear);
    sim.world(write_more);
    let healed = Instant::now();
    daemon
        .until("all is fresh", |p| {
            let fresh = |n: usize| p.lag(A, &format!("g{n:03}")) == Some(AFTER);
            (0..40).all(fresh) && p.instance_up(A) == Some(1.0)
        })
        .await;
    assert!(healed.elapsed() < Duration::from_secs(12), "within two intervals, and a machine's moods");
    for ((region, action), most) in stalls.busiest(&sim) {
        let allowed = if action.ends_with("List") && action != "GetInstanceList" { 8 } else { 20 };
        assert!(most <= allowed, "{most} calls of {action} in {region} in one second");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn each_region_has_a_budget_of_its_own() {
    let (stalls, regions) = (Stalls::watch(), ["cn-beijing", "cn-shanghai"]);
    let sim = empty_cloud(&regions).await;
    sim.world(|w| {
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
    daemon.until("first passes", |p| all(p, BEFORE)).await;
    sim.world(write_more);
    daemon.until("second passes", |p| all(p, AFTER)).await;
    let busiest = stalls.busiest(&sim);
    assert!(busiest.values().all(|most| *most <= 10), "{busiest:?}");
    let both = regions.map(|r| busiest[&(r.to_owned(), "GetConsumerProgress".to_owned())]);
    assert!(both.iter().sum::<usize>() > 10, "one does not wait for the other: {both:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn random_failures_cost_a_tenth_more_calls_at_most() {
    let sim = crowded(30).await;
    let fault =
        Fault::new(error(503, "ServiceUnavailable", "no")).occurrence(Occurrence::Probability(0.2, 11));
    sim.faults(|f| f.add(fault));
    let settings = [("POLL_INTERVAL", "500ms"), ("TOPIC_POLL_INTERVAL", "500ms"), ("STALE_AFTER", "20s")];
    let daemon = Daemon::start(&sim, &settings).await;
    let page = daemon
        .until("a thousand calls, and all known", |p| {
            p.sum("alikafka_exporter_api_requests_total", &[]) > 1000.0 && knows_all(p, 30)
        })
        .await;
    let retries = page.sum("alikafka_exporter_api_retries_total", &[]);
    let first = page.sum("alikafka_exporter_api_requests_total", &[]) - retries;
    assert!(retries > 5.0, "failures are asked again: {retries}");
    assert!(retries <= 5.0 + first / 10.0, "{retries} retries of {first} calls");
    let failed = page.sum("alikafka_exporter_api_requests_total", &[("result", "server")]);
    assert!((0.1..0.3).contains(&(failed / (first + retries))), "the fault has met a fifth: {failed}");
    daemon.stop().await;
}

/// A single pass: what comes twice is a retry.
const ONCE: [(&str, &str); 4] = [
    ("POLL_INTERVAL", "10m"),
    ("TOPIC_POLL_INTERVAL", "10m"),
    ("STALE_AFTER", "30m"),
    ("DISCOVERY_INTERVAL", "1h"),
];

/// How often each question came: an action, an instance, a topic or group, a page.
fn by_question(sim: &Simulator) -> BTreeMap<[Option<String>; 4], u64> {
    let mut calls = BTreeMap::new();
    sim.with_call_log(|l| {
        for e in l.entries() {
            let asked = [Some(e.action.clone()), e.instance.clone(), e.object.clone(), e.page.clone()];
            *calls.entry(asked).or_default() += 1;
        }
    });
    calls
}

/// The retries of the first pass, of how many first attempts.
async fn retries_of_first_pass(daemon: &Daemon, sim: &Simulator) -> (u64, u64) {
    let ended = |lines: &[serde_json::Value]| lines.iter().any(|l| l["msg"] == "first pass ended");
    daemon.until_logged("the end of the first pass", ended).await;
    let calls = by_question(sim);
    assert!(calls.values().all(|n| *n <= 3), "three attempts at most: {calls:?}");
    let first = calls.len().try_into().unwrap();
    (calls.values().sum::<u64>() - first, first)
}

#[tokio::test]
async fn of_a_pass_in_which_a_fifth_fails_a_tenth_and_the_reserve_are_asked_again() {
    let sim = crowded(300).await;
    for (action, seed) in [("GetConsumerProgress", 3), ("GetTopicStatus", 4)] {
        let fault = Fault::new(error(503, "ServiceUnavailable", "no")).action(action);
        sim.faults(|f| f.add(fault.occurrence(Occurrence::Probability(0.2, seed))));
    }
    let daemon = Daemon::start(&sim, &ONCE).await;
    let (retries, first) = retries_of_first_pass(&daemon, &sim).await;
    assert!(first > 600, "{first}");
    assert!(10 * retries <= first + 50, "{retries} retries of {first} calls, and a reserve of five");
    assert!(10 * retries > first, "what failed is asked again while the budget lasts: {retries} of {first}");
    let page = daemon.scrape().await;
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let retries = retries as f64;
    assert_eq!(page.sum("alikafka_exporter_api_retries_total", &[]), retries, "as in the call log");
    daemon.stop().await;
}

fn throttle(retry_after_ms: Option<u64>) -> Effect {
    Effect::Throttle { status: 400, code: "Throttling.User".to_owned(), retry_after_ms }
}

fn allowed(page: &Scrape, action: &str) -> Option<f64> {
    page.value("alikafka_exporter_api_budget_requests_per_second", &[("action", action)])
}

#[tokio::test]
async fn a_quota_below_the_budget_is_found_by_refusals_and_kept_to() {
    let sim = crowded(100).await;
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
        let of = |e: &&CallLogEntry| e.action == "GetConsumerProgress" && e.code != "pending";
        sim.with_call_log(|l| l.entries().filter(of).map(|e| e.code.clone()).collect())
    };
    daemon.until("a hundred and twenty calls", |_| codes().len() >= 120).await;
    let refused = codes().iter().rev().take(40).filter(|c| *c == "Throttling.User").count();
    assert!(refused <= 10, "{refused} of the last forty were refused: {:?}", codes());
    let page = daemon.scrape().await;
    let lowered = allowed(&page, "GetConsumerProgress").unwrap();
    assert!((1.0..8.0).contains(&lowered), "{lowered}");
    assert_eq!(allowed(&page, "GetTopicStatus"), Some(20.0), "another action has another quota");
    daemon.stop().await;
}

#[tokio::test]
async fn a_pass_that_is_throttled_wholly_costs_a_tenth_more_calls_and_one_line_and_ends() {
    let sim = crowded(10).await;
    sim.faults(|f| f.add(Fault::new(throttle(None)).action("GetConsumerProgress")));
    let settings = [("REQUESTS_PER_SECOND", "20"), ("REQUEST_TIMEOUT", "4s"), ("STALE_AFTER", "2m")];
    let daemon = Daemon::start(&sim, &settings).await;
    let page = daemon
        .until("it is slowed, and the pass has ended", |p| {
            allowed(p, "GetConsumerProgress").is_some_and(|rate| rate < 5.0)
                && p.instance_up(A) == Some(0.0)
                && p.api_calls("GetConsumerProgress", "throttled") > 20.0
        })
        .await;
    let retries = page.sum("alikafka_exporter_api_retries_total", &[]);
    let first = page.sum("alikafka_exporter_api_requests_total", &[]) - retries;
    assert!(retries <= 5.0 + first / 10.0, "{retries} retries of {first} calls");
    assert_eq!(page.region_up(REGION), Some(0.0));
    assert_eq!(page.count("alikafka_topic_messages", &[]), 12, "another action goes on");
    let lines = daemon.failures();
    assert_eq!(lines.len(), 1, "one line, whether refused or not sent for that: {lines:#?}");
    assert_eq!(lines[0]["result"], "throttled");
    sim.faults(Faults::clear);
    daemon.until("all is known, though slowly: each has its turn", |p| knows_all(p, 10)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_wish_to_wait_is_a_pause_of_all_calls_of_the_action() {
    let sim = crowded(30).await;
    let fault = Fault::new(throttle(Some(2_000))).action("GetConsumerProgress");
    sim.faults(|f| f.add(fault.times(1)));
    let daemon = Daemon::start(&sim, &[ONCE[0], ONCE[1], ONCE[2], ("REQUESTS_PER_SECOND", "10")]).await;
    daemon.until("all known", |p| knows_all(p, 30)).await;
    let times: Vec<Instant> = sim
        .with_call_log(|l| l.entries().filter(|e| e.action == "GetConsumerProgress").map(|e| e.at).collect());
    // The refusal takes its time, in which others may be sent.
    let meanwhile = times.iter().filter(|at| at.duration_since(times[0]) < millis(1_900)).count();
    assert!(meanwhile <= 6, "{meanwhile} calls in less than the two seconds that the cloud wished for");
    daemon.stop().await;
}

#[tokio::test]
async fn an_outage_of_many_passes_ends_without_a_burst_and_all_is_fresh_at_once() {
    let sim = crowded(40).await;
    let settings = [
        ("REQUESTS_PER_SECOND", "20"),
        ("POLL_INTERVAL", "2500ms"),
        ("TOPIC_POLL_INTERVAL", "2500ms"),
        ("DISCOVERY_INTERVAL", "2500ms"),
        ("STALE_AFTER", "6s"),
    ];
    let daemon = Daemon::start(&sim, &settings).await;
    daemon.until("a first pass", |p| knows_all(p, 40)).await;
    let (address, epoch) = (sim.addr(), sim.now_ms());
    sim.shutdown().await;
    let page = daemon
        .until("four passes have failed, and all is dropped", |p| {
            p.api_calls("GetConsumerProgress", "connect") > 4.0 * 42.0 && !knows_all(p, 0)
        })
        .await;
    assert_eq!(page.region_up(REGION), Some(0.0));
    let failed = page.sum("alikafka_exporter_api_requests_total", &[("result", "connect")]);
    let retries = page.sum("alikafka_exporter_api_retries_total", &[]);
    // The reserve may be ten by now.
    assert!(retries <= 10.0 + failed / 10.0, "{retries} retries, {failed} failed");
    let world = WorldOptions { epoch_ms: Some(epoch), ..WorldOptions::empty([REGION]) };
    let behaviour = ServiceBehaviour { keys: vec![key()], page_size_max: 10, ..ServiceBehaviour::default() };
    let options = SimulatorOptions { listen: address, world, behaviour, ..SimulatorOptions::default() };
    let stalls = Stalls::watch();
    let healed = Simulator::start(options).await.unwrap();
    healed.world(|w| {
        crowd(w, 40);
        write_more(w);
    });
    daemon
        .until("all is fresh", |p| {
            (0..40).all(|n| p.lag(A, &format!("g{n:03}")) == Some(AFTER)) && p.instance_up(A) == Some(1.0)
        })
        .await;
    let most = by_question(&healed).into_values().max();
    assert!(most <= Some(3), "fresh within two intervals: nothing was asked more often than {most:?} times");
    for ((_, action), most) in stalls.busiest(&healed) {
        assert!(most <= 20, "{most} calls of {action} in one second");
    }
    daemon.stop().await;
}

/// When a group's progress was asked for.
fn asked(sim: &Simulator, group: &str) -> Vec<Instant> {
    let of = |e: &&CallLogEntry| e.action == "GetConsumerProgress" && e.object.as_deref() == Some(group);
    let of_a = |e: &&CallLogEntry| of(e) && e.instance.as_deref() == Some(A);
    sim.with_call_log(|l| l.entries().filter(of_a).map(|e| e.at).collect())
}

/// Polls so seldom that what comes in between are retries.
const SELDOM: [(&str, &str); 4] = [
    ("POLL_INTERVAL", "20s"),
    ("TOPIC_POLL_INTERVAL", "20s"),
    ("STALE_AFTER", "1m"),
    ("DISCOVERY_INTERVAL", "1m"),
];

#[tokio::test]
async fn a_call_is_made_three_times_at_most_with_pauses_in_between() {
    let sim = cloud().await;
    sim.faults(|f| f.add(on_group("billing", error(500, "InternalError", "oops"))));
    let daemon = Daemon::start(&sim, &SELDOM).await;
    let page = daemon.until("it has failed for good", |p| p.instance_up(A) == Some(0.0)).await;
    assert_eq!(asked(&sim, "billing").len(), 3);
    assert_eq!(page.api_calls("GetConsumerProgress", "server"), 3.0);
    assert_eq!(page.sum("alikafka_exporter_api_retries_total", &[("action", "GetConsumerProgress")]), 2.0);
    assert_eq!((page.lag(A, "billing"), page.lag(A, "shipping")), (None, Some(BEFORE)));
    daemon.stop().await;
}

#[tokio::test]
async fn the_wish_of_a_throttling_cloud_is_heeded_and_a_failure_that_was_mended_is_no_news() {
    let sim = cloud().await;
    sim.faults(|f| f.add(on_group("billing", throttle(Some(1_300))).times(1)));
    let daemon = Daemon::start(&sim, &SELDOM).await;
    let page = daemon.until("all known", |p| all_lag_by(p, BEFORE) && p.instance_up(A) == Some(1.0)).await;
    match asked(&sim, "billing").as_slice() {
        [first, second] => assert!(second.duration_since(*first) >= millis(1_300)),
        calls => panic!("{} calls", calls.len()),
    }
    assert_eq!(page.api_calls("GetConsumerProgress", "throttled"), 1.0);
    assert_eq!(daemon.failures().len(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_pass_that_takes_longer_than_its_interval_does_not_overlap_itself() {
    let sim = cloud().await;
    let latency = millis(700);
    sim.behaviour(|b| b.latency.fixed = latency);
    let settings = [("REQUEST_TIMEOUT", "5s"), ("STALE_AFTER", "10s")];
    let daemon = Daemon::start(&sim, &settings).await;
    daemon.until("several passes", |_| asked(&sim, "billing").len() >= 5).await;
    daemon.until("all known", |p| all_lag_by(p, BEFORE) && p.instance_up(A) == Some(1.0)).await;
    let mut last = BTreeMap::<_, Instant>::new();
    sim.with_call_log(|l| {
        for e in l.entries() {
            let unit = (e.action.clone(), e.instance.clone(), e.object.clone());
            if let Some(before) = last.insert(unit, e.at) {
                // The answer takes its way too, so a call cannot come sooner than the one before has ended.
                let between = e.at.duration_since(before);
                assert!(between >= latency, "{} of {:?} after {between:?}", e.action, e.object);
            }
        }
    });
    daemon.stop().await;
}

#[tokio::test]
async fn one_slow_instance_does_not_make_the_other_late() {
    let sim = cloud().await;
    sim.faults(|f| f.add(Fault::new(Effect::Hang).instance(A)));
    let daemon = Daemon::start(&sim, &[("REQUEST_TIMEOUT", "3s")]).await;
    daemon.until("the other is known", |p| p.lag(B, "billing") == Some(BEFORE)).await;
    sim.world(write_more);
    let page = daemon
        .until("the other is fresh", |p| {
            p.lag(B, "billing") == Some(AFTER) && p.end_offset(B, "audit", "0") == Some(14.0)
        })
        .await;
    assert_eq!(page.instance_up(A), None, "it has not even failed yet");
    assert_eq!(page.instance_up(B), Some(1.0));
    daemon.until("it has failed", |p| p.api_calls("GetConsumerList", "timeout") > 0.0).await;
    daemon.stop().await;
}
