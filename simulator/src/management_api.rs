//! The simulated management API: from a call to its response, with the checks in the order of the real gateway.
//!
//! Owns: the state that all connections share. Out of scope: sockets; see `server`.

use std::sync::{Arc, Mutex};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use crate::{
    actions::{self, PagingFault},
    auth::{self, AcceptedKeys, NonceCache},
    call_log::{CallLog, CallLogEntry},
    clock::{WorldClock, sleep_unless_zero, wall_ms},
    faults::{Effect, Faults},
    options::{ServiceBehaviour, SimulatorOptions},
    quota::QuotaWindows,
    request::ApiCall,
    response::{ApiResponse, ErrorEnvelope, added_latency, request_id},
    scenarios::{SCENARIOS, Scenario, add_scenarios},
    served::{ServedResponse, ServedTruth},
    sync::lock,
    wire::{self, ErrorResponse},
    world::World,
};

/// Version of the management API.
const VERSION: &str = "2019-09-16";

/// State that all connections share. Locks are taken one at a time, and never across an await.
pub(crate) struct ManagementApi {
    world: Mutex<(WorldClock, World)>,
    /// Failure scenarios of the world, if it has them.
    pub(crate) scenarios: &'static [Scenario],
    pub(crate) behaviour: Mutex<Arc<ServiceBehaviour>>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) call_log: Mutex<CallLog>,
    pub(crate) served: Mutex<ServedTruth>,
    nonces: Mutex<NonceCache>,
    quota_windows: Mutex<QuotaWindows>,
    rng: Mutex<ChaCha8Rng>,
}

impl ManagementApi {
    pub(crate) fn new(options: &SimulatorOptions) -> Self {
        let epoch_ms = options.world.epoch_ms.unwrap_or_else(wall_ms);
        let mut world = World::new(options.world.clone(), epoch_ms);
        if options.world.scenarios {
            add_scenarios(&mut world);
        }
        Self {
            world: Mutex::new((WorldClock::new(options.clock, epoch_ms), world)),
            scenarios: if options.world.scenarios { &SCENARIOS } else { &[] },
            behaviour: Mutex::new(Arc::new(options.behaviour.clone())),
            faults: Mutex::default(),
            call_log: Mutex::new(CallLog::new(options.call_log_limit)),
            served: Mutex::default(),
            nonces: Mutex::default(),
            quota_windows: Mutex::default(),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(options.world.seed ^ 0x5EED)),
        }
    }

    /// Runs a closure with the world, advanced to the current time.
    pub(crate) fn with_world<T>(&self, run: impl FnOnce(&mut World) -> T) -> T {
        let (clock, world) = &mut *lock(&self.world);
        world.advance_to(clock.now_ms());
        run(world)
    }

    /// Changes the clock, then advances the world to its time.
    pub(crate) fn set_clock(&self, change: impl FnOnce(&mut WorldClock)) {
        change(&mut lock(&self.world).0);
        self.with_world(|_| ());
    }

    /// Returns the time of the service's clock.
    fn service_ms(&self, behaviour: &ServiceBehaviour) -> i64 {
        self.with_world(|w| w.now_ms()).saturating_add(behaviour.clock_skew_ms)
    }

    /// Returns the response to a call, after its latency.
    pub(crate) async fn respond(&self, call: &ApiCall) -> ApiResponse {
        let behaviour = Arc::clone(&lock(&self.behaviour));
        let region = self.region_of(call);
        let entry = CallLogEntry::new(call, call.action(), &region);
        let number = lock(&self.call_log).begin(entry.clone());
        let jitter = lock(&self.rng).random_range(0.0..=1.0);
        sleep_unless_zero(behaviour.latency.fixed + behaviour.latency.jitter.mul_f64(jitter)).await;
        let (host, request_id) = (format!("alikafka.{region}.aliyuncs.com"), request_id(&self.rng));
        let envelope = ErrorEnvelope { host: &host, request_id: &request_id };
        let (response, date_ms) = match self.admit(call, &entry, &behaviour) {
            Err(error) => (envelope.error(&error, call.wants_json()), self.service_ms(&behaviour)),
            Ok(effects) => {
                sleep_unless_zero(added_latency(&effects)).await;
                // A test may advance the world after the payload is computed. `Date` must not be later than it.
                let date_ms = self.service_ms(&behaviour);
                (self.response(call, &region, &behaviour, &effects, envelope), date_ms)
            }
        };
        let response = response.with_date(date_ms);
        lock(&self.call_log).finish(number, call.action(), response.status, &response.code);
        response
    }

    /// Returns `RegionId`, or else the region of the instance.
    fn region_of(&self, call: &ApiCall) -> String {
        match (call.region(), call.param("InstanceId")) {
            (Some(region), _) => region.to_owned(),
            (None, Some(id)) => self.with_world(|w| w.region_of(id).unwrap_or_default().to_owned()),
            (None, None) => String::new(),
        }
    }

    /// Checks the action, signature, quota and RAM policy of a call, then returns the effects of faults on it.
    fn admit(
        &self,
        call: &ApiCall,
        entry: &CallLogEntry,
        behaviour: &ServiceBehaviour,
    ) -> Result<Vec<Effect>, ErrorResponse> {
        let ram_action = actions::ram_action(call.action())?;
        // Accepts wall time too, so that a client can use a world whose time was advanced.
        let clocks = [self.service_ms(behaviour), wall_ms().saturating_add(behaviour.clock_skew_ms)];
        let accepted = AcceptedKeys { own: &behaviour.keys, shared: &behaviour.shared_keys };
        let key = auth::authenticate(call, VERSION, accepted, &mut lock(&self.nonces), &clocks, wall_ms())?;
        lock(&self.quota_windows).accept(&behaviour.quota, &entry.region, call.action(), Instant::now())?;
        if key.denied.contains(call.action()) || key.denied.contains(ram_action) {
            return Err(ErrorResponse::denied_by_ram(ram_action, &entry.region));
        }
        Ok(lock(&self.faults).apply(entry))
    }

    fn response(
        &self,
        call: &ApiCall,
        region: &str,
        behaviour: &ServiceBehaviour,
        effects: &[Effect],
        envelope: ErrorEnvelope<'_>,
    ) -> ApiResponse {
        if let Some(response) = envelope.replacement(effects, call) {
            return response;
        }
        let paging = PagingFault {
            always_first_page: effects.iter().any(|e| matches!(e, Effect::EndlessPages)),
            overlap: effects.iter().any(|e| matches!(e, Effect::RepeatedRows)),
        };
        let payload = self.with_world(|w| actions::payload(call, w, behaviour, paging));
        let (payload, truth) = match payload {
            Ok(_) if !call.wants_json() => return envelope.error(&ErrorResponse::only_json(), false),
            Ok(payload) => payload,
            Err(error) => return envelope.error(&error, call.wants_json()),
        };
        let action = call.action();
        let mut body = wire::success(payload, envelope.request_id);
        if action == "GetTopicStatus" && behaviour.status_strings {
            wire::stringify(&mut body);
        }
        let (mut response, is_true) = ApiResponse::with_effects(action, body, effects);
        if let Some(truth) = truth.filter(|_| is_true) {
            let instance = call.param("InstanceId").unwrap_or_default().to_owned();
            let object = call.object().unwrap_or_default().to_owned();
            response.served = Some(ServedResponse { key: (region.to_owned(), instance, object), truth });
        }
        response
    }
}
