//! Chinese documents have the same headings, commands, tables and links as the English ones.

use regex::Regex;

use super::{Block, Document, document};

const PAIRS: [(&str, &str); 2] =
    [("README.md", "README.zh.md"), ("docs/getting-started.md", "docs/getting-started.zh.md")];

#[test]
fn documents_in_two_languages_have_the_same_structure() {
    for (english, chinese) in PAIRS {
        let (english, chinese) = (document(english), document(chinese));
        let pair = format!("{} and {}", english.path, chinese.path);
        assert_eq!(levels(&english), levels(&chinese), "{pair}: headings");
        let blocks = |d: &Document| d.blocks.iter().map(without_comments).collect::<Vec<_>>();
        assert_eq!(blocks(&english), blocks(&chinese), "{pair}: blocks");
        assert_eq!(cells(&english), cells(&chinese), "{pair}: code in the tables");
        assert_eq!(links(&english), links(&chinese), "{pair}: links");
    }
}

#[test]
fn documents_in_two_languages_link_to_each_other_at_the_top() {
    for (english, chinese) in PAIRS {
        for (from, to) in [(english, chinese), (chinese, english)] {
            let name = to.rsplit('/').next().unwrap();
            let from_document = document(from);
            let top: Vec<&str> = from_document.text.lines().take(4).collect();
            assert!(
                top.iter().any(|l| l.contains(&format!("]({name})"))),
                "{from} has no link to {name} at its top"
            );
        }
    }
}

#[test]
fn chinese_documents_are_in_chinese() {
    let names = Regex::new(r"\[[^\]]*\]\([^)]*\)|`[^`\n]*`").unwrap();
    for (_, chinese) in PAIRS {
        let document = document(chinese);
        for part in names.replace_all(&document.prose, "").split("\n\n") {
            let is_text = part.chars().filter(|c| c.is_alphabetic()).count() > 40;
            let is_chinese = part.chars().any(|c| ('\u{4e00}'..'\u{9fff}').contains(&c));
            assert!(!is_text || is_chinese, "{chinese}: {part}");
        }
    }
}

/// Levels of the headings in order.
fn levels(document: &Document) -> Vec<usize> {
    let heading = Regex::new(r"(?m)^(#+) ").unwrap();
    heading.captures_iter(&document.prose).map(|c| c[1].len()).collect()
}

/// Block without its comments.
fn without_comments(block: &Block) -> Block {
    let comment = Regex::new(r"(?m)\s*#[^\n]*$").unwrap();
    Block { info: block.info.clone(), body: comment.replace_all(&block.body, "").into_owned() }
}

/// Code in each row of each table.
fn cells(document: &Document) -> Vec<Vec<Vec<String>>> {
    let code = Regex::new(r"`([^`]+)`").unwrap();
    let row = |cells: &Vec<String>| {
        let mut found: Vec<String> =
            cells.iter().flat_map(|c| code.captures_iter(c)).map(|c| c[1].to_owned()).collect();
        found.sort();
        found
    };
    document.tables().iter().map(|t| t.iter().map(row).collect()).collect()
}

/// Targets of the links of a document, without the language and without headings, which are translated.
fn links(document: &Document) -> Vec<String> {
    let link = Regex::new(r"\]\(([^)#\s]*)").unwrap();
    let mut all: Vec<String> =
        link.captures_iter(&document.prose).map(|c| c[1].replace(".zh.md", ".md")).collect();
    all.sort();
    all
}
