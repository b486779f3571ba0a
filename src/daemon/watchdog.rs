//! Watchdog that ends the process when a poll loop is stuck, because stale data must not be served.
//!
//! It is an OS thread because the async runtime may be blocked. It counts its own ticks rather than time, so that
//! a suspended process does not appear stuck when it resumes. Each tick also wakes the runtime: while one worker
//! is blocked, the others may sleep with none of them polling the network, and then the process could not even
//! report that it is unhealthy.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
};

use tokio::time::{Duration, Instant};

use crate::health::{Health, STOPPED_AFTER};

/// Time without a heartbeat after which the watchdog acts.
#[derive(Debug, Clone, Copy)]
pub(super) struct WatchdogLimits {
    /// `/-/healthy` fails after this time.
    pub(super) unhealthy: Duration,
    /// The process ends after this time.
    pub(super) exit: Duration,
}

impl Default for WatchdogLimits {
    fn default() -> Self {
        Self { unhealthy: STOPPED_AFTER, exit: Duration::from_secs(300) }
    }
}

#[cfg(feature = "fail-points")]
impl WatchdogLimits {
    /// Parses two numbers of milliseconds such as `1500/8000`.
    pub(super) fn from_fail_point(limits: Option<&str>) -> Self {
        let limits = limits.and_then(|limits| limits.split_once('/'));
        let parsed = limits.and_then(|(unhealthy, exit)| {
            let millis = |text: &str| text.parse().ok().map(Duration::from_millis);
            Some(Self { unhealthy: millis(unhealthy)?, exit: millis(exit)? })
        });
        parsed.unwrap_or_default()
    }
}

/// Interval between two checks.
const TICK: Duration = Duration::from_secs(1);

/// Running watchdog, which stops when dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    stopped: Arc<AtomicBool>,
    thread: Thread,
}

impl Watchdog {
    /// Starts a watchdog that calls `wake_runtime` on each tick, and `on_stuck` with the name of the first poll
    /// loop without a heartbeat for `limit`.
    ///
    /// # Errors
    /// If the system cannot create a thread.
    pub(super) fn start(
        health: Health,
        limit: Duration,
        wake_runtime: impl Fn() + Send + 'static,
        on_stuck: impl FnOnce(&str) + Send + 'static,
    ) -> io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stopped);
        let tick = TICK.min(limit / 10);
        let mut tracker = HeartbeatTracker::new(limit, tick);
        let handle = thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            while !is_stopped.load(Ordering::Acquire) {
                // May return early. A short tick does no harm.
                thread::park_timeout(tick);
                wake_runtime();
                if let Some(name) = tracker.tick(health.beats()) {
                    return on_stuck(&name);
                }
            }
        })?;
        Ok(Self { stopped, thread: handle.thread().clone() })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Heartbeats as of the last tick. Pure.
#[derive(Debug)]
struct HeartbeatTracker {
    /// Number of ticks without a heartbeat after which a poll loop is stuck.
    max_missed_ticks: u32,
    heartbeats: BTreeMap<String, Heartbeat>,
}

#[derive(Debug, Clone, Copy)]
struct Heartbeat {
    last: Instant,
    missed_ticks: u32,
}

impl HeartbeatTracker {
    fn new(limit: Duration, tick: Duration) -> Self {
        let ticks = limit.as_nanos().div_ceil(tick.as_nanos().max(1));
        Self { max_missed_ticks: u32::try_from(ticks).unwrap_or(u32::MAX), heartbeats: BTreeMap::new() }
    }

    /// Records the last heartbeat of each poll loop. Returns the name of a stuck one.
    fn tick(&mut self, last_heartbeats: BTreeMap<String, Instant>) -> Option<String> {
        let heartbeats = last_heartbeats.into_iter().map(|(name, last)| {
            let before = self.heartbeats.get(&name).filter(|before| before.last == last);
            let missed_ticks = before.map_or(0, |before| before.missed_ticks + 1);
            (name, Heartbeat { last, missed_ticks })
        });
        self.heartbeats = heartbeats.collect();
        let stuck = self.heartbeats.iter().find(|(_, beat)| beat.missed_ticks >= self.max_missed_ticks);
        stuck.map(|(name, _)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn tracker() -> HeartbeatTracker {
        HeartbeatTracker::new(Duration::from_secs(5), Duration::from_secs(1))
    }

    fn beats(beats: &[(&str, Instant)]) -> BTreeMap<String, Instant> {
        beats.iter().map(|(name, beat)| ((*name).to_owned(), *beat)).collect()
    }

    #[test]
    fn a_loop_without_heartbeats_for_the_limit_is_stuck() {
        let (mut tracker, now) = (tracker(), Instant::now());
        let after = |second| now + Duration::from_secs(second);
        for second in 0..5 {
            assert_eq!(tracker.tick(beats(&[("a", after(second)), ("b", after(second))])), None);
        }
        for second in 5..9 {
            assert_eq!(tracker.tick(beats(&[("a", after(second)), ("b", after(4))])), None);
        }
        assert_eq!(tracker.tick(beats(&[("a", after(9)), ("b", after(4))])), Some("b".to_owned()));
    }

    #[test]
    fn time_between_two_ticks_does_not_count() {
        let (mut tracker, now) = (tracker(), Instant::now());
        assert_eq!(tracker.tick(beats(&[("a", now)])), None);
        // Suspended for a day: neither the loop nor the watchdog ran.
        assert_eq!(tracker.tick(beats(&[("a", now)])), None);
        let awake = now + Duration::from_secs(24 * 3600);
        assert_eq!(tracker.tick(beats(&[("a", awake)])), None, "it beats again");
        assert_eq!(tracker.tick(beats(&[("a", awake)])), None);
    }

    #[test]
    fn a_removed_loop_is_not_missed() {
        let (mut tracker, now) = (tracker(), Instant::now());
        for _ in 0..3 {
            assert_eq!(tracker.tick(beats(&[("a", now)])), None);
        }
        for _ in 0..9 {
            assert_eq!(tracker.tick(BTreeMap::new()), None);
        }
        assert_eq!(tracker.tick(beats(&[("a", now)])), None, "counting starts over");
    }

    #[test]
    fn the_thread_reports_a_stuck_loop_and_ends_when_dropped() {
        let health = Health::default();
        health.beat("a");
        let (sender, stuck) = mpsc::channel();
        let limit = Duration::from_millis(50);
        let on_stuck = move |name: &str| sender.send(name.to_owned()).unwrap();
        let watchdog = Watchdog::start(health.clone(), limit, || {}, on_stuck).unwrap();
        assert_eq!(stuck.recv_timeout(Duration::from_secs(60)).unwrap(), "a");
        drop(watchdog);

        let (sender, stuck) = mpsc::channel::<()>();
        let watchdog =
            Watchdog::start(health, Duration::from_secs(3600), || {}, move |_| drop(sender)).unwrap();
        drop(watchdog);
        // The end of the thread drops the sender.
        assert_eq!(stuck.recv_timeout(Duration::from_secs(60)), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
