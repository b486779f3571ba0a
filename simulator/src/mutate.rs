//! Mutations of successful response bodies by faults.

use serde_json::{Map, Value, json};

use crate::{
    faults::{Effect, WrongType},
    wire::{list_slot, list_wrapper, numeric_rows},
};

/// Mutates a successful response. Returns whether it still states the complete truth, in whatever format.
pub(crate) fn mutate(effect: &Effect, action: &str, body: &mut Value) -> bool {
    match effect {
        Effect::UnknownFields => add_unknown_fields(body, 0),
        // The map of regions has no wrapper to remove; the API reference shows it as a list of maps.
        Effect::FlatList if action == "GetAllInstanceIdList" => {
            let ids = body["InstanceIds"].take();
            body["InstanceIds"] = json!([ids]);
        }
        Effect::FlatList => {
            if let Some(list) = list_wrapper(action, body)
                && let Some(items) = list.as_object_mut().and_then(|o| o.values_mut().next())
            {
                *list = items.take();
            }
        }
        Effect::WrongType(how) => {
            return set_wrong_types(*how, numeric_rows(action, body).into_iter().take(1));
        }
        Effect::WrongTypes(how) => {
            let rows_are_readable = set_wrong_types(*how, numeric_rows(action, body).into_iter());
            return set_wrong_types(*how, body.as_object_mut().into_iter()) && rows_are_readable;
        }
        Effect::DuplicateItem => edit_list(action, body, |items| {
            let first = items.first().cloned();
            items.extend(first);
        }),
        Effect::OmitField(field) => omit_field(field, body),
        Effect::EmptyList => {
            edit_list(action, body, Vec::clear);
            if action == "GetAllInstanceIdList" {
                body["InstanceIds"] = json!({});
            }
            if let Some(total) = body.get_mut("Total") {
                *total = json!(0);
            }
        }
        Effect::NullList => {
            if let Some(list) = list_wrapper(action, body) {
                *list = Value::Null;
            }
        }
        Effect::SingleObject => {
            if let Some(list) = list_slot(action, body)
                && let Some(first) = list.as_array_mut().and_then(|items| items.first_mut())
            {
                *list = first.take();
            }
        }
        Effect::ForeignItems => edit_list(action, body, |items| {
            for item in items.iter_mut().filter_map(Value::as_object_mut) {
                for (field, foreign) in [
                    ("InstanceId", "alikafka_foreign"),
                    ("RegionId", "xx-elsewhere-1"),
                    ("Topic", "foreign-topic"),
                ] {
                    if let Some(v) = item.get_mut(field) {
                        *v = json!(foreign);
                    }
                }
            }
        }),
        Effect::WrongTotal(total) => body["Total"] = json!(total),
        Effect::EndlessPages => body["Total"] = json!(1_000_000_000),
        Effect::ConsumerAhead(by) => {
            if let Some(row) = numeric_rows(action, body).into_iter().next() {
                let end = row.get("BrokerOffset").and_then(Value::as_i64).unwrap_or(0);
                row.insert("ConsumerOffset".to_owned(), json!(end.saturating_add(*by)));
            }
        }
        // Applied elsewhere.
        _ => {}
    }
    matches!(
        effect,
        Effect::UnknownFields
            | Effect::FlatList
            | Effect::DuplicateItem
            | Effect::RepeatedRows
            | Effect::Latency(_)
            | Effect::Date(_)
    )
}

fn edit_list(action: &str, body: &mut Value, edit: impl FnOnce(&mut Vec<Value>)) {
    if let Some(Value::Array(items)) = list_slot(action, body) {
        edit(items);
    }
}

/// Gives the numbers and booleans of some rows a wrong type. Returns whether every value can still be read.
fn set_wrong_types<'v>(how: WrongType, rows: impl Iterator<Item = &'v mut Map<String, Value>>) -> bool {
    for (field, value) in rows.flatten() {
        *value = match (how, number(field, value), &*value) {
            (WrongType::BoolsAsStrings, _, Value::Bool(b)) => json!(b.to_string()),
            (WrongType::BoolsAsStrings, ..) | (_, None, _) => continue,
            (WrongType::NumbersAsStrings, Some(n), _) => json!(n.to_string()),
            (WrongType::Floats, Some(n), _) => float(n),
            (WrongType::Null, ..) => Value::Null,
            (WrongType::Empty, ..) => json!(""),
            (WrongType::TooBig, ..) => json!(u64::MAX),
            (WrongType::Text, ..) => json!("many"),
        };
    }
    matches!(how, WrongType::NumbersAsStrings | WrongType::Floats | WrongType::BoolsAsStrings)
}

/// Returns the numeric value of a field, which the service may send as a string.
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

/// Returns a number as a float. A number that an f64 cannot represent stays an integer.
fn float(n: i64) -> Value {
    const EXACT: i64 = 1 << 53;
    #[expect(clippy::cast_precision_loss, reason = "only numbers that an f64 represents exactly")]
    if n.abs() <= EXACT { json!(n as f64) } else { json!(n) }
}

fn omit_field(field: &str, value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove(field);
            map.values_mut().for_each(|v| omit_field(field, v));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| omit_field(field, v)),
        _ => {}
    }
}

fn add_unknown_fields(value: &mut Value, depth: usize) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(|v| add_unknown_fields(v, depth + 1));
            // The map from region to ids cannot contain other fields.
            if depth == 0 || map.values().any(|v| !v.is_array()) {
                map.insert("FieldOfTomorrow".to_owned(), json!({ "Nested": [1, null, "x"] }));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| add_unknown_fields(v, depth + 1)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Value {
        let rows = json!([{"Partition": 0, "BrokerOffset": 9, "ConsumerOffset": 4}, {"Partition": 1, "BrokerOffset": 9, "ConsumerOffset": 9}]);
        json!({ "Success": true, "ConsumerProgress": { "TopicList": { "TopicList": [{ "Topic": "t", "OffsetList": { "OffsetList": rows } }] } } })
    }

    fn mutated(effect: &Effect) -> (Value, bool) {
        let mut body = progress();
        let is_true = mutate(effect, "GetConsumerProgress", &mut body);
        let at = "/ConsumerProgress/TopicList/TopicList/0/OffsetList/OffsetList/0";
        (body.pointer(at).cloned().unwrap_or(body), is_true)
    }

    #[test]
    fn wrong_type_changes_one_item_and_reports_whether_it_is_readable() {
        let row = |b, c| json!({"Partition": 0, "BrokerOffset": b, "ConsumerOffset": c});
        assert_eq!(
            mutated(&Effect::WrongType(WrongType::Floats)),
            (json!({"Partition": 0.0, "BrokerOffset": 9.0, "ConsumerOffset": 4.0}), true)
        );
        assert_eq!(mutated(&Effect::WrongType(WrongType::TooBig)).0["BrokerOffset"], json!(u64::MAX));
        assert!(!mutated(&Effect::WrongType(WrongType::Null)).1);
        assert_eq!(mutated(&Effect::ConsumerAhead(5)), (row(9, 14), false));
        let mut body = progress();
        mutate(&Effect::WrongType(WrongType::Empty), "GetConsumerProgress", &mut body);
        let second =
            body.pointer("/ConsumerProgress/TopicList/TopicList/0/OffsetList/OffsetList/1/BrokerOffset");
        assert_eq!(second, Some(&json!(9)));
    }

    #[test]
    fn list_effects_change_the_list() {
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
