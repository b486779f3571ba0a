//! What a scrape shows is the truth of the simulated cloud: every number that of the moment of its
//! answer, and every series there and no other. Budgets are in `faults`.
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

/// A daemon over a simulator, both in this process.
pub(crate) struct Pair {
    cloud: Simulator,
    address: SocketAddr,
    shutdown: CancellationToken,
    daemon: tokio::task::JoinHandle<Result<(), alikafka_exporter::RunError>>,
}

impl Pair {
    /// `settings` are further lines of the configuration.
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

/// A world that has one of everything: churn, strange names, offsets that an f64 cannot hold.
fn varied(seed: u64) -> SimulatorOptions {
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

const FAST: &str = "regions: auto\npoll_interval: 400ms\ndiscovery_interval: 600ms\nstale_after: 10s\n";

/// Waits until the page says what the world is, and no more; the difference, if it never does.
async fn settle(pair: &Pair) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        // The world stands still while this waits, but for the ticks of churn that `advance` makes.
        let difference = expected::difference(&pair.cloud.truth(), &pair.scrape().await);
        if difference.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{} series differ:\n{}", difference.len(), difference.join("\n"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_series_equals_the_truth_and_none_is_missing() {
    let pair = Pair::start(varied(7), &format!("{FAST}requests_per_second: 400\n")).await;
    let mut answers = Answers::default();
    for step in 0..12u64 {
        settle(&pair).await;
        answers.note(&pair.cloud);
        pair.cloud.advance(Duration::from_secs(5 + step * step * 7));
        // While new values come in, each group shows one of its answers, whole, and never an older one
        // than it showed before.
        for _ in 0..12 {
            let page = pair.scrape().await;
            answers.note(&pair.cloud);
            answers.check(&page);
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    settle(&pair).await;
    assert!(answers.compared > 1000, "only {} values were compared on the way", answers.compared);
    assert!(answers.moved > 100, "only {} new answers were seen on the way", answers.moved);
    pair.stop().await;
}

/// The answers that groups got.
#[derive(Default)]
struct Answers {
    of_group: BTreeMap<ObjectKey, OfGroup>,
    compared: usize,
    moved: usize,
}

#[derive(Default)]
struct OfGroup {
    answers: Vec<LastServed<GroupTruth>>,
    /// The one that was shown last.
    shown: usize,
}

impl Answers {
    /// Is called more often than groups are polled, so it misses none.
    fn note(&mut self, cloud: &Simulator) {
        for (key, last) in cloud.served().groups {
            let answers = &mut self.of_group.entry(key).or_default().answers;
            if answers.last().is_none_or(|before| before.times != last.times) {
                answers.push(last);
            }
        }
    }

    fn check(&mut self, page: &SeriesSet) {
        let shown = page.by_group();
        for (key, OfGroup { answers, shown: shown_before }) in &mut self.of_group {
            // The list may have told the group gone since.
            let Some(shown) = shown.get(key) else { continue };
            let (region, instance, group) = key;
            self.compared += shown.len();
            let differences = answers[*shown_before..].iter().map(|answer| {
                let mut series = SeriesSet::default();
                expected::add_group(&mut series, region, instance, group, &answer.truth);
                series.difference(shown, &BTreeSet::new())
            });
            let differences: Vec<_> = differences.collect();
            match differences.iter().position(Vec::is_empty) {
                Some(later) => {
                    *shown_before += later;
                    self.moved += later;
                }
                None => panic!(
                    "{group:?} shows none of its answers; the last differs by {:?}",
                    differences.last()
                ),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_signature_versions_expose_the_truth_without_secrets_in_urls() {
    for signature in ["acs3", "v1"] {
        let settings = format!("{FAST}requests_per_second: 400\nsignature: {signature}\n");
        let pair = Pair::start(varied(11), &settings).await;
        settle(&pair).await;
        let calls: Vec<_> = pair.cloud.with_call_log(|l| l.entries().cloned().collect());
        assert!(calls.len() > 50);
        for call in calls {
            assert_eq!(call.method, "POST");
            for secret in ["LTAI5tScrapeTestKey", "scrape", "Signature", "Credential"] {
                assert!(!call.target.contains(secret), "{}", call.target);
            }
        }
        pair.stop().await;
    }
}
