//! Chain of the sources of Alibaba Cloud's own tools, in their order. The first source that provides a key is used.
//!
//! The chain keeps to the source it has selected for the life of the process: all later keys come from it, so that a
//! failure cannot change the identity.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};

use super::{BoxFuture, CredentialSource, CredentialsError, FetchResult};

/// Pause of a speculative source after a failure.
const SPECULATIVE_PAUSE: Duration = Duration::from_secs(60);

/// One source of the chain.
pub(super) struct ChainedSource {
    pub(super) name: &'static str,
    pub(super) source: Box<dyn CredentialSource>,
    /// Whether the source is tried without any sign that it exists. It pauses after a failure.
    pub(super) is_speculative: bool,
}

/// Sources in order of preference.
pub(super) struct SourceChain {
    sources: Vec<ChainedSource>,
    state: Mutex<ChainState>,
}

#[derive(Default)]
struct ChainState {
    /// Index of the source that provided the first key.
    selected: Option<usize>,
    /// End of the pause of the speculative source, and its error.
    pause: Option<(Instant, CredentialsError)>,
}

impl SourceChain {
    pub(super) fn new(sources: Vec<ChainedSource>) -> Self {
        Self { sources, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, ChainState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_key(&self) -> FetchResult {
        let selected = self.state().selected;
        match selected.and_then(|index| self.sources.get(index)) {
            Some(source) => source
                .source
                .fetch()
                .await
                .map_err(|error| CredentialsError::Unusable(named_error(source, &error))),
            None => self.select_source().await,
        }
    }

    async fn select_source(&self) -> FetchResult {
        let (mut missing, mut failed, mut speculative) = (None, Vec::new(), None);
        for (index, source) in self.sources.iter().enumerate() {
            match self.try_source(source).await {
                Ok(fetched) => {
                    self.state().selected = Some(index);
                    if !failed.is_empty() {
                        tracing::warn!(errors = failed.join("; "), "configured credential sources failed");
                    }
                    return Ok(fetched);
                }
                Err(CredentialsError::Missing(what)) => missing = missing.or(Some(what)),
                Err(error) if source.is_speculative => speculative = Some(named_error(source, &error)),
                Err(error) => failed.push(named_error(source, &error)),
            }
        }
        Err(match (missing, speculative) {
            (Some(what), None) if failed.is_empty() => CredentialsError::Missing(what),
            // Outside of the cloud the speculative source always fails, which is not an error.
            (Some(what), Some(error)) if failed.is_empty() => {
                CredentialsError::Missing(format!("{what} (tried {error})"))
            }
            (_, error) => {
                failed.extend(error);
                CredentialsError::Unusable(format!("no source provides a key: {}", failed.join("; ")))
            }
        })
    }

    async fn try_source(&self, source: &ChainedSource) -> FetchResult {
        if !source.is_speculative {
            return source.source.fetch().await;
        }
        let pause = self.state().pause.clone();
        if let Some((_, error)) = pause.filter(|(until, _)| Instant::now() < *until) {
            return Err(error);
        }
        let fetched = source.source.fetch().await;
        let pause = fetched.as_ref().err().map(|error| (Instant::now() + SPECULATIVE_PAUSE, error.clone()));
        self.state().pause = pause;
        fetched
    }
}

impl CredentialSource for SourceChain {
    fn fetch(&self) -> BoxFuture<'_, FetchResult> {
        Box::pin(self.fetch_key())
    }
}

fn named_error(source: &ChainedSource, error: &CredentialsError) -> String {
    match error {
        CredentialsError::Missing(what) => format!("{}: set {what}", source.name),
        CredentialsError::Unusable(reason) => format!("{}: {reason}", source.name),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::time::advance;

    use super::*;
    use crate::api::credentials::{Credentials, FetchedCredentials, refreshing::tests::capture_log};

    /// Source with a behaviour that tests change.
    #[derive(Clone)]
    struct SwitchableSource(Arc<Mutex<SourceBehaviour>>, Arc<AtomicUsize>);

    #[derive(Clone, Copy)]
    enum SourceBehaviour {
        Missing,
        Fails,
        Provides(u64),
    }

    impl SwitchableSource {
        fn new(behaviour: SourceBehaviour) -> Self {
            Self(Arc::new(Mutex::new(behaviour)), Arc::default())
        }

        fn set(&self, behaviour: SourceBehaviour) {
            *self.0.lock().unwrap() = behaviour;
        }

        fn fetches(&self) -> usize {
            self.1.load(Ordering::Relaxed)
        }
    }

    impl CredentialSource for SwitchableSource {
        fn fetch(&self) -> BoxFuture<'_, FetchResult> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let behaviour = *self.0.lock().unwrap();
            Box::pin(std::future::ready(match behaviour {
                SourceBehaviour::Missing => Err(CredentialsError::Missing("something".to_owned())),
                SourceBehaviour::Fails => Err(CredentialsError::Unusable("it is down".to_owned())),
                SourceBehaviour::Provides(seconds) => {
                    Credentials::new("id", "secret", None).map(|credentials| FetchedCredentials {
                        credentials,
                        remaining: Some(Duration::from_secs(seconds)),
                        source: "test".to_owned(),
                    })
                }
            }))
        }
    }

    fn chain(
        first: &SwitchableSource,
        second: &SwitchableSource,
        speculative: &SwitchableSource,
    ) -> SourceChain {
        let link = |name, source: &SwitchableSource, is_speculative| ChainedSource {
            name,
            source: Box::new(source.clone()),
            is_speculative,
        };
        SourceChain::new(vec![
            link("first", first, false),
            link("speculative", speculative, true),
            link("second", second, false),
        ])
    }

    async fn error(chain: &SourceChain) -> String {
        chain.fetch().await.map(|_| ()).unwrap_err().to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_source_with_a_key_is_selected_for_good() {
        let [first, second, speculative] =
            [SourceBehaviour::Missing, SourceBehaviour::Provides(900), SourceBehaviour::Fails]
                .map(SwitchableSource::new);
        let chain = chain(&first, &second, &speculative);
        chain.fetch().await.unwrap();
        assert_eq!([first.fetches(), speculative.fetches(), second.fetches()], [1, 1, 1]);

        // An earlier source works now, but it is not tried.
        first.set(SourceBehaviour::Provides(900));
        chain.fetch().await.unwrap();
        assert_eq!([first.fetches(), second.fetches()], [1, 2]);

        // The selected source fails: no other identity replaces it, not even after its key has expired.
        second.set(SourceBehaviour::Fails);
        assert_eq!(error(&chain).await, "unusable credentials: second: it is down");
        advance(Duration::from_secs(900)).await;
        assert_eq!(error(&chain).await, "unusable credentials: second: it is down");
        assert_eq!(first.fetches(), 1);

        // Nor when its configuration is missing for a while.
        second.set(SourceBehaviour::Missing);
        assert_eq!(error(&chain).await, "unusable credentials: second: set something");
        second.set(SourceBehaviour::Provides(900));
        chain.fetch().await.unwrap();
        assert_eq!([first.fetches(), second.fetches()], [1, 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_sources_are_skipped_and_logged_once() {
        let (subscriber, log) = capture_log();
        let _guard = tracing::subscriber::set_default(subscriber);
        let [first, second, speculative] =
            [SourceBehaviour::Fails, SourceBehaviour::Provides(0), SourceBehaviour::Fails]
                .map(SwitchableSource::new);
        let chain = chain(&first, &second, &speculative);
        for _ in 0..3 {
            chain.fetch().await.unwrap();
        }
        let lines = log.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("WARN") && lines[0].contains("first: it is down"), "{lines:#?}");
        assert!(!lines[0].contains("speculative"), "a host outside of the cloud is not an error: {lines:#?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_speculative_source_is_not_tried_at_every_fetch() {
        let [first, second, speculative] =
            [SourceBehaviour::Missing, SourceBehaviour::Missing, SourceBehaviour::Fails]
                .map(SwitchableSource::new);
        let chain = chain(&first, &second, &speculative);
        for _ in 0..3_600 {
            assert_eq!(error(&chain).await, "no credentials: set something (tried speculative: it is down)");
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(speculative.fetches(), 60, "once a minute");
        assert_eq!(first.fetches(), 3_600, "other sources do not pause");
        speculative.set(SourceBehaviour::Provides(900));
        advance(SPECULATIVE_PAUSE).await;
        chain.fetch().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_key_every_configured_source_reports_its_error() {
        let [first, second, speculative] =
            [SourceBehaviour::Fails, SourceBehaviour::Missing, SourceBehaviour::Fails]
                .map(SwitchableSource::new);
        assert_eq!(
            error(&chain(&first, &second, &speculative)).await,
            "unusable credentials: no source provides a key: first: it is down; speculative: it is down"
        );
        first.set(SourceBehaviour::Missing);
        speculative.set(SourceBehaviour::Missing);
        assert_eq!(error(&chain(&first, &second, &speculative)).await, "no credentials: set something");
    }
}
