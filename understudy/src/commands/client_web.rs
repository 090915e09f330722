//! `client-web`: the pages and the API on one port, relayed to whichever node answers.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use client_web::Program;
use logdb::Log;
use logdb::door::{Valve, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::start;
use crate::exit::{Exit, Failure, Outcome};
use crate::settings::{check_name, host_and_port, host_name, is_loopback, logger_url};
use crate::show;

/// Number it bears on consoles; nodes begin with 1.
const NUMBER: u32 = 0;
/// How long the last lines of the log may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// Flags of `client-web`, each also a variable of the environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientWebFlags {
    /// Name people use [default: the host name]
    #[arg(long, env = "UNDERSTUDY_NAME")]
    name: Option<String>,
    /// Where it listens
    #[arg(long, env = "UNDERSTUDY_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:3001")]
    listen: String,
    /// Nodes to relay to: the next one when one does not answer
    #[arg(
        long,
        env = "UNDERSTUDY_SERVERS",
        value_name = "URL,…",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:3002,http://127.0.0.1:3004,http://127.0.0.1:3005,http://127.0.0.1:3006"
    )]
    servers: Vec<String>,
    /// Log store that gets its log lines (LOGGER_URL counts too)
    #[arg(long, env = "UNDERSTUDY_LOGGER", value_name = "tcp://HOST:PORT")]
    logger: Option<String>,
    /// Allow an address beyond loopback although nobody is asked who he is
    #[arg(long, env = "UNDERSTUDY_INSECURE", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new())]
    insecure: bool,
    /// Allow /stop, the soft crash
    #[arg(long, env = "UNDERSTUDY_CHAOS", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = BoolishValueParser::new())]
    chaos: bool,
    /// End when standard input ends: `up` holds it by that
    #[arg(long, hide = true)]
    leash: bool,
}

/// Serves until a signal.
pub(crate) fn run(flags: &ClientWebFlags) -> Outcome {
    let (host, port) = host_and_port("listen", &flags.listen)?;
    if !flags.insecure && !is_loopback(&host) {
        let why = "nobody is asked who he is in this version";
        return Err(Failure::usage(format!(
            "setting listen: {host} is beyond loopback and {why}: add --insecure to allow it"
        )));
    }
    if flags.insecure {
        show::talk("understudy: --insecure: anybody who reaches this port rules the cluster behind it");
    }
    if flags.leash {
        start::end_with_parent().map_err(failed)?;
    }
    let own_host = host_name().unwrap_or_default();
    let name = flags.name.clone().unwrap_or_else(|| own_host.clone());
    check_name(&name)?;
    let hosts = vec![name.clone(), own_host, host.clone()];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let outcome = runtime.block_on(serving(flags, &name, hosts, &format!("{host}:{port}")));
    runtime.shutdown_timeout(GOODBYE);
    outcome
}

async fn serving(flags: &ClientWebFlags, name: &str, hosts: Vec<String>, address: &str) -> Outcome {
    let listening = |cause| Failure::error(format!("listening for HTTP on {address}: {cause}"));
    let listener = TcpListener::bind(address).await.map_err(listening)?;
    let console = logdb::stdout_console();
    let log = Log::open(name, None, Some(console)).map_err(|error| Failure::error(error.to_string()))?;
    log.set_number(NUMBER);
    let valve = Arc::new(Valve::default());
    let shipper = match logger_url(flags.logger.clone()) {
        Some(endpoint) => Some(logdb::Shipper::start(&log, &endpoint, valve.watch()).map_err(usage)?),
        None => None,
    };
    let program =
        Program { servers: flags.servers.clone(), hosts, chaos: flags.chaos, log: log.clone(), valve };
    let app = client_web::app(program).map_err(usage)?;
    let (mut term, mut interrupt) =
        (signal(SignalKind::terminate()).map_err(failed)?, signal(SignalKind::interrupt()).map_err(failed)?);
    let closing = log.clone();
    let told_to_end = async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        closing.close();
    };
    serve(listener, app, told_to_end).await;
    if let Some(shipper) = shipper {
        shipper.end(GOODBYE);
    }
    log.flush(GOODBYE);
    Ok(Exit::Ok)
}

fn failed(cause: std::io::Error) -> Failure {
    Failure::error(format!("starting client-web: {cause}"))
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::usage(error.to_string())
}
