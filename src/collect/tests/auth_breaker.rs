//! While the credentials are rejected, the poller makes one call per interval and everything is down. A rejection of
//! one object concerns that object alone.

use test_support::log_capture::LogCapture;
use tracing::Level;

use super::*;

fn failure_lines(log: &LogCapture) -> Vec<String> {
    let log = log.text();
    log.lines().filter(|l| l.contains("result=")).map(str::to_owned).collect()
}

/// Two instances of three groups and one topic.
fn two_instances() -> ScriptedApi {
    let script = one_instance(3);
    script.edit(|w| {
        w.instances.push(instance("j", InstanceState::Running));
        w.topics.insert(id("j"), vec![topic("t")]);
        w.groups.insert(id("j"), (0..3).map(|n| group(&format!("g{n}"))).collect());
    });
    script
}

#[tokio::test(start_paused = true)]
async fn rejected_credentials_cost_one_call_per_interval() {
    let (_guard, log) = LogCapture::start(Level::INFO);
    let script = two_instances();
    let running = RunningAccount::fixed(&script);
    seconds(130).await;
    script.edit(|w| {
        w.rejects_credentials = true;
        w.offset = 9;
    });
    seconds(70).await;
    script.edit(|w| w.calls.clear());
    let up = |running: &RunningAccount| {
        let region = running.region().unwrap();
        let mut up = vec![region.up];
        up.extend(region.instances.iter().map(|i| i.up));
        up
    };
    assert_eq!(up(&running), [Some(false); 3]);
    assert_eq!(running.lag("i", "g0"), Some(7), "kept until it expires");
    assert_eq!(running.lag("j", "g2"), Some(7));
    seconds(600).await;
    let calls = script.calls(|target| *target == PollTarget::Instances);
    assert_eq!(script.calls(|_| true), calls);
    assert!((9..=10).contains(&calls), "one per interval: {calls}");
    assert_eq!((running.lag("i", "g0"), running.lag("j", "g2")), (None, None), "expired");
    assert_eq!(up(&running), [Some(false); 3]);
    script.edit(|w| w.rejects_credentials = false);
    seconds(65).await;
    assert_eq!(up(&running), [Some(true); 3]);
    assert_eq!((running.lag("i", "g0"), running.lag("j", "g2")), (Some(9), Some(9)));
    running.stop().await;
    let lines = failure_lines(&log);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("API call failed"), "{lines:#?}");
    assert!(lines[1].contains("still failing"), "ten minutes");
    assert!(lines[2].contains("recovered"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn running_calls_finish_and_everything_is_down() {
    let script = two_instances();
    script.edit(|w| _ = w.slow.insert(id("j"), Duration::from_secs(10)));
    let running = RunningAccount::fixed(&script);
    seconds(55).await;
    script.edit(|w| {
        w.accepted_instance = Some(id("j"));
        w.rejects_credentials = true;
        w.offset = 9;
    });
    seconds(120).await;
    assert!(script.calls(|u| u.instance() == Some(&id("j"))) > 0);
    assert_eq!(
        running.region().unwrap().instances.iter().map(|i| i.up).collect::<Vec<_>>(),
        [Some(false); 2]
    );
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_with_rejected_credentials_is_ready_and_down() {
    let script = two_instances();
    script.edit(|w| w.rejects_credentials = true);
    let running = RunningAccount::fixed(&script);
    seconds(5).await;
    assert_eq!(running.awaited_first_passes(), [""; 0]);
    assert_eq!(running.region().unwrap().up, Some(false));
    script.edit(|w| w.rejects_credentials = false);
    seconds(65).await;
    assert_eq!(running.lag("j", "g1"), Some(7));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejection_ends_the_first_pass() {
    let script = one_instance(300);
    script.edit(|w| _ = w.slow.insert(id("i"), Duration::from_secs(3)));
    let running = RunningAccount::fixed(&script);
    seconds(4).await;
    assert_eq!(running.awaited_first_passes().len(), 1);
    script.edit(|w| w.rejects_credentials = true);
    seconds(10).await;
    assert_eq!(running.awaited_first_passes(), [""; 0]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejection_of_one_object_concerns_that_object() {
    let (_guard, log) = LogCapture::start(Level::INFO);
    let script = two_instances();
    script.edit(|w| {
        let target = PollTarget::GroupProgress(id("i"), group("g1"));
        w.failing.insert(target, ErrorKind::Auth { key: true });
    });
    let running = RunningAccount::fixed(&script);
    seconds(250).await;
    script.edit(|w| {
        w.calls.clear();
        w.offset = 9;
    });
    seconds(180).await;
    assert_eq!(running.instance("i").unwrap().up, Some(false));
    assert_eq!(running.instance("j").unwrap().up, Some(true));
    assert_eq!((running.lag("i", "g1"), running.lag("i", "g0")), (None, Some(9)));
    let others = script.calls(|u| matches!(u, PollTarget::GroupProgress(..)) && u.object() != Some("g1"));
    assert_eq!(others, 3 * 4, "each of the others, once per interval");
    assert!(script.calls(|u| *u == PollTarget::Instances) <= 1, "its errors do not cause list calls");
    running.stop().await;
    let lines = failure_lines(&log);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("instance_id=i object=\"g1\""), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_removed_during_a_failing_call_leaves_no_failure() {
    let (_guard, log) = LogCapture::start(Level::INFO);
    let script = two_instances();
    script.edit(|w| {
        w.slow.insert(id("j"), Duration::from_secs(100));
        w.failing.insert(PollTarget::GroupProgress(id("j"), group("g0")), ErrorKind::Timeout);
    });
    let running = RunningAccount::fixed(&script);
    // Its lists have arrived, and its groups are being polled.
    seconds(110).await;
    script.edit(|w| {
        w.instances.truncate(1);
        w.failing.insert(PollTarget::GroupProgress(id("i"), group("g0")), ErrorKind::Gone { instance: true });
    });
    seconds(80).await;
    assert!(running.instance("j").is_none());
    script.edit(|w| _ = w.failing.remove(&PollTarget::GroupProgress(id("i"), group("g0"))));
    seconds(3600).await;
    running.stop().await;
    let lines = failure_lines(&log);
    assert!(lines.iter().all(|l| !l.contains("still failing")), "{lines:#?}");
}
