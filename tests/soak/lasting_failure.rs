//! A day of one failure: memory stays constant, and the log stays short.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alikafka_simulator::{
    AccessKey, Effect, Fault, ServiceBehaviour, Simulator, SimulatorOptions, WorldOptions,
};
use test_support::{PATIENCE, scrape::Scrape};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};

use super::measured_exporter::{self, MeasuredExporter, PassCounter, Sample, until};

const PASS: Duration = Duration::from_millis(100);
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Calls of a pass. Each may be waiting for a response.
const CALLS_PER_PASS: usize = 1 + 3 * 2 + 3 * 3 * 2;
/// Most log lines of a run, including the start.
const MAX_LOG_LINES: usize = 30;

/// The failure of a run, from its first passes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Failure {
    /// The cloud rejects the access key.
    Auth,
    /// The cloud does not respond.
    Timeout,
    /// The endpoint does not speak TLS.
    Tls,
}

pub(crate) async fn run(failure: Failure, count: usize, sample: usize) {
    println!("lasting failure: {failure:?}, {count} passes");
    let cloud = cloud().await;
    let (plain, calls) = cleartext_endpoint().await;
    let endpoint = if failure == Failure::Tls { plain } else { cloud.url() };
    // Only the timeout run may have timeouts, even on a busy machine.
    let timeout = if failure == Failure::Timeout { "200ms" } else { "10s" };
    let settings = [
        ("REGIONS", "cn-hangzhou"),
        ("POLL_INTERVAL", "100ms"),
        ("IDLE_POLL_INTERVAL", "100ms"),
        ("DISCOVERY_INTERVAL", "400ms"),
        ("STALE_AFTER", "2s"),
        ("REQUEST_TIMEOUT", timeout),
        ("REQUESTS_PER_SECOND", "500"),
    ];
    let exporter = MeasuredExporter::start(&endpoint, &settings).await;
    let truth = cloud.truth();
    let instances = truth.regions.values().flat_map(|r| r.instances.values()).filter(|i| i.in_service);
    let groups = instances.flat_map(|i| i.groups.keys().map(|g| (i.id.clone(), g.clone())));
    let mut passes = PassCounter::new(groups, PASS);
    let mut pass = || match failure {
        Failure::Tls => calls.load(Ordering::Relaxed) * 10 / 11,
        // With a rejected key there is one call per interval.
        Failure::Auth => passes.intervals(&cloud),
        Failure::Timeout => passes.count(&cloud),
    };
    if failure != Failure::Tls {
        until("a few good passes", PATIENCE, CHECK_INTERVAL, || pass() >= 3).await;
    }
    match failure {
        Failure::Auth => cloud.behaviour(|b| b.keys = vec![AccessKey::new("another", "another-secret")]),
        Failure::Timeout => cloud.faults(|f| f.add(Fault::new(Effect::Hang))),
        Failure::Tls => {}
    }
    // Resets the descriptor count.
    exporter.sample(0).await;
    let (began, mut samples) = (Instant::now(), Vec::<Sample>::new());
    for next in (sample..=count).step_by(sample) {
        until("the next passes", PATIENCE.max(PASS * 40 * sample as u32), CHECK_INTERVAL, || pass() >= next)
            .await;
        samples.push(exporter.sample(next).await);
        println!("{failure:?} {}", samples[samples.len() - 1]);
    }
    let (lines, warm) = (exporter.log_lines(), 200.min(count / 4));
    println!(
        "lasting failure: {failure:?}: {}, in {:?}",
        measured_exporter::memory_slope(&samples, warm),
        began.elapsed()
    );
    let failed = Scrape::parse(exporter.metrics().await).sum("alikafka_exporter_api_requests_total", &[]);
    assert!(failed > count as f64, "only {failed} calls have failed");
    let violations = measured_exporter::violations(
        &samples,
        warm,
        if failure == Failure::Timeout { CALLS_PER_PASS } else { 0 },
    );
    assert!(violations.is_empty(), "{violations:#?}");
    assert!(
        lines.len() <= MAX_LOG_LINES,
        "{} log lines, e.g.\n{}",
        lines.len(),
        lines[..MAX_LOG_LINES + 10].join("\n")
    );
    exporter.stop().await;
}

async fn cloud() -> Simulator {
    let world = WorldOptions {
        instances_per_region: 3,
        topics_per_instance: 3,
        groups_per_instance: 3,
        idle_instances_per_region: 0,
        ..WorldOptions::default()
    };
    let behaviour = ServiceBehaviour {
        keys: vec![measured_exporter::key()],
        close_idle_after: Some(Duration::from_millis(50)),
        ..ServiceBehaviour::default()
    };
    let options =
        SimulatorOptions { world, behaviour, call_log_limit: 10_000_000, ..SimulatorOptions::default() };
    Simulator::start(options).await.unwrap()
}

/// Starts an endpoint that responds to a TLS handshake in cleartext. Returns its URL and its number of connections.
async fn cleartext_endpoint() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let calls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut hello = [0; 64];
                // The client may have disconnected.
                let _ = stream.read(&mut hello).await;
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
            });
        }
    });
    (endpoint, calls)
}
