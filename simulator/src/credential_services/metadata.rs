//! The metadata of a machine in the cloud: the key of the role that is attached to it.
//!
//! Owns: the mode with a token, that without, and machines that have but one of them.

use std::{collections::BTreeMap, io, time::Duration};

use super::{CallSummary, CredentialRules, CredentialService, RequestContext, ServiceBody};
use crate::{
    access_keys::{IssuedKey, KeyRegistry},
    clock::millis,
    request::ApiCall,
    wire::ErrorResponse,
};

const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/ram/security-credentials/";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
const TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";

/// The metadata service of a machine (ECS).
pub type MetadataService = CredentialService<MetadataRules>;

/// What the machine is.
#[derive(Debug, Clone)]
pub struct MetadataRules {
    /// The role that is attached; `None` if none is.
    pub role: Option<String>,
    /// Whether a token is asked for.
    pub tokens: TokenMode,
    /// How long keys live.
    pub lifetime: Duration,
    /// The same key is handed out until less than this is left of its life; `None` for a new one each time.
    pub renew_before: Option<Duration>,
    /// Milliseconds by which the service's clock is off.
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

/// Whether a token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenMode {
    /// Nothing without a token.
    Required,
    /// With a token or without.
    Optional,
    /// There are no tokens; a header with one is not looked at.
    Unsupported,
}

impl MetadataService {
    /// Serves on a free port of loopback. KeyRegistry that it hands out are put into `keys`.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start(rules: MetadataRules, keys: &KeyRegistry) -> io::Result<Self> {
        Self::serve(rules, keys)
    }
}

impl CredentialRules for MetadataRules {
    fn skew_ms(&self) -> i64 {
        self.clock_skew_ms
    }

    fn asked(call: &ApiCall) -> CallSummary {
        let role = call.path.strip_prefix(ROLE_PATH);
        let action = match (call.method.as_str(), role) {
            ("PUT", _) if call.path == TOKEN_PATH => "PutToken",
            ("GET", Some("")) => "ListRole",
            ("GET", Some(_)) => "GetKey",
            _ => "",
        };
        let has_token = call.header(TOKEN_HEADER).is_some();
        CallSummary {
            action: action.to_owned(),
            object: role.filter(|r| !r.is_empty()).map(str::to_owned),
            details: BTreeMap::from([("token".to_owned(), has_token.to_string())]),
        }
    }

    fn authorize(&self, call: &ApiCall, desk: &mut RequestContext<'_>) -> Result<(), ErrorResponse> {
        let refuse = |status, message: &str| Err(ErrorResponse::new(status, status.to_string(), message));
        if call.header("x-forwarded-for").is_some() {
            return refuse(403, "It came through a proxy.");
        }
        let not_found = || refuse(404, "Not found.");
        match Self::asked(call).action.as_str() {
            "PutToken" if self.tokens == TokenMode::Unsupported => return not_found(),
            "PutToken" => {
                return if ttl(call).is_some() {
                    Ok(())
                } else {
                    refuse(400, "The token's lifetime is bad.")
                };
            }
            "ListRole" | "GetKey" => {}
            _ => return not_found(),
        }
        match (self.tokens, call.header(TOKEN_HEADER)) {
            (TokenMode::Required, None) => return refuse(403, "It lacks a token."),
            (TokenMode::Required | TokenMode::Optional, Some(token))
                if desk.memory.tokens.get(token).is_none_or(|end| *end <= desk.now_ms) =>
            {
                return refuse(401, "Its token is not good.");
            }
            _ => {}
        }
        let asked = call.path.strip_prefix(ROLE_PATH).unwrap_or_default();
        if self.role.as_deref().is_some_and(|role| asked.is_empty() || asked == role) {
            return Ok(());
        }
        not_found()
    }

    fn answer(&self, call: &ApiCall, desk: &mut RequestContext<'_>) -> Result<ServiceBody, ErrorResponse> {
        let role = self.role.clone().unwrap_or_default();
        match Self::asked(call).action.as_str() {
            "PutToken" => {
                // Long, and of no meaning, as a key's own token is.
                let token = format!("MT{}", desk.request_id.replace('-', "").repeat(2));
                let end = desk.now_ms + 1000 * ttl(call).unwrap_or_default();
                desk.memory.tokens.insert(token.clone(), end);
                Ok(ServiceBody::Text(token))
            }
            "ListRole" => Ok(ServiceBody::Text(role)),
            _ => {
                let now_ms = desk.now_ms;
                let is_fresh = |key: &IssuedKey| {
                    let left = key.expires_ms + desk.skew_ms - now_ms;
                    self.renew_before.is_some_and(|before| left >= millis(before))
                };
                let held = desk.memory.key.take().filter(is_fresh);
                let key = held.unwrap_or_else(|| desk.issue(&role, self.lifetime));
                let body = desk.spell_alone(&key);
                desk.memory.key = Some(key);
                Ok(ServiceBody::Json(body))
            }
        }
    }
}

/// The lifetime in seconds that is asked for a token.
fn ttl(call: &ApiCall) -> Option<i64> {
    call.header(TTL_HEADER)?.parse().ok().filter(|ttl| (1..=21_600).contains(ttl))
}
