//! Fields that accept any JSON value, so that a malformed value costs only its field.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Field of a JSON object. Deserializing it fails on broken JSON only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Field<T> {
    /// The object does not have the key.
    #[default]
    Missing,
    /// `null` or a blank string: the API does not know the value.
    Null,
    /// A value.
    Value(T),
    /// A value of another type.
    WrongType,
    /// A number that does not fit.
    OutOfRange,
}

impl<T> Field<T> {
    /// Returns the value, if there is one.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Returns a reference to the value, if there is one.
    pub(crate) fn as_value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }
}

/// Value of a [`Field`]. JSON types without a method of their own are the wrong type.
pub(crate) trait FieldValue<'de>: Sized {
    fn from_bool(_: bool) -> Field<Self> {
        Field::WrongType
    }

    fn from_int(_: i64) -> Field<Self> {
        Field::WrongType
    }

    fn from_float(_: f64) -> Field<Self> {
        Field::WrongType
    }

    /// Reads a string that is not blank.
    fn from_text(_: Cow<'de, str>) -> Field<Self> {
        Field::WrongType
    }

    fn from_list<A: SeqAccess<'de>>(mut list: A) -> Result<Field<Self>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::WrongType)
    }

    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Field<Self>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::WrongType)
    }
}

impl<'de, T: FieldValue<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonFieldVisitor(PhantomData))
    }
}

struct JsonFieldVisitor<T>(PhantomData<T>);

impl<'de, T: FieldValue<'de>> Visitor<'de> for JsonFieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Field<T>, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Field<T>, E> {
        Ok(T::from_bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Field<T>, E> {
        Ok(T::from_int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Field<T>, E> {
        Ok(i64::try_from(value).map_or(Field::OutOfRange, T::from_int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Field<T>, E> {
        Ok(T::from_float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Field<T>, E> {
        Ok(if value.trim().is_empty() { Field::Null } else { T::from_text(Cow::Owned(value.to_owned())) })
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Field<T>, E> {
        Ok(if value.trim().is_empty() { Field::Null } else { T::from_text(Cow::Borrowed(value)) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Field<T>, A::Error> {
        T::from_list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Field<T>, A::Error> {
        T::from_object(object)
    }
}
