//! Open connections, and the choice of the connection to close if the limit is reached.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::{HttpObserver, connection_progress::ConnectionProgress, reason};

/// Open connections up to a limit.
pub(super) struct ConnectionRegistry {
    open: Mutex<OpenConnections>,
    max: usize,
    observer: Arc<dyn HttpObserver>,
}

#[derive(Default)]
struct OpenConnections {
    next_number: u64,
    /// By order of accept.
    by_number: BTreeMap<u64, Arc<ConnectionProgress>>,
}

/// Registration of a connection, released when dropped.
pub(super) struct ConnectionSlot {
    registry: Arc<ConnectionRegistry>,
    number: u64,
}

impl ConnectionRegistry {
    pub(super) fn new(max: usize, observer: Arc<dyn HttpObserver>) -> Self {
        Self { open: Mutex::default(), max, observer }
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a new connection, evicting a waiting one if the limit is reached. `None` if all connections are
    /// busy.
    pub(super) fn register(self: &Arc<Self>, progress: Arc<ConnectionProgress>) -> Option<ConnectionSlot> {
        let mut open = self.lock();
        if open.by_number.len() >= self.max && !self.evict_from(&mut open) {
            return None;
        }
        let number = open.next_number;
        open.next_number += 1;
        open.by_number.insert(number, progress);
        self.observer.open_connections_changed(open.by_number.len());
        drop(open);
        Some(ConnectionSlot { registry: Arc::clone(self), number })
    }

    /// Closes one waiting connection and returns whether there was one. Connections that never sent a request go first,
    /// then idle ones, each by the time they have waited.
    pub(super) fn evict(&self) -> bool {
        self.evict_from(&mut self.lock())
    }

    fn evict_from(&self, open: &mut OpenConnections) -> bool {
        let now = Instant::now();
        let connections = open.by_number.iter();
        let first = connections.filter_map(|(number, p)| Some((p.eviction_priority(now)?, *number))).min();
        let Some(progress) = first.and_then(|(_, number)| open.by_number.remove(&number)) else {
            return false;
        };
        progress.close_now.cancel();
        self.observer.rejected(reason::EVICTED);
        self.observer.open_connections_changed(open.by_number.len());
        true
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.registry.lock();
        // An evicted connection is no longer registered.
        if open.by_number.remove(&self.number).is_some() {
            self.registry.observer.open_connections_changed(open.by_number.len());
        }
    }
}
