//! JSON objects and lists of objects. The API sends lists wrapped (`TopicList: {TopicVO: [...]}`), flat, `null`,
//! absent, or as one bare object.
//!
//! An item that is not an object is counted and skipped. Only broken JSON fails the body. The last of repeated keys
//! wins; serde's derive would reject them.

use std::borrow::Cow;

use serde::{
    Deserialize,
    de::{IgnoredAny, MapAccess, SeqAccess},
};

use super::lenient::{Field, FieldValue};

/// An object with known keys, read one key at a time.
pub(crate) trait JsonObject<'de>: Default {
    /// Reads the value of a known key and returns true. Leaves the value of any other key and returns false.
    fn read_field<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, object: &mut A)
    -> Result<bool, A::Error>;
}

/// Declares a [`JsonObject`]: its fields with their keys, spelled as in the API.
macro_rules! json_object {
    ($(#[$meta:meta])* $vis:vis struct $name:ident<$life:lifetime> {
        $($field:ident: $type:ty = $($key:literal)|+,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name<$life> { $($field: $type,)+ }
        $crate::api::wire::object::json_object!(@impl $life, $name<$life>, $($field = $($key)|+,)+);
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($field:ident: $type:ty = $($key:literal)|+,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name { $($field: $type,)+ }
        $crate::api::wire::object::json_object!(@impl 'de, $name, $($field = $($key)|+,)+);
    };
    (@impl $life:lifetime, $name:ty, $($field:ident = $($key:literal)|+,)+) => {
        impl<$life> $crate::api::wire::object::JsonObject<$life> for $name {
            fn read_field<A: serde::de::MapAccess<$life>>(
                &mut self,
                key: std::borrow::Cow<$life, str>,
                object: &mut A,
            ) -> Result<bool, A::Error> {
                match &*key {
                    $($($key)|+ => self.$field = object.next_value()?,)+
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    };
}
pub(crate) use json_object;

/// A key, borrowed from the body if it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct ObjectKey<'k>(#[serde(borrow)] Cow<'k, str>);

impl<'de, T: JsonObject<'de>> FieldValue<'de> for T {
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Field<T>, A::Error> {
        let mut value = T::default();
        while let Some(ObjectKey(key)) = object.next_key()? {
            if !value.read_field(key, &mut object)? {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Field::Value(value))
    }
}

/// An object that is an item of a list.
pub(crate) trait ListItem<'de>: JsonObject<'de> {
    /// Key of the list in the object that wraps it.
    const WRAPPER: &'static str;
}

/// List of objects. `null` is an empty list.
pub(crate) type ListField<T> = Field<JsonList<T>>;

/// List of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonList<T> {
    /// The objects, in the order of the response.
    pub(crate) items: Vec<T>,
    /// Number of items that are not objects.
    pub(crate) malformed: usize,
}

impl<T> Default for JsonList<T> {
    fn default() -> Self {
        Self { items: Vec::new(), malformed: 0 }
    }
}

impl<'de, T: ListItem<'de>> FieldValue<'de> for JsonList<T> {
    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Field<Self>, A::Error> {
        let mut value = Self::default();
        while let Some(item) = list.next_element::<Field<T>>()? {
            match item.value() {
                Some(item) => value.items.push(item),
                None => value.malformed += 1,
            }
        }
        Ok(Field::Value(value))
    }

    /// Reads a wrapped list or one bare item.
    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Field<Self>, A::Error> {
        let mut wrapped = None;
        let mut bare = T::default();
        let (mut keys, mut known_keys) = (0, 0);
        while let Some(ObjectKey(key)) = object.next_key()? {
            keys += 1;
            if key == T::WRAPPER {
                wrapped = Some(object.next_value()?);
            } else if bare.read_field(key, &mut object)? {
                known_keys += 1;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(match wrapped {
            Some(list) => list,
            None if known_keys > 0 => Field::Value(Self { items: vec![bare], malformed: 0 }),
            None if keys == 0 => Field::Value(Self::default()),
            None => Field::WrongType,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::scalar::TextField, *};

    json_object! {
        #[derive(PartialEq)]
        struct NamedItem<'de> {
            name: TextField<'de> = "Name",
        }
    }
    impl<'de> ListItem<'de> for NamedItem<'de> {
        const WRAPPER: &'static str = "ItemVO";
    }

    fn list(json: &str) -> Field<(Vec<Option<String>>, usize)> {
        match serde_json::from_str::<ListField<NamedItem<'_>>>(json).unwrap() {
            Field::Value(list) => {
                let names = list.items.into_iter().map(|item| item.name.value().map(Cow::into_owned));
                Field::Value((names.collect(), list.malformed))
            }
            Field::Missing => Field::Missing,
            Field::Null => Field::Null,
            Field::WrongType => Field::WrongType,
            Field::OutOfRange => Field::OutOfRange,
        }
    }

    fn some(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn the_four_shapes_of_a_list_read_the_same() {
        for json in [
            r#"{"ItemVO":[{"Name":"7"}]}"#,
            r#"[{"Name":"7"}]"#,
            r#"{"ItemVO":{"Name":7}}"#,
            r#"{"Name":7,"Other":[1]}"#,
        ] {
            assert_eq!(list(json), Field::Value((vec![some("7")], 0)), "{json}");
        }
        for json in ["null", r#""""#, r#"{"ItemVO":null}"#] {
            assert_eq!(list(json), Field::Null, "{json}");
        }
        for json in ["[]", "{}", r#"{"ItemVO":[]}"#] {
            assert_eq!(list(json), Field::Value((vec![], 0)), "{json}");
        }
        for json in ["5", "true", r#""x""#, r#"{"Other":[]}"#, r#"{"ItemVO":1.5}"#] {
            assert_eq!(list(json), Field::WrongType, "{json}");
        }
    }

    #[test]
    fn a_malformed_item_costs_only_itself() {
        let json = r#"[{"Name":0},5,null,"x",[1],true,-1,1.5,{"Name":{"a":[]}},{"Name":"b"}]"#;
        assert_eq!(list(json), Field::Value((vec![some("0"), None, some("b")], 7)));
    }

    #[test]
    fn of_repeated_keys_the_last_one_counts() {
        assert_eq!(list(r#"[{"Name":"a","Name":"b"}]"#), Field::Value((vec![some("b")], 0)));
        let json = r#"{"Name":"a","N\u0061me":"b"}"#;
        let object = serde_json::from_str::<Field<NamedItem<'_>>>(json).unwrap();
        assert_eq!(object, Field::Value(NamedItem { name: Field::Value("b".into()) }));
    }
}
