//! Seeded worlds with every kind of topic and consumer, and operators who reset, recreate and delete.

use alikafka_exporter::model::LastTimestamps;
use alikafka_simulator::{
    Burst, Compaction, ConsumerMode, GroupSpec, InstanceSpec, OffsetSpec, ProduceRate, TopicSpec,
    WorldOptions,
};
use test_support::rng::Rng;
use tokio::time::Duration;

use super::harness::{LagHarness, PollingBehavior, REGION};

pub(super) const INSTANCE: &str = "i";
const MINUTE_MS: i64 = 60_000;
/// More messages than any partition gets during a gap between polls.
const MAX_MISSED_MESSAGES: i64 = 20_000;

/// Properties of a world.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorldTraits {
    pub(super) name: &'static str,
    pub(super) behavior: PollingBehavior,
    pub(super) serverless: bool,
    pub(super) retention_hours: u32,
    /// Whether retention and operators delete messages. A topic status from before a deletion is wrong, so such a
    /// world polls statuses and progress at the same time.
    pub(super) has_deletions: bool,
    /// Share of passes with a topic event, in percent.
    pub(super) topic_events: u64,
    /// Share of passes with a group event, in percent.
    pub(super) group_events: u64,
    /// Whether groups begin far behind and move back at times. Bounds of offsets that have been pruned or never polled are
    /// wider.
    pub(super) rewinds: bool,
    pub(super) commit: Duration,
    /// Minimum and maximum partitions per topic. Many partitions share the memory of the topic's window, which leaves more
    /// for the history.
    pub(super) partitions: (i64, i64),
}

impl WorldTraits {
    pub(super) const PLAIN: Self = Self {
        name: "plain",
        behavior: PollingBehavior::GOOD,
        serverless: false,
        retention_hours: 72,
        has_deletions: false,
        topic_events: 5,
        group_events: 25,
        rewinds: true,
        commit: Duration::from_secs(5),
        partitions: (2, 4),
    };

    /// Returns every kind of world.
    pub(super) fn all() -> Vec<Self> {
        let good = PollingBehavior::GOOD;
        let late = PollingBehavior { late_percent: 40, width_ms: 1_500, ..good };
        let together = PollingBehavior { together: true, ..late };
        let bad = PollingBehavior {
            late_percent: 100,
            fails_percent: 12,
            incomplete_percent: 15,
            shuffled: true,
            ..late
        };
        let rare = PollingBehavior { status_every: 5, width_ms: 5_000, ..late };
        let plain = Self::PLAIN;
        vec![
            plain,
            Self { name: "late", behavior: late, commit: Duration::from_secs(45), ..plain },
            Self { name: "serverless", behavior: late, serverless: true, ..plain },
            Self { name: "bad", behavior: bad, ..plain },
            Self { name: "bad serverless", behavior: bad, serverless: true, ..plain },
            Self { name: "rare statuses", behavior: rare, ..plain },
            Self { name: "no statuses", behavior: PollingBehavior { status_every: 0, ..late }, ..plain },
            Self {
                name: "always",
                behavior: PollingBehavior { last_timestamps: LastTimestamps::Always, ..late },
                ..plain
            },
            Self {
                name: "never",
                behavior: PollingBehavior { last_timestamps: LastTimestamps::Never, ..late },
                ..plain
            },
            Self { name: "recreated", behavior: bad, topic_events: 30, ..plain },
            Self { name: "deletions", behavior: together, retention_hours: 1, has_deletions: true, ..plain },
            Self {
                name: "deletions serverless",
                behavior: PollingBehavior { incomplete_percent: 15, ..together },
                retention_hours: 1,
                has_deletions: true,
                serverless: true,
                topic_events: 15,
                ..plain
            },
        ]
    }

