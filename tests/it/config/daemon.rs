//! The process: exit codes, one clear line for each startup problem, signals, log formats.

use std::{fs, net::TcpListener, process::Command, time::Duration};

use rustix::process::Signal;
use test_support::{PATIENCE, harness::ExporterProcess};

use super::{fixtures, program, text};

/// Starts the exporter on a free port of loopback. It polls a port without a listener.
async fn start(flags: &[&str]) -> ExporterProcess {
    let mut command = program();
    command
        .env("ALIKAFKA_EXPORTER_REGIONS", "cn-hangzhou")
        .env("ALIKAFKA_EXPORTER_ENDPOINT", "http://127.0.0.1:1")
        .arg("--web.listen-address=127.0.0.1:0")
        .args(flags);
    ExporterProcess::start(command.into()).await
}

#[tokio::test]
async fn a_signal_ends_the_process_gracefully() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = start(&[]).await;
        let line = daemon.wait_for_log("listening").await;
        assert!(line.contains(" level=info msg=listening address=127.0.0.1:"), "{line}");
        daemon.signal(signal);
        daemon.wait_for_log("stopping").await;
        assert_eq!(daemon.wait_for_exit(PATIENCE).await.code(), Some(0));
    }
}

/// Reading a pipe without a writer blocks a thread forever, as a name server or a network file system may.
#[tokio::test]
async fn a_blocked_thread_does_not_delay_the_exit() {
    let folder = std::env::temp_dir().join(format!("alikafka-exporter-{}-pipe", std::process::id()));
    _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    let pipe = folder.join("access-key");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let file = folder.join("config.yml");
    let keys =
        format!("{{access_key_id_file: {0:?}, access_key_secret_file: {0:?}}}", pipe.to_str().unwrap());
    fs::write(&file, format!("credentials: {keys}\n")).unwrap();
    let mut daemon = start(&[&format!("--config.file={}", file.display())]).await;
    daemon.wait_for_log("listening").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("stopped").await;
    assert_eq!(daemon.wait_for_exit(Duration::from_secs(5)).await.code(), Some(0));
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn the_first_log_lines_show_the_configuration_without_secrets() {
    let flag = format!("--config.file={}", fixtures().join("good-everything.yml").display());
    let daemon = start(&[&flag]).await;
    let line = daemon.wait_for_log("account configured").await;
    let expected = "level=info msg=\"account configured\" regions=cn-hangzhou credentials=inline signature=acs3 \
                proxy=http://proxy.example:3128 \
                requests_per_second=\"0.5, GetConsumerProgress 40, GetTopicStatus 0.1\"";
    assert!(line.ends_with(expected), "{line}");
    assert!(!line.contains("canary"), "{line}");
}

#[tokio::test]
async fn json_logs_are_json() {
    let daemon = start(&["--log.format=json"]).await;
    let line: serde_json::Value = serde_json::from_str(&daemon.wait_for_log("listening").await).unwrap();
    assert_eq!((&line["level"], &line["msg"]), (&"info".into(), &"listening".into()));
}

#[test]
fn a_port_in_use_is_a_one_line_error() {
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
        line.starts_with(&format!("--web.listen-address: cannot listen on {address}: the port is in use")),
        "{line}"
    );
}

#[test]
fn an_invalid_configuration_fails_like_check_config() {
    let daemon = program().current_dir(fixtures()).arg("--config.file=bad-many.yml").output().unwrap();
    assert_eq!(daemon.status.code(), Some(2));
    assert_eq!(text(&daemon.stderr), fs::read_to_string(fixtures().join("bad-many.txt")).unwrap());
}

#[test]
fn invalid_flags_are_a_one_line_error() {
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
