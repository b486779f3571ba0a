//! Parses faults from JSON, for the admin path `/_sim/faults`.
//!
//! Accepts an object or a list of objects. `effect` is required. `action`, `region`, `instance` and `object`
//! filter calls; `nth`, `every`, or `probability` with `seed` select among them; `times` limits the applications.
//! Rejects: unknown names, because a misspelled filter would otherwise match every call.

use std::time::Duration;

use serde::Deserialize;

use crate::faults::{Effect, Fault, Occurrence};

#[derive(Deserialize)]
#[serde(untagged)]
enum FaultList {
    Many(Vec<serde_json::Value>),
    One(serde_json::Value),
}

/// A fault, with the parameters of all effects.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a fault object")]
struct FaultJson {
    effect: String,
    action: Option<String>,
    region: Option<String>,
    instance: Option<String>,
    object: Option<String>,
    nth: Option<u64>,
    every: Option<u64>,
    probability: Option<f64>,
    seed: Option<u64>,
    times: Option<u64>,
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
    retry_after_ms: Option<u64>,
    ms: Option<u64>,
    bytes: Option<usize>,
}

/// Parses faults.
///
/// # Errors
/// Returns a description of the first problem.
pub(crate) fn parse_faults(body: &[u8]) -> Result<Vec<Fault>, String> {
    let faults = match serde_json::from_slice(body).map_err(|e| format!("invalid JSON: {e}"))? {
        FaultList::Many(faults) => faults,
        FaultList::One(fault) => vec![fault],
    };
    let parse =
        |value| serde_json::from_value(value).map_err(|e| e.to_string()).and_then(FaultJson::into_fault);
    faults.into_iter().map(parse).collect()
}

impl FaultJson {
    fn into_fault(self) -> Result<Fault, String> {
        let occurrence = match (self.nth, self.every, self.probability) {
            (None, None, None) => Occurrence::All,
            (Some(n), None, None) => Occurrence::Nth(n),
            (None, Some(n), None) => Occurrence::Every(n),
            (None, None, Some(p)) if (0.0..=1.0).contains(&p) => {
                Occurrence::Probability(p, self.seed.unwrap_or(1))
            }
            (None, None, Some(_)) => return Err("probability must be from 0 to 1".to_owned()),
            _ => return Err("nth, every and probability are mutually exclusive".to_owned()),
        };
        if self.status.is_some_and(|s| !(200..600).contains(&s)) {
            return Err("status must be from 200 to 599".to_owned());
        }
        let effect = self.effect()?;
        let Self { action, region, instance, object, times, .. } = self;
        Ok(Fault { action, region, instance, object, occurrence, times, effect })
    }

    fn effect(&self) -> Result<Effect, String> {
        let status = |default: u16| self.status.unwrap_or(default);
        let code = |default: &str| self.code.clone().unwrap_or_else(|| default.to_owned());
        let ms = || self.ms.map(Duration::from_millis).ok_or("ms is required");
        let bytes = || self.bytes.ok_or("bytes is required");
        Ok(match self.effect.as_str() {
            "error" => {
                let message = self.message.clone();
                let message = message.unwrap_or_else(|| "Injected by the simulator.".to_owned());
                Effect::Error { status: status(503), code: code("ServiceUnavailable"), message }
            }
            "throttle" => Effect::Throttle {
                status: status(400),
                code: code("Throttling.User"),
                retry_after_ms: self.retry_after_ms,
            },
            "echo" => Effect::Echo { status: status(400), code: code("Echo") },
            "html" => Effect::Html { status: status(502) },
            "xml_error" => Effect::XmlError { status: status(503), code: code("ServiceUnavailable") },
            "latency" => Effect::Latency(ms()?),
            "drip" => Effect::Drip(ms()?),
            "truncate" => Effect::Truncate(bytes()?),
            "cut_body" => Effect::CutBody(bytes()?),
            "hang_body" => Effect::HangBody(bytes()?),
            "oversized" => Effect::Oversized { bytes: bytes()? as u64, declared: false },
            "empty_list" => Effect::EmptyList,
            "null_list" => Effect::NullList,
            "unknown_fields" => Effect::UnknownFields,
            "close" => Effect::Close,
            "reset" => Effect::Reset,
            "hang" => Effect::Hang,
            name => return Err(format!("unknown effect {name}")),
        })
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
            ("[1]", "expected a fault object"),
            ("{}", "missing field `effect`"),
            (r#"{"effect": "sneeze"}"#, "unknown effect sneeze"),
            (r#"{"effect": "hang", "acton": "x"}"#, "unknown field `acton`"),
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
