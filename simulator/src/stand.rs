//! Services that hand out temporary keys: what is common to the token service, the metadata of a machine, and
//! an address of one's own.
//!
//! Owns: [`StandIn`], its doors, faults and ledger, and the ends of the keys it hands out. Refuses: deciding
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
    auth::{self, Nonces},
    clock::{millis, wall_ms},
    faults::{Effect, Faults, Matter},
    keys::{Issued, Keys},
    ledger::{Entry, Ledger},
    reply::{Envelope, Reply},
    request::Call,
    server::{Answering, Door, Site},
    service::{latency, lock, request_id, sleep_unless_zero},
    wire::Refusal,
};

mod metadata;
mod sts;
mod uri;

pub use metadata::{Metadata, MetadataRules, TokenMode};
pub use sts::{Role, Sts, StsRules};
pub use uri::{UriRules, UriSource};

/// `HostId` of errors.
const HOST: &str = "sts.aliyuncs.com";
/// Calls that the ledger keeps in full.
const LEDGER_LIMIT: usize = 100_000;

/// A running service that hands out keys, as its rules say. Dropping it stops it, without waiting.
///
/// Faults and the ledger know its calls by these actions: `AssumeRole` and `AssumeRoleWithOIDC` of [`Sts`];
/// `PutToken`, `ListRole` and `GetKey` of [`Metadata`]; `GetKey` of [`UriSource`]. The object is the role.
/// Effects on lists and rows do nothing here.
pub struct StandIn<R> {
    inner: Arc<Inner<R>>,
    door: Door,
}

/// Who gets which key.
pub(crate) trait HandOut: Send + 'static {
    /// Milliseconds by which the service's clock is off.
    fn skew_ms(&self) -> i64;

    /// What a call is, for faults and the ledger.
    fn asked(call: &Call) -> Asked;

    /// Whether the call may have what it asks.
    fn let_in(&self, call: &Call, desk: &mut Desk<'_>) -> Result<(), Refusal>;

    /// What it gets.
    fn answer(&self, call: &Call, desk: &mut Desk<'_>) -> Result<Given, Refusal>;
}

/// What is remembered between calls.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    nonces: Nonces,
    /// Tokens of the machine's metadata, and their ends.
    tokens: BTreeMap<String, i64>,
    /// The key that was handed out last.
    key: Option<Issued>,
}

/// What a call is.
pub(crate) struct Asked {
    action: String,
    object: Option<String>,
    details: BTreeMap<String, String>,
}

/// What a call gets.
pub(crate) enum Given {
    Text(String),
    Json(Value),
}

/// What is at hand while a call is answered.
pub(crate) struct Desk<'d> {
    memory: &'d mut Memory,
    keys: &'d Keys,
    effects: &'d [Effect],
    request_id: &'d str,
    /// The service's own time.
    now_ms: i64,
    skew_ms: i64,
}

impl Desk<'_> {
    /// Makes a key that lives so long, cut to the whole second that will be told, unless a fault says when it
    /// ends.
    fn issue(&self, issuer: &str, lifetime: Duration) -> Issued {
        let told =
            self.effects.iter().find_map(|e| if let Effect::ExpiresIn(ms) = e { Some(*ms) } else { None });
        let end = self.now_ms.saturating_add(told.unwrap_or_else(|| millis(lifetime)));
        let end = end.div_euclid(1000) * 1000;
        self.keys.issue(issuer, end - self.skew_ms)
    }

    /// A key's fields as all of these services spell them.
    fn spell(&self, key: &Issued) -> Value {
        json!({
            "AccessKeyId": key.id,
            "AccessKeySecret": key.secret,
            "SecurityToken": key.token,
            "Expiration": stamp(key.expires_ms.saturating_add(self.skew_ms)),
        })
    }

    /// The same, as the machine's metadata and one's own address have it.
    fn spell_alone(&self, key: &Issued) -> Value {
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

struct Inner<R> {
    rules: Mutex<R>,
    memory: Mutex<Memory>,
    keys: Keys,
    faults: Mutex<Faults>,
    ledger: Mutex<Ledger>,
    rng: Mutex<ChaCha8Rng>,
}

impl<R> StandIn<R> {
    fn serve(rules: R, keys: &Keys) -> io::Result<Self>
    where
        R: HandOut,
    {
        let inner = Arc::new(Inner {
            rules: Mutex::new(rules),
            memory: Mutex::default(),
            keys: keys.clone(),
            faults: Mutex::default(),
            ledger: Mutex::new(Ledger::new(LEDGER_LIMIT)),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(0x57)),
        });
        let door = Door::open_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Arc::<Inner<R>>::clone(&inner))?;
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
    pub fn ledger(&self) -> Ledger {
        lock(&self.inner.ledger).clone()
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

impl<R: HandOut> Inner<R> {
    async fn call(&self, call: &Call) -> Reply {
        let asked = R::asked(call);
        let number = self.enter(call, &asked);
        let request_id = request_id(&self.rng);
        let envelope = Envelope { host: HOST, request_id: &request_id };
        let json = call.wants_json();
        let reply = match self.at_desk(&[], &request_id, |rules, desk| rules.let_in(call, desk)) {
            Err(refusal) => envelope.refused(&refusal, json),
            Ok(()) => {
                let object = asked.object.as_deref();
                let matter = Matter { action: &asked.action, region: "", instance: None, object };
                let effects = lock(&self.faults).meet(&matter);
                sleep_unless_zero(latency(&effects)).await;
                self.reply(call, &asked.action, &effects, envelope)
            }
        };
        let reply = reply.dated(wall_ms().saturating_add(lock(&self.rules).skew_ms()));
        lock(&self.ledger).finish(number, &asked.action, reply.status, &reply.code);
        reply
    }

    fn reply(&self, call: &Call, action: &str, effects: &[Effect], envelope: Envelope<'_>) -> Reply {
        if let Some(reply) = envelope.instead(effects, call) {
            return reply;
        }
        match self.at_desk(effects, envelope.request_id, |rules, desk| rules.answer(call, desk)) {
            Err(refusal) => envelope.refused(&refusal, call.wants_json()),
            Ok(Given::Json(body)) => Reply::dressed(action, body, effects).0,
            Ok(Given::Text(text)) => {
                let mut reply = Reply::new(200, "text/plain;charset=utf-8", text.into_bytes(), "200");
                reply.deliver(effects);
                reply
            }
        }
    }

    fn at_desk<T>(
        &self,
        effects: &[Effect],
        request_id: &str,
        act: impl FnOnce(&R, &mut Desk<'_>) -> T,
    ) -> T {
        let rules = lock(&self.rules);
        let memory = &mut *lock(&self.memory);
        let skew_ms = rules.skew_ms();
        let now_ms = wall_ms().saturating_add(skew_ms);
        let mut desk = Desk { memory, keys: &self.keys, effects, request_id, now_ms, skew_ms };
        act(&rules, &mut desk)
    }

    fn enter(&self, call: &Call, asked: &Asked) -> u64 {
        let (signature, key_id) = auth::named(call);
        let entry = Entry {
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
        lock(&self.ledger).begin(entry)
    }
}

impl<R: HandOut> Site for Inner<R> {
    fn answer<'a>(&'a self, call: &'a Call) -> Answering<'a> {
        Box::pin(self.call(call))
    }
}
