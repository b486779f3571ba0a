//! Entry point of the daemon: flags, configuration, logging, listeners, signals and exit codes. No logic.

mod cli;

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use alikafka_exporter::{
    ConfigSource, WebOptions, clock,
    config::{self, Config, keys::VARIABLE_PREFIX},
    daemon::panics,
    logging,
    web::HttpLimits,
};
use cli::{Args, Command, EarlyExit};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

/// Exit code for a flag, configuration or address that the user must change.
const USAGE_ERROR: u8 = 2;
/// Exit code for a failure of the program.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let args = match cli::parse(env::args_os()) {
        Ok(args) => args,
        Err(EarlyExit::Help(text)) => return print(&text),
        Err(EarlyExit::UsageError(line)) => return fail(USAGE_ERROR, &line),
    };
    if args.version {
        return print(&cli::version());
    }
    keep_memory_private();
    #[cfg(feature = "fail-points")]
    let _fail_points = fail::FailScenario::setup();
    // The standard panic message may quote the configuration.
    panics::install();
    // Every client and every API call uses a file descriptor, so raise the limit as far as allowed.
    let max_files = getrlimit(Resource::Nofile).maximum;
    _ = setrlimit(Resource::Nofile, Rlimit { current: max_files, maximum: max_files });
    let config = match config::load(args.config_file.as_deref(), &environment()) {
        Ok(config) => config,
        Err(problems) => return fail(USAGE_ERROR, &problems.to_string()),
    };
    if args.command == Some(Command::CheckConfig) {
        return print(&cli::summary(&config));
    }
    logging::init(args.log_level.into(), args.log_format.into(), clock::unix_now);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(run_daemon(args, config));
            // Do not wait for blocking threads: a name server or a disk may hang.
            runtime.shutdown_background();
            code
        }
        Err(error) => fail(FAILED, &format!("cannot start threads: {error}")),
    }
}

async fn run_daemon(args: Args, config: Config) -> ExitCode {
    let (shutdown, reload) = (CancellationToken::new(), Arc::new(Notify::new()));
    if let Err(error) = watch_signals(shutdown.clone(), Arc::clone(&reload)) {
        return fail(FAILED, &format!("cannot watch signals: {error}"));
    }
    let bound = match cli::listen(&args.listen_addresses) {
        Ok(bound) => bound,
        Err(line) => return fail(USAGE_ERROR, &line),
    };
    let converted = bound.into_iter().map(tokio::net::TcpListener::from_std).collect::<io::Result<Vec<_>>>();
    let listeners = match converted {
        Ok(listeners) => listeners,
        Err(error) => return fail(FAILED, &format!("cannot register a listener: {error}")),
    };
    cli::log_startup(&config);
    for listener in &listeners {
        let address = listener.local_addr().map(|a| a.to_string()).unwrap_or_default();
        tracing::info!(address, path = args.telemetry_path, "listening");
    }
    let web = WebOptions {
        telemetry_path: args.telemetry_path,
        limits: HttpLimits::for_open_files(getrlimit(Resource::Nofile).current),
        lifecycle: args.enable_lifecycle,
        explain: args.enable_debug,
    };
    let source = ConfigSource { file: args.config_file, environment: environment(), reload_signal: reload };
    match alikafka_exporter::run(config, source, web, listeners, shutdown).await {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(%error, "exporter failed");
            ExitCode::from(FAILED)
        }
    }
}

/// Handles signals: SIGTERM or SIGINT starts a shutdown, a second one exits immediately, SIGHUP reloads.
fn watch_signals(shutdown: CancellationToken, reload: Arc<Notify>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = hangup.recv() => {
                    reload.notify_one();
                    continue;
                }
            };
            if shutdown.is_cancelled() {
                std::process::exit(FAILED.into());
            }
            tracing::info!(signal = name, "stopping");
            shutdown.cancel();
        }
    });
    Ok(())
}

/// Disables core dumps and access by other processes of the user, because memory holds the access key. The limit
/// does not apply if the system pipes core dumps to a program; the dumpable flag does.
fn keep_memory_private() {
    _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    {
        _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
}

/// Returns the environment variables that belong to the configuration.
fn environment() -> BTreeMap<String, String> {
    env::vars_os()
        .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .collect()
}

fn print(text: &str) -> ExitCode {
    _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn fail(code: u8, text: &str) -> ExitCode {
    _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}
