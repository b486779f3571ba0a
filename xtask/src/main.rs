//! Writes every file of the repository that is generated, from the tables of the product.
//!
//! `cargo run -p xtask -- generate` writes them, `cargo run -p xtask -- check` says which are not as they would be
//! written. A test does the same, so what has drifted fails. Nothing else of the repository is touched.

use std::{
    env, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

mod chart;
mod dashboards;
mod documents;

/// A file that is generated.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Generated {
    /// Where it lies, from the root of the repository.
    path: String,
    /// All of its text.
    text: String,
}

/// Every generated file. What is made of other generated files takes them from here, not from the disk.
fn generated(root: &Path) -> io::Result<Vec<Generated>> {
    let mut files = dashboards::files();
    files.extend(documents::files());
    files.extend(chart::files(root, &files)?);
    Ok(files)
}

fn main() -> ExitCode {
    let verb = env::args().nth(1).unwrap_or_default();
    let done = match verb.as_str() {
        "generate" => generate(&root()),
        "check" => check(&root()),
        _ => Err(io::Error::other("usage: cargo run -p xtask -- generate|check")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is closed.
            _ = writeln!(io::stderr(), "xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(root: &Path) -> io::Result<()> {
    for file in generated(root)? {
        let path = root.join(&file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, file.text)?;
    }
    Ok(())
}

fn check(root: &Path) -> io::Result<()> {
    let drifted: Vec<String> = generated(root)?
        .into_iter()
        .filter(|file| fs::read_to_string(root.join(&file.path)).ok().as_ref() != Some(&file.text))
        .map(|file| file.path)
        .collect();
    match drifted.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "not as generated: {}; run cargo run -p xtask -- generate, and read the diff",
            drifted.join(", ")
        ))),
    }
}

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_what_is_generated() {
        check(&root()).unwrap();
    }
}
