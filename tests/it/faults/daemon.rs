//! The daemon as a process: its pages, its log, its end.

use std::{
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
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
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::Page;

/// Access key id, secret and security token of every run. None of it may be told.
pub(crate) const SECRETS: [&str; 3] =
    ["LTAI5tCanaryKeyIdQ7x", "CanarySecret/+Zr4=w9", "CAISCanaryToken+/8s==vB"];

const NAMES: [&str; 3] = ["the key id", "the secret", "the token"];

/// Longest wait for anything that must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two scrapes.
const BETWEEN: Duration = Duration::from_millis(100);
/// The daemon's promise for its end.
const END: Duration = Duration::from_secs(5);

/// The daemon's own binary.
const PROGRAM: &str = env!("CARGO_BIN_EXE_alikafka-exporter");

/// Intervals of every run that says nothing else.
const DEFAULTS: [(&str, &str); 7] = [
    ("REGIONS", super::REGION),
    ("DISCOVERY_INTERVAL", "800ms"),
    ("POLL_INTERVAL", "500ms"),
    ("TOPIC_POLL_INTERVAL", "500ms"),
    ("STALE_AFTER", "4s"),
    ("REQUEST_TIMEOUT", "10s"),
    ("REQUESTS_PER_SECOND", "200"),
];

/// How a run differs from the usual one.
#[derive(Default)]
pub(super) struct Launch<'a> {
    /// What runs the program, such as `prlimit --nofile=64`. It must become the program, so that signals
    /// reach it.
    pub(super) under: &'a [&'a str],
    /// Variables of the environment, by their whole names.
    pub(super) variables: &'a [(&'a str, &'a str)],
    /// Whether the usual key is left out of the environment.
    pub(super) is_without_key: bool,
    /// The text of a configuration file that lists accounts.
    pub(super) accounts: Option<&'a str>,
    /// More flags.
    pub(super) flags: &'a [&'a str],
    /// Names of environment variables without their prefix; they win over the defaults.
    pub(super) settings: &'a [(&'a str, &'a str)],
}

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    reading: JoinHandle<()>,
    pages: Mutex<String>,
    /// What else it said.
    said: Mutex<String>,
    /// What must not be told, with its name.
    secrets: Mutex<Vec<(String, String)>>,
}

impl Daemon {
    /// Runs over a cloud. Settings are names of environment variables without their prefix, and win over
    /// the defaults.
    pub(crate) async fn start(sim: &Simulator, settings: &[(&str, &str)]) -> Self {
        let url = sim.url();
        let mut all = vec![("ENDPOINT", url.as_str())];
        all.extend(settings);
        Self::launch(Launch { settings: &all, ..Launch::default() }).await
    }

    /// Runs another command than the usual one.
    pub(super) async fn with_command(command: Command, sim: &Simulator) -> Self {
        let url = sim.url();
        let settings = &[("ENDPOINT", url.as_str())];
        Self::run(command, None, &Launch { settings, ..Launch::default() }).await
    }

