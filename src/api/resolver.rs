//! DNS resolver with a limit on concurrent lookups. The system's resolver blocks a thread while a name server does not
//! respond.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

/// Maximum number of concurrent lookups. All lookups of a client are for the same host.
const MAX_CONCURRENT_LOOKUPS: usize = 2;

/// Resolves a name; may block.
type LookupFn = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// The system's resolver with a limit on concurrent lookups.
pub(super) struct BoundedResolver {
    slots: Arc<Semaphore>,
    lookup: LookupFn,
}

impl Default for BoundedResolver {
    fn default() -> Self {
        Self::new(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }
}

impl BoundedResolver {
    fn new(lookup: LookupFn) -> Self {
        Self { slots: Arc::new(Semaphore::new(MAX_CONCURRENT_LOOKUPS)), lookup }
    }
}

impl Resolve for BoundedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (slots, lookup) = (Arc::clone(&self.slots), self.lookup);
        Box::pin(async move {
            let slot = slots.acquire_owned().await?;
            let addresses = tokio::task::spawn_blocking(move || {
                // The thread keeps the slot, because the lookup continues after the call has timed out.
                let _slot = slot;
                lookup(name.as_str())
            });
            Ok(Box::new(addresses.await??.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Condvar, Mutex, PoisonError},
        time::Duration,
    };

    use tokio::time::timeout;

    use super::*;

    /// A name server: whether it responds, and the number of its queries.
    static SERVER: Mutex<(bool, usize)> = Mutex::new((false, 0));
    static CHANGED: Condvar = Condvar::new();

    fn query(_: &str) -> io::Result<Vec<SocketAddr>> {
        let mut server = SERVER.lock().unwrap();
        server.1 += 1;
        CHANGED.notify_all();
        let server = CHANGED.wait_while(server, |(responds, _)| !*responds);
        drop(server.unwrap_or_else(PoisonError::into_inner));
        Ok(vec![([192, 0, 2, 1], 0).into()])
    }

    #[tokio::test]
    async fn calls_that_time_out_leave_at_most_two_lookups_running() {
        let resolver = BoundedResolver::new(query);
        let lookup = || resolver.resolve("kafka.test".parse().unwrap());
        for _ in 0..20 {
            let timed_out = timeout(Duration::from_millis(5), lookup()).await;
            assert!(timed_out.is_err(), "the server does not respond");
        }
        let (server, few) = CHANGED
            .wait_timeout_while(SERVER.lock().unwrap(), Duration::from_secs(10), |(_, queries)| *queries < 2)
            .unwrap();
        drop(server);
        // Before the assertions, because waiting lookups would block the end of a failed test.
        SERVER.lock().unwrap().0 = true;
        CHANGED.notify_all();
        assert_eq!(lookup().await.unwrap().count(), 1, "names resolve once it responds");
        assert!(!few.timed_out());
        assert_eq!(SERVER.lock().unwrap().1, 3, "two that timed out, and the last one");
    }
}
