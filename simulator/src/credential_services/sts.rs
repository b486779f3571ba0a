//! The token service: keys for those who may take on a role.
//!
//! Owns: `AssumeRole`, for signed calls, and `AssumeRoleWithOIDC`, for those who hold an OIDC token.

use std::{collections::BTreeMap, io, time::Duration};

use serde_json::json;

use super::{CallSummary, CredentialRules, CredentialService, RequestContext, ServiceBody};
use crate::{
    access_keys::KeyRegistry,
    auth::{self, AcceptedKeys},
    clock::wall_ms,
    options::AccessKey,
    request::ApiCall,
    wire::ErrorResponse,
};

const VERSION: &str = "2015-04-01";
const ASSUME: &str = "AssumeRole";
const WITH_OIDC: &str = "AssumeRoleWithOIDC";

/// The token service (STS, version 2015-04-01).
pub type StsService = CredentialService<StsRules>;

/// Who may take on which role, and for how long.
#[derive(Debug, Clone, Default)]
pub struct StsRules {
    /// Lasting keys that may call. Those in the shared register may call too.
    pub callers: Vec<AccessKey>,
    /// The roles that there are.
    pub roles: Vec<StsRole>,
    /// ARN of the OIDC provider; `None` if none is registered.
    pub oidc_provider: Option<String>,
    /// The OIDC tokens that are good now: one, or two while one is replaced by the next.
    pub oidc_tokens: Vec<String>,
    /// How long keys live; `None` for as long as is asked (`DurationSeconds`).
    pub lifetime: Option<Duration>,
    /// Milliseconds by which the service's clock is off.
    pub clock_skew_ms: i64,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsRole {
    /// Its ARN. Ids of its keys begin with `STS.` and the part after the last slash.
    pub arn: String,
    /// `ExternalId` that must come; `None` if none need come.
    pub external_id: Option<String>,
    /// What the id of a signed call's key must begin with; `None` for every key.
    pub trusts: Option<String>,
}

impl StsRole {
    /// A role that every key may take on.
    pub fn new(arn: impl Into<String>) -> Self {
        Self { arn: arn.into(), external_id: None, trusts: None }
    }

    /// The same, only with this `ExternalId`.
    #[must_use]
    pub fn with_external_id(mut self, id: impl Into<String>) -> Self {
        self.external_id = Some(id.into());
        self
    }

    /// The same, only for keys whose id begins so.
    #[must_use]
    pub fn trusting(mut self, beginning: impl Into<String>) -> Self {
        self.trusts = Some(beginning.into());
        self
    }

    fn name(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }
}

impl StsRules {
    fn role(&self, call: &ApiCall) -> Result<&StsRole, ErrorResponse> {
        let arn = need(call, "RoleArn")?;
        self.roles.iter().find(|r| r.arn == arn).ok_or_else(|| {
            ErrorResponse::new(404, "EntityNotExist.Role", "The specified StsRole not exists.")
        })
    }

    fn assume(&self, call: &ApiCall, desk: &mut RequestContext<'_>) -> Result<(), ErrorResponse> {
        let known = AcceptedKeys { lasting: &self.callers, shared: desk.keys };
        let key = auth::check(call, VERSION, known, &mut desk.memory.nonces, &[desk.now_ms], wall_ms())?;
        let role = self.role(call)?;
        let is_trusted = role.trusts.as_ref().is_none_or(|t| key.id.starts_with(t.as_str()));
        let is_external =
            role.external_id.is_none() || role.external_id.as_deref() == call.param("ExternalId");
        if is_trusted && is_external {
            return Ok(());
        }
        Err(ErrorResponse::new(
            403,
            "NoPermission",
            "You are not authorized to do this action. You should be authorized by RAM.",
        ))
    }

