//! A rejected access key costs one call per interval, turns `*_up` to 0, and needs no restart once it is valid again.

use std::{fs, path::PathBuf};

use alikafka_simulator::{CallLog, CallLogEntry, Faults};

use super::*;

const POLL: Duration = Duration::from_millis(500);

/// Returns the calls from this number on.
fn calls_from(sim: &Simulator, number: u64) -> Vec<CallLogEntry> {
    sim.with_call_log(|l| l.entries().filter(|e| e.number >= number).cloned().collect())
}

fn all_down(scrape: &Scrape) -> bool {
    scrape.region_up(REGION) == Some(0.0) && [A, B].iter().all(|i| scrape.instance_up(i) == Some(0.0))
}

/// Returns the log lines about the key.
fn key_lines(daemon: &Daemon) -> Vec<serde_json::Value> {
    daemon.log_lines().into_iter().filter(|l| l["result"] == "auth").collect()
}

#[tokio::test]
async fn a_revoked_key_costs_one_call_per_interval_and_one_log_line() {
    for granularity in ["partition", "group"] {
        let sim = cloud().await;
        let settings = [("DISCOVERY_INTERVAL", "300ms"), ("METRICS__GRANULARITY", granularity)];
        let daemon = Daemon::start(&sim, &settings).await;
        daemon.until_known().await;
        sim.behaviour(|b| b.keys[0].active = false);
        let mut kept = false;
        daemon
            .until("everything is down", |p| {
                kept |= all_down(p) && all_lag_by(p, LAG_BEFORE);
                all_down(p)
            })
            .await;
        assert!(kept, "values are kept for a while");
        // Calls in flight have ended by the next call.
        let rejected = |p: &Scrape| p.api_calls("GetInstanceList", "auth");
        let first = rejected(&daemon.scrape().await);
        daemon.until("rejected again", |p| rejected(p) > first).await;
        let number = sim.with_call_log(CallLog::len);
        daemon
            .until("all values have expired", |p| {
                p.lag(A, "billing").is_none()
                    && p.end_offset(B, "audit", "0").is_none()
                    && rejected(p) >= first + 6.0
            })
            .await;
        let scrape = daemon.scrape().await;
        assert!(all_down(&scrape));
        assert_eq!(daemon.body("/-/ready").await.trim(), "ok");
        let calls = calls_from(&sim, number);
        assert!(calls.iter().all(|e| e.action == "GetInstanceList"), "{calls:?}");
        let (from, to) = (calls.first().unwrap().at, calls.last().unwrap().at);
        let passes = to.duration_since(from).as_secs_f64() / POLL.as_secs_f64();
        assert!(calls.len() as f64 <= passes + 2.0, "{} calls in {passes} passes", calls.len());
        assert_eq!(scrape.sum("alikafka_exporter_api_retries_total", &[]), 0.0);

        sim.with_world(write_more);
        sim.behaviour(|b| b.keys[0].active = true);
        daemon
            .until("recovered without a restart", |p| {
                all_lag_by(p, LAG_AFTER) && p.instance_up(B) == Some(1.0)
            })
            .await;
        daemon.until_logged("the recovery", |_| !daemon.recoveries().is_empty()).await;
        let lines = key_lines(&daemon);
        assert_eq!(lines.len(), 2, "one at the start, one at the end: {lines:#?}");
        assert_eq!(lines[0]["code"], "InvalidAccessKeyId.Inactive");
        assert!(lines[0]["advice"].as_str().unwrap().contains("check the access key"), "{lines:#?}");
        assert_eq!(lines[1]["msg"], "recovered");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_key_replaced_in_its_files_is_used_without_a_restart() {
    let sim = cloud().await;
    let [old_id, old_secret, _] = SECRETS;
    let (new_id, new_secret) = ("LTAI5tRotatedKeyIdQ8y", "RotatedSecretZr5w8");
    sim.behaviour(|b| b.keys = vec![AccessKey::new(old_id, old_secret), AccessKey::new(new_id, new_secret)]);
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("revoked-key-files");
    fs::create_dir_all(&dir).unwrap();
    let write = |id: &str, secret: &str| {
        fs::write(dir.join("id"), id).unwrap();
        fs::write(dir.join("secret"), secret).unwrap();
    };
    write(old_id, old_secret);
    let (id, secret) = (dir.join("id").display().to_string(), dir.join("secret").display().to_string());
    let settings =
        [("CREDENTIALS__ACCESS_KEY_ID_FILE", id.as_str()), ("CREDENTIALS__ACCESS_KEY_SECRET_FILE", &secret)];
    let daemon = Daemon::start(&sim, &settings).await;
    daemon.until_known().await;
    sim.behaviour(|b| b.keys[0].active = false);
    daemon.until("everything is down", all_down).await;
    sim.with_world(write_more);
    write(new_id, new_secret);
    let scrape = daemon
        .until("the new key is used", |p| all_lag_by(p, LAG_AFTER) && p.region_up(REGION) == Some(1.0))
        .await;
    assert_eq!(scrape.instance_up(A), Some(1.0));
    daemon.until_logged("the recovery", |_| daemon.recoveries().len() == 1).await;
    let lines = key_lines(&daemon);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    daemon.stop().await;
    fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn a_rejected_signature_for_one_group_affects_only_that_group() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until_known().await;
    sim.faults(|f| f.add(on_group("billing", error(400, "SignatureDoesNotMatch", "no"))));
    sim.with_world(write_more);
    daemon
        .until("one value has expired, the others are fresh", |p| {
            let others = [p.lag(A, "shipping"), p.lag(B, "billing"), p.lag(B, "shipping")];
            p.lag(A, "billing").is_none() && others == [Some(LAG_AFTER); 3]
        })
        .await;
    let scrape = daemon.scrape().await;
    assert_eq!((scrape.instance_up(A), scrape.instance_up(B)), (Some(0.0), Some(1.0)));
    sim.faults(Faults::clear);
    daemon.until("the value is back", |p| all_lag_by(p, LAG_AFTER)).await;
    daemon.until_logged("the recovery", |_| daemon.recoveries().len() == 1).await;
    let lines = key_lines(&daemon);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!((&lines[0]["instance_id"], &lines[0]["object"]), (&A.into(), &"billing".into()));
    daemon.stop().await;
}
