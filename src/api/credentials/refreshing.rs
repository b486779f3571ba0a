//! Credentials held in memory and renewed in time: what stands between a source and all of an account's calls.
//!
//! Owns: one renewal at a time whoever asks, started while the old key is still good, and pauses after failures.
//! Refuses: letting a caller wait while a good key is held, dropping a key before its end, and hammering a
//! source, whatever the lifetime of its keys.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::watch,
    time::{Duration, Instant, timeout},
};

use super::{
    BoxFuture, CredentialSource, Credentials, CredentialsError, CredentialsObserver, FetchedCredentials,
    ProvideCredentials,
};
use crate::model::AccountName;

/// A key is renewed when less than this is left of it, or less than a third of its lifetime.
const RENEW_BEFORE: Duration = Duration::from_secs(15 * 60);

/// The shortest time between a renewal that succeeded and the next.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// The first pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Between two renewals that the cloud's refusals forced.
const FORCED_PAUSE: Duration = Duration::from_secs(10);

/// Longest time of one renewal, whatever its source does.
const LONGEST_FLIGHT: Duration = Duration::from_secs(60);

/// How long a caller without a key waits for the first answer of the source, and for a later one when the
/// last was a failure.
const PATIENCE: Duration = Duration::from_secs(10);
const LITTLE_PATIENCE: Duration = Duration::from_secs(1);

/// How often a source is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefreshTiming {
    /// After which time a key that does not expire is looked at again.
    pub(super) look_again: Duration,
    /// The longest pause after failures.
    pub(super) longest_pause: Duration,
}

/// Uniform in 0..1.
pub(super) type JitterFn = Box<dyn Fn() -> f64 + Send + Sync>;

/// A source behind memory.
pub(super) struct RefreshingProvider(Arc<RefreshShared>);

struct RefreshShared {
    source: Box<dyn CredentialSource>,
    pace: RefreshTiming,
    jitter: JitterFn,
    account: Option<AccountName>,
    watch: Arc<dyn CredentialsObserver>,
    state: Mutex<RefreshState>,
}

#[derive(Default)]
struct RefreshState {
    held: Option<CachedCredentials>,
    /// Closed when the renewal under way has ended.
    flight: Option<watch::Receiver<()>>,
    /// Failures since the last success.
    failures: u32,
    failure: Option<CredentialsError>,
    /// No renewal before this, after a failure.
    not_before: Option<Instant>,
    forced_at: Option<Instant>,
    /// Nobody asks any more: a renewal that is under way has nothing to tell.
    is_retired: bool,
}

struct CachedCredentials {
    credentials: Arc<Credentials>,
    source: String,
    ends: Option<Instant>,
    due: Instant,
}

impl RefreshState {
    /// The key in use, while it is good.
    fn good(&self, now: Instant) -> Option<&CachedCredentials> {
        self.held.as_ref().filter(|held| held.ends.is_none_or(|ends| now < ends))
    }

    fn is_due(&self, force: bool, now: Instant) -> bool {
        if self.flight.is_some() || self.not_before.is_some_and(|at| now < at) {
            return false;
        }
        let is_forced = force && self.forced_at.is_none_or(|at| at + FORCED_PAUSE <= now);
        is_forced || self.good(now).is_none_or(|held| held.due <= now)
    }

    fn outcome(&self, now: Instant) -> Result<Arc<Credentials>, CredentialsError> {
        match (self.good(now), &self.failure) {
            (Some(held), _) => Ok(Arc::clone(&held.credentials)),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => Err(CredentialsError::Unusable("their source has not answered yet".to_owned())),
        }
    }
}

impl RefreshingProvider {
    /// Has asked nothing yet.
    pub(super) fn new(
        source: Box<dyn CredentialSource>,
        pace: RefreshTiming,
        jitter: JitterFn,
        account: Option<AccountName>,
        watch: Arc<dyn CredentialsObserver>,
    ) -> Self {
        Self(Arc::new(RefreshShared { source, pace, jitter, account, watch, state: Mutex::default() }))
    }

    async fn current(&self, force: bool) -> Result<Arc<Credentials>, CredentialsError> {
        let (mut flight, patience) = {
            let mut state = self.0.lock();
            let now = Instant::now();
            if state.is_due(force, now) {
                if force {
                    state.forced_at = Some(now);
                }
                state.flight = Some(RefreshTask::start(&self.0));
            }
            match &state.flight {
                Some(flight) if force || state.good(now).is_none() => {
                    let patience = if state.failures == 0 { PATIENCE } else { LITTLE_PATIENCE };
                    (flight.clone(), patience)
                }
                _ => return state.outcome(now),
            }
        };
        // Nothing is ever sent: the channel closes when the flight ends, in whatever way.
        _ = timeout(patience, flight.changed()).await;
        self.0.lock().outcome(Instant::now())
    }
}

