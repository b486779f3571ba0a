//! Limit on the number of series (`metrics.max_series`). Pure.
//!
//! Owns: which topics and groups are left out, and when they return. Out of scope: the series of an object.
//!
//! A topic or a group is shown with all of its series or not at all. Objects are kept in discovery order, so a new
//! object never displaces an older one. Objects return only when a reserve is free, so that series of older objects
//! that come and go do not make newer ones flap.

/// The reserve that must be free before objects return is the limit divided by this.
const RESERVE_DIVISOR: u64 = 20;

/// Result of applying the limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LimitOutcome {
    /// Discovery order of the first object that is left out; `None` if all are shown.
    pub(super) cutoff: Option<u64>,
    /// Number of series left out.
    pub(super) dropped_series: u64,
}

/// Applies a limit of `max` series. `objects` are pairs of discovery order and number of series, `fixed` is the
/// number of series that are always shown, `previous` is the cutoff of the previous exposition.
pub(super) fn apply(
    max: u64,
    fixed: u64,
    mut objects: Vec<(u64, u64)>,
    previous: Option<u64>,
) -> LimitOutcome {
    objects.sort_unstable();
    let cutoff_within = |max: u64| first_that_does_not_fit(max.saturating_sub(fixed), &objects);
    let cutoff = match (cutoff_within(max), previous) {
        (Some(now), None) => Some(now),
        (Some(now), Some(previous)) if now <= previous => Some(now),
        (_, Some(previous)) => cutoff_within(max - max / RESERVE_DIVISOR).map(|cutoff| cutoff.max(previous)),
        (None, None) => None,
    };
    let left_out = objects.iter().filter(|(order, _)| cutoff.is_some_and(|cutoff| *order >= cutoff));
    let dropped_series = left_out.map(|(_, series)| series).sum();
    if dropped_series == 0 { LimitOutcome::default() } else { LimitOutcome { cutoff, dropped_series } }
}

/// Returns the discovery order of the first object that exceeds `max` series.
fn first_that_does_not_fit(max: u64, objects: &[(u64, u64)]) -> Option<u64> {
    let mut total = 0;
    objects
        .iter()
        .find(|(_, series)| {
            total += series;
            total > max
        })
        .map(|(order, _)| *order)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn cutoff(max: u64, objects: &[(u64, u64)], previous: Option<u64>) -> Option<u64> {
        apply(max, 0, objects.to_vec(), previous).cutoff
    }

    #[test]
    fn objects_return_only_when_the_reserve_is_free() {
        let with = |first| [(1, first), (2, 40), (3, 20)];
        assert_eq!(cutoff(100, &with(40), None), None);
        assert_eq!(cutoff(100, &with(41), None), Some(3), "one series above the limit");
        assert_eq!(cutoff(100, &with(40), Some(3)), Some(3), "it fits, but without a reserve");
        assert_eq!(cutoff(100, &with(36), Some(3)), Some(3));
        assert_eq!(cutoff(100, &with(35), Some(3)), None, "the reserve is free");
        assert_eq!(cutoff(100, &with(61), Some(3)), Some(2), "objects are left out at once");
        assert_eq!(cutoff(100, &with(40), Some(2)), Some(3), "older objects return before newer ones");
    }

    #[test]
    fn the_cutoff_is_forgotten_once_nothing_is_left_out() {
        let none = LimitOutcome::default();
        assert_eq!(apply(100, 0, vec![(1, 99)], Some(2)), none);
        assert_eq!(apply(100, 0, vec![(1, 99), (2, 0)], Some(2)), none, "an object without series");
        assert_eq!(apply(100, 200, Vec::new(), Some(2)), none);
    }

    proptest! {
        #[test]
        fn the_limit_holds_and_only_the_reserve_stays_unused(
            max in 1..500_u64,
            fixed in 0..100_u64,
            objects in vec((0..30_u64, 0..60_u64), 0..20),
            previous in option::of(0..30_u64),
        ) {
            let outcome = apply(max, fixed, objects.clone(), previous);
            let shown: u64 =
                objects.iter().filter(|o| outcome.cutoff.is_none_or(|c| o.0 < c)).map(|o| o.1).sum();
            let total: u64 = objects.iter().map(|o| o.1).sum();
            prop_assert_eq!(shown + outcome.dropped_series, total);
            prop_assert_eq!(outcome.cutoff.is_some(), outcome.dropped_series > 0);
            prop_assert!(fixed + shown <= max || shown == 0, "{} of {}", fixed + shown, max);
            if let Some(cutoff) = outcome.cutoff {
                let next: u64 = objects.iter().filter(|o| o.0 == cutoff).map(|o| o.1).sum();
                let reserve = if previous.is_some() { max / RESERVE_DIVISOR } else { 0 };
                let next_fits = fixed + shown + next <= max - reserve;
                prop_assert!(!next_fits, "objects that fit within the reserve are shown: {:?}", outcome);
            }
        }
    }
}
