//! While whoever hands out keys is down, the key that is held is used to its very end; then nothing is sent,
//! and all is well again as soon as there is a key.

use serde_json::Value;

use super::*;

/// The lines that tell that a key could not be had.
fn warnings(daemon: &Daemon) -> Vec<Value> {
    let is_of_keys = |l: &Value| {
        l["level"] == "warn"
            && l["msg"].as_str().is_some_and(|m| m.contains("credentials"))
            && l.get("result").is_none()
    };
    daemon.log_lines().into_iter().filter(is_of_keys).collect()
}

fn failures(page: &Scrape) -> f64 {
    page.value(FAILURES, &[]).unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Down {
    Refuses,
    Errors,
    Nonsense,
}

impl Down {
    async fn begin(self, cloud: &mut Cloud) {
        let effect = match self {
            Self::Refuses => return cloud.sts.close().await,
            Self::Errors => crate::faults::error(503, "ServiceUnavailable", "Try again later."),
            Self::Nonsense => Effect::Raw {
                status: 200,
                content_type: "application/json".to_owned(),
                body: br#"{"RequestId": "R-1", "Credentials": {}}"#.to_vec(),
            },
        };
        cloud.sts.faults(|f| f.add(Fault::new(effect)));
    }

    fn end(self, cloud: &mut Cloud) {
        cloud.sts.faults(|f| f.clear());
        cloud.sts.open().unwrap();
    }
}

#[tokio::test]
async fn an_outage_that_ends_in_time_is_told_once_and_costs_no_value() {
    for down in [Down::Refuses, Down::Errors, Down::Nonsense] {
        let mut cloud = Cloud::new(&format!("short-{down:?}")).await;
        cloud.sts.rules(|r| r.lifetime = Some(Duration::from_secs(24)));
        let file = cloud.write("token", OIDC_TOKEN);
        let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &[("STALE_AFTER", "3s")]).await;
        daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
        cloud.sts.rules(|r| r.lifetime = None);
        down.begin(&mut cloud).await;
        daemon
            .until("it fails, twice", |p| {
                assert!(p.lag(A, "billing").is_some(), "{down:?}: a gap");
                failures(p) >= 2.0
            })
            .await;
        assert_eq!(warnings(&daemon).len(), 1, "{down:?}: {:#?}", warnings(&daemon));
        down.end(&mut cloud);
        daemon
            .until("it is renewed", |p| {
                assert!(p.lag(A, "billing").is_some(), "{down:?}: a gap");
                cloud.keys.issued().len() == 2
            })
            .await;
        cloud.sim.world(write_more);
        daemon.until("it goes on", |p| all_lag_by(p, LAG_AFTER)).await;
        let end = cloud.keys.issued()[1].expires_ms / 1000;
        #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
        let shown = daemon.until("the new end", |p| p.value(EXPIRY, &[]) == Some(end as f64)).await;
        assert!(failures(&shown) >= 1.0, "{down:?}");
        assert_eq!(cloud.refused(), Vec::<String>::new(), "{down:?}");
        assert_eq!(warnings(&daemon).len(), 1, "{down:?}: {:#?}", warnings(&daemon));
        cloud.stop(daemon).await;
    }
}

