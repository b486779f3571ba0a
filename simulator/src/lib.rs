//! A simulator of the AliKafka management API (RPC style, version 2019-09-16), for tests, benches and the demo.
//!
//! It imitates the wire format of the real service, including its quirks. It shares no code with the exporter, which
//! reaches it only over HTTP. The API serves a seeded [`World`] that changes over time and whose ground truth is public:
//!
//! ```
//! # async fn example() -> std::io::Result<()> {
//! use alikafka_simulator::{Effect, Fault, Simulator, SimulatorOptions};
//! use std::time::Duration;
//!
//! let sim = Simulator::start(SimulatorOptions::default()).await?;
//! let endpoint = sim.url();
//! sim.advance(Duration::from_secs(60));
//! sim.faults(|f| f.add(Fault::new(Effect::Hang).action("GetTopicStatus").times(3)));
//! let truth = sim.truth();
//! let max_per_second = sim.call_log().max_in_window(Duration::from_secs(1));
//! sim.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Shells and scripts use unsigned admin paths below `/_sim/`, which `alikafka-simulator --help` lists.
//!
//! [`StsService`], [`MetadataService`] and [`UriService`] simulate the services that issue temporary keys. If they share
//! a [`KeyRegistry`] with the API, it accepts those keys until they expire.
//!
//! Owns: its own implementation of the signatures ([`sign`]), quotas, pagination, RAM denials, faults, and the call log.
//! Out of scope: TLS (the exporter accepts plain HTTP on loopback only), and all actions that write.
//!
//! # Layers
//!
//! A module imports only from lower layers:
//!
//! 1. `clock`, `request`, `sign`, `sync`
//! 2. `access_keys`
//! 3. `options`
//! 4. `wire`, `world` (inside, from low to high: `partition_log`, `spec`, `truth`, `topic`, `group`, `instance`, `seed`,
//!    and [`World`] itself)
//! 5. `auth`, `quota`, `scenarios`, `served`
//! 6. `actions`, `call_log`
//! 7. `faults`
//! 8. `body`, `fault_json`, `mutate`
//! 9. `response`
//! 10. `management_api`, `server`
//! 11. `admin`, `credential_services`
//! 12. [`Simulator`]

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
mod sync;
mod wire;
mod world;

pub use access_keys::{AccessKey, IssuedKey, KeyRegistry};
pub use auth::SignatureKind;
pub use call_log::{CallLog, CallLogEntry};
pub use clock::ClockMode;
pub use credential_services::{
    CredentialService, MetadataRules, MetadataService, StsRole, StsRules, StsService, TokenMode, UriRules,
    UriService,
};
pub use faults::{Effect, Fault, Faults, Occurrence, WrongType};
pub use options::{
    Churn, HideLastTimestamp, Latency, ListShape, Quota, ServiceBehaviour, SimulatorOptions, WorldOptions,
};
pub use scenarios::{SCENARIOS, Scenario};
pub use served::{LastServed, ObjectKey, ServedTruth};
pub use world::{
    UnknownObject, World,
    partition_log::{Burst, Compaction, ProduceRate},
    spec::{ConsumerMode, GroupSpec, InstanceSpec, OffsetSpec, TopicSpec},
    truth::{
        GroupPartitionTruth, GroupTopicTruth, GroupTruth, InstanceTruth, PartitionTruth, RegionTruth,
        TopicTruth, WorldTruth,
    },
};

use admin::SimulatorRoutes;
use management_api::ManagementApi;
use server::ReopenableListener;
use sync::lock;

/// A running simulator. Dropping it stops it without waiting.
pub struct Simulator {
    api: Arc<ManagementApi>,
    listener: ReopenableListener,
}

impl Simulator {
    /// Creates the world and starts serving, on the current runtime.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn start(options: SimulatorOptions) -> io::Result<Self> {
        let api = Arc::new(ManagementApi::new(&options));
        let routes = Arc::new(SimulatorRoutes(Arc::clone(&api)));
        Ok(Self { api, listener: ReopenableListener::bind(options.listen, routes)? })
    }

    /// Returns the listen address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// Returns the base URL without a trailing slash, for the exporter's key `endpoint`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Stops accepting, drops all connections, and waits until they are closed.
    pub async fn shutdown(mut self) {
        self.listener.close().await;
    }

    /// Reads or edits the world. Calls wait meanwhile.
    pub fn with_world<T>(&self, edit: impl FnOnce(&mut World) -> T) -> T {
        self.api.with_world(edit)
    }

    /// Returns the current ground truth of the world.
    #[must_use]
    pub fn truth(&self) -> WorldTruth {
        self.with_world(|w| w.truth())
    }

    /// Returns the ground truth of the last complete response about each object.
    #[must_use]
    pub fn served(&self) -> ServedTruth {
        lock(&self.api.served).clone()
    }

    /// Adds or removes faults.
    pub fn faults<T>(&self, edit: impl FnOnce(&mut Faults) -> T) -> T {
        edit(&mut lock(&self.api.faults))
    }

    /// Returns a copy of the call log.
    #[must_use]
    pub fn call_log(&self) -> CallLog {
        lock(&self.api.call_log).clone()
    }

    /// Reads the call log without copying it.
    pub fn with_call_log<T>(&self, read: impl FnOnce(&CallLog) -> T) -> T {
        read(&lock(&self.api.call_log))
    }

    /// Changes the behaviour of the API, starting with the next call.
    pub fn behaviour<T>(&self, edit: impl FnOnce(&mut ServiceBehaviour) -> T) -> T {
        edit(Arc::make_mut(&mut lock(&self.api.behaviour)))
    }

    /// Returns world time, in Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.with_world(|w| w.now_ms())
    }

    /// Advances world time, in every clock mode.
    pub fn advance(&self, by: Duration) {
        self.api.set_clock(|c| c.advance(by));
    }
}
