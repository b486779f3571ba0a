//! The text format 0.0.4: lines, escapes and numbers.
//!
//! Owns: one buffer a family, and the labels of the object that is being written, escaped once for all of
//! its series. Refuses: knowing what a series means.

use std::{io::Write as _, mem};

use super::{
    catalog::{self, FAMILIES, MetricId},
    series::{FamilySet, SampleValue, SeriesSink},
};
use crate::model::{AccountName, GroupId, InstanceId, Naming, RegionId, TopicName};

/// What one family has so far.
#[derive(Debug, Default)]
pub(super) struct FamilyText {
    /// Whole lines.
    pub(super) text: Vec<u8>,
    /// How many of the lines are samples.
    pub(super) series: u64,
}

/// Labels that several series share, as they stand on the page: `{a="x",b="y"`, without the end.
#[derive(Debug, Default)]
struct LabelPrefix {
    bytes: Vec<u8>,
    /// Where the labels of the region, the instance and the group end.
    region: usize,
    instance: usize,
    group: usize,
}

/// Writes series as text, each family into its own sheet.
#[derive(Debug)]
pub(super) struct TextWriter {
    sheets: [FamilyText; FAMILIES.len()],
    wanted: FamilySet,
    naming: Naming,
    /// Whether a sheet begins with the HELP and TYPE lines of its family.
    headed: bool,
    constant: Vec<u8>,
    native: LabelPrefix,
    /// The same labels as kafka_exporter spells them; kept only under that naming.
    theirs: LabelPrefix,
    head: Vec<u8>,
}

impl TextWriter {
    pub(super) fn new(naming: Naming, constant_labels: &[(String, String)], headed: bool) -> Self {
        let mut constant = Vec::new();
        for (name, value) in constant_labels {
            push_label(&mut constant, name, value);
        }
        Self {
            sheets: std::array::from_fn(|_| FamilyText::default()),
            wanted: FamilySet::default(),
            naming,
            headed,
            constant,
            native: LabelPrefix::default(),
            theirs: LabelPrefix::default(),
            head: Vec::new(),
        }
    }

    /// From now on writes only these families.
    pub(super) fn want(&mut self, wanted: FamilySet) {
        self.wanted = wanted;
    }

    /// Makes room in a sheet, so that it need not grow step by step.
    pub(super) fn reserve(&mut self, id: MetricId, bytes: usize) {
        self.sheets[id as usize].text.reserve(bytes);
    }

    /// Takes what a family has so far.
    pub(super) fn take(&mut self, id: MetricId) -> FamilyText {
        mem::take(&mut self.sheets[id as usize])
    }

    /// How many series there are so far, over all families.
    pub(super) fn series(&self) -> u64 {
        self.sheets.iter().map(|s| s.series).sum()
    }

    fn each_prefix(&mut self, mut change: impl FnMut(&mut LabelPrefix, &'static str)) {
        change(&mut self.native, "group");
        if self.naming == Naming::KafkaExporter {
            change(&mut self.theirs, "consumergroup");
        }
    }

    /// Puts the name and the labels of the object into `head`.
    fn begin(&mut self, id: MetricId) {
        let row = catalog::family(id);
        let foreign = self.naming == Naming::KafkaExporter && row.kafka_exporter.is_some();
        let prefix = if foreign { &self.theirs } else { &self.native };
        self.head.clear();
        self.head.extend_from_slice(row.name_in(self.naming).as_bytes());
        self.head.extend_from_slice(&prefix.bytes);
        let sheet = &mut self.sheets[id as usize];
        if self.headed && sheet.text.is_empty() {
            push_header(&mut sheet.text, id, self.naming);
        }
    }
}

impl SeriesSink for TextWriter {
    fn enter_region(&mut self, account: Option<&AccountName>, region: &RegionId) {
        let constant = mem::take(&mut self.constant);
        self.each_prefix(|p, _| {
            p.bytes.clear();
            p.bytes.extend_from_slice(&constant);
            if let Some(account) = account {
                push_label(&mut p.bytes, "account", account.as_str());
            }
            push_label(&mut p.bytes, "region", region.as_str());
            if let Some(first) = p.bytes.first_mut() {
                *first = b'{';
            }
            p.region = p.bytes.len();
        });
        self.constant = constant;
    }

    fn enter_instance(&mut self, instance: &InstanceId) {
        self.each_prefix(|p, _| {
            p.bytes.truncate(p.region);
            push_label(&mut p.bytes, "instance_id", instance.as_str());
            p.instance = p.bytes.len();
        });
    }

    fn enter_topic(&mut self, topic: &TopicName) {
        self.each_prefix(|p, _| {
            p.bytes.truncate(p.instance);
            push_label(&mut p.bytes, "topic", topic.as_str());
        });
    }

    fn enter_group(&mut self, group: &GroupId) {
        self.each_prefix(|p, label| {
            p.bytes.truncate(p.instance);
            push_label(&mut p.bytes, label, group.as_str());
            p.group = p.bytes.len();
        });
    }

    fn enter_group_topic(&mut self, topic: &TopicName) {
        self.each_prefix(|p, _| {
            p.bytes.truncate(p.group);
            push_label(&mut p.bytes, "topic", topic.as_str());
        });
    }

