//! Invalid TLS servers: nothing is sent to a server without a valid certificate, and the reason is logged.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::*;

/// A certificate authority for one test.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority of {name}"));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = format!("authority-{name}-{}.pem", std::process::id());
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Path of its certificate.
    pub(super) fn file(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// Returns a server that speaks TLS with a certificate for a host, valid until the end of a year.
    pub(super) fn certified(&self, host: &str, until: i32) -> ServerMode {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        ServerMode::Tls(Arc::new(config))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.file);
    }
}

/// Behavior of the server.
#[derive(Clone)]
pub(super) enum ServerMode {
    Tls(Arc<ServerConfig>),
    /// Responds to the first bytes with these.
    Bytes(Vec<u8>),
}

/// Returns a ServerHello of TLS 1.0 with a matching cipher suite.
fn tls_1_0_server_hello() -> Vec<u8> {
    let mut hello = vec![3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 0x2f, 0]);
    let mut message = vec![2, 0, 0, u8::try_from(hello.len()).unwrap()];
    message.extend(hello);
    let mut record = vec![22, 3, 1, 0, u8::try_from(message.len()).unwrap()];
    record.extend(message);
    record
}

/// Terminates TLS in front of a cloud that speaks plain HTTP.
pub(super) struct TlsProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    cloud: SocketAddr,
    mode: Mutex<(ServerMode, CancellationToken)>,
    /// Connections that carried decrypted data.
    read: AtomicU64,
    /// Connections that carried cleartext.
    bare: AtomicU64,
}

impl TlsProxy {
    pub(super) async fn start(cloud: &Simulator, mode: ServerMode) -> Self {
        // Listens on all addresses, because a test adds one.
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let address = ([127, 0, 0, 1], listener.local_addr().unwrap().port()).into();
        let shared = Arc::new(Shared {
            cloud: cloud.addr(),
            mode: Mutex::new((mode, CancellationToken::new())),
            read: AtomicU64::new(0),
            bare: AtomicU64::new(0),
        });
        let serving = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mode, closed) = serving.mode.lock().unwrap().clone();
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    // The log of the exporter shows errors.
                    _ = closed.run_until_cancelled(shared.serve(stream, mode)).await;
                });
            }
        });
        Self { address, shared, accepting }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Changes the behavior, and closes all connections.
    pub(super) fn set_mode(&self, mode: ServerMode) {
        let (_, closed) =
            std::mem::replace(&mut *self.shared.mode.lock().unwrap(), (mode, CancellationToken::new()));
        closed.cancel();
    }

    /// Closes all connections.
    pub(super) fn close_connections(&self) {
        let mode = self.shared.mode.lock().unwrap().0.clone();
        self.set_mode(mode);
    }

    /// Number of connections that carried decrypted data.
    pub(super) fn readable_connections(&self) -> u64 {
        self.shared.read.load(Ordering::SeqCst)
    }

    /// Number of connections that carried cleartext.
    pub(super) fn cleartext_connections(&self) -> u64 {
        self.shared.bare.load(Ordering::SeqCst)
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    async fn serve(&self, mut stream: TcpStream, mode: ServerMode) -> io::Result<()> {
        const HANDSHAKE: u8 = 22;
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE] {
            self.bare.fetch_add(1, Ordering::SeqCst);
        }
        let config = match mode {
            ServerMode::Tls(config) => config,
            ServerMode::Bytes(response) => {
                stream.read_buf(&mut Vec::with_capacity(16 * 1024)).await?;
                stream.write_all(&response).await?;
                // The rest is only searched for cleartext.
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await?;
                if rest.windows(5).any(|w| w == b"POST " || w == b"HTTP/") {
                    self.bare.fetch_add(1, Ordering::SeqCst);
                }
                return Ok(());
            }
        };
        let mut stream = TlsAcceptor::from(config).accept(stream).await?;
        let mut bytes = Vec::with_capacity(16 * 1024);
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        self.read.fetch_add(1, Ordering::SeqCst);
        let mut cloud = TcpStream::connect(self.cloud).await?;
        cloud.write_all(&bytes).await?;
        copy_bidirectional(&mut stream, &mut cloud).await?;
        Ok(())
    }
}

/// A connection to the cloud that fails from the start, recovers, fails again, and recovers again.
pub(super) struct ConnectionScenario<'a> {
    pub(super) sim: &'a Simulator,
    pub(super) daemon: &'a Daemon,
    /// Label `result` of every call while it fails.
    pub(super) result: &'a str,
    /// Part of the log line.
    pub(super) log_text: &'a str,
}

