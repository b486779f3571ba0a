//! Simulated cloud and exporter in one process, without an Alibaba Cloud account.
//!
//! `cargo run --release --example demo` starts a simulated cloud with three regions, and the exporter with a YAML
//! configuration, as in production. The demo then changes the cloud in a loop of steps, and prints for each step the
//! series that shows it.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use alikafka_exporter::{
    ConfigSource, WebOptions, clock,
    config::{self, Config},
    logging::{self, LineFormat},
    web::HttpLimits,
};
use alikafka_simulator::{
    AccessKey, ClockMode, ConsumerMode, GroupSpec, InstanceSpec, Latency, ProduceRate, ServiceBehaviour,
    Simulator, SimulatorOptions, TopicSpec, UnknownObject, World, WorldOptions,
};
use clap::Parser;
use test_support::http;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::Level;

/// Runs the exporter with a simulated cloud. Needs no account, and sends nothing over the network.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Args {
    /// Port of 127.0.0.1 that the exporter listens on; 0 takes a free port.
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Time between two steps. Lists are polled every 15s, so that some changes take that long to show.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    step: Duration,
    /// Stop after this time, e.g. 90s. Without it, the demo runs until Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    until: Option<Duration>,
}

/// Default port of the exporter; config/prometheus.yml scrapes it.
const DEFAULT_PORT: u16 = 19308;
const KEY_ID: &str = "LTAI5tDemoKeyOfNobody";
const KEY_SECRET: &str = "secret-of-a-simulated-account";
/// Instances that the steps change; the others change by themselves.
const SHOP: &str = "alikafka_post-cn-shop";
const DEPOT: &str = "alikafka_pre-eu-depot";
/// Prometheus graph of the lag of the shop's groups.
const GRAPH: &str = "http://localhost:9090/graph?g0.tab=0&g0.range_input=15m\
                     &g0.expr=alikafka_group_lag_messages%7Binstance_id%3D%22alikafka_post-cn-shop%22%7D";
/// Exit code for wrong arguments.
const USAGE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    match demo(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(DemoError::Usage(message)) => exit_with(USAGE, &message),
        // The reader of the output has closed it, e.g. `head`.
        Err(DemoError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(DemoError::Output(error)) => exit_with(1, &format!("cannot write to stdout: {error}")),
        Err(DemoError::Failed(error)) => exit_with(1, &error.to_string()),
    }
}

fn exit_with(code: u8, line: &str) -> ExitCode {
    _ = writeln!(io::stderr(), "{line}");
    ExitCode::from(code)
}

/// Reason why the demo ended early.
#[derive(Debug)]
enum DemoError {
    Usage(String),
    Output(io::Error),
    Failed(Box<dyn Error>),
}

fn failed(error: impl Into<Box<dyn Error>>) -> DemoError {
    DemoError::Failed(error.into())
}

async fn demo(args: Args) -> Result<(), DemoError> {
    let listener = listen(args.port).await?;
    let exporter = listener.local_addr().map_err(failed)?;
    let shutdown = watch_signals(args.until).map_err(failed)?;
    let simulator = Simulator::start(cloud()).await.map_err(failed)?;
    simulator.with_world(set_up).map_err(failed)?;
    let text = configuration(&simulator.url());
    let config = configured(&text)?;

    logging::init(Level::INFO, LineFormat::Logfmt, clock::unix_now);
    print(&greeting(exporter, &simulator, &text, args.step))?;
    let web = WebOptions {
        telemetry_path: "/metrics".to_owned(),
        limits: HttpLimits::default(),
        lifecycle: false,
        explain: true,
    };
    let source = ConfigSource::default();
    let mut running =
        tokio::spawn(alikafka_exporter::run(config, source, web, vec![listener], shutdown.clone()));
    let result = tokio::select! {
        // Biased, because the exporter may already have ended after a shutdown request.
        biased;
        () = shutdown.cancelled() => Ok(()),
        result = run_steps(&simulator, exporter, args.step) => result,
        ended = &mut running => {
            return Err(ended.map_or_else(failed, |e| e.map_or_else(failed, |()| failed("the exporter ended"))));
        }
    };
    shutdown.cancel();
    running.await.map_err(failed)?.map_err(failed)?;
    simulator.shutdown().await;
    result?;
    print("stopped\n")
}

