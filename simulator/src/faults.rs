//! Faults by script: which calls go wrong, and how.
//!
//! Owns: [`Fault`], [`Effect`] and the matching. What an effect does to a body is in `bend`, what it does to
//! a connection in `body` and `server`. Faults are looked at after signature, quota and RAM have passed, so
//! counts are of calls that the service would have answered.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::request::ApiCall;

/// A fault: which calls it meets, and what it does to them. `None` meets all.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The action.
    pub action: Option<String>,
    /// The region, as in the call's `RegionId` or, without it, the instance's own.
    pub region: Option<String>,
    /// `InstanceId`.
    pub instance: Option<String>,
    /// The topic or group.
    pub object: Option<String>,
    /// Which of the calls that match.
    pub occurrence: Occurrence,
    /// How often it happens before it is over; `None` for ever.
    pub times: Option<u64>,
    /// What happens.
    pub effect: Effect,
}

impl Fault {
    /// A fault that meets every call.
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

    /// The same, of one action.
    #[must_use]
    pub fn action(mut self, action: &str) -> Self {
        self.action = Some(action.to_owned());
        self
    }

    /// The same, in one region.
    #[must_use]
    pub fn region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// The same, of one instance.
    #[must_use]
    pub fn instance(mut self, instance_id: &str) -> Self {
        self.instance = Some(instance_id.to_owned());
        self
    }

    /// The same, of one topic or group.
    #[must_use]
    pub fn object(mut self, object: &str) -> Self {
        self.object = Some(object.to_owned());
        self
    }

    /// The same, for some of the calls that match.
    #[must_use]
    pub fn occurrence(mut self, occurrence: Occurrence) -> Self {
        self.occurrence = occurrence;
        self
    }

    /// The same, so many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}

/// Which of the calls that match, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Occurrence {
    /// Every one.
    All,
    /// One.
    Nth(u64),
    /// From the first to the second, both included.
    Range(u64, u64),
    /// Each that is a multiple.
    Every(u64),
    /// Each with this probability, seeded.
    Probability(f64, u64),
}

/// What happens to a call.
#[derive(Debug, Clone)]
pub enum Effect {
    /// An error in the usual envelope, or `HTTP 200` with it.
    Error {
        /// HTTP status.
        status: u16,
        /// `Code`.
        code: String,
        /// `Message`.
        message: String,
    },
    /// An error whose message is all that was sent, in every form in which a log could show it: as it came,
    /// percent-encoded, in base64 and in hex.
    Echo {
        /// HTTP status.
        status: u16,
        /// `Code`.
        code: String,
    },
    /// The same as [`Effect::Error`], with a wait that the server asks for.
    Throttle {
        /// HTTP status: 400, 429 or 503.
        status: u16,
        /// `Code`.
        code: String,
        /// `x-acs-retry-after`, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// An error with the keys `code`, `message`, `requestId`.
    LowerCaseError {
        /// HTTP status.
        status: u16,
        /// `code`.
        code: String,
        /// `message`.
        message: String,
    },
    /// HTTP 200 with `Success` false.
    SuccessFalse {
        /// `Code`.
        code: String,
        /// `Message`.
        message: String,
    },
    /// An HTML page.
    Html {
        /// HTTP status.
        status: u16,
    },
    /// An error in XML.
    XmlError {
        /// HTTP status.
        status: u16,
        /// `Code`.
        code: String,
    },
    /// Any bytes.
    Raw {
        /// HTTP status.
        status: u16,
        /// `Content-Type`.
        content_type: String,
        /// The body.
        body: Vec<u8>,
    },
    /// HTTP redirect.
    Redirect {
        /// HTTP status.
        status: u16,
        /// `Location`.
        location: String,
    },
    /// The list is empty.
    EmptyList,
    /// The list is `null`.
    NullList,
    /// The list is its first item, bare.
    SingleObject,
    /// The list is not wrapped; the map of `GetAllInstanceIdList` is in a list.
    FlatList,
    /// The first item that has values of the type gets wrong ones.
    WrongType(WrongType),
    /// All items get wrong ones.
    WrongTypes(WrongType),
    /// The first item comes twice.
    DuplicateItem,
    /// Items name another instance and region than was asked.
    ForeignItems,
    /// The JSON ends after so many bytes; the HTTP answer is whole.
    Truncate(usize),
    /// Unknown fields at every level.
    UnknownFields,
    /// FaultFields of this name are left out, wherever they are.
    OmitField(String),
    /// The key that is handed out ends so many milliseconds from now, or has ended if it is below 0.
    ExpiresIn(i64),
    /// `Total` says this.
    WrongTotal(i64),
    /// Page 1 comes whatever page is asked, and `Total` is far away.
    EndlessPages,
    /// Each page begins with the last row of the page before.
    RepeatedRows,
    /// The first committed offset is so far beyond the end.
    ConsumerAhead(i64),
    /// More time passes before the answer.
    Latency(Duration),
    /// The header `Date` is this, or absent.
    Date(Option<String>),
    /// The connection is closed without an answer.
    Close,
    /// The connection is reset without an answer.
    Reset,
    /// Nothing comes.
    Hang,
    /// The whole length is declared; after so many bytes the connection is closed.
    CutBody(usize),
    /// The same, reset.
    ResetBody(usize),
    /// The same, and nothing more comes.
    HangBody(usize),
    /// The body comes a byte at a time, at this interval.
    Drip(Duration),
    /// A body of so many bytes of blanks before the answer.
    Oversized {
        /// Bytes.
        bytes: u64,
        /// Whether `Content-Length` tells it; if not, it is chunked.
        declared: bool,
    },
}

/// A wrong type, and what gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongType {
    /// Numbers are strings.
    NumbersAsStrings,
    /// Numbers have a fraction of zero: `12.0`.
    Floats,
    /// Bools are `"true"` and `"false"`.
    BoolsAsStrings,
    /// Numbers are `null`.
    Null,
    /// Numbers are `""`.
    Empty,
    /// Numbers are beyond an i64.
    TooBig,
    /// Numbers are text that is none.
    Text,
}

