//! Log of a partition as a function of time. Its size depends only on the number of rate changes.
//!
//! Owns: offsets at a given time, write times of messages, and the effects of retention and compaction.

const HOUR_MS: i128 = 3_600_000;
/// Number of rate changes after which those below the start offset are dropped.
const PHASES_KEPT: usize = 64;

/// Rate at which producers write a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceRate {
    /// Messages per hour while producers write.
    pub per_hour: i64,
    /// If set, producers write only in a part of each period.
    pub burst: Option<Burst>,
}

/// Part of each period in which producers write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// Length of the period, in milliseconds.
    pub period_ms: i64,
    /// Length of the part at the beginning of the period, in milliseconds.
    pub on_ms: i64,
}

/// Effect of compaction on a partition. Keeps the newest message and does not change offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Minimum age of removed messages, in milliseconds.
    pub older_than_ms: i64,
    /// Keeps every nth of the older messages, counted from the partition's first offset.
    pub keep_every: i64,
}

impl ProduceRate {
    /// No writes.
    pub const IDLE: Self = Self { per_hour: 0, burst: None };

    /// Returns a constant rate.
    #[must_use]
    pub fn steady(per_hour: i64) -> Self {
        Self { per_hour: per_hour.max(0), burst: None }
    }

    /// Returns a constant rate in messages per second.
    #[must_use]
    pub fn per_second(messages: i64) -> Self {
        Self::steady(messages.saturating_mul(3600))
    }

    /// Returns the mean messages per hour, over complete periods.
    #[must_use]
    pub fn mean_per_hour(self) -> i64 {
        match self.burst {
            None => self.per_hour,
            Some(b) => {
                narrow(i128::from(self.per_hour) * i128::from(b.on_ms) / i128::from(b.period_ms.max(1)))
            }
        }
    }

    /// Returns the number of messages written in the first `elapsed_ms`.
    fn count(self, elapsed_ms: i64) -> i64 {
        let even = |ms: i64| i128::from(ms.max(0)) * i128::from(self.per_hour) / HOUR_MS;
        narrow(match self.burst {
            None => even(elapsed_ms),
            Some(b) => {
                let period = b.period_ms.max(1);
                let (cycles, rest) = (elapsed_ms.max(0) / period, elapsed_ms.max(0) % period);
                i128::from(cycles) * even(b.on_ms) + even(rest.min(b.on_ms))
            }
        })
    }

    /// Returns the milliseconds until the `k`-th message (from 1) is written; `None` if it never is.
    fn time_of(self, k: i64) -> Option<i64> {
        if self.per_hour <= 0 || k <= 0 {
            return None;
        }
        let even = |k: i64| {
            narrow((i128::from(k) * HOUR_MS + i128::from(self.per_hour) - 1) / i128::from(self.per_hour))
        };
        match self.burst {
            None => Some(even(k)),
            Some(b) => {
                let per_cycle = narrow(i128::from(b.on_ms) * i128::from(self.per_hour) / HOUR_MS);
                (per_cycle > 0)
                    .then(|| (k - 1) / per_cycle * b.period_ms.max(1) + even((k - 1) % per_cycle + 1))
            }
        }
    }
}

fn narrow(v: i128) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}

/// A rate, and when it starts.
#[derive(Debug, Clone, Copy)]
struct RatePhase {
    from_ms: i64,
    from_offset: i64,
    rate: ProduceRate,
}

/// Log of a partition.
#[derive(Debug, Clone)]
pub(crate) struct PartitionLog {
    base: i64,
    /// Lowest start offset after `delete_before`.
    min_start: i64,
    segment: i64,
    retention_ms: Option<i64>,
    compaction: Option<Compaction>,
    phases: Vec<RatePhase>,
}

impl PartitionLog {
    /// Returns a log whose first message has offset `base`, written since `from_ms`. Retention removes complete
    /// segments of `segment` messages; `None` keeps all messages.
    pub(crate) fn new(
        base: i64,
        from_ms: i64,
        rate: ProduceRate,
        segment: i64,
        retention_ms: Option<i64>,
    ) -> Self {
        let first = RatePhase { from_ms, from_offset: base, rate };
        let segment = segment.max(1);
        Self { base, min_start: base, segment, retention_ms, compaction: None, phases: vec![first] }
    }

    /// Sets the compaction.
    pub(crate) fn compacted(mut self, compaction: Option<Compaction>) -> Self {
        self.compaction = compaction;
        self
    }

