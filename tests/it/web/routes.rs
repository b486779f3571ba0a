//! Responses of each route.

use std::pin::Pin;

use alikafka_exporter::web::status_page::{InstanceSummary, RegionSummary};

use super::*;

#[tokio::test]
async fn metrics_are_served_with_their_content_type_and_length() {
    let server = Server::start(HttpLimits::default()).await;
    let response = server.get("/metrics?x=1").await;
    assert_eq!((response.status, response.text()), (200, "alikafka_region_up 1\n"));
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(response.header("content-length"), Some("21"));
    assert_eq!(response.header("vary"), Some("Accept-Encoding"));
    assert_eq!(response.header("content-encoding"), None);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn metrics_are_compressed_if_the_client_accepts_it() {
    let server = Server::start(HttpLimits::default()).await;
    for (accept, is_gzip) in [("gzip", true), ("*", true), ("gzip;q=0", false), ("br", false)] {
        let response = server
            .request(&format!("GET /metrics HTTP/1.1\r\nhost: a\r\naccept-encoding: {accept}\r\n\r\n"))
            .await;
        assert_eq!(response.header("content-encoding"), is_gzip.then_some("gzip"), "{accept}");
        assert_eq!(response.body.starts_with(b"\x1f\x8b"), is_gzip, "{accept}");
        assert_eq!(response.header("vary"), Some("Accept-Encoding"));
    }
}

#[tokio::test]
async fn a_response_of_many_segments_arrives_completely() {
    let server = Server::with_large_content(HttpLimits::default(), 100).await;
    let response = server.get("/metrics").await;
    assert_eq!(response.body.len(), 100 * 65_536);
    assert!(response.body.chunks(16).all(|line| line == b"0123456789abcde\n"));
}

#[tokio::test]
async fn head_gets_the_headers_of_get_and_no_body() {
    let server = Server::start(HttpLimits::default()).await;
    for path in ["/metrics", "/", "/-/ready", "/nothing"] {
        let got = server.get(path).await;
        let mut client = server.connect().await;
        client.send(&format!("HEAD {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
        let head = client.response_head().await;
        assert_eq!(head.status, got.status, "{path}");
        for name in ["content-length", "content-type", "vary", "content-security-policy"] {
            assert_eq!(head.header(name), got.header(name), "{path} {name}");
        }
        assert_eq!(client.read_to_end().await, b"", "{path}");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_rejected_and_the_connection_stays_open() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        client.send(&format!("{method} /metrics HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for path in ["/metrics/", "/Metrics", "/-/", "/favicon.ico", "//", "/%6detrics"] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
    assert_eq!(client.get("http://elsewhere/metrics").await.status, 200);
    assert_eq!(server.rejected(web::reason::METHOD), 6);
}

/// Counts reloads; every second one fails.
struct Reloads(Arc<Mutex<u32>>);

impl web::ReloadHandler for Reloads {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async {
            let mut reloads = self.0.lock().unwrap();
            *reloads += 1;
            if *reloads % 2 == 1 { Ok(()) } else { Err("poll_interval: is wrong".to_owned()) }
        })
    }
}

#[tokio::test]
async fn a_reload_needs_the_flag_and_post_and_returns_its_result() {
    let server = Server::start(HttpLimits::default()).await;
    for method in ["POST", "GET"] {
        let response = server.request(&format!("{method} /-/reload HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(response.status, 404, "{method}");
    }

    let reloads = Arc::new(Mutex::new(0));
    let server = Server::with_lifecycle(Reloads(Arc::clone(&reloads))).await;
    let reload =
        async |method: &str| server.request(&format!("{method} /-/reload HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    for method in ["GET", "PUT"] {
        let response = reload(method).await;
        assert_eq!((response.status, response.header("allow")), (405, Some("POST")), "{method}");
    }
    assert_eq!(*reloads.lock().unwrap(), 0);
    // The second request follows too soon and is rejected; a later one is not.
    let mut client = server.connect().await;
    client.send(&"POST /-/reload HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2)).await;
    let response = client.response().await;
    assert_eq!((response.status, response.text()), (200, "reloaded\n"));
    let response = client.response().await;
    assert_eq!((response.status, response.header("retry-after")), (429, Some("1")));
    assert_eq!(*reloads.lock().unwrap(), 1);
    sleep(Duration::from_secs(1)).await;
    let response = reload("POST").await;
    assert_eq!((response.status, response.text()), (500, "reload failed:\npoll_interval: is wrong\n"));
    let counted = server.counts.requests.lock().unwrap().clone();
    for (code, count) in [(200, 1), (405, 2), (429, 1), (500, 1)] {
        assert_eq!(counted.get(&("reload", code)), Some(&count), "{code}");
    }
}

#[tokio::test]
async fn all_unknown_paths_share_one_label() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    for number in 0..200 {
        client.get(&format!("/{number}")).await;
    }
    client.get("/-/healthy").await;
    let requests = server.counts.requests.lock().unwrap().clone();
    assert_eq!(requests.get(&("other", 404)), Some(&200));
    assert!(requests.len() <= 2);
}

#[tokio::test]
async fn one_connection_serves_many_requests_pipelined_or_not() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        assert_eq!(client.get("/metrics").await.status, 200);
    }
    client.send(&"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n".repeat(40)).await;
    for _ in 0..40 {
        assert_eq!(client.response().await.text(), "alikafka_region_up 1\n");
    }
    client.send("GET /metrics HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(client.read_to_end().await, b"");
}

#[tokio::test]
async fn a_client_that_closes_its_side_gets_the_complete_response() {
    let server = Server::with_large_content(HttpLimits::default(), 200).await;
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.response().await.body.len(), 200 * 65_536);
    assert_eq!(client.read_to_end().await, b"");
}

#[tokio::test]
async fn a_body_is_ignored_up_to_the_limit_and_rejected_above() {
    let server = Server::start(short_limits()).await;
    let small = "x".repeat(65_536);
    let response = server
        .request(&format!("GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\n\r\n{small}"))
        .await;
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));

    let chunk = format!("8000\r\n{}\r\n", "x".repeat(32_768));
    let chunked = "GET /metrics HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(server.request(&format!("{chunked}{}0\r\n\r\n", chunk.repeat(2))).await.status, 200);
    assert_eq!(server.request(&format!("{chunked}{}0\r\n\r\n", chunk.repeat(3))).await.status, 413);

    let declared = "GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 10485760\r\n\r\n";
    let response = server.request(declared).await;
    assert_eq!((response.status, response.header("connection")), (413, Some("close")));
    assert_eq!(server.rejected(web::reason::BODY_TOO_LARGE), 2);
}

#[tokio::test]
async fn a_client_that_sends_a_too_large_body_can_read_the_rejection() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n").await;
    while client.stream.peek(&mut [0; 1]).await.unwrap() == 0 {}
    // After a reset some clients would not read the response that came before it.
    for _ in 0..5 {
        client.send(&"x".repeat(20_000)).await;
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.response().await.status, 413);
    assert_eq!(client.read_to_end().await, b"");
}

#[tokio::test]
async fn a_body_is_not_parsed_as_the_next_request() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    let inner = "GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n";
    let length = inner.len();
    client
        .send(&format!("GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{inner}"))
        .await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(client.read_to_end().await, b"");
}

#[tokio::test]
async fn health_and_readiness_list_the_affected_poll_loops() {
    let server = Server::start(HttpLimits::default()).await;
    assert_eq!(server.get("/-/healthy").await.status, 200);
    let early = server.get("/-/ready").await;
    assert_eq!((early.status, early.text()), (503, "waiting for the first pass of: start\n"));

    server.health.beat("prod/cn-hangzhou");
    server.health.beat("prod/cn-beijing");
    server.health.first_pass_ended("prod/cn-beijing");
    let pending = server.get("/-/ready").await;
    assert_eq!((pending.status, pending.text()), (503, "waiting for the first pass of: prod/cn-hangzhou\n"));
    server.health.first_pass_ended("prod/cn-hangzhou");
    let ready = server.get("/-/ready").await;
    assert_eq!((ready.status, ready.text()), (200, "ok\n"));
    assert_eq!(server.get("/-/healthy").await.text(), "ok\n");
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn the_status_page_shows_the_fleet_without_scripts() {
    let instance = InstanceSummary {
        id: "alikafka_post-cn-1".to_owned(),
        name: Some("<script>alert(1)</script>".to_owned()),
        up: Some(true),
        state: Some("running"),
        topics: 12,
        groups: 3,
    };
    let region = RegionSummary {
        account: Some("prod".to_owned()),
        region: "cn-hangzhou".to_owned(),
        up: Some(false),
        last_discovery: Some(1_764_009_193_000),
        topics: 12,
        groups: 3,
        instances: vec![instance],
    };
    let status_page = StatusPage { version: "9.8.7".to_owned(), regions: vec![region] };
    let server = Server::with(HttpLimits::default(), "", 1, status_page, "/probe").await;
    let response = server.get("/").await;
    assert_eq!(response.status, 200);
    let html = response.text();
    for shown in ["9.8.7", "href=\"/probe\"", "href=\"/-/ready\"", "cn-hangzhou", "alikafka_post-cn-1"] {
        assert!(html.contains(shown), "{shown}");
    }
    assert!(html.contains("discovered 2025-11-24 18:33:13 UTC"));
    assert!(!html.contains("<script"));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    let policy = response.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(server.get("/metrics").await.status, 404);
    let empty = server.get("/probe").await;
    assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
}

#[tokio::test]
async fn the_telemetry_path_may_be_the_root_but_not_a_reserved_path() {
    let server = Server::with(HttpLimits::default(), "up 1\n", 1, StatusPage::default(), "/").await;
    assert_eq!(server.get("/").await.text(), "up 1\n");
    for bad in
        ["", "metrics", "/-/healthy", "/debug/state", "/-/x", "/a b", "/a?b", "/a#b", "/é", "/%2e", "/<"]
    {
        let error = web::check_telemetry_path(bad).unwrap_err();
        assert!(error.to_string().starts_with("web.telemetry-path "), "{bad}");
    }
    for good in ["/", "/metrics", "/a/b-c_d.e~f", "/-x"] {
        assert_eq!(web::check_telemetry_path(good), Ok(()), "{good}");
    }
}

#[tokio::test]
async fn ambiguous_requests_are_rejected_and_the_connection_closed() {
    let hidden = "GET /-/healthy HTTP/1.1\r\nhost: a\r\n\r\n";
    let table = [
        (
            "both lengths",
            format!(
                "GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
            ),
        ),
        (
            "both lengths, other order",
            format!(
                "GET /metrics HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{hidden}"
            ),
        ),
        (
            "two contents lengths",
            format!(
                "GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 5\r\n\r\n{hidden}"
            ),
        ),
        ("signed length", format!("GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\n{hidden}")),
        ("folded header", format!("GET /metrics HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n{hidden}")),
        ("bare line feed in a header", format!("GET /metrics HTTP/1.1\r\nhost: a\nx: b\r\n\r\n{hidden}")),
        ("bare line feeds only", format!("GET /metrics HTTP/1.1\nhost: a\n\n{hidden}")),
        ("bare carriage return", format!("GET /metrics HTTP/1.1\r\nhost: a\rx: b\r\n\r\n{hidden}")),
        ("space before the colon", format!("GET /metrics HTTP/1.1\r\ncontent-length : 5\r\n\r\n{hidden}")),
        (
            "last coding not chunked",
            format!("GET /metrics HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n{hidden}"),
        ),
        (
            "chunked in HTTP/1.0",
            format!("GET /metrics HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        ("NUL in a header", format!("GET /metrics HTTP/1.1\r\nhost: a\0b\r\n\r\n{hidden}")),
        ("unknown version", format!("GET /metrics HTTP/1.2\r\nhost: a\r\n\r\n{hidden}")),
        ("two spaces", format!("GET  /metrics HTTP/1.1\r\nhost: a\r\n\r\n{hidden}")),
    ];
    let server = Server::start(short_limits()).await;
    for (number, (case, bytes)) in (1..).zip(table) {
        let mut client = server.connect().await;
        client.send(&bytes).await;
        let response = client.response_head().await;
        assert_eq!(response.status, 400, "{case}");
        let rest = client.read_to_end().await;
        assert!(!rest.windows(8).any(|part| part == b"HTTP/1.1"), "{case}: a second response");
        drop(client);
        server.until_rejected(web::reason::BAD_REQUEST, number).await;
    }
}

#[tokio::test]
async fn other_protocols_are_disconnected_at_once() {
    let server = Server::start(HttpLimits::default()).await;
    for bytes in [
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0\0\0\0",
        "hello\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(bytes).await;
        let rest = String::from_utf8(client.read_to_end().await).unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400 "), "{bytes:?}: {rest}");
    }
    server.until_rejected(web::reason::BAD_REQUEST, 4).await;
}
