//! The values of the chart as a table for people, from the comments of values.yaml.
//!
//! A comment that begins with `# --` is the line of the key below it; `# @default --` says what its default is where
//! the file cannot. Owns: reading just as much of YAML as that file has. Refuses: a value that nothing is said of.

use std::fmt::Write as _;

/// A line of the file that says something.
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// What is said of a key.
#[derive(Default)]
struct Said {
    text: String,
    default: Option<String>,
}

/// The table. An error names the line and what is wrong with it.
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
    // The keys around a line, with their indent, and whether something was said of each.
    let mut around: Vec<(usize, String, bool)> = Vec::new();
    let mut said: Option<Said> = None;
    for (at, line) in lines.iter().enumerate() {
        if let Some(comment) = line.text.strip_prefix('#') {
            remark(comment.trim(), &mut said);
            continue;
        }
        let Some((key, value)) = line.text.split_once(':').filter(|_| !line.text.starts_with("- ")) else {
            match said {
                Some(_) => return Err(format!("line {}: what is said above it is of no key", line.number)),
                None => continue,
            }
        };
        around.retain(|(indent, _, _)| *indent < line.indent);
        around.push((line.indent, key.to_owned(), said.is_some()));
        let path = around.iter().map(|(_, key, _)| key.as_str()).collect::<Vec<_>>().join(".");
        let value = value.trim();
        match said.take() {
            Some(said) => {
                let below: Vec<&Line> = lines[at + 1..]
                    .iter()
                    .filter(|line| !line.text.is_empty() && !line.text.starts_with('#'))
                    .take_while(|below| below.indent > line.indent)
                    .collect();
                let default = match (said.default, value) {
                    (Some(words), _) => words,
                    (None, "") => code(&flow(&below)),
                    (None, value) => code(value),
                };
                let meaning = said.text.replace('|', "\\|");
                // Writing to a string cannot fail.
                _ = writeln!(table, "| `{path}` | {default} | {meaning} |");
            }
            None if !value.is_empty() && !around.iter().any(|(_, _, is_said)| *is_said) => {
                return Err(format!("line {}: nothing is said of {path}", line.number));
            }
            None => {}
        }
    }
    Ok(table)
}

/// Takes a comment to what is said of the next key.
fn remark(comment: &str, said: &mut Option<Said>) {
    if let Some(text) = comment.strip_prefix("-- ") {
        *said = Some(Said { text: text.to_owned(), default: None });
    } else if let Some(said) = said {
        match comment.strip_prefix("@default -- ") {
            Some(default) => said.default = Some(default.to_owned()),
            None => said.text = format!("{} {comment}", said.text),
        }
    }
}

/// Text as code in a cell.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// Lines below a key, as YAML writes them in one.
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
    fn a_value_that_nothing_is_said_of_is_an_error() {
        assert_eq!(table("a:\n  b: 1\n").unwrap_err(), "line 2: nothing is said of a.b");
        assert_eq!(table("# -- Lost\n\na: 1\n").unwrap_err(), "line 2: what is said above it is of no key");
    }
}
