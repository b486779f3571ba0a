//! Log lines on stderr in logfmt or JSON, one line per event.
//!
//! Owns: both formats, escaping, the level filter, and a writer that never fails, because the exporter must survive a
//! broken stderr. Out of scope: colours, spans, and logs of dependencies below `warn`, which may contain secrets.

use std::{
    fmt::{self, Display, Write as _},
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{DefaultFields, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::clock::WallClock;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    /// `ts=… level=info msg="…" key=value`
    Logfmt,
    /// A flat JSON object with `ts`, `level`, `msg` and the fields.
    Json,
}

/// Sends the logs of the exporter at `level` and above to stderr, and those of dependencies at `warn` and above. Has
/// no effect if a global subscriber is already set.
pub fn init(level: Level, format: LineFormat, clock: WallClock) {
    _ = tracing_subscriber::registry()
        .with(layer(level, format, clock, || LossyWriter(io::stderr())))
        .try_init();
}

fn layer<S, W>(level: Level, format: LineFormat, clock: WallClock, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = LevelFilter::from_level(level);
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), level);
    tracing_subscriber::fmt::layer()
        .fmt_fields(DefaultFields::new())
        .event_format(LineFormatter { format, clock })
        .with_writer(writer)
        .with_filter(targets)
}

/// Lines that could not be written since the last [`take_lost_line_count`].
static LOST_LINES: AtomicU64 = AtomicU64::new(0);

/// Returns the number of lines that could not be written since the last call.
#[must_use]
pub fn take_lost_line_count() -> u64 {
    LOST_LINES.swap(0, Ordering::Relaxed)
}

/// Writer that never fails. It counts the lines that it loses, e.g. because stderr is closed or its disk is full.
struct LossyWriter<W>(W);

impl<W: io::Write> io::Write for LossyWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.write_all(bytes).is_err() {
            LOST_LINES.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        _ = self.0.flush();
        Ok(())
    }
}

struct LineFormatter {
    format: LineFormat,
    clock: WallClock,
}

impl<S, N> FormatEvent<S, N> for LineFormatter
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut visitor = EventVisitor { message: String::new(), fields: LineBuilder::new(self.format) };
        event.record(&mut visitor);
        let now = jiff::Timestamp::from_millisecond((self.clock)().get()).unwrap_or_default();
        let mut line = LineBuilder::new(self.format);
        line.push_text("ts", &now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string());
        line.push_text("level", &event.metadata().level().as_str().to_ascii_lowercase());
        line.push_text("msg", &visitor.message);
        line.append(&visitor.fields);
        match self.format {
            LineFormat::Logfmt => writeln!(writer, "{}", line.text),
            LineFormat::Json => writeln!(writer, "{{{}}}", line.text),
        }
    }
}

/// Collects the message and the other fields of an event.
struct EventVisitor {
    message: String,
    fields: LineBuilder,
}

impl EventVisitor {
    fn text(&mut self, field: &Field, text: &str) {
        match field.name() {
            "message" => text.clone_into(&mut self.message),
            name => self.fields.push_text(unreserved(name), text),
        }
    }

    fn literal(&mut self, field: &Field, value: impl Display) {
        self.fields.push_literal(unreserved(field.name()), value);
    }
}

