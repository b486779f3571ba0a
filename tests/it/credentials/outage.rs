//! During an outage of a credential service the current key is used until it expires. Then no request is sent until
//! there is a key again.

use serde_json::Value;

use super::*;

/// Returns the warnings about credentials.
fn warnings(daemon: &Daemon) -> Vec<Value> {
    let is_about_credentials = |l: &Value| {
        l["level"] == "warn"
            && l["msg"].as_str().is_some_and(|m| m.contains("credentials"))
            && l.get("result").is_none()
    };
    daemon.log_lines().into_iter().filter(is_about_credentials).collect()
}

fn failures(scrape: &Scrape) -> f64 {
    scrape.value(FAILURES, &[]).unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Outage {
    Closed,
    ServerError,
    InvalidResponse,
}

impl Outage {
    async fn begin(self, cloud: &mut CloudWithServices) {
        let effect = match self {
            Self::Closed => return cloud.sts.close().await,
            Self::ServerError => crate::faults::error(503, "ServiceUnavailable", "Try again later."),
            Self::InvalidResponse => Effect::Raw {
                status: 200,
                content_type: "application/json".to_owned(),
                body: br#"{"RequestId": "R-1", "Credentials": {}}"#.to_vec(),
            },
        };
        cloud.sts.faults(|f| f.add(Fault::new(effect)));
    }

    fn end(self, cloud: &mut CloudWithServices) {
        cloud.sts.faults(|f| f.clear());
        cloud.sts.open().unwrap();
    }
}

#[tokio::test]
async fn a_short_outage_is_logged_once_and_costs_no_value() {
    for outage in [Outage::Closed, Outage::ServerError, Outage::InvalidResponse] {
        let mut cloud = CloudWithServices::new(&format!("short-{outage:?}")).await;
        cloud.sts.rules(|r| r.lifetime = Some(Duration::from_secs(24)));
        let file = cloud.write("token", OIDC_TOKEN);
        let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &[("STALE_AFTER", "3s")]).await;
        daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
        cloud.sts.rules(|r| r.lifetime = None);
        outage.begin(&mut cloud).await;
        daemon
            .until("it fails, twice", |p| {
                assert!(p.lag(A, "billing").is_some(), "{outage:?}: a gap");
                failures(p) >= 2.0
            })
            .await;
        assert_eq!(warnings(&daemon).len(), 1, "{outage:?}: {:#?}", warnings(&daemon));
        outage.end(&mut cloud);
        daemon
            .until("it is refreshed", |p| {
                assert!(p.lag(A, "billing").is_some(), "{outage:?}: a gap");
                cloud.keys.issued().len() == 2
            })
            .await;
        cloud.sim.with_world(write_more);
        daemon.until("it goes on", |p| all_lag_by(p, LAG_AFTER)).await;
        let end = cloud.keys.issued()[1].expires_ms / 1000;
        #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
        let scrape = daemon.until("the new end", |p| p.value(EXPIRY, &[]) == Some(end as f64)).await;
        assert!(failures(&scrape) >= 1.0, "{outage:?}");
        assert_eq!(cloud.failed_calls(), Vec::<String>::new(), "{outage:?}");
        assert_eq!(warnings(&daemon).len(), 1, "{outage:?}: {:#?}", warnings(&daemon));
        cloud.stop(daemon).await;
    }
}

