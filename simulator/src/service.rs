//! From a call to what is to be answered: signature, quota, RAM, faults, the world, in the gateway's order.
//!
//! Owns: the state that all connections share. Refuses: sockets; how a reply goes out is `server`'s.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    actions::{self, Paging, Told},
    auth::{self, Nonces},
    bend::bend,
    body::Delivery,
    clock::{Clock, wall_ms},
    faults::{Effect, Faults, Matter},
    ledger::{Entry, Ledger},
    options::{Behaviour, Options},
    quota::Gate,
    request::Call,
    served::Served,
    wire::{self, Refusal},
    world::World,
};

/// Locks, whatever befell another holder.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state that all connections share. Locks are taken one at a time, and never across an await.
pub(crate) struct Service {
    world: Mutex<(Clock, World)>,
    pub(crate) behaviour: Mutex<Arc<Behaviour>>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) served: Mutex<Served>,
    nonces: Mutex<Nonces>,
    gate: Mutex<Gate>,
    rng: Mutex<ChaCha8Rng>,
}

/// What is to be answered, and how.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delivery: Delivery,
    /// To be remembered once the last byte is out.
    pub(crate) told: Option<Remember>,
    /// For the ledger.
    pub(crate) code: String,
}

/// What was told of which object.
pub(crate) struct Remember {
    pub(crate) region: String,
    pub(crate) instance: String,
    pub(crate) object: String,
    pub(crate) told: Told,
}

