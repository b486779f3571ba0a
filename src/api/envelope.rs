//! Envelope of a response: HTTP status, `Success` and `Code` together decide whether a call succeeded.
//!
//! Owns: the envelope in all its forms (numbers as strings, lower-case keys, XML and HTML instead of JSON), and the
//! classification of error codes. A successful response has HTTP status 2xx, the key of the payload, and, where
//! present, `Success` true and `Code` 200. Out of scope: the payload itself.

use std::borrow::Cow;

use serde::de::MapAccess;
use tokio::time::Duration;

use super::{
    Action, ApiError, ErrorKind,
    wire::{BoolField, DiscardedResponse, Field, JsonObject, ResponsePayload, TextField},
};
use crate::model::{Anomaly, AnomalyKind};

/// Prefixes of error codes that reject a parameter, without dots and underscores. The last one is AliKafka's own and
/// does not name the parameter.
const PARAMETER_CODES: [&str; 6] = [
    "INVALIDPARAM",
    "ILLEGALPARAM",
    "MISSINGPARAM",
    "UNKNOWNPARAM",
    "UNSUPPORTEDPARAM",
    "BIZFIELDCHECKINVALID",
];

/// A response as received.
#[derive(Debug, Clone)]
pub struct RawResponse<'b> {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `x-acs-retry-after`.
    pub retry_after: Option<Duration>,
    /// `Date`, in Unix milliseconds.
    pub date_millis: Option<i64>,
    /// The complete body.
    pub body: Cow<'b, [u8]>,
}

impl<'b> RawResponse<'b> {
    /// Returns a response with HTTP status 200 and no headers.
    #[must_use]
    pub fn ok(body: &'b [u8]) -> Self {
        Self { status: 200, content_type: None, retry_after: None, date_millis: None, body: body.into() }
    }
}

/// A successful response.
#[derive(Debug)]
pub struct ApiResponse<T> {
    /// The requested data.
    pub payload: T,
    /// `RequestId`, not redacted.
    pub request_id: Option<String>,
}

/// Failure of one attempt. Texts of the server are not redacted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFailure {
    /// Classification of the failure.
    pub kind: ErrorKind,
    /// `Code`.
    pub code: Option<String>,
    /// `RequestId`.
    pub request_id: Option<String>,
    /// `Message`, or a description of the failure.
    pub detail: String,
    /// Pause that the cloud requested.
    pub retry_after: Option<Duration>,
    /// Anomaly that caused the response to be discarded.
    pub discarded: Option<Box<Anomaly>>,
}

impl CallFailure {
    pub(super) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, code: None, request_id: None, detail: detail.into(), retry_after: None, discarded: None }
    }

    /// Converts the failure for the caller.
    pub(super) fn into_error(self, action: Action) -> ApiError {
        ApiError {
            action,
            kind: self.kind,
            code: self.code,
            request_id: self.request_id,
            detail: self.detail,
        }
    }

    /// Whether the cloud has seen the nonce before.
    pub(super) fn is_used_nonce(&self) -> bool {
        self.code.as_deref().is_some_and(|code| code.to_ascii_uppercase().starts_with("SIGNATURENONCEUSED"))
    }

    /// Whether the cloud may have rejected the request because of this parameter.
    pub(super) fn may_be_about_parameter(&self, parameter: &str) -> bool {
        if self.kind != ErrorKind::Business {
            return false;
        }
        let code = self.code.as_deref().unwrap_or_default();
        let normalized_code = code.to_ascii_uppercase().replace(['.', '_'], "");
        let text = format!("{code} {}", self.detail).to_ascii_lowercase();
        text.contains(&parameter.to_ascii_lowercase())
            || PARAMETER_CODES.iter().any(|prefix| normalized_code.starts_with(prefix))
    }

    /// Whether new temporary credentials may help.
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
    has_payload: bool,
}

impl<'de, P: ResponsePayload<'de>> JsonObject<'de> for Envelope<'de, P> {
    fn read_field<A: MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        object: &mut A,
    ) -> Result<bool, A::Error> {
        match &*key {
            "Code" | "code" => self.code = object.next_value()?,
            "Success" | "success" => self.success = object.next_value()?,
            "Message" | "message" => self.message = object.next_value()?,
            "RequestId" | "requestId" => self.request_id = object.next_value()?,
            other => {
                self.has_payload |= other == P::KEY;
                return self.payload.read_field(key, object);
            }
        }
        Ok(true)
    }
}

