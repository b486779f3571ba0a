//! Signature versions, wrong keys, denied actions, and error texts of the cloud that contain secrets.

use std::collections::BTreeSet;

use alikafka_simulator::SignatureKind;

use super::{daemon::encoded_secrets, *};

#[tokio::test]
async fn both_signature_versions_work_and_keep_secrets_out_of_urls() {
    for (signature, kind) in [("acs3", SignatureKind::Acs3), ("v1", SignatureKind::V1)] {
        let sim = cloud().await;
        let daemon = Daemon::start(&sim, &[("SIGNATURE", signature)]).await;
        daemon.until_known().await;
        sim.with_call_log(|log| {
            assert!(log.entries().all(|e| e.signature == kind && e.method == "POST"));
            for entry in log.entries() {
                assert!(!entry.target.contains("Signature="), "{}", entry.target);
                for (name, encoding) in encoded_secrets() {
                    assert!(!entry.target.contains(&encoding), "{name} in {}", entry.target);
                }
            }
        });
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_wrong_secret_is_logged_once_and_never_exposed() {
    for signature in ["acs3", "v1"] {
        let sim = cloud().await;
        let [_, secret, _] = SECRETS;
        sim.behaviour(|b| b.keys = vec![AccessKey { secret: "another".to_owned(), ..key() }]);
        let daemon = Daemon::start(&sim, &[("SIGNATURE", signature)]).await;
        let scrape =
            daemon.until("rejected repeatedly", |p| p.api_calls("GetInstanceList", "auth") >= 4.0).await;
        assert_eq!(scrape.region_up(REGION), Some(0.0));
        let lines = daemon.failures();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0]["code"], "SignatureDoesNotMatch");
        assert!(lines[0]["request_id"].as_str().is_some_and(|id| !id.is_empty()));
        assert_eq!(scrape.api_results("GetInstanceList"), BTreeSet::from(["auth"]), "not retried");
        assert_eq!(daemon.body("/-/ready").await.trim(), "ok", "a failed first pass makes ready too");
        sim.behaviour(|b| b.keys[0].secret = secret.to_owned());
        daemon.until("recovered without a restart", |p| all_lag_by(p, LAG_BEFORE)).await;
        daemon.until_logged("the recovery", |_| daemon.recoveries().len() == 1).await;
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_denied_action_removes_only_its_metrics_and_names_the_permission() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until_known().await;
    sim.behaviour(|b| b.keys = vec![key().denying("GetTopicStatus")]);
    sim.with_world(write_more);
    let scrape = daemon
        .until("the family is absent", |p| {
            p.count("alikafka_topic_partition_end_offset", &[]) == 0 && all_lag_by(p, LAG_AFTER)
        })
        .await;
    assert!(scrape.has_topic(A, "orders"), "the list action is allowed");
    assert_eq!(
        (scrape.region_up(REGION), scrape.instance_up(A)),
        (Some(0.0), Some(0.0)),
        "every instance is down"
    );
    assert!(scrape.api_calls("GetTopicStatus", "auth") > 0.0);
    let lines = daemon.failures();
    assert_eq!(lines.len(), 1, "one line for the action, not one per instance: {lines:#?}");
    let advice = lines[0]["advice"].as_str().unwrap();
    assert!(advice.contains("alikafka:ListTopic") && advice.contains("GetTopicStatus"), "{advice}");
    sim.behaviour(|b| b.keys = vec![key()]);
    daemon.until("the value is back", |p| p.end_offset(B, "audit", "1") == Some(13.0)).await;
    daemon.until_logged("the recovery", |_| daemon.recoveries().len() == 1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn denied_region_discovery_keeps_known_regions() {
    let sim = cloud().await;
    sim.behaviour(|b| b.keys = vec![key().denying("GetAllInstanceIdList")]);
    let daemon = Daemon::start(&sim, &[("REGIONS", "auto")]).await;
    let denied = |p: &Scrape| p.api_calls("GetAllInstanceIdList", "auth");
    let scrape = daemon.until("rejected repeatedly", |p| denied(p) >= 3.0).await;
    assert_eq!(scrape.value("alikafka_region_up", &[]), Some(0.0), "one series for all regions");
    let lines = daemon.failures();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0]["advice"].as_str().unwrap().contains("alikafka:ListInstance"), "{lines:#?}");
    sim.behaviour(|b| b.keys = vec![key()]);
    daemon.until("regions are discovered", |p| all_lag_by(p, LAG_BEFORE)).await;
    sim.behaviour(|b| b.keys = vec![key().denying("GetAllInstanceIdList")]);
    let before = denied(&daemon.scrape().await);
    sim.with_world(write_more);
    daemon
        .until("rejected, and the region is still polled", |p| {
            denied(p) >= before + 3.0 && all_lag_by(p, LAG_AFTER)
        })
        .await;
    daemon.stop().await;
}

#[tokio::test]
async fn echoed_secrets_and_control_characters_never_reach_the_log() {
    let sim = cloud().await;
    let echo: Vec<String> = encoded_secrets().into_iter().map(|(_, encoding)| encoding).collect();
    for (n, part) in echo.chunks(3).enumerate() {
        let message = format!("a\r\nts=forged level=info\u{1b}[31m {}", part.join(" "));
        let fault = Fault::new(error(400, "BIZ_ECHO", &message));
        let fault = match n % 3 {
            0 => fault.action("GetConsumerProgress").instance(A),
            1 => fault.action("GetTopicStatus").instance(B),
            _ => fault.action("GetTopicList"),
        };
        // One after the other, so that each text starts a new failure, which is logged.
        sim.faults(|f| f.add(fault.times(4)));
    }
    let daemon = Daemon::start(&sim, &[("STALE_AFTER", "30s")]).await;
    daemon
        .until("everything recovers", |p| {
            all_lag_by(p, LAG_BEFORE) && p.instance_up(A) == Some(1.0) && p.instance_up(B) == Some(1.0)
        })
        .await;
    let lines = daemon.failures();
    assert!(lines.len() >= 3, "{lines:?}");
    assert!(lines.iter().any(|l| l["error"].as_str().unwrap().contains("***")), "masked: {lines:?}");
    assert!(!daemon.log_lines().iter().any(|l| l["ts"] == "forged"));
    daemon.stop().await;
}
