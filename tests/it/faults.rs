//! Whatever fails in the cloud, the exporter exposes no wrong value, keeps values until they are stale, stays within
//! its budget, and logs each failure once, without secrets.
//!
//! Each test runs the exporter binary against a simulated cloud on loopback. Only the configuration scales time. Every
//! run ends with SIGTERM, exit code 0 within five seconds, and a search of all output for secrets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's own helpers fail by panicking, as its assertions do"
)]

mod accounts;
mod auth;
mod budget;
mod clock;
pub(crate) mod daemon;
mod deletion;
mod dns;
pub(crate) mod faults_md;
mod lists;
mod network;
mod persistent;
mod process;
mod reload;
mod revoked_key;
mod scope;
mod tls;
mod transient;
mod values;
mod watchdog;

use std::time::Duration;

use alikafka_simulator::{
    AccessKey, ConsumerMode, Effect, Fault, GroupSpec, InstanceSpec, OffsetSpec, ServiceBehaviour, Simulator,
    SimulatorOptions, TopicSpec, World, WorldOptions,
};
use daemon::{Daemon, Launch, SECRETS};
use test_support::scrape::Scrape;

pub(crate) const REGION: &str = "cn-hangzhou";
pub(crate) const A: &str = "alikafka_post-cn-a";
pub(crate) const B: &str = "alikafka_post-cn-b";

/// Initial lag of each group of [`cloud`]: 10 and 7 messages on the two partitions of its topic.
pub(crate) const LAG_BEFORE: f64 = 17.0;
/// Lag of each group after [`write_more`].
pub(crate) const LAG_AFTER: f64 = 27.0;

/// Starts a cloud without instances that accepts the exporter's access key.
pub(crate) async fn empty_cloud(regions: &[&str]) -> Simulator {
    let behaviour = ServiceBehaviour { keys: vec![key()], ..ServiceBehaviour::default() };
    let world = WorldOptions::empty(regions.iter().copied());
    Simulator::start(SimulatorOptions { world, behaviour, ..SimulatorOptions::default() }).await.unwrap()
}

fn key() -> AccessKey {
    let [id, secret, token] = SECRETS;
    AccessKey::new(id, secret).with_token(token)
}

/// Starts a cloud of two instances. Each has the topics `orders` and `audit` with two partitions, and the stopped groups
/// `billing`, which consumes `orders`, and `shipping`, which consumes `audit`. Only [`write_more`] changes a lag.
pub(crate) async fn cloud() -> Simulator {
    let sim = empty_cloud(&[REGION]).await;
    sim.with_world(|w| {
        for id in [A, B] {
            add_instance(w, REGION, id);
        }
    });
    sim
}

pub(crate) fn add_instance(world: &mut World, region: &str, id: &str) {
    world.add_instance(region, InstanceSpec::new(id));
    for (topic, group) in [("orders", "billing"), ("audit", "shipping")] {
        world.add_topic(id, TopicSpec::new(topic, 2)).unwrap();
        world.append(id, topic, 0, 10).unwrap();
        world.append(id, topic, 1, 7).unwrap();
        add_group(world, id, group, topic);
    }
}

fn add_group(world: &mut World, id: &str, group: &str, topic: &str) {
    let spec = GroupSpec {
        consumer: ConsumerMode::Stopped,
        from: OffsetSpec::Start,
        ..GroupSpec::new(group, &[topic])
    };
    world.add_group(id, spec).unwrap();
}

/// Writes ten messages into each topic of two partitions, so that a refreshed value differs from the old one.
pub(crate) fn write_more(world: &mut World) {
    for (_, id) in world.instances_in_service() {
        for topic in world.topics(&id) {
            let partitions = world.topic_truth(&id, &topic).unwrap().partitions.len();
            for (partition, messages) in (0..).zip([4, 6]).take(partitions) {
                world.append(&id, &topic, partition, messages).unwrap();
            }
        }
    }
}

/// Whether all four groups of [`cloud`] have this lag.
pub(crate) fn all_lag_by(scrape: &Scrape, lag: f64) -> bool {
    [A, B].iter().all(|i| ["billing", "shipping"].iter().all(|g| scrape.lag(i, g) == Some(lag)))
}

pub(crate) fn error(status: u16, code: &str, message: &str) -> Effect {
    Effect::Error { status, code: code.to_owned(), message: message.to_owned() }
}

pub(crate) fn raw(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Effect {
    Effect::Raw { status, content_type: content_type.to_owned(), body: body.into() }
}

/// A valid response that lacks its payload.
fn without_payload() -> Effect {
    raw(200, "application/json", r#"{"Code":200,"Success":true,"RequestId":"R-1","Message":"ok"}"#)
}

pub(crate) fn on_group(group: &str, effect: Effect) -> Fault {
    Fault::new(effect).action("GetConsumerProgress").instance(A).object(group)
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}