async fn listen(port: u16) -> Result<TcpListener, DemoError> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.map_err(|error| {
        DemoError::Usage(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "port {port} of 127.0.0.1 is in use: stop the program that listens there, or choose another port: \
                 cargo run --release --example demo -- --port 0"
            ),
            _ => format!("cannot listen on port {port} of 127.0.0.1: {error}; choose another port with --port"),
        })
    })
}

/// Returns a token that the first signal, or the end of the given time, cancels. A second signal exits at once.
fn watch_signals(until: Option<Duration>) -> io::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let requested = shutdown.clone();
    tokio::spawn(async move {
        let mut left = until;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = sleep(left.unwrap_or_default()), if left.is_some() => left = None,
            }
            if requested.is_cancelled() {
                std::process::exit(1);
            }
            requested.cancel();
        }
    });
    Ok(shutdown)
}

/// Returns the simulated cloud: three regions with instances in every state, unusual names, and all failure scenarios.
fn cloud() -> SimulatorOptions {
    SimulatorOptions {
        clock: ClockMode::RealTime { speed: 1.0 },
        world: WorldOptions {
            seed: 8,
            regions: ["cn-hangzhou", "ap-southeast-1", "eu-central-1"].map(str::to_owned).to_vec(),
            instances_per_region: 1,
            idle_instances_per_region: 1,
            topics_per_instance: 8,
            groups_per_instance: 17,
            serverless_every: 4,
            scenarios: true,
            local_every: 5,
            unusual_names: true,
            ..WorldOptions::default()
        },
        behaviour: ServiceBehaviour {
            keys: vec![AccessKey::new(KEY_ID, KEY_SECRET)],
            latency: Latency { fixed: Duration::from_millis(20), jitter: Duration::from_millis(60) },
            ..ServiceBehaviour::default()
        },
        // The demo may run for days.
        call_log_limit: 1_000,
        ..SimulatorOptions::default()
    }
}

/// Adds the two instances that the steps change.
fn set_up(world: &mut World) -> Result<(), UnknownObject> {
    let named = |id, name: &str| InstanceSpec { name: name.to_owned(), ..InstanceSpec::new(id) };
    world.add_instance("cn-hangzhou", named(SHOP, "网店 \"shop\""));
    world.add_topic(SHOP, topic_spec("orders", 20, 5_000_000))?;
    world.add_topic(SHOP, topic_spec("payments", 10, 800_000))?;
    world.add_group(SHOP, GroupSpec::new("order-billing", &["orders"]))?;
    world.add_group(SHOP, GroupSpec::new("order-archive", &["orders"]))?;
    world.add_group(SHOP, GroupSpec::new("结算", &["payments"]))?;
    world.add_instance("eu-central-1", named(DEPOT, "depot"));
    world.add_topic(DEPOT, topic_spec("parcels", 5, 70_000))?;
    world.add_group(DEPOT, GroupSpec::new("parcel-tracker", &["parcels"]))
}

/// Returns a topic with three partitions and a constant produce rate.
fn topic_spec(name: &str, messages_per_second: i64, base_offset: i64) -> TopicSpec {
    TopicSpec { rate: ProduceRate::per_second(messages_per_second), base_offset, ..TopicSpec::new(name, 3) }
}

/// Returns the configuration, with short intervals so that changes show soon.
fn configuration(endpoint: &str) -> String {
    format!(
        "regions: auto\n\
         endpoint: {endpoint}\n\
         credentials: {{access_key_id: {KEY_ID}, access_key_secret: {KEY_SECRET}}}\n\
         discovery_interval: 15s\n\
         poll_interval: 5s\n\
         status_window: 1m\n\
         metrics: {{instance_tags: [team]}}\n"
    )
}