impl Service {
    pub(crate) fn new(options: &Options) -> Self {
        let epoch = options.world.epoch_ms.unwrap_or_else(wall_ms);
        Self {
            world: Mutex::new((Clock::new(options.clock, epoch), World::new(options.world.clone(), epoch))),
            behaviour: Mutex::new(Arc::new(options.behaviour.clone())),
            faults: Mutex::default(),
            ledger: Mutex::new(Ledger::new(options.ledger_limit)),
            served: Mutex::default(),
            nonces: Mutex::default(),
            gate: Mutex::default(),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(options.world.seed ^ 0x5EED)),
        }
    }

    /// The world, moved to now.
    pub(crate) fn with_world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        let (clock, world) = &mut *lock(&self.world);
        world.advance_to(clock.now_ms());
        look(world)
    }

    /// The clock, then the world moved to what it says.
    pub(crate) fn with_clock(&self, turn: impl FnOnce(&mut Clock)) {
        turn(&mut lock(&self.world).0);
        self.with_world(|_| ());
    }

    /// Time that the service's clock shows.
    fn service_ms(&self, behaviour: &Behaviour) -> i64 {
        self.with_world(|w| w.now_ms()).saturating_add(behaviour.clock_skew_ms)
    }

    fn request_id(&self) -> String {
        let n: u128 = lock(&self.rng).random();
        let hex = format!("{n:032X}");
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }

    /// Answers a call, after the time that it takes.
    pub(crate) async fn call(&self, call: &Call) -> Reply {
        let behaviour = Arc::clone(&lock(&self.behaviour));
        let region = self.region_of(call);
        let number = self.enter(call, &region);
        let jitter = lock(&self.rng).random_range(0.0..=1.0);
        sleep_unless_zero(behaviour.latency.fixed + behaviour.latency.jitter.mul_f64(jitter)).await;
        let request_id = self.request_id();
        let reply = match self.let_in(call, &region, &behaviour) {
            Err(refusal) => refused(&refusal, &request_id, &region, call.wants_json()),
            Ok(effects) => {
                let more =
                    effects.iter().filter_map(|e| if let Effect::Latency(d) = e { Some(*d) } else { None });
                sleep_unless_zero(more.sum()).await;
                self.answer(call, &region, &behaviour, &effects, &request_id)
            }
        };
        let reply = self.dated(reply, &behaviour);
        lock(&self.ledger).finish(number, call.action(), reply.status, &reply.code);
        reply
    }

    /// `RegionId`, or the instance's own region.
    fn region_of(&self, call: &Call) -> String {
        match (call.region(), call.param("InstanceId")) {
            (Some(region), _) => region.to_owned(),
            (None, Some(id)) => self.with_world(|w| w.home(id).unwrap_or_default().to_owned()),
            (None, None) => String::new(),
        }
    }

    fn enter(&self, call: &Call, region: &str) -> u64 {
        let (signature, key_id) = auth::named(call);
        let entry = Entry {
            number: 0,
            at: Instant::now(),
            region: region.to_owned(),
            action: call.action().to_owned(),
            instance: call.param("InstanceId").map(str::to_owned),
            object: call.object().map(str::to_owned),
            page: call.param("CurrentPage").map(str::to_owned),
            key_id,
            signature,
            method: call.method.clone(),
            target: call.target.clone(),
            code: "pending".to_owned(),
            status: 0,
        };
        lock(&self.ledger).begin(entry)
    }

    /// Signature, action, quota, RAM; then the faults that meet the call.
    fn let_in(&self, call: &Call, region: &str, behaviour: &Behaviour) -> Result<Vec<Effect>, Refusal> {
        let ram_action = actions::ram_action(call.action())?;
        let wall = wall_ms().saturating_add(behaviour.clock_skew_ms);
        let own = self.service_ms(behaviour);
        let clocks = if behaviour.accept_wall_clock { [own, wall] } else { [own, own] };
        let key = auth::check(call, &behaviour.keys, &mut lock(&self.nonces), &clocks, wall_ms())?;
        lock(&self.gate).pass(&behaviour.quota, region, call.action(), Instant::now())?;
        if key.denied.contains(call.action()) || key.denied.contains(ram_action) {
            return Err(Refusal::denied(ram_action, region));
        }
        Ok(lock(&self.faults).meet(&Matter::new(call, region)))
    }

    fn answer(
        &self,
        call: &Call,
        region: &str,
        behaviour: &Behaviour,
        effects: &[Effect],
        request_id: &str,
    ) -> Reply {
        // Effects that need no good answer come first; the first of them wins.
        if let Some(reply) = effects.iter().find_map(|e| instead(e, request_id, region)) {
            return reply;
        }
        let paging = Paging {
            ignore_page: effects.iter().any(|e| matches!(e, Effect::EndlessPages)),
            overlap: effects.iter().any(|e| matches!(e, Effect::RepeatedRows)),
        };
        let found = self.with_world(|w| actions::answer(call, w, behaviour, paging));
        let (payload, told) = match found {
            Ok(found) => found,
            Err(refusal) => return refused(&refusal, request_id, region, call.wants_json()),
        };
        let action = call.action();
        let mut body = wire::success(payload, request_id);
        if action == "GetTopicStatus" && behaviour.status_strings {
            wire::stringify(&mut body);
        }
        // An effect on the way of delivery leaves the body alone; the body's end tells whether it arrived.
        let mut whole = true;
        for effect in effects.iter().filter(|e| delivery(e).is_none() && !matches!(e, Effect::Truncate(_))) {
            whole &= bend(effect, action, &mut body);
        }
        let mut bytes = body.to_string().into_bytes();
        if let Some(at) =
            effects.iter().find_map(|e| if let Effect::Truncate(at) = e { Some(*at) } else { None })
        {
            bytes.truncate(at);
            whole = false;
        }
        let mut reply = Reply::json(200, bytes, "200");
        if !call.wants_json() {
            let refusal = Refusal::new(
                400,
                "UnsupportedFormat",
                "The simulator answers in JSON only: send Format=JSON.",
            );
            return refused(&refusal, request_id, region, false);
        }
        if let Some(Effect::Date(date)) = effects.iter().find(|e| matches!(e, Effect::Date(_))) {
            reply.headers.push(("date", date.clone().unwrap_or_default()));
        }
        reply.delivery = effects.iter().find_map(delivery).unwrap_or(Delivery::Whole);
        let object = call.object().unwrap_or_default().to_owned();
        let instance = call.param("InstanceId").unwrap_or_default().to_owned();
        reply.told = whole.then(|| Remember { region: region.to_owned(), instance, object, told });
        reply
    }

    /// The reply with its `Date`, unless a fault has set or emptied it.
    fn dated(&self, mut reply: Reply, behaviour: &Behaviour) -> Reply {
        if !reply.headers.iter().any(|(name, _)| *name == "date") {
            let date = jiff::Timestamp::from_millisecond(self.service_ms(behaviour)).ok().and_then(|t| {
                jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&t).ok()
            });
            reply.headers.push(("date", date.unwrap_or_default()));
        }
        reply.headers.retain(|(_, value)| !value.is_empty());
        reply
    }

    /// Remembers what was told, now that it is out.
    pub(crate) fn remember(&self, told: Remember) {
        lock(&self.served).remember(told, Instant::now());
    }

    /// Answers so far by `Code`, for the admin page.
    pub(crate) fn codes(&self) -> BTreeMap<(String, String), u64> {
        lock(&self.ledger).codes().clone()
    }
}

