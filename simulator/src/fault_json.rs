//! Faults as JSON, for the admin path `/_sim/faults`.
//!
//! An object a fault, or a list of them. `effect` names what happens; `action`, `region`, `instance` and
//! `object` say to which calls; `nth`, `every` or `probability` with `seed` to which of these; `times` how
//! often. Refuses: a name that it does not know, so that a typing error is no fault that never happens.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::faults::{Effect, Fault, Occurrence};

/// Reads faults.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn faults(body: &[u8]) -> Result<Vec<Fault>, String> {
    match serde_json::from_slice(body).map_err(|e| format!("no JSON: {e}"))? {
        Value::Array(items) => items.into_iter().map(fault).collect(),
        one => Ok(vec![fault(one)?]),
    }
}

fn fault(value: Value) -> Result<Fault, String> {
    let Value::Object(map) = value else { return Err("a fault is an object".to_owned()) };
    let mut fields = FaultFields(map);
    let effect = effect(&mut fields)?;
    let occurrence = match (fields.number("nth")?, fields.number("every")?, fields.take("probability")) {
        (None, None, None) => Occurrence::All,
        (Some(n), None, None) => Occurrence::Nth(n),
        (None, Some(n), None) => Occurrence::Every(n),
        (None, None, Some(p)) => {
            let p = p.as_f64().filter(|p| (0.0..=1.0).contains(p)).ok_or("probability is from 0 to 1")?;
            Occurrence::Probability(p, fields.number("seed")?.unwrap_or(1))
        }
        _ => return Err("nth, every and probability exclude each other".to_owned()),
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
    let name = fields.text("effect")?.ok_or("a fault needs an effect")?;
    Ok(match name.as_str() {
        "error" => {
            let message = fields.text("message")?.unwrap_or_else(|| "A fault of the simulator.".to_owned());
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
            Effect::Oversized { bytes: fields.number("bytes")?.ok_or("bytes are needed")?, declared: false }
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

/// The fields of a fault that are not read yet.
struct FaultFields(Map<String, Value>);

impl FaultFields {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name} is a string")),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        let number = self.take(name).map(|v| v.as_u64().ok_or_else(|| format!("{name} is a whole number")));
        number.transpose()
    }

    fn status(&mut self, usual: u16) -> Result<u16, String> {
        let status = self.number("status")?.unwrap_or_else(|| usual.into());
        u16::try_from(status).ok().filter(|s| (200..600).contains(s)).ok_or_else(|| "a bad status".to_owned())
    }

    fn code(&mut self, usual: &str) -> Result<String, String> {
        Ok(self.text("code")?.unwrap_or_else(|| usual.to_owned()))
    }

    fn millis(&mut self) -> Result<Duration, String> {
        Ok(Duration::from_millis(self.number("ms")?.ok_or("ms are needed")?))
    }

    fn bytes(&mut self) -> Result<usize, String> {
        let bytes = self.number("bytes")?.ok_or("bytes are needed")?;
        usize::try_from(bytes).map_err(|_| "too many bytes".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_with_its_effect_and_the_calls_that_it_meets() {
        let read = faults(
            br#"[{"effect": "error", "status": 503, "action": "GetTopicStatus", "probability": 0.05, "seed": 7},
                {"effect": "latency", "ms": 250, "region": "a", "instance": "i", "object": "o", "every": 3, "times": 2}]"#,
        )
        .unwrap();
        assert_eq!(
            (read[0].action.as_deref(), read[0].occurrence),
            (Some("GetTopicStatus"), Occurrence::Probability(0.05, 7))
        );
        assert!(
            matches!(&read[0].effect, Effect::Error { status: 503, code, .. } if code == "ServiceUnavailable")
        );
        assert!(matches!(read[1].effect, Effect::Latency(d) if d == Duration::from_millis(250)));
        assert_eq!((read[1].occurrence, read[1].times), (Occurrence::Every(3), Some(2)));
        assert_eq!(faults(br#"{"effect": "hang"}"#).unwrap().len(), 1);
    }

    #[test]
    fn what_is_not_understood_is_no_fault() {
        for (body, why) in [
            ("", "no JSON"),
            ("[1]", "an object"),
            ("{}", "an effect"),
            (r#"{"effect": "sneeze"}"#, "unknown effect sneeze"),
            (r#"{"effect": "hang", "acton": "x"}"#, "unknown field acton"),
            (r#"{"effect": "hang", "nth": 1, "every": 2}"#, "exclude each other"),
            (r#"{"effect": "hang", "probability": 5}"#, "from 0 to 1"),
            (r#"{"effect": "latency"}"#, "ms are needed"),
            (r#"{"effect": "error", "status": 99}"#, "bad status"),
        ] {
            let told = faults(body.as_bytes()).unwrap_err();
            assert!(told.contains(why), "{body}: {told}");
        }
    }
}
