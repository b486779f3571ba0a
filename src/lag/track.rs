//! What successive answers about one group tell together: since when an offset stands still, where it fell
//! back, how much was read and written over a window in time. Pure.
//!
//! Owns: the window, bounded in memory. Refuses: verdicts, which are `status`' and `forecast`'s.

use std::time::Duration;

use super::{GroupLag, age::GroupAges};
use crate::model::Span;

/// What is remembered of one group.
#[derive(Debug, Default)]
pub struct Track {}

impl Track {
    /// Takes an answer. `window` is how far back is looked.
    pub fn record(&mut self, _: &GroupLag, _: &GroupAges, _now: Span, _window: Duration) {}

    /// Bytes of memory held, without the allocator's own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        0
    }
}
