//! Simulator and exporter in one process: no cloud account needed.
//!
//! `cargo run --release --example demo` starts a simulated cloud of three regions, and the exporter as it runs in
//! production, configured with a text of YAML. Then the cloud moves by a script that repeats, and each act says
//! which series of the page shows it.

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

/// The exporter beside a simulated cloud. No account is needed, and nothing leaves this machine.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Args {
    /// Port of 127.0.0.1 that the exporter listens on; 0 takes a free one.
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Time between two acts of the script. Lists are read every 15s: what needs one is not seen in less.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    act: Duration,
    /// Stop by itself after this long, such as 90s. Without it: until Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    until: Option<Duration>,
}

/// Where the exporter listens by default, and where config/prometheus.yml looks.
const DEFAULT_PORT: u16 = 19308;
const KEY_ID: &str = "LTAI5tDemoKeyOfNobody";
const KEY_SECRET: &str = "secret-of-a-simulated-account";
/// The instances that the script plays on; the others move by themselves.
const SHOP: &str = "alikafka_post-cn-shop";
const DEPOT: &str = "alikafka_pre-eu-depot";
/// Prometheus' own graph of the lag of the shop's groups, over a few rounds of the script.
const GRAPH: &str = "http://localhost:9090/graph?g0.tab=0&g0.range_input=15m\
                     &g0.expr=alikafka_group_lag_messages%7Binstance_id%3D%22alikafka_post-cn-shop%22%7D";
/// The user must write something else.
const REFUSED: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    match demo(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended::Refused(line)) => end(REFUSED, &line),
        // Whoever read the output, as `head` does, has read enough.
        Err(Ended::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Ended::Output(error)) => end(1, &format!("cannot write to stdout: {error}")),
        Err(Ended::Failed(error)) => end(1, &error.to_string()),
    }
}

fn end(code: u8, line: &str) -> ExitCode {
    _ = writeln!(io::stderr(), "{line}");
    ExitCode::from(code)
}

/// Why the demo ended although nobody asked it to.
#[derive(Debug)]
enum Ended {
    Refused(String),
    Output(io::Error),
    Failed(Box<dyn Error>),
}

fn failed(error: impl Into<Box<dyn Error>>) -> Ended {
    Ended::Failed(error.into())
}

async fn demo(args: Args) -> Result<(), Ended> {
    let listener = listen(args.port).await?;
    let exporter = listener.local_addr().map_err(failed)?;
    let shutdown = watch_signals(args.until).map_err(failed)?;
    let simulator = Simulator::start(cloud()).await.map_err(failed)?;
    simulator.world(set_up).map_err(failed)?;
    let text = configuration(&simulator.url());
    let config = configured(&text)?;

    logging::init(Level::INFO, LineFormat::Logfmt, clock::unix_now);
    say(&greeting(exporter, &simulator, &text, args.act))?;
    let web = WebOptions {
        telemetry_path: "/metrics".to_owned(),
        limits: HttpLimits::default(),
        lifecycle: false,
        explain: false,
    };
    let source = ConfigSource::default();
    let mut running =
        tokio::spawn(alikafka_exporter::run(config, source, web, vec![listener], shutdown.clone()));
    let played = tokio::select! {
        // In this order: when all is told to end, the exporter may have ended already.
        biased;
        () = shutdown.cancelled() => Ok(()),
        played = play(&simulator, exporter, args.act) => played,
        ended = &mut running => {
            return Err(ended.map_or_else(failed, |e| e.map_or_else(failed, |()| failed("the exporter ended"))));
        }
    };
    shutdown.cancel();
    running.await.map_err(failed)?.map_err(failed)?;
    simulator.shutdown().await;
    played?;
    say("stopped\n")
}

async fn listen(port: u16) -> Result<TcpListener, Ended> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.map_err(|error| {
        Ended::Refused(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "port {port} of 127.0.0.1 is taken: stop the program that listens there, or choose another port: \
                 cargo run --release --example demo -- --port 0"
            ),
            _ => format!("cannot listen on port {port} of 127.0.0.1: {error}; choose another one with --port"),
        })
    })
}

