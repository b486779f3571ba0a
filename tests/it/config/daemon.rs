//! The process: exit codes, one clear line for what cannot be, signals, logs that cannot be written.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{fixtures, program, text};

/// The daemon on a free port of loopback, polling a port that nobody listens on.
struct Daemon {
    child: Child,
    /// `None` once the reader has gone away.
    stderr: Option<BufReader<ChildStderr>>,
}

impl Daemon {
    fn start(flags: &[&str]) -> Self {
        let mut child = program()
            .env("ALIKAFKA_EXPORTER_REGIONS", "cn-hangzhou")
            .env("ALIKAFKA_EXPORTER_ENDPOINT", "http://127.0.0.1:1")
            .arg("--web.listen-address=127.0.0.1:0")
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().map(BufReader::new);
        Self { child, stderr }
    }

    /// The first line that has a word. A daemon that does not write it is ended, so that the test is.
    fn line(&mut self, word: &str) -> String {
        let (found, is_found) = mpsc::channel::<()>();
        let pid = Pid::from_child(&self.child);
        let watch = thread::spawn(move || {
            if is_found.recv_timeout(Duration::from_secs(20)) == Err(RecvTimeoutError::Timeout) {
                _ = kill_process(pid, Signal::KILL);
            }
        });
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert_ne!(
                self.stderr.as_mut().unwrap().read_line(&mut line).unwrap(),
                0,
                "the log ended before {word:?}"
            );
        }
        drop(found);
        watch.join().unwrap();
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn a_signal_ends_it_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start(&[]);
        let line = daemon.line("listening");
        assert!(line.contains(" level=info msg=listening address=127.0.0.1:"), "{line}");
        daemon.signal(signal);
        daemon.line("stopping");
        assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    }
}

/// Reading a pipe that nobody writes blocks a thread for ever, as a name server or a network file system may.
#[tokio::test]
async fn a_thread_that_is_blocked_does_not_hold_up_the_end() {
    let folder = std::env::temp_dir().join(format!("alikafka-exporter-{}-pipe", std::process::id()));
    _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    let pipe = folder.join("access-key");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let file = folder.join("config.yml");
    let keys =
        format!("{{access_key_id_file: {0:?}, access_key_secret_file: {0:?}}}", pipe.to_str().unwrap());
    fs::write(&file, format!("credentials: {keys}\n")).unwrap();
    let mut daemon = Daemon::start(&[&format!("--config.file={}", file.display())]);
    daemon.line("listening");
    tokio::time::sleep(Duration::from_millis(300)).await;
    daemon.signal(Signal::TERM);
    daemon.line("stopped");
    let mut ended = None;
    for _ in 0..250 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ended = daemon.child.try_wait().unwrap();
        if ended.is_some() {
            break;
        }
    }
    assert_eq!(ended.map(|status| status.code()), Some(Some(0)), "it did not end");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn its_first_lines_say_what_runs_without_secrets() {
    let flag = format!("--config.file={}", fixtures().join("good-everything.yml").display());
    let mut daemon = Daemon::start(&[&flag]);
    let line = daemon.line("account configured");
    let told = "level=info msg=\"account configured\" regions=cn-hangzhou credentials=inline signature=acs3 \
                proxy=http://proxy.example:3128 \
                requests_per_second=\"0.5, GetConsumerProgress 40, GetTopicStatus 0.1\"\n";
    assert!(line.ends_with(told), "{line}");
    assert!(!line.contains("canary"), "{line}");
}

#[test]
fn json_logs_are_json() {
    let mut daemon = Daemon::start(&["--log.format=json"]);
    let line: serde_json::Value = serde_json::from_str(&daemon.line("listening")).unwrap();
    assert_eq!((&line["level"], &line["msg"]), (&"info".into(), &"listening".into()));
}

#[test]
fn a_log_that_nobody_reads_does_not_end_it_badly() {
    let mut daemon = Daemon::start(&[]);
    daemon.line("listening");
    // Every later line meets a broken pipe.
    daemon.stderr = None;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_log_on_a_full_disk_does_not_end_it_badly() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = program();
    command
        .env("ALIKAFKA_EXPORTER_REGIONS", "cn-hangzhou")
        .env("ALIKAFKA_EXPORTER_ENDPOINT", "http://127.0.0.1:1");
    let child = command.arg(format!("--web.listen-address={free}")).stderr(full).spawn().unwrap();
    let mut daemon = Daemon { child, stderr: None };
    for _ in 0..500 {
        if TcpStream::connect(free).is_ok() {
            break;
        }
        assert_eq!(daemon.child.try_wait().unwrap(), None, "it ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_taken_port_ends_it_at_once_with_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = program()
        .env("ALIKAFKA_EXPORTER_REGIONS", "cn-hangzhou")
        .arg(format!("--web.listen-address={address}"))
        .output()
        .unwrap();
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.starts_with(&format!("--web.listen-address: cannot listen on {address}: the port is taken")),
        "{line}"
    );
}

#[test]
fn a_bad_configuration_ends_it_as_it_ends_the_check() {
    let daemon = program().current_dir(fixtures()).arg("--config.file=bad-many.yml").output().unwrap();
    assert_eq!(daemon.status.code(), Some(2));
    assert_eq!(text(&daemon.stderr), fs::read_to_string(fixtures().join("bad-many.txt")).unwrap());
}

#[test]
fn bad_flags_end_it_with_one_line() {
    for flag in ["--nope", "--web.config.file=x", "--log.format=xml", "--web.listen-address=9308", "run"] {
        let output = program().arg(flag).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{flag}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = program().arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    for flag in [
        "--config.file",
        "--web.listen-address",
        "--web.telemetry-path",
        "--web.enable-lifecycle",
        "--log.level",
        "--log.format",
    ] {
        assert!(text(&help.stdout).contains(flag), "{flag}");
    }
    let version = program().arg("--version").output().unwrap();
    let line = text(&version.stdout);
    assert_eq!(version.status.code(), Some(0));
    assert!(
        line.starts_with(&format!("alikafka-exporter {} (revision ", env!("CARGO_PKG_VERSION"))),
        "{line}"
    );
    assert!(line.contains("rustc 1."), "{line}");
}

#[test]
fn no_core_dump_may_be_left_behind() {
    let mut daemon = Daemon::start(&[]);
    daemon.line("listening");
    let mut limits = String::new();
    let path = format!("/proc/{}/limits", daemon.child.id());
    fs::File::open(path).unwrap().read_to_string(&mut limits).unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
}
