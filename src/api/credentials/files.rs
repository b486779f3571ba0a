//! Credentials from files, which may be replaced while the program runs (Kubernetes secrets).
//!
//! Owns: reading id and secret as one generation. Refuses: mixed generations.

use std::{path::PathBuf, sync::Arc};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    BoxFuture, CredentialSource, Credentials, CredentialsError, FetchedCredentials, context::SourceContext,
    secret_file::SecretFileReader,
};

/// How often files are read before they are said to be changing.
const READS: usize = 3;

/// The name of this source.
const NAME: &str = "files";

/// Where the parts of the key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFilePaths {
    /// `access_key_id_file`.
    pub access_key_id: PathBuf,
    /// `access_key_secret_file`.
    pub access_key_secret: PathBuf,
    /// `security_token_file`.
    pub security_token: Option<PathBuf>,
}

/// Credentials from files.
pub(super) struct FileSource {
    pub(super) services: Arc<SourceContext>,
    pub(super) paths: KeyFilePaths,
}

impl CredentialSource for FileSource {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>> {
        Box::pin(async {
            let paths = self.paths.clone();
            let read = self.services.disk.read(move |disk| read_generation(disk, &paths)).await?;
            Ok(FetchedCredentials::lasting(read, NAME))
        })
    }
}

/// The parts of one key: read, read again, and taken only if nothing changed in between. A swap of the
/// directory between two reads shows in the second reading.
fn read_generation(disk: &SecretFileReader, paths: &KeyFilePaths) -> Result<Credentials, CredentialsError> {
    let mut last = read_parts(disk, paths)?;
    for _ in 0..READS {
        let again = read_parts(disk, paths)?;
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

fn read_parts(
    disk: &SecretFileReader,
    paths: &KeyFilePaths,
) -> Result<[Option<SecretString>; 3], CredentialsError> {
    Ok([
        Some(disk.issued(&paths.access_key_id)?),
        Some(disk.secret(&paths.access_key_secret)?),
        paths.security_token.as_deref().map(|path| disk.secret(path)).transpose()?,
    ])
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::Path,
        sync::atomic::{AtomicBool, Ordering},
    };

    use tokio::time::Duration;

    use super::{
        super::{
            ProvideCredentials, SourceSelection,
            context::tests::setup,
            provider,
            refreshing::tests::{RecordingObserver, log},
        },
        *,
    };

    /// As the daemon has it, with how often reading failed.
    fn held(paths: KeyFilePaths) -> (Arc<dyn ProvideCredentials>, Arc<RecordingObserver>) {
        let told = Arc::<RecordingObserver>::default();
        let held =
            provider(SourceSelection::Files(paths), None, setup(&[]), Arc::<RecordingObserver>::clone(&told))
                .unwrap();
        (held, told)
    }

    /// A read ends on its own thread, which paused time does not wait for.
    async fn until(holds: impl AsyncFn() -> bool) {
        for _ in 0..2_000 {
            if holds().await {
                return;
            }
            tokio::task::spawn_blocking(|| std::thread::park_timeout(Duration::from_millis(5)))
                .await
                .unwrap();
        }
        panic!("it never came true");
    }

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

        fn paths(&self) -> KeyFilePaths {
            KeyFilePaths {
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
                    if let Ok(read) = read_generation(&SecretFileReader::default(), &paths) {
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
        assert_eq!(read_generation(&SecretFileReader::default(), &paths).unwrap().access_key_id, "id-1000");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_generation_is_taken_within_seconds_and_a_bad_one_keeps_the_last_good_pair() {
        let mount = Mount::new("rotate");
        mount.publish(0, "id-0", "secret-0");
        let (files, told) = held(mount.paths());
        let id = async |force| files.credentials(force).await.unwrap().access_key_id.clone();
        assert_eq!(id(false).await, "id-0");

        mount.publish(1, "id-1", "secret-1");
        assert_eq!(id(true).await, "id-1", "a forced refresh reads at once");

        mount.publish(2, "id-2", "");
        tokio::time::advance(Duration::from_secs(3)).await;
        until(async || {
            assert_eq!(id(false).await, "id-1", "half a generation was taken");
            told.failures() > 0
        })
        .await;

        mount.publish(3, "id-3", "secret-3");
        tokio::time::advance(Duration::from_secs(3)).await;
        until(async || id(false).await == "id-3").await;
    }

    #[tokio::test]
    async fn files_that_were_never_good_are_named() {
        let mount = Mount::new("missing");
        let error = held(mount.paths()).0.credentials(false).await.unwrap_err().to_string();
        assert!(
            error.starts_with("no credentials: set up ") && error.ends_with("/id, which is not there"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_others_may_read_is_told_once() {
        let mount = Mount::new("mode");
        mount.publish(0, "id-0", "secret-0");
        let mode =
            |mode| fs::set_permissions(mount.0.join("secret"), fs::Permissions::from_mode(mode)).unwrap();
        let warnings = |mode_of_file| {
            mode(mode_of_file);
            let reader = SecretFileReader::default();
            let (subscriber, log) = log();
            tracing::subscriber::with_default(subscriber, || {
                for _ in 0..3 {
                    read_generation(&reader, &mount.paths()).unwrap();
                }
            });
            log.lines()
        };
        for narrow in [0o600, 0o640, 0o440, 0o400] {
            assert_eq!(warnings(narrow), Vec::<String>::new(), "{narrow:o}");
        }
        for wide in [0o644, 0o660, 0o604] {
            let told = warnings(wide);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(
                told[0].contains(&format!("mode=0{wide:o}")) && !told[0].contains("secret-0"),
                "{told:?}"
            );
        }
    }
}
