//! Scrapes work whatever other clients do: routes, limits, deadlines, shutdown.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's own helpers fail by panicking, as its assertions do"
)]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use alikafka_exporter::{
    health::Health,
    web::{self, ContentSource, HttpLimits, HttpObserver, ResponseContent, StatusPage, WebApp},
};
use test_support::http::{Connection, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Duration, Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

mod debug;
mod limits;
mod noise;
mod routes;
mod shutdown;

/// Maximum duration of one step of a test.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves fixed segments.
struct FixedContent {
    segments: Arc<[hyper::body::Bytes]>,
    status_page: StatusPage,
}

impl ContentSource for FixedContent {
    fn metrics(&self, gzip: bool) -> ResponseContent {
        if gzip {
            ResponseContent::gzip([hyper::body::Bytes::from_static(b"\x1f\x8bpacked")])
        } else {
            ResponseContent::plain(Arc::clone(&self.segments))
        }
    }

    fn status_page(&self) -> StatusPage {
        self.status_page.clone()
    }
}

#[derive(Default)]
struct Counts {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    rejected: Mutex<BTreeMap<&'static str, u64>>,
    open: Mutex<usize>,
}

impl HttpObserver for Counts {
    fn request_completed(&self, path: &'static str, code: u16, _: Duration) {
        assert!(web::path::ALL.contains(&path));
        *self.requests.lock().unwrap().entry((path, code)).or_default() += 1;
    }

    fn rejected(&self, reason: &'static str) {
        assert!(web::reason::ALL.contains(&reason));
        *self.rejected.lock().unwrap().entry(reason).or_default() += 1;
    }

    fn open_connections_changed(&self, open: usize) {
        *self.open.lock().unwrap() = open;
    }
}

/// A running server.
struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
    health: Health,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), web::WebError>>,
}

/// Returns short deadlines that are far enough apart to be distinguished.
fn short_limits() -> HttpLimits {
    HttpLimits {
        header_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(1200),
        write_timeout: Duration::from_millis(500),
        drain_timeout: Duration::from_millis(800),
        ..HttpLimits::default()
    }
}

impl Server {
    async fn start(limits: HttpLimits) -> Self {
        Self::with(limits, "alikafka_region_up 1\n", 1, StatusPage::default(), "/metrics").await
    }

    async fn with_lifecycle(lifecycle: impl web::ReloadHandler) -> Self {
        Self::serving(
            |app| WebApp { reload_handler: Some(Arc::new(lifecycle)), ..app },
            FixedContent { segments: Arc::default(), status_page: StatusPage::default() },
        )
        .await
    }

    /// Serves `times` segments of 64 KiB.
    async fn with_large_content(limits: HttpLimits, times: usize) -> Self {
        Self::with(limits, &"0123456789abcde\n".repeat(4096), times, StatusPage::default(), "/metrics").await
    }

    async fn with(limits: HttpLimits, text: &str, times: usize, status_page: StatusPage, path: &str) -> Self {
        let segment = hyper::body::Bytes::copy_from_slice(text.as_bytes());
        let content = FixedContent { segments: vec![segment; times].into(), status_page };
        Self::serving(|app| WebApp { limits, telemetry_path: path.to_owned(), ..app }, content).await
    }

    async fn serving(edit: impl FnOnce(WebApp) -> WebApp, content: FixedContent) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (counts, health, shutdown) = (Arc::default(), Health::default(), CancellationToken::new());
        let app = WebApp {
            content: Arc::new(content),
            observer: Arc::clone(&counts) as Arc<dyn HttpObserver>,
            reload_handler: None,
            explainer: None,
            health: health.clone(),
            telemetry_path: "/metrics".to_owned(),
            limits: HttpLimits::default(),
        };
        let serving = tokio::spawn(web::serve(vec![listener], edit(app), shutdown.clone()));
        Self { address, counts, health, shutdown, serving }
    }

    async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// Sends a request on its own connection and returns the response.
    async fn request(&self, request: &str) -> Response {
        let mut client = self.connect().await;
        client.send(request).await;
        client.response().await
    }

    async fn get(&self, path: &str) -> Response {
        self.request(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await
    }

    fn rejected(&self, reason: &'static str) -> u64 {
        self.counts.rejected.lock().unwrap().get(reason).copied().unwrap_or_default()
    }

    /// Waits until the reason has this many rejections.
    async fn until_rejected(&self, reason: &'static str, count: u64) {
        let reached = async {
            while self.rejected(reason) < count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = timeout(PATIENCE, reached).await.is_ok();
        assert!(in_time && self.rejected(reason) == count, "{:?}", self.counts.rejected);
    }

    fn open(&self) -> usize {
        *self.counts.open.lock().unwrap()
    }

    /// Waits until the server has this many open connections.
    async fn until_open(&self, open: usize) {
        let reached = async {
            while self.open() != open {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(PATIENCE, reached).await.is_err() {
            panic!("{} connections instead of {open}", self.open());
        }
    }
}
