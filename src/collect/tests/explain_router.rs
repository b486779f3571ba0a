//! Routing of explain requests to running pollers: replies, timeouts, reloads.

use super::{reload::reloaded, *};
use crate::collect::{
    explain_router::{ExplainReplies, ExplainReply, ExplainRequest, ExplainRouter},
    state::details::KnownObjects,
};

fn request(name: &str) -> ExplainRequest {
    ExplainRequest { instance: id("i"), group: group(name), topic: None, region: None, account: None }
}

fn region(name: &str) -> RegionId {
    RegionId::new(name).unwrap()
}

/// Region and lag of each group found.
fn found(replies: &ExplainReplies) -> Vec<(&str, Option<u64>)> {
    let lag = |details: &crate::collect::state::details::GroupDetails| {
        details.last_poll.as_ref().and_then(|poll| poll.lag.messages)
    };
    replies.found.iter().map(|details| (details.region.as_str(), lag(details))).collect()
}

/// Explains a group and returns the elapsed seconds.
async fn timed(router: &ExplainRouter, request: ExplainRequest) -> (Option<ExplainReplies>, f64) {
    let begin = Instant::now();
    let replies = router.explain(request).await;
    (replies, begin.elapsed().as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn a_poller_replies_without_an_api_call() {
    let script = one_instance(2);
    let running = RunningAccount::fixed(&script);
    seconds(5).await;
    let calls = script.calls(|_| true);
    let (replies, elapsed) = timed(&running.explain_router, request("g1")).await;
    let replies = replies.unwrap();
    assert_eq!((found(&replies), elapsed), (vec![("cn-hangzhou", Some(7))], 0.0));
    assert_eq!(script.calls(|_| true), calls);
    assert_eq!((replies.polled, replies.timed_out.len()), (vec!["cn-hangzhou".to_owned()], 0));

    let unknown = async |request| running.explain_router.explain(request).await.unwrap().unknown;
    let known = KnownObjects { instances: 1, groups_of_instance: Some(2), topics_of_group: None };
    assert_eq!(unknown(request("other")).await, [("cn-hangzhou".to_owned(), known)]);
    let other_instance = ExplainRequest { instance: id("j"), ..request("g1") };
    assert_eq!(unknown(other_instance).await[0].1, KnownObjects { instances: 1, ..KnownObjects::default() });
    let other_topic = ExplainRequest { topic: Some(topic("other").name), ..request("g1") };
    assert_eq!(unknown(other_topic).await[0].1.topics_of_group, Some(1));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn region_and_account_select_the_pollers() {
    let script = one_instance(1);
    let both = RegionSelection::List(vec![region("cn-hangzhou"), region("cn-beijing")]);
    let running = RunningAccount::start(&script, both, Filters::default());
    seconds(5).await;
    let explain = async |name: Option<&str>, account: Option<&str>| {
        let account = account.map(|account| AccountName::new(account).unwrap());
        let request = ExplainRequest { region: name.map(region), account, ..request("g0") };
        running.explain_router.explain(request).await.unwrap()
    };
    let all = explain(None, None).await;
    assert_eq!(found(&all), [("cn-beijing", Some(7)), ("cn-hangzhou", Some(7))]);
    assert_eq!(found(&explain(Some("cn-beijing"), None).await), [("cn-beijing", Some(7))]);
    for (region, account) in [(Some("cn-shanghai"), None), (None, Some("prod"))] {
        let replies = explain(region, account).await;
        assert!(replies.found.is_empty() && replies.unknown.is_empty() && replies.timed_out.is_empty());
        assert_eq!(replies.polled, ["cn-beijing", "cn-hangzhou"]);
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_poller_times_out_after_two_seconds_and_delays_no_other() {
    let script = one_instance(1);
    let running = RunningAccount::fixed(&script);
    seconds(5).await;
    let _stuck = running.explain_router.register(None, &region("cn-beijing"));
    let (replies, elapsed) = timed(&running.explain_router, request("g0")).await;
    let replies = replies.unwrap();
    assert_eq!(found(&replies), [("cn-hangzhou", Some(7))]);
    assert_eq!(replies.timed_out, ["cn-beijing"]);
    assert_eq!(elapsed, 2.0);
    // Further requests fail at once when the queue is full, so they do not fill the memory.
    for _ in 1..8 {
        running.explain_router.explain(request("g0")).await;
    }
    let (replies, elapsed) = timed(&running.explain_router, request("g0")).await;
    assert_eq!((replies.unwrap().timed_out.len(), elapsed), (1, 0.0));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_of_a_disconnected_client_costs_nothing() {
    let router = ExplainRouter::default();
    let mut requests = router.register(None, &region("cn-hangzhou"));
    assert!(tokio::time::timeout(Duration::from_secs(1), router.explain(request("g0"))).await.is_err());
    requests.recv().await.unwrap().reply(|_| panic!("the client has disconnected"));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_poller_gets_no_requests_and_one_that_stops_meanwhile_times_out() {
    let router = ExplainRouter::default();
    let (first, second) = (router.register(None, &region("a")), router.register(None, &region("b")));
    let pending = tokio::spawn({
        let router = router.clone();
        async move { timed(&router, request("g0")).await }
    });
    tokio::task::yield_now().await;
    drop(first);
    let _second = second;
    let (replies, elapsed) = pending.await.unwrap();
    assert_eq!((replies.unwrap().timed_out, elapsed), (vec!["a".to_owned(), "b".to_owned()], 2.0));
    let (replies, _) = timed(&router, request("g0")).await;
    assert_eq!(replies.unwrap().polled, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_running_poller_the_router_waits_for_the_next() {
    let router = ExplainRouter::default();
    drop(router.register(None, &region("stopped")));
    let (replies, elapsed) = timed(&router, request("g0")).await;
    assert!(replies.is_none() && elapsed == 2.0, "{elapsed}");
    tokio::spawn({
        let router = router.clone();
        async move {
            seconds(1).await;
            let mut requests = router.register(None, &region("cn-hangzhou"));
            while let Some(pending) = requests.recv().await {
                pending.reply(|_| ExplainReply::Unknown(KnownObjects::default()));
            }
        }
    });
    let (replies, elapsed) = timed(&router, request("g0")).await;
    assert_eq!((replies.unwrap().unknown.len(), elapsed), (1, 1.0));
}

#[tokio::test(start_paused = true)]
async fn pollers_follow_the_discovered_regions() {
    let script = one_instance(1);
    script.edit(|w| w.regions = vec![region("cn-hangzhou"), region("cn-beijing")]);
    let running = RunningAccount::start(&script, RegionSelection::Auto, Filters::default());
    seconds(5).await;
    assert_eq!(running.explain_router.explain(request("g0")).await.unwrap().found.len(), 2);
    script.edit(|w| w.regions = vec![region("cn-beijing")]);
    seconds(310).await;
    let replies = running.explain_router.explain(request("g0")).await.unwrap();
    assert_eq!((found(&replies), replies.polled.len()), (vec![("cn-beijing", Some(7))], 1));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_reload_one_poller_replies_with_the_last_known_values() {
    let script = one_instance(1);
    let running = RunningAccount::fixed(&script);
    seconds(5).await;
    script.edit(|w| w.failing.insert(PollTarget::GroupProgress(id("i"), group("g0")), ErrorKind::Server));
    let running = reloaded(running, &script, |_| {}).await;
    let replies = running.explain_router.explain(request("g0")).await.unwrap();
    assert_eq!((found(&replies), replies.polled.len()), (vec![("cn-hangzhou", Some(7))], 1));
    running.stop().await;
}
