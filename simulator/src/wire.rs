//! How the service spells its answers: envelopes, error bodies, list shapes, values as strings.

use serde_json::{Map, Value, json};

use crate::options::ListShape;

/// A refusal: an HTTP status, and the code and message of its body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ErrorResponse {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    /// `AccessDeniedDetail`, for RAM denials.
    pub(crate) detail: Option<Value>,
    /// `x-acs-retry-after`, in milliseconds.
    pub(crate) retry_after_ms: Option<u64>,
}

impl ErrorResponse {
    pub(crate) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), detail: None, retry_after_ms: None }
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        let message = format!(
            "The input parameter \"{parameter}\" that is mandatory for processing this request is not supplied."
        );
        Self::new(400, "MissingParameter", message)
    }

    /// The simulator spells good answers in one way only.
    pub(crate) fn only_json() -> Self {
        Self::new(400, "UnsupportedFormat", "The simulator answers in JSON only: send Format=JSON.")
    }

    /// RAM says no.
    pub(crate) fn denied(ram_action: &str, region: &str) -> Self {
        let message = "You are not authorized to do this action. You should be authorized by RAM.";
        let detail = json!({
            "AuthAction": ram_action,
            "AuthPrincipalType": "SubUser",
            "AuthPrincipalOwnerId": "1234567890123456",
            "AuthPrincipalDisplayName": "20733100000000000",
            "AuthResource": format!("acs:alikafka:{region}:1234567890123456:*"),
            "NoPermissionType": "ImplicitDeny",
            "PolicyType": "AccountLevelIdentityBasedPolicy",
            "EncodedDiagnosticMessage": "AQEAAAAAZw==",
        });
        Self { detail: Some(detail), ..Self::new(403, "NoPermission", message) }
    }
}

/// The body of a refusal in JSON. `Code` is a string here, a number in good answers.
pub(crate) fn refusal_json(r: &ErrorResponse, request_id: &str, host: &str, lower_case: bool) -> Value {
    if lower_case {
        return json!({ "code": r.code, "message": r.message, "requestId": request_id });
    }
    let mut body = json!({
        "Code": r.code,
        "Message": r.message,
        "RequestId": request_id,
        "HostId": host,
        "Recommend": format!("https://api.aliyun.com/troubleshoot?q={}&requestId={request_id}", r.code),
    });
    if let (Some(detail), Some(map)) = (&r.detail, body.as_object_mut()) {
        map.insert("AccessDeniedDetail".to_owned(), detail.clone());
    }
    body
}

/// The body of a refusal in XML.
pub(crate) fn refusal_xml(r: &ErrorResponse, request_id: &str, host: &str) -> String {
    let escape = |s: &str| s.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<?xml version='1.0' encoding='UTF-8'?><Error><RequestId>{request_id}</RequestId><HostId>{host}</HostId><Code>{}</Code><Message>{}</Message></Error>",
        escape(&r.code),
        escape(&r.message)
    )
}

/// A good answer: the payload in its envelope.
pub(crate) fn success(payload: Map<String, Value>, request_id: &str) -> Value {
    let mut body = payload;
    body.insert("Code".to_owned(), json!(200));
    body.insert("Message".to_owned(), json!("operation success."));
    body.insert("RequestId".to_owned(), json!(request_id));
    body.insert("Success".to_owned(), json!(true));
    Value::Object(body)
}

/// A list under the name of its item type, or flat.
pub(crate) fn list(shape: ListShape, item: &str, rows: Vec<Value>) -> Value {
    match shape {
        ListShape::Wrapped => Value::Object(Map::from_iter([(item.to_owned(), Value::Array(rows))])),
        ListShape::Flat | ListShape::FlatEverywhere => Value::Array(rows),
    }
}

/// A list inside of a detail answer. The reference prints these wrapped.
pub(crate) fn inner_list(shape: ListShape, item: &str, rows: Vec<Value>) -> Value {
    list(if shape == ListShape::Flat { ListShape::Wrapped } else { shape }, item, rows)
}

/// `Tags`.
pub(crate) fn tags(shape: ListShape, tags: &[(String, String)]) -> Value {
    list(shape, "TagVO", tags.iter().map(|(k, v)| json!({ "Key": k, "Value": v })).collect())
}

/// Every number and bool as a string, as the reference prints `GetTopicStatus`.
pub(crate) fn stringify(value: &mut Value) {
    match value {
        Value::Number(n) => *value = Value::String(n.to_string()),
        Value::Bool(b) => *value = Value::String(b.to_string()),
        Value::Array(items) => items.iter_mut().for_each(stringify),
        Value::Object(map) => map.values_mut().for_each(stringify),
        Value::Null | Value::String(_) => {}
    }
}

/// Where the list of an action's answer is, in either shape: the value that holds the array.
pub(crate) fn list_slot<'v>(action: &str, body: &'v mut Value) -> Option<&'v mut Value> {
    let steps: &[&str] = match action {
        "GetAllInstanceIdList" => &["InstanceIds"],
        "GetInstanceList" => &["InstanceList", "InstanceVO"],
        "GetTopicList" => &["TopicList", "TopicVO"],
        "GetConsumerList" => &["ConsumerList", "ConsumerVO"],
        "GetTopicStatus" => &["TopicStatus", "OffsetTable", "OffsetTable"],
        "GetConsumerProgress" => &["ConsumerProgress", "TopicList", "TopicList"],
        _ => return None,
    };
    steps.iter().try_fold(body, |at, step| match at {
        // Flat: the wrapper is not there, and the list is here already.
        Value::Array(_) => Some(at),
        _ => at.get_mut(*step),
    })
}

/// The rows of an action's answer that hold numbers: partitions, or list items.
pub(crate) fn rows<'v>(action: &str, body: &'v mut Value) -> Vec<&'v mut Map<String, Value>> {
    let Some(Value::Array(items)) = list_slot(action, body) else { return Vec::new() };
    if action != "GetConsumerProgress" {
        return items.iter_mut().filter_map(Value::as_object_mut).collect();
    }
    let partitions = items.iter_mut().filter_map(|topic| match topic.get_mut("OffsetList")? {
        Value::Object(wrapped) => wrapped.get_mut("OffsetList")?.as_array_mut(),
        flat => flat.as_array_mut(),
    });
    partitions.flatten().filter_map(Value::as_object_mut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_found_in_both_shapes() {
        for shape in [ListShape::Wrapped, ListShape::FlatEverywhere] {
            let mut body = json!({ "TopicList": list(shape, "TopicVO", vec![json!({"Topic": "a"})]) });
            assert_eq!(list_slot("GetTopicList", &mut body), Some(&mut json!([{"Topic": "a"}])));
            let offsets = list(shape, "OffsetList", vec![json!({"Partition": 0})]);
            let topics = list(shape, "TopicList", vec![json!({"Topic": "a", "OffsetList": offsets})]);
            let mut body = json!({ "ConsumerProgress": { "TopicList": topics } });
            assert_eq!(rows("GetConsumerProgress", &mut body).len(), 1);
        }
    }

    #[test]
    fn strings_keep_every_digit() {
        let mut v = json!({ "a": [9_007_199_254_740_993_i64, true], "b": null });
        stringify(&mut v);
        assert_eq!(v, json!({ "a": ["9007199254740993", "true"], "b": null }));
    }
}
