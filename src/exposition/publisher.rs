//! Renders the exposition in the background, so that a scrape only copies memory.
//!
//! Owns: the pause between two expositions, and the switch to another configuration: its regions, its renderer and
//! their dependents become active together, as one [`Reconfiguration`].

use std::sync::Arc;

use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Exposition, Renderer};
use crate::snapshot::{RegionView, Snapshot, SnapshotStore};

/// Minimum pause between two expositions.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// Pause as a multiple of the render time, so that rendering uses at most 5 % of a core.
const PAUSE_PER_RENDER_TIME: u32 = 19;
/// Maximum pause between two expositions while the snapshot changes.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Rendering panicked. The exposition would never be updated again, so it must not be served.
#[derive(Debug, thiserror::Error)]
#[error("renderer panicked; exiting instead of serving stale metrics, please report this bug")]
pub struct RendererPanicked;

/// Switch to another configuration.
pub struct Reconfiguration<T> {
    /// State of its regions; replaces everything that is published.
    pub regions: Vec<RegionView>,
    /// Its renderer; `None` if the options did not change.
    pub renderer: Option<Renderer>,
    /// Data for the callback that receives the first exposition of the configuration.
    pub attachment: T,
}

/// Renders an exposition after each change and each reconfiguration, until the shutdown. `show` receives it with its
/// snapshot and the attachment of the reconfiguration. No poller may publish between sending a reconfiguration and
/// the call of `show` with its first exposition.
///
/// # Errors
/// [`RendererPanicked`] if rendering panicked.
pub async fn run<T: Send>(
    store: Arc<SnapshotStore>,
    mut renderer: Renderer,
    mut reconfigurations: mpsc::Receiver<Reconfiguration<T>>,
    mut show: impl FnMut(Exposition, Arc<Snapshot>, Option<T>) + Send,
    shutdown: CancellationToken,
) -> Result<(), RendererPanicked> {
    let mut not_before = Instant::now();
    loop {
        let changed = async {
            sleep_until(not_before).await;
            store.changed().await;
        };
        let reconfiguration = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            Some(reconfiguration) = reconfigurations.recv() => Some(reconfiguration),
            () = changed => None,
        };
        let started = Instant::now();
        let mut attachment = None;
        if let Some(reconfiguration) = reconfiguration {
            store.replace(reconfiguration.regions);
            renderer = reconfiguration.renderer.unwrap_or(renderer);
            attachment = Some(reconfiguration.attachment);
        }
        let snapshot = Arc::new(store.current());
        let rendered_snapshot = Arc::clone(&snapshot);
        // A large exposition takes tens of milliseconds, which would delay scrapes on this thread.
        let rendering = tokio::task::spawn_blocking(move || {
            let exposition = renderer.render(&rendered_snapshot);
            (renderer, exposition)
        });
        let exposition;
        (renderer, exposition) = rendering.await.map_err(|_| RendererPanicked)?;
        show(exposition, snapshot, attachment);
        not_before = Instant::now() + (started.elapsed() * PAUSE_PER_RENDER_TIME).clamp(MIN_PAUSE, MAX_PAUSE);
    }
}
