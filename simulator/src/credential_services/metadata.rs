//! The metadata service of an ECS instance: issues keys of the attached role, with or without metadata tokens.

use std::{collections::BTreeMap, time::Duration};

use super::service::{CredentialRules, CredentialService, RequestContext, ServiceBody};
use crate::{
    access_keys::IssuedKey, call_log::CallLogEntry, clock::millis, request::ApiCall, wire::ErrorResponse,
};

const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/ram/security-credentials/";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
const TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";

/// The metadata service of an ECS instance.
pub type MetadataService = CredentialService<MetadataRules>;

/// Rules of the metadata service.
#[derive(Debug, Clone)]
pub struct MetadataRules {
    /// Attached role; `None` if there is none.
    pub role: Option<String>,
    /// Whether calls need a metadata token.
    pub tokens: TokenMode,
    /// Lifetime of keys.
    pub lifetime: Duration,
    /// Remaining lifetime of the last key below which a new one is issued; `None` issues a new key each time.
    pub renew_before: Option<Duration>,
    /// Offset of the service's clock, in milliseconds.
    pub clock_skew_ms: i64,
}

impl Default for MetadataRules {
    fn default() -> Self {
        Self {
            role: Some("machine".to_owned()),
            tokens: TokenMode::Optional,
            lifetime: Duration::from_secs(6 * 3600),
            renew_before: None,
            clock_skew_ms: 0,
        }
    }
}

/// Whether calls need a metadata token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenMode {
    /// Calls without a token are rejected.
    Required,
    /// Calls without a token are accepted.
    Optional,
    /// The service issues no tokens and ignores the header.
    Unsupported,
}

impl CredentialRules for MetadataRules {
    fn clock_skew_ms(&self) -> i64 {
        self.clock_skew_ms
    }

    fn log_entry(call: &ApiCall) -> CallLogEntry {
        let object = call.path.strip_prefix(ROLE_PATH).filter(|r| !r.is_empty()).map(str::to_owned);
        let has_token = call.header(TOKEN_HEADER).is_some();
        let details = BTreeMap::from([("token".to_owned(), has_token.to_string())]);
        CallLogEntry { object, details, ..CallLogEntry::new(call, action(call), "") }
    }

    fn authorize(&self, call: &ApiCall, context: &mut RequestContext<'_>) -> Result<(), ErrorResponse> {
        let reject =
            |status: u16, message: &str| Err(ErrorResponse::new(status, status.to_string(), message));
        if call.header("x-forwarded-for").is_some() {
            return reject(403, "The call came through a proxy.");
        }
        match action(call) {
            "PutToken" if self.tokens == TokenMode::Unsupported => return reject(404, "Not found."),
            "PutToken" if token_ttl(call).is_none() => return reject(400, "The token's TTL is invalid."),
            "PutToken" => return Ok(()),
            "ListRole" | "GetKey" => {}
            _ => return reject(404, "Not found."),
        }
        match (self.tokens, call.header(TOKEN_HEADER)) {
            (TokenMode::Required, None) => return reject(403, "The token is missing."),
            (TokenMode::Required | TokenMode::Optional, Some(token))
                if context.memory.tokens.get(token).is_none_or(|end| *end <= context.now_ms) =>
            {
                return reject(401, "The token is unknown or expired.");
            }
            _ => {}
        }
        let requested = call.path.strip_prefix(ROLE_PATH).unwrap_or_default();
        if self.role.as_deref().is_some_and(|role| requested.is_empty() || requested == role) {
            return Ok(());
        }
        reject(404, "Not found.")
    }

    fn respond(
        &self,
        call: &ApiCall,
        context: &mut RequestContext<'_>,
    ) -> Result<ServiceBody, ErrorResponse> {
        let role = self.role.clone().unwrap_or_default();
        match action(call) {
            "PutToken" => {
                // Long and opaque, like a real token.
                let token = format!("MT{}", context.request_id.replace('-', "").repeat(2));
                let expires_ms = context.now_ms + 1000 * token_ttl(call).unwrap_or_default();
                context.memory.tokens.insert(token.clone(), expires_ms);
                Ok(ServiceBody::Text(token))
            }
            "ListRole" => Ok(ServiceBody::Text(role)),
            _ => {
                let now_ms = context.now_ms - context.clock_skew_ms;
                let is_fresh = |key: &IssuedKey| {
                    self.renew_before.is_some_and(|before| key.expires_ms - now_ms >= millis(before))
                };
                let current = context.memory.key.take().filter(is_fresh);
                let key = current.unwrap_or_else(|| context.issue(&role, self.lifetime));
                let body = context.key_document(&key);
                context.memory.key = Some(key);
                Ok(ServiceBody::Json(body))
            }
        }
    }
}

fn action(call: &ApiCall) -> &'static str {
    match (call.method.as_str(), call.path.strip_prefix(ROLE_PATH)) {
        ("PUT", _) if call.path == TOKEN_PATH => "PutToken",
        ("GET", Some("")) => "ListRole",
        ("GET", Some(_)) => "GetKey",
        _ => "",
    }
}

/// Returns the requested lifetime of a token, in seconds.
fn token_ttl(call: &ApiCall) -> Option<i64> {
    call.header(TTL_HEADER)?.parse().ok().filter(|ttl| (1..=21_600).contains(ttl))
}
