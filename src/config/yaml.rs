//! YAML text to a plain tree that knows where each value was written.
//!
//! Owns: syntax, anchors and aliases, the limits on size and depth. Refuses: several documents, custom
//! tags, keys that are not words, and guessing at types: a scalar stays the text that was typed.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use zeroize::Zeroizing;

use super::problem::{Problem, ValueSource};

/// The path that problems of the whole file are reported under.
pub(super) const FILE: &str = "--config.file";

const MAX_DEPTH: usize = 16;
/// Counted with aliases expanded, so that a small file cannot become a large tree.
const MAX_NODES: usize = 100_000;

/// A value and where it was written. Has no `Debug`, as it may hold secrets.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: ValueSource,
}

/// What a value is.
#[derive(Clone)]
pub(super) enum Value {
    /// Nothing after the colon, `~` or `null`.
    Null,
    /// Anything else that is not a list or a map, as typed.
    Text(Zeroizing<String>),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value. Keys may repeat; whoever reads the map refuses that.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) origin: ValueSource,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn text(text: &str, origin: ValueSource) -> Self {
        Self { value: Value::Text(Zeroizing::new(text.to_owned())), origin }
    }

    /// What a person calls this kind of value.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "empty",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The value of a key, the first if it repeats; `None` for what is not a map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.node),
            _ => None,
        }
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Text(_) => 0,
            Value::List(items) => items.iter().map(Self::count).sum::<usize>(),
            Value::Map(entries) => entries.iter().map(|e| e.node.count()).sum(),
        }
    }
}

/// Reads one document. An empty one is an empty map.
pub(super) fn parse(text: &str) -> Result<Node, Box<Problem>> {
    let mut tree =
        Tree { source: text, parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut root = None;
    loop {
        let (event, span) = tree.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) if root.is_some() => {
                return Err(tree.refuse(
                    &span,
                    "a second document begins here",
                    "keep one document in the file",
                ));
            }
            Event::DocumentStart(..) => {
                let (event, span) = tree.next()?;
                root = Some(tree.node(event, &span, 0)?);
            }
            _ => return Err(tree.refuse(&span, "it has something after its end", "keep one map of keys")),
        }
    }
    let empty = || Node { value: Value::Map(Vec::new()), origin: ValueSource::File { line: 1, column: 1 } };
    match root {
        None | Some(Node { value: Value::Null, .. }) => Ok(empty()),
        Some(node @ Node { value: Value::Map(_), .. }) => Ok(node),
        Some(node) => {
            let what = format!("the file is {}, not a map of keys", node.kind());
            Err(Box::new(Problem::new(
                &node.origin,
                FILE,
                what,
                "write lines such as \"poll_interval: 60s\"",
            )))
        }
    }
}

struct Tree<'a> {
    source: &'a str,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Tree<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Box<Problem>> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let mark = error.marker();
                Err(self.syntax(mark.line(), mark.col() + 1, &error.info()))
            }
            None => Err(self.syntax(1, 1, "it ends too early")),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, Box<Problem>> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(self.refuse(
                span,
                "it is nested too deeply or too large",
                "write a plain map of keys",
            ));
        }
        let origin = ValueSource::File { line: span.start.line(), column: span.start.col() + 1 };
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span)?;
                let null =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let text = Zeroizing::new(text.into_owned());
                (if null { Value::Null } else { Value::Text(text) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span)?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, &span, depth + 1)?),
                    }
                }
                (Value::List(items), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), span)?;
                (Value::Map(self.entries(depth)?), anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(self.refuse(
                        span,
                        "an alias refers to what it is part of",
                        "write the value out",
                    ));
                };
                let node = node.clone();
                self.nodes += node.count();
                return Ok(Node { origin, ..node });
            }
            _ => return Err(self.refuse(span, "a value is missing", "write a value")),
        };
        let node = Node { value, origin };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Box<Problem>> {
        let mut entries = Vec::new();
        loop {
            let (key, span) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (Event::Scalar(key, ..), span) => (key.into_owned(), span),
                (_, span) => return Err(self.refuse(&span, "a key is not a word", "write a plain key")),
            };
            let origin = ValueSource::File { line: span.start.line(), column: span.start.col() + 1 };
            let (event, span) = self.next()?;
            entries.push(Entry { key, origin, node: self.node(event, &span, depth + 1)? });
        }
    }

    fn refuse_tag(&self, tag: Option<&Tag>, span: &Span) -> Result<(), Box<Problem>> {
        match tag {
            Some(tag) if tag.is_custom() => {
                Err(self.refuse(span, "a tag such as !include is not supported", "write the value itself"))
            }
            _ => Ok(()),
        }
    }

    fn refuse(&self, span: &Span, what: &str, instead: &str) -> Box<Problem> {
        let origin = ValueSource::File { line: span.start.line(), column: span.start.col() + 1 };
        Box::new(Problem::new(&origin, FILE, what, instead))
    }

    fn syntax(&self, line: usize, column: usize, what: &str) -> Box<Problem> {
        let (excerpt, secret) = excerpt(self.source, line, column);
        // What the parser says may quote the line.
        let what = if secret { "the line cannot be read" } else { what };
        let origin = ValueSource::File { line, column };
        let mut problem =
            Problem::new(&origin, FILE, format!("not YAML: {what}"), "correct the line, or quote the value");
        problem.excerpt = excerpt;
        Box::new(problem)
    }
}

/// The line with a mark under the column, and whether it may hold a secret, which is then left out.
fn excerpt(source: &str, line: usize, column: usize) -> (Option<String>, bool) {
    let number = source.lines().count().min(line).max(1);
    let Some(text) = source.lines().nth(number - 1) else { return (None, false) };
    let above = source.lines().take(number - 1).filter(|l| !l.trim().is_empty()).last().unwrap_or("");
    let secret = [text, above].iter().any(|l| {
        let l = l.to_lowercase();
        ["secret", "token", "access_key", "credentials", "proxy", "@"].iter().any(|word| l.contains(word))
    });
    let margin = number.to_string();
    if secret {
        return (Some(format!("  {margin} | (not shown, as it may hold a secret)")), true);
    }
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(160).collect();
    let column = if number == line { column } else { text.chars().count() + 1 };
    let indent = " ".repeat(column.saturating_sub(1).min(160));
    let mark = format!("  {:width$} | {indent}^", "", width = margin.len());
    (Some(format!("  {margin} | {}\n{mark}", text.trim_end())), false)
}
