//! Whether the process does its work: heartbeats of its loops, and whether first passes have ended.
//!
//! Says nothing of the cloud: a region that cannot be reached neither stops a heart nor un-readies.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::{Duration, Instant};

/// A heart that has not beaten for this long counts as stopped. Loops wake at least once a second.
const STOPPED_AFTER: Duration = Duration::from_secs(30);

/// The state that `/-/healthy` and `/-/ready` are answered from.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, Loop>>>);

#[derive(Debug, Clone, Copy)]
struct Loop {
    beat: Instant,
    first_pass_ended: bool,
}

impl Health {
    /// Registers a loop, or marks a registered one as alive now. `name` is for people, such as
    /// `account/region`.
    pub fn beat(&self, name: &str) {
        let beat = Instant::now();
        let mut loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match loops.get_mut(name) {
            Some(known) => known.beat = beat,
            None => _ = loops.insert(name.to_owned(), Loop { beat, first_pass_ended: false }),
        }
    }

    /// Notes that a registered loop's first pass has ended, good or bad, and can be seen. It never un-ends.
    /// One that is not registered has ended on purpose, and is not brought back.
    pub fn first_pass_ended(&self, name: &str) {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            known.first_pass_ended = true;
        }
    }

    /// Forgets a loop that has ended on purpose, such as that of a region that holds instances no more.
    pub fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Names of the loops whose hearts have stopped; empty while all is well.
    #[must_use]
    pub fn stopped(&self) -> Vec<String> {
        self.select(|l| l.beat.elapsed() > STOPPED_AFTER)
    }

    /// Names of the loops whose first pass has not ended; empty once ready. A process that has no loop
    /// yet is not ready.
    #[must_use]
    pub fn pending(&self) -> Vec<String> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return vec!["start".to_owned()];
        }
        self.select(|l| !l.first_pass_ended)
    }

    fn select(&self, pick: impl Fn(&Loop) -> bool) -> Vec<String> {
        let loops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loops.iter().filter(|(_, l)| pick(l)).map(|(name, _)| name.clone()).collect()
    }
}