    fn value(&mut self, id: MetricId, value: impl SampleValue) {
        self.labelled(id, &[], value);
    }

    fn labelled(&mut self, id: MetricId, labels: &[(&str, &str)], value: impl SampleValue) {
        if !self.wanted.has(id) {
            return;
        }
        self.begin(id);
        for (name, value) in labels {
            push_label(&mut self.head, name, value);
        }
        let sheet = &mut self.sheets[id as usize];
        sheet.text.extend_from_slice(&self.head);
        sheet.text.extend_from_slice(b"} ");
        value.write(&mut sheet.text);
        sheet.text.push(b'\n');
        sheet.series += 1;
    }

    fn partitions<V: SampleValue>(&mut self, id: MetricId, rows: impl Iterator<Item = (u32, V)>) {
        if !self.wanted.has(id) {
            return;
        }
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return;
        }
        self.begin(id);
        self.head.extend_from_slice(b",partition=\"");
        let sheet = &mut self.sheets[id as usize];
        for (partition, value) in rows {
            sheet.text.extend_from_slice(&self.head);
            push_integer(&mut sheet.text, partition);
            sheet.text.extend_from_slice(b"\"} ");
            value.write(&mut sheet.text);
            sheet.text.push(b'\n');
            sheet.series += 1;
        }
    }
}

/// The HELP and TYPE lines of a family.
pub(super) fn push_header(out: &mut Vec<u8>, id: MetricId, naming: Naming) {
    let row = catalog::family(id);
    let name = row.name_in(naming).as_bytes();
    out.extend_from_slice(b"# HELP ");
    out.extend_from_slice(name);
    out.push(b' ');
    push_escaped(out, &row.help_text(), false);
    out.extend_from_slice(b"\n# TYPE ");
    out.extend_from_slice(name);
    out.push(b' ');
    out.extend_from_slice(row.kind.word().as_bytes());
    out.push(b'\n');
}

/// An integer, exactly.
pub(super) fn push_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A point in time in milliseconds as seconds, exactly: see [`push_millis`].
pub(super) fn push_seconds(out: &mut Vec<u8>, millis: i64) {
    if millis < 0 {
        out.push(b'-');
    }
    push_millis(out, millis.unsigned_abs());
}

/// Milliseconds as seconds, exactly: up to three decimals, none that says nothing.
pub(super) fn push_millis(out: &mut Vec<u8>, millis: u64) {
    let (seconds, rest) = (millis / 1000, millis % 1000);
    push_integer(out, seconds);
    if rest == 0 {
        return;
    }
    out.push(b'.');
    for (unit, digit) in [(1000, 100), (100, 10), (10, 1)] {
        let left = rest % unit;
        if left == 0 {
            break;
        }
        push_integer(out, left / digit);
    }
}

/// A finite number in the fewest digits that read back as the same number.
pub(super) fn push_float(out: &mut Vec<u8>, value: f64) {
    // Writing to a Vec cannot fail.
    _ = match value.abs() {
        0.0 => write!(out, "0"),
        1e-6..1e17 => write!(out, "{value}"),
        _ => write!(out, "{value:e}"),
    };
}

fn push_label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b',');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    push_escaped(out, value, true);
    out.push(b'"');
}

/// Escapes what would end a line or a label; all else, control characters and NUL too, stands for itself.
fn push_escaped(out: &mut Vec<u8>, value: &str, quotes: bool) {
    let mut rest = value.as_bytes();
    let special = |b: &u8| matches!(b, b'\\' | b'\n') || (quotes && *b == b'"');
    while let Some(at) = rest.iter().position(special) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            other => out.extend_from_slice(&[b'\\', other]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(millis: i64) -> String {
        let mut out = Vec::new();
        push_seconds(&mut out, millis);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn milliseconds_become_seconds_without_noise() {
        for (millis, text) in [
            (1_700_000_000_123, "1700000000.123"),
            (1_700_000_000_120, "1700000000.12"),
            (1_700_000_000_100, "1700000000.1"),
            (1_700_000_000_000, "1700000000"),
            (1_700_000_000_001, "1700000000.001"),
            (1_700_000_000_010, "1700000000.01"),
            (1, "0.001"),
            (-1_500, "-1.5"),
            (i64::MAX, "9223372036854775.807"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(seconds(millis), text);
        }
    }

    #[test]
    fn floats_are_short_and_read_back_as_themselves() {
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
            let mut out = Vec::new();
            push_float(&mut out, value);
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out, text);
            assert_eq!(out.parse::<f64>(), Ok(value));
        }
    }

    #[test]
    fn only_what_breaks_a_line_is_escaped() {
        let mut label = Vec::new();
        push_label(&mut label, "a", "订单 \"x\"\\\n\0\t");
        assert_eq!(String::from_utf8(label).unwrap(), ",a=\"订单 \\\"x\\\"\\\\\\n\0\t\"");
        let mut help = Vec::new();
        push_escaped(&mut help, "a \"b\" \\ \n", false);
        assert_eq!(String::from_utf8(help).unwrap(), "a \"b\" \\\\ \\n");
    }
}
