//! Which topics and groups a limit on series leaves out. Pure.
//!
//! Owns: the order in which they go and come back. Refuses: knowing what series an object has.
//!
//! An object is one topic or one group with all of its series: it is shown whole or not at all. Objects stand in
//! the order of first sight, and those from one of them on are left out, so a new one never takes the place of an
//! old one. What was left out comes back only once it fits with room to spare: series of old objects that come and
//! go, as values become known and unknown, do not make young ones flap.

/// Of the limit, this part must stay free for what was left out to come back.
const SPARE: u64 = 20;

/// What a limit leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SeriesCut {
    /// Objects first seen at this or later are left out.
    pub(super) cutoff: Option<u64>,
    /// How many series that is.
    pub(super) series: u64,
}

/// Decides what is left out of a page. `objects` are the order of first sight and the number of series of each,
/// `fixed` is the number of series that always stay, and `before` is where the page before was cut.
pub(super) fn cut(max: u64, fixed: u64, mut objects: Vec<(u64, u64)>, before: Option<u64>) -> SeriesCut {
    objects.sort_unstable();
    let fits = |max: u64| first_beyond(max.saturating_sub(fixed), &objects);
    let cutoff = match (fits(max), before) {
        (Some(now), None) => Some(now),
        (Some(now), Some(before)) if now <= before => Some(now),
        (_, Some(before)) => fits(max - max / SPARE).map(|spare| spare.max(before)),
        (None, None) => None,
    };
    let left_out = objects.iter().filter(|(since, _)| cutoff.is_some_and(|cutoff| *since >= cutoff));
    let series = left_out.map(|(_, series)| series).sum();
    if series == 0 { SeriesCut::default() } else { SeriesCut { cutoff, series } }
}

/// The first sight of what no longer fits; `None` if all does.
fn first_beyond(mut room: u64, objects: &[(u64, u64)]) -> Option<u64> {
    // Objects of equal age stand or fall together, as age alone decides.
    for (since, series) in objects {
        match room.checked_sub(*series) {
            Some(left) => room = left,
            None => return Some(*since),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn cutoff(max: u64, objects: &[(u64, u64)], before: Option<u64>) -> Option<u64> {
        cut(max, 0, objects.to_vec(), before).cutoff
    }

    #[test]
    fn what_was_left_out_stays_out_until_there_is_room_to_spare() {
        let with = |old| [(1, old), (2, 40), (3, 20)];
        assert_eq!(cutoff(100, &with(40), None), None);
        assert_eq!(cutoff(100, &with(41), None), Some(3), "one series too many");
        assert_eq!(cutoff(100, &with(40), Some(3)), Some(3), "it fits, but only just");
        assert_eq!(cutoff(100, &with(36), Some(3)), Some(3));
        assert_eq!(cutoff(100, &with(35), Some(3)), None, "a twentieth is free");
        assert_eq!(cutoff(100, &with(61), Some(3)), Some(2), "out is out at once");
        assert_eq!(
            cutoff(100, &with(40), Some(2)),
            Some(3),
            "what has room to spare comes back before the rest"
        );
    }

    #[test]
    fn nothing_is_remembered_of_what_is_gone() {
        assert_eq!(cut(100, 0, vec![(1, 99)], Some(2)), SeriesCut::default());
        assert_eq!(
            cut(100, 0, vec![(1, 99), (2, 0)], Some(2)),
            SeriesCut::default(),
            "an object without series"
        );
        assert_eq!(cut(100, 200, Vec::new(), Some(2)), SeriesCut::default());
    }

    proptest! {
        #[test]
        fn a_limit_holds_by_age_alone_and_wastes_no_more_than_what_it_spares(
            max in 1..500_u64,
            fixed in 0..100_u64,
            objects in vec((0..30_u64, 0..60_u64), 0..20),
            before in option::of(0..30_u64),
        ) {
            let cut = cut(max, fixed, objects.clone(), before);
            let shown: u64 =
                objects.iter().filter(|o| cut.cutoff.is_none_or(|c| o.0 < c)).map(|o| o.1).sum();
            let total: u64 = objects.iter().map(|o| o.1).sum();
            prop_assert_eq!(shown + cut.series, total);
            prop_assert_eq!(cut.cutoff.is_some(), cut.series > 0);
            prop_assert!(fixed + shown <= max || shown == 0, "{} of {}", fixed + shown, max);
            if let Some(cutoff) = cut.cutoff {
                let next: u64 = objects.iter().filter(|o| o.0 == cutoff).map(|o| o.1).sum();
                let spare = if before.is_some() { max / SPARE } else { 0 };
                let next_fits = fixed + shown + next <= max - spare;
                prop_assert!(!next_fits, "what fits with room to spare is shown: {:?}", cut);
            }
        }
    }
}
