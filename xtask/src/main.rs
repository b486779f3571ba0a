//! Generates files of the repository from the tables of the exporter.
//!
//! `cargo run -p xtask -- generate` writes them. `cargo run -p xtask -- check` fails if a committed file differs from
//! its generated text, as does a test.

use std::{
    env, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

mod chart;
mod dashboards;
mod documents;

/// A generated file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Generated {
    /// Path from the root of the repository.
    path: String,
    text: String,
}

/// Every generated file. Files made from other generated files use their new texts rather than those on disk.
fn generated(root: &Path) -> io::Result<Vec<Generated>> {
    let mut files = dashboards::files();
    files.extend(documents::files());
    files.extend(chart::files(root, &files)?);
    Ok(files)
}

fn main() -> ExitCode {
    let command = env::args().nth(1).unwrap_or_default();
    let result = match command.as_str() {
        "generate" => generate(&root()),
        "check" => check(&root()),
        _ => Err(io::Error::other("usage: cargo run -p xtask -- generate|check")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is closed, the exit code remains.
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
    let outdated: Vec<String> = generated(root)?
        .into_iter()
        .filter(|file| fs::read_to_string(root.join(&file.path)).ok().as_ref() != Some(&file.text))
        .map(|file| file.path)
        .collect();
    match outdated.is_empty() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "outdated: {}; run cargo run -p xtask -- generate and review the diff",
            outdated.join(", ")
        ))),
    }
}

fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_files_are_up_to_date() {
        check(&root()).unwrap();
    }
}