impl ProvideCredentials for RefreshingProvider {
    fn credentials(&self, force_refresh: bool) -> BoxFuture<'_, Result<Arc<Credentials>, CredentialsError>> {
        Box::pin(self.current(force_refresh))
    }
}

impl Drop for RefreshingProvider {
    fn drop(&mut self) {
        self.0.lock().is_retired = true;
    }
}

/// A renewal under way. It goes on when whoever started it has gone.
struct RefreshTask {
    inner: Arc<RefreshShared>,
    has_landed: bool,
    /// Dropped last.
    _ended: watch::Sender<()>,
}

impl RefreshTask {
    fn start(inner: &Arc<RefreshShared>) -> watch::Receiver<()> {
        let (ended, flight) = watch::channel(());
        let mut this = Self { inner: Arc::clone(inner), has_landed: false, _ended: ended };
        tokio::spawn(async move {
            let fetched = timeout(LONGEST_FLIGHT, this.inner.source.fetch()).await;
            this.land(fetched.unwrap_or_else(|_| {
                Err(CredentialsError::Unusable(format!(
                    "their source has not answered within {LONGEST_FLIGHT:?}"
                )))
            }));
        });
        flight
    }

    fn land(&mut self, fetched: Result<FetchedCredentials, CredentialsError>) {
        self.has_landed = true;
        let mut state = self.inner.lock();
        state.flight = None;
        if state.is_retired {
            return;
        }
        let now = Instant::now();
        let fetched = fetched.and_then(|fetched| match fetched.remaining {
            Some(Duration::ZERO) => {
                let what = format!(
                    "{} gave a key that has expired already; check this host's clock",
                    fetched.source
                );
                Err(CredentialsError::Unusable(what))
            }
            _ => Ok(fetched),
        });
        match fetched {
            Ok(fetched) => self.inner.take(&mut state, fetched, now),
            Err(failure) => self.inner.fail(&mut state, failure, now),
        }
    }
}

impl Drop for RefreshTask {
    fn drop(&mut self) {
        if !self.has_landed {
            self.land(Err(CredentialsError::Unusable("their renewal was interrupted".to_owned())));
        }
    }
}

impl RefreshShared {
    fn lock(&self) -> MutexGuard<'_, RefreshState> {
        // What is held stays whole whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn account(&self) -> Option<&str> {
        self.account.as_ref().map(AccountName::as_str)
    }

    fn take(&self, state: &mut RefreshState, fetched: FetchedCredentials, now: Instant) {
        let FetchedCredentials { credentials, remaining, source } = fetched;
        if state.failures > 0 {
            tracing::info!(
                account = self.account(),
                failures = state.failures,
                "credentials are renewed again"
            );
        }
        let is_same = state.held.as_ref().is_some_and(|held| held.credentials.is_same_as(&credentials));
        // A temporary key differs with every renewal, which is not worth a line each.
        let is_news = match &state.held {
            Some(held) => held.source != source || (remaining.is_none() && !is_same),
            None => true,
        };
        if is_news {
            tracing::info!(
                account = self.account(),
                source,
                access_key_id = %format_args!("...{}", credentials.id_tail()),
                expires_in = remaining.map(tracing::field::debug),
                "credentials taken"
            );
        }
        if state.held.is_none() || !is_same {
            self.watch.expires(credentials.expires_at);
        }
        let pause = match remaining {
            Some(remaining) => remaining.saturating_sub(RENEW_BEFORE.min(remaining / 3)).max(LEAST_PAUSE),
            None => self.pace.look_again,
        };
        state.held = Some(CachedCredentials {
            credentials: Arc::new(credentials),
            source,
            ends: remaining.map(|remaining| now + remaining),
            due: now + pause,
        });
        (state.failures, state.failure, state.not_before) = (0, None, None);
    }

    fn fail(&self, state: &mut RefreshState, failure: CredentialsError, now: Instant) {
        self.watch.failed();
        if state.failures == 0 {
            let error = &failure;
            if state.good(now).is_some() {
                tracing::warn!(
                    account = self.account(),
                    %error,
                    "credentials cannot be renewed, those that are held are used to their end"
                );
            } else {
                tracing::warn!(account = self.account(), %error, "there are no credentials, nothing is asked");
            }
        }
        let doubled = FIRST_PAUSE.saturating_mul(1 << state.failures.min(16));
        let pause = doubled.min(self.pace.longest_pause).mul_f64(0.5 + (self.jitter)() / 2.0);
        state.failures = state.failures.saturating_add(1);
        state.failure = Some(failure);
        state.not_before = Some(now + pause);
    }
}

#[cfg(test)]
pub(super) mod tests;
