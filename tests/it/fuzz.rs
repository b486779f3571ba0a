//! Runs every fuzz target on every seed and test fixture, so that the targets are compiled and run without a fuzzer.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[path = "../../fuzz/src/lib.rs"]
mod targets;

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// Returns all files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = names(folder).into_iter().map(|name| folder.join(name));
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn every_seed_passes_every_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (seeds, fixtures) = (root.join("fuzz/seeds"), root.join("tests/fixtures"));
    let expected: BTreeSet<_> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&seeds), expected, "each target has a folder of seeds");
    let programs = names(&root.join("fuzz/targets"));
    let programs: BTreeSet<_> = programs.iter().map(|f| f.trim_end_matches(".rs").to_owned()).collect();
    assert_eq!(programs, expected, "each target has a program");
    for target in &expected {
        assert!(!names(&seeds.join(target)).is_empty(), "{target} has no seeds");
    }
    for path in files(&seeds).into_iter().chain(files(&fixtures)) {
        let bytes = fs::read(&path).unwrap();
        for (target, run) in targets::TARGETS {
            // Shown only if the target fails.
            println!("{} to {target}", path.display());
            run(&bytes);
        }
    }
}
