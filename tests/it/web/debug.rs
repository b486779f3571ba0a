//! `/debug/state`: JSON responses, parameters, and the limit on concurrent requests.

use std::pin::Pin;

use alikafka_exporter::web::{ExplainOutcome, ExplainQuery, ExplainResponse, Explainer};
use tokio::sync::Semaphore;

use super::*;

/// Returns the query, with an outcome that depends on the group name, once the semaphore permits it.
struct Echo {
    permits: Arc<Semaphore>,
    bytes: usize,
}

impl Echo {
    fn ready() -> Self {
        Self { permits: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), bytes: 0 }
    }
}

impl Explainer for Echo {
    fn explain(&self, query: ExplainQuery) -> Pin<Box<dyn Future<Output = ExplainResponse> + Send + '_>> {
        Box::pin(async move {
            self.permits.acquire().await.unwrap().forget();
            let outcome = match query.group.as_str() {
                "unknown" => ExplainOutcome::Unknown,
                "busy" => ExplainOutcome::Busy,
                "invalid" => ExplainOutcome::Invalid,
                _ => ExplainOutcome::Found,
            };
            let json =
                if self.bytes > 0 { vec![b'x'; self.bytes] } else { format!("{query:?}").into_bytes() };
            ExplainResponse { outcome, json }
        })
    }
}

async fn explaining(limits: HttpLimits, echo: Echo) -> Server {
    let content = FixedContent { segments: Arc::default(), status_page: StatusPage::default() };
    Server::serving(|app| WebApp { limits, explainer: Some(Arc::new(echo)), ..app }, content).await
}

