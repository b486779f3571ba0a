//! Lag in messages: negative, hidden, outdated, or missing.

use alikafka_exporter::model::{GroupState, PollTiming};
use tokio::time::Duration;

use super::harness::*;

const LAG: &str = "alikafka_group_lag_messages";
const PARTITION_LAG: &str = "alikafka_group_partition_lag_messages";

/// klag-exporter sets lag to 0 if messages were lost, so lag alerts miss the worst case.
#[test]
fn lag_is_not_hidden_if_messages_were_lost() {
    let mut harness = RegionHarness::new();
    harness.topic(&[(150, 300, Some(0))]).group(&[offsets(100, 300)]);
    let scrape = harness.scrape();
    assert_eq!(group_value(&scrape, LAG), Some(200.0));
    assert_eq!(partition_value(&scrape, "alikafka_group_partition_lost_messages", "0"), Some(50.0));
    assert_eq!(group_value(&scrape, "alikafka_group_consumable_lag_messages"), Some(150.0));
}

/// KE#76, #78, #79, #169, #191, #262, #287, #437, #28, KLE#138, braedon/prometheus-kafka-consumer-group-exporter#21:
/// negative lag, and -1 for a partition without a committed offset, in totals and in autoscalers.
#[test]
fn no_response_makes_a_value_negative_or_nan() {
    let extremes = [
        offsets(-1, -1),
        offsets(-1, 10),
        offsets(10, -1),
        offsets(20, 10),
        offsets(0, 0),
        offsets(5, 10),
        offsets(i64::MAX, 0),
        offsets(0, i64::MAX),
        offsets(4, 10).consumed_at(-1_790_000_000),
        offsets(4, 10).consumed_at(1_000_000),
    ];
    let mut harness = RegionHarness::new();
    for (i, first) in extremes.iter().enumerate() {
        for second in extremes {
            let start = [-1, 0, 7, i64::MAX][i % 4];
            harness.wait(POLL).topic(&[(start, second.end, Some(9)), (0, 10, None)]);
            harness.group(&[*first, second]);
            for sample in harness.scrape().samples {
                let value: f64 = sample.value.parse().unwrap();
                assert!(value.is_finite() && value >= 0.0, "{sample:?} of {first:?}, {second:?}");
            }
        }
    }
    harness.wait(POLL).group(&[offsets(-1, 10), offsets(4, 10)]);
    let scrape = harness.scrape();
    assert_eq!(partition_value(&scrape, PARTITION_LAG, "0"), None, "unknown, neither -1 nor 10");
    assert_eq!(group_value(&scrape, LAG), Some(6.0), "total of known partitions");
}

/// kminion drops the topic if one end offset is missing. k3a-lag-exporter keeps the last lag of the partition.
#[test]
fn a_missing_end_offset_affects_only_its_partition() {
    let mut harness = RegionHarness::new();
    harness.group(&[offsets(4, 10), offsets(5, 20)]);
    assert_eq!(group_value(&harness.scrape(), LAG), Some(21.0));
    harness.wait(POLL).group(&[offsets(4, -1), offsets(5, 30)]);
    let scrape = harness.scrape();
    assert_eq!(partition_value(&scrape, PARTITION_LAG, "0"), None);
    assert_eq!(partition_value(&scrape, PARTITION_LAG, "1"), Some(25.0));
    assert_eq!(scrape.value("alikafka_group_topic_lag_messages", &[("topic", "t")]), Some(25.0));
    assert_eq!(partition_value(&scrape, "alikafka_group_partition_offset", "0"), Some(4.0), "still reported");
}