impl ConnectionScenario<'_> {
    /// Asserts that the region is down, the reason is logged once, and nothing reaches the cloud.
    pub(super) async fn assert_failing_from_the_start(&self) {
        let Self { sim, daemon, result, log_text } = *self;
        let scrape = daemon
            .until("calls fail repeatedly", |p| {
                p.api_calls("GetInstanceList", result) >= 3.0 && p.region_up(REGION) == Some(0.0)
            })
            .await;
        assert_eq!(scrape.api_results("GetInstanceList"), [result].into());
        assert!(
            scrape.cloud_series(&[]).iter().all(|s| s.starts_with("alikafka_region_")),
            "{:?}",
            scrape.cloud_series(&[])
        );
        assert_eq!(daemon.get("/-/ready").await.0, 200, "a failed first pass makes ready too");
        self.assert_logged(1, log_text);
        assert_eq!(sim.call_log().len(), 0, "nothing was sent");
    }

    /// Asserts that all values and the region recover.
    pub(super) async fn assert_recovered(&self, lag: f64) {
        let daemon = self.daemon;
        daemon.until("everything is fresh", |p| all_lag_by(p, lag) && p.region_up(REGION) == Some(1.0)).await;
        daemon.until_logged("the recovery", |_| daemon.recoveries().len() == daemon.failures().len()).await;
    }

    /// Asserts that values are kept, then expire, and that the region is down.
    pub(super) async fn assert_failing_after_success(&self) {
        let Self { sim, daemon, log_text, .. } = *self;
        let failed = self.wait_for_failure().await;
        let calls = sim.call_log().len();
        sim.with_world(write_more);
        let mut kept = false;
        daemon
            .until("all values have expired", |p| {
                let lag = p.lag(A, "billing");
                assert!(lag.is_none_or(|lag| lag == LAG_BEFORE), "neither the old value nor absent: {lag:?}");
                kept |= lag == Some(LAG_BEFORE) && self.failed(p) > failed;
                p.count("alikafka_group_lag_messages", &[]) == 0
                    && p.count("alikafka_topic_partition_end_offset", &[]) == 0
                    && p.region_up(REGION) == Some(0.0)
            })
            .await;
        assert!(kept, "old values are kept after the first failure");
        assert_eq!(sim.call_log().len(), calls, "nothing was sent");
        self.assert_logged(2, log_text);
    }

    /// Waits for a failure, so that calls sent before have ended. Returns the number of failures.
    pub(super) async fn wait_for_failure(&self) -> f64 {
        let before = self.failed(&self.daemon.scrape().await);
        let scrape = self.daemon.until("a call fails", |p| self.failed(p) > before).await;
        self.failed(&scrape)
    }

    fn failed(&self, scrape: &Scrape) -> f64 {
        scrape.sum("alikafka_exporter_api_requests_total", &[("result", self.result)])
    }

    /// Asserts one log line per outage for the region; timeouts are logged once per action and instance.
    fn assert_logged(&self, times: usize, log_text: &str) {
        let lines = self.daemon.failures();
        if self.result == "timeout" {
            let last = if times == 1 { &lines[..] } else { &lines[1..] };
            let places: BTreeSet<_> =
                last.iter().map(|l| (l["instance_id"].to_string(), l["action"].to_string())).collect();
            assert_eq!(places.len(), last.len(), "one line per action and instance: {lines:#?}");
        } else {
            assert_eq!(lines.len(), times, "one line per outage: {lines:#?}");
        }
        // A line for many objects names none of them.
        let line = lines.iter().rfind(|l| l.get("advice").is_some()).unwrap();
        assert_eq!(line["result"], self.result, "{line}");
        assert!(line["error"].as_str().unwrap().contains(log_text), "{line}");
        assert!(line["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{line}");
    }
}

struct TlsCase {
    name: &'static str,
    broken: ServerMode,
    log_text: &'static str,
}

impl TlsCase {
    async fn run(self, authority: Arc<Authority>) {
        let sim = cloud().await;
        let proxy = TlsProxy::start(&sim, self.broken.clone()).await;
        let url = proxy.url();
        let launch = Launch {
            variables: &[("SSL_CERT_FILE", authority.file())],
            settings: &[("ENDPOINT", &url)],
            ..Launch::default()
        };
        let daemon = Daemon::launch(launch).await;
        let way = ConnectionScenario { sim: &sim, daemon: &daemon, result: "tls", log_text: self.log_text };
        way.assert_failing_from_the_start().await;
        assert_eq!(proxy.readable_connections(), 0, "{}: nothing was sent", self.name);
        proxy.set_mode(authority.certified("127.0.0.1", 2999));
        way.assert_recovered(LAG_BEFORE).await;
        proxy.set_mode(self.broken);
        way.wait_for_failure().await;
        let read = proxy.readable_connections();
        way.assert_failing_after_success().await;
        assert_eq!(proxy.readable_connections(), read, "{}: nothing was sent", self.name);
        proxy.set_mode(authority.certified("127.0.0.1", 2999));
        way.assert_recovered(LAG_AFTER).await;
        assert_eq!(proxy.cleartext_connections(), 0, "{}: no cleartext was sent", self.name);
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_to_a_server_without_a_valid_certificate() {
    let authority = Arc::new(Authority::new("tls"));
    let unknown = Authority::new("unknown");
    let case = |name, broken, log_text| TlsCase { name, broken, log_text };
    let refusal = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n".to_vec();
    let cases = [
        case("expired", authority.certified("127.0.0.1", 2021), "expired"),
        case("another host", authority.certified("kafka.example", 2999), "not valid for name"),
        case("an unknown authority", unknown.certified("127.0.0.1", 2999), "UnknownIssuer"),
        case("TLS 1.0 only, by its hello", ServerMode::Bytes(tls_1_0_server_hello()), "incompatible"),
        // protocol_version, fatal.
        case("TLS 1.0 only, by its alert", ServerMode::Bytes(vec![21, 3, 1, 0, 2, 2, 70]), "ProtocolVersion"),
        case("no TLS at all", ServerMode::Bytes(refusal), "corrupt"),
    ];
    let mut running = tokio::task::JoinSet::new();
    for case in cases {
        running.spawn(case.run(Arc::clone(&authority)));
    }
    running.join_all().await;
}