#[tokio::test]
async fn without_the_flag_the_path_and_the_form_do_not_exist() {
    let server = Server::start(HttpLimits::default()).await;
    for method in ["GET", "HEAD", "POST"] {
        let mut client = server.connect().await;
        client.send(&format!("{method} /debug/state?instance=i&group=g HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(client.response_head().await.status, 404, "{method}");
    }
    let status_page = server.get("/").await;
    assert!(!status_page.text().contains("/debug/state"));
    assert!(status_page.header("content-security-policy").unwrap().contains("form-action 'none'"));
    assert_eq!(server.counts.requests.lock().unwrap().get(&("other", 404)), Some(&3));
}

#[tokio::test]
async fn with_the_flag_the_status_page_has_a_form() {
    let server = explaining(HttpLimits::default(), Echo::ready()).await;
    let status_page = server.get("/").await;
    assert!(status_page.text().contains("<form action=\"/debug/state\" method=\"get\">"));
    for name in ["instance", "group", "topic"] {
        assert!(status_page.text().contains(&format!("<input name=\"{name}\"")), "{name}");
    }
    assert!(!status_page.text().contains("<script"));
    assert!(status_page.header("content-security-policy").unwrap().contains("form-action 'self'"));
}

#[tokio::test]
async fn parameters_are_decoded_and_the_outcome_determines_the_status() {
    let server = explaining(HttpLimits::default(), Echo::ready()).await;
    for (group, status) in [("a", 200), ("unknown", 404), ("busy", 503), ("invalid", 400)] {
        let response = server.get(&format!("/debug/state?instance=i&group={group}")).await;
        assert_eq!(response.status, status, "{group}");
        assert_eq!(response.header("content-type"), Some("application/json"), "{group}");
        assert_eq!(response.header("cache-control"), Some("no-store"), "{group}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{group}");
        assert_eq!(response.header("retry-after"), (status == 503).then_some("1"), "{group}");
    }
    let response = server
        .get("/debug/state?instance=i&group=%E8%AE%A2%E5%8D%95+%26+50%25&topic=t%2Bu&region=r&account=a%20b")
        .await;
    let query = ExplainQuery {
        instance: "i".to_owned(),
        group: "订单 & 50%".to_owned(),
        topic: Some("t+u".to_owned()),
        region: Some("r".to_owned()),
        account: Some("a b".to_owned()),
    };
    assert_eq!((response.status, response.text()), (200, format!("{query:?}").as_str()));
    let counted = server.counts.requests.lock().unwrap().clone();
    for (code, count) in [(200, 2), (404, 1), (503, 1), (400, 1)] {
        assert_eq!(counted.get(&("debug", code)), Some(&count), "{code}");
    }
}

#[tokio::test]
async fn invalid_parameters_are_rejected_in_json() {
    let server = explaining(HttpLimits::default(), Echo::ready()).await;
    for query in [
        "",
        "?",
        "?instance=i",
        "?group=g",
        "?instance=i&group=",
        "?instance=i&group=g&group=h",
        "?instance=i&group=g&topic=t&topic=t",
        "?instance=i&group=g&endpoint=http://elsewhere",
        "?instance=i&group=%ff%fe",
    ] {
        let response = server.get(&format!("/debug/state{query}")).await;
        assert_eq!(response.status, 400, "{query}");
        assert_eq!(response.header("content-type"), Some("application/json"), "{query}");
        let json: serde_json::Value = serde_json::from_str(response.text()).unwrap();
        assert!(json["error"].as_str().unwrap().len() > 10, "{query}");
        assert!(!response.text().contains("elsewhere"), "text of the client is not returned");
    }
}

#[tokio::test]
async fn only_get_and_head_are_allowed_and_head_has_the_headers_of_get() {
    let server = explaining(HttpLimits::default(), Echo::ready()).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let response = server
            .request(&format!("{method} /debug/state?instance=i&group=g HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for query in ["instance=i&group=g", "instance=i&group=unknown", "instance=i"] {
        let got = server.get(&format!("/debug/state?{query}")).await;
        let mut client = server.connect().await;
        let request = format!("HEAD /debug/state?{query} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        client.send(&request).await;
        let head = client.response_head().await;
        assert_eq!(head.status, got.status, "{query}");
        for name in ["content-length", "content-type"] {
            assert_eq!(head.header(name), got.header(name), "{query}");
        }
        assert_eq!(client.read_to_end().await, b"", "{query}");
    }
}

#[tokio::test]
async fn concurrent_requests_are_limited_and_scrapes_are_not_delayed() {
    let permits = Arc::new(Semaphore::new(0));
    let server = explaining(HttpLimits::default(), Echo { permits: Arc::clone(&permits), bytes: 0 }).await;
    let request = "GET /debug/state?instance=i&group=g HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut waiting = Vec::new();
    let rejected = loop {
        let mut client = server.connect().await;
        client.send(request).await;
        // A rejected client gets its response immediately, a waiting one does not.
        match timeout(Duration::from_millis(300), client.response()).await {
            Ok(response) => break response,
            Err(_) => waiting.push(client),
        }
        assert!(waiting.len() < 20, "there is no limit");
    };
    assert_eq!((rejected.status, rejected.header("retry-after")), (429, Some("1")));
    assert_eq!(server.get("/metrics").await.status, 200);
    assert_eq!(server.get("/-/healthy").await.status, 200);
    permits.add_permits(waiting.len() + 1);
    for mut client in waiting {
        assert_eq!(client.response().await.status, 200);
    }
    let again = server.get("/debug/state?instance=i&group=g").await;
    assert_eq!(again.status, 200, "the slots are free again");
}

#[tokio::test]
async fn unread_responses_do_not_accumulate() {
    let limits = HttpLimits { write_timeout: Duration::from_secs(5), ..HttpLimits::default() };
    let echo = Echo { bytes: 64 * 1024 * 1024, ..Echo::ready() };
    let server = explaining(limits, echo).await;
    let request = "GET /debug/state?instance=i&group=g HTTP/1.1\r\nhost: a\r\n\r\n";
    let (mut slow, mut rejected) = (Vec::new(), 0);
    for _ in 0..8 {
        let mut client = server.connect().await;
        client.send(request).await;
        match client.response_head().await.status {
            200 => slow.push(client),
            429 => rejected += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((slow.len(), rejected), (4, 4), "unread responses keep their slots");
    server.until_rejected(web::reason::WRITE_TIMEOUT, 4).await;
    let mut client = server.connect().await;
    client.send(request).await;
    assert_eq!(client.response_head().await.status, 200, "the slots are free again");
}
