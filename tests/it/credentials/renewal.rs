//! Temporary keys are renewed in time, by one call each, while values go on.

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::*;

/// Each key was asked for once, not before less than a third of the last one was left, and before its end. As
/// its source tells the time in whole seconds, a key is taken to end up to a second early.
fn renewed_by_the_arithmetic(cloud: &Cloud, what: &str) {
    let issued = cloud.keys.issued();
    for pair in issued.windows(2) {
        let (lifetime, after) =
            (pair[0].expires_ms - pair[0].issued_ms, pair[1].issued_ms - pair[0].issued_ms);
        assert!(after >= (lifetime - 1_000) * 2 / 3, "{what}: a renewal after {after} of {lifetime} ms");
        assert!(after < lifetime, "{what}: a renewal only after {after} of {lifetime} ms");
    }
}

/// Watches pages for a while. Not one of them lacks a lag.
async fn never_a_gap(daemon: &Daemon, what: &str, long: Duration) {
    let until = Instant::now() + long;
    while Instant::now() < until {
        let page = daemon.scrape().await;
        assert!(page.lag(A, "billing").is_some(), "{what}: a gap\n{}", daemon.evidence(&page));
        sleep(millis(100)).await;
    }
}

#[tokio::test]
async fn twenty_instances_share_one_renewal_at_a_time_and_no_call_is_refused() {
    let lifetime = Duration::from_secs(9);
    let cloud = Cloud::new("single-flight").await;
    cloud.sim.world(|w| {
        for n in 0..18 {
            add_instance(w, REGION, &format!("alikafka_post-cn-more{n}"));
        }
    });
    cloud.sts.rules(|r| r.lifetime = Some(lifetime));
    // A slow answer, so that many callers want the key meanwhile.
    cloud.sts.faults(|f| f.add(Fault::new(Effect::Latency(millis(300)))));
    let file = cloud.write("token", OIDC_TOKEN);
    let settings = [("POLL_INTERVAL", "1s"), ("TOPIC_POLL_INTERVAL", "1s"), ("STALE_AFTER", "5s")];
    let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &settings).await;
    daemon.until("all known", |p| p.count("alikafka_group_lag_messages", &[]) == 40).await;
    let begun = wall_ms();
    let until = Instant::now() + lifetime * 3;
    while Instant::now() < until {
        let page = daemon.scrape().await;
        let lags = page.count("alikafka_group_lag_messages", &[]);
        assert_eq!(lags, 40, "a gap\n{}", daemon.evidence(&page));
        sleep(millis(100)).await;
    }
    assert_eq!(cloud.refused(), Vec::<String>::new());
    renewed_by_the_arithmetic(&cloud, "one flight");
    let issued = cloud.keys.issued();
    let renewals = issued.iter().filter(|k| k.issued_ms >= begun).count();
    // Each key lives 8 to 9 seconds, is taken to live 7 to 9, and the next comes after two thirds of that.
    assert!((3..=6).contains(&renewals), "three lifetimes: {renewals} renewals");
    // One may be under way at this moment.
    let gave = |_: &Scrape| cloud.sts.call_log().len() == cloud.keys.issued().len() as u64;
    daemon.until("every call of the token service gave a key", gave).await;
    assert!(cloud.used().len() > renewals, "every key is used: {:?}", cloud.used());
    let page = daemon.scrape().await;
    assert_eq!(page.value(FAILURES, &[]), Some(0.0));
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn every_source_of_temporary_keys_is_asked_again_in_time() {
    let lifetime = Duration::from_secs(6);
    for kind in ["machine", "uri", "chained"] {
        let cloud = Cloud::new(&format!("renewal-{kind}")).await;
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
        never_a_gap(&daemon, kind, lifetime * 3).await;
        assert_eq!(cloud.refused(), Vec::<String>::new(), "{kind}");
        assert!(cloud.used().len() >= 3, "{kind}: {:?}", cloud.used());
        if kind != "chained" {
            renewed_by_the_arithmetic(&cloud, kind);
        }
        cloud.stop(daemon).await;
    }
}

#[tokio::test]
async fn a_reload_goes_on_with_the_key_that_is_there() {
    let mut cloud = Cloud::new("reload").await;
    let file = cloud.write("token", OIDC_TOKEN);
    let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &[("CREDENTIALS__TYPE", "oidc")]).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    let issued = cloud.keys.issued().len();
    // Another key could not be had.
    cloud.sts.close().await;
    cloud.sim.world(write_more);
    daemon.signal(Signal::HUP);
    daemon.until_logged("the reload", |_| daemon.logged("configuration reloaded") == 1).await;
    let page = daemon.until("new values", |p| all_lag_by(p, LAG_AFTER)).await;
    assert_eq!((cloud.keys.issued().len(), page.value(FAILURES, &[])), (issued, Some(0.0)));
    assert_eq!(cloud.refused(), Vec::<String>::new());
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn an_oidc_token_that_is_replaced_is_read_again_for_every_renewal() {
    let cloud = Cloud::new("oidc-rotation").await;
    cloud.sts.rules(|r| r.lifetime = Some(Duration::from_secs(6)));
    let mut mount = Mount::new(cloud.dir.join("mount"), &[("token", OIDC_TOKEN)]);
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
    assert_eq!(cloud.refused(), Vec::<String>::new());
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn a_machine_that_hands_out_the_same_key_until_its_end_is_not_hammered() {
    let cloud = Cloud::new("same-key").await;
    cloud.metadata.rules(|r| {
        r.lifetime = Duration::from_secs(6);
        r.renew_before = Some(millis(500));
    });
    let settings = [("CREDENTIALS__TYPE", "ecs_ram_role"), ("STALE_AFTER", "3s")];
    let daemon = cloud.daemon(&[], &settings).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    let before = cloud.metadata.call_log().totals().values().sum::<u64>();
    never_a_gap(&daemon, "the same key", Duration::from_secs(12)).await;
    let asked = cloud.metadata.call_log().totals().values().sum::<u64>() - before;
    // At most once a second for the key, and twice more beside it for a token and the role's name.
    assert!(asked <= 3 * 15, "{asked} calls in 12 seconds");
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn a_token_service_whose_clock_is_off_gets_timestamps_by_its_own_clock_and_its_keys_are_used_in_time() {
    let cloud = Cloud::new("skew").await;
    cloud.sts.rules(|r| {
        r.clock_skew_ms = 20 * 60_000;
        r.lifetime = Some(Duration::from_secs(6));
        r.callers = vec![];
    });
    let variables = [(ID, LASTING.0), (SECRET, LASTING.1)];
    let settings = [("CREDENTIALS__ASSUME_ROLE__ROLE_ARN", READER), ("STALE_AFTER", "3s")];
    let daemon = cloud.daemon(&variables, &settings).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    never_a_gap(&daemon, "a clock that is off", Duration::from_secs(10)).await;
    assert_eq!(cloud.refused(), Vec::<String>::new());
    renewed_by_the_arithmetic(&cloud, "a clock that is off");
    cloud.stop(daemon).await;
}
