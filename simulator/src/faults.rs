//! Fault injection: which calls fail, and how.
//!
//! Owns: [`Fault`], [`Effect`] and the selection of calls. Faults apply after signature, quota and RAM checks, so
//! they count only calls that would otherwise succeed. `mutate` applies effects to bodies, `response`, `body` and
//! `server` apply the others.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::call_log::CallLogEntry;

/// A fault: the calls that it applies to, and its effect. A filter of `None` matches every call.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Filter by action.
    pub action: Option<String>,
    /// Filter by region: `RegionId` of the call, or else the region of the instance.
    pub region: Option<String>,
    /// Filter by `InstanceId`.
    pub instance: Option<String>,
    /// Filter by topic or group.
    pub object: Option<String>,
    /// Selection among the matching calls.
    pub occurrence: Occurrence,
    /// Maximum number of applications; `None` for no limit.
    pub times: Option<u64>,
    /// Effect on the call.
    pub effect: Effect,
}

impl Fault {
    /// Returns a fault that applies to every call.
    #[must_use]
    pub fn new(effect: Effect) -> Self {
        Self {
            action: None,
            region: None,
            instance: None,
            object: None,
            occurrence: Occurrence::All,
            times: None,
            effect,
        }
    }

    /// Limits the fault to one action.
    #[must_use]
    pub fn action(self, action: &str) -> Self {
        Self { action: Some(action.to_owned()), ..self }
    }

    /// Limits the fault to one region.
    #[must_use]
    pub fn region(self, region: &str) -> Self {
        Self { region: Some(region.to_owned()), ..self }
    }

    /// Limits the fault to one instance.
    #[must_use]
    pub fn instance(self, instance_id: &str) -> Self {
        Self { instance: Some(instance_id.to_owned()), ..self }
    }

    /// Limits the fault to one topic or group.
    #[must_use]
    pub fn object(self, object: &str) -> Self {
        Self { object: Some(object.to_owned()), ..self }
    }

    /// Limits the fault to some of the matching calls.
    #[must_use]
    pub fn occurrence(self, occurrence: Occurrence) -> Self {
        Self { occurrence, ..self }
    }

    /// Limits the number of applications.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }
}

/// Selection among the matching calls, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Occurrence {
    /// Every call.
    All,
    /// One call.
    Nth(u64),
    /// Calls from the first to the second number, inclusive.
    Range(u64, u64),
    /// Calls whose number is a multiple.
    Every(u64),
    /// Each call with this probability (0 to 1) and seed.
    Probability(f64, u64),
}

/// Effect of a fault on a call.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "fields have the names of the HTTP status, headers and body fields that they set"
)]
pub enum Effect {
    /// An error response.
    Error { status: u16, code: String, message: String },
    /// An error whose message contains the complete request, in every encoding that a log may show: as
    /// received, percent-encoded, in base64 and in hex.
    Echo { status: u16, code: String },
    /// An error response with a wait time for retries.
    Throttle {
        /// HTTP status: 400, 429 or 503.
        status: u16,
        code: String,
        /// `x-acs-retry-after`, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// An error response with the keys `code`, `message`, `requestId`.
    LowerCaseError { status: u16, code: String, message: String },
    /// HTTP 200 with `Success` false.
    SuccessFalse { code: String, message: String },
    /// An HTML page.
    Html { status: u16 },
    /// An error response in XML.
    XmlError { status: u16, code: String },
    /// Arbitrary bytes.
    Raw { status: u16, content_type: String, body: Vec<u8> },
    /// An HTTP redirect.
    Redirect { status: u16, location: String },
    /// Empties the list.
    EmptyList,
    /// Replaces the list by `null`.
    NullList,
    /// Replaces the list by its first item.
    SingleObject,
    /// Removes the wrapper of the list; puts the map of `GetAllInstanceIdList` into a list.
    FlatList,
    /// Gives wrong types to the values of the first item.
    WrongType(WrongType),
    /// Gives wrong types to the values of all items.
    WrongTypes(WrongType),
    /// Adds the first item a second time.
    DuplicateItem,
    /// Replaces the instance, region and topic of items by foreign ones.
    ForeignItems,
    /// Truncates the JSON after this many bytes, in a complete HTTP response.
    Truncate(usize),
    /// Adds unknown fields at every level.
    UnknownFields,
    /// Removes every field with this name.
    OmitField(String),
    /// Sets the expiry of the issued key to this many milliseconds from now; may be negative.
    ExpiresIn(i64),
    /// Sets `Total`.
    WrongTotal(i64),
    /// Returns the first page whatever the page number, with a huge `Total`.
    EndlessPages,
    /// Starts each page with the last row of the previous page.
    RepeatedRows,
    /// Sets the first committed offset this far beyond the end offset.
    ConsumerAhead(i64),
    /// Delays the response.
    Latency(Duration),
    /// Sets or removes the header `Date`.
    Date(Option<String>),
    /// Closes the connection without a response.
    Close,
    /// Resets the connection without a response.
    Reset,
    /// Never responds.
    Hang,
    /// Declares the full length, then closes the connection after this many bytes.
    CutBody(usize),
    /// Declares the full length, then resets the connection after this many bytes.
    ResetBody(usize),
    /// Declares the full length, then sends nothing after this many bytes.
    HangBody(usize),
    /// Sends one byte per interval.
    Drip(Duration),
    /// Sends spaces before the body.
    Oversized {
        /// Number of spaces.
        bytes: u64,
        /// Whether `Content-Length` declares the length; if not, the body is chunked.
        declared: bool,
    },
}

/// Wrong type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongType {
    /// Numbers are strings.
    NumbersAsStrings,
    /// Numbers are floats: `12.0`.
    Floats,
    /// Booleans are `"true"` and `"false"`.
    BoolsAsStrings,
    /// Numbers are `null`.
    Null,
    /// Numbers are `""`.
    Empty,
    /// Numbers exceed an i64.
    TooBig,
    /// Numbers are non-numeric text.
    Text,
}

