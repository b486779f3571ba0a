//! No client uses more than its share of time and space, and other clients are not affected.

use super::*;

/// Checks that a deadline was enforced neither early nor much later.
fn assert_about(took: Duration, limit: Duration) {
    assert!(took >= limit.mul_f64(0.8) && took < limit + Duration::from_secs(2), "{took:?} for {limit:?}");
}

#[tokio::test]
async fn a_silent_client_is_closed_at_the_header_timeout() {
    let server = Server::start(short_limits()).await;
    assert_about(server.connect().await.wait_for_close().await, short_limits().header_timeout);
    assert_eq!(server.rejected(web::reason::HEADER_TIMEOUT), 1);
    server.until_open(0).await;
}

#[tokio::test]
async fn half_a_head_is_closed_at_the_header_timeout() {
    let server = Server::start(short_limits()).await;
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nhost").await;
    assert_about(client.wait_for_close().await, short_limits().header_timeout);
    assert_eq!(server.rejected(web::reason::HEADER_TIMEOUT), 1);
}

/// Sends a byte every 20 ms until the server closes the connection. Returns the time until then.
async fn drip(client: &mut Connection) -> Duration {
    let begun = Instant::now();
    let dripping = async {
        while client
            .stream
            .try_read(&mut [0; 64])
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
            && client.stream.write_all(b"x").await.is_ok()
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, dripping).await.expect("dripping goes on");
    begun.elapsed()
}

#[tokio::test]
async fn a_slow_head_does_not_extend_the_deadline() {
    let server = Server::start(short_limits()).await;
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nx: ").await;
    assert_about(drip(&mut client).await, short_limits().header_timeout);
    assert_eq!(server.rejected(web::reason::HEADER_TIMEOUT), 1);
}

#[tokio::test]
async fn a_slow_body_does_not_extend_the_deadline() {
    let server = Server::start(short_limits()).await;
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n").await;
    assert_about(drip(&mut client).await, short_limits().header_timeout);
    assert_eq!(server.rejected(web::reason::HEADER_TIMEOUT), 1);
}

