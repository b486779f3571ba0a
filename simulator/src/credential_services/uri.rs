//! A credentials URI: issues keys to every client, at one path.

use std::time::Duration;

use super::service::{CredentialRules, CredentialService, RequestContext, ServiceBody};
use crate::{call_log::CallLogEntry, request::ApiCall, wire::ErrorResponse};

/// A service for `ALIBABA_CLOUD_CREDENTIALS_URI`.
pub type UriService = CredentialService<UriRules>;

/// Rules of a credentials URI.
#[derive(Debug, Clone)]
pub struct UriRules {
    /// Path and query of the keys; everything else is not found.
    pub target: String,
    /// Lifetime of keys.
    pub lifetime: Duration,
    /// Offset of the service's clock, in milliseconds.
    pub clock_skew_ms: i64,
}

impl Default for UriRules {
    fn default() -> Self {
        Self { target: "/key".to_owned(), lifetime: Duration::from_secs(3600), clock_skew_ms: 0 }
    }
}

impl CredentialRules for UriRules {
    fn clock_skew_ms(&self) -> i64 {
        self.clock_skew_ms
    }

    fn log_entry(call: &ApiCall) -> CallLogEntry {
        CallLogEntry::new(call, if call.method == "GET" { "GetKey" } else { "" }, "")
    }

    fn authorize(&self, call: &ApiCall, _: &mut RequestContext<'_>) -> Result<(), ErrorResponse> {
        if call.method == "GET" && call.target == self.target {
            return Ok(());
        }
        Err(ErrorResponse::new(404, "404", "Not found."))
    }

    fn respond(&self, _: &ApiCall, context: &mut RequestContext<'_>) -> Result<ServiceBody, ErrorResponse> {
        let key = context.issue("uri", self.lifetime);
        Ok(ServiceBody::Json(context.key_document(&key)))
    }
}
