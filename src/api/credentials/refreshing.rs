//! Cache of credentials that refreshes them in time, between a source and all calls of an account.
//!
//! Owns: one refresh at a time, which starts while the current key is still valid, and pauses after failures. Callers
//! never wait while a key is valid, a key is used until it expires, and a source is never called too often, whatever
//! the lifetime of its keys.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::watch,
    time::{Duration, Instant, timeout},
};

use super::{
    BoxFuture, CredentialSource, Credentials, CredentialsError, CredentialsObserver, FetchResult,
    FetchedCredentials, ProvideCredentials,
};
use crate::model::AccountName;

/// Remaining lifetime at which a key is refreshed, unless a third of its lifetime is shorter.
const REFRESH_BEFORE_EXPIRY: Duration = Duration::from_secs(15 * 60);

/// Minimum pause after a successful refresh.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Pause after the first failure. Each further failure doubles it.
const FIRST_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Minimum pause between forced refreshes.
const FORCED_PAUSE: Duration = Duration::from_secs(10);

/// Timeout of a refresh.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum time that a caller without a key waits for a refresh.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// The same if the last refresh failed.
const MAX_WAIT_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Returns random numbers, uniform in 0..1.
pub(super) type JitterFn = Box<dyn Fn() -> f64 + Send + Sync>;

/// Source of credentials with a cache.
pub(super) struct RefreshingProvider(Arc<RefreshShared>);

struct RefreshShared {
    source: Box<dyn CredentialSource>,
    /// Interval of reading a key that does not expire, and maximum pause after failures.
    reread_interval: Duration,
    jitter: JitterFn,
    account: Option<AccountName>,
    observer: Arc<dyn CredentialsObserver>,
    state: Mutex<RefreshState>,
}

#[derive(Default)]
struct RefreshState {
    cached: Option<CachedCredentials>,
    /// Closed when the current refresh ends.
    refresh: Option<watch::Receiver<()>>,
    /// Failures since the last success.
    failures: u32,
    last_error: Option<CredentialsError>,
    /// End of the pause after a failure.
    paused_until: Option<Instant>,
    forced_at: Option<Instant>,
    /// Whether the provider has been dropped, so that a current refresh must not report anything.
    discards_result: bool,
}

struct CachedCredentials {
    credentials: Arc<Credentials>,
    source: String,
    expires_at: Option<Instant>,
    refresh_at: Instant,
}

impl RefreshState {
    /// Returns the cached key, unless it has expired.
    fn valid(&self, now: Instant) -> Option<&CachedCredentials> {
        self.cached.as_ref().filter(|cached| cached.expires_at.is_none_or(|at| now < at))
    }

    fn is_refresh_due(&self, force: bool, now: Instant) -> bool {
        if self.refresh.is_some() || self.paused_until.is_some_and(|until| now < until) {
            return false;
        }
        let is_forced = force && self.forced_at.is_none_or(|at| at + FORCED_PAUSE <= now);
        is_forced || self.valid(now).is_none_or(|cached| cached.refresh_at <= now)
    }

    fn current(&self, now: Instant) -> Result<Arc<Credentials>, CredentialsError> {
        match (self.valid(now), &self.last_error) {
            (Some(cached), _) => Ok(Arc::clone(&cached.credentials)),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err(CredentialsError::unusable("their source has not responded yet")),
        }
    }
}

impl RefreshingProvider {
    pub(super) fn new(
        source: Box<dyn CredentialSource>,
        reread_interval: Duration,
        jitter: JitterFn,
        account: Option<AccountName>,
        observer: Arc<dyn CredentialsObserver>,
    ) -> Self {
        Self(Arc::new(RefreshShared {
            source,
            reread_interval,
            jitter,
            account,
            observer,
            state: Mutex::default(),
        }))
    }

