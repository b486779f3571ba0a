//! Reading of files that contain secrets.
//!
//! Owns: reads, one at a time so that a network share that hangs blocks only one thread; a size limit; and a warning
//! about files that others may read. Files are opened by path each time, so symbolic links may be swapped.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::Semaphore,
    time::{Duration, timeout},
};

use super::CredentialsError;

/// Maximum size of a file.
const MAX_BYTES: u64 = 64 * 1024;

/// Timeout of a read.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Mode bits of files that are accessible to others than the owner and readers of the group.
const TOO_OPEN: u32 = 0o037;

/// File reads of one account.
pub(super) struct FileReads {
    slot: Arc<Semaphore>,
    reader: SecretFileReader,
}

/// Reads single files. Blocks.
#[derive(Clone, Default)]
pub(super) struct SecretFileReader {
    has_warned: Arc<AtomicBool>,
}

impl Default for FileReads {
    fn default() -> Self {
        Self { slot: Arc::new(Semaphore::new(1)), reader: SecretFileReader::default() }
    }
}

impl FileReads {
    /// Runs a read on a blocking thread. Fails immediately while the previous one hangs.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&SecretFileReader) -> Result<T, CredentialsError> + Send + 'static,
    ) -> Result<T, CredentialsError> {
        let hangs = || CredentialsError::unusable("reading the credential files hangs, check their disk");
        let slot = Arc::clone(&self.slot).try_acquire_owned().map_err(|_| hangs())?;
        let reader = self.reader.clone();
        let task = tokio::task::spawn_blocking(move || {
            // The thread keeps the slot, because the read continues after the timeout.
            let _slot = slot;
            read(&reader)
        });
        let interrupted = || CredentialsError::unusable("reading the credential files was interrupted");
        timeout(READ_TIMEOUT, task).await.map_err(|_| hangs())?.unwrap_or_else(|_| Err(interrupted()))
    }
}

impl SecretFileReader {
    /// Reads a file that only its owner and its group should be able to read.
    pub(super) fn read(&self, path: &Path) -> Result<SecretString, CredentialsError> {
        let file = open(path)?;
        let mode = file.metadata().map_err(|error| unreadable(path, &error))?.permissions().mode() & 0o777;
        if mode & TOO_OPEN != 0 && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                file = %path.display(),
                mode = %format_args!("{mode:04o}"),
                advice = "set its mode to 0640 or stricter",
                "credential file is accessible to other users, suppressing further warnings"
            );
        }
        read_text(path, file)
    }

    /// Reads a file whose mode is not chosen by the user.
    pub(super) fn read_any_mode(&self, path: &Path) -> Result<SecretString, CredentialsError> {
        read_text(path, open(path)?)
    }
}

fn open(path: &Path) -> Result<File, CredentialsError> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            CredentialsError::Missing(format!("up the file {}, which does not exist", path.display()))
        }
        _ => unreadable(path, &error),
    })
}

fn read_text(path: &Path, file: File) -> Result<SecretString, CredentialsError> {
    // Allocated at once, because a growing string leaves copies of the secret in memory.
    let size = file.metadata().map_or(0, |metadata| metadata.len().min(MAX_BYTES));
    let mut text = String::with_capacity(usize::try_from(size).unwrap_or_default() + 64);
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    let text = SecretString::from(text);
    let length = read.map_err(|error| unreadable(path, &error))? as u64;
    if length > MAX_BYTES {
        return Err(unreadable(path, &"it is larger than 64 KiB"));
    }
    if text.expose_secret().trim().is_empty() {
        return Err(unreadable(path, &"it is empty"));
    }
    Ok(text)
}

fn unreadable(path: &Path, reason: &dyn std::fmt::Display) -> CredentialsError {
    CredentialsError::unusable(format!("cannot read credentials from {}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::sync::{atomic::AtomicUsize, mpsc};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_read_that_hangs_blocks_one_thread_and_is_reported() {
        let files = Arc::new(FileReads::default());
        let started = Arc::<AtomicUsize>::default();
        let (release, released) = mpsc::channel::<()>();
        let count = Arc::clone(&started);
        let hanging = Arc::clone(&files);
        let first = tokio::spawn(async move {
            hanging
                .run(move |_| {
                    count.fetch_add(1, Ordering::Relaxed);
                    _ = released.recv();
                    Ok(())
                })
                .await
        });
        tokio::task::yield_now().await;
        tokio::time::advance(READ_TIMEOUT).await;
        assert!(first.await.unwrap().unwrap_err().to_string().contains("hangs"));
        for _ in 0..10 {
            let count = Arc::clone(&started);
            let again = files.run(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            assert!(again.await.unwrap_err().to_string().contains("hangs"));
        }
        assert!(started.load(Ordering::Relaxed) <= 1, "another thread was used");
        drop(release);
        // Once the thread ends, files are read again.
        while files.run(|_| Ok(())).await.is_err() {
            tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
        }
    }

    #[test]
    fn the_size_of_a_file_is_limited() {
        let error = SecretFileReader::default().read_any_mode(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().ends_with("larger than 64 KiB"), "{error}");
    }
}
