//! Records and lists as the cloud may send them: wrapped, flat, null, absent, or one bare record.
//!
//! Owns: the isolation of items: an item that is no record is counted and left out, a field that is odd is
//! odd by itself (see [`super::scalar`]), and only broken JSON fails the body. Keys that repeat overwrite.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// The fields of a JSON object, filled one by one.
pub(crate) trait ObjectFields<'de>: Default {
    /// Takes the value of a key that it knows and tells true; leaves all others and tells false.
    fn take<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// A record that comes in lists, wrapped in an object under this key: `TopicList: {TopicVO: [...]}`.
pub(crate) trait ListItem<'de>: ObjectFields<'de> {
    const WRAPPER: &'static str;
}

/// Implements [`ObjectFields`]: each key as the cloud spells it, and the field that takes it.
macro_rules! fields {
    ($name:ident { $($keys:tt)+ }) => {
        impl<'de> $crate::api::wire::list::ObjectFields<'de> for $name {
            $crate::api::wire::list::fields!(@take $($keys)+);
        }
    };
    ($name:ident<'de> { $($keys:tt)+ }) => {
        impl<'de> $crate::api::wire::list::ObjectFields<'de> for $name<'de> {
            $crate::api::wire::list::fields!(@take $($keys)+);
        }
    };
    (@take $($($key:literal)|+ => $field:ident),+ $(,)?) => {
        fn take<A: serde::de::MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
            match key {
                $($($key)|+ => self.$field = map.next_value()?,)+
                _ => return Ok(false),
            }
            Ok(true)
        }
    };
}
pub(crate) use fields;

/// A key, borrowed where it holds no escapes.
pub(crate) struct Key<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyText;
        impl<'de> Visitor<'de> for KeyText {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
        }
        deserializer.deserialize_str(KeyText)
    }
}

/// Fills a record with all entries of an object.
pub(crate) fn fill<'de, T: ObjectFields<'de>, A: MapAccess<'de>>(mut map: A) -> Result<T, A::Error> {
    let mut record = T::default();
    while let Some(Key(key)) = map.next_key()? {
        if !record.take(&key, &mut map)? {
            map.next_value::<IgnoredAny>()?;
        }
    }
    Ok(record)
}

/// An object that must be one: the top of a body.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: ObjectFields<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyObject<T>(PhantomData<T>);
        impl<'de, T: ObjectFields<'de>> Visitor<'de> for AnyObject<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                fill(map).map(Object)
            }
        }
        deserializer.deserialize_map(AnyObject(PhantomData))
    }
}

/// Where there should be an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum ObjectField<T> {
    /// The key was not there.
    #[default]
    Missing,
    /// `null` or blank.
    Null,
    /// An object.
    Value(T),
    /// Something else.
    WrongType,
}

struct AnyRecord<T>(PhantomData<T>);

/// The arms of a visitor for everything that is neither what it looks for nor "not told".
macro_rules! wrong_type {
    ($null:expr, $wrong:expr) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($null)
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($wrong)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($wrong)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($wrong)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($wrong)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(if text.trim().is_empty() { $null } else { $wrong })
        }
    };
}
pub(crate) use wrong_type;

impl<'de, T: ObjectFields<'de>> Visitor<'de> for AnyRecord<T> {
    type Value = ObjectField<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    wrong_type!(ObjectField::Null, ObjectField::WrongType);

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        fill(map).map(ObjectField::Value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(ObjectField::WrongType)
    }
}

impl<'de, T: ObjectFields<'de>> Deserialize<'de> for ObjectField<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyRecord(PhantomData))
    }
}

/// Whether and how a list was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Presence {
    /// The key was not there.
    #[default]
    Missing,
    /// `null` or blank: an empty list.
    Null,
    /// A list, be it empty.
    List,
    /// Something that is no list.
    WrongType,
}

/// A list of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListField<T> {
    pub(crate) told: Presence,
    /// The records, in the order of the answer.
    pub(crate) items: Vec<T>,
    /// How many entries were no records.
    pub(crate) malformed: usize,
}

