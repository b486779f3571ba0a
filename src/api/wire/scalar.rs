//! Numbers, booleans and strings. The API sends numbers as strings, booleans as words, and blank strings for
//! unknown values.
//!
//! Never loses a digit: a float is accepted only below 2^53, where every integer is representable.

use std::borrow::Cow;

use super::lenient::{Field, FieldValue};

/// From here on, neighbouring integers share one float.
const EXACT_FLOATS: f64 = 9_007_199_254_740_992.0;

/// An integer: a number or a numeric string, without a fraction.
pub(crate) type IntField = Field<i64>;
/// A boolean: `true`, `"true"`, 1 and their opposites.
pub(crate) type BoolField = Field<bool>;
/// A string, borrowed from the body if it has no escapes. Numbers and booleans become their text.
pub(crate) type TextField<'de> = Field<Cow<'de, str>>;

impl FieldValue<'_> for i64 {
    fn from_int(value: i64) -> IntField {
        Field::Value(value)
    }

    fn from_float(value: f64) -> IntField {
        if value.abs() >= EXACT_FLOATS {
            Field::OutOfRange
        } else if value.fract() == 0.0 {
            #[expect(clippy::cast_possible_truncation, reason = "an integral float below 2^53 fits")]
            Field::Value(value as Self)
        } else {
            Field::WrongType
        }
    }

    fn from_text(value: Cow<'_, str>) -> IntField {
        let text = value.trim();
        let (integer, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = integer.strip_prefix(['-', '+']).unwrap_or(integer);
        let is_integral = !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !fraction.is_empty()
            && fraction.bytes().all(|b| b == b'0');
        if !is_integral {
            return Field::WrongType;
        }
        // Only digits are left, so parsing fails only for a number that is too large.
        integer.parse().map_or(Field::OutOfRange, Field::Value)
    }
}

impl FieldValue<'_> for bool {
    fn from_bool(value: bool) -> BoolField {
        Field::Value(value)
    }

    fn from_int(value: i64) -> BoolField {
        Self::from_text(value.to_string().into())
    }

    fn from_text(value: Cow<'_, str>) -> BoolField {
        match value.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Field::Value(true),
            "false" | "0" => Field::Value(false),
            _ => Field::WrongType,
        }
    }
}

impl<'de> FieldValue<'de> for Cow<'de, str> {
    fn from_bool(value: bool) -> Field<Self> {
        Field::Value(value.to_string().into())
    }

    fn from_int(value: i64) -> Field<Self> {
        Field::Value(value.to_string().into())
    }

    fn from_float(value: f64) -> Field<Self> {
        Field::Value(value.to_string().into())
    }

    fn from_text(value: Self) -> Field<Self> {
        Field::Value(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'de, T: FieldValue<'de>>(json: &'de str) -> Field<T> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn integers_are_read_in_every_form_without_losing_a_digit() {
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
            assert_eq!(read::<i64>(json), Field::Value(value), "{json}");
        }
        for json in ["null", r#""""#, r#"" ""#] {
            assert_eq!(read::<i64>(json), Field::Null, "{json}");
        }
        for json in
            ["1.5", r#""1.5""#, r#""x""#, r#""1e3""#, r#""5.""#, r#""-""#, "true", "[1,[2]]", r#"{"a":{}}"#]
        {
            assert_eq!(read::<i64>(json), Field::WrongType, "{json}");
        }
        for json in ["9223372036854775808", "1e300", r#""99999999999999999999""#, "9007199254740993.0"] {
            assert_eq!(read::<i64>(json), Field::OutOfRange, "{json}");
        }
    }

    #[test]
    fn booleans_are_read_in_every_form() {
        for (json, value) in [
            ("true", true),
            (r#""True""#, true),
            ("1", true),
            (r#""1""#, true),
            ("false", false),
            (r#""false""#, false),
            ("0", false),
        ] {
            assert_eq!(read::<bool>(json), Field::Value(value), "{json}");
        }
        assert_eq!(read::<bool>("null"), Field::Null);
        assert_eq!(read::<bool>("2"), Field::WrongType);
        assert_eq!(read::<bool>(r#""yes""#), Field::WrongType);
    }

    #[test]
    fn strings_are_borrowed_and_numbers_become_text() {
        assert!(matches!(read::<Cow<'_, str>>(r#""a b""#), Field::Value(Cow::Borrowed("a b"))));
        assert_eq!(read::<Cow<'_, str>>(r#""a\nb""#).value().as_deref(), Some("a\nb"));
        assert_eq!(read::<Cow<'_, str>>("5").value().as_deref(), Some("5"));
        assert_eq!(read::<Cow<'_, str>>("[]"), Field::WrongType);
    }
}
