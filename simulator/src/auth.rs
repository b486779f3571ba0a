//! Authenticates calls: signatures, keys, tokens, nonces and timestamps.
//!
//! Rejects: invalid calls, with the error codes of the real gateway.

use std::collections::{HashSet, VecDeque};

use jiff::Timestamp;

use crate::{
    access_keys::{AccessKey, KeyRegistry},
    request::ApiCall,
    sign,
    wire::ErrorResponse,
};

/// Maximum difference between the timestamp of a call and the clock.
const WINDOW_MS: i64 = 15 * 60_000;

/// Signature method of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureKind {
    /// `HMAC-SHA1`, in parameters.
    V1,
    /// `ACS3-HMAC-SHA256`, in headers.
    Acs3,
    /// Unsigned.
    None,
}

/// Signature fields of a call, not yet verified.
struct SignatureClaim {
    key_id: String,
    token: Option<String>,
    timestamp: String,
    nonce: String,
    signature: String,
    string_to_sign: String,
}

/// Returns the signature method and the key id of a call, without verifying them.
pub(crate) fn claimed_key(call: &ApiCall) -> (SignatureKind, Option<String>) {
    if call.is_acs3() {
        let (key_id, ..) = parse_authorization(call.header("authorization").unwrap_or_default());
        return (SignatureKind::Acs3, Some(key_id).filter(|id| !id.is_empty()));
    }
    match call.param("AccessKeyId") {
        Some(id) => (SignatureKind::V1, Some(id.to_owned())),
        None => (SignatureKind::None, None),
    }
}

/// Used nonces. Each is kept as long as its timestamp could still be accepted.
#[derive(Debug, Default)]
pub(crate) struct NonceCache {
    used: HashSet<String>,
    order: VecDeque<(i64, String)>,
}

impl NonceCache {
    /// Adds a nonce. Returns `false` if it was used before.
    fn insert(&mut self, nonce: String, wall_ms: i64) -> bool {
        while let Some((_, old)) = self.order.pop_front_if(|(at, _)| *at < wall_ms - 2 * WINDOW_MS) {
            self.used.remove(&old);
        }
        if !self.used.insert(nonce.clone()) {
            return false;
        }
        self.order.push_back((wall_ms, nonce));
        true
    }
}

/// Keys that a service accepts.
#[derive(Clone, Copy)]
pub(crate) struct AcceptedKeys<'k> {
    /// Keys of this service.
    pub(crate) own: &'k [AccessKey],
    /// Keys shared with other services.
    pub(crate) shared: &'k KeyRegistry,
}

impl AcceptedKeys<'_> {
    fn with_id(&self, id: &str) -> Vec<AccessKey> {
        let own = self.own.iter().filter(|k| k.id == id).cloned();
        own.chain(self.shared.with_id(id)).collect()
    }

    /// Counts a rejected call as mismatched if its wrong part belongs to another key. Returns `error`.
    fn mismatch(&self, error: ErrorResponse, is_other_key: impl Fn(&AccessKey) -> bool) -> ErrorResponse {
        if self.own.iter().any(&is_other_key) || self.shared.any(is_other_key) {
            self.shared.count_mismatched_key_call();
        }
        error
    }
}

