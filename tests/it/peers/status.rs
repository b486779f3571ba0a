//! Status: words that never come, come too late, or are wrong.

use alikafka_exporter::model::GroupState;

use super::stand::*;

const STATUS: &str = "alikafka_group_status";

/// The status at each poll.
fn statuses(stand: &mut Stand, polls: impl Iterator<Item = Row>) -> Vec<Option<f64>> {
    let status = |row| {
        stand.wait(POLL).group(&[row]);
        of_group(&stand.page(), STATUS)
    };
    polls.map(status).collect()
}

/// BU#738: one poll at which lag is less than before, and the warning is off: so it is never on.
#[test]
fn lag_that_grows_by_its_trend_is_told_though_it_falls_now_and_then() {
    let mut stand = Stand::new();
    stand.state(GroupState::Stable);
    // 100 a poll are written; 40 are read at two polls of three, and 130 at the third.
    let (mut committed, mut end) = (0, 1000);
    let polls = (0..40).map(|poll| {
        end += 100;
        committed += if poll % 3 == 2 { 130 } else { 40 };
        row(committed, end)
    });
    let told = statuses(&mut stand, polls);
    let settled = &told[15..];
    assert!(settled.iter().all(|s| *s == Some(1.0)), "{told:?}");
}

/// BU#38, #58, #123: groups of slow topics are called broken, as they commit rarely.
#[test]
fn a_group_that_has_read_all_of_a_slow_topic_is_never_called_broken() {
    let mut stand = Stand::new();
    stand.state(GroupState::Stable);
    // A message in 40 minutes, read within one; then nothing at all.
    let polls = (0..3 * 40_i64).map(|poll| row((poll.max(1) - 1) / 40, poll / 40));
    let told = statuses(&mut stand, polls.chain((0..60).map(|_| row(3, 3))));
    assert!(told.iter().flatten().all(|s| *s == 0.0), "{told:?}");
    assert_eq!(told.last(), Some(&Some(0.0)));
}

/// BU#303, #32, #35, #221: a window of commits is full after an hour or a day where commits are rare, and nothing is
/// told until then.
#[test]
fn a_group_that_commits_nothing_is_told_of_after_the_window_whatever_its_pace_was() {
    for (state, word) in [(Some(GroupState::Stable), 2.0), (None, 2.0), (Some(GroupState::Empty), 3.0)] {
        let mut stand = Stand::new();
        if let Some(state) = state {
            stand.state(state);
        }
        let told = statuses(&mut stand, (0..20).map(|poll| row(5, 10 + poll)));
        let first = told.iter().position(Option::is_some).unwrap() as u64;
        assert!((WINDOW / POLL..=WINDOW / POLL + 2).contains(&first), "{state:?}: {told:?}");
        assert!(told.iter().flatten().all(|s| *s == word), "{state:?}: {told:?}");
    }
}

/// BU#637: no offset, no lag and no status until the window is full.
#[test]
fn lag_does_not_wait_for_a_status() {
    let mut stand = Stand::new();
    stand.group(&[row(5, 10)]);
    let page = stand.page();
    assert_eq!(of_group(&page, "alikafka_group_lag_messages"), Some(5.0));
    assert_eq!(of_partition(&page, "alikafka_group_partition_offset", "0"), Some(5.0));
    assert_eq!(of_group(&page, STATUS), None, "unknown, not ok");
}

/// Burrow looks at the first fall of a window alone, so a second one is not seen.
#[test]
fn a_rewind_is_told_at_once_and_over_once_it_is_made_up_for() {
    let mut stand = Stand::new();
    stand.state(GroupState::Stable);
    let told = statuses(&mut stand, (0..12).map(|poll| row(100 + poll, 100 + poll)));
    assert_eq!(told.last(), Some(&Some(0.0)));
    let told = statuses(&mut stand, [row(50, 112), row(80, 113), row(114, 114)].into_iter());
    assert_eq!(told, [Some(4.0), Some(4.0), Some(0.0)]);
    let told = statuses(&mut stand, [row(20, 115), row(116, 116)].into_iter());
    assert_eq!(told, [Some(4.0), Some(0.0)], "a second one within the window");
}
