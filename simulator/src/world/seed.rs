//! Generates the seeded world: instances, topics and groups of every kind, with a history.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{
    group::{Group, GroupCursor, RebalancePlan},
    instance::Instance,
    names,
    partition_log::{Burst, PartitionLog, ProduceRate},
    spec::{ConsumerMode, InstanceSpec},
    topic::Topic,
};
use crate::{clock::millis, options::WorldOptions};

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// Beyond 2^53, where an f64 cannot represent every integer.
const BIG_BASE: i64 = (1 << 53) + 1;
/// (`ServiceStatus`, `ViewInstanceStatusCode`) of instances that are not in service.
const IDLE_STATES: [(i64, Option<i64>); 5] =
    [(0, Some(0)), (15, Some(5)), (5, Some(3)), (1, Some(1)), (10, None)];

/// Returns the instances of a world by region and id.
pub(super) fn generate(
    rng: &mut ChaCha8Rng,
    options: &WorldOptions,
    now: i64,
) -> BTreeMap<String, BTreeMap<String, Instance>> {
    let per_region = options.instances_per_region + options.idle_instances_per_region;
    let mut nth = 0;
    let mut regions = BTreeMap::new();
    for region in &options.regions {
        let mut instances = BTreeMap::new();
        for i in 0..per_region {
            let idle = i.checked_sub(options.instances_per_region);
            let instance = instance(rng, options, region, nth, idle, now);
            instances.insert(instance.spec.id.clone(), instance);
            nth += 1;
        }
        regions.insert(region.clone(), instances);
    }
    regions
}

fn letters(rng: &mut ChaCha8Rng, n: usize) -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    (0..n).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}

fn every(nth: usize, period: u32) -> bool {
    period > 0 && (nth + 1).is_multiple_of(period as usize)
}

fn instance(
    rng: &mut ChaCha8Rng,
    o: &WorldOptions,
    region: &str,
    nth: usize,
    idle: Option<u32>,
    now: i64,
) -> Instance {
    let serverless = every(nth, o.serverless_every);
    let prepaid = nth.is_multiple_of(3);
    let (kind, spec_type) = match (serverless, prepaid) {
        (true, _) => ("serverless", "serverless"),
        (false, true) => ("pre", "professional"),
        (false, false) => ("post", "normal"),
    };
    let (service_status, view_status) = match idle {
        Some(i) => IDLE_STATES[i as usize % IDLE_STATES.len()],
        // Some old instances have only the old status.
        None => (5, (nth % 4 != 3).then_some(2)),
    };
    let created_ms = now - rng.random_range(30..900) * DAY_MS;
    let id = format!("alikafka_{kind}-{}-{}", region.split('-').next().unwrap_or("cn"), letters(rng, 11));
    let has_expired = service_status == 15;
    let mut generated = Instance {
        spec: InstanceSpec {
            name: names::instance(nth, o.unusual_names),
            service_status,
            view_status,
            serverless,
            prepaid,
            retention_hours: o.retention_hours,
            tags: vec![
                ("team".to_owned(), ["core", "data", "growth"][nth % 3].to_owned()),
                (if o.unusual_names { "环境" } else { "env" }.to_owned(), "生产 环境".to_owned()),
            ],
            ..InstanceSpec::new(&id)
        },
        region: region.to_owned(),
        spec_type,
        deploy_type: if nth.is_multiple_of(2) { 5 } else { 4 },
        version: ["2.2.0", "2.6.2", "3.3.1"][nth % 3],
        disk_gb: [500, 900, 3600][nth % 3],
        created_ms,
        expires_ms: now + if has_expired { -2 } else { rng.random_range(5..400) } * DAY_MS,
        topics: BTreeMap::new(),
        groups: BTreeMap::new(),
    };
    if idle.is_none() {
        for i in 0..o.topics_per_instance as usize {
            let topic = topic(rng, o, i, &generated, now);
            generated.topics.insert(topic.name.clone(), topic);
        }
        let topics: Vec<String> =
            (0..o.topics_per_instance as usize).map(|i| names::topic(i, o.unusual_names)).collect();
        for i in 0..o.groups_per_instance as usize {
            let group = group(rng, o, i, &generated, &topics, now);
            generated.groups.insert(group.name.clone(), group);
        }
    }
    generated
}

