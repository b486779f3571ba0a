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
    HttpLimits, HttpObserver,
    deadline_stream::DeadlineStream,
    progress::ConnectionProgress,
    reason,
    response_body::ResponseBody,
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
    progress: Arc<ConnectionProgress>,
    routes: Arc<Routes>,
    observer: Arc<dyn HttpObserver>,
    limits: HttpLimits,
    shutdown: CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let io = TokioIo::new(DeadlineStream::new(io, Arc::clone(&progress), Arc::clone(&observer), limits));
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
    progress: Arc<ConnectionProgress>,
    routes: &Routes,
    max_body: u64,
) -> Result<Response<ResponseBody>, hyper::Error> {
    let begun = Instant::now();
    let unambiguous = progress.take_head();
    let (head, body) = request.into_parts();
    let has_body = !body.is_end_stream();

    let reply = if !unambiguous {
        routes.refuse(routes::RequestRejection::BadRequest)
    } else if has_body && is_larger(body, max_body).await? {
        routes.refuse(routes::RequestRejection::BodyTooLarge)
    } else {
        routes.reply(&head).await
    };
    if !unambiguous || reply.response.status() == hyper::StatusCode::PAYLOAD_TOO_LARGE {
        progress.refuse_bytes();
    }
    progress.begin_answer(reply.path, reply.response.status().as_u16(), begun);
    let mut response = reply.response.map(|page| ResponseBody::new(page, Arc::clone(&progress)));
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

#[cfg(test)]
mod tests {
    use std::{pin::Pin, sync::Mutex};

    use hyper::body::Bytes;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        task::JoinHandle,
    };

    use super::*;
    use crate::{
        health::Health,
        web::{ContentSource, ReloadHandler, ResponseContent, StatusPage},
    };

    const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n";

    struct Mebibyte;

    impl ContentSource for Mebibyte {
        fn metrics(&self, _: bool) -> ResponseContent {
            ResponseContent::plain([Bytes::from_static(&[b'x'; 1024 * 1024])])
        }

        fn status_page(&self) -> StatusPage {
            StatusPage::default()
        }
    }

    /// A reload that takes a minute.
    struct Slow;

    impl ReloadHandler for Slow {
        fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
            Box::pin(async {
                sleep(Duration::from_secs(60)).await;
                Ok(())
            })
        }
    }

    #[derive(Default)]
    struct Rejected(Mutex<Vec<&'static str>>);

    impl HttpObserver for Rejected {
        fn request_completed(&self, _: &'static str, _: u16, _: Duration) {}

        fn rejected(&self, reason: &'static str) {
            self.0.lock().unwrap().push(reason);
        }

        fn open_connections(&self, _: usize) {}
    }

    /// A connection with the default limits, over a pipe of 4 KiB.
    struct Connection {
        client: DuplexStream,
        serving: JoinHandle<()>,
        rejected: Arc<Rejected>,
    }

    fn connect() -> Connection {
        let (client, server) = duplex(4096);
        let rejected = Arc::new(Rejected::default());
        let observer = Arc::clone(&rejected) as Arc<dyn HttpObserver>;
        let limits = HttpLimits::default();
        let progress =
            Arc::new(ConnectionProgress::new(limits, Arc::clone(&observer), CancellationToken::new()));
        let (pages, slow, path) = (Arc::new(Mebibyte), Arc::new(Slow), "/metrics".to_owned());
        let routes = Routes::new(pages, Arc::clone(&observer), Some(slow), None, Health::default(), path);
        let (routes, shutdown) = (Arc::new(routes), CancellationToken::new());
        let serving = tokio::spawn(run(server, progress, routes, observer, limits, shutdown));
        Connection { client, serving, rejected }
    }

    impl Connection {
        /// Reads one whole answer.
        async fn read_answer(&mut self) {
            let (mut read, mut head) = (Vec::new(), None);
            while head.is_none_or(|head| read.len() < head + 1024 * 1024) {
                assert!(self.client.read_buf(&mut read).await.unwrap() > 0);
                head = head.or_else(|| read.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4));
            }
        }

        /// Waits for the end; returns after how many seconds it came, and what was rejected.
        async fn ended(self) -> (u64, Vec<&'static str>) {
            let begun = Instant::now();
            self.serving.await.unwrap();
            let rejected = self.rejected.0.lock().unwrap().clone();
            (begun.elapsed().as_secs(), rejected)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_has_ten_seconds() {
        assert_eq!(connect().ended().await, (10, vec![reason::HEADER_TIMEOUT]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_ten_seconds_from_its_begin() {
        let mut connection = connect();
        sleep(Duration::from_secs(7)).await;
        connection.client.write_all(b"GET /").await.unwrap();
        assert_eq!(connection.ended().await, (3, vec![reason::HEADER_TIMEOUT]));

        let mut connection = connect();
        connection.client.write_all(GET).await.unwrap();
        connection.read_answer().await;
        sleep(Duration::from_secs(70)).await;
        connection.client.write_all(b"GET /").await.unwrap();
        assert_eq!(connection.ended().await, (10, vec![reason::HEADER_TIMEOUT]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_prometheus_that_scrapes_every_minute_keeps_its_connection() {
        let mut connection = connect();
        for _ in 0..100 {
            connection.client.write_all(GET).await.unwrap();
            connection.read_answer().await;
            sleep(Duration::from_secs(60)).await;
        }
        assert_eq!(connection.ended().await, (15, vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_a_minute_however_slowly_it_is_read() {
        let mut connection = connect();
        connection.client.write_all(GET).await.unwrap();
        assert_eq!(connection.ended().await, (60, vec![reason::WRITE_TIMEOUT]));

        let mut connection = connect();
        connection.client.write_all(GET).await.unwrap();
        let begun = Instant::now();
        let mut buffer = [0; 4096];
        while !connection.serving.is_finished() {
            sleep(Duration::from_secs(1)).await;
            _ = connection.client.read(&mut buffer).await;
        }
        assert!((60..=61).contains(&begun.elapsed().as_secs()));
        assert_eq!(connection.ended().await, (0, vec![reason::WRITE_TIMEOUT]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_its_time_is_waited_for() {
        let mut connection = connect();
        connection.client.write_all(b"POST /-/reload HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nreloaded\n") {
            assert!(connection.client.read_buf(&mut answer).await.unwrap() > 0);
        }
        assert_eq!(connection.ended().await, (75, vec![]), "it rests as after any other answer");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_after_a_slowly_read_answer_is_limited_too() {
        let mut connection = connect();
        connection.client.write_all(GET).await.unwrap();
        sleep(Duration::from_secs(50)).await;
        connection.read_answer().await;
        let mut buffer = [0; 16];
        let begun = Instant::now();
        assert_eq!(connection.client.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(begun.elapsed().as_secs(), 75);
        assert_eq!(connection.ended().await, (0, vec![]));
    }
}
