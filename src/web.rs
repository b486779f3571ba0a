//! The HTTP server: `/metrics`, `/-/healthy`, `/-/ready`, where they are wanted `/-/reload` and `/debug/state`, and
//! a status page at `/`.
//!
//! Owns: the accept loop with its limits, the deadlines of each connection, routes, content encoding,
//! and the status page. Refuses: rendering metrics (they come through [`ContentSource`] as ready bytes), calls to
//! the cloud, locks that a scrape could wait on, and words of the client as label values or in logs.
//!
//! hyper parses and writes HTTP/1; time is kept here, because hyper's one header timer also ends idle
//! connections and it has none for writing. See [`HttpLimits`].

use std::{pin::Pin, sync::Arc};

use hyper::body::Bytes;
use tokio::{net::TcpListener, time::Duration};
use tokio_util::sync::CancellationToken;

use crate::health::Health;

mod accept;
mod connection;
mod deadline_stream;
mod debug;
mod encoding;
mod framing;
mod progress;
mod registry;
mod response_body;
mod routes;
pub mod status_page;

pub use status_page::StatusPage;

/// What one client may ask of the server, in time and space. The defaults are for production; tests scale
/// them down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// From the accept, or from the first byte of a later request on the same connection, until the whole
    /// request has arrived, its body included. More bytes do not extend it.
    pub header_timeout: Duration,
    /// How long a connection that has been answered may rest until its next request begins. Longer than
    /// the usual scrape intervals, so that a Prometheus keeps its connection.
    pub idle_timeout: Duration,
    /// From the first byte of an answer until its last has been handed to the kernel. ConnectionProgress does not
    /// extend it: a slow reader pins the page that it reads.
    pub write_timeout: Duration,
    /// Connections at one time. At the limit, a newcomer takes the place of the one that has waited
    /// longest without a request; where none waits, it is answered 503.
    pub max_connections: usize,
    /// Largest request head in bytes, request line included; above it 431.
    pub max_head_bytes: usize,
    /// Most header lines of a request; above it 431.
    pub max_headers: usize,
    /// Largest request body in bytes that is read and thrown away; above it 413.
    pub max_body_bytes: u64,
    /// From the begin of the shutdown until connections that still answer are cut.
    pub drain_timeout: Duration,
}

impl HttpLimits {
    /// The defaults for a process that may have so many files open; `None` is without a limit. Clients get
    /// half of them at most: those who read slowly would else leave none for calls to the cloud.
    #[must_use]
    pub fn within(open_files: Option<u64>) -> Self {
        let all = Self::default();
        let half = open_files.and_then(|n| usize::try_from(n / 2).ok()).unwrap_or(usize::MAX);
        Self { max_connections: all.max_connections.min(half.max(1)), ..all }
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
            // The process is to end within 5 seconds of a signal, all told.
            drain_timeout: Duration::from_secs(4),
        }
    }
}

/// The bytes of one answer of `/metrics`: segments that many answers may share, sent one after the other
/// without being copied.
#[derive(Debug, Clone, Default)]
pub struct ResponseContent {
    segments: Arc<[Bytes]>,
    len: u64,
    gzip: bool,
}

impl ResponseContent {
    /// A page of these segments, in this order, as they are.
    #[must_use]
    pub fn plain(segments: impl Into<Arc<[Bytes]>>) -> Self {
        let segments = segments.into();
        let len = segments.iter().map(|segment| segment.len() as u64).sum();
        Self { segments, len, gzip: false }
    }

    /// The same of segments that are, together, one or several members of gzip.
    #[must_use]
    pub fn gzip(segments: impl Into<Arc<[Bytes]>>) -> Self {
        Self { gzip: true, ..Self::plain(segments) }
    }
}

impl From<String> for ResponseContent {
    fn from(text: String) -> Self {
        Self::plain([Bytes::from(text)])
    }
}

/// What is shown. Both are memory reads: neither blocks, waits nor calls the cloud.
pub trait ContentSource: Send + Sync + 'static {
    /// The exposition in text format 0.0.4. It may be [`ResponseContent::gzip`] only if `gzip`, which says that the
    /// client takes it.
    fn metrics(&self, gzip: bool) -> ResponseContent;

    /// What the status page says of the fleet.
    fn status_page(&self) -> StatusPage;
}

/// What a client may do to the process.
pub trait ReloadHandler: Send + Sync + 'static {
    /// Loads the configuration anew and answers when it runs, or with what is wrong with it, a line a problem.
    /// It goes on though nobody waits for the answer any more.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

/// What a client wants to have explained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExplainQuery {
    /// An instance id.
    pub instance: String,
    /// A consumer group of it.
    pub group: String,
    /// One topic of the group, if not all.
    pub topic: Option<String>,
    /// The region, if it matters.
    pub region: Option<String>,
    /// The account, if it matters.
    pub account: Option<String>,
}

/// What is said to a [`ExplainQuery`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainResponse {
    /// Of which kind the answer is.
    pub verdict: ExplainOutcome,
    /// The answer.
    pub json: Vec<u8>,
}

/// Of which kind an [`ExplainResponse`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainOutcome {
    /// It is known.
    Found,
    /// Nothing can have such a name.
    Invalid,
    /// Nothing that is known has such a name.
    Unknown,
    /// Nobody could answer in time.
    Busy,
}

