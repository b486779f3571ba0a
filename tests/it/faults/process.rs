//! The process among its neighbours: signals, crowds, want of descriptors and memory, logs that cannot be
//! written, addresses that are taken.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::{Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    process::Command,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::*;

/// Longest wait for anything that must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many pages of a wide cloud fill every buffer of the system.
const MANY: usize = 40;
const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: test\r\n\r\n";

/// A cloud of one instance, whose topic and group have so many partitions that a page fills no buffer of
/// the system.
async fn wide_cloud(partitions: u32) -> Simulator {
    let sim = empty_cloud(&[REGION]).await;
    sim.world(|w| {
        w.add_instance(REGION, InstanceSpec::new(A));
        w.add_topic(A, TopicSpec::new("wide", partitions)).unwrap();
        add_group(w, A, "reader", "wide");
    });
    move_on(&sim, partitions);
    sim
}

/// One more message in each partition, at once.
fn move_on(sim: &Simulator, partitions: u32) {
    sim.world(|w| (0..partitions).for_each(|p| w.append(A, "wide", p, 1).unwrap()));
}

/// Polls of a wide cloud take their time in a build without optimisation.
const UNHURRIED: [(&str, &str); 3] =
    [("POLL_INTERVAL", "1s"), ("TOPIC_POLL_INTERVAL", "1s"), ("STALE_AFTER", "30s")];

/// Scrapes until the group of a wide cloud lags by more than this many messages in each partition. Looks
/// at nothing else, as a wide page takes long to read. Returns by how many, and the length of the page.
async fn until_behind(scraper: &mut Scraper, lag: Option<u64>) -> (Option<u64>, u64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let page = scraper.scrape().await;
        let now = only(page, "alikafka_group_partition_lag_messages");
        if now > lag && values(page, "alikafka_topic_partition_end_offset").next().is_some() {
            return (now, page.len() as u64);
        }
        assert!(Instant::now() < until, "it never lags by more than {lag:?}");
        sleep(millis(50)).await;
    }
}

/// Sends so many requests at once and reads nothing of the answers, so that one is being answered: the
/// system's own buffers take the first few.
async fn ask_slowly(address: SocketAddr, requests: usize) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = timeout(PATIENCE, socket.connect(address)).await.unwrap().unwrap();
    stream.write_all(&GET.repeat(requests)).await.unwrap();
    stream
}

/// The bodies of all answers up to the end of the connection, each of which is whole.
async fn rest_of(mut stream: TcpStream) -> Vec<String> {
    let mut answers = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answers)).await.expect("it ends").unwrap();
    let (mut bodies, mut rest) = (Vec::new(), answers.as_str());
    while !rest.is_empty() {
        let (head, after) = rest.split_once("\r\n\r\n").expect("a whole head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let (body, after) = after.split_at_checked(length(head)).expect("a whole body");
        bodies.push(body.to_owned());
        rest = after;
    }
    bodies
}

fn length(head: &str) -> usize {
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
    length.parse().unwrap()
}

/// When a signal comes.
#[derive(Clone, Copy, PartialEq, Debug)]
enum When {
    InAPass,
    BeforeTheFirstPass,
    Twice,
}

