//! Accepts connections, and ends them all at the shutdown.

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
    HttpLimits, HttpObserver, WebApp, WebError, connection, connection_progress::ConnectionProgress, reason,
    registry::ConnectionRegistry, routes::Routes,
};

/// Pause after a failed accept, in which file descriptors may become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Pause after a failed accept if a connection was closed to free a file descriptor.
const EVICTION_PAUSE: Duration = Duration::from_millis(5);
/// Minimum interval between log lines about failed accepts.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// At the connection limit, this share (1/n) of the limit may receive a 503 response at the same time; further
/// connections are just closed.
const LIMIT_RESPONSES_SHARE: usize = 16;
/// Time for a client to read that response.
const LIMIT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Response at the connection limit.
const LIMIT_RESPONSE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 21\r\n\r\ntoo many connections\n";

struct HttpServer {
    routes: Arc<Routes>,
    observer: Arc<dyn HttpObserver>,
    limits: HttpLimits,
    registry: Arc<ConnectionRegistry>,
    connections: TaskTracker,
    limit_responses: Arc<Semaphore>,
    /// Stops accepting.
    shutdown: CancellationToken,
    /// Closes all connections.
    close_now: CancellationToken,
}

/// Implements [`super::serve`].
pub(super) async fn serve(
    listeners: Vec<TcpListener>,
    app: WebApp,
    shutdown: &CancellationToken,
) -> Result<(), WebError> {
    let (observer, limits) = (Arc::clone(&app.observer), app.limits);
    let server = Arc::new(HttpServer {
        routes: Arc::new(Routes::new(app)),
        registry: Arc::new(ConnectionRegistry::new(limits.max_connections, Arc::clone(&observer))),
        observer,
        limits,
        connections: TaskTracker::new(),
        limit_responses: Arc::new(Semaphore::new(limits.max_connections.div_ceil(LIMIT_RESPONSES_SHARE))),
        shutdown: shutdown.child_token(),
        close_now: CancellationToken::new(),
    });
    let _close_when_dropped = server.close_now.clone().drop_guard();

    let mut accept_loops = JoinSet::new();
    for listener in listeners {
        accept_loops.spawn(Arc::clone(&server).accept(listener));
    }
    let mut result = Ok(());
    while let Some(ended) = accept_loops.join_next().await {
        if ended.is_err() {
            result = Err(WebError::AcceptLoopEnded);
            server.shutdown.cancel();
        }
    }

    server.connections.close();
    if timeout(limits.drain_timeout, server.connections.wait()).await.is_err() {
        tracing::warn!(
            connections = server.connections.len(),
            "closing connections that did not end within the drain timeout"
        );
        server.close_now.cancel();
        server.connections.wait().await;
    }
    result
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
                // Caused by the client.
                Err(error) if is_single_connection_error(&error) => {}
                Err(error) => {
                    self.observer.rejected(reason::ACCEPT);
                    failures += 1;
                    if last_logged.is_none_or(|at: Instant| at.elapsed() >= ACCEPT_LOG_INTERVAL) {
                        let advice = "raise the limit of open files";
                        tracing::warn!(%error, failures, advice, "cannot accept connections");
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
        // Serve clients that connected before the shutdown. The bound keeps new clients from prolonging it.
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

    /// Serves a new connection, or responds with 503 at the limit.
    fn admit(&self, stream: TcpStream) {
        // Responses are written completely, so waiting for more output only delays them. If this fails, the connection is
        // broken, which its task will notice.
        _ = stream.set_nodelay(true);
        let progress = Arc::new(ConnectionProgress::new(
            self.limits,
            Arc::clone(&self.observer),
            self.close_now.child_token(),
        ));
        let Some(slot) = self.registry.register(Arc::clone(&progress)) else {
            self.observer.rejected(reason::LIMIT);
            if let Ok(permit) = Arc::clone(&self.limit_responses).try_acquire_owned() {
                self.connections.spawn(send_limit_response(stream, permit));
            }
            return;
        };
        let (routes, shutdown) = (Arc::clone(&self.routes), self.shutdown.clone());
        self.connections.spawn(async move {
            connection::run(stream, progress, routes, shutdown).await;
            drop(slot);
        });
    }
}

/// Responds with 503 and gives the client a moment to read it.
async fn send_limit_response(mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let send = async {
        stream.write_all(LIMIT_RESPONSE).await?;
        stream.shutdown().await?;
        let mut ignored = [0; 1024];
        while stream.read(&mut ignored).await? > 0 {}
        io::Result::Ok(())
    };
    // The connection is closed in any case.
    _ = timeout(LIMIT_RESPONSE_TIMEOUT, send).await;
    drop(permit);
}

fn is_single_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
