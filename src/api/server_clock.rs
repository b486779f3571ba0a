//! Estimate of the cloud's clock from the `Date` headers of responses: the time span in which the data of a response
//! was read.
//!
//! `Date` has a resolution of one second. Each `Date`, together with the local steady time at which its request was
//! sent and its response received, bounds the offset between the cloud's clock and the steady clock; the intersection
//! of many bounds is narrower than each of them. The wall clock of this host is not involved, so its errors and steps
//! have no effect.
//!
//! A `Date` is assumed to be the second in which the response was made, and always wins: if it contradicts the
//! estimate, the cloud's clock has stepped or another gateway has responded, and the estimate starts again. Bounds are
//! intersected only after the clock has been consistent for [`STEADY`]; until then each response is located by its own
//! `Date`. After a step of less than a second a response may be off by as much, until a `Date` reveals the step.
//!
//! Reads no clock: times are parameters, counted from any fixed moment.

use std::time::Duration;

use crate::model::{TimeSpan, UnixMillis};

/// Time for which the clock must be consistent before bounds are intersected. Detects clocks that run at another speed,
/// such as those of simulators.
const STEADY: Duration = Duration::from_secs(10);

/// Inverse of the maximum drift between two clocks: 200 parts per million, twice that of quartz.
const INVERSE_DRIFT: i64 = 5_000;

/// Last microsecond of a second.
const SECOND_END_MICROS: i64 = 999_999;

/// Times of one request and its response.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimedExchange {
    /// Steady time at which the request was sent.
    pub(super) sent: Duration,
    /// Steady time at which the response was complete.
    pub(super) received: Duration,
    /// `Date`, in Unix milliseconds.
    pub(super) date_millis: Option<i64>,
    /// Wall clock of this host at `received`.
    pub(super) wall: UnixMillis,
}

/// Estimate of the cloud's clock.
#[derive(Debug, Default)]
pub(super) struct ServerClock(Option<ClockEstimate>);

#[derive(Debug, Clone, Copy)]
struct ClockEstimate {
    /// Offset of the cloud's clock from the steady clock at `at`.
    offset: MicrosRange,
    /// Steady time in microseconds.
    at: i64,
    /// Steady time in microseconds since which no response has contradicted another.
    consistent_since: i64,
}

/// Range of microseconds, inclusive.
#[derive(Debug, Clone, Copy)]
struct MicrosRange(i64, i64);

impl MicrosRange {
    /// Widens the range by the maximum drift over a time.
    fn with_drift(self, micros: i64) -> Self {
        let drift = micros.saturating_abs() / INVERSE_DRIFT + 1;
        Self(self.0.saturating_sub(drift), self.1.saturating_add(drift))
    }

    fn intersection(self, other: Self) -> Option<Self> {
        let both = Self(self.0.max(other.0), self.1.min(other.1));
        (both.0 <= both.1).then_some(both)
    }
}

