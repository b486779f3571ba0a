//! The cloud's clock, as its answers show it: in which stretch of it the numbers of an answer were read.
//!
//! An answer's `Date` has whole seconds, so one alone tells the time to a second. But each one, with when by
//! the local steady clock it was asked for and had come, bounds how far the cloud's clock is from that steady
//! clock, and many bounds together are narrower than any of them. The wall clock of this host has no part in
//! it, so whether it is off, or stepped, shifts nothing.
//!
//! A `Date` is taken to be the second in which the answer was made. What it says is never contradicted: where
//! it does not fit what is known, the cloud's clock has stepped, or another gateway has answered, and what was
//! known is forgotten. Until a clock has kept its pace for [`STEADY`], each answer is placed by its own `Date`
//! alone. Of a clock that then steps by less than a second, an answer may be placed wrong by as much, until a
//! `Date` gives it away.
//!
//! Refuses: reading any clock. The steady clock's times are parameters, counted from a moment of the caller's
//! choice.

use std::time::Duration;

use crate::model::{TimeSpan, UnixMillis};

/// How long a clock must keep its pace before bounds are joined. It tells clocks that run fast or stand still,
/// as those of simulators do, from true ones.
const STEADY: Duration = Duration::from_secs(10);

/// Two clocks drift apart by at most one in this many: 200 parts in a million, twice what quartz does.
const DRIFT_ONE_IN: i64 = 5_000;

/// The last microsecond of a second.
const SECOND_END: i64 = 999_999;

/// One question and its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimedExchange {
    /// When the question was sent, by the steady clock.
    pub(super) sent: Duration,
    /// When the whole answer was there, by the steady clock.
    pub(super) received: Duration,
    /// `Date` of the answer, in milliseconds since 1970.
    pub(super) date_millis: Option<i64>,
    /// The wall clock of this host when the answer was there.
    pub(super) wall: UnixMillis,
}

/// What is known of the cloud's clock.
#[derive(Debug, Default)]
pub(super) struct ServerClock(Option<ClockEstimate>);

#[derive(Debug, Clone, Copy)]
struct ClockEstimate {
    /// How far the cloud's clock is ahead of the steady clock at `at`.
    offset: MicrosRange,
    /// By the steady clock, in microseconds.
    at: i64,
    /// Since when no answer has contradicted another.
    since: i64,
}

/// From and to, in microseconds.
#[derive(Debug, Clone, Copy)]
struct MicrosRange(i64, i64);

impl MicrosRange {
    /// What it is a while later or earlier, given drift.
    fn after(self, micros: i64) -> Self {
        let drift = micros.saturating_abs() / DRIFT_ONE_IN + 1;
        Self(self.0.saturating_sub(drift), self.1.saturating_add(drift))
    }

    fn and(self, other: Self) -> Option<Self> {
        let both = Self(self.0.max(other.0), self.1.min(other.1));
        (both.0 <= both.1).then_some(both)
    }
}

impl ServerClock {
    /// Learns from an answer, and tells when its numbers were read. Without a `Date` it is placed by what other
    /// answers told of the cloud's clock, and, if none did, by the wall clock of this host.
    pub(super) fn place(&mut self, exchange: TimedExchange) -> TimeSpan {
        let (sent, received) = (micros(exchange.sent), micros(exchange.received));
        let took = received.saturating_sub(sent).max(0);
        let Some(date) = exchange.date_millis.map(|date| date.saturating_mul(1_000)) else {
            let Some(known) = self.0 else {
                let wall = exchange.wall.get().saturating_mul(1_000);
                return span(wall.saturating_sub(took), wall);
            };
            let away = known.at.saturating_sub(sent).max(received.saturating_sub(known.at));
            let offset = known.offset.after(away);
            return span(sent.saturating_add(offset.0), received.saturating_add(offset.1));
        };
        let second_end = date.saturating_add(SECOND_END);
        // Answers do not end in the order in which they were asked for.
        let now = self.0.map_or(received, |known| known.at.max(received));
        let away = now.saturating_sub(sent);
        let newest = MicrosRange(date.saturating_sub(received), second_end.saturating_sub(sent)).after(away);
        let agreed = self.0.and_then(|known| {
            let offset = known.offset.after(now.saturating_sub(known.at)).and(newest)?;
            Some(ClockEstimate { offset, at: now, since: known.since })
        });
        let known = agreed.unwrap_or(ClockEstimate { offset: newest, at: now, since: now });
        self.0 = Some(known);
        let is_steady = now.saturating_sub(known.since) >= micros(STEADY);
        let MicrosRange(least, most) = if is_steady { known.offset.after(away) } else { newest };
        // It was made between the question and the end of the answer, and so were its numbers.
        let (earliest, latest) = (date.saturating_sub(took), second_end.saturating_add(took));
        span(
            sent.saturating_add(least).clamp(earliest, latest),
            received.saturating_add(most).clamp(earliest, latest),
        )
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// In the milliseconds in which the cloud tells times: it cuts what is finer, as is done here.
fn span(from: i64, to: i64) -> TimeSpan {
    let [from, to] = [from, to].map(|micros| {
        // A clock that stands before 1970 is taken to stand just after it.
        let millis = micros.div_euclid(1_000).max(1);
        UnixMillis::new(millis).unwrap_or_else(|| unreachable!("a positive number is a time"))
    });
    TimeSpan::new(from, to)
}

#[cfg(test)]
mod tests;
