//! Reading without a call, for benches and fuzzers: answers by the very path that they take, up to the model,
//! and the files of the vendor's tools that hold keys.

use std::borrow::Cow;

use super::{
    Action, ApiError, credentials,
    envelope::{self, CallFailure, RawResponse},
    transport,
    wire::{
        Anomalies, GroupListResponse, InstanceIdsResponse, InstanceListResponse, ListPage, ProgressResponse,
        TopicListResponse, TopicStatusResponse,
    },
};
use crate::model::{
    GroupId, GroupProgress, Instance, InstanceId, Listing, Observed, RegionId, Topic, TopicName, TopicStatus,
};

/// An answer as it came over HTTP.
#[derive(Debug, Clone, Copy)]
pub struct RecordedResponse<'b> {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<&'b str>,
    /// The body.
    pub body: &'b [u8],
}

impl<'b> RecordedResponse<'b> {
    /// A body that came with HTTP 200.
    #[must_use]
    pub fn good(body: &'b [u8]) -> Self {
        Self { status: 200, content_type: None, body }
    }

    fn read<T>(
        self,
        action: Action,
        read: impl Fn(&RawResponse<'_>) -> Result<T, CallFailure>,
    ) -> Result<T, ApiError> {
        read(&RawResponse {
            status: self.status,
            content_type: self.content_type.map(str::to_owned),
            retry_after: None,
            date_millis: None,
            body: Cow::Borrowed(self.body),
        })
        .map_err(|failure| failure.into_error(action))
    }
}

/// Reads an answer to `GetAllInstanceIdList`.
///
/// # Errors
/// What the answer says is wrong, or that it cannot be read. Texts of it are not quoted yet.
pub fn regions(answer: RecordedResponse<'_>) -> Result<Observed<Listing<RegionId>>, ApiError> {
    answer.read(Action::GetAllInstanceIdList, |reply| {
        Ok(envelope::read::<InstanceIdsResponse<'_>>(reply)?.into_regions())
    })
}

/// Reads an answer to `GetInstanceList`.
///
/// # Errors
/// As [`regions`].
pub fn instances(
    answer: RecordedResponse<'_>,
    region: &RegionId,
) -> Result<Observed<Listing<Instance>>, ApiError> {
    answer.read(Action::GetInstanceList, |reply| {
        Ok(envelope::read::<InstanceListResponse<'_>>(reply)?.into_instances(region))
    })
}

/// Reads one page of an answer to `GetTopicList`; complete if each of its entries could be read. Names may
/// repeat, as it is the walk over pages that drops them.
///
/// # Errors
/// As [`regions`].
pub fn topics(
    answer: RecordedResponse<'_>,
    instance: &InstanceId,
) -> Result<Observed<Listing<Topic>>, ApiError> {
    answer.read(Action::GetTopicList, |reply| {
        page(|anomalies| Ok(envelope::read::<TopicListResponse<'_>>(reply)?.into_page(instance, anomalies)))
    })
}

/// Reads an answer to `GetTopicStatus`.
///
/// # Errors
/// As [`regions`].
pub fn topic_status(
    answer: RecordedResponse<'_>,
    topic: &TopicName,
) -> Result<Observed<TopicStatus>, ApiError> {
    answer.read(Action::GetTopicStatus, |reply| {
        Ok(envelope::read::<TopicStatusResponse<'_>>(reply)?.into_status(topic)?)
    })
}

/// Reads one page of an answer to `GetConsumerList`, as [`topics`].
///
/// # Errors
/// As [`regions`].
pub fn groups(
    answer: RecordedResponse<'_>,
    instance: &InstanceId,
) -> Result<Observed<Listing<GroupId>>, ApiError> {
    answer.read(Action::GetConsumerList, |reply| {
        page(|anomalies| Ok(envelope::read::<GroupListResponse<'_>>(reply)?.into_page(instance, anomalies)))
    })
}

/// Reads an answer to `GetConsumerProgress`.
///
/// # Errors
/// As [`regions`].
pub fn group_progress(
    answer: RecordedResponse<'_>,
    group: &GroupId,
) -> Result<Observed<GroupProgress>, ApiError> {
    answer.read(Action::GetConsumerProgress, |reply| {
        Ok(envelope::read::<ProgressResponse<'_>>(reply)?.into_progress(group)?)
    })
}

/// The time of the header `Date`, in milliseconds since 1970.
#[must_use]
pub fn date_millis(text: &str) -> Option<i64> {
    transport::http_date_millis(text)
}

/// Reads the text of `~/.aliyun/config.json`: what its current profile says, without its secrets.
///
/// # Errors
/// Why the profile cannot be used, without its secrets too.
pub fn cli_profile(text: &str) -> Result<String, String> {
    credentials::profile_in(text, false)
}

/// The same of `~/.alibabacloud/credentials` and its section `default`.
///
/// # Errors
/// As [`cli_profile`].
pub fn ini_profile(text: &str) -> Result<String, String> {
    credentials::profile_in(text, true)
}

fn page<T>(
    read: impl Fn(&mut Anomalies) -> Result<ListPage<T>, CallFailure>,
) -> Result<Observed<Listing<T>>, CallFailure> {
    let mut anomalies = Anomalies::default();
    let page = read(&mut anomalies)?;
    let value = Listing { items: page.items, complete: page.is_complete };
    Ok(Observed { value, anomalies: anomalies.into_vec() })
}
