//! Whatever the endpoint does, a call ends in time with a value or an error of a fixed kind, respects the rate limit,
//! and exposes no secret.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, as tests do")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alikafka_exporter::{
    api::{
        Action, ActionRates, ApiClient, ApiError, ApiObserver, Attempt, ClientSettings, CloudApi as _,
        Credentials, CredentialsError, ErrorKind, ProvideCredentials, RequestBudget, RequestRate,
        credentials::BoxFuture, os_entropy,
    },
    clock::unix_now,
    model::{
        Anomaly, AnomalyKind, GroupId, InstanceId, MessageTimestamps, ProxySetting, RegionId,
        SignatureVersion, TopicName, UnixMillis, credentials::SourceSelection,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

mod credentials;
mod origin;
mod server;

use server::{ScriptedResponse, Server};

const ID: &str = "LTAI5tCanaryKeyId0001";
const SECRET: &str = "CanarySecretCanarySecret0002";
const TOKEN: &str = "CanaryToken/+=0003";

/// A recorded attempt.
struct RecordedAttempt {
    action: Action,
    result: Result<(), ErrorKind>,
    is_retry: bool,
    clock_skew_millis: Option<i64>,
}

/// Records every attempt.
#[derive(Default)]
struct Recorder {
    attempts: Mutex<Vec<RecordedAttempt>>,
    discarded: Mutex<Vec<AnomalyKind>>,
}

impl ApiObserver for Recorder {
    fn attempt(&self, attempt: &Attempt<'_>) {
        assert_eq!(attempt.region.as_str(), "cn-hangzhou");
        self.attempts.lock().unwrap().push(RecordedAttempt {
            action: attempt.action,
            result: attempt.result,
            is_retry: attempt.is_retry,
            clock_skew_millis: attempt.clock_skew_millis,
        });
    }

    fn discarded(&self, _: Action, anomaly: &Anomaly) {
        self.discarded.lock().unwrap().push(anomaly.kind);
    }
}

impl Recorder {
    fn results(&self) -> Vec<&'static str> {
        let label = |attempt: &RecordedAttempt| attempt.result.map_or_else(ErrorKind::label, |()| "ok");
        self.attempts.lock().unwrap().iter().map(label).collect()
    }
}

struct Setup {
    client: ApiClient,
    recorder: Arc<Recorder>,
}

fn budget(per_second: f64) -> Arc<RequestBudget> {
    Arc::new(RequestBudget::new(&ActionRates::all(RequestRate::new(per_second).unwrap())))
}

fn settings(endpoint: &str, signature: SignatureVersion) -> ClientSettings {
    ClientSettings {
        account: None,
        region: RegionId::new("cn-hangzhou").unwrap(),
        endpoint: endpoint.to_owned(),
        signature,
        request_timeout: Duration::from_millis(400),
        connect_timeout: Duration::from_millis(300),
        budget: budget(1_000.0),
        proxy: ProxySetting::None,
    }
}

fn setup_with(settings: ClientSettings, credentials: Arc<dyn ProvideCredentials>) -> Setup {
    let recorder = Arc::new(Recorder::default());
    let client =
        ApiClient::new(settings, credentials, Arc::<Recorder>::clone(&recorder), unix_now, os_entropy)
            .unwrap();
    Setup { client, recorder }
}

fn inline() -> Arc<dyn ProvideCredentials> {
    Arc::new(Arc::new(Credentials::new(ID, SECRET, Some(TOKEN)).unwrap()))
}

fn setup(server: &Server) -> Setup {
    setup_with(settings(&server.url(), SignatureVersion::Acs3), inline())
}

/// A deadline for tests. Pauses between retries adapt to it.
fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(2)
}

async fn instances(setup: &Setup) -> Result<usize, ApiError> {
    setup.client.instances(deadline()).await.map(|observed| observed.value.items.len())
}

const NO_INSTANCES: &str = r#"{"Code":200,"Success":true,"RequestId":"R","InstanceList":{"InstanceVO":[]}}"#;

