//! Decides which lines to log about failures: one when a failure begins, summaries while it lasts, one when it ends.
//! Pure.
//!
//! A failure is identified by its kind and where it occurs. A cause that affects all calls of a region (no route,
//! rejected credentials) is one failure of the region. A failure that occurs in the same way in many places is logged for
//! the first few of them, then for the region. A failure ends when every target that failed has succeeded or is
//! no longer polled.
//!
//! An ended failure is remembered for ten minutes. If it begins again in that time, that is logged once, so that the
//! last line does not claim a recovery. From then on it counts as flapping, and only summaries are logged.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

use tokio::time::{Duration, Instant};

use super::PollTarget;
use crate::{
    api::{Action, ApiError, ErrorKind},
    model::InstanceId,
};

/// Time until the first summary of a failure, and for which an ended failure is remembered.
const FIRST_SUMMARY_AFTER: Duration = Duration::from_secs(600);
/// Longest time between two summaries. The time doubles up to this value, so that a failure of a day takes a dozen
/// lines.
const MAX_SUMMARY_INTERVAL: Duration = Duration::from_secs(3 * 3600);
/// Number of places with the same failure that are logged individually.
const MAX_PLACES: usize = 3;
/// Number of times that a remembered failure is logged when it begins again.
const MAX_RELAPSES: u32 = 1;

/// Identity of a failure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureKey {
    /// Kind of the error.
    pub kind: ErrorKind,
    /// Action, for kinds that may concern one action only.
    pub action: Option<Action>,
    /// Instance, for kinds that may concern one instance only.
    pub instance: Option<InstanceId>,
}

impl FailureKey {
    /// Returns the identity of a failure of a target.
    #[must_use]
    pub fn of(target: &PollTarget, kind: ErrorKind) -> Self {
        let (by_action, by_instance) = match kind {
            ErrorKind::Connect
            | ErrorKind::Dns
            | ErrorKind::Tls
            | ErrorKind::Clock
            | ErrorKind::Redirect
            | ErrorKind::Throttled => (false, false),
            ErrorKind::Auth { key: false } => (true, false),
            // Rejected credentials fail the instance list, which has no instance. Otherwise one object is concerned.
            ErrorKind::Auth { key: true } => (false, true),
            ErrorKind::Timeout | ErrorKind::Server | ErrorKind::Gone { .. } => (true, true),
            ErrorKind::Business | ErrorKind::Decode | ErrorKind::TooLarge => (true, true),
        };
        Self {
            kind,
            action: by_action.then(|| target.action()),
            instance: target.instance().filter(|_| by_instance).cloned(),
        }
    }

    /// Returns the key of the same failure anywhere in the region. An outage concerns all actions.
    fn region_wide(&self) -> Self {
        let action = match self.kind {
            ErrorKind::Timeout | ErrorKind::Server => None,
            _ => self.action,
        };
        Self { kind: self.kind, action, instance: None }
    }
}

/// A log line to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureLine {
    /// A failure began.
    Began(FailureKey, Box<ApiError>),
    /// The same failure occurs in more places than are logged individually. Later lines concern the region.
    Spread(FailureKey, Box<ApiError>),
    /// The failure continues, or comes and goes.
    Ongoing(FailureKey, FailureStats),
    /// The failure ended because its last target succeeded.
    Recovered(FailureKey, FailureStats),
    /// The failure ended because its last target fails in another way, or is no longer polled.
    EndedWithoutSuccess(FailureKey, FailureStats),
}

/// Extent of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureStats {
    /// Number of failed calls.
    pub calls: u64,
    /// Number of targets that fail now.
    pub targets: usize,
    /// Number of times that it began.
    pub outbreaks: u64,
    /// Time since it began first.
    pub duration: Duration,
}

/// Failures of targets of type `T`, ongoing and remembered.
#[derive(Debug)]
pub struct FailureLog<T> {
    records: BTreeMap<FailureKey, FailureRecord<T>>,
    /// The failure of each failing target.
    by_target: BTreeMap<T, FailureKey>,
}

