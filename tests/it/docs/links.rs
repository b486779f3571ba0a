//! Links point to existing files and headings. Tests cannot request external addresses, so there are few of them, and each
//! host is listed.

use std::{collections::BTreeSet, fs};

use regex::Regex;

use super::{Document, documents, root};

/// Hosts that documents may link to.
const HOSTS: [&str; 1] = ["semver.org"];

/// Local hosts, for services that the reader has started.
const LOCAL: [&str; 2] = ["localhost", "127.0.0.1"];

#[test]
fn every_link_points_to_a_file_and_a_heading() {
    let link = Regex::new(r#"(?:\]\(|\b(?:src|href)=")([^)"\s]+)[)"]"#).unwrap();
    let (mut links, mut wrong) = (0, Vec::new());
    for document in documents() {
        for found in link.captures_iter(&document.prose) {
            let target = &found[1];
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').map_or((target, None), |(f, a)| (f, Some(a)));
            let own = root().join(&document.path);
            let path = if file.is_empty() { own } else { own.parent().unwrap().join(file) };
            let leads = path.exists()
                && anchor.is_none_or(|a| anchors(&fs::read_to_string(&path).unwrap()).contains(a));
            if !leads {
                wrong.push(format!("{} links to {target}", document.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(links > 100, "only {links} links");
}

#[test]
fn every_external_address_is_https_on_a_listed_host() {
    let code = Regex::new(r"`[^`\n]+`").unwrap();
    let url = Regex::new(r#"(\w+)://([^/\s:)>"]+)"#).unwrap();
    for document in documents() {
        let bare = code.replace_all(&document.prose, "");
        for found in url.captures_iter(&bare) {
            let (scheme, host) = (&found[1], &found[2]);
            let known = match scheme {
                "https" => HOSTS.contains(&host),
                "http" => LOCAL.contains(&host),
                _ => false,
            };
            assert!(known, "{} links to {}", document.path, &found[0]);
        }
    }
}

#[test]
fn anchors_are_those_of_github() {
    let text = "# A `b.c` & d\n## 快速开始（10 分钟）\n### x_y: z\n## 1. One\n```sh run\n# no heading\n```\n## A `b.c` & d\n";
    let expected = ["a-bc--d", "快速开始10-分钟", "x_y-z", "1-one", "a-bc--d-1"].map(str::to_owned);
    assert_eq!(anchors(text), expected.into());
}

/// Anchors of headings, as GitHub generates them.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = Regex::new(r"(?m)^#+ +(.+)$").unwrap();
    let anchor = |title: &str| -> String {
        let title = title.to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    let mut all = BTreeSet::new();
    for found in heading.captures_iter(&Document::parse("", text).prose) {
        let first = anchor(&found[1]);
        let again = (1..).map(|n| format!("{first}-{n}"));
        let free = [first.clone()].into_iter().chain(again).find(|a| !all.contains(a));
        all.extend(free);
    }
    all
}
