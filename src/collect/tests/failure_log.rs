//! A failure is logged when it begins, in summaries, and when it ends.

use test_support::log_capture::LogCapture;
use tracing::Level;

use super::*;
use crate::collect::failure_log::{FailureKey, FailureLine, FailureLog, FailureStats, RecentSet};

struct FailureTest {
    log: FailureLog<PollTarget>,
    now: Instant,
}

impl FailureTest {
    fn new() -> Self {
        Self { log: FailureLog::default(), now: Instant::now() }
    }

    /// Returns the lines for a failed poll of a group.
    fn fail(&mut self, instance: &str, name: &str, kind: ErrorKind) -> Vec<String> {
        self.attempt(&PollTarget::GroupProgress(id(instance), group(name)), Err(kind))
    }

    fn succeed(&mut self, instance: &str, name: &str) -> Vec<String> {
        self.attempt(&PollTarget::GroupProgress(id(instance), group(name)), Ok(()))
    }

    /// Returns the lines for the outcome of any attempt.
    fn attempt(&mut self, target: &PollTarget, outcome: Result<(), ErrorKind>) -> Vec<String> {
        match outcome {
            Ok(()) => self.log.succeeded(target, self.now).iter().map(text).collect(),
            Err(kind) => {
                let lines = self.log.failed(
                    target,
                    FailureKey::of(target, kind),
                    error(target.action(), kind),
                    self.now,
                );
                lines.iter().map(text).collect()
            }
        }
    }

    /// Lets a minute pass, and returns the summaries.
    fn minute(&mut self) -> Vec<String> {
        self.now += Duration::from_secs(60);
        self.log.summaries(self.now).iter().map(text).collect()
    }
}

fn text(line: &FailureLine) -> String {
    let key = |k: &FailureKey| {
        let place = k.instance.as_ref().map_or("region", InstanceId::as_str);
        format!("{} {place}", k.kind.label())
    };
    let tally = |t: &FailureStats| {
        let again = if t.outbreaks > 1 { format!(" in {} outbreaks", t.outbreaks) } else { String::new() };
        format!("{} calls {}s{again}", t.calls, t.duration.as_secs())
    };
    match line {
        FailureLine::Began(k, _) => format!("began {}", key(k)),
        FailureLine::Spread(k, _) => format!("spread {}", key(k)),
        FailureLine::Ongoing(k, t) => format!("{} ongoing: {} targets {}", key(k), t.targets, tally(t)),
        FailureLine::Recovered(k, t) => format!("{} recovered: {}", key(k), tally(t)),
        FailureLine::EndedWithoutSuccess(k, t) => format!("{} ended: {}", key(k), tally(t)),
    }
}

#[test]
fn a_failure_of_a_day_is_logged_in_a_dozen_lines() {
    let mut case = FailureTest::new();
    let mut lines = Vec::new();
    for _ in 0..1440 {
        for g in ["a", "b", "c"] {
            lines.extend(case.fail("i", g, ErrorKind::Server));
        }
        lines.extend(case.minute());
    }
    assert_eq!(lines.len(), 1 + 11, "{lines:#?}");
    assert_eq!(
        lines[..3],
        [
            "began server i",
            "server i ongoing: 3 targets 30 calls 600s",
            "server i ongoing: 3 targets 90 calls 1800s"
        ]
    );
    assert_eq!(case.succeed("i", "a").len() + case.succeed("i", "b").len(), 0);
    assert_eq!(case.succeed("i", "c"), ["server i recovered: 4320 calls 86400s"], "logged at once");
}

#[test]
fn a_failure_ends_when_its_last_target_succeeds() {
    let mut case = FailureTest::new();
    assert_eq!(case.fail("i", "a", ErrorKind::Decode), ["began decode i"]);
    assert!(case.fail("i", "b", ErrorKind::Decode).is_empty());
    assert!(
        case.succeed("i", "c").is_empty(),
        "a target that never failed does not end the failure of another"
    );
    assert!(case.succeed("i", "a").is_empty());
    assert!(case.fail("i", "b", ErrorKind::Decode).is_empty(), "no second beginning");
    case.now += Duration::from_secs(30);
    assert_eq!(case.succeed("i", "b"), ["decode i recovered: 3 calls 30s"]);
}

