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
use tokio::time::{Instant, sleep};

use crate::{
    actions::{self, PagingFault, ResponseTruth},
    admin,
    auth::{self, AcceptedKeys, NonceCache},
    call_log::{CallLog, CallLogEntry},
    clock::{WorldClock, wall_ms},
    faults::{CallTarget, Effect, Faults},
    options::{ServiceBehaviour, SimulatorOptions},
    quota::QuotaWindows,
    request::ApiCall,
    response::{ApiResponse, ErrorEnvelope},
    served::ServedTruth,
    server::{RequestHandler, ResponseFuture},
    wire::{self, ErrorResponse},
    world::World,
};

/// The version of the management API.
const VERSION: &str = "2019-09-16";

/// Locks, whatever befell another holder.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state that all connections share. Locks are taken one at a time, and never across an await.
pub(crate) struct ManagementApi {
    world: Mutex<(WorldClock, World)>,
    pub(crate) behaviour: Mutex<Arc<ServiceBehaviour>>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) call_log: Mutex<CallLog>,
    pub(crate) served: Mutex<ServedTruth>,
    nonces: Mutex<NonceCache>,
    gate: Mutex<QuotaWindows>,
    rng: Mutex<ChaCha8Rng>,
}

/// What was told of which object.
pub(crate) struct ServedResponse {
    pub(crate) region: String,
    pub(crate) instance: String,
    pub(crate) object: String,
    pub(crate) told: ResponseTruth,
}