/// What a call is matched by.
pub(crate) struct CallTarget<'c> {
    /// For services that hand out keys: what they are asked for, see [`crate::CredentialService`].
    pub(crate) action: &'c str,
    pub(crate) region: &'c str,
    pub(crate) instance: Option<&'c str>,
    pub(crate) object: Option<&'c str>,
}

impl<'c> CallTarget<'c> {
    pub(crate) fn new(call: &'c ApiCall, region: &'c str) -> Self {
        Self { action: call.action(), region, instance: call.param("InstanceId"), object: call.object() }
    }
}

#[derive(Debug)]
struct ArmedFault {
    fault: Fault,
    met: u64,
    fired: u64,
    rng: Option<ChaCha8Rng>,
}

/// The faults of a simulator. Got from `Simulator::faults`.
#[derive(Debug, Default)]
pub struct Faults {
    armed: Vec<ArmedFault>,
}

impl Faults {
    /// Adds a fault. Effects of all faults that meet a call happen to it, in the order of adding.
    pub fn add(&mut self, fault: Fault) {
        let rng = match fault.occurrence {
            Occurrence::Probability(_, seed) => Some(ChaCha8Rng::seed_from_u64(seed)),
            _ => None,
        };
        self.armed.push(ArmedFault { fault, met: 0, fired: 0, rng });
    }

    /// Takes all faults away. Calls that hang already go on hanging.
    pub fn clear(&mut self) {
        self.armed.clear();
    }

    /// How often each fault has happened, in the order of adding.
    #[must_use]
    pub fn fired(&self) -> Vec<u64> {
        self.armed.iter().map(|a| a.fired).collect()
    }

    /// What happens to a call.
    pub(crate) fn meet(&mut self, matter: &CallTarget<'_>) -> Vec<Effect> {
        self.armed.iter_mut().filter_map(|a| a.meet(matter)).collect()
    }
}

impl ArmedFault {
    fn meet(&mut self, m: &CallTarget<'_>) -> Option<Effect> {
        let f = &self.fault;
        let is = |want: &Option<String>, has: Option<&str>| want.as_deref().is_none_or(|w| has == Some(w));
        let matches = is(&f.action, Some(m.action))
            && is(&f.region, Some(m.region))
            && is(&f.instance, m.instance)
            && is(&f.object, m.object);
        if !matches || f.times.is_some_and(|t| self.fired >= t) {
            return None;
        }
        self.met += 1;
        let fires = match f.occurrence {
            Occurrence::All => true,
            Occurrence::Nth(n) => self.met == n,
            Occurrence::Range(from, to) => (from..=to).contains(&self.met),
            Occurrence::Every(n) => n > 0 && self.met.is_multiple_of(n),
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
    use super::*;

    const CALL: CallTarget<'static> = CallTarget {
        action: "GetTopicStatus",
        region: "cn-hangzhou",
        instance: Some("i"),
        object: Some("t"),
    };

    fn pattern(fault: Fault, calls: usize) -> String {
        let mut faults = Faults::default();
        faults.add(fault);
        (0..calls).map(|_| if faults.meet(&CALL).is_empty() { '.' } else { 'x' }).collect()
    }

    #[test]
    fn a_fault_meets_the_calls_that_its_script_says() {
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
    fn a_fault_meets_only_its_own_objects() {
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
