//! The token service: `AssumeRole` for signed calls, and `AssumeRoleWithOIDC` for calls with an OIDC token.

use std::time::Duration;

use serde_json::json;

use super::service::{CredentialRules, CredentialService, RequestContext, ServiceBody};
use crate::{
    access_keys::AccessKey,
    auth::{self, AcceptedKeys},
    call_log::CallLogEntry,
    clock::wall_ms,
    request::ApiCall,
    wire::ErrorResponse,
};

const VERSION: &str = "2015-04-01";

/// The token service (STS, version 2015-04-01).
pub type StsService = CredentialService<StsRules>;

/// Rules of the token service: the roles, and who may assume them.
#[derive(Debug, Clone, Default)]
pub struct StsRules {
    /// Permanent keys that may call, in addition to those of the shared registry.
    pub callers: Vec<AccessKey>,
    /// Roles that exist.
    pub roles: Vec<StsRole>,
    /// ARN of the OIDC provider; `None` if there is none.
    pub oidc_provider: Option<String>,
    /// Valid OIDC tokens: one, or two during a rotation.
    pub oidc_tokens: Vec<String>,
    /// Lifetime of keys; `None` for the requested `DurationSeconds`.
    pub lifetime: Option<Duration>,
    /// Offset of the service's clock, in milliseconds.
    pub clock_skew_ms: i64,
}

/// A RAM role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsRole {
    /// ARN. Ids of its keys start with `STS.` and the part after the last slash.
    pub arn: String,
    /// Required `ExternalId`; `None` if none is required.
    pub external_id: Option<String>,
    /// Required prefix of the caller's key id; `None` for every key.
    pub trusts: Option<String>,
}

impl StsRole {
    /// Returns a role that every key may assume.
    pub fn new(arn: impl Into<String>) -> Self {
        Self { arn: arn.into(), external_id: None, trusts: None }
    }

    /// Requires this `ExternalId`.
    #[must_use]
    pub fn with_external_id(self, id: impl Into<String>) -> Self {
        Self { external_id: Some(id.into()), ..self }
    }

    /// Requires this prefix of the caller's key id.
    #[must_use]
    pub fn trusting(self, prefix: impl Into<String>) -> Self {
        Self { trusts: Some(prefix.into()), ..self }
    }

    fn name(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }
}

impl StsRules {
    fn role(&self, call: &ApiCall) -> Result<&StsRole, ErrorResponse> {
        let arn = required(call, "RoleArn")?;
        let role = self.roles.iter().find(|r| r.arn == arn);
        role.ok_or_else(|| ErrorResponse::new(404, "EntityNotExist.Role", "The specified Role not exists."))
    }

    fn authorize_key(&self, call: &ApiCall, context: &mut RequestContext<'_>) -> Result<(), ErrorResponse> {
        let accepted = AcceptedKeys { own: &self.callers, shared: context.keys };
        let (nonces, clocks) = (&mut context.memory.nonces, [context.now_ms]);
        let key = auth::authenticate(call, VERSION, accepted, nonces, &clocks, wall_ms())?;
        let role = self.role(call)?;
        let is_trusted = role.trusts.as_ref().is_none_or(|prefix| key.id.starts_with(prefix.as_str()));
        let has_external_id =
            role.external_id.is_none() || role.external_id.as_deref() == call.param("ExternalId");
        if is_trusted && has_external_id { Ok(()) } else { Err(ErrorResponse::no_permission()) }
    }

    fn authorize_oidc(&self, call: &ApiCall, context: &RequestContext<'_>) -> Result<(), ErrorResponse> {
        auth::check_version(call, VERSION)?;
        auth::check_timestamp(required(call, "Timestamp")?, &[context.now_ms])?;
        let provider = required(call, "OIDCProviderArn")?;
        let token = required(call, "OIDCToken")?;
        if self.oidc_provider.as_deref() != Some(provider) {
            let message = "No such OIDC Provider registered.";
            return Err(ErrorResponse::new(401, "AuthenticationFail.NoPermission", message));
        }
        self.role(call)?;
        if !self.oidc_tokens.iter().any(|valid| valid == token) {
            let message = "This JsonWebToken is expired.";
            return Err(ErrorResponse::new(401, "AuthenticationFail.OIDCToken.Expired", message));
        }
        Ok(())
    }
}

impl CredentialRules for StsRules {
    fn clock_skew_ms(&self) -> i64 {
        self.clock_skew_ms
    }

    fn log_entry(call: &ApiCall) -> CallLogEntry {
        let details = ["RoleSessionName", "DurationSeconds", "ExternalId", "Policy", "OIDCProviderArn"]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), call.param(name)?.to_owned())))
            .collect();
        let object = call.param("RoleArn").map(str::to_owned);
        CallLogEntry { object, details, ..CallLogEntry::new(call, call.action(), "") }
    }

    fn authorize(&self, call: &ApiCall, context: &mut RequestContext<'_>) -> Result<(), ErrorResponse> {
        match call.action() {
            "AssumeRole" => self.authorize_key(call, context)?,
            "AssumeRoleWithOIDC" => self.authorize_oidc(call, context)?,
            _ => return Err(ErrorResponse::unknown_action()),
        }
        session_name(call)?;
        duration(call)?;
        if call.wants_json() { Ok(()) } else { Err(ErrorResponse::only_json()) }
    }

    fn respond(
        &self,
        call: &ApiCall,
        context: &mut RequestContext<'_>,
    ) -> Result<ServiceBody, ErrorResponse> {
        let role = self.role(call)?;
        let key = context.issue(role.name(), self.lifetime.unwrap_or(duration(call)?));
        let session = session_name(call)?;
        Ok(ServiceBody::Json(json!({
            "RequestId": context.request_id,
            "AssumedRoleUser": {
                "Arn": format!("{}/{session}", role.arn),
                "AssumedRoleId": format!("300000000000000001:{session}"),
            },
            "Credentials": context.key_fields(&key),
        })))
    }
}

fn required<'c>(call: &'c ApiCall, name: &str) -> Result<&'c str, ErrorResponse> {
    call.param(name).ok_or_else(|| ErrorResponse::missing_parameter(name))
}

fn session_name(call: &ApiCall) -> Result<&str, ErrorResponse> {
    let name = required(call, "RoleSessionName")?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".@-_".contains(c);
    if (2..=64).contains(&name.len()) && name.chars().all(is_allowed) {
        return Ok(name);
    }
    let message = "The parameter RoleSessionName is wrongly formed.";
    Err(ErrorResponse::bad_request("InvalidParameter.RoleSessionName", message))
}

fn duration(call: &ApiCall) -> Result<Duration, ErrorResponse> {
    let seconds = call.param("DurationSeconds").map_or(Ok(3600), str::parse::<u64>);
    seconds.ok().filter(|s| (900..=43_200).contains(s)).map(Duration::from_secs).ok_or_else(|| {
        let message = "The Min/Max value of DurationSeconds is 15min/12hr.";
        ErrorResponse::bad_request("InvalidParameter.DurationSeconds", message)
    })
}
