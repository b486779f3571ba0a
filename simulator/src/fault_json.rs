//! Parses faults from JSON, for the admin path `/_sim/faults`.
//!
//! Accepts an object or a list of objects. `effect` is required. `action`, `region`, `instance` and `object`
//! filter calls; `nth`, `every`, or `probability` with `seed` select among them; `times` limits the applications.
//! Rejects: unknown names, because a misspelled filter would otherwise match every call.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::faults::{Effect, Fault, Occurrence};

/// Parses faults.
///
/// # Errors
/// Returns a description of the first problem.
pub(crate) fn parse_faults(body: &[u8]) -> Result<Vec<Fault>, String> {
    match serde_json::from_slice(body).map_err(|e| format!("invalid JSON: {e}"))? {
        Value::Array(items) => items.into_iter().map(fault).collect(),
        one => Ok(vec![fault(one)?]),
    }
}

fn fault(value: Value) -> Result<Fault, String> {
    let Value::Object(map) = value else { return Err("a fault must be an object".to_owned()) };
    let mut fields = FaultFields(map);
    let effect = effect(&mut fields)?;
    let occurrence = match (fields.number("nth")?, fields.number("every")?, fields.take("probability")) {
        (None, None, None) => Occurrence::All,
        (Some(n), None, None) => Occurrence::Nth(n),
        (None, Some(n), None) => Occurrence::Every(n),
        (None, None, Some(p)) => {
            let p =
                p.as_f64().filter(|p| (0.0..=1.0).contains(p)).ok_or("probability must be from 0 to 1")?;
            Occurrence::Probability(p, fields.number("seed")?.unwrap_or(1))
        }
        _ => return Err("nth, every and probability are mutually exclusive".to_owned()),
    };
    let fault = Fault {
        action: fields.text("action")?,
        region: fields.text("region")?,
        instance: fields.text("instance")?,
        object: fields.text("object")?,
        times: fields.number("times")?,
        occurrence,
        effect,
    };
    match fields.0.keys().next() {
        None => Ok(fault),
        Some(unknown) => Err(format!("unknown field {unknown}")),
    }
}

fn effect(fields: &mut FaultFields) -> Result<Effect, String> {
    let name = fields.text("effect")?.ok_or("effect is required")?;
    Ok(match name.as_str() {
        "error" => {
            let message = fields.text("message")?.unwrap_or_else(|| "Injected by the simulator.".to_owned());
            Effect::Error { status: fields.status(503)?, code: fields.code("ServiceUnavailable")?, message }
        }
        "throttle" => Effect::Throttle {
            status: fields.status(400)?,
            code: fields.code("Throttling.User")?,
            retry_after_ms: fields.number("retry_after_ms")?,
        },
        "echo" => Effect::Echo { status: fields.status(400)?, code: fields.code("Echo")? },
        "html" => Effect::Html { status: fields.status(502)? },
        "xml_error" => {
            Effect::XmlError { status: fields.status(503)?, code: fields.code("ServiceUnavailable")? }
        }
        "latency" => Effect::Latency(fields.millis()?),
        "drip" => Effect::Drip(fields.millis()?),
        "truncate" => Effect::Truncate(fields.bytes()?),
        "cut_body" => Effect::CutBody(fields.bytes()?),
        "hang_body" => Effect::HangBody(fields.bytes()?),
        "oversized" => {
            Effect::Oversized { bytes: fields.number("bytes")?.ok_or("bytes is required")?, declared: false }
        }
        "empty_list" => Effect::EmptyList,
        "null_list" => Effect::NullList,
        "unknown_fields" => Effect::UnknownFields,
        "close" => Effect::Close,
        "reset" => Effect::Reset,
        "hang" => Effect::Hang,
        _ => return Err(format!("unknown effect {name}")),
    })
}

/// Fields of a fault that are not parsed yet.
struct FaultFields(Map<String, Value>);

impl FaultFields {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name} must be a string")),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        self.take(name).map(|v| v.as_u64().ok_or_else(|| format!("{name} must be an integer"))).transpose()
    }

    fn status(&mut self, default: u16) -> Result<u16, String> {
        let status = self.number("status")?.unwrap_or_else(|| default.into());
        u16::try_from(status)
            .ok()
            .filter(|s| (200..600).contains(s))
            .ok_or_else(|| "status must be from 200 to 599".to_owned())
    }

    fn code(&mut self, default: &str) -> Result<String, String> {
        Ok(self.text("code")?.unwrap_or_else(|| default.to_owned()))
    }

    fn millis(&mut self) -> Result<Duration, String> {
        Ok(Duration::from_millis(self.number("ms")?.ok_or("ms is required")?))
    }

    fn bytes(&mut self) -> Result<usize, String> {
        let bytes = self.number("bytes")?.ok_or("bytes is required")?;
        usize::try_from(bytes).map_err(|_| "bytes is too large".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_effects_and_filters() {
        let parsed = parse_faults(
            br#"[{"effect": "error", "status": 503, "action": "GetTopicStatus", "probability": 0.05, "seed": 7},
                {"effect": "latency", "ms": 250, "region": "a", "instance": "i", "object": "o", "every": 3, "times": 2}]"#,
        )
        .unwrap();
        assert_eq!(
            (parsed[0].action.as_deref(), parsed[0].occurrence),
            (Some("GetTopicStatus"), Occurrence::Probability(0.05, 7))
        );
        assert!(
            matches!(&parsed[0].effect, Effect::Error { status: 503, code, .. } if code == "ServiceUnavailable")
        );
        assert!(matches!(parsed[1].effect, Effect::Latency(d) if d == Duration::from_millis(250)));
        assert_eq!((parsed[1].occurrence, parsed[1].times), (Occurrence::Every(3), Some(2)));
        assert_eq!(parse_faults(br#"{"effect": "hang"}"#).unwrap().len(), 1);
    }

    #[test]
    fn rejects_invalid_faults() {
        for (body, expected) in [
            ("", "invalid JSON"),
            ("[1]", "must be an object"),
            ("{}", "effect is required"),
            (r#"{"effect": "sneeze"}"#, "unknown effect sneeze"),
            (r#"{"effect": "hang", "acton": "x"}"#, "unknown field acton"),
            (r#"{"effect": "hang", "nth": 1, "every": 2}"#, "mutually exclusive"),
            (r#"{"effect": "hang", "probability": 5}"#, "from 0 to 1"),
            (r#"{"effect": "latency"}"#, "ms is required"),
            (r#"{"effect": "error", "status": 99}"#, "status must be"),
        ] {
            let error = parse_faults(body.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{body}: {error}");
        }
    }
}
