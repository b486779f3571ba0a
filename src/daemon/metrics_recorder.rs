//! Observer of API calls, polls and HTTP requests that records self-metrics.

use std::sync::Arc;

use tokio::time::Duration;

use crate::{
    api::{self, Action, Attempt, ErrorKind},
    collect,
    exposition::SelfMetrics,
    model::{AccountName, Anomaly, AnomalyKind, RegionId},
    web,
};

/// Records what the other components report in the self-metrics.
#[derive(Clone)]
pub(super) struct MetricsRecorder(pub(super) Arc<SelfMetrics>);

impl api::ApiObserver for MetricsRecorder {
    fn attempt(&self, attempt: &Attempt<'_>) {
        let Attempt { account, region, action, .. } = *attempt;
        #[cfg(feature = "fail-points")]
        fail::fail_point!(&format!("api-call-{}", action.name()));
        let result = attempt.result.map_or_else(ErrorKind::label, |()| "ok");
        self.0.observe_api_request(account, region, action.name(), result, attempt.duration);
        if attempt.is_retry {
            self.0.count_api_retry(account, region, action.name());
        }
        if let Some(skew) = attempt.clock_skew_millis {
            self.0.set_clock_skew(account, skew as f64 / 1000.0);
        }
    }

    fn discarded(&self, _: Action, anomaly: &Anomaly) {
        self.0.count_anomaly(anomaly.kind);
    }
}

impl collect::CollectObserver for MetricsRecorder {
    fn anomaly(&self, kind: AnomalyKind) {
        self.0.count_anomaly(kind);
    }

    fn lateness(&self, account: Option<&AccountName>, region: &RegionId, lateness: Duration) {
        self.0.observe_poll_lateness(account, region, lateness);
    }

    fn demand(
        &self,
        account: Option<&AccountName>,
        region: &RegionId,
        action: Action,
        needs: f64,
        allowed: f64,
    ) {
        #[cfg(feature = "fail-points")]
        if action == Action::GetInstanceList {
            fail::fail_point!("region-poller");
        }
        self.0.set_api_rates(account, region, action.name(), needs, allowed);
    }

    fn region_ended(&self, account: Option<&AccountName>, region: &RegionId) {
        self.0.remove_region(account, region);
    }
}

impl web::HttpObserver for MetricsRecorder {
    fn request_completed(&self, path: &'static str, code: u16, took: Duration) {
        self.0.observe_http_request(path, code, took);
    }

    fn rejected(&self, reason: &'static str) {
        self.0.count_http_rejection(reason);
    }

    fn open_connections_changed(&self, open: usize) {
        self.0.set_http_connections(open);
    }
}
