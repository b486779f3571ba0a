//! The unsigned paths under `/_sim/`, for proofs from a shell. They are no part of the imitated service.
//!
//! `GET /_sim/truth`, `GET /_sim/served`, `GET /_sim/calls`, `GET /_sim/scenarios`;
//! `POST /_sim/advance?seconds=`, `POST /_sim/freeze`, `POST /_sim/unfreeze`;
//! `POST /_sim/recreate?instance=&topic=` deletes a topic and makes it again;
//! `POST /_sim/faults` with JSON (see `script`) adds faults, `GET` tells how often each has happened, `DELETE`
//! takes all away.
//! Integers are exact; times are milliseconds since 1970 of world time.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    fault_json,
    management_api::{ManagementApi, lock},
    request::ApiCall,
    response::ApiResponse,
    scenarios::Scenario,
    world::truth::{GroupTruth, InstanceTruth, TopicTruth, WorldTruth},
};

/// Answers a path below `/_sim/`.
pub(crate) fn answer(path: &str, call: &ApiCall, service: &ManagementApi) -> ApiResponse {
    let ok = |body: &Value| ApiResponse::json(200, body.to_string().into_bytes(), "200");
    let error = |status: u16, message: &str| {
        ApiResponse::json(status, json!({ "error": message }).to_string().into_bytes(), "admin")
    };
    let now = || json!({ "now_ms": service.with_world(|w| w.now_ms()) });
    match (call.method.as_str(), path) {
        ("GET", "truth") => ok(&truth(&service.with_world(|w| w.truth()))),
        ("GET", "served") => ok(&served(service)),
        ("GET", "calls") => ok(&call_log(service)),
        ("GET", "scenarios") => ok(&scenarios(service.with_world(|w| w.scenarios()))),
        ("POST", "advance") => {
            let seconds =
                call.query.iter().find(|(k, _)| k == "seconds").and_then(|(_, v)| v.parse::<f64>().ok());
            match seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()) {
                Some(by) => {
                    service.with_clock(|c| c.advance(by));
                    ok(&now())
                }
                None => error(400, "advance needs ?seconds= with a number of 0 or more"),
            }
        }
        ("POST", "recreate") => {
            let named = |name: &str| call.query.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
            match (named("instance"), named("topic")) {
                (Some(instance), Some(topic)) => {
                    match service.with_world(|w| w.recreate_topic(&instance, &topic, true)) {
                        Ok(()) => ok(&now()),
                        Err(unknown) => error(404, &unknown.to_string()),
                    }
                }
                _ => error(400, "recreate needs ?instance= and &topic="),
            }
        }
        ("POST", "freeze") => {
            service.with_clock(|c| c.freeze());
            ok(&now())
        }
        ("POST", "unfreeze") => {
            service.with_clock(|c| c.unfreeze());
            ok(&now())
        }
        ("POST", "faults") => match fault_json::faults(&call.body) {
            Ok(new) => {
                let mut faults = lock(&service.faults);
                new.into_iter().for_each(|fault| faults.add(fault));
                ok(&json!({ "fired": faults.fired() }))
            }
            Err(why) => error(400, &why),
        },
        ("GET", "faults") => ok(&json!({ "fired": lock(&service.faults).fired() })),
        ("DELETE", "faults") => {
            lock(&service.faults).clear();
            ok(&json!({ "fired": [] }))
        }
        (
            _,
            "truth" | "served" | "calls" | "scenarios" | "advance" | "recreate" | "freeze" | "unfreeze"
            | "faults",
        ) => error(405, "wrong method"),
        _ => error(
            404,
            "no such path; see GET /_sim/truth, served, calls, scenarios and POST /_sim/advance, recreate, freeze, unfreeze, faults",
        ),
    }
}

fn scenarios(all: &[Scenario]) -> Value {
    let told = |t: &Scenario| json!({ "region": t.region, "instance": t.instance, "object": t.object, "kind": t.kind });
    all.iter().map(told).collect()
}

