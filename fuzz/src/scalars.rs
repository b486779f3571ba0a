//! Numbers and dates. The bytes are a text, which is decoded as a JSON string of a response, as a JSON number if it is
//! one, and as the header `Date`.

use alikafka_exporter::{
    api::decode::{self, RawResponse},
    model::GroupId,
};

/// From here on, floats do not represent every integer.
const EXACT_FLOATS: f64 = 9_007_199_254_740_992.0;

pub fn scalars(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let quoted = serde_json::to_string(text).expect("every text is a JSON string");
    assert_eq!(offset(&quoted), Some(parse_string(text)), "{quoted}");
    if is_number(text) {
        // A number beyond the range of floats makes the response unreadable.
        if let Some(read) = offset(text) {
            assert_eq!(read, parse_number(text), "{text}");
        } else {
            assert!(text.parse::<f64>().is_ok_and(f64::is_infinite), "{text}");
        }
    }
    let date = decode::http_date_millis(text);
    if let Some(expected) = imf_fixdate(text) {
        assert_eq!(date, Some(expected), "{text}");
    }
}

/// Returns the decoded `BrokerOffset`; `None` if the response cannot be decoded.
fn offset(value: &str) -> Option<Option<i64>> {
    let body = format!(
        r#"{{"Code":200,"Success":true,"ConsumerProgress":{{"TopicList":{{"TopicList":[{{"Topic":"t",
        "OffsetList":{{"OffsetList":[{{"Partition":0,"BrokerOffset":{value},"ConsumerOffset":0}}]}}}}]}}}}}}"#
    );
    let group = GroupId::new("g").expect("a name");
    let progress = decode::group_progress(&RawResponse::ok(body.as_bytes()), &group).ok()?.payload.value;
    let partition = &progress.topics[0].partitions[0];
    assert_eq!(partition.committed.map(|o| o.get()), Some(0), "other fields are decoded");
    Some(partition.end.map(|o| o.get()))
}

fn position(number: i128) -> Option<i64> {
    i64::try_from(number).ok().filter(|n| *n >= 0)
}

/// Parses digits with an optional sign and an optional fraction of zeros.
fn parse_string(text: &str) -> Option<i64> {
    let text = text.trim();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (digits, fraction) = match unsigned.split_once('.') {
        Some((_, "")) => return None,
        Some((digits, fraction)) => (digits, fraction),
        None => (unsigned, ""),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || fraction.bytes().any(|b| b != b'0')
    {
        return None;
    }
    integer(text.starts_with('-'), digits)
}

fn integer(is_negative: bool, digits: &str) -> Option<i64> {
    let digits = digits.trim_start_matches('0');
    // Too long for an i128 means too large for an i64.
    let number: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    position(if is_negative { -number } else { number })
}

/// Whether a text is a JSON number.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let (integer, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let are_digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    are_digits(integer)
        && (integer == "0" || !integer.starts_with('0'))
        && fraction.is_none_or(are_digits)
        && exponent.is_none_or(|e| are_digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

/// Parses an integer exactly, and other numbers if their value is an integer that a float represents exactly.
fn parse_number(text: &str) -> Option<i64> {
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return integer(text.starts_with('-'), text.trim_start_matches('-'));
    }
    let float: f64 = text.parse().ok()?;
    let is_exact = float.fract() == 0.0 && float.abs() < EXACT_FLOATS;
    is_exact.then(|| position(float as i128)).flatten()
}

/// Parses `Sun, 06 Nov 1994 08:49:37 GMT`, the format that servers must send, as Unix milliseconds. The day of the week
/// must match, and the year must have four digits.
fn imf_fixdate(text: &str) -> Option<i64> {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let [weekday, day, month, year, time, "GMT"] = text.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let [hour, minute, second] = time.split(':').collect::<Vec<_>>()[..] else { return None };
    let number = |text: &str, width: usize| -> Option<i64> {
        (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (day, year) = (number(day, 2)?, number(year, 4)?);
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    let month = MONTHS.iter().position(|m| *m == month)?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + i64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let is_valid = (1900..9999).contains(&year)
        && (1..=lengths[month]).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let before = year - 1;
    let days = before * 365 + before / 4 - before / 100 + before / 400 - 719_162
        + lengths[..month].iter().sum::<i64>()
        + day
        - 1;
    let expected_weekday = DAYS[usize::try_from(days.rem_euclid(7)).ok()?];
    (is_valid && weekday.strip_suffix(',') == Some(expected_weekday))
        .then_some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}