/// Reads a response and converts its payload.
pub(super) fn read<'de, P: ResponsePayload<'de>, T>(
    response: &'de RawResponse<'_>,
    convert: impl FnOnce(P) -> Result<T, DiscardedResponse>,
) -> Result<ApiResponse<T>, CallFailure> {
    let text = body_text(response);
    let parsed = text.as_ref().map_err(Clone::clone).and_then(|text| {
        let not_json = |problem| xml_failure(response, text).unwrap_or_else(|| not_json(response, problem));
        parse::<Envelope<'de, P>>(text).map_err(not_json)
    });
    if !(200..300).contains(&response.status) {
        return Err(match parsed {
            Ok(envelope) => rejection(response, envelope.code, envelope.message, envelope.request_id),
            Err(failure) if failure.kind != ErrorKind::Decode => failure,
            Err(_) => rejection(response, Field::Null, Field::Null, Field::Null),
        });
    }
    let envelope = parsed?;
    let is_good_code = match &envelope.code {
        Field::Missing | Field::Null => true,
        Field::Value(code) => code.trim() == "200",
        Field::WrongType | Field::OutOfRange => false,
    };
    let is_success = match envelope.success {
        Field::Missing | Field::Null => true,
        Field::Value(success) => success,
        Field::WrongType | Field::OutOfRange => {
            return Err(CallFailure::new(ErrorKind::Decode, "Success is neither true nor false"));
        }
    };
    if !(is_good_code && is_success) {
        return Err(rejection(response, envelope.code, envelope.message, envelope.request_id));
    }
    let is_of_this_api = matches!(envelope.success, Field::Value(true))
        || matches!(envelope.code, Field::Value(_))
        || matches!(envelope.request_id, Field::Value(_));
    let request_id = envelope.request_id.value().map(Cow::into_owned);
    let converted = if envelope.has_payload {
        convert(envelope.payload)
    } else if is_of_this_api {
        Err(DiscardedResponse::new(AnomalyKind::Type, format_args!("the response has no {}", P::KEY)))
    } else {
        return Err(CallFailure::new(ErrorKind::Decode, "the body is not a response of this API"));
    };
    match converted {
        Ok(payload) => Ok(ApiResponse { payload, request_id }),
        Err(discarded) => Err(CallFailure { request_id, ..discarded.into() }),
    }
}

/// Returns the body as text, without a byte order mark.
fn body_text<'r>(response: &'r RawResponse<'_>) -> Result<&'r str, CallFailure> {
    let body = response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body);
    match std::str::from_utf8(body) {
        Ok(text) if text.trim().is_empty() => Err(CallFailure::new(ErrorKind::Decode, "the body is empty")),
        Ok(text) => Ok(text),
        Err(error) => {
            let byte = error.valid_up_to();
            Err(CallFailure::new(ErrorKind::Decode, format!("the body is not UTF-8 from byte {byte} on")))
        }
    }
}

/// Parses a JSON object. Errors give the position and none of the content.
fn parse<'de, T: JsonObject<'de>>(text: &'de str) -> Result<T, String> {
    match serde_json::from_str(text) {
        Ok(Field::Value(object)) => Ok(object),
        Ok(_) => Err("the JSON is not an object".to_owned()),
        Err(error) if error.is_eof() => Err(format!("the JSON ends too early, at byte {}", text.len())),
        Err(error) => {
            let lines_before = text.split_inclusive('\n').take(error.line().saturating_sub(1));
            let byte = lines_before.map(str::len).sum::<usize>() + error.column();
            Err(format!("invalid JSON at byte {byte}"))
        }
    }
}

fn not_json(response: &RawResponse<'_>, problem: String) -> CallFailure {
    let detail = match response.content_type.as_deref() {
        Some(other) if !other.to_ascii_lowercase().contains("json") => {
            format!("{problem}; the content type is {other}")
        }
        _ => problem,
    };
    CallFailure::new(ErrorKind::Decode, detail)
}

/// Reads an XML error. The gateway sends some errors as XML whatever format was requested.
fn xml_failure(response: &RawResponse<'_>, text: &str) -> Option<CallFailure> {
    if !text.trim_start().starts_with('<') {
        return None;
    }
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (content, _) = rest.split_once(&format!("</{name}>"))?;
        (!content.contains('<')).then_some(content)
    };
    let code = element("Code").filter(|code| *code != "200")?;
    let field = |name| element(name).map_or(Field::Null, |text| Field::Value(text.into()));
    Some(rejection(response, Field::Value(code.into()), field("Message"), field("RequestId")))
}

