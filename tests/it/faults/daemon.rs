//! The exporter as a process in front of a simulated cloud. At its end, everything that it wrote is searched for
//! secrets.

use std::{
    net::SocketAddr,
    path::Path,
    process::ExitStatus,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use alikafka_simulator::Simulator;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use test_support::{PATIENCE, harness::ExporterProcess, scrape::Scrape};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::{A, B, LAG_BEFORE, all_lag_by};

/// Access key id, secret and security token of every run. None of them may appear in any output.
pub(crate) const SECRETS: [&str; 3] =
    ["LTAI5tCanaryKeyIdQ7x", "CanarySecret/+Zr4=w9", "CAISCanaryToken+/8s==vB"];

const NAMES: [&str; 3] = ["the key id", "the secret", "the token"];

const SCRAPE_INTERVAL: Duration = Duration::from_millis(100);
/// Longest shutdown after SIGTERM.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

const PROGRAM: &str = env!("CARGO_BIN_EXE_alikafka-exporter");

/// Default settings of a run.
const DEFAULTS: [(&str, &str); 7] = [
    ("REGIONS", super::REGION),
    ("DISCOVERY_INTERVAL", "800ms"),
    ("POLL_INTERVAL", "500ms"),
    ("TOPIC_POLL_INTERVAL", "500ms"),
    ("STALE_AFTER", "4s"),
    ("REQUEST_TIMEOUT", "10s"),
    ("REQUESTS_PER_SECOND", "200"),
];

/// Differences of a run from the default one.
#[derive(Default)]
pub(super) struct Launch<'a> {
    /// Command that executes the program, e.g. `prlimit --nofile=64`. It must become the program, so that signals
    /// reach it.
    pub(super) under: &'a [&'a str],
    /// Environment variables with their full names.
    pub(super) variables: &'a [(&'a str, &'a str)],
    /// Whether the environment has no access key.
    pub(super) is_without_key: bool,
    /// Text of a configuration file that lists accounts.
    pub(super) accounts: Option<&'a str>,
    /// Additional flags.
    pub(super) flags: &'a [&'a str],
    /// Environment variables without their prefix. They override the defaults.
    pub(super) settings: &'a [(&'a str, &'a str)],
}

/// A running exporter.
pub(crate) struct Daemon {
    process: ExporterProcess,
    /// Output other than the log and the last metrics response.
    output: Mutex<String>,
    last_metrics: Mutex<String>,
    /// Names and values that must not appear in any output.
    secrets: Mutex<Vec<(String, String)>>,
}

impl Daemon {
    /// Starts in front of a cloud. Settings are environment variables without their prefix, and override the
    /// defaults.
    pub(crate) async fn start(sim: &Simulator, settings: &[(&str, &str)]) -> Self {
        Self::launch(Launch { settings: &with_endpoint(&sim.url(), settings), ..Launch::default() }).await
    }

    /// Starts another command than the default one.
    pub(super) async fn with_command(command: Command, sim: &Simulator) -> Self {
        Self::run(command, None, &Launch { settings: &[("ENDPOINT", &sim.url())], ..Launch::default() }).await
    }