/// Returns the name of a field, renamed if a built-in field of every line has the same name.
fn unreserved(name: &'static str) -> &'static str {
    match name {
        "ts" => "field_ts",
        "level" => "field_level",
        "msg" => "field_msg",
        name => name,
    }
}

impl Visit for EventVisitor {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.text(field, &text);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.literal(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.literal(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.literal(field, value);
        } else {
            self.text(field, &value.to_string());
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.literal(field, value);
    }
}

/// Fields of a line as text, without the braces of JSON.
struct LineBuilder {
    format: LineFormat,
    text: String,
}

impl LineBuilder {
    fn new(format: LineFormat) -> Self {
        Self { format, text: String::new() }
    }

    /// Appends a string, quoted if necessary.
    fn push_text(&mut self, name: &str, value: &str) {
        self.push_name(name);
        if self.format == LineFormat::Logfmt && needs_no_quotes(value) {
            self.text.push_str(value);
        } else {
            self.push_quoted(value);
        }
    }

    /// Appends a number or a boolean.
    fn push_literal(&mut self, name: &str, value: impl Display) {
        self.push_name(name);
        _ = write!(self.text, "{value}");
    }

    fn append(&mut self, fields: &Self) {
        if !fields.text.is_empty() {
            self.push_separator();
            self.text.push_str(&fields.text);
        }
    }

    fn push_name(&mut self, name: &str) {
        self.push_separator();
        match self.format {
            LineFormat::Logfmt => {
                self.text.push_str(name);
                self.text.push('=');
            }
            LineFormat::Json => {
                self.push_quoted(name);
                self.text.push(':');
            }
        }
    }

    fn push_separator(&mut self) {
        if !self.text.is_empty() {
            self.text.push(if self.format == LineFormat::Json { ',' } else { ' ' });
        }
    }

    /// Appends a quoted string with the escapes of JSON, which parsers of logfmt understand too.
    fn push_quoted(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                c if is_unsafe(c) => _ = write!(self.text, "\\u{:04x}", u32::from(c)),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}

/// Whether a terminal or a viewer may interpret the character as a command, the end of a line, or a change of the
/// writing direction. All of these are in the basic multilingual plane.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn needs_no_quotes(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| !c.is_whitespace() && !is_unsafe(c) && !matches!(c, '"' | '\\' | '='))
}

#[cfg(test)]
mod tests {
    use test_support::log_capture::LogCapture;

    use super::*;
    use crate::model::UnixMillis;

    fn clock() -> UnixMillis {
        UnixMillis::new(1_700_000_000_007).unwrap()
    }

    fn written(level: Level, format: LineFormat, log: impl FnOnce()) -> String {
        let capture = LogCapture::default();
        let subscriber = tracing_subscriber::registry().with(layer(level, format, clock, capture.clone()));
        tracing::subscriber::with_default(subscriber, log);
        capture.text()
    }

    fn log_everything() {
        let error = io::Error::other("no route");
        tracing::info!(
            region = "cn-hangzhou",
            empty = "",
            spaced = "a b",
            equals = "a=b",
            count = 3_u64,
            delta = -1_i64,
            ratio = 0.5,
            nan = f64::NAN,
            on = true,
            ts = "mine",
            error = &error as &(dyn std::error::Error + 'static),
            "read \"all\"\nof it\u{1b}[31m\u{202e}"
        );
    }

    #[test]
    fn logfmt_quotes_and_escapes_only_where_necessary() {
        assert_eq!(
            written(Level::INFO, LineFormat::Logfmt, log_everything),
            "ts=2023-11-14T22:13:20.007Z level=info msg=\"read \\\"all\\\"\\nof it\\u001b[31m\\u202e\" \
             region=cn-hangzhou empty=\"\" spaced=\"a b\" equals=\"a=b\" count=3 delta=-1 ratio=0.5 nan=NaN \
             on=true field_ts=mine error=\"no route\"\n"
        );
    }

    #[test]
    fn json_is_one_flat_object_per_line() {
        let line = written(Level::INFO, LineFormat::Json, log_everything);
        assert_eq!(line.lines().count(), 1);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "ts": "2023-11-14T22:13:20.007Z", "level": "info", "msg": "read \"all\"\nof it\u{1b}[31m\u{202e}",
            "region": "cn-hangzhou", "empty": "", "spaced": "a b", "equals": "a=b", "count": 3, "delta": -1,
            "ratio": 0.5, "nan": "NaN", "on": true, "field_ts": "mine", "error": "no route",
        });
        assert_eq!(object, expected);
    }

    #[test]
    fn dependencies_stay_quiet_below_warn() {
        let log = || {
            tracing::debug!("ours");
            tracing::debug!(target: "reqwest::connect", "theirs at debug");
            tracing::info!(target: "rustls", "theirs at info");
            tracing::warn!(target: "hyper", "theirs at warn");
        };
        let messages = |level| {
            let text = written(level, LineFormat::Logfmt, log);
            text.lines().map(|l| l.split(" msg=").nth(1).unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(messages(Level::TRACE), ["ours", "\"theirs at warn\""]);
        assert_eq!(messages(Level::INFO), ["\"theirs at warn\""]);
        assert_eq!(messages(Level::ERROR), [""; 0]);
    }

    #[test]
    fn a_failing_writer_only_counts_lost_lines() {
        struct Broken;
        impl io::Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let mut writer = LossyWriter(Broken);
        assert!(io::Write::write_all(&mut writer, b"line\n").is_ok());
        assert!(io::Write::flush(&mut writer).is_ok());
        assert_eq!((take_lost_line_count(), take_lost_line_count()), (1, 0));
    }
}
