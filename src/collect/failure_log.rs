//! Which log line a failure is worth: one when it begins, a summary now and then, one when it is over.
//! Pure.
//!
//! A failure has a key: its kind and where it is. What breaks a whole region (no route, a refused key) is
//! one failure of the region, not one of each instance. What fails here and there in the same way is told
//! of the first few places, and then of the region. A key is over when every target that failed under it has
//! succeeded or is asked for no more. It is remembered for a while then: one that begins again once more is
//! told of once more, as the last word must not be that all is well. From then on it flaps, and is told of in
//! summaries only.

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

/// The first summary of a failure is due after this. Also how long what was told is remembered.
const SUMMARY_EVERY: Duration = Duration::from_secs(600);
/// Each summary of a failure that goes on is due after twice the time of the one before, up to this: a
/// failure of a day is a dozen lines.
const SUMMARY_AT_MOST: Duration = Duration::from_secs(3 * 3600);
/// So many places that fail in the same way are told of one by one.
const PLACES_TOLD: usize = 3;

/// How often a failure that begins again while it is remembered is told of at once.
const RELAPSES_TOLD: u32 = 1;

/// What a failure is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureKey {
    /// The kind.
    pub kind: ErrorKind,
    /// The action, for kinds that differ between actions.
    pub action: Option<Action>,
    /// The instance, for kinds that differ between instances.
    pub instance: Option<InstanceId>,
}

impl FailureKey {
    /// The key of a kind of failure of a target.
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
            // A key that is refused for one object only: the list of instances has no instance.
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

    /// The key that stands for this one and its like elsewhere in the region. An outage does not heed
    /// actions.
    fn everywhere(&self) -> Self {
        let action = match self.kind {
            ErrorKind::Timeout | ErrorKind::Server => None,
            _ => self.action,
        };
        Self { kind: self.kind, action, instance: None }
    }
}

/// A line that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureLine {
    /// The first failure under a key.
    Began(FailureKey, Box<ApiError>),
    /// More places fail as those that were told of; from here on the region is told of.
    Spread(FailureKey, Box<ApiError>),
    /// It goes on, or comes and goes.
    GoesOn(FailureKey, FailureTally),
    /// It is over, as its last target succeeded.
    Over(FailureKey, FailureTally),
    /// It is over without a success: its last target fails in another way now, or is asked for no more.
    Ceased(FailureKey, FailureTally),
}

/// How much has failed under a key since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureTally {
    /// Calls that failed.
    pub calls: u64,
    /// Units that fail now.
    pub targets: usize,
    /// How often it began.
    pub outbreaks: u64,
    /// Since it began for the first time.
    pub lasted: Duration,
}

/// The failures of one loop's targets that are not over, and those that were a while ago.
#[derive(Debug)]
pub struct FailureLog<U> {
    entries: BTreeMap<FailureKey, FailureRecord<U>>,
    by_unit: BTreeMap<U, FailureKey>,
}

#[derive(Debug)]
struct FailureRecord<U> {
    /// When it began, for the first time since an end was told.
    since: Instant,
    /// When it began for the last time.
    broke_out: Instant,
    /// When a line was last written.
    told: Instant,
    /// From then to the next summary, while it goes on.
    pause: Duration,
    calls: u64,
    outbreaks: u64,
    /// How often it was told that it began again.
    relapses: u32,
    /// It began again more often than is told, so its end is no news before the next summary.
    flaps: bool,
    /// Those that fail now; none if it is over.
    targets: BTreeSet<U>,
    end: FailureEnd,
}

/// How a key that is over came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureEnd {
    Told,
    Untold { by_success: bool },
}

impl<U> Default for FailureLog<U> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), by_unit: BTreeMap::new() }
    }
}

impl<U: Ord + Clone> FailureLog<U> {
    /// A target's attempt failed.
    pub fn failed(&mut self, target: &U, key: FailureKey, error: ApiError, now: Instant) -> Vec<FailureLine> {
        let key = self.place(key);
        let mut lines = Vec::new();
        if self.by_unit.get(target).is_some_and(|before| *before != key) {
            lines.extend(self.ceased(target, now));
        }
        self.by_unit.insert(target.clone(), key.clone());
        let spreads = key.instance.is_none() && self.places(&key) >= PLACES_TOLD;
        let is_known = self.entries.contains_key(&key);
        let entry = self.entries.entry(key.clone()).or_insert_with(|| FailureRecord::new(now));
        if entry.failed(target, now) || !is_known {
            let tell = if spreads && !is_known { FailureLine::Spread } else { FailureLine::Began };
            lines.push(tell(key, Box::new(error)));
        }
        lines
    }

    /// A target's attempt succeeded.
    pub fn ended(&mut self, target: &U, now: Instant) -> Option<FailureLine> {
        self.close(target, true, now)
    }

    /// A target fails under this key no more, though it did not succeed.
    pub fn ceased(&mut self, target: &U, now: Instant) -> Option<FailureLine> {
        self.close(target, false, now)
    }

