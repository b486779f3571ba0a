//! The only place that knows the wire of the AliKafka management API (RPC style, version 2019-09-16).
//!
//! Owns: the closed list of actions, signatures, pacing, retries, paging, and the reading of answers into the
//! model. Refuses: metrics (an [`ApiObserver`] is told of each attempt), schedules, and anything that writes.
//!
//! A call takes its way through `credentials`, `budget`, `sign`, `transport`, `envelope`, `wire` and, should
//! it fail, `quote` and `retry`; `client` holds the order of these steps.

use crate::model::{
    GroupId, GroupProgress, Instance, InstanceId, Listing, MessageTimestamps, Observed, RegionId,
    ResponseOrigin, Topic, TopicName, TopicStatus,
};

pub mod action;
mod budget;
mod client;
pub mod credentials;
pub mod decode;
mod envelope;
pub mod error;
mod observer;
mod paginator;
mod rate_limiter;
mod redact;
mod resolver;
mod retry;
mod server_clock;
pub mod sign;
mod transport;
mod wire;

pub use action::Action;
pub use budget::{ActionRates, RequestBudget, RequestBudgets, RequestRate};
pub use client::{ApiClient, ClientSettings, EntropySource, os_entropy};
pub use credentials::{Credentials, CredentialsError, ProvideCredentials};
pub use error::{ApiError, ErrorKind};
pub use observer::{ApiObserver, Attempt};
use tokio::time::Instant;
pub use transport::{ClientBuildError, MAX_BODY_BYTES, install_crypto_provider};

/// What can be asked of one region of one account. The client asks the cloud; tests of the collector put
/// a script in its place. Every call is paced by the budget of its action, retried within the retry
/// budget, and ends by `deadline` at the latest.
pub trait CloudApi: Send + Sync + 'static {
    /// Calls a second that the budget of an action allows now: as configured, or less while the cloud
    /// throttles.
    fn rate(&self, action: Action) -> f64;

    /// `GetAllInstanceIdList`: the regions in which the account has instances.
    fn regions(
        &self,
        deadline: Instant,
    ) -> impl Future<Output = Result<Observed<Listing<RegionId>>, ApiError>> + Send;

    /// `GetInstanceList`: the region's instances.
    fn instances(
        &self,
        deadline: Instant,
    ) -> impl Future<Output = Result<Observed<Listing<Instance>>, ApiError>> + Send;

    /// `GetTopicList`, all pages: the instance's topics.
    fn topics(
        &self,
        instance: &InstanceId,
        deadline: Instant,
    ) -> impl Future<Output = Result<Observed<Listing<Topic>>, ApiError>> + Send;

    /// `GetTopicStatus`: what one topic holds.
    fn topic_status(
        &self,
        instance: &InstanceId,
        topic: &TopicName,
        deadline: Instant,
    ) -> impl Future<Output = Result<(Observed<TopicStatus>, ResponseOrigin), ApiError>> + Send;

    /// `GetConsumerList`, all pages: the instance's consumer groups.
    fn groups(
        &self,
        instance: &InstanceId,
        deadline: Instant,
    ) -> impl Future<Output = Result<Observed<Listing<GroupId>>, ApiError>> + Send;

    /// `GetConsumerProgress`: how far one group has read.
    fn group_progress(
        &self,
        instance: &InstanceId,
        group: &GroupId,
        times: MessageTimestamps,
        deadline: Instant,
    ) -> impl Future<Output = Result<(Observed<GroupProgress>, ResponseOrigin), ApiError>> + Send;
}
