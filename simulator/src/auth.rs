//! Who may call: signatures, keys, tokens, nonces and timestamps, refused as the gateway refuses them.

use std::collections::{HashSet, VecDeque};

use jiff::Timestamp;

use crate::{access_keys::KeyRegistry, options::AccessKey, request::ApiCall, sign, wire::ErrorResponse};

/// Timestamps may be off by this much.
const WINDOW_MS: i64 = 15 * 60_000;

/// How a call was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureKind {
    /// `HMAC-SHA1`, in parameters.
    V1,
    /// `ACS3-HMAC-SHA256`, in headers.
    Acs3,
    /// Not at all.
    None,
}

/// What a call says of its signature, before it is believed.
struct SignatureClaim {
    key_id: String,
    token: Option<String>,
    timestamp: String,
    nonce: String,
    signature: String,
    string_to_sign: String,
}

/// The kind of signature and the key id that a call names.
pub(crate) fn named(call: &ApiCall) -> (SignatureKind, Option<String>) {
    if call.is_acs3() {
        let fields = authorization(call.header("authorization").unwrap_or_default());
        return (SignatureKind::Acs3, Some(fields.0).filter(|id| !id.is_empty()));
    }
    match call.param("AccessKeyId") {
        Some(id) => (SignatureKind::V1, Some(id.to_owned())),
        None => (SignatureKind::None, None),
    }
}

/// NonceCache that were used, for as long as their timestamps could still be good.
#[derive(Debug, Default)]
pub(crate) struct NonceCache {
    seen: HashSet<String>,
    order: VecDeque<(i64, String)>,
}

impl NonceCache {
    /// Notes a nonce at a wall time; `false` if it was used before.
    fn note(&mut self, nonce: String, wall_ms: i64) -> bool {
        while let Some((_, old)) = self.order.pop_front_if(|(at, _)| *at < wall_ms - 2 * WINDOW_MS) {
            self.seen.remove(&old);
        }
        if !self.seen.insert(nonce.clone()) {
            return false;
        }
        self.order.push_back((wall_ms, nonce));
        true
    }
}

/// The keys that a service knows.
#[derive(Clone, Copy)]
pub(crate) struct AcceptedKeys<'k> {
    /// Its own.
    pub(crate) lasting: &'k [AccessKey],
    /// Those that it shares with other services.
    pub(crate) shared: &'k KeyRegistry,
}

impl AcceptedKeys<'_> {
    fn with_id(&self, id: &str) -> Vec<AccessKey> {
        let own = self.lasting.iter().filter(|k| k.id == id).cloned();
        own.chain(self.shared.with_id(id)).collect()
    }

    /// Counts the call if the part that does not fit belongs to another key. Returns the refusal.
    fn mismatch(&self, refusal: ErrorResponse, is_anothers: impl Fn(&AccessKey) -> bool) -> ErrorResponse {
        if self.lasting.iter().any(&is_anothers) || self.shared.any(is_anothers) {
            self.shared.count_mixed_call();
        }
        refusal
    }
}

/// Checks a call of a service of this version. `clocks` are the times that count as now; the first is the
/// service's own.
///
/// # Errors
/// The refusal that the gateway would answer with.
pub(crate) fn check(
    call: &ApiCall,
    version: &str,
    known: AcceptedKeys<'_>,
    nonces: &mut NonceCache,
    clocks: &[i64],
    wall_ms: i64,
) -> Result<AccessKey, ErrorResponse> {
    check_version(call, version)?;
    let claim = if call.is_acs3() { acs3_claim(call)? } else { v1_claim(call)? };
    let mut held = known.with_id(&claim.key_id);
    let Some(first) = held.first() else {
        return Err(ErrorResponse::new(
            404,
            "InvalidAccessKeyId.NotFound",
            "Specified access key is not found.",
        ));
    };
    let by_token = held.iter().position(|k| k.security_token == claim.token);
    if by_token.is_none() && claim.token.is_none() {
        let refusal = ErrorResponse::new(
            400,
            "InvalidSecurityToken.MismatchWithAccessKey",
            "A temporary access key came without its SecurityToken.",
        );
        return Err(known.mismatch(refusal, |key| key.id == claim.key_id));
    }
    let secret = by_token.and_then(|at| held.get(at)).unwrap_or(first).secret.as_str();
    check_time(&claim.timestamp, clocks)?;
    let signed_with = |secret: &str| {
        if call.is_acs3() {
            sign::acs3_signature(secret, &claim.string_to_sign)
        } else {
            sign::v1_signature(secret, &claim.string_to_sign)
        }
    };
    if signed_with(secret) != claim.signature {
        // The real gateway echoes what it signed, key id and token included. Clients must not log this.
        let message = format!(
            "Specified signature is not matched with our calculation. server string to sign is:{}",
            claim.string_to_sign
        );
        let refusal = ErrorResponse::new(400, "SignatureDoesNotMatch", message);
        return Err(known.mismatch(refusal, |key| signed_with(&key.secret) == claim.signature));
    }
    let Some(key) = by_token.map(|at| held.swap_remove(at)) else {
        let refusal = ErrorResponse::new(
            400,
            "InvalidSecurityToken.Malformed",
            "Specified SecurityToken is malformed.",
        );
        return Err(known.mismatch(refusal, |key| key.security_token == claim.token));
    };
    if key.token_expires_ms.is_some_and(|end| end <= wall_ms) {
        return Err(ErrorResponse::new(
            400,
            "InvalidSecurityToken.Expired",
            "Specified SecurityToken is expired.",
        ));
    }
    if !key.active {
        return Err(ErrorResponse::new(
            400,
            "InvalidAccessKeyId.Inactive",
            "Specified access key is disabled.",
        ));
    }
    if !nonces.note(format!("{} {}", key.id, claim.nonce), wall_ms) {
        return Err(ErrorResponse::new(
            400,
            "SignatureNonceUsed",
            "Specified signature nonce was used already.",
        ));
    }
    Ok(key)
}

