//! Black holes, proxies and huge responses: other regions are polled in time, scrapes never wait, memory is bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use alikafka_simulator::Faults;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    tls::{Authority, TlsProxy},
    *,
};

/// A relay to a cloud that can turn into a black hole: while the accept queue is full, the system does not respond to
/// connection attempts.
pub(super) struct BlackHole {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    waiting: Mutex<Vec<Socket>>,
    accepting: JoinHandle<()>,
}

impl BlackHole {
    pub(super) async fn open(cloud: &Simulator) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        // A queue of one connection.
        socket.listen(0).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(socket.into()).unwrap();
        let (address, cloud) = (listener.local_addr().unwrap(), cloud.addr());
        let (is_open, mut state) = watch::channel(true);
        let accepting = tokio::spawn(async move {
            loop {
                if !*state.borrow_and_update() {
                    if state.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                tokio::select! {
                    changed = state.changed() => if changed.is_err() { return },
                    Ok((stream, _)) = listener.accept() => {
                        tokio::spawn(relay(stream, cloud, state.clone()));
                    }
                }
            }
        });
        Self { address, is_open, waiting: Mutex::default(), accepting }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Turns into a black hole, and closes all connections.
    pub(super) fn drop_connections(&self) {
        self.is_open.send_replace(false);
        let mut waiting = self.waiting.lock().unwrap();
        for _ in 0..8 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            // Fills the queue.
            _ = socket.connect(&self.address.into());
            waiting.push(socket);
        }
    }

    /// Accepts connections again.
    pub(super) fn restore(&self) {
        self.waiting.lock().unwrap().clear();
        self.is_open.send_replace(true);
    }
}

