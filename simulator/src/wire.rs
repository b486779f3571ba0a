//! Wire format of the service: success and error bodies, list shapes, values as strings.

use serde_json::{Map, Value, json};

use crate::options::ListShape;

/// An error response: an HTTP status, and the code and message of its body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ErrorResponse {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    /// `AccessDeniedDetail` of RAM denials.
    pub(crate) detail: Option<Value>,
    /// `x-acs-retry-after`, in milliseconds.
    pub(crate) retry_after_ms: Option<u64>,
}

impl ErrorResponse {
    pub(crate) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), detail: None, retry_after_ms: None }
    }

    pub(crate) fn bad_request(code: &str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    pub(crate) fn missing_parameter(name: &str) -> Self {
        let message = format!(
            "The input parameter \"{name}\" that is mandatory for processing this request is not supplied."
        );
        Self::bad_request("MissingParameter", message)
    }

    pub(crate) fn unknown_action() -> Self {
        let message = "Specified api is not found, please check your url and method.";
        Self::new(404, "InvalidAction.NotFound", message)
    }

    /// The simulator sends successful responses in JSON only.
    pub(crate) fn only_json() -> Self {
        let message = "The simulator supports JSON only: send Format=JSON.";
        Self::bad_request("UnsupportedFormat", message)
    }

    pub(crate) fn throttled(status: u16, code: &str, retry_after_ms: Option<u64>) -> Self {
        let message = "Request was denied due to user flow control.";
        Self { retry_after_ms, ..Self::new(status, code, message) }
    }

    pub(crate) fn no_permission() -> Self {
        let message = "You are not authorized to do this action. You should be authorized by RAM.";
        Self::new(403, "NoPermission", message)
    }

    /// Returns the denial of a RAM action.
    pub(crate) fn denied_by_ram(ram_action: &str, region: &str) -> Self {
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
        Self { detail: Some(detail), ..Self::no_permission() }
    }

    /// Returns the JSON body. Unlike in successful responses, `Code` is a string.
    pub(crate) fn to_json(&self, request_id: &str, host: &str) -> Value {
        let recommend = format!("https://api.aliyun.com/troubleshoot?q={}&requestId={request_id}", self.code);
        let mut body = json!({
            "Code": self.code,
            "Message": self.message,
            "RequestId": request_id,
            "HostId": host,
            "Recommend": recommend,
        });
        if let Some(detail) = &self.detail {
            body["AccessDeniedDetail"] = detail.clone();
        }
        body
    }

    /// Returns the XML body.
    pub(crate) fn to_xml(&self, request_id: &str, host: &str) -> String {
        let escape = |s: &str| s.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        format!(
            "<?xml version='1.0' encoding='UTF-8'?><Error><RequestId>{request_id}</RequestId><HostId>{host}</HostId><Code>{}</Code><Message>{}</Message></Error>",
            escape(&self.code),
            escape(&self.message)
        )
    }
}

/// Returns a successful response: the payload with the common fields.
pub(crate) fn success(mut payload: Map<String, Value>, request_id: &str) -> Value {
    payload.insert("Code".to_owned(), json!(200));
    payload.insert("Message".to_owned(), json!("operation success."));
    payload.insert("RequestId".to_owned(), json!(request_id));
    payload.insert("Success".to_owned(), json!(true));
    Value::Object(payload)
}

/// Returns a list, wrapped in an object with the name of its item type, or flat.
pub(crate) fn list(shape: ListShape, item: &str, rows: Vec<Value>) -> Value {
    match shape {
        ListShape::Wrapped => json!({ item: rows }),
        ListShape::Flat | ListShape::FlatEverywhere => Value::Array(rows),
    }
}

/// Returns a list inside of `TopicStatus` or `ConsumerProgress`. The API reference shows these wrapped.
pub(crate) fn inner_list(shape: ListShape, item: &str, rows: Vec<Value>) -> Value {
    list(if shape == ListShape::Flat { ListShape::Wrapped } else { shape }, item, rows)
}

/// Returns `Tags`.
pub(crate) fn tags(shape: ListShape, tags: &[(String, String)]) -> Value {
    list(shape, "TagVO", tags.iter().map(|(k, v)| json!({ "Key": k, "Value": v })).collect())
}

/// Turns every number and boolean into a string, as the API reference shows `GetTopicStatus`.
pub(crate) fn stringify(value: &mut Value) {
    match value {
        Value::Number(n) => *value = Value::String(n.to_string()),
        Value::Bool(b) => *value = Value::String(b.to_string()),
        Value::Array(items) => items.iter_mut().for_each(stringify),
        Value::Object(map) => map.values_mut().for_each(stringify),
        Value::Null | Value::String(_) => {}
    }
}

/// Returns the path to the list of an action's response: the wrapper, then the list inside of it.
fn list_path(action: &str) -> Option<&'static [&'static str]> {
    Some(match action {
        "GetAllInstanceIdList" => &["InstanceIds"],
        "GetInstanceList" => &["InstanceList", "InstanceVO"],
        "GetTopicList" => &["TopicList", "TopicVO"],
        "GetConsumerList" => &["ConsumerList", "ConsumerVO"],
        "GetTopicStatus" => &["TopicStatus", "OffsetTable", "OffsetTable"],
        "GetConsumerProgress" => &["ConsumerProgress", "TopicList", "TopicList"],
        _ => return None,
    })
}

/// Returns the value that contains the list of an action's response: the wrapper, or the list if it is flat.
pub(crate) fn list_wrapper<'v>(action: &str, body: &'v mut Value) -> Option<&'v mut Value> {
    let path = list_path(action)?;
    let depth = (path.len() - 1).max(1);
    path.iter().take(depth).try_fold(body, |value, field| value.get_mut(*field))
}

/// Returns the value that is the list of an action's response, in either shape.
pub(crate) fn list_slot<'v>(action: &str, body: &'v mut Value) -> Option<&'v mut Value> {
    list_path(action)?.iter().try_fold(body, |value, field| match value {
        // A flat list has no wrapper.
        Value::Array(_) => Some(value),
        _ => value.get_mut(*field),
    })
}

/// Returns the rows of an action's response that contain numbers: partitions or list items.
pub(crate) fn numeric_rows<'v>(action: &str, body: &'v mut Value) -> Vec<&'v mut Map<String, Value>> {
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
    fn list_slot_and_rows_support_both_shapes() {
        for shape in [ListShape::Wrapped, ListShape::FlatEverywhere] {
            let mut body = json!({ "TopicList": list(shape, "TopicVO", vec![json!({"Topic": "a"})]) });
            assert_eq!(list_slot("GetTopicList", &mut body), Some(&mut json!([{"Topic": "a"}])));
            let offsets = list(shape, "OffsetList", vec![json!({"Partition": 0})]);
            let topics = list(shape, "TopicList", vec![json!({"Topic": "a", "OffsetList": offsets})]);
            let mut body = json!({ "ConsumerProgress": { "TopicList": topics } });
            assert_eq!(numeric_rows("GetConsumerProgress", &mut body).len(), 1);
        }
    }

    #[test]
    fn stringify_keeps_every_digit() {
        let mut v = json!({ "a": [9_007_199_254_740_993_i64, true], "b": null });
        stringify(&mut v);
        assert_eq!(v, json!({ "a": ["9007199254740993", "true"], "b": null }));
    }
}
