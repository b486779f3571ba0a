//! What the server shows: the page of the fleet as it was rendered last, with the exporter's own metrics
//! of the moment at its end.

use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;

use super::panics;
use crate::{
    exposition::{Exposition, SelfMetrics, self_metrics::SelfMetricsOptions},
    health::Health,
    logging,
    snapshot::Snapshot,
    web,
};

/// The present page. A reader takes a pointer; it never waits for whoever renews it.
pub(super) struct Shown {
    own: Arc<SelfMetrics>,
    health: Health,
    present: ArcSwap<Present>,
    /// Held for writing while another configuration comes into force: for as long as it takes to forget some
    /// series and to change a pointer. So a page and its end are always of the same configuration.
    turning: RwLock<()>,
}

#[derive(Default)]
struct Present {
    page: Exposition,
    snapshot: Arc<Snapshot>,
    look: Arc<SelfMetricsOptions>,
}

/// What changes together with the page when another configuration comes into force.
pub(super) struct Beside {
    /// How the exporter's own metrics are written from now on.
    pub(super) look: SelfMetricsOptions,
    /// Puts right what they tell.
    pub(super) adjust: Box<dyn FnOnce() + Send>,
}

impl Shown {
    pub(super) fn new(own: Arc<SelfMetrics>, health: Health, look: SelfMetricsOptions) -> Self {
        let present = Present { look: Arc::new(look), ..Present::default() };
        Self { own, health, present: ArcSwap::from_pointee(present), turning: RwLock::default() }
    }

    pub(super) fn show(&self, page: Exposition, snapshot: Arc<Snapshot>, turn: Option<Beside>) {
        let before = self.present.load();
        match (before.page.dropped_series(), page.dropped_series()) {
            (0, 0) => {}
            (0, cut) => tracing::warn!(
                series = page.series_count(),
                cut,
                "metrics.max_series cuts series off, the newest topics and groups first: choose a coarser \
                 metrics.granularity, filter, or raise it"
            ),
            (_, 0) => {
                tracing::info!(series = page.series_count(), "metrics.max_series cuts nothing off any more")
            }
            (_, _) => {}
        }
        let (look, adjust) = match turn {
            None => (Arc::clone(&before.look), None),
            Some(Beside { look, adjust }) => (Arc::new(look), Some(adjust)),
        };
        let turning = adjust.map(|adjust| {
            let turning = self.turning.write().unwrap_or_else(PoisonError::into_inner);
            adjust();
            turning
        });
        self.own.record_exposition(&page);
        let present = Arc::new(Present { page, snapshot, look });
        self.present.store(Arc::clone(&present));
        drop(turning);
        // Ready is who can be seen, not who is about to be rendered.
        for region in present.snapshot.regions.iter().filter(|r| r.first_pass_ended) {
            self.health.first_pass_ended(&region.name());
        }
    }
}

impl web::ContentSource for Shown {
    fn metrics(&self, gzip: bool) -> web::ResponseContent {
        self.own.add_lost_log_lines(logging::take_lost_line_count());
        self.own.add_panics(panics::take());
        let (present, own) = {
            let _turning = self.turning.read().unwrap_or_else(PoisonError::into_inner);
            let present = self.present.load_full();
            let own = self.own.encode(&present.look);
            (present, own)
        };
        let own = own.unwrap_or_else(|error| {
            tracing::error!(%error, "the exporter's own metrics cannot be written, please report this");
            String::new()
        });
        let page = present.page.with_appended_text(own);
        if gzip {
            web::ResponseContent::gzip(page.gzip_chunks().collect::<Vec<_>>())
        } else {
            web::ResponseContent::plain(page.plain_chunks().collect::<Vec<_>>())
        }
    }

