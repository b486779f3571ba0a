//! YAML as the lower layer of the configuration: every value with its place, and scalars as the text that was typed.
//!
//! Owns: syntax, anchors and aliases, the limits on size and depth. Rejects: several documents, custom tags, and keys
//! that are not scalars.

use std::collections::{HashMap, hash_map::Entry};

use config::{Map, Value, ValueKind};
use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::{
    problem::{Problem, ValueSource, key_path},
    value::{from_file, kind_name, source, table},
};

/// Path under which problems of the entire file are reported.
pub(super) const FILE: &str = "--config.file";

const MAX_DEPTH: usize = 16;
/// Maximum number of values, counted with aliases expanded so that a small file cannot become a large tree.
const MAX_VALUES: usize = 100_000;

/// Parses one document. An empty one is an empty map. Reports repeated keys and keeps the first one.
pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Result<Value, Box<Problem>> {
    let parser = Parser::new_from_str(text);
    let mut parser = YamlParser { text, parser, anchors: HashMap::new(), values: 0, problems };
    let mut root = None;
    loop {
        let (event, span) = parser.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) if root.is_some() => {
                let what = "a second document begins here";
                return Err(reject(&span, what, "keep one document in the file"));
            }
            Event::DocumentStart(..) => {
                let (event, span) = parser.next()?;
                root = Some(parser.value(event, &span, None, "", 0)?);
            }
            _ => return Err(reject(&span, "the document continues after its end", "keep one map of keys")),
        }
    }
    let root = root.filter(|root| root.kind != ValueKind::Nil);
    let root = root.unwrap_or_else(|| from_file(Map::<String, Value>::new().into(), (1, 1), (1, 1)));
    if table(&root).is_none() {
        let what = format!("the file is {}, not a map of keys", kind_name(&root));
        let instead = "write lines such as \"poll_interval: 60s\"";
        return Err(Box::new(Problem::new(&source(&root), FILE, what, instead)));
    }
    Ok(root)
}

struct YamlParser<'a, 'p> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, ValueKind>,
    values: usize,
    problems: &'p mut Vec<Problem>,
}

impl<'a> YamlParser<'a, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Box<Problem>> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let mark = error.marker();
                Err(self.syntax_error(mark.line(), mark.col() + 1, &error.info()))
            }
            None => Err(self.syntax_error(1, 1, "it ends too early")),
        }
    }

    /// Reads a value. `key` is the place of its key, if it has one; `path` is its path.
    fn value(
        &mut self,
        event: Event<'a>,
        span: &Span,
        key: Option<(usize, usize)>,
        path: &str,
        depth: usize,
    ) -> Result<Value, Box<Problem>> {
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err(reject(span, "it is nested too deeply or too large", "write a plain map of keys"));
        }
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                reject_custom_tag(tag.as_deref(), span)?;
                let is_null =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                (if is_null { ValueKind::Nil } else { ValueKind::String(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                reject_custom_tag(tag.as_deref(), span)?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => {
                            let path = format!("{path}[{}]", items.len());
                            items.push(self.value(event, &span, None, &path, depth + 1)?);
                        }
                    }
                }
                (ValueKind::Array(items), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                reject_custom_tag(tag.as_deref(), span)?;
                (ValueKind::Table(self.entries(path, depth)?), anchor)
            }
            Event::Alias(anchor) => {
                let Some(kind) = self.anchors.get(&anchor) else {
                    return Err(reject(
                        span,
                        "an alias refers to a value that contains it",
                        "write the value out",
                    ));
                };
                self.values += count(kind);
                (kind.clone(), 0)
            }
            _ => return Err(reject(span, "a value is missing", "write a value")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, kind.clone());
        }
        let place = place(span);
        Ok(from_file(kind, key.unwrap_or(place), place))
    }

    fn entries(&mut self, path: &str, depth: usize) -> Result<Map<String, Value>, Box<Problem>> {
        let mut entries = Map::new();
        loop {
            let (key, span) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (Event::Scalar(key, ..), span) => (key.into_owned(), span),
                (_, span) => return Err(reject(&span, "a key is not a word", "write a plain key")),
            };
            let key_place = place(&span);
            let path = key_path(path, &key);
            let (event, span) = self.next()?;
            let value = self.value(event, &span, Some(key_place), &path, depth + 1)?;
            match entries.entry(key) {
                Entry::Vacant(entry) => _ = entry.insert(value),
                Entry::Occupied(_) => {
                    let source = ValueSource::File { line: key_place.0, column: key_place.1 };
                    self.problems.push(Problem::repeated_key(&source, path));
                }
            }
        }
    }

    fn syntax_error(&self, line: usize, column: usize, what: &str) -> Box<Problem> {
        let (excerpt, may_hold_secret) = excerpt(self.text, line, column);
        // The message of the parser may quote the line.
        let what = if may_hold_secret { "the line cannot be read" } else { what };
        let source = ValueSource::File { line, column };
        let instead = "correct the line, or quote the value";
        let mut problem = Problem::new(&source, FILE, format!("not YAML: {what}"), instead);
        problem.excerpt = excerpt;
        Box::new(problem)
    }
}

/// Line and column of a value, counted from 1.
fn place(span: &Span) -> (usize, usize) {
    (span.start.line(), span.start.col() + 1)
}

/// Number of values in a value, including itself.
fn count(kind: &ValueKind) -> usize {
    1 + match kind {
        ValueKind::Array(items) => items.iter().map(|item| count(&item.kind)).sum::<usize>(),
        ValueKind::Table(entries) => entries.values().map(|entry| count(&entry.kind)).sum(),
        _ => 0,
    }
}

fn reject_custom_tag(tag: Option<&Tag>, span: &Span) -> Result<(), Box<Problem>> {
    if tag.is_some_and(Tag::is_custom) {
        return Err(reject(span, "a tag such as !include is not supported", "write the value itself"));
    }
    Ok(())
}

fn reject(span: &Span, what: &str, instead: &str) -> Box<Problem> {
    let (line, column) = place(span);
    Box::new(Problem::new(&ValueSource::File { line, column }, FILE, what, instead))
}

/// Returns the line with a marker below the column, and whether the line may hold a secret, which is then omitted.
fn excerpt(text: &str, line: usize, column: usize) -> (Option<String>, bool) {
    let number = text.lines().count().min(line).max(1);
    let Some(content) = text.lines().nth(number - 1) else { return (None, false) };
    let above = text.lines().take(number - 1).filter(|l| !l.trim().is_empty()).last().unwrap_or("");
    let may_hold_secret = [content, above].iter().any(|l| {
        let l = l.to_lowercase();
        ["secret", "token", "access_key", "credentials", "proxy", "@"].iter().any(|word| l.contains(word))
    });
    let margin = number.to_string();
    if may_hold_secret {
        return (Some(format!("  {margin} | (hidden because it may hold a secret)")), true);
    }
    let content: String = content.chars().map(|c| if c.is_control() { ' ' } else { c }).take(160).collect();
    let column = if number == line { column } else { content.chars().count() + 1 };
    let indent = " ".repeat(column.saturating_sub(1).min(160));
    let marker = format!("  {:width$} | {indent}^", "", width = margin.len());
    (Some(format!("  {margin} | {}\n{marker}", content.trim_end())), false)
}
