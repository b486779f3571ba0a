//! The simulator as a program: a simulated cloud for the exporter, without an Alibaba Cloud account.

use std::{
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use alikafka_simulator::{
    AccessKey, Churn, ClockMode, Latency, ListShape, Quota, ServiceBehaviour, Simulator, SimulatorOptions,
    WorldOptions,
};
use clap::Parser;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    time::timeout,
};

/// Timeout of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Simulates the AliKafka management API, for trying the exporter without a cloud account.
///
/// Unsigned admin paths: GET /_sim/truth, /_sim/served, /_sim/calls, /_sim/scenarios;
/// POST /_sim/advance?seconds=N, /_sim/recreate?instance=ID&topic=NAME, /_sim/freeze, /_sim/unfreeze;
/// POST, GET and DELETE /_sim/faults, with faults as {"effect": "error", "status": 503, "probability": 0.05}.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Listen address; port 0 takes a free port.
    #[arg(long, default_value = "127.0.0.1:19309")]
    listen: SocketAddr,
    /// Seed of the world.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Regions of the world.
    #[arg(long, value_delimiter = ',', default_value = "cn-hangzhou,eu-central-1")]
    regions: Vec<String>,
    /// Instances in service, per region.
    #[arg(long, default_value_t = 2)]
    instances: u32,
    /// Instances that are not in service, per region.
    #[arg(long, default_value_t = 1)]
    idle_instances: u32,
    /// Topics per instance.
    #[arg(long, default_value_t = 12)]
    topics: u32,
    /// Consumer groups per instance.
    #[arg(long, default_value_t = 12)]
    groups: u32,
    /// Partitions per topic.
    #[arg(long, default_value_t = 3)]
    partitions: u32,
    /// Topics that each group consumes.
    #[arg(long, default_value_t = 2)]
    topics_per_group: u32,
    /// Message retention in hours.
    #[arg(long, default_value_t = 72)]
    retention_hours: u32,
    /// Makes every nth instance serverless; 0 for none.
    #[arg(long, default_value_t = 0)]
    serverless_every: u32,
    /// Makes every nth topic use Local storage; 0 for none.
    #[arg(long, default_value_t = 0)]
    local_every: u32,
    /// Names with Chinese, quotes, backslashes and reserved characters.
    #[arg(long)]
    unusual_names: bool,
    /// Offsets beyond 2^53.
    #[arg(long)]
    big_offsets: bool,
    /// Adds seven instances, in cn-hangzhou and eu-central-1, with every failure that the exporter reports.
    /// Requires speed 1; with --instances 0 --idle-instances 0 there are no other instances.
    #[arg(long)]
    scenarios: bool,
    /// Only checks whether the simulator at --listen responds: exit code 0 if it does. For health checks.
    #[arg(long)]
    probe: bool,
    /// Topics, and groups, created and deleted per world hour.
    #[arg(long, default_value_t = 0)]
    churn_per_hour: u32,
    /// World seconds per real second; with 0, time advances only by POST /_sim/advance.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Latency of each call, in milliseconds.
    #[arg(long, default_value_t = 20)]
    latency_ms: u64,
    /// Maximum random latency in addition, in milliseconds.
    #[arg(long, default_value_t = 20)]
    jitter_ms: u64,
    /// Maximum calls per second per (region, action); 0 for no limit.
    #[arg(long, default_value_t = 100)]
    quota: u32,
    /// HTTP status of throttled calls: 400 or 429.
    #[arg(long, default_value_t = 400)]
    throttle_status: u16,
    /// Maximum page size of lists.
    #[arg(long, default_value_t = 100)]
    page_size_max: u32,
    /// Lists without wrappers, as in the vendor's API reference.
    #[arg(long)]
    flat_lists: bool,
    /// Numbers and booleans of GetTopicStatus as such; by default they are strings.
    #[arg(long)]
    status_numbers: bool,
    /// Offset of the service's clock, in seconds.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    clock_skew_seconds: i64,
    /// Accepted AccessKeyId.
    #[arg(long, default_value = "LTAI5tSimulatorTestKey")]
    key_id: String,
    /// Its secret. Use a test value, never a real secret.
    #[arg(long, default_value = "simulator-test-secret")]
    key_secret: String,
    /// Security token; makes the key temporary.
    #[arg(long)]
    security_token: Option<String>,
    /// Actions that RAM denies, e.g. GetTopicStatus or alikafka:ListTopic.
    #[arg(long, value_delimiter = ',')]
    deny: Vec<String>,
}

