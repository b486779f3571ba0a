//! Turns what is published into pages, off the path of any scrape.
//!
//! Owns: the pace of pages, and that a page is made by one renderer of one generation: regions and renderer of
//! another configuration come in together, as a [`Reconfiguration`], and so does what is shown beside the page.

use std::sync::Arc;

use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Exposition, Renderer};
use crate::snapshot::{RegionView, Snapshot, SnapshotStore};

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
pub struct RendererPanicked;

/// Another configuration, of which the next page is.
pub struct Reconfiguration<T> {
    /// What is known of its regions; it takes the place of all that is published.
    pub regions: Vec<RegionView>,
    /// What makes its pages; `None` if that did not change.
    pub renderer: Option<Renderer>,
    /// For whoever shows the page.
    pub attachment: T,
}

/// Renders a page for each change and each turn, and hands it to `show` with the snapshot that it was made from
/// and what came with the turn, until the shutdown. Nobody may publish from before a turn is sent until its page
/// has been shown.
///
/// # Errors
/// [`RendererPanicked`] if rendering panicked.
pub async fn run<T: Send>(
    store: Arc<SnapshotStore>,
    mut renderer: Renderer,
    mut turns: mpsc::Receiver<Reconfiguration<T>>,
    mut show: impl FnMut(Exposition, Arc<Snapshot>, Option<T>) + Send,
    shutdown: CancellationToken,
) -> Result<(), RendererPanicked> {
    let mut not_before = Instant::now();
    loop {
        let changed = async {
            sleep_until(not_before).await;
            store.changed().await;
        };
        let turn = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            Some(turn) = turns.recv() => Some(turn),
            () = changed => None,
        };
        let begun = Instant::now();
        let attachment = turn.map(|turn| {
            store.replace(turn.regions);
            if let Some(other) = turn.renderer {
                renderer = other;
            }
            turn.attachment
        });
        let snapshot = Arc::new(store.current());
        let source = Arc::clone(&snapshot);
        // A large page takes tens of milliseconds, which no scrape is to wait for.
        let rendering = tokio::task::spawn_blocking(move || {
            let page = renderer.render(&source);
            (renderer, page)
        });
        let (back, page) = rendering.await.map_err(|_| RendererPanicked)?;
        renderer = back;
        show(page, snapshot, attachment);
        not_before = Instant::now() + (begun.elapsed() * PAUSE_TO_COST).clamp(LEAST_PAUSE, MOST_PAUSE);
    }
}
