//! Log of all calls, so that tests can check the request rate and what URLs contain.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    auth::{self, SignatureKind},
    request::ApiCall,
};

/// One call.
#[derive(Debug, Clone)]
pub struct CallLogEntry {
    /// Sequence number, from 0.
    pub number: u64,
    /// Time of arrival, on the monotonic clock.
    pub at: Instant,
    /// `RegionId`, or else the region of the instance; empty if neither is known.
    pub region: String,
    /// `Action`.
    pub action: String,
    /// `InstanceId`.
    pub instance: Option<String>,
    /// Topic, group or role.
    pub object: Option<String>,
    /// `CurrentPage`.
    pub page_number: Option<String>,
    /// Further parameters of calls of credential services, without secrets. Empty for the management API.
    pub details: BTreeMap<String, String>,
    /// `AccessKeyId`.
    pub key_id: Option<String>,
    /// Signature method.
    pub signature: SignatureKind,
    /// HTTP method.
    pub method: String,
    /// Request target as sent: path and query.
    pub target: String,
    /// `Code` of the response: `200`, an error code, or `fault: ...`. `pending` until the response, and if the client
    /// closed the connection before it.
    pub code: String,
    /// HTTP status of the response; 0 before the response.
    pub status: u16,
}

impl CallLogEntry {
    /// Returns the entry of a call that has just arrived.
    pub(crate) fn new(call: &ApiCall, action: &str, region: &str) -> Self {
        let (signature, key_id) = auth::claimed_key(call);
        Self {
            number: 0,
            at: Instant::now(),
            region: region.to_owned(),
            action: action.to_owned(),
            instance: call.param("InstanceId").map(str::to_owned),
            object: call.object().map(str::to_owned),
            page_number: call.param("CurrentPage").map(str::to_owned),
            details: BTreeMap::new(),
            key_id,
            signature,
            method: call.method.clone(),
            target: call.target.clone(),
            code: "pending".to_owned(),
            status: 0,
        }
    }
}

/// Log of all calls.
#[derive(Debug, Clone, Default)]
pub struct CallLog {
    limit: usize,
    next: u64,
    entries: VecDeque<CallLogEntry>,
    totals: BTreeMap<(String, String), u64>,
    codes: BTreeMap<(String, String), u64>,
}

impl CallLog {
    /// Returns an empty log that keeps the newest `limit` entries.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), ..Self::default() }
    }

    /// Adds a call, and returns its number.
    pub(crate) fn begin(&mut self, entry: CallLogEntry) -> u64 {
        let number = self.next;
        self.next += 1;
        *self.totals.entry((entry.region.clone(), entry.action.clone())).or_default() += 1;
        if self.entries.len() >= self.limit {
            self.entries.pop_front();
        }
        self.entries.push_back(CallLogEntry { number, ..entry });
        number
    }

    /// Records the response to a call.
    pub(crate) fn finish(&mut self, number: u64, action: &str, status: u16, code: &str) {
        *self.codes.entry((action.to_owned(), code.to_owned())).or_default() += 1;
        let first = self.entries.front().map_or(self.next, |e| e.number);
        let index = number.checked_sub(first).and_then(|i| usize::try_from(i).ok());
        if let Some(entry) = index.and_then(|i| self.entries.get_mut(i)) {
            (entry.status, entry.code) = (status, code.to_owned());
        }
    }

    /// Returns the kept entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &CallLogEntry> {
        self.entries.iter()
    }

    /// Returns the total number of calls, including those no longer kept.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.next
    }

    /// Whether no call has been logged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Returns the total number of calls by (region, action).
    #[must_use]
    pub fn totals(&self) -> &BTreeMap<(String, String), u64> {
        &self.totals
    }

    /// Returns the total number of responses by (action, code).
    #[must_use]
    pub fn codes(&self) -> &BTreeMap<(String, String), u64> {
        &self.codes
    }

    /// Returns the maximum number of kept calls in any window of this length, by (region, action).
    #[must_use]
    pub fn max_in_window(&self, window: Duration) -> BTreeMap<(String, String), usize> {
        let mut open: BTreeMap<(&str, &str), VecDeque<Instant>> = BTreeMap::new();
        let mut maxima = BTreeMap::new();
        for e in &self.entries {
            let times = open.entry((&e.region, &e.action)).or_default();
            times.push_back(e.at);
            while times.front().is_some_and(|first| e.at.duration_since(*first) >= window) {
                times.pop_front();
            }
            let max = maxima.entry((e.region.clone(), e.action.clone())).or_insert(0);
            *max = times.len().max(*max);
        }
        maxima
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn entry(at: Instant, region: &str) -> CallLogEntry {
        let call = ApiCall::new(&Request::new(()).into_parts().0, Vec::new());
        CallLogEntry { at, ..CallLogEntry::new(&call, "X", region) }
    }

    #[test]
    fn max_in_window_is_computed_per_region() {
        let (mut log, t) = (CallLog::new(100), Instant::now());
        for ms in [0, 600, 900, 1_599, 1_600, 5_000] {
            log.begin(entry(t + Duration::from_millis(ms), "a"));
        }
        log.begin(entry(t, "b"));
        let maxima = log.max_in_window(Duration::from_secs(1));
        assert_eq!(maxima[&("a".to_owned(), "X".to_owned())], 3);
        assert_eq!(maxima[&("b".to_owned(), "X".to_owned())], 1);
    }

    #[test]
    fn old_entries_are_dropped_but_still_counted() {
        let (mut log, t) = (CallLog::new(2), Instant::now());
        let numbers: Vec<u64> = (0..4).map(|_| log.begin(entry(t, "a"))).collect();
        log.finish(numbers[0], "X", 200, "200");
        log.finish(numbers[3], "X", 400, "Throttling.User");
        assert_eq!((log.len(), log.entries().count()), (4, 2));
        assert_eq!(log.entries().last().map(|e| (e.status, e.code.as_str())), Some((400, "Throttling.User")));
        assert_eq!(log.codes().len(), 2);
    }
}
