//! Text form of sample values.

use std::{io::Write as _, time::Duration};

use crate::{
    lag::status::Status,
    model::{Offset, UnixMillis},
};

/// Value of a sample.
pub(super) trait SampleValue {
    /// Appends the value in the text format 0.0.4.
    fn write(self, out: &mut Vec<u8>);
}

impl SampleValue for u64 {
    fn write(self, out: &mut Vec<u8>) {
        push_integer(out, self);
    }
}

impl SampleValue for bool {
    fn write(self, out: &mut Vec<u8>) {
        out.push(if self { b'1' } else { b'0' });
    }
}

impl SampleValue for Offset {
    fn write(self, out: &mut Vec<u8>) {
        push_integer(out, self.get());
    }
}

impl SampleValue for Status {
    fn write(self, out: &mut Vec<u8>) {
        push_integer(out, self.number());
    }
}

/// Written in seconds since 1970-01-01 UTC.
impl SampleValue for UnixMillis {
    fn write(self, out: &mut Vec<u8>) {
        Duration::from_millis(self.get().unsigned_abs()).write(out);
    }
}

/// Written in seconds, with up to three decimals and no trailing zeros.
impl SampleValue for Duration {
    fn write(self, out: &mut Vec<u8>) {
        push_integer(out, self.as_secs());
        let millis = self.subsec_millis();
        if millis == 0 {
            return;
        }
        out.push(b'.');
        for (unit, digit) in [(1000, 100), (100, 10), (10, 1)] {
            let rest = millis % unit;
            if rest == 0 {
                break;
            }
            push_integer(out, rest / digit);
        }
    }
}

/// Written with the fewest digits that parse to the same number. The caller filters infinity and NaN.
impl SampleValue for f64 {
    fn write(self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        _ = match self.abs() {
            0.0 => write!(out, "0"),
            1e-6..1e17 => write!(out, "{self}"),
            _ => write!(out, "{self:e}"),
        };
    }
}

/// Appends an integer.
pub(super) fn push_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl SampleValue) -> String {
        let mut out = Vec::new();
        value.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn milliseconds_are_written_as_seconds_without_trailing_zeros() {
        for (millis, text) in [
            (1_700_000_000_123, "1700000000.123"),
            (1_700_000_000_120, "1700000000.12"),
            (1_700_000_000_100, "1700000000.1"),
            (1_700_000_000_000, "1700000000"),
            (1_700_000_000_001, "1700000000.001"),
            (1_700_000_000_010, "1700000000.01"),
            (1, "0.001"),
            (i64::MAX, "9223372036854775.807"),
        ] {
            assert_eq!(written(UnixMillis::new(millis).unwrap()), text);
        }
    }

    #[test]
    fn floats_are_short_and_parse_to_the_same_number() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e-6, "0.000001"),
            (9.5e-7, "9.5e-7"),
            (123_456_789.25, "123456789.25"),
            (1e17, "1e17"),
            (f64::MAX, "1.7976931348623157e308"),
            (5e-324, "5e-324"),
        ] {
            let out = written(value);
            assert_eq!(out, text);
            assert_eq!(out.parse::<f64>(), Ok(value));
        }
    }
}
