//! Clock skew between the host and the cloud. The tests move the clock of the cloud because they cannot move that of the
//! host.

use super::*;

const MINUTE: i64 = 60_000;

fn skew(scrape: &Scrape) -> f64 {
    scrape.value("alikafka_exporter_clock_skew_seconds", &[]).unwrap()
}

fn all_up(scrape: &Scrape, lag: f64) -> bool {
    all_lag_by(scrape, lag) && [A, B].iter().all(|i| scrape.instance_up(i) == Some(1.0))
}

#[tokio::test]
async fn clock_skew_is_corrected_within_a_pass_and_exposed() {
    for (signature, minutes, expected) in
        [("acs3", 20, 1_100.0..=1_201.0), ("v1", 20, 1_100.0..=1_201.0), ("acs3", -20, -1_300.0..=-1_199.0)]
    {
        let sim = cloud().await;
        sim.behaviour(|b| b.clock_skew_ms = minutes * MINUTE);
        let daemon = Daemon::start(&sim, &[("SIGNATURE", signature)]).await;
        let scrape = daemon.until_known().await;
        assert_eq!(scrape.api_calls("GetInstanceList", "clock"), 1.0, "rejected once, then corrected");
        // The simulated time is frozen, the time of this machine is not.
        assert!(expected.contains(&skew(&scrape)), "{}", skew(&scrape));
        assert_eq!(daemon.failures().len(), 0, "a corrected skew is not a failure");
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_later_change_of_clock_skew_costs_no_pass() {
    let sim = cloud().await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until_known().await;
    for (minutes, rejected) in [(20, 1.0), (0, 2.0), (-90, 3.0), (0, 4.0)] {
        sim.behaviour(|b| b.clock_skew_ms = minutes * MINUTE);
        sim.with_world(|w| w.append(A, "orders", 0, 1).unwrap());
        let clock = |p: &Scrape| p.sum("alikafka_exporter_api_requests_total", &[("result", "clock")]);
        let scrape = daemon
            .until("rejected and recovered", |p| {
                clock(p) >= rejected && billing_lags_by_more(p, rejected) && p.region_up(REGION) == Some(1.0)
            })
            .await;
        let wanted = 60.0 * minutes as f64;
        assert!((wanted - 100.0..=wanted + 1.0).contains(&skew(&scrape)), "{} for {wanted}", skew(&scrape));
    }
    assert_eq!(daemon.failures().len(), 0, "{:#?}", daemon.failures());
    daemon.stop().await;
}

/// Whether the group that consumes `orders` of instance A lags by this many more messages.
fn billing_lags_by_more(scrape: &Scrape, more: f64) -> bool {
    scrape.lag(A, "billing") == Some(LAG_BEFORE + more) && scrape.instance_up(A) == Some(1.0)
}

#[tokio::test]
async fn clock_skew_of_more_than_a_day_is_logged_and_not_corrected() {
    let sim = cloud().await;
    sim.behaviour(|b| b.clock_skew_ms = 25 * 60 * MINUTE);
    let daemon = Daemon::start(&sim, &[]).await;
    let scrape =
        daemon.until("rejected repeatedly", |p| p.api_calls("GetInstanceList", "clock") >= 4.0).await;
    assert_eq!(scrape.region_up(REGION), Some(0.0));
    assert_eq!(scrape.sum("alikafka_exporter_api_retries_total", &[]), 0.0, "a retry would be rejected too");
    assert!((89_900.0..=90_001.0).contains(&skew(&scrape)), "{}", skew(&scrape));
    let lines = daemon.failures();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let message = lines[0]["error"].as_str().unwrap();
    let seconds = message.split_once("the clock of the cloud is ").unwrap().1.split_once(' ').unwrap().0;
    assert!((89_900..=90_001).contains(&seconds.parse::<u32>().unwrap()), "{message}");
    assert!(message.ends_with("seconds ahead of the clock of this host, too much to correct"), "{message}");
    sim.behaviour(|b| b.clock_skew_ms = 0);
    daemon.until("recovered without a restart", |p| all_up(p, LAG_BEFORE)).await;
    daemon.until_logged("the recovery", |_| daemon.recoveries().len() == 1).await;
    daemon.stop().await;
}