/// Whether the call is of the service's version.
///
/// # Errors
/// `InvalidVersion`.
pub(crate) fn check_version(call: &ApiCall, version: &str) -> Result<(), ErrorResponse> {
    if call.version() == version {
        return Ok(());
    }
    Err(ErrorResponse::new(400, "InvalidVersion", "Specified parameter Version is not valid."))
}

/// Whether a call's time is within the window of one of the times that count as now.
///
/// # Errors
/// The refusal that the gateway would answer with.
pub(crate) fn check_time(timestamp: &str, clocks: &[i64]) -> Result<(), ErrorResponse> {
    let Ok(at) = timestamp.parse::<Timestamp>() else {
        return Err(ErrorResponse::new(
            400,
            "InvalidTimeStamp.Format",
            "Specified time stamp or date value is not well formatted.",
        ));
    };
    if clocks.iter().any(|now| (now - at.as_millisecond()).abs() <= WINDOW_MS) {
        return Ok(());
    }
    Err(ErrorResponse::new(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."))
}

fn v1_claim(call: &ApiCall) -> Result<SignatureClaim, ErrorResponse> {
    let need = |name: &str| call.param(name).map(str::to_owned).ok_or_else(|| ErrorResponse::missing(name));
    let claim = SignatureClaim {
        key_id: need("AccessKeyId")?,
        token: call.param("SecurityToken").map(str::to_owned),
        timestamp: need("Timestamp")?,
        nonce: need("SignatureNonce")?,
        signature: need("Signature")?,
        string_to_sign: sign::v1_string_to_sign(&call.method, &call.params()),
    };
    if need("SignatureMethod")? != "HMAC-SHA1" || need("SignatureVersion")? != "1.0" {
        return Err(ErrorResponse::new(
            400,
            "InvalidParameter.SignatureMethod",
            "Only HMAC-SHA1 of version 1.0 is served.",
        ));
    }
    Ok(claim)
}

fn acs3_claim(call: &ApiCall) -> Result<SignatureClaim, ErrorResponse> {
    let need = |name: &str| call.header(name).map(str::to_owned).ok_or_else(|| ErrorResponse::missing(name));
    let authorization_header = need("authorization")?;
    if !authorization_header.starts_with("ACS3-HMAC-SHA256 ") {
        return Err(ErrorResponse::new(
            400,
            "InvalidParameter.Authorization",
            "Only ACS3-HMAC-SHA256 is served.",
        ));
    }
    let (key_id, names, signature) = authorization(&authorization_header);
    let incomplete = |what: &str| {
        ErrorResponse::new(400, "IncompleteSignature", format!("The signed headers lack {what}."))
    };
    let must_sign =
        call.headers.iter().map(|(k, _)| k.as_str()).filter(|k| *k == "host" || k.starts_with("x-acs-"));
    if let Some(unsigned) = must_sign.into_iter().find(|k| !names.iter().any(|n| n == k)) {
        return Err(incomplete(unsigned));
    }
    let mut signed = Vec::new();
    for name in &names {
        let value = call.header(name).ok_or_else(|| incomplete(name))?;
        signed.push((name.clone(), value.to_owned()));
    }
    let body_hash = need("x-acs-content-sha256")?;
    if body_hash != sign::sha256_hex(&call.body) {
        return Err(ErrorResponse::new(
            400,
            "SignatureDoesNotMatch",
            "The body does not match x-acs-content-sha256.",
        ));
    }
    let canonical = sign::acs3_canonical_request(&call.method, &call.path, &call.query, &signed, &body_hash);
    Ok(SignatureClaim {
        key_id,
        token: call.header("x-acs-security-token").map(str::to_owned),
        timestamp: need("x-acs-date")?,
        nonce: need("x-acs-signature-nonce")?,
        signature,
        string_to_sign: sign::acs3_string_to_sign(&canonical),
    })
}

/// Credential, signed header names and signature of an ACS3 `Authorization`.
fn authorization(header: &str) -> (String, Vec<String>, String) {
    let fields = header.split_once(' ').map_or("", |(_, rest)| rest);
    let field = |name: &str| {
        let of = fields.split(',').filter_map(|f| f.trim().split_once('='));
        of.filter(|(k, _)| *k == name).map(|(_, v)| v.to_owned()).next().unwrap_or_default()
    };
    let names = field("SignedHeaders").split(';').filter(|n| !n.is_empty()).map(str::to_owned).collect();
    (field("Credential"), names, field("Signature"))
}
