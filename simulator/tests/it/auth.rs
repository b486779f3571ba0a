//! Valid signatures of every kind are accepted; all other calls fail with the error code of the gateway.

use alikafka_simulator::{AccessKey, SignatureKind, Simulator, SimulatorOptions};

use crate::client::{Client, KEY, SECRET, Style, exchange};

const STYLES: [Style; 4] = [Style::V1Query, Style::V1Form, Style::Acs3Query, Style::Acs3Form];
const LIST: (&str, &[(&str, &str)]) = ("GetInstanceList", &[("RegionId", "cn-hangzhou")]);

async fn started() -> Simulator {
    Simulator::start(SimulatorOptions::default()).await.expect("a free port")
}

async fn code(client: &Client) -> (u16, String) {
    let response = client.call(LIST.0, LIST.1).await;
    (response.status, response.code())
}

#[tokio::test]
async fn both_signatures_are_accepted_with_any_method_and_parameter_location() {
    let sim = started().await;
    let unusual = [("RegionId", "cn-hangzhou"), ("Tag.1.Key", "生产 a*b~c/d+e"), ("Tag.1.Value", "=&%")];
    for style in STYLES {
        for method in ["GET", "POST"] {
            let client = Client { method, ..Client::new(&sim).style(style) };
            let response = client.call("GetInstanceList", &unusual).await;
            assert_eq!(
                (response.status, response.code().as_str()),
                (200, "200"),
                "{style:?} {method}: {}",
                response.body
            );
        }
    }
    let kinds: Vec<_> = sim.call_log().entries().map(|e| e.signature).collect();
    assert_eq!(kinds[..2], [SignatureKind::V1; 2]);
    assert_eq!(kinds[4..6], [SignatureKind::Acs3; 2]);
    sim.shutdown().await;
}

