//! Renewals over paused time, with a source that does what a script says.

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

/// What a source's owner was told.
#[derive(Default)]
pub(in crate::api::credentials) struct RecordingObserver {
    failures: AtomicUsize,
    ends: Mutex<Vec<Option<UnixMillis>>>,
}

impl RecordingObserver {
    pub(in crate::api::credentials) fn failures(&self) -> usize {
        self.failures.load(Ordering::Relaxed)
    }
}

impl CredentialsObserver for RecordingObserver {
    fn expires(&self, at: Option<UnixMillis>) {
        self.ends.lock().unwrap().push(at);
    }

    fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was logged.
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

/// A subscriber for lines from `info` on, and what it has written.
pub(in crate::api::credentials) fn log() -> (impl tracing::Subscriber + Send + Sync, LogCapture) {
    let log = LogCapture::default();
    let kept = log.clone();
    let layer =
        tracing_subscriber::fmt::layer().with_ansi(false).without_time().with_writer(move || kept.clone());
    let level = tracing_subscriber::filter::LevelFilter::INFO;
    (tracing_subscriber::registry().with(level).with(layer), log)
}

/// Answers that are left to give, the last one again and again; each takes so long.
#[derive(Clone)]
struct ScriptedSource(Arc<Mutex<ScriptState>>);

struct ScriptState {
    answers: VecDeque<ScriptedResult>,
    takes: Duration,
    asked: Vec<Instant>,
    at_a_time: (usize, usize),
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
    fn new(answers: &[ScriptedResult]) -> Self {
        let answers = answers.iter().copied().collect();
        let takes = Duration::from_millis(100);
        Self(Arc::new(Mutex::new(ScriptState { answers, takes, asked: Vec::new(), at_a_time: (0, 0) })))
    }

    fn now(&self, answer: ScriptedResult) {
        self.0.lock().unwrap().answers = VecDeque::from([answer]);
    }

    fn takes(&self, takes: Duration) {
        self.0.lock().unwrap().takes = takes;
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }
}

impl CredentialSource for ScriptedSource {
    fn fetch(&self) -> BoxFuture<'_, Result<FetchedCredentials, CredentialsError>> {
        Box::pin(async {
            let (answer, number, takes) = {
                let mut script = self.0.lock().unwrap();
                script.asked.push(Instant::now());
                let (now, most) = script.at_a_time;
                script.at_a_time = (now + 1, most.max(now + 1));
                let answer = if script.answers.len() > 1 {
                    script.answers.pop_front()
                } else {
                    script.answers.front().copied()
                };
                (answer.unwrap(), script.asked.len(), script.takes)
            };
            sleep(takes).await;
            self.0.lock().unwrap().at_a_time.0 -= 1;
            match answer {
                ScriptedResult::Key(remaining) => {
                    let mut credentials =
                        Credentials::new(&format!("STS.key{number}"), "secret", Some("token"))?;
                    credentials.expires_at = remaining.and_then(|r| UnixMillis::new(r.as_millis() as i64));
                    Ok(FetchedCredentials { credentials, remaining, source: "script".to_owned() })
                }
                ScriptedResult::Fails => Err(CredentialsError::Unusable("it is down".to_owned())),
                ScriptedResult::Panics => panic!("a fault of the source"),
            }
        })
    }
}

fn renewing(script: &ScriptedSource) -> (Arc<RefreshingProvider>, Arc<RecordingObserver>) {
    let told = Arc::<RecordingObserver>::default();
    let minute = Duration::from_secs(60);
    let pace = RefreshTiming { look_again: minute, longest_pause: minute };
    let watch = Arc::<RecordingObserver>::clone(&told);
    (Arc::new(RefreshingProvider::new(Box::new(script.clone()), pace, Box::new(|| 0.999), None, watch)), told)
}

async fn id(renewing: &RefreshingProvider, force: bool) -> Result<String, CredentialsError> {
    renewing.credentials(force).await.map(|credentials| credentials.access_key_id.clone())
}