async fn sleep_unless_zero(long: Duration) {
    if !long.is_zero() {
        sleep(long).await;
    }
}

impl Reply {
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
}

fn refused(refusal: &Refusal, request_id: &str, region: &str, json: bool) -> Reply {
    let mut reply = if json {
        let body = wire::refusal_json(refusal, request_id, region, false);
        Reply::json(refusal.status, body.to_string().into_bytes(), &refusal.code)
    } else {
        let body = wire::refusal_xml(refusal, request_id, region);
        Reply::new(refusal.status, "text/xml;charset=utf-8", body.into_bytes(), &refusal.code)
    };
    if let Some(ms) = refusal.retry_after_ms {
        reply.headers.push(("x-acs-retry-after", ms.to_string()));
    }
    reply
}

/// What an effect answers instead of anything from the world.
fn instead(effect: &Effect, request_id: &str, region: &str) -> Option<Reply> {
    let json =
        |status: u16, body: &Value, code: &str| Reply::json(status, body.to_string().into_bytes(), code);
    Some(match effect {
        Effect::Error { status, code, message } => {
            refused(&Refusal::new(*status, code.as_str(), message.as_str()), request_id, region, true)
        }
        Effect::Throttle { status, code, retry_after_ms } => {
            let refusal =
                Refusal::new(*status, code.as_str(), "Request was denied due to user flow control.");
            refused(&Refusal { retry_after_ms: *retry_after_ms, ..refusal }, request_id, region, true)
        }
        Effect::LowerCaseError { status, code, message } => {
            let refusal = Refusal::new(*status, code.as_str(), message.as_str());
            json(*status, &wire::refusal_json(&refusal, request_id, region, true), code)
        }
        Effect::SuccessFalse { code, message } => {
            let body = serde_json::json!({ "Code": code, "Message": message, "RequestId": request_id, "Success": false });
            json(200, &body, code)
        }
        Effect::Html { status } => {
            let page =
                "<html><head><title>Error</title></head><body><h1>The gateway is busy</h1></body></html>";
            Reply::new(*status, "text/html;charset=utf-8", page.into(), "fault: html")
        }
        Effect::XmlError { status, code } => {
            refused(&Refusal::new(*status, code.as_str(), "An error in XML."), request_id, region, false)
        }
        Effect::Raw { status, content_type, body } => {
            Reply::new(*status, content_type, body.clone(), "fault: raw")
        }
        Effect::Redirect { status, location } => {
            let mut reply = Reply::new(*status, "text/html", Vec::new(), "fault: redirect");
            reply.headers.push(("location", location.clone()));
            reply
        }
        Effect::Close => Reply::silent(Delivery::CloseFirst, "fault: close"),
        Effect::Reset => Reply::silent(Delivery::ResetFirst, "fault: reset"),
        Effect::Hang => Reply::silent(Delivery::HangFirst, "fault: hang"),
        _ => return None,
    })
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
