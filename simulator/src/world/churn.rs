//! Schedule of churn: the regular creation and deletion of topics and groups.

use crate::options::Churn;

/// Maximum number of churned objects of a kind that exist at a time.
const MAX_LIVING: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChurnKind {
    Topic,
    Group,
}

#[derive(Debug)]
struct ChurnTimer {
    kind: ChurnKind,
    period_ms: i64,
    due_ms: i64,
}

/// An object that churn has created.
#[derive(Debug)]
pub(super) struct ChurnedObject {
    pub(super) kind: ChurnKind,
    pub(super) instance_id: String,
    pub(super) name: String,
}

/// State of churn: next due times, and the objects that it has created.
#[derive(Debug)]
pub(super) struct ChurnState {
    timers: Vec<ChurnTimer>,
    created: usize,
    living: Vec<ChurnedObject>,
}

impl ChurnState {
    pub(super) fn new(churn: Churn, epoch_ms: i64) -> Self {
        let rates = [(ChurnKind::Topic, churn.topics_per_hour), (ChurnKind::Group, churn.groups_per_hour)];
        let timers = rates.into_iter().filter(|(_, n)| *n > 0).map(|(kind, per_hour)| {
            let period_ms = (3_600_000 / i64::from(per_hour)).max(1);
            ChurnTimer { kind, period_ms, due_ms: epoch_ms + period_ms }
        });
        Self { timers: timers.collect(), created: 0, living: Vec::new() }
    }

    /// Returns the next creation up to a time, with its due time.
    pub(super) fn next(&mut self, until_ms: i64) -> Option<(i64, ChurnKind)> {
        let timer = self.timers.iter_mut().min_by_key(|t| t.due_ms).filter(|t| t.due_ms <= until_ms)?;
        let due_ms = timer.due_ms;
        timer.due_ms += timer.period_ms;
        Some((due_ms, timer.kind))
    }

    /// Returns the number of the next object, from 1.
    pub(super) fn next_number(&mut self) -> usize {
        self.created += 1;
        self.created
    }

    pub(super) fn add(&mut self, object: ChurnedObject) {
        self.living.push(object);
    }

    /// Returns the oldest object of a kind if there are too many. Some live on, so that lists change at both ends.
    pub(super) fn take_surplus(&mut self, kind: ChurnKind) -> Option<ChurnedObject> {
        let count = self.living.iter().filter(|o| o.kind == kind).count();
        let oldest = self.living.iter().position(|o| o.kind == kind).filter(|_| count > MAX_LIVING)?;
        Some(self.living.remove(oldest))
    }
}
