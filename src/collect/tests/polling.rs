//! Pollers and supervisor: spreading of calls, isolation of failures, expiry, readiness.

use regex::Regex;
use test_support::log_capture::LogCapture;
use tracing::Level;

use super::*;
use crate::model::Filter;

fn is_progress(target: &PollTarget) -> bool {
    matches!(target, PollTarget::GroupProgress(..))
}

#[tokio::test(start_paused = true)]
async fn targets_are_spread_over_the_interval() {
    let script = one_instance(300);
    let running = RunningAccount::fixed(&script);
    seconds(120).await;
    script.edit(|w| w.calls.clear());
    let from = Instant::now();
    seconds(600).await;
    let calls = script.edit(|w| std::mem::take(&mut w.calls));
    let mut by_second = BTreeMap::<u64, usize>::new();
    let mut by_target = BTreeMap::<PollTarget, usize>::new();
    for (at, target) in calls.into_iter().filter(|(_, target)| is_progress(target)) {
        *by_second.entry(at.duration_since(from).as_secs()).or_default() += 1;
        *by_target.entry(target).or_default() += 1;
    }
    assert_eq!(by_target.len(), 300);
    assert!(by_target.values().all(|n| *n == 10), "ten intervals, ten polls: {by_target:?}");
    let most = by_second.values().max().unwrap();
    assert!(*most <= 20, "300 groups per minute are 5 per second, got {most}");
    running.stop().await;
}

/// Returns the seconds between successive calls, per group and topic.
fn gaps(calls: Vec<(Instant, PollTarget)>) -> BTreeMap<PollTarget, Vec<u64>> {
    let mut by_target = BTreeMap::<PollTarget, Vec<Instant>>::new();
    for (at, target) in calls.into_iter().filter(|(_, target)| target.object().is_some()) {
        by_target.entry(target).or_default().push(at);
    }
    let seconds = |w: &[Instant]| w[1].duration_since(w[0]).as_secs_f64().round() as u64;
    by_target.into_iter().map(|(target, at)| (target, at.windows(2).map(seconds).collect())).collect()
}

