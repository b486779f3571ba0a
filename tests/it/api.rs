//! A user may rely on this: whatever the endpoint does, a call ends in time with a value or a fixed kind of
//! error, is sent no more often than allowed, and puts nothing secret where it could be read.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may fail loudly, as tests do")]

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
        credentials::{BoxFuture, SourceSelection},
        os_entropy,
    },
    clock::unix_now,
    model::{
        Anomaly, AnomalyKind, GroupId, InstanceId, MessageTimestamps, ProxySetting, RegionId,
        SignatureVersion, TopicName, UnixMillis,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};

mod credentials;
mod origin;
mod server;

use server::{Answer, Server};

const ID: &str = "LTAI5tCanaryKeyId0001";
const SECRET: &str = "CanarySecretCanarySecret0002";
const TOKEN: &str = "CanaryToken/+=0003";

/// What is remembered of an attempt.
struct Ended {
    action: Action,
    result: Result<(), ErrorKind>,
    is_retry: bool,
    clock_skew_millis: Option<i64>,
}

/// Remembers every attempt.
#[derive(Default)]
struct Recorder {
    attempts: Mutex<Vec<Ended>>,
    discarded: Mutex<Vec<AnomalyKind>>,
}

impl ApiObserver for Recorder {
    fn attempt(&self, attempt: &Attempt<'_>) {
        assert_eq!(attempt.region.as_str(), "cn-hangzhou");
        self.attempts.lock().unwrap().push(Ended {
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
        let label = |ended: &Ended| ended.result.map_or_else(ErrorKind::label, |()| "ok");
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

/// Soon enough for tests; retries make their pauses fit.
fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(2)
}

async fn instances(setup: &Setup) -> Result<usize, ApiError> {
    setup.client.instances(deadline()).await.map(|observed| observed.value.items.len())
}

const NO_INSTANCES: &str = r#"{"Code":200,"Success":true,"RequestId":"R","InstanceList":{"InstanceVO":[]}}"#;

#[tokio::test]
async fn acs3_sends_parameters_in_the_query_and_nothing_secret_there() {
    let server =
        Server::start(vec![Answer::json(r#"{"Code":200,"ConsumerProgress":{"TopicList":[]}}"#)]).await;
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
async fn v1_sends_everything_in_the_body_of_a_post_to_the_root() {
    let server = Server::start(vec![Answer::json(NO_INSTANCES)]).await;
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
async fn each_attempt_is_signed_anew_and_a_passing_fault_is_not_seen() {
    let server = Server::start(vec![
        Answer::status(503, "<html>busy</html>"),
        Answer::Reset,
        Answer::json(NO_INSTANCES),
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
async fn a_lasting_fault_costs_three_attempts_and_a_tenth_in_the_long_run() {
    let server = Server::start(vec![Answer::status(500, r#"{"Code":"InternalError","Message":"m"}"#)]).await;
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
async fn what_no_retry_can_mend_is_asked_once() {
    for (status, body, kind) in [
        (403, r#"{"Code":"NoPermission","Message":"no","RequestId":"R-1"}"#, ErrorKind::Auth { key: false }),
        (400, r#"{"Code":"BIZ_TOPIC_NOT_FOUND"}"#, ErrorKind::Gone { instance: false }),
        (400, r#"{"Code":"BIZ_FIELD_CHECK_INVALID"}"#, ErrorKind::Business),
        (200, r#"{"Success":false,"Code":200}"#, ErrorKind::Business),
        (200, "<html></html>", ErrorKind::Decode),
    ] {
        let server = Server::start(vec![Answer::status(status, body)]).await;
        let setup = setup(&server);
        assert_eq!(instances(&setup).await.unwrap_err().kind, kind, "{body}");
        assert_eq!(server.requests().len(), 1, "{body}");
        assert_eq!(setup.recorder.results(), [kind.label()]);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_names_the_host_alone() {
    let other = Server::start(vec![Answer::json(NO_INSTANCES)]).await;
    for status in [301, 302, 307, 308] {
        let to = format!("{}/path?x=CanaryQuery", other.url());
        let server = Server::start(vec![Answer::with_header(status, "Location", &to)]).await;
        let error = instances(&setup(&server)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Redirect);
        assert!(error.detail.ends_with("redirects to host 127.0.0.1"), "{error}");
    }
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn silence_and_dripping_end_at_the_request_timeout() {
    for answer in [Answer::Hang, Answer::HangInBody, Answer::Drip] {
        let server = Server::start(vec![answer]).await;
        let setup = setup(&server);
        // Too little time for a second attempt.
        let error = setup.client.instances(Instant::now() + Duration::from_millis(401)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
        assert_eq!(setup.recorder.results()[0], "timeout");
    }
}

#[tokio::test]
async fn a_call_ends_by_its_deadline_and_sends_nothing_after_it() {
    let server = Server::start(vec![Answer::Hang]).await;
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
    assert_eq!(setup.recorder.results(), ["timeout"], "calls that were not sent are no attempts");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(server.requests().len() <= 1);
}

#[tokio::test]
async fn a_slot_of_the_last_moment_is_not_used() {
    let server = Server::start(vec![Answer::json(NO_INSTANCES)]).await;
    let mut slow = settings(&server.url(), SignatureVersion::Acs3);
    slow.budget = budget(0.7);
    slow.request_timeout = Duration::from_secs(10);
    let setup = setup_with(slow, inline());
    // The second slot comes after a second and a half, when a fifteenth of the time is left.
    let soon = Instant::now() + Duration::from_millis(1_600);
    setup.client.instances(soon).await.unwrap();
    let error = setup.client.instances(soon).await.unwrap_err();
    assert!(error.kind == ErrorKind::Timeout && error.detail.contains("not sent"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_too_large_is_dropped_whether_declared_or_not() {
    for answer in [Answer::Declare(500 * 1024 * 1024), Answer::Endless] {
        let server = Server::start(vec![answer]).await;
        let mut patient = settings(&server.url(), SignatureVersion::Acs3);
        patient.request_timeout = Duration::from_secs(30);
        let setup = setup_with(patient, inline());
        let error = setup.client.instances(Instant::now() + Duration::from_secs(30)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge, "{error}");
        server.until_closed().await;
        assert!(server.sent() < 64 * 1024 * 1024, "the connection was read on");
    }
}

#[tokio::test]
async fn a_refused_connection_failed_tls_and_an_unknown_host_are_told_apart() {
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
    // A resolver that cannot be reached is silent; one that can be says that there is no such name.
    assert!(matches!(error.kind, ErrorKind::Dns | ErrorKind::Timeout), "{error}");
    assert!(error.kind == ErrorKind::Timeout || error.detail.starts_with("nowhere.invalid: "), "{error}");
}

#[tokio::test]
async fn a_throttle_is_waited_out_as_long_as_the_cloud_wishes() {
    let throttled = Answer::full(
        400,
        &[("x-acs-retry-after", "300")],
        r#"{"Code":"Throttling.User","Message":"Request was denied due to user flow control."}"#,
    );
    let server = Server::start(vec![throttled, Answer::json(NO_INSTANCES)]).await;
    let setup = setup(&server);
    assert_eq!(instances(&setup).await, Ok(0));
    assert_eq!(setup.recorder.results(), ["throttled", "ok"]);
    let times = server.times();
    assert!(times[1] - times[0] >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_wish_to_wait_holds_the_calls_that_come_after_too() {
    let throttled = Answer::full(400, &[("x-acs-retry-after", "2500")], r#"{"Code":"Throttling.User"}"#);
    let server = Server::start(vec![throttled, Answer::json(NO_INSTANCES)]).await;
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
async fn calls_that_are_not_sent_earn_no_retries() {
    let server = Server::start(vec![Answer::status(503, "")]).await;
    let setup = setup(&server);
    let past = Instant::now();
    for _ in 0..200 {
        setup.client.instances(past).await.unwrap_err();
    }
    for _ in 0..4 {
        instances(&setup).await.unwrap_err();
    }
    assert_eq!(server.requests().len(), 4 + 5, "four calls, and the five retries of the reserve");
}

#[tokio::test]
async fn clients_that_share_a_budget_share_its_slots_and_its_retries() {
    let server = Server::start(vec![Answer::status(503, "")]).await;
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
    assert_eq!(times.len(), 6 + 5, "six calls, and the five retries of one reserve");
    let spread = *times.last().unwrap() - times[0];
    assert!(spread >= Duration::from_millis(10 * 100 - 20), "{spread:?} for eleven calls at ten a second");
}

/// A client whose clock shows what the test sets.
struct Clocked {
    client: ApiClient,
    recorder: Arc<Recorder>,
}

/// What the clock of a test shows. A clock is a plain function, so each test has a place of its own.
macro_rules! clocked {
    ($server:expr, $signature:expr, $millis:expr) => {{
        static MILLIS: AtomicU64 = AtomicU64::new(0);
        fn shown() -> UnixMillis {
            UnixMillis::new(i64::try_from(MILLIS.load(Ordering::SeqCst)).unwrap()).unwrap()
        }
        MILLIS.store($millis, Ordering::SeqCst);
        let recorder = Arc::new(Recorder::default());
        let observer = Arc::<Recorder>::clone(&recorder);
        let settings = settings(&$server.url(), $signature);
        let client = ApiClient::new(settings, inline(), observer, shown, os_entropy).unwrap();
        (Clocked { client, recorder }, &MILLIS)
    }};
}
use clocked;

/// 2023-11-14T22:13:20Z.
const NOVEMBER: u64 = 1_700_000_000_000;

fn refused_time(date: &str) -> Answer {
    Answer::full(
        400,
        &[("Date", date)],
        r#"{"Code":"InvalidTimeStamp.Expired","Message":"Specified time stamp is expired."}"#,
    )
}

fn signed_times(server: &Server) -> Vec<String> {
    server.requests().iter().map(|r| r.header("x-acs-date").unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_clock_that_is_off_is_corrected_by_the_date_of_the_refusal() {
    for (date, corrected, skew) in [
        ("Tue, 14 Nov 2023 22:33:20 GMT", "2023-11-14T22:33:20Z", 1_200_500),
        ("Tue, 14 Nov 2023 21:53:20 GMT", "2023-11-14T21:53:20Z", -1_199_500),
        ("Wed, 15 Nov 2023 22:13:00 GMT", "2023-11-15T22:13:00Z", 86_380_500),
    ] {
        let server = Server::start(vec![refused_time(date), Answer::json(NO_INSTANCES)]).await;
        let (Clocked { client, recorder }, _) = clocked!(server, SignatureVersion::Acs3, NOVEMBER);
        let began = Instant::now();
        client.instances(deadline()).await.unwrap();
        client.instances(deadline()).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "it is signed anew at once");
        assert_eq!(signed_times(&server), ["2023-11-14T22:13:20Z", corrected, corrected]);
        assert_eq!(recorder.results(), ["clock", "ok", "ok"]);
        let told = recorder.attempts.lock().unwrap()[0].clock_skew_millis.unwrap();
        // The clock stands still, so half of the attempt is all that is lost.
        assert!((0..1_000).contains(&(told - skew)), "{told} in place of {skew}");
    }
}

#[tokio::test]
async fn a_clock_that_is_put_right_is_believed_again() {
    let server = Server::start(vec![
        refused_time("Tue, 14 Nov 2023 22:33:20 GMT"),
        Answer::json(NO_INSTANCES),
        refused_time("Tue, 14 Nov 2023 22:33:21 GMT"),
        Answer::json(NO_INSTANCES),
    ])
    .await;
    let (Clocked { client, recorder }, clock) = clocked!(server, SignatureVersion::Acs3, NOVEMBER);
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
async fn a_time_that_is_refused_for_good_is_told_in_seconds() {
    let far = refused_time("Wed, 15 Nov 2023 22:14:20 GMT");
    let undated = Answer::status(400, r#"{"Code":"InvalidTimeStamp.Expired"}"#);
    let never = refused_time("Tue, 14 Nov 2023 22:03:20 GMT");
    for (answer, calls, said) in [
        (far, 1, "86461 seconds ahead of the clock of this host, too much to correct"),
        (undated, 1, "without a message"),
        (never, 2, "; the clock of the cloud is 600 seconds behind the clock of this host"),
    ] {
        let server = Server::start(vec![answer]).await;
        let (Clocked { client, .. }, _) = clocked!(server, SignatureVersion::Acs3, NOVEMBER);
        let error = client.instances(deadline()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Clock, "{error}");
        assert!(error.detail.contains(said), "{error}");
        assert_eq!(server.requests().len(), calls, "{said}");
    }
}

#[tokio::test]
async fn a_nonce_that_was_seen_costs_one_more_attempt_with_another() {
    let used = Answer::full(
        400,
        &[("Date", "Tue, 14 Nov 2023 23:59:59 GMT")],
        r#"{"Code":"SignatureNonceUsed","Message":"used"}"#,
    );
    for (script, results) in
        [(vec![used.clone(), Answer::json(NO_INSTANCES)], ["clock", "ok"]), (vec![used], ["clock"; 2])]
    {
        let server = Server::start(script).await;
        let (Clocked { client, recorder }, _) = clocked!(server, SignatureVersion::Acs3, NOVEMBER);
        let _ = client.instances(deadline()).await;
        assert_eq!(recorder.results(), results);
        let requests = server.requests();
        let nonces: Vec<_> = requests.iter().map(|r| r.header("x-acs-signature-nonce").unwrap()).collect();
        assert_ne!(nonces[0], nonces[1]);
        assert_eq!(signed_times(&server), ["2023-11-14T22:13:20Z"; 2], "it says nothing of the time");
    }
}

#[test]
fn a_million_nonces_differ() {
    let nonces: std::collections::HashSet<u128> = (0..1_000_000).map(|_| os_entropy().unwrap()).collect();
    assert_eq!(nonces.len(), 1_000_000);
}

/// Hands out a new key at each forced refresh.
#[derive(Default)]
struct Renewing(AtomicU64);

impl ProvideCredentials for Renewing {
    fn credentials(&self, force: bool) -> BoxFuture<'_, Result<Arc<Credentials>, CredentialsError>> {
        Box::pin(async move {
            if force {
                // A service takes its time.
                tokio::time::sleep(Duration::from_millis(30)).await;
                self.0.fetch_add(1, Ordering::SeqCst);
            }
            let generation = self.0.load(Ordering::SeqCst);
            Credentials::new(&format!("generation{generation}"), SECRET, Some(TOKEN)).map(Arc::new)
        })
    }
}

#[tokio::test]
async fn an_expired_token_is_renewed_once_and_the_call_made_again() {
    let expired = || Answer::status(400, r#"{"Code":"InvalidSecurityToken.Expired","Message":"expired"}"#);
    let server = Server::start(vec![expired(), Answer::json(NO_INSTANCES)]).await;
    let setup = setup_with(settings(&server.url(), SignatureVersion::Acs3), Arc::new(Renewing::default()));
    assert_eq!(instances(&setup).await, Ok(0));
    let credential = |n: usize| server.requests()[n].header("authorization").unwrap().to_owned();
    assert!(
        credential(0).contains("Credential=generation0,")
            && credential(1).contains("Credential=generation1,")
    );

    let server = Server::start(vec![expired()]).await;
    let renewing = setup_with(settings(&server.url(), SignatureVersion::Acs3), Arc::new(Renewing::default()));
    assert_eq!(instances(&renewing).await.unwrap_err().kind, ErrorKind::Auth { key: true });
    assert_eq!(server.requests().len(), 2, "one renewal, one more attempt");

    let server = Server::start(vec![expired()]).await;
    let lasting = self::setup(&server);
    assert_eq!(instances(&lasting).await.unwrap_err().kind, ErrorKind::Auth { key: true });
    assert_eq!(server.requests().len(), 1, "the same key would be refused again");
}

#[tokio::test]
async fn calls_that_are_refused_together_renew_the_credentials_once() {
    let refusal = r#"{"Code":"InvalidSecurityToken.Expired","Message":"expired"}"#;
    let server =
        Server::start(vec![Answer::RefuseKey { id: "generation0", refusal, good: NO_INSTANCES }]).await;
    let source = Arc::new(Renewing::default());
    let setup = setup_with(
        settings(&server.url(), SignatureVersion::Acs3),
        Arc::<Renewing>::clone(&source) as Arc<dyn ProvideCredentials>,
    );
    let calls = || instances(&setup);
    let (a, b, c, d, e) = tokio::join!(calls(), calls(), calls(), calls(), calls());
    assert_eq!([a, b, c, d, e], [const { Ok(0) }; 5]);
    assert_eq!(source.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn without_credentials_nothing_is_sent_and_the_variables_are_named() {
    let server = Server::start(vec![Answer::json(NO_INSTANCES)]).await;
    let nothing = credentials::Sources::default().provider(SourceSelection::Environment);
    let setup = setup_with(settings(&server.url(), SignatureVersion::Acs3), nothing);
    let error = instances(&setup).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Auth { key: true });
    assert!(error.detail.contains("ALIBABA_CLOUD_ACCESS_KEY_ID"), "{error}");
    assert!(error.advice().contains("set up a source of credentials"));
    assert_eq!((server.requests().len(), setup.recorder.results().len()), (0, 0));
}

#[tokio::test]
async fn a_key_that_is_replaced_while_a_call_waits_for_its_slot_does_not_sign_it() {
    let server = Server::start(vec![Answer::json(NO_INSTANCES)]).await;
    let source = Arc::new(Renewing::default());
    let mut settings = settings(&server.url(), SignatureVersion::Acs3);
    settings.budget = budget(2.0);
    let setup = setup_with(settings, Arc::<Renewing>::clone(&source));
    instances(&setup).await.unwrap();
    // The next slot is half a second away.
    let replace = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        source.0.fetch_add(1, Ordering::SeqCst);
    };
    let (answer, ()) = tokio::join!(instances(&setup), replace);
    answer.unwrap();
    let signed: Vec<String> =
        server.requests().iter().map(|r| r.header("authorization").unwrap().to_owned()).collect();
    assert!(signed[0].contains("Credential=generation0,"), "{signed:?}");
    assert!(signed[1].contains("Credential=generation1,"), "{signed:?}");
}

/// A source that never answers, as a file system that hangs.
struct Silent;

impl ProvideCredentials for Silent {
    fn credentials(&self, _: bool) -> BoxFuture<'_, Result<Arc<Credentials>, CredentialsError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn credentials_that_do_not_come_are_told_of_long_before_the_deadline() {
    let server = Server::start(vec![Answer::json(NO_INSTANCES)]).await;
    let setup = setup_with(settings(&server.url(), SignatureVersion::Acs3), Arc::new(Silent));
    let far = Instant::now() + Duration::from_secs(300);
    let error = tokio::time::timeout(Duration::from_secs(20), setup.client.instances(far)).await.unwrap();
    let error = error.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Auth { key: true });
    assert!(error.detail.contains("the source of the credentials does not respond"), "{error}");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn pages_are_walked_and_a_failed_one_fails_the_list() {
    let page = |number: usize, topics: usize, total: usize| {
        let topics: Vec<_> =
            (0..topics).map(|n| format!(r#"{{"Topic":"t{number}-{n}","PartitionNum":1}}"#)).collect();
        Answer::json(&format!(
            r#"{{"Code":200,"CurrentPage":{number},"PageSize":100,"Total":{total},"TopicList":{{"TopicVO":[{}]}}}}"#,
            topics.join(",")
        ))
    };
    let instance = InstanceId::new("i").unwrap();
    let server = Server::start(vec![page(1, 100, 130), page(2, 30, 130)]).await;
    let listing = setup(&server).client.topics(&instance, deadline()).await.unwrap();
    assert_eq!((listing.value.items.len(), listing.value.complete), (130, true));
    assert_eq!(listing.anomalies, []);
    let lines: Vec<_> = server.requests().iter().map(|r| r.line.clone()).collect();
    assert!(lines[0].contains("CurrentPage=1&InstanceId=i&PageSize=100&"), "{}", lines[0]);
    assert!(lines[1].contains("CurrentPage=2&"), "{}", lines[1]);

    let server = Server::start(vec![page(1, 100, 130), Answer::status(400, r#"{"Code":"Other"}"#)]).await;
    let error = setup(&server).client.topics(&instance, deadline()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Business);
}

#[tokio::test]
async fn an_answer_about_something_else_is_discarded_and_seen() {
    let server = Server::start(vec![Answer::json(
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
async fn no_error_shows_what_identifies_or_signs_the_caller() {
    let answers = vec![
        Answer::EchoAsMessage(400, "SignatureDoesNotMatch"),
        Answer::EchoAsMessage(403, "NoPermission"),
        Answer::EchoAsMessage(400, "Other"),
        Answer::EchoAsCode,
        Answer::EchoAsLocation,
        Answer::Hang,
        Answer::HangInBody,
        Answer::Reset,
        Answer::Declare(500 * 1024 * 1024),
        Answer::status(200, "<html></html>"),
    ];
    for signature in [SignatureVersion::V1, SignatureVersion::Acs3] {
        for answer in &answers {
            let server = Server::start(vec![answer.clone()]).await;
            let setup = setup_with(settings(&server.url(), signature), inline());
            let error =
                setup.client.instances(Instant::now() + Duration::from_millis(450)).await.unwrap_err();
            let shown = format!("{error} {error:?} {}", error.advice());
            let request = server.requests().first().cloned();
            for secret in
                [ID, SECRET, TOKEN, "Canary", "canary", "Credential=", "Signature=", "StringToSign:"]
            {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
            if let Some(signature) = request.as_ref().and_then(server::Request::signature) {
                assert!(!shown.contains(&signature), "the signature in {shown}");
            }
            assert!(!shown.contains('\n') && !shown.contains('\u{1b}'), "{shown}");
        }
    }
    let unknown = setup_with(settings("https://nowhere.invalid", SignatureVersion::Acs3), inline());
    let shown = format!("{:?}", unknown.client.instances(Instant::now() + Duration::from_millis(300)).await);
    assert!(!shown.contains("Canary") && !shown.contains('?'), "{shown}");
}

#[tokio::test]
async fn calls_share_a_connection_and_one_that_went_stale_is_not_noticed() {
    let server = Server::start(vec![Answer::json(NO_INSTANCES)]).await;
    let kept = setup(&server);
    for _ in 0..10 {
        assert_eq!(instances(&kept).await, Ok(0));
    }
    assert_eq!(server.connections(), 1);

    let server = Server::start(vec![Answer::ThenClose(NO_INSTANCES)]).await;
    let stale = setup(&server);
    for _ in 0..10 {
        assert_eq!(instances(&stale).await, Ok(0));
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(stale.recorder.results(), ["ok"; 10]);
}

#[tokio::test]
async fn the_declared_rate_holds_for_calls_and_retries_alike() {
    let server = Server::start(vec![Answer::status(503, ""), Answer::json(NO_INSTANCES)]).await;
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
fn settings_that_cannot_work_are_refused_by_the_name_of_their_key() {
    let refusal = |change: fn(&mut ClientSettings)| {
        let mut settings = settings("https://alikafka.cn-hangzhou.aliyuncs.com", SignatureVersion::Acs3);
        change(&mut settings);
        let recorder = Arc::new(Recorder::default());
        ApiClient::new(settings, inline(), recorder, unix_now, os_entropy)
            .err()
            .map(|error| error.to_string())
    };
    let text = refusal(|s| s.proxy = ProxySetting::Url("http://user:Canary@ bad".into())).unwrap();
    assert_eq!(text, "proxy: it is not a URL of a proxy");
    let text = refusal(|s| s.endpoint = "http://example.com".to_owned()).unwrap();
    assert_eq!(text, "endpoint: plain http is for loopback only, use https");
}