    /// Runs with a configuration file beside the settings.
    pub(crate) async fn with_file(name: &str, text: &str, settings: &[(&str, &str)]) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, text).unwrap();
        let file = Some(format!("--config.file={}", path.display()));
        Self::run(Command::new(PROGRAM), file, &Launch { settings, ..Launch::default() }).await
    }

    /// Runs with a file that may be loaded anew, by signal and by request.
    pub(super) async fn reloadable(file: &Path, settings: &[(&str, &str)]) -> Self {
        let file = Some(format!("--config.file={}", file.display()));
        let launch = Launch { settings, flags: &["--web.enable-lifecycle"], ..Launch::default() };
        Self::run(Command::new(PROGRAM), file, &launch).await
    }

    /// Runs with a file that may be loaded anew, and explains what it shows.
    pub(crate) async fn explaining(file: &Path, settings: &[(&str, &str)]) -> Self {
        let file = Some(format!("--config.file={}", file.display()));
        let flags = &["--web.enable-debug", "--web.enable-lifecycle"];
        Self::run(Command::new(PROGRAM), file, &Launch { settings, flags, ..Launch::default() }).await
    }

    /// Runs over a cloud with these variables of the vendor, and none that hold a key but those.
    pub(crate) async fn with_variables(
        sim: &Simulator,
        variables: &[(&str, &str)],
        settings: &[(&str, &str)],
    ) -> Self {
        let url = sim.url();
        let mut all = vec![("ENDPOINT", url.as_str())];
        all.extend(settings);
        Self::launch(Launch { variables, is_without_key: true, settings: &all, ..Launch::default() }).await
    }

    /// Runs in a way of its own.
    pub(super) async fn launch(launch: Launch<'_>) -> Self {
        let file = launch.accounts.map(|text| {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("faults-{}-{}.yml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::write(&path, text).unwrap();
            format!("--config.file={}", path.display())
        });
        let mut words = launch.under.iter().copied().chain([PROGRAM]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        Self::run(command, file, &launch).await
    }

    async fn run(mut command: Command, file: Option<String>, launch: &Launch<'_>) -> Self {
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
            .args(&file)
            .args(launch.flags)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for (name, value) in DEFAULTS.iter().chain(launch.settings) {
            // A file that lists accounts lists their regions too.
            if file.is_none() || *name != "REGIONS" {
                // Sabotage is no setting of the product.
                let prefix = if *name == "SABOTAGE_ALIKAFKA" { "" } else { "ALIKAFKA_EXPORTER_" };
                command.env(format!("{prefix}{name}"), value);
            }
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&log);
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        let secrets = NAMES.iter().zip(SECRETS).map(|(what, s)| ((*what).to_owned(), s.to_owned()));
        let mut daemon = Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            log,
            reading,
            pages: Mutex::default(),
            said: Mutex::default(),
            secrets: Mutex::new(secrets.collect()),
        };
        let until = Instant::now() + PATIENCE;
        daemon.address = loop {
            if let Some(line) = daemon.lines().iter().find(|l| l["msg"] == "listening") {
                break line["address"].as_str().unwrap().parse().unwrap();
            }
            assert!(Instant::now() < until, "it does not listen: {:?}", daemon.log.lock().unwrap());
            sleep(Duration::from_millis(10)).await;
        };
        daemon
    }

    /// The body of an answer to a GET.
    pub(crate) async fn get(&self, path: &str) -> String {
        let (status, body) = self.ask(path).await;
        assert!(path != "/metrics" || status == 200, "a scrape always succeeds: {status}");
        body
    }

    /// The status and the body of an answer to a GET.
    pub(crate) async fn ask(&self, path: &str) -> (u16, String) {
        self.request("GET", path).await
    }

    /// The status and the body of an answer.
    pub(super) async fn request(&self, method: &str, path: &str) -> (u16, String) {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = timeout(PATIENCE, exchange).await.expect("no answer");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of its process.
    pub(super) fn id(&self) -> Pid {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).unwrap()
    }

    /// A number that the system tells of its process, such as `VmHWM`.
    pub(super) fn status(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.id().as_raw_nonzero());
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Scrapes.
    pub(crate) async fn page(&self) -> Page {
        let page = Page::of(self.get("/metrics").await);
        page.text().clone_into(&mut self.pages.lock().unwrap());
        page
    }

    /// Scrapes until a page satisfies a condition, and returns it.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut(&Page) -> bool) -> Page {
        let until = Instant::now() + PATIENCE;
        loop {
            let page = self.page().await;
            if holds(&page) {
                return page;
            }
            assert!(Instant::now() < until, "never came true: {what}\n{}", self.evidence(&page));
            sleep(BETWEEN).await;
        }
    }

    /// Waits until the log satisfies a condition.
    pub(crate) async fn until_logged(&self, what: &str, holds: impl Fn(&[Value]) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds(&self.lines()) {
            let page = self.page().await;
            assert!(Instant::now() < until, "never logged: {what}\n{}", self.evidence(&page));
            sleep(BETWEEN).await;
        }
    }

    /// What a failed assertion shows: the page without what is about the process, and the log.
    pub(crate) fn evidence(&self, page: &Page) -> String {
        let told = |l: &&str| {
            let noise = ["#", "process_", "alikafka_exporter_http", "alikafka_exporter_api_request_duration"];
            !noise.iter().any(|n| l.starts_with(n)) && !l.contains("_bucket{")
        };
        let page: Vec<&str> = page.text().lines().filter(told).collect();
        format!("{}\n{}", page.join("\n"), self.log.lock().unwrap().join("\n"))
    }

    /// Every line of the log so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.log.lock().unwrap();
        let json = |l: &String| serde_json::from_str(l).unwrap_or_else(|e| panic!("not JSON: {l:?}: {e}"));
        lines.iter().map(json).collect()
    }

    /// How many lines of the log have this text.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// The lines that tell of a failure's beginning, or of its going on.
    pub(crate) fn failures(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|l| l["level"] == "warn" && l.get("result").is_some()).collect()
    }

    /// The lines that tell of a failure's end.
    pub(crate) fn recoveries(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|l| l["msg"] == "recovered").collect()
    }

    /// Something that it said, to be searched too.
    pub(crate) fn said(&self, text: &str) {
        self.said.lock().unwrap().push_str(text);
    }

    /// One more that must not be told.
    pub(crate) fn keep_secret(&self, what: &str, secret: &str) {
        self.secrets.lock().unwrap().push((what.to_owned(), secret.to_owned()));
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    /// Waits until it has told that it stops. Nothing is asked of it meanwhile.
    pub(super) async fn until_stopping(&self) {
        let until = Instant::now() + PATIENCE;
        while !self.lines().iter().any(|l| l["msg"] == "stopping") {
            assert!(Instant::now() < until, "it does not stop: {:?}", self.log.lock().unwrap());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for its end, and searches all that it said.
    pub(super) async fn ended(mut self) -> ExitStatus {
        timeout(END, self.wait()).await.expect("it ends within five seconds")
    }

    /// Waits for an end that comes of itself, and searches all that it said. Returns its log too.
    pub(super) async fn died(mut self) -> (ExitStatus, Vec<Value>) {
        let status = timeout(PATIENCE, self.wait()).await.expect("it never ends");
        (status, self.lines())
    }

    async fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().await.unwrap();
        timeout(END, &mut self.reading).await.expect("its log ends with it").unwrap();
        let (log, pages) = (self.log.lock().unwrap().join("\n"), self.pages.lock().unwrap());
        let said = format!("{log}\n{pages}\n{}", self.said.lock().unwrap());
        for (what, form) in forms_of(&self.secrets.lock().unwrap()) {
            assert!(!said.contains(&form), "{what} was told as {form:?}:\n{said}");
        }
        for word in ["Signature=", "x-acs-security-token", "Authorization", "panicked at"] {
            assert!(!said.contains(word), "{word:?} was told:\n{said}");
        }
        status
    }

    /// Scrapes all that there is, ends it by SIGTERM, and searches all that it said.
    pub(crate) async fn stop(self) {
        for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/nowhere"] {
            let body = self.get(path).await;
            self.pages.lock().unwrap().push_str(&body);
        }
        // What other users of the machine see. Where there is no such file there is nothing to see.
        let shown =
            self.child.id().map(|id| std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default());
        self.pages.lock().unwrap().push_str(&String::from_utf8_lossy(&shown.unwrap_or_default()));
        self.terminate();
        assert_eq!(self.ended().await.code(), Some(0));
    }
}

/// The secrets of every run, each in every form in which it may slip out.
pub(super) fn forms() -> Vec<(String, String)> {
    let secrets: Vec<_> =
        NAMES.iter().zip(SECRETS).map(|(what, s)| ((*what).to_owned(), s.to_owned())).collect();
    forms_of(&secrets)
}

fn forms_of(secrets: &[(String, String)]) -> Vec<(String, String)> {
    let mut forms = Vec::new();
    for (what, secret) in secrets {
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
        forms.extend(all.map(|form| (what.clone(), form)));
    }
    forms
}
