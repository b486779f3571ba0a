//! Forecasts of data loss compared with the actual loss.

use alikafka_simulator::{
    ConsumerMode, GroupSpec, InstanceSpec, OffsetSpec, ProduceRate, TopicSpec, WorldOptions,
};
use tokio::time::Duration;

use super::harness::{LagHarness, PollingBehavior, REGION};

/// Seconds of production per segment. Retention deletes segment by segment.
const SEGMENT_S: i64 = 300;
const POLL_S: i64 = 60;

/// Starts an instance with a retention of an hour and a topic that is old enough to lose messages.
async fn world(seed: u64) -> LagHarness {
    let mut harness = LagHarness::start(WorldOptions::empty([REGION]), PollingBehavior::GOOD, seed).await;
    harness.with_world(|w| {
        w.add_instance(REGION, InstanceSpec { retention_hours: 1, ..InstanceSpec::new("i") });
        let spec =
            TopicSpec { rate: ProduceRate::per_second(2), segment: 2 * SEGMENT_S, ..TopicSpec::new("t", 2) };
        w.add_topic("i", spec).unwrap();
    });
    let past = 10_000 + harness.rng.integer(0, SEGMENT_S);
    harness.advance(Duration::from_secs(past.unsigned_abs()));
    harness
}

fn add(harness: &LagHarness, name: &str, consumer: ConsumerMode, from: OffsetSpec) {
    harness
        .with_world(|w| w.add_group("i", GroupSpec { consumer, from, ..GroupSpec::new(name, &["t"]) }))
        .unwrap();
}

fn eta(harness: &mut LagHarness, group: &str) -> Option<f64> {
    harness
        .group_view("i", group)
        .assessment
        .as_ref()
        .and_then(|assessment| assessment.topics.first()?.data_loss_eta)
}

#[tokio::test]
async fn the_forecast_for_a_stuck_group_is_right_to_a_segment_and_two_polls() {
    for (seed, consumer) in [(1, ConsumerMode::Stalled), (2, ConsumerMode::Stopped)] {
        let mut harness = world(seed).await;
        add(&harness, "stuck", consumer, OffsetSpec::End);
        // (time of the forecast, time of the forecast loss), in seconds.
        let (mut forecasts, mut loss) = (Vec::new(), None);
        for pass in 0..120 {
            harness.pass();
            let at = harness.responses.values().next().unwrap().truth.now_ms / 1000;
            let truth = harness.with_world(|w| w.group_truth("i", "stuck")).unwrap();
            if truth.topics["t"].partitions.iter().any(|p| p.committed < Some(p.start)) {
                loss = Some(at);
                break;
            }
            #[expect(clippy::cast_possible_truncation, reason = "seconds of an hour")]
            let eta = eta(&mut harness, "stuck").map(|eta| eta.round() as i64);
            assert!(eta.is_some() || pass < 20, "no forecast in pass {pass}");
            forecasts.extend(eta.map(|eta| (at, at + eta)));
        }
        let loss = loss.expect("the retention is an hour");
        assert!(forecasts.len() > 30, "{forecasts:?}");
        for (at, forecast) in forecasts {
            let off = forecast - loss;
            assert!(off.abs() <= SEGMENT_S + 2 * POLL_S, "{} s before the loss, off by {off} s", loss - at);
        }
    }
}

#[tokio::test]
async fn a_group_that_keeps_up_has_no_forecast_of_loss() {
    let mut harness = world(3).await;
    add(&harness, "healthy", ConsumerMode::Healthy, OffsetSpec::End);
    add(&harness, "catching up", ConsumerMode::Paced { percent: 300 }, OffsetSpec::Start);
    harness.with_world(|w| w.add_topic("i", TopicSpec::new("idle", 1))).unwrap();
    let idle = GroupSpec { consumer: ConsumerMode::Stopped, ..GroupSpec::new("idle", &["idle"]) };
    harness.with_world(|w| w.add_group("i", idle)).unwrap();
    for pass in 0..90 {
        harness.pass();
        for group in ["healthy", "catching up", "idle"] {
            assert_eq!(eta(&mut harness, group), None, "{group} in pass {pass}");
        }
    }
}