    pub(super) async fn start(&self, seed: u64) -> LagHarness {
        let options = WorldOptions { commit_interval: self.commit, ..WorldOptions::empty([REGION]) };
        let mut harness = LagHarness::start(options, self.behavior, seed).await;
        harness.with_world(|w| {
            let spec = InstanceSpec { serverless: self.serverless, ..InstanceSpec::new(INSTANCE) };
            w.add_instance(REGION, InstanceSpec { retention_hours: self.retention_hours, ..spec });
        });
        for spec in topics(&mut harness.rng, self.partitions) {
            harness.with_world(|w| w.add_topic(INSTANCE, spec)).unwrap();
        }
        // Activity before the first poll.
        harness.advance(Duration::from_secs(5_000));
        for spec in groups(&mut harness.rng) {
            let from = if self.rewinds { spec.from } else { OffsetSpec::End };
            harness.with_world(|w| w.add_group(INSTANCE, GroupSpec { from, ..spec })).unwrap();
        }
        harness.advance(Duration::from_secs(200));
        harness
    }

    /// Changes the world between two passes.
    pub(super) fn change(&self, harness: &mut LagHarness) {
        if harness.rng.percent(self.group_events) {
            self.change_group(harness);
        }
        if harness.rng.percent(self.topic_events) {
            self.change_topic(harness);
        }
        // Rare messages to an idle topic.
        if harness.rng.percent(15) {
            let (partition, n) = (u32::try_from(harness.rng.below(2)).unwrap(), harness.rng.integer(1, 40));
            let topic = harness.rng.pick(&["idle-0", "idle-1", "idle-2"]);
            harness.with_world(|w| w.append(INSTANCE, topic, partition, n)).unwrap();
        }
    }

    fn change_group(&self, harness: &mut LagHarness) {
        let name = format!("group-{}", harness.rng.below(10));
        let truth = harness.with_world(|w| w.group_truth(INSTANCE, &name)).unwrap();
        let (topic, partition) = {
            let parts: Vec<_> = truth
                .topics
                .iter()
                .flat_map(|(t, topic)| topic.partitions.iter().map(move |p| (t.clone(), p.clone())))
                .collect();
            harness.rng.pick(&parts)
        };
        let number = u32::try_from(partition.partition).unwrap();
        match harness.rng.below(if self.rewinds { 10 } else { 7 }) {
            0..=3 => {
                let next = consumer(&mut harness.rng);
                harness.with_world(|w| w.set_consumer_mode(INSTANCE, &name, next)).unwrap();
            }
            7 => {
                let back = harness.rng.integer(1, 30_000);
                harness.with_world(|w| w.reset_offsets(INSTANCE, &name, OffsetSpec::Back(back))).unwrap();
            }
            8 => harness.with_world(|w| w.reset_offsets(INSTANCE, &name, OffsetSpec::Start)).unwrap(),
            4 => harness.with_world(|w| w.reset_offsets(INSTANCE, &name, OffsetSpec::End)).unwrap(),
            9 => {
                // Forward or back, sometimes beyond the end.
                let to = OffsetSpec::At(harness.rng.integer(partition.start, partition.end + 20));
                harness.with_world(|w| w.set_committed(INSTANCE, &name, &topic, number, to)).unwrap();
            }
            5 => {
                harness
                    .with_world(|w| w.set_committed(INSTANCE, &name, &topic, number, OffsetSpec::Unlisted))
                    .unwrap();
            }
            _ => {
                let duration = harness.rng.integer(10, 300) * 1_000;
                harness.with_world(|w| w.rebalance(INSTANCE, &name, duration)).unwrap();
            }
        }
    }