#[tokio::test(start_paused = true)]
async fn idle_targets_are_polled_less_often_and_become_active_at_once() {
    let script = one_instance(40);
    script.edit(|w| w.offset = 0);
    let running = RunningAccount::fixed(&script);
    seconds(600).await;
    let first = gaps(script.edit(|w| std::mem::take(&mut w.calls)));
    assert_eq!(first.len(), 41);
    assert!(first.values().flatten().all(|gap| *gap <= 150), "never less often: {first:?}");
    seconds(1800).await;
    let idle = gaps(script.edit(|w| std::mem::take(&mut w.calls)));
    assert!(idle.values().all(|gaps| gaps.len() >= 18 && gaps.iter().all(|gap| *gap == 90)), "{idle:?}");
    script.edit(|w| w.offset = 7);
    seconds(91).await;
    assert!((0..40).all(|n| running.lag("i", &format!("g{n}")) == Some(7)));
    seconds(61).await;
    script.edit(|w| w.calls.clear());
    seconds(1800).await;
    let active = gaps(script.edit(|w| std::mem::take(&mut w.calls)));
    for (target, gaps) in &active {
        // The groups of the topic report its end offsets.
        let interval = if is_progress(target) { 60 } else { 90 };
        assert!(gaps.iter().all(|gap| *gap == interval), "{target:?} {gaps:?}");
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_failed_poll_of_an_idle_target_leaves_no_gap() {
    // Failing at once, after the timeout of a call, and after the timeouts of its retries.
    for delay in [0, 15, 47] {
        let script = one_instance(60);
        script.edit(|w| w.offset = 0);
        let running = RunningAccount::fixed(&script);
        seconds(1000).await;
        script.edit(|w| {
            let targets = (0..60).map(|n| PollTarget::GroupProgress(id("i"), group(&format!("g{n}"))));
            let targets = targets.chain([PollTarget::TopicStatus(id("i"), topic("t").name)]);
            let fails = (Duration::from_secs(delay), ErrorKind::Timeout);
            w.failing_once = targets.map(|target| (target, fails)).collect();
        });
        for second in 0..400 {
            seconds(1).await;
            let view = running.instance("i").unwrap();
            assert!(view.groups.iter().all(|g| g.lag.is_some()), "{second} s, failing after {delay} s");
            assert!(view.topics.iter().all(|t| t.status.is_some()), "{second} s, failing after {delay} s");
        }
        assert!(script.edit(|w| w.failing_once.is_empty()), "each has failed");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_recreated_topic_is_polled_as_soon_as_a_group_reports_it() {
    let script = one_instance(1);
    script.edit(|w| w.offset = 100);
    let running = RunningAccount::fixed(&script);
    seconds(700).await;
    let calls = || script.calls(|u| matches!(u, PollTarget::TopicStatus(..)));
    let before = calls();
    while calls() == before {
        seconds(1).await;
    }
    script.edit(|w| w.offset = 3);
    seconds(62).await;
    let end = |v: &InstanceView| v.topics[0].status.as_ref().unwrap().partitions[0].end.map(Offset::get);
    assert_eq!(end(&running.instance("i").unwrap()), Some(3), "its regular poll is half a minute away");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_shortage_is_logged_once() {
    let (_guard, log) = LogCapture::start(Level::INFO);
    let script = one_instance(150);
    script.edit(|w| w.rate = Some(1.0));
    let running = RunningAccount::over(&script, hangzhou(), Filters::default(), 1.0);
    seconds(1200).await;
    let logged = |words: &str| {
        let log = log.text();
        log.lines().filter(|l| l.contains(words)).map(str::to_owned).collect::<Vec<_>>()
    };
    let [short] = &logged("request budget too low")[..] else { panic!("{:?}", logged("budget")) };
    for part in ["action=\"GetConsumerProgress\"", "needs_per_second=\"2.50\"", "allowed_per_second=\"1.00\""]
    {
        assert!(short.contains(part), "{short}");
    }
    script.edit(|w| w.groups.insert(id("i"), (0..20).map(|n| group(&format!("g{n}"))).collect()));
    seconds(700).await;
    assert_eq!(
        (logged("request budget too low").len(), logged("request budget sufficient again").len()),
        (1, 1)
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_refreshed_is_kept_until_it_expires() {
    let script = one_instance(2);
    let running = RunningAccount::fixed(&script);
    seconds(120).await;
    assert_eq!(running.lag("i", "g0"), Some(7));
    assert_eq!(running.instance("i").unwrap().up, Some(true));
    script.edit(|w| {
        w.failing.insert(PollTarget::GroupProgress(id("i"), group("g0")), ErrorKind::Server);
        w.offset = 9;
    });
    seconds(90).await;
    assert_eq!(running.lag("i", "g0"), Some(7), "a failure keeps the value");
    assert_eq!(running.lag("i", "g1"), Some(9), "the other group is refreshed");
    assert_eq!(running.instance("i").unwrap().up, Some(false));
    assert_eq!(running.region().unwrap().up, Some(false), "the only instance is down");
    seconds(200).await;
    assert_eq!(running.lag("i", "g0"), None, "expired: absent, not 0");
    let view = running.instance("i").unwrap();
    assert!(view.groups.iter().any(|g| g.id.as_str() == "g0" && g.listed), "the list still contains it");
    assert_eq!(view.topics.first().unwrap().groups, None, "the number of consumers is unknown");
    script.edit(|w| w.failing.clear());
    seconds(65).await;
    assert_eq!(running.lag("i", "g0"), Some(9));
    assert_eq!(running.instance("i").unwrap().up, Some(true));
    assert_eq!(running.instance("i").unwrap().topics.first().unwrap().groups, Some(2));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_not_found_is_removed_without_a_failure() {
    let script = one_instance(2);
    let running = RunningAccount::fixed(&script);
    seconds(70).await;
    script.edit(|w| {
        w.failing
            .insert(PollTarget::GroupProgress(id("i"), group("g0")), ErrorKind::Gone { instance: false });
    });
    seconds(65).await;
    assert!(running.instance("i").unwrap().groups.iter().all(|g| g.id.as_str() != "g0"));
    assert_eq!(running.instance("i").unwrap().up, Some(true));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_out_of_service_is_listed_but_not_polled() {
    let script = one_instance(2);
    let running = RunningAccount::fixed(&script);
    seconds(70).await;
    script.edit(|w| w.instances = vec![instance("i", InstanceState::Expired)]);
    seconds(320).await;
    let view = running.instance("i").unwrap();
    assert_eq!(view.info.as_ref().unwrap().state, Some(InstanceState::Expired));
    assert!(view.groups.is_empty() && view.topics.is_empty());
    assert_eq!(view.up, None);
    assert_eq!(running.region().unwrap().up, Some(true));
    script.edit(|w| w.calls.clear());
    seconds(200).await;
    assert_eq!(script.calls(|target| target.instance().is_some()), 0);
    script.edit(|w| w.instances = vec![instance("i", InstanceState::Running)]);
    seconds(320).await;
    assert_eq!(running.lag("i", "g0"), Some(7));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_returns_not_found_triggers_discovery() {
    let script = one_instance(1);
    let running = RunningAccount::fixed(&script);
    seconds(70).await;
    script.edit(|w| {
        w.failing.insert(PollTarget::GroupProgress(id("i"), group("g0")), ErrorKind::Gone { instance: true });
        w.instances.clear();
        w.instances.push(instance("other", InstanceState::Running));
    });
    seconds(65).await;
    assert!(running.instance("i").is_none(), "no need to wait for the next discovery");
    assert!(running.instance("other").is_some());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn excluded_objects_cost_no_calls() {
    let only = |pattern: &str| Filter { include: vec![Regex::new(pattern).unwrap()], exclude: Vec::new() };
    let script = one_instance(3);
    script.edit(|w| w.instances.push(instance("hidden", InstanceState::Running)));
    let filters = Filters {
        instances: only("^(?:name of i)$"),
        groups: only("^(?:g1)$"),
        topics: Filter { include: Vec::new(), exclude: vec![Regex::new("^t$").unwrap()] },
        ..Filters::default()
    };
    let running = RunningAccount::start(&script, hangzhou(), filters);
    seconds(200).await;
    assert_eq!(running.lag("i", "g1"), Some(7));
    let details =
        |target: &PollTarget| matches!(target, PollTarget::TopicStatus(..) | PollTarget::GroupProgress(..));
    assert_eq!(script.calls(|u| details(u) && u.object() != Some("g1")), 0);
    assert_eq!(script.calls(|u| u.instance() == Some(&id("hidden"))), 0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_slow_instance_does_not_make_the_others_late() {
    let script = ScriptedApi::default();
    script.edit(|w| {
        for n in 0..20 {
            let name = format!("i{n:02}");
            w.instances.push(instance(&name, InstanceState::Running));
            w.topics.insert(id(&name), vec![topic("t")]);
            w.groups.insert(id(&name), (0..20).map(|n| group(&format!("g{n}"))).collect());
        }
        w.offset = 7;
        w.slow.insert(id("i00"), Duration::from_secs(15));
        for n in 0..20 {
            w.failing
                .insert(PollTarget::GroupProgress(id("i00"), group(&format!("g{n}"))), ErrorKind::Timeout);
        }
    });
    let running = RunningAccount::fixed(&script);
    seconds(180).await;
    script.edit(|w| w.calls.clear());
    seconds(600).await;
    let healthy = script.calls(|u| is_progress(u) && u.instance() != Some(&id("i00")));
    assert_eq!(healthy, 19 * 20 * 10, "every group of the others, once per interval");
    let up: Vec<_> = running.region().unwrap().instances.iter().map(|i| i.up).collect();
    assert_eq!(up.iter().filter(|u| **u == Some(true)).count(), 19);
    assert_eq!(running.region().unwrap().up, Some(true));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_the_first_pass_even_if_it_fails() {
    let script = one_instance(3);
    script.edit(|w| {
        w.failing.insert(PollTarget::GroupProgress(id("i"), group("g1")), ErrorKind::Auth { key: false });
    });
    let running = RunningAccount::fixed(&script);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(running.awaited_first_passes(), ["cn-hangzhou"]);
    seconds(5).await;
    assert!(running.awaited_first_passes().is_empty());
    running.stop().await;

    let script = ScriptedApi::default();
    script.edit(|w| {
        w.failing.insert(PollTarget::Instances, ErrorKind::Connect);
    });
    let running = RunningAccount::fixed(&script);
    seconds(5).await;
    assert!(running.awaited_first_passes().is_empty(), "a first pass that failed has ended too");
    assert_eq!(running.region().unwrap().up, Some(false));
    script.edit(|w| {
        w.failing.clear();
        w.instances.push(instance("i", InstanceState::Running));
    });
    seconds(65).await;
    assert_eq!(running.region().unwrap().up, Some(true), "failed discovery is retried after a poll interval");
    assert!(running.awaited_first_passes().is_empty());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_one_attempt_at_one_target() {
    let script = one_instance(2);
    let running = RunningAccount::fixed(&script);
    seconds(70).await;
    script.edit(|w| {
        w.panicking.insert(PollTarget::GroupProgress(id("i"), group("g0")));
        w.offset = 9;
    });
    seconds(65).await;
    assert_eq!(running.instance("i").unwrap().up, Some(false));
    assert_eq!(running.lag("i", "g0"), Some(7), "kept");
    assert_eq!(running.lag("i", "g1"), Some(9));
    script.edit(|w| w.panicking.clear());
    seconds(65).await;
    assert_eq!(running.lag("i", "g0"), Some(9));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn discovered_regions_come_and_go() {
    let (east, west) = (RegionId::new("east-1").unwrap(), RegionId::new("west-1").unwrap());
    let script = one_instance(1);
    script.edit(|w| w.regions = vec![east.clone()]);
    let running = RunningAccount::start(&script, RegionSelection::Auto, Filters::default());
    let shown =
        |r: &RunningAccount| r.store.current().regions.iter().map(|r| r.region.clone()).collect::<Vec<_>>();
    seconds(10).await;
    assert_eq!(shown(&running), std::slice::from_ref(&east));
    script.edit(|w| w.regions = vec![west.clone()]);
    seconds(301).await;
    assert_eq!(shown(&running), std::slice::from_ref(&west));
    script.edit(|w| w.regions.clear());
    seconds(301).await;
    assert_eq!(shown(&running), [west], "the first empty response is ignored");
    assert_eq!(*running.counts.anomalies.lock().unwrap(), [AnomalyKind::EmptyList]);
    seconds(301).await;
    assert!(shown(&running).is_empty(), "the second one is accepted");
    assert!(running.health.stopped().is_empty());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn slow_region_discovery_keeps_the_heartbeat() {
    let script = one_instance(1);
    script.edit(|w| w.regions_take = Duration::from_secs(55));
    let running = RunningAccount::start(&script, RegionSelection::Auto, Filters::default());
    for _ in 0..54 {
        seconds(1).await;
        assert_eq!(running.health.stopped(), [""; 0]);
        assert_eq!(running.awaited_first_passes().len(), 1);
    }
    seconds(2).await;
    assert_eq!(running.awaited_first_passes(), [""; 0]);
    seconds(270).await;
    let begun = Instant::now();
    running.stop().await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "a shutdown interrupts the call");
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_list_is_polled_again_after_a_poll_interval() {
    let script = one_instance(1);
    let running = RunningAccount::fixed(&script);
    seconds(250).await;
    script.edit(|w| w.topics_incomplete = true);
    seconds(300).await;
    assert_eq!(running.instance("i").unwrap().up, Some(false));
    script.edit(|w| w.topics_incomplete = false);
    seconds(65).await;
    assert_eq!(running.instance("i").unwrap().up, Some(true), "before the next discovery");
    script.edit(|w| w.calls.clear());
    seconds(600).await;
    assert_eq!(script.calls(|u| matches!(u, PollTarget::Topics(_))), 2);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failing_region_discovery_shows_the_home_region_as_down() {
    let script = one_instance(1);
    script.edit(|w| w.regions_fail = true);
    let running = RunningAccount::start(&script, RegionSelection::Auto, Filters::default());
    let shown = |r: &RunningAccount| {
        let regions = r.store.current().regions;
        regions.iter().map(|r| (r.region.to_string(), r.up)).collect::<Vec<_>>()
    };
    seconds(5).await;
    assert_eq!(shown(&running), [("cn-hangzhou".to_owned(), Some(false))]);
    assert!(running.awaited_first_passes().is_empty());
    script.edit(|w| {
        w.regions_fail = false;
        w.regions = vec![RegionId::new("east-1").unwrap()];
    });
    seconds(65).await;
    assert_eq!(shown(&running), [("east-1".to_owned(), Some(true))]);
    script.edit(|w| w.regions_fail = true);
    seconds(301).await;
    assert_eq!(shown(&running), [("east-1".to_owned(), Some(true))], "known regions show their own state");
    assert!(running.health.stopped().is_empty());
    running.stop().await;
}
