//! Log lines about one region, in one place so that the same event always has the same message and fields.

use tokio::time::Duration;
use tracing::field::display;

use super::{
    PollTarget,
    budget_shortage::ShortageChange,
    failure_log::{FailureKey, FailureLine, FailureStats},
    state::RegionEvent,
};
use crate::{
    api::Action,
    model::{AccountName, Anomaly, AnomalyKind, InstanceState, RegionId},
    snapshot::ObjectCounts,
};

/// Writes log lines about one region of one account.
#[derive(Clone, Copy)]
pub(super) struct CollectLog<'a> {
    pub(super) account: Option<&'a AccountName>,
    pub(super) region: &'a RegionId,
}

impl CollectLog<'_> {
    /// Logs a change of a failure. `object` is the topic or group whose call it was. It is not logged if the
    /// failure is one of the region.
    pub(super) fn failure(self, line: FailureLine, object: Option<&str>) {
        let (account, region) = (self.account.map(display), self.region.as_str());
        match line {
            FailureLine::Began(key, error) => tracing::warn!(
                account,
                region,
                instance_id = key.instance.as_ref().map(display),
                object = object.filter(|_| key.instance.is_some()),
                action = error.action.name(),
                result = key.kind.label(),
                error = error.detail,
                code = error.code,
                request_id = error.request_id,
                advice = error.advice(),
                "API call failed"
            ),
            FailureLine::Spread(key, error) => tracing::warn!(
                account,
                region,
                action = error.action.name(),
                result = key.kind.label(),
                error = error.detail,
                code = error.code,
                request_id = error.request_id,
                "same failure on more instances or actions, suppressing individual messages"
            ),
            FailureLine::Ongoing(key, stats) => tracing::warn!(
                account,
                region,
                instance_id = key.instance.as_ref().map(display),
                action = key.action.map(Action::name),
                result = key.kind.label(),
                failed_calls = stats.calls,
                failing_objects = stats.targets,
                outbreaks = stats.outbreaks,
                for_seconds = stats.duration.as_secs(),
                "still failing"
            ),
            FailureLine::Recovered(key, stats) => self.failure_end(&key, stats, "recovered"),
            FailureLine::EndedWithoutSuccess(key, stats) => {
                self.failure_end(&key, stats, "failure ended without a success");
            }
        }
    }

    fn failure_end(self, key: &FailureKey, stats: FailureStats, message: &str) {
        tracing::info!(
            account = self.account.map(display),
            region = self.region.as_str(),
            instance_id = key.instance.as_ref().map(display),
            action = key.action.map(Action::name),
            result = key.kind.label(),
            failed_calls = stats.calls,
            outbreaks = stats.outbreaks,
            after_seconds = stats.duration.as_secs(),
            "{message}"
        );
    }

    /// Logs an anomaly: at level warn if `is_news`, unless every busy fleet has anomalies of this kind.
    pub(super) fn anomaly(self, target: &PollTarget, anomaly: &Anomaly, is_news: bool) {
        let is_common = matches!(anomaly.kind, AnomalyKind::Clamped | AnomalyKind::TotalMismatch);
        let (account, region) = (self.account.map(display), self.region.as_str());
        let (action, kind, detail) = (target.action().name(), anomaly.kind.label(), &anomaly.detail);
        let (instance_id, object) = (target.instance().map(display), target.object());
        if is_news && !is_common {
            tracing::warn!(account, region, instance_id, object, action, kind, detail, "response anomaly");
        } else {
            tracing::debug!(account, region, instance_id, object, action, kind, detail, "response anomaly");
        }
    }

    pub(super) fn event(self, event: &RegionEvent) {
        let (account, region) = (self.account.map(display), self.region.as_str());
        let label = |state: &Option<InstanceState>| state.map_or("not reported", InstanceState::label);
        match event {
            RegionEvent::InstanceFound(id, state) => {
                tracing::info!(account, region, instance_id = %id, state = label(state), "instance found");
            }
            RegionEvent::InstanceGone(id) => {
                tracing::info!(account, region, instance_id = %id, "instance gone");
            }
            RegionEvent::InstanceRenamed(id) => {
                tracing::info!(account, region, instance_id = %id, "instance renamed");
            }
            RegionEvent::InstanceStateChanged(id, state) => {
                tracing::info!(account, region, instance_id = %id, state = label(state), "instance state changed");
            }
            RegionEvent::ObjectGone(target) => tracing::debug!(
                account,
                region,
                instance_id = target.instance().map(display),
                object = target.object(),
                action = target.action().name(),
                "object gone"
            ),
        }
    }

    /// Logs the number of calls of a pass, and the time they take at the configured rates.
    pub(super) fn plan(self, objects: &ObjectCounts, calls: usize, seconds: f64, poll: Duration) {
        tracing::info!(
            account = self.account.map(display),
            region = self.region.as_str(),
            instances = objects.instances,
            topics = objects.topics,
            groups = objects.groups,
            calls_per_pass = calls,
            seconds_per_pass = format!("{seconds:.1}"),
            poll_interval_seconds = poll.as_secs_f64(),
            "first pass ended"
        );
    }

    /// Logs the beginning or the end of a budget shortage. Rates are in calls per second.
    pub(super) fn budget_shortage(self, change: ShortageChange, action: Action, demand: f64, allowed: f64) {
        let (account, region, action) = (self.account.map(display), self.region.as_str(), action.name());
        let (needs_per_second, allowed_per_second) = (format!("{demand:.2}"), format!("{allowed:.2}"));
        match change {
            ShortageChange::Began => tracing::warn!(
                account,
                region,
                action,
                needs_per_second,
                allowed_per_second,
                advice = "raise requests_per_second or request_rates within the quota of the account, lengthen \
                          the intervals, or exclude objects by filters",
                "request budget too low, polls are delayed (idle groups and topics most)"
            ),
            ShortageChange::Ended => tracing::info!(
                account,
                region,
                action,
                needs_per_second,
                allowed_per_second,
                "request budget sufficient again"
            ),
        }
    }

    /// Logs a panic during a call. The panic hook has already logged its location.
    pub(super) fn panicked(self, target: &PollTarget) {
        tracing::warn!(
            account = self.account.map(display),
            region = self.region.as_str(),
            instance_id = target.instance().map(display),
            object = target.object(),
            action = target.action().name(),
            "API call panicked, keeping the last known value (please report this bug)"
        );
    }
}
