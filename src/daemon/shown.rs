//! What the server shows: the page of the fleet as it was rendered last, with the exporter's own metrics
//! of the moment at its end.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    exposition::{Own, Page},
    snapshot::Snapshot,
    web,
};

/// The present page. A reader takes a pointer; it never waits for whoever renews it.
pub(super) struct Shown {
    own: Arc<Own>,
    present: ArcSwap<(Page, Arc<Snapshot>)>,
}

impl Shown {
    pub(super) fn new(own: Arc<Own>) -> Self {
        Self { own, present: ArcSwap::default() }
    }

    pub(super) fn show(&self, page: Page, snapshot: Arc<Snapshot>) {
        self.own.rendered(&page);
        self.present.store(Arc::new((page, snapshot)));
    }
}

impl web::Pages for Shown {
    fn metrics(&self, gzip: bool) -> web::Page {
        let own = self.own.encode().unwrap_or_else(|error| {
            tracing::error!(%error, "the exporter's own metrics cannot be written, please report this");
            String::new()
        });
        let page = self.present.load().0.with_tail(own);
        if gzip {
            web::Page::gzip(page.gzip().collect::<Vec<_>>())
        } else {
            web::Page::plain(page.plain().collect::<Vec<_>>())
        }
    }

    fn landing(&self) -> web::Landing {
        web::Landing::of(env!("CARGO_PKG_VERSION"), &self.present.load().1)
    }
}
