//! Reading without a call, for benches and fuzzers: answers by the very path that they take, up to the model,
//! and the files of the vendor's tools that hold keys.

use std::borrow::Cow;

use super::{
    Action, Error, credentials,
    envelope::{self, Failure, Reply},
    transport,
    wire::{
        Anomalies, GroupListAnswer, InstanceIdsAnswer, InstanceListAnswer, Page, ProgressAnswer,
        TopicListAnswer, TopicStatusAnswer,
    },
};
use crate::model::{
    GroupId, GroupProgress, Instance, InstanceId, Listing, Observed, RegionId, Topic, TopicName, TopicStatus,
};

/// An answer as it came over HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'b> {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<&'b str>,
    /// The body.
    pub body: &'b [u8],
}

impl<'b> Answer<'b> {
    /// A body that came with HTTP 200.
    #[must_use]
    pub fn good(body: &'b [u8]) -> Self {
        Self { status: 200, content_type: None, body }
    }

    fn read<T>(self, action: Action, read: impl Fn(&Reply<'_>) -> Result<T, Failure>) -> Result<T, Error> {
        read(&Reply {
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
pub fn regions(answer: Answer<'_>) -> Result<Observed<Listing<RegionId>>, Error> {
    answer.read(Action::GetAllInstanceIdList, |reply| {
        Ok(envelope::read::<InstanceIdsAnswer<'_>>(reply)?.into_regions())
    })
}

/// Reads an answer to `GetInstanceList`.
///
/// # Errors
/// As [`regions`].
pub fn instances(answer: Answer<'_>, region: &RegionId) -> Result<Observed<Listing<Instance>>, Error> {
    answer.read(Action::GetInstanceList, |reply| {
        Ok(envelope::read::<InstanceListAnswer<'_>>(reply)?.into_instances(region))
    })
}

/// Reads one page of an answer to `GetTopicList`; complete if each of its entries could be read. Names may
/// repeat, as it is the walk over pages that drops them.
///
/// # Errors
/// As [`regions`].
pub fn topics(answer: Answer<'_>, instance: &InstanceId) -> Result<Observed<Listing<Topic>>, Error> {
    answer.read(Action::GetTopicList, |reply| {
        page(|odd| Ok(envelope::read::<TopicListAnswer<'_>>(reply)?.into_page(instance, odd)))
    })
}

/// Reads an answer to `GetTopicStatus`.
///
/// # Errors
/// As [`regions`].
pub fn topic_status(answer: Answer<'_>, topic: &TopicName) -> Result<Observed<TopicStatus>, Error> {
    answer.read(Action::GetTopicStatus, |reply| {
        Ok(envelope::read::<TopicStatusAnswer<'_>>(reply)?.into_status(topic)?)
    })
}

/// Reads one page of an answer to `GetConsumerList`, as [`topics`].
///
/// # Errors
/// As [`regions`].
pub fn groups(answer: Answer<'_>, instance: &InstanceId) -> Result<Observed<Listing<GroupId>>, Error> {
    answer.read(Action::GetConsumerList, |reply| {
        page(|odd| Ok(envelope::read::<GroupListAnswer<'_>>(reply)?.into_page(instance, odd)))
    })
}

/// Reads an answer to `GetConsumerProgress`.
///
/// # Errors
/// As [`regions`].
pub fn group_progress(answer: Answer<'_>, group: &GroupId) -> Result<Observed<GroupProgress>, Error> {
    answer.read(Action::GetConsumerProgress, |reply| {
        Ok(envelope::read::<ProgressAnswer<'_>>(reply)?.into_progress(group)?)
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
    read: impl Fn(&mut Anomalies) -> Result<Page<T>, Failure>,
) -> Result<Observed<Listing<T>>, Failure> {
    let mut odd = Anomalies::default();
    let page = read(&mut odd)?;
    let value = Listing { items: page.items, complete: page.is_whole };
    Ok(Observed { value, anomalies: odd.into_vec() })
}
