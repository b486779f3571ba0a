//! Whether the process does its work: heartbeats of its loops, and whether first passes have ended.
//!
//! Says nothing of the cloud: a region that cannot be reached neither stops a heart nor un-readies. Nor does a
//! region that comes later, as by a reload: a process that was ready has pages to show.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::{Duration, Instant};

/// A heart that has not beaten for this long counts as stopped. PollLoops wake at least once a second.
pub const STOPPED_AFTER: Duration = Duration::from_secs(30);

/// The state that `/-/healthy` and `/-/ready` are answered from.
#[derive(Debug, Clone)]
pub struct Health {
    loops: Arc<Mutex<PollLoops>>,
    stopped_after: Duration,
}

#[derive(Debug, Default)]
struct PollLoops {
    known: BTreeMap<String, LoopState>,
    /// All first passes had ended once.
    were_ready: bool,
}

#[derive(Debug, Clone, Copy)]
struct LoopState {
    beat: Instant,
    first_pass_ended: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self::new(STOPPED_AFTER)
    }
}

impl Health {
    /// No loop yet. A heart counts as stopped when it has not beaten for this long.
    #[must_use]
    pub fn new(stopped_after: Duration) -> Self {
        Self { loops: Arc::default(), stopped_after }
    }

    /// Registers a loop, or marks a registered one as alive now. `name` is for people, such as
    /// `account/region`.
    pub fn beat(&self, name: &str) {
        let beat = Instant::now();
        let mut loops = self.lock();
        match loops.known.get_mut(name) {
            Some(known) => known.beat = beat,
            None => _ = loops.known.insert(name.to_owned(), LoopState { beat, first_pass_ended: false }),
        }
    }

    /// Notes that a registered loop's first pass has ended, good or bad, and can be seen. It never un-ends.
    /// One that is not registered has ended on purpose, and is not brought back.
    pub fn first_pass_ended(&self, name: &str) {
        let mut loops = self.lock();
        if let Some(known) = loops.known.get_mut(name) {
            known.first_pass_ended = true;
            loops.were_ready |= loops.known.values().all(|l| l.first_pass_ended);
        }
    }

    /// Forgets a loop that has ended on purpose, such as that of a region that holds instances no more.
    pub fn forget(&self, name: &str) {
        self.lock().known.remove(name);
    }

    /// Names of the loops whose hearts have stopped; empty while all is well.
    #[must_use]
    pub fn stopped(&self) -> Vec<String> {
        select(&self.lock(), |l| l.beat.elapsed() > self.stopped_after)
    }

    /// When each heart beat last.
    #[must_use]
    pub fn beats(&self) -> BTreeMap<String, Instant> {
        self.lock().known.iter().map(|(name, l)| (name.clone(), l.beat)).collect()
    }

    /// Names of the loops whose first pass has not ended, until the process is ready; empty from then on. A
    /// process that has no loop yet is not ready.
    #[must_use]
    pub fn pending(&self) -> Vec<String> {
        let loops = self.lock();
        if loops.were_ready {
            return Vec::new();
        }
        if loops.known.is_empty() {
            return vec!["start".to_owned()];
        }
        select(&loops, |l| !l.first_pass_ended)
    }

    fn lock(&self) -> MutexGuard<'_, PollLoops> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn select(loops: &PollLoops, pick: impl Fn(&LoopState) -> bool) -> Vec<String> {
    loops.known.iter().filter(|(_, l)| pick(l)).map(|(name, _)| name.clone()).collect()
}
