//! Health of the process: heartbeats of its poll loops, and whether their first passes have ended.
//!
//! An unreachable API neither stops a heartbeat nor ends readiness. A region that is added later does not end it
//! either, because there are metrics to serve.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::{Duration, Instant};

/// Default age of the last heartbeat from which a loop counts as stopped. Loops beat at least once per second.
pub const STOPPED_AFTER: Duration = Duration::from_secs(30);

/// State behind `/-/healthy` and `/-/ready`.
#[derive(Debug, Clone)]
pub struct Health {
    loops: Arc<Mutex<PollLoops>>,
    stopped_after: Duration,
}

#[derive(Debug, Default)]
struct PollLoops {
    by_name: BTreeMap<String, LoopState>,
    /// Whether all first passes had ended at some time.
    were_ready: bool,
}

#[derive(Debug, Clone, Copy)]
struct LoopState {
    last_beat: Instant,
    first_pass_ended: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self::new(STOPPED_AFTER)
    }
}

impl Health {
    /// Returns the health of a process without loops. A loop counts as stopped without a heartbeat for
    /// `stopped_after`.
    #[must_use]
    pub fn new(stopped_after: Duration) -> Self {
        Self { loops: Arc::default(), stopped_after }
    }

    /// Records a heartbeat of a loop, and registers the loop if it is new. `name` is shown to people, e.g.
    /// `account/region`.
    pub fn beat(&self, name: &str) {
        let last_beat = Instant::now();
        let mut loops = self.lock();
        match loops.by_name.get_mut(name) {
            Some(state) => state.last_beat = last_beat,
            None => {
                loops.by_name.insert(name.to_owned(), LoopState { last_beat, first_pass_ended: false });
            }
        }
    }

    /// Records that the first pass of a loop has ended, successfully or not, and that its metrics are served. Has
    /// no effect for a loop that is no longer registered.
    pub fn first_pass_ended(&self, name: &str) {
        let mut loops = self.lock();
        if let Some(state) = loops.by_name.get_mut(name) {
            state.first_pass_ended = true;
            loops.were_ready |= loops.by_name.values().all(|state| state.first_pass_ended);
        }
    }

    /// Forgets a loop that has ended on purpose, e.g. because its region no longer has instances.
    pub fn forget(&self, name: &str) {
        self.lock().by_name.remove(name);
    }

    /// Returns the names of the loops that have stopped.
    #[must_use]
    pub fn stopped(&self) -> Vec<String> {
        self.lock().names(|state| state.last_beat.elapsed() > self.stopped_after)
    }

    /// Returns the time of the last heartbeat of each loop.
    #[must_use]
    pub fn beats(&self) -> BTreeMap<String, Instant> {
        self.lock().by_name.iter().map(|(name, state)| (name.clone(), state.last_beat)).collect()
    }

    /// Returns the names of the loops whose first pass the process waits for before it is ready: `start` if no loop
    /// is registered yet, none once the process has been ready.
    #[must_use]
    pub fn awaited_first_passes(&self) -> Vec<String> {
        let loops = self.lock();
        if loops.were_ready {
            return Vec::new();
        }
        if loops.by_name.is_empty() {
            return vec!["start".to_owned()];
        }
        loops.names(|state| !state.first_pass_ended)
    }

    fn lock(&self) -> MutexGuard<'_, PollLoops> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PollLoops {
    fn names(&self, predicate: impl Fn(&LoopState) -> bool) -> Vec<String> {
        self.by_name.iter().filter(|(_, state)| predicate(state)).map(|(name, _)| name.clone()).collect()
    }
}
