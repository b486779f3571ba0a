//! Decoders of responses, one per action. Public for benches and fuzzers, which decode without a call. For the same
//! reason, it exports the parsers of the profile files of Alibaba Cloud's tools.

use super::{
    credentials, envelope,
    wire::{
        GroupListResponse, InstanceIdsResponse, InstanceListResponse, ProgressResponse, TopicListResponse,
        TopicStatusResponse,
    },
};
pub use super::{
    envelope::{ApiResponse, CallFailure, RawResponse},
    transport::http_date_millis,
    wire::ListPage,
};
use crate::model::{
    GroupId, GroupProgress, Instance, InstanceId, Listing, Observed, RegionId, Topic, TopicName, TopicStatus,
};

/// A decoded response, or its failure with texts that are not redacted.
pub type Decoded<T> = Result<ApiResponse<Observed<T>>, CallFailure>;

/// Decodes a response to `GetAllInstanceIdList`.
///
/// # Errors
/// [`CallFailure`] if the response reports a failure or is not readable.
pub fn regions(response: &RawResponse<'_>) -> Decoded<Listing<RegionId>> {
    envelope::read(response, |ids: InstanceIdsResponse<'_>| Ok(ids.into_regions()))
}

/// Decodes a response to `GetInstanceList`.
///
/// # Errors
/// As [`regions`].
pub fn instances(response: &RawResponse<'_>, region: &RegionId) -> Decoded<Listing<Instance>> {
    envelope::read(response, |list: InstanceListResponse<'_>| Ok(list.into_instances(region)))
}

/// Decodes a response to `GetTopicList`.
///
/// # Errors
/// As [`regions`].
pub fn topics(response: &RawResponse<'_>, instance: &InstanceId) -> Decoded<ListPage<Topic>> {
    envelope::read(response, |list: TopicListResponse<'_>| Ok(list.into_page(instance)))
}

/// Decodes a response to `GetTopicStatus`.
///
/// # Errors
/// As [`regions`].
pub fn topic_status(response: &RawResponse<'_>, topic: &TopicName) -> Decoded<TopicStatus> {
    envelope::read(response, |status: TopicStatusResponse<'_>| status.into_status(topic))
}

/// Decodes a response to `GetConsumerList`.
///
/// # Errors
/// As [`regions`].
pub fn groups(response: &RawResponse<'_>, instance: &InstanceId) -> Decoded<ListPage<GroupId>> {
    envelope::read(response, |list: GroupListResponse<'_>| Ok(list.into_page(instance)))
}

/// Decodes a response to `GetConsumerProgress`.
///
/// # Errors
/// As [`regions`].
pub fn group_progress(response: &RawResponse<'_>, group: &GroupId) -> Decoded<GroupProgress> {
    envelope::read(response, |progress: ProgressResponse<'_>| progress.into_progress(group))
}

/// Parses `~/.aliyun/config.json`. Returns its current profile without secrets.
///
/// # Errors
/// Returns the reason why the profile cannot be used, without its secrets.
pub fn cli_profile(text: &str) -> Result<String, String> {
    credentials::describe_profile(text, credentials::ProfileFormat::Cli)
}

/// Parses `~/.alibabacloud/credentials`. Returns its section `default` without secrets.
///
/// # Errors
/// The same as [`cli_profile`].
pub fn ini_profile(text: &str) -> Result<String, String> {
    credentials::describe_profile(text, credentials::ProfileFormat::Ini)
}
