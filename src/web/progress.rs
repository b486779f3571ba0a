//! How far one connection has come: waiting for a request, answering, or resting between two.
//!
//! Shared by the task of the connection, which alone moves it, and the registry, which reads it to choose
//! whom to evict. The lock is held for a few instructions and never across an await.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{HttpLimits, HttpObserver, framing::HeadScanner};

/// The progress of one connection.
pub(super) struct ConnectionProgress {
    state: Mutex<ProgressState>,
    /// Cuts the connection at once.
    pub(super) cut: CancellationToken,
    limits: HttpLimits,
    observer: Arc<dyn HttpObserver>,
}

struct ProgressState {
    phase: ConnectionPhase,
    framing: HeadScanner,
    /// Requests whose heads have been taken.
    heads: u64,
    /// Whether bytes will come that nobody wants: the rest of a refused request.
    refuses_bytes: bool,
    answering: Option<InFlightResponse>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionPhase {
    /// No complete request since then.
    Requesting { since: Instant },
    /// A request is being answered.
    Responding,
    /// Answered, and no byte of a further request since then.
    Resting { since: Instant },
}

/// The answer that is being sent.
struct InFlightResponse {
    path: &'static str,
    code: u16,
    begun: Instant,
    /// Whether all of it has been given to hyper.
    body_ended: bool,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadWait {
    /// For the rest of a request, or for its first byte on a new connection.
    Request,
    /// For the first byte of a further request.
    NextRequest,
}

/// How readily a connection is given up for a new one; the least is given up first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EvictionPriority {
    has_been_served: bool,
    waits_since: Instant,
}

/// A connection younger than this may have its request in the air.
const NEWCOMER: Duration = Duration::from_millis(100);

impl ConnectionProgress {
    pub(super) fn new(limits: HttpLimits, observer: Arc<dyn HttpObserver>, cut: CancellationToken) -> Self {
        let state = ProgressState {
            phase: ConnectionPhase::Requesting { since: Instant::now() },
            framing: HeadScanner::default(),
            heads: 0,
            refuses_bytes: false,
            answering: None,
        };
        Self { state: Mutex::new(state), cut, limits, observer }
    }

    fn state(&self) -> MutexGuard<'_, ProgressState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes have been read.
    pub(super) fn received(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.framing.scan(bytes);
        if matches!(state.phase, ConnectionPhase::Resting { .. }) && !bytes.is_empty() {
            state.phase = ConnectionPhase::Requesting { since: Instant::now() };
        }
    }

    /// Takes a complete head; `false` if it is ambiguous where it or its body ends.
    pub(super) fn take_head(&self) -> bool {
        let mut state = self.state();
        let nth = state.heads;
        state.heads += 1;
        !state.framing.is_ambiguous(nth)
    }

    /// The rest of the request is not wanted.
    pub(super) fn refuse_bytes(&self) {
        self.state().refuses_bytes = true;
    }

    /// Whether the rest of a request is not wanted.
    pub(super) fn refuses_bytes(&self) -> bool {
        self.state().refuses_bytes
    }

    /// The request has arrived; its answer begins.
    pub(super) fn begin_answer(&self, path: &'static str, code: u16, begun: Instant) {
        let mut state = self.state();
        // hyper takes no further request before the answer to this one has been handed over.
        state.answering = Some(InFlightResponse { path, code, begun, body_ended: false });
        state.phase = ConnectionPhase::Responding;
    }

    /// hyper has the whole answer.
    pub(super) fn body_ended(&self) {
        if let Some(answering) = &mut self.state().answering {
            answering.body_ended = true;
        }
    }

    /// All that hyper had to send has been handed over. Returns whether no answer is left half sent.
    pub(super) fn flushed(&self) -> bool {
        let mut state = self.state();
        if state.answering.as_ref().is_some_and(|answering| !answering.body_ended) {
            return false;
        }
        let ended = state.answering.take();
        if ended.is_some() {
            let since = Instant::now();
            let next_begun = state.framing.inside_head();
            state.phase = if next_begun {
                ConnectionPhase::Requesting { since }
            } else {
                ConnectionPhase::Resting { since }
            };
        }
        drop(state);
        self.report(ended.as_ref());
        true
    }

    /// What is waited for; `None` while an answer is being sent.
    pub(super) fn waiting(&self) -> Option<(ReadWait, Instant)> {
        match self.state().phase {
            ConnectionPhase::Requesting { since } => {
                Some((ReadWait::Request, since + self.limits.header_timeout))
            }
            ConnectionPhase::Responding => None,
            ConnectionPhase::Resting { since } => {
                Some((ReadWait::NextRequest, since + self.limits.idle_timeout))
            }
        }
    }

    /// Whether no byte has arrived yet.
    pub(super) fn is_untouched(&self) -> bool {
        let state = self.state();
        state.heads == 0 && !state.framing.inside_head()
    }

    /// The claim to its place, or `None` for a connection that must not be given up: it is being answered,
    /// is too young, or is a client's that was served and will soon ask again.
    pub(super) fn claim(&self, now: Instant) -> Option<EvictionPriority> {
        let state = self.state();
        let has_been_served = state.heads > 0;
        let (ConnectionPhase::Requesting { since: waits_since }
        | ConnectionPhase::Resting { since: waits_since }) = state.phase
        else {
            return None;
        };
        let kept_for = if has_been_served { self.limits.header_timeout } else { NEWCOMER };
        (now.duration_since(waits_since) >= kept_for)
            .then_some(EvictionPriority { has_been_served, waits_since })
    }

    fn report(&self, ended: Option<&InFlightResponse>) {
        if let Some(InFlightResponse { path, code, begun, .. }) = ended {
            self.observer.request_completed(path, *code, begun.elapsed());
        }
    }
}

impl Drop for ConnectionProgress {
    /// An answer that could not be sent to its end is reported too.
    fn drop(&mut self) {
        let unsent = self.state().answering.take();
        self.report(unsent.as_ref());
    }
}