/// Twenty callers for so long, each so often that it calls a hundred times at least. Longest wait of any, and
/// how many got an error.
async fn twenty_callers(renewing: &Arc<RefreshingProvider>, length: Duration) -> (Duration, usize) {
    let until = Instant::now() + length;
    let every = (length / 2_000).max(Duration::from_millis(100));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let renewing = Arc::clone(renewing);
            tokio::spawn(async move {
                let (mut longest, mut errors) = (Duration::ZERO, 0);
                while Instant::now() < until {
                    let began = Instant::now();
                    errors += usize::from(renewing.credentials(false).await.is_err());
                    longest = longest.max(began.elapsed());
                    sleep(every).await;
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
async fn all_callers_share_one_renewal_and_wait_only_for_the_first_key() {
    let script = ScriptedSource::new(&[lives(30)]);
    let (renewing, told) = renewing(&script);
    let (waited, errors) = twenty_callers(&renewing, Duration::from_secs(10)).await;
    assert_eq!((script.asked(), errors), (1, 0));
    assert_eq!(waited, Duration::from_millis(100));
    // A third of the lifetime is left after 20 s, whatever the renewal takes.
    script.takes(Duration::from_secs(5));
    let (waited, errors) = twenty_callers(&renewing, Duration::from_secs(14)).await;
    assert_eq!((script.asked(), errors, waited), (2, 0, Duration::ZERO));
    assert_eq!(id(&renewing, false).await.unwrap(), "STS.key1", "the old key is dropped before its end");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(id(&renewing, false).await.unwrap(), "STS.key2");
    assert_eq!(script.0.lock().unwrap().at_a_time.1, 1);
    assert_eq!(told.ends.lock().unwrap().as_slice(), [UnixMillis::new(30_000); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_renewed_a_quarter_of_an_hour_or_a_third_of_its_life_before_its_end() {
    for (lifetime, at) in [(900, 600), (3600, 2700), (43_200, 42_300), (60, 40)] {
        let script = ScriptedSource::new(&[lives(lifetime)]);
        let (renewing, _) = renewing(&script);
        id(&renewing, false).await.unwrap();
        sleep(Duration::from_secs(at - 1)).await;
        id(&renewing, false).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(script.asked(), 1, "{lifetime}");
        sleep(Duration::from_secs(1)).await;
        id(&renewing, false).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(script.asked(), 2, "{lifetime}");
    }
}

/// Peers that renew a fixed quarter of an hour before the end ask at every call when keys live no longer.
#[tokio::test(start_paused = true)]
async fn keys_of_a_quarter_of_an_hour_do_not_hammer_their_source() {
    let script = ScriptedSource::new(&[lives(900)]);
    let (renewing, _) = renewing(&script);
    let (_, errors) = twenty_callers(&renewing, Duration::from_secs(6 * 3600)).await;
    assert_eq!(errors, 0);
    assert_eq!(script.asked(), 36, "once in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_down_is_not_noticed_until_the_key_ends_and_then_at_once() {
    let (subscriber, log) = log();
    let _guard = tracing::subscriber::set_default(subscriber);
    let script = ScriptedSource::new(&[lives(900)]);
    let (renewing, told) = renewing(&script);
    id(&renewing, false).await.unwrap();
    script.now(ScriptedResult::Fails);
    let (waited, errors) = twenty_callers(&renewing, Duration::from_secs(898)).await;
    assert_eq!((errors, waited), (0, Duration::ZERO));
    // 1, 2, 4 ... 60 s within the last five minutes.
    assert!((9..=13).contains(&told.failures()), "{}", told.failures());
    sleep(Duration::from_secs(3)).await;
    let (waited, errors) = twenty_callers(&renewing, Duration::from_secs(10)).await;
    assert!(errors > 0 && waited <= LITTLE_PATIENCE, "{errors} {waited:?}");
    assert!(id(&renewing, false).await.unwrap_err().to_string().ends_with("it is down"));
    assert_eq!(told.failures() + 1, script.asked(), "each failure is counted");

    script.now(lives(900));
    let (_, _) = twenty_callers(&renewing, Duration::from_secs(61)).await;
    let (_, errors) = twenty_callers(&renewing, Duration::from_secs(10)).await;
    assert_eq!(errors, 0, "it does not recover");
    let lines = log.lines();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].contains("credentials taken") && lines[0].contains("...key1"), "{lines:#?}");
    assert!(lines[1].contains("WARN") && lines[1].contains("cannot be renewed"), "{lines:#?}");
    assert!(lines[2].contains("INFO") && lines[2].contains("renewed again"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn without_any_key_the_source_is_asked_ever_more_rarely() {
    let script = ScriptedSource::new(&[ScriptedResult::Fails]);
    let (renewing, told) = renewing(&script);
    let (waited, errors) = twenty_callers(&renewing, Duration::from_secs(3600)).await;
    assert!(errors > 0 && waited <= Duration::from_millis(100), "{waited:?}");
    assert!((55..=70).contains(&script.asked()), "{}", script.asked());
    assert_eq!(told.failures(), script.asked());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_holds_nobody_up_for_long() {
    let script = ScriptedSource::new(&[lives(3600)]);
    script.takes(Duration::from_secs(3600));
    let (renewing, told) = renewing(&script);
    let (waited, errors) = twenty_callers(&renewing, Duration::from_secs(120)).await;
    assert!(errors > 0 && waited <= PATIENCE, "{waited:?}");
    assert_eq!((script.asked(), told.failures()), (2, 1), "a renewal ends after a minute");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_source_costs_one_attempt() {
    let script = ScriptedSource::new(&[ScriptedResult::Panics, lives(900)]);
    let (renewing, told) = renewing(&script);
    let error = id(&renewing, false).await.unwrap_err().to_string();
    assert!(error.ends_with("their renewal was interrupted"), "{error}");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(id(&renewing, false).await.unwrap(), "STS.key2");
    assert_eq!(told.failures(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_renewed_at_once_but_not_by_each_caller() {
    let script = ScriptedSource::new(&[lives(3600)]);
    let (renewing, _) = renewing(&script);
    id(&renewing, false).await.unwrap();
    let forced: Vec<_> = (0..20)
        .map(|_| {
            let renewing = Arc::clone(&renewing);
            tokio::spawn(async move { id(&renewing, true).await.unwrap() })
        })
        .collect();
    for forced in forced {
        assert_eq!(forced.await.unwrap(), "STS.key2");
    }
    // The next key is refused too, and the next: somebody else is wrong.
    for _ in 0..100 {
        id(&renewing, true).await.unwrap();
        advance(Duration::from_millis(100)).await;
    }
    assert!(script.asked() <= 3, "{}", script.asked());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_end_the_renewal() {
    let script = ScriptedSource::new(&[lives(3600)]);
    let (renewing, _) = renewing(&script);
    assert!(timeout(Duration::from_millis(10), renewing.credentials(false)).await.is_err());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(id(&renewing, false).await.unwrap(), "STS.key1");
    assert_eq!(script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_lands_after_its_account_was_dropped_tells_nothing() {
    let (subscriber, log) = log();
    let _guard = tracing::subscriber::set_default(subscriber);
    let script = ScriptedSource::new(&[ScriptedResult::Fails]);
    let (renewing, told) = renewing(&script);
    assert!(timeout(Duration::from_millis(10), renewing.credentials(false)).await.is_err());
    drop(renewing);
    sleep(Duration::from_secs(1)).await;
    assert_eq!((script.asked(), told.failures(), log.lines().len()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_expired_already_is_a_failure() {
    let script = ScriptedSource::new(&[lives(0)]);
    let (renewing, told) = renewing(&script);
    let error = id(&renewing, false).await.unwrap_err().to_string();
    assert!(error.contains("expired already") && error.contains("clock"), "{error}");
    assert_eq!(told.failures(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lasting_key_is_looked_at_again_and_never_dropped() {
    let script = ScriptedSource::new(&[ScriptedResult::Key(None), ScriptedResult::Fails]);
    let (renewing, told) = renewing(&script);
    let (_, errors) = twenty_callers(&renewing, Duration::from_secs(6 * 3600)).await;
    assert_eq!(errors, 0);
    assert!(told.failures() > 300);
    assert_eq!(told.ends.lock().unwrap().as_slice(), [None]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_happens_no_key_is_given_after_its_end_and_no_source_is_hammered(
        // Lifetimes in seconds, none for a failure; how long each answer takes, in milliseconds.
        answers in prop::collection::vec(prop::option::weighted(0.7, 1u64..2000), 1..20),
        takes in 0u64..20_000,
        forces in prop::bool::ANY,
    ) {
        paused(async {
            let answers: Vec<_> = answers.iter().map(|a| a.map_or(ScriptedResult::Fails, lives)).collect();
            let script = ScriptedSource::new(&answers);
            script.takes(Duration::from_millis(takes));
            let (renewing, told) = renewing(&script);
            let mut ends: Option<(String, Instant)> = None;
            for step in 0..1_000u32 {
                let force = forces && step % 7 == 0;
                let began = Instant::now();
                if let Ok(credentials) = renewing.credentials(force).await {
                    let given = credentials.access_key_id.clone();
                    if ends.as_ref().is_none_or(|(id, _)| *id != given) {
                        let life = credentials.expires_at.map_or(0, UnixMillis::get);
                        // It began no later than now.
                        ends = Some((given, Instant::now() + Duration::from_millis(life as u64)));
                    }
                    assert!(ends.as_ref().is_some_and(|(_, end)| Instant::now() < *end), "a key after its end");
                }
                assert!(began.elapsed() <= PATIENCE);
                sleep(Duration::from_millis(500)).await;
            }
            let script = script.0.lock().unwrap();
            assert!(script.at_a_time.1 <= 1, "renewals overlap");
            let failures = told.failures();
            assert!(script.asked.len() >= failures);
            for pair in script.asked.windows(2) {
                assert!(pair[1] - pair[0] >= Duration::from_millis(500), "{:?}", pair[1] - pair[0]);
            }
        });
    }
}