#[derive(Debug)]
struct FailureRecord<T> {
    /// Start of the first outbreak since its end was last logged.
    first_began: Instant,
    last_began: Instant,
    last_logged: Instant,
    /// Time from `last_logged` to the next summary while it is ongoing.
    summary_interval: Duration,
    calls: u64,
    outbreaks: u64,
    /// Number of times that it was logged to have begun again.
    relapses: u32,
    /// Whether it begins more often than is logged, so that its end is left to the next summary.
    is_flapping: bool,
    /// Targets that fail now; empty if the failure has ended.
    targets: BTreeSet<T>,
    end: FailureEnd,
}

/// End of a failure that is not ongoing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureEnd {
    Logged,
    NotLogged { by_success: bool },
}

impl<T> Default for FailureLog<T> {
    fn default() -> Self {
        Self { records: BTreeMap::new(), by_target: BTreeMap::new() }
    }
}

impl<T: Ord + Clone> FailureLog<T> {
    /// Records a failed attempt at a target. Returns the lines to log.
    pub fn failed(&mut self, target: &T, key: FailureKey, error: ApiError, now: Instant) -> Vec<FailureLine> {
        let key = self.individual_or_region_wide(key);
        let mut lines = Vec::new();
        if self.by_target.get(target).is_some_and(|previous| *previous != key) {
            lines.extend(self.ended_without_success(target, now));
        }
        self.by_target.insert(target.clone(), key.clone());
        let has_spread = key.instance.is_none() && self.places(&key) >= MAX_PLACES;
        let is_known = self.records.contains_key(&key);
        let record = self.records.entry(key.clone()).or_insert_with(|| FailureRecord::new(now));
        if record.failed(target, now) || !is_known {
            let line = if has_spread && !is_known { FailureLine::Spread } else { FailureLine::Began };
            lines.push(line(key, Box::new(error)));
        }
        lines
    }

    /// Records a successful attempt at a target. Returns the line to log if that ends a failure.
    pub fn succeeded(&mut self, target: &T, now: Instant) -> Option<FailureLine> {
        self.end(target, true, now)
    }

    /// Records that a target no longer fails in the known way, without a success. Returns the line to log if
    /// that ends a failure.
    pub fn ended_without_success(&mut self, target: &T, now: Instant) -> Option<FailureLine> {
        self.end(target, false, now)
    }

    /// Returns the summaries that are due, and forgets failures that ended long ago.
    pub fn summaries(&mut self, now: Instant) -> Vec<FailureLine> {
        let mut lines = Vec::new();
        let is_due =
            |(key, record): (&FailureKey, &FailureRecord<T>)| record.is_due(now).then(|| key.clone());
        let due: Vec<FailureKey> = self.records.iter().filter_map(is_due).collect();
        for key in due {
            let region_wide = key.region_wide();
            let in_region_summary =
                key != region_wide && self.records.get(&region_wide).is_some_and(FailureRecord::is_ongoing);
            let stats = self.stats(&key, now);
            let Some(record) = self.records.get_mut(&key) else { continue };
            let line = match record.end {
                _ if record.is_ongoing() => {
                    record.last_logged = now;
                    record.summary_interval = (record.summary_interval * 2).min(MAX_SUMMARY_INTERVAL);
                    FailureLine::Ongoing(key, stats)
                }
                FailureEnd::NotLogged { by_success } => record.log_end(key, stats, by_success, now),
                FailureEnd::Logged => {
                    self.records.remove(&key);
                    continue;
                }
            };
            if !in_region_summary {
                lines.push(line);
            }
        }
        lines
    }

    /// Whether at most this many failures are remembered.
    #[cfg(test)]
    pub(super) fn is_bounded_by(&self, failures: usize) -> bool {
        self.records.len() <= failures
    }

    /// Returns the key to log a failure under: its own, or that of the region once it occurs in many places.
    fn individual_or_region_wide(&self, key: FailureKey) -> FailureKey {
        let region_wide = key.region_wide();
        let is_individual = self.records.contains_key(&key)
            || !self.records.contains_key(&region_wide) && self.places(&region_wide) < MAX_PLACES;
        if is_individual { key } else { region_wide }
    }

    /// Returns the number of individual failures that a region-wide key covers.
    fn places(&self, region_wide: &FailureKey) -> usize {
        let is_place = |key: &&FailureKey| *key != region_wide && key.region_wide() == *region_wide;
        self.records.keys().filter(is_place).count()
    }

