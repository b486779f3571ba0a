//! Server with scripted responses, one per request. The last one repeats.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

/// Response to a request, or another reaction.
#[derive(Debug, Clone)]
pub(crate) enum ScriptedResponse {
    /// Bytes of a complete response.
    Bytes(String),
    /// A successful response with this body; then the connection is closed.
    ThenClose(&'static str),
    /// Reset of the connection.
    Reset,
    /// No response.
    Hang,
    /// Half of the body, then nothing.
    HangInBody,
    /// One byte at a time, slowly.
    Drip,
    /// A body of this declared size.
    Declare(usize),
    /// An endless body.
    Endless,
    /// An error whose message is the request.
    EchoAsMessage(u16, &'static str),
    /// An error whose code and request id are the request.
    EchoAsCode,
    /// A redirect to a host and path made of the key id of the request.
    EchoAsLocation,
    /// A rejection of one key after a short time, and a successful response to every other key.
    RejectKey {
        /// Id of the rejected key.
        id: &'static str,
        /// Body of the rejection.
        rejection: &'static str,
        /// Body of the successful response.
        success: &'static str,
    },
}

impl ScriptedResponse {
    pub(crate) fn json(body: &str) -> Self {
        Self::status(200, body)
    }

    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self::full(status, &[], body)
    }

    pub(crate) fn with_header(status: u16, name: &str, value: &str) -> Self {
        Self::full(status, &[(name, value)], "")
    }

    pub(crate) fn full(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        Self::Bytes(format!(
            "HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             {headers}\r\n{body}"
        ))
    }
}

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Returns the signature of the request.
    pub(crate) fn signature(&self) -> Option<String> {
        let place = self.header("authorization").unwrap_or(&self.body);
        let (_, signature) = place.rsplit_once("Signature=")?;
        Some(percent_encoding::percent_decode_str(signature).decode_utf8().unwrap().into_owned())
    }
}

#[derive(Default)]
struct ServerRecord {
    requests: Mutex<Vec<(Instant, Request)>>,
    connections: AtomicUsize,
    sent: AtomicUsize,
    closed: AtomicBool,
}

pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<ServerRecord>,
}

impl Server {
    pub(crate) async fn start(script: Vec<ScriptedResponse>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(ServerRecord::default());
        let shared = Arc::clone(&seen);
        let script = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&shared), Arc::clone(&script)));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    /// Returns the time of each request.
    pub(crate) fn times(&self) -> Vec<Instant> {
        self.seen.requests.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of body bytes that were sent.
    pub(crate) fn sent(&self) -> usize {
        self.seen.sent.load(Ordering::SeqCst)
    }

    /// Waits until the client has closed the connection.
    pub(crate) async fn wait_until_closed(&self) {
        let wait = async {
            while !self.seen.closed.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the client closes the connection");
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<ServerRecord>, script: Arc<Vec<ScriptedResponse>>) {
    while let Some(request) = read(&mut stream).await {
        let index = {
            let mut requests = seen.requests.lock().unwrap();
            requests.push((Instant::now(), request.clone()));
            requests.len() - 1
        };
        let response = script.get(index).or(script.last()).unwrap();
        if respond(response, &request, &mut stream, &seen).await.is_err() {
            break;
        }
    }
    seen.closed.store(true, Ordering::SeqCst);
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let mut lines = text.split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize =
        headers.iter().find(|(n, _)| n == "content-length").and_then(|(_, v)| v.parse().ok()).unwrap_or(0);
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(bytes[head + 4..head + 4 + length].to_vec()).ok()?;
    Some(Request { line, headers, body })
}

async fn respond(
    response: &ScriptedResponse,
    request: &Request,
    stream: &mut TcpStream,
    seen: &ServerRecord,
) -> std::io::Result<()> {
    let everything = || {
        let headers: String = request.headers.iter().map(|(n, v)| format!(" {n}: {v}")).collect();
        // The signature first, because the end of the text is truncated.
        let signature = request.signature().unwrap_or_default();
        format!(
            "{signature} {}{headers} {} \\u001b[31m\\n StringToSign: {}",
            request.line, request.body, request.body
        )
        .replace('"', "'")
    };
    let echo = |status: u16, body: String| match ScriptedResponse::status(status, &body) {
        ScriptedResponse::Bytes(bytes) => bytes,
        _ => unreachable!(),
    };
    match response {
        ScriptedResponse::RejectKey { id, rejection, success } => {
            sleep(Duration::from_millis(50)).await;
            let credential = format!("Credential={id},");
            let is_rejected = request.header("authorization").is_some_and(|a| a.contains(&credential));
            let (status, body) = if is_rejected { (400, rejection) } else { (200, success) };
            stream.write_all(echo(status, (*body).to_owned()).as_bytes()).await
        }
        ScriptedResponse::Bytes(bytes) => stream.write_all(bytes.as_bytes()).await,
        ScriptedResponse::ThenClose(body) => {
            stream.write_all(echo(200, (*body).to_owned()).as_bytes()).await?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
        ScriptedResponse::Reset => {
            #[expect(
                deprecated,
                reason = "a linger of zero is how a reset is made, and nothing blocks on it"
            )]
            stream.set_linger(Some(Duration::ZERO))?;
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
        ScriptedResponse::Hang => wait_for_end(stream).await,
        ScriptedResponse::HangInBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"Code\":").await?;
            wait_for_end(stream).await
        }
        ScriptedResponse::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await?;
            loop {
                stream.write_all(b" ").await?;
                sleep(Duration::from_millis(20)).await;
            }
        }
        ScriptedResponse::Declare(size) => {
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes()).await?;
            send_endless_body(stream, seen).await
        }
        ScriptedResponse::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
            send_endless_body(stream, seen).await
        }
        ScriptedResponse::EchoAsMessage(status, code) => {
            let body = format!(r#"{{"Code":"{code}","Message":"{}"}}"#, everything());
            stream.write_all(echo(*status, body).as_bytes()).await
        }
        ScriptedResponse::EchoAsCode => {
            let body = format!(r#"{{"Code":"{0}","RequestId":"{0}"}}"#, everything());
            stream.write_all(echo(400, body).as_bytes()).await
        }
        ScriptedResponse::EchoAsLocation => {
            let to =
                format!("https://ltai5tcanarykeyid0001.example/{}", request.signature().unwrap_or_default());
            let ScriptedResponse::Bytes(bytes) = ScriptedResponse::with_header(302, "Location", &to) else {
                unreachable!()
            };
            stream.write_all(bytes.as_bytes()).await
        }
    }
}

async fn wait_for_end(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut rest = [0; 64];
    while stream.read(&mut rest).await? > 0 {}
    Err(std::io::ErrorKind::UnexpectedEof.into())
}

/// Sends an endless body and counts its bytes.
async fn send_endless_body(stream: &mut TcpStream, seen: &ServerRecord) -> std::io::Result<()> {
    let block = vec![b' '; 64 * 1024];
    loop {
        stream.write_all(&block).await?;
        seen.sent.fetch_add(block.len(), Ordering::SeqCst);
    }
}
