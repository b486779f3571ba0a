//! Explanations of the numbers of one group: the JSON behind `/debug/state`.
//!
//! Owns: the JSON, its size limits, and the texts that say why a value is missing. Keys follow the API where they repeat
//! one of its fields, and otherwise the metric names. Of a response it contains only the decoded fields and the request
//! id. Out of scope: HTTP, and the details themselves, see [`crate::collect`].

use std::pin::Pin;

use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::{
    collect::{
        ExplainRouter,
        explain_router::{ExplainReplies, ExplainRequest},
        state::details::KnownObjects,
    },
    model::{AccountName, GroupId, InstanceId, InvalidName, RegionId, TopicName},
    web::{self, ExplainOutcome, ExplainQuery, ExplainResponse},
};

mod bounds;
mod group;

use group::GroupExplanation;

/// Explains groups to clients of the HTTP server.
pub struct GroupExplainer(pub ExplainRouter);

impl web::Explainer for GroupExplainer {
    fn explain(&self, query: ExplainQuery) -> Pin<Box<dyn Future<Output = ExplainResponse> + Send + '_>> {
        Box::pin(async move {
            let replies = match parse_query(&query) {
                Ok(request) => self.0.explain(request).await,
                Err(error) => return Body::error(error.to_string()).response(ExplainOutcome::Invalid),
            };
            // The response may have megabytes, so do not build it on a thread that serves other tasks.
            spawn_blocking(move || respond(replies)).await.unwrap_or_else(|_| {
                Body::error("internal error, please report this").response(ExplainOutcome::Busy)
            })
        })
    }
}

fn parse_query(query: &ExplainQuery) -> Result<ExplainRequest, InvalidName> {
    Ok(ExplainRequest {
        instance: InstanceId::new(&query.instance)?,
        group: GroupId::new(&query.group)?,
        topic: query.topic.as_deref().map(TopicName::new).transpose()?,
        region: query.region.as_deref().map(RegionId::new).transpose()?,
        account: query.account.as_deref().map(AccountName::new).transpose()?,
    })
}

/// Body of a response.
#[derive(Default, Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// One per account and region that knows the group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    found: Vec<GroupExplanation<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regions_polled: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    known: Vec<RegionObjects>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regions_without_answer: Vec<String>,
}

/// Known objects of a region that does not know the group.
#[derive(Serialize)]
struct RegionObjects {
    region: String,
    #[serde(flatten)]
    known: KnownObjects,
}

impl Body<'_> {
    fn error(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::default() }
    }

    fn response(&self, outcome: ExplainOutcome) -> ExplainResponse {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        ExplainResponse { outcome, json }
    }
}

/// Builds the response from the replies of all pollers; `None` if no poller is running.
pub(crate) fn respond(replies: Option<ExplainReplies>) -> ExplainResponse {
    let Some(ExplainReplies { polled, found, unknown, timed_out }) = replies else {
        return Body::error("no region is being polled, retry later").response(ExplainOutcome::Busy);
    };
    if !found.is_empty() {
        let found = found.iter().map(GroupExplanation::new).collect();
        let body = Body { found, regions_without_answer: timed_out, ..Body::default() };
        return body.response(ExplainOutcome::Found);
    }
    if !timed_out.is_empty() {
        let error = Body::error("not every region has responded in time, retry later");
        return Body { regions_without_answer: timed_out, ..error }.response(ExplainOutcome::Busy);
    }
    let error = Body::error(why_unknown(&unknown));
    let known = unknown.into_iter().map(|(region, known)| RegionObjects { region, known }).collect();
    Body { regions_polled: polled, known, ..error }.response(ExplainOutcome::Unknown)
}

fn why_unknown(unknown: &[(String, KnownObjects)]) -> &'static str {
    if unknown.is_empty() {
        "no such region or account is polled"
    } else if unknown.iter().any(|(_, known)| known.topics_of_group.is_some()) {
        "the group has no such topic"
    } else if unknown.iter().any(|(_, known)| known.groups_of_instance.is_some()) {
        "the instance has no such group, or filters exclude it"
    } else {
        "there is no such instance, or filters exclude it"
    }
}
