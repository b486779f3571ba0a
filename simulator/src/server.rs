//! Sockets: the door that a service listens at, one task a connection, and how replies go out, well or badly.

use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt, Limited};
use hyper::{Request, Response, body::Incoming, http::response, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::{
    body::{Delivery, ScriptedBody},
    management_api::ServedResponse,
    request::ApiCall,
    response::ApiResponse,
};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Longest request body that is read.
const BODY_LIMIT: usize = 1 << 20;

/// An answer that is being made.
pub(crate) type ResponseFuture<'a> = Pin<Box<dyn Future<Output = ApiResponse> + Send + 'a>>;

/// What is behind a door.
pub(crate) trait RequestHandler: Send + Sync {
    /// Answers a request.
    fn answer<'a>(&'a self, call: &'a ApiCall) -> ResponseFuture<'a>;

    /// After this idle time a connection is closed. CallSummary when one is accepted.
    fn close_idle_after(&self) -> Option<Duration> {
        None
    }

    /// ResponseTruth when the last byte of an answer is out.
    fn remember(&self, _: ServedResponse) {}
}

/// An address with a service behind it, which can be closed and opened again. While it is closed, connections
/// to it are refused. Dropping it closes it, without waiting.
pub(crate) struct ServiceListener {
    addr: SocketAddr,
    /// Bound but not listening: keeps the port ours while the door is closed.
    _held: TcpSocket,
    open: Option<(watch::Sender<bool>, JoinHandle<()>)>,
    site: Arc<dyn RequestHandler>,
}

impl ServiceListener {
    /// Opens at an address.
    pub(crate) fn open_at(addr: SocketAddr, site: Arc<dyn RequestHandler>) -> io::Result<Self> {
        let held = bound(addr)?;
        let addr = held.local_addr()?;
        let mut door = Self { addr, _held: held, open: None, site };
        door.open()?;
        Ok(door)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Opens, if it is closed.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        if self.open.is_none() {
            let listener = bound(self.addr)?.listen(BACKLOG)?;
            let (stop, stopped) = watch::channel(false);
            let accepting = tokio::spawn(accept(listener, Arc::clone(&self.site), stopped));
            self.open = Some((stop, accepting));
        }
        Ok(())
    }

    /// Stops accepting, drops all connections, and waits until they are gone.
    pub(crate) async fn close(&mut self) {
        if let Some((stop, accepting)) = self.open.take() {
            // Fails only if the accept loop has ended already.
            let _ = stop.send(true);
            let _ = accepting.await;
        }
    }
}

/// A socket at an address that another socket may have too, as long as only one of them listens.
fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// Accepts until told to stop, then drops all connections.
async fn accept(listener: TcpListener, site: Arc<dyn RequestHandler>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&site)));
                }
                // Out of descriptors, or the peer has gone: neither ends the service.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, site: Arc<dyn RequestHandler>) {
    // Answers are small and one at a time: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(ResettableStream { stream, reset: Arc::clone(&reset) });
    let idle = site.close_idle_after();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle).auto_date_header(false);
    let answer = service_fn(move |request| handle(request, Arc::clone(&site), Arc::clone(&reset)));
    // However it ended, the peer knows more of it than we could say.
    let _ = http.serve_connection(io, answer).await;
}

/// The connection is to end without an answer.
#[derive(Debug)]
struct NoResponse;

impl fmt::Display for NoResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fault: no answer")
    }
}

impl Error for NoResponse {}

async fn handle(
    request: Request<Incoming>,
    site: Arc<dyn RequestHandler>,
    reset: Arc<AtomicBool>,
) -> Result<Response<ScriptedBody>, NoResponse> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes().to_vec(),
        Err(_) => return Ok(plain(ApiResponse::json(413, Vec::new(), "RequestTooLarge"))),
    };
    let call = ApiCall::new(&parts, body);
    let reply = site.answer(&call).await;
    match reply.delivery {
        // Dropped when the peer goes away, or at shutdown.
        Delivery::HangFirst => std::future::pending::<()>().await,
        Delivery::CloseFirst => return Err(NoResponse),
        Delivery::ResetFirst => {
            reset.store(true, Ordering::Relaxed);
            return Err(NoResponse);
        }
        _ => {}
    }
    respond(reply, &site, &reset).ok_or(NoResponse)
}

fn respond(
    mut reply: ApiResponse,
    site: &Arc<dyn RequestHandler>,
    reset: &Arc<AtomicBool>,
) -> Option<Response<ScriptedBody>> {
    let at_end = reply.told.take().map(|told| {
        let site = Arc::clone(site);
        Box::new(move || site.remember(told)) as Box<dyn FnOnce() + Send>
    });
    let body = reply.delivery.body(std::mem::take(&mut reply.body), at_end, reset)?;
    head(&reply).body(body).ok()
}

fn plain(mut reply: ApiResponse) -> Response<ScriptedBody> {
    let body = std::mem::take(&mut reply.body);
    head(&reply)
        .body(ScriptedBody::whole(body, None))
        .unwrap_or_else(|_| Response::new(ScriptedBody::whole(Vec::new(), None)))
}

fn head(reply: &ApiResponse) -> response::Builder {
    let head = Response::builder().status(reply.status);
    reply.headers.iter().fold(head, |head, (name, value)| head.header(*name, value))
}

/// A stream that can end with a reset instead of a close.
struct ResettableStream {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for ResettableStream {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for ResettableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for ResettableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
