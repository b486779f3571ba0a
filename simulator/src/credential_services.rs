//! Services that hand out temporary keys: what is common to the token service, the metadata of a machine, and
//! an address of one's own.
//!
//! Owns: [`CredentialService`], its doors, faults and ledger, and the ends of the keys it hands out. Refuses: deciding
//! who gets a key; that is `sts`, `metadata` and `uri`.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    access_keys::{IssuedKey, KeyRegistry},
    auth::{self, NonceCache},
    call_log::{CallLog, CallLogEntry},
    clock::{millis, wall_ms},
    faults::{CallTarget, Effect, Faults},
    management_api::{latency, lock, request_id, sleep_unless_zero},
    request::ApiCall,
    response::{ApiResponse, ErrorEnvelope},
    server::{RequestHandler, ResponseFuture, ServiceListener},
    wire::ErrorResponse,
};

mod metadata;
mod sts;
mod uri;

pub use metadata::{MetadataRules, MetadataService, TokenMode};
pub use sts::{StsRole, StsRules, StsService};
pub use uri::{UriRules, UriService};

/// `HostId` of errors.
const HOST: &str = "sts.aliyuncs.com";
/// Calls that the ledger keeps in full.
const LEDGER_LIMIT: usize = 100_000;

/// A running service that hands out keys, as its rules say. Dropping it stops it, without waiting.
///
/// Faults and the ledger know its calls by these actions: `AssumeRole` and `AssumeRoleWithOIDC` of [`StsService`];
/// `PutToken`, `ListRole` and `GetKey` of [`MetadataService`]; `GetKey` of [`UriService`]. The object is the role.
/// Effects on lists and rows do nothing here.
pub struct CredentialService<R> {
    inner: Arc<ServiceState<R>>,
    door: ServiceListener,
}

/// Who gets which key.
pub(crate) trait CredentialRules: Send + 'static {
    /// Milliseconds by which the service's clock is off.
    fn skew_ms(&self) -> i64;

    /// What a call is, for faults and the ledger.
    fn asked(call: &ApiCall) -> CallSummary;

    /// Whether the call may have what it asks.
    fn authorize(&self, call: &ApiCall, desk: &mut RequestContext<'_>) -> Result<(), ErrorResponse>;

    /// What it gets.
    fn answer(&self, call: &ApiCall, desk: &mut RequestContext<'_>) -> Result<ServiceBody, ErrorResponse>;
}

/// What is remembered between calls.
#[derive(Debug, Default)]
pub(crate) struct ServiceMemory {
    nonces: NonceCache,
    /// Tokens of the machine's metadata, and their ends.
    tokens: BTreeMap<String, i64>,
    /// The key that was handed out last.
    key: Option<IssuedKey>,
}

/// What a call is.
pub(crate) struct CallSummary {
    action: String,
    object: Option<String>,
    details: BTreeMap<String, String>,
}

/// What a call gets.
pub(crate) enum ServiceBody {
    Text(String),
    Json(Value),
}

/// What is at hand while a call is answered.
pub(crate) struct RequestContext<'d> {
    memory: &'d mut ServiceMemory,
    keys: &'d KeyRegistry,
    effects: &'d [Effect],
    request_id: &'d str,
    /// The service's own time.
    now_ms: i64,
    skew_ms: i64,
}

impl RequestContext<'_> {
    /// Makes a key that lives so long, cut to the whole second that will be told, unless a fault says when it
    /// ends.
    fn issue(&self, issuer: &str, lifetime: Duration) -> IssuedKey {
        let told =
            self.effects.iter().find_map(|e| if let Effect::ExpiresIn(ms) = e { Some(*ms) } else { None });
        let end = self.now_ms.saturating_add(told.unwrap_or_else(|| millis(lifetime)));
        let end = end.div_euclid(1000) * 1000;
        self.keys.issue(issuer, end - self.skew_ms)
    }

    /// A key's fields as all of these services spell them.
    fn spell(&self, key: &IssuedKey) -> Value {
        json!({
            "AccessKeyId": key.id,
            "AccessKeySecret": key.secret,
            "SecurityToken": key.token,
            "Expiration": stamp(key.expires_ms.saturating_add(self.skew_ms)),
        })
    }

    /// The same, as the machine's metadata and one's own address have it.
    fn spell_alone(&self, key: &IssuedKey) -> Value {
        let mut body = self.spell(key);
        body["LastUpdated"] = json!(stamp(self.now_ms));
        body["Code"] = json!("Success");
        body
    }
}

/// A time in whole seconds.
fn stamp(ms: i64) -> String {
    jiff::Timestamp::from_second(ms.div_euclid(1000)).map_or_else(|_| String::new(), |t| t.to_string())
}

