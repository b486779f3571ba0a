//! A supervisor resumes from one with another configuration.

use regex::Regex;

use super::*;
use crate::model::Filter;

/// Stops an account and resumes it under another configuration, like a reload.
pub(super) async fn reloaded(
    running: RunningAccount,
    script: &ScriptedApi,
    edit: impl FnOnce(&mut AccountPlan<ScriptedApi>),
) -> RunningAccount {
    let RunningAccount { store, health, counts, explain_router, shutdown, task } = running;
    shutdown.cancel();
    let previous = task.await.unwrap().unwrap();
    let shared = previous.context.clone();
    let mut account = account(script, previous.plan.regions.clone(), Filters::default(), 20.0);
    edit(&mut account);
    let known: Vec<_> = store.current().regions.iter().map(|r| r.region.clone()).collect();
    let mut supervisor = AccountSupervisor::new(account, shared, &known).unwrap();
    supervisor.resume_from(previous);
    store.replace(supervisor.views());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(supervisor.run(shutdown.clone()));
    RunningAccount { store, health, counts, explain_router, shutdown, task }
}

fn excluding(pattern: &str) -> Filter {
    Filter { include: Vec::new(), exclude: vec![Regex::new(&format!("^(?:{pattern})$")).unwrap()] }
}

#[tokio::test(start_paused = true)]
async fn a_value_keeps_its_age() {
    let script = one_instance(2);
    let running = RunningAccount::fixed(&script);
    seconds(5).await;
    script.edit(|w| {
        w.failing.insert(PollTarget::GroupProgress(id("i"), group("g0")), ErrorKind::Server);
    });
    seconds(115).await;
    let at_first = running.instance("i").unwrap().last_success.groups;
    let running = reloaded(running, &script, |_| {}).await;
    assert_eq!(running.lag("i", "g0"), Some(7), "before the first call");
    assert_eq!(running.instance("i").unwrap().up, Some(false), "a failure continues");
    assert_eq!(running.instance("i").unwrap().last_success.groups, at_first);
    seconds(50).await;
    assert_eq!(running.lag("i", "g0"), Some(7));
    seconds(20).await;
    assert_eq!(running.lag("i", "g0"), None, "180 s after its poll, not after the reload");
    assert_eq!(running.lag("i", "g1"), Some(7));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn new_maximum_ages_apply_to_known_values() {
    let script = one_instance(1);
    let running = RunningAccount::fixed(&script);
    seconds(50).await;
    let short = Duration::from_secs(30);
    let running = reloaded(running, &script, |a| a.timing.stale_after = short).await;
    assert_eq!(running.lag("i", "g0"), None, "older than the new maximum");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn lists_are_polled_at_once_and_other_targets_keep_their_due_times() {
    let script = one_instance(40);
    let running = RunningAccount::fixed(&script);
    // Every target has reached its phase by then.
    seconds(200).await;
    script.edit(|w| {
        w.calls.clear();
        w.groups.get_mut(&id("i")).unwrap().push(group("new"));
    });
    let running = reloaded(running, &script, |_| {}).await;
    seconds(1).await;
    for list in [PollTarget::Instances, PollTarget::Topics(id("i")), PollTarget::Groups(id("i"))] {
        assert_eq!(script.calls(|u| *u == list), 1, "{list:?}");
    }
    assert_eq!(running.lag("i", "new"), Some(7), "discovered at once");
    let is_progress = |u: &PollTarget| matches!(u, PollTarget::GroupProgress(..));
    assert!(script.calls(is_progress) < 10, "not all of them: {}", script.calls(is_progress));
    seconds(59).await;
    assert!(
        (41..45).contains(&script.calls(is_progress)),
        "each of them once: {}",
        script.calls(is_progress)
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shorter_interval_applies_at_once() {
    let script = one_instance(5);
    let running = RunningAccount::fixed(&script);
    seconds(200).await;
    script.edit(|w| w.calls.clear());
    let running = reloaded(running, &script, |a| a.timing.poll = Duration::from_secs(10)).await;
    seconds(11).await;
    assert_eq!(
        script.calls(|u| matches!(u, PollTarget::GroupProgress(..))).min(5),
        5,
        "each is due within it"
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn cancelled_calls_are_repeated_at_once() {
    let script = one_instance(1);
    script.edit(|w| {
        w.slow.insert(id("i"), Duration::from_secs(40));
    });
    let running = RunningAccount::fixed(&script);
    // Lists until 40 s, then details until 80 s.
    seconds(60).await;
    script.edit(|w| {
        w.slow.clear();
        w.calls.clear();
    });
    let running = reloaded(running, &script, |_| {}).await;
    seconds(1).await;
    assert_eq!(running.lag("i", "g0"), Some(7));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn excluded_objects_are_removed_at_once_and_the_rest_is_kept() {
    let script = one_instance(3);
    script.edit(|w| {
        w.instances.push(instance("j", InstanceState::Running));
        w.topics.insert(id("i"), vec![topic("t"), topic("u")]);
    });
    let running = RunningAccount::fixed(&script);
    seconds(70).await;
    script.edit(|w| w.calls.clear());
    let filters = Filters {
        instances: excluding("name of j"),
        topics: excluding("u"),
        groups: excluding("g1"),
        ..Filters::default()
    };
    let running = reloaded(running, &script, |a| a.filters = filters).await;
    let view = running.instance("i").unwrap();
    assert!(running.instance("j").is_none());
    assert_eq!(view.groups.iter().map(|g| g.id.as_str()).collect::<Vec<_>>(), ["g0", "g2"]);
    assert_eq!(view.topics.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["t"]);
    assert_eq!(view.topics[0].groups, None, "an excluded group may consume it");
    assert_eq!((running.lag("i", "g0"), view.up), (Some(7), Some(true)));
    seconds(300).await;
    let excluded = |u: &PollTarget| u.instance() == Some(&id("j")) || matches!(u.object(), Some("g1" | "u"));
    assert_eq!(script.calls(excluded), 0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_region_is_not_shown_before_its_first_response_and_discovery_continues() {
    let (east, west) = (RegionId::new("east-1").unwrap(), RegionId::new("west-1").unwrap());
    let script = one_instance(1);
    script.edit(|w| w.regions = vec![east.clone(), west.clone()]);
    let running = RunningAccount::start(&script, RegionSelection::Auto, Filters::default());
    let shown =
        |r: &RunningAccount| r.store.current().regions.iter().map(|r| r.region.clone()).collect::<Vec<_>>();
    seconds(10).await;
    assert_eq!(shown(&running), [east.clone(), west.clone()]);
    script.edit(|w| w.regions_fail = true);
    let running = reloaded(running, &script, |a| a.filters.regions = excluding("west-1")).await;
    assert_eq!(shown(&running), std::slice::from_ref(&east));
    seconds(400).await;
    assert_eq!(shown(&running), std::slice::from_ref(&east), "failed discovery removes nothing");
    let fixed = vec![east.clone(), west.clone()];
    let running = reloaded(running, &script, |a| a.regions = RegionSelection::List(fixed)).await;
    assert_eq!(shown(&running), std::slice::from_ref(&east));
    seconds(5).await;
    assert_eq!(shown(&running), [east, west]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_placeholder_of_failing_discovery_survives() {
    let script = one_instance(1);
    script.edit(|w| w.regions_fail = true);
    let running = RunningAccount::start(&script, RegionSelection::Auto, Filters::default());
    seconds(5).await;
    script.edit(|w| w.regions_take = Duration::from_secs(50));
    let running = reloaded(running, &script, |_| {}).await;
    let down = running.region().unwrap();
    assert_eq!((down.region.as_str(), down.up), ("cn-hangzhou", Some(false)), "before the next attempt");
    running.stop().await;
}