#[derive(Debug)]
struct ActiveFault {
    fault: Fault,
    matched: u64,
    fired: u64,
    rng: Option<ChaCha8Rng>,
}

/// The active faults of a service.
#[derive(Debug, Default)]
pub struct Faults {
    active: Vec<ActiveFault>,
}

impl Faults {
    /// Adds a fault. If several faults apply to a call, all their effects do, in the order of adding.
    pub fn add(&mut self, fault: Fault) {
        let rng = match fault.occurrence {
            Occurrence::Probability(_, seed) => Some(ChaCha8Rng::seed_from_u64(seed)),
            _ => None,
        };
        self.active.push(ActiveFault { fault, matched: 0, fired: 0, rng });
    }

    /// Removes all faults. Calls that already hang continue to hang.
    pub fn clear(&mut self) {
        self.active.clear();
    }

    /// Returns how often each fault was applied, in the order of adding.
    #[must_use]
    pub fn fired(&self) -> Vec<u64> {
        self.active.iter().map(|a| a.fired).collect()
    }

    /// Returns the effects on a call, and counts it.
    pub(crate) fn apply(&mut self, call: &CallLogEntry) -> Vec<Effect> {
        self.active.iter_mut().filter_map(|a| a.apply(call)).collect()
    }
}

impl ActiveFault {
    fn apply(&mut self, call: &CallLogEntry) -> Option<Effect> {
        let f = &self.fault;
        let matches = [
            (&f.action, Some(&call.action)),
            (&f.region, Some(&call.region)),
            (&f.instance, call.instance.as_ref()),
            (&f.object, call.object.as_ref()),
        ]
        .iter()
        .all(|(filter, value)| filter.is_none() || filter.as_ref() == *value);
        if !matches || f.times.is_some_and(|t| self.fired >= t) {
            return None;
        }
        self.matched += 1;
        let fires = match f.occurrence {
            Occurrence::All => true,
            Occurrence::Nth(n) => self.matched == n,
            Occurrence::Range(from, to) => (from..=to).contains(&self.matched),
            Occurrence::Every(n) => n > 0 && self.matched.is_multiple_of(n),
            Occurrence::Probability(p, _) => {
                self.rng.as_mut().is_some_and(|r| r.random_bool(p.clamp(0.0, 1.0)))
            }
        };
        fires.then(|| {
            self.fired += 1;
            f.effect.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;
    use crate::request::ApiCall;

    fn call() -> CallLogEntry {
        let call = ApiCall::new(&Request::new(()).into_parts().0, Vec::new());
        let (instance, object) = (Some("i".to_owned()), Some("t".to_owned()));
        CallLogEntry { instance, object, ..CallLogEntry::new(&call, "GetTopicStatus", "cn-hangzhou") }
    }

    fn pattern(fault: Fault, calls: usize) -> String {
        let mut faults = Faults::default();
        faults.add(fault);
        (0..calls).map(|_| if faults.apply(&call()).is_empty() { '.' } else { 'x' }).collect()
    }

    #[test]
    fn occurrence_and_times_select_calls() {
        let f = || Fault::new(Effect::Close);
        assert_eq!(pattern(f(), 4), "xxxx");
        assert_eq!(pattern(f().times(2), 4), "xx..");
        assert_eq!(pattern(f().occurrence(Occurrence::Nth(3)), 5), "..x..");
        assert_eq!(pattern(f().occurrence(Occurrence::Range(2, 3)), 5), ".xx..");
        assert_eq!(pattern(f().occurrence(Occurrence::Every(2)).times(2), 8), ".x.x....");
        let half = pattern(f().occurrence(Occurrence::Probability(0.5, 7)), 64);
        assert!((16..48).contains(&half.matches('x').count()), "{half}");
        assert_eq!(half, pattern(f().occurrence(Occurrence::Probability(0.5, 7)), 64), "seeded");
    }

    #[test]
    fn filters_select_calls() {
        let f = || Fault::new(Effect::Close);
        assert_eq!(
            pattern(f().action("GetTopicStatus").region("cn-hangzhou").instance("i").object("t"), 1),
            "x"
        );
        for other in [f().action("GetTopicList"), f().region("eu"), f().instance("j"), f().object("u")] {
            assert_eq!(pattern(other, 1), ".");
        }
    }
}