#[tokio::test]
async fn a_kept_connection_outlives_the_header_timeout_and_ends_at_the_idle_timeout() {
    let server = Server::start(short_limits()).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        assert_eq!(client.get("/metrics").await.status, 200);
        sleep(short_limits().header_timeout * 2).await;
    }
    assert_eq!(client.get("/metrics").await.status, 200);
    assert_about(client.wait_for_close().await, short_limits().idle_timeout);
    // An idle timeout is not a rejection.
    assert_eq!(server.counts.rejected.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn the_head_of_a_later_request_has_the_header_timeout_too() {
    let server = Server::start(short_limits()).await;
    let mut resting = server.connect().await;
    assert_eq!(resting.get("/metrics").await.status, 200);
    sleep(Duration::from_millis(100)).await;
    resting.send("GET /met").await;
    assert_about(drip(&mut resting).await, short_limits().header_timeout);

    let mut pipelining = server.connect().await;
    pipelining.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\nGET /met").await;
    assert_eq!(pipelining.response().await.status, 200);
    assert_about(pipelining.wait_for_close().await, short_limits().header_timeout);
    assert_eq!(server.rejected(web::reason::HEADER_TIMEOUT), 2);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_and_others_are_served() {
    let server = Server::with_large_content(
        HttpLimits { write_timeout: Duration::from_secs(2), ..short_limits() },
        400,
    )
    .await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut client = server.connect().await;
        client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        slow.push(client);
    }
    assert_eq!(server.get("/-/healthy").await.status, 200);
    assert_eq!(server.get("/metrics").await.body.len(), 400 * 65_536);
    server.until_open(0).await;
    assert_eq!(server.rejected(web::reason::WRITE_TIMEOUT), 20);
    for client in &mut slow {
        assert!(client.read_to_end().await.len() < 400 * 65_536);
    }
    assert_eq!(server.counts.requests.lock().unwrap().get(&("metrics", 200)), Some(&21));
}

#[tokio::test]
async fn reading_slowly_does_not_extend_the_deadline() {
    let server = Server::with_large_content(short_limits(), 400).await;
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let begun = Instant::now();
    let sip = async {
        let mut buffer = vec![0; 64 * 1024];
        while server.rejected(web::reason::WRITE_TIMEOUT) == 0 {
            assert!(client.stream.read(&mut buffer).await.unwrap() > 0);
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, sip).await.expect("still served");
    assert_about(begun.elapsed(), short_limits().write_timeout);
}

#[tokio::test]
async fn responses_after_a_slowly_read_one_have_their_own_deadlines() {
    let server = Server::with_large_content(short_limits(), 100).await;
    let mut client = server.connect().await;
    for _ in 0..4 {
        client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        sleep(short_limits().write_timeout / 2).await;
        assert_eq!(client.response().await.body.len(), 100 * 65_536);
    }
    // The connection is idle once the kernel has the response, before the client reads it.
    client.wait_for_close().await;
    assert_eq!(server.counts.rejected.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_client_that_disconnects_during_a_response_is_forgotten() {
    let server = Server::with_large_content(HttpLimits::default(), 400).await;
    for _ in 0..10 {
        let mut client = server.connect().await;
        client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(client.receive().await);
    }
    server.until_open(0).await;
    assert_eq!(server.counts.rejected.lock().unwrap().len(), 0);
    assert_eq!(server.counts.requests.lock().unwrap().get(&("metrics", 200)), Some(&10));
    assert_eq!(server.get("/metrics").await.body.len(), 400 * 65_536);
}

#[tokio::test]
async fn too_large_heads_are_rejected() {
    let server = Server::start(HttpLimits::default()).await;
    let request =
        |size: usize| format!("GET /metrics HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(size));
    assert_eq!(server.request(&request(16_000)).await.status, 200);
    let target = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(20_000));
    let many = |lines: usize| format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(lines));
    assert_eq!(server.request(&many(100)).await.status, 200);
    let too_large = [request(16_400), request(1_000_000), target, many(101), many(100_000)];
    for (number, bytes) in (1..).zip(too_large) {
        let mut client = server.connect().await;
        // The server may close the connection before it has everything.
        _ = client.stream.write_all(bytes.as_bytes()).await;
        assert_eq!(client.response_head().await.status, 431, "{number}");
        client.read_to_end().await;
        drop(client);
        server.until_rejected(web::reason::HEAD_TOO_LARGE, number).await;
    }
}

#[tokio::test]
async fn a_new_connection_replaces_the_one_that_waited_longest() {
    let server = Server::start(HttpLimits { max_connections: 3, ..HttpLimits::default() }).await;
    let mut kept = server.connect().await;
    assert_eq!(kept.get("/metrics").await.status, 200);
    let mut silent = server.connect().await;
    sleep(Duration::from_millis(20)).await;
    let mut half = server.connect().await;
    half.send("GET /").await;
    sleep(Duration::from_millis(200)).await;

    assert_eq!(server.get("/metrics").await.status, 200);
    assert!(silent.wait_for_close().await < Duration::from_secs(1));
    server.until_open(2).await;
    let _third = server.connect().await;
    server.until_open(3).await;
    assert_eq!(server.get("/metrics").await.status, 200);
    assert!(half.wait_for_close().await < Duration::from_secs(1));
    assert_eq!(kept.get("/metrics").await.status, 200);
    assert_eq!(server.rejected(web::reason::EVICTED), 2);
    assert_eq!(server.rejected(web::reason::LIMIT), 0);
}

#[tokio::test]
async fn a_long_idle_connection_is_evicted_and_a_recent_one_is_not() {
    let server = Server::start(HttpLimits {
        max_connections: 2,
        idle_timeout: Duration::from_secs(30),
        ..short_limits()
    })
    .await;
    let mut long = server.connect().await;
    assert_eq!(long.get("/metrics").await.status, 200);
    sleep(short_limits().header_timeout + Duration::from_millis(100)).await;
    let mut recent = server.connect().await;
    assert_eq!(recent.get("/metrics").await.status, 200);
    assert_eq!(server.get("/metrics").await.status, 200);
    assert!(long.wait_for_close().await < Duration::from_secs(1));
    assert_eq!(recent.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn a_new_connection_gets_503_if_all_others_are_busy() {
    let limits = HttpLimits { max_connections: 4, ..HttpLimits::default() };
    let server = Server::with_large_content(limits, 400).await;
    let mut busy = Vec::new();
    for _ in 0..4 {
        let mut client = server.connect().await;
        client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        busy.push(client);
    }
    server.until_open(4).await;
    sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let response = client.response().await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!((response.status, response.text()), (503, "too many connections\n"));
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(client.read_to_end().await, b"");
    assert_eq!(server.rejected(web::reason::LIMIT), 1);
    for client in &mut busy {
        assert_eq!(client.response().await.body.len(), 400 * 65_536);
    }
    drop(busy);
    server.until_open(0).await;
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn many_incomplete_requests_do_not_block_a_scrape() {
    let server = Server::start(HttpLimits { max_connections: 100, ..short_limits() }).await;
    let mut crowd = Vec::new();
    for number in 0..300 {
        let mut client = server.connect().await;
        if number % 2 == 0 {
            client.send("GET / HTTP/1.1\r\nx: ").await;
        }
        crowd.push(client);
    }
    sleep(Duration::from_millis(120)).await;
    for _ in 0..10 {
        assert_eq!(server.get("/metrics").await.status, 200);
        assert!(server.open() <= 100);
    }
    server.until_open(0).await;
}

#[tokio::test]
async fn two_hundred_concurrent_scrapes_succeed() {
    let server = Arc::new(Server::with_large_content(HttpLimits::default(), 16).await);
    let scrapes: Vec<_> = (0..200)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.get("/metrics").await.body.len() })
        })
        .collect();
    for scrape in scrapes {
        assert_eq!(scrape.await.unwrap(), 16 * 65_536);
    }
    server.until_open(0).await;
    assert_eq!(server.counts.requests.lock().unwrap().get(&("metrics", 200)), Some(&200));
}
