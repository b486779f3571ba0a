//! Signatures, wrong keys, denied actions, and texts of the cloud that hold what must not be told.

use std::collections::BTreeSet;

use alikafka_simulator::SignatureKind;

use super::{daemon::encoded_secrets, *};

#[tokio::test]
async fn both_signatures_are_taken_and_no_url_holds_a_secret() {
    for (signature, kind) in [("acs3", SignatureKind::Acs3), ("v1", SignatureKind::V1)] {
        let sim = cloud().await;
        let daemon = Daemon::start(&sim, &[("SIGNATURE", signature)]).await;
        daemon.until("all known", |p| all_lag_by(p, BEFORE)).await;
        sim.with_call_log(|log| {
            assert!(log.entries().all(|e| e.signature == kind && e.method == "POST"));
            for entry in log.entries() {
                assert!(!entry.target.contains("Signature="), "{}", entry.target);
                for (what, form) in encoded_secrets() {
                    assert!(!entry.target.contains(&form), "{what} in {}", entry.target);
                }
            }
        });
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_wrong_secret_is_told_once_without_what_the_cloud_echoes() {
    for signature in ["acs3", "v1"] {
        let sim = cloud().await;
        let [_, secret, _] = SECRETS;
        sim.behaviour(|b| b.keys = vec![AccessKey { secret: "another".to_owned(), ..key() }]);
        let daemon = Daemon::start(&sim, &[("SIGNATURE", signature)]).await;
        let page =
            daemon.until("refused, again and again", |p| p.api_calls("GetInstanceList", "auth") >= 4.0).await;
        assert_eq!(page.region_up(REGION), Some(0.0));
        let lines = daemon.failures();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0]["code"], "SignatureDoesNotMatch");
        assert!(lines[0]["request_id"].as_str().is_some_and(|id| !id.is_empty()));
        assert_eq!(page.api_results("GetInstanceList"), BTreeSet::from(["auth"]), "not retried");
        assert_eq!(daemon.body("/-/ready").await.trim(), "ok", "good or bad, the first pass has ended");
        sim.behaviour(|b| b.keys[0].secret = secret.to_owned());
        daemon.until("well without a restart", |p| all_lag_by(p, BEFORE)).await;
        daemon.until_logged("the recovery", |_| daemon.recoveries().len() == 1).await;
        daemon.stop().await;
    }
}

#[tokio::test]
async fn an_action_that_is_denied_costs_its_own_families_and_names_the_permission() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon
        .until("all known", |p| all_lag_by(p, BEFORE) && p.end_offset(A, "orders", "0") == Some(10.0))
        .await;
    sim.behaviour(|b| b.keys = vec![key().denying("GetTopicStatus")]);
    sim.world(write_more);
    let page = daemon
        .until("the family is gone", |p| {
            p.count("alikafka_topic_partition_end_offset", &[]) == 0 && all_lag_by(p, AFTER)
        })
        .await;
    assert!(page.has_topic(A, "orders"), "the list is allowed");
    assert_eq!(
        (page.region_up(REGION), page.instance_up(A)),
        (Some(0.0), Some(0.0)),
        "every instance is down"
    );
    assert!(page.api_calls("GetTopicStatus", "auth") > 0.0);
    let lines = daemon.failures();
    assert_eq!(lines.len(), 1, "one line for the action, not one an instance: {lines:#?}");
    let advice = lines[0]["advice"].as_str().unwrap();
    assert!(advice.contains("alikafka:ListTopic") && advice.contains("GetTopicStatus"), "{advice}");
    sim.behaviour(|b| b.keys = vec![key()]);
    daemon.until("it is back", |p| p.end_offset(B, "audit", "1") == Some(13.0)).await;
    daemon.until_logged("the recovery", |_| daemon.recoveries().len() == 1).await;
    daemon.stop().await;
}

#[tokio::test]
async fn regions_that_cannot_be_found_are_told_and_those_that_were_found_stay() {
    let sim = cloud().await;
    sim.behaviour(|b| b.keys = vec![key().denying("GetAllInstanceIdList")]);
    let daemon = Daemon::start(&sim, &[("REGIONS", "auto")]).await;
    let denied = |p: &Scrape| p.api_calls("GetAllInstanceIdList", "auth");
    let page = daemon.until("refused, again and again", |p| denied(p) >= 3.0).await;
    assert_eq!(page.value("alikafka_region_up", &[]), Some(0.0), "one stands for all");
    let lines = daemon.failures();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0]["advice"].as_str().unwrap().contains("alikafka:ListInstance"), "{lines:#?}");
    sim.behaviour(|b| b.keys = vec![key()]);
    daemon.until("found", |p| all_lag_by(p, BEFORE)).await;
    sim.behaviour(|b| b.keys = vec![key().denying("GetAllInstanceIdList")]);
    let before = denied(&daemon.scrape().await);
    sim.world(write_more);
    daemon
        .until("refused, and the region goes on", |p| denied(p) >= before + 3.0 && all_lag_by(p, AFTER))
        .await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_cloud_that_echoes_secrets_and_control_characters_does_not_get_them_into_the_log() {
    let sim = cloud().await;
    let echo: Vec<String> = encoded_secrets().into_iter().map(|(_, form)| form).collect();
    for (n, part) in echo.chunks(3).enumerate() {
        let message = format!("a\r\nts=forged level=info\u{1b}[31m {}", part.join(" "));
        let fault = Fault::new(error(400, "BIZ_ECHO", &message));
        let fault = match n % 3 {
            0 => fault.action("GetConsumerProgress").instance(A),
            1 => fault.action("GetTopicStatus").instance(B),
            _ => fault.action("GetTopicList"),
        };
        // One after the other, so that each text is the first of its failure for a while.
        sim.faults(|f| f.add(fault.times(4)));
    }
    let daemon = Daemon::start(&sim, &[("STALE_AFTER", "30s")]).await;
    daemon
        .until("all is well in the end", |p| {
            all_lag_by(p, BEFORE) && p.instance_up(A) == Some(1.0) && p.instance_up(B) == Some(1.0)
        })
        .await;
    let lines = daemon.failures();
    assert!(lines.len() >= 3, "{lines:?}");
    assert!(lines.iter().any(|l| l["msg"].as_str().unwrap().contains("***")), "masked: {lines:?}");
    assert!(!daemon.log_lines().iter().any(|l| l["ts"] == "forged"));
    daemon.stop().await;
}
