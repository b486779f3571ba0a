//! Name resolution that cannot use up the process: the system's resolver blocks a thread for as long as a
//! name server is silent, so only a few look-ups of one client run at a time.

use std::{net::ToSocketAddrs as _, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

/// Look-ups at a time. A client has one host, so more would ask the same question.
const AT_A_TIME: usize = 2;

/// The system's resolver, bounded.
pub(super) struct BoundedResolver(Arc<Semaphore>);

impl Default for BoundedResolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

impl Resolve for BoundedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let semaphore = Arc::clone(&self.0);
        Box::pin(async move {
            let permit = semaphore.acquire_owned().await?;
            let addresses = tokio::task::spawn_blocking(move || {
                // The permit goes with the thread: the look-up goes on when the call has been given up.
                let _permit = permit;
                (name.as_str(), 0).to_socket_addrs()
            });
            Ok(Box::new(addresses.await??) as Addrs)
        })
    }
}
