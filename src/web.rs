//! HTTP server: `/metrics`, `/-/healthy`, `/-/ready`, optionally `/-/reload` and `/debug/state`, and a status page at
//! `/`.
//!
//! Owns: the accept loop and its limits, the deadlines of each connection, routes, content encoding, and the
//! status page. Out of scope: rendering metrics, which [`ContentSource`] provides as ready bytes; API calls; locks
//! that a scrape could wait for. Text from clients never becomes a label value or part of a log line.
//!
//! hyper parses and writes HTTP/1. The deadlines are enforced here, because the header timeout of hyper also closes
//! idle connections, and hyper has no write timeout. See [`HttpLimits`].

use std::{pin::Pin, sync::Arc};

use hyper::body::Bytes;
use tokio::{net::TcpListener, time::Duration};
use tokio_util::sync::CancellationToken;

use crate::health::Health;

mod accept;
mod connection;
mod connection_progress;
mod deadline_stream;
mod debug;
mod encoding;
mod framing;
mod registry;
mod response_body;
mod routes;
pub mod status_page;

pub use status_page::StatusPage;

/// Limits on time and space that clients may use. The defaults are for production; tests use smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Time for a complete request with its body, from the accept or, for a later request of the connection, from its
    /// first byte. Further bytes do not extend it.
    pub header_timeout: Duration,
    /// Time between a response and the next request of the connection. Longer than usual scrape intervals, so that
    /// Prometheus keeps its connection.
    pub idle_timeout: Duration,
    /// Time from the first byte of a response until the kernel has the last one. Progress does not extend it, because
    /// a slow reader keeps the exposition in memory.
    pub write_timeout: Duration,
    /// Maximum number of open connections. Beyond it, a new connection replaces the one that has waited longest
    /// without a request, or gets 503 if none waits.
    pub max_connections: usize,
    /// Maximum size of a request head with its request line, in bytes; else 431.
    pub max_head_bytes: usize,
    /// Maximum number of header lines of a request; else 431.
    pub max_headers: usize,
    /// Maximum size of a request body in bytes, which is read and discarded; else 413.
    pub max_body_bytes: u64,
    /// Time after the start of the shutdown until connections that are still busy are closed.
    pub drain_timeout: Duration,
}

impl HttpLimits {
    /// Returns the defaults for a process with this limit of open files; `None` is unlimited. Clients get at most half
    /// of them, so that slow readers leave file descriptors for API calls.
    #[must_use]
    pub fn for_open_files(open_files: Option<u64>) -> Self {
        let defaults = Self::default();
        let half = open_files.and_then(|n| usize::try_from(n / 2).ok()).unwrap_or(usize::MAX);
        Self { max_connections: defaults.max_connections.min(half.max(1)), ..defaults }
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            max_connections: 1024,
            max_head_bytes: 16 * 1024,
            max_headers: 100,
            max_body_bytes: 64 * 1024,
            // The process must exit within 5 seconds of a signal.
            drain_timeout: Duration::from_secs(4),
        }
    }
}

/// Bytes of one response, in segments that many responses may share. They are sent without being copied.
#[derive(Debug, Clone, Default)]
pub struct ResponseContent {
    segments: Arc<[Bytes]>,
    len: u64,
    is_gzip: bool,
}

impl ResponseContent {
    /// Creates a response of segments that are sent as they are.
    #[must_use]
    pub fn plain(segments: impl Into<Arc<[Bytes]>>) -> Self {
        let segments = segments.into();
        let len = segments.iter().map(|segment| segment.len() as u64).sum();
        Self { segments, len, is_gzip: false }
    }

    /// Creates a response of segments that are one or more gzip members together.
    #[must_use]
    pub fn gzip(segments: impl Into<Arc<[Bytes]>>) -> Self {
        Self { is_gzip: true, ..Self::plain(segments) }
    }
}

impl From<String> for ResponseContent {
    fn from(text: String) -> Self {
        Self::plain([Bytes::from(text)])
    }
}

/// Source of the served content. Both methods read memory: they do not block, wait or call the API.
pub trait ContentSource: Send + Sync + 'static {
    /// Returns the metrics in the text format 0.0.4. The content may be [`ResponseContent::gzip`] only if
    /// `accepts_gzip`.
    fn metrics(&self, accepts_gzip: bool) -> ResponseContent;

    /// Returns the state of the monitored fleet for the status page.
    fn status_page(&self) -> StatusPage;
}

/// Handler of `/-/reload`.
pub trait ReloadHandler: Send + Sync + 'static {
    /// Loads the configuration and returns once it is active. The reload continues if the client disconnects.
    ///
    /// # Errors
    /// The problems of the new configuration, one per line.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

/// Parameters of `/debug/state`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExplainQuery {
    /// Instance id.
    pub instance: String,
    /// Consumer group of the instance.
    pub group: String,
    /// Topic of the group; `None` for all.
    pub topic: Option<String>,
    /// Region; `None` for any.
    pub region: Option<String>,
    /// Account; `None` for any.
    pub account: Option<String>,
}

/// Response to an [`ExplainQuery`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainResponse {
    /// Determines the status code.
    pub outcome: ExplainOutcome,
    /// Response body.
    pub json: Vec<u8>,
}

/// Outcome of an [`ExplainQuery`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainOutcome {
    /// The group is known.
    Found,
    /// A parameter is not a valid name.
    Invalid,
    /// No known group matches.
    Unknown,
    /// A poller did not respond in time.
    Busy,
}

/// Handler of `/debug/state`.
pub trait Explainer: Send + Sync + 'static {
    /// Responds within seconds, without delaying pollers or other requests.
    fn explain(&self, query: ExplainQuery) -> Pin<Box<dyn Future<Output = ExplainResponse> + Send + '_>>;
}