    /// The lines that are due. What is over, told and long ago is forgotten.
    pub fn summaries(&mut self, now: Instant) -> Vec<FailureLine> {
        let mut lines = Vec::new();
        let due: Vec<FailureKey> =
            self.entries.iter().filter(|(_, e)| e.is_due(now)).map(|(k, _)| k.clone()).collect();
        for key in due {
            let everywhere = key.everywhere();
            let told_with_the_region =
                key != everywhere && self.entries.get(&everywhere).is_some_and(FailureRecord::is_open);
            let tally = self.tally(&key, now);
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            match entry.end {
                _ if entry.is_open() => {
                    entry.told = now;
                    entry.pause = (entry.pause * 2).min(SUMMARY_AT_MOST);
                    lines.extend((!told_with_the_region).then_some(FailureLine::GoesOn(key, tally)));
                }
                FailureEnd::Untold { by_success } => {
                    let end = entry.tell_end(key, tally, by_success, now);
                    lines.extend((!told_with_the_region).then_some(end));
                }
                FailureEnd::Told => _ = self.entries.remove(&key),
            }
        }
        lines
    }

    /// Whether no more keys than this are remembered.
    #[cfg(test)]
    pub(super) fn is_bounded_by(&self, keys: usize) -> bool {
        self.entries.len() <= keys
    }

    /// Where a failure is told of: under its own key, or, once there are many like it, under the region's.
    fn place(&self, key: FailureKey) -> FailureKey {
        let everywhere = key.everywhere();
        let has_own = key == everywhere || self.entries.contains_key(&key);
        if has_own || !self.entries.contains_key(&everywhere) && self.places(&everywhere) < PLACES_TOLD {
            key
        } else {
            everywhere
        }
    }

    /// How many places have a key of their own beside the one that stands for all.
    fn places(&self, everywhere: &FailureKey) -> usize {
        self.entries.keys().filter(|key| *key != everywhere && key.everywhere() == *everywhere).count()
    }

    /// Takes a target out of its key; the line of the key's end if that was the last one.
    fn close(&mut self, target: &U, by_success: bool, now: Instant) -> Option<FailureLine> {
        let key = self.by_unit.remove(target)?;
        let tally = self.tally(&key, now);
        let entry = self.entries.get_mut(&key)?;
        entry.targets.remove(target);
        if entry.is_open() {
            return None;
        }
        let is_news = !entry.flaps || now.duration_since(entry.broke_out) >= SUMMARY_EVERY;
        if is_news {
            return Some(entry.tell_end(key, tally, by_success, now));
        }
        entry.end = FailureEnd::Untold { by_success };
        None
    }

    /// What is told of a key; the one that stands for all counts all.
    fn tally(&self, key: &FailureKey, now: Instant) -> FailureTally {
        let of = |other: &FailureKey| other == key || key.instance.is_none() && other.everywhere() == *key;
        let entries =
            || self.entries.iter().filter(|(other, entry)| *other == key || of(other) && entry.is_open());
        let since = self.entries.get(key).map_or(now, |entry| entry.since);
        FailureTally {
            calls: entries().map(|(_, e)| e.calls).sum(),
            targets: entries().map(|(_, e)| e.targets.len()).sum(),
            outbreaks: self.entries.get(key).map_or(0, |entry| entry.outbreaks),
            lasted: now.duration_since(since),
        }
    }
}

impl<U: Ord + Clone> FailureRecord<U> {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            broke_out: now,
            told: now,
            pause: SUMMARY_EVERY,
            calls: 0,
            outbreaks: 0,
            relapses: 0,
            flaps: false,
            targets: BTreeSet::new(),
            end: FailureEnd::Told,
        }
    }

    fn is_open(&self) -> bool {
        !self.targets.is_empty()
    }

    fn is_due(&self, now: Instant) -> bool {
        let pause = if self.is_open() { self.pause } else { SUMMARY_EVERY };
        now.duration_since(self.told) >= pause
    }

    /// Returns whether it began again and that is to be told, as its end was.
    fn failed(&mut self, target: &U, now: Instant) -> bool {
        let mut relapsed = false;
        if !self.is_open() {
            let again = self.outbreaks > 0;
            relapsed = again && self.end == FailureEnd::Told && self.relapses < RELAPSES_TOLD;
            self.flaps = again && !relapsed;
            if relapsed {
                self.relapses += 1;
                (self.told, self.pause) = (now, SUMMARY_EVERY);
            }
            if self.end == FailureEnd::Told {
                (self.since, self.calls, self.outbreaks) = (now, 0, 0);
            }
            self.outbreaks += 1;
            self.broke_out = now;
        }
        self.calls += 1;
        self.targets.insert(target.clone());
        relapsed
    }

    fn tell_end(
        &mut self,
        key: FailureKey,
        tally: FailureTally,
        by_success: bool,
        now: Instant,
    ) -> FailureLine {
        (self.end, self.told, self.pause) = (FailureEnd::Told, now, SUMMARY_EVERY);
        let tell = if by_success { FailureLine::Over } else { FailureLine::Ceased };
        tell(key, tally)
    }
}

/// What was seen a short while ago, so that it is not told again as long as it goes on.
#[derive(Debug)]
pub struct RecentSet<K>(HashMap<K, Instant>);

impl<K> Default for RecentSet<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> RecentSet<K> {
    /// Notes that something was seen. Returns whether that is news.
    pub fn is_news(&mut self, what: K, now: Instant) -> bool {
        self.0.insert(what, now).is_none_or(|before| now.duration_since(before) >= SUMMARY_EVERY)
    }

    /// Whether something was noted a short while ago.
    pub fn knows(&self, what: &K, now: Instant) -> bool {
        self.0.get(what).is_some_and(|seen| now.duration_since(*seen) < SUMMARY_EVERY)
    }

    /// Forgets what was last seen long ago, and what is said to be gone.
    pub fn forget(&mut self, now: Instant, is_gone: impl Fn(&K) -> bool) {
        self.0.retain(|what, seen| now.duration_since(*seen) < SUMMARY_EVERY && !is_gone(what));
    }
}