fn truth(t: &WorldTruth) -> Value {
    let regions: Map<String, Value> = t
        .regions
        .iter()
        .map(|(region, r)| {
            let instances: Map<String, Value> =
                r.instances.iter().map(|(id, i)| (id.clone(), instance(i))).collect();
            (region.clone(), json!({ "instances": instances }))
        })
        .collect();
    json!({ "now_ms": t.now_ms, "regions": regions })
}

fn instance(i: &InstanceTruth) -> Value {
    let topics: Map<String, Value> = i.topics.iter().map(|(n, t)| (n.clone(), topic(t))).collect();
    let groups: Map<String, Value> = i.groups.iter().map(|(n, g)| (n.clone(), group(g))).collect();
    json!({
        "name": i.name,
        "service_status": i.service_status,
        "view_status": i.view_status,
        "in_service": i.in_service,
        "serverless": i.serverless,
        "created_ms": i.created_ms,
        "expires_ms": i.expires_ms,
        "tags": i.tags,
        "partitions": i.partitions,
        "topics": topics,
        "groups": groups,
    })
}

fn topic(t: &TopicTruth) -> Value {
    let partitions: Vec<Value> = t.partitions.iter().map(|p| {
        json!({ "partition": p.partition, "start": p.start, "end": p.end, "last_write_ms": p.last_write_ms, "last_write_stamp_ms": p.last_write_stamp_ms })
    }).collect();
    json!({ "local": t.local, "compact": t.compact, "messages": t.messages, "partitions": partitions })
}

fn group(g: &GroupTruth) -> Value {
    let topics: Map<String, Value> = g
        .topics
        .iter()
        .map(|(name, t)| {
            let partitions: Vec<Value> = t
                .partitions
                .iter()
                .map(|p| {
                    json!({
                        "partition": p.partition,
                        "listed": p.listed,
                        "committed": p.committed,
                        "start": p.start,
                        "end": p.end,
                        "lag": p.lag,
                        "oldest_unread_age_ms": p.oldest_unread_age_ms,
                        "last_consumed_ms": p.last_consumed_ms,
                        "last_consumed_stamp_ms": p.last_consumed_stamp_ms,
                    })
                })
                .collect();
            (name.clone(), json!({ "lag": t.lag, "times_hidden": t.times_hidden, "partitions": partitions }))
        })
        .collect();
    json!({
        "state": g.state,
        "lag": g.lag,
        "oldest_unread_age_ms": g.oldest_unread_age_ms,
        "members": g.members,
        "topics": topics,
    })
}

fn served(service: &ManagementApi) -> Value {
    let served = lock(&service.served).clone();
    let topics: Vec<Value> = served.topics.iter().map(|((region, instance, name), last)| {
        json!({ "region": region, "instance": instance, "topic": name, "times": last.times, "at_ms": last.truth.now_ms, "truth": topic(&last.truth) })
    }).collect();
    let groups: Vec<Value> = served.groups.iter().map(|((region, instance, name), last)| {
        json!({ "region": region, "instance": instance, "group": name, "times": last.times, "at_ms": last.truth.now_ms, "truth": group(&last.truth) })
    }).collect();
    json!({ "topics": topics, "groups": groups })
}

fn call_log(service: &ManagementApi) -> Value {
    let codes: Vec<Value> = service
        .codes()
        .iter()
        .map(|((action, code), n)| json!({ "action": action, "code": code, "answers": n }))
        .collect();
    let call_log = lock(&service.call_log);
    let most = call_log.max_in_window(Duration::from_secs(1));
    let calls: Vec<Value> = call_log.totals().iter().map(|(key, n)| {
        json!({ "region": key.0, "action": key.1, "calls": n, "most_in_a_second": most.get(key).copied().unwrap_or(0) })
    }).collect();
    json!({ "total": call_log.len(), "calls": calls, "answers": codes })
}