#[test]
fn a_region_wide_cause_is_one_failure() {
    let mut case = FailureTest::new();
    assert_eq!(case.fail("i", "a", ErrorKind::Connect), ["began connect region"]);
    assert!(case.fail("j", "a", ErrorKind::Connect).is_empty());
    assert_eq!(
        case.fail("j", "a", ErrorKind::Timeout),
        ["began timeout j"],
        "another kind is another failure"
    );
    assert_eq!(case.succeed("i", "a"), ["connect region recovered: 2 calls 0s"]);
    assert_eq!(
        case.fail("j", "a", ErrorKind::Server),
        ["timeout j ended: 1 calls 0s", "began server j"],
        "failing in another way is no recovery"
    );
}

#[test]
fn a_flapping_failure_is_logged_twice_then_every_ten_minutes() {
    let mut case = FailureTest::new();
    let mut lines = Vec::new();
    for pass in 0..1440 {
        lines.extend(match pass % 2 {
            0 => case.fail("i", "a", ErrorKind::Server),
            _ => case.succeed("i", "a"),
        });
        lines.extend(case.minute());
    }
    assert_eq!(
        lines[..5],
        [
            "began server i",
            "server i recovered: 1 calls 60s",
            "began server i",
            "server i recovered: 1 calls 60s",
            "server i ongoing: 1 targets 5 calls 540s in 5 outbreaks",
        ]
    );
    assert!(lines.len() <= 4 + 1440 / 10, "{}: {lines:#?}", lines.len());
    assert!(case.log.is_bounded_by(1));
    for _ in 0..21 {
        lines = case.minute();
    }
    assert!(lines.is_empty() && case.log.is_bounded_by(0), "forgotten at last");
    assert_eq!(case.fail("i", "a", ErrorKind::Server), ["began server i"]);
}

#[test]
fn the_end_of_a_long_failure_is_logged_at_once_after_flapping() {
    let mut case = FailureTest::new();
    for _ in 0..2 {
        assert_eq!(
            case.fail("i", "a", ErrorKind::Server).len(),
            1,
            "the last line must not claim a recovery"
        );
        assert_eq!(case.succeed("i", "a").len(), 1);
        case.minute();
    }
    assert!(case.fail("i", "a", ErrorKind::Server).is_empty(), "it flaps");
    for _ in 0..60 {
        case.fail("i", "a", ErrorKind::Server);
        case.minute();
    }
    assert_eq!(case.succeed("i", "a"), ["server i recovered: 61 calls 3600s"]);
}

#[test]
fn alternating_kinds_are_not_logged_per_attempt() {
    let mut case = FailureTest::new();
    let mut lines = Vec::new();
    for pass in 0..1440 {
        let kind = [ErrorKind::Timeout, ErrorKind::Connect, ErrorKind::Server][pass % 3];
        lines.extend(case.fail("i", "a", kind));
        lines.extend(case.minute());
    }
    let (began, kinds): (Vec<_>, _) = (lines.iter().filter(|l| l.starts_with("began")).collect(), 3);
    assert_eq!(began.len(), 2 * kinds, "{began:#?}");
    assert!(lines.len() <= kinds * (4 + 1440 / 10), "{}", lines.len());
}

/// All targets of a region with 20 instances. More topics and groups would not add failures.
fn all_targets() -> Vec<PollTarget> {
    let mut targets = vec![PollTarget::Instances];
    for i in (0..20).map(|n| id(&format!("i{n:02}"))) {
        targets.extend([PollTarget::Topics(i.clone()), PollTarget::Groups(i.clone())]);
        targets.extend((0..2).map(|n| PollTarget::TopicStatus(i.clone(), topic(&format!("t{n}")).name)));
        targets.extend((0..2).map(|n| PollTarget::GroupProgress(i.clone(), group(&format!("g{n}")))));
    }
    targets
}

