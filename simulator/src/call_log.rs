//! Every call that came, so that tests can hold the budget and look for what must not be in a URL.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::auth::SignatureKind;

/// One call that came.
#[derive(Debug, Clone)]
pub struct CallLogEntry {
    /// Its number, from 0.
    pub number: u64,
    /// When it came, on the monotonic clock.
    pub at: Instant,
    /// `RegionId`, or the instance's own region; empty if neither is known.
    pub region: String,
    /// The action.
    pub action: String,
    /// `InstanceId`.
    pub instance: Option<String>,
    /// The topic or group.
    pub object: Option<String>,
    /// `CurrentPage`.
    pub page: Option<String>,
    /// Further parameters that a service of keys was asked with; never a secret. Empty for the management API.
    pub details: BTreeMap<String, String>,
    /// The key that it names.
    pub key_id: Option<String>,
    /// How it is signed.
    pub signature: SignatureKind,
    /// HTTP method.
    pub method: String,
    /// The request target as sent: path and query.
    pub target: String,
    /// `Code` of the answer: `200`, an error's code, or `fault: ...`; `pending` while there is none, which
    /// is also what a caller leaves behind who went away.
    pub code: String,
    /// HTTP status of the answer; 0 while there is none.
    pub status: u16,
}

/// All calls that came.
#[derive(Debug, Clone, Default)]
pub struct CallLog {
    limit: usize,
    next: u64,
    entries: VecDeque<CallLogEntry>,
    totals: BTreeMap<(String, String), u64>,
    codes: BTreeMap<(String, String), u64>,
}

impl CallLog {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), ..Self::default() }
    }

    pub(crate) fn begin(&mut self, mut entry: CallLogEntry) -> u64 {
        entry.number = self.next;
        self.next += 1;
        *self.totals.entry((entry.region.clone(), entry.action.clone())).or_default() += 1;
        if self.entries.len() >= self.limit {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.next - 1
    }

    pub(crate) fn finish(&mut self, number: u64, action: &str, status: u16, code: &str) {
        *self.codes.entry((action.to_owned(), code.to_owned())).or_default() += 1;
        let first = self.entries.front().map_or(self.next, |e| e.number);
        let at = number.checked_sub(first).and_then(|i| usize::try_from(i).ok());
        if let Some(entry) = at.and_then(|i| self.entries.get_mut(i)) {
            (entry.status, entry.code) = (status, code.to_owned());
        }
    }

    /// The calls that are kept in full, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &CallLogEntry> {
        self.entries.iter()
    }

    /// All calls that ever came.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.next
    }

    /// Whether none ever came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Calls by (region, action), of all that ever came.
    #[must_use]
    pub fn totals(&self) -> &BTreeMap<(String, String), u64> {
        &self.totals
    }

    /// Answers by (action, code), of all that ever came.
    #[must_use]
    pub fn codes(&self) -> &BTreeMap<(String, String), u64> {
        &self.codes
    }

    /// The most calls that came in any window of this length, by (region, action), of those kept.
    #[must_use]
    pub fn max_in_window(&self, window: Duration) -> BTreeMap<(String, String), usize> {
        let mut open: BTreeMap<(&str, &str), VecDeque<Instant>> = BTreeMap::new();
        let mut most = BTreeMap::new();
        for e in &self.entries {
            let times = open.entry((&e.region, &e.action)).or_default();
            times.push_back(e.at);
            while times.front().is_some_and(|first| e.at.duration_since(*first) >= window) {
                times.pop_front();
            }
            let most = most.entry((e.region.clone(), e.action.clone())).or_insert(0);
            *most = times.len().max(*most);
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: Instant, region: &str) -> CallLogEntry {
        CallLogEntry {
            number: 0,
            at,
            region: region.to_owned(),
            action: "X".to_owned(),
            instance: None,
            object: None,
            page: None,
            details: BTreeMap::new(),
            key_id: None,
            signature: SignatureKind::None,
            method: "POST".to_owned(),
            target: "/".to_owned(),
            code: "pending".to_owned(),
            status: 0,
        }
    }

    #[test]
    fn the_fullest_window_is_found_for_each_region() {
        let (mut call_log, t) = (CallLog::new(100), Instant::now());
        for ms in [0, 600, 900, 1_599, 1_600, 5_000] {
            call_log.begin(entry(t + Duration::from_millis(ms), "a"));
        }
        call_log.begin(entry(t, "b"));
        let most = call_log.max_in_window(Duration::from_secs(1));
        assert_eq!(most[&("a".to_owned(), "X".to_owned())], 3);
        assert_eq!(most[&("b".to_owned(), "X".to_owned())], 1);
    }

    #[test]
    fn old_calls_go_but_go_on_counting() {
        let (mut call_log, t) = (CallLog::new(2), Instant::now());
        let numbers: Vec<u64> = (0..4).map(|_| call_log.begin(entry(t, "a"))).collect();
        call_log.finish(numbers[0], "X", 200, "200");
        call_log.finish(numbers[3], "X", 400, "Throttling.User");
        assert_eq!((call_log.len(), call_log.entries().count()), (4, 2));
        assert_eq!(
            call_log.entries().last().map(|e| (e.status, e.code.as_str())),
            Some((400, "Throttling.User"))
        );
        assert_eq!(call_log.codes().len(), 2);
    }
}
