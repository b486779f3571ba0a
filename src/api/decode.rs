//! Reading a body without a call, for benches and fuzzers: the very path that answers take.

use std::borrow::Cow;

use super::{
    Action, Error,
    envelope::{self, Reply},
    wire::ProgressAnswer,
};
use crate::model::{GroupId, GroupProgress, Observed};

/// Reads the body of a `GetConsumerProgress` answer that came with HTTP 200.
///
/// # Errors
/// What the body says is wrong, or that it cannot be read.
pub fn group_progress(body: &[u8], group: &GroupId) -> Result<Observed<GroupProgress>, Error> {
    let body = Cow::Borrowed(body);
    let reply = Reply { status: 200, content_type: None, retry_after: None, date_millis: None, body };
    envelope::read::<ProgressAnswer<'_>>(&reply)
        .and_then(|answer| Ok(answer.into_progress(group)?))
        .map_err(|failure| failure.into_error(Action::GetConsumerProgress))
}