#[tokio::test]
async fn an_outage_beyond_the_key_s_end_stops_the_calls_at_that_end_and_is_over_by_itself() {
    let mut cloud = Cloud::new("long").await;
    cloud.sts.rules(|r| r.lifetime = Some(Duration::from_secs(10)));
    let file = cloud.write("token", OIDC_TOKEN);
    // By name: the chain would go on to the next source once the key has ended.
    let settings = [("CREDENTIALS__TYPE", "oidc"), ("STALE_AFTER", "3s")];
    let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &settings).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    cloud.sts.close().await;
    let end = cloud.keys.issued().last().unwrap().expires_ms;
    cloud.sim.world(write_more);
    // Whatever is scraped well before the end has values, and they are new ones.
    let page = daemon
        .until("values, to the end", |p| {
            let now = wall_ms();
            assert!(now >= end || p.lag(A, "billing").is_some(), "a gap {} ms before the end", end - now);
            now >= end
        })
        .await;
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
    let expected = (end / 1000) as f64;
    assert_eq!(page.value(EXPIRY, &[]), Some(expected), "the end is shown even when it is over");
    assert!(failures(&page) >= 1.0);
    daemon
        .until("all is dropped", |p| p.lag(A, "billing").is_none() && p.region_up(REGION) == Some(0.0))
        .await;
    assert_eq!(warnings(&daemon).len(), 1, "{:#?}", warnings(&daemon));
    let sent = cloud.sim.call_log().len();
    daemon.until("some more passes", |p| failures(p) >= failures(&page) + 2.0).await;
    assert_eq!(cloud.sim.call_log().len(), sent, "nothing is sent without a key");
    cloud.sts.rules(|r| r.lifetime = None);
    cloud.sts.open().unwrap();
    daemon.until("well again", |p| all_lag_by(p, LAG_AFTER) && p.region_up(REGION) == Some(1.0)).await;
    daemon
        .until_logged("the recovery", |lines| {
            lines.iter().filter(|l| l["msg"].as_str().is_some_and(|m| m.contains("refreshed again"))).count()
                == 1
        })
        .await;
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn a_source_that_is_not_there_at_the_start_is_found_later() {
    let mut cloud = Cloud::new("late").await;
    cloud.uri.close().await;
    let uri = cloud.uri();
    let daemon = cloud.daemon(&[], &[("CREDENTIALS__TYPE", "uri"), ("CREDENTIALS__URI", uri.as_str())]).await;
    let page = daemon.until("down", |p| p.region_up(REGION) == Some(0.0) && failures(p) >= 2.0).await;
    assert_eq!(page.value(EXPIRY, &[]), None, "no key, no end");
    assert_eq!(warnings(&daemon).len(), 1, "{:#?}", warnings(&daemon));
    assert!(cloud.sim.call_log().is_empty());
    cloud.uri.open().unwrap();
    daemon.until("well", |p| all_lag_by(p, LAG_BEFORE) && p.region_up(REGION) == Some(1.0)).await;
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn answers_that_are_no_keys_are_refused_and_those_that_are_late_are_waited_for() {
    let odd = |body: &str| Effect::Raw {
        status: 200,
        content_type: "application/json".to_owned(),
        body: body.as_bytes().to_vec(),
    };
    let cloud = Cloud::new("odd").await;
    let effects = [
        odd("{}"),
        odd("[]"),
        odd("null"),
        odd(r#"{"Code": "Failed", "AccessKeyId": "STS.x", "AccessKeySecret": "y", "SecurityToken": "z"}"#),
        odd(r#"{"Code": "Success", "AccessKeyId": 7, "AccessKeySecret": {}, "SecurityToken": []}"#),
        Effect::Html { status: 200 },
        Effect::Html { status: 502 },
        Effect::Truncate(30),
        Effect::CutBody(30),
        Effect::Reset,
        Effect::OmitField("AccessKeySecret".to_owned()),
        Effect::ExpiresIn(-60_000),
        Effect::Oversized { bytes: 64 << 20, declared: false },
        Effect::Redirect { status: 302, location: "http://127.0.0.1:9/".to_owned() },
    ];
    for effect in effects {
        cloud.uri.faults(|f| {
            f.clear();
            f.add(Fault::new(effect.clone()));
        });
        let uri = cloud.uri();
        let settings = [("CREDENTIALS__TYPE", "uri"), ("CREDENTIALS__URI", uri.as_str())];
        let daemon = cloud.daemon(&[], &settings).await;
        let page = daemon.until("it fails", |p| failures(p) >= 1.0).await;
        daemon.until_logged("the failure", |_| !warnings(&daemon).is_empty()).await;
        assert!(page.lag(A, "billing").is_none(), "{effect:?}");
        assert!(cloud.used().is_empty(), "{effect:?}: nothing is sent with what is no key");
        assert_eq!(warnings(&daemon).len(), 1, "{effect:?}: {:#?}", warnings(&daemon));
        cloud.stop(daemon).await;
    }
    cloud.uri.faults(|f| {
        f.clear();
        f.add(Fault::new(Effect::Hang).times(1));
        f.add(Fault::new(Effect::Drip(millis(2))));
        f.add(Fault::new(Effect::UnknownFields));
    });
    let uri = cloud.uri();
    let daemon = cloud.daemon(&[], &[("CREDENTIALS__TYPE", "uri"), ("CREDENTIALS__URI", uri.as_str())]).await;
    let page = daemon.until("well, if slow", |p| all_lag_by(p, LAG_BEFORE)).await;
    assert_eq!(failures(&page), 1.0, "the call that hung was given up");
    cloud.stop(daemon).await;
}