/// Authenticates a call of a service with this API version, and returns its key.
///
/// The timestamp must be near one of `clocks`.
///
/// # Errors
/// Returns the error response of the gateway.
pub(crate) fn authenticate(
    call: &ApiCall,
    version: &str,
    accepted: AcceptedKeys<'_>,
    nonces: &mut NonceCache,
    clocks: &[i64],
    wall_ms: i64,
) -> Result<AccessKey, ErrorResponse> {
    check_version(call, version)?;
    let claim = if call.is_acs3() { acs3_claim(call)? } else { v1_claim(call)? };
    let mut keys = accepted.with_id(&claim.key_id);
    let Some(first) = keys.first() else {
        let message = "Specified access key is not found.";
        return Err(ErrorResponse::new(404, "InvalidAccessKeyId.NotFound", message));
    };
    let with_token = keys.iter().position(|k| k.security_token == claim.token);
    if with_token.is_none() && claim.token.is_none() {
        let error = ErrorResponse::bad_request(
            "InvalidSecurityToken.MismatchWithAccessKey",
            "A temporary access key came without its SecurityToken.",
        );
        return Err(accepted.mismatch(error, |key| key.id == claim.key_id));
    }
    let secret = with_token.and_then(|i| keys.get(i)).unwrap_or(first).secret.as_str();
    check_timestamp(&claim.timestamp, clocks)?;
    let sign_with = |secret: &str| {
        if call.is_acs3() {
            sign::acs3_signature(secret, &claim.string_to_sign)
        } else {
            sign::v1_signature(secret, &claim.string_to_sign)
        }
    };
    if sign_with(secret) != claim.signature {
        // The real gateway echoes the string to sign, with key id and token. Clients must not log this.
        let message = format!(
            "Specified signature is not matched with our calculation. server string to sign is:{}",
            claim.string_to_sign
        );
        let error = ErrorResponse::bad_request("SignatureDoesNotMatch", message);
        return Err(accepted.mismatch(error, |key| sign_with(&key.secret) == claim.signature));
    }
    let Some(key) = with_token.map(|i| keys.swap_remove(i)) else {
        let message = "Specified SecurityToken is malformed.";
        let error = ErrorResponse::bad_request("InvalidSecurityToken.Malformed", message);
        return Err(accepted.mismatch(error, |key| key.security_token == claim.token));
    };
    let (code, message) = if key.token_expires_ms.is_some_and(|end| end <= wall_ms) {
        ("InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
    } else if !key.active {
        ("InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
    } else if !nonces.insert(format!("{} {}", key.id, claim.nonce), wall_ms) {
        ("SignatureNonceUsed", "Specified signature nonce was used already.")
    } else {
        return Ok(key);
    };
    Err(ErrorResponse::bad_request(code, message))
}

/// Checks the API version of a call.
///
/// # Errors
/// Returns `InvalidVersion`.
pub(crate) fn check_version(call: &ApiCall, version: &str) -> Result<(), ErrorResponse> {
    if call.version() == version {
        return Ok(());
    }
    Err(ErrorResponse::bad_request("InvalidVersion", "Specified parameter Version is not valid."))
}

/// Checks that a timestamp is near one of `clocks`.
///
/// # Errors
/// Returns the error response of the gateway.
pub(crate) fn check_timestamp(timestamp: &str, clocks: &[i64]) -> Result<(), ErrorResponse> {
    let (code, message) = match timestamp.parse::<Timestamp>() {
        Ok(at) if clocks.iter().any(|now| (now - at.as_millisecond()).abs() <= WINDOW_MS) => return Ok(()),
        Ok(_) => ("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."),
        Err(_) => ("InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted."),
    };
    Err(ErrorResponse::bad_request(code, message))
}

fn v1_claim(call: &ApiCall) -> Result<SignatureClaim, ErrorResponse> {
    let required = |name: &str| {
        call.param(name).map(str::to_owned).ok_or_else(|| ErrorResponse::missing_parameter(name))
    };
    let claim = SignatureClaim {
        key_id: required("AccessKeyId")?,
        token: call.param("SecurityToken").map(str::to_owned),
        timestamp: required("Timestamp")?,
        nonce: required("SignatureNonce")?,
        signature: required("Signature")?,
        string_to_sign: sign::v1_string_to_sign(&call.method, &call.params()),
    };
    if required("SignatureMethod")? != "HMAC-SHA1" || required("SignatureVersion")? != "1.0" {
        let message = "Only HMAC-SHA1 with SignatureVersion 1.0 is supported.";
        return Err(ErrorResponse::bad_request("InvalidParameter.SignatureMethod", message));
    }
    Ok(claim)
}

fn acs3_claim(call: &ApiCall) -> Result<SignatureClaim, ErrorResponse> {
    let required = |name: &str| {
        call.header(name).map(str::to_owned).ok_or_else(|| ErrorResponse::missing_parameter(name))
    };
    let authorization = required("authorization")?;
    if !authorization.starts_with("ACS3-HMAC-SHA256 ") {
        let message = "Only ACS3-HMAC-SHA256 is supported.";
        return Err(ErrorResponse::bad_request("InvalidParameter.Authorization", message));
    }
    let (key_id, names, signature) = parse_authorization(&authorization);
    let unsigned = |header: &str| {
        let message = format!("The signed headers do not include {header}.");
        ErrorResponse::bad_request("IncompleteSignature", message)
    };
    let mut must_be_signed =
        call.headers.iter().map(|(k, _)| k.as_str()).filter(|k| *k == "host" || k.starts_with("x-acs-"));
    if let Some(header) = must_be_signed.find(|k| !names.iter().any(|n| n == k)) {
        return Err(unsigned(header));
    }
    let mut signed = Vec::new();
    for name in &names {
        let value = call.header(name).ok_or_else(|| unsigned(name))?;
        signed.push((name.clone(), value.to_owned()));
    }
    let body_hash = required("x-acs-content-sha256")?;
    if body_hash != sign::sha256_hex(&call.body) {
        let message = "The body does not match x-acs-content-sha256.";
        return Err(ErrorResponse::bad_request("SignatureDoesNotMatch", message));
    }
    let canonical = sign::acs3_canonical_request(&call.method, &call.path, &call.query, &signed, &body_hash);
    Ok(SignatureClaim {
        key_id,
        token: call.header("x-acs-security-token").map(str::to_owned),
        timestamp: required("x-acs-date")?,
        nonce: required("x-acs-signature-nonce")?,
        signature,
        string_to_sign: sign::acs3_string_to_sign(&canonical),
    })
}

/// Returns the credential, the signed header names and the signature of an ACS3 `Authorization` header.
fn parse_authorization(header: &str) -> (String, Vec<String>, String) {
    let fields = header.split_once(' ').map_or("", |(_, rest)| rest);
    let field = |name: &str| {
        let mut pairs = fields.split(',').filter_map(|f| f.trim().split_once('='));
        pairs.find(|(k, _)| *k == name).map(|(_, v)| v.to_owned()).unwrap_or_default()
    };
    let names = field("SignedHeaders").split(';').filter(|n| !n.is_empty()).map(str::to_owned).collect();
    (field("Credential"), names, field("Signature"))
}
