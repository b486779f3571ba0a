//! Numbers and dates: the bytes are one text, which stands in an answer as a JSON string and, where it is
//! one, as a JSON number, and is read as the header `Date`.

use alikafka_exporter::{
    api::decode::{self, RawResponse},
    model::GroupId,
};

/// From here on, neighbouring integers share one float.
const EXACT_FLOATS: f64 = 9_007_199_254_740_992.0;

pub fn scalars(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let quoted = serde_json::to_string(text).expect("every text is a JSON string");
    assert_eq!(offset(&quoted), Some(of_string(text)), "{quoted}");
    if is_number(text) {
        // A number that no float can come near costs the answer: it is no JSON that can be read.
        if let Some(read) = offset(text) {
            assert_eq!(read, of_number(text), "{text}");
        } else {
            assert!(text.parse::<f64>().is_ok_and(f64::is_infinite), "{text}");
        }
    }
    let date = decode::http_date_millis(text);
    if let Some(expected) = imf_fixdate(text) {
        assert_eq!(date, Some(expected), "{text}");
    }
}

/// What `BrokerOffset` is read as; `None` if the answer cannot be read.
fn offset(value: &str) -> Option<Option<i64>> {
    let body = format!(
        r#"{{"Code":200,"Success":true,"ConsumerProgress":{{"TopicList":{{"TopicList":[{{"Topic":"t",
        "OffsetList":{{"OffsetList":[{{"Partition":0,"BrokerOffset":{value},"ConsumerOffset":0}}]}}}}]}}}}}}"#
    );
    let group = GroupId::new("g").expect("a name");
    let progress = decode::group_progress(&RawResponse::ok(body.as_bytes()), &group).ok()?.payload.value;
    let partition = &progress.topics[0].partitions[0];
    assert_eq!(partition.committed.map(|o| o.get()), Some(0), "the fields beside it are read");
    Some(partition.end.map(|o| o.get()))
}

fn position(number: i128) -> Option<i64> {
    i64::try_from(number).ok().filter(|n| *n >= 0)
}

/// A string of digits, perhaps with a sign before and a fraction of zeros behind.
fn of_string(text: &str) -> Option<i64> {
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
    // What is too long for an i128 is too large for an i64.
    let number: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    position(if is_negative { -number } else { number })
}

/// Whether a text is a number of JSON.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let are_digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    are_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(are_digits)
        && exponent.is_none_or(|e| are_digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

/// An integer to the digit; of other numbers those that are whole, and exact as a float.
fn of_number(text: &str) -> Option<i64> {
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return integer(text.starts_with('-'), text.trim_start_matches('-'));
    }
    let float: f64 = text.parse().ok()?;
    let is_exact = float.fract() == 0.0 && float.abs() < EXACT_FLOATS;
    is_exact.then(|| position(float as i128)).flatten()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, which every server is to send, in milliseconds since 1970. Only dates
/// that are: the day of the week is right, and the year has four digits.
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
    let of_week = DAYS[usize::try_from(days.rem_euclid(7)).ok()?];
    (is_valid && weekday.strip_suffix(',') == Some(of_week))
        .then_some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}
