//! The one reader of answers: HTTP status, `Success` and `Code` together decide what an answer is.
//!
//! Owns: the envelope in all its forms (numbers as strings, lower-case keys, XML and HTML in place of JSON),
//! and the classification of codes by pattern. Success needs HTTP 2xx, and `Success` true and `Code` 200
//! where they are told, and the key of the payload. Refuses: looking into payloads.

use std::borrow::Cow;

use serde::de::MapAccess;
use tokio::time::Duration;

use super::{
    Action, ApiError, ErrorKind,
    wire::{BoolField, DiscardedResponse, ObjectFields, ResponsePayload, ScalarField, TextField},
};
use crate::model::{Anomaly, AnomalyKind};

/// How codes begin that refuse a parameter, without dots and underscores. The last is the service's own, and
/// does not say which field.
const OF_PARAMETERS: [&str; 6] = [
    "INVALIDPARAM",
    "ILLEGALPARAM",
    "MISSINGPARAM",
    "UNKNOWNPARAM",
    "UNSUPPORTEDPARAM",
    "BIZFIELDCHECKINVALID",
];

/// An answer as it came.
#[derive(Debug, Clone)]
pub(super) struct RawResponse<'b> {
    /// HTTP status.
    pub(super) status: u16,
    /// `Content-Type`.
    pub(super) content_type: Option<String>,
    /// `x-acs-retry-after`.
    pub(super) retry_after: Option<Duration>,
    /// `Date`, in milliseconds since 1970.
    pub(super) date_millis: Option<i64>,
    /// The body, whole.
    pub(super) body: Cow<'b, [u8]>,
}

/// What a good answer holds.
#[derive(Debug)]
pub(super) struct ApiResponse<T> {
    /// What was asked for.
    pub(super) payload: T,
    /// `RequestId`, as it came.
    pub(super) request_id: Option<String>,
}

impl<T> ApiResponse<T> {
    /// The same answer, with what follows from its payload.
    pub(super) fn map<U>(self, convert: impl FnOnce(T) -> U) -> ApiResponse<U> {
        ApiResponse { payload: convert(self.payload), request_id: self.request_id }
    }

    /// The same, where nothing may follow from it.
    pub(super) fn try_map<U>(
        self,
        convert: impl FnOnce(T) -> Result<U, DiscardedResponse>,
    ) -> Result<ApiResponse<U>, CallFailure> {
        match convert(self.payload) {
            Ok(payload) => Ok(ApiResponse { payload, request_id: self.request_id }),
            Err(discarded) => Err(CallFailure { request_id: self.request_id, ..discarded.into() }),
        }
    }
}

/// Why an attempt failed. Texts of the server are as they came, and are quoted before they leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallFailure {
    pub(super) kind: ErrorKind,
    pub(super) code: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) detail: String,
    /// How long the cloud wishes not to be asked again.
    pub(super) retry_after: Option<Duration>,
    /// The anomaly for which the whole answer was discarded.
    pub(super) discarded: Option<Box<Anomaly>>,
}

impl CallFailure {
    pub(super) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, code: None, request_id: None, detail: detail.into(), retry_after: None, discarded: None }
    }

    /// The failure as the caller sees it.
    pub(super) fn into_error(self, action: Action) -> ApiError {
        ApiError {
            action,
            kind: self.kind,
            code: self.code,
            request_id: self.request_id,
            detail: self.detail,
        }
    }

    /// Whether the cloud took the nonce for one that it has seen.
    pub(super) fn is_used_nonce(&self) -> bool {
        self.code.as_deref().is_some_and(|code| code.to_ascii_uppercase().starts_with("SIGNATURENONCEUSED"))
    }

    /// Whether the cloud may have refused the question for a parameter, `name` or another one.
    pub(super) fn is_about_parameter(&self, name: &str) -> bool {
        let names = |text: &str| text.to_ascii_lowercase().contains(&name.to_ascii_lowercase());
        let code = self.code.as_deref().unwrap_or_default();
        let kind = code.to_ascii_uppercase().replace(['.', '_'], "");
        self.kind == ErrorKind::Business
            && (names(code)
                || names(&self.detail)
                || OF_PARAMETERS.iter().any(|refusal| kind.starts_with(refusal)))
    }

    /// Whether fresh temporary credentials may help.
    pub(super) fn is_expired_token(&self) -> bool {
        self.code.as_deref().is_some_and(|code| {
            let code = code.to_ascii_lowercase();
            code.starts_with("invalidsecuritytoken") || code == "securitytokenexpired"
        })
    }
}

impl From<DiscardedResponse> for CallFailure {
    fn from(DiscardedResponse(anomaly): DiscardedResponse) -> Self {
        let detail = anomaly.detail.clone();
        Self { discarded: Some(Box::new(anomaly)), ..Self::new(ErrorKind::Decode, detail) }
    }
}