/// Maximum number of lines of 1440 passes, without those at startup.
const MAX_LINES: usize = 30 - 5;

#[test]
fn a_region_failing_for_a_day_is_logged_in_few_lines() {
    let kinds = [
        [ErrorKind::Timeout; 2],
        [ErrorKind::Server; 2],
        [ErrorKind::Tls; 2],
        [ErrorKind::Connect; 2],
        [ErrorKind::Auth { key: false }; 2],
        [ErrorKind::Timeout, ErrorKind::Connect],
    ];
    for kinds in kinds {
        let (mut case, mut lines) = (FailureTest::new(), Vec::new());
        let targets = all_targets();
        for pass in 0..1440 {
            // Alternating kinds alternate per target.
            for (n, target) in targets.iter().enumerate() {
                lines.extend(case.attempt(target, Err(kinds[(pass + n) % 2])));
            }
            lines.extend(case.minute());
        }
        let most = match kinds {
            [ErrorKind::Auth { .. }, _] => 5 * 12,
            [one, other] if one != other => 2 * MAX_LINES,
            _ => MAX_LINES,
        };
        assert!(lines.len() <= most, "{kinds:?}: {} lines: {lines:#?}", lines.len());
        let mut ends = Vec::new();
        for target in &targets {
            ends.extend(case.attempt(target, Ok(())));
        }
        assert!((1..=8).contains(&ends.len()), "{kinds:?}: {ends:#?}");
        assert!(case.log.is_bounded_by(8));
    }
}

#[test]
fn a_failure_in_many_places_is_logged_for_the_first_few_then_for_the_region() {
    let mut case = FailureTest::new();
    let instances = ["i", "j", "k", "l", "m"];
    let lines: Vec<String> = instances.iter().flat_map(|i| case.fail(i, "a", ErrorKind::Decode)).collect();
    assert_eq!(lines, ["began decode i", "began decode j", "began decode k", "spread decode region"]);
    let summaries: Vec<String> = (0..10).flat_map(|_| case.minute()).collect();
    assert_eq!(summaries, ["decode region ongoing: 5 targets 5 calls 600s"], "one summary for all");
    let lines: Vec<String> = instances.iter().flat_map(|i| case.succeed(i, "a")).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert_eq!(lines[3], "decode region recovered: 2 calls 600s");
    assert_eq!(case.fail("n", "a", ErrorKind::Decode), ["began decode region"], "the region is remembered");
    let other = PollTarget::TopicStatus(id("i"), topic("t").name);
    assert_eq!(
        case.attempt(&other, Err(ErrorKind::Decode)),
        ["began decode i"],
        "not logged for that action before"
    );
}

#[test]
fn a_recent_key_is_news_again_only_after_a_pause() {
    let (mut recent, mut now) = (RecentSet::default(), Instant::now());
    assert!(recent.insert("a", now));
    for _ in 0..30 {
        now += Duration::from_secs(60);
        recent.expire(now);
        assert!(!recent.insert("a", now), "it continues");
    }
    now += Duration::from_secs(600);
    assert!(recent.insert("a", now));
    assert!(recent.insert("b", now));
    recent.remove_if(|key| *key == "a");
    assert!(recent.insert("a", now) && !recent.insert("b", now), "removed keys are news");
}

#[tokio::test(start_paused = true)]
async fn a_failure_line_names_the_failing_group() {
    let (_guard, log) = LogCapture::start(Level::INFO);
    let script = one_instance(3);
    script.edit(|w| {
        w.failing.insert(PollTarget::GroupProgress(id("i"), group("g1")), ErrorKind::Business);
        w.failing.insert(PollTarget::TopicStatus(id("i"), topic("t").name), ErrorKind::Throttled);
    });
    let running = RunningAccount::fixed(&script);
    seconds(5).await;
    running.stop().await;
    let log = log.text();
    let line = |result: &str| log.lines().find(|l| l.contains(result)).unwrap();
    assert!(line("result=\"business\"").contains("instance_id=i object=\"g1\""), "{log}");
    assert!(!line("result=\"throttled\"").contains("object"), "a region-wide failure has no object: {log}");
}