#[tokio::test]
async fn invalid_calls_fail_with_their_error_codes() {
    let sim = started().await;
    let now = sim.now_ms();
    for style in STYLES {
        let good = Client::new(&sim).style(style);
        let with = |change: fn(&mut Client)| {
            let mut client = good.clone();
            change(&mut client);
            client
        };
        let refused = |status, code: &str| (status, code.to_owned());
        assert_eq!(
            code(&with(|c| c.key = "other".to_owned())).await,
            refused(404, "InvalidAccessKeyId.NotFound")
        );
        assert_eq!(
            code(&with(|c| c.secret = "other".to_owned())).await,
            refused(400, "SignatureDoesNotMatch")
        );
        assert_eq!(
            code(&with(|c| c.version = "2018-10-15".to_owned())).await,
            refused(400, "InvalidVersion")
        );
        assert_eq!(
            code(&with(|c| c.token = Some("t".to_owned()))).await,
            refused(400, "InvalidSecurityToken.Malformed")
        );
        for off in [-16, 16] {
            let late = Client { now_ms: now + off * 60_000, ..good.clone() };
            assert_eq!(code(&late).await, refused(400, "InvalidTimeStamp.Expired"));
        }
        for off in [-14, 14] {
            assert_eq!(
                code(&Client { now_ms: now + off * 60_000, ..good.clone() }).await,
                refused(200, "200")
            );
        }
        let again = Client { nonce: Some(format!("once {style:?}")), ..good.clone() };
        assert_eq!(code(&again).await, refused(200, "200"));
        assert_eq!(code(&again).await, refused(400, "SignatureNonceUsed"));
        let writing = good.call("DeleteTopic", &[("InstanceId", "x")]).await;
        assert_eq!((writing.status, writing.code().as_str()), (404, "InvalidAction.NotFound"));
        let incomplete =
            good.call("GetTopicStatus", &[("RegionId", "cn-hangzhou"), ("InstanceId", "x")]).await;
        assert_eq!((incomplete.status, incomplete.code().as_str()), (400, "MissingParameter"));
        assert!(incomplete.json()["Message"].as_str().is_some_and(|m| m.contains("\"Topic\"")));
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn signature_error_contains_the_string_to_sign() {
    let sim = started().await;
    let client = Client { secret: "wrong".to_owned(), token: Some("tok".to_owned()), ..Client::new(&sim) };
    let v1 = client.clone().style(Style::V1Form).call(LIST.0, LIST.1).await.json();
    let message = v1["Message"].as_str().unwrap_or_default();
    assert!(
        message.contains("POST&%2F&AccessKeyId") && message.contains(KEY) && message.contains("tok"),
        "{message}"
    );
    assert!(v1["RequestId"].is_string() && v1["HostId"].is_string() && v1["Recommend"].is_string());
    let acs3 = client.call(LIST.0, LIST.1).await.json();
    assert!(acs3["Message"].as_str().is_some_and(|m| m.contains("ACS3-HMAC-SHA256\n")));
    sim.shutdown().await;
}

#[tokio::test]
async fn acs3_signature_covers_body_query_and_headers() {
    let sim = started().await;
    let client = Client::new(&sim);
    let text =
        |style: Style| String::from_utf8(client.clone().style(style).request(LIST.0, LIST.1)).expect("text");
    for (was, becomes) in [("cn-hangzhou", "cn-hangzhoU"), ("x-acs-action: Get", "x-acs-action:  Get")] {
        let sent = text(Style::Acs3Query);
        assert!(sent.contains(was));
        let response = exchange(sim.addr(), sent.replace(was, becomes).as_bytes()).await.expect("a response");
        let refused = String::from_utf8_lossy(&response).contains("SignatureDoesNotMatch");
        // Spaces around the value of a header are not signed.
        assert_eq!(refused, was == "cn-hangzhou");
    }
    let body = text(Style::Acs3Form).replace("cn-hangzhou", "cn-hangzhoU");
    let response = exchange(sim.addr(), body.as_bytes()).await.expect("a response");
    assert!(String::from_utf8_lossy(&response).contains("does not match x-acs-content-sha256"));
    let more = text(Style::Acs3Query).replace("connection:", "x-acs-extra: 1\r\nconnection:");
    let response = exchange(sim.addr(), more.as_bytes()).await.expect("a response");
    assert!(String::from_utf8_lossy(&response).contains("IncompleteSignature"));
    sim.shutdown().await;
}

#[tokio::test]
async fn temporary_key_requires_its_token_until_it_expires() {
    let sim = started().await;
    sim.behaviour(|b| b.keys = vec![AccessKey::new("STS.a", SECRET).with_token("CAIS+/=abc~*")]);
    for style in STYLES {
        let with = |token: Option<&str>| Client {
            key: "STS.a".to_owned(),
            token: token.map(str::to_owned),
            ..Client::new(&sim).style(style)
        };
        assert_eq!(code(&with(Some("CAIS+/=abc~*"))).await.0, 200);
        assert_eq!(code(&with(Some("other"))).await.1, "InvalidSecurityToken.Malformed");
        assert_eq!(code(&with(None)).await.1, "InvalidSecurityToken.MismatchWithAccessKey");
    }
    sim.behaviour(|b| b.keys[0].token_expires_ms = Some(1));
    let late =
        Client { key: "STS.a".to_owned(), token: Some("CAIS+/=abc~*".to_owned()), ..Client::new(&sim) };
    assert_eq!(code(&late).await.1, "InvalidSecurityToken.Expired");
    sim.shutdown().await;
}

#[tokio::test]
async fn ram_denies_single_actions() {
    let sim = started().await;
    sim.behaviour(|b| {
        b.keys = vec![AccessKey::new(KEY, SECRET).denying("alikafka:ListInstance").denying("GetTopicList")]
    });
    let client = Client::new(&sim);
    let denied = client.call(LIST.0, LIST.1).await;
    assert_eq!((denied.status, denied.code().as_str()), (403, "NoPermission"));
    assert_eq!(denied.json()["AccessDeniedDetail"]["AuthAction"], "alikafka:ListInstance");
    let id = sim.with_world(|w| w.instances_in_service()[0].1.clone());
    assert_eq!(client.call("GetTopicList", &[("InstanceId", &id)]).await.status, 403);
    let groups = [("InstanceId", id.as_str()), ("RegionId", "cn-hangzhou")];
    assert_eq!(client.call("GetConsumerList", &groups).await.status, 200);
    sim.shutdown().await;
}

#[tokio::test]
async fn clock_skew_affects_date_and_timestamp_check() {
    let sim = started().await;
    sim.behaviour(|b| b.clock_skew_ms = 3 * 3_600_000);
    let refused = Client::new(&sim).call(LIST.0, LIST.1).await;
    assert_eq!(refused.code(), "InvalidTimeStamp.Expired");
    let theirs =
        jiff::fmt::rfc2822::parse(&refused.headers["date"]).expect("a date").timestamp().as_millisecond();
    let off = theirs - sim.now_ms();
    assert!((off - 3 * 3_600_000).abs() <= 1_000, "{off}");
    assert_eq!(code(&Client { now_ms: theirs, ..Client::new(&sim) }).await.0, 200);
    sim.shutdown().await;
}

#[tokio::test]
async fn unsigned_call_without_format_fails_in_xml() {
    let sim = started().await;
    let response = exchange(
        sim.addr(),
        b"GET /?Action=GetInstanceList&Version=2019-09-16 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    let text = String::from_utf8(response.expect("a response")).expect("text");
    assert!(text.starts_with("HTTP/1.1 400") && text.contains("text/xml"), "{text}");
    assert!(text.contains("<Code>MissingParameter</Code>"), "{text}");
    sim.shutdown().await;
}
