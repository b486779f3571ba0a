//! The exporter as a process: its log, its address, its metrics and its exit.

use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::{Duration, Instant, sleep, timeout},
};

use crate::{PATIENCE, http};

/// A running exporter. Dropping it kills the process.
#[derive(Debug)]
pub struct ExporterProcess {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    log_reader: JoinHandle<()>,
}

impl ExporterProcess {
    /// Starts the command with a captured stderr, and waits until it logs the address that it listens on.
    pub async fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let writer = Arc::clone(&log);
        let log_reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                writer.lock().unwrap().push(line);
            }
        });
        let mut process = Self { child, address: ([127, 0, 0, 1], 0).into(), log, log_reader };
        let line = process.wait_for_log("listening").await;
        process.address = listen_address(&line).unwrap_or_else(|| panic!("no address in {line}"));
        process
    }

    /// Address of the HTTP listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).unwrap()
    }

    /// Returns every log line so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a log line that contains a text, and returns the first one.
    pub async fn wait_for_log(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.log_reader.is_finished();
            let lines = self.log_lines();
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            assert!(!ended && Instant::now() < deadline, "{text:?} is not logged: {lines:#?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the status and the body of the response to a request.
    pub async fn request(&self, method: &str, path: &str) -> (u16, String) {
        let response = http::request(self.address, method, path).await.unwrap();
        (response.status, response.text().to_owned())
    }

    /// Returns the body of `/metrics`.
    pub async fn metrics(&self) -> String {
        let (status, body) = self.request("GET", "/metrics").await;
        assert_eq!(status, 200, "a scrape always succeeds");
        body
    }

    /// Returns a numeric field of `/proc/PID/status`, e.g. `VmRSS`.
    pub fn proc_status(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_pid());
        let text = std::fs::read_to_string(path).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        value.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the end of the process and of its log.
    pub async fn wait_for_exit(&mut self, limit: Duration) -> ExitStatus {
        let status = timeout(limit, self.child.wait()).await.expect("the process does not end").unwrap();
        timeout(limit, &mut self.log_reader).await.expect("the log does not end").unwrap();
        status
    }
}

/// Returns the address of a line such as `msg=listening address=127.0.0.1:9308`, also in JSON.
fn listen_address(line: &str) -> Option<SocketAddr> {
    let value = line.split_once("address")?.1.trim_start_matches(['"', '=', ':']);
    value.split(['"', ' ', ',', '}']).next()?.parse().ok()
}