/// The first signal, or the end of the time given, asks for an end; a second signal makes it.
fn watch_signals(until: Option<Duration>) -> io::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let asked = shutdown.clone();
    tokio::spawn(async move {
        let mut left = until;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = sleep(left.unwrap_or_default()), if left.is_some() => left = None,
            }
            if asked.is_cancelled() {
                std::process::exit(1);
            }
            asked.cancel();
        }
    });
    Ok(shutdown)
}

/// The simulated cloud: three regions with instances in every state, Chinese and odd names, and every trouble.
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

/// Puts the two instances of the script into the world.
fn set_up(world: &mut World) -> Result<(), UnknownObject> {
    let named = |id, name: &str| InstanceSpec { name: name.to_owned(), ..InstanceSpec::new(id) };
    world.add_instance("cn-hangzhou", named(SHOP, "网店 \"shop\""));
    world.add_topic(SHOP, written("orders", 20, 5_000_000))?;
    world.add_topic(SHOP, written("payments", 10, 800_000))?;
    world.add_group(SHOP, GroupSpec::new("order-billing", &["orders"]))?;
    world.add_group(SHOP, GroupSpec::new("order-archive", &["orders"]))?;
    world.add_group(SHOP, GroupSpec::new("结算", &["payments"]))?;
    world.add_instance("eu-central-1", named(DEPOT, "depot"));
    world.add_topic(DEPOT, written("parcels", 5, 70_000))?;
    world.add_group(DEPOT, GroupSpec::new("parcel-tracker", &["parcels"]))
}

/// A topic of three partitions, each written evenly.
fn written(name: &str, messages_per_second: i64, base_offset: i64) -> TopicSpec {
    TopicSpec { rate: ProduceRate::per_second(messages_per_second), base_offset, ..TopicSpec::new(name, 3) }
}

/// What a user writes, with short intervals so that there is something to see.
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

fn configured(text: &str) -> Result<Config, Ended> {
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
The exporter runs as in production, with this configuration. Its cloud is simulated: three regions,
fifteen instances. The credentials are made up, and nothing leaves this machine.

    {configuration}

Open
    {url}/              the fleet, for people
    {url}/metrics       the series, for Prometheus
    {cloud}/_sim/truth    what is true in the simulated cloud, to compare
    {cloud}/_sim/scenarios  failures that exist from the start

Ask
    curl -s {url}/metrics | grep '^alikafka_group_lag_messages'                 # lag of each group
    curl -s {url}/metrics | grep '^alikafka_group_status'                       # 0 ok, 1 lagging, 2 stalled, ...
    curl -s {url}/metrics | grep '^alikafka_group_partition_.*order-billing'    # one group, by partition
    curl -s {url}/metrics | grep '^alikafka_instance_info'                      # names, specs, versions
    curl -s {url}/metrics | grep '^alikafka_exporter_api_requests_total'        # calls that it took

Graph, with Prometheus from another terminal
    prometheus --config.file=config/prometheus.yml --storage.tsdb.path=/tmp/alikafka-demo{target}
    {GRAPH}
    A Grafana that reads from this Prometheus can import the dashboards in dashboards/; deploy/compose/ has it all in one
    command, with the rules and Alertmanager.

Below, the cloud changes every {pause}, and each act names the series that shows it. Lines with ts= are the
exporter's own log, on stderr. Ctrl-C ends it all.

",
        pause = humantime::format_duration(pause),
    )
}

/// One change of the world, and where it is seen.
struct Act {
    what: &'static str,
    /// A series, spelled as on the page.
    series: &'static str,
    expect: &'static str,
    change: fn(&mut World) -> Result<(), UnknownObject>,
}

