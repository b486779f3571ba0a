//! HTTP/1.1 client: single requests, and connections under the control of the test.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, Instant, timeout},
};

use crate::PATIENCE;

/// A response without chunked encoding.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The status line and the headers, with the empty line after them.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    fn new(head: &[u8], body: Vec<u8>) -> io::Result<Self> {
        let head = String::from_utf8_lossy(head).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a response: {head:?}")))?;
        Ok(Self { status, head, body })
    }

    /// Returns the value of a header; names match in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Returns the body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Returns the response to a GET on a new connection.
pub async fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    request(address, "GET", path).await
}

/// Returns the response to a request without a body, on a new connection.
pub async fn request(address: SocketAddr, method: &str, path: &str) -> io::Result<Response> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        let head = head_length(&bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        let body = bytes.split_off(head);
        Response::new(&bytes, body)
    };
    timeout(PATIENCE, exchange).await?
}

/// Returns the length of the response head, if it is complete.
fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|end| end + 4)
}

/// A connection that sends any bytes and carries any number of requests.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap())
    }

    /// Takes an existing socket.
    pub fn over(stream: TcpStream) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &str) {
        timeout(PATIENCE, self.stream.write_all(bytes.as_bytes())).await.unwrap().unwrap();
    }

    /// Sends a GET and returns the response.
    pub async fn get(&mut self, path: &str) -> Response {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        self.response().await
    }

    /// Receives more bytes; returns `false` once the connection is closed or reset.
    pub async fn receive(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
        read.expect("the server neither responds nor closes").is_ok_and(|n| n > 0)
    }

    /// Returns the next response, which must have a `content-length`.
    pub async fn response(&mut self) -> Response {
        let head = self.response_head().await;
        let length: usize = head.header("content-length").expect("a length").parse().unwrap();
        while self.received.len() < length {
            let got = self.received.len();
            assert!(self.receive().await, "closed within a body: {got} of {length} bytes");
        }
        Response { body: self.received.drain(..length).collect(), ..head }
    }

    /// Returns the next response without its body, e.g. to HEAD.
    pub async fn response_head(&mut self) -> Response {
        loop {
            if let Some(length) = head_length(&self.received) {
                let head: Vec<u8> = self.received.drain(..length).collect();
                return Response::new(&head, Vec::new()).unwrap();
            }
            let closed = !self.receive().await;
            assert!(!closed, "closed within a head: {:?}", String::from_utf8_lossy(&self.received));
        }
    }

    /// Returns all bytes until the server closes.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        while self.receive().await {}
        std::mem::take(&mut self.received)
    }

    /// Waits until the server closes without a response; returns how long that took.
    pub async fn wait_for_close(&mut self) -> Duration {
        let start = Instant::now();
        assert_eq!(String::from_utf8_lossy(&self.read_to_end().await), "");
        start.elapsed()
    }
}
