//! Takes connections in, and ends them all at the shutdown.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Duration, Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    HttpLimits, HttpObserver, WebApp, WebError, connection, progress::ConnectionProgress, reason,
    registry::ConnectionRegistry, routes::Routes,
};

/// After a failed accept, how long until the next: time for descriptors to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The same, where a connection was cut to free one.
const EVICTION_PAUSE: Duration = Duration::from_millis(5);
/// Failed accepts are logged at most this often.
const ACCEPT_LOG_PAUSE: Duration = Duration::from_secs(10);
/// Connections that are told that there is no place for them, at one time, as a share of those that have one.
/// Others are just closed.
const REFUSALS_SHARE: usize = 16;
/// How long the telling may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// What they are told.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 21\r\n\r\ntoo many connections\n";

struct HttpServer {
    routes: Arc<Routes>,
    observer: Arc<dyn HttpObserver>,
    limits: HttpLimits,
    registry: Arc<ConnectionRegistry>,
    connections: TaskTracker,
    refusals: Arc<Semaphore>,
    /// Ends the taking in.
    shutdown: CancellationToken,
    /// Ends all connections.
    cut: CancellationToken,
}

/// See [`super::serve`].
pub(super) async fn serve(
    listeners: Vec<TcpListener>,
    app: WebApp,
    shutdown: &CancellationToken,
) -> Result<(), WebError> {
    let WebApp { content, observer, lifecycle, explain, health, telemetry_path, limits } = app;
    let routes = Routes::new(content, Arc::clone(&observer), lifecycle, explain, health, telemetry_path);
    let server = Arc::new(HttpServer {
        routes: Arc::new(routes),
        registry: Arc::new(ConnectionRegistry::new(limits.max_connections, Arc::clone(&observer))),
        observer,
        limits,
        connections: TaskTracker::new(),
        refusals: Arc::new(Semaphore::new(limits.max_connections.div_ceil(REFUSALS_SHARE))),
        shutdown: shutdown.child_token(),
        cut: CancellationToken::new(),
    });
    let _cut_when_dropped = server.cut.clone().drop_guard();

    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(Arc::clone(&server).accept(listener));
    }
    let mut outcome = Ok(());
    while let Some(ended) = accepting.join_next().await {
        if ended.is_err() {
            outcome = Err(WebError::AcceptLoopEnded);
            server.shutdown.cancel();
        }
    }

    server.connections.close();
    if timeout(limits.drain_timeout, server.connections.wait()).await.is_err() {
        tracing::warn!(
            connections = server.connections.len(),
            "cutting connections that did not end within the drain time"
        );
        server.cut.cancel();
        server.connections.wait().await;
    }
    outcome
}

impl HttpServer {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut last_logged = None;
        let mut failures = 0_u64;
        loop {
            let accepted = select! {
                biased;
                () = self.shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                // The client's doing, not ours.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.observer.rejected(reason::ACCEPT);
                    failures += 1;
                    if last_logged.is_none_or(|at: Instant| at.elapsed() >= ACCEPT_LOG_PAUSE) {
                        tracing::warn!(%error, failures, "cannot accept a connection: raise the limit of open files");
                        last_logged = Some(Instant::now());
                        failures = 0;
                    }
                    let pause = if self.registry.evict() { EVICTION_PAUSE } else { ACCEPT_PAUSE };
                    select! {
                        () = self.shutdown.cancelled() => break,
                        () = sleep(pause) => {}
                    }
                }
            }
        }
        // Those that have connected before the shutdown, by their own view, are served. New ones cannot
        // prolong this.
        for _ in 0..self.limits.max_connections {
            select! {
                biased;
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream),
                    Err(_) => break,
                },
                () = std::future::ready(()) => break,
            }
        }
    }

    /// Gives a new connection a task and a place, or the refusal.
    fn admit(&self, stream: TcpStream) {
        // Answers are written whole; waiting for more to send only delays them. Where it cannot be set,
        // the connection is broken, and its task will see that.
        _ = stream.set_nodelay(true);
        let progress = Arc::new(ConnectionProgress::new(
            self.limits,
            Arc::clone(&self.observer),
            self.cut.child_token(),
        ));
        let Some(place) = self.registry.admit(Arc::clone(&progress)) else {
            self.observer.rejected(reason::LIMIT);
            if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
                self.connections.spawn(refuse(stream, permit));
            }
            return;
        };
        let (routes, observer) = (Arc::clone(&self.routes), Arc::clone(&self.observer));
        let (limits, shutdown) = (self.limits, self.shutdown.clone());
        self.connections.spawn(async move {
            connection::run(stream, progress, routes, observer, limits, shutdown).await;
            drop(place);
        });
    }
}

/// Says that there is no place, and waits a moment for the client to have read it.
async fn refuse(mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let tell = async {
        stream.write_all(REFUSAL).await?;
        stream.shutdown().await?;
        let mut unwanted = [0; 1024];
        while stream.read(&mut unwanted).await? > 0 {}
        io::Result::Ok(())
    };
    // The outcome is the client's own affair.
    _ = timeout(REFUSAL_TIMEOUT, tell).await;
    drop(permit);
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
