//! Exposition that `/metrics` serves: the latest rendered fleet metrics followed by the current self-metrics.

use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;

use super::{BUILD, panics};
use crate::{
    exposition::{Exposition, SelfMetrics, self_metrics::SelfMetricsOptions},
    health::Health,
    logging,
    snapshot::Snapshot,
    web,
};

/// Latest exposition. Readers load a pointer and never wait for the renderer.
pub(super) struct PublishedExposition {
    self_metrics: Arc<SelfMetrics>,
    health: Health,
    current: ArcSwap<RenderedState>,
    /// Write-locked while a reload switches the configuration, which takes as long as removing some series and
    /// swapping a pointer. A scrape therefore never mixes two configurations.
    switching: RwLock<()>,
}

#[derive(Default)]
struct RenderedState {
    exposition: Exposition,
    snapshot: Arc<Snapshot>,
    self_metrics_options: Arc<SelfMetricsOptions>,
}

/// Changes that take effect together with the first exposition of a new configuration.
pub(super) struct ConfigSwitch {
    /// Rendering of self-metrics under the new configuration.
    pub(super) self_metrics_options: SelfMetricsOptions,
    /// Updates the self-metrics for the new configuration.
    pub(super) apply: Box<dyn FnOnce() + Send>,
}

impl PublishedExposition {
    pub(super) fn new(self_metrics: Arc<SelfMetrics>, health: Health, options: SelfMetricsOptions) -> Self {
        let state = RenderedState { self_metrics_options: Arc::new(options), ..RenderedState::default() };
        Self { self_metrics, health, current: ArcSwap::from_pointee(state), switching: RwLock::default() }
    }

    /// Replaces the exposition with one rendered from `snapshot`, and applies `switch` in the same step.
    pub(super) fn publish(
        &self,
        exposition: Exposition,
        snapshot: Arc<Snapshot>,
        switch: Option<ConfigSwitch>,
    ) {
        let before = self.current.load();
        log_series_limit(&before.exposition, &exposition);
        let (self_metrics_options, apply) = match switch {
            None => (Arc::clone(&before.self_metrics_options), None),
            Some(switch) => (Arc::new(switch.self_metrics_options), Some(switch.apply)),
        };
        let switching = apply.map(|apply| {
            let guard = self.switching.write().unwrap_or_else(PoisonError::into_inner);
            apply();
            guard
        });
        self.self_metrics.record_exposition(&exposition);
        let state = Arc::new(RenderedState { exposition, snapshot, self_metrics_options });
        self.current.store(Arc::clone(&state));
        drop(switching);
        // A region is ready only once its first exposition is visible.
        for region in state.snapshot.regions.iter().filter(|region| region.first_pass_ended) {
            self.health.first_pass_ended(&region.name());
        }
    }
}

/// Logs when `metrics.max_series` starts and stops dropping series.
fn log_series_limit(before: &Exposition, now: &Exposition) {
    let series = now.series_count();
    match (before.dropped_series(), now.dropped_series()) {
        (0, dropped @ 1..) => tracing::warn!(
            series,
            dropped,
            advice = "choose a coarser metrics.granularity, add filters, or raise metrics.max_series",
            "series limit reached, dropping series of the newest topics and groups"
        ),
        (1.., 0) => tracing::info!(series, "series limit no longer reached"),
        _ => {}
    }
}

impl web::ContentSource for PublishedExposition {
    fn metrics(&self, gzip: bool) -> web::ResponseContent {
        self.self_metrics.add_lost_log_lines(logging::take_lost_line_count());
        self.self_metrics.add_panics(panics::take_count());
        let (state, self_metrics) = {
            let _guard = self.switching.read().unwrap_or_else(PoisonError::into_inner);
            let state = self.current.load_full();
            let self_metrics = self.self_metrics.encode(&state.self_metrics_options);
            (state, self_metrics)
        };
        let self_metrics = self_metrics.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot encode self-metrics (please report this bug)");
            String::new()
        });
        let exposition = state.exposition.with_appended_text(self_metrics);
        if gzip {
            web::ResponseContent::gzip(exposition.gzip_chunks().collect::<Vec<_>>())
        } else {
            web::ResponseContent::plain(exposition.plain_chunks().collect::<Vec<_>>())
        }
    }

    fn status_page(&self) -> web::StatusPage {
        web::StatusPage::from_snapshot(BUILD.version, &self.current.load().snapshot)
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

    /// Snapshot of one instance with `number` groups without data.
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

    fn published(health: &Health) -> PublishedExposition {
        PublishedExposition::new(
            Arc::new(SelfMetrics::new(BuildInfo::default()).unwrap()),
            health.clone(),
            SelfMetricsOptions::default(),
        )
    }

    #[test]
    fn a_region_is_ready_once_its_first_pass_is_published() {
        let health = Health::default();
        let published = published(&health);
        let snapshot = groups(1);
        let name = snapshot.regions[0].name();
        health.beat(&name);
        assert_eq!(health.awaited_first_passes().len(), 1);
        published.publish(Exposition::default(), Arc::clone(&snapshot), None);
        assert_eq!(health.awaited_first_passes(), [""; 0]);
        health.beat("later");
        assert_eq!(
            health.awaited_first_passes(),
            [""; 0],
            "a region discovered later does not revoke readiness"
        );
    }

    #[test]
    fn a_removed_region_is_not_added_again() {
        let health = Health::default();
        let snapshot = groups(1);
        health.beat(&snapshot.regions[0].name());
        health.forget(&snapshot.regions[0].name());
        published(&health).publish(Exposition::default(), snapshot, None);
        assert_eq!(health.awaited_first_passes(), ["start"]);
    }

    #[test]
    fn a_scrape_during_a_switch_waits_for_the_new_configuration() {
        let published = Arc::new(published(&Health::default()));
        let self_metrics_options = SelfMetricsOptions {
            constant_labels: vec![("a".to_owned(), "switched".to_owned())],
            ..SelfMetricsOptions::default()
        };
        let (scraper, (sender, scraped)) = (Arc::clone(&published), mpsc::channel());
        let (exposition, later) = mpsc::channel();
        let apply = Box::new(move || {
            std::thread::spawn(move || {
                sender.send(format!("{:?}", web::ContentSource::metrics(&*scraper, false)))
            });
            let soon = scraped.recv_timeout(Duration::from_millis(200));
            assert!(soon.is_err(), "mixes both configurations: {soon:?}");
            exposition.send(scraped).unwrap();
        });
        published.publish(
            Exposition::default(),
            groups(1),
            Some(ConfigSwitch { self_metrics_options, apply }),
        );
        let text = later.recv().unwrap().recv().unwrap();
        assert!(text.contains("switched"), "{text}");
    }

    #[test]
    fn the_series_limit_is_logged_when_it_starts_and_stops_dropping_series() {
        let (_guard, capture) = LogCapture::start(tracing::Level::INFO);
        let published = published(&Health::default());
        // The region itself has three series.
        let mut renderer = Renderer::new(RenderOptions { max_series: Some(5), ..RenderOptions::default() });
        for number in [2, 3, 4, 4, 1, 1] {
            let snapshot = groups(number);
            published.publish(renderer.render(&snapshot), snapshot, None);
        }
        let log = capture.text();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(lines[0].contains("WARN") && lines[0].contains("dropped=1"), "{log}");
        assert!(lines[1].contains("INFO") && lines[1].contains("no longer reached"), "{log}");
    }
}