impl ServerClock {
    /// Updates the estimate and returns the time span in which the data of the response was read. A response without a
    /// `Date` is located by the estimate or, if there is none, by the wall clock of this host.
    pub(super) fn locate(&mut self, exchange: TimedExchange) -> TimeSpan {
        let (sent, received) = (micros(exchange.sent), micros(exchange.received));
        let duration = received.saturating_sub(sent).max(0);
        let Some(date) = exchange.date_millis.map(|date| date.saturating_mul(1_000)) else {
            let Some(estimate) = self.0 else {
                let wall = exchange.wall.get().saturating_mul(1_000);
                return time_span(wall.saturating_sub(duration), wall);
            };
            let distance = estimate.at.saturating_sub(sent).max(received.saturating_sub(estimate.at));
            let offset = estimate.offset.with_drift(distance);
            return time_span(sent.saturating_add(offset.0), received.saturating_add(offset.1));
        };
        let second_end = date.saturating_add(SECOND_END_MICROS);
        // Responses do not arrive in the order of their requests.
        let now = self.0.map_or(received, |estimate| estimate.at.max(received));
        let age = now.saturating_sub(sent);
        let by_date =
            MicrosRange(date.saturating_sub(received), second_end.saturating_sub(sent)).with_drift(age);
        let updated = self.0.and_then(|estimate| {
            let elapsed = now.saturating_sub(estimate.at);
            let offset = estimate.offset.with_drift(elapsed).intersection(by_date)?;
            Some(ClockEstimate { offset, at: now, ..estimate })
        });
        let estimate = updated.unwrap_or(ClockEstimate { offset: by_date, at: now, consistent_since: now });
        self.0 = Some(estimate);
        let is_steady = now.saturating_sub(estimate.consistent_since) >= micros(STEADY);
        let MicrosRange(min, max) = if is_steady { estimate.offset.with_drift(age) } else { by_date };
        // The response, and so its data, was made between the request and the end of the response.
        let (earliest, latest) = (date.saturating_sub(duration), second_end.saturating_add(duration));
        time_span(
            sent.saturating_add(min).clamp(earliest, latest),
            received.saturating_add(max).clamp(earliest, latest),
        )
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Converts microseconds to milliseconds, rounding down like the cloud.
fn time_span(from: i64, to: i64) -> TimeSpan {
    let [from, to] = [from, to].map(|micros| {
        // Times before 1970 become the first millisecond after it.
        let millis = micros.div_euclid(1_000).max(1);
        UnixMillis::new(millis).unwrap_or_else(|| unreachable!("a positive number is a time"))
    });
    TimeSpan::new(from, to)
}

#[cfg(test)]
mod tests {
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

    /// Returns the `Date` of a response that the server makes at this microsecond.
    fn date(micros: i64) -> i64 {
        micros.div_euclid(1_000_000) * 1_000
    }

    /// Locates a response without network delay, at `at` microseconds of a steady clock that the server is ahead of.
    fn locate_instant(clock: &mut ServerClock, at: i64, ahead: i64) -> (i64, i64) {
        ends(clock.locate(exchange(at, at, Some(date(at + ahead)))))
    }

    #[test]
    fn a_first_response_is_located_by_its_date() {
        let span = ServerClock::default().locate(exchange(5_000_000, 5_000_000, Some(NOVEMBER)));
        assert_eq!(ends(span), (NOVEMBER, NOVEMBER + 999));
        // The data may have been read, and the response dated, at any time within its duration.
        let span = ServerClock::default().locate(exchange(5_000_000, 5_250_000, Some(NOVEMBER)));
        assert_eq!(ends(span), (NOVEMBER - 250, NOVEMBER + 1_249));
    }

    #[test]
    fn without_a_date_the_estimate_counts_or_else_the_wall_clock() {
        let mut clock = ServerClock::default();
        assert_eq!(ends(clock.locate(exchange(0, 30_000, None))), (WALL - 30, WALL));
        clock.locate(exchange(1_000_000, 1_000_000, Some(NOVEMBER)));
        let (earliest, latest) = ends(clock.locate(exchange(3_000_000, 3_000_000, None)));
        assert_eq!((earliest, latest), (NOVEMBER + 1_999, NOVEMBER + 3_000), "two seconds later, and drift");
    }

    #[test]
    fn many_dates_are_more_precise_than_one() {
        let mut clock = ServerClock::default();
        let ahead = NOVEMBER * 1_000 + 123_456;
        let widths: Vec<_> = (0..200)
            .map(|n| {
                let at = n * 310_000;
                let (earliest, latest) = locate_instant(&mut clock, at, ahead);
                assert!((earliest..=latest).contains(&((at + ahead) / 1_000)));
                latest - earliest
            })
            .collect();
        assert_eq!(widths[1], 999, "the clock is not known to be steady yet");
        assert!(widths[199] <= 30, "{widths:?}");
    }

    #[test]
    fn a_step_is_adopted_with_the_next_response() {
        let mut clock = ServerClock::default();
        let ahead = NOVEMBER * 1_000;
        let narrow = (0..200).map(|n| locate_instant(&mut clock, n * 310_000, ahead)).last().unwrap();
        assert!(narrow.1 - narrow.0 <= 30, "{narrow:?}");
        for (at, stepped) in [(62_000_000, ahead - 5_000_000), (62_100_000, ahead + 3_600_000_000)] {
            let date_millis = date(at + stepped);
            assert_eq!(locate_instant(&mut clock, at, stepped), (date_millis, date_millis + 999));
        }
    }

    #[test]
    fn extreme_dates_are_accepted() {
        for date in [i64::MIN, -1, 0, 1, i64::MAX] {
            let mut clock = ServerClock::default();
            for at in [0, 20_000_000, i64::MAX] {
                let (earliest, latest) = ends(clock.locate(exchange(0, at, Some(date))));
                assert!(1 <= earliest && earliest <= latest);
                clock.locate(exchange(at, at, None));
            }
        }
    }

    /// Durations of a response in microseconds: from the previous request to this one, to the server, until the data is
    /// read, until the response is dated, and back.
    type TripDurations = (i64, i64, i64, i64, i64);

    fn trips(longest_gap: i64, longest_part: i64) -> impl Strategy<Value = Vec<TripDurations>> {
        let part = || 0..=longest_part;
        prop::collection::vec((0..=longest_gap, part(), part(), part(), part()), 1..200)
    }

    /// Returns `(sent, read, dated, received)` of each response, in the order of arrival.
    fn schedule(trips: &[TripDurations]) -> Vec<(i64, i64, i64, i64)> {
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

        /// Responses overlap or arrive at once, and the clock drifts by up to the maximum.
        #[test]
        fn the_span_always_contains_the_time_of_reading(
            ahead in 1_000_000_000_000_000i64..2_000_000_000_000_000,
            drift in -200i64..=200,
            trips in prop_oneof![trips(2_000_000, 700_000), trips(2_000_000, 1_000)],
            undated in prop::collection::vec(any::<bool>(), 200),
        ) {
            let cloud = |at: i64| at + ahead + at * drift / 1_000_000;
            let mut clock = ServerClock::default();
            let mut is_known = false;
            for ((sent, read, dated, received), undated) in schedule(&trips).into_iter().zip(undated) {
                let date_millis = (!undated || !is_known).then(|| date(cloud(dated)));
                is_known = true;
                let span = ends(clock.locate(exchange(sent, received, date_millis)));
                prop_assert!(contains(span, cloud(read)), "{span:?} does not contain {}", cloud(read));
                let widest = 1_001 + 2 * (received - sent) / 1_000;
                prop_assert!(date_millis.is_none() || span.1 - span.0 <= widest, "{span:?} is wider than {widest}");
            }
        }

        #[test]
        fn spans_narrow_with_more_responses(
            ahead in 1_000_000_000_000_000i64..2_000_000_000_000_000,
            gaps in prop::collection::vec(200_000i64..2_000_000, 200),
            duration in 0i64..40_000,
        ) {
            let mut clock = ServerClock::default();
            let mut sent = 0;
            let mut widths = Vec::new();
            for gap in gaps {
                sent += gap;
                let date_millis = date(sent + ahead + duration / 2);
                let (earliest, latest) = ends(clock.locate(exchange(sent, sent + duration, Some(date_millis))));
                widths.push(latest - earliest);
            }
            prop_assert!(widths[199] <= 250 + 2 * duration / 1_000, "{widths:?}");
        }

        /// The clock of a simulated world is stopped, slow or fast.
        #[test]
        fn for_a_clock_of_another_speed_the_span_contains_the_time_of_dating(
            ahead in 1_000_000_000_000_000i64..2_000_000_000_000_000,
            percent in prop_oneof![Just(0i64), 1i64..70, 130i64..1_000, 1_000i64..100_000],
            trips in trips(2_000_000, 20_000),
        ) {
            let cloud = |at: i64| ahead + at * percent / 100;
            let mut clock = ServerClock::default();
            for (sent, _, dated, received) in schedule(&trips) {
                let span = ends(clock.locate(exchange(sent, received, Some(date(cloud(dated))))));
                prop_assert!(contains(span, cloud(dated)), "{span:?} does not contain {}", cloud(dated));
            }
        }

        #[test]
        fn after_steps_the_span_always_agrees_with_the_date(
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
                let date_millis = date(dated + ahead);
                let (earliest, latest) = ends(clock.locate(exchange(sent, received, Some(date_millis))));
                let duration = (received - sent) / 1_000 + 1;
                prop_assert!(date_millis - duration <= earliest && latest <= date_millis + 999 + duration);
                // A step larger than drift and the width of two dates is detected at once.
                if step.abs() > 3_000_000 {
                    prop_assert!(contains((earliest, latest), dated + ahead));
                }
            }
        }
    }
}
