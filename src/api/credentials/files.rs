//! Credentials from files, which may be replaced while the program runs (Kubernetes secrets).
//!
//! Owns: reading id and secret as one generation, and keeping the last good pair while files are bad.
//! Refuses: watching: files are looked at by path, so that symbolic links may be swapped under it.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use super::{BoxFuture, Credentials, CredentialsError, ProvideCredentials};

/// Files are looked at no more often than this, unless a refresh is forced.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Larger files are not keys.
const MAX_BYTES: u64 = 64 * 1024;

/// How often files are read before they are said to be changing.
const READS: usize = 3;

/// Where the parts of the key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `access_key_id_file`.
    pub access_key_id: PathBuf,
    /// `access_key_secret_file`.
    pub access_key_secret: PathBuf,
    /// `security_token_file`.
    pub security_token: Option<PathBuf>,
}

/// Credentials from files, read again when they have changed.
#[derive(Debug)]
pub struct Files {
    paths: Paths,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    looked_at: Option<Instant>,
    good: Option<Arc<Credentials>>,
    /// Why the last look failed; told once to the log while a good pair is still held.
    failure: Option<CredentialsError>,
}

impl Files {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(paths: Paths) -> Self {
        Self { paths, state: Mutex::default() }
    }

    async fn current(&self, force_refresh: bool) -> Result<Arc<Credentials>, CredentialsError> {
        let mut state = self.state.lock().await;
        if force_refresh || state.looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            let paths = self.paths.clone();
            // Files may lie on a network; a hanging one must not hold the runtime.
            let read =
                tokio::task::spawn_blocking(move || read_generation(&paths)).await.unwrap_or_else(|_| {
                    Err(CredentialsError::Unusable("reading the credential files was interrupted".to_owned()))
                });
            state.looked_at = Some(Instant::now());
            state.take(read);
        }
        match (&state.good, &state.failure) {
            (Some(good), _) => Ok(Arc::clone(good)),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => Err(CredentialsError::Unusable("the credential files were not read".to_owned())),
        }
    }
}

impl State {
    fn take(&mut self, read: Result<Credentials, CredentialsError>) {
        match read {
            Ok(read) => {
                self.failure = None;
                if self.good.as_ref().is_none_or(|good| !good.is_same_as(&read)) {
                    tracing::info!(access_key_id = %format_args!("...{}", read.id_tail()), "credentials read from files");
                    self.good = Some(Arc::new(read));
                }
            }
            Err(failure) => {
                if self.good.is_some() && self.failure.as_ref() != Some(&failure) {
                    tracing::warn!(error = %failure, "the credential files are bad, the last good key is kept");
                }
                self.failure = Some(failure);
            }
        }
    }
}

impl ProvideCredentials for Files {
    fn credentials(&self, force_refresh: bool) -> BoxFuture<'_, Result<Arc<Credentials>, CredentialsError>> {
        Box::pin(self.current(force_refresh))
    }
}

/// The parts of one key: read, read again, and taken only if nothing changed in between. A swap of the
/// directory between two reads shows in the second reading.
fn read_generation(paths: &Paths) -> Result<Credentials, CredentialsError> {
    let mut last = read_parts(paths)?;
    for _ in 0..READS {
        let again = read_parts(paths)?;
        if again.iter().map(expose).eq(last.iter().map(expose)) {
            let mut parts = again.iter().map(expose);
            let mut part = || parts.next().flatten().unwrap_or_default();
            let (id, secret) = (part(), part());
            return Credentials::new(id, secret, paths.security_token.as_ref().map(|_| part()));
        }
        last = again;
    }
    Err(CredentialsError::Unusable("the credential files change while they are read".to_owned()))
}

fn expose(part: &Option<SecretString>) -> Option<&str> {
    part.as_ref().map(|part| part.expose_secret())
}

fn read_parts(paths: &Paths) -> Result<[Option<SecretString>; 3], CredentialsError> {
    Ok([
        Some(read_part(&paths.access_key_id)?),
        Some(read_part(&paths.access_key_secret)?),
        paths.security_token.as_deref().map(read_part).transpose()?,
    ])
}

