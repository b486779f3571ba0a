//! The daemon as a process under a long load: what it holds of the machine, what it says, and the passes it
//! makes, told by the call log of the simulated cloud.

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
/// Between two counts of descriptors. The fewest of many is what is held with no call under way.
const COUNT_EVERY: Duration = Duration::from_millis(20);

/// The key that the daemon signs with.
pub(crate) fn key() -> AccessKey {
    AccessKey::new(KEY.0, KEY.1)
}

/// A running exporter with its default log at level info, and the open descriptors counted.
pub(crate) struct MeasuredExporter {
    process: ExporterProcess,
    /// Fewest descriptors counted since the last sample.
    fewest: Arc<Mutex<usize>>,
    counter: JoinHandle<()>,
}

impl MeasuredExporter {
    /// Settings are names of environment variables without their prefix.
    pub(crate) async fn start(endpoint: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alikafka-exporter"));
        command
            .env_clear()
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY.0)
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", KEY.1)
            .env("ALIKAFKA_EXPORTER_ENDPOINT", endpoint)
            // The C library keeps the room of large answers for the next ones, in each of its arenas, up to a
            // size that begins here and moves upwards by itself, unless it is told where it is. That is no
            // growth with passes, and would hide it.
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
                sleep(COUNT_EVERY).await;
            }
        });
        Self { process, fewest, counter }
    }

    /// Every line of the log so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.process.log_lines()
    }

    pub(crate) async fn metrics(&self) -> String {
        self.process.metrics().await
    }

    /// What the process holds now; of its descriptors, the fewest since the last sample.
    pub(crate) async fn sample(&self, pass: usize) -> Sample {
        // A sample may follow the one before at once.
        sleep(COUNT_EVERY * 5).await;
        let fds = std::mem::replace(&mut *self.fewest.lock().unwrap(), usize::MAX);
        let scrape = Scrape::parse(self.metrics().await);
        let lines = self.lines();
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
        assert_eq!(status.code(), Some(0), "{:?}", self.lines().last());
    }
}

impl Drop for MeasuredExporter {
    fn drop(&mut self) {
        self.counter.abort();
    }
}

/// What the process held after a pass.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) pass: usize,
    pub(crate) resident_kib: u64,
    pub(crate) fds: usize,
    pub(crate) threads: u64,
    /// By the metric, or by the log where that tells of more.
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

/// How the resident memory goes from a pass on, as a straight line through the samples.
pub(crate) fn slope(samples: &[Sample], from: usize) -> String {
    let warm: Vec<_> = samples.iter().filter(|s| s.pass >= from).collect();
    let n = warm.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| warm.iter().map(|s| of(s)).sum::<f64>() / n;
    let (x, y) = (mean(&|s| s.pass as f64), mean(&|s| s.resident_kib as f64));
    let rise = mean(&|s| (s.pass as f64 - x) * (s.resident_kib as f64 - y));
    let run = mean(&|s| (s.pass as f64 - x).powi(2));
    format!("slope of RSS from pass {from} on {:.2} KiB a pass", rise / run)
}

/// How much the resident memory may grow between the first sample and the last.
const DRIFT_KIB: u64 = 8 * 1024;
/// Descriptors that may come or go.
const FDS: usize = 2;

/// Holds the samples from a pass on to the bounds, with so many calls that may be under way at every count of
/// a stretch. Each text is a bound that was broken.
pub(crate) fn broken(samples: &[Sample], from: usize, under_way: usize) -> Vec<String> {
    let mut broken = Vec::new();
    let mut warm = samples.iter().filter(|s| s.pass >= from);
    let (Some(first), Some(last)) = (warm.clone().next(), warm.clone().next_back()) else {
        return vec!["there are no samples".to_owned()];
    };
    let drift = last.resident_kib.saturating_sub(first.resident_kib);
    if drift > DRIFT_KIB {
        broken.push(format!("RSS grew by {drift} KiB between passes {} and {}", first.pass, last.pass));
    }
    if let Some(s) = warm.clone().find(|s| s.fds.abs_diff(first.fds) > FDS + under_way) {
        broken
            .push(format!("{} descriptors at pass {}, {} at pass {}", s.fds, s.pass, first.fds, first.pass));
    }
    if let Some(s) = warm.find(|s| s.threads != first.threads) {
        broken.push(format!("{} threads at pass {}, {} at first", s.threads, s.pass, first.threads));
    }
    if last.panics != 0 {
        broken.push(format!("{} panics", last.panics));
    }
    broken
}

/// Counts passes by the calls that came for some units: a call belongs to a new pass if it came at least
/// half an interval after the one that began the pass before; others are retries.
pub(crate) struct PassCounter {
    interval: Duration,
    read: usize,
    of: BTreeMap<(String, String), (Instant, usize)>,
    of_any: (Instant, usize),
}

impl PassCounter {
    /// Of groups, as (instance, group). None of them may be deleted.
    pub(crate) fn of(groups: impl IntoIterator<Item = (String, String)>, interval: Duration) -> Self {
        let long_ago = Instant::now() - Duration::from_secs(3600);
        let of = groups.into_iter().map(|unit| (unit, (long_ago, 0))).collect();
        Self { interval, read: 0, of, of_any: (long_ago, 0) }
    }

    /// The passes that every unit has had so far.
    pub(crate) fn count(&mut self, sim: &Simulator) -> usize {
        self.read(sim);
        self.of.values().map(|(_, passes)| *passes).min().unwrap_or(0)
    }

    /// The intervals in each of which some call came.
    pub(crate) fn intervals(&mut self, sim: &Simulator) -> usize {
        self.read(sim);
        self.of_any.1
    }

    /// The call log must keep all calls.
    fn read(&mut self, sim: &Simulator) {
        let Self { interval, read, of, of_any } = self;
        let count = |(began, count): &mut (Instant, usize), at: Instant, after: Duration| {
            if at.duration_since(*began) >= after {
                (*began, *count) = (at, *count + 1);
            }
        };
        sim.with_call_log(|log| {
            for entry in log.entries().skip(*read) {
                *read += 1;
                count(of_any, entry.at, interval.mul_f64(0.9));
                let (Some(instance), Some(object)) = (&entry.instance, &entry.object) else { continue };
                if entry.action == "GetConsumerProgress"
                    && let Some(unit) = of.get_mut(&(instance.clone(), object.clone()))
                {
                    count(unit, entry.at, *interval / 2);
                }
            }
        });
    }
}
