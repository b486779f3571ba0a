//! Reads the configuration file: with a size limit and, on a reload, not while another process writes it.

use std::{collections::BTreeMap, io::Read as _, path::Path, thread, time::Duration};

use zeroize::Zeroizing;

use super::{
    Config,
    problem::{Problem, Problems, ValueSource},
    yaml,
};

/// Maximum size of the file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Maximum number of changes of the file while waiting for it to settle.
const MAX_CHANGES: usize = 20;

/// Loads and checks the configuration from a file, if any, and the environment, which overrides the file.
///
/// # Errors
/// All [`Problems`]. An unreadable file or a YAML syntax error is reported alone.
pub fn load(file: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Config, Problems> {
    match file {
        None => super::parse(None, environment),
        Some(path) => super::parse(Some((&name(path), &read(path)?)), environment),
    }
}

/// Like [`load`], but waits until the file has not changed for `settle_time`, because another process may be writing
/// it. Blocks the thread.
///
/// # Errors
/// As [`load`], and for a file that does not settle, or that is empty, e.g. because of a full disk.
pub fn load_settled(
    file: Option<&Path>,
    environment: &BTreeMap<String, String>,
    settle_time: Duration,
) -> Result<Config, Problems> {
    let Some(path) = file else { return super::parse(None, environment) };
    let mut text = read(path);
    for _ in 0..MAX_CHANGES {
        thread::park_timeout(settle_time);
        let again = read(path);
        if again == text {
            let text = text?;
            if text.trim().is_empty() {
                return Err(file_problem(path, "is empty", "write the configuration into it"));
            }
            return super::parse(Some((&name(path), &text)), environment);
        }
        text = again;
    }
    Err(file_problem(path, "is being written to", "retry when it is complete"))
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

fn file_problem(path: &Path, what: &str, instead: &str) -> Problems {
    problem(path, format!("{} {what}", path.display()), instead)
}

fn problem(path: &Path, what: String, instead: &str) -> Problems {
    Problems::new(Some(&name(path)), vec![Problem::new(&ValueSource::Nowhere, yaml::FILE, what, instead)])
}

fn read(path: &Path) -> Result<Zeroizing<String>, Problems> {
    let name = path.display();
    let unreadable = |error: std::io::Error| {
        let what = format!("cannot read {name}: {}", describe(&error));
        problem(path, what, "give the path of a readable file")
    };
    let mut bytes = Zeroizing::new(read_at_most(path, MAX_FILE_BYTES + 1).map_err(unreadable)?);
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(file_problem(path, "is larger than 1 MiB", "give the path of a configuration file"));
    }
    match String::from_utf8(std::mem::take(&mut bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(file_problem(path, "is not UTF-8 text", "save the file as UTF-8"))
        }
    }
}

/// Reads at most `max` bytes. Does not trust the reported size, which is 0 for devices and pipes.
fn read_at_most(path: &Path, max: u64) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let size = usize::try_from(file.metadata()?.len().min(max)).unwrap_or_default();
    // Reserve all memory at once, because a growing vector leaves copies of secrets behind.
    let mut bytes = Vec::with_capacity(size + 64);
    file.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the text of an I/O error without its number.
fn describe(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    words.chars().next().map_or_else(String::new, |c| c.to_lowercase().chain(words.chars().skip(1)).collect())
}
