//! `/debug/state`: parses the query and returns the JSON of the [`Explainer`].
//!
//! Owns: the query parameters and the number of concurrent requests. A request counts until its response has been sent,
//! so that slow clients cannot accumulate responses in memory.

use std::{collections::BTreeMap, sync::Arc};

use hyper::{StatusCode, body::Bytes};
use percent_encoding::percent_decode_str;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ExplainOutcome, ExplainQuery, ExplainResponse, Explainer, ResponseContent};

/// Path of the endpoint.
pub(super) const PATH: &str = "/debug/state";

/// Maximum number of requests in progress.
const MAX_CONCURRENT: usize = 4;

/// Query parameters.
const PARAMETERS: [&str; 5] = ["instance", "group", "topic", "region", "account"];

/// Handler of explain requests.
pub(super) struct DebugEndpoint {
    explainer: Arc<dyn Explainer>,
    permits: Arc<Semaphore>,
}

/// JSON that holds its permit until it has been sent.
struct PermittedJson {
    json: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for PermittedJson {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

impl DebugEndpoint {
    pub(super) fn new(explainer: Arc<dyn Explainer>) -> Self {
        Self { explainer, permits: Arc::new(Semaphore::new(MAX_CONCURRENT)) }
    }

    /// Returns the status code and the JSON for a query.
    pub(super) async fn respond(&self, query: Option<&str>) -> (StatusCode, ResponseContent) {
        let query = match parse_query(query.unwrap_or_default()) {
            Ok(query) => query,
            Err(error) => return (StatusCode::BAD_REQUEST, error_json(error)),
        };
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return (StatusCode::TOO_MANY_REQUESTS, error_json("too many requests in progress, retry later"));
        };
        let ExplainResponse { outcome, json } = self.explainer.explain(query).await;
        let status = match outcome {
            ExplainOutcome::Found => StatusCode::OK,
            ExplainOutcome::Invalid => StatusCode::BAD_REQUEST,
            ExplainOutcome::Unknown => StatusCode::NOT_FOUND,
            ExplainOutcome::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, ResponseContent::plain([Bytes::from_owner(PermittedJson { json, _permit: permit })]))
    }
}

/// Returns an error as JSON. The text needs no escaping.
fn error_json(error: &str) -> ResponseContent {
    format!("{{\"error\": \"{error}\"}}\n").into()
}

/// Parses a query in the encoding of HTML forms. Empty parameters count as missing.
fn parse_query(query: &str) -> Result<ExplainQuery, &'static str> {
    let mut values = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (decode(name), decode(value)) else {
            return Err("the query is not percent-encoded UTF-8");
        };
        let Some(parameter) = PARAMETERS.into_iter().find(|parameter| *parameter == name) else {
            return Err("unknown parameter; use instance, group, topic, region and account");
        };
        if values.insert(parameter, value).is_some() {
            return Err("a parameter is given twice; encode & in a name as %26");
        }
    }
    let mut take = |name| values.remove(name).filter(|value| !value.is_empty());
    let (Some(instance), Some(group)) = (take("instance"), take("group")) else {
        return Err(
            "instance and group are required, e.g. /debug/state?instance=ID&group=NAME, percent-encoded",
        );
    };
    Ok(ExplainQuery {
        instance,
        group,
        topic: take("topic"),
        region: take("region"),
        account: take("account"),
    })
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(instance: &str, group: &str) -> ExplainQuery {
        ExplainQuery { instance: instance.to_owned(), group: group.to_owned(), ..ExplainQuery::default() }
    }

    #[test]
    fn queries_are_parsed_like_html_forms() {
        for (text, group) in [
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
            assert_eq!(parse_query(text), Ok(query("i", group)), "{text}");
        }
        let narrowed = parse_query("instance=i&group=g&topic=t&region=r&account=a").unwrap();
        let (topic, region, account) = (Some("t".to_owned()), Some("r".to_owned()), Some("a".to_owned()));
        assert_eq!(narrowed, ExplainQuery { topic, region, account, ..query("i", "g") });
    }

    #[test]
    fn an_invalid_query_is_an_error() {
        for (text, expected) in [
            ("", "are required"),
            ("instance=i", "are required"),
            ("instance=&group=g", "are required"),
            ("instance&group=g", "are required"),
            ("instance=i&group=g&group=h", "given twice"),
            ("instance=i&group=g&topic=&topic=t", "given twice"),
            ("instance=i&group=g&grop=h", "unknown parameter"),
            ("instance=i&group=a&b", "unknown parameter"),
            ("instance=i&group=%FF", "percent-encoded UTF-8"),
            ("instance=i&group=%E8%AE", "percent-encoded UTF-8"),
        ] {
            let error = parse_query(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains(['"', '\\']), "the error is not escaped in JSON");
        }
    }
}
