//! Access key in files, which may be replaced at run time, e.g. Kubernetes secrets.

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    Credentials, CredentialsError, FetchResult, FetchedCredentials, context::SourceContext,
    secret_file::SecretFileReader,
};
use crate::model::credentials::KeyFilePaths;

/// Number of rereads before files count as changing.
const MAX_REREADS: usize = 3;

/// Reads the key from files.
pub(super) async fn fetch(context: &SourceContext, paths: &KeyFilePaths) -> FetchResult {
    let paths = paths.clone();
    let credentials = context.files.run(move |reader| read_generation(reader, &paths)).await?;
    Ok(FetchedCredentials::permanent(credentials, "files"))
}

/// Reads the parts of the key until two consecutive reads are equal. A swap of the directory between two reads makes
/// them differ, so parts of different generations are never mixed.
fn read_generation(reader: &SecretFileReader, paths: &KeyFilePaths) -> Result<Credentials, CredentialsError> {
    let mut last = read_parts(reader, paths)?;
    for _ in 0..MAX_REREADS {
        let parts = read_parts(reader, paths)?;
        let texts = parts.each_ref().map(expose);
        if texts == last.each_ref().map(expose) {
            let [id, secret, token] = texts;
            return Credentials::new(id.unwrap_or_default(), secret.unwrap_or_default(), token);
        }
        last = parts;
    }
    Err(CredentialsError::unusable("the credential files change while they are read"))
}

fn expose(part: &Option<SecretString>) -> Option<&str> {
    part.as_ref().map(|part| part.expose_secret())
}

fn read_parts(
    reader: &SecretFileReader,
    paths: &KeyFilePaths,
) -> Result<[Option<SecretString>; 3], CredentialsError> {
    Ok([
        Some(reader.read_any_mode(&paths.access_key_id)?),
        Some(reader.read(&paths.access_key_secret)?),
        paths.security_token.as_deref().map(|path| reader.read(path)).transpose()?,
    ])
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::{Path, PathBuf},
        sync::Arc,
        sync::atomic::{AtomicBool, Ordering},
    };

    use tokio::time::Duration;

    use super::{
        super::{
            ProvideCredentials,
            context::tests::settings,
            provider,
            refreshing::tests::{RecordingObserver, capture_log},
        },
        *,
    };
    use crate::model::credentials::SourceSelection;

    /// Returns a provider of files and its observer.
    fn file_provider(paths: KeyFilePaths) -> (Arc<dyn ProvideCredentials>, Arc<RecordingObserver>) {
        let observer = Arc::<RecordingObserver>::default();
        let observed = Arc::<RecordingObserver>::clone(&observer);
        (provider(SourceSelection::Files(paths), None, settings(&[]), observed).unwrap(), observer)
    }

    /// Waits for a condition. Reads end on a thread that paused time does not wait for.
    async fn wait_until(condition: impl AsyncFn() -> bool) {
        for _ in 0..2_000 {
            if condition().await {
                return;
            }
            tokio::task::spawn_blocking(|| std::thread::park_timeout(Duration::from_millis(5)))
                .await
                .unwrap();
        }
        panic!("the condition was never met");
    }

    /// A directory like those of the kubelet: files are links through `..data`, which is swapped atomically.
    struct KubernetesMount(PathBuf);

    impl KubernetesMount {
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

    impl Drop for KubernetesMount {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn generations_are_never_mixed() {
        let mount = KubernetesMount::new("swap");
        mount.publish(0, "id-0\n", "secret-0\n");
        let paths = mount.paths();
        let done = AtomicBool::new(false);
        let successes = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut successes = 0;
                while !done.load(Ordering::Relaxed) {
                    // A read may fail while the files move; it must not succeed with a mixed pair.
                    if let Ok(read) = read_generation(&SecretFileReader::default(), &paths) {
                        let key = read.key();
                        assert_eq!(key.id.strip_prefix("id-"), key.secret.strip_prefix("secret-"));
                        successes += 1;
                    }
                }
                successes
            });
            for generation in 1..=1_000 {
                mount.publish(generation, &format!("id-{generation}\n"), &format!("secret-{generation}\n"));
            }
            done.store(true, Ordering::Relaxed);
            reader.join().unwrap()
        });
        assert!(successes > 0);
        assert_eq!(read_generation(&SecretFileReader::default(), &paths).unwrap().access_key_id, "id-1000");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_generation_is_used_within_seconds_and_an_invalid_one_is_not() {
        let mount = KubernetesMount::new("rotate");
        mount.publish(0, "id-0", "secret-0");
        let (files, observer) = file_provider(mount.paths());
        let id = async |force| files.credentials(force).await.unwrap().access_key_id.clone();
        assert_eq!(id(false).await, "id-0");

        mount.publish(1, "id-1", "secret-1");
        assert_eq!(id(true).await, "id-1", "a forced refresh reads at once");

        mount.publish(2, "id-2", "");
        tokio::time::advance(Duration::from_secs(3)).await;
        wait_until(async || {
            assert_eq!(id(false).await, "id-1", "an incomplete generation was used");
            observer.failures() > 0
        })
        .await;

        mount.publish(3, "id-3", "secret-3");
        tokio::time::advance(Duration::from_secs(3)).await;
        wait_until(async || id(false).await == "id-3").await;
    }

    #[tokio::test]
    async fn missing_files_are_named() {
        let mount = KubernetesMount::new("missing");
        let error = file_provider(mount.paths()).0.credentials(false).await.unwrap_err().to_string();
        assert!(
            error.starts_with("no credentials: set up the file ")
                && error.ends_with("/id, which does not exist"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_accessible_to_others_is_logged_once() {
        let mount = KubernetesMount::new("mode");
        mount.publish(0, "id-0", "secret-0");
        let mode =
            |mode| fs::set_permissions(mount.0.join("secret"), fs::Permissions::from_mode(mode)).unwrap();
        let warnings = |mode_of_file| {
            mode(mode_of_file);
            let reader = SecretFileReader::default();
            let (subscriber, log) = capture_log();
            tracing::subscriber::with_default(subscriber, || {
                for _ in 0..3 {
                    read_generation(&reader, &mount.paths()).unwrap();
                }
            });
            log.lines()
        };
        for restricted in [0o600, 0o640, 0o440, 0o400] {
            assert_eq!(warnings(restricted), Vec::<String>::new(), "{restricted:o}");
        }
        for open in [0o644, 0o660, 0o604] {
            let lines = warnings(open);
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(
                lines[0].contains(&format!("mode=0{open:o}")) && !lines[0].contains("secret-0"),
                "{lines:?}"
            );
        }
    }
}
