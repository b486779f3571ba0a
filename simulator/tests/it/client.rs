//! A small client that signs and sends calls.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use alikafka_simulator::{Simulator, sign};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) const KEY: &str = "LTAI5tSimulatorTestKey";
pub(crate) const SECRET: &str = "simulator-test-secret";

static NONCE: AtomicU64 = AtomicU64::new(0);

/// A response.
#[derive(Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl TestResponse {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    pub(crate) fn code(&self) -> String {
        let json = self.json();
        json["Code"].as_str().map_or_else(|| json["Code"].to_string(), str::to_owned)
    }
}

/// Signature method and parameter location of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    V1Query,
    V1Form,
    Acs3Query,
    Acs3Form,
}

/// A client. Tests change single fields to make invalid calls.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) addr: SocketAddr,
    pub(crate) style: Style,
    pub(crate) method: &'static str,
    pub(crate) key: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    pub(crate) version: String,
    pub(crate) now_ms: i64,
    pub(crate) nonce: Option<String>,
}

impl Client {
    pub(crate) fn new(sim: &Simulator) -> Self {
        Self::at(sim.addr(), sim.now_ms())
    }

    pub(crate) fn at(addr: SocketAddr, now_ms: i64) -> Self {
        Self {
            addr,
            style: Style::Acs3Query,
            method: "POST",
            key: KEY.to_owned(),
            secret: SECRET.to_owned(),
            token: None,
            version: "2019-09-16".to_owned(),
            now_ms,
            nonce: None,
        }
    }

    pub(crate) fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// Sends a call that must succeed.
    pub(crate) async fn good(&self, action: &str, params: &[(&str, &str)]) -> Value {
        let response = self.call(action, params).await;
        assert_eq!(response.status, 200, "{}", response.body);
        response.json()
    }

    pub(crate) async fn call(&self, action: &str, params: &[(&str, &str)]) -> TestResponse {
        self.try_call(action, params).await.expect("a response")
    }

    /// Sends a call; `None` if the connection ends before a complete response.
    pub(crate) async fn try_call(&self, action: &str, params: &[(&str, &str)]) -> Option<TestResponse> {
        send(self.addr, &self.request(action, params)).await
    }

    /// Returns the bytes of a signed request.
    pub(crate) fn request(&self, action: &str, params: &[(&str, &str)]) -> Vec<u8> {
        let nonce =
            self.nonce.clone().unwrap_or_else(|| format!("nonce-{}", NONCE.fetch_add(1, Ordering::Relaxed)));
        let time = rfc3339(self.now_ms);
        let mut params: Vec<(String, String)> =
            params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut headers = vec![("host".to_owned(), self.addr.to_string())];
        let encoded = |p: &[(String, String)]| {
            let pairs: Vec<_> = p
                .iter()
                .map(|(k, v)| format!("{}={}", sign::percent_encode(k), sign::percent_encode(v)))
                .collect();
            pairs.join("&")
        };
        if matches!(self.style, Style::V1Query | Style::V1Form) {
            let common = [
                ("Action", action),
                ("Version", &self.version),
                ("Format", "JSON"),
                ("AccessKeyId", &self.key),
                ("SignatureMethod", "HMAC-SHA1"),
                ("SignatureVersion", "1.0"),
                ("SignatureNonce", &nonce),
                ("Timestamp", &time),
            ];
            params.extend(common.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
            params.extend(self.token.iter().map(|t| ("SecurityToken".to_owned(), t.clone())));
            let signature = sign::v1_signature(&self.secret, &sign::v1_string_to_sign(self.method, &params));
            params.push(("Signature".to_owned(), signature));
        }
        let in_body = matches!(self.style, Style::V1Form | Style::Acs3Form);
        let body = if in_body { encoded(&params) } else { String::new() };
        let query = if in_body { Vec::new() } else { params };
        if in_body {
            headers.push(("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        }
        if matches!(self.style, Style::Acs3Query | Style::Acs3Form) {
            let hash = sign::sha256_hex(body.as_bytes());
            let acs_headers = [
                ("x-acs-action", action),
                ("x-acs-version", &self.version),
                ("x-acs-date", &time),
                ("x-acs-signature-nonce", &nonce),
                ("x-acs-content-sha256", &hash),
            ];
            headers.extend(acs_headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
            headers.extend(self.token.iter().map(|t| ("x-acs-security-token".to_owned(), t.clone())));
            let canonical = sign::acs3_canonical_request(self.method, "/", &query, &headers, &hash);
            let signature = sign::acs3_signature(&self.secret, &sign::acs3_string_to_sign(&canonical));
            let mut names: Vec<_> = headers.iter().map(|(k, _)| k.as_str()).collect();
            names.sort_unstable();
            let value = format!(
                "ACS3-HMAC-SHA256 Credential={},SignedHeaders={},Signature={signature}",
                self.key,
                names.join(";")
            );
            headers.push(("authorization".to_owned(), value));
        }
        let target = if query.is_empty() { "/".to_owned() } else { format!("/?{}", encoded(&query)) };
        let lines: String = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
        let head = format!(
            "{} {target} HTTP/1.1\r\n{lines}content-length: {}\r\nconnection: close\r\n\r\n",
            self.method,
            body.len()
        );
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

pub(crate) fn rfc3339(ms: i64) -> String {
    let seconds = jiff::Timestamp::from_second(ms / 1000).expect("a time");
    seconds.to_string()
}

/// Sends an unsigned call of an admin path.
pub(crate) async fn admin(sim: &Simulator, method: &str, path: &str) -> TestResponse {
    plain(sim.addr(), method, path, &[], "").await
}

/// Sends an unsigned call.
pub(crate) async fn plain(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> TestResponse {
    let lines: String = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\n{lines}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    send(addr, request.as_bytes()).await.expect("a response")
}

/// Sends bytes and reads a response; `None` if the connection ends before it is complete.
pub(crate) async fn send(addr: SocketAddr, bytes: &[u8]) -> Option<TestResponse> {
    let all = exchange(addr, bytes).await.ok()?;
    let split = all.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&all[..split]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|l| l.split_once(": "))
        .map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()))
        .collect();
    let body = &all[split + 4..];
    let length: usize = headers.get("content-length")?.parse().ok()?;
    (body.len() == length).then(|| TestResponse {
        status,
        headers,
        body: String::from_utf8_lossy(body).into_owned(),
    })
}

/// Sends bytes and reads until the connection ends.
pub(crate) async fn exchange(addr: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(bytes).await?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    Ok(all)
}
