//! The wiring of the daemon: makes each part from the configuration and joins their ends.
//!
//! Owns: which part is handed what, and that the process ends when one of its loops dies. Refuses:
//! arithmetic, parsing, and decisions: a choice that is made here belongs into one of the parts.

use std::sync::Arc;

use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Duration, Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Client, credentials},
    clock,
    collect::{self, Sequence, Shared, Timing},
    config::{self, Config},
    exposition::{self, Own, Page, Renderer},
    health::Health,
    model::RegionId,
    snapshot::Store,
    web,
};

mod counting;
mod shown;

use counting::Counting;
use shown::Shown;

/// The region whose endpoint is asked which regions hold instances. Any does; this is the oldest one.
const HOME_REGION: &str = "cn-hangzhou";
/// A page is rendered at most this often, and never for more than a twentieth of the time.
const RENDER_EVERY: Duration = Duration::from_millis(50);

/// Why the daemon ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A part could not be made from the configuration.
    #[error("{0}")]
    Setup(String),
    /// A loop that must not end has ended.
    #[error("{0}")]
    Dead(String),
}
