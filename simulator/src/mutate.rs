//! What faults do to the body of a good answer.

use serde_json::{Map, Value, json};

use crate::{
    faults::{Effect, WrongType},
    wire::{list_slot, rows},
};

/// Bends a good answer. `false` if it is no longer the whole truth, however it is spelled.
pub(crate) fn mutate(effect: &Effect, action: &str, body: &mut Value) -> bool {
    match effect {
        Effect::UnknownFields => add_unknown(body, 0),
        // The map of regions has no item type to lose; a page of the reference prints it as a list of maps.
        Effect::FlatList if action == "GetAllInstanceIdList" => {
            let ids = body["InstanceIds"].take();
            body["InstanceIds"] = json!([ids]);
        }
        Effect::FlatList => {
            if let Some(list) = wrapper(action, body)
                && let Some(items) = list.as_object_mut().and_then(|o| o.values_mut().next())
            {
                *list = items.take();
            }
        }
        Effect::WrongType(how) => return wrong(*how, rows(action, body).into_iter().take(1)),
        Effect::WrongTypes(how) => {
            let is_convertible = wrong(*how, rows(action, body).into_iter());
            let top = body.as_object_mut().into_iter();
            return wrong(*how, top) && is_convertible;
        }
        Effect::DuplicateItem => on_list(action, body, |items| {
            let first = items.first().cloned();
            items.extend(first);
        }),
        // What these do is done elsewhere, and leaves the answer true.
        Effect::RepeatedRows | Effect::Latency(_) | Effect::Date(_) | Effect::Drip(_) => {}
        Effect::OmitField(field) => {
            leave_out(field, body);
            return false;
        }
        Effect::EmptyList => {
            on_list(action, body, Vec::clear);
            if action == "GetAllInstanceIdList" {
                body["InstanceIds"] = json!({});
            }
            if let Some(total) = body.get_mut("Total") {
                *total = json!(0);
            }
            return false;
        }
        Effect::NullList => {
            if let Some(list) = wrapper(action, body) {
                *list = Value::Null;
            }
            return false;
        }
        Effect::SingleObject => {
            if let Some(list) = list_slot(action, body)
                && let Some(first) = list.as_array_mut().and_then(|items| items.first_mut())
            {
                *list = first.take();
            }
            return false;
        }
        Effect::ForeignItems => {
            on_list(action, body, |items| {
                for item in items.iter_mut().filter_map(Value::as_object_mut) {
                    for (field, other) in [
                        ("InstanceId", "alikafka_foreign"),
                        ("RegionId", "xx-elsewhere-1"),
                        ("Topic", "foreign-topic"),
                    ] {
                        if let Some(v) = item.get_mut(field) {
                            *v = json!(other);
                        }
                    }
                }
            });
            return false;
        }
        Effect::WrongTotal(total) => {
            body["Total"] = json!(total);
            return false;
        }
        Effect::EndlessPages => {
            body["Total"] = json!(1_000_000_000);
            return false;
        }
        Effect::ConsumerAhead(by) => {
            if let Some(row) = rows(action, body).into_iter().next() {
                let end = row.get("BrokerOffset").and_then(Value::as_i64).unwrap_or(0);
                row.insert("ConsumerOffset".to_owned(), json!(end.saturating_add(*by)));
            }
            return false;
        }
        _ => return false,
    }
    true
}

/// The value that holds the outermost list of an answer, wrapped or not.
fn wrapper<'v>(action: &str, body: &'v mut Value) -> Option<&'v mut Value> {
    match action {
        "GetAllInstanceIdList" => body.get_mut("InstanceIds"),
        "GetInstanceList" => body.get_mut("InstanceList"),
        "GetTopicList" => body.get_mut("TopicList"),
        "GetConsumerList" => body.get_mut("ConsumerList"),
        "GetTopicStatus" => body.get_mut("TopicStatus")?.get_mut("OffsetTable"),
        "GetConsumerProgress" => body.get_mut("ConsumerProgress")?.get_mut("TopicList"),
        _ => None,
    }
}

fn on_list(action: &str, body: &mut Value, edit: impl FnOnce(&mut Vec<Value>)) {
    if let Some(Value::Array(items)) = list_slot(action, body) {
        edit(items);
    }
}

/// Wrong types for the scalars of some rows. `true` if each can still be read as what it was.
fn wrong<'v>(how: WrongType, rows: impl Iterator<Item = &'v mut Map<String, Value>>) -> bool {
    for row in rows {
        for (field, value) in row {
            let Some(was) = number(field, value) else {
                if let (WrongType::BoolsAsStrings, Value::Bool(b)) = (how, &*value) {
                    *value = Value::String(b.to_string());
                }
                continue;
            };
            *value = match how {
                WrongType::NumbersAsStrings => json!(was.to_string()),
                WrongType::Floats => float(was),
                WrongType::BoolsAsStrings => continue,
                WrongType::Null => Value::Null,
                WrongType::Empty => json!(""),
                WrongType::TooBig => json!(u64::MAX),
                WrongType::Text => json!("many"),
            };
        }
    }
    matches!(how, WrongType::NumbersAsStrings | WrongType::Floats | WrongType::BoolsAsStrings)
}