fn configured(text: &str) -> Result<Config, DemoError> {
    config::parse(Some(("demo.yml", text)), &BTreeMap::new()).map_err(|problems| failed(problems.to_string()))
}

fn greeting(exporter: SocketAddr, simulator: &Simulator, configuration: &str, pause: Duration) -> String {
    let (url, cloud) = (format!("http://{exporter}"), simulator.url());
    let configuration = configuration.trim_end().replace('\n', "\n    ");
    let target = match exporter.port() {
        DEFAULT_PORT => String::new(),
        port => format!("\n    (write localhost:{port} for localhost:{DEFAULT_PORT} in that file first)"),
    };
    format!(
        "
The exporter runs as in production, with this configuration. The cloud is simulated: three regions with fifteen
instances. The credentials are invented, and nothing is sent over the network.

    {configuration}

Open
    {url}/               status page
    {url}/metrics        metrics
    {url}/debug/state?instance={SHOP}&group=order-billing
                                         how the exporter computed the lag of one group (with --web.enable-debug)
    {cloud}/_sim/truth      actual state of the simulated cloud, to compare with the metrics
    {cloud}/_sim/scenarios  failures that the simulated cloud contains from the start

Query
    curl -s {url}/metrics | grep '^alikafka_group_lag_messages'                 # lag of each group
    curl -s {url}/metrics | grep '^alikafka_group_status'                       # 0 ok, 1 lagging, 2 stalled, ...
    curl -s {url}/metrics | grep '^alikafka_group_partition_.*order-billing'    # one group, by partition
    curl -s {url}/metrics | grep '^alikafka_instance_info'                      # names, specifications, versions
    curl -s {url}/metrics | grep '^alikafka_exporter_api_requests_total'        # API calls of the exporter

Next steps (docs/getting-started.md)
    prometheus --config.file=config/prometheus.yml --storage.tsdb.path=/tmp/alikafka-demo{target}
    {GRAPH}
    http://localhost:9090/alerts   alerts for the failures; the first fire after five minutes (docs/alerting.md)
    Import the dashboards in dashboards/ into a Grafana that uses this Prometheus as a data source, or start everything,
    with Alertmanager, in one command: deploy/compose/

Below, the cloud changes every {pause}, and each step prints the series that shows it. Lines with ts= are the log of
the exporter, on stderr. Press Ctrl-C to stop.

",
        pause = humantime::format_duration(pause),
    )
}

/// A change of the world, and the series that shows it.
struct DemoStep {
    what: &'static str,
    /// Series in the text exposition format.
    series: &'static str,
    expect: &'static str,
    change: fn(&mut World) -> Result<(), UnknownObject>,
}

