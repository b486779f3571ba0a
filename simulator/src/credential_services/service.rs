//! The common part of all credential services.
//!
//! Owns: [`CredentialService`], its listener, faults, call log, and the expiry of issued keys. Out of scope:
//! authorization and response formats; see `sts`, `metadata` and `uri`.

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

use crate::{
    access_keys::{IssuedKey, KeyRegistry},
    auth::NonceCache,
    call_log::{CallLog, CallLogEntry},
    clock::{millis, sleep_unless_zero, wall_ms},
    faults::{Effect, Faults},
    request::ApiCall,
    response::{ApiResponse, ErrorEnvelope, added_latency, request_id},
    server::{ReopenableListener, RequestHandler, ResponseFuture},
    sync::lock,
    wire::ErrorResponse,
};

/// `HostId` of errors.
const HOST: &str = "sts.aliyuncs.com";
/// Number of calls that the call log keeps.
const CALL_LOG_LIMIT: usize = 100_000;

/// A running service that issues keys according to its rules. Dropping it stops it without waiting.
///
/// Faults and the call log use these actions: `AssumeRole` and `AssumeRoleWithOIDC` of
/// [`StsService`](crate::StsService); `PutToken`, `ListRole` and `GetKey` of
/// [`MetadataService`](crate::MetadataService); `GetKey` of [`UriService`](crate::UriService). The object is the
/// role. Effects on lists and rows do nothing here.
pub struct CredentialService<R> {
    server: Arc<CredentialServer<R>>,
    listener: ReopenableListener,
}

/// Rules of a credential service.
pub(super) trait CredentialRules: Send + 'static {
    /// Returns the offset of the service's clock, in milliseconds.
    fn clock_skew_ms(&self) -> i64;

    /// Returns the entry of a call for faults and the call log.
    fn log_entry(call: &ApiCall) -> CallLogEntry;

    /// Checks a call.
    fn authorize(&self, call: &ApiCall, context: &mut RequestContext<'_>) -> Result<(), ErrorResponse>;

    /// Returns the response to an authorized call.
    fn respond(&self, call: &ApiCall, context: &mut RequestContext<'_>)
    -> Result<ServiceBody, ErrorResponse>;
}

/// State between calls.
#[derive(Debug, Default)]
pub(super) struct ServiceMemory {
    pub(super) nonces: NonceCache,
    /// Expiry of metadata tokens, in Unix milliseconds.
    pub(super) tokens: BTreeMap<String, i64>,
    /// The last issued key.
    pub(super) key: Option<IssuedKey>,
}

/// Body of a successful response.
pub(super) enum ServiceBody {
    Text(String),
    Json(Value),
}

/// Context of a call.
pub(super) struct RequestContext<'c> {
    pub(super) memory: &'c mut ServiceMemory,
    pub(super) keys: &'c KeyRegistry,
    effects: &'c [Effect],
    pub(super) request_id: &'c str,
    /// Time of the service's clock, in Unix milliseconds.
    pub(super) now_ms: i64,
    pub(super) clock_skew_ms: i64,
}

impl RequestContext<'_> {
    /// Issues a key with this lifetime, or with the expiry that a fault sets. Rounds down to seconds, as the
    /// response does.
    pub(super) fn issue(&self, issuer: &str, lifetime: Duration) -> IssuedKey {
        let fault =
            self.effects.iter().find_map(|e| if let Effect::ExpiresIn(ms) = e { Some(*ms) } else { None });
        let expires_ms = self.now_ms.saturating_add(fault.unwrap_or_else(|| millis(lifetime)));
        self.keys.issue(issuer, expires_ms.div_euclid(1000) * 1000 - self.clock_skew_ms)
    }

    /// Returns the common fields of a key.
    pub(super) fn key_fields(&self, key: &IssuedKey) -> Value {
        json!({
            "AccessKeyId": key.id,
            "AccessKeySecret": key.secret,
            "SecurityToken": key.token,
            "Expiration": rfc3339_seconds(key.expires_ms.saturating_add(self.clock_skew_ms)),
        })
    }

    /// Returns a key in the format of the metadata service and of credentials URIs.
    pub(super) fn key_document(&self, key: &IssuedKey) -> Value {
        let mut body = self.key_fields(key);
        body["LastUpdated"] = json!(rfc3339_seconds(self.now_ms));
        body["Code"] = json!("Success");
        body
    }
}

fn rfc3339_seconds(ms: i64) -> String {
    jiff::Timestamp::from_second(ms.div_euclid(1000)).map_or_else(|_| String::new(), |t| t.to_string())
}

