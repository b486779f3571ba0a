//! Temporary keys are refreshed in time, with one call each, and without gaps in the metrics.

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::*;

/// Asserts that each key was requested once, in the last third of the lifetime of the previous one. Services report the
/// expiry in seconds, so a key may count as expired up to a second early.
fn assert_refreshed_in_time(cloud: &CloudWithServices, what: &str) {
    let issued = cloud.keys.issued();
    for pair in issued.windows(2) {
        let (lifetime, after) =
            (pair[0].expires_ms - pair[0].issued_ms, pair[1].issued_ms - pair[0].issued_ms);
        assert!(after >= (lifetime - 1_000) * 2 / 3, "{what}: a refresh after {after} of {lifetime} ms");
        assert!(after < lifetime, "{what}: a refresh only after {after} of {lifetime} ms");
    }
}

/// Asserts that every scrape during this time has a lag.
async fn assert_no_gap(daemon: &Daemon, what: &str, duration: Duration) {
    let until = Instant::now() + duration;
    while Instant::now() < until {
        let scrape = daemon.scrape().await;
        assert!(scrape.lag(A, "billing").is_some(), "{what}: a gap\n{}", daemon.evidence(&scrape));
        sleep(millis(100)).await;
    }
}

#[tokio::test]
async fn twenty_instances_share_one_refresh_and_no_call_fails() {
    let lifetime = Duration::from_secs(9);
    let cloud = CloudWithServices::new("single-flight").await;
    cloud.sim.with_world(|w| {
        for n in 0..18 {
            add_instance(w, REGION, &format!("alikafka_post-cn-more{n}"));
        }
    });
    cloud.sts.rules(|r| r.lifetime = Some(lifetime));
    // A slow response, so that many callers wait for the key.
    cloud.sts.faults(|f| f.add(Fault::new(Effect::Latency(millis(300)))));
    let file = cloud.write("token", OIDC_TOKEN);
    let settings = [("POLL_INTERVAL", "1s"), ("TOPIC_POLL_INTERVAL", "1s"), ("STALE_AFTER", "5s")];
    let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &settings).await;
    daemon.until("all known", |p| p.count("alikafka_group_lag_messages", &[]) == 40).await;
    let begun = wall_ms();
    let until = Instant::now() + lifetime * 3;
    while Instant::now() < until {
        let scrape = daemon.scrape().await;
        let lags = scrape.count("alikafka_group_lag_messages", &[]);
        assert_eq!(lags, 40, "a gap\n{}", daemon.evidence(&scrape));
        sleep(millis(100)).await;
    }
    assert_eq!(cloud.failed_calls(), Vec::<String>::new());
    assert_refreshed_in_time(&cloud, "one refresh");
    let issued = cloud.keys.issued();
    let refreshes = issued.iter().filter(|k| k.issued_ms >= begun).count();
    // Each key lives for 8 to 9 seconds, counts as valid for 7 to 9, and is refreshed after two thirds of that.
    assert!((3..=6).contains(&refreshes), "three lifetimes: {refreshes} refreshes");
    // A refresh may be running now.
    let all_succeeded = |_: &Scrape| cloud.sts.call_log().len() == cloud.keys.issued().len() as u64;
    daemon.until("every call of the token service yields a key", all_succeeded).await;
    assert!(cloud.used_key_ids().len() > refreshes, "every key is used: {:?}", cloud.used_key_ids());
    let scrape = daemon.scrape().await;
    assert_eq!(scrape.value(FAILURES, &[]), Some(0.0));
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn keys_of_every_source_are_refreshed_in_time() {
    let lifetime = Duration::from_secs(6);
    for kind in ["machine", "uri", "chained"] {
        let cloud = CloudWithServices::new(&format!("refresh-{kind}")).await;
        cloud.metadata.rules(|r| r.lifetime = lifetime);
        cloud.uri.rules(|r| r.lifetime = lifetime);
        cloud.sts.rules(|r| r.lifetime = Some(lifetime));
        let uri = cloud.uri();
        let settings = match kind {
            "machine" => vec![("CREDENTIALS__TYPE", "ecs_ram_role")],
            "uri" => vec![("CREDENTIALS__TYPE", "uri"), ("CREDENTIALS__URI", uri.as_str())],
            _ => vec![("CREDENTIALS__TYPE", "ecs_ram_role"), ("CREDENTIALS__ASSUME_ROLE__ROLE_ARN", READER)],
        };
        let daemon = cloud.daemon(&[], &[&settings[..], &[("STALE_AFTER", "3s")]].concat()).await;
        daemon.until(kind, |p| all_lag_by(p, LAG_BEFORE)).await;
        assert_no_gap(&daemon, kind, lifetime * 3).await;
        assert_eq!(cloud.failed_calls(), Vec::<String>::new(), "{kind}");
        assert!(cloud.used_key_ids().len() >= 3, "{kind}: {:?}", cloud.used_key_ids());
        if kind != "chained" {
            assert_refreshed_in_time(&cloud, kind);
        }
        cloud.stop(daemon).await;
    }
}

