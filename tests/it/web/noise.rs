//! Errors of clients are counted, not logged. Errors of the host are logged, but not for every event.

use std::process::Stdio;

use test_support::{http::Connection, log_capture::LogCapture};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};
use tracing::Level;

use super::*;

// The tasks of a test run on its own thread, which has this subscriber.
#[tokio::test]
async fn no_client_can_write_to_the_log() {
    let (_guard, log) = LogCapture::start(Level::INFO);

    let server = Server::with_large_content(HttpLimits { max_connections: 20, ..short_limits() }, 200).await;
    let requests = [
        "",
        "GET / HT",
        "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 999999\r\n\r\n",
        "GET /metrics HTTP/1.1\nhost: a\r\n\r\n",
        "POST /\u{1b}[31m HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for leaves_at_once in [true, false] {
        let mut clients = Vec::new();
        for request in requests.repeat(5) {
            let mut client = server.connect().await;
            _ = client.stream.write_all(request.as_bytes()).await;
            if !leaves_at_once {
                clients.push(client);
            }
        }
        server.until_open(0).await;
    }
    assert!(server.rejected(web::reason::BAD_REQUEST) > 0);
    assert!(server.rejected(web::reason::WRITE_TIMEOUT) > 0);
    assert_eq!(log.text(), "");
    tracing::info!("captured");
    assert!(log.text().contains("captured"));
}

/// Serves in a separate process until its standard input ends. Prints the address first, and finally the rejections and
/// log lines.
#[tokio::test]
#[ignore = "is run by the test below, in a process with few file descriptors"]
async fn server_with_few_descriptors() {
    let (_guard, log) = LogCapture::start(Level::INFO);
    let server =
        Server::start(HttpLimits { header_timeout: Duration::from_secs(60), ..HttpLimits::default() }).await;
    println!("address={}", server.address);
    let until_closed = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(until_closed).await.unwrap().unwrap();
    println!("accept={}", server.rejected(web::reason::ACCEPT));
    println!("lines={}", log.text().lines().filter(|line| line.contains("cannot accept")).count());
}

#[tokio::test]
async fn a_lack_of_file_descriptors_is_counted_and_logged_once() {
    let mut child = Command::new("prlimit")
        .args(["--nofile=40", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["web::noise::server_with_few_descriptors", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("prlimit of util-linux is needed");
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut value = async |key: &str| loop {
        let line =
            timeout(PATIENCE, output.next_line()).await.unwrap().unwrap().expect("the child has ended");
        if let Some((_, value)) = line.split_once(&format!("{key}=")) {
            break value.to_owned();
        }
    };
    let address: SocketAddr = value("address").await.parse().unwrap();

    let connect = async || timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap();
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(connect().await);
    }
    let scrape = async || {
        let mut client = Connection::over(connect().await);
        assert_eq!(client.get("/metrics").await.status, 200);
    };
    // Connections without a request are evicted, and file descriptors are free after the clients have left.
    scrape().await;
    drop(crowd);
    scrape().await;

    drop(child.stdin.take());
    assert!(value("accept").await.parse::<u64>().unwrap() > 0);
    assert_eq!(value("lines").await, "1");
    assert!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success());
}
