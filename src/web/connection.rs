//! One connection from its first byte to its last, over any byte stream: TLS goes between the accept and
//! here.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    pin, select,
    time::{Duration, Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    HttpObserver, Limits,
    answer::Answer,
    paced::Paced,
    progress::Progress,
    reason,
    routes::{self, Routes},
};

/// hyper's buffer for one connection, where heads are not allowed to be larger.
const BUFFER_BYTES: usize = 64 * 1024;

/// After the begin of the shutdown, how long a new connection is given for the request that may be in the
/// air: to its client, it has connected before.
const NEWCOMER: Duration = Duration::from_millis(100);

/// Serves one connection until it ends, is cut, or the server shuts down.
pub(super) async fn run<IO>(
    io: IO,
    progress: Arc<Progress>,
    routes: Arc<Routes>,
    observer: Arc<dyn HttpObserver>,
    limits: Limits,
    shutdown: CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let io = TokioIo::new(Paced::new(io, Arc::clone(&progress), Arc::clone(&observer), limits));
    let service =
        service_fn(|request| answer(request, Arc::clone(&progress), &routes, limits.max_body_bytes));
    let http = http1::Builder::new()
        // A client may end its side after the request and still wants the answer.
        .half_close(true)
        .header_read_timeout(None)
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_head_bytes)
        .max_buf_size(limits.max_head_bytes.max(BUFFER_BYTES))
        .serve_connection(io, service);
    pin!(http);

    let serve = async {
        select! {
            biased;
            ended = &mut http => return ended,
            () = shutdown.cancelled() => {}
        }
        if progress.is_untouched() {
            select! {
                biased;
                ended = &mut http => return ended,
                () = sleep(NEWCOMER) => {}
            }
        }
        http.as_mut().graceful_shutdown();
        http.await
    };
    let ended = select! {
        biased;
        () = progress.cut.cancelled() => return,
        ended = serve => ended,
    };
    let Err(error) = ended else { return };
    if error.is_parse_too_large() {
        observer.rejected(reason::HEAD_TOO_LARGE);
    } else if error.is_parse() {
        observer.rejected(reason::BAD_REQUEST);
    }
    tracing::debug!(%error, "connection ended early");
}

/// Answers one request.
///
/// # Errors
/// The client was gone, or too slow, before its request was complete.
async fn answer(
    request: Request<Incoming>,
    progress: Arc<Progress>,
    routes: &Routes,
    max_body: u64,
) -> Result<Response<Answer>, hyper::Error> {
    let begun = Instant::now();
    let unambiguous = progress.take_head();
    let (head, body) = request.into_parts();
    let has_body = !body.is_end_stream();

    let reply = if !unambiguous {
        routes.refuse(routes::Refusal::BadRequest)
    } else if has_body && is_larger(body, max_body).await? {
        routes.refuse(routes::Refusal::BodyTooLarge)
    } else {
        routes.reply(&head)
    };
    if !unambiguous || reply.response.status() == hyper::StatusCode::PAYLOAD_TOO_LARGE {
        progress.refuse_bytes();
    }
    progress.begin_answer(reply.path, reply.response.status().as_u16(), begun);
    let mut response = reply.response.map(|page| Answer::new(page, Arc::clone(&progress)));
    if has_body || !unambiguous {
        // Where a body ends is the one thing that two readers of the same bytes may see differently.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Reads a body and throws it away, unless it is larger than `max`. The request's deadline stands behind
/// it.
async fn is_larger(mut body: Incoming, max: u64) -> Result<bool, hyper::Error> {
    let mut read = 0;
    if body.size_hint().lower() > max {
        return Ok(true);
    }
    while let Some(frame) = body.frame().await {
        read += frame?.data_ref().map_or(0, |data| data.len() as u64);
        if read > max {
            return Ok(true);
        }
    }
    Ok(false)
}
