//! The sources of the vendor's own tools in the vendor's own order, the first that gives a key being taken.
//!
//! Owns: the order, what was passed over and why, and staying with what was taken: its source is the only one
//! that is asked for the next key, so that a failure cannot turn one identity into another. Only when the key
//! has ended and what the source is set up with is gone too, all are asked again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};

use super::{BoxFuture, CredentialsError, Fetched, Source};

/// How long a source rests after it was not there for the first time, and at most.
const FIRST_REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(600);

/// One source of the chain.
pub(super) struct Link {
    pub(super) name: &'static str,
    pub(super) source: Box<dyn Source>,
    /// It is asked without a sign that it is there, so it rests when it was not.
    pub(super) is_guess: bool,
}

/// Sources in order.
pub(super) struct Chain {
    links: Vec<Link>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which link gave the last key, and when that ends.
    taken: Option<(usize, Option<Instant>)>,
    /// Of the guess.
    rest: Option<Rest>,
    /// What was passed over when it was last told.
    told: Option<String>,
}

#[derive(Clone)]
struct Rest {
    until: Instant,
    length: Duration,
    why: CredentialsError,
}

impl Chain {
    pub(super) fn new(links: Vec<Link>) -> Self {
        Self { links, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn key(&self) -> Result<Fetched, CredentialsError> {
        let taken = self.lock().taken;
        let mut tried = None;
        if let Some((index, ends)) = taken
            && let Some(link) = self.links.get(index)
        {
            match link.source.fetch().await {
                Ok(fetched) => return Ok(self.take(index, fetched)),
                Err(error @ CredentialsError::Missing(_))
                    if ends.is_some_and(|ends| ends <= Instant::now()) =>
                {
                    tried = Some((index, error));
                }
                Err(error) => return Err(CredentialsError::Unusable(why(link, &error))),
            }
        }
        self.first(tried).await
    }

    /// Goes through all links but the one that was tried already.
    async fn first(&self, mut tried: Option<(usize, CredentialsError)>) -> Result<Fetched, CredentialsError> {
        let (mut absent, mut broken, mut guessed) = (None, Vec::new(), None);
        for (index, link) in self.links.iter().enumerate() {
            let asked = match tried.take_if(|(tried, _)| *tried == index) {
                Some((_, error)) => Err(error),
                None => self.ask(link).await,
            };
            match asked {
                Ok(fetched) => {
                    self.tell(broken.join("; "));
                    return Ok(self.take(index, fetched));
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

    async fn ask(&self, link: &Link) -> Result<Fetched, CredentialsError> {
        if !link.is_guess {
            return link.source.fetch().await;
        }
        let resting = self.lock().rest.clone();
        if let Some(rest) = resting.as_ref().filter(|rest| Instant::now() < rest.until) {
            return Err(rest.why.clone());
        }
        let fetched = link.source.fetch().await;
        self.lock().rest = fetched.as_ref().err().map(|why| {
            let length = resting.map_or(FIRST_REST, |rest| (rest.length * 2).min(LONGEST_REST));
            Rest { until: Instant::now() + length, length, why: why.clone() }
        });
        fetched
    }

    fn take(&self, index: usize, fetched: Fetched) -> Fetched {
        let ends = fetched.remaining.map(|remaining| Instant::now() + remaining);
        self.lock().taken = Some((index, ends));
        fetched
    }

    /// Tells what was passed over, once for as long as it stays the same.
    fn tell(&self, broken: String) {
        let mut state = self.lock();
        if !broken.is_empty() && state.told.as_ref() != Some(&broken) {
            tracing::warn!(passed_over = broken, "sources of credentials that are set up give no key");
        }
        state.told = Some(broken);
    }
}

impl Source for Chain {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, CredentialsError>> {
        Box::pin(self.key())
    }
}

fn why(link: &Link, error: &CredentialsError) -> String {
    match error {
        CredentialsError::Missing(what) => format!("{}: set {what}", link.name),
        CredentialsError::Unusable(why) => format!("{}: {why}", link.name),
    }
}

#[cfg(test)]
mod tests;
