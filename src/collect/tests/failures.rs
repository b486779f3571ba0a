//! A failure is worth one line when it begins, a summary now and then, one when it is over.

use super::*;
use crate::collect::failures::{FailureLog, Key, Line};

struct Case {
    log: FailureLog<Unit>,
    now: Instant,
}

impl Case {
    fn new() -> Self {
        Self { log: FailureLog::default(), now: Instant::now() }
    }

    /// What is written when a group's poll on an instance fails.
    fn fail(&mut self, instance: &str, name: &str, kind: Kind) -> Vec<String> {
        let unit = Unit::GroupProgress(id(instance), group(name));
        let lines = self.log.failed(&unit, Key::of(&unit, kind), error(unit.action(), kind), self.now);
        lines.iter().map(text).collect()
    }

    fn succeed(&mut self, instance: &str, name: &str) -> Vec<String> {
        let unit = Unit::GroupProgress(id(instance), group(name));
        self.log.ended(&unit, self.now).iter().map(text).collect()
    }
}

fn text(line: &Line) -> String {
    let key = |k: &Key| format!("{} {}", k.result, k.instance.as_ref().map_or("region", InstanceId::as_str));
    match line {
        Line::Began(k, _) => format!("began {}", key(k)),
        Line::GoesOn(k, calls, units, since) => {
            format!("{} goes on: {calls} {units} {}s", key(k), since.as_secs())
        }
        Line::Over(k, calls, lasted) => format!("{} over: {calls} {}s", key(k), lasted.as_secs()),
        Line::Ceased(k, calls, lasted) => format!("{} ceased: {calls} {}s", key(k), lasted.as_secs()),
    }
}

#[test]
fn a_failure_that_lasts_a_day_writes_a_line_every_ten_minutes() {
    let mut case = Case::new();
    let mut lines = Vec::new();
    for _ in 0..1440 {
        for g in ["a", "b", "c"] {
            lines.extend(case.fail("i", g, Kind::Server));
        }
        lines.extend(case.log.summaries(case.now).iter().map(text));
        case.now += Duration::from_secs(60);
    }
    assert_eq!(lines.len(), 1 + 143);
    assert_eq!(lines[0], "began server i");
    assert_eq!(lines[1], "server i goes on: 33 3 600s");
}

#[test]
fn a_key_is_over_when_the_last_of_its_units_has_succeeded() {
    let mut case = Case::new();
    assert_eq!(case.fail("i", "a", Kind::Decode), ["began decode i"]);
    assert!(case.fail("i", "b", Kind::Decode).is_empty());
    assert!(case.succeed("i", "c").is_empty(), "a unit that never failed says nothing about one that does");
    assert!(case.succeed("i", "a").is_empty());
    assert!(case.fail("i", "b", Kind::Decode).is_empty(), "no second beginning");
    case.now += Duration::from_secs(30);
    assert_eq!(case.succeed("i", "b"), ["decode i over: 3 30s"]);
}

#[test]
fn what_breaks_a_whole_region_is_one_failure() {
    let mut case = Case::new();
    assert_eq!(case.fail("i", "a", Kind::Connect), ["began connect region"]);
    assert!(case.fail("j", "a", Kind::Connect).is_empty());
    assert_eq!(case.fail("j", "a", Kind::Timeout), ["began timeout j"], "another kind is another failure");
    assert_eq!(case.succeed("i", "a"), ["connect region over: 2 0s"]);
    assert_eq!(
        case.fail("j", "a", Kind::Server),
        ["timeout j ceased: 1 0s", "began server j"],
        "what fails in another way has not recovered"
    );
}

/// What is written while the code runs.
pub(super) fn logged() -> (tracing::subscriber::DefaultGuard, Arc<Mutex<Vec<u8>>>) {
    #[derive(Clone)]
    struct Memory(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    let memory = Memory(Arc::clone(&log));
    let writer = move || memory.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
    (tracing::subscriber::set_default(subscriber), log)
}

#[tokio::test(start_paused = true)]
async fn the_line_of_a_failure_names_the_group_that_fails() {
    let (_guard, log) = logged();
    let script = one_instance(3);
    script.edit(|w| {
        w.failing.insert(Unit::GroupProgress(id("i"), group("g1")), Kind::Business);
        w.failing.insert(Unit::TopicStatus(id("i"), topic("t").name), Kind::Throttled);
    });
    let running = Running::fixed(&script);
    seconds(5).await;
    running.stop().await;
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let line = |result: &str| log.lines().find(|l| l.contains(result)).unwrap();
    assert!(line("result=\"business\"").contains("instance_id=i object=\"g1\""), "{log}");
    assert!(!line("result=\"throttled\"").contains("object"), "one of the region has no object: {log}");
}