    fn assume_with_oidc(&self, call: &ApiCall, desk: &RequestContext<'_>) -> Result<(), ErrorResponse> {
        auth::check_version(call, VERSION)?;
        auth::check_time(need(call, "Timestamp")?, &[desk.now_ms])?;
        let provider = need(call, "OIDCProviderArn")?;
        let token = need(call, "OIDCToken")?;
        if self.oidc_provider.as_deref() != Some(provider) {
            let message = "No such OIDC Provider registered.";
            return Err(ErrorResponse::new(401, "AuthenticationFail.NoPermission", message));
        }
        self.role(call)?;
        if !self.oidc_tokens.iter().any(|good| good == token) {
            let message = "This JsonWebToken is expired.";
            return Err(ErrorResponse::new(401, "AuthenticationFail.OIDCToken.Expired", message));
        }
        Ok(())
    }
}

impl StsService {
    /// Serves on a free port of loopback. KeyRegistry that it hands out are put into `keys`.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn start(rules: StsRules, keys: &KeyRegistry) -> io::Result<Self> {
        Self::serve(rules, keys)
    }
}

impl CredentialRules for StsRules {
    fn skew_ms(&self) -> i64 {
        self.clock_skew_ms
    }

    fn asked(call: &ApiCall) -> CallSummary {
        let names = ["RoleSessionName", "DurationSeconds", "ExternalId", "Policy", "OIDCProviderArn"];
        let details: BTreeMap<String, String> = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), call.param(name)?.to_owned())))
            .collect();
        CallSummary {
            action: call.action().to_owned(),
            object: call.param("RoleArn").map(str::to_owned),
            details,
        }
    }

    fn authorize(&self, call: &ApiCall, desk: &mut RequestContext<'_>) -> Result<(), ErrorResponse> {
        match call.action() {
            ASSUME => self.assume(call, desk)?,
            WITH_OIDC => self.assume_with_oidc(call, desk)?,
            _ => {
                let message = "Specified api is not found, please check your url and method.";
                return Err(ErrorResponse::new(404, "InvalidAction.NotFound", message));
            }
        }
        session(call)?;
        duration(call)?;
        if call.wants_json() { Ok(()) } else { Err(ErrorResponse::only_json()) }
    }

    fn answer(&self, call: &ApiCall, desk: &mut RequestContext<'_>) -> Result<ServiceBody, ErrorResponse> {
        let role = self.role(call)?;
        let key = desk.issue(role.name(), self.lifetime.unwrap_or(duration(call)?));
        let session = session(call)?;
        Ok(ServiceBody::Json(json!({
            "RequestId": desk.request_id,
            "AssumedRoleUser": {
                "Arn": format!("{}/{session}", role.arn),
                "AssumedRoleId": format!("300000000000000001:{session}"),
            },
            "Credentials": desk.spell(&key),
        })))
    }
}

fn need<'c>(call: &'c ApiCall, name: &str) -> Result<&'c str, ErrorResponse> {
    call.param(name).ok_or_else(|| ErrorResponse::missing(name))
}

fn session(call: &ApiCall) -> Result<&str, ErrorResponse> {
    let name = need(call, "RoleSessionName")?;
    let is_good = |c: char| c.is_ascii_alphanumeric() || ".@-_".contains(c);
    if (2..=64).contains(&name.len()) && name.chars().all(is_good) {
        return Ok(name);
    }
    let message = "The parameter RoleSessionName is wrongly formed.";
    Err(ErrorResponse::new(400, "InvalidParameter.RoleSessionName", message))
}

fn duration(call: &ApiCall) -> Result<Duration, ErrorResponse> {
    let asked = call.param("DurationSeconds").map_or(Ok(3600), str::parse::<u64>);
    asked.ok().filter(|s| (900..=43_200).contains(s)).map(Duration::from_secs).ok_or_else(|| {
        let message = "The Min/Max value of DurationSeconds is 15min/12hr.";
        ErrorResponse::new(400, "InvalidParameter.DurationSeconds", message)
    })
}