    fn change_topic(&self, harness: &mut LagHarness) {
        let names = harness.with_world(|w| w.topics(INSTANCE));
        let name = harness.rng.pick(&names);
        let truth = harness.with_world(|w| w.topic_truth(INSTANCE, &name)).unwrap();
        match harness.rng.below(if self.has_deletions { 7 } else { 4 }) {
            0 | 1 => {
                let keeps_committed = harness.rng.percent(50);
                harness.recreate(INSTANCE, &name, keeps_committed);
                // If no end moves back, only the topic list shows that the topic was recreated.
                if truth.partitions.iter().any(|p| p.end < MAX_MISSED_MESSAGES) {
                    harness.discover();
                }
            }
            2 if truth.partitions.len() < 7 => {
                harness.with_world(|w| w.add_partitions(INSTANCE, &name, 1)).unwrap();
            }
            2 | 3 => {
                let rate = if name.starts_with("idle") {
                    ProduceRate::IDLE
                } else {
                    produce_rate(&name, &mut harness.rng)
                };
                harness.with_world(|w| w.set_produce_rate(INSTANCE, &name, rate)).unwrap();
            }
            _ => {
                let p = harness.rng.pick(&truth.partitions);
                let before = harness.rng.integer(p.start, p.end);
                let number = u32::try_from(p.partition).unwrap();
                harness.with_world(|w| w.delete_records(INSTANCE, &name, number, before)).unwrap();
            }
        }
    }
}

fn produce_rate(name: &str, rng: &mut Rng) -> ProduceRate {
    match name.split('-').next() {
        Some("bursty") => {
            let period_ms = rng.integer(2, 15) * MINUTE_MS;
            let on_ms = period_ms * rng.integer(10, 50) / 100;
            ProduceRate { per_hour: rng.integer(10_000, 100_000), burst: Some(Burst { period_ms, on_ms }) }
        }
        Some("trickle") => ProduceRate::steady(rng.integer(3, 90)),
        Some("idle") => ProduceRate::IDLE,
        _ => ProduceRate::steady(rng.integer(500, 120_000)),
    }
}

fn topics(rng: &mut Rng, partitions: (i64, i64)) -> Vec<TopicSpec> {
    let kinds = ["steady", "bursty", "trickle", "idle", "compacted", "local", "big"];
    let mut all = Vec::new();
    for kind in kinds {
        for i in 0..3 {
            let name = format!("{kind}-{i}");
            let mut spec =
                TopicSpec::new(&name, u32::try_from(rng.integer(partitions.0, partitions.1)).unwrap());
            spec.rate = produce_rate(&name, rng);
            spec.segment = rng.integer(1, 2_000);
            spec.local = kind == "local";
            spec.compact = kind == "compacted";
            spec.compaction = spec.compact.then(|| Compaction {
                older_than_ms: rng.integer(1, 20) * MINUTE_MS,
                keep_every: rng.pick(&[2, 50, 5_000, 1_000_000]),
            });
            if kind == "big" {
                spec.base_offset = (1 << 53) + rng.integer(0, 1_000_000);
            }
            all.push(spec);
        }
    }
    all
}

pub(super) fn consumer(rng: &mut Rng) -> ConsumerMode {
    match rng.below(8) {
        0 | 1 => ConsumerMode::Healthy,
        2 => ConsumerMode::Paced { percent: u32::try_from(rng.integer(70, 97)).unwrap() },
        3 => ConsumerMode::Paced { percent: u32::try_from(rng.integer(110, 400)).unwrap() },
        4 | 5 => ConsumerMode::Stalled,
        6 => ConsumerMode::Stopped,
        _ => {
            let period_ms = rng.integer(6, 30) * MINUTE_MS;
            ConsumerMode::Flapping { period_ms, stalled_ms: period_ms * rng.integer(10, 70) / 100 }
        }
    }
}

fn groups(rng: &mut Rng) -> Vec<GroupSpec> {
    let kinds = ["steady", "bursty", "trickle", "idle", "compacted", "local", "big"];
    let mut all = Vec::new();
    for i in 0..10 {
        let mut topics: Vec<String> =
            (0..3).map(|_| format!("{}-{}", rng.pick(&kinds), rng.below(3))).collect();
        topics.sort();
        topics.dedup();
        let from = match rng.below(4) {
            0 => OffsetSpec::Start,
            1 => OffsetSpec::Uncommitted,
            2 => OffsetSpec::At(rng.integer(0, 2_000)),
            _ => OffsetSpec::End,
        };
        all.push(GroupSpec {
            consumer: consumer(rng),
            topics,
            from,
            ..GroupSpec::new(&format!("group-{i}"), &[])
        });
    }
    all
}
