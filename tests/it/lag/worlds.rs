//! Seeded worlds in which much goes wrong: every kind of topic, every kind of reader, and somebody who resets,
//! re-creates and deletes.

use alikafka_exporter::model::LastTimestamps;
use alikafka_simulator::{
    Burst, Compaction, ConsumerMode, GroupSpec, InstanceSpec, OffsetSpec, ProduceRate, TopicSpec,
    WorldOptions,
};
use test_support::rng::Rng;
use tokio::time::Duration;

use super::rig::{Habits, REGION, Rig};

pub(super) const INSTANCE: &str = "i";
const MINUTE_MS: i64 = 60_000;
/// No partition here writes as much in the time in which nobody may ask about it.
const MORE_THAN_IS_MISSED: i64 = 20_000;

/// What sets a world apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    pub(super) name: &'static str,
    pub(super) habits: Habits,
    pub(super) serverless: bool,
    pub(super) retention_hours: u32,
    /// Messages are deleted by retention and by hand. When a topic's status is older than that, nobody can know:
    /// such a world is asked for statuses and progress at one moment.
    pub(super) is_cut: bool,
    /// So many percent of the passes something is done to a topic.
    pub(super) topic_events: u64,
    /// So many percent of the passes something is done to a group.
    pub(super) group_events: u64,
    /// Groups begin far behind, and committed offsets are put back now and then. What was forgotten by then, or was
    /// never seen, cannot be told so closely.
    pub(super) rewinds: bool,
    pub(super) commit: Duration,
    /// Partitions of a topic, from and to. Many share the memory of the topic's track, and so leave more of what a
    /// partition may take to its history.
    pub(super) partitions: (i64, i64),
}

impl Traits {
    pub(super) const PLAIN: Self = Self {
        name: "plain",
        habits: Habits::GOOD,
        serverless: false,
        retention_hours: 72,
        is_cut: false,
        topic_events: 5,
        group_events: 25,
        rewinds: true,
        commit: Duration::from_secs(5),
        partitions: (2, 4),
    };

    /// Every kind of world.
    pub(super) fn all() -> Vec<Self> {
        let good = Habits::GOOD;
        let late = Habits { late_percent: 40, width_ms: 1_500, ..good };
        let together = Habits { together: true, ..late };
        let bad = Habits { late_percent: 100, fails_percent: 12, torn_percent: 15, shuffled: true, ..late };
        let rare = Habits { status_every: 5, width_ms: 5_000, ..late };
        let plain = Self::PLAIN;
        vec![
            plain,
            Self { name: "late", habits: late, commit: Duration::from_secs(45), ..plain },
            Self { name: "serverless", habits: late, serverless: true, ..plain },
            Self { name: "bad", habits: bad, ..plain },
            Self { name: "bad serverless", habits: bad, serverless: true, ..plain },
            Self { name: "rare statuses", habits: rare, ..plain },
            Self { name: "no statuses", habits: Habits { status_every: 0, ..late }, ..plain },
            Self {
                name: "always",
                habits: Habits { last_timestamps: LastTimestamps::Always, ..late },
                ..plain
            },
            Self {
                name: "never",
                habits: Habits { last_timestamps: LastTimestamps::Never, ..late },
                ..plain
            },
            Self { name: "created anew", habits: bad, topic_events: 30, ..plain },
            Self { name: "cut", habits: together, retention_hours: 1, is_cut: true, ..plain },
            Self {
                name: "cut serverless",
                habits: Habits { torn_percent: 15, ..together },
                retention_hours: 1,
                is_cut: true,
                serverless: true,
                topic_events: 15,
                ..plain
            },
        ]
    }

    pub(super) async fn start(&self, seed: u64) -> Rig {
        let options = WorldOptions { commit_interval: self.commit, ..WorldOptions::empty([REGION]) };
        let mut rig = Rig::start(options, self.habits, seed).await;
        rig.world(|w| {
            let spec = InstanceSpec { serverless: self.serverless, ..InstanceSpec::new(INSTANCE) };
            w.add_instance(REGION, InstanceSpec { retention_hours: self.retention_hours, ..spec });
        });
        for spec in topics(&mut rig.rng, self.partitions) {
            rig.world(|w| w.add_topic(INSTANCE, spec)).unwrap();
        }
        // The world has a past of which nobody was told.
        rig.advance(Duration::from_secs(5_000));
        for spec in groups(&mut rig.rng) {
            let from = if self.rewinds { spec.from } else { OffsetSpec::End };
            rig.world(|w| w.add_group(INSTANCE, GroupSpec { from, ..spec })).unwrap();
        }
        rig.advance(Duration::from_secs(200));
        rig
    }

