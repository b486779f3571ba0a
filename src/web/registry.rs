//! The connections that are open, and who has to go when there is no place for another.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::{HttpObserver, progress::ConnectionProgress, reason};

/// The open connections, by order of accept.
pub(super) struct ConnectionRegistry {
    open: Mutex<OpenConnections>,
    max: usize,
    observer: Arc<dyn HttpObserver>,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    connections: BTreeMap<u64, Arc<ConnectionProgress>>,
}

/// A place in the registry, given back when dropped.
pub(super) struct ConnectionSlot {
    registry: Arc<ConnectionRegistry>,
    number: u64,
}

impl ConnectionRegistry {
    pub(super) fn new(max: usize, observer: Arc<dyn HttpObserver>) -> Self {
        Self { open: Mutex::default(), max, observer }
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a place to a new connection, that of a waiting one if need be; `None` if all are being
    /// answered.
    pub(super) fn admit(self: &Arc<Self>, progress: Arc<ConnectionProgress>) -> Option<ConnectionSlot> {
        let mut open = self.open();
        if open.connections.len() >= self.max && !self.evict_from(&mut open) {
            return None;
        }
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, progress);
        self.observer.open_connections(open.connections.len());
        drop(open);
        Some(ConnectionSlot { registry: Arc::clone(self), number })
    }

    /// Cuts the connection with the least claim to its place, if one may be cut: first one that never sent
    /// a request, then one that has rested, the one that waited longest.
    pub(super) fn evict(&self) -> bool {
        self.evict_from(&mut self.open())
    }

    fn evict_from(&self, open: &mut OpenConnections) -> bool {
        let now = Instant::now();
        let least = open
            .connections
            .iter()
            .filter_map(|(number, progress)| Some((progress.claim(now)?, *number)))
            .min();
        let Some(progress) = least.and_then(|(_, number)| open.connections.remove(&number)) else {
            return false;
        };
        progress.cut.cancel();
        self.observer.rejected(reason::EVICTED);
        self.observer.open_connections(open.connections.len());
        true
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut open = self.registry.open();
        // An evicted connection has been taken out already.
        if open.connections.remove(&self.number).is_some() {
            self.registry.observer.open_connections(open.connections.len());
        }
    }
}
