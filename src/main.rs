//! The daemon's door: flags, configuration, logs, listeners, signals, exit codes. No logic.

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
use cli::{Args, Command, Ended};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

/// The user must change something: a flag, the configuration, an address.
const REFUSED: u8 = 2;
/// The program failed.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let args = match cli::parse(env::args_os()) {
        Ok(args) => args,
        Err(Ended::Answer(text)) => return answer(&text),
        Err(Ended::Refused(line)) => return end(REFUSED, &line),
    };
    if args.version {
        return answer(&cli::version());
    }
    keep_memory_private();
    #[cfg(feature = "fail-points")]
    let _fail_points = fail::FailScenario::setup();
    // The text of a panic may quote the configuration, so no standard one is written from here on.
    panics::install();
    // Each client and each call holds a file open, so as many as the system grants.
    let files = getrlimit(Resource::Nofile).maximum;
    _ = setrlimit(Resource::Nofile, Rlimit { current: files, maximum: files });
    let config = match config::load(args.config_file.as_deref(), &environment()) {
        Ok(config) => config,
        Err(problems) => return end(REFUSED, &problems.to_string()),
    };
    if args.command == Some(Command::CheckConfig) {
        return answer(&cli::summary(&config));
    }
    logging::init(args.log_level.into(), args.log_format.into(), clock::unix_now);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(daemon(args, config));
            // A thread that waits for a name server or for a file's disk would hold up the end for as long.
            runtime.shutdown_background();
            code
        }
        Err(error) => end(FAILED, &format!("cannot start threads: {error}")),
    }
}

async fn daemon(args: Args, config: Config) -> ExitCode {
    let (shutdown, reload) = (CancellationToken::new(), Arc::new(Notify::new()));
    if let Err(error) = watch_signals(shutdown.clone(), Arc::clone(&reload)) {
        return end(FAILED, &format!("cannot watch signals: {error}"));
    }
    let bound = match cli::listen(&args.listen_addresses) {
        Ok(bound) => bound,
        Err(line) => return end(REFUSED, &line),
    };
    let watched = bound.into_iter().map(tokio::net::TcpListener::from_std).collect::<io::Result<Vec<_>>>();
    let listeners = match watched {
        Ok(listeners) => listeners,
        Err(error) => return end(FAILED, &format!("cannot watch a listener: {error}")),
    };
    cli::announce(&config);
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
            tracing::error!(%error, "failed");
            ExitCode::from(FAILED)
        }
    }
}

/// The first signal asks for an end, the second one makes it; SIGHUP asks for a reload.
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

/// Memory holds the access key: no image of it may be left behind, and no process of the same user may read
/// it. A system that hands dumps to a program does not heed the limit, but it heeds the second.
fn keep_memory_private() {
    _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    {
        _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    }
}

/// The variables that are part of the configuration.
fn environment() -> BTreeMap<String, String> {
    env::vars_os()
        .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()))
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .collect()
}

fn answer(text: &str) -> ExitCode {
    _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn end(code: u8, text: &str) -> ExitCode {
    _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}