impl Drop for BlackHole {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(mut stream: TcpStream, cloud: SocketAddr, mut state: watch::Receiver<bool>) {
    let Ok(mut cloud) = TcpStream::connect(cloud).await else { return };
    tokio::select! {
        _ = state.wait_for(|is_open| !is_open) => {}
        // The log of the exporter shows errors.
        _ = copy_bidirectional(&mut stream, &mut cloud) => {}
    }
}

const NEAR: [&str; 4] = [REGION, "cn-beijing", "cn-shanghai", "cn-shenzhen"];
const FAR: [&str; 3] = ["us-east-1", "us-west-1", "eu-west-1"];

/// Starts a cloud with one instance per region, named like the region.
async fn cloud_of(regions: &[&str]) -> Simulator {
    let sim = empty_cloud(regions).await;
    sim.with_world(|w| regions.iter().for_each(|region| add_instance(w, region, region)));
    sim
}

/// Starts the cloud of the far regions.
pub(super) async fn far_cloud() -> Simulator {
    cloud_of(&FAR).await
}

/// Returns the median time between two polls of the same object.
fn median_poll_interval(sim: &Simulator, from: Instant, until: Instant) -> Duration {
    let mut last = BTreeMap::<_, Instant>::new();
    let mut lengths = Vec::new();
    sim.with_call_log(|l| {
        for e in l.entries().filter(|e| e.object.is_some() && (from..until).contains(&e.at)) {
            let target = (e.action.clone(), e.instance.clone(), e.object.clone());
            if let Some(before) = last.insert(target, e.at) {
                lengths.push(e.at.duration_since(before));
            }
        }
    });
    assert!(lengths.len() >= 20, "{} passes are too few", lengths.len());
    lengths.sort_unstable();
    lengths[lengths.len() / 2]
}

/// Breaks the connection to the cloud of the far regions, at `url`, so that it never responds. The near regions must be
/// polled as before; the far ones keep their values, lose them, are logged once each, and recover.
pub(super) async fn assert_other_regions_unaffected(
    far: &Simulator,
    url: String,
    variables: &[(&str, &str)],
    break_connection: impl Fn(),
    restore_connection: impl Fn(),
    check: impl Fn(&Daemon),
) {
    const PASSES: Duration = Duration::from_secs(6);
    let near = cloud_of(&NEAR).await;
    let account = |name: &str, regions: &[&str], url: &str| {
        accounts::account(
            name,
            url,
            &accounts::first_credentials(),
            &format!("regions: [{}], ", regions.join(", ")),
        )
    };
    let file = format!(
        "accounts:
{}{}",
        account("near", &NEAR, &near.url()),
        account("far", &FAR, &url)
    );
    let settings = [("REQUEST_TIMEOUT", "1500ms"), ("STALE_AFTER", "6s")];
    let launch = Launch { variables, accounts: Some(&file), settings: &settings, ..Launch::default() };
    let daemon = Daemon::launch(launch).await;
    let all = |p: &Scrape, regions: &[&str], lag| regions.iter().all(|r| p.lag(r, "billing") == lag);
    let up = |p: &Scrape, regions: &[&str], up| regions.iter().all(|r| p.region_up(r) == Some(up));
    daemon
        .until("both are known", |p| all(p, &NEAR, Some(LAG_BEFORE)) && all(p, &FAR, Some(LAG_BEFORE)))
        .await;

    let well = Instant::now();
    sleep(PASSES).await;
    let broken = Instant::now();
    break_connection();
    near.with_world(write_more);
    far.with_world(write_more);
    let failed = |p: &Scrape| {
        p.sum("alikafka_exporter_api_requests_total", &[("account", "far"), ("result", "timeout")])
    };
    let mut kept = false;
    daemon
        .until("the far values have expired, the near ones are fresh", |p| {
            check(&daemon);
            assert!(FAR.iter().all(|r| p.lag(r, "billing").is_none_or(|lag| lag == LAG_BEFORE)));
            kept |= failed(p) >= 3.0 && all(p, &FAR, Some(LAG_BEFORE));
            all(p, &FAR, None) && up(p, &FAR, 0.0) && all(p, &NEAR, Some(LAG_AFTER)) && up(p, &NEAR, 1.0)
        })
        .await;
    assert!(kept, "old values are kept after the first failures");
    let enough = broken + PASSES;
    let scrape = daemon.until("as many passes as before", |_| Instant::now() >= enough).await;
    check(&daemon);
    let results = scrape.sum("alikafka_exporter_api_requests_total", &[("account", "near")]);
    let ok = scrape.sum("alikafka_exporter_api_requests_total", &[("account", "near"), ("result", "ok")]);
    assert_eq!(results, ok, "no call to the near cloud has failed");
    let (well, broken) =
        (median_poll_interval(&near, well, broken), median_poll_interval(&near, broken, Instant::now()));
    assert!(broken <= well.mul_f64(1.1), "polls every {broken:?} instead of {well:?}");
    let lines = daemon.failures();
    let place =
        |l: &serde_json::Value| ["region", "instance_id", "action", "result"].map(|k| l[k].to_string());
    let places: BTreeSet<_> = lines.iter().map(place).collect();
    assert_eq!(places.len(), lines.len(), "one line per region, instance and action: {lines:#?}");
    // The connection of a call in flight may have been closed.
    let expected = |l: &serde_json::Value| l["result"] == "timeout" || l["result"] == "connect";
    assert!(lines.iter().all(|l| l["account"] == "far" && expected(l)), "{lines:#?}");
    for region in FAR {
        assert!(
            lines.iter().any(|l| l["region"] == region && l["result"] == "timeout"),
            "{region}: {lines:#?}"
        );
    }

    restore_connection();
    daemon.until("the far regions are fresh", |p| all(p, &FAR, Some(LAG_AFTER)) && up(p, &FAR, 1.0)).await;
    daemon.until_logged("the recoveries", |_| daemon.recoveries().len() == places.len()).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_holed_region_delays_no_other() {
    let far = far_cloud().await;
    let black_hole = BlackHole::open(&far).await;
    assert_other_regions_unaffected(
        &far,
        black_hole.url(),
        &[],
        || black_hole.drop_connections(),
        || black_hole.restore(),
        |_| (),
    )
    .await;
}

#[tokio::test]
async fn a_scrape_never_waits_for_an_api_call() {
    let sim = cloud().await;
    // Calls take longer than this test, so a scrape that waited for one would not return.
    let daemon = Daemon::start(&sim, &[("REQUEST_TIMEOUT", "5m")]).await;
    daemon.until_known().await;
    let calls = || sim.with_call_log(|l| l.entries().filter(|e| e.action == "GetConsumerProgress").count());
    sim.faults(|f| f.add(Fault::new(Effect::Hang)));
    let before = calls();
    daemon.until("calls hang", |_| calls() >= before + 4).await;
    let ended = |p: &Scrape| p.sum("alikafka_exporter_api_requests_total", &[]);
    let scrape = daemon.scrape().await;
    for path in ["/metrics", "/", "/-/healthy", "/-/ready"].repeat(50) {
        assert_eq!(daemon.get(path).await.0, 200, "{path}");
    }
    assert_eq!(ended(&daemon.scrape().await), ended(&scrape), "no call has ended");
    sim.faults(Faults::clear);
    daemon.stop().await;
}

#[tokio::test]
async fn a_response_of_500_megabytes_uses_little_memory() {
    const MOST_KIB: u64 = 32 * 1024;
    for declared in [false, true] {
        let sim = cloud().await;
        let daemon = Daemon::start(&sim, &[]).await;
        daemon.until_known().await;
        let before = daemon.proc_status("VmHWM");
        sim.faults(|f| f.add(on_group("billing", Effect::Oversized { bytes: 500 << 20, declared })));
        sim.with_world(write_more);
        daemon
            .until("rejected repeatedly, and others are fresh", |p| {
                p.api_calls("GetConsumerProgress", "too_large") >= 4.0
                    && p.lag(A, "shipping") == Some(LAG_AFTER)
                    && p.lag(B, "billing") == Some(LAG_AFTER)
            })
            .await;
        let more = daemon.proc_status("VmHWM") - before;
        assert!(more <= MOST_KIB, "{more} KiB more");
        daemon.stop().await;
    }
}

/// An HTTP proxy that records requests.
struct Proxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let recorded = Arc::clone(&requests);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recorded = Arc::clone(&recorded);
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n")
                        && stream.read_line(&mut head).await.is_ok_and(|n| n > 0)
                    {}
                    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    recorded.lock().unwrap().push(head);
                    let Ok(mut there) = TcpStream::connect(target).await else { return };
                    if stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.is_ok() {
                        // The log of the exporter shows errors.
                        _ = copy_bidirectional(&mut stream, &mut there).await;
                    }
                });
            }
        });
        Self { address, requests, accepting }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[tokio::test]
