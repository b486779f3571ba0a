//! Topics.

use super::{
    partition_log::PartitionLog,
    truth::{PartitionTruth, TopicTruth},
};

/// A topic.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) local: bool,
    pub(crate) compact: bool,
    /// Offset of the producers' clock, in milliseconds.
    pub(crate) producer_clock_skew_ms: i64,
    pub(crate) created_ms: i64,
    pub(crate) logs: Vec<PartitionLog>,
}

impl Topic {
    pub(crate) fn truth(&self, now: i64) -> TopicTruth {
        let partitions: Vec<_> = (0..)
            .zip(&self.logs)
            .map(|(partition, log)| {
                let last_write_ms = log.last_write(now);
                PartitionTruth {
                    partition,
                    start: log.start(now),
                    end: log.end(now),
                    last_write_ms,
                    last_write_stamp_ms: last_write_ms
                        .map(|at| at.saturating_add(self.producer_clock_skew_ms)),
                }
            })
            .collect();
        TopicTruth {
            now_ms: now,
            created_ms: self.created_ms,
            local: self.local,
            compact: self.compact,
            messages: partitions.iter().map(|p| p.end - p.start).sum(),
            partitions,
        }
    }
}