#[derive(Debug, Default)]
struct Envelope<'de, P> {
    code: TextField<'de>,
    success: BoolField,
    message: TextField<'de>,
    request_id: TextField<'de>,
    payload: P,
}

impl<'de, P: ObjectFields<'de>> ObjectFields<'de> for Envelope<'de, P> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "Code" | "code" => self.code = map.next_value()?,
            "Success" | "success" => self.success = map.next_value()?,
            "Message" | "message" => self.message = map.next_value()?,
            "RequestId" | "requestId" => self.request_id = map.next_value()?,
            _ => return self.payload.take(key, map),
        }
        Ok(true)
    }
}

/// The payload of an answer that has failed anyhow.
#[derive(Debug, Default)]
struct NoPayload;

impl<'de> ObjectFields<'de> for NoPayload {
    fn take<A: MapAccess<'de>>(&mut self, _: &str, _: &mut A) -> Result<bool, A::Error> {
        Ok(false)
    }
}

/// Reads the payload of an answer.
pub(super) fn read<'de, P: ResponsePayload<'de>>(reply: &'de RawResponse<'_>) -> Result<P, CallFailure> {
    answer(reply).map(|answer| answer.payload)
}

/// Reads an answer.
pub(super) fn answer<'de, P: ResponsePayload<'de>>(
    reply: &'de RawResponse<'_>,
) -> Result<ApiResponse<P>, CallFailure> {
    if !(200..300).contains(&reply.status) {
        return Err(failed(reply));
    }
    let text = text(reply)?;
    let envelope = match parse::<Envelope<'de, P>>(text) {
        Ok(envelope) => envelope,
        Err(problem) => return Err(xml_failure(reply, text).unwrap_or_else(|| not_json(reply, &problem))),
    };
    let code_is_good = match &envelope.code {
        ScalarField::Missing | ScalarField::Null => true,
        ScalarField::Value(code) => code.trim() == "200",
        ScalarField::WrongType | ScalarField::OutOfRange => false,
    };
    let success_is_good = match envelope.success {
        ScalarField::Missing | ScalarField::Null => true,
        ScalarField::Value(success) => success,
        ScalarField::WrongType | ScalarField::OutOfRange => {
            return Err(CallFailure::new(ErrorKind::Decode, "Success is neither true nor false"));
        }
    };
    if !(code_is_good && success_is_good) {
        return Err(refused(reply, envelope.code, envelope.message, envelope.request_id));
    }
    let is_confirmed = matches!(envelope.success, ScalarField::Value(true))
        || matches!(envelope.code, ScalarField::Value(_))
        || matches!(envelope.request_id, ScalarField::Value(_));
    let request_id = envelope.request_id.value().map(Cow::into_owned);
    if envelope.payload.is_present() {
        return Ok(ApiResponse { payload: envelope.payload, request_id });
    }
    if !is_confirmed {
        return Err(CallFailure::new(ErrorKind::Decode, "the body has nothing of an answer of this API"));
    }
    let lost = DiscardedResponse::new(AnomalyKind::Type, format_args!("the answer has no {}", P::KEY));
    Err(CallFailure { request_id, ..lost.into() })
}

/// The body as text, without the byte order mark.
fn text<'r>(reply: &'r RawResponse<'_>) -> Result<&'r str, CallFailure> {
    let body = reply.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&reply.body);
    match std::str::from_utf8(body) {
        Ok(text) if text.trim().is_empty() => Err(CallFailure::new(ErrorKind::Decode, "the body is empty")),
        Ok(text) => Ok(text),
        Err(error) => {
            let place = error.valid_up_to();
            Err(CallFailure::new(ErrorKind::Decode, format!("the body is not UTF-8 from byte {place} on")))
        }
    }
}

/// What is wrong with a body: only the place, nothing of the content.
fn parse<'de, T: ObjectFields<'de>>(text: &'de str) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let place = |error: &serde_json::Error| {
        let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
        lines.map(str::len).sum::<usize>() + error.column()
    };
    let whole = <super::wire::Object<T> as serde::Deserialize>::deserialize(&mut deserializer)
        .and_then(|object| deserializer.end().map(|()| object.0));
    whole.map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => format!("the JSON ends too early, at byte {}", text.len()),
        _ => format!("the JSON cannot be read at byte {}", place(&error)),
    })
}

fn not_json(reply: &RawResponse<'_>, problem: &str) -> CallFailure {
    let detail = match reply.content_type.as_deref() {
        Some(other) if !other.to_ascii_lowercase().contains("json") => {
            format!("{problem}; the content type is {other}")
        }
        _ => problem.to_owned(),
    };
    CallFailure::new(ErrorKind::Decode, detail)
}