fn topic(rng: &mut ChaCha8Rng, o: &WorldOptions, i: usize, home: &Instance, now: i64) -> Topic {
    let local = every(i, o.local_every);
    // Every other Local topic is compacted, without retention.
    let compact = local && every(i, o.local_every.saturating_mul(2));
    let retention_ms = home.retention_ms();
    let per_hour = rng.random_range(2_000..100_000_i64);
    let created_ms = now - rng.random_range(30..300) * DAY_MS;
    let logs = (0..o.partitions_per_topic).map(|p| {
        let partition_per_hour = per_hour * rng.random_range(50..150) / 100;
        let (rate, age) = match i % 6 {
            _ if !o.variety => (ProduceRate::steady(partition_per_hour), retention_ms * 5 / 4),
            // Written in bursts of a few minutes per period.
            1 | 4 => {
                let period_ms = rng.random_range(4..20) * MINUTE_MS;
                let burst = Burst { period_ms, on_ms: period_ms * rng.random_range(15..40) / 100 };
                (ProduceRate { per_hour: partition_per_hour * 3, burst: Some(burst) }, retention_ms * 5 / 4)
            }
            // Rarely written; its last partition never is.
            5 if p + 1 == o.partitions_per_topic => (ProduceRate::IDLE, 0),
            5 => (ProduceRate::steady(rng.random_range(1..30)), retention_ms * 5 / 4),
            // Younger than retention.
            3 => (ProduceRate::steady(partition_per_hour), (6 * HOUR_MS).min(retention_ms)),
            _ => (ProduceRate::steady(partition_per_hour), retention_ms * 5 / 4),
        };
        let base = if o.big_offsets { BIG_BASE + rng.random_range(0..1_000) } else { 0 };
        let segment = (rate.mean_per_hour() / 2).max(10);
        PartitionLog::new(
            base,
            now - age - rng.random_range(0..MINUTE_MS),
            rate,
            segment,
            (!compact).then_some(retention_ms),
        )
    });
    Topic {
        name: names::topic(i, o.unusual_names),
        local,
        compact,
        producer_clock_skew_ms: 0,
        created_ms,
        logs: logs.collect(),
    }
}

fn group(
    rng: &mut ChaCha8Rng,
    o: &WorldOptions,
    i: usize,
    home: &Instance,
    topics: &[String],
    now: i64,
) -> Group {
    // (consumer mode, initial lag in time)
    let (consumer, behind_ms) = match i % 9 {
        _ if !o.variety => (ConsumerMode::Healthy, 0),
        1 => (ConsumerMode::Paced { percent: rng.random_range(70..97) }, 10 * MINUTE_MS),
        2 => (
            ConsumerMode::Flapping {
                period_ms: rng.random_range(20..60) * MINUTE_MS,
                stalled_ms: 7 * MINUTE_MS,
            },
            0,
        ),
        4 => (ConsumerMode::Stalled, rng.random_range(10..60) * MINUTE_MS),
        5 => (ConsumerMode::Paced { percent: rng.random_range(120..300) }, 2 * HOUR_MS),
        // Stopped for longer than retention.
        7 if i % 18 == 16 => (ConsumerMode::Stopped, home.retention_ms() * 9 / 8),
        7 => (ConsumerMode::Stopped, rng.random_range(1..12) * HOUR_MS),
        _ => (ConsumerMode::Healthy, 0),
    };
    // In a varied world one of nine groups consumes nothing, and the last topic has no consumers.
    let topic_count = match (o.variety, i % 9) {
        (true, 8) => 0,
        _ => o.topics_per_group as usize,
    };
    let consumable = if o.variety && topics.len() > 1 { topics.len() - 1 } else { topics.len() };
    let mut group = Group {
        name: names::group(i, o.unusual_names),
        created_ms: now - rng.random_range(1..200) * DAY_MS - rng.random_range(0..HOUR_MS),
        consumer,
        members: if consumer == ConsumerMode::Stopped {
            0
        } else {
            i64::from(o.partitions_per_topic.clamp(1, 3))
        },
        rebalances: RebalancePlan::new(
            (o.variety && i % 4 != 3).then(|| rng.random_range(30..180) * MINUTE_MS),
            rng.random_range(5..40) * 1_000,
        ),
        cursors: BTreeMap::new(),
        commit_ms: millis(o.commit_interval).max(1),
        phase_ms: now - rng.random_range(0..millis(o.commit_interval).max(1)),
    };
    group.rebalances.set_has_members(consumer != ConsumerMode::Stopped, now - behind_ms);
    for k in 0..topic_count.min(consumable) {
        let name = &topics[(i + k * 3) % consumable];
        let Some(topic) = home.topics.get(name) else { continue };
        let cursors = (0..).zip(&topic.logs).map(|(p, log)| {
            // Some partitions have no committed offset: the API returns -1 or does not list them.
            let never = o.variety && p == 1 && matches!(i % 9, 3 | 6);
            let committed = (!never).then(|| log.end(now - behind_ms));
            GroupCursor::new(committed, !never || i % 9 == 3, !never, now)
        });
        group.cursors.insert(name.clone(), cursors.collect());
    }
    group
}

