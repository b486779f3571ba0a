//! Sockets: the accept loop, one task a connection, and how replies go out, well or badly.

use std::{
    error::Error,
    fmt, io,
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
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use crate::{
    admin,
    body::{Delivery, SteppedBody},
    request::Call,
    service::{Reply, Service, lock},
};

/// Longest request body that is read.
const BODY_LIMIT: usize = 1 << 20;

/// Accepts until told to stop, then drops all connections.
pub(crate) async fn accept(listener: TcpListener, service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&service)));
                }
                // Out of descriptors, or the peer has gone: neither ends the service.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, service: Arc<Service>) {
    // Answers are small and one at a time: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Socket { stream, reset: Arc::clone(&reset) });
    let idle = lock(&service.behaviour).close_idle_after;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle).auto_date_header(false);
    let answer = service_fn(move |request| handle(request, Arc::clone(&service), Arc::clone(&reset)));
    // However it ended, the peer knows more of it than we could say.
    let _ = http.serve_connection(io, answer).await;
}

/// The connection is to end without an answer.
#[derive(Debug)]
struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fault: no answer")
    }
}

impl Error for NoAnswer {}

async fn handle(
    request: Request<Incoming>,
    service: Arc<Service>,
    reset: Arc<AtomicBool>,
) -> Result<Response<SteppedBody>, NoAnswer> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes().to_vec(),
        Err(_) => return Ok(plain(Reply::json(413, Vec::new(), "RequestTooLarge"))),
    };
    let call = Call::new(&parts, body);
    if let Some(path) = call.path.strip_prefix("/_sim/") {
        return Ok(plain(admin::answer(path, &call, &service)));
    }
    let reply = service.call(&call).await;
    match reply.delivery {
        // Dropped when the peer goes away, or at shutdown.
        Delivery::HangFirst => std::future::pending::<()>().await,
        Delivery::CloseFirst => return Err(NoAnswer),
        Delivery::ResetFirst => {
            reset.store(true, Ordering::Relaxed);
            return Err(NoAnswer);
        }
        _ => {}
    }
    respond(reply, &service, &reset).ok_or(NoAnswer)
}

fn respond(
    mut reply: Reply,
    service: &Arc<Service>,
    reset: &Arc<AtomicBool>,
) -> Option<Response<SteppedBody>> {
    let at_end = reply.told.take().map(|told| {
        let service = Arc::clone(service);
        Box::new(move || service.remember(told)) as Box<dyn FnOnce() + Send>
    });
    let body = reply.delivery.body(std::mem::take(&mut reply.body), at_end, reset)?;
    head(&reply).body(body).ok()
}

fn plain(mut reply: Reply) -> Response<SteppedBody> {
    let body = std::mem::take(&mut reply.body);
    head(&reply)
        .body(SteppedBody::whole(body, None))
        .unwrap_or_else(|_| Response::new(SteppedBody::whole(Vec::new(), None)))
}

fn head(reply: &Reply) -> response::Builder {
    let head = Response::builder().status(reply.status);
    reply.headers.iter().fold(head, |head, (name, value)| head.header(*name, value))
}

/// A stream that can end with a reset instead of a close.
struct Socket {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
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
