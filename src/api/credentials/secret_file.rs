//! Reading of files that hold secrets, without trust in the disk.
//!
//! Owns: one read at a time, so that a network share that hangs costs one thread and no more; a limit on size;
//! and a warning for files that others may read. Refuses: watching: files are looked at by path, so that
//! symbolic links may be swapped under it.

use std::{
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

/// Larger files hold no keys.
const MAX_BYTES: u64 = 64 * 1024;

/// Longest wait for a read.
const PATIENCE: Duration = Duration::from_secs(5);

/// All bits of a mode that let others than the owner and the readers of its group at a file.
const TOO_WIDE: u32 = 0o037;

/// The files of one account.
pub(super) struct BlockingReads {
    free: Arc<Semaphore>,
    reader: SecretFileReader,
}

/// Reads single files; runs on a thread that may block.
#[derive(Clone, Default)]
pub(super) struct SecretFileReader {
    has_warned: Arc<AtomicBool>,
}

impl Default for BlockingReads {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(1)), reader: SecretFileReader::default() }
    }
}

impl BlockingReads {
    /// Runs a read, unless the last one has not ended yet.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&SecretFileReader) -> Result<T, CredentialsError> + Send + 'static,
    ) -> Result<T, CredentialsError> {
        let hangs =
            || CredentialsError::Unusable("reading their files hangs, check the disk they are on".to_owned());
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_| hangs())?;
        let reader = self.reader.clone();
        let reading = tokio::task::spawn_blocking(move || {
            // The permit goes with the thread: the read goes on when the caller has given up.
            let _permit = permit;
            read(&reader)
        });
        timeout(PATIENCE, reading).await.map_err(|_| hangs())?.unwrap_or_else(|_| {
            Err(CredentialsError::Unusable("reading their files was interrupted".to_owned()))
        })
    }
}

impl SecretFileReader {
    /// The text of a file that holds a secret of the user's.
    pub(super) fn secret(&self, path: &Path) -> Result<SecretString, CredentialsError> {
        let file = open(path)?;
        let mode = file.metadata().map_err(|error| cannot(path, &error))?.permissions().mode() & 0o777;
        if mode & TOO_WIDE != 0 && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                file = %path.display(),
                mode = %format_args!("{mode:04o}"),
                "a file of credentials can be read by others, give it mode 0640 or less; this is said once"
            );
        }
        text(path, file)
    }

    /// The text of a file whose mode is not the user's to choose.
    pub(super) fn issued(&self, path: &Path) -> Result<SecretString, CredentialsError> {
        text(path, open(path)?)
    }
}

fn open(path: &Path) -> Result<std::fs::File, CredentialsError> {
    std::fs::File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            CredentialsError::Missing(format!("up {}, which is not there", path.display()))
        }
        _ => cannot(path, &error),
    })
}

fn text(path: &Path, file: std::fs::File) -> Result<SecretString, CredentialsError> {
    // All room at once: a text that grows leaves copies behind.
    let told = file.metadata().map_or(0, |metadata| metadata.len().min(MAX_BYTES));
    let mut text = String::with_capacity(usize::try_from(told).unwrap_or_default() + 64);
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    let text = SecretString::from(text);
    let length = read.map_err(|error| cannot(path, &error))? as u64;
    if length > MAX_BYTES {
        return Err(cannot(path, &"it is larger than 64 KiB"));
    }
    if text.expose_secret().trim().is_empty() {
        return Err(cannot(path, &"it is empty"));
    }
    Ok(text)
}

fn cannot(path: &Path, why: &dyn std::fmt::Display) -> CredentialsError {
    CredentialsError::Unusable(format!("cannot take a key from {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::sync::{atomic::AtomicUsize, mpsc};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_read_that_hangs_costs_one_thread_and_is_told_of() {
        let disk = Arc::new(BlockingReads::default());
        let started = Arc::<AtomicUsize>::default();
        let (release, released) = mpsc::channel::<()>();
        let count = Arc::clone(&started);
        let hanging = Arc::clone(&disk);
        let first = tokio::spawn(async move {
            hanging
                .read(move |_| {
                    count.fetch_add(1, Ordering::Relaxed);
                    _ = released.recv();
                    Ok(())
                })
                .await
        });
        tokio::task::yield_now().await;
        tokio::time::advance(PATIENCE).await;
        assert!(first.await.unwrap().unwrap_err().to_string().contains("hangs"));
        for _ in 0..10 {
            let count = Arc::clone(&started);
            let again = disk.read(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            assert!(again.await.unwrap_err().to_string().contains("hangs"));
        }
        assert!(started.load(Ordering::Relaxed) <= 1, "another thread was spent");
        drop(release);
        // The thread ends when it ends, and then files are read again.
        while disk.read(|_| Ok(())).await.is_err() {
            tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
        }
    }

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        let error = SecretFileReader::default().issued(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().ends_with("larger than 64 KiB"), "{error}");
    }
}