    fn status_page(&self) -> web::StatusPage {
        web::StatusPage::of(env!("CARGO_PKG_VERSION"), &self.present.load().snapshot)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use test_support::log_capture::LogCapture;

    use super::*;
    use crate::{
        exposition::{Renderer, self_metrics::BuildInfo},
        model::{GroupId, InstanceId, RegionId, RenderOptions},
        snapshot::{GroupView, InstanceView, LastSuccess, ObjectCounts, RegionView},
    };

    /// An instance with so many groups, of which nothing but the name is known.
    fn groups(number: u64) -> Arc<Snapshot> {
        let region = RegionId::new("cn-hangzhou").unwrap();
        let group = |n| {
            Arc::new(GroupView {
                id: GroupId::new(&format!("g{n}")).unwrap(),
                discovery_order: n,
                listed: true,
                lag: None,
                assessment: None,
                state: None,
                rebalances: None,
            })
        };
        let instance = InstanceView {
            account: None,
            region: region.clone(),
            id: InstanceId::new("i").unwrap(),
            discovery_order: 0,
            info: None,
            up: None,
            last_success: LastSuccess::default(),
            topics: Vec::new(),
            groups: (0..number).map(group).collect(),
        };
        let region = RegionView {
            account: None,
            region,
            up: None,
            first_pass_ended: true,
            last_success: LastSuccess::default(),
            objects: ObjectCounts::default(),
            instances: vec![Arc::new(instance)],
        };
        Arc::new(Snapshot { regions: vec![Arc::new(region)] })
    }

    fn shown(health: &Health) -> Shown {
        Shown::new(
            Arc::new(SelfMetrics::new(BuildInfo::default()).unwrap()),
            health.clone(),
            SelfMetricsOptions::default(),
        )
    }

    #[test]
    fn a_region_is_ready_once_its_first_pass_is_shown() {
        let health = Health::default();
        let shown = shown(&health);
        let snapshot = groups(1);
        let name = snapshot.regions[0].name();
        health.beat(&name);
        assert_eq!(health.pending().len(), 1);
        shown.show(Exposition::default(), Arc::clone(&snapshot), None);
        assert_eq!(health.pending(), [""; 0]);
        health.beat("later");
        assert_eq!(health.pending(), [""; 0], "a region that comes later does not un-ready the process");
    }

    #[test]
    fn a_region_that_was_forgotten_is_not_brought_back() {
        let health = Health::default();
        let snapshot = groups(1);
        health.beat(&snapshot.regions[0].name());
        health.forget(&snapshot.regions[0].name());
        shown(&health).show(Exposition::default(), snapshot, None);
        assert_eq!(health.pending(), ["start"]);
    }

    #[test]
    fn a_scrape_during_a_turn_waits_for_the_new_configuration() {
        let shown = Arc::new(shown(&Health::default()));
        let look = SelfMetricsOptions {
            constant_labels: vec![("a".to_owned(), "turned".to_owned())],
            ..SelfMetricsOptions::default()
        };
        let (scraper, (sender, scraped)) = (Arc::clone(&shown), mpsc::channel());
        let (page, later) = mpsc::channel();
        let adjust = Box::new(move || {
            std::thread::spawn(move || {
                sender.send(format!("{:?}", web::ContentSource::metrics(&*scraper, false)))
            });
            let soon = scraped.recv_timeout(Duration::from_millis(200));
            assert!(soon.is_err(), "half of the old configuration: {soon:?}");
            page.send(scraped).unwrap();
        });
        shown.show(Exposition::default(), groups(1), Some(Beside { look, adjust }));
        let page = later.recv().unwrap().recv().unwrap();
        assert!(page.contains("turned"), "{page}");
    }

    #[test]
    fn what_the_limit_cuts_is_told_when_it_begins_and_when_it_ends() {
        let (_guard, capture) = LogCapture::start(tracing::Level::INFO);
        let shown = shown(&Health::default());
        // Three series tell of the objects of the region.
        let mut renderer = Renderer::new(RenderOptions { max_series: Some(5), ..RenderOptions::default() });
        for number in [2, 3, 4, 4, 1, 1] {
            let snapshot = groups(number);
            shown.show(renderer.render(&snapshot), snapshot, None);
        }
        let log = capture.text();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(lines[0].contains("WARN") && lines[0].contains("cut=1"), "{log}");
        assert!(lines[1].contains("INFO") && lines[1].contains("cuts nothing off any more"), "{log}");
    }
}
