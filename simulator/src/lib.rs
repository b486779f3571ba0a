//! A stand-in for the AliKafka management API (RPC style, version 2019-09-16), for tests, benches and the demo.
//!
//! It speaks the wire as the real service does, quirks included, and shares no code with the product, which
//! reaches it only over HTTP. Behind it is a seeded [`World`] that moves on a clock, whose truth is public:
//!
//! ```
//! # async fn example() -> std::io::Result<()> {
//! use alikafka_simulator::{Effect, Fault, SimulatorOptions, Simulator};
//! use std::time::Duration;
//!
//! let sim = Simulator::start(SimulatorOptions::default()).await?;
//! let endpoint = sim.url();
//! sim.advance(Duration::from_secs(60));
//! sim.faults(|f| f.add(Fault::new(Effect::Hang).action("GetTopicStatus").times(3)));
//! let truth = sim.truth();
//! let fullest = sim.call_log().max_in_window(Duration::from_secs(1));
//! sim.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! For proofs from a shell there are unsigned paths: `GET /_sim/truth`, `/_sim/served`, `/_sim/calls` and
//! `/_sim/scenarios`,
//! `POST /_sim/advance?seconds=`, `/_sim/recreate?instance=&topic=`, `/_sim/freeze` and `/_sim/unfreeze`; integers are exact there too.
//! `POST /_sim/faults` adds faults: `{"effect": "error", "status": 503, "probability": 0.05, "seed": 7}`.
//!
//! Beside it are stand-ins for the services that hand out keys: [`StsService`], [`MetadataService`] and [`UriService`]. With
//! one register of [`KeyRegistry`] the simulated API takes the keys that they hand out, until they end.
//!
//! Owns: signatures by its own code ([`sign`]), quotas, paging, RAM denials, faults by script, the ledger of
//! calls. Refuses: TLS (the product lets plain http through to loopback only), every action that writes.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

mod access_keys;
mod actions;
mod admin;
mod auth;
mod body;
mod call_log;
mod clock;
mod credential_services;
mod fault_json;
mod faults;
mod management_api;
mod mutate;
mod options;
mod quota;
mod request;
mod response;
mod scenarios;
mod served;
mod server;
pub mod sign;
mod wire;
mod world;

pub use access_keys::{IssuedKey, KeyRegistry};
pub use auth::SignatureKind;
pub use call_log::{CallLog, CallLogEntry};
pub use credential_services::{
    CredentialService, MetadataRules, MetadataService, StsRole, StsRules, StsService, TokenMode, UriRules,
    UriService,
};
pub use faults::{Effect, Fault, Faults, Occurrence, WrongType};
pub use options::{
    AccessKey, Churn, ClockMode, HideLastTimestamp, Latency, ListShape, Quota, ServiceBehaviour,
    SimulatorOptions, WorldOptions,
};
pub use scenarios::{SCENARIOS, Scenario};
pub use served::{LastServed, ObjectKey, ServedTruth};
pub use world::{
    World,
    edit::UnknownObject,
    group::ConsumerMode,
    partition_log::{Burst, Compaction, ProduceRate},
    spec::{GroupSpec, InstanceSpec, OffsetSpec, TopicSpec},
    truth::{
        GroupPartitionTruth, GroupTopicTruth, GroupTruth, InstanceTruth, PartitionTruth, RegionTruth,
        TopicTruth, WorldTruth,
    },
};

use management_api::{ManagementApi, lock};
use server::ServiceListener;

/// A running simulator. Dropping it stops it, without waiting.
pub struct Simulator {
    service: Arc<ManagementApi>,
    door: ServiceListener,
}

impl Simulator {
    /// Makes the world, binds and serves, on the runtime that it is called from.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn start(options: SimulatorOptions) -> io::Result<Self> {
        let service = Arc::new(ManagementApi::new(&options));
        let door = ServiceListener::open_at(options.listen, Arc::<ManagementApi>::clone(&service))?;
        Ok(Self { service, door })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.door.addr()
    }

    /// Its base URL, without a slash at the end: what the exporter's key `endpoint` wants.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Stops accepting, drops all connections, and waits until they are gone.
    pub async fn shutdown(mut self) {
        self.door.close().await;
    }

    /// Looks at the world and changes it. No call is answered meanwhile.
    pub fn world<T>(&self, edit: impl FnOnce(&mut World) -> T) -> T {
        self.service.with_world(edit)
    }

    /// The truth about the whole world, now.
    #[must_use]
    pub fn truth(&self) -> WorldTruth {
        self.world(|w| w.truth())
    }

    /// What was told so far: the truth as it was at the last whole answer about each object.
    #[must_use]
    pub fn served(&self) -> ServedTruth {
        lock(&self.service.served).clone()
    }

    /// Adds and clears faults.
    pub fn faults<T>(&self, edit: impl FnOnce(&mut Faults) -> T) -> T {
        edit(&mut lock(&self.service.faults))
    }

    /// The calls that came so far.
    #[must_use]
    pub fn call_log(&self) -> CallLog {
        lock(&self.service.call_log).clone()
    }

    /// Looks at the ledger without copying it.
    pub fn with_call_log<T>(&self, look: impl FnOnce(&CallLog) -> T) -> T {
        look(&lock(&self.service.call_log))
    }

    /// Changes how the service answers, from the next call on: keys, quota, latency, clock skew, shapes.
    pub fn behaviour<T>(&self, edit: impl FnOnce(&mut ServiceBehaviour) -> T) -> T {
        edit(Arc::make_mut(&mut lock(&self.service.behaviour)))
    }

    /// World time, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.world(|w| w.now_ms())
    }

    /// Moves the world's time on; with either clock, frozen or not.
    pub fn advance(&self, by: Duration) {
        self.service.with_clock(|c| c.advance(by));
    }

    /// Stops a running clock.
    pub fn freeze(&self) {
        self.service.with_clock(|c| c.freeze());
    }

    /// Lets a frozen clock run on from where it stands.
    pub fn unfreeze(&self) {
        self.service.with_clock(|c| c.unfreeze());
    }
}
