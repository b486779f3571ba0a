use proptest::prelude::*;

use super::*;

/// 2023-11-14T22:13:20Z.
const NOVEMBER: i64 = 1_700_000_000_000;

const WALL: i64 = 1_000_000_000_000;

fn exchange(sent: i64, received: i64, date_millis: Option<i64>) -> TimedExchange {
    let at = |micros: i64| Duration::from_micros(micros.try_into().unwrap());
    let wall = UnixMillis::new(WALL).unwrap();
    TimedExchange { sent: at(sent), received: at(received), date_millis, wall }
}

/// `(earliest, latest)`, in milliseconds.
fn ends(span: TimeSpan) -> (i64, i64) {
    (span.earliest().get(), span.latest().get())
}

/// What a server writes that makes its answer at this microsecond.
fn date(micros: i64) -> i64 {
    micros.div_euclid(1_000_000) * 1_000
}

/// An answer at `at` microseconds of the steady clock, without a way to go, by a server that is `ahead`.
fn at_once(clock: &mut ServerClock, at: i64, ahead: i64) -> (i64, i64) {
    ends(clock.place(exchange(at, at, Some(date(at + ahead)))))
}

#[test]
fn a_first_answer_is_from_the_second_of_its_date() {
    let span = ServerClock::default().place(exchange(5_000_000, 5_000_000, Some(NOVEMBER)));
    assert_eq!(ends(span), (NOVEMBER, NOVEMBER + 999));
    // Its numbers may have been read as much before, and it may have been dated as much before, as it took.
    let span = ServerClock::default().place(exchange(5_000_000, 5_250_000, Some(NOVEMBER)));
    assert_eq!(ends(span), (NOVEMBER - 250, NOVEMBER + 1_249));
}

#[test]
fn without_a_date_the_clock_as_known_counts_and_before_that_the_wall_clock() {
    let mut clock = ServerClock::default();
    assert_eq!(ends(clock.place(exchange(0, 30_000, None))), (WALL - 30, WALL));
    clock.place(exchange(1_000_000, 1_000_000, Some(NOVEMBER)));
    let (earliest, latest) = ends(clock.place(exchange(3_000_000, 3_000_000, None)));
    assert_eq!((earliest, latest), (NOVEMBER + 1_999, NOVEMBER + 3_000), "two seconds later, and drift");
}

#[test]
fn many_dates_together_tell_more_than_one() {
    let mut clock = ServerClock::default();
    let ahead = NOVEMBER * 1_000 + 123_456;
    let widths: Vec<_> = (0..200)
        .map(|n| {
            let at = n * 310_000;
            let (earliest, latest) = at_once(&mut clock, at, ahead);
            assert!((earliest..=latest).contains(&((at + ahead) / 1_000)));
            latest - earliest
        })
        .collect();
    assert_eq!(widths[1], 999, "it is not known yet that the clock is steady");
    assert!(widths[199] <= 30, "{widths:?}");
}

#[test]
fn a_step_is_taken_from_the_next_answer_on() {
    let mut clock = ServerClock::default();
    let ahead = NOVEMBER * 1_000;
    let narrow = (0..200).map(|n| at_once(&mut clock, n * 310_000, ahead)).last().unwrap();
    assert!(narrow.1 - narrow.0 <= 30, "{narrow:?}");
    for (at, stepped) in [(62_000_000, ahead - 5_000_000), (62_100_000, ahead + 3_600_000_000)] {
        let told = date(at + stepped);
        assert_eq!(at_once(&mut clock, at, stepped), (told, told + 999));
    }
}

#[test]
fn a_date_at_the_edge_of_the_calendar_is_borne() {
    for date in [i64::MIN, -1, 0, 1, i64::MAX] {
        let mut clock = ServerClock::default();
        for at in [0, 20_000_000, i64::MAX] {
            let (earliest, latest) = ends(clock.place(exchange(0, at, Some(date))));
            assert!(1 <= earliest && earliest <= latest);
            clock.place(exchange(at, at, None));
        }
    }
}

/// An answer in microseconds: how long after the one before it was asked for, how long the way there, the work
/// before the numbers are read and before the date is written, and the way back take.
type Trip = (i64, i64, i64, i64, i64);

fn trips(longest_gap: i64, longest_part: i64) -> impl Strategy<Value = Vec<Trip>> {
    let part = || 0..=longest_part;
    prop::collection::vec((0..=longest_gap, part(), part(), part(), part()), 1..200)
}

