//! Progress of one connection: receiving a request, responding, or idle.
//!
//! Shared by the task of the connection, which alone changes it, and the registry, which reads it to choose a connection
//! to close. The lock is held for a few instructions and never across an await.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{HttpLimits, HttpObserver, framing::HeadScanner};

/// Time in which a new connection or, during the shutdown, a connection without a request is not closed, because its
/// request may be on the way.
pub(super) const NEW_CONNECTION_GRACE: Duration = Duration::from_millis(100);

/// Progress of one connection.
pub(super) struct ConnectionProgress {
    state: Mutex<ProgressState>,
    /// Closes the connection immediately.
    pub(super) close_now: CancellationToken,
    pub(super) limits: HttpLimits,
    pub(super) observer: Arc<dyn HttpObserver>,
}

struct ProgressState {
    phase: ConnectionPhase,
    scanner: HeadScanner,
    /// Number of request heads received.
    heads: u64,
    /// Whether the client may still send the rest of a rejected request.
    ignores_input: bool,
    in_flight: Option<InFlightResponse>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionPhase {
    /// Waiting for the rest of a request, or for the first request of the connection.
    Receiving { since: Instant },
    /// Responding to a request.
    Responding,
    /// Waiting for the first byte of a further request.
    Idle { since: Instant },
}

/// Response that is being sent.
struct InFlightResponse {
    path: &'static str,
    code: u16,
    started: Instant,
    /// Whether hyper has all of it.
    body_passed: bool,
}

/// Reason for reading from a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadWait {
    /// The rest of a request, or the first request of the connection.
    Request,
    /// The first byte of a further request.
    NextRequest,
}

/// Order in which connections are closed in favour of new ones; the smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EvictionPriority {
    has_sent_request: bool,
    waiting_since: Instant,
}

impl ConnectionProgress {
    pub(super) fn new(
        limits: HttpLimits,
        observer: Arc<dyn HttpObserver>,
        close_now: CancellationToken,
    ) -> Self {
        let state = ProgressState {
            phase: ConnectionPhase::Receiving { since: Instant::now() },
            scanner: HeadScanner::default(),
            heads: 0,
            ignores_input: false,
            in_flight: None,
        };
        Self { state: Mutex::new(state), close_now, limits, observer }
    }

    fn lock(&self) -> MutexGuard<'_, ProgressState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records received bytes.
    pub(super) fn on_received(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.scanner.scan(bytes);
        if matches!(state.phase, ConnectionPhase::Idle { .. }) && !bytes.is_empty() {
            state.phase = ConnectionPhase::Receiving { since: Instant::now() };
        }
    }

    /// Records a complete request head. Returns whether the end of the request is unambiguous.
    pub(super) fn on_head(&self) -> bool {
        let mut state = self.lock();
        let nth = state.heads;
        state.heads += 1;
        !state.scanner.is_ambiguous(nth)
    }

    /// Ignores the rest of the request from now on.
    pub(super) fn ignore_input(&self) {
        self.lock().ignores_input = true;
    }

    /// Whether the client may still send the rest of a rejected request.
    pub(super) fn ignores_input(&self) -> bool {
        self.lock().ignores_input
    }

    /// Records the start of the response to a request that was complete at `started`.
    pub(super) fn on_response(&self, path: &'static str, code: u16, started: Instant) {
        let mut state = self.lock();
        // hyper takes no further request before it has written the response to this one.
        state.in_flight = Some(InFlightResponse { path, code, started, body_passed: false });
        state.phase = ConnectionPhase::Responding;
    }

    /// Records that hyper has the complete response.
    pub(super) fn on_body_passed(&self) {
        if let Some(in_flight) = &mut self.lock().in_flight {
            in_flight.body_passed = true;
        }
    }

    /// Records that hyper has written everything it had. Returns whether no response is partly sent.
    pub(super) fn on_flushed(&self) -> bool {
        let mut state = self.lock();
        if state.in_flight.as_ref().is_some_and(|in_flight| !in_flight.body_passed) {
            return false;
        }
        let completed = state.in_flight.take();
        if completed.is_some() {
            let since = Instant::now();
            state.phase = if state.scanner.inside_head() {
                ConnectionPhase::Receiving { since }
            } else {
                ConnectionPhase::Idle { since }
            };
        }
        drop(state);
        self.report(completed.as_ref());
        true
    }

    /// Returns the awaited input and its deadline; `None` while responding.
    pub(super) fn read_deadline(&self) -> Option<(ReadWait, Instant)> {
        match self.lock().phase {
            ConnectionPhase::Receiving { since } => {
                Some((ReadWait::Request, since + self.limits.header_timeout))
            }
            ConnectionPhase::Responding => None,
            ConnectionPhase::Idle { since } => {
                Some((ReadWait::NextRequest, since + self.limits.idle_timeout))
            }
        }
    }

    /// Whether no byte has arrived yet.
    pub(super) fn is_untouched(&self) -> bool {
        let state = self.lock();
        state.heads == 0 && !state.scanner.inside_head()
    }

    /// Returns the eviction priority. `None` if the connection must not be closed because it is responding, is new, or
    /// had its last response so recently that its client probably keeps it.
    pub(super) fn eviction_priority(&self, now: Instant) -> Option<EvictionPriority> {
        let state = self.lock();
        let has_sent_request = state.heads > 0;
        let (ConnectionPhase::Receiving { since } | ConnectionPhase::Idle { since }) = state.phase else {
            return None;
        };
        let grace = if has_sent_request { self.limits.header_timeout } else { NEW_CONNECTION_GRACE };
        let is_evictable = now.duration_since(since) >= grace;
        is_evictable.then_some(EvictionPriority { has_sent_request, waiting_since: since })
    }

    fn report(&self, completed: Option<&InFlightResponse>) {
        if let Some(InFlightResponse { path, code, started, .. }) = completed {
            self.observer.request_completed(path, *code, started.elapsed());
        }
    }
}

impl Drop for ConnectionProgress {
    /// Reports a response that could not be sent completely.
    fn drop(&mut self) {
        let in_flight = self.lock().in_flight.take();
        self.report(in_flight.as_ref());
    }
}
