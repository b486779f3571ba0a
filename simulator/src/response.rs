//! A reply: what is answered and how, and what faults put in its place or do to it on its way.
//!
//! Owns: [`ApiResponse`] and the dressing of a good body by effects. Refuses: knowing what a good body says; that is
//! `actions` for the management API, and `stand` for the services that hand out keys.

use std::fmt::Write as _;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    body::Delivery, faults::Effect, management_api::ServedResponse, mutate::mutate, request::ApiCall, sign,
    wire, wire::ErrorResponse,
};

/// What is to be answered, and how.
pub(crate) struct ApiResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delivery: Delivery,
    /// To be remembered once the last byte is out.
    pub(crate) told: Option<ServedResponse>,
    /// For the ledger.
    pub(crate) code: String,
}

impl ApiResponse {
    pub(crate) fn new(status: u16, content_type: &str, body: Vec<u8>, code: &str) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status, headers, body, delivery: Delivery::Whole, told: None, code: code.to_owned() }
    }

    pub(crate) fn json(status: u16, body: Vec<u8>, code: &str) -> Self {
        Self::new(status, "application/json;charset=utf-8", body, code)
    }

    fn silent(delivery: Delivery, code: &str) -> Self {
        Self { status: 0, headers: Vec::new(), body: Vec::new(), delivery, told: None, code: code.to_owned() }
    }
    /// A good body with what effects do to it, and whether it is still the whole truth.
    pub(crate) fn with_effects(action: &str, mut body: Value, effects: &[Effect]) -> (Self, bool) {
        // An effect on the way of delivery leaves the body alone; the body's end tells whether it arrived.
        let mut whole = true;
        for effect in effects.iter().filter(|e| delivery(e).is_none() && !matches!(e, Effect::Truncate(_))) {
            whole &= mutate(effect, action, &mut body);
        }
        let mut reply = Self::json(200, body.to_string().into_bytes(), "200");
        whole &= reply.deliver(effects);
        (reply, whole)
    }

    /// Lets effects cut the body, date it, and choose how it goes out. `false` if the body was cut.
    pub(crate) fn deliver(&mut self, effects: &[Effect]) -> bool {
        let mut whole = true;
        for effect in effects {
            match effect {
                Effect::Truncate(at) => {
                    self.body.truncate(*at);
                    whole = false;
                }
                Effect::Date(date) => self.headers.push(("date", date.clone().unwrap_or_default())),
                _ => {}
            }
        }
        self.delivery = effects.iter().find_map(delivery).unwrap_or(Delivery::Whole);
        whole
    }

    /// The reply with its `Date`, unless a fault has set or emptied it.
    pub(crate) fn dated(mut self, now_ms: i64) -> Self {
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

/// Who answers and which call it is: what every error body is signed with.
#[derive(Clone, Copy)]
pub(crate) struct ErrorEnvelope<'e> {
    /// `HostId`.
    pub(crate) host: &'e str,
    /// `RequestId`.
    pub(crate) request_id: &'e str,
}

impl ErrorEnvelope<'_> {
    /// A refusal, in JSON or, as the v1 protocol has it by default, in XML.
    pub(crate) fn refused(&self, refusal: &ErrorResponse, json: bool) -> ApiResponse {
        let mut reply = if json {
            let body = wire::refusal_json(refusal, self.request_id, self.host, false);
            ApiResponse::json(refusal.status, body.to_string().into_bytes(), &refusal.code)
        } else {
            let body = wire::refusal_xml(refusal, self.request_id, self.host);
            ApiResponse::new(refusal.status, "text/xml;charset=utf-8", body.into_bytes(), &refusal.code)
        };
        if let Some(ms) = refusal.retry_after_ms {
            reply.headers.push(("x-acs-retry-after", ms.to_string()));
        }
        reply
    }

    /// What effects answer instead of anything good. The first of those that do so wins.
    pub(crate) fn instead(&self, effects: &[Effect], call: &ApiCall) -> Option<ApiResponse> {
        effects.iter().find_map(|effect| self.instead_of_good(effect, call))
    }

    fn instead_of_good(&self, effect: &Effect, call: &ApiCall) -> Option<ApiResponse> {
        let json = |status: u16, body: &Value, code: &str| {
            ApiResponse::json(status, body.to_string().into_bytes(), code)
        };
        Some(match effect {
            Effect::Error { status, code, message } => {
                self.refused(&ErrorResponse::new(*status, code.as_str(), message.as_str()), true)
            }
            Effect::Echo { status, code } => {
                self.refused(&ErrorResponse::new(*status, code.as_str(), echo(call)), true)
            }
            Effect::Throttle { status, code, retry_after_ms } => {
                let refusal = ErrorResponse::new(
                    *status,
                    code.as_str(),
                    "Request was denied due to user flow control.",
                );
                self.refused(&ErrorResponse { retry_after_ms: *retry_after_ms, ..refusal }, true)
            }
            Effect::LowerCaseError { status, code, message } => {
                let refusal = ErrorResponse::new(*status, code.as_str(), message.as_str());
                json(*status, &wire::refusal_json(&refusal, self.request_id, self.host, true), code)
            }
            Effect::SuccessFalse { code, message } => {
                let body = serde_json::json!({ "Code": code, "Message": message, "RequestId": self.request_id, "Success": false });
                json(200, &body, code)
            }
            Effect::Html { status } => {
                let page =
                    "<html><head><title>Error</title></head><body><h1>The gateway is busy</h1></body></html>";
                ApiResponse::new(*status, "text/html;charset=utf-8", page.into(), "fault: html")
            }
            Effect::XmlError { status, code } => {
                self.refused(&ErrorResponse::new(*status, code.as_str(), "An error in XML."), false)
            }
            Effect::Raw { status, content_type, body } => {
                ApiResponse::new(*status, content_type, body.clone(), "fault: raw")
            }
            Effect::Redirect { status, location } => {
                let mut reply = ApiResponse::new(*status, "text/html", Vec::new(), "fault: redirect");
                reply.headers.push(("location", location.clone()));
                reply
            }
            Effect::Close => ApiResponse::silent(Delivery::CloseFirst, "fault: close"),
            Effect::Reset => ApiResponse::silent(Delivery::ResetFirst, "fault: reset"),
            Effect::Hang => ApiResponse::silent(Delivery::HangFirst, "fault: hang"),
            _ => return None,
        })
    }
}

/// All that was sent: as it came, and each value in every form in which a careless log shows it.
fn echo(call: &ApiCall) -> String {
    let mut text = format!("{} {}\n{}\n", call.method, call.target, String::from_utf8_lossy(&call.body));
    for (name, value) in call.headers.iter().chain(&call.query).chain(&call.form) {
        let base64 = STANDARD.encode(value);
        let (percent, hex) = (sign::percent_encode(value), sign::hex(value.as_bytes()));
        // A string takes whatever is written.
        let _ = writeln!(text, "{name}: {value} {percent} {base64} {hex}");
    }
    text
}

/// How an effect has a good answer delivered.
fn delivery(effect: &Effect) -> Option<Delivery> {
    Some(match effect {
        Effect::CutBody(at) => Delivery::CloseAfter(*at),
        Effect::ResetBody(at) => Delivery::ResetAfter(*at),
        Effect::HangBody(at) => Delivery::HangAfter(*at),
        Effect::Drip(every) => Delivery::Drip(*every),
        Effect::Oversized { bytes, declared } => Delivery::Flood { bytes: *bytes, declared: *declared },
        _ => return None,
    })
}
