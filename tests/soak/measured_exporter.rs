//! The exporter as a process under long load: its resource usage, its log, and its passes, which are counted in the call
//! log of the simulated cloud.

use std::{
    collections::BTreeMap,
    fmt, fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use alikafka_simulator::{AccessKey, Simulator};
use rustix::process::Signal;
use test_support::{PATIENCE, harness::ExporterProcess, scrape::Scrape};
use tokio::{
    process::Command,
    task::JoinHandle,
    time::{Instant, sleep},
};

const KEY: (&str, &str) = ("LTAI5tSoakTestKey", "soak-test-secret");
/// Interval of descriptor counts. The lowest of many counts excludes calls in flight.
const COUNT_INTERVAL: Duration = Duration::from_millis(20);

/// Returns the access key of the exporter.
pub(crate) fn key() -> AccessKey {
    AccessKey::new(KEY.0, KEY.1)
}

/// A running exporter with the default log level, and a counter of its open descriptors.
pub(crate) struct MeasuredExporter {
    process: ExporterProcess,
    /// Fewest descriptors since the last sample.
    fewest: Arc<Mutex<usize>>,
    counter: JoinHandle<()>,
}

impl MeasuredExporter {
    /// Starts the exporter. Settings are environment variables without their prefix.
    pub(crate) async fn start(endpoint: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alikafka-exporter"));
        command
            .env_clear()
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY.0)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", KEY.1)
            .env("ALIKAFKA_EXPORTER_ENDPOINT", endpoint)
            // glibc raises this threshold dynamically unless it is set, and then keeps the memory of large responses
            // in each arena. That growth does not depend on the number of passes, and would hide a leak.
            .env("MALLOC_MMAP_THRESHOLD_", "131072")
            .arg("--web.listen-address=127.0.0.1:0");
        for (name, value) in settings {
            command.env(format!("ALIKAFKA_EXPORTER_{name}"), value);
        }
        let process = ExporterProcess::start(command).await;
        let descriptors = format!("/proc/{}/fd", process.pid().as_raw_pid());
        let fewest = Arc::new(Mutex::new(usize::MAX));
        let seen = Arc::clone(&fewest);
        let counter = tokio::spawn(async move {
            while let Ok(open) = fs::read_dir(&descriptors) {
                let count = open.count();
                {
                    let mut fewest = seen.lock().unwrap();
                    *fewest = count.min(*fewest);
                }
                sleep(COUNT_INTERVAL).await;
            }
        });
        Self { process, fewest, counter }
    }

    /// Returns every log line so far.
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.process.log_lines()
    }

    pub(crate) async fn metrics(&self) -> String {
        self.process.metrics().await
    }

    /// Measures the resource usage, with the fewest descriptors since the last sample.
    pub(crate) async fn sample(&self, pass: usize) -> Sample {
        // The previous sample may have just been taken.
        sleep(COUNT_INTERVAL * 5).await;
        let fds = std::mem::replace(&mut *self.fewest.lock().unwrap(), usize::MAX);
        let scrape = Scrape::parse(self.metrics().await);
        let lines = self.log_lines();
        let panics = lines.iter().filter(|l| l.contains("panicked")).count();
        Sample {
            pass,
            resident_kib: self.process.proc_status("VmRSS"),
            fds,
            threads: self.process.proc_status("Threads"),
            panics: panics.max(scrape.sum("alikafka_exporter_panics_total", &[]) as usize),
            series: scrape.sum("alikafka_exporter_series", &[]),
            lines: lines.len(),
        }
    }

    /// Stops the exporter by SIGTERM, which must end with exit code 0.
    pub(crate) async fn stop(mut self) {
        self.process.signal(Signal::TERM);
        let status = self.process.wait_for_exit(PATIENCE).await;
        assert_eq!(status.code(), Some(0), "{:?}", self.log_lines().last());
    }
}

impl Drop for MeasuredExporter {
    fn drop(&mut self) {
        self.counter.abort();
    }
}

/// Checks a condition at an interval until it holds.
pub(crate) async fn until(
    condition: &str,
    patience: Duration,
    interval: Duration,
    mut holds: impl FnMut() -> bool,
) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "never true: {condition}");
        sleep(interval).await;
    }
}

/// Resource usage after a pass.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) pass: usize,
    pub(crate) resident_kib: u64,
    pub(crate) fds: usize,
    pub(crate) threads: u64,
    /// The higher one of the metric and the log.
    pub(crate) panics: usize,
    pub(crate) series: f64,
    pub(crate) lines: usize,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pass {:5}: RSS {:7} KiB, {:3} descriptors, {:2} threads, {} panics, {:5} series, {:5} log lines",
            self.pass, self.resident_kib, self.fds, self.threads, self.panics, self.series, self.lines
        )
    }
}

