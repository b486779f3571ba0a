//! One connection from its first byte to its last, over any byte stream.

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
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection_progress::{ConnectionProgress, NEW_CONNECTION_GRACE},
    deadline_stream::DeadlineStream,
    reason,
    response_body::ResponseBody,
    routes::{RequestRejection, Routes},
};

/// Buffer of hyper for one connection in bytes, unless heads may be larger.
const BUFFER_BYTES: usize = 64 * 1024;

/// Serves one connection until it ends, is closed, or the server shuts down.
pub(super) async fn run<IO>(
    io: IO,
    progress: Arc<ConnectionProgress>,
    routes: Arc<Routes>,
    shutdown: CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let limits = progress.limits;
    let io = TokioIo::new(DeadlineStream::new(io, Arc::clone(&progress)));
    let service = service_fn(|request| respond(request, Arc::clone(&progress), &routes));
    let http = http1::Builder::new()
        // A client may close its side after the request and still expects the response.
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
                () = sleep(NEW_CONNECTION_GRACE) => {}
            }
        }
        http.as_mut().graceful_shutdown();
        http.await
    };
    let ended = select! {
        biased;
        () = progress.close_now.cancelled() => return,
        ended = serve => ended,
    };
    let Err(error) = ended else { return };
    if error.is_parse_too_large() {
        progress.observer.rejected(reason::HEAD_TOO_LARGE);
    } else if error.is_parse() {
        progress.observer.rejected(reason::BAD_REQUEST);
    }
    tracing::debug!(%error, "connection failed");
}