struct CredentialServer<R> {
    rules: Mutex<R>,
    memory: Mutex<ServiceMemory>,
    keys: KeyRegistry,
    faults: Mutex<Faults>,
    call_log: Mutex<CallLog>,
    rng: Mutex<ChaCha8Rng>,
}

impl<R> CredentialService<R> {
    /// Starts the service on a free port of the loopback interface. Adds the keys that it issues to `keys`.
    ///
    /// # Errors
    /// If no port can be bound.
    #[expect(private_bounds, reason = "the rules are public, their evaluation is not")]
    pub fn start(rules: R, keys: &KeyRegistry) -> io::Result<Self>
    where
        R: CredentialRules,
    {
        let server = Arc::new(CredentialServer {
            rules: Mutex::new(rules),
            memory: Mutex::default(),
            keys: keys.clone(),
            faults: Mutex::default(),
            call_log: Mutex::new(CallLog::new(CALL_LOG_LIMIT)),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(0x57)),
        });
        let handler = Arc::<CredentialServer<R>>::clone(&server);
        let listener = ReopenableListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), handler)?;
        Ok(Self { server, listener })
    }

    /// Returns the listen address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// Returns the base URL, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Reads or changes the rules. Changes apply to the next call.
    pub fn rules<T>(&self, edit: impl FnOnce(&mut R) -> T) -> T {
        edit(&mut lock(&self.server.rules))
    }

    /// Adds or removes faults.
    pub fn faults<T>(&self, edit: impl FnOnce(&mut Faults) -> T) -> T {
        edit(&mut lock(&self.server.faults))
    }

    /// Returns a copy of the call log.
    #[must_use]
    pub fn call_log(&self) -> CallLog {
        lock(&self.server.call_log).clone()
    }

    /// Drops all connections, and refuses new ones until [`Self::open`].
    pub async fn close(&mut self) {
        self.listener.close().await;
    }

    /// Listens again on the same address.
    ///
    /// # Errors
    /// If another process has taken the port.
    pub fn open(&mut self) -> io::Result<()> {
        self.listener.open()
    }
}

impl<R: CredentialRules> CredentialServer<R> {
    async fn respond_to(&self, call: &ApiCall) -> ApiResponse {
        let entry = R::log_entry(call);
        let number = lock(&self.call_log).begin(entry.clone());
        let request_id = request_id(&self.rng);
        let envelope = ErrorEnvelope { host: HOST, request_id: &request_id };
        let authorized = self.with_context(&[], &request_id, |rules, context| rules.authorize(call, context));
        let response = match authorized {
            Err(error) => envelope.error(&error, call.wants_json()),
            Ok(()) => {
                let effects = lock(&self.faults).apply(&entry);
                sleep_unless_zero(added_latency(&effects)).await;
                self.response(call, &entry.action, &effects, envelope)
            }
        };
        let response = response.with_date(wall_ms().saturating_add(lock(&self.rules).clock_skew_ms()));
        lock(&self.call_log).finish(number, &entry.action, response.status, &response.code);
        response
    }

    fn response(
        &self,
        call: &ApiCall,
        action: &str,
        effects: &[Effect],
        envelope: ErrorEnvelope<'_>,
    ) -> ApiResponse {
        if let Some(response) = envelope.replacement(effects, call) {
            return response;
        }
        match self.with_context(effects, envelope.request_id, |rules, context| rules.respond(call, context)) {
            Err(error) => envelope.error(&error, call.wants_json()),
            Ok(ServiceBody::Json(body)) => ApiResponse::with_effects(action, body, effects).0,
            Ok(ServiceBody::Text(text)) => {
                let mut response = ApiResponse::new(200, "text/plain;charset=utf-8", text, "200");
                response.apply_delivery_effects(effects);
                response
            }
        }
    }

    fn with_context<T>(
        &self,
        effects: &[Effect],
        request_id: &str,
        run: impl FnOnce(&R, &mut RequestContext<'_>) -> T,
    ) -> T {
        let rules = lock(&self.rules);
        let memory = &mut *lock(&self.memory);
        let clock_skew_ms = rules.clock_skew_ms();
        let now_ms = wall_ms().saturating_add(clock_skew_ms);
        let mut context =
            RequestContext { memory, keys: &self.keys, effects, request_id, now_ms, clock_skew_ms };
        run(&rules, &mut context)
    }
}

impl<R: CredentialRules> RequestHandler for CredentialServer<R> {
    fn respond<'a>(&'a self, call: &'a ApiCall) -> ResponseFuture<'a> {
        Box::pin(self.respond_to(call))
    }
}
