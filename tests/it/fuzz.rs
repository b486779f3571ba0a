//! Runs every fuzz seed through every fuzz target, so that the targets compile and run without a fuzzer. The fuzz crate is
//! its own workspace and needs a nightly toolchain, hence the `path` attribute.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path};

#[path = "../../fuzz/src/lib.rs"]
mod targets;

#[test]
fn every_seed_passes_every_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz.join(folder)).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    };
    let expected: BTreeSet<_> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("seeds"), expected, "each target has a folder of seeds");
    let files: BTreeSet<_> = names("targets").iter().map(|f| f.trim_end_matches(".rs").to_owned()).collect();
    assert_eq!(files, expected, "each target has a program");
    for folder in &expected {
        let seeds = names(&format!("seeds/{folder}"));
        assert!(!seeds.is_empty(), "{folder} has no seeds");
        for seed in seeds {
            let bytes = fs::read(fuzz.join("seeds").join(folder).join(&seed)).unwrap();
            for (target, run) in targets::TARGETS {
                // Shown only if the target fails.
                println!("seeds/{folder}/{seed} to {target}");
                run(&bytes);
            }
        }
    }
}