/// Says why a number is what it is.
pub trait Explainer: Send + Sync + 'static {
    /// Answers within seconds, and never holds up whoever serves or polls.
    fn explain(&self, question: ExplainQuery) -> Pin<Box<dyn Future<Output = ExplainResponse> + Send + '_>>;
}

/// Is told what the server does. Values of `path` and `reason` come from the closed sets [`path::ALL`] and
/// [`reason::ALL`]. It is called on the serving tasks, so it must not block.
pub trait HttpObserver: Send + Sync + 'static {
    /// A request was answered with status `code`; `took` runs from its complete head until the last byte
    /// of the answer was handed to the kernel, or the connection ended before that.
    fn request_completed(&self, path: &'static str, code: u16, took: Duration);

    /// Something was refused or cut, other than by a route's own answer.
    fn rejected(&self, reason: &'static str);

    /// How many connections are open now.
    fn open_connections(&self, open: usize);
}

/// The closed set of values of the label `path`.
pub mod path {
    /// The telemetry path.
    pub const METRICS: &str = "metrics";
    /// `/-/healthy`.
    pub const HEALTHY: &str = "healthy";
    /// `/-/ready`.
    pub const READY: &str = "ready";
    /// `/-/reload`.
    pub const RELOAD: &str = "reload";
    /// `/debug/state`.
    pub const DEBUG: &str = "debug";
    /// `/`.
    pub const STATUS_PAGE: &str = "landing";
    /// Whatever the server does not have.
    pub const OTHER: &str = "other";
    /// All of them.
    pub const ALL: [&str; 7] = [METRICS, HEALTHY, READY, RELOAD, DEBUG, STATUS_PAGE, OTHER];
}

/// The closed set of values of the label `reason`.
pub mod reason {
    /// A connection beyond the limit, while all others were being answered: 503.
    pub const LIMIT: &str = "limit";
    /// A waiting connection, cut to make room for a new one.
    pub const EVICTED: &str = "evicted";
    /// A connection could not be accepted, for want of file descriptors or the like.
    pub const ACCEPT: &str = "accept";
    /// The request did not arrive in time; closed.
    pub const HEADER_TIMEOUT: &str = "header_timeout";
    /// The answer was not read in time; cut.
    pub const WRITE_TIMEOUT: &str = "write_timeout";
    /// Too large a head, or too many headers: 431.
    pub const HEAD_TOO_LARGE: &str = "head_too_large";
    /// Too large a body: 413.
    pub const BODY_TOO_LARGE: &str = "body_too_large";
    /// A method that the path does not have: 405.
    pub const METHOD: &str = "method";
    /// Not HTTP/1, or ambiguous in where a request ends: 400, or closed.
    pub const BAD_REQUEST: &str = "bad_request";
    /// All of them.
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

/// What the server serves, and how.
#[derive(Clone)]
pub struct WebApp {
    /// The content.
    pub content: Arc<dyn ContentSource>,
    /// Who counts.
    pub observer: Arc<dyn HttpObserver>,
    /// Who reloads; `None` for nobody, and no such path.
    pub lifecycle: Option<Arc<dyn ReloadHandler>>,
    /// Who explains; `None` for nobody, and no such path.
    pub explain: Option<Arc<dyn Explainer>>,
    /// What `/-/healthy` and `/-/ready` are answered from.
    pub health: Health,
    /// Where the metrics are; [`check_telemetry_path`] says what is allowed. At `/`, the status page is
    /// off.
    pub telemetry_path: String,
    /// The limits.
    pub limits: HttpLimits,
}

/// Why the server could not start, or ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// The telemetry path cannot be one.
    #[error("web.telemetry-path {path:?} {why}")]
    TelemetryPath {
        /// The path as given.
        path: String,
        /// What is wrong with it, and what to do.
        why: &'static str,
    },
    /// Nothing to listen on.
    #[error("no address to listen on: set at least one web.listen-address")]
    NoListener,
    /// A loop that accepts connections ended by itself, which is a defect of this program.
    #[error("the loop that accepts connections has ended by itself: restart, and report it as a bug")]
    AcceptLoopEnded,
}

/// Whether metrics can be served at this path.
///
/// # Errors
/// [`WebError::TelemetryPath`] unless it begins with `/`, is made of printable ASCII that needs no escaping in a
/// request line, and is not one of `/-/` or `/debug/state`.
pub fn check_telemetry_path(path: &str) -> Result<(), WebError> {
    let refuse = |why| Err(WebError::TelemetryPath { path: path.to_owned(), why });
    if !path.starts_with('/') {
        return refuse("must begin with '/'");
    }
    if path == "/-" || path.starts_with("/-/") {
        return refuse("must not be below /-/, which is for health and lifecycle: choose another");
    }
    if path == debug::PATH {
        return refuse("is for explanations: choose another");
    }
    if path.chars().any(|c| !c.is_ascii_graphic() || "?#%\"<>\\^`{|}".contains(c)) {
        return refuse("may hold only letters, digits and the signs of a plain URL path");
    }
    Ok(())
}

/// Serves until `shutdown`, then stops accepting at once, closes idle connections, lets answers in flight
/// complete, and cuts what is left when [`HttpLimits::drain_timeout`] has passed. Dropping the future cuts at
/// once.
///
/// # Errors
/// [`WebError`] where nothing can be served; troubles of single connections are counted, never returned.
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
