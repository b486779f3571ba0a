//! Credential services issue keys to authorized callers, and the API accepts them until they expire.

use std::time::Duration;

use alikafka_simulator::{
    AccessKey, Effect, Fault, IssuedKey, KeyRegistry, MetadataRules, MetadataService, ServiceBehaviour,
    SignatureKind, Simulator, SimulatorOptions, StsRole, StsRules, StsService, TokenMode, UriRules,
    UriService,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::client::{Client, Style, TestResponse, exchange, plain, rfc3339};

const READER: &str = "acs:ram::1234567890123456:role/reader";
const WRITER: &str = "acs:ram::1234567890123456:role/path/writer";
const PROVIDER: &str = "acs:ram::1234567890123456:oidc-provider/cluster";
const LIST: (&str, &[(&str, &str)]) = ("GetInstanceList", &[("RegionId", "cn-hangzhou")]);
const ROLE_PATH: &str = "/latest/meta-data/ram/security-credentials/";

fn wall_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn rules() -> StsRules {
    StsRules {
        callers: vec![AccessKey::new("base", "base-secret")],
        roles: vec![
            StsRole::new(READER),
            StsRole::new(WRITER).with_external_id("ours").trusting("STS.reader"),
        ],
        oidc_provider: Some(PROVIDER.to_owned()),
        oidc_tokens: vec!["a.b.c".to_owned()],
        ..StsRules::default()
    }
}

/// Returns a client of the token service.
fn caller(sts: &StsService) -> Client {
    Client {
        key: "base".to_owned(),
        secret: "base-secret".to_owned(),
        version: "2015-04-01".to_owned(),
        method: "GET",
        ..Client::at(sts.addr(), wall_ms()).style(Style::V1Query)
    }
}

fn with_key(client: Client, key: &Value) -> Client {
    let text = |field: &str| key[field].as_str().expect("a field").to_owned();
    Client {
        key: text("AccessKeyId"),
        secret: text("AccessKeySecret"),
        token: Some(text("SecurityToken")),
        ..client
    }
}

async fn assumed(client: &Client) -> Value {
    let response = client.good("AssumeRole", &[("RoleArn", READER), ("RoleSessionName", "me")]).await;
    response["Credentials"].clone()
}

async fn api(keys: &KeyRegistry) -> Simulator {
    let behaviour =
        ServiceBehaviour { keys: Vec::new(), shared_keys: keys.clone(), ..ServiceBehaviour::default() };
    Simulator::start(SimulatorOptions { behaviour, ..SimulatorOptions::default() })
        .await
        .expect("a free port")
}

async fn listed(client: &Client) -> String {
    client.call(LIST.0, LIST.1).await.code()
}

fn error(response: &TestResponse) -> (u16, String) {
    (response.status, response.code())
}

#[tokio::test]
async fn assume_role_accepts_all_signatures_and_the_api_accepts_its_keys() {
    let keys = KeyRegistry::default();
    let (sts, sim) = (StsService::start(rules(), &keys).expect("a free port"), api(&keys).await);
    for (style, method) in [
        (Style::V1Query, "GET"),
        (Style::V1Form, "POST"),
        (Style::V1Query, "POST"),
        (Style::Acs3Form, "POST"),
    ] {
        let client = Client { method, ..caller(&sts).style(style) };
        let params = [("RoleArn", READER), ("RoleSessionName", "me@here"), ("Policy", "{\"Version\":\"1\"}")];
        let response = client.good("AssumeRole", &params).await;
        assert!(response["RequestId"].is_string(), "{response}");
        assert_eq!(response["AssumedRoleUser"]["Arn"], format!("{READER}/me@here"));
        let key = &response["Credentials"];
        assert!(key["AccessKeyId"].as_str().is_some_and(|id| id.starts_with("STS.reader")), "{response}");
        let end: jiff::Timestamp = key["Expiration"].as_str().expect("text").parse().expect("a time");
        assert_eq!(key["Expiration"].as_str().map(str::len), Some("2026-01-02T03:04:05Z".len()));
        let left = end.as_millisecond() - wall_ms();
        assert!((3_500_000..=3_600_000).contains(&left), "one hour by default: {left}");
        assert_eq!(listed(&with_key(Client::new(&sim), key)).await, "200");
    }
    let log = sts.call_log();
    let first = log.entries().next().expect("a call");
    assert_eq!((first.action.as_str(), first.object.as_deref()), ("AssumeRole", Some(READER)));
    assert_eq!((first.key_id.as_deref(), first.signature), (Some("base"), SignatureKind::V1));
    assert_eq!(first.details["RoleSessionName"], "me@here");
    assert_eq!(first.details["Policy"], "{\"Version\":\"1\"}");
    assert!(!format!("{log:?}").contains("base-secret"));
    assert_eq!((keys.issued().len(), keys.mismatched_key_calls()), (4, 0));
    sim.shutdown().await;
}

#[tokio::test]
async fn role_chaining_requires_token_and_external_id() {
    let keys = KeyRegistry::default();
    let sts = StsService::start(rules(), &keys).expect("a free port");
    let base = caller(&sts);
    let second = [("RoleArn", WRITER), ("RoleSessionName", "me"), ("ExternalId", "ours")];
    assert_eq!(error(&base.call("AssumeRole", &second).await), (403, "NoPermission".to_owned()));
    let chained = with_key(base.clone(), &assumed(&base).await);
    assert_eq!(error(&chained.call("AssumeRole", &second[..2]).await).1, "NoPermission", "no external id");
    let other = [second[0], second[1], ("ExternalId", "theirs")];
    assert_eq!(error(&chained.call("AssumeRole", &other).await).1, "NoPermission");
    let key = chained.good("AssumeRole", &second).await;
    assert!(key["Credentials"]["AccessKeyId"].as_str().is_some_and(|id| id.starts_with("STS.writer")));
    let tokenless = Client { token: None, ..chained };
    assert_eq!(
        error(&tokenless.call("AssumeRole", &second).await).1,
        "InvalidSecurityToken.MismatchWithAccessKey"
    );
    assert_eq!(keys.mismatched_key_calls(), 1);
}

#[tokio::test]
async fn invalid_assume_role_calls_fail_with_their_error_codes() {
    let keys = KeyRegistry::default();
    let sts = StsService::start(rules(), &keys).expect("a free port");
    let good = caller(&sts);
    let role = ("RoleArn", READER);
    let session = ("RoleSessionName", "me");
    for (params, status, code) in [
        (&[session][..], 400, "MissingParameter"),
        (&[role], 400, "MissingParameter"),
        (&[("RoleArn", "acs:ram::1:role/none"), session], 404, "EntityNotExist.Role"),
        (&[role, ("RoleSessionName", "no spaces")], 400, "InvalidParameter.RoleSessionName"),
        (&[role, session, ("DurationSeconds", "899")], 400, "InvalidParameter.DurationSeconds"),
        (&[role, session, ("DurationSeconds", "43201")], 400, "InvalidParameter.DurationSeconds"),
        (&[role, session, ("DurationSeconds", "1h")], 400, "InvalidParameter.DurationSeconds"),
        (&[role, session, ("DurationSeconds", "900")], 200, ""),
    ] {
        let response = good.call("AssumeRole", params).await;
        assert_eq!(response.status, status, "{params:?}: {}", response.body);
        assert!(status == 200 || response.code() == code, "{params:?}: {}", response.body);
    }
    let with = |change: fn(&mut Client)| {
        let mut client = good.clone();
        change(&mut client);
        client
    };
    for (client, code) in [
        (with(|c| c.key = "other".to_owned()), "InvalidAccessKeyId.NotFound"),
        (with(|c| c.secret = "other".to_owned()), "SignatureDoesNotMatch"),
        (with(|c| c.version = "2019-09-16".to_owned()), "InvalidVersion"),
        (with(|c| c.now_ms -= 16 * 60_000), "InvalidTimeStamp.Expired"),
    ] {
        assert_eq!(client.call("AssumeRole", &[role, session]).await.code(), code);
    }
    let again = with(|c| c.nonce = Some("once".to_owned()));
    assert_eq!(again.call("AssumeRole", &[role, session]).await.status, 200);
    assert_eq!(again.call("AssumeRole", &[role, session]).await.code(), "SignatureNonceUsed");
    assert_eq!(good.call("GetCallerIdentity", &[]).await.code(), "InvalidAction.NotFound");
    assert_eq!(keys.issued().len(), 2, "failed calls issue no key");
}

async fn with_oidc(sts: &StsService, token: &str, change: impl Fn(&mut Vec<(&str, String)>)) -> TestResponse {
    let mut form = vec![
        ("Action", "AssumeRoleWithOIDC".to_owned()),
        ("Version", "2015-04-01".to_owned()),
        ("Format", "JSON".to_owned()),
        ("Timestamp", rfc3339(wall_ms())),
        ("RoleArn", READER.to_owned()),
        ("OIDCProviderArn", PROVIDER.to_owned()),
        ("OIDCToken", token.to_owned()),
        ("RoleSessionName", "pod".to_owned()),
    ];
    change(&mut form);
    let pairs: Vec<String> =
        form.iter().map(|(k, v)| format!("{k}={}", alikafka_simulator::sign::percent_encode(v))).collect();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    plain(sts.addr(), "POST", "/", &headers, &pairs.join("&")).await
}

#[tokio::test]
async fn oidc_tokens_are_accepted_while_valid() {
    let keys = KeyRegistry::default();
    let (sts, sim) = (StsService::start(rules(), &keys).expect("a free port"), api(&keys).await);
    let response = with_oidc(&sts, "a.b.c", |_| {}).await;
    assert_eq!(response.status, 200, "{}", response.body);
    assert_eq!(listed(&with_key(Client::new(&sim), &response.json()["Credentials"])).await, "200");
    sts.rules(|r| r.oidc_tokens.push("d.e.f".to_owned()));
    for token in ["a.b.c", "d.e.f"] {
        assert_eq!(with_oidc(&sts, token, |_| {}).await.status, 200, "both are valid during a rotation");
    }
    sts.rules(|r| r.oidc_tokens.remove(0));
    let old = with_oidc(&sts, "a.b.c", |_| {}).await;
    assert_eq!(error(&old), (401, "AuthenticationFail.OIDCToken.Expired".to_owned()));
    for (field, value, code) in [
        ("OIDCProviderArn", "acs:ram::1:oidc-provider/other", "AuthenticationFail.NoPermission"),
        ("RoleArn", "acs:ram::1:role/none", "EntityNotExist.Role"),
        ("OIDCToken", "", "MissingParameter"),
        ("Timestamp", "2020-01-01T00:00:00Z", "InvalidTimeStamp.Expired"),
        ("Version", "2019-09-16", "InvalidVersion"),
    ] {
        let response = with_oidc(&sts, "d.e.f", |form| {
            form.iter_mut().filter(|(name, _)| *name == field).for_each(|(_, v)| value.clone_into(v));
        });
        assert_eq!(response.await.code(), code, "{field}");
    }
    let log = sts.call_log();
    assert!(log.entries().all(|e| e.action == "AssumeRoleWithOIDC" && !e.target.contains("a.b.c")));
    assert!(log.entries().all(|e| e.signature == SignatureKind::None && e.key_id.is_none()));
    sim.shutdown().await;
}

#[tokio::test]
async fn keys_expire_at_the_returned_second() {
    let keys = KeyRegistry::default();
    let short = StsRules { lifetime: Some(Duration::from_millis(2_500)), ..rules() };
    let (sts, sim) = (StsService::start(short, &keys).expect("a free port"), api(&keys).await);
    let key = assumed(&caller(&sts)).await;
    let client = with_key(Client::new(&sim), &key);
    assert_eq!(listed(&client).await, "200");
    let end: jiff::Timestamp = key["Expiration"].as_str().expect("text").parse().expect("a time");
    let issued = &keys.issued()[0];
    assert_eq!(issued.expires_ms, end.as_millisecond());
    assert!((1_500..=2_500).contains(&(issued.expires_ms - issued.issued_ms)), "{issued:?}");
    let code = loop {
        let before = wall_ms();
        let code = listed(&client).await;
        if code != "200" {
            break code;
        }
        assert!(before < end.as_millisecond(), "accepted too late");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(code, "InvalidSecurityToken.Expired");
    assert!(wall_ms() >= end.as_millisecond(), "rejected too early");
    sts.rules(|r| r.clock_skew_ms = 7_200_000);
    let skewed = assumed(&Client { now_ms: wall_ms() + 7_200_000, ..caller(&sts) }).await;
    let left = keys.issued()[1].expires_ms - wall_ms();
    assert!((1..=2_500).contains(&left), "the expiry does not depend on the clock of the service: {left}");
    let expiration: jiff::Timestamp = skewed["Expiration"].as_str().expect("text").parse().expect("a time");
    assert_eq!(keys.issued()[1].expires_ms + 7_200_000, expiration.as_millisecond(), "by the skewed clock");
    sim.shutdown().await;
}

#[tokio::test]
async fn mixed_keys_are_rejected_and_counted() {
    let keys = KeyRegistry::default();
    let (sts, sim) = (StsService::start(rules(), &keys).expect("a free port"), api(&keys).await);
    keys.add(AccessKey::new("id-1", "secret-1"));
    keys.add(AccessKey::new("id-2", "secret-2"));
    let base = caller(&sts);
    let (a, b) = (assumed(&base).await, assumed(&base).await);
    let [a, b] = [a, b].map(|key| with_key(Client::new(&sim), &key));
    let plain = |id: &str, secret: &str| Client {
        key: id.to_owned(),
        secret: secret.to_owned(),
        ..Client::new(&sim)
    };
    let mut expected = 0;
    for (client, code) in [
        (a.clone(), "200"),
        (b.clone(), "200"),
        (plain("id-1", "secret-1"), "200"),
        (Client { secret: b.secret.clone(), ..a.clone() }, "SignatureDoesNotMatch"),
        (Client { token: b.token.clone(), ..a.clone() }, "InvalidSecurityToken.Malformed"),
        (Client { token: None, ..a.clone() }, "InvalidSecurityToken.MismatchWithAccessKey"),
        (Client { key: b.key.clone(), token: b.token.clone(), ..a.clone() }, "SignatureDoesNotMatch"),
        (plain("id-1", "secret-2"), "SignatureDoesNotMatch"),
        (Client { token: a.token.clone(), ..plain("id-1", "secret-1") }, "InvalidSecurityToken.Malformed"),
    ] {
        for style in [Style::Acs3Query, Style::V1Form] {
            assert_eq!(listed(&client.clone().style(style)).await, code);
            expected += u64::from(code != "200");
        }
    }
    assert_eq!(keys.mismatched_key_calls(), expected);
    assert_eq!(listed(&plain("id-1", "never was one")).await, "SignatureDoesNotMatch");
    assert_eq!(keys.mismatched_key_calls(), expected, "a wrong secret of no key does not count");
    keys.retire("id-1");
    assert_eq!(listed(&plain("id-1", "secret-1")).await, "InvalidAccessKeyId.Inactive");
    assert_eq!(listed(&plain("id-2", "secret-1")).await, "SignatureDoesNotMatch");
    assert_eq!(keys.mismatched_key_calls(), expected + 1, "retired keys count too");
    sim.shutdown().await;
}

async fn token(metadata: &MetadataService) -> TestResponse {
    let ttl = [("X-aliyun-ecs-metadata-token-ttl-seconds", "21600")];
    plain(metadata.addr(), "PUT", "/latest/api/token", &ttl, "").await
}

#[tokio::test]
async fn metadata_service_has_three_token_modes() {
    let keys = KeyRegistry::default();
    let metadata = MetadataService::start(MetadataRules::default(), &keys).expect("a free port");
    let get = async |path: &str, headers: &[(&str, &str)]| {
        plain(metadata.addr(), "GET", path, headers, "").await.status
    };
    let key_path = format!("{ROLE_PATH}machine");
    for (mode, put, bare, with_token, with_other) in [
        (TokenMode::Required, 200, 403, 200, 401),
        (TokenMode::Optional, 200, 200, 200, 401),
        (TokenMode::Unsupported, 404, 200, 200, 200),
    ] {
        metadata.rules(|r| r.tokens = TokenMode::Optional);
        let good = token(&metadata).await.body;
        metadata.rules(|r| r.tokens = mode);
        assert_eq!(token(&metadata).await.status, put, "{mode:?}");
        for path in [ROLE_PATH, key_path.as_str()] {
            assert_eq!(get(path, &[]).await, bare, "{mode:?}");
            assert_eq!(get(path, &[("X-aliyun-ecs-metadata-token", &good)]).await, with_token, "{mode:?}");
            assert_eq!(get(path, &[("X-aliyun-ecs-metadata-token", "x")]).await, with_other, "{mode:?}");
            assert_eq!(get(path, &[("X-Forwarded-For", "10.0.0.1")]).await, 403, "{mode:?}");
        }
    }
    assert_eq!(plain(metadata.addr(), "GET", ROLE_PATH, &[], "").await.body, "machine");
    assert_eq!(get(&format!("{ROLE_PATH}other"), &[]).await, 404);
    metadata.rules(|r| {
        r.tokens = TokenMode::Optional;
        r.role = None;
    });
    assert_eq!(get(ROLE_PATH, &[]).await, 404);
    assert_eq!(plain(metadata.addr(), "PUT", "/latest/api/token", &[], "").await.status, 400, "no TTL");
    let log = metadata.call_log();
    let actions: Vec<&str> = log.entries().take(4).map(|e| e.action.as_str()).collect();
    assert_eq!(actions, ["PutToken", "PutToken", "ListRole", "ListRole"]);
    assert_eq!(log.entries().nth(3).map(|e| e.details["token"].as_str()), Some("true"));
}

#[tokio::test]
async fn api_accepts_keys_of_metadata_service_and_credentials_uri() {
    let keys = KeyRegistry::default();
    let sim = api(&keys).await;
    let rules = MetadataRules { renew_before: Some(Duration::from_secs(60)), ..MetadataRules::default() };
    let metadata = MetadataService::start(rules, &keys).expect("a free port");
    let rules = UriRules { target: "/keys?ticket=t".to_owned(), ..UriRules::default() };
    let uri = UriService::start(rules, &keys).expect("a free port");
    let key_path = format!("{ROLE_PATH}machine");
    let machine = plain(metadata.addr(), "GET", &key_path, &[], "").await.json();
    let own = plain(uri.addr(), "GET", "/keys?ticket=t", &[], "").await.json();
    for key in [&machine, &own] {
        assert_eq!(key["Code"], "Success");
        assert!(key["LastUpdated"].is_string());
        assert_eq!(listed(&with_key(Client::new(&sim), key)).await, "200");
    }
    for (method, path) in [("GET", "/keys"), ("POST", "/keys?ticket=t"), ("GET", "/")] {
        assert_eq!(plain(uri.addr(), method, path, &[], "").await.status, 404);
    }
    let again = plain(metadata.addr(), "GET", &key_path, &[], "").await.json();
    assert_eq!(again["AccessKeyId"], machine["AccessKeyId"], "the same until it is about to expire");
    metadata.rules(|r| r.renew_before = Some(Duration::from_secs(7 * 3600)));
    let next = plain(metadata.addr(), "GET", &key_path, &[], "").await.json();
    assert_ne!(next["AccessKeyId"], machine["AccessKeyId"]);
    sim.shutdown().await;
}

#[tokio::test]
async fn faults_apply_to_credential_services() {
    let keys = KeyRegistry::default();
    let sts = StsService::start(rules(), &keys).expect("a free port");
    let base = caller(&sts);
    let params = [("RoleArn", READER), ("RoleSessionName", "me")];
    let under = async |effect: Effect| {
        sts.faults(|f| {
            f.clear();
            f.add(Fault::new(effect).action("AssumeRole").object(READER));
        });
        base.try_call("AssumeRole", &params).await
    };
    let down = Effect::Error { status: 503, code: "ServiceUnavailable".to_owned(), message: String::new() };
    assert_eq!(error(&under(down).await.expect("a response")), (503, "ServiceUnavailable".to_owned()));
    let raw = Effect::Raw { status: 200, content_type: "application/json".to_owned(), body: b"{}".to_vec() };
    assert_eq!(under(raw).await.expect("a response").json(), json!({}));
    let half = under(Effect::OmitField("SecurityToken".to_owned())).await.expect("a response").json();
    assert!(half["Credentials"]["SecurityToken"].is_null() && half["Credentials"]["AccessKeyId"].is_string());
    let past = under(Effect::ExpiresIn(-5_000)).await.expect("a response").json();
    let end: jiff::Timestamp =
        past["Credentials"]["Expiration"].as_str().expect("text").parse().expect("a time");
    assert!(end.as_millisecond() < wall_ms());
    let echo = under(Effect::Echo { status: 400, code: "Echo".to_owned() }).await.expect("a response");
    for sent in ["Signature=", "AccessKeyId: base", "62617365", "RoleArn"] {
        assert!(echo.body.contains(sent), "{sent} in {}", echo.body);
    }
    let cut = under(Effect::Truncate(20)).await.expect("a response");
    assert_eq!((cut.status, cut.body.len()), (200, 20));
    let huge = under(Effect::Oversized { bytes: 3_000_000, declared: true }).await.expect("a response");
    assert!(huge.body.len() > 3_000_000);
    assert!(under(Effect::Close).await.is_none() && under(Effect::Reset).await.is_none());
    sts.faults(|f| {
        f.clear();
        f.add(Fault::new(Effect::Hang));
    });
    let hanging = tokio::time::timeout(Duration::from_millis(200), base.call("AssumeRole", &params)).await;
    assert!(hanging.is_err());
    assert_eq!(sts.faults(|f| f.fired()), [1]);
    let last = sts.call_log().entries().last().map(|e| e.code.clone());
    assert_eq!(last.as_deref(), Some("fault: hang"));
}

#[tokio::test]
async fn closed_service_refuses_connections_until_it_is_opened() {
    let keys = KeyRegistry::default();
    let mut uri = UriService::start(UriRules::default(), &keys).expect("a free port");
    uri.faults(|f| f.add(Fault::new(Effect::Hang).times(1)));
    let addr = uri.addr();
    let request = b"GET /key HTTP/1.1\r\nhost: x\r\n\r\n";
    let hanging = tokio::spawn(async move { exchange(addr, request).await.unwrap_or_default() });
    while uri.call_log().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..3 {
        uri.close().await;
        let refused = TcpStream::connect(addr).await.expect_err("connection refused");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        uri.open().expect("the port is reserved");
        assert_eq!(plain(addr, "GET", "/key", &[], "").await.status, 200);
    }
    let dropped = tokio::time::timeout(Duration::from_secs(10), hanging).await.expect("dropped at once");
    assert_eq!(dropped.expect("joined"), b"");
    let issued: Vec<IssuedKey> = keys.issued();
    assert_eq!(issued.len(), 3);
    assert!(issued.windows(2).all(|w| w[0].id != w[1].id && w[0].token != w[1].token));
}