    fn end(&mut self, target: &T, by_success: bool, now: Instant) -> Option<FailureLine> {
        let key = self.by_target.remove(target)?;
        let stats = self.stats(&key, now);
        let record = self.records.get_mut(&key)?;
        record.targets.remove(target);
        if record.is_ongoing() {
            return None;
        }
        if record.is_flapping && now.duration_since(record.last_began) < FIRST_SUMMARY_AFTER {
            record.end = FailureEnd::NotLogged { by_success };
            return None;
        }
        Some(record.log_end(key, stats, by_success, now))
    }

    /// Returns the extent of a failure. A region-wide key includes the ongoing failures that it covers.
    fn stats(&self, key: &FailureKey, now: Instant) -> FailureStats {
        let mut stats = FailureStats { calls: 0, targets: 0, outbreaks: 0, duration: Duration::ZERO };
        for (other, record) in &self.records {
            if other == key {
                stats.outbreaks = record.outbreaks;
                stats.duration = now.duration_since(record.first_began);
            } else if key.instance.is_some() || other.region_wide() != *key || !record.is_ongoing() {
                continue;
            }
            stats.calls += record.calls;
            stats.targets += record.targets.len();
        }
        stats
    }
}

impl<T: Ord + Clone> FailureRecord<T> {
    fn new(now: Instant) -> Self {
        Self {
            first_began: now,
            last_began: now,
            last_logged: now,
            summary_interval: FIRST_SUMMARY_AFTER,
            calls: 0,
            outbreaks: 0,
            relapses: 0,
            is_flapping: false,
            targets: BTreeSet::new(),
            end: FailureEnd::Logged,
        }
    }

    fn is_ongoing(&self) -> bool {
        !self.targets.is_empty()
    }

    fn is_due(&self, now: Instant) -> bool {
        let interval = if self.is_ongoing() { self.summary_interval } else { FIRST_SUMMARY_AFTER };
        now.duration_since(self.last_logged) >= interval
    }

    /// Records a failed attempt. Returns whether to log that the failure began again.
    fn failed(&mut self, target: &T, now: Instant) -> bool {
        let mut is_relapse = false;
        if !self.is_ongoing() {
            let is_end_logged = self.end == FailureEnd::Logged;
            let began_before = self.outbreaks > 0;
            is_relapse = began_before && is_end_logged && self.relapses < MAX_RELAPSES;
            self.is_flapping = began_before && !is_relapse;
            if is_relapse {
                self.relapses += 1;
                (self.last_logged, self.summary_interval) = (now, FIRST_SUMMARY_AFTER);
            }
            if is_end_logged {
                (self.first_began, self.calls, self.outbreaks) = (now, 0, 0);
            }
            self.outbreaks += 1;
            self.last_began = now;
        }
        self.calls += 1;
        self.targets.insert(target.clone());
        is_relapse
    }

    fn log_end(
        &mut self,
        key: FailureKey,
        stats: FailureStats,
        by_success: bool,
        now: Instant,
    ) -> FailureLine {
        (self.end, self.last_logged, self.summary_interval) = (FailureEnd::Logged, now, FIRST_SUMMARY_AFTER);
        if by_success {
            FailureLine::Recovered(key, stats)
        } else {
            FailureLine::EndedWithoutSuccess(key, stats)
        }
    }
}

/// Set of recently added keys, which prevents repeated log lines about the same ongoing event.
#[derive(Debug)]
pub struct RecentSet<K>(HashMap<K, Instant>);

impl<K> Default for RecentSet<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> RecentSet<K> {
    /// Adds a key, or refreshes it. Returns whether it was not in the set.
    pub fn insert(&mut self, key: K, now: Instant) -> bool {
        self.0.insert(key, now).is_none_or(|last| !is_recent(last, now))
    }

    /// Whether the key is in the set.
    pub fn contains(&self, key: &K, now: Instant) -> bool {
        self.0.get(key).is_some_and(|last| is_recent(*last, now))
    }

    /// Frees the memory of keys that are no longer recent.
    pub fn expire(&mut self, now: Instant) {
        self.0.retain(|_, last| is_recent(*last, now));
    }

    /// Removes the keys that satisfy a predicate.
    pub fn remove_if(&mut self, predicate: impl Fn(&K) -> bool) {
        self.0.retain(|key, _| !predicate(key));
    }
}

fn is_recent(last: Instant, now: Instant) -> bool {
    now.duration_since(last) < FIRST_SUMMARY_AFTER
}