impl<T> Default for ListField<T> {
    fn default() -> Self {
        Self { told: Presence::Missing, items: Vec::new(), malformed: 0 }
    }
}

impl<T> ListField<T> {
    fn told(told: Presence) -> Self {
        Self { told, ..Self::default() }
    }
}

struct AnyList<T>(PhantomData<T>);

impl<'de, T: ListItem<'de>> Visitor<'de> for AnyList<T> {
    type Value = ListField<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    wrong_type!(ListField::told(Presence::Null), ListField::told(Presence::WrongType));

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = ListField::told(Presence::List);
        while let Some(entry) = seq.next_element()? {
            match entry {
                ObjectField::Value(item) => list.items.push(item),
                ObjectField::Missing | ObjectField::Null | ObjectField::WrongType => list.malformed += 1,
            }
        }
        Ok(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut wrapped: Option<ListField<T>> = None;
        let mut bare = T::default();
        let (mut entries, mut known) = (0, 0);
        while let Some(Key(key)) = map.next_key()? {
            entries += 1;
            if key == T::WRAPPER {
                wrapped = Some(map.next_value()?);
            } else if bare.take(&key, &mut map)? {
                known += 1;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(match wrapped {
            Some(list) => list,
            None if known > 0 => ListField { told: Presence::List, items: vec![bare], malformed: 0 },
            None if entries == 0 => ListField::told(Presence::List),
            None => ListField::told(Presence::WrongType),
        })
    }
}

impl<'de, T: ListItem<'de>> Deserialize<'de> for ListField<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyList(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::scalar::{IntField, ScalarField},
        *,
    };

    #[derive(Debug, Default, PartialEq)]
    struct Partition {
        number: IntField,
    }
    fields!(Partition { "Partition" => number });
    impl ListItem<'_> for Partition {
        const WRAPPER: &'static str = "OffsetTable";
    }

    fn list(json: &str) -> (Presence, Vec<Option<i64>>, usize) {
        let list: ListField<Partition> = serde_json::from_str(json).unwrap();
        (list.told, list.items.into_iter().map(|p| p.number.value()).collect(), list.malformed)
    }

    #[test]
    fn the_four_shapes_of_a_list_read_the_same() {
        for json in [
            r#"{"OffsetTable":[{"Partition":7}]}"#,
            r#"[{"Partition":7}]"#,
            r#"{"OffsetTable":{"Partition":"7"}}"#,
            r#"{"Partition":7,"Other":[1]}"#,
        ] {
            assert_eq!(list(json), (Presence::List, vec![Some(7)], 0), "{json}");
        }
        for json in ["null", r#""""#, r#"{"OffsetTable":null}"#] {
            assert_eq!(list(json), (Presence::Null, vec![], 0), "{json}");
        }
        for json in ["[]", "{}", r#"{"OffsetTable":[]}"#] {
            assert_eq!(list(json), (Presence::List, vec![], 0), "{json}");
        }
        for json in ["5", "true", r#""x""#, r#"{"Other":[]}"#, r#"{"OffsetTable":1.5}"#] {
            assert_eq!(list(json), (Presence::WrongType, vec![], 0), "{json}");
        }
    }

    #[test]
    fn an_entry_that_is_no_record_costs_itself() {
        let json = r#"[{"Partition":0},5,null,"x",[1],true,-1,1.5,{"Partition":{"a":[]}},{"Partition":1}]"#;
        assert_eq!(list(json), (Presence::List, vec![Some(0), None, Some(1)], 7));
    }

    #[test]
    fn a_repeated_key_overwrites() {
        assert_eq!(list(r#"[{"Partition":0,"Partition":1}]"#), (Presence::List, vec![Some(1)], 0));
        let json = r#"{"Partition":0,"Partition":1}"#;
        assert_eq!(
            serde_json::from_str::<ObjectField<Partition>>(json).unwrap(),
            ObjectField::Value(Partition { number: ScalarField::Value(1) })
        );
    }
}