fn read_part(path: &Path) -> Result<SecretString, CredentialsError> {
    let fail = |why: &dyn std::fmt::Display| {
        CredentialsError::Unusable(format!("cannot take a key from {}: {why}", path.display()))
    };
    let file = std::fs::File::open(path).map_err(|error| fail(&error))?;
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    let text = SecretString::from(text);
    let length = read.map_err(|error| fail(&error))? as u64;
    if length > MAX_BYTES {
        return Err(fail(&"it is larger than 64 KiB"));
    }
    if text.expose_secret().trim().is_empty() {
        return Err(fail(&"it is empty"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// A directory as the kubelet lays it out: files are links through `..data`, which is swapped at once.
    struct Mount(PathBuf);

    impl Mount {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("alikafka-exporter-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(&root).unwrap();
            for file in ["id", "secret"] {
                symlink(Path::new("..data").join(file), root.join(file)).unwrap();
            }
            Self(root)
        }

        fn publish(&self, generation: usize, id: &str, secret: &str) {
            let name = format!("..generation{generation}");
            fs::create_dir_all(self.0.join(&name)).unwrap();
            fs::write(self.0.join(&name).join("id"), id).unwrap();
            fs::write(self.0.join(&name).join("secret"), secret).unwrap();
            let fresh = self.0.join("..data_tmp");
            symlink(&name, &fresh).unwrap();
            fs::rename(&fresh, self.0.join("..data")).unwrap();
            if generation >= 2 {
                let _ = fs::remove_dir_all(self.0.join(format!("..generation{}", generation - 2)));
            }
        }

        fn paths(&self) -> Paths {
            Paths {
                access_key_id: self.0.join("id"),
                access_key_secret: self.0.join("secret"),
                security_token: None,
            }
        }
    }

    impl Drop for Mount {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn no_mixed_pair_is_ever_read_while_generations_are_swapped() {
        let mount = Mount::new("swap");
        mount.publish(0, "id-0\n", "secret-0\n");
        let paths = mount.paths();
        let done = AtomicBool::new(false);
        let good = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut good = 0;
                while !done.load(Ordering::Relaxed) {
                    // A read may fail while the files move; it must not succeed with a mixed pair.
                    if let Ok(read) = read_generation(&paths) {
                        let key = read.key();
                        assert_eq!(key.id.strip_prefix("id-"), key.secret.strip_prefix("secret-"));
                        good += 1;
                    }
                }
                good
            });
            for generation in 1..=1_000 {
                mount.publish(generation, &format!("id-{generation}\n"), &format!("secret-{generation}\n"));
            }
            done.store(true, Ordering::Relaxed);
            reader.join().unwrap()
        });
        assert!(good > 0);
        assert_eq!(read_generation(&paths).unwrap().access_key_id, "id-1000");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_generation_is_taken_within_seconds_and_a_bad_one_keeps_the_last_good_pair() {
        let mount = Mount::new("rotate");
        mount.publish(0, "id-0", "secret-0");
        let files = Files::new(mount.paths());
        let id = async |force| files.credentials(force).await.unwrap().access_key_id.clone();
        assert_eq!(id(false).await, "id-0");

        mount.publish(1, "id-1", "secret-1");
        assert_eq!(id(false).await, "id-0", "looked at again too early");
        assert_eq!(id(true).await, "id-1", "a forced refresh reads at once");

        mount.publish(2, "id-2", "");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(id(false).await, "id-1", "half a generation was taken");

        mount.publish(3, "id-3", "secret-3");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(id(false).await, "id-3");
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_were_never_good_are_named() {
        let mount = Mount::new("missing");
        let files = Files::new(mount.paths());
        let error = files.credentials(false).await.unwrap_err().to_string();
        assert!(error.contains("rotate") || error.contains("missing"), "{error}");
        assert!(error.contains("id: "), "{error}");
    }
}
