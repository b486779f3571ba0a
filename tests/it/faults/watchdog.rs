//! The exporter supervises itself: a panic costs one call and is counted, a dead or stuck poller ends the process. Other
//! processes cannot read its memory. Fail points exist in debug builds only.

use std::{fs, os::unix::process::ExitStatusExt, process::Stdio};

use rustix::process::{Signal, geteuid, kill_process};
use tokio::process::Command;

use super::*;

/// User id of `nobody`.
const NOBODY: u32 = 65534;

fn errors(lines: &[serde_json::Value]) -> Vec<&serde_json::Value> {
    lines.iter().filter(|l| l["level"] == "error").collect()
}

#[tokio::test]
async fn a_panic_in_a_call_affects_only_that_call_and_is_logged_once() {
    let sim = cloud().await;
    let settings = [
        // In the second pass of the four groups.
        ("FAILPOINTS", "api-call-GetConsumerProgress=5*off->1*panic->off"),
        ("POLL_INTERVAL", "3s"),
        ("TOPIC_POLL_INTERVAL", "3s"),
        ("DISCOVERY_INTERVAL", "3s"),
        ("STALE_AFTER", "60s"),
    ];
    let daemon = Daemon::start(&sim, &settings).await;
    let up = |p: &Scrape| [A, B].map(|i| p.instance_up(i));
    let panics = |p: &Scrape| p.value("alikafka_exporter_panics_total", &[]);
    let scrape = daemon.until_known().await;
    assert_eq!(panics(&scrape), Some(0.0));
    let scrape = daemon
        .until("one is down", |p| {
            assert!(all_lag_by(p, LAG_BEFORE), "values are kept");
            panics(p) == Some(1.0) && up(p).contains(&Some(0.0))
        })
        .await;
    assert!(up(&scrape).contains(&Some(1.0)), "the other instance is not touched");
    assert_eq!(scrape.region_up(REGION), Some(1.0));
    sim.with_world(write_more);
    let scrape = daemon
        .until("refreshed in the next pass", |p| all_lag_by(p, LAG_AFTER) && up(p) == [Some(1.0); 2])
        .await;
    assert_eq!(panics(&scrape), Some(1.0));
    let lines = daemon.log_lines();
    let errors = errors(&lines);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0]["place"].as_str().unwrap().contains("/fail-"), "{errors:#?}");
    assert!(errors[0]["text"].is_null(), "a formatted payload may hold secrets: {errors:#?}");
    assert!(errors[0]["thread"].as_str().is_some_and(|name| !name.is_empty()));
    let about: Vec<_> = lines.iter().filter(|l| l["level"] == "warn" && l["object"].is_string()).collect();
    assert_eq!(about.len(), 1, "the object of the call: {about:#?}");
    assert_eq!(about[0]["action"], "GetConsumerProgress");
    daemon.stop().await;
}

#[tokio::test]
async fn a_panicking_poller_ends_the_process_and_is_named() {
    let sim = cloud().await;
    let settings = [("FAILPOINTS", "region-poller=2*off->1*panic->off")];
    let daemon = Daemon::start(&sim, &settings).await;
    let (status, lines) = daemon.wait_for_crash().await;
    assert_eq!(status.code(), Some(1));
    let errors = errors(&lines);
    assert_eq!(errors.len(), 2, "the panic and its consequence: {errors:#?}");
    assert!(errors[0]["place"].as_str().unwrap().contains("/fail-"));
    let died = errors[1]["error"].as_str().unwrap();
    assert!(died.contains("the poller of cn-hangzhou"), "{died}");
}

#[tokio::test]
async fn a_stuck_poller_turns_unhealthy_and_then_ends_the_process() {
    let sim = cloud().await;
    let settings = [("FAILPOINTS", "region-poller=2*off->pause; watchdog-limits=return(1500/8000)")];
    let daemon = Daemon::start(&sim, &settings).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while daemon.body("/-/healthy").await.trim() == "ok" {
        assert!(tokio::time::Instant::now() < deadline, "a missing heartbeat makes it unhealthy");
        tokio::time::sleep(millis(50)).await;
    }
    assert!(daemon.body("/-/healthy").await.contains(REGION), "the region is named");
    // Metrics are still served for diagnosis.
    daemon.scrape().await;
    let (status, lines) = daemon.wait_for_crash().await;
    assert_eq!(status.code(), Some(1));
    let errors = errors(&lines);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0]["poll_loop"], REGION);
}

/// Whether a process of this user can read the environment of another process.
async fn can_be_read(pid: i32, user: Option<u32>) -> bool {
    let mut cat = Command::new("cat");
    cat.arg(format!("/proc/{pid}/environ")).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(user) = user {
        cat.uid(user).gid(user);
    }
    cat.status().await.unwrap().success()
}

/// Runs as `nobody` if possible, because root may read everything.
#[tokio::test]
async fn process_memory_is_unreadable_and_a_crash_leaves_no_core_dump() {
    let nobody = geteuid().is_root().then_some(NOBODY);
    if nobody.is_none() {
        println!("not root: runs as the user of the tests, not as user {NOBODY}");
    }
    let folder = std::env::temp_dir().join(format!("selfwatch-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let binary = folder.join("alikafka-exporter");
    // A directory that `nobody` can reach.
    fs::copy(env!("CARGO_BIN_EXE_alikafka-exporter"), &binary).unwrap();
    let of_nobody = |mut command: Command| {
        if let Some(user) = nobody {
            std::os::unix::fs::chown(&folder, nobody, nobody).unwrap();
            command.uid(user).gid(user);
        }
        command.current_dir(&folder);
        command
    };

    // An ordinary process is readable, so the test can detect a failure.
    let mut sleep = Command::new("sleep");
    sleep.arg("60").kill_on_drop(true);
    let sleeping = of_nobody(sleep).spawn().unwrap();
    let id = i32::try_from(sleeping.id().unwrap()).unwrap();
    assert!(can_be_read(id, nobody).await, "an ordinary process of the same user");
    drop(sleeping);

    for signal in [Signal::SEGV, Signal::ABORT] {
        let sim = cloud().await;
        let daemon = Daemon::with_command(of_nobody(Command::new(&binary)), &sim).await;
        let scrape = daemon.until_known().await;
        for name in ["process_cpu_seconds_total", "process_open_fds", "process_max_fds"] {
            assert!(scrape.value(name, &[]).is_some(), "{name} is there for an unprivileged user too");
        }
        for name in ["process_resident_memory_bytes", "process_start_time_seconds", "process_threads"] {
            assert!(scrape.value(name, &[]).unwrap() > 0.0, "{name}");
        }
        let id = daemon.pid();
        assert!(!can_be_read(id.as_raw_pid(), nobody).await, "another process of the same user");
        let limits = fs::read_to_string(format!("/proc/{}/limits", id.as_raw_pid())).unwrap();
        let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
        kill_process(id, signal).unwrap();
        if signal == Signal::SEGV {
            // The first SIGSEGV only ends the handler for stack overflows.
            daemon.scrape().await;
            kill_process(id, signal).unwrap();
        }
        let (status, _) = daemon.wait_for_crash().await;
        assert_eq!(status.signal(), Some(signal.as_raw()));
        assert!(!status.core_dumped(), "{status:?}");
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["alikafka-exporter"], "no core dump is left");
    }
    fs::remove_dir_all(&folder).unwrap();
}
