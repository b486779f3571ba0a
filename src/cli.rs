//! Command line: flags with dots in their names, as in Prometheus.
//!
//! Owns: flags, the output of `check-config`, and opening the listeners. No flag accepts a secret.

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
    path::PathBuf,
};

use alikafka_exporter::{
    config::Config,
    daemon::BUILD,
    logging::LineFormat,
    model::{AccountName, PollTiming},
};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, error::ErrorKind};
use humantime::format_duration;
use socket2::{Domain, Socket, Type};
use tracing::Level;

/// Prometheus exporter for Alibaba Cloud Message Queue for Apache Kafka.
#[derive(Debug, Parser)]
#[command(name = "alikafka-exporter", disable_version_flag = true, args_conflicts_with_subcommands = false)]
pub(crate) struct Args {
    /// Configuration file (YAML). Without one, the environment must set ALIKAFKA_EXPORTER_REGIONS.
    #[arg(long = "config.file", value_name = "FILE", global = true)]
    pub(crate) config_file: Option<PathBuf>,

    /// Address to listen on, such as :19308, 127.0.0.1:19308 or [::1]:19308. May be repeated.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":19308")]
    pub(crate) listen_addresses: Vec<ListenAddress>,

    /// Path of the metrics endpoint.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub(crate) telemetry_path: String,

    /// Let clients reload the configuration with POST /-/reload. SIGHUP reloads it without this flag.
    #[arg(long = "web.enable-lifecycle")]
    pub(crate) enable_lifecycle: bool,

    /// Let clients query how the metrics of a group are computed, at /debug/state.
    #[arg(long = "web.enable-debug")]
    pub(crate) enable_debug: bool,

    /// Minimum level of log lines.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: LogLevel,

    /// Format of log lines.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub(crate) log_format: LogFormat,

    /// Print version, revision and compiler.
    #[arg(long = "version")]
    pub(crate) version: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Command to run instead of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Check the configuration, print every problem, and exit with 0 or 2.
    CheckConfig,
}

/// Value of `--log.level`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Trace => Self::TRACE,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Info => Self::INFO,
            LogLevel::Warn => Self::WARN,
            LogLevel::Error => Self::ERROR,
        }
    }
}

/// Value of `--log.format`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    Logfmt,
    Json,
}

impl From<LogFormat> for LineFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Logfmt => Self::Logfmt,
            LogFormat::Json => Self::Json,
        }
    }
}

/// Parses the command line.
///
/// # Errors
/// [`EarlyExit`] for `--help` and for invalid flags.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, EarlyExit> {
    let matches = Args::command().try_get_matches_from(args);
    matches.and_then(|m| Args::from_arg_matches(&m)).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp => EarlyExit::Help(error.to_string()),
        _ => EarlyExit::UsageError(one_line(&error)),
    })
}

/// Reason to exit without running a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EarlyExit {
    /// Help text for stdout.
    Help(String),
    /// Error for stderr, on one line.
    UsageError(String),
}

/// Returns the message of the parser without its usage, on one line.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let words = text
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let line = words.collect::<Vec<_>>().join("; ");
    format!("{}; see --help", line.trim_start_matches("error: "))
}

/// Returns the output of `--version`.
pub(crate) fn version() -> String {
    format!(
        "{} {} (revision {}, rustc {})\n",
        env!("CARGO_PKG_NAME"),
        BUILD.version,
        BUILD.revision,
        BUILD.rustversion,
    )
}

/// Returns the output of `check-config` for a valid configuration: one line.
pub(crate) fn summary(config: &Config) -> String {
    let regions = config.accounts.iter().map(|account| match &account.name {
        Some(name) => format!("{}: {}", name.as_str().escape_debug(), account.regions),
        None => account.regions.to_string(),
    });
    let PollTiming { discovery, poll, topic_poll, stale_after, .. } = config.timing;
    format!(
        "ok: {} account{} ({}), discovery every {}, groups every {}, topics every {}, stale after {}\n",
        config.accounts.len(),
        if config.accounts.len() == 1 { "" } else { "s" },
        regions.collect::<Vec<_>>().join("; "),
        format_duration(discovery),
        format_duration(poll),
        format_duration(topic_poll),
        format_duration(stale_after),
    )
}

/// Logs the version and the configuration at startup.
pub(crate) fn log_startup(config: &Config) {
    let PollTiming { discovery, poll, topic_poll, stale_after, .. } = config.timing;
    tracing::info!(
        version = BUILD.version,
        revision = BUILD.revision,
        accounts = config.accounts.len(),
        discovery_interval = ?discovery,
        poll_interval = ?poll,
        topic_poll_interval = ?topic_poll,
        ?stale_after,
        "starting"
    );
    for account in &config.accounts {
        tracing::info!(
            account = account.name.as_ref().map(AccountName::as_str),
            regions = %account.regions,
            credentials = %account.credentials,
            signature = %account.signature,
            proxy = ?account.proxy,
            requests_per_second = %account.rates,
            "account configured"
        );
    }
    if rustix::process::geteuid().is_root() {
        tracing::warn!(
            advice = "run the exporter as its own user",
            "running as root, which is not necessary"
        );
    }
}

fn telemetry_path(path: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if !path.starts_with('/') {
        return Err("it must begin with /".to_owned());
    }
    if matches!(path, "/" | "/-" | "/debug/state") || path.starts_with("/-/") {
        return Err("another endpoint uses this path".to_owned());
    }
    if !path.chars().all(plain) || path.contains("//") || path.split('/').any(|p| matches!(p, "." | "..")) {
        return Err("write a plain path such as /metrics".to_owned());
    }
    Ok(path.to_owned())
}

