//! An address of one's own that hands out keys: to whoever asks, at one path.

use std::{collections::BTreeMap, io, time::Duration};

use super::{Asked, Desk, Given, HandOut, StandIn};
use crate::{keys::Keys, request::Call, wire::Refusal};

/// An address that hands out keys, as `ALIBABA_CLOUD_CREDENTIALS_URI` names one.
pub type UriSource = StandIn<UriRules>;

/// What is where.
#[derive(Debug, Clone)]
pub struct UriRules {
    /// Path and query; nothing is anywhere else.
    pub target: String,
    /// How long keys live.
    pub lifetime: Duration,
    /// Milliseconds by which the service's clock is off.
    pub clock_skew_ms: i64,
}

impl Default for UriRules {
    fn default() -> Self {
        Self { target: "/key".to_owned(), lifetime: Duration::from_secs(3600), clock_skew_ms: 0 }
    }
}

impl UriSource {
    /// Serves on a free port of loopback. Keys that it hands out are put into `keys`.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start(rules: UriRules, keys: &Keys) -> io::Result<Self> {
        Self::serve(rules, keys)
    }
}

impl HandOut for UriRules {
    fn skew_ms(&self) -> i64 {
        self.clock_skew_ms
    }

    fn asked(call: &Call) -> Asked {
        let action = if call.method == "GET" { "GetKey" } else { "" };
        Asked { action: action.to_owned(), object: None, details: BTreeMap::new() }
    }

    fn let_in(&self, call: &Call, _: &mut Desk<'_>) -> Result<(), Refusal> {
        if call.method == "GET" && call.target == self.target {
            return Ok(());
        }
        Err(Refusal::new(404, "404", "Not found."))
    }

    fn answer(&self, _: &Call, desk: &mut Desk<'_>) -> Result<Given, Refusal> {
        let key = desk.issue("uri", self.lifetime);
        Ok(Given::Json(desk.spell_alone(&key)))
    }
}