    async fn current(&self, force: bool) -> Result<Arc<Credentials>, CredentialsError> {
        let (mut refresh, max_wait) = {
            let mut state = self.0.state();
            let now = Instant::now();
            if state.is_refresh_due(force, now) {
                if force {
                    state.forced_at = Some(now);
                }
                state.refresh = Some(RefreshTask::spawn(&self.0));
            }
            match &state.refresh {
                Some(refresh) if force || state.valid(now).is_none() => {
                    let max_wait = if state.failures == 0 { MAX_WAIT } else { MAX_WAIT_AFTER_FAILURE };
                    (refresh.clone(), max_wait)
                }
                _ => return state.current(now),
            }
        };
        // Nothing is sent: the channel closes when the refresh ends.
        _ = timeout(max_wait, refresh.changed()).await;
        self.0.state().current(Instant::now())
    }
}

impl ProvideCredentials for RefreshingProvider {
    fn credentials(&self, force_refresh: bool) -> BoxFuture<'_, Result<Arc<Credentials>, CredentialsError>> {
        Box::pin(self.current(force_refresh))
    }
}

impl Drop for RefreshingProvider {
    fn drop(&mut self) {
        self.0.state().discards_result = true;
    }
}

/// A refresh. It continues if the caller that started it gives up.
struct RefreshTask {
    shared: Arc<RefreshShared>,
    is_finished: bool,
    /// Closes the channel. The last field, because it must be dropped last.
    _ended: watch::Sender<()>,
}

impl RefreshTask {
    fn spawn(shared: &Arc<RefreshShared>) -> watch::Receiver<()> {
        let (ended, refresh) = watch::channel(());
        let mut task = Self { shared: Arc::clone(shared), is_finished: false, _ended: ended };
        tokio::spawn(async move {
            let result = timeout(REFRESH_TIMEOUT, task.shared.source.fetch()).await.unwrap_or_else(|_| {
                let reason = format!("their source has not responded within {REFRESH_TIMEOUT:?}");
                Err(CredentialsError::Unusable(reason))
            });
            task.finish(result);
        });
        refresh
    }

    fn finish(&mut self, result: FetchResult) {
        self.is_finished = true;
        let mut state = self.shared.state();
        state.refresh = None;
        if state.discards_result {
            return;
        }
        let now = Instant::now();
        match result {
            Ok(fetched) if fetched.remaining == Some(Duration::ZERO) => {
                let reason =
                    format!("the key of {} has already expired; check this host's clock", fetched.source);
                self.shared.on_failure(&mut state, CredentialsError::Unusable(reason), now);
            }
            Ok(fetched) => self.shared.on_success(&mut state, fetched, now),
            Err(error) => self.shared.on_failure(&mut state, error, now),
        }
    }
}

impl Drop for RefreshTask {
    fn drop(&mut self) {
        if !self.is_finished {
            self.finish(Err(CredentialsError::unusable("their refresh was interrupted")));
        }
    }
}

