//! Blocks of commands declare their requirements: `tests/docs/run` runs those marked `run`, the others require what their
//! mark says.

use std::{fs, os::unix::fs::PermissionsExt};

use regex::Regex;

use super::{documents, root};

/// Requirements that tests cannot meet. `tests/docs/run` has the same list.
const REQUIREMENTS: [&str; 6] = ["cloud", "docker", "cluster", "grafana", "host", "release"];

#[test]
fn every_block_of_commands_declares_its_requirements() {
    let mut runs = 0;
    let mut wrong = Vec::new();
    for document in documents() {
        for block in &document.blocks {
            let words: Vec<&str> = block.info.split_whitespace().collect();
            let right = match words.as_slice() {
                ["sh", "run"] => {
                    runs += 1;
                    true
                }
                // The URL must be on loopback.
                ["sh", "run", "background", url] => url.starts_with("http://127.0.0.1:"),
                ["sh", need] => REQUIREMENTS.contains(need),
                ["sh" | "bash" | "shell" | "console" | "zsh", ..] => false,
                _ => true,
            };
            if !right {
                wrong.push(format!("{}: ```{}\n{}", document.path, block.info, block.body));
            }
        }
    }
    assert!(wrong.is_empty(), "write ```sh run, or ```sh and one of {REQUIREMENTS:?}:\n{}", wrong.join("\n"));
    assert!(runs >= 10, "only {runs} blocks are run");
}

#[test]
fn the_runner_has_the_same_requirements() {
    let file = root().join("tests/docs/run");
    let runner = fs::read_to_string(&file).unwrap();
    let (_, rest) = runner.split_once("\nNEEDS = {\n").unwrap();
    let (table, _) = rest.split_once("\n}\n").unwrap();
    let word = Regex::new(r#"(?m)^    "(\w+)": "#).unwrap();
    let words: Vec<&str> = word.captures_iter(table).map(|c| c.get(1).unwrap().as_str()).collect();
    assert_eq!(words, REQUIREMENTS);
    assert_ne!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o100,
        0,
        "{} is executable",
        file.display()
    );
}
