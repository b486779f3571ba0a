//! Shutdown: no new and no idle connections, and responses in progress are completed.

use super::*;

impl Server {
    /// Shuts the server down. Returns the time that it took.
    async fn stop(self) -> Duration {
        let begun = Instant::now();
        self.shutdown.cancel();
        timeout(PATIENCE, self.serving).await.expect("still serving").unwrap().unwrap();
        begun.elapsed()
    }
}

#[tokio::test]
async fn an_idle_server_ends_at_once() {
    let server = Server::start(HttpLimits::default()).await;
    assert!(server.stop().await < Duration::from_secs(1));
}

#[tokio::test]
async fn idle_connections_are_closed_and_new_ones_rejected() {
    let server = Server::start(HttpLimits::default()).await;
    let address = server.address;
    let mut kept = Vec::new();
    for _ in 0..50 {
        let mut client = server.connect().await;
        assert_eq!(client.get("/metrics").await.status, 200);
        kept.push(client);
    }
    let took = server.stop().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    for client in &mut kept {
        client.wait_for_close().await;
    }
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_scrape_in_flight_completes() {
    let server = Server::with_large_content(HttpLimits::default(), 400).await;
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(client.receive().await);
    let stopping = tokio::spawn(server.stop());
    sleep(Duration::from_millis(300)).await;
    assert!(!stopping.is_finished());
    assert_eq!(client.response().await.body.len(), 400 * 65_536);
    assert_eq!(client.read_to_end().await, b"");
    assert!(stopping.await.unwrap() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_request_sent_just_before_the_shutdown_gets_a_response() {
    for _ in 0..20 {
        let server = Server::start(HttpLimits::default()).await;
        let mut client = server.connect().await;
        server.until_open(1).await;
        client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        server.shutdown.cancel();
        assert_eq!(client.response().await.status, 200);
        assert_eq!(client.read_to_end().await, b"");
        drop(client);
        assert!(server.stop().await < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn connections_that_exceed_the_drain_timeout_are_closed() {
    let limits = HttpLimits { drain_timeout: Duration::from_millis(400), ..HttpLimits::default() };
    let server = Server::with_large_content(limits, 400).await;
    let mut busy = Vec::new();
    for request in ["GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n", "GET /metr", ""].repeat(10) {
        let mut client = server.connect().await;
        client.send(request).await;
        busy.push(client);
    }
    server.until_open(30).await;
    let counts = Arc::clone(&server.counts);
    let took = server.stop().await;
    assert!(took >= limits.drain_timeout && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(*counts.open.lock().unwrap(), 0);
}

#[tokio::test]
async fn dropping_the_server_closes_all_connections() {
    let server = Server::start(HttpLimits::default()).await;
    let mut kept = server.connect().await;
    assert_eq!(kept.get("/metrics").await.status, 200);
    server.serving.abort();
    assert!(kept.wait_for_close().await < Duration::from_secs(2));
}

#[tokio::test]
async fn nothing_to_listen_on_is_an_error() {
    let server = Server::start(HttpLimits::default()).await;
    let app = |telemetry_path: &str| WebApp {
        content: Arc::new(FixedContent { segments: Arc::default(), status_page: StatusPage::default() }),
        observer: Arc::clone(&server.counts) as Arc<dyn HttpObserver>,
        reload_handler: None,
        explainer: None,
        health: Health::default(),
        telemetry_path: telemetry_path.to_owned(),
        limits: HttpLimits::default(),
    };
    let error = web::serve(vec![], app("/metrics"), CancellationToken::new()).await.unwrap_err();
    assert_eq!(error, web::WebError::NoListener);
    let error = web::serve(vec![], app("metrics"), CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "web.telemetry-path \"metrics\" must begin with '/'");
}