/// Address to listen on: a port, and a host if it is not all hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    host: Option<String>,
    port: u16,
}

impl std::str::FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "write :19308, 127.0.0.1:19308, [::1]:19308 or localhost:19308";
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("it has no port; {FORMS}"))?;
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits);
        let port = port.ok_or_else(|| format!("the port is not a number from 0 to 65535; {FORMS}"))?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => inner,
            Some(_) => return Err(format!("the text in brackets is not an IPv6 address; {FORMS}")),
            None if host.contains(':') => return Err(format!("an IPv6 address needs brackets; {FORMS}")),
            None => host,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
        if !host.chars().all(plain) {
            return Err(format!("the host is not valid; {FORMS}"));
        }
        Ok(Self { host: (!host.is_empty()).then(|| host.to_owned()), port })
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
            None => write!(f, ":{}", self.port),
        }
    }
}

/// Opens all listeners in non-blocking mode.
///
/// # Errors
/// One line that names the first address that cannot be opened.
pub(crate) fn listen(addresses: &[ListenAddress]) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    for address in addresses {
        let message = |error: &io::Error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "the port is in use; stop the process that uses it, or choose another port"
                }
                io::ErrorKind::PermissionDenied => "permission denied; choose a port of 1024 or above",
                _ => "choose an address of this host",
            };
            format!("--web.listen-address: cannot listen on {address}: {hint} ({error})")
        };
        match &address.host {
            None => {
                // Use one socket for both IP versions if the host has both.
                let both = bind((Ipv6Addr::UNSPECIFIED, address.port).into(), false);
                let listener = match both {
                    Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                        bind((Ipv4Addr::UNSPECIFIED, address.port).into(), false)
                    }
                    both => both,
                };
                listeners.push(listener.map_err(|e| message(&e))?);
            }
            Some(host) => {
                let resolved = (host.as_str(), address.port).to_socket_addrs().map_err(|e| message(&e))?;
                let mut unavailable = None;
                let before = listeners.len();
                for resolved in resolved {
                    match bind(resolved, true) {
                        Ok(listener) => listeners.push(listener),
                        // The name may resolve to an IP version that this host does not have.
                        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                            unavailable = Some(error)
                        }
                        Err(error) => return Err(message(&error)),
                    }
                }
                if listeners.len() == before {
                    return Err(message(
                        &unavailable.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()),
                    ));
                }
            }
        }
    }
    Ok(listeners)
}

fn bind(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    const BACKLOG: i32 = 1024;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A restart must not wait for the connections of the previous process to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<Args, EarlyExit> {
        parse(["alikafka-exporter"].into_iter().chain(line.split_whitespace()).map(OsString::from))
    }

    fn usage_error(line: &str) -> String {
        match args(line) {
            Err(EarlyExit::UsageError(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn flags_have_defaults() {
        let args = args("").unwrap();
        assert_eq!(args.listen_addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), [":19308"]);
        assert_eq!((args.telemetry_path.as_str(), args.config_file, args.command), ("/metrics", None, None));
    }

    #[test]
    fn the_file_may_precede_or_follow_the_subcommand() {
        for line in ["--config.file=a.yml check-config", "check-config --config.file a.yml"] {
            let args = args(line).unwrap();
            assert_eq!(args.config_file, Some(PathBuf::from("a.yml")), "{line}");
            assert_eq!(args.command, Some(Command::CheckConfig), "{line}");
        }
    }

    #[test]
    fn listen_addresses_accept_every_usual_form() {
        for address in
            [":19308", "0.0.0.0:19308", "[::1]:19308", "[::]:0", "localhost:19308", "a-b.example:1"]
        {
            let line = format!("--web.listen-address={address} --web.listen-address=:0");
            let args = args(&line).unwrap();
            assert_eq!(args.listen_addresses[0].to_string(), address);
            assert_eq!(args.listen_addresses.len(), 2);
        }
        for address in ["19308", ":", ":x", ":+1", ":65536", "::1:19308", "[::1]", "[localhost]:1", "a/b:1"] {
            let text = usage_error(&format!("--web.listen-address={address}"));
            assert!(text.contains("--web.listen-address") && text.contains("write :19308"), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn telemetry_paths_must_not_clash_with_other_endpoints() {
        for path in ["/metrics", "/a/b-c_d.e", "/probe"] {
            assert_eq!(args(&format!("--web.telemetry-path={path}")).unwrap().telemetry_path, path);
        }
        for path in [
            "metrics",
            "/",
            "/debug/state",
            "/-/healthy",
            "/-/ready",
            "/-/x",
            "/-",
            "/a?b",
            "/a//b",
            "/../a",
            "/ä",
            "/%2d",
        ] {
            let text = usage_error(&format!("--web.telemetry-path={path}"));
            assert!(text.contains("--web.telemetry-path"), "{text}");
        }
    }

    #[test]
    fn unknown_flags_are_rejected_on_one_line() {
        for line in ["--web.config.file=web.yml", "--web.enable-admin-api", "--log.level=loud", "serve"] {
            let text = usage_error(line);
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.ends_with("; see --help"), "{text}");
        }
        assert_eq!(
            usage_error("--log.level=loud"),
            "invalid value 'loud' for '--log.level <LEVEL>'; [possible values: trace, debug, info, warn, error]; \
             see --help"
        );
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: ListenAddress = taken.local_addr().unwrap().to_string().parse().unwrap();
        let text = listen(std::slice::from_ref(&address)).unwrap_err();
        assert!(text.contains(&address.to_string()) && text.contains("the port is in use"), "{text}");
    }
}
