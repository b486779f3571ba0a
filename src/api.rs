//! Client of the AliKafka management API (RPC style, version 2019-09-16): the only module that knows the wire.
//!
//! Owns: the closed list of actions, credentials, signatures, rate limits, retries, pagination, and the decoding of
//! responses into the model. Out of scope: metrics (an [`ApiObserver`] observes each attempt) and schedules.
//!
//! A call passes through `credentials`, `budget` and `rate_limiter`, `sign`, `transport`, `envelope`, `wire` and, if it
//! fails, `redact` and `retry`. `client` defines the order of these steps.

use tokio::time::Instant;

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
pub use transport::{ClientBuildError, MAX_BODY_BYTES, install_crypto_provider};

/// Result of listing objects. The list may be incomplete.
pub type ListResult<T> = Result<Observed<Listing<T>>, ApiError>;

/// Result of reading the details of one object.
pub type DetailResult<T> = Result<(Observed<T>, ResponseOrigin), ApiError>;

/// API calls for one region of one account. The collector's tests replace [`ApiClient`] by a script.
///
/// Every call waits for its rate limiter, retries within the retry budget, and ends by `deadline`.
pub trait CloudApi: Send + Sync + 'static {
    /// Returns the current rate limit of an action in requests per second: as configured, or less while the cloud
    /// throttles.
    fn rate(&self, action: Action) -> f64;

    /// `GetAllInstanceIdList`: regions in which the account has instances.
    fn regions(&self, deadline: Instant) -> impl Future<Output = ListResult<RegionId>> + Send;

    /// `GetInstanceList`: instances of the region.
    fn instances(&self, deadline: Instant) -> impl Future<Output = ListResult<Instance>> + Send;

    /// `GetTopicList`, all list pages: topics of the instance.
    fn topics(
        &self,
        instance: &InstanceId,
        deadline: Instant,
    ) -> impl Future<Output = ListResult<Topic>> + Send;

    /// `GetTopicStatus`: offsets of one topic.
    fn topic_status(
        &self,
        instance: &InstanceId,
        topic: &TopicName,
        deadline: Instant,
    ) -> impl Future<Output = DetailResult<TopicStatus>> + Send;

    /// `GetConsumerList`, all list pages: consumer groups of the instance.
    fn groups(
        &self,
        instance: &InstanceId,
        deadline: Instant,
    ) -> impl Future<Output = ListResult<GroupId>> + Send;

    /// `GetConsumerProgress`: offsets of one group.
    fn group_progress(
        &self,
        instance: &InstanceId,
        group: &GroupId,
        timestamps: MessageTimestamps,
        deadline: Instant,
    ) -> impl Future<Output = DetailResult<GroupProgress>> + Send;
}
