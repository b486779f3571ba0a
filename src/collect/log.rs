//! The lines that the loops write: one place, so that the same thing is always said in the same words.

use tokio::time::Duration;
use tracing::field::display;

use super::{
    PollTarget,
    budget_shortage::ShortageChange,
    failure_log::{FailureKey, FailureLine, FailureTally},
    state::RegionEvent,
};
use crate::{
    api::Action,
    model::{AccountName, Anomaly, AnomalyKind, InstanceState, RegionId},
    snapshot::ObjectCounts,
};

/// Writes lines about one region of one account.
#[derive(Clone, Copy)]
pub(super) struct CollectLog<'a> {
    pub(super) account: Option<&'a AccountName>,
    pub(super) region: &'a RegionId,
}

impl CollectLog<'_> {
    /// `object` is the topic or group whose attempt the line is about; told where the failure is not one of
    /// the whole region, so that it can be found.
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
                code = error.code,
                request_id = error.request_id,
                advice = error.advice(),
                "{}",
                error.detail
            ),
            FailureLine::Spread(key, error) => tracing::warn!(
                account,
                region,
                action = error.action.name(),
                result = key.kind.label(),
                code = error.code,
                request_id = error.request_id,
                "also on other instances or actions, of which no more is told one by one"
            ),
            FailureLine::GoesOn(key, tally) => tracing::warn!(
                account,
                region,
                instance_id = key.instance.as_ref().map(display),
                action = key.action.map(Action::name),
                result = key.kind.label(),
                failed_calls = tally.calls,
                failing_objects = tally.targets,
                outbreaks = tally.outbreaks,
                for_seconds = tally.lasted.as_secs(),
                "still failing"
            ),
            FailureLine::Over(key, tally) => self.over(&key, tally, "recovered"),
            FailureLine::Ceased(key, tally) => self.over(&key, tally, "over without a success"),
        }
    }

    fn over(self, key: &FailureKey, tally: FailureTally, how: &str) {
        tracing::info!(
            account = self.account.map(display),
            region = self.region.as_str(),
            instance_id = key.instance.as_ref().map(display),
            action = key.action.map(Action::name),
            result = key.kind.label(),
            failed_calls = tally.calls,
            outbreaks = tally.outbreaks,
            after_seconds = tally.lasted.as_secs(),
            "{how}"
        );
    }

    /// A line at warn for one of a kind that an instance has not shown for a while; the counter has the rest.
    /// What every busy fleet shows now and then is no news.
    pub(super) fn anomaly(self, target: &PollTarget, anomaly: &Anomaly, is_news: bool) {
        let usual = matches!(anomaly.kind, AnomalyKind::Clamped | AnomalyKind::TotalMismatch);
        let (account, region) = (self.account.map(display), self.region.as_str());
        let (action, kind, detail) = (target.action().name(), anomaly.kind.label(), &anomaly.detail);
        let (instance_id, object) = (target.instance().map(display), target.object());
        if is_news && !usual {
            tracing::warn!(account, region, instance_id, object, action, kind, "odd answer: {detail}");
        } else {
            tracing::debug!(account, region, instance_id, object, action, kind, "odd answer: {detail}");
        }
    }

    pub(super) fn event(self, event: &RegionEvent) {
        let (account, region) = (self.account.map(display), self.region.as_str());
        let label = |state: &Option<InstanceState>| state.map_or("not told", InstanceState::label);
        match event {
            RegionEvent::InstanceFound(id, state) => {
                tracing::info!(account, region, instance_id = %id, state = label(state), "instance found");
            }
            RegionEvent::InstanceGone(id) => {
                tracing::info!(account, region, instance_id = %id, "instance gone")
            }
            RegionEvent::InstanceRenamed(id) => {
                tracing::info!(account, region, instance_id = %id, "instance renamed")
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

    /// What a pass costs, once everything is known.
    pub(super) fn plan(self, objects: &ObjectCounts, calls: usize, seconds: f64, poll: Duration) {
        let (account, region) = (self.account.map(display), self.region.as_str());
        tracing::info!(
            account,
            region,
            instances = objects.instances,
            topics = objects.topics,
            groups = objects.groups,
            calls_per_pass = calls,
            seconds_per_pass = format!("{seconds:.1}"),
            poll_interval_seconds = poll.as_secs_f64(),
            "first pass ended"
        );
    }

    /// Whether an action needs more calls than it may make, where that has changed.
    pub(super) fn budget_shortage(self, line: ShortageChange, action: Action, needs: f64, allowed: f64) {
        let (account, region, action) = (self.account.map(display), self.region.as_str(), action.name());
        let (needs, allowed) = (format!("{needs:.2}"), format!("{allowed:.2}"));
        match line {
            ShortageChange::Short => tracing::warn!(
                account,
                region,
                action,
                needs_per_second = needs,
                allowed_per_second = allowed,
                "the budget is short, so polls are late, those of what does not move most of all: raise \
                 requests_per_second or request_rates within the quota of the account, lengthen the intervals, \
                 or filter objects out"
            ),
            ShortageChange::Enough => tracing::info!(
                account,
                region,
                action,
                needs_per_second = needs,
                allowed_per_second = allowed,
                "the budget is enough again"
            ),
        }
    }

    /// The panic itself has been told with its place; this is what it was about.
    pub(super) fn panicked(self, target: &PollTarget) {
        tracing::warn!(
            account = self.account.map(display),
            region = self.region.as_str(),
            instance_id = target.instance().map(display),
            object = target.object(),
            action = target.action().name(),
            "a panic ended the call for this object; what was known of it is kept, please report this"
        );
    }
}