/// The number that a field holds; also as a string, where the service tells it so.
fn number(field: &str, value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) => n.as_i64(),
        Value::String(text)
            if matches!(field, "Partition" | "MinOffset" | "MaxOffset" | "LastUpdateTimestamp") =>
        {
            text.parse().ok()
        }
        _ => None,
    }
}

/// A number with a fraction of zero; one that an f64 cannot hold stays as it is.
fn float(n: i64) -> Value {
    const EXACT: i64 = 1 << 53;
    #[expect(clippy::cast_precision_loss, reason = "only numbers that an f64 holds exactly")]
    if n.abs() <= EXACT { json!(n as f64) } else { json!(n) }
}

fn leave_out(field: &str, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove(field);
            map.values_mut().for_each(|v| leave_out(field, v));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| leave_out(field, v)),
        _ => {}
    }
}

fn add_unknown(value: &mut Value, depth: usize) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(|v| add_unknown(v, depth + 1));
            // The map from region to ids has no room for a field of another kind.
            if depth == 0 || map.values().any(|v| !v.is_array()) {
                map.insert("FieldOfTomorrow".to_owned(), json!({ "Nested": [1, null, "x"] }));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| add_unknown(v, depth + 1)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Value {
        let rows = json!([{"Partition": 0, "BrokerOffset": 9, "ConsumerOffset": 4}, {"Partition": 1, "BrokerOffset": 9, "ConsumerOffset": 9}]);
        json!({ "Success": true, "ConsumerProgress": { "TopicList": { "TopicList": [{ "Topic": "t", "OffsetList": { "OffsetList": rows } }] } } })
    }

    fn mutated(effect: &Effect) -> (Value, bool) {
        let mut body = answer();
        let whole = mutate(effect, "GetConsumerProgress", &mut body);
        let at = "/ConsumerProgress/TopicList/TopicList/0/OffsetList/OffsetList/0";
        (body.pointer(at).cloned().unwrap_or(body), whole)
    }

    #[test]
    fn wrong_types_touch_one_item_and_tell_whether_it_can_still_be_read() {
        let row = |b, c| json!({"Partition": 0, "BrokerOffset": b, "ConsumerOffset": c});
        assert_eq!(
            mutated(&Effect::WrongType(WrongType::Floats)),
            (json!({"Partition": 0.0, "BrokerOffset": 9.0, "ConsumerOffset": 4.0}), true)
        );
        assert_eq!(mutated(&Effect::WrongType(WrongType::TooBig)).0["BrokerOffset"], json!(u64::MAX));
        assert!(!mutated(&Effect::WrongType(WrongType::Null)).1);
        assert_eq!(mutated(&Effect::ConsumerAhead(5)), (row(9, 14), false));
        let mut body = answer();
        mutate(&Effect::WrongType(WrongType::Empty), "GetConsumerProgress", &mut body);
        let second =
            body.pointer("/ConsumerProgress/TopicList/TopicList/0/OffsetList/OffsetList/1/BrokerOffset");
        assert_eq!(second, Some(&json!(9)));
    }

    #[test]
    fn lists_are_emptied_nulled_flattened_doubled_or_bared() {
        let list = |effect: &Effect| {
            let mut body =
                json!({ "Total": 2, "TopicList": { "TopicVO": [{"Topic": "a"}, {"Topic": "b"}] } });
            mutate(effect, "GetTopicList", &mut body);
            body["TopicList"].clone()
        };
        assert_eq!(list(&Effect::EmptyList), json!({ "TopicVO": [] }));
        assert_eq!(list(&Effect::NullList), json!(null));
        assert_eq!(list(&Effect::FlatList), json!([{"Topic": "a"}, {"Topic": "b"}]));
        let mut ids = json!({ "InstanceIds": { "cn-hangzhou": ["a"] } });
        mutate(&Effect::FlatList, "GetAllInstanceIdList", &mut ids);
        assert_eq!(ids, json!({ "InstanceIds": [{ "cn-hangzhou": ["a"] }] }));
        assert_eq!(list(&Effect::SingleObject), json!({ "TopicVO": {"Topic": "a"} }));
        assert_eq!(list(&Effect::DuplicateItem)["TopicVO"].as_array().map(Vec::len), Some(3));
    }
}
