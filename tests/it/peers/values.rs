//! Lag in messages: negative, hidden, phantom, left over, or gone when it matters.

use alikafka_exporter::model::{GroupState, PollTiming};
use tokio::time::Duration;

use super::stand::*;

const LAG: &str = "alikafka_group_lag_messages";
const PARTITION_LAG: &str = "alikafka_group_partition_lag_messages";

/// klag-exporter sets lag to 0 where messages were lost, so an alert on lag is silent about the worst case.
#[test]
fn lag_is_not_hidden_where_messages_were_lost() {
    let mut stand = Stand::new();
    stand.topic(&[(150, 300, Some(0))]).group(&[row(100, 300)]);
    let page = stand.page();
    assert_eq!(of_group(&page, LAG), Some(200.0));
    assert_eq!(of_partition(&page, "alikafka_group_partition_lost_messages", "0"), Some(50.0));
    assert_eq!(of_group(&page, "alikafka_group_consumable_lag_messages"), Some(150.0));
}

/// KE#76, #78, #79, #169, #191, #262, #287, #437, #28, KLE#138, braedon/prometheus-kafka-consumer-group-exporter#21:
/// lag below 0, and -1 for a partition without a committed offset, in sums and in what scales consumers.
#[test]
fn no_answer_makes_a_value_negative_or_no_number() {
    let odd = [
        row(-1, -1),
        row(-1, 10),
        row(10, -1),
        row(20, 10),
        row(0, 0),
        row(5, 10),
        row(i64::MAX, 0),
        row(0, i64::MAX),
        row(4, 10).read(-1_790_000_000),
        row(4, 10).read(1_000_000),
    ];
    let mut stand = Stand::new();
    for (i, first) in odd.iter().enumerate() {
        for second in odd {
            let start = [-1, 0, 7, i64::MAX][i % 4];
            stand.wait(POLL).topic(&[(start, second.end, Some(9)), (0, 10, None)]);
            stand.group(&[*first, second]);
            for sample in stand.page().samples {
                let value: f64 = sample.value.parse().unwrap();
                assert!(value.is_finite() && value >= 0.0, "{sample:?} of {first:?}, {second:?}");
            }
        }
    }
    stand.wait(POLL).group(&[row(-1, 10), row(4, 10)]);
    let page = stand.page();
    assert_eq!(of_partition(&page, PARTITION_LAG, "0"), None, "unknown, neither -1 nor 10");
    assert_eq!(of_group(&page, LAG), Some(6.0), "a sum of what is known");
}

/// kminion leaves out the whole topic when one end offset is missing; k3a-lag-exporter goes on showing the old lag of
/// the partition.
#[test]
fn an_end_that_is_not_told_costs_its_partition_alone_and_leaves_no_old_value() {
    let mut stand = Stand::new();
    stand.group(&[row(4, 10), row(5, 20)]);
    assert_eq!(of_group(&stand.page(), LAG), Some(21.0));
    stand.wait(POLL).group(&[row(4, -1), row(5, 30)]);
    let page = stand.page();
    assert_eq!(of_partition(&page, PARTITION_LAG, "0"), None);
    assert_eq!(of_partition(&page, PARTITION_LAG, "1"), Some(25.0));
    assert_eq!(page.value("alikafka_group_topic_lag_messages", &[("topic", "t")]), Some(25.0));
    assert_eq!(of_partition(&page, "alikafka_group_partition_offset", "0"), Some(4.0), "that was told");
}

/// KLE#36, #63, #66, KE#226, #220, #463, kafkesc/kommitted#131: lag is gone as soon as the last consumer has stopped.
#[test]
fn a_group_whose_consumers_have_stopped_keeps_its_lag() {
    let mut stand = Stand::new();
    stand.state(GroupState::Stable).group(&[row(0, 0)]);
    stand.state(GroupState::Empty);
    for poll in 1..=24 * 60 {
        stand.wait(POLL).group(&[row(0, poll)]);
    }
    let page = stand.page();
    assert_eq!(of_group(&page, LAG), Some(1440.0), "a day later");
    let empty = [("group", "g"), ("state", "empty")];
    assert_eq!(page.value("alikafka_group_state", &empty), Some(1.0));
}

/// KM#5, KLAG#92, #94, BU#504, #797: a topic that a group reads no more stays, and its lag grows.
/// KLE#25, #110, #154, #127, BU#758, #722, jirwin/burrow_exporter#17: what was deleted stays until a restart.
#[test]
fn what_the_cloud_no_longer_tells_has_no_series() {
    let mut stand = Stand::with(timing(), &["t", "u"], &["g"]);
    stand.group_on(&[("t", &[row(4, 10)]), ("u", &[row(1, 10)])]);
    assert_eq!(of_group(&stand.page(), LAG), Some(15.0));
    stand.wait(POLL).group(&[row(4, 10)]);
    let page = stand.page();
    assert_eq!(page.cloud_series(&[("group", "g"), ("topic", "u")]).len(), 0, "its offsets have expired");
    assert_eq!(of_group(&page, LAG), Some(6.0));
    // Deleted: the next list has them no more.
    stand.list(&["u"], &["other"]);
    let page = stand.page();
    assert_eq!(page.cloud_series(&[("group", "g")]).len() + page.cloud_series(&[("topic", "t")]).len(), 0);
}

/// redpanda-data/redpanda#30624, #30822, yahoo/CMAK#361, KX#94, #98, #101: lag that nobody can read any more, since
/// retention has passed the committed offset.
#[test]
fn what_retention_took_is_told_apart_from_what_is_to_be_read() {
    let mut stand = Stand::new();
    stand.topic(&[(0, 500, Some(0))]).group(&[row(100, 500)]);
    let page = stand.page();
    assert_eq!(of_group(&page, "alikafka_group_consumable_lag_messages"), Some(400.0));
    assert_eq!(of_partition(&page, "alikafka_group_partition_lost_messages", "0"), Some(0.0));
    // All of it is gone, and nothing new was written.
    stand.wait(POLL).topic(&[(500, 500, Some(0))]).group(&[row(100, 500)]);
    let page = stand.page();
    assert_eq!(of_group(&page, LAG), Some(400.0), "as Kafka itself counts");
    assert_eq!(of_group(&page, "alikafka_group_consumable_lag_messages"), Some(0.0), "nothing to read");
    assert_eq!(of_partition(&page, "alikafka_group_partition_lost_messages", "0"), Some(400.0));
    assert_eq!(seconds(&page), (Some(0.0), Some(0.0)), "what is not there has no age");
    assert_eq!(of_group(&page, "alikafka_group_status"), Some(5.0));
}

/// KX#60, #76, #77, #78: a fixed bound of 90 seconds threw away the values of whoever polls less often.
#[test]
fn the_age_at_which_a_value_is_dropped_follows_the_interval() {
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
    let mut stand = Stand::with(slow, &["t"], &["g"]);
    stand.group(&[row(4, 10)]).wait(29 * 60);
    assert_eq!(of_group(&stand.page(), LAG), Some(6.0));
    stand.wait(2 * 60);
    assert_eq!(of_group(&stand.page(), LAG), None);
}
