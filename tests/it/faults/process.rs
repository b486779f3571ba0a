//! The process in its environment: signals, many clients, lack of descriptors and memory, unwritable logs.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::{Signal, kill_process};
use test_support::{PATIENCE, http::Connection};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    process::Command,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::*;

/// Number of requests whose responses fill all socket buffers.
const FILLING_REQUESTS: usize = 40;
const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: test\r\n\r\n";

/// Starts a cloud with one instance, topic and group of many partitions.
async fn wide_cloud(partitions: u32) -> Simulator {
    let sim = empty_cloud(&[REGION]).await;
    sim.with_world(|w| {
        w.add_instance(REGION, InstanceSpec::new(A));
        w.add_topic(A, TopicSpec::new("wide", partitions)).unwrap();
        add_group(w, A, "reader", "wide");
    });
    append_everywhere(&sim, partitions);
    sim
}

/// Appends one message to each partition at once.
fn append_everywhere(sim: &Simulator, partitions: u32) {
    sim.with_world(|w| (0..partitions).for_each(|p| w.append(A, "wide", p, 1).unwrap()));
}

/// Settings for a cloud of many partitions, which a debug build polls slowly.
const SLOW_POLLS: [(&str, &str); 3] =
    [("POLL_INTERVAL", "1s"), ("TOPIC_POLL_INTERVAL", "1s"), ("STALE_AFTER", "30s")];

/// Scrapes until the lag of each partition exceeds `lag`. Returns the lag and the length of the metrics response. Parses
/// nothing else, because that takes long.
async fn wait_for_lag_above(connection: &mut Connection, lag: Option<u64>) -> (Option<u64>, u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = scrape_over(connection).await;
        let now = common_value(&metrics, "alikafka_group_partition_lag_messages");
        if now > lag && family_values(&metrics, "alikafka_topic_partition_end_offset").next().is_some() {
            return (now, metrics.len() as u64);
        }
        assert!(Instant::now() < deadline, "it never lags by more than {lag:?}");
        sleep(millis(50)).await;
    }
}

/// Sends requests without reading the responses. With enough of them the exporter is blocked in writing one, because the
/// socket buffers are full.
async fn send_without_reading(address: SocketAddr, requests: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = timeout(PATIENCE, socket.connect(address)).await.unwrap().unwrap();
    stream.write_all(&GET.repeat(requests)).await.unwrap();
    stream
}

/// Returns the bodies of all responses until the connection ends. Each must be complete.
async fn read_bodies(mut stream: TcpStream) -> Vec<String> {
    let mut responses = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut responses)).await.expect("it ends").unwrap();
    let (mut bodies, mut rest) = (Vec::new(), responses.as_str());
    while !rest.is_empty() {
        let (head, after) = rest.split_once("\r\n\r\n").expect("a complete head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let (body, after) = after.split_at_checked(length(head)).expect("a complete body");
        bodies.push(body.to_owned());
        rest = after;
    }
    bodies
}

fn length(head: &str) -> usize {
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
    length.parse().unwrap()
}

/// Time of the signal.
#[derive(Clone, Copy, PartialEq, Debug)]
enum SignalTiming {
    InAPass,
    BeforeTheFirstPass,
    Twice,
}

