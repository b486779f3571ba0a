//! Ends a process whose loops stand still: what it serves would be served as if it were new.
//!
//! A thread of the system's own, as a runtime that is blocked must not stop it. It counts its own ticks, not
//! time: a process that was suspended or stopped wakes up with no tick missed. At each tick it knocks at the
//! runtime: a worker that is blocked may leave the others asleep with nobody listening to the network, and
//! then the process could not even say that it is not healthy.

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

/// How long a heart may be still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Then the process says of itself that it is not healthy.
    pub(super) unhealthy: Duration,
    /// Then it ends.
    pub(super) end: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unhealthy: STOPPED_AFTER, end: Duration::from_secs(300) }
    }
}

/// Between two looks.
const TICK: Duration = Duration::from_secs(1);

/// A running watchdog. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    ended: Arc<AtomicBool>,
    thread: Thread,
}

impl Watchdog {
    /// Starts one that calls `still` with the name of the first heart that is still for the limit, and
    /// `knock` at each tick.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub(super) fn start(
        health: Health,
        limit: Duration,
        knock: impl Fn() + Send + 'static,
        still: impl FnOnce(&str) + Send + 'static,
    ) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let tick = TICK.min(limit / 10);
        let mut watch = Watch::new(limit, tick);
        let handle = thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            while !told.load(Ordering::Acquire) {
                // May return early, as all parking may: a tick that is short does no harm.
                thread::park_timeout(tick);
                knock();
                if let Some(name) = watch.tick(health.beats()) {
                    return still(&name);
                }
            }
        })?;
        Ok(Self { ended, thread: handle.thread().clone() })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// The hearts as they were seen at the last tick. Pure.
#[derive(Debug)]
struct Watch {
    /// So many ticks without a beat are too many.
    most: u32,
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    beat: Instant,
    /// Ticks since it was new.
    still: u32,
}

impl Watch {
    fn new(limit: Duration, tick: Duration) -> Self {
        let most = limit.as_nanos().div_ceil(tick.as_nanos().max(1));
        Self { most: u32::try_from(most).unwrap_or(u32::MAX), seen: BTreeMap::new() }
    }

    /// Looks at the last beat of each heart. Returns the name of one that has been still for too long.
    fn tick(&mut self, beats: BTreeMap<String, Instant>) -> Option<String> {
        let seen = beats.into_iter().map(|(name, beat)| {
            let before = self.seen.get(&name).filter(|seen| seen.beat == beat);
            let still = before.map_or(0, |seen| seen.still + 1);
            (name, Seen { beat, still })
        });
        self.seen = seen.collect();
        self.seen.iter().find(|(_, seen)| seen.still >= self.most).map(|(name, _)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn watch() -> Watch {
        Watch::new(Duration::from_secs(5), Duration::from_secs(1))
    }

    fn beats(of: &[(&str, Instant)]) -> BTreeMap<String, Instant> {
        of.iter().map(|(name, beat)| ((*name).to_owned(), *beat)).collect()
    }

    #[test]
    fn a_heart_that_is_still_for_the_limit_is_named() {
        let (mut watch, now) = (watch(), Instant::now());
        for second in 0..5 {
            let now = now + Duration::from_secs(second);
            assert_eq!(watch.tick(beats(&[("a", now), ("b", now)])), None);
        }
        let after = |second| now + Duration::from_secs(second);
        for second in 5..9 {
            assert_eq!(watch.tick(beats(&[("a", after(second)), ("b", after(4))])), None);
        }
        assert_eq!(watch.tick(beats(&[("a", after(9)), ("b", after(4))])), Some("b".to_owned()));
    }

    #[test]
    fn time_that_passes_between_two_ticks_does_not_count() {
        let (mut watch, now) = (watch(), Instant::now());
        assert_eq!(watch.tick(beats(&[("a", now)])), None);
        // Suspended for a day: the loop has not run, and neither has the watchdog.
        assert_eq!(watch.tick(beats(&[("a", now)])), None);
        let awake = now + Duration::from_secs(24 * 3600);
        assert_eq!(watch.tick(beats(&[("a", awake)])), None, "it beats again");
        assert_eq!(watch.tick(beats(&[("a", awake)])), None);
    }

    #[test]
    fn a_heart_that_is_forgotten_is_not_missed() {
        let (mut watch, now) = (watch(), Instant::now());
        for _ in 0..3 {
            assert_eq!(watch.tick(beats(&[("a", now)])), None);
        }
        for _ in 0..9 {
            assert_eq!(watch.tick(BTreeMap::new()), None);
        }
        assert_eq!(watch.tick(beats(&[("a", now)])), None, "it begins anew");
    }

    #[test]
    fn the_thread_tells_of_a_still_heart_and_ends_with_its_owner() {
        let health = Health::default();
        health.beat("a");
        let (tell, told) = mpsc::channel();
        let limit = Duration::from_millis(50);
        let watchdog =
            Watchdog::start(health.clone(), limit, || {}, move |name| tell.send(name.to_owned()).unwrap())
                .unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap(), "a");
        drop(watchdog);

        let (tell, told) = mpsc::channel::<()>();
        let watchdog =
            Watchdog::start(health, Duration::from_secs(3600), || {}, move |_| drop(tell)).unwrap();
        drop(watchdog);
        // The thread's end drops the channel.
        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