/// Describes the growth of resident memory from a pass on, by linear regression.
pub(crate) fn memory_slope(samples: &[Sample], from: usize) -> String {
    let warm: Vec<_> = samples.iter().filter(|s| s.pass >= from).collect();
    let n = warm.len().max(1) as f64;
    let mean = |value: &dyn Fn(&Sample) -> f64| warm.iter().map(|s| value(s)).sum::<f64>() / n;
    let (x, y) = (mean(&|s| s.pass as f64), mean(&|s| s.resident_kib as f64));
    let rise = mean(&|s| (s.pass as f64 - x) * (s.resident_kib as f64 - y));
    let run = mean(&|s| (s.pass as f64 - x).powi(2));
    format!("RSS grows by {:.2} KiB per pass from pass {from} on", rise / run)
}

/// Largest growth of resident memory between the first sample and the last one.
const MAX_GROWTH_KIB: u64 = 8 * 1024;
/// Largest change of the number of descriptors.
const MAX_FD_CHANGE: usize = 2;

/// Compares the samples from a pass on with the limits, and describes each violation. `in_flight` calls may hold a
/// descriptor in every count.
pub(crate) fn violations(samples: &[Sample], from: usize, in_flight: usize) -> Vec<String> {
    let mut violations = Vec::new();
    let mut warm = samples.iter().filter(|s| s.pass >= from);
    let (Some(first), Some(last)) = (warm.clone().next(), warm.clone().next_back()) else {
        return vec!["there are no samples".to_owned()];
    };
    let growth = last.resident_kib.saturating_sub(first.resident_kib);
    if growth > MAX_GROWTH_KIB {
        violations.push(format!("RSS grew by {growth} KiB between passes {} and {}", first.pass, last.pass));
    }
    if let Some(s) = warm.clone().find(|s| s.fds.abs_diff(first.fds) > MAX_FD_CHANGE + in_flight) {
        violations
            .push(format!("{} descriptors at pass {}, {} at pass {}", s.fds, s.pass, first.fds, first.pass));
    }
    if let Some(s) = warm.find(|s| s.threads != first.threads) {
        violations.push(format!("{} threads at pass {}, {} at first", s.threads, s.pass, first.threads));
    }
    if last.panics != 0 {
        violations.push(format!("{} panics", last.panics));
    }
    violations
}

/// Counts passes by the calls for some groups: a call starts a new pass if it arrives at least half an interval after the
/// start of the last one; other calls are retries.
pub(crate) struct PassCounter {
    interval: Duration,
    read: usize,
    /// Start of the last pass and number of passes, by instance and group.
    groups: BTreeMap<(String, String), (Instant, usize)>,
    /// The same for calls of any kind.
    any: (Instant, usize),
}

impl PassCounter {
    /// Counts the passes of groups, given as instance and group. None of them may be deleted.
    pub(crate) fn new(groups: impl IntoIterator<Item = (String, String)>, interval: Duration) -> Self {
        let long_ago = Instant::now() - Duration::from_secs(3600);
        let groups = groups.into_iter().map(|group| (group, (long_ago, 0))).collect();
        Self { interval, read: 0, groups, any: (long_ago, 0) }
    }

    /// Returns the number of passes that every group has completed.
    pub(crate) fn count(&mut self, sim: &Simulator) -> usize {
        self.read(sim);
        self.groups.values().map(|(_, passes)| *passes).min().unwrap_or(0)
    }

    /// Returns the number of intervals with a call.
    pub(crate) fn intervals(&mut self, sim: &Simulator) -> usize {
        self.read(sim);
        self.any.1
    }

    /// Reads new calls. The call log must be complete.
    fn read(&mut self, sim: &Simulator) {
        let Self { interval, read, groups, any } = self;
        let count = |(began, count): &mut (Instant, usize), at: Instant, after: Duration| {
            if at.duration_since(*began) >= after {
                (*began, *count) = (at, *count + 1);
            }
        };
        sim.with_call_log(|log| {
            for entry in log.entries().skip(*read) {
                *read += 1;
                count(any, entry.at, interval.mul_f64(0.9));
                let (Some(instance), Some(object)) = (&entry.instance, &entry.object) else { continue };
                if entry.action == "GetConsumerProgress"
                    && let Some(group) = groups.get_mut(&(instance.clone(), object.clone()))
                {
                    count(group, entry.at, *interval / 2);
                }
            }
        });
    }
}