    /// What people do to a world between two passes.
    pub(super) fn stir(&self, rig: &mut Rig) {
        if rig.rng.percent(self.group_events) {
            self.stir_group(rig);
        }
        if rig.rng.percent(self.topic_events) {
            self.stir_topic(rig);
        }
        // Now and then somebody writes to a topic that is idle else.
        if rig.rng.percent(15) {
            let (partition, n) = (u32::try_from(rig.rng.below(2)).unwrap(), rig.rng.integer(1, 40));
            let topic = rig.rng.pick(&["idle-0", "idle-1", "idle-2"]);
            rig.world(|w| w.append(INSTANCE, topic, partition, n)).unwrap();
        }
    }

    fn stir_group(&self, rig: &mut Rig) {
        let name = format!("group-{}", rig.rng.below(10));
        let truth = rig.world(|w| w.group_truth(INSTANCE, &name)).unwrap();
        let (topic, partition) = {
            let parts: Vec<_> = truth
                .topics
                .iter()
                .flat_map(|(t, topic)| topic.partitions.iter().map(move |p| (t.clone(), p.clone())))
                .collect();
            rig.rng.pick(&parts)
        };
        let number = u32::try_from(partition.partition).unwrap();
        match rig.rng.below(if self.rewinds { 10 } else { 7 }) {
            0..=3 => {
                let next = consumer(&mut rig.rng);
                rig.world(|w| w.set_consumer_mode(INSTANCE, &name, next)).unwrap();
            }
            7 => {
                let back = rig.rng.integer(1, 30_000);
                rig.world(|w| w.reset_offsets(INSTANCE, &name, OffsetSpec::Back(back))).unwrap();
            }
            8 => rig.world(|w| w.reset_offsets(INSTANCE, &name, OffsetSpec::Start)).unwrap(),
            4 => rig.world(|w| w.reset_offsets(INSTANCE, &name, OffsetSpec::End)).unwrap(),
            9 => {
                // Forward or back, at times past the end.
                let to = OffsetSpec::At(rig.rng.integer(partition.start, partition.end + 20));
                rig.world(|w| w.set_committed(INSTANCE, &name, &topic, number, to)).unwrap();
            }
            5 => {
                rig.world(|w| w.set_committed(INSTANCE, &name, &topic, number, OffsetSpec::Unlisted))
                    .unwrap();
            }
            _ => {
                let long = rig.rng.integer(10, 300) * 1_000;
                rig.world(|w| w.rebalance(INSTANCE, &name, long)).unwrap();
            }
        }
    }

    fn stir_topic(&self, rig: &mut Rig) {
        let names = rig.world(|w| w.topics(INSTANCE));
        let name = rig.rng.pick(&names);
        let truth = rig.world(|w| w.topic_truth(INSTANCE, &name)).unwrap();
        match rig.rng.below(if self.is_cut { 7 } else { 4 }) {
            0 | 1 => {
                let keeps_committed = rig.rng.percent(50);
                rig.recreate(INSTANCE, &name, keeps_committed);
                // Ends that do not fall tell nobody that the topic is another; its list does.
                if truth.partitions.iter().any(|p| p.end < MORE_THAN_IS_MISSED) {
                    rig.discover();
                }
            }
            2 if truth.partitions.len() < 7 => {
                rig.world(|w| w.add_partitions(INSTANCE, &name, 1)).unwrap();
            }
            2 | 3 => {
                let flow = if name.starts_with("idle") {
                    ProduceRate::IDLE
                } else {
                    produce_rate(&name, &mut rig.rng)
                };
                rig.world(|w| w.set_produce_rate(INSTANCE, &name, flow)).unwrap();
            }
            _ => {
                let p = rig.rng.pick(&truth.partitions);
                let before = rig.rng.integer(p.start, p.end);
                let number = u32::try_from(p.partition).unwrap();
                rig.world(|w| w.delete_records(INSTANCE, &name, number, before)).unwrap();
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
