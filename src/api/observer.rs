//! Who is told of every attempt: the seam by which self-metrics are kept without this module knowing them.

use tokio::time::Duration;

use super::{Action, ErrorKind};
use crate::model::{AccountName, Anomaly, RegionId};

/// Told of what the client does. Called on the path of every call, so it must not block.
pub trait ApiObserver: Send + Sync {
    /// An HTTP attempt has ended. Calls that were never sent (no credentials, no slot before the
    /// deadline) are not attempts.
    fn attempt(&self, attempt: &Attempt<'_>);

    /// An anomaly cost the whole answer, so it cannot travel beside a value. All others do.
    fn discarded(&self, action: Action, anomaly: &Anomaly) {
        let _ = (action, anomaly);
    }
}

/// One HTTP attempt, retries and pages included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// The configured account, if accounts are named.
    pub account: Option<&'a AccountName>,
    /// The region that was asked.
    pub region: &'a RegionId,
    /// What was asked.
    pub action: Action,
    /// How it ended.
    pub result: Result<(), ErrorKind>,
    /// From sending to the end of the body, or to giving up.
    pub duration: Duration,
    /// Whether the same question had been sent before within this call.
    pub is_retry: bool,
    /// How far the server's clock is ahead of ours, in milliseconds: the middle of the second of its `Date`,
    /// less the local clock at the middle of the attempt. Right to half a second and half of the attempt.
    pub clock_skew_millis: Option<i64>,
}
