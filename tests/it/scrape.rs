//! A scrape exposes the truth of the simulated cloud: every value is that of its API response, and no series is missing
//! or unexpected. Out of scope: budgets, which `faults` covers.
#![cfg(test)]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use alikafka_exporter::{ConfigSource, WebOptions, config, run, web::HttpLimits};
use alikafka_simulator::{
    AccessKey, Churn, ClockMode, GroupTruth, LastServed, ObjectKey, ServiceBehaviour, Simulator,
    SimulatorOptions, WorldOptions,
};
use test_support::{expected, http, series::SeriesSet};
use tokio::{
    net::TcpListener,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

mod lag_seconds;

/// An exporter and its simulated cloud, both in this process.
pub(crate) struct InProcessExporter {
    cloud: Simulator,
    address: SocketAddr,
    shutdown: CancellationToken,
    daemon: tokio::task::JoinHandle<Result<(), alikafka_exporter::RunError>>,
}

impl InProcessExporter {
    /// Starts both. `settings` are further lines of the configuration.
    pub(crate) async fn start(options: SimulatorOptions, settings: &str) -> Self {
        let key = options.behaviour.keys.first().cloned().unwrap();
        let cloud = Simulator::start(options).await.unwrap();
        let yaml = format!(
            "endpoint: {}\ncredentials: {{access_key_id: {}, access_key_secret: {}}}\n{settings}",
            cloud.url(),
            key.id,
            key.secret
        );
        let config = config::parse(Some(("test.yml", &yaml)), &BTreeMap::new()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let web = WebOptions {
            telemetry_path: "/metrics".to_owned(),
            limits: HttpLimits::default(),
            lifecycle: false,
            explain: false,
        };
        let daemon =
            tokio::spawn(run(config, ConfigSource::default(), web, vec![listener], shutdown.clone()));
        Self { cloud, address, shutdown, daemon }
    }

    pub(crate) async fn scrape(&self) -> SeriesSet {
        SeriesSet::parse(http::get(self.address, "/metrics").await.unwrap().text().to_owned())
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.daemon.await.unwrap().unwrap();
        self.cloud.shutdown().await;
    }
}

/// Returns a cloud with everything: churn, unusual names, offsets that an f64 cannot represent.
fn varied_cloud(seed: u64) -> SimulatorOptions {
    SimulatorOptions {
        clock: ClockMode::Manual,
        world: WorldOptions {
            seed,
            regions: vec!["cn-hangzhou".to_owned(), "eu-central-1".to_owned()],
            topics_per_instance: 8,
            groups_per_instance: 10,
            churn: Churn { topics_per_hour: 120, groups_per_hour: 120 },
            serverless_every: 2,
            local_every: 3,
            unusual_names: true,
            big_offsets: true,
            ..WorldOptions::default()
        },
        behaviour: ServiceBehaviour {
            keys: vec![AccessKey::new("LTAI5tScrapeTestKey", "scrape-test-secret")],
            ..ServiceBehaviour::default()
        },
        ..SimulatorOptions::default()
    }
}

const FAST_SETTINGS: &str =
    "regions: auto\npoll_interval: 400ms\ndiscovery_interval: 600ms\nstale_after: 10s\n";

/// Waits until a scrape equals the truth.
async fn wait_until_correct(exporter: &InProcessExporter) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        // Only `advance` changes the cloud.
        let difference = expected::difference(&exporter.cloud.truth(), &exporter.scrape().await);
        if difference.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{} series differ:\n{}", difference.len(), difference.join("\n"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_series_equals_the_truth_and_none_is_missing() {
    let exporter =
        InProcessExporter::start(varied_cloud(7), &format!("{FAST_SETTINGS}requests_per_second: 400\n"))
            .await;
    let mut responses = ServedResponses::default();
    for step in 0..12u64 {
        wait_until_correct(&exporter).await;
        responses.record(&exporter.cloud);
        exporter.cloud.advance(Duration::from_secs(5 + step * step * 7));
        // Meanwhile, each group exposes one complete response, and never an older one than before.
        for _ in 0..12 {
            let scrape = exporter.scrape().await;
            responses.record(&exporter.cloud);
            responses.check(&scrape);
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    wait_until_correct(&exporter).await;
    assert!(responses.compared > 1000, "only {} values were compared", responses.compared);
    assert!(responses.advanced > 100, "only {} new responses were exposed", responses.advanced);
    exporter.stop().await;
}

/// The GetConsumerProgress responses of the cloud.
#[derive(Default)]
struct ServedResponses {
    groups: BTreeMap<ObjectKey, GroupResponses>,
    /// Number of compared series.
    compared: usize,
    /// Number of times that a newer response was exposed.
    advanced: usize,
}

#[derive(Default)]
struct GroupResponses {
    responses: Vec<LastServed<GroupTruth>>,
    /// Index of the response that was exposed last.
    exposed: usize,
}

impl ServedResponses {
    /// Records new responses. Must be called more often than groups are polled.
    fn record(&mut self, cloud: &Simulator) {
        for (key, last) in cloud.served().groups {
            let responses = &mut self.groups.entry(key).or_default().responses;
            if responses.last().is_none_or(|before| before.times != last.times) {
                responses.push(last);
            }
        }
    }

    /// Asserts that each group exposes one of its responses, and no older one than before.
    fn check(&mut self, scrape: &SeriesSet) {
        let groups = scrape.by_group();
        for (key, GroupResponses { responses, exposed }) in &mut self.groups {
            // The group may have been deleted.
            let Some(actual) = groups.get(key) else { continue };
            let (region, instance, group) = key;
            self.compared += actual.len();
            let differences = responses[*exposed..].iter().map(|response| {
                let mut series = SeriesSet::default();
                expected::add_group(&mut series, region, instance, group, &response.truth);
                series.difference(actual, &BTreeSet::new())
            });
            let differences: Vec<_> = differences.collect();
            match differences.iter().position(Vec::is_empty) {
                Some(later) => {
                    *exposed += later;
                    self.advanced += later;
                }
                None => panic!(
                    "{group:?} exposes none of its responses; the last one differs by {:?}",
                    differences.last()
                ),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signature_v1_exposes_the_truth_too() {
    let settings = format!(
        "{FAST_SETTINGS}requests_per_second: 400
signature: v1
"
    );
    let exporter = InProcessExporter::start(varied_cloud(11), &settings).await;
    wait_until_correct(&exporter).await;
    exporter.stop().await;
}
