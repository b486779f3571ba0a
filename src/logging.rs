//! Log lines on stderr: logfmt or JSON, one line an event.
//!
//! Owns: the two formats, escaping, what is let through, and a writer that never fails: a log that cannot
//! be written must not end the program. Refuses: colours, spans, and logs of dependencies below `warn`,
//! which may hold what must not be logged.

use std::{
    fmt::{self, Write as _},
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

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    /// `ts=… level=info msg="…" key=value`.
    Logfmt,
    /// One flat object with `ts`, `level`, `msg` and the fields.
    Json,
}

/// Sends the program's logs of at least `level` to stderr, and those of dependencies from `warn` on.
/// Without effect if logs are already sent somewhere.
pub fn init(level: Level, format: LineFormat, clock: WallClock) {
    _ = tracing_subscriber::registry().with(layer(level, format, clock, StderrWriter)).try_init();
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

/// Lines that could not be written and have not been counted yet.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many lines could not be written since this was last asked. A log that cannot be written cannot say so
/// itself.
#[must_use]
pub fn take_lost_line_count() -> u64 {
    LOST.swap(0, Ordering::Relaxed)
}

/// StderrWriter, whose failures are counted.
struct StderrWriter;

impl<'a> MakeWriter<'a> for StderrWriter {
    type Writer = LossyWriter<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        LossyWriter(io::stderr())
    }
}

struct LossyWriter<W>(W);

impl<W: io::Write> io::Write for LossyWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A closed or full stderr loses the line; nothing else may come of it.
        if self.0.write_all(bytes).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
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
        let mut fields = EventFields::default();
        event.record(&mut fields);
        let now = jiff::Timestamp::from_millisecond((self.clock)().get()).unwrap_or_default();
        let mut line = LineBuilder { format: self.format, text: String::with_capacity(160) };
        line.field("ts", &FieldValue::Text(now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()));
        line.field("level", &FieldValue::Text(event.metadata().level().as_str().to_lowercase()));
        line.field("msg", &FieldValue::Text(fields.message));
        for (name, value) in &fields.others {
            // These three are the line's own.
            match *name {
                "ts" | "level" | "msg" => line.field(&format!("field_{name}"), value),
                name => line.field(name, value),
            }
        }
        writeln!(writer, "{}", line.end())
    }
}

enum FieldValue {
    Text(String),
    /// A number or a truth value, as JSON spells it.
    Plain(String),
}

#[derive(Default)]
struct EventFields {
    message: String,
    others: Vec<(&'static str, FieldValue)>,
}

impl EventFields {
    fn add(&mut self, field: &Field, value: FieldValue) {
        match (field.name(), value) {
            ("message", FieldValue::Text(text) | FieldValue::Plain(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, FieldValue::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, FieldValue::Text(value.to_owned()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.add(field, FieldValue::Text(text));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, FieldValue::Plain(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, FieldValue::Plain(value.to_string()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let plain = if value.is_finite() { FieldValue::Plain } else { FieldValue::Text };
        self.add(field, plain(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, FieldValue::Plain(value.to_string()));
    }
}

struct LineBuilder {
    format: LineFormat,
    text: String,
}

impl LineBuilder {
    fn field(&mut self, name: &str, value: &FieldValue) {
        match self.format {
            LineFormat::Logfmt => {
                if !self.text.is_empty() {
                    self.text.push(' ');
                }
                self.text.push_str(name);
                self.text.push('=');
                match value {
                    FieldValue::Plain(text) => self.text.push_str(text),
                    FieldValue::Text(text) if is_bare(text) => self.text.push_str(text),
                    FieldValue::Text(text) => self.quoted(text),
                }
            }
            LineFormat::Json => {
                self.text.push(if self.text.is_empty() { '{' } else { ',' });
                self.quoted(name);
                self.text.push(':');
                match value {
                    FieldValue::Plain(text) => self.text.push_str(text),
                    FieldValue::Text(text) => self.quoted(text),
                }
            }
        }
    }

    fn end(mut self) -> String {
        if self.format == LineFormat::Json {
            self.text.push('}');
        }
        self.text
    }

    /// In quotes, escaped as JSON escapes: logfmt readers know the same.
    fn quoted(&mut self, text: &str) {
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

/// Control characters, and those that end a line or turn its direction in some viewers; all are in the
/// basic plane.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn is_bare(text: &str) -> bool {
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
    fn logfmt_quotes_what_needs_it_and_escapes_controls() {
        assert_eq!(
            written(Level::INFO, LineFormat::Logfmt, log_everything),
            "ts=2023-11-14T22:13:20.007Z level=info msg=\"read \\\"all\\\"\\nof it\\u001b[31m\\u202e\" \
             region=cn-hangzhou empty=\"\" spaced=\"a b\" equals=\"a=b\" count=3 delta=-1 ratio=0.5 nan=NaN \
             on=true field_ts=mine error=\"no route\"\n"
        );
    }

    #[test]
    fn json_is_one_flat_object_a_line() {
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
    fn a_writer_that_fails_is_counted_and_not_noticed() {
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