impl RefreshShared {
    fn state(&self) -> MutexGuard<'_, RefreshState> {
        // The state is consistent even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_success(&self, state: &mut RefreshState, fetched: FetchedCredentials, now: Instant) {
        let FetchedCredentials { credentials, remaining, source } = fetched;
        let account = self.account.as_ref().map(AccountName::as_str);
        if state.failures > 0 {
            tracing::info!(account, failures = state.failures, "credentials are refreshed again");
        }
        let previous = state.cached.as_ref();
        let is_same = previous.is_some_and(|cached| cached.credentials.is_same_as(&credentials));
        // Temporary keys change with every refresh, which is not logged.
        let is_news =
            previous.is_none_or(|cached| cached.source != source || (remaining.is_none() && !is_same));
        if is_news {
            tracing::info!(
                account,
                source,
                access_key_id = %format_args!("...{}", credentials.id_tail()),
                expires_in = remaining.map(tracing::field::debug),
                "using credentials"
            );
        }
        if !is_same {
            self.observer.expires(credentials.expires_at);
        }
        let pause = match remaining {
            Some(remaining) => {
                remaining.saturating_sub(REFRESH_BEFORE_EXPIRY.min(remaining / 3)).max(MIN_PAUSE)
            }
            None => self.reread_interval,
        };
        state.cached = Some(CachedCredentials {
            credentials: Arc::new(credentials),
            source,
            expires_at: remaining.map(|remaining| now + remaining),
            refresh_at: now + pause,
        });
        (state.failures, state.last_error, state.paused_until) = (0, None, None);
    }

    fn on_failure(&self, state: &mut RefreshState, error: CredentialsError, now: Instant) {
        self.observer.failed();
        if state.failures == 0 {
            let account = self.account.as_ref().map(AccountName::as_str);
            if state.valid(now).is_some() {
                tracing::warn!(
                    account,
                    %error,
                    "cannot refresh credentials, using current ones until they expire"
                );
            } else {
                tracing::warn!(account, %error, "no credentials, sending no requests");
            }
        }
        let doubled = FIRST_RETRY_PAUSE.saturating_mul(1 << state.failures.min(16));
        let pause = doubled.min(self.reread_interval).mul_f64(0.5 + (self.jitter)() / 2.0);
        state.failures = state.failures.saturating_add(1);
        state.last_error = Some(error);
        state.paused_until = Some(now + pause);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        collections::VecDeque,
        io,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use proptest::prelude::*;
    use tokio::time::{advance, sleep};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::{api::budget::tests::paused, model::UnixMillis};

    /// Records what it observes.
    #[derive(Default)]
    pub(in crate::api::credentials) struct RecordingObserver {
        failures: AtomicUsize,
        expiries: Mutex<Vec<Option<UnixMillis>>>,
    }

    impl RecordingObserver {
        pub(in crate::api::credentials) fn failures(&self) -> usize {
            self.failures.load(Ordering::Relaxed)
        }
    }

    impl CredentialsObserver for RecordingObserver {
        fn expires(&self, at: Option<UnixMillis>) {
            self.expiries.lock().unwrap().push(at);
        }

        fn failed(&self) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Captured log.
    #[derive(Clone, Default)]
    pub(in crate::api::credentials) struct LogCapture(Arc<Mutex<Vec<u8>>>);

    impl LogCapture {
        pub(in crate::api::credentials) fn lines(&self) -> Vec<String> {
            let text = self.0.lock().unwrap().clone();
            String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
        }
    }

    impl io::Write for LogCapture {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns a subscriber for lines of level `info` and above, and the log that it writes.
    pub(in crate::api::credentials) fn capture_log() -> (impl tracing::Subscriber + Send + Sync, LogCapture) {
        let log = LogCapture::default();
        let writer = log.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone());
        let level = tracing_subscriber::filter::LevelFilter::INFO;
        (tracing_subscriber::registry().with(level).with(layer), log)
    }

    /// Source with scripted results. The last one repeats.
    #[derive(Clone)]
    struct ScriptedSource(Arc<Mutex<ScriptState>>);

    struct ScriptState {
        results: VecDeque<ScriptedResult>,
        duration: Duration,
        fetches: Vec<Instant>,
        /// Current and maximum number of concurrent fetches.
        concurrent: (usize, usize),
    }

    #[derive(Clone, Copy)]
    enum ScriptedResult {
        Key(Option<Duration>),
        Fails,
        Panics,
    }

    fn lives(seconds: u64) -> ScriptedResult {
        ScriptedResult::Key(Some(Duration::from_secs(seconds)))
    }

    impl ScriptedSource {
        fn new(results: &[ScriptedResult]) -> Self {
            let results = results.iter().copied().collect();
            let duration = Duration::from_millis(100);
            Self(Arc::new(Mutex::new(ScriptState {
                results,
                duration,
                fetches: Vec::new(),
                concurrent: (0, 0),
            })))
        }

        fn set(&self, result: ScriptedResult) {
            self.0.lock().unwrap().results = VecDeque::from([result]);
        }

        fn set_duration(&self, duration: Duration) {
            self.0.lock().unwrap().duration = duration;
        }

        fn fetches(&self) -> usize {
            self.0.lock().unwrap().fetches.len()
        }
    }

    impl CredentialSource for ScriptedSource {
        fn fetch(&self) -> BoxFuture<'_, FetchResult> {
            Box::pin(async {
                let (result, number, duration) = {
                    let mut script = self.0.lock().unwrap();
                    script.fetches.push(Instant::now());
                    let (now, most) = script.concurrent;
                    script.concurrent = (now + 1, most.max(now + 1));
                    let result = if script.results.len() > 1 {
                        script.results.pop_front()
                    } else {
                        script.results.front().copied()
                    };
                    (result.unwrap(), script.fetches.len(), script.duration)
                };
                sleep(duration).await;
                self.0.lock().unwrap().concurrent.0 -= 1;
                match result {
                    ScriptedResult::Key(remaining) => {
                        let mut credentials =
                            Credentials::new(&format!("STS.key{number}"), "secret", Some("token"))?;
                        credentials.expires_at =
                            remaining.and_then(|r| UnixMillis::new(r.as_millis() as i64));
                        Ok(FetchedCredentials { credentials, remaining, source: "script".to_owned() })
                    }
                    ScriptedResult::Fails => Err(CredentialsError::Unusable("it is down".to_owned())),
                    ScriptedResult::Panics => panic!("the source panics"),
                }
            })
        }
    }

    fn refreshing(script: &ScriptedSource) -> (Arc<RefreshingProvider>, Arc<RecordingObserver>) {
        let observer = Arc::<RecordingObserver>::default();
        let minute = Duration::from_secs(60);
        let observed = Arc::<RecordingObserver>::clone(&observer);
        let source = Box::new(script.clone());
        let provider = RefreshingProvider::new(source, minute, Box::new(|| 0.999), None, observed);
        (Arc::new(provider), observer)
    }

    async fn id(provider: &RefreshingProvider, force: bool) -> Result<String, CredentialsError> {
        provider.credentials(force).await.map(|credentials| credentials.access_key_id.clone())
    }

    /// Runs twenty callers for a time, each with at least a hundred calls. Returns the longest wait and the number of
    /// errors.
    async fn twenty_callers(provider: &Arc<RefreshingProvider>, length: Duration) -> (Duration, usize) {
        let until = Instant::now() + length;
        let interval = (length / 2_000).max(Duration::from_millis(100));
        let callers: Vec<_> = (0..20)
            .map(|_| {
                let provider = Arc::clone(provider);
                tokio::spawn(async move {
                    let (mut longest, mut errors) = (Duration::ZERO, 0);
                    while Instant::now() < until {
                        let began = Instant::now();
                        errors += usize::from(provider.credentials(false).await.is_err());
                        longest = longest.max(began.elapsed());
                        sleep(interval).await;
                    }
                    (longest, errors)
                })
            })
            .collect();
        let mut worst = (Duration::ZERO, 0);
        for caller in callers {
            let (longest, errors) = caller.await.unwrap();
            worst = (worst.0.max(longest), worst.1 + errors);
        }
        worst
    }

    #[tokio::test(start_paused = true)]
    async fn all_callers_share_one_refresh_and_wait_only_for_the_first_key() {
        let script = ScriptedSource::new(&[lives(30)]);
        let (provider, observer) = refreshing(&script);
        let (waited, errors) = twenty_callers(&provider, Duration::from_secs(10)).await;
        assert_eq!((script.fetches(), errors), (1, 0));
        assert_eq!(waited, Duration::from_millis(100));
        // A third of the lifetime is left after 20 s, whatever the refresh takes.
        script.set_duration(Duration::from_secs(5));
        let (waited, errors) = twenty_callers(&provider, Duration::from_secs(14)).await;
        assert_eq!((script.fetches(), errors, waited), (2, 0, Duration::ZERO));
        assert_eq!(
            id(&provider, false).await.unwrap(),
            "STS.key1",
            "the old key is used until the refresh ends"
        );
        sleep(Duration::from_secs(2)).await;
        assert_eq!(id(&provider, false).await.unwrap(), "STS.key2");
        assert_eq!(script.0.lock().unwrap().concurrent.1, 1);
        assert_eq!(observer.expiries.lock().unwrap().as_slice(), [UnixMillis::new(30_000); 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_refreshed_a_quarter_of_an_hour_or_a_third_of_its_lifetime_before_expiry() {
        for (lifetime, at) in [(900, 600), (3600, 2700), (43_200, 42_300), (60, 40)] {
            let script = ScriptedSource::new(&[lives(lifetime)]);
            let (provider, _) = refreshing(&script);
            id(&provider, false).await.unwrap();
            sleep(Duration::from_secs(at - 1)).await;
            id(&provider, false).await.unwrap();
            sleep(Duration::from_millis(1)).await;
            assert_eq!(script.fetches(), 1, "{lifetime}");
            sleep(Duration::from_secs(1)).await;
            id(&provider, false).await.unwrap();
            sleep(Duration::from_millis(1)).await;
            assert_eq!(script.fetches(), 2, "{lifetime}");
        }
    }

    /// Other clients refresh a fixed quarter of an hour before expiry, and so at every call if keys live no longer.
    #[tokio::test(start_paused = true)]
    async fn keys_of_a_quarter_of_an_hour_are_not_fetched_too_often() {
        let script = ScriptedSource::new(&[lives(900)]);
        let (provider, _) = refreshing(&script);
        let (_, errors) = twenty_callers(&provider, Duration::from_secs(6 * 3600)).await;
        assert_eq!(errors, 0);
        assert_eq!(script.fetches(), 36, "every ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_source_has_no_effect_until_the_key_expires() {
        let (subscriber, log) = capture_log();
        let _guard = tracing::subscriber::set_default(subscriber);
        let script = ScriptedSource::new(&[lives(900)]);
        let (provider, observer) = refreshing(&script);
        id(&provider, false).await.unwrap();
        script.set(ScriptedResult::Fails);
        let (waited, errors) = twenty_callers(&provider, Duration::from_secs(898)).await;
        assert_eq!((errors, waited), (0, Duration::ZERO));
        // 1, 2, 4 ... 60 s within the last five minutes.
        assert!((9..=13).contains(&observer.failures()), "{}", observer.failures());
        sleep(Duration::from_secs(3)).await;
        let (waited, errors) = twenty_callers(&provider, Duration::from_secs(10)).await;
        assert!(errors > 0 && waited <= MAX_WAIT_AFTER_FAILURE, "{errors} {waited:?}");
        assert!(id(&provider, false).await.unwrap_err().to_string().ends_with("it is down"));
        assert_eq!(observer.failures() + 1, script.fetches(), "each failure is counted");

        script.set(lives(900));
        let (_, _) = twenty_callers(&provider, Duration::from_secs(61)).await;
        let (_, errors) = twenty_callers(&provider, Duration::from_secs(10)).await;
        assert_eq!(errors, 0, "it does not recover");
        let lines = log.lines();
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(lines[0].contains("using credentials") && lines[0].contains("...key1"), "{lines:#?}");
        assert!(lines[1].contains("WARN") && lines[1].contains("cannot refresh credentials"), "{lines:#?}");
        assert!(lines[2].contains("INFO") && lines[2].contains("refreshed again"), "{lines:#?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_key_the_pauses_between_fetches_grow() {
        let script = ScriptedSource::new(&[ScriptedResult::Fails]);
        let (provider, observer) = refreshing(&script);
        let (waited, errors) = twenty_callers(&provider, Duration::from_secs(3600)).await;
        assert!(errors > 0 && waited <= Duration::from_millis(100), "{waited:?}");
        assert!((55..=70).contains(&script.fetches()), "{}", script.fetches());
        assert_eq!(observer.failures(), script.fetches());
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_hangs_delays_callers_only_briefly() {
        let script = ScriptedSource::new(&[lives(3600)]);
        script.set_duration(Duration::from_secs(3600));
        let (provider, observer) = refreshing(&script);
        let (waited, errors) = twenty_callers(&provider, Duration::from_secs(120)).await;
        assert!(errors > 0 && waited <= MAX_WAIT, "{waited:?}");
        assert_eq!((script.fetches(), observer.failures()), (2, 1), "a refresh times out after a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_of_the_source_costs_one_attempt() {
        let script = ScriptedSource::new(&[ScriptedResult::Panics, lives(900)]);
        let (provider, observer) = refreshing(&script);
        let error = id(&provider, false).await.unwrap_err().to_string();
        assert!(error.ends_with("their refresh was interrupted"), "{error}");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(id(&provider, false).await.unwrap(), "STS.key2");
        assert_eq!(observer.failures(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_key_is_refreshed_at_once_but_not_by_each_caller() {
        let script = ScriptedSource::new(&[lives(3600)]);
        let (provider, _) = refreshing(&script);
        id(&provider, false).await.unwrap();
        let forced: Vec<_> = (0..20)
            .map(|_| {
                let provider = Arc::clone(&provider);
                tokio::spawn(async move { id(&provider, true).await.unwrap() })
            })
            .collect();
        for forced in forced {
            assert_eq!(forced.await.unwrap(), "STS.key2");
        }
        // All further keys are rejected too, so the keys are not the problem.
        for _ in 0..100 {
            id(&provider, true).await.unwrap();
            advance(Duration::from_millis(100)).await;
        }
        assert!(script.fetches() <= 3, "{}", script.fetches());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_does_not_end_the_refresh() {
        let script = ScriptedSource::new(&[lives(3600)]);
        let (provider, _) = refreshing(&script);
        assert!(timeout(Duration::from_millis(10), provider.credentials(false)).await.is_err());
        sleep(Duration::from_millis(100)).await;
        assert_eq!(id(&provider, false).await.unwrap(), "STS.key1");
        assert_eq!(script.fetches(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_that_ends_after_its_provider_was_dropped_reports_nothing() {
        let (subscriber, log) = capture_log();
        let _guard = tracing::subscriber::set_default(subscriber);
        let script = ScriptedSource::new(&[ScriptedResult::Fails]);
        let (provider, observer) = refreshing(&script);
        assert!(timeout(Duration::from_millis(10), provider.credentials(false)).await.is_err());
        drop(provider);
        sleep(Duration::from_secs(1)).await;
        assert_eq!((script.fetches(), observer.failures(), log.lines().len()), (1, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_has_expired_already_is_a_failure() {
        let script = ScriptedSource::new(&[lives(0)]);
        let (provider, observer) = refreshing(&script);
        let error = id(&provider, false).await.unwrap_err().to_string();
        assert!(error.contains("already expired") && error.contains("clock"), "{error}");
        assert_eq!(observer.failures(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_key_is_read_again_and_never_dropped() {
        let script = ScriptedSource::new(&[ScriptedResult::Key(None), ScriptedResult::Fails]);
        let (provider, observer) = refreshing(&script);
        let (_, errors) = twenty_callers(&provider, Duration::from_secs(6 * 3600)).await;
        assert_eq!(errors, 0);
        assert!(observer.failures() > 300);
        assert_eq!(observer.expiries.lock().unwrap().as_slice(), [None]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn no_key_is_used_after_its_expiry_and_no_source_is_called_too_often(
            // Lifetimes in seconds, `None` for a failure, and the duration of each fetch in milliseconds.
            lifetimes in prop::collection::vec(prop::option::weighted(0.7, 1u64..2000), 1..20),
            duration in 0u64..20_000,
            forces in prop::bool::ANY,
        ) {
            paused(async {
                let results: Vec<_> = lifetimes.iter().map(|a| a.map_or(ScriptedResult::Fails, lives)).collect();
                let script = ScriptedSource::new(&results);
                script.set_duration(Duration::from_millis(duration));
                let (provider, observer) = refreshing(&script);
                let mut expiry: Option<(String, Instant)> = None;
                for step in 0..1_000u32 {
                    let force = forces && step % 7 == 0;
                    let began = Instant::now();
                    if let Ok(credentials) = provider.credentials(force).await {
                        let id = credentials.access_key_id.clone();
                        if expiry.as_ref().is_none_or(|(known, _)| *known != id) {
                            let lifetime = credentials.expires_at.map_or(0, UnixMillis::get);
                            // Its lifetime has started by now.
                            expiry = Some((id, Instant::now() + Duration::from_millis(lifetime as u64)));
                        }
                        assert!(expiry.as_ref().is_some_and(|(_, end)| Instant::now() < *end), "a key after its expiry");
                    }
                    assert!(began.elapsed() <= MAX_WAIT);
                    sleep(Duration::from_millis(500)).await;
                }
                let script = script.0.lock().unwrap();
                assert!(script.concurrent.1 <= 1, "concurrent refreshes");
                let failures = observer.failures();
                assert!(script.fetches.len() >= failures);
                for pair in script.fetches.windows(2) {
                    assert!(pair[1] - pair[0] >= Duration::from_millis(500), "{:?}", pair[1] - pair[0]);
                }
            });
        }
    }
}