impl ManagementApi {
    pub(crate) fn new(options: &SimulatorOptions) -> Self {
        let epoch = options.world.epoch_ms.unwrap_or_else(wall_ms);
        Self {
            world: Mutex::new((
                WorldClock::new(options.clock, epoch),
                World::new(options.world.clone(), epoch),
            )),
            behaviour: Mutex::new(Arc::new(options.behaviour.clone())),
            faults: Mutex::default(),
            call_log: Mutex::new(CallLog::new(options.call_log_limit)),
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
    pub(crate) fn with_clock(&self, turn: impl FnOnce(&mut WorldClock)) {
        turn(&mut lock(&self.world).0);
        self.with_world(|_| ());
    }

    /// Time that the service's clock shows.
    fn service_ms(&self, behaviour: &ServiceBehaviour) -> i64 {
        self.with_world(|w| w.now_ms()).saturating_add(behaviour.clock_skew_ms)
    }

    /// Answers a call, after the time that it takes.
    async fn call(&self, call: &ApiCall) -> ApiResponse {
        let behaviour = Arc::clone(&lock(&self.behaviour));
        let region = self.region_of(call);
        let number = self.enter(call, &region);
        let jitter = lock(&self.rng).random_range(0.0..=1.0);
        sleep_unless_zero(behaviour.latency.fixed + behaviour.latency.jitter.mul_f64(jitter)).await;
        let (host, request_id) = (format!("alikafka.{region}.aliyuncs.com"), request_id(&self.rng));
        let envelope = ErrorEnvelope { host: &host, request_id: &request_id };
        // A world that is moved by hand may be moved between the reading and the date of an answer.
        let mut read_ms = None;
        let reply = match self.authorize(call, &region, &behaviour) {
            Err(refusal) => envelope.refused(&refusal, call.wants_json()),
            Ok(effects) => {
                sleep_unless_zero(latency(&effects)).await;
                read_ms = Some(self.service_ms(&behaviour));
                self.reply(call, &region, &behaviour, &effects, envelope)
            }
        };
        let reply = reply.dated(read_ms.unwrap_or_else(|| self.service_ms(&behaviour)));
        lock(&self.call_log).finish(number, call.action(), reply.status, &reply.code);
        reply
    }

    /// `RegionId`, or the instance's own region.
    fn region_of(&self, call: &ApiCall) -> String {
        match (call.region(), call.param("InstanceId")) {
            (Some(region), _) => region.to_owned(),
            (None, Some(id)) => self.with_world(|w| w.home(id).unwrap_or_default().to_owned()),
            (None, None) => String::new(),
        }
    }

    fn enter(&self, call: &ApiCall, region: &str) -> u64 {
        let (signature, key_id) = auth::named(call);
        let entry = CallLogEntry {
            number: 0,
            at: Instant::now(),
            region: region.to_owned(),
            action: call.action().to_owned(),
            instance: call.param("InstanceId").map(str::to_owned),
            object: call.object().map(str::to_owned),
            page: call.param("CurrentPage").map(str::to_owned),
            details: BTreeMap::new(),
            key_id,
            signature,
            method: call.method.clone(),
            target: call.target.clone(),
            code: "pending".to_owned(),
            status: 0,
        };
        lock(&self.call_log).begin(entry)
    }

    /// Signature, action, quota, RAM; then the faults that meet the call.
    fn authorize(
        &self,
        call: &ApiCall,
        region: &str,
        behaviour: &ServiceBehaviour,
    ) -> Result<Vec<Effect>, ErrorResponse> {
        let ram_action = actions::ram_action(call.action())?;
        let wall = wall_ms().saturating_add(behaviour.clock_skew_ms);
        let own = self.service_ms(behaviour);
        let clocks = if behaviour.accept_wall_clock { [own, wall] } else { [own, own] };
        let known = AcceptedKeys { lasting: &behaviour.keys, shared: &behaviour.shared_keys };
        let key = auth::check(call, VERSION, known, &mut lock(&self.nonces), &clocks, wall_ms())?;
        lock(&self.gate).pass(&behaviour.quota, region, call.action(), Instant::now())?;
        if key.denied.contains(call.action()) || key.denied.contains(ram_action) {
            return Err(ErrorResponse::denied(ram_action, region));
        }
        Ok(lock(&self.faults).meet(&CallTarget::new(call, region)))
    }

    fn reply(
        &self,
        call: &ApiCall,
        region: &str,
        behaviour: &ServiceBehaviour,
        effects: &[Effect],
        envelope: ErrorEnvelope<'_>,
    ) -> ApiResponse {
        if let Some(reply) = envelope.instead(effects, call) {
            return reply;
        }
        let paging = PagingFault {
            ignore_page: effects.iter().any(|e| matches!(e, Effect::EndlessPages)),
            overlap: effects.iter().any(|e| matches!(e, Effect::RepeatedRows)),
        };
        let found = self.with_world(|w| actions::answer(call, w, behaviour, paging));
        let (payload, told) = match found {
            Ok(found) => found,
            Err(refusal) => return envelope.refused(&refusal, call.wants_json()),
        };
        if !call.wants_json() {
            return envelope.refused(&ErrorResponse::only_json(), false);
        }
        let action = call.action();
        let mut body = wire::success(payload, envelope.request_id);
        if action == "GetTopicStatus" && behaviour.status_strings {
            wire::stringify(&mut body);
        }
        let (mut reply, whole) = ApiResponse::with_effects(action, body, effects);
        let object = call.object().unwrap_or_default().to_owned();
        let instance = call.param("InstanceId").unwrap_or_default().to_owned();
        reply.told = whole.then(|| ServedResponse { region: region.to_owned(), instance, object, told });
        reply
    }

    /// Answers so far by `Code`, for the admin page.
    pub(crate) fn codes(&self) -> BTreeMap<(String, String), u64> {
        lock(&self.call_log).codes().clone()
    }
}

impl RequestHandler for ManagementApi {
    fn answer<'a>(&'a self, call: &'a ApiCall) -> ResponseFuture<'a> {
        match call.path.strip_prefix("/_sim/") {
            Some(path) => Box::pin(std::future::ready(admin::answer(path, call, self))),
            None => Box::pin(self.call(call)),
        }
    }

    fn close_idle_after(&self) -> Option<Duration> {
        lock(&self.behaviour).close_idle_after
    }

    fn remember(&self, told: ServedResponse) {
        lock(&self.served).remember(told, Instant::now());
    }
}

/// A random id, as the gateway writes them.
pub(crate) fn request_id(rng: &Mutex<ChaCha8Rng>) -> String {
    let n: u128 = lock(rng).random();
    let hex = format!("{n:032X}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The time that effects add before an answer.
pub(crate) fn latency(effects: &[Effect]) -> Duration {
    effects.iter().filter_map(|e| if let Effect::Latency(d) = e { Some(*d) } else { None }).sum()
}

pub(crate) async fn sleep_unless_zero(long: Duration) {
    if !long.is_zero() {
        sleep(long).await;
    }
}
