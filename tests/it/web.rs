//! Whoever scrapes gets the page, whatever other clients do: routes, limits, deadlines, shutdown.

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

/// No single step of a test may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves one text, repeated.
struct Fixed {
    segments: Arc<[hyper::body::Bytes]>,
    status_page: StatusPage,
}

impl ContentSource for Fixed {
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

    fn open_connections(&self, open: usize) {
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

/// Deadlines short enough to wait for, and far enough apart to tell which one it was.
fn short() -> HttpLimits {
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
            |app| WebApp { lifecycle: Some(Arc::new(lifecycle)), ..app },
            Fixed { segments: Arc::default(), status_page: StatusPage::default() },
        )
        .await
    }

    /// A page of `times` segments of 64 KiB.
    async fn with_large_page(limits: HttpLimits, times: usize) -> Self {
        Self::with(limits, &"0123456789abcde\n".repeat(4096), times, StatusPage::default(), "/metrics").await
    }

    async fn with(limits: HttpLimits, text: &str, times: usize, status_page: StatusPage, path: &str) -> Self {
        let segment = hyper::body::Bytes::copy_from_slice(text.as_bytes());
        let content = Fixed { segments: vec![segment; times].into(), status_page };
        Self::serving(|app| WebApp { limits, telemetry_path: path.to_owned(), ..app }, content).await
    }

    async fn serving(edit: impl FnOnce(WebApp) -> WebApp, content: Fixed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (counts, health, shutdown) = (Arc::default(), Health::default(), CancellationToken::new());
        let app = WebApp {
            content: Arc::new(content),
            observer: Arc::clone(&counts) as Arc<dyn HttpObserver>,
            lifecycle: None,
            explain: None,
            health: health.clone(),
            telemetry_path: "/metrics".to_owned(),
            limits: HttpLimits::default(),
        };
        let serving = tokio::spawn(web::serve(vec![listener], edit(app), shutdown.clone()));
        Self { address, counts, health, shutdown, serving }
    }

    async fn connect(&self) -> Client {
        let stream = timeout(PATIENCE, TcpStream::connect(self.address)).await.unwrap().unwrap();
        Client { stream, left: Vec::new() }
    }

    /// The answer to one request on its own connection.
    async fn ask(&self, request: &str) -> ResponseBody {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }

    async fn get(&self, path: &str) -> ResponseBody {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await
    }

    fn rejected(&self, reason: &'static str) -> u64 {
        self.counts.rejected.lock().unwrap().get(reason).copied().unwrap_or_default()
    }

    /// Waits until this many were rejected for this reason.
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

    /// Waits until the server has this many connections.
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

/// A connection, byte by byte.
struct Client {
    stream: TcpStream,
    left: Vec<u8>,
}

#[derive(Debug)]
struct ResponseBody {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl ResponseBody {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    async fn send(&mut self, bytes: &str) {
        timeout(PATIENCE, self.stream.write_all(bytes.as_bytes())).await.unwrap().unwrap();
    }

    /// Reads more; `false` at the end, however it came.
    async fn more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.left)).await;
        read.expect("the server neither answers nor closes").is_ok_and(|n| n > 0)
    }

    /// One whole answer with a body.
    async fn answer(&mut self) -> ResponseBody {
        let answer = self.head_only().await;
        let length: usize = answer.header("content-length").expect("a length").parse().unwrap();
        while self.left.len() < length {
            assert!(self.more().await, "closed within a body: {} of {length} bytes", self.left.len());
        }
        ResponseBody { body: self.left.drain(..length).collect(), ..answer }
    }

    /// One answer without a body, as to HEAD.
    async fn head_only(&mut self) -> ResponseBody {
        let end = loop {
            if let Some(end) = self.left.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            assert!(self.more().await, "closed within a head: {:?}", String::from_utf8_lossy(&self.left));
        };
        let head = String::from_utf8(self.left.drain(..end + 4).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        ResponseBody { status, head, body: Vec::new() }
    }

    async fn get(&mut self, path: &str) -> ResponseBody {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        self.answer().await
    }

    /// All bytes until the server closes.
    async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.left)
    }

    /// Waits for the server to close, without an answer; returns how long that took.
    async fn closed(&mut self) -> Duration {
        let begun = Instant::now();
        assert_eq!(String::from_utf8_lossy(&self.rest().await), "");
        begun.elapsed()
    }
}
