//! HTTP listeners: one task per connection, and the delivery of responses with their faults.

use std::{
    error::Error,
    future::{pending, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt, Limited};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::{
    body::{OnComplete, ScriptedBody},
    faults::Effect,
    request::ApiCall,
    response::ApiResponse,
    served::ServedResponse,
};

/// Maximum number of connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Maximum size of a request body, in bytes.
const BODY_LIMIT: usize = 1 << 20;

pub(crate) type ResponseFuture<'a> = Pin<Box<dyn Future<Output = ApiResponse> + Send + 'a>>;

/// A service behind a listener.
pub(crate) trait RequestHandler: Send + Sync {
    fn respond<'a>(&'a self, call: &'a ApiCall) -> ResponseFuture<'a>;

    /// Returns the idle time after which a new connection is closed.
    fn close_idle_after(&self) -> Option<Duration> {
        None
    }

    /// Runs when the last byte of a response is handed to the connection.
    fn record_served(&self, _: ServedResponse) {}
}

/// An address with a service, which can be closed and reopened. While it is closed, connections are refused.
/// Dropping it closes it without waiting.
pub(crate) struct ReopenableListener {
    addr: SocketAddr,
    /// Bound but not listening: reserves the port while the listener is closed.
    _reserved: TcpSocket,
    accept_loop: Option<(watch::Sender<bool>, JoinHandle<()>)>,
    handler: Arc<dyn RequestHandler>,
}

impl ReopenableListener {
    pub(crate) fn bind(addr: SocketAddr, handler: Arc<dyn RequestHandler>) -> io::Result<Self> {
        let reserved = bind_shared(addr)?;
        let addr = reserved.local_addr()?;
        let mut listener = Self { addr, _reserved: reserved, accept_loop: None, handler };
        listener.open()?;
        Ok(listener)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Listens, if it is closed.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        if self.accept_loop.is_none() {
            let listener = bind_shared(self.addr)?.listen(BACKLOG)?;
            let (stop, stopped) = watch::channel(false);
            let accepting = tokio::spawn(accept(listener, Arc::clone(&self.handler), stopped));
            self.accept_loop = Some((stop, accepting));
        }
        Ok(())
    }

    /// Stops accepting, drops all connections, and waits until they are closed.
    pub(crate) async fn close(&mut self) {
        if let Some((stop, accepting)) = self.accept_loop.take() {
            // Fails only if the accept loop has already ended.
            let _ = stop.send(true);
            let _ = accepting.await;
        }
    }
}

/// Binds a socket to an address that several sockets may share, as long as only one of them listens.
fn bind_shared(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// Accepts connections until `stop` changes, then drops all connections.
async fn accept(listener: TcpListener, handler: Arc<dyn RequestHandler>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&handler)));
                }
                // No file descriptors left, or the client has disconnected: not fatal.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, handler: Arc<dyn RequestHandler>) {
    // Responses are small and sent one at a time, so delaying them gains nothing.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(handler.close_idle_after()).auto_date_header(false);
    let respond = service_fn(|request| Box::pin(respond(request, Arc::clone(&handler), Arc::clone(&reset))));
    let mut connection = http.serve_connection(TokioIo::new(stream), respond);
    // The client sees every failure itself.
    let _ = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    if reset.load(Ordering::Relaxed) {
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// Returns the response to a request; an error ends the connection without a response.
async fn respond(
    request: Request<Incoming>,
    handler: Arc<dyn RequestHandler>,
    reset: Arc<AtomicBool>,
) -> Result<Response<ScriptedBody>, Box<dyn Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let mut response = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => handler.respond(&ApiCall::new(&parts, body.to_bytes().to_vec())).await,
        Err(_) => ApiResponse::json(413, Vec::new(), "RequestTooLarge"),
    };
    match response.delivery {
        // Dropped when the client disconnects, or at shutdown.
        Some(Effect::Hang) => pending::<()>().await,
        Some(Effect::Close) => return Err("fault: no response".into()),
        Some(Effect::Reset) => {
            reset.store(true, Ordering::Relaxed);
            return Err("fault: no response".into());
        }
        _ => {}
    }
    let on_complete =
        response.served.take().map(|served| Box::new(move || handler.record_served(served)) as OnComplete);
    let head = Response::builder().status(response.status);
    let head = response.headers.iter().fold(head, |head, (name, value)| head.header(*name, value));
    Ok(head.body(ScriptedBody::new(response.body, response.delivery.as_ref(), on_complete, &reset))?)
}