async fn a_proxy_is_used_only_if_configured() {
    let (sim, authority, proxy) = (cloud().await, Authority::new("proxy"), Proxy::start().await);
    let tls_proxy = TlsProxy::start(&sim, authority.certified("127.0.0.1", 2999)).await;
    let (url, at) = (tls_proxy.url(), format!("http://{}", proxy.address));
    let mut variables = vec![("SSL_CERT_FILE", authority.file())];
    variables.extend(
        ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"]
            .map(|name| (name, at.as_str())),
    );
    for (setting, through) in [("none", false), ("environment", true), (&at, true)] {
        proxy.requests.lock().unwrap().clear();
        let settings = [("ENDPOINT", url.as_str()), ("PROXY", setting)];
        let launch = Launch { variables: &variables, settings: &settings, ..Launch::default() };
        let daemon = Daemon::launch(launch).await;
        daemon.until_known().await;
        let is_setting = |l: &serde_json::Value| l["msg"] == "account configured" && l["proxy"] == setting;
        assert!(daemon.log_lines().iter().any(is_setting), "logged at the start: {:#?}", daemon.log_lines());
        assert_eq!(daemon.failures().len(), 0);
        daemon.stop().await;
        let requests = proxy.requests.lock().unwrap().clone();
        assert_eq!(!requests.is_empty(), through, "proxy: {setting}: {requests:?}");
        for head in requests {
            assert!(head.starts_with(&format!("CONNECT 127.0.0.1:{} ", tls_proxy.port())), "{head}");
            assert!(daemon::encoded_secrets().iter().all(|(_, form)| !head.contains(form)), "{head}");
        }
    }
}
