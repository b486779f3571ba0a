//! The reference pages under `docs/` that are made of the product's own tables.

use crate::Generated;

/// The pages.
pub(crate) fn files() -> Vec<Generated> {
    Vec::new()
}
