//! Responses: error bodies, and the faults that replace, change or delay a response.
//!
//! Out of scope: the content of successful responses; see `actions` for the management API and
//! `credential_services` for keys.

use std::{fmt::Write as _, sync::Mutex, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::{
    faults::Effect, mutate::mutate, request::ApiCall, served::ServedResponse, sign, sync::lock,
    wire::ErrorResponse,
};

/// A response with its delivery.
pub(crate) struct ApiResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Effect that closes, resets, delays or cuts the response.
    pub(crate) delivery: Option<Effect>,
    /// Recorded when the last byte is handed to the connection.
    pub(crate) served: Option<ServedResponse>,
    /// `Code`, for the call log.
    pub(crate) code: String,
}

impl ApiResponse {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>, code: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            body: body.into(),
            delivery: None,
            served: None,
            code: code.to_owned(),
        }
    }

    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>, code: &str) -> Self {
        Self::new(status, "application/json;charset=utf-8", body, code)
    }

    /// Returns a successful response with the effects of faults, and whether it is still true and complete.
    pub(crate) fn with_effects(action: &str, mut body: Value, effects: &[Effect]) -> (Self, bool) {
        let mut is_true = true;
        // Delivery faults do not change the body. Whether it arrived is known when it ends.
        for effect in effects.iter().filter(|e| !is_delivery(e) && !matches!(e, Effect::Truncate(_))) {
            is_true &= mutate(effect, action, &mut body);
        }
        let mut response = Self::json(200, body.to_string(), "200");
        response.apply_delivery_effects(effects);
        (response, is_true && !effects.iter().any(|e| matches!(e, Effect::Truncate(_))))
    }

    /// Truncates the body, sets the `Date`, and selects the delivery.
    pub(crate) fn apply_delivery_effects(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Truncate(at) => self.body.truncate(*at),
                Effect::Date(date) => self.headers.push(("date", date.clone().unwrap_or_default())),
                _ => {}
            }
        }
        self.delivery = effects.iter().find(|e| is_delivery(e)).cloned();
    }

    /// Adds the `Date`, unless a fault has set or removed it.
    pub(crate) fn with_date(mut self, now_ms: i64) -> Self {
        if !self.headers.iter().any(|(name, _)| *name == "date") {
            let date = jiff::Timestamp::from_millisecond(now_ms).ok().and_then(|t| {
                jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&t).ok()
            });
            self.headers.push(("date", date.unwrap_or_default()));
        }
        self.headers.retain(|(_, value)| !value.is_empty());
        self
    }
}

/// Common fields of error bodies.
#[derive(Clone, Copy)]
pub(crate) struct ErrorEnvelope<'e> {
    /// `HostId`.
    pub(crate) host: &'e str,
    /// `RequestId`.
    pub(crate) request_id: &'e str,
}

impl ErrorEnvelope<'_> {
    /// Returns an error response in JSON or, the default of the v1 protocol, in XML.
    pub(crate) fn error(&self, error: &ErrorResponse, json: bool) -> ApiResponse {
        let mut response = if json {
            let body = error.to_json(self.request_id, self.host);
            ApiResponse::json(error.status, body.to_string(), &error.code)
        } else {
            let body = error.to_xml(self.request_id, self.host);
            ApiResponse::new(error.status, "text/xml;charset=utf-8", body, &error.code)
        };
        if let Some(ms) = error.retry_after_ms {
            response.headers.push(("x-acs-retry-after", ms.to_string()));
        }
        response
    }

    /// Returns the response of the first fault that replaces the successful response.
    pub(crate) fn replacement(&self, effects: &[Effect], call: &ApiCall) -> Option<ApiResponse> {
        effects.iter().find_map(|effect| self.replaced_by(effect, call))
    }

    fn replaced_by(&self, effect: &Effect, call: &ApiCall) -> Option<ApiResponse> {
        let error = |status: u16, code: &str, message: &str| ErrorResponse::new(status, code, message);
        Some(match effect {
            Effect::Error { status, code, message } => self.error(&error(*status, code, message), true),
            Effect::Echo { status, code } => self.error(&error(*status, code, &echo(call)), true),
            Effect::Throttle { status, code, retry_after_ms } => {
                self.error(&ErrorResponse::throttled(*status, code, *retry_after_ms), true)
            }
            Effect::LowerCaseError { status, code, message } => {
                let body = json!({ "code": code, "message": message, "requestId": self.request_id });
                ApiResponse::json(*status, body.to_string(), code)
            }
            Effect::SuccessFalse { code, message } => {
                let body = json!({ "Code": code, "Message": message, "RequestId": self.request_id, "Success": false });
                ApiResponse::json(200, body.to_string(), code)
            }
            Effect::Html { status } => {
                let body =
                    "<html><head><title>Error</title></head><body><h1>The gateway is busy</h1></body></html>";
                ApiResponse::new(*status, "text/html;charset=utf-8", body, "fault: html")
            }
            Effect::XmlError { status, code } => self.error(&error(*status, code, "An error in XML."), false),
            Effect::Raw { status, content_type, body } => {
                ApiResponse::new(*status, content_type, body.clone(), "fault: raw")
            }
            Effect::Redirect { status, location } => {
                let mut response = ApiResponse::new(*status, "text/html", Vec::new(), "fault: redirect");
                response.headers.push(("location", location.clone()));
                response
            }
            Effect::Close | Effect::Reset | Effect::Hang => {
                let code = format!("fault: {effect:?}").to_lowercase();
                ApiResponse { delivery: Some(effect.clone()), ..ApiResponse::json(0, Vec::new(), &code) }
            }
            _ => return None,
        })
    }
}

/// Returns the complete request: as received, and each value in every encoding that a careless log may use.
fn echo(call: &ApiCall) -> String {
    let mut text = format!("{} {}\n{}\n", call.method, call.target, String::from_utf8_lossy(&call.body));
    for (name, value) in call.headers.iter().chain(&call.query).chain(&call.form) {
        let base64 = STANDARD.encode(value);
        let (percent, hex) = (sign::percent_encode(value), sign::hex(value.as_bytes()));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value} {percent} {base64} {hex}");
    }
    text
}

/// Whether an effect applies to the delivery of a body.
fn is_delivery(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::CutBody(_)
            | Effect::ResetBody(_)
            | Effect::HangBody(_)
            | Effect::Drip(_)
            | Effect::Oversized { .. }
    )
}

/// Returns the latency that effects add to a response.
pub(crate) fn added_latency(effects: &[Effect]) -> Duration {
    effects.iter().filter_map(|e| if let Effect::Latency(d) = e { Some(*d) } else { None }).sum()
}

/// Returns a random `RequestId` in the format of the gateway.
pub(crate) fn request_id(rng: &Mutex<ChaCha8Rng>) -> String {
    let n: u128 = lock(rng).random();
    let hex = format!("{n:032X}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
