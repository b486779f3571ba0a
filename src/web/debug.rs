//! `/debug/state`: a question from the query, and the answer of [`Explainer`] as JSON.
//!
//! Owns: what a query may hold, and how many answers there may be at one time. An answer keeps its place until
//! it has been sent, so that slow readers cannot pile them up.

use std::{collections::BTreeMap, sync::Arc};

use hyper::{StatusCode, body::Bytes};
use percent_encoding::percent_decode_str;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ExplainOutcome, ExplainQuery, ExplainResponse, Explainer, ResponseContent};

/// Where it is.
pub(super) const PATH: &str = "/debug/state";

/// Answers that are being made or sent at one time.
const AT_ONCE: usize = 4;

/// Names of what a query may hold.
const PARAMETERS: [&str; 5] = ["instance", "group", "topic", "region", "account"];

/// Answers questions, few at a time.
pub(super) struct Debug {
    explain: Arc<dyn Explainer>,
    places: Arc<Semaphore>,
}

/// An answer that is being sent.
struct Told {
    json: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Told {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

impl Debug {
    pub(super) fn new(explain: Arc<dyn Explainer>) -> Self {
        Self { explain, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The status and the JSON that a query gets.
    pub(super) async fn answer(&self, query: Option<&str>) -> (StatusCode, ResponseContent) {
        let question = match question(query.unwrap_or_default()) {
            Ok(question) => question,
            Err(why) => return (StatusCode::BAD_REQUEST, refusal(why)),
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return (StatusCode::TOO_MANY_REQUESTS, refusal("others are being answered, ask again"));
        };
        let ExplainResponse { outcome, json } = self.explain.explain(question).await;
        let status = match outcome {
            ExplainOutcome::Found => StatusCode::OK,
            ExplainOutcome::Invalid => StatusCode::BAD_REQUEST,
            ExplainOutcome::Unknown => StatusCode::NOT_FOUND,
            ExplainOutcome::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, ResponseContent::plain([Bytes::from_owner(Told { json, _place: place })]))
    }
}

/// `why` needs no escaping.
fn refusal(why: &str) -> ResponseContent {
    format!("{{\"error\": \"{why}\"}}\n").into()
}

/// Reads a query as forms write it. What is empty was not given.
fn question(query: &str) -> Result<ExplainQuery, &'static str> {
    let mut given = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
            return Err("the query is not UTF-8 text, percent-encoded");
        };
        let Some(known) = PARAMETERS.into_iter().find(|known| *known == name) else {
            return Err("there are no parameters but instance, group, topic, region and account");
        };
        if given.insert(known, value).is_some() {
            return Err("a parameter is given twice; is there an & in a name that is not written as %26?");
        }
    }
    let mut take = |name| given.remove(name).filter(|value| !value.is_empty());
    let (Some(instance), Some(group)) = (take("instance"), take("group")) else {
        return Err("name both, as in /debug/state?instance=ID&group=NAME, percent-encoded");
    };
    Ok(ExplainQuery {
        instance,
        group,
        topic: take("topic"),
        region: take("region"),
        account: take("account"),
    })
}

fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(instance: &str, group: &str) -> ExplainQuery {
        ExplainQuery { instance: instance.to_owned(), group: group.to_owned(), ..ExplainQuery::default() }
    }

    #[test]
    fn names_are_read_as_forms_write_them() {
        for (query, group) in [
            ("instance=i&group=g", "g"),
            ("group=g&instance=i&", "g"),
            ("instance=i&group=%E8%AE%A2%E5%8D%95", "订单"),
            ("instance=i&group=订单", "订单"),
            ("instance=i&group=a+b%20c", "a b c"),
            ("instance=i&group=a%2Bb", "a+b"),
            ("instance=i&group=a%26group%3Db", "a&group=b"),
            ("instance=i&group=100%25", "100%"),
            ("instance=i&group=100%", "100%"),
            ("instance=i&group=a%2525", "a%25"),
            ("instance=i&group=a=b", "a=b"),
            ("in%73tance=i&group=g&topic=&region=&account=", "g"),
        ] {
            assert_eq!(question(query), Ok(of("i", group)), "{query}");
        }
        let narrowed = question("instance=i&group=g&topic=t&region=r&account=a").unwrap();
        let (topic, region, account) = (Some("t".to_owned()), Some("r".to_owned()), Some("a".to_owned()));
        assert_eq!(narrowed, ExplainQuery { topic, region, account, ..of("i", "g") });
    }

    #[test]
    fn a_query_that_is_not_understood_is_refused() {
        for (query, why) in [
            ("", "name both"),
            ("instance=i", "name both"),
            ("instance=&group=g", "name both"),
            ("instance&group=g", "name both"),
            ("instance=i&group=g&group=h", "given twice"),
            ("instance=i&group=g&topic=&topic=t", "given twice"),
            ("instance=i&group=g&grop=h", "no parameters but"),
            ("instance=i&group=a&b", "no parameters but"),
            ("instance=i&group=%FF", "not UTF-8"),
            ("instance=i&group=%E8%AE", "not UTF-8"),
        ] {
            let refused = question(query).unwrap_err();
            assert!(refused.contains(why), "{query}: {refused}");
            assert!(!refused.contains(['"', '\\']), "it is put into JSON as it is");
        }
    }
}
