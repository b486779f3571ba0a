//! The sources of the vendor's own tools in the vendor's own order, the first that gives a key being taken.
//!
//! Owns: the order, what was passed over and why, and staying with what was taken: its source is the only one
//! that is asked for the next key, so that a failure cannot turn one identity into another. It lasts as long as
//! the process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};

use super::{BoxFuture, CredentialSource, CredentialsError, FetchedCredentials};

/// How long a source that is asked without a sign of it rests after it gave no key.
const REST: Duration = Duration::from_secs(60);

/// One source of the chain.
pub(super) struct ChainedSource {
    pub(super) name: &'static str,
    pub(super) source: Box<dyn CredentialSource>,
    /// It is asked without a sign that it is there, so it rests when it was not.
    pub(super) is_guess: bool,
}

/// Sources in order.
pub(super) struct SourceChain {
    links: Vec<ChainedSource>,
    state: Mutex<ChainState>,
}

#[derive(Default)]
struct ChainState {
    /// Which link gave the first key.
    taken: Option<usize>,
    /// Until when the guess rests, and why.
    rest: Option<(Instant, CredentialsError)>,
}

impl SourceChain {
    pub(super) fn new(links: Vec<ChainedSource>) -> Self {
        Self { links, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, ChainState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn key(&self) -> Result<FetchedCredentials, CredentialsError> {
        let taken = self.lock().taken;
        match taken.and_then(|index| self.links.get(index)) {
            Some(link) => {
                link.source.fetch().await.map_err(|error| CredentialsError::Unusable(why(link, &error)))
            }
            None => self.first().await,
        }
    }

    async fn first(&self) -> Result<FetchedCredentials, CredentialsError> {
        let (mut absent, mut broken, mut guessed) = (None, Vec::new(), None);
        for (index, link) in self.links.iter().enumerate() {
            match self.ask(link).await {
                Ok(fetched) => {
                    self.lock().taken = Some(index);
                    tell(&broken.join("; "));
                    return Ok(fetched);
                }
                Err(CredentialsError::Missing(what)) => absent = absent.or(Some(what)),
                Err(error) if link.is_guess => guessed = Some(why(link, &error)),
                Err(error) => broken.push(why(link, &error)),
            }
        }
        Err(match (absent, guessed) {
            (Some(what), None) if broken.is_empty() => CredentialsError::Missing(what),
            // The guess fails on every machine that is none of the cloud's, and that is no fault of theirs.
            (Some(what), Some(guess)) if broken.is_empty() => {
                CredentialsError::Missing(format!("{what} (tried {guess})"))
            }
            (_, guess) => {
                broken.extend(guess);
                CredentialsError::Unusable(format!("no source gives a key: {}", broken.join("; ")))
            }
        })
    }

    async fn ask(&self, link: &ChainedSource) -> Result<FetchedCredentials, CredentialsError> {
        if !link.is_guess {
            return link.source.fetch().await;
        }
        let resting = self.lock().rest.clone();
        if let Some((_, why)) = resting.filter(|(until, _)| Instant::now() < *until) {
            return Err(why);
        }
        let fetched = link.source.fetch().await;
        self.lock().rest = fetched.as_ref().err().map(|why| (Instant::now() + REST, why.clone()));
        fetched
    }
}

/// Tells what was passed over.
fn tell(broken: &str) {
    if !broken.is_empty() {
        tracing::warn!(passed_over = broken, "sources of credentials that are set up give no key");
    }
}

impl CredentialSource for SourceChain {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>> {
        Box::pin(self.key())
    }
}

fn why(link: &ChainedSource, error: &CredentialsError) -> String {
    match error {
        CredentialsError::Missing(what) => format!("{}: set {what}", link.name),
        CredentialsError::Unusable(why) => format!("{}: {why}", link.name),
    }
}

#[cfg(test)]
mod tests;