/// Observer of requests and connections. Values of `path` and `reason` come from the closed sets [`path::ALL`] and
/// [`reason::ALL`]. Methods run on the serving tasks and must not block.
pub trait HttpObserver: Send + Sync + 'static {
    /// A request got a response with status `code`. `duration` is the time from its complete head until the kernel had
    /// the last byte of the response, or until the connection ended before that.
    fn request_completed(&self, path: &'static str, code: u16, duration: Duration);

    /// A connection or a request was rejected or closed, other than by the response of a route.
    fn rejected(&self, reason: &'static str);

    /// The number of open connections changed.
    fn open_connections_changed(&self, open: usize);
}

/// Values of the label `path`.
pub mod path {
    /// Telemetry path.
    pub const METRICS: &str = "metrics";
    /// `/-/healthy`
    pub const HEALTHY: &str = "healthy";
    /// `/-/ready`
    pub const READY: &str = "ready";
    /// `/-/reload`
    pub const RELOAD: &str = "reload";
    /// `/debug/state`
    pub const DEBUG: &str = "debug";
    /// `/`
    pub const STATUS_PAGE: &str = "landing";
    /// Any other path.
    pub const OTHER: &str = "other";
    /// All values.
    pub const ALL: [&str; 7] = [METRICS, HEALTHY, READY, RELOAD, DEBUG, STATUS_PAGE, OTHER];
}

/// Values of the label `reason`.
pub mod reason {
    /// The connection limit is reached and no connection waits for a request: 503.
    pub const LIMIT: &str = "limit";
    /// A waiting connection was closed in favour of a new one.
    pub const EVICTED: &str = "evicted";
    /// A connection could not be accepted, e.g. for lack of file descriptors.
    pub const ACCEPT: &str = "accept";
    /// The request was not complete in time: connection closed.
    pub const HEADER_TIMEOUT: &str = "header_timeout";
    /// The client did not read the response in time: connection closed.
    pub const WRITE_TIMEOUT: &str = "write_timeout";
    /// The request head is too large or has too many headers: 431.
    pub const HEAD_TOO_LARGE: &str = "head_too_large";
    /// The request body is too large: 413.
    pub const BODY_TOO_LARGE: &str = "body_too_large";
    /// The path does not support the method: 405.
    pub const METHOD: &str = "method";
    /// Not HTTP/1, or the end of the request is ambiguous: 400 or connection closed.
    pub const BAD_REQUEST: &str = "bad_request";
    /// All values.
    pub const ALL: [&str; 9] = [
        LIMIT,
        EVICTED,
        ACCEPT,
        HEADER_TIMEOUT,
        WRITE_TIMEOUT,
        HEAD_TOO_LARGE,
        BODY_TOO_LARGE,
        METHOD,
        BAD_REQUEST,
    ];
}

/// Content, handlers and limits of the server.
#[derive(Clone)]
pub struct WebApp {
    /// Source of the content.
    pub content: Arc<dyn ContentSource>,
    /// Observer that counts requests.
    pub observer: Arc<dyn HttpObserver>,
    /// Handler of `/-/reload`; `None` disables the path.
    pub reload_handler: Option<Arc<dyn ReloadHandler>>,
    /// Handler of `/debug/state`; `None` disables the path.
    pub explainer: Option<Arc<dyn Explainer>>,
    /// State behind `/-/healthy` and `/-/ready`.
    pub health: Health,
    /// Path of the metrics, see [`check_telemetry_path`]. At `/` it replaces the status page.
    pub telemetry_path: String,
    /// Limits.
    pub limits: HttpLimits,
}

/// Reason why the server did not start or ended unexpectedly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// The telemetry path is invalid.
    #[error("web.telemetry-path {path:?} {problem}")]
    TelemetryPath {
        /// The rejected path.
        path: String,
        /// The violated rule.
        problem: &'static str,
    },
    /// There is no listener.
    #[error("no address to listen on: set at least one web.listen-address")]
    NoListener,
    /// An accept loop panicked.
    #[error("accept loop ended unexpectedly, please report this bug")]
    AcceptLoopEnded,
}

/// Checks a telemetry path.
///
/// # Errors
/// [`WebError::TelemetryPath`] unless the path begins with `/`, consists of printable ASCII that needs no escaping in a
/// request line, and is neither below `/-/` nor `/debug/state`.
pub fn check_telemetry_path(path: &str) -> Result<(), WebError> {
    let problem = if !path.starts_with('/') {
        "must begin with '/'"
    } else if path == "/-" || path.starts_with("/-/") {
        "must not be below /-/, which is reserved for health checks and reloads"
    } else if path == debug::PATH {
        "is reserved for debugging"
    } else if path.chars().any(|c| !c.is_ascii_graphic() || "?#%\"<>\\^`{|}".contains(c)) {
        "must contain only characters that a URL path allows without escaping"
    } else {
        return Ok(());
    };
    Err(WebError::TelemetryPath { path: path.to_owned(), problem })
}

/// Serves until `shutdown`. Then it stops accepting, closes idle connections, completes responses in progress, and
/// closes the remaining connections after [`HttpLimits::drain_timeout`]. Dropping the future closes all immediately.
///
/// # Errors
/// [`WebError`] if nothing can be served. Failures of single connections are counted, not returned.
pub async fn serve(
    listeners: Vec<TcpListener>,
    app: WebApp,
    shutdown: CancellationToken,
) -> Result<(), WebError> {
    check_telemetry_path(&app.telemetry_path)?;
    if listeners.is_empty() {
        return Err(WebError::NoListener);
    }
    accept::serve(listeners, app, &shutdown).await
}