/// A failure of an answer with a status other than 2xx.
fn failed(reply: &RawResponse<'_>) -> CallFailure {
    let text = text(reply).unwrap_or_default();
    if let Ok(envelope) = parse::<Envelope<'_, NoPayload>>(text) {
        return refused(reply, envelope.code, envelope.message, envelope.request_id);
    }
    xml_failure(reply, text)
        .unwrap_or_else(|| refused(reply, ScalarField::Null, ScalarField::Null, ScalarField::Null))
}

/// The gateway answers some errors in XML whatever it was asked for.
fn xml_failure(reply: &RawResponse<'_>, text: &str) -> Option<CallFailure> {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (content, _) = rest.split_once(&format!("</{name}>"))?;
        (!content.contains('<')).then(|| ScalarField::Value(content.into()))
    };
    let code = text.trim_start().starts_with('<').then(|| element("Code"))??;
    if matches!(&code, ScalarField::Value(code) if code == "200") {
        return None;
    }
    let or_null = |name| element(name).unwrap_or(ScalarField::Null);
    Some(refused(reply, code, or_null("Message"), or_null("RequestId")))
}

fn refused(
    reply: &RawResponse<'_>,
    code: TextField<'_>,
    message: TextField<'_>,
    request_id: TextField<'_>,
) -> CallFailure {
    let code = code.value().map(|code| code.trim().to_owned());
    let detail = match message.value() {
        Some(message) => message.into_owned(),
        None if code.is_some() => format!("HTTP {} without a message", reply.status),
        None => format!("HTTP {} without a code", reply.status),
    };
    CallFailure {
        kind: classify(reply.status, code.as_deref()),
        request_id: request_id.value().map(Cow::into_owned),
        code,
        detail,
        retry_after: reply.retry_after,
        discarded: None,
    }
}

/// The kind of a refusal: by its code where that says something, else by the HTTP status.
///
/// `BIZ_REGION_NOT_FOUND` is [`ErrorKind::Business`]: regions are configured, so nothing is deleted on its word.
fn classify(status: u16, code: Option<&str>) -> ErrorKind {
    let code = code.unwrap_or_default().to_ascii_uppercase().replace('.', "_");
    let has = |part: &str| code.contains(part);
    let begins = |prefix: &str| code.starts_with(prefix);

    if has("THROTTL") || has("FLOW_CONTROL") || has("FLOWCONTROL") {
        return ErrorKind::Throttled;
    }
    if begins("INVALIDTIMESTAMP") || begins("ILLEGALTIMESTAMP") || begins("SIGNATURENONCEUSED") {
        return ErrorKind::Clock;
    }
    if has("INSTANCE_STATUS_ERROR") || begins("AUTH_RESOURCE_OWNER_ERROR") || has("INSTANCE_NOT_FOUND") {
        return ErrorKind::Gone { instance: true };
    }
    if has("TOPIC_NOT_FOUND")
        || has("SUBSCRIPTION_NOT_FOUND")
        || has("CONSUMER_NOT_FOUND")
        || has("GROUP_NOT_FOUND")
    {
        return ErrorKind::Gone { instance: false };
    }
    let of_the_key = [
        "INVALIDACCESSKEY",
        "SIGNATUREDOESNOTMATCH",
        "INCOMPLETESIGNATURE",
        "INVALIDSECURITYTOKEN",
        "SECURITYTOKENEXPIRED",
        "MISSINGSECURITYTOKEN",
    ];
    if of_the_key.iter().any(|refusal| begins(refusal)) {
        return ErrorKind::Auth { key: true };
    }
    let of_the_policy = ["NOPERMISSION", "FORBIDDEN", "UNAUTHORIZED", "ACCESSDENIED", "AUTH_"];
    if of_the_policy.iter().any(|refusal| begins(refusal)) {
        return ErrorKind::Auth { key: false };
    }
    let faults =
        ["INTERNALERROR", "SERVICEUNAVAILABLE", "ONS_SYSTEM_ERROR", "ONS_INVOKE_ERROR", "SYSTEMERROR"];
    if faults.iter().any(|fault| begins(fault)) {
        return ErrorKind::Server;
    }
    // A code that is a number is a status of its own: some answers fail with HTTP 200.
    let status = code.parse().ok().filter(|own| (400..600).contains(own)).unwrap_or(status);
    match status {
        429 => ErrorKind::Throttled,
        401 | 403 => ErrorKind::Auth { key: false },
        408 => ErrorKind::Timeout,
        500..600 => ErrorKind::Server,
        _ => ErrorKind::Business,
    }
}

#[cfg(test)]
mod tests;