impl SignalTiming {
    async fn run(self, sim: &Simulator) {
        let [poll, topic_poll, _] = SLOW_POLLS;
        let daemon = Daemon::start(sim, &[poll, topic_poll, ("REQUEST_TIMEOUT", "5m")]).await;
        if self == Self::BeforeTheFirstPass {
            assert_eq!(daemon.get("/-/ready").await.0, 503);
        } else {
            wait_for_lag_above(&mut Connection::open(daemon.address()).await, None).await;
        }
        let requests = if self == Self::BeforeTheFirstPass { 1 } else { FILLING_REQUESTS };
        let scrape = send_without_reading(daemon.address(), requests).await;
        daemon.terminate();
        daemon.wait_for_stopping().await;
        if self == Self::Twice {
            // The scrape delays the exit, and a second signal does not wait.
            daemon.terminate();
            assert_eq!(daemon.wait_for_exit().await.code(), Some(1));
            return;
        }
        let bodies = read_bodies(scrape).await;
        assert!((1..=requests).contains(&bodies.len()), "{} responses", bodies.len());
        assert!(bodies.iter().all(|b| b.ends_with('\n') && b.contains("alikafka_exporter_build_info")));
        let stopping = daemon.log_lines().iter().filter(|l| l["msg"] == "stopping").count();
        assert_eq!(stopping, 1, "logged once");
        assert_eq!(daemon.wait_for_exit().await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_completes_running_scrapes_and_a_second_one_aborts_them() {
    const RUNS: usize = 20;
    let (sim, silent) = (Arc::new(wide_cloud(300).await), Arc::new(wide_cloud(1).await));
    // A call always hangs: in a later pass, or in the first one.
    sim.with_world(|w| add_instance(w, REGION, B));
    sim.faults(|f| f.add(Fault::new(Effect::Hang).instance(B).action("GetConsumerProgress")));
    silent.faults(|f| f.add(Fault::new(Effect::Hang)));
    for when in [SignalTiming::InAPass, SignalTiming::BeforeTheFirstPass, SignalTiming::Twice] {
        let mut running = JoinSet::new();
        for run in 0..RUNS {
            let sim = Arc::clone(if when == SignalTiming::BeforeTheFirstPass { &silent } else { &sim });
            running.spawn(async move { when.run(&sim).await });
            if run >= 3 {
                running.join_next().await.unwrap().unwrap();
            }
        }
        running.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_during_500_scrapes_completes_those_that_are_read() {
    let sim = wide_cloud(30).await;
    let daemon = Daemon::start(&sim, &SLOW_POLLS).await;
    wait_for_lag_above(&mut Connection::open(daemon.address()).await, None).await;
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for n in 0..500 {
        if n % 50 == 0 {
            unread.push(send_without_reading(daemon.address(), 4 * FILLING_REQUESTS).await);
        } else {
            read.push(send_without_reading(daemon.address(), 1).await);
        }
    }
    for client in &read {
        let begun = timeout(PATIENCE, client.peek(&mut [0])).await.expect("the response begins");
        assert_eq!(begun.unwrap(), 1);
    }
    daemon.terminate();
    daemon.wait_for_stopping().await;
    let mut reading = JoinSet::new();
    for client in read {
        reading.spawn(async move { assert_eq!(read_bodies(client).await.len(), 1) });
    }
    reading.join_all().await;
    assert_eq!(daemon.wait_for_exit().await.code(), Some(0), "clients that do not read are disconnected");
}

/// Returns the values of a family. Parses nothing else, because there are many scrapes.
fn family_values<'a>(metrics: &'a str, family: &str) -> impl Iterator<Item = u64> + 'a {
    let head = format!("# TYPE {family} ");
    let samples = metrics.find(&head).map_or("", |at| &metrics[at..]);
    let lines = samples.split('\n').skip(1).take_while(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(|l| l.rsplit_once(' ').unwrap().1.parse().unwrap())
}

/// Returns the value that all series of a family have.
fn common_value(metrics: &str, family: &str) -> Option<u64> {
    let mut values = family_values(metrics, family);
    let first = values.next()?;
    assert!(values.all(|v| v == first), "{family} has more than one value");
    Some(first)
}

/// Returns the metrics response over an open connection.
async fn scrape_over(connection: &mut Connection) -> String {
    let response = connection.get("/metrics").await;
    assert_eq!(response.status, 200, "{}", response.head);
    String::from_utf8(response.body).unwrap()
}

/// Each response has the same offset for all partitions, because the test appends to all of them under one lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrapes_during_swaps_see_one_generation_and_never_an_older_one() {
    const SCRAPES: usize = 10_000;
    const CLIENTS: usize = 4;
    const PARTITIONS: u32 = 20;
    let sim = wide_cloud(PARTITIONS).await;
    let fast =
        [("POLL_INTERVAL", "100ms"), ("TOPIC_POLL_INTERVAL", "100ms"), ("DISCOVERY_INTERVAL", "500ms")];
    let daemon = Daemon::start(&sim, &fast).await;
    wait_for_lag_above(&mut Connection::open(daemon.address()).await, None).await;
    // The highest lag of a complete response.
    let latest = Arc::new(AtomicU64::new(0));
    let mut scraping = JoinSet::new();
    for _ in 0..CLIENTS {
        let (latest, address) = (Arc::clone(&latest), daemon.address());
        scraping.spawn(async move {
            let mut scraper = Connection::open(address).await;
            let mut swaps = 0;
            let mut last = 0;
            for _ in 0..SCRAPES / CLIENTS {
                let before = latest.load(Ordering::SeqCst);
                let metrics = scrape_over(&mut scraper).await;
                let lag = common_value(&metrics, "alikafka_group_partition_lag_messages").unwrap();
                assert_eq!(
                    common_value(&metrics, "alikafka_group_lag_messages"),
                    Some(lag * u64::from(PARTITIONS))
                );
                assert_eq!(common_value(&metrics, "alikafka_group_partition_offset"), Some(0));
                common_value(&metrics, "alikafka_topic_partition_end_offset").unwrap();
                assert!(lag >= before, "{lag} after a scrape with {before}");
                latest.fetch_max(lag, Ordering::SeqCst);
                swaps += usize::from(lag != last);
                last = lag;
            }
            swaps
        });
    }
    let moving = async {
        loop {
            append_everywhere(&sim, PARTITIONS);
            sleep(millis(10)).await;
        }
    };
    let swaps = tokio::select! {
        swaps = scraping.join_all() => swaps,
        () = moving => unreachable!(),
    };
    assert!(swaps.iter().all(|swaps| *swaps >= 5), "too few swaps: {swaps:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn before_the_first_pass_there_are_only_self_metrics_and_not_ready() {
    let sim = cloud().await;
    sim.faults(|f| f.add(Fault::new(Effect::Hang)));
    let daemon = Daemon::start(&sim, &[("REQUEST_TIMEOUT", "5m")]).await;
    daemon.until("the first call hangs", |_| !sim.call_log().is_empty()).await;
    let scrape = daemon.scrape().await;
    assert_eq!(scrape.cloud_series(&[]), [].into(), "no cloud series");
    assert_eq!(scrape.count("alikafka_exporter_build_info", &[]), 1);
    let (status, body) = daemon.get("/-/ready").await;
    assert!(status == 503 && body.contains(REGION), "{status}: {body}");
    assert_eq!(daemon.get("/-/healthy").await.0, 200);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_scrapers_are_all_served() {
    const SCRAPERS: usize = 1000;
    let sim = cloud().await;
    // These scrapes take long, and polls may be late meanwhile.
    let daemon = Daemon::start(&sim, &[("STALE_AFTER", "60s")]).await;
    daemon.until_known().await;
    let mut scrapers = Vec::new();
    for _ in 0..SCRAPERS {
        scrapers.push(Connection::open(daemon.address()).await);
    }
    let mut scraping = JoinSet::new();
    for mut scraper in scrapers {
        scraping.spawn(async move {
            let lag = common_value(&scrape_over(&mut scraper).await, "alikafka_group_lag_messages");
            assert_eq!(lag, Some(17));
            scraper
        });
    }
    let scrapers = scraping.join_all().await;
    let scrape = daemon.scrape().await;
    assert!(scrape.value("alikafka_exporter_http_connections", &[]).unwrap() >= 1000.0);
    assert_eq!(scrape.sum("alikafka_exporter_http_rejected_total", &[]), 0.0);
    drop(scrapers);
    daemon.stop().await;
}

fn rejected(scrape: &Scrape, reason: &str) -> f64 {
    scrape.sum("alikafka_exporter_http_rejected_total", &[("reason", reason)])
}

/// Number of log lines at level info and above.
fn visible_log_lines(daemon: &Daemon) -> usize {
    daemon.log_lines().iter().filter(|l| l["level"] != "debug" && l["level"] != "trace").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn misbehaving_clients_are_counted_not_logged_and_disturb_nobody() {
    let sim = wide_cloud(100).await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon
        .until("everything is known", |p| p.lag(A, "reader").is_some() && p.instance_up(A) == Some(1.0))
        .await;
    daemon
        .until_logged("the end of the first pass", |lines| {
            lines.iter().any(|l| l["msg"] == "first pass ended")
        })
        .await;
    let before = visible_log_lines(&daemon);
    let large_head = format!("GET /metrics HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    let many_headers = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100_000));
    let body = format!(
        "GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 10485760\r\n\r\n{}",
        "x".repeat(10 << 20)
    );
    let requests = [
        ("header_timeout", String::new()),
        ("header_timeout", "GET /met".to_owned()),
        ("head_too_large", large_head),
        ("head_too_large", many_headers),
        ("method", "DELETE /metrics HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()),
        ("body_too_large", body),
        (
            "bad_request",
            "GET /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"
                .to_owned(),
        ),
        ("bad_request", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}".to_owned()),
    ];
    const EACH: usize = 10;
    let mut waiting = Vec::new();
    for (_, request) in requests.iter().cycle().take(EACH * requests.len()) {
        let mut stream = TcpStream::connect(daemon.address()).await.unwrap();
        // The server may reject an incomplete request.
        _ = timeout(PATIENCE, stream.write_all(request.as_bytes())).await.unwrap();
        waiting.push(stream);
        // A client that disconnects during a response.
        drop(send_without_reading(daemon.address(), FILLING_REQUESTS).await);
    }
    let all = |p: &Scrape| {
        requests.iter().all(|(reason, _)| {
            let of_it = EACH * requests.iter().filter(|(r, _)| r == reason).count();
            rejected(p, reason) == of_it as f64
        })
    };
    let scrape = daemon.until("every client is counted", all).await;
    assert_eq!(rejected(&scrape, "limit") + rejected(&scrape, "accept"), 0.0);
    assert_eq!(visible_log_lines(&daemon), before, "{:#?}", daemon.log_lines());
    drop(waiting);
    let seen = scrape.lag(A, "reader");
    append_everywhere(&sim, 100);
    daemon.until("polling goes on", |p| p.lag(A, "reader") > seen).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_retain_few_generations_in_memory() {
    const PARTITIONS: u32 = 1_000;
    const READERS: usize = 200;
    const SWAPS: usize = 5;
    let sim = wide_cloud(PARTITIONS).await;
    let daemon = Daemon::start(&sim, &SLOW_POLLS).await;
    let mut scraper = Connection::open(daemon.address()).await;
    let (mut seen, length) = wait_for_lag_above(&mut scraper, None).await;
    let (size, idle) = (length / 1024, daemon.proc_status("VmRSS"));
    let mut readers = Vec::new();
    for _ in 0..SWAPS {
        for _ in 0..READERS / SWAPS {
            readers.push(send_without_reading(daemon.address(), FILLING_REQUESTS).await);
        }
        append_everywhere(&sim, PARTITIONS);
        (seen, _) = wait_for_lag_above(&mut scraper, seen).await;
    }
    let (now, most) = (daemon.proc_status("VmRSS"), idle + 3 * size + 64 * 1024);
    assert!(size * READERS as u64 > most - idle, "responses of {size} KiB are too small for this test");
    assert!(now <= most, "{now} KiB, more than {most}: {idle} before, and responses of {size}");
    for mut reader in readers.into_iter().step_by(20) {
        let read = timeout(PATIENCE, reader.read(&mut [0; 1024])).await.expect("it is still served");
        assert!(read.unwrap() > 0);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn polling_survives_a_lack_of_descriptors_and_scrapes_recover() {
    let sim = wide_cloud(300).await;
    sim.with_world(|w| add_instance(w, REGION, B));
    // Each call needs its own connection, hence a descriptor.
    sim.behaviour(|b| b.close_idle_after = Some(millis(100)));
    let url = sim.url();
    let [poll, topic_poll, _] = SLOW_POLLS;
    let settings = [("ENDPOINT", url.as_str()), poll, topic_poll];
    let launch = Launch { under: &["prlimit", "--nofile=64"], settings: &settings, ..Launch::default() };
    let daemon = Daemon::launch(launch).await;
    daemon
        .until("everything is known", |p| p.lag(A, "reader").is_some() && p.instance_up(B) == Some(1.0))
        .await;
    // Half of the clients are being served, so they cannot be evicted; the other half is idle.
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(send_without_reading(daemon.address(), FILLING_REQUESTS).await);
        crowd.push(send_without_reading(daemon.address(), 0).await);
    }
    let good_calls = || {
        let of_b =
            |e: &&alikafka_simulator::CallLogEntry| e.instance.as_deref() == Some(B) && e.code == "200";
        sim.with_call_log(|l| l.entries().filter(of_b).count())
    };
    let before = good_calls();
    let deadline = Instant::now() + PATIENCE;
    while good_calls() < before + 20 {
        assert!(Instant::now() < deadline, "polling has stopped");
        sleep(millis(20)).await;
    }
    drop(crowd);
    sim.with_world(write_more);
    let scrape = daemon.until("instance B is fresh", |p| {
        p.lag(B, "billing") == Some(LAG_AFTER) && p.region_up(REGION) == Some(1.0)
    });
    let scrape = scrape.await;
    assert!(["accept", "limit", "evicted"].iter().any(|reason| rejected(&scrape, reason) > 0.0));
    let lines = daemon.log_lines();
    let logged = lines.iter().filter(|l| l["msg"].as_str().unwrap().starts_with("cannot accept")).count();
    assert!(logged <= 2, "{logged} lines");
    // The cloud may have closed a connection in use, but no call may lack a descriptor.
    let lacks_descriptor = |l: &serde_json::Value| l["error"].as_str().unwrap().contains("open files");
    assert!(!daemon.failures().iter().any(lacks_descriptor), "polling has failed: {:#?}", daemon.failures());
    daemon.stop().await;
}

/// An unwritable destination of the log.
#[derive(Clone, Copy, Debug)]
enum LogTarget {
    FullDevice,
    Closed,
    /// A pipe whose reader is closed after the first line.
    BrokenPipe,
}

impl LogTarget {
    async fn run(self) {
        let sim = cloud().await;
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let [id, secret, token] = SECRETS;
        let redirect = match self {
            Self::FullDevice => "2>/dev/full",
            Self::Closed => "2>&-",
            Self::BrokenPipe => "",
        };
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!(r#"exec "$@" {redirect}"#), "sh", env!("CARGO_BIN_EXE_alikafka-exporter")])
            .arg(format!("--web.listen-address={free}"))
            .arg("--log.level=debug")
            .env_clear()
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", id)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret)
            .env("ALIBABA_CLOUD_SECURITY_TOKEN", token)
            .env("ALIKAFKA_EXPORTER_REGIONS", REGION)
            .env("ALIKAFKA_EXPORTER_ENDPOINT", sim.url())
            .env("ALIKAFKA_EXPORTER_POLL_INTERVAL", "500ms")
            .env("ALIKAFKA_EXPORTER_TOPIC_POLL_INTERVAL", "500ms")
            .env("ALIKAFKA_EXPORTER_STALE_AFTER", "4s")
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        if matches!(self, Self::BrokenPipe) {
            assert!(timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().is_some());
        }
        drop(lines);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(free).await.is_err() {
            assert_eq!(child.try_wait().unwrap(), None, "{self:?}: it has ended");
            assert!(Instant::now() < deadline, "{self:?}: it does not listen");
            sleep(millis(20)).await;
        }
        let mut scraper = Connection::open(free).await;
        let mut until_lag = async |lag: u64| {
            let deadline = Instant::now() + PATIENCE;
            while !family_values(&scrape_over(&mut scraper).await, "alikafka_group_lag_messages").eq([lag; 4])
            {
                assert!(Instant::now() < deadline, "{self:?}: it never lags by {lag}");
                sleep(millis(50)).await;
            }
        };
        until_lag(17).await;
        // Failures that are logged.
        sim.faults(|f| f.add(Fault::new(error(500, "InternalError", "oops")).times(20)));
        sim.with_world(write_more);
        until_lag(27).await;
        // A stderr that is closed at the start becomes /dev/null, where writes succeed.
        let lost =
            family_values(&scrape_over(&mut scraper).await, "alikafka_exporter_log_lines_lost_total").next();
        assert_eq!(lost > Some(0), !matches!(self, Self::Closed), "{self:?}: {lost:?}");
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        kill_process(pid.unwrap(), Signal::TERM).unwrap();
        assert_eq!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().code(), Some(0), "{self:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unwritable_log_stops_neither_polling_nor_scrapes() {
    let mut running = JoinSet::new();
    for log in [LogTarget::FullDevice, LogTarget::Closed, LogTarget::BrokenPipe] {
        running.spawn(log.run());
    }
    running.join_all().await;
}

/// 256 MiB of memory must suffice for an exposition five times as large. The limit here is on address space, because
/// threads and the debug build need a part of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_exposition_fits_into_little_memory() {
    const PARTITIONS: u32 = 3_000;
    const SERIES: usize = 7;
    let sim = wide_cloud(PARTITIONS).await;
    let url = sim.url();
    let [poll, topic_poll, stale] = SLOW_POLLS;
    let settings = [("ENDPOINT", url.as_str()), poll, topic_poll, stale];
    let limit = format!("--as={}", 256 << 20);
    let launch = Launch { under: &["prlimit", &limit], settings: &settings, ..Launch::default() };
    let daemon = Daemon::launch(launch).await;
    let mut scraper = Connection::open(daemon.address()).await;
    let (mut seen, _) = wait_for_lag_above(&mut scraper, None).await;
    let lines = scrape_over(&mut scraper).await.lines().filter(|l| l.contains("partition=")).count();
    assert!(lines >= SERIES * PARTITIONS as usize, "{lines} series");
    for _ in 0..3 {
        let crowd = (0..8).map(|_| send_without_reading(daemon.address(), FILLING_REQUESTS));
        let mut waiting = Vec::new();
        for client in crowd {
            waiting.push(client.await);
        }
        append_everywhere(&sim, PARTITIONS);
        (seen, _) = wait_for_lag_above(&mut scraper, seen).await;
    }
    assert_eq!(daemon.failures().len(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn an_unreadable_config_file_ends_the_start_with_one_line() {
    for (file, word) in [("/nowhere/alikafka.yml", "no such file"), ("/", "directory")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alikafka-exporter"));
        let flags = [format!("--config.file={file}"), "--web.listen-address=127.0.0.1:0".to_owned()];
        let output = command.env_clear().args(flags).kill_on_drop(true).output();
        let output = timeout(PATIENCE, output).await.expect("it ends").unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains(file) && line.contains(word), "{line}");
    }
}
