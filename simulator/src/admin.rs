//! Routes of the simulator: unsigned admin paths below `/_sim/`, for shells and scripts; all others are API calls.
//!
//! - `GET /_sim/truth`, `GET /_sim/served`, `GET /_sim/calls`, `GET /_sim/scenarios`
//! - `POST /_sim/advance?seconds=`, `POST /_sim/freeze`, `POST /_sim/unfreeze`
//! - `POST /_sim/recreate?instance=&topic=` deletes a topic and creates it again
//! - `POST /_sim/faults` with JSON (see `fault_json`) adds faults, `GET` returns how often each was applied,
//!   `DELETE` removes all
//!
//! Integers are exact. Times are Unix milliseconds of world time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    fault_json::parse_faults,
    management_api::ManagementApi,
    request::ApiCall,
    response::ApiResponse,
    served::{LastServed, ObjectKey, ServedResponse},
    server::{RequestHandler, ResponseFuture},
    sync::lock,
};

/// Admin path names.
const PATHS: [&str; 9] =
    ["truth", "served", "calls", "scenarios", "advance", "recreate", "freeze", "unfreeze", "faults"];

/// Dispatches requests to the admin paths and to the API.
pub(crate) struct SimulatorRoutes(pub(crate) Arc<ManagementApi>);

impl RequestHandler for SimulatorRoutes {
    fn respond<'a>(&'a self, call: &'a ApiCall) -> ResponseFuture<'a> {
        let Some(path) = call.path.strip_prefix("/_sim/") else { return Box::pin(self.0.respond(call)) };
        let response = match admin_response(path, call, &self.0) {
            Ok(body) => ApiResponse::json(200, body.to_string(), "200"),
            Err((status, message)) => {
                ApiResponse::json(status, json!({ "error": message }).to_string(), "admin")
            }
        };
        Box::pin(std::future::ready(response))
    }

    fn close_idle_after(&self) -> Option<Duration> {
        lock(&self.0.behaviour).close_idle_after
    }

    fn record_served(&self, response: ServedResponse) {
        lock(&self.0.served).record(response, Instant::now());
    }
}

fn admin_response(path: &str, call: &ApiCall, api: &ManagementApi) -> Result<Value, (u16, String)> {
    let query = |name: &str| call.query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
    let bad_request = |message: &str| (400, message.to_owned());
    match (call.method.as_str(), path) {
        ("GET", "truth") => return Ok(json!(api.with_world(|w| w.truth()))),
        ("GET", "served") => return Ok(served(api)),
        ("GET", "calls") => return Ok(calls(api)),
        ("GET", "scenarios") => return Ok(json!(api.scenarios)),
        ("POST", "advance") => {
            let by = query("seconds").and_then(|v| v.parse().ok());
            let by = by.and_then(|s| Duration::try_from_secs_f64(s).ok());
            let by =
                by.ok_or_else(|| bad_request("advance requires ?seconds= with a number of 0 or more"))?;
            api.set_clock(|c| c.advance(by));
        }
        ("POST", "recreate") => {
            let (Some(instance), Some(topic)) = (query("instance"), query("topic")) else {
                return Err(bad_request("recreate requires ?instance= and &topic="));
            };
            let result = api.with_world(|w| w.recreate_topic(instance, topic, true));
            result.map_err(|unknown| (404, unknown.to_string()))?;
        }
        ("POST", "freeze") => api.set_clock(|c| c.freeze()),
        ("POST", "unfreeze") => api.set_clock(|c| c.unfreeze()),
        ("GET" | "POST" | "DELETE", "faults") => {
            let mut faults = lock(&api.faults);
            match call.method.as_str() {
                "POST" => {
                    let new = parse_faults(&call.body).map_err(|message| (400, message))?;
                    new.into_iter().for_each(|fault| faults.add(fault));
                }
                "DELETE" => faults.clear(),
                _ => {}
            }
            return Ok(json!({ "fired": faults.fired() }));
        }
        (_, path) if PATHS.contains(&path) => return Err((405, "method not allowed".to_owned())),
        _ => return Err((404, format!("unknown path; available below /_sim/: {}", PATHS.join(", ")))),
    }
    Ok(json!({ "now_ms": api.with_world(|w| w.now_ms()) }))
}

fn served(api: &ManagementApi) -> Value {
    fn rows<T: Serialize>(kind: &str, all: &BTreeMap<ObjectKey, LastServed<T>>) -> Vec<Value> {
        let row = |((region, instance, name), last): (&ObjectKey, &LastServed<T>)| {
            let truth = json!(last.truth);
            json!({ "region": region, "instance": instance, kind: name, "times": last.times, "at_ms": truth["now_ms"], "truth": truth })
        };
        all.iter().map(row).collect()
    }
    let served = lock(&api.served).clone();
    json!({ "topics": rows("topic", &served.topics), "groups": rows("group", &served.groups) })
}

fn calls(api: &ManagementApi) -> Value {
    let log = lock(&api.call_log);
    let maxima = log.max_in_window(Duration::from_secs(1));
    let calls: Vec<Value> = log
        .totals()
        .iter()
        .map(|(key, n)| {
            let max = maxima.get(key).copied().unwrap_or(0);
            json!({ "region": key.0, "action": key.1, "calls": n, "max_per_second": max })
        })
        .collect();
    let responses = log.codes().iter();
    let responses: Vec<Value> = responses
        .map(|((action, code), n)| json!({ "action": action, "code": code, "responses": n }))
        .collect();
    json!({ "total": log.len(), "calls": calls, "responses": responses })
}
