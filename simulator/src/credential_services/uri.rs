//! An address of one's own that hands out keys: to whoever asks, at one path.

use std::{collections::BTreeMap, io, time::Duration};

use super::{CallSummary, CredentialRules, CredentialService, RequestContext, ServiceBody};
use crate::{access_keys::KeyRegistry, request::ApiCall, wire::ErrorResponse};

/// An address that hands out keys, as `ALIBABA_CLOUD_CREDENTIALS_URI` names one.
pub type UriService = CredentialService<UriRules>;

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

impl UriService {
    /// Serves on a free port of loopback. KeyRegistry that it hands out are put into `keys`.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start(rules: UriRules, keys: &KeyRegistry) -> io::Result<Self> {
        Self::serve(rules, keys)
    }
}

impl CredentialRules for UriRules {
    fn skew_ms(&self) -> i64 {
        self.clock_skew_ms
    }

    fn asked(call: &ApiCall) -> CallSummary {
        let action = if call.method == "GET" { "GetKey" } else { "" };
        CallSummary { action: action.to_owned(), object: None, details: BTreeMap::new() }
    }

    fn authorize(&self, call: &ApiCall, _: &mut RequestContext<'_>) -> Result<(), ErrorResponse> {
        if call.method == "GET" && call.target == self.target {
            return Ok(());
        }
        Err(ErrorResponse::new(404, "404", "Not found."))
    }

    fn answer(&self, _: &ApiCall, desk: &mut RequestContext<'_>) -> Result<ServiceBody, ErrorResponse> {
        let key = desk.issue("uri", self.lifetime);
        Ok(ServiceBody::Json(desk.spell_alone(&key)))
    }
}
