//! Table of the values of the chart, from the comments of values.yaml.
//!
//! A comment that starts with `# --` describes the key below it. `# @default --` describes a default that the file
//! cannot express. Owns: a reader of the subset of YAML in that file. Rejects: values without a description.

use std::fmt::Write as _;

/// Line of the file without its indentation.
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// Description of a key.
struct Description {
    text: String,
    default: Option<String>,
}

/// Returns the table, or an error with the line and the problem.
pub(super) fn table(yaml: &str) -> Result<String, String> {
    let lines: Vec<Line> = yaml
        .lines()
        .enumerate()
        .map(|(index, line)| {
            let text = line.trim();
            Line { number: index + 1, indent: line.len() - line.trim_start().len(), text }
        })
        .collect();
    let mut table = "| value | default | meaning |\n|---|---|---|\n".to_owned();
    // Parent keys of a line with their indentation, and whether each has a description.
    let mut parents: Vec<(usize, String, bool)> = Vec::new();
    let mut description: Option<Description> = None;
    for (at, line) in lines.iter().enumerate() {
        if let Some(comment) = line.text.strip_prefix('#') {
            add_comment(comment.trim(), &mut description);
            continue;
        }
        let Some((key, value)) = line.text.split_once(':').filter(|_| !line.text.starts_with("- ")) else {
            match description {
                Some(_) => return Err(format!("line {}: the description above it has no key", line.number)),
                None => continue,
            }
        };
        parents.retain(|(indent, _, _)| *indent < line.indent);
        parents.push((line.indent, key.to_owned(), description.is_some()));
        let path = parents.iter().map(|(_, key, _)| key.as_str()).collect::<Vec<_>>().join(".");
        let value = value.trim();
        match description.take() {
            Some(description) => {
                let below: Vec<&Line> = lines[at + 1..]
                    .iter()
                    .filter(|line| !line.text.is_empty() && !line.text.starts_with('#'))
                    .take_while(|below| below.indent > line.indent)
                    .collect();
                let default = match (description.default, value) {
                    (Some(default), _) => default,
                    (None, "") => code(&flow(&below)),
                    (None, value) => code(value),
                };
                let meaning = description.text.replace('|', "\\|");
                // Writing to a string cannot fail.
                _ = writeln!(table, "| `{path}` | {default} | {meaning} |");
            }
            None if !value.is_empty() && !parents.iter().any(|(_, _, described)| *described) => {
                return Err(format!("line {}: {path} has no description", line.number));
            }
            None => {}
        }
    }
    Ok(table)
}

/// Adds a comment to the description of the next key.
fn add_comment(comment: &str, description: &mut Option<Description>) {
    if let Some(text) = comment.strip_prefix("-- ") {
        *description = Some(Description { text: text.to_owned(), default: None });
    } else if let Some(description) = description {
        match comment.strip_prefix("@default -- ") {
            Some(default) => description.default = Some(default.to_owned()),
            None => description.text = format!("{} {comment}", description.text),
        }
    }
}

/// Text in code format for a table cell.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// Lines below a key in YAML flow style.
fn flow(lines: &[&Line]) -> String {
    let Some(first) = lines.first() else { return "null".to_owned() };
    let is_list = first.text.starts_with("- ");
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let below = lines[at + 1..].iter().take_while(|below| below.indent > first.indent).count();
        let children = &lines[at + 1..at + 1 + below];
        parts.push(match (line.text.strip_prefix("- "), children) {
            (Some(item), _) => item.to_owned(),
            (None, []) => line.text.to_owned(),
            (None, children) => format!("{} {}", line.text, flow(children)),
        });
        at += 1 + below;
    }
    let parts = parts.join(", ");
    if is_list { format!("[{parts}]") } else { format!("{{{parts}}}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_with_a_comment_is_a_row_with_its_default() {
        let yaml = "\
# About the file.

image:
  # -- Where it is, a|b,
  # in two lines
  tag: \"\"
# -- A block
block:
  a: 1
  b:
    c: [x]
  d:
    - e: {}
# -- Words
# @default -- what is known
words: null
";
        let rows: Vec<String> = table(yaml).unwrap().lines().skip(2).map(str::to_owned).collect();
        assert_eq!(
            rows,
            [
                "| `image.tag` | `\"\"` | Where it is, a\\|b, in two lines |",
                "| `block` | `{a: 1, b: {c: [x]}, d: [e: {}]}` | A block |",
                "| `words` | what is known | Words |",
            ]
        );
    }

    #[test]
    fn a_value_without_description_is_an_error() {
        assert_eq!(table("a:\n  b: 1\n").unwrap_err(), "line 2: a.b has no description");
        assert_eq!(table("# -- Lost\n\na: 1\n").unwrap_err(), "line 2: the description above it has no key");
    }
}
