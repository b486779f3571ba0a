//! The chain over sources that do as they are told.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::time::advance;

use super::*;
use crate::api::credentials::{Credentials, refreshing::tests::log};

/// A source that can be switched.
#[derive(Clone)]
struct Switched(Arc<Mutex<Does>>, Arc<AtomicUsize>);

#[derive(Clone, Copy)]
enum Does {
    Nothing,
    Fails,
    Gives(u64),
}

impl Switched {
    fn new(does: Does) -> Self {
        Self(Arc::new(Mutex::new(does)), Arc::default())
    }

    fn now(&self, does: Does) {
        *self.0.lock().unwrap() = does;
    }

    fn asked(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

impl CredentialSource for Switched {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let does = *self.0.lock().unwrap();
        Box::pin(std::future::ready(match does {
            Does::Nothing => Err(CredentialsError::Missing("something".to_owned())),
            Does::Fails => Err(CredentialsError::Unusable("it is down".to_owned())),
            Does::Gives(seconds) => {
                Credentials::new("id", "secret", None).map(|credentials| FetchedCredentials {
                    credentials,
                    remaining: Some(Duration::from_secs(seconds)),
                    source: "given".to_owned(),
                })
            }
        }))
    }
}

fn chain(first: &Switched, second: &Switched, guess: &Switched) -> SourceChain {
    let link = |name, source: &Switched, is_guess| ChainedSource {
        name,
        source: Box::new(source.clone()),
        is_guess,
    };
    SourceChain::new(vec![
        link("first", first, false),
        link("guess", guess, true),
        link("second", second, false),
    ])
}

async fn error(chain: &SourceChain) -> String {
    chain.fetch().await.map(|_| ()).unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn the_first_that_gives_a_key_is_taken_and_stayed_with() {
    let [first, second, guess] = [Does::Nothing, Does::Gives(900), Does::Fails].map(Switched::new);
    let chain = chain(&first, &second, &guess);
    chain.fetch().await.unwrap();
    assert_eq!([first.asked(), guess.asked(), second.asked()], [1, 1, 1]);

    // What comes before it works now, but it is not asked.
    first.now(Does::Gives(900));
    chain.fetch().await.unwrap();
    assert_eq!([first.asked(), second.asked()], [1, 2]);

    // It fails: no other identity takes its place, not even when its key has ended.
    second.now(Does::Fails);
    assert_eq!(error(&chain).await, "unusable credentials: second: it is down");
    advance(Duration::from_secs(900)).await;
    assert_eq!(error(&chain).await, "unusable credentials: second: it is down");
    assert_eq!(first.asked(), 1);

    // Nor when what it is set up with is gone for a while.
    second.now(Does::Nothing);
    assert_eq!(error(&chain).await, "unusable credentials: second: set something");
    second.now(Does::Gives(900));
    chain.fetch().await.unwrap();
    assert_eq!([first.asked(), second.asked()], [1, 6]);
}

#[tokio::test(start_paused = true)]
async fn what_is_set_up_and_broken_is_passed_over_and_told_once() {
    let (subscriber, log) = log();
    let _guard = tracing::subscriber::set_default(subscriber);
    let [first, second, guess] = [Does::Fails, Does::Gives(0), Does::Fails].map(Switched::new);
    let chain = chain(&first, &second, &guess);
    for _ in 0..3 {
        chain.fetch().await.unwrap();
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("first: it is down"), "{lines:#?}");
    assert!(!lines[0].contains("guess"), "a machine of its own is no fault: {lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_guess_is_not_repeated_at_every_call() {
    let [first, second, guess] = [Does::Nothing, Does::Nothing, Does::Fails].map(Switched::new);
    let chain = chain(&first, &second, &guess);
    for _ in 0..3_600 {
        assert_eq!(error(&chain).await, "no credentials: set something (tried guess: it is down)");
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(guess.asked(), 60, "once a minute");
    assert_eq!(first.asked(), 3_600, "sources that are told by their inputs do not rest");
    guess.now(Does::Gives(900));
    advance(REST).await;
    chain.fetch().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn if_none_gives_a_key_each_that_is_set_up_says_why() {
    let [first, second, guess] = [Does::Fails, Does::Nothing, Does::Fails].map(Switched::new);
    assert_eq!(
        error(&chain(&first, &second, &guess)).await,
        "unusable credentials: no source gives a key: first: it is down; guess: it is down"
    );
    first.now(Does::Nothing);
    guess.now(Does::Nothing);
    assert_eq!(error(&chain(&first, &second, &guess)).await, "no credentials: set something");
}
