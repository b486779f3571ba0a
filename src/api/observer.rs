//! Observer of API call attempts, so that this module does not depend on the metrics.

use tokio::time::Duration;

use super::{Action, ErrorKind};
use crate::model::{AccountName, Anomaly, RegionId};

/// Observer of API call attempts. Called during every call, so it must not block.
pub trait ApiObserver: Send + Sync {
    /// Observes the end of an HTTP attempt. Requests that are not sent (without credentials, or without a slot before
    /// the deadline) are not attempts.
    fn attempt(&self, attempt: &Attempt<'_>);

    /// Observes an anomaly that caused a response to be discarded. All other anomalies are returned with the value.
    fn discarded(&self, action: Action, anomaly: &Anomaly);
}

/// One HTTP attempt. Each retry and each list page is a separate attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// The configured account, if accounts are named.
    pub account: Option<&'a AccountName>,
    /// Region of the request.
    pub region: &'a RegionId,
    /// Action of the request.
    pub action: Action,
    /// Outcome of the attempt.
    pub result: Result<(), ErrorKind>,
    /// Duration from sending until the end of the body, or until the timeout.
    pub duration: Duration,
    /// Whether this call has sent the request before.
    pub is_retry: bool,
    /// Time by which the server's clock is ahead of the local one, in milliseconds: the middle of the second of `Date`,
    /// minus the local clock at the middle of the attempt. Accurate to half a second plus half of the attempt.
    pub clock_skew_millis: Option<i64>,
}
