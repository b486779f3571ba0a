//! Panic hook: counts panics of any thread and logs each place at most every ten minutes.
//!
//! Logs neither backtraces nor payloads that were formatted at run time, because these may hold secrets. The
//! place in the source is enough.

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

/// Minimum time between two log lines about panics at the same place.
const LOG_INTERVAL: Duration = Duration::from_secs(600);

/// Panics that the self-metrics have not counted yet.
static UNCOUNTED: AtomicU64 = AtomicU64::new(0);

/// Places that have panicked.
static LOGGED: Mutex<Option<PanicLog>> = Mutex::new(None);

/// Replaces the standard panic hook of the process.
pub fn install() {
    std::panic::set_hook(Box::new(on_panic));
}

/// Returns the number of panics since the previous call.
pub(super) fn take_count() -> u64 {
    UNCOUNTED.swap(0, Ordering::Relaxed)
}

fn on_panic(info: &PanicHookInfo<'_>) {
    UNCOUNTED.fetch_add(1, Ordering::Relaxed);
    let place =
        info.location().map_or_else(|| "unknown".to_owned(), |l| format!("{}:{}", l.file(), l.line()));
    let count = {
        let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
        logged.get_or_insert_default().record(&place, Instant::now())
    };
    let Some(count) = count else { return };
    if !tracing::dispatcher::has_been_set() {
        // Logging is not initialized yet. If stderr is closed, nothing is left to do.
        _ = writeln!(io::stderr(), "the exporter panicked at {place} (please report this bug)");
        return;
    }
    let thread = std::thread::current();
    tracing::error!(
        place,
        thread = thread.name().unwrap_or("unnamed"),
        count,
        // Only a string literal of the source has this type.
        text = info.payload().downcast_ref::<&'static str>(),
        "the exporter panicked (please report this bug)"
    );
}

/// Time of the last log line, and panics since then, by place in the source.
#[derive(Debug, Default)]
struct PanicLog(HashMap<String, (Instant, u64)>);

impl PanicLog {
    /// Counts a panic. Returns the number of panics to log if a line is due.
    fn record(&mut self, place: &str, now: Instant) -> Option<u64> {
        let Some((logged_at, unlogged)) = self.0.get_mut(place) else {
            self.0.insert(place.to_owned(), (now, 0));
            return Some(1);
        };
        *unlogged += 1;
        if now.duration_since(*logged_at) < LOG_INTERVAL {
            return None;
        }
        *logged_at = now;
        Some(std::mem::take(unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_panics_at_one_place_are_logged_every_ten_minutes() {
        let (mut log, mut now) = (PanicLog::default(), Instant::now());
        let mut counts = Vec::new();
        for _ in 0..21 {
            counts.extend(log.record("a.rs:1", now));
            now += Duration::from_secs(60);
        }
        assert_eq!(counts, [1, 10, 10]);
        assert_eq!(log.record("b.rs:2", now), Some(1), "another place has its own line");
    }
}