#[tokio::test]
async fn a_reload_keeps_the_current_key() {
    let mut cloud = CloudWithServices::new("reload").await;
    let file = cloud.write("token", OIDC_TOKEN);
    let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &[("CREDENTIALS__TYPE", "oidc")]).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    let issued = cloud.keys.issued().len();
    // A new key is not available.
    cloud.sts.close().await;
    cloud.sim.with_world(write_more);
    daemon.signal(Signal::HUP);
    daemon.until_logged("the reload", |_| daemon.logged("configuration reloaded") == 1).await;
    let scrape = daemon.until("new values", |p| all_lag_by(p, LAG_AFTER)).await;
    assert_eq!((cloud.keys.issued().len(), scrape.value(FAILURES, &[])), (issued, Some(0.0)));
    assert_eq!(cloud.failed_calls(), Vec::<String>::new());
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn a_replaced_oidc_token_is_read_for_every_refresh() {
    let cloud = CloudWithServices::new("oidc-rotation").await;
    cloud.sts.rules(|r| r.lifetime = Some(Duration::from_secs(6)));
    let mut mount = KubernetesMount::new(cloud.dir.join("mount"), &[("token", OIDC_TOKEN)]);
    let file = mount.path("token");
    let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &[("STALE_AFTER", "3s")]).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    for n in 1..=3 {
        let fresh = format!("CanaryOidcHead.CanaryOidcBody{n}.CanaryOidcSign");
        daemon.add_secret("a later OIDC token", &fresh);
        mount.publish(&[("token", &fresh)]);
        cloud.sts.rules(|r| r.oidc_tokens = vec![fresh]);
        let before = cloud.keys.issued().len();
        daemon
            .until("the next key", |p| {
                assert!(p.lag(A, "billing").is_some(), "a gap");
                cloud.keys.issued().len() > before
            })
            .await;
    }
    assert!(cloud.sts.call_log().entries().all(|e| e.code == "200"), "no old token was sent");
    assert_eq!(cloud.failed_calls(), Vec::<String>::new());
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn a_metadata_service_that_repeats_its_key_is_not_called_too_often() {
    let cloud = CloudWithServices::new("same-key").await;
    cloud.metadata.rules(|r| {
        r.lifetime = Duration::from_secs(6);
        r.renew_before = Some(millis(500));
    });
    let settings = [("CREDENTIALS__TYPE", "ecs_ram_role"), ("STALE_AFTER", "3s")];
    let daemon = cloud.daemon(&[], &settings).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    let before = cloud.metadata.call_log().totals().values().sum::<u64>();
    assert_no_gap(&daemon, "the same key", Duration::from_secs(12)).await;
    let calls = cloud.metadata.call_log().totals().values().sum::<u64>() - before;
    // At most one call per second for the key, one for a token, and one for the role name.
    assert!(calls <= 3 * 15, "{calls} calls in 12 seconds");
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn the_clock_skew_of_the_token_service_is_corrected() {
    let cloud = CloudWithServices::new("skew").await;
    cloud.sts.rules(|r| {
        r.clock_skew_ms = 20 * 60_000;
        r.lifetime = Some(Duration::from_secs(6));
        r.callers = vec![];
    });
    let variables = [(ID, PERMANENT.0), (SECRET, PERMANENT.1)];
    let settings = [("CREDENTIALS__ASSUME_ROLE__ROLE_ARN", READER), ("STALE_AFTER", "3s")];
    let daemon = cloud.daemon(&variables, &settings).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    assert_no_gap(&daemon, "clock skew", Duration::from_secs(10)).await;
    assert_eq!(cloud.failed_calls(), Vec::<String>::new());
    assert_refreshed_in_time(&cloud, "clock skew");
    cloud.stop(daemon).await;
}