impl When {
    async fn ends(self, sim: &Simulator) {
        let [poll, topic_poll, _] = UNHURRIED;
        let daemon = Daemon::start(sim, &[poll, topic_poll, ("REQUEST_TIMEOUT", "5m")]).await;
        if self == Self::BeforeTheFirstPass {
            assert_eq!(daemon.get("/-/ready").await.0, 503);
        } else {
            until_behind(&mut Scraper::connect(daemon.address()).await, None).await;
        }
        let requests = if self == Self::BeforeTheFirstPass { 1 } else { MANY };
        let scrape = ask_slowly(daemon.address(), requests).await;
        daemon.terminate();
        daemon.until_stopping().await;
        if self == Self::Twice {
            // The scrape holds the end up, and the second signal waits for nothing.
            daemon.terminate();
            assert_eq!(daemon.ended().await.code(), Some(1));
            return;
        }
        let bodies = rest_of(scrape).await;
        assert!((1..=requests).contains(&bodies.len()), "{} answers", bodies.len());
        assert!(bodies.iter().all(|b| b.ends_with('\n') && b.contains("alikafka_exporter_build_info")));
        let stopping = daemon.log_lines().iter().filter(|l| l["msg"] == "stopping").count();
        assert_eq!(stopping, 1, "one line tells of it");
        assert_eq!(daemon.ended().await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_lets_a_scrape_complete_and_a_second_one_lets_nothing() {
    const RUNS: usize = 20;
    let (sim, silent) = (Arc::new(wide_cloud(300).await), Arc::new(wide_cloud(1).await));
    // A pass is always under way, or the first one never ends.
    sim.world(|w| add_instance(w, REGION, B));
    sim.faults(|f| f.add(Fault::new(Effect::Hang).instance(B).action("GetConsumerProgress")));
    silent.faults(|f| f.add(Fault::new(Effect::Hang)));
    for when in [When::InAPass, When::BeforeTheFirstPass, When::Twice] {
        let mut running = JoinSet::new();
        for run in 0..RUNS {
            let sim = Arc::clone(if when == When::BeforeTheFirstPass { &silent } else { &sim });
            running.spawn(async move { when.ends(&sim).await });
            if run >= 3 {
                running.join_next().await.unwrap().unwrap();
            }
        }
        running.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_with_five_hundred_scrapes_under_way_ends_it_in_time_and_completes_those_that_are_read() {
    let sim = wide_cloud(30).await;
    let daemon = Daemon::start(&sim, &UNHURRIED).await;
    until_behind(&mut Scraper::connect(daemon.address()).await, None).await;
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for n in 0..500 {
        if n % 50 == 0 {
            unread.push(ask_slowly(daemon.address(), 4 * MANY).await);
        } else {
            read.push(ask_slowly(daemon.address(), 1).await);
        }
    }
    for client in &read {
        let begun = timeout(PATIENCE, client.peek(&mut [0])).await.expect("its answer begins");
        assert_eq!(begun.unwrap(), 1);
    }
    daemon.terminate();
    daemon.until_stopping().await;
    let mut reading = JoinSet::new();
    for client in read {
        reading.spawn(async move { assert_eq!(rest_of(client).await.len(), 1) });
    }
    reading.join_all().await;
    assert_eq!(daemon.ended().await.code(), Some(0), "whoever reads nothing is cut");
}

/// The values of a family on a page. Reads nothing but the family, as there are many pages.
fn values<'p>(page: &'p str, family: &str) -> impl Iterator<Item = u64> + 'p {
    let head = format!("# TYPE {family} ");
    let samples = page.find(&head).map_or("", |at| &page[at..]);
    let lines = samples.split('\n').skip(1).take_while(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(|l| l.rsplit_once(' ').unwrap().1.parse().unwrap())
}

/// One number of all values of a family.
fn only(page: &str, family: &str) -> Option<u64> {
    let mut values = values(page, family);
    let first = values.next()?;
    assert!(values.all(|v| v == first), "{family} has more than one number");
    Some(first)
}

/// Whoever scrapes over one connection, again and again.
struct Scraper {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Scraper {
    async fn connect(address: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap();
        Self { stream: BufReader::with_capacity(64 * 1024, stream), body: Vec::new() }
    }

    async fn scrape(&mut self) -> &str {
        let exchange = async {
            self.stream.write_all(GET).await.unwrap();
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(self.stream.read_line(&mut head).await.unwrap() > 0, "closed: {head}");
            }
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            self.body.resize(length(&head), 0);
            self.stream.read_exact(&mut self.body).await.unwrap();
        };
        timeout(PATIENCE, exchange).await.expect("a scrape is answered");
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Each answer of the cloud has one number for all partitions, as it is asked under one lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_scrapes_during_swaps_is_of_one_generation_and_none_goes_back() {
    const SCRAPES: usize = 10_000;
    const CLIENTS: usize = 4;
    const PARTITIONS: u32 = 20;
    let sim = wide_cloud(PARTITIONS).await;
    let fast =
        [("POLL_INTERVAL", "100ms"), ("TOPIC_POLL_INTERVAL", "100ms"), ("DISCOVERY_INTERVAL", "500ms")];
    let daemon = Daemon::start(&sim, &fast).await;
    until_behind(&mut Scraper::connect(daemon.address()).await, None).await;
    // The latest number that a whole page has shown.
    let latest = Arc::new(AtomicU64::new(0));
    let mut scraping = JoinSet::new();
    for _ in 0..CLIENTS {
        let (latest, address) = (Arc::clone(&latest), daemon.address());
        scraping.spawn(async move {
            let mut scraper = Scraper::connect(address).await;
            let mut swaps = 0;
            let mut last = 0;
            for _ in 0..SCRAPES / CLIENTS {
                let before = latest.load(Ordering::SeqCst);
                let page = scraper.scrape().await;
                let lag = only(page, "alikafka_group_partition_lag_messages").unwrap();
                assert_eq!(only(page, "alikafka_group_lag_messages"), Some(lag * u64::from(PARTITIONS)));
                assert_eq!(only(page, "alikafka_group_partition_offset"), Some(0));
                only(page, "alikafka_topic_partition_end_offset").unwrap();
                assert!(lag >= before, "{lag} after a scrape that had seen {before}");
                latest.fetch_max(lag, Ordering::SeqCst);
                swaps += usize::from(lag != last);
                last = lag;
            }
            swaps
        });
    }
    let moving = async {
        loop {
            move_on(&sim, PARTITIONS);
            sleep(millis(10)).await;
        }
    };
    let swaps = tokio::select! {
        swaps = scraping.join_all() => swaps,
        () = moving => unreachable!(),
    };
    assert!(swaps.iter().all(|swaps| *swaps >= 5), "too few swaps were met: {swaps:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn before_the_first_pass_the_page_has_the_exporter_s_own_series_and_it_is_not_ready() {
    let sim = cloud().await;
    sim.faults(|f| f.add(Fault::new(Effect::Hang)));
    let daemon = Daemon::start(&sim, &[("REQUEST_TIMEOUT", "5m")]).await;
    daemon.until("the first call hangs", |_| !sim.call_log().is_empty()).await;
    let page = daemon.scrape().await;
    assert_eq!(page.cloud_series(&[]), [].into(), "of the cloud nothing is known");
    assert_eq!(page.count("alikafka_exporter_build_info", &[]), 1);
    let (status, words) = daemon.get("/-/ready").await;
    assert!(status == 503 && words.contains(REGION), "{status}: {words}");
    assert_eq!(daemon.get("/-/healthy").await.0, 200);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_scrapers_at_once_all_get_their_page() {
    const SCRAPERS: usize = 1000;
    let sim = cloud().await;
    // So many take their time, in which nothing else may be read.
    let daemon = Daemon::start(&sim, &[("STALE_AFTER", "60s")]).await;
    daemon.until("all known", |p| all_lag_by(p, BEFORE)).await;
    let mut scrapers = Vec::new();
    for _ in 0..SCRAPERS {
        scrapers.push(Scraper::connect(daemon.address()).await);
    }
    let mut scraping = JoinSet::new();
    for mut scraper in scrapers {
        scraping.spawn(async move {
            let lag = only(scraper.scrape().await, "alikafka_group_lag_messages");
            assert_eq!(lag, Some(17));
            scraper
        });
    }
    let scrapers = scraping.join_all().await;
    let page = daemon.scrape().await;
    assert!(page.value("alikafka_exporter_http_connections", &[]).unwrap() >= 1000.0);
    assert_eq!(page.sum("alikafka_exporter_http_rejected_total", &[]), 0.0);
    drop(scrapers);
    daemon.stop().await;
}

fn rejected(page: &Scrape, reason: &str) -> f64 {
    page.sum("alikafka_exporter_http_rejected_total", &[("reason", reason)])
}

/// Lines that an operator sees.
fn loud(daemon: &Daemon) -> usize {
    daemon.log_lines().iter().filter(|l| l["level"] != "debug" && l["level"] != "trace").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_misbehave_are_counted_and_not_logged_and_disturb_nobody() {
    let sim = wide_cloud(100).await;
    let daemon = Daemon::start(&sim, &[]).await;
    daemon.until("all known", |p| p.lag(A, "reader").is_some() && p.instance_up(A) == Some(1.0)).await;
    daemon.until_logged("the plan", |lines| lines.iter().any(|l| l["msg"] == "first pass ended")).await;
    let before = loud(&daemon);
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
        // It may have refused before it has all.
        _ = timeout(PATIENCE, stream.write_all(request.as_bytes())).await.unwrap();
        waiting.push(stream);
        // Whoever leaves in the middle of an answer.
        drop(ask_slowly(daemon.address(), MANY).await);
    }
    let all = |p: &Scrape| {
        requests.iter().all(|(reason, _)| {
            let of_it = EACH * requests.iter().filter(|(r, _)| r == reason).count();
            rejected(p, reason) == of_it as f64
        })
    };
    let page = daemon.until("all are counted", all).await;
    assert_eq!(rejected(&page, "limit") + rejected(&page, "accept"), 0.0);
    assert_eq!(loud(&daemon), before, "{:#?}", daemon.log_lines());
    drop(waiting);
    let seen = page.lag(A, "reader");
    move_on(&sim, 100);
    daemon.until("polling goes on", |p| p.lag(A, "reader") > seen).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_of_many_generations_pin_few_pages() {
    const PARTITIONS: u32 = 1_000;
    const READERS: usize = 200;
    const SWAPS: usize = 5;
    let sim = wide_cloud(PARTITIONS).await;
    let daemon = Daemon::start(&sim, &UNHURRIED).await;
    let mut scraper = Scraper::connect(daemon.address()).await;
    let (mut seen, length) = until_behind(&mut scraper, None).await;
    let (size, idle) = (length / 1024, daemon.proc_status("VmRSS"));
    let mut readers = Vec::new();
    for _ in 0..SWAPS {
        for _ in 0..READERS / SWAPS {
            readers.push(ask_slowly(daemon.address(), MANY).await);
        }
        move_on(&sim, PARTITIONS);
        (seen, _) = until_behind(&mut scraper, seen).await;
    }
    let (now, most) = (daemon.proc_status("VmRSS"), idle + 3 * size + 64 * 1024);
    assert!(size * READERS as u64 > most - idle, "pages of {size} KiB are too small to tell");
    assert!(now <= most, "{now} KiB, more than {most}: {idle} before, and pages of {size}");
    for mut reader in readers.into_iter().step_by(20) {
        let read = timeout(PATIENCE, reader.read(&mut [0; 1024])).await.expect("it is still served");
        assert!(read.unwrap() > 0);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn without_descriptors_polling_goes_on_and_scrapes_are_back_once_there_are_some() {
    let sim = wide_cloud(300).await;
    sim.world(|w| add_instance(w, REGION, B));
    // Each call needs a connection of its own, and with it a descriptor.
    sim.behaviour(|b| b.close_idle_after = Some(millis(100)));
    let url = sim.url();
    let [poll, topic_poll, _] = UNHURRIED;
    let settings = [("ENDPOINT", url.as_str()), poll, topic_poll];
    let launch = Launch { under: &["prlimit", "--nofile=64"], settings: &settings, ..Launch::default() };
    let daemon = Daemon::launch(launch).await;
    daemon.until("all known", |p| p.lag(A, "reader").is_some() && p.instance_up(B) == Some(1.0)).await;
    // Half of them are being answered, so that none of these can be sent away, and half say nothing.
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(ask_slowly(daemon.address(), MANY).await);
        crowd.push(ask_slowly(daemon.address(), 0).await);
    }
    let answered = || {
        let of_b =
            |e: &&alikafka_simulator::CallLogEntry| e.instance.as_deref() == Some(B) && e.code == "200";
        sim.with_call_log(|l| l.entries().filter(of_b).count())
    };
    let then = answered();
    let until = Instant::now() + PATIENCE;
    while answered() < then + 20 {
        assert!(Instant::now() < until, "polling has ceased");
        sleep(millis(20)).await;
    }
    drop(crowd);
    sim.world(write_more);
    let page = daemon
        .until("B is fresh", |p| p.lag(B, "billing") == Some(AFTER) && p.region_up(REGION) == Some(1.0));
    let page = page.await;
    assert!(["accept", "limit", "evicted"].iter().any(|reason| rejected(&page, reason) > 0.0));
    let lines = daemon.log_lines();
    let told = lines.iter().filter(|l| l["msg"].as_str().unwrap().starts_with("cannot accept")).count();
    assert!(told <= 2, "{told} lines");
    // The cloud may have closed a connection that was just used; want of descriptors is another matter.
    let wanting = |l: &serde_json::Value| l["msg"].as_str().unwrap().contains("open files");
    assert!(!daemon.failures().iter().any(wanting), "polling has failed: {:#?}", daemon.failures());
    daemon.stop().await;
}

/// Where the log of a daemon goes, which is nowhere.
#[derive(Clone, Copy, Debug)]
enum Log {
    FullDevice,
    Closed,
    /// A pipe whose reader has left after the first line.
    BrokenPipe,
}

impl Log {
    async fn holds(self) {
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
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(free).await.is_err() {
            assert_eq!(child.try_wait().unwrap(), None, "{self:?}: it has ended");
            assert!(Instant::now() < until, "{self:?}: it does not listen");
            sleep(millis(20)).await;
        }
        let mut scraper = Scraper::connect(free).await;
        let mut until_lag = async |lag: u64| {
            let until = Instant::now() + PATIENCE;
            while !values(scraper.scrape().await, "alikafka_group_lag_messages").eq([lag; 4]) {
                assert!(Instant::now() < until, "{self:?}: it never lags by {lag}");
                sleep(millis(50)).await;
            }
        };
        until_lag(17).await;
        // What fails is told, or would be.
        sim.faults(|f| f.add(Fault::new(error(500, "InternalError", "oops")).times(20)));
        sim.world(write_more);
        until_lag(27).await;
        // A stderr that was closed before the start is the null device, which takes all.
        let lost = values(scraper.scrape().await, "alikafka_exporter_log_lines_lost_total").next();
        assert_eq!(lost > Some(0), !matches!(self, Self::Closed), "{self:?}: {lost:?}");
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        kill_process(pid.unwrap(), Signal::TERM).unwrap();
        assert_eq!(timeout(PATIENCE, child.wait()).await.unwrap().unwrap().code(), Some(0), "{self:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_stops_neither_polling_nor_scrapes() {
    let mut running = JoinSet::new();
    for log in [Log::FullDevice, Log::Closed, Log::BrokenPipe] {
        running.spawn(log.holds());
    }
    running.join_all().await;
}

/// A fifth of the page that 256 MiB of memory must do for, in 256 MiB of addresses, of which threads and
/// a build without optimisation take their share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_page_fits_into_little_memory() {
    const PARTITIONS: u32 = 3_000;
    const SERIES: usize = 7;
    let sim = wide_cloud(PARTITIONS).await;
    let url = sim.url();
    let [poll, topic_poll, stale] = UNHURRIED;
    let settings = [("ENDPOINT", url.as_str()), poll, topic_poll, stale];
    let limit = format!("--as={}", 256 << 20);
    let launch = Launch { under: &["prlimit", &limit], settings: &settings, ..Launch::default() };
    let daemon = Daemon::launch(launch).await;
    let mut scraper = Scraper::connect(daemon.address()).await;
    let (mut seen, _) = until_behind(&mut scraper, None).await;
    let lines = scraper.scrape().await.lines().filter(|l| l.contains("partition=")).count();
    assert!(lines >= SERIES * PARTITIONS as usize, "{lines} series");
    for _ in 0..3 {
        let crowd = (0..8).map(|_| ask_slowly(daemon.address(), MANY));
        let mut waiting = Vec::new();
        for client in crowd {
            waiting.push(client.await);
        }
        move_on(&sim, PARTITIONS);
        (seen, _) = until_behind(&mut scraper, seen).await;
    }
    assert_eq!(daemon.failures().len(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_at_the_start_ends_it_with_one_line() {
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