const STEPS: [DemoStep; 8] = [
    DemoStep {
        what: "consumer group order-billing stalls while producers still write its topic",
        series: r#"alikafka_group_lag_messages{region="cn-hangzhou",instance_id="alikafka_post-cn-shop",group="order-billing"}"#,
        expect: "grows by 60 per second: 3 partitions with 20 messages per second each",
        change: |w| w.set_consumer_mode(SHOP, "order-billing", ConsumerMode::Stalled),
    },
    DemoStep {
        what: "a topic is created, with a name that needs escaping",
        series: r#"alikafka_topic_partition_end_offset{region="cn-hangzhou",instance_id="alikafka_post-cn-shop",topic="订单 \"new\"",partition="0"}"#,
        expect: "appears after the next discovery, every 15s",
        change: |w| w.add_topic(SHOP, topic_spec("订单 \"new\"", 40, 0)),
    },
    DemoStep {
        what: "consumer group order-archive is deleted",
        series: r#"alikafka_group_info{region="cn-hangzhou",instance_id="alikafka_post-cn-shop",group="order-archive"}"#,
        expect: "disappears with the next poll, like the group's offsets and lag: absent, not 0",
        change: |w| w.delete_group(SHOP, "order-archive"),
    },
    DemoStep {
        what: "order-billing resumes and catches up",
        series: r#"alikafka_group_lag_messages{region="cn-hangzhou",instance_id="alikafka_post-cn-shop",group="order-billing"}"#,
        expect: "falls to the number of messages between two commits",
        change: |w| w.set_consumer_mode(SHOP, "order-billing", ConsumerMode::Healthy),
    },
    DemoStep {
        what: "topic payments is deleted and recreated",
        series: r#"alikafka_topic_partition_end_offset{region="cn-hangzhou",instance_id="alikafka_post-cn-shop",topic="payments",partition="0"}"#,
        expect: "restarts from 0; alikafka_exporter_anomalies_total{kind=\"rewind\"} counts it",
        change: |w| w.recreate_topic(SHOP, "payments", true),
    },
    DemoStep {
        what: "instance depot expires",
        series: r#"alikafka_group_lag_messages{region="eu-central-1",instance_id="alikafka_pre-eu-depot",group="parcel-tracker"}"#,
        expect: "disappears; alikafka_instance_state{state=\"expired\"} of the instance becomes 1",
        change: |w| w.set_instance_status(DEPOT, 15, Some(5)),
    },
    DemoStep {
        what: "the subscription of instance depot is extended",
        series: r#"alikafka_group_lag_messages{region="eu-central-1",instance_id="alikafka_pre-eu-depot",group="parcel-tracker"}"#,
        expect: "returns after the next discovery",
        change: |w| w.set_instance_status(DEPOT, 5, Some(2)),
    },
    DemoStep {
        what: "the new topic is deleted and order-archive recreated: the cloud is as at the start",
        series: r#"alikafka_exporter_objects{region="cn-hangzhou",kind="groups"}"#,
        expect: "includes the group after the next discovery",
        change: |w| {
            w.delete_topic(SHOP, "订单 \"new\"")?;
            w.add_group(SHOP, GroupSpec::new("order-archive", &["orders"]))
        },
    },
];

/// Runs the steps in a loop.
async fn run_steps(simulator: &Simulator, exporter: SocketAddr, pause: Duration) -> Result<(), DemoError> {
    let start = Instant::now();
    while !http::get(exporter, "/-/ready").await.is_ok_and(|response| response.status == 200) {
        sleep(Duration::from_millis(100)).await;
    }
    print(&format!("[{}] every region was polled once; the steps begin\n", Elapsed(start.elapsed())))?;
    // Time to read the output.
    sleep(pause / 4).await;
    loop {
        for (number, step) in (1..).zip(&STEPS) {
            let before = sample(exporter, step.series).await;
            simulator.with_world(step.change).map_err(failed)?;
            let now = Elapsed(start.elapsed());
            let DemoStep { what, series, expect, .. } = step;
            print(&format!(
                "\n[{now}] step {number} of {}: {what}\n    {series}\n    {expect}\n",
                STEPS.len()
            ))?;
            sleep(pause).await;
            let after = sample(exporter, step.series).await;
            print(&format!("    before: {before}, now: {after}\n"))?;
        }
    }
}

/// Minutes and seconds since the start.
struct Elapsed(Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        write!(f, "{:02}:{:02}", seconds / 60, seconds % 60)
    }
}

/// Returns the current value of a series in /metrics.
async fn sample(exporter: SocketAddr, series: &str) -> String {
    match http::get(exporter, "/metrics").await {
        Ok(response) => response
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
            .unwrap_or("absent")
            .to_owned(),
        Err(error) => format!("unknown ({error})"),
    }
}

fn print(text: &str) -> Result<(), DemoError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(DemoError::Output)
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= Duration::from_millis(100) => Ok(duration),
        _ => Err("must be a duration of at least 100ms, e.g. 20s or 2m".to_owned()),
    }
}
