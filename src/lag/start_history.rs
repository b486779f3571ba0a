//! Start offsets of the partitions of one topic over time, and how fast retention moves them. Pure.

use crate::model::{Offset, Partition, TimeSpan, TopicStatus, UnixMillis};

#[cfg(test)]
mod tests;

/// Steps kept for each partition. A speed needs two.
const MAX_STEPS: usize = 4;

/// Minimum seconds between kept steps, except for the newest. Polls limit the precision of a step's time, so a speed
/// over a few minutes would be meaningless.
const MIN_STEP_SECONDS: u32 = 1800;

/// Start offsets of a topic's partitions over time. Retention deletes segment by segment, so a start moves in steps,
/// and its speed is an average over several of them.
#[derive(Debug, Clone, Default)]
pub struct StartHistory {
    /// Partitions whose start the newest status reports, sorted.
    partitions: Vec<PartitionStart>,
}

#[derive(Debug, Clone)]
struct PartitionStart {
    offset: Offset,
    /// Oldest first, unused places last; `None` before the first step.
    steps: Option<Box<[StartStep; MAX_STEPS]>>,
    partition: Partition,
    /// Number of actual steps that each kept step includes.
    merged: [u8; MAX_STEPS],
}

const _: () = assert!(size_of::<PartitionStart>() == 24);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct StartStep {
    /// Time of the response that reported it, in seconds since 1970; 0 if unused.
    at: u32,
    /// Messages from the start after this step to the current start.
    behind: u32,
}

/// Average movement of a start offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct StartPace {
    /// Messages by which the start is expected to be beyond its last reported value; at most one step, because an
    /// overdue step may come at any moment.
    pub(super) ahead: f64,
    /// Messages per second.
    pub(super) speed: f64,
}

impl StartHistory {
    /// Records the start offsets of a topic. If one moved back, the topic was recreated, and all is removed first.
    pub fn record(&mut self, status: &TopicStatus, now: TimeSpan) {
        let at = u32::try_from(now.latest().get() / 1000).unwrap_or(u32::MAX).max(1);
        if self.partitions.iter().any(|p| status.start(p.partition).is_some_and(|start| start < p.offset)) {
            self.clear();
        }
        // Both are sorted by partition.
        let mut known = std::mem::take(&mut self.partitions).into_iter().peekable();
        for (partition, offset) in status.partitions.iter().filter_map(|p| Some((p.partition, p.start?))) {
            while known.next_if(|k| k.partition < partition).is_some() {}
            let mut start = known.next_if(|k| k.partition == partition).unwrap_or(PartitionStart {
                offset,
                steps: None,
                partition,
                merged: [0; MAX_STEPS],
            });
            start.advance(offset, at);
            self.partitions.push(start);
        }
        self.partitions.shrink_to_fit();
    }

    /// Removes everything, because the topic was recreated.
    pub fn clear(&mut self) {
        self.partitions = Vec::new();
    }

    /// Returns the memory used in bytes, without the overhead of the allocator.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let with_steps = self.partitions.iter().filter(|p| p.steps.is_some()).count();
        size_of::<Self>()
            + self.partitions.capacity() * size_of::<PartitionStart>()
            + with_steps * size_of::<[StartStep; MAX_STEPS]>()
    }

    /// Returns the start offset of a partition after each kept step and its time, in seconds since 1970, oldest first.
    pub fn steps(&self, partition: Partition) -> impl Iterator<Item = (u32, i64)> + '_ {
        let start = self.partition(partition);
        start.into_iter().flat_map(|start| {
            start.steps().iter().map(move |step| (step.at, start.offset.get() - i64::from(step.behind)))
        })
    }

    /// Returns the last reported start offset of a partition and its pace, if two steps are known.
    pub(super) fn start_and_pace(
        &self,
        partition: Partition,
        now: UnixMillis,
    ) -> Option<(Offset, StartPace)> {
        let start = self.partition(partition)?;
        Some((start.offset, start.pace(now)?))
    }

    fn partition(&self, partition: Partition) -> Option<&PartitionStart> {
        partition.find_in(&self.partitions, |p| p.partition)
    }
}

impl PartitionStart {
    fn steps(&self) -> &[StartStep] {
        let steps = self.steps.as_deref().map_or(&[][..], |steps| steps);
        steps.split(|step| step.at == 0).next().unwrap_or(steps)
    }

    fn advance(&mut self, offset: Offset, at: u32) {
        let distance = offset.minus(self.offset);
        if distance <= 0 {
            return;
        }
        self.offset = offset;
        let mut kept: Vec<(StartStep, u8)> = Vec::with_capacity(MAX_STEPS + 1);
        for (step, merged) in self.steps().iter().zip(self.merged) {
            let behind = u32::try_from(distance).ok().and_then(|distance| distance.checked_add(step.behind));
            // Ignore steps from before a clock was set back.
            if let Some(behind) = behind.filter(|_| step.at < at) {
                kept.push((StartStep { behind, ..*step }, merged));
            }
        }
        let mut merged = 1;
        if let [.., (previous, _), (newest, newest_merged)] = kept.as_slice()
            && newest.at - previous.at < MIN_STEP_SECONDS
        {
            merged = newest_merged.saturating_add(1);
            kept.pop();
        }
        kept.push((StartStep { at, behind: 0 }, merged));
        let oldest = kept.len().saturating_sub(MAX_STEPS);
        let steps = self.steps.get_or_insert_default();
        **steps = Default::default();
        for ((step, merged), kept) in
            steps.iter_mut().zip(&mut self.merged).zip(kept.into_iter().skip(oldest))
        {
            (*step, *merged) = kept;
        }
    }

    fn pace(&self, now: UnixMillis) -> Option<StartPace> {
        let steps = self.steps();
        let ([first, .., last], [_, merged @ ..]) = (steps, self.merged.get(..steps.len())?) else {
            return None;
        };
        let count: u32 = merged.iter().copied().map(u32::from).sum();
        let seconds = f64::from(last.at - first.at);
        let distance = f64::from(first.behind);
        let step = distance / f64::from(count);
        let since = |step: &StartStep| (now.get() as f64 / 1e3 - f64::from(step.at)).max(0.0);
        // Assume that an overdue step comes now: the speed is lower by the delay.
        let speed = (distance / seconds).min((distance + step) / since(first).max(1.0));
        Some(StartPace { ahead: (distance / seconds * since(last)).min(step), speed })
    }
}
