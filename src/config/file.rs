//! The file itself: read whole, of bounded size, and for a reload not while somebody writes it.

use std::{collections::BTreeMap, io::Read as _, path::Path, thread, time::Duration};

use zeroize::Zeroizing;

use super::{
    Config,
    problem::{Problem, Problems, ValueSource},
    yaml,
};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// So often a file may be found changed before it is refused.
const MOST_CHANGES: usize = 20;

/// Reads a file, if one is given, lays the environment over it, and checks the whole.
///
/// # Errors
/// [`Problems`]: everything that is wrong; what cannot be read or is not YAML stands alone.
pub fn load(file: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Config, Problems> {
    match file {
        None => super::parse(None, environment),
        Some(path) => super::parse(Some((&name(path), &read(path)?)), environment),
    }
}

/// The same for a file that may be written to right now: it is taken once it has not changed for `moment`.
/// One that is empty then was emptied, by a full disk or by mistake, and is refused. Blocks its thread.
///
/// # Errors
/// As [`load`], and for a file that does not settle or is empty.
pub fn load_settled(
    file: Option<&Path>,
    environment: &BTreeMap<String, String>,
    moment: Duration,
) -> Result<Config, Problems> {
    let Some(path) = file else { return super::parse(None, environment) };
    let mut text = read(path);
    for _ in 0..MOST_CHANGES {
        thread::park_timeout(moment);
        let again = read(path);
        if again == text {
            let text = text?;
            if text.trim().is_empty() {
                return Err(refused(path, "is empty", "write the configuration into it"));
            }
            return super::parse(Some((&name(path), &text)), environment);
        }
        text = again;
    }
    Err(refused(path, "is being written to", "ask again when it is complete"))
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

fn refused(path: &Path, what: &str, instead: &str) -> Problems {
    refuse(path, format!("{} {what}", path.display()), instead)
}

fn refuse(path: &Path, what: String, instead: &str) -> Problems {
    Problems::new(Some(&name(path)), vec![Problem::new(&ValueSource::Nowhere, yaml::FILE, what, instead)])
}

fn read(path: &Path) -> Result<Zeroizing<String>, Problems> {
    let name = path.display();
    let unreadable = |error: std::io::Error| {
        let what = format!("cannot read {name}: {}", describe(&error));
        refuse(path, what, "give the path of a readable file")
    };
    let mut bytes = Zeroizing::new(read_at_most(path, MAX_FILE + 1).map_err(unreadable)?);
    if bytes.len() as u64 > MAX_FILE {
        return Err(refused(path, "is larger than 1 MiB", "give the path of a configuration file"));
    }
    match String::from_utf8(std::mem::take(&mut bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(refused(path, "is not UTF-8 text", "save the file as UTF-8"))
        }
    }
}

/// Reads no more than that, whatever the file says of its size: devices and pipes say 0.
fn read_at_most(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let told = usize::try_from(file.metadata()?.len().min(most)).unwrap_or_default();
    // All room at once: a vector that grows leaves copies behind, which may hold secrets.
    let mut bytes = Vec::with_capacity(told + 64);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An I/O error in words, without the number.
fn describe(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    words.chars().next().map_or_else(String::new, |c| c.to_lowercase().chain(words.chars().skip(1)).collect())
}