fn rejection(
    response: &RawResponse<'_>,
    code: TextField<'_>,
    message: TextField<'_>,
    request_id: TextField<'_>,
) -> CallFailure {
    let code = code.value().map(|code| code.trim().to_owned());
    let detail = match message.value() {
        Some(message) => message.into_owned(),
        None if code.is_some() => format!("HTTP {} without a message", response.status),
        None => format!("HTTP {} without a code", response.status),
    };
    CallFailure {
        kind: classify(response.status, code.as_deref()),
        request_id: request_id.value().map(Cow::into_owned),
        code,
        detail,
        retry_after: response.retry_after,
        discarded: None,
    }
}

/// Classifies a rejection by its error code, or by the HTTP status if the code is unknown.
///
/// `BIZ_REGION_NOT_FOUND` is [`ErrorKind::Business`]: regions are configured, so it must not delete anything.
fn classify(status: u16, code: Option<&str>) -> ErrorKind {
    let code = code.unwrap_or_default().to_ascii_uppercase().replace('.', "_");
    let contains_any = |parts: &[&str]| parts.iter().any(|part| code.contains(part));
    let starts_with_any = |prefixes: &[&str]| prefixes.iter().any(|prefix| code.starts_with(prefix));

    if contains_any(&["THROTTL", "FLOW_CONTROL", "FLOWCONTROL"]) {
        return ErrorKind::Throttled;
    }
    if starts_with_any(&["INVALIDTIMESTAMP", "ILLEGALTIMESTAMP", "SIGNATURENONCEUSED"]) {
        return ErrorKind::Clock;
    }
    if contains_any(&["INSTANCE_STATUS_ERROR", "INSTANCE_NOT_FOUND"])
        || code.starts_with("AUTH_RESOURCE_OWNER_ERROR")
    {
        return ErrorKind::Gone { instance: true };
    }
    if contains_any(&["TOPIC_NOT_FOUND", "SUBSCRIPTION_NOT_FOUND", "CONSUMER_NOT_FOUND", "GROUP_NOT_FOUND"]) {
        return ErrorKind::Gone { instance: false };
    }
    if starts_with_any(&[
        "INVALIDACCESSKEY",
        "SIGNATUREDOESNOTMATCH",
        "INCOMPLETESIGNATURE",
        "INVALIDSECURITYTOKEN",
        "SECURITYTOKENEXPIRED",
        "MISSINGSECURITYTOKEN",
    ]) {
        return ErrorKind::Auth { key: true };
    }
    if starts_with_any(&["NOPERMISSION", "FORBIDDEN", "UNAUTHORIZED", "ACCESSDENIED", "AUTH_"]) {
        return ErrorKind::Auth { key: false };
    }
    if starts_with_any(&[
        "INTERNALERROR",
        "SERVICEUNAVAILABLE",
        "ONS_SYSTEM_ERROR",
        "ONS_INVOKE_ERROR",
        "SYSTEMERROR",
    ]) {
        return ErrorKind::Server;
    }
    // A numeric code overrides the HTTP status, because some failed responses have HTTP status 200.
    let status = code.parse().ok().filter(|status| (400..600).contains(status)).unwrap_or(status);
    match status {
        429 => ErrorKind::Throttled,
        401 | 403 => ErrorKind::Auth { key: false },
        408 => ErrorKind::Timeout,
        500..600 => ErrorKind::Server,
        _ => ErrorKind::Business,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::wire::{InstanceListResponse, ProgressResponse},
        *,
    };

    fn response(status: u16, body: impl Into<Vec<u8>>) -> RawResponse<'static> {
        RawResponse { status, body: Cow::Owned(body.into()), ..RawResponse::ok(&[]) }
    }

    fn read_instances(response: &RawResponse<'_>) -> Result<(), CallFailure> {
        read(response, |_: InstanceListResponse<'_>| Ok(())).map(|response| response.payload)
    }

    fn read_progress(response: &RawResponse<'_>) -> Result<(), CallFailure> {
        read(response, |_: ProgressResponse<'_>| Ok(())).map(|response| response.payload)
    }

    fn read_error_kind(status: u16, body: &str) -> Result<(), ErrorKind> {
        read_instances(&response(status, body)).map(|_| ()).map_err(|failure| failure.kind)
    }

    #[test]
    fn success_requires_status_and_code_and_success() {
        for body in [
            r#"{"Code":200,"Success":true,"InstanceList":[]}"#,
            r#"{"Code":"200","Success":"true","InstanceList":[]}"#,
            r#"{"code":200,"success":1,"InstanceList":[]}"#,
            r#"{"InstanceList":[]}"#,
            r#"{"Code":null,"Success":null,"InstanceList":null}"#,
            "\u{feff}{\"InstanceList\":[]}",
            r#"{"InstanceList":[],"InstanceList":[],"Code":1,"Code":200}"#,
        ] {
            assert_eq!(read_error_kind(200, body), Ok(()), "{body}");
            assert_ne!(read_error_kind(500, body), Ok(()), "{body}");
        }
        assert_eq!(read_error_kind(200, r#"{"Code":200,"Success":false}"#), Err(ErrorKind::Business));
        assert_eq!(read_error_kind(200, r#"{"Code":"200","Success":"false"}"#), Err(ErrorKind::Business));
        assert_eq!(read_error_kind(200, r#"{"Code":200,"Success":0}"#), Err(ErrorKind::Business));
        assert_eq!(read_error_kind(200, r#"{"Code":500,"Success":true}"#), Err(ErrorKind::Server));
        assert_eq!(read_error_kind(200, r#"{"Code":{},"Success":true}"#), Err(ErrorKind::Business));
        assert_eq!(read_error_kind(200, r#"{"Success":"perhaps"}"#), Err(ErrorKind::Decode));
        let failure = read_instances(&response(200, r#"{"RequestId":"R"}"#)).unwrap_err();
        assert_eq!((failure.kind, failure.request_id.as_deref()), (ErrorKind::Decode, Some("R")));
    }

    #[test]
    fn failures_are_classified_by_code_or_else_by_status() {
        let gone = |instance| ErrorKind::Gone { instance };
        let unauthorized = |key| ErrorKind::Auth { key };
        for (status, code, kind) in [
            (400, "Throttling", ErrorKind::Throttled),
            (400, "Throttling.User", ErrorKind::Throttled),
            (503, "Throttling.Api", ErrorKind::Throttled),
            (400, "Rejected.Throttling", ErrorKind::Throttled),
            (400, "ONS_SYSTEM_FLOW_CONTROL", ErrorKind::Throttled),
            (400, "ServiceUnavailable", ErrorKind::Server),
            (400, "InternalError", ErrorKind::Server),
            (400, "ONS_SYSTEM_ERROR", ErrorKind::Server),
            (400, "ONS_INVOKE_ERROR", ErrorKind::Server),
            (502, "SomethingNew", ErrorKind::Server),
            (400, "BIZ_TOPIC_NOT_FOUND", gone(false)),
            (400, "BIZ_SUBSCRIPTION_NOT_FOUND", gone(false)),
            (500, "BIZ_SUBSCRIPTION_NOT_FOUND", gone(false)),
            (400, "BIZ_INSTANCE_STATUS_ERROR", gone(true)),
            (400, "BIZ.INSTANCE.STATUS.ERROR", gone(true)),
            (400, "AUTH_RESOURCE_OWNER_ERROR", gone(true)),
            (404, "INSTANCE_NOT_FOUND", gone(true)),
            (400, "BIZ_REGION_NOT_FOUND", ErrorKind::Business),
            (400, "BIZ_FIELD_CHECK_INVALID", ErrorKind::Business),
            (400, "MissingParameter", ErrorKind::Business),
            (404, "InvalidAction.NotFound", ErrorKind::Business),
            (404, "InvalidAccessKeyId.NotFound", unauthorized(true)),
            (400, "InvalidAccessKeyId.Inactive", unauthorized(true)),
            (400, "SignatureDoesNotMatch", unauthorized(true)),
            (400, "IncompleteSignature", unauthorized(true)),
            (400, "InvalidSecurityToken.Expired", unauthorized(true)),
            (403, "NoPermission", unauthorized(false)),
            (403, "Forbidden.RAM", unauthorized(false)),
            (400, "AUTH_PERMISSION_CHECK_ERROR", unauthorized(false)),
            (400, "AUTH_SERVICE_CHECK_ERROR", unauthorized(false)),
            (400, "InvalidTimeStamp.Expired", ErrorKind::Clock),
            (400, "SignatureNonceUsed", ErrorKind::Clock),
            (429, "", ErrorKind::Throttled),
            (401, "", unauthorized(false)),
            (403, "Unknown", unauthorized(false)),
            (500, "", ErrorKind::Server),
            (404, "", ErrorKind::Business),
            (400, "Unknown", ErrorKind::Business),
        ] {
            for key in ["Code", "code"] {
                let body = format!(r#"{{"{key}":"{code}","Message":"m","RequestId":"R","HostId":"h"}}"#);
                assert_eq!(read_error_kind(status, &body), Err(kind), "{status} {code}");
            }
        }
    }

    #[test]
    fn a_failure_code_counts_with_status_200() {
        let body =
            r#"{"Success":false,"Code":"BIZ_TOPIC_NOT_FOUND","message":"no such topic","requestId":"R-9"}"#;
        let failure = read_instances(&response(200, body)).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Gone { instance: false });
        assert_eq!(failure.code.as_deref(), Some("BIZ_TOPIC_NOT_FOUND"));
        assert_eq!(failure.request_id.as_deref(), Some("R-9"));
        assert_eq!(failure.detail, "no such topic");
    }

    #[test]
    fn bodies_other_than_json_are_classified_by_status_or_unreadable() {
        let html = "<html><body>502 Bad Gateway</body></html>";
        assert_eq!(read_error_kind(502, html), Err(ErrorKind::Server));
        assert_eq!(read_error_kind(200, html), Err(ErrorKind::Decode));
        assert_eq!(read_error_kind(429, html), Err(ErrorKind::Throttled));
        assert_eq!(read_error_kind(400, html), Err(ErrorKind::Business));
        let xml = "<?xml version='1.0'?><Error><RequestId>R-1</RequestId><Code>Throttling.User</Code>\
               <Message>slow down</Message></Error>";
        assert_eq!(read_error_kind(400, xml), Err(ErrorKind::Throttled));
        assert_eq!(read_error_kind(200, xml), Err(ErrorKind::Throttled));
        assert_eq!(
            read_error_kind(200, "<R><Code>200</Code><Success>true</Success></R>"),
            Err(ErrorKind::Decode)
        );
        for body in
            ["", " \n", "[]", "null", "5", "\"x\"", "{}", r#"{"Hello":1}"#, r#"{"Code":200} trailing"#]
        {
            assert_eq!(read_error_kind(200, body), Err(ErrorKind::Decode), "{body:?}");
            assert_eq!(read_error_kind(503, body), Err(ErrorKind::Server), "{body:?}");
        }
    }

    #[test]
    fn invalid_text_and_deep_nesting_cost_only_the_body() {
        let bad_byte = [br#"{"RequestId":""#.as_slice(), b"\xff", br#"","InstanceList":[]}"#].concat();
        let failure = read_instances(&response(200, bad_byte)).unwrap_err();
        assert_eq!(
            (failure.kind, failure.detail.as_str()),
            (ErrorKind::Decode, "the body is not UTF-8 from byte 14 on")
        );
        let lone = r#"{"InstanceList":[{"InstanceId":"\ud800"}]}"#;
        assert_eq!(read_error_kind(200, lone), Err(ErrorKind::Decode));
        let deep = format!(r#"{{"InstanceList":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(read_error_kind(200, &deep), Ok(()) | Err(ErrorKind::Decode)));
        let wrapped =
            format!(r#"{{"InstanceList":{}1{}}}"#, r#"{"InstanceVO":"#.repeat(200), "}".repeat(200));
        assert_eq!(read_error_kind(200, &wrapped), Err(ErrorKind::Decode));
    }

    #[test]
    fn errors_of_invalid_json_contain_position_and_content_type_but_no_content() {
        let mut html = response(200, "<html>Canary</html>");
        html.content_type = Some("text/html".to_owned());
        let failure = read_instances(&html).unwrap_err();
        assert_eq!(failure.detail, "invalid JSON at byte 1; the content type is text/html");
        let cut = response(200, "{\n\"InstanceList\": [{\"InstanceId\":\"Cana");
        assert_eq!(read_instances(&cut).unwrap_err().detail, "the JSON ends too early, at byte 38");
    }

    const GOLDEN: &str = include_str!("../../tests/fixtures/api/GetConsumerProgress/served.json");

    proptest! {
        #[test]
        fn a_truncated_response_is_never_accepted(at in 0..GOLDEN.trim_end().len()) {
            let cut = response(200, &GOLDEN.as_bytes()[..at]);
            let failure = read_progress(&cut).unwrap_err();
            prop_assert_eq!(failure.kind, ErrorKind::Decode);
        }

        #[test]
        fn no_body_causes_a_panic(status in 200u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_progress(&response(status, body));
        }
    }
}
