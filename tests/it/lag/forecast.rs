//! When messages will be deleted before they are read: against the moment at which they are.

use alikafka_simulator::{
    ConsumerMode, GroupSpec, InstanceSpec, OffsetSpec, ProduceRate, TopicSpec, WorldOptions,
};
use tokio::time::Duration;

use super::rig::{Habits, REGION, Rig};

/// Seconds in which a segment of messages is written, all of which go at once.
const SEGMENT_S: i64 = 300;
const POLL_S: i64 = 60;

/// An instance that keeps messages for an hour, and a topic that was written for long enough to lose some.
async fn world(seed: u64) -> Rig {
    let mut rig = Rig::start(WorldOptions::empty([REGION]), Habits::GOOD, seed).await;
    rig.world(|w| {
        w.add_instance(REGION, InstanceSpec { retention_hours: 1, ..InstanceSpec::new("i") });
        let spec =
            TopicSpec { rate: ProduceRate::per_second(2), segment: 2 * SEGMENT_S, ..TopicSpec::new("t", 2) };
        w.add_topic("i", spec).unwrap();
    });
    let past = 10_000 + rig.rng.integer(0, SEGMENT_S);
    rig.advance(Duration::from_secs(past.unsigned_abs()));
    rig
}

fn add(rig: &Rig, name: &str, consumer: ConsumerMode, from: OffsetSpec) {
    rig.world(|w| w.add_group("i", GroupSpec { consumer, from, ..GroupSpec::new(name, &["t"]) })).unwrap();
}

fn eta(rig: &mut Rig, group: &str) -> Option<f64> {
    rig.shown("i", group).assessment.as_ref().and_then(|said| said.topics.first()?.data_loss_eta)
}

#[tokio::test]
async fn the_forecast_of_a_stuck_group_is_right_to_within_a_segment_and_two_polls() {
    for (seed, consumer) in [(1, ConsumerMode::Stalled), (2, ConsumerMode::Stopped)] {
        let mut rig = world(seed).await;
        add(&rig, "stuck", consumer, OffsetSpec::End);
        // (when it was said, when messages were to be lost), in seconds.
        let (mut said, mut loss) = (Vec::new(), None);
        for pass in 0..120 {
            rig.pass();
            let at = rig.told.values().next().unwrap().truth.now_ms / 1000;
            let truth = rig.world(|w| w.group_truth("i", "stuck")).unwrap();
            if truth.topics["t"].partitions.iter().any(|p| p.committed < Some(p.start)) {
                loss = Some(at);
                break;
            }
            #[expect(clippy::cast_possible_truncation, reason = "seconds of an hour")]
            let eta = eta(&mut rig, "stuck").map(|eta| eta.round() as i64);
            assert!(eta.is_some() || pass < 20, "no forecast in pass {pass}");
            said.extend(eta.map(|eta| (at, at + eta)));
        }
        let loss = loss.expect("messages are kept for an hour");
        assert!(said.len() > 30, "{said:?}");
        for (at, to_be_lost) in said {
            let off = to_be_lost - loss;
            assert!(off.abs() <= SEGMENT_S + 2 * POLL_S, "{} s before the loss off by {off} s", loss - at);
        }
    }
}

#[tokio::test]
async fn a_group_that_keeps_up_is_not_told_that_it_will_lose_messages() {
    let mut rig = world(3).await;
    add(&rig, "healthy", ConsumerMode::Healthy, OffsetSpec::End);
    add(&rig, "catching up", ConsumerMode::Paced { percent: 300 }, OffsetSpec::Start);
    rig.world(|w| w.add_topic("i", TopicSpec::new("idle", 1))).unwrap();
    let idle = GroupSpec { consumer: ConsumerMode::Stopped, ..GroupSpec::new("idle", &["idle"]) };
    rig.world(|w| w.add_group("i", idle)).unwrap();
    for pass in 0..90 {
        rig.pass();
        for group in ["healthy", "catching up", "idle"] {
            assert_eq!(eta(&mut rig, group), None, "{group} in pass {pass}");
        }
    }
}