    /// Returns an empty log with the same rate and retention and offsets from 0.
    pub(crate) fn recreated(&self, t: i64) -> Self {
        Self::new(0, t, self.rate(t), self.segment, self.retention_ms).compacted(self.compaction)
    }

    fn phase_at(&self, t: i64) -> (RatePhase, Option<RatePhase>) {
        let i = self.phases.partition_point(|p| p.from_ms <= t).max(1) - 1;
        (self.phases[i], self.phases.get(i + 1).copied())
    }

    /// Returns the offset of the next message.
    pub(crate) fn end(&self, t: i64) -> i64 {
        let (p, next) = self.phase_at(t);
        let end = p.from_offset.saturating_add(p.rate.count(t - p.from_ms));
        next.map_or(end, |n| end.min(n.from_offset))
    }

    /// Returns the oldest retained offset.
    pub(crate) fn start(&self, t: i64) -> i64 {
        let aged = match self.retention_ms {
            Some(keep) => {
                let gone = self.end(t.saturating_sub(keep)) - self.base;
                self.base + gone / self.segment * self.segment
            }
            None => self.base,
        };
        aged.max(self.min_start)
    }

    /// Returns the first existing message at or after an offset.
    pub(crate) fn first_existing(&self, offset: i64, t: i64) -> Option<i64> {
        let (from, end) = (offset.max(self.start(t)), self.end(t));
        if from >= end {
            return None;
        }
        let Some(c) = self.compaction else { return Some(from) };
        let young = self.end(t.saturating_sub(c.older_than_ms));
        let every = c.keep_every.max(1);
        let behind = (from - self.base).rem_euclid(every);
        let kept = if behind == 0 { from } else { from.saturating_add(every - behind) };
        Some(kept.min(from.max(young)).min(end - 1))
    }

    /// Returns the last existing message before an offset.
    pub(crate) fn last_existing_before(&self, offset: i64, t: i64) -> Option<i64> {
        let (start, end) = (self.start(t), self.end(t));
        let last = offset.min(end).checked_sub(1).filter(|last| *last >= start && offset <= end)?;
        let Some(c) = self.compaction else { return Some(last) };
        if last >= self.end(t.saturating_sub(c.older_than_ms)) || last == end - 1 {
            return Some(last);
        }
        Some(last - (last - self.base).rem_euclid(c.keep_every.max(1))).filter(|kept| *kept >= start)
    }

    /// Returns the time at which the message of an offset was or will be written.
    pub(crate) fn time_of(&self, offset: i64) -> i64 {
        let i = self.phases.partition_point(|p| p.from_offset <= offset);
        let Some(p) = i.checked_sub(1).map(|i| self.phases[i]) else { return self.phases[0].from_ms };
        let own = p.rate.time_of(offset - p.from_offset + 1).map(|ms| p.from_ms.saturating_add(ms));
        match (own, self.phases.get(i)) {
            (Some(own), Some(next)) => own.min(next.from_ms),
            (Some(own), None) => own,
            (None, Some(next)) => next.from_ms,
            (None, None) => i64::MAX,
        }
    }

    /// Returns the time of the newest message; `None` if there was none.
    pub(crate) fn last_write(&self, t: i64) -> Option<i64> {
        let end = self.end(t);
        (end > self.base).then(|| self.time_of(end - 1))
    }

    /// Returns the rate at a time.
    pub(crate) fn rate(&self, t: i64) -> ProduceRate {
        self.phase_at(t).0.rate
    }

    /// Changes the rate at `t`.
    pub(crate) fn set_produce_rate(&mut self, t: i64, rate: ProduceRate) {
        self.push(t, self.end(t), rate);
    }

    /// Writes `n` messages at `t`, in addition to the rate.
    pub(crate) fn append(&mut self, t: i64, n: i64) {
        self.push(t, self.end(t).saturating_add(n.max(0)), self.rate(t));
    }

    /// Removes the messages before an offset, at most all messages.
    pub(crate) fn delete_before(&mut self, t: i64, offset: i64) {
        self.min_start = self.min_start.max(offset.min(self.end(t)));
    }

