//! Which request gets which answer.

use std::pin::Pin;

use alikafka_exporter::web::status_page::{InstanceSummary, RegionSummary};

use super::*;

#[tokio::test]
async fn metrics_are_served_with_their_content_type_and_length() {
    let server = Server::start(HttpLimits::default()).await;
    let answer = server.get("/metrics?x=1").await;
    assert_eq!((answer.status, answer.text()), (200, "alikafka_region_up 1\n"));
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(answer.header("content-length"), Some("21"));
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn metrics_are_packed_for_those_who_accept_it() {
    let server = Server::start(HttpLimits::default()).await;
    for (accept, packed) in [("gzip", true), ("*", true), ("gzip;q=0", false), ("br", false)] {
        let answer = server
            .ask(&format!("GET /metrics HTTP/1.1\r\nhost: a\r\naccept-encoding: {accept}\r\n\r\n"))
            .await;
        assert_eq!(answer.header("content-encoding"), packed.then_some("gzip"), "{accept}");
        assert_eq!(answer.body.starts_with(b"\x1f\x8b"), packed, "{accept}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    }
}

#[tokio::test]
async fn a_page_of_many_segments_arrives_whole() {
    let server = Server::with_large_page(HttpLimits::default(), 100).await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.body.len(), 100 * 65_536);
    assert!(answer.body.chunks(16).all(|line| line == b"0123456789abcde\n"));
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
async fn other_methods_and_paths_are_told_so_and_the_connection_lives_on() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        client.send(&format!("{method} /metrics HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for path in ["/metrics/", "/Metrics", "/-/", "/favicon.ico", "//", "/%6detrics"] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
    assert_eq!(client.get("http://elsewhere/metrics").await.status, 200);
    assert_eq!(server.rejected(web::reason::METHOD), 6);
}

/// Counts reloads; every second one is refused.
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
async fn a_reload_is_a_post_where_it_is_wanted_and_answers_with_what_came_of_it() {
    let server = Server::start(HttpLimits::default()).await;
    for method in ["POST", "GET"] {
        let answer = server.ask(&format!("{method} /-/reload HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(answer.status, 404, "{method}");
    }

    let reloads = Arc::new(Mutex::new(0));
    let server = Server::with_lifecycle(Reloads(Arc::clone(&reloads))).await;
    let ask =
        async |method: &str| server.ask(&format!("{method} /-/reload HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    for method in ["GET", "PUT"] {
        let answer = ask(method).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    assert_eq!(*reloads.lock().unwrap(), 0);
    // The second comes at the heels of the first, so it is turned away; one after that is not.
    let mut client = server.connect().await;
    client.send(&"POST /-/reload HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2)).await;
    let answer = client.response().await;
    assert_eq!((answer.status, answer.text()), (200, "reloaded\n"));
    let answer = client.response().await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    assert_eq!(*reloads.lock().unwrap(), 1);
    sleep(Duration::from_secs(1)).await;
    let answer = ask("POST").await;
    assert_eq!((answer.status, answer.text()), (500, "reload failed:\npoll_interval: is wrong\n"));
    let counted = server.counts.requests.lock().unwrap().clone();
    for (code, count) in [(200, 1), (405, 2), (429, 1), (500, 1)] {
        assert_eq!(counted.get(&("reload", code)), Some(&count), "{code}");
    }
}

#[tokio::test]
async fn a_million_paths_are_one_label() {
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
async fn requests_follow_each_other_on_one_connection_pipelined_or_not() {
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
async fn a_client_that_ends_its_side_after_the_request_gets_the_whole_answer() {
    let server = Server::with_large_page(HttpLimits::default(), 200).await;
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.response().await.body.len(), 200 * 65_536);
    assert_eq!(client.read_to_end().await, b"");
}

#[tokio::test]
async fn a_body_is_ignored_up_to_the_limit_and_refused_above_it() {
    let server = Server::start(short()).await;
    let small = "x".repeat(65_536);
    let answer = server
        .ask(&format!("GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\n\r\n{small}"))
        .await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));

    let chunk = format!("8000\r\n{}\r\n", "x".repeat(32_768));
    let chunked = "GET /metrics HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(server.ask(&format!("{chunked}{}0\r\n\r\n", chunk.repeat(2))).await.status, 200);
    assert_eq!(server.ask(&format!("{chunked}{}0\r\n\r\n", chunk.repeat(3))).await.status, 413);

    let declared = "GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 10485760\r\n\r\n";
    let answer = server.ask(declared).await;
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    assert_eq!(server.rejected(web::reason::BODY_TOO_LARGE), 2);
}

#[tokio::test]
async fn a_client_still_sending_its_too_large_body_reads_the_refusal() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n").await;
    while client.stream.peek(&mut [0; 1]).await.unwrap() == 0 {}
    // A reset would end the sending, and some clients would then not read what came ahead of it.
    for _ in 0..5 {
        client.send(&"x".repeat(20_000)).await;
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.response().await.status, 413);
    assert_eq!(client.read_to_end().await, b"");
}

#[tokio::test]
async fn a_body_is_read_before_the_next_bytes_are_taken_for_a_request() {
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
async fn health_names_what_stands_still_and_readiness_what_is_awaited() {
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
async fn the_status_page_shows_the_fleet_and_runs_nothing() {
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
    let answer = server.get("/").await;
    assert_eq!(answer.status, 200);
    let page = answer.text();
    for shown in ["9.8.7", "href=\"/probe\"", "href=\"/-/ready\"", "cn-hangzhou", "alikafka_post-cn-1"] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(page.contains("discovered 2025-11-24 18:33:13 UTC"));
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(server.get("/metrics").await.status, 404);
    let empty = server.get("/probe").await;
    assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
}

#[tokio::test]
async fn metrics_may_take_the_root_and_must_not_take_the_health_paths() {
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
async fn requests_whose_end_is_ambiguous_are_refused_and_the_connection_closed() {
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
    let server = Server::start(short()).await;
    for (number, (what, bytes)) in (1..).zip(table) {
        let mut client = server.connect().await;
        client.send(&bytes).await;
        let answer = client.response_head().await;
        assert_eq!(answer.status, 400, "{what}");
        let rest = client.read_to_end().await;
        assert!(!rest.windows(8).any(|part| part == b"HTTP/1.1"), "{what}: a second answer");
        drop(client);
        server.until_rejected(web::reason::BAD_REQUEST, number).await;
    }
}

#[tokio::test]
async fn bytes_of_other_protocols_are_closed_at_once() {
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