#[tokio::test]
async fn an_outage_beyond_the_expiry_of_the_key_stops_the_calls_until_it_ends() {
    let mut cloud = CloudWithServices::new("long").await;
    cloud.sts.rules(|r| r.lifetime = Some(Duration::from_secs(10)));
    let file = cloud.write("token", OIDC_TOKEN);
    // A single source, because the chain would try the next one.
    let settings = [("CREDENTIALS__TYPE", "oidc"), ("STALE_AFTER", "3s")];
    let daemon = cloud.daemon(&borrowed(&rrsa(&file)), &settings).await;
    daemon.until("all known", |p| all_lag_by(p, LAG_BEFORE)).await;
    cloud.sts.close().await;
    let end = cloud.keys.issued().last().unwrap().expires_ms;
    cloud.sim.with_world(write_more);
    // Every scrape before the expiry has current values.
    let scrape = daemon
        .until("values until the expiry", |p| {
            let now = wall_ms();
            assert!(now >= end || p.lag(A, "billing").is_some(), "a gap {} ms before the expiry", end - now);
            now >= end
        })
        .await;
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
    let expected = (end / 1000) as f64;
    assert_eq!(scrape.value(EXPIRY, &[]), Some(expected), "the expiry is exposed even in the past");
    assert!(failures(&scrape) >= 1.0);
    daemon
        .until("all values are dropped", |p| {
            p.lag(A, "billing").is_none() && p.region_up(REGION) == Some(0.0)
        })
        .await;
    assert_eq!(warnings(&daemon).len(), 1, "{:#?}", warnings(&daemon));
    let sent = cloud.sim.call_log().len();
    daemon.until("some more passes", |p| failures(p) >= failures(&scrape) + 2.0).await;
    assert_eq!(cloud.sim.call_log().len(), sent, "no request is sent without a key");
    cloud.sts.rules(|r| r.lifetime = None);
    cloud.sts.open().unwrap();
    daemon.until("recovered", |p| all_lag_by(p, LAG_AFTER) && p.region_up(REGION) == Some(1.0)).await;
    daemon
        .until_logged("the recovery", |lines| {
            lines.iter().filter(|l| l["msg"].as_str().is_some_and(|m| m.contains("refreshed again"))).count()
                == 1
        })
        .await;
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn a_source_that_is_missing_at_startup_is_found_later() {
    let mut cloud = CloudWithServices::new("late").await;
    cloud.uri.close().await;
    let uri = cloud.uri();
    let daemon = cloud.daemon(&[], &[("CREDENTIALS__TYPE", "uri"), ("CREDENTIALS__URI", uri.as_str())]).await;
    let scrape = daemon.until("down", |p| p.region_up(REGION) == Some(0.0) && failures(p) >= 2.0).await;
    assert_eq!(scrape.value(EXPIRY, &[]), None, "no key, no expiry");
    assert_eq!(warnings(&daemon).len(), 1, "{:#?}", warnings(&daemon));
    assert!(cloud.sim.call_log().is_empty());
    cloud.uri.open().unwrap();
    daemon.until("recovered", |p| all_lag_by(p, LAG_BEFORE) && p.region_up(REGION) == Some(1.0)).await;
    cloud.stop(daemon).await;
}

#[tokio::test]
async fn invalid_responses_are_rejected_and_late_ones_are_awaited() {
    let invalid = |body: &str| Effect::Raw {
        status: 200,
        content_type: "application/json".to_owned(),
        body: body.as_bytes().to_vec(),
    };
    let cloud = CloudWithServices::new("invalid").await;
    let effects = [
        invalid("{}"),
        invalid("[]"),
        invalid("null"),
        invalid(
            r#"{"Code": "Failed", "AccessKeyId": "STS.x", "AccessKeySecret": "y", "SecurityToken": "z"}"#,
        ),
        invalid(r#"{"Code": "Success", "AccessKeyId": 7, "AccessKeySecret": {}, "SecurityToken": []}"#),
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
        let scrape = daemon.until("it fails", |p| failures(p) >= 1.0).await;
        daemon.until_logged("the failure", |_| !warnings(&daemon).is_empty()).await;
        assert!(scrape.lag(A, "billing").is_none(), "{effect:?}");
        assert!(cloud.used_key_ids().is_empty(), "{effect:?}: no request is signed with an invalid key");
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
    let scrape = daemon.until("recovered", |p| all_lag_by(p, LAG_BEFORE)).await;
    assert_eq!(failures(&scrape), 1.0, "the call that hung timed out");
    cloud.stop(daemon).await;
}