const ACTS: [Act; 8] = [
    Act {
        what: "consumer group order-billing stalls, while its topic is written on",
        series: r#"alikafka_group_lag_messages{region="cn-hangzhou",instance_id="alikafka_post-cn-shop",group="order-billing"}"#,
        expect: "grows by 60 a second: 3 partitions with 20 messages a second each",
        change: |w| w.set_consumer_mode(SHOP, "order-billing", ConsumerMode::Stalled),
    },
    Act {
        what: "a topic appears, with a name that needs care",
        series: r#"alikafka_topic_partition_end_offset{region="cn-hangzhou",instance_id="alikafka_post-cn-shop",topic="订单 \"new\"",partition="0"}"#,
        expect: "is there once topics are listed again, every 15s",
        change: |w| w.add_topic(SHOP, written("订单 \"new\"", 40, 0)),
    },
    Act {
        what: "consumer group order-archive is deleted",
        series: r#"alikafka_group_info{region="cn-hangzhou",instance_id="alikafka_post-cn-shop",group="order-archive"}"#,
        expect: "goes with the next poll, as do the group's offsets and lag: absent, not 0",
        change: |w| w.delete_group(SHOP, "order-archive"),
    },
    Act {
        what: "order-billing reads again, and catches up",
        series: r#"alikafka_group_lag_messages{region="cn-hangzhou",instance_id="alikafka_post-cn-shop",group="order-billing"}"#,
        expect: "falls to what is written between two commits",
        change: |w| w.set_consumer_mode(SHOP, "order-billing", ConsumerMode::Healthy),
    },
    Act {
        what: "topic payments is deleted and made again",
        series: r#"alikafka_topic_partition_end_offset{region="cn-hangzhou",instance_id="alikafka_post-cn-shop",topic="payments",partition="0"}"#,
        expect: "begins again from 0; alikafka_exporter_anomalies_total{kind=\"rewind\"} counts it",
        change: |w| w.recreate_topic(SHOP, "payments", true),
    },
    Act {
        what: "instance depot expires",
        series: r#"alikafka_group_lag_messages{region="eu-central-1",instance_id="alikafka_pre-eu-depot",group="parcel-tracker"}"#,
        expect: "goes; alikafka_instance_state{state=\"expired\"} of the instance turns 1",
        change: |w| w.set_instance_status(DEPOT, 15, Some(5)),
    },
    Act {
        what: "instance depot is renewed",
        series: r#"alikafka_group_lag_messages{region="eu-central-1",instance_id="alikafka_pre-eu-depot",group="parcel-tracker"}"#,
        expect: "is back once instances are listed again",
        change: |w| w.set_instance_status(DEPOT, 5, Some(2)),
    },
    Act {
        what: "the new topic is deleted and order-archive made again: all is as in the beginning",
        series: r#"alikafka_exporter_objects{region="cn-hangzhou",kind="groups"}"#,
        expect: "counts the group once groups are listed again",
        change: |w| {
            w.delete_topic(SHOP, "订单 \"new\"")?;
            w.add_group(SHOP, GroupSpec::new("order-archive", &["orders"]))
        },
    },
];

/// Plays the acts over and over.
async fn play(simulator: &Simulator, exporter: SocketAddr, pause: Duration) -> Result<(), Ended> {
    let began = Instant::now();
    while !http::get(exporter, "/-/ready").await.is_ok_and(|response| response.status == 200) {
        sleep(Duration::from_millis(100)).await;
    }
    say(&format!("[{}] every region was read once; the acts begin\n", Elapsed(began.elapsed())))?;
    // Time to read what was said, and for the page to follow.
    sleep(pause / 4).await;
    loop {
        for (number, act) in (1..).zip(&ACTS) {
            let before = sample(exporter, act.series).await;
            simulator.world(act.change).map_err(failed)?;
            let now = Elapsed(began.elapsed());
            let Act { what, series, expect, .. } = act;
            say(&format!("\n[{now}] act {number} of {}: {what}\n    {series}\n    {expect}\n", ACTS.len()))?;
            sleep(pause).await;
            let after = sample(exporter, act.series).await;
            say(&format!("    was {before}, is {after}\n"))?;
        }
    }
}

/// Minutes and seconds since the beginning.
struct Elapsed(Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        write!(f, "{:02}:{:02}", seconds / 60, seconds % 60)
    }
}

/// The value of a series on the page now, as anybody would read it.
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

fn say(text: &str) -> Result<(), Ended> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Ended::Output)
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= Duration::from_millis(100) => Ok(duration),
        _ => Err("write a duration of at least 100ms, such as 20s or 2m".to_owned()),
    }
}
