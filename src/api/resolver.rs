//! Name resolution that cannot use up the process: the system's resolver blocks a thread for as long as a
//! name server is silent, so only a few look-ups of one client run at a time.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

/// Look-ups at a time. A client has one host, so more would ask the same question.
const AT_A_TIME: usize = 2;

/// Looks a name up, however long that blocks.
type LookupFn = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// The system's resolver, bounded.
pub(super) struct BoundedResolver {
    slots: Arc<Semaphore>,
    look_up: LookupFn,
}

impl Default for BoundedResolver {
    fn default() -> Self {
        Self::over(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }
}

impl BoundedResolver {
    fn over(look_up: LookupFn) -> Self {
        Self { slots: Arc::new(Semaphore::new(AT_A_TIME)), look_up }
    }
}

impl Resolve for BoundedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (slots, look_up) = (Arc::clone(&self.slots), self.look_up);
        Box::pin(async move {
            let slot = slots.acquire_owned().await?;
            let addresses = tokio::task::spawn_blocking(move || {
                // The slot goes with the thread: the look-up goes on when the call has been given up.
                let _slot = slot;
                look_up(name.as_str())
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

    /// A name server that is silent until it speaks: whether it does, and how many have asked it.
    static SERVER: Mutex<(bool, usize)> = Mutex::new((false, 0));
    static CHANGED: Condvar = Condvar::new();

    fn ask(_: &str) -> io::Result<Vec<SocketAddr>> {
        let mut server = SERVER.lock().unwrap();
        server.1 += 1;
        CHANGED.notify_all();
        let spoken = CHANGED.wait_while(server, |(speaks, _)| !*speaks);
        drop(spoken.unwrap_or_else(PoisonError::into_inner));
        Ok(vec![([192, 0, 2, 1], 0).into()])
    }

    #[tokio::test]
    async fn calls_that_are_given_up_leave_no_more_than_two_look_ups_behind() {
        let resolver = BoundedResolver::over(ask);
        let look_up = || resolver.resolve("kafka.test".parse().unwrap());
        for _ in 0..20 {
            let given_up = timeout(Duration::from_millis(5), look_up()).await;
            assert!(given_up.is_err(), "the server is silent");
        }
        let (server, few) = CHANGED
            .wait_timeout_while(SERVER.lock().unwrap(), Duration::from_secs(10), |(_, asked)| *asked < 2)
            .unwrap();
        drop(server);
        // Before anything is asserted, as those who still wait would hold up the end of a failed test.
        SERVER.lock().unwrap().0 = true;
        CHANGED.notify_all();
        assert_eq!(look_up().await.unwrap().count(), 1, "once it speaks, names are found");
        assert!(!few.timed_out());
        assert_eq!(SERVER.lock().unwrap().1, 3, "two that were given up, and the last");
    }
}