struct ServiceState<R> {
    rules: Mutex<R>,
    memory: Mutex<ServiceMemory>,
    keys: KeyRegistry,
    faults: Mutex<Faults>,
    call_log: Mutex<CallLog>,
    rng: Mutex<ChaCha8Rng>,
}

impl<R> CredentialService<R> {
    fn serve(rules: R, keys: &KeyRegistry) -> io::Result<Self>
    where
        R: CredentialRules,
    {
        let inner = Arc::new(ServiceState {
            rules: Mutex::new(rules),
            memory: Mutex::default(),
            keys: keys.clone(),
            faults: Mutex::default(),
            call_log: Mutex::new(CallLog::new(LEDGER_LIMIT)),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(0x57)),
        });
        let door = ServiceListener::open_at(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            Arc::<ServiceState<R>>::clone(&inner),
        )?;
        Ok(Self { inner, door })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.door.addr()
    }

    /// Its base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Looks at the rules and changes them, from the next call on.
    pub fn rules<T>(&self, edit: impl FnOnce(&mut R) -> T) -> T {
        edit(&mut lock(&self.inner.rules))
    }

    /// Adds and clears faults.
    pub fn faults<T>(&self, edit: impl FnOnce(&mut Faults) -> T) -> T {
        edit(&mut lock(&self.inner.faults))
    }

    /// The calls that came so far.
    #[must_use]
    pub fn call_log(&self) -> CallLog {
        lock(&self.inner.call_log).clone()
    }

    /// Drops all connections, and refuses new ones until it is opened again.
    pub async fn close(&mut self) {
        self.door.close().await;
    }

    /// Listens again, at the same address.
    ///
    /// # Errors
    /// If another has taken the port.
    pub fn open(&mut self) -> io::Result<()> {
        self.door.open()
    }
}

impl<R: CredentialRules> ServiceState<R> {
    async fn call(&self, call: &ApiCall) -> ApiResponse {
        let asked = R::asked(call);
        let number = self.enter(call, &asked);
        let request_id = request_id(&self.rng);
        let envelope = ErrorEnvelope { host: HOST, request_id: &request_id };
        let json = call.wants_json();
        let reply = match self.with_context(&[], &request_id, |rules, desk| rules.authorize(call, desk)) {
            Err(refusal) => envelope.refused(&refusal, json),
            Ok(()) => {
                let object = asked.object.as_deref();
                let matter = CallTarget { action: &asked.action, region: "", instance: None, object };
                let effects = lock(&self.faults).meet(&matter);
                sleep_unless_zero(latency(&effects)).await;
                self.reply(call, &asked.action, &effects, envelope)
            }
        };
        let reply = reply.dated(wall_ms().saturating_add(lock(&self.rules).skew_ms()));
        lock(&self.call_log).finish(number, &asked.action, reply.status, &reply.code);
        reply
    }

    fn reply(
        &self,
        call: &ApiCall,
        action: &str,
        effects: &[Effect],
        envelope: ErrorEnvelope<'_>,
    ) -> ApiResponse {
        if let Some(reply) = envelope.instead(effects, call) {
            return reply;
        }
        match self.with_context(effects, envelope.request_id, |rules, desk| rules.answer(call, desk)) {
            Err(refusal) => envelope.refused(&refusal, call.wants_json()),
            Ok(ServiceBody::Json(body)) => ApiResponse::with_effects(action, body, effects).0,
            Ok(ServiceBody::Text(text)) => {
                let mut reply = ApiResponse::new(200, "text/plain;charset=utf-8", text.into_bytes(), "200");
                reply.deliver(effects);
                reply
            }
        }
    }

    fn with_context<T>(
        &self,
        effects: &[Effect],
        request_id: &str,
        act: impl FnOnce(&R, &mut RequestContext<'_>) -> T,
    ) -> T {
        let rules = lock(&self.rules);
        let memory = &mut *lock(&self.memory);
        let skew_ms = rules.skew_ms();
        let now_ms = wall_ms().saturating_add(skew_ms);
        let mut desk = RequestContext { memory, keys: &self.keys, effects, request_id, now_ms, skew_ms };
        act(&rules, &mut desk)
    }

    fn enter(&self, call: &ApiCall, asked: &CallSummary) -> u64 {
        let (signature, key_id) = auth::named(call);
        let entry = CallLogEntry {
            number: 0,
            at: Instant::now(),
            region: String::new(),
            action: asked.action.clone(),
            instance: None,
            object: asked.object.clone(),
            page: None,
            details: asked.details.clone(),
            key_id,
            signature,
            method: call.method.clone(),
            target: call.target.clone(),
            code: "pending".to_owned(),
            status: 0,
        };
        lock(&self.call_log).begin(entry)
    }
}

impl<R: CredentialRules> RequestHandler for ServiceState<R> {
    fn answer<'a>(&'a self, call: &'a ApiCall) -> ResponseFuture<'a> {
        Box::pin(self.call(call))
    }
}
