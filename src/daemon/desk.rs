//! Joins the server's questions to the collector's desk, and writes what is said there as JSON.

use std::pin::Pin;

use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::{
    collect::{
        Desk,
        desk::{Answers, Question},
        state::explain::{Explained, Known},
    },
    web::{self, ExplainOutcome, ExplainResponse},
};

/// Asks on behalf of clients.
pub(super) struct Reception(pub(super) Desk);

impl web::Explainer for Reception {
    fn explain(
        &self,
        question: web::ExplainQuery,
    ) -> Pin<Box<dyn Future<Output = ExplainResponse> + Send + '_>> {
        Box::pin(async move {
            let web::ExplainQuery { instance, group, topic, region, account } = &question;
            let named =
                Question::new(instance, group, topic.as_deref(), region.as_deref(), account.as_deref());
            let said = match named {
                Ok(question) => said(self.0.ask(question).await),
                Err(error) => Said::of(ExplainOutcome::Invalid, error.to_string()),
            };
            // Megabytes, at the most: not on a thread that others are served by.
            spawn_blocking(move || said.written()).await.unwrap_or_else(|_| ExplainResponse {
                verdict: ExplainOutcome::Busy,
                json: b"{\"error\": \"the answer could not be written, please report this\"}\n".to_vec(),
            })
        })
    }
}

/// What is written.
#[derive(Serialize)]
struct Said {
    #[serde(skip)]
    verdict: ExplainOutcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// One for each account and region that has an instance and a group of these names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    found: Vec<Explained>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regions_polled: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    known: Vec<Region>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regions_without_answer: Vec<String>,
}

/// What is known of a region that does not know the group.
#[derive(Serialize)]
struct Region {
    region: String,
    #[serde(flatten)]
    known: Known,
}

impl Said {
    fn of(verdict: ExplainOutcome, error: impl Into<String>) -> Self {
        Self {
            verdict,
            error: Some(error.into()),
            found: Vec::new(),
            regions_polled: Vec::new(),
            known: Vec::new(),
            regions_without_answer: Vec::new(),
        }
    }

    fn written(self) -> ExplainResponse {
        let mut json = serde_json::to_vec_pretty(&self).unwrap_or_default();
        json.push(b'\n');
        ExplainResponse { verdict: self.verdict, json }
    }
}

fn said(answers: Option<Answers>) -> Said {
    let Some(Answers { polled, found, unknown, silent }) = answers else {
        return Said::of(ExplainOutcome::Busy, "no region is being polled now, ask again");
    };
    if !found.is_empty() {
        let found = Said { error: None, found, ..Said::of(ExplainOutcome::Found, "") };
        return Said { regions_without_answer: silent, ..found };
    }
    if !silent.is_empty() {
        let busy = Said::of(ExplainOutcome::Busy, "not every region has answered in time, ask again");
        return Said { regions_without_answer: silent, ..busy };
    }
    let error = why_unknown(&unknown.iter().map(|(_, known)| *known).collect::<Vec<_>>());
    let known = unknown.into_iter().map(|(region, known)| Region { region, known }).collect();
    Said { regions_polled: polled, known, ..Said::of(ExplainOutcome::Unknown, error) }
}

fn why_unknown(known: &[Known]) -> &'static str {
    if known.iter().any(|known| known.topics_of_group.is_some()) {
        "the group has no such topic"
    } else if known.iter().any(|known| known.groups_of_instance.is_some()) {
        "the instance has no such group, or it is filtered out"
    } else if known.is_empty() {
        "no such region or account is polled"
    } else {
        "there is no such instance, or it is filtered out"
    }
}
