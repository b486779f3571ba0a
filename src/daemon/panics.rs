//! What is told of a panic of any thread: a count, and one line in the format of the log.
//!
//! Refuses: the standard text of several lines on stderr, and payloads that were formatted at run time, which
//! may hold data. Where in the source it was says enough.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    panic::PanicHookInfo,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::{Duration, Instant};

/// A place in the source that panics again and again writes a line no more often than this.
const TELL_EVERY: Duration = Duration::from_secs(600);

/// Panics that no page has counted yet.
static UNCOUNTED: AtomicU64 = AtomicU64::new(0);

/// What was told of which place.
static TOLD: Mutex<Option<Told>> = Mutex::new(None);

/// Takes the place of the standard hook, for the whole process.
pub fn install() {
    std::panic::set_hook(Box::new(tell));
}

/// How many panics there were since this was last asked.
pub(super) fn take() -> u64 {
    UNCOUNTED.swap(0, Ordering::Relaxed)
}

fn tell(info: &PanicHookInfo<'_>) {
    UNCOUNTED.fetch_add(1, Ordering::Relaxed);
    let place =
        info.location().map_or_else(|| "unknown".to_owned(), |l| format!("{}:{}", l.file(), l.line()));
    let times = {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        told.get_or_insert_default().is_due(&place, Instant::now())
    };
    let Some(times) = times else { return };
    if !tracing::dispatcher::has_been_set() {
        // There is no log yet, and nobody to tell of a line that cannot be written.
        _ = writeln!(io::stderr(), "the exporter has failed by a panic at {place}, please report this");
        return;
    }
    let thread = std::thread::current();
    tracing::error!(
        place,
        thread = thread.name().unwrap_or("unnamed"),
        times,
        // A literal of the source; what was formatted is another type.
        text = info.payload().downcast_ref::<&'static str>(),
        "the exporter has failed by a panic, please report this"
    );
}

/// Places of the source, of which there are not many: when a line was written, and how many panics since.
#[derive(Debug, Default)]
struct Told(HashMap<String, (Instant, u64)>);

impl Told {
    /// Counts a panic. Returns how many a line is to tell of, if one is due.
    fn is_due(&mut self, place: &str, now: Instant) -> Option<u64> {
        let Some((told, untold)) = self.0.get_mut(place) else {
            self.0.insert(place.to_owned(), (now, 0));
            return Some(1);
        };
        *untold += 1;
        if now.duration_since(*told) < TELL_EVERY {
            return None;
        }
        *told = now;
        Some(std::mem::take(untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_panics_each_minute_is_told_of_once_in_ten_minutes() {
        let (mut told, mut now) = (Told::default(), Instant::now());
        let mut lines = Vec::new();
        for _ in 0..21 {
            lines.extend(told.is_due("a.rs:1", now));
            now += Duration::from_secs(60);
        }
        assert_eq!(lines, [1, 10, 10]);
        assert_eq!(told.is_due("b.rs:2", now), Some(1), "another place is another line");
    }
}