/// `(sent, read, dated, received)` of each, in the order in which they end.
fn schedule(trips: &[Trip]) -> Vec<(i64, i64, i64, i64)> {
    let mut sent = 0;
    let mut all: Vec<_> = trips
        .iter()
        .map(|(gap, there, reading, dating, back)| {
            sent += gap;
            let read = sent + there + reading;
            (sent, read, read + dating, read + dating + back)
        })
        .collect();
    all.sort_by_key(|trip| trip.3);
    all
}

fn contains((earliest, latest): (i64, i64), micros: i64) -> bool {
    (earliest..=latest).contains(&micros.div_euclid(1_000))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Answers overlap, or come at once, and the clock drifts as much as clocks may.
    #[test]
    fn of_a_true_clock_the_moment_of_reading_is_always_within(
        ahead in 1_000_000_000_000_000i64..2_000_000_000_000_000,
        drift in -200i64..=200,
        trips in prop_oneof![trips(2_000_000, 700_000), trips(2_000_000, 1_000)],
        undated in prop::collection::vec(any::<bool>(), 200),
    ) {
        let cloud = |at: i64| at + ahead + at * drift / 1_000_000;
        let mut clock = ServerClock::default();
        let mut is_known = false;
        for ((sent, read, dated, received), undated) in schedule(&trips).into_iter().zip(undated) {
            let told = (!undated || !is_known).then(|| date(cloud(dated)));
            is_known = true;
            let span = ends(clock.place(exchange(sent, received, told)));
            prop_assert!(contains(span, cloud(read)), "{span:?} has not {}", cloud(read));
            let widest = 1_001 + 2 * (received - sent) / 1_000;
            prop_assert!(told.is_none() || span.1 - span.0 <= widest, "{span:?} is wider than {widest}");
        }
    }

    #[test]
    fn the_more_answers_the_narrower(
        ahead in 1_000_000_000_000_000i64..2_000_000_000_000_000,
        gaps in prop::collection::vec(200_000i64..2_000_000, 200),
        took in 0i64..40_000,
    ) {
        let mut clock = ServerClock::default();
        let mut sent = 0;
        let mut widths = Vec::new();
        for gap in gaps {
            sent += gap;
            let told = date(sent + ahead + took / 2);
            let (earliest, latest) = ends(clock.place(exchange(sent, sent + took, Some(told))));
            widths.push(latest - earliest);
        }
        prop_assert!(widths[199] <= 250 + 2 * took / 1_000, "{widths:?}");
    }

    /// A clock that stands still, crawls, or runs, as that of a simulated world.
    #[test]
    fn of_a_clock_of_another_pace_the_moment_of_dating_is_always_within(
        ahead in 1_000_000_000_000_000i64..2_000_000_000_000_000,
        percent in prop_oneof![Just(0i64), 1i64..70, 130i64..1_000, 1_000i64..100_000],
        trips in trips(2_000_000, 20_000),
    ) {
        let cloud = |at: i64| ahead + at * percent / 100;
        let mut clock = ServerClock::default();
        for (sent, _, dated, received) in schedule(&trips) {
            let span = ends(clock.place(exchange(sent, received, Some(date(cloud(dated))))));
            prop_assert!(contains(span, cloud(dated)), "{span:?} has not {}", cloud(dated));
        }
    }

    #[test]
    fn of_a_clock_that_steps_the_span_is_always_that_of_its_own_date(
        mut ahead in 1_000_000_000_000_000i64..2_000_000_000_000_000,
        trips in trips(5_000_000, 100_000),
        steps in prop::collection::vec(prop_oneof![
            4 => Just(0),
            1 => -900_000i64..900_000,
            1 => -90_000_000i64..90_000_000,
        ], 200),
    ) {
        let mut clock = ServerClock::default();
        for ((sent, _, dated, received), step) in schedule(&trips).into_iter().zip(steps) {
            ahead += step;
            let told = date(dated + ahead);
            let (earliest, latest) = ends(clock.place(exchange(sent, received, Some(told))));
            let took = (received - sent) / 1_000 + 1;
            prop_assert!(told - took <= earliest && latest <= told + 999 + took);
            // What cannot be taken for drift and for the width of two dates is seen at once.
            if step.abs() > 3_000_000 {
                prop_assert!(contains((earliest, latest), dated + ahead));
            }
        }
    }
}
