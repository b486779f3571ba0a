//! Scalars that never fail the body: the cloud sends numbers as strings, booleans as words, and blanks.
//!
//! Owns: what a JSON scalar can be read as. A number, a numeric string, a float without a fraction, and
//! `true`, `"true"`, 1 are taken; `null` and `""` are "not told". Refuses: losing digits: a float is only
//! taken where every integer has its own float, and integers never become floats.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// From here on, neighbouring integers share one float.
const EXACT_FLOATS: f64 = 9_007_199_254_740_992.0;

/// What a field held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ScalarField<T> {
    /// The key was not there.
    #[default]
    Missing,
    /// `null` or blank: the cloud says that it does not know.
    Null,
    /// A value.
    Value(T),
    /// Something that is not of this type.
    WrongType,
    /// A number that does not fit.
    OutOfRange,
}

/// A whole number.
pub(crate) type IntField = ScalarField<i64>;
/// Yes or no.
pub(crate) type BoolField = ScalarField<bool>;
/// Text, borrowed from the body where it holds no escapes.
pub(crate) type TextField<'de> = ScalarField<Cow<'de, str>>;

impl<T> ScalarField<T> {
    /// The value, if there is one.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }

    /// The value by reference, if there is one.
    pub(crate) fn as_value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }
}

/// A type that JSON scalars can be read as. Each method says what it makes of one kind of scalar.
pub(crate) trait FromScalar<'de>: Sized {
    fn int(value: i64) -> ScalarField<Self>;
    fn float(value: f64) -> ScalarField<Self>;
    fn bool(value: bool) -> ScalarField<Self>;
    /// Of a string that is not blank.
    fn text(value: Cow<'de, str>) -> ScalarField<Self>;
}

impl FromScalar<'_> for i64 {
    fn int(value: i64) -> ScalarField<Self> {
        ScalarField::Value(value)
    }

    fn float(value: f64) -> ScalarField<Self> {
        if value.abs() >= EXACT_FLOATS {
            ScalarField::OutOfRange
        } else if value.fract() == 0.0 {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53 fits")]
            ScalarField::Value(value as Self)
        } else {
            ScalarField::WrongType
        }
    }

    fn bool(_: bool) -> ScalarField<Self> {
        ScalarField::WrongType
    }

    fn text(value: Cow<'_, str>) -> ScalarField<Self> {
        let text = value.trim();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
        let is_digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(digits) || fraction.is_empty() || fraction.bytes().any(|b| b != b'0') {
            return ScalarField::WrongType;
        }
        // Only digits are left, so the one way to fail is to be too large.
        whole.parse().map_or(ScalarField::OutOfRange, ScalarField::Value)
    }
}

impl FromScalar<'_> for bool {
    fn int(value: i64) -> ScalarField<Self> {
        match value {
            0 => ScalarField::Value(false),
            1 => ScalarField::Value(true),
            _ => ScalarField::WrongType,
        }
    }

    fn float(_: f64) -> ScalarField<Self> {
        ScalarField::WrongType
    }

    fn bool(value: bool) -> ScalarField<Self> {
        ScalarField::Value(value)
    }

    fn text(value: Cow<'_, str>) -> ScalarField<Self> {
        let text = value.trim();
        if text.eq_ignore_ascii_case("true") || text == "1" {
            ScalarField::Value(true)
        } else if text.eq_ignore_ascii_case("false") || text == "0" {
            ScalarField::Value(false)
        } else {
            ScalarField::WrongType
        }
    }
}

impl<'de> FromScalar<'de> for Cow<'de, str> {
    fn int(value: i64) -> ScalarField<Self> {
        ScalarField::Value(Cow::Owned(value.to_string()))
    }

    fn float(value: f64) -> ScalarField<Self> {
        ScalarField::Value(Cow::Owned(value.to_string()))
    }

    fn bool(value: bool) -> ScalarField<Self> {
        ScalarField::Value(Cow::Owned(value.to_string()))
    }

    fn text(value: Cow<'de, str>) -> ScalarField<Self> {
        ScalarField::Value(value)
    }
}

struct AnyScalar<T>(PhantomData<T>);

impl<'de, T: FromScalar<'de>> Visitor<'de> for AnyScalar<T> {
    type Value = ScalarField<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(T::int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(ScalarField::OutOfRange, T::int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(T::float(value))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(T::bool(value))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(ScalarField::Null)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        if value.trim().is_empty() {
            Ok(ScalarField::Null)
        } else {
            Ok(T::text(Cow::Owned(value.to_owned())))
        }
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
        if value.trim().is_empty() { Ok(ScalarField::Null) } else { Ok(T::text(Cow::Borrowed(value))) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(ScalarField::WrongType)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(ScalarField::WrongType)
    }
}

impl<'de, T: FromScalar<'de>> Deserialize<'de> for ScalarField<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyScalar(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_in_every_form_and_never_lose_a_digit() {
        let int = |json| serde_json::from_str::<IntField>(json).unwrap();
        for (json, value) in [
            ("76", 76),
            (r#""76""#, 76),
            ("76.0", 76),
            (r#""76.00""#, 76),
            ("-1", -1),
            ("-0", 0),
            (r#"" 5 ""#, 5),
            ("9007199254740993", 9_007_199_254_740_993),
            ("9007199254497039.0", 9_007_199_254_497_039),
            (r#""9007199254740993.0""#, 9_007_199_254_740_993),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            (r#""9223372036854775807""#, i64::MAX),
        ] {
            assert_eq!(int(json), ScalarField::Value(value), "{json}");
        }
        for json in ["null", r#""""#, r#"" ""#] {
            assert_eq!(int(json), ScalarField::Null, "{json}");
        }
        for json in
            ["1.5", r#""1.5""#, r#""x""#, r#""1e3""#, r#""5.""#, r#""-""#, "true", "[1,[2]]", r#"{"a":{}}"#]
        {
            assert_eq!(int(json), ScalarField::WrongType, "{json}");
        }
        for json in ["9223372036854775808", "1e300", r#""99999999999999999999""#, "9007199254740993.0"] {
            assert_eq!(int(json), ScalarField::OutOfRange, "{json}");
        }
    }

    #[test]
    fn booleans_are_read_in_every_form() {
        let bool = |json| serde_json::from_str::<BoolField>(json).unwrap();
        for (json, value) in [
            ("true", true),
            (r#""True""#, true),
            ("1", true),
            (r#""1""#, true),
            ("false", false),
            (r#""false""#, false),
            ("0", false),
        ] {
            assert_eq!(bool(json), ScalarField::Value(value), "{json}");
        }
        assert_eq!(bool("null"), ScalarField::Null);
        assert_eq!(bool("2"), ScalarField::WrongType);
        assert_eq!(bool(r#""yes""#), ScalarField::WrongType);
    }

    #[test]
    fn text_is_borrowed_and_numbers_become_their_digits() {
        let text = |json| serde_json::from_str::<TextField<'_>>(json).unwrap();
        assert!(matches!(text(r#""a b""#), ScalarField::Value(Cow::Borrowed("a b"))));
        assert_eq!(text(r#""a\nb""#).value().as_deref(), Some("a\nb"));
        assert_eq!(text("5").value().as_deref(), Some("5"));
        assert_eq!(text("[]"), ScalarField::WrongType);
    }
}
