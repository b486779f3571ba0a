//! Status: missing, late, or wrong ones.

use alikafka_exporter::model::GroupState;

use super::harness::*;

const STATUS: &str = "alikafka_group_status";

/// Returns the status after each poll.
fn statuses(harness: &mut RegionHarness, polls: impl Iterator<Item = PartitionOffsets>) -> Vec<Option<f64>> {
    let status = |row| {
        harness.wait(POLL).group(&[row]);
        group_value(&harness.scrape(), STATUS)
    };
    polls.map(status).collect()
}

/// BU#738: a single decrease of the lag ends the warning, so it never fires.
#[test]
fn growing_lag_is_detected_despite_decreases() {
    let mut harness = RegionHarness::new();
    harness.state(GroupState::Stable);
    // Per poll, 100 messages are produced. Twice 40 are consumed, then 130.
    let (mut committed, mut end) = (0, 1000);
    let polls = (0..40).map(|poll| {
        end += 100;
        committed += if poll % 3 == 2 { 130 } else { 40 };
        offsets(committed, end)
    });
    let results = statuses(&mut harness, polls);
    let settled = &results[15..];
    assert!(settled.iter().all(|s| *s == Some(1.0)), "{results:?}");
}

/// BU#38, #58, #123: groups of idle topics are reported as broken because they commit rarely.
#[test]
fn a_caught_up_group_of_an_idle_topic_is_ok() {
    let mut harness = RegionHarness::new();
    harness.state(GroupState::Stable);
    // A message every 40 minutes, consumed within one, and then none.
    let polls = (0..3 * 40_i64).map(|poll| offsets((poll.max(1) - 1) / 40, poll / 40));
    let results = statuses(&mut harness, polls.chain((0..60).map(|_| offsets(3, 3))));
    assert!(results.iter().flatten().all(|s| *s == 0.0), "{results:?}");
    assert_eq!(results.last(), Some(&Some(0.0)));
}

/// BU#303, #32, #35, #221: with rare commits, a window of commits is full only after hours, and there is no status until
/// then.
#[test]
fn a_stuck_group_is_detected_after_the_window_at_any_rate() {
    for (state, expected) in [(Some(GroupState::Stable), 2.0), (None, 2.0), (Some(GroupState::Empty), 3.0)] {
        let mut harness = RegionHarness::new();
        if let Some(state) = state {
            harness.state(state);
        }
        let results = statuses(&mut harness, (0..20).map(|poll| offsets(5, 10 + poll)));
        let first = results.iter().position(Option::is_some).unwrap() as u64;
        assert!((WINDOW / POLL..=WINDOW / POLL + 2).contains(&first), "{state:?}: {results:?}");
        assert!(results.iter().flatten().all(|s| *s == expected), "{state:?}: {results:?}");
    }
}

/// BU#637: no offset, lag or status until the window is full.
#[test]
fn lag_does_not_wait_for_a_status() {
    let mut harness = RegionHarness::new();
    harness.group(&[offsets(5, 10)]);
    let scrape = harness.scrape();
    assert_eq!(group_value(&scrape, "alikafka_group_lag_messages"), Some(5.0));
    assert_eq!(partition_value(&scrape, "alikafka_group_partition_offset", "0"), Some(5.0));
    assert_eq!(group_value(&scrape, STATUS), None, "unknown, not ok");
}

/// Burrow only considers the first decrease in a window, so it misses a second one.
#[test]
fn a_rewind_is_detected_at_once_and_ends_when_the_group_is_back() {
    let mut harness = RegionHarness::new();
    harness.state(GroupState::Stable);
    let results = statuses(&mut harness, (0..12).map(|poll| offsets(100 + poll, 100 + poll)));
    assert_eq!(results.last(), Some(&Some(0.0)));
    let results = statuses(&mut harness, [offsets(50, 112), offsets(80, 113), offsets(114, 114)].into_iter());
    assert_eq!(results, [Some(4.0), Some(4.0), Some(0.0)]);
    let results = statuses(&mut harness, [offsets(20, 115), offsets(116, 116)].into_iter());
    assert_eq!(results, [Some(4.0), Some(0.0)], "a second one within the window");
}