    fn push(&mut self, t: i64, from_offset: i64, rate: ProduceRate) {
        if self.phases.len() >= PHASES_KEPT {
            let start = self.start(t);
            let below = self.phases.partition_point(|p| p.from_offset <= start).max(1) - 1;
            self.phases.drain(..below);
        }
        self.phases.push(RatePhase { from_ms: t, from_offset, rate });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_is_the_first_time_at_which_end_includes_the_message() {
        let burst = ProduceRate { per_hour: 7_001, burst: Some(Burst { period_ms: 60_000, on_ms: 13_000 }) };
        for rate in [ProduceRate::steady(7_001), ProduceRate::steady(1), burst] {
            let log = PartitionLog::new(5, 1_000, rate, 10, None);
            for offset in 5..60 {
                let t = log.time_of(offset);
                assert!(log.end(t) > offset, "{rate:?} {offset} exists at {t}");
                assert!(log.end(t - 1) <= offset, "{rate:?} {offset} does not exist before {t}");
            }
        }
    }

    #[test]
    fn rate_changes_and_appends_keep_offsets_contiguous() {
        let mut log = PartitionLog::new(0, 0, ProduceRate::per_second(10), 1, None);
        log.set_produce_rate(10_000, ProduceRate::IDLE);
        assert_eq!(log.end(50_000), 100);
        log.append(50_000, 7);
        assert_eq!((log.end(49_999), log.end(50_000)), (100, 107));
        assert_eq!((log.time_of(99), log.time_of(100), log.time_of(106)), (10_000, 50_000, 50_000));
        assert_eq!(log.last_write(90_000), Some(50_000));
        log.set_produce_rate(60_000, ProduceRate::per_second(1));
        assert_eq!((log.end(60_000), log.end(63_000), log.time_of(107)), (107, 110, 61_000));
    }

    #[test]
    fn retention_removes_complete_segments_up_to_the_end() {
        let log = PartitionLog::new(1 << 54, 0, ProduceRate::per_second(1), 100, Some(1_000_000));
        let base = 1_i64 << 54;
        assert_eq!(log.start(1_000_000), base);
        assert_eq!(log.start(1_099_999), base);
        assert_eq!(log.start(1_100_000), base + 100);
        let mut idle = PartitionLog::new(0, 0, ProduceRate::per_second(1), 100, Some(1_000_000));
        idle.set_produce_rate(200_000, ProduceRate::IDLE);
        assert_eq!((idle.start(9_000_000), idle.end(9_000_000)), (200, 200));
        idle.delete_before(9_000_000, 999);
        assert_eq!(idle.start(9_000_000), 200);
    }

    #[test]
    fn compaction_keeps_every_nth_old_message_and_the_newest() {
        let compaction = Compaction { older_than_ms: 30_000, keep_every: 10 };
        let mut log =
            PartitionLog::new(5, 0, ProduceRate::per_second(1), 1, None).compacted(Some(compaction));
        // 100 s: offsets 5 to 104; those from 75 are younger than 30 s.
        let existing = |log: &PartitionLog, t: i64| -> Vec<i64> {
            let all = (log.start(t)..log.end(t)).filter(|o| log.first_existing(*o, t) == Some(*o)).collect();
            let back: Vec<i64> = (log.start(t)..log.end(t))
                .filter(|o| log.last_existing_before(o + 1, t) == Some(*o))
                .collect();
            assert_eq!(back, all, "both directions agree");
            all
        };
        let expected: Vec<i64> = (5..75).step_by(10).chain(75..105).collect();
        assert_eq!(existing(&log, 100_000), expected);
        assert_eq!((log.start(100_000), log.end(100_000)), (5, 105));
        assert_eq!((log.first_existing(66, 100_000), log.first_existing(105, 100_000)), (Some(75), None));
        log.set_produce_rate(100_000, ProduceRate::IDLE);
        let expected: Vec<i64> = (5..105).step_by(10).chain([104]).collect();
        assert_eq!(existing(&log, 900_000), expected, "the newest message stays");
        assert_eq!(log.last_existing_before(106, 900_000), None, "offset beyond the end");
    }

    #[test]
    fn old_rate_changes_are_dropped_below_the_start() {
        let mut log = PartitionLog::new(0, 0, ProduceRate::per_second(1), 1, Some(10_000));
        for i in 1..1_000 {
            log.set_produce_rate(i * 1_000, ProduceRate::per_second(1));
        }
        assert!(log.phases.len() <= PHASES_KEPT);
        assert_eq!((log.start(999_000), log.end(999_000)), (989, 999));
    }
}
