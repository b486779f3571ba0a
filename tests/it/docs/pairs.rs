//! A page in Chinese says what its English one says: the same headings, commands, tables and links.

use regex::Regex;

use super::{Block, Document, document};

const PAIRS: [(&str, &str); 2] =
    [("README.md", "README.zh.md"), ("docs/getting-started.md", "docs/getting-started.zh.md")];

#[test]
fn pages_in_two_languages_are_parallel() {
    for (english, chinese) in PAIRS {
        let (english, chinese) = (document(english), document(chinese));
        let pair = format!("{} and {}", english.path, chinese.path);
        assert_eq!(levels(&english), levels(&chinese), "{pair}: headings");
        let blocks = |d: &Document| d.blocks.iter().map(without_comments).collect::<Vec<_>>();
        assert_eq!(blocks(&english), blocks(&chinese), "{pair}: blocks");
        assert_eq!(cells(&english), cells(&chinese), "{pair}: what is code in the tables");
        assert_eq!(links(&english), links(&chinese), "{pair}: links");
    }
}

#[test]
fn pages_in_two_languages_lead_to_each_other_at_the_top() {
    for (english, chinese) in PAIRS {
        for (from, to) in [(english, chinese), (chinese, english)] {
            let name = to.rsplit('/').next().unwrap();
            let page = document(from);
            let top: Vec<&str> = page.text.lines().take(4).collect();
            assert!(
                top.iter().any(|l| l.contains(&format!("]({name})"))),
                "{from} has no link to {name} at its top"
            );
        }
    }
}

#[test]
fn a_page_in_chinese_is_in_chinese() {
    let names = Regex::new(r"\[[^\]]*\]\([^)]*\)|`[^`\n]*`").unwrap();
    for (_, chinese) in PAIRS {
        let page = document(chinese);
        for part in names.replace_all(&page.prose, "").split("\n\n") {
            let is_text = part.chars().filter(|c| c.is_alphabetic()).count() > 40;
            let is_chinese = part.chars().any(|c| ('\u{4e00}'..'\u{9fff}').contains(&c));
            assert!(!is_text || is_chinese, "{chinese}: {part}");
        }
    }
}

/// The levels of the headings, in their order.
fn levels(document: &Document) -> Vec<usize> {
    let heading = Regex::new(r"(?m)^(#+) ").unwrap();
    heading.captures_iter(&document.prose).map(|c| c[1].len()).collect()
}

/// A block as a shell or a parser sees it.
fn without_comments(block: &Block) -> Block {
    let comment = Regex::new(r"(?m)\s*#[^\n]*$").unwrap();
    Block { info: block.info.clone(), body: comment.replace_all(&block.body, "").into_owned() }
}

/// What is code in each row of each table.
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

/// Where a page leads, but for the language and for headings, which are named in it.
fn links(document: &Document) -> Vec<String> {
    let link = Regex::new(r"\]\(([^)#\s]*)").unwrap();
    let mut all: Vec<String> =
        link.captures_iter(&document.prose).map(|c| c[1].replace(".zh.md", ".md")).collect();
    all.sort();
    all
}