    /// Starts with a configuration file in addition to the settings.
    pub(crate) async fn with_file(name: &str, text: &str, settings: &[(&str, &str)]) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, text).unwrap();
        Self::run(Command::new(PROGRAM), Some(&path), &Launch { settings, ..Launch::default() }).await
    }

    /// Starts with a configuration file that can be reloaded by signal and by request.
    pub(super) async fn reloadable(file: &Path, settings: &[(&str, &str)]) -> Self {
        let launch = Launch { settings, flags: &["--web.enable-lifecycle"], ..Launch::default() };
        Self::run(Command::new(PROGRAM), Some(file), &launch).await
    }

    /// Starts with a reloadable configuration file and `/debug/state`.
    pub(crate) async fn explaining(file: &Path, settings: &[(&str, &str)]) -> Self {
        let flags = &["--web.enable-debug", "--web.enable-lifecycle"];
        Self::run(Command::new(PROGRAM), Some(file), &Launch { settings, flags, ..Launch::default() }).await
    }

    /// Starts with these environment variables and without the default access key.
    pub(crate) async fn with_variables(
        sim: &Simulator,
        variables: &[(&str, &str)],
        settings: &[(&str, &str)],
    ) -> Self {
        let url = sim.url();
        let settings = &with_endpoint(&url, settings);
        Self::launch(Launch { variables, is_without_key: true, settings, ..Launch::default() }).await
    }

    /// Starts with any differences from the default run.
    pub(super) async fn launch(launch: Launch<'_>) -> Self {
        let file = launch.accounts.map(|text| {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("faults-{}-{}.yml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::write(&path, text).unwrap();
            path
        });
        let mut words = launch.under.iter().copied().chain([PROGRAM]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        Self::run(command, file.as_deref(), &launch).await
    }

    async fn run(mut command: Command, file: Option<&Path>, launch: &Launch<'_>) -> Self {
        let [id, secret, token] = SECRETS;
        let key = [
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", id),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", token),
        ];
        command
            .env_clear()
            .envs(key.into_iter().filter(|_| !launch.is_without_key))
            .envs(launch.variables.iter().copied())
            .args(["--web.listen-address=127.0.0.1:0", "--log.level=trace", "--log.format=json"])
            .args(file.map(|file| format!("--config.file={}", file.display())))
            .args(launch.flags);
        for (name, value) in DEFAULTS.iter().chain(launch.settings) {
            // A file that lists accounts lists their regions too.
            if file.is_none() || *name != "REGIONS" {
                // Fail points are not a setting of the product.
                let prefix = if *name == "FAILPOINTS" { "" } else { "ALIKAFKA_EXPORTER_" };
                command.env(format!("{prefix}{name}"), value);
            }
        }
        Self {
            process: ExporterProcess::start(command).await,
            output: Mutex::default(),
            last_metrics: Mutex::default(),
            secrets: Mutex::new(default_secrets()),
        }
    }

    /// Returns the body of the response to a GET.
    pub(crate) async fn body(&self, path: &str) -> String {
        self.get(path).await.1
    }

    /// Returns the status and the body of the response to a GET.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path).await
    }

    /// Returns the status and the body of the response to a request.
    pub(super) async fn request(&self, method: &str, path: &str) -> (u16, String) {
        self.process.request(method, path).await
    }

    /// Address of the HTTP listener.
    pub(super) fn address(&self) -> SocketAddr {
        self.process.address()
    }

    pub(super) fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Returns a numeric field of `/proc/PID/status`, e.g. `VmHWM`.
    pub(super) fn proc_status(&self, field: &str) -> u64 {
        self.process.proc_status(field)
    }

    pub(crate) async fn scrape(&self) -> Scrape {
        let scrape = Scrape::parse(self.process.metrics().await);
        scrape.text.clone_into(&mut self.last_metrics.lock().unwrap());
        scrape
    }

    /// Scrapes until a condition holds, and returns that scrape.
    pub(crate) async fn until(&self, condition: &str, mut holds: impl FnMut(&Scrape) -> bool) -> Scrape {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let scrape = self.scrape().await;
            if holds(&scrape) {
                return scrape;
            }
            assert!(Instant::now() < deadline, "never true: {condition}\n{}", self.evidence(&scrape));
            sleep(SCRAPE_INTERVAL).await;
        }
    }

    /// Waits until the instances of [`super::cloud`] are up and its groups have their initial lag.
    pub(crate) async fn until_known(&self) -> Scrape {
        let is_up = |p: &Scrape| [A, B].iter().all(|instance| p.instance_up(instance) == Some(1.0));
        self.until("everything is known", |p| all_lag_by(p, LAG_BEFORE) && is_up(p)).await
    }

    /// Waits until the log satisfies a condition.
    pub(crate) async fn until_logged(&self, condition: &str, holds: impl Fn(&[Value]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.log_lines()) {
            let scrape = self.scrape().await;
            assert!(Instant::now() < deadline, "never logged: {condition}\n{}", self.evidence(&scrape));
            sleep(SCRAPE_INTERVAL).await;
        }
    }

    /// Returns the output for a failed assertion: the series of the cloud and the log.
    pub(crate) fn evidence(&self, scrape: &Scrape) -> String {
        let is_relevant = |l: &&str| {
            let noise = ["#", "process_", "alikafka_exporter_http", "alikafka_exporter_api_request_duration"];
            !noise.iter().any(|n| l.starts_with(n)) && !l.contains("_bucket{")
        };
        let series: Vec<&str> = scrape.text.lines().filter(is_relevant).collect();
        format!("{}\n{}", series.join("\n"), self.process.log_lines().join("\n"))
    }

    /// Returns every log line so far.
    pub(crate) fn log_lines(&self) -> Vec<Value> {
        let json = |l: &String| serde_json::from_str(l).unwrap_or_else(|e| panic!("not JSON: {l:?}: {e}"));
        self.process.log_lines().iter().map(json).collect()
    }

    /// Returns the number of log lines that contain a text.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.process.log_lines().iter().filter(|line| line.contains(text)).count()
    }

    /// Returns the warnings about failed API calls.
    pub(crate) fn failures(&self) -> Vec<Value> {
        self.log_lines().into_iter().filter(|l| l["level"] == "warn" && l.get("result").is_some()).collect()
    }

    /// Returns the log lines about recoveries.
    pub(crate) fn recoveries(&self) -> Vec<Value> {
        self.log_lines().into_iter().filter(|l| l["msg"] == "recovered").collect()
    }

    /// Adds output of the exporter that must not contain secrets.
    pub(crate) fn record_output(&self, output: &str) {
        self.output.lock().unwrap().push_str(output);
    }

    /// Adds a secret that must not appear in any output.
    pub(crate) fn add_secret(&self, name: &str, secret: &str) {
        self.secrets.lock().unwrap().push((name.to_owned(), secret.to_owned()));
    }

    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits until the shutdown is logged, without a request.
    pub(super) async fn wait_for_stopping(&self) {
        self.process.wait_for_log("\"msg\":\"stopping\"").await;
    }

    /// Waits for the end after a signal, and searches all output for secrets.
    pub(super) async fn wait_for_exit(mut self) -> ExitStatus {
        self.wait(SHUTDOWN_LIMIT).await
    }

    /// Waits for an end without a signal, and searches all output for secrets. Returns the log too.
    pub(super) async fn wait_for_crash(mut self) -> (ExitStatus, Vec<Value>) {
        let status = self.wait(PATIENCE).await;
        (status, self.log_lines())
    }

    async fn wait(&mut self, limit: Duration) -> ExitStatus {
        let status = self.process.wait_for_exit(limit).await;
        let log = self.process.log_lines().join("\n");
        let output = format!("{log}\n{}\n{}", self.last_metrics.lock().unwrap(), self.output.lock().unwrap());
        for (name, form) in encodings_of(&self.secrets.lock().unwrap()) {
            assert!(!output.contains(&form), "{name} was exposed as {form:?}:\n{output}");
        }
        for word in ["Signature=", "x-acs-security-token", "Authorization", "panicked at"] {
            assert!(!output.contains(word), "{word:?} was exposed:\n{output}");
        }
        status
    }

    /// Requests every path, stops by SIGTERM, and searches all output for secrets.
    pub(crate) async fn stop(self) {
        self.record_output(&self.process.metrics().await);
        for path in ["/", "/-/healthy", "/-/ready", "/nowhere"] {
            self.record_output(&self.body(path).await);
        }
        // The command line is visible to other users.
        let command_line = std::fs::read(format!("/proc/{}/cmdline", self.pid().as_raw_pid()));
        self.record_output(&String::from_utf8_lossy(&command_line.unwrap_or_default()));
        self.terminate();
        assert_eq!(self.wait_for_exit().await.code(), Some(0));
    }
}

fn with_endpoint<'a>(url: &'a str, settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [("ENDPOINT", url)].into_iter().chain(settings.iter().copied()).collect()
}

fn default_secrets() -> Vec<(String, String)> {
    NAMES.iter().zip(SECRETS).map(|(name, secret)| ((*name).to_owned(), secret.to_owned())).collect()
}

/// Returns the secrets of every run, each in all encodings in which it could leak.
pub(super) fn encoded_secrets() -> Vec<(String, String)> {
    encodings_of(&default_secrets())
}

fn encodings_of(secrets: &[(String, String)]) -> Vec<(String, String)> {
    let mut encodings = Vec::new();
    for (name, secret) in secrets {
        let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
        let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
        let twice = utf8_percent_encode(&encoded, NON_ALPHANUMERIC).to_string();
        let all = [
            secret.clone(),
            hex.to_uppercase(),
            hex,
            STANDARD.encode(secret),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
            encoded.to_lowercase(),
            encoded,
            twice,
        ];
        encodings.extend(all.map(|encoding| (name.clone(), encoding)));
    }
    encodings
}
