//! Turns what is published into pages, off the path of any scrape.

use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Page, Renderer};
use crate::snapshot::{Snapshot, Store};

/// Between two pages, at least.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// The pause is this many times what the page has cost, so that rendering takes a twentieth of one core,
/// unless that would make pages old.
const PAUSE_TO_COST: u32 = 19;
/// Between two pages, at most, while something changes.
const MOST_PAUSE: Duration = Duration::from_secs(2);

/// The renderer has died. A page that nobody renews must not be served.
#[derive(Debug, thiserror::Error)]
#[error("the renderer has died; refusing to serve a page that nobody renews, please report this")]
pub struct Died;

/// Renders a page for each change and hands it to `show` with the snapshot that it was made from, until
/// the shutdown.
///
/// # Errors
/// [`Died`] if rendering panicked.
pub async fn run(
    store: Arc<Store>,
    mut renderer: Renderer,
    mut show: impl FnMut(Page, Arc<Snapshot>) + Send,
    shutdown: CancellationToken,
) -> Result<(), Died> {
    let until_shutdown = |pause: Duration| shutdown.run_until_cancelled(sleep(pause));
    while shutdown.run_until_cancelled(store.changed()).await.is_some() {
        let begun = Instant::now();
        let snapshot = Arc::new(store.current());
        let source = Arc::clone(&snapshot);
        // A large page takes tens of milliseconds, which no scrape is to wait for.
        let rendering = tokio::task::spawn_blocking(move || {
            let page = renderer.render(&source);
            (renderer, page)
        });
        let (back, page) = rendering.await.map_err(|_| Died)?;
        renderer = back;
        show(page, snapshot);
        if until_shutdown((begun.elapsed() * PAUSE_TO_COST).clamp(LEAST_PAUSE, MOST_PAUSE)).await.is_none() {
            break;
        }
    }
    Ok(())
}