/// Responds to one request.
///
/// # Errors
/// The client disconnected or was too slow before its request was complete.
async fn respond(
    request: Request<Incoming>,
    progress: Arc<ConnectionProgress>,
    routes: &Routes,
) -> Result<Response<ResponseBody>, hyper::Error> {
    let started = Instant::now();
    let is_ambiguous = !progress.on_head();
    let (head, body) = request.into_parts();
    let has_body = !body.is_end_stream();

    let rejection = if is_ambiguous {
        Some(RequestRejection::BadRequest)
    } else if has_body && exceeds(body, progress.limits.max_body_bytes).await? {
        Some(RequestRejection::BodyTooLarge)
    } else {
        None
    };
    let routed = match rejection {
        Some(rejection) => {
            progress.ignore_input();
            routes.reject(rejection)
        }
        None => routes.respond(&head).await,
    };
    progress.on_response(routed.path, routed.response.status().as_u16(), started);
    let mut response = routed.response.map(|content| ResponseBody::new(content, Arc::clone(&progress)));
    if has_body || is_ambiguous {
        // A proxy may see another end of the body, so the connection must not carry a further request.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Reads and discards a body. Returns whether it is larger than `max` bytes. The deadline of the request applies.
async fn exceeds(mut body: Incoming, max: u64) -> Result<bool, hyper::Error> {
    if body.size_hint().lower() > max {
        return Ok(true);
    }
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        received += frame?.data_ref().map_or(0, |data| data.len() as u64);
        if received > max {
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
        time::Duration,
    };

    use super::*;
    use crate::{
        health::Health,
        web::{ContentSource, HttpLimits, HttpObserver, ReloadHandler, ResponseContent, StatusPage, WebApp},
    };

    const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n";

    struct OneMebibyte;

    impl ContentSource for OneMebibyte {
        fn metrics(&self, _: bool) -> ResponseContent {
            ResponseContent::plain([Bytes::from_static(&[b'x'; 1024 * 1024])])
        }

        fn status_page(&self) -> StatusPage {
            StatusPage::default()
        }
    }

    /// Reloads take a minute.
    struct SlowReload;

    impl ReloadHandler for SlowReload {
        fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
            Box::pin(async {
                sleep(Duration::from_secs(60)).await;
                Ok(())
            })
        }
    }

    #[derive(Default)]
    struct RejectionLog(Mutex<Vec<&'static str>>);

    impl HttpObserver for RejectionLog {
        fn request_completed(&self, _: &'static str, _: u16, _: Duration) {}

        fn rejected(&self, reason: &'static str) {
            self.0.lock().unwrap().push(reason);
        }

        fn open_connections_changed(&self, _: usize) {}
    }

    /// Connection with the default limits over a pipe of 4 KiB.
    struct TestConnection {
        client: DuplexStream,
        serving: JoinHandle<()>,
        rejected: Arc<RejectionLog>,
    }

    fn connect() -> TestConnection {
        let (client, server) = duplex(4096);
        let rejected = Arc::new(RejectionLog::default());
        let observer = Arc::clone(&rejected) as Arc<dyn HttpObserver>;
        let limits = HttpLimits::default();
        let progress = ConnectionProgress::new(limits, Arc::clone(&observer), CancellationToken::new());
        let app = WebApp {
            content: Arc::new(OneMebibyte),
            observer,
            reload_handler: Some(Arc::new(SlowReload)),
            explainer: None,
            health: Health::default(),
            telemetry_path: "/metrics".to_owned(),
            limits,
        };
        let routes = Arc::new(Routes::new(app));
        let serving = tokio::spawn(run(server, Arc::new(progress), routes, CancellationToken::new()));
        TestConnection { client, serving, rejected }
    }

    impl TestConnection {
        /// Reads one complete response.
        async fn read_response(&mut self) {
            let (mut read, mut head) = (Vec::new(), None);
            while head.is_none_or(|head| read.len() < head + 1024 * 1024) {
                assert!(self.client.read_buf(&mut read).await.unwrap() > 0);
                head = head.or_else(|| read.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4));
            }
        }

        /// Waits for the end of the connection. Returns the seconds until then and the reported rejections.
        async fn ended(self) -> (u64, Vec<&'static str>) {
            let started = Instant::now();
            self.serving.await.unwrap();
            let rejected = self.rejected.0.lock().unwrap().clone();
            (started.elapsed().as_secs(), rejected)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_disconnected_after_ten_seconds() {
        assert_eq!(connect().ended().await, (10, vec![reason::HEADER_TIMEOUT]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_head_must_arrive_within_ten_seconds() {
        let mut connection = connect();
        sleep(Duration::from_secs(7)).await;
        connection.client.write_all(b"GET /").await.unwrap();
        assert_eq!(connection.ended().await, (3, vec![reason::HEADER_TIMEOUT]));

        let mut connection = connect();
        connection.client.write_all(GET).await.unwrap();
        connection.read_response().await;
        sleep(Duration::from_secs(70)).await;
        connection.client.write_all(b"GET /").await.unwrap();
        assert_eq!(connection.ended().await, (10, vec![reason::HEADER_TIMEOUT]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_scrape_interval_of_a_minute_keeps_the_connection() {
        let mut connection = connect();
        for _ in 0..100 {
            connection.client.write_all(GET).await.unwrap();
            connection.read_response().await;
            sleep(Duration::from_secs(60)).await;
        }
        assert_eq!(connection.ended().await, (15, vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_must_be_read_within_a_minute() {
        let mut connection = connect();
        connection.client.write_all(GET).await.unwrap();
        assert_eq!(connection.ended().await, (60, vec![reason::WRITE_TIMEOUT]));

        let mut connection = connect();
        connection.client.write_all(GET).await.unwrap();
        let started = Instant::now();
        let mut buffer = [0; 4096];
        while !connection.serving.is_finished() {
            sleep(Duration::from_secs(1)).await;
            _ = connection.client.read(&mut buffer).await;
        }
        assert!((60..=61).contains(&started.elapsed().as_secs()));
        assert_eq!(connection.ended().await, (0, vec![reason::WRITE_TIMEOUT]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_handler_has_no_deadline() {
        let mut connection = connect();
        connection.client.write_all(b"POST /-/reload HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\nreloaded\n") {
            assert!(connection.client.read_buf(&mut response).await.unwrap() > 0);
        }
        assert_eq!(connection.ended().await, (75, vec![]), "idle like after any other response");
    }

    #[tokio::test(start_paused = true)]
    async fn the_idle_timeout_applies_after_a_slowly_read_response() {
        let mut connection = connect();
        connection.client.write_all(GET).await.unwrap();
        sleep(Duration::from_secs(50)).await;
        connection.read_response().await;
        let mut buffer = [0; 16];
        let started = Instant::now();
        assert_eq!(connection.client.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(started.elapsed().as_secs(), 75);
        assert_eq!(connection.ended().await, (0, vec![]));
    }
}
