//! Another configuration of the same account takes over what is known.

use regex::Regex;

use super::*;
use crate::model::Filter;

/// Stops an account and runs it under another configuration, as a reload does.
pub(super) async fn reloaded(
    running: Running,
    script: &Script,
    edit: impl FnOnce(&mut AccountPlan<Script>),
) -> Running {
    let Running { store, health, counts, explain_router, shutdown, task } = running;
    shutdown.cancel();
    let before = task.await.unwrap().unwrap();
    let shared = before.context.clone();
    let mut account = account(script, before.plan.regions.clone(), Filters::default(), 20.0);
    edit(&mut account);
    let known: Vec<_> = store.current().regions.iter().map(|r| r.region.clone()).collect();
    let mut collector = AccountSupervisor::new(account, shared, &known).unwrap();
    collector.resume_from(before);
    store.replace(collector.views());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(collector.run(shutdown.clone()));
    Running { store, health, counts, explain_router, shutdown, task }
}

fn excluding(pattern: &str) -> Filter {
    Filter { include: Vec::new(), exclude: vec![Regex::new(&format!("^(?:{pattern})$")).unwrap()] }
}

#[tokio::test(start_paused = true)]
async fn a_value_keeps_its_age() {
    let script = one_instance(2);
    let running = Running::fixed(&script);
    seconds(5).await;
    script.edit(|w| {
        w.failing.insert(PollTarget::GroupProgress(id("i"), group("g0")), ErrorKind::Server);
    });
    seconds(115).await;
    let at_first = running.instance("i").unwrap().last_success.groups;
    let running = reloaded(running, &script, |_| {}).await;
    assert_eq!(running.lag("i", "g0"), Some(7), "before anything was asked again");
    assert_eq!(running.instance("i").unwrap().up, Some(false), "a failure goes on");
    assert_eq!(running.instance("i").unwrap().last_success.groups, at_first);
    seconds(50).await;
    assert_eq!(running.lag("i", "g0"), Some(7));
    seconds(20).await;
    assert_eq!(running.lag("i", "g0"), None, "180 s after it was read, not after the reload");
    assert_eq!(running.lag("i", "g1"), Some(7));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn other_bounds_hold_for_what_is_known_already() {
    let script = one_instance(1);
    let running = Running::fixed(&script);
    seconds(50).await;
    let short = Duration::from_secs(30);
    let running = reloaded(running, &script, |a| a.timing.stale_after = short).await;
    assert_eq!(running.lag("i", "g0"), None, "older than it may be now");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn lists_are_asked_for_at_once_and_what_waits_keeps_its_time() {
    let script = one_instance(40);
    let running = Running::fixed(&script);
    // Each is at its phase of the interval by then.
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
    assert_eq!(running.lag("i", "new"), Some(7), "found at once");
    let is_progress = |u: &PollTarget| matches!(u, PollTarget::GroupProgress(..));
    assert!(script.calls(is_progress) < 10, "not all anew: {}", script.calls(is_progress));
    seconds(59).await;
    assert!((41..45).contains(&script.calls(is_progress)), "each once: {}", script.calls(is_progress));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shorter_interval_counts_from_now_on() {
    let script = one_instance(5);
    let running = Running::fixed(&script);
    seconds(200).await;
    script.edit(|w| w.calls.clear());
    let running = reloaded(running, &script, |a| a.timing.poll = Duration::from_secs(10)).await;
    seconds(11).await;
    assert_eq!(
        script.calls(|u| matches!(u, PollTarget::GroupProgress(..))).min(5),
        5,
        "each was due within it"
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_dropped_are_made_again_at_once() {
    let script = one_instance(1);
    script.edit(|w| {
        w.slow.insert(id("i"), Duration::from_secs(40));
    });
    let running = Running::fixed(&script);
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
async fn what_is_filtered_out_goes_at_once_and_the_rest_stays() {
    let script = one_instance(3);
    script.edit(|w| {
        w.instances.push(instance("j", InstanceState::Running));
        w.topics.insert(id("i"), vec![topic("t"), topic("u")]);
    });
    let running = Running::fixed(&script);
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
    assert_eq!(view.topics[0].groups, None, "a group that is hidden may read it");
    assert_eq!((running.lag("i", "g0"), view.up), (Some(7), Some(true)));
    seconds(300).await;
    let hidden = |u: &PollTarget| u.instance() == Some(&id("j")) || matches!(u.object(), Some("g1" | "u"));
    assert_eq!(script.calls(hidden), 0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_region_is_not_shown_before_its_first_answer_and_the_search_goes_on() {
    let (east, west) = (RegionId::new("east-1").unwrap(), RegionId::new("west-1").unwrap());
    let script = one_instance(1);
    script.edit(|w| w.regions = vec![east.clone(), west.clone()]);
    let running = Running::start(&script, RegionSelection::Auto, Filters::default());
    let shown = |r: &Running| r.store.current().regions.iter().map(|r| r.region.clone()).collect::<Vec<_>>();
    seconds(10).await;
    assert_eq!(shown(&running), [east.clone(), west.clone()]);
    script.edit(|w| w.regions_fail = true);
    let running = reloaded(running, &script, |a| a.filters.regions = excluding("west-1")).await;
    assert_eq!(shown(&running), std::slice::from_ref(&east));
    seconds(400).await;
    assert_eq!(shown(&running), std::slice::from_ref(&east), "a search that fails takes nothing away");
    let fixed = vec![east.clone(), west.clone()];
    let running = reloaded(running, &script, |a| a.regions = RegionSelection::List(fixed)).await;
    assert_eq!(shown(&running), std::slice::from_ref(&east));
    seconds(5).await;
    assert_eq!(shown(&running), [east, west]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_search_that_never_succeeded_stays_on_the_page() {
    let script = one_instance(1);
    script.edit(|w| w.regions_fail = true);
    let running = Running::start(&script, RegionSelection::Auto, Filters::default());
    seconds(5).await;
    script.edit(|w| w.regions_take = Duration::from_secs(50));
    let running = reloaded(running, &script, |_| {}).await;
    let down = running.region().unwrap();
    assert_eq!((down.region.as_str(), down.up), ("cn-hangzhou", Some(false)), "before it was tried again");
    running.stop().await;
}
