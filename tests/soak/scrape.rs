//! What a page must say of a world: the module of the integration tests.

#[allow(dead_code, reason = "the integration tests ask more of a page")]
#[path = "../it/scrape/page.rs"]
pub(crate) mod page;
#[path = "../it/scrape/truth.rs"]
pub(crate) mod truth;