#[tokio::test]
async fn acs3_sends_parameters_in_the_query_and_no_secrets() {
    let server =
        Server::start(vec![ScriptedResponse::json(r#"{"Code":200,"ConsumerProgress":{"TopicList":[]}}"#)])
            .await;
    let setup = setup(&server);
    let (instance, group) = (InstanceId::new("i 1").unwrap(), GroupId::new("组 a*b").unwrap());
    setup.client.group_progress(&instance, &group, MessageTimestamps::Requested, deadline()).await.unwrap();
    let request = server.requests().remove(0);
    assert_eq!(
        request.line,
        "POST /?ConsumerId=%E7%BB%84%20a%2Ab&HideLastTimestamp=false&InstanceId=i%201&RegionId=cn-hangzhou HTTP/1.1"
    );
    let header = |name| request.header(name).unwrap_or_default();
    assert_eq!(header("x-acs-action"), "GetConsumerProgress");
    assert_eq!(header("x-acs-version"), "2019-09-16");
    assert_eq!(header("x-acs-security-token"), TOKEN);
    assert_eq!(header("host"), server.url().strip_prefix("http://").unwrap());
    assert_eq!(header("accept"), "application/json");
    assert_eq!(header("user-agent"), concat!("alikafka-exporter/", env!("CARGO_PKG_VERSION")));
    assert_eq!(header("x-acs-signature-nonce").len(), 32);
    assert!(header("authorization").starts_with(&format!("ACS3-HMAC-SHA256 Credential={ID},SignedHeaders=")));
    assert!(header("authorization").contains("x-acs-security-token"));
    for absent in ["accept-encoding", "cookie", "referer", "x-acs-accesskey-id"] {
        assert_eq!(request.header(absent), None, "{absent}");
    }
    assert_eq!(request.body, "");
}

#[tokio::test]
async fn v1_sends_everything_in_the_body_of_a_post() {
    let server = Server::start(vec![ScriptedResponse::json(NO_INSTANCES)]).await;
    let setup = setup_with(settings(&server.url(), SignatureVersion::V1), inline());
    instances(&setup).await.unwrap();
    let request = server.requests().remove(0);
    assert_eq!(request.line, "POST / HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(request.header("authorization"), None);
    for part in [
        "Action=GetInstanceList",
        "Format=JSON",
        "RegionId=cn-hangzhou",
        "SecurityToken=CanaryToken%2F%2B%3D0003",
    ] {
        assert!(request.body.split('&').any(|pair| pair == part), "{part}: {}", request.body);
    }
    assert!(request.body.contains(&format!("AccessKeyId={ID}")) && request.body.contains("&Signature="));
}

#[tokio::test]
async fn each_attempt_has_its_own_signature_and_passing_faults_are_hidden() {
    let server = Server::start(vec![
        ScriptedResponse::status(503, "<html>busy</html>"),
        ScriptedResponse::Reset,
        ScriptedResponse::json(NO_INSTANCES),
    ])
    .await;
    let setup = setup(&server);
    assert_eq!(instances(&setup).await, Ok(0));
    assert_eq!(setup.recorder.results(), ["server", "connect", "ok"]);
    let retries: Vec<_> = setup.recorder.attempts.lock().unwrap().iter().map(|a| a.is_retry).collect();
    assert_eq!(retries, [false, true, true]);
    assert!(setup.recorder.attempts.lock().unwrap().iter().all(|a| a.action == Action::GetInstanceList));
    let nonces: std::collections::BTreeSet<_> = server
        .requests()
        .iter()
        .filter_map(|r| r.header("x-acs-signature-nonce").map(str::to_owned))
        .collect();
    assert_eq!(nonces.len(), server.requests().len());
}

#[tokio::test]
async fn a_persistent_fault_costs_three_attempts_and_a_tenth_in_the_long_run() {
    let server =
        Server::start(vec![ScriptedResponse::status(500, r#"{"Code":"InternalError","Message":"m"}"#)]).await;
    let setup = setup(&server);
    assert_eq!(instances(&setup).await.unwrap_err().kind, ErrorKind::Server);
    assert_eq!(server.requests().len(), 3);
    for _ in 0..39 {
        let soon = Instant::now() + Duration::from_millis(300);
        assert_eq!(setup.client.instances(soon).await.unwrap_err().kind, ErrorKind::Server);
    }
    let retries = server.requests().len() - 40;
    assert!(retries <= 9, "{retries} retries of 40 calls");
}

#[tokio::test]
async fn failures_that_no_retry_can_fix_are_not_retried() {
    for (status, body, kind) in [
        (403, r#"{"Code":"NoPermission","Message":"no","RequestId":"R-1"}"#, ErrorKind::Auth { key: false }),
        (400, r#"{"Code":"BIZ_TOPIC_NOT_FOUND"}"#, ErrorKind::Gone { instance: false }),
        (400, r#"{"Code":"BIZ_FIELD_CHECK_INVALID"}"#, ErrorKind::Business),
        (200, r#"{"Success":false,"Code":200}"#, ErrorKind::Business),
        (200, "<html></html>", ErrorKind::Decode),
    ] {
        let server = Server::start(vec![ScriptedResponse::status(status, body)]).await;
        let setup = setup(&server);
        assert_eq!(instances(&setup).await.unwrap_err().kind, kind, "{body}");
        assert_eq!(server.requests().len(), 1, "{body}");
        assert_eq!(setup.recorder.results(), [kind.label()]);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_only_its_host_is_reported() {
    let other = Server::start(vec![ScriptedResponse::json(NO_INSTANCES)]).await;
    for status in [301, 302, 307, 308] {
        let to = format!("{}/path?x=CanaryQuery", other.url());
        let server = Server::start(vec![ScriptedResponse::with_header(status, "Location", &to)]).await;
        let error = instances(&setup(&server)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Redirect);
        assert!(error.detail.ends_with("redirects to host 127.0.0.1"), "{error}");
    }
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn silent_and_slow_servers_end_at_the_request_timeout() {
    for response in [ScriptedResponse::Hang, ScriptedResponse::HangInBody, ScriptedResponse::Drip] {
        let server = Server::start(vec![response]).await;
        let setup = setup(&server);
        // There is no time for a second attempt.
        let error = setup.client.instances(Instant::now() + Duration::from_millis(401)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
        assert_eq!(setup.recorder.results()[0], "timeout");
    }
}

#[tokio::test]
async fn a_call_ends_by_its_deadline_and_sends_nothing_after_it() {
    let server = Server::start(vec![ScriptedResponse::Hang]).await;
    let mut slow = settings(&server.url(), SignatureVersion::Acs3);
    slow.budget = budget(0.1);
    slow.request_timeout = Duration::from_secs(60);
    let setup = setup_with(slow, inline());
    let began = Instant::now();
    let soon = began + Duration::from_millis(150);
    let (first, second) = tokio::join!(setup.client.instances(soon), setup.client.instances(soon));
    assert_eq!(first.unwrap_err().kind, ErrorKind::Timeout);
    let second = second.unwrap_err();
    assert_eq!(second.kind, ErrorKind::Timeout);
    assert!(second.detail.contains("budget"), "{second}");
    assert_eq!(setup.client.instances(began).await.unwrap_err().kind, ErrorKind::Timeout);
    assert_eq!(setup.recorder.results(), ["timeout"], "requests that are not sent are not attempts");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(server.requests().len() <= 1);
}

#[tokio::test]
async fn a_slot_just_before_the_deadline_is_not_used() {
    let server = Server::start(vec![ScriptedResponse::json(NO_INSTANCES)]).await;
    let mut slow = settings(&server.url(), SignatureVersion::Acs3);
    slow.budget = budget(0.7);
    slow.request_timeout = Duration::from_secs(10);
    let setup = setup_with(slow, inline());
    // The second slot comes after 1.5 s, when a fifteenth of the time remains.
    let soon = Instant::now() + Duration::from_millis(1_600);
    setup.client.instances(soon).await.unwrap();
    let error = setup.client.instances(soon).await.unwrap_err();
    assert!(error.kind == ErrorKind::Timeout && error.detail.contains("not sent"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_response_that_is_too_large_is_dropped() {
    for response in [ScriptedResponse::Declare(500 * 1024 * 1024), ScriptedResponse::Endless] {
        let server = Server::start(vec![response]).await;
        let mut patient = settings(&server.url(), SignatureVersion::Acs3);
        patient.request_timeout = Duration::from_secs(30);
        let setup = setup_with(patient, inline());
        let error = setup.client.instances(Instant::now() + Duration::from_secs(30)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge, "{error}");
        server.wait_until_closed().await;
        assert!(server.sent() < 64 * 1024 * 1024, "the client kept reading");
    }
}

#[tokio::test]
async fn connection_tls_and_dns_failures_are_distinguished() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let setup = setup_with(settings(&closed, SignatureVersion::Acs3), inline());
    let error = setup.client.instances(deadline()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Connect, "{error}");
    assert!(error.detail.contains("refused"), "{error}");

    // A server that does not speak TLS.
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let https = format!("https://{}", plain.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    });
    let setup = setup_with(settings(&https, SignatureVersion::Acs3), inline());
    let error = setup.client.instances(deadline()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Tls, "{error}");

    let setup = setup_with(settings("https://nowhere.invalid", SignatureVersion::Acs3), inline());
    let error = setup.client.instances(deadline()).await.unwrap_err();
    // Without a reachable name server the lookup times out; otherwise the name does not exist.
    assert!(matches!(error.kind, ErrorKind::Dns | ErrorKind::Timeout), "{error}");
    assert!(error.kind == ErrorKind::Timeout || error.detail.starts_with("nowhere.invalid: "), "{error}");
}

#[tokio::test]
async fn a_throttled_call_is_retried_after_the_requested_pause() {
    let throttled = ScriptedResponse::full(
        400,
        &[("x-acs-retry-after", "300")],
        r#"{"Code":"Throttling.User","Message":"Request was denied due to user flow control."}"#,
    );
    let server = Server::start(vec![throttled, ScriptedResponse::json(NO_INSTANCES)]).await;
    let setup = setup(&server);
    assert_eq!(instances(&setup).await, Ok(0));
    assert_eq!(setup.recorder.results(), ["throttled", "ok"]);
    let times = server.times();
    assert!(times[1] - times[0] >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_requested_pause_delays_later_calls_too() {
    let throttled =
        ScriptedResponse::full(400, &[("x-acs-retry-after", "2500")], r#"{"Code":"Throttling.User"}"#);
    let server = Server::start(vec![throttled, ScriptedResponse::json(NO_INSTANCES)]).await;
    let setup = setup(&server);
    let soon = Instant::now() + Duration::from_secs(2);
    assert_eq!(setup.client.instances(soon).await.unwrap_err().kind, ErrorKind::Throttled, "no time to wait");
    let error = setup.client.instances(soon).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled, "not sent, for the same reason: {error}");
    assert!(error.detail.contains("not sent"), "{error}");
    assert_eq!(setup.client.rate(Action::GetInstanceList), 700.0);
    assert_eq!(setup.client.rate(Action::GetTopicList), 1_000.0);
    assert_eq!(instances(&setup).await, Ok(0));
    let times = server.times();
    assert_eq!(times.len(), 2);
    assert!(times[1] - times[0] >= Duration::from_millis(2_490), "{:?}", times[1] - times[0]);
}

#[tokio::test]
async fn requests_that_are_not_sent_earn_no_retries() {
    let server = Server::start(vec![ScriptedResponse::status(503, "")]).await;
    let setup = setup(&server);
    let past = Instant::now();
    for _ in 0..200 {
        setup.client.instances(past).await.unwrap_err();
    }
    for _ in 0..4 {
        instances(&setup).await.unwrap_err();
    }
    assert_eq!(server.requests().len(), 4 + 5, "four calls, and the initial five retries");
}

#[tokio::test]
async fn clients_with_one_budget_share_its_slots_and_retries() {
    let server = Server::start(vec![ScriptedResponse::status(503, "")]).await;
    let shared = budget(10.0);
    let setups = [(), ()].map(|()| {
        let mut settings = settings(&server.url(), SignatureVersion::Acs3);
        settings.budget = Arc::clone(&shared);
        setup_with(settings, inline())
    });
    for _ in 0..3 {
        let (one, two) = tokio::join!(instances(&setups[0]), instances(&setups[1]));
        one.unwrap_err();
        two.unwrap_err();
    }
    let times = server.times();
    assert_eq!(times.len(), 6 + 5, "six calls, and the initial five retries of one budget");
    let spread = *times.last().unwrap() - times[0];
    assert!(spread >= Duration::from_millis(10 * 100 - 20), "{spread:?} for eleven calls at ten per second");
}

/// Client with a clock that the test sets.
struct ClockedClient {
    client: ApiClient,
    recorder: Arc<Recorder>,
}

/// Returns a client and its clock. A clock is a plain function, so each test needs its own static.
macro_rules! clocked_client {
    ($server:expr, $signature:expr, $millis:expr) => {{
        static MILLIS: AtomicU64 = AtomicU64::new(0);
        fn clock() -> UnixMillis {
            UnixMillis::new(i64::try_from(MILLIS.load(Ordering::SeqCst)).unwrap()).unwrap()
        }
        MILLIS.store($millis, Ordering::SeqCst);
        let recorder = Arc::new(Recorder::default());
        let observer = Arc::<Recorder>::clone(&recorder);
        let settings = settings(&$server.url(), $signature);
        let client = ApiClient::new(settings, inline(), observer, clock, os_entropy).unwrap();
        (ClockedClient { client, recorder }, &MILLIS)
    }};
}
use clocked_client;

/// 2023-11-14T22:13:20Z.
const NOVEMBER: u64 = 1_700_000_000_000;

fn rejected_time(date: &str) -> ScriptedResponse {
    ScriptedResponse::full(
        400,
        &[("Date", date)],
        r#"{"Code":"InvalidTimeStamp.Expired","Message":"Specified time stamp is expired."}"#,
    )
}

fn signed_times(server: &Server) -> Vec<String> {
    server.requests().iter().map(|r| r.header("x-acs-date").unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_the_date_of_the_rejection() {
    for (date, corrected, skew) in [
        ("Tue, 14 Nov 2023 22:33:20 GMT", "2023-11-14T22:33:20Z", 1_200_500),
        ("Tue, 14 Nov 2023 21:53:20 GMT", "2023-11-14T21:53:20Z", -1_199_500),
        ("Wed, 15 Nov 2023 22:13:00 GMT", "2023-11-15T22:13:00Z", 86_380_500),
    ] {
        let server = Server::start(vec![rejected_time(date), ScriptedResponse::json(NO_INSTANCES)]).await;
        let (ClockedClient { client, recorder }, _) =
            clocked_client!(server, SignatureVersion::Acs3, NOVEMBER);
        let began = Instant::now();
        client.instances(deadline()).await.unwrap();
        client.instances(deadline()).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "the retry has no pause");
        assert_eq!(signed_times(&server), ["2023-11-14T22:13:20Z", corrected, corrected]);
        assert_eq!(recorder.results(), ["clock", "ok", "ok"]);
        let reported = recorder.attempts.lock().unwrap()[0].clock_skew_millis.unwrap();
        // The clock of the test is stopped, so the error is half of the attempt.
        assert!((0..1_000).contains(&(reported - skew)), "{reported} instead of {skew}");
    }
}

#[tokio::test]
async fn a_clock_that_is_corrected_later_is_used_again() {
    let server = Server::start(vec![
        rejected_time("Tue, 14 Nov 2023 22:33:20 GMT"),
        ScriptedResponse::json(NO_INSTANCES),
        rejected_time("Tue, 14 Nov 2023 22:33:21 GMT"),
        ScriptedResponse::json(NO_INSTANCES),
    ])
    .await;
    let (ClockedClient { client, recorder }, clock) =
        clocked_client!(server, SignatureVersion::Acs3, NOVEMBER);
    client.instances(deadline()).await.unwrap();
    clock.store(NOVEMBER + 1_201_000, Ordering::SeqCst);
    client.instances(deadline()).await.unwrap();
    assert_eq!(recorder.results(), ["clock", "ok", "clock", "ok"]);
    assert_eq!(
        signed_times(&server)[1..],
        ["2023-11-14T22:33:20Z", "2023-11-14T22:53:21Z", "2023-11-14T22:33:21Z"]
    );
}

#[tokio::test]
async fn a_persistent_clock_rejection_reports_the_difference_in_seconds() {
    let far = rejected_time("Wed, 15 Nov 2023 22:14:20 GMT");
    let undated = ScriptedResponse::status(400, r#"{"Code":"InvalidTimeStamp.Expired"}"#);
    let never = rejected_time("Tue, 14 Nov 2023 22:03:20 GMT");
    for (response, calls, detail) in [
        (far, 1, "86461 seconds ahead of the clock of this host, too much to correct"),
        (undated, 1, "without a message"),
        (never, 2, "; the clock of the cloud is 600 seconds behind the clock of this host"),
    ] {
        let server = Server::start(vec![response]).await;
        let (ClockedClient { client, .. }, _) = clocked_client!(server, SignatureVersion::Acs3, NOVEMBER);
        let error = client.instances(deadline()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Clock, "{error}");
        assert!(error.detail.contains(detail), "{error}");
        assert_eq!(server.requests().len(), calls, "{detail}");
    }
}

#[tokio::test]
async fn a_used_nonce_costs_one_more_attempt_with_a_new_one() {
    let used = ScriptedResponse::full(
        400,
        &[("Date", "Tue, 14 Nov 2023 23:59:59 GMT")],
        r#"{"Code":"SignatureNonceUsed","Message":"used"}"#,
    );
    for (script, results) in [
        (vec![used.clone(), ScriptedResponse::json(NO_INSTANCES)], ["clock", "ok"]),
        (vec![used], ["clock"; 2]),
    ] {
        let server = Server::start(script).await;
        let (ClockedClient { client, recorder }, _) =
            clocked_client!(server, SignatureVersion::Acs3, NOVEMBER);
        let _ = client.instances(deadline()).await;
        assert_eq!(recorder.results(), results);
        let requests = server.requests();
        let nonces: Vec<_> = requests.iter().map(|r| r.header("x-acs-signature-nonce").unwrap()).collect();
        assert_ne!(nonces[0], nonces[1]);
        assert_eq!(signed_times(&server), ["2023-11-14T22:13:20Z"; 2], "the clock is not corrected");
    }
}

#[test]
fn a_million_nonces_differ() {
    let nonces: std::collections::HashSet<u128> = (0..1_000_000).map(|_| os_entropy().unwrap()).collect();
    assert_eq!(nonces.len(), 1_000_000);
}

/// Provides a new key after each forced refresh.
#[derive(Default)]
struct RefreshableKey(AtomicU64);

impl ProvideCredentials for RefreshableKey {
    fn credentials(&self, force: bool) -> BoxFuture<'_, Result<Arc<Credentials>, CredentialsError>> {
        Box::pin(async move {
            if force {
                // The latency of a service.
                tokio::time::sleep(Duration::from_millis(30)).await;
                self.0.fetch_add(1, Ordering::SeqCst);
            }
            let generation = self.0.load(Ordering::SeqCst);
            Credentials::new(&format!("generation{generation}"), SECRET, Some(TOKEN)).map(Arc::new)
        })
    }
}

#[tokio::test]
async fn an_expired_token_is_refreshed_once_and_the_call_retried() {
    let expired =
        || ScriptedResponse::status(400, r#"{"Code":"InvalidSecurityToken.Expired","Message":"expired"}"#);
    let server = Server::start(vec![expired(), ScriptedResponse::json(NO_INSTANCES)]).await;
    let setup =
        setup_with(settings(&server.url(), SignatureVersion::Acs3), Arc::new(RefreshableKey::default()));
    assert_eq!(instances(&setup).await, Ok(0));
    let credential = |n: usize| server.requests()[n].header("authorization").unwrap().to_owned();
    assert!(
        credential(0).contains("Credential=generation0,")
            && credential(1).contains("Credential=generation1,")
    );

    let server = Server::start(vec![expired()]).await;
    let refreshable =
        setup_with(settings(&server.url(), SignatureVersion::Acs3), Arc::new(RefreshableKey::default()));
    assert_eq!(instances(&refreshable).await.unwrap_err().kind, ErrorKind::Auth { key: true });
    assert_eq!(server.requests().len(), 2, "one refresh, one more attempt");

    let server = Server::start(vec![expired()]).await;
    let permanent = self::setup(&server);
    assert_eq!(instances(&permanent).await.unwrap_err().kind, ErrorKind::Auth { key: true });
    assert_eq!(server.requests().len(), 1, "the same key would be rejected again");
}

#[tokio::test]
async fn calls_that_are_rejected_together_refresh_the_credentials_once() {
    let rejection = r#"{"Code":"InvalidSecurityToken.Expired","Message":"expired"}"#;
    let server = Server::start(vec![ScriptedResponse::RejectKey {
        id: "generation0",
        rejection,
        success: NO_INSTANCES,
    }])
    .await;
    let source = Arc::new(RefreshableKey::default());
    let setup = setup_with(
        settings(&server.url(), SignatureVersion::Acs3),
        Arc::<RefreshableKey>::clone(&source) as Arc<dyn ProvideCredentials>,
    );
    let calls = || instances(&setup);
    let (a, b, c, d, e) = tokio::join!(calls(), calls(), calls(), calls(), calls());
    assert_eq!([a, b, c, d, e], [const { Ok(0) }; 5]);
    assert_eq!(source.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn without_credentials_no_request_is_sent_and_the_error_names_the_variables() {
    let server = Server::start(vec![ScriptedResponse::json(NO_INSTANCES)]).await;
    let nothing = credentials::Sources::default().provider(SourceSelection::Environment);
    let setup = setup_with(settings(&server.url(), SignatureVersion::Acs3), nothing);
    let error = instances(&setup).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Auth { key: true });
    assert!(error.detail.contains("ALIBABA_CLOUD_ACCESS_KEY_ID"), "{error}");
    assert!(error.advice().contains("set up a source of credentials"));
    assert_eq!((server.requests().len(), setup.recorder.results().len()), (0, 0));
}

#[tokio::test]
async fn a_call_that_waits_for_its_slot_is_signed_with_the_current_key() {
    let server = Server::start(vec![ScriptedResponse::json(NO_INSTANCES)]).await;
    let source = Arc::new(RefreshableKey::default());
    let mut settings = settings(&server.url(), SignatureVersion::Acs3);
    settings.budget = budget(2.0);
    let setup = setup_with(settings, Arc::<RefreshableKey>::clone(&source));
    instances(&setup).await.unwrap();
    // The next slot is half a second away.
    let replace = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        source.0.fetch_add(1, Ordering::SeqCst);
    };
    let (result, ()) = tokio::join!(instances(&setup), replace);
    result.unwrap();
    let signed: Vec<String> =
        server.requests().iter().map(|r| r.header("authorization").unwrap().to_owned()).collect();
    assert!(signed[0].contains("Credential=generation0,"), "{signed:?}");
    assert!(signed[1].contains("Credential=generation1,"), "{signed:?}");
}

/// Provider that hangs.
struct HangingProvider;

impl ProvideCredentials for HangingProvider {
    fn credentials(&self, _: bool) -> BoxFuture<'_, Result<Arc<Credentials>, CredentialsError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn hanging_credentials_are_reported_before_the_deadline() {
    let server = Server::start(vec![ScriptedResponse::json(NO_INSTANCES)]).await;
    let setup = setup_with(settings(&server.url(), SignatureVersion::Acs3), Arc::new(HangingProvider));
    let far = Instant::now() + Duration::from_secs(300);
    let error = tokio::time::timeout(Duration::from_secs(20), setup.client.instances(far)).await.unwrap();
    let error = error.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Auth { key: true });
    assert!(error.detail.contains("the source of the credentials does not respond"), "{error}");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn lists_are_paginated_and_a_failed_page_fails_the_list() {
    let list_page = |number: usize, topics: usize, total: usize| {
        let topics: Vec<_> =
            (0..topics).map(|n| format!(r#"{{"Topic":"t{number}-{n}","PartitionNum":1}}"#)).collect();
        ScriptedResponse::json(&format!(
            r#"{{"Code":200,"CurrentPage":{number},"PageSize":100,"Total":{total},"TopicList":{{"TopicVO":[{}]}}}}"#,
            topics.join(",")
        ))
    };
    let instance = InstanceId::new("i").unwrap();
    let server = Server::start(vec![list_page(1, 100, 130), list_page(2, 30, 130)]).await;
    let listing = setup(&server).client.topics(&instance, deadline()).await.unwrap();
    assert_eq!((listing.value.items.len(), listing.value.complete), (130, true));
    assert_eq!(listing.anomalies, []);
    let lines: Vec<_> = server.requests().iter().map(|r| r.line.clone()).collect();
    assert!(lines[0].contains("CurrentPage=1&InstanceId=i&PageSize=100&"), "{}", lines[0]);
    assert!(lines[1].contains("CurrentPage=2&"), "{}", lines[1]);

    let server =
        Server::start(vec![list_page(1, 100, 130), ScriptedResponse::status(400, r#"{"Code":"Other"}"#)])
            .await;
    let error = setup(&server).client.topics(&instance, deadline()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Business);
}

#[tokio::test]
async fn a_response_about_another_object_is_discarded_and_observed() {
    let server = Server::start(vec![ScriptedResponse::json(
        r#"{"Code":200,"TopicStatus":{"OffsetTable":[{"Topic":"theirs","Partition":0,"MaxOffset":5}]}}"#,
    )])
    .await;
    let setup = setup(&server);
    let (instance, topic) = (InstanceId::new("i").unwrap(), TopicName::new("ours").unwrap());
    let error = setup.client.topic_status(&instance, &topic, deadline()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Decode);
    assert_eq!(setup.recorder.results(), ["decode"]);
    assert_eq!(*setup.recorder.discarded.lock().unwrap(), [AnomalyKind::Contradiction]);
}

#[tokio::test]
async fn no_error_exposes_key_token_or_signature() {
    let responses = vec![
        ScriptedResponse::EchoAsMessage(400, "SignatureDoesNotMatch"),
        ScriptedResponse::EchoAsMessage(403, "NoPermission"),
        ScriptedResponse::EchoAsMessage(400, "Other"),
        ScriptedResponse::EchoAsCode,
        ScriptedResponse::EchoAsLocation,
        ScriptedResponse::Hang,
        ScriptedResponse::HangInBody,
        ScriptedResponse::Reset,
        ScriptedResponse::Declare(500 * 1024 * 1024),
        ScriptedResponse::status(200, "<html></html>"),
    ];
    for signature in [SignatureVersion::V1, SignatureVersion::Acs3] {
        for response in &responses {
            let server = Server::start(vec![response.clone()]).await;
            let setup = setup_with(settings(&server.url(), signature), inline());
            let error =
                setup.client.instances(Instant::now() + Duration::from_millis(450)).await.unwrap_err();
            let text = format!("{error} {error:?} {}", error.advice());
            let request = server.requests().first().cloned();
            for secret in
                [ID, SECRET, TOKEN, "Canary", "canary", "Credential=", "Signature=", "StringToSign:"]
            {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
            if let Some(signature) = request.as_ref().and_then(server::Request::signature) {
                assert!(!text.contains(&signature), "the signature in {text}");
            }
            assert!(!text.contains('\n') && !text.contains('\u{1b}'), "{text}");
        }
    }
    let unknown = setup_with(settings("https://nowhere.invalid", SignatureVersion::Acs3), inline());
    let text = format!("{:?}", unknown.client.instances(Instant::now() + Duration::from_millis(300)).await);
    assert!(!text.contains("Canary") && !text.contains('?'), "{text}");
}

#[tokio::test]
async fn calls_share_a_connection_and_replace_a_stale_one() {
    let server = Server::start(vec![ScriptedResponse::json(NO_INSTANCES)]).await;
    let persistent = setup(&server);
    for _ in 0..10 {
        assert_eq!(instances(&persistent).await, Ok(0));
    }
    assert_eq!(server.connections(), 1);

    let server = Server::start(vec![ScriptedResponse::ThenClose(NO_INSTANCES)]).await;
    let stale = setup(&server);
    for _ in 0..10 {
        assert_eq!(instances(&stale).await, Ok(0));
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(stale.recorder.results(), ["ok"; 10]);
}

#[tokio::test]
async fn the_rate_limit_includes_retries() {
    let server =
        Server::start(vec![ScriptedResponse::status(503, ""), ScriptedResponse::json(NO_INSTANCES)]).await;
    let mut slow = settings(&server.url(), SignatureVersion::Acs3);
    slow.budget = budget(10.0);
    let setup = setup_with(slow, inline());
    let calls = async { tokio::join!(instances(&setup), instances(&setup), instances(&setup)) };
    let (first, second, third) = calls.await;
    assert_eq!((first, second, third), (Ok(0), Ok(0), Ok(0)));
    let times = server.times();
    assert_eq!(times.len(), 4);
    assert!(times[3] - times[0] >= Duration::from_millis(280), "{:?}", times[3] - times[0]);
}

#[test]
fn invalid_settings_are_rejected_with_the_name_of_their_key() {
    let error = |change: fn(&mut ClientSettings)| {
        let mut settings = settings("https://alikafka.cn-hangzhou.aliyuncs.com", SignatureVersion::Acs3);
        change(&mut settings);
        let recorder = Arc::new(Recorder::default());
        ApiClient::new(settings, inline(), recorder, unix_now, os_entropy)
            .err()
            .map(|error| error.to_string())
    };
    let text = error(|s| s.proxy = ProxySetting::Url("http://user:Canary@ bad".into())).unwrap();
    assert_eq!(text, "proxy: it is not a URL of a proxy");
    let text = error(|s| s.endpoint = "http://example.com".to_owned()).unwrap();
    assert_eq!(text, "endpoint: plain http is for loopback only, use https");
}