impl Cli {
    fn options(&self) -> SimulatorOptions {
        let key = AccessKey::new(&self.key_id, &self.key_secret);
        let key = self.deny.iter().fold(key, |key, action| key.denying(action));
        let key = self.security_token.iter().fold(key, |key, token| key.with_token(token));
        SimulatorOptions {
            listen: self.listen,
            clock: if self.speed > 0.0 {
                ClockMode::RealTime { speed: self.speed }
            } else {
                ClockMode::Manual
            },
            world: WorldOptions {
                seed: self.seed,
                regions: self.regions.clone(),
                instances_per_region: self.instances,
                idle_instances_per_region: self.idle_instances,
                topics_per_instance: self.topics,
                groups_per_instance: self.groups,
                partitions_per_topic: self.partitions,
                topics_per_group: self.topics_per_group,
                churn: Churn { topics_per_hour: self.churn_per_hour, groups_per_hour: self.churn_per_hour },
                retention_hours: self.retention_hours,
                serverless_every: self.serverless_every,
                local_every: self.local_every,
                unusual_names: self.unusual_names,
                big_offsets: self.big_offsets,
                scenarios: self.scenarios,
                ..WorldOptions::default()
            },
            behaviour: ServiceBehaviour {
                keys: vec![key],
                latency: Latency {
                    fixed: Duration::from_millis(self.latency_ms),
                    jitter: Duration::from_millis(self.jitter_ms),
                },
                quota: Quota {
                    per_second: (self.quota > 0).then_some(self.quota),
                    status: self.throttle_status,
                    ..Quota::default()
                },
                list_shape: if self.flat_lists { ListShape::Flat } else { ListShape::Wrapped },
                status_strings: !self.status_numbers,
                page_size_max: self.page_size_max,
                clock_skew_ms: self.clock_skew_seconds.saturating_mul(1000),
                ..ServiceBehaviour::default()
            },
            ..SimulatorOptions::default()
        }
    }

    fn startup_message(&self, url: &str) -> String {
        let token = self
            .security_token
            .as_ref()
            .map_or(String::new(), |t| format!("ALIBABA_CLOUD_SECURITY_TOKEN={t} \\\n"));
        format!(
            "simulator listening on {url}\n\
             ground truth: {url}/_sim/truth, calls so far: {url}/_sim/calls\n\
             start the exporter with:\n\
             ALIBABA_CLOUD_ACCESS_KEY_ID={} ALIBABA_CLOUD_ACCESS_KEY_SECRET={} \\\n{token}\
             ALIKAFKA_EXPORTER_REGIONS={} ALIKAFKA_EXPORTER_ENDPOINT={url} alikafka-exporter\n",
            self.key_id,
            self.key_secret,
            self.regions.join(",")
        )
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let cli = Cli::parse();
    if cli.probe {
        return probe(cli.listen).await;
    }
    let sim = Simulator::start(cli.options()).await?;
    let mut out = io::stdout().lock();
    out.write_all(cli.startup_message(&sim.url()).as_bytes())?;
    out.flush()?;
    drop(out);
    wait_for_signal().await?;
    sim.shutdown().await;
    Ok(())
}

/// Sends a small request to a running simulator.
async fn probe(addr: SocketAddr) -> io::Result<()> {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        let request = format!("GET /_sim/faults HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await?;
        Ok::<_, io::Error>(response)
    };
    let response = timeout(PROBE_TIMEOUT, exchange).await??;
    if response.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    Err(io::Error::other("the simulator did not respond with status 200"))
}

/// Waits for SIGINT or SIGTERM.
async fn wait_for_signal() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_reach_the_options_and_the_startup_message() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from([
            "simulator",
            "--regions",
            "a,b",
            "--quota",
            "0",
            "--deny",
            "GetTopicStatus",
            "--speed",
            "0",
            "--clock-skew-seconds",
            "-90",
            "--status-numbers",
            "--security-token",
            "tok",
        ]);
        let options = cli.options();
        assert_eq!(options.world.regions, ["a", "b"]);
        assert_eq!(options.clock, ClockMode::Manual);
        assert_eq!(options.behaviour.quota.per_second, None);
        assert_eq!((options.behaviour.clock_skew_ms, options.behaviour.status_strings), (-90_000, false));
        assert!(options.behaviour.keys[0].denied.contains("GetTopicStatus"));
        let greeting = cli.startup_message("http://127.0.0.1:1");
        for part in ["ALIKAFKA_EXPORTER_ENDPOINT=http://127.0.0.1:1 ", "REGIONS=a,b ", "SECURITY_TOKEN=tok"] {
            assert!(greeting.contains(part), "{greeting}");
        }
    }
}