#[cfg(test)]
mod tests {
    use crate::{
        options::{Churn, WorldOptions},
        world::{World, truth::WorldTruth},
    };

    const EPOCH: i64 = 1_790_000_000_000;

    fn busy() -> WorldOptions {
        WorldOptions {
            regions: vec!["cn-hangzhou".to_owned(), "eu-central-1".to_owned()],
            churn: Churn { topics_per_hour: 60, groups_per_hour: 120 },
            serverless_every: 2,
            local_every: 3,
            unusual_names: true,
            big_offsets: true,
            groups_per_instance: 20,
            ..WorldOptions::default()
        }
    }

    #[test]
    fn equal_seeds_make_equal_worlds_for_any_clock_steps() {
        let (mut a, mut b) = (World::new(busy(), EPOCH), World::new(busy(), EPOCH));
        assert_eq!(a.truth(), b.truth());
        for s in 1..=600 {
            a.advance_to(EPOCH + s * 3_000);
            let _ = a.truth();
        }
        b.advance_to(EPOCH + 1_800_000);
        assert_eq!(a.truth(), b.truth());
        let other = World::new(WorldOptions { seed: 2, ..busy() }, EPOCH).truth();
        assert_ne!(other, World::new(busy(), EPOCH).truth());
    }

    #[test]
    fn a_varied_world_has_every_kind_of_scenario() {
        let mut world = World::new(busy(), EPOCH);
        world.advance_to(EPOCH + 3_600_000);
        let truth = world.truth();
        let instances: Vec<_> = truth.regions.values().flat_map(|r| r.instances.values()).collect();
        let groups: Vec<_> = instances.iter().flat_map(|i| i.groups.values()).collect();
        let parts: Vec<_> =
            groups.iter().flat_map(|g| g.topics.values()).flat_map(|t| &t.partitions).collect();
        assert!(instances.iter().any(|i| !i.in_service) && instances.iter().any(|i| i.serverless));
        assert!(groups.iter().any(|g| g.topics.is_empty()));
        assert!(groups.iter().any(|g| g.state == "EMPTY") && groups.iter().any(|g| g.state == "STABLE"));
        assert!(parts.iter().any(|p| p.committed.is_none() && p.listed));
        assert!(parts.iter().any(|p| p.committed.is_none() && !p.listed));
        assert!(parts.iter().any(|p| p.committed.is_some_and(|c| c < p.start)), "data loss");
        assert!(parts.iter().any(|p| p.lag == Some(0)) && parts.iter().any(|p| p.lag > Some(0)));
        assert!(parts.iter().any(|p| p.end > 1 << 53));
        let topics = || instances.iter().flat_map(|i| i.topics.iter().map(|(n, t)| (*i, n, t)));
        assert!(
            topics().any(|(i, n, _)| i.groups.values().all(|g| !g.topics.contains_key(n))),
            "no consumers"
        );
        assert!(topics().any(|(.., t)| t.partitions.iter().any(|p| p.last_write_ms.is_none())));
        assert!(topics().any(|(.., t)| t.compact) && topics().any(|(.., t)| t.local && !t.compact));
    }

    #[test]
    fn offsets_only_increase() {
        let mut world = World::new(WorldOptions { retention_hours: 2, ..WorldOptions::default() }, EPOCH);
        let before = world.truth();
        world.advance_to(EPOCH + 3 * 3_600_000);
        let after = world.truth();
        let pairs: Vec<_> = before.regions["cn-hangzhou"]
            .instances
            .values()
            .flat_map(|i| {
                i.topics.iter().flat_map(|(n, t)| {
                    let later = &after.regions["cn-hangzhou"].instances[&i.id].topics[n].partitions;
                    t.partitions.iter().zip(later)
                })
            })
            .collect();
        assert!(pairs.iter().all(|(a, b)| a.start <= b.start && a.end <= b.end && b.start <= b.end));
        assert!(pairs.iter().any(|(a, b)| a.start < b.start) && pairs.iter().any(|(a, b)| a.end < b.end));
    }

    #[test]
    fn churn_creates_and_deletes() {
        let mut world = World::new(busy(), EPOCH);
        let before = world.truth();
        world.advance_to(EPOCH + 3_600_000);
        let groups = |t: &WorldTruth| {
            t.regions.values().flat_map(|r| r.instances.values()).map(|i| i.groups.len()).sum::<usize>()
        };
        assert_eq!(groups(&world.truth()), groups(&before) + 3, "120 created, all but three deleted");
    }
}