/// KLE#36, #63, #66, KE#226, #220, #463, kafkesc/kommitted#131: lag vanishes when the last consumer stops.
#[test]
fn a_group_without_consumers_keeps_its_lag() {
    let mut harness = RegionHarness::new();
    harness.state(GroupState::Stable).group(&[offsets(0, 0)]);
    harness.state(GroupState::Empty);
    for poll in 1..=24 * 60 {
        harness.wait(POLL).group(&[offsets(0, poll)]);
    }
    let scrape = harness.scrape();
    assert_eq!(group_value(&scrape, LAG), Some(1440.0), "a day later");
    let empty = [("group", "g"), ("state", "empty")];
    assert_eq!(scrape.value("alikafka_group_state", &empty), Some(1.0));
}

/// KM#5, KLAG#92, #94, BU#504, #797: a topic that a group no longer consumes stays, and its lag grows.
/// KLE#25, #110, #154, #127, BU#758, #722, jirwin/burrow_exporter#17: deleted objects stay until a restart.
#[test]
fn objects_no_longer_reported_have_no_series() {
    let mut harness = RegionHarness::with(timing(), &["t", "u"], &["g"]);
    harness.group_on(&[("t", &[offsets(4, 10)]), ("u", &[offsets(1, 10)])]);
    assert_eq!(group_value(&harness.scrape(), LAG), Some(15.0));
    harness.wait(POLL).group(&[offsets(4, 10)]);
    let scrape = harness.scrape();
    assert_eq!(scrape.cloud_series(&[("group", "g"), ("topic", "u")]).len(), 0, "its offsets have expired");
    assert_eq!(group_value(&scrape, LAG), Some(6.0));
    // Deleted: the next list lacks them.
    harness.list(&["u"], &["other"]);
    let scrape = harness.scrape();
    assert_eq!(
        scrape.cloud_series(&[("group", "g")]).len() + scrape.cloud_series(&[("topic", "t")]).len(),
        0
    );
}

/// redpanda-data/redpanda#30624, #30822, yahoo/CMAK#361, KX#94, #98, #101: lag that can no longer be consumed, because
/// retention has passed the committed offset.
#[test]
fn deleted_messages_are_separate_from_consumable_lag() {
    let mut harness = RegionHarness::new();
    harness.topic(&[(0, 500, Some(0))]).group(&[offsets(100, 500)]);
    let scrape = harness.scrape();
    assert_eq!(group_value(&scrape, "alikafka_group_consumable_lag_messages"), Some(400.0));
    assert_eq!(partition_value(&scrape, "alikafka_group_partition_lost_messages", "0"), Some(0.0));
    // All messages are deleted, and no new ones were written.
    harness.wait(POLL).topic(&[(500, 500, Some(0))]).group(&[offsets(100, 500)]);
    let scrape = harness.scrape();
    assert_eq!(group_value(&scrape, LAG), Some(400.0), "as Kafka itself counts");
    assert_eq!(
        group_value(&scrape, "alikafka_group_consumable_lag_messages"),
        Some(0.0),
        "nothing to consume"
    );
    assert_eq!(partition_value(&scrape, "alikafka_group_partition_lost_messages", "0"), Some(400.0));
    assert_eq!(seconds(&scrape), (Some(0.0), Some(0.0)), "deleted messages have no age");
    assert_eq!(group_value(&scrape, "alikafka_group_status"), Some(5.0));
}

/// KX#60, #76, #77, #78: a fixed limit of 90 seconds dropped values with longer poll intervals.
#[test]
fn values_expire_after_a_multiple_of_the_poll_interval() {
    let minutes = |n: u64| Duration::from_secs(n * 60);
    let slow = PollTiming {
        poll: minutes(10),
        topic_poll: minutes(10),
        idle_poll: minutes(15),
        idle_topic_poll: minutes(15),
        stale_after: minutes(30),
        topic_stale_after: minutes(30),
        ..timing()
    };
    let mut harness = RegionHarness::with(slow, &["t"], &["g"]);
    harness.group(&[offsets(4, 10)]).wait(29 * 60);
    assert_eq!(group_value(&harness.scrape(), LAG), Some(6.0));
    harness.wait(2 * 60);
    assert_eq!(group_value(&harness.scrape(), LAG), None);
}
